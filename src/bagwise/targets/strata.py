"""Bags that are alike, so that each fold gets its share of them."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["binned", "merged"]

_MOST_BINS = 10


def binned(values: NDArray[np.float64], folds: int) -> NDArray[np.int64]:
    """Cut numbers into at most ten bins by rank, each of `folds` bags or more where there are so many.

    Parameters
    ----------
    values
        Shape (B,).
    folds
        How many folds are to have a part of each bin.

    Returns
    -------
    array
        The bin of each, shape (B,); equal values share one.

    Examples
    --------
    >>> binned(np.array([3.0, 1.0, 2.0, 4.0]), folds=2).tolist()
    [1, 0, 0, 1]
    """
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    wanted = max(folds, -(-len(values) // _MOST_BINS))
    bins = np.zeros(len(counts), dtype=np.int64)
    number, held, left = 0, 0, len(values)
    for place, count in enumerate(counts.tolist()):
        if min(held, left) >= wanted:
            number, held = number + 1, 0
        bins[place] = number
        held, left = held + count, left - count
    return bins[places]


def merged(codes: NDArray[np.int64], folds: int) -> NDArray[np.int64]:
    """Join kinds of bags of which there are fewer than folds: with each other, and if these are few, with the largest.

    Parameters
    ----------
    codes
        The kind of each bag, shape (B,).
    folds
        How many folds are to have a part of each.

    Returns
    -------
    array
        Shape (B,), whole numbers from 0.

    Examples
    --------
    >>> merged(np.array([5, 5, 5, 7, 8, 9]), folds=3).tolist()
    [0, 0, 0, 1, 1, 1]
    """
    _, numbers, counts = np.unique(codes, return_inverse=True, return_counts=True)
    rare = counts < folds
    if rare.any():
        together = int(counts.argmax()) if 0 < counts[rare].sum() < folds else len(counts)
        numbers = np.where(rare[numbers], together, numbers)
    return np.unique(numbers, return_inverse=True)[1].astype(np.int64)
