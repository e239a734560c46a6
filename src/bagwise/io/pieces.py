"""Files of tables a piece at a time, so that memory need not hold them."""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from bagwise.inputs import named_in_utf8
from bagwise.io.tablefiles import (
    NO_PARQUET,
    Header,
    in_arrow,
    kind_of_file,
    missing_words,
    no_parquet,
    read_header,
)

__all__ = ["Pieces", "is_number", "pieces_of"]

_PIECE = 4 << 20
_LONGEST_PIECE = 64 << 20
_ROWS = 1 << 15  # of a Parquet file
_BUFFER = 1 << 18
_EXACT = 2**53  # beyond it not every whole number is a float64
# What Arrow takes cells for, each line in the order in which it tries. Of pieces that are all in one line the whole is
# the last of theirs; where no line has them, only the whole can tell.
_LINES = (
    (pa.int64(), pa.float64()),
    (pa.date32(), pa.timestamp("s"), pa.timestamp("ns")),
    (pa.int64(), pa.float64(), pa.string()),
    (pa.date32(), pa.timestamp("s"), pa.timestamp("ns"), pa.string()),
    (pa.time32("s"), pa.string()),
    (pa.bool_(), pa.string()),
)


class Pieces(Protocol):
    """A file of which some columns are read, a piece at a time.

    Attributes
    ----------
    header
        What it says of all its columns.
    types
        Of each column that is read, the Arrow type that it has in all pieces.
    """

    header: Header
    types: dict[str, Any]

    def blocks(self, row: int) -> Iterator[tuple[int, Any]]:
        """Give tables of rows that follow one another, and the number of the first, from one that holds `row` on."""
        ...


def pieces_of(path: Path, texts: Sequence[str], columns: Sequence[str], look: Callable[[Any], None]) -> Pieces | None:
    r"""Look through a file once, and say how it can be read a piece at a time.

    Parameters
    ----------
    path
        The file.
    texts
        Columns that are read as they are written in a CSV file. Names have no white space around them.
    columns
        The columns to read, and these among them.
    look
        Is called with each piece of the file in turn; of Parquet the columns `texts` alone are in it.

    Returns
    -------
    Pieces or None
        None where the file must be read as a whole: it is packed, a cell has a line break, a column is only known as a
        whole, or something is wrong with it, as `look` may find too, which whoever reads it as a whole will say.

    Raises
    ------
    BagwiseError
        If there is no such file, or it does not begin as a table.

    Examples
    --------
    >>> import tempfile
    >>> path, seen = Path(tempfile.mkdtemp()) / "cells.csv", []
    >>> _ = path.write_text("bag,size\n007,1\n007,2.5\n")
    >>> pieces = pieces_of(path, ["bag"], ["bag", "size"], seen.append)
    >>> [table["size"].to_pylist() for _, table in pieces.blocks(0)], len(seen)
    ([[1.0, 2.5]], 1)
    """
    header, packed = read_header(path), path.suffix.lower() in (".gz", ".zst")
    named = [name.strip() for name in header.names]
    if packed or len(set(named)) < len(named):
        return None
    try:
        if kind_of_file(path) is None:
            return _Parquet.of(path, header, texts, columns, look)
        return _Csv.of(path, header, texts, columns, look)
    except (pa.ArrowException, OSError, ValueError, MemoryError):  # a BagwiseError is a ValueError
        return None


def is_number(kind: Any) -> bool:
    """Say whether a type of Arrow's is that of numbers, of booleans, or of nothing.

    Examples
    --------
    >>> is_number(pa.float16()), is_number(pa.string())
    (True, False)
    """
    return any(
        belongs(kind) for belongs in (pa.types.is_floating, pa.types.is_integer, pa.types.is_boolean, pa.types.is_null)
    )


# ---- Parquet ---------------------------------------------------------------------------------------------------------


@dataclass
class _Parquet:
    path: Path
    header: Header
    types: dict[str, Any]
    _columns: list[str]

    @classmethod
    def of(
        cls, path: Path, header: Header, texts: Sequence[str], columns: Sequence[str], look: Callable[[Any], None]
    ) -> "_Parquet | None":
        with named_in_utf8(path) as name:
            schema = pq.read_schema(name)
        types = {column.name.strip(): column.type for column in schema if column.name.strip() in columns}
        if any(pa.types.is_floating(types[name]) for name in texts if name in types):
            return None  # whether 1.0 is the name 1 depends on all of the column
        whole = cls(path, header, types, [name for name in header.names if name.strip() in columns])
        part = cls(path, header, types, [name for name in header.names if name.strip() in texts])
        for _, table in part.blocks(0) if texts else ():
            look(table)
        return whole

    def blocks(self, row: int) -> Iterator[tuple[int, Any]]:
        repeated = [name for name in self._columns if pa.types.is_string(self.types[name.strip()])]
        try:
            with named_in_utf8(self.path) as name, pa.OSFile(name) as source:
                # A page at a time: with buffers of its own Arrow would keep all of the groups that it has read.
                file = pq.ParquetFile(
                    source,
                    page_checksum_verification=True,
                    read_dictionary=repeated,
                    buffer_size=_BUFFER,
                    pre_buffer=False,
                )
                begin = 0
                for group in range(file.num_row_groups):
                    if begin + file.metadata.row_group(group).num_rows <= row:
                        begin += file.metadata.row_group(group).num_rows
                        continue
                    for batch in file.iter_batches(_ROWS, [group], self._columns, use_threads=False):
                        batch.validate(full=True)
                        if begin + len(batch) > row:
                            yield begin, pa.Table.from_batches([batch])
                        begin += len(batch)
        except NO_PARQUET as error:
            raise no_parquet(self.path, error) from error


