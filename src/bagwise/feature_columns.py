"""Which columns of a table are features."""

from collections import Counter
from collections.abc import Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase

from bagwise.errors import BagwiseError

__all__ = ["selected"]

_SHOWN = 20
_MOST_COMPARED = 2_000  # names that are searched for a similar one


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
