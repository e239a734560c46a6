"""Parts of a model in which the instances of a bag see each other, before they are pooled.

A context takes embeddings of packed bags to embeddings of the same shape, and never lets two bags see each other. To
add one, write the class and a line in `CONTEXTS`.
"""

from collections.abc import Callable, Sequence
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from bagwise.models.neighbours import Neighbourhood

__all__ = ["CONTEXTS", "Context", "Graph", "SelfAttention"]


class Context(nn.Module):
    """What every context is: a function of packed embeddings, of each bag by itself, that moves with their order.

    Parameters
    ----------
    width
        Number of columns M of the embeddings.

    Attributes
    ----------
    wants_neighbours : Neighbourhood or None
        The neighbours that `forward` takes as a third argument; None: none.

    Examples
    --------
    >>> from bagwise.segments import segment_mean, segment_repeat
    >>> class Centred(Context):
    ...     def forward(self, values, offsets, where=None):
    ...         return values - segment_repeat(segment_mean(values, offsets), offsets)
    >>> import torch
    >>> Centred(1)(torch.tensor([[1.0], [3.0], [5.0]]), torch.tensor([0, 2, 3])).flatten().tolist()
    [-1.0, 1.0, 0.0]
    """

    wants_neighbours: Neighbourhood | None = None

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, values: Tensor, offsets: Tensor, where: Tensor | None = None) -> Tensor:
        """Let the instances of each bag see each other.

        Parameters
        ----------
        values
            Shape (N, M).
        offsets
            Shape (B + 1,), int64.
        where
            Neighbours as positions among the N instances, shape (N, k), int64, if `wants_neighbours`.

        Returns
        -------
        Tensor
            Shape (N, M).
        """
        raise NotImplementedError

    def __call__(self, values: Tensor, offsets: Tensor, where: Tensor | None = None) -> Tensor:
        """Let instances see each other, as `forward` says."""
        return cast(Tensor, super().__call__(values, offsets, where))


class Graph(Context):
    r"""Rounds of messages over a graph of nearest neighbours, each the mean of what neighbours say.

    A round takes the embedding $h_i$, which has the neighbours $N(i)$, to

    $$h_i + \mathrm{relu}\left(W h_i + U \frac{1}{k} \sum_{j \in N(i)} h_j + b\right)$$

    This is the mean aggregator of GraphSAGE (Hamilton et al., 2017, section 3.3), and around it a residual connection.
    Theirs divides each embedding by its length after a round, and samples neighbours; ours does neither.

    Parameters
    ----------
    width
        Number of columns M of the embeddings.
    neighbours
        How many of each instance, k.
    space
        Where they are near, as `Neighbourhood` has it.
    rounds
        How many rounds of messages.

    Examples
    --------
    >>> import torch
    >>> graph, neighbours = Graph(3, neighbours=1), torch.tensor([[1], [0], [2]])
    >>> graph(torch.ones(3, 3), torch.tensor([0, 2, 3]), neighbours).shape
    torch.Size([3, 3])
    """

    def __init__(
        self,
        width: int,
        neighbours: int = 8,
        space: Literal["coordinates", "features"] = "features",
        rounds: int = 2,
    ) -> None:
        super().__init__(width)
        self.wants_neighbours = Neighbourhood(neighbours, space)
        self.own = nn.ModuleList(nn.Linear(width, width) for _ in range(rounds))
        self.heard = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(rounds))

    def forward(
        self,
        values: Tensor,
        offsets: Tensor,  # noqa: ARG002
        where: Tensor | None = None,
    ) -> Tensor:
        """Exchange messages as `Context.forward` says."""
        assert where is not None
        for own, heard in zip(self.own, self.heard, strict=True):
            # It gathers and averages without ever holding the k embeddings of each instance.
            told = functional.embedding_bag(where, values, mode="mean")
            values = values + (own(values) + heard(told)).relu()
        return values


