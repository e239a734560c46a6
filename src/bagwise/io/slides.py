"""Whole-slide images: where their tissue is, and tiles of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage.filters import gaussian, threshold_otsu
from skimage.morphology import closing, disk, remove_small_holes, remove_small_objects

from bagwise.checks import check_count
from bagwise.errors import BagwiseError
from bagwise.inputs import check_regular, told_size
from bagwise.io.image_files import on_white
from bagwise.io.listing import FileKind
from bagwise.io.matching import match_files
from bagwise.io.sources import distinct_names, path_within

__all__ = [
    "SLIDES",
    "Slide",
    "SlideError",
    "Tiling",
    "Tissue",
    "find_slides",
    "find_tissue",
    "plan_tiles",
    "read_tiles",
]

SLIDES = FileKind(
    "slide", (".svs", ".tif", ".tiff", ".ndpi", ".vms", ".vmu", ".scn", ".mrxs", ".svslide", ".bif", ".dcm")
)
_BOUNDS = tuple(f"openslide.bounds-{part}" for part in ("x", "y", "width", "height"))
# Of a byte of the file; white glass packs to some 350. Some makers keep the pixels in other files beside it.
_MOST_PIXELS, _IN_OTHER_FILES = 2000, ("mirax", "hamamatsu", "dicom")
_OVERVIEW = 2048  # pixels of the longer side
_BLOCK = 2048  # pixels of a level that are read at once for it, across and down
# Saturation, which stain has and glass has not. Otsu's threshold is kept between these: a slide without glass, or
# without tissue, has no two kinds of pixels to be told apart.
_LEAST_STAIN, _MOST_STAIN = 0.05, 0.20
_DARKEST = 0.08  # of the brightest; the edge of the slide, or ink
_SPECK = 2e-4  # of the overview: smaller islands of tissue are dirt, smaller holes are closed


class SlideError(BagwiseError):
    """A slide that cannot be used, while others can."""


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
    magnification : float or None
        Of level 0, if the file says so.
    bounds : tuple of int
        x, y, width and height of the part that was scanned, in pixels of level 0; all of the slide where the file does
        not say it.

    Raises
    ------
    SlideError
        If it cannot be opened.
    BagwiseError
        If OpenSlide is not installed.

    Examples
    --------
    >>> Slide("nowhere.svs")
    Traceback (most recent call last):
        ...
    bagwise.io.slides.SlideError: nowhere.svs: there is no such file: check its folder and name
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            held = check_regular(self.path)
        except BagwiseError as error:
            raise SlideError(str(error)) from error
        self._library = _openslide()
        try:
            self._slide = self._library.OpenSlide(str(self.path))
        except self._library.OpenSlideError as error:
            raise SlideError(
                f"{self.path} cannot be opened as a slide ({error}): see whether a viewer opens it, or leave it out"
            ) from error
        self.size: tuple[int, int] = self._slide.dimensions
        elsewhere = self._slide.properties.get("openslide.vendor") in _IN_OTHER_FILES
        if not elsewhere and prod(self.size) > _MOST_PIXELS * held:
            raise SlideError(
                f"{self.path} says that it has {self.size[0]} x {self.size[1]} pixels, and {told_size(held)} cannot"
                " hold them: it is damaged, so make it anew, or leave it out"
            )
        self.downsamples: tuple[float, ...] = tuple(self._slide.level_downsamples)
        self.mpp = self._number("openslide.mpp-x")
        self.magnification = self._number("openslide.objective-power")
        try:
            left, top, width, height = (int(self._slide.properties[name]) for name in _BOUNDS)
        except (KeyError, ValueError):
            left, top, (width, height) = 0, 0, self.size
        self.bounds: tuple[int, int, int, int] = left, top, width, height

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._slide.close()

    def _number(self, name: str) -> float | None:
        """Give what the file says, unless it is no length: scanners write zeros where they do not know."""
        try:
            value = float(self._slide.properties.get(name, "nan"))
        except ValueError:
            return None
        return value if 0 < value < np.inf else None

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
        SlideError
            If the file is damaged there.
        """
        try:
            return on_white(self._slide.read_region((x, y), level, (width, height)))
        except self._library.OpenSlideError as error:
            raise SlideError(
                f"{self.path} is damaged at x {x}, y {y} ({error}): make it anew, or leave it out"
            ) from error

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
        SlideError
            If the file is damaged.
        """
        factor = min(1.0, longest / max(self.size))
        width, height = (max(1, round(side * factor)) for side in self.size)
        level = self._slide.get_best_level_for_downsample(1 / factor)
        return self.shrunk(0, 0, level, self._slide.level_dimensions[level], (width, height))

    def shrunk(self, x: int, y: int, level: int, size: tuple[int, int], target: tuple[int, int]) -> NDArray[np.uint8]:
        """Read a part and make it smaller, a block at a time: a slide may have no small level.

        Parameters
        ----------
        x, y, level
            As in `region`.
        size
            Width and height of the part in pixels of the level.
        target
            Width and height to bring it to; each new pixel is the mean of those it covers.

        Returns
        -------
        array
            Shape (target height, target width, 3).

        Raises
        ------
        SlideError
            If the file is damaged there.
        """
        picture = np.empty((target[1], target[0], 3), np.uint8)
        across, down = (many / few for many, few in zip(size, target, strict=True))
        block = max(1, int(_BLOCK / max(across, down)))
        for row in range(0, target[1], block):
            for column in range(0, target[0], block):
                part = picture[row : row + block, column : column + block]
                edges = column * across, row * down, (column + part.shape[1]) * across, (row + part.shape[0]) * down
                left, top = int(edges[0]), int(edges[1])
                right, bottom = min(int(np.ceil(edges[2])), size[0]), min(int(np.ceil(edges[3])), size[1])
                place = [round(start * self.downsamples[level]) for start in (left, top)]
                whole = self.region(x + place[0], y + place[1], level, right - left, bottom - top)
                box = edges[0] - left, edges[1] - top, min(edges[2], size[0]) - left, min(edges[3], size[1]) - top
                small = Image.fromarray(whole).resize(part.shape[1::-1], Image.Resampling.BOX, box=box)
                part[:] = np.array(small)
        return picture


def find_slides(places: Sequence[str | Path]) -> dict[str, Path]:
    """Find slides and give each a name: that of its file without the ending.

    Slides of one name in two folders are called by their paths in the folder that was given, again without the ending.

    Parameters
    ----------
    places
        Files, and folders, of which all slides are taken (`bagwise.io.matching.match_files`).

    Returns
    -------
    dict
        The file of each name, those of a folder in natural order.

    Raises
    ------
    BagwiseError
        If a place is not there, a folder holds no slide, or two slides cannot be told apart.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("b 10.svs", "b 9.svs", "a/c.svs", "d/c.svs", "notes.txt"):
    ...     (folder / name).parent.mkdir(exist_ok=True)
    ...     (folder / name).touch()
    >>> list(find_slides([folder]))
    ['a/c', 'b 9', 'b 10', 'd/c']
    """
    found: dict[Path, str] = {}  # the path of each in its place
    for place in map(Path, places):
        if not place.exists():
            raise BagwiseError(f"there is no slide or folder {place}: check the path")
        matched = match_files(place, kind=SLIDES).bags if place.is_dir() else ()
        inside = {file: path_within(place, file) for one in matched for file in one.files}
        for path, within in (inside or {place: place.name}).items():
            if path.absolute() not in {known.absolute() for known in found}:
                found[path] = within
    names = distinct_names(list(found.values()))
    named: dict[str, Path] = {}
    for name, path in zip(names, found, strict=True):
        if name in named:
            raise BagwiseError(f"{named[name]} and {path} are both called {name!r}: take them one at a time")
        named[name] = path
    return named


@dataclass(frozen=True, eq=False)
class Tissue:
    """Where the tissue of a slide is.

    Attributes
    ----------
    mask
        Shape (h, w): of a small picture of the whole slide.
    scale
        Pixels of level 0 a pixel of the mask, across and down.

    Examples
    --------
    >>> tissue = Tissue(np.array([[True, False, False, True]] * 2), (100.0, 100.0))
    >>> tissue.shares(np.array([0, 150]), np.array([0]), 150).tolist()
    [[0.5, 0.0]]
    """

    mask: NDArray[np.bool_]
    scale: tuple[float, float]

    def shares(self, x: NDArray[np.int64], y: NDArray[np.int64], span: int) -> NDArray[np.float64]:
        """Say how much of each square of a grid is tissue.

        Parameters
        ----------
        x, y
            Where the columns begin, shape (C,), and the rows, shape (R,), in pixels of level 0.
        span
            Side of a square, in pixels of level 0.

        Returns
        -------
        array
            Shape (R, C), in [0, 1]; every pixel of the mask that a square touches counts.
        """
        (left, right), (top, bottom) = (
            (
                np.floor(starts / scale).astype(np.int64),
                np.minimum(np.ceil((starts + span) / scale).astype(np.int64), extent),
            )
            for starts, scale, extent in zip((x, y), self.scale, self.mask.shape[::-1], strict=True)
        )
        above, below = self._sums[top], self._sums[bottom]
        counts = below[:, right] - below[:, left] - above[:, right] + above[:, left]
        shares: NDArray[np.float64] = counts / ((bottom - top)[:, None] * (right - left))
        return shares

    @cached_property
    def _sums(self) -> NDArray[np.int64]:
        """How many pixels above and to the left of each are tissue."""
        return np.pad(self.mask.cumsum(axis=0, dtype=np.int64).cumsum(axis=1), ((1, 0), (1, 0)))


def find_tissue(slide: Slide, picture: NDArray[np.uint8] | None = None) -> Tissue:
    """Tell tissue from glass by its colour.

    On a picture of at most 2,048 pixels: blur a little; tissue is where the saturation is above Otsu's threshold (kept
    between 0.05 and 0.20) and the pixel is not black; close gaps; leave out specks and fill holes of less than a five
    thousandth of the picture.

    Parameters
    ----------
    slide
        The slide.
    picture
        Its `Slide.overview`, where that has been read.

    Returns
    -------
    Tissue

    Raises
    ------
    SlideError
        If the file is damaged.
    """
    picture = slide.overview() if picture is None else picture
    colours = np.moveaxis(gaussian(np.float32(picture) / 255, sigma=1, channel_axis=2), 2, 0)
    # Saturation and value of HSV; hue, which takes longest, is of no use here.
    brightness = colours.max(axis=0)
    spread = brightness - colours.min(axis=0)
    saturation = np.divide(spread, brightness, out=np.zeros_like(spread), where=spread > 0)
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
        If a parameter will not do.
    SlideError
        If the slide has no such level, or its resolution is not known or too low.
    """
    check_count("the side of a tile", side)
    if not 0 <= least_tissue <= 1:
        raise BagwiseError(f"the least share of tissue is {least_tissue!r}: it must be a number from 0 to 1")
    if mpp is not None and not 0 < mpp < np.inf:
        raise BagwiseError(f"the microns a pixel are {mpp!r}: they must be a number above 0")
    known = slide.mpp if slide_mpp is None else slide_mpp
    if mpp is None:
        if not 0 <= level < len(slide.downsamples):
            raise SlideError(f"{slide.path} has no level {level}, only 0 to {len(slide.downsamples) - 1}")
        scale = slide.downsamples[level]
    else:
        if known is None:
            raise SlideError(
                f"{slide.path} does not say how many microns a pixel is: choose a level, or say it in Python with"
                " slide_mpp"
            )
        scale = mpp / known
        if scale < 0.99:
            raise SlideError(f"{slide.path} has {known:g} microns a pixel, which cannot be made finer to {mpp:g}")
        level = max(n for n, downsample in enumerate(slide.downsamples) if n == 0 or downsample <= scale * 1.01)
    span = max(1, round(side * scale))
    read = side if mpp is None else max(1, round(side * scale / slide.downsamples[level]))
    columns, rows = (np.arange(extent // span) * span for extent in slide.size)
    kept = [np.empty((0, 2), np.int64)]
    for row in rows[:, None]:  # one at a time: small tiles of a large slide are many
        enough = tissue.shares(columns, row, span)[0] >= least_tissue
        kept.append(np.stack(np.broadcast_arrays(columns[enough], row), axis=1))
    corners = np.concatenate(kept)
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
    SlideError
        If the file is damaged.
    """
    for begin in range(0, len(tiling.corners), chunk):
        tiles = []
        for x, y in tiling.corners[begin : begin + chunk].tolist():
            if tiling.read == tiling.side:
                tiles.append(slide.region(x, y, tiling.level, tiling.side, tiling.side))
            else:
                read, side = (tiling.read, tiling.read), (tiling.side, tiling.side)
                tiles.append(slide.shrunk(x, y, tiling.level, read, side))
        yield np.stack(tiles)


def _openslide() -> Any:
    try:
        import openslide
    except ImportError as error:
        raise BagwiseError('OpenSlide reads slides and is not installed: run pip install "bagwise[slides]"') from error
    except OSError as error:
        raise BagwiseError(f"OpenSlide is installed and cannot be loaded ({error}): install it anew") from error
    return openslide
