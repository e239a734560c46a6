"""TransMIL: a transformer over the instances of a bag in their order, folded into a square (Shao et al., 2021)."""

from collections.abc import Callable, Mapping
from itertools import pairwise
from math import isqrt
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from bagwise.errors import BagwiseError
from bagwise.models.levels import Level, Parts, with_told
from bagwise.models.model import Output
from bagwise.models.pooling import Pooling

__all__ = ["NystromAttention", "TransMIL"]

# Half-width of the convolution along the sequence, and those of the convolutions over the square.
_ALONG, _OVER = 16, (3, 2, 1)


class TransMIL(Level):
    r"""Classify a token that has attended to all instances of its bag (Shao et al., 2021, algorithm 2).

    The embeddings of a bag pass a layer with ReLU. Filled up to the next square number by repeating the first of them,
    and behind a learnt token, they are the sequence $H_0$, and with $N$ for layer normalisation the bag's logits are
    linear in what has become of the token, $z$:

    $$H_1 = H_0 + \mathrm{A}_1(N(H_0)), \qquad H_2 = \mathrm{P}(H_1), \qquad H_3 = H_2 + \mathrm{A}_2(N(H_2)), \qquad
    z = N(H_3)_0$$

    Each $\mathrm{A}$ is a `NystromAttention`. $\mathrm{P}$, the position encoding, lays all but the token out in a
    square, row by row, and adds to it what three convolutions give, of 7, 5 and 3 by as many places, each column of
    numbers by itself.

    It is the one model here that pads a bag, and the one that depends on the order of its instances: the square is
    made of whatever stands one after the other. With the encoder ``"identity"`` it is the authors' model.

    Parameters
    ----------
    parts
        As `Level` has them.
    width
        Of all layers; theirs is 512. Half of it is the number of landmarks.
    heads
        Of each attention, among which the width is shared out.
    dropout
        Share of what attention gives that is dropped in training; theirs is 0.1.

    Raises
    ------
    BagwiseError
        If heads do not share the width out.
    """

    LOOKS_AT_ORDER = True
    POOLINGS: ClassVar[Mapping[str, Callable[..., Pooling]]] = {}
    TAKES_CONTEXT = False

    def __init__(self, parts: Parts, width: int = 64, heads: int = 8, dropout: float = 0.0) -> None:
        super().__init__(parts)
        if width % (2 * heads):
            raise BagwiseError(f"width is {width} and heads are {heads}: let an even number of columns go to each head")
        self.ties_instances = True
        self.before = parts.linear(parts.width, width)
        self.token = nn.Parameter(torch.randn(1, width))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.attend = nn.ModuleList(NystromAttention(width, heads, width // 2, dropout) for _ in range(2))
        self.over = nn.ModuleList(nn.Conv2d(width, width, 2 * n + 1, padding=n, groups=width) for n in _OVER)
        self.head = parts.head(width)

    @property
    def classifier(self) -> nn.Module:
        """As `MILModel.classifier`."""
        return self.head

    def decide(
        self,
        embeddings: Tensor,
        offsets: Tensor,
        coordinates: Tensor | None,  # noqa: ARG002
        told: Tensor | None,
    ) -> Output:
        """Decide as `Level.decide` says."""
        rows = self.before(embeddings).relu()
        tokens = torch.stack([self._token_of(rows[begin:end]) for begin, end in pairwise(offsets.tolist())])
        return Output(self.head(with_told(tokens, told)).unsqueeze(0))

    def _token_of(self, rows: Tensor) -> Tensor:
        side = isqrt(len(rows) - 1) + 1
        sequence = torch.cat([self.token, rows, rows[: side * side - len(rows)]])
        sequence = sequence + self.attend[0](self.norms[0](sequence))
        square = sequence[1:].T.reshape(1, -1, side, side)
        square = square + torch.stack([convolve(square) for convolve in self.over]).sum(0)
        sequence = torch.cat([sequence[:1], square[0].flatten(1).T])
        sequence = sequence + self.attend[1](self.norms[1](sequence))
        token: Tensor = self.norms[2](sequence[0])
        return token


class NystromAttention(nn.Module):
    r"""Self-attention through landmarks (Xiong et al., 2021), with a convolution of the values along the sequence.

    Queries $Q$, keys $K$ and values $V$ of each head are linear in the sequence, and queries are divided by the root of
    the number of columns of a head. Landmarks $\tilde Q$ and $\tilde K$ are means of stretches of equal length, before
    which zeros stand where these do not share the sequence out. It gives (equation 13)

    $$\sigma(Q \tilde K^\top) \; \sigma(\tilde Q \tilde K^\top)^{+} \; \sigma(\tilde Q K^\top) \; V$$

    with the softmax $\sigma$ of rows and a pseudo-inverse that is what six steps of an iteration come to (equation 11).
    A convolution of the values over 33 places of the sequence is added, and heads are put together by a linear layer.

    Parameters
    ----------
    width
        Number of columns of the sequence.
    heads
        Among which these are shared out.
    landmarks
        How many.
    dropout
        Share of what it gives that is dropped in training.

    Examples
    --------
    >>> NystromAttention(8, heads=2, landmarks=4)(torch.randn(6, 8)).shape
    torch.Size([6, 8])
    """

    def __init__(self, width: int, heads: int = 8, landmarks: int = 256, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads, self.landmarks = heads, landmarks
        self.queries_keys_values = nn.Linear(width, 3 * width, bias=False)
        self.along = nn.Conv2d(heads, heads, (2 * _ALONG + 1, 1), padding=(_ALONG, 0), groups=heads, bias=False)
        self.out, self.dropout = nn.Linear(width, width), nn.Dropout(dropout)

    def forward(self, sequence: Tensor) -> Tensor:
        """Attend.

        Parameters
        ----------
        sequence
            Shape (n, width).

        Returns
        -------
        Tensor
            The same shape.
        """
        stretch = -(-len(sequence) // self.landmarks)
        filled = functional.pad(sequence, (0, 0, stretch * self.landmarks - len(sequence), 0))
        parts = self.queries_keys_values(filled).chunk(3, dim=1)
        q, k, v = (part.view(len(filled), self.heads, -1).transpose(0, 1) for part in parts)
        q = q * q.shape[-1] ** -0.5
        q_near, k_near = (part.unflatten(1, (self.landmarks, stretch)).mean(2) for part in (q, k))
        among = (q_near @ k_near.mT).softmax(-1)
        # Multiplied from the right, no product is as large as the square of the sequence.
        heard = (q @ k_near.mT).softmax(-1) @ (_inverse(among) @ ((q_near @ k.mT).softmax(-1) @ v))
        heard = heard + self.along(v[None])[0]
        told: Tensor = self.dropout(self.out(heard.transpose(0, 1).flatten(1)))
        return told[-len(sequence) :]


def _inverse(matrices: Tensor, steps: int = 6) -> Tensor:
    """Approach the pseudo-inverse of softmaxes, shape (heads, m, m), by the iteration of Razavi et al. (2014)."""
    one = torch.eye(matrices.shape[-1], dtype=matrices.dtype, device=matrices.device)
    size = matrices.abs()
    found = matrices.mT / (size.sum(-1).amax() * size.sum(-2).amax())
    for _ in range(steps):
        product = matrices @ found
        found = 0.25 * found @ (13 * one - product @ (15 * one - product @ (7 * one - product)))
    return found
