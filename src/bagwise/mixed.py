"""Columns of all kinds as one matrix of raw numbers: a category is a code, a date seconds, what is missing is NaN."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from bagwise.classes import MISSING
from bagwise.dates import of_numbers, of_texts, way_of_numbers, way_of_texts
from bagwise.errors import BagwiseError
from bagwise.feature_columns import Column, Wanted
from bagwise.kinds import LEFT_OUT, Kind
from bagwise.order import ordered

__all__ = ["Apart", "Mixed", "Rows", "as_said", "read_mixed"]

_Names = Sequence[str] | NDArray[np.object_]
_MOST_NAMED = 5
_HOLDS = {"constant": "one value", "text": "text of many values", "identifier": "an identifier"}


class Rows(Protocol):
    """A table, wherever it is, whose errors say where."""

    def kind(self, column: str) -> Kind:
        """Say what a column holds."""
        ...

    def floats(self, column: str) -> NDArray[Any]:
        """Give a column of numbers or booleans, NaN in gaps; a BagwiseError where it is none."""
        ...

    def texts(self, column: str) -> tuple[NDArray[np.int64], Sequence[str | None]]:
        """Give a column by its distinct values as text, and of each row which it has, -1 where it has none."""
        ...

    def seconds(self, column: str) -> NDArray[np.float64]:
        """Give a column of dates or times as seconds, NaN in gaps; a BagwiseError where it is none."""
        ...

    def row(self, position: int) -> int:
        """Give the number that users know a row by."""
        ...

    def temporal(self, column: str) -> bool:
        """Say whether a column holds dates or times, or nothing at all."""
        ...

    def wrong(self, column: str, row: int, has: str, cure: str) -> BagwiseError:
        """Say what is wrong with a row, and what to do."""
        ...


class Apart(NamedTuple):
    """A table of bags beside that of instances.

    Attributes
    ----------
    rows
        The table.
    bag_of_row
        The bag of each of its rows, below 0 where there is none.
    columns
        The bag features that it has.
    """

    rows: Rows
    bag_of_row: NDArray[np.int64]
    columns: Collection[str]


@dataclass(eq=False)
class Mixed:
    """Columns that become one matrix, in the order in which they are added.

    Parameters
    ----------
    bag_of_row
        The bag of each row, below 0 where a row is left out.

    Attributes
    ----------
    columns
        What was added.
    parts
        Their numbers, shape (N,) each.
    left_out
        Columns that were not, and what they hold.
    unknown
        Values of categories that were not known, by column.

    Examples
    --------
    >>> mixed = Mixed(np.array([0, 0, 1]))
    >>> mixed.add_category("colour", np.array([0, 1, -1]), ["red", "blue"])
    >>> mixed.add_date("when", np.array([60.0, 0.0, 5.0]))
    >>> [column.name for column in mixed.columns], mixed.parts[2].tolist()
    (['colour', 'when', 'when: seconds since the first of the bag'], [60.0, 0.0, 0.0])
    """

    bag_of_row: NDArray[np.int64]
    columns: list[Column] = field(default_factory=list)
    left_out: dict[str, Kind] = field(default_factory=dict)
    unknown: dict[str, list[str]] = field(default_factory=dict)
    parts: list[NDArray[np.float64]] = field(default_factory=list)

    def read(self, rows: Rows, name: str, kind: Kind | None, known: Column | None = None) -> None:
        """Add a column of a table as what it holds, or as one that is known from elsewhere."""
        read_as = known.kind if known is not None else kind.kind if kind is not None else "number"
        if kind is not None and kind.kind in LEFT_OUT and not kind.numeric:
            self.left_out[name] = kind
        elif read_as == "category":
            self.add_category(name, *rows.texts(name), None if known is None else known.values)
        elif read_as in ("date", "time"):
            self.add_date(name, *self.dates(rows, name, known))
        else:
            self.add_number(name, self.numbers(rows, name))

    def numbers(self, rows: Rows, name: str) -> NDArray[Any]:
        """Read a column of numbers, of which none is infinite."""
        values = rows.floats(name)
        endless = np.isinf(values) & (self.bag_of_row >= 0)
        if endless.any():
            raise rows.wrong(name, int(np.argmax(endless)), "an infinity", "mend it, or leave it empty")
        return values

    def dates(self, rows: Rows, name: str, known: Column | None = None) -> tuple[NDArray[np.float64], tuple[str, ...]]:
        """Read a column of dates as seconds, and say how they are written where they are text or numbers."""
        if rows.temporal(name) or (known is not None and not known.values):
            return rows.seconds(name), ()
        used, way = self.bag_of_row >= 0, None if known is None or not known.values else known.values[0]
        if rows.kind(name).numeric:
            numbers = self.numbers(rows, name)
            way = way or way_of_numbers(numbers[used & np.isfinite(numbers)])
            seconds = of_numbers(numbers, way)
        else:
            codes, texts = rows.texts(name)
            try:
                way = way or way_of_texts([texts[code] or "" for code in np.unique(codes[used & (codes >= 0)])])
            except BagwiseError as error:
                raise rows.wrong(name, int(np.argmax(used & (codes >= 0))), *str(error).rsplit(": ", 1)) from error
            way = way or "%Y-%m-%d"  # which some row has not
            seconds = np.append(of_texts(texts, way), np.nan)[codes]
        strange = np.isinf(seconds) & used
        if strange.any():
            row = int(np.argmax(strange))
            told = "what is no date, or written in another way than the rest" if known is None else "what is no date"
            raise rows.wrong(name, row, told, f"write all of them like {datetime(2026, 12, 24, 18).strftime(way)}")
        return seconds, (way,)

    def read_order(self, rows: Rows, name: str, known: Column | None = None) -> None:
        """Add what the order makes of the columns that there are."""
        written = None if known is None else known.values[0]
        dated = (
            rows.temporal(name)
            or not rows.kind(name).numeric
            or any(column.name == name and column.kind == "date" for column in self.columns)
        )
        if dated or written not in (None, "number"):
            values, way = self.dates(rows, name, None if written in (None, "", "number") else known)
            way = way or ("",)
        else:
            values, way = self.numbers(rows, name), ("number",)
        if written is not None and (written == "number") is not (way[0] == "number"):
            raise BagwiseError(
                f"the order {name!r} is of {'numbers' if way[0] == 'number' else 'dates'} here, and was of"
                f" {'numbers' if written == 'number' else 'dates'} where the model learnt: give it the same"
            )
        gaps = ~np.isfinite(values) & (self.bag_of_row >= 0)
        if gaps.any():
            raise rows.wrong(
                name, int(np.argmax(gaps)), "nothing", "nobody knows what came before, so fill it in, or drop the row"
            )
        made = ordered(name, way[0], values, self.bag_of_row, self.columns, self.parts)
        if known is None and not np.nanmax(made[0][1], initial=0.0) > 0:
            raise BagwiseError(f"the order {name!r} is the same in all rows of each bag: leave it out")
        for column, numbers in made:
            self._add(column, numbers)

    def read_beside(self, rows: Rows, wanted: Wanted, names: _Names, apart: Apart | None) -> None:
        """Add what belongs to bags, and then what the order makes of all that belongs to instances."""
        here = [name for name in wanted.bag_features if apart is None or name not in apart.columns]
        for given in (Apart(rows, self.bag_of_row, here), apart):
            if given is not None and given.columns:
                self.read_of_bags(given, wanted, names)
        if wanted.order is not None:
            self.read_order(rows, wanted.order, wanted.order_known)

    def read_of_bags(self, given: Apart, wanted: Wanted, names: _Names) -> None:
        """Add what a table says of bags, each of which has it in all of its rows."""
        there, used = Mixed(given.bag_of_row), given.bag_of_row >= 0
        for name in given.columns:
            known = wanted.known(name)
            kind = None if known is not None else as_said(given.rows.kind(name), name, wanted)
            there.read(given.rows, name, kind, known)
        self.left_out |= there.left_out
        self.unknown |= there.unknown
        rows = np.flatnonzero(used)
        bags, places = np.unique(given.bag_of_row[rows], return_index=True)
        first = np.full(len(names) + 1, -1)
        first[bags] = rows[places]
        for bag in np.unique(self.bag_of_row[self.bag_of_row >= 0]):
            if first[bag] < 0:
                raise BagwiseError(f"{given.rows}: bag {names[bag]!r} has no row: add it, or leave the bag out")
        for column, values in zip(there.columns, there.parts, strict=True):
            if column.of is not None:  # since the first of the bag, which is this one
                continue
            others = values[first[given.bag_of_row]]
            differs = used & (values != others) & ~(np.isnan(values) & np.isnan(others))
            if differs.any():
                row = int(np.argmax(differs))
                bag = given.bag_of_row[row]
                raise given.rows.wrong(
                    column.name,
                    row,
                    f"another value than in row {given.rows.row(first[bag])} of the same bag {names[bag]!r}",
                    "what belongs to a bag is the same in all of its rows, so mend it, or make it no bag feature",
                )
            self._add(replace(column, role="bag"), np.append(values, np.nan)[first[self.bag_of_row]])

    def add_number(self, name: str, values: NDArray[Any]) -> None:
        """Add a column of numbers."""
        self._add(Column(name, "number"), values)

    def add_category(
        self, name: str, codes: NDArray[np.int64], texts: Sequence[str | None], known: Sequence[str] | None = None
    ) -> None:
        """Add a column of texts by their distinct values, -1 where there is none; `known` is what others had."""
        texts = [None if text is None or text.strip().lower() in MISSING else text.strip() for text in texts]
        used = set(np.unique(codes[self.bag_of_row >= 0]).tolist())
        given = sorted({text for code, text in enumerate(texts) if text is not None and code in used})
        column = Column(name, "category", tuple(sorted({*given, *(known or ())})))
        if strange := sorted({*given} - {*(given if known is None else known)}):
            self.unknown[name] = strange
        place = {text: float(number) for number, text in enumerate(column.values)}
        meanings = [np.nan if text is None else place.get(text, np.nan) for text in texts]  # nan: of rows left out
        self._add(column, np.array([*meanings, np.nan])[codes])  # the last, at -1, is that of nothing

    def add_date(self, name: str, seconds: NDArray[np.float64], written: tuple[str, ...] = ()) -> None:
        """Add a column of seconds, and one of how many have gone by since the first of the bag."""
        self._add(Column(name, "date", written), seconds)
        first = np.full(self.bag_of_row.max(initial=-1) + 2, np.inf)  # the last, at -1, is that of no bag
        np.fmin.at(first, self.bag_of_row, seconds)
        since = seconds - np.where(np.isfinite(first), first, np.nan)[self.bag_of_row]
        self._add(Column(f"{name}: seconds since the first of the bag", "number", of=name), since)

    def told(self) -> list[str]:
        """Say what was left out, and which values of categories were not known."""
        sentences = []
        if self.left_out:
            named = [f"{name!r} ({_HOLDS[kind.kind]})" for name, kind in self.left_out.items()]
            are, it = ("columns", "are") if len(named) > 1 else ("column", "is")
            sentences.append(
                f"the {are} {_some(named)} {it} left out, since nothing could be learnt from it: name what is a"
                " category as categorical, and drop the rest to hear no more of it"
            )
        for name, values in self.unknown.items():
            has, they = ("values", "they are") if len(values) > 1 else ("a value", "it is")
            sentences.append(
                f"column {name!r} has {has} that no bag learnt from had ({_some(list(map(repr, values)))}): {they}"
                " taken for a rare one"
            )
        return sentences

    def _add(self, column: Column, values: NDArray[Any]) -> None:
        self.columns.append(column)
        self.parts.append(np.asarray(values, np.float64))

    @property
    def names(self) -> list[str]:
        """What the features are called."""
        return [column.name for column in self.columns]

    @property
    def plain(self) -> bool:
        """Whether all are numbers without gaps."""
        kept = self.bag_of_row >= 0
        numbers = all(column.kind == "number" and not column.role for column in self.columns)
        return numbers and all(np.isfinite(values[kept]).all() for values in self.parts)


def read_mixed(
    rows: Rows, wanted: Wanted, bag_of_row: NDArray[np.int64], names: _Names, apart: Apart | None = None
) -> Mixed:
    """Read features of all kinds.

    Parameters
    ----------
    rows
        The table.
    wanted
        What to read; its patterns are names.
    bag_of_row
        As in `Mixed`.
    names
        Of the bags.
    apart
        A table of bags that has bag features, too.

    Returns
    -------
    Mixed

    Raises
    ------
    BagwiseError
        If a column is not what it must be, or holds what no model can take.
    """
    mixed = Mixed(bag_of_row)
    for name in wanted.features or ():
        known = wanted.known(name)
        mixed.read(rows, name, None if known is not None else as_said(rows.kind(name), name, wanted), known)
    mixed.read_beside(rows, wanted, names, apart)
    return mixed


def as_said(kind: Kind, name: str, wanted: Wanted) -> Kind:
    """Give what a column holds, or what a user says that it is."""
    if name in wanted.categorical:
        return replace(kind, kind="category")
    return replace(kind, kind="date") if name in wanted.date and kind.kind != "time" else kind


def _some(names: _Names) -> str:
    more = f" and {len(names) - _MOST_NAMED:,} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more
