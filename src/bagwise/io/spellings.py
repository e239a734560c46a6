"""The ways of writing one label: which mean the same, and which are often meant to."""

import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

from numpy.typing import NDArray

from bagwise.errors import BagwiseError, BagwiseWarning

__all__ = ["differ_by_case", "differ_by_spelling", "match_classes"]

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)


def differ_by_case(values: Iterable[Any]) -> list[list[str]]:
    """Find texts that are the same but for capitals, and so are often meant to be the same.

    Parameters
    ----------
    values
        Labels, or names of groups; what is no text is passed over.

    Returns
    -------
    list
        Those that belong together.

    Examples
    --------
    >>> differ_by_case(["tumour", "normal", "Tumour"])
    [['Tumour', 'tumour']]
    """
    return _alike(values, str.casefold)


def differ_by_spelling(values: Iterable[Any]) -> list[list[str]]:
    """Find texts that are the same but for capitals and white space.

    Parameters
    ----------
    values
        Names of bags, or values of a category; what is no text is passed over.

    Returns
    -------
    list
        Those that belong together.

    Examples
    --------
    >>> differ_by_spelling(["A 1", "a1", "A2"])
    [['A 1', 'a1']]
    """
    return _alike(values, lambda text: "".join(text.casefold().split()))


def match_classes(labels: Mapping[str, Any], classes: NDArray[Any], where: str) -> dict[str, Any]:
    """Say which of the classes that were learnt each label of a later table means.

    A label is a class if it is written the same, or else if it is the same but for case, the same number, or a truth
    value for 0 and 1. What was taken for what is said in a warning.

    Parameters
    ----------
    labels
        Of each bag, as the later table has them.
    classes
        What was learnt.
    where
        The later table, for the message.

    Returns
    -------
    dict
        Of each bag its class.

    Raises
    ------
    BagwiseError
        If a label is none of the classes, or may be either of two.

    Examples
    --------
    >>> import numpy as np
    >>> with warnings.catch_warnings(record=True) as told:
    ...     warnings.simplefilter("always")
    ...     found = match_classes({"a": "True", "b": "0"}, np.array([0, 1]), "new.csv")
    >>> {name: int(label) for name, label in found.items()}
    {'a': 1, 'b': 0}
    >>> str(told[0].message)
    'new.csv: labels are written in another way than the classes of the run: True is taken for 1'
    """
    meant: dict[str, Any] = {}
    for name, label in labels.items():
        text = str(label).strip()
        if text in meant:
            continue
        alike = [c for c in classes if str(c) == text] or [c for c in classes if _sense(str(c)) == _sense(text)]
        if len(alike) != 1:
            listed = ", ".join(map(str, classes))
            is_none = "may be either of" if alike else "is none of"
            raise BagwiseError(
                f"{where}: the label {text!r} of bag {name!r} {is_none} the classes of the run ({listed}): write it as"
                " they are written, or leave it empty"
            )
        meant[text] = alike[0]
    others = [f"{text} is taken for {label!s}" for text, label in meant.items() if text != str(label)]
    if others:
        told = f"{where}: labels are written in another way than the classes of the run: {', '.join(others)}"
        warnings.warn(told, BagwiseWarning, stacklevel=2)
    return {name: meant[str(label).strip()] for name, label in labels.items()}


def _sense(text: str) -> Decimal | str:
    word = text.strip().casefold()
    if word in ("false", "true"):
        return Decimal(word == "true")
    return Decimal(word) if _NUMBER.fullmatch(word) else word


def _alike(values: Iterable[Any], meant: Callable[[str], str]) -> list[list[str]]:
    """Give texts that are written in several ways and mean one thing."""
    ways: dict[str, set[str]] = {}
    for value in values:
        if isinstance(value, str):
            ways.setdefault(meant(value), set()).add(str(value))
    return [sorted(texts) for texts in ways.values() if len(texts) > 1]
