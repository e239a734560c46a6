"""`bagwise check`: what is wrong with data, all of it at once, before anybody trains on them."""

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from bagwise.commands.data import DataSource
from bagwise.commands.findings import Findings
from bagwise.commands.label_facts import facts_of
from bagwise.commands.options import Training
from bagwise.errors import BagwiseError
from bagwise.io.features import open_features, peek_features
from bagwise.io.images import IMAGES, Cutter
from bagwise.io.matching import FEATURE_FILES, Matched, match_files
from bagwise.io.problems import Problem, listed
from bagwise.io.tables import read_tolerantly
from bagwise.label_columns import LABEL, LabelColumns
from bagwise.targets.classes import ClassTarget
from bagwise.text import told_seconds

__all__ = ["Examination", "Problem", "examine"]

_MOST_TOLD = 20
_MOST_APART = 12  # columns of one kind that have a line each
_EPOCHS = 50


@dataclass(frozen=True)
class Examination:
    """What was found in a data set.

    Attributes
    ----------
    numbers
        Counts, sizes and estimates, as JSON can hold them.
    problems
        What is wrong, errors first.

    Examples
    --------
    >>> Examination({"bags": 3}, ()).fails
    False
    """

    numbers: dict[str, Any]
    problems: tuple[Problem, ...]

    @property
    def fails(self) -> bool:
        """Whether training would fail."""
        return any(problem.severity == "error" for problem in self.problems)

    @property
    def columns(self) -> list[list[str]]:
        """Of each column of a table its name, its kind, how it is read, what is missing, and examples, for people.

        Many columns of one kind without gaps stand in one line.
        """
        rows = [
            [name, told["kind"], told["read"], f"{told['missing']:.1%}" if told["missing"] else "0", told["examples"]]
            for name, told in self.numbers.get("columns", {}).items()
        ]
        alike = Counter(tuple(row[1:4]) for row in rows)
        lines: list[list[str]] = []
        told: set[tuple[str, ...]] = set()
        for row in rows:
            if alike[kind := tuple(row[1:4])] <= _MOST_APART:
                lines.append([*row[:4], ", ".join(row[4])])
            elif kind not in told:
                told.add(kind)
                lines.append([f"{row[0]} and {alike[kind] - 1:,} more", *kind, ", ".join(row[4])])
        return lines

    @property
    def facts(self) -> list[tuple[str, str]]:
        """Pairs of a term and its value, for people."""
        n = self.numbers
        facts = [(name, f"{n[name]:,}") for name in ("bags", "instances", "features", "groups") if n.get(name)]
        if n.get("bag_sizes"):
            facts.append(("bag sizes", "{smallest:,} to {largest:,}, median {median:,g}".format(**n["bag_sizes"])))
        if n["target"] != ClassTarget.kind:
            facts.append(("target", n["target"]))
        facts += facts_of(n["labels"])
        if n["weights"]:
            facts.append(("weights", "{smallest:g} to {largest:g}, median {median:g}".format(**n["weights"])))
        if n.get("range"):
            facts.append(("range of features", f"{n['range'][0]:.4g} to {n['range'][1]:.4g}"))
        if n.get("memory_bytes"):
            facts.append(("memory to train", f"{n['memory_bytes'] / 2**20:,.0f} MiB{n['memory_note']}"))
        if n.get("epoch_seconds") is not None:
            facts.append(("time of an epoch", f"about {told_seconds(n['epoch_seconds'])}"))
            facts.append((f"time of {_EPOCHS} epochs", f"about {told_seconds(n['epoch_seconds'] * _EPOCHS)}"))
        return facts

    def as_dict(self) -> dict[str, Any]:
        """Say all of it in what JSON can hold.

        Returns
        -------
        dict
            The numbers, ``problems`` and ``fails``.
        """
        return {**self.numbers, "problems": [asdict(problem) for problem in self.problems], "fails": self.fails}


