"""Checked predictions of classes, and which lines figures draw of them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bagwise.classes import Classes, positive_of
from bagwise.errors import BagwiseError
from bagwise.reports.drawing import COLOURS, DASHES, Shown

__all__ = ["MOST_CLASS_LINES", "Line", "Predictions", "as_listed", "codes_of", "valid_classes"]

_MOST_LINES = len(COLOURS) * len(DASHES)
MOST_CLASS_LINES = 12  # beyond, a line a class is a tangle
_MOST_LINES_WITH_REPETITIONS = 4
_MOST_WRAPPED_NAMES = 10


@dataclass(frozen=True, eq=False)
class Line:
    """What one line of a figure is about.

    Attributes
    ----------
    name
        A method or a class.
    outcomes
        For each class that the line stands for, which bags are of it, shape (C, B).
    probabilities
        Their probabilities, shape (repeats, C, B); NaN where a bag was not tested.
    """

    name: Any
    outcomes: NDArray[np.bool_]
    probabilities: NDArray[np.float64]

    def ranked_by_repeat(self) -> list[list[tuple[NDArray[np.bool_], NDArray[np.float64]]]]:
        """Give outcomes and probabilities of the classes that some tested bags are of and some are not."""
        return [
            [(of, values) for of, values in zip(outcomes, repeat, strict=True) if of.any() and not of.all()]
            for outcomes, repeat in self._tested()
        ]

    def events_by_repeat(self) -> list[tuple[NDArray[np.bool_], NDArray[np.float64]]]:
        """Give what came true and its probability, of each tested bag: of several classes, the likeliest is right."""
        return [
            (outcomes[repeat.argmax(axis=0), np.arange(repeat.shape[1])], repeat.max(axis=0))
            for outcomes, repeat in self._tested()
        ]

    def _tested(self) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.float64]]]:
        for repeat in self.probabilities:
            tested = ~np.isnan(repeat[0])
            yield self.outcomes[:, tested], repeat[:, tested]


@dataclass(frozen=True, eq=False)
class Predictions:
    """Checked predictions, and which lines they make."""

    codes: NDArray[np.int64]
    classes: list[Any]
    column: int | None  # of the positive class
    methods: dict[Any, NDArray[np.float64]]

    @classmethod
    def of(
        cls, labels: ArrayLike, probabilities: Mapping[str, ArrayLike], classes: ArrayLike, positive: Any
    ) -> "Predictions":
        """Check them, and say in a sentence what is wrong with them."""
        listed = valid_classes(classes)
        column = Classes(np.array(listed, dtype=object), positive_of(listed, positive)).column
        codes = codes_of(as_listed(labels, "the labels"), listed, "label")
        if not isinstance(probabilities, Mapping):
            raise BagwiseError(f"the probabilities are of type {type(probabilities).__name__}: give {{name: array}}")
        if not 1 <= len(probabilities) <= _MOST_LINES:
            raise BagwiseError(f"there are {len(probabilities)} methods to draw: give 1 to {_MOST_LINES}")
        methods = {
            name: _valid_probabilities(values, str(name), len(codes), listed) for name, values in probabilities.items()
        }
        tested = np.any([~np.isnan(values[..., 0]).all(axis=0) for values in methods.values()], axis=0)
        return cls(codes[tested], listed, column, {name: values[:, tested] for name, values in methods.items()})

    @property
    def fewest(self) -> int:
        """The number of bags that are tested in the repetition that tests fewest."""
        return int(min((~np.isnan(values[..., 0])).sum(axis=1).min() for values in self.methods.values()))

    @property
    def is_binary(self) -> bool:
        """Whether there are two classes."""
        return self.column is not None

    @property
    def one_line_for_all_classes(self) -> bool:
        """Whether a line stands for the mean over classes."""
        return not self.is_binary and (len(self.methods) > 1 or len(self.classes) > MOST_CLASS_LINES)

    @property
    def thin_lines(self) -> bool:
        """Whether there is room for a line a repetition."""
        return len(self.lines()) <= _MOST_LINES_WITH_REPETITIONS

    def check_two_classes(self, what: str) -> None:
        """Raise where all bags are of one class."""
        if len(np.unique(self.codes)) < 2:
            raise BagwiseError(
                f"all bags have the label {self.classes[self.codes[0]]!r}: {what} needs bags of two classes or more"
            )

    def lines(self) -> list[Line]:
        """Give a line a method, or of one method a line a class."""
        outcomes = self.codes == np.arange(len(self.classes))[:, None]
        by_class = {name: np.moveaxis(values, -1, 1) for name, values in self.methods.items()}
        if self.column is not None:
            of_positive = [self.column]
            return [Line(name, outcomes[of_positive], values[:, of_positive]) for name, values in by_class.items()]
        if self.one_line_for_all_classes:
            return [Line(name, outcomes, values) for name, values in by_class.items()]
        (values,) = by_class.values()
        return [Line(name, outcomes[c : c + 1], values[:, c : c + 1]) for c, name in enumerate(self.classes)]

    def positive(self, shown: "Shown") -> str:
        """Say what the lines are about."""
        if self.column is not None:
            return f"Positive: {shown(self.classes[self.column], 1)}"
        return "Positive: each class against the rest"

    def said_of_mean(self) -> list[str]:
        """Say of what a line is the mean."""
        classes = [f"Lines: mean over {len(self.classes)} classes"] if self.one_line_for_all_classes else []
        return classes + self.said_of_repetitions("their mean")

    def said_of_repetitions(self, strong: str) -> list[str]:
        """Say how repetitions are drawn, and what the strong line is."""
        repeats = max(len(values) for values in self.methods.values())
        if repeats == 1:
            return []
        return [f"{repeats} repetitions: " + (f"thin; strong: {strong}" if self.thin_lines else strong)]

    def names_in(self, shown: "Shown") -> Callable[[Any], str]:
        """Give what makes names fit into the legend: where there are many, they have one line each."""
        return partial(shown, lines=2 if len(self.lines()) <= _MOST_WRAPPED_NAMES else 1)

    def styled(self) -> Iterator[tuple[Line, dict[str, Any]]]:
        """Give each line with its colour and dashes."""
        for position, line in enumerate(self.lines()):
            dash, colour = divmod(position, len(COLOURS))
            yield line, {"color": COLOURS[colour], "linestyle": DASHES[dash]}


def as_listed(values: ArrayLike, what: str) -> list[Any]:
    """Give one value or more as Python has them."""
    try:
        array = np.asarray(values, dtype=object)
    except ValueError as error:
        raise BagwiseError(f"{what} are ragged: give a list") from error
    if array.ndim != 1 or not len(array):
        raise BagwiseError(f"{what} have shape {array.shape}: give a list of one or more")
    return [value.item() if isinstance(value, np.generic) else value for value in array]


def valid_classes(classes: ArrayLike) -> list[Any]:
    """Give two classes or more, each once."""
    listed = as_listed(classes, "the classes")
    if len(listed) < 2:
        raise BagwiseError(f"there is one class, {listed[0]!r}: give two or more")
    for position, value in enumerate(listed):
        if not isinstance(value, str | Integral):
            raise BagwiseError(f"class {position} is {value!r}: classes are whole numbers, booleans or strings")
        if value in listed[:position]:
            raise BagwiseError(f"two classes are {value!r}: each class may stand only once")
    return listed


def codes_of(values: list[Any], classes: list[Any], what: str) -> NDArray[np.int64]:
    """Give the place of each value among the classes."""
    positions = {value: position for position, value in enumerate(classes)}
    for bag, value in enumerate(values):
        if not isinstance(value, str | Real) or value not in positions:
            known = ", ".join(map(repr, classes[:20])) + ", ..." * (len(classes) > 20)
            raise BagwiseError(f"bag {bag} has the {what} {value!r}: it must be one of the classes {known}")
    return np.array([positions[value] for value in values], dtype=np.int64)


def _valid_probabilities(values: ArrayLike, method: str, bags: int, classes: list[Any]) -> NDArray[np.float64]:
    whose = f"the probabilities of method {method[:80]!r}"
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise BagwiseError(f"{whose} are ragged: give one for each bag and class") from error
    if array.dtype.kind not in "biuf":
        raise BagwiseError(f"{whose} hold {array.dtype} values: they must be real numbers")
    array = array[None] if array.ndim == 2 else array
    if array.ndim != 3 or array.shape[1:] != (bags, len(classes)) or not len(array):
        raise BagwiseError(
            f"{whose} have shape {np.shape(values)}: {bags} labels and {len(classes)} classes need shape"
            f" {(bags, len(classes))}, or (repeats, {bags}, {len(classes)}) with repetitions"
        )
    untested = np.isnan(array).all(axis=2)
    for repeat in np.flatnonzero(untested.all(axis=1))[:1]:
        raise BagwiseError(f"{whose} are all NaN in repetition {repeat}: a repetition tests one bag or more")
    for repeat, bag, c in np.argwhere(~((array >= 0) & (array <= 1)) & ~untested[..., None])[:1]:
        raise BagwiseError(
            f"{whose} have {array[repeat, bag, c]} for bag {bag} and class {classes[c]!r} in repetition {repeat}:"
            " each must be between 0 and 1"
        )
    sums = array.sum(axis=2, dtype=np.float64)
    for repeat, bag in np.argwhere((np.abs(sums - 1) > 1e-3) & ~untested)[:1]:
        raise BagwiseError(
            f"{whose} of bag {bag} in repetition {repeat} have the sum {sums[repeat, bag]:.4g}: the sum must be 1"
        )
    return array.astype(np.float64)
