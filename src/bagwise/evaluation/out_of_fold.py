"""What models say of bags that they did not learn from: each is fitted to one part and asked about another."""

from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from joblib import delayed
from numpy.typing import NDArray
from sklearn.base import clone
from threadpoolctl import threadpool_limits

from bagwise.bags import Bags
from bagwise.evaluation.protocol import Split
from bagwise.methods.asked import Asked, ask
from bagwise.methods.base import BagEstimator
from bagwise.methods.fitted import bag_answers, instance_contributions, instance_weights, predict_members
from bagwise.methods.joint import fit_members
from bagwise.methods.neural import NeuralMIL
from bagwise.targets.classes import ClassTarget
from bagwise.targets.contract import Target
from bagwise.targets.registry import resolve
from bagwise.targets.survival import SurvivalTarget
from bagwise.training.engine import OnEpoch
from bagwise.training.workers import check_time, in_turn, on_workers

__all__ = ["Said", "asked", "out_of_fold"]

_FEW_NUMBERS = 1 << 15  # of more, a fold of a classical method may take as long as workers take to start


class Said(NamedTuple):
    """What one model says of its test bags.

    Attributes
    ----------
    names
        What it chooses from, in the order of the columns of `answers`; None of numbers and lives.
    answers
        Shape (tests, A).
    weights
        Of the instances of the test bags, shape (n,) or (n, K); None where it has none.
    weight_axis
        What the K columns of the weights are.
    decided
        What it predicts, as labels are, shape (tests,), where it decides by a threshold of its own; else None.
    threshold
        That, as `ClassTarget` takes it; else None.
    contributions
        Of the instances of the test bags to its answers, shape (n,) or (n, C), as `NeuralMIL.contributions` gives them;
        None where it has none.

    Examples
    --------
    >>> from bagwise.targets.classes import ClassTarget
    >>> said = Said(np.array(["b", "c"]), np.array([[0.25, 0.75]]), None)
    >>> said.in_columns_of(ClassTarget.of(["a", "b", "c"])).tolist()
    [[0.0, 0.25, 0.75]]
    """

    names: NDArray[Any] | None
    answers: NDArray[np.floating]
    weights: NDArray[np.floating] | None
    weight_axis: Literal["heads", "classes"] = "heads"
    decided: NDArray[Any] | None = None
    threshold: float | Sequence[float] | None = None
    contributions: NDArray[np.floating] | None = None

    def in_columns_of(self, target: Target) -> NDArray[np.float64]:
        """Give the answers in the columns of a target that may know more classes, of which the model says 0."""
        return self._in_columns(self.answers, target)

    def weights_in_columns_of(self, target: Target) -> NDArray[np.floating] | None:
        """Give the weights alike, where they are by class."""
        by_class = self.weights is not None and self.weights.ndim == 2 and self.weight_axis == "classes"
        return self._in_columns(self.weights, target) if self.weights is not None and by_class else self.weights

    def contributions_in_columns_of(self, target: Target) -> NDArray[np.floating] | None:
        """Give the contributions alike."""
        given = self.contributions
        return given if given is None or given.ndim == 1 else self._in_columns(given, target)

    def _in_columns(self, values: NDArray[np.floating], target: Target) -> NDArray[np.float64]:
        if target.names is None or self.names is None or values.shape[1] != len(self.names):
            return values.astype(np.float64)
        known = target.names.tolist()
        whole = np.zeros((len(values), len(known)))
        whole[:, [known.index(name) for name in self.names.tolist()]] = values
        return whole


def out_of_fold(
    models: Sequence[BagEstimator],
    bags: Bags,
    splits: Sequence[Split],
    target: Target,
    *,
    sample_weight: NDArray[np.float64] | None = None,
    n_jobs: int | None = -1,
    checkpoints: Path | None = None,
    verbose: bool = False,
    on_epoch: OnEpoch | None = None,
    until: float | None = None,
) -> list[Said]:
    """Fit each model to the training bags of its split, and ask it about the test bags.

    Neural ones train together, whichever differ only in hyper-parameters of `Settings` in one training. Each ends as
    ``model.fit(bags[train])`` would, to the last bit.

    Parameters
    ----------
    models
        Estimators; neural ones are fitted, of others clones are. Those whose seed is no number draw one each.
    bags
        Bags with labels.
    splits
        For each model its split.
    target
        What all labels are: a fold's alone may look like another kind, and survival is told at this one's times.
    sample_weight
        One weight a bag, shape (B,), as `fit` takes it.
    n_jobs, checkpoints, verbose
        As in `bagwise.cross_validate`.
    on_epoch
        Called with what is measured of each neural model in each epoch; ``"member"`` is its place among `models`.
    until
        A time, as `time.time` tells it, after which all is given up: before the next epoch of neural models, before the
        next one of others.

    Returns
    -------
    list of Said
        One a model.

    Raises
    ------
    BagwiseError
        If the data or a parameter will not do.
    OutOfTime
        If it is later than `until`.

    Examples
    --------
    >>> import bagwise as bw
    >>> from bagwise.evaluation.protocol import Folds
    >>> bags = bw.Bags.from_arrays([[[float(bag % 2)]] for bag in range(12)], labels=[0, 1] * 6)
    >>> splits, model = Folds(bags, folds=3).splits, bw.make("miVLAD", random_state=0)
    >>> said = out_of_fold([model] * 3, bags, splits, model.fit(bags).target_, n_jobs=1)
    >>> [one.answers.argmax(axis=1).tolist() == bags.labels[split.test].tolist() for one, split in zip(said, splits)]
    [True, True, True]
    """
    neural = [number for number, model in enumerate(models) if isinstance(model, NeuralMIL)]
    others = [number for number in range(len(models)) if number not in set(neural)]
    said: dict[int, Said] = {}
    if neural:
        learning: list[Any] = [models[number] for number in neural]
        of = [splits[number] for number in neural]
        fitted: list[NeuralMIL] = fit_members(
            learning,
            bags,
            [split.train for split in of],
            validations=[split.validation if len(split.validation) else None for split in of],
            sample_weight=sample_weight,
            n_jobs=n_jobs,
            checkpoints=checkpoints,
            verbose=verbose,
            on_epoch=None
            if on_epoch is None
            else lambda measured: on_epoch({**measured, "member": neural[int(measured["member"])]}),
            until=until,
        )
        said |= zip(neural, _asked_together(fitted, bags, [split.test for split in of], target), strict=True)
    if others:
        jobs = (
            delayed(_fitted_and_asked)(
                _told_the_kind(models[number], bags),
                bags[splits[number].train],
                None if sample_weight is None else sample_weight[splits[number].train],
                bags[splits[number].test],
                target,
                until,
            )
            for number in others
        )
        # Of a summary of bags there is little, however large they are.
        few = not any(models[number].SEES_INSTANCES for number in others) or prod(bags.instances.shape) <= _FEW_NUMBERS
        answers = in_turn(jobs, len(others), n_jobs) if few else on_workers(jobs, n_jobs)
        said |= zip(others, answers, strict=True)
    return [said[number] for number in range(len(models))]


