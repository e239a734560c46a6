"""Classes: two or more, of which a bag has one."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bagwise.classes import Classes
from bagwise.errors import BagwiseError
from bagwise.targets.contract import Target, surprise, told_of

if TYPE_CHECKING:
    from torch import Tensor

    from bagwise.compiled import Gradient

__all__ = ["ClassTarget"]


class ClassTarget(Target):
    """One class a bag: the paper's target, Bernoulli for two classes (section 2.1) and categorical for more.

    Labels are strings, booleans or whole numbers. A model gives the logit of the positive class, or one logit a class
    where there are more than two; an answer is the probability of each class, in the order of their names.

    Parameters
    ----------
    classes
        Which there are, and which of two is positive.
    threshold
        How a model decides, which is no fact of labels, and not compared: of two classes, above which probability the
        positive one is predicted; of more, what the probability of each is divided by, in the order of their names,
        before the largest wins. None: the likeliest is predicted.

    Examples
    --------
    >>> target = ClassTarget.of(["normal", "cancer", "normal"])
    >>> target, target.outputs, target.encoded(np.array(["cancer", "normal"])).tolist()
    (ClassTarget(classes=['cancer', 'normal'], positive='cancer'), 1, [[1.0], [0.0]])
    """

    kind: ClassVar[str] = "classes"
    bernoulli: ClassVar[bool] = True
    estimator_type: ClassVar[str | None] = "classifier"
    metrics: ClassVar[tuple[str, ...]] = ("accuracy", "precision", "recall", "fscore", "auc")

    def __init__(self, classes: Classes, threshold: float | Sequence[float] | None = None) -> None:
        self.classes, self.threshold = classes, threshold

    def deciding(self, threshold: float | Sequence[float] | None) -> "ClassTarget":
        """Give the same classes with another threshold."""
        return ClassTarget(self.classes, threshold)

    @classmethod
    def recognises(cls, labels: NDArray[Any]) -> bool:
        """Say whether labels are strings, booleans or whole numbers."""
        return labels.ndim == 1 and labels.dtype.kind in "biuUO"

    @classmethod
    def of(cls, labels: ArrayLike, **given: Any) -> Self:
        """Find the classes; ``positive`` may name one of two, as `bagwise.classes.positive_of` takes it."""
        array = np.asarray(labels)
        if array.ndim != 1 or array.dtype.names is not None:
            raise BagwiseError(f"the labels {told_of(array)}: classes are one label a bag")
        if array.dtype.kind == "f":
            for value in array[array % 1 != 0][:1].tolist():
                raise BagwiseError(f"a bag has the label {value}: classes are whole numbers, booleans or strings")
            array = array.astype(np.int64)
        names = np.unique(array)
        if len(names) == 1:
            raise BagwiseError(f"all training bags have the label {names[0]!s}: there must be two classes or more")
        return cls(Classes.of(names, given.get("positive")))

    @property
    def outputs(self) -> int:
        """One for two classes, else one a class."""
        return 1 if len(self.classes.names) == 2 else len(self.classes.names)

    @property
    def names(self) -> NDArray[Any]:
        """The classes, sorted."""
        return self.classes.names

    def told(self) -> dict[str, Any]:
        """Name the classes."""
        return {"classes": [str(name) for name in self.names]}

    def knows(self, labels: NDArray[Any]) -> NDArray[np.bool_]:
        """Say which labels are of these classes."""
        return np.isin(labels, self.names)

    @property
    def positive(self) -> Any:
        """The class that the standard MIL assumption is about; None where there are more than two."""
        return self.classes.positive

    def facts(self) -> dict[str, Any]:
        """Name the classes, and the positive one."""
        positive = self.classes.positive
        return {
            "classes": self.classes.names.tolist(),
            "positive": positive.item() if isinstance(positive, np.generic) else positive,
        }

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Self:
        """Make it of what `facts` gave."""
        names = np.array(facts["classes"])
        if names.ndim != 1 or len(names) < 2:
            raise ValueError(f"the classes are {facts['classes']}")
        positive = None if len(names) != 2 else names[facts["classes"].index(facts["positive"])]
        return cls(Classes(names, positive))

    def encoded(self, labels: NDArray[Any]) -> NDArray[np.float64]:
        """Give the number of each class in learning, where of two the positive one is 1."""
        return self.classes.codes(labels)[:, None].astype(np.float64)

    def strata(self, labels: NDArray[Any], folds: int) -> NDArray[np.int64]:  # noqa: ARG002
        """Bags of one class are alike."""
        return np.unique(labels, return_inverse=True)[1].astype(np.int64)

    def loss(self, outputs: "Tensor", wanted: "Tensor") -> "Tensor":
        r"""Compute the negative log-likelihood, in nats.

        Of two classes, with $Y$ 1 for the positive one and the output $o$:

        $$-Y \log \theta - (1 - Y) \log(1 - \theta), \qquad \theta = \mathrm{sigm}(o)$$

        Of more, an output $o_c$ each:

        $$-\log \theta_Y, \qquad \theta_c = \frac{\exp o_c}{\sum_d \exp o_d}$$
        """
        from bagwise.targets.likelihood import negative_log_likelihood

        return negative_log_likelihood(outputs, wanted[:, 0])

    @property
    def gradient(self) -> "Gradient":
        """Predicted minus true probabilities."""
        from bagwise.targets import gradients

        return gradients.of_bernoulli if self.outputs == 1 else gradients.of_categories

    def errors(self, outputs: "Tensor", wanted: "Tensor", learnt: "Tensor") -> "Tensor":  # noqa: ARG002
        """Say which bags are predicted wrongly."""
        from bagwise.targets.likelihood import errors

        return errors(outputs, wanted[:, 0])

    def answers(self, outputs: "Tensor", learnt: "Tensor | None" = None) -> "Tensor":  # noqa: ARG002
        """Give the probability of each class, shape (B, number of classes), in the order of the names."""
        from bagwise.targets.likelihood import class_probabilities

        probabilities = class_probabilities(outputs)
        return probabilities.flip(1) if self.classes.column == 0 else probabilities

    def corrected(self, outputs: "Tensor", shares: NDArray[np.float64]) -> "Tensor":
        """Bring outputs to the shares that classes have, of a model that learnt as if all had the same.

        A loss in which a class weighs w is least where probabilities are as w p(class | bag), and balanced weights are
        as 1 / share. So the logarithm of its share is added to the logit of each class (Saerens et al., Adjusting the
        outputs of a classifier to new a priori probabilities, 2002, equation 2.4).

        Parameters
        ----------
        outputs
            Logits, shape (H, B, C).
        shares
            Of the classes, in the order of their names.

        Returns
        -------
        Tensor
            Of the same shape.

        Examples
        --------
        >>> import torch
        >>> target = ClassTarget.of(["normal", "cancer"])
        >>> target.answers(target.corrected(torch.zeros(1, 1, 1), np.array([0.1, 0.9]))).round(decimals=3)
        tensor([[0.1000, 0.9000]])
        """
        import torch

        logarithms = np.log(self.by_name(shares))  # two classes are turned round back as they are forth
        if self.outputs == 1:
            logarithms = logarithms[1:] - logarithms[:1]
        return outputs + torch.tensor(logarithms.tolist(), dtype=outputs.dtype, device=outputs.device)

    def predicted(self, answers: NDArray[Any]) -> NDArray[Any]:
        """Decide by the threshold, else give the likeliest class: of equals the one that is first in learning.

        So a probability that equals the threshold, or one half, is not positive.
        """
        if self.threshold is None:
            return self.classes.predicted(answers)
        if self.classes.column is None:
            return self.classes.predicted(answers / np.asarray(self.threshold))
        above = answers[..., self.classes.column] > self.threshold
        decided: NDArray[Any] = self.classes.in_learning[above.astype(np.int64)]
        return decided

    def chosen(self, answers: NDArray[Any], decided: NDArray[Any] | None = None) -> NDArray[np.int64]:
        """Give the column of the predicted class."""
        return np.searchsorted(self.names, self.predicted(answers) if decided is None else decided)

    def score(self, labels: NDArray[Any], answers: NDArray[Any], weights: NDArray[np.float64] | None = None) -> float:
        """Give the accuracy."""
        from sklearn.metrics import accuracy_score

        return float(accuracy_score(labels, self.predicted(answers), sample_weight=weights))

    def misfit(self, labels: NDArray[Any], answers: NDArray[Any], weights: NDArray[np.float64] | None = None) -> float:
        """Give the log-loss."""
        truth = np.searchsorted(self.names, labels)
        return surprise(answers[np.arange(len(answers)), truth], weights)

    def decisions(self, outputs: "Tensor") -> NDArray[Any]:
        """Give log-odds of the second class (B,), or log-probabilities of each where there are more than two."""
        from bagwise.targets.likelihood import log_class_probabilities

        logarithms = log_class_probabilities(outputs).numpy()
        if self.classes.column is None:
            return logarithms
        one_head = len(outputs) == 1 and outputs.shape[2] == 1
        of_positive: NDArray[Any] = outputs[0, :, 0].numpy() if one_head else logarithms[:, 1] - logarithms[:, 0]
        return of_positive if self.classes.column == 1 else -of_positive

    def by_name(self, columns: NDArray[Any]) -> NDArray[Any]:
        """Bring columns from the order of learning, in which of two classes the positive is last, to the names'."""
        return self.classes.reordered(columns)

    def scores(self, outputs: "Tensor", learnt: "Tensor | None" = None) -> "Tensor":  # noqa: ARG002
        """Give the probability of the positive class, or of each against the rest: p_k of the paper's section 2.2."""
        probabilities = outputs.sigmoid()
        return probabilities[:, 0] if probabilities.shape[1] == 1 else probabilities

    def of_instances(self, answers: Any) -> Any:
        """Give the probability of the positive class, or of each where there are more than two."""
        return answers if self.classes.column is None else answers[:, self.classes.column]
