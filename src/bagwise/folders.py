"""Folders of results: each says what it is, serves one command at a time, and knows which files are its own."""

import json
import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from errno import EACCES, EAGAIN, ENOSPC
from functools import wraps
from inspect import signature
from pathlib import Path
from secrets import token_hex
from typing import Any, ParamSpec, TypeVar

from bagwise._version import __version__
from bagwise.errors import BagwiseError

__all__ = ["MARKER", "TEMPORARY", "ResultFolder", "claimed", "claims_folder", "folder_around"]

P = ParamSpec("P")
R = TypeVar("R")

MARKER, TEMPORARY = ".bagwise", ".writing-"
_MOST_OF_A_HEAD = 4096  # bytes
_BINARY = getattr(os, "O_BINARY", 0)  # else Windows writes lines of its own kind

# The size of what this process wrote last, by path: spares it from reading the marker at each epoch.
_sizes: dict[str, int] = {}


class ResultFolder:
    """A folder that one command writes its results to.

    The marker in it, ``.bagwise``, holds a line of JSON that says whose the folder is, then one for each file and
    folder made in it. A line is added before the file it tells of takes its place, so that a process that is killed
    leaves none of its own that the marker does not know. A file is the command's own if it has a size told of it.

    Parameters
    ----------
    folder
        Where it is.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.marker = folder / MARKER

    def about(self) -> dict[str, Any] | None:
        """Read whose the folder is.

        Returns
        -------
        dict or None
            ``bagwise`` (the version), ``command`` and ``id``; None where there is no marker.
        """
        try:
            if not stat.S_ISREG(self.marker.lstat().st_mode):
                return None
            with self.marker.open("rb") as file:
                head = json.loads(file.readline(_MOST_OF_A_HEAD))
        except (OSError, ValueError, RecursionError):
            return None
        known = isinstance(head, dict) and all(isinstance(head.get(name), str) for name in ("bagwise", "command", "id"))
        return head if known else None

    @property
    def temporary(self) -> str:
        """How the names of files begin that are being written here."""
        about = self.about()
        return TEMPORARY if about is None else f"{TEMPORARY}{about['id']}-"

    def owns(self, path: Path) -> bool:
        """Say whether a file was written by the folder's command, and is as it was left.

        Parameters
        ----------
        path
            The file.

        Returns
        -------
        bool
        """
        try:
            found = path.lstat()
        except OSError:
            return False
        if not stat.S_ISREG(found.st_mode):
            return False
        return found.st_size == _sizes.get(_key(path)) or found.st_size in self._told()[0].get(self._name(path), ())

    def check_free(self, path: Path) -> None:
        """See that a file may be written.

        Parameters
        ----------
        path
            The file.

        Raises
        ------
        BagwiseError
            If there is one that the folder's command did not write.
        """
        if os.path.lexists(path) and not self.owns(path):
            raise BagwiseError(
                f"{path} is there already, and this run did not write it: move it elsewhere, or choose another folder"
            )

    def make(self, folder: Path) -> None:
        """Make a folder in this one, and those between, where they are missing.

        Parameters
        ----------
        folder
            Which.
        """
        for place in reversed([place for place in (folder, *folder.parents) if not place.exists()]):
            self.tell({"folder": self._name(place)})
            place.mkdir(exist_ok=True)

    def take(self, path: Path, size: int) -> None:
        """Note that a file is about to take its place.

        Parameters
        ----------
        path
            The place.
        size
            Of the file in bytes.

        Raises
        ------
        BagwiseError
            As `check_free` does.
        """
        self.check_free(path)
        if _sizes.get(_key(path)) != size or not path.exists():
            self.tell({"file": self._name(path), "size": size})
            _sizes[_key(path)] = size

    def tell(self, line: dict[str, Any]) -> None:
        """Add a line to the marker.

        Parameters
        ----------
        line
            What it says.

        Raises
        ------
        BagwiseError
            If it cannot be written.
        """
        try:
            handle = os.open(self.marker, os.O_WRONLY | os.O_APPEND | _BINARY)
            try:
                _append(handle, line)
            finally:
                os.close(handle)
        except OSError as error:
            raise BagwiseError(f"cannot write {self.marker}: {error.strerror}; choose a place with room") from error

    def clear(self, below: str = "") -> None:
        """Remove the files that the command wrote, and the folders it made where nothing else is in them.

        Parameters
        ----------
        below
            A folder in this one; all of it by default.
        """
        files, folders, _ = self._told()
        for name in files:
            if _is_in(name, below) and self.owns(self.folder / name):
                (self.folder / name).unlink(missing_ok=True)
                _sizes.pop(_key(self.folder / name), None)
        for name in sorted(folders, key=len, reverse=True):
            if name != "." and _is_in(name, below):
                with suppress(OSError):  # something else is in it
                    (self.folder / name).rmdir()
        if any(_is_in(name, below) for name in (*files, *folders)):
            with suppress(BagwiseError):  # a full disk
                self.tell({"gone": below})

    def remove_temporaries(self) -> None:
        """Remove what processes of the folder's command that were killed have left half-written."""
        if self.temporary != TEMPORARY:
            for path in self.folder.rglob(f"{self.temporary}*"):
                path.unlink(missing_ok=True)

    def is_used(self) -> bool:
        """Say whether a file that the command wrote is there.

        Returns
        -------
        bool
        """
        return any(self.owns(self.folder / name) for name in self._told()[0])

    def leave(self) -> None:
        """Remove the marker, and the folder if Bagwise made it and nothing is in it."""
        made = self.was_made()
        self.marker.unlink(missing_ok=True)
        if made:
            with suppress(OSError):
                self.folder.rmdir()

    def is_finished(self) -> bool:
        """Say whether the command came to its end.

        Returns
        -------
        bool
        """
        return self._told()[2]

    def was_made(self) -> bool:
        """Say whether a command of Bagwise's made the folder.

        Returns
        -------
        bool
        """
        return "." in self._told()[1]

    def is_empty(self) -> bool:
        """Say whether nothing but the marker is there.

        Returns
        -------
        bool
        """
        return all(path.name == MARKER for path in self.folder.iterdir()) and not self.has_foreign_marker()

    def has_foreign_marker(self) -> bool:
        """Say whether something has the marker's name that Bagwise did not write.

        Returns
        -------
        bool
        """
        try:
            found = self.marker.lstat()
        except OSError:
            return False
        # An empty one is of a process that was killed at its very beginning.
        return self.about() is None and (not stat.S_ISREG(found.st_mode) or found.st_size > 0)

    def _name(self, path: Path) -> str:
        return path.absolute().relative_to(self.folder.absolute()).as_posix()

    def _told(self) -> tuple[dict[str, set[int]], list[str], bool]:
        """Give the sizes that each file may have, the folders, and whether the command came to its end."""
        files: dict[str, set[int]] = {}
        folders: list[str] = []
        finished = False
        try:
            lines = self.marker.read_bytes().splitlines()[1:]
        except OSError:
            lines = []
        for text in lines:
            match _parsed(text):
                case {"file": str(name), "size": int(size)}:
                    files.setdefault(name, set()).add(size)
                case {"folder": str(name)}:
                    folders.append(name)
                case {"finished": True}:
                    finished = True
                case {"gone": str(below)}:
                    files = {name: sizes for name, sizes in files.items() if not _is_in(name, below)}
                    folders = [name for name in folders if name == "." or not _is_in(name, below)]
        return files, folders, finished


