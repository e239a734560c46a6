import contextlib
import io
import sys
from typing import NamedTuple

import h5py
import numpy as np
import pandas as pd
import pytest

from bagwise import cli


class Done(NamedTuple):
    status: int
    out: str
    told: str


@pytest.fixture(scope="session")
def run():
    """Give the command, run in this process."""

    def run(*argv):
        told, out, before = io.StringIO(), io.StringIO(), sys.argv
        sys.argv = ["bagwise", *map(str, argv)]
        try:
            with contextlib.redirect_stderr(told), contextlib.redirect_stdout(out):
                cli.main()
            status = 0
        except SystemExit as stop:
            status = stop.code or 0
        finally:
            sys.argv = before
        return Done(status, out.getvalue(), told.getvalue())

    return run


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
