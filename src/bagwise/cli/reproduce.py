"""The commands that make the paper's tables and figures anew: parse, call, print."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from bagwise.cli.loading import loading
from bagwise.cli.options import takes_options
from bagwise.cli.output import print_json, print_line, print_table, say, told
from bagwise.commands.options import AsJson, Output
from bagwise.experiments.options import (
    Answers,
    Assumption,
    Auto,
    Choosing,
    Defaults,
    Digits,
    Payments,
    Promises,
    Slides,
    Table1,
    Tissue,
)

__all__ = ["reproduce"]

reproduce = typer.Typer(help="Reproduce what the paper, and Bagwise, say of themselves.", no_args_is_help=True)


def _show(results: dict[str, Any], tables: Callable[[Mapping[str, Any]], str], out: Path, *, as_json: bool) -> None:
    """Print results as JSON, or as the Markdown that lies beside it."""
    if as_json:
        print_json(results)
        return
    for line in tables(results).splitlines():
        print_line(line)
    print_line(f"The tables are in {out}.")


@reproduce.command(epilog="Example: bagwise reproduce table1 --method attention --dataset musk1 --out table1")
@takes_options()
def table1(
    out: Annotated[Path, "Folder for the table as JSON and Markdown, a figure, and finished cells.", "--out"],
    study: Table1,
    as_json: AsJson = Output.json,
) -> None:
    """Table 1 of the paper: thirteen methods on the five classical sets, beside the paper's numbers."""
    with loading():
        from bagwise.commands.cluster import workers
        from bagwise.experiments.table1 import run_table1

    with workers(study.backend, study.address):
        results = run_table1(out, study, tell=say)
    if as_json:
        print_json(results)
        return
    rows = [
        (
            row["dataset"],
            row["method"],
            *(told(row.get(name)) for name in ("mean", "se_repeats", "sd_folds", "paper")),
            f"{row['difference']:+.3f}" if "paper" in row else told(None),
        )
        for row in results["rows"]
        if row["metric"] == "accuracy"
    ]
    columns = ["data set", "method", "accuracy", "SE over repeats", "SD over folds", "paper", "difference"]
    title = f"Table 1: {study.repeats} x {study.folds} folds, protocol {study.protocol}"
    if study.protocol == "leaky":
        title += " - NOT A RESULT: test bags chose the epoch"
    print_table(title, columns, rows)
    print_line(f"The table, tests between methods and a figure are in {out}.")


@reproduce.command("mil-assumption", epilog="Example: bagwise reproduce mil-assumption --out assumption")
@takes_options(but=("seed", "data_dir"))
def mil_assumption(
    out: Annotated[Path, "Folder for the verdicts as JSON and Markdown, and finished cells.", "--out"],
    study: Assumption,
    as_json: AsJson = Output.json,
) -> None:
    """Whether methods keep the MIL assumption: made-up problems with a shortcut that it forbids."""
    with loading():
        from bagwise.experiments.mil_assumption import run_mil_assumption

    results = run_mil_assumption(out, study, tell=say)
    if as_json:
        print_json(results)
        return
    names = ("method", "problem", "verdict", "mean", "training_mean")
    rows = [[told(row[name]) for name in names] for row in results["rows"]]
    print_table("The MIL assumption", ["method", "problem", "verdict", "test AUC", "training AUC"], rows)
    for name, shortcut in results["problems"].items():
        print_line(f"{name}: the shortcut is that {shortcut}")
    print_line(f"The verdicts are in {out}.")


@reproduce.command(epilog="Example: bagwise reproduce choosing --method graph --out choosing")
@takes_options(but=("seed", "data_dir"))
def choosing(
    out: Annotated[Path, "Folder for the table as JSON and Markdown, and finished cells.", "--out"],
    study: Choosing,
    as_json: AsJson = Output.json,
) -> None:
    """Methods and what they can do and cost, found out by asking them."""
    with loading():
        from bagwise.experiments.choosing import run_choosing, table

    _show(run_choosing(out, study, tell=say), table, out, as_json=as_json)


@reproduce.command("known-answers", epilog="Example: bagwise reproduce known-answers --draws 1 --out known-answers")
@takes_options()
def known_answers(
    out: Annotated[Path, "Folder for the numbers as JSON and Markdown, and finished cells.", "--out"],
    study: Answers,
    as_json: AsJson = Output.json,
) -> None:
    """Methods on problems with a known answer: what they say of bags, and of what speaks for and against a class."""
    with loading():
        from bagwise.experiments.known_answers import run_known_answers, tables

    _show(run_known_answers(out, study, tell=say), tables, out, as_json=as_json)


