"""What pages say of labels and answers, for each kind of target: as text, how sure, and how far off."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bagwise.targets.contract import Target

__all__ = ["Verdicts", "verdicts_of", "verdicts_of_known"]


class Verdicts(NamedTuple):
    """Labels and predictions of bags, as a page says them.

    Attributes
    ----------
    labels
        Of each bag its label as text, or None where it is unknown, shape (B,), object.
    predicted
        Of each bag the prediction as text; it is right where the texts are equal, if there is a probability.
    probabilities
        Of what is predicted, shape (B,); None where predictions are numbers, which are not right or wrong.
    off
        Where predictions are numbers, how far each is from its label, or how notable it is: the page begins with the
        largest. Shape (B,); else None.

    Examples
    --------
    >>> verdicts = Verdicts(np.array(["1.5", None]), np.array(["2", "3"]), None, np.array([0.5, 0.0]))
    >>> verdicts.take(np.array([1])).predicted.tolist()
    ['3']
    """

    labels: NDArray[np.object_]
    predicted: NDArray[np.object_]
    probabilities: NDArray[np.float64] | None
    off: NDArray[np.float64] | None = None

    def take(self, positions: NDArray[np.int64]) -> "Verdicts":
        """Give those of some bags."""
        return Verdicts(*(None if part is None else part[positions] for part in self))  # type: ignore[arg-type]


def verdicts_of(
    target: Target, labels: NDArray[Any] | None, answers: NDArray[Any], decided: NDArray[Any] | None = None
) -> Verdicts:
    """Say labels and answers of bags as a page does.

    Parameters
    ----------
    target
        What labels are.
    labels
        As the target has them, shape (B, ...); None where they are unknown.
    answers
        What a model says of the bags, shape (B, A).
    decided
        The classes that it predicts, shape (B,); None: what the target makes of the answers.

    Returns
    -------
    Verdicts

    Examples
    --------
    >>> from bagwise.targets.registry import TARGETS
    >>> labels = np.array([1.5, 2.0])
    >>> verdicts_of(TARGETS["real"].of(labels), labels, np.array([[1.0], [2.25]])).off.tolist()
    [0.5, 0.25]
    """
    others = _of_numbers if target.names is None else _of_classes
    said = _KINDS.get(target.kind, others)(target, labels, answers)
    if decided is None:
        return said
    probabilities = answers[np.arange(len(answers)), target.chosen(answers, decided)].astype(np.float64)
    return said._replace(predicted=_texts(decided), probabilities=probabilities)


def verdicts_of_known(target: Target, bags: NDArray[np.int64], labels: NDArray[Any], answers: NDArray[Any]) -> Verdicts:
    """Say answers of bags as a page does, and labels where they are known.

    Parameters
    ----------
    target
        What labels are.
    bags
        Positions of those whose label is known, shape (K,).
    labels
        Theirs, as the target has them, shape (K, ...).
    answers
        What a model says of all bags, shape (B, A).

    Returns
    -------
    Verdicts

    Examples
    --------
    >>> from bagwise.targets.registry import TARGETS
    >>> target, answers = TARGETS["real"].of([1.5, 2.0]), np.array([[1.0], [2.25]])
    >>> verdicts_of_known(target, np.array([1]), np.array([2.0]), answers).labels.tolist()
    [None, '2']
    """
    said = verdicts_of(target, None, answers)
    if len(bags):
        for whole, part in zip(said, verdicts_of(target, labels, answers[bags]), strict=True):
            if whole is not None:
                whole[bags] = part
    return said


def _unknown(answers: NDArray[Any]) -> NDArray[np.object_]:
    return np.full(len(answers), None, dtype=object)


def _texts(values: Any) -> NDArray[np.object_]:
    return np.array([None if value is None else str(value) for value in values], dtype=object)


def _of_classes(target: Target, labels: NDArray[Any] | None, answers: NDArray[Any]) -> Verdicts:
    told = _unknown(answers) if labels is None else _texts(labels)
    probabilities = answers[np.arange(len(answers)), target.chosen(answers)].astype(np.float64)
    return Verdicts(told, _texts(target.predicted(answers)), probabilities)


def _of_labels(target: Target, labels: NDArray[Any] | None, answers: NDArray[Any]) -> Verdicts:
    """Name the labels that a bag has, and of those that are known the ones that it is said to have."""
    assert target.names is not None
    names = target.names.astype(str)
    known = np.ones(answers.shape, bool) if labels is None else labels == labels
    predicted = np.asarray(target.predicted(answers)) == 1

    def named(rows: NDArray[np.bool_]) -> NDArray[np.object_]:
        return np.array([", ".join(names[row]) or "none" for row in rows], dtype=object)

    told = _unknown(answers) if labels is None else named(labels == 1)
    each = np.where(known, np.where(predicted, answers, 1 - answers), 1.0)
    return Verdicts(told, named(predicted & known), each.prod(axis=1).astype(np.float64))


def _of_numbers(target: Target, labels: NDArray[Any] | None, answers: NDArray[Any]) -> Verdicts:  # noqa: ARG001
    predicted = np.array([_number(row) for row in answers], dtype=object)
    if labels is None:
        return Verdicts(_unknown(answers), predicted, None, np.zeros(len(answers)))
    true = np.asarray(labels, np.float64).reshape(len(answers), -1)
    told = np.array([_number(row) for row in true], dtype=object)
    return Verdicts(told, predicted, None, np.abs(true - answers).mean(axis=1))


def _number(row: NDArray[Any]) -> str:
    return ", ".join(f"{value:.4g}" for value in row)


def _of_lives(target: Target, labels: NDArray[Any] | None, answers: NDArray[Any]) -> Verdicts:  # noqa: ARG001
    """Say when the event came, or until when a bag was seen, and the risk; the page begins with the highest."""
    risks = answers[:, 0].astype(np.float64)
    told = _unknown(answers)
    if labels is not None:
        event, time = (labels[name] for name in labels.dtype.names or ())
        told[:] = [f"{'event at' if own else 'seen until'} {at:.4g}" for own, at in zip(event, time, strict=True)]
    return Verdicts(told, np.array([f"risk {risk:.4g}" for risk in risks], dtype=object), None, risks)


_KINDS: dict[str, Callable[[Target, NDArray[Any] | None, NDArray[Any]], Verdicts]] = {
    "classes": _of_classes,
    "multi-label": _of_labels,
    "real": _of_numbers,
    "count": _of_numbers,
    "ordinal": _of_classes,
    "survival": _of_lives,
}
