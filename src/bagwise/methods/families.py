"""The paper's neural methods and their rivals: what is pooled, and how."""

from dataclasses import dataclass
from typing import Any, ClassVar

from bagwise.methods.neural import NeuralMIL
from bagwise.methods.recipes import Recipe
from bagwise.models.pooling import PoolingSpec
from bagwise.parameters import Count

__all__ = ["AttentionMIL", "DeepSupervisionMIL", "EmbeddingMIL", "InstanceMIL", "ResidualMIL"]


@dataclass(kw_only=True, eq=False, repr=False)
class AttentionMIL(NeuralMIL):
    r"""Attention-based deep MIL: the paper's method (section 2.4).

    $$\theta(X) = g\left(\sum_{k=1}^{K} a_k h_k\right), \qquad h_k = f(x_k)$$

    An encoder $f$ embeds the instances $x_k$, the weights $a_k$ are those of `bagwise.models.pooling.Attention`
    (equation 8) or of `bagwise.models.pooling.GatedAttention` (9), and $g$ is linear before the target's link: of two
    classes $\theta(X)$ is the probability of the positive one.

    Parameters
    ----------
    gated
        Gated attention in place of plain attention. None gates where bags of vectors are large.
    counting
        Weights that count: each instance has one of its own between 0 and 1, and the bag vector is the weighted sum
        (`bagwise.models.pooling.SumAttention`). Weights that share out a 1 in each bag, as the paper's do, find the
        instance that makes a bag positive, and lose how many of them there are.
    hidden
        $L$, the size of the attention network. None takes 64 for vectors, and 128 for images and where bags are large.
    encoder, epochs, ...
        As in `NeuralMIL`.

    Examples
    --------
    >>> import bagwise as bw, numpy as np
    >>> rng = np.random.default_rng(0)
    >>> arrays = [rng.normal(size=(4, 2)) + 3 * (bag % 2) for bag in range(20)]
    >>> bags = bw.Bags.from_arrays(arrays, labels=[bag % 2 for bag in range(20)])
    >>> model = bw.AttentionMIL(gated=True, epochs=20, random_state=0).fit(bags)
    >>> model.predict(bags[:2]).tolist(), model.attention(bags[:2]).shape
    ([0, 1], (8,))
    """

    level: ClassVar[str] = "embedding"

    gated: bool | None = None
    counting: bool = False
    hidden: Count | None = None

    def _pooling(self, recipe: Recipe) -> tuple[PoolingSpec, dict[str, Any]]:
        name = "gated-" * recipe.gated + "sum-" * self.counting + "attention"
        return name, {"hidden": recipe.hidden}

    def _may_weigh(self) -> bool:
        return True


@dataclass(kw_only=True, eq=False, repr=False)
class EmbeddingMIL(NeuralMIL):
    r"""The embedding-level approach with a pooling that is not learnt (paper, section 2.2); MI-Net on vectors.

    $$\theta(X) = g(\sigma(f(x_1), \dots, f(x_K)))$$

    The pooling $\sigma$ makes one vector of the embeddings, of which a linear $g$ decides, as in `AttentionMIL`.

    Parameters
    ----------
    pooling
        ``"max"``, ``"mean"``, ``"log-sum-exp"`` or ``"sum"``, which counts, or a class that follows
        `bagwise.models.pooling.Pooling`.
    encoder, epochs, ...
        As in `NeuralMIL`.

    Examples
    --------
    >>> import bagwise as bw
    >>> bags = bw.Bags.from_arrays([[[0.0]], [[1.0], [0.0]], [[0.0]], [[1.0]]], labels=["no", "yes", "no", "yes"])
    >>> bw.EmbeddingMIL(pooling="mean", epochs=2, random_state=0).fit(bags).predict_proba(bags).shape
    (4, 2)
    """

    level: ClassVar[str] = "embedding"

    pooling: PoolingSpec = "max"

    def _pooling(self, recipe: Recipe) -> tuple[PoolingSpec, dict[str, Any]]:  # noqa: ARG002
        return self.pooling, {}


