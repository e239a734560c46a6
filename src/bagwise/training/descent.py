"""The update of all members at once: SGD, Adam and AdamW, each member with its own numbers."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bagwise.training.fused import fused
from bagwise.training.members import Settings
from bagwise.training.optimizer import BETAS, EPSILON, Optimizer

__all__ = ["NUMBERS", "Descent", "Gathered", "InTurn", "numbers_of"]

# What each member's update needs to know in a step, a column each.
NUMBERS = ("learns", "rate", "first", "second", "first_correction", "second_correction", "l2", "shrink", "adam")


def numbers_of(optimizer: Optimizer, learns: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Give what a member's updates need to know after each bag of an epoch.

    Parameters
    ----------
    optimizer
        Of the member; it stays as it is.
    learns
        After which of the bags the member takes a step, shape (S,).

    Returns
    -------
    array
        Shape (S, number of `NUMBERS`).
    """
    settings: Settings = optimizer.settings
    numbers = np.zeros((len(learns), len(NUMBERS)))
    adam, decoupled = settings.optimizer != "sgd", settings.optimizer == "adamw"
    taken = optimizer.steps + np.cumsum(learns) - learns
    factors = np.zeros(len(learns))
    factors[learns] = optimizer.factors(int(learns.sum()))
    assert settings.learning_rate is not None
    numbers[:, 0] = learns
    numbers[:, 1] = settings.learning_rate / (1 + settings.decay * taken) * factors
    numbers[:, 2], numbers[:, 3] = BETAS if adam else (settings.momentum, 0.0)
    numbers[:, 4] = 1 - BETAS[0] ** (taken + 1) if adam else 1.0
    numbers[:, 5] = np.sqrt(1 - BETAS[1] ** (taken + 1)) if adam else 1.0
    numbers[:, 6], numbers[:, 7] = (0.0, settings.l2) if decoupled else (2 * settings.l2, 0.0)
    numbers[:, 8] = adam
    return numbers


class Gathered:
    """Gradients of many members, added up over the bags of a step, which of each member are others.

    Parameters
    ----------
    values
        Of each parameter that is learnt, by name, all members' in one tensor, shape (E, ...).

    Examples
    --------
    >>> gathered = Gathered({"weight": torch.zeros(2, 1)})
    >>> yes, no = torch.tensor([True, True]), torch.tensor([False, False])
    >>> for _ in range(2):
    ...     gathered.add({"weight": torch.ones(2, 1)}, yes)
    >>> gathered.sums["weight"].tolist()
    [[2.0], [2.0]]
    """

    def __init__(self, values: Mapping[str, Tensor]) -> None:
        self.sums = {name: torch.zeros_like(value, requires_grad=False) for name, value in values.items()}

    def add(self, gradients: Mapping[str, Tensor], learns: Tensor) -> None:
        """Add the gradients of a bag, for the members that learn from it.

        Parameters
        ----------
        gradients
            By name, shape (E, ...) each.
        learns
            Shape (E,), truth values.
        """
        for name, held in self.sums.items():
            held.copy_(torch.where(_beside(learns, held), held + gradients[name], held))

    def forget(self, ends: Tensor) -> None:
        """Begin anew for the members whose step has ended.

        Parameters
        ----------
        ends
            Shape (E,), truth values.
        """
        for held in self.sums.values():
            held.masked_fill_(_beside(ends, held), 0.0)


def _beside(chosen: Tensor, values: Tensor) -> Tensor:
    return chosen.view(-1, *[1] * (values.ndim - 1))


class InTurn:
    """Members' own optimisers, one after the other: for those of a user's own, which are any code.

    Parameters
    ----------
    models
        Whose parameters are views of a stack.
    optimizers
        Of each.
    """

    def __init__(self, models: Sequence[nn.Module], optimizers: Sequence[Optimizer]) -> None:
        self._learnt = [
            {name: value for name, value in model.named_parameters() if value.requires_grad} for model in models
        ]
        self._optimizers = optimizers

    def step(self, gradients: Mapping[str, Tensor], ends: NDArray[np.bool_]) -> None:
        """Let some members take a step.

        Parameters
        ----------
        gradients
            By name, all members' in one tensor, shape (E, ...).
        ends
            Which members, shape (E,).
        """
        for place in np.flatnonzero(ends).tolist():
            for name, parameter in self._learnt[place].items():
                parameter.grad = gradients[name][place].contiguous()  # fused updates see no strides
            self._optimizers[place].step()
            self._optimizers[place].forget()


