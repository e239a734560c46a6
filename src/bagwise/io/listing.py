"""What files a folder holds."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bagwise.errors import BagwiseError
from bagwise.text import encodable

__all__ = ["FileKind", "by_name", "by_real_path", "files_of_kind", "is_within", "natural"]


_OF_TABLES = (".csv", ".tsv", ".parquet", ".pq")


class FileKind(NamedTuple):
    """What files a folder holds.

    Attributes
    ----------
    word
        What messages call one.
    suffixes
        What their names end in, in small letters.

    Examples
    --------
    >>> FileKind("image", (".png",)).word
    'image'
    """

    word: str
    suffixes: tuple[str, ...]


def files_of_kind(folder: Path, kind: FileKind) -> list[Path]:
    """List the files of a folder and of those below it; hidden ones are left out.

    Parameters
    ----------
    folder
        The folder.
    kind
        Which files.

    Returns
    -------
    list of Path
        Relative to the folder.

    Raises
    ------
    BagwiseError
        If there is none, a folder cannot be read, or a link leads nowhere or out of the folder.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("a.h5", ".b.h5", "notes.txt"):
    ...     (folder / name).touch()
    >>> [file.name for file in files_of_kind(folder, FileKind("feature file", (".h5",)))]
    ['a.h5']
    """

    def fail(error: OSError) -> None:
        raise BagwiseError(
            f"cannot read the folder {error.filename}: {error.strerror}; give a folder that is there and may be read"
        ) from error

    files, table = [], None
    for place, folders, names in os.walk(folder, onerror=fail):
        folders[:] = [name for name in folders if not name.startswith(".")]
        here = [name for name in names if not name.startswith(".") and Path(name).suffix.lower() in kind.suffixes]
        for name in [*folders, *here]:
            _check_link(folder, Path(place, name))
        files += [Path(place, name).relative_to(folder) for name in here]
        table = table or next((name for name in sorted(names) if Path(name).suffix.lower() in _OF_TABLES), None)
    if not files:
        joined = "" if table is None else f"; tables, such as {table}, are read one at a time, so join them into one"
        raise BagwiseError(
            f"{folder} holds no {kind.word}s: their names end in one of {', '.join(kind.suffixes)}{joined}"
        )
    return files


def _check_link(folder: Path, path: Path) -> None:
    if not path.is_symlink():
        return
    try:
        target = os.path.realpath(path, strict=True)
    except OSError as error:
        raise BagwiseError(f"{path} is a link that leads nowhere: mend it") from error
    if not is_within(target, folder):
        raise BagwiseError(
            f"{path} is a link to {target}, which is not in {folder}: give the folder that holds the files themselves"
        )


def is_within(path: str, folder: Path) -> bool:
    """Say whether a real path lies in a folder.

    Parameters
    ----------
    path
        As `os.path.realpath` gives it.
    folder
        The folder, however it is reached.

    Returns
    -------
    bool

    Examples
    --------
    >>> is_within("/slides/a.h5", Path("/slides")), is_within("/slides2/a.h5", Path("/slides"))
    (True, False)
    """
    return Path(path).is_relative_to(os.path.realpath(folder))


def natural(file: Path) -> tuple[list[str | int], str]:
    """Give what files are sorted by as people count them.

    Parameters
    ----------
    file
        A path.

    Returns
    -------
    tuple
        A key for `sorted`.

    Examples
    --------
    >>> [file.name for file in sorted([Path("slide 10"), Path("slide 9")], key=natural)]
    ['slide 9', 'slide 10']
    """
    # Text and numbers take turns, so that a number is only ever compared with a number.
    pieces = re.split(r"([0-9]+)", file.as_posix())
    return [int(piece) if turn % 2 else piece for turn, piece in enumerate(pieces)], file.as_posix()


def by_real_path(folder: Path, files: Sequence[Path]) -> dict[str, Path]:
    """Give each file once, and under its own name where that is among them.

    Parameters
    ----------
    folder
        Where they are.
    files
        Relative to it.

    Returns
    -------
    dict
        The files by their real paths, in natural order.

    Examples
    --------
    >>> list(by_real_path(Path("/slides"), [Path("b.h5"), Path("a.h5")]).values())
    [PosixPath('a.h5'), PosixPath('b.h5')]
    """
    own: dict[str, Path] = {}
    for file in sorted(files, key=natural):
        real = os.path.realpath(folder / file)
        if real not in own or not (folder / file).is_symlink():
            own[real] = file
    return own


def by_name(files: Sequence[Path]) -> dict[str, list[Path]]:
    """Give the files of each name, which is a path without its ending.

    Parameters
    ----------
    files
        Relative to a folder.

    Returns
    -------
    dict

    Examples
    --------
    >>> {name: len(files) for name, files in by_name([Path("a/1.h5"), Path("a/1.pt"), Path("2.h5")]).items()}
    {'a/1': 2, '2': 1}
    """
    named: dict[str, list[Path]] = {}
    for file in files:
        named.setdefault(encodable(file.with_suffix("").as_posix()).strip(), []).append(file)
    return named
