"""What can be compared of columns of all kinds: the share of a category, the hour of a time, the mean of a number."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bagwise.bags import Bags
from bagwise.feature_columns import MOST_PLACES

__all__ = ["compared"]

_DAY, _HOUR = 86_400.0, 3_600.0


def compared(bags: Bags) -> tuple[list[str], Callable[[NDArray[np.float64]], NDArray[np.float64]]]:
    """Say what is compared of instances, and give what makes that of them.

    Parameters
    ----------
    bags
        Of vectors.

    Returns
    -------
    tuple
        Names, and a function from raw instances, shape (n, D), to numbers, shape (n, number of names). Without
        `Bags.columns` these are the features. Else a category is 0 or 1 for each of its most frequent values, a date
        the hour of the day, a number itself, where it is missing the mean of all; and what is missing somewhere is 0 or
        1.

    Examples
    --------
    >>> from bagwise.feature_columns import Column
    >>> columns = (Column("colour", "category", ("blue", "red")), Column("size", "number"))
    >>> names, made = compared(Bags(np.array([[0.0, 1.0], [1.0, np.nan]]), [0, 2], columns=columns))
    >>> names, made(np.array([[1.0, np.nan]])).tolist()
    (['colour = blue', 'colour = red', 'size', 'size is missing'], [[0.0, 1.0, 1.0, 1.0]])
    """
    if bags.columns is None:
        features = bags.feature_names or tuple(str(number) for number in range(bags.instance_shape[0]))
        return list(features), lambda instances: instances
    everything = np.asarray(bags.instances)
    named: list[tuple[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]]] = []
    for number, column in enumerate(bags.columns):
        values = everything[:, number]
        gaps = np.isnan(values)
        if column.kind == "category":
            counts = np.bincount(values[~gaps].astype(np.int64), minlength=len(column.values) + 1)
            often = np.sort(np.argsort(-counts[:-1], kind="stable")[:MOST_PLACES])
            named += [(f"{column.name} = {column.values[code]}", _equals(number, code)) for code in often]
        elif column.kind == "date":
            named.append((f"{column.name}: hour of the day", _filled(number, _hour(values), _hour)))
        else:
            named.append((column.name, _filled(number, values, lambda raw: raw)))
        if gaps.any() and column.of is None:
            named.append((f"{column.name} is missing", _missing(number)))
    return [name for name, _ in named], lambda instances: np.column_stack([made(instances) for _, made in named])


def _hour(seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    return seconds % _DAY / _HOUR


def _equals(number: int, code: int) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    return lambda instances: (instances[:, number] == code).astype(np.float64)


def _missing(number: int) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    return lambda instances: np.isnan(instances[:, number]).astype(np.float64)


def _filled(
    number: int, values: NDArray[np.float64], of: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    known = values[~np.isnan(values)]
    mean = float(known.mean()) if len(known) else 0.0
    return lambda instances: np.nan_to_num(of(instances[:, number]), nan=mean)