class SelfAttention(Context):
    r"""Attention of the instances of a bag to each other: blocks of a set transformer (Lee et al., 2019).

    $$\mathrm{MAB}(X, Y) = H + \mathrm{relu}(W\,\mathrm{LN}(H) + b) \tag{6}$$

    $$H = X + \mathrm{Multihead}(\mathrm{LN}(X), \mathrm{LN}(Y), \mathrm{LN}(Y)) \tag{7}$$

    A block takes a bag $X$ to an embedding of each instance, in time that grows with the square of their number:

    $$\mathrm{SAB}(X) = \mathrm{MAB}(X, X) \tag{8}$$

    Or, over induced points $I$, in time that grows with their number:

    $$\mathrm{ISAB}(X) = \mathrm{MAB}(X, \mathrm{MAB}(I, X)) \tag{9, 10}$$

    Memory grows with their number in both. Ours normalises before each step, and after the last block, and not after
    each sum: with theirs, trainings on few bags often end where they began. It scales by the width of a head, where
    their code scales by that of all.

    Parameters
    ----------
    width
        Number of columns M of the embeddings.
    heads
        How many of each attention.
    induced
        How many points the instances of a bag meet at; None lets each see each.
    blocks
        How many, one after the other.

    Examples
    --------
    >>> import torch
    >>> SelfAttention(6, heads=2, induced=3)(torch.randn(5, 6), torch.tensor([0, 2, 5])).shape
    torch.Size([5, 6])
    """

    def __init__(self, width: int, heads: int = 4, induced: int | None = 16, blocks: int = 2) -> None:
        super().__init__(width)
        self.blocks = nn.ModuleList(_Block(width, heads, induced) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)

    def forward(
        self,
        values: Tensor,
        offsets: Tensor,
        where: Tensor | None = None,  # noqa: ARG002
    ) -> Tensor:
        """Attend as `Context.forward` says."""
        sizes = offsets.diff().tolist()
        for block in self.blocks:
            values = block(values, sizes)
        return cast(Tensor, self.norm(values))


class _Block(nn.Module):
    """One SAB, or one ISAB."""

    def __init__(self, width: int, heads: int, induced: int | None) -> None:
        super().__init__()
        self.induced = None
        if induced is not None:
            self.induced = nn.Parameter(nn.init.xavier_uniform_(torch.empty(induced, width)))
            self.meet = _Attending(width, heads)
        self.attend = _Attending(width, heads)

    def forward(self, values: Tensor, sizes: Sequence[int]) -> Tensor:
        if self.induced is None:
            return cast(Tensor, self.attend(values, sizes, values, sizes))
        several = [len(self.induced)] * len(sizes)
        points = self.induced.repeat(len(sizes), 1)
        return cast(Tensor, self.attend(values, sizes, self.meet(points, several, values, sizes), several))


class _Attending(nn.Module):
    """MAB: the rows of each bag attend to rows of the same bag."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, inner = heads, heads * -(-width // heads)
        self.query, self.key, self.value = (nn.Linear(width, inner) for _ in range(3))
        self.out, self.then = nn.Linear(inner, width), nn.Linear(width, width)
        self.first, self.last = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, rows: Tensor, sizes: Sequence[int], seen: Tensor, seen_sizes: Sequence[int]) -> Tensor:
        asking, asked = self.first(rows), self.first(seen)
        given = (self.query(asking), sizes), (self.key(asked), seen_sizes), (self.value(asked), seen_sizes)
        bags = zip(*(self._by_heads(values).split([*ends], dim=2) for values, ends in given), strict=True)
        # The fused kernel holds no matrix of rows and rows; it takes bags one by one, so nothing is padded.
        told = torch.cat([functional.scaled_dot_product_attention(*bag) for bag in bags], dim=2)
        heard = rows + self.out(told[0].transpose(0, 1).flatten(1))
        return cast(Tensor, heard + self.then(self.last(heard)).relu())

    def _by_heads(self, values: Tensor) -> Tensor:
        """Lay heads apart: shape (1, heads, N, width of a head)."""
        return values.view(len(values), self.heads, -1).transpose(0, 1)[None]


CONTEXTS: dict[str, Callable[..., Context]] = {"graph": Graph, "self-attention": SelfAttention}
