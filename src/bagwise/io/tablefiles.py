"""Files that hold a table: CSV in its kinds or Parquet, plain or packed, as an Arrow table or a sentence."""

import codecs
import csv
import gzip
import io
import itertools
import zlib
from collections.abc import Iterator, Sequence, Set
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from bagwise.classes import MISSING
from bagwise.errors import BagwiseError
from bagwise.inputs import check_regular, check_size, most_bytes, named_in_utf8, read_whole, unpacked

__all__ = [
    "NO_PARQUET",
    "Header",
    "Read",
    "in_arrow",
    "kind_of_file",
    "missing_words",
    "no_parquet",
    "numbered_rows",
    "read_file",
    "read_header",
]

# A CSV file says itself what stands between its cells: what its header has most of, a comma where that is open.
_DELIMITERS = {".csv": ",;\t", ".tsv": "\t"}
_PARQUET = (".parquet", ".pq")
NO_PARQUET = (pa.ArrowException, OSError, ValueError, MemoryError)
_PACKED = (".gz", ".zst")
_NUMBER_BYTES = 8
_LARGEST_BLOCK = 2**31 - 1
_PIECE = 1 << 20


class Header(NamedTuple):
    """What a file says of its columns.

    Attributes
    ----------
    names
        Of all columns, as they are written.
    delimiter
        What stands between cells; None in Parquet.
    """

    names: list[str]
    delimiter: str | None


class Read(NamedTuple):
    """What is in a file.

    Attributes
    ----------
    header
        The names of all columns, as they are written.
    arrow
        The columns that were asked for; texts of Parquet files as dictionaries, however often one stands there.
    delimiter
        What stands between cells; None in Parquet.
    """

    header: list[str]
    arrow: Any
    delimiter: str | None


def read_file(path: Path, texts: Sequence[str] = (), only: Sequence[str] | None = None) -> Read:
    r"""Read a table.

    Parameters
    ----------
    path
        As `bagwise.read_table` takes it.
    texts
        Columns of a CSV file that are read as they are written; the others are numbers, if they can be. Names here and
        in `only` have no white space around them, whatever the header has.
    only
        The columns to read; None reads all.

    Returns
    -------
    Read

    Raises
    ------
    BagwiseError
        If there is no such file, it is too large, or no table.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "labels.csv"
    >>> _ = path.write_text("bag;label\n007;1\n")
    >>> read = read_file(path, texts=["bag"])
    >>> read.header, read.delimiter, read.arrow["bag"].to_pylist()
    (['bag', 'label'], ';', ['007'])
    """
    delimiters = kind_of_file(path)
    wanted = None if only is None else frozenset(only)
    read = _parquet(path, wanted) if delimiters is None else _csv(path, delimiters, frozenset(texts), wanted)
    pa.default_memory_pool().release_unused()  # Arrow would keep what it read with
    return read


def kind_of_file(path: Path) -> str | None:
    r"""Say what may stand between the cells of a file, by its name.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    str or None
        One of the characters; None of Parquet.

    Raises
    ------
    BagwiseError
        If it is the name of no table.

    Examples
    --------
    >>> kind_of_file(Path("cells.tsv.gz")), kind_of_file(Path("cells.parquet"))
    ('\t', None)
    """
    ending = Path(path.name.lower().removesuffix(".gz").removesuffix(".zst")).suffix
    if ending not in _DELIMITERS and path.suffix.lower() not in _PARQUET:
        raise BagwiseError(
            f"{path}: the name of a table must end in .csv or .tsv, with .gz or .zst after it or not, in .parquet or"
            " .pq: convert the file, or rename it"
        )
    return _DELIMITERS.get(ending)


