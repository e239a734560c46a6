"""Fully connected models side by side in memory, as the compiled step takes them."""

from collections.abc import Sequence
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bagwise.compiled import PythonGradient
from bagwise.models.encoders import FullyConnected, MultiLevel
from bagwise.models.levels import DeepSupervision, EmbeddingLevel, InstanceLevel, ResidualConnections
from bagwise.models.model import MILModel
from bagwise.models.pooling import (
    EMBEDDING_POOLINGS,
    INSTANCE_POOLINGS,
    ISR,
    Attention,
    Counting,
    GatedAttention,
    GatedSumAttention,
    LogSumExp,
    Max,
    Mean,
    NoisyAnd,
    NoisyOr,
    Pooling,
    ProbabilityLogSumExp,
    ProbabilityMean,
    Sum,
    SumAttention,
)
from bagwise.targets.contract import Target
from bagwise.training import kernels
from bagwise.training.kernels import AFFINE, POOLING, Rule, Wiring
from bagwise.training.optimizer import Optimizer

__all__ = ["Stack", "can_stack", "compile_step"]

_LEVELS: dict[type[MILModel], int] = {
    EmbeddingLevel: kernels.EMBEDDING,
    InstanceLevel: kernels.INSTANCE,
    DeepSupervision: kernels.DEEP_SUPERVISION,
    ResidualConnections: kernels.RESIDUAL,
}
_POOLINGS: dict[type[nn.Module], int] = {
    Max: kernels.MAX,
    Mean: kernels.MEAN,
    LogSumExp: kernels.LOG_SUM_EXP,
    Attention: kernels.ATTENTION,
    GatedAttention: kernels.GATED_ATTENTION,
    ProbabilityMean: kernels.PROBABILITY_MEAN,
    ProbabilityLogSumExp: kernels.PROBABILITY_LOG_SUM_EXP,
    ISR: kernels.ISR,
    NoisyOr: kernels.NOISY_OR,
    NoisyAnd: kernels.NOISY_AND,
    Sum: kernels.SUM,
    SumAttention: kernels.SUM_ATTENTION,
    GatedSumAttention: kernels.GATED_SUM_ATTENTION,
}
# A whole line of the processor's cache, for any precision.
_LINE = 16


def can_stack(model: MILModel) -> bool:
    """Say whether the compiled step knows models of this architecture.

    Parameters
    ----------
    model
        One of them.

    Returns
    -------
    bool

    Examples
    --------
    >>> from bagwise.models.architecture import Architecture
    >>> can_stack(Architecture("embedding", "max", "mi-net").build((3,), outputs=1, seed=0))
    True
    """
    registry = INSTANCE_POOLINGS if isinstance(model, InstanceLevel) else EMBEDDING_POOLINGS
    known = type(model) in _LEVELS and all(type(pooling) in registry.values() for pooling in _poolings(model))
    return known and not model.ties_instances and type(model.encoder) in (FullyConnected, MultiLevel)


