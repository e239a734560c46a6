"""DSMIL: the strongest instance, and attention by how much instances are like it (Li et al., 2021)."""

import math
from collections.abc import Callable, Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from bagwise.models.branches import weighted_sums
from bagwise.models.levels import Level, Parts, with_told
from bagwise.models.model import Output
from bagwise.models.pooling import Pooling
from bagwise.segments import segment_argmax, segment_repeat, segment_softmax

__all__ = ["DualStream"]


class DualStream(Level):
    r"""Two answers: of an instance, and of the bag seen from it (Li et al., 2021, equations 2 to 7).

    For each output $c$ a linear classifier finds the critical instance $m$, which has the highest score; its score is
    the first answer. The second is a classifier's of the vectors $z_c$ of all outputs:

    $$z_c = \sum_{k=1}^{K} a_{kc} h_k, \qquad
    a_{kc} = \frac{\exp(q_k^\top q_m / \sqrt{L})}{\sum_{j=1}^{K} \exp(q_j^\top q_m / \sqrt{L})}$$

    The loss is half of each answer's.

    As in the authors' code and not in their paper the query $q$ is a layer, ReLU, a second layer and tanh, the products
    are divided by $\sqrt{L}$, and the vectors that are added up are the embeddings. Ours differs in this: where several
    instances reach the maximum the first is critical; the prediction averages what the two answers mean (probabilities
    of classes), where the paper averages scores.

    Parameters
    ----------
    parts
        As `Level` has them.
    query
        $L$, the size of the query.
    """

    POOLINGS: ClassVar[Mapping[str, Callable[..., Pooling]]] = {}

    def __init__(self, parts: Parts, query: int = 128) -> None:
        super().__init__(parts)
        self.instances = parts.linear(parts.width, parts.outputs)
        self.query = nn.Sequential(parts.linear(parts.width, query), nn.ReLU(), parts.linear(query, query), nn.Tanh())
        self.head = parts.head(parts.outputs * parts.width)
        self.weight_axis = "heads" if parts.outputs == 1 else "classes"

    @property
    def classifier(self) -> nn.Module:
        """As `MILModel.classifier`."""
        return self.head

    @property
    def loss(self) -> Callable[..., Tensor]:
        """As `MILModel.loss`."""
        return lambda output, targets: targets.loss(output.logits) / 2

    def decide(
        self,
        embeddings: Tensor,
        offsets: Tensor,
        where: Tensor | None,  # noqa: ARG002
        told: Tensor | None,
    ) -> Output:
        """Decide as `Level.decide` says."""
        scores, query = self.instances(embeddings), self.query(embeddings)
        critical = segment_argmax(scores.detach(), offsets)
        alike = torch.einsum("nl,ncl->nc", query, segment_repeat(query[critical], offsets))
        weights = segment_softmax(alike / math.sqrt(query.shape[1]), offsets)
        vectors = weighted_sums(weights, embeddings, offsets).flatten(1)
        logits = torch.stack([scores.gather(0, critical), self.head(with_told(vectors, told))])
        return Output(logits, weights[:, 0] if weights.shape[1] == 1 else weights)