def read_header(path: Path) -> Header:
    r"""Read what columns a table has, and no more of it than that takes.

    Parameters
    ----------
    path
        As `bagwise.read_table` takes it.

    Returns
    -------
    Header

    Raises
    ------
    BagwiseError
        If there is no such file, or it does not begin as a table.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "labels.csv"
    >>> _ = path.write_text("bag;label\n007;1\n")
    >>> read_header(path)
    Header(names=['bag', 'label'], delimiter=';')
    """
    delimiters = kind_of_file(path)
    if delimiters is None:
        return Header(_parquet_header(path), None)
    contents = _beginning(path)
    _check_text(path, contents)
    delimiter, names = _header(path, contents, delimiters)
    return Header(names, delimiter)


def numbered_rows(path: Path, delimiter: str | None) -> Iterator[int]:
    """Give the number of each row below the header, as a spreadsheet does, which counts empty lines.

    Parameters
    ----------
    path
        The file.
    delimiter
        Of its cells; None in Parquet.

    Yields
    ------
    int
        The number of the next row.

    Examples
    --------
    >>> [*itertools.islice(numbered_rows(Path("cells.parquet"), None), 3)]
    [2, 3, 4]
    """
    if delimiter is None:
        yield from itertools.count(2)
    records = enumerate(_records(_contents(path), delimiter or ","), 1)
    try:
        yield from itertools.islice((number for number, fields in records if fields), 1, None)
    except csv.Error:  # a field longer than the csv module reads
        return


# ---- bytes -----------------------------------------------------------------------------------------------------------


def _contents(path: Path) -> bytes:
    """Read a whole file, unpacked if it is packed."""
    contents = read_whole(path)
    kind = path.suffix.lower()
    if kind in _PACKED and contents:
        try:
            contents = unpacked(path, *_unpacking(contents, kind))
        except BagwiseError:
            raise
        except (OSError, EOFError, zlib.error) as error:
            name = "gzip" if kind == ".gz" else "Zstandard"
            raise BagwiseError(f"{path}: the file is cut off, or no {name} file ({error}): get it again") from error
    if not contents or contents.isspace():
        raise BagwiseError(f"{path}: the file is empty: it needs a header and rows")
    return contents


def _beginning(path: Path) -> bytes:
    """Read the first rows of a file, or all of it where that is little or it is packed."""
    if check_regular(path) > _PIECE and path.suffix.lower() not in _PACKED:
        try:
            with path.open("rb") as file:
                head = file.read(_PIECE)
        except OSError:
            return _contents(path)  # which says what is wrong
        head = head[: head.rfind(b"\n") + 1]
        if head and not head.isspace() and head.count(b'"') % 2 == 0:
            return head
    return _contents(path)


def _unpacking(contents: bytes, kind: str) -> tuple[Any, Any]:
    if kind == ".gz":
        packed = io.BytesIO(contents)
        return gzip.GzipFile(fileobj=packed), packed
    packed = pa.BufferReader(contents)  # no thread of Arrow reads it
    return pa.CompressedInputStream(packed, "zstd"), packed


def in_arrow(contents: bytes) -> Any:
    """Copy a file's bytes to where Arrow's threads may let go of them at any time.

    The last to let go of bytes of Python's needs the interpreter: a thread that is late ends a process that is about to
    end by itself, with SIGABRT.
    """
    buffer = pa.allocate_buffer(len(contents))
    memoryview(buffer).cast("B")[:] = contents
    return buffer


# ---- Parquet ---------------------------------------------------------------------------------------------------------


def _parquet(path: Path, only: Set[str] | None) -> Read:
    try:
        source = pa.BufferReader(in_arrow(_contents(path)))
        schema = pq.read_schema(source)
        # A text that stands in a million rows is stored once, and is to be read once.
        repeated = [field.name for field in schema if pa.types.is_string(field.type)]
        file = pq.ParquetFile(source, page_checksum_verification=True, read_dictionary=repeated)
        header = list(file.schema_arrow.names)
        wanted = None if only is None else [name for name in header if name.strip() in only] or header[:1]
        _check_parquet(path, file, len(wanted or header))
        arrow = file.read(columns=wanted)
        arrow.validate(full=True)
    except BagwiseError:
        raise
    except NO_PARQUET as error:
        raise no_parquet(path, error) from error
    # Without what pandas noted in the file, which would change columns' types.
    return Read(header, arrow.replace_schema_metadata(None), None)


