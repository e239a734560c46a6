"""Tables of points in images, such as the nuclei of cells."""

from pathlib import Path

import numpy as np
import pandas as pd

from bagwise.errors import BagwiseError
from bagwise.io.columns import Table
from bagwise.io.labels import spaces
from bagwise.io.problems import tell

__all__ = ["read_points"]

_CLASS = "class"


def read_points(path: str | Path, bag: str = "bag") -> pd.DataFrame:
    r"""Read the points around which images are cut.

    Parameters
    ----------
    path
        A table as `bagwise.read_table` takes it, with a row a point.
    bag
        The column that names the bag.

    Returns
    -------
    DataFrame
        The columns `bag`, ``x``, ``y`` and, if it is there, ``class``, as `bagwise.Points` takes them.

    Raises
    ------
    BagwiseError
        If it is no table, lacks a column, or has a row without a bag, a number or, where there are any, a class.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "nuclei.csv"
    >>> _ = path.write_text("bag,x,y,class\n007,1.5,2,tumour\n")
    >>> read_points(path).values.tolist()
    [['007', 1.5, 2.0, 'tumour']]
    """
    texts, places = [bag, _CLASS], ["x", "y"]
    table = Table.read(Path(path), texts, [*texts, *places])
    table.check_columns([bag, *places])
    numbers, wrong = table.numbers(places)
    for error in wrong.values():
        raise error
    found = {}
    for name in [bag, *places, *([_CLASS] if _CLASS in table.header else [])]:
        if name in numbers:
            found[name], lacking = numbers[name], ~np.isfinite(numbers[name])
        else:
            named = table.names(name)
            found[name] = np.array([*named.values, None], dtype=object)[named.codes]
            lacking = named.codes < 0
        if lacking.any():
            row = table.row(int(np.argmax(lacking)))
            raise BagwiseError(
                f"{path}: column {name!r} has a gap, or no number, in row {row}: fill it in, or drop the row"
            )
    tell(spaces(table))
    return pd.DataFrame(found)
