"""What stands in a column of a table: numbers, categories, dates, or what tells nothing about an instance."""

import re
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bagwise.feature_columns import MOST_PLACES

__all__ = ["KINDS", "LEFT_OUT", "MOST_CATEGORIES", "Kind", "Kinds", "kind_of", "seconds_of"]

Kinds = Literal["number", "boolean", "category", "date", "time", "text", "identifier", "constant", "mixed", "other"]
KINDS: tuple[Kinds, ...] = get_args(Kinds)

LEFT_OUT = ("constant", "text", "identifier")  # kinds that tell a model nothing that it could use elsewhere

# A column of more values than this, or of more than half as many as rows, is text and no category.
MOST_CATEGORIES = 1_000
_FEW_NUMBERS = 10  # of which one may ask whether they are names
_EXAMPLES = 3
_MARKED = ("boolean", "date", "time")
_LOOKED_AT = 1_000  # rows that examples are taken from
_LONGEST_EXAMPLE = 24
# Numbers, and what is one to a reader: with thousands set apart, a comma for the point, a unit of money or per cent.
_NUMBER_LIKE = r"^\s*[+-]?[$€£]?\s?(\d[\d_' ]*|\d{1,3}([.,]\d{3})+)?([.,]\d+)?([eE][+-]?\d+)?\s?[%$€£]?\s*$"
# Days, with a time or without; that of a day which does not exist is one too, so that its row can be told.
_DATE_LIKE = r"^\s*(\d{4,5}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{4})([T ]\s*\d{1,2}:.*)?\s*$"
# Times of a day; a minute that does not exist is none, for it may be of a duration.
_TIME_LIKE = r"^\s*(([01]?\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d+)?)?|(0?[1-9]|1[0-2]):[0-5]\d(:[0-5]\d)? ?(?i:[ap]m))\s*$"
_READ = {
    "boolean": "as 0 and 1",
    "time": "time of the day, and since the bag's first",
    "date": "time of the day, the week and the year, and since the bag's first",
    "constant": "left out",
    "text": "left out",
    "identifier": "left out",
}


@dataclass(frozen=True)
class Kind:
    """What a column holds.

    Attributes
    ----------
    kind
        ``"number"``; ``"boolean"``, true and false; ``"category"``, one of some texts; ``"date"``, a date or a
        moment, and ``"time"``, one of a day, or texts of which half or more are written like one;
        ``"text"`` of many values; ``"identifier"``, a word of its own for nearly each row; ``"constant"``, nothing or
        one and the same everywhere; ``"mixed"``, numbers among which there is text, or numbers written as text;
        ``"other"``, what no model can read, such as lists.
    distinct
        How many values there are; None of real numbers and dates, which nobody counted.
    missing
        The share of rows without one.
    examples
        Some values, as text.
    numeric
        Whether they are numbers or booleans, or nothing at all.
    """

    kind: Kinds
    distinct: int | None
    missing: float
    examples: tuple[str, ...]
    numeric: bool = False

    @property
    def unreadable(self) -> bool:
        """Whether no model can take it."""
        return self.kind in ("mixed", "other")

    @property
    def read(self) -> str:
        """How such a column is read as a feature."""
        gaps = "; what is missing has a mark" if self.missing else ""
        if self.kind == "number":
            few = self.distinct is not None and self.distinct <= _FEW_NUMBERS
            return f"as numbers{', also if they name something' if few else ''}{gaps}"
        if self.kind == "category":
            assert self.distinct is not None
            most = "" if self.distinct <= MOST_PLACES else f" for each of the {MOST_PLACES} most frequent, and one"
            return f"0 or 1{most} for {'the others' if most else 'each value'}{gaps}"
        if self.kind == "constant" and self.numeric:
            return "as numbers, which tell nothing"
        return _READ.get(self.kind, "not at all: mend it, or leave it out") + (gaps if self.kind in _MARKED else "")

    def as_dict(self) -> dict[str, Any]:
        """Say it in what JSON can hold."""
        told = {"kind": self.kind, "read": self.read, "missing": self.missing, "examples": [*self.examples]}
        return told if self.distinct is None else told | {"distinct": self.distinct}


