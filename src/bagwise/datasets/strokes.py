"""A fixed description of a digit, so that methods can be compared on bags of digits without each learning to see."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["STROKES", "strokes"]

_SIDE, _CELLS, _DIRECTIONS = 28, 4, 8
STROKES = _CELLS * _CELLS * _DIRECTIONS
_AT_ONCE = 2_000  # images


def strokes(images: NDArray[Any]) -> NDArray[np.float32]:
    r"""Describe images of digits by the directions in which their brightness rises, a histogram a cell.

    With the slopes $s_x, s_y$ of the square root of a pixel's brightness in [0, 1], the pixel adds its steepness
    $\sqrt{s_x^2 + s_y^2}$ to the two nearest of 8 directions, shared by how near they are, in its cell of 7 x 7 pixels.
    The square roots of the 4 x 4 x 8 sums, scaled to length 1, are what is given: histograms of oriented gradients
    (Dalal and Triggs, 2005) without overlap. Nothing is learnt, so nothing of test images is in it.

    Parameters
    ----------
    images
        Shape (n, 28, 28), 0 to 255.

    Returns
    -------
    array
        float32, shape (n, 128); zeros for an empty image.

    Examples
    --------
    >>> upright = np.zeros((1, 28, 28), np.uint8)
    >>> upright[0, :, 14:] = 255
    >>> found = strokes(upright)
    >>> found.shape, np.flatnonzero(found).tolist()  # brightness rises to the right, in the middle
    ((1, 128), [8, 16, 40, 48, 72, 80, 104, 112])
    """
    parts = [_strokes(images[start : start + _AT_ONCE]) for start in range(0, len(images), _AT_ONCE)]
    return np.concatenate([np.empty((0, STROKES), np.float32), *parts])


def _strokes(images: NDArray[Any]) -> NDArray[np.float32]:
    brightness = np.sqrt(images / np.float32(255))
    down, right = np.gradient(brightness, axis=(1, 2))
    image, row, column = np.nonzero((down != 0) | (right != 0))
    down, right = down[image, row, column], right[image, row, column]
    steepness = np.hypot(down, right)
    direction = np.arctan2(down, right) * (_DIRECTIONS / (2 * np.pi))
    below = np.floor(direction)
    above = direction - below
    side = _SIDE // _CELLS
    cell = (image * _CELLS + row // side) * _CELLS + column // side
    sums = np.zeros(len(images) * STROKES)
    for step, share in ((0, 1 - above), (1, above)):
        at = cell * _DIRECTIONS + (below.astype(np.int64) + step) % _DIRECTIONS
        sums += np.bincount(at, steepness * share, minlength=len(sums))
    roots = np.sqrt(sums.reshape(len(images), STROKES))
    lengths = np.linalg.norm(roots, axis=1, keepdims=True)
    return (roots / np.where(lengths > 0, lengths, 1)).astype(np.float32)
