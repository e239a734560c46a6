"""Keeping a folder of results for one command while it runs."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from errno import EACCES, EAGAIN
from functools import wraps
from inspect import signature
from pathlib import Path
from typing import ParamSpec, TypeVar

from bagwise.errors import BagwiseError
from bagwise.folders import ResultFolder

__all__ = ["claimed", "claims_folder"]

P = ParamSpec("P")
R = TypeVar("R")
_BINARY = getattr(os, "O_BINARY", 0)  # else Windows writes lines of its own kind


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
                results.mark(handle, command, made=bool(missing) or results.was_made(), files=found)
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
        As in `claimed`; `resume` is the function's parameter, or stands in one of them, if it has any.

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
            said = given.arguments
            resume = next((one.resume for one in said.values() if hasattr(one, "resume")), said.get("resume"))
            with claimed(said["out"], command, resume=resume, older=older):
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
