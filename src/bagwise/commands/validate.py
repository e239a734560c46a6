"""`bagwise validate`: how good a run is on labelled bags that it did not learn from."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import confusion_matrix

from bagwise._version import __version__
from bagwise.claims import claims_folder
from bagwise.commands.cohort import ReadCohort, read_cohort
from bagwise.commands.cohort_beside import look_beside
from bagwise.commands.columns import answer_columns, label_columns
from bagwise.commands.data import DataSource, digest_of_labelled
from bagwise.commands.held_out import draw_figures
from bagwise.commands.options import Output
from bagwise.commands.runs import Run, write_json
from bagwise.commands.validation_report import Level, notes_of, validation_report
from bagwise.evaluation.cohorts import Cohort, subgroups, worst_of
from bagwise.evaluation.patients import check_aggregate, of_patients
from bagwise.explain import check_format, write_table
from bagwise.methods.asked import common_target
from bagwise.methods.ensemble import predict_ensemble
from bagwise.reports import write_report
from bagwise.reports.figures import OutOfFold, tables_of
from bagwise.trust.patients import OfPatients, rely_on_patients

__all__ = ["run_validate"]

RESULTS = "results.json"


@claims_folder("validate")
def run_validate(
    run: Run,
    source: DataSource,
    out: Path,
    output: Output,
    *,
    by: Sequence[str] = (),
    patient: str | None = None,
    aggregate: str = "mean",
    coverage: float | None = None,
) -> dict[str, Any]:
    """Measure a run by bags whose labels are known.

    Parameters
    ----------
    run
        The trained models, which are asked as `bagwise predict` asks them: calibrated, and with their threshold.
    source
        The data; bags without a label are left out, which is told.
    out
        The folder for ``results.json``, ``predictions`` (beside labels), ``patients`` (the same of patients), figures
        as `bagwise evaluate` draws them, and ``report.html``, which shows all of it, wrong predictions first.
    output
        As which kind of file tables are written.
    by
        Columns whose values make subgroups.
    patient
        The column that says whose a bag is: patients are measured, too, and bags of one are not taken for independent.
    aggregate
        How a patient's answer comes of those of its bags, one of `bagwise.evaluation.patients.AGGREGATES`.
    coverage
        How often sets of classes, or intervals of numbers, shall hold the truth: it is measured how often they do. None
        makes none.

    Returns
    -------
    dict
        What is in ``results.json``: ``levels``, of bags and, where asked for, of patients, each with ``metrics`` (value
        and interval; None where these bags leave one undefined), ``calibration`` and ``subgroups``; ``confusion`` of
        bags; ``sets``, ``strangers`` and ``among_learnt`` as `bagwise.commands.cohort_beside` finds them; and what was
        asked.

    Raises
    ------
    BagwiseError
        If the data are not like those learnt from or have no labels that the run knows, or the folder is in use.
    """
    check_format(output.format)
    check_aggregate(aggregate, common_target(run.models))
    read = read_cohort(run, source, by, patient)
    bags = read.bags
    assert bags.labels is not None
    target, answers = run.told(predict_ensemble(run.models, bags).probabilities.astype(np.float64))
    beside = look_beside(run, read, coverage)
    cohort = Cohort(target, bags.names, bags.labels, answers, read.groups, read.weights)
    levels = [_level(cohort, read.columns)]
    mixed, learnt = 0, _learnt_of_patients(run, patient, aggregate)
    if read.patients is not None:
        people, mixed = of_patients(cohort, read.patients, aggregate)
        if (relied := learnt.reliance) is not None:
            told = learnt.answers(people.answers)
            people = replace(people, target=relied.deciding(), answers=told, metrics=cohort.metrics)
        levels.append(_level(people, _of_people(read, people)))
    results = {
        "bagwise": __version__,
        "asked": {
            "run": str(run.folder),
            "data": source.told(),
            "by": list(by),
            "patient": patient,
            "aggregate": None if patient is None else aggregate,
            "coverage": coverage,
        },
        "digest": digest_of_labelled(bags, read.weights),
        "target": target.kind,
        **target.told(),
        "positive": None if target.positive is None else str(target.positive),
        "threshold": getattr(target, "threshold", None),
        "left_out": read.left_out,
        "learnt_from": read.learnt_from,
        "levels": {level.cohort.what: level.told() for level in levels},
        "confusion": _confusion(cohort),
        **beside.results,
        "notes": notes_of(read, levels, aggregate, learnt, mixed) + beside.notes,
    }
    _write_predictions(read, cohort, beside.columns, out / f"predictions.{output.format}")
    if len(levels) > 1:
        _write_patients(levels[1].cohort, read, learnt, out / f"patients.{output.format}")
    shown = OutOfFold(target, bags.labels, {"the run": answers[None]}, np.zeros((1, len(bags)), int), read.weights)
    figures = draw_figures(shown, out, "predictions")
    page = validation_report(run, source.data, read, levels, results, figures, [*beside.tables, *tables_of(shown)])
    write_report(page, out / "report.html")
    write_json(out / RESULTS, results)
    return results


def _learnt_of_patients(run: Run, patient: str | None, aggregate: str) -> OfPatients:
    """Learn anew of the patients that the run learnt from, where its groups were they."""
    learnt = run.asked["data"].get("group") or ()
    if patient is None or learnt not in (patient, [patient]):
        return OfPatients(None, f"the run was not told of patients: fit it with --group {patient}")
    return rely_on_patients(run.reliance, aggregate)


def _level(cohort: Cohort, columns: Mapping[str, Sequence[str | None]]) -> Level:
    groups = {column: subgroups(cohort, values) for column, values in columns.items()}
    worst = {column: worst_of(found) for column, found in groups.items()}
    return Level(cohort, cohort.measured(), cohort.calibrations(), groups, worst)


def _of_people(read: ReadCohort, people: Cohort) -> dict[str, list[str | None]]:
    """Give what columns say of patients; one that differs within a patient says nothing of patients."""
    found = {}
    for column, values in read.columns.items():
        said: dict[Any, set[str | None]] = {}
        for person, value in zip(read.patients if read.patients is not None else (), values, strict=True):
            said.setdefault(person, set()).add(value)
        if all(len(one) == 1 for one in said.values()):
            found[column] = [next(iter(said[person])) for person in people.names]
    return found


def _confusion(cohort: Cohort) -> dict[str, Any] | None:
    if not cohort.classes():
        return None
    names: Any = cohort.target.names
    places = {name: place for place, name in enumerate(names.tolist())}
    true, predicted = (
        [places[label] for label in np.asarray(labels).tolist()]
        for labels in (cohort.labels, cohort.target.predicted(cohort.answers))
    )
    counts = confusion_matrix(true, predicted, labels=range(len(places)))
    return {"classes": [str(name) for name in places], "counts": counts.tolist()}


def _write_predictions(read: ReadCohort, cohort: Cohort, beside: dict[str, Any], path: Path) -> None:
    """Write a row a bag: what is known of it, and what the run says."""
    bags = read.bags
    columns: dict[str, Any] = {"bag": bags.names, **label_columns(cohort.labels, bags.label_names)}
    columns |= answer_columns(cohort.target, cohort.answers) | beside
    if read.patients is not None:
        columns["patient"] = read.patients
    elif read.groups is not None:
        columns["group"] = read.groups
    columns |= {f"by_{column}": values for column, values in read.columns.items()}
    write_table(pd.DataFrame(columns), path)


def _write_patients(people: Cohort, read: ReadCohort, learnt: OfPatients, path: Path) -> None:
    """Write a row a patient; without a threshold of patients nothing is predicted of classes and labels."""
    assert read.patients is not None
    counts = pd.Series(read.patients).value_counts()
    columns: dict[str, Any] = {
        "patient": people.names,
        "bags": counts.loc[people.names].to_numpy(),
        **label_columns(people.labels, read.bags.label_names),
        **answer_columns(people.target, people.answers),
    }
    decided = [name for name in columns if name.startswith("predicted") and learnt.reliance is None]
    write_table(pd.DataFrame(columns).drop(columns=decided), path)
