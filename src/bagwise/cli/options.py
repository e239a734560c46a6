"""What several commands take, spelt the same everywhere."""

import inspect
from collections.abc import Callable, Collection
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

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
SkipMissing = Annotated[
    bool, typer.Option("--skip-missing", help="Leave out rows of --labels that have no file in the folder.")
]
DataDir = Annotated[Path | None, typer.Option(help="The data directory; else BAGWISE_DATA.")]
Method = Annotated[str, typer.Option(help="Name of the method, such as attention, gated-attention or MI-Net.")]
Epochs = Annotated[int | None, typer.Option(help="How often each training bag is seen (with --patience at most).")]
Patience = Annotated[int | None, typer.Option(help="Stop after so many epochs without progress on validation bags.")]
ClassWeight = Annotated[str, typer.Option(help="'balanced': classes share the loss evenly; 'none'.")]
Positive = Annotated[
    str | None, typer.Option(help="Of two classes the positive one; else that which is not called normal, no, 0, ...")
]
Seed = Annotated[int, typer.Option(help="Decides everything that is left to chance.")]
Jobs = Annotated[int, typer.Option(help="Number of worker processes; -1 is one a core.")]
Backend = Annotated[str, typer.Option(help="Where blocks of models train: 'local' or 'ray'.")]
Address = Annotated[str | None, typer.Option(help="HOST:PORT of the cluster's head, with --backend ray.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on where a stopped run in --out was.")]
Quick = Annotated[bool, typer.Option("--quick", help="A small version of the whole, in minutes.")]
TableFormat = Annotated[
    str, typer.Option("--format", help="Of tables: 'csv', or 'parquet', in which nothing is a formula.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]

# A command's `source`: an option added here is one of `check`, `fit`, `evaluate`, `predict` and `explain`.
_SOURCE: dict[str, Any] = {
    "data": Data,
    "bag": Bag,
    "label": Label,
    "group": Group,
    "instance": Instance,
    "coordinates": Coordinates,
    "labels": Labels,
    "patch": Patch,
    "points": PointsTable,
    "skip_missing": SkipMissing,
    "data_dir": DataDir,
}
KNOWN_TO_A_RUN = frozenset({"label", "group", "patch"})
Source = dict[str, Any]  # fields of `bagwise.commands.data.DataSource`


def takes_source(*, but: Collection[str] = ()) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command, in the place of its parameter `source`, the options that say what data are and how to read them.

    Parameters
    ----------
    but
        Fields of the source that it does not take.

    Returns
    -------
    decorator
        The command gets what was given as one dictionary.
    """
    options = {name: option for name, option in _SOURCE.items() if name not in but}

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def taking(**given: Any) -> None:
            source = {name: given.pop(name) for name in options}
            source["coordinates"] = tuple(source["coordinates"] or ())
            command(source=source, **given)

        parameters = []
        for parameter in inspect.signature(command).parameters.values():
            if parameter.name != "source":
                parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
                continue
            for name, option in options.items():
                default = {"data": inspect.Parameter.empty, "skip_missing": False}.get(name)
                parameters.append(
                    inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=option)
                )
        taking.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return taking

    return decorate
