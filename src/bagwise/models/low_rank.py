"""ILRA: instances attend to each other through few learnt rows, several times (Xiang et al., 2023)."""

from collections.abc import Callable, Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from bagwise.errors import BagwiseError
from bagwise.models.branches import weighted_sums
from bagwise.models.levels import Level, Parts, with_told
from bagwise.models.model import Output
from bagwise.models.pooling import Pooling
from bagwise.segments import segment_repeat, segment_softmax

__all__ = ["LowRankAttention"]


class LowRankAttention(Level):
    r"""Iterative low-rank attention and non-local pooling (Xiang et al., 2023, section 3.2).

    Rows $X$ attend to rows $Y$ with the multi-head attention $\mathrm{A}$, whose queries are made of $Q$ and whose keys
    and values are linear in $Y$; $N$ is layer normalisation:

    $$Q = X W_q + b_q, \qquad Z = N(Q + \mathrm{A}(Q, Y)), \qquad
    \mathrm{M}(X, Y) = N(Z + \mathrm{ReLU}(Z W_o + b_o))$$

    Where it is gated, $\mathrm{M}_g(X, Y) = \mathrm{M}(X, Y) \odot \mathrm{SiLU}(X W_g + b_g)$. Each block (GAB,
    equation 16) has a learnt matrix $L$ of $r$ rows, which hears of all instances $X$ of the bag, and of which these
    hear:

    $$X' = \mathrm{M}_g(X, \mathrm{M}_g(L, X))$$

    After the last, one learnt row $S$ gives the vector of the bag, $\mathrm{M}(S, X)$, which is classified. What an
    instance weighs is what it has of the attention of $S$, the mean of all heads.

    It is the part of the paper that learns bags; the low-rank contrastive learning of features, its other part, is left
    out. Ours differs from the authors' code in this: keys and values are one layer, where theirs are two in a row with
    nothing between, and layers begin as those of the encoder do. With the encoder ``"identity"`` embeddings go to the
    first block as theirs.

    Parameters
    ----------
    parts
        As `Level` has them.
    width
        Of all layers.
    rank
        $r$.
    blocks
        How many, one after the other.
    heads
        Of each attention, among which the width is shared out.

    Raises
    ------
    BagwiseError
        If heads do not share the width out.
    """

    POOLINGS: ClassVar[Mapping[str, Callable[..., Pooling]]] = {}
    TAKES_CONTEXT = False

    def __init__(self, parts: Parts, width: int = 64, rank: int = 1, blocks: int = 2, heads: int = 8) -> None:
        super().__init__(parts)
        if width % heads:
            raise BagwiseError(
                f"width is {width} and heads are {heads}: let an equal number of columns go to each head"
            )
        widths = [parts.width, *[width] * (blocks - 1)]
        self.blocks = nn.ModuleList(_Block(parts.linear, before, width, rank, heads) for before in widths)
        self.pool = _FromLearnt(parts.linear, width, width, 1, heads, gated=False)
        self.head = parts.head(width)

    @property
    def classifier(self) -> nn.Module:
        """As `MILModel.classifier`."""
        return self.head

    def decide(
        self,
        embeddings: Tensor,
        offsets: Tensor,
        where: Tensor | None,  # noqa: ARG002
        told: Tensor | None,
    ) -> Output:
        """Decide as `Level.decide` says."""
        for block in self.blocks:
            embeddings = block(embeddings, offsets)
        vectors, weights = self.pool(embeddings, offsets)
        return Output(self.head(with_told(vectors[:, 0], told)).unsqueeze(0), weights.mean(2)[:, 0])


class _Attending(nn.Module):
    """M: what rows of one width make of what they hear of rows of another."""

    def __init__(
        self, linear: Callable[[int, int], nn.Linear], asking: int, asked: int, width: int, heads: int, *, gated: bool
    ) -> None:
        super().__init__()
        self.heads = heads
        self.rows, self.query = linear(asking, width), linear(width, width)
        self.key, self.value = linear(asked, width), linear(asked, width)
        self.out, self.then = linear(width, width), linear(width, width)
        self.first, self.last = nn.LayerNorm(width), nn.LayerNorm(width)
        self.gate = linear(asking, width) if gated else None

    def by_heads(self, values: Tensor) -> Tensor:
        """Lay heads apart: shape (..., heads, width of a head)."""
        return values.view(*values.shape[:-1], self.heads, -1)

    def asked(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Give what rows are, and what they ask by heads."""
        own = self.rows(rows)
        queries = self.by_heads(self.query(own))
        return own, queries * queries.shape[-1] ** -0.5

    def told(self, rows: Tensor, own: Tensor, heard: Tensor) -> Tensor:
        """Put rows and what they heard, by heads, together."""
        both = self.first(own + self.out(heard.flatten(-2)))
        told: Tensor = self.last(both + self.then(both).relu())
        return told if self.gate is None else told.mul(silu(self.gate(rows)))


class _FromLearnt(_Attending):
    """Learnt rows hear of the instances of each bag."""

    def __init__(
        self, linear: Callable[[int, int], nn.Linear], asked: int, width: int, rank: int, heads: int, *, gated: bool
    ) -> None:
        super().__init__(linear, width, asked, width, heads, gated=gated)
        self.learnt = nn.Parameter(nn.init.xavier_uniform_(torch.empty(rank, width)))

    def forward(self, instances: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
        """Give the rows of each bag, shape (B, r, width), and weights of instances, shape (N, r, heads)."""
        own, queries = self.asked(self.learnt)
        keys, values = self.by_heads(self.key(instances)), self.by_heads(self.value(instances))
        weights = segment_softmax(torch.einsum("nhd,rhd->nrh", keys, queries), offsets)
        each = zip(weights.unbind(2), values.unbind(1), strict=True)
        heard = torch.stack([weighted_sums(*head, offsets) for head in each], dim=2)
        return self.told(self.learnt, own, heard), weights


class _Block(nn.Module):
    """GAB: learnt rows hear of instances, and instances of them."""

    def __init__(self, linear: Callable[[int, int], nn.Linear], before: int, width: int, rank: int, heads: int) -> None:
        super().__init__()
        self.gather = _FromLearnt(linear, before, width, rank, heads, gated=True)
        self.spread = _Attending(linear, before, width, width, heads, gated=True)

    def forward(self, instances: Tensor, offsets: Tensor) -> Tensor:
        spread, points = self.spread, self.gather(instances, offsets)[0]
        own, queries = spread.asked(instances)
        keys, values = (segment_repeat(spread.by_heads(made(points)), offsets) for made in (spread.key, spread.value))
        weights = torch.einsum("nhd,nrhd->nrh", queries, keys).softmax(1)
        return spread.told(instances, own, torch.einsum("nrh,nrhd->nhd", weights, values))
