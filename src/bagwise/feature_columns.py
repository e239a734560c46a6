"""Which columns of a table are features, and what their numbers stand for."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bagwise.errors import BagwiseError

__all__ = ["MOST_PLACES", "Column", "Wanted", "recoded", "selected"]

_SHOWN = 20
_MOST_COMPARED = 2_000  # names that are searched for a similar one
_MADE_BY_ORDER = ("place", "since", "before")
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
        Of a category, sorted; of dates that were no such in the table, how they are written (`bagwise.dates`).
    of
        The column of the table that it was made from, where that has another name.
    role
        ``"bag"``: it says something of the bag. ``"place"``, ``"since"``: where an instance stands in the order, and
        how long after the one before (`bagwise.order`); ``"before"``: what that one had in the column `of`.

    Examples
    --------
    >>> Column("colour", "category", ("blue", "red")).values[1]
    'red'
    """

    name: str
    kind: Literal["number", "category", "date"]
    values: tuple[str, ...] = ()
    of: str | None = None
    role: Literal["", "bag", "place", "since", "before"] = ""

    @property
    def source(self) -> str:
        """The column of the table; what the order made of one speaks for itself."""
        return self.name if self.role in _MADE_BY_ORDER else self.of or self.name

    def as_dict(self) -> dict[str, Any]:
        """Say it in what JSON can hold."""
        told = {"name": self.name, "kind": self.kind, "values": [*self.values], "of": self.of}
        return told | {"role": self.role} if self.role else told

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> "Column":
        """Make it of what `as_dict` gave; a ValueError or KeyError where it was edited."""
        values, of, role = tuple(told["values"]), told["of"], told.get("role", "")
        texts = all(isinstance(text, str) for text in (told["name"], *values, of or ""))
        known = told["kind"] in ("number", "category", "date") and role in ("", "bag", *_MADE_BY_ORDER)
        if not known or not texts or len(set(values)) < len(values) or (role in _MADE_BY_ORDER and of is None):
            raise ValueError(f"its column {told['name']!r} is none")
        return cls(told["name"], told["kind"], values, of, role)


@dataclass(frozen=True)
class Wanted:
    """What a user, or a model, says of the columns of a table: which are features, and as what they are read.

    Attributes
    ----------
    features
        Names or patterns; None: all columns without another use.
    drop, categorical, date
        Names or patterns of features that are none, categories, and dates.
    order
        The column of time or rank that instances are put in an order by.
    bag_features
        Columns that say something of the bag.
    like
        What features stood for where a model learnt; all of the above follows from it.
    """

    features: Sequence[str] | None = None
    drop: Sequence[str] = ()
    categorical: Sequence[str] = ()
    date: Sequence[str] = ()
    order: str | None = None
    bag_features: Sequence[str] = ()
    like: Sequence[Column] | None = None

    def __post_init__(self) -> None:
        """Take what is listed as tuples, whatever it came in; one text stays, for others to refuse."""
        for name in ("features", "drop", "categorical", "date", "bag_features"):
            given = getattr(self, name)
            if given is not None and not isinstance(given, str):
                object.__setattr__(self, name, tuple(given))

    @classmethod
    def as_learnt(cls, like: Sequence[Column]) -> "Wanted":
        """Say it as a model does."""
        plain = [column for column in like if column.of is None]
        return cls(
            features=[column.name for column in plain if column.role != "bag"],
            categorical=[column.name for column in plain if column.kind == "category"],
            order=next((column.of for column in like if column.role == "place"), None),
            bag_features=[column.name for column in plain if column.role == "bag"],
            like=like,
        )

    @property
    def columns(self) -> list[str]:
        """The columns that must be there, where a model says it."""
        named = [*(self.features or ()), *([] if self.order is None else [self.order]), *self.bag_features]
        return list(dict.fromkeys(named))

    @property
    def plain(self) -> bool:
        """Whether nothing is said but which columns are features."""
        return not (self.categorical or self.date or self.order or self.bag_features) and self.like is None

    def known(self, name: str) -> Column | None:
        """Give what a column stood for where a model learnt."""
        return self._learnt.get(name)

    @cached_property
    def _learnt(self) -> dict[str, Column]:
        return {column.name: column for column in self.like or ()}

    @property
    def order_known(self) -> Column | None:
        """Give what says how the order was read where a model learnt."""
        return next((column for column in self.like or () if column.role == "place"), None)

    def among(self, columns: Sequence[str], apart: Sequence[str] = (), where: str = "the table") -> "Wanted":
        """Give it with names for patterns.

        Parameters
        ----------
        columns
            The names of those without another use.
        apart
            Bag features that are in a table of bags.
        where
            What has the columns, for messages.

        Returns
        -------
        Wanted

        Raises
        ------
        BagwiseError
            As `selected` does, and if a column says something of the bag and is a feature of instances as well.
        """
        if self.like is not None:
            there = {*columns, *apart}
            for name in self.columns:
                if name not in there:
                    raise BagwiseError(f"{where} has no column {name!r}, which the model learnt from")
            return self
        for name in apart:
            if name in columns:
                raise BagwiseError(f"{where} has the column {name!r}, and the table of bags too: leave it out of one")
        of_bags = list(apart)
        here = [said for said in self.bag_features if not any(fnmatchcase(name, said) for name in apart)]
        of_bags += selected(columns, here, where=where) if here else []
        if self.order is not None:
            selected(columns, [self.order], where=where)
        if twice := set(of_bags).intersection(self.features or ()) or {self.order}.intersection(of_bags):
            raise BagwiseError(f"column {min(map(str, twice))!r} is given two uses: give each use a column of its own")
        free = [name for name in columns if name not in of_bags]
        known = [*free, *of_bags, *([] if self.order is None else [self.order])]
        return replace(
            self,
            features=selected(free, self.features, self.drop, where),
            categorical=selected(known, self.categorical, where=where) if self.categorical else (),
            date=selected(known, self.date, where=where) if self.date else (),
            bag_features=of_bags,
        )


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
        if column.kind == "category" and here.values != column.values:
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
