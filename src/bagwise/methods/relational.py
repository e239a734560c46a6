"""Methods in which the instances of a bag know each other before they are pooled."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from bagwise.methods.families import AttentionMIL
from bagwise.methods.neural import NeuralMIL
from bagwise.methods.recipes import Recipe
from bagwise.models.pooling import PoolingSpec
from bagwise.parameters import Count, Share

__all__ = ["GraphMIL", "SelfAttentionMIL", "SmoothAttentionMIL", "TransMIL"]


@dataclass(kw_only=True, eq=False, repr=False)
class GraphMIL(AttentionMIL):
    """Attention over instances that have heard from their nearest neighbours (`bagwise.models.contexts.Graph`).

    Parameters
    ----------
    neighbours
        How many neighbours of each instance, itself not counted. They are found once, and kept while the data are.
    near
        Where neighbours are near: in the ``"coordinates"`` of the instances, or in their ``"features"``, which are
        brought to one spread within the bag. ``"auto"`` takes coordinates where the bags learnt from have some; bags to
        predict must then have them, too.
    rounds
        How often each instance hears from its neighbours, so how far word goes.
    gated, counting, hidden, encoder, ...
        As in `AttentionMIL`.

    Examples
    --------
    >>> import bagwise as bw, numpy as np
    >>> rng = np.random.default_rng(0)
    >>> arrays = [rng.normal(size=(4, 2)) + 3 * (bag % 2) for bag in range(20)]
    >>> bags = bw.Bags.from_arrays(arrays, labels=[bag % 2 for bag in range(20)])
    >>> model = bw.make("graph", neighbours=2, epochs=20, random_state=0).fit(bags)
    >>> model.predict(bags[:2]).tolist(), model.attention(bags[:2]).shape
    ([0, 1], (8,))
    """

    several: ClassVar[bool] = True
    looks_at: ClassVar[Literal["neighbours", "order"] | None] = "neighbours"

    neighbours: Count = 8
    near: Literal["auto", "coordinates", "features"] = "auto"
    rounds: Count = 2

    def _context(self, recipe: Recipe) -> tuple[str, dict[str, Any]]:
        space = _space(self.near, recipe)
        return "graph", {"neighbours": self.neighbours, "space": space, "rounds": self.rounds}


@dataclass(kw_only=True, eq=False, repr=False)
class SelfAttentionMIL(AttentionMIL):
    """Attention over instances that have attended to each other (`bagwise.models.contexts.SelfAttention`).

    Parameters
    ----------
    heads
        How many of each attention between instances.
    induced
        How many learnt points the instances of a bag meet at, so that time grows with their number. None lets each see
        each, whose time grows with the square: for bags of hundreds.
    blocks
        How often they attend to each other.
    gated, counting, hidden, encoder, ...
        As in `AttentionMIL`.

    Examples
    --------
    >>> import bagwise as bw, numpy as np
    >>> rng = np.random.default_rng(0)
    >>> arrays = [rng.normal(size=(4, 2)) + 3 * (bag % 2) for bag in range(20)]
    >>> bags = bw.Bags.from_arrays(arrays, labels=[bag % 2 for bag in range(20)])
    >>> model = bw.make("self-attention", epochs=20, random_state=0).fit(bags)
    >>> model.predict(bags[:2]).tolist(), model.attention(bags[:2]).shape
    ([0, 1], (8,))
    """

    several: ClassVar[bool] = True

    heads: Count = 4
    induced: Count | None = 16
    blocks: Count = 2

    def _context(self, recipe: Recipe) -> tuple[str, dict[str, Any]]:  # noqa: ARG002
        return "self-attention", {"heads": self.heads, "induced": self.induced, "blocks": self.blocks}


@dataclass(kw_only=True, eq=False, repr=False)
class SmoothAttentionMIL(NeuralMIL):
    """Attention whose scores are smoothed over neighbours (Castro-Macias et al., 2024).

    Evidence that stands together counts together, as tumour cells do in tissue; alone, an instance has to stand out
    more (`bagwise.models.smoothing.SmoothAttention`).

    Parameters
    ----------
    neighbours, near
        As in `GraphMIL`.
    alpha
        The share of what neighbours say in each step.
    steps
        How often scores are smoothed.
    gated, hidden
        As in `AttentionMIL`.
    encoder, epochs, ...
        As in `NeuralMIL`.

    Examples
    --------
    >>> import bagwise as bw, numpy as np
    >>> rng = np.random.default_rng(0)
    >>> arrays = [rng.normal(size=(4, 2)) + 3 * (bag % 2) for bag in range(20)]
    >>> bags = bw.Bags.from_arrays(arrays, labels=[bag % 2 for bag in range(20)])
    >>> model = bw.make("smooth-attention", neighbours=2, epochs=20, random_state=0).fit(bags)
    >>> model.predict(bags[:2]).tolist(), model.attention(bags[:2]).shape
    ([0, 1], (8,))
    """

    level: ClassVar[str] = "embedding"
    several: ClassVar[bool] = True
    looks_at: ClassVar[Literal["neighbours", "order"] | None] = "neighbours"

    neighbours: Count = 8
    near: Literal["auto", "coordinates", "features"] = "auto"
    alpha: Share = 0.5
    steps: Count = 10
    gated: bool | None = None
    hidden: Count | None = None

    def _pooling(self, recipe: Recipe) -> tuple[PoolingSpec, dict[str, Any]]:
        options = {"neighbours": self.neighbours, "space": _space(self.near, recipe)}
        smoothing = {"alpha": self.alpha, "steps": self.steps}
        return "gated-" * recipe.gated + "smooth-attention", {"hidden": recipe.hidden, **options, **smoothing}

    def _may_weigh(self) -> bool:
        return True


@dataclass(kw_only=True, eq=False, repr=False)
class TransMIL(NeuralMIL):
    """A transformer over the instances of a bag in their order, folded into a square (Shao et al., 2021).

    What it says depends on the order of instances, as of no other method here, and it pads bags: to squares, and to
    stretches of equal length. `bagwise.models.transmil.TransMIL` has its equations. It is made for bags of thousands:
    at its full width a step costs as much as one of hundreds of instances however small the bag is, and so does the
    score of each instance, which is what it says of a bag of that instance alone.

    Unless a scheduler is given, the learning rate falls by a cosine, where other methods keep it: at a steady rate it
    kept falling back to one class for all bags.

    Parameters
    ----------
    width
        Of its layers; half of it is the number of landmarks. None takes 64, and where bags are large the authors' 512.
    heads
        Of each attention, among which the width is shared out.
    encoder, epochs, ...
        As in `NeuralMIL`. The authors' own layers come after the encoder; theirs alone are ``encoder="identity"``.

    Examples
    --------
    >>> import bagwise as bw
    >>> bags = bw.Bags.from_arrays([[[0.0]], [[1.0], [0.0]], [[0.0]], [[1.0]]], labels=["no", "yes", "no", "yes"])
    >>> bw.TransMIL(width=16, heads=2, epochs=2, random_state=0).fit(bags).predict_proba(bags).shape
    (4, 2)
    """

    level: ClassVar[str] = "transmil"
    several: ClassVar[bool] = True
    looks_at: ClassVar[Literal["neighbours", "order"] | None] = "order"

    width: Count | None = None
    heads: Count = 8

    @classmethod
    def _own_recipe(cls) -> dict[str, Any]:
        return super()._own_recipe() | {"scheduler": "cosine"}

    def _pooling(self, recipe: Recipe) -> tuple[PoolingSpec | None, dict[str, Any]]:  # noqa: ARG002
        return None, {}

    def _level_options(self, recipe: Recipe) -> dict[str, Any]:
        return {"width": self.width or recipe.width, "heads": self.heads, "dropout": 0.1}


def _space(near: str, recipe: Recipe) -> str:
    return ("coordinates" if recipe.places else "features") if near == "auto" else near
