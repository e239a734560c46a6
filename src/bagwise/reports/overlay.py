"""Pictures of slides: what of them was taken for tissue, and what their tiles count."""

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bagwise.explain.maps import draw_squares, wrapped
from bagwise.files import replacing
from bagwise.io.slides import Tiling, Tissue
from bagwise.reports.drawing import new_figure

__all__ = ["draw_overlay", "draw_tissue"]

_TILE = np.array([0, 90, 200])  # what tiles are tinted with, red, green and blue
_GRID_FROM = 4  # pixels of the picture: between tiles of at least this side there is a line


def draw_tissue(path: str | Path, picture: NDArray[np.uint8], tissue: Tissue, tiling: Tiling) -> None:
    """Show what of a slide is tissue and where its tiles are: the rest is pale, tiles are tinted.

    Parameters
    ----------
    path
        Where to write, as JPEG.
    picture
        The slide's overview.
    tissue, tiling
        What was found of it.

    Raises
    ------
    BagwiseError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "tissue.jpg"
    >>> tiling = Tiling(np.array([[0, 0]]), side=8, span=8, level=0, read=8, mpp=None)
    >>> draw_tissue(target, np.zeros((8, 8, 3), np.uint8), Tissue(np.ones((8, 8), bool), (1.0, 1.0)), tiling)
    >>> target.exists()
    True
    """
    shown = picture.astype(np.uint16)
    shown[~tissue.mask] = (shown[~tissue.mask] + 3 * 255) // 4
    tiled = np.zeros(tissue.mask.shape, bool)
    corners = tiling.corners / tissue.scale
    across, down = (tiling.span / scale for scale in tissue.scale)
    line = int(min(across, down) >= _GRID_FROM)
    for x, y in corners:
        tiled[int(y) + line : int(np.ceil(y + down)), int(x) + line : int(np.ceil(x + across))] = True
    shown[tiled] = (3 * shown[tiled] + _TILE) // 4
    jpeg = io.BytesIO()  # to a full disk Pillow writes half a file, and says nothing
    Image.fromarray(shown.astype(np.uint8)).save(jpeg, "JPEG", quality=85)
    with replacing(path) as temporary:
        temporary.write_bytes(jpeg.getvalue())


def draw_overlay(
    path: str | Path,
    picture: NDArray[np.uint8],
    size: tuple[int, int],
    corners: NDArray[np.number],
    span: int,
    values: NDArray[np.floating],
    *,
    title: str = "",
) -> None:
    """Lay the rescaled weights of tiles over a picture of their slide, which is grey: stains are colours, too.

    Where tiles overlap, a place has the colour of their mean.

    Parameters
    ----------
    path
        Where to write, as PNG.
    picture
        All of the slide, small, shape (h, w, 3).
    size
        Width and height of the slide in pixels of level 0.
    corners
        Upper left corners of the tiles in pixels of level 0, shape (K, 2).
    span
        Side of a tile in pixels of level 0.
    values
        Shape (K,), in [0, 1].
    title
        Stands above.

    Raises
    ------
    BagwiseError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "overlay.png"
    >>> slide = np.full((40, 50, 3), 220, np.uint8)
    >>> draw_overlay(target, slide, (500, 400), np.array([[0, 0], [100, 0]]), 100, np.array([0.2, 1.0]))
    >>> target.exists()
    True
    """
    width, height = size
    with new_figure(path, grown=1.2) as (figure, _):
        figure.set_figheight(figure.get_figwidth() * min(1.6, 0.85 * height / width) + 0.3)
        axes = figure.add_subplot()
        axes.imshow(
            np.array(Image.fromarray(picture).convert("L")), "gray", extent=(0, width, height, 0), clim=(0, 255)
        )
        tiles = draw_squares(axes, corners, span, values, opacity=0.5)
        axes.set(xlim=(0, width), ylim=(height, 0))
        axes.set_axis_off()
        axes.set_title(wrapped(title, figure.get_figwidth()))
        bar = figure.colorbar(tiles, ax=axes, label="rescaled weight", shrink=0.8)
        bar.outline.set_visible(False)
