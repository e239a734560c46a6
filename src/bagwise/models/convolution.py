"""A convolution, the maximum of every 2 x 2 outputs, ReLU; differentiated without what the maximum threw away.

Three of four outputs of the convolution have no part in the maximum, and ReLU stops half of the rest, so at most a
quarter of the gradient at the outputs is not 0. torch differentiates the convolution as if all of it were there. Here a
compiled loop goes through what is there; the gradient is the same, and a step on images takes nine tenths of the time
on a CPU, or less (benchmarks/, encoder-vs-torch-layers).
"""

from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import conv2d, max_pool2d

from bagwise.compiled import compiled, compiled_once

__all__ = ["ConvMaxReLU"]

Array = NDArray[np.floating[Any]]


class ConvMaxReLU(nn.Conv2d):
    """A convolution without padding, the maximum of every 2 x 2 of its outputs, and ReLU.

    The same as `torch.nn.Conv2d`, `torch.nn.MaxPool2d` and `torch.nn.ReLU` one after the other.

    Parameters
    ----------
    channels, outputs
        Channels that go in and come out.
    side
        Of the convolution's window.

    Examples
    --------
    >>> ConvMaxReLU(1, 20, 5)(torch.zeros(3, 1, 28, 28)).shape
    torch.Size([3, 20, 12, 12])
    """

    def __init__(self, channels: int, outputs: int, side: int) -> None:
        super().__init__(channels, outputs, side)

    def forward(self, images: Tensor) -> Tensor:
        """Convolve, take maxima, and cut off what is below 0.

        Parameters
        ----------
        images
            Shape (N, C, H, W).

        Returns
        -------
        Tensor
            Shape (N, outputs, (H - side + 1) // 2, (W - side + 1) // 2).
        """
        assert self.bias is not None
        learning = torch.is_grad_enabled() and self.weight.requires_grad
        if learning and images.device.type == "cpu" and images.dtype == self.weight.dtype:
            return cast(Tensor, _Sparse.apply(images, self.weight, self.bias))  # type: ignore[no-untyped-call]
        return torch.relu(max_pool2d(conv2d(images, self.weight, self.bias), 2))


class _Sparse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        maxima, places = max_pool2d(conv2d(images, weight, bias), 2, return_indices=True)
        outputs = torch.relu_(maxima)
        ctx.save_for_backward(images, weight, outputs, places)
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        images, weight, outputs, places = ctx.saved_tensors
        x, W, given, reached, where = (_channels_last(part) for part in (images, weight, gradient, outputs, places))
        dx = np.zeros_like(x) if ctx.needs_input_grad[0] else np.zeros((0, *x.shape[1:]), x.dtype)
        dW, db = np.zeros_like(W), np.zeros(len(W), W.dtype)
        _differentiate(x, W, given, reached, where, dx, dW, db)
        back = torch.from_numpy(dx).permute(0, 3, 1, 2) if len(dx) else None
        return back, torch.from_numpy(dW).permute(0, 3, 1, 2), torch.from_numpy(db)


def _channels_last(tensor: Tensor) -> NDArray[Any]:
    # What comes from convolutions that compute in this layout is not copied.
    return tensor.detach().permute(0, 2, 3, 1).contiguous().numpy()


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


@compiled_once
def _differentiate(
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
