"""Where instances were, before anything is drawn."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from bagwise.bags import Bags

__all__ = ["Covered", "OfFile", "by_file", "mean_where_covered", "spacing"]

_MOST_CELLS = 1500  # across and down: more than a picture has pixels for


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


class Covered(NamedTuple):
    """A rectangle cut into cells, with the mean of the squares that cover each.

    Attributes
    ----------
    x, y
        The edges of the cells, rising, shape (C + 1,) and (R + 1,).
    means
        Shape (R, C), NaN where no square is.

    Examples
    --------
    >>> Covered(np.array([0, 1]), np.array([0, 1]), np.array([[0.5]])).means.shape
    (1, 1)
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    means: NDArray[np.float64]


def mean_where_covered(corners: NDArray[np.number], side: float, values: NDArray[np.floating]) -> Covered:
    """Give a map of squares one value a place: the mean of all squares that lie there.

    Cells begin and end where squares do. Squares that lie at very many different places are moved a little, to cells of
    at most a 1,500th of the map.

    Parameters
    ----------
    corners
        Upper left corners x, y, shape (K, 2).
    side
        Of a square.
    values
        Of the squares, shape (K,).

    Returns
    -------
    Covered

    Examples
    --------
    >>> drawn = mean_where_covered(np.array([[0, 0], [5, 0]]), 10, np.array([1.0, 0.0]))
    >>> drawn.x.tolist(), drawn.means.tolist()
    ([0.0, 5.0, 10.0, 15.0], [[1.0, 0.5, 0.0]])
    """
    low = corners.min(axis=0).astype(np.float64)
    begins = np.round((corners - low) / side, 6)  # in sides; rounded, so that neighbours share an edge
    (x, left, right), (y, top, bottom) = (_cells(along) for along in begins.T)
    sums, counts = np.zeros((len(y) - 1, len(x) - 1)), np.zeros((len(y) - 1, len(x) - 1), np.int64)
    for number, value in enumerate(values.tolist()):
        place = slice(top[number], bottom[number]), slice(left[number], right[number])
        sums[place] += value
        counts[place] += 1
    means = np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)
    return Covered(low[0] + side * x, low[1] + side * y, means)


def _cells(begins: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Give the edges of cells along an axis, and in which cells each square begins and ends."""
    ends = np.round(begins + 1, 6)
    edges = np.unique([begins, ends])
    if len(edges) > _MOST_CELLS + 1:
        edges = np.linspace(0, edges[-1], _MOST_CELLS + 1)
        begins, ends = (np.rint(along / edges[1]) * edges[1] for along in (begins, ends))
    first, last = (np.searchsorted(edges, along - 1e-9) for along in (begins, ends))
    return edges, first, np.maximum(last, first + 1)


class OfFile(NamedTuple):
    """The instances of a bag that are from one file, and so have places of their own.

    Attributes
    ----------
    bag
        The bag's position.
    file
        The file, or None where nothing is known of files.
    alone
        Whether all instances of the bag are from it.
    rows
        Where they are among the packed instances.

    Examples
    --------
    >>> OfFile(0, "a.h5", True, np.arange(3)).file
    'a.h5'
    """

    bag: int
    file: str | None
    alone: bool
    rows: NDArray[np.int64]


def by_file(bags: Bags) -> Iterator[OfFile]:
    """Take bags apart by the files that their instances are from.

    Parameters
    ----------
    bags
        The bags.

    Yields
    ------
    OfFile
        In the order of the bags, and the files of a bag in the order of its instances.

    Examples
    --------
    >>> bags = Bags.from_arrays([[[0.0], [1.0], [2.0]]])
    >>> [one.rows.tolist() for one in by_file(bags)]
    [[0, 1, 2]]
    """
    for position, (begin, end) in enumerate(zip(bags.offsets[:-1].tolist(), bags.offsets[1:].tolist(), strict=True)):
        rows = np.arange(begin, end)
        if bags.sources is None:
            yield OfFile(position, None, True, rows)
            continue
        found = bags.sources[begin:end]
        files = list(dict.fromkeys(found))
        for file in files:
            yield OfFile(position, file, len(files) == 1, rows if len(files) == 1 else rows[found == file])
