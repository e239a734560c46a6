"""What learners are asked about bags, by the kind of target, and what their decisions mean."""

from abc import ABC, abstractmethod
from typing import Annotated, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, log_expit, log_softmax

from bagwise.errors import BagwiseError
from bagwise.targets.classes import ClassTarget
from bagwise.targets.contract import Target
from bagwise.targets.numbers import RealTarget
from bagwise.targets.several import MultiLabelTarget

__all__ = [
    "MEANINGS",
    "UNKNOWN",
    "Calibration",
    "ClassQuestion",
    "Judged",
    "LabelCalibration",
    "LabelQuestion",
    "Meaning",
    "NumberQuestion",
    "Question",
    "Scale",
    "question_of",
]

UNKNOWN = -1  # of a label
_FLATTEST = 10.0  # of the logarithm of the sharpness
_SUREST = 1e300  # log-odds, of which differences are numbers


class Scale(NamedTuple):
    """How decisions become numbers: they are spreads from the mean.

    Attributes
    ----------
    mean, spread
        Of the labels of the training bags, shape (L,).

    Examples
    --------
    >>> Scale(np.array([10.0]), np.array([2.0])).answers(np.array([[-1.0], [0.5]])).tolist()
    [[8.0], [11.0]]
    """

    mean: Annotated[NDArray[np.float64], "L"]
    spread: Annotated[NDArray[np.float64], "L"]

    def check(self, columns: int) -> None:
        """Raise a ValueError unless there is one of each for so many columns of decisions."""
        if self.mean.shape != (columns,):
            raise ValueError(f"it has a scale for {len(self.mean)} numbers, and learnt {columns}")

    def answers(self, decisions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give the numbers, shape (B, L)."""
        numbers: NDArray[np.float64] = decisions.reshape(len(decisions), -1) * self.spread + self.mean
        return numbers


class Calibration(NamedTuple):
    """How decisions become probabilities: the softmax of a positive multiple of them plus an offset a class.

    Attributes
    ----------
    sharpness
        The multiple.
    offsets
        Shape (), the positive class's, for decisions of shape (B,); else shape (number of classes,).
    """

    sharpness: float
    offsets: Annotated[NDArray[np.float64], "..."]

    def check(self, columns: int) -> None:
        """Raise a ValueError unless it fits so many columns of decisions."""
        if self.offsets.shape != (() if columns == 1 else (columns,)) or self.sharpness <= 0:
            raise ValueError("its calibration is none")

    def log_probabilities(self, decisions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give logarithms of probabilities, shape (B, number of classes)."""
        logits = (self.sharpness * decisions + self.offsets).clip(-_SUREST, _SUREST)
        if logits.ndim == 1:
            logits = np.stack([np.zeros_like(logits), logits], axis=1)
        logarithms: NDArray[np.float64] = log_softmax(logits, axis=1)
        return logarithms

    def answers(self, decisions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give the probabilities of classes, in the order of learning, shape (B, number of classes)."""
        probabilities: NDArray[np.float64] = np.exp(self.log_probabilities(decisions))
        return probabilities

    @classmethod
    def fit(
        cls, decisions: NDArray[np.float64], targets: NDArray[np.int64], weights: NDArray[np.float64] | None = None
    ) -> "Calibration":
        """Fit it to decisions about bags that were not learnt from, with Platt's softened targets."""
        counts = np.bincount(targets, weights)
        doubt = 1 / (counts + 2)
        others = np.ones((len(counts), len(counts))) - np.eye(len(counts))
        aims = (np.diag(1 - doubt) + doubt[:, None] / (len(counts) - 1) * others)[targets]
        # In units of their own spread, decisions of all methods are alike.
        unit = float(np.abs(decisions - np.median(decisions)).mean()) or 1.0
        shape = decisions.shape[1:]

        def read(x: NDArray[np.float64]) -> Calibration:
            return cls(float(np.exp(x[0])) / unit, x[1:].reshape(shape))

        def loss(x: NDArray[np.float64]) -> float:
            return -float(np.average((aims * read(x).log_probabilities(decisions)).sum(axis=1), weights=weights))

        start = np.zeros(1 + int(np.prod(shape)))
        bounds = [(-_FLATTEST, _FLATTEST), *[(None, None)] * (len(start) - 1)]
        return read(minimize(loss, start, method="L-BFGS-B", bounds=bounds).x)


class LabelCalibration(NamedTuple):
    """How decisions become probabilities of several labels: of each its own multiple plus its own offset are log-odds.

    Attributes
    ----------
    sharpness, offsets
        Of each label, shape (L,).

    Examples
    --------
    >>> LabelCalibration(np.array([1.0, 2.0]), np.array([0.0, -2.0])).answers(np.array([[0.0, 1.0]])).tolist()
    [[0.5, 0.5]]
    """

    sharpness: Annotated[NDArray[np.float64], "L"]
    offsets: Annotated[NDArray[np.float64], "L"]

    def check(self, columns: int) -> None:
        """Raise a ValueError unless there is one of each for so many columns of decisions."""
        if self.sharpness.shape != (columns,) or not (self.sharpness > 0).all():
            raise ValueError("its calibration is none")

    def log_odds(self, decisions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give the log-odds of each label, shape (B, L)."""
        odds: NDArray[np.float64] = decisions.reshape(len(decisions), -1) * self.sharpness + self.offsets
        return odds

    def answers(self, decisions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give the probability of each label, shape (B, L)."""
        probabilities: NDArray[np.float64] = expit(self.log_odds(decisions))
        return probabilities


Meaning = Calibration | LabelCalibration | Scale
# By the kind of target.
MEANINGS: dict[str, type[Meaning]] = {
    ClassTarget.kind: Calibration,
    MultiLabelTarget.kind: LabelCalibration,
    RealTarget.kind: Scale,
}


class Judged(NamedTuple):
    """How good decisions about bags are that were not learnt from, and what they mean.

    Attributes
    ----------
    error
        What is to be small: the share of errors, or 1 less R squared.
    loss
        What decides between equal errors.
    meaning
        How decisions become answers, so that error and loss are that small.
    """

    error: float
    loss: float
    meaning: Meaning


class Question(ABC):
    """What learners are asked about training bags: a column a learner.

    Attributes
    ----------
    columns
        Shape (B, L): for each learner what it is to say of each bag, whether it is of a class or a number; of labels,
        which need not be known, 1, 0 or `UNKNOWN`.
    meaning
        How decisions become answers where no bags could be held out.
    """

    columns: NDArray[Any]
    meaning: Meaning

    @abstractmethod
    def strata(self, folds: int) -> NDArray[np.int64]:
        """Say which bags are alike, shape (B,), so that each of so many folds gets its share."""

    @abstractmethod
    def answerable(self, train: NDArray[np.int64]) -> bool:
        """Say whether all can be learnt from these of the bags."""

    @abstractmethod
    def judged(self, decisions: NDArray[np.float64]) -> Judged:
        """Judge decisions about all bags, shape (B, L), or (B,) where there is one learner."""


class ClassQuestion(Question):
    """Whether a bag is positive, or of each class where there are more than two.

    Parameters
    ----------
    codes
        The class of each bag, in the order of learning, shape (B,).
    weights
        Of the bags, shape (B,).

    Examples
    --------
    >>> question = ClassQuestion(np.array([0, 1, 0, 1]), np.ones(4))
    >>> question.columns.ravel().tolist(), question.judged(np.array([-1.0, 1.0, -1.0, -2.0])).error
    ([False, True, False, True], 0.25)
    """

    def __init__(self, codes: NDArray[np.int64], weights: NDArray[np.float64]) -> None:
        self.codes, self.weights = codes, weights
        classes = np.arange(codes.max() + 1)
        self.columns = codes[:, None] == (classes[1:] if len(classes) == 2 else classes)
        self.meaning = Calibration(1.0, np.zeros(()))

    def strata(self, folds: int) -> NDArray[np.int64]:  # noqa: ARG002
        """Bags of one class are alike."""
        return self.codes

    def answerable(self, train: NDArray[np.int64]) -> bool:
        """Say whether there are bags of each class."""
        return len(np.unique(self.codes[train])) == len(np.unique(self.codes))

    def judged(self, decisions: NDArray[np.float64]) -> Judged:
        """Give the share of errors, the loss, and the calibration with which they are that small."""
        calibration = Calibration.fit(decisions, self.codes, self.weights)
        logarithms = calibration.log_probabilities(decisions)
        wrong = logarithms.argmax(axis=1) != self.codes
        losses = -logarithms[np.arange(len(self.codes)), self.codes]
        return Judged(
            float(np.average(wrong, weights=self.weights)),
            float(np.average(losses, weights=self.weights)),
            calibration,
        )


class LabelQuestion(Question):
    """Whether a bag has each of several labels, as far as that is known.

    Parameters
    ----------
    target
        Which knows what labels are.
    labels
        Of the bags, shape (B, L), NaN where one is not known.
    weights
        Of the bags, shape (B,).

    Examples
    --------
    >>> question = LabelQuestion(MultiLabelTarget(2), np.array([[1, 0], [0, np.nan], [0, 1]]), np.ones(3))
    >>> question.columns.tolist(), question.judged(np.array([[1.0, -1.0], [-1.0, 0.0], [-1.0, 2.0]])).error
    ([[1, 0], [0, -1], [0, 1]], 0.0)
    """

    def __init__(self, target: MultiLabelTarget, labels: NDArray[Any], weights: NDArray[np.float64]) -> None:
        self.target, self.labels, self.weights = target, labels, weights
        encoded = target.encoded(labels)
        self.columns = np.where(np.isnan(encoded), UNKNOWN, encoded).astype(np.int8)
        self.meaning = LabelCalibration(np.ones(target.labels), np.zeros(target.labels))

    def strata(self, folds: int) -> NDArray[np.int64]:
        """Bags with the same labels are alike, where there are enough of them."""
        return self.target.strata(self.labels, folds)

    def answerable(self, train: NDArray[np.int64]) -> bool:  # noqa: ARG002
        """Say that they can: a label that all have, or none has, is that of every bag."""
        return True

    def judged(self, decisions: NDArray[np.float64]) -> Judged:
        """Give the share of known labels that are missed, their loss, and the calibration of each label."""
        decisions = decisions.reshape(self.columns.shape)
        sharpness, offsets = np.ones(self.target.labels), np.zeros(self.target.labels)
        for label, column in enumerate(self.columns.T):
            known = column != UNKNOWN
            if len(np.unique(column[known])) == 2:
                codes = column[known].astype(np.int64)
                found = Calibration.fit(decisions[known, label], codes, self.weights[known])
                sharpness[label], offsets[label] = found.sharpness, found.offsets
        calibration = LabelCalibration(sharpness, offsets)
        odds, bags, labels = calibration.log_odds(decisions), *np.nonzero(self.columns != UNKNOWN)
        right = odds[bags, labels] * (2.0 * self.columns[bags, labels] - 1)  # log-odds of what is true
        weights = self.weights[bags]
        error, loss = np.average(right <= 0, weights=weights), np.average(-log_expit(right), weights=weights)
        return Judged(float(error), float(loss), calibration)


class NumberQuestion(Question):
    """How many spreads of the labels each number of a bag is from their mean.

    Parameters
    ----------
    target
        Which knows how labels are measured.
    labels
        Of the bags, shape (B,) or (B, L).
    weights
        Of the bags, shape (B,).

    Examples
    --------
    >>> question = NumberQuestion(RealTarget(1, flat=True), np.array([1.0, 3.0]), np.ones(2))
    >>> question.columns.ravel().tolist(), question.judged(np.array([-1.0, 1.0])).error
    ([-1.0, 1.0], 0.0)
    """

    def __init__(self, target: RealTarget, labels: NDArray[Any], weights: NDArray[np.float64]) -> None:
        self.target, self.labels, self.weights = target, labels, weights
        encoded = target.encoded(labels)
        learnt = target.learn(encoded, weights)
        self.columns = target.wanted(encoded, learnt)
        self.meaning = Scale(*np.split(learnt, 2))

    def strata(self, folds: int) -> NDArray[np.int64]:
        """Bags of about the same first number are alike."""
        return self.target.strata(self.labels, folds)

    def answerable(self, train: NDArray[np.int64]) -> bool:
        """Say whether each number differs between bags."""
        return bool((np.ptp(self.columns[train], axis=0) > 0).all())

    def judged(self, decisions: NDArray[np.float64]) -> Judged:
        """Give by how much R squared falls short of 1."""
        error = 1 - self.target.score(self.labels, self.meaning.answers(decisions), self.weights)
        return Judged(error, error, self.meaning)


def question_of(target: Target, labels: NDArray[Any], weights: NDArray[np.float64]) -> Question:
    """Turn what labels are into what learners are asked.

    Parameters
    ----------
    target
        Of classes, of several labels or of real numbers.
    labels
        Of the training bags, shape (B, ...).
    weights
        Of them, shape (B,).

    Returns
    -------
    Question

    Examples
    --------
    >>> question_of(ClassTarget.of([0, 1, 2]), np.array([0, 2]), np.ones(2)).columns.shape
    (2, 3)
    """
    if isinstance(target, RealTarget):
        if target.huber:
            raise BagwiseError("the target is 'real: huber', and a classical method has a loss of its own: say 'real'")
        return NumberQuestion(target, labels, weights)
    if isinstance(target, MultiLabelTarget):
        return LabelQuestion(target, labels, weights)
    assert isinstance(target, ClassTarget)
    return ClassQuestion(target.classes.codes(labels), weights)
