"""Many fully connected models as one: each parameter a tensor with a member axis, gradients written out.

Shapes: E members, K instances of one bag, D features, M units, C logits. A layer's `forward` keeps what its `backward`
needs; its `backward` takes the gradient at its result, writes those of its parameters, and gives the gradient at its
argument. The tests hold every one of them against torch's own differentiation.

A member's bits must not depend on how many others there are, nor on its place among them. Two things could break that,
and are kept out everywhere here. Matrix products round differently where memory is not aligned: so every member's part
of a tensor begins at a multiple of 64 bytes. Some functions (exp, log, sigmoid, a product with a single column) round
differently in the last few elements of a tensor, which do not fill a vector register: so they are applied to whole
registers, or put in terms of others (tanh, a sum) that do not.
"""

import copy
from collections.abc import Sequence
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from bagwise.models.encoders import FullyConnected, MultiLevel
from bagwise.models.model import DeepSupervision, EmbeddingLevel, InstanceLevel, MILModel, ResidualConnections
from bagwise.models.pooling import Attention, GatedAttention, Pooling
from bagwise.models.scaling import as_floating

__all__ = ["Stack", "can_stack"]

# Numbers in a whole memory line, or in a few vector registers, of any processor.
_LANES = 64

_threshold_backward = torch.ops.aten.threshold_backward.default
_tanh_backward = torch.ops.aten.tanh_backward.default
_sigmoid_backward = torch.ops.aten.sigmoid_backward.default


class Layer(Protocol):
    """What every layer of a stack does."""

    def forward(self, x: Tensor) -> Tensor:
        """Compute the result of all members."""
        ...

    def backward(self, dy: Tensor) -> Tensor:
        """Write the parameters' gradients and give the argument's."""
        ...


class Linear:
    """y = x W^T + b, for all members at once; with `relu`, y = max(0, x W^T + b)."""

    def __init__(self, layers: Sequence[nn.Linear], relu: bool) -> None:
        self.W, self.dW = share([layer.weight for layer in layers])
        b, self.db = share([layer.bias for layer in layers])
        self.WT, self.b = self.W.mT, b.unsqueeze(1)
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        self.x = x
        if self.W.shape[1] == 1:
            self.y = (x * self.W).sum(2, keepdim=True).add_(self.b)
        else:
            self.y = torch.baddbmm(self.b, x, self.WT)
        if self.relu:
            self.y.relu_()
        return self.y

    def backward(self, dy: Tensor) -> Tensor:
        self.backward_parameters(dy)
        return torch.bmm(self.dz, self.W)

    def backward_parameters(self, dy: Tensor) -> None:
        """Do without the gradient at the argument, which nobody needs of a first layer."""
        self.dz = _threshold_backward(dy, self.y, 0) if self.relu else dy
        torch.bmm(self.dz.mT, self.x, out=self.dW)
        torch.sum(self.dz, 1, out=self.db)


class AttentionStack:
    """z = sum_k a_k h_k with a = softmax_k(w^T tanh(V h_k)) (paper, equations 7 and 8)."""

    def __init__(self, poolings: Sequence[Attention]) -> None:
        self.V, self.dV = share([pooling.V.weight for pooling in poolings])
        self.w, self.dw = share([pooling.w.weight for pooling in poolings])
        self.VT = self.V.mT

    def forward(self, h: Tensor) -> Tensor:
        self.h = h
        self.a = (self.hidden(h) * self.w).sum(2, keepdim=True).softmax(1)  # (E, K, 1)
        return torch.bmm(self.a.mT, h)  # (E, 1, M)

    def backward(self, dz: Tensor) -> Tensor:
        da = (self.h * dz).sum(2, keepdim=True)
        ds = da.sub_((self.a * da).sum(1, keepdim=True)).mul_(self.a)
        dh = self.backward_hidden(ds * self.w)
        torch.bmm(ds.mT, self.t, out=self.dw)
        return dh.baddbmm_(self.a, dz)

    def hidden(self, h: Tensor) -> Tensor:
        self.t = torch.bmm(h, self.VT).tanh_()
        return self.t

    def backward_hidden(self, dt: Tensor) -> Tensor:
        du = _tanh_backward(dt, self.t)
        torch.bmm(du.mT, self.h, out=self.dV)
        return torch.bmm(du, self.V)


