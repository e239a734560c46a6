"""Neural methods that have learnt, asked together: all that predicting needs, and nothing that trains."""

from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from bagwise.bags import Bags
from bagwise.errors import BagwiseError
from bagwise.methods.asked import Asked, Said
from bagwise.models.model import MILModel
from bagwise.parameters import annotations_of, rule_of
from bagwise.targets.classes import ClassTarget
from bagwise.targets.contract import Target
from bagwise.training.data import PackedTensors
from bagwise.training.device import resolve_device
from bagwise.training.inference import Prediction, predict
from bagwise.training.members import PRECISIONS, Plan, Settings

__all__ = [
    "Fitted",
    "bag_answers",
    "bag_logits",
    "instance_answers",
    "instance_contributions",
    "instance_weights",
    "predict_members",
]


class Fitted(Asked):
    """A neural method that has learnt: an estimator, which builds on this, or what a file holds of one.

    Attributes
    ----------
    device, precision
        Where and in what it computes.
    plan_, settings_, history_, best_epoch_, model_
        As in `bagwise.NeuralMIL`.
    target_
        What the labels are.
    instance_shape_
        Shape of an instance learnt from.
    class_shares_
        Of the classes, in the order of their names, among what was learnt from with balanced weights; else None.
    """

    device: str
    precision: str
    plan_: Plan
    settings_: Settings
    history_: list[dict[str, float]]
    best_epoch_: int
    model_: MILModel
    target_: Target
    instance_shape_: tuple[int, ...]
    class_shares_: NDArray[np.float64] | None

    @property
    def _wants_coordinates(self) -> bool:
        near = self.model_.wants_neighbours
        return bool(self.model_.wants_coordinates or (near and near.space == "coordinates"))

    def _compute(self, device: str, dtype: str | None) -> None:
        self.device = device
        if dtype is not None:
            rule_of(annotations_of(Plan)["precision"]).check("--dtype", dtype)
            self.precision = dtype
            self.model_.cast(PRECISIONS[dtype])

    @classmethod
    def _say(cls, members: Sequence[Self], bags: Bags, *, instances: bool) -> list[Said]:
        said = predict_members(members, bags, [np.arange(len(bags))] * len(members), alone=instances)
        return [
            Said(
                bag_answers(model, one),
                instance_weights(model, one),
                instance_answers(model, one) if instances else None,
                model.model_.weight_axis,
                contributions=instance_contributions(model, one),
            )
            for model, one in zip(members, said, strict=True)
        ]

    def _like_learnt(self, bags: Bags) -> Bags:
        """Give bags with their features in the order learnt from; refuse those with others."""
        raise NotImplementedError


def predict_members(
    estimators: Sequence[Fitted], bags: Bags, subsets: Sequence[NDArray[np.int64]], *, alone: bool = False
) -> list[Prediction]:
    """Predict with fitted estimators, each its own choice of the bags, in one pass over the bags.

    Each says what ``estimator.predict_proba(bags[subset])`` says: on a CPU to the last bit; on other devices those that
    are asked about a bag compute side by side.

    Parameters
    ----------
    estimators
        Neural methods that train and predict alike but for `Settings`, as `bagwise.methods.joint.fit_members` gives
        them.
    bags
        The bags.
    subsets
        For each estimator the positions of the bags to predict.
    alone
        Ask for what `instance_answers` takes, too.

    Returns
    -------
    list of Prediction
        Logits and, where there are some, weights and scores of instances.

    Raises
    ------
    BagwiseError
        If the bags are not like those learnt from.

    Examples
    --------
    >>> import bagwise as bw
    >>> from bagwise.methods.joint import fit_members
    >>> bags = bw.Bags.from_arrays([[[0.0]], [[1.0]], [[0.1]], [[0.9]]], labels=[0, 1, 0, 1])
    >>> models = fit_members([bw.AttentionMIL(epochs=1), bw.AttentionMIL(epochs=1)], bags, [np.arange(2), np.arange(4)])
    >>> [prediction.weights.tolist() for prediction in predict_members(models, bags, [np.arange(2, 4), np.arange(1)])]
    [[1.0, 1.0], [1.0]]
    """
    first = estimators[0]
    bags = first._like_learnt(bags)
    for estimator in estimators[1:]:
        if estimator._like_learnt(bags) is not bags:
            raise BagwiseError("the models learnt from the same features in different orders: ask them one by one")
    device = resolve_device(first.device, first.precision)
    ask: Callable[..., list[Prediction]] = predict
    if device.type != "cpu" and first.plan_.encoded is None:  # else each makes something else of an instance
        from bagwise.training.joint_inference import predict_together  # which a CPU never waits for

        ask = predict_together
    return ask(
        [estimator.model_.to(device) for estimator in estimators],
        PackedTensors(bags),
        subsets,
        device=device,
        chunk=first.plan_.chunk,
        precision=first.precision,
        alone=alone,
    )


