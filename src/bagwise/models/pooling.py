r"""MIL pooling: how the instances of a bag become one (paper, sections 2.3 and 2.4).

A pooling is one small class with one contract: values of packed instances and offsets in, one row a bag out, and
weights of the instances where the pooling has them. To add one, write the class and a line in the registry at the end
of this file; one of a user's own needs no line, an estimator takes the class itself.

There are two families. *Embedding poolings* take embeddings, shape (N, M), to bag vectors, of shape (B, M) or, if it is
one of a user's own, of any width. *Instance poolings* take logits of instances, shape (N, C), to logits of bags, shape
(B, C): they are defined on probabilities, $p_k$ of the instances and $\theta$ of the bag, and computed from $\log p_k$
and $\log(1 - p_k)$, so that nothing overflows or vanishes however certain an instance is.

In formulas $K$ is the number of instances of a bag, and $h_k$ the embedding of one.
"""

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from bagwise.checks import is_count
from bagwise.errors import BagwiseError
from bagwise.models.in_parts import in_parts
from bagwise.models.neighbours import Neighbourhood
from bagwise.segments import (
    segment_lengths,
    segment_logsumexp,
    segment_max,
    segment_mean,
    segment_softmax,
    segment_sum,
    segment_weighted_sum,
)

__all__ = [
    "EMBEDDING_POOLINGS",
    "INSTANCE_POOLINGS",
    "ISR",
    "Attention",
    "Counting",
    "GatedAttention",
    "GatedSumAttention",
    "LogSumExp",
    "Max",
    "Mean",
    "NoisyAnd",
    "NoisyOr",
    "Pooled",
    "Pooling",
    "PoolingSpec",
    "ProbabilityLogSumExp",
    "ProbabilityMean",
    "Sum",
    "SumAttention",
]


class Pooled(NamedTuple):
    """What a pooling gives: a row a bag, and weights of instances where it has them.

    Attributes
    ----------
    bags
        Shape (B, width of the bag vectors).
    weights
        Shape (N,), or (N, K) with a column a head or class (`Pooling.weight_axis`); None where there are none.

    Examples
    --------
    >>> Pooled(torch.zeros(2, 3)).weights is None
    True
    """

    bags: Tensor
    weights: Tensor | None = None


class Pooling(nn.Module):
    """What every pooling is: a function of packed instances that does not depend on their order.

    Parameters
    ----------
    width
        Number of columns of the values to pool.

    Attributes
    ----------
    wants_coordinates : bool
        True lets `forward` take a third argument, the coordinates of the instances, shape (N, 2) or (N, 3), as
        `Bags.coordinates` holds them.
    wants_neighbours : Neighbourhood or None
        Which neighbours of the instances `forward` takes as a third argument: positions among the N, shape (N, k),
        int64. None: none.
    weight_axis : str
        What the columns of weights of shape (N, K) are: ``"heads"``, or ``"classes"``, one a class (of two classes
        two, the positive one last).
    of_probabilities : bool
        Whether it pools the probabilities that its values are the logits of, and not the values: then it serves only
        targets whose outputs are such logits.

    Examples
    --------
    >>> from bagwise.segments import segment_sum
    >>> class Sum(Pooling):
    ...     def forward(self, values, offsets):
    ...         return Pooled(segment_sum(values, offsets))
    >>> Sum(1)(torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([0, 2, 3])).bags.tolist()
    [[3.0], [3.0]]
    """

    wants_coordinates: bool = False
    wants_neighbours: Neighbourhood | None = None
    weight_axis: Literal["heads", "classes"] = "heads"
    of_probabilities: bool = False

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, values: Tensor, offsets: Tensor) -> Pooled:
        """Pool the values of each bag.

        Parameters
        ----------
        values
            Shape (N, width).
        offsets
            Shape (B + 1,), int64.

        Returns
        -------
        Pooled
            A row a bag: at the embedding level of any width, at the instance level as wide as the values. Weights of
            the instances, or None.
        """
        raise NotImplementedError

    def learn_of_sizes(self, sizes: NDArray[np.int64]) -> None:
        """Take note of how many instances the bags have that will be learnt from; most poolings need not know.

        Parameters
        ----------
        sizes
            Shape (B,).
        """

    def __call__(self, values: Tensor, offsets: Tensor, where: Tensor | None = None) -> Pooled:
        """Pool, as `forward` says; coordinates or neighbours reach it if it wants them."""
        given = [where] if self.wants_coordinates or self.wants_neighbours else []
        pooled: Pooled = super().__call__(values, offsets, *given)
        return pooled


