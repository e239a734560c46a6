"""What classes weigh in the loss, and the shares that balanced weights make even."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.class_weight import compute_class_weight

from bagwise.errors import BagwiseError
from bagwise.targets.classes import ClassTarget
from bagwise.targets.contract import Target

__all__ = ["balanced_shares", "class_weights"]


def class_weights(
    given: str | Mapping[Any, float] | None,
    target: Target,
    encoded: NDArray[np.float64],
    sample_weight: NDArray[np.float64] | None,
) -> tuple[float, ...] | None:
    """Say what a bag of each class weighs in the loss.

    Parameters
    ----------
    given
        As `NeuralMIL` takes it, but for ``"auto"``.
    target
        What labels are.
    encoded
        Labels of what is learnt from, shape (B, 1).
    sample_weight
        Of the same bags.

    Returns
    -------
    tuple of float or None
        In the order of learning, in which of two classes the positive one is last; None where each bag counts the same.

    Raises
    ------
    BagwiseError
        If the labels are no classes, or others than those that have weights.

    Examples
    --------
    >>> target = ClassTarget.of(["normal", "cancer"])
    >>> class_weights("balanced", target, np.array([[0.0], [0.0], [0.0], [1.0]]), None)
    (0.6666666666666666, 2.0)
    """
    if given is None:
        return None
    if not isinstance(target, ClassTarget):
        raise BagwiseError(f"class_weight is {given!r}, and the target is {target.kind}: leave it None")
    classes = target.classes.in_learning
    try:
        weights = compute_class_weight(
            given if isinstance(given, str) else dict(given),
            classes=classes,
            y=classes[encoded[:, 0].astype(np.int64)],
            sample_weight=sample_weight,
        )
    except (ValueError, TypeError) as error:
        raise BagwiseError(f"class_weight is {given!r} and the classes are {classes.tolist()}: {error}") from error
    return tuple(weights.tolist())


def balanced_shares(
    given: str | Mapping[Any, float] | None, target: Target, weights: tuple[float, ...] | None
) -> NDArray[np.float64] | None:
    """Give the shares of classes that balanced weights are the inverse of.

    Parameters
    ----------
    given
        As `NeuralMIL` takes it.
    target
        What labels are.
    weights
        What `class_weights` gave for it.

    Returns
    -------
    array or None
        In the order of the names, with sum 1; None where nothing was balanced.

    Examples
    --------
    >>> balanced_shares("balanced", ClassTarget.of(["normal", "cancer"]), (2 / 3, 2.0)).round(3).tolist()
    [0.25, 0.75]
    """
    if not isinstance(given, str) or weights is None:
        return None
    shares = 1 / np.array(weights)
    return target.by_name(shares / shares.sum())