class GatedAttentionStack(AttentionStack):
    """The same with a = softmax_k(w^T (tanh(V h_k) * sigmoid(U h_k))) (paper, equation 9)."""

    def __init__(self, poolings: Sequence[GatedAttention]) -> None:
        super().__init__(poolings)
        self.U, self.dU = share([pooling.U.weight for pooling in poolings])
        self.UT = self.U.mT

    def hidden(self, h: Tensor) -> Tensor:
        self.tanh = torch.bmm(h, self.VT).tanh_()
        self.gate = sigmoid_(torch.bmm(h, self.UT))
        self.t = self.tanh * self.gate
        return self.t

    def backward_hidden(self, dt: Tensor) -> Tensor:
        dv = _tanh_backward(dt * self.gate, self.tanh)
        du = _sigmoid_backward(dt * self.tanh, self.gate)
        torch.bmm(dv.mT, self.h, out=self.dV)
        torch.bmm(du.mT, self.h, out=self.dU)
        return torch.bmm(dv, self.V).baddbmm_(du, self.U)


class ColumnStack:
    """Any pooling that treats each column by itself: members' columns side by side, differentiated by torch."""

    def __init__(self, poolings: Sequence[Pooling]) -> None:
        self.pooling = copy.deepcopy(poolings[0])
        for name, parameter in self.pooling.named_parameters():
            values, gradients = share([pooling.get_parameter(name) for pooling in poolings], _LANES)
            parameter.data, parameter.grad = values.flatten(), gradients.flatten()

    def forward(self, x: Tensor) -> Tensor:
        members, instances, self.width = x.shape
        for parameter in self.pooling.parameters():
            assert parameter.grad is not None
            parameter.grad.zero_()
        padded = x.new_zeros(instances, members, whole(self.width, _LANES))
        padded[:, :, : self.width] = x.transpose(0, 1)
        with torch.enable_grad():
            self.columns = padded.flatten(1).requires_grad_()
            self.pooled = self.pooling(self.columns, torch.tensor([0, instances], device=x.device)).bags
        return self.pooled.detach().view(members, 1, -1)[:, :, : self.width]

    def backward(self, dy: Tensor) -> Tensor:
        dpooled = torch.zeros_like(self.pooled)
        dpooled.view(len(dy), 1, -1)[:, :, : self.width] = dy
        self.pooled.backward(dpooled)
        assert self.columns.grad is not None
        return self.columns.grad.view(len(self.columns), len(dy), -1).transpose(0, 1)[:, :, : self.width].contiguous()


