"""What sums a bag up, whatever its size: how each feature lies in it, and the number of instances."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bagwise.bags import Bags

__all__ = ["Summaries", "summaries_of"]

_BLOCK_NUMBERS = 1 << 20  # of instances that are in memory at once, in double precision
_FARTHEST = 1e120  # whose square, many times, is still a number


class Summaries(NamedTuple):
    """What bags are summed up as.

    Attributes
    ----------
    sizes
        Number of instances of each bag, shape (B,).
    mean, highest, lowest, spread
        Of each feature in each bag, shape (B, D); the spread is the standard deviation, 0 where there is one instance.

    Examples
    --------
    >>> found = summaries_of(Bags.from_arrays([[[0.0], [2.0]], [[5.0]]]))
    >>> found.vectors().tolist()
    [[1.0, 2.0, 0.0, 1.0, 2.0], [5.0, 5.0, 5.0, 0.0, 1.0]]
    """

    sizes: NDArray[np.int64]
    mean: NDArray[np.float64]
    highest: NDArray[np.float64]
    lowest: NDArray[np.float64]
    spread: NDArray[np.float64]

    def vectors(self) -> NDArray[np.float64]:
        """Put all of it side by side, shape (B, 4 D + 1)."""
        parts = [self.mean, self.highest, self.lowest, self.spread, self.sizes[:, None]]
        return np.concatenate(parts, axis=1).clip(-_FARTHEST, _FARTHEST)

    def means(self) -> NDArray[np.float64]:
        """Give the mean alone, shape (B, D)."""
        return self.mean

    def farthest(self, bags: Bags, feature: int) -> tuple[int, int]:
        """Find the bag where a feature is farthest from 0, and the row in it."""
        bag = int(np.argmax(np.maximum(abs(self.highest[:, feature]), abs(self.lowest[:, feature]))))
        return bag, int(np.argmax(abs(bags[bag].instances[:, feature])))


def summaries_of(bags: Bags) -> Summaries:
    """Sum bags up in one pass, a block of instances at a time, so that bags in files need not fit into memory.

    Parameters
    ----------
    bags
        Bags of vectors.

    Returns
    -------
    Summaries
        Of each bag alone: neither the other bags nor their order change a bit.

    References
    ----------
    Of a bag larger than a block, squares are added up as in T. Chan, G. Golub, R. LeVeque: Algorithms for Computing the
    Sample Variance. The American Statistician, 1983.

    Examples
    --------
    >>> summaries_of(Bags.from_arrays([[[1], [3]], [[2]]])).spread.tolist()
    [[1.0], [0.0]]
    """
    starts = _pieces(bags)
    counts = np.diff(starts, append=len(bags.instances))
    found = [_of_block(values, begins) for values, begins in _blocks(bags, starts, counts)]
    sums, squares, highest, lowest = (np.concatenate(part) for part in zip(*found, strict=True))
    first = np.searchsorted(starts, bags.offsets[:-1])
    highest, lowest = np.maximum.reduceat(highest, first), np.minimum.reduceat(lowest, first)
    sizes = bags.sizes
    mean = np.add.reduceat(sums, first) / sizes[:, None]
    own = np.repeat(mean, np.diff(first, append=len(starts)), axis=0)
    squares = np.add.reduceat(squares + counts[:, None] * (sums / counts[:, None] - own) ** 2, first)
    # What is the same throughout is so to the last bit.
    mean = mean.clip(lowest.clip(-_FARTHEST), highest.clip(max=_FARTHEST))
    spread = np.where(highest == lowest, 0.0, np.sqrt(squares / sizes[:, None]))
    return Summaries(sizes, mean, highest, lowest, spread)


def _rows(bags: Bags) -> int:
    """Say how many instances are in memory at once."""
    return max(1, _BLOCK_NUMBERS // bags.instance_shape[0])


def _pieces(bags: Bags) -> NDArray[np.int64]:
    """Cut bags that are larger than a block, and say where pieces begin."""
    if bags.sizes.max() <= _rows(bags):
        return bags.offsets[:-1]
    parts = [np.arange(*ends, _rows(bags)) for ends in zip(bags.offsets[:-1], bags.offsets[1:], strict=True)]
    return np.concatenate(parts)


def _blocks(
    bags: Bags, starts: NDArray[np.int64], counts: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.int64]]]:
    """Give instances in double precision, as many whole pieces as fit into a block, and where these begin in it."""
    ends, begin = starts + counts, 0
    while begin < len(starts):
        end = int(np.searchsorted(ends, starts[begin] + _rows(bags), side="right"))
        values = np.asarray(bags.instances[int(starts[begin]) : int(ends[end - 1])], dtype=np.float64)
        yield values, starts[begin:end] - starts[begin]
        begin = end


def _of_block(values: NDArray[np.float64], begins: NDArray[np.int64]) -> tuple[NDArray[np.float64], ...]:
    """Give sums, squares of differences from the mean, maxima and minima of pieces."""
    highest, lowest = np.maximum.reduceat(values, begins), np.minimum.reduceat(values, begins)
    values = values.clip(-_FARTHEST, _FARTHEST)
    counts = np.diff(begins, append=len(values))
    sums = np.add.reduceat(values, begins)
    values -= np.repeat(sums / counts[:, None], counts, axis=0)
    return sums, np.add.reduceat(np.square(values, out=values), begins), highest, lowest