def _told_the_kind(model: BagEstimator, bags: Bags) -> BagEstimator:
    """Clone a model, and tell it what labels are, of which a fold's alone may look like another kind."""
    copy: BagEstimator = clone(model)
    if "target" in copy.get_params(deep=False):
        assert bags.labels is not None
        copy.set_params(target=resolve(copy.target, bags.labels))
    return copy


def _asked_together(
    models: Sequence[NeuralMIL], bags: Bags, tests: Sequence[NDArray[np.int64]], target: Target
) -> list[Said]:
    """Ask those that are of one architecture in one pass over the bags."""
    answers: dict[int, Said] = {}
    architectures = [model.plan_.architecture for model in models]
    for one in [a for number, a in enumerate(architectures) if a not in architectures[:number]]:
        numbers = [number for number, a in enumerate(architectures) if a == one]
        predictions = predict_members([models[n] for n in numbers], bags, [tests[n] for n in numbers])
        for number, prediction in zip(numbers, predictions, strict=True):
            model = models[number]
            weights, axis = instance_weights(model, prediction), model.model_.weight_axis
            said = bag_answers(model, prediction)
            if isinstance(target, SurvivalTarget) and isinstance(model.target_, SurvivalTarget):
                # Each fold's own times are quantiles of its training events; the table needs the same for all.
                said = model.target_.at(target.times, prediction.logits, model.model_.learnt.cpu()).numpy()
            told = _by_class(model, instance_contributions(model, prediction), target)
            answers[number] = Said(model.target_.names, said, weights, axis, *_decided(model, said), told)
    return [answers[number] for number in range(len(models))]


def _by_class(model: Asked, told: NDArray[Any] | None, target: Target) -> NDArray[Any] | None:
    """Say for each class what adds to the log-odds of two, where there are more that the model never met."""
    known = model.target_
    if told is None or told.ndim > 1 or known.positive is None or target.names is None or len(target.names) == 2:
        return told
    return known.by_name(np.stack([-told, told], axis=1) / 2)


def _decided(model: BagEstimator, answers: NDArray[Any]) -> tuple[NDArray[Any] | None, float | Sequence[float] | None]:
    target = getattr(model, "target_", None)
    if not isinstance(target, ClassTarget) or target.threshold is None:
        return None, None
    return target.predicted(answers), target.threshold


def asked(model: BagEstimator, bags: Bags, target: Target) -> Said:
    """Ask a fitted model about bags.

    Parameters
    ----------
    model
        Fitted.
    bags
        Those to ask about.
    target
        What all labels are, of which the model may have seen a part; lives are told at its times.

    Returns
    -------
    Said
        With weights and contributions of instances where it is a method of Bagwise that has some.

    Examples
    --------
    >>> import bagwise as bw
    >>> bags = bw.Bags.from_arrays([[[float(bag % 2)]] for bag in range(12)], labels=[0, 1] * 6)
    >>> model = bw.make("miVLAD", random_state=0).fit(bags)
    >>> asked(model, bags[:3], model.target_).answers.argmax(axis=1).tolist()
    [0, 1, 0]
    """
    if isinstance(target, SurvivalTarget) and isinstance(model.target_, SurvivalTarget):
        return Said(None, np.column_stack([model.predict(bags), model.predict_survival(bags, target.times)]), None)
    if isinstance(model, Asked):
        (one,) = ask([model], bags)
        told = _by_class(model, one.contributions, target)
        names, decided = model.target_.names, _decided(model, one.answers)
        return Said(names, one.answers, one.weights, one.weight_axis, *decided, told)
    if hasattr(model, "classes_"):
        said = model.predict_proba(bags)
        return Said(np.asarray(model.classes_), said, None, "heads", *_decided(model, said))
    return Said(None, model.answers(bags), None)


def _fitted_and_asked(
    model: BagEstimator,
    train: Bags,
    weights: NDArray[np.float64] | None,
    test: Bags,
    target: Target,
    until: float | None,
) -> Said:
    check_time(until)
    with threadpool_limits(1):  # as many workers as cores; and the last bits do not depend on how many there are
        model.fit(train, **({} if weights is None else {"sample_weight": weights}))  # which one's own may not take
        return asked(model, test, target)
