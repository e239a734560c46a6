"""The command `bagwise`: parse, call, print."""

import json
import sys
from pathlib import Path
from typing import Annotated

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
    data_dir: Annotated[Path | None, typer.Option(help="The data directory; else BAGWISE_DATA.")] = None,
    seed: Annotated[int, typer.Option(help="Decides the bags and the training.")] = 0,
    epochs: Annotated[int | None, typer.Option(help="How often each training bag is seen.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where a stopped run in --out was.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the metrics as JSON.")] = False,
) -> None:
    """Learn from real digits which of them make a bag positive, and write a report of it."""
    from bagwise.demo import run_demo

    metrics = run_demo(
        out, data=data, data_directory=data_dir, seed=seed, epochs=epochs, resume=resume, verbose=not as_json
    )
    if as_json:
        typer.echo(json.dumps(metrics))
        return
    table = Table(title="500 test bags", title_justify="left")
    table.add_column("metric")
    table.add_column("value", justify="right")
    table.add_row("bag AUC", f"{metrics['bag_auc']:.3f}")
    table.add_row("bag accuracy", f"{metrics['bag_accuracy']:.3f}")
    table.add_row("nines ranked by attention (AUC)", f"{metrics['instance_auc']:.3f}")
    table.add_row("seconds", f"{metrics['seconds']:.0f}")
    Console().print(table)
    typer.echo(f"Open {out / 'report.html'} to see which digits decided.")


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
