"""How far a metric of one model may be off by the luck of which bags it was measured on."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from scipy.optimize import brentq

from bagwise.checks import check_count, valid_weights
from bagwise.errors import BagwiseError
from bagwise.evaluation.delong import auc_areas
from bagwise.evaluation.judged import Judged, Told
from bagwise.evaluation.metrics import METRICS, Scorer, scorers
from bagwise.evaluation.resampled import resampled, share_of

__all__ = ["FEW", "Interval", "auc_interval", "metric_intervals", "share_interval"]

FEW = 30  # bags, or groups, of a class: below that an interval is told to be rough

_UNDEFINED = 0.05  # more of the draws than that are told
_NOWHERE = (np.nan, np.nan)


class Interval(NamedTuple):
    """Between what numbers a metric lies, on fresh bags of the same kind, of one model that stays as it is.

    It knows of the luck of the bags that were measured alone. How the metric spreads over models that learn anew is
    another question, which folds and repetitions answer.

    Attributes
    ----------
    low, high
        The ends; NaN where the bags leave the metric, or its interval, undefined.
    level
        In what share of studies such an interval is to hold the truth.
    how
        What made it: ``"Wilson"``, ``"DeLong"``, ``"Obuchowski"`` or ``"bootstrap"``.
    warning
        What makes it rough, as a sentence without an end; else None.

    Examples
    --------
    >>> print(Interval(0.88, 0.95, 0.95, "bootstrap"))
    [0.880, 0.950]
    """

    low: float
    high: float
    level: float
    how: str
    warning: str | None = None

    def __str__(self) -> str:
        return f"[{self.low:.3f}, {self.high:.3f}]"


def metric_intervals(
    target: Told,
    labels: NDArray[Any],
    answers: NDArray[Any],
    *,
    metrics: Any = None,
    groups: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    decided: NDArray[Any] | None = None,
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> dict[str, Interval]:
    """Say how far the metrics of one model on one set of bags may be off, by the luck of the bags.

    Shares of bags (accuracy, exact match; of two classes precision and recall) have `share_interval`, the AUC of two
    classes has `auc_interval`. Everything else is measured again on draws of the bags with replacement, or of the
    groups where there are some: a bootstrap, whose percentiles are taken further out by as much as Student's t is wider
    than the normal distribution. Classes are drawn as they come, because their shares among fresh bags would vary too.

    Parameters
    ----------
    target, labels, answers, weights, decided
        As in `bagwise.evaluation.metrics.measure`.
    metrics
        What is measured, as its ``scoring``; None: ``target.metrics``.
    groups
        The group of each bag, shape (B,), whose bags may be alike (slides of a patient, or several answers about one
        bag); None: each bag is one.
    level
        In what share of studies an interval is to hold the truth, above 0 and below 1.
    draws
        How many draws a bootstrap takes.
    seed
        Decides the draws.

    Returns
    -------
    dict
        An `Interval` for each name.

    Raises
    ------
    BagwiseError
        If the metrics, the weights, the groups, the level or the number of draws will not do.

    References
    ----------
    T. C. Hesterberg: What Teachers Should Know About the Bootstrap. The American Statistician 69, 2015 (the
    expanded percentiles).

    Examples
    --------
    >>> from bagwise.targets.classes import ClassTarget
    >>> rng = np.random.default_rng(0)
    >>> ill = rng.random(200) < 0.5
    >>> probability = 1 / (1 + np.exp(-rng.normal(size=200) - 2 * ill))
    >>> answers = np.stack([1 - probability, probability], axis=1)
    >>> found = metric_intervals(ClassTarget.of([False, True]), ill, answers, metrics=["auc", "fscore"])
    >>> print(found["auc"], found["auc"].how, found["fscore"], found["fscore"].how)
    [0.864, 0.950] DeLong [0.726, 0.844] bootstrap
    """
    asked = scorers(target, metrics)
    _check_level(level)
    check_count("draws", draws)
    labels, answers = np.asarray(labels), np.asarray(answers)
    weight = None if weights is None else valid_weights(weights, np.arange(len(labels)).astype(object))
    group = _group_of(groups, len(labels))
    if weight is not None:
        kept = weight > 0  # a bag that does not count is none
        labels, answers, weight = labels[kept], answers[kept], weight[kept]
        group = None if group is None else _group_of(group[kept], len(labels))
        decided = None if decided is None else decided[kept]
        weight = None if (weight == weight[0]).all() else weight
    judged = Judged(target, labels, answers, None, decided)
    rough = _rough(judged, group)
    found: dict[str, Interval] = {}
    drawn: dict[str, str | Scorer] = {}
    for name, one in asked.items():
        share = share_of(one, judged) if isinstance(one, str) else None
        if share is not None:
            right, of = share
            found[name] = share_interval(
                right[of],
                groups=None if group is None else group[of],
                weights=None if weight is None else weight[of],
                level=level,
            )
        elif one == "auc" and target.kind == "classes" and len(judged.events) == 1 and judged.events[0].differs:
            [event] = judged.events
            found[name] = auc_interval(event.outcomes, event.probabilities, groups=group, weights=weight, level=level)
        else:
            drawn[name] = one
    if drawn:
        found |= _bootstrap(drawn, judged, group, weight, level, draws, seed)
    return {name: _with(found[name], rough) for name in asked}


def share_interval(
    right: ArrayLike, *, groups: ArrayLike | None = None, weights: ArrayLike | None = None, level: float = 0.95
) -> Interval:
    """Say between what numbers a share lies: Wilson's interval.

    Where bags come in groups or count differently, the share counts as one of fewer bags: of so many as would make it
    vary as much as it varies over the groups, with Student's t for so few of them.

    Parameters
    ----------
    right
        Of which bags it is true, bool, shape (B,).
    groups, weights
        As in `metric_intervals`.
    level
        In what share of studies the interval is to hold the truth.

    Returns
    -------
    Interval

    Raises
    ------
    BagwiseError
        If the level or the shapes will not do.

    References
    ----------
    E. B. Wilson: Probable Inference, the Law of Succession, and Statistical Inference. JASA 22, 1927. E. L. Korn,
    B. I. Graubard: Confidence Intervals for Proportions with Small Expected Number of Positive Counts. Survey
    Methodology 24, 1998 (the number of bags that groups are worth).

    Examples
    --------
    >>> print(share_interval([True] * 45 + [False] * 5))
    [0.786, 0.957]
    >>> print(share_interval([True] * 45 + [False] * 5, groups=[bag // 5 for bag in range(50)]))
    [0.523, 0.987]
    """
    _check_level(level)
    true = np.asarray(right, bool)
    group = _group_of(groups, len(true))
    noun = "bags" if group is None else "groups"
    group = np.arange(len(true)) if group is None else group
    count = len(np.unique(group))
    warning = _few(count, noun, "")
    if not count:
        return Interval(*_NOWHERE, level, "Wilson", warning)
    weight = np.ones(len(true)) if weights is None else np.asarray(weights, np.float64)
    share = float(np.average(true, weights=weight))
    worth, reach = float(len(true)), _normal(level)
    if (groups is not None or weights is not None) and count > 1:
        surplus = np.bincount(group, weight * (true - share)) / weight.sum()
        variance = float(surplus @ surplus) * count / (count - 1)
        alike = _worth(np.bincount(group, weight).astype(float))  # of groups whose bags are all alike
        worth = min(share * (1 - share) / variance, _worth(weight)) if variance > 0 else alike
        reach = float(stats.t.ppf((1 + level) / 2, count - 1))
    elif groups is not None:
        return Interval(*_NOWHERE, level, "Wilson", warning)
    middle = (share + reach**2 / (2 * worth)) / (1 + reach**2 / worth)
    half = reach / (1 + reach**2 / worth) * np.sqrt(share * (1 - share) / worth + reach**2 / (4 * worth**2))
    return Interval(max(float(middle - half), 0.0), min(float(middle + half), 1.0), level, "Wilson", warning)


def auc_interval(
    outcomes: ArrayLike,
    scores: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    level: float = 0.95,
) -> Interval:
    """Say between what numbers an area under the ROC curve lies.

    As Wilson's interval of a share, it holds the areas from which what was found is not too far off, each by the
    variance that such an area would have. That has the form that Newcombe gives it, by the numbers of bags alone, times
    how far DeLong's variance of these scores (Obuchowski's, of groups) is from it. Where DeLong's is the smaller one it
    is trusted as far as there are bags to show it: of scores that rank nearly all bags rightly it is far too small.

    Parameters
    ----------
    outcomes, scores
        Which bags are positive, bool, and the higher the likelier they are, both of shape (B,).
    groups, weights
        As in `metric_intervals`.
    level
        In what share of studies the interval is to hold the truth.

    Returns
    -------
    Interval

    Raises
    ------
    BagwiseError
        If the level will not do, or as in `bagwise.evaluation.delong.auc_areas`.

    References
    ----------
    R. G. Newcombe: Confidence Intervals for an Effect Size Measure Based on the Mann-Whitney Statistic, part 2.
    Statistics in Medicine 25, 2006 (method 5).

    Examples
    --------
    >>> print(auc_interval([False] * 10 + [True] * 10, range(20)))
    [0.800, 1.000]
    """
    _check_level(level)
    found = auc_areas(outcomes, scores, groups=groups, weights=weights)
    positive = np.asarray(outcomes, bool)
    group = _group_of(groups, len(positive))
    weight = np.ones(len(positive)) if weights is None else np.asarray(weights, np.float64)
    own = np.arange(len(positive)) if group is None else group
    worth = [_worth(weight[of]) for of in (positive, ~positive)]
    fewest = min(len(np.unique(own[of & (weight > 0)])) for of in (positive, ~positive))
    area, variance = float(found.areas[0]), float(found.covariance[0, 0])

    def by_numbers(of: float) -> float:
        half = sum(worth) / 2 - 1
        return of * (1 - of) * (1 + half * (1 - of) / (2 - of) + half * of / (1 + of)) / (worth[0] * worth[1])

    if 0 < area < 1 and variance > 0:
        factor = variance / by_numbers(area)
        factor = factor if factor > 1 else (fewest * factor + FEW) / (fewest + FEW)
    else:  # as if all bags of a group were alike
        alike = [_worth(np.bincount(own[of], weight[of]).astype(float)) for of in (positive, ~positive)]
        factor = max(one / other for one, other in zip(worth, alike, strict=True))
    reach = _normal(level) if group is None or fewest < 2 else float(stats.t.ppf((1 + level) / 2, fewest - 1))

    def too_far(of: float) -> float:
        return (of - area) ** 2 - reach**2 * factor * by_numbers(of)

    near = 1e-12  # at an area of 0 or 1 it is 0 itself
    low = brentq(too_far, 0.0, min(area, 1 - near)) if area > 0 else 0.0
    high = brentq(too_far, max(area, near), 1.0) if area < 1 else 1.0
    how, noun = ("DeLong", "bags") if group is None else ("Obuchowski", "groups")
    return Interval(float(low), float(high), level, how, _few(fewest, noun, " of an outcome"))


# ---- the bootstrap ----------------------------------------------------------------------------------------


def _bootstrap(
    asked: dict[str, str | Scorer],
    judged: Judged,
    group: NDArray[np.int64] | None,
    weight: NDArray[np.float64] | None,
    level: float,
    draws: int,
    seed: int,
) -> dict[str, Interval]:
    own = np.arange(len(judged.answers)) if group is None else group
    count = len(np.unique(own))
    if count < 2:
        alone = Interval(*_NOWHERE, level, "bootstrap", "one bag or group alone says nothing of others")
        return dict.fromkeys(asked, alone)
    outside = float(stats.norm.cdf(np.sqrt(count / (count - 1)) * stats.t.ppf((1 - level) / 2, count - 1)))
    found = {}
    for name, drawn in resampled(asked, judged, own, weight, draws, seed).items():
        known = drawn[np.isfinite(drawn)]
        if not len(known):
            found[name] = Interval(*_NOWHERE, level, "bootstrap", "these bags leave it undefined")
            continue
        undefined = 1 - len(known) / draws
        warning = f"{undefined:.0%} of the draws leave it undefined" if undefined > _UNDEFINED else None
        one = asked[name]
        bounds = METRICS[one].bounds if isinstance(one, str) else (-np.inf, np.inf)
        low, high = (float(end) for end in np.quantile(known, [outside, 1 - outside]))
        low, high = _beyond_the_seen(low, high, bounds, _fewest(judged, group)[0], level)
        found[name] = Interval(low, high, level, "bootstrap", warning)
    return found


def _beyond_the_seen(
    low: float, high: float, bounds: tuple[float, float], fewest: int, level: float
) -> tuple[float, float]:
    """Widen an interval without width at the best or the worst there is: no error in n bags is not none in all."""
    least, most = bounds
    if low == high and low in bounds and np.isfinite(most - least):
        square = _normal(level) ** 2
        missing = (most - least) * square / (fewest + square)  # as Wilson's interval of no error in so many
        return (most - missing, most) if low == most else (least, least + missing)
    return low, high


# ---- how many there are -----------------------------------------------------------------------------------


def _rough(judged: Judged, group: NDArray[np.int64] | None) -> str | None:
    return _few(*_fewest(judged, group))


def _fewest(judged: Judged, group: NDArray[np.int64] | None) -> tuple[int, str, str]:
    """Count the bags, or groups, of what there are fewest of, and say of what."""
    noun = "bags" if group is None else "groups"
    kind = judged.target.kind
    own = np.arange(len(judged.answers)) if group is None else group

    def count(of: NDArray[np.bool_]) -> int:
        return len(np.unique(own[of]))

    everything = (count(np.ones(len(own), bool)), noun, "")
    if kind in ("classes", "ordinal"):
        each = [(count(judged.codes == code), noun, f" of {judged.names[code]!s}") for code in np.unique(judged.codes)]
    elif kind == "multi-label":
        known = ~np.isnan(judged.labels)
        of = [judged.labels[:, column] == value for column in range(known.shape[1]) for value in (0, 1)]
        each = [(count(one), noun, " with, or without, a label") for one in of if one.any()]
    elif kind == "survival":
        seen, _ = judged.labels.dtype.names or ()
        each = [(count(judged.labels[seen]), noun, " whose event was seen")]
    else:
        each = []
    return min([everything, *each], key=lambda one: one[0])


def _few(count: int, noun: str, of: str) -> str | None:
    if count >= FEW:
        return None
    return f"there are only {count} {noun if count != 1 else noun[:-1]}{of}: an interval from fewer than {FEW} is rough"


def _with(interval: Interval, rough: str | None) -> Interval:
    return interval if rough is None or interval.warning is not None else interval._replace(warning=rough)


def _worth(weights: NDArray[np.float64]) -> float:
    """Say how many that count the same these are worth (Kish)."""
    return float(weights.sum() ** 2 / np.sum(weights**2))


def _normal(level: float) -> float:
    return float(stats.norm.ppf((1 + level) / 2))


def _group_of(groups: ArrayLike | None, count: int) -> NDArray[np.int64] | None:
    """Give groups numbers from 0 on."""
    if groups is None:
        return None
    given = np.asarray(groups)
    if given.shape != (count,):
        raise BagwiseError(f"groups have shape {given.shape}: give one for each of the {count} bags")
    return np.unique(given, return_inverse=True)[1].astype(np.int64)


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise BagwiseError(f"level is {level!r}: it must be above 0 and below 1, such as 0.95")
