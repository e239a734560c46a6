"""How an encoder, a pooling and a head compose into a model of the bag's label (paper, section 2.2).

A level is one class with one contract: it says how it is made of `Parts`, and what it says of embeddings of packed bags
that have passed dropout. To add one, write the class and a line in `bagwise.models.architecture.LEVELS`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from bagwise.errors import BagwiseError
from bagwise.models.beside import Beside
from bagwise.models.contexts import Context
from bagwise.models.encoders import MultiLevel
from bagwise.models.model import MILModel, Output
from bagwise.models.pooling import EMBEDDING_POOLINGS, INSTANCE_POOLINGS, Pooling
from bagwise.models.scaling import Scaler
from bagwise.models.smoothing import NEIGHBOUR_POOLINGS

__all__ = ["DeepSupervision", "EmbeddingLevel", "InstanceLevel", "Level", "Parts", "ResidualConnections", "with_told"]


@dataclass(frozen=True, eq=False)
class Parts:
    """What a level is made of.

    Attributes
    ----------
    scaler, encoder, dropout, beside
        As in `bagwise.models.model.MILModel`.
    width
        Number of columns M of the embeddings.
    outputs
        Number of outputs of a bag, C.
    pool
        Makes the pooling for values of some width, and says how wide its bag vectors are. To be called before or after
        `linear` as parameters shall draw their initial weights.
    linear
        Makes a linear layer of so many inputs and outputs, with initial weights as the encoder has them.
    context
        Where instances see each other before they are pooled; None: nowhere.
    """

    scaler: Scaler
    encoder: nn.Module
    dropout: float
    beside: Beside | None
    width: int
    outputs: int
    pool: Callable[[int], tuple[Pooling, int]]
    linear: Callable[[int, int], nn.Linear]
    context: Context | None = None

    def head(self, width: int) -> nn.Linear:
        """Make a classifier of bag vectors of a width, and of what is told beside them."""
        return self.linear(width + (0 if self.beside is None else self.beside.width), self.outputs)


class Level(MILModel):
    """A model that is composed of Bagwise's parts.

    Parameters
    ----------
    parts
        What it is made of; a class of this kind makes in its constructor what it needs, which may take options beside,
        by name.

    Attributes
    ----------
    POOLINGS : mapping
        Poolings that it takes, by name.
    CLASSIFIES_BAGS : bool
        Whether a classifier follows the pooling, which can be told what a bag has beside its instances.
    ADDS_UP : bool
        Whether its logits are sums of what instances contribute.
    TAKES_CONTEXT : bool
        Whether instances have one embedding each, which a context may change.
    LOOKS_AT_ORDER : bool
        Whether what it says depends on the order of instances.
    """

    POOLINGS: ClassVar[Mapping[str, Callable[..., Pooling]]] = EMBEDDING_POOLINGS
    CLASSIFIES_BAGS: ClassVar[bool] = True
    ADDS_UP: ClassVar[bool] = False
    TAKES_CONTEXT: ClassVar[bool] = True
    LOOKS_AT_ORDER: ClassVar[bool] = False

    def __init__(self, parts: Parts) -> None:
        super().__init__(parts.scaler, parts.encoder, parts.dropout, parts.beside)
        self.context = parts.context
        self.ties_instances = parts.context is not None
        self.wants_neighbours = None if parts.context is None else parts.context.wants_neighbours

    def _follow(self, pooling: Pooling) -> None:
        """Want and say what a pooling does."""
        context, wanted = self.wants_neighbours, pooling.wants_neighbours
        if context and (pooling.wants_coordinates or wanted not in (None, context)):
            raise BagwiseError(
                f"the context looks at {context.count} neighbours in {context.space}, and the pooling at"
                f" {f'{wanted.count} in {wanted.space}' if wanted else 'coordinates'}: let both look at the same"
            )
        self.wants_coordinates, self.wants_neighbours = pooling.wants_coordinates, context or wanted
        self.ties_instances = self.ties_instances or wanted is not None
        self.weight_axis = pooling.weight_axis

    def aggregate(self, embeddings: Tensor, offsets: Tensor, where: Tensor | None = None) -> Output:
        """Aggregate as `MILModel.aggregate` says."""
        embeddings, told = self._apart(embeddings, offsets)
        embeddings = self.dropout(embeddings)
        if self.context is not None:
            embeddings = self.context(embeddings, offsets, where)
        return self.decide(embeddings, offsets, where, told)

    def decide(self, embeddings: Tensor, offsets: Tensor, where: Tensor | None, told: Tensor | None) -> Output:
        """Turn embeddings of packed bags into logits.

        Parameters
        ----------
        embeddings
            Shape (N, M); in training some units are dropped. Instances of a bag have seen each other in the context.
        offsets, where
            As in `MILModel.aggregate`.
        told
            What the classifier is told beside bag vectors, shape (B, G), or None.

        Returns
        -------
        Output
        """
        raise NotImplementedError


class EmbeddingLevel(Level):
    """Encode, pool, score: the embedding-level approach.

    Parameters
    ----------
    parts
        As `Level` has them; bag vectors go to a linear classifier.
    """

    POOLINGS = EMBEDDING_POOLINGS | NEIGHBOUR_POOLINGS

    def __init__(self, parts: Parts) -> None:
        super().__init__(parts)
        self.pooling, width = parts.pool(parts.width)
        self._follow(self.pooling)
        self.head = parts.head(width)

    @property
    def classifier(self) -> nn.Module:
        """As `MILModel.classifier`."""
        return self.head

    def decide(self, embeddings: Tensor, offsets: Tensor, where: Tensor | None, told: Tensor | None) -> Output:
        """Decide as `Level.decide` says."""
        pooled = self.pooling(embeddings, offsets, where)
        return Output(self.head(with_told(pooled.bags, told)).unsqueeze(0), pooled.weights)


class InstanceLevel(Level):
    """Encode, score, pool: the instance-level approach.

    Parameters
    ----------
    parts
        As `Level` has them; embeddings go to a linear classifier, and its logits are pooled.
    """

    POOLINGS = INSTANCE_POOLINGS
    CLASSIFIES_BAGS = False

    def __init__(self, parts: Parts) -> None:
        super().__init__(parts)
        self.head = parts.head(parts.width)
        self.pooling = parts.pool(parts.outputs)[0]
        self._follow(self.pooling)

    def decide(
        self,
        embeddings: Tensor,
        offsets: Tensor,
        where: Tensor | None,
        told: Tensor | None,  # noqa: ARG002
    ) -> Output:
        """Decide as `Level.decide` says."""
        scores = self.head(embeddings)
        pooled = self.pooling(scores, offsets, where)
        return Output(pooled.bags.unsqueeze(0), pooled.weights, scores)


class _EveryLayer(Level):
    """Pool every layer of an encoder that gives all of them side by side."""

    TAKES_CONTEXT = False

    def __init__(self, parts: Parts) -> None:
        super().__init__(parts)
        if not isinstance(parts.encoder, MultiLevel):
            raise BagwiseError(
                f"{type(self).__name__} needs an encoder that gives all of its layers: a MultiLevel, not a"
                f" {type(parts.encoder).__name__}"
            )
        self._check(parts.encoder)
        poolings, self._wide = map(list, zip(*map(parts.pool, parts.encoder.widths), strict=True))
        self.poolings = nn.ModuleList(poolings)
        self._follow(poolings[0])

    def _check(self, encoder: MultiLevel) -> None:
        """Refuse layers that cannot be put together."""

    def _pooled(self, embeddings: Tensor, offsets: Tensor, where: Tensor | None) -> list[Tensor]:
        parts = torch.split(embeddings, [cast(Pooling, pooling).width for pooling in self.poolings], dim=1)
        pairs = zip(self.poolings, parts, strict=True)
        return [pooling(part, offsets, where).bags for pooling, part in pairs]


class DeepSupervision(_EveryLayer):
    """Pool and score every layer; the losses add up, the prediction is the heads' mean (Wang et al., 2016).

    Parameters
    ----------
    parts
        As `Level` has them; the encoder gives all of its layers side by side.

    Raises
    ------
    BagwiseError
        If it does not.
    """

    def __init__(self, parts: Parts) -> None:
        super().__init__(parts)
        self.heads = nn.ModuleList(parts.head(width) for width in self._wide)

    @property
    def classifier(self) -> nn.Module:
        """As `MILModel.classifier`: the last."""
        return self.heads[-1]

    def decide(self, embeddings: Tensor, offsets: Tensor, where: Tensor | None, told: Tensor | None) -> Output:
        """Decide as `Level.decide` says."""
        vectors = [with_told(one, told) for one in self._pooled(embeddings, offsets, where)]
        return Output(torch.stack([head(one) for head, one in zip(self.heads, vectors, strict=True)]))


class ResidualConnections(_EveryLayer):
    """Pool every layer and score the sum of the pooled vectors (Wang et al., 2016).

    Parameters
    ----------
    parts
        As `Level` has them; the encoder gives all of its layers, of one width, side by side.

    Raises
    ------
    BagwiseError
        If it does not.
    """

    def __init__(self, parts: Parts) -> None:
        super().__init__(parts)
        self.head = parts.head(self._wide[0])

    def _check(self, encoder: MultiLevel) -> None:
        if len(set(encoder.widths)) > 1:
            raise BagwiseError(f"residual connections add the layers up, so they need one width, not {encoder.widths}")

    @property
    def classifier(self) -> nn.Module:
        """As `MILModel.classifier`."""
        return self.head

    def decide(self, embeddings: Tensor, offsets: Tensor, where: Tensor | None, told: Tensor | None) -> Output:
        """Decide as `Level.decide` says."""
        levels = self._pooled(embeddings, offsets, where)
        return Output(self.head(with_told(torch.stack(levels).sum(0), told)).unsqueeze(0))


def with_told(vectors: Tensor, told: Tensor | None) -> Tensor:
    """Put what a classifier is told beside bag vectors next to these.

    Parameters
    ----------
    vectors
        Shape (B, ...).
    told
        Shape (B, G), or None.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> with_told(torch.zeros(2, 3), torch.ones(2, 1)).tolist()
    [[0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 1.0]]
    """
    return vectors if told is None else torch.cat([vectors, told.to(vectors.dtype)], dim=1)
