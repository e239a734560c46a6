"""Bagwise as a contender: it trains through the same `train` that every estimator and command uses."""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import workloads
from pace import Lap, run
from plain import encoding
from torch import Tensor, nn
from workloads import Workload

import bagwise as bw
from bagwise.bags import Bags
from bagwise.methods.base import BagEstimator
from bagwise.models.architecture import Architecture
from bagwise.models.encoders import LeNet5
from bagwise.models.pooling import Pooled, Pooling
from bagwise.segments import segment_softmax, segment_weighted_sum
from bagwise.targets.classes import ClassTarget
from bagwise.training.engine import train
from bagwise.training.members import Member, Plan, Settings

TWO = ClassTarget.of([0, 1])

ATTENTION = Architecture("embedding", "attention", "mi-net", {"hidden": workloads.HIDDEN})
ON_DIGITS = Architecture("embedding", "attention", "lenet5", {"hidden": 128})


class OwnAttention(Pooling):
    """A user's own pooling, which no compiled step knows."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.hidden = nn.Linear(width, workloads.HIDDEN, bias=False)
        self.score = nn.Linear(workloads.HIDDEN, 1, bias=False)

    def forward(self, values: Tensor, offsets: Tensor) -> Pooled:
        weights = segment_softmax(self.score(self.hidden(values).tanh()), offsets)
        return Pooled(segment_weighted_sum(weights, values, offsets), weights.squeeze(1))


OWN = Architecture("embedding", OwnAttention, "mi-net")


def bags_of(work: Workload) -> Bags:
    return Bags(work.instances, work.offsets, work.labels)


def members(folds: Sequence[np.ndarray], epochs: int) -> list[Member]:
    settings = Settings(
        "sgd",
        workloads.LEARNING_RATE,
        epochs,
        momentum=workloads.MOMENTUM,
        decay=1e-4,
        l2=workloads.WEIGHT_DECAY / 2,
        dropout=workloads.DROPOUT,
    )
    return [Member(seed, fold, settings) for seed, fold in enumerate(folds)]


def folds_of(
    work: Workload,
    epochs: int,
    share: int = 0,
    shares: int = 1,
    scaling: Literal["standardize", "none"] = "standardize",
    architecture: Architecture = ATTENTION,
) -> Lap:
    plan = Plan(architecture, TWO, order_seed=0, scaling=scaling)
    bags, own = bags_of(work), members(work.folds[share::shares], epochs)

    def lap() -> float:
        train(plan, bags, work.labels, own)
        return epochs

    return lap


def musk1(share: int, shares: int) -> Lap:
    return folds_of(workloads.musk1(), 10, share, shares)


def own_pooling(*_: int) -> Lap:
    return folds_of(workloads.musk1(repeats=1), 10, architecture=OWN)


def mnist(*_: int) -> Lap:
    work = workloads.mnist()
    bags = bags_of(work)
    plan = Plan(ON_DIGITS, TWO, order_seed=0, scaling="pixels", chunk=1024)
    epochs = 2
    one = [Member(0, np.arange(len(bags)), Settings("adam", 5e-4, epochs, l2=5e-5))]

    def lap() -> float:
        train(plan, bags, work.labels, one)
        return epochs * len(work.instances)

    return lap


def encoder(*_: int) -> Lap:
    return encoding(LeNet5((28, 28)))


def slides(*_: int) -> Lap:
    work = workloads.slides()
    work.folds = [np.arange(len(work.labels))]
    return folds_of(work, 2, scaling="none")


def slide_folds(*_: int) -> Lap:
    """All folds in one training, over all cores, as `cross_validate` runs them."""
    work = workloads.slides()
    plan, bags = Plan(ATTENTION, TWO, order_seed=0, scaling="none"), bags_of(work)

    def lap() -> float:
        train(plan, bags, work.labels, members(work.folds, 1), n_jobs=-1)
        return 1

    return lap


def slide_folds_one_by_one(*_: int) -> Lap:
    """Each fold as a fit of its own on a set of its training bags."""
    work = workloads.slides()
    plan, bags = Plan(ATTENTION, TWO, order_seed=0, scaling="none"), bags_of(work)

    def lap() -> float:
        for member in members(work.folds, 1):
            alone = Member(member.seed, np.arange(len(member.train)), member.settings)
            train(plan, bags[member.train], work.labels[member.train], [alone])
        return 1

    return lap


def validating(model: BagEstimator, work: Workload) -> Lap:
    """Cross-validate a method."""
    bags = bags_of(work)
    everything = np.arange(len(bags))
    folds = [(train, np.setdiff1d(everything, train)) for train in work.folds]

    def lap() -> float:
        bw.cross_validate(model, bags, folds=folds, n_jobs=1)
        return 1

    return lap


def elephant(*_: int) -> Lap:
    return validating(bw.make("MI-Kernel", random_state=0), workloads.classical("elephant", 1))


def fitting(name: str) -> Callable[..., Lap]:
    """Fit a method for an epoch, as a user would."""

    def prepared(*_: int) -> Lap:
        bags = bags_of(workloads.generated(100, 2000, 512))
        model = bw.make(name, epochs=1, random_state=0)

        def lap() -> float:
            model.fit(bags)
            return 1

        return lap

    return prepared


if __name__ == "__main__":
    run(
        {
            **{f"fit-{name}": fitting(name) for name in workloads.METHODS_THAT_COST},
            "musk1": musk1,
            "own-pooling": own_pooling,
            "mnist": mnist,
            "encoder": encoder,
            "slides": slides,
            "slide-folds": slide_folds,
            "elephant": elephant,
            "slide-folds-one-by-one": slide_folds_one_by_one,
        }
    )