PoolingSpec = str | Callable[..., Pooling]


class Max(Pooling):
    r"""The maximum over a bag, column by column (paper, section 2.3).

    $$z_m = \max_{k = 1, \dots, K} h_{km} \tag{5}$$

    As an instance pooling it is the maximum probability, because the sigmoid keeps order.

    Examples
    --------
    >>> Max(1)(torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([0, 2, 3])).bags.tolist()
    [[2.0], [3.0]]
    """

    def forward(self, values: Tensor, offsets: Tensor) -> Pooled:
        """Pool as `Pooling.forward` says."""
        return Pooled(segment_max(values, offsets))


class Mean(Pooling):
    r"""The mean over a bag (paper, section 2.3).

    $$z = \frac{1}{K} \sum_{k=1}^{K} h_k \tag{6}$$

    Examples
    --------
    >>> Mean(1)(torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([0, 2, 3])).bags.tolist()
    [[1.5], [3.0]]
    """

    def forward(self, values: Tensor, offsets: Tensor) -> Pooled:
        """Pool as `Pooling.forward` says."""
        return Pooled(segment_mean(values, offsets))


class Counting(Pooling):
    r"""A pooling that adds instances up, in the measure of the bags learnt from.

    Sums of bags of four and of four thousand are a thousandfold apart, and so would be the steps of training; so a sum
    is divided by $\bar K$, the mean number of instances of the training bags, whatever the number in its own.

    Parameters
    ----------
    width
        Number of columns.

    Attributes
    ----------
    share : Tensor
        What a sum is multiplied with, shape (); 1 until the sizes of training bags are known.
    """

    share: Tensor

    def __init__(self, width: int, **options: Any) -> None:
        super().__init__(width, **options)
        self.register_buffer("share", torch.ones(()))

    def learn_of_sizes(self, sizes: NDArray[np.int64]) -> None:
        """Do so, as `Pooling.learn_of_sizes` says."""
        self.share.fill_(1 / float(np.mean(sizes)))


class Sum(Counting):
    r"""The sum over a bag, which tells how many instances there were where a mean or a maximum does not.

    $$z = \frac{1}{\bar K} \sum_{k=1}^{K} h_k$$

    It is in the measure of the training bags (`Counting`), and for vectors alone: a sum of probabilities is none, and
    ISR and noisy-or are what counts at the instance level.

    Examples
    --------
    >>> Sum(1)(torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([0, 2, 3])).bags.tolist()
    [[3.0], [3.0]]
    """

    def forward(self, values: Tensor, offsets: Tensor) -> Pooled:
        """Pool as `Pooling.forward` says."""
        return Pooled(self.share * segment_sum(values, offsets))


class LogSumExp(Pooling):
    r"""The convex maximum (Ramon & De Raedt, 2000).

    $$z_m = \frac{1}{r} \log\left(\frac{1}{K} \sum_{k=1}^{K} \exp(r h_{km})\right)$$

    Parameters
    ----------
    width
        Number of columns.
    sharpness
        $r$: towards 0 it becomes the mean, towards infinity the maximum.

    Examples
    --------
    >>> LogSumExp(1, sharpness=100.0)(torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([0, 2, 3])).bags.tolist()
    [[1.99...], [3.0]]
    """

    def __init__(self, width: int, sharpness: float = 5.0) -> None:
        super().__init__(width)
        self.sharpness = sharpness

    def forward(self, values: Tensor, offsets: Tensor) -> Pooled:
        """Pool as `Pooling.forward` says."""
        return Pooled(_log_mean_exp(self.sharpness * values, offsets) / self.sharpness)


