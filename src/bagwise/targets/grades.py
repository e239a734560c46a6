"""Grades: classes in an order."""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bagwise.errors import BagwiseError
from bagwise.targets.contract import Target, bag_named, refuse_others, surprise
from bagwise.targets.strata import merged

if TYPE_CHECKING:
    from torch import Tensor

    from bagwise.compiled import Gradient

__all__ = ["OrdinalTarget"]


class OrdinalTarget(Target):
    """One of K grades a bag, by cumulative logits: output k is the logit of being above grade k.

    Outputs are learnt as K - 1 Bernoulli variables; what they answer is made monotone, so that no grade has a
    probability below 0 (Frank and Hall, 2001).

    Parameters
    ----------
    grades
        From the lowest to the highest.

    Examples
    --------
    >>> target = OrdinalTarget.of([3, 1, 2, 1])
    >>> target.grades, target.outputs, target.wanted(target.encoded(np.array([2])), np.zeros(0)).tolist()
    ([1, 2, 3], 2, [[1.0, 0.0]])
    >>> OrdinalTarget.of(["high", "low"], order=["low", "mid", "high"]).grades
    ['low', 'mid', 'high']
    """

    kind: ClassVar[str] = "ordinal"
    bernoulli: ClassVar[bool] = True
    estimator_type: ClassVar[str | None] = "classifier"
    metrics: ClassVar[tuple[str, ...]] = ("accuracy", "kappa", "mae")

    def __init__(self, grades: Sequence[Any]) -> None:
        self.grades = list(grades)

    @classmethod
    def of(cls, labels: ArrayLike, **given: Any) -> Self:
        """Find the grades: whole numbers by size, others by the ``order`` that is given, from low to high."""
        refuse_others(cls.kind, given, "order")
        array = np.asarray(labels)
        if array.ndim != 1 or array.dtype.kind not in "biufU":
            raise BagwiseError(f"the labels have shape {array.shape} and type {array.dtype}: grades are one a bag")
        if array.dtype.kind == "f" and (array % 1 == 0).all():
            array = array.astype(np.int64)
        order = given.get("order")
        if order is not None:
            grades = _as_labels(order, array)
            for position in np.flatnonzero(~np.isin(array, grades))[:1]:
                told = f"{bag_named(position, given)} has the grade {array[position]!s}"
                raise BagwiseError(f"{told}, which is not in the order that was given: {' < '.join(map(str, order))}")
            if len(set(order)) < len(order):
                raise BagwiseError(f"the order {' < '.join(map(str, order))} names a grade twice: name each once")
        elif array.dtype.kind in "iu":
            grades = np.unique(array)
        else:
            found = ", ".join(map(str, np.unique(array)[:5]))
            raise BagwiseError(
                f"the grades ({found}) are no whole numbers: say their order, as in target='ordinal: low < mid < high'"
            )
        if len(np.unique(array)) < 2:
            raise BagwiseError(f"all training bags have the grade {array[0]!s}: nothing can be learnt")
        return cls(grades.tolist())

    @classmethod
    def said(cls, text: str) -> dict[str, Any]:
        """Read the order, as ``low < mid < high``."""
        return {"order": [grade.strip() for grade in text.split("<")]}

    @property
    def outputs(self) -> int:
        """One less than there are grades."""
        return len(self.grades) - 1

    @property
    def names(self) -> NDArray[Any]:
        """The grades, from the lowest."""
        return np.array(self.grades)

    def told(self) -> dict[str, Any]:
        """Name the grades."""
        return {"grades": [str(grade) for grade in self.grades]}

    def knows(self, labels: NDArray[Any]) -> NDArray[np.bool_]:
        """Say which labels are of these grades."""
        return np.isin(labels, self.names)

    def facts(self) -> dict[str, Any]:
        """Name the grades."""
        return {"grades": self.grades}

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Self:
        """Make it of what `facts` gave."""
        return cls(facts["grades"])

    def encoded(self, labels: NDArray[Any]) -> NDArray[np.float64]:
        """Give the place of each grade, from 0; of one that is none of these, that of the next lower."""
        names = self.names
        if names.dtype.kind in "iu":
            place = np.searchsorted(names, labels, side="right") - 1
            return place.clip(min=0)[:, None].astype(np.float64)
        places = {grade: float(place) for place, grade in enumerate(self.grades)}
        return np.array([[places[label]] for label in np.asarray(labels).tolist()])

    def strata(self, labels: NDArray[Any], folds: int) -> NDArray[np.int64]:
        """Bags of one grade are alike, where there are enough of them."""
        return merged(self.encoded(labels)[:, 0].astype(np.int64), folds)

    def wanted(self, encoded: NDArray[np.float64], learnt: NDArray[np.float64]) -> NDArray[np.float64]:  # noqa: ARG002
        """Say of each grade but the highest whether the bag is above it."""
        return (encoded > np.arange(self.outputs)).astype(np.float64)

    def loss(self, outputs: "Tensor", wanted: "Tensor") -> "Tensor":
        r"""Compute the negative log-likelihood of being above each grade, in nats.

        With $y_k$ 1 if the bag is above grade $k$, else 0:

        $$-\sum_{k=1}^{K-1} \left(y_k \log \theta_k + (1 - y_k) \log(1 - \theta_k)\right), \qquad
        \theta_k = \mathrm{sigm}(o_k)$$
        """
        from torch.nn.functional import binary_cross_entropy_with_logits

        return binary_cross_entropy_with_logits(outputs, wanted.expand_as(outputs), reduction="none").sum((0, 2))

    @property
    def gradient(self) -> "Gradient":
        """Predicted minus true probabilities."""
        from bagwise.targets import gradients

        return gradients.of_bernoulli

    def errors(self, outputs: "Tensor", wanted: "Tensor", learnt: "Tensor") -> "Tensor":
        """Say by how many grades the likeliest is off."""
        return (self.answers(outputs, learnt).argmax(1) - wanted.sum(1)).abs()

    def answers(self, outputs: "Tensor", learnt: "Tensor | None" = None) -> "Tensor":  # noqa: ARG002
        """Give the probability of each grade, shape (B, K)."""
        import torch

        above = torch.stack([*accumulate(outputs.sigmoid().mean(0).unbind(1), torch.minimum)], dim=1)
        one = torch.ones_like(above[:, :1])
        return -above.diff(dim=1, prepend=one, append=one - 1)

    def predicted(self, answers: NDArray[Any]) -> NDArray[Any]:
        """Give the likeliest grade; of equals the lowest."""
        likeliest: NDArray[Any] = self.names[answers.argmax(axis=-1)]
        return likeliest

    def score(self, labels: NDArray[Any], answers: NDArray[Any], weights: NDArray[np.float64] | None = None) -> float:
        """Give the accuracy."""
        from sklearn.metrics import accuracy_score

        return float(accuracy_score(labels, self.predicted(answers), sample_weight=weights))

    def misfit(self, labels: NDArray[Any], answers: NDArray[Any], weights: NDArray[np.float64] | None = None) -> float:
        """Give the log-loss."""
        return surprise(answers[np.arange(len(answers)), self.encoded(labels)[:, 0].astype(np.int64)], weights)

    def of_instances(self, answers: Any) -> Any:
        """Give the expected place among the grades, from 0, shape (N,)."""
        return sum(place * answers[:, place] for place in range(len(self.grades)))


def _as_labels(order: Sequence[Any], labels: NDArray[Any]) -> NDArray[Any]:
    """Give grades that were named as text in the type of the labels."""
    if labels.dtype.kind == "U":
        return np.array([str(grade).strip() for grade in order])
    try:
        return np.array([int(grade) for grade in order])
    except ValueError as error:
        told = " < ".join(map(str, order))
        raise BagwiseError(f"the order is {told} and the labels are whole numbers: give whole numbers") from error
