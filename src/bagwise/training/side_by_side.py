"""Functions of models of one architecture, computed for all of them at once by `torch.func.vmap`."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from bagwise.models.model import MILModel, Output
from bagwise.training.device import sent

__all__ = ["SideBySide", "aggregated", "axes_of"]


class SideBySide:
    """Models of one architecture, what differs between them stacked.

    Parameters
    ----------
    model
        One of them, which stands for all: its parameters and buffers are not read.
    own
        Of each parameter and buffer, by name, all models' in one tensor, shape (E, ...).

    Attributes
    ----------
    model
        As given.

    Examples
    --------
    >>> from bagwise.models.architecture import Architecture
    >>> models = [Architecture("embedding", "max", "mi-net").build((3,), outputs=1, seed=seed) for seed in range(4)]
    >>> side = SideBySide.of(models)
    >>> side.each(MILModel.encode, (None,), torch.zeros(5, 3)).shape
    torch.Size([4, 5, 64])
    >>> side.some([3, 1]).in_turn(MILModel.encode, (None,), torch.zeros(5, 3)).shape
    torch.Size([2, 5, 64])
    """

    def __init__(self, model: MILModel, own: Mapping[str, Tensor]) -> None:
        self.model, self._asked = model, _Asked(model)
        self._own = {f"model.{name}": value for name, value in own.items()}

    @classmethod
    def of(cls, models: Sequence[MILModel]) -> "SideBySide":
        """Stack what models have, as it is now.

        Parameters
        ----------
        models
            Of one architecture, on one device; they stay as they are.

        Returns
        -------
        SideBySide
        """
        tensors = [{**dict(model.named_parameters()), **dict(model.named_buffers())} for model in models]
        own = {name: torch.stack([each[name].detach() for each in tensors]) for name in tensors[0]}
        return cls(copy.deepcopy(models[0]), own)

    def some(self, places: Sequence[int]) -> "SideBySide":
        """Choose some of the models.

        Parameters
        ----------
        places
            Which, from 0.

        Returns
        -------
        SideBySide
        """
        rows = sent(torch.tensor(places), next(iter(self._own.values())).device)
        own = {name.removeprefix("model."): value.index_select(0, rows) for name, value in self._own.items()}
        return SideBySide(self.model, own)

    def each(self, act: Callable[..., Any], axes: Sequence[int | None], *given: Any) -> Any:
        """Compute a function of each model, side by side.

        Parameters
        ----------
        act
            Takes a model and what is given, to tensors; torch must know how to compute it for many at once.
        axes
            Along which axis of each of what is given the models have their own; None: it is the same for all.
        given
            What else it takes.

        Returns
        -------
        Any
            What it gives, of all models along a first axis.
        """
        one = vmap(
            lambda own, *given: functional_call(self._asked, own, (act, *given)), (0, *axes), randomness="different"
        )
        return one(self._own, *given)

    def in_turn(self, act: Callable[..., Tensor], axes: Sequence[int | None], *given: Any) -> Tensor:
        """Compute a function of each model, one after the other: any code.

        Parameters
        ----------
        act, axes, given
            As in `each`; axes are 0 or None.

        Returns
        -------
        Tensor
            As `each` gives it.
        """
        names, stacks = zip(*self._own.items(), strict=True)
        models = list(zip(*(stack.unbind() for stack in stacks), strict=True))
        lists = [[one] * len(models) if axis is None else one.unbind() for one, axis in zip(given, axes, strict=True)]
        return torch.stack(
            [
                functional_call(self._asked, dict(zip(names, own, strict=True)), (act, *parts))
                for own, *parts in zip(models, *lists, strict=True)
            ]
        )


class _Asked(nn.Module):
    """A model, as a module that computes any function of it."""

    def __init__(self, model: MILModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, act: Callable[..., Any], *given: Any) -> Any:
        return act(self.model, *given)


def aggregated(
    model: MILModel, embeddings: Tensor, offsets: Tensor, coordinates: Tensor | None, scales: Tensor | None
) -> Output:
    """Aggregate as `MILModel.aggregate` does, with what embeddings are multiplied with where dropout is.

    Parameters
    ----------
    model
        Of one of many.
    embeddings, offsets, coordinates, scales
        As in `Joined.aggregate`, of the one.

    Returns
    -------
    Output
    """
    model.dropout.scales = scales
    try:
        return model.aggregate(embeddings, offsets, coordinates)
    finally:
        model.dropout.scales = None


def axes_of(coordinates: Tensor | None, scales: Tensor | None) -> tuple[int | None, ...]:
    """Say which of what `Joined.aggregate` takes each model has its own of, as `Joined.each` is told it.

    Parameters
    ----------
    coordinates, scales
        As in `Joined.aggregate`.

    Returns
    -------
    tuple
        0 or None for each of the four.
    """
    shared = coordinates is None or coordinates.ndim == 2
    return 0, None, None if shared else 0, None if scales is None else 0
