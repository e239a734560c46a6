"""The gradient of a convolution under a maximum and ReLU, written out in loops and compiled; only learning loads it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bagwise.compiled import compiled, compiled_once

__all__ = ["differentiate"]

Array = NDArray[np.floating[Any]]


@compiled
def _add_four(
    sums: Array, first: Array, second: Array, third: Array, fourth: Array, a: float, b: float, c: float, d: float
) -> None:
    for i in range(len(sums)):
        sums[i] += (a * first[i] + b * second[i]) + (c * third[i] + d * fourth[i])


@compiled
def _filled(rows: NDArray[np.int64], factors: Array, count: int) -> int:
    """Fill up to a multiple of four with what adds nothing."""
    while count % 4:
        rows[count], factors[count] = rows[count - 1], 0
        count += 1
    return count


@compiled_once()
def differentiate(
    x: Array, W: Array, given: Array, reached: Array, where: NDArray[np.int64], dx: Array, dW: Array, db: Array
) -> None:
    """Add the gradients at `W`, at `b` and, unless it is empty, at `x` to `dW`, `db` and `dx`.

    `x` has shape (N, H, W, C), `W` (O, k, k, C); `given`, the gradient at the outputs, the outputs, and the places of
    the maxima among the outputs of the convolution have shape (N, h, w, O). Products are added four at a time, because
    a sum that is read and written again for each of them takes as long as the products.
    """
    count, height, width, channels = x.shape
    outputs, side = W.shape[:2]
    down, across = given.shape[1:3]
    wide = width - side + 1
    row, patch = side * channels, side * side * channels
    x_rows, dx_rows = x.reshape(count, height, -1), dx.reshape(len(dx), height, width * channels)
    W_rows, dW_flat = W.reshape(outputs, side, row), dW.reshape(outputs, patch)
    patches = np.empty(((height - side + 1) * wide, patch), x.dtype)
    most = max(down * across, outputs) + 3
    rows, factors = np.empty((4, most), np.int64), np.empty((4, most), x.dtype)
    found = np.empty(4, np.int64)
    for n in range(count):
        for place in range(len(patches)):
            top, left = place // wide, place % wide * channels
            for r in range(side):
                copied, pixels = patches[place, r * row : (r + 1) * row], x_rows[n, top + r, left : left + row]
                for p in range(row):
                    copied[p] = pixels[p]
        for o in range(outputs):
            some, by, known = rows[0], factors[0], 0
            for i in range(down):
                for j in range(across):
                    # Whether to keep it is as good as random, so it is no branch for the processor to guess at.
                    some[known], by[known] = where[n, i, j, o], given[n, i, j, o]
                    known += not (reached[n, i, j, o] <= 0 or given[n, i, j, o] == 0)
            for f in range(known):
                db[o] += by[f]
            for f in range(0, _filled(some, by, known), 4):
                a, b, c, d = patches[some[f]], patches[some[f + 1]], patches[some[f + 2]], patches[some[f + 3]]
                _add_four(dW_flat[o], a, b, c, d, by[f], by[f + 1], by[f + 2], by[f + 3])
        if not len(dx):
            continue
        for i in range(down):
            for j in range(across):
                # The outputs whose maximum is at one of the four places, together.
                found[:], first = 0, 2 * (i * wide + j)
                for o in range(outputs):
                    place = where[n, i, j, o] - first
                    corner = 2 * (place // wide) + place % wide
                    rows[corner, found[corner]], factors[corner, found[corner]] = o, given[n, i, j, o]
                    found[corner] += not (reached[n, i, j, o] <= 0 or given[n, i, j, o] == 0)
                for corner in range(4):
                    some, by = rows[corner], factors[corner]
                    top, left = 2 * i + corner // 2, (2 * j + corner % 2) * channels
                    for f in range(0, _filled(some, by, found[corner]), 4):
                        for r in range(side):
                            a, b, c, d = W_rows[some[f]], W_rows[some[f + 1]], W_rows[some[f + 2]], W_rows[some[f + 3]]
                            sums = dx_rows[n, top + r, left : left + row]
                            _add_four(sums, a[r], b[r], c[r], d[r], by[f], by[f + 1], by[f + 2], by[f + 3])
