"""What a run tells of how far its answers can be relied on: measured on training bags that were held out."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bagwise.evaluation.calibration import bins_of, error_by_chance, error_interval, reliability
from bagwise.evaluation.cohorts import Cohort, Measured
from bagwise.evaluation.intervals import metric_intervals
from bagwise.evaluation.metrics import METRICS, measure
from bagwise.reports.view import Table
from bagwise.targets.classes import ClassTarget
from bagwise.targets.contract import Target
from bagwise.trust.kept import Kept
from bagwise.trust.reliance import Reliance
from bagwise.trust.selective import confidence, risk_curve

__all__ = ["measured_held_out", "reliance_facts", "reliance_metrics", "reliance_tables"]

_OF_PROBABILITIES = ("log_loss", "brier")
_DRAWS = 500


def measured_held_out(relied: Reliance, kept: Kept, metrics: Sequence[str]) -> dict[str, Measured]:
    """Measure what was said of training bags by models that had not learnt from them.

    Parameters
    ----------
    relied, kept
        What was learnt from bags held out, and what was said of them.
    metrics
        What is measured.

    Returns
    -------
    dict
        By metric, with intervals.
    """
    target = relied.deciding()
    cohort = Cohort(
        target,
        np.arange(len(kept.fold)),
        kept.labels(target),
        kept.calibrated,
        kept.groups if len(np.unique(kept.groups)) < len(kept.groups) else None,
        None if (kept.weights == 1).all() else kept.weights,
    )
    return cohort.measured(list(metrics))


def reliance_metrics(relied: Reliance, labels: NDArray[Any]) -> dict[str, Any]:
    """Say in numbers what was learnt from bags held out, for ``metrics.json``.

    Parameters
    ----------
    relied
        What was learnt.
    labels
        Of the bags.

    Returns
    -------
    dict
        ``calibration`` and ``calibrated_because``; where bags were held out, ``held_out_METRIC``, of answers calibrated
        by what was learnt from other folds, and ``uncalibrated_METRIC`` of log-loss, Brier and calibration error; with
        an aim also what the threshold does.
    """
    told: dict[str, Any] = {
        "calibration": "none" if relied.calibration is None else relied.calibration.told,
        "calibrated_because": relied.why,
    }
    if relied.aim is not None:
        told["aim"] = relied.aim.told
    kept = relied.kept
    if kept is None or relied.target.names is None:
        return told
    after, before = (_measured(relied, kept, answers, labels) for answers in (kept.calibrated, kept.answers))
    told |= {f"held_out_{name}": value for name, value in after.items()}
    if relied.calibration is not None:
        told |= {
            f"uncalibrated_{name}": before[name] for name in (*_OF_PROBABILITIES, "calibration_error") if name in before
        }
    operating = relied.operating()
    if relied.aim is not None and operating is not None:
        told |= {
            f"held_out_{name}": value
            for name, value in operating._asdict().items()
            if name != "threshold" and not np.isnan(value)
        }
    return told


def reliance_facts(relied: Reliance) -> list[tuple[str, str]]:
    """Give what stands among the facts of a run's page.

    Parameters
    ----------
    relied
        What was learnt.

    Returns
    -------
    list of tuple
        Names and texts.

    Examples
    --------
    >>> target = ClassTarget.of([0, 1])
    >>> reliance_facts(Reliance(target, None, "it was not to be", None, None, np.array([0.5, 0.5]), None))
    [('Calibration', 'none: it was not to be')]
    """
    called = "none" if relied.calibration is None else relied.calibration.told
    facts = [("Calibration", f"{called}: {relied.why}")]
    if isinstance(relied.threshold, float):
        aim = "by the shares of the classes, on bags held out" if relied.aim is None else relied.aim.told
        facts.append(("Positive above", f"{relied.threshold:.4g} ({aim})"))
    return facts


def reliance_tables(relied: Reliance, labels: NDArray[Any]) -> list[Table]:
    """Show how good probabilities are on bags held out, before and after, and what the threshold does.

    Parameters
    ----------
    relied
        What was learnt.
    labels
        Of the bags.

    Returns
    -------
    list of Table
    """
    kept, target = relied.kept, relied.target
    if kept is None or target.names is None:
        return []
    versions = {"as the models say": kept.answers}
    if relied.calibration is not None:
        versions["calibrated"] = kept.calibrated
    measured = {name: _measured(relied, kept, answers, labels) for name, answers in versions.items()}
    names = [name for name in (*_OF_PROBABILITIES, "auc") if name in next(iter(measured.values()))]
    counts = kept.counts
    intervals = {
        name: metric_intervals(
            target,
            labels[counts],
            answers[counts],
            metrics=names,
            groups=kept.groups[counts],
            weights=kept.weights[counts],
            draws=_DRAWS,
        )
        for name, answers in versions.items()
    }
    events = {name: _events(target, kept, answers) for name, answers in versions.items()}
    rows = [
        [
            name,
            *(f"{one[metric]:.3f} {intervals[name][metric]}" for metric in names),
            f"{one['calibration_error']:.3f} {error_interval(*events[name][:2], groups=events[name].groups)}",
            f"{error_by_chance(events[name].likely):.3f}",
        ]
        for name, one in measured.items()
    ]
    tables = [
        Table(
            "How good probabilities are, of bags held out",
            [
                "Probabilities",
                *(METRICS[metric].title for metric in names),
                "Calibration error",
                "the same if they were right",
            ],
            rows,
            "Each bag is told of by a model that did not learn from it, and calibrated by what was learnt from other"
            " parts; the 95 % intervals are about the luck of the bags, of several models pooled. The calibration error"
            " is the mean distance between probability and share, over bins; few bags show one even where probabilities"
            " are right, and its interval takes that off.",
        )
    ]
    tables.append(_reliability(relied, kept))
    return [*tables, *filter(None, (_operating(relied), _undecided(relied, kept)))]


def _reliability(relied: Reliance, kept: Kept) -> Table:
    """Show what came true where so much was told, and what the models said there, where that is something else."""
    target = relied.target
    told = _events(target, kept, kept.calibrated)
    versions = {"Told": told.likely}
    if relied.calibration is not None:
        versions = {
            "As the models say": _events(target, kept, kept.answers, kept.calibrated).likely,
            "Calibrated": told.likely,
        }
    places = bins_of(told.likely)
    counts = np.bincount(places)
    means = [np.bincount(places, weights=of) / counts for of in (*versions.values(), told.true)]
    about = "the positive class" if target.positive is not None else "what is likeliest"
    about = "each label" if target.kind == "multi-label" else about
    return Table(
        "What probabilities came to, of bags held out",
        [*versions, "Share that came true", "Number"],
        [[*(f"{value:.3f}" for value in of), f"{count:,}"] for *of, count in zip(*means, counts.tolist(), strict=True)],
        f"Means of the probability of {about}, over bins of about as many bags.",
    )


def _operating(relied: Reliance) -> Table | None:
    found = relied.operating()
    if found is None or not isinstance(relied.threshold, float):
        return None
    return Table(
        "What the threshold does, on bags held out",
        ["Positive above", "Sensitivity", "Specificity", "Precision", "Negative value", "Called positive"],
        [[f"{found.threshold:.4g}", *(f"{value:.3f}" for value in found[1:])]],
        "The threshold was chosen on these bags, so that new ones may do a little worse; bagwise evaluate with the same"
        " options measures it on bags that nobody chose by.",
    )


def _undecided(relied: Reliance, kept: Kept) -> Table | None:
    target, counts = relied.deciding(), kept.counts
    if target.kind not in ("classes", "ordinal"):
        return None
    told, labels = kept.calibrated[counts], kept.labels(target)[counts]
    curve = risk_curve(confidence(target, told), target.predicted(told) != labels)
    places = np.unique(np.searchsorted(curve.answered, np.arange(1, 11) / 10 - 1e-9))
    return Table(
        "If the least sure are left undecided, of bags held out",
        ["Share decided", "With a confidence from", "Share of these decided wrongly"],
        [[f"{curve.answered[at]:.2f}", f"{curve.cut[at]:.3f}", f"{curve.error[at]:.3f}"] for at in places.tolist()],
        "bagwise predict --abstain ERROR finds the confidence at which no more than that are wrong, certain to 90 %.",
    )


def _measured(relied: Reliance, kept: Kept, answers: NDArray[np.float64], labels: NDArray[Any]) -> dict[str, float]:
    counts = kept.counts
    target = relied.deciding()
    found = measure(
        target,
        labels[counts],
        answers[counts],
        scoring=list(dict.fromkeys([*target.metrics, *_OF_PROBABILITIES])),
        weights=None if (kept.weights == 1).all() else kept.weights[counts],
    )
    found["calibration_error"] = reliability(*_events(target, kept, answers)[:2]).error
    return {name: value for name, value in found.items() if not np.isnan(value)}


class _Events(NamedTuple):
    true: NDArray[np.bool_]
    likely: NDArray[np.float64]
    groups: NDArray[Any]


def _events(
    target: Target, kept: Kept, answers: NDArray[np.float64], told: NDArray[np.float64] | None = None
) -> _Events:
    """Give what came true and its probability: of two classes the positive, of several that the likeliest is right.

    The likeliest is so by `told`, or without it by the answers themselves.
    """
    counts = kept.counts
    likeliest = (answers if told is None else told)[counts].argmax(axis=1)
    answers, encoded, groups = answers[counts], kept.encoded[counts], kept.groups[counts]
    if target.kind == "multi-label":
        known = encoded == encoded
        return _Events(encoded[known] == 1, answers[known].clip(0, 1), groups[np.nonzero(known)[0]])
    if isinstance(target, ClassTarget) and target.classes.column is not None:
        return _Events(encoded[:, 0] == 1, answers[:, target.classes.column].clip(0, 1), groups)
    likely = answers[np.arange(len(answers)), likeliest].clip(0, 1)
    return _Events(likeliest == encoded[:, 0], likely, groups)
