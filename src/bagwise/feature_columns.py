"""Which columns of a table are features, and what their numbers stand for."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bagwise.errors import BagwiseError

__all__ = ["MOST_PLACES", "Column", "recoded", "selected"]

_SHOWN = 20
_MOST_COMPARED = 2_000  # names that are searched for a similar one
# Of so many values of a category each has a place of its own; rarer ones share one.
MOST_PLACES = 30


@dataclass(frozen=True)
class Column:
    """What the numbers of one column of `bagwise.Bags` stand for.

    Attributes
    ----------
    name
        Of the feature.
    kind
        ``"number"``: they are what they are. ``"category"``: n stands for ``values[n]``, and ``len(values)`` for any
        text that is not among them. ``"date"``: seconds since 1970, or since midnight. NaN is what is missing.
    values
        Of a category, sorted.
    of
        The column of the table that it was made from, where that has another name.

    Examples
    --------
    >>> Column("colour", "category", ("blue", "red")).values[1]
    'red'
    """

    name: str
    kind: Literal["number", "category", "date"]
    values: tuple[str, ...] = ()
    of: str | None = None

    @property
    def source(self) -> str:
        """The column of the table."""
        return self.of or self.name

    def as_dict(self) -> dict[str, Any]:
        """Say it in what JSON can hold."""
        return {"name": self.name, "kind": self.kind, "values": [*self.values], "of": self.of}

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> "Column":
        """Make it of what `as_dict` gave; a ValueError or KeyError where it was edited."""
        values, of = tuple(told["values"]), told["of"]
        texts = all(isinstance(text, str) for text in (told["name"], *values, of or ""))
        if told["kind"] not in ("number", "category", "date") or not texts or len(set(values)) < len(values):
            raise ValueError(f"its column {told['name']!r} is none")
        return cls(told["name"], told["kind"], values, of)


def recoded(
    instances: NDArray[Any], columns: Sequence[Column] | None, names: Sequence[str], learnt: Sequence[Column]
) -> NDArray[np.float64]:
    """Give raw numbers with the codes and in the order that a model learnt from.

    Parameters
    ----------
    instances
        Shape (N, D).
    columns
        What they stand for; None: all are numbers.
    names
        Of the features.
    learnt
        What a model learnt from.

    Returns
    -------
    array
        Shape (N, D), float64.

    Raises
    ------
    BagwiseError
        If a column is missing, or of another kind.

    Examples
    --------
    >>> here, there = Column("colour", "category", ("green", "red")), Column("colour", "category", ("blue", "red"))
    >>> recoded(np.array([[0.0], [1.0], [np.nan]]), [here], ["colour"], [there]).ravel().tolist()
    [2.0, 1.0, nan]
    """
    place = {name: number for number, name in enumerate(names)}
    given = columns or [Column(name, "number") for name in names]
    found = np.empty((len(instances), len(learnt)))
    for number, column in enumerate(learnt):
        if column.name not in place:
            raise BagwiseError(f"the bags have no feature {column.name!r}, which the model learnt from")
        here, values = given[place[column.name]], instances[:, place[column.name]]
        if here.kind != column.kind:
            raise BagwiseError(
                f"the feature {column.name!r} is a {here.kind} in these bags, and a {column.kind} in those learnt from:"
                " read it as that"
            )
        if here.values != column.values:
            known = {text: float(code) for code, text in enumerate(column.values)}
            other = float(len(column.values))
            meanings = np.array([*(known.get(text, other) for text in here.values), other, np.nan])
            values = meanings[np.where(np.isnan(values), len(here.values) + 1, values).astype(np.int64)]
        found[:, number] = values
    return found


def selected(
    columns: Sequence[str], features: Sequence[str] | None = None, drop: Sequence[str] = (), where: str = "the table"
) -> list[str]:
    """Choose features among columns by their names.

    Parameters
    ----------
    columns
        The names of those without another use.
    features
        Names, or patterns with ``*``, ``?`` and ``[...]``, of those to keep; None keeps all.
    drop
        Names or patterns of those to leave out of them.
    where
        What has the columns, for messages.

    Returns
    -------
    list
        Each once: in the order of `features`, what one pattern matches in the order of `columns`.

    Raises
    ------
    BagwiseError
        If a name or a pattern is that of no column or is given twice, or none is left.

    Examples
    --------
    >>> selected(["size", "red_mean", "red_spread", "note"], ["red_*", "size"], drop=["*_spread"])
    ['red_mean', 'size']
    """
    known = set(columns)
    for pattern, uses in Counter(features or ()).items():
        if uses > 1:
            raise BagwiseError(f"column {pattern!r} is given two uses: give each use a column of its own")

    def matching(pattern: str) -> list[str]:
        if pattern in known:  # a name may hold what is special in patterns
            return [pattern]
        found = [name for name in columns if fnmatchcase(str(name), str(pattern))]
        if not found:
            close = " or ".join(map(repr, get_close_matches(str(pattern), map(str, columns[:_MOST_COMPARED]))))
            listed = ", ".join(map(str, columns[:_SHOWN])) + ", ..." * (len(columns) > _SHOWN)
            told = f"did you mean {close}?" if close else f"those without another use are {listed}"
            raise BagwiseError(f"{where} has no column {pattern!r} to be a feature: {told}")
        return found

    dropped = {name for pattern in drop for name in matching(pattern)}
    kept = columns if features is None else [name for pattern in features for name in matching(pattern)]
    chosen = [name for name in dict.fromkeys(kept) if name not in dropped]
    if not chosen:
        why = "all that would be features are left out" if dropped else "all of its columns have another use"
        raise BagwiseError(f"{where} has no feature columns: {why}")
    return chosen
