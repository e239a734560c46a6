"""One step's gradient, exact whatever the size of its bags."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from bagwise.models.model import MILModel, Output
from bagwise.training.device import autocast, seed_generator

__all__ = ["accumulate_gradient", "with_gradient"]


def accumulate_gradient(
    model: MILModel,
    instances: Tensor,
    offsets: Tensor,
    loss: Callable[[Output], Tensor],
    *,
    chunk: int,
    seed: int,
    precision: str = "float32",
    where: Tensor | None = None,
) -> Tensor:
    """Add the gradient of the loss of packed bags to the model's parameters.

    More instances than `chunk` are encoded in chunks without a graph; the loss is differentiated at the embeddings;
    then each chunk is encoded again with a graph, and its part of that gradient passed on. By the chain rule this is
    the gradient of the whole, and memory holds one chunk's graph and all embeddings.

    Parameters
    ----------
    model
        In training mode.
    instances, offsets
        Packed bags, on the model's device.
    loss
        What the model says of them to a number.
    chunk
        Number of instances above which to encode in chunks.
    seed
        Of whatever the encoder draws (a user's own may hold dropout layers).
    precision
        As in `Plan`.
    where
        As `MILModel.aggregate` takes it, where the model wants it.

    Returns
    -------
    Tensor
        The loss, a number without a graph.

    Examples
    --------
    >>> import torch
    >>> from bagwise.models.architecture import Architecture
    >>> model = Architecture("embedding", "mean", "mi-net").build((3,), outputs=1, seed=0)
    >>> x, offsets = torch.ones(9, 3), torch.tensor([0, 4, 9])
    >>> accumulate_gradient(model, x, offsets, lambda output: output.logits.square().mean(), chunk=2, seed=0).shape
    torch.Size([])
    """
    device = offsets.device

    dtype = model.scaler.factor.dtype

    def lost(embeddings: Tensor) -> Tensor:
        output = model.aggregate(embeddings, offsets, where)
        return loss(output if output.logits.dtype == dtype else output._replace(logits=output.logits.to(dtype)))

    seed_generator(seed, device)
    if instances.shape[0] <= chunk:
        with autocast(device, precision):
            value = lost(model.encode(instances))
        value.backward()
        return value.detach()

    with autocast(device, precision):
        embeddings = model.encode_in_chunks(instances, chunk)
    embeddings.requires_grad_(embeddings.is_floating_point())
    with autocast(device, precision):
        value = lost(embeddings)
    value.backward()
    if embeddings.grad is None:  # a user's own aggregation learns nothing through them
        return value.detach()
    seed_generator(seed, device)  # an encoder with dropout of its own drops the same units again
    for part, gradient in zip(instances.split(chunk), embeddings.grad.split(chunk), strict=True):
        with autocast(device, precision):
            encoded = model.encode(part)
        if encoded.requires_grad:  # not the identity's, nor a frozen encoder's
            with_gradient(encoded, gradient).backward()
    return value.detach()


def with_gradient(values: Tensor, gradient: Tensor) -> Tensor:
    """Give a number whose gradient at some values is the one given.

    So gradients pass on without being given to torch beside the values, which has it load all that computes with
    symbols, a second long.

    Parameters
    ----------
    values
        Any shape, with a graph.
    gradient
        The same shape.

    Returns
    -------
    Tensor
        Shape ().

    Examples
    --------
    >>> x = torch.tensor([3.0, 4.0], requires_grad=True)
    >>> with_gradient(x * x, torch.tensor([1.0, 0.5])).backward()
    >>> x.grad.tolist()
    [6.0, 4.0]
    """
    number: Tensor = _WithGradient.apply(values, gradient)  # type: ignore[no-untyped-call]
    return number


class _WithGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, gradient: Tensor) -> Tensor:
        ctx.save_for_backward(gradient)
        return values.new_zeros(())

    @staticmethod
    def backward(ctx: Any, _: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return gradient, None
