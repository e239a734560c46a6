"""`bagwise auto`: from a user's data to the best run that some minutes can find, and how good it is."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bagwise.auto.estimator import AutoMIL
from bagwise.checks import check_count, check_seed
from bagwise.claims import claims_folder
from bagwise.commands.auto_report import compared, estimated, search_report
from bagwise.commands.card import card_of, who_learnt
from bagwise.commands.data import DataSource, digest_of_labelled, in_memory_if_small
from bagwise.commands.division import for_learning
from bagwise.commands.held_out import finite, write_predictions
from bagwise.commands.options import Output, Search, Training, Trust, Work
from bagwise.commands.relying import Relying
from bagwise.commands.relying_report import reliance_metrics
from bagwise.commands.run_files import write_run, write_told
from bagwise.commands.runs import CONFIG, METRICS, MODEL, check_asked_the_same, read_json, write_json
from bagwise.errors import BagwiseError
from bagwise.explain import write_table
from bagwise.folders import ResultFolder

__all__ = ["run_auto"]

_ASKED = "asked.json"


@claims_folder("auto")
def run_auto(
    source: DataSource,
    out: Path,
    budget: Search,
    training: Training,
    work: Work,
    output: Output,
    trust: Trust | None = None,
    *,
    note: str | None = None,
    verbose: bool = False,
) -> dict[str, Any]:
    """Search for the best model of some bags, and write a run, with what is to be expected of it.

    Parameters
    ----------
    source
        The data. Where bags have groups, no group is on both sides of a fold. Where it has a `split`, bags for train
        and for val are learnt from, since a search makes folds of its own, and the rest is left out.
    out
        The folder for ``model.safetensors`` and ``config.json``, as of any run; ``leaderboard`` (a row a candidate),
        ``predictions`` (out-of-fold, of the nested searches and of the simplest candidate), their figures,
        ``metrics.json``, ``card.md`` and ``report.html``; and, as `bagwise fit` keeps them, ``seen.safetensors``,
        ``trust.safetensors`` and the averages of the nested searches in ``folds``.
    budget
        How much is tried.
    training
        Target, positive class and seed.
    work, output
        Where, and as which kind of file tables are written. A search that was stopped goes on where it is resumed.
    trust
        How answers become what is told; None: as nobody says otherwise. It is learnt from the nested searches.
    note
        Free text for the card.
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
    relying = Relying(trust or Trust())
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
        **(trust or Trust()).told(),
        "note": note,
    }
    bags, weights, _, left_out, division = for_learning(bags, weights, source)
    asked |= division
    if weights is not None:  # what a search does by itself, and then tells of other bags
        bags, weights = bags[weights > 0], weights[weights > 0]
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
    )
    assert bags.labels is not None
    try:
        relying.check(model._target_of(bags, np.arange(len(bags))), bags.labels, weights)
        model.fit(
            bags,
            sample_weight=weights,
            checkpoints=checkpoints,
            on_found=lambda found: write_run(out, [found], asked),  # so that whatever ends this leaves a run
            on_planned=relying.check_estimate,
        )
    except BagwiseError:
        if [path.name for path in checkpoints.iterdir()] == [_ASKED]:  # refused: there is nothing to go on with
            ResultFolder(out).clear("checkpoints")
        raise
    worth = relying.learn_from(model.held_out_, model.target_, bags.labels, weights)
    write_table(pd.DataFrame(model.leaderboard_), out / f"leaderboard.{output.format}")
    metrics = _metrics(model, bags, round(time.perf_counter() - begin, 1))
    if worth.relied is not None:
        metrics |= reliance_metrics(worth.relied, bags.labels)
    if left_out is not None:
        metrics["bags_left_out"] = left_out
    if model.nested_ is not None:
        write_predictions(compared(model, bags, worth.relied), bags, out / f"predictions.{output.format}")
    page = search_report(model, bags, weights, metrics, asked, source.data, out, worth.relied)
    protocol = [
        *who_learnt(metrics),
        ("Chosen", f"The best average of {model.tried_:,} candidates, by out-of-fold answers of inner folds"),
    ]
    card = card_of([model], bags, asked, estimated(metrics), protocol, relied=worth.relied)
    write_run(out, [model], asked)
    worth.write(out, [model], bags, asked)
    write_told(out, f"auto on {source.data}", page, card, metrics)
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
