"""The page of a validation: how good the run is, for whom, and which bags it was wrong about."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bagwise.commands.bag_views import bag_views, choose
from bagwise.commands.cohort import ReadCohort
from bagwise.commands.report_facts import data_facts, model_facts
from bagwise.commands.runs import Run
from bagwise.commands.verdicts import verdicts_of
from bagwise.commands.within import in_columns
from bagwise.evaluation.cohorts import Calibration, Cohort, Measured, Subgroup, Worst, caution
from bagwise.evaluation.metrics import METRICS
from bagwise.explain import explain
from bagwise.io.problems import counted
from bagwise.reports import Figure, Metric, Report, Table
from bagwise.targets.classes import ClassTarget
from bagwise.trust.patients import OfPatients

__all__ = ["Level", "notes_of", "validation_report"]

_HEADLINES = 4
_OF_SEVERAL = {
    "classes": "is positive if one of its bags is",
    "multi-label": "has each label that one of its bags has",
    "ordinal": "has the highest grade of its bags",
}
_THRESHOLD_OF_BAGS = (
    "A threshold belongs to the level that it was chosen at: the run's is one of bags, so nothing that needs a"
    " threshold is measured of patients."
)


@dataclass(frozen=True, eq=False)
class Level:
    """What was measured of bags, or of patients.

    Attributes
    ----------
    cohort
        The bags or patients.
    metrics
        By their names.
    calibrations
        One an event.
    subgroups, worst
        By the column that makes them.
    """

    cohort: Cohort
    metrics: Mapping[str, Measured]
    calibrations: Sequence[Calibration]
    subgroups: Mapping[str, Sequence[Subgroup]]
    worst: Mapping[str, Sequence[Worst]]

    def told(self) -> dict[str, Any]:
        """Say it in what JSON can hold."""
        return {
            "count": len(self.cohort),
            "classes": self.cohort.classes() or None,
            "metrics": {name: one.told() for name, one in self.metrics.items()},
            "warning": caution(self.metrics),
            "calibration": [one.told() for one in self.calibrations],
            "subgroups": {
                column: {
                    "groups": [one.told() for one in found],
                    "worst": [one._asdict() for one in self.worst[column]],
                    "told": self.of_subgroups(column),
                }
                for column, found in self.subgroups.items()
            },
            "told": [*self.of_metrics(), *self.of_calibration()],
        }

    def of_metrics(self) -> list[str]:
        """Say what is undefined, and of what there is too little."""
        what, warning, told = self.cohort.what, caution(self.metrics), []
        undefined = [METRICS[name].title for name, one in self.metrics.items() if np.isnan(one.value)]
        if undefined:
            present = [name for name, count in self.cohort.classes().items() if count]
            why = f", which are all of the class {present[0]}" if len(present) == 1 else ""
            told.append(f"Undefined on these {what}s{why}: {', '.join(undefined)}.")
        if warning:
            told.append(f"{warning[0].upper()}{warning[1:]}.")
        return told

    def of_calibration(self) -> list[str]:
        """Say of each event what was predicted and what came true."""
        return [
            f"Probability of {one.event}: {one.predicted:.3f} in the mean, and {one.observed:.3f} of the"
            f" {self.cohort.what}s are so; expected calibration error {one.bins.error:.3f}"
            f" ({one.interval.low:.3f} to {one.interval.high:.3f} less chance, {one.by_chance:.3f} if such"
            f" probabilities were right), Brier {one.brier:.3f}, log-loss {one.log_loss:.3f}."
            for one in self.calibrations
        ]

    def of_subgroups(self, column: str) -> list[str]:
        """Say which subgroup is worst by the metric that leads, and which are too small."""
        told = []
        for one in self.worst[column][:1]:
            told.append(
                f"The worst {column} by {METRICS[one.metric].title} is {one.subgroup}: {one.value:.3f}, and"
                f" {one.mean:.3f} in the mean over all; of several small ones one always comes out worst."
            )
        return told + [f"{one.value}: {one.warning}." for one in self.subgroups[column] if one.warning]


def validation_report(
    run: Run,
    data: str,
    read: ReadCohort,
    levels: Sequence[Level],
    results: Mapping[str, Any],
    figures: Sequence[Figure],
    more_tables: Sequence[Table] = (),
) -> Report:
    """Put together what the page of a validation says.

    Parameters
    ----------
    run
        Whose models were asked.
    data
        What the user calls the data.
    read
        The bags, with labels.
    levels
        What was measured of bags and, perhaps, of patients.
    results
        As ``results.json`` has them.
    figures
        Of the predictions.
    more_tables
        Of the predictions, beside those of metrics.

    Returns
    -------
    Report
    """
    bags, cohort = read.bags, levels[0].cohort
    verdicts = verdicts_of(cohort.target, cohort.labels, cohort.answers)
    chosen = choose(verdicts)
    shown = bags[chosen]
    model = run.models[0]
    found = explain(run.models, shown) if model.SCORES_INSTANCES else None
    tables = [table for level in levels for table in _tables(level)]
    return Report(
        title=f"{data}: how good the run is",
        summary=f"{counted(len(bags), 'bag')} with {counted(len(bags.instances), 'instance')}, judged by the run"
        f" {run.folder}.",
        metrics=[
            Metric(METRICS[name].title, one.value, f"{METRICS[name].what} {_interval(one)}")
            for name, one in list(levels[0].metrics.items())[:_HEADLINES]
        ],
        tables=[*tables, *more_tables],
        figures=figures,
        data=data_facts(bags, cohort.target),
        facts=[("Run", str(run.folder)), *model_facts(run.models)],
        history=[],
        bags=bag_views(
            shown,
            *verdicts.take(chosen)[:3],
            None if found is None else found.importance,
            columns={} if found is None else in_columns(shown, found.importance, run.models),
            evidence=None if found is None else found.evidence(shown),
        ),
        notes=[
            *results["notes"],
            *([f"The page shows {len(shown)} of the {len(bags):,} bags."] * (len(shown) < len(bags))),
        ],
    )


def notes_of(read: ReadCohort, levels: Sequence[Level], aggregate: str, learnt: OfPatients, mixed: int) -> list[str]:
    """Say what to keep in mind.

    Parameters
    ----------
    read
        The bags.
    levels
        What was measured.
    aggregate
        How answers of patients came about.
    learnt
        What was learnt of patients that were held out.
    mixed
        Of how many patients the labels of the bags differ.

    Returns
    -------
    list of str
    """
    notes = ["Intervals are of one model on these bags: they do not say how another training of it would do."]
    if read.learnt_from:
        notes.insert(0, "These are the bags that the run learnt from: new bags will do worse.")
    target = levels[0].cohort.target
    notes += _called_positive(levels[0])
    if read.groups is not None:
        notes.append("Bags of one group are not independent: intervals are drawn over groups.")
    if len(levels) > 1:
        made = f"Answers of patients are the {aggregate} of those of their bags"
        if learnt.reliance is not None:
            notes.append(f"{made}, with what was learnt anew of training patients: {learnt.why}.")
            notes += _called_positive(levels[1])
        else:
            notes.append(
                f"{made} and were not calibrated anew: {learnt.why}. Trust how they rank, not how large they are."
            )
            if target.kind in ("classes", "multi-label"):
                notes.append(_THRESHOLD_OF_BAGS)
    if mixed:
        notes.append(f"Labels differ within {counted(mixed, 'patient')}: a patient {_OF_SEVERAL[target.kind]}.")
    if read.left_out:
        notes.append(f"Left out: {counted(read.left_out, 'bag')} without a label, or not for test.")
    return notes


def _called_positive(level: Level) -> list[str]:
    target = level.cohort.target
    if not isinstance(target, ClassTarget) or target.positive is None:
        return []
    above = 0.5 if target.threshold is None else target.threshold
    return [f"A {level.cohort.what} is called {target.positive} where its probability is above {above:.3g}."]


def _interval(one: Measured) -> str:
    if one.interval is None or np.isnan(one.interval.low):
        return "Undefined here." if np.isnan(one.value) else "No interval."
    return f"{one.interval.level:.0%} interval {one.interval.low:.3f} to {one.interval.high:.3f}."


def _tables(level: Level) -> list[Table]:
    what = level.cohort.what
    rows = [
        [METRICS[name].title, str(one), "" if one.interval is None else one.interval.how]
        for name, one in level.metrics.items()
    ]
    tables = [
        Table(
            f"How good it is: {what}s",
            ["Metric", "Value (95 % interval)", "Interval by"],
            rows,
            " ".join(level.of_metrics()),
        )
    ]
    for column, found in level.subgroups.items():
        metrics = list(found[0].metrics)
        rows = [[one.value, f"{one.size:,}", *(str(one.metrics[name]) for name in metrics)] for one in found]
        tables.append(
            Table(
                f"Subgroups by {column}: {what}s",
                [column, f"{what.title()}s", *(METRICS[name].title for name in metrics)],
                rows,
                " ".join(level.of_subgroups(column)),
            )
        )
    if level.calibrations:
        tables.append(_calibration(level))
    return tables


def _calibration(level: Level) -> Table:
    rows = [
        [one.event, f"{predicted:.3f}", f"{observed:.3f}", f"{count:,}"]
        for one in level.calibrations
        for predicted, observed, count in zip(*one.bins, strict=True)
    ]
    what = level.cohort.what
    return Table(
        f"Calibration: {what}s",
        ["Of", "Mean probability", "Share that came true", f"{what.title()}s"],
        rows,
        " ".join(level.of_calibration()),
    )
