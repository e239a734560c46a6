"""Files of encoded tiles, one a slide, in the layout of TRIDENT and CLAM."""

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

import h5py
import numpy as np
from numpy.typing import NDArray

from bagwise.errors import BagwiseError
from bagwise.files import replacing
from bagwise.io.slides import Slide, SlideError, Tiling, read_tiles
from bagwise.text import encodable

__all__ = ["OnLevel0", "on_level0", "write_tiles"]

_MOST_TILES, _MOST_PIXELS = 256, 1 << 21  # that are encoded at once
_MICRONS = ("um", "\N{MICRO SIGN}m", "\N{GREEK SMALL LETTER MU}m", "micron", "microns", "micrometer", "micrometre")
_PIXELS = ("px", "pixel", "pixels")


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
    with replacing(path) as temporary, _Output(temporary, "w+b") as output, h5py.File(output, "w") as file:
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
            output.check()
            told(len(tiles))
        file["coords"] = tiling.corners
        file["coords"].attrs.update(_attributes(slide, tiling))
        file.close()
        output.check()


class _Output(io.FileIO):
    """A file whose troubles HDF5 does not see: it would crash the process where a disk is full."""

    trouble: OSError | None = None

    def write(self, data: Any) -> int:
        rest = memoryview(data).cast("B")
        try:
            while rest and self.trouble is None:
                rest = rest[super().write(rest) :]
        except OSError as error:
            self.trouble = error
        return memoryview(data).nbytes

    def truncate(self, size: int | None = None) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            self.trouble = error
        return size or 0

    def check(self) -> None:
        if self.trouble is not None:
            raise self.trouble


class OnLevel0(NamedTuple):
    """How the places in a feature file become pixels of level 0.

    Attributes
    ----------
    scale
        Pixels a unit of the coordinates.
    span
        Side of a tile in pixels.

    Examples
    --------
    >>> OnLevel0(scale=4.0, span=1024).span
    1024
    """

    scale: float
    span: int


def on_level0(path: str | Path, attributes: Mapping[str, Any], slide: Slide) -> OnLevel0:
    """Say where tiles lie on their slide, by what a feature file says of its coordinates.

    Parameters
    ----------
    path
        The feature file.
    attributes
        As in `bagwise.io.features.Features`: TRIDENT's ``patch_size_level0``; CLAM's ``patch_size`` in pixels of
        ``patch_level``; or STAMP's ``tile_size_um``, before its version 2.1 ``tile_size``, with the ``unit`` "um": both
        its coordinates and its tiles are in microns.
    slide
        The slide they were cut from.

    Returns
    -------
    OnLevel0

    Raises
    ------
    BagwiseError
        If the file does not say how large its tiles are, or speaks of microns and the slide does not.
    """
    unit = attributes.get("unit")
    if unit in _MICRONS or (unit is None and "tile_size_um" in attributes):
        side = attributes.get("tile_size_um", attributes.get("tile_size"))
        if not _is_length(side):
            raise BagwiseError(
                f"{path} has its places in microns, and does not say how large its tiles are in microns"
                " ('tile_size_um'): --slides cannot show it"
            )
        if slide.mpp is None:
            raise BagwiseError(
                f"{path} has its places in microns, and {slide.path} does not say how many microns a pixel is:"
                " --slides cannot show it"
            )
        return OnLevel0(1 / slide.mpp, max(1, round(side / slide.mpp)))
    if unit is not None and unit not in _PIXELS:
        raise BagwiseError(f"{path} has its places in {unit!r}: --slides knows pixels of level 0 and microns ('um')")
    side = attributes.get("patch_size_level0")
    if side is None:
        level: Any = attributes.get("patch_level")
        side = attributes.get("patch_size")
        known = isinstance(level, int) and level in range(len(slide.downsamples))
        side = side * slide.downsamples[level] if known and _is_length(side) else None
    if not _is_length(side) or side < 1:
        raise BagwiseError(
            f"{path} does not say how large its tiles are, nor in what unit its places are: if these are pixels of"
            " level 0, and only then, add the attribute patch_size_level0, the side of a tile in such pixels, to its"
            " coords"
        )
    return OnLevel0(1.0, round(side))


def _is_length(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < np.inf


def _attributes(slide: Slide, tiling: Tiling) -> dict[str, Any]:
    told: dict[str, Any] = {
        "patch_size": tiling.side,
        "patch_size_level0": tiling.span,
        "overlap": 0,
        "level0_width": slide.size[0],
        "level0_height": slide.size[1],
        "name": encodable(slide.path.stem),
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
