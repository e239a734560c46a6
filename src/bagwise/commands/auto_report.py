"""The page of a search: how good it is, what it tried, and what it left out."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from bagwise.auto.estimate import Estimate
from bagwise.auto.estimator import AutoMIL
from bagwise.bags import Bags
from bagwise.commands.held_out import draw_figures, finite, measured_rows, shown_of
from bagwise.commands.relying_report import reliance_facts, reliance_tables
from bagwise.commands.report import evaluation_report, training_report
from bagwise.evaluation.cross_validation import CrossValidation, gathered
from bagwise.evaluation.metrics import METRICS, measure
from bagwise.evaluation.out_of_fold import Said
from bagwise.evaluation.protocol import Division, splits_of
from bagwise.reports import Metric, Report, Table
from bagwise.reports.figures import tables_of
from bagwise.trust.reliance import Reliance

__all__ = ["compared", "estimated", "search_report"]

_EPOCHS = "the candidates' own"


def search_report(
    model: AutoMIL,
    bags: Bags,
    weights: NDArray[np.float64] | None,
    metrics: Mapping[str, Any],
    asked: Mapping[str, Any],
    data: str,
    out: Path,
    relied: Reliance | None = None,
) -> Report:
    """Put together what the page of a search says, and draw its figures.

    Parameters
    ----------
    model
        Fitted.
    bags
        Those that it learnt from.
    weights
        What each counts, or None.
    metrics
        As ``metrics.json`` has them.
    asked
        What was asked for.
    data
        What the user calls the data.
    out
        Where figures go.
    relied
        What was learnt from the nested searches; None where nothing was.

    Returns
    -------
    Report
        That of an evaluation of whole searches; without an estimate that of a training.
    """
    members = ", ".join(f"{share:.0%} {name}" for name, share in metrics["members"].items())
    told = [("Model", f"An average of {members}"), ("Tried", f"{model.tried_} candidates in all searches")]
    if model.nested_ is None:
        answers = model.answers(bags)
        assert bags.labels is not None
        learnt = measure(model.target_, bags.labels, answers, weights=weights)
        known = {**metrics, **{f"training_{name}": value for name, value in finite(learnt).items()}}
        page = training_report([model], bags, answers, known, data, _EPOCHS, asked["data"].get("weight"))
        facts = [told[1], *page.facts]
        return replace(page, summary=f"{page.summary} {model.verdict_}", tables=_boards(model), facts=facts)
    found = compared(model, bags, relied)
    shown = shown_of(found)
    assert bags.labels is not None
    worth, facts = ([], []) if relied is None else (reliance_tables(relied, bags.labels), reliance_facts(relied))
    rows = [(name, row) for name, one in found.items() for row in measured_rows(one)]
    results = {
        "asked": {**asked, "class_weight": None},
        "rows": [{"method": name, **row, "seconds": 0.0} for name, row in rows],
        "differences": [],
        "baselines": None,
        "epochs_were": _EPOCHS,
    }
    page = evaluation_report(found, bags, results, draw_figures(shown, out), data)
    return replace(
        page,
        title=f"{data}: the best that was found",
        summary=f"{page.summary} {model.verdict_}",
        metrics=[replace(one, name=_without_method(one)) for one in page.metrics],
        tables=[_estimate(model, _retold(relied)), *worth, *_boards(model), *tables_of(shown)],
        facts=[*told, *facts, *(fact for fact in page.facts if fact[0] in ("Protocol", "Seed"))],
    )


def compared(model: AutoMIL, bags: Bags, relied: Reliance | None = None) -> dict[str, CrossValidation]:
    """Give what stands side by side: whole searches, and the simplest candidate.

    Parameters
    ----------
    model
        With an estimate.
    bags
        Those that it learnt from.
    relied
        What was learnt from the nested searches, by which these calibrate and decide as `bagwise predict` does, each
        fold calibrated by what was learnt from the others; None where nothing was.

    Returns
    -------
    dict
        By the names that people read.
    """
    assert model.nested_ is not None
    assert model.simple_ is not None
    nested = _as_told(model.nested_, bags, relied) if _retold(relied) else model.nested_
    return {"auto": nested, model.baseline_: model.simple_}


def _retold(relied: Reliance | None) -> TypeGuard[Reliance]:
    """Say whether a run tells something else than what its models say."""
    return relied is not None and relied.kept is not None and (relied.calibration is not None or relied.aim is not None)


def _as_told(nested: CrossValidation, bags: Bags, relied: Reliance) -> CrossValidation:
    """Give what whole searches say as the run tells it, and measure that."""
    kept = relied.kept
    assert kept is not None
    target, division = relied.deciding(), Division(bags, splits_of(nested.assignment), nested.protocol)
    threshold = getattr(target, "threshold", None)
    said = [
        Said(
            target.names,
            kept.calibrated[split.test],
            None,
            decided=None if threshold is None else target.predicted(kept.calibrated[split.test]),
            threshold=threshold,
        )
        for split in division.splits
    ]
    told = gathered(
        division, bags, nested.target, said, scoring=list(nested.scores), sample_weight=nested.sample_weight
    )
    return replace(told, attention=nested.attention, weight_axis=nested.weight_axis, contributions=nested.contributions)


def estimated(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Say for the card of a run how good whole searches are on bags that they did not see.

    Parameters
    ----------
    metrics
        As ``metrics.json`` has them.

    Returns
    -------
    list of (str, str)
    """
    told = [("Verdict", metrics["verdict"])]
    for name, one in metrics["estimate"].items():
        if one["mean"] is not None:
            interval = "" if one["low"] is None else f" (95 % interval {one['low']:.3f} to {one['high']:.3f})"
            told.append(
                (METRICS[name].title, f"{one['mean']:.3f}{interval}, of searches on bags that they did not see")
            )
    return told


