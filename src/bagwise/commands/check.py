"""`bagwise check`: what is wrong with data, all of it at once, before anybody trains on them."""

import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from numbers import Real
from pathlib import Path
from typing import Any, Literal

import numpy as np
import psutil
from numpy.typing import NDArray

from bagwise.bags import Bags
from bagwise.checks import LEAST_SPAN, MOST_SPAN, out_of_span
from bagwise.classes import positive_of
from bagwise.commands.data import DataSource
from bagwise.commands.options import Training
from bagwise.errors import BagwiseError, BagwiseWarning
from bagwise.evaluation.rehearsal import rehearse
from bagwise.io.features import open_features, peek_features
from bagwise.io.images import IMAGES, Cutter
from bagwise.io.labels import Problem
from bagwise.io.matching import FEATURE_FILES, Matched, match_files
from bagwise.io.tables import read_tolerantly
from bagwise.labels import valid_labels
from bagwise.targets.classes import ClassTarget
from bagwise.targets.grades import OrdinalTarget
from bagwise.targets.registry import resolve, target_of
from bagwise.training.cost import default_shapes, epoch_seconds

__all__ = ["Examination", "Problem", "examine"]

_MOST_TOLD = 20
FOLDS = 10
_EPOCHS = 50
_MODEL_BYTES = 64 << 20


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
    def facts(self) -> list[tuple[str, str]]:
        """Pairs of a term and its value, for people."""
        n = self.numbers
        facts = [(name, f"{n[name]:,}") for name in ("bags", "instances", "features", "groups") if n.get(name)]
        if n.get("bag_sizes"):
            facts.append(("bag sizes", "{smallest:,} to {largest:,}, median {median:,g}".format(**n["bag_sizes"])))
        total = max(1, sum(n["labels"].values()))
        facts += [(f"label {label}", f"{count:,} ({count / total:.0%})") for label, count in n["labels"].items()]
        if n["label_range"]:
            facts.append((f"labels ({n['target']})", "{:g} to {:g}".format(*n["label_range"])))
        if n["weights"]:
            facts.append(("weights", "{smallest:g} to {largest:g}, median {median:g}".format(**n["weights"])))
        if n.get("range"):
            facts.append(("range of features", f"{n['range'][0]:.4g} to {n['range'][1]:.4g}"))
        if n.get("memory_bytes"):
            facts.append(("memory to train", f"{n['memory_bytes'] / 2**20:,.0f} MiB{n['memory_note']}"))
        if n.get("epoch_seconds") is not None:
            facts.append(("time of an epoch", _duration(n["epoch_seconds"])))
            facts.append((f"time of {_EPOCHS} epochs", _duration(n["epoch_seconds"] * _EPOCHS)))
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
    found = _Found(named=positive, target=target)
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


