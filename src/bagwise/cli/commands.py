"""The command and all that it can do: parse, call, print."""

from pathlib import Path
from typing import Annotated

import typer

from bagwise._version import __version__
from bagwise.cli.asking import app as asking
from bagwise.cli.learning import app as learning
from bagwise.cli.loading import loading
from bagwise.cli.options import takes_options
from bagwise.cli.output import print_json, print_line, print_table
from bagwise.cli.reproduce import reproduce
from bagwise.commands.options import (
    AsJson,
    Data,
    DataDir,
    Epochs,
    Output,
    Resume,
    Seed,
    Training,
    Work,
)

__all__ = ["app"]

app = typer.Typer(
    help="Multiple instance learning that shows which instances decided.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(learning)
app.add_typer(asking)
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