class Attention(Pooling):
    r"""A weighted mean whose weights a small network learns (paper, section 2.4).

    $$z = \sum_{k=1}^{K} a_k h_k \tag{7}$$

    $$a_k = \frac{\exp\{w^\top \tanh(V h_k)\}}{\sum_{j=1}^{K} \exp\{w^\top \tanh(V h_j)\}} \tag{8}$$

    Parameters
    ----------
    width
        Number of columns M of the embeddings.
    hidden
        $L$, the number of rows of $V$. The paper tries 64, 128 and 256, with little difference.

    Raises
    ------
    BagwiseError
        If `hidden` is no whole number from 1 on.

    Examples
    --------
    >>> pooled = Attention(3)(torch.randn(5, 3), torch.tensor([0, 2, 5]))
    >>> pooled.bags.shape, pooled.weights.shape
    (torch.Size([2, 3]), torch.Size([5]))
    """

    def __init__(self, width: int, hidden: int = 128) -> None:
        super().__init__(width)
        if not is_count(hidden):
            raise BagwiseError(f"hidden is {hidden!r}: it must be a whole number from 1 on")
        self.V = nn.Linear(width, hidden, bias=False)
        self.w = nn.Linear(hidden, 1, bias=False)

    def scores(self, embeddings: Tensor) -> Tensor:
        """Score each instance before the softmax.

        Parameters
        ----------
        embeddings
            Shape (N, width).

        Returns
        -------
        Tensor
            Shape (N, 1).
        """
        scores: Tensor = self.w(self.V(embeddings).tanh())
        return scores

    def forward(self, values: Tensor, offsets: Tensor) -> Pooled:
        """Pool as `Pooling.forward` says."""
        weights = segment_softmax(in_parts(self.scores, values, 1), offsets)
        return Pooled(segment_weighted_sum(weights, values, offsets), weights.squeeze(1))


class GatedAttention(Attention):
    r"""Attention whose scores pass a learnt gate (paper, section 2.4).

    $$
    a_k = \frac{\exp\{w^\top (\tanh(V h_k) \odot \mathrm{sigm}(U h_k))\}}
               {\sum_{j=1}^{K} \exp\{w^\top (\tanh(V h_j) \odot \mathrm{sigm}(U h_j))\}} \tag{9}
    $$

    Parameters
    ----------
    width
        Number of columns M of the embeddings.
    hidden
        $L$, the number of rows of $V$ and of $U$.

    Examples
    --------
    >>> GatedAttention(3, hidden=4)(torch.randn(5, 3), torch.tensor([0, 2, 5])).bags.shape
    torch.Size([2, 3])
    """

    def __init__(self, width: int, hidden: int = 128) -> None:
        super().__init__(width, hidden)
        self.U = nn.Linear(width, hidden, bias=False)

    def scores(self, embeddings: Tensor) -> Tensor:
        """Score each instance as `Attention.scores` says."""
        scores: Tensor = self.w(self.V(embeddings).tanh() * self.U(embeddings).sigmoid())
        return scores


class SumAttention(Counting, Attention):
    r"""Attention that counts: a weighted sum, in which each instance has a weight of its own, whatever the others have.

    $$z = \frac{1}{\bar K} \sum_{k=1}^{K} a_k h_k, \qquad a_k = \mathrm{sigm}(w^\top \tanh(V h_k) + b)$$

    Where the softmax of `Attention` shares out a weight of 1 among the instances of a bag, so that four that count are
    as good as one, here each adds its own, between 0 and 1. The sum is in the measure of the training bags
    (`Counting`).

    Parameters
    ----------
    width
        Number of columns M of the embeddings.
    hidden
        $L$, the number of rows of $V$.

    Examples
    --------
    >>> pooling, offsets = SumAttention(3), torch.tensor([0, 2, 6])
    >>> once, twice = pooling(torch.ones(6, 3), offsets).bags
    >>> bool(torch.allclose(2 * once, twice))
    True
    """

    def __init__(self, width: int, hidden: int = 128) -> None:
        super().__init__(width, hidden=hidden)
        self.b = nn.Parameter(torch.zeros(1))

    def forward(self, values: Tensor, offsets: Tensor) -> Pooled:
        """Pool as `Pooling.forward` says."""
        weights = (in_parts(self.scores, values, 1) + self.b).sigmoid()
        return Pooled(self.share * segment_weighted_sum(weights, values, offsets), weights.squeeze(1))


class GatedSumAttention(SumAttention, GatedAttention):
    r"""`SumAttention` by the scores of `GatedAttention`.

    $$a_k = \mathrm{sigm}(w^\top (\tanh(V h_k) \odot \mathrm{sigm}(U h_k)) + b)$$

    Parameters
    ----------
    width
        Number of columns M of the embeddings.
    hidden
        $L$, the number of rows of $V$ and of $U$.

    Examples
    --------
    >>> GatedSumAttention(3, hidden=4)(torch.randn(5, 3), torch.tensor([0, 2, 5])).weights.shape
    torch.Size([5])
    """


