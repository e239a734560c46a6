"""What a page says of the columns in which instances that count differ from the rest."""

from typing import Any

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
    of = f"The {_MOST} of {len(features):,} that stand out most. " if len(features) > _MOST else ""
    return Table(
        "In which columns high and low weights differ",
        ["Column", "What stands out", "Where weights are high", "Of the rest", "Difference", "p"],
        [
            [
                *(printable(str(row.feature)), printable(str(row.stands_out)) or "–"),
                *(_told(row, "high"), _told(row, "low")),
                *(f"{row.difference:+.2f}", f"{row.p_value:.2g}"),
            ]
            for row in features.head(_MOST).itertuples()
        ],
        f"{of}Shares are of what stands out; else they are means. The difference, of means where there are some, is in"
        " standard deviations within bags. p says how often weights given at random would make some column stand out"
        " as much, corrected for the number of columns; from .05 on nothing is named. What stands out need not be what"
        " the model used.",
    )


def _told(row: Any, which: str) -> str:
    share, mean = getattr(row, f"share_{which}"), getattr(row, f"mean_{which}")
    if row.stands_out and share == share:
        return f"{share:.1%}"
    return f"{mean:.4g}" if mean == mean else "–"
