"""A convolution, the maximum of every 2 x 2 outputs, ReLU; differentiated without what the maximum threw away.

Three of four outputs of the convolution have no part in the maximum, and ReLU stops half of the rest, so at most a
quarter of the gradient at the outputs is not 0. torch differentiates the convolution as if all of it were there. Here a
compiled loop goes through what is there; the gradient is the same, and an encoder on images takes less time
on a CPU (benchmarks/, encoder-vs-torch-layers).
"""

from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import conv2d, max_pool2d

__all__ = ["ConvMaxReLU"]


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
        from bagwise.models.convolution_loops import maxima  # and Numba, which only learning needs

        y = _channels_last(conv2d(images, weight, bias))
        reached = np.empty((len(y), y.shape[1] // 2, y.shape[2] // 2, y.shape[3]), y.dtype)
        corners = np.empty(reached.shape, np.uint8)
        maxima(y, reached, corners)
        outputs = torch.from_numpy(reached).permute(0, 3, 1, 2)
        ctx.save_for_backward(images, weight, outputs)
        ctx.corners = corners
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        from bagwise.models.convolution_loops import differentiate_images, differentiate_weights

        images, weight, outputs = ctx.saved_tensors
        x, W, given, reached = (_channels_last(part) for part in (images, weight, gradient, outputs))
        dW, db = np.zeros_like(W), np.zeros(len(W), W.dtype)
        differentiate_weights(x, given, reached, ctx.corners, W.shape[1], dW, db)
        back = None
        if ctx.needs_input_grad[0]:
            dx = np.zeros_like(x)
            differentiate_images(W, given, reached, ctx.corners, dx)
            back = torch.from_numpy(dx).permute(0, 3, 1, 2)
        return back, torch.from_numpy(dW).permute(0, 3, 1, 2), torch.from_numpy(db)


def _channels_last(tensor: Tensor) -> NDArray[Any]:
    # What comes from convolutions that compute in this layout is not copied.
    return tensor.detach().permute(0, 2, 3, 1).contiguous().numpy()
