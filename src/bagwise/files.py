"""Writing files so that a reader never meets half of one."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bagwise.errors import BagwiseError

__all__ = ["remove_unfinished", "replacing"]

_PREFIX = ".writing-"


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success it takes the place of `path`, on failure it vanishes.

    Parameters
    ----------
    path
        The file to write. Its folder is made if it is missing.

    Yields
    ------
    Path
        The temporary file to write to, with the ending of `path`.

    Raises
    ------
    BagwiseError
        If the folder cannot be made or the file cannot be written.

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
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=_PREFIX, suffix=path.suffix, dir=path.parent)
        os.close(handle)
        ours.add(name)
        temporary = Path(name)
        try:
            yield temporary
            # A temporary file is its owner's alone; the finished file is an ordinary one.
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        if error.filename not in ours:
            raise  # the body's own trouble with another file
        raise BagwiseError(
            f"cannot write {path}: {error.strerror or error}; choose a place with room that you may write to"
        ) from error


def remove_unfinished(folder: Path) -> None:
    """Remove temporary files that processes which were killed have left in a folder that nobody writes to now.

    Parameters
    ----------
    folder
        Where to look.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> (folder / ".writing-x.json").touch()
    >>> remove_unfinished(folder)
    >>> list(folder.iterdir())
    []
    """
    for path in folder.glob(f"{_PREFIX}*"):
        path.unlink(missing_ok=True)


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask
