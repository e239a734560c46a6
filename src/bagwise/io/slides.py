"""Whole-slide images: where their tissue is, and tiles of it."""

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np
import openslide
from numpy.typing import NDArray
from PIL import Image
from skimage.color import rgb2hsv
from skimage.filters import gaussian, threshold_otsu
from skimage.morphology import closing, disk, remove_small_holes, remove_small_objects

from bagwise.checks import check_count
from bagwise.errors import BagwiseError

__all__ = ["SLIDES", "Slide", "Tiling", "Tissue", "find_tissue", "plan_tiles", "read_tiles"]

SLIDES = (".svs", ".tif", ".tiff", ".ndpi", ".vms", ".vmu", ".scn", ".mrxs", ".svslide", ".bif", ".dcm")
_OVERVIEW = 2048  # pixels of the longer side
_BLOCK = 2048  # pixels of a level that are read at once for it, across and down
# Saturation, which stain has and glass has not. Otsu's threshold is kept between these: a slide without glass, or
# without tissue, has no two kinds of pixels to be told apart.
_LEAST_STAIN, _MOST_STAIN = 0.05, 0.20
_DARKEST = 0.08  # of the brightest; the edge of the slide, or ink
_SPECK = 2e-4  # of the overview: smaller islands of tissue are dirt, smaller holes are closed


class Slide:
    """An open slide; a context manager.

    Parameters
    ----------
    path
        A file that OpenSlide reads.

    Attributes
    ----------
    path : Path
    size : tuple of int
        Width and height at level 0, in pixels.
    downsamples : tuple of float
        Of each level, how many pixels of level 0 make one of its own.
    mpp : float or None
        Microns a pixel of level 0, if the file says so.

    Raises
    ------
    BagwiseError
        If it cannot be opened.

    Examples
    --------
    >>> Slide("nowhere.svs")
    Traceback (most recent call last):
        ...
    bagwise.errors.BagwiseError: nowhere.svs cannot be opened as a slide (no such file): check the path
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.exists():
            raise BagwiseError(f"{self.path} cannot be opened as a slide (no such file): check the path")
        try:
            self._slide = openslide.OpenSlide(str(self.path))
        except openslide.OpenSlideError as error:
            raise BagwiseError(f"{self.path} cannot be opened as a slide ({error}): leave it out") from error
        self.size: tuple[int, int] = self._slide.dimensions
        self.downsamples: tuple[float, ...] = tuple(self._slide.level_downsamples)
        told = self._slide.properties.get(openslide.PROPERTY_NAME_MPP_X)
        self.mpp = float(told) if told is not None else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._slide.close()

    def region(self, x: int, y: int, level: int, width: int, height: int) -> NDArray[np.uint8]:
        """Read a part; what the scanner left out is white.

        Parameters
        ----------
        x, y
            Upper left corner in pixels of level 0.
        level
            Which level to read.
        width, height
            In pixels of that level.

        Returns
        -------
        array
            Shape (height, width, 3).

        Raises
        ------
        BagwiseError
            If the file is damaged there.
        """
        try:
            return _on_white(self._slide.read_region((x, y), level, (width, height)))
        except openslide.OpenSlideError as error:
            raise BagwiseError(
                f"{self.path} is damaged at x {x}, y {y} ({error}): make it anew, or leave it out"
            ) from (error)

    def overview(self, longest: int = _OVERVIEW) -> NDArray[np.uint8]:
        """Read all of the slide, small.

        Parameters
        ----------
        longest
            Pixels of the longer side, at most.

        Returns
        -------
        array
            Shape (h, w, 3).

        Raises
        ------
        BagwiseError
            If the file is damaged.
        """
        factor = min(1.0, longest / max(self.size))
        width, height = (max(1, round(side * factor)) for side in self.size)
        level = self._slide.get_best_level_for_downsample(1 / factor)
        picture = np.empty((height, width, 3), np.uint8)
        # How many pixels of the level make one of the picture; a slide may have no small level.
        across, down = (
            size / side for size, side in zip(self._slide.level_dimensions[level], (width, height), strict=True)
        )
        block = max(1, int(_BLOCK / max(across, down)))
        for top in range(0, height, block):
            for left in range(0, width, block):
                part = picture[top : top + block, left : left + block]
                part[:] = self._shrunk(level, (left * across, top * down), (across, down), part.shape)
        return picture

    def _shrunk(
        self, level: int, corner: tuple[float, float], scale: tuple[float, float], shape: tuple[int, ...]
    ) -> NDArray[np.uint8]:
        """Read a part of a level, made smaller to a height and a width."""
        left, top = int(corner[0]), int(corner[1])
        right, bottom = corner[0] + shape[1] * scale[0], corner[1] + shape[0] * scale[1]
        downsample = self.downsamples[level]
        place = round(left * downsample), round(top * downsample)
        whole = self.region(*place, level, int(np.ceil(right)) - left, int(np.ceil(bottom)) - top)
        box = corner[0] - left, corner[1] - top, right - left, bottom - top
        small = Image.fromarray(whole).resize((shape[1], shape[0]), Image.Resampling.BOX, box=box)
        return np.array(small)


class Tissue(NamedTuple):
    """Where the tissue of a slide is.

    Attributes
    ----------
    mask
        Shape (h, w): of a small picture of the whole slide.
    scale
        Pixels of level 0 a pixel of the mask, across and down.

    Examples
    --------
    >>> Tissue(np.ones((2, 4), bool), (100.0, 100.0)).share(0, 0, 150)
    1.0
    """

    mask: NDArray[np.bool_]
    scale: tuple[float, float]

    def share(self, x: int, y: int, span: int) -> float:
        """Say how much of a square is tissue.

        Parameters
        ----------
        x, y, span
            Upper left corner and side, in pixels of level 0.

        Returns
        -------
        float
            In [0, 1]; every pixel of the mask that the square touches counts.
        """
        left, right = int(x / self.scale[0]), int(np.ceil((x + span) / self.scale[0]))
        top, bottom = int(y / self.scale[1]), int(np.ceil((y + span) / self.scale[1]))
        return float(self.mask[top:bottom, left:right].mean())


def find_tissue(slide: Slide) -> Tissue:
    """Tell tissue from glass by its colour.

    On a picture of at most 2,048 pixels: blur a little; tissue is where the saturation is above Otsu's threshold (kept
    between 0.05 and 0.20) and the pixel is not black; close gaps; leave out specks and fill holes of less than a five
    thousandth of the picture.

    Parameters
    ----------
    slide
        The slide.

    Returns
    -------
    Tissue

    Raises
    ------
    BagwiseError
        If the file is damaged.
    """
    picture = slide.overview()
    colours = rgb2hsv(gaussian(picture, sigma=1, channel_axis=2))
    saturation, brightness = colours[..., 1], colours[..., 2]
    threshold = _LEAST_STAIN
    if np.ptp(saturation) > 0:
        threshold = float(np.clip(threshold_otsu(saturation), _LEAST_STAIN, _MOST_STAIN))
    mask = closing((saturation > threshold) & (brightness > _DARKEST), disk(3))
    speck = max(1, round(_SPECK * mask.size))
    mask = remove_small_holes(remove_small_objects(mask, max_size=speck), max_size=speck)
    height, width = mask.shape
    return Tissue(mask, (slide.size[0] / width, slide.size[1] / height))


class Tiling(NamedTuple):
    """Which tiles to read of a slide, and how.

    Attributes
    ----------
    corners
        Upper left corners x, y in pixels of level 0, shape (K, 2), row by row.
    side
        Of a tile as it is given, in pixels.
    span
        Of a tile in pixels of level 0.
    level
        Which level is read.
    read
        Side in pixels of that level; where it is not `side`, tiles are made smaller.
    mpp
        Microns a pixel of a tile; None where the slide does not say.

    Examples
    --------
    >>> Tiling(np.zeros((3, 2), np.int64), side=256, span=512, level=0, read=512, mpp=0.5).span
    512
    """

    corners: NDArray[np.int64]
    side: int
    span: int
    level: int
    read: int
    mpp: float | None


def plan_tiles(
    slide: Slide,
    tissue: Tissue,
    *,
    side: int = 256,
    mpp: float | None = None,
    level: int = 0,
    slide_mpp: float | None = None,
    least_tissue: float = 0.5,
) -> Tiling:
    """Lay tiles edge to edge over the slide and keep those with enough tissue.

    Parameters
    ----------
    slide
        The slide.
    tissue
        From `find_tissue`.
    side
        Of a tile, in pixels.
    mpp
        Microns a pixel that tiles shall have: they are read from the next finer level and made smaller. None takes the
        pixels of `level` as they are.
    level
        See `mpp`.
    slide_mpp
        Microns a pixel of level 0, where the file does not say so, or says something wrong.
    least_tissue
        A tile is kept when at least this share of it is tissue.

    Returns
    -------
    Tiling

    Raises
    ------
    BagwiseError
        If a parameter will not do, or the resolution is not known.
    """
    check_count("the side of a tile", side)
    known = slide.mpp if slide_mpp is None else slide_mpp
    if not 0 <= least_tissue <= 1:
        raise BagwiseError(f"the least share of tissue is {least_tissue!r}: it must be a number from 0 to 1")
    if mpp is None:
        if not 0 <= level < len(slide.downsamples):
            raise BagwiseError(f"{slide.path} has no level {level}, only 0 to {len(slide.downsamples) - 1}")
        scale = slide.downsamples[level]
    else:
        if not mpp > 0:
            raise BagwiseError(f"the microns a pixel are {mpp!r}: they must be a number above 0")
        if known is None:
            raise BagwiseError(f"{slide.path} does not say how many microns a pixel is: say it, or choose a level")
        scale = mpp / known
        if scale < 0.99:
            raise BagwiseError(f"{slide.path} has {known:g} microns a pixel, which cannot be made finer to {mpp:g}")
        level = max(n for n, downsample in enumerate(slide.downsamples) if n == 0 or downsample <= scale * 1.01)
    span = max(1, round(side * scale))
    read = side if mpp is None else max(1, round(side * scale / slide.downsamples[level]))
    across, down = slide.size[0] // span, slide.size[1] // span
    grid = [(column * span, row * span) for row in range(down) for column in range(across)]
    kept = [corner for corner in grid if tissue.share(*corner, span) >= least_tissue]
    corners = np.array(kept, np.int64).reshape(-1, 2)
    return Tiling(corners, side, span, level, read, None if known is None else known * span / side)


def read_tiles(slide: Slide, tiling: Tiling, chunk: int = 256) -> Iterator[NDArray[np.uint8]]:
    """Read tiles, some at a time, so that memory holds one chunk.

    Parameters
    ----------
    slide
        The slide.
    tiling
        From `plan_tiles`.
    chunk
        How many tiles at a time.

    Yields
    ------
    array
        Shape (k, side, side, 3), in the order of the corners.

    Raises
    ------
    BagwiseError
        If the file is damaged.
    """
    for begin in range(0, len(tiling.corners), chunk):
        tiles = []
        for x, y in tiling.corners[begin : begin + chunk].tolist():
            tile = slide.region(x, y, tiling.level, tiling.read, tiling.read)
            if tiling.read != tiling.side:
                small = Image.fromarray(tile).resize((tiling.side, tiling.side), Image.Resampling.BOX)
                tile = np.array(small)
            tiles.append(tile)
        yield np.stack(tiles)


def _on_white(image: Image.Image) -> NDArray[np.uint8]:
    white = Image.new("RGBA", image.size, "white")
    return np.array(Image.alpha_composite(white, image).convert("RGB"))
