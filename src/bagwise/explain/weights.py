"""Weights of several heads or classes as one weight an instance, by which instances are ranked and drawn."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["CHOOSING", "columns_of", "weights_in_one"]

CHOOSING = ("classes", "ordinal")  # kinds of which one answer is the probability of what is predicted


def columns_of(
    weights: NDArray[Any], axis: Literal["heads", "classes"], kind: str, answers: NDArray[Any]
) -> Literal["heads", "classes"]:
    """Say what the columns of weights can be told as: classes only where each bag is taken for one of as many.

    Parameters
    ----------
    weights
        Shape (N,) or (N, K).
    axis
        What the model says that they are.
    kind
        Of the target.
    answers
        To the bags, shape (B, A).

    Returns
    -------
    str

    Examples
    --------
    >>> columns_of(np.ones((3, 2)), "classes", "classes", np.ones((1, 2)))
    'classes'
    >>> columns_of(np.ones((3, 2)), "classes", "ordinal", np.ones((1, 3)))
    'heads'
    """
    told = axis == "classes" and kind in CHOOSING and weights.shape[1:] == answers.shape[1:]
    return "classes" if told else "heads"


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