# ---- CSV -------------------------------------------------------------------------------------------------------------


class _Piece(NamedTuple):
    """Where whole rows lie in a file, and the number of the first."""

    begin: int
    end: int
    row: int


@dataclass
class _Csv:
    path: Path
    header: Header
    types: dict[str, Any]
    _columns: list[str]
    _pieces: list[_Piece] = field(default_factory=list)

    @classmethod
    def of(
        cls, path: Path, header: Header, texts: Sequence[str], columns: Sequence[str], look: Callable[[Any], None]
    ) -> "_Csv | None":
        """Find pieces, and what columns are as Arrow would find it in all of the file: it looks at each piece anew."""
        wanted = [name for name in header.names if name.strip() in columns]
        found = cls(path, header, {name.strip(): pa.string() for name in wanted if name.strip() in texts}, wanted)
        kinds: dict[str, set[Any]] = {name: set() for name in wanted if name.strip() not in texts}
        row = 0
        for begin, contents in _cut(path):
            table = None if _is_odd(contents) else found._parsed(contents)
            if table is None or any(_is_odd_number(table[name]) for name in kinds):
                return None
            look(table)
            for name, known in kinds.items():
                known.add(table.schema.field(name).type)
            found._pieces.append(_Piece(begin, begin + len(contents), row))
            row += len(table)
        for name, known in kinds.items():
            kind = _in_all(known)
            if kind is None:
                return None
            found.types[name.strip()] = kind
        return found if row else None

    def blocks(self, row: int) -> Iterator[tuple[int, Any]]:
        first = max(0, bisect_right([piece.row for piece in self._pieces], row) - 1)
        with self.path.open("rb") as file:
            for begin, end, number in self._pieces[first:]:
                file.seek(begin)
                yield number, self._parsed(file.read(end - begin))

    def _parsed(self, contents: bytes) -> Any:
        types = {name: self.types[name.strip()] for name in self._columns if name.strip() in self.types}
        return pa_csv.read_csv(
            pa.BufferReader(in_arrow(contents)),
            pa_csv.ReadOptions(column_names=self.header.names, block_size=len(contents) + 1, use_threads=False),
            pa_csv.ParseOptions(delimiter=self.header.delimiter),
            pa_csv.ConvertOptions(
                check_utf8=False,
                column_types=types,
                include_columns=self._columns,
                null_values=missing_words(),
                strings_can_be_null=True,
            ),
        )


def _cut(path: Path) -> Iterator[tuple[int, bytes]]:
    """Give pieces of whole lines below the header, and where each begins."""
    with path.open("rb") as file:
        begin = 0
        while not (line := file.readline(_LONGEST_PIECE)).strip(b"\xef\xbb\xbf\r\n"):  # Arrow leaves empty lines out
            if not line:
                return
        if _is_odd(line):
            raise ValueError("the header has a line break")
        begin, rest = file.tell(), b""
        while True:
            read = file.read(_PIECE)
            contents = rest + read
            end = contents.rfind(b"\n") + 1 if read else len(contents)
            if end and not contents[:end].isspace():
                yield begin, contents[:end]
            begin, rest = begin + end, contents[end:]
            if not read:
                return
            if len(rest) > _LONGEST_PIECE:
                raise ValueError("a row is too long")


def _is_odd(contents: bytes) -> bool:
    """Say whether lines are not rows, or not text: an odd number of quotes stands in one, or a NUL, or no UTF-8."""
    contents.decode()  # raises a ValueError
    if b"\0" in contents:
        return True
    if b'"' not in contents:
        return False
    letters = np.frombuffer(contents, np.uint8)
    ends = np.flatnonzero(letters == ord("\n"))
    quotes = np.searchsorted(np.flatnonzero(letters == ord('"')), ends)
    return bool((quotes % 2).any()) or contents.count(b'"') % 2 == 1


def _is_odd_number(column: Any) -> bool:
    """Say whether a column has a number that may not be exact, for which one must look at how it is written."""
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)) or column.null_count == len(column):
        return False
    sizes = pc.abs(column.cast(pa.float64(), safe=False))
    return bool(pc.any(pc.and_(pc.is_finite(sizes), pc.greater_equal(sizes, _EXACT))).as_py())


def _in_all(kinds: set[Any]) -> Any:
    """Give what a column is of which pieces are of some kinds; None where only the whole of it could tell."""
    given = kinds - {pa.null()}
    if len(given) < 2:
        return next(iter(given), pa.null())
    return next((max(given, key=line.index) for line in _LINES if given.issubset(line)), None)
