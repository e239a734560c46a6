"""The two sets of tissue that the paper's Tables 2 and 3 are about (section 4.3)."""

from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd

from bagwise.bags import Bags
from bagwise.errors import BagwiseError
from bagwise.inputs import read_whole
from bagwise.io.images import Grid, Points, read_images

__all__ = ["breast_cancer", "colon_cancer"]

EPITHELIAL = "epithelial"


def colon_cancer(folder: str | Path, *, margin: int = 0) -> Bags:
    """Cut the colon images into patches of 27 x 27 pixels around their nuclei.

    A bag is positive if at least one of its nuclei is epithelial. Points are MATLAB's, the first pixel being 1.

    Parameters
    ----------
    folder
        With ``images/imgN.png`` and ``nuclei.csv`` (image, x, y, class).
    margin
        So many more pixels on each side of a patch, to cut it at another place in training.

    Returns
    -------
    Bags
        With labels 1 and 0, the kinds of nuclei as `instance_labels`, and the patches' upper left corners as
        `coordinates`.

    Raises
    ------
    BagwiseError
        If a file is missing or damaged.
    """
    nuclei = _table(Path(folder) / "nuclei.csv", ["image", "x", "y", "class"])
    points = Points(nuclei.assign(bag="img" + nuclei["image"].astype(str)), side=27 + 2 * margin, origin=1)
    bags = _in_memory(read_images(Path(folder) / "images", patches=points))
    assert bags.instance_labels is not None
    found = np.logical_or.reduceat(bags.instance_labels == EPITHELIAL, bags.offsets[:-1])
    return bags.with_labels(found.astype(np.int64))


def breast_cancer(folder: str | Path) -> Bags:
    """Cut the breast images into patches of 32 x 32 pixels, without those that are at least three quarters white.

    Parameters
    ----------
    folder
        With ``images/*.png`` and ``labels.csv`` (image, label, tma_block).

    Returns
    -------
    Bags
        With labels 1 (malignant) and 0; `groups` are the tissue blocks, and `coordinates` the patches' upper left
        corners.

    Raises
    ------
    BagwiseError
        If a file is missing or damaged.
    """
    table = Path(folder) / "labels.csv"
    _table(table, ["image", "label", "tma_block"])
    return _in_memory(read_images(Path(folder) / "images", table, Grid(32), bag="image", group="tma_block"))


def _table(path: Path, columns: list[str]) -> pd.DataFrame:
    try:
        table = pd.read_csv(BytesIO(read_whole(path)))
    except BagwiseError:
        raise
    except ValueError as error:
        raise BagwiseError(f"{path} is no table ({error}): put the data set there") from error
    lacking = [name for name in columns if name not in table]
    if lacking:
        raise BagwiseError(f"{path} has no column {lacking[0]!r}: put the data set as it was published there")
    return table


def _in_memory(bags: Bags) -> Bags:
    return replace(bags, instances=bags.instances[:])
