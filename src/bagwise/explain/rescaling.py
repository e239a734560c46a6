"""Weights on the scale on which they are drawn."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["EQUAL", "equal_in_bags", "rescaled_in_bags"]

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


def _extremes(values: NDArray[Any], offsets: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    exact = values.astype(np.float64)
    return np.minimum.reduceat(exact, offsets[:-1]), np.maximum.reduceat(exact, offsets[:-1])
