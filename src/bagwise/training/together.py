"""The joint executor: on one device all members learn from a bag in one step."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bagwise.bags import Bags
from bagwise.models.scaling import LINEAR, Moments
from bagwise.segments import rows_to_spare
from bagwise.training.card import Card
from bagwise.training.data import PackedTensors
from bagwise.training.descent import NUMBERS, Descent, Gathered, InTurn, numbers_of
from bagwise.training.device import autocast, sent
from bagwise.training.epoch_steps import EpochSteps
from bagwise.training.joined import Joined, Rescaling
from bagwise.training.looped import Looped
from bagwise.training.masks import joint_masks
from bagwise.training.members import Member, Plan
from bagwise.training.own_losses import OwnLosses
from bagwise.training.padding import shared_sizes
from bagwise.training.randomness import hashed
from bagwise.training.schedule import batches, epoch_order
from bagwise.training.shown import augmented, sampled_rows

__all__ = ["Together"]

# A step of all members encodes at once so many times the instances that one member's step does.
_CHUNKS = 64
# Instances times members of a step above which computing takes longer than asking for it.
_LARGE = 1 << 19
# The most instances times members of a block.
_ROWS = 1 << 23
# The most bags that are measured at once, and instances of them: a table of both is below what sums them in order.
_BAGS_AT_ONCE, _ROWS_AT_ONCE = 1 << 8, 1 << 16


@dataclass
class _Step:
    """What a step reads, where a captured graph expects it."""

    instances: Tensor
    places: Tensor
    told: Tensor
    coordinates: Tensor | None
    run: Callable[[], None] = lambda: None


class Together(Looped):
    """Trains a block of members a bag at a time: one bag, for all members that learn from it.

    Where several bags make a step, gradients add up over them; a member sits out the bags that it holds out, untouched.
    In double precision it ends where `Looped` ends, to nine digits, where `Looped` drops the same units
    (`bagwise.training.masks`); the last bits depend on the company. The same members on the same device give the same
    bits.

    Parameters
    ----------
    plan, packed, members, moments
        As in `Looped`; `bagwise.training.choice.hindrance` has nothing against them.
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
        own = self._own_loss(0) is not None
        self._own = OwnLosses(self.joined.side_by_side, plan.target, plan.loss, plan.dtype) if own else None
        self._in_turn = self._descent = None
        if any(callable(member.settings.optimizer) for member in members):
            self._in_turn = InTurn(self.models, self.optimizers)
        else:
            self._descent = self._stacked_descent()
        several = plan.instance_budget is not None or plan.bags_per_step not in (None, 1)
        self._gathered = Gathered(self.joined.learnt) if several else None
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
        foreign = plan.architecture.own or own or self._in_turn is not None
        known = not foreign and not self._draws and not self._shows_apart
        self._padded = shared_sizes(packed.sizes[small]) if wanted and known else {}
        self._chunk = max(1, plan.chunk * _CHUNKS // len(members))
        self._steps_of: dict[int, _Step] = {}
        self._pool: Any = None

    @property
    def _shows_apart(self) -> bool:
        """Whether members are shown other instances of a bag."""
        return self.plan.sample is not None or self.plan.augmentation is not None

    def _stacked_descent(self) -> Descent:
        descent = Descent(self.joined.learnt, [member.settings for member in self.members])
        for place, optimizer in enumerate(self.optimizers):
            for slot, tensors in optimizer.slots.items():
                kept = descent.slots[descent.slot(str(self.members[place].settings.optimizer), slot)]
                optimizer.slots[slot] = {name: kept[name][place] for name in tensors}
        return descent

    def _rescaling(
        self, moments: Moments | None, met: NDArray[np.int64], scale: tuple[NDArray[np.float64], ...] | None
    ) -> Rescaling | None:
        """Say what each member does to instances that were brought to the common scale."""
        limit = np.inf if self.plan.clip is None else self.plan.clip
        if moments is None or scale is None:
            ones, nothing = np.ones((2, len(self.members), 1))
            return None if np.isinf(limit) else (ones, nothing - 1, limit, False)
        shift, factor = scale
        own = [(model.scaler.shift.cpu().numpy(), model.scaler.factor.cpu().double().numpy()) for model in self.models]
        factors = np.stack([mine / factor for _, mine in own])
        shifts = np.stack([(at - shift) * mine for at, mine in own])
        extremes = np.stack(moments.range(met))[:, None] - shift
        farthest = np.abs(extremes * np.stack([mine for _, mine in own]) - shifts).max()
        return factors, shifts, np.inf if farthest <= limit else limit, self.plan.squashes and farthest > LINEAR

    def run_epoch(self, epoch: int, active: Sequence[int]) -> NDArray[np.float64]:
        """Let some members see each of their training bags once, as `Looped.run_epoch` does."""
        order = epoch_order(self.plan.order_seed, epoch, self.packed.keys)
        learns = np.zeros_like(self._learns)
        learns[np.array(active)] = self._learns[np.array(active)]
        order = order[learns[:, order].any(axis=0)]
        self.joined.train()
        seeds = [int(hashed(member.seed, epoch)[0] >> np.uint64(1)) for member in self.members]
        self._seeds.copy_(self._sent(torch.tensor(seeds)))
        self._lost.zero_()
        steps = EpochSteps.of(order, learns[:, order], None if self._gathered is None else self._batches)
        numbers = self._sent(torch.from_numpy(self._numbers(steps)).to(self.plan.dtype))
        sizes = np.minimum(self.packed.sizes[order], self.plan.sample or np.iinfo(np.int64).max)
        ends = np.stack([np.zeros(len(order), np.int64), sizes, self.packed.offsets[order]], axis=1)
        places = self._sent(torch.from_numpy(ends))
        for place, (bag, instances) in enumerate(self._card.turn(order)):
            told = torch.cat([numbers[place], self._told[bag]], dim=1)
            if self._shows_apart or self._in_turn is not None:
                own = self._drawn(bag, instances, steps.begins[:, place], epoch)
                seed = self._bag_seed(epoch, bag)
                self._descend(*own, places[place], told, seed, steps.ends[:, place])
            else:
                self._learn(bag, instances, places[place], told, epoch)
        if self._in_turn is None:
            for number in active:
                self.optimizers[number].steps += int(steps.ends[number].sum())
        sums = [value.detach().flatten(1).sum(1) for value in self.joined.values.values()]
        finite = torch.isfinite(torch.stack(sums)).all(dim=0)
        lost, finite = torch.stack([self._lost, finite.double()]).cpu().numpy()  # the one wait of an epoch
        self._finite = finite > 0
        return np.array([lost[number] / len(self.members[number].train) for number in active])

    def _numbers(self, steps: EpochSteps) -> NDArray[np.float64]:
        """Give what each member's updates need to know after each bag, and the bag's share in its step."""
        numbers = np.zeros((steps.ends.shape[1], len(self.members), len(NUMBERS) + 1))
        numbers[:, :, 0], numbers[:, :, -1] = steps.ends.T, steps.shares.T
        for number, optimizer in enumerate(self.optimizers):
            if self._in_turn is None:
                numbers[:, number, :-1] = numbers_of(optimizer, steps.ends[number])
        return numbers

    def _bag_seed(self, epoch: int, bag: int) -> int | None:
        """Give the seed of what encoders draw; None: they draw nothing."""
        return (
            int(hashed(self.plan.order_seed, epoch, self.packed.keys[bag])[0] >> np.uint64(1)) if self._draws else None
        )

    def _drawn(
        self, bag: int, instances: Tensor, begins: NDArray[np.int64], epoch: int
    ) -> tuple[Tensor, Tensor | None, bool]:
        """Draw what each member is shown of a bag, as `Looped` does: instances, coordinates, and whether each its own.

        `begins` has for each member the first bag of the step that the bag is in.
        """
        plan, where = self.plan, self._coordinates([bag])
        sampled = plan.sample is not None and plan.sample < len(instances)
        if not sampled and plan.augmentation is None:
            return instances, where, False
        own = zip(self.members, self.packed.keys[begins], strict=True)
        seeds = [int(hashed(member.seed, epoch, key)[0] >> np.uint64(1)) for member, key in own]
        if sampled:
            assert plan.sample is not None
            key = self.packed.keys[[bag]]
            drawn = [sampled_rows([len(instances)], plan.sample, seed, key)[0] for seed in seeds]
            rows = self._sent(torch.stack(drawn))
            instances, where = instances[rows], None if where is None else where[rows]
        else:
            instances = instances.expand(len(seeds), *instances.shape)
        if plan.augmentation is not None:
            crop = plan.architecture.crop
            changed = zip(instances, seeds, strict=True)
            parts = [augmented(part, plan.augmentation, seed, crop) for part, seed in changed]
            instances = torch.stack(parts).to(plan.dtype)
        return instances, where, True

    def _sent(self, values: Tensor) -> Tensor:
        return sent(values, self.device)

    def _learn(self, bag: int, instances: Tensor, places: Tensor, told: Tensor, epoch: int) -> None:
        rows = self._padded.get(len(instances))
        if rows is None:
            self._descend(instances, self._coordinates([bag]), False, places, told, self._bag_seed(epoch, bag))
            return
        if rows not in self._steps_of:
            self._steps_of[rows] = self._prepared(rows, instances, places, told, bag)
        step = self._steps_of[rows]
        step.instances[: len(instances)].copy_(instances, non_blocking=True)
        step.places.copy_(places, non_blocking=True)
        step.told.copy_(told, non_blocking=True)
        if step.coordinates is not None:
            where = self._coordinates([bag])
            assert where is not None
            step.coordinates[: len(where)].copy_(where, non_blocking=True)
        step.run()

    def _prepared(self, rows: int, instances: Tensor, places: Tensor, told: Tensor, bag: int) -> _Step:
        """Make the step of bags of so many rows or a little less; on CUDA it is captured, and costs one call."""
        where = self._coordinates([bag])
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
                    self._descend(step.instances, step.coordinates, False, step.places, step.told)
            else:
                self._descend(step.instances, step.coordinates, False, step.places, step.told)

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

    def _coordinates(self, bags: Sequence[int] | NDArray[np.int64]) -> Tensor | None:
        return self.packed.where(self.models[0], np.array(bags), self.device)

    def _descend(
        self,
        instances: Tensor,
        coordinates: Tensor | None,
        apart: bool,
        places: Tensor,
        told: Tensor,
        seed: int | None = None,
        ends: NDArray[np.bool_] | None = None,
    ) -> None:
        """Let the members learn from a bag: `places` are where it begins, ends, and begins among all instances.

        `ends` says whose step is complete with the bag, where the optimisers need to be told on the host.
        """
        shown = self._shown(instances)
        columns = len(NUMBERS)
        numbers, shares, asked = told[:, :columns], told[:, columns], told[:, columns + 1 :]

        def lost(embeddings: Tensor) -> Tensor:
            scales = None
            if self._rates is not None:
                rows, units = shown.shape[int(apart)], embeddings[0, 0].numel()
                drawn = joint_masks(self._seeds, self._rates, places[2], rows, units, self.plan.dtype)
                scales = drawn.view(embeddings.shape)
            given = embeddings, places[:2], coordinates, scales
            if self._own is not None:
                return self._own.mean(given, asked)
            # To a target members are so many bags.
            logits = self.joined.aggregate(*given).squeeze(2).transpose(0, 1)
            return self.plan.target.loss(logits, asked[:, 1:]) * asked[:, 0]

        losses, gradients = self.joined.gradient(
            shown,
            lost,
            chunk=self._chunk,
            shares=shares,
            apart=apart,
            seed=seed,
        )
        with torch.no_grad():
            learns, complete = shares > 0, numbers[:, 0] > 0
            self._lost += torch.where(learns, losses.double(), 0.0)
            if self._gathered is not None:
                self._gathered.add(gradients, learns)
                gradients = self._gathered.sums
            if self._descent is not None:
                self._descent.step(gradients, numbers)
            elif self._in_turn is not None and ends is not None:
                self._in_turn.step(gradients, ends)
            if self._gathered is not None:
                self._gathered.forget(complete)

    def _shown(self, instances: Tensor) -> Tensor:
        """Scale what all members scale alike."""
        if self.plan.scaling == "pixels":
            return instances.to(self.plan.dtype) * self.models[0].scaler.factor
        return instances.to(self.plan.dtype) if instances.dtype == torch.uint8 else instances

    def validate(self, numbers: Sequence[int]) -> list[tuple[float, float]]:
        """Measure some members on their validation bags, as `Looped.validate` does, several bags at once."""
        bags = np.unique(np.concatenate([self.members[number].validation for number in numbers]))
        place = {bag: at for at, bag in enumerate(bags.tolist())}
        self.joined.train(False)
        found, lost = [], []
        bags_at_once = _BAGS_AT_ONCE if self._own is None else 1  # as in training
        turn = self._card.turn(bags)
        for batch in batches(bags, self.packed.sizes, min(self._chunk, _ROWS_AT_ONCE), bags_at_once):
            parts = [instances for _, instances in islice(turn, len(batch))]
            instances = self._shown(parts[0] if len(parts) == 1 else torch.cat(parts))
            offsets = self._sent(torch.tensor([0, *accumulate(map(len, parts))]))
            with torch.no_grad(), autocast(self.device, self.plan.precision):
                embeddings = self.joined.encode_in_chunks(instances, self._chunk)
                given = embeddings, offsets, self._coordinates(batch), None
                found.append(self.joined.aggregate(*given))
                if self._own is not None:
                    lost.append(self._own.of_bag(given, self._told[int(batch[0])]))
        logits = torch.cat(found, dim=2).cpu()
        losses = torch.stack(lost, dim=1).double().cpu() if lost else None  # (E, B), or (E, B, 1): a number a bag
        measured = []
        for number in numbers:
            own = [place[bag] for bag in self.members[number].validation.tolist()]
            told = () if losses is None else (losses[number, own].flatten(), losses.ndim == 3)
            measured.append(self._measured(number, logits[number][:, own], *told))
        return measured

    def is_finite(self, number: int) -> bool:
        """Say whether a member's parameters were still numbers at the end of the epoch."""
        return bool(self._finite[number])
