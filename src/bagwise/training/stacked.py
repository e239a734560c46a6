"""The stacked executor: a block's fully connected members step together, several times faster than one by one."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from bagwise.models.model import keep_mask
from bagwise.models.scaling import Moments
from bagwise.training.data import PackedTensors
from bagwise.training.device import seed_dropout
from bagwise.training.looped import Looped
from bagwise.training.members import Member, Plan
from bagwise.training.schedule import epoch_order
from bagwise.training.stack import Stack

__all__ = ["Stacked"]

# Above it a member's arithmetic fills the processor by itself, and stacking only costs memory.
_MOST_INSTANCES = 256


class Stacked(Looped):
    """Trains a block of members a bag at a time: the bag is read once, and all members compute on it together.

    A member that holds the bag out sits the step out, untouched. It ends where `Looped` ends, but for rounding.

    Parameters
    ----------
    plan, packed, members, moments
        As in `Looped`; the plan has one bag a step, and its models can be stacked.

    Examples
    --------
    >>> from bagwise.bags import Bags
    >>> from bagwise.models.architecture import Architecture
    >>> from bagwise.training.members import Settings
    >>> packed = PackedTensors(Bags.from_arrays([[[1.0], [2.0]], [[3.0]]]), np.array([0, 1]))
    >>> plan = Plan(Architecture("embedding", "max", "mi-net"), outputs=1, order_seed=0, scaling="none")
    >>> members = [Member(seed, np.arange(2), Settings("adam", 1e-3, epochs=1)) for seed in range(3)]
    >>> Stacked(plan, packed, members).run_epoch(0, [0, 1, 2]).shape
    (3,)
    """

    # As few operations as possible for many members, whose parameters still stay in the cache together.
    block_size = 16

    def __init__(
        self, plan: Plan, packed: PackedTensors, members: Sequence[Member], moments: Moments | None = None
    ) -> None:
        super().__init__(plan, packed, members, moments)
        self._stacked: list[int] = []

    def run_epoch(self, epoch: int, active: Sequence[int]) -> NDArray[np.float64]:
        """Let some members see each of their training bags once, as `Looped.run_epoch` does."""
        if list(active) != self._stacked:
            self._restack(list(active))
        for number in active:
            self.models[number].train()
        seeds = np.array([self.dropout_seeds(number, epoch) for number in active])
        totals = np.zeros(len(active))
        for bag in epoch_order(self.plan.order_seed, epoch, self.packed.keys).tolist():
            learning = np.flatnonzero(self._learns[:, bag])
            if len(learning) == 0:
                continue
            if self.packed.sizes[bag] > _MOST_INSTANCES:
                for place in learning.tolist():
                    totals[place] += float(self.step(active[place], np.array([bag]), int(seeds[place, bag])))
                continue
            totals[learning] += self._step(bag, learning, seeds[:, bag])[learning]
        losses: NDArray[np.float64] = totals / self._learns.sum(axis=1)
        return losses

    def _restack(self, active: list[int]) -> None:
        """Stack the members that go on; those that are done cost nothing from here."""
        self._stacked = active
        self._stack = Stack([self.models[number] for number in active])
        self._learns = np.zeros((len(active), len(self.packed.sizes)), dtype=bool)
        for place, number in enumerate(active):
            self._learns[place, self.members[number].train] = True
            self.optimizers[number].refresh()
        rates = [self.members[number].settings.dropout for number in active]
        self._rates = rates if any(rates) else []
        self._kept = torch.tensor([1 / (1 - rate) for rate in rates], dtype=self.plan.dtype, device=self.device)

    def _step(self, bag: int, learning: NDArray[np.int64], seeds: NDArray[np.uint64]) -> NDArray[np.float64]:
        instances, _, target = self.packed.batch(np.array([bag]), self.device)
        scale = None
        if self._rates:
            shape = (len(self._stacked), len(instances), self._stack.embedding_width)
            scale = torch.zeros(shape, dtype=self.plan.dtype, device=self.device)
            for place in learning.tolist():
                seed_dropout(int(seeds[place]), self.device)
                keep_mask(scale[place], self._rates[place])
            scale *= self._kept.view(-1, 1, 1)
        losses = self._stack.gradient(instances, target[0], scale)
        for place in learning.tolist():
            self.optimizers[self._stacked[place]].step()
        found: NDArray[np.float64] = losses.double().cpu().numpy()
        return found
