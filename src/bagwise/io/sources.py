"""Which file of a folder an instance is from."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

__all__ = ["distinct_names", "path_within", "sources_of"]


def path_within(folder: str | Path, file: str | Path) -> str:
    """Give a file's path in a folder, as the column ``file`` of a table of labels names it.

    Parameters
    ----------
    folder
        The folder.
    file
        A file in it, however it is reached.

    Returns
    -------
    str
        With ``/`` between its parts, on every machine.

    Examples
    --------
    >>> path_within("slides", "slides/a/../b/one.h5")
    'b/one.h5'
    """
    path = os.path.relpath(file, folder)
    if path.split(os.sep, 1)[0] == os.pardir:  # one of the two goes through a link
        path = os.path.relpath(os.path.realpath(file), os.path.realpath(folder))
    return Path(path).as_posix()


def sources_of(folder: str | Path, files: Sequence[Path], counts: Sequence[int]) -> NDArray[np.object_]:
    """Say of each instance which file it is from.

    Parameters
    ----------
    folder
        Where the files are.
    files
        In the order of their instances.
    counts
        How many instances each has.

    Returns
    -------
    array
        Shape (N,).

    Examples
    --------
    >>> sources_of("slides", [Path("slides/a.h5"), Path("slides/b.h5")], [1, 2]).tolist()
    ['a.h5', 'b.h5', 'b.h5']
    """
    return np.repeat(np.array([path_within(folder, file) for file in files], dtype=object), counts)


def distinct_names(files: Sequence[str]) -> list[str]:
    """Give each file a name of its own, to call after it what is written about it.

    Parameters
    ----------
    files
        Paths in a folder, with ``/`` between their parts.

    Returns
    -------
    list of str
        The file's name without its ending; where two files share that, the path without the ending; where they share
        that, too, the path as it is.

    Examples
    --------
    >>> distinct_names(["a/one.h5", "b/one.h5", "b/two.h5", "three.h5", "three.pt"])
    ['a/one', 'b/one', 'two', 'three.h5', 'three.pt']
    """
    paths = [PurePosixPath(file) for file in files]
    stems, bare = [path.stem for path in paths], [path.with_suffix("").as_posix() for path in paths]
    of_stem, of_bare = Counter(stems), Counter(bare)
    names = [
        stem if of_stem[stem] == 1 else path if of_bare[path] == 1 else file
        for stem, path, file in zip(stems, bare, files, strict=True)
    ]
    return names if len(set(names)) == len(names) else list(files)