def bag_logits(model: Fitted, logits: Tensor) -> Tensor:
    """Give what a model says of bags, where it learnt with balanced weights for classes as frequent as they are.

    Instances, asked alone, are not corrected: the shares are those of bags.

    Parameters
    ----------
    model
        A fitted estimator.
    logits
        Of it, shape (H, B, C), from `predict_members`.

    Returns
    -------
    Tensor
        Of the same shape.

    Examples
    --------
    >>> import torch
    >>> import bagwise as bw
    >>> bags = bw.Bags.from_arrays([[[0.0]], [[1.0]], [[0.0]], [[0.0]]], labels=[0, 1, 0, 0])
    >>> model = bw.AttentionMIL(epochs=1, class_weight="balanced").fit(bags)
    >>> bag_logits(model, torch.zeros(1, 1, 1)).exp().round(decimals=3)
    tensor([[[0.3330]]])
    """
    if model.class_shares_ is None:
        return logits
    assert isinstance(model.target_, ClassTarget)
    return model.target_.corrected(logits, model.class_shares_)


def bag_answers(model: Fitted, said: Prediction) -> NDArray[Any]:
    """Turn what a model says of bags into answers, as its target has them; for classes these are probabilities.

    Parameters
    ----------
    model
        A fitted estimator.
    said
        Of it, from `predict_members`.

    Returns
    -------
    array
        Shape (B, A); for classes (B, number of classes), columns as in `classes_`.

    Examples
    --------
    >>> import torch
    >>> import bagwise as bw
    >>> bags = bw.Bags.from_arrays([[[0.0]], [[1.0]]], labels=["normal", "cancer"])
    >>> model = bw.AttentionMIL(epochs=1).fit(bags)
    >>> bag_answers(model, Prediction(torch.tensor([[[99.0]]]), None, None)).round(3)
    array([[1., 0.]], dtype=float32)
    """
    return model.target_.answers(bag_logits(model, said.logits), model.model_.learnt.cpu()).numpy()


def instance_answers(model: Fitted, said: Prediction) -> NDArray[Any]:
    """Turn what a model says of instances into scores, as `NeuralMIL.instance_scores` gives them.

    Parameters
    ----------
    model
        A fitted estimator.
    said
        From `predict_members`, asked for instances ``alone``.

    Returns
    -------
    array
        Shape (N,), or (N, A) where one number does not say it: for two classes the probability of the positive one.

    Examples
    --------
    >>> import torch
    >>> import bagwise as bw
    >>> model = bw.InstanceMIL(epochs=1).fit(bw.Bags.from_arrays([[[0.0]], [[1.0]]], labels=[0, 1]))
    >>> instance_answers(model, Prediction(torch.zeros(1, 1, 1), None, torch.tensor([[0.0], [99.0]]))).tolist()
    [0.5, 1.0]
    """
    target, learnt = model.target_, model.model_.learnt.cpu()
    if said.scores is not None:
        scores: NDArray[Any] = target.scores(said.scores, learnt).numpy()
        return scores
    assert said.alone is not None
    alone: NDArray[Any] = target.of_instances(target.answers(said.alone, learnt).numpy())
    return alone


def instance_weights(model: Fitted, said: Prediction) -> NDArray[Any] | None:
    """Give what a model says instances weigh, as `NeuralMIL.attention` gives it.

    Parameters
    ----------
    model
        A fitted estimator.
    said
        Of it, from `predict_members`.

    Returns
    -------
    array or None
        Shape (N,), or (N, K), columns of classes as in `classes_`; None where it gives none.

    Examples
    --------
    >>> import torch
    >>> import bagwise as bw
    >>> bags = bw.Bags.from_arrays([[[0.0]], [[1.0]]], labels=["normal", "cancer"])
    >>> model = bw.AttentionMIL(epochs=1).fit(bags)
    >>> instance_weights(model, Prediction(torch.zeros(1, 1, 1), torch.ones(1), None)).tolist()
    [1.0]
    """
    if said.weights is None:
        return None
    weights: NDArray[Any] = said.weights.numpy()
    if weights.ndim == 2 and model.model_.weight_axis == "classes":
        return model.target_.by_name(weights)
    return weights


def instance_contributions(model: Fitted, said: Prediction) -> NDArray[Any] | None:
    """Give what a model says instances add to what it says of their bags, as `NeuralMIL.contributions` gives it.

    Parameters
    ----------
    model
        A fitted estimator.
    said
        Of it, from `predict_members`.

    Returns
    -------
    array or None
        Shape (N,), or (N, C) where a bag has several outputs, those of classes as in `classes_`; None where it gives
        none.

    Examples
    --------
    >>> import torch
    >>> import bagwise as bw
    >>> model = bw.AttentionMIL(epochs=1).fit(bw.Bags.from_arrays([[[0.0]], [[1.0]]], labels=[0, 1]))
    >>> one = Prediction(torch.zeros(1, 1, 1), None, None, contributions=torch.tensor([[0.5], [-0.5]]))
    >>> instance_contributions(model, one).tolist()
    [0.5, -0.5]
    """
    if said.contributions is None:
        return None
    given: NDArray[Any] = said.contributions.numpy()
    return given[:, 0] if given.shape[1] == 1 else model.target_.by_name(given)
