"""Losses of a user's own, in the place of the target's."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bagwise.errors import BagwiseError
from bagwise.models.model import Output
from bagwise.targets.contract import Target

__all__ = ["Loss", "LossTargets", "bag_losses", "mean_loss"]


@dataclass(frozen=True, eq=False)
class LossTargets:
    """What a loss of a user's own knows of the bags of a step.

    Attributes
    ----------
    labels
        Of two classes 1 for the positive one and else 0, of more their number in `classes_`, shape (B,); of other
        targets the numbers that their labels are, shape (B,), or (B, T) where a label is several. Floating point.
    weights
        What each bag weighs, shape (B,): its class weight times its own.
    offsets
        Where bags begin and end among the instances, shape (B + 1,).
    loss
        The target's own loss: logits, shape (H, B, C), to a number a bag, shape (B,), the sum over the heads; weights
        left out.

    Examples
    --------
    >>> targets = LossTargets(torch.ones(2), torch.ones(2), torch.tensor([0, 1, 2]), lambda logits: logits[0, :, 0])
    >>> targets.loss(torch.tensor([[[0.5], [0.25]]])).tolist()
    [0.5, 0.25]
    """

    labels: Tensor
    weights: Tensor
    offsets: Tensor
    loss: Callable[[Tensor], Tensor]

    @classmethod
    def of(cls, target: Target, wanted: Tensor, weights: Tensor | None, offsets: Tensor) -> "LossTargets":
        """Tell what is known of some bags.

        Parameters
        ----------
        target
            What is predicted.
        wanted
            Of the bags, as the target's loss takes it.
        weights
            Shape (B,); None: all are 1.
        offsets
            As the class has them.

        Returns
        -------
        LossTargets
        """
        ones = torch.ones(len(wanted), dtype=wanted.dtype, device=wanted.device)
        return cls(
            wanted[:, 0] if wanted.shape[1] == 1 else wanted,
            ones if weights is None else weights,
            offsets,
            lambda logits: target.loss(logits, wanted),
        )


Loss = Callable[[Output, LossTargets], Tensor]


def bag_losses(loss: Loss, output: Output, targets: LossTargets) -> Tensor:
    """Ask a loss of a user's own about some bags.

    Parameters
    ----------
    loss
        The function.
    output
        What the model says of the bags, all heads and extras.
    targets
        What is known of them.

    Returns
    -------
    Tensor
        One number a bag, shape (B,), or one for all, shape ().

    Raises
    ------
    BagwiseError
        If it fails, or gives something else.

    Examples
    --------
    >>> targets = LossTargets(torch.ones(2), torch.ones(2), torch.tensor([0, 1, 2]), lambda logits: logits[0, :, 0])
    >>> bag_losses(lambda output, targets: output.logits, Output(torch.zeros(1, 2, 1)), targets)
    Traceback (most recent call last):
        ...
    bagwise.errors.BagwiseError: the loss <lambda> gives a result of shape (1, 2, 1) for 2 bags: it must give one...
    """
    bags, name = len(targets.weights), getattr(loss, "__qualname__", type(loss).__qualname__)
    try:
        losses: Any = loss(output, targets)
    except Exception as error:  # whatever a user's own code may raise
        told = (str(error) or type(error).__name__).splitlines()[0]
        raise BagwiseError(f"the loss {name} fails on {bags} bags: {told}") from error
    if not isinstance(losses, Tensor) or losses.shape not in (torch.Size(), (bags,)):
        given = f"result of shape {tuple(losses.shape)}" if isinstance(losses, Tensor) else type(losses).__name__
        raise BagwiseError(
            f"the loss {name} gives a {given} for {bags} bags: it must give one number a bag, shape ({bags},), or one"
            " for all, shape ()"
        )
    return losses


def mean_loss(loss: Loss, output: Output, targets: LossTargets) -> Tensor:
    """Give the number that a step descends.

    Parameters
    ----------
    loss, output, targets
        As in `bag_losses`.

    Returns
    -------
    Tensor
        The weighted mean over the bags where there is a number for each; the one for all as it is.

    Examples
    --------
    >>> targets = LossTargets(torch.ones(2), torch.ones(2), torch.tensor([0, 1, 2]), lambda logits: logits[0, :, 0])
    >>> mean_loss(lambda output, targets: targets.loss(output.logits), Output(torch.ones(1, 2, 1)), targets).item()
    1.0
    """
    losses = bag_losses(loss, output, targets)
    return losses if losses.ndim == 0 else (losses * targets.weights).mean()