def _parquet_header(path: Path) -> list[str]:
    if not check_regular(path):
        _contents(path)  # which says that it is empty
    try:
        with named_in_utf8(path) as name:
            return list(pq.read_schema(name).names)
    except NO_PARQUET as error:
        raise no_parquet(path, error) from error


def no_parquet(path: Path, error: BaseException) -> BagwiseError:
    """Say that a file is no whole Parquet file, and why.

    Examples
    --------
    >>> str(no_parquet(Path("cells.parquet"), ValueError("no footer")))
    'cells.parquet: this is no whole Parquet file (no footer): write or get it again'
    """
    return BagwiseError(f"{path}: this is no whole Parquet file ({_one_line(error)}): write or get it again")


def _check_parquet(path: Path, file: Any, columns: int) -> None:
    """Refuse a file whose columns are larger than memory, by what it says of itself."""
    described, size = file.metadata, 0
    nested = [n for n in range(described.num_columns) if described.schema.column(n).max_repetition_level]
    for number in range(described.num_row_groups):
        group = described.row_group(number)
        size += max(group.total_byte_size, _NUMBER_BYTES * group.num_rows * columns)
        size += sum(_NUMBER_BYTES * group.column(n).num_values for n in nested)
        check_size(path, size, what="the table in memory")


# ---- CSV -------------------------------------------------------------------------------------------------------------


def _csv(path: Path, delimiters: str, texts: Set[str], only: Set[str] | None) -> Read:
    contents = _contents(path)
    _check_text(path, contents)
    delimiter, header = _header(path, contents, delimiters)
    if 4 * len(contents) > most_bytes():  # a cell of two bytes may become a number of eight
        cells = contents.count(delimiter.encode()) + contents.count(b"\n")
        check_size(path, _NUMBER_BYTES * cells, what="the table in memory")
    quoted = b'"' in contents
    if quoted and contents.count(b'"') % 2:  # arrow takes the end of the file for the quote that is missing
        _check_records(path, contents, delimiter)
    as_written = {name: pa.string() for name in header if name.strip() in texts}
    wanted = None if only is None else [name for name in header if name.strip() in only] or header[:1]
    row = contents.find(b"\n")
    buffer = in_arrow(contents)
    del contents  # a table may be as large as what is left of memory

    block = min(2**30, max(2**20, 16 * row))

    def parse(part: Any, types: dict[str, Any]) -> Any:
        def in_blocks(size: int) -> Any:
            return pa_csv.read_csv(
                pa.BufferReader(part),  # its own place in the bytes: a reader that failed may still read ahead
                pa_csv.ReadOptions(block_size=size),
                pa_csv.ParseOptions(delimiter=delimiter, newlines_in_values=quoted),
                pa_csv.ConvertOptions(
                    check_utf8=False,
                    column_types=types,
                    include_columns=wanted,
                    null_values=missing_words(),
                    strings_can_be_null=True,
                ),
            )

        try:
            return in_blocks(block)
        except pa.ArrowInvalid as error:
            if "block" not in str(error) or block > buffer.size:  # which a row must fit
                raise
            return in_blocks(min(_LARGEST_BLOCK, buffer.size + 1))

    def all_numbers() -> dict[str, Any]:
        return dict.fromkeys(header, pa.float64()) | as_written

    def as_it_begins() -> dict[str, Any]:
        # Arrow's own reader of a block at a time waits for ever where no thread can be started.
        begins = buffer.slice(0, block).to_pybytes().rfind(b"\n") + 1 if buffer.size > block else buffer.size
        schema = parse(buffer.slice(0, begins or buffer.size), as_written).schema
        return {field.name: field.type for field in schema if not pa.types.is_null(field.type)}

    failure: BaseException | None = None
    # Arrow takes twice as long where it has to find out by itself what columns are, and keeps all that it has read.
    for types in (all_numbers, as_it_begins, lambda: as_written):
        try:
            arrow = parse(buffer, types())
        except pa.ArrowException as error:
            failure = error.with_traceback(None)  # which would keep the file's bytes
            if not isinstance(error, pa.ArrowInvalid):
                break
            continue
        if arrow.num_rows == 0:
            raise BagwiseError(f"{path}: the table has a header and no rows: a bag needs at least one")
        return Read(header, arrow, delimiter)
    assert failure is not None
    at_fault = isinstance(failure, pa.ArrowInvalid)  # the table is; else memory or threads have run out
    if at_fault:
        _check_records(path, buffer.to_pybytes(), delimiter)
    cure = "write it again" if at_fault else "it may be whole, so try again where more memory is free"
    raise BagwiseError(f"{path}: the table cannot be read ({_one_line(failure)}): {cure}") from failure