class ProbabilityMean(Pooling):
    r"""The mean of the instances' probabilities $p_k$ (paper, section 2.3, at the instance level).

    $$\theta = \frac{1}{K} \sum_{k=1}^{K} p_k \tag{6}$$

    Examples
    --------
    >>> logits = torch.tensor([[0.25], [0.75]]).logit()
    >>> ProbabilityMean(1)(logits, torch.tensor([0, 2])).bags.sigmoid().item()
    0.5
    """

    of_probabilities = True

    def forward(self, values: Tensor, offsets: Tensor) -> Pooled:
        """Pool as `Pooling.forward` says."""
        log_p, log_not_p = _log_mean_probability(values, offsets)
        return Pooled(log_p - log_not_p)


class ProbabilityLogSumExp(Pooling):
    r"""The convex maximum of the instances' probabilities $p_k$ (Ramon & De Raedt, 2000).

    $$\theta = \frac{1}{r} \log\left(\frac{1}{K} \sum_{k=1}^{K} \exp(r p_k)\right)$$

    Parameters
    ----------
    width
        Number of columns.
    sharpness
        $r$: towards 0 it becomes the mean, towards infinity the maximum.

    Examples
    --------
    >>> logits = torch.tensor([[0.25], [0.75]]).logit()
    >>> ProbabilityLogSumExp(1, sharpness=50.0)(logits, torch.tensor([0, 2])).bags.sigmoid().item()
    0.736...
    """

    of_probabilities = True

    def __init__(self, width: int, sharpness: float = 5.0) -> None:
        super().__init__(width)
        self.sharpness = sharpness

    def forward(self, values: Tensor, offsets: Tensor) -> Pooled:
        """Pool as `Pooling.forward` says."""
        # With q the result: r q = log(1 + mean(exp(r p) - 1)), and r (1 - q) = -log(mean(exp(-r (1 - p)))), which where
        # it is small is better computed as -log(1 - mean(1 - exp(-r (1 - p)))). The factor r falls out of their ratio.
        log_r = math.log(self.sharpness)
        log_rp, log_r_not_p = logsigmoid(values) + log_r, logsigmoid(-values) + log_r
        log_rq = _log_softplus(_log_mean_exp(_log_expm1_exp(log_rp), offsets))
        r_not_p = log_r_not_p.exp()
        r_not_q = -_log_mean_exp(-r_not_p, offsets)
        small = _log_minus_log1m_exp(_log_mean_exp(_log_expm1_exp(log_r_not_p) - r_not_p, offsets).clamp(max=-0.5))
        return Pooled(log_rq - torch.where(r_not_q < math.log(2), small, r_not_q.clamp(min=0.5).log()))


class ISR(Pooling):
    r"""Integrated segmentation and recognition, of the instances' probabilities $p_k$ (Keeler et al., 1991).

    $$\theta = \frac{s}{1 + s}, \qquad s = \sum_{k=1}^{K} \frac{p_k}{1 - p_k}$$

    Examples
    --------
    >>> ISR(1)(torch.tensor([[0.5], [0.5]]).logit(), torch.tensor([0, 2])).bags.sigmoid().item()
    0.666...
    """

    of_probabilities = True

    def forward(self, values: Tensor, offsets: Tensor) -> Pooled:
        """Pool as `Pooling.forward` says."""
        # p / (1 - p) is the exponential of the logit, and so is s of the result's.
        return Pooled(segment_logsumexp(values, offsets))


class NoisyOr(Pooling):
    r"""The probability that at least one instance is positive, by their own $p_k$ (Maron & Lozano-Pérez, 1998).

    $$\theta = 1 - \prod_{k=1}^{K} (1 - p_k)$$

    Examples
    --------
    >>> NoisyOr(1)(torch.tensor([[0.5], [0.5]]).logit(), torch.tensor([0, 2])).bags.sigmoid().item()
    0.75...
    """

    of_probabilities = True

    def forward(self, values: Tensor, offsets: Tensor) -> Pooled:
        """Pool as `Pooling.forward` says."""
        # -log(1 - p) is softplus(logit); the bag's is their sum t, and its logit log(exp(t) - 1).
        log_t = segment_logsumexp(_log_softplus(values), offsets)
        return Pooled(_log_expm1_exp(log_t))


