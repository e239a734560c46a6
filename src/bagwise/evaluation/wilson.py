"""Intervals of shares: of bags that are right, and of pairs of bags that are ranked rightly.

All are Wilson's at heart: they hold the shares from which what was found is not too far off.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from scipy.optimize import brentq

from bagwise.errors import BagwiseError
from bagwise.evaluation.delong import auc_areas
from bagwise.survival import concordance_of_each

__all__ = [
    "FEW",
    "Interval",
    "auc_interval",
    "check_level",
    "concordance_interval",
    "few",
    "mean_share_interval",
    "numbered",
    "share_interval",
    "wilson",
]

FEW = 30  # bags, or groups, of a class: below that an interval is told to be rough


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
        As in `bagwise.evaluation.intervals.metric_intervals`.
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
    check_level(level)
    true = np.asarray(right, bool)
    group = numbered(groups, len(true))
    weight = np.ones(len(true)) if weights is None else np.asarray(weights, np.float64)
    own = np.arange(len(true)) if group is None else group
    count = len(np.unique(own))
    warning = few(count, "bags" if group is None else "groups", " in the share")
    if not count or (count < 2 and group is not None):
        return Interval(np.nan, np.nan, level, "Wilson", warning)
    share = float(np.average(true, weights=weight))
    if group is None and weights is None:
        return Interval(*wilson(share, len(true), _reach(level)), level, "Wilson", warning)
    worth = min(_worth_by_spread(share, weight * (true - share) / weight.sum(), own, weight), _worth(weight))
    return Interval(*wilson(share, worth, _reach(level, count)), level, "Wilson", warning)


def mean_share_interval(
    right: ArrayLike,
    of_each: Sequence[NDArray[np.bool_]],
    *,
    groups: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    level: float = 0.95,
) -> Interval:
    """Say between what numbers the mean of several shares lies, such as of the bags of each class that are right.

    Wilson's intervals of the shares are put together as if these were independent: how far the ends lie off is squared
    and added.

    Parameters
    ----------
    right
        Of which bags it is true, bool, shape (B,).
    of_each
        For each share which bags it is counted among, bool, shape (B,).
    groups, weights
        As in `bagwise.evaluation.intervals.metric_intervals`.
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
    G. Y. Zou, A. Donner: Construction of Confidence Limits about Effect Measures. Statistics in Medicine 27, 2008.

    Examples
    --------
    >>> right, ill = np.array([True] * 45 + [False] * 5), np.arange(50) % 2 == 0
    >>> print(mean_share_interval(right, [ill, ~ill]))
    [0.776, 0.949]
    """
    true = np.asarray(right, bool)
    shares, ends, warning = [], [], None
    for of in of_each:
        kept = {
            name: None if values is None else np.asarray(values)[of]
            for name, values in (("groups", groups), ("weights", weights))
        }
        low, high, _, _, rough = share_interval(true[of], **kept, level=level)
        shares.append(float(np.average(true[of], weights=kept["weights"])))
        ends.append((low, high))
        warning = warning or rough
    off = np.sqrt(np.sum((np.array(ends) - np.array(shares)[:, None]) ** 2, axis=0)) / len(shares)
    mean = float(np.mean(shares))
    return Interval(mean - float(off[0]), mean + float(off[1]), level, "Wilson", warning)


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
        As in `bagwise.evaluation.intervals.metric_intervals`.
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
    check_level(level)
    found = auc_areas(outcomes, scores, groups=groups, weights=weights)
    positive = np.asarray(outcomes, bool)
    group = numbered(groups, len(positive))
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
    reach = _reach(level) if group is None or fewest < 2 else _reach(level, fewest)

    def too_far(of: float) -> float:
        return (of - area) ** 2 - reach**2 * factor * by_numbers(of)

    near = 1e-12  # at an area of 0 or 1 it is 0 itself
    low = brentq(too_far, 0.0, min(area, 1 - near)) if area > 0 else 0.0
    high = brentq(too_far, max(area, near), 1.0) if area < 1 else 1.0
    how, noun = ("DeLong", "bags") if group is None else ("Obuchowski", "groups")
    return Interval(float(low), float(high), level, how, few(fewest, noun, " of an outcome"))


def concordance_interval(
    event: ArrayLike,
    time: ArrayLike,
    risk: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    level: float = 0.95,
) -> Interval:
    """Say between what numbers a C-index lies: Wilson's interval of the share of pairs.

    The pairs count as so many independent ones as would make the share vary as much as it varies over the bags, or over
    the groups where there are some.

    Parameters
    ----------
    event, time, risk
        As in `bagwise.survival.concordance`.
    groups, weights
        As in `bagwise.evaluation.intervals.metric_intervals`.
    level
        In what share of studies the interval is to hold the truth.

    Returns
    -------
    Interval
        NaN where no pair is comparable.

    Raises
    ------
    BagwiseError
        If the level or the shapes will not do.

    Examples
    --------
    >>> print(concordance_interval([True] * 20, range(20), [-time for time in range(20)]))
    [0.820, 1.000]
    """
    check_level(level)
    concordant, comparable = concordance_of_each(event, time, risk, weights)
    group = numbered(groups, len(concordant))
    own = np.arange(len(concordant)) if group is None else group
    weight = np.ones(len(concordant)) if weights is None else np.asarray(weights, np.float64)
    seen = len(np.unique(own[np.asarray(event, bool) & (weight > 0)]))
    warning = few(seen, "bags" if group is None else "groups", " whose event was seen")
    count = len(np.unique(own[weight > 0]))
    if not comparable.any() or count < 2:
        return Interval(np.nan, np.nan, level, "Wilson", warning)
    share = float(concordant.sum() / comparable.sum())
    # A pair has two ends: what one bag adds to both sums changes the share by twice that.
    worth = _worth_by_spread(share, 2 * (concordant - share * comparable) / comparable.sum(), own, weight)
    return Interval(*wilson(share, worth, _reach(level, count)), level, "Wilson", warning)


def wilson(share: float, worth: float, reach: float) -> tuple[float, float]:
    """Give the ends of Wilson's interval.

    Parameters
    ----------
    share
        What was found, in [0, 1].
    worth
        Of how many, above 0; it need not be a whole number.
    reach
        How many standard errors it may be off: 1.96 for 95 %.

    Returns
    -------
    tuple of float
        The lower end and the upper one.

    Examples
    --------
    >>> [round(end, 3) for end in wilson(1.0, 30, 1.96)]
    [0.886, 1.0]
    """
    middle = (share + reach**2 / (2 * worth)) / (1 + reach**2 / worth)
    half = reach / (1 + reach**2 / worth) * float(np.sqrt(share * (1 - share) / worth + reach**2 / (4 * worth**2)))
    return max(middle - half, 0.0), min(middle + half, 1.0)


def few(count: int, noun: str, of: str) -> str | None:
    """Warn of too few for an interval that holds what it promises.

    Parameters
    ----------
    count, noun, of
        How many of what, such as 12, ``"bags"``, ``" of yes"``.

    Returns
    -------
    str or None
        None where there are `FEW` or more.

    Examples
    --------
    >>> few(12, "bags", " of yes")
    'there are only 12 bags of yes: an interval from fewer than 30 is rough'
    """
    if count >= FEW:
        return None
    counted = f"is only 1 {noun[:-1]}" if count == 1 else f"are only {count} {noun}"
    return f"there {counted}{of}: an interval from fewer than {FEW} is rough"


def numbered(groups: ArrayLike | None, count: int) -> NDArray[np.int64] | None:
    """Give groups numbers from 0 on.

    Parameters
    ----------
    groups
        One for each bag, or None.
    count
        The number of bags.

    Returns
    -------
    array or None
        Of each bag the number of its group, shape (B,).

    Raises
    ------
    BagwiseError
        If there is not one for each bag.

    Examples
    --------
    >>> numbered(["b", "a", "b"], 3).tolist()
    [1, 0, 1]
    """
    if groups is None:
        return None
    given = np.asarray(groups)
    if given.shape != (count,):
        raise BagwiseError(f"groups have shape {given.shape}: give one for each of the {count} bags")
    return np.unique(given, return_inverse=True)[1].astype(np.int64)


def check_level(level: float) -> None:
    """See that a level is one.

    Parameters
    ----------
    level
        Of an interval.

    Raises
    ------
    BagwiseError
        If it is not above 0 and below 1.

    Examples
    --------
    >>> check_level(0.95)
    """
    if not 0 < level < 1:
        raise BagwiseError(f"level is {level!r}: it must be above 0 and below 1, such as 0.95")


def _worth_by_spread(
    share: float, surplus: NDArray[np.float64], group: NDArray[np.int64], weight: NDArray[np.float64]
) -> float:
    """Say of how many independent bags a share would vary as much as over these groups; `surplus` is each bag's."""
    by_group = np.bincount(group, surplus)
    count = len(np.unique(group[weight > 0]))
    variance = float(by_group @ by_group) * count / (count - 1) if count > 1 else 0.0
    if variance > 0:
        return share * (1 - share) / variance
    return _worth(np.bincount(group, weight).astype(float))  # as if all bags of a group were alike


def _worth(weights: NDArray[np.float64]) -> float:
    """Say how many that count the same these are worth (Kish)."""
    return float(weights.sum() ** 2 / np.sum(weights**2))


def _reach(level: float, count: int | None = None) -> float:
    """Give the quantile of the normal distribution, or of Student's t for so many groups."""
    return float(stats.norm.ppf((1 + level) / 2) if count is None else stats.t.ppf((1 + level) / 2, count - 1))
