"""Where the command starts, and what becomes of all that may go wrong."""

import errno
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Sequence
from typing import Any, NoReturn

from bagwise.cli.streams import UnwritableError, discard, keep_errors_to_oneself, open_standard_streams
from bagwise.errors import BagwiseError, BagwiseWarning

__all__ = ["main"]

FAILED, MISUSED, UNEXPECTED = 1, 2, 70
INTERRUPTED, READER_LEFT, TERMINATED = 130, 141, 143  # as a shell says of a program that SIGINT, -PIPE or -TERM ended


def main() -> NoReturn:
    """Run the command: the process is its own from here on, and ends with its exit status.

    What goes wrong is one sentence on standard error. The status is 0 where all is well; 1 where something is wrong
    that the user can put right, also that standard output cannot be written; 2 where the command was called wrongly; 70
    where Bagwise is at fault; 130 and 143 where it was stopped; and 141 where the reader of standard output left early.
    The environment variable ``BAGWISE_DEBUG`` brings the traceback, and the warnings of other libraries.

    Examples
    --------
    >>> import subprocess
    >>> code = "from bagwise.cli import main; main()"
    >>> subprocess.run([sys.executable, "-c", code, "check", "nowhere.csv"]).returncode
    1
    """
    _asked.clear()
    try:
        signal.signal(signal.SIGTERM, _terminate)
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # nohup's ignoring is left as it is
            signal.signal(signal.SIGINT, _interrupt)
        open_standard_streams()
        if not _debugging():
            _quieten()
        status = _run(sys.argv[1:])
    except KeyboardInterrupt:
        status = _stopped(INTERRUPTED)
    except _Terminated:
        status = _stopped(TERMINATED)
    _stop_silently()
    sys.exit(status)


def _stop_silently() -> None:
    """Leave it to the system: who stops the command once more, or at its very end, wants to hear nothing."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


class _Terminated(BaseException):
    """SIGTERM came; like an interruption it is no error that anybody may catch."""


# What signals asked for: libraries make other errors of an exception that comes out of nowhere, or swallow it.
_asked: list[type[BaseException]] = []


def _terminate(*_: Any) -> NoReturn:
    _asked.append(_Terminated)
    raise _Terminated


def _interrupt(*_: Any) -> NoReturn:
    _asked.append(KeyboardInterrupt)
    raise KeyboardInterrupt


def _debugging() -> bool:
    return bool(os.environ.get("BAGWISE_DEBUG"))


def _run(arguments: Sequence[str]) -> int:
    try:
        from bagwise.cli.commands import app

        status: int = app(arguments, prog_name="bagwise", standalone_mode=False) or 0
        if status == INTERRUPTED:  # what Typer makes of an interruption
            raise KeyboardInterrupt
        sys.stdout.flush()
    except UnwritableError as error:
        discard(sys.stdout)
        if error.left:
            return READER_LEFT
        _say(f"results cannot be printed ({error.reason}); files that were asked for are whole")
        return FAILED
    except (KeyboardInterrupt, _Terminated, SystemExit):
        raise
    except BaseException as error:  # libraries in Rust panic with a kind of their own that is no Exception
        if _asked:
            raise _asked[-1] from error
        if _debugging() and not isinstance(error, BagwiseError):
            raise
        sentence, status = _told(error)
        if sentence:
            _say(sentence)
    return status


def _told(error: BaseException) -> tuple[str, int]:
    """Say an error in a sentence, and give the exit status."""
    from concurrent.futures.process import BrokenProcessPool

    from typer import BadParameter

    reason = next(iter(str(error).splitlines()), "")
    if isinstance(error, BagwiseError):
        return str(error), FAILED
    misuse: Any = BadParameter.__base__  # all that Typer says of how a command was called
    if isinstance(error, misuse):
        command = error.ctx.command_path if error.ctx else "bagwise"
        message = error.format_message().rstrip(".")
        return message and f"{message[0].lower()}{message[1:]}; see {command} --help", MISUSED
    starved = any(said in reason for said in ("allocate memory", "failed to map segment"))
    if isinstance(error, MemoryError) or starved or "OutOfMemory" in type(error).__name__:
        told = f"memory ran out{f' ({reason})' * bool(reason)}"
        return f"{told}: use fewer --jobs, end other programs, or take a machine with more memory", FAILED
    # What CPython says of a call that failed silently, and what PyO3 does of one that gave nothing.
    silent = isinstance(error, SystemError) and "exception set" in reason
    if silent or (type(error).__name__ == "PanicException" and "pointer is null" in reason):
        told = "a library failed without saying why, most often because memory ran out"
        return f"{told}: use fewer --jobs, or end other programs; BAGWISE_DEBUG=1 shows where it is", FAILED
    if isinstance(error, BrokenProcessPool):
        return "a worker process was killed, most often because memory ran out: use fewer --jobs", FAILED
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return "too many files are open at once: raise the limit with ulimit -n, or use fewer --jobs", FAILED
    if isinstance(error, OSError) and error.errno is not None:
        place = "" if error.filename is None else f" ({os.fsdecode(error.filename)})"
        return f"the system refused something{place}: {error.strerror}", FAILED
    told = f"unexpected {type(error).__name__}{f' ({reason})' * bool(reason)}: this is a fault of"
    if own := getattr(sys.modules.get("bagwise.methods.registry"), "IMPORTED", None):
        return f"{told} {' or '.join(sorted(own))}, or else of Bagwise: BAGWISE_DEBUG=1 shows where it is", UNEXPECTED
    return (
        f"{told} Bagwise, so please report it with what the same command prints where BAGWISE_DEBUG=1 is set"
    ), UNEXPECTED


def _stopped(status: int) -> int:
    _stop_silently()
    resumed = "; the same command with --resume goes on from here" if _can_resume(sys.argv[1:]) else ""
    _say(f"stopped{resumed}")
    return status


def _can_resume(arguments: Sequence[str]) -> bool:
    import typer

    from bagwise.cli.commands import app

    command: Any = typer.main.get_command(app)
    for argument in arguments:
        command = getattr(command, "commands", {}).get(argument, command)
    return any(parameter.name == "resume" for parameter in command.params)


def _say(sentence: str) -> None:
    from bagwise.cli.output import say  # loads rich

    say(sentence)


def _quieten() -> None:
    """Let nothing but Bagwise's own sentences reach the terminal, of this process and of its workers."""
    keep_errors_to_oneself()
    noted = set()

    def note(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        if issubclass(category, BagwiseWarning) and str(message) not in noted:
            noted.add(str(message))
            _say(f"note: {message}")

    warnings.simplefilter("always", BagwiseWarning)
    warnings.showwarning = note
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    logging.lastResort = logging.NullHandler()
    threading.excepthook = lambda _: None
    sys.unraisablehook = lambda _: None
