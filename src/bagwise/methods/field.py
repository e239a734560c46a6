"""Methods that the field compares itself with: DSMIL, CLAM, DTFD-MIL, ACMIL and ILRA."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from annotated_types import Ge, Interval
from numpy.typing import NDArray

from bagwise.bags import Bags
from bagwise.errors import BagwiseError
from bagwise.methods.neural import NeuralMIL
from bagwise.methods.recipes import Recipe
from bagwise.models.pooling import PoolingSpec
from bagwise.parameters import Count, Share
from bagwise.targets.classes import ClassTarget
from bagwise.targets.contract import Target
from bagwise.training.members import Plan

__all__ = ["ACMIL", "CLAM", "DSMIL", "DTFDMIL", "ILRA"]


class _Weighing(NeuralMIL):
    """A neural method that has no pooling to choose, weighs instances, and hands its level what `OPTIONS` names."""

    several: ClassVar[bool] = True
    OPTIONS: ClassVar[tuple[str, ...]]

    def _pooling(self, recipe: Recipe) -> tuple[PoolingSpec | None, dict[str, Any]]:  # noqa: ARG002
        return None, {}

    def _level_options(self, recipe: Recipe) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in self.OPTIONS}
        return own | ({"hidden": recipe.hidden} if "hidden" in self._get_param_names() else {})

    def _may_weigh(self) -> bool:
        return True


@dataclass(kw_only=True, eq=False, repr=False)
class DSMIL(_Weighing):
    """Dual-stream MIL (Li et al., 2021): the strongest instance, and attention by how much instances are like it.

    `bagwise.models.dual_stream.DualStream` has its equations, and where ours differs. It takes every target.

    Parameters
    ----------
    query
        L, the size of the query by which likeness is measured.
    encoder, epochs, ...
        As in `NeuralMIL`.

    Examples
    --------
    >>> import bagwise as bw
    >>> bags = bw.Bags.from_arrays([[[0.0]], [[1.0], [0.0]], [[0.0]], [[1.0]]], labels=["no", "yes", "no", "yes"])
    >>> bw.DSMIL(epochs=2, random_state=0).fit(bags).attention(bags).shape
    (5,)
    """

    level: ClassVar[str] = "dual-stream"
    OPTIONS = ("query",)

    query: Count = 128


@dataclass(kw_only=True, eq=False, repr=False)
class CLAM(_Weighing):
    """Clustering-constrained attention (Lu et al., 2021): CLAM-SB, and CLAM-MB `by_class`. For classes alone.

    `bagwise.models.clustered.ClusteredAttention` has its equations, and where ours differs.

    Parameters
    ----------
    by_class
        One attention branch a class, and so weights by class (CLAM-MB); else one for all (CLAM-SB).
    hidden
        As in `AttentionMIL`.
    sampled
        How many instances of the highest attention of a bag, and how many of the lowest, its loss of instances learns
        from; of fewer than twice as many half, rounded down.
    instance_share
        What that loss counts, where the bag's counts the rest of 1.
    instance_loss
        The smooth ``"svm"`` of the top 1, or ``"cross-entropy"``.
    subtyping
        Whether classes exclude each other, so that the highest are no evidence for the others.
    encoder, epochs, ...
        As in `NeuralMIL`.

    Examples
    --------
    >>> import bagwise as bw
    >>> bags = bw.Bags.from_arrays([[[0.0]], [[1.0], [0.0]], [[0.0]], [[1.0]]], labels=["no", "yes", "no", "yes"])
    >>> bw.CLAM(by_class=True, epochs=2, random_state=0).fit(bags).attention(bags).shape
    (5, 2)
    """

    level: ClassVar[str] = "clustered"
    OPTIONS = ("by_class", "sampled", "instance_share", "instance_loss", "subtyping")

    by_class: bool = False
    hidden: Count | None = None
    sampled: Count = 8
    instance_share: Annotated[float, Interval(ge=0, le=1)] = 0.3
    instance_loss: Literal["svm", "cross-entropy"] = "svm"
    subtyping: bool = False

    def _plan(
        self, bags: Bags, target: Target, order_seed: int, recipe: Recipe, subset: NDArray[np.int64] | None = None
    ) -> Plan:
        if not isinstance(target, ClassTarget):
            raise BagwiseError(
                f"CLAM learns classes, of which its loss of instances asks, and the target is {target.kind}: use"
                " AttentionMIL, DSMIL, DTFDMIL or ACMIL"
            )
        return super()._plan(bags, target, order_seed, recipe, subset)


@dataclass(kw_only=True, eq=False, repr=False)
class DTFDMIL(_Weighing):
    """Double-tier feature distillation (Zhang et al., 2022): attention over random parts of a bag, then over these.

    `bagwise.models.distilled.TwoTiers` has its equations, and where ours differs. It takes every target.

    Parameters
    ----------
    pseudo_bags
        How many parts a bag is dealt out to in training; in prediction it is one.
    distil
        What the second tier is given of each part: ``"feature"``, its vector (AFS); ``"max"``, the instance that adds
        most to the first tier's answer (MaxS), or ``"max-min"``, also that which adds least (MaxMinS), for answers that
        are one number.
    hidden
        As in `AttentionMIL`, of both tiers.
    encoder, epochs, ...
        As in `NeuralMIL`.

    Examples
    --------
    >>> import bagwise as bw
    >>> bags = bw.Bags.from_arrays([[[0.0]], [[1.0], [0.0]], [[0.0]], [[1.0]]], labels=["no", "yes", "no", "yes"])
    >>> bw.DTFDMIL(epochs=2, random_state=0).fit(bags).attention(bags).shape
    (5,)
    """

    level: ClassVar[str] = "two-tiers"
    OPTIONS = ("pseudo_bags", "distil")

    pseudo_bags: Count = 4
    distil: Literal["feature", "max", "max-min"] = "feature"
    hidden: Count | None = None

    def _plan(
        self, bags: Bags, target: Target, order_seed: int, recipe: Recipe, subset: NDArray[np.int64] | None = None
    ) -> Plan:
        if self.loss is not None:
            raise BagwiseError("DTFDMIL learns each of its tiers by a loss of its own: leave loss out")
        return super()._plan(bags, target, order_seed, recipe, subset)


@dataclass(kw_only=True, eq=False, repr=False)
class ACMIL(_Weighing):
    """Attention-challenging MIL (Zhang et al., 2024): branches that are to differ, and the top hidden at random.

    `bagwise.models.challenged.ChallengedAttention` says how, and where ours differs. It takes every target.

    Parameters
    ----------
    branches
        How many attention branches there are.
    masked
        How many instances of the highest attention of a branch may be hidden in a step.
    masked_share
        Which share of them is.
    hidden
        As in `AttentionMIL`.
    encoder, epochs, ...
        As in `NeuralMIL`.

    Examples
    --------
    >>> import bagwise as bw
    >>> bags = bw.Bags.from_arrays([[[0.0]], [[1.0], [0.0]], [[0.0]], [[1.0]]], labels=["no", "yes", "no", "yes"])
    >>> bw.ACMIL(epochs=2, random_state=0).fit(bags).attention(bags).shape
    (5,)
    """

    level: ClassVar[str] = "challenged"
    OPTIONS = ("branches", "masked", "masked_share")

    branches: Count = 5
    masked: Annotated[int, Ge(0)] = 10
    masked_share: Share = 0.6
    hidden: Count | None = None


@dataclass(kw_only=True, eq=False, repr=False)
class ILRA(_Weighing):
    """Iterative low-rank attention (Xiang et al., 2023): instances attend to each other through few learnt rows.

    `bagwise.models.low_rank.LowRankAttention` has its equations, and where ours differs. It takes every target.
    Unless a scheduler is given, the learning rate falls by a cosine, as the authors' does.

    Parameters
    ----------
    width
        Of its layers.
    rank
        How many learnt rows instances attend through.
    blocks
        How often they do.
    heads
        Of each attention, among which the width is shared out.
    encoder, epochs, ...
        As in `NeuralMIL`. The authors' own layers come after the encoder; theirs alone are ``encoder="identity"``.

    Examples
    --------
    >>> import bagwise as bw
    >>> bags = bw.Bags.from_arrays([[[0.0]], [[1.0], [0.0]], [[0.0]], [[1.0]]], labels=["no", "yes", "no", "yes"])
    >>> bw.ILRA(width=16, epochs=2, random_state=0).fit(bags).attention(bags).shape
    (5,)
    """

    level: ClassVar[str] = "low-rank"
    OPTIONS = ("width", "rank", "blocks", "heads")

    width: Count = 256
    rank: Count = 1
    blocks: Count = 2
    heads: Count = 8

    @classmethod
    def _own_recipe(cls) -> dict[str, Any]:
        return super()._own_recipe() | {"scheduler": "cosine"}
