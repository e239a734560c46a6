"""The five classical sets that the paper's Table 1 is about, as Bagwise keeps them."""

from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from bagwise.bags import Bags
from bagwise.errors import BagwiseError
from bagwise.io.array_files import read_npz

__all__ = ["read_classical"]


def read_classical(path: Path, name: str) -> Bags:
    """Read a classical set.

    Parameters
    ----------
    path
        A file of numpy's, with the arrays ``X`` (N, D), ``bag`` (N,), ``y`` (B,) and, if there are names, ``bag_names``
        and ``instance_names``.
    name
        Of the set; it names bags that have no name.

    Returns
    -------
    Bags
        With labels 0 and 1.

    Raises
    ------
    BagwiseError
        If the file is something else, or its bags are not one after the other.
    """
    try:
        arrays = read_npz(path)
        X, bag, y = arrays["X"], arrays["bag"], arrays["y"]
    except BagwiseError:
        raise
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise BagwiseError(f"{path} is not {name} as Bagwise keeps it ({error}): replace it") from error
    if bag.shape != X.shape[:1] or not np.array_equal(np.unique(bag), np.arange(len(y))):
        raise BagwiseError(f"{path} has instances without a bag, or bags without instances: replace it")
    if (np.diff(bag) < 0).any():
        raise BagwiseError(f"{path} has bags out of order: replace it")
    names = arrays.get("bag_names", [f"{name}-{number:03}" for number in range(1, len(y) + 1)])
    offsets = np.cumsum([0, *np.bincount(bag)])
    return Bags(
        X,
        offsets,
        y.astype(np.int64),
        np.array(names, dtype=object),
        instance_names=arrays.get("instance_names"),
    )
