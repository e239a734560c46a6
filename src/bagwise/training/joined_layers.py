"""What many members compute of their instances, written out: another scale, and fully connected layers."""

from typing import Any

import torch
from torch import Tensor, nn

from bagwise.models.scaling import squashed
from bagwise.training.fused import fused

__all__ = ["Layer", "Rescale"]


class Rescale(nn.Module):
    """Bring instances from the common scale to a member's own, at most `limit` either way.

    Parameters
    ----------
    limit
        The largest absolute value.
    squash
        Whether instances are squashed before they are limited (`bagwise.models.scaling.squashed`).
    """

    factor: Tensor
    shift: Tensor

    def __init__(self, limit: float, squash: bool) -> None:
        super().__init__()
        self._limit, self._squash = limit, squash
        self.register_buffer("factor", torch.zeros(0))
        self.register_buffer("shift", torch.zeros(0))

    def forward(self, instances: Tensor) -> Tensor:
        """Give instances times the factor, less the shift."""
        scaled = instances * self.factor - self.shift
        return (squashed(scaled) if self._squash else scaled).clamp(-self._limit, self._limit)


class Layer(torch.autograd.Function):
    """A fully connected layer with ReLU of all members: of inputs that all share, (N, D), or their own, (E, N, D).

    What is standardised is the weights of inputs that are shared: ``W (x * factor - shift) + b`` is
    ``(W * factor) x + (b - W shift)``.
    """

    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor, factor: Tensor | None, shift: Tensor | None
    ) -> Tensor:
        """Give what the members' layers make of the inputs, shape (E, N, M)."""
        members, units, _ = weight.shape
        ctx.dtype, folded = weight.dtype, weight
        if torch.is_autocast_enabled(inputs.device.type):
            inputs = inputs.to(torch.get_autocast_dtype(inputs.device.type))
        kernels = fused() if weight.is_cuda else None
        if kernels is not None and factor is not None:
            folded, moved = kernels.folded(weight, factor, shift, inputs.dtype)
            bias = bias - moved
        elif factor is not None and shift is not None:
            folded, bias = weight * factor[:, None], bias - (weight @ shift[:, :, None]).squeeze(2)
        folded, bias = folded.to(inputs.dtype), bias.to(inputs.dtype)
        with torch.autocast(inputs.device.type, enabled=False):
            if inputs.ndim == 2:
                flat = torch._addmm_activation(bias.reshape(-1), inputs, folded.reshape(members * units, -1).T)
                outputs = flat.view(-1, members, units).transpose(0, 1)
            else:
                outputs = torch.baddbmm(bias[:, None], inputs, folded.mT).relu_()
        ctx.save_for_backward(inputs, folded, outputs, factor, shift)
        return outputs

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor, None, None]:
        """Differentiate."""
        inputs, folded, outputs, factor, shift = ctx.saved_tensors
        kernels = fused() if gradient.is_cuda else None
        if kernels is not None:
            passed, at_bias = kernels.through_relu(gradient, outputs)
        else:
            passed = torch.ops.aten.threshold_backward(gradient, outputs, 0)
            at_bias = passed.sum(1)
        back = torch.bmm(passed, folded) if inputs.ndim == 3 and ctx.needs_input_grad[0] else None
        at_weight = torch.bmm(passed.mT, inputs.expand(len(passed), *inputs.shape[-2:]))
        at_bias = at_bias.to(ctx.dtype)
        if factor is None:
            return back, at_weight.to(ctx.dtype), at_bias, None, None
        if kernels is not None:
            return back, kernels.unfolded(at_weight, at_bias, factor, shift), at_bias, None, None
        unfolded = at_weight.to(ctx.dtype) * factor[:, None] - at_bias[:, :, None] * shift[:, None]
        return back, unfolded, at_bias, None, None
