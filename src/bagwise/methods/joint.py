"""Neural estimators that learn together."""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bagwise.bags import Bags
from bagwise.checks import valid_weights
from bagwise.encoding import knowing
from bagwise.errors import BagwiseError
from bagwise.methods.base import drawn_seed
from bagwise.methods.fitted import bag_answers, predict_members
from bagwise.methods.one_class import warn_of_one_class
from bagwise.methods.recipes import Facts, Recipe
from bagwise.methods.threshold import Deciding, inner_folds
from bagwise.targets.contract import Target
from bagwise.training.engine import OnEpoch, reckoned_seconds, train
from bagwise.training.members import Member, Plan, Trained

__all__ = ["fit_members", "reckoned"]


class Joint(Protocol):
    """What an estimator must be able to do to learn with others; `NeuralMIL` is."""

    random_state: Any

    def _validate_params(self) -> None: ...

    def _target_of(self, bags: Bags, subset: NDArray[np.int64]) -> Target: ...

    def _recipe(self, facts: Facts) -> Recipe: ...

    def _plan(
        self, bags: Bags, target: Target, order_seed: int, recipe: Recipe, subset: NDArray[np.int64] | None = None
    ) -> Plan: ...

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

    def _deciding(
        self,
        train: NDArray[np.int64],
        target: Target,
        encoded: NDArray[np.float64],
        sample_weight: NDArray[np.float64] | None,
    ) -> Deciding: ...

    def _remember_target(self, target: Target) -> None: ...


Estimator = TypeVar("Estimator", bound=Joint)
_Held = list[tuple[Member | None, NDArray[np.int64]]]
_NOBODY = np.zeros(0, np.int64)


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
    until: float | None = None,
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
    n_jobs, checkpoints, verbose, on_epoch, until
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
    companies = _companies(estimators, bags, subsets, places, validations, sample_weight)
    bags = knowing(bags, np.concatenate([member.train for company in companies for member in company.members]))
    for number, company in enumerate(companies):
        folder = checkpoints if checkpoints is None or len(companies) == 1 else checkpoints / f"company-{number:03}"
        results = train(
            company.plan,
            bags,
            company.encoded,
            company.members,
            weights=company.weights,
            n_jobs=n_jobs,
            checkpoints=folder,
            verbose=verbose,
            on_epoch=None if on_epoch is None else _telling(on_epoch, [trainee.number for trainee in company.trainees]),
            until=until,
        )
        company.learn(results, bags)
    return list(estimators)


def reckoned(estimators: Sequence[Estimator], bags: Bags, subsets: Sequence[NDArray[np.int64]]) -> list[float]:
    """Reckon how long it takes to fit estimators, each on its own choice of the bags.

    Parameters
    ----------
    estimators, bags, subsets
        As in `fit_members`.

    Returns
    -------
    list of float
        Seconds of one core for each.

    Raises
    ------
    BagwiseError
        As `fit_members` does.

    Examples
    --------
    >>> import bagwise as bw
    >>> bags = bw.Bags.from_arrays([[[0.0]], [[1.0]]] * 50, labels=[0, 1] * 50)
    >>> short, long = reckoned([bw.AttentionMIL(epochs=1), bw.AttentionMIL(epochs=10)], bags, [np.arange(100)] * 2)
    >>> round(long / short)
    10
    """
    seconds = [0.0] * len(estimators)
    for company in _companies(estimators, bags, subsets):
        owners = [trainee.number for trainee in company.trainees]
        owners += [one.number for one in company.trainees for member, _ in one.held_out if member is not None]
        for owner, takes in zip(owners, reckoned_seconds(company.plan, bags, company.members), strict=True):
            seconds[owner] += takes
    return seconds