def folder_around(path: Path) -> ResultFolder | None:
    """Find the folder of results that a file lies in, or is about to.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    ResultFolder or None
        The nearest that has a marker.
    """
    for place in path.absolute().parents:
        found = ResultFolder(place)
        if found.about() is not None:
            return found
    return None


@contextmanager
def claimed(
    folder: Path,
    command: str,
    *,
    resume: bool | None = None,
    older: Callable[[Path], Iterable[Path]] = lambda _: (),
) -> Iterator[ResultFolder]:
    """Keep a folder for one command while the body runs; another that wants it meanwhile is refused.

    The folder is made and marked before anything is written to it. If the body fails, what nothing could go on from is
    removed, and so is the marker where nothing was written.

    Parameters
    ----------
    folder
        Where results go.
    command
        Whose they are.
    resume
        Whether it may hold what the command left there; None where there is nothing that could be gone on from.
    older
        Finds the files that Bagwise 0.1 wrote, which marked no folder.

    Yields
    ------
    ResultFolder

    Raises
    ------
    BagwiseError
        If it is a file, may not be written to, is in use, or holds something else.

    Examples
    --------
    >>> import tempfile
    >>> place = Path(tempfile.mkdtemp()) / "run"
    >>> with claimed(place, "fit") as results:
    ...     with claimed(place, "fit"):
    ...         pass
    Traceback (most recent call last):
        ...
    bagwise.errors.BagwiseError: ...run is in use by another command: wait until it ends, or choose another folder
    >>> place.exists()
    False
    """
    results = ResultFolder(folder)
    try:
        missing = _check_place(folder)
        if not missing and results.about() is None:
            _check_contents(results, command, resume, older)
        folder.mkdir(parents=True, exist_ok=True)
        handle = _locked(results)
    except OSError as error:
        raise BagwiseError(f"cannot use the folder {folder}: {error.strerror or error}; choose another") from error
    try:
        found = _check_contents(results, command, resume, older)
        fresh, begun = results.is_empty() or results.about() is None, 0
        try:
            if fresh:
                _mark(results, handle, command, made=bool(missing) or results.was_made(), files=found)
            begun = os.fstat(handle).st_size
            results.remove_temporaries()
            yield results
        except BaseException:
            results.remove_temporaries()
            if fresh and os.fstat(handle).st_size == begun:
                results.leave()
            elif resume is None or (fresh and not results.is_used()):
                results.clear()
                results.leave()
            for place in missing:
                with suppress(OSError):
                    place.rmdir()
            raise
        results.remove_temporaries()
        if not results.is_finished():
            results.tell({"finished": True})
    finally:
        os.close(handle)


