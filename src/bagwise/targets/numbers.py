"""Numbers: real ones, and counts."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bagwise.errors import BagwiseError
from bagwise.targets.contract import Target, bag_named, label_names_in, refuse_others, told_of
from bagwise.targets.strata import binned

if TYPE_CHECKING:
    from torch import Tensor

    from bagwise.compiled import Gradient

__all__ = ["CountTarget", "RealTarget"]


class RealTarget(Target):
    """One real number a bag, or several.

    A member learns the mean and spread of its training labels, and its outputs are labels on that scale; the loss is
    half the squared distance there, or Huber's (1964), which beyond a distance of 1 grows evenly.

    Parameters
    ----------
    numbers
        How many a bag has.
    flat
        Whether labels have shape (B,).
    huber
        Take Huber's loss.
    label_names
        What several numbers are called; None numbers them, from 0.

    Examples
    --------
    >>> target = RealTarget.of([1.5, 2.5, 5.0])
    >>> learnt = target.learn(target.encoded(np.array([1.0, 3.0])), np.ones(2))
    >>> learnt.tolist(), target.wanted(np.array([[4.0]]), learnt).tolist()
    ([2.0, 1.0], [[2.0]])
    """

    kind: ClassVar[str] = "real"
    estimator_type: ClassVar[str | None] = "regressor"
    metrics: ClassVar[tuple[str, ...]] = ("r2", "mae", "rmse")

    def __init__(
        self, numbers: int, flat: bool, huber: bool = False, label_names: tuple[str, ...] | None = None
    ) -> None:
        self.numbers, self.flat, self.huber, self._label_names = numbers, flat, huber, label_names

    @classmethod
    def recognises(cls, labels: NDArray[Any]) -> bool:
        """Say whether labels are real numbers."""
        return labels.dtype.kind == "f"

    @classmethod
    def of(cls, labels: ArrayLike, **given: Any) -> Self:
        """See how many numbers a label has; ``loss`` may be ``"squared"`` or ``"huber"``."""
        refuse_others(cls.kind, given, "loss")
        array = np.asarray(labels)
        if array.dtype.kind not in "biuf" or array.ndim not in (1, 2):
            raise BagwiseError(f"the labels {told_of(array)}: a real target needs numbers")
        numbers = array.reshape(len(array), -1).astype(np.float64)
        for position in np.flatnonzero(~np.isfinite(numbers).all(axis=1))[:1]:
            raise BagwiseError(f"{bag_named(position, given)} has the label {array[position]}: give it a number")
        for column in np.flatnonzero(np.ptp(numbers, axis=0) == 0)[:1]:
            called = range(array.shape[-1]) if given.get("label_names") is None else given["label_names"]
            where = "" if array.ndim == 1 else f" in column {called[column]}"
            raise BagwiseError(f"all training bags have the label {numbers[0, column]:g}{where}: nothing can be learnt")
        loss = given.get("loss") or "squared"
        if loss not in ("squared", "huber"):
            raise BagwiseError(
                f"the loss of real numbers is {loss!r}: it must be 'squared' or 'huber', as in target='real: huber'"
            )
        return cls(numbers.shape[1], array.ndim == 1, loss == "huber", given.get("label_names"))

    @classmethod
    def said(cls, text: str) -> dict[str, Any]:
        """Read the loss, ``squared`` or ``huber``."""
        return {"loss": text}

    @property
    def outputs(self) -> int:
        """One a number."""
        return self.numbers

    def facts(self) -> dict[str, Any]:
        """Say how many numbers there are, in what shape, which loss, and their names."""
        facts = {"numbers": self.numbers, "flat": self.flat, "huber": self.huber}
        return facts | ({} if self.label_names is None else {"label_names": list(self.label_names)})

    @property
    def label_names(self) -> tuple[str, ...] | None:
        """What several numbers are called."""
        return self._label_names

    def told(self) -> dict[str, Any]:
        """Name several numbers."""
        return {} if self.flat else {"numbers": [str(name) for name in self.label_names or range(self.numbers)]}

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Self:
        """Make it of what `facts` gave."""
        count = int(facts["numbers"])
        return cls(count, bool(facts["flat"]), bool(facts["huber"]), label_names_in(facts, count))

    def encoded(self, labels: NDArray[Any]) -> NDArray[np.float64]:
        """Give a column a number."""
        return np.asarray(labels, dtype=np.float64).reshape(len(labels), -1)

    def strata(self, labels: NDArray[Any], folds: int) -> NDArray[np.int64]:
        """Bags of about the same first number are alike."""
        return binned(self.encoded(labels)[:, 0], folds)

    @property
    def learns(self) -> int:
        """Two a number."""
        return 2 * self.numbers

    def learn(self, encoded: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Learn the mean of each number, and then the spread of each; a spread of nothing is taken for 1."""
        mean = np.average(encoded, axis=0, weights=weights)
        spread = np.sqrt(np.average((encoded - mean) ** 2, axis=0, weights=weights))
        return np.concatenate([mean, np.where(spread > 0, spread, 1.0)])

    def wanted(self, encoded: NDArray[np.float64], learnt: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give the labels in spreads from the mean."""
        mean, spread = np.split(learnt, 2)
        return (encoded - mean) / spread

    def loss(self, outputs: "Tensor", wanted: "Tensor") -> "Tensor":
        r"""Compute half the squared distance, or Huber's, summed over the numbers.

        With the label $y$, and the mean $\mu$ and the spread $s$ of the training labels:

        $$\frac{1}{2} d^2, \qquad d = o - \frac{y - \mu}{s}$$

        Huber's is $|d| - \frac{1}{2}$ where $|d| > 1$.
        """
        from torch.nn.functional import huber_loss, mse_loss

        every_head = wanted.expand_as(outputs)
        if self.huber:
            return huber_loss(outputs, every_head, reduction="none").sum((0, 2))
        return mse_loss(outputs, every_head, reduction="none").sum((0, 2)) / 2

    @property
    def gradient(self) -> "Gradient":
        """The distance, of Huber's loss at most 1."""
        from bagwise.targets import gradients

        return gradients.of_huber if self.huber else gradients.of_squares

    def errors(self, outputs: "Tensor", wanted: "Tensor", learnt: "Tensor") -> "Tensor":  # noqa: ARG002
        """Give the distance of the heads' mean, in spreads."""
        return (outputs.mean(0) - wanted).abs().sum(1)

    def answers(self, outputs: "Tensor", learnt: "Tensor") -> "Tensor":
        """Give the numbers, shape (B, numbers)."""
        mean, spread = learnt.to(outputs.device).double().chunk(2)
        return outputs.double().mean(0) * spread + mean

    def predicted(self, answers: NDArray[Any]) -> NDArray[Any]:
        """Give the numbers in the shape of the labels."""
        return answers[..., 0] if self.flat else answers

    def score(self, labels: NDArray[Any], answers: NDArray[Any], weights: NDArray[np.float64] | None = None) -> float:
        """Give R squared, of several numbers the mean."""
        from sklearn.metrics import r2_score

        return float(r2_score(labels, self.predicted(answers), sample_weight=weights))


class CountTarget(Target):
    """A whole number a bag, 0 or more: Poisson, and the output is the logarithm of its mean.

    A member learns the mean of its training labels; outputs are relative to it, and so is the loss.

    Examples
    --------
    >>> target = CountTarget.of([0, 3, 1])
    >>> target.outputs, target.learn(target.encoded(np.array([0, 4])), np.ones(2)).tolist()
    (1, [2.0])
    """

    kind: ClassVar[str] = "count"
    estimator_type: ClassVar[str | None] = "regressor"
    metrics: ClassVar[tuple[str, ...]] = ("r2", "mae", "rmse")

    @classmethod
    def of(cls, labels: ArrayLike, **given: Any) -> Self:
        """See that labels are counts."""
        refuse_others(cls.kind, given)
        array = np.asarray(labels)
        if array.dtype.kind not in "biuf" or array.ndim != 1:
            raise BagwiseError(f"the labels {told_of(array)}: counts are whole numbers, one a bag")
        numbers = array.astype(np.float64)
        for position in np.flatnonzero(~((numbers >= 0) & (numbers % 1 == 0)))[:1]:
            told = f"{bag_named(position, given)} has the label {array[position]}"
            raise BagwiseError(f"{told}: a count is a whole number, 0 or more")
        if (numbers == numbers[0]).all():
            raise BagwiseError(f"all training bags have the label {numbers[0]:g}: nothing can be learnt")
        return cls()

    @property
    def outputs(self) -> int:
        """One."""
        return 1

    def facts(self) -> dict[str, Any]:
        """There are none."""
        return {}

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Self:  # noqa: ARG003
        """Make it."""
        return cls()

    def encoded(self, labels: NDArray[Any]) -> NDArray[np.float64]:
        """Give them as a column."""
        return np.asarray(labels, dtype=np.float64)[:, None]

    def strata(self, labels: NDArray[Any], folds: int) -> NDArray[np.int64]:
        """Bags of about the same count are alike."""
        return binned(np.asarray(labels, dtype=np.float64), folds)

    @property
    def learns(self) -> int:
        """One."""
        return 1

    def learn(self, encoded: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Learn the mean; a mean of 0 is taken for 1."""
        mean = np.average(encoded, axis=0, weights=weights)
        return np.where(mean > 0, mean, 1.0)

    def wanted(self, encoded: NDArray[np.float64], learnt: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give the counts in means."""
        return encoded / learnt

    def loss(self, outputs: "Tensor", wanted: "Tensor") -> "Tensor":
        r"""Compute the Poisson's negative log-likelihood over the mean, but for what the outputs do not change.

        With the label $y$, and the mean $\mu$ of the training labels, where $\mu e^o$ is the expected count:

        $$e^o - \frac{y}{\mu}\, o$$
        """
        return (outputs.exp() - wanted * outputs).sum((0, 2))

    @property
    def gradient(self) -> "Gradient":
        """Predicted minus true counts, in means."""
        from bagwise.targets import gradients

        return gradients.of_counts

    def answers(self, outputs: "Tensor", learnt: "Tensor") -> "Tensor":
        """Give the expected count, shape (B, 1)."""
        return outputs.double().exp().mean(0) * learnt.to(outputs.device).double()

    def predicted(self, answers: NDArray[Any]) -> NDArray[Any]:
        """Give the expected count, which is no whole number."""
        expected: NDArray[Any] = answers[..., 0]
        return expected

    def score(self, labels: NDArray[Any], answers: NDArray[Any], weights: NDArray[np.float64] | None = None) -> float:
        """Give R squared."""
        from sklearn.metrics import r2_score

        return float(r2_score(labels, self.predicted(answers), sample_weight=weights))

    def misfit(self, labels: NDArray[Any], answers: NDArray[Any], weights: NDArray[np.float64] | None = None) -> float:
        """Give Poisson's deviance, but for what does not depend on the answers."""
        told, expected = self.encoded(labels)[:, 0], np.maximum(answers[:, 0], np.finfo(np.float64).tiny)
        return float(np.average(expected - told * np.log(expected), weights=weights))
