"""What the joint executor does on a CUDA device in one pass over memory where torch's operations take many."""

from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

__all__ = ["descend", "folded", "masks", "through_relu", "unfolded"]

_BLOCK = 1024
_COLUMNS = tl.constexpr(10)


@triton.jit
def _descend(
    values,
    gradients,
    means,
    squares,
    numbers,
    length,
    EPSILON: tl.constexpr,
    DECAYS: tl.constexpr,
    ADAM: tl.constexpr,
    BLOCK: tl.constexpr,
):
    member = tl.program_id(1).to(tl.int64)
    row = numbers + member * _COLUMNS
    if tl.load(row) > 0:
        at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        inside = at < length
        at = member * length + at
        rate = tl.load(row + 1)
        first = tl.load(row + 2)
        value = tl.load(values + at, inside)
        given = tl.load(gradients + at, inside) * tl.load(row + 9)
        mean = tl.load(means + at, inside)
        if DECAYS:
            given += tl.load(row + 6) * value
        adam = False
        if ADAM:
            adam = tl.load(row + 8) > 0
        if adam:
            second = tl.load(row + 3)
            square = second * tl.load(squares + at, inside) + (1 - second) * given * given
            mean += (1 - first) * (given - mean)
            if DECAYS:
                value *= 1 - rate * tl.load(row + 7)
            value -= rate / tl.load(row + 4) * mean / (tl.sqrt(square) / tl.load(row + 5) + EPSILON)
            tl.store(squares + at, square, inside)
        else:
            mean = first * mean + given
            value -= rate * (given + first * mean)
        tl.store(values + at, value, inside)
        tl.store(means + at, mean, inside)


def descend(
    value: Tensor, gradient: Tensor, slots: Sequence[Tensor], numbers: Tensor, decays: bool, epsilon: float
) -> None:
    """Update one parameter of all members, as `bagwise.training.descent.Descent` says, in place."""
    length = value[0].numel()
    grid = (triton.cdiv(length, _BLOCK), len(value))
    _descend[grid](
        value,
        gradient,
        slots[0],
        slots[-1],
        numbers,
        length,
        EPSILON=epsilon,
        DECAYS=decays,
        ADAM=len(slots) > 1,
        BLOCK=_BLOCK,
    )


@triton.jit
def _mixed(words):
    words = (words ^ (words >> 16)) * 0x7FEB352D
    words = (words ^ (words >> 15)) * 0x846CA68B
    return words ^ (words >> 16)


