"""Print the microseconds of a compiled step by the instances of a bag: `python benchmarks/steps.py`.

Attention on MI-Net's encoder, 166 features, one model, one thread; the best of many epochs of 90 bags, all that a step
needs included, as docs/speed.md tells it.
"""

import time

import ours
import torch
import workloads

from bagwise.targets.classes import ClassTarget
from bagwise.training.data import PackedTensors
from bagwise.training.members import Plan
from bagwise.training.stack import compile_step
from bagwise.training.stacked import Stacked

TWO = ClassTarget.of([0, 1])
SIZES = (1, 5, 12, 20, 40, 80, 120)
EPOCHS = 30


def microseconds(size: int) -> float:
    work = workloads.generated(100, size)
    plan = Plan(ours.ATTENTION, TWO, order_seed=0, scaling="none")
    compile_step(TWO, plan.dtype)
    executor = Stacked(plan, PackedTensors(ours.bags_of(work), work.labels), ours.members(work.folds[:1], EPOCHS))
    taken = []
    for epoch in range(EPOCHS):
        begin = time.perf_counter()
        executor.run_epoch(epoch, [0])
        taken.append(time.perf_counter() - begin)
    return min(taken) / len(work.folds[0]) * 1e6


def main() -> None:
    torch.set_num_threads(1)
    for size in SIZES:
        print(size, round(microseconds(size), 1), flush=True)


if __name__ == "__main__":
    main()
