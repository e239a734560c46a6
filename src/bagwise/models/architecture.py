"""A model described by names and numbers, and built from them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bagwise.checks import is_count
from bagwise.encoding import Encoding
from bagwise.errors import BagwiseError
from bagwise.models.beside import Beside
from bagwise.models.challenged import ChallengedAttention
from bagwise.models.clustered import ClusteredAttention
from bagwise.models.contexts import CONTEXTS
from bagwise.models.contract import check_encoder, check_pooling, embedding_width
from bagwise.models.distilled import TwoTiers
from bagwise.models.dual_stream import DualStream
from bagwise.models.encoders import CentreCrop, EncoderSpec, build_encoder, drawing
from bagwise.models.evidence import Additive, ClassAttention, Conjunctive, SignedAttention
from bagwise.models.levels import (
    DeepSupervision,
    EmbeddingLevel,
    InstanceLevel,
    Level,
    Parts,
    ResidualConnections,
)
from bagwise.models.low_rank import LowRankAttention
from bagwise.models.model import MILModel
from bagwise.models.pooling import Pooling, PoolingSpec
from bagwise.models.scaling import Scaler
from bagwise.models.shown_columns import ShownColumns, encoding_in
from bagwise.models.transmil import TransMIL

__all__ = ["LEVELS", "Architecture", "Design"]

LEVELS: dict[str, type[Level]] = {
    "embedding": EmbeddingLevel,
    "instance": InstanceLevel,
    "deep-supervision": DeepSupervision,
    "residual": ResidualConnections,
    "class-attention": ClassAttention,
    "additive": Additive,
    "conjunctive": Conjunctive,
    "signed-attention": SignedAttention,
    "dual-stream": DualStream,
    "clustered": ClusteredAttention,
    "two-tiers": TwoTiers,
    "challenged": ChallengedAttention,
    "transmil": TransMIL,
    "low-rank": LowRankAttention,
}


@dataclass(frozen=True)
class Design(ABC):
    """What decides the shapes of a model's parameters, and builds models: what members of one block share.

    Parameters
    ----------
    crop
        Side of the square in the middle of an image that the model is shown; None: all of it.
    """

    crop: int | None = field(default=None, kw_only=True)

    @property
    @abstractmethod
    def own(self) -> dict[str, Any]:
        """The parts that are a user's own, which only the user's code can make: what makes them, by name."""

    @property
    def pools_probabilities(self) -> bool:
        """Whether outputs are logits of pooled probabilities."""
        return False

    @property
    @abstractmethod
    def summary(self) -> str:
        """What it is, in a few words."""

    @abstractmethod
    def _compose(self, scaler: Scaler, instance_shape: Sequence[int], outputs: int, dropout: float) -> MILModel:
        """Make a model with initial weights drawn from torch's default generator."""

    def build(
        self,
        instance_shape: Sequence[int],
        outputs: int,
        seed: int,
        *,
        dropout: float = 0.0,
        scaling: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]] | Encoding | None = None,
        clip: float = np.inf,
        squash: bool = False,
        learnt: np.ndarray[Any, Any] | None = None,
        sizes: np.ndarray[Any, Any] | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> MILModel:
        """Build a model with its initial weights, for Bagwise's own layers those of `bagwise.models.encoders.drawing`.

        Parameters
        ----------
        instance_shape
            Shape of one instance.
        outputs
            Number of outputs a bag, as its target has them: 1 for two classes, else the number of classes.
        seed
            Decides the initial weights.
        dropout
            Share of units dropped in training.
        scaling
            Shift and factor of the model's `Scaler`; by default instances stay as they are. Or what is done instead to
            instances of columns of all kinds; `instance_shape` is then that of what becomes of them.
        clip
            Its limit.
        squash
            Whether it squashes.
        learnt
            What was learnt of the labels of training bags (`bagwise.targets.contract.Target.learn`); None: nothing.
        sizes
            How many instances the training bags have, for what has to know; None: nobody does.
        dtype
            What the model computes in.

        Returns
        -------
        MILModel
            In training mode, on the CPU.

        Raises
        ------
        BagwiseError
            If the encoder does not fit the instances, or gives embeddings of a shape that nothing can follow, or a
            part of the user's own ties instances or bags together, or does not give what it should.
        """
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            if isinstance(scaling, Encoding):
                scaler: Scaler = ShownColumns(scaling, dtype)
            else:
                shift, factor = scaling or (np.zeros(1), np.ones(1))
                scaler = Scaler(shift, factor, dtype, clip, squash)
            model = self._compose(scaler, instance_shape, outputs, dropout)
        model.learn_of_labels(np.zeros(0) if learnt is None else learnt)
        model.cast(dtype)
        if sizes is not None:
            model.learn_of_sizes(sizes)
        return model.train()

    def _shown(self, instance_shape: Sequence[int]) -> tuple[int, ...]:
        shape = tuple(instance_shape)
        if self.crop is None:
            return shape
        if not is_count(self.crop) or len(shape) < 2 or self.crop > min(shape[:2]):
            raise BagwiseError(
                f"crop is {self.crop!r} and the instances have shape {shape}: it must be a whole number of pixels, at"
                " most the sides of the images, or None"
            )
        return self.crop, self.crop, *shape[2:]

    def rebuild(
        self,
        instance_shape: Sequence[int],
        outputs: int,
        state: Mapping[str, Tensor],
        *,
        dropout: float,
        dtype: torch.dtype,
        squash: bool = False,
    ) -> MILModel:
        """Build a model with weights that were learnt before.

        Parameters
        ----------
        instance_shape, outputs, dropout, dtype, squash
            As in `build`.
        state
            Parameters and scaler by name.

        Returns
        -------
        MILModel
            In prediction mode, on the CPU.

        Raises
        ------
        BagwiseError
            If the weights are not of this architecture.
        """
        try:
            scaling = encoding_in(state) or (state["scaler.shift"].numpy(), state["scaler.factor"].numpy())
            clip = float(state["scaler.limit"])
            learnt = state["learnt"].numpy() if "learnt" in state else None
            model = self.build(
                instance_shape,
                outputs,
                seed=0,
                dropout=dropout,
                scaling=scaling,
                clip=clip,
                squash=squash,
                learnt=learnt,
                dtype=dtype,
            )
            model.load_state_dict(dict(state))
        except (KeyError, RuntimeError) as error:
            raise BagwiseError("the weights are not those of a model of this architecture: train it again") from error
        return model.eval()

    def shapes(self, instance_shape: Sequence[int], outputs: int, beside: int = 0) -> dict[str, tuple[int, ...]]:
        """Say what parameters a model has, without making them: a description in a file may name any size.

        Parameters
        ----------
        instance_shape, outputs
            As in `build`.
        beside
            How many numbers of an instance, the last, belong to the bag.

        Returns
        -------
        dict
            Shapes by name, also of what is learnt of the sizes of bags; those of the scaler are left out.

        Raises
        ------
        BagwiseError
            As `build` does.

        Examples
        --------
        >>> Architecture("embedding", "max", "identity").shapes((3,), outputs=1)
        {'head.weight': (1, 3), 'head.bias': (1,)}
        """
        scaler = Scaler(np.zeros(1), np.ones(1), torch.float32)
        scaler.beside = beside
        with torch.device("meta"):
            model = self._compose(scaler, instance_shape, outputs, dropout=0.0)
        return {name: tuple(one.shape) for name, one in model.state_dict().items() if not name.startswith("scaler.")}


