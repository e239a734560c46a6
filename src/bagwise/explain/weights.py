"""Weights of several heads or classes as one weight an instance, by which instances are ranked and drawn."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["weights_in_one"]


def weights_in_one(
    weights: NDArray[Any],
    axis: Literal["heads", "classes"],
    predicted: NDArray[np.integer[Any]],
    sizes: NDArray[np.int64],
) -> NDArray[Any]:
    """Give each instance one weight: the mean over heads, or the weight for the class that its bag is taken for.

    Parameters
    ----------
    weights
        Shape (N,), which stays as it is, or (N, K).
    axis
        What the columns are.
    predicted
        For each bag the column of its predicted class, shape (B,).
    sizes
        Number of instances of each bag, shape (B,).

    Returns
    -------
    array
        Shape (N,).

    Examples
    --------
    >>> weights = np.array([[0.25, 0.75], [0.75, 0.25], [1.0, 1.0]])
    >>> weights_in_one(weights, "heads", np.array([1, 0]), np.array([2, 1])).tolist()
    [0.5, 0.5, 1.0]
    >>> weights_in_one(weights, "classes", np.array([1, 0]), np.array([2, 1])).tolist()
    [0.75, 0.25, 1.0]
    """
    if weights.ndim == 1:
        return weights
    if axis == "heads":
        mean: NDArray[Any] = weights.mean(axis=1)
        return mean
    return np.take_along_axis(weights, np.repeat(predicted, sizes)[:, None], axis=1)[:, 0]