@reproduce.command(epilog="Example: bagwise reproduce defaults --dataset musk1 --out defaults")
@takes_options()
def defaults(
    out: Annotated[Path, "Folder for the numbers as JSON and Markdown, and finished sets.", "--out"],
    study: Defaults,
    as_json: AsJson = Output.json,
) -> None:
    """Measure what defaults were chosen from: candidates on development sets, within training bags."""
    with loading():
        from bagwise.experiments.defaults import MEASURED, run_defaults

    results = run_defaults(out, study, tell=say)
    if as_json:
        print_json(results)
        return
    means = {(row["dataset"], row["candidate"], row["metric"]): told(row["mean"]) for row in results["rows"]}
    pairs = dict.fromkeys((row["dataset"], row["candidate"]) for row in results["rows"])
    rows = [(*pair, *(means[(*pair, metric)] for metric in MEASURED)) for pair in pairs]
    print_table("Candidates for defaults", ["data set", "candidate", "AUC", "accuracy", "log-loss"], rows)
    print_line(f"The tables are in {out}.")


@reproduce.command(epilog="Example: bagwise reproduce slides --part compared --draws 1 --out slides")
@takes_options(but=("data_dir",))
def slides(
    out: Annotated[Path, "Folder for the numbers as JSON and Markdown, and finished cells.", "--out"],
    study: Slides,
    as_json: AsJson = Output.json,
) -> None:
    """Defaults beside a tuned plain loop, on made slides of thousands of patches."""
    with loading():
        from bagwise.experiments.slides import MEASURED, run_slides

    results = run_slides(out, study, tell=say)
    if as_json:
        print_json(results)
        return
    means = {(row["part"], row["signal"], row["name"], row["metric"]): told(row["mean"]) for row in results["rows"]}
    of = dict.fromkeys(key[:3] for key in means)
    rows = [(*one, *(means[(*one, metric)] for metric in MEASURED)) for one in of]
    print_table("Made slides", ["part", "signal", "trained by", *MEASURED.values()], rows)
    print_line(f"The tables are in {out}.")


@reproduce.command(epilog="Example: bagwise reproduce payments --draws 1 --out payments")
@takes_options(but=("data_dir",))
def payments(
    out: Annotated[Path, "Folder for the numbers as JSON and Markdown, and finished cells.", "--out"],
    study: Payments,
    as_json: AsJson = Output.json,
) -> None:
    """Defaults on a table as people have it, beside whoever knows the rules that made it, and beside boosting."""
    with loading():
        from bagwise.experiments.payments import run_payments, tables

    _show(run_payments(out, study, tell=say), tables, out, as_json=as_json)


@reproduce.command(epilog="Example: bagwise reproduce auto --part accuracy --repeats 1 --out auto")
@takes_options()
def auto(
    out: Annotated[Path, "Folder for the numbers as JSON and Markdown, and finished cells.", "--out"],
    study: Auto,
    as_json: AsJson = Output.json,
) -> None:
    """How good AutoMIL is beside its candidates, and whether what it says of itself is true."""
    with loading():
        from bagwise.experiments.auto import run_auto

    results = run_auto(out, study, tell=say)
    if as_json:
        print_json(results)
        return
    names = ["dataset", "name", "metric", "mean", "above", "low", "high"]
    columns = ["data set", "name", "metric", "mean", "auto above", "from", "to"]
    of_drawn = ["part", "sets", "reported", "true", "optimism", "se_optimism"]
    drawn = ["part", "sets", "reported AUC", "true AUC", "difference", "standard error"]
    if results["rows"]:
        rows = [[told(row.get(name)) for name in names] for row in results["rows"]]
        print_table("AutoMIL and its candidates", columns, rows)
    if results["drawn"]:
        rows = [[told(row[name]) for name in of_drawn] for row in results["drawn"]]
        print_table("What AutoMIL says of itself", drawn, rows)
    print_line(f"The tables are in {out}.")


@reproduce.command(epilog="Example: bagwise reproduce trust --part intervals --out trust")
@takes_options()
def trust(
    out: Annotated[Path, "Folder for the numbers as JSON and Markdown, and finished cells.", "--out"],
    study: Promises,
    as_json: AsJson = Output.json,
) -> None:
    """Whether what Bagwise says of its own answers is true: intervals, sets, probabilities, thresholds, strangers."""
    with loading():
        from bagwise.experiments.trust import run_trust, tables

    _show(run_trust(out, study, tell=say), tables, out, as_json=as_json)


