"""One step's gradient, exact whatever the size of its bags."""

from torch import Tensor

from bagwise.models.likelihood import negative_log_likelihood
from bagwise.models.model import MILModel, Output
from bagwise.training.device import autocast, seed_generator

__all__ = ["accumulate_gradient"]


def accumulate_gradient(
    model: MILModel,
    instances: Tensor,
    offsets: Tensor,
    targets: Tensor,
    *,
    chunk: int,
    seed: int,
    precision: str = "float32",
    weights: Tensor | None = None,
) -> Tensor:
    """Add the gradient of the mean loss of packed bags to the model's parameters.

    More instances than `chunk` are encoded in chunks without a graph; the loss is differentiated at the embeddings;
    then each chunk is encoded again with a graph, and its part of that gradient passed on. By the chain rule this is
    the gradient of the whole, and memory holds one chunk's graph and all embeddings.

    Parameters
    ----------
    model
        In training mode.
    instances, offsets, targets
        Packed bags and their class numbers, on the model's device.
    chunk
        Number of instances above which to encode in chunks.
    seed
        Of whatever the encoder draws (a user's own may hold dropout layers).
    precision
        As in `Plan`.
    weights
        Of the bags, as `negative_log_likelihood` takes them.

    Returns
    -------
    Tensor
        The mean loss, a number without a graph.

    Examples
    --------
    >>> import torch
    >>> from bagwise.models.architecture import Architecture
    >>> model = Architecture("embedding", "mean", "mi-net").build((3,), outputs=1, seed=0)
    >>> x, offsets, y = torch.ones(9, 3), torch.tensor([0, 4, 9]), torch.tensor([0, 1])
    >>> accumulate_gradient(model, x, offsets, y, chunk=2, seed=0).shape
    torch.Size([])
    """
    device = offsets.device

    def mean_loss(output: Output) -> Tensor:
        logits = output.logits.to(model.scaler.factor.dtype)
        return negative_log_likelihood(logits, targets, weights).mean()

    seed_generator(seed, device)
    if len(instances) <= chunk:
        with autocast(device, precision):
            loss = mean_loss(model(instances, offsets))
        loss.backward()
        return loss.detach()

    with autocast(device, precision):
        embeddings = model.encode_in_chunks(instances, chunk)
    embeddings.requires_grad_()
    with autocast(device, precision):
        loss = mean_loss(model.aggregate(embeddings, offsets))
    loss.backward()
    assert embeddings.grad is not None
    seed_generator(seed, device)  # an encoder with dropout of its own drops the same units again
    for part, gradient in zip(instances.split(chunk), embeddings.grad.split(chunk), strict=True):
        with autocast(device, precision):
            encoded = model.encode(part)
        if encoded.requires_grad:  # not the identity's, nor a frozen encoder's
            encoded.backward(gradient)
    return loss.detach()
