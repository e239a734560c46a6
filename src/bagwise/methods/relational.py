"""Methods in which the instances of a bag know each other before they are pooled."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from bagwise.methods.families import AttentionMIL
from bagwise.methods.recipes import Recipe
from bagwise.parameters import Count

__all__ = ["GraphMIL"]


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


def _space(near: str, recipe: Recipe) -> str:
    return ("coordinates" if recipe.places else "features") if near == "auto" else near
