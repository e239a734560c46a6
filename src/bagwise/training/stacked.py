"""The stacked executor: a block's fully connected members step together, several times faster than one by one."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bagwise.models.likelihood import negative_log_likelihood
from bagwise.models.model import keep_mask
from bagwise.models.scaling import Moments
from bagwise.training.data import PackedTensors
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
    block_size = 8

    def __init__(
        self, plan: Plan, packed: PackedTensors, members: Sequence[Member], moments: Moments | None = None
    ) -> None:
        super().__init__(plan, packed, members, moments)
        self._bags = [instances.to(self.device) for instances in packed.instances.split(packed.sizes.tolist())]
        self._stacked: list[int] = []

    def run_epoch(self, epoch: int, active: Sequence[int]) -> NDArray[np.float64]:
        """Let some members see each of their training bags once, as `Looped.run_epoch` does."""
        if list(active) != self._stacked:
            self._restack(list(active))
        seeds = [self.begin_epoch(number, epoch) for number in active]
        losses = np.zeros((len(active), len(self._bags)))
        seen: list[int] = []
        logits: list[Tensor] = []
        for page in self._pages(epoch_order(self.plan.order_seed, epoch, self.packed.keys)):
            if self.packed.sizes[page[0]] > _MOST_INSTANCES:
                for place in self._learners[page[0]]:
                    step_seed = int(seeds[place][page[0]])
                    losses[place, page[0]] = float(self.step(active[place], np.array(page), step_seed))
                continue
            for bag, scale in zip(page, self._scales(page), strict=True):
                logits.append(self._stack.gradient(self._bags[bag], self._targets[bag], scale))
                for place in self._learners[bag]:
                    self.optimizers[active[place]].step()
            seen += page
        if seen:
            losses[:, seen] = self._losses(torch.stack(logits, dim=2), seen)
        means: NDArray[np.float64] = np.where(self._learns, losses, 0.0).sum(axis=1) / self._learns.sum(axis=1)
        return means

    def _restack(self, active: list[int]) -> None:
        """Stack the members that go on; those that are done cost nothing from here."""
        self._stacked = active
        self._stack = Stack([self.models[number] for number in active])
        self._learns = np.zeros((len(active), len(self._bags)), dtype=bool)
        for place, number in enumerate(active):
            self._learns[place, self.members[number].train] = True
            self.optimizers[number].refresh()
        self._learners = [np.flatnonzero(column).tolist() for column in self._learns.T]
        self._targets: list[int] = self.packed.targets.tolist()

    def _pages(self, order: NDArray[np.int64]) -> Iterator[list[int]]:
        """Cut an epoch's bags, as far as anybody learns from them, into runs of small ones and single large ones."""
        page: list[int] = []
        held = 0
        for bag in order.tolist():
            size = int(self.packed.sizes[bag])
            if page and (held + size > _MOST_INSTANCES):
                yield page
                page, held = [], 0
            if self._learners[bag]:
                page.append(bag)
                held += size
        if page:
            yield page

    def _scales(self, page: list[int]) -> Sequence[Tensor | None]:
        """Draw what each member's units are multiplied with, for the bags of a page."""
        rates = [self.members[number].settings.dropout for number in self._stacked]
        if not any(rates):
            return [None] * len(page)
        sizes = self.packed.sizes[page]
        width = self._stack.embedding_width
        scales = torch.zeros(len(rates), int(sizes.sum()), width, dtype=self.plan.dtype)
        for place, (number, rate) in enumerate(zip(self._stacked, rates, strict=True)):
            own = torch.from_numpy(np.repeat(self._learns[place, page], sizes))
            if rate == 0:
                scales[place] = 1
            elif own.any():
                shape = (int(own.sum()), width)
                scales[place, own] = keep_mask(shape, rate, self.models[number].dropout.generator, self.plan.dtype)
        return list(scales.to(self.device).split(sizes.tolist(), dim=1))

    def _losses(self, logits: Tensor, bags: list[int]) -> NDArray[np.float64]:
        """Compute all losses of an epoch at once, from logits of shape (H, E, number of bags, C)."""
        heads, members, count, classes = logits.shape
        targets = torch.tensor([self._targets[bag] for bag in bags], device=self.device).repeat(members)
        losses = negative_log_likelihood(logits.reshape(heads, members * count, classes), targets)
        found: NDArray[np.float64] = losses.view(members, count).double().cpu().numpy()
        return found
