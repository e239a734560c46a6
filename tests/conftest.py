import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import bagwise as bw
from bagwise.methods.neural import NeuralMIL

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
def fitted(make_bags) -> Callable[..., NeuralMIL]:
    """Fit a method of the registry for a few epochs; the same question gives the same model."""

    @cache
    def fit(name: str, classes: int = 2, precision: str = "float32", epochs: int = 3):
        bags = make_bags(classes=classes)
        return bw.make(name, epochs=epochs, precision=precision, learning_rate=0.01, random_state=0).fit(bags)

    return fit


@pytest.fixture(scope="session")
def data_directory() -> Path:
    """Where the real data sets are; tests on them are skipped where they are not, but never in CI."""
    default = Path(__file__).parents[2] / "shared" / "data"
    directory = Path(os.environ.get("BAGWISE_DATA") or default)
    if not (directory / "musk1" / "musk1.npz").exists():
        say = pytest.fail if os.environ.get("CI") else pytest.skip
        say(f"there are no data sets in {directory}: set BAGWISE_DATA")
    return directory
