"""Images as bags of patches: on a grid, or around given points."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from bagwise.bags import Bags
from bagwise.checks import check_count
from bagwise.errors import BagwiseError
from bagwise.io.listing import FileKind
from bagwise.io.matching import FEATURE_FILES, BagFiles, match_files
from bagwise.io.sources import sources_of
from bagwise.label_columns import LABEL, LabelColumns
from bagwise.stored import Part, StoredInstances

__all__ = [
    "IMAGES",
    "Cutter",
    "Grid",
    "ImageSource",
    "Points",
    "around_points",
    "cut_patches",
    "holds_images",
    "read_images",
]

IMAGES = FileKind("image", (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"))


class Grid(NamedTuple):
    """Patches edge to edge from the upper left corner, without those that are mostly white (paper, section 4.3).

    What does not fill a patch at the right and lower edge is left out.

    Attributes
    ----------
    side
        Of a patch, in pixels.
    most_white
        A patch is left out when at least this share of its pixels is white; above 1 keeps all.
    white
        A pixel is white when the mean of its channels is at least this share of the brightest.

    Examples
    --------
    >>> image = np.zeros((70, 64, 3), np.uint8)
    >>> image[:32, :32] = 255
    >>> Grid(32).corners(image).tolist()
    [[32, 0], [0, 32], [32, 32]]
    """

    side: int = 32
    most_white: float = 0.75
    white: float = 0.9

    def corners(self, image: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Say where the patches of an image begin.

        Parameters
        ----------
        image
            Shape (H, W, 3).

        Returns
        -------
        array
            Upper left corners x, y, row by row, shape (K, 2).
        """
        rows, columns = image.shape[0] // self.side, image.shape[1] // self.side
        shares = np.empty((rows, columns))
        for row in range(rows):  # one at a time: the sums of a large image are larger than it
            band = image[row * self.side : (row + 1) * self.side, : columns * self.side]
            # Whole numbers: a threshold of exactly 0.9 is no matter of rounding.
            bright = band.sum(axis=2, dtype=np.int64) >= np.ceil(self.white * 255 * 3 - 1e-9)
            shares[row] = bright.reshape(self.side, columns, self.side).mean(axis=(0, 2))
        y, x = np.nonzero(shares < self.most_white)
        return np.stack([x, y], axis=1).astype(np.int64) * self.side


class Points(NamedTuple):
    """Patches around points, such as the nuclei of cells.

    A patch whose point is near the edge goes on beyond it as in a mirror, so no point is lost.

    Attributes
    ----------
    table
        A row a point, with the columns ``x`` (to the right) and ``y`` (downwards), in pixels, and the column that names
        the bag.
    side
        Of a patch, in pixels; odd, so that the point is the middle.
    origin
        What the middle of the first pixel is called: 0, or 1 as in MATLAB.

    Examples
    --------
    >>> table = pd.DataFrame({"bag": ["a", "a"], "x": [1.0, 9.6], "y": [1.0, 4.0]})
    >>> Points(table, side=3, origin=1).side
    3
    """

    table: pd.DataFrame
    side: int = 27
    origin: int = 0


def cut_patches(image: NDArray[np.uint8], corners: ArrayLike, side: int) -> NDArray[np.uint8]:
    """Cut square patches out of an image; beyond its edge it goes on as in a mirror.

    Parameters
    ----------
    image
        Shape (H, W, 3).
    corners
        Upper left corners x, y, whole numbers, shape (K, 2); they may lie outside of the image.
    side
        Of a patch.

    Returns
    -------
    array
        Shape (K, side, side, 3).

    Examples
    --------
    >>> image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    >>> cut_patches(image, [[0, 0], [-1, 0]], 2)[:, 0, :, 0].tolist()
    [[0, 3], [3, 0]]
    """
    places = np.asarray(corners, np.int64).reshape(-1, 2)
    size = np.array(image.shape[1::-1])
    inside = ((places >= 0) & (places + side <= size)).all(axis=1)
    patches = np.empty((len(places), side, side, image.shape[2]), np.uint8)
    if inside.any():
        x, y = places[inside].T
        windows = sliding_window_view(image, (side, side), axis=(0, 1))
        patches[inside] = windows[y, x].transpose(0, 2, 3, 1)
    # Place by place, so that a large image is not copied to be made larger.
    columns, rows = (
        _mirrored(begins[:, None] + np.arange(side), length)
        for begins, length in zip(places[~inside].T, size.tolist(), strict=True)
    )
    patches[~inside] = image[rows[:, :, None], columns[:, None, :]]
    return patches


