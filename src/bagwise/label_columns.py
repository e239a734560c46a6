"""What labels are made of: one column of a table, several, or those of an event and its time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite
from numbers import Real
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from bagwise.errors import BagwiseError
from bagwise.labels import EVENT_AND_TIME

__all__ = ["LABEL", "LabelColumns"]

LABEL = "label"  # what the column is called where nobody says


@dataclass(frozen=True)
class LabelColumns:
    """The columns of a table that labels are made of: the one place that knows how they are put together.

    Attributes
    ----------
    label
        One column of labels, or several: of 0 and 1, which a bag may have or not, or of numbers.
    event, time
        The columns that say whether the event of a bag was seen, and when it came or until when the bag was seen.

    Examples
    --------
    >>> LabelColumns.of(["fat", "necrosis"]).names, bool(LabelColumns())
    (('fat', 'necrosis'), False)
    """

    label: tuple[Any, ...] = ()
    event: Any = None
    time: Any = None

    @classmethod
    def of(cls, label: Any, event: Any = None, time: Any = None, default: str | None = None) -> Self:
        """Take what a user says.

        Parameters
        ----------
        label
            A column, a list of them, or None.
        event, time
            Columns, or None.
        default
            A `label` that counts as not said where there are `event` and `time`.

        Returns
        -------
        LabelColumns

        Raises
        ------
        BagwiseError
            If they do not go together.
        """
        several = tuple(label) if isinstance(label, list | tuple) else () if label is None else (label,)
        for name in several:
            if several.count(name) > 1:
                raise BagwiseError(f"column {name!r} is given for two labels: give each label a column of its own")
        if event is None and time is None:
            return cls(several)
        for one, named, other in (("event", event, "time"), ("time", time, "event")):
            if named is None:
                raise BagwiseError(
                    f"there is a column for the {other} and none for the {one}: survival needs both, whether the event"
                    " of a bag was seen, and when it came or until when the bag was seen"
                )
        if several and several != (default,):
            told = ", ".join(map(repr, several))
            raise BagwiseError(f"a label ({told}) is given beside event and time: give label, or event and time")
        return cls((), event, time)

    @property
    def names(self) -> tuple[Any, ...]:
        """All columns."""
        return self.label if self.event is None else (self.event, self.time)

    @property
    def label_names(self) -> tuple[str, ...] | None:
        """What each of several labels is called; None where there is one."""
        return tuple(map(str, self.label)) if len(self.label) > 1 else None

    def __bool__(self) -> bool:
        return bool(self.names)

    def __str__(self) -> str:
        many = "columns" if len(self.names) > 1 else "column"
        return f"{many} {', '.join(map(repr, self.names))}"

    def array(self, labels: Sequence[Any]) -> NDArray[Any]:
        """Pack labels that `joined` gave, as `bagwise.Bags` takes them.

        Parameters
        ----------
        labels
            One a bag.

        Returns
        -------
        array
            Shape (B,) or (B, L).
        """
        if self.event is not None:
            return np.array(list(labels), EVENT_AND_TIME)
        return np.array(list(labels), np.float64) if len(self.label) > 1 else np.array(list(labels))

    def joined(self, columns: Sequence[Sequence[Any]], where: Callable[[int], str]) -> list[Any]:
        """Join what the columns say of each bag.

        Parameters
        ----------
        columns
            For each of `names` its value for each bag, None where there is none.
        where
            Says where a bag stands, such as ``"in row 3 (bag 'a')"``.

        Returns
        -------
        list
            Of each bag its label: a value; of several columns a tuple, with None for one of 0 and 1 that is not known;
            of an event and its time both. None where nothing is known.

        Raises
        ------
        BagwiseError
            If the columns hold something else; the sentence says where.

        Examples
        --------
        >>> LabelColumns.of(["fat", "necrosis"]).joined([[1, 0, None], [None, 1, None]], str)
        [(1.0, None), (0.0, 1.0), None]
        """
        if len(self.names) == 1:
            return list(columns[0])
        rows = list(zip(*columns, strict=True))
        if self.event is not None:
            return [self._life(event, time, place, where) for place, (event, time) in enumerate(rows)]
        return self._several(rows, where)

    def _several(self, rows: list[tuple[Any, ...]], where: Callable[[int], str]) -> list[Any]:
        empty: tuple[int, int] | None = None
        other: tuple[int, int] | None = None
        for place, row in enumerate(rows):
            if all(value is None for value in row):
                continue
            for number, value in enumerate(row):
                if value is None:
                    empty = empty or (place, number)
                    continue
                if not isinstance(value, Real) or not isfinite(value):
                    raise BagwiseError(
                        f"column {self.label[number]!r} holds {value!s} {where(place)}: several columns of labels hold"
                        " 0 and 1, or finite numbers; give a column of words alone"
                    )
                if value not in (0, 1):
                    other = other or (place, number)
        if empty and other:
            value = rows[other[0]][other[1]]
            raise BagwiseError(
                f"column {self.label[empty[1]]!r} is empty {where(empty[0])}, and column {self.label[other[1]]!r} holds"
                f" {value!s} {where(other[0])}: of several labels only those that are all 0 and 1 may be unknown, so"
                " fill it in, or leave all labels of the bag empty"
            )
        return [
            None if all(value is None for value in row) else tuple(v if v is None else float(v) for v in row)
            for row in rows
        ]

    def _life(self, event: Any, time: Any, place: int, where: Callable[[int], str]) -> tuple[bool, float] | None:
        if event is None and time is None:
            return None
        for column, value, other in ((self.event, event, self.time), (self.time, time, self.event)):
            if value is None:
                raise BagwiseError(
                    f"column {column!r} is empty {where(place)}, and column {other!r} is not: fill it in, or leave both"
                    " empty"
                )
        if not isinstance(event, Real) or event not in (0, 1):
            raise BagwiseError(f"column {self.event!r} holds {event!s} {where(place)}: an event is 0, 1, true or false")
        if not isinstance(time, Real) or isinstance(time, bool) or not isfinite(time) or time < 0:
            raise BagwiseError(
                f"column {self.time!r} holds {time!s} {where(place)}: a time is a finite number, 0 or more"
            )
        return bool(event), float(time)
