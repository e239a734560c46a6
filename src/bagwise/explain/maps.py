"""Maps: the instances of a bag where they were, coloured by what they count."""

import textwrap
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from bagwise.errors import BagwiseError
from bagwise.explain.places import mean_where_covered, spacing
from bagwise.files import replacing

__all__ = ["WEIGHT_COLOURS", "draw_map", "draw_squares", "wrapped"]

WEIGHT_COLOURS = "viridis"

_LONG_SIDE, _SHORTEST_SIDE, _BESIDE, _ABOVE, _LINE = 7.0, 2.5, 1.8, 1.0, 0.17  # inches
_LETTERS = 11  # an inch, in a title


def draw_map(
    path: str | Path,
    coordinates: ArrayLike,
    values: ArrayLike,
    *,
    title: str = "",
    patch_size: float | None = None,
) -> None:
    """Draw the instances of one bag at their places.

    Where instances overlap, a place has the colour of their mean.

    Parameters
    ----------
    path
        Where to write, as PNG or SVG by its ending; a file that is there is replaced when the new one is complete.
    coordinates
        Shape (K, 2) or (K, 3), of which x and y are drawn: upper left corners of patches, y downwards as in images.
    values
        Shape (K,), in [0, 1]: rescaled weights.
    title
        Stands above.
    patch_size
        Side of a patch in the unit of the coordinates. None takes how far apart neighbours usually are.

    Raises
    ------
    BagwiseError
        If shapes do not fit together, or the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "map.svg"
    >>> draw_map(path, [[0, 0], [256, 0], [256, 256]], [0.0, 0.5, 1.0], title="slide 7")
    >>> "slide 7" in path.read_text()
    True
    """
    path, places, shares = Path(path), np.asarray(coordinates, np.float64), np.asarray(values, np.float64)
    if places.ndim != 2 or places.shape[1] not in (2, 3) or shares.shape != places.shape[:1] or not len(places):
        raise BagwiseError(
            f"coordinates have shape {places.shape} and values {shares.shape}: a map needs x and y, and a value, for"
            " each instance"
        )
    if path.suffix not in (".png", ".svg"):
        raise BagwiseError(f"{path} must end in .png or .svg: name it so")
    side = spacing(places) if patch_size is None else float(patch_size)
    low, extent = places[:, :2].min(axis=0), np.ptp(places[:, :2], axis=0) + side
    width, height = np.maximum(_LONG_SIDE * extent / extent.max(), _SHORTEST_SIDE)
    told = wrapped(title, width + _BESIDE)
    figure = Figure(figsize=(width + _BESIDE, height + _ABOVE + _LINE * told.count("\n")), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    patches = draw_squares(axes, places[:, :2], side, shares)
    margin = 0.02 * extent.max()
    axes.set_xlim(low[0] - margin, low[0] + extent[0] + margin)
    axes.set_ylim(low[1] + extent[1] + margin, low[1] - margin)
    axes.set_aspect("equal")
    axes.set_facecolor("0.95")
    axes.tick_params(labelsize=8)
    axes.set_title(told, fontsize=10, loc="left")
    figure.colorbar(patches, ax=axes, label="rescaled weight", shrink=0.8)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=150)


def wrapped(title: str, inches: float) -> str:
    r"""Break a title into lines that fit above a figure, so that no path is cut.

    Parameters
    ----------
    title
        Its own lines stay apart.
    inches
        Width of the figure.

    Returns
    -------
    str
        For matplotlib, to which a name with dollars would be a formula.

    Examples
    --------
    >>> wrapped("slide 7\na/long/path", 1)
    'slide 7\na/long/path'
    """
    lines = (textwrap.wrap(line, max(11, int(_LETTERS * inches))) or [""] for line in title.split("\n"))
    return "\n".join(part for line in lines for part in line).replace("$", r"\$")


def draw_squares(
    axes: Axes, corners: NDArray[np.number], side: float, values: NDArray[np.floating], opacity: float = 1.0
) -> QuadMesh:
    """Paint squares in the colours of rescaled weights; each place once, in the colour of the mean of what is there.

    Parameters
    ----------
    axes
        Where to.
    corners
        Upper left corners x, y, shape (K, 2).
    side
        Of a square.
    values
        In [0, 1], shape (K,).
    opacity
        In [0, 1].

    Returns
    -------
    QuadMesh
        What a colour bar needs.

    Examples
    --------
    >>> axes = Figure().add_subplot()
    >>> draw_squares(axes, np.array([[0, 0], [5, 0]]), 10, np.array([0.5, 1.0])).get_array().tolist()
    [[0.5, 0.75, 1.0]]
    """
    drawn = mean_where_covered(corners, side, values)
    return axes.pcolormesh(
        drawn.x,
        drawn.y,
        np.ma.masked_invalid(drawn.means),
        cmap=WEIGHT_COLOURS,
        vmin=0,
        vmax=1,
        alpha=opacity,
        rasterized=True,  # a drawing of hundreds of thousands of cells would be larger than any picture
    )