def _mirrored(places: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Say where places beyond an edge are in an image; the edge itself is not repeated."""
    if size == 1:
        return np.zeros_like(places)
    there = places % (2 * (size - 1))
    return np.minimum(there, 2 * (size - 1) - there)


def around_points(points: NDArray[Any], side: int, origin: int, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Say where patches around points begin.

    Parameters
    ----------
    points
        x, y, shape (K, 2), fractions of pixels included.
    side
        Of a patch, odd.
    origin
        As in `Points`.
    shape
        Of the image, (H, W, ...). A point at most a pixel outside of it counts as at its edge.

    Returns
    -------
    array
        Upper left corners x, y, shape (K, 2).

    Raises
    ------
    BagwiseError
        If a point is outside of the image.

    Examples
    --------
    >>> around_points(np.array([[1.0, 1.0], [9.6, 4.0]]), 3, 1, (10, 10)).tolist()
    [[-1, -1], [8, 2]]
    """
    middle = np.round(np.asarray(points, np.float64) - origin)
    size = np.array([shape[1], shape[0]])
    outside = ~((middle >= -1) & (middle <= size)).all(axis=1)
    if outside.any():
        number = int(np.argmax(outside))
        x, y = points[number]
        raise BagwiseError(
            f"point {number + 1} is at x {x:g}, y {y:g}, outside of the image of {size[0]} x {size[1]} pixels: mend it"
        )
    inside = np.clip(middle, 0, size - 1).astype(np.int64)
    corners: NDArray[np.int64] = inside - side // 2
    return corners


def read_images(
    folder: str | Path,
    labels: str | Path | None = None,
    patches: Grid | Points | None = None,
    *,
    bag: str = "bag",
    label: str | Sequence[str] | None = LABEL,
    event: str | None = None,
    time: str | None = None,
    group: str | None = None,
    skip_missing: bool = False,
) -> Bags:
    """Read images as bags of patches, which are cut when somebody looks at them.

    Parameters
    ----------
    folder, labels, bag, label, event, time, group, skip_missing
        As in `bagwise.read_folder`. Several images of one bag are put one after the other.
    patches
        Where to cut; None is ``Grid()``. The table of `Points` names bags in the column `bag`; a bag of several images
        cannot have points, and its column ``class``, if there is one, becomes the `instance_labels`.

    Returns
    -------
    Bags
        Instances of shape (side, side, 3), 8 bits, in their files; `coordinates` are the patches' upper left corners.
        What becomes of palettes, transparency, depth and the side up, `bagwise.io.image_files.read_image` says.

    Raises
    ------
    BagwiseError
        As `match_files` and `read_image` do; or if an image has no patch, or a point is where no image is.

    Examples
    --------
    >>> import tempfile
    >>> from PIL import Image
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("a", "b"):
    ...     Image.new("RGB", (64, 64), "purple").save(folder / f"{name}.png")
    >>> read_images(folder)
    <Bags: 2 bags of 4 instances (8 in all), each of shape (32, 32, 3) uint8; no labels>
    """
    columns = LabelColumns.of(label, event, time, default=LABEL)
    matched = match_files(folder, labels, bag=bag, label=columns, group=group, skip_missing=skip_missing, kind=IMAGES)
    labelled = matched.bags[0].label is not None
    cutter = Cutter(patches, bag)
    cut = [cutter.cut(one) for one in matched.bags]
    sources = [source for parts, _ in cut for source in parts]
    kinds = [kind for _, kind in cut if kind is not None]
    return Bags(
        StoredInstances([Part(source, 0, len(source.corners)) for source in sources]),
        np.cumsum([0, *(sum(len(source.corners) for source in parts) for parts, _ in cut)]),
        labels=columns.array([one.label for one in matched.bags]) if labelled else None,
        names=np.array([one.name for one in matched.bags], dtype=object),
        groups=None if matched.bags[0].group is None else np.array([one.group for one in matched.bags]),
        coordinates=np.concatenate([source.corners for source in sources]),
        instance_labels=np.concatenate(kinds) if kinds else None,
        sources=sources_of(folder, [Path(source.name) for source in sources], [len(one.corners) for one in sources]),
        label_names=columns.label_names if labelled else None,
    )


def holds_images(folder: str | Path) -> bool:
    """Say whether a folder is one of images, and not of feature files.

    Parameters
    ----------
    folder
        The folder; those below it count.

    Returns
    -------
    bool
        False where there are feature files, which pictures of slides often lie beside.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> (folder / "scan.PNG").touch()
    >>> holds_images(folder)
    True
    """
    suffixes = {path.suffix.lower() for path in Path(folder).rglob("*")}
    return suffixes.isdisjoint(FEATURE_FILES.suffixes) and not suffixes.isdisjoint(IMAGES.suffixes)


class Cutter:
    """Cuts the images of bags, one bag after the other.

    Parameters
    ----------
    patches
        Where to cut; None is ``Grid()``.
    bag
        The column of a table of `Points` that names the bag.

    Raises
    ------
    BagwiseError
        If the side of a patch will not do, or the table lacks a column or a number.

    Examples
    --------
    >>> Cutter(None, "bag").patches.side
    32
    """

    def __init__(self, patches: Grid | Points | None, bag: str) -> None:
        self.patches = Grid() if patches is None else patches
        check_count("the side of a patch", self.patches.side)
        self._rows = _rows_of_bags(self.patches, bag) if isinstance(self.patches, Points) else {}

    def cut(self, one: BagFiles) -> tuple[list["ImageSource"], NDArray[Any] | None]:
        """Find the patches of a bag.

        Parameters
        ----------
        one
            The bag and its images.

        Returns
        -------
        tuple
            A source an image that has patches, and the points' classes, shape (K,), if they have any.

        Raises
        ------
        BagwiseError
            If an image cannot be read, the bag has no patch, or a point is where no image is.
        """
        if isinstance(self.patches, Points):
            return self._around_points(one, self.patches)
        found = []
        for file in one.files:
            corners = self.patches.corners(_picture(file))
            if len(corners):
                found.append(ImageSource.of(file, corners, self.patches.side))
        if not found:
            raise BagwiseError(
                f"{one.files[0]} has no patch of {self.patches.side} x {self.patches.side} pixels that is not mostly"
                " white: take smaller patches, keep white ones, or leave the image out"
            )
        return found, None

    def _around_points(self, one: BagFiles, points: Points) -> tuple[list["ImageSource"], NDArray[Any] | None]:
        if len(one.files) > 1:
            raise BagwiseError(f"bag {one.name!r} has {len(one.files)} images: give points for bags of one image only")
        table = self._rows.get(one.name)
        if table is None:
            raise BagwiseError(f"no point lies in bag {one.name!r}: add points, or leave the image out")
        shape = _picture(one.files[0]).shape
        try:
            corners = around_points(table[["x", "y"]].to_numpy(), points.side, points.origin, shape)
        except BagwiseError as error:
            raise BagwiseError(f"of bag {one.name!r}, {error}") from error
        kinds = table["class"].to_numpy(dtype=str) if "class" in table else None
        return [ImageSource.of(one.files[0], corners, points.side)], kinds


@dataclass(frozen=True, eq=False)
class ImageSource:
    """Patches of an image as a source of instances (`bagwise.stored.Source`).

    Attributes
    ----------
    name
        The image's path.
    corners
        Upper left corners x, y of the patches, shape (K, 2).
    shape
        (K, side, side, 3).
    identity
        Changes when the image or the patches do.
    dtype
        Of pixels.

    Examples
    --------
    >>> import tempfile
    >>> from PIL import Image
    >>> path = Path(tempfile.mkdtemp()) / "a.png"
    >>> Image.new("RGB", (8, 8), "purple").save(path)
    >>> ImageSource.of(path, np.array([[0, 0], [4, 4]]), 4).read(1, 2).shape
    (1, 4, 4, 3)
    """

    name: str
    corners: NDArray[np.int64]
    shape: tuple[int, ...]
    identity: str
    dtype: np.dtype[Any] = field(default=np.dtype(np.uint8))

    @classmethod
    def of(cls, file: Path, corners: NDArray[np.int64], side: int) -> "ImageSource":
        """Name the patches of an image, which is not read yet."""
        held = file.stat()
        places = blake2b(corners.tobytes(), digest_size=8).hexdigest()
        identity = f"{file.resolve()} {held.st_size} {held.st_mtime_ns} {side} {places}"
        return cls(str(file), corners, (len(corners), side, side, 3), identity)

    def read(self, begin: int, end: int) -> NDArray[np.uint8]:
        """Cut some of the patches, shape (end - begin, side, side, 3)."""
        return cut_patches(_picture(self.name), self.corners[begin:end], self.shape[1])


def _rows_of_bags(points: Points, bag: str) -> Mapping[str, pd.DataFrame]:
    if points.side % 2 == 0:
        raise BagwiseError(f"the side of a patch is {points.side}: around points it must be odd, such as 27")
    for column in (bag, "x", "y"):
        if column not in points.table:
            columns = ", ".join(map(str, points.table.columns))
            raise BagwiseError(f"the table of points has no column {column!r}, only {columns}: name its columns so")
    places = points.table[["x", "y"]].apply(pd.to_numeric, errors="coerce")
    wrong = ~np.isfinite(places.to_numpy()).all(axis=1)
    if wrong.any():
        row = int(np.argmax(wrong)) + 1
        raise BagwiseError(f"row {row} of the table of points has no number in x or y: fill it in, or drop the row")
    table = points.table.assign(x=places["x"], y=places["y"])
    return {str(name): rows for name, rows in table.groupby(table[bag].astype(str), sort=False)}


def _picture(path: str | Path) -> NDArray[np.uint8]:
    from bagwise.io.image_files import read_image  # and Pillow, which tables do without

    return read_image(path)
