"""What models say of training bags that they did not learn from: what answers are worth is learnt from that."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from joblib import delayed
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from threadpoolctl import threadpool_limits

from bagwise.bags import Bags
from bagwise.checks import check_count, valid_weights
from bagwise.errors import BagwiseError, BagwiseWarning
from bagwise.evaluation.out_of_fold import asked
from bagwise.evaluation.protocol import Folds, Split
from bagwise.methods.base import BagEstimator, clone_with_seed
from bagwise.methods.joint import fit_members
from bagwise.methods.neural import NeuralMIL
from bagwise.targets.contract import Target
from bagwise.targets.registry import resolve
from bagwise.training.workers import in_turn

if TYPE_CHECKING:
    from bagwise.methods.ensemble_estimator import Ensemble

__all__ = ["FOLDS", "HeldOut", "divided", "fold_models", "hold_out", "hold_out_parts"]

# Five models of four fifths of the bags cost four times what the model of all bags does.
FOLDS = 5


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Training bags, and what is said of each by a model that did not learn from it.

    Attributes
    ----------
    target
        What labels are.
    labels
        Of the bags, shape (B, ...), as `bagwise.Bags` holds them.
    answers
        Shape (B, A), as `BagEstimator.answers` gives them.
    fold
        Which of `models` said it, shape (B,): the one that did not learn from this fold.
    models
        Fitted, one a fold: estimators, or an `Ensemble` each; none where they are not kept.
    groups
        Of the bags, of which none is in two folds, shape (B,); None where there are none.
    weights
        What each bag counts, shape (B,); None where all count the same.

    Examples
    --------
    >>> import bagwise as bw
    >>> bags = bw.Bags.from_arrays([[[float(bag % 2)]] for bag in range(12)], labels=[0, 1] * 6)
    >>> held_out = hold_out(bw.make("miVLAD", random_state=0), bags, folds=3, n_jobs=1)
    >>> len(held_out.models), held_out.answers.argmax(axis=1).tolist() == bags.labels.tolist()
    (3, True)
    """

    target: Target
    labels: NDArray[Any]
    answers: NDArray[np.float64]
    fold: NDArray[np.int64]
    models: "Sequence[BagEstimator | Ensemble]"
    groups: NDArray[Any] | None = None
    weights: NDArray[np.float64] | None = None


def hold_out(
    estimator: BagEstimator,
    bags: Bags,
    *,
    size: int = 1,
    folds: int = FOLDS,
    sample_weight: ArrayLike | None = None,
    seed: int = 0,
    n_jobs: int | None = -1,
    checkpoints: Path | None = None,
    verbose: bool = False,
) -> HeldOut:
    """Ask about each bag a model that learnt from other bags; neural ones learn in one training.

    Parameters
    ----------
    estimator
        How models learn; it is not changed.
    bags
        Bags with labels.
    size
        Number of members of each model: more than one makes each an ensemble, of a neural method.
    folds
        In how many parts the bags are divided at most: fewer where there are fewer groups, or bags of a class. No
        group is in two.
    sample_weight
        One weight a bag, as `fit` takes it.
    seed
        Decides the division.
    n_jobs, checkpoints, verbose
        As in `bagwise.cross_validate`.

    Returns
    -------
    HeldOut

    Raises
    ------
    BagwiseError
        If there are too few bags or groups to learn from a part of them, or the data or a parameter will not do.

    Examples
    --------
    >>> import bagwise as bw
    >>> bags = bw.Bags.from_arrays([[[float(bag % 2)]] for bag in range(12)], labels=[0, 1] * 6)
    >>> hold_out(bw.AttentionMIL(epochs=1, random_state=0), bags, n_jobs=1).fold.max()
    np.int64(4)
    """
    return hold_out_parts(
        estimator,
        bags,
        [np.arange(len(bags))],
        size=size,
        folds=folds,
        sample_weight=sample_weight,
        seed=seed,
        n_jobs=n_jobs,
        checkpoints=checkpoints,
        verbose=verbose,
    )[0]


def hold_out_parts(
    estimator: BagEstimator,
    bags: Bags,
    parts: Sequence[NDArray[np.int64]],
    *,
    validations: Sequence[NDArray[np.int64] | None] | None = None,
    size: int = 1,
    folds: int = FOLDS,
    sample_weight: ArrayLike | None = None,
    seed: int = 0,
    n_jobs: int | None = -1,
    checkpoints: Path | None = None,
    verbose: bool = False,
) -> list[HeldOut]:
    """Do as `hold_out` does within each of several parts of the bags, all in one training.

    Parameters
    ----------
    estimator, bags, size, folds, sample_weight, seed, n_jobs, checkpoints, verbose
        As in `hold_out`.
    parts
        Positions of bags, such as those that each fold of a cross-validation learns from: nothing is told of a part by
        what lies outside of it.
    validations
        For each part the positions of the bags, outside of it, that decide when its models stop; None has them split
        off.

    Returns
    -------
    list of HeldOut
        One a part, about its bags in its order.

    Raises
    ------
    BagwiseError
        As `hold_out` does.

    Examples
    --------
    >>> import bagwise as bw
    >>> bags = bw.Bags.from_arrays([[[float(bag % 2)]] for bag in range(24)], labels=[0, 1] * 12)
    >>> parts = [np.arange(12), np.arange(8, 24)]
    >>> [one.answers.shape for one in hold_out_parts(bw.AttentionMIL(epochs=1, random_state=0), bags, parts, n_jobs=1)]
    [(12, 2), (16, 2)]
    """
    check_count("the size of the ensemble", size)
    weights = None if sample_weight is None else valid_weights(sample_weight, bags.names)
    targets = [estimator._target_of(bags, part) for part in parts]
    divisions = [divided(bags[part], estimator.target, folds=folds, seed=seed) for part in parts]
    validations = validations or [None] * len(parts)
    learnt_from = [part[split.train] for part, division in zip(parts, divisions, strict=True) for split in division]
    stopping = [one for one, division in zip(validations, divisions, strict=True) for _ in division]
    models = iter(
        fold_models(
            estimator,
            bags,
            learnt_from,
            validations=stopping,
            size=size,
            sample_weight=weights,
            n_jobs=n_jobs,
            checkpoints=checkpoints,
            verbose=verbose,
        )
    )
    found = []
    for part, division, target in zip(parts, divisions, targets, strict=True):
        fold = np.empty(len(part), np.int64)
        of_part, said = [], []
        for split in division:
            fold[split.test] = split.fold
            of_part.append(next(models))
            said.append(asked(of_part[-1], bags[part[split.test]], target).in_columns_of(target))
        answers = np.empty((len(part), said[0].shape[1]))
        for split, one in zip(division, said, strict=True):
            answers[split.test] = one
        assert bags.labels is not None
        found.append(
            HeldOut(
                target,
                bags.labels[part],
                answers,
                fold,
                of_part,
                None if bags.groups is None else bags.groups[part],
                None if weights is None else weights[part],
            )
        )
    return found


