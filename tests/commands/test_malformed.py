"""Bad input, of every kind a user may meet: one sentence that names it, a status that is not 0, and nothing written."""

import contextlib
import re
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import malformed_folders  # noqa: F401 - the modules of the corpus register their cases
import malformed_images  # noqa: F401
import malformed_models  # noqa: F401
import malformed_runs  # noqa: F401
import malformed_slides  # noqa: F401
import malformed_tables  # noqa: F401
import pytest
from malformed import CASES, COLUMNS, RUN_CASES, good_frame

MOST_SECONDS, MOST_KIB = 10, 1 << 20
# Starts a command from a small process, because the memory of who starts one counts as the command's own, and writes
# down what it used.
MEASURED = """
import os, sys
pid = os.spawnv(os.P_NOWAIT, sys.argv[2], sys.argv[2:])
_, status, used = os.wait4(pid, 0)
with open(sys.argv[1], "w") as file:
    print(used.ru_utime + used.ru_stime, used.ru_maxrss, file=file)
sys.exit(os.waitstatus_to_exitcode(status))
"""

# What is compiled at a first training is compiled before time is taken.
pytestmark = pytest.mark.usefixtures("trained")


@pytest.fixture(scope="session")
def trained(tmp_path_factory, run):
    """Give a folder with a run and the table it learnt from; cases work on copies."""
    folder = tmp_path_factory.mktemp("trained")
    good_frame().to_csv(folder / "table.csv", index=False)
    assert run("fit", folder / "table.csv", *COLUMNS, "--out", folder / "run", "--epochs", "1", "--json").status == 0
    return folder


def everything_in(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_symlink() or path.exists()}


@contextlib.contextmanager
def soon_and_small():
    """Bad input takes neither the time nor the memory that it asks for."""
    began, held = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert time.process_time() - began < MOST_SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - held < MOST_KIB


def assert_refused(status, told, says):
    assert status == 1, told
    lines = told.strip().splitlines()
    assert len(lines) == 1, told
    assert lines[0].startswith("bagwise: ")
    assert re.search(says, lines[0]), told
    assert "Traceback" not in told
    assert "Usage" not in told


def test_there_are_enough_of_them():
    assert len(CASES) + len(RUN_CASES) >= 120


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_refused_in_one_sentence(name, tmp_path, run):
    plan = CASES[name](tmp_path)
    (tmp_path / "executed").unlink(missing_ok=True)
    before = set(tmp_path.rglob("*"))
    with soon_and_small():
        done = run(*plan.argv)
    assert_refused(done.status, done.told, plan.says)
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", RUN_CASES)
def test_bad_runs_and_bad_data_for_them_are_refused(name, trained, tmp_path, run):
    says, spoil, command = RUN_CASES[name]
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    spoil(tmp_path)
    before = everything_in(tmp_path)
    out = ["--out", tmp_path / "out" / "nested"] if command == "explain" else ["--out", tmp_path / "said.csv"]
    with soon_and_small():
        done = run(command, tmp_path / "run", tmp_path / "table.csv", *out)
    assert_refused(done.status, done.told, says)
    assert everything_in(tmp_path) == before


# What concerns training or its output is none of the business of check, and links are followed by nobody.
OF_TRAINING = re.compile(
    r"out_|on_slides_|tile_|no_epochs|.*(method|seed|ensemble|weight|backend|cluster|folds|validate)"
)


@pytest.mark.parametrize("name", [name for name in CASES if not OF_TRAINING.match(name)])
def test_check_says_what_is_wrong_and_never_falls_over(name, tmp_path, run):
    plan = CASES[name](tmp_path)
    argv = plan.argv[1 : plan.argv.index("--out")]
    with soon_and_small():
        done = run("check", *argv)
    assert done.status == 1, done.out
    assert "Traceback" not in done.told + done.out
    if done.told:
        assert_refused(done.status, done.told, "")
    else:
        assert "error: " in done.out


IN_PROCESSES = [
    *("empty_table", "a_lone_surrogate", "a_row_of_100_000_quotes", "a_gzip_bomb", "a_zstandard_bomb"),
    *("a_pipe_for_a_table", "truncated_h5", "a_chunk_of_a_gigabyte", "a_planted_pickle", "a_trillion_rows_in_npy"),
    *("an_eps_named_png", "a_picture_of_180_million_pixels", "a_device_as_image", "out_is_in_use", "a_missing_method"),
]


@pytest.mark.slow
@pytest.mark.parametrize("name", IN_PROCESSES)
def test_so_it_is_in_a_process_of_its_own(name, tmp_path):
    plan = CASES[name](tmp_path)
    before = set(tmp_path.rglob("*"))
    out, told, used = (tmp_path.with_suffix(suffix) for suffix in (".out", ".told", ".used"))
    command = [sys.executable, "-S", "-c", MEASURED, used, Path(sys.executable).parent / "bagwise", *plan.argv]
    with out.open("w") as to, told.open("w") as to_say:
        status = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=to, stderr=to_say, check=False).returncode
    assert_refused(status, told.read_text(), plan.says)
    assert out.read_text() == ""
    assert set(tmp_path.rglob("*")) == before
    seconds, kib = map(float, used.read_text().split())
    assert seconds < MOST_SECONDS
    assert kib < MOST_KIB


def test_a_disk_that_is_full(tmp_path):
    """Leaves the sentence, and nothing that could be taken for a run."""
    good_frame().to_csv(tmp_path / "table.csv", index=False)
    argv = ["bagwise", "fit", str(tmp_path / "table.csv"), *COLUMNS, "--epochs", "1", "--out", str(tmp_path / "run")]
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        " import bagwise.commands.fit; from bagwise import cli;"
        " resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000));"
        f" sys.argv = {argv!r}; cli.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert_refused(done.returncode, done.stderr, r"cannot write .*run")
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "table.csv"]
