"""ACMIL: several attention branches that are to differ, and the top of each hidden at random (Zhang et al., 2024)."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from bagwise.models.branches import GatedBranches, drawn, weighted_sums
from bagwise.models.levels import Level, Parts, with_told
from bagwise.models.model import Output
from bagwise.models.pooling import Pooling
from bagwise.segments import segment_lengths, segment_ranks, segment_repeat, segment_softmax, segment_sum

__all__ = ["ChallengedAttention"]


class ChallengedAttention(Level):
    r"""Gated attention in branches, of which the bag has the mean (Zhang et al., 2024, the form of gated attention).

    Each branch $i$ of $B$ has a classifier of its own bag vector, whose answer is $o_i$, and the bag one of the mean of
    these vectors, whose answer is $o$. In training, in each branch, a share of the instances of the highest scores is
    drawn, and weighs nothing in this step. With the target's loss $\ell$, and $a_i$ the weights of the bag's instances
    in a branch, the loss is

    $$\ell(o) + \frac{1}{B} \sum_{i=1}^{B} \ell(o_i) + \frac{2}{B (B - 1)} \sum_{i < j} \cos(a_i, a_j)$$

    Ours differs in this alone: the draws are the member's own.

    Parameters
    ----------
    parts
        As `Level` has them.
    branches
        $B$.
    masked
        How many of the highest scores of a branch may be hidden, in a bag of fewer instances all of these.
    masked_share
        Which share of them is, rounded down.
    hidden
        L, the size of the attention network.
    """

    POOLINGS: ClassVar[Mapping[str, Callable[..., Pooling]]] = {}

    def __init__(
        self, parts: Parts, branches: int = 5, masked: int = 10, masked_share: float = 0.6, hidden: int = 128
    ) -> None:
        super().__init__(parts)
        self.attention = GatedBranches(parts.linear, parts.width, hidden, branches)
        self.branches = nn.ModuleList(parts.head(parts.width) for _ in range(branches))
        self.head = parts.head(parts.width)
        self.masked, self.masked_share = masked, masked_share

    @property
    def classifier(self) -> nn.Module:
        """As `MILModel.classifier`."""
        return self.head

    @property
    def loss(self) -> Callable[..., Tensor]:
        """As `MILModel.loss`."""
        return self._lost

    def decide(
        self,
        embeddings: Tensor,
        offsets: Tensor,
        where: Tensor | None,  # noqa: ARG002
        told: Tensor | None,
    ) -> Output:
        """Decide as `Level.decide` says."""
        scores = self.attention(embeddings)
        if self.training and self.masked:
            scores = scores.masked_fill(self._hidden(scores.detach(), offsets), -torch.inf)
        weights = segment_softmax(scores, offsets)
        vectors = weighted_sums(weights, embeddings, offsets)
        said = [head(with_told(one, told)) for head, one in zip(self.branches, vectors.unbind(1), strict=True)]
        logits = self.head(with_told(vectors.mean(1), told)).unsqueeze(0)
        return Output(logits, weights.mean(1), extras={"branches": torch.stack(said), "attention": weights})

    def _hidden(self, scores: Tensor, offsets: Tensor) -> Tensor:
        """Draw which instances weigh nothing in each branch, shape (N, K)."""
        sizes = segment_lengths(offsets)
        tops = sizes.clamp(max=self.masked)
        counts = torch.from_numpy(np.floor(tops.cpu().numpy() * self.masked_share).astype(np.int64)).to(tops.device)
        top = segment_ranks(scores, offsets) >= segment_repeat(sizes - tops, offsets).unsqueeze(1)
        chance = torch.from_numpy(drawn(self.dropout, scores.shape)).to(scores.device)
        first = segment_ranks(torch.where(top, chance, 2.0), offsets)
        return first < segment_repeat(counts, offsets).unsqueeze(1)

    def _lost(self, output: Output, targets: Any) -> Tensor:
        assert output.extras is not None
        said, weights = output.extras["branches"], output.extras["attention"]
        lost: Tensor = targets.loss(output.logits) + targets.loss(said) / len(said)
        return lost if len(said) == 1 else lost + _likeness(weights, targets.offsets)


def _likeness(weights: Tensor, offsets: Tensor) -> Tensor:
    """Give the mean cosine of two columns of weights (N, K) over each bag, shape (B,)."""
    branches = weights.shape[1]
    lengths = segment_sum(weights.square(), offsets).sqrt()
    # The square of a sum of vectors of length 1 is their number and twice the cosine of each pair.
    together = (weights / segment_repeat(lengths, offsets)).sum(1)
    return (segment_sum(together.square(), offsets) - branches) / (branches * (branches - 1))
