"""Files of encoded tiles, one a slide, in the layout of TRIDENT and CLAM."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from bagwise.files import replacing
from bagwise.io.slides import Slide, SlideError, Tiling, read_tiles

__all__ = ["tile_span", "write_tiles"]

_MOST_TILES, _MOST_PIXELS = 256, 1 << 21  # that are encoded at once


def write_tiles(
    path: str | Path,
    slide: Slide,
    tiling: Tiling,
    encode: Callable[[NDArray[np.uint8]], NDArray[np.float32]],
    *,
    told: Callable[[int], None] = lambda _: None,
) -> None:
    """Encode the tiles of a slide and write what comes out; memory holds some tiles at a time.

    The file has ``features`` (K, D), float32, and ``coords`` (K, 2), the tiles' upper left corners in pixels of
    level 0. The attributes of ``coords`` are those that readers of TRIDENT and CLAM look for: ``patch_size``,
    ``patch_size_level0``, ``overlap``, ``level0_width``, ``level0_height``, ``name``, where the slide says how much it
    was magnified ``level0_magnification`` and ``target_magnification``, and where tiles are pixels of a level as they
    are ``patch_level`` and ``downsample``: a reader that cuts tiles by these would cut others where they were made
    smaller. ``mpp`` are microns a pixel of a tile, where that is known.

    Parameters
    ----------
    path
        Where to write; a file that is there is replaced when the new one is complete.
    slide, tiling
        The slide, and which tiles.
    encode
        Turns tiles, shape (k, side, side, 3), into embeddings, shape (k, D).
    told
        Called with how many more are done.

    Raises
    ------
    SlideError
        If there are no tiles, or the slide is damaged.
    BagwiseError
        If the file cannot be written.
    """
    if not len(tiling.corners):
        raise SlideError(
            f"{slide.path} has no tile of {tiling.span} x {tiling.span} pixels of level 0 that is half tissue: look at"
            " it, take smaller tiles, or leave it out"
        )
    chunk = max(1, min(_MOST_TILES, _MOST_PIXELS // tiling.side**2))
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        features = None
        for tiles in read_tiles(slide, tiling, chunk):
            embeddings = encode(tiles)
            if features is None:
                width = embeddings.shape[1]
                features = file.create_dataset(
                    "features", (0, width), np.float32, maxshape=(None, width), chunks=(chunk, width)
                )
            done = len(features)
            features.resize(done + len(tiles), axis=0)
            features[done:] = embeddings
            told(len(tiles))
        file["coords"] = tiling.corners
        file["coords"].attrs.update(_attributes(slide, tiling))


def tile_span(attributes: Mapping[str, Any], slide: Slide) -> int | None:
    """Say how large tiles are, by what a feature file says of its coordinates.

    Parameters
    ----------
    attributes
        As in `bagwise.io.features.Features`: TRIDENT's ``patch_size_level0``, or CLAM's ``patch_size`` in pixels of
        ``patch_level``.
    slide
        The slide they were cut from.

    Returns
    -------
    int or None
        Side in pixels of level 0; None where the file does not say it.
    """
    side = attributes.get("patch_size_level0")
    if side is None:
        side, level = attributes.get("patch_size"), attributes.get("patch_level")
        levels = range(len(slide.downsamples))
        if not isinstance(side, int | float) or not isinstance(level, int) or level not in levels:
            return None
        side *= slide.downsamples[level]
    return round(side) if isinstance(side, int | float) and 1 <= side < np.inf else None


def _attributes(slide: Slide, tiling: Tiling) -> dict[str, Any]:
    told: dict[str, Any] = {
        "patch_size": tiling.side,
        "patch_size_level0": tiling.span,
        "overlap": 0,
        "level0_width": slide.size[0],
        "level0_height": slide.size[1],
        "name": slide.path.stem,
    }
    if tiling.read == tiling.side:
        told |= {"patch_level": tiling.level, "downsample": slide.downsamples[tiling.level]}
    if slide.magnification is not None:
        target = slide.magnification * tiling.side / tiling.span
        told |= {"level0_magnification": _whole(slide.magnification), "target_magnification": _whole(target)}
    if tiling.mpp is not None:
        told["mpp"] = tiling.mpp
    return told


def _whole(value: float) -> int | float:
    """Give a whole number as one, which TRIDENT's readers divide by."""
    return int(value) if value == int(value) else value
