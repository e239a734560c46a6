"""What a kind of target must say, so that nothing else needs to know of kinds."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bagwise.errors import BagwiseError

if TYPE_CHECKING:
    from torch import Tensor

    from bagwise.compiled import Gradient

__all__ = ["Target", "bag_named", "label_names_in", "refuse_others", "surprise", "told_of"]


class Target(ABC):
    """What the labels of bags are, and how they are learnt: to labels what a pooling is to instances.

    One class a kind, and a line in `bagwise.targets.registry.TARGETS`. A target knows its facts (which classes there
    are, how many numbers a label has) from labels; what is learnt of labels (their mean and spread, cut points) belongs
    to a member, is learnt from its training bags alone, and rides in its state like the scaler.

    A model gives H heads of C outputs a bag. Heads learn side by side, so their losses add up and their answers
    average.

    Attributes
    ----------
    kind
        Its name in the registry.
    bernoulli
        Whether outputs are logits of Bernoulli variables, which poolings of probabilities can pool.
    estimator_type
        What scikit-learn takes an estimator of it for: ``"classifier"``, ``"regressor"`` or None.
    metrics
        Names of what measures its answers; the first is what `score` gives.
    outputs : int
        C, the numbers that a model gives for a bag.
    """

    kind: ClassVar[str]
    bernoulli: ClassVar[bool] = False
    estimator_type: ClassVar[str | None] = None
    metrics: ClassVar[tuple[str, ...]]

    # ---- what labels are ----------------------------------------------------------------------------

    @classmethod
    def recognises(cls, labels: NDArray[Any]) -> bool:  # noqa: ARG003
        """Say whether labels are of this kind where nobody said of which; by default they never are."""
        return False

    @classmethod
    @abstractmethod
    def of(cls, labels: ArrayLike, **given: Any) -> Self:
        """Find the facts of labels.

        Parameters
        ----------
        labels
            One a bag, of those that there are to learn from.
        **given
            ``names`` of the bags, for messages, ``label_names``, and what the user says beside: ``positive``,
            ``order``, ``loss``; None is not given.

        Returns
        -------
        Target

        Raises
        ------
        BagwiseError
            If these labels are not of this kind, or cannot be learnt from.
        """

    @classmethod
    def said(cls, text: str) -> dict[str, Any]:
        """Read what a user says after the name of the kind, as in ``"ordinal: low < high"``, as `of` takes it.

        Parameters
        ----------
        text
            What stands after the colon.

        Raises
        ------
        BagwiseError
            If this kind takes nothing there, which is so by default.
        """
        raise BagwiseError(f"target is '{cls.kind}: {text}': the kind {cls.kind!r} takes nothing after its name")

    @property
    @abstractmethod
    def outputs(self) -> int:
        """C."""

    @property
    def names(self) -> NDArray[Any] | None:
        """What `predict` chooses from, in the order of the answers' columns; None where it chooses from nothing."""
        return None

    @property
    def label_names(self) -> tuple[str, ...] | None:
        """What each of several labels, or numbers, of a bag is called; None where there is one, or none has a name."""
        return None

    @property
    def positive(self) -> Any:
        """Of two classes the one that the standard MIL assumption is about; else None."""
        return None

    def told(self) -> dict[str, Any]:
        """Say in what JSON can hold what a user wants to hear of labels beside their kind; by default nothing."""
        return {}

    def knows(self, labels: NDArray[Any]) -> NDArray[np.bool_]:
        """Say which labels are some that can be answered, shape (B,); by default all are."""
        return np.ones(len(labels), bool)

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """Say what it knows in what JSON can hold; `from_facts` takes it."""

    @classmethod
    @abstractmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Self:
        """Make it of what `facts` gave."""

    @abstractmethod
    def encoded(self, labels: NDArray[Any]) -> NDArray[np.float64]:
        """Turn labels into numbers, shape (B, T)."""

    @abstractmethod
    def strata(self, labels: NDArray[Any], folds: int) -> NDArray[np.int64]:
        """Say which bags are alike, shape (B,), so that each of so many folds gets its share of them."""

    # ---- how they are learnt ------------------------------------------------------------------------

    @property
    def learns(self) -> int:
        """S, how many numbers a member learns of labels."""
        return 0

    def learn(self, encoded: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:  # noqa: ARG002
        """Learn from training bags what belongs to a member.

        Parameters
        ----------
        encoded
            Of the training bags, shape (B, T).
        weights
            What each of them weighs, shape (B,).

        Returns
        -------
        array
            Shape (S,); by default there is nothing to learn.
        """
        return np.zeros(0)

    def wanted(self, encoded: NDArray[np.float64], learnt: NDArray[np.float64]) -> NDArray[np.float64]:  # noqa: ARG002
        """Give what the loss compares outputs with, shape (B, W); by default `encoded`."""
        return encoded

    @abstractmethod
    def loss(self, outputs: "Tensor", wanted: "Tensor") -> "Tensor":
        """Compute the loss of each bag, shape (B,), of outputs (H, B, C): the sum over the heads."""

    @property
    def gradient(self) -> "Gradient | None":
        """The gradient of the loss at one head's outputs for the compiled step; None has torch differentiate it."""
        return None

    def errors(self, outputs: "Tensor", wanted: "Tensor", learnt: "Tensor") -> "Tensor":  # noqa: ARG002
        """Measure how wrong the answer to each bag is, shape (B,), to decide when to stop; by default its loss."""
        return self.loss(outputs, wanted)

    # ---- what a model answers -----------------------------------------------------------------------

    @abstractmethod
    def answers(self, outputs: "Tensor", learnt: "Tensor") -> "Tensor":
        """Turn outputs (H, B, C) into answers, shape (B, A), averaged over the heads."""

    @abstractmethod
    def predicted(self, answers: NDArray[Any]) -> NDArray[Any]:
        """Turn answers, shape (..., A), into what labels are."""

    def chosen(self, answers: NDArray[Any], decided: NDArray[Any] | None = None) -> NDArray[np.int64]:  # noqa: ARG002
        """Give the column of answers (B, A) that a prediction is of, shape (B,); by default that of the largest.

        Predictions may be given, where a model ``decided`` in another way.
        """
        largest: NDArray[np.int64] = answers.argmax(axis=1)
        return largest

    @abstractmethod
    def score(self, labels: NDArray[Any], answers: NDArray[Any], weights: NDArray[np.float64] | None = None) -> float:
        """Measure answers in one number, at most 1, as scikit-learn's `score` does: the first of `metrics`."""

    def misfit(self, labels: NDArray[Any], answers: NDArray[Any], weights: NDArray[np.float64] | None = None) -> float:
        """Measure how far answers (B, A) are from labels, to choose between models: what is to be small.

        By default it is 1 less `score`. Where answers are probabilities it is minus the mean logarithm of what the
        truth was given, which tells more of few bags than a share of errors does.
        """
        return 1.0 - self.score(labels, answers, weights)

    def averaged(self, answers: NDArray[Any], weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Average the answers of models, shape (K, B, A), by weights that sum to 1, shape (K,)."""
        mean: NDArray[np.float64] = np.tensordot(weights, answers, axes=1)
        return mean

    def of_instances(self, answers: Any) -> Any:
        """Give of answers about single instances, an array or a tensor of shape (N, A), the scores.

        These are of shape (N,) where one number is enough.
        """
        return answers[:, 0] if answers.shape[1] == 1 else answers

    def by_name(self, columns: NDArray[Any]) -> NDArray[Any]:
        """Bring columns, the last axis, from the order of outputs to that of `names`."""
        return columns

    def scores(self, outputs: "Tensor", learnt: "Tensor") -> "Tensor":
        """Give the scores of instances that were scored before they were pooled, of outputs (N, C)."""
        found: Tensor = self.of_instances(self.answers(outputs[None], learnt))
        return found

    # ---- comparing ----------------------------------------------------------------------------------

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Target) and type(self) is type(other) and self.facts() == other.facts()

    def __hash__(self) -> int:
        return hash((type(self), repr(self.facts())))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.facts().items())})"


def surprise(likely: NDArray[Any], weights: NDArray[np.float64] | None) -> float:
    """Give minus the mean logarithm of what the truth was given, shape (B,); of nothing as of the least there is."""
    least = np.finfo(np.float64).eps
    return float(np.average(-np.log(np.clip(likely, least, 1.0)), weights=weights))


def refuse_others(kind: str, given: Mapping[str, Any], *taken: str) -> None:
    """Refuse what the user says of a target of another kind.

    Parameters
    ----------
    kind
        Of the target.
    given
        As `Target.of` gets it.
    *taken
        What this kind takes.
    """
    for name, value in given.items():
        if value is not None and name not in ("names", "label_names", *taken):
            raise BagwiseError(f"{name} is {value!r}, which a target of kind {kind!r} does not take: leave it out")


def bag_named(position: int, given: Mapping[str, Any]) -> str:
    """Name a bag for a message, of which `Target.of` knows the position, and the name where it was given ``names``."""
    names = given.get("names")
    return f"the bag at position {position}" if names is None else f"bag {names[position]!r}"


def label_names_in(facts: Mapping[str, Any], count: int) -> tuple[str, ...] | None:
    """Find the names of several labels in `Target.facts`; a ValueError says that they are none."""
    names = facts.get("label_names")
    if names is None:
        return None
    if not isinstance(names, list) or len(names) != count or not all(isinstance(name, str) for name in names):
        raise ValueError("its label names are none")
    return tuple(names)


def told_of(labels: NDArray[Any]) -> str:
    """Say in a message what labels are that a target cannot take."""
    if labels.dtype.names is not None:
        return "are events and times"
    return f"are of type {labels.dtype}" + (f" and shape {labels.shape}" if labels.ndim > 1 else "")
