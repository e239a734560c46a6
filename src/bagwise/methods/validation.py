"""Bags that decide when to stop, as a user gives them to `fit`."""

import warnings
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bagwise.bags import Bags
from bagwise.checks import valid_positions, valid_weights
from bagwise.errors import BagwiseError, BagwiseWarning
from bagwise.stored import StoredInstances

__all__ = ["SetApart", "set_apart"]


class SetApart(NamedTuple):
    """Bags to learn from and bags to stop by, in one set.

    Attributes
    ----------
    bags
        All of them.
    train
        Positions of those to learn from.
    validation
        Positions of those that decide when to stop; None where nobody has said which.
    sample_weight
        One weight a bag, or None.

    Examples
    --------
    >>> bags = Bags.from_arrays([[[0.0]], [[1.0]], [[2.0]]], labels=[0, 1, 1])
    >>> SetApart(bags, np.array([0, 1]), np.array([2]), None).validation.tolist()
    [2]
    """

    bags: Bags
    train: NDArray[np.int64]
    validation: NDArray[np.int64] | None
    sample_weight: NDArray[np.float64] | None


def set_apart(bags: Bags, validation: Any, sample_weight: ArrayLike | None = None) -> SetApart:
    """Set the bags that decide when to stop apart from those that are learnt from.

    Parameters
    ----------
    bags
        Bags with labels.
    validation
        Positions among `bags`, or a mask of shape (B,); or other `Bags`, with labels. None says nothing.
    sample_weight
        One weight for each of `bags`. Other bags count 1 each.

    Returns
    -------
    SetApart

    Raises
    ------
    BagwiseError
        If there is no such position, a bag is on both sides, none is left to learn from or given to stop by, or the
        other bags are of another kind.

    Warns
    -----
    BagwiseWarning
        If a group is on both sides.

    Examples
    --------
    >>> bags = Bags.from_arrays([[[0.0]], [[1.0]], [[2.0]], [[3.0]]], labels=[0, 1, 0, 1])
    >>> set_apart(bags, [2, 3]).train.tolist()
    [0, 1]
    """
    if bags.labels is None:
        raise BagwiseError("the bags have no labels to learn from: give y, or bags with labels")
    weights = None if sample_weight is None else valid_weights(sample_weight, bags.names)
    if validation is None:
        return SetApart(bags, np.arange(len(bags)), None, weights)
    count = len(bags)
    if isinstance(validation, Bags):
        bags = _together(bags, validation)
        chosen = np.arange(count, len(bags))
        weights = None if weights is None else np.concatenate([weights, np.ones(len(chosen))])
    else:
        chosen = valid_positions(validation, bags.names, "the positions for validation")
    train = np.setdiff1d(np.arange(len(bags)), chosen)
    for part, use in ((chosen, "stop by"), (train, "learn from")):
        if not len(part):
            raise BagwiseError(f"validation leaves no bag to {use}: give other positions, or other bags")
    _check(bags, train, chosen)
    return SetApart(bags, train, chosen, weights)


def _together(bags: Bags, validation: Bags) -> Bags:
    if validation.labels is None:
        raise BagwiseError("the bags for validation have no labels: give bags with labels")
    places = {name: place for place, name in enumerate(bags.names)}
    for own, name in enumerate(validation.names):
        # Bags that nobody named have numbers for names, which are no sign that they are the same.
        if name in places and np.array_equal(bags[places[name]].instances, validation[own].instances):
            raise BagwiseError(
                f"bag {name!r} is learnt from and among the bags for validation: a bag may be on one side only"
            )
    sides = [bags, validation]
    for part in ("groups", "instance_labels", "coordinates", "instance_names"):
        if any(getattr(side, part) is None for side in sides):
            without: dict[str, Any] = {part: None}
            sides = [replace(side, **without) for side in sides]
    learnt, other = bags.instances, validation.instances
    if not isinstance(learnt, StoredInstances) and not isinstance(other, StoredInstances):
        sides[1] = replace(sides[1], instances=other.astype(learnt.dtype, copy=False))
    try:
        return Bags.concat(sides)
    except BagwiseError as error:
        raise BagwiseError(f"the bags for validation (set 1) are not like those learnt from (set 0): {error}") from None


def _check(bags: Bags, train: NDArray[np.int64], validation: NDArray[np.int64]) -> None:
    if bags.groups is None:
        return
    for group in np.intersect1d(bags.groups[train], bags.groups[validation])[:1]:
        warnings.warn(
            f"group {group!s} is learnt from and in the bags for validation: these say less of new groups, so when to"
            " stop is chosen too late",
            BagwiseWarning,
            stacklevel=4,
        )
