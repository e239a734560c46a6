"""Neural estimators that learn together."""

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
from bagwise.methods.recipes import Facts, Recipe
from bagwise.targets.contract import Target
from bagwise.training.engine import OnEpoch, train
from bagwise.training.members import Member, Plan, Trained

__all__ = ["fit_members"]


class Joint(Protocol):
    """What an estimator must be able to do to learn with others; `NeuralMIL` is."""

    random_state: Any

    def _validate_params(self) -> None: ...

    def _target_of(self, bags: Bags, subset: NDArray[np.int64]) -> Target: ...

    def _recipe(self, facts: Facts) -> Recipe: ...

    def _plan(self, bags: Bags, target: Target, order_seed: int, recipe: Recipe) -> Plan: ...

    def _member(
        self,
        bags: Bags,
        subset: NDArray[np.int64],
        target: Target,
        encoded: NDArray[np.float64],
        seed: int,
        recipe: Recipe,
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
        stopping = 0 if validation is None else len(validation)
        recipe = estimator._recipe(Facts.of(bags, subset, target, stopping))
        plan = estimator._plan(bags, target, seed, recipe)
        company = next((company for company in companies if company.plan == plan), None)
        if company is None:
            company = _Company(plan, target.encoded(bags.labels))
            companies.append(company)
        company.numbers.append(number)
        company.estimators.append(estimator)
        company.members.append(
            estimator._member(bags, subset, target, company.encoded, seed, recipe, place, validation, weights)
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
