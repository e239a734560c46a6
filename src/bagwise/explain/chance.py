"""Whether differences between instances of high weight and the others of their bag are more than chance."""

from collections.abc import Iterable, Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

__all__ = ["adjusted", "permutations_for", "permuted"]

_MOST, _FEWEST = 4_999, 199
_WORK = 1e10  # numbers that are multiplied, at most but for the fewest permutations
_AT_ONCE = 1 << 21  # numbers that are drawn
_ROUNDING = 1e-9  # by which sums in another order may differ


def permutations_for(instances: int, numbers: int) -> int:
    """Say how many permutations to look at: 4,999, and of large bags fewer, at least 199.

    Parameters
    ----------
    instances
        Of all bags.
    numbers
        Of each of them.

    Returns
    -------
    int

    Examples
    --------
    >>> permutations_for(1_000, 50), permutations_for(1_000_000, 50)
    (4999, 199)
    """
    return int(np.clip(_WORK / (instances * (numbers + 30)), _FEWEST, _MOST))


def permuted(
    weights: NDArray[np.float64], offsets: NDArray[np.int64], count: int, rng: np.random.Generator
) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Permute weights within bags, some permutations at a time.

    Parameters
    ----------
    weights
        One an instance, packed, shape (N,).
    offsets
        Where bags begin and end, shape (B + 1,).
    count
        P, how many permutations.
    rng
        Is drawn from bag by bag, for each one permutation after the other.

    Yields
    ------
    tuple
        Which permutations, and their weights, shape (permutations, N).

    Examples
    --------
    >>> [(_, made)] = permuted(np.array([1.0, 0.0, 5.0]), np.array([0, 2, 3]), 2, np.random.default_rng(0))
    >>> made.sum(axis=1).tolist(), made[:, 2].tolist()
    ([6.0, 6.0], [5.0, 5.0])
    """
    at_once = max(1, _AT_ONCE // len(weights))
    for first in range(0, count, at_once):
        some = slice(first, min(count, first + at_once))
        each = [np.tile(weights[begin:end], (some.stop - first, 1)) for begin, end in pairwise(offsets)]
        yield some, np.hstack([rng.permuted(one, axis=1) for one in each])


def adjusted(observed: NDArray[np.float64], by_chance: Iterable[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Give p-values that allow for how many hypotheses there are: step-down maxT of Westfall and Young (1993).

    They keep the probability to reject any true hypothesis, whichever are true and however statistics depend on each
    other. With P permutations the smallest is 1 / (P + 1).

    Parameters
    ----------
    observed
        Statistics that are large where hypotheses are false, shape (C,), all on one scale.
    by_chance
        The same under each permutation, P of shape (C,).

    Returns
    -------
    array
        Shape (C,).

    References
    ----------
    P. H. Westfall and S. S. Young: Resampling-Based Multiple Testing. Wiley, 1993, algorithm 4.1. Y. Ge, S. Dudoit and
    T. P. Speed: Resampling-based multiple testing for microarray data analysis. Test 12, 2003, box 2.

    Examples
    --------
    >>> adjusted(np.array([1.0, 5.0]), [[0.5, 2.0], [2.0, 0.1], [0.3, 0.2]]).tolist()
    [0.5, 0.25]
    """
    order = np.argsort(-observed, kind="stable")
    chance = np.asarray(by_chance)[:, order]
    highest = np.maximum.accumulate(chance[:, ::-1], axis=1)[:, ::-1]  # of this one and of those that stand out less
    reached = highest >= observed[order] * (1 - _ROUNDING)
    ordered = np.maximum.accumulate((1 + reached.sum(axis=0)) / (1 + len(chance)))
    found = np.empty(len(observed))
    found[order] = ordered
    return found
