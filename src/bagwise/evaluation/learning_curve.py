"""Would more bags help: what a method reaches that learns from parts of the training bags of each fold."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone

from bagwise.bags import Bags, BagsLike, as_bags
from bagwise.checks import valid_weights
from bagwise.errors import BagwiseError
from bagwise.evaluation.baselines import headline
from bagwise.evaluation.cross_validation import CrossValidation, gathered
from bagwise.evaluation.divisions import FoldsLike, divide
from bagwise.evaluation.metrics import METRICS
from bagwise.evaluation.out_of_fold import out_of_fold
from bagwise.evaluation.protocol import Division
from bagwise.evaluation.significance import corrected_interval
from bagwise.methods.base import BagEstimator, clone_with_seed

__all__ = ["SHARES", "Gain", "LearningCurve", "learning_curve", "nested_parts"]

SHARES = (0.25, 0.5, 0.75)
_LITTLE = 0.01  # of a metric
_FEWEST_OF_A_CLASS = 2  # of which a method learns something


class Gain(NamedTuple):
    """What the last bags were worth.

    Attributes
    ----------
    metric
        What is compared.
    begin, end
        How many bags were learnt from, in the mean over folds, where the curve is compared with its end.
    difference, low, high
        By how much the metric is better at the end, and the 95 % interval of that by the corrected resampled t-test;
        NaN where fewer than two folds define it.
    told
        A sentence.

    Examples
    --------
    >>> Gain("auc", 40, 80, 0.03, 0.01, 0.05, "more bags are likely to help").difference
    0.03
    """

    metric: str
    begin: float
    end: float
    difference: float
    low: float
    high: float
    told: str


@dataclass(frozen=True, eq=False)
class LearningCurve:
    """What a method reaches with parts of the training bags.

    Attributes
    ----------
    shares
        Of the training bags of each fold, rising; the last is 1.
    bags
        How many these are, in the mean over folds.
    found
        What the cross-validations found, on the same folds.
    test_share
        As `corrected_t_test` takes it.
    left_out
        Shares of which a fold would have fewer than two bags of a class.
    """

    shares: tuple[float, ...]
    bags: tuple[float, ...]
    found: tuple[CrossValidation, ...]
    test_share: float
    left_out: tuple[float, ...] = ()

    def rows(self) -> list[dict[str, Any]]:
        """Sum up each metric at each share.

        Returns
        -------
        list of dict
            The ``share``, how many ``bags`` it is, and a row of `CrossValidation.rows`.
        """
        return [
            {"share": share, "bags": bags, **row}
            for share, bags, found in zip(self.shares, self.bags, self.found, strict=True)
            for row in found.rows()
        ]

    def gain(self, metric: str | None = None) -> Gain:
        """Say what the last bags were worth: those beyond half of them.

        Parameters
        ----------
        metric
            Which; None takes AUC, or where the target has none the first of its metrics.

        Returns
        -------
        Gain

        Raises
        ------
        BagwiseError
            If there is no such metric.
        """
        whole = self.found[-1]
        metric = headline(whole.target) if metric is None else metric
        if metric not in whole.scores:
            raise BagwiseError(f"there is no metric {metric!r}: the metrics are {', '.join(whole.scores)}")
        place = min(range(len(self.shares) - 1), key=lambda number: abs(self.shares[number] - 0.5))
        before, begin, end = self.found[place], self.bags[place], self.bags[-1]
        known = METRICS.get(metric)
        sign = 1 if known is None or known.higher else -1
        title = metric if known is None else known.title
        difference = sign * (whole.mean(metric) - before.mean(metric))
        gets = "worse" if difference < 0 else "better"
        counted = f"From {begin:.0f} to {end:.0f} training bags {title} gets {gets} by {abs(difference):.3f}"
        try:
            low, high = sorted(
                sign * value
                for value in corrected_interval(whole.scores[metric], before.scores[metric], test_share=self.test_share)
            )
        except BagwiseError:
            told = f"{counted}, and fewer than two folds define both: how much of it is luck nobody can tell."
            return Gain(metric, begin, end, difference, np.nan, np.nan, told)
        counted += f" (95 % interval of the gain {low:+.3f} to {high:+.3f})"
        if low > 0:
            told = f"{counted}: more bags are likely to help, though a further doubling seldom adds as much."
        elif high < _LITTLE:
            told = f"{counted}: more bags would hardly help."
        else:
            told = f"{counted}: whether more bags would help these folds cannot tell."
        return Gain(metric, begin, end, difference, low, high, told)


def learning_curve(
    model: BagEstimator,
    X: BagsLike,
    y: ArrayLike | None = None,
    *,
    shares: Sequence[float] = SHARES,
    whole: CrossValidation | None = None,
    sample_weight: ArrayLike | None = None,
    folds: FoldsLike = 10,
    repeats: int = 1,
    seed: int = 0,
    scoring: Any = None,
    n_jobs: int | None = -1,
    checkpoints: str | Path | None = None,
    verbose: bool = False,
) -> LearningCurve:
    """Cross-validate a method that learns from parts of the training bags; all parts of all folds train together.

    A larger part contains the smaller ones, has as much of each class (or of low and high numbers), and no part of a
    group. Tests are those of the whole cross-validation. At each share the method decides for itself what suits so many
    bags, as `fit` does.

    Parameters
    ----------
    model
        An estimator; it is not changed.
    X, y, sample_weight, folds, repeats, scoring, n_jobs, checkpoints, verbose
        As in `bagwise.cross_validate`.
    shares
        Of the training bags of each fold, above 0 and below 1.
    whole
        What a cross-validation on these folds found, if that was done; None does it here, in the same training.
    seed
        Decides which bags are in a part, and the divisions as in `bagwise.cross_validate`.

    Returns
    -------
    LearningCurve

    Raises
    ------
    BagwiseError
        If a share is none, no share leaves two bags of each class in every fold, or as `bagwise.cross_validate` says.

    Examples
    --------
    >>> import bagwise as bw
    >>> bags = bw.Bags.from_arrays([[[float(bag % 2)]] for bag in range(48)], labels=[0, 1] * 24)
    >>> curve = learning_curve(bw.make("mean-logistic", random_state=0), bags, folds=3, n_jobs=1)
    >>> curve.bags, [found.mean() for found in curve.found]
    ((8.0, 16.0, 24.0, 32.0), [1.0, 1.0, 1.0, 1.0])
    """
    parts = sorted(set(shares))
    if not parts or not all(isinstance(share, int | float) and 0 < share < 1 for share in parts):
        raise BagwiseError(f"shares are {list(shares)}: give some above 0 and below 1, such as 0.25 and 0.5")
    bags = as_bags(X, y)
    division = divide(bags, folds, repeats, seed, model.target)
    assert bags.labels is not None
    target = model._target_of(bags, np.arange(len(bags)))
    strata = bags.labels if target.kind == "classes" else target.strata(bags.labels, division.folds)
    weights = None if sample_weight is None else valid_weights(sample_weight, bags.names)
    divisions = _divisions(bags, division, np.unique(strata, return_inverse=True)[1], parts, seed)
    kept = [share for share in parts if target.kind != "classes" or _learnable(divisions[share], bags)]
    if not kept:
        raise BagwiseError(
            f"of no share of {', '.join(map(str, parts))} each fold has {_FEWEST_OF_A_CLASS} training bags of every"
            " class: there are too few bags for a learning curve"
        )
    asked = [divisions[share] for share in kept] + ([division] if whole is None else [])
    seeded = clone_with_seed(model)
    splits = [split for one in asked for split in one.splits]
    said = out_of_fold(
        [clone(seeded) for _ in splits],
        bags,
        splits,
        target,
        sample_weight=weights,
        n_jobs=n_jobs,
        checkpoints=None if checkpoints is None else Path(checkpoints),
        verbose=verbose,
    )
    count = len(division.splits)
    found = [
        gathered(one, bags, target, said[number * count :][:count], scoring=scoring, sample_weight=weights)
        for number, one in enumerate(asked)
    ]
    return LearningCurve(
        (*kept, 1.0),
        tuple(float(np.mean([len(split.train) for split in one.splits])) for one in (*asked[: len(kept)], division)),
        (*found, *([] if whole is None else [whole])),
        division.test_share,
        tuple(share for share in parts if share not in kept),
    )


def nested_parts(
    strata: NDArray[np.int64],
    shares: Sequence[float],
    rng: np.random.Generator,
    groups: NDArray[Any] | None = None,
) -> list[NDArray[np.int64]]:
    """Choose parts of bags, each with its share of every stratum, of which a larger one contains the smaller ones.

    Parameters
    ----------
    strata
        What each bag is like, shape (n,).
    shares
        How much of the bags each part is.
    rng
        Chooses.
    groups
        The group of each bag, shape (n,), of which there is all in a part or nothing, the stratum being that of most of
        its bags; a part is then as near to its share as groups allow. None where all may be parted.

    Returns
    -------
    list of array
        For each share its positions, rising.

    Examples
    --------
    >>> parts = nested_parts(np.array([0, 1] * 4), [0.5, 0.25], np.random.default_rng(0))
    >>> [np.bincount(part % 2).tolist() for part in parts], set(parts[1].tolist()) < set(parts[0].tolist())
    ([[2, 2], [1, 1]], True)
    """
    unit = np.arange(len(strata)) if groups is None else np.unique(groups, return_inverse=True)[1]
    counts = np.zeros((unit.max() + 1, strata.max() + 1), np.int64)
    np.add.at(counts, (unit, strata), 1)
    of_unit, sizes = counts.argmax(axis=1), counts.sum(axis=1)
    order = rng.permutation(len(counts))
    # Those of each stratum are spread evenly over the row, so that wherever it is cut there is as much of each.
    rank = np.empty(len(order))
    for stratum in np.unique(of_unit):
        its = order[of_unit[order] == stratum]
        rank[its] = (np.arange(len(its)) + 0.5) / len(its)
    row = order[np.argsort(rank[order], kind="stable")]
    reached = np.cumsum(sizes[row])
    parts = []
    for share in shares:
        cut = int(np.argmin(abs(reached - share * len(strata)))) + 1
        parts.append(np.flatnonzero(np.isin(unit, row[:cut])))
    return parts


def _divisions(
    bags: Bags, division: Division, strata: NDArray[np.int64], shares: Sequence[float], seed: int
) -> dict[float, Division]:
    """Make of a division those in which each fold learns from parts of its training bags."""
    splits: dict[float, list[Any]] = {share: [] for share in shares}
    for split in division.splits:
        rng = np.random.default_rng([seed, split.repeat, split.fold])
        groups = None if bags.groups is None else bags.groups[split.train]
        for share, part in zip(shares, nested_parts(strata[split.train], shares, rng, groups), strict=True):
            splits[share].append(split._replace(train=split.train[part]))
    return {share: Division(bags, splits[share], division.name) for share in shares}


def _learnable(division: Division, bags: Bags) -> bool:
    """Say whether there are two bags or more of every class in all that folds learn from."""
    assert bags.labels is not None
    classes, codes = np.unique(bags.labels, return_inverse=True)
    counts = [np.bincount(codes[split.train], minlength=len(classes)) for split in division.splits]
    return bool((np.array(counts) >= _FEWEST_OF_A_CLASS).all())
