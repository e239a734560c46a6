"""What can be compared of columns of all kinds: the share of a category, of a range, of an hour, of what is missing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bagwise.bags import Bags
from bagwise.feature_columns import MOST_PLACES, Column

__all__ = ["Series", "compared"]

_PARTS = 10  # of a number, which have as many instances each
_DAY, _HOUR = 86_400.0, 3_600.0
_DAYS = ("Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday")  # from 1970-01-01 on
_Numbers = Callable[[NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class Series:
    """Numbers that are made of a column, and the sums of them that are compared.

    Attributes
    ----------
    column
        Of the table.
    made
        From raw instances, shape (n, D), to numbers, shape (n, k).
    sums
        Which of these belong together, shape (k, m).
    named
        What each sum says where it is higher, and where it is lower; None of what is not looked for.
    numeric
        Whether the first sum is the column's own number, and no share.

    Examples
    --------
    >>> bags = Bags(np.array([[0.0], [1.0]]), [0, 2], columns=(Column("colour", "category", ("blue", "red")),))
    >>> (series,) = compared(bags)
    >>> series.named, (series.made(np.array([[1.0]])) @ series.sums).tolist()
    ([('colour = blue', 'colour is not blue'), ('colour = red', 'colour is not red')], [[0.0, 1.0]])
    """

    column: str
    made: _Numbers
    sums: NDArray[np.float64]
    named: list[tuple[str, str] | None]
    numeric: bool = False


def compared(bags: Bags) -> list[Series]:
    """Say what is compared of instances.

    Of a category these are the most frequent values, of a number all ranges between ten parts that have as many
    instances each, or all ranges of its values where they are few; of a date also of the hour of the day, and the day
    of the week; and what is missing somewhere. Of features without names, and of those in files, it is the number.

    Parameters
    ----------
    bags
        Of vectors.

    Returns
    -------
    list of Series
        At least one for each feature.
    """
    if bags.feature_names is None or not isinstance(bags.instances, np.ndarray):
        features = bags.feature_names or tuple(str(number) for number in range(bags.instance_shape[0]))
        return [_number(name, number) for number, name in enumerate(features)]
    columns = bags.columns or [Column(name, "number") for name in bags.feature_names]
    return [
        series
        for number, column in enumerate(columns)
        for series in _of_column(column, number, bags.instances[:, number].astype(np.float64))
    ]


def _of_column(column: Column, number: int, values: NDArray[np.float64]) -> list[Series]:
    gaps = np.isnan(values)
    known = values[~gaps]
    if column.kind == "category":
        counts = np.bincount(known.astype(np.int64), minlength=len(column.values) + 1)
        often = np.sort(np.argsort(-counts[:-1], kind="stable")[:MOST_PLACES])
        found = [_values(column, number, lambda raw: raw, often, [column.values[code] for code in often])]
    elif column.kind == "date":
        found = [_ranges(column, number, lambda raw: raw, *_parts(known, dates=True))]
        if np.ptp(known % _DAY):
            hours = np.arange(3.0, 24.0, 3.0)
            of_day = f"{column.name}: hour of the day"
            found.append(
                _ranges(column, number, lambda raw: raw % _DAY / _HOUR, hours, [f"{h:g}" for h in hours], of_day)
            )
        if np.ptp(known // _DAY):
            found.append(_values(column, number, lambda raw: raw // _DAY % 7, np.arange(7), _DAYS))
    else:
        mean = float(known.mean()) if len(known) else 0.0
        ranges = _ranges(column, number, lambda raw: raw, *_parts(known))
        own = _number(column.source, number, mean, named=False)
        found = [_beside(own, ranges) if column.of is None else ranges]
    found = [
        series for series in found if series.sums.size
    ]  # of one value, such as even steps of time, no range is told
    if column.of is None and (gaps.any() or not found):
        found.append(_missing(column, number))
    return found


def _number(name: str, number: int, mean: float = 0.0, *, named: bool = True) -> Series:
    told = (f"{name} is high", f"{name} is low") if named else None
    return Series(name, lambda raw: np.nan_to_num(raw[:, [number]], nan=mean), np.ones((1, 1)), [told], numeric=True)


def _missing(column: Column, number: int) -> Series:
    told = (f"{column.name} is missing", f"{column.name} is not missing")
    return Series(column.name, lambda raw: np.isnan(raw[:, [number]]).astype(np.float64), np.ones((1, 1)), [told])


def _values(column: Column, number: int, of: _Numbers, codes: NDArray[np.integer], texts: Sequence[str]) -> Series:
    named: list[tuple[str, str] | None] = [
        (f"{column.name} = {text}", f"{column.name} is not {text}") for text in texts
    ]
    return Series(
        column.source, lambda raw: (of(raw[:, [number]]) == codes).astype(np.float64), np.eye(len(codes)), named
    )


def _ranges(
    column: Column, number: int, of: _Numbers, edges: NDArray[np.float64], texts: Sequence[str], called: str = ""
) -> Series:
    """Compare all ranges between edges."""
    parts, name = len(edges) + 1, called or column.name
    pairs = [(first, last) for first in range(parts) for last in range(first + 1, parts + 1) if last - first < parts]
    sums = np.array([[first <= part < last for first, last in pairs] for part in range(parts)], np.float64)

    def made(raw: NDArray[np.float64]) -> NDArray[np.float64]:
        values = of(raw[:, [number]])
        inside = np.searchsorted(edges, values, side="right") == np.arange(parts)
        found: NDArray[np.float64] = (inside & ~np.isnan(values)).astype(np.float64)
        return found

    named: list[tuple[str, str] | None] = []
    for first, last in pairs:
        low, high = texts[first - 1] if first else "", texts[last - 1] if last < parts else ""
        told = f"below {high}" if not low else f"at least {low}" if not high else f"between {low} and {high}"
        named.append((f"{name} {told}", f"{name} not {told}"))
    return Series(column.source, made, sums.reshape(parts, len(pairs)), named)


def _beside(own: Series, ranges: Series) -> Series:
    """Put a number beside its ranges."""
    sums = np.zeros((1 + ranges.sums.shape[0], 1 + ranges.sums.shape[1]))
    sums[0, 0], sums[1:, 1:] = 1.0, ranges.sums
    return Series(
        own.column,
        lambda raw: np.hstack([own.made(raw), ranges.made(raw)]),
        sums,
        [*own.named, *ranges.named],
        numeric=True,
    )


def _parts(known: NDArray[np.float64], *, dates: bool = False) -> tuple[NDArray[np.float64], list[str]]:
    """Cut numbers into parts, at round ones; where there are few different ones, between all of them."""
    if not len(known):
        return np.zeros(0), []
    distinct = np.unique(known)
    cuts = distinct[1:]
    if len(distinct) > _PARTS:
        cuts = np.unique(np.quantile(known, np.arange(1, _PARTS) / _PARTS))
        cuts = cuts[cuts > distinct[0]]
    if dates:
        if distinct[0] >= 0 and distinct[-1] < _DAY:  # times of a day
            return cuts, [str(np.datetime64(int(cut), "s")).partition("T")[2] for cut in cuts]
        days = np.unique(np.floor(cuts / _DAY) * _DAY)
        cuts = days if len(days) == len(cuts) else cuts
        return cuts, [str(np.datetime64(int(cut), "s")).replace("T00:00:00", "").replace("T", " ") for cut in cuts]
    if len(distinct) > _PARTS:
        for digits in range(2, 17):
            rounded = np.unique([float(f"{cut:.{digits}g}") for cut in cuts])
            if len(rounded) == len(cuts):
                cuts = rounded
                break
    return cuts, [f"{cut:.15g}" for cut in cuts]
