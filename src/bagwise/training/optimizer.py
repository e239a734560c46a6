"""The update of one member's parameters."""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from bagwise.training.kernels import Rule
from bagwise.training.members import Settings

__all__ = ["Optimizer"]

_BETAS = (0.9, 0.999)
_EPSILON = 1e-8


class _Group(NamedTuple):
    """Parameters that are updated alike, and their state."""

    parameters: list[Tensor]
    slots: dict[str, list[Tensor]]
    decay: float


class Optimizer:
    """SGD with Nesterov momentum, or Adam; L2 on weights, not on biases.

    It computes what `torch.optim.SGD` and `torch.optim.Adam` compute, by the same fused functions, without their
    bookkeeping: with many members that costs more than the update. State is tensors and a number of steps, so a
    checkpoint is nothing else.

    Parameters
    ----------
    parameters
        Names and parameters, which must have gradients when `step` is called.
    settings
        Hyper-parameters of the member.

    Attributes
    ----------
    steps : int
        Number of steps taken.
    slots : dict
        The state: of each slot (the momentum, or mean and square) a tensor for each parameter, by name.

    Examples
    --------
    >>> layer = nn.Linear(1, 1, bias=False)
    >>> before = layer.weight.item()
    >>> optimizer = Optimizer(layer.named_parameters(), Settings("sgd", learning_rate=0.1, epochs=1, momentum=0.0))
    >>> layer.weight.grad = torch.ones(1, 1)
    >>> optimizer.step()
    >>> round(before - layer.weight.item(), 4)
    0.1
    """

    def __init__(self, parameters: Iterable[tuple[str, nn.Parameter]], settings: Settings) -> None:
        self.settings = settings
        self.steps = 0
        learnt = {name: parameter for name, parameter in parameters if parameter.requires_grad}
        slots = ("mean", "square") if settings.optimizer == "adam" else ("momentum",) * (settings.momentum > 0)
        self.slots = {slot: {name: torch.zeros_like(value) for name, value in learnt.items()} for slot in slots}
        self._groups = [
            _Group(
                [learnt[name] for name in names],
                {slot: [tensors[name] for name in names] for slot, tensors in self.slots.items()},
                decay,
            )
            for names, decay in (
                ([name for name, value in learnt.items() if value.ndim > 1], 2 * settings.l2),
                ([name for name, value in learnt.items() if value.ndim <= 1], 0.0),
            )
            if names
        ]

    @property
    def rule(self) -> Rule:
        """What the compiled step needs to compute the same."""
        settings = self.settings
        adam = settings.optimizer == "adam"
        first, second = _BETAS if adam else (settings.momentum, 0.0)
        # Numbers of numpy's would have the step compiled once more.
        numbers = settings.learning_rate, settings.decay, first, second, _EPSILON, 2 * settings.l2
        return Rule(adam, *map(float, numbers))

    def step(self) -> None:
        """Take one step down the gradients that the parameters hold."""
        learning_rate = self.settings.learning_rate / (1 + self.settings.decay * self.steps)
        self.steps += 1
        with torch.no_grad():
            for group in self._groups:
                self._update(group, learning_rate)

    def forget(self) -> None:
        """Drop the gradients that the parameters hold."""
        for group in self._groups:
            for parameter in group.parameters:
                parameter.grad = None

    def _update(self, group: "_Group", learning_rate: float) -> None:
        # A part of a user's own module that took no part in the loss has no gradient.
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in group.parameters]
        values, slots, decay = group.parameters, group.slots, group.decay
        if self.settings.optimizer == "sgd":
            torch._fused_sgd_(
                values,
                gradients,
                slots.get("momentum", []),
                weight_decay=decay,
                momentum=self.settings.momentum,
                lr=learning_rate,
                dampening=0.0,
                nesterov=self.settings.momentum > 0,
                maximize=False,
                is_first_step=False,
            )
            return
        steps = torch.full((), float(self.steps), device=values[0].device)
        torch._fused_adam_(
            values,
            gradients,
            slots["mean"],
            slots["square"],
            [],
            [steps] * len(values),
            lr=learning_rate,
            beta1=_BETAS[0],
            beta2=_BETAS[1],
            weight_decay=decay,
            eps=_EPSILON,
            amsgrad=False,
            maximize=False,
        )

    def tensors(self) -> dict[str, Tensor]:
        """Give the state by name: what `load` needs to go on from here."""
        state = {f"{slot}.{name}": value for slot, values in self.slots.items() for name, value in values.items()}
        return state | {"steps": torch.tensor(self.steps)}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Go back to where `tensors` was called.

        Parameters
        ----------
        tensors
            What it gave.
        """
        self.steps = int(tensors["steps"])
        for slot, values in self.slots.items():
            for name, value in values.items():
                value.copy_(tensors[f"{slot}.{name}"])
