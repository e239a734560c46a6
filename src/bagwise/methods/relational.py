"""Methods in which the instances of a bag know each other before they are pooled."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from bagwise.methods.families import AttentionMIL
from bagwise.methods.neural import NeuralMIL
from bagwise.methods.recipes import Recipe
from bagwise.models.pooling import PoolingSpec
from bagwise.parameters import Count, Share

__all__ = ["GraphMIL", "SelfAttentionMIL", "SmoothAttentionMIL"]


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


def _space(near: str, recipe: Recipe) -> str:
    return ("coordinates" if recipe.places else "features") if near == "auto" else near