def claims_folder(
    command: str, *, older: Callable[[Path], Iterable[Path]] = lambda _: ()
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let a function that is a command keep its folder, the parameter `out`, for itself while it runs.

    Parameters
    ----------
    command, older
        As in `claimed`; `resume` is the function's parameter, if it has one.

    Returns
    -------
    decorator
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        parameters = signature(function)

        @wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            given = parameters.bind(*args, **kwargs)
            given.apply_defaults()
            with claimed(given.arguments["out"], command, resume=given.arguments.get("resume"), older=older):
                return function(*args, **kwargs)

        return run

    return decorate


def _check_place(folder: Path) -> list[Path]:
    """See that a folder may be made and written to; give those that are missing, the innermost first."""
    places = [folder, *folder.absolute().parents]
    missing = places[: [place.exists() for place in places].index(True)]
    nearest = places[len(missing)]
    if not nearest.is_dir():
        raise BagwiseError(f"{nearest} is a file: choose a folder")
    if not os.access(nearest, os.W_OK):
        raise BagwiseError(f"cannot write to {folder}: you may not write in {nearest}; choose another folder")
    return missing


def _check_contents(
    results: ResultFolder, command: str, resume: bool | None, older: Callable[[Path], Iterable[Path]]
) -> list[Path]:
    """See that a folder is empty, or may be gone on in; give the files of Bagwise's that no marker tells of."""
    folder, about = results.folder, results.about()
    if results.is_empty():
        return []
    found = list(older(folder)) if resume and about is None and not results.has_foreign_marker() else []
    if resume and about is not None and about["command"] != command:
        raise BagwiseError(f"{folder} is not empty: bagwise {about['command']} wrote to it, so choose another folder")
    if resume and about is None and not found:
        raise BagwiseError(
            f"{folder} is not empty, and bagwise {command} did not write what is in it: choose another folder"
        )
    if not resume:
        or_resume = "" if resume is None else ", or resume the run in it with --resume"
        stopped = ""
        if about is not None and about["command"] == command and not results.is_finished():
            stopped = f" (bagwise {command} was stopped before it had finished there)"
        raise BagwiseError(f"{folder} is not empty{stopped}: choose another folder{or_resume}")
    return found


def _locked(results: ResultFolder) -> int:
    """Open the marker, made if it is missing, and lock it; the system unlocks it when the process ends."""
    while True:
        handle = os.open(results.marker, os.O_RDWR | os.O_CREAT | os.O_APPEND | _BINARY, 0o666)
        if not _lock(handle):
            os.close(handle)
            raise BagwiseError(
                f"{results.folder} is in use by another command: wait until it ends, or choose another folder"
            )
        with suppress(FileNotFoundError):  # the one that was there has just been removed
            if os.path.samestat(os.fstat(handle), results.marker.lstat()):
                return handle
        os.close(handle)


def _lock(handle: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(handle, 1 << 30, os.SEEK_SET)  # beyond all lines, which other processes of the command add
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (EACCES, EAGAIN)  # else this file system has no locks
    return True


def _mark(results: ResultFolder, handle: int, command: str, *, made: bool, files: list[Path]) -> None:
    names = [path.relative_to(results.folder) for path in files]
    folders = [*(["."] if made else []), *{place.as_posix() for name in names for place in name.parents if place.name}]
    head = {"bagwise": __version__, "command": command, "id": token_hex(8)}
    try:
        os.ftruncate(handle, 0)
        os.write(handle, json.dumps(head).encode())
        for folder in folders:
            _append(handle, {"folder": folder})
        for name in names:
            _append(handle, {"file": name.as_posix(), "size": (results.folder / name).lstat().st_size})
    except OSError as error:
        raise BagwiseError(f"cannot write {results.marker}: {error.strerror}; choose a place with room") from error


def _append(handle: int, line: dict[str, Any]) -> None:
    # One that a full disk cut off ends where the next one begins.
    text = b"\n" + json.dumps(line).encode()
    if os.write(handle, text) < len(text):
        raise OSError(ENOSPC, os.strerror(ENOSPC))


def _parsed(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _is_in(name: str, below: str) -> bool:
    return not below or f"{name}/".startswith(f"{below}/")


def _key(path: Path) -> str:
    return str(path.absolute())
