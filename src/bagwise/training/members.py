"""What is trained: members, and what they share."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from hashlib import blake2b
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bagwise.errors import BagwiseError
from bagwise.models.architecture import Design
from bagwise.models.model import MILModel
from bagwise.parameters import Among, Count, NonNegative, Positive, Share, check_parameters
from bagwise.targets.contract import Target
from bagwise.text import called
from bagwise.training.augmentation import AUGMENTATIONS
from bagwise.training.losses import Loss

__all__ = ["LEFT_TO_THE_OPTIMIZER", "PRECISIONS", "Member", "Plan", "Settings", "Trained", "fingerprint"]

PRECISIONS = {"float32": torch.float32, "float64": torch.float64, "mixed": torch.float32}


# What an optimiser of the user's own decides itself, and how that is said in `Settings`.
LEFT_TO_THE_OPTIMIZER = {"learning_rate": None, "momentum": 0.9, "decay": 0.0, "l2": 0.0}


@dataclass(frozen=True)
class Settings:
    """Hyper-parameters that change no shape, so that members of one block may differ in them.

    Parameters
    ----------
    optimizer
        ``"sgd"`` (Nesterov momentum), ``"adam"``, ``"adamw"``, or what makes a `torch.optim.Optimizer` of a list of
        parameters, biases among them, such as ``functools.partial(torch.optim.RMSprop, lr=1e-3)``. That has its own
        learning rate, momentum and weight decay: the settings of these names stay as in `LEFT_TO_THE_OPTIMIZER`.
    learning_rate
        Step t has learning_rate / (1 + decay * t), times what `warmup` and `scheduler` make of it; None: the
        optimiser's own, times that.
    epochs
        How often each training bag is seen; with `patience` the most it can be.
    momentum
        Of ``"sgd"``.
    decay
        See `learning_rate`.
    l2
        The loss has l2 * |w|^2 added, over weights and not biases: a gradient of 2 * l2 * w. Of ``"adamw"`` it is the
        ``weight_decay`` of `torch.optim.AdamW`: a step takes learning rate * l2 * w off the weights, and no biases.
    dropout
        Share of units dropped in training.
    patience
        Stop when this many epochs brought no lower validation error (at equal error, no lower validation loss), and go
        back to the best weights. None trains all epochs and keeps the last weights.
    stop_by
        What has to be lower: ``"error"``, or ``"loss"`` alone, which still falls where validation bags are so few that
        their error stands still.
    class_weights
        What the loss (and, on validation bags, an error) of a bag of each class is multiplied with; None: all are 1.
    warmup
        Over this share of the member's steps the learning rate rises in a straight line.
    scheduler
        What the learning rate does after that: ``"constant"``, or ``"cosine"``, which falls along half a cosine towards
        0 at the end of `epochs`. See `bagwise.training.schedule.rate_factor`. With an optimiser of your own also what
        makes a `torch.optim.lr_scheduler.LRScheduler` of it and the number of steps in all epochs, such as
        `torch.optim.lr_scheduler.CosineAnnealingLR` or
        ``lambda optimizer, steps: OneCycleLR(optimizer, max_lr=0.01, total_steps=steps)``; it steps with the optimiser.
    clip_gradient
        A gradient of the loss whose norm, over all parameters, is larger is scaled down to this norm before L2 is
        added, as `torch.nn.utils.clip_grad_norm_` does; None: it is taken as it is.

    Raises
    ------
    BagwiseError
        If a value is out of its range.

    Examples
    --------
    >>> Settings("sgd", learning_rate=5e-4, epochs=50, l2=0.005).momentum
    0.9
    """

    optimizer: (
        Literal["sgd", "adam", "adamw"]
        | Annotated[Callable[..., Any], "a function that makes a torch.optim.Optimizer of parameters"]
    )
    learning_rate: Positive | None
    epochs: Count
    momentum: Share = 0.9
    decay: NonNegative = 0.0
    l2: NonNegative = 0.0
    dropout: Share = 0.0
    patience: Count | None = None
    stop_by: Literal["error", "loss"] = "error"
    class_weights: tuple[Positive, ...] | None = None
    warmup: Share = 0.0
    scheduler: (
        Literal["constant", "cosine"]
        | Annotated[Callable[..., Any], "a function that makes a scheduler of an optimizer and a number of steps"]
    ) = "constant"
    clip_gradient: Positive | None = None

    def __post_init__(self) -> None:
        check_parameters(self)
        own = {
            name: called(getattr(self, name)) for name in ("optimizer", "scheduler") if callable(getattr(self, name))
        }
        for name, left in LEFT_TO_THE_OPTIMIZER.items() if "optimizer" in own else ():
            if getattr(self, name) != left:
                raise BagwiseError(
                    f"{name} is {getattr(self, name)!r}, and an optimizer of your own has its own: leave it out, and"
                    f" give it to {own['optimizer']}"
                )
        if "optimizer" not in own and self.learning_rate is None:
            raise BagwiseError(f"learning_rate is None: for {self.optimizer!r} it must be a number above 0")
        if "scheduler" in own and "optimizer" not in own:
            raise BagwiseError(
                f"{own['scheduler']} is a scheduler of your own, and the optimizer {self.optimizer!r} is not: give one"
                " of your own too, such as functools.partial(torch.optim.AdamW, lr=1e-3)"
            )
        if "scheduler" in own and self.warmup > 0:
            raise BagwiseError(
                f"warmup is {self.warmup!r}, and a scheduler of your own decides that: leave it out, and let"
                f" {own['scheduler']} warm up"
            )

    @property
    def told(self) -> str:
        """How the parameters are updated, in words."""
        if callable(self.optimizer):
            parts = [called(self.optimizer)]
        else:
            name = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW"}[self.optimizer]
            parts = [
                name,
                f"learning rate {self.learning_rate:g}",
                f"{'decay of weights' if self.optimizer == 'adamw' else 'L2'} {self.l2:g}",
            ]
        if self.warmup > 0:
            parts.append(f"warm-up over {self.warmup:g} of the steps")
        if self.scheduler != "constant":
            parts.append(called(self.scheduler) if callable(self.scheduler) else self.scheduler)
        if self.clip_gradient is not None:
            parts.append(f"gradients clipped at {self.clip_gradient:g}")
        return ", ".join(parts)


@dataclass(frozen=True)
class Member:
    """One model to train: its own bags, seed and hyper-parameters.

    Parameters
    ----------
    seed
        Decides initial weights and dropout.
    train
        Positions of the bags it learns from.
    settings
        Its hyper-parameters.
    validation
        Positions of the bags that decide when to stop; needed where `settings` has a patience.

    Raises
    ------
    BagwiseError
        If there is nothing to train on, or a patience without validation bags.

    Examples
    --------
    >>> member = Member(seed=0, train=np.arange(8), settings=Settings("adam", 1e-3, epochs=5))
    >>> len(member.validation)
    0
    """

    seed: int
    train: NDArray[np.int64]
    settings: Settings
    validation: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def __post_init__(self) -> None:
        if len(self.train) == 0:
            raise BagwiseError("a member has no training bags: give it at least one")
        if self.settings.patience is not None and len(self.validation) == 0:
            raise BagwiseError("patience needs validation bags: there are none")


@dataclass(frozen=True)
class Plan:
    """What all members of one training share.

    Parameters
    ----------
    architecture
        Their architecture.
    target
        What the labels are, and how they are learnt.
    order_seed
        Decides, with the epoch and the bag's key, in which order bags come.
    scaling
        ``"standardize"`` learns mean and spread from each member's training instances, ``"log"`` does and
        squashes what is far off (`bagwise.models.scaling.squashed`), ``"pixels"`` maps 0..255 to 0..1, ``"none"``
        leaves instances as they are, ``"columns"`` learns from each member's training instances what to make of columns
        of all kinds (`bagwise.encoding`).
    clip
        After scaling, the largest absolute value that a model is shown; None: as they are.
    augmentation
        How instances are changed at random whenever they are learnt from, a name in
        `bagwise.training.augmentation.AUGMENTATIONS`; None: not at all.
    sample
        A step learns from at most this many instances of a bag, drawn anew every time; None: from all.
    instance_budget
        Several bags make one step as long as they hold no more instances than this together.
    bags_per_step
        Several bags make one step as long as they are no more than this; the last step of an epoch takes those that are
        left. With `instance_budget` both hold; with neither, one bag makes a step.
    chunk
        A step with more instances than this is encoded in chunks of this many, with the same gradient and bounded
        memory.
    precision
        ``"float32"``, ``"float64"``, or ``"mixed"`` (bfloat16 where that is safe; CUDA only).
    device
        ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ..., or ``"auto"``: CUDA where there is one.
    loss
        In the place of the target's loss and of one that the model has (`bagwise.training.losses`); None: neither.
    encoded
        How many numbers a model is shown of an instance whose columns are encoded; None: they are not.
    beside
        How many of these, the last, belong to the bag; None: none do.

    Raises
    ------
    BagwiseError
        If a value is out of its range.

    Examples
    --------
    >>> from bagwise.models.architecture import Architecture
    >>> from bagwise.targets.classes import ClassTarget
    >>> target = ClassTarget.of([0, 1])
    >>> Plan(Architecture("embedding", "max", "identity"), target, order_seed=0, scaling="none").dtype
    torch.float32
    """

    architecture: Design
    target: Target
    order_seed: int
    scaling: Literal["standardize", "log", "pixels", "none", "columns"]
    clip: Positive | None = None
    augmentation: Annotated[str, Among(AUGMENTATIONS)] | None = None
    sample: Count | None = None
    instance_budget: Count | None = None
    bags_per_step: Count | None = None
    chunk: Count = 8192
    precision: Annotated[str, Among(PRECISIONS)] = "float32"
    device: str = "auto"
    loss: Loss | None = None
    encoded: Count | None = None
    beside: Count | None = None

    def __post_init__(self) -> None:
        check_parameters(self)
        if self.architecture.pools_probabilities and not self.target.bernoulli:
            pooling = getattr(self.architecture, "pooling", None)
            raise BagwiseError(
                f"the pooling {pooling!r} pools probabilities, which a target of kind {self.target.kind!r} lacks: take"
                " 'max', or pool embeddings, as attention does"
            )

    @property
    def own(self) -> dict[str, Any]:
        """What is a user's own, and only the user's code can make: a loss, and the parts of the architecture."""
        return self.architecture.own | ({} if self.loss is None else {"loss": self.loss})

    def shown(self, instance_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Give the shape of what a model's encoder is shown of instances of a shape."""
        return instance_shape if self.encoded is None else (self.encoded,)

    @property
    def standardizes(self) -> bool:
        """Whether mean and spread of each feature are learnt from a member's training instances."""
        return self.scaling in ("standardize", "log")

    @property
    def squashes(self) -> bool:
        """Whether what is far from 0, once standardised, is shown by its logarithm."""
        return self.scaling == "log"

    def rebuilt(self, instance_shape: tuple[int, ...], state: Mapping[str, Tensor], dropout: float) -> MILModel:
        """Build a model with weights that were learnt by this plan.

        Parameters
        ----------
        instance_shape
            Of the bags.
        state
            Parameters and scaler by name.
        dropout
            Of the member.

        Returns
        -------
        MILModel
            In prediction mode, on the CPU.

        Raises
        ------
        BagwiseError
            If the weights are not of this architecture.
        """
        return self.architecture.rebuild(
            self.shown(instance_shape),
            self.target.outputs,
            state,
            dropout=dropout,
            dtype=self.dtype,
            squash=self.squashes,
        )

    @property
    def dtype(self) -> torch.dtype:
        """What the parameters are stored in."""
        return PRECISIONS[self.precision]


