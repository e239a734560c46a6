"""Attention whose scores are smoothed over neighbours, so that what stands together counts together."""

from collections.abc import Callable
from typing import Literal

from torch import Tensor
from torch.nn import functional

from bagwise.models.in_parts import in_parts
from bagwise.models.neighbours import Neighbourhood
from bagwise.models.pooling import Attention, GatedAttention, Pooled, Pooling
from bagwise.segments import segment_softmax, segment_weighted_sum

__all__ = ["NEIGHBOUR_POOLINGS", "GatedSmoothAttention", "SmoothAttention", "smoothed"]


def smoothed(values: Tensor, neighbours: Tensor, alpha: float, steps: int) -> Tensor:
    r"""Smooth values over neighbours: the operator Sm of Castro-Macias et al. (2024), in steps.

    $$g_0 = f, \qquad g_t = (1 - \alpha) f + \alpha A g_{t-1} \tag{10}$$

    This approaches what is least far from $f$ and differs least between neighbours. Here $A$ averages over $k$ nearest
    neighbours, so its rows sum to 1; the authors take the tiles that touch, weigh them by how alike they are, and
    normalise symmetrically.

    Parameters
    ----------
    values
        Shape (N, M).
    neighbours
        Positions among the N, shape (N, k), int64.
    alpha
        The share of what neighbours say, from 0 to below 1.
    steps
        How many, so how far values spread.

    Returns
    -------
    Tensor
        Shape (N, M).

    Examples
    --------
    >>> import torch
    >>> smoothed(torch.tensor([[0.0], [1.0]]), torch.tensor([[1], [0]]), alpha=0.5, steps=1).tolist()
    [[0.5], [0.5]]
    """
    found = values
    for _ in range(steps):
        found = (1 - alpha) * values + alpha * functional.embedding_bag(neighbours, found, mode="mean")
    return found


class SmoothAttention(Attention):
    r"""Attention whose scores are smoothed before the softmax (Castro-Macias et al., 2024: Sm, "late").

    The scores $f_k = w^\top \tanh(V h_k)$ of a bag become those of `smoothed`, and their softmax the weights.

    Parameters
    ----------
    width
        Number of columns M of the embeddings.
    hidden
        L, the number of rows of V.
    neighbours, space
        How many neighbours of each instance, and where they are near (`bagwise.models.neighbours.Neighbourhood`).
    alpha, steps
        As in `smoothed`; the authors take 10 steps.

    Examples
    --------
    >>> import torch
    >>> pooling, neighbours = SmoothAttention(3, neighbours=1), torch.tensor([[1], [0], [2]])
    >>> pooling(torch.randn(3, 3), torch.tensor([0, 2, 3]), neighbours).weights.shape
    torch.Size([3])
    """

    def __init__(
        self,
        width: int,
        hidden: int = 128,
        neighbours: int = 8,
        space: Literal["coordinates", "features"] = "features",
        alpha: float = 0.5,
        steps: int = 10,
    ) -> None:
        super().__init__(width, hidden)
        self.wants_neighbours = Neighbourhood(neighbours, space)
        self.alpha, self.steps = alpha, steps

    def forward(self, values: Tensor, offsets: Tensor, where: Tensor | None = None) -> Pooled:
        """Pool as `Pooling.forward` says, with neighbours as a third argument."""
        assert where is not None
        scores = smoothed(in_parts(self.scores, values, 1), where, self.alpha, self.steps)
        weights = segment_softmax(scores, offsets)
        return Pooled(segment_weighted_sum(weights, values, offsets), weights.squeeze(1))


class GatedSmoothAttention(SmoothAttention, GatedAttention):
    """`SmoothAttention` by the scores of `GatedAttention`.

    Parameters
    ----------
    width, hidden, neighbours, space, alpha, steps
        As in `SmoothAttention`.

    Examples
    --------
    >>> import torch
    >>> pooling, neighbours = GatedSmoothAttention(3, hidden=4, neighbours=1), torch.tensor([[1], [0], [2]])
    >>> pooling(torch.randn(3, 3), torch.tensor([0, 2, 3]), neighbours).bags.shape
    torch.Size([2, 3])
    """


NEIGHBOUR_POOLINGS: dict[str, Callable[..., Pooling]] = {
    "smooth-attention": SmoothAttention,
    "gated-smooth-attention": GatedSmoothAttention,
}