def _without_method(metric: Metric) -> str:
    return metric.name.removesuffix(", auto")


def _estimate(model: AutoMIL, retold: bool) -> Table:
    """Show how good whole searches are, and beside it what the choosing flatters."""
    as_said = " All are of answers as models give them; the other numbers are of what the run tells." if retold else ""
    assert model.simple_ is not None

    def cells(one: Estimate) -> list[str]:
        interval = f"{one.low:.3f} to {one.high:.3f}" if np.isfinite(one.low) else "–"
        simple = model.simple_.mean(one.metric) if model.simple_ is not None else np.nan
        return [METRICS[one.metric].title, _number(one.mean), interval, _number(simple), _number(one.claimed)]

    return Table(
        "How good the search is",
        ["Metric", "Mean", "95 % interval", model.baseline_, "The best candidate claims"],
        [cells(one) for one in model.estimate_],
        "Means over folds, of whole searches asked about bags that they did not see. What the best candidate claims is"
        f" from the folds by which it was chosen: flattered by the choosing.{as_said}",
    )


def _boards(model: AutoMIL) -> list[Table]:
    """Show candidates, best first, and why others were not tried."""
    names = [*model.target_.metrics]
    tried = [row for row in model.leaderboard_ if row["folds"]]
    failed = [(row["candidate"], row["failure"]) for row in model.leaderboard_ if row["failure"]]

    def cells(row: Mapping[str, Any]) -> list[str]:
        share = f"{row['share']:.0%}" if row["share"] else "–"
        return [row["candidate"], share, *(_number(row.get(name, np.nan)) for name in names), str(row["folds"])]

    board = Table(
        "What was tried",
        ["Candidate", "Share", *(METRICS[name].title for name in names), "Folds"],
        [cells(row) for row in tried],
        "Best first: its share in the average, and means over the inner folds that it went through.",
    )
    why = Table("What was left out", ["Candidate", "Why"], failed)
    return [one for one in (board, why) if one.rows]


def _number(value: float) -> str:
    return f"{value:.3f}" if np.isfinite(value) else "–"