@dataclass(frozen=True)
class Architecture(Design):
    """All that decides the shapes of a model's parameters, so what members of one block share.

    Parameters
    ----------
    level
        How the parts compose: a name in `LEVELS`.
    pooling
        A name among the `POOLINGS` of the level, or a class that follows `Pooling`; None where there is none
        to choose.
    encoder
        A name in `ENCODERS`, a function that makes a module, or a module to start from.
    pooling_options
        What the pooling takes beside its width, for example ``{"hidden": 64}``.
    crop
        Side of the square in the middle of an image that the encoder is shown; None: all of it.
    size
        Whether the classifier of a bag is told how many instances there are, too (`bagwise.models.beside.Beside`).
    level_options
        What the level takes beside its parts.
    context
        Where instances of a bag see each other before they are pooled: a name in
        `bagwise.models.contexts.CONTEXTS`; None: nowhere.
    context_options
        What the context takes beside its width.

    Raises
    ------
    BagwiseError
        If a name is unknown, or a part does not fit another.

    Examples
    --------
    >>> Architecture("instance", "noisy-or", "lenet5").build((28, 28), outputs=1, seed=0).head
    Linear(in_features=500, out_features=1, bias=True)
    """

    level: str
    pooling: PoolingSpec | None
    encoder: EncoderSpec
    pooling_options: Mapping[str, Any] = field(default_factory=dict)
    size: bool = field(default=False, kw_only=True)
    level_options: Mapping[str, Any] = field(default_factory=dict, kw_only=True)
    context: str | None = field(default=None, kw_only=True)
    context_options: Mapping[str, Any] = field(default_factory=dict, kw_only=True)

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise BagwiseError(f"there is no level {self.level!r}: the levels are {', '.join(LEVELS)}")
        poolings = self._level.POOLINGS
        if self.size and not self._level.CLASSIFIES_BAGS:
            raise BagwiseError(
                f"size is True, and at the {self.level} level no classifier of bags follows the pooling, to which the"
                " number of instances could go: leave it False, or pool embeddings"
            )
        if self.context is not None and self.context not in CONTEXTS:
            raise BagwiseError(f"there is no context {self.context!r}: the contexts are {', '.join(CONTEXTS)}")
        if self.context is not None and not self._level.TAKES_CONTEXT:
            raise BagwiseError(
                f"context is {self.context!r}, and at the {self.level} level there is no one embedding of an instance"
                " that others could see: leave it out, or pool embeddings or instances"
            )
        if self.pooling is None and not poolings:
            return
        if not poolings:
            raise BagwiseError(f"the {self.level} level has no pooling to choose: leave {self.pooling!r} out")
        if not callable(self.pooling) and self.pooling not in poolings:
            raise BagwiseError(
                f"there is no pooling {self.pooling!r} at the {self.level} level: the poolings are"
                f" {', '.join(poolings)}, or a class of your own"
            )

    @property
    def _level(self) -> type[Level]:
        return LEVELS[self.level]

    @property
    def _pooling(self) -> Callable[..., Pooling] | None:
        """What makes the pooling."""
        if self.pooling is None or callable(self.pooling):
            return self.pooling
        return self._level.POOLINGS[self.pooling]

    @property
    def pools_probabilities(self) -> bool:
        """Whether outputs are logits of pooled probabilities."""
        return bool(getattr(self._pooling, "of_probabilities", False))

    @property
    def own(self) -> dict[str, Any]:
        """As `Design.own`: the encoder, the pooling, or both."""
        parts = {"encoder": self.encoder, "pooling": self.pooling}
        return {name: part for name, part in parts.items() if part is not None and not isinstance(part, str)}

    @property
    def summary(self) -> str:
        """As `Design.summary`."""
        return f"encoder {self.encoder}"

    def _compose(self, scaler: Scaler, instance_shape: Sequence[int], outputs: int, dropout: float) -> MILModel:
        shown = self._shown(instance_shape)
        # Where no classifier of bags follows the pooling, each instance says what belongs to its bag.
        told = scaler.beside if self._level.CLASSIFIES_BAGS else 0
        if told:
            shown = (shown[0] - told,)
        encoder = build_encoder(self.encoder, shown, dropout)
        width = embedding_width(encoder, shown)
        if not isinstance(self.encoder, str):
            check_encoder(encoder, shown)
        if self.crop is not None:
            encoder = nn.Sequential(CentreCrop(self.crop), encoder)
        make, draw = self._pooling, drawing(self.encoder)

        def pooled(width: int) -> tuple[Pooling, int]:
            assert make is not None
            made = make(width, **self.pooling_options)
            if not isinstance(made, Pooling):
                kind = type(made).__name__
                raise BagwiseError(f"the pooling makes a {kind}: it must be a class that follows Pooling")
            made.apply(draw)
            if not callable(self.pooling):
                return made, width
            return made, check_pooling(made, width, outputs, anew=self._level.CLASSIFIES_BAGS)

        def linear(width: int, outputs: int) -> nn.Linear:
            made = nn.Linear(width, outputs)
            draw(made)
            return made

        context = None
        if self.context is not None:
            context = CONTEXTS[self.context](width, **self.context_options)
            context.apply(draw)
        beside = Beside(self.size, told) if self.size or told else None
        parts = Parts(scaler, encoder, dropout, beside, width, outputs, pooled, linear, context)
        return self._level(parts, **self.level_options)