def compile_step(target: Target, dtype: torch.dtype) -> None:
    """Compile the step for this processor, unless that was done before: once here, and not in every worker.

    Parameters
    ----------
    target
        Whose loss the step goes down.
    dtype
        What the models compute in.

    Examples
    --------
    >>> from bagwise.targets.classes import ClassTarget
    >>> compile_step(ClassTarget.of([0, 1]), torch.float32)
    """
    nothing = torch.zeros(0, 0, dtype=dtype).numpy()
    no_place = np.zeros(1, np.int64)
    layers = np.zeros(1, AFFINE)
    wiring = Wiring(0, 0, 0.0, 0, 0, layers, np.zeros(1, POOLING), layers)
    rule = Rule(False, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    empty = nothing.ravel()
    gradient = StepGradient(target, empty.dtype).compiled
    kernels.learn(
        wiring,
        rule,
        0,
        np.zeros(0),
        nothing,
        no_place,
        nothing,
        gradient,
        empty,
        nothing,
        empty.dtype.type(1),
        nothing,
        empty,
        nothing,
        nothing[None],
        empty,
    )


class Stack:
    """Models of one architecture and their optimisers, one row each of one array.

    Parameters
    ----------
    models
        Which `can_stack` accepts. Their parameters become views of the stack, so that whatever is done to either is
        done to both.
    optimizers
        One a model; their state becomes views too. A model whose optimiser has no rule stays as it is.
    target
        Whose loss they go down.

    Examples
    --------
    >>> from bagwise.models.architecture import Architecture
    >>> from bagwise.training.members import Settings
    >>> model = Architecture("embedding", "attention", "mi-net").build((3,), outputs=1, seed=0)
    >>> from bagwise.targets.classes import ClassTarget
    >>> optimizers = [Optimizer(model.named_parameters(), Settings("adam", 1e-3, epochs=1))]
    >>> stack = Stack([model], optimizers, ClassTarget.of([0, 1]))
    >>> x, offsets, wanted = torch.ones(5, 3), np.array([0, 2, 5]), np.array([[1.0], [0.0]], np.float32)
    >>> stack.learn(0, x, offsets, wanted, np.ones(2, np.float32), None).shape
    torch.Size([1, 2, 1])
    """

    def __init__(self, models: Sequence[MILModel], optimizers: Sequence[Optimizer], target: Target) -> None:
        self.optimizers = optimizers
        self._shares = [_share(model) for model in models]
        begins, few, spared, size = _places(models[0])
        self._wiring = _wiring(models[0], begins, few, spared)
        layers = self._wiring.layers
        pooled = layers if isinstance(models[0].encoder, MultiLevel) else layers[-1:]
        self.embedding_width = int(pooled["units"].sum())
        dtype = next(models[0].parameters()).dtype
        slots = max(len(optimizer.slots) for optimizer in optimizers)
        values = torch.zeros(len(models), size, dtype=dtype)
        state = torch.zeros(len(models), max(slots, 1), size, dtype=dtype)
        for model, optimizer, row, rows in zip(models, optimizers, values, state, strict=True):
            if optimizer.rule is None:
                continue
            for name, parameter in model.named_parameters():
                part, transpose = slice(begins[name], begins[name] + parameter.numel()), begins[name] < few
                parameter.data = _put(parameter.data, row[part], transpose)
                for slot, slot_row in zip(optimizer.slots.values(), rows, strict=False):
                    slot[name].data = _put(slot[name], slot_row[part], transpose)
        self._values, self._slots = values.numpy(), state.numpy()
        self._gradient = StepGradient(target, self._values.dtype)
        self._whole = np.zeros_like(self._values[0])  # of whichever model clips its gradient, anew in every step

    def learn(
        self,
        place: int,
        instances: Tensor,
        offsets: NDArray[np.int64],
        wanted: NDArray[np.floating[Any]],
        weights: NDArray[np.floating[Any]],
        scales: Tensor | None,
        beside: Tensor | None = None,
    ) -> Tensor:
        """Let one model learn from packed bags, one bag a step.

        Parameters
        ----------
        place
            Which model.
        instances
            As its scaler gives them, shape (N, D).
        offsets
            Shape (B + 1,).
        wanted
            What the loss compares outputs with, shape (B, W).
        weights
            What the loss of each bag is multiplied with, shape (B,).
        scales
            What each unit of the embedding is multiplied with, shape (N, width of the embedding): 0 where it is
            dropped, else 1 / (1 - rate). None drops nothing.
        beside
            What the classifier of each bag is told beside its vector, shape (B, G); None: nothing.

        Returns
        -------
        Tensor
            The logits of each bag before its step, shape (H, B, C).
        """
        values, optimizer, rule = self._values[place], self.optimizers[place], self.optimizers[place].rule
        assert rule is not None
        heads = self._wiring.heads
        logits = np.empty((len(wanted), len(heads), heads["units"][0]), values.dtype)
        kept = np.empty((0, 0)) if scales is None else scales.numpy()
        told = np.empty((len(wanted), 0)) if beside is None else beside.numpy()
        kernels.learn(
            self._wiring,
            rule,
            optimizer.steps,
            optimizer.factors(len(wanted)),
            instances.numpy(),
            offsets,
            wanted.astype(values.dtype, copy=False),
            self._gradient.compiled,
            # Other precisions than the model's would have the step compiled once more, for half a minute.
            weights.astype(values.dtype, copy=False),
            kept.astype(values.dtype, copy=False),
            values.dtype.type(self._shares[place]),
            told.astype(values.dtype, copy=False),
            values,
            self._slots[place],
            logits,
            self._whole if rule.longest < np.inf else self._whole[:0],
        )
        self._gradient.check()
        optimizer.steps += len(wanted)
        return torch.from_numpy(logits).transpose(0, 1)


class StepGradient:
    """The gradient of a target's loss, as the compiled step takes it.

    Parameters
    ----------
    target
        One without a gradient of its own has torch differentiate its loss, which takes some 50 microseconds a bag.
    dtype
        What the step computes in.

    Attributes
    ----------
    compiled
        What the step takes.
    """

    def __init__(self, target: Target, dtype: np.dtype[Any]) -> None:
        self._in_python = None
        if target.gradient is not None:
            self.compiled = target.gradient.of(dtype)
        else:
            self._in_python = PythonGradient(partial(_differentiated, target), dtype)
            self.compiled = self._in_python.compiled

    def check(self) -> None:
        """Raise what the target's loss raised, which could not leave the compiled step."""
        if self._in_python is not None and self._in_python.error is not None:
            raise self._in_python.error


def _differentiated(target: Target, outputs: NDArray[Any], wanted: NDArray[Any]) -> NDArray[Any]:
    with torch.enable_grad():
        at = torch.from_numpy(outputs.copy())[None, None].requires_grad_()
        loss = target.loss(at, torch.from_numpy(wanted.copy())[None]).sum()
        (gradient,) = torch.autograd.grad(loss, at)
    return gradient[0, 0].numpy()


def _put(value: Tensor, row: Tensor, transpose: bool) -> Tensor:
    """Move a parameter into its part of a row, and see it there in its own shape."""
    view = row.view(value.shape[::-1]).T if transpose else row.view(value.shape)
    return view.copy_(value)


def _places(model: MILModel) -> tuple[dict[str, int], int, int, int]:
    """Say where each parameter begins, where what is no matrix does, where what L2 spares does, and the end."""
    parameters = dict(model.named_parameters())
    spared = [name for name, parameter in parameters.items() if parameter.ndim == 1]
    matrices = [name for name in parameters if name.startswith("encoder.") or name.endswith((".V.weight", ".U.weight"))]
    few = [name for name in parameters if name not in matrices and name not in spared]
    begins: dict[str, int] = {}
    ends, end = [], 0
    for names in ([name for name in matrices if name not in spared], few, spared):
        for name in names:
            begins[name] = end
            end += -(-parameters[name].numel() // _LINE) * _LINE
        ends.append(end)
    return begins, ends[0], ends[1], ends[2]


def _poolings(model: MILModel) -> list[Pooling]:
    return [module for module in model.modules() if isinstance(module, Pooling)]


def _share(model: MILModel) -> float:
    """Say what sums are multiplied with."""
    pooling = _poolings(model)[0]
    return float(pooling.share) if isinstance(pooling, Counting) else 1.0


def _heads(model: MILModel) -> list[nn.Linear]:
    many = isinstance(model, DeepSupervision)
    return [cast(nn.Linear, head) for head in (cast(DeepSupervision, model).heads if many else [model.head])]


def _wiring(model: MILModel, begins: dict[str, int], few: int, spared: int) -> Wiring:
    at = {id(parameter): begins[name] for name, parameter in model.named_parameters()}
    linears = [cast(nn.Linear, cast(nn.Sequential, layer)[0]) for layer in cast(FullyConnected, model.encoder)]
    columns = np.cumsum([0, *(linear.out_features for linear in linears)])
    poolings = _poolings(model)

    def affine(linear: nn.Linear, column: int) -> tuple[int, ...]:
        return at[id(linear.weight)], at[id(linear.bias)], linear.in_features, linear.out_features, column

    def pooling(own: Pooling) -> tuple[int, ...]:
        V, U, w = (at[id(getattr(own, name).weight)] if hasattr(own, name) else 0 for name in ("V", "U", "w"))
        hidden = own.V.out_features if isinstance(own, Attention) else 0
        b = at[id(own.b)] if isinstance(own, SumAttention) else 0
        return V, U, w, b, hidden, at[id(own.threshold_logit)] if isinstance(own, NoisyAnd) else 0

    return Wiring(
        _LEVELS[type(model)],
        _POOLINGS[type(poolings[0])],
        float(getattr(poolings[0], "sharpness", getattr(poolings[0], "slope", 0.0))),
        few,
        spared,
        np.array([affine(linear, column) for linear, column in zip(linears, columns, strict=False)], AFFINE),
        np.array([pooling(own) for own in poolings], POOLING),
        np.array([affine(head, 0) for head in _heads(model)], AFFINE),
    )
