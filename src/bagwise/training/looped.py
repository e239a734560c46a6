"""The plain executor: a block's members one after the other, any module."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bagwise.bags import Bags
from bagwise.checks import check_span
from bagwise.encoding import Encoding
from bagwise.errors import BagwiseError
from bagwise.models.model import MILModel, Output
from bagwise.models.scaling import Moments
from bagwise.training.data import PackedTensors
from bagwise.training.device import resolve_device, sent
from bagwise.training.given_optimizer import optimizer_for
from bagwise.training.gradient import accumulate_gradient
from bagwise.training.inference import predict
from bagwise.training.losses import Loss, LossTargets, bag_losses, mean_loss
from bagwise.training.members import Member, Plan
from bagwise.training.randomness import hashed
from bagwise.training.schedule import batches, epoch_order
from bagwise.training.shown import augmented, sampled_rows

__all__ = ["Looped"]

_CPU = torch.device("cpu")


class Looped:
    """Trains a block of members, each as the plain loop over its bags would.

    Parameters
    ----------
    plan
        What the members share.
    packed
        The bags.
    members
        The block.
    moments
        Of the bags, where the plan standardises.

    Examples
    --------
    >>> from bagwise.bags import Bags
    >>> from bagwise.models.architecture import Architecture
    >>> packed = PackedTensors(Bags.from_arrays([[[1.0], [2.0]], [[3.0]]]), np.array([0, 1]))
    >>> from bagwise.targets.classes import ClassTarget
    >>> plan = Plan(Architecture("embedding", "max", "mi-net"), ClassTarget.of([0, 1]), order_seed=0, scaling="none")
    >>> from bagwise.training.members import Settings
    >>> member = Member(0, np.arange(2), Settings("adam", 1e-3, epochs=1))
    >>> Looped(plan, packed, [member]).run_epoch(0, [0]).shape
    (1,)
    """

    # Members that share no arithmetic gain nothing from each other's company; alone they spread over the workers best.
    block_size = 1

    @classmethod
    def members_at_once(cls, bags: Bags) -> int:  # noqa: ARG003
        """Say how many members make a block."""
        return cls.block_size

    def __init__(
        self, plan: Plan, packed: PackedTensors, members: Sequence[Member], moments: Moments | None = None
    ) -> None:
        self.plan = plan
        self.packed = packed
        self.members = members
        self.device = resolve_device(plan.device, plan.precision)
        learnt = [self._learnt(member) for member in members]
        self.models = [self._build(member, moments, one) for member, one in zip(members, learnt, strict=True)]
        if plan.sample is not None and self.models[0].wants_neighbours is not None:
            raise BagwiseError(
                f"sample={plan.sample} draws some instances of a bag at every step, and this method looks at their"
                " neighbours, which may not be among them: leave sample out"
            )
        wanted = [plan.target.wanted(packed.encoded, one) for one in learnt]
        # Here as well as there: what is measured of validation bags asks no device for what it was told.
        self._wanted_here = [torch.from_numpy(one).to(plan.dtype) for one in wanted]
        self._learnt_here = [torch.from_numpy(one) for one in learnt]
        self.wanted = [one.to(self.device) for one in self._wanted_here]
        self.optimizers = [
            optimizer_for(model.named_parameters(), member.settings, self._steps(member))
            for model, member in zip(self.models, members, strict=True)
        ]

    def _build(self, member: Member, moments: Moments | None, learnt: NDArray[np.float64]) -> MILModel:
        scaling: tuple[NDArray[np.float64], NDArray[np.float64]] | Encoding | None = None
        if self.plan.scaling == "columns":
            scaling = self.packed.encoding(member.train, self.plan.encoded, self.plan.beside or 0)
        elif self.plan.scaling == "pixels":
            scaling = np.zeros(1), np.full(1, 1 / 255)
        elif self.plan.standardizes:
            assert moments is not None
            self._check_span(member.train, moments)
            scaling = moments.standardisation(member.train)
        model = self._initial(member, scaling, learnt)
        self._check_range(model, member, moments)
        return model.to(self.device)

    def _initial(
        self,
        member: Member,
        scaling: tuple[NDArray[np.float64], NDArray[np.float64]] | Encoding | None,
        learnt: NDArray[np.float64],
    ) -> MILModel:
        return self.plan.architecture.build(
            self.plan.shown(self.packed.instance_shape),
            self.plan.target.outputs,
            member.seed,
            dropout=member.settings.dropout,
            scaling=scaling,
            clip=np.inf if self.plan.clip is None else self.plan.clip,
            squash=self.plan.squashes,
            learnt=learnt,
            sizes=self.packed.sizes[member.train],
            dtype=self.plan.dtype,
        )

    def _learnt(self, member: Member) -> NDArray[np.float64]:
        """Learn of the labels of a member's training bags what belongs to it."""
        own = np.ones(len(member.train)) if self.packed.weights is None else self.packed.weights[member.train].numpy()
        return self.plan.target.learn(self.packed.encoded[member.train], own)

    def _check_span(self, train: NDArray[np.int64], moments: Moments) -> None:
        def farthest(feature: int) -> tuple[str, int]:
            extremes = np.maximum(-moments.lowest[train, feature], moments.highest[train, feature])
            return self.packed.farthest(int(train[extremes.argmax()]), feature)

        check_span(*moments.range(train), self.packed.feature_names, farthest)

    def _check_range(self, model: MILModel, member: Member, moments: Moments | None) -> None:
        """See that all that a member meets stays a number once it is scaled: once here, and not at every step."""
        met = np.concatenate([member.train, member.validation])
        if self.plan.encoded is not None:  # which no number leaves
            safe = True
        elif moments is None:  # nothing but what is cast to fewer digits can leave the range
            safe = self.packed.dtype.itemsize <= self.plan.dtype.itemsize or self.packed.dtype.kind != "f"
        else:
            extremes = torch.from_numpy(np.stack(moments.range(met)))
            safe = bool(torch.isfinite(model.scaler.scaled(extremes)).all())
        if not safe:
            self.packed.check_range(met, model.scaler)

    def run_epoch(self, epoch: int, active: Sequence[int]) -> NDArray[np.float64]:
        """Let some members see each of their training bags once.

        Parameters
        ----------
        epoch
            From 0.
        active
            Which members.

        Returns
        -------
        array
            Each one's mean loss over its training bags, shape (number of active,).
        """
        order = epoch_order(self.plan.order_seed, epoch, self.packed.keys)
        own = {number: order[np.isin(order, self.members[number].train)] for number in active}
        seeds = {number: self.begin_epoch(number, epoch) for number in active}
        lost: dict[int, list[tuple[Tensor, int]]] = {number: [] for number in active}
        visits = [(batch, number) for number in active for batch in self._batches(own[number])]
        # Members that want one bag take turns at it, so that it is read once.
        place = np.argsort(order)
        visits.sort(key=lambda visit: int(place[visit[0][0]]))
        there = self.device if self.plan.sample is None else _CPU  # what is not drawn need not go to the device
        for batch, number in self.packed.turn(visits, there):
            lost[number].append((self.step(number, batch, int(seeds[number][batch[0]])), len(batch)))
        return np.array([_total(lost[number]) / len(own[number]) for number in active])

    def _batches(self, bags: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        return list(batches(bags, self.packed.sizes, self.plan.instance_budget, self.plan.bags_per_step))

    def _steps(self, member: Member) -> int:
        """Count a member's steps, should it train all its epochs."""
        epochs, train = member.settings.epochs, member.train
        if self.plan.instance_budget is None:
            return epochs * len(self._batches(train))
        orders = (epoch_order(self.plan.order_seed, epoch, self.packed.keys[train]) for epoch in range(epochs))
        return sum(len(self._batches(train[order])) for order in orders)

    def begin_epoch(self, number: int, epoch: int) -> NDArray[np.uint64]:
        """Bring a member's model into training mode and set what it will drop.

        Parameters
        ----------
        number
            Which member.
        epoch
            From 0.

        Returns
        -------
        array
            For each bag the seed of the step that begins with it, shape (B,), below 2**63.
        """
        seed, model = self.members[number].seed, self.models[number]
        if not model.training:
            model.train()
        dropout = model.dropout
        dropout.generator = dropout.generator or torch.Generator()
        dropout.generator.manual_seed(int(hashed(seed, epoch)[0]))
        return hashed(seed, epoch, self.packed.keys) >> np.uint64(1)

    def step(self, number: int, batch: NDArray[np.int64], seed: int) -> Tensor:
        """Let a member learn from some bags, within an epoch that was begun.

        Parameters
        ----------
        number
            Which member.
        batch
            Positions of the bags.
        seed
            Of whatever augmentation and the encoder draw.

        Returns
        -------
        Tensor
            The mean loss before the step.
        """
        model, optimizer = self.models[number], self.optimizers[number]
        optimizer.forget()
        sample = self.plan.sample
        there = self.device if sample is None else _CPU
        instances, offsets = self.packed.batch(batch, there)
        where = self.packed.where(model, batch, there)
        if sample is not None:
            rows, ends = sampled_rows(self.packed.sizes[batch], sample, seed, self.packed.keys[batch])
            instances, offsets = sent(instances[rows], self.device), sent(ends, self.device)
            where = None if where is None else sent(where[rows], self.device)
        if self.plan.augmentation is not None:
            instances = augmented(instances, self.plan.augmentation, seed, self.plan.architecture.crop)
        loss = accumulate_gradient(
            model,
            instances,
            offsets,
            self._loss_of(number, batch, offsets),
            chunk=self.plan.chunk,
            seed=seed,
            precision=self.plan.precision,
            where=where,
        )
        optimizer.step()
        return loss

    def _own_loss(self, number: int) -> Loss | None:
        """Give the loss that stands in the place of the target's: the plan's, else the model's."""
        return self.plan.loss or self.models[number].loss

    def _wanted(self, number: int, batch: NDArray[np.int64]) -> Tensor:
        wanted = self.wanted[number]
        if len(batch) == 1:
            return wanted[int(batch[0]) : int(batch[0]) + 1]
        return wanted[sent(torch.from_numpy(batch), self.device)]

    def _loss_of(self, number: int, batch: NDArray[np.int64], offsets: Tensor) -> Callable[[Output], Tensor]:
        """Give what turns a member's output for some bags into the number to descend."""
        own, weights, wanted = self._own_loss(number), self.weights(number, batch), self._wanted(number, batch)
        if own is not None:
            asked = LossTargets.of(self.plan.target, wanted, weights, offsets)
            return lambda output: mean_loss(own, output, asked)

        def mean_of_target(output: Output) -> Tensor:
            losses = self.plan.target.loss(output.logits, wanted)
            return _mean(losses if weights is None else losses * weights)

        return mean_of_target

    def validate(self, numbers: Sequence[int]) -> list[tuple[float, float]]:
        """Measure some members on their validation bags, in one pass over these.

        Parameters
        ----------
        numbers
            Which members.

        Returns
        -------
        list of tuple
            Of each member the mean error, for classes the share of bags predicted wrongly, and the mean loss; weights
            count.
        """
        asked_bags = [self.members[number].validation for number in numbers]
        own = [self._own_loss(number) for number in numbers]
        lost = torch.zeros(len(numbers), len(self.packed.sizes), dtype=torch.float64)  # by losses of the user's own
        weighed = [True] * len(numbers)

        def measure(place: int, batch: NDArray[np.int64], output: Output) -> None:
            loss, wanted = own[place], self._wanted(numbers[place], batch)
            assert loss is not None
            offsets = sent(torch.tensor([0, *np.cumsum(self.packed.sizes[batch])]), self.device)
            asked = LossTargets.of(self.plan.target, wanted, self.weights(numbers[place], batch), offsets)
            losses = bag_losses(loss, output._replace(logits=output.logits.to(self.plan.dtype)), asked)
            lost[place, batch] = losses.double().cpu()
            weighed[place] = losses.ndim == 1  # one number for all bags has their weights in it

        predictions = predict(
            [self.models[number] for number in numbers],
            self.packed,
            asked_bags,
            device=self.device,
            chunk=self.plan.chunk,
            precision=self.plan.precision,
            batching=None if own[0] is None else self._batches,
            seen=None if own[0] is None else measure,
        )
        return [
            self._measured(
                number,
                prediction.logits,
                None if own[place] is None else lost[place, asked_bags[place]],
                weighed[place],
            )
            for place, (number, prediction) in enumerate(zip(numbers, predictions, strict=True))
        ]

    def _measured(
        self, number: int, logits: Tensor, lost: Tensor | None = None, weighed: bool = True
    ) -> tuple[float, float]:
        """Give a member's mean error and loss, of its logits (H, B, C) of its validation bags, on the CPU.

        Where the loss is a user's own, `lost` has it for each of these bags, and `weighed` says whether weights still
        count.
        """
        target, bags = self.plan.target, self.members[number].validation
        wanted, learnt = self._wanted_here[number][bags], self._learnt_here[number]
        given = self._weights_here(number, bags)
        weights = torch.ones(len(bags)) if given is None else given
        weights = weights.double() / weights.double().sum()
        wrong = float(weights @ target.errors(logits, wanted, learnt).double())
        losses = target.loss(logits, wanted).double() if lost is None else lost
        return wrong, float(weights @ losses if weighed else losses.mean())

    def is_finite(self, number: int) -> bool:
        """Say whether a member's parameters are still numbers.

        Parameters
        ----------
        number
            Which member.

        Returns
        -------
        bool
        """
        parameters = self.models[number].parameters()
        return all(bool(torch.isfinite(parameter.detach().sum())) for parameter in parameters)

    def weights(self, number: int, bags: NDArray[np.int64]) -> Tensor | None:
        """Give what the loss of some bags is multiplied with: the weights of their classes and their own.

        Parameters
        ----------
        number
            Which member; classes weigh what its settings say.
        bags
            Positions of the bags.

        Returns
        -------
        Tensor or None
            Shape (number of bags,), in the precision of the parameters; None: all are 1.
        """
        weights = self._weights_here(number, bags)
        return None if weights is None else sent(weights, self.device)

    def _weights_here(self, number: int, bags: NDArray[np.int64]) -> Tensor | None:
        classes, own = self.members[number].settings.class_weights, self.packed.weights
        if classes is None and own is None:
            return None
        weights = torch.ones(len(bags), dtype=torch.float64)
        if classes is not None:
            weights *= torch.tensor(classes, dtype=torch.float64)[self.packed.encoded[bags, 0].astype(np.int64)]
        if own is not None:
            weights *= own[bags]
        return weights.to(self.plan.dtype)

    def state(self, number: int) -> dict[str, Tensor]:
        """Copy a member's parameters and scaler to the CPU.

        Parameters
        ----------
        number
            Which member.

        Returns
        -------
        dict
            As `torch.nn.Module.load_state_dict` takes it.
        """
        state = self.models[number].state_dict()
        return {name: value.cpu().clone(memory_format=torch.contiguous_format) for name, value in state.items()}

    def tensors(self) -> dict[str, Tensor]:
        """Give all that a later `load` needs to go on from here."""
        tensors: dict[str, Tensor] = {}
        for number, optimizer in enumerate(self.optimizers):
            tensors |= {f"{number}.model.{name}": value for name, value in self.state(number).items()}
            tensors |= {f"{number}.optimizer.{name}": value for name, value in optimizer.tensors().items()}
        return tensors

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Go back to where `tensors` was called.

        Parameters
        ----------
        tensors
            What it gave.
        """
        for number, (model, optimizer) in enumerate(zip(self.models, self.optimizers, strict=True)):
            model.load_state_dict(_below(tensors, f"{number}.model."))
            optimizer.load(_below(tensors, f"{number}.optimizer."))


def _mean(losses: Tensor) -> Tensor:
    # Every operation counts in a step of one small bag.
    return losses.squeeze(0) if losses.shape[0] == 1 else losses.mean()


def _total(losses: list[tuple[Tensor, int]]) -> float:
    """Add up mean losses, each times its number of bags, one after the other."""
    means, counts = zip(*losses, strict=True)
    each = torch.stack(means) * torch.tensor(counts, device=means[0].device)
    return float(each.double().cpu().numpy().cumsum()[-1])


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
