"""What the commands work on that are stopped and starved."""

import time

import numpy as np
import pytest
import tifffile
from faults import COLUMNS, Started, contents
from PIL import Image


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
        "evaluate": ["evaluate", table, *COLUMNS, "--folds", 3, "--epochs", 30, "--jobs", 1],
        "tile": ["tile", place / "slides", "--encoder", place / "encoder", "--device", "cpu"],
        "explain": ["explain", place / "run", place / "few.csv"],
        "predict": ["predict", place / "run", table],
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
