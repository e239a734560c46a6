"""What stands in a column of a table: numbers, categories, dates, or what tells nothing about an instance."""

import re
from dataclasses import dataclass
from typing import Any, Literal, get_args

import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["KINDS", "MOST_CATEGORIES", "Kind", "Kinds", "kind_of"]

Kinds = Literal["number", "boolean", "category", "date", "text", "identifier", "constant", "mixed", "other"]
KINDS: tuple[Kinds, ...] = get_args(Kinds)

# A column of more values than this, or of more than half as many as rows, is text and no category.
MOST_CATEGORIES = 1_000
_FEW_NUMBERS = 10  # of which one may ask whether they are names
_EXAMPLES = 3
_LOOKED_AT = 1_000  # rows that examples are taken from
_LONGEST_EXAMPLE = 24
# Numbers, and what is one to a reader: with thousands set apart, a comma for the point, a unit of money or per cent.
_NUMBER_LIKE = r"^\s*[+-]?[$€£]?\s?(\d[\d_' ]*|\d{1,3}([.,]\d{3})+)?([.,]\d+)?([eE][+-]?\d+)?\s?[%$€£]?\s*$"
_READ = {"number": "as numbers", "boolean": "as 0 and 1", "constant": "as it is, though it tells nothing"}


@dataclass(frozen=True)
class Kind:
    """What a column holds.

    Attributes
    ----------
    kind
        ``"number"``; ``"boolean"``, true and false; ``"category"``, one of some texts; ``"date"``, a date or a time;
        ``"text"`` of many values; ``"identifier"``, a word of its own for nearly each row; ``"constant"``, nothing or
        one and the same everywhere; ``"mixed"``, numbers among which there is text, or numbers written as text;
        ``"other"``, what no model can read, such as lists.
    distinct
        How many values there are; None of real numbers and dates, which nobody counted.
    missing
        The share of rows without one.
    examples
        Some values, as text.
    """

    kind: Kinds
    distinct: int | None
    missing: float
    examples: tuple[str, ...]

    @property
    def read(self) -> str:
        """How such a column is read as a feature."""
        if self.kind == "number" and self.distinct is not None and self.distinct <= _FEW_NUMBERS:
            return "as numbers, also if they name something"
        return _READ.get(self.kind, "not at all: leave it out, or turn it into numbers")

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
    return Kind(named, distinct, missing / len(column), _examples(column))


def _named(kind: Any, values: Any, distinct: int, given: int) -> Kinds:
    if distinct < 2:
        return "constant"
    if pa.types.is_boolean(kind):
        return "boolean"
    if pa.types.is_temporal(kind) and not pa.types.is_duration(kind):
        return "date"
    if not _is_text(kind):
        return "number"
    texts = (values.dictionary_decode() if pa.types.is_dictionary(values.type) else values).cast(pa.string())
    if pc.sum(pc.match_substring_regex(texts, _NUMBER_LIKE)).as_py() * 2 >= distinct:
        return "mixed"
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