class Descent:
    """Parameters of many members and the state of their optimisers, stacked, and their common step.

    Parameters
    ----------
    values
        Of each parameter that is learnt, by name, all members' in one tensor, shape (E, ...).
    settings
        Of each member, with optimisers of Bagwise's own.

    Attributes
    ----------
    slots
        The state by slot and parameter, each of the parameter's shape.
    """

    def __init__(self, values: Mapping[str, Tensor], settings: Sequence[Settings]) -> None:
        self.values = dict(values)
        kinds = {one.optimizer == "sgd" for one in settings}
        # Momentum and Adam's mean share a tensor: a member has one or the other.
        slots = ("mean",) if kinds == {True} else ("mean", "square")
        self.slots = {
            slot: {name: torch.zeros_like(value, requires_grad=False) for name, value in self.values.items()}
            for slot in slots
        }
        self._mixed = len(kinds) == 2
        self._adam = kinds != {True}
        most = [np.inf if one.clip_gradient is None else one.clip_gradient for one in settings]
        value = next(iter(self.values.values()))
        self._most = torch.tensor(most, dtype=value.dtype, device=value.device) if min(most) < np.inf else None

    def slot(self, optimizer: str, name: str) -> str:
        """Say where a member's slot lives, by what its optimiser calls it."""
        return "mean" if optimizer == "sgd" else name

    def step(self, gradients: Mapping[str, Tensor], numbers: Tensor) -> None:
        """Let the members that learn take a step; the others stay as they are, to the last bit.

        Parameters
        ----------
        gradients
            By name, of the shape of the values.
        numbers
            Shape (E, number of `NUMBERS`), in the precision of the values.
        """
        if self._most is not None:
            numbers = torch.cat([numbers, self._clipped(gradients)[:, None]], dim=1)
        else:
            numbers = torch.cat([numbers, torch.ones_like(numbers[:, :1])], dim=1)
        kernels = fused() if numbers.is_cuda else None
        for name, value in self.values.items():
            decays = value.ndim > 2  # weights, and not biases
            slots = [slot[name] for slot in self.slots.values()]
            if kernels is not None:
                kernels.descend(value, gradients[name].contiguous(), slots, numbers, decays, EPSILON)
            else:
                self._descend(
                    value.flatten(1), gradients[name].flatten(1), [s.flatten(1) for s in slots], numbers, decays
                )

    def _clipped(self, gradients: Mapping[str, Tensor]) -> Tensor:
        """Give what each member's gradient is multiplied with, as `torch.nn.utils.clip_grad_norm_` does."""
        norms = torch.stack([torch.linalg.vector_norm(one.flatten(1), dim=1) for one in gradients.values()])
        assert self._most is not None
        share: Tensor = self._most / (torch.linalg.vector_norm(norms, dim=0) + 1e-6)
        return share.clamp(max=1.0)

    def _descend(self, value: Tensor, gradient: Tensor, slots: Sequence[Tensor], numbers: Tensor, decays: bool) -> None:
        learns, rate, first, second, one, two, l2, shrink, adam, scale = numbers.unsqueeze(2).unbind(1)
        given = gradient * scale
        if decays:
            given = given + l2 * value
        if self._adam:
            mean = slots[0] + (1 - first) * (given - slots[0])
            square = second * slots[1] + (1 - second) * given * given
            kept = value * (1 - rate * shrink) if decays else value
            new = kept - rate / one * mean / (square.sqrt() / two + EPSILON)
        if not self._adam or self._mixed:
            momentum = first * slots[0] + given
            plain = value - rate * (given + first * momentum)
        if not self._adam:
            mean, new = momentum, plain
        elif self._mixed:
            mean, new = torch.where(adam > 0, mean, momentum), torch.where(adam > 0, new, plain)
        value.copy_(torch.where(learns > 0, new, value))
        slots[0].copy_(torch.where(learns > 0, mean, slots[0]))
        if self._adam:
            slots[1].copy_(torch.where((learns > 0) & (adam > 0), square, slots[1]))
