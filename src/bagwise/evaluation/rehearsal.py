"""What a cross-validation will meet: folds without a class, found before anybody trains."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from bagwise.bags import Bags
from bagwise.evaluation.protocol import Folds

__all__ = ["Rehearsal", "rehearse"]


class Rehearsal(NamedTuple):
    """What folds lack.

    Attributes
    ----------
    folds
        Number of folds.
    untested, unlearnt
        Each fold and a class that none of its test bags has, or none of its training bags; folds count from 1.
    enough
        The largest number of folds, up to that one, in which none lacks a class; None where even two do.

    Examples
    --------
    >>> rehearse([0, 1] * 6, None, folds=3).enough
    3
    """

    folds: int
    untested: list[tuple[int, Any]]
    unlearnt: list[tuple[int, Any]]
    enough: int | None


def rehearse(labels: Sequence[Any], groups: Sequence[Any] | None, *, folds: int) -> Rehearsal | None:
    """Divide bags into folds as a cross-validation does, and see which classes are there.

    Parameters
    ----------
    labels, groups
        Of each bag; groups may be None.
    folds
        As in `bagwise.evaluation.protocol.Folds`; fewer are taken where the rarest class or the groups are fewer.

    Returns
    -------
    Rehearsal or None
        None where there cannot be two folds.

    Examples
    --------
    >>> rehearse(["a", "a", "b", "b"], ["g", "g", "g", "h"], folds=2).untested
    [(1, 'a')]
    """
    classes, counts = np.unique(labels, return_counts=True)
    most = min(folds, counts.min(), len(labels) if groups is None else len(set(groups)))
    if len(classes) < 2 or most < 2:
        return None
    bags = Bags(
        np.zeros((len(labels), 1)),
        np.arange(len(labels) + 1),
        labels=np.array(labels),
        groups=None if groups is None else np.array(groups),
    )
    untested, unlearnt = _lacking(bags, classes, int(most))
    enough = int(most) if not untested else None
    for fewer in range(int(most) - 1, 1, -1):
        if enough is not None:
            break
        if not _lacking(bags, classes, fewer)[0]:
            enough = fewer
    return Rehearsal(int(most), untested, unlearnt, enough)


def _lacking(bags: Bags, classes: Any, folds: int) -> tuple[list[tuple[int, Any]], list[tuple[int, Any]]]:
    division = Folds(bags, folds)
    assert bags.labels is not None
    found: tuple[list[tuple[int, Any]], list[tuple[int, Any]]] = ([], [])
    for fold in range(folds):
        for lacking, chosen in zip(found, (division.test_bags(0, fold), division.training_bags(0, fold)), strict=True):
            lacking += [(fold + 1, label.item()) for label in classes if not (bags.labels[chosen] == label).any()]
    return found