@dataclass(kw_only=True, eq=False, repr=False)
class InstanceMIL(NeuralMIL):
    r"""The instance-level approach: score instances, pool their probabilities (paper, section 2.2); mi-Net on vectors.

    $$\theta(X) = \sigma(p_1, \dots, p_K), \qquad p_k = f(x_k)$$

    Parameters
    ----------
    pooling
        ``"max"``, ``"mean"``, ``"log-sum-exp"``, ``"isr"``, ``"noisy-or"`` or ``"noisy-and"`` (paper, section 2.3), or
        a class that follows `bagwise.models.pooling.Pooling` and pools logits.
    encoder, epochs, ...
        As in `NeuralMIL`.

    Examples
    --------
    >>> import bagwise as bw
    >>> bags = bw.Bags.from_arrays([[[0.0]], [[1.0], [0.0]], [[0.0]], [[1.0]]], labels=["no", "yes", "no", "yes"])
    >>> bw.InstanceMIL(pooling="noisy-or", epochs=2, random_state=0).fit(bags).instance_scores(bags).shape
    (5,)
    """

    level: ClassVar[str] = "instance"

    pooling: PoolingSpec = "max"

    def _pooling(self, recipe: Recipe) -> tuple[PoolingSpec, dict[str, Any]]:  # noqa: ARG002
        return self.pooling, {}


@dataclass(kw_only=True, eq=False, repr=False)
class DeepSupervisionMIL(EmbeddingMIL):
    r"""MI-Net with deep supervision: every layer is pooled and scored (Wang et al., 2016).

    $$\theta(X) = \frac{1}{L} \sum_{l=1}^{L} g_l(z^l), \qquad z^l = \sigma(h_1^l, \dots, h_K^l)$$

    $h_k^l$ is what layer $l$ gives of instance $k$. Each $g_l$ learns by a loss of its own.

    Parameters
    ----------
    pooling
        ``"max"``, ``"mean"``, ``"log-sum-exp"`` or ``"sum"``, or a class that follows
        `bagwise.models.pooling.Pooling`.
    encoder
        ``"auto"`` is MI-Net's stack of 256, 128 and 64 units; your own must be a `bagwise.models.encoders.MultiLevel`.
    epochs, ...
        As in `NeuralMIL`.

    Examples
    --------
    >>> import bagwise as bw
    >>> bags = bw.Bags.from_arrays([[[0.0]], [[1.0], [0.0]], [[0.0]], [[1.0]]], labels=["no", "yes", "no", "yes"])
    >>> bw.DeepSupervisionMIL(epochs=2, random_state=0).fit(bags).predict_proba(bags).shape
    (4, 2)
    """

    level: ClassVar[str] = "deep-supervision"
    auto_encoder: ClassVar[str | None] = "mi-net-levels"


@dataclass(kw_only=True, eq=False, repr=False)
class ResidualMIL(EmbeddingMIL):
    r"""MI-Net with residual connections: the pooled layers are added up and scored (Wang et al., 2016).

    $$\theta(X) = g\left(\sum_{l=1}^{L} z^l\right), \qquad z^l = \sigma(h_1^l, \dots, h_K^l)$$

    Parameters
    ----------
    pooling
        ``"max"``, ``"mean"``, ``"log-sum-exp"`` or ``"sum"``, or a class that follows
        `bagwise.models.pooling.Pooling`.
    encoder
        ``"auto"`` is MI-Net's three layers of 128 units; your own must be a `bagwise.models.encoders.MultiLevel`.
    epochs, ...
        As in `NeuralMIL`.

    Examples
    --------
    >>> import bagwise as bw
    >>> bags = bw.Bags.from_arrays([[[0.0]], [[1.0], [0.0]], [[0.0]], [[1.0]]], labels=["no", "yes", "no", "yes"])
    >>> bw.ResidualMIL(epochs=2, random_state=0).fit(bags).predict_proba(bags).shape
    (4, 2)
    """

    level: ClassVar[str] = "residual"
    auto_encoder: ClassVar[str | None] = "mi-net-equal-levels"
