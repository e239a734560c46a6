"""Folders of results: each says what it is, and knows which files are its own."""

import json
import os
import stat
from contextlib import suppress
from errno import ENOSPC
from pathlib import Path
from secrets import token_hex
from typing import Any

from bagwise._version import __version__
from bagwise.errors import BagwiseError

__all__ = ["MARKER", "TEMPORARY", "ResultFolder", "folder_around"]

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

    def mark(self, handle: int, command: str, *, made: bool, files: list[Path]) -> None:
        """Say whose the folder is, and nothing else that was said before.

        Parameters
        ----------
        handle
            Of the marker, open.
        command
            Whose the folder is.
        made
            Whether Bagwise made it.
        files
            Of the command, that are there already.

        Raises
        ------
        BagwiseError
            If the marker cannot be written.
        """
        names = [path.relative_to(self.folder) for path in files]
        folders = [
            *(["."] if made else []),
            *{place.as_posix() for name in names for place in name.parents if place.name},
        ]
        head = {"bagwise": __version__, "command": command, "id": token_hex(8)}
        try:
            os.ftruncate(handle, 0)
            os.write(handle, json.dumps(head).encode())
            for folder in folders:
                _append(handle, {"folder": folder})
            for name in names:
                _append(handle, {"file": name.as_posix(), "size": (self.folder / name).lstat().st_size})
        except OSError as error:
            raise BagwiseError(f"cannot write {self.marker}: {error.strerror}; choose a place with room") from error

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
