"""Weights on the scale on which they are drawn."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["rescaled_in_bags"]


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
        Shape (N,); 1 in a bag whose values are all the same, since each of them is its highest.

    Examples
    --------
    >>> rescaled_in_bags(np.array([1.0, 3.0, 2.0, 0.5]), np.array([0, 3, 4])).tolist()
    [0.0, 1.0, 0.5, 1.0]
    """
    sizes = np.diff(offsets)
    exact = values.astype(np.float64)
    low = np.repeat(np.minimum.reduceat(exact, offsets[:-1]), sizes)
    high = np.repeat(np.maximum.reduceat(exact, offsets[:-1]), sizes)
    spread = high - low
    return np.where(spread > 0, (exact - low) / np.where(spread > 0, spread, 1), 1.0)
