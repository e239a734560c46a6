"""The commands about learning: what is wrong with data, a model, the best of many, and how good methods are."""

from pathlib import Path
from typing import Annotated, Any

import typer

from bagwise.cli.loading import loading
from bagwise.cli.options import takes_options
from bagwise.cli.output import print_json, print_line, print_positive, print_table, say, told
from bagwise.commands.options import (
    AsJson,
    Data,
    DataDir,
    Evaluation,
    Model,
    Note,
    Output,
    Positive,
    Search,
    Target,
    Training,
    Trust,
    Work,
)

__all__ = ["app"]

app = typer.Typer()


@app.command(epilog="Example: bagwise check cells.csv --bag patient --label ill")
@takes_options()
def check(
    source: Data,
    target: Target = Training.target,
    positive: Positive = Training.positive,
    as_json: AsJson = Output.json,
) -> None:
    """Examine a data set before training; the exit status is 1 if training would fail."""
    with loading():
        from bagwise.commands.check import examine
        from bagwise.commands.data import DataSource

    found = examine(DataSource.of(source), positive, target)
    if as_json:
        print_json(found.as_dict())
    else:
        print_table(source.data, ["what", "value"], found.facts)
        if found.columns:
            print_table("features", ["column", "kind", "read", "missing", "examples"], found.columns)
        print_positive(found.numbers["positive"], to_be_named=True)
        for problem in found.problems:
            print_line(f"{problem.severity}: {problem.sentence}")
        if not found.problems:
            print_line("Nothing is wrong with it.")
    if found.fails:
        raise typer.Exit(1)


@app.command(epilog="Example: bagwise fit slides/ --labels labels.csv --out run")
@takes_options()
def fit(
    out: Annotated[Path, "Folder for the model, its metrics and a report.", "--out"],
    source: Data,
    model: Model,
    training: Training,
    trust: Trust,
    work: Work,
    as_json: AsJson = Output.json,
) -> None:
    """Train a model, or an ensemble, on your own bags."""
    with loading():
        from bagwise.commands.data import DataSource

    known = DataSource.of(source)
    known.check_there()
    with loading():
        from bagwise.commands.cluster import workers
        from bagwise.commands.fit import run_fit

    with workers(work.backend, work.address):
        metrics = run_fit(known, out, model, training, work, trust, verbose=not as_json, tell=say)
    if as_json:
        print_json(metrics)
        return
    told_apart = ("epochs_were", "positive", "calibration", "calibrated_because")
    rows = [
        (name.replace("_", " "), told(value))
        for name, value in metrics.items()
        if name not in told_apart and not name.startswith(("held_out_", "uncalibrated_"))
    ]
    print_table(f"{model.method} on {source.data}", ["what", "value"], rows)
    _print_held_out(metrics, "On bags held out of further trainings")
    print_positive(metrics.get("positive"), to_be_named=True)
    _print_epochs(metrics)
    _print_calibration(metrics)
    print_line("These are numbers on the bags learnt from; bagwise evaluate measures how good predictions will be.")
    print_line(f"Open {out / 'report.html'} to see which instances count.")


@app.command(epilog="Example: bagwise auto cells.csv --bag patient --label ill --minutes 10 --out run")
@takes_options(but=("epochs", "patience", "class_weight", "parameters", "backend", "address", "device", "dtype"))
def auto(
    out: Annotated[Path, "Folder for the run, the leaderboard and a report.", "--out"],
    source: Data,
    budget: Search,
    training: Training,
    trust: Trust,
    work: Work,
    output: Output,
    note: Note = Model.note,
) -> None:
    """Try methods and settings for some minutes, keep the best average, and say honestly how good it is."""
    with loading():
        from bagwise.commands.data import DataSource

    known = DataSource.of(source)
    known.check_there()
    with loading():
        from bagwise.commands.auto import run_auto

    metrics = run_auto(known, out, budget, training, work, output, trust, note=note, verbose=not output.json)
    if output.json:
        print_json(metrics)
        return
    rows = [(name, told(share)) for name, share in metrics["members"].items()]
    print_table(f"{source.data}: the best average of {metrics['tried']} candidates", ["candidate", "share"], rows)
    estimate = [
        (metric, told(one["mean"]), f"{told(one['low'])} to {told(one['high'])}", told(one["claimed"]))
        for metric, one in metrics["estimate"].items()
    ]
    if estimate:
        columns = ["metric", "mean", "95 % interval", "the best candidate claims"]
        print_table("How good such a search is, on bags that it did not see", columns, estimate)
    print_line(metrics["verdict"])
    _print_held_out(metrics, "What the run makes of the answers of these searches")
    print_positive(metrics.get("positive"), to_be_named=True)
    _print_calibration(metrics)
    print_line(f"{out} is a run: bagwise predict and bagwise explain take it. Open {out / 'report.html'}.")


