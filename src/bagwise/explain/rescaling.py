"""Weights of instances beside those of the same bag: the scale on which they are drawn, and ranks."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["EQUAL", "equal_in_bags", "leading_in_bags", "ranks_in_bags", "rescaled_in_bags"]

EQUAL = 0.5  # the rescaled weight of instances that all count the same
_ROUNDING = 1e-6  # of the largest: what float32 makes of equal weights differs by less


def equal_in_bags(values: NDArray[Any], offsets: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Say in which bags all values are the same, so that none of its instances stands out.

    Parameters
    ----------
    values
        One an instance, packed, shape (N,).
    offsets
        Where bags begin and end, shape (B + 1,).

    Returns
    -------
    array
        Shape (B,); True where the values differ by less than a millionth of the largest, and in bags of one instance.

    Examples
    --------
    >>> equal_in_bags(np.array([1.0, 3.0, 2.0, 0.5, 0.5]), np.array([0, 3, 5])).tolist()
    [False, True]
    """
    low, high = _extremes(values, offsets)
    return np.asarray(high - low <= _ROUNDING * np.maximum(np.abs(low), np.abs(high)))


def rescaled_in_bags(values: NDArray[Any], offsets: NDArray[np.int64]) -> NDArray[np.float64]:
    """Bring the values of each bag to 0..1: ``(a - min) / (max - min)``, the paper's a' (section 4.3).

    Parameters
    ----------
    values
        One an instance, packed, shape (N,).
    offsets
        Where bags begin and end, shape (B + 1,).

    Returns
    -------
    array
        Shape (N,); `EQUAL`, 0.5, in a bag whose values are all the same (`equal_in_bags`): none is its highest.

    Examples
    --------
    >>> rescaled_in_bags(np.array([1.0, 3.0, 2.0, 0.5]), np.array([0, 3, 4])).tolist()
    [0.0, 1.0, 0.5, 0.5]
    """
    sizes = np.diff(offsets)
    equal = np.repeat(equal_in_bags(values, offsets), sizes)
    low, high = (np.repeat(part, sizes) for part in _extremes(values, offsets))
    return np.where(equal, EQUAL, (values.astype(np.float64) - low) / np.where(equal, 1, high - low))


def ranks_in_bags(values: NDArray[Any], offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rank the values of each bag, the highest first.

    Parameters
    ----------
    values
        One an instance, packed, shape (N,).
    offsets
        Where bags begin and end, shape (B + 1,).

    Returns
    -------
    array
        Shape (N,), from 1; equals have one rank, and the next has the rank that it would have without their being
        equal: 1, 2, 2, 4. All are 1 in a bag whose values are all the same (`equal_in_bags`).

    Examples
    --------
    >>> ranks_in_bags(np.array([1.0, 3.0, 1.0, 0.5]), np.array([0, 3, 4])).tolist()
    [2, 1, 2, 1]
    """
    bag = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    values = np.where(equal_in_bags(values, offsets)[bag], 0.0, values)
    order = np.lexsort((-values, bag))
    places = np.arange(len(order))
    new = (np.diff(bag, prepend=-1) != 0) | (np.diff(values[order], prepend=0) != 0)
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.maximum.accumulate(np.where(new, places, 0)) - offsets[:-1][bag] + 1
    return ranks


def leading_in_bags(values: NDArray[Any], offsets: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Find the instances with the highest values of each bag.

    Parameters
    ----------
    values
        One an instance, packed, shape (N,).
    offsets
        Where bags begin and end, shape (B + 1,).
    count
        How many of each bag; more where the last of them has equals, and none of a bag whose values are all the same.

    Returns
    -------
    array
        Their positions, by bag and rank.

    Examples
    --------
    >>> leading_in_bags(np.array([1.0, 3.0, 2.0, 0.5]), np.array([0, 3, 4]), 2).tolist()
    [1, 2]
    """
    bag = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    ranks = ranks_in_bags(values, offsets)
    chosen = np.flatnonzero((ranks <= count) & ~equal_in_bags(values, offsets)[bag])
    return chosen[np.lexsort((ranks[chosen], bag[chosen]))]


def _extremes(values: NDArray[Any], offsets: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    exact = values.astype(np.float64)
    return np.minimum.reduceat(exact, offsets[:-1]), np.maximum.reduceat(exact, offsets[:-1])
