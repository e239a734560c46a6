"""The three standard streams, in whatever state the command finds them."""

import errno
import os
import sys
from typing import Any, TextIO, cast

__all__ = ["UnwritableError", "discard", "keep_errors_to_oneself", "open_standard_streams"]

_INPUT, _OUTPUT, _ERRORS = 0, 1, 2


class UnwritableError(Exception):
    """Standard output takes nothing (more): the disk is full, it is closed, or its reader has left.

    Attributes
    ----------
    left
        Whether a reader has left, who has read what it wanted.
    reason
        In the words of the system.
    """

    def __init__(self, error: OSError) -> None:
        super().__init__(error.strerror)
        self.left = error.errno == errno.EPIPE
        self.reason = error.strerror or str(error)


class _Output:
    """Standard output whose troubles are told from those with any other file."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError as error:
            raise UnwritableError(error) from error

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            raise UnwritableError(error) from error


def open_standard_streams() -> None:
    """Open those that are closed, so that no file gets the number of one, and have all of them show any character.

    What is written to a closed standard output fails, as it must; what is said on a closed standard error is lost.
    """
    for number, way in ((_INPUT, os.O_RDONLY), (_OUTPUT, os.O_RDONLY), (_ERRORS, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, way), True)  # it gets the lowest number that is free
    sys.stdout = sys.stdout or os.fdopen(_OUTPUT, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(_ERRORS, "w", closefd=False)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    sys.stdout = cast(TextIO, _Output(sys.stdout))


def keep_errors_to_oneself() -> None:
    """Leave standard error to this process's own sentences: what libraries and worker processes write to it vanishes.

    A worker that is interrupted while it starts would print a traceback, and nobody could keep it from that.
    """
    if sys.stderr is not sys.__stderr__ or sys.stderr is None or sys.stderr.fileno() != _ERRORS:
        return
    sys.stderr = os.fdopen(os.dup(_ERRORS), "w", buffering=1, errors="backslashreplace")
    os.dup2(os.open(os.devnull, os.O_WRONLY), _ERRORS)


def discard(stream: TextIO) -> None:
    """Let what a stream still holds, and what is yet written to it, vanish; else Python tries again at its very end.

    Parameters
    ----------
    stream
        One that failed.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
