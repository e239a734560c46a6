"""A maximum and ReLU, and the gradient of a convolution under them, as compiled loops; only learning loads them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bagwise import instructions
from bagwise.compiled import compiled, compiled_once
from bagwise.models import convolution_tiles as tiles

__all__ = ["differentiate", "maxima"]

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
def differentiate(
    x: Array, W: Array, given: Array, reached: Array, corners: Corners, dx: Array, dW: Array, db: Array
) -> None:
    """Add the gradients at `W`, at `b` and, unless it is empty, at `x` to `dW`, `db` and `dx`.

    `x` has shape (N, H, W, C), `W` (O, k, k, C); `given`, the gradient at the outputs, and what `maxima` gave
    have shape (N, h, w, O).
    """
    count, height, width, channels = x.shape
    outputs, side = W.shape[:2]
    down, across = given.shape[1:3]
    wide = width - side + 1
    line, row, patch = width * channels, side * channels, side * side * channels
    x_lines, dx_flat = x.reshape(count, height, line), dx.reshape(-1)
    W_flat, dW_flat = W.reshape(-1), dW.reshape(-1)
    # What a column of windows sees, line below line: so the pixels of a window lie one after the other.
    strips = np.empty((wide, height, row), x.dtype)
    pixels = strips.reshape(-1)
    some, by = np.empty(down * across + tiles.AT_ONCE, np.int64), np.empty(down * across + tiles.AT_ONCE, x.dtype)
    for n in range(count):
        for left in range(wide):
            for top in range(height):
                for p in range(row):
                    strips[left, top, p] = x_lines[n, top, left * channels + p]
        for o in range(outputs):
            known = 0
            for i in range(down):
                for j in range(across):
                    # Whether to keep it is as good as random, so it is no branch for the processor to guess at.
                    corner = np.int64(corners[n, i, j, o])
                    some[known] = ((2 * j + (corner & 1)) * height + 2 * i + (corner >> 1)) * row
                    by[known] = given[n, i, j, o]
                    known += not (reached[n, i, j, o] <= 0 or given[n, i, j, o] == 0)
            for f in range(known):
                db[o] += by[f]
            known = _filled(some, by, known)
            tiles.add_rows(dW_flat, o * patch, patch, pixels, some, 0, by, known)
    begins = np.empty((_IMAGES, 4, outputs + tiles.AT_ONCE), np.int64)
    factors = np.empty(begins.shape, x.dtype)
    found = np.empty((_IMAGES, 4), np.int64)
    for image in range(0, len(dx), _IMAGES):
        images = min(_IMAGES, count - image)
        for i in range(down):
            for j in range(across):
                # The outputs whose maximum is at one of the four places, together.
                found[:] = 0
                for n in range(images):
                    for o in range(outputs):
                        corner = corners[image + n, i, j, o]
                        f, slope = found[n, corner], given[image + n, i, j, o]
                        begins[n, corner, f], factors[n, corner, f] = o * patch, slope
                        found[n, corner] += not (reached[image + n, i, j, o] <= 0 or slope == 0)
                    for corner in range(4):
                        found[n, corner] = _filled(begins[n, corner], factors[n, corner], found[n, corner])
                # A line of all weights stays near the processor while several images need it.
                for turn in range(2 * side):
                    half, r = turn // side, turn % side
                    for n in range(images):
                        for corner in range(2 * half, 2 * half + 2):
                            if found[n, corner]:
                                top, left = 2 * i + half + r, 2 * j + corner % 2
                                at = ((image + n) * height + top) * line + left * channels
                                some, by = begins[n, corner], factors[n, corner]
                                tiles.add_rows(dx_flat, at, row, W_flat, some, r * row, by, found[n, corner])
