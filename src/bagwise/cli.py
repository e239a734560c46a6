"""The command `bagwise`: parse, call, print."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from bagwise._version import __version__
from bagwise.errors import BagwiseError

__all__ = ["app", "main"]

INTERRUPTED = 130

app = typer.Typer(
    help="Multiple instance learning that shows which instances decided.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

# What several commands take, spelt the same everywhere.
Data = Annotated[
    str, typer.Argument(help="A CSV or Parquet table, a folder of feature files or images, or a data set's name.")
]
RunFolder = Annotated[Path, typer.Argument(help="A folder that bagwise fit wrote.")]
Bag = Annotated[str | None, typer.Option(help="Column that says which bag a row belongs to.")]
Label = Annotated[str | None, typer.Option(help="Column with the bag's label.")]
Group = Annotated[str | None, typer.Option(help="Column with the bag's group (patient, ...), never on both sides.")]
Instance = Annotated[str | None, typer.Option(help="Column with names of instances.")]
Coordinates = Annotated[
    list[str] | None, typer.Option("--coordinate", help="Column that says where an instance was; once an axis.")
]
Labels = Annotated[Path | None, typer.Option(help="Table with a bag's label in each row: bag,label[,group][,file].")]
Patch = Annotated[int | None, typer.Option(help="Side of the patches that images are cut into, in pixels.")]
PointsTable = Annotated[
    Path | None, typer.Option("--points", help="CSV of points to cut images around: bag,x,y, in pixels from 0.")
]
DataDir = Annotated[Path | None, typer.Option(help="The data directory; else BAGWISE_DATA.")]
Method = Annotated[str, typer.Option(help="Name of the method, such as attention, gated-attention or MI-Net.")]
Epochs = Annotated[int | None, typer.Option(help="How often each training bag is seen (with --patience at most).")]
Patience = Annotated[int | None, typer.Option(help="Stop after so many epochs without progress on validation bags.")]
ClassWeight = Annotated[str, typer.Option(help="'balanced': classes share the loss evenly; 'none'.")]
Seed = Annotated[int, typer.Option(help="Decides everything that is left to chance.")]
Jobs = Annotated[int, typer.Option(help="Number of worker processes; -1 is one a core.")]
Backend = Annotated[str, typer.Option(help="Where blocks of models train: 'local' or 'ray'.")]
Address = Annotated[str | None, typer.Option(help="HOST:PORT of the cluster's head, with --backend ray.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on where a stopped run in --out was.")]
Quick = Annotated[bool, typer.Option("--quick", help="A small version of the whole, in minutes.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"bagwise {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Multiple instance learning that shows which instances decided."""


@app.command(epilog="Example: bagwise demo --out demo")
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the report, the metrics and the model.")] = Path("demo"),
    data: Annotated[
        str, typer.Option(help="Digits: 'small' (shipped) or 'full' (MNIST in the data directory).")
    ] = "small",
    data_dir: DataDir = None,
    seed: Seed = 0,
    epochs: Epochs = None,
    resume: Resume = False,
    as_json: AsJson = False,
) -> None:
    """Learn from real digits which of them make a bag positive, and write a report of it."""
    from bagwise.commands.demo import run_demo

    metrics = run_demo(
        out, data=data, data_directory=data_dir, seed=seed, epochs=epochs, resume=resume, verbose=not as_json
    )
    if as_json:
        _print_json(metrics)
        return
    rows = [
        ("bag AUC", f"{metrics['bag_auc']:.3f}"),
        ("bag accuracy", f"{metrics['bag_accuracy']:.3f}"),
        ("nines ranked by attention (AUC)", f"{metrics['instance_auc']:.3f}"),
        ("seconds", f"{metrics['seconds']:.0f}"),
    ]
    _print_table("500 test bags", ["metric", "value"], rows)
    typer.echo(f"Open {out / 'report.html'} to see which digits decided.")


