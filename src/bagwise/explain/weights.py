"""Weights of several heads or classes, and contributions to several, as one number an instance, to rank and draw by."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bagwise.targets.contract import Target

__all__ = ["CHOOSING", "columns_by_name", "columns_of", "evidence_in_one", "names_of_columns", "weights_in_one"]

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


def evidence_in_one(
    contributions: NDArray[Any], target: Target, predicted: NDArray[np.integer[Any]], sizes: NDArray[np.int64]
) -> NDArray[Any] | None:
    """Say how much each instance speaks for what its bag is taken for, and below 0 how much against it.

    Parameters
    ----------
    contributions
        Shape (N,) or (N, C), as `NeuralMIL.contributions` gives them.
    target
        What the labels are.
    predicted
        For each bag the column of its predicted class, shape (B,).
    sizes
        Number of instances of each bag, shape (B,).

    Returns
    -------
    array or None
        Shape (N,): contributions to the class that is predicted, to the number or to the risk. None where a bag is
        taken for several things.

    Examples
    --------
    >>> from bagwise.targets.classes import ClassTarget
    >>> parts, two = np.array([-2.0, 0.5, 1.0]), ClassTarget.of(["ill", "well"], positive="well")
    >>> evidence_in_one(parts, two, np.array([0, 1]), np.array([2, 1])).tolist()
    [2.0, -0.5, 1.0]
    """
    if target.kind not in CHOOSING:
        return contributions if contributions.ndim == 1 else None
    assert target.names is not None
    chosen = np.repeat(predicted, sizes)
    if contributions.ndim == 2:
        fits = contributions.shape[1] == len(target.names)
        return np.take_along_axis(contributions, chosen[:, None], axis=1)[:, 0] if fits else None
    if target.positive is None:  # a score that grades share
        return contributions
    return np.where(target.names[chosen] == target.positive, contributions, -contributions)


def names_of_columns(target: Target, answers: NDArray[Any]) -> Sequence[Any]:
    """Name the columns of answers: classes, grades or labels, numbers by what they are called, else from 0.

    Parameters
    ----------
    target
        What the labels are.
    answers
        Shape (..., A).

    Returns
    -------
    sequence

    Examples
    --------
    >>> from bagwise.targets.classes import ClassTarget
    >>> names_of_columns(ClassTarget.of(["ill", "well"]), np.ones((1, 2)))
    ['ill', 'well']
    """
    if target.names is not None:
        names: list[Any] = target.names.tolist()
        return names
    return target.label_names or range(answers.shape[-1])


def columns_by_name(called: str, values: NDArray[Any], names: Sequence[Any]) -> dict[str, NDArray[Any]]:
    """Give values of instances as columns of a table.

    Parameters
    ----------
    called
        What they are.
    values
        Shape (N,), which are one column, or (N, C).
    names
        What columns are of, if they are as many; else they are numbered from 1.

    Returns
    -------
    dict
        For each column its values, shape (N,).

    Examples
    --------
    >>> list(columns_by_name("score", np.ones((3, 2)), ["ill", "well"]))
    ['score_ill', 'score_well']
    """
    if values.ndim == 1:
        return {called: values}
    names = names if len(names) == values.shape[1] else range(1, 1 + values.shape[1])
    return {f"{called}_{name}": values[:, place] for place, name in enumerate(names)}