class Stack:
    """A block's models as one: gives the logits of all members for a bag, and writes all of their gradients.

    Parameters
    ----------
    models
        Of one architecture that `can_stack` accepts. Their parameters become views of the stack's, with gradients, so
        that whatever is done to either is done to both.

    Examples
    --------
    >>> from bagwise.models.architecture import Architecture
    >>> models = [Architecture("embedding", "attention", "mi-net").build((3,), outputs=1, seed=s) for s in range(4)]
    >>> Stack(models).gradient(torch.ones(5, 3), target=1, scale=None).shape
    torch.Size([1, 4, 1])
    """

    def __init__(self, models: Sequence[MILModel]) -> None:
        first = models[0]
        encoders = [cast(FullyConnected, model.encoder) for model in models]
        self.shift = torch.stack([model.scaler.shift for model in models]).unsqueeze(1)
        self.factor = torch.stack([model.scaler.factor for model in models]).unsqueeze(1)
        self.narrow_shift = self.shift.to(self.factor.dtype)
        self.encoder = [
            Linear([cast(nn.Linear, cast(nn.Sequential, encoder[depth])[0]) for encoder in encoders], relu=True)
            for depth in range(len(encoders[0]))
        ]
        self.all_levels = isinstance(first.encoder, MultiLevel)
        self.aggregator: _Aggregator
        if isinstance(first, EmbeddingLevel):
            levels = cast(Sequence[EmbeddingLevel], models)
            self.aggregator = _Chain(
                [_pooling([m.pooling for m in levels]), Linear([cast(nn.Linear, m.head) for m in levels], relu=False)]
            )
        elif isinstance(first, InstanceLevel):
            scorers = cast(Sequence[InstanceLevel], models)
            self.aggregator = _Chain(
                [Linear([cast(nn.Linear, m.head) for m in scorers], relu=False), _pooling([m.pooling for m in scorers])]
            )
        elif isinstance(first, DeepSupervision):
            deep = cast(Sequence[DeepSupervision], models)
            self.aggregator = _Heads(
                [_pooling([cast(Pooling, m.poolings[n]) for m in deep]) for n in range(len(first.poolings))],
                [Linear([cast(nn.Linear, m.heads[n]) for m in deep], relu=False) for n in range(len(first.heads))],
            )
        else:
            residual = cast(Sequence[ResidualConnections], models)
            self.aggregator = _Sum(
                [_pooling([cast(Pooling, m.poolings[n]) for m in residual]) for n in range(len(residual[0].poolings))],
                Linear([cast(nn.Linear, m.head) for m in residual], relu=False),
            )
        self.embedding_width = sum(self._level_widths())

    def _level_widths(self) -> list[int]:
        widths = [layer.W.shape[1] for layer in self.encoder]
        return widths if self.all_levels else widths[-1:]

    @torch.no_grad()
    def gradient(self, instances: Tensor, target: int, scale: Tensor | None) -> Tensor:
        """Write the gradient of every member's loss on one bag.

        Parameters
        ----------
        instances
            The bag as `Bags` holds it, shape (K, D).
        target
            Its class number.
        scale
            What each unit of the embedding is multiplied with, shape (E, K, embedding_width): 0 where it is dropped,
            else 1 / (1 - rate). None drops nothing.

        Returns
        -------
        Tensor
            The logits, shape (H, E, C).
        """
        x = self._scaled(instances)
        outputs = []
        for layer in self.encoder:
            x = layer.forward(x)
            outputs.append(x)
        levels = outputs if self.all_levels else outputs[-1:]
        scales = None if scale is None else scale.split([level.shape[2] for level in levels], dim=2)
        if scales is not None:
            levels = [level * kept for level, kept in zip(levels, scales, strict=True)]

        logits = self.aggregator.forward(levels)
        dlevels = self.aggregator.backward(_loss_gradient(logits, target))

        if scales is not None:
            dlevels = [dlevel * kept for dlevel, kept in zip(dlevels, scales, strict=True)]
        dx = dlevels.pop()
        for layer in self.encoder[:0:-1]:
            dx = layer.backward(dx)
            if dlevels:
                dx += dlevels.pop()
        self.encoder[0].backward_parameters(dx)
        return logits

    def _scaled(self, instances: Tensor) -> Tensor:
        """Scale as `bagwise.models.scaling.Scaler` does, for all members."""
        exact = as_floating(instances, self.factor.dtype)
        count, width = exact.shape
        aligned = self.factor.new_empty(len(self.shift), count, whole(width, _LANES)).narrow(2, 0, width)
        shift = self.shift if exact.dtype == torch.float64 else self.narrow_shift
        return torch.sub(exact, shift, out=aligned).mul_(self.factor)


class _Aggregator(Protocol):
    """From the levels of the embedding, each (E, K, M), to logits (H, E, C), and back."""

    def forward(self, levels: list[Tensor]) -> Tensor: ...

    def backward(self, dlogits: Tensor) -> list[Tensor]: ...


class _Chain:
    """Pool and score, or score and pool."""

    def __init__(self, layers: list[Layer]) -> None:
        self.layers = layers

    def forward(self, levels: list[Tensor]) -> Tensor:
        (x,) = levels
        for layer in self.layers:
            x = layer.forward(x)
        return x.transpose(0, 1)

    def backward(self, dlogits: Tensor) -> list[Tensor]:
        dx = dlogits.transpose(0, 1)
        for layer in reversed(self.layers):
            dx = layer.backward(dx)
        return [dx]