def missing_words() -> list[str]:
    """Give the words of `MISSING` in every case that they may be written in.

    Examples
    --------
    >>> [word for word in missing_words() if len(word) == 2]
    ['NA', 'Na', 'nA', 'na']
    """
    return [
        "".join(letters)
        for word in sorted(MISSING)
        for letters in itertools.product(*(sorted({letter, letter.upper()}) for letter in word))
    ]


def _check_text(path: Path, contents: bytes) -> None:
    if contents.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise BagwiseError(f"{path}: the file is in UTF-16 from its first line on: save it as UTF-8")
    nul = contents.find(b"\0")
    if nul >= 0:
        line = contents.count(b"\n", 0, nul) + 1
        raise BagwiseError(f"{path}: there is a NUL byte in row {line}: save the table as text in UTF-8")
    pieces = (contents[begin : begin + _PIECE] for begin in range(0, len(contents), _PIECE))
    try:
        for _ in codecs.iterdecode(pieces, "utf-8"):  # as one text it might take four times as much
            pass
        return
    except UnicodeDecodeError:
        start = _first_not_utf8(contents)
    line = contents.count(b"\n", 0, start) + 1
    raise BagwiseError(f"{path}: byte 0x{contents[start]:02x} in row {line} is not UTF-8: save the file as UTF-8")


def _first_not_utf8(contents: bytes) -> int:
    try:
        return len(contents.decode())
    except UnicodeDecodeError as error:
        return error.start


def _records(contents: bytes, delimiter: str, *, strict: bool = False) -> Iterator[list[str]]:
    text = io.TextIOWrapper(io.BytesIO(contents), "utf-8-sig", newline="")
    return csv.reader(text, delimiter=delimiter, strict=strict)


def _header(path: Path, contents: bytes, delimiters: str) -> tuple[str, list[str]]:
    """Find what stands between the cells of the header, the first of those that make most cells, and its cells."""
    headers: dict[str, list[str]] = {}
    failure: csv.Error | None = None
    for delimiter in delimiters:
        try:
            headers[delimiter] = next(filter(None, _records(contents, delimiter)), [])
        except csv.Error as error:  # too long a cell, which another delimiter may cut
            failure = error
    if failure is not None and not headers:
        raise _no_record(path, 1, failure) from failure
    return max(headers.items(), key=lambda item: len(item[1]))


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
        raise _no_record(path, number + 1, error) from error
    if filled == 1:
        raise BagwiseError(f"{path}: the table has a header and no rows: a bag needs at least one")


def _no_record(path: Path, row: int, error: csv.Error) -> BagwiseError:
    if "field limit" in str(error):
        return BagwiseError(
            f"{path}: a cell in row {row} has more than {csv.field_size_limit():,} characters: shorten it, or close a"
            " quote that was left open"
        )
    return BagwiseError(
        f"{path}: the quotes in row {row} do not match ({error}): close each quote, and double a quote that stands"
        " within quotes"
    )


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()).rstrip(".")