@triton.jit
def _masks(kept, by_member, thresholds, factors, rows, units, BLOCK: tl.constexpr):
    member = tl.program_id(1).to(tl.int64)
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < rows * units
    word = tl.load(by_member + member * rows + at // units, inside).to(tl.uint32)
    drawn = _mixed(word + (at % units).to(tl.uint32) * 0x9E3779B1).to(tl.int64)
    factor = tl.load(factors + member)
    tl.store(kept + member * rows * units + at, tl.where(drawn >= tl.load(thresholds + member), factor, 0.0), inside)


def masks(by_member: Tensor, thresholds: Tensor, factors: Tensor, units: int) -> Tensor:
    """Draw masks from a word a member and instance, as `bagwise.training.masks.joint_masks` says."""
    members, rows = by_member.shape
    kept = torch.empty(members, rows, units, dtype=factors.dtype, device=factors.device)
    grid: Any = (triton.cdiv(rows * units, _BLOCK), members)
    _masks[grid](kept, by_member, thresholds, factors, rows, units, BLOCK=_BLOCK)
    return kept


@triton.jit
def _through_relu(
    passed,
    sums,
    gradient,
    outputs,
    rows,
    units,
    part,
    parts,
    gradient_member,
    gradient_row,
    outputs_member,
    outputs_row,
    ROWS: tl.constexpr,
    UNITS: tl.constexpr,
):
    member = tl.program_id(2).to(tl.int64)
    unit = tl.program_id(0) * UNITS + tl.arange(0, UNITS)
    begin = tl.program_id(1) * part
    total = tl.zeros((UNITS,), dtype=sums.dtype.element_ty)
    for first in range(begin, begin + part, ROWS):
        row = first + tl.arange(0, ROWS)
        inside = (row[:, None] < rows) & (row[:, None] < begin + part) & (unit[None, :] < units)
        row = row[:, None].to(tl.int64)
        given = tl.load(gradient + member * gradient_member + row * gradient_row + unit[None, :], inside, other=0.0)
        reached = tl.load(outputs + member * outputs_member + row * outputs_row + unit[None, :], inside, other=0.0)
        given = tl.where(reached > 0, given, 0.0)
        tl.store(passed + (member * rows + row) * units + unit[None, :], given, inside)
        total += tl.sum(given.to(sums.dtype.element_ty), axis=0)
    tl.store(sums + (member * parts + tl.program_id(1)) * units + unit, total, unit < units)


def through_relu(gradient: Tensor, outputs: Tensor) -> tuple[Tensor, Tensor]:
    """Pass a gradient (E, N, M) through ReLU, and sum it over the rows, in one pass; sums have one order."""
    members, rows, units = gradient.shape
    if gradient.stride(2) != 1:
        gradient = gradient.contiguous()
    parts = min(16, triton.cdiv(rows, 64))
    part = triton.cdiv(rows, parts)
    passed = torch.empty(members, rows, units, dtype=gradient.dtype, device=gradient.device)
    wide = torch.float32 if gradient.dtype == torch.bfloat16 else gradient.dtype
    sums = torch.empty(members, parts, units, dtype=wide, device=gradient.device)
    block = min(128, triton.next_power_of_2(units))
    _through_relu[(triton.cdiv(units, block), parts, members)](
        passed,
        sums,
        gradient,
        outputs,
        rows,
        units,
        part,
        parts,
        gradient.stride(0),
        gradient.stride(1),
        outputs.stride(0),
        outputs.stride(1),
        ROWS=32,
        UNITS=block,
    )
    return passed, sums.sum(1)


@triton.jit
def _folded(weights, moved, weight, factor, shift, units, features, UNITS: tl.constexpr, BLOCK: tl.constexpr):
    member = tl.program_id(1).to(tl.int64)
    unit = tl.program_id(0) * UNITS + tl.arange(0, UNITS)
    total = tl.zeros((UNITS,), dtype=weight.dtype.element_ty)
    for first in range(0, features, BLOCK):
        feature = first + tl.arange(0, BLOCK)
        known = feature < features
        inside = (unit[:, None] < units) & known[None, :]
        at = (member * units + unit[:, None]) * features + feature[None, :]
        value = tl.load(weight + at, inside, other=0.0)
        total += tl.sum(value * tl.load(shift + member * features + feature, known, other=0.0)[None, :], axis=1)
        value *= tl.load(factor + member * features + feature, known, other=0.0)[None, :]
        tl.store(weights + at, value, inside)
    tl.store(moved + member * units + unit, total, unit < units)


def folded(weight: Tensor, factor: Tensor, shift: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Give weights (E, M, D) times the factors (E, D), in a type, and weights times the shifts, shape (E, M)."""
    members, units, features = weight.shape
    weights = torch.empty(members, units, features, dtype=dtype, device=weight.device)
    moved = torch.empty(members, units, dtype=weight.dtype, device=weight.device)
    grid = (triton.cdiv(units, 16), members)
    _folded[grid](weights, moved, weight, factor, shift, units, features, UNITS=16, BLOCK=128)
    return weights, moved


@triton.jit
def _unfolded(result, at_weight, at_bias, factor, shift, units, features, BLOCK: tl.constexpr):
    member = tl.program_id(2).to(tl.int64)
    row = member * units + tl.program_id(1)
    feature = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    known = feature < features
    given = tl.load(at_weight + row * features + feature, known).to(result.dtype.element_ty)
    given *= tl.load(factor + member * features + feature, known)
    given -= tl.load(at_bias + row) * tl.load(shift + member * features + feature, known)
    tl.store(result + row * features + feature, given, known)


def unfolded(at_weight: Tensor, at_bias: Tensor, factor: Tensor, shift: Tensor) -> Tensor:
    """Give the gradient at weights of the gradients at what `folded` made of them and at the biases, (E, M)."""
    members, units, features = at_weight.shape
    result = torch.empty(members, units, features, dtype=factor.dtype, device=factor.device)
    block = min(1024, triton.next_power_of_2(features))
    grid = (triton.cdiv(features, block), units, members)
    _unfolded[grid](result, at_weight.contiguous(), at_bias.contiguous(), factor, shift, units, features, BLOCK=block)
    return result
