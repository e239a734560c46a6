"""The update of one member's parameters by an optimiser and a scheduler of the user's own."""

from collections.abc import Iterable, Iterator, Mapping
from copy import copy
from numbers import Integral, Real
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer as TorchOptimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from bagwise.errors import BagwiseError
from bagwise.text import called
from bagwise.training.members import Settings
from bagwise.training.optimizer import Optimizer

__all__ = ["GivenOptimizer", "optimizer_for"]

_UNKEPT = "only tensors and numbers can be kept in checkpoints, so give one whose state is these"


def optimizer_for(parameters: Iterable[tuple[str, nn.Parameter]], settings: Settings, total: int) -> Optimizer:
    """Make what updates a member.

    Parameters
    ----------
    parameters, settings, total
        As in `Optimizer`.

    Returns
    -------
    Optimizer
        Bagwise's, or the user's own.

    Raises
    ------
    BagwiseError
        If the user's own cannot train or be kept.

    Examples
    --------
    >>> layer = nn.Linear(1, 1)
    >>> optimizer_for(layer.named_parameters(), Settings(torch.optim.RMSprop, None, epochs=1), total=8).rule is None
    True
    """
    return (GivenOptimizer if callable(settings.optimizer) else Optimizer)(parameters, settings, total)


class GivenOptimizer(Optimizer):
    """Any `torch.optim.Optimizer`, with any `torch.optim.lr_scheduler.LRScheduler` that asks for no measurements.

    Before anything is trained it takes a step with copies, to see that the optimiser needs nothing but gradients and
    that the state of both comes back from tensors and numbers.

    Parameters
    ----------
    parameters, settings, total
        As in `Optimizer`.

    Raises
    ------
    BagwiseError
        If the optimiser or scheduler cannot train or be kept.

    Examples
    --------
    >>> layer = nn.Linear(1, 1)
    >>> optimizer = GivenOptimizer(layer.named_parameters(), Settings(torch.optim.RMSprop, None, epochs=1), total=8)
    >>> optimizer.step()
    >>> [name for name in optimizer.tensors() if "square" in name]
    ['optimizer.state.0.square_avg', 'optimizer.state.1.square_avg']
    """

    def __init__(self, parameters: Iterable[tuple[str, nn.Parameter]], settings: Settings, total: int = 0) -> None:
        super().__init__(parameters, settings, total)
        learnt = list(self._learnt.values())
        self._form = self._rehearsed(learnt)
        self._parts = self._made(learnt)

    def _slot_names(self) -> tuple[str, ...]:
        return ()

    @property
    def rule(self) -> None:
        """None: the compiled step cannot compute the same."""
        return None

    def _made(self, parameters: list[nn.Parameter]) -> dict[str, Any]:
        """Make the optimiser and, where there is one, its scheduler."""
        settings = self.settings
        optimizer: Any = cast(Any, settings.optimizer)(parameters)
        if not isinstance(optimizer, TorchOptimizer):
            raise BagwiseError(
                f"optimizer {called(settings.optimizer)} made a {type(optimizer).__name__}: it must make a"
                " torch.optim.Optimizer of the parameters that it is called with"
            )
        for group in optimizer.param_groups:
            group["lr"] = group["lr"] if isinstance(group["lr"], Tensor) else float(group["lr"])  # and it stays one
        if callable(settings.scheduler):
            scheduler = settings.scheduler(optimizer, self.total)
            if not isinstance(scheduler, LRScheduler):
                raise BagwiseError(
                    f"scheduler {called(settings.scheduler)} made a {type(scheduler).__name__}: it must make a"
                    " torch.optim.lr_scheduler.LRScheduler of the optimiser and the number of steps"
                )
            return {"optimizer": optimizer, "scheduler": scheduler}
        if settings.warmup == 0 and settings.scheduler == "constant":
            return {"optimizer": optimizer}
        return {"optimizer": optimizer, "scheduler": LambdaLR(optimizer, lambda step: self._factor(step))}

    def _rehearsed(self, learnt: list[nn.Parameter]) -> dict[str, Any]:
        """Take a step with copies; give the state that it leaves, which has the form of all that follow."""
        names = ["optimizer", "scheduler"] if callable(self.settings.scheduler) else ["optimizer"]
        told = " with ".join(f"{name} {called(getattr(self.settings, name))}" for name in names)
        try:
            one, other = (self._made([nn.Parameter(value.detach().clone()) for value in learnt]) for _ in range(2))
            for group in one["optimizer"].param_groups:
                for value in group["params"]:
                    value.grad = torch.zeros_like(value)
            for part in one.values():
                part.step()
            form = {name: part.state_dict() for name, part in one.items()}
            for path, leaf in _leaves(form):
                if not isinstance(leaf, Tensor | Real | str | None):
                    raise BagwiseError(f"{told} keeps {path}, a {type(leaf).__name__}: {_UNKEPT}")
            kept = _kept(form)
            _load(other, form, kept)
            again = _kept({name: part.state_dict() for name, part in other.items()})
        except BagwiseError:
            raise
        except Exception as error:  # whatever a user's own code may raise
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise BagwiseError(
                f"{told} could not take a step, given gradients and nothing else ({reason}): give one that can"
            ) from error
        if kept.keys() != again.keys() or not all(torch.equal(value, again[path]) for path, value in kept.items()):
            raise BagwiseError(f"{told} does not come back from its state as it was: {_UNKEPT}")
        return form

    def _descend(self) -> None:
        for part in self._parts.values():
            part.step()

    def tensors(self) -> dict[str, Tensor]:
        """Give the state by name: what `load` needs to go on from here."""
        state = {name: part.state_dict() for name, part in self._parts.items()}
        kept = _kept(state)
        if self.steps and _types(kept) != _types(_kept(self._form)):
            raise BagwiseError(
                f"optimizer {called(self.settings.optimizer)} keeps other things now than after its first step: a"
                " checkpoint needs one whose state stays of one form"
            )
        return kept | {"steps": torch.tensor(self.steps)}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Go back to where `tensors` was called.

        Parameters
        ----------
        tensors
            What it gave.
        """
        self.steps = int(tensors["steps"])
        kept = {path: tensors[path] for path in _kept(self._form)}
        if _types(kept) != _types(_kept(self._form)):
            raise ValueError("the state of the optimiser has another form")
        _load(self._parts, self._form, tensors)


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Give all that is in nested mappings and lists, by its path."""
    if isinstance(value, Mapping | list | tuple):
        for name, part in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from _leaves(part, f"{path}.{name}" if path else str(name))
    else:
        yield path, value