def fold_models(
    estimator: BagEstimator,
    bags: Bags,
    subsets: Sequence[NDArray[np.int64]],
    *,
    validations: Sequence[NDArray[np.int64] | None] | None = None,
    size: int = 1,
    sample_weight: NDArray[np.float64] | None = None,
    n_jobs: int | None = -1,
    checkpoints: Path | None = None,
    verbose: bool = False,
) -> "list[BagEstimator | Ensemble]":
    """Fit copies of an estimator, each on its own choice of the bags.

    Parameters
    ----------
    estimator, bags, size, sample_weight, n_jobs, checkpoints, verbose
        As in `hold_out`.
    subsets
        For each model the positions of its training bags.
    validations
        As in `bagwise.methods.joint.fit_members`.

    Returns
    -------
    list of estimators
        Fitted. Of two classes they decide by one half, since who asks them decides otherwise.

    Raises
    ------
    BagwiseError
        As `hold_out` does.

    Examples
    --------
    >>> import bagwise as bw
    >>> bags = bw.Bags.from_arrays([[[float(bag % 2)]] for bag in range(12)], labels=[0, 1] * 6)
    >>> model = bw.AttentionMIL(epochs=1, random_state=0)
    >>> [len(one) for one in fold_models(model, bags, [np.arange(8), np.arange(4, 12)], size=2, n_jobs=1)]
    [2, 2]
    """
    alike = clone_with_seed(estimator)
    assert bags.labels is not None
    parameters = alike.get_params(deep=False)
    if "target" in parameters:
        alike.set_params(target=resolve(alike.target, bags.labels))  # of which a part's alone may look like another
    if "threshold" in parameters and estimator._target_of(bags, np.arange(len(bags))).positive is not None:
        alike.set_params(threshold=0.5)  # nobody learns a better one in folds of folds
    if not isinstance(alike, NeuralMIL):
        if size > 1:
            raise BagwiseError(f"{type(alike).__name__} has no initial weights, so an ensemble of it is of one member")
        jobs = (delayed(_fitted)(clone(alike), bags, subset, sample_weight) for subset in subsets)
        return in_turn(jobs, len(subsets), n_jobs)
    count = len(subsets)
    with warnings.catch_warnings(action="ignore", category=BagwiseWarning):  # of parts; of all bags it is told
        members = fit_members(
            [clone(alike) for _ in range(count * size)],
            bags,
            [subset for subset in subsets for _ in range(size)],
            places=[place for _ in range(count) for place in range(size)],
            validations=None if validations is None else [one for one in validations for _ in range(size)],
            sample_weight=sample_weight,
            n_jobs=n_jobs,
            checkpoints=checkpoints,
            verbose=verbose,
        )
    if size == 1:
        return list(members)
    from bagwise.methods.ensemble_estimator import Ensemble

    return [Ensemble.of(members[number * size : (number + 1) * size]) for number in range(count)]


def divided(bags: Bags, target: str = "auto", *, folds: int = FOLDS, seed: int = 0) -> tuple[Split, ...]:
    """Divide bags to be held out in turn: no group is in two parts, and each has as much of each class.

    Parameters
    ----------
    bags
        Bags with labels.
    target
        Of which kind these are, as estimators take it.
    folds, seed
        As in `hold_out`.

    Returns
    -------
    tuple of Split

    Raises
    ------
    BagwiseError
        If there are fewer than two bags of a class, or groups.

    Examples
    --------
    >>> bags = Bags.from_arrays([[[0.0]]] * 8, labels=[0, 1, 1, 1] * 2)
    >>> [split.test.tolist() for split in divided(bags)]
    [[2, 3, 4, 6], [0, 1, 5, 7]]
    """
    assert bags.labels is not None
    most = [folds, len(bags)]
    if resolve(target, bags.labels, names=bags.names, label_names=bags.label_names) == "classes":
        most.append(int(np.unique(bags.labels, return_counts=True)[1].min()))
    if bags.groups is not None:
        most.append(len(np.unique(bags.groups)))
    return Folds(bags, max(2, min(most)), seed=seed, target=target).splits


def _fitted(
    model: BagEstimator, bags: Bags, subset: NDArray[np.int64], weights: NDArray[np.float64] | None
) -> BagEstimator:
    with threadpool_limits(1):  # as many workers as cores; and the last bits do not depend on how many there are
        return model.fit(bags[subset], **({} if weights is None else {"sample_weight": weights[subset]}))
