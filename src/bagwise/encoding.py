"""What training bags teach of columns of all kinds, and the numbers that a model is shown of them.

skrub and scikit-learn have encoders like these. What they learn is kept in objects that only pickle can write, and they
make a table where a page of instances is wanted, in torch or in NumPy; so what is learnt here is a few arrays.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from bagwise.bags import Bags
from bagwise.checks import LEAST_SPAN, MOST_SPAN
from bagwise.errors import BagwiseError
from bagwise.feature_columns import MOST_PLACES, Column, recoded
from bagwise.order import told_again
from bagwise.stored import Part, StoredInstances

__all__ = ["FEWEST_BAGS", "LIMIT", "Encoding", "encoded", "knowing"]

# Of a category that has a place of its own; it is also among the `MOST_PLACES` most frequent.
FEWEST_BAGS = 3
LIMIT = 6.0  # of a number, which is far in a tail: there, it is the logarithm of the distance
_NORMAL_QUARTILES = 1.349  # how far these lie apart in a normal distribution of spread 1
_TURNS = (86_400.0, 604_800.0, 31_556_952.0)  # seconds of a day, a week and a year


@dataclass(frozen=True, eq=False)
class Encoding:
    """How raw numbers of columns become those that a model is shown.

    A number becomes the inverse hyperbolic sine of its distance from the median, in spreads that come from the
    quartiles (the standard deviation, where these are equal), at most `LIMIT` either way; a missing one the median,
    with a mark beside it where training bags lacked any. A category has a place for each of the `MOST_PLACES` most
    frequent values that at least `FEWEST_BAGS` training bags have, one for all rarer ones, which is that of values
    never seen too, and one for nothing. A date becomes sine and cosine of the time of the day, the week and the year,
    and a time of the day of that alone. What is the same in all training bags becomes nothing. What belongs to bags
    becomes the last numbers, each bag counting once.

    Attributes
    ----------
    numbers, shift, factor
        Columns of numbers, what is taken off them, and what they are then multiplied with.
    gaps
        Columns with a mark where something is missing.
    dates, pace
        Columns of seconds, each once for each of its turns, and the angle of a second.
    categories, begins, sizes
        Columns of codes, where each begins in `places`, and how many values it has.
    places
        Of each code, of an unknown one and of nothing, one category after the other: its place, or `hot` for none.
    hot
        How many places there are; the last may be nobody's.
    of_bag
        The same of the columns that belong to bags; None where there are none.

    Examples
    --------
    >>> columns = (Column("size", "number"), Column("colour", "category", ("blue", "red")))
    >>> raw = np.array([[0.0, 0], [1, 1], [2, 0], [np.nan, 1], [4, 0], [5, 1]])
    >>> encoding = Encoding.learn(columns, raw, np.arange(7), np.arange(6))
    >>> encoding.apply(raw[1:4]).round(2).tolist()
    [[-0.44, 0.0, 0.0, 1.0], [0.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 1.0]]
    """

    numbers: Annotated[NDArray[np.int64], "N"]
    shift: Annotated[NDArray[np.float64], "N"]
    factor: Annotated[NDArray[np.float64], "N"]
    gaps: Annotated[NDArray[np.int64], "G"]
    dates: Annotated[NDArray[np.int64], "D"]
    pace: Annotated[NDArray[np.float64], "D"]
    categories: Annotated[NDArray[np.int64], "C"]
    begins: Annotated[NDArray[np.int64], "C"]
    sizes: Annotated[NDArray[np.int64], "C"]
    places: Annotated[NDArray[np.int64], "P"]
    hot: int
    of_bag: "Encoding | None" = None

    @property
    def width(self) -> int:
        """How many numbers a model is shown of an instance."""
        return len(self.numbers) + len(self.gaps) + 2 * len(self.dates) + self.hot + self.beside

    @property
    def beside(self) -> int:
        """How many of these, the last, belong to the bag."""
        return 0 if self.of_bag is None else self.of_bag.width

    @property
    def origins(self) -> NDArray[np.int64]:
        """Of each number that a model is shown the column that it was made from, shape (`width`,); -1 is nobody's."""
        hot = np.full(self.hot + 1, -1, np.int64)
        hot[self.places] = np.repeat(self.categories, self.sizes + 2)
        of_bag = np.zeros(0, np.int64) if self.of_bag is None else self.of_bag.origins
        return np.concatenate([self.numbers, self.gaps, self.dates, self.dates, hot[:-1], of_bag])

    @classmethod
    def learn(
        cls,
        columns: Sequence[Column],
        instances: NDArray[Any],
        offsets: NDArray[np.int64],
        bags: NDArray[np.int64],
        width: int | None = None,
        beside: int = 0,
    ) -> Self:
        """Learn from some bags.

        Parameters
        ----------
        columns
            What raw numbers stand for.
        instances
            Those of all bags, shape (N, D).
        offsets
            Where bags begin and the last one ends, shape (B + 1,).
        bags
            Positions of the training bags.
        width
            How many numbers a model is shown, at least as many as needed; None: as many as that.
        beside
            How many of these belong to the bag, at least as many as needed where `width` is given.

        Returns
        -------
        Encoding

        Raises
        ------
        BagwiseError
            If a number spans more than can be scaled, or nothing differs in any column.
        """
        sizes = np.diff(offsets)[bags]
        bag = np.repeat(np.arange(len(bags)), sizes)
        rows = np.repeat(offsets[bags] - np.cumsum(sizes) + sizes, sizes) + np.arange(len(bag))
        own = [number for number, column in enumerate(columns) if column.role != "bag"]
        made = cls._of(columns, own, instances, rows, bag, len(bags), None if width is None else width - beside)
        if len(own) < len(columns):
            others = [number for number, column in enumerate(columns) if column.role == "bag"]
            once = np.arange(len(bags))
            of_bag = cls._of(columns, others, instances, offsets[bags], once, len(bags), beside or None)
            made = replace(made, of_bag=of_bag if of_bag.width else None)
        if not made.width:
            raise BagwiseError("in no column anything differs within the training bags: there is nothing to learn from")
        return made

    @classmethod
    def _of(
        cls,
        columns: Sequence[Column],
        chosen: Sequence[int],
        instances: NDArray[Any],
        rows: NDArray[np.int64],
        bag: NDArray[np.int64],
        count: int,
        width: int | None,
    ) -> Self:
        """Learn some columns from some rows, each of one of so many bags."""
        numbers: list[tuple[int, float, float]] = []
        dates: list[tuple[int, float]] = []
        tables: list[tuple[int, NDArray[np.int64]]] = []
        gaps: list[int] = []
        place = {column.name: number for number, column in enumerate(columns)}
        for number in chosen:
            column = columns[number]
            if column.role == "before":
                continue
            values = instances[rows, number]
            missing = np.isnan(values)
            if column.kind == "category":
                table = _places(values, missing, bag, len(column.values), count)
                if table.max(initial=-1) > 0:
                    tables.append((number, table))
                continue
            known = values[~missing] if missing.any() else values
            if column.kind == "date":
                of_a_day = len(known) and known.min() >= 0 and known.max() < _TURNS[0]
                possible = _TURNS[:1] if of_a_day else _TURNS
                turns = [turn for turn in possible if len(known) and np.ptp(known % turn) > 0]
                dates += [(number, 2 * np.pi / turn) for turn in turns]
            elif (scale := _scale(column, known)) is not None:
                numbers.append((number, *scale))
            if missing.any() and not missing.all() and (column.of is None or column.role == "since"):
                gaps.append(number)
        # What the one before was is shown as what an instance is itself.
        for number, base in [(n, place[str(columns[n].of)]) for n in chosen if columns[n].role == "before"]:
            numbers += [(number, shift, factor) for known, shift, factor in numbers if known == base]
            dates += [(number, pace) for known, pace in dates if known == base]
            tables += [(number, table) for known, table in tables if known == base]
            gaps += [number for known in gaps if known == base]
        *begins, hot = np.cumsum([0, *(table.max() + 1 for _, table in tables)]).tolist()
        tables = [
            (number, np.where(table < 0, -1, table + begin))
            for (number, table), begin in zip(tables, begins, strict=True)
        ]
        made = cls(
            np.array([number for number, _, _ in numbers], np.int64),
            np.array([shift for _, shift, _ in numbers]),
            np.array([factor for _, _, factor in numbers]),
            np.array(gaps, np.int64),
            np.array([number for number, _ in dates], np.int64),
            np.array([pace for _, pace in dates]),
            np.array([number for number, _ in tables], np.int64),
            np.cumsum([0, *(len(table) for _, table in tables)])[:-1].astype(np.int64),
            np.array([len(table) - 2 for _, table in tables], np.int64),
            np.concatenate([np.zeros(0, np.int64), *(table for _, table in tables)]),
            hot,
        )
        wider = made if width is None else replace(made, hot=hot + width - made.width)
        return replace(wider, places=np.where(made.places < 0, wider.hot, made.places))

    def apply(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        """Give what a model is shown of raw numbers, shape (n, D): shape (n, `width`)."""
        shown = np.zeros((len(rows), self.width))
        numbers, marked, turned, hot, beside = np.split(
            shown, np.cumsum([len(self.numbers), len(self.gaps), 2 * len(self.dates), self.hot]), 1
        )
        if self.of_bag is not None:
            beside[:] = self.of_bag.apply(rows)
        with np.errstate(over="ignore"):
            scaled = np.arcsinh((rows[:, self.numbers] - self.shift) * self.factor)
        numbers[:] = np.nan_to_num(np.clip(scaled, -LIMIT, LIMIT))
        marked[:] = np.isnan(rows[:, self.gaps])
        angles = rows[:, self.dates] * self.pace
        turned[:] = np.nan_to_num(np.concatenate([np.sin(angles), np.cos(angles)], axis=1))
        codes = rows[:, self.categories]
        codes = np.where(np.isnan(codes), self.sizes + 1, np.clip(codes, 0, self.sizes)).astype(np.int64)
        place = self.places[self.begins + codes]
        row, _ = np.nonzero(place < self.hot)
        hot[row, place[place < self.hot]] = 1.0
        return shown

    def check(self, width: int) -> None:
        """See that it goes together, and reads so many columns; a ValueError says that it does not."""
        columns = (self.numbers, self.gaps, self.dates, self.categories)
        inside = all(((column >= 0) & (column < width)).all() for column in columns)
        begins = np.cumsum([0, *(self.sizes + 2)])
        if not inside or self.hot < 0 or (self.sizes < 0).any() or not np.array_equal(begins[:-1], self.begins):
            raise ValueError("its encoding is none")
        if len(self.places) != begins[-1] or ((self.places < 0) | (self.places > self.hot)).any():
            raise ValueError("its encoding has places out of range")
        if self.of_bag is not None:
            if self.of_bag.of_bag is not None:
                raise ValueError("its encoding has bags of bags")
            self.of_bag.check(width)


def knowing(bags: Bags, train: NDArray[np.int64]) -> Bags:
    """Give bags that know no values of categories but those of some of them, so that a model keeps no others.

    Parameters
    ----------
    bags
        Any.
    train
        Positions of the bags that are learnt from.

    Returns
    -------
    Bags
        The very same, where there is nothing to forget.

    Examples
    --------
    >>> columns = (Column("colour", "category", ("blue", "green", "red")),)
    >>> bags = Bags(np.array([[0.0], [2.0], [1.0]]), np.arange(4), feature_names=["colour"], columns=columns)
    >>> known = knowing(bags, np.array([0, 1]))
    >>> known.columns[0].values, known.instances.ravel().tolist()
    (('blue', 'red'), [0.0, 1.0, 2.0])
    """
    if bags.columns is None:
        return bags
    assert isinstance(bags.instances, np.ndarray)
    learnt = np.zeros(len(bags), bool)
    learnt[train] = True
    rows, columns = np.repeat(learnt, bags.sizes), []
    for number, column in enumerate(bags.columns):
        if column.kind == "category":
            codes = bags.instances[rows, number]
            counts = np.bincount(codes[~np.isnan(codes)].astype(np.int64), minlength=len(column.values) + 1)
            column = replace(column, values=tuple(column.values[code] for code in np.flatnonzero(counts[:-1])))
        columns.append(column)
    known = {column.name: column.values for column in columns}
    columns = [replace(one, values=known[str(one.of)]) if one.role == "before" else one for one in columns]
    if bags.columns == tuple(columns):
        return bags
    assert bags.feature_names is not None
    codes = recoded(bags.instances, bags.columns, bags.feature_names, columns)
    return replace(bags, instances=told_again(codes, columns, bags.offsets), columns=tuple(columns))


def encoded(bags: Bags, encoding: Encoding) -> Bags:
    """Give bags as a model is shown them, each page when it is read.

    Parameters
    ----------
    bags
        With `columns`.
    encoding
        What was learnt of training bags.

    Returns
    -------
    Bags
        Of numbers, without names of features.

    Examples
    --------
    >>> columns = (Column("colour", "category", ("blue", "red")),)
    >>> bags = Bags(np.array([[0.0], [1.0]] * 3), np.arange(7), columns=columns)
    >>> encoding = Encoding.learn(columns, bags.instances, bags.offsets, np.arange(6))
    >>> encoded(bags[:2], encoding).instances[:].tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    shown = StoredInstances([Part(_Shown(bags.instances, encoding), 0, len(bags.instances))])
    return replace(bags, instances=shown, columns=None, feature_names=None)


@dataclass(frozen=True, eq=False)
class _Shown:
    """Raw instances as a source of what a model is shown."""

    instances: NDArray[Any] | StoredInstances
    encoding: Encoding
    name: ClassVar[str] = "the table"
    dtype: ClassVar[np.dtype[Any]] = np.dtype(np.float64)
    identity: ClassVar[str] = ""

    @property
    def shape(self) -> tuple[int, ...]:
        return len(self.instances), self.encoding.width

    def read(self, begin: int, end: int) -> NDArray[np.float64]:
        return self.encoding.apply(self.instances[begin:end])


def _scale(column: Column, known: NDArray[np.float64]) -> tuple[float, float] | None:
    """Give median and the inverse of the spread; None where all are the same."""
    if not len(known):
        return None
    lowest, highest = float(known.min()), float(known.max())
    span = highest - lowest
    if span <= 8 * np.finfo(np.float64).eps * max(abs(lowest), abs(highest)):
        return None
    if not LEAST_SPAN <= span <= MOST_SPAN:
        raise BagwiseError(
            f"feature {column.name!r} reaches from {lowest:.4g} to {highest:.4g}, and only what spans {LEAST_SPAN:g} to"
            f" {MOST_SPAN:g} can be scaled: mend the value, or give the feature in other units"
        )
    lower, median, upper = np.quantile(known, (0.25, 0.5, 0.75))
    spread = (upper - lower) / _NORMAL_QUARTILES or float(np.std(known - median))
    return float(median), 1 / max(spread, 1e-6 * span)


def _places(
    values: NDArray[np.float64], missing: NDArray[np.bool_], bag: NDArray[np.int64], size: int, bags: int
) -> NDArray[np.int64]:
    """Give the place of each of a category's values, of an unknown one and of nothing; -1: it has none."""
    codes = np.where(missing, size, values).astype(np.int64)  # an unknown one is not among training bags
    present = np.zeros((bags, size + 1), bool)
    present[bag, codes] = True
    counts = present.sum(axis=0)[:size]
    often = np.flatnonzero(counts >= FEWEST_BAGS)
    kept = np.sort(often[np.argsort(-counts[often], kind="stable")[:MOST_PLACES]])
    rare = np.setdiff1d(np.flatnonzero(counts), kept)
    places = np.full(size + 2, -1, np.int64)
    places[kept] = np.arange(len(kept))
    used = len(kept)
    if len(rare):
        places[places < 0] = used  # those that training bags lack as well, and the unknown
        places[size + 1] = -1
        used += 1
    if missing.any():
        places[size + 1] = used
    return places
