"""Tables of instances, one row each, as CSV or Parquet files."""

import codecs
import csv
import gzip
import io
import re
import reprlib
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bagwise import checks
from bagwise.bags import Bags
from bagwise.errors import BagwiseError

__all__ = ["TolerantTable", "known_labels", "read_table", "read_tolerantly", "table_columns"]

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_PARQUET = (".parquet", ".pq")
_MISSING = [*pa_csv.ConvertOptions().null_values, "None", "<NA>"]

_INTEGER = re.compile(r"[+-]?(0|[1-9]\d*)", re.ASCII)
_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)
_NUMBER_OR_INFINITY = rf"^(?i:{_NUMBER.pattern}|\s*[+-]?inf(inity)?\s*)$"
_LEADING_ZERO = re.compile(r"[+-]?0\d+", re.ASCII)
_TRUTH = {word: word.lower() == "true" for word in ("true", "True", "TRUE", "false", "False", "FALSE")}

# What pandas calls the row numbers it writes beside a table: as a feature they would tell the bags apart.
_ROW_NUMBERS = re.compile(r"|Unnamed: \d+")
_PARQUET_ROW_NUMBERS = re.compile(r"__index_level_\d+__")

# A row as `Bags.from_table` and `checks` name it, counted from 0; before it, what they quote, where nothing is a row.
_ROW = re.compile(r"""(?<=[ (])(['"])(?:\\.|(?!\1).)*\1(?=[ :;,)])|(?<=\brow )(?P<row>\d+)(?= \(bag |: |, |;)""")

_EXACT = 2**53  # beyond it not every whole number is a float64
_SHOWN = 5


def read_table(
    path: str | Path,
    *,
    bag: str,
    label: str | None = None,
    group: str | None = None,
    instance: str | None = None,
    coordinates: Sequence[str] = (),
    features: Sequence[str] | None = None,
    labels: str | Path | None = None,
) -> Bags:
    """Read bags from a file whose rows are instances.

    Every column that no parameter names is a feature, unless `features` says which are. Rows of a bag need not stand
    together; bags keep the order in which they first appear. Empty fields and the words by which tables say "missing"
    (``NA``, ``NaN``, ``null``, ``None``, ...) are gaps, and no column that is used may have one.

    Parameters
    ----------
    path
        A CSV file in UTF-8 (``.csv`` with commas, ``.tsv`` with tabs, or either with ``.gz`` after it) or a Parquet
        file (``.parquet``, ``.pq``).
    bag
        The column that says which bag a row belongs to. Its values are kept as they are written: ``007`` stays so.
    label
        The column with the bag's label, the same in all rows of a bag. In a CSV file, labels that are all numbers or
        all ``true`` and ``false`` become such, unless a number begins with 0. Without it the bags have no labels.
    group
        The column with the bag's group (patient, ...), the same in all rows of a bag. Kept as it is written.
    instance
        The column with names of instances, kept as they are written.
    coordinates
        The columns that say where an instance was.
    features
        The columns that describe an instance, in the order wanted; columns without a use are left alone.
    labels
        A file of the same kinds with one row a bag: the columns `bag` and `label`, and `group` if it has it. Other
        columns of it are not looked at.

    Returns
    -------
    Bags
        N instances of shape (D,), float64, or float32 where all columns of a Parquet file are; `feature_names` are in
        the order of the file.

    Raises
    ------
    BagwiseError
        If a file cannot be read, if a column is missing, not numeric or holds a gap, if a bag's rows disagree about
        its label or group, or if bags and labels do not fit together. Rows are counted as in a spreadsheet: the header
        is row 1.

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
    given = [] if features is None else list(features)
    named = [name for name in (bag, label, group, instance, *coordinates, *given) if name is not None]
    for name, uses in Counter(named).items():
        if uses > 1:
            raise BagwiseError(f"{path}: column {name!r} is given {uses} uses: give each use a column of its own")
    table = _Table.read(Path(path), texts=[name for name in named if name not in (*coordinates, *given)])
    per_bag = pd.DataFrame() if labels is None else _labels_of_bags(Path(labels), bag, label, group)
    elsewhere = [str(name) for name in per_bag.columns]
    for name in elsewhere:
        if name in table.arrow.column_names:
            raise BagwiseError(f"{path}: column {name!r} is in {labels} too: leave it out of one of the two files")
    here = [name for name in named if name not in elsewhere]
    table.check_columns(here)
    if features is None:
        given = [name for name in table.arrow.column_names if name not in here]
    columns: dict[str, Any] = {bag: table.ids(bag)}
    if label in here:
        columns[label] = table.classes(label)
    if group in here:
        columns[group] = table.ids(group)
    if instance is not None:
        columns[instance] = table.ids(instance).fillna("")
    columns |= table.numbers([*coordinates, *given])
    if labels is not None:
        _check_same_bags(table.path, columns[bag], labels, per_bag)
        columns |= {name: columns[bag].map(per_bag[name]) for name in elsewhere}
    with table.named_in_errors():
        return Bags.from_table(
            pd.DataFrame(columns, copy=False),
            bag,
            label,
            features=None if features is None else given,
            group=group,
            instance=instance,
            coordinates=coordinates,
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
        If the file cannot be read.
    """
    return list(_Table.read(Path(path), texts=[]).arrow.column_names)


