"""The commands, but for `reproduce`: parse, call, print."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from bagwise._version import __version__
from bagwise.cli.loading import loading
from bagwise.cli.options import KNOWN_BUT_OF_LABELS, KNOWN_TO_A_RUN, RunFolder, takes_options
from bagwise.cli.output import MOST_ROWS, print_json, print_line, print_table, say, told
from bagwise.cli.reproduce import reproduce
from bagwise.commands.options import (
    AsJson,
    Data,
    DataDir,
    Device,
    Dtype,
    Epochs,
    Evaluation,
    Model,
    Output,
    OwnMethod,
    Positive,
    Resume,
    Search,
    Seed,
    Target,
    Training,
    Trust,
    Work,
)

__all__ = ["app"]

app = typer.Typer(
    help="Multiple instance learning that shows which instances decided.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(reproduce, name="reproduce")


def _print_version(wanted: bool) -> None:
    if wanted:
        print_line(f"bagwise {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Multiple instance learning that shows which instances decided."""


@app.command(epilog="Example: bagwise demo --out demo")
@takes_options()
def demo(
    out: Annotated[Path, "Folder for the report, the metrics and the model."] = Path("demo"),
    data: Annotated[str, "Digits: 'small' (shipped) or 'full' (MNIST in the data directory)."] = "small",
    data_dir: DataDir = Data.data_dir,
    seed: Seed = Training.seed,
    epochs: Epochs = Training.epochs,
    resume: Resume = Work.resume,
    as_json: AsJson = Output.json,
) -> None:
    """Learn from real digits which of them make a bag positive, and write a report of it."""
    with loading():
        from bagwise.commands.demo import run_demo

    metrics = run_demo(
        out, data=data, data_directory=data_dir, seed=seed, epochs=epochs, resume=resume, verbose=not as_json
    )
    if as_json:
        print_json(metrics)
        return
    rows = [
        ("bag AUC", f"{metrics['bag_auc']:.3f}"),
        ("bag accuracy", f"{metrics['bag_accuracy']:.3f}"),
        ("nines ranked by attention (AUC)", f"{metrics['instance_auc']:.3f}"),
        ("seconds", f"{metrics['seconds']:.0f}"),
    ]
    print_table("500 test bags", ["metric", "value"], rows)
    print_line(f"Open {out / 'report.html'} to see which digits decided.")


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
        _print_positive(found.numbers["positive"], to_be_named=True)
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
    sentences = ("epochs_were", "positive", "calibration", "calibrated_because")
    shown = {name: value for name, value in metrics.items() if name not in sentences}
    held_out = {name.removeprefix("held_out_"): shown.pop(name) for name in [*shown] if name.startswith("held_out_")}
    before = {name: shown.pop(f"uncalibrated_{name}", None) for name in held_out}
    rows = [(name.replace("_", " "), told(value)) for name, value in shown.items()]
    print_table(f"{model.method} on {source.data}", ["what", "value"], rows)
    if held_out:
        compared = [(name.replace("_", " "), told(value), told(before[name])) for name, value in held_out.items()]
        print_table("On bags held out of further trainings", ["what", "value", "uncalibrated"], compared)
    _print_positive(metrics.get("positive"), to_be_named=True)
    _print_epochs(metrics)
    if "calibrated_because" in metrics:
        print_line(f"Calibration: {metrics['calibration']} ({metrics['calibrated_because']}).")
    print_line("These are numbers on the bags learnt from; bagwise evaluate measures how good predictions will be.")
    print_line(f"Open {out / 'report.html'} to see which instances count.")


@app.command(epilog="Example: bagwise auto cells.csv --bag patient --label ill --minutes 10 --out run")
@takes_options(but=("epochs", "patience", "class_weight", "parameters", "backend", "address", "device", "dtype"))
def auto(
    out: Annotated[Path, "Folder for the run, the leaderboard and a report.", "--out"],
    source: Data,
    budget: Search,
    training: Training,
    work: Work,
    output: Output,
) -> None:
    """Try methods and settings for some minutes, keep the best average, and say honestly how good it is."""
    with loading():
        from bagwise.commands.data import DataSource

    known = DataSource.of(source)
    known.check_there()
    with loading():
        from bagwise.commands.auto import run_auto

    metrics = run_auto(known, out, budget, training, work, output, verbose=not output.json)
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
    _print_positive(metrics.get("positive"), to_be_named=True)
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
    _print_positive(results.get("positive"), to_be_named=True)
    _print_epochs(results)
    if results.get("never_tested"):
        print_line(f"{results['never_tested']:,} of the {results['bags']:,} bags are in no test.")
    print_line(f"Predictions of each bag by models that never saw it, and figures, are in {out}.")
    wrong = ", the wrong ones first" if results["target"] == "classes" else ""
    print_line(f"Open {out / 'report.html'} to see them{wrong}.")


