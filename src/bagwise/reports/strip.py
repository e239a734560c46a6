"""A figure of one bag: its images in a row, with what each counts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bagwise.errors import BagwiseError
from bagwise.explain.rescaling import rescaled_in_bags
from bagwise.reports.drawing import COLOURS, new_figure

__all__ = ["draw_strip"]

_ACROSS = 7


def draw_strip(
    path: str | Path, images: NDArray[Any], weights: NDArray[Any], marked: Sequence[bool], title: str
) -> None:
    """Draw the images of a bag with their weights (paper, figure 4).

    The frame of an image is the more opaque the more it counts; where all count the same, all are half opaque.

    Parameters
    ----------
    path
        Where to write, as SVG or PNG by its ending.
    images
        Grey, dark on white once drawn: shape (K, H, W), the higher the darker.
    weights
        Of the images, shape (K,).
    marked
        Which images truly matter: a star stands beside their weight.
    title
        Above the images.

    Raises
    ------
    BagwiseError
        If there is not one weight an image, the file's name will not do, or it cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "bag.svg"
    >>> draw_strip(target, np.zeros((2, 28, 28)), np.array([0.9, 0.1]), [True, False], "a bag")
    >>> "0.90000 *" in target.read_text()
    True
    """
    if not len(images) == len(weights) == len(marked):
        raise BagwiseError(
            f"there are {len(images)} images, {len(weights)} weights and {len(marked)} marks: give one each"
        )
    shares = rescaled_in_bags(np.asarray(weights), np.array([0, len(weights)]))
    rows = -(-len(images) // _ACROSS)
    with new_figure(path, grown=1.3) as (figure, _):
        figure.set_figheight(1.1 * rows + 0.5)
        figure.suptitle(title, fontsize=8, x=0.01, ha="left")
        places = figure.subplots(rows, _ACROSS, squeeze=False).ravel()
        for number, axes in enumerate(places):
            if number >= len(images):
                axes.set_axis_off()
                continue
            axes.imshow(images[number], cmap="gray_r")
            axes.set(xticks=[], yticks=[])
            axes.set_xlabel(f"a{number + 1} = {weights[number]:.5f}{' *' if marked[number] else ''}", fontsize=7)
            for spine in axes.spines.values():
                spine.set(visible=True, color=COLOURS[1], linewidth=2.5, alpha=float(shares[number]))