class _Heads:
    """Deep supervision: every level has a head."""

    def __init__(self, poolings: list[Layer], heads: list[Linear]) -> None:
        self.branches = [_Chain([pooling, head]) for pooling, head in zip(poolings, heads, strict=True)]

    def forward(self, levels: list[Tensor]) -> Tensor:
        return torch.cat([branch.forward([level]) for branch, level in zip(self.branches, levels, strict=True)])

    def backward(self, dlogits: Tensor) -> list[Tensor]:
        parts = dlogits.split(1)
        return [branch.backward(part)[0] for branch, part in zip(self.branches, parts, strict=True)]


class _Sum:
    """Residual connections: the pooled levels are added up and scored."""

    def __init__(self, poolings: list[Layer], head: Linear) -> None:
        self.poolings = poolings
        self.head = head

    def forward(self, levels: list[Tensor]) -> Tensor:
        pooled = [pooling.forward(level) for pooling, level in zip(self.poolings, levels, strict=True)]
        return self.head.forward(torch.stack(pooled).sum(0)).transpose(0, 1)

    def backward(self, dlogits: Tensor) -> list[Tensor]:
        dz = self.head.backward(dlogits.transpose(0, 1))
        return [pooling.backward(dz) for pooling in self.poolings]


def can_stack(model: MILModel) -> bool:
    """Say whether models of this architecture can be stacked.

    Their encoder must be fully connected, their pooling have a stacked form, and their layers' widths be multiples of
    16, which keeps all members aligned in memory.

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
    poolings = [module for module in model.modules() if isinstance(module, Pooling)]
    known = all(pooling.columnwise or type(pooling) in (Attention, GatedAttention) for pooling in poolings)
    widths = [layer.out_features for layer in model.encoder.modules() if isinstance(layer, nn.Linear)]
    widths += [pooling.V.out_features for pooling in poolings if isinstance(pooling, Attention)]
    aligned = all(width % 16 == 0 for width in widths)
    return known and aligned and type(model.encoder) in (FullyConnected, MultiLevel)


def share(parameters: Sequence[Tensor], lanes: int = 1) -> tuple[Tensor, Tensor]:
    """Put members' parameters into one tensor, of which they become views, and likewise their gradients.

    Parameters
    ----------
    parameters
        One a member, of one shape.
    lanes
        The last axis is padded with zeros to a multiple of this.

    Returns
    -------
    tuple of Tensor
        Values and gradients, each of shape (E, ...).
    """
    *rest, width = parameters[0].shape
    values = parameters[0].data.new_zeros(len(parameters), *rest, whole(width, lanes))
    gradients = torch.zeros_like(values)
    for parameter, value, gradient in zip(parameters, values[..., :width], gradients[..., :width], strict=True):
        value.copy_(parameter.data)
        parameter.data, parameter.grad = value, gradient
    return values, gradients


def whole(count: int, lanes: int) -> int:
    """Round up to a multiple."""
    return -(-count // lanes) * lanes


def sigmoid_(x: Tensor) -> Tensor:
    """Compute the logistic function in place, by way of tanh."""
    return x.mul_(0.5).tanh_().add_(1).mul_(0.5)


def _pooling(poolings: Sequence[Pooling]) -> Layer:
    if isinstance(poolings[0], GatedAttention):
        return GatedAttentionStack(cast(Sequence[GatedAttention], poolings))
    if isinstance(poolings[0], Attention):
        return AttentionStack(cast(Sequence[Attention], poolings))
    return ColumnStack(poolings)


def _loss_gradient(logits: Tensor, target: int) -> Tensor:
    """Differentiate the summed negative log-likelihood: predicted minus true probabilities."""
    if logits.shape[2] == 1:
        return sigmoid_(logits.clone()).sub_(target)
    difference = logits.softmax(2)
    difference.select(2, target).sub_(1)
    return difference
