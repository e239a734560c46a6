"""The commands that make the paper's tables and figures anew: parse, call, print."""

from pathlib import Path
from typing import Annotated

import typer

from bagwise.cli.options import (
    Address,
    AsJson,
    Backend,
    DataDir,
    Epochs,
    Jobs,
    Resume,
    Seed,
)
from bagwise.cli.output import print_json, print_line, print_table, say, told
from bagwise.commands.options import Data, Output, Training, Work

__all__ = ["reproduce"]

Quick = Annotated[bool, typer.Option("--quick", help="A small version of the whole, in minutes.")]

reproduce = typer.Typer(help="Reproduce what the paper, and Bagwise, say of themselves.", no_args_is_help=True)


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
    seed: Seed = Training.seed,
    jobs: Jobs = Work.jobs,
    backend: Backend = Work.backend,
    address: Address = Work.address,
    resume: Resume = Work.resume,
    data_dir: DataDir = Data.data_dir,
    as_json: AsJson = Output.json,
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
            tell=say,
        )
    if as_json:
        print_json(results)
        return
    rows = [
        (
            row["dataset"],
            row["method"],
            *(told(row[name]) for name in ("mean", "se_repeats", "sd_folds", "paper")),
            f"{row['difference']:+.3f}",
        )
        for row in results["rows"]
        if row["metric"] == "accuracy"
    ]
    columns = ["data set", "method", "accuracy", "SE over repeats", "SD over folds", "paper", "difference"]
    title = f"Table 1: {repeats} x {folds} folds, protocol {protocol}"
    if protocol == "leaky":
        title += " - NOT A RESULT: test bags chose the epoch"
    print_table(title, columns, rows)
    print_line(f"The table, tests between methods and a figure are in {out}.")


@reproduce.command("mil-assumption", epilog="Example: bagwise reproduce mil-assumption --out assumption")
def mil_assumption(
    out: Annotated[Path, typer.Option(help="Folder for the verdicts as JSON and Markdown, and finished cells.")],
    method: Annotated[list[str] | None, typer.Option(help="Name of a method; repeat it. Else all.")] = None,
    seeds: Annotated[int, typer.Option(help="How often each problem is made anew.")] = 5,
    jobs: Jobs = Work.jobs,
    resume: Resume = Work.resume,
    as_json: AsJson = Output.json,
) -> None:
    """Whether methods keep the MIL assumption: made-up problems with a shortcut that it forbids."""
    from bagwise.experiments.mil_assumption import run_mil_assumption

    results = run_mil_assumption(
        out,
        methods=method or (),
        seeds=seeds,
        jobs=jobs,
        resume=resume,
        tell=say,
    )
    if as_json:
        print_json(results)
        return
    names = ("method", "problem", "verdict", "mean", "training_mean")
    rows = [[told(row[name]) for name in names] for row in results["rows"]]
    print_table("The MIL assumption", ["method", "problem", "verdict", "test AUC", "training AUC"], rows)
    for name, shortcut in results["problems"].items():
        print_line(f"{name}: the shortcut is that {shortcut}")
    print_line(f"The verdicts are in {out}.")


def _add_sweep(name: str, what: str, example: str) -> None:
    @reproduce.command(name, help=what, epilog=f"Example: bagwise reproduce {name} {example}--out {name}")
    def sweep(
        out: Annotated[Path, typer.Option(help="Folder for numbers as JSON and Markdown, figures and finished cells.")],
        method: Annotated[list[str] | None, typer.Option(help="One of the methods; repeat it. Else all.")] = None,
        bags: Annotated[list[int] | None, typer.Option(help="A number of training bags; repeat it. Else all.")] = None,
        repeats: Annotated[int | None, typer.Option(help="How many training sets to draw of each number.")] = None,
        epochs: Epochs = Training.epochs,
        quick: Quick = False,
        seed: Seed = Training.seed,
        jobs: Jobs = Work.jobs,
        resume: Resume = Work.resume,
        data_dir: DataDir = Data.data_dir,
        as_json: AsJson = Output.json,
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
            tell=say,
        )
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
def figure4(
    out: Annotated[Path, typer.Option(help="Folder for the figure and its numbers.")],
    epochs: Epochs = Training.epochs,
    quick: Quick = False,
    seed: Seed = Training.seed,
    resume: Resume = Work.resume,
    data_dir: DataDir = Data.data_dir,
    as_json: AsJson = Output.json,
) -> None:
    """Figure 4 of the paper: a positive bag of digits with the weights of attention."""
    from bagwise.experiments.mnist_figures import run_figure4

    results = run_figure4(out, epochs=epochs, quick=quick, seed=seed, resume=resume, data_directory=data_dir)
    if as_json:
        print_json(results)
        return
    rows = [(str(digit), f"{weight:.5f}") for digit, weight in zip(results["digits"], results["weights"], strict=True)]
    print_table(f"A positive bag, probability {results['probability']:.4f}", ["digit", "weight"], rows)
    print_line(f"The figure is in {out}.")


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
        seed: Seed = Training.seed,
        jobs: Jobs = Work.jobs,
        resume: Resume = Work.resume,
        data_dir: DataDir = Data.data_dir,
        as_json: AsJson = Output.json,
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
            tell=say,
        )
        if as_json:
            print_json(results)
            return
        columns = ("method", "repeats", "metric", "mean", "se_repeats", "sd_folds", "paper")
        rows = [[told(row[name]) for name in columns] for row in results["rows"] if "paper" in row]
        print_table(f"{folds} folds, protocol {protocol}", columns, rows)
        print_line(f"The table is in {out}.")


_add_histology("table2", "Table 2 of the paper: six methods on the breast images, beside the paper's numbers.")
_add_histology("table3", "Table 3 of the paper: six methods on the colon images, beside the paper's numbers.")


@reproduce.command(epilog="Example: bagwise reproduce figure5 --out figure5")
def figure5(
    out: Annotated[Path, typer.Option(help="Folder for the figures, their numbers, and finished folds.")],
    epochs: Annotated[int, typer.Option(help="How often each training image is seen.")] = 40,
    sample: Annotated[int | None, typer.Option(help="Learn from at most so many patches of an image a step.")] = None,
    seed: Seed = Training.seed,
    jobs: Jobs = Work.jobs,
    resume: Resume = Work.resume,
    data_dir: DataDir = Data.data_dir,
    as_json: AsJson = Output.json,
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
        tell=say,
    )
    if as_json:
        print_json(results)
        return
    for dataset, one in results["images"].items():
        print_line(f"{dataset}: image {one['image']}, drawn in {out / f'figure5-{dataset}.png'}")
