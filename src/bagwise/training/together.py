"""The joint executor: on one device all members learn from a bag in one step."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bagwise.bags import Bags
from bagwise.models.scaling import Moments
from bagwise.segments import rows_to_spare
from bagwise.training.card import Card
from bagwise.training.data import PackedTensors
from bagwise.training.descent import NUMBERS, Descent, numbers_of
from bagwise.training.joined import Joined, Rescaling
from bagwise.training.looped import Looped
from bagwise.training.masks import joint_masks
from bagwise.training.members import Member, Plan
from bagwise.training.randomness import hashed
from bagwise.training.schedule import epoch_order

__all__ = ["Together", "shared_sizes"]

# Bags whose sizes differ by less than this factor take one captured step.
_APART = 1.25
# A step of all members encodes at once so many times the instances that one member's step does.
_CHUNKS = 64
# Instances times members of a step above which computing takes longer than asking for it.
_LARGE = 1 << 19
# The most instances times members of a block.
_ROWS = 1 << 23


class Together(Looped):
    """Trains a block of members a bag at a time: a step is one bag, for all members that learn from it.

    A member sits out the bags that it holds out, untouched. In double precision it ends where `Looped` ends, to nine
    digits, where `Looped` drops the same units (`bagwise.training.masks`); the last bits depend on the company. The
    same members on the same device give the same bits.

    Parameters
    ----------
    plan, packed, members, moments
        As in `Looped`; the plan has one bag a step, and `bagwise.training.joined.refusal` has nothing against its
        models.
    capture
        Whether to capture steps in CUDA graphs, which on a CPU only pads bags to shared sizes; None: on CUDA.

    Examples
    --------
    >>> from bagwise.bags import Bags
    >>> from bagwise.models.architecture import Architecture
    >>> from bagwise.targets.classes import ClassTarget
    >>> from bagwise.training.members import Settings
    >>> packed = PackedTensors(Bags.from_arrays([[[1.0], [2.0]], [[3.0]]]), np.array([0, 1]))
    >>> plan = Plan(Architecture("embedding", "max", "mi-net"), ClassTarget.of([0, 1]), order_seed=0, scaling="none")
    >>> members = [Member(seed, np.arange(2), Settings("adam", 1e-3, epochs=1)) for seed in range(3)]
    >>> Together(plan, packed, members).run_epoch(0, [0, 1, 2]).shape
    (3,)
    """

    block_size = 1024

    @classmethod
    def members_at_once(cls, bags: Bags) -> int:
        """Say how many members make a block: fewer of large bags, whose embeddings by all members must fit."""
        return max(8, min(cls.block_size, _ROWS // int(bags.sizes.max())))

    def __init__(
        self,
        plan: Plan,
        packed: PackedTensors,
        members: Sequence[Member],
        moments: Moments | None = None,
        *,
        capture: bool | None = None,
    ) -> None:
        super().__init__(plan, packed, members, moments)
        met = np.unique(np.concatenate([part for member in members for part in (member.train, member.validation)]))
        scale = None if moments is None else moments.standardisation(met)
        self.joined = Joined(self.models, self._rescaling(moments, met, scale), plan.precision)
        halved = plan.precision == "mixed" and self.joined.shares_inputs
        self._card = Card(packed, met, self.device, torch.bfloat16 if halved else plan.dtype, scale)
        self._descent = Descent(self.joined.learnt, [member.settings for member in members])
        for place, optimizer in enumerate(self.optimizers):
            for slot, tensors in optimizer.slots.items():
                kept = self._descent.slots[self._descent.slot(str(members[place].settings.optimizer), slot)]
                optimizer.slots[slot] = {name: kept[name][place] for name in tensors}
        self._learns = np.zeros((len(members), len(packed.sizes)), dtype=bool)
        for number, member in enumerate(members):
            self._learns[number, member.train] = True
        every = np.arange(len(packed.sizes))
        ones = torch.ones(len(every), 1, dtype=plan.dtype, device=self.device)
        weights = [self.weights(number, every) for number in range(len(members))]
        # Of each bag, for each member: what it weighs, and what is wanted.
        self._told = torch.stack(
            [
                torch.cat([ones if own is None else own[:, None], wanted], dim=1)
                for own, wanted in zip(weights, self.wanted, strict=True)
            ],
            dim=1,
        )
        rates = [member.settings.dropout for member in members]
        self._rates = torch.tensor(rates, dtype=torch.float64, device=self.device) if any(rates) else None
        self._seeds = torch.zeros(len(members), dtype=torch.int64, device=self.device)
        self._lost = torch.zeros(len(members), dtype=torch.float64, device=self.device)
        self._finite = np.ones(len(members), dtype=bool)
        self._draws = any(isinstance(part, torch.nn.modules.dropout._DropoutNd) for part in self.models[0].modules())
        learnt_from = np.flatnonzero(self._learns.any(axis=0))
        small = learnt_from[packed.sizes[learnt_from] * len(members) <= _LARGE]
        wanted = self.device.type == "cuda" if capture is None else capture
        # A part of the user's own may wait for the device, or look at rows beyond the bag.
        known = not plan.architecture.own and not self._draws
        self._padded = shared_sizes(packed.sizes[small]) if wanted and known else {}
        self._steps_of: dict[int, _Step] = {}
        self._pool: Any = None

    def _rescaling(
        self, moments: Moments | None, met: NDArray[np.int64], scale: tuple[NDArray[np.float64], ...] | None
    ) -> Rescaling | None:
        """Say what each member does to instances that were brought to the common scale."""
        limit = np.inf if self.plan.clip is None else self.plan.clip
        if moments is None or scale is None:
            ones, nothing = np.ones((2, len(self.members), 1))
            return None if np.isinf(limit) else (ones, nothing - 1, limit)
        shift, factor = scale
        own = [(model.scaler.shift.cpu().numpy(), model.scaler.factor.cpu().double().numpy()) for model in self.models]
        factors = np.stack([mine / factor for _, mine in own])
        shifts = np.stack([(at - shift) * mine for at, mine in own])
        extremes = np.stack(moments.range(met))[:, None] - shift
        farthest = np.abs(extremes * np.stack([mine for _, mine in own]) - shifts)
        return factors, shifts, np.inf if farthest.max() <= limit else limit

    def run_epoch(self, epoch: int, active: Sequence[int]) -> NDArray[np.float64]:
        """Let some members see each of their training bags once, as `Looped.run_epoch` does."""
        order = epoch_order(self.plan.order_seed, epoch, self.packed.keys)
        learns = np.zeros_like(self._learns)
        learns[np.array(active)] = self._learns[np.array(active)]
        order = order[learns[:, order].any(axis=0)]
        self.joined.train()
        seeds = [int(hashed(member.seed, epoch)[0] >> np.uint64(1)) for member in self.members]
        self._seeds.copy_(torch.tensor(seeds))
        self._lost.zero_()
        numbers = np.stack([numbers_of(one, learns[place, order]) for place, one in enumerate(self.optimizers)], axis=1)
        sent = self._sent(torch.from_numpy(numbers).to(self.plan.dtype))
        ends = np.stack([np.zeros(len(order), np.int64), self.packed.sizes[order], self.packed.offsets[order]], axis=1)
        places = self._sent(torch.from_numpy(ends))
        for place, (bag, instances) in enumerate(self._card.turn(order)):
            self._learn(bag, instances, places[place], torch.cat([sent[place], self._told[bag]], dim=1), epoch)
        for number in active:
            self.optimizers[number].steps += int(learns[number].sum())
        sums = [value.detach().flatten(1).sum(1) for value in self.joined.values.values()]
        finite = torch.isfinite(torch.stack(sums)).all(dim=0)
        lost, finite = torch.stack([self._lost, finite.double()]).cpu().unbind()  # the one wait of an epoch
        self._finite = finite.numpy() > 0
        return np.array([lost[number] / len(self.members[number].train) for number in active])

    def _sent(self, values: Tensor) -> Tensor:
        return values.pin_memory().to(self.device, non_blocking=True) if self.device.type == "cuda" else values

    def _learn(self, bag: int, instances: Tensor, places: Tensor, told: Tensor, epoch: int) -> None:
        rows = self._padded.get(len(instances))
        if rows is None:
            seed = int(hashed(self.plan.order_seed, epoch, self.packed.keys[bag])[0] >> np.uint64(1))
            self._descend(instances, places, told, bag, seed if self._draws else None)
            return
        if rows not in self._steps_of:
            self._steps_of[rows] = self._prepared(rows, instances, places, told, bag)
        step = self._steps_of[rows]
        step.instances[: len(instances)].copy_(instances, non_blocking=True)
        step.places.copy_(places, non_blocking=True)
        step.told.copy_(told, non_blocking=True)
        if step.coordinates is not None:
            where = self._coordinates(bag)
            assert where is not None
            step.coordinates[: len(where)].copy_(where, non_blocking=True)
        step.run()

    def _prepared(self, rows: int, instances: Tensor, places: Tensor, told: Tensor, bag: int) -> "_Step":
        """Make the step of bags of so many rows or a little less; on CUDA it is captured, and costs one call."""
        where = self._coordinates(bag)
        step = _Step(
            instances.new_zeros(rows, *instances.shape[1:]),
            torch.zeros_like(places),
            torch.zeros_like(told),
            None if where is None else where.new_zeros(rows, *where.shape[1:]),
        )
        step.places[1] = rows  # and nobody learns, so that a first run changes nothing
        spare = any(padded == rows and size < rows for size, padded in self._padded.items())

        def compute() -> None:
            if spare:
                with rows_to_spare(rows):
                    self._descend(step.instances, step.places, step.told, None, None, step.coordinates)
            else:
                self._descend(step.instances, step.places, step.told, None, None, step.coordinates)

        step.run = compute
        if self.device.type == "cuda":
            stream = torch.cuda.Stream(self.device)
            stream.wait_stream(torch.cuda.current_stream(self.device))
            with torch.cuda.stream(stream):
                for _ in range(2):
                    compute()
            torch.cuda.current_stream(self.device).wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=self._pool):
                compute()
            self._pool = self._pool or graph.pool()
            step.run = graph.replay
        return step

    def _coordinates(self, bag: int | None) -> Tensor | None:
        if bag is None or not self.models[0].wants_coordinates:
            return None
        return self.packed.coordinates(np.array([bag]), self.device, self.plan.dtype)

    def _descend(
        self,
        instances: Tensor,
        places: Tensor,
        told: Tensor,
        bag: int | None,
        seed: int | None,
        coordinates: Tensor | None = None,
    ) -> None:
        """Take the members' step: `places` are where the bag begins, ends, and begins among all instances."""
        shown = self._shown(instances)
        columns = len(NUMBERS)
        numbers, weights, wanted = told[:, :columns], told[:, columns], told[:, columns + 1 :]

        def loss(logits: Tensor) -> Tensor:
            # To a target members are so many bags.
            return self.plan.target.loss(logits.squeeze(2).transpose(0, 1), wanted) * weights

        def draw(units: int) -> Tensor:
            assert self._rates is not None
            return joint_masks(self._seeds, self._rates, places[2], len(shown), units, self.plan.dtype)

        losses, gradients = self.joined.gradient(
            shown,
            places[:2],
            loss,
            chunk=max(1, self.plan.chunk * _CHUNKS // len(self.members)),
            seed=seed,
            coordinates=self._coordinates(bag) if coordinates is None else coordinates,
            draw=None if self._rates is None else draw,
        )
        with torch.no_grad():
            self._lost += torch.where(numbers[:, 0] > 0, losses.double(), 0.0)
            self._descent.step(gradients, numbers)

    def _shown(self, instances: Tensor) -> Tensor:
        """Scale what all members scale alike."""
        if self.plan.scaling == "pixels":
            return instances.to(self.plan.dtype) * self.models[0].scaler.factor
        return instances.to(self.plan.dtype) if instances.dtype == torch.uint8 else instances

    def validate(self, numbers: Sequence[int]) -> list[tuple[float, float]]:
        """Measure some members on their validation bags, as `Looped.validate` does, in one pass for all members."""
        bags = np.unique(np.concatenate([self.members[number].validation for number in numbers]))
        place = {bag: at for at, bag in enumerate(bags.tolist())}
        self.joined.train(False)
        found = []
        for bag, instances in self._card.turn(bags):
            offsets = torch.tensor([0, len(instances)]).to(self.device, non_blocking=True)
            found.append(self.joined.logits(self._shown(instances), offsets, self._coordinates(bag)))
        logits = torch.cat(found, dim=2).cpu()
        return [
            self._measured(number, logits[number][:, [place[bag] for bag in self.members[number].validation.tolist()]])
            for number in numbers
        ]

    def is_finite(self, number: int) -> bool:
        """Say whether a member's parameters were still numbers at the end of the epoch."""
        return bool(self._finite[number])


@dataclass
class _Step:
    """What a step reads, where a captured graph expects it."""

    instances: Tensor
    places: Tensor
    told: Tensor
    coordinates: Tensor | None
    run: Callable[[], None] = lambda: None


def shared_sizes(sizes: NDArray[np.int64]) -> dict[int, int]:
    """Choose few sizes that bags are padded to, each that of a bag.

    Parameters
    ----------
    sizes
        Of the bags.

    Returns
    -------
    dict
        For each size the one that it is padded to: less than a factor of 1.25 larger.

    Examples
    --------
    >>> shared_sizes(np.array([4, 5, 5, 80, 81, 100]))
    {4: 5, 5: 5, 80: 100, 81: 100, 100: 100}
    """
    shared: dict[int, int] = {}
    largest = 0
    for size in np.unique(sizes)[::-1].tolist():
        if not largest or size * _APART < largest:
            largest = size
        shared[size] = largest
    return dict(sorted(shared.items()))
