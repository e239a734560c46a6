"""Levels whose logits are sums of what instances contribute, for and against each output.

An instance is weighed and scored by its own embedding, so what it adds to its bag is a number that can be told,
positive or negative. What a linear classifier says of a weighted sum is the weighted sum of what it says of instances:
that is why no bag vectors are made.
"""

from collections.abc import Callable, Mapping
from typing import ClassVar

from torch import Tensor, nn
from torch.nn.functional import linear, logsigmoid

from bagwise.checks import is_count
from bagwise.errors import BagwiseError
from bagwise.models.in_parts import in_parts
from bagwise.models.levels import Level, Parts
from bagwise.models.model import Output
from bagwise.models.pooling import Counting, Pooling
from bagwise.segments import segment_lengths, segment_logsumexp, segment_repeat, segment_softmax, segment_sum

__all__ = ["Additive", "ClassAttention", "Conjunctive", "Evidence", "SignedAttention"]


class _Scores(nn.Module):
    """Score instances as attention does, or if gated as gated attention, all with intercepts (paper, 8 and 9)."""

    def __init__(self, parts: Parts, columns: int, hidden: int, gated: bool) -> None:
        super().__init__()
        if not is_count(hidden):
            raise BagwiseError(f"hidden is {hidden!r}: it must be a whole number from 1 on")
        self.V = parts.linear(parts.width, hidden)
        self.U = parts.linear(parts.width, hidden) if gated else None
        self.w = parts.linear(hidden, columns)

    def forward(self, embeddings: Tensor) -> Tensor:
        return in_parts(self._scores, embeddings, self.w.out_features)

    def _scores(self, embeddings: Tensor) -> Tensor:
        found: Tensor = self.V(embeddings).tanh()
        if self.U is not None:
            found = found * self.U(embeddings).sigmoid()
        scores: Tensor = self.w(found)
        return scores


