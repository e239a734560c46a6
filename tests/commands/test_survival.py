"""Processes that die: a run that was killed goes on to the same bits, and a cluster does without a lost worker."""

import contextlib
import json
import multiprocessing
import os
import random
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest

from bagwise import BagwiseError
from bagwise.cli.commands import app
from bagwise.commands.runs import Run

BAGWISE = Path(sys.executable).parent / "bagwise"
COLUMNS = ["--bag", "patient", "--label", "diagnosis", "--instance", "cell", "--coordinate", "x", "--coordinate", "y"]
KILLS = 20

pytestmark = pytest.mark.slow


@pytest.fixture
def table(cells, tmp_path):
    path = tmp_path / "cells.csv"
    cells(40).drop(columns="clinic").to_csv(path, index=False)
    return path


def weights(folder):
    return [
        {name: value.numpy() for name, value in model.model_.state_dict().items()} for model in Run.load(folder).models
    ]


def assert_readable(folder):
    """A run is whole, or says itself that it is not."""
    for path in folder.rglob("*.json"):
        json.loads(path.read_text())
    try:
        Run.load(folder)
    except BagwiseError as error:
        assert "holds no model.safetensors" in str(error) or "there is no folder" in str(error)  # noqa: PT017


def starting(*argv):
    """Start a command in a process that has loaded the libraries already, so that it is killed at its work."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["bagwise.cli", "bagwise.commands.fit"])
    process = context.Process(target=_quietly, args=([str(part) for part in argv],))
    process.start()
    return process


def _quietly(argv):
    with Path(os.devnull).open("w") as nothing, contextlib.redirect_stdout(nothing):
        app(argv)


def kill_with_workers(command, folder):
    """Kill a command and its workers when each of two blocks has kept its progress."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while len(list(folder.glob("checkpoints/block-*.safetensors"))) < 2:
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.01)
    finally:
        family = [process, *psutil.Process(process.pid).children(recursive=True)]
        for member in family:
            member.kill()
        process.wait()


@pytest.mark.slow(seconds=35)
def test_a_run_killed_twenty_times_ends_with_the_same_weights(table, tmp_path):
    # A patience that never ends, so that the best weights so far are among what is kept.
    options = ["fit", table, *COLUMNS, "--ensemble", "9", "--epochs", "50", "--patience", "50", "--json"]
    begun = time.monotonic()
    whole = subprocess.run([BAGWISE, *options, "--out", tmp_path / "whole"], capture_output=True, text=True)
    seconds = time.monotonic() - begun
    assert whole.returncode == 0, whole.stderr
    kill_with_workers([BAGWISE, *options, "--jobs", "2", "--out", tmp_path / "run"], tmp_path / "run")
    assert_readable(tmp_path / "run")
    chance, killed, kept = random.Random(0), 1, set()
    for _ in range(KILLS - 1):
        process = starting(*options, "--jobs", "1", "--out", tmp_path / "run", "--resume")
        process.join(chance.uniform(0, seconds / 8))
        if process.is_alive():
            process.kill()
            process.join()
            killed += 1
        else:
            assert process.exitcode == 0
        assert_readable(tmp_path / "run")
        kept |= {path.stat().st_mtime_ns for path in tmp_path.glob("run/checkpoints/**/*.safetensors")}
    done = subprocess.run([BAGWISE, *options, "--out", tmp_path / "run", "--resume"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert killed >= KILLS // 2
    assert len(kept) >= KILLS // 4, "hardly any run got as far as to keep its progress"
    for one, other in zip(weights(tmp_path / "run"), weights(tmp_path / "whole"), strict=True):
        assert one.keys() == other.keys()
        for name, value in one.items():
            np.testing.assert_array_equal(value, other[name])
    for name in ("config.json", "history.csv"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        path.name for path in (tmp_path / "whole").iterdir()
    }


@pytest.fixture
def cluster(monkeypatch):
    """Start a Ray of our own with two workers, whatever the machine has; give its address and its process."""
    monkeypatch.setenv("RAY_worker_niceness", "0")  # else its workers wait for all other tests
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # names of sockets must be short
    argv = [Path(sys.executable).parent / "ray", "start", "--block", "--head", "--port", "0", "--num-cpus", "2"]
    argv += ["--include-dashboard", "false", "--temp-dir", folder]
    told = folder / "told.txt"
    with told.open("w") as stream:
        ray = psutil.Popen(argv, stdout=stream, stderr=stream)
    try:
        address = folder / "ray_current_cluster"
        deadline = time.monotonic() + 120
        while not address.exists() and ray.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        assert address.exists(), told.read_text()
        yield address.read_text().strip(), ray
    finally:
        family = [ray, *ray.children(recursive=True)]
        for member in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
        psutil.wait_procs(family)
        shutil.rmtree(folder)


def workers_at_work(ray):
    found = []
    for process in ray.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if "".join(process.cmdline()[:1]).startswith("ray::PoolActor.run_batch"):
                found.append(process)
    return found


LOADED = 4.0  # seconds of a processor after which a worker has loaded its libraries and trains


@pytest.mark.slow(seconds=90)
def test_a_cluster_that_loses_a_worker_finds_the_same(table, tmp_path, cluster):
    address, ray = cluster
    command = [
        "evaluate",
        table,
        *COLUMNS,
        "--no-baseline",
        "--folds",
        "8",
        "--repeats",
        "3",
        "--epochs",
        "300",
        "--json",
    ]
    argv = [BAGWISE, *command, "--backend", "ray", "--address", address, "--jobs", "2", "--out", tmp_path / "cluster"]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    local = starting(*command, "--jobs", "1", "--out", tmp_path / "local")  # while Ray starts its workers
    try:
        deadline = time.monotonic() + 120
        while len(workers_at_work(ray)) < 2 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        victims = workers_at_work(ray)
        assert len(victims) == 2, process.communicate()[1][-2000:]
        while victims[0].cpu_times().user < LOADED and time.monotonic() < deadline:
            time.sleep(0.1)
        victims[0].kill()
        _, told = process.communicate(timeout=300)
        assert process.returncode == 0, told
        local.join()
        assert local.exitcode == 0
    finally:
        process.kill()
        local.kill()
    one, other = (json.loads((tmp_path / name / "results.json").read_text()) for name in ("local", "cluster"))
    for results in (one, other):
        for row in results["rows"]:
            del row["seconds"]
    assert one == other
    expected, found = (pd.read_csv(tmp_path / name / "predictions.csv") for name in ("local", "cluster"))
    pd.testing.assert_frame_equal(found, expected, check_exact=True)
