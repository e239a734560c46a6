"""Losses of a user's own, of many members at once where torch can compute them so, and else of one after the other."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from bagwise.errors import BagwiseError
from bagwise.models.model import MILModel, Output
from bagwise.targets.contract import Target
from bagwise.training.losses import Loss, LossTargets, bag_losses, mean_loss
from bagwise.training.side_by_side import SideBySide, aggregated, axes_of

__all__ = ["OwnLosses"]


class OwnLosses:
    """A loss of a user's own, asked by many models about one bag.

    Models are encoded side by side in any case. The first time that torch cannot compute the rest so (the loss looks
    at a number, as `if` does), it goes model by model from then on.

    Parameters
    ----------
    models
        Those that ask.
    target
        What is predicted.
    loss
        The function; None: the one that the models have.
    dtype
        What losses are computed in.

    Examples
    --------
    >>> from bagwise.models.architecture import Architecture
    >>> from bagwise.targets.classes import ClassTarget
    >>> models = [Architecture("embedding", "max", "identity").build((3,), outputs=1, seed=seed) for seed in range(4)]
    >>> target, side_by_side = ClassTarget.of([0, 1]), SideBySide.of(models)
    >>> own = OwnLosses(side_by_side, target, lambda output, _: output.logits.sum(), torch.float32)
    >>> told = torch.ones(4, 2)
    >>> own.mean((torch.zeros(4, 5, 3), torch.tensor([0, 5]), None, None), told).shape
    torch.Size([4])
    """

    def __init__(self, models: SideBySide, target: Target, loss: Loss | None, dtype: torch.dtype) -> None:
        self._models, self._target, self._loss, self._dtype = models, target, loss, dtype
        self._side_by_side = True

    def mean(self, given: tuple[Any, ...], told: Tensor) -> Tensor:
        """Give the number that each model's step descends, shape (E,).

        Parameters
        ----------
        given
            What `Joined.aggregate` takes of the bag.
        told
            What the bag weighs and what is wanted of it, for each model, shape (E, 1 + T).
        """
        return self._asked(mean_loss, given, told)

    def of_bag(self, given: tuple[Any, ...], told: Tensor) -> Tensor:
        """Give what each model's loss is, shape (E, 1), or (E,) where the function gives one number for all bags.

        Parameters
        ----------
        given, told
            As in `mean`.
        """
        return self._asked(bag_losses, given, told)

    def _asked(
        self, ask: Callable[[Loss, Output, LossTargets], Tensor], given: tuple[Any, ...], told: Tensor
    ) -> Tensor:
        def act(model: MILModel, told: Tensor, *given: Any) -> Tensor:
            output, loss = aggregated(model, *given), self._loss or model.loss
            assert loss is not None
            targets = LossTargets.of(self._target, told[None, 1:], told[:1], given[1])
            return ask(loss, output._replace(logits=output.logits.to(self._dtype)), targets)

        axes = 0, *axes_of(*given[2:])
        if self._side_by_side:
            try:
                found: Tensor = self._models.each(act, axes, told, *given)
                return found
            except BagwiseError:  # which the user's own may have raised as well: then it does again
                self._side_by_side = False
        return self._models.in_turn(act, axes, told, *given)
