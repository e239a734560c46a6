"""How far a metric of one model may be off by the luck of which bags it was measured on."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from bagwise.checks import check_count, valid_weights
from bagwise.evaluation.judged import Judged, Told
from bagwise.evaluation.metrics import METRICS, Scorer, scorers
from bagwise.evaluation.resampled import resampled, share_of
from bagwise.evaluation.wilson import (
    Interval,
    auc_interval,
    check_level,
    concordance_interval,
    few,
    mean_share_interval,
    numbered,
    share_interval,
    wilson,
)

__all__ = ["Interval", "metric_intervals"]

_UNDEFINED = 0.05  # more of the draws than that are told


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

    Shares of bags (accuracy, exact match, balanced accuracy; of two classes precision and recall), the AUC of two
    classes and the C-index have intervals in closed form (`bagwise.evaluation.wilson`). Everything else is measured
    again on draws of the bags with replacement, or of the groups where there are some: a bootstrap, whose percentiles
    are corrected for how the draws lean, and taken further out by as much as Student's t is wider than the normal
    distribution. Classes are drawn as they come, because their shares among fresh bags would vary too.

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
    B. Efron, R. J. Tibshirani: An Introduction to the Bootstrap, 1993, section 14.3 (the correction). T. C.
    Hesterberg: What Teachers Should Know About the Bootstrap. The American Statistician 69, 2015
    (the expanded percentiles).

    Examples
    --------
    >>> from bagwise.targets.classes import ClassTarget
    >>> rng = np.random.default_rng(0)
    >>> ill = rng.random(200) < 0.5
    >>> probability = 1 / (1 + np.exp(-rng.normal(size=200) - 2 * ill))
    >>> answers = np.stack([1 - probability, probability], axis=1)
    >>> found = metric_intervals(ClassTarget.of([False, True]), ill, answers, metrics=["auc", "fscore"])
    >>> print(found["auc"], found["auc"].how, found["fscore"], found["fscore"].how)
    [0.864, 0.950] DeLong [0.724, 0.842] bootstrap
    """
    asked = scorers(target, metrics)
    check_level(level)
    check_count("draws", draws)
    labels, answers = np.asarray(labels), np.asarray(answers)
    weight = None if weights is None else valid_weights(weights, np.arange(len(labels)).astype(object))
    group = numbered(groups, len(labels))
    if weight is not None:
        kept = weight > 0  # a bag that does not count is none
        labels, answers, weight = labels[kept], answers[kept], weight[kept]
        group = None if group is None else numbered(group[kept], len(labels))
        decided = None if decided is None else decided[kept]
        weight = None if (weight == weight[0]).all() else weight
    judged = Judged(target, labels, answers, None, decided)
    rough = _rough(judged, group)
    found: dict[str, Interval] = {}
    drawn: dict[str, str | Scorer] = {}
    for name, one in asked.items():
        known = _in_closed_form(one, judged, group, weight, level) if isinstance(one, str) else None
        if known is None:
            drawn[name] = one
        else:
            found[name] = known._replace(warning=rough or known.warning)
    if drawn:
        for name, interval in _bootstrap(drawn, judged, group, weight, level, draws, seed).items():
            found[name] = interval._replace(warning=interval.warning or rough)
    return {name: found[name] for name in asked}


def _in_closed_form(
    metric: str, judged: Judged, group: NDArray[np.int64] | None, weight: NDArray[np.float64] | None, level: float
) -> Interval | None:
    """Give the interval of a metric that needs no bootstrap."""
    share = share_of(metric, judged)
    if share is not None:
        right, among = share
        groups, weights = (None if values is None else values[among] for values in (group, weight))
        return share_interval(right[among], groups=groups, weights=weights, level=level)
    if metric == "balanced_accuracy" and judged.target.kind in ("classes", "ordinal"):
        of_each = [judged.codes == code for code in np.unique(judged.codes)]
        return mean_share_interval(
            judged.codes == judged.predicted_codes, of_each, groups=group, weights=weight, level=level
        )
    if metric == "c_index" and judged.target.kind == "survival":
        event, time = (judged.labels[name] for name in judged.labels.dtype.names or ())
        return concordance_interval(event, time, judged.answers[:, 0], groups=group, weights=weight, level=level)
    if metric == "auc" and judged.positive is not None and judged.events[0].differs:
        of_positive = judged.events[0]
        return auc_interval(of_positive.outcomes, of_positive.probabilities, groups=group, weights=weight, level=level)
    return None


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
        alone = Interval(np.nan, np.nan, level, "bootstrap", "one bag or group alone says nothing of others")
        return dict.fromkeys(asked, alone)
    reach = np.sqrt(count / (count - 1)) * float(stats.t.ppf((1 + level) / 2, count - 1))
    found = {}
    for name, (value, drawn) in resampled(asked, judged, own, weight, draws, seed).items():
        known = drawn[np.isfinite(drawn)]
        if not len(known):
            found[name] = Interval(np.nan, np.nan, level, "bootstrap", "these bags leave it undefined")
            continue
        undefined = 1 - len(known) / draws
        warning = f"{undefined:.0%} of the draws leave it undefined" if undefined > _UNDEFINED else None
        one = asked[name]
        bounds = METRICS[one].bounds if isinstance(one, str) else (-np.inf, np.inf)
        under = np.mean(known < value) + np.mean(known == value) / 2  # a half, where the draws do not lean
        lean = float(stats.norm.ppf(np.clip(under, 1 / draws, 1 - 1 / draws)))
        low, high = (float(end) for end in np.quantile(known, stats.norm.cdf(2 * lean + np.array([-reach, reach]))))
        low, high = _beyond_the_seen(low, high, bounds, _fewest(judged, group)[0], level)
        found[name] = Interval(low, high, level, "bootstrap", warning)
    return found


def _beyond_the_seen(
    low: float, high: float, bounds: tuple[float, float], fewest: int, level: float
) -> tuple[float, float]:
    """Widen an interval without width at the best or the worst there is: no error in n bags is not none in all."""
    least, most = bounds
    if low == high and low in bounds and np.isfinite(most - least):
        none_wrong, _ = wilson(1.0, fewest, float(stats.norm.ppf((1 + level) / 2)))
        missing = (most - least) * (1 - none_wrong)
        return (most - missing, most) if low == most else (least, least + missing)
    return low, high


# ---- how many there are -----------------------------------------------------------------------------------


def _rough(judged: Judged, group: NDArray[np.int64] | None) -> str | None:
    return few(*_fewest(judged, group))


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
