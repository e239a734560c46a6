"""Classes and numbers learnt of whole bags: what set kernels and bag vectors share."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from bagwise.methods.classical.base import ClassicalMIL, Learner
from bagwise.methods.classical.machines import Machine, decided, frozen
from bagwise.methods.classical.packed import Packed
from bagwise.parameters import Positive
from bagwise.targets.classes import ClassTarget
from bagwise.targets.numbers import RealTarget

__all__ = ["View", "Views", "WholeBagMIL", "WholeBags"]


class View(ABC):
    """How whole bags look, by what the instances of training bags taught; it can be kept."""

    @abstractmethod
    def of(self, bags: Packed) -> NDArray[np.float64]:
        """Give a row a bag, shape (B, V)."""

    @abstractmethod
    def check(self, width: int) -> int:
        """Give V, as `Learner.check` gives the number of columns."""


class Views(ABC):
    """How whole bags look at each of several points of a grid, by what the instances of training bags taught.

    Attributes
    ----------
    training
        How the training bags look, an array a point: vectors, or a kernel.
    """

    training: list[NDArray[np.float64]]

    @abstractmethod
    def of(self, bags: Packed) -> list[NDArray[np.float64]]:
        """Say how other bags look, an array a point: vectors, or a kernel between them and the training bags."""

    @abstractmethod
    def learner(self, machines: Sequence[Machine]) -> "WholeBags":
        """Put together what answers for bags, of the only point and of the machines that learnt from it."""


@dataclass(frozen=True, eq=False)
class WholeBags(Learner):
    """A machine a column of the question, and how bags look to all of them."""

    view: View
    machines: tuple[Machine, ...]

    def decide(self, bags: Packed) -> NDArray[np.float64]:
        """Give a decision a machine, shape (B, L)."""
        return decided(self.machines, self.view.of(bags))

    def check(self, width: int) -> int:
        """One column a machine, where all take what bags look like."""
        seen = self.view.check(width)
        for machine in self.machines:
            machine.check(seen)
        return len(self.machines)


@dataclass(kw_only=True, eq=False, repr=False)
class WholeBagMIL(ClassicalMIL):
    """What methods share that look at whole bags; use one of the classes that build on it.

    Support vector machines tell each class from the others, and each number is learnt by a regression of its own, in
    spreads of the training labels.

    Parameters
    ----------
    C
        The price of an error; None chooses.
    target, positive, threshold, standardize, random_state
        As in `ClassicalMIL`.
    """

    KINDS: ClassVar[tuple[str, ...]] = (ClassTarget.kind, RealTarget.kind)

    C: Positive | None = None

    @abstractmethod
    def _views(self, bags: Packed, points: Sequence[Mapping[str, Any]], seed: int) -> Views:
        """Learn from the instances of training bags how bags look at each point of the grid."""

    @abstractmethod
    def _machine(self, seen: NDArray[np.float64], C: float, *, of_numbers: bool) -> BaseEstimator:
        """Make what is fitted to how the training bags look."""

    def _fitted(
        self, seen: NDArray[np.float64], columns: NDArray[Any], weights: NDArray[np.float64], C: float
    ) -> list[Machine]:
        of_numbers = columns.dtype != bool
        return [
            frozen(self._machine(seen, C, of_numbers=of_numbers).fit(seen, column, weights)) for column in columns.T
        ]

    def _learn_all(
        self, bags: Packed, columns: NDArray[Any], parameters: Mapping[str, Any], seed: int
    ) -> list[Learner]:
        views = self._views(bags, [parameters], seed)
        return [views.learner(self._fitted(views.training[0], columns, bags.weights, parameters["C"]))]

    def _decided(
        self, train: Packed, columns: NDArray[Any], test: Packed, points: Sequence[Mapping[str, Any]], seed: int
    ) -> list[NDArray[np.float64]]:
        views = self._views(train, points, seed)
        seen = zip(points, views.training, views.of(test), strict=True)
        return [decided(self._fitted(one, columns, train.weights, point["C"]), other) for point, one, other in seen]
