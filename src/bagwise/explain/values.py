"""What stands in the table's own columns of instances: numbers, names of categories, dates."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bagwise.bags import Bags, BagsLike, as_bags
from bagwise.text import printable

__all__ = ["MOST_COLUMNS", "as_text", "columns_shown", "instances_at", "values_of"]

# Of a wide table: what a reader would look through, and few enough for a page.
MOST_COLUMNS = 30
_DAY = 86_400.0


def columns_shown(bags: BagsLike, first: Sequence[str] = ()) -> list[str]:
    """Name the columns whose values are shown.

    Parameters
    ----------
    bags
        Any.
    first
        Names of columns in the order in which they are wanted; others follow in that of the table.

    Returns
    -------
    list of str
        At most `MOST_COLUMNS` of those that the table itself has, and of what came before; none where features have no
        names.

    Examples
    --------
    >>> columns_shown(Bags(np.zeros((1, 3)), [0, 1], feature_names=["a", "b", "c"]), ["c"])
    ['c', 'a', 'b']
    """
    bags = as_bags(bags)
    own = (
        [column.name for column in bags.columns if column.source == column.name]
        if bags.columns
        else bags.feature_names or ()
    )
    places = {name: place for place, name in enumerate(dict.fromkeys(first))}
    return sorted(own, key=lambda name: places.get(name, len(places)))[:MOST_COLUMNS]


def instances_at(bags: Bags, rows: NDArray[np.integer[Any]]) -> NDArray[Any]:
    """Give some instances.

    Parameters
    ----------
    bags
        The bags.
    rows
        Positions of instances, shape (n,). Of bags in files one instance is read at a time.

    Returns
    -------
    array
        Shape (n, ...).

    Examples
    --------
    >>> instances_at(Bags.from_arrays([[[0.5]], [[1.5], [2.5]]]), np.array([2, 0])).tolist()
    [[2.5], [0.5]]
    """
    if isinstance(bags.instances, np.ndarray):
        found: NDArray[Any] = bags.instances[rows]
        return found
    read = [bags.instances[row : row + 1] for row in rows.tolist()]
    return np.concatenate([np.empty((0, *bags.instance_shape), bags.instances.dtype), *read])


def values_of(bags: BagsLike, rows: NDArray[np.integer[Any]], names: Sequence[str]) -> pd.DataFrame:
    """Give what stands in columns of instances.

    Parameters
    ----------
    bags
        With names of features.
    rows
        Positions of instances, shape (n,). packed as in ``bags.instances``.
    names
        Of features.

    Returns
    -------
    DataFrame
        Shape (n, number of names): numbers, and of categories and dates texts, NaN where something is missing. A
        boolean is 0 or 1; a category that no bag had when it was read is ``"(other)"``.

    Examples
    --------
    >>> from bagwise.feature_columns import Column
    >>> columns = (Column("colour", "category", ("blue", "red")), Column("when", "date"))
    >>> bags = Bags(np.array([[0.0, 90_000.0], [1, np.nan]]), [0, 2], columns=columns)
    >>> values_of(bags, np.array([0, 1]), ["when", "colour"]).values.tolist()
    [['1970-01-02 01:00:00', 'blue'], [nan, 'red']]
    """
    bags = as_bags(bags)
    places = {name: place for place, name in enumerate(bags.feature_names or ())}
    raw = instances_at(bags, rows)
    told: dict[str, Any] = {}
    for name in names:
        values = raw[:, places[name]]
        column = None if bags.columns is None else bags.columns[places[name]]
        if column is None or column.kind == "number":
            told[name] = values
        elif column.kind == "category":
            meanings = np.array([*column.values, "(other)", None], dtype=object)
            told[name] = meanings[np.where(np.isnan(values), len(meanings) - 1, values).astype(np.int64)]
        else:
            told[name] = _dates(values, np.asarray(bags.instances)[:, places[name]])
    return pd.DataFrame(told, index=range(len(raw)))


def as_text(value: Any) -> str:
    r"""Say a value in a few words, which a page may show.

    Parameters
    ----------
    value
        As `values_of` gives it.

    Returns
    -------
    str
        Empty where it is missing.

    Examples
    --------
    >>> as_text(1234.5678), as_text("a\nb"), as_text(float("nan")), as_text(None)
    ('1,234.57', 'a\\nb', '', '')
    """
    if value is None or value != value:
        return ""
    return printable(value) if isinstance(value, str) else f"{value:,.6g}"


def _dates(seconds: NDArray[np.float64], all_of_them: NDArray[np.float64]) -> NDArray[np.object_]:
    """Write seconds as dates, with as much of the time as the column has; times of a day as these."""
    known = all_of_them[~np.isnan(all_of_them)]
    unit: Any = "us" if (known % 1).any() else "s" if (known % _DAY).any() else "D"
    moments = np.full(len(seconds), np.datetime64("NaT"), "datetime64[us]")
    given = ~np.isnan(seconds)
    moments[given] = (seconds[given] * 1e6).round().astype(np.int64).astype("datetime64[us]")
    texts = np.array([text.replace("T", " ") for text in np.datetime_as_string(moments, unit=unit)], dtype=object)
    if len(known) and known.min() >= 0 and known.max() < _DAY:
        texts = np.array([text.partition(" ")[2] for text in texts], dtype=object)
    texts[~given] = None
    return texts
