"""How much memory it takes to predict one bag of a million instances from a memory-mapped file."""

import json
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bagwise import AttentionMIL, Bags

INSTANCES, FEATURES, BLOCK = 1_000_000, 1024, 10_000


def anonymous_mib() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon"))


def most_during(work: Callable[[], object]) -> float:
    """Give the most anonymous memory that this process held while it worked."""
    most, done = anonymous_mib(), threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.wait(0.005):
            most = max(most, anonymous_mib())

    watcher = threading.Thread(target=watch)
    watcher.start()
    work()
    done.set()
    watcher.join()
    return most


def print_row(mib: float, seconds: float, what: str) -> None:
    row = {"value": round(mib, 1), "unit": "MiB", "ours": seconds, "theirs": None, "raw": [seconds], "what": what}
    print(json.dumps(row))


def main() -> None:
    rng = np.random.default_rng(0)
    small = Bags.from_arrays([rng.standard_normal((20, FEATURES), np.float32) for _ in range(6)], labels=[0, 1] * 3)
    model = AttentionMIL(gated=True, epochs=2, random_state=0).fit(small)
    model.attention(small)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bag.npy"
        file = np.lib.format.open_memmap(path, "w+", np.float32, (INSTANCES, FEATURES))
        block = rng.standard_normal((BLOCK, FEATURES), np.float32)
        for row in range(0, INSTANCES, BLOCK):
            file[row : row + BLOCK] = block
        del file
        bag = Bags(np.load(path, mmap_mode="r"), np.array([0, INSTANCES]))
        before, begin = anonymous_mib(), time.perf_counter()
        most = most_during(lambda: model.attention(bag))
        seconds = time.perf_counter() - begin
    print_row(most - before, seconds, "anonymous memory that predicting one bag of 1,000,000 x 1024 from a file takes")


if __name__ == "__main__":
    main()
