"""Tables as files."""

import csv
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from bagwise.errors import BagwiseError
from bagwise.files import replacing

__all__ = ["FORMATS", "check_format", "write_table"]

FORMATS = ("csv", "parquet")


def check_format(name: str) -> None:
    """Raise if tables cannot be written so.

    Parameters
    ----------
    name
        One of `FORMATS`.

    Raises
    ------
    BagwiseError
        If it is another.
    """
    if name not in FORMATS:
        raise BagwiseError(f"--format is {name!r}: it must be one of {', '.join(FORMATS)}")


def write_table(frame: pd.DataFrame, path: str | Path) -> None:
    r"""Write a table as CSV or Parquet, in the place of an older one.

    Parameters
    ----------
    frame
        The table; its index is left out. Texts stay what they are, also those that a spreadsheet takes for a formula.
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
    if path.suffix.removeprefix(".") not in FORMATS:
        raise BagwiseError(f"{path} must end in .csv or .parquet: name it so")
    with replacing(path) as temporary:
        if path.suffix == ".csv":
            # Python leaves a carriage return without quotes, and whoever reads it takes it for the end of a row.
            quoting: Literal[0, 2] = csv.QUOTE_NONNUMERIC if _holds_return(frame) else csv.QUOTE_MINIMAL
            frame.to_csv(temporary, index=False, lineterminator="\n", quoting=quoting)
        else:
            with temporary.open("wb") as file:  # Arrow knows no names of files but those in UTF-8
                frame.to_parquet(file, index=False)


def _holds_return(frame: pd.DataFrame) -> bool:
    texts = frame.select_dtypes(exclude=["number", "bool"])
    columns: list[Any] = [frame.columns, *(texts[name].unique() for name in texts)]
    return any("\r" in str(text) for column in columns for text in column)
