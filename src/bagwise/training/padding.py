"""Few sizes that bags are padded to, so that a step is captured once for many bags."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["shared_sizes"]

# Bags whose sizes differ by less than this factor take one captured step.
_APART = 1.25


def shared_sizes(sizes: NDArray[np.int64]) -> dict[int, int]:
    """Choose few sizes that bags are padded to, each that of a bag.

    Parameters
    ----------
    sizes
        Of the bags.

    Returns
    -------
    dict
        For each size the one that it is padded to: less than a factor of 1.25 larger.

    Examples
    --------
    >>> shared_sizes(np.array([4, 5, 5, 80, 81, 100]))
    {4: 5, 5: 5, 80: 100, 81: 100, 100: 100}
    """
    shared: dict[int, int] = {}
    largest = 0
    for size in np.unique(sizes)[::-1].tolist():
        if not largest or size * _APART < largest:
            largest = size
        shared[size] = largest
    return dict(sorted(shared.items()))
