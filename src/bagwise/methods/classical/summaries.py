"""What sums a bag up, whatever its size: how each feature lies in it, and the number of instances."""

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bagwise.bags import Bags

__all__ = ["Summaries", "summaries_of", "summaries_without"]

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

    def vectors(self, beside: int = 0) -> NDArray[np.float64]:
        """Put all of it side by side, shape (B, 4 D + 1); of those that belong to bags, the last, the mean alone."""
        own = self.mean.shape[1] - beside
        spread = [part[:, :own] for part in (self.highest, self.lowest, self.spread)]
        parts = [self.mean, *spread, self.sizes[:, None]]
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


def summaries_without(bags: Bags) -> Iterator[Summaries]:
    """Sum bags up as they were without one of their instances, for each of these.

    Parameters
    ----------
    bags
        Bags of vectors.

    Yields
    ------
    Summaries
        A row an instance, in the order of `Bags.instances`, as many at a time as fit into a block; of one that is alone
        in its bag the size is 0, and the rest NaN. They are what `summaries_of` says, but for the last bits. Of a bag
        larger than a block the summaries are in memory at once.

    Examples
    --------
    >>> (found,) = summaries_without(Bags.from_arrays([[[0.0], [2.0], [7.0]], [[5.0]]]))
    >>> found.sizes.tolist(), found.mean.ravel().tolist(), found.highest.ravel().tolist()
    ([2, 2, 2, 0], [4.5, 3.5, 1.0, nan], [7.0, 7.0, 2.0, nan])
    """
    rows, begin = _rows(bags), 0
    while begin < len(bags):
        last = int(np.searchsorted(bags.offsets, bags.offsets[begin] + rows, side="right")) - 1
        end = max(begin + 1, last)
        first = int(bags.offsets[begin])
        values = np.asarray(bags.instances[first : int(bags.offsets[end])], dtype=np.float64)
        places = bags.offsets[begin : end + 1] - first
        parts = [_without_each(values[a:b]) for a, b in pairwise(places)]
        found = [np.concatenate(part) for part in zip(*parts, strict=True)]
        for row in range(0, len(values), rows):
            yield Summaries(*(part[row : row + rows] for part in found))
        begin = end


def _without_each(values: NDArray[np.float64]) -> Summaries:
    """Sum up all rows but one, for each row."""
    others = len(values) - 1
    sizes = np.full(len(values), others)
    if not others:
        unknown = np.full(values.shape, np.nan)
        return Summaries(sizes, unknown, unknown, unknown, unknown)
    highest, lowest = _but_one(np.maximum, values, -np.inf), _but_one(np.minimum, values, np.inf)
    values = values.clip(-_FARTHEST, _FARTHEST)
    centre = np.median(values, axis=0)  # where the others are, too, so that their squares lose nothing
    values -= centre
    mean = _but_one(np.add, values, 0.0) / others
    squares = _but_one(np.add, np.square(values, out=values), 0.0) / others - np.square(mean)
    mean = (mean + centre).clip(lowest.clip(-_FARTHEST), highest.clip(max=_FARTHEST))
    spread = np.where(highest == lowest, 0.0, np.sqrt(squares.clip(0.0)))
    return Summaries(sizes, mean, highest, lowest, spread)


def _but_one(combine: np.ufunc, values: NDArray[np.float64], nothing: float) -> NDArray[np.float64]:
    """Combine all rows but one, for each row: those before it with those after it, so that nothing is subtracted."""
    edge = np.full((1, values.shape[1]), nothing)
    before = np.concatenate([edge, combine.accumulate(values[:-1])])
    after = np.concatenate([combine.accumulate(values[:0:-1])[::-1], edge])
    combined: NDArray[np.float64] = combine(before, after)
    return combined


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