@app.command(epilog="Example: bagwise evaluate musk1 --method attention --method MI-Net --repeats 5 --out evaluation")
@takes_options()
def evaluate(
    out: Annotated[Path, "Folder for results, out-of-fold predictions and figures.", "--out"],
    source: Data,
    evaluation: Evaluation,
    training: Training,
    trust: Trust,
    work: Work,
    output: Output,
) -> None:
    """Measure by cross-validation how good methods are on bags they did not learn from."""
    with loading():
        from bagwise.commands.data import DataSource

    known = DataSource.of(source)
    known.check_there()
    with loading():
        from bagwise.commands.cluster import workers
        from bagwise.commands.evaluate import run_evaluate
        from bagwise.evaluation.pooled import RANKS
        from bagwise.evaluation.summary import divided_told, folds_told

    with workers(work.backend, work.address):
        results = run_evaluate(known, out, evaluation, training, work, output, trust, verbose=not output.json, tell=say)
    if output.json:
        print_json(results)
        return
    several = results["rows"][0]["repeats"] > 1
    rows = [
        (
            row["method"],
            row["metric"],
            told(row["mean"])
            + ("" if row["sd_folds"] is None else f" ± {told(row['sd_folds'])}")
            + (f" ({folds_told(row)})" if folds_told(row) else ""),
            *([told(row["se_repeats"])] if several else []),
            told(row.get("pooled"))
            + ("" if row.get("pooled") is None else f" [{told(row['pooled_low'])}, {told(row['pooled_high'])}]"),
        )
        for row in results["rows"]
    ]
    first = results["rows"][0]
    columns = [
        "method",
        "metric",
        "mean of folds ± SD",
        *(["SE over repeats"] if several else []),
        "pooled, 95 % interval",
    ]
    print_table(f"{source.data}: {divided_told(first)}, protocol {first['protocol']}", columns, rows)
    ranks = [name for name in dict.fromkeys(row["metric"] for row in results["rows"]) if name in RANKS]
    if ranks and first["folds"] * first["repeats"] > 1:
        print_line(f"Pooled, what ranks bags ({', '.join(ranks)}) also compares those of different folds' models.")
    for warning in dict.fromkeys(row.get("pooled_warning") for row in results["rows"]):
        if warning is not None:
            print_line(f"Of the intervals: {warning}.")
    if results["differences"]:
        rows = [
            (f"{row['first']} - {row['second']}", row["metric"], f"{row['difference']:+.3f}", told(row["p_value"]))
            for row in results["differences"]
        ]
        tests = " or ".join(
            dict.fromkeys(row.get("test", "corrected resampled t-test") for row in results["differences"])
        )
        print_table(f"Differences ({tests})", ["methods", "metric", "difference", "p"], rows)
    if results.get("aims"):
        names = ["lowest", "highest", "sensitivity", "specificity", "precision", "called_positive"]
        rows = [
            (name, *(told(one[0][measure]) for measure in names)) for name, one in results["aims"]["methods"].items()
        ]
        title = f"What thresholds do to bags that nobody chose by ({results['aims']['aim']})"
        print_table(title, ["method", *names], rows)
    for verdict in (results.get("baselines") or {"verdicts": []})["verdicts"]:
        print_line(verdict["told"])
    _print_curve(results.get("curve"))
    print_positive(results.get("positive"), to_be_named=True)
    _print_epochs(results)
    if results.get("never_tested"):
        print_line(f"{results['never_tested']:,} of the {results['bags']:,} bags are in no test.")
    print_line(f"Predictions of each bag by models that never saw it, and figures, are in {out}.")
    wrong = ", the wrong ones first" if results["target"] == "classes" else ""
    print_line(f"Open {out / 'report.html'} to see them{wrong}.")


@app.command(epilog="Example: bagwise datasets")
@takes_options()
def datasets(data_dir: DataDir = Data.data_dir, as_json: AsJson = Output.json) -> None:
    """List the data sets that have a name."""
    with loading():
        from dataclasses import asdict

        from bagwise.datasets import list_datasets

    known = [asdict(one) for one in list_datasets(data_dir)]
    if as_json:
        print_json(known)
        return
    columns = ["name", "bags", "instances", "shape", "title", "here"]
    for one in known:
        here = "drawn" if one["drawn"] else "yes"
        one |= {"shape": " x ".join(map(str, one["shape"])), "here": here if one["here"] else "no"}
    rows = [[told(one[name]) for name in columns] for one in known]
    print_table("Data sets", columns, rows)


def _print_held_out(metrics: dict[str, Any], title: str) -> None:
    """Print how good answers are that a run learnt from bags held out to tell, beside those that models gave."""
    found = {name.removeprefix("held_out_"): value for name, value in metrics.items() if name.startswith("held_out_")}
    if found:
        before = [told(metrics.get(f"uncalibrated_{name}")) for name in found]
        rows = [
            (name.replace("_", " "), told(value), was) for (name, value), was in zip(found.items(), before, strict=True)
        ]
        print_table(title, ["what", "value", "uncalibrated"], rows)


def _print_calibration(metrics: dict[str, Any]) -> None:
    if "calibrated_because" in metrics:
        print_line(f"Calibration: {metrics['calibration']} ({metrics['calibrated_because']}).")


def _print_curve(curve: dict[str, Any] | None) -> None:
    if curve is None:
        return
    if curve["gains"]:
        metric = curve["gains"][0]["metric"]
        rows = [
            (row["method"], f"{row['share']:.0%}", f"{row['bags']:.0f}", told(row["mean"]), told(row["sd_folds"]))
            for row in curve["rows"]
            if row["metric"] == metric
        ]
        print_table(f"Learning curve, {metric}", ["method", "share", "training bags", "mean of folds", "SD"], rows)
    for sentence in curve["told"]:
        print_line(sentence)


def _print_epochs(told_of: dict[str, object]) -> None:
    if told_of.get("epochs_were"):
        print_line(f"The number of epochs was {told_of['epochs_were']}.")
