"""DTFD-MIL: attention over parts of a bag, and over what is distilled of them (Zhang et al., 2022)."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from bagwise.errors import BagwiseError
from bagwise.models.branches import GatedBranches, drawn
from bagwise.models.levels import Level, Parts, with_told
from bagwise.models.model import Output
from bagwise.models.pooling import Pooling
from bagwise.segments import segment_argmax, segment_lengths, segment_repeat, segment_softmax, segment_weighted_sum

__all__ = ["TwoTiers"]


class TwoTiers(Level):
    r"""Gated attention in two tiers: over parts of each bag, and over what is distilled of these (Zhang et al., 2022).

    In training the instances of a bag are dealt out at random to pseudo-bags of sizes that differ by 1 at most. The
    first tier answers $o_m$ to each pseudo-bag, which learns as if it had the bag's label (equation 10); the second
    answers $o$ to the bag, of a few vectors from each (equation 13), and its loss does not reach the first. With the
    target's loss $\ell$ the loss is

    $$\frac{1}{M} \sum_{m=1}^{M} \ell(o_m) + \ell(o)$$

    Ours differs in this: in prediction a bag is one pseudo-bag, where the authors deal again, so that an answer hangs
    neither on chance nor on the order of instances; a bag of fewer instances than parts has as many as instances; one
    optimizer steps both tiers.

    Parameters
    ----------
    parts
        As `Level` has them.
    pseudo_bags
        $M$, how many to a bag.
    distil
        What the second tier is given of each pseudo-bag: ``"feature"``, its vector (AFS); ``"max"``, the instance that
        adds most to what the first tier says (MaxS), or ``"max-min"``, this and the one that adds least (MaxMinS),
        which need a single output to be ordered by. What it adds is its weight times its vector times the first
        classifier's weights.
    hidden
        L, the size of both attention networks.

    Raises
    ------
    BagwiseError
        If there are several outputs to order instances by.
    """

    POOLINGS: ClassVar[Mapping[str, Callable[..., Pooling]]] = {}

    def __init__(
        self,
        parts: Parts,
        pseudo_bags: int = 4,
        distil: Literal["feature", "max", "max-min"] = "feature",
        hidden: int = 128,
    ) -> None:
        super().__init__(parts)
        if distil != "feature" and parts.outputs > 1:
            raise BagwiseError(
                f"distil is {distil!r}, which orders instances by one number, and a bag has {parts.outputs} outputs:"
                " use 'feature'"
            )
        self.pseudo_bags, self.distil = pseudo_bags, distil
        self.attentions = nn.ModuleList(GatedBranches(parts.linear, parts.width, hidden) for _ in range(2))
        self.first, self.head = (parts.head(parts.width) for _ in range(2))

    @property
    def classifier(self) -> nn.Module:
        """As `MILModel.classifier`: the second tier's."""
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
        if not self.training:
            one_each = torch.arange(offsets.shape[0], device=offsets.device)
            said, vectors, weights = self._tiers(embeddings, offsets, one_each, told)
            extras = {"first": said.unsqueeze(0), "counts": torch.ones_like(offsets[1:])}
            return Output(self.head(with_told(vectors, told)).unsqueeze(0), weights[:, 0], extras=extras)
        order, ends, groups = self._dealt(offsets)
        beside = None if told is None else segment_repeat(told, groups)
        said, vectors, weights = self._tiers(embeddings[order], ends, groups, beside)
        counts = segment_lengths(groups)
        weights = (weights / segment_repeat(counts, offsets).unsqueeze(1))[order.argsort()]
        place = torch.arange(self.pseudo_bags, device=groups.device).unsqueeze(1)
        turns = groups[:-1] + torch.minimum(place, counts - 1)
        extras = {"first": said[turns], "counts": counts}
        return Output(self.head(with_told(vectors, told)).unsqueeze(0), weights[:, 0], extras=extras)

    def _tiers(
        self, embeddings: Tensor, ends: Tensor, groups: Tensor, told: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Give what the first tier says of pseudo-bags, the vectors of bags, and the weights in the pseudo-bags."""
        weights = segment_softmax(self.attentions[0](embeddings), ends)
        vectors = segment_weighted_sum(weights, embeddings, ends)
        said = self.first(with_told(vectors, told))
        if not self.training and self.distil == "feature":  # of one vector attention is that vector
            return said, vectors, weights
        distilled, places = self._distilled(weights, embeddings, vectors, ends, groups)
        if self.training:  # so that the second tier's loss teaches nothing else
            distilled = distilled.detach()
        second = segment_softmax(self.attentions[1](distilled), places)
        return said, segment_weighted_sum(second, distilled, places), weights

    def _dealt(self, offsets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Deal instances out: their order, where pseudo-bags begin and end in it, and bags among the pseudo-bags."""
        sizes = offsets.diff().cpu().numpy()
        order = np.lexsort((drawn(self.dropout, (int(sizes.sum()),)), np.repeat(np.arange(len(sizes)), sizes)))
        counts = np.minimum(sizes, self.pseudo_bags)
        groups = np.concatenate([[0], np.cumsum(counts)])
        place = np.arange(groups[-1]) - np.repeat(groups[:-1], counts)
        dealt = np.repeat(sizes // counts, counts) + (place < np.repeat(sizes % counts, counts))
        ends = np.concatenate([[0], np.cumsum(dealt)])
        made = (torch.from_numpy(one).to(offsets.device) for one in (order, ends, groups))
        return next(made), next(made), next(made)

    def _distilled(
        self, weights: Tensor, embeddings: Tensor, vectors: Tensor, ends: Tensor, groups: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Give what the second tier is given of pseudo-bags, and where bags begin and end in it."""
        if self.distil == "feature":
            return vectors, groups
        adds = (weights * (embeddings @ self.first.weight[:, : embeddings.shape[1]].mT)).detach()
        most = segment_argmax(adds, ends)
        if self.distil == "max":
            return embeddings[most.squeeze(1)], groups
        return embeddings[torch.cat([most, segment_argmax(-adds, ends)], dim=1).flatten()], 2 * groups

    def _lost(self, output: Output, targets: Any) -> Tensor:
        assert output.extras is not None
        first, counts = output.extras["first"], output.extras["counts"]
        each = torch.stack([targets.loss(one.unsqueeze(0)) for one in first])
        there = torch.arange(len(first), device=counts.device).unsqueeze(1) < counts
        lost: Tensor = (each * there).sum(0) / counts + targets.loss(output.logits)
        return lost
