"""`bagwise auto`: from a user's data to the best run that some minutes can find, and how good it is."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bagwise.auto.estimator import AutoMIL
from bagwise.checks import check_count, check_seed
from bagwise.claims import claims_folder
from bagwise.commands.data import DataSource, digest_of_labelled, in_memory_if_small
from bagwise.commands.fit import write_run
from bagwise.commands.held_out import draw_figures, finite, shown_of, write_predictions
from bagwise.commands.options import Output, Search, Training, Work
from bagwise.commands.report import evaluation_report, training_report
from bagwise.commands.runs import CONFIG, METRICS, MODEL, check_asked_the_same, read_json, write_json
from bagwise.errors import BagwiseError
from bagwise.evaluation.metrics import METRICS as KNOWN
from bagwise.evaluation.metrics import measure
from bagwise.explain import write_table
from bagwise.folders import ResultFolder
from bagwise.reports import Report, Table, write_report
from bagwise.reports.figures import tables_of

__all__ = ["run_auto"]

_ASKED = "asked.json"
_EPOCHS = "the candidates' own"


@claims_folder("auto")
def run_auto(
    source: DataSource,
    out: Path,
    budget: Search,
    training: Training,
    work: Work,
    output: Output,
    verbose: bool = False,
) -> dict[str, Any]:
    """Search for the best model of some bags, and write a run, with what is to be expected of it.

    Parameters
    ----------
    source
        The data. Where bags have groups, no group is on both sides of a fold.
    out
        The folder for ``model.safetensors`` and ``config.json``, as of any run; ``leaderboard`` (a row a candidate),
        ``predictions`` (out-of-fold, of the nested searches and of the simplest candidate), their figures,
        ``metrics.json`` and ``report.html``.
    budget
        How much is tried.
    training
        Target, positive class and seed.
    work, output
        Where, and as which kind of file tables are written. A search that was stopped goes on where it is resumed.
    verbose
        Show what is being tried, what leads, and how much of the budget is left.

    Returns
    -------
    dict
        What is in ``metrics.json``: ``estimate`` (a mapping a metric, with an interval and what the best candidate
        claims), ``tried``, ``verdict``, and what `bagwise fit` tells of bags.

    Raises
    ------
    BagwiseError
        If the data or a parameter will not do, or the folder is in use or holds another search.
    """
    check_seed(training.seed)
    if budget.trials is not None:
        check_count("--trials", budget.trials)
    if budget.minutes is not None and not 0 < budget.minutes < float("inf"):
        raise BagwiseError(f"--minutes is {budget.minutes}: it must be a number above 0")
    begin = time.perf_counter()
    bags = in_memory_if_small(source.read())
    weights = source.weights(bags)
    asked = {
        "data": source.told(),
        "digest": digest_of_labelled(bags, weights),
        **budget.told(),
        **{name: getattr(training, name) for name in ("target", "positive", "seed")},
    }
    if work.resume and (out / METRICS).exists() and (out / MODEL).exists():
        check_asked_the_same(out / CONFIG, read_json(out / CONFIG).get("asked") or {}, asked)
        return read_json(out / METRICS)
    checkpoints = out / "checkpoints"
    if (checkpoints / _ASKED).exists():
        check_asked_the_same(checkpoints / _ASKED, read_json(checkpoints / _ASKED), asked)
    write_json(checkpoints / _ASKED, asked)
    model = AutoMIL(
        minutes=budget.minutes,
        trials=budget.trials,
        target=training.target or "auto",
        positive=training.positive,
        n_jobs=work.jobs,
        random_state=training.seed,
        verbose=verbose,
    ).fit(
        bags,
        sample_weight=weights,
        checkpoints=checkpoints,
        on_found=lambda found: write_run(out, [found], asked),  # so that whatever ends this leaves a run
    )
    write_table(pd.DataFrame(model.leaderboard_), out / f"leaderboard.{output.format}")
    metrics = _metrics(model, bags, round(time.perf_counter() - begin, 1))
    write_report(_report(model, bags, weights, metrics, asked, source, out, output), out / "report.html")
    write_run(out, [model], asked)
    write_json(out / METRICS, metrics)
    ResultFolder(out).clear("checkpoints")
    return metrics


def _metrics(model: AutoMIL, bags: Any, seconds: float) -> dict[str, Any]:
    target = model.target_
    estimate = {one.metric: finite({**one._asdict()}) for one in model.estimate_}
    for one in estimate.values():
        del one["metric"]
    return {
        "bags": len(bags),
        "instances": len(bags.instances),
        "target": target.kind,
        **target.told(),
        "positive": None if target.positive is None else str(target.positive),
        "members": {row["candidate"]: row["share"] for row in model.leaderboard_ if row["share"]},
        "tried": model.tried_,
        "estimate": estimate,
        "verdict": model.verdict_,
        "seconds": seconds,
    }


def _report(
    model: AutoMIL,
    bags: Any,
    weights: Any,
    metrics: dict[str, Any],
    asked: dict[str, Any],
    source: DataSource,
    out: Path,
    output: Output,
) -> Report:
    """Put together the page: that of an evaluation of whole searches, with what was tried at its head."""
    board = _leaderboard(model)
    if model.nested_ is None or model.simple_ is None:
        answers = model.answers(bags)
        learnt = measure(model.target_, bags.labels, answers, weights=weights)
        told = metrics | {f"training_{name}": None if np.isnan(value) else value for name, value in learnt.items()}
        page = training_report([model], bags, answers, told, source.data, _EPOCHS, source.weight)
        return replace(page, tables=[board], notes=[model.verdict_, *page.notes])
    found = {"auto": model.nested_, model.trials_[0].candidate.method: model.simple_}
    write_predictions(found, bags, out / f"predictions.{output.format}")
    shown = shown_of(found)
    rows = [(name, row) for name, one in found.items() for row in one.rows()]
    results = {
        "asked": asked | {"class_weight": None},
        "rows": [{"method": name, **finite(row), "seconds": metrics["seconds"]} for name, row in rows],
        "differences": [],
        "baselines": None,
        "epochs_were": _EPOCHS,
    }
    page = evaluation_report(found, bags, results, draw_figures(shown, out), source.data, tables_of(shown))
    facts = [fact for fact in page.facts if fact[0] in ("Protocol", "Seed")]
    members = ", ".join(f"{share:.0%} {name}" for name, share in metrics["members"].items())
    return replace(
        page,
        title=f"{source.data}: the best that was found",
        tables=[board, *page.tables],
        facts=[("Model", f"An average of {members}"), ("Tried", f"{model.tried_} candidates in all searches"), *facts],
        notes=[model.verdict_, *page.notes],
    )


def _leaderboard(model: AutoMIL) -> Table:
    """Show candidates, best first; those that were dropped or failed after them."""
    names = [*model.target_.metrics]

    def cells(row: dict[str, Any]) -> list[str]:
        measured = ["–" if np.isnan(row.get(name, np.nan)) else f"{row[name]:.3f}" for name in names]
        share = f"{row['share']:.0%}" if row["share"] else ""
        return [row["candidate"], *measured, str(row["folds"]), share, row["failure"] or ""]

    claims = "; ".join(
        f"{KNOWN[one.metric].title} {one.mean:.3f}, and the best candidate claims {one.claimed:.3f}"
        for one in model.estimate_
        if np.isfinite(one.mean)
    )
    return Table(
        "What was tried",
        ["Candidate", *(KNOWN[name].title for name in names), "Folds", "Share", "Failure"],
        [cells(row) for row in model.leaderboard_],
        "Means over the inner folds that a candidate went through, by which it was chosen: flattered by the choosing."
        + (f" Whole searches, asked about bags that they did not see, reach: {claims}." if claims else ""),
    )
