"""What the classical methods have in common: a scaler and an inner cross-validation."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import psutil
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.metaestimators import available_if

from bagwise.bags import Bags, BagsLike, as_bags
from bagwise.checks import valid_weights
from bagwise.encoding import Encoding, encoded, knowing
from bagwise.errors import BagwiseError
from bagwise.folds import stratified_folds
from bagwise.inputs import told_size
from bagwise.methods.asked import Asked, Said, of_neural_methods
from bagwise.methods.base import BagEstimator, RandomState, drawn_seed
from bagwise.methods.classical.packed import Packed, Scaler, check_extent, packed_as, scaler_of, values_of
from bagwise.methods.classical.questions import Calibration, LabelCalibration, Meaning, Question, question_of
from bagwise.methods.threshold import Deciding, Threshold
from bagwise.targets.classes import ClassTarget
from bagwise.targets.contract import Target

__all__ = ["INNER_FOLDS", "ClassicalMIL", "Grid", "Learner", "Learnt", "ScoresInstances"]

INNER_FOLDS = 3
Grid = Sequence[Mapping[str, Any]]  # values of hyper-parameters to choose from
_THAT_LEARN = {"real": "attention or MI-Kernel"}  # kinds of target that some classical methods refuse


class Learner(ABC):
    """What was learnt of training bags, and can be kept (`bagwise.methods.classical.kept`)."""

    @abstractmethod
    def decide(self, bags: Packed) -> NDArray[np.float64]:
        """Say of each bag a number that is positive where a class is the likelier one, or the number that is learnt.

        Shape (B,), or (B, L) where one learner answers for several columns of the question.
        """

    @abstractmethod
    def check(self, width: int) -> int:
        """Say for how many columns of the question it answers.

        Raises a ValueError unless what it consists of, whose types, shapes and letters are right, goes together, and
        with instances of so many numbers.
        """


class Learnt(NamedTuple):
    """A scaler if there is one, and the learners that answer for the columns of the question, one after the other."""

    scaler: Scaler | None
    learners: tuple[Learner, ...]

    def check(self, width: int) -> int:
        """See that all goes together, as `Learner.check` does."""
        if self.scaler is not None and (len(self.scaler.mean) != width or not (self.scaler.spread > 0).all()):
            raise ValueError("its scaler is none")
        return sum(learner.check(width) for learner in self.learners)

    def decide(self, bags: Bags) -> NDArray[np.float64]:
        """Give decisions, shape (B,) where the question has one column, else (B, L)."""
        packed = packed_as(bags, self.scaler)
        decisions = np.column_stack([learner.decide(packed) for learner in self.learners])
        _check_known(decisions, bags)
        return _flat(decisions)


@dataclass(kw_only=True, eq=False, repr=False)
class ClassicalMIL(BagEstimator, Asked, ABC):
    """What the classical methods have in common; use one of the classes that build on it.

    Features are brought to mean 0 and spread 1, learnt on the training instances, and then to at most `CLIP` either
    way: a feature that is nearly always 0 has values of 30 and more, and one such value would decide alone.

    Hyper-parameters that are None are chosen from `GRID`, its points one after the other, by one stratified
    cross-validation of `INNER_FOLDS` folds on the training bags (whole groups, where bags have groups): the fewest
    errors win, ties go to the smaller loss. The decisions about the bags held out there also tell how decisions become
    probabilities, by Platt's logistic fit: a margin between instances, or between the bags learnt from, says little
    about where the threshold between new bags lies.

    With more than two classes each is told from the others, and the most certain one wins.

    All learn classes. Those whose `KINDS` say so learn several labels, each told from its absence by itself and from
    the bags of which it is known (the fewest errors about known labels win), and real numbers: in spreads of the
    training labels from their mean, each number by itself. There the largest R squared of the held-out bags wins.

    Parameters
    ----------
    target
        As in `bagwise.methods.neural.NeuralMIL`: ``"auto"``, or one of `KINDS`.
    positive
        As in `bagwise.methods.neural.NeuralMIL`.
    threshold
        As in `bagwise.methods.neural.NeuralMIL`, and of the same probabilities: where one of two classes is rare, the
        decisions about the bags that were held out choose it. Where none could be held out and decisions are no
        log-odds but margins, they are divided at 0, as if it were one half.
    standardize
        False leaves features as they are: for those that have one scale already, such as pixels.
    random_state
        A whole number makes results the same every time. It decides the inner folds and whatever else a method leaves
        to chance.

    Attributes
    ----------
    classes_ : array
        The labels, sorted; the last axis of `predict_proba` follows it. Not there where labels are numbers.
    positive_ : object
        Of two classes the positive one; None with more than two.
    threshold_ : float, list of float, or None
        As in `bagwise.methods.neural.NeuralMIL`.
    parameters_ : dict
        The hyper-parameters, with what was chosen.
    validation_errors_ : list of float
        The share of errors of each point of the grid in the inner cross-validation, of numbers 1 less R squared; empty
        where there were too few bags for one, and the first point was taken.
    calibration_ : Calibration, LabelCalibration or Scale
        How decisions become probabilities, or numbers.
    learnt_ : Learnt
        The scaler and the learners, in arrays.
    bags_learnt_ : int
        How many bags were learnt from.
    encoding_ : Encoding or None
        What the bags learnt from taught of columns that are not all numbers; methods see what it makes of them. Inner
        folds share it.
    seed_ : int
        What `random_state` was, or was drawn from it.

    References
    ----------
    J. Platt: Probabilistic Outputs for Support Vector Machines. Advances in Large Margin Classifiers, 1999.
    """

    SCORES_INSTANCES: ClassVar[bool] = False
    GRID: ClassVar[Grid]
    KINDS: ClassVar[tuple[str, ...]] = (ClassTarget.kind,)
    LOG_ODDS: ClassVar[bool] = False  # whether decisions are that before anything is held out

    target: str = "auto"
    positive: Any = None
    threshold: Threshold = "auto"
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
        weights = np.ones(len(bags)) if sample_weight is None else valid_weights(sample_weight, bags.names)
        target = self._target_of(bags, np.flatnonzero(weights > 0))
        if not weights.all():
            bags, weights = bags[weights > 0], weights[weights > 0]
        bags, self.encoding_ = knowing(bags, np.arange(len(bags))), None
        assert bags.labels is not None
        if bags.columns is not None:
            assert isinstance(bags.instances, np.ndarray)
            everything = np.arange(len(bags))
            self.encoding_ = Encoding.learn(bags.columns, bags.instances, bags.offsets, everything)
        shown = self._shown(bags)
        self._check_room(shown, len(bags))
        seen = self._seen(shown, learning=True)
        question = question_of(target, bags.labels, weights)
        self.seed_ = seed = drawn_seed(self.random_state)
        points = self._points(self._grid(target))
        decisions = self._inner_decisions(seen, question, weights, points, seed)
        judged = [question.judged(one) for one in decisions]
        everything = np.arange(len(bags))
        deciding = Deciding.of(
            target,
            self.threshold,
            target.encoded(bags.labels),
            everything,
            weights,
            balanced=True if judged or self.LOG_ODDS else None,
        )
        best = min(range(len(judged)), key=lambda n: judged[n][:2], default=0)
        self.parameters_ = points[best]
        self.validation_errors_ = [found.error for found in judged]
        self.calibration_: Meaning = judged[best].meaning if judged else question.meaning
        scaler, packed = self._prepared(seen, weights)
        self.learnt_ = Learnt(scaler, tuple(self._learn_all(packed, question.columns, points[best], seed)))
        self.bags_learnt_ = len(bags)
        held_out = everything if judged and deciding.can_choose(everything) else everything[:0]
        answers = target.by_name(self.calibration_.answers(decisions[best])) if len(held_out) else np.zeros((0, 0))
        self._remember(bags, deciding.decided(held_out, answers))
        return self

    def _compute(self, device: str, dtype: str | None) -> None:
        for option, given in (("--device", device != "auto"), ("--dtype", dtype is not None)):
            if given:
                raise of_neural_methods(self._called, option)

    @classmethod
    def _say(cls, members: Sequence[Self], bags: Bags, *, instances: bool) -> list[Said]:
        return [Said(one.answers(bags), scores=one.instance_scores(bags) if instances else None) for one in members]

    def answers(self, X: BagsLike) -> NDArray[Any]:
        """Give the probability of each class, or the numbers, for each bag, as `BagEstimator.answers` does."""
        decisions = self._decisions(as_bags(X))  # first, because it sees whether the method is fitted
        return self.target_.by_name(self.calibration_.answers(decisions))

    @available_if(lambda self: getattr(self, "classes_", None) is not None or not hasattr(self, "target_"))  # type: ignore[untyped-decorator]
    def decision_function(self, X: BagsLike) -> NDArray[Any]:
        """Give log-odds of the second of `classes_` or, of several labels, of each; of more classes log-probabilities.

        Parameters
        ----------
        X
            `Bags`, or a list with one array a bag.

        Returns
        -------
        array
            Shape (B,) for two classes, else (B, number of classes or labels).
        """
        calibration = getattr(self, "calibration_", None)
        if isinstance(calibration, LabelCalibration):
            return calibration.log_odds(self._decisions(as_bags(X)))
        logarithms = self._classes.reordered(self._log_probabilities(as_bags(X)))
        return logarithms[:, 1] - logarithms[:, 0] if len(self.classes_) == 2 else logarithms

    def _log_probabilities(self, bags: Bags) -> NDArray[Any]:
        """Give them in the order of learning."""
        decisions = self._decisions(bags)
        assert isinstance(self.calibration_, Calibration)
        return self.calibration_.log_probabilities(decisions)

    def _decisions(self, bags: Bags) -> NDArray[np.float64]:
        bags = self._like_learnt(bags)
        self._check_room(bags, self.bags_learnt_)
        return self.learnt_.decide(self._seen(bags, learning=False))

    def _shown(self, bags: Bags) -> Bags:
        """Give bags with what training bags taught of their columns."""
        return bags if self.encoding_ is None else encoded(bags, self.encoding_)

    def _like_learnt(self, bags: Bags) -> Bags:
        return self._shown(super()._like_learnt(bags))

    def _target_of(self, bags: Bags, subset: NDArray[np.int64]) -> Target:
        if len(bags.instance_shape) != 1:  # known as early as the kind of target, and as final
            raise BagwiseError(
                f"{type(self).__name__} learns from vectors, not from instances of shape {bags.instance_shape}: give"
                " features of them, or use a neural method"
            )
        target = super()._target_of(bags, subset)
        if target.kind not in self.KINDS:
            raise BagwiseError(
                f"{type(self).__name__} learns {' and '.join(self.KINDS)}, and the target is {target.kind}: use a"
                f" method that learns it, such as {_THAT_LEARN.get(target.kind, 'attention')}"
            )
        return target

    # ---- memory -------------------------------------------------------------------------------------

    def _holds(self, bags: Bags, others: int) -> dict[str, int]:  # noqa: ARG002
        """Say what must be held of bags, and of how they compare with so many others, in bytes."""
        return {"all instances in double precision": 3 * 8 * prod(bags.instances.shape)}

    def _check_room(self, bags: Bags, others: int) -> None:
        """Refuse bags of which more must be held than there is memory for."""
        holds, free = self._holds(bags, others), psutil.virtual_memory().available
        if sum(holds.values()) > free:
            what = max(holds, key=lambda name: holds[name])
            raise BagwiseError(
                f"{type(self).__name__} must hold {what}, which takes {told_size(holds[what])}, and {told_size(free)}"
                " of memory are free: give fewer or smaller bags, or use a neural method, such as attention"
            )

    # ---- what a method fills in ---------------------------------------------------------------------

    @staticmethod
    def _width(features: int, beside: int = 0) -> int:  # noqa: ARG004
        """Say of how many numbers what is looked at consists: of so many features, of which some belong to bags."""
        return features

    def _seen(self, bags: Bags, *, learning: bool) -> Bags:  # noqa: ARG002
        """Give what is looked at of bags, whatever was learnt: themselves, or one vector in the place of each."""
        return bags

    @abstractmethod
    def _learn_all(
        self, bags: Packed, columns: NDArray[Any], parameters: Mapping[str, Any], seed: int
    ) -> list[Learner]:
        """Learn to answer for all columns of the question, shape (B, L)."""

    def _decided(
        self, train: Packed, columns: NDArray[Any], test: Packed, points: Sequence[Mapping[str, Any]], seed: int
    ) -> list[NDArray[np.float64]]:
        """Give what is decided about `test`, shape (B, L), by what is learnt of `train` at each point of the grid."""
        return [
            np.column_stack([learner.decide(test) for learner in self._learn_all(train, columns, point, seed)])
            for point in points
        ]

    def _scaler_of(self, bags: Bags) -> Scaler:
        """Learn the scale of what is looked at."""
        return scaler_of(values_of(bags), bags)

    # ---- learning -----------------------------------------------------------------------------------

    def _grid(self, target: Target) -> Grid:  # noqa: ARG002
        """Give the points to choose from for a target."""
        return self.GRID

    def _points(self, grid: Grid) -> list[dict[str, Any]]:
        """Give the points of the grid that agree with the hyper-parameters that were given, each only once."""
        points: list[dict[str, Any]] = []
        for point in grid:
            given = {name: getattr(self, name) for name in point}
            filled = {name: point[name] if value is None else value for name, value in given.items()}
            if filled not in points:
                points.append(filled)
        return points

    def _prepared(self, bags: Bags, weights: NDArray[np.float64]) -> tuple[Scaler | None, Packed]:
        """Scale training bags by what they teach."""
        scaler = self._scaler_of(bags) if self.standardize else None
        return scaler, packed_as(bags, scaler)._replace(sample_weight=weights)

    def _inner_decisions(
        self,
        bags: Bags,
        question: Question,
        weights: NDArray[np.float64],
        points: Sequence[Mapping[str, Any]],
        seed: int,
    ) -> list[NDArray[np.float64]]:
        """Give at each point of the grid decisions about bags held out; none where there are too few bags."""
        strata = question.strata(INNER_FOLDS)
        fewest = int(np.bincount(strata).min())
        if bags.groups is not None:
            fewest = min(fewest, len(np.unique(bags.groups)))
        if fewest < 2:
            return []
        folds = min(INNER_FOLDS, fewest)
        fold_of = stratified_folds(strata, folds, seed, bags.groups)
        decisions = np.zeros((len(points), *question.columns.shape))
        for fold in range(folds):
            train, test = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
            if not question.answerable(train):  # groups can make it so
                return []
            scaler, packed = self._prepared(bags[train], weights[train])
            held_out = bags[test]
            said = self._decided(packed, question.columns[train], packed_as(held_out, scaler), points, seed)
            for one in said:
                _check_known(one, held_out)
            decisions[:, test] = said
        return [_flat(one) for one in decisions]


def _flat(decisions: NDArray[np.float64]) -> NDArray[np.float64]:
    return decisions[:, 0] if decisions.shape[1] == 1 else decisions


def _check_known(decisions: NDArray[np.float64], bags: Bags) -> None:
    known = np.isfinite(decisions).all(axis=1)
    if not known.all():
        raise BagwiseError(
            f"the model has no answer for bag {bags.names[np.argmin(known)]!r}, because its decision is no number:"
            " look for extreme values in the bag"
        )


class ScoresInstances(ClassicalMIL):
    """A classical method that decides by the instances one by one, so that each has a score of its own."""

    SCORES_INSTANCES: ClassVar[bool] = True

    @abstractmethod
    def _learn(self, bags: Packed, positive: NDArray[np.bool_], parameters: Mapping[str, Any], seed: int) -> Learner:
        """Learn to tell the positive bags from the others."""

    def _learn_all(
        self, bags: Packed, columns: NDArray[Any], parameters: Mapping[str, Any], seed: int
    ) -> list[Learner]:
        return [self._learn(bags, column, parameters, seed) for column in columns.T]

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
        values = values_of(bags)
        if self.learnt_.scaler is None:
            check_extent(values, bags)  # names the bag; below each instance is one
        alone = Bags(values, np.arange(len(bags.instances) + 1))
        probabilities: NDArray[Any] = np.exp(self._log_probabilities(alone))
        return probabilities[:, 1] if probabilities.shape[1] == 2 else probabilities
