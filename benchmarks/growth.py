"""Draw how the cost of an epoch grows: `python benchmarks/growth.py`; `make growth` does so.

Attention on MI-Net's encoder, one thread, through the same `train` that every estimator and command uses. The seconds
of each point go to results/growth.json, the figure to docs/images/growth.svg.
"""

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import ours
import torch
import workloads
from run import ROOT, machine

from bagwise.files import replacing
from bagwise.targets.classes import ClassTarget
from bagwise.training.engine import train
from bagwise.training.members import Plan

TWO = ClassTarget.of([0, 1])

REPETITIONS = 3
ENOUGH = 20_000  # instances in an epoch, so that a point measures training and not its set-up

FEATURES = 166

Workload = tuple[int, int, int, int]  # members, bags, instances a bag, features
# Both sides of where cost may jump: the most that the compiled step takes, the most in a chunk, a block of members.
SWEEPS: dict[str, tuple[list[int], Callable[[int], Workload]]] = {
    "models trained together": ([1, 2, 5, 8, 9, 10, 20, 50, 100], lambda count: (count, 100, 5, FEATURES)),
    "instances in a bag": (
        [1, 10, 100, 128, 129, 256, 1_000, 4_096, 8_192, 8_193, 100_000],
        lambda count: (1, 10, count, FEATURES),
    ),
    "bags": ([10, 100, 1_000, 10_000], lambda count: (1, count, 5, FEATURES)),
    "features": ([10, 100, 166, 1_000, 10_000], lambda count: (1, 100, 5, count)),
}


def seconds_an_epoch(members: int, bags: int, size: int, features: int) -> float:
    """Measure the difference that more epochs make."""
    work = workloads.generated(bags, size, features)
    plan, packed = Plan(ours.ATTENTION, TWO, order_seed=0, scaling="none"), ours.bags_of(work)
    more = max(1, ENOUGH // (members * bags * size))

    def seconds(epochs: int) -> float:
        begin = time.perf_counter()
        train(plan, packed, work.labels, ours.members(work.folds * members, epochs))
        return time.perf_counter() - begin

    seconds(1)
    return statistics.median((seconds(1 + more) - seconds(1)) / more for _ in range(REPETITIONS))


def draw(found: dict[str, dict[str, Any]], path: Path) -> None:
    figure, axes = plt.subplots(1, len(found), figsize=(12, 3.2), sharey=True, layout="constrained")
    for axis, (name, points) in zip(axes, found.items(), strict=True):
        axis.loglog(points["count"], points["seconds"], "o-", color="#0b6e99")
        axis.set_xlabel(name)
        axis.grid(True, which="major", color="#dddddd")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("seconds an epoch")
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="svg", metadata={"Date": None})


def main() -> None:
    torch.set_num_threads(1)
    found = {}
    for name, (counts, workload) in SWEEPS.items():
        seconds = [seconds_an_epoch(*workload(count)) for count in counts]
        found[name] = {"count": counts, "seconds": seconds, "workloads": [workload(c) for c in counts]}
        print(name, dict(zip(counts, seconds, strict=True)), flush=True)
    with replacing(ROOT / "results" / "growth.json") as temporary:
        temporary.write_text(json.dumps({"machine": machine(), **found}, indent=2) + "\n", encoding="utf-8")
    draw(found, ROOT / "docs" / "images" / "growth.svg")


if __name__ == "__main__":
    main()
