"""Options of the commands, each declared once: the command line, the functions behind it and the docs read them here.

A field of one of these classes is an option of every command that takes the class: its type, its default, and in
`Annotated` what it says in the help and, where that is not the field's name, how it is spelt. What has neither a
default nor a spelling is an argument. Commands declare what is theirs alone in the same way, as parameters. Nothing
heavy is loaded here, since ``--help`` needs all of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from inspect import Parameter, signature
from pathlib import Path
from typing import Annotated, Any, Self, get_args

__all__ = [
    "Address",
    "AsJson",
    "Backend",
    "Coverage",
    "Data",
    "DataDir",
    "Device",
    "Dtype",
    "Epochs",
    "Evaluation",
    "Jobs",
    "Model",
    "Note",
    "Option",
    "Options",
    "Output",
    "OwnMethod",
    "Positive",
    "Resume",
    "Search",
    "Seed",
    "Training",
    "Trust",
    "Work",
]

# What stands in several classes, or is taken without its class.
DataDir = Annotated[Path | None, "The data directory; else BAGWISE_DATA."]
Epochs = Annotated[int | None, "How often each training bag is seen (with --patience at most)."]
Target = Annotated[
    str | None,
    "What labels are: classes, multi-label, real ('real: huber'), count, ordinal ('ordinal: low < high') or survival;"
    " else found from them.",
]
Positive = Annotated[str | None, "Of two classes the positive one; else that which is not called normal, no, 0, ..."]
Coverage = Annotated[
    float | None, "Sets of classes, or intervals of numbers, that hold the truth so often, such as 0.9."
]
Note = Annotated[str | None, "Free text for the card of the model."]
Seed = Annotated[int, "Decides everything that is left to chance."]
Jobs = Annotated[int, "Most worker processes, -1 is one a core; little work has none."]
Backend = Annotated[str, "Where blocks of models train: 'local' or 'ray'."]
Address = Annotated[str | None, "HOST:PORT of the cluster's head, with --backend ray."]
Device = Annotated[str, "Where to compute: 'auto', 'cpu', 'cuda', ..."]
Dtype = Annotated[str | None, "What neural methods compute in: 'float32', 'float64' or, on CUDA, 'mixed'."]
OwnMethod = Annotated[str | None, "Of a run with a method of your own: package.module:Class, to import.", "--method"]
Resume = Annotated[bool, "Go on where a stopped run in --out was."]
AsJson = Annotated[bool, "Print the result as JSON.", "--json"]

_SEVERAL = ("label", "group")  # columns of which there may be several, and one is a text
_LISTED = (
    "features",
    "drop",
    "categorical",
    "date",
    "bag_features",
)  # which may be said several times, and several at a time


@dataclass(frozen=True)
class Option:
    """What a field of a class, or a parameter of a command, says of itself.

    Attributes
    ----------
    name
        Of the field or the parameter.
    kind
        Its type; of a tuple the option is repeated.
    help
        What it is for.
    flag
        How it is spelt, such as ``--data-dir``; None where it is an argument.
    default
        What it is where nobody says; `Parameter.empty` where somebody must.
    """

    name: str
    kind: Any
    help: str
    flag: str | None
    default: Any

    @classmethod
    def of(cls, parameter: Parameter) -> Self:
        """Read what stands in the annotation."""
        kind, told, *spelt = get_args(parameter.annotation)
        if parameter.default is not Parameter.empty:
            spelt.append(f"--{parameter.name.replace('_', '-')}")
        return cls(parameter.name, kind, told, next(iter(spelt), None), parameter.default)


class Options:
    """What the classes below have in common.

    Examples
    --------
    >>> Data.options()["coordinates"].flag, Data.options()["data"].flag
    ('--coordinate', None)
    """

    @classmethod
    def options(cls) -> Mapping[str, Option]:
        """Give the options, by the names of their fields, and those that all of the kind have last."""
        inherited = {field.name for base in cls.__bases__ if is_dataclass(base) for field in fields(base)}
        own_first = sorted(signature(cls).parameters.values(), key=lambda parameter: parameter.name in inherited)
        return {parameter.name: Option.of(parameter) for parameter in own_first}

    def told(self) -> dict[str, Any]:
        """Say what was asked for, in what JSON can hold."""
        return {name: str(value) if isinstance(value, Path) else value for name, value in vars(self).items()}


@dataclass(frozen=True)
class Data(Options):
    """What data are, and how they are read; `bagwise.commands.data.DataSource` reads them."""

    data: Annotated[str, "A CSV or Parquet table, a folder of feature files or images, or a data set's name."]
    bag: Annotated[str | None, "Column that says which bag a row belongs to."] = None
    label: Annotated[
        tuple[str, ...], "Column with the bag's label; repeat it for several labels of 0 and 1, or several numbers."
    ] = ()
    event: Annotated[str | None, "Column that says whether a bag's event was seen (1) or not (0); with --time."] = None
    time: Annotated[str | None, "Column with when the event came, or until when the bag was seen; with --event."] = None
    group: Annotated[
        tuple[str, ...], "Column with the bag's group (patient, site, ...), never on both sides; repeat it for several."
    ] = ()
    weight: Annotated[str | None, "Column with the bag's weight: how much it counts, 0 or more."] = None
    split: Annotated[str | None, "Column that says of each bag whether it is for train, val or test."] = None
    instance: Annotated[str | None, "Column with names of instances."] = None
    coordinates: Annotated[
        tuple[str, ...], "Column that says where an instance was; once an axis.", "--coordinate"
    ] = ()
    features: Annotated[
        tuple[str, ...], "Columns that are features, names or patterns joined by commas: 'size,red_*'; else all."
    ] = ()
    drop: Annotated[tuple[str, ...], "Columns that are no features, names or patterns joined by commas."] = ()
    categorical: Annotated[
        tuple[str, ...],
        "Features that are categories, also if they are numbers; names or patterns joined by commas.",
    ] = ()
    date: Annotated[
        tuple[str, ...], "Features that are dates, though they are text or numbers; names or patterns joined by commas."
    ] = ()
    order: Annotated[
        str | None, "Column of time or rank: instances then say where they stand, and what the one before was."
    ] = None
    bag_features: Annotated[
        tuple[str, ...],
        "Columns that belong to the bag, here or in --labels; names or patterns joined by commas.",
        "--bag-feature",
    ] = ()
    labels: Annotated[
        Path | None, "Table with a bag's label in each row: bag,label[,group][,file][,features of bags]."
    ] = None
    patch: Annotated[int | None, "Side of the patches that images are cut into, in pixels."] = None
    points: Annotated[Path | None, "CSV of points to cut images around: bag,x,y, in pixels from 0."] = None
    skip_missing: Annotated[bool, "Leave out rows of --labels that have no file in the folder."] = False
    data_dir: DataDir = None

    def __post_init__(self) -> None:
        """Take one label or group as several of which there is one, and lists of columns apart."""
        for name in _SEVERAL:
            given = getattr(self, name)
            if given is None or isinstance(given, str):
                object.__setattr__(self, name, () if given is None else (given,))
        for name in _LISTED:
            parts = (part.strip() for said in getattr(self, name) for part in said.split(","))
            object.__setattr__(self, name, tuple(part for part in parts if part))

    def told(self) -> dict[str, Any]:
        """Say it, with one label or group as a text."""
        told = super().told()
        return told | {name: told[name][0] for name in _SEVERAL if len(told[name]) == 1}


@dataclass(frozen=True)
class Model(Options):
    """What is trained and kept."""

    method: Annotated[str, "Name of the method, such as attention or MI-Net; or package.module:Class."] = "attention"
    ensemble: Annotated[int, "Number of models to train together."] = 1
    note: Note = None


@dataclass(frozen=True)
class Training(Options):
    """How methods learn; what none of those asked for has is refused, and what some have not, they learn without."""

    epochs: Epochs = None
    patience: Annotated[int | None, "Stop after so many epochs without progress on validation bags."] = None
    class_weight: Annotated[str | None, "'balanced': classes share the loss evenly; 'none'; else as suits them."] = None
    target: Target = None
    positive: Positive = None
    seed: Seed = 0
    parameters: Annotated[tuple[str, ...], "NAME=VALUE: any parameter of the method; repeat it.", "--set"] = ()


@dataclass(frozen=True)
class Trust(Options):
    """How answers become what is told: calibrated probabilities, and from which on a bag is positive."""

    calibrate: Annotated[
        str | None,
        "'auto': make probabilities right by what models of parts of the bags say of the rest; 'none'; else where that"
        " costs at most 5 times the fit.",
    ] = None
    threshold: Annotated[float | None, "Above which probability a bag is positive; else as suits the classes."] = None
    cost: Annotated[str | None, "What mistakes cost, as missed=10,false=1, which decides the threshold."] = None
    sensitivity: Annotated[float | None, "The threshold finds this share of the positive bags."] = None
    specificity: Annotated[float | None, "The threshold leaves this share of the negative bags alone."] = None
    precision: Annotated[float | None, "Of those called positive this share is."] = None
    one_model: Annotated[
        bool, "Keep no models of parts of the bags, from which predict --coverage makes sets and intervals."
    ] = False


@dataclass(frozen=True)
class Search(Options):
    """How much is tried."""

    minutes: Annotated[float | None, "For how long, about; 10 where --trials is not given."] = None
    trials: Annotated[int | None, "How many candidates each search may try: then results are the same every time."] = (
        None
    )


@dataclass(frozen=True)
class Evaluation(Options):
    """What is measured, and on which bags."""

    methods: Annotated[
        tuple[str, ...],
        "Name of a method, or package.module:Class; repeat it to compare several.",
        "--method",
    ] = ("attention",)
    folds: Annotated[
        str, "Number of folds; 'group': one group after the other; or a file bag,fold[,repeat] or train,val,test."
    ] = "10"
    folds_by: Annotated[str | None, "Column with the bag's time, a number or date: tests lie after training."] = None
    repeats: Annotated[int, "How often to divide the bags anew."] = 1
    curve: Annotated[bool, "Learn from parts of the training bags, too: would more bags help?"] = False
    no_baseline: Annotated[bool, "Measure no simple methods beside, to say whether they are as good."] = False

    def told(self) -> dict[str, Any]:
        """Say it, with a number as a number."""
        return {**super().told(), "folds": int(self.folds) if self.folds.lstrip("-").isdigit() else self.folds}


@dataclass(frozen=True)
class Work(Options):
    """Where and with what it is worked."""

    jobs: Jobs = -1
    backend: Backend = "local"
    address: Address = None
    device: Device = "auto"
    dtype: Dtype = None
    resume: Resume = False


@dataclass(frozen=True)
class Output(Options):
    """How results are told."""

    format: Annotated[str, "Of tables: 'csv', or 'parquet', in which nothing is a formula."] = "csv"
    json: AsJson = False
