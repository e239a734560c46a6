"""What reaches the terminal, and what happens where nothing can."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
import unicodedata
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bagwise.commands import check as checking
from bagwise.errors import BagwiseError, BagwiseWarning
from bagwise.text import printable

COMMAND = str(Path(sys.executable).parent / "bagwise")
ACTING = [
    "\x1b[31mred\x1b[0m",
    "a\r\nb",
    "\x00",
    "\x7f",
    "\x9b31m",
    "\u202eexe.png",
    "\udcff.csv",
    "\u2028",
    "[red]x[/]",
]


# ---- text that is safe ----------------------------------------------------------------------------------------------


@given(st.text(st.characters(codec=None)))
def test_printable_text_is_one_line_on_which_no_terminal_acts(text):
    shown = printable(text)
    assert not {unicodedata.category(character) for character in shown} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert len(shown.splitlines()) <= 1
    shown.encode()


def test_an_error_is_one_line_whatever_it_quotes():
    assert str(BagwiseError("label 'b\n\x1b[2Jn' is no class")) == r"label 'b\n\x1b[2Jn' is no class"


@given(st.text(st.characters(categories=["L", "N", "P", "S", "Zs"])))
def test_what_people_write_is_left_as_it_is(text):
    assert printable(text) == text


def found(**changes):
    given = {
        "facts": [(text, text) for text in ACTING],
        "problems": [],
        "fails": False,
        "columns": [],
        "numbers": {"positive": None},
    }
    return SimpleNamespace(**given | changes, as_dict=lambda: {text: text for text in ACTING})


def test_names_reach_no_terminal_as_they_are(run, monkeypatch):
    problems = [SimpleNamespace(severity="note", sentence=text) for text in ACTING]
    monkeypatch.setattr(checking, "examine", lambda *_: found(problems=problems))
    done = run("check", "musk1")
    assert not {unicodedata.category(character) for character in done.out.replace("\n", "")} & {"Cc", "Cf", "Cs"}
    for text in map(printable, ACTING):
        assert f"note: {text}\n" in done.out
        assert f"│ {text} " in done.out


def test_json_is_ascii_and_loads_again_to_the_same(run, monkeypatch):
    monkeypatch.setattr(checking, "examine", lambda *_: found())
    done = run("check", "musk1", "--json")
    assert set(done.out) <= {*map(chr, range(32, 127)), "\n"}
    assert json.loads(done.out) == {text: text for text in ACTING}


def test_names_in_errors_are_escaped(run):
    done = run("check", "\x1b[31m\udcff\n.csv")
    assert done.told == "bagwise: there is no file or folder '\\x1b[31m\\udcff\\n.csv': check the path\n"


# ---- notes and other libraries' warnings ----------------------------------------------------------------------------


@pytest.mark.filterwarnings("default")
def test_notes_are_told_once_and_what_others_say_is_not(run, monkeypatch):
    def examine(*_):
        for _ in range(2):
            warnings.warn("2 bags have no label\x1b[31m", BagwiseWarning, stacklevel=2)
            warnings.warn("a library is worried", UserWarning, stacklevel=2)
            warnings.warn("another note", BagwiseWarning, stacklevel=2)
        logging.getLogger("a.library").error("very worried")
        return found()

    monkeypatch.setattr(checking, "examine", examine)
    done = run("check", "musk1", "--json")
    assert done.told == "bagwise: note: 2 bags have no label\\x1b[31m\nbagwise: note: another note\n"
    json.loads(done.out)


# ---- what goes wrong ------------------------------------------------------------------------------------------------


class PanicException(BaseException):
    """What PyO3 makes of a panic of a library in Rust is called so, and is no `Exception`."""


@pytest.mark.parametrize(
    ("error", "status", "says"),
    [
        (KeyError("shape"), 70, "unexpected KeyError ('shape'): this is a fault of Bagwise"),
        (RecursionError("maximum recursion depth exceeded"), 70, "unexpected RecursionError"),
        (MemoryError("Unable to allocate 8.00 GiB"), 1, "memory ran out (Unable to allocate 8.00 GiB): use fewer"),
        (SystemError("error return without exception set"), 1, "failed without saying why, most often because memory"),
        (SystemError("bad argument to internal function"), 70, "unexpected SystemError"),
        (PanicException("PyObject pointer is null"), 1, "failed without saying why, most often because memory"),
        (PanicException("index out of bounds"), 70, "unexpected PanicException"),
        (OSError(24, "Too many open files", "a.h5"), 1, "too many files are open at once: raise the limit"),
        (PermissionError(13, "Permission denied", "a\n.h5"), 1, "refused something (a\\n.h5): Permission denied"),
        (KeyboardInterrupt(), 130, "bagwise: stopped\n"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_whatever_goes_wrong_is_one_sentence(run, monkeypatch, error, status, says):
    def examine(*_):
        raise error

    monkeypatch.setattr(checking, "examine", examine)
    done = run("check", "musk1")
    assert (done.status, done.out) == (status, "")
    assert says in done.told
    assert len(done.told.splitlines()) == 1


@pytest.mark.parametrize(("by", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stop_that_a_library_makes_another_error_of_is_a_stop(run, monkeypatch, by, status):
    def examine(*_):
        try:
            os.kill(os.getpid(), by)
            time.sleep(10)
        except BaseException:
            raise TypeError("could not determine the shape") from None

    monkeypatch.setattr(checking, "examine", examine)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # where the tests run in the background it is ignored
    done = run("check", "musk1")
    assert (done.status, done.told) == (status, "bagwise: stopped\n")


def test_only_what_can_be_resumed_says_so_when_it_is_stopped(run, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("bagwise.commands.demo.run_demo", stop)
    assert run("demo").told == "bagwise: stopped; the same command with --resume goes on from here\n"


def test_a_wrong_call_is_one_sentence_with_the_way_to_the_help(run):
    done = run("fit", "--epoch", 3)
    assert (done.status, done.out) == (2, "")
    assert done.told == (
        "bagwise: no such option: --epoch (Possible options: --epochs, --patch); see bagwise fit --help\n"
    )
    assert run("fit", "a.csv").told == "bagwise: missing option '--out'; see bagwise fit --help\n"


# ---- streams that take nothing --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shell():
    """Run a line of a shell in which `$B` is the command; give status, standard output and standard error."""

    def shell(line, cwd=None):
        done = subprocess.run(
            ["bash", "-c", line], env={**os.environ, "B": COMMAND}, capture_output=True, text=True, timeout=120, cwd=cwd
        )
        return done.returncode, done.stdout, done.stderr

    return shell


FULL, CLOSED = "No space left on device", "Bad file descriptor"


def unprintable(reason):
    return f"bagwise: results cannot be printed ({reason}); files that were asked for are whole\n"


@pytest.mark.parametrize("arguments", ["fit --help", "--version", pytest.param("datasets", marks=pytest.mark.slow)])
def test_a_full_or_closed_output_is_one_sentence_and_a_reader_that_leaves_silence(shell, arguments):
    for to, reason in (("> /dev/full", FULL), (">&-", CLOSED)):
        assert shell(f"$B {arguments} {to}") == (1, "", unprintable(reason))
    assert shell(f"$B {arguments} | true; exit ${{PIPESTATUS[0]}}") == (141, "", "")


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_results_that_cannot_be_printed_are_said_so(run, monkeypatch, options):
    monkeypatch.setattr(checking, "examine", lambda *_: found())
    with Path("/dev/full").open("w") as full:
        done = run("check", "musk1", *options, out=full)
    assert (done.status, done.told) == (1, unprintable(FULL))


def test_without_standard_error_nothing_is_said_anywhere_else(shell, tmp_path):
    for to in ("2>&-", "2>/dev/full", "<&- >&- 2>&-"):
        assert shell(f"$B fit nowhere.csv {to}", tmp_path) == (2, "", "")


def test_libraries_and_workers_write_nothing_to_standard_error(shell):
    lines = (
        "import os, subprocess, sys; from bagwise.cli import streams; streams.keep_errors_to_oneself();"
        " os.write(2, b'a library'); subprocess.run(['sh', '-c', 'echo a worker >&2']); print('mine', file=sys.stderr)"
    )
    assert shell(f'{sys.executable} -c "{lines}"') == (0, "", "mine\n")


def test_no_file_gets_the_number_of_a_closed_stream(shell):
    lines = "import os; from bagwise.cli.streams import *; open_standard_streams(); print(os.open('/dev/null', 0))"
    assert shell(f'{sys.executable} -c "{lines}" 2>&- <&-') == (0, "3\n", "")
