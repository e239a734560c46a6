"""The map of a bag in a page: its instances where they were, each as opaque as it counts (paper, figure 5)."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bagwise.explain.rescaling import rescaled_in_bags
from bagwise.reports.pictures import ink_picture, layer_picture

__all__ = ["TileMap"]

_LONG_SIDE = 640  # pixels
_LARGEST_TILE = 64
_LONGEST_NAME = 60
_SQUARE = (47, 127, 181)  # stands out on light and on dark paper
_WITH_GAPS = 6  # smaller squares would be half gap


@dataclass(frozen=True, eq=False)
class TileMap:
    """What the page needs to draw the map of a bag.

    The picture lies below a veil of the paper's colour, so that a tile of rescaled weight a' shows through with opacity
    a'. Where tiles overlap, the one that counts most is on top in both.

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
        JSON for the script: the ``side`` of tiles, and ``x``, ``y``, ``weight`` and ``name`` of each, the largest
        weight first, in pixels of the picture.

    Examples
    --------
    >>> drawn = TileMap.of(np.array([[0, 0], [256, 0]]), 256, np.array([0.9, 0.1]), ["a", "b"], None)
    >>> drawn.width, drawn.height, json.loads(drawn.tiles)["name"]
    (128, 64, ['a', 'b'])
    """

    picture: str
    veil: str
    width: int
    height: int
    ink: bool
    tiles: str

    @property
    def size(self) -> int:
        """How much it adds to the page, in bytes, about."""
        return len(self.picture) + len(self.veil) + len(self.tiles)

    @classmethod
    def of(
        cls,
        corners: NDArray[Any],
        side: float,
        weights: NDArray[Any],
        names: Sequence[str],
        images: NDArray[np.uint8] | None,
    ) -> "TileMap":
        """Draw a map.

        Parameters
        ----------
        corners
            Upper left corners x, y, shape (K, 2).
        side
            Of a tile, in their unit.
        weights
            Shape (K,).
        names
            Of the tiles, K of them.
        images
            Of the tiles, shape (K, H, W) or (K, H, W, 3); None draws squares of one colour.

        Returns
        -------
        TileMap
        """
        rising = np.argsort(weights, kind="stable")
        places = corners.astype(np.float64) - corners.min(axis=0)
        scale = min(_LONG_SIDE / (places.max() + side), _LARGEST_TILE / side)
        low = np.round(places * scale).astype(np.int64)
        high = np.maximum(np.round((places + side) * scale).astype(np.int64), low + 1)
        width, height = high.max(axis=0).tolist()
        shares = rescaled_in_bags(weights, np.array([0, len(weights)]))
        picture = np.zeros((height, width, 4), np.uint8)
        veil = np.zeros((height, width), np.uint8)
        gap = int(images is None and scale * side >= _WITH_GAPS)
        for tile in rising:
            (left, top), (right, bottom) = low[tile], high[tile]
            veil[top:bottom, left:right] = round(255 * (1 - shares[tile]))
            drawn = picture[top : bottom - gap, left : right - gap]
            drawn[:] = (*_SQUARE, 255) if images is None else _resized(images[tile], drawn.shape)
        falling = rising[::-1]
        tiles = {
            "side": round(side * scale, 2),
            "x": np.round(places[falling, 0] * scale, 1).tolist(),
            "y": np.round(places[falling, 1] * scale, 1).tolist(),
            "weight": [float(f"{weight:.3g}") for weight in weights[falling]],
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
        )


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