@app.command(epilog="Example: bagwise check cells.csv --bag patient --label ill")
def check(
    data: Data,
    bag: Bag = None,
    label: Label = None,
    group: Group = None,
    instance: Instance = None,
    coordinate: Coordinates = None,
    labels: Labels = None,
    patch: Patch = None,
    points: PointsTable = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Examine a data set before training; the exit status is 1 if training would fail."""
    from bagwise.commands.check import examine
    from bagwise.commands.data import DataSource

    found = examine(
        DataSource(data, bag, label, group, instance, tuple(coordinate or ()), labels, data_dir, patch, points)
    )
    if as_json:
        _print_json(found.as_dict())
    else:
        _print_table(data, ["what", "value"], found.facts)
        for problem in found.problems:
            typer.echo(f"{problem.severity}: {problem.sentence}")
        if not found.problems:
            typer.echo("Nothing is wrong with it.")
    if found.fails:
        raise typer.Exit(1)


@app.command(epilog="Example: bagwise fit slides/ --labels labels.csv --out run")
def fit(
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder for the model, its metrics and a report.")],
    bag: Bag = None,
    label: Label = None,
    group: Group = None,
    instance: Instance = None,
    coordinate: Coordinates = None,
    labels: Labels = None,
    patch: Patch = None,
    points: PointsTable = None,
    data_dir: DataDir = None,
    method: Method = "attention",
    ensemble: Annotated[int, typer.Option(help="Number of models to train together.")] = 1,
    epochs: Epochs = None,
    patience: Patience = None,
    class_weight: ClassWeight = "balanced",
    seed: Seed = 0,
    jobs: Jobs = -1,
    backend: Backend = "local",
    address: Address = None,
    resume: Resume = False,
    as_json: AsJson = False,
) -> None:
    """Train a model, or an ensemble, on your own bags."""
    from bagwise.commands.cluster import workers
    from bagwise.commands.data import DataSource
    from bagwise.commands.fit import run_fit

    with workers(backend, address):
        metrics = run_fit(
            DataSource(data, bag, label, group, instance, tuple(coordinate or ()), labels, data_dir, patch, points),
            out,
            method=method,
            ensemble=ensemble,
            epochs=epochs,
            patience=patience,
            class_weight=None if class_weight == "none" else class_weight,
            seed=seed,
            jobs=jobs,
            resume=resume,
            verbose=not as_json,
        )
    if as_json:
        _print_json(metrics)
        return
    shown = [(name.replace("_", " "), _told(value)) for name, value in metrics.items() if name != "epochs_were"]
    _print_table(f"{method} on {data}", ["what", "value"], shown)
    typer.echo(f"The number of epochs was {metrics['epochs_were']}.")
    typer.echo("These are numbers on the bags learnt from; bagwise evaluate measures how good predictions will be.")
    typer.echo(f"Open {out / 'report.html'} to see which instances count.")


@app.command(epilog="Example: bagwise evaluate musk1 --method attention --method MI-Net --repeats 5 --out evaluation")
def evaluate(
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder for results, out-of-fold predictions and figures.")],
    bag: Bag = None,
    label: Label = None,
    group: Group = None,
    instance: Instance = None,
    coordinate: Coordinates = None,
    labels: Labels = None,
    patch: Patch = None,
    points: PointsTable = None,
    data_dir: DataDir = None,
    method: Annotated[list[str] | None, typer.Option(help="Name of a method; repeat it to compare several.")] = None,
    folds: Annotated[int, typer.Option(help="Number of folds.")] = 10,
    repeats: Annotated[int, typer.Option(help="How often to divide the bags anew.")] = 1,
    epochs: Epochs = None,
    patience: Patience = None,
    class_weight: ClassWeight = "balanced",
    seed: Seed = 0,
    jobs: Jobs = -1,
    backend: Backend = "local",
    address: Address = None,
    resume: Resume = False,
    as_json: AsJson = False,
) -> None:
    """Measure by cross-validation how good methods are on bags they did not learn from."""
    from bagwise.commands.cluster import workers
    from bagwise.commands.data import DataSource
    from bagwise.commands.evaluate import run_evaluate

    with workers(backend, address):
        results = run_evaluate(
            DataSource(data, bag, label, group, instance, tuple(coordinate or ()), labels, data_dir, patch, points),
            out,
            methods=method or ["attention"],
            folds=folds,
            repeats=repeats,
            epochs=epochs,
            patience=patience,
            class_weight=None if class_weight == "none" else class_weight,
            seed=seed,
            jobs=jobs,
            resume=resume,
            verbose=not as_json,
        )
    if as_json:
        _print_json(results)
        return
    rows = [
        (row["method"], row["metric"], *(_told(row[name]) for name in ("mean", "sd_folds", "se_repeats")))
        for row in results["rows"]
    ]
    title = f"{data}: {repeats} x {folds} folds, protocol {results['rows'][0]['protocol']}"
    _print_table(title, ["method", "metric", "mean", "SD over folds", "SE over repeats"], rows)
    if results["differences"]:
        rows = [
            (f"{row['first']} - {row['second']}", row["metric"], f"{row['difference']:+.3f}", _told(row["p_value"]))
            for row in results["differences"]
        ]
        _print_table("Differences (corrected resampled t-test)", ["methods", "metric", "difference", "p"], rows)
    typer.echo(f"The number of epochs was {results['epochs_were']}.")
    typer.echo(f"Predictions of each bag by models that never saw it, and figures, are in {out}.")
    typer.echo(f"Open {out / 'report.html'} to see them, the wrong ones first.")


@app.command(epilog="Example: bagwise predict run new.csv --out predictions.csv")
def predict(
    run: RunFolder,
    data: Data,
    out: Annotated[Path | None, typer.Option(help="CSV or Parquet file for the predictions.")] = None,
    bag: Bag = None,
    instance: Instance = None,
    labels: Labels = None,
    points: PointsTable = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Predict bags; labels may be missing. Columns are called as in training unless said otherwise."""
    from bagwise.commands.predict import run_predict
    from bagwise.commands.runs import Run

    known = Run.load(run)
    frame = run_predict(
        known, known.source(data, bag=bag, instance=instance, labels=labels, data_dir=data_dir, points=points), out
    )
    rows = json.loads(frame.to_json(orient="records"))
    if as_json:
        _print_json(rows)
        return
    shown = [[_told(value) for value in row.values()] for row in rows[:_MOST_ROWS]]
    short = [name.replace("probability_", "p ").replace("spread_", "± ") for name in frame.columns]
    _print_table(f"{len(rows):,} bags", short, shown)
    if len(rows) > _MOST_ROWS:
        typer.echo(f"... and {len(rows) - _MOST_ROWS:,} more" + (": write them to a file with --out" * (out is None)))
    if out is not None:
        typer.echo(f"All of them are in {out}.")


@app.command(epilog="Example: bagwise explain run new.csv --out explanation")
def explain(
    run: RunFolder,
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder for the tables and maps.")],
    file_format: Annotated[str, typer.Option("--format", help="Of the tables: 'csv' or 'parquet'.")] = "csv",
    key: Annotated[int, typer.Option(help="How many key instances of each bag.")] = 5,
    slides: Annotated[
        Path | None, typer.Option(help="The slides, or one, that features are of: draw the weights on them.")
    ] = None,
    bag: Bag = None,
    instance: Instance = None,
    coordinate: Coordinates = None,
    labels: Labels = None,
    points: PointsTable = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Write which instances decided: their weights, the key instances of each bag, what sets them apart, and maps."""
    from bagwise.commands.explain import run_explain
    from bagwise.commands.runs import Run

    known = Run.load(run)
    coordinates = tuple(coordinate or ())
    given = {"bag": bag, "instance": instance, "coordinates": coordinates, "labels": labels}
    source = known.source(data, **given, data_dir=data_dir, points=points)
    written = run_explain(known, source, out, file_format=file_format, key=key, slides=slides)
    if as_json:
        _print_json(written)
        return
    typer.echo(f"{written['instances']:,} instances of {written['bags']:,} bags are explained in {out}:")
    for path in written["files"][:_MOST_ROWS]:
        typer.echo(f"  {path}")


@app.command(epilog="Example: bagwise tile slides/ --encoder run --mpp 0.5 --out features")
def tile(
    slides: Annotated[list[str], typer.Argument(help="Slides, or folders of slides.")],
    encoder: Annotated[str, typer.Option(help="A folder that bagwise fit wrote on images, or timm:NAME.")],
    out: Annotated[Path, typer.Option(help="Folder for a feature file a slide, and pictures of the tissue.")],
    mpp: Annotated[float | None, typer.Option(help="Microns a pixel of a tile.")] = None,
    level: Annotated[int | None, typer.Option(help="Level of the slide whose pixels tiles have; else 0.")] = None,
    size: Annotated[int | None, typer.Option(help="Side of a tile in pixels; else as the encoder learnt.")] = None,
    device: Annotated[str, typer.Option(help="Where to encode: 'auto', 'cpu', 'cuda', ...")] = "auto",
    resume: Resume = False,
    as_json: AsJson = False,
) -> None:
    """Find the tissue of slides, cut it into tiles, and write the features of the tiles, a file a slide."""
    from bagwise.commands.tile import run_tile

    written = run_tile(
        slides,
        encoder,
        out,
        mpp=mpp,
        level=level,
        size=size,
        device=device,
        resume=resume,
        verbose=not as_json,
        tell=lambda sentence: typer.echo(f"bagwise: {sentence}", err=True),
    )
    if as_json:
        _print_json(written)
    else:
        rows = [[_told(one.get(name)) for name in ("slide", "tiles", "file")] for one in written["slides"][:_MOST_ROWS]]
        _print_table(f"{len(written['slides']):,} slides", ["slide", "tiles", "file"], rows)
        typer.echo(f"What was taken for tissue is drawn in {out / 'tissue'}.")
    if written["failed"]:
        raise typer.Exit(1)


@app.command(epilog="Example: bagwise datasets")
def datasets(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """List the data sets that have a name."""
    from dataclasses import asdict

    from bagwise.datasets import list_datasets

    known = [asdict(one) for one in list_datasets(data_dir)]
    if as_json:
        _print_json(known)
        return
    columns = ["name", "bags", "instances", "shape", "title", "here"]
    for one in known:
        one |= {"shape": " x ".join(map(str, one["shape"])), "here": "yes" if one["here"] else "no"}
    rows = [[_told(one[name]) for name in columns] for one in known]
    _print_table("Data sets", columns, rows)


reproduce = typer.Typer(help="Reproduce what the paper, and Bagwise, say of themselves.", no_args_is_help=True)
app.add_typer(reproduce, name="reproduce")


@reproduce.command(epilog="Example: bagwise reproduce table1 --method attention --dataset musk1 --out table1")
def table1(
    out: Annotated[Path, typer.Option(help="Folder for the table as JSON and Markdown, a figure, and finished cells.")],
    method: Annotated[list[str] | None, typer.Option(help="One of the table's methods; repeat it. Else all.")] = None,
    dataset: Annotated[list[str] | None, typer.Option(help="One of the five sets; repeat it. Else all.")] = None,
    protocol: Annotated[
        str, typer.Option(help="'default'; 'paper': its habits; 'leaky': WRONG, the epoch is chosen on test bags.")
    ] = "default",
    select_epoch: Annotated[
        bool, typer.Option("--select-epoch", help="Choose the epoch on a fifth of the training bags.")
    ] = False,
    select_hidden: Annotated[
        bool, typer.Option("--select-L", help="Choose attention's L from 64, 128, 256 on a fifth of the training bags.")
    ] = False,
    folds: Annotated[int, typer.Option(help="Number of folds.")] = 10,
    repeats: Annotated[int, typer.Option(help="How often to divide the bags anew.")] = 5,
    epochs: Annotated[int, typer.Option(help="How often neural methods see each training bag.")] = 100,
    seed: Seed = 0,
    jobs: Jobs = -1,
    backend: Backend = "local",
    address: Address = None,
    resume: Resume = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Table 1 of the paper: thirteen methods on the five classical sets, beside the paper's numbers."""
    from bagwise.commands.cluster import workers
    from bagwise.experiments.table1 import run_table1

    with workers(backend, address):
        results = run_table1(
            out,
            methods=method or (),
            datasets=dataset or (),
            protocol=protocol,
            select_epoch=select_epoch,
            select_hidden=select_hidden,
            folds=folds,
            repeats=repeats,
            epochs=epochs,
            seed=seed,
            jobs=jobs,
            resume=resume,
            data_directory=data_dir,
            tell=lambda sentence: typer.echo(sentence, err=True),
        )
    if as_json:
        _print_json(results)
        return
    rows = [
        (
            row["dataset"],
            row["method"],
            *(_told(row[name]) for name in ("mean", "se_repeats", "sd_folds", "paper")),
            f"{row['difference']:+.3f}",
        )
        for row in results["rows"]
        if row["metric"] == "accuracy"
    ]
    columns = ["data set", "method", "accuracy", "SE over repeats", "SD over folds", "paper", "difference"]
    title = f"Table 1: {repeats} x {folds} folds, protocol {protocol}"
    if protocol == "leaky":
        title += " - NOT A RESULT: test bags chose the epoch"
    _print_table(title, columns, rows)
    typer.echo(f"The table, tests between methods and a figure are in {out}.")


@reproduce.command("mil-assumption", epilog="Example: bagwise reproduce mil-assumption --out assumption")
def mil_assumption(
    out: Annotated[Path, typer.Option(help="Folder for the verdicts as JSON and Markdown, and finished cells.")],
    method: Annotated[list[str] | None, typer.Option(help="Name of a method; repeat it. Else all.")] = None,
    seeds: Annotated[int, typer.Option(help="How often each problem is made anew.")] = 5,
    jobs: Jobs = -1,
    resume: Resume = False,
    as_json: AsJson = False,
) -> None:
    """Whether methods keep the MIL assumption: made-up problems with a shortcut that it forbids."""
    from bagwise.experiments.mil_assumption import run_mil_assumption

    results = run_mil_assumption(
        out,
        methods=method or (),
        seeds=seeds,
        jobs=jobs,
        resume=resume,
        tell=lambda sentence: typer.echo(sentence, err=True),
    )
    if as_json:
        _print_json(results)
        return
    names = ("method", "problem", "verdict", "mean", "training_mean")
    rows = [[_told(row[name]) for name in names] for row in results["rows"]]
    _print_table("The MIL assumption", ["method", "problem", "verdict", "test AUC", "training AUC"], rows)
    for name, shortcut in results["problems"].items():
        typer.echo(f"{name}: the shortcut is that {shortcut}")
    typer.echo(f"The verdicts are in {out}.")


def _add_sweep(name: str, what: str, example: str) -> None:
    @reproduce.command(name, help=what, epilog=f"Example: bagwise reproduce {name} {example}--out {name}")
    def sweep(
        out: Annotated[Path, typer.Option(help="Folder for numbers as JSON and Markdown, figures and finished cells.")],
        method: Annotated[list[str] | None, typer.Option(help="One of the methods; repeat it. Else all.")] = None,
        bags: Annotated[list[int] | None, typer.Option(help="A number of training bags; repeat it. Else all.")] = None,
        repeats: Annotated[int | None, typer.Option(help="How many training sets to draw of each number.")] = None,
        epochs: Epochs = None,
        quick: Quick = False,
        seed: Seed = 0,
        jobs: Jobs = -1,
        resume: Resume = False,
        data_dir: DataDir = None,
        as_json: AsJson = False,
    ) -> None:
        from bagwise.experiments.mnist_figures import run_mnist_bags

        results = run_mnist_bags(
            out,
            name,
            methods=method or (),
            training_bags=bags or (),
            repeats=repeats,
            epochs=epochs,
            quick=quick,
            seed=seed,
            jobs=jobs,
            resume=resume,
            data_directory=data_dir,
            tell=lambda sentence: typer.echo(sentence, err=True),
        )
        if as_json:
            _print_json(results)
            return
        names = ("mean_bag_size", "training_bags", "method", "repeats", "mean", "se_repeats")
        rows = [[_told(row[name]) for name in names] for row in results["rows"] if row["metric"] == "auc"]
        columns = ["mean size", "training bags", "method", "training sets", "AUC", "standard error"]
        _print_table("MNIST-bags", columns, rows)
        for one in results["findings"]:
            holds = "holds" if one["holds"] else "does not hold"
            typer.echo(f"{one['says']}: {holds} (p {one['p_value']:.3f})")
        typer.echo(f"Figures, and tables of key instances, are in {out}.")


_add_sweep("figure1", "Figure 1 of the paper: AUC over the number of training bags, mean bag size 10.", "--bags 50 ")
_add_sweep("figure2", "Figure 2 of the paper: the same, mean bag size 50.", "--bags 50 ")
_add_sweep("figure3", "Figure 3 of the paper: the same, mean bag size 100.", "--bags 50 ")
_add_sweep("mnist-bags", "Figures 1 to 3 together, and what they say of the paper's findings.", "--quick ")


@reproduce.command(epilog="Example: bagwise reproduce figure4 --out figure4")
def figure4(
    out: Annotated[Path, typer.Option(help="Folder for the figure and its numbers.")],
    epochs: Epochs = None,
    quick: Quick = False,
    seed: Seed = 0,
    resume: Resume = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Figure 4 of the paper: a positive bag of digits with the weights of attention."""
    from bagwise.experiments.mnist_figures import run_figure4

    results = run_figure4(out, epochs=epochs, quick=quick, seed=seed, resume=resume, data_directory=data_dir)
    if as_json:
        _print_json(results)
        return
    rows = [(str(digit), f"{weight:.5f}") for digit, weight in zip(results["digits"], results["weights"], strict=True)]
    _print_table(f"A positive bag, probability {results['probability']:.4f}", ["digit", "weight"], rows)
    typer.echo(f"The figure is in {out}.")


def _add_histology(name: str, what: str) -> None:
    @reproduce.command(name, help=what, epilog=f"Example: bagwise reproduce {name} --method attention --out {name}")
    def histology(
        out: Annotated[Path, typer.Option(help="Folder for the table as JSON and Markdown, and finished folds.")],
        method: Annotated[list[str] | None, typer.Option(help="One of the six methods; repeat it. Else all.")] = None,
        protocol: Annotated[
            str, typer.Option(help="'default': folds of images; 'grouped': blocks of tissue stay together (breast).")
        ] = "default",
        folds: Annotated[int, typer.Option(help="Number of folds.")] = 10,
        repeats: Annotated[
            int | None,
            typer.Option(help="How often to divide the images anew; else attention 3 times, the others once."),
        ] = None,
        epochs: Annotated[int, typer.Option(help="How often each training image is seen.")] = 40,
        sample: Annotated[
            int | None, typer.Option(help="Learn from at most so many patches of an image a step.")
        ] = None,
        seed: Seed = 0,
        jobs: Jobs = -1,
        resume: Resume = False,
        data_dir: DataDir = None,
        as_json: AsJson = False,
    ) -> None:
        from bagwise.experiments.histology import run_histology

        results = run_histology(
            out,
            name,
            methods=method or (),
            protocol=protocol,
            folds=folds,
            repeats=repeats,
            epochs=epochs,
            sample=sample,
            seed=seed,
            jobs=jobs,
            resume=resume,
            data_folder=data_dir,
            tell=lambda sentence: typer.echo(sentence, err=True),
        )
        if as_json:
            _print_json(results)
            return
        columns = ("method", "repeats", "metric", "mean", "se_repeats", "sd_folds", "paper")
        rows = [[_told(row[name]) for name in columns] for row in results["rows"] if "paper" in row]
        _print_table(f"{folds} folds, protocol {protocol}", columns, rows)
        typer.echo(f"The table is in {out}.")


_add_histology("table2", "Table 2 of the paper: six methods on the breast images, beside the paper's numbers.")
_add_histology("table3", "Table 3 of the paper: six methods on the colon images, beside the paper's numbers.")


@reproduce.command(epilog="Example: bagwise reproduce figure5 --out figure5")
def figure5(
    out: Annotated[Path, typer.Option(help="Folder for the figures, their numbers, and finished folds.")],
    epochs: Annotated[int, typer.Option(help="How often each training image is seen.")] = 40,
    sample: Annotated[int | None, typer.Option(help="Learn from at most so many patches of an image a step.")] = None,
    seed: Seed = 0,
    jobs: Jobs = -1,
    resume: Resume = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Figure 5 of the paper: patches of tissue times their weight, for attention and for the instance level."""
    from bagwise.experiments.histology import run_figure5

    results = run_figure5(
        out,
        epochs=epochs,
        sample=sample,
        seed=seed,
        jobs=jobs,
        resume=resume,
        data_folder=data_dir,
        tell=lambda sentence: typer.echo(sentence, err=True),
    )
    if as_json:
        _print_json(results)
        return
    for dataset, told in results["images"].items():
        typer.echo(f"{dataset}: image {told['image']}, drawn in {out / f'figure5-{dataset}.png'}")


_MOST_ROWS = 50


def _told(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "-" if value is None else str(value)


def _print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table()
    for number, name in enumerate(columns):
        table.add_column(name, justify="right" if number and number == len(columns) - 1 else "left")
    for row in rows:
        table.add_row(*row)
    console = Console()
    console.print(title, markup=False, highlight=False, soft_wrap=True)  # a table's own title breaks at its width
    console.print(table, markup=False)


def _print_json(content: Mapping[str, Any] | Sequence[Any]) -> None:
    typer.echo(json.dumps(content, default=str))


def main() -> None:
    """Run the command; what a user can put right is one sentence on standard error and exit status 1.

    Examples
    --------
    >>> sys.argv = ["bagwise", "--version"]
    >>> try:
    ...     main()
    ... except SystemExit as stop:
    ...     print(stop.code)
    bagwise ...
    0
    """
    try:
        app()
    except BagwiseError as error:
        print(f"bagwise: {error}", file=sys.stderr)
        sys.exit(1)
    except (KeyboardInterrupt, SystemExit) as stop:
        # Typer turns an interruption into this exit status, and says nothing.
        if isinstance(stop, SystemExit) and stop.code != INTERRUPTED:
            raise
        print("bagwise: stopped; the same command with --resume goes on from here", file=sys.stderr)
        sys.exit(INTERRUPTED)
