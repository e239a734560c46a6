"""What a table says of bags: labels and groups, read in one way at every door."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bagwise.errors import BagwiseError
from bagwise.io.columns import Coded, Table
from bagwise.io.problems import Problem, left_out, tell
from bagwise.io.spellings import differ_by_case, differ_by_spelling
from bagwise.label_columns import LabelColumns
from bagwise.labels import valid_labels

__all__ = [
    "BagRows",
    "known_labels",
    "known_values",
    "known_weights",
    "labels_apart",
    "misspelt",
    "spaces",
]

_MOST_TOLD = 3


@dataclass(frozen=True, eq=False)
class BagRows:
    """Of each row of a table its bag, and of each bag its label and group.

    Attributes
    ----------
    table
        The table.
    bags
        The bag of each row.
    labels, groups
        Of each bag that has one.
    problems
        What is wrong with them, errors and warnings.
    left_out
        Bags that have no label while others have.
    """

    table: Table
    bags: Coded
    labels: dict[str, Any]
    groups: dict[str, str]
    problems: list[Problem]
    left_out: list[str]

    @classmethod
    def read(
        cls, table: Table, bag: str, label: LabelColumns, group: str | None = None, *, as_written: bool = False
    ) -> "BagRows":
        """Read the columns of a table; `as_written` takes labels as text whatever they stand for."""
        table.check_columns(name for name in (bag, *label.names, group) if name is not None)
        columns = _Columns(table, table.names(bag), [])
        columns.check_bags(bag)
        labels, groups, left_out = {}, {}, []
        if label:
            labels = columns.labels(label, table.names if as_written else table.classes)
            left_out = columns.check_labels(label, labels)
        if group is not None:
            groups = columns.of_bags("group", group, table.names)
            columns.check_all_have("group", group, groups, left_out)
        return cls(table, columns.bags, labels, groups, columns.problems, left_out)


@dataclass(frozen=True, eq=False)
class _Columns:
    table: Table
    bags: Coded
    problems: list[Problem]

    def say(self, severity: Literal["error", "warning"], code: str, sentence: str, where: Sequence[Any] = ()) -> None:
        self.problems.append(Problem.of(severity, code, f"{self.table.path}: {sentence}", where))

    def check_bags(self, column: str) -> None:
        gaps = self.bags.codes < 0
        if gaps.any():
            rows = f"row {self.table.row(int(np.argmax(gaps)))}"
            more = f" and {gaps.sum() - 1:,} more" if gaps.sum() > 1 else ""
            self.say("error", "gap-in-bag", f"column {column!r} is empty in {rows}{more}: fill it in, or drop the row")

        self.problems.extend(misspelt(self.table, column, self.bags.values, self.first))

    @cached_property
    def first(self) -> NDArray[np.int64]:
        """The first row of each bag."""
        known = np.flatnonzero(self.bags.codes >= 0)
        first = np.zeros(len(self.bags.values), dtype=np.int64)
        first[self.bags.codes[known][::-1]] = known[::-1]
        return first

    def labels(self, label: LabelColumns, reading: Callable[[str], Coded]) -> dict[str, Any]:
        """Give the label of each bag that has one."""
        names = self.bags.values
        found = [self.of_bags("label", column, reading) for column in label.names]
        if any(problem.code == "unusable-label" for problem in self.problems):
            return {}

        def where(bag: int) -> str:
            return f"in row {self.table.row(int(self.first[bag]))} (bag {names[bag]!r})"

        try:
            joined = label.joined([[column.get(name) for name in names] for column in found], where)
        except BagwiseError as error:
            self.say("error", "unusable-label", str(error), label.names)
            return {}
        return {name: value for name, value in zip(names, joined, strict=True) if value is not None}

    def of_bags(self, use: str, column: str, reading: Callable[[str], Coded]) -> dict[str, Any]:
        """Read what all rows of a bag must agree about; give it for each bag that has it."""
        try:
            values = reading(column)
        except BagwiseError as error:
            self.problems.append(Problem.of("error", f"unusable-{use}", str(error), [column]))
            return {}
        known = np.flatnonzero(self.bags.codes >= 0)
        of_rows, first = self.bags.codes[known], self.first
        differs = values.codes[known] != values.codes[first][of_rows]
        if differs.any():
            row = int(known[np.argmax(differs)])
            bag = int(self.bags.codes[row])
            wrong = [self.bags.values[code] for code in np.unique(of_rows[differs])]
            one, other = (
                f"{'nothing' if values.value(place) is None else values.value(place)} in row {self.table.row(place)}"
                for place in (int(first[bag]), row)
            )
            more = f" (and within {len(wrong) - 1:,} more)" if len(wrong) > 1 else ""
            self.say(
                "error",
                f"{use}-not-constant",
                f"column {column!r} differs within bag {self.bags.values[bag]!r}{more}: {one}, {other}; all rows of a"
                " bag need the same value",
                wrong,
            )
        alike = differ_by_case(values.values)
        if alike:
            more = f", and {len(alike) - 1:,} more," if len(alike) > 1 else ""
            self.say(
                "warning",
                f"{use}s-differ-by-case",
                f"the {use}s {' and '.join(map(repr, alike[0]))}{more} of column {column!r} differ by case alone and"
                f" are taken for different {use}s: write them alike if they are one",
                [text for texts in alike for text in texts],
            )
        found = zip(self.bags.values, (values.value(row) for row in first.tolist()), strict=True)
        return {name: value for name, value in found if value is not None}

    def check_labels(self, label: LabelColumns, labels: dict[str, Any]) -> list[str]:
        """See that labels are some; give the bags that have none."""
        if any(problem.code == "unusable-label" for problem in self.problems):
            return []
        if not labels:
            if self.bags.values:
                row = self.table.row(int(np.argmax(self.bags.codes >= 0)))
                are, it = ("is", "it") if len(label.names) == 1 else ("are", "them")
                self.say("error", "no-labels", f"{label} {are} empty in row {row} and in all others: fill {it} in")
            return []
        try:
            valid_labels(label.array(list(labels.values())), np.array(list(labels), dtype=object))
        except BagwiseError as error:
            self.say("error", "unusable-label", str(error), label.names)
            labels.clear()
            return []
        lacking = [name for name in self.bags.values if name not in labels]
        if lacking:
            self.say("warning", "missing-label", left_out(lacking), lacking)
        return lacking

    def check_all_have(self, use: str, column: str, values: dict[str, Any], unlabelled: Collection[str]) -> None:
        if any(problem.code == f"unusable-{use}" for problem in self.problems):
            return
        apart = set(unlabelled)
        lacking = [name for name in self.bags.values if name not in values and name not in apart]
        if lacking:
            row = self.table.row(int(np.argmax(self.bags.codes == self.bags.values.index(lacking[0]))))
            more = f" (nor have {len(lacking) - 1:,} more)" if len(lacking) > 1 else ""
            self.say(
                "error",
                f"missing-{use}",
                f"column {column!r} is empty in row {row}: bag {lacking[0]!r} has no {use}{more}, so give it one, or"
                " leave the bag out",
                lacking,
            )


def known_weights(
    path: str | Path, bag: str, weight: str, names: Collection[str]
) -> tuple[dict[str, float], list[Problem]]:
    r"""Look up how much bags count.

    Parameters
    ----------
    path
        As `bagwise.read_table` takes it.
    bag, weight
        The columns that say of which bag a row is, and how much it counts, the same in all rows of a bag.
    names
        The bags that must have one.

    Returns
    -------
    tuple
        The weight of each bag that has one, and what is wrong with weights.

    Raises
    ------
    BagwiseError
        If the file cannot be read, or a column is missing.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "labels.csv"
    >>> _ = path.write_text("slide,weight\na,1\nb,0.5\nb,2\n")
    >>> weights, problems = known_weights(path, "slide", "weight", ["a"])
    >>> weights["a"], problems[0].sentence.partition(": ")[2]
    (1.0, "column 'weight' differs within bag 'b': 0.5 in row 3, 2.0 in row 4; all rows of a bag need the same value")
    """
    table = Table.read(Path(path), [bag], [bag, weight])
    table.check_columns([bag, weight])
    columns = _Columns(table, table.names(bag), [])
    found = columns.of_bags("weight", weight, table.amounts)
    columns.check_all_have("weight", weight, found, set(columns.bags.values) - set(names))
    return found, columns.problems


def known_values(path: str | Path, bag: str, column: str) -> dict[str, str]:
    r"""Look up what a column says of bags, as text.

    Parameters
    ----------
    path
        As `bagwise.read_table` takes it.
    bag, column
        The columns that say of which bag a row is, and what is asked for, the same in all rows of a bag.

    Returns
    -------
    dict
        The text of each bag that has one.

    Raises
    ------
    BagwiseError
        If the file cannot be read, a column is missing, or the rows of a bag disagree.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "labels.csv"
    >>> _ = path.write_text("slide,split\na,train\nb,\n")
    >>> known_values(path, "slide", "split")
    {'a': 'train'}
    """
    table = Table.read(Path(path), [bag, column], [bag, column])
    table.check_columns([bag, column])
    columns = _Columns(table, table.names(bag), [])
    found: dict[str, str] = columns.of_bags("value", column, table.names)
    tell(problem for problem in columns.problems if problem.severity == "error")
    return found


def known_labels(path: str | Path, bag: str, label: LabelColumns, *, as_written: bool = False) -> dict[str, Any]:
    r"""Look up the labels of bags, where labels do not matter and may be missing.

    Parameters
    ----------
    path
        As `bagwise.read_table` takes it.
    bag, label
        The columns that say of which bag a row is, and what its label is.
    as_written
        Take labels as text; `bagwise.io.spellings.match_classes` says what the texts mean.

    Returns
    -------
    dict
        The label of each bag that has one, as `LabelColumns.joined` gives it; empty where a column is missing.

    Raises
    ------
    BagwiseError
        If the file cannot be read, a bag has two labels, or a label is none of its kind.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "labels.csv"
    >>> _ = path.write_text("slide,tumour\na,1\nb,\nc,0\nc,0\n")
    >>> known_labels(path, "slide", LabelColumns(("tumour",)), as_written=True)
    {'a': '1', 'c': '0'}
    """
    columns = [bag, *label.names]
    table = Table.read(Path(path), columns, columns)
    if not set(columns) <= set(table.header):
        return {}
    rows = BagRows.read(table, bag, label, as_written=as_written)
    tell(problem for problem in rows.problems if problem.severity == "error" and problem.code != "no-labels")
    return rows.labels


def misspelt(table: Table, column: str, names: Sequence[str], first: NDArray[np.int64]) -> list[Problem]:
    """Point out names of bags that are spelt nearly alike.

    Parameters
    ----------
    table
        Where they are.
    column
        In which column.
    names
        Each once.
    first
        The first row of each, by its position in the table.

    Returns
    -------
    list of Problem
    """
    found = []
    for one, other, *_ in differ_by_spelling(names)[:_MOST_TOLD]:
        rows = [table.row(int(first[names.index(name)])) for name in (one, other)]
        sentence = (
            f"{table.path}: the bags {one!r} (row {rows[0]}) and {other!r} (row {rows[1]}) of column {column!r} differ"
            " by capitals or spaces alone and are taken for two: write them alike if they are one"
        )
        found.append(Problem.of("warning", "bags-differ-by-spelling", sentence, [one, other]))
    return found


def spaces(table: Table) -> list[Problem]:
    """Say which white space was left out.

    Parameters
    ----------
    table
        A table whose columns were read.

    Returns
    -------
    list of Problem
        One, or none.
    """
    return [] if table.spaces is None else [Problem("warning", "white-space", table.spaces)]


def labels_apart(
    path: Path, bag: str, label: LabelColumns, group: str | None = None, others: Sequence[str] = ()
) -> BagRows:
    """Read a table of labels that stands beside the data.

    Parameters
    ----------
    path
        As `bagwise.read_table` takes it.
    bag, label, group
        Columns of it; empty where they do not matter. The group may stand elsewhere.
    others
        Further columns to read, if they are there.

    Returns
    -------
    BagRows

    Raises
    ------
    BagwiseError
        If the file cannot be read, or lacks a column.
    """
    columns = [name for name in (bag, *label.names, group, *others) if name is not None]
    table = Table.read(path, columns, columns)
    return BagRows.read(table, bag, label, group if group in table.header else None)
