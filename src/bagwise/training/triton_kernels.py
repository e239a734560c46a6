"""What the joint executor does on a CUDA device in one pass over memory where torch's operations take many."""

from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

__all__ = ["descend", "masks"]

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