def examine(
    source: DataSource, positive: str | None = Training.positive, target: str | None = Training.target
) -> Examination:
    """Look at all of a data set, one file at a time, and say what is wrong with it.

    Unlike reading, which stops at the first fault, this goes on and collects them.

    Parameters
    ----------
    source
        The data.
    positive
        The positive class, as it is written; None as in `bagwise.classes.positive_of`.
    target
        What the labels are; None finds it from them.

    Returns
    -------
    Examination

    Raises
    ------
    BagwiseError
        If nothing can be looked at: there is no such file, or no such column.
    """
    path = source.path
    found = Findings(named=positive, target=target, columns=source.label_columns or LabelColumns((LABEL,)))
    if path is None:
        found.take_bags(source.read())
    elif path.is_dir():
        _examine_folder(source, path, found)
    else:
        _examine_table(source, path, found)
    if len(source.group) > 1:
        found.groups = list(source.groups(found.names))
    if source.weight is not None:
        found.weights, wrong = source.known_weights(found.names)
        found.problems += wrong
    found.judge()
    if not found.fails:
        found.reckon(source)
    order = {"error": 0, "warning": 1}
    return Examination(found.numbers(), tuple(sorted(found.problems, key=lambda problem: order[problem.severity])))


def _examine_folder(source: DataSource, folder: Path, found: Findings) -> None:
    if source.labels is None:
        raise BagwiseError(f"{folder} is a folder: say with --labels which table has the label of each bag")
    patches = source.patches(folder)
    kind = FEATURE_FILES if patches is None else IMAGES
    bag = source.bag or "bag"
    matched = match_files(
        folder,
        source.labels,
        bag=bag,
        label=source.label_columns_apart,
        group=source.first_group,
        skip_missing=source.skip_missing,
        kind=kind,
        problems=found.problems,
    )
    found.in_files = True
    unreadable = (
        _take_features(matched, found) if patches is None else _take_images(matched, Cutter(patches, bag), found)
    )
    for sentence in unreadable[:_MOST_TOLD]:
        found.say("error", "unreadable", sentence)
    if len(unreadable) > _MOST_TOLD:
        found.say("error", "unreadable", f"{len(unreadable) - _MOST_TOLD} more files cannot be read")


def _take_images(matched: Matched, cutter: Cutter, found: Findings) -> list[str]:
    """Look at the patches of each image; give what was wrong with those that cannot be read."""
    unreadable = []
    found.item_bytes = 1
    for bag in matched.bags:
        try:
            sources, _ = cutter.cut(bag)
            blocks = [source.read(0, len(source.corners)) for source in sources]
        except BagwiseError as error:
            unreadable.append(str(error))
            continue
        found.take(bag.name, bag.label, bag.group, [block.reshape(len(block), -1) for block in blocks])
    return unreadable


def _take_features(matched: Matched, found: Findings) -> list[str]:
    """Look at each feature file; give what was wrong with those that cannot be read."""
    unreadable: list[str] = []
    widths: dict[int, list[str]] = {}
    for bag in matched.bags:
        try:
            for width in {peek_features(file).width for file in bag.files}:
                widths.setdefault(width, []).append(bag.name)
        except BagwiseError as error:
            unreadable.append(str(error))
    usual = max(widths, key=lambda width: len(widths[width]), default=0)
    odd = {name for width, names in widths.items() if width != usual for name in names}
    whole = set(widths.get(usual, ())) - odd
    for bag in matched.bags:
        if bag.name not in whole:
            continue
        try:
            blocks = [_values(file) for file in bag.files]
        except BagwiseError as error:
            unreadable.append(str(error))
            continue
        found.item_bytes = blocks[0].dtype.itemsize
        found.take(bag.name, bag.label, bag.group, blocks)
    if len(widths) > 1:
        told = "; ".join(f"{width} in {len(names)} bags ({listed(names)})" for width, names in widths.items())
        found.say("error", "mixed-widths", f"bags differ in their number of features, {told}: extract them all alike")
    return unreadable


def _values(file: Path) -> NDArray[Any]:
    with open_features(file, check_values=False) as opened:
        return opened[:]


def _examine_table(source: DataSource, path: Path, found: Findings) -> None:
    if source.bag is None or not source.label_columns:
        raise BagwiseError(
            f"{path} needs --bag and --label (or --event and --time), the columns with the bag of each row and its"
            " label"
        )
    table = read_tolerantly(
        path,
        bag=source.bag,
        label=source.label_columns,
        group=source.first_group,
        wanted=source.wanted,
        others=[
            *source.coordinates,
            *source.beside_in(path, source.weight, source.split, *source.group[1:]),
            *([] if source.instance is None else [source.instance]),
        ],
        labels=source.labels,
    )
    found.feature_names = [column.name for column in table.columns]
    found.kinds, found.raw = table.kinds, table.columns
    found.item_bytes = 8
    found.problems += table.problems
    for name, label, group, instances in table.bags():
        found.take(name, label, group, [instances])
