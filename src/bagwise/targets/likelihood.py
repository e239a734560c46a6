"""The likelihood of bag labels (paper, section 2.1): Bernoulli for two classes, categorical for more."""

import math

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, logsigmoid

__all__ = ["class_probabilities", "errors", "log_class_probabilities", "negative_log_likelihood"]


def negative_log_likelihood(logits: Tensor, targets: Tensor) -> Tensor:
    """Compute the loss of each bag; several heads add up.

    Parameters
    ----------
    logits
        Shape (H, B, C), C = 1 for two classes.
    targets
        Class numbers, shape (B,).

    Returns
    -------
    Tensor
        Shape (B,), in nats.

    Examples
    --------
    >>> negative_log_likelihood(torch.tensor([[[0.0]]]), torch.tensor([1])).tolist()
    [0.693...]
    """
    heads, _, classes = logits.shape
    if classes == 1:
        wanted = targets.to(logits.dtype)
        if heads == 1:  # nothing to add up
            return binary_cross_entropy_with_logits(logits.view(-1), wanted, reduction="none")
        each = binary_cross_entropy_with_logits(logits.squeeze(2), wanted.expand(heads, -1), reduction="none")
        return each.sum(0)
    every_head = targets.long().unsqueeze(1).expand(-1, heads)
    return cross_entropy(logits.permute(1, 2, 0), every_head, reduction="none").sum(1)


def class_probabilities(logits: Tensor) -> Tensor:
    """Turn logits into probabilities of all classes, averaged over the heads.

    Parameters
    ----------
    logits
        Shape (H, B, C), C = 1 for two classes.

    Returns
    -------
    Tensor
        Shape (B, number of classes); rows sum to 1.

    Examples
    --------
    >>> class_probabilities(torch.tensor([[[0.0]]])).tolist()
    [[0.5, 0.5]]
    """
    return log_class_probabilities(logits).exp()


def log_class_probabilities(logits: Tensor) -> Tensor:
    """Turn logits into logarithms of the probabilities of all classes, finite however certain the model is.

    Parameters
    ----------
    logits
        Shape (H, B, C), C = 1 for two classes.

    Returns
    -------
    Tensor
        Shape (B, number of classes).

    Examples
    --------
    >>> log_class_probabilities(torch.tensor([[[1000.0]]])).tolist()
    [[-1000.0, 0.0]]
    """
    binary = logits.shape[2] == 1
    each = logsigmoid(torch.cat([-logits, logits], dim=2)) if binary else logits.log_softmax(2)
    return each.logsumexp(0) - math.log(len(logits))


def errors(logits: Tensor, targets: Tensor) -> Tensor:
    """Say which bags are predicted wrongly.

    Parameters
    ----------
    logits
        Shape (H, B, C).
    targets
        Class numbers, shape (B,).

    Returns
    -------
    Tensor
        Shape (B,), bool.

    Examples
    --------
    >>> errors(torch.tensor([[[2.0], [3.0]]]), torch.tensor([1, 0])).tolist()
    [False, True]
    """
    return class_probabilities(logits).argmax(1) != targets
