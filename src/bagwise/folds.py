"""Dividing into folds as scikit-learn does, to the last one: importing its model selection costs as much as torch.

What is divided is given by what is alike in it (strata) and what must stay together (groups); who divides has looked
before that there are enough of both. Results that were committed rest on these divisions, so they may never change.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["grouped_folds", "random_folds", "stratified_folds"]


def random_folds(count: int, folds: int, seed: int) -> NDArray[np.int64]:
    """Divide at random, as scikit-learn's ``KFold(folds, shuffle=True, random_state=seed)``.

    Parameters
    ----------
    count
        How many there are to divide.
    folds
        Number of folds, at most `count`.
    seed
        Decides the division.

    Returns
    -------
    array
        The fold of each, shape (count,); the first folds have one more where it does not come out even.

    Examples
    --------
    >>> np.bincount(random_folds(5, 2, seed=0)).tolist()
    [3, 2]
    """
    order = np.arange(count)
    np.random.RandomState(seed).shuffle(order)
    fold_of = np.empty(count, np.int64)
    for fold, part in enumerate(np.array_split(order, folds)):
        fold_of[part] = fold
    return fold_of


def stratified_folds(
    strata: NDArray[Any], folds: int, seed: int, groups: NDArray[Any] | None = None
) -> NDArray[np.int64]:
    """Divide so that each fold has its share of every stratum, as scikit-learn's ``StratifiedKFold`` with shuffling.

    Parameters
    ----------
    strata
        What each is like, shape (n,): classes, grades, bins.
    folds
        Number of folds.
    seed
        Decides the division.
    groups
        What each belongs to, shape (n,), as `grouped_folds` takes it; None where all may be parted.

    Returns
    -------
    array
        The fold of each, shape (n,).

    Examples
    --------
    >>> fold_of = stratified_folds(np.array(["a", "a", "b", "b"]), 2, seed=0)
    >>> sorted(fold_of[:2].tolist()), sorted(fold_of[2:].tolist())
    ([0, 1], [0, 1])
    """
    if groups is not None:
        return grouped_folds(strata, groups, folds, seed)
    rng = np.random.RandomState(seed)
    _, first, inverse = np.unique(strata, return_index=True, return_inverse=True)
    # Strata count from 0 in the order in which they first appear, and each is dealt out where the one before it ended.
    codes = np.unique(first, return_inverse=True)[1][inverse]
    dealt = np.sort(codes)
    shares = np.array([np.bincount(dealt[fold::folds], minlength=len(first)) for fold in range(folds)])
    fold_of = np.empty(len(codes), np.int64)
    for code in range(len(first)):
        dealt = np.arange(folds).repeat(shares[:, code])
        rng.shuffle(dealt)
        fold_of[codes == code] = dealt
    return fold_of


def grouped_folds(strata: NDArray[Any], groups: NDArray[Any], folds: int, seed: int) -> NDArray[np.int64]:
    """Divide whole groups so that folds are as alike as they can be, as ``StratifiedGroupKFold`` with shuffling.

    The groups whose strata differ most in number come first, and each goes to the fold where it leaves the shares of
    every stratum most even; of folds that are equally good, to the one with the fewest so far.

    Parameters
    ----------
    strata
        What each is like, shape (n,).
    groups
        What each belongs to, shape (n,).
    folds
        Number of folds, at most that of groups. Some may stay empty.
    seed
        Decides the division.

    Returns
    -------
    array
        The fold of each, shape (n,).

    Examples
    --------
    >>> fold_of = grouped_folds(np.array([0, 1, 0, 1]), np.array(["g", "g", "h", "h"]), 2, seed=0)
    >>> bool(fold_of[0] == fold_of[1] != fold_of[2] == fold_of[3])
    True
    """
    _, stratum, sizes = np.unique(strata, return_inverse=True, return_counts=True)
    names, group = np.unique(groups, return_inverse=True)
    counts = np.zeros((len(names), len(sizes)))
    np.add.at(counts, (group, stratum), 1)
    order = np.arange(len(names))
    np.random.RandomState(seed).shuffle(order)
    counts = counts[order]
    held = np.zeros((folds, len(sizes)))
    fold_of_group = np.empty(len(names), np.int64)
    for place in np.argsort(-np.std(counts, axis=1), kind="stable"):
        best = _best_fold(held, sizes, counts[place])
        held[best] += counts[place]
        fold_of_group[order[place]] = best
    return fold_of_group[group]


def _best_fold(held: NDArray[np.float64], sizes: NDArray[np.int64], more: NDArray[np.float64]) -> int:
    best, least, fewest = 0, np.inf, np.inf
    for fold in range(len(held)):
        tried = held.copy()
        tried[fold] += more
        unevenness, count = float(np.std(tried / sizes, axis=0).mean()), held[fold].sum()
        if unevenness < least or (_close(unevenness, least) and count < fewest):
            best, least, fewest = fold, unevenness, count
    return best


def _close(one: float, other: float) -> bool:
    return abs(one - other) <= 1e-8 + 1e-5 * other < np.inf
