"""The update of one member's parameters."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bagwise.training.members import Settings
from bagwise.training.schedule import rate_factor

if TYPE_CHECKING:
    from bagwise.training.kernels import Rule

__all__ = ["BETAS", "EPSILON", "Optimizer"]

BETAS = (0.9, 0.999)
EPSILON = 1e-8


class _Group(NamedTuple):
    """Parameters that are updated alike, and their state."""

    parameters: list[Tensor]
    slots: dict[str, list[Tensor]]
    decay: float


class Optimizer:
    """SGD with Nesterov momentum, Adam, or AdamW; L2 or decay of weights, not of biases.

    It computes what `torch.optim.SGD`, `torch.optim.Adam` and `torch.optim.AdamW` compute, by the same fused functions,
    without their bookkeeping: with many members that costs more than the update. State is tensors and a number of
    steps, so a checkpoint is nothing else.

    Parameters
    ----------
    parameters
        Names and parameters.
    settings
        Hyper-parameters of the member.
    total
        The most steps that the member takes: what a warm-up and a scheduler span.

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

    def __init__(self, parameters: Iterable[tuple[str, nn.Parameter]], settings: Settings, total: int = 0) -> None:
        self.settings = settings
        self.total = total
        self.steps = 0
        self._learnt = {name: parameter for name, parameter in parameters if parameter.requires_grad}
        self.slots = {
            slot: {name: torch.zeros_like(value) for name, value in self._learnt.items()} for slot in self._slot_names()
        }
        penalty = settings.l2 if settings.optimizer == "adamw" else 2 * settings.l2
        self._groups = [
            _Group(
                [self._learnt[name] for name in names],
                {slot: [tensors[name] for name in names] for slot, tensors in self.slots.items()},
                decay,
            )
            for names, decay in (
                ([name for name, value in self._learnt.items() if value.ndim > 1], penalty),
                ([name for name, value in self._learnt.items() if value.ndim <= 1], 0.0),
            )
            if names
        ]

    def _slot_names(self) -> tuple[str, ...]:
        return ("momentum",) * (self.settings.momentum > 0) if self.settings.optimizer == "sgd" else ("mean", "square")

    @property
    def rule(self) -> "Rule | None":
        """What the compiled step needs to compute the same; None where it cannot."""
        settings = self.settings
        from bagwise.training.kernels import Rule  # with the compiler, which a GPU does without

        adam, decoupled = settings.optimizer != "sgd", settings.optimizer == "adamw"
        first, second = BETAS if adam else (settings.momentum, 0.0)
        l2, shrink = (0.0, settings.l2) if decoupled else (2 * settings.l2, 0.0)
        # Numbers of numpy's would have the step compiled once more.
        longest = np.inf if settings.clip_gradient is None else settings.clip_gradient
        numbers = self._learning_rate, settings.decay, first, second, EPSILON, l2, shrink, longest
        return Rule(adam, *map(float, numbers))

    def factors(self, count: int) -> NDArray[np.float64]:
        """Give what warm-up and scheduler multiply the rates of the next steps with.

        Parameters
        ----------
        count
            How many steps.

        Returns
        -------
        array
            Shape (count,).
        """
        if self.settings.warmup == 0 and self.settings.scheduler == "constant":
            return np.ones(count)
        return np.array([self._factor(step) for step in range(self.steps, self.steps + count)])

    @property
    def _learning_rate(self) -> float:
        return cast(float, self.settings.learning_rate)

    def _factor(self, step: int) -> float:
        return rate_factor(step, self.total, cast(str, self.settings.scheduler), self.settings.warmup)

    def step(self) -> None:
        """Take one step down the gradients that the parameters hold."""
        for parameter in self._learnt.values():
            # A part of a user's own module that took no part in the loss has no gradient.
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        if self.settings.clip_gradient is not None:
            nn.utils.clip_grad_norm_(self._learnt.values(), self.settings.clip_gradient)
        self._descend()
        self.steps += 1

    def forget(self) -> None:
        """Drop the gradients that the parameters hold."""
        for parameter in self._learnt.values():
            parameter.grad = None

    def _descend(self) -> None:
        learning_rate = self._learning_rate / (1 + self.settings.decay * self.steps) * self._factor(self.steps)
        with torch.no_grad():
            for group in self._groups:
                self._update(group, learning_rate)

    def _update(self, group: _Group, learning_rate: float) -> None:
        gradients = [cast(Tensor, parameter.grad) for parameter in group.parameters]
        values, slots = group.parameters, group.slots
        if self.settings.optimizer == "sgd":
            torch._fused_sgd_(
                values,
                gradients,
                slots.get("momentum", []),
                weight_decay=group.decay,
                momentum=self.settings.momentum,
                lr=learning_rate,
                dampening=0.0,
                nesterov=self.settings.momentum > 0,
                maximize=False,
                is_first_step=False,
            )
            return
        steps = torch.full((), float(self.steps + 1), device=values[0].device)
        (torch._fused_adamw_ if self.settings.optimizer == "adamw" else torch._fused_adam_)(
            values,
            gradients,
            slots["mean"],
            slots["square"],
            [],
            [steps] * len(values),
            lr=learning_rate,
            beta1=BETAS[0],
            beta2=BETAS[1],
            weight_decay=group.decay,
            eps=EPSILON,
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
