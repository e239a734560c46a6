"""What is wrong with data, in sentences: the first is raised, or all of them are collected."""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bagwise.errors import BagwiseError, BagwiseWarning

__all__ = ["Problem", "counted", "left_out", "listed", "some", "tell"]

_MOST_NAMED = 20
_SHOWN = 5


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with data.

    Attributes
    ----------
    severity
        ``"error"`` where training would fail, ``"warning"`` where it would mislead.
    code
        What kind of problem, in a few words joined by hyphens.
    sentence
        What is wrong, where, and what to do.
    where
        Names of bags, columns or files, the first 20 of them.

    Examples
    --------
    >>> Problem("error", "one-class", "all bags have the label 1: there must be two classes or more").where
    ()
    """

    severity: Literal["error", "warning"]
    code: str
    sentence: str
    where: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, severity: Literal["error", "warning"], code: str, sentence: str, where: Iterable[Any] = ()
    ) -> "Problem":
        """Keep the first of the names."""
        return cls(severity, code, sentence, tuple(str(name) for name in list(where)[:_MOST_NAMED]))


def tell(problems: Iterable[Problem]) -> None:
    """Raise the first error; where there is none, warn of the rest.

    Parameters
    ----------
    problems
        What is wrong.

    Raises
    ------
    BagwiseError
        If there is an error.
    """
    listed = list(problems)
    for problem in listed:
        if problem.severity == "error":
            raise BagwiseError(problem.sentence)
    for problem in listed:
        warnings.warn(problem.sentence, BagwiseWarning, stacklevel=3)


def some(names: Sequence[str]) -> str:
    """List the first of some names.

    Parameters
    ----------
    names
        Any.

    Returns
    -------
    str

    Examples
    --------
    >>> some(["a", "b"])
    "'a', 'b'"
    """
    return ", ".join(map(repr, names[:_SHOWN])) + ", ..." * (len(names) > _SHOWN)


def left_out(names: Sequence[str]) -> str:
    """Say that bags without a label are left out.

    Parameters
    ----------
    names
        Of the bags.

    Returns
    -------
    str

    Examples
    --------
    >>> left_out(["a"])
    "1 bag has no label and is left out ('a')"
    """
    if len(names) == 1:
        return f"1 bag has no label and is left out ({some(names)})"
    return f"{len(names):,} bags have no label and are left out ({some(names)})"


def counted(count: int, what: str) -> str:
    """Say how many there are of something.

    Parameters
    ----------
    count
        How many.
    what
        The word for one.

    Returns
    -------
    str

    Examples
    --------
    >>> counted(1, "bag"), counted(1200, "bag")
    ('1 bag', '1,200 bags')
    """
    return f"{count:,} {what}" + ("" if count == 1 else "s")


def listed(names: Sequence[Any], most: int = 3) -> str:
    """List the first of some names as they are, and count the rest.

    Parameters
    ----------
    names
        Any.
    most
        How many are listed.

    Returns
    -------
    str

    Examples
    --------
    >>> listed(["a", "b", "c", "d"])
    'a, b, c and 1 more'
    """
    shown = ", ".join(str(name) for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")
