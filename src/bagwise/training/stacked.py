"""The stacked executor: a block's fully connected members step through each page of bags, by the compiled step."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bagwise.models.model import keep_mask
from bagwise.models.scaling import Moments
from bagwise.training.cost import MOST_COMPILED
from bagwise.training.data import PackedTensors
from bagwise.training.looped import Looped
from bagwise.training.members import Member, Plan
from bagwise.training.schedule import epoch_order
from bagwise.training.stack import Stack

__all__ = ["Stacked"]

# As many instances as a member steps through before the next one does.
_PAGE = 1024


class Stacked(Looped):
    """Trains a block of members a page of bags at a time: the page is read once, and each member steps through it.

    A member sits out the bags that it holds out, untouched. It ends where `Looped` ends, but for rounding.

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
    >>> from bagwise.targets.classes import ClassTarget
    >>> plan = Plan(Architecture("embedding", "max", "mi-net"), ClassTarget.of([0, 1]), order_seed=0, scaling="none")
    >>> members = [Member(seed, np.arange(2), Settings("adam", 1e-3, epochs=1)) for seed in range(3)]
    >>> Stacked(plan, packed, members).run_epoch(0, [0, 1, 2]).shape
    (3,)
    """

    # Enough that reading the bags costs little, few enough that the blocks spread evenly over the workers.
    block_size = 8

    def __init__(
        self, plan: Plan, packed: PackedTensors, members: Sequence[Member], moments: Moments | None = None
    ) -> None:
        super().__init__(plan, packed, members, moments)
        self._stack = Stack(self.models, self.optimizers, plan.target)
        self._learns = np.zeros((len(members), len(packed.sizes)), dtype=bool)
        for number, member in enumerate(members):
            self._learns[number, member.train] = True

    def run_epoch(self, epoch: int, active: Sequence[int]) -> NDArray[np.float64]:
        """Let some members see each of their training bags once, as `Looped.run_epoch` does."""
        seeds = {number: self.begin_epoch(number, epoch) for number in active}
        losses = dict.fromkeys(active, 0.0)
        small: dict[int, list[NDArray[np.int64]]] = {number: [] for number in active}
        logits: dict[int, list[Tensor]] = {number: [] for number in active}
        pages = self._pages(epoch_order(self.plan.order_seed, epoch, self.packed.keys), active)
        for page, members in self.packed.turn([(page, active) for page in pages]):
            for number in members:
                own = page[self._learns[number, page]]
                if len(own) and (self.optimizers[number].rule is None or self.packed.sizes[own[0]] > MOST_COMPILED):
                    for bag in own:
                        losses[number] += float(self.step(number, np.atleast_1d(bag), int(seeds[number][bag])))
                elif len(own):
                    small[number].append(own)
                    logits[number].append(self._learn(number, own))
        for number in active:
            if small[number]:
                # All at once: of parts, cut where the company has it, the last bits would depend on the company.
                losses[number] += self._loss(number, torch.cat(logits[number], dim=1), np.concatenate(small[number]))
        return np.array([losses[number] / len(self.members[number].train) for number in active])

    def _pages(self, order: NDArray[np.int64], active: Sequence[int]) -> Iterator[NDArray[np.int64]]:
        """Cut an epoch's bags, as far as anybody learns from them, into runs of small ones and single large ones."""
        order = order[self._learns[np.array(active)][:, order].any(axis=0)]
        begin, held = 0, 0
        for place, size in enumerate(self.packed.sizes[order].tolist()):
            held += size
            if place > begin and (held > _PAGE or size > MOST_COMPILED):
                yield order[begin:place]
                begin, held = place, size
            if size > MOST_COMPILED:
                yield order[begin : place + 1]
                begin, held = place + 1, 0
        if begin < len(order):
            yield order[begin:]

    def _learn(self, number: int, bags: NDArray[np.int64]) -> Tensor:
        """Let a member learn from small bags, and give its logits before each, shape (H, B, C)."""
        model, rate = self.models[number], self.members[number].settings.dropout
        instances, offsets = self.packed.batch(bags, self.device)
        shape = len(instances), self._stack.embedding_width
        scales = keep_mask(shape, rate, model.dropout.generator, self.plan.dtype) if rate else None
        given = self.weights(number, bags)
        weights = torch.ones(len(bags), dtype=self.plan.dtype) if given is None else given
        shown, told = model.show(instances, offsets)
        return self._stack.learn(
            number,
            shown,
            offsets.numpy(),
            self.wanted[number][bags].numpy(),
            weights.numpy(),
            scales,
            told,
        )

    def _loss(self, number: int, logits: Tensor, bags: NDArray[np.int64]) -> float:
        losses, weights = self.plan.target.loss(logits, self.wanted[number][bags]), self.weights(number, bags)
        return float((losses if weights is None else losses * weights).double().sum())
