"""From bags to patients: one label and one answer of all the bags that somebody has."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bagwise.errors import BagwiseError
from bagwise.evaluation.cohorts import Cohort, fitting_metrics
from bagwise.targets.contract import Target

__all__ = ["AGGREGATES", "check_aggregate", "of_patients"]

Combine = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def _noisy_or(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    some: NDArray[np.float64] = 1 - np.prod(1 - probabilities, axis=0)
    return some


def _maximum(values: NDArray[np.float64]) -> NDArray[np.float64]:
    largest: NDArray[np.float64] = values.max(axis=0)
    return largest


# What becomes of the bags of a patient, over axis 0; of the mean each target knows its own.
AGGREGATES: dict[str, Combine | None] = {"mean": None, "maximum": _maximum, "noisy-or": _noisy_or}
_PROBABILITIES = ("classes", "multi-label", "ordinal")
_TAKE = {"maximum": (*_PROBABILITIES, "real", "count"), "noisy-or": _PROBABILITIES}
# A threshold belongs to the level that it was chosen at, so of classes and labels only what needs none is measured.
_WITHOUT_THRESHOLD = ("auc", "average_precision", "brier", "log_loss")


def check_aggregate(how: str, target: Target) -> None:
    """See that answers of a kind can be aggregated so.

    Parameters
    ----------
    how
        One of `AGGREGATES`.
    target
        What the model learnt.

    Raises
    ------
    BagwiseError
        If there is no such way, or the target does not take it.

    Examples
    --------
    >>> from bagwise.targets.classes import ClassTarget
    >>> check_aggregate("noisy-or", ClassTarget.of(["a", "b", "c"]))
    Traceback (most recent call last):
        ...
    bagwise.errors.BagwiseError: --aggregate noisy-or is for two classes, and the run knows 3: take the mean
    """
    if how not in AGGREGATES:
        raise BagwiseError(f"--aggregate is {how!r}: it must be one of {', '.join(AGGREGATES)}")
    if how == "mean":
        return
    if target.kind not in _TAKE[how]:
        told = "probabilities" if how == "noisy-or" else "probabilities and numbers"
        raise BagwiseError(f"--aggregate {how} is for {told}, and the run learnt {target.kind}: take the mean")
    if target.kind == "classes" and target.positive is None:
        assert target.names is not None
        raise BagwiseError(
            f"--aggregate {how} is for two classes, and the run knows {len(target.names)}: take the mean"
        )


def of_patients(cohort: Cohort, patients: NDArray[Any], how: str = "mean") -> tuple[Cohort, int]:
    """Aggregate bags to patients.

    The mean is that of answers; the maximum and noisy-or (one less the product of one less each probability, as if bags
    were independent) are of the probability of the positive class, of each label, or of being above each grade. A
    patient is positive, or has a label, if one of its bags is; its grade is the highest of its bags. Other labels must
    agree.

    Parameters
    ----------
    cohort
        The bags.
    patients
        Of each bag its patient, shape (B,).
    how
        One of `AGGREGATES`.

    Returns
    -------
    tuple
        The patients, in the order in which they first come, with the metrics that need no threshold; and of how many
        of them the labels of the bags differ.

    Raises
    ------
    BagwiseError
        If the target does not take it, or labels differ that must agree.

    References
    ----------
    J. Pearl: Probabilistic Reasoning in Intelligent Systems, 1988, section 4.3.2 (noisy-or).

    Examples
    --------
    >>> from bagwise.targets.classes import ClassTarget
    >>> target, labels = ClassTarget.of(["no", "yes"]), np.array(["no", "yes", "no"])
    >>> answers = np.array([[0.5, 0.5], [0.5, 0.5], [0.75, 0.25]])
    >>> bags = Cohort(target, np.array(["a1", "a2", "b1"]), labels, answers)
    >>> found, mixed = of_patients(bags, np.array(["a", "a", "b"]), "noisy-or")
    >>> found.labels.tolist(), found.answers.tolist(), mixed
    (['yes', 'no'], [[0.25, 0.75], [0.75, 0.25]], 1)
    """
    check_aggregate(how, cohort.target)
    named, first, place = np.unique(patients, return_index=True, return_inverse=True)
    bags_of = [np.flatnonzero(place == number) for number in np.argsort(first)]
    names = named[np.argsort(first)]
    labels = [_label(cohort, bags, name) for bags, name in zip(bags_of, names, strict=True)]
    mixed = sum(_differ(cohort.labels[bags]) for bags in bags_of)
    combine = AGGREGATES[how]
    answers = np.stack([_answer(cohort.target, cohort.answers[bags], combine) for bags in bags_of])
    firsts = np.array([bags[0] for bags in bags_of])
    groups = None if cohort.groups is None else cohort.groups[firsts]
    if groups is not None and len(np.unique(groups)) == len(groups):
        groups = None
    metrics = fitting_metrics(cohort.target)
    if cohort.target.kind in ("classes", "multi-label"):
        metrics = tuple(name for name in metrics if name in _WITHOUT_THRESHOLD)
    weights = None if cohort.weights is None else np.array([cohort.weights[bags].mean() for bags in bags_of])
    found = replace(
        cohort,
        names=names,
        labels=np.array(labels, dtype=cohort.labels.dtype),
        answers=answers,
        groups=groups,
        weights=weights,
        metrics=metrics,
        what="patient",
    )
    return found, mixed


def _differ(labels: NDArray[Any]) -> bool:
    if labels.dtype.kind == "f":
        known = labels.reshape(len(labels), -1)
        spread = np.where(np.isnan(known), -np.inf, known).max(0) > np.where(np.isnan(known), np.inf, known).min(0)
        return bool(spread.any())
    return bool((labels != labels[0]).any())


def _label(cohort: Cohort, bags: NDArray[np.int64], patient: Any) -> Any:
    labels, target = cohort.labels[bags], cohort.target
    if target.kind == "classes" and target.positive is not None:
        return target.positive if (labels == target.positive).any() else labels[0]
    if target.kind == "ordinal":
        return labels[np.argmax(target.encoded(labels)[:, 0])]
    if target.kind == "multi-label":
        known = np.where(np.isnan(labels), -np.inf, labels).max(axis=0)
        return np.where(np.isinf(known), np.nan, known)
    if _differ(labels):
        other = bags[np.argmax([_differ(cohort.labels[[bags[0], bag]]) for bag in bags])]
        raise BagwiseError(
            f"patient {str(patient)!r} has two labels, of the bags {cohort.names[bags[0]]!r} and"
            f" {cohort.names[other]!r}: all bags of a patient need the same one"
        )
    return labels[0]


def _answer(target: Target, answers: NDArray[Any], combine: Combine | None) -> NDArray[np.float64]:
    exact = np.asarray(answers, np.float64)
    if combine is None:
        mean: NDArray[np.float64] = target.averaged(exact[:, None], np.full(len(exact), 1 / len(exact)))[0]
        return mean
    if target.kind == "ordinal":  # the probability of being above each grade but the last
        above = combine(1 - exact.cumsum(axis=1)[:, :-1].clip(0, 1))
        return -np.diff(np.concatenate([[1.0], above, [0.0]]))
    if target.kind == "classes":
        assert target.names is not None
        column = int(np.flatnonzero(target.names == target.positive)[0])
        positive = combine(exact[:, column])
        return np.array([positive, 1 - positive] if column == 0 else [1 - positive, positive])
    return combine(exact)
