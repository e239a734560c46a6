"""Several labels a bag, each of which it has or has not."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bagwise.errors import BagwiseError
from bagwise.targets.contract import Target, bag_named, label_names_in, refuse_others, surprise
from bagwise.targets.strata import merged

if TYPE_CHECKING:
    from torch import Tensor

    from bagwise.compiled import Gradient

__all__ = ["MultiLabelTarget"]


class MultiLabelTarget(Target):
    """Several labels a bag, each a Bernoulli variable of its own: 1 where the bag has it, 0 where not, NaN unknown.

    What is not known counts nothing, neither in learning nor in measuring.

    Parameters
    ----------
    labels
        How many there are.
    label_names
        What they are called; None numbers them, from 0.

    Examples
    --------
    >>> target = MultiLabelTarget.of([[1, 0], [0, np.nan], [1, 1]])
    >>> target.outputs, target.predicted(np.array([[0.9, 0.4]])).tolist()
    (2, [[1, 0]])
    """

    kind: ClassVar[str] = "multi-label"
    bernoulli: ClassVar[bool] = True
    estimator_type: ClassVar[str | None] = "classifier"
    metrics: ClassVar[tuple[str, ...]] = ("accuracy", "auc", "average_precision", "fscore")

    def __init__(self, labels: int, label_names: tuple[str, ...] | None = None) -> None:
        self.labels, self._label_names = labels, label_names

    @classmethod
    def recognises(cls, labels: NDArray[Any]) -> bool:
        """Say whether labels are a table of 0 and 1, or not known."""
        return labels.ndim == 2 and labels.dtype.kind in "biuf" and bool(_are_known_or_not(labels).all())

    @classmethod
    def of(cls, labels: ArrayLike, **given: Any) -> Self:
        """See how many labels there are."""
        refuse_others(cls.kind, given)
        array = np.asarray(labels)
        if array.ndim != 2 or array.dtype.kind not in "biuf":
            raise BagwiseError(
                f"the labels have shape {array.shape} and type {array.dtype}: several labels a bag are a table of 0 and"
                " 1, a row a bag and a column a label, so name two columns or more"
            )
        for position, column in np.argwhere(~_are_known_or_not(array))[:1]:
            called = (given.get("label_names") or range(array.shape[1]))[column]
            told = f"{bag_named(position, given)} has {array[position, column]:g} for the label {called!r}"
            raise BagwiseError(f"{told}: each must be 0 or 1, or nothing (NaN) where it is not known")
        if not ((array == 0).any(axis=0) & (array == 1).any(axis=0)).any():
            raise BagwiseError("no label is 0 in one training bag and 1 in another: nothing can be learnt")
        return cls(array.shape[1], given.get("label_names"))

    @property
    def outputs(self) -> int:
        """One a label."""
        return self.labels

    @property
    def names(self) -> NDArray[Any]:
        """The names of the labels, or their numbers, from 0."""
        return np.arange(self.labels) if self.label_names is None else np.array(self.label_names)

    @property
    def label_names(self) -> tuple[str, ...] | None:
        """What the labels are called."""
        return self._label_names

    def told(self) -> dict[str, Any]:
        """Name the labels."""
        return {"labels": [str(name) for name in self.names]}

    def facts(self) -> dict[str, Any]:
        """Say how many labels there are, and their names."""
        return {"labels": self.labels} | ({} if self.label_names is None else {"label_names": list(self.label_names)})

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Self:
        """Make it of what `facts` gave."""
        count = int(facts["labels"])
        return cls(count, label_names_in(facts, count))

    def encoded(self, labels: NDArray[Any]) -> NDArray[np.float64]:
        """Give them as they are."""
        return np.asarray(labels, dtype=np.float64)

    def strata(self, labels: NDArray[Any], folds: int) -> NDArray[np.int64]:
        """Bags with the same labels are alike, where there are enough of them."""
        table = self.encoded(labels)
        return merged(np.unique(np.where(table == table, table, 2), axis=0, return_inverse=True)[1].ravel(), folds)

    def loss(self, outputs: "Tensor", wanted: "Tensor") -> "Tensor":
        r"""Compute the negative log-likelihood of what is known, in nats.

        $$-\sum_{c\ \text{known}} \left(y_c \log \theta_c + (1 - y_c) \log(1 - \theta_c)\right), \qquad
        \theta_c = \mathrm{sigm}(o_c)$$
        """
        from torch.nn.functional import binary_cross_entropy_with_logits

        known = wanted == wanted
        told = wanted.where(known, outputs.new_zeros(())).expand_as(outputs)
        return (binary_cross_entropy_with_logits(outputs, told, reduction="none") * known).sum((0, 2))

    @property
    def gradient(self) -> "Gradient":
        """Predicted minus true probabilities."""
        from bagwise.targets import gradients

        return gradients.of_bernoulli

    def errors(self, outputs: "Tensor", wanted: "Tensor", learnt: "Tensor") -> "Tensor":
        """Count the labels that are predicted wrongly."""
        return ((self.answers(outputs, learnt) > 0.5) != (wanted > 0.5)).logical_and(wanted == wanted).sum(1)

    def answers(self, outputs: "Tensor", learnt: "Tensor | None" = None) -> "Tensor":  # noqa: ARG002
        """Give the probability of each label, shape (B, labels)."""
        return outputs.sigmoid().mean(0)

    def predicted(self, answers: NDArray[Any]) -> NDArray[Any]:
        """Give 1 where a label is likelier than not, else 0."""
        return (answers > 0.5).astype(np.int64)

    def score(self, labels: NDArray[Any], answers: NDArray[Any], weights: NDArray[np.float64] | None = None) -> float:
        """Give the share of bags of which all that is known is predicted rightly."""
        told = self.encoded(labels)
        right = ((self.predicted(answers) == told) | (told != told)).all(axis=1)
        return float(np.average(right, weights=weights))

    def misfit(self, labels: NDArray[Any], answers: NDArray[Any], weights: NDArray[np.float64] | None = None) -> float:
        """Give the log-loss, the mean over what is known."""
        told = self.encoded(labels)
        rows, columns = np.nonzero(told == told)
        likely = np.where(told == 1, answers, 1 - answers)[rows, columns]
        return surprise(likely, None if weights is None else weights[rows])


def _are_known_or_not(table: NDArray[Any]) -> NDArray[np.bool_]:
    fitting: NDArray[np.bool_] = (table == 0) | (table == 1) | (table != table)
    return fitting
