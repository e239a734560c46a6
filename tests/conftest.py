import contextlib
import gc
import io
import logging
import os
import shutil
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import pandas as pd
import pytest
import tifffile
from hypothesis import settings
from PIL import Image

import bagwise as bw
import compiling
from bagwise import cli
from faults import COLUMNS, Started, contents

# How long an example takes says nothing where others use the machine, too.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


COMPILING = pytest.StashKey()


def pytest_configure(config):
    if config.getoption("numprocesses", None) and not hasattr(config, "workerinput"):
        # A worker has one processor; threads that wait for others would use up as much again, and so would processes
        # that a command starts by itself where it sees several.
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        os.environ.setdefault("LOKY_MAX_CPU_COUNT", "1")
        config.stash[COMPILING] = compiling.start()


def pytest_unconfigure(config):
    if COMPILING in config.stash:
        compiling.end(config.stash[COMPILING])


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """Have a worker more than processors for slow tests, which often wait for processes, for Ray and for the disk."""
    return (yield) + ("not slow" not in config.option.markexpr)


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Look for no garbage among what is loaded and collected: all of it stays, and looking is a quarter of the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Begin with the tests that take longest, so that no processor waits for one in the end."""

    def seconds(item):
        mark = item.get_closest_marker("slow")
        return mark.kwargs.get("seconds", 1) if mark else 0

    items[:] = sorted(compiling.ordered(items), key=seconds, reverse=True)


@pytest.fixture(scope="session", autouse=True)
def one_compiles_for_all():
    with pytest.MonkeyPatch.context() as patch:
        compiling.wait_before_the_step(patch)
        yield


LABELS = {
    "int": np.array([0, 1, 2]),
    "bool": np.array([False, True]),
    "string": np.array(["benign", "malignant", "unsure"]),
}


@pytest.fixture(scope="session")
def make_bags() -> Callable[..., bw.Bags]:
    """Make small bags whose class shifts their instances, so that there is something to learn."""

    def make(
        count: int = 24, *, classes: int = 2, kind: str = "int", shape=(3,), groups: int | None = None, seed: int = 0
    ) -> bw.Bags:
        rng = np.random.default_rng(seed)
        codes = np.arange(count) % classes
        arrays = [rng.normal(size=(rng.integers(1, 6), *shape)) + 0.8 * code for code in codes]
        return bw.Bags.from_arrays(
            arrays,
            LABELS[kind][codes],
            groups=None if groups is None else np.arange(count) // classes % groups,
        )

    return make


@pytest.fixture(scope="session")
def fitted(make_bags) -> Callable:
    """Fit a method of the registry for a few epochs; the same question gives the same model."""

    @cache
    def fit(name: str, classes: int = 2, precision: str = "float32", epochs: int = 3):
        bags = make_bags(classes=classes)
        settings = {"epochs": epochs, "precision": precision, "learning_rate": 0.01, "standardize": True}
        return bw.make(name, **settings, random_state=0).fit(bags)

    return fit


@pytest.fixture(scope="session", autouse=True)
def small_methods():
    """Let large methods of the registry be small: what is swept here are manners, which 20 trees have as well.

    Boosting still chooses between few rounds and more.
    """
    forest, boosting = (bw.METHODS[name][0] for name in ("summary-forest", "summary-boosting"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(bw.METHODS, "summary-forest", (forest, {"trees": 20}))
        patch.setitem(bw.METHODS, "TransMIL", (bw.TransMIL, {"width": 16, "heads": 2}))
        patch.setitem(bw.METHODS, "ILRA", (bw.ILRA, {"width": 16, "heads": 2}))
        patch.setattr(
            boosting,
            "GRID",
            tuple({**point, "rounds": rounds} for point, rounds in zip(boosting.GRID, (5, 20), strict=True)),
        )
        yield


@pytest.fixture
def workers_for_little(monkeypatch):
    """Have workers started however little work there is."""
    monkeypatch.setattr("bagwise.training.workers.SECONDS_A_WORKER", 1e-9)


@pytest.fixture(scope="session")
def data_directory() -> Path:
    """Where the real data sets are; tests on them are skipped where they are not, but never in CI."""
    default = Path(__file__).parents[2] / "shared" / "data"
    directory = Path(os.environ.get("BAGWISE_DATA") or default)
    if not (directory / "musk1" / "musk1.npz").exists():
        say = pytest.fail if os.environ.get("CI") else pytest.skip
        say(f"there are no data sets in {directory}: set BAGWISE_DATA")
    return directory


@pytest.fixture(scope="session")
def published(data_directory) -> Callable[[str], bw.Bags]:
    """Load a data set by its name, once."""
    return cache(lambda name: bw.load_dataset(name, data_directory))


# ---- pages in a browser ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser():
    """Give Chromium, for a module's tests; tests are skipped without it, but never in CI."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    found = next((path for path in map(shutil.which, names) if path), None)
    if found is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("Chromium is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


# ---- commands -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def lent_process():
    """Take back what the command does to a process that it takes for its own."""
    stopping = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    kept = threading.excepthook, sys.unraisablehook, logging.lastResort
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONWARNINGS", "ignore")
        try:
            yield
        finally:
            threading.excepthook, sys.unraisablehook, logging.lastResort = kept
            for number, handler in stopping.items():
                signal.signal(number, handler)


class Done(NamedTuple):
    status: int
    out: str
    told: str


@pytest.fixture(scope="session")
def run():
    """Give the command, run in this process; its standard output may be another stream."""

    def run(*argv, out=None):
        told, before = io.StringIO(), sys.argv
        out = io.StringIO() if out is None else out
        sys.argv = ["bagwise", *map(str, argv)]
        try:
            with lent_process(), contextlib.redirect_stderr(told), contextlib.redirect_stdout(out):
                cli.main()
            status = 0
        except SystemExit as stop:
            status = stop.code or 0
        finally:
            sys.argv = before
        return Done(status, out.getvalue() if isinstance(out, io.StringIO) else "", told.getvalue())

    return run


@pytest.fixture
def undrawn(monkeypatch):
    """Have commands draw neither figures nor maps, which takes longer than the rest and which other tests look at."""
    monkeypatch.setattr("bagwise.commands.held_out.figures_of", lambda _: [])
    monkeypatch.setattr("bagwise.commands.explain.draw_map", lambda *_, **__: None)


@pytest.fixture(scope="session")
def cells():
    """Make a table of patients' cells: an ill patient has a few cells with a high marker."""

    def make(patients=24, classes=("healthy", "ill"), seed=0):
        rng = np.random.default_rng(seed)
        rows = []
        for patient in range(patients):
            kind = patient % len(classes)
            for cell in range(int(rng.integers(4, 9))):
                marker = rng.normal() + (5 * kind if cell < 2 else 0)
                rows.append(
                    {
                        "patient": f"P{patient:03}",
                        "diagnosis": classes[kind],
                        "clinic": f"C{patient // 2}",
                        "cell": f"cell {cell}",
                        "x": float(cell % 3),
                        "y": float(cell // 3),
                        "size": rng.normal(),
                        "marker": marker,
                        "shape": rng.normal(),
                    }
                )
        return pd.DataFrame(rows)

    return make


@pytest.fixture(scope="session")
def slides():
    """Write a folder of HDF5 files with coordinates, and a table of labels beside it."""

    def write(folder, count=12, width=6):
        rng = np.random.default_rng(0)
        (folder / "slides").mkdir(parents=True)
        lines = ["bag,label,group"]
        for number in range(count):
            size = int(rng.integers(5, 12))
            features = rng.normal(size=(size, width)).astype(np.float16)
            features[:2, 0] += 9 * (number % 2)
            name = f"TCGA-{number:02}.v1"
            with h5py.File(folder / "slides" / f"{name}.h5", "w") as file:
                file["features"] = features
                file["coords"] = np.stack([np.arange(size) % 3 * 256, np.arange(size) // 3 * 256], axis=1)
            lines.append(f"{name},{number % 2},case-{number // 2}")
        (folder / "labels.csv").write_text("\n".join(lines) + "\n")
        return folder / "slides", folder / "labels.csv"

    return write


# ---- commands that are stopped and starved --------------------------------------------------------------------------


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
def commands(place):
    table = place / "cells.csv"
    return {
        "fit": ["fit", table, *COLUMNS, "--ensemble", 2, "--epochs", 30, "--patience", 30, "--jobs", 1],
        "evaluate": ["evaluate", "--no-baseline", table, *COLUMNS, "--folds", 3, "--epochs", 30, "--jobs", 1],
        "tile": ["tile", place / "slides", "--encoder", place / "encoder", "--device", "cpu"],
        "explain": ["explain", place / "run", place / "few.csv"],
        "predict": ["predict", place / "run", table],
        "validate": ["validate", place / "run", table],
        "reproduce": [
            *("reproduce", "mil-assumption", "--seeds", 1, "--jobs", 1),
            *("--method", "miVLAD", "--method", "miFV", "--method", "mi-Graph"),
        ],
    }


@pytest.fixture(scope="session")
def whole(place, commands):
    """Give what a command that nobody stops leaves, and how long it takes."""
    known = {}

    def find(command):
        if command not in known:
            out = place / "whole" / (f"{command}.csv" if command == "predict" else command)
            started = Started([*commands[command], "--json", "--out", out], place / "told")
            began = time.monotonic()
            status, told = started.end()
            assert status == 0, told
            known[command] = contents(out), time.monotonic() - began
        return known[command]

    return find
