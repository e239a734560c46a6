"""What `bagwise check` has seen of a data set, and its judgement."""

import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Literal

import numpy as np
import psutil
from numpy.typing import NDArray

from bagwise.bags import Bags
from bagwise.checks import LEAST_SPAN, MOST_SPAN, out_of_span
from bagwise.classes import positive_of
from bagwise.commands.data import DataSource
from bagwise.commands.label_facts import spread_of, sum_up
from bagwise.errors import BagwiseError, BagwiseWarning
from bagwise.evaluation.rehearsal import rehearse
from bagwise.feature_columns import Column
from bagwise.io.problems import Problem, counted, listed
from bagwise.kinds import Kind
from bagwise.label_columns import LABEL, LabelColumns
from bagwise.labels import valid_labels
from bagwise.targets.classes import ClassTarget
from bagwise.targets.numbers import RealTarget
from bagwise.targets.registry import resolve, target_of
from bagwise.training.cost import default_shapes, epoch_seconds

__all__ = ["Findings"]

FOLDS = 10
_MODEL_BYTES = 64 << 20


@dataclass
class Findings:
    """What was seen of a data set so far, and what is wrong with it.

    Of instances only digests are kept, so that a set may be larger than memory.

    Examples
    --------
    >>> found = Findings()
    >>> found.take("a", "ill", None, [np.zeros((2, 1))])
    >>> found.numbers()["bags"]
    1
    """

    named: str | None = None
    target: str | None = None
    columns: LabelColumns = field(default_factory=lambda: LabelColumns((LABEL,)))
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
    kinds: Mapping[str, Kind] = field(default_factory=dict)
    raw: Sequence[Column] | None = None  # of a table what the numbers of instances stand for
    width: int = 0
    item_bytes: int = 4
    in_files: bool = False
    low: NDArray[np.float64] | None = None
    high: NDArray[np.float64] | None = None
    running: list[Any] = field(default_factory=list)  # a digest of each feature
    not_finite: Counter[int] = field(default_factory=Counter)
    bags_not_finite: list[str] = field(default_factory=list)
    epoch_seconds: float | None = None

    @property
    def fails(self) -> bool:
        """Whether training would fail."""
        return any(problem.severity == "error" for problem in self.problems)

    def say(self, severity: Literal["error", "warning"], code: str, sentence: str, where: Iterable[Any] = ()) -> None:
        """Note a problem."""
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
        """Look at bags that are in memory."""
        self.feature_names = bags.feature_names
        self.item_bytes = bags.instances.dtype.itemsize
        for bag in bags:
            flat = bag.instances.reshape(len(bag), -1)
            self.take(bag.name, bag.label, bag.group, [flat])

    def _take_columns(self, name: str, block: NDArray[Any]) -> None:
        width = block.shape[1]
        if not self.running:
            self.width = width
            self.low, self.high = np.full(width, np.inf), np.full(width, -np.inf)
            self.running = [blake2b(digest_size=16) for _ in range(width)]
        assert self.low is not None
        assert self.high is not None
        finite = np.isfinite(block) if self.raw is None else np.ones(block.shape, bool)  # a gap is nothing wrong there
        if not finite.all():
            self.bags_not_finite.append(name)
            self.not_finite.update(dict(enumerate((~finite).sum(axis=0))))
        known = np.where(finite, block, np.nan) if not finite.all() else block
        self.low = np.fmin(self.low, np.fmin.reduce(known, axis=0))
        self.high = np.fmax(self.high, np.fmax.reduce(known, axis=0))
        for column, values in zip(self.running, np.ascontiguousarray(block.T), strict=True):
            column.update(values.data)

    def column_name(self, number: int) -> str:
        """Name a feature."""
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
                f"{counted(sum(self.not_finite.values()), 'value')} missing, NaN or infinite, in"
                f" {counted(len(bad), 'feature')} ({listed(columns)}) of {counted(len(self.bags_not_finite), 'bag')}"
                f" ({listed(self.bags_not_finite)}): fill in what is missing, or leave these instances out",
                columns,
            )
        if self.low is None or self.high is None or sum(self.sizes) < 2:
            return
        numbers = self._numbers
        if not bad:
            places = out_of_span(self.low[numbers], self.high[numbers])
            beyond = [self.column_name(int(numbers[place])) for place in places]
            if beyond:
                self.say(
                    "error",
                    "out-of-range",
                    f"the values of {counted(len(beyond), 'feature')} ({listed(beyond)}) are too far apart, or too"
                    f" close, to be scaled: give what spans {LEAST_SPAN:g} to {MOST_SPAN:g}, in other units, or leave"
                    " them out",
                    beyond,
                )
        constant = [self.column_name(int(number)) for number in np.flatnonzero(~(self.low < self.high))]
        if constant:
            known = np.isfinite(self.low).all()  # else features have gaps, and each is encoded if something differs
            self.say(
                "warning" if known or len(constant) < self.width else "error",
                "constant-column",
                f"{len(constant)} of {self.width} features are the same everywhere ({listed(constant)}): they say"
                " nothing, so they may be left out",
                constant,
            )
        first: dict[bytes, int] = {}
        copies = []
        for number in np.flatnonzero(self.low < self.high):
            original = first.setdefault(self.running[number].digest(), int(number))
            if original != number:
                copies.append((self.column_name(int(number)), self.column_name(original)))
        if copies:
            told = listed([f"{copy} of {original}" for copy, original in copies])
            self.say(
                "warning",
                "duplicate-column",
                f"{counted(len(copies), 'feature')} stand twice ({told}): leave the copies out",
                [copy for copy, _ in copies],
            )

    @property
    def _numbers(self) -> NDArray[np.int64]:
        """Which features are numbers."""
        if self.raw is None:
            return np.arange(self.width)
        known = [number for number, column in enumerate(self.raw) if column.kind == "number" and column.of is None]
        return np.array([number for number in known if self.low is None or self.low[number] < np.inf], np.int64)

    @property
    def kind(self) -> str:
        """Of which kind the labels are, as `bagwise.targets.registry.resolve` finds it."""
        if self.target is not None:
            return self.target.partition(":")[0]
        labels = self.known_labels
        try:
            return ClassTarget.kind if labels is None else resolve("auto", labels)
        except BagwiseError:  # which `_judge_target` says
            return RealTarget.kind

    @property
    def known_labels(self) -> NDArray[Any] | None:
        """The labels of the bags that have one, packed; None where there are none."""
        names = np.array([name for name, label in zip(self.names, self.labels, strict=True) if label is not None])
        labels = [label for label in self.labels if label is not None]
        return valid_labels(self.columns.array(labels), names.astype(object)) if labels else None

    def _judge_target(self) -> None:
        """See that labels are what the user says they are."""
        labels = self.known_labels
        if labels is None:  # which is among the problems
            return
        names = [name for name, label in zip(self.names, self.labels, strict=True) if label is not None]
        given = {"names": names, "label_names": self.columns.label_names, "positive": self.named}
        try:
            target_of(resolve(self.target or "auto", labels, **given), labels, **given)
        except BagwiseError as error:
            self.say("error", "unfit-labels", str(error))

    def _judge_labels(self) -> None:
        counts = Counter(label for label in self.labels if label is not None)
        if self.kind != ClassTarget.kind or len(self.columns.names) > 1:
            self._judge_groups()
            self._judge_target()
            return
        if len(self.names) < 2:
            few = counted(len(self.names), "bag")
            self.say("error", "too-few-bags", f"there is only {few}: two classes need a bag each, or more")
        elif len(counts) == 1:
            (label,) = counts
            self.say("error", "one-class", f"all bags have the label {label}: there must be two classes or more")
        else:
            try:
                self.positive = positive_of(sorted(counts), self.named)
            except BagwiseError as error:
                self.say("error", "positive-class", str(error))
            else:
                self._judge_target()
        self._judge_weights(counts)
        for label, count in counts.items():
            if count < FOLDS and len(counts) > 1:
                cure = f"evaluate with --folds {count}" if count > 1 else "evaluate needs two of each class"
                told = f"class {label} has {counted(count, 'bag')}, too few for {FOLDS} folds: {cure}, or get more"
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
            told = f"all bags of {listed(lacking)} have the weight 0: nothing can be learnt of them, so let some count"
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
                told = listed([f"class {label} in fold {fold}" for fold, label in lacking])
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
                    f"{len(across)} times the same bag stands under different {what} ({listed(pairs)}): {why}, so"
                    " leave the copies out",
                    pairs,
                )
        rest = [numbers for numbers in copies if numbers[0] not in told]
        if rest:
            pairs = [" and ".join(self.names[number] for number in numbers[:3]) for numbers in rest]
            self.say(
                "warning",
                "duplicate-bags",
                f"{len(rest)} times bags hold the same instances ({listed(pairs)}): in a cross-validation one may be"
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
        shapes = default_shapes(bags.instance_shape, bags.sizes)
        self.epoch_seconds = epoch_seconds(shapes, bags.instance_shape, bags.sizes)

    # ---- telling ---------------------------------------------------------------------------------------------------

    def numbers(self) -> dict[str, Any]:
        """Sum up what was seen in what JSON can hold."""
        sizes = np.array(self.sizes or [0])
        labels = self.known_labels
        of_numbers = self._numbers
        low, high = (np.zeros(0) if ends is None else ends[of_numbers] for ends in (self.low, self.high))
        known = np.isfinite(low).any()
        held = int(sizes.sum()) * self.width * max(4, self.item_bytes)
        streams = self.in_files and held > 0.25 * psutil.virtual_memory().total
        largest = int(sizes.max()) * self.width * 4
        weights = np.array([self.weights[name] for name in self.names if name in self.weights])
        told = {"columns": {name: kind.as_dict() for name, kind in self.kinds.items()}} if self.kinds else {}
        return {
            "bags": len(self.names),
            "instances": int(sizes.sum()),
            "features": self.width if self.raw is None else len({column.source for column in self.raw}),
            "groups": len({group for group in self.groups if group is not None}),
            "bag_sizes": {
                "smallest": int(sizes.min()),
                "median": float(np.median(sizes)),
                "largest": int(sizes.max()),
            },
            "target": self.kind,
            "labels": {} if labels is None else sum_up(self.kind, labels, self.columns.label or None),
            "weights": spread_of(weights),
            "positive": None if self.positive is None else str(self.positive),
            "range": [float(low.min()), float(high.max())] if known else None,
            "memory_bytes": _MODEL_BYTES + (4 * largest if streams else held + largest),
            "memory_note": ", read from the files as it goes" if streams else "",
            "epoch_seconds": self.epoch_seconds,
            **told,
        }
