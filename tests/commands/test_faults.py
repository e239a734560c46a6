"""Commands that are stopped, starved or short of room: the folder is whole, unfinished and says so, or untouched."""

import contextlib
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import psutil
import pytest
import tifffile
from PIL import Image

from bagwise.folders import MARKER, ResultFolder
from bagwise.tensorfiles import read_tensors

COLUMNS = ["--bag", "patient", "--label", "diagnosis", "--instance", "cell", "--coordinate", "x", "--coordinate", "y"]
TIMES = 5
SIGNALS = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}
VOLATILE = {"seconds", "environment"}

pytestmark = pytest.mark.slow


# ---- commands in processes that have loaded the libraries already ----------------------------------------------------


class Started:
    """A command at work, in a process of its own."""

    def __init__(self, argv, folder, limits=()):
        folder.mkdir(exist_ok=True)
        self.told_in = folder / "told.txt"
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(
            [
                *("torch._dynamo", "bagwise.cli.commands"),
                *(f"bagwise.commands.{name}" for name in ("fit", "evaluate", "explain", "predict", "tile")),
            ]
        )
        begun = context.Event()
        self.process = context.Process(target=_begin, args=([str(part) for part in argv], self.told_in, limits, begun))
        self.process.start()
        assert begun.wait(60)

    def end(self, timeout=120):
        self.process.join(timeout)
        assert not self.process.is_alive(), "it hangs"
        return self.process.exitcode, self.told_in.read_text()


def _begin(argv, told_in, limits, begun):
    with Path(os.devnull).open("w") as nothing, told_in.open("w") as told:
        os.dup2(nothing.fileno(), 1)
        os.dup2(told.fileno(), 2)
    from bagwise.cli.entry import main

    sys.argv = ["bagwise", *argv]
    for kind, most in limits:
        if kind == "memory":  # so much more than it has now
            kind, most = resource.RLIMIT_AS, psutil.Process().memory_info().vms + most
        resource.setrlimit(kind, (most, most))
    begun.set()
    main()


def assert_quiet(told):
    assert "Traceback" not in told
    assert len(told.splitlines()) <= 1, told
    assert not told or told.startswith("bagwise: "), told


# ---- what is found afterwards ----------------------------------------------------------------------------------------


def without_volatile(value):
    if isinstance(value, dict):
        return {name: without_volatile(part) for name, part in value.items() if name not in VOLATILE}
    return [without_volatile(part) for part in value] if isinstance(value, list) else value


def contents(out):
    """Read all that a folder holds, or a file; fails where one of them is half-written."""
    paths = [out] if out.is_file() else sorted(path for path in out.rglob("*") if path.is_file())
    found = {}
    for path in paths:
        name = path.relative_to(out).as_posix()
        if path.name == MARKER or path.name.startswith(".writing-"):
            continue
        found[name] = path.read_bytes()
        if path.suffix == ".json":
            found[name] = without_volatile(json.loads(path.read_text()))
        elif path.suffix == ".html":
            found[name] = path.read_text(encoding="utf-8").rstrip().endswith("</html>")
            assert found[name]
        elif path.suffix == ".safetensors":
            read_tensors(path)
        elif path.suffix == ".h5":
            with h5py.File(path) as file:
                assert len(file["features"]) == len(file["coords"])
        elif path.suffix in (".png", ".jpg"):
            with Image.open(path) as picture:
                picture.load()
    return found


def assert_nothing_half_done(command, out, whole, stopped_by):
    """See that it is whole, unfinished and says so, or untouched; give whether it is whole."""
    if not out.exists():
        return False
    if command == "predict":
        assert contents(out) == whole
        return True
    if ResultFolder(out).is_finished():
        return True
    found = contents(out)  # nothing in it is half-written
    assert {name for name in found if not name.startswith("checkpoints/")} <= whole.keys() | {"notes.txt"}
    if stopped_by != signal.SIGKILL:
        assert not list(out.rglob(".writing-*"))
        assert command != "explain", "nothing could go on from it"
    return False


