"""The update of one member's parameters."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from bagwise.training.members import Settings

__all__ = ["Optimizer"]

_BETAS = (0.9, 0.999)
_EPSILON = 1e-8


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
        learnt = [(name, parameter) for name, parameter in parameters if parameter.requires_grad]
        weights = [(name, parameter) for name, parameter in learnt if parameter.ndim > 1]
        biases = [(name, parameter) for name, parameter in learnt if parameter.ndim <= 1]
        self._groups = [_Group(weights, settings, 2 * settings.l2), _Group(biases, settings, 0.0)]

    def step(self) -> None:
        """Take one step down the gradients that the parameters hold."""
        learning_rate = self.settings.learning_rate / (1 + self.settings.decay * self.steps)
        self.steps += 1
        for group in self._groups:
            group.update(learning_rate, self.steps)

    def refresh(self) -> None:
        """Look the parameters' values and gradients up again, after others were put in their place."""
        for group in self._groups:
            group.refresh()

    def tensors(self) -> dict[str, Tensor]:
        """Give the state by name: what `load` needs to go on from here."""
        state = {name: value for group in self._groups for name, value in group.named_state()}
        return state | {"steps": torch.tensor(self.steps)}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Go back to where `tensors` was called.

        Parameters
        ----------
        tensors
            What it gave.
        """
        self.steps = int(tensors["steps"])
        for group in self._groups:
            for name, value in group.named_state():
                value.copy_(tensors[name])


class _Group:
    """Parameters with one weight decay."""

    def __init__(self, parameters: list[tuple[str, nn.Parameter]], settings: Settings, decay: float) -> None:
        self.names = [name for name, _ in parameters]
        self.parameters = [parameter for _, parameter in parameters]
        self.settings = settings
        self.decay = decay
        names = ("mean", "square") if settings.optimizer == "adam" else ("momentum",) * (settings.momentum > 0)
        self.slots = {name: [torch.zeros_like(parameter) for parameter in self.parameters] for name in names}
        self.values: list[Tensor] = []
        self.gradients: list[Tensor] = []

    def refresh(self) -> None:
        self.values = [parameter.data for parameter in self.parameters]
        self.gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]

    def update(self, learning_rate: float, step: int) -> None:
        if not self.values:
            self.refresh()
        if not self.parameters:
            return
        if self.settings.optimizer == "sgd":
            torch._fused_sgd_(
                self.values,
                self.gradients,
                self.slots.get("momentum", []),
                weight_decay=self.decay,
                momentum=self.settings.momentum,
                lr=learning_rate,
                dampening=0.0,
                nesterov=self.settings.momentum > 0,
                maximize=False,
                is_first_step=False,
            )
            return
        steps = torch.full((), float(step), device=self.values[0].device)
        torch._fused_adam_(
            self.values,
            self.gradients,
            self.slots["mean"],
            self.slots["square"],
            [],
            [steps] * len(self.values),
            lr=learning_rate,
            beta1=_BETAS[0],
            beta2=_BETAS[1],
            weight_decay=self.decay,
            eps=_EPSILON,
            amsgrad=False,
            maximize=False,
        )

    def named_state(self) -> list[tuple[str, Tensor]]:
        return [
            (f"{slot}.{name}", value)
            for slot, values in self.slots.items()
            for name, value in zip(self.names, values, strict=True)
        ]
