"""Models of one architecture side by side: parameters stacked, and one operation for all of them."""

import copy
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bagwise.models.encoders import FullyConnected, MultiLevel
from bagwise.models.model import MILModel
from bagwise.training.device import autocast, seed_generator
from bagwise.training.gradient import with_gradient
from bagwise.training.joined_layers import Layer, Rescale
from bagwise.training.side_by_side import SideBySide, aggregated, axes_of

__all__ = ["Joined", "Rescaling", "refusal"]

Rescaling = tuple[NDArray[np.float64], NDArray[np.float64], float, bool]


class Joined:
    """Models computed side by side, by `torch.func.vmap` over their stacked parameters.

    The fully connected layers of Bagwise's own encoders are written out: members that share their inputs share one wide
    product, into whose weights each member's standardisation is folded.

    Parameters
    ----------
    models
        Of one architecture, on one device. Their parameters become views of the stack, so that whatever is done to
        either is done to both.
    rescaling
        What each model does to the instances that it is given: factor and shift, shape (E, D) each, so that it computes
        ``instances * factor - shift``; the limit, at most which the result is either way; and whether it is squashed
        before. None: nothing.
    precision
        As in `Plan`.

    Attributes
    ----------
    values : dict
        Of each parameter, by name, all models' in one tensor, shape (E, ...).
    side_by_side : SideBySide
        The models as functions of them are computed; their scaler is what `rescaling` leaves to do.

    Examples
    --------
    >>> from bagwise.models.architecture import Architecture
    >>> models = [Architecture("embedding", "max", "mi-net").build((3,), outputs=1, seed=seed) for seed in range(4)]
    >>> joined = Joined(models)
    >>> joined.aggregate(joined.encode(torch.zeros(5, 3)), torch.tensor([0, 2, 5])).shape
    torch.Size([4, 1, 2, 1])
    """

    def __init__(
        self, models: Sequence[MILModel], rescaling: Rescaling | None = None, precision: str = "float32"
    ) -> None:
        first = models[0]
        self._precision = precision
        self._dtype, self._device = first.scaler.factor.dtype, first.scaler.factor.device
        stacks = zip(*([one.detach() for one in model.parameters()] for model in models), strict=True)
        self.values = {
            name: torch.stack(stack).contiguous().requires_grad_(parameter.requires_grad)
            for (name, parameter), stack in zip(first.named_parameters(), stacks, strict=True)
        }
        for model, *own in zip(models, *(value.detach().unbind() for value in self.values.values()), strict=True):
            for parameter, value in zip(model.parameters(), own, strict=True):
                parameter.data = value
        self.learnt = {name: value for name, value in self.values.items() if value.requires_grad}
        self._model = copy.deepcopy(first)
        self._model.scaler = cast(Any, nn.Identity())
        self._buffers = {
            name: torch.stack([dict(model.named_buffers())[name] for model in models])
            for name, _ in self._model.named_buffers()
        }
        self._written_out = type(first.encoder) in (FullyConnected, MultiLevel)
        self._folded: tuple[Tensor, Tensor] | None = None
        if rescaling is not None:
            factor, shift = (torch.from_numpy(one).to(self._device, self._dtype) for one in rescaling[:2])
            limit, squash = rescaling[2:]
            if squash or np.isfinite(limit) or not self._written_out:
                self._model.scaler = cast(Any, Rescale(limit, squash))
                self._buffers |= {"scaler.factor": factor, "scaler.shift": shift}
            else:
                self._folded = factor, shift
        self.side_by_side = SideBySide(self._model, self.values | self._buffers)

    @property
    def shares_inputs(self) -> bool:
        """Whether the first product is one for all models."""
        return self._written_out and isinstance(self._model.scaler, nn.Identity)

    def train(self, mode: bool = True) -> None:
        """Switch between training and prediction."""
        self._model.train(mode)

    def encode(self, instances: Tensor, apart: bool = False) -> Tensor:
        """Turn packed instances into each model's embeddings.

        Parameters
        ----------
        instances
            Shape (N, ...), the same for all models; shape (E, N, ...), of each its own, where they are `apart`.
        apart
            See there.

        Returns
        -------
        Tensor
            Shape (E, N, ...).
        """
        if not self._written_out:
            encoded: Tensor = self.side_by_side.each(MILModel.encode, (0 if apart else None,), instances)
            return encoded
        if not self.shares_inputs:
            axis = 0 if apart else None
            instances = self.side_by_side.each(lambda model, shown: model.scaler(shown), (axis,), instances)
        levels = [instances]
        for number in range(len(cast(FullyConnected, self._model.encoder))):
            W, b = (self.values[f"encoder.{number}.0.{name}"] for name in ("weight", "bias"))
            folded = (None, None) if number > 0 or self._folded is None else self._folded
            levels.append(cast(Tensor, Layer.apply(levels[-1], W, b, *folded)))  # type: ignore[no-untyped-call]
        return torch.cat(levels[1:], dim=2) if isinstance(self._model.encoder, MultiLevel) else levels[-1]

    def encode_in_chunks(self, instances: Tensor, chunk: int, apart: bool = False) -> Tensor:
        """Encode without a graph, some instances at a time, as `MILModel.encode_in_chunks` does.

        Parameters
        ----------
        instances, apart
            As in `encode`.
        chunk
            How many at a time.

        Returns
        -------
        Tensor
            Shape (E, N, ...).
        """
        with torch.no_grad():
            parts = [self.encode(part, apart) for part in instances.split(chunk, int(apart))]
            return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)

    def aggregate(
        self, embeddings: Tensor, offsets: Tensor, coordinates: Tensor | None = None, scales: Tensor | None = None
    ) -> Tensor:
        """Turn each model's embeddings of packed bags into its logits.

        Parameters
        ----------
        embeddings
            Shape (E, N, ...).
        offsets
            As in `MILModel.aggregate`, the same for all models.
        coordinates
            As in `MILModel.aggregate`, the same for all models, or of each its own, shape (E, N, ...).
        scales
            What each model's embeddings are multiplied with where dropout is, shape (E, N, M); None: nothing.

        Returns
        -------
        Tensor
            Shape (E, H, B, C).
        """
        given = embeddings, offsets, coordinates, scales
        axes = axes_of(coordinates, scales)
        logits: Tensor = self.side_by_side.each(lambda *given: aggregated(*given).logits, axes, *given)
        return logits.to(self._dtype)

    def gradient(
        self,
        instances: Tensor,
        lost: Callable[[Tensor], Tensor],
        *,
        chunk: int,
        shares: Tensor | None = None,
        apart: bool = False,
        seed: int | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Differentiate each model's loss at its own parameters, as `accumulate_gradient` does for one.

        Parameters
        ----------
        instances
            As in `encode`.
        lost
            Embeddings, shape (E, N, ...), to losses, shape (E,).
        chunk
            Number of instances above which to encode in chunks.
        shares
            What each model's gradient is multiplied with, shape (E,); None: all by 1.
        apart
            As in `encode`.
        seed
            Of whatever the encoders draw; None: they draw nothing.

        Returns
        -------
        tuple
            Losses, and gradients by name.
        """
        names, values = zip(*self.learnt.items(), strict=True)
        if seed is not None:
            seed_generator(seed, self._device)

        if instances.shape[int(apart)] <= chunk:
            with autocast(self._device, self._precision):
                losses = lost(self.encode(instances, apart))
            whole = torch.autograd.grad(_total(losses, shares), values, allow_unused=True)
            return losses.detach(), _known(names, values, whole)
        with autocast(self._device, self._precision):
            embeddings = self.encode_in_chunks(instances, chunk, apart)
        through = [embeddings.requires_grad_()] if embeddings.is_floating_point() else []
        with autocast(self._device, self._precision):
            losses = lost(embeddings)
        found = torch.autograd.grad(_total(losses, shares), (*values, *through), allow_unused=True)
        gradients = _known(names, values, found[: len(values)])
        at_embeddings = found[-1] if through else None
        if at_embeddings is None:  # a user's own aggregation learns nothing through them
            return losses.detach(), gradients
        if seed is not None:
            seed_generator(seed, self._device)
        parts = zip(instances.split(chunk, int(apart)), at_embeddings.split(chunk, dim=1), strict=True)
        for part, gradient in parts:
            with autocast(self._device, self._precision):
                encoded = self.encode(part, apart)
            if encoded.requires_grad:
                more = torch.autograd.grad(with_gradient(encoded, gradient), values, allow_unused=True)
                for name, one in zip(names, more, strict=True):
                    if one is not None:
                        gradients[name] = gradients[name] + one
        return losses.detach(), gradients


def _total(losses: Tensor, shares: Tensor | None) -> Tensor:
    # Gradients given to torch beside a loss would have it load all that computes with symbols.
    return (losses if shares is None else losses * shares).sum()


def _known(names: Sequence[str], values: Sequence[Tensor], found: Sequence[Tensor | None]) -> dict[str, Tensor]:
    """Give a gradient of 0 to what took no part in the loss."""
    given = zip(values, found, strict=True)
    return dict(zip(names, (torch.zeros_like(at) if one is None else one for at, one in given), strict=True))


def refusal(model: MILModel, instance_shape: Sequence[int]) -> str | None:
    """Say why models like this one cannot be computed side by side.

    Parameters
    ----------
    model
        It stays as it is.
    instance_shape
        Shape of one instance.

    Returns
    -------
    str or None
        What torch says; None where they can.

    Examples
    --------
    >>> from bagwise.models.architecture import Architecture
    >>> refusal(Architecture("embedding", "max", "mi-net").build((3,), outputs=1, seed=0), (3,)) is None
    True
    """
    pair = [copy.deepcopy(model), copy.deepcopy(model)]
    dtype = model.scaler.factor.dtype
    places = torch.zeros(3, 2, dtype=dtype) if model.wants_coordinates else None
    try:
        with torch.random.fork_rng(devices=[]):
            joined, instances = Joined(pair), torch.rand(3, *instance_shape, dtype=dtype)
            for ends in ([0, 3], [0, 2, 3]):
                aggregate = partial(joined.aggregate, offsets=torch.tensor(ends), coordinates=places)
                joined.gradient(instances, partial(_summed, aggregate), chunk=3)
    except Exception as error:  # whatever torch, or a user's own code, may raise
        return (str(error) or type(error).__name__).splitlines()[0]
    return None


def _summed(aggregate: Callable[[Tensor], Tensor], embeddings: Tensor) -> Tensor:
    return aggregate(embeddings).flatten(1).sum(1)
