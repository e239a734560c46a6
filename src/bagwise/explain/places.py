"""Where instances were, before anything is drawn."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

__all__ = ["spacing"]


def spacing(coordinates: NDArray[np.floating]) -> float:
    """Give how far apart neighbours usually are: the side of patches that lie edge to edge.

    Parameters
    ----------
    coordinates
        Shape (K, 2) or more columns, of which x and y count.

    Returns
    -------
    float
        1 where all are at one place.

    Examples
    --------
    >>> spacing(np.array([[0.0, 0.0], [256.0, 0.0], [256.0, 256.0]]))
    256.0
    """
    different = np.unique(coordinates[:, :2], axis=0)
    if len(different) == 1:
        return 1.0
    distances, _ = KDTree(different).query(different, k=2, p=np.inf)
    return float(np.median(distances[:, 1]))
