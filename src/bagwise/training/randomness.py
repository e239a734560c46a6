"""Randomness as a function: numbers that depend on seeds and keys alone, never on what was drawn before."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["hashed", "seed_from"]


def hashed(*parts: ArrayLike) -> NDArray[np.uint64]:
    """Mix whole numbers into random-looking 64-bit numbers.

    Parameters
    ----------
    parts
        Whole numbers or arrays of them, which broadcast; their order matters.

    Returns
    -------
    array
        Of the broadcast shape, at least one-dimensional. Its bits pass for random (the finaliser of SplitMix64 after
        each part).

    Examples
    --------
    >>> hashed(1, [2, 3]).tolist() == [hashed(1, 2).item(), hashed(1, 3).item()]
    True
    >>> hashed(1, 2).item() == hashed(2, 1).item()
    False
    """
    state = np.zeros(1, dtype=np.uint64)
    for part in parts:
        state = state + np.asarray(part).astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state = state ^ (state >> np.uint64(31))
    return state


def seed_from(*parts: ArrayLike) -> int:
    """Fold whole numbers, and all entries of arrays of them, into one seed.

    Parameters
    ----------
    parts
        Whole numbers or arrays; the order of the entries of an array does not matter.

    Returns
    -------
    int
        Between 0 and 2**63 - 1.

    Examples
    --------
    >>> seed_from(0, [5, 6, 7]) == seed_from(0, [7, 6, 5])
    True
    """
    folded = [np.add.reduce(hashed(np.atleast_1d(part))) for part in parts]
    return int(hashed(*folded)[0] >> np.uint64(1))
