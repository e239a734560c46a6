"""Cross-validation of a method: all folds of all repetitions in one joint training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone

from bagwise.bags import Bags, BagsLike, as_bags
from bagwise.checks import valid_weights
from bagwise.errors import BagwiseError
from bagwise.evaluation.divisions import FoldsLike, divide
from bagwise.evaluation.metrics import Scorer, measure, scorers
from bagwise.evaluation.out_of_fold import Said, out_of_fold
from bagwise.evaluation.pooled import Pooled, pooled
from bagwise.evaluation.protocol import Division, Split
from bagwise.evaluation.summary import divided_told, folds_told, summary
from bagwise.methods.base import BagEstimator, clone_with_seed
from bagwise.methods.joint import fit_members
from bagwise.methods.neural import NeuralMIL
from bagwise.methods.recipes import Facts
from bagwise.targets.contract import Target
from bagwise.text import kind_of
from bagwise.training.engine import OnEpoch

__all__ = ["CrossValidation", "cross_validate", "gathered", "validate_folds"]


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """What a cross-validation found.

    Attributes
    ----------
    protocol
        ``"default"`` (stratified folds), ``"grouped"`` (no group on both sides), ``"paper"`` (folds not stratified),
        ``"leaky"`` (test bags chose the epoch: no honest number), ``"leave-one-group-out"``, ``"expanding-windows"``,
        ``"given"``, or the class of a splitter.
    target
        What the labels are: their kind, which classes or grades there are, when survival is told.
    labels
        The true label of each bag, shape (B, ...).
    assignment
        The fold in which each bag was tested, shape (repeats, B); -1 where none of the repetition did.
    answers
        What out-of-fold models say, shape (repeats, B, A): probabilities of classes, grades or labels; numbers; or the
        risk and the survival function at the times of `target`. NaN where `assignment` is -1.
    attention
        Out-of-fold instance weights, each from the model that never saw its bag: shape (repeats, N), or (repeats, N, K)
        where the method has weights of several heads or classes; None where it has none, NaN where `assignment` is -1.
    scores
        Each metric in each fold, shape (repeats, folds); NaN where a fold leaves it undefined, and where a repetition
        has fewer folds than another.
    weight_axis
        What the K columns of the weights are, ``"heads"`` or ``"classes"``, as in `classes`.
    sample_weight
        What each bag counted, in learning and in `scores`, shape (B,); None where all counted the same.
    decided
        What out-of-fold models predict, shape (repeats, B), where some decide by thresholds of their own; else None.
    thresholds
        These, a list a repetition with one a fold, which is None where the likeliest is predicted; else None.
    groups
        The group of each bag, shape (B,); None where there are none.
    scoring
        What `scores` measure, by name; None: the metrics are called what they are.
    contributions
        What instances add to what out-of-fold models say of their bags (`NeuralMIL.contributions`): shape (repeats, N),
        or (repeats, N, C) where that is several numbers; None where the method is no sum over instances, NaN where
        `assignment` is -1.

    Examples
    --------
    >>> import bagwise as bw
    >>> bags = bw.Bags.from_arrays([[[float(bag % 2)]] for bag in range(12)], labels=[0, 1] * 6)
    >>> result = cross_validate(bw.AttentionMIL(epochs=2, random_state=0), bags, folds=3, n_jobs=1)
    >>> result.probabilities.shape, result.scores["accuracy"].shape
    ((1, 12, 2), (1, 3))
    """

    protocol: str
    target: Target
    labels: NDArray[Any]
    assignment: NDArray[np.int64]
    answers: NDArray[np.float64]
    attention: NDArray[np.float64] | None
    scores: dict[str, NDArray[np.float64]]
    weight_axis: Literal["heads", "classes"] = "heads"
    sample_weight: NDArray[np.float64] | None = None
    decided: NDArray[Any] | None = None
    thresholds: list[list[Any]] | None = None
    groups: NDArray[Any] | None = None
    scoring: dict[str, str | Scorer] | None = None
    contributions: NDArray[np.float64] | None = None

    @property
    def classes(self) -> NDArray[Any] | None:
        """The classes, sorted, the grades or the labels, in the order of the columns; None of numbers and lives."""
        return self.target.names

    @property
    def positive(self) -> Any:
        """Of two classes the one that the standard MIL assumption, precision, recall, F-score and AUC are about."""
        return self.target.positive

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """The answers, of classes, grades or labels: probabilities, shape (repeats, B, number of classes)."""
        if self.target.names is None:
            raise BagwiseError(f"there are no probabilities of a {self.target.kind} target: look at answers")
        return self.answers

    @property
    def predicted(self) -> NDArray[Any]:
        """The out-of-fold prediction of each bag, shape (repeats, B, ...); None where it was not tested."""
        predicted = self.target.predicted(self.answers) if self.decided is None else self.decided
        untested = self.assignment < 0
        if untested.any():
            predicted = predicted.astype(object)
            predicted[untested] = None
        return predicted

    @property
    def untested(self) -> NDArray[np.int64]:
        """Positions of the bags that no fold tested."""
        return np.flatnonzero((self.assignment < 0).all(axis=0))

    def mean(self, metric: str | None = None) -> float:
        """Average a metric over folds, then over repetitions.

        Parameters
        ----------
        metric
            One of `scores`; None takes the first, which is accuracy where nobody asked for others.

        Returns
        -------
        float
            NaN where no fold defines it.

        Raises
        ------
        BagwiseError
            If there is no such metric.
        """
        if metric is None:
            metric = next(iter(self.scores))
        if metric not in self.scores:
            raise BagwiseError(f"there is no metric {metric!r}: the metrics are {', '.join(self.scores)}")
        return float(summary(self.scores[metric])["mean"])

    def pooled(self, *, level: float = 0.95, draws: int = 2000, seed: int = 0) -> dict[str, Pooled]:
        """Measure all out-of-fold answers together, with intervals, where `mean` averages over folds.

        The two are different numbers. An AUC (or average precision, or C-index) of all answers together also ranks bags
        of different folds against each other, by what different models say of them, whose scales may differ; in a mean
        over folds each model's bags are ranked among themselves. Of shares and errors both are about the same.

        Parameters
        ----------
        level, draws, seed
            As in `bagwise.evaluation.intervals.metric_intervals`. Groups stay together in the draws, and so do all
            answers about a bag.

        Returns
        -------
        dict
            For each metric of `scores` a value and its interval.

        Raises
        ------
        BagwiseError
            If the level or the number of draws will not do.

        Examples
        --------
        >>> import bagwise as bw
        >>> bags = bw.Bags.from_arrays([[[float(bag % 2)]] for bag in range(60)], labels=[0, 1] * 30)
        >>> found = cross_validate(bw.make("miVLAD", random_state=0), bags, folds=3, n_jobs=1)
        >>> print(found.pooled()["accuracy"])
        1.000 [0.940, 1.000]
        """
        return pooled(
            self.target,
            self.labels,
            self.assignment,
            self.answers,
            scoring=self.scoring or {metric: metric for metric in self.scores},
            decided=self.decided,
            groups=self.groups,
            weights=self.sample_weight,
            level=level,
            draws=draws,
            seed=seed,
        )

    def rows(self) -> list[dict[str, Any]]:
        """Sum up each metric over folds, as the result files of the experiments do.

        Returns
        -------
        list of dict
            One a metric: its mean, the standard deviation over all folds (``sd_folds``), the standard error of the mean
            over the repetitions (``se_repeats``; NaN with one repetition), how many folds there are and how many of
            them define it (``folds_defined``), and the protocol.
        """
        of_each = self.assignment.max(axis=1) + 1
        return [
            {"metric": metric, **summary(values, of_each), "protocol": self.protocol}
            for metric, values in self.scores.items()
        ]

    def __repr__(self) -> str:
        told = divided_told(self.rows()[0])
        lines = [f"<CrossValidation: {told} of {len(self.labels)} bags, protocol {self.protocol}"]
        if len(self.untested):
            lines[0] += f", {len(self.untested)} bags never tested"
        if self.positive is not None:
            lines[0] += f", positive class {self.positive}"
        width = max(10, *(len(metric) + 1 for metric in self.scores))
        for row in self.rows():
            of = folds_told(row)
            spread = f"SD over folds {row['sd_folds']:.3f}" + (f", of {of}" if of else "")
            if row["folds"] * row["repeats"] == 1:
                spread = "one fold"
            lines.append(f"  {row['metric']:<{width}}{row['mean']:.3f} ({spread})")
        return "\n".join(lines) + ">"


def cross_validate(
    model: BagEstimator,
    X: BagsLike,
    y: ArrayLike | None = None,
    *,
    sample_weight: ArrayLike | None = None,
    folds: FoldsLike = 10,
    repeats: int = 1,
    seed: int = 0,
    scoring: Any = None,
    n_jobs: int | None = -1,
    checkpoints: str | Path | None = None,
    verbose: bool = False,
    on_epoch: OnEpoch | None = None,
) -> CrossValidation:
    """Cross-validate a method; of a neural one, all folds of all repetitions train together.

    Each fold's model is, to the last bit, what ``clone(model).fit(bags[train])`` gives, so it learnt nothing from its
    test bags: neither weights nor scaler nor when to stop. Where bags have groups, no group is on both sides of a fold,
    unless folds are given that have it so, of which a `BagwiseWarning` tells.

    Parameters
    ----------
    model
        An estimator; it is not changed.
    X
        `Bags`, or a list with one array a bag.
    y
        One label a bag. None takes those of the `Bags`.
    sample_weight
        One weight a bag, for learning, as `fit` takes it, and for measuring: in the metrics a bag of weight 2 is like
        two. A fold of which no test bag counts defines no metric.
    folds
        A number of folds, ``"group"`` (leave one group out), a splitter of scikit-learn's, a list of (train, test) or
        (train, validation, test) positions, the fold of each bag as an array of shape (B,) or (repeats, B) or as a
        mapping from names, or a `Division`: as `bagwise.evaluation.divisions.divide` takes them.
    repeats, seed
        With a number of folds, how often to divide the bags anew, and what decides the divisions.
    scoring
        What is measured in each fold: the name of a metric, a function ``(labels, answers) -> float``, a list of both,
        or a mapping from what each is to be called, as `bagwise.evaluation.metrics.scorers` takes them. None measures
        accuracy, precision, recall, F-score and AUC.
    n_jobs
        Most worker processes, each with one thread; -1 is one a core. Where there is too little work for them this
        process does it (`bagwise.training.workers`). Results do not depend on it.
    checkpoints
        A folder for a neural method to keep progress in; a cross-validation that was stopped goes on from it.
    verbose
        Show a progress bar.
    on_epoch
        Called, for a neural method, with what is measured of each fold's model in each epoch: a mapping of
        ``"repeat"``, ``"fold"``, ``"member"`` (its place among the folds of all repeats) and what an entry of
        `history_` holds. It runs in this process: at once with ``n_jobs=1``, else when a worker is done with a block of
        folds. What it raises ends the cross-validation.

    Returns
    -------
    CrossValidation
        What models said of the bags that they had not seen, and the metrics of each fold.

    Raises
    ------
    BagwiseError
        If the data or a parameter will not do.

    Examples
    --------
    >>> import bagwise as bw
    >>> rng = np.random.default_rng(0)
    >>> arrays = [rng.normal(size=(3, 2)) + 3 * (bag % 2) for bag in range(12)]
    >>> bags = bw.Bags.from_arrays(arrays, labels=[0, 1] * 6)
    >>> cross_validate(bw.AttentionMIL(epochs=30, random_state=0), bags, folds=3, n_jobs=1)
    <CrossValidation: 1 x 3 folds of 12 bags, protocol default, positive class 1
      accuracy  1.000 (SD over folds 0.000)
      ...
    """
    if not isinstance(model, BagEstimator):
        raise BagwiseError(
            f"cross_validate needs a method of Bagwise, such as bagwise.make('attention'), not {kind_of(model)}:"
            " scikit-learn's own cross_validate takes any estimator"
        )
    bags = as_bags(X, y)
    return validate_folds(
        model,
        bags,
        divide(bags, folds, repeats, seed, model.target),
        scoring=scoring,
        sample_weight=sample_weight,
        n_jobs=n_jobs,
        checkpoints=None if checkpoints is None else Path(checkpoints),
        verbose=verbose,
        on_epoch=on_epoch,
    )


def validate_folds(
    model: BagEstimator,
    bags: Bags,
    division: Division,
    *,
    scoring: Any = None,
    sample_weight: ArrayLike | None = None,
    rivals: Sequence[BagEstimator] = (),
    epoch_by_test: bool = False,
    n_jobs: int | None = -1,
    checkpoints: Path | None = None,
    verbose: bool = False,
    on_epoch: OnEpoch | None = None,
) -> CrossValidation:
    """Cross-validate a method on folds that are there already; `cross_validate` is for users, this for experiments.

    Parameters
    ----------
    model
        An estimator; it is not changed.
    bags
        Bags with labels.
    division
        The folds.
    scoring, sample_weight
        As in `cross_validate`.
    rivals
        Neural estimators that stand in the place of `model` in the folds where they do better on validation bags split
        off from the training bags, by errors, then by loss.
    epoch_by_test
        Wrong, and here to show how wrong: a neural method with a patience keeps the epoch that is best on the test
        bags.
    n_jobs, checkpoints, verbose, on_epoch
        As in `cross_validate`.

    Returns
    -------
    CrossValidation

    Raises
    ------
    BagwiseError
        If the data or a parameter will not do.

    Examples
    --------
    >>> import bagwise as bw
    >>> from bagwise.evaluation.protocol import Folds
    >>> bags = bw.Bags.from_arrays([[[float(bag % 2)]] for bag in range(12)], labels=[0, 1] * 6)
    >>> validate_folds(bw.make("miVLAD", random_state=0), bags, Folds(bags, folds=3), n_jobs=1).mean()
    1.0
    """
    assert bags.labels is not None
    target = model._target_of(bags, np.arange(len(bags)))
    scoring = scorers(target, scoring)
    model = clone_with_seed(model)
    weights = None if sample_weight is None else valid_weights(sample_weight, bags.names)
    splits = division.splits
    trains = [split.train for split in splits]
    if target.kind == "classes":
        _check_learnable(division, bags)
    models: list[BagEstimator] = [clone(model) for _ in splits]
    if rivals:
        models = [*_best_by_validation([model, *rivals], bags, trains, weights, n_jobs, checkpoints, verbose)]
    if on_epoch is not None and not isinstance(model, NeuralMIL):
        raise BagwiseError(f"{type(model).__name__} learns in no epochs of which to tell on_epoch: leave it out")
    # What is wrong on purpose stops by the bags that it is tested on.
    stopping = [split._replace(validation=split.test) for split in splits] if epoch_by_test else splits
    answers = out_of_fold(
        models,
        bags,
        stopping,
        target,
        sample_weight=weights,
        n_jobs=n_jobs,
        checkpoints=checkpoints,
        verbose=verbose,
        on_epoch=None if on_epoch is None else _telling(on_epoch, splits),
    )
    found = gathered(division, bags, target, answers, scoring=scoring, sample_weight=weights)
    return replace(found, protocol="leaky") if epoch_by_test else found


def gathered(
    division: Division,
    bags: Bags,
    target: Target,
    answers: Sequence[Said],
    *,
    scoring: Any = None,
    sample_weight: NDArray[np.float64] | None = None,
) -> CrossValidation:
    """Put together what the models of all folds say, and measure each fold.

    Parameters
    ----------
    division
        The folds.
    bags
        Bags with labels.
    target
        What all labels are.
    answers
        What the model of each fold says of its test bags.
    scoring, sample_weight
        As in `cross_validate`.

    Returns
    -------
    CrossValidation

    Examples
    --------
    >>> from bagwise.evaluation.protocol import Folds
    >>> from bagwise.targets.classes import ClassTarget
    >>> bags = Bags.from_arrays([[[float(bag % 2)]] for bag in range(12)], labels=[0, 1] * 6)
    >>> folds = Folds(bags, folds=3)
    >>> said = [Said(np.array([0, 1]), np.full((len(split.test), 2), 0.5), None) for split in folds.splits]
    >>> gathered(folds, bags, ClassTarget.of(bags.labels), said).mean("auc")
    0.5
    """
    assert bags.labels is not None
    scoring, splits = scorers(target, scoring), division.splits
    width = answers[0].answers.shape[1] if target.names is None else len(target.names)
    told = np.full((*division.assignment.shape, width), np.nan)
    scores = {metric: np.full((division.repeats, division.folds), np.nan) for metric in scoring}
    for (repeat, fold, _, test, _), answer in zip(splits, answers, strict=True):
        told[repeat, test] = answer.in_columns_of(target)
        counted = None if sample_weight is None else sample_weight[test]
        if counted is not None and not counted.any():
            continue
        of_fold = measure(
            target, bags.labels[test], told[repeat, test], scoring=scoring, weights=counted, decided=answer.decided
        )
        for metric, value in of_fold.items():
            scores[metric][repeat, fold] = value
    return CrossValidation(
        protocol=division.name,
        target=target,
        labels=bags.labels,
        assignment=division.assignment,
        answers=told,
        attention=_of_instances(division, bags, [answer.weights_in_columns_of(target) for answer in answers]),
        scores=scores,
        weight_axis="classes" if all(answer.weight_axis == "classes" for answer in answers) else "heads",
        sample_weight=sample_weight,
        decided=_decided(target, told, splits, answers),
        thresholds=_thresholds(division, answers),
        groups=bags.groups,
        scoring=scoring,
        contributions=_of_instances(division, bags, [answer.contributions_in_columns_of(target) for answer in answers]),
    )


def _of_instances(
    division: Division, bags: Bags, told: Sequence[NDArray[np.floating] | None]
) -> NDArray[np.float64] | None:
    """Put together what the models of all folds say of instances, where all say something alike."""
    given = [one for one in told if one is not None]
    if len(given) < len(told) or len({one.shape[1:] for one in given}) > 1:
        return None
    whole = np.full((division.repeats, len(bags.instances), *given[0].shape[1:]), np.nan)
    for split, one in zip(division.splits, given, strict=True):
        whole[split.repeat, bags.rows(split.test)] = one
    return whole


def _decided(
    target: Target, told: NDArray[np.float64], splits: Sequence[Split], answers: Sequence[Said]
) -> NDArray[Any] | None:
    if all(answer.decided is None for answer in answers):
        return None
    decided = target.predicted(told)
    for split, answer in zip(splits, answers, strict=True):
        if answer.decided is not None:
            decided[split.repeat, split.test] = answer.decided
    return decided


def _thresholds(division: Division, answers: Sequence[Said]) -> list[list[Any]] | None:
    if all(answer.threshold is None for answer in answers):
        return None
    found: list[list[Any]] = [[] for _ in range(division.repeats)]
    for split, answer in zip(division.splits, answers, strict=True):
        found[split.repeat].append(answer.threshold)
    return found


def _telling(on_epoch: OnEpoch, splits: Sequence[Split]) -> OnEpoch:
    def tell(measured: Mapping[str, float]) -> None:
        split = splits[int(measured["member"])]
        on_epoch({"repeat": split.repeat, "fold": split.fold, **measured})

    return tell


def _check_learnable(division: Division, bags: Bags) -> None:
    labels = bags.labels
    assert labels is not None
    for split in division.splits:
        classes = np.unique(labels[split.train])
        for strange in split.validation[~np.isin(labels[split.validation], classes)][:1]:
            raise BagwiseError(
                f"{division.called(split)} stops by bag {bags.names[strange]!r}, whose label {labels[strange]!s} no bag"
                " has that it learns from: take the bag out of the validation"
            )
        if len(classes) < 2:
            raise BagwiseError(
                f"{division.called(split)} learns from bags of class {classes[0]!s} alone: each fold must learn from"
                " two classes or more, so divide the bags otherwise"
            )


def _best_by_validation(
    candidates: Sequence[BagEstimator],
    bags: Bags,
    trains: Sequence[NDArray[np.int64]],
    sample_weight: ArrayLike | None,
    n_jobs: int | None,
    checkpoints: Path | None,
    verbose: bool,
) -> list[NeuralMIL]:
    """Give, for each fold, the candidate that does best on validation bags after its last epoch; not fitted."""
    judged: list[list[tuple[float, float]]] = []
    for number, candidate in enumerate(candidates):
        assert isinstance(candidate, NeuralMIL)
        model = clone_with_seed(candidate)
        models = fit_members(
            [_to_the_end(model, bags, train) for train in trains],
            bags,
            trains,
            sample_weight=sample_weight,
            n_jobs=n_jobs,
            checkpoints=None if checkpoints is None else checkpoints / f"candidate-{number}",
            verbose=verbose,
        )
        last = [fitted.history_[-1] for fitted in models]
        judged.append([(entry["validation_error"], entry["validation_loss"]) for entry in last])
    best = [min(range(len(candidates)), key=lambda n: judged[n][fold]) for fold in range(len(trains))]
    return [clone(candidates[number]) for number in best]


def _to_the_end(model: NeuralMIL, bags: Bags, train: NDArray[np.int64]) -> NeuralMIL:
    """Ask a copy to train all its epochs, and to measure validation bags after each."""
    recipe = model._recipe(Facts.of(bags, train, model._target_of(bags, train)))
    patient: NeuralMIL = clone(model).set_params(epochs=recipe.settings.epochs, patience=recipe.settings.epochs)
    return patient
