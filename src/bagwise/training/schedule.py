"""In which order bags come, and how they are put together into steps."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from bagwise.training.randomness import hashed

__all__ = ["batches", "epoch_order"]


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
    bags: NDArray[np.int64], sizes: NDArray[np.int64], instance_budget: int | None
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
        None: one bag a step.

    Yields
    ------
    array
        Positions of one step's bags.

    Examples
    --------
    >>> [batch.tolist() for batch in batches(np.array([2, 0, 1]), np.array([3, 4, 2]), instance_budget=5)]
    [[2, 0], [1]]
    """
    budget = 0 if instance_budget is None else instance_budget
    begin, held = 0, 0
    for end, bag in enumerate(bags):
        if end > begin and held + sizes[bag] > budget:
            yield bags[begin:end]
            begin, held = end, 0
        held += sizes[bag]
    if len(bags):
        yield bags[begin:]
