"""`bagwise evaluate`: how good methods are on bags they did not learn from."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from bagwise._version import __version__
from bagwise.checks import check_names, check_seed
from bagwise.claims import claims_folder
from bagwise.commands.curve import curve_figure, curve_table, measured_curves
from bagwise.commands.data import DataSource, digest_of_labelled, in_memory_if_small
from bagwise.commands.division import digest_of_division, divided
from bagwise.commands.fit import check_parameters, configured
from bagwise.commands.held_out import (
    draw_figures,
    finite,
    measured_rows,
    shown_of,
    write_contributions,
    write_predictions,
)
from bagwise.commands.older import BLOCKS, asked_before, written_before
from bagwise.commands.options import Evaluation, Output, Training, Trust, Work
from bagwise.commands.relying import Relying
from bagwise.commands.relying_evaluation import aim_tables, aims_found, relied_upon
from bagwise.commands.report import evaluation_report
from bagwise.commands.runs import check_asked_the_same, read_json, write_json
from bagwise.errors import BagwiseError
from bagwise.evaluation.baselines import BASELINES, one_test_difference, verdicts
from bagwise.evaluation.cross_validation import CrossValidation, cross_validate
from bagwise.evaluation.fold_files import folds_table
from bagwise.evaluation.protocol import Folds
from bagwise.evaluation.significance import corrected_t_test
from bagwise.explain import check_format, write_table
from bagwise.folders import ResultFolder
from bagwise.methods.base import BagEstimator
from bagwise.methods.registry import make
from bagwise.reports import write_report
from bagwise.reports.figures import tables_of

__all__ = ["run_evaluate"]

RESULTS = "results.json"


@claims_folder("evaluate", older=written_before(RESULTS, "report.html", BLOCKS))
def run_evaluate(
    source: DataSource,
    out: Path,
    evaluation: Evaluation,
    training: Training,
    work: Work,
    output: Output,
    trust: Trust | None = None,
    *,
    verbose: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Cross-validate methods on the same folds, and write what was found.

    Parameters
    ----------
    source
        The data. Where bags have groups, no group is on both sides of a fold, unless folds are given that have it so.
    out
        The folder for ``results.json``, ``predictions`` (out-of-fold, a row a fold and tested bag),
        ``instance_contributions`` (what instances add to these, where a method is a sum over instances), ``folds`` (as
        ``--folds`` takes them) and the figures ``roc.png``,
        ``precision_recall.png``, ``calibration.png``, ``learning_curve.png`` if it was asked for, and, for each method,
        ``confusion_NUMBER.png``; and
        ``report.html``, which shows all of it.
    evaluation, training, work, output
        What is measured, how methods learn (the training bags of a fold decide alone), where, and as which kind of file
        predictions are written. What is finished is left as it is where it is resumed.
    trust
        From which probability on a bag is positive, and whether to calibrate, for the methods asked for: both are
        learnt within the training bags of each fold. None: as nobody says otherwise.
    verbose
        Show progress.
    tell
        Is told what that costs, before it begins.

    Returns
    -------
    dict
        What is in ``results.json``: ``rows`` (one a method and metric, as in the results of the experiments: the
        ``mean`` is over folds, ``pooled`` is of all answers together, with an interval),
        ``thresholds`` (by method, a list a repetition of what each fold's model decides by), ``aims`` (as
        `bagwise.commands.relying_evaluation.aims_found` gives them),
        ``differences`` (one a pair of the methods asked for and metric, with the corrected resampled t-test, or where
        there is one test alone DeLong's) and
        ``baselines``: which simple methods were ``measured`` on the same folds and how, which were ``left_out`` and
        why, and ``verdicts``, in numbers and ``told``, on whether each method is better. With a ``curve`` that is asked
        for, what `bagwise.commands.curve.measured_curves` gives.

    Raises
    ------
    BagwiseError
        If the data or a parameter will not do, or the folder is in use.
    """
    trust = trust or Trust()
    relying = Relying(trust)
    check_seed(training.seed)
    check_format(output.format)
    check_names(evaluation.methods, "method")
    check_parameters(evaluation.methods, training, work)
    for name in evaluation.methods:
        make(name)
    bags = in_memory_if_small(source.read(evaluation.folds_by))
    weights = source.weights(bags)
    division = divided(bags, source, evaluation, training)
    asked = {
        "data": source.told(),
        "digest": digest_of_labelled(bags, weights),
        **evaluation.told(),
        **training.told(),
        **trust.told(),
        "division": None if isinstance(division, Folds) else digest_of_division(division),
    }
    if work.resume and (out / RESULTS).exists():
        finished = read_json(out / RESULTS)
        check_asked_the_same(out / RESULTS, asked_before(finished, asked), asked)
        return finished
    first_split = division.splits[0]
    learnt_from = bags[first_split.train]
    found: dict[str, CrossValidation] = {}
    plain: dict[str, CrossValidation] = {}  # neither calibrated nor with a threshold that was asked for
    seconds: dict[str, float] = {}
    why: str | None = None
    given = len(first_split.validation)
    made = {one: configured(learnt_from, one, training, work, validation=given) for one in evaluation.methods}
    for model, _ in made.values():
        target = model._target_of(bags, np.arange(len(bags)))  # what one cannot learn is told before another trains
        for split in division.splits:
            assert bags.labels is not None
            counted = None if weights is None else weights[split.train]
            relying.check(target, bags.labels[split.train], counted)

    def measure(name: str, model: BagEstimator) -> None:
        begin = time.perf_counter()
        found[name] = cross_validate(
            model,
            bags,
            sample_weight=weights,
            folds=division,
            n_jobs=work.jobs,
            checkpoints=out / "checkpoints" / f"method-{len(found)}",
            verbose=verbose,
        )
        plain[name] = found[name]
        if name in made:
            found[name] = relied_upon(
                found[name],
                model,
                bags,
                division,
                trust,
                seed=training.seed,
                n_jobs=work.jobs,
                checkpoints=out / "checkpoints" / f"held-out-{len(found)}",
                verbose=verbose,
                tell=tell,
            )
        seconds[name] = round(time.perf_counter() - begin, 1)

    for name, (model, told) in made.items():
        why = told or why
        measure(name, model)
    measured: dict[str, Sequence[str]] = {}
    left_out: dict[str, str] = {}
    for name, given_to_it in {} if evaluation.no_baseline else BASELINES.items():
        if name in made:
            measured[name] = training.parameters
            continue
        try:
            measure(name, configured(learnt_from, name, replace(training, parameters=given_to_it), work)[0])
            measured[name] = given_to_it
        except BagwiseError as error:  # what it cannot learn is no fault of the methods asked for
            left_out[name] = str(error)
    first = next(iter(found.values()))
    results = {
        "bagwise": __version__,
        "asked": asked,
        "bags": len(bags),
        "never_tested": len(division.untested),
        "target": first.target.kind,
        **first.target.told(),
        "positive": None if first.target.positive is None else str(first.target.positive),
        "epochs_were": why,
        "rows": [
            {"dataset": source.data, "method": name, **row, "seconds": seconds[name]}
            for name, one in found.items()
            for row in measured_rows(one)
        ],
        # By which each fold's model decides that has one of its own.
        "thresholds": {name: one.thresholds for name, one in found.items() if one.thresholds is not None},
        "aims": aims_found({name: found[name] for name in made}, trust),
        "differences": _differences({name: found[name] for name in made}, division.test_share),
        "baselines": None
        if evaluation.no_baseline
        else {
            "measured": measured,
            "left_out": left_out,
            "verdicts": [
                finite(one._asdict()) for one in verdicts(found, made, measured, test_share=division.test_share)
            ],
        },
    }
    figures, tables = [], []
    if evaluation.curve:
        curve = results["curve"] = measured_curves(
            {name: model for name, (model, _) in made.items()},
            plain,
            found,
            bags,
            division,
            weights=weights,
            seed=training.seed,
            jobs=work.jobs,
            checkpoints=out / "checkpoints",
            verbose=verbose,
        )
        tables = [curve_table(curve)]
        figures = [drawn for drawn in (curve_figure(curve, out),) if drawn is not None]
    write_table(folds_table(division, bags), out / f"folds.{output.format}")
    write_predictions(found, bags, out / f"predictions.{output.format}")
    write_contributions(found, bags, out / f"instance_contributions.{output.format}")
    shown = shown_of(found)
    figures += draw_figures(shown, out)
    tables += [*([] if results["aims"] is None else aim_tables(results["aims"])), *tables_of(shown)]
    report = evaluation_report(found, bags, results, figures, source.data, tables)
    write_report(report, out / "report.html")
    write_json(out / RESULTS, results)
    ResultFolder(out).clear("checkpoints")
    return results


def _differences(found: Mapping[str, CrossValidation], test_share: float) -> list[dict[str, Any]]:
    rows = []
    for (first, one), (second, other) in combinations(found.items(), 2):
        for metric in one.scores:
            row = {"first": first, "second": second, "metric": metric}
            if metric == "auc" and (area := one_test_difference(one, other)) is not None:
                rows.append({**row, **finite(area._asdict()), "test": "DeLong"})
                continue
            try:
                test = corrected_t_test(one.scores[metric], other.scores[metric], test_share=test_share)
            except BagwiseError:  # fewer than two folds define it for both
                continue
            rows.append({**row, **finite(test._asdict()), "test": "corrected resampled t-test"})
    return rows
