"""Models of one architecture side by side: parameters stacked, and one operation for all of them."""

import copy
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call, vmap

from bagwise.models.encoders import FullyConnected, MultiLevel
from bagwise.models.model import MILModel
from bagwise.training.device import autocast, seed_generator
from bagwise.training.fused import fused

__all__ = ["Joined", "Rescaling", "refusal"]

Rescaling = tuple[NDArray[np.float64], NDArray[np.float64], float]


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
        ``instances * factor - shift``, and the limit, at most which the result is either way. None: nothing.
    precision
        As in `Plan`.

    Attributes
    ----------
    values : dict
        Of each parameter, by name, all models' in one tensor, shape (E, ...).

    Examples
    --------
    >>> from bagwise.models.architecture import Architecture
    >>> models = [Architecture("embedding", "max", "mi-net").build((3,), outputs=1, seed=seed) for seed in range(4)]
    >>> joined = Joined(models)
    >>> joined.logits(torch.zeros(5, 3), torch.tensor([0, 2, 5])).shape
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
            if np.isfinite(rescaling[2]) or not self._written_out:
                self._model.scaler = cast(Any, _Rescale(rescaling[2]))
                self._buffers |= {"scaler.factor": factor, "scaler.shift": shift}
            else:
                self._folded = factor, shift
        self._halves = {half: _Half(self._model, half) for half in ("encode", "aggregate")}

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
            return self._each("encode", (0, 0 if apart else None), instances)
        if not self.shares_inputs:
            scaled = vmap(
                lambda own, shown: functional_call(self._model.scaler, own, (shown,)), (0, 0 if apart else None)
            )
            instances = scaled(
                {"factor": self._buffers["scaler.factor"], "shift": self._buffers["scaler.shift"]}, instances
            )
        levels = [instances]
        for number in range(len(cast(FullyConnected, self._model.encoder))):
            W, b = (self.values[f"encoder.{number}.0.{name}"] for name in ("weight", "bias"))
            folded = (None, None) if number > 0 or self._folded is None else self._folded
            levels.append(cast(Tensor, _Layer.apply(levels[-1], W, b, *folded)))  # type: ignore[no-untyped-call]
        return torch.cat(levels[1:], dim=2) if isinstance(self._model.encoder, MultiLevel) else levels[-1]

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
        places = None if coordinates is None or coordinates.ndim == 2 else 0
        if scales is None:
            return self._each("aggregate", (0, 0, None, places), embeddings, offsets, coordinates)
        return self._each("aggregate", (0, 0, None, places, 0), embeddings, offsets, coordinates, scales)

    def _each(self, half: str, axes: tuple[int | None, ...], *given: Any) -> Tensor:
        own = {f"model.{name}": value for name, value in (self.values | self._buffers).items()}
        asked = self._halves[half]
        one = vmap(lambda own, *given: functional_call(asked, own, given), axes, randomness="different")
        result: Tensor = one(own, *given)
        return result

    def logits(self, instances: Tensor, offsets: Tensor, coordinates: Tensor | None = None) -> Tensor:
        """Predict, without a graph.

        Parameters
        ----------
        instances, offsets, coordinates
            As in `encode` and `aggregate`.

        Returns
        -------
        Tensor
            Shape (E, H, B, C).
        """
        with torch.no_grad(), autocast(self._device, self._precision):
            return self.aggregate(self.encode(instances), offsets, coordinates).to(self._dtype)

    def gradient(
        self,
        instances: Tensor,
        offsets: Tensor,
        loss: Callable[[Tensor], Tensor],
        *,
        chunk: int,
        shares: Tensor | None = None,
        apart: bool = False,
        seed: int | None = None,
        coordinates: Tensor | None = None,
        draw: Callable[[int], Tensor] | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Differentiate each model's loss at its own parameters, as `accumulate_gradient` does for one.

        Parameters
        ----------
        instances, offsets, coordinates
            As in `encode` and `aggregate`.
        loss
            Logits, shape (E, H, B, C), to losses, shape (E,).
        chunk
            Number of instances above which to encode in chunks.
        shares
            What each model's gradient is multiplied with, shape (E,); None: all by 1.
        apart
            As in `encode`.
        seed
            Of whatever the encoders draw; None: they draw nothing.
        draw
            Gives the `scales` of `aggregate` for embeddings that wide; None: there are none.

        Returns
        -------
        tuple
            Losses, and gradients by name.
        """
        names, values = zip(*self.learnt.items(), strict=True)
        if seed is not None:
            seed_generator(seed, self._device)

        def lost(embeddings: Tensor) -> Tensor:
            scales = None if draw is None else draw(embeddings[0, 0].numel()).view(embeddings.shape)
            return loss(self.aggregate(embeddings, offsets, coordinates, scales).to(self._dtype))

        if instances.shape[int(apart)] <= chunk:
            with autocast(self._device, self._precision):
                losses = lost(self.encode(instances, apart))
            whole = torch.autograd.grad(_total(losses, shares), values, allow_unused=True)
            return losses.detach(), _known(names, values, whole)
        with torch.no_grad(), autocast(self._device, self._precision):
            embeddings = torch.cat([self.encode(part, apart) for part in instances.split(chunk, int(apart))], dim=1)
        embeddings.requires_grad_()
        with autocast(self._device, self._precision):
            losses = lost(embeddings)
        at_embeddings, *found = torch.autograd.grad(_total(losses, shares), (embeddings, *values), allow_unused=True)
        gradients = _known(names, values, found)
        if seed is not None:
            seed_generator(seed, self._device)
        parts = zip(instances.split(chunk, int(apart)), at_embeddings.split(chunk, dim=1), strict=True)
        for part, gradient in parts:
            with autocast(self._device, self._precision):
                encoded = self.encode(part, apart)
            if encoded.requires_grad:
                more = torch.autograd.grad(encoded, values, gradient, allow_unused=True)
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


class _Half(nn.Module):
    """One of the two steps of a model, as a module."""

    def __init__(self, model: MILModel, half: str) -> None:
        super().__init__()
        self.model = model
        self._half = half

    def forward(self, values: Tensor, *given: Any) -> Tensor:
        if self._half == "encode":
            return self.model.encode(values)
        offsets, coordinates, *scales = given
        self.model.dropout.scales = scales[0] if scales else None
        try:
            return self.model.aggregate(values, offsets, coordinates).logits
        finally:
            self.model.dropout.scales = None


class _Rescale(nn.Module):
    factor: Tensor
    shift: Tensor

    def __init__(self, limit: float) -> None:
        super().__init__()
        self._limit = limit
        self.register_buffer("factor", torch.zeros(0))
        self.register_buffer("shift", torch.zeros(0))

    def forward(self, instances: Tensor) -> Tensor:
        return (instances * self.factor - self.shift).clamp(-self._limit, self._limit)


class _Layer(torch.autograd.Function):
    """A fully connected layer with ReLU of all members: of inputs that all share, (N, D), or their own, (E, N, D).

    What is standardised is the weights of inputs that are shared: ``W (x * factor - shift) + b`` is
    ``(W * factor) x + (b - W shift)``.
    """

    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor, factor: Tensor | None, shift: Tensor | None
    ) -> Tensor:
        members, units, _ = weight.shape
        ctx.dtype, folded = weight.dtype, weight
        if torch.is_autocast_enabled(inputs.device.type):
            inputs = inputs.to(torch.get_autocast_dtype(inputs.device.type))
        kernels = fused() if weight.is_cuda else None
        if kernels is not None and factor is not None:
            folded, moved = kernels.folded(weight, factor, shift, inputs.dtype)
            bias = bias - moved
        elif factor is not None and shift is not None:
            folded, bias = weight * factor[:, None], bias - (weight @ shift[:, :, None]).squeeze(2)
        folded, bias = folded.to(inputs.dtype), bias.to(inputs.dtype)
        with torch.autocast(inputs.device.type, enabled=False):
            if inputs.ndim == 2:
                flat = torch._addmm_activation(bias.reshape(-1), inputs, folded.reshape(members * units, -1).T)
                outputs = flat.view(-1, members, units).transpose(0, 1)
            else:
                outputs = torch.baddbmm(bias[:, None], inputs, folded.mT).relu_()
        ctx.save_for_backward(inputs, folded, outputs, factor, shift)
        return outputs

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor, None, None]:
        inputs, folded, outputs, factor, shift = ctx.saved_tensors
        kernels = fused() if gradient.is_cuda else None
        if kernels is not None:
            passed, at_bias = kernels.through_relu(gradient, outputs)
        else:
            passed = torch.ops.aten.threshold_backward(gradient, outputs, 0)
            at_bias = passed.sum(1)
        back = torch.bmm(passed, folded) if inputs.ndim == 3 and ctx.needs_input_grad[0] else None
        at_weight = torch.bmm(passed.mT, inputs.expand(len(passed), *inputs.shape[-2:]))
        at_bias = at_bias.to(ctx.dtype)
        if factor is None:
            return back, at_weight.to(ctx.dtype), at_bias, None, None
        if kernels is not None:
            return back, kernels.unfolded(at_weight, at_bias, factor, shift), at_bias, None, None
        unfolded = at_weight.to(ctx.dtype) * factor[:, None] - at_bias[:, :, None] * shift[:, None]
        return back, unfolded, at_bias, None, None


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
            Joined(pair).gradient(
                torch.rand(3, *instance_shape, dtype=dtype),
                torch.tensor([0, 3]),
                lambda logits: logits.flatten(1).sum(1),
                chunk=3,
                coordinates=places,
            )
    except Exception as error:  # whatever torch, or a user's own code, may raise
        return (str(error) or type(error).__name__).splitlines()[0]
    return None
