"""Write a folder of slide features as CLAM and TRIDENT do, one HDF5 file a slide, and a table of labels.

Forty slides of twenty patients, 50 to 200 patches each, 32 features a patch. In a slide with a tumour, the patches
around one place differ from the rest in a few features; which patches those are stands in no file.

    python examples/make_slides.py slides
"""

import sys
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

WIDTH, PATCH = 32, 256


def slide(rng: np.random.Generator, tumour: bool) -> tuple[np.ndarray, np.ndarray]:
    """Draw the features of a slide's patches, and their upper left corners in pixels."""
    side = int(rng.integers(9, 17))
    grid = np.stack(np.meshgrid(np.arange(side), np.arange(side)), axis=-1).reshape(-1, 2)
    tissue = np.hypot(*(grid - (side - 1) / 2).T) < side / 2
    place = grid[tissue]
    features = rng.normal(size=(len(place), WIDTH))
    if tumour:
        centre = place[rng.integers(len(place))]
        features[np.hypot(*(place - centre).T) < 2, :4] += 2.5
    return features.astype(np.float16), place * PATCH


def main(folder: Path) -> None:
    rng = np.random.default_rng(3)
    folder.mkdir(parents=True)
    rows = []
    for number in range(40):
        name, tumour = f"slide-{number:02}", number // 2 % 2 == 1
        with h5py.File(folder / f"{name}.h5", "w") as file:
            file["features"], file["coords"] = slide(rng, tumour)
        rows.append((name, "tumour" if tumour else "normal", f"patient-{number // 2:02}"))
    pd.DataFrame(rows, columns=["bag", "label", "patient"]).to_csv(folder / "labels.csv", index=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
