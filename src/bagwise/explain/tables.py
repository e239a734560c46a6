"""Tables as files."""

from pathlib import Path

import pandas as pd

from bagwise.errors import BagwiseError
from bagwise.files import replacing

__all__ = ["write_table"]


def write_table(frame: pd.DataFrame, path: str | Path) -> None:
    r"""Write a table as CSV or Parquet, in the place of an older one.

    Parameters
    ----------
    frame
        The table; its index is left out.
    path
        Ends in ``.csv`` or ``.parquet``.

    Raises
    ------
    BagwiseError
        If the name ends otherwise, or the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "table.csv"
    >>> write_table(pd.DataFrame({"bag": ["a"], "weight": [0.5]}), path)
    >>> path.read_text()
    'bag,weight\na,0.5\n'
    """
    path = Path(path)
    if path.suffix not in (".csv", ".parquet"):
        raise BagwiseError(f"{path} must end in .csv or .parquet: name it so")
    with replacing(path) as temporary:
        if path.suffix == ".csv":
            frame.to_csv(temporary, index=False, lineterminator="\n")
        else:
            frame.to_parquet(temporary, index=False)
