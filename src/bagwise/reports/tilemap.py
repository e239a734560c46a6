"""The map of a bag in a page: its instances where they were, each as opaque as it counts (paper, figure 5)."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import rankdata

from bagwise.explain.rescaling import rescaled_in_bags
from bagwise.reports.pictures import ink_picture, layer_picture

__all__ = ["BagWeights", "TileMap"]

_LONG_SIDE = 640  # pixels
_LARGEST_TILE = 64
_LONGEST_NAME = 60
_SQUARE = (47, 127, 181)  # stands out on light and on dark paper
_WITH_GAPS = 6  # smaller squares would be half gap


class BagWeights(NamedTuple):
    """The weights of a bag, or of those of its instances that are from one file.

    Attributes
    ----------
    values
        The weights, shape (K,).
    rescaled
        The same on the scale of the whole bag (`rescaled_in_bags`), shape (K,).
    ranks
        In the whole bag, from 1, shape (K,); equals share one.
    size
        Number of instances of the whole bag.

    Examples
    --------
    >>> BagWeights.of(np.array([0.2, 0.5, 0.3])).take(np.array([1, 2]))
    BagWeights(values=array([0.5, 0.3]), rescaled=array([1.        , 0.33333333]), ranks=array([1, 2]), size=3)
    """

    values: NDArray[Any]
    rescaled: NDArray[np.float64]
    ranks: NDArray[np.int64]
    size: int

    @classmethod
    def of(cls, weights: NDArray[Any]) -> "BagWeights":
        """Take the weights of a whole bag."""
        rescaled = rescaled_in_bags(weights, np.array([0, len(weights)]))
        return cls(weights, rescaled, rankdata(-rescaled, method="min").astype(np.int64), len(weights))

    def take(self, rows: NDArray[np.int64]) -> "BagWeights":
        """Take some of the instances."""
        return BagWeights(self.values[rows], self.rescaled[rows], self.ranks[rows], self.size)


@dataclass(frozen=True, eq=False)
class TileMap:
    """What the page needs to draw the map of a bag.

    The picture lies below a veil of the paper's colour, so that a tile of rescaled weight a' shows through with opacity
    a'. Where tiles overlap, both show their mean.

    Attributes
    ----------
    picture
        Data URI of the tiles, put together at their places.
    veil
        Data URI of a mask: where and how strongly the veil covers.
    width, height
        Of both, in pixels.
    ink
        Whether the picture is ink, to be drawn light in dark mode.
    tiles
        JSON for the script: the ``side`` of tiles, and ``x``, ``y``, ``weight``, ``rank`` and ``name`` of each, the
        largest weight first, in pixels of the picture; and ``size``, of how many ranks there are.
    count
        How many tiles there are.
    file
        Which file they are from; empty where that goes without saying.

    Examples
    --------
    >>> weights, places = BagWeights.of(np.array([0.9, 0.1])), np.array([[0, 0], [256, 0]])
    >>> drawn = TileMap.of(places, 256, weights, ["a", "b"], None)
    >>> drawn.width, drawn.height, json.loads(drawn.tiles)["name"]
    (128, 64, ['a', 'b'])
    """

    picture: str
    veil: str
    width: int
    height: int
    ink: bool
    tiles: str
    count: int
    file: str

    @property
    def size(self) -> int:
        """How much it adds to the page, in bytes, about."""
        return len(self.picture) + len(self.veil) + len(self.tiles)

    @classmethod
    def of(
        cls,
        corners: NDArray[Any],
        side: float,
        weights: "BagWeights",
        names: Sequence[str],
        images: NDArray[np.uint8] | None,
        file: str = "",
    ) -> "TileMap":
        """Draw a map.

        Parameters
        ----------
        corners
            Upper left corners x, y, shape (K, 2).
        side
            Of a tile, in their unit.
        weights
            Of the tiles, K of them.
        names
            Of the tiles, K of them.
        images
            Of the tiles, shape (K, H, W) or (K, H, W, 3); None draws squares of one colour.
        file
            Which file they are from.

        Returns
        -------
        TileMap
        """
        places = corners.astype(np.float64) - corners.min(axis=0)
        scale = min(_LONG_SIDE / (places.max() + side), _LARGEST_TILE / side)
        low = np.round(places * scale).astype(np.int64)
        high = np.maximum(np.round((places + side) * scale).astype(np.int64), low + 1)
        width, height = high.max(axis=0).tolist()
        opacity, colours = _Means((height, width)), _Means((height, width, 4))
        gap = int(images is None and scale * side >= _WITH_GAPS)
        for tile, ((left, top), (right, bottom)) in enumerate(zip(low, high, strict=True)):
            opacity.add((slice(top, bottom), slice(left, right)), weights.rescaled[tile])
            drawn = slice(top, bottom - gap), slice(left, right - gap)
            shape = (bottom - gap - top, right - gap - left, 4)
            colours.add(drawn, (*_SQUARE, 255) if images is None else _resized(images[tile], shape))
        picture = colours.bytes()
        veil = np.where(opacity.counts > 0, np.round(255 * (1 - opacity.means())), 0).astype(np.uint8)
        falling = np.argsort(-weights.values, kind="stable")
        tiles = {
            "side": round(side * scale, 2),
            "x": np.round(places[falling, 0] * scale, 1).tolist(),
            "y": np.round(places[falling, 1] * scale, 1).tolist(),
            "weight": [float(f"{weight:.3g}") for weight in weights.values[falling]],
            "rank": weights.ranks[falling].tolist(),
            "size": weights.size,
            "name": [_short(names[tile]) for tile in falling],
        }
        ink = images is not None and images.ndim == 3
        return cls(
            ink_picture(picture[..., 3]) if ink else layer_picture(picture),
            ink_picture(veil),
            width,
            height,
            ink,
            json.dumps(tiles, separators=(",", ":")),
            len(falling),
            file,
        )


class _Means:
    """The mean of what covers each pixel of a picture."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._sums = np.zeros(shape, np.float32)
        self.counts = np.zeros(shape[:2], np.int64)

    def add(self, place: tuple[slice, slice], values: Any) -> None:
        self._sums[place] += values
        self.counts[place] += 1

    def means(self) -> NDArray[np.float32]:
        counts = np.maximum(self.counts, 1).astype(np.float32)
        return self._sums / counts.reshape(counts.shape + (1,) * (self._sums.ndim - 2))

    def bytes(self) -> NDArray[np.uint8]:
        return np.round(self.means()).astype(np.uint8)


def _resized(image: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Give a tile in the shape (H, W, 4) of its place; ink is opacity."""
    resized = np.asarray(Image.fromarray(image).resize((shape[1], shape[0]), Image.Resampling.BOX))
    layer = np.zeros(shape, np.uint8)
    layer[..., 3] = resized if image.ndim == 2 else 255
    if image.ndim == 3:
        layer[..., :3] = resized
    return layer


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
