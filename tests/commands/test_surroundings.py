"""Commands in odd surroundings: they work as ever, or say in a sentence why not."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import bagwise
from faults import complaints, contents

pytestmark = pytest.mark.slow

IN_TURN = """
import contextlib, sys
from bagwise.cli import main

todo = sys.argv[1:]
while todo:
    end = todo.index("then")
    sys.argv, todo = ["bagwise", *todo[:end]], todo[end + 1 :]
    with contextlib.suppress(SystemExit):
        main()
"""
NOWHERE = "/dev/null/nowhere"  # where not even root makes a folder
SURROUNDINGS = {
    "no HOME": {"HOME": None, "TMPDIR": None, "XDG_CACHE_HOME": None},
    "a HOME and a TMPDIR that are nowhere": {"HOME": NOWHERE, "TMPDIR": NOWHERE},
    "a numba cache that cannot be made": {"NUMBA_CACHE_DIR": NOWHERE},
    "LANG=C": {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "TERM=dumb": {"TERM": "dumb"},
}


@pytest.fixture
def assert_as_ever(commands, whole, tmp_path):
    """See that a fit and then an explanation, in one process without a terminal, end as they ever do."""

    def check(surroundings, names=("fit", "explain")):
        kept = {name: value for name, value in (os.environ | surroundings).items() if value is not None}
        out = {name: tmp_path / f"{name} für Zoë" for name in names}
        argv = [part for name in names for part in (*commands[name], "--json", "--out", out[name], "then")]
        done = subprocess.run(
            [sys.executable, "-c", IN_TURN, *map(str, argv)],
            env=kept,
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=300,
        )
        assert (done.returncode, complaints(done.stderr.decode())) == (0, "")
        for name in names:
            assert contents(out[name]) == whole(name)[0]

    return check


@pytest.mark.parametrize("name", SURROUNDINGS)
def test_odd_surroundings_change_nothing(name, assert_as_ever):
    assert_as_ever(SURROUNDINGS[name])


def test_a_package_that_cannot_be_written_to(assert_as_ever, tmp_path):
    package = tmp_path / "package"
    shutil.copytree(Path(bagwise.__file__).parent, package / "bagwise", ignore=shutil.ignore_patterns("__pycache__"))
    if subprocess.run(["mount", "--bind", package, package], capture_output=True).returncode:
        pytest.skip("nothing may be mounted here")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", package], check=True)
        assert_as_ever({"PYTHONPATH": str(package), "HOME": NOWHERE, "NUMBA_CACHE_DIR": NOWHERE}, ["fit"])
        assert not list(package.rglob("__pycache__"))
    finally:
        subprocess.run(["umount", package], check=True)
