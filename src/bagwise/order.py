"""Where an instance stands among those of its bag, how long after the one before, and what that one was.

A bag is a set, and a model cannot see that one instance follows another unless each says so itself.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bagwise.feature_columns import Column

__all__ = ["ordered", "told_again"]


def ordered(
    name: str,
    written: str,
    values: NDArray[np.float64],
    bag: NDArray[np.int64],
    columns: Sequence[Column],
    parts: Sequence[NDArray[np.float64]],
) -> list[tuple[Column, NDArray[np.float64]]]:
    """Give what an order makes of columns.

    Parameters
    ----------
    name
        Of the column of time or rank.
    written
        How its values were written; ``"number"`` where they are numbers, else they are seconds.
    values
        Those, shape (N,), finite in all rows that have a bag.
    bag
        Of each row, shape (N,), below 0 where a row is left out.
    columns, parts
        What instances have, and its numbers, shape (N,) each.

    Returns
    -------
    list
        Columns and their numbers: the share of the bag's other instances that are earlier; what lies between this one
        and the one before; and what that one had in each column. Instances of one time share a place, and come after
        the same one. Of several that are before, it is that whose values are lowest, in the order of the columns, so
        that the order of rows does not matter. Before the first is nothing.

    Examples
    --------
    >>> time, bag, colour = np.array([3.0, 1.0, 1.0, 9.0]), np.array([0, 0, 0, 1]), np.array([0.0, 1.0, 0.0, 1.0])
    >>> made = ordered("day", "number", time, bag, [Column("colour", "category", ("blue", "red"))], [colour])
    >>> [(column.name, numbers.tolist()) for column, numbers in made][:2]
    [('day: place in the bag', [1.0, 0.0, 0.0, 0.0]), ('day: since the one before', [2.0, nan, nan, nan])]
    >>> made[2][0].name, made[2][1].tolist()
    ('colour, of the one before', [0.0, nan, nan, nan])
    """
    unit = "" if written == "number" else "seconds "
    told = [(column, numbers) for column, numbers in zip(columns, parts, strict=True) if _tells(column, name)]
    groups = _groups(values, bag)
    before = _before([numbers for _, numbers in told], bag, *groups)
    return [
        (Column(f"{name}: place in the bag", "number", (written,), name, "place"), _places(bag, *groups)),
        (Column(f"{name}: {unit}since the one before", "number", (), name, "since"), values - _at(values, before)),
        *(
            (
                replace(column, name=f"{column.name}, of the one before", of=column.name, role="before"),
                _at(numbers, before),
            )
            for column, numbers in told
        ),
    ]


def told_again(
    instances: NDArray[np.float64], columns: Sequence[Column], offsets: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Say again what the ones before were, where categories got other codes.

    Parameters
    ----------
    instances
        Shape (N, D); changed in place.
    columns
        What they stand for.
    offsets
        Where bags begin and the last one ends, shape (B + 1,).

    Returns
    -------
    array
        The same.
    """
    number = {column.name: place for place, column in enumerate(columns)}
    made = {place: number[column.of] for place, column in enumerate(columns) if column.role == "before" and column.of}
    if made:
        (place,) = [place for place, column in enumerate(columns) if column.role == "place"]
        bag = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
        groups = _groups(instances[:, place], bag)
        before = _before([instances[:, base] for base in made.values()], bag, *groups)
        for copy, base in made.items():
            instances[:, copy] = _at(instances[:, base], before)
    return instances


def _tells(column: Column, order: str) -> bool:
    """Say whether it is worth telling of the one before: the time of that one is known from how long ago it was."""
    return column.of is None and column.role == "" and column.name != order


def _places(
    bag: NDArray[np.int64], rows: NDArray[np.int64], starts: NDArray[np.int64], group: NDArray[np.int64]
) -> NDArray[np.float64]:
    own = bag[rows]
    sizes = np.bincount(own)
    earlier = starts[group] - (np.cumsum(sizes) - sizes)[own]
    places = np.full(len(bag), np.nan)
    places[rows] = earlier / np.maximum(1, sizes[own] - 1)
    return places


def _before(
    parts: Sequence[NDArray[np.float64]],
    bag: NDArray[np.int64],
    rows: NDArray[np.int64],
    starts: NDArray[np.int64],
    group: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Give of each row that which is before, -1 where none is."""
    tied = np.diff(np.append(starts, len(rows)))[group] > 1
    if tied.any():
        some, rows = rows[tied], rows.copy()
        rows[tied] = some[np.lexsort((*(numbers[some] for numbers in reversed(parts)), group[tied]))]
    heads = rows[starts]
    same = bag[heads][1:] == bag[heads][:-1]
    previous = np.concatenate([[-1], np.where(same, heads[:-1], -1)])
    before = np.full(len(bag), -1)
    before[rows] = previous[group]
    return before


def _groups(
    values: NDArray[np.float64], bag: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Give rows by bag and time, where among these each time of a bag begins, and of each the number of its time."""
    rows = np.flatnonzero(bag >= 0)
    rows = rows[np.lexsort((values[rows], bag[rows]))]
    new = np.ones(len(rows), bool)
    new[1:] = (np.diff(bag[rows]) != 0) | (np.diff(values[rows]) != 0)
    return rows, np.flatnonzero(new), np.cumsum(new) - 1


def _at(numbers: NDArray[np.float64], rows: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.append(numbers, np.nan)[rows]