def _companies(
    estimators: Sequence[Estimator],
    bags: Bags,
    subsets: Sequence[NDArray[np.int64]],
    places: Sequence[int] | None = None,
    validations: Sequence[NDArray[np.int64] | None] | None = None,
    sample_weight: ArrayLike | None = None,
) -> "list[_Company[Estimator]]":
    """Make the members, and put those together that can train together."""
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
        plan = estimator._plan(bags, target, seed, recipe, subset)
        company = next((company for company in companies if company.plan == plan), None)
        if company is None:
            company = _Company(plan, target.encoded(bags.labels), weights)
            companies.append(company)
        member_of = partial(
            estimator._member,
            bags,
            target=target,
            encoded=company.encoded,
            seed=seed,
            recipe=recipe,
            place=place,
            apart=validation,
            sample_weight=weights,
        )
        member = member_of(subset)
        deciding = estimator._deciding(member.train, target, company.encoded, weights)
        held_out = _held_out(deciding, member, bags, subset, seed, member_of)
        company.trainees.append(_Trainee(number, estimator, member, deciding, held_out))
    return companies


def _telling(on_epoch: OnEpoch, numbers: Sequence[int]) -> OnEpoch:
    def tell(measured: Mapping[str, float]) -> None:
        member = int(measured["member"])
        if member < len(numbers):  # and not one that learns for a threshold
            on_epoch({**measured, "member": numbers[member]})

    return tell


class _Trainee(NamedTuple, Generic[Estimator]):
    """An estimator, its place and its member, and what it decides by.

    That is chosen on bags that are held out, each from the member beside it; None is the estimator's own.
    """

    number: int
    estimator: Estimator
    member: Member
    deciding: Deciding
    held_out: _Held


def _held_out(
    deciding: Deciding,
    member: Member,
    bags: Bags,
    subset: NDArray[np.int64],
    seed: int,
    member_of: Callable[[NDArray[np.int64]], Member],
) -> _Held:
    if not deciding.is_open:
        return []
    if deciding.can_choose(member.validation):
        return [(None, member.validation)]
    groups = None if bags.groups is None else bags.groups[subset]
    found: _Held = []
    for learnt, asked in inner_folds(deciding.codes[subset], groups, seed):
        try:
            found.append((member_of(subset[learnt]), subset[asked]))
        except BagwiseError:  # of what is left there are too few for a patience to watch
            return []
    return found


@dataclass
class _Company(Generic[Estimator]):
    """Estimators whose members train together, and after these the inner ones."""

    plan: Plan
    encoded: NDArray[np.float64]
    weights: NDArray[np.float64] | None
    trainees: list[_Trainee[Estimator]] = field(default_factory=list)

    @property
    def members(self) -> list[Member]:
        inner = [member for trainee in self.trainees for member, _ in trainee.held_out if member is not None]
        return [*(trainee.member for trainee in self.trainees), *inner]

    def learn(self, results: Sequence[Trained], bags: Bags) -> None:
        count = len(self.trainees)
        inner_results = iter(results[count:])
        asked: list[Any] = []
        for trainee, trained in zip(self.trainees, results[:count], strict=True):
            trainee.estimator._learnt(self.plan, trainee.member, trained, bags)
            for inner, _ in trainee.held_out:
                model = trainee.estimator if inner is None else copy(trainee.estimator)
                if inner is not None:
                    model._learnt(self.plan, inner, next(inner_results), bags)
                asked.append(model)
        places = [positions for trainee in self.trainees for _, positions in trainee.held_out]
        said = iter(predict_members(asked, bags, places) if asked else [])
        models = iter(asked)
        for trainee in self.trainees:
            answers = [bag_answers(next(models), next(said)) for _ in trainee.held_out]
            positions = [positions for _, positions in trainee.held_out]
            target = trainee.deciding.decided(
                np.concatenate([*positions, _NOBODY]), np.concatenate(answers) if answers else np.zeros((0, 0))
            )
            trainee.estimator._remember_target(target)
        estimators, trains = zip(*((trainee.estimator, trainee.member.train) for trainee in self.trainees), strict=True)
        warn_of_one_class(estimators, bags, trains)
