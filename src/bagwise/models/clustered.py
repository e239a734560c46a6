"""CLAM: attention whose highest and lowest instances are told apart (Lu et al., 2021)."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from bagwise.models.branches import GatedBranches, weighted_sums
from bagwise.models.levels import Level, Parts, with_told
from bagwise.models.model import Output
from bagwise.models.pooling import Pooling
from bagwise.segments import segment_lengths, segment_ranks, segment_repeat, segment_softmax, segment_sum

__all__ = ["ClusteredAttention"]


class ClusteredAttention(Level):
    r"""Gated attention, of one branch or of one a class, and a loss of single instances (Lu et al., 2021, methods).

    Of each bag the $k$ instances of the highest attention are to be evidence for its class, the $k$ of the lowest are
    not: a classifier a class, of two scores, learns that from the mean of their losses. Where classes exclude each
    other (`subtyping`) the highest are also to be no evidence for the other classes, and the mean over the classifiers
    counts. The loss is $1 - c$ times the bag's plus $c$ times this one.

    The smooth SVM loss of the top 1 (Berrada et al., 2018), of scores $s$, with $\Delta_j = 1$ but for the class $y$,
    where it is 0:

    $$\tau \log \sum_j \exp \frac{\Delta_j + s_j - s_y}{\tau} \tag{8}$$

    Of two scores at $\tau = 1$, as CLAM takes it, that is $\log(1 + \exp(1 - (s_y - s_j)))$; without the inner 1 it
    is the cross-entropy.

    Ours differs in this: in bags of fewer than $2k$ instances, of which the authors' code takes some as both and fails
    below $k$, $k$ is half of their number, rounded down, so a bag of one has no loss of instances; the smooth loss
    stays so where the authors' code takes the hard one, scores more than 6.9 apart; the size of the attention network
    is the recipe's; of two classes one branch has one output, the difference of the published two.

    Parameters
    ----------
    parts
        As `Level` has them. One output is that of two classes.
    by_class
        One branch a class, of which each has a classifier of its own (CLAM-MB); else one branch for all (CLAM-SB).
    hidden
        L, the size of the attention network.
    sampled
        $k$.
    instance_share
        $c$.
    instance_loss
        ``"svm"`` or ``"cross-entropy"``.
    subtyping
        Whether classes exclude each other.
    """

    POOLINGS: ClassVar[Mapping[str, Callable[..., Pooling]]] = {}

    def __init__(
        self,
        parts: Parts,
        by_class: bool = False,
        hidden: int = 128,
        sampled: int = 8,
        instance_share: float = 0.3,
        instance_loss: Literal["svm", "cross-entropy"] = "svm",
        subtyping: bool = False,
    ) -> None:
        super().__init__(parts)
        self.classes = max(2, parts.outputs)
        self.attention = GatedBranches(parts.linear, parts.width, hidden, self.classes if by_class else 1)
        self.weight_axis = "classes" if by_class else "heads"
        heads = [parts.head(parts.width)]
        if by_class:
            heads = [parts.linear(heads[0].in_features, 1) for _ in range(self.classes)]
        self.heads = nn.ModuleList(heads)
        self.evidence = parts.linear(parts.width, 2 * self.classes)
        self.sampled, self.instance_share, self.subtyping = sampled, instance_share, subtyping
        self.margin = 1.0 if instance_loss == "svm" else 0.0

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
        weights = segment_softmax(scores, offsets)
        vectors = weighted_sums(weights, embeddings, offsets).unbind(1)
        said = [head(with_told(one, told)) for head, one in zip(self.heads, vectors, strict=True)]
        logits = torch.cat(said, dim=1)
        if len(said) == 2:
            logits = logits[:, 1:] - logits[:, :1]
        extras = {"attention": scores, "evidence": self.evidence(embeddings)}
        return Output(logits.unsqueeze(0), weights[:, 0] if weights.shape[1] == 1 else weights, extras=extras)

    def _lost(self, output: Output, targets: Any) -> Tensor:
        of_instances = self._of_instances(output, targets.labels, targets.offsets)
        lost: Tensor = (1 - self.instance_share) * targets.loss(output.logits) + self.instance_share * of_instances
        return lost

    def _of_instances(self, output: Output, labels: Tensor, offsets: Tensor) -> Tensor:
        assert output.extras is not None
        scores, evidence = output.extras["attention"], output.extras["evidence"].unflatten(1, (self.classes, 2))
        sizes = segment_lengths(offsets)
        count = (sizes // 2).clamp(max=self.sampled)
        ranks = segment_ranks(scores.detach(), offsets)
        high = ranks >= segment_repeat(sizes - count, offsets).unsqueeze(1)
        low = ranks < segment_repeat(count, offsets).unsqueeze(1)
        apart = evidence[..., 1] - evidence[..., 0]
        as_evidence, as_none = softplus(self.margin - apart), softplus(self.margin + apart)
        some = count.clamp(min=1).unsqueeze(1)
        inside = segment_sum(high * as_evidence + low * as_none, offsets) / (2 * some)
        own = labels.unsqueeze(1) == torch.arange(self.classes, device=labels.device)
        if not self.subtyping:
            return (own * inside).sum(1)
        outside = segment_sum(high * as_none, offsets) / some
        return torch.where(own, inside, outside).mean(1)