class NoisyAnd(Pooling):
    r"""A smooth threshold on the mean of the instances' probabilities $p_k$ (Kraus et al., 2016).

    $$
    \theta = \frac{\mathrm{sigm}(a (m - b)) - \mathrm{sigm}(-a b)}{\mathrm{sigm}(a (1 - b)) - \mathrm{sigm}(-a b)},
    \qquad m = \frac{1}{K} \sum_{k=1}^{K} p_k
    $$

    The share $b$ of positive instances that makes a bag positive is learnt, one a column, from 0.5 on.

    Parameters
    ----------
    width
        Number of columns.
    slope
        $a$, fixed.

    Examples
    --------
    >>> NoisyAnd(1)(torch.tensor([[0.2], [0.8]]).logit(), torch.tensor([0, 2])).bags.sigmoid().item()
    0.5
    """

    of_probabilities = True

    def __init__(self, width: int, slope: float = 10.0) -> None:
        super().__init__(width)
        self.slope = slope
        self.threshold_logit = nn.Parameter(torch.zeros(width))

    def forward(self, values: Tensor, offsets: Tensor) -> Pooled:
        """Pool as `Pooling.forward` says."""
        a, b = self.slope, self.threshold_logit.sigmoid()
        log_m, log_not_m = _log_mean_probability(values, offsets)
        log_am, log_a_not_m = log_m + math.log(a), log_not_m + math.log(a)
        # Differences of sigmoids, written as sigmoid(u) - sigmoid(v) = e^v (e^(u-v) - 1) / ((1 + e^u) (1 + e^v)); in
        # the ratio of the result to its complement most of it cancels.
        return Pooled(
            _log_expm1_exp(log_am)
            - _log_expm1_exp(log_a_not_m)
            - log_am.exp()
            - logsigmoid(-a * (1 - b))
            + logsigmoid(a * b)
        )


def _log_mean_exp(values: Tensor, offsets: Tensor) -> Tensor:
    return segment_logsumexp(values, offsets) - segment_lengths(offsets).to(values.dtype).log().unsqueeze(1)


def _log_mean_probability(logits: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
    return _log_mean_exp(logsigmoid(logits), offsets), _log_mean_exp(logsigmoid(-logits), offsets)


# The three functions below keep to the first terms of their series where the plain formula loses all digits.
# torch.where passes gradients to both branches, so the argument of the branch not taken is replaced: its gradient must
# be finite too.

_TINY = -15.0  # below it, exp(x)^2 is smaller than what float64 resolves beside exp(x)


def _log_softplus(x: Tensor) -> Tensor:
    """Compute log(log(1 + exp(x)))."""
    tiny = x < _TINY
    return torch.where(tiny, x - x.clamp(max=_TINY).exp() / 2, (-logsigmoid(-x.clamp(min=_TINY))).log())


def _log_expm1_exp(x: Tensor) -> Tensor:
    """Compute log(exp(exp(x)) - 1)."""
    y = x.clamp(min=_TINY).exp()
    return torch.where(x < _TINY, x + x.clamp(max=_TINY).exp() / 2, y + (-torch.expm1(-y)).log())


def _log_minus_log1m_exp(x: Tensor) -> Tensor:
    """Compute log(-log(1 - exp(x))) for x < 0."""
    plain = (-torch.log1p(-x.clamp(min=_TINY).exp())).log()
    return torch.where(x < _TINY, x + x.clamp(max=_TINY).exp() / 2, plain)


EMBEDDING_POOLINGS: dict[str, Callable[..., Pooling]] = {
    "max": Max,
    "mean": Mean,
    "log-sum-exp": LogSumExp,
    "attention": Attention,
    "gated-attention": GatedAttention,
    "sum": Sum,
    "sum-attention": SumAttention,
    "gated-sum-attention": GatedSumAttention,
}

INSTANCE_POOLINGS: dict[str, Callable[..., Pooling]] = {
    "max": Max,
    "mean": ProbabilityMean,
    "log-sum-exp": ProbabilityLogSumExp,
    "isr": ISR,
    "noisy-or": NoisyOr,
    "noisy-and": NoisyAnd,
}