def known_labels(path: str | Path, bag: str, label: str) -> dict[str, Any]:
    r"""Look up the labels of bags, where labels do not matter and may be missing.

    Parameters
    ----------
    path
        As `read_table` takes it.
    bag, label
        The columns that say of which bag a row is, and of which class.

    Returns
    -------
    dict
        The label of each bag that has one and no other; empty where a column is missing or holds no labels.

    Raises
    ------
    BagwiseError
        If the file cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "labels.csv"
    >>> _ = path.write_text("slide,tumour\na,1\nb,\nc,0\nc,1\n")
    >>> known_labels(path, "slide", "tumour")
    {'a': 1}
    """
    table = _Table.read(Path(path), texts=[bag, label])
    if not {bag, label} <= set(table.arrow.column_names):
        return {}
    try:
        rows = pd.DataFrame({"bag": table.ids(bag), "label": table.classes(label)}).dropna()
        of_bags = rows.groupby("bag")["label"].agg(["first", "nunique"])
        alone = of_bags.loc[of_bags["nunique"] == 1, "first"]
        values = checks.valid_labels(alone.to_list(), alone.index.to_numpy(dtype=object)) if len(alone) else np.empty(0)
    except BagwiseError:  # texts among numbers, fractions, ...: no labels of classes
        return {}
    return dict(zip(alone.index, values.tolist(), strict=True))


@dataclass(frozen=True, eq=False)
class TolerantTable:
    """A table whose faults were written down and not raised.

    Attributes
    ----------
    feature_names
        The features that are numbers.
    faults
        What is wrong: a code, a sentence, and the names of bags or columns.
    instances
        Shape (N, D), with NaN in gaps.
    bag
        The bag of each row, None in gaps.
    labels, groups
        Of each bag, by name.
    """

    feature_names: list[str]
    faults: list[tuple[str, str, list[str]]]
    instances: NDArray[Any]
    bag: "pd.Series[str]"
    labels: dict[str, Any]
    groups: dict[str, Any]

    def bags(self) -> Iterator[tuple[str, Any, Any, NDArray[Any]]]:
        """Give name, label, group and instances of each bag."""
        for name, rows in self.bag.groupby(self.bag, sort=False).indices.items():
            yield str(name), self.labels.get(str(name)), self.groups.get(str(name)), self.instances[rows]


