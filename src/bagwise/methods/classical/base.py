"""What the classical methods have in common: a scaler, an inner cross-validation and probabilities."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax
from sklearn.preprocessing import StandardScaler

from bagwise.bags import Bags, BagsLike, as_bags
from bagwise.checks import MOST_SPAN, check_span, valid_weights
from bagwise.errors import BagwiseError
from bagwise.folds import stratified_folds
from bagwise.methods.base import BagEstimator, RandomState, drawn_seed
from bagwise.stored import StoredInstances
from bagwise.targets.classes import ClassTarget

__all__ = [
    "CLIP",
    "INNER_FOLDS",
    "Calibration",
    "ClassicalMIL",
    "Grid",
    "Learner",
    "Packed",
    "ScoresInstances",
]

INNER_FOLDS = 3
CLIP = 3.0
Grid = Sequence[Mapping[str, Any]]  # values of hyper-parameters to choose from
_FLATTEST = 10.0  # of the logarithm of the sharpness


class Packed(NamedTuple):
    """Bags with all that a learner needs of them.

    Attributes
    ----------
    instances
        Scaled, shape (N, D), double precision.
    offsets
        Where bags begin and the last one ends, shape (B + 1,).
    sample_weight
        Of bags to learn from: what the loss of each is multiplied with, shape (B,). None: all are 1.

    Examples
    --------
    >>> Packed(np.zeros((3, 2)), np.array([0, 1, 3])).sizes.tolist()
    [1, 2]
    """

    instances: NDArray[np.float64]
    offsets: NDArray[np.int64]
    sample_weight: NDArray[np.float64] | None = None

    @property
    def weights(self) -> NDArray[np.float64]:
        """What the loss of each bag is multiplied with, shape (B,)."""
        return np.ones(len(self.offsets) - 1) if self.sample_weight is None else self.sample_weight

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Number of instances of each bag, shape (B,)."""
        return np.diff(self.offsets)

    def highest(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Take the maximum of values of instances, shape (N, ...), in each bag."""
        highest: NDArray[np.float64] = np.maximum.reduceat(values, self.offsets[:-1])
        return highest

    def sums(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum values of instances, shape (N, ...), in each bag."""
        return np.add.reduceat(values, self.offsets[:-1])

    def where_highest(self, values: NDArray[np.float64]) -> NDArray[np.int64]:
        """Give the row of the first highest value, shape (N,), in each bag."""
        bag = np.repeat(np.arange(len(self.sizes)), self.sizes)
        at_top = np.flatnonzero(values == self.highest(values)[bag])
        return at_top[np.unique(bag[at_top], return_index=True)[1]]


class Learner(ABC):
    """What was learnt of one class against the others."""

    @abstractmethod
    def decide(self, bags: Packed) -> NDArray[np.float64]:
        """Give a number a bag, shape (B,), that is positive where the class is the likelier one."""


class _Learnt(NamedTuple):
    """A scaler if there is one, and a learner for each class, or one for the positive of two."""

    scaler: StandardScaler | None
    learners: list[Learner]

    def decide(self, bags: Bags) -> NDArray[np.float64]:
        """Give decisions, shape (B,) or (B, number of classes)."""
        packed = _packed(bags, self.scaler)
        decisions = np.stack([learner.decide(packed) for learner in self.learners], axis=1)
        known = np.isfinite(decisions).all(axis=1)
        if not known.all():
            raise BagwiseError(
                f"the model has no answer for bag {bags.names[np.argmin(known)]!r}, because its decision is no number:"
                " look for extreme values in the bag"
            )
        return decisions[:, 0] if len(self.learners) == 1 else decisions


@dataclass(kw_only=True, eq=False, repr=False)
class ClassicalMIL(BagEstimator, ABC):
    """What the classical methods have in common; use one of the classes that build on it.

    Features are brought to mean 0 and spread 1, learnt on the training instances, and then to at most `CLIP` either
    way: a feature that is nearly always 0 has values of 30 and more, and one such value would decide alone.

    Hyper-parameters that are None are chosen from `GRID`, its points one after the other, by one stratified
    cross-validation of `INNER_FOLDS` folds on the training bags (whole groups, where bags have groups): the fewest
    errors win, ties go to the smaller loss. The decisions about the bags held out there also tell how decisions become
    probabilities, by Platt's logistic fit: a margin between instances, or between the bags learnt from, says little
    about where the threshold between new bags lies.

    With more than two classes each is told from the others, and the most certain one wins.

    Parameters
    ----------
    positive
        As in `bagwise.methods.neural.NeuralMIL`.
    standardize
        False leaves features as they are: for those that have one scale already, such as pixels.
    random_state
        A whole number makes results the same every time. It decides the inner folds and whatever else a method leaves
        to chance.

    Attributes
    ----------
    classes_ : array
        The labels, sorted; the last axis of `predict_proba` follows it.
    positive_ : object
        Of two classes the positive one; None with more than two.
    parameters_ : dict
        The hyper-parameters, with what was chosen.
    validation_errors_ : list of float
        The share of errors of each point of the grid in the inner cross-validation; empty where there were too few
        bags for one, and the first point was taken.
    calibration_ : Calibration
        How decisions become probabilities.

    References
    ----------
    J. Platt: Probabilistic Outputs for Support Vector Machines. Advances in Large Margin Classifiers, 1999.
    """

    GRID: ClassVar[Grid]

    positive: Any = None
    standardize: bool = True
    random_state: RandomState = None

    @classmethod
    def _left_open(cls) -> dict[str, tuple[Any, ...]]:
        grid: Grid = getattr(cls, "GRID", ({},))  # this class itself has none
        return {name: tuple(dict.fromkeys(point[name] for point in grid)) for name in grid[0]}

    def fit(self, X: BagsLike, y: ArrayLike | None = None, sample_weight: ArrayLike | None = None) -> Self:
        """Learn from bags.

        Parameters
        ----------
        X
            `Bags`, or a list with one array a bag.
        y
            One label a bag. None takes those of the `Bags`.
        sample_weight
            One weight a bag: what its part of the loss is multiplied with (for a support vector machine, the price C of
            the bag or of its instances), and what an error counts in the inner cross-validation. What is learnt of
            instances without labels, such as their scale or a vocabulary, is not weighed. A bag of weight 0 is left
            out, so that all is as if it were not there. None: all are 1.

        Returns
        -------
        Self
            The estimator itself.

        Raises
        ------
        BagwiseError
            If the data or a parameter will not do.
        """
        bags = as_bags(X, y)
        if bags.labels is None:
            raise BagwiseError("the bags have no labels to learn from: give y, or bags with labels")
        if len(bags.instance_shape) != 1:
            raise BagwiseError(
                f"{type(self).__name__} learns from vectors, not from instances of shape {bags.instance_shape}: give"
                " features of them, or use a neural method"
            )
        weights = np.ones(len(bags)) if sample_weight is None else valid_weights(sample_weight, bags.names)
        target = self._target_of(bags, np.flatnonzero(weights > 0))
        if not isinstance(target, ClassTarget):
            raise BagwiseError(
                f"{type(self).__name__} learns classes, and the target is {target.kind}: use a method that learns it,"
                " such as attention"
            )
        if not weights.all():
            bags, weights = bags[weights > 0], weights[weights > 0]
        assert bags.labels is not None
        targets = target.classes.codes(bags.labels)
        seed = drawn_seed(self.random_state)
        points = self._points()
        decided = [self._inner_decisions(bags, targets, weights, point, seed) for point in points]
        judged = [_judge(decisions, targets, weights) for decisions in decided if decisions is not None]
        best = min(range(len(judged)), key=lambda n: judged[n][:2], default=0)
        self.parameters_ = points[best]
        self.validation_errors_ = [errors for errors, _, _ in judged]
        self.calibration_ = judged[best][2] if judged else Calibration(1.0, np.zeros(()))
        self.learnt_ = self._learn_classes(bags, targets, weights, points[best], seed)
        self._remember(bags, target)
        return self

    def answers(self, X: BagsLike) -> NDArray[Any]:
        """Give the probability of each class for each bag, as `BagEstimator.answers` does."""
        return self._classes.reordered(np.exp(self._log_probabilities(as_bags(X))))

    def decision_function(self, X: BagsLike) -> NDArray[Any]:
        """Give log-odds of the second of `classes_`, or log-probabilities where there are more than two.

        Parameters
        ----------
        X
            `Bags`, or a list with one array a bag.

        Returns
        -------
        array
            Shape (B,) for two classes, else (B, number of classes).
        """
        logarithms = self._classes.reordered(self._log_probabilities(as_bags(X)))
        return logarithms[:, 1] - logarithms[:, 0] if len(self.classes_) == 2 else logarithms

    def _log_probabilities(self, bags: Bags) -> NDArray[Any]:
        """Give them in the order of learning."""
        bags = self._like_learnt(bags)
        return self.calibration_.log_probabilities(self.learnt_.decide(bags))

    # ---- what a method fills in ---------------------------------------------------------------------

    @abstractmethod
    def _learn(self, bags: Packed, positive: NDArray[np.bool_], parameters: Mapping[str, Any], seed: int) -> Learner:
        """Learn to tell the positive bags from the others."""

    # ---- learning -----------------------------------------------------------------------------------

    def _points(self) -> list[dict[str, Any]]:
        """Give the points of the grid that agree with the hyper-parameters that were given, each only once."""
        points: list[dict[str, Any]] = []
        for point in self.GRID:
            given = {name: getattr(self, name) for name in point}
            filled = {name: point[name] if value is None else value for name, value in given.items()}
            if filled not in points:
                points.append(filled)
        return points

    def _learn_classes(
        self,
        bags: Bags,
        targets: NDArray[Any],
        weights: NDArray[np.float64],
        parameters: Mapping[str, Any],
        seed: int,
    ) -> _Learnt:
        values = _values(bags)
        scaler = _scaler(values, bags) if self.standardize else None
        packed = _packed(bags, scaler)._replace(sample_weight=weights)
        classes = range(int(targets.max()) + 1)
        told_apart = classes[1:] if len(classes) == 2 else classes
        learners = [self._learn(packed, targets == one, parameters, seed) for one in told_apart]
        return _Learnt(scaler, learners)

    def _inner_decisions(
        self,
        bags: Bags,
        targets: NDArray[Any],
        weights: NDArray[np.float64],
        parameters: Mapping[str, Any],
        seed: int,
    ) -> NDArray[np.float64] | None:
        fewest = int(np.bincount(targets).min())
        if bags.groups is not None:
            fewest = min(fewest, len(np.unique(bags.groups)))
        if fewest < 2:
            return None
        folds = min(INNER_FOLDS, fewest)
        fold_of = stratified_folds(targets, folds, seed, bags.groups)
        count = int(targets.max()) + 1
        decisions = np.zeros(len(bags)) if count == 2 else np.zeros((len(bags), count))
        for fold in range(folds):
            train, test = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
            if len(np.unique(targets[train])) < count:  # groups can make it so
                return None
            learnt = self._learn_classes(bags[train], targets[train], weights[train], parameters, seed)
            decisions[test] = learnt.decide(bags[test])
        return decisions


class ScoresInstances(ClassicalMIL):
    """A classical method that decides by the instances one by one, so that each has a score of its own."""

    def instance_scores(self, X: BagsLike) -> NDArray[Any]:
        """Give the probability that each instance, were it alone, would give its bag.

        Parameters
        ----------
        X
            `Bags`, or a list with one array a bag.

        Returns
        -------
        array
            Packed like `Bags.instances`: shape (N,), the probability of `positive_`; with more than two classes shape
            (N, number of classes).
        """
        bags = self._like_learnt(as_bags(X))
        values = _values(bags)
        if self.learnt_.scaler is None:
            _check_extent(values, bags)  # names the bag; below each instance is one
        alone = Bags(values, np.arange(len(bags.instances) + 1))
        probabilities: NDArray[Any] = np.exp(self._log_probabilities(alone))
        return probabilities[:, 1] if probabilities.shape[1] == 2 else probabilities


def _scaler(values: NDArray[np.float64], bags: Bags) -> StandardScaler:
    def farthest(feature: int) -> tuple[str, int]:
        return _place(int(np.argmax(abs(values[:, feature]))), bags)

    lowest = values.min(axis=0)
    check_span(lowest, values.max(axis=0), bags.feature_names, farthest)
    with np.errstate(over="ignore", invalid="ignore"):
        scaler = StandardScaler().fit(values)
    # Squares of what is the same everywhere may overflow.
    lost = ~np.isfinite(scaler.mean_ + scaler.scale_)
    scaler.mean_[lost], scaler.scale_[lost] = lowest[lost], 1.0
    return scaler


def _packed(bags: Bags, scaler: StandardScaler | None) -> Packed:
    values = _values(bags)
    if scaler is None:
        _check_extent(values, bags)
        return Packed(values, bags.offsets)
    with np.errstate(over="ignore"):  # what is infinite is clipped
        return Packed(scaler.transform(values).clip(-CLIP, CLIP), bags.offsets)


def _place(row: int, bags: Bags) -> tuple[str, int]:
    """Give the name of the bag of a row, and the row's number in it."""
    bag = int(np.searchsorted(bags.offsets, row, side="right")) - 1
    return str(bags.names[bag]), row - int(bags.offsets[bag])


def _check_extent(values: NDArray[np.float64], bags: Bags) -> None:
    """Refuse values whose squares overflow, where nothing brings them to a scale."""
    if max(values.max(), -values.min()) > MOST_SPAN:
        row_of_all, column = map(int, np.unravel_index(np.argmax(abs(values)), values.shape))
        bag, row = _place(row_of_all, bags)
        feature = column if bags.feature_names is None else bags.feature_names[column]
        raise BagwiseError(
            f"bag {bag!r} has {values[row_of_all, column]:.4g} as feature {feature!r} in row {row}, which is out of"
            " range without scaling: mend the value, or give features in other units"
        )


def _values(bags: Bags) -> NDArray[np.float64]:
    if isinstance(bags.instances, StoredInstances):
        return np.concatenate([bag.instances for bag in bags]).astype(np.float64)
    return bags.instances.astype(np.float64)


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
    offsets: NDArray[np.float64]

    def log_probabilities(self, decisions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give logarithms of probabilities, shape (B, number of classes)."""
        logits = self.sharpness * decisions + self.offsets
        if logits.ndim == 1:
            logits = np.stack([np.zeros_like(logits), logits], axis=1)
        logarithms: NDArray[np.float64] = log_softmax(logits, axis=1)
        return logarithms

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


def _judge(
    decisions: NDArray[np.float64], targets: NDArray[np.int64], weights: NDArray[np.float64]
) -> tuple[float, float, Calibration]:
    """Give the share of errors, the loss, and the calibration with which they are that small."""
    calibration = Calibration.fit(decisions, targets, weights)
    logarithms = calibration.log_probabilities(decisions)
    wrong = logarithms.argmax(axis=1) != targets
    losses = -logarithms[np.arange(len(targets)), targets]
    return float(np.average(wrong, weights=weights)), float(np.average(losses, weights=weights)), calibration