@app.command(epilog="Example: bagwise predict run new.csv --out predictions.csv")
@takes_options(but=KNOWN_TO_A_RUN)
def predict(
    run: RunFolder,
    *,
    out: Annotated[
        Path | None,
        "File for the predictions: .csv, or .parquet, in which nothing is a formula; replaces earlier ones.",
    ] = None,
    share: Annotated[
        tuple[str, ...], "NAME=SHARE of a class where bags come from, such as yes=0.02; else as in training."
    ] = (),
    coverage: Annotated[
        float | None, "Give sets of classes, or intervals of numbers, that hold the truth so often, such as 0.9."
    ] = None,
    abstain: Annotated[
        float | None, "Decide about no bag whose decision would make more than this share wrong, such as 0.05."
    ] = None,
    source: Data,
    method: OwnMethod = None,
    device: Device = Work.device,
    dtype: Dtype = Work.dtype,
    as_json: AsJson = Output.json,
) -> None:
    """Predict bags; labels may be missing. Columns are called as in training unless said otherwise."""
    with loading():
        from bagwise.commands.data import DataSource
        from bagwise.commands.runs import Run, check_run

    check_run(run)
    DataSource.of(source).check_there()
    with loading():
        from bagwise.commands.predict import run_predict

    known = Run.load(run, device, method, dtype)
    data = known.source(**vars(source))
    frame = run_predict(known, data, out, shares=share, coverage=coverage, abstain=abstain, tell=say)
    rows = json.loads(frame.to_json(orient="records"))
    labels = data.labels_there()
    unused = f"Labels ({labels}) are not used: bagwise validate measures the run by them."
    if as_json:
        print_json(rows)
        if labels is not None:
            say(unused)
        return
    shown = [[told(value) for value in row.values()] for row in rows[:MOST_ROWS]]
    short = [name.replace("probability_", "p ").replace("spread_", "± ").replace("survival_", "S ") for name in rows[0]]
    print_table(f"{len(rows):,} bags", short, shown)
    if len(rows) > MOST_ROWS:
        print_line(f"... and {len(rows) - MOST_ROWS:,} more" + (": write them to a file with --out" * (out is None)))
    _print_positive(known.models[0].target_.positive)
    if labels is not None:
        print_line(unused)
    if out is not None:
        print_line(f"All of them are in {out}.")


@app.command(epilog="Example: bagwise validate run cohort.csv --by site --out validation")
@takes_options(but=KNOWN_BUT_OF_LABELS)
def validate(
    run: RunFolder,
    *,
    out: Annotated[Path, "Folder for results, predictions and figures.", "--out"],
    by: Annotated[tuple[str, ...], "Column whose values make subgroups, such as sites; repeat it for several."] = (),
    patient: Annotated[str | None, "Column that says whose a bag is: patients are measured, too."] = None,
    aggregate: Annotated[str, "What a patient's answer is of its bags': 'mean', 'maximum' or 'noisy-or'."] = "mean",
    source: Data,
    method: OwnMethod = None,
    device: Device = Work.device,
    dtype: Dtype = Work.dtype,
    output: Output,
) -> None:
    """Measure a run on labelled bags that it did not learn from. Columns are called as in training unless said."""
    with loading():
        from bagwise.commands.data import DataSource
        from bagwise.commands.runs import Run, check_run

    check_run(run)
    DataSource.of(source).check_there()
    with loading():
        from bagwise.commands.validate import run_validate
        from bagwise.io.problems import counted

    known = Run.load(run, device, method, dtype)
    results = run_validate(
        known, known.source(**vars(source)), out, output, by=by, patient=patient, aggregate=aggregate
    )
    if output.json:
        print_json(results)
        return
    for what, level in results["levels"].items():
        rows = [(name, *_with_interval(one)) for name, one in level["metrics"].items()]
        print_table(f"{source.data}: {counted(level['count'], what)}", ["metric", "value", "95 % interval"], rows)
        for sentence in level["told"]:
            print_line(sentence)
        for column, found in level["subgroups"].items():
            names = list(found["groups"][0]["metrics"])[:2]
            rows = [
                (
                    *(one["value"], told(one["count"])),
                    *(cell for name in names for cell in _with_interval(one["metrics"][name])),
                )
                for one in found["groups"]
            ]
            heads = [head for name in names for head in (name, "95 % interval")]
            print_table(f"By {column}", [column, f"{what}s", *heads], rows)
            for sentence in found["told"]:
                print_line(sentence)
    for note in results["notes"]:
        print_line(note)
    _print_positive(results["positive"])
    print_line(f"Open {out / 'report.html'} to see them, the wrong ones first.")


