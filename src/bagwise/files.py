"""Writing files so that a reader never meets half of one."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from bagwise.errors import BagwiseError
from bagwise.folders import TEMPORARY, folder_around
from bagwise.text import encodable

__all__ = ["check_replaceable", "plain", "replacing", "write_text"]


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success it takes the place of `path`, on failure it vanishes.

    Parameters
    ----------
    path
        The file to write. Its folder is made if it is missing. In a folder of results it is one of them.

    Yields
    ------
    Path
        The temporary file to write to, with the ending of `path`.

    Raises
    ------
    BagwiseError
        If the folder cannot be made, the file cannot be written, or it lies in a folder of results and another program
        wrote it.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> target = pathlib.Path(tempfile.mkdtemp()) / "metrics.json"
    >>> with replacing(target) as temporary:
    ...     _ = temporary.write_text("{}")
    >>> target.read_text()
    '{}'
    """
    path = Path(path)
    ours = {None, str(path), *map(str, path.parents)}
    results = folder_around(path)
    try:
        if results is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            prefix = TEMPORARY
        else:
            results.check_free(path)
            results.make(path.parent)
            prefix = results.temporary
        handle, name = tempfile.mkstemp(prefix=prefix, suffix=path.suffix, dir=path.parent)
        os.close(handle)
        ours.add(name)
        temporary = Path(name)
        try:
            yield temporary
            # A temporary file is its owner's alone; the finished file is an ordinary one.
            temporary.chmod(0o666 & ~_umask())
            if results is not None:
                results.take(path, temporary.stat().st_size)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        if error.filename not in ours:
            raise  # the body's own trouble with another file
        raise BagwiseError(
            f"cannot write {path}: {error.strerror or error}; choose a place with room that you may write to"
        ) from error


def check_replaceable(path: str | Path, is_ours: Callable[[Path], bool]) -> None:
    """See that there is no file yet, or one that Bagwise wrote.

    Parameters
    ----------
    path
        The file to write.
    is_ours
        Says of a regular file whether Bagwise wrote it.

    Raises
    ------
    BagwiseError
        If there is another program's, a folder or a link.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "notes.txt"
    >>> check_replaceable(path, lambda _: False)
    >>> path.touch()
    >>> check_replaceable(path, lambda _: False)
    Traceback (most recent call last):
        ...
    bagwise.errors.BagwiseError: ...notes.txt is there already, and Bagwise did not write it: choose another place
    """
    path = Path(path)
    if os.path.lexists(path) and (path.is_symlink() or not path.is_file() or not is_ours(path)):
        raise BagwiseError(f"{path} is there already, and Bagwise did not write it: choose another place")


def write_text(path: str | Path, text: str) -> None:
    r"""Write text as UTF-8, in the place of an older file.

    Parameters
    ----------
    path
        The file.
    text
        Halves of surrogate pairs, which UTF-8 does not hold, are written as escapes; JSON reads them as they were.

    Raises
    ------
    BagwiseError
        As `replacing`.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "name.txt"
    >>> write_text(path, "caf\u00e9 \udcff")
    >>> path.read_bytes()
    b'caf\xc3\xa9 \\udcff'
    """
    with replacing(path) as temporary:
        temporary.write_bytes(encodable(text).encode())


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask


def plain(value: Any) -> Any:
    """Turn a number of numpy into one that JSON can hold, for `json.dumps`.

    Parameters
    ----------
    value
        What JSON cannot hold.

    Returns
    -------
    object
        What Python calls it.

    Raises
    ------
    TypeError
        If it is no number of numpy.

    Examples
    --------
    >>> import json
    >>> import numpy as np
    >>> json.dumps({"epochs": np.int64(3)}, default=plain)
    '{"epochs": 3}'
    """
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"a {type(value).__name__} is nothing that JSON can hold")
