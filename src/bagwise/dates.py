"""Dates, and times of a day, that a table has as text or as numbers."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bagwise.errors import BagwiseError

__all__ = ["of_numbers", "of_texts", "way_of_numbers", "way_of_texts"]

_DAYS = ("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y%m%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y")
_NAMED = ("%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y")
_TIMES = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", "T%H:%M", "T%H:%M:%S", "T%H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p")
_OF_DAY = ("%H:%M", "%H:%M:%S", "%H:%M:%S.%f", "%I:%M %p", "%I:%M:%S %p", "%I:%M%p", "%I:%M:%S%p")
_WAYS = (*(day + time for day in (*_DAYS, *_NAMED) for time in _TIMES), *_OF_DAY)
_DAY = 86_400
_SECONDS, _MILLISECONDS = "seconds since 1970", "milliseconds since 1970"
_LOOKED_AT = 20
_MOST_SECONDS = 1e11  # the year 5138; in milliseconds 1973


def way_of_texts(texts: Sequence[str]) -> str | None:
    """Find how dates are written.

    Parameters
    ----------
    texts
        All that a column has, each once.

    Returns
    -------
    str or None
        As `datetime.strptime` takes it, of all or of most; None where they are not written in one of the ways known.

    Raises
    ------
    BagwiseError
        If nobody can tell the day from the month; it says what of the texts.

    Examples
    --------
    >>> way_of_texts(["24.12.2026 18:00", "01.02.2027 09:30"])
    '%d.%m.%Y %H:%M'
    """
    ways = [way for way in _WAYS if any(_fits(text, way) for text in texts[:_LOOKED_AT])]
    read = {way: _seconds(texts, way) for way in ways}
    if not read:
        return None
    best = max(read, key=lambda way: (np.isfinite(read[way]).sum(), np.isfinite(read[way][0])))
    for seconds in read.values():
        differ = (seconds != read[best]) & ~np.isnan(seconds).any() & ~np.isnan(read[best]).any()
        if differ.any():
            raise BagwiseError(
                f"dates such as {texts[int(np.argmax(differ))]!r}, of which nobody can tell the day from the month:"
                " write them as 2026-12-24"
            )
    return best


def way_of_numbers(numbers: NDArray[np.float64]) -> str:
    """Find what numbers say that are dates.

    Parameters
    ----------
    numbers
        Some, finite.

    Returns
    -------
    str
        ``"%Y%m%d"`` where all are such as 20261224; else how long since 1970: seconds, or milliseconds where one is
        larger than seconds are before the year 5000.

    Examples
    --------
    >>> way_of_numbers(np.array([20261224.0])), way_of_numbers(np.array([1798070400.0]))
    ('%Y%m%d', 'seconds since 1970')
    """
    whole = (numbers == np.trunc(numbers)) & (numbers >= 19000101) & (numbers <= 29991231)
    if whole.all() and all(_fits(str(int(number)), "%Y%m%d") for number in np.unique(numbers)):
        return "%Y%m%d"
    return _MILLISECONDS if np.abs(numbers).max(initial=0) > _MOST_SECONDS else _SECONDS


def of_texts(texts: Sequence[str | None], way: str) -> NDArray[np.float64]:
    """Give dates as seconds since 1970, shape (N,), and times of a day as seconds since midnight.

    NaN is where there is none, an infinity where it is written otherwise.

    Examples
    --------
    >>> of_texts(["02.01.1970", None, "yesterday"], "%d.%m.%Y").tolist(), of_texts(["14:05"], "%H:%M").tolist()
    ([86400.0, nan, inf], [50700.0])
    """
    given = np.array([text is not None for text in texts])
    seconds = _seconds(texts, way)
    return np.where(given & np.isnan(seconds), np.inf, seconds)


def of_numbers(numbers: NDArray[Any], way: str) -> NDArray[np.float64]:
    """Give dates as seconds since 1970, as `of_texts` does.

    Examples
    --------
    >>> of_numbers(np.array([86400000.0, np.nan]), "milliseconds since 1970").tolist()
    [86400.0, nan]
    """
    if way in (_SECONDS, _MILLISECONDS):
        return np.asarray(numbers, np.float64) / (1000 if way == _MILLISECONDS else 1)
    values, places = np.unique(numbers, return_inverse=True)
    return of_texts([None if np.isnan(one) else f"{one:.0f}" for one in values], way)[places]


def _seconds(texts: Sequence[str | None], way: str) -> NDArray[np.float64]:
    import pandas as pd

    read = pd.to_datetime(pd.Series(np.array(texts, dtype=object)), format=way, errors="coerce")
    seconds = np.where(read.isna(), np.nan, read.to_numpy("datetime64[us]").astype(np.int64) / 1e6)
    return seconds % _DAY if way in _OF_DAY else seconds  # pandas has them on a day of 1900


def _fits(text: str, way: str) -> bool:
    try:
        datetime.strptime(text, way)  # only looked at
    except ValueError:
        return False
    return True
