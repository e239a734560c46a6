"""Parts of a model in which the instances of a bag see each other, before they are pooled.

A context takes embeddings of packed bags to embeddings of the same shape, and never lets two bags see each other. To
add one, write the class and a line in `CONTEXTS`.
"""

from collections.abc import Callable
from typing import Literal, cast

from torch import Tensor, nn
from torch.nn import functional

from bagwise.models.neighbours import Neighbourhood

__all__ = ["CONTEXTS", "Context", "Graph"]


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

    A round takes the embedding :math:`h_i` to :math:`h_i + \mathrm{relu}(W h_i + U \frac{1}{k} \sum_{j \in N(i)} h_j)`,
    with a bias: the mean aggregator of GraphSAGE (Hamilton et al., 2017, section 3.3), and around it a residual
    connection. Theirs divides each embedding by its length after a round, and samples neighbours; ours does neither.

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


CONTEXTS: dict[str, Callable[..., Context]] = {"graph": Graph}
