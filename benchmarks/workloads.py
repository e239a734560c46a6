"""What the benchmarks train on: numpy alone, so that every contender can load it in an environment of its own."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

DATA = Path(os.environ.get("BAGWISE_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")

# Wang et al. (2016), as Bagwise's defaults for vectors.
LEARNING_RATE, MOMENTUM, WEIGHT_DECAY, DROPOUT, HIDDEN = 5e-4, 0.9, 0.01, 0.5, 64
WIDTHS = (256, 128, 64)

# Which methods are fitted to see what they cost; the first is what others are compared with.
METHODS_THAT_COST = (
    *("attention", "additive", "smooth-attention", "DSMIL", "CLAM-SB", "CLAM-MB", "DTFD-MIL", "ACMIL"),
    *("graph", "self-attention", "ILRA", "TransMIL"),
)
KNOW_NEIGHBOURS = ("smooth-attention", "graph")


@dataclass
class Workload:
    """Packed bags with their labels, and the training bags of each fold."""

    instances: np.ndarray
    offsets: np.ndarray
    labels: np.ndarray
    folds: list[np.ndarray]

    def bag(self, position: int) -> np.ndarray:
        return self.instances[self.offsets[position] : self.offsets[position + 1]]


def musk1(repeats: int = 5) -> Workload:
    """92 molecules of 2 to 40 conformations, so many times ten folds."""
    return classical("musk1", repeats)


def classical(name: str, repeats: int) -> Workload:
    """One of the five classical sets, so many times ten folds."""
    with np.load(DATA / name / f"{name}.npz") as file:
        order = np.argsort(file["bag"], kind="stable")
        offsets = np.cumsum([0, *np.bincount(file["bag"])])
        folds = [np.flatnonzero(mask) for repeat in file["cv_train_mask"][:repeats] for mask in repeat]
        return Workload(file["X"][order], offsets, file["y"].astype(np.int64), folds)


def mnist(bags: int = 100) -> Workload:
    """Bags of 10 to 100 images of digits, positive if they hold a nine."""
    rng = np.random.default_rng(0)
    with np.load(DATA / "mnist" / "mnist.npz") as file:
        images, digits = file["train_images"], file["train_labels"]
    sizes = rng.integers(10, 101, bags)
    rows = rng.integers(len(images), size=sizes.sum())
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    labels = np.logical_or.reduceat(digits[rows] == 9, offsets[:-1]).astype(np.int64)
    return Workload(images[rows], offsets, labels, [np.arange(bags)])


def slides(bags: int = 40, folds: int = 10) -> Workload:
    """Bags as large as slides: 500 to 8,000 patches of 1,024 features."""
    rng = np.random.default_rng(0)
    sizes = np.linspace(500, 8000, bags).astype(np.int64)[rng.permutation(bags)]
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    instances = rng.standard_normal((offsets[-1], 1024), dtype=np.float32)
    everything = np.arange(bags)
    return Workload(
        instances, offsets, everything % 2, [everything[everything % folds != fold] for fold in range(folds)]
    )


def generated(bags: int, size: int, features: int = 166) -> Workload:
    """Noise, to see how cost grows."""
    rng = np.random.default_rng(0)
    instances = rng.standard_normal((bags * size, features), dtype=np.float32)
    return Workload(instances, np.arange(bags + 1) * size, np.arange(bags) % 2, [np.arange(bags)])


def numbers(bags: int = 700, learnt_from: int = 500) -> Workload:
    """Bags of 10 to 100 x 50 normal numbers; labels are the largest of column 0 and a little of the sum of column 1."""
    rng = np.random.default_rng(0)
    offsets = np.concatenate([[0], np.cumsum(rng.integers(10, 101, bags))])
    instances = rng.standard_normal((offsets[-1], 50)).astype(np.float32)
    largest = np.maximum.reduceat(instances[:, 0], offsets[:-1])
    labels = largest + 0.02 * np.add.reduceat(instances[:, 1], offsets[:-1])
    return Workload(instances, offsets, labels.astype(np.float64), [np.arange(learnt_from)])