@dataclass
class _Found:
    """What was seen so far; of instances only digests are kept, so that a set may be larger than memory."""

    named: str | None = None
    target: str | None = None
    positive: Any = None
    problems: list[Problem] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    labels: list[Any] = field(default_factory=list)
    groups: list[Any] = field(default_factory=list)
    weights: dict[str, float] = field(default_factory=dict)
    bag_digests: list[bytes] = field(default_factory=list)
    instance_digests: list[NDArray[np.uint64]] = field(default_factory=list)
    feature_names: Sequence[str] | None = None
    width: int = 0
    item_bytes: int = 4
    in_files: bool = False
    low: NDArray[np.float64] | None = None
    high: NDArray[np.float64] | None = None
    columns: list[Any] = field(default_factory=list)  # a running digest of each column
    not_finite: Counter[int] = field(default_factory=Counter)
    bags_not_finite: list[str] = field(default_factory=list)
    epoch_seconds: float | None = None

    @property
    def fails(self) -> bool:
        return any(problem.severity == "error" for problem in self.problems)

    def say(self, severity: Literal["error", "warning"], code: str, sentence: str, where: Iterable[Any] = ()) -> None:
        self.problems.append(Problem.of(severity, code, sentence, where))

    def take(self, name: str, label: Any, group: Any, blocks: Iterable[NDArray[Any]]) -> None:
        """Look at one bag."""
        digests = []
        size = 0
        for block in blocks:
            size += len(block)
            self._take_columns(name, block)
            rows = np.ascontiguousarray(block)
            digests += [int.from_bytes(blake2b(row.data, digest_size=8).digest()) for row in rows]
        self.names.append(name)
        self.sizes.append(size)
        self.labels.append(label)
        self.groups.append(group)
        # A bag is a set: the order of its rows tells no bags apart.
        packed = np.sort(np.array(digests, np.uint64))
        self.bag_digests.append(blake2b(packed.data, digest_size=16).digest())
        self.instance_digests.append(packed)

    def take_bags(self, bags: Bags) -> None:
        self.feature_names = bags.feature_names
        self.item_bytes = bags.instances.dtype.itemsize
        for bag in bags:
            flat = bag.instances.reshape(len(bag), -1)
            self.take(bag.name, bag.label, bag.group, [flat])

    def _take_columns(self, name: str, block: NDArray[Any]) -> None:
        width = block.shape[1]
        if not self.columns:
            self.width = width
            self.low, self.high = np.full(width, np.inf), np.full(width, -np.inf)
            self.columns = [blake2b(digest_size=16) for _ in range(width)]
        assert self.low is not None
        assert self.high is not None
        finite = np.isfinite(block)
        if not finite.all():
            self.bags_not_finite.append(name)
            self.not_finite.update(dict(enumerate((~finite).sum(axis=0))))
        known = np.where(finite, block, np.nan) if not finite.all() else block
        self.low = np.fmin(self.low, np.fmin.reduce(known, axis=0))
        self.high = np.fmax(self.high, np.fmax.reduce(known, axis=0))
        for column, values in zip(self.columns, np.ascontiguousarray(block.T), strict=True):
            column.update(values.data)

    def column_name(self, number: int) -> str:
        return self.feature_names[number] if self.feature_names is not None else str(number)

    # ---- judging ---------------------------------------------------------------------------------------------------

    def judge(self) -> None:
        """Say what is wrong with all that was seen."""
        self._judge_values()
        self._judge_labels()
        self._judge_duplicates()

    def _judge_values(self) -> None:
        bad = [number for number, count in self.not_finite.items() if count]
        if bad:
            columns = [self.column_name(number) for number in bad]
            self.say(
                "error",
                "nan",
                f"{_counted(sum(self.not_finite.values()), 'value')} missing, NaN or infinite, in"
                f" {_counted(len(bad), 'feature')} ({_listed(columns)}) of {_counted(len(self.bags_not_finite), 'bag')}"
                f" ({_listed(self.bags_not_finite)}): fill in what is missing, or leave these instances out",
                columns,
            )
        if self.low is None or self.high is None or sum(self.sizes) < 2:
            return
        if not bad:
            beyond = [self.column_name(int(number)) for number in out_of_span(self.low, self.high)]
            if beyond:
                self.say(
                    "error",
                    "out-of-range",
                    f"the values of {_counted(len(beyond), 'feature')} ({_listed(beyond)}) are too far apart, or too"
                    f" close, to be scaled: give what spans {LEAST_SPAN:g} to {MOST_SPAN:g}, in other units, or leave"
                    " them out",
                    beyond,
                )
        constant = [self.column_name(int(number)) for number in np.flatnonzero(self.low == self.high)]
        if constant:
            self.say(
                "warning",
                "constant-column",
                f"{len(constant)} of {self.width} features are the same everywhere ({_listed(constant)}): they say"
                " nothing, so they may be left out",
                constant,
            )
        first: dict[bytes, int] = {}
        copies = []
        for number in np.flatnonzero(self.low < self.high):
            original = first.setdefault(self.columns[number].digest(), int(number))
            if original != number:
                copies.append((self.column_name(int(number)), self.column_name(original)))
        if copies:
            told = _listed([f"{copy} of {original}" for copy, original in copies])
            self.say(
                "warning",
                "duplicate-column",
                f"{_counted(len(copies), 'feature')} stand twice ({told}): leave the copies out",
                [copy for copy, _ in copies],
            )

    @property
    def kind(self) -> str:
        """Of which kind the labels are, as `bagwise.targets.registry.resolve` finds it."""
        if self.target is not None:
            return self.target.partition(":")[0]
        known = np.array([label for label in self.labels if label is not None])
        if known.dtype.kind != "f":
            return ClassTarget.kind
        return resolve("auto", valid_labels(known, np.arange(len(known)).astype(object)))

    def _judge_target(self) -> None:
        """See that labels are what the user says they are."""
        known = {n: label for n, label in zip(self.names, self.labels, strict=True) if label is not None}
        names = np.array(list(known), dtype=object)
        if not known:  # which is among the problems
            return
        try:
            held = valid_labels(list(known.values()), names)
            target_of(resolve(self.target or "auto", held), held, names=names, positive=self.named)
        except BagwiseError as error:
            self.say("error", "unfit-labels", str(error))

    def _judge_labels(self) -> None:
        counts = Counter(label for label in self.labels if label is not None)
        if self.kind != ClassTarget.kind:
            self._judge_groups()
            self._judge_target()
            return
        if len(self.names) < 2:
            few = _counted(len(self.names), "bag")
            self.say("error", "too-few-bags", f"there is only {few}: two classes need a bag each, or more")
        elif len(counts) == 1:
            (label,) = counts
            self.say("error", "one-class", f"all bags have the label {label}: there must be two classes or more")
        else:
            try:
                self.positive = positive_of(sorted(counts), self.named)
            except BagwiseError as error:
                self.say("error", "positive-class", str(error))
        self._judge_weights(counts)
        for label, count in counts.items():
            if count < FOLDS and len(counts) > 1:
                cure = f"evaluate with --folds {count}" if count > 1 else "evaluate needs two of each class"
                told = f"class {label} has {_counted(count, 'bag')}, too few for {FOLDS} folds: {cure}, or get more"
                self.say("warning", "rare-class", told, [label])
        groups = self._judge_groups()
        if None not in self.labels and self.labels:
            self._judge_folds(self.groups if groups and None not in self.groups else None)

    def _judge_groups(self) -> set[Any]:
        groups = {group for group in self.groups if group is not None}
        if groups and len(groups) < FOLDS:
            self.say(
                "warning",
                "few-groups",
                f"there are {len(groups)} groups: evaluate with at most --folds {max(2, len(groups))}",
            )
        return groups

    def _judge_weights(self, labels: Iterable[Any]) -> None:
        if len(self.weights) < len(self.names):
            return
        counted = {label for name, label in zip(self.names, self.labels, strict=True) if self.weights[name] > 0}
        lacking = [label for label in labels if label not in counted]
        if lacking:
            told = f"all bags of {_listed(lacking)} have the weight 0: nothing can be learnt of them, so let some count"
            self.say("error", "weightless-class", told, lacking)

    def _judge_folds(self, groups: Sequence[Any] | None) -> None:
        """Divide the bags as `evaluate` will."""
        found = rehearse(self.labels, groups, folds=FOLDS)
        if found is None:
            return
        cure = "get more groups of each class"
        if found.enough is not None:
            cure = f"evaluate with --folds {found.enough}, or {cure}"
        for code, lacking, what, follows in (
            ("folds-untaught", found.unlearnt, "training", "where models cannot learn it"),
            (
                "folds-untested",
                found.untested,
                "test",
                "where some measures are not defined, so their means are of the others",
            ),
        ):
            if lacking:
                count = len({fold for fold, _ in lacking})
                told = _listed([f"class {label} in fold {fold}" for fold, label in lacking])
                self.say(
                    "warning",
                    code,
                    f"of {found.folds} folds {count} would have no {what} bag of a class ({told}), {follows}: {cure}",
                    [label for _, label in lacking],
                )

    def _judge_duplicates(self) -> None:
        alike: dict[bytes, list[int]] = {}
        for number, digest in enumerate(self.bag_digests):
            alike.setdefault(digest, []).append(number)
        copies = [numbers for numbers in alike.values() if len(numbers) > 1]
        kinds = (
            ("duplicate-bags-across-labels", self.labels, "labels", "one of the labels must be wrong"),
            (
                "duplicate-bags-across-groups",
                self.groups,
                "groups",
                "what is learnt in one is known in the other: a leak",
            ),
        )
        told: set[int] = set()
        for code, values, what, why in kinds:
            across = [numbers for numbers in copies if len({values[number] for number in numbers}) > 1]
            if across:
                told.update(numbers[0] for numbers in across)
                pairs = [" and ".join(self.names[number] for number in numbers[:3]) for numbers in across]
                self.say(
                    "warning",
                    code,
                    f"{len(across)} times the same bag stands under different {what} ({_listed(pairs)}): {why}, so"
                    " leave the copies out",
                    pairs,
                )
        rest = [numbers for numbers in copies if numbers[0] not in told]
        if rest:
            pairs = [" and ".join(self.names[number] for number in numbers[:3]) for numbers in rest]
            self.say(
                "warning",
                "duplicate-bags",
                f"{len(rest)} times bags hold the same instances ({_listed(pairs)}): in a cross-validation one may be"
                " learnt from and the other tested, so leave the copies out",
                pairs,
            )
        seen = np.concatenate(self.instance_digests) if self.instance_digests else np.zeros(0)
        again = len(seen) - len(np.unique(seen))
        if again:
            share = again / sum(self.sizes)
            self.say(
                "warning",
                "duplicate-instances",
                f"{again:,} of {sum(self.sizes):,} instances ({share:.1%}) are copies of others: see that they are"
                " meant to be there twice",
            )

    def reckon(self, source: DataSource) -> None:
        """Read the data as training will, and reckon how long an epoch of the default method takes."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", BagwiseWarning)  # what it says stands among the problems
            bags = source.read()
        self.epoch_seconds = epoch_seconds(default_shapes(bags.instance_shape), bags.instance_shape, bags.sizes)

    # ---- telling ---------------------------------------------------------------------------------------------------

    def numbers(self) -> dict[str, Any]:
        sizes = np.array(self.sizes or [0])
        counts = Counter(str(label) for label in self.labels if label is not None)
        known = self.low is not None and self.high is not None and np.isfinite(self.low).any()
        held = int(sizes.sum()) * self.width * max(4, self.item_bytes)
        streams = self.in_files and held > 0.25 * psutil.virtual_memory().total
        largest = int(sizes.max()) * self.width * 4
        weights = np.array([self.weights[name] for name in self.names if name in self.weights])
        chosen = self.kind in (ClassTarget.kind, OrdinalTarget.kind)
        numbers = [float(label) for label in self.labels if isinstance(label, Real) and not chosen]
        extremes = [min(numbers), max(numbers)] if numbers else None
        return {
            "bags": len(self.names),
            "instances": int(sizes.sum()),
            "features": self.width,
            "groups": len({group for group in self.groups if group is not None}),
            "bag_sizes": {
                "smallest": int(sizes.min()),
                "median": float(np.median(sizes)),
                "largest": int(sizes.max()),
            },
            "target": self.kind,
            "labels": {} if extremes else dict(sorted(counts.items())),
            "label_range": extremes,
            "weights": {
                "smallest": float(weights.min()),
                "median": float(np.median(weights)),
                "largest": float(weights.max()),
            }
            if len(weights)
            else None,
            "positive": None if self.positive is None else str(self.positive),
            "range": [float(np.nanmin(self.low)), float(np.nanmax(self.high))] if known else None,  # type: ignore[arg-type]
            "memory_bytes": _MODEL_BYTES + (4 * largest if streams else held + largest),
            "memory_note": ", read from the files as it goes" if streams else "",
            "epoch_seconds": self.epoch_seconds,
        }


def _examine_folder(source: DataSource, folder: Path, found: _Found) -> None:
    if source.labels is None:
        raise BagwiseError(f"{folder} is a folder: say with --labels which table has the label of each bag")
    label = source.label or "label"
    patches = source.patches(folder)
    kind = FEATURE_FILES if patches is None else IMAGES
    bag = source.bag or "bag"
    matched = match_files(
        folder,
        source.labels,
        bag=bag,
        label=label,
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


def _take_images(matched: Matched, cutter: Cutter, found: _Found) -> list[str]:
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


def _take_features(matched: Matched, found: _Found) -> list[str]:
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
        told = "; ".join(f"{width} in {len(names)} bags ({_listed(names)})" for width, names in widths.items())
        found.say("error", "mixed-widths", f"bags differ in their number of features, {told}: extract them all alike")
    return unreadable


def _values(file: Path) -> NDArray[Any]:
    with open_features(file, check_values=False) as opened:
        return opened[:]


def _examine_table(source: DataSource, path: Path, found: _Found) -> None:
    if source.bag is None or source.label is None:
        raise BagwiseError(f"{path} needs --bag and --label, the columns with the bag of each row and its label")
    table = read_tolerantly(
        path,
        bag=source.bag,
        label=source.label,
        group=source.first_group,
        others=[
            *source.coordinates,
            *source.beside_in(path, source.weight, source.split, *source.group[1:]),
            *([] if source.instance is None else [source.instance]),
        ],
        labels=source.labels,
    )
    found.feature_names = table.feature_names
    found.item_bytes = 8
    found.problems += table.problems
    for name, label, group, instances in table.bags():
        found.take(name, label, group, [instances])


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}" + ("" if count == 1 else "s")


def _duration(seconds: float) -> str:
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"about {seconds / length:.0f} {unit}"
    return f"about {seconds:.2g} s"


def _listed(names: Sequence[Any], most: int = 3) -> str:
    shown = ", ".join(str(name) for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")
