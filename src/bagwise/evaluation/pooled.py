"""Metrics of all out-of-fold answers together, beside means over folds: what each is, and how far it may be off."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bagwise.evaluation.intervals import metric_intervals
from bagwise.evaluation.judged import Told
from bagwise.evaluation.metrics import Scorer, measure
from bagwise.evaluation.wilson import Interval

__all__ = ["RANKS", "Pooled", "pooled"]

# Metrics that rank bags, and so compare what one fold's model says with what another's says.
RANKS = ("auc", "average_precision", "c_index")


class Pooled(NamedTuple):
    """A metric of out-of-fold answers about all bags together, and how far it may be off by the luck of the bags.

    Attributes
    ----------
    value
        NaN where the bags leave it undefined.
    interval
        Of fresh bags, for the models that there are: it knows nothing of how models would differ that learn anew, so
        for the method it is somewhat too narrow.

    Examples
    --------
    >>> print(Pooled(0.935, Interval(0.91, 0.96, 0.95, "DeLong")))
    0.935 [0.910, 0.960]
    """

    value: float
    interval: Interval

    def __str__(self) -> str:
        return f"{self.value:.3f} {self.interval}"

    def told(self) -> dict[str, Any]:
        """Say it as rows of results do.

        Returns
        -------
        dict
            ``pooled``, ``pooled_low``, ``pooled_high``, ``pooled_how`` and ``pooled_warning``.
        """
        low, high, _, how, warning = self.interval
        return {
            "pooled": self.value,
            "pooled_low": low,
            "pooled_high": high,
            "pooled_how": how,
            "pooled_warning": warning,
        }


def pooled(
    target: Told,
    labels: NDArray[Any],
    assignment: NDArray[np.int64],
    answers: NDArray[np.float64],
    *,
    scoring: Mapping[str, str | Scorer],
    decided: NDArray[Any] | None = None,
    groups: NDArray[Any] | None = None,
    weights: NDArray[np.float64] | None = None,
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> dict[str, Pooled]:
    """Measure all out-of-fold answers together.

    Each repetition's answer about a bag is one; in intervals all answers about a bag, or about a group where there are
    some, stay together.

    Parameters
    ----------
    target, labels, assignment, answers, decided
        As those of a `bagwise.evaluation.cross_validation.CrossValidation`.
    scoring
        What is measured, as `bagwise.evaluation.metrics.scorers` gives it.
    groups
        The group of each bag, shape (B,); None: there are none.
    weights
        What each bag counts, shape (B,); None: all count the same.
    level, draws, seed
        As in `bagwise.evaluation.intervals.metric_intervals`.

    Returns
    -------
    dict
        A `Pooled` for each name.

    Examples
    --------
    >>> from bagwise.targets.classes import ClassTarget
    >>> labels, fold = np.array([0, 1] * 20), np.arange(40)[None] % 4
    >>> answers = np.full((1, 40, 2), 0.5)
    >>> print(pooled(ClassTarget.of(labels), labels, fold, answers, scoring={"auc": "auc"})["auc"])
    0.500 [0.331, 0.669]
    """
    repeat, bag = np.nonzero(assignment >= 0)
    together = groups
    if together is None and len(assignment) > 1:
        together = np.arange(len(labels))
    asked: dict[str, Any] = {
        "weights": None if weights is None else weights[bag],
        "decided": None if decided is None else decided[repeat, bag],
    }
    if asked["weights"] is not None and not asked["weights"].any():
        nothing = Interval(np.nan, np.nan, level, "none", "no bag that was tested counts")
        return dict.fromkeys(scoring, Pooled(np.nan, nothing))
    of_all = labels[bag], answers[repeat, bag]
    values = measure(target, *of_all, scoring=scoring, **asked)
    intervals = metric_intervals(
        target,
        *of_all,
        metrics=scoring,
        groups=None if together is None else together[bag],
        level=level,
        draws=draws,
        seed=seed,
        **asked,
    )
    return {name: Pooled(values[name], intervals[name]) for name in scoring}
