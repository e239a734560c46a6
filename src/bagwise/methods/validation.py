"""Bags that decide when to stop: as a user gives them to `fit`, or split off."""

import warnings
from dataclasses import replace
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bagwise.bags import Bags
from bagwise.checks import valid_positions, valid_weights
from bagwise.errors import BagwiseError, BagwiseWarning
from bagwise.folds import stratified_folds
from bagwise.stored import StoredInstances
from bagwise.targets.classes import ClassTarget
from bagwise.targets.contract import Target

__all__ = ["SetApart", "set_apart", "share_of", "validation_split"]


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


def share_of(fraction: float) -> Fraction:
    """Give the share that is held out: so many of at most ten parts, or one of more.

    Parameters
    ----------
    fraction
        Above 0.

    Returns
    -------
    Fraction

    Examples
    --------
    >>> share_of(0.3), share_of(0.01)
    (Fraction(3, 10), Fraction(1, 100))
    """
    return Fraction(fraction).limit_denominator(10) or Fraction(1, round(1 / fraction))


def validation_split(
    fraction: float, target: Target, labels: NDArray[Any], groups: NDArray[Any] | None, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Hold a share of training bags out.

    Parameters
    ----------
    fraction
        Their share, in tenths or one part in several.
    target
        Says which labels are alike, of which each side gets its share.
    labels
        Of the bags.
    groups
        Of the bags, of which none is on both sides; None where there are none.
    seed
        Decides which.

    Returns
    -------
    tuple of arrays
        Positions to learn from, and those held out.

    Raises
    ------
    BagwiseError
        If there are too few bags that are alike, or too few groups.

    Examples
    --------
    >>> labels = np.array([0, 1] * 10)
    >>> [len(part) for part in validation_split(0.2, ClassTarget.of(labels), labels, None, seed=0)]
    [16, 4]
    """
    share = share_of(fraction)
    wanted, parts = share.numerator, share.denominator
    strata = target.strata(labels, parts)
    for what, fewest in (
        ("bags of the rarest class" if isinstance(target, ClassTarget) else "bags alike", np.bincount(strata).min()),
        ("groups", parts if groups is None else len(np.unique(groups))),
    ):
        if fewest < parts:
            raise BagwiseError(
                f"there are {fewest} {what}, too few to hold {wanted} in {parts} out for validation: train without"
                " patience, or give more data"
            )
    held_out = stratified_folds(strata, parts, seed, groups) < wanted
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


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
