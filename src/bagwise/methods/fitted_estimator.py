"""A neural method that has learnt, asked as scikit-learn asks."""

from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.metaestimators import available_if

from bagwise.bags import BagsLike, as_bags
from bagwise.errors import BagwiseError
from bagwise.methods.base import BagEstimator
from bagwise.methods.fitted import (
    Fitted,
    bag_answers,
    bag_logits,
    instance_answers,
    instance_contributions,
    instance_weights,
    predict_members,
)
from bagwise.models.architecture import LEVELS
from bagwise.targets.classes import ClassTarget
from bagwise.targets.survival import SurvivalTarget, valid_times
from bagwise.training.inference import Prediction

__all__ = ["FittedEstimator"]


class FittedEstimator(BagEstimator, Fitted):
    """What a neural method says of bags and of instances; use `bagwise.NeuralMIL`, which learns it."""

    level: ClassVar[str]

    def answers(self, X: BagsLike) -> NDArray[Any]:
        """Give all that the model says of each bag, as `BagEstimator.answers` does."""
        return bag_answers(self, self._predict(X))

    def _survival(self, X: BagsLike, times: ArrayLike | None) -> NDArray[Any]:
        outputs, target = self._predict(X).logits, self.target_
        assert isinstance(target, SurvivalTarget)
        asked = target.times if times is None else valid_times(times)
        return target.at(asked, outputs, self.model_.learnt.cpu()).numpy()[:, 1:]

    def decision_function(self, X: BagsLike) -> NDArray[Any]:
        """Give log-odds of the second of `classes_`, or log-probabilities where there are more than two.

        Parameters
        ----------
        X
            `Bags`, or a list with one array a bag.

        Returns
        -------
        array
            Shape (B,) for two classes, else (B, number of classes).
        """
        outputs = bag_logits(self, self._predict(X).logits)
        assert isinstance(self.target_, ClassTarget)
        return self.target_.decisions(outputs)

    def instance_scores(self, X: BagsLike) -> NDArray[Any]:
        """Give the probability that each instance, were it alone, would give its bag.

        At the instance level this is the instance's own p_k of the paper's section 2.2; at the embedding level it is
        the model's answer to a bag that holds just this instance.

        Parameters
        ----------
        X
            `Bags`, or a list with one array a bag.

        Returns
        -------
        array
            Packed like `Bags.instances`: shape (N,), the probability of `positive_`; with more than two classes shape
            (N, number of classes), each class against the rest at the instance level.
        """
        bags = as_bags(X)
        (said,) = predict_members([self], bags, [np.arange(len(bags))], alone=True)
        return instance_answers(self, said)

    def _may_weigh(self) -> bool:
        """Whether instances may have weights: of what is a user's own nobody knows before it was asked."""
        return self.level == "own" or callable(getattr(self, "pooling", None))

    @available_if(lambda self: self._may_weigh())  # type: ignore[untyped-decorator]
    def attention(self, X: BagsLike) -> NDArray[Any]:
        """Give the weight of each instance in its bag (paper, equations 8 and 9), where the method has weights.

        Weights rank the instances of one bag by their part in the decision. They are no probabilities that an instance
        is positive, and in negative bags they mean little.

        Parameters
        ----------
        X
            `Bags`, or a list with one array a bag.

        Returns
        -------
        array
            Packed like `Bags.instances`: shape (N,), positive, with sum 1 over each bag, or where they count
            (`AttentionMIL`) each between 0 and 1, or as its class says, which may give (N, K) with a column a head or
            class, classes as in `classes_`. What a model or a pooling of your own gives, as it gives it.

        Raises
        ------
        BagwiseError
            If a model or pooling of your own gives none.
        """
        weights = instance_weights(self, self._predict(X))
        if weights is None:
            raise BagwiseError("the model gives no weights of instances: ask for instance_scores")
        return weights

    def _may_contribute(self) -> bool:
        """Whether instances may contribute to a sum: of what is a user's own nobody knows before it was asked."""
        return self.level == "own" or LEVELS[self.level].ADDS_UP

    @available_if(lambda self: self._may_contribute())  # type: ignore[untyped-decorator]
    def contributions(self, X: BagsLike) -> NDArray[Any]:
        """Give what each instance adds to what the model says of its bag, where that is a sum over instances.

        What is positive speaks for a class, and what is negative against it.

        Parameters
        ----------
        X
            `Bags`, or a list with one array a bag.

        Returns
        -------
        array
            Packed like `Bags.instances`: of two classes shape (N,), what is added to the log-odds of `positive_`; else
            (N, C), what is added to each output, those of classes as in `classes_`. Their sum over a bag is what the
            model says before `class_shares_` correct it.

        Raises
        ------
        BagwiseError
            If a model of your own gives none.
        """
        found = instance_contributions(self, self._predict(X))
        if found is None:
            raise BagwiseError("the model gives no contributions of instances: ask for instance_scores or attention")
        return found

    def _predict(self, X: BagsLike) -> Prediction:
        bags = as_bags(X)
        return predict_members([self], bags, [np.arange(len(bags))])[0]
