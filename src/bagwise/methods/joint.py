"""Neural estimators that learn, and are asked, together."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bagwise.bags import Bags
from bagwise.checks import valid_weights
from bagwise.errors import BagwiseError
from bagwise.methods.base import drawn_seed
from bagwise.models.model import MILModel
from bagwise.targets.contract import Target
from bagwise.training.data import PackedTensors
from bagwise.training.device import resolve_device
from bagwise.training.engine import OnEpoch, train
from bagwise.training.inference import Prediction, predict
from bagwise.training.members import Member, Plan, Trained

__all__ = ["bag_answers", "fit_members", "instance_answers", "instance_weights", "predict_members"]


class Joint(Protocol):
    """What an estimator must be able to do to learn with others; `NeuralMIL` is."""

    random_state: Any
    device: str
    precision: str
    plan_: Plan
    model_: MILModel
    target_: Target

    def _validate_params(self) -> None: ...

    def _target_of(self, bags: Bags, subset: NDArray[np.int64]) -> Target: ...

    def _like_learnt(self, bags: Bags) -> Bags: ...

    def _plan(self, bags: Bags, target: Target, order_seed: int) -> Plan: ...

    def _member(
        self,
        bags: Bags,
        subset: NDArray[np.int64],
        target: Target,
        encoded: NDArray[np.float64],
        seed: int,
        place: int,
        apart: NDArray[np.int64] | None,
        sample_weight: NDArray[np.float64] | None,
    ) -> Member: ...

    def _learnt(self, plan: Plan, member: Member, trained: Trained, bags: Bags) -> None: ...


Estimator = TypeVar("Estimator", bound=Joint)


def fit_members(
    estimators: Sequence[Estimator],
    bags: Bags,
    subsets: Sequence[NDArray[np.int64]],
    *,
    places: Sequence[int] | None = None,
    validations: Sequence[NDArray[np.int64] | None] | None = None,
    sample_weight: ArrayLike | None = None,
    n_jobs: int | None = 1,
    checkpoints: Path | None = None,
    verbose: bool = False,
    on_epoch: OnEpoch | None = None,
) -> list[Estimator]:
    """Fit estimators, each on its own choice of the bags, in one joint training.

    Each ends as ``estimator.fit(bags[subset])`` would, to the last bit.

    Parameters
    ----------
    estimators
        Neural estimators; those that differ only in hyper-parameters of `Settings` train together.
    bags
        Bags with labels.
    subsets
        For each estimator the positions of its training bags.
    places
        For each estimator its place in an ensemble: what differs in nothing else gets a seed of its own by it. None
        puts all in place 0, where `fit` is.
    validations
        For each estimator the positions of the bags that decide when it stops, where it has a patience; all of
        ``subsets`` are then learnt from. None, also for one of them, splits them off by `validation_fraction`.
    sample_weight
        One weight a bag of `bags`, as `NeuralMIL.fit` takes it.
    n_jobs, checkpoints, verbose, on_epoch
        As in `bagwise.training.engine.train`; a ``"member"`` is the place of its estimator.

    Returns
    -------
    list of estimators
        The same, fitted.

    Raises
    ------
    BagwiseError
        If the data or a parameter will not do.

    Examples
    --------
    >>> import bagwise as bw
    >>> bags = bw.Bags.from_arrays([[[0.0]], [[1.0]], [[0.1]], [[0.9]]], labels=[0, 1, 0, 1])
    >>> models = [bw.AttentionMIL(epochs=1), bw.AttentionMIL(epochs=1)]
    >>> [model.classes_.tolist() for model in fit_members(models, bags, [np.array([0, 1]), np.array([2, 3])])]
    [[0, 1], [0, 1]]
    """
    if bags.labels is None:
        raise BagwiseError("the bags have no labels to learn from: give y, or bags with labels")
    weights = None if sample_weight is None else valid_weights(sample_weight, bags.names)

    def counting(subset: NDArray[np.int64]) -> NDArray[np.int64]:
        return subset if weights is None else subset[weights[subset] > 0]

    companies: list[_Company[Estimator]] = []
    places = places or [0] * len(estimators)
    validations = validations or [None] * len(estimators)
    given = zip(estimators, subsets, places, validations, strict=True)
    for number, (estimator, subset, place, validation) in enumerate(given):
        estimator._validate_params()
        subset, validation = counting(subset), None if validation is None else counting(validation)
        target = estimator._target_of(bags, subset)
        if validation is not None:
            for strange in validation[~target.knows(bags.labels[validation])][:1]:
                raise BagwiseError(
                    f"bag {bags.names[strange]!r}, which is for validation, has the label {bags.labels[strange]!s},"
                    " which no bag that is learnt from has: leave it out"
                )
        seed = drawn_seed(estimator.random_state)
        plan = estimator._plan(bags, target, order_seed=seed)
        company = next((company for company in companies if company.plan == plan), None)
        if company is None:
            company = _Company(plan, target.encoded(bags.labels))
            companies.append(company)
        company.numbers.append(number)
        company.estimators.append(estimator)
        company.members.append(
            estimator._member(bags, subset, target, company.encoded, seed, place, validation, weights)
        )
    for number, company in enumerate(companies):
        folder = checkpoints if checkpoints is None or len(companies) == 1 else checkpoints / f"company-{number:03}"
        results = train(
            company.plan,
            bags,
            company.encoded,
            company.members,
            weights=weights,
            n_jobs=n_jobs,
            checkpoints=folder,
            verbose=verbose,
            on_epoch=None if on_epoch is None else _telling(on_epoch, company.numbers),
        )
        for estimator, member, trained in zip(company.estimators, company.members, results, strict=True):
            estimator._learnt(company.plan, member, trained, bags)
    return list(estimators)


def predict_members(
    estimators: Sequence[Joint], bags: Bags, subsets: Sequence[NDArray[np.int64]], *, alone: bool = False
) -> list[Prediction]:
    """Predict with fitted estimators, each its own choice of the bags, in one pass over the bags.

    Each says what ``estimator.predict_proba(bags[subset])`` says, to the last bit.

    Parameters
    ----------
    estimators
        Fitted neural estimators that train and predict alike but for `Settings`, as `fit_members` gives them.
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
    return predict(
        [estimator.model_.to(device) for estimator in estimators],
        PackedTensors(bags),
        subsets,
        device=device,
        chunk=first.plan_.chunk,
        precision=first.precision,
        alone=alone,
    )


def bag_answers(model: Joint, said: Prediction) -> NDArray[Any]:
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
    return model.target_.answers(said.logits, model.model_.learnt.cpu()).numpy()


def instance_answers(model: Joint, said: Prediction) -> NDArray[Any]:
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
        return target.scores(said.scores, learnt)
    assert said.alone is not None
    return target.of_instances(target.answers(said.alone, learnt).numpy())


def instance_weights(model: Joint, said: Prediction) -> NDArray[Any] | None:
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


def _telling(on_epoch: OnEpoch, numbers: Sequence[int]) -> OnEpoch:
    return lambda measured: on_epoch({**measured, "member": numbers[int(measured["member"])]})


@dataclass
class _Company(Generic[Estimator]):
    """Estimators whose members train together."""

    plan: Plan
    encoded: NDArray[np.float64]
    numbers: list[int] = field(default_factory=list)
    estimators: list[Estimator] = field(default_factory=list)
    members: list[Member] = field(default_factory=list)