def _add_sweep(name: str, what: str, example: str) -> None:
    @reproduce.command(name, help=what, epilog=f"Example: bagwise reproduce {name} {example}--out {name}")
    @takes_options()
    def sweep(
        out: Annotated[Path, "Folder for numbers as JSON and Markdown, figures and finished cells.", "--out"],
        study: Digits,
        as_json: AsJson = Output.json,
    ) -> None:
        with loading():
            from bagwise.experiments.mnist_figures import run_mnist_bags

        results = run_mnist_bags(out, name, study, tell=say)
        if as_json:
            print_json(results)
            return
        names = ("mean_bag_size", "training_bags", "method", "repeats", "mean", "se_repeats")
        rows = [[told(row[name]) for name in names] for row in results["rows"] if row["metric"] == "auc"]
        columns = ["mean size", "training bags", "method", "training sets", "AUC", "standard error"]
        print_table("MNIST-bags", columns, rows)
        for one in results["findings"]:
            holds = "holds" if one["holds"] else "does not hold"
            print_line(f"{one['says']}: {holds} (p {one['p_value']:.3f})")
        print_line(f"Figures, and tables of key instances, are in {out}.")


_add_sweep("figure1", "Figure 1 of the paper: AUC over the number of training bags, mean bag size 10.", "--bags 50 ")
_add_sweep("figure2", "Figure 2 of the paper: the same, mean bag size 50.", "--bags 50 ")
_add_sweep("figure3", "Figure 3 of the paper: the same, mean bag size 100.", "--bags 50 ")
_add_sweep("mnist-bags", "Figures 1 to 3 together, and what they say of the paper's findings.", "--quick ")


@reproduce.command(epilog="Example: bagwise reproduce figure4 --out figure4")
@takes_options(but=("methods", "training_bags", "repeats", "jobs"))
def figure4(
    out: Annotated[Path, "Folder for the figure and its numbers.", "--out"],
    study: Digits,
    as_json: AsJson = Output.json,
) -> None:
    """Figure 4 of the paper: a positive bag of digits with the weights of attention."""
    with loading():
        from bagwise.experiments.mnist_figures import run_figure4

    results = run_figure4(out, study)
    if as_json:
        print_json(results)
        return
    rows = [(str(digit), f"{weight:.5f}") for digit, weight in zip(results["digits"], results["weights"], strict=True)]
    print_table(f"A positive bag, probability {results['probability']:.4f}", ["digit", "weight"], rows)
    print_line(f"The figure is in {out}.")


def _add_histology(name: str, what: str) -> None:
    @reproduce.command(name, help=what, epilog=f"Example: bagwise reproduce {name} --method attention --out {name}")
    @takes_options()
    def histology(
        out: Annotated[Path, "Folder for the table as JSON and Markdown, and finished folds.", "--out"],
        study: Tissue,
        as_json: AsJson = Output.json,
    ) -> None:
        with loading():
            from bagwise.experiments.histology import run_histology

        results = run_histology(out, name, study, tell=say)
        if as_json:
            print_json(results)
            return
        columns = ("method", "repeats", "metric", "mean", "se_repeats", "sd_folds", "paper")
        rows = [[told(row[name]) for name in columns] for row in results["rows"] if "paper" in row]
        print_table(f"{study.folds} folds, protocol {study.protocol}", columns, rows)
        print_line(f"The table is in {out}.")


_add_histology("table2", "Table 2 of the paper: six methods on the breast images, beside the paper's numbers.")
_add_histology("table3", "Table 3 of the paper: six methods on the colon images, beside the paper's numbers.")


@reproduce.command(epilog="Example: bagwise reproduce figure5 --out figure5")
@takes_options(but=("methods", "protocol", "folds", "repeats"))
def figure5(
    out: Annotated[Path, "Folder for the figures, their numbers, and finished folds.", "--out"],
    study: Tissue,
    as_json: AsJson = Output.json,
) -> None:
    """Figure 5 of the paper: patches of tissue times their weight, for attention and for the instance level."""
    with loading():
        from bagwise.experiments.histology import run_figure5

    results = run_figure5(out, study, tell=say)
    if as_json:
        print_json(results)
        return
    for dataset, one in results["images"].items():
        print_line(f"{dataset}: image {one['image']}, drawn in {out / f'figure5-{dataset}.png'}")
