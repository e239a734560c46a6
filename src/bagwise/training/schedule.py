"""In which order bags come, how they are put together into steps, and how the learning rate goes with these."""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from bagwise.training.randomness import hashed

__all__ = ["batches", "epoch_order", "rate_factor"]


def epoch_order(order_seed: int, epoch: int, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Give the order of an epoch: bags sorted by a hash of seed, epoch and key.

    A part of the bags comes in the same order as it does among all of them, so a member meets its bags in one order
    whatever other bags there are.

    Parameters
    ----------
    order_seed
        Of the training.
    epoch
        From 0.
    keys
        Of the bags, shape (B,).

    Returns
    -------
    array
        Positions, shape (B,).

    Examples
    --------
    >>> keys = np.arange(6, dtype=np.uint64)
    >>> everything, half = epoch_order(0, 0, keys), epoch_order(0, 0, keys[:3])
    >>> [bag for bag in everything if bag < 3] == half.tolist()
    True
    """
    return np.argsort(hashed(order_seed, epoch, keys), kind="stable")


def batches(
    bags: NDArray[np.int64], sizes: NDArray[np.int64], instance_budget: int | None, bags_per_step: int | None = None
) -> Iterator[NDArray[np.int64]]:
    """Cut a sequence of bags into steps.

    Parameters
    ----------
    bags
        Positions, in the order they come.
    sizes
        Number of instances of every bag, by position.
    instance_budget
        Bags share a step while they hold at most this many instances together; a bag above it makes a step of its own.
    bags_per_step
        Bags share a step while they are at most this many; the last step of an epoch may have fewer. With a budget both
        hold; with neither each bag makes a step.

    Yields
    ------
    array
        Positions of one step's bags.

    Examples
    --------
    >>> [batch.tolist() for batch in batches(np.array([2, 0, 1]), np.array([3, 4, 2]), instance_budget=5)]
    [[2, 0], [1]]
    """
    most = bags_per_step or (1 if instance_budget is None else len(bags))
    budget = math.inf if instance_budget is None else instance_budget
    begin, held = 0, 0
    for end, bag in enumerate(bags):
        if end > begin and (held + sizes[bag] > budget or end - begin == most):
            yield bags[begin:end]
            begin, held = end, 0
        held += sizes[bag]
    if len(bags):
        yield bags[begin:]


def rate_factor(step: int, total: int, scheduler: str, warmup: float) -> float:
    """Give what a step's learning rate is multiplied with.

    Over the first W = round(warmup * total) steps it rises in a straight line, (t + 1) / (W + 1) at step t; from there
    on it is 1, or falls along half a cosine (Loshchilov & Hutter 2017, equation 5, without restarts).

    Parameters
    ----------
    step
        From 0.
    total
        Number of steps in the whole training.
    scheduler
        ``"constant"`` or ``"cosine"``.
    warmup
        Share of the steps.

    Returns
    -------
    float
        From 0 to 1.

    Examples
    --------
    >>> [round(rate_factor(step, 6, "cosine", warmup=0.3), 3) for step in range(6)]
    [0.333, 0.667, 1.0, 0.854, 0.5, 0.146]
    """
    rising = round(warmup * total)
    if step < rising:
        return (step + 1) / (rising + 1)
    if scheduler == "cosine":
        return (1 + math.cos(math.pi * (step - rising) / max(total - rising, 1))) / 2
    return 1.0
