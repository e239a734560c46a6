"""How much of a folder of features is read in an epoch of a cross-validation, and how much memory that takes.

The encoder is small, so that reading and not arithmetic takes the time; what is read does not depend on it.
"""

import json
import tempfile
import time
from functools import partial
from pathlib import Path

import h5py
import numpy as np
from million import anonymous_mib, most_during

from bagwise import AttentionMIL, cross_validate
from bagwise.io.folders import read_folder
from bagwise.models.encoders import FullyConnected

FILES, INSTANCES, FEATURES, FOLDS = 200, 10_000, 1024, 10
FEW, MANY = 1, 3


def small_encoder() -> FullyConnected:
    return FullyConnected((FEATURES,), widths=(32,))


def bytes_read() -> int:
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("rchar"))


def write(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    lines = ["bag,label"]
    for number in range(FILES):
        features = rng.standard_normal((INSTANCES, FEATURES), np.float32).astype(np.float16)
        features[:50, :8] += 2 * (number % 2)
        with h5py.File(folder / f"slide-{number}.h5", "w") as file:
            file["features"] = features
        lines.append(f"slide-{number},{number % 2}")
    labels = folder / "labels.csv"
    labels.write_text("\n".join(lines) + "\n")
    return labels


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bags = read_folder(folder, write(folder))
        size = sum(path.stat().st_size for path in folder.glob("*.h5"))
        read, seconds, most = [], [], []
        for epochs in (FEW, MANY):
            model = AttentionMIL(encoder=small_encoder, epochs=epochs, random_state=0)
            before, begin, idle = bytes_read(), time.perf_counter(), anonymous_mib()
            most.append(most_during(partial(cross_validate, model, bags, folds=FOLDS)) - idle)
            read.append(bytes_read() - before)
            seconds.append(time.perf_counter() - begin)
    row = {
        "value": round((read[1] - read[0]) / (MANY - FEW) / size, 4),
        "unit": "times the folder",
        "ours": (seconds[1] - seconds[0]) / (MANY - FEW),
        "theirs": None,
        "raw": seconds,
        "folder_bytes": size,
        "anonymous_mib": round(max(most), 1),
        "what": f"bytes read in an epoch of {FOLDS} folds on a folder of {size / 1e9:.1f} GB of HDF5 files, with"
        f" {max(most):.0f} MiB of anonymous memory",
    }
    print(json.dumps(row))


if __name__ == "__main__":
    main()