# ---- what the commands work on ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def place(tmp_path_factory, cells, run):
    folder = tmp_path_factory.mktemp("faults")
    cells(40).drop(columns="clinic").to_csv(folder / "cells.csv", index=False)
    cells(6).drop(columns="clinic").to_csv(folder / "few.csv", index=False)
    rng = np.random.default_rng(0)
    for name in ("scans", "slides"):
        (folder / name).mkdir()
    for number in range(4):
        Image.fromarray(rng.integers(0, 200, (64, 64, 3), np.uint8)).save(folder / "scans" / f"s{number}.png")
    (folder / "labels.csv").write_text("bag,label\n" + "".join(f"s{number},{number % 2}\n" for number in range(4)))
    for number in range(6):
        pixels = np.full((512, 512, 3), 245, np.uint8)
        pixels[:, :256] = rng.integers(100, 200, (512, 256, 3))
        tifffile.imwrite(folder / "slides" / f"slide{number}.tif", pixels, tile=(64, 64), photometric="rgb")
    options = ["--labels", folder / "labels.csv", "--patch", 32, "--epochs", 1, "--jobs", 1]
    assert run("fit", folder / "scans", *options, "--out", folder / "encoder", "--json").status == 0
    fit = ["fit", folder / "cells.csv", *COLUMNS, "--ensemble", 2, "--epochs", 3, "--jobs", 1]
    assert run(*fit, "--out", folder / "run", "--json").status == 0
    return folder


@pytest.fixture(scope="module")
def commands(place):
    table = place / "cells.csv"
    return {
        "fit": ["fit", table, *COLUMNS, "--ensemble", 2, "--epochs", 30, "--patience", 30, "--jobs", 1],
        "evaluate": ["evaluate", table, *COLUMNS, "--folds", 3, "--epochs", 30, "--jobs", 1],
        "tile": ["tile", place / "slides", "--encoder", place / "encoder", "--device", "cpu"],
        "explain": ["explain", place / "run", place / "few.csv"],
        "predict": ["predict", place / "run", table],
    }


@pytest.fixture(scope="module")
def whole(place, commands):
    """Give what a command that nobody stops leaves, and how long it takes."""
    known = {}

    def find(command):
        if command not in known:
            out = place / "whole" / (f"{command}.csv" if command == "predict" else command)
            started = Started([*commands[command], "--json", "--out", out], place / "told")
            began = time.monotonic()
            status, told = started.end()
            assert (status, told) == (0, "")
            known[command] = contents(out), time.monotonic() - began
        return known[command]

    return find


COMMANDS = ["fit", "evaluate", "tile", "explain", "predict"]


@pytest.mark.parametrize("by", SIGNALS, ids=lambda number: number.name)
@pytest.mark.parametrize("command", COMMANDS)
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
        assert status in (0, SIGNALS[by]), told
        assert_quiet(told)
        finished = assert_nothing_half_done(command, out, expected, by)
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


# ---- too little of something -----------------------------------------------------------------------------------------


def assert_refused_or_whole(command, out, expected, status, told):
    assert status in (0, 1), told
    assert_quiet(told)
    assert bool(told) == bool(status)
    assert_nothing_half_done(command, out, expected, None)
    assert (status == 0) == (out.exists() and contents(out) == expected)


@pytest.mark.parametrize("command", ["fit"])
def test_a_disk_that_fills_up(command, commands, whole, tmp_path):
    expected, _ = whole(command)
    argv, out = [*commands[command], "--json"], tmp_path / ("said.csv" if command == "predict" else "out")
    resume = ["--resume"] * (command not in ("explain", "predict"))
    for most in (300, 3_000, 20_000, 60_000, 150_000):
        started = Started([*argv, "--out", out, *resume], tmp_path / "told", [(resource.RLIMIT_FSIZE, most)])
        status, told = started.end()
        assert_refused_or_whole(command, out, expected, status, told)
        if status:
            assert "cannot write" in told
        if not resume:
            assert status == 0 or not out.exists()
            out.unlink(missing_ok=True) if command == "predict" else shutil.rmtree(out, ignore_errors=True)
    status, told = Started([*argv, "--out", out, *resume], tmp_path / "told").end()
    assert status == 0, told
    assert contents(out) == expected


def test_a_small_disk_that_grows(commands, whole, tmp_path):
    expected, _ = whole("fit")
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("nothing may be mounted here")
    try:
        for size in ("64k", "128k", "256k", "384k", "512k"):
            subprocess.run(["mount", "-o", f"remount,size={size}", disk], check=True)
            argv = [*commands["fit"], "--json", "--out", disk / "run", "--resume"]
            status, told = Started(argv, tmp_path / "told").end()
            assert_refused_or_whole("fit", disk / "run", expected, status, told)
        subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
        status, told = Started(argv, tmp_path / "told").end()
        assert status == 0, told
        assert contents(disk / "run") == expected
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize("command", ["fit"])
def test_memory_that_runs_out(command, commands, whole, tmp_path):
    expected, _ = whole(command)
    for number, more in enumerate((1, 4, 16, 64, 512)):
        out = tmp_path / f"out{number}"
        limits = [("memory", more << 20)]
        status, told = Started([*commands[command], "--json", "--out", out], tmp_path / "told", limits).end()
        assert_refused_or_whole(command, out, expected, status, told)
