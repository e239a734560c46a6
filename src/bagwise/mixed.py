"""Columns of all kinds as one matrix of raw numbers: a category is a code, a date seconds, what is missing is NaN."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bagwise.classes import MISSING
from bagwise.errors import BagwiseError
from bagwise.feature_columns import Column
from bagwise.kinds import LEFT_OUT, Kind

__all__ = ["Mixed", "Rows", "as_said", "read_mixed"]

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

    def infinite(self, column: str, row: int) -> BagwiseError:
        """Say that a number is infinite."""
        ...


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
        elif read_as == "date":
            self.add_date(name, rows.seconds(name))
        else:
            values = rows.floats(name)
            endless = np.isinf(values) & (self.bag_of_row >= 0)
            if endless.any():
                raise rows.infinite(name, int(np.argmax(endless)))
            self.add_number(name, values)

    def add_number(self, name: str, values: NDArray[Any]) -> None:
        """Add a column of numbers."""
        self._add(Column(name, "number"), values)

    def add_category(
        self, name: str, codes: NDArray[np.int64], texts: Sequence[str | None], known: Sequence[str] | None = None
    ) -> None:
        """Add a column of texts by their distinct values, -1 where there is none; `known` are all that count."""
        texts = [None if text is None or text.strip().lower() in MISSING else text.strip() for text in texts]
        used = set(np.unique(codes[self.bag_of_row >= 0]).tolist())
        given = sorted({text for code, text in enumerate(texts) if text is not None and code in used})
        column = Column(name, "category", tuple(given if known is None else known))
        if strange := [text for text in given if text not in set(column.values)]:
            self.unknown[name] = strange
        place = {text: number for number, text in enumerate(column.values)}
        other = float(len(column.values))
        meanings = [np.nan if text is None else place.get(text, other) for text in texts]
        self._add(column, np.array([*meanings, np.nan])[codes])  # the last, at -1, is that of nothing

    def add_date(self, name: str, seconds: NDArray[np.float64]) -> None:
        """Add a column of seconds, and one of how many have gone by since the first of the bag."""
        self._add(Column(name, "date"), seconds)
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
        numbers = all(column.kind == "number" for column in self.columns)
        return numbers and all(np.isfinite(values[kept]).all() for values in self.parts)


def read_mixed(
    rows: Rows,
    names: Sequence[str],
    bag_of_row: NDArray[np.int64],
    categorical: Collection[str] = (),
    like: Sequence[Column] | None = None,
) -> Mixed:
    """Read features of all kinds.

    Parameters
    ----------
    rows
        The table.
    names
        Of the columns that would be features.
    bag_of_row
        The bag of each row, below 0 where a row is left out.
    categorical
        Those that are categories, whatever they hold.
    like
        What features stood for in what was learnt from: columns are read as that. None: as what they hold.

    Returns
    -------
    Mixed

    Raises
    ------
    BagwiseError
        If a column is not what it must be, or holds what no model can take.
    """
    mixed = Mixed(bag_of_row)
    learnt = {column.name: column for column in like or () if column.of is None}
    for name in learnt or names:
        known = learnt.get(name)
        kind = None if known is not None else as_said(rows.kind(name), name in categorical)
        mixed.read(rows, name, kind, known)
    return mixed


def as_said(kind: Kind, categorical: bool) -> Kind:
    """Give what a column holds, or that it is a category where a user says so."""
    return replace(kind, kind="category") if categorical else kind


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED:,} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more