def kind_of(column: Any) -> Kind:
    """Find what a column holds.

    Parameters
    ----------
    column
        An Arrow array, chunked or not, with nulls where there is nothing.

    Returns
    -------
    Kind

    Examples
    --------
    >>> colours = pa.array(["red", "blue", None, "red", "red", "blue"])
    >>> found = kind_of(colours)
    >>> found.kind, found.distinct, round(found.missing, 2), found.examples
    ('category', 2, 0.17, ('red', 'blue'))
    >>> kind_of(pa.array([1.5, 2.5])).kind, kind_of(pa.array(["a1", "a2", "a3", "a4"])).kind
    ('number', 'identifier')
    """
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not _is_plain(kind):
        return Kind("other", None, column.null_count / len(column), (str(kind),))
    if pa.types.is_float16(kind):
        column, kind = column.cast(pa.float32()), pa.float32()
    missing, distinct = column.null_count, None
    if pa.types.is_floating(kind):
        missing += pc.sum(pc.is_nan(column)).as_py() or 0
        lowest, highest = pc.min_max(column).as_py().values()
        named: Kinds = "constant" if lowest is None or not lowest < highest else "number"
    else:
        values = pc.unique(column).drop_null()
        distinct = len(values)
        named = _named(kind, values, distinct, len(column) - missing)
    numeric = not _is_text(kind) and (pa.types.is_duration(kind) or not pa.types.is_temporal(kind))
    return Kind(named, distinct, missing / len(column), _examples(column), numeric)


def seconds_of(column: Any) -> Any:
    """Give dates or times as seconds.

    Parameters
    ----------
    column
        An Arrow array of a temporal type, or of nothing but nulls.

    Returns
    -------
    array
        Shape (N,), float64: since 1970, of a time since midnight; as clocks show them there, where a time zone is
        known. NaN in gaps.

    Examples
    --------
    >>> import datetime
    >>> seconds_of(pa.array([datetime.date(1970, 1, 2), None])).tolist()
    [86400.0, nan]
    """
    kind = column.type
    if column.null_count == len(column):
        return np.full(len(column), np.nan)
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        column = pc.local_timestamp(column)
    column = column.cast(pa.time64("us") if pa.types.is_time(kind) else pa.timestamp("us"), safe=False)
    seconds = pc.divide(column.cast(pa.int64()).cast(pa.float64(), safe=False), 1e6)
    return seconds.to_numpy(zero_copy_only=False) if isinstance(seconds, pa.Array) else seconds.to_numpy()


def _named(kind: Any, values: Any, distinct: int, given: int) -> Kinds:
    if distinct < 2:
        return "constant"
    if pa.types.is_boolean(kind):
        return "boolean"
    if pa.types.is_temporal(kind) and not pa.types.is_duration(kind):
        return "time" if pa.types.is_time(kind) else "date"
    if not _is_text(kind):
        return "number"
    texts = (values.dictionary_decode() if pa.types.is_dictionary(values.type) else values).cast(pa.string())
    written: tuple[tuple[str, Kinds], ...] = ((_DATE_LIKE, "date"), (_TIME_LIKE, "time"), (_NUMBER_LIKE, "mixed"))
    for pattern, named in written:
        if pc.sum(pc.match_substring_regex(texts, pattern)).as_py() * 2 >= distinct:
            return named
    if distinct <= min(MOST_CATEGORIES, max(2, given // 2)):
        return "category"
    words = pc.sum(pc.match_substring_regex(texts, r"^\S+$")).as_py()
    return "identifier" if words * 10 >= distinct * 9 and distinct * 10 >= given * 9 else "text"


def _examples(column: Any) -> tuple[str, ...]:
    found: list[str] = []
    for value in column.slice(0, _LOOKED_AT).to_pylist():
        text = _shortened(value)
        if value is not None and value == value and text not in found:
            found.append(text)
        if len(found) == _EXAMPLES:
            break
    return tuple(found)


def _shortened(value: Any) -> str:
    text = f"{value:g}" if isinstance(value, float) else re.sub(r"\s+", " ", str(value))
    return text if len(text) <= _LONGEST_EXAMPLE else f"{text[: _LONGEST_EXAMPLE - 3]}..."


def _is_plain(kind: Any) -> bool:
    numbers = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_decimal)
    return any(belongs(kind) for belongs in (*numbers, pa.types.is_temporal, pa.types.is_null)) or _is_text(kind)


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))
