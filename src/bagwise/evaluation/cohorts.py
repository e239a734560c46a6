"""How good answers are for a cohort, and for its subgroups: one model, one set of bags."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isnan
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from bagwise.evaluation.calibration import Reliability, error_by_chance, error_interval, reliability
from bagwise.evaluation.intervals import Interval, metric_intervals
from bagwise.evaluation.judged import Judged
from bagwise.evaluation.metrics import METRICS, mean_defined, measure
from bagwise.targets.contract import Target, surprise

__all__ = [
    "Calibration",
    "Cohort",
    "Measured",
    "Subgroup",
    "Worst",
    "caution",
    "fitting_metrics",
    "leading_metrics",
    "subgroups",
    "worst_of",
]

_MOST_BINS = 10
_LEAST_IN_A_BIN = 10
_DISTINCT = ("classes", "ordinal")
_LEADING = {
    "classes": ("auc", "accuracy", "recall", "specificity"),
    "multi-label": ("auc", "accuracy", "recall", "specificity"),
}


class Measured(NamedTuple):
    """A metric of a cohort.

    Attributes
    ----------
    value
        NaN where the cohort leaves it undefined.
    interval
        Where it would lie for other bags of the same kind; None where it is undefined.

    Examples
    --------
    >>> Measured(0.9, Interval(0.8, 0.95, 0.95, "bootstrap over bags", None)).told()["low"]
    0.8
    """

    value: float
    interval: Interval | None

    def __str__(self) -> str:
        if isnan(self.value):
            return "–"
        if self.interval is None or isnan(self.interval.low):
            return f"{self.value:.3f}"
        return f"{self.value:.3f} ({self.interval.low:.3f} to {self.interval.high:.3f})"

    def told(self) -> dict[str, Any]:
        """Say it in what JSON can hold."""
        if isnan(self.value):
            return {"value": None}
        return {"value": self.value} | ({} if self.interval is None else self.interval._asdict())


class Calibration(NamedTuple):
    """What the probabilities of an event are worth.

    Attributes
    ----------
    event
        Which: a class, a grade or a label.
    predicted, observed
        Its mean probability, and the share of bags in which it came true.
    brier, log_loss
        Of these probabilities.
    bins
        The probabilities in bins, and what came true in each.
    by_chance
        The calibration error that these bags would show if the probabilities were right.
    interval
        Of the calibration error, less what is by chance.

    Examples
    --------
    >>> from bagwise.targets.classes import ClassTarget
    >>> answers = np.array([[0.9, 0.1], [0.4, 0.6]])
    >>> cohort = Cohort(ClassTarget.of(["no", "yes"]), np.array(["a", "b"]), np.array(["no", "yes"]), answers)
    >>> [(one.event, one.observed, one.bins.counts.tolist()) for one in cohort.calibrations()]
    [('yes', 0.5, [2])]
    """

    event: str
    predicted: float
    observed: float
    brier: float
    log_loss: float
    bins: Reliability
    by_chance: float
    interval: Interval

    def told(self) -> dict[str, Any]:
        """Say it in what JSON can hold."""
        rows = zip(*(part.tolist() for part in self.bins), strict=True)
        bins = [dict(zip(("predicted", "observed", "count"), row, strict=True)) for row in rows]
        of_error = {"ece": self.bins.error, "interval": self.interval._asdict()}
        return {**self._asdict(), **of_error, "bins": bins}


@dataclass(frozen=True, eq=False)
class Cohort:
    """Bags, or patients, with their labels, and what a model that learnt from none of them says.

    Attributes
    ----------
    target
        What the model learnt.
    names
        Of the bags, shape (B,).
    labels, answers
        True labels as the target has them, shape (B, ...), and answers, shape (B, A).
    groups
        Bags of one group are not independent, shape (B,); None: each stands for itself.
    weights
        What each counts in metrics, shape (B,); None: all count the same. In bins of calibration all do.
    metrics
        Which are measured; None: all that fit the target.
    what
        What one of them is called.

    Examples
    --------
    >>> from bagwise.targets.classes import ClassTarget
    >>> answers = np.array([[0.9, 0.1], [0.4, 0.6], [0.7, 0.3]])
    >>> labels, names = np.array(["no", "yes", "no"]), np.array(["a", "b", "c"])
    >>> cohort = Cohort(ClassTarget.of(["no", "yes"]), names, labels, answers)
    >>> cohort.measured(["auc"])["auc"].value, cohort.classes()
    (1.0, {'no': 2, 'yes': 1})
    """

    target: Target
    names: NDArray[Any]
    labels: NDArray[Any]
    answers: NDArray[Any]
    groups: NDArray[Any] | None = None
    weights: NDArray[np.float64] | None = None
    metrics: tuple[str, ...] | None = None
    what: str = "bag"

    def __len__(self) -> int:
        return len(self.names)

    def take(self, positions: NDArray[Any]) -> Self:
        """Give some of the bags."""
        return replace(
            self,
            names=self.names[positions],
            labels=self.labels[positions],
            answers=self.answers[positions],
            groups=None if self.groups is None else self.groups[positions],
            weights=None if self.weights is None else self.weights[positions],
        )

    def measured(self, scoring: Sequence[str] | None = None) -> dict[str, Measured]:
        """Measure metrics, by default all of the cohort's, each with an interval of 95 %."""
        asked = list(scoring or self.metrics or fitting_metrics(self.target))
        values = measure(self.target, self.labels, self.answers, scoring=asked, weights=self.weights)
        defined = [name for name in asked if not isnan(values[name])]
        intervals = {}
        if defined:
            intervals = metric_intervals(
                self.target, self.labels, self.answers, metrics=defined, groups=self.groups, weights=self.weights
            )
        if self.what != "bag":  # which is what intervals call them
            for name, one in intervals.items():
                told = one.warning and one.warning.replace(" bag", f" {self.what}")
                intervals[name] = one._replace(warning=told)
        return {name: Measured(values[name], intervals.get(name)) for name in asked}

    def calibrations(self) -> list[Calibration]:
        """Compare probabilities with what came true: of the positive class, or of each class, grade or label."""
        if self.target.names is None:
            return []
        judged = Judged(self.target, self.labels, self.answers, self.weights)
        named = [judged.positive] if judged.positive is not None else judged.names
        found = []
        for column, (name, event) in enumerate(zip(named, judged.events, strict=True)):
            if not len(event.outcomes):
                continue
            groups = self.groups
            if groups is not None and self.target.kind == "multi-label":
                groups = groups[~np.isnan(self.labels[:, column])]
            likely = np.where(event.outcomes, event.probabilities, 1 - event.probabilities)
            said = event.probabilities.clip(0, 1)
            bins = int(np.clip(len(event.outcomes) // _LEAST_IN_A_BIN, 1, _MOST_BINS))
            found.append(
                Calibration(
                    str(name),
                    float(np.average(event.probabilities, weights=event.weights)),
                    float(np.average(event.outcomes, weights=event.weights)),
                    float(np.average((event.probabilities - event.outcomes) ** 2, weights=event.weights)),
                    surprise(likely, event.weights),
                    reliability(event.outcomes, said, bins),
                    error_by_chance(said, bins),
                    error_interval(event.outcomes, said, bins, groups=groups),
                )
            )
        return found

    def classes(self) -> dict[str, int]:
        """Count the bags of each class or grade; of other targets nothing."""
        if self.target.kind not in _DISTINCT or self.target.names is None:
            return {}
        return {str(name): int((self.labels == name).sum()) for name in self.target.names}


def caution(metrics: Mapping[str, Measured]) -> str | None:
    """Give what makes the first of some intervals rough that is so, as a sentence without an end.

    Parameters
    ----------
    metrics
        By their names, the leading ones first.

    Returns
    -------
    str or None

    Examples
    --------
    >>> rough = Interval(0.1, 0.9, 0.95, "Wilson", "there are only 9 bags: an interval from fewer than 30 is rough")
    >>> caution({"auc": Measured(np.nan, None), "accuracy": Measured(0.5, rough)})[:21]
    'there are only 9 bags'
    """
    intervals = (one.interval for one in metrics.values() if one.interval is not None)
    return next((one.warning for one in intervals if one.warning is not None), None)


def leading_metrics(target: Target) -> tuple[str, ...]:
    """Name the metrics that are told first of a target, and of subgroups: the first is what the worst is worst by.

    Parameters
    ----------
    target
        What labels are.

    Returns
    -------
    tuple of str

    Examples
    --------
    >>> from bagwise.targets.registry import TARGETS
    >>> leading_metrics(TARGETS["real"].of([1.5, 2.0]))
    ('r2', 'mae', 'rmse')
    """
    return _LEADING.get(target.kind, target.metrics)


def fitting_metrics(target: Target) -> tuple[str, ...]:
    """Name all metrics that fit a target, the leading ones first.

    Parameters
    ----------
    target
        What labels are.

    Returns
    -------
    tuple of str

    Examples
    --------
    >>> from bagwise.targets.registry import TARGETS
    >>> fitting_metrics(TARGETS["real"].of([1.5, 2.0]))
    ('r2', 'mae', 'rmse')
    """
    others = (name for name, metric in METRICS.items() if target.kind in metric.kinds)
    return tuple(dict.fromkeys((*leading_metrics(target), *target.metrics, *others)))


@dataclass(frozen=True)
class Subgroup:
    """What is measured of the bags that share a value.

    Attributes
    ----------
    value
        Which they share.
    size
        How many they are.
    metrics
        By their names.
    warning
        What makes intervals rough, as `caution` says it.

    Examples
    --------
    >>> Subgroup("north", 12, {}, None).told()
    {'value': 'north', 'count': 12, 'metrics': {}, 'warning': None}
    """

    value: str
    size: int
    metrics: dict[str, Measured]
    warning: str | None

    def told(self) -> dict[str, Any]:
        """Say it in what JSON can hold."""
        metrics = {name: one.told() for name, one in self.metrics.items()}
        return {"value": self.value, "count": self.size, "metrics": metrics, "warning": self.warning}


def subgroups(cohort: Cohort, values: Sequence[str | None]) -> list[Subgroup]:
    """Measure bags that share a value by themselves, by the metrics that lead.

    Parameters
    ----------
    cohort
        All bags.
    values
        Of each bag the value of a column; bags of which it is None are in no subgroup.

    Returns
    -------
    list of Subgroup
        In the order of their values.

    Examples
    --------
    >>> from bagwise.targets.registry import TARGETS
    >>> names, labels = np.array(["a", "b", "c"]), np.array([1.5, 2.0, 3.0])
    >>> cohort = Cohort(TARGETS["real"].of(labels), names, labels, labels[:, None] + 0.5)
    >>> [(one.value, one.size, one.metrics["mae"].value) for one in subgroups(cohort, ["n", "s", "n"])]
    [('n', 2, 0.5), ('s', 1, 0.5)]
    """
    metrics = [name for name in leading_metrics(cohort.target) if cohort.metrics is None or name in cohort.metrics]
    of = np.array(values, dtype=object)
    found = []
    for value in sorted({value for value in values if value is not None}):
        part = cohort.take(np.flatnonzero(of == value))
        measured = part.measured(metrics)
        found.append(Subgroup(value, len(part), measured, caution(measured)))
    return found


class Worst(NamedTuple):
    """The worst of several subgroups.

    Attributes
    ----------
    metric
        By which.
    subgroup
        Its value.
    value
        The metric there.
    mean
        The mean of the metric over the subgroups that define it.

    Examples
    --------
    >>> Worst("auc", "north", 0.7, 0.8).mean
    0.8
    """

    metric: str
    subgroup: str
    value: float
    mean: float


def worst_of(found: Sequence[Subgroup]) -> list[Worst]:
    """Find the worst subgroup by each metric that at least two of them define, and in which they differ.

    Parameters
    ----------
    found
        The subgroups of one column.

    Returns
    -------
    list of Worst

    Examples
    --------
    >>> measured = [{"mae": Measured(value, None)} for value in (1.0, 3.0)]
    >>> worst_of([Subgroup("n", 9, measured[0], None), Subgroup("s", 9, measured[1], None)])
    [Worst(metric='mae', subgroup='s', value=3.0, mean=2.0)]
    """
    worst = []
    for metric in found[0].metrics if found else ():
        known = [(one.metrics[metric].value, one.value) for one in found if not isnan(one.metrics[metric].value)]
        if len({value for value, _ in known}) > 1:
            choose = min if METRICS[metric].higher else max
            value, subgroup = choose(known, key=lambda pair: pair[0])
            worst.append(Worst(metric, subgroup, value, mean_defined(one for one, _ in known)))
    return worst
