"""What scikit-learn's machines have learnt, as plain arrays: these answer as soon as they have learnt, and are kept.

A machine is frozen right after it was fitted, so that what answers is the same before it is saved and after it is
loaded, to the last bit. What is said of a row does not depend on the other rows.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import singledispatch
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from sklearn.base import BaseEstimator, is_classifier
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.svm import SVC, SVR

__all__ = ["Boosted", "Forest", "Gaussian", "Linear", "Machine", "Trees", "decided", "frozen"]

_BLOCK_NUMBERS = 1 << 17  # that are in memory at once beside the rows


class Machine(ABC):
    """What says a number of each row."""

    @abstractmethod
    def decide(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Say log-odds, a margin or a number of each row, shape (N,), of rows of shape (N, V)."""

    @abstractmethod
    def check(self, width: int) -> None:
        """Raise a ValueError unless it can answer for rows of so many numbers; types, shapes and letters are right."""


def _check_width(found: int, width: int) -> None:
    if found != width:
        raise ValueError(f"it answers for {found} numbers, and is asked about {width}")


@dataclass(frozen=True, eq=False)
class Linear(Machine):
    """A weighted sum: of a logistic regression, a ridge regression, or a support vector machine.

    Attributes
    ----------
    weights
        Shape (V,).
    intercept
        What is added.

    Examples
    --------
    >>> Linear(np.array([1.0, -1.0]), 0.5).decide(np.array([[2.0, 1.0]])).tolist()
    [1.5]
    """

    weights: Annotated[NDArray[np.float64], "V"]
    intercept: float

    def decide(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give the sums."""
        sums: NDArray[np.float64] = np.einsum("nv,v->n", rows, self.weights)
        return sums + self.intercept

    def check(self, width: int) -> None:
        """See that there is a weight a number."""
        _check_width(len(self.weights), width)


@dataclass(frozen=True, eq=False)
class Gaussian(Machine):
    """A support vector machine with a Gaussian kernel: sum_s d_s exp(-gamma |x - x_s|^2) + intercept.

    Attributes
    ----------
    support
        The support vectors x_s, shape (S, V).
    dual
        What each counts, d_s, shape (S,).
    intercept
        What is added.
    gamma
        The sharpness.

    Examples
    --------
    >>> Gaussian(np.array([[0.0], [1.0]]), np.array([1.0, -1.0]), 0.0, 1.0).decide(np.array([[0.5]])).tolist()
    [0.0]
    """

    support: Annotated[NDArray[np.float64], "S V"]
    dual: Annotated[NDArray[np.float64], "S"]
    intercept: float
    gamma: float

    def decide(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give the sums, of some rows at a time."""
        decisions = np.empty(len(rows))
        for some in _blocks(len(rows), len(self.support)):
            values = cdist(rows[some], self.support, "sqeuclidean")
            values *= -self.gamma
            np.exp(values, out=values)
            decisions[some] = np.einsum("ns,s->n", values, self.dual)
        return decisions + self.intercept

    def check(self, width: int) -> None:
        """See that support vectors are as wide as rows."""
        _check_width(self.support.shape[1], width)
        if self.gamma <= 0:
            raise ValueError(f"its gamma is {self.gamma}")


@dataclass(frozen=True, eq=False)
class Trees:
    """Trees that ask whether one of the numbers is at most a threshold, and end in a value.

    Attributes
    ----------
    roots
        Where each tree begins, shape (T,).
    left, right
        Where it goes on from each node where the number is at most the threshold, and where it is above, shape (M,). A
        leaf goes on to itself, everything else to a node further on, so that there is an end.
    feature
        Which of the numbers is looked at, shape (M,).
    threshold
        What with, shape (M,).
    value
        What a leaf says, shape (M,).

    Examples
    --------
    >>> nodes = [[1, 1, 2], [2, 1, 2], [0, 0, 0]]
    >>> trees = Trees(np.array([0]), *map(np.array, nodes), np.array([0.5, 0, 0]), np.array([0.0, 7.0, 9.0]))
    >>> trees.values(np.array([[0.4], [0.6]])).tolist()
    [[7.0], [9.0]]
    """

    roots: Annotated[NDArray[np.int64], "T"]
    left: Annotated[NDArray[np.int64], "M"]
    right: Annotated[NDArray[np.int64], "M"]
    feature: Annotated[NDArray[np.int64], "M"]
    threshold: Annotated[NDArray[np.float64], "M"]
    value: Annotated[NDArray[np.float64], "M"]

    def values(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        """Give what each tree says of each row, shape (N, T)."""
        count, width = rows.shape
        numbers, onward = rows.ravel(), np.stack([self.left, self.right], axis=1).ravel()
        inner = self.left != self.right
        # All ways are walked at once, each until it ends; those of one tree lie together, so that it stays in cache.
        ends = np.repeat(self.roots, count)
        ways = np.flatnonzero(inner[ends])
        row, at = ways % count * width, ends[ways]
        while len(ways):
            high = numbers.take(row + self.feature.take(at)) > self.threshold.take(at)
            at = onward.take(2 * at + high)
            ends[ways] = at
            going = inner.take(at)
            ways, row, at = ways[going], row[going], at[going]
        return np.ascontiguousarray(self.value[ends].reshape(-1, count).T)

    def sums(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        """Add up what the trees say of each row, shape (N,), of some rows at a time."""
        sums = np.empty(len(rows))
        for some in _blocks(len(rows), len(self.roots)):
            sums[some] = self.values(rows[some]).sum(axis=1)
        return sums

    def check(self, width: int) -> None:
        """See that every index is in range, and that every way has an end."""
        nodes = np.arange(len(self.value))
        leaf = (self.left == nodes) & (self.right == nodes)
        for onward in (self.left, self.right):
            if not (leaf | ((onward > nodes) & (onward < len(nodes)))).all():
                raise ValueError("a tree has a node that does not go on to a later one")
        if not len(self.roots) or not ((self.roots >= 0) & (self.roots < len(nodes))).all():
            raise ValueError("a tree begins where there is no node")
        if not ((self.feature >= 0) & (self.feature < width)).all():
            raise ValueError("a tree asks for a number that is not there")


@dataclass(frozen=True, eq=False)
class Forest(Machine):
    """The mean of trees that learnt side by side: numbers, or shares, which become log-odds.

    Shares of a forest that is certain become odds as if one tree more were undecided.

    Attributes
    ----------
    trees
        They compare in single precision, as they have learnt.
    odds
        Whether they say shares.
    """

    trees: Trees
    odds: bool

    def decide(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give means, or log-odds."""
        with np.errstate(over="ignore"):
            sums = self.trees.sums(rows.astype(np.float32))
        count = len(self.trees.roots)
        return np.log((sums + 0.5) / (count - sums + 0.5)) if self.odds else sums / count

    def check(self, width: int) -> None:
        """See that the trees can be walked, and that shares are some."""
        self.trees.check(width)
        if self.odds and not ((self.trees.value >= 0) & (self.trees.value <= 1)).all():
            raise ValueError("a tree says a share that is none")


@dataclass(frozen=True, eq=False)
class Boosted(Machine):
    """The sum of trees that learnt one after the other.

    Attributes
    ----------
    trees
        They compare in double precision.
    base
        What they began with.
    """

    trees: Trees
    base: float

    def decide(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give sums."""
        return self.base + self.trees.sums(rows)

    def check(self, width: int) -> None:
        """See that the trees can be walked."""
        self.trees.check(width)


def _blocks(rows: int, numbers: int) -> Iterator[slice]:
    """Cut rows, of which each takes so many numbers, into blocks."""
    step = max(1, _BLOCK_NUMBERS // max(1, numbers))
    return (slice(begin, begin + step) for begin in range(0, rows, step))


def decided(machines: Sequence[Machine], rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ask several machines.

    Parameters
    ----------
    machines
        L of them.
    rows
        Shape (N, V).

    Returns
    -------
    array
        Shape (N, L).
    """
    return np.column_stack([machine.decide(rows) for machine in machines])


@singledispatch
def frozen(machine: BaseEstimator) -> Machine:
    """Take from a machine of scikit-learn what it has learnt.

    Parameters
    ----------
    machine
        Fitted to one column, of booleans or of numbers.

    Returns
    -------
    Machine
        Says what the machine's ``decision_function`` or, of numbers, ``predict`` says, but for the last bits; of a
        forest of shares their log-odds.

    Examples
    --------
    >>> rows = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> frozen(Ridge(1e-9).fit(rows, [1.0, 3.0, 5.0, 7.0])).decide(rows).round(6).tolist()
    [1.0, 3.0, 5.0, 7.0]
    """
    raise TypeError(f"what {type(machine).__name__} learns is not known")


@frozen.register(LogisticRegression)
@frozen.register(Ridge)
def _(machine: LogisticRegression | Ridge) -> Machine:
    return Linear(machine.coef_.ravel(), float(np.ravel(machine.intercept_)[0]))


@frozen.register(SVC)
@frozen.register(SVR)
def _(machine: SVC | SVR) -> Machine:
    dual, intercept = np.array(machine.dual_coef_[0]), float(machine.intercept_[0])
    if machine.kernel == "rbf":
        return Gaussian(np.array(machine.support_vectors_), dual, intercept, float(machine.gamma))
    if machine.kernel == "linear":
        return Linear(np.array(machine.coef_[0]), intercept)
    weights = np.zeros(machine.shape_fit_[0])  # of a kernel that was given: what each training row counts
    weights[machine.support_] = dual
    return Linear(weights, intercept)


@frozen.register(ExtraTreesClassifier)
@frozen.register(ExtraTreesRegressor)
def _(machine: ExtraTreesClassifier | ExtraTreesRegressor) -> Machine:
    odds = is_classifier(machine)
    parts = []
    for member in machine.estimators_:
        tree = member.tree_
        said = tree.value[:, 0, 1] if odds else tree.value[:, 0, 0]
        parts.append((tree.children_left, tree.children_right, tree.feature, tree.threshold, said))
    return Forest(_joined(parts), odds)


@frozen.register(HistGradientBoostingClassifier)
@frozen.register(HistGradientBoostingRegressor)
def _(machine: HistGradientBoostingClassifier | HistGradientBoostingRegressor) -> Machine:
    parts = []
    for (predictor,) in machine._predictors:
        nodes = predictor.nodes
        onward = [np.where(nodes["is_leaf"], -1, nodes[side].astype(np.int64)) for side in ("left", "right")]
        parts.append((*onward, nodes["feature_idx"], nodes["num_threshold"], nodes["value"]))
    return Boosted(_joined(parts), float(machine._baseline_prediction.ravel()[0]))


def _joined(parts: Sequence[tuple[NDArray[Any], ...]]) -> Trees:
    """Put trees one after the other, of whose nodes leaves go on to -1."""
    roots = np.cumsum([0, *(len(part[0]) for part in parts[:-1])])
    places = [np.arange(len(part[0])) for part in parts]
    left, right = (
        np.concatenate(
            [
                np.where(part[side] < 0, place, part[side]) + root
                for part, place, root in zip(parts, places, roots, strict=True)
            ]
        )
        for side in (0, 1)
    )
    feature, threshold, value = (np.concatenate([part[place] for part in parts]) for place in (2, 3, 4))
    leaf = left == right
    return Trees(
        roots.astype(np.int64),
        left.astype(np.int64),
        right.astype(np.int64),
        np.where(leaf, 0, feature).astype(np.int64),
        np.where(leaf, 0.0, threshold),
        value.astype(np.float64),
    )