def read_tolerantly(
    path: str | Path,
    *,
    bag: str,
    label: str,
    group: str | None = None,
    others: Sequence[str] = (),
    labels: str | Path | None = None,
) -> TolerantTable:
    """Read a table as far as it can be read, and collect what is wrong with it.

    Parameters
    ----------
    path, bag, label, group, labels
        As in `read_table`.
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
    faults: list[tuple[str, str, list[str]]] = []
    roles = [name for name in (bag, label, group) if name is not None]
    table = _Table.read(Path(path), texts=[*roles, *others])
    about = table if labels is None else _Table.read(Path(labels), texts=roles)
    table.check_columns([bag, *others])
    about.check_columns([bag, label])
    ids = table.ids(bag)
    if ids.isna().any():
        row = table.row(int(np.argmax(ids.isna())))
        faults.append(
            (
                "gap-in-bag",
                f"{path}: column {bag!r} is empty in {ids.isna().sum()} rows, first in row {row}: fill it in",
                [],
            )
        )
    found: dict[str, dict[str, Any]] = {"label": {}, "group": {}}
    for use, name in (("label", label), ("group", group)):
        holder = about if name in about.arrow.column_names else table
        if name is None:
            continue
        holder.check_columns([name])
        try:
            values = holder.classes(name) if use == "label" else holder.ids(name)
        except BagwiseError as error:
            faults.append((f"unusable-{use}", str(error), [name]))
            continue
        frame = pd.DataFrame({"bag": holder.ids(bag), "value": values}).dropna(subset="bag")
        kinds = frame.groupby("bag", sort=False)["value"].nunique(dropna=False)
        for code, wrong, told in (
            (f"{use}-not-constant", kinds.index[kinds > 1], f"several {use}s: give all rows of a bag one"),
            (f"missing-{use}", frame.bag[frame.value.isna()].unique(), f"no {use}: fill it in, or drop the rows"),
        ):
            if len(wrong):
                listed = [str(one) for one in wrong]
                faults.append((code, f"{holder.path}: {_bags_have(len(listed))} {told} ({_some(listed)})", listed))
        first = frame.dropna().drop_duplicates("bag")
        found[use] = dict(zip(first.bag, first.value, strict=True))
    if labels is not None:
        here, there = set(ids.dropna()), set(about.ids(bag).dropna())
        for code, lacking, told in (
            ("features-without-labels", here - there, f"no label in {labels}: add one row each"),
            ("labels-without-features", there - here, f"a label in {labels} but no rows in {path}: drop them there"),
        ):
            if lacking:
                listed = sorted(lacking)
                faults.append((code, f"{_bags_have(len(listed))} {told} ({_some(listed)})", listed))
    columns, names = [], []
    for name in table.arrow.column_names:
        if name in (*others, *roles):
            continue
        try:
            columns.append(table.numbers([name])[name])
            names.append(name)
        except BagwiseError as error:
            faults.append(("not-numeric", str(error), [name]))
    if not names:
        faults.append(("no-features", f"{path}: there is no feature column: all columns have another use", []))
    instances = np.column_stack(columns) if columns else np.zeros((len(ids), 0))
    return TolerantTable(names, faults, instances, ids, found["label"], found["group"])


def _bags_have(count: int) -> str:
    return "1 bag has" if count == 1 else f"{count} bags have"


def _some(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:_SHOWN])) + ", ..." * (len(names) > _SHOWN)


def _labels_of_bags(path: Path, bag: str, label: str | None, group: str | None) -> pd.DataFrame:
    if label is None:
        raise BagwiseError(f"{path}: label says no column of this file: name the column with the labels")
    table = _Table.read(path, texts=[name for name in (bag, label, group) if name is not None])
    table.check_columns([bag, label])
    ids = table.ids(bag)
    with table.named_in_errors():
        checks.check_no_gap(ids.factorize()[0], bag)
    for again in np.flatnonzero(ids.duplicated())[:1]:
        first = int(np.argmax(ids == ids[again]))
        raise BagwiseError(
            f"{path}: bag {ids[again]!r} stands in row {table.row(first)} and in row {table.row(again)}: give each bag"
            " one row"
        )
    names = ids.to_numpy(dtype=object)
    classes = table.classes(label)
    with table.named_in_errors():
        columns = {label: checks.valid_labels(classes, names)}
    if group is not None and group in table.arrow.column_names:
        groups = table.ids(group)
        with table.named_in_errors():
            columns[group] = checks.of_one_kind(groups, names, "group")
    return pd.DataFrame(columns, index=names)


def _check_same_bags(path: Path, ids: "pd.Series[str]", labels: str | Path, per_bag: pd.DataFrame) -> None:
    bags = ids.dropna().unique().tolist()
    known = set(bags)
    for lacking, before, after in (
        ([name for name in bags if name not in per_bag.index], "no label", f"of {path}"),
        ([name for name in per_bag.index if name not in known], "a label", f"that {path} does not have"),
    ):
        if lacking:
            count = f"{len(lacking)} bag{'s' * (len(lacking) > 1)}"
            raise BagwiseError(
                f"{labels}: there is {before} for {count} {after} ({_some(lacking)}): give one row to"
                " each bag, and to no other"
            )


@dataclass(frozen=True)
class _Table:
    """A file's table, and its name for errors."""

    path: Path
    arrow: Any
    delimiter: str | None

    @classmethod
    def read(cls, path: Path, texts: Sequence[str]) -> "_Table":
        """Read a file, with the columns `texts` of a CSV file as they are written."""
        ending = Path(path.name.lower().removesuffix(".gz")).suffix
        delimiter = _DELIMITERS.get(ending)
        if delimiter is None and path.suffix.lower() not in _PARQUET:
            raise BagwiseError(
                f"{path}: the name of a table must end in .csv, .tsv, .csv.gz, .tsv.gz, .parquet or .pq: convert the"
                " file, or rename it"
            )
        contents = _contents(path)
        arrow = _parquet(path, contents) if delimiter is None else _csv(path, contents, delimiter, texts)
        for number, name in enumerate(arrow.column_names, 1):
            if _ROW_NUMBERS.fullmatch(name):
                raise BagwiseError(
                    f"{path}: column {number} has no name ({name!r} in row 1): name it, or leave it out if it holds row"
                    " numbers"
                )
        for name, count in Counter(arrow.column_names).items():
            if count > 1:
                raise BagwiseError(f"{path}: {count} columns have the name {name!r} in row 1: give each its own")
        if arrow.num_rows == 0:
            raise BagwiseError(f"{path}: the table has a header and no rows: a bag needs at least one")
        return cls(path, arrow, delimiter)

    def check_columns(self, names: Sequence[str]) -> None:
        known = self.arrow.column_names
        for name in names:
            if name not in known:
                close = " or ".join(map(repr, get_close_matches(name, known)))
                listed = ", ".join(known[:20]) + ", ..." * (len(known) > 20)
                told = f"did you mean {close}?" if close else f"the columns are {listed}"
                raise BagwiseError(f"{self.path}: there is no column {name!r} in row 1: {told}")

    def row(self, position: int) -> int:
        """Give the number that a spreadsheet gives to a row, which counts the header and empty lines."""
        plain = int(position) + 2
        if self.delimiter is None:
            return plain
        records = enumerate(_records(_contents(self.path), self.delimiter), 1)
        try:
            return next(islice((number for number, fields in records if fields), plain - 1, None), plain)
        except csv.Error:  # a field longer than the csv module reads
            return plain

    @contextmanager
    def named_in_errors(self) -> Iterator[None]:
        """Let errors begin with the path, and count rows as a spreadsheet does."""
        try:
            yield
        except BagwiseError as error:
            sentence = _ROW.sub(
                lambda match: str(self.row(int(match["row"]))) if match["row"] else match[0], str(error)
            )
            raise BagwiseError(f"{self.path}: {sentence}") from error

    def ids(self, name: str) -> "pd.Series[str]":
        """Give a column as text, its gaps as missing values."""
        column = _decoded(self.arrow[name])
        kind = column.type
        if pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
            raise self._not(name, "made of names", kind)
        try:
            if pa.types.is_floating(kind):  # what pandas makes of whole numbers in a column that once had a gap
                values = column.to_numpy()
                if (np.isnan(values) | (np.trunc(values) == values) & (np.abs(values) < _EXACT)).all():
                    column = column.cast(pa.int64())
            return _without_missing(column.cast(pa.string())).to_pandas()  # type: ignore[no-any-return]
        except pa.ArrowException as error:
            raise self._not(name, "made of names", kind) from error

    def classes(self, name: str) -> "pd.Series[Any]":
        """Give a column as labels: numbers, booleans or text."""
        column = _decoded(self.arrow[name])
        kind = column.type
        if not _is_text(kind):
            if not (pa.types.is_primitive(kind) or pa.types.is_null(kind)) or pa.types.is_temporal(kind):
                raise self._not(name, "made of labels", kind)
            return column.to_pandas()  # type: ignore[no-any-return]
        values = _without_missing(column.cast(pa.string())).to_pandas()
        if self.delimiter is None:
            return values  # type: ignore[no-any-return]
        meaning = self._meaning(name, values)
        return values if meaning is None else values.map(meaning)  # type: ignore[no-any-return]

    def _meaning(self, name: str, values: "pd.Series[str]") -> dict[str, Any] | None:
        """Say what the texts of a column of labels stand for, where they stand for numbers or booleans."""
        texts = values.dropna().unique().tolist()
        if all(text in _TRUTH for text in texts):
            return _TRUTH
        numbers = [text for text in texts if _NUMBER.fullmatch(text)]
        if not numbers or any(_LEADING_ZERO.fullmatch(text.strip()) for text in texts):
            return None
        for word in texts:
            if word not in numbers:
                raise BagwiseError(
                    f"{self.path}: column {name!r} mixes numbers and text: {numbers[0]!r} in row"
                    f" {self.row(int(np.argmax(values == numbers[0])))}, {reprlib.repr(word)} in row"
                    f" {self.row(int(np.argmax(values == word)))}; use one of the two"
                )
        if not all(_INTEGER.fullmatch(text) for text in texts):
            return {text: float(text) for text in texts}
        for text in texts:
            if not -(2**63) <= int(text[:99]) < 2**63:
                raise BagwiseError(
                    f"{self.path}: column {name!r} holds {reprlib.repr(text)} in row"
                    f" {self.row(int(np.argmax(values == text)))}: labels must be below 2**63, so number the classes"
                )
        return {text: int(text) for text in texts}

    def numbers(self, names: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Give columns of floats, or refuse them."""
        columns = {name: self._floats(name) for name in names}
        if self.delimiter is None:
            return columns
        suspects = [name for name, values in columns.items() if (np.abs(values) >= _EXACT).any()]
        if suspects:
            again = _csv(self.path, _contents(self.path), self.delimiter, suspects)
            for name in suspects:
                texts = [None if text is None else text.strip() for text in again[name].to_pylist()]
                if all(text is None or _INTEGER.fullmatch(text) for text in texts):
                    self._refuse_huge(name, (None if text is None else int(text[:99]) for text in texts))
        return columns

    def _floats(self, name: str) -> NDArray[Any]:
        column = self.arrow[name]
        kind = column.type
        if pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind):
            try:
                column = column.cast(pa.float64())
            except pa.ArrowInvalid:
                self._refuse_huge(name, column.to_pylist())
        elif not pa.types.is_floating(kind):
            raise self._not(name, "numeric", kind)
        values: NDArray[Any] = column.to_numpy()
        return values

    def _refuse_huge(self, name: str, values: Iterable[int | None]) -> None:
        for position, value in enumerate(values):
            if value is not None and abs(value) > _EXACT:
                raise BagwiseError(
                    f"{self.path}: column {name!r} holds the whole number {reprlib.repr(value)} in row"
                    f" {self.row(position)}: beyond 2**53 floats are not exact, so leave the column out, or scale it"
                )

    def _not(self, name: str, needed: str, kind: Any) -> BagwiseError:
        column = self.arrow[name]
        wrong = pc.is_valid(column)
        told = _told(kind)
        if self.delimiter is not None and pa.types.is_string(kind):
            not_numbers = pc.invert(pc.match_substring_regex(column, _NUMBER_OR_INFINITY))
            wrong = not_numbers if pc.any(not_numbers).as_py() else wrong
        position = max(0, pc.index(wrong, True).as_py())
        if _is_text(kind):
            told = reprlib.repr(column[position].as_py())
        return BagwiseError(
            f"{self.path}: column {name!r} is not {needed}: row {self.row(position)} holds {told}; leave the column"
            " out, or convert it"
        )


def _told(kind: Any) -> str:
    """Say in a user's words what a column of a type holds."""
    for belongs, word in (
        (pa.types.is_temporal, "a date or time"),
        (pa.types.is_decimal, "a decimal number"),
        (pa.types.is_dictionary, "a category"),
        (pa.types.is_nested, "a list or a structure"),
    ):
        if belongs(kind):
            return word
    return f"a value of type {kind}"


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _decoded(column: Any) -> Any:
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _without_missing(column: Any) -> Any:
    missing = pc.is_in(column, value_set=pa.array(_MISSING, column.type))
    return pc.if_else(missing, pa.scalar(None, column.type), column)


def _contents(path: Path) -> bytes:
    """Read a whole file, unpacked if it is packed."""
    try:
        contents = path.read_bytes()
    except FileNotFoundError as error:
        raise BagwiseError(f"{path}: there is no such file: check its folder and name") from error
    except IsADirectoryError as error:
        raise BagwiseError(f"{path}: this is a folder: name a file in it") from error
    except (OSError, ValueError) as error:
        raise BagwiseError(f"{path}: the file cannot be read ({error}): check its name and permissions") from error
    if path.suffix.lower() == ".gz":
        try:
            contents = gzip.decompress(contents)
        except (OSError, EOFError, zlib.error) as error:
            raise BagwiseError(f"{path}: the file is cut off, or no gzip file ({error}): get it again") from error
    if not contents or contents.isspace():
        raise BagwiseError(f"{path}: the file is empty: it needs a header and a row for each instance")
    return contents


def _parquet(path: Path, contents: bytes) -> Any:
    try:
        arrow = pq.ParquetFile(pa.BufferReader(contents), page_checksum_verification=True).read()
        arrow.validate(full=True)
        names = arrow.column_names
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        raise BagwiseError(
            f"{path}: this is no whole Parquet file ({_one_line(error)}): write or get it again"
        ) from error
    kept = [position for position, name in enumerate(names) if not _PARQUET_ROW_NUMBERS.fullmatch(name)]
    # Without what pandas noted in the file, which would change columns' types.
    return arrow.select(kept).replace_schema_metadata(None)


def _csv(path: Path, contents: bytes, delimiter: str, texts: Sequence[str]) -> Any:
    _check_text(path, contents)
    quoted = b'"' in contents
    if quoted and contents.count(b'"') % 2:  # arrow takes the end of the file for the quote that is missing
        _check_records(path, contents, delimiter)
    as_written = dict.fromkeys(texts, pa.string())

    def parse(types: dict[str, Any]) -> Any:
        return pa_csv.read_csv(
            pa.BufferReader(contents),
            pa_csv.ReadOptions(block_size=min(2**30, max(2**20, 16 * contents.find(b"\n")))),  # a row must fit a block
            pa_csv.ParseOptions(delimiter=delimiter, newlines_in_values=quoted),
            pa_csv.ConvertOptions(check_utf8=False, column_types=types, null_values=_MISSING, strings_can_be_null=True),
        )

    try:
        # Arrow takes twice as long where it has to find out by itself that columns are numbers.
        header = next(filter(None, _records(contents, delimiter)), [])
        return parse(dict.fromkeys(header, pa.float64()) | as_written)
    except (pa.ArrowException, csv.Error):
        pass
    try:
        return parse(as_written)
    except pa.ArrowException as error:
        _check_records(path, contents, delimiter)
        raise BagwiseError(f"{path}: the table cannot be read ({_one_line(error)}): write it again") from error


def _check_text(path: Path, contents: bytes) -> None:
    if contents.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise BagwiseError(f"{path}: the file is in UTF-16 from its first line on: save it as UTF-8")
    nul = contents.find(b"\0")
    if nul >= 0:
        line = contents.count(b"\n", 0, nul) + 1
        raise BagwiseError(f"{path}: there is a NUL byte in row {line}: save the table as text in UTF-8")
    if contents.isascii():
        return
    try:
        contents.decode()
    except UnicodeDecodeError as error:
        line = contents.count(b"\n", 0, error.start) + 1
        raise BagwiseError(
            f"{path}: byte 0x{contents[error.start]:02x} in row {line} is not UTF-8: save the file as UTF-8"
        ) from error


def _records(contents: bytes, delimiter: str, *, strict: bool = False) -> Iterator[list[str]]:
    text = io.TextIOWrapper(io.BytesIO(contents), "utf-8-sig", newline="")
    return csv.reader(text, delimiter=delimiter, strict=strict)


def _check_records(path: Path, contents: bytes, delimiter: str) -> None:
    """Find the first row that is not as wide as the header, or whose quotes do not match."""
    width = number = filled = 0
    try:
        for number, fields in enumerate(_records(contents, delimiter, strict=True), 1):
            width = width or len(fields)
            filled += bool(fields)
            if fields and len(fields) != width:
                raise BagwiseError(
                    f"{path}: row {number} has {len(fields)} fields and the header {width}: give each row one field a"
                    " column, and put a field with a separator in quotes"
                )
    except csv.Error as error:
        raise BagwiseError(
            f"{path}: the quotes in row {number + 1} do not match ({error}): close each quote, and double a quote that"
            " stands within quotes"
        ) from error
    if filled == 1:
        raise BagwiseError(f"{path}: the table has a header and no rows: a bag needs at least one")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()).rstrip(".")