class Evidence(Level):
    """Weigh and score each instance; what it contributes adds up to the logits of its bag.

    To add one, write a class that makes its parts and says `evidence`.

    Parameters
    ----------
    parts
        As `Level` has them.
    """

    POOLINGS: ClassVar[Mapping[str, Callable[..., Pooling]]] = {}
    CLASSIFIES_BAGS = False
    ADDS_UP = True

    def evidence(self, embeddings: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
        """Say what instances weigh, and what they add to the logits of their bags.

        Parameters
        ----------
        embeddings
            Shape (N, M); in training some units are dropped.
        offsets
            Shape (B + 1,), int64.

        Returns
        -------
        tuple
            Weights, shape (N, K), and contributions, shape (N, C).
        """
        raise NotImplementedError

    def decide(
        self,
        embeddings: Tensor,
        offsets: Tensor,
        where: Tensor | None,  # noqa: ARG002
        told: Tensor | None,  # noqa: ARG002
    ) -> Output:
        """Decide as `Level.decide` says."""
        weights, contributions = self.evidence(embeddings, offsets)
        logits = segment_sum(contributions, offsets).unsqueeze(0)
        return Output(logits, weights.squeeze(1) if weights.shape[1] == 1 else weights, contributions=contributions)


class ClassAttention(Evidence):
    r"""Attention and a classifier of its own for each class: CLAM-MB's form (Lu et al., 2021).

    For class $c$, with a softmax over the bag and a bag vector of its own, the logit $u_c^\top z_c + b_c$ is the sum of
    what instances contribute:

    $$a_{kc} = \mathrm{softmax}_k\, w_c^\top \tanh(V h_k) \tag{1}$$

    $$z_c = \sum_{k=1}^{K} a_{kc} h_k, \qquad u_c^\top z_c + b_c = \sum_{k=1}^{K} a_{kc} (u_c^\top h_k + b_c) \tag{2}$$

    One output, which two classes have, is the difference of two scores, each with weights of its own, so that its
    sigmoid is the softmax of the two, as CLAM has it.

    CLAM learns from instances of high and low weight, too; here bags alone teach. It drops units of the hidden layer.

    Parameters
    ----------
    parts
        As `Level` has them.
    hidden
        $L$, the number of rows of $V$.
    gated
        Whether scores pass a gate (paper, equation 9), as CLAM's do.

    Examples
    --------
    >>> import torch
    >>> from bagwise.models.architecture import Architecture
    >>> model = Architecture("class-attention", None, "identity").build((2,), outputs=3, seed=0)
    >>> said = model(torch.randn(5, 2), torch.tensor([0, 2, 5]))
    >>> said.weights.shape, said.contributions.shape
    (torch.Size([5, 3]), torch.Size([5, 3]))
    """

    def __init__(self, parts: Parts, *, hidden: int = 128, gated: bool = False) -> None:
        super().__init__(parts)
        self.weight_axis = "classes"
        self.outputs, classes = parts.outputs, max(2, parts.outputs)
        self.attention = _Scores(parts, classes, hidden, gated)
        self.heads = parts.linear(parts.width, classes)

    def evidence(self, embeddings: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
        """Weigh and score as `Evidence.evidence` says."""
        weights = segment_softmax(self.attention(embeddings), offsets)
        contributions = weights * self.heads(embeddings)
        return weights, contributions.diff(dim=1) if self.outputs == 1 else contributions


class Additive(Evidence):
    r"""Additive MIL (Javed et al., 2022): a bag's logits are the sum of what its instances say.

    $$o = \sum_{k=1}^{K} \psi(a_k h_k), \qquad a_k = \mathrm{softmax}_k\, w^\top \tanh(V h_k)$$

    The softmax is over the bag, and $\psi$ a network with a hidden layer of ReLU. As published, its intercepts count
    once for each instance, so that the size of a bag is seen; here they are in the measure of the training bags
    (`bagwise.models.pooling.Counting`), lest in bags of hundreds a step move all logits by what it moves the intercepts
    times their size.

    The authors' attention is a network of ReLU and BatchNorm, which would tie the bags of a step together; here it is
    the paper's (equation 8), with intercepts.

    Parameters
    ----------
    parts
        As `Level` has them.
    hidden
        $L$, the number of rows of $V$, and of units of the hidden layer of $\psi$.
    gated
        Whether scores of the attention pass a gate (paper, equation 9).

    Examples
    --------
    >>> import torch
    >>> from bagwise.models.architecture import Architecture
    >>> model = Architecture("additive", None, "identity").build((2,), outputs=3, seed=0)
    >>> said = model(torch.randn(5, 2), torch.tensor([0, 5]))
    >>> bool(torch.allclose(said.contributions.sum(0), said.logits[0, 0], atol=1e-6))
    True
    """

    def __init__(self, parts: Parts, *, hidden: int = 128, gated: bool = False) -> None:
        super().__init__(parts)
        self.attention = _Scores(parts, 1, hidden, gated)
        self.hidden, self.head = parts.linear(parts.width, hidden), parts.linear(hidden, parts.outputs)
        self.counting = Counting(parts.outputs)

    def evidence(self, embeddings: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
        """Weigh and score as `Evidence.evidence` says."""
        weights = segment_softmax(self.attention(embeddings), offsets)
        return weights, in_parts(self._psi, weights * embeddings, self.head.out_features)

    def _psi(self, attended: Tensor) -> Tensor:
        share = self.counting.share
        hidden = linear(attended, self.hidden.weight, share * self.hidden.bias).relu()
        return linear(hidden, self.head.weight, share * self.head.bias)


class Conjunctive(Evidence):
    r"""Conjunctive pooling (Early et al., 2024): the mean of instance logits, each times its weight.

    $$o = \frac{1}{K} \sum_{k=1}^{K} a_k (u^\top h_k + b), \qquad a_k = \mathrm{sigm}(w^\top \tanh(V h_k))$$

    Attention and classifier each look at the embedding, and must agree.

    The authors' instances are moments of a time series, to whose embeddings they add the place in it.

    Parameters
    ----------
    parts
        As `Level` has them.
    hidden
        $L$, the number of rows of $V$.
    gated
        Whether scores of the attention pass a gate (paper, equation 9).

    Examples
    --------
    >>> import torch
    >>> from bagwise.models.architecture import Architecture
    >>> model = Architecture("conjunctive", None, "identity").build((2,), outputs=1, seed=0)
    >>> model(torch.randn(5, 2), torch.tensor([0, 2, 5])).weights.shape
    torch.Size([5])
    """

    def __init__(self, parts: Parts, *, hidden: int = 128, gated: bool = False) -> None:
        super().__init__(parts)
        self.attention = _Scores(parts, 1, hidden, gated)
        self.head = parts.linear(parts.width, parts.outputs)

    def evidence(self, embeddings: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
        """Weigh and score as `Evidence.evidence` says."""
        weights = self.attention(embeddings).sigmoid()
        sizes = segment_repeat(segment_lengths(offsets).to(weights.dtype), offsets).unsqueeze(1)
        return weights, weights * self.head(embeddings) / sizes


class SignedAttention(Evidence):
    r"""Attention whose weights have a sign: an instance can be held against what it looks like.

    Ours, for the repulsion points of the paper's outlook (section 5).

    $$o = \sum_{k=1}^{K} a_k (u^\top h_k + b)$$

    Weights are of one of two kinds, by scores $e_k = w^\top \tanh(V h_k)$:

    - Where they count, $a_k = \tanh e_k$, of each instance by itself, as Bo et al. (2021) weigh neighbours in a graph;
      the sum is in the measure of the training bags (`bagwise.models.pooling.Counting`).
    - Else $a_k = \frac{\exp e_k}{1 + \sum_j \exp e_j} - \frac{\exp f_k}{1 + \sum_j \exp f_j}$, by two scores: instances
      share out attraction, and repulsion. The 1 is a place that nobody has, lest somebody must attract and somebody
      repel: two softmaxes would leave nothing of a bag of one instance.

    Parameters
    ----------
    parts
        As `Level` has them.
    hidden
        $L$, the number of rows of $V$.
    gated
        Whether scores of the attention pass a gate (paper, equation 9).
    counting
        Which kind of weights.

    Examples
    --------
    >>> import torch
    >>> from bagwise.models.architecture import Architecture
    >>> model = Architecture("signed-attention", None, "identity").build((2,), outputs=1, seed=0)
    >>> bool((model(torch.randn(50, 2), torch.tensor([0, 50])).weights < 0).any())
    True
    """

    def __init__(self, parts: Parts, *, hidden: int = 128, gated: bool = False, counting: bool = True) -> None:
        super().__init__(parts)
        self.attention = _Scores(parts, 1 if counting else 2, hidden, gated)
        self.head = parts.linear(parts.width, parts.outputs)
        self.counting = Counting(parts.outputs) if counting else None

    def evidence(self, embeddings: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
        """Weigh and score as `Evidence.evidence` says."""
        scores, said = self.attention(embeddings), self.head(embeddings)
        if self.counting is not None:
            weights = scores.tanh()
            return weights, self.counting.share * weights * said
        shared = -logsigmoid(-segment_logsumexp(scores, offsets))  # log(1 + sum exp)
        attraction, repulsion = (scores - segment_repeat(shared, offsets)).exp().split(1, dim=1)
        return attraction - repulsion, (attraction - repulsion) * said
