"""What a new method must beat: scikit-learn on what sums a bag up."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC, SVR

from bagwise.bags import Bags
from bagwise.checks import MOST_SPAN, check_span, constant_features
from bagwise.methods.classical.base import ClassicalMIL, Grid, Learner
from bagwise.methods.classical.machines import Machine, decided, frozen
from bagwise.methods.classical.packed import Packed, Scaler, check_extent
from bagwise.methods.classical.questions import Question
from bagwise.methods.classical.summaries import Summaries, summaries_of
from bagwise.parameters import Count, NonNegative, Positive
from bagwise.targets.classes import ClassTarget
from bagwise.targets.numbers import RealTarget

__all__ = ["MeanLogistic", "SummaryBoosting", "SummaryForest", "SummaryLogistic", "SummaryMIL", "SummarySVM", "Summed"]

_MOST_ITERATIONS = 10_000


@dataclass(frozen=True, eq=False)
class Summed(Learner):
    """A machine a column of the question."""

    machines: tuple[Machine, ...]

    def decide(self, bags: Packed) -> NDArray[np.float64]:
        """Give a decision a machine, shape (B, L)."""
        return decided(self.machines, bags.instances)

    def check(self, width: int) -> int:
        """One column a machine, where all take what sums bags up."""
        for machine in self.machines:
            machine.check(width)
        return len(self.machines)


@dataclass(kw_only=True, eq=False, repr=False)
class SummaryMIL(ClassicalMIL):
    """What the baselines have in common; use one of the classes that build on it.

    Each bag becomes one vector: mean, maximum, minimum and standard deviation of each feature, and the number of
    instances. These vectors are brought to mean 0 and spread 1, learnt on the training bags, and to at most `CLIP`
    either way, and scikit-learn learns from them. Instances are read once, in blocks, so that those in files need not
    fit into memory.

    Which instance decides, a baseline does not know, and of where the instances of a bag lie only what its summary
    keeps. Where it is as good as a method for bags, the labels are no evidence of key instances.

    Parameters
    ----------
    target, positive, standardize, random_state
        As in `ClassicalMIL`.
    """

    @abstractmethod
    def _machine(
        self, vectors: NDArray[np.float64], parameters: Mapping[str, Any], seed: int, *, of_numbers: bool
    ) -> BaseEstimator:
        """Make what is fitted to the vectors."""

    @staticmethod
    def _width(features: int) -> int:
        return 4 * features + 1

    def _vectors(self, summaries: Summaries) -> NDArray[np.float64]:
        """Give a vector a bag, as wide as `_width` says."""
        return summaries.vectors()

    def _seen(self, bags: Bags, *, learning: bool) -> Bags:
        found = summaries_of(bags)
        lowest, highest = found.lowest.min(axis=0), found.highest.max(axis=0)

        def farthest(feature: int) -> tuple[str, int]:
            bag, row = found.farthest(bags, feature)
            return str(bags.names[bag]), row

        if not self.standardize:
            extent = np.maximum(highest, -lowest)
            if extent.max() > MOST_SPAN:
                bag = found.farthest(bags, int(extent.argmax()))[0]
                one = bags[[bag]]
                check_extent(np.asarray(one.instances[:], dtype=np.float64), one)
        elif learning:
            check_span(lowest, highest, bags.feature_names, farthest)
        vectors = self._vectors(found)
        return Bags(vectors, np.arange(len(bags) + 1), bags.labels, bags.names, bags.groups)

    def _holds(self, bags: Bags, others: int) -> dict[str, int]:  # noqa: ARG002
        return {"a summary of each bag, several times": 4 * 8 * len(bags) * (4 * bags.instance_shape[0] + 1)}

    def _scaler_of(self, bags: Bags) -> Scaler:
        # What is the same in all bags, or differs by less than squares can tell, becomes 0.
        vectors = np.asarray(bags.instances)
        lowest = vectors.min(axis=0)
        return Scaler.of(vectors).where(~constant_features(lowest, vectors.max(axis=0)), lowest)

    def _learn_all(
        self, bags: Packed, columns: NDArray[Any], parameters: Mapping[str, Any], seed: int
    ) -> list[Learner]:
        of_numbers = columns.dtype != bool
        seen = bags.instances
        return [
            Summed(
                tuple(
                    frozen(self._machine(seen, parameters, seed, of_numbers=of_numbers).fit(seen, column, bags.weights))
                    for column in columns.T
                )
            )
        ]


@dataclass(kw_only=True, eq=False, repr=False)
class SummaryLogistic(SummaryMIL):
    """summary-logistic: logistic regression on what sums a bag up.

    Parameters
    ----------
    C
        What an error counts beside the squared weights; None chooses.
    target, positive, standardize, random_state
        As in `ClassicalMIL`.

    Examples
    --------
    >>> import bagwise as bw
    >>> bags = bw.Bags.from_arrays([[[0.0]], [[5.0], [0.1]], [[0.2]], [[0.1], [4.8]]] * 3, labels=[0, 1, 0, 1] * 3)
    >>> bw.make("summary-logistic", random_state=0).fit(bags).predict(bags[:4]).tolist()
    [0, 1, 0, 1]
    """

    GRID: ClassVar[Grid] = tuple({"C": C} for C in (0.1, 0.01, 1.0))

    C: Positive | None = None

    def _machine(
        self,
        vectors: NDArray[np.float64],  # noqa: ARG002
        parameters: Mapping[str, Any],
        seed: int,  # noqa: ARG002
        *,
        of_numbers: bool,  # noqa: ARG002
    ) -> BaseEstimator:
        return LogisticRegression(C=parameters["C"], max_iter=_MOST_ITERATIONS)


@dataclass(kw_only=True, eq=False, repr=False)
class MeanLogistic(SummaryLogistic):
    """mean-logistic: logistic regression on the mean of a bag's instances, and nothing else.

    Parameters
    ----------
    C, target, positive, standardize, random_state
        As in `SummaryLogistic`.

    Examples
    --------
    >>> import bagwise as bw
    >>> bags = bw.Bags.from_arrays([[[0.0]], [[5.0], [0.1]], [[0.2]], [[0.1], [4.8]]] * 3, labels=[0, 1, 0, 1] * 3)
    >>> bw.make("mean-logistic", random_state=0).fit(bags).predict(bags[:4]).tolist()
    [0, 1, 0, 1]
    """

    @staticmethod
    def _width(features: int) -> int:
        return features

    def _vectors(self, summaries: Summaries) -> NDArray[np.float64]:
        return summaries.means()


@dataclass(kw_only=True, eq=False, repr=False)
class SummarySVM(SummaryMIL):
    """summary-SVM: a support vector machine on what sums a bag up.

    Parameters
    ----------
    C
        The price of a training bag on the wrong side of the margin; of numbers, which support vector regression learns,
        the price of each spread of the training labels beyond `epsilon`. None takes 10.
    gamma
        The sharpness of the Gaussian kernel, in units of one over the number of numbers in a summary; None chooses.
    epsilon
        By how many spreads of the training labels a number may be missed at no price.
    target, positive, standardize, random_state
        As in `ClassicalMIL`.

    Examples
    --------
    >>> import bagwise as bw
    >>> bags = bw.Bags.from_arrays([[[0.0]], [[5.0], [0.1]], [[0.2]], [[0.1], [4.8]]] * 3, labels=[0, 1, 0, 1] * 3)
    >>> bw.make("summary-SVM", random_state=0).fit(bags).predict(bags[:4]).tolist()
    [0, 1, 0, 1]
    """

    KINDS: ClassVar[tuple[str, ...]] = (ClassTarget.kind, RealTarget.kind)
    GRID: ClassVar[Grid] = tuple({"gamma": gamma, "C": 10.0} for gamma in (1.0, 0.25))

    C: Positive | None = None
    gamma: Positive | None = None
    epsilon: NonNegative = 0.1

    def _machine(
        self,
        vectors: NDArray[np.float64],
        parameters: Mapping[str, Any],
        seed: int,  # noqa: ARG002
        *,
        of_numbers: bool,
    ) -> BaseEstimator:
        gamma = parameters["gamma"] / (vectors.shape[1] * (vectors.var() or 1.0))
        if of_numbers:
            return SVR(C=parameters["C"], gamma=gamma, epsilon=self.epsilon)
        return SVC(C=parameters["C"], gamma=gamma)


@dataclass(kw_only=True, eq=False, repr=False)
class SummaryForest(SummaryMIL):
    """summary-forest: extremely random trees on what sums a bag up (Geurts et al., 2006).

    Parameters
    ----------
    trees
        How many.
    leaf
        The fewest training bags that a leaf of a tree may hold; None chooses. Where it is given, nothing is left to
        choose by bags held out, which takes most of the time, and the shares of the trees are probabilities as they
        are.
    target, positive, standardize, random_state
        As in `ClassicalMIL`. Trees do not ask for a scale, but for numbers of single precision.

    References
    ----------
    P. Geurts, D. Ernst, L. Wehenkel: Extremely Randomized Trees. Machine Learning, 2006.

    Examples
    --------
    >>> import bagwise as bw
    >>> bags = bw.Bags.from_arrays([[[0.0]], [[5.0], [0.1]], [[0.2]], [[0.1], [4.8]]] * 3, labels=[0, 1, 0, 1] * 3)
    >>> bw.make("summary-forest", trees=20, random_state=0).fit(bags).predict(bags[:4]).tolist()
    [0, 1, 0, 1]
    """

    KINDS: ClassVar[tuple[str, ...]] = (ClassTarget.kind, RealTarget.kind)
    GRID: ClassVar[Grid] = ({"leaf": 1}, {"leaf": 3})

    trees: Count = 250
    leaf: Count | None = None

    def _inner_decisions(
        self,
        bags: Bags,
        question: Question,
        weights: NDArray[np.float64],
        points: Sequence[Mapping[str, Any]],
        seed: int,
    ) -> list[NDArray[np.float64]]:
        if len(points) == 1:
            return []
        return super()._inner_decisions(bags, question, weights, points, seed)

    def _machine(
        self,
        vectors: NDArray[np.float64],  # noqa: ARG002
        parameters: Mapping[str, Any],
        seed: int,
        *,
        of_numbers: bool,
    ) -> BaseEstimator:
        kind = ExtraTreesRegressor if of_numbers else ExtraTreesClassifier
        return kind(self.trees, min_samples_leaf=parameters["leaf"], max_features="sqrt", random_state=seed)


@dataclass(kw_only=True, eq=False, repr=False)
class SummaryBoosting(SummaryMIL):
    """summary-boosting: small trees on what sums a bag up, each mending what those before it miss.

    Features are counted in at most 255 steps, as in LightGBM (Ke et al., 2017).

    Parameters
    ----------
    rounds
        How many trees, one after the other; None chooses.
    leaf
        The fewest training bags that a leaf of a tree may hold; None takes 10.
    target, positive, standardize, random_state
        As in `ClassicalMIL`.

    References
    ----------
    G. Ke et al.: LightGBM: A Highly Efficient Gradient Boosting Decision Tree. NIPS 2017.

    Examples
    --------
    >>> import bagwise as bw
    >>> bags = bw.Bags.from_arrays([[[0.0]], [[5.0], [0.1]], [[0.2]], [[0.1], [4.8]]] * 3, labels=[0, 1, 0, 1] * 3)
    >>> bw.make("summary-boosting", leaf=1, random_state=0).fit(bags).predict(bags[:4]).tolist()
    [0, 1, 0, 1]
    """

    KINDS: ClassVar[tuple[str, ...]] = (ClassTarget.kind, RealTarget.kind)
    GRID: ClassVar[Grid] = tuple({"rounds": rounds, "leaf": 10} for rounds in (10, 100))

    rounds: Count | None = None
    leaf: Count | None = None

    def _machine(
        self,
        vectors: NDArray[np.float64],  # noqa: ARG002
        parameters: Mapping[str, Any],
        seed: int,
        *,
        of_numbers: bool,
    ) -> BaseEstimator:
        kind = HistGradientBoostingRegressor if of_numbers else HistGradientBoostingClassifier
        return kind(
            max_iter=parameters["rounds"],
            min_samples_leaf=parameters["leaf"],
            early_stopping=False,
            random_state=seed,
        )
