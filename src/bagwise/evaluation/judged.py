"""Labels and answers as metrics look at them."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_fscore_support

__all__ = ["Event", "Judged", "Told"]


class Told(Protocol):
    """What metrics must know of a target.

    Classes and grades also have ``names``, in the order of the columns of answers, and classes the ``positive`` one of
    two, which precision, recall, F-score and AUC are about.
    """

    @property
    def kind(self) -> str:
        """``"classes"``, ``"multi-label"``, ``"real"``, ``"count"``, ``"ordinal"`` or ``"survival"``."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of what measures it where nobody asks for others."""

    def predicted(self, answers: NDArray[Any]) -> NDArray[Any]:
        """Turn answers into what labels are."""


@dataclass(frozen=True, eq=False)
class Event:
    """Something that is true of some bags and not of others, and what was said of it.

    Attributes
    ----------
    outcomes, predicted
        Of which bags it is true, and of which it was said to be, shape (B,).
    probabilities
        That it is true, shape (B,).
    weights
        What each bag counts, shape (B,); None where all count the same.

    Examples
    --------
    >>> ill = np.array([True, False])
    >>> Event(ill, ill, np.array([0.9, 0.1]), None).differs
    True
    """

    outcomes: NDArray[np.bool_]
    predicted: NDArray[np.bool_]
    probabilities: NDArray[np.float64]
    weights: NDArray[np.float64] | None

    @property
    def differs(self) -> bool:
        """Whether it is true of some bags and not of others, without which nothing can be ranked."""
        return bool(self.outcomes.any() and not self.outcomes.all())


@dataclass(frozen=True, eq=False)
class Judged:
    """Labels and answers of bags, and what several metrics ask of them.

    Attributes
    ----------
    target
        What labels are.
    labels, answers
        True labels, shape (B, ...), and what a model says, shape (B, A).
    weights
        What each bag counts, shape (B,), above 0; None where all count the same.
    decided
        What the model predicts, as labels are, shape (B, ...), where it decides by a threshold of its own; None: what
        the target makes of the answers.

    Examples
    --------
    >>> labels, answers = np.array(["no", "yes"]), np.array([[0.9, 0.1], [0.6, 0.4]])
    >>> from bagwise.targets.classes import ClassTarget
    >>> Judged(ClassTarget.of(["no", "yes"]), labels, answers, None).predicted_codes.tolist()
    [0, 0]
    """

    target: Told
    labels: NDArray[Any]
    answers: NDArray[Any]
    weights: NDArray[np.float64] | None
    decided: NDArray[Any] | None = None

    @cached_property
    def predicted(self) -> NDArray[Any]:
        """What the answers come down to, as labels are."""
        return self.target.predicted(self.answers) if self.decided is None else self.decided

    @property
    def names(self) -> list[Any]:
        """The classes or grades, in the order of the columns."""
        told: Any = self.target
        named: list[Any] = np.asarray(told.names).tolist()
        return named

    @property
    def positive(self) -> Any:
        """Of two classes the positive one, else None."""
        told: Any = self.target
        return told.positive if told.kind == "classes" else None

    @cached_property
    def codes(self) -> NDArray[np.int64]:
        """The column of each label, shape (B,); -1 of one that answers have no column for."""
        return self._places(self.labels)

    @cached_property
    def predicted_codes(self) -> NDArray[np.int64]:
        """The column of each prediction, shape (B,)."""
        return self._places(self.predicted)

    def _places(self, labels: NDArray[Any]) -> NDArray[np.int64]:
        place = {name: number for number, name in enumerate(self.names)}
        return np.array([place.get(label, -1) for label in np.asarray(labels).tolist()], np.int64)

    @cached_property
    def precision_recall_fscore(self) -> tuple[float, float, float]:
        """Of the positive class, or the mean over classes."""
        precision, recall, fscore, _ = precision_recall_fscore_support(
            self.labels,
            self.predicted,
            labels=self.names if self.positive is None else [self.positive],
            average="macro",
            zero_division=np.nan,
            sample_weight=self.weights,
        )
        return precision, recall, fscore

    @cached_property
    def events(self) -> list[Event]:
        """The events that answers are about: the positive class, or each class; or each label, in its known bags."""
        if self.target.kind == "multi-label":
            return [self._label(column) for column in range(self.labels.shape[1])]
        columns = range(len(self.names)) if self.positive is None else [self.names.index(self.positive)]
        return [Event(self.codes == c, self.predicted_codes == c, self.answers[:, c], self.weights) for c in columns]

    def _label(self, column: int) -> Event:
        known = ~np.isnan(self.labels[:, column])
        return Event(
            self.labels[known, column] == 1,
            np.asarray(self.predicted)[known, column] == 1,
            self.answers[known, column],
            None if self.weights is None else self.weights[known],
        )

    @cached_property
    def numbers(self) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Each number of the labels with what was said of it."""
        labels = np.asarray(self.labels, float).reshape(len(self.answers), -1)
        return list(zip(labels.T, np.asarray(self.answers, float).T, strict=True))
