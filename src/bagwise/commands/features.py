"""What a page says of the features in which instances that count differ from the rest."""

import pandas as pd

from bagwise.reports import Table
from bagwise.text import printable

__all__ = ["features_table"]

_MOST = 15


def features_table(features: pd.DataFrame) -> Table:
    """Put the features that differ most into a table.

    Parameters
    ----------
    features
        As `bagwise.explain.contrast` gives them.

    Returns
    -------
    Table
    """
    of = f"The {_MOST} of {len(features):,} that differ most." if len(features) > _MOST else ""
    return Table(
        "Features in which high and low weights differ most",
        ["Feature", "Mean where weights are high", "Mean of the rest", "Difference"],
        [
            [
                *(printable(str(row.feature)), f"{row.mean_high:.4g}", f"{row.mean_low:.4g}"),
                f"{row.difference:+.2f}",
            ]
            for row in features.head(_MOST).itertuples()
        ],
        f"The difference is in standard deviations of the feature within bags. {of}"
        " A feature that differs need not be what the model used.",
    )
