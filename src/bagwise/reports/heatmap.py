"""A figure of an image and of its patches, each as bright as it counts (paper, figure 5)."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bagwise.errors import BagwiseError
from bagwise.reports.drawing import new_figure

__all__ = ["draw_heatmap", "weighted_patches"]


def weighted_patches(image: NDArray[np.uint8], corners: ArrayLike, side: int, weights: ArrayLike) -> NDArray[np.uint8]:
    """Show nothing of an image but its patches, each multiplied by its weight.

    Parameters
    ----------
    image
        Shape (H, W, 3).
    corners
        Upper left corners x, y of the patches, shape (K, 2); what lies outside of the image is not shown.
    side
        Of a patch.
    weights
        In [0, 1], shape (K,). Where patches overlap, their mean counts.

    Returns
    -------
    array
        Shape (H, W, 3); black where no patch is.

    Raises
    ------
    BagwiseError
        If there is not one weight a patch, or a weight is out of its range.

    Examples
    --------
    >>> image = np.full((2, 4, 3), 200, np.uint8)
    >>> weighted_patches(image, [[0, 0], [2, 0]], 2, [0.5, 1.0])[0, :, 0].tolist()
    [100, 100, 200, 200]
    """
    places, shares = np.asarray(corners, np.int64), np.asarray(weights, np.float64)
    if places.shape != (len(shares), 2):
        raise BagwiseError(f"there are {len(shares)} weights and corners of shape {places.shape}: give one each")
    if not ((shares >= 0) & (shares <= 1)).all():
        raise BagwiseError("a weight is below 0 or above 1: rescale weights first")
    sums, counts = np.zeros(image.shape[:2]), np.zeros(image.shape[:2], np.int64)
    for (x, y), share in zip(places, shares, strict=True):
        part = slice(max(y, 0), max(y + side, 0)), slice(max(x, 0), max(x + side, 0))
        sums[part] += share
        counts[part] += 1
    bright = sums / np.maximum(counts, 1)
    return np.round(image * bright[..., None]).astype(np.uint8)


def draw_heatmap(
    path: str | Path, image: NDArray[np.uint8], corners: ArrayLike, side: int, panels: Mapping[str, ArrayLike]
) -> None:
    """Draw an image beside its patches under several weights.

    Parameters
    ----------
    path
        Where to write, as SVG or PNG by its ending.
    image, corners, side
        As in `weighted_patches`.
    panels
        For each panel's title, the weights of the patches.

    Raises
    ------
    BagwiseError
        As `weighted_patches` does; or if the file's name will not do, or it cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "heatmap.png"
    >>> draw_heatmap(target, np.full((8, 8, 3), 200, np.uint8), [[0, 0]], 4, {"attention": [1.0]})
    >>> target.exists()
    True
    """
    shown = {"image": image}
    shown |= {title: weighted_patches(image, corners, side, weights) for title, weights in panels.items()}
    across = 3 if len(shown) > 3 else len(shown)
    down = -(-len(shown) // across)
    with new_figure(path, grown=1.8) as (figure, _):
        figure.set_figheight(figure.get_figwidth() / across * image.shape[0] / image.shape[1] * down + 0.3 * down)
        places = figure.subplots(down, across, squeeze=False).ravel()
        for axes in places[len(shown) :]:
            axes.set_axis_off()
        for axes, (title, pixels) in zip(places, shown.items(), strict=False):
            axes.imshow(pixels, interpolation="none")
            axes.set_title(title)
            axes.set(xticks=[], yticks=[])
