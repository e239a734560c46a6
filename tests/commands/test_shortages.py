"""Commands that have too little of something: room, memory, files."""

import os
import resource
import shutil
import signal
import subprocess

import h5py
import numpy as np
import pytest

from faults import Started, assert_nothing_half_done, assert_quiet, contents

pytestmark = pytest.mark.slow


def assert_refused_or_whole(command, out, expected, status, told):
    assert status in (0, 1), told
    assert_quiet(told)
    assert bool(told) == bool(status)
    assert_nothing_half_done(command, out, expected, None)
    assert (status == 0) == (out.exists() and contents(out) == expected)


@pytest.mark.parametrize("command", ["fit", "evaluate", "tile", "validate", "explain", "predict"])
def test_a_disk_that_fills_up(command, commands, whole, tmp_path):
    expected, _ = whole(command)
    argv, out = [*commands[command], "--json"], tmp_path / ("said.csv" if command == "predict" else "out")
    resume = ["--resume"] * (command not in ("validate", "explain", "predict"))
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


@pytest.mark.parametrize("command", ["fit", "evaluate", "tile", "explain", "predict"])
def test_a_small_disk_that_grows(command, commands, whole, tmp_path):
    expected, _ = whole(command)
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("nothing may be mounted here")
    argv, out = [*commands[command], "--json"], disk / ("said.csv" if command == "predict" else "out")
    resume = ["--resume"] * (command not in ("explain", "predict"))
    try:
        for size in ("4k", "16k", "64k", "256k", "512k", "64m"):
            subprocess.run(["mount", "-o", f"remount,size={size}", disk], check=True)
            status, told = Started([*argv, "--out", out, *resume], tmp_path / "told").end()
            assert_refused_or_whole(command, out, expected, status, told)
            if not resume and status == 0:
                out.unlink() if command == "predict" else shutil.rmtree(out)
        assert status == 0, told
    finally:
        subprocess.run(["umount", disk], check=True)


def test_sixty_four_files_for_five_hundred(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "slides").mkdir()
    for number in range(500):
        with h5py.File(tmp_path / "slides" / f"s{number:03}.h5", "w") as file:
            file["features"] = rng.normal(size=(3, 4)).astype(np.float32)
            file["coords"] = np.arange(6).reshape(3, 2) * 256
    (tmp_path / "some").mkdir()
    for number in range(70):  # each gets a map, which takes a while
        os.link(tmp_path / "slides" / f"s{number:03}.h5", tmp_path / "some" / f"s{number:03}.h5")
    labels = "".join(f"s{number:03},{number % 2}\n" for number in range(500))
    (tmp_path / "labels.csv").write_text(f"bag,label\n{labels}")
    data = [tmp_path / "slides", "--labels", tmp_path / "labels.csv"]
    few = [(resource.RLIMIT_NOFILE, 64)]
    for argv in (
        ["fit", *data, "--epochs", 2, "--jobs", 1, "--out", tmp_path / "run"],
        ["evaluate", "--no-baseline", *data, "--folds", 2, "--epochs", 1, "--jobs", 1, "--out", tmp_path / "cv"],
        ["predict", tmp_path / "run", *data, "--out", tmp_path / "said.csv"],
        ["explain", tmp_path / "run", tmp_path / "some", "--out", tmp_path / "maps"],
    ):
        status, told = Started([*argv, "--json"], tmp_path / "told", few).end(300)
        assert (status, told) == (0, "")


@pytest.mark.parametrize("command", ["fit", "evaluate", "explain"])
def test_memory_that_runs_out(command, commands, whole, tmp_path):
    expected, _ = whole(command)
    for number, more in enumerate((1, 4, 16, 20, 64, 512)):
        out = tmp_path / f"out{number}"
        limits = [("memory", more << 20)]
        status, told = Started([*commands[command], "--json", "--out", out], tmp_path / "told", limits).end()
        if status and not told:  # a library (OpenMP, LLVM) has ended the process by itself, as a kill would
            assert_nothing_half_done(command, out, expected, signal.SIGKILL)
        else:
            assert_refused_or_whole(command, out, expected, status, told)
