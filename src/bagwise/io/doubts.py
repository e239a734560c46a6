"""What in the columns of a table can be read and is probably not meant."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bagwise.io.columns import Coded, Table
from bagwise.io.problems import Problem
from bagwise.io.spellings import differ_by_spelling
from bagwise.kinds import Kind

__all__ = ["doubts"]

_TRUTHS = (("false", "true"), ("no", "yes"), ("n", "y"), ("f", "t"))
_MOST_VALUES = 4  # of what may be meant as a boolean
_MOST_TOLD = 3  # of a column


def doubts(table: Table, kinds: Mapping[str, Kind], bags: Coded, labels: Mapping[str, Any]) -> list[Problem]:
    """Find values that are spelt in two ways, a third value of a boolean, and features that say the label.

    Parameters
    ----------
    table
        The table.
    kinds
        What the columns hold that are features.
    bags
        The bag of each row.
    labels
        Of each bag that has one.

    Returns
    -------
    list of Problem
        Warnings, each with a column and a row.
    """
    found = []
    for name, kind in kinds.items():
        if kind.kind == "category":
            codes, texts = table.texts(name)
            told = _of_texts(name, codes, [text or "" for text in texts], table)
            found += [Problem.of("warning", "doubtful-value", f"{table.path}: {one}", [name]) for one in told]
        if kind.kind in ("category", "boolean", "number"):
            codes = table.texts(name)[0] if kind.kind == "category" else pd.factorize(table.floats(name))[0]
            if (row := _says_label(codes, bags, labels)) is not None:
                leaks = f"{table.path}: column {name!r} says the label of each bag, from row {table.row(row)} on"
                cure = "leave it out unless it is known before the label is"
                found.append(Problem.of("warning", "says-the-label", f"{leaks}: {cure}", [name]))
    return found


def _of_texts(name: str, codes: NDArray[np.int64], texts: Sequence[str], table: Table) -> list[str]:
    def place(text: str) -> str:
        return f"{text!r} in row {table.row(int(np.argmax(codes == texts.index(text))))}"

    used = [texts[code] for code in np.unique(codes[codes >= 0]).tolist()]
    told = [
        f"column {name!r} has {place(one)} and {place(other)}, which differ by capitals or spaces alone: write them"
        " alike if they are one"
        for one, other, *_ in differ_by_spelling(used)[:_MOST_TOLD]
    ]
    small = {text.strip().casefold() for text in used}
    for truths in _TRUTHS:
        others = [text for text in used if text.strip().casefold() not in truths]
        if small.issuperset(truths) and others and len(small) <= _MOST_VALUES:
            told.append(
                f"column {name!r} has {place(others[0])} beside {' and '.join(truths)}: it is read as a category, so"
                " mend it, or empty it, if there are but two"
            )
    return told


def _says_label(codes: NDArray[np.int64], bags: Coded, labels: Mapping[str, Any]) -> int | None:
    """Give the first row of a column that is the same within bags and another for each label; None: it is not so."""
    known = [labels.get(name) for name in bags.values]
    if 2 * len(set(known)) > len(known):  # where each bag has a label of its own, names of bags would say it, too
        return None
    label = pd.factorize(np.array([*known, None], dtype=object))[0][bags.codes]  # the last, at -1, is that of no bag
    rows = np.flatnonzero(label >= 0)
    if not len(rows) or (codes[rows] < 0).any():
        return None
    several = int(label.max()) + 1
    pairs = pd.unique(codes[rows] * several + label[rows])  # sorting them would take most of a check
    different = [len(np.unique(part)) for part in np.divmod(pairs, several)]
    return int(rows[0]) if different == [len(pairs)] * 2 and len(pairs) > 1 else None
