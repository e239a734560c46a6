"""The columns of a table: names, labels and numbers, and the row where a fault in them is."""

import re
import reprlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from bagwise.classes import MISSING
from bagwise.errors import BagwiseError
from bagwise.io.pieces import is_number
from bagwise.io.tablefiles import Header, numbered_rows, read_file
from bagwise.kinds import Kind, kind_of, seconds_of

__all__ = ["Coded", "Table", "is_text"]

_INTEGER = re.compile(r"[+-]?(0|[1-9]\d*)", re.ASCII)
_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)
_INFINITY = re.compile(r"\s*[+-]?inf(inity)?\s*", re.IGNORECASE | re.ASCII)
_NUMBER_OR_INFINITY = rf"^(?i:{_NUMBER.pattern}|{_INFINITY.pattern})$"
_LEADING_ZERO = re.compile(r"[+-]?0\d+", re.ASCII)
_TRUTH = {word: word.lower() == "true" for word in ("true", "True", "TRUE", "false", "False", "FALSE")}

# What pandas calls the row numbers it writes beside a table: as a feature they would tell the bags apart.
_ROW_NUMBERS = re.compile(r"|Unnamed: \d+")
_PARQUET_ROW_NUMBERS = re.compile(r"__index_level_\d+__")

_EXACT = 2**53  # beyond it not every whole number is a float64
_SHOWN = 20
_LONGEST_NAME = 10_000
_MOST_COMPARED = 2_000  # columns that are searched for one of a similar name


class Coded(NamedTuple):
    """A column by its distinct values.

    Attributes
    ----------
    codes
        Of each row which of the values it has, -1 where it has none, shape (N,).
    values
        In the order in which they first appear.
    """

    codes: NDArray[np.int64]
    values: list[Any]

    @classmethod
    def of(cls, codes: NDArray[np.int64], meanings: Sequence[Any]) -> "Coded":
        """Join codes that mean the same, and drop those that mean None or stand nowhere."""
        places, distinct = pd.factorize(np.array([*meanings, None], dtype=object))
        given = places[codes]  # the last, at -1, is that of None
        used = pd.unique(given[given >= 0])
        rank = np.full(len(distinct) + 1, -1)
        rank[used] = np.arange(len(used))
        return cls(rank[given], [distinct[place] for place in used])

    def value(self, row: int) -> Any:
        """Give the value of a row, or None."""
        code = self.codes[row]
        return None if code < 0 else self.values[code]


