"""What a new method must beat: scikit-learn on what sums a bag up."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple, Self

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

from bagwise.bags import Bags, BagsLike, as_bags
from bagwise.checks import MOST_SPAN, check_span, constant_features
from bagwise.methods.asked import Said
from bagwise.methods.classical.base import ClassicalMIL, Grid, Learner
from bagwise.methods.classical.machines import Linear, Machine, decided, frozen
from bagwise.methods.classical.packed import Packed, Scaler, check_extent
from bagwise.methods.classical.questions import UNKNOWN, Question
from bagwise.methods.classical.summaries import Summaries, summaries_of, summaries_without
from bagwise.parameters import Count, NonNegative, Positive
from bagwise.targets.classes import ClassTarget
from bagwise.targets.numbers import RealTarget
from bagwise.targets.several import MultiLabelTarget

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


class _Lesson(NamedTuple):
    """What a machine is to learn of: shape (B, V), the hyper-parameters, a seed, and whether numbers are learnt."""

    vectors: NDArray[np.float64]
    parameters: Mapping[str, Any]
    seed: int
    of_numbers: bool


@dataclass(kw_only=True, eq=False, repr=False)
class SummaryMIL(ClassicalMIL):
    r"""What the baselines have in common; use one of the classes that build on it.

    Each bag becomes one vector: mean, maximum, minimum and standard deviation of each feature, and the number of
    instances.

    $$s(X) = \left(\bar{x},\ \max_k x_k,\ \min_k x_k,\ \sqrt{\frac{1}{K} \sum_k (x_k - \bar{x})^2},\ K\right)$$

    These vectors are brought to mean 0 and spread 1, learnt on the training bags, and to at most `CLIP` either way, and
    scikit-learn learns from them. Instances are read once, in blocks, so that those in files need not fit into memory.

    Which instance decides, a baseline does not know, and of where the instances of a bag lie only what its summary
    keeps. Where it is as good as a method for bags, the labels are no evidence of key instances.

    All learn classes and several labels; of a label that all bags have of which it is known, or none has, nothing is
    learnt but that. All but logistic regression learn real numbers too.

    Parameters
    ----------
    target, positive, threshold, standardize, random_state
        As in `ClassicalMIL`.
    """

    SEES_INSTANCES: ClassVar[bool] = False
    LEAVES_OUT: ClassVar[bool] = True
    KINDS: ClassVar[tuple[str, ...]] = (ClassTarget.kind, MultiLabelTarget.kind, RealTarget.kind)
    LOG_ODDS: ClassVar[bool] = True

    @abstractmethod
    def _machine(self, lesson: _Lesson) -> BaseEstimator:
        """Make what is fitted to vectors."""

    def without_instance(self, X: BagsLike) -> NDArray[Any]:
        """Give what is said of a bag without one of its instances, for each of them.

        By how much the answer falls from what `answers` says of the whole bag is what the instance counts for there.
        It is not what `instance_scores` of other methods tell, which is of the instance alone: of two instances of a
        kind that decides, neither need count for much, since the other is still there.

        Parameters
        ----------
        X
            `Bags`, or a list with one array a bag.

        Returns
        -------
        array
            Packed like `Bags.instances`: shape (N, A), columns as in `answers`; NaN of an instance that is alone in its
            bag, which without it is none.

        Raises
        ------
        BagwiseError
            If the instances have another shape than those learnt from.

        Examples
        --------
        >>> import bagwise as bw
        >>> bags = bw.Bags.from_arrays([[[0.0]], [[5.0], [0.1]], [[0.2]], [[0.1], [4.8]]] * 3, labels=[0, 1, 0, 1] * 3)
        >>> model = bw.make("summary-logistic", random_state=0).fit(bags)
        >>> whole = model.answers(bags[1:2])
        >>> (whole - model.without_instance(bags[1:2]))[:, 1].round(1).tolist()
        [0.8, 0.2]
        """
        bags = self._like_learnt(as_bags(X))
        if not self.standardize:
            self._seen(bags, learning=False)  # names the bag of a value that is too large
        parts = []
        for found in summaries_without(bags):
            there = found.sizes > 0
            vectors = self._vectors(found)[there]
            decisions = np.full((len(there), self.target_.outputs), np.nan)
            if there.any():
                named = Bags(vectors, np.arange(len(vectors) + 1))
                decisions[there] = self.learnt_.decide(named).reshape(len(vectors), -1)
            parts.append(decisions)
        decisions = np.concatenate(parts)
        flat = decisions[:, 0] if decisions.shape[1] == 1 else decisions
        return self.target_.by_name(self.calibration_.answers(flat))

    @classmethod
    def _say(cls, members: Sequence[Self], bags: Bags, *, instances: bool) -> list[Said]:
        said = super()._say(members, bags, instances=False)
        return [one._leaving_out(whole, bags) for one, whole in zip(members, said, strict=True)] if instances else said

    def _leaving_out(self, whole: Said, bags: Bags) -> Said:
        with_it = self.target_.of_instances(whole.answers).repeat(bags.sizes, axis=0)
        return replace(whole, scores=with_it - self.target_.of_instances(self.without_instance(bags)), alone=False)

    @staticmethod
    def _width(features: int, beside: int = 0) -> int:
        return 4 * features + 1 - 3 * beside

    def _vectors(self, summaries: Summaries) -> NDArray[np.float64]:
        """Give a vector a bag, as wide as `_width` says."""
        return summaries.vectors(0 if self.encoding_ is None else self.encoding_.beside)

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
        return [Summed(tuple(self._learnt(bags, column, parameters, seed) for column in columns.T))]

    def _learnt(self, bags: Packed, column: NDArray[Any], parameters: Mapping[str, Any], seed: int) -> Machine:
        """Learn to answer for a column from the bags of which it is known."""
        of_numbers = column.dtype.kind == "f"
        known = np.full(len(column), True) if of_numbers else column != UNKNOWN
        seen, wanted, weights = bags.instances[known], column[known], bags.weights[known]
        if not of_numbers and (wanted == wanted[:1]).all():
            # A label that all known bags have, or none has: their log-odds, were half a bag more of either kind known.
            have = wanted.sum()
            return Linear(np.zeros(seen.shape[1]), float(np.log((have + 0.5) / (len(wanted) - have + 0.5))))
        return frozen(self._machine(_Lesson(seen, parameters, seed, of_numbers)).fit(seen, wanted, weights))


@dataclass(kw_only=True, eq=False, repr=False)
class SummaryLogistic(SummaryMIL):
    r"""summary-logistic: logistic regression on what sums a bag up.

    $$\min_{w, b} \frac{1}{2} \lVert w \rVert^2 + C \sum_i \log\left(1 + \exp(-y_i (w^\top s(X_i) + b))\right)$$

    The log-odds of a bag are $w^\top s(X) + b$, with $s(X)$ as in `SummaryMIL`; of the labels, $y_i$ is 1 or -1.

    Parameters
    ----------
    C
        What an error counts beside the squared weights; None chooses.
    target, positive, threshold, standardize, random_state
        As in `ClassicalMIL`.

    Examples
    --------
    >>> import bagwise as bw
    >>> bags = bw.Bags.from_arrays([[[0.0]], [[5.0], [0.1]], [[0.2]], [[0.1], [4.8]]] * 3, labels=[0, 1, 0, 1] * 3)
    >>> bw.make("summary-logistic", random_state=0).fit(bags).predict(bags[:4]).tolist()
    [0, 1, 0, 1]
    """

    KINDS: ClassVar[tuple[str, ...]] = (ClassTarget.kind, MultiLabelTarget.kind)  # of numbers there are no log-odds
    GRID: ClassVar[Grid] = tuple({"C": C} for C in (0.1, 0.01, 1.0))

    C: Positive | None = None

    def _machine(self, lesson: _Lesson) -> BaseEstimator:
        return LogisticRegression(C=lesson.parameters["C"], max_iter=_MOST_ITERATIONS)


@dataclass(kw_only=True, eq=False, repr=False)
class MeanLogistic(SummaryLogistic):
    r"""mean-logistic: logistic regression on the mean of a bag's instances, and nothing else.

    As in `SummaryLogistic`, with $s(X) = \bar{x}$.

    Parameters
    ----------
    C, target, positive, threshold, standardize, random_state
        As in `SummaryLogistic`.

    Examples
    --------
    >>> import bagwise as bw
    >>> bags = bw.Bags.from_arrays([[[0.0]], [[5.0], [0.1]], [[0.2]], [[0.1], [4.8]]] * 3, labels=[0, 1, 0, 1] * 3)
    >>> bw.make("mean-logistic", random_state=0).fit(bags).predict(bags[:4]).tolist()
    [0, 1, 0, 1]
    """

    @staticmethod
    def _width(features: int, beside: int = 0) -> int:  # noqa: ARG004
        return features

    def _vectors(self, summaries: Summaries) -> NDArray[np.float64]:
        return summaries.means()


@dataclass(kw_only=True, eq=False, repr=False)
class SummarySVM(SummaryMIL):
    r"""summary-SVM: a support vector machine on what sums a bag up.

    $$f(X) = b + \sum_i d_i \exp\left(-\gamma \lVert s(X) - s(X_i) \rVert^2\right)$$

    The sum is over the training bags that support the margin, and $s(X)$ as in `SummaryMIL`.

    Parameters
    ----------
    C
        The price of a training bag on the wrong side of the margin; of numbers, which support vector regression learns,
        the price of each spread of the training labels beyond `epsilon`. None takes 10.
    gamma
        The sharpness of the Gaussian kernel, in units of one over the number of numbers in a summary; None chooses.
    epsilon
        By how many spreads of the training labels a number may be missed at no price.
    target, positive, threshold, standardize, random_state
        As in `ClassicalMIL`.

    Examples
    --------
    >>> import bagwise as bw
    >>> bags = bw.Bags.from_arrays([[[0.0]], [[5.0], [0.1]], [[0.2]], [[0.1], [4.8]]] * 3, labels=[0, 1, 0, 1] * 3)
    >>> bw.make("summary-SVM", random_state=0).fit(bags).predict(bags[:4]).tolist()
    [0, 1, 0, 1]
    """

    GRID: ClassVar[Grid] = tuple({"gamma": gamma, "C": 10.0} for gamma in (1.0, 0.25))
    LOG_ODDS: ClassVar[bool] = False

    C: Positive | None = None
    gamma: Positive | None = None
    epsilon: NonNegative = 0.1

    def _machine(self, lesson: _Lesson) -> BaseEstimator:
        C, vectors = lesson.parameters["C"], lesson.vectors
        gamma = lesson.parameters["gamma"] / (vectors.shape[1] * (vectors.var() or 1.0))
        return SVR(C=C, gamma=gamma, epsilon=self.epsilon) if lesson.of_numbers else SVC(C=C, gamma=gamma)


@dataclass(kw_only=True, eq=False, repr=False)
class SummaryForest(SummaryMIL):
    r"""summary-forest: extremely random trees on what sums a bag up (Geurts et al., 2006).

    $$p(X) = \frac{1}{T} \sum_{t=1}^{T} p_t(s(X))$$

    $p_t$ is the share of the label, or the mean of the numbers, in the leaf where tree $t$ has $s(X)$ of `SummaryMIL`.

    Parameters
    ----------
    trees
        How many.
    leaf
        The fewest training bags that a leaf of a tree may hold; None chooses. Where it is given, nothing is left to
        choose by bags held out, which takes most of the time, and the shares of the trees are probabilities as they
        are.
    target, positive, threshold, standardize, random_state
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

    def _machine(self, lesson: _Lesson) -> BaseEstimator:
        kind, leaf = ExtraTreesRegressor if lesson.of_numbers else ExtraTreesClassifier, lesson.parameters["leaf"]
        return kind(self.trees, min_samples_leaf=leaf, max_features="sqrt", random_state=lesson.seed)


@dataclass(kw_only=True, eq=False, repr=False)
class SummaryBoosting(SummaryMIL):
    r"""summary-boosting: small trees on what sums a bag up, each mending what those before it miss.

    $$f(X) = f_0 + \eta \sum_{r=1}^{R} f_r(s(X))$$

    The log-odds of a label, or the number, of a bag, with $s(X)$ as in `SummaryMIL`; $\eta = 0.1$.

    Features are counted in at most 255 steps, as in LightGBM (Ke et al., 2017).

    Parameters
    ----------
    rounds
        How many trees, one after the other; None chooses.
    leaf
        The fewest training bags that a leaf of a tree may hold; None takes 10.
    target, positive, threshold, standardize, random_state
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

    GRID: ClassVar[Grid] = tuple({"rounds": rounds, "leaf": 10} for rounds in (10, 100))

    rounds: Count | None = None
    leaf: Count | None = None

    def _machine(self, lesson: _Lesson) -> BaseEstimator:
        kind = HistGradientBoostingRegressor if lesson.of_numbers else HistGradientBoostingClassifier
        return kind(
            max_iter=lesson.parameters["rounds"],
            min_samples_leaf=lesson.parameters["leaf"],
            early_stopping=False,
            random_state=lesson.seed,
        )
