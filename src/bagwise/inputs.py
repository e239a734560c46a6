"""Opening what a user names: a regular file, of a size that memory can hold, or a sentence that says why not."""

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import psutil

from bagwise.errors import BagwiseError
from bagwise.text import encodable

__all__ = [
    "check_regular",
    "check_size",
    "most_bytes",
    "most_unpacked",
    "named_in_utf8",
    "read_whole",
    "told_size",
    "unpacked",
]

_SHARE_OF_MEMORY = 0.25
_PIECE = 1 << 20
# Text of numbers packs to a tenth or a fiftieth. What unpacks to more than this was made to fill memory.
_MOST_UNPACKED_PER_BYTE = 200
_UNSUSPICIOUS = 256 << 20

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def most_bytes() -> int:
    """Give the most that is read into memory of one file: a quarter of the machine's.

    Returns
    -------
    int
        Bytes.

    Examples
    --------
    >>> most_bytes() > 1 << 20
    True
    """
    return int(_SHARE_OF_MEMORY * psutil.virtual_memory().total)


def most_unpacked(packed: int) -> int:
    """Give the most that a compressed file of this size can mean; what unpacks to more was made to fill memory.

    Parameters
    ----------
    packed
        Bytes.

    Returns
    -------
    int
        Bytes: 200 times as many, and 256 MiB in any case.

    Examples
    --------
    >>> told_size(most_unpacked(2_000)), told_size(most_unpacked(2 << 30))
    ('256.0 MiB', '400.0 GiB')
    """
    return max(_UNSUSPICIOUS, _MOST_UNPACKED_PER_BYTE * packed)


def told_size(size: float) -> str:
    """Say a number of bytes as people do.

    Parameters
    ----------
    size
        Bytes.

    Returns
    -------
    str

    Examples
    --------
    >>> told_size(0), told_size(12_345_678), told_size(8 << 30)
    ('0 bytes', '11.8 MiB', '8.0 GiB')
    """
    for unit, length in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= length:
            return f"{size / length:.1f} {unit}"
    return f"{size:.0f} bytes"


def check_regular(path: Path) -> int:
    """See that a path leads to a regular file, which neither waits for another program nor never ends.

    Parameters
    ----------
    path
        As the user gave it; links are followed.

    Returns
    -------
    int
        The file's size in bytes.

    Raises
    ------
    BagwiseError
        If it is missing, may not be looked at, or is a folder, a pipe, a device or a socket.

    Examples
    --------
    >>> check_regular(Path("/dev/null"))
    Traceback (most recent call last):
        ...
    bagwise.errors.BagwiseError: /dev/null: this is a device: give a regular file
    """
    try:
        held = path.stat()
    except FileNotFoundError as error:
        raise BagwiseError(f"{path}: there is no such file: check its folder and name") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BagwiseError(f"{path}: the file cannot be read ({reason}): check its name and permissions") from error
    if not stat.S_ISREG(held.st_mode):
        kind = next((word for belongs, word in _KINDS if belongs(held.st_mode)), "no file")
        cure = "name a file in it" if kind == "a folder" else "give a regular file"
        raise BagwiseError(f"{path}: this is {kind}: {cure}")
    return held.st_size


def check_size(path: Path, size: int, most: int | None = None, what: str = "the file") -> None:
    """Refuse what would fill memory, before it is read.

    Parameters
    ----------
    path
        Where it is, for the message.
    size
        Bytes that it takes in memory.
    most
        Bytes that it may take; None is `most_bytes`.
    what
        What takes them, for the message.

    Raises
    ------
    BagwiseError
        If it is too large.

    Examples
    --------
    >>> check_size(Path("cells.csv"), 3 << 20, most=1 << 20)
    Traceback (most recent call last):
        ...
    bagwise.errors.BagwiseError: cells.csv: the file takes 3.0 MiB, and at most 1.0 MiB are read: give less at a time
    """
    most = most_bytes() if most is None else most
    if size > most:
        raise BagwiseError(
            f"{path}: {what} takes {told_size(size)}, and at most {told_size(most)} are read: give less at a time"
        )


def read_whole(path: Path, most: int | None = None) -> bytes:
    """Read a regular file into memory.

    Parameters
    ----------
    path
        The file.
    most
        Bytes that it may have; None is `most_bytes`.

    Returns
    -------
    bytes

    Raises
    ------
    BagwiseError
        If it is no regular file, too large, or cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "config.json"
    >>> _ = path.write_text("{}")
    >>> read_whole(path)
    b'{}'
    """
    check_size(path, check_regular(path), most)
    try:
        return path.read_bytes()
    except OSError as error:
        reason = error.strerror or error
        raise BagwiseError(f"{path}: the file cannot be read ({reason}): check its name and permissions") from error


@contextmanager
def named_in_utf8(path: Path) -> Iterator[str]:
    """Name a file so that libraries open it that know no names but those in UTF-8.

    Parameters
    ----------
    path
        The file.

    Yields
    ------
    str
        Its path, or what the system calls it while the body runs.
    """
    if encodable(str(path)) == str(path):
        yield str(path)
        return
    with path.open("rb") as file:
        yield f"/dev/fd/{file.fileno()}"


def unpacked(path: Path, stream: IO[bytes], packed: IO[bytes], most: int | None = None) -> bytes:
    """Read all that a compressed file unpacks to, and stop as soon as it is more than so many bytes can mean.

    Parameters
    ----------
    path
        The compressed file.
    stream
        What gives its content unpacked.
    packed
        What `stream` reads from; how far it got says how much was unpacked.
    most
        Bytes that it may unpack to; None is `most_bytes`.

    Returns
    -------
    bytes

    Raises
    ------
    BagwiseError
        If it unpacks to too much. What `stream` raises passes through.

    Examples
    --------
    >>> import gzip, tempfile
    >>> path = Path(tempfile.mkdtemp()) / "cells.csv.gz"
    >>> _ = path.write_bytes(gzip.compress(b"a,b"))
    >>> with path.open("rb") as packed:
    ...     unpacked(path, gzip.GzipFile(fileobj=packed), packed)
    b'a,b'
    """
    return b"".join(_pieces(path, stream, packed, most_bytes() if most is None else most))


def _pieces(path: Path, stream: IO[bytes], packed: IO[bytes], most: int) -> Iterator[bytes]:
    size = 0
    while piece := stream.read(_PIECE):
        size += len(piece)
        check_size(path, size, most, "what it unpacks to")
        read = packed.tell()
        if size > most_unpacked(read):
            raise BagwiseError(
                f"{path}: {told_size(read)} unpack to more than {told_size(size - 1)}: unpack it yourself if it is what"
                " it should be, and give the plain file"
            )
        yield piece
