"""Commands that are stopped, and workers that die: the folder is whole, unfinished and says so, or untouched."""

import contextlib
import os
import random
import shutil
import signal
import time

import psutil
import pytest

from faults import COLUMNS, Started, assert_nothing_half_done, assert_quiet, contents

pytestmark = pytest.mark.slow

TIMES = 5
SIGNALS = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}
COMMANDS = ["fit", "evaluate", "tile", "explain", "predict", "reproduce"]
# SIGINT and SIGTERM end all commands by the same lines, told apart by the status alone: each has its half of them.
HALVES = ((signal.SIGKILL, signal.SIGTERM), (signal.SIGKILL, signal.SIGINT))
STOPPED = [(command, by) for place, command in enumerate(COMMANDS) for by in HALVES[place % 2]]


@pytest.mark.parametrize(("command", "by"), STOPPED, ids=lambda given: getattr(given, "name", given))
def test_a_command_that_is_stopped_at_any_moment(command, by, commands, whole, tmp_path):
    expected, seconds = whole(command)
    chance = random.Random(f"{command} {by}")
    argv, out = [*commands[command], "--json"], tmp_path / ("said.csv" if command == "predict" else "out")
    resumable = command not in ("explain", "predict")
    for _ in range(TIMES):
        resume = ["--resume"] * resumable
        started = Started([*argv, "--out", out, *resume], tmp_path / "told")
        time.sleep(0.005 + chance.uniform(0, seconds))
        with contextlib.suppress(ProcessLookupError):  # it has ended
            os.kill(started.process.pid, by)
        status, told = started.end()
        assert_quiet(told)
        finished = assert_nothing_half_done(command, out, expected, by)
        # What has ended, and is being taken down, no longer says how it was stopped.
        assert status in (0, SIGNALS[by]) or (finished and status == -by), told
        if status == 0:
            assert finished
        if command == "explain" and not finished and out.is_dir() and any(out.glob("[!.]*")):
            refused, told = Started([*argv, "--out", out], tmp_path / "told").end()
            assert refused == 1
            assert "explain was stopped before it had finished there" in told
        if finished or (out.is_dir() and not resumable):
            found = contents(out)
            assert not finished or {**found, "notes.txt": 0} == {**expected, "notes.txt": 0}
            out.unlink() if out.is_file() else shutil.rmtree(out)
        elif out.is_dir() and contents(out):
            (out / "notes.txt").write_text("mine")
    noted = (out / "notes.txt").exists()
    status, told = Started([*argv, "--out", out, *resume], tmp_path / "told").end()
    assert status == 0, told
    assert contents(out) == expected | ({"notes.txt": b"mine"} if noted else {})
    if by != signal.SIGKILL or command != "predict":
        assert not list(tmp_path.rglob(".writing-*"))


# ---- workers ---------------------------------------------------------------------------------------------------------


def workers_of(process):
    """Wait for the workers of a command, and give them."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = []
        for child in psutil.Process(process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if "popen_loky" in " ".join(child.cmdline()):
                    found.append(child)
        if len(found) == 2:
            return found
        time.sleep(0.02)
    raise AssertionError("there are no workers")


def still_alive(workers):
    """Wait until none is, or for long; give those that are."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        alive = []
        for worker in workers:
            with contextlib.suppress(psutil.NoSuchProcess):
                alive += [worker] * (worker.status() != psutil.STATUS_ZOMBIE)
        if not alive:
            break
        time.sleep(0.05)
    return alive


# Nine members are two blocks.
WITH_WORKERS = {
    "fit": ["--ensemble", 9, "--epochs", 30, "--calibrate", "none"],
    "evaluate": ["--folds", 3, "--repeats", 3, "--epochs", 30],
}


@pytest.mark.parametrize("command", WITH_WORKERS)
def test_workers_that_are_killed(command, place, tmp_path):
    argv = [command, place / "cells.csv", *COLUMNS, *WITH_WORKERS[command], "--json"]
    status, told = Started([*argv, "--jobs", 1, "--out", tmp_path / "whole"], tmp_path / "told").end()
    assert status == 0, told
    chance, out = random.Random(command), tmp_path / "out"
    for _ in range(TIMES):
        started = Started([*argv, "--jobs", 2, "--out", out, "--resume"], tmp_path / "told")
        workers = workers_of(started.process)
        time.sleep(chance.uniform(0, 3))
        with contextlib.suppress(psutil.NoSuchProcess):
            workers[0].kill()
        status, told = started.end()
        assert status in (0, 1), told
        assert_quiet(told)
        assert ("a worker process was killed" in told) == bool(status)
        assert not still_alive(workers)
        if status == 0:
            break
    status, told = Started([*argv, "--jobs", 1, "--out", out, "--resume"], tmp_path / "told").end()
    assert status == 0, told
    assert contents(out) == contents(tmp_path / "whole")


def test_workers_end_with_a_command_that_is_killed(place, tmp_path):
    # So many epochs that they would go on for long.
    argv = ["fit", place / "cells.csv", *COLUMNS, "--ensemble", 9, "--epochs", 100_000, "--jobs", 2]
    started = Started([*argv, "--json", "--out", tmp_path / "out"], tmp_path / "told")
    workers = workers_of(started.process)
    while not list(tmp_path.glob("out/checkpoints/*.safetensors")):
        assert started.process.is_alive()
        time.sleep(0.01)
    started.process.kill()
    started.end()
    alive = still_alive(workers)
    for worker in alive:
        worker.kill()
    assert not alive