@app.command(epilog="Example: bagwise explain run new.csv --out explanation")
@takes_options(but=KNOWN_TO_A_RUN)
def explain(
    run: RunFolder,
    *,
    out: Annotated[Path, "Folder for the tables and maps.", "--out"],
    key: Annotated[int, "How many key instances of each bag."] = 5,
    slides: Annotated[Path | None, "The slides, or one, that features are of: draw the weights on them."] = None,
    source: Data,
    method: OwnMethod = None,
    device: Device = Work.device,
    dtype: Dtype = Work.dtype,
    output: Output,
) -> None:
    """Write which instances decided: their weights, the key instances of each bag, what sets them apart, and maps."""
    with loading():
        from bagwise.commands.data import DataSource
        from bagwise.commands.runs import Run, check_run

    check_run(run)
    DataSource.of(source).check_there()
    with loading():
        from bagwise.commands.explain import run_explain

    known = Run.load(run, device, method, dtype)
    written = run_explain(known, known.source(**vars(source)), out, output, key=key, slides=slides)
    if output.json:
        print_json(written)
        return
    print_line(f"{written['instances']:,} instances of {written['bags']:,} bags are explained in {out}:")
    for path in written["files"][:MOST_ROWS]:
        print_line(f"  {path}")
    _print_positive(written["positive"])


@app.command(epilog="Example: bagwise export run --out model.onnx")
@takes_options()
def export(
    run: RunFolder,
    out: Annotated[Path, "The ONNX file; an earlier one of Bagwise's is replaced.", "--out"],
    method: OwnMethod = None,
    as_json: AsJson = Output.json,
) -> None:
    """Write a trained model, scaler and all members, as one ONNX file for programs without Bagwise."""
    with loading():
        from bagwise.commands.runs import Run, check_run

    check_run(run)
    with loading():
        from bagwise.commands.export import run_export

    written = run_export(Run.load(run, method=method), out)
    if as_json:
        print_json(written)
        return
    rows = [
        (way.removesuffix("s"), name, kind, " x ".join(map(str, shape)))
        for way in ("inputs", "outputs")
        for name, (kind, shape) in written[way].items()
    ]
    print_table(str(out), ["", "name", "type", "shape"], rows)
    if (named := written["classes"] or written["label_names"]) is not None:
        print_line(f"Columns of the answers: {', '.join(map(str, named))}.")
    _print_positive(written["positive"])


@app.command(epilog="Example: bagwise tile slides/ --encoder run --mpp 0.5 --out features")
@takes_options()
def tile(
    slides: Annotated[tuple[str, ...], "Slides, or folders of slides."],
    encoder: Annotated[str, "A folder that bagwise fit wrote on images, or timm:NAME.", "--encoder"],
    out: Annotated[Path, "Folder for a feature file a slide, and pictures of the tissue.", "--out"],
    mpp: Annotated[float | None, "Microns a pixel of a tile."] = None,
    level: Annotated[int | None, "Level of the slide whose pixels tiles have; else 0."] = None,
    size: Annotated[int | None, "Side of a tile in pixels; else as the encoder learnt."] = None,
    pool: Annotated[str | None, "Where a network of timm gives tokens: 'token', its class token, or 'mean'."] = None,
    method: OwnMethod = None,
    device: Device = Work.device,
    resume: Resume = Work.resume,
    as_json: AsJson = Output.json,
) -> None:
    """Find the tissue of slides, cut it into tiles, and write the features of the tiles, a file a slide."""
    with loading():
        from bagwise.commands.tile import run_tile

    written = run_tile(
        slides,
        encoder,
        out,
        mpp=mpp,
        level=level,
        size=size,
        pool=pool,
        method=method,
        device=device,
        resume=resume,
        verbose=not as_json,
        tell=say,
    )
    if as_json:
        print_json(written)
    else:
        print_line(f"{len(written['slides']):,} slides are encoded in {out}:")
        for one in written["slides"][:MOST_ROWS]:  # not a table, which would cut their paths
            tiles = f"{one['tiles']:,} tiles" if "tiles" in one else "finished before"
            print_line(f"  {one['file']}: {tiles}")
        if (out / "tissue").is_dir():
            print_line(f"What was taken for tissue is drawn in {out / 'tissue'}.")
    if written["failed"]:
        raise typer.Exit(1)


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
        one |= {"shape": " x ".join(map(str, one["shape"])), "here": "yes" if one["here"] else "no"}
    rows = [[told(one[name]) for name in columns] for one in known]
    print_table("Data sets", columns, rows)


def _with_interval(one: dict[str, float | None]) -> tuple[str, str]:
    low, high = one.get("low"), one.get("high")
    return told(one["value"]), f"{low:.3f} to {high:.3f}" if low is not None and high is not None else ""


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


def _print_positive(positive: object, *, to_be_named: bool = False) -> None:
    """Say which of two classes is positive, and, where it can still be chosen, how."""
    if positive is not None:
        from bagwise.classes import ASSUMPTION

        cure = "; --positive names another" if to_be_named else ""
        print_line(f"The positive class is {positive}: {ASSUMPTION}{cure}.")
