"""Methods that say for each class what instances contribute, for and against it."""

from dataclasses import dataclass
from typing import Any, ClassVar

from bagwise.methods.neural import NeuralMIL
from bagwise.methods.recipes import Recipe
from bagwise.models.pooling import PoolingSpec
from bagwise.parameters import Count

__all__ = ["AdditiveMIL", "ClassAttentionMIL", "ConjunctiveMIL", "SignedAttentionMIL"]


@dataclass(kw_only=True, eq=False, repr=False)
class _EvidenceMIL(NeuralMIL):
    """What they have in common."""

    several: ClassVar[bool] = True

    gated: bool | None = None
    hidden: Count | None = None

    def _pooling(self, recipe: Recipe) -> tuple[PoolingSpec | None, dict[str, Any]]:  # noqa: ARG002
        return None, {}

    def _level_options(self, recipe: Recipe) -> dict[str, Any]:
        return {"hidden": recipe.hidden, "gated": recipe.gated}

    def _may_weigh(self) -> bool:
        return True


@dataclass(kw_only=True, eq=False, repr=False)
class ClassAttentionMIL(_EvidenceMIL):
    """Attention of its own for each class, in the form of CLAM-MB (`bagwise.models.evidence.ClassAttention`).

    `attention` gives a column a class, and of two classes two; of one number, two as well, of what lowers and of what
    raises it. Weights for a class say by which instances it was judged, and `contributions` what these say.

    Parameters
    ----------
    gated, hidden
        As in `AttentionMIL`.
    encoder, epochs, ...
        As in `NeuralMIL`; `size` stays False, because instances alone decide.

    Examples
    --------
    >>> import bagwise as bw
    >>> bags = bw.Bags.from_arrays([[[0.0]], [[1.0], [0.0]], [[2.0]], [[1.0]]], labels=["a", "b", "c", "b"])
    >>> model = bw.ClassAttentionMIL(epochs=2, random_state=0).fit(bags)
    >>> model.attention(bags).shape, model.contributions(bags).shape
    ((5, 3), (5, 3))
    """

    level: ClassVar[str] = "class-attention"


@dataclass(kw_only=True, eq=False, repr=False)
class AdditiveMIL(_EvidenceMIL):
    """Additive MIL: what a bag is, is the sum of what its instances are (`bagwise.models.evidence.Additive`).

    Parameters
    ----------
    gated
        As in `AttentionMIL`.
    hidden
        As in `AttentionMIL`, and the size of the classifier's hidden layer, too.
    encoder, epochs, ...
        As in `NeuralMIL`; `size` stays False, because instances alone decide.

    Examples
    --------
    >>> import bagwise as bw
    >>> bags = bw.Bags.from_arrays([[[0.0]], [[1.0], [0.0]], [[0.0]], [[1.0]]], labels=["no", "yes", "no", "yes"])
    >>> bw.AdditiveMIL(epochs=2, random_state=0).fit(bags).contributions(bags).shape
    (5,)
    """

    level: ClassVar[str] = "additive"


@dataclass(kw_only=True, eq=False, repr=False)
class ConjunctiveMIL(_EvidenceMIL):
    """Conjunctive pooling: instances are weighed and judged, each by itself (`bagwise.models.evidence.Conjunctive`).

    Parameters
    ----------
    gated, hidden
        As in `AttentionMIL`.
    encoder, epochs, ...
        As in `NeuralMIL`; `size` stays False, because instances alone decide.

    Examples
    --------
    >>> import bagwise as bw
    >>> bags = bw.Bags.from_arrays([[[0.0]], [[1.0], [0.0]], [[0.0]], [[1.0]]], labels=["no", "yes", "no", "yes"])
    >>> weights = bw.ConjunctiveMIL(epochs=2, random_state=0).fit(bags).attention(bags)
    >>> bool((weights > 0).all() and (weights < 1).all())
    True
    """

    level: ClassVar[str] = "conjunctive"


@dataclass(kw_only=True, eq=False, repr=False)
class SignedAttentionMIL(_EvidenceMIL):
    """Attention with weights of either sign (`bagwise.models.evidence.SignedAttention`).

    Parameters
    ----------
    gated, hidden
        As in `AttentionMIL`.
    counting
        Weights that count: each instance has one of its own between -1 and 1. False shares out attraction and repulsion
        among the instances of a bag, and an instance weighs the difference of its shares.
    encoder, epochs, ...
        As in `NeuralMIL`; `size` stays False, because instances alone decide.

    Examples
    --------
    >>> import bagwise as bw
    >>> bags = bw.Bags.from_arrays([[[0.0]], [[1.0], [0.0]], [[0.0]], [[1.0]]], labels=["no", "yes", "no", "yes"])
    >>> bw.SignedAttentionMIL(counting=False, epochs=2, random_state=0).fit(bags).attention(bags).shape
    (5,)
    """

    level: ClassVar[str] = "signed-attention"

    counting: bool = True

    def _level_options(self, recipe: Recipe) -> dict[str, Any]:
        return super()._level_options(recipe) | {"counting": self.counting}