@dataclass(frozen=True, eq=False)
class Table:
    """A file's table, whose errors name the file and the row.

    Attributes
    ----------
    path
        The file.
    header
        The names of its columns, without white space around them.
    """

    path: Path
    header: list[str]
    delimiter: str | None
    _arrow: Any
    _place: dict[str, int]
    _further_rows: Iterator[int]
    _positions: NDArray[np.int64] | None = None  # of the rows that are here among all; None: all are
    _rows: list[int] = field(default_factory=list)  # the numbers of those that were asked for, and of all before
    _spaces: list[tuple[str, int, str]] = field(default_factory=list)  # where, how many, and one of them

    @classmethod
    def read(cls, path: Path, texts: Sequence[str] = (), only: Sequence[str] | None = None) -> "Table":
        """Read a file, with the columns `texts` as they are written; `only` some columns, or all."""
        header, arrow, delimiter = read_file(path, texts, only)
        table = cls.of(path, Header(header, delimiter), arrow)
        for number, name in enumerate(table.header, 1):
            if only is None and _ROW_NUMBERS.fullmatch(name):
                raise BagwiseError(
                    f"{path}: column {number} has no name ({name!r} in row 1): name it, or leave it out if it holds row"
                    " numbers"
                )
        if arrow.num_rows == 0:
            raise BagwiseError(f"{path}: the table has a header and no rows: a bag needs at least one")
        return table

    @classmethod
    def of(cls, path: Path, header: Header, arrow: Any, positions: NDArray[np.int64] | None = None) -> "Table":
        """Make it of columns that were read, in all of its rows or in those at some positions."""
        told = [name.strip() for name in header.names]
        if header.delimiter is None:
            told = [name for name in told if not _PARQUET_ROW_NUMBERS.fullmatch(name)]
        for name, count in Counter(told).items():
            if count > 1 and name:
                raise BagwiseError(f"{path}: {count} columns have the name {name!r} in row 1: give each its own")
        places = {name.strip(): place for place, name in enumerate(arrow.column_names)}
        rows = numbered_rows(path, header.delimiter)
        table = cls(path, told, header.delimiter, arrow, places, rows, positions)
        table.note_spaces("names of columns", header.names)
        return table

    def __len__(self) -> int:
        return int(self._arrow.num_rows)

    @property
    def spaces(self) -> str | None:
        """A sentence about white space that was found around names and labels so far; None where there was none."""
        if not self._spaces:
            return None
        told = ", ".join(f"{count} {where}" for where, count, _ in self._spaces)
        return f"{self.path}: white space around {told} is left out, such as in {reprlib.repr(self._spaces[0][2])}"

    def check_columns(self, names: Iterable[str]) -> None:
        """See that columns are there."""
        known = set(self.header)
        for name in names:
            if name not in known:
                close = " or ".join(map(repr, get_close_matches(name, self.header[:_MOST_COMPARED])))
                listed = ", ".join(self.header[:_SHOWN]) + ", ..." * (len(self.header) > _SHOWN)
                told = f"did you mean {close}?" if close else f"the columns are {listed}"
                raise BagwiseError(f"{self.path}: there is no column {name!r} in row 1: {told}")

    def row(self, position: int) -> int:
        """Give the number that a spreadsheet gives to a row, which counts the header and empty lines."""
        place = int(position if self._positions is None else self._positions[position])
        self._rows.extend(islice(self._further_rows, max(0, place + 1 - len(self._rows))))
        return self._rows[place] if place < len(self._rows) else place + 2

    def names(self, column: str) -> Coded:
        """Give a column as text without white space around it."""
        codes, values = self._encoded(column, "made of names")
        kind = values.type
        try:
            if pa.types.is_floating(kind):  # what pandas makes of whole numbers in a column that once had a gap
                numbers = values.to_numpy(zero_copy_only=False)
                if (np.isnan(numbers) | (np.trunc(numbers) == numbers) & (np.abs(numbers) < _EXACT)).all():
                    values = values.cast(pa.int64())
            texts = values.cast(pa.string()).to_pylist()
        except pa.ArrowException as error:
            raise self._not(column, "made of names", kind) from error
        return Coded.of(codes, self._stripped(column, texts))

    def raw_texts(self, column: str) -> list[str]:
        """Give the distinct texts of a column as they are written; of other columns none."""
        _, values = self._encoded(column, "made of names")
        return [text for text in values.to_pylist() if text] if is_text(values.type) else []

    def classes(self, column: str) -> Coded:
        """Give a column as labels: numbers or booleans where all of them are, else text."""
        codes, values = self._encoded(column, "made of labels")
        kind = values.type
        if not is_text(kind):
            if not (pa.types.is_primitive(kind) or pa.types.is_null(kind)) or pa.types.is_temporal(kind):
                raise self._not(column, "made of labels", kind)
            numbers = [None if value != value else value for value in values.to_pylist()]
            self._check_bounds(column, codes, numbers, numbers)
            return Coded.of(codes, numbers)
        texts = self._stripped(column, values.to_pylist())
        return Coded.of(codes, texts if self.delimiter is None else self._meanings(column, codes, texts))

    def amounts(self, column: str) -> Coded:
        """Give a column of finite numbers, 0 or more."""
        found, wrong = self.numbers([column])
        if column in wrong:
            raise wrong[column]
        values = found[column]
        bad = (values < 0) | np.isinf(values)
        if bad.any():
            row = int(np.argmax(bad))
            raise BagwiseError(
                f"{self.path}: column {column!r} holds {values[row]:g} in row {self.row(row)}: give a number, 0 or more"
            )
        codes, distinct = pd.factorize(values)
        return Coded(codes, distinct.tolist())

    def numbers(self, columns: Sequence[str]) -> tuple[dict[str, NDArray[Any]], dict[str, BagwiseError]]:
        """Give columns of floats, with NaN in gaps; and those that are none, with what is wrong with them."""
        found: dict[str, NDArray[Any]] = {}
        wrong: dict[str, BagwiseError] = {}
        for name in columns:
            kind = self._column(name).type
            if len(wrong) >= _SHOWN and not is_number(kind):  # to look for the place takes its time
                wrong[name] = BagwiseError(f"{self.path}: column {name!r} is not numeric")
                continue
            try:
                found[name] = self._floats(name)
            except BagwiseError as error:
                wrong[name] = error
        suspects = [name for name, values in found.items() if ((np.abs(values) >= _EXACT) & ~np.isinf(values)).any()]
        if suspects and self.delimiter is not None:
            again = Table.read(self.path, suspects, suspects)
            for name in suspects:
                texts = [None if text is None else text.strip() for text in again._column(name).to_pylist()]
                if all(text is None or _INTEGER.fullmatch(text) for text in texts):
                    huge = self._huge(name, (None if text is None else int(text[:99]) for text in texts))
                    if huge is not None:
                        wrong[name] = huge
                        del found[name]
        return found, wrong

    def kind(self, column: str) -> Kind:
        """Say what a column holds."""
        return kind_of(self._column(column))

    def is_number(self, column: str) -> bool:
        """Say whether a column holds nothing but numbers, booleans and gaps."""
        return is_number(self._column(column).type)

    def floats(self, column: str) -> NDArray[Any]:
        """Give a column of numbers or booleans, with NaN in gaps."""
        found, wrong = self.numbers([column])
        if wrong:
            raise wrong[column]
        return found[column]

    def texts(self, column: str) -> Coded:
        """Give a column of categories."""
        return self.names(column)

    def seconds(self, column: str) -> NDArray[np.float64]:
        """Give a column of dates or times as seconds, with NaN in gaps."""
        if not self.temporal(column):
            raise self._not(column, "a date or time", self._column(column).type)
        seconds: NDArray[np.float64] = seconds_of(self._column(column))
        return seconds

    def temporal(self, column: str) -> bool:
        """Say whether a column holds dates or times, or nothing at all."""
        kind, empty = self._column(column).type, self._column(column).null_count == len(self)
        return empty or (pa.types.is_temporal(kind) and not pa.types.is_duration(kind))

    def wrong(self, column: str, row: int, has: str, cure: str) -> BagwiseError:
        """Say what is wrong with a row, and what to do."""
        return BagwiseError(f"{self.path}: column {column!r} has {has} in row {self.row(row)}: {cure}")

    def __str__(self) -> str:
        return str(self.path)

    # ---- the inside ------------------------------------------------------------------------------------------------

    def _column(self, name: str) -> Any:
        return self._arrow.column(self._place[name])

    def _encoded(self, name: str, needed: str) -> tuple[NDArray[np.int64], Any]:
        """Give a column as codes, -1 in gaps, and the Arrow array of what they stand for."""
        column = self._column(name)
        kind = column.type
        if pa.types.is_null(kind):
            return np.full(len(column), -1), pa.array([], pa.string())
        if pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
            raise self._not(name, needed, kind)
        if pa.types.is_float16(kind):
            column = column.cast(pa.float32())
        try:
            if not pa.types.is_dictionary(kind):
                column = column.dictionary_encode()
            whole = column.unify_dictionaries().combine_chunks()
        except pa.ArrowException as error:
            raise self._not(name, needed, kind) from error
        if isinstance(whole, pa.ChunkedArray):
            whole = whole.chunk(0)
        codes = whole.indices.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False)
        self._check_lengths(name, codes, whole.dictionary)
        return codes, whole.dictionary

    def _check_lengths(self, name: str, codes: NDArray[np.int64], values: Any) -> None:
        if not is_text(values.type) or values.nbytes <= _LONGEST_NAME:  # then none can be so long
            return
        lengths = pc.binary_length(values).fill_null(0).to_numpy(zero_copy_only=False)
        worst = int(np.argmax(lengths))
        if lengths[worst] > _LONGEST_NAME:
            raise BagwiseError(
                f"{self.path}: column {name!r} holds a text of {int(lengths[worst]):,} bytes in row"
                f" {self.row(self._first(codes, worst))}: a name or a label may have {_LONGEST_NAME:,}, so shorten it"
            )

    @staticmethod
    def _first(codes: NDArray[np.int64], code: int) -> int:
        return int(np.argmax(codes == code))

    def _stripped(self, column: str, texts: Sequence[str | None]) -> list[str | None]:
        """Take white space off, and give None for what says that there is nothing."""
        stripped = [None if text is None or text.strip().lower() in MISSING else text.strip() for text in texts]
        given = [text for text, kept in zip(texts, stripped, strict=True) if text is not None and kept is not None]
        self.note_spaces(f"values of column {column!r}", given)
        return stripped

    def note_spaces(self, where: str, texts: Sequence[str]) -> None:
        """Remember which of some texts have white space around them, for `spaces`."""
        spaced = [text for text in texts if text.strip() not in ("", text)]
        if spaced:
            self._spaces.append((where if len(spaced) > 1 else where.replace("s ", " ", 1), len(spaced), spaced[0]))

    def _meanings(self, column: str, codes: NDArray[np.int64], texts: Sequence[str | None]) -> Sequence[Any]:
        """Say what the texts of a column of labels stand for: numbers or booleans, if all of them do."""
        given = [text for text in texts if text is not None]
        if all(text in _TRUTH for text in given):
            return [None if text is None else _TRUTH[text] for text in texts]
        numbers = [text for text in given if _NUMBER.fullmatch(text)]
        endless = [text for text in given if _INFINITY.fullmatch(text)]
        if endless and len(endless) + len(numbers) == len(given):
            raise self._endless(column, endless[0], codes, texts.index(endless[0]))
        if not numbers or any(_LEADING_ZERO.fullmatch(text) for text in given):
            return texts
        for text in given:
            if not _NUMBER.fullmatch(text):
                one, other = (self.row(self._first(codes, texts.index(these))) for these in (numbers[0], text))
                raise BagwiseError(
                    f"{self.path}: column {column!r} mixes numbers and text: {reprlib.repr(numbers[0])} in row {one},"
                    f" {reprlib.repr(text)} in row {other}; use one of the two"
                )
        meanings = [
            None if text is None else int(text[:99]) if _INTEGER.fullmatch(text) else float(text) for text in texts
        ]
        self._check_bounds(column, codes, meanings, texts)
        return meanings

    def _check_bounds(
        self, column: str, codes: NDArray[np.int64], numbers: Sequence[Any], written: Sequence[Any]
    ) -> None:
        for code, number in enumerate(numbers):
            if isinstance(number, float) and np.isinf(number):
                raise self._endless(column, str(written[code]), codes, code)
            if isinstance(number, int) and not -(2**63) <= number < 2**63:
                raise BagwiseError(
                    f"{self.path}: column {column!r} holds {reprlib.repr(written[code])} in row"
                    f" {self.row(self._first(codes, code))}: labels must be below 2**63, so number the classes"
                )

    def _endless(self, column: str, written: str, codes: NDArray[np.int64], code: int) -> BagwiseError:
        return BagwiseError(
            f"{self.path}: column {column!r} holds {written} in row {self.row(self._first(codes, code))}: a label that"
            " is a number must be finite, so give it one, or leave it empty"
        )

    def _floats(self, name: str) -> NDArray[Any]:
        column = self._column(name)
        kind = column.type
        if pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind):
            try:
                column = column.cast(pa.float64())
            except pa.ArrowInvalid as error:
                raise self._huge(name, column.to_pylist()) or self._not(name, "numeric", kind) from error
        elif pa.types.is_float16(kind) or pa.types.is_decimal(kind):
            column = column.cast(pa.float64())
        elif pa.types.is_duration(kind):
            column = pc.divide(column.cast(pa.duration("us"), safe=False).cast(pa.int64()).cast(pa.float64()), 1e6)
        elif not pa.types.is_floating(kind):
            raise self._not(name, "numeric", kind)
        values: NDArray[Any] = column.to_numpy()
        return values

    def _huge(self, name: str, values: Iterable[int | None]) -> BagwiseError | None:
        for position, value in enumerate(values):
            if value is not None and abs(value) > _EXACT:
                return BagwiseError(
                    f"{self.path}: column {name!r} holds the whole number {reprlib.repr(value)} in row"
                    f" {self.row(position)}: beyond 2**53 floats are not exact, so leave the column out, or scale it"
                )
        return None

    def _not(self, name: str, needed: str, kind: Any) -> BagwiseError:
        column = self._column(name)
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        wrong = pc.is_valid(column)
        told = _told(kind)
        if self.delimiter is not None and pa.types.is_string(kind):
            not_numbers = pc.invert(pc.match_substring_regex(column, _NUMBER_OR_INFINITY))
            wrong = not_numbers if pc.any(not_numbers).as_py() else wrong
        position = max(0, pc.index(wrong, True).as_py())
        if is_text(kind):
            told = reprlib.repr(column[position].as_py())
        return BagwiseError(
            f"{self.path}: column {name!r} is not {needed}: row {self.row(position)} holds {told}; leave the column"
            " out, or convert it"
        )


def _told(kind: Any) -> str:
    """Say in a user's words what a column of a type holds."""
    for belongs, word in (
        (pa.types.is_temporal, "a date or time"),
        (pa.types.is_decimal, "a decimal number"),
        (pa.types.is_nested, "a list or a structure"),
    ):
        if belongs(kind):
            return word
    return f"a value of type {kind}"


def is_text(kind: Any) -> bool:
    """Say whether a type of Arrow's is that of texts, each by itself.

    Examples
    --------
    >>> is_text(pa.string()), is_text(pa.float64())
    (True, False)
    """
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))