def _kept(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """Give the tensors and numbers of a state, all as tensors; texts and None stay as they are made."""
    return {
        path: leaf.detach().clone() if isinstance(leaf, Tensor) else torch.tensor(leaf, dtype=_dtype(leaf))
        for path, leaf in _leaves(state)
        if not isinstance(leaf, str | None)
    }


def _dtype(number: Any) -> torch.dtype:
    if isinstance(number, bool):
        return torch.bool
    return torch.int64 if isinstance(number, Integral) else torch.float64


def _types(tensors: Mapping[str, Tensor]) -> dict[str, tuple[torch.dtype, torch.Size]]:
    return {path: (value.dtype, value.shape) for path, value in tensors.items()}


def _load(parts: Mapping[str, Any], form: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    for name, part in parts.items():
        part.load_state_dict(_filled(form[name], tensors, name))


def _filled(form: Any, tensors: Mapping[str, Tensor], path: str) -> Any:
    """Put what was kept into a state of that form."""
    if isinstance(form, Mapping):
        filled: Any = copy(form)
        for name, part in form.items():
            filled[name] = _filled(part, tensors, f"{path}.{name}")
        return filled
    if isinstance(form, list | tuple):
        parts = [_filled(part, tensors, f"{path}.{place}") for place, part in enumerate(form)]
        return parts if isinstance(form, list) else tuple(parts)
    if isinstance(form, str | None):
        return form
    return tensors[path].to(form.device) if isinstance(form, Tensor) else tensors[path].item()
