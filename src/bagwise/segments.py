"""Arithmetic on packed bags: every function treats each bag as a set, without a loop over bags.

Values are packed along their first axis; bag ``b`` is ``values[offsets[b]:offsets[b + 1]]``, and no bag is empty. A set
of one bag takes the dense operation, which is what the segment operation would compute, only faster and summed
pairwise. While `torch.export` looks on, nothing is decided by how many bags or instances there happen to be. On a CUDA
device nothing waits for the device, and sums have one order.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import cast

import torch
from torch import Tensor

__all__ = [
    "rows_to_spare",
    "segment_argmax",
    "segment_lengths",
    "segment_logsumexp",
    "segment_max",
    "segment_mean",
    "segment_ranks",
    "segment_repeat",
    "segment_softmax",
    "segment_sum",
    "segment_weighted_sum",
]


# How many rows there are, where the only bag may end before them.
_ROWS: ContextVar[int | None] = ContextVar("rows", default=None)
# The largest table of bags and instances that a sum on a CUDA device makes.
_TABLE = 1 << 24


@contextmanager
def rows_to_spare(rows: int) -> Iterator[None]:
    """Let the only bag of a set end before its rows do: what lies beyond it counts nothing.

    So bags of many sizes have one shape, which a captured CUDA graph needs.

    Parameters
    ----------
    rows
        How many there are.

    Examples
    --------
    >>> with rows_to_spare(3):
    ...     segment_sum(torch.tensor([1.0, 2.0, 7.0]), torch.tensor([0, 2])).tolist()
    [3.0]
    """
    before = _ROWS.set(rows)
    try:
        yield
    finally:
        _ROWS.reset(before)


def segment_lengths(offsets: Tensor) -> Tensor:
    """Count the instances of each bag.

    Parameters
    ----------
    offsets
        Shape (B + 1,), int64.

    Returns
    -------
    Tensor
        Shape (B,), int64.

    Examples
    --------
    >>> segment_lengths(torch.tensor([0, 2, 5])).tolist()
    [2, 3]
    """
    return offsets.diff()


def segment_repeat(values: Tensor, offsets: Tensor) -> Tensor:
    """Give each instance the value of its bag.

    Parameters
    ----------
    values
        Shape (B, ...).
    offsets
        Shape (B + 1,), int64.

    Returns
    -------
    Tensor
        Shape (N, ...).

    Examples
    --------
    >>> segment_repeat(torch.tensor([1.0, 2.0]), torch.tensor([0, 2, 5])).tolist()
    [1.0, 1.0, 2.0, 2.0, 2.0]
    """
    if torch.compiler.is_exporting():  # counting where bags begin takes no matrix of bags and instances, as ONNX would
        begins, instances = offsets[1:-1], cast(int, offsets[-1].item())
        return values[begins.new_zeros(instances).scatter_add(0, begins, torch.ones_like(begins)).cumsum(0)]
    return _repeated(values, offsets, _ROWS.get())


def segment_sum(values: Tensor, offsets: Tensor) -> Tensor:
    """Sum over the instances of each bag.

    Parameters
    ----------
    values
        Shape (N, ...), floating point.
    offsets
        Shape (B + 1,), int64.

    Returns
    -------
    Tensor
        Shape (B, ...).

    Examples
    --------
    >>> segment_sum(torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]), torch.tensor([0, 2, 5])).tolist()
    [3.0, 12.0]
    """
    if _one_bag(offsets):
        return _within(values, offsets, 0.0).sum(0, keepdim=True)
    if values.is_cuda:
        return _sum_in_order(values, offsets)
    return _empty(values, offsets, 0.0).scatter_add(0, _bag_of_each(values, offsets), values)


def segment_weighted_sum(weights: Tensor, values: Tensor, offsets: Tensor) -> Tensor:
    """Add up the instances of each bag, each times its weight (paper, equation 7).

    Parameters
    ----------
    weights
        Shape (N, 1), floating point.
    values
        Shape (N, M), floating point.
    offsets
        Shape (B + 1,), int64.

    Returns
    -------
    Tensor
        Shape (B, M).

    Examples
    --------
    >>> weights = torch.tensor([[0.5], [0.5], [1.0]])
    >>> segment_weighted_sum(weights, torch.tensor([[1.0], [3.0], [4.0]]), torch.tensor([0, 2, 3])).tolist()
    [[2.0], [4.0]]
    """
    if _one_bag(offsets):
        return _within(weights, offsets, 0.0).mT @ values
    return segment_sum(weights * values, offsets)


def segment_mean(values: Tensor, offsets: Tensor) -> Tensor:
    """Average over the instances of each bag (paper, equation 6).

    Parameters
    ----------
    values
        Shape (N, ...), floating point.
    offsets
        Shape (B + 1,), int64.

    Returns
    -------
    Tensor
        Shape (B, ...).

    Examples
    --------
    >>> segment_mean(torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]), torch.tensor([0, 2, 5])).tolist()
    [1.5, 4.0]
    """
    total = segment_sum(values, offsets)
    lengths = segment_lengths(offsets).to(values.dtype)
    return total / lengths.reshape(-1, *[1] * (values.ndim - 1))


def segment_max(values: Tensor, offsets: Tensor) -> Tensor:
    """Take the maximum over the instances of each bag (paper, equation 5).

    Where several instances reach the maximum they share its gradient evenly, so the gradient does not depend on their
    order.

    Parameters
    ----------
    values
        Shape (N, ...), floating point.
    offsets
        Shape (B + 1,), int64.

    Returns
    -------
    Tensor
        Shape (B, ...).

    Examples
    --------
    >>> segment_max(torch.tensor([1.0, 2.0, 5.0, 4.0, 3.0]), torch.tensor([0, 2, 5])).tolist()
    [2.0, 5.0]
    """
    if _one_bag(offsets):
        return _within(values, offsets, -torch.inf).amax(0, keepdim=True)
    empty = _empty(values, offsets, -torch.inf)
    return empty.scatter_reduce(0, _bag_of_each(values, offsets), values, "amax", include_self=False)


def segment_argmax(values: Tensor, offsets: Tensor) -> Tensor:
    """Find where each bag has its maximum: the first of those who reach it.

    Parameters
    ----------
    values
        Shape (N, ...), floating point.
    offsets
        Shape (B + 1,), int64.

    Returns
    -------
    Tensor
        Positions among all instances, shape (B, ...), int64.

    Examples
    --------
    >>> segment_argmax(torch.tensor([1.0, 2.0, 5.0, 4.0, 5.0]), torch.tensor([0, 2, 5])).tolist()
    [1, 2]
    """
    if _one_bag(offsets):
        return _within(values, offsets, -torch.inf).argmax(0, keepdim=True)
    rows = values.shape[0]
    best = _repeated(segment_max(values, offsets), offsets, rows)
    place = torch.arange(rows, device=values.device).reshape(-1, *[1] * (values.ndim - 1))
    places = torch.where(values == best, place, rows)
    return _empty(places, offsets, rows).scatter_reduce(0, _bag_of_each(places, offsets), places, "amin")


def segment_ranks(values: Tensor, offsets: Tensor) -> Tensor:
    """Rank the instances of each bag by their values, from 0 for the lowest; of equal ones the first is the lower.

    Parameters
    ----------
    values
        Shape (N, ...), floating point.
    offsets
        Shape (B + 1,), int64.

    Returns
    -------
    Tensor
        Shape (N, ...), int64.

    Examples
    --------
    >>> segment_ranks(torch.tensor([7.0, 1.0, 3.0, 5.0, 4.0]), torch.tensor([0, 2, 5])).tolist()
    [1, 0, 0, 2, 1]
    """
    order = values.argsort(dim=0, stable=True)
    if not _one_bag(offsets):
        bag = _repeated(torch.arange(offsets.shape[0] - 1, device=offsets.device), offsets, values.shape[0])
        order = order.gather(0, bag[order].argsort(dim=0, stable=True))
    place = torch.arange(values.shape[0], device=values.device).reshape(-1, *[1] * (values.ndim - 1))
    ranks = torch.zeros_like(order).scatter(0, order, place.expand_as(order))
    begins = _repeated(offsets[:-1], offsets, values.shape[0])
    return ranks - begins.reshape(-1, *[1] * (values.ndim - 1))


def segment_logsumexp(values: Tensor, offsets: Tensor) -> Tensor:
    """Compute log(sum(exp(values))) over the instances of each bag, without overflow.

    Parameters
    ----------
    values
        Shape (N, ...), floating point.
    offsets
        Shape (B + 1,), int64.

    Returns
    -------
    Tensor
        Shape (B, ...).

    Examples
    --------
    >>> segment_logsumexp(torch.tensor([1000.0, 1000.0, -1000.0]), torch.tensor([0, 2, 3])).tolist()
    [1000.69..., -1000.0]
    """
    highest = segment_max(values.detach(), offsets)
    scaled = (values - _repeated(highest, offsets, values.shape[0])).exp()
    return segment_sum(scaled, offsets).log() + highest


def segment_softmax(values: Tensor, offsets: Tensor) -> Tensor:
    """Turn scores into weights that are positive and sum to 1 over each bag (the outer part of the paper's equation 8).

    Parameters
    ----------
    values
        Shape (N, ...), floating point.
    offsets
        Shape (B + 1,), int64.

    Returns
    -------
    Tensor
        Shape (N, ...).

    Examples
    --------
    >>> segment_softmax(torch.tensor([7.0, 7.0, 1.0]), torch.tensor([0, 2, 3])).tolist()
    [0.5, 0.5, 1.0]
    """
    if _one_bag(offsets):
        return _within(values, offsets, -torch.inf).softmax(0)
    highest = segment_max(values.detach(), offsets)
    scaled = (values - _repeated(highest, offsets, values.shape[0])).exp()
    return scaled / _repeated(segment_sum(scaled, offsets), offsets, values.shape[0])


def _one_bag(offsets: Tensor) -> bool:
    return not torch.compiler.is_exporting() and len(offsets) == 2


def _within(values: Tensor, offsets: Tensor, neutral: float) -> Tensor:
    """Put what counts nothing into the rows beyond the only bag, where there may be some."""
    if _ROWS.get() is None:
        return values
    beyond = torch.arange(values.shape[0], device=values.device) >= offsets[-1]
    return values.masked_fill(beyond.reshape(-1, *[1] * (values.ndim - 1)), neutral)


def _repeated(values: Tensor, offsets: Tensor, rows: int | None) -> Tensor:
    """Repeat as `segment_repeat` says; who knows how many rows there are need not wait for a device to count them."""
    if torch.compiler.is_exporting():
        return segment_repeat(values, offsets)
    if rows is not None and _one_bag(offsets):
        return values.expand(rows, *values.shape[1:])
    return values.repeat_interleave(segment_lengths(offsets), dim=0, output_size=rows)


def _sum_in_order(values: Tensor, offsets: Tensor) -> Tensor:
    """Sum on a CUDA device, where to scatter would add in whatever order threads come."""
    bags, rows = offsets.shape[0] - 1, values.shape[0]
    if bags * rows > _TABLE:
        summed: Tensor = torch.segment_reduce(values, "sum", offsets=offsets, axis=0, unsafe=True)
        return summed
    place = torch.arange(rows, device=values.device)
    members = (place >= offsets[:-1, None]) & (place < offsets[1:, None])
    return (members.to(values.dtype) @ values.reshape(rows, -1)).reshape(bags, *values.shape[1:])


def _empty(values: Tensor, offsets: Tensor, fill: float) -> Tensor:
    return values.new_full((offsets.shape[0] - 1, *values.shape[1:]), fill)


def _bag_of_each(values: Tensor, offsets: Tensor) -> Tensor:
    bags = _repeated(torch.arange(offsets.shape[0] - 1, device=offsets.device), offsets, values.shape[0])
    return bags.reshape(-1, *[1] * (values.ndim - 1)).expand_as(values)