@dataclass
class Trained:
    """A member after training.

    Attributes
    ----------
    state
        Parameters and scaler by name, on the CPU, as `torch.nn.Module.load_state_dict` takes them.
    history
        A mapping an epoch: ``epoch`` (from 1), ``loss`` (mean over training bags while they were learnt from) and, with
        validation bags, ``validation_loss`` and ``validation_error``.
    best_epoch
        The epoch that the weights are from.

    Examples
    --------
    >>> Trained({}, [{"epoch": 1, "loss": 0.7}], best_epoch=1).history[-1]["loss"]
    0.7
    """

    state: dict[str, Tensor]
    history: list[dict[str, float]]
    best_epoch: int


def fingerprint(plan: Plan, members: Sequence[Member], start: Mapping[str, Tensor], data: bytes) -> str:
    """Sum up what a training depends on, so that a checkpoint is only ever resumed by the training it belongs to.

    Parameters
    ----------
    plan, members
        What is trained.
    start
        All tensors before the first step: initial weights and scalers.
    data
        A digest of the bags and their labels.

    Returns
    -------
    str
        A hash in hexadecimal.

    Examples
    --------
    >>> from bagwise.models.architecture import Architecture
    >>> from bagwise.targets.classes import ClassTarget
    >>> plan = Plan(Architecture("embedding", "max", "identity"), ClassTarget.of([0, 1]), order_seed=0, scaling="none")
    >>> len(fingerprint(plan, [], {}, b""))
    32
    """
    described = {f.name: getattr(plan, f.name) for f in fields(plan) if f.name not in ("architecture", "device")}
    described |= {f.name: getattr(plan.architecture, f.name) for f in fields(plan.architecture)}
    for part, made in plan.own.items():
        if not isinstance(made, nn.Module):
            described[part] = getattr(made, "__qualname__", type(made).__qualname__)
    digest = blake2b(repr(described).encode() + data, digest_size=16)
    for member in members:
        settings = {f.name: getattr(member.settings, f.name) for f in fields(Settings)}
        told = {name: called(value) if callable(value) else value for name, value in settings.items()}
        digest.update(repr((member.seed, told)).encode())
        digest.update(member.train.tobytes() + b"|" + member.validation.tobytes())
    for name, value in start.items():
        digest.update(name.encode() + value.cpu().numpy().tobytes())
    return digest.hexdigest()
