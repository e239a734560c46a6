"""A maximum and ReLU, and the gradient of a convolution under them, as compiled loops; only learning loads them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bagwise import instructions
from bagwise.compiled import compiled, compiled_once
from bagwise.models import convolution_tiles as tiles

__all__ = ["differentiate_images", "differentiate_weights", "maxima"]

Array = NDArray[np.floating[Any]]
Places = NDArray[np.int64]
Corners = NDArray[np.uint8]

_IMAGES = 16


@compiled_once()
def maxima(y: Array, reached: Array, corners: Corners) -> None:
    """Take the maximum of every 2 x 2 of `y`, cut off what is below 0, and tell which of the four it was, line by line.

    `y` has shape (N, H, W, O), the others (N, H // 2, W // 2, O). Of equal numbers it is the first, and of those that
    are none the last, as torch has it.
    """
    count, down, across, outputs = reached.shape
    for n in range(count):
        for i in range(down):
            for j in range(across):
                above, below = y[n, 2 * i], y[n, 2 * i + 1]
                for o in range(outputs):
                    highest, second, third, fourth = (
                        above[2 * j, o],
                        above[2 * j + 1, o],
                        below[2 * j, o],
                        below[2 * j + 1, o],
                    )
                    corner = np.uint8(0)
                    if second > highest or second != second:
                        highest, corner = second, np.uint8(1)
                    if third > highest or third != third:
                        highest, corner = third, np.uint8(2)
                    if fourth > highest or fourth != fourth:
                        highest, corner = fourth, np.uint8(3)
                    reached[n, i, j, o] = 0 if highest <= 0 else highest
                    corners[n, i, j, o] = corner


@compiled
def _filled(begins: Places, factors: Array, count: int) -> int:
    """Fill up to as many rows as are added at once with what adds nothing."""
    while count % tiles.AT_ONCE:
        begins[count], factors[count] = begins[count - 1], 0
        count += 1
    return count


@compiled_once(instructions, tiles)
def differentiate_weights(
    x: Array, given: Array, reached: Array, corners: Corners, side: int, dW: Array, db: Array
) -> None:
    """Add the gradients at weights and biases to `dW`, of shape (O, k, k, C), and `db`.

    `x` has shape (N, H, W, C); `given`, the gradient at the outputs, and what `maxima` gave have shape (N, h, w, O).
    """
    count, height, width, channels = x.shape
    down, across, outputs = given.shape[1:]
    wide, row, patch = width - side + 1, side * channels, side * side * channels
    lines, sums = x.reshape(count, height, width * channels), dW.reshape(-1)
    # What a column of windows sees, line below line: so the pixels of a window lie one after the other.
    strips = np.empty((wide, height, row), x.dtype)
    pixels = strips.reshape(-1)
    begins = np.empty(down * across + tiles.AT_ONCE, np.int64)
    factors = np.empty(len(begins), x.dtype)
    for n in range(count):
        for left in range(wide):
            for top in range(height):
                for p in range(row):
                    strips[left, top, p] = lines[n, top, left * channels + p]
        for o in range(outputs):
            known = 0
            for i in range(down):
                for j in range(across):
                    # Whether to keep it is as good as random, so it is no branch for the processor to guess at.
                    corner = np.int64(corners[n, i, j, o])
                    begins[known] = ((2 * j + (corner & 1)) * height + 2 * i + (corner >> 1)) * row
                    factors[known] = given[n, i, j, o]
                    known += not (reached[n, i, j, o] <= 0 or given[n, i, j, o] == 0)
            for f in range(known):
                db[o] += factors[f]
            known = _filled(begins, factors, known)
            tiles.add_rows(sums, o * patch, patch, pixels, begins, 0, factors, known)


@compiled_once(instructions, tiles)
def differentiate_images(W: Array, given: Array, reached: Array, corners: Corners, dx: Array) -> None:
    """Add the gradient at images of shape (N, H, W, C) to `dx`; the others are as in `differentiate_weights`."""
    count, height, width, channels = dx.shape
    side = W.shape[1]
    down, across, outputs = given.shape[1:]
    row, patch = side * channels, side * side * channels
    weights, sums = W.reshape(-1), dx.reshape(-1)
    begins = np.empty((_IMAGES, 4, outputs + tiles.AT_ONCE), np.int64)
    factors = np.empty(begins.shape, dx.dtype)
    found = np.empty((_IMAGES, 4), np.int64)
    for first in range(0, count, _IMAGES):
        images = min(_IMAGES, count - first)
        for place in range(down * across):
            i, j = place // across, place % across
            # The outputs whose maximum is at one of the four places, together.
            found[:] = 0
            for n in range(images):
                for o in range(outputs):
                    at, slope = corners[first + n, i, j, o], given[first + n, i, j, o]
                    f = found[n, at]
                    begins[n, at, f], factors[n, at, f] = o * patch, slope
                    found[n, at] += not (reached[first + n, i, j, o] <= 0 or slope == 0)
                for corner in range(4):
                    found[n, corner] = _filled(begins[n, corner], factors[n, corner], found[n, corner])
            # A line of all weights stays near the processor while several images need it.
            for turn in range(2 * side):
                half, r = turn // side, turn % side
                for n in range(images):
                    line = ((first + n) * height + 2 * i + half + r) * width
                    for corner in range(2 * half, 2 * half + 2):
                        begin, by, known = begins[n, corner], factors[n, corner], found[n, corner]
                        if known:
                            begun = (line + 2 * j + corner % 2) * channels
                            tiles.add_rows(sums, begun, row, weights, begin, r * row, by, known)
