"""Which instances of a bag are neighbours: near each other in coordinates, or in what their features say.

A bag's neighbours depend on nothing outside the bag, nor on the order of its instances. They are kept with the data
(`bagwise.training.data.PackedTensors.where`), so that they are found once, whatever number of models looks at them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Neighbourhood", "alone", "nearest", "standardised"]

# The most distances at once, and numbers of points that are compared one by one: few enough for the cache.
_DISTANCES, _NUMBERS = 1 << 25, 1 << 18
# Of how many more points than wanted rough distances decide.
_SPARE = 16


@dataclass(frozen=True)
class Neighbourhood:
    """What neighbours a part of a model asks for.

    Attributes
    ----------
    count
        How many of each instance, itself not counted.
    space
        Where they are near: ``"coordinates"`` or ``"features"``.

    Examples
    --------
    >>> Neighbourhood(8, "coordinates").count
    8
    """

    count: int
    space: Literal["coordinates", "features"]


def nearest(points: NDArray[Any], count: int, told_apart_by: NDArray[Any] | None = None) -> NDArray[np.int32]:
    """Find the nearest neighbours of each point of a bag, exactly.

    Two or three columns are searched by a tree, 100,000 points within a second or two; more of them by all distances,
    in blocks, whose time grows with the square of the number of points.

    Parameters
    ----------
    points
        Shape (n, D), finite.
    count
        How many, k.
    told_apart_by
        What else is known of the points, shape (n, F), so that points in one place do not depend on their order.

    Returns
    -------
    array
        Positions of the neighbours, nearest first, shape (n, k). Where there are fewer than k others, an instance is
        its own neighbour in their place.

    Examples
    --------
    >>> nearest(np.array([[0.0], [1.0], [3.0]]), count=3).tolist()
    [[1, 2, 0], [0, 2, 1], [1, 0, 2]]
    """
    values = np.asarray(points, np.float64)
    found = min(count, len(values) - 1)
    neighbours = np.repeat(np.arange(len(values), dtype=np.int32)[:, None], count, axis=1)
    if found == 0:
        return neighbours
    # Of equally near points a search takes whichever it meets first; in this order it meets them in one way.
    order = np.lexsort(values.T[::-1])
    if told_apart_by is not None and not np.diff(values[order], axis=0).any(axis=1).all():
        order = np.lexsort(np.concatenate([values, told_apart_by], axis=1).T[::-1])
    search = _by_tree if values.shape[1] <= 3 else _by_distances
    neighbours[order, :found] = order[search(values[order], found)]
    return neighbours


def standardised(instances: NDArray[Any]) -> NDArray[np.float64]:
    """Bring the features of a bag's instances to mean 0 and spread 1 within the bag, so that all count alike.

    Parameters
    ----------
    instances
        Shape (n, ...), finite; images count pixel by pixel.

    Returns
    -------
    array
        Shape (n, D). What does not differ within the bag is 0. The order of instances does not change a bit.

    Examples
    --------
    >>> standardised(np.array([[1.0, 5.0], [3.0, 5.0]])).tolist()
    [[-1.0, 0.0], [1.0, 0.0]]
    """
    rows = np.asarray(instances, np.float64).reshape(len(instances), -1)
    values = np.ldexp(rows, -np.frexp(np.abs(rows).max(axis=0))[1])  # so that no square leaves the range
    ordered = np.sort(values, axis=0)
    values, ordered = values - ordered[0], ordered - ordered[0]  # lest a mean far off leave few digits
    differs = ordered[-1] > 0
    spread = np.where(differs, ordered.std(axis=0), 1.0)
    standard: NDArray[np.float64] = np.where(differs, (values - ordered.mean(axis=0)) / spread, 0.0)
    return standard


def alone(neighbours: Tensor) -> Tensor:
    """Give the neighbours that instances have as bags of their own: themselves.

    Parameters
    ----------
    neighbours
        Shape (n, k).

    Returns
    -------
    Tensor
        The same shape.

    Examples
    --------
    >>> alone(torch.tensor([[1, 1], [0, 0]])).tolist()
    [[0, 0], [1, 1]]
    """
    return torch.arange(len(neighbours), device=neighbours.device)[:, None].expand_as(neighbours)


def _by_tree(values: NDArray[np.float64], found: int) -> NDArray[np.int64]:
    from scipy.spatial import cKDTree

    _, near = cKDTree(values).query(values, found + 1)
    # Among several points in one place a point may not be the first that it finds, or not be found at all.
    order = np.argsort(near == np.arange(len(values))[:, None], axis=1, kind="stable")
    others: NDArray[np.int64] = np.take_along_axis(near, order, axis=1)[:, :found]
    return others


def _by_distances(values: NDArray[np.float64], found: int) -> NDArray[np.int64]:
    """Choose by single precision, which takes half the time, and by double precision among those chosen.

    Where rounding may have left one out, double precision decides among all.
    """
    rows, rough = torch.from_numpy(values), torch.from_numpy(values).float()
    count, at_once = min(found + _SPARE, len(rows) - 1), max(1, _DISTANCES // len(rows))
    squares = rows.square().sum(1)
    # Twice what a sum of so many rounded products may be off by, relative to the largest square.
    off = 8 * (values.shape[1] + 2) * torch.finfo(torch.float32).eps * float(squares.max())
    parts = []
    with torch.no_grad():
        for begin in range(0, len(rows), at_once):
            some = torch.arange(begin, min(begin + at_once, len(rows)))
            near = _apart(rough, squares.float(), some).topk(count, dim=1, largest=False)
            chosen = torch.cat([_apart_from(rows, *pair) for pair in _few(some, near.indices, rows.shape[1])])
            exact = chosen.topk(found, dim=1, largest=False)
            best = near.indices.gather(1, exact.indices)
            if count < len(rows) - 1:
                unsure = near.values[:, -1] + squares[some] < exact.values[:, -1] + off
                if unsure.any():
                    best[unsure] = _apart(rows, squares, some[unsure]).topk(found, dim=1, largest=False).indices
            parts.append(best)
    nearby: NDArray[np.int64] = torch.cat(parts).numpy()
    return nearby


def _apart(rows: Tensor, squares: Tensor, some: Tensor) -> Tensor:
    """Give squared distances of some rows from all, but for what each row has in common; a row is far from itself."""
    distances = torch.addmm(squares, rows[some], rows.T, alpha=-2.0)
    distances[torch.arange(len(some)), some] = torch.inf
    return distances


def _apart_from(rows: Tensor, some: Tensor, others: Tensor) -> Tensor:
    """Give squared distances of rows from others, a list for each."""
    return (rows[others] - rows[some][:, None]).square().sum(2)


def _few(some: Tensor, others: Tensor, width: int) -> Iterator[tuple[Tensor, Tensor]]:
    return zip(*(part.split(max(1, _NUMBERS // (others.shape[1] * width))) for part in (some, others)), strict=True)
