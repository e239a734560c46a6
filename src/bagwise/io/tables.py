"""Tables of instances, one row each, as CSV or Parquet files."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bagwise.bags import Bags
from bagwise.errors import BagwiseError
from bagwise.feature_columns import Column, Wanted
from bagwise.io.bag_tables import BagTable
from bagwise.io.columns import Coded, Table
from bagwise.io.doubts import doubts
from bagwise.io.labels import BagRows, labels_apart, spaces
from bagwise.io.pieces import is_number, pieces_of
from bagwise.io.problems import Problem, left_out, some, tell
from bagwise.io.tablefiles import read_header
from bagwise.kinds import Kind
from bagwise.label_columns import LabelColumns
from bagwise.mixed import Apart, Mixed, as_said, read_mixed

__all__ = [
    "TolerantTable",
    "Values",
    "in_order",
    "number_columns",
    "read_table",
    "read_tolerantly",
    "table_columns",
    "values_of",
]

_MOST_TOLD = 20


def read_table(
    path: str | Path,
    *,
    bag: str,
    label: str | Sequence[str] | None = None,
    event: str | None = None,
    time: str | None = None,
    group: str | None = None,
    instance: str | None = None,
    coordinates: Sequence[str] = (),
    features: Sequence[str] | None = None,
    drop: Sequence[str] = (),
    categorical: Sequence[str] = (),
    date: Sequence[str] = (),
    order: str | None = None,
    bag_features: Sequence[str] = (),
    labels: str | Path | None = None,
    others: Sequence[str] = (),
    like: Sequence[Column] | None = None,
) -> Bags:
    """Read bags from a file whose rows are instances.

    Every column that no parameter names is a feature, unless `features` says which are, or `drop` which are not. Rows
    of a bag need not stand together; bags keep the order in which they first appear. Empty fields and ``NA``, ``N/A``,
    ``NaN`` and ``null`` in any case are gaps, as are nulls in Parquet. Bags without a label are left out; but for these
    and for features, nothing that is used may have a gap. White space around names of columns, bags and groups and
    around labels does not count.

    Features may be numbers, booleans, categories, and dates or times; of these, and of features with gaps, instances
    hold raw numbers, and `Bags.columns` says what they stand for. Columns in which a text has a row of its own, that
    have too many texts, or the same everywhere, are left out.

    What was left out, and labels or groups that differ by case alone, are told in a `BagwiseWarning`.

    Parameters
    ----------
    path
        A CSV file in UTF-8 (``.csv`` with commas, semicolons or tabs, whichever its header has most of, ``.tsv`` with
        tabs, or either with ``.gz`` or ``.zst`` after it) or a Parquet file (``.parquet``, ``.pq``).
    bag
        The column that says which bag a row belongs to. Its values are text: ``007`` stays so.
    label
        The column with the bag's label, the same in all rows of a bag. In a CSV file, labels that are all numbers or
        all ``true`` and ``false`` become such, unless a number begins with 0; numbers beside text are refused. Or
        several columns: of 0 and 1, where an empty field is a label that is not known, or of numbers. Without labels
        the bags have none.
    event, time
        In the place of `label`, the columns that say whether a bag's event was seen (0, 1, true, false), and when it
        came or until when the bag was seen.
    group
        The column with the bag's group (patient, ...), the same in all rows of a bag, as text.
    instance
        The column with names of instances, as text.
    coordinates
        The columns that say where an instance was.
    features
        The columns that describe an instance, in the order wanted, by their names or by patterns such as ``"red_*"``;
        columns without a use are left alone.
    drop
        Names or patterns of columns that would be features, and are not.
    categorical
        Names or patterns of features that are categories, whatever they hold: numbers that name something, or texts
        that would be left out.
    labels
        A file of the same kinds with a row a bag, or several that agree: the columns `bag` and those of labels, and
        `group` if it has it. Other columns of it are not looked at.
    others
        Further columns that are no features, and are not looked at.
    like
        What features stood for in the bags that a model learnt from, its ``columns_``: these columns are read, as that.
        None: all features, as what they hold.

    Returns
    -------
    Bags
        N instances of shape (D,), float64, or float32 where all columns of a Parquet file are; `feature_names` are in
        the order of the file, or of `features`.

    Raises
    ------
    BagwiseError
        If a file cannot be read, if a column is missing or holds what no model can take, if a bag's rows disagree about
        its label or group, if a bag has no group, or if `labels` has a bag that is not here. Rows are counted as in a
        spreadsheet: the header is row 1.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import pandas as pd
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "molecules.csv"
    >>> frame = pd.DataFrame(
    ...     {"molecule": ["007", "008", "007"], "active": [1, 0, 1], "width": [1.5, 2.5, 3.5], "height": [2, 3, 4]}
    ... )
    >>> frame.to_csv(path, index=False)
    >>> bags = read_table(path, bag="molecule", label="active")
    >>> bags
    <Bags: 2 bags of 1 to 2 instances (3 in all), each of shape (2,) float64; labels 0: 1, 1: 1>
    >>> bags.names.tolist(), bags.feature_names
    (['007', '008'], ('width', 'height'))
    """
    columns = LabelColumns.of(label, event, time)
    uses_of = (bag, *columns.names, group, instance, *coordinates, *others, *([] if features is None else features))
    named = [name for name in uses_of if name is not None]
    for name, uses in Counter(named).items():
        if uses > 1:
            raise BagwiseError(f"{path}: column {name!r} is given {uses} uses: give each use a column of its own")
    texts = [name for name in (bag, *columns.names, group, instance) if name is not None]
    asked = Wanted(features, drop, categorical, date, order, bag_features) if like is None else Wanted.as_learnt(like)
    used = {*texts, *coordinates, *others}
    beside = BagTable.of(labels, asked.bag_features)
    needed = _Needed.of(path, [*texts, *coordinates], used, asked, beside)
    told = None if beside is not None and not columns else labels  # to predict, it has features of bags alone
    read = _Read.of(Path(path), bag, columns, group, told, texts, [*coordinates, *others], needed)
    table, rows = read.table, read.rows
    wanted = _among(table, used, asked, beside)
    names = None if instance is None else table.names(instance)
    tell([*read.problems(), *spaces(table)])
    chosen = [name for name in rows.bags.values if not columns or name in read.labels]
    place = {name: number for number, name in enumerate(chosen)}
    bag_of_row = np.array([place.get(name, -1) for name in rows.bags.values])[rows.bags.codes]
    kept = np.argsort(bag_of_row, kind="stable")[np.count_nonzero(bag_of_row < 0) :]
    where = _numbers(table, coordinates, bag_of_row, chosen)
    apart = None if beside is None else beside.apart(bag, place, wanted)
    feature_names, parts, kinds, sentences = values_of(table, wanted, bag_of_row, chosen, apart)
    tell(Problem("warning", "columns", sentence) for sentence in sentences)
    known, all_groups = read.labels, read.groups
    del read, table, rows, apart  # before the matrix is made: with it, they would be most of what memory must hold
    pa.default_memory_pool().release_unused()
    return Bags(
        in_order(parts, kept),
        np.concatenate([[0], np.cumsum(np.bincount(bag_of_row[kept]))]),
        labels=columns.array([known[name] for name in chosen]) if columns else None,
        names=np.array(chosen, dtype=object),
        groups=None if group is None or not all_groups else np.array([all_groups[name] for name in chosen]),
        coordinates=in_order([where[name] for name in coordinates], kept) if coordinates else None,
        feature_names=tuple(feature_names),
        instance_names=None if names is None else np.array([*names.values, ""], dtype=object)[names.codes[kept]],
        label_names=columns.label_names,
        columns=kinds,
    )


def table_columns(path: str | Path) -> list[str]:
    """Give the names of the columns of a table.

    Parameters
    ----------
    path
        As `read_table` takes it.

    Returns
    -------
    list of str
        In the order of the file.

    Raises
    ------
    BagwiseError
        If the file does not begin as a table.
    """
    header = read_header(Path(path))
    return Table.of(Path(path), header, pa.table({})).header


def number_columns(path: str | Path, columns: Sequence[str]) -> list[str]:
    """Give those of some columns of a table that hold numbers.

    Parameters
    ----------
    path
        As `read_table` takes it.
    columns
        Names of columns.

    Returns
    -------
    list of str

    Raises
    ------
    BagwiseError
        If the file cannot be read.
    """
    pieces = pieces_of(Path(path), [], columns, lambda _: None)
    if pieces is not None:
        return [name for name in columns if is_number(pieces.types[name])]
    table = Table.read(Path(path), only=columns)
    return [name for name in columns if table.is_number(name)]


@dataclass(frozen=True, eq=False)
class TolerantTable:
    """A table whose faults were written down and not raised.

    Attributes
    ----------
    columns
        What features there are, and what their numbers stand for.
    kinds
        What each column holds that would be a feature.
    problems
        What is wrong.
    instances
        Shape (N, D), with NaN in gaps.
    bag
        The bag of each row.
    labels, groups
        Of each bag that has one, by name.
    left_out
        Bags that have no label while others have, which nobody learns from.
    """

    columns: tuple[Column, ...]
    kinds: dict[str, Kind]
    problems: list[Problem]
    instances: NDArray[Any]
    bag: Coded
    labels: dict[str, Any]
    groups: dict[str, str]
    left_out: list[str]

    def bags(self) -> Iterator[tuple[str, Any, Any, NDArray[Any]]]:
        """Give name, label, group and instances of each bag that is not left out."""
        order = np.argsort(self.bag.codes, kind="stable")
        ends = np.searchsorted(self.bag.codes[order], np.arange(len(self.bag.values) + 1))
        apart = set(self.left_out)
        for number, name in enumerate(self.bag.values):
            if name not in apart:
                rows = order[ends[number] : ends[number + 1]]
                yield name, self.labels.get(name), self.groups.get(name), self.instances[rows]


def read_tolerantly(
    path: str | Path,
    *,
    bag: str,
    label: LabelColumns,
    wanted: Wanted,
    group: str | None = None,
    others: Sequence[str] = (),
    labels: str | Path | None = None,
) -> TolerantTable:
    """Read a table as far as it can be read, and collect what is wrong with it.

    Parameters
    ----------
    path, bag, group, labels
        As in `read_table`.
    label
        The columns of labels.
    wanted
        Which columns are features, and as what they are read.
    others
        Columns that are no features.

    Returns
    -------
    TolerantTable

    Raises
    ------
    BagwiseError
        If it is no table, or lacks a column.
    """
    texts = [name for name in (bag, *label.names, group) if name is not None]
    beside = BagTable.of(labels, wanted.bag_features)
    needed = _Needed()
    with suppress(BagwiseError):  # which is found again below, and told beside others
        needed = _Needed.of(path, texts, {*texts, *others}, wanted, beside)
    read = _Read.of(Path(path), bag, label, group, labels, texts, others, needed)
    table = read.table
    problems = [*read.problems(), *spaces(table)]
    chosen = Wanted(features=())
    try:
        chosen = _among(table, {*texts, *others}, wanted, beside)
    except BagwiseError as error:
        problems.append(Problem.of("error", "no-features", str(error)))
    names = list(chosen.features or ())
    kinds = {name: as_said(table.kind(name), name, chosen) for name in names}
    bags, left = read.rows.bags, set(read.left_out)
    kept = np.array([name not in left for name in bags.values] + [False])[bags.codes]
    mixed = Mixed(np.where(kept, bags.codes, -1))
    wrong: list[str] = []
    for name, kind in kinds.items():
        if len(wrong) < _MOST_TOLD or not kind.unreadable:  # to look for the place takes its time
            try:
                mixed.read(table, name, kind)
                continue
            except BagwiseError as error:
                told = "nan" if kind.numeric else "not-numeric"
                problems.append(Problem.of("error", told, str(error), [name]))
        wrong.append(name)
    if len(wrong) > _MOST_TOLD:
        more = f"{path}: {len(wrong) - _MOST_TOLD:,} more columns hold what no model can read: leave them out"
        problems.append(Problem.of("error", "not-numeric", more, wrong[_MOST_TOLD:]))
    place = {name: number for number, name in enumerate(bags.values) if name not in left}
    apart = None if beside is None else beside.apart(bag, place, chosen)
    for name in chosen.bag_features:
        there = apart.rows if apart is not None and name in apart.columns else table
        kinds[name] = as_said(there.kind(name), name, chosen)
    try:
        mixed.read_beside(table, chosen, bags.values, apart)
    except BagwiseError as error:
        problems.append(Problem.of("error", "columns", str(error)))
    problems += [Problem.of("warning", "left-out", f"{path}: {told}", mixed.left_out) for told in mixed.told()]
    if names and not mixed.columns and not wrong:
        told = f"{path}: the table has no feature columns: all that would be features are left out"
        problems.append(Problem.of("error", "no-features", told))
    read_well = {name: kind for name, kind in kinds.items() if name in names and name not in wrong}
    problems += doubts(table, read_well, bags, read.labels)
    instances = in_order(mixed.parts, np.arange(len(table)))
    columns = tuple(mixed.columns)
    return TolerantTable(columns, kinds, problems, instances, bags, read.labels, read.groups, read.left_out)


@dataclass(frozen=True, eq=False)
class _Read:
    """A table of instances with the labels and groups of its bags, from it or from a table beside it."""

    table: Table
    rows: BagRows
    apart: BagRows | None
    labels: dict[str, Any]
    groups: dict[str, str]

    @classmethod
    def of(
        cls,
        path: Path,
        bag: str,
        label: LabelColumns,
        group: str | None,
        labels: str | Path | None,
        texts: Sequence[str],
        others: Sequence[str],
        needed: "_Needed",
    ) -> "_Read":
        apart = None
        if labels is not None:
            if not label:
                raise BagwiseError(f"{labels}: label says no column of this file: name the column with the labels")
            apart = labels_apart(Path(labels), bag, label, group)
        table = Table.read(path, [*texts, *needed.as_written], needed.only)
        elsewhere = [] if apart is None else [name for name in (*label.names, group) if name in apart.table.header]
        for name in elsewhere:
            if name in table.header:
                raise BagwiseError(f"{path}: column {name!r} is in {labels} too: leave it out of one of the two files")
        table.check_columns([name for name in (*texts, *others) if name not in elsewhere])
        here = label if apart is None else LabelColumns()
        rows = BagRows.read(table, bag, here, None if group in elsewhere else group)
        if apart is None:
            return cls(table, rows, None, rows.labels, rows.groups)
        return cls(table, rows, apart, apart.labels, apart.groups if group in elsewhere else rows.groups)

    @property
    def left_out(self) -> list[str]:
        """The bags without a label."""
        if self.apart is None:
            return self.rows.left_out
        return [name for name in self.rows.bags.values if name not in self.labels] if self.labels else []

    def problems(self) -> list[Problem]:
        """Say what is wrong with labels and groups, in either table, and between them."""
        if self.apart is None:
            return self.rows.problems
        found = [*self.rows.problems, *self.apart.problems, *spaces(self.apart.table)]
        there, here = self.apart.table.path, self.table.path
        known, told = set(self.rows.bags.values), set(self.apart.bags.values)
        strange = [name for name in self.apart.bags.values if name not in known]
        if strange:
            has = "1 bag has" if len(strange) == 1 else f"{len(strange):,} bags have"
            sentence = (
                f"{there}: {has} a label here but no rows in {here} ({some(strange)}): drop them, or add the rows"
            )
            found.append(Problem.of("error", "labels-without-features", sentence, strange))
        lacking = [name for name in self.rows.bags.values if name not in told]
        if lacking:
            sentence = f"{there}: of {here}, {left_out(lacking)}"
            found.append(Problem.of("warning", "features-without-labels", sentence, lacking))
        return found


def _among(table: Table, used: Collection[str], asked: Wanted, beside: BagTable | None) -> Wanted:
    """Say which of the columns without another use are features."""
    free = [name for name in table.header if name not in used]
    return asked.among(free, () if beside is None else beside.columns, f"{table.path}: the table")


class _Needed(NamedTuple):
    """Which columns of a table are read.

    Attributes
    ----------
    as_written
        Those that are categories, as was said.
    only
        All that are needed; None: all that there are.
    """

    as_written: Sequence[str] = ()
    only: Sequence[str] | None = None

    @classmethod
    def of(
        cls, path: str | Path, always: Sequence[str], used: Collection[str], asked: Wanted, beside: BagTable | None
    ) -> "_Needed":
        """Find them by the header, where all that would be features are not wanted as they are."""
        if asked.features is None and not asked.drop and not asked.categorical:
            return cls()
        free = [name for name in table_columns(path) if name not in used]
        named = asked.among(free, () if beside is None else beside.columns, f"{path}: the table")
        return cls([name for name in named.categorical if name in free], [*always, *named.columns])


class Values(NamedTuple):
    """Features as they were read.

    Attributes
    ----------
    names
        Theirs.
    parts
        Their numbers, shape (N,) each.
    columns
        What they stand for; None where all are numbers without gaps.
    sentences
        What users should know of them.
    """

    names: list[str]
    parts: list[NDArray[Any]]
    columns: tuple[Column, ...] | None
    sentences: list[str]


def values_of(
    table: Table,
    wanted: Wanted,
    bag_of_row: NDArray[np.int64],
    names: Sequence[str] | NDArray[np.object_],
    apart: Apart | None,
) -> Values:
    """Read features of a table.

    Parameters
    ----------
    table
        The table.
    wanted
        Which, by name.
    bag_of_row, names, apart
        As `bagwise.mixed.read_mixed` takes them.

    Returns
    -------
    Values

    Raises
    ------
    BagwiseError
        As `read_table` does.
    """
    given = list(wanted.features or ())
    if wanted.plain and all(map(table.is_number, given)):
        numbers, wrong = table.numbers(given)
        for error in wrong.values():
            raise error
        if all(np.isfinite(values[bag_of_row >= 0]).all() for values in numbers.values()):
            return Values(given, [numbers[name] for name in given], None, [])
    mixed = read_mixed(table, wanted, bag_of_row, names, apart)
    sentences = [f"{table.path}: {sentence}" for sentence in mixed.told()]
    if not mixed.columns:
        raise BagwiseError(f"{table.path}: the table has no feature columns: {sentences[0].partition(': ')[2]}")
    columns = None if mixed.plain and wanted.like is None else tuple(mixed.columns)
    return Values(mixed.names, mixed.parts, columns, sentences)


def _numbers(
    table: Table, columns: Sequence[str], bag_of_row: NDArray[np.int64], names: Sequence[str]
) -> dict[str, NDArray[Any]]:
    """Give columns that hold numbers in all rows of bags that are not left out."""
    numbers, wrong = table.numbers(columns)
    for error in wrong.values():
        raise error
    for column, values in numbers.items():
        finite = np.isfinite(values)
        if not finite.all():
            finite |= bag_of_row < 0
        if not finite.all():
            row = int(np.argmin(finite))
            raise BagwiseError(
                f"{table.path}: column {column!r} has a NaN or an infinity in row {table.row(row)} (bag"
                f" {names[bag_of_row[row]]!r}): fill it in, or leave the row out"
            )
    return numbers


def in_order(columns: list[NDArray[Any]], order: NDArray[np.int64]) -> NDArray[Any]:
    """Give columns as one matrix, whose rows are in another order; the list is empty then, since memory is short.

    Examples
    --------
    >>> in_order([np.array([1.0, 2.0]), np.array([3.0, 4.0])], np.array([1, 0])).tolist()
    [[2.0, 4.0], [1.0, 3.0]]
    """
    single = all(column.dtype == np.float32 for column in columns)
    matrix = np.empty((len(order), len(columns)), np.float32 if single else np.float64)
    while columns:
        place = len(columns) - 1
        matrix[:, place] = columns.pop()[order]
    return matrix
