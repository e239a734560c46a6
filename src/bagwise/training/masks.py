"""Which units each of many members drops: a function of the member, the epoch and the instance's place."""

import torch
from torch import Tensor

from bagwise.training.fused import fused

__all__ = ["joint_masks"]

_WORD = 0xFFFFFFFF


def joint_masks(seeds: Tensor, rates: Tensor, first: Tensor, rows: int, units: int, dtype: torch.dtype) -> Tensor:
    """Draw which units stay, for neighbouring instances of many members, where the seeds are.

    What is drawn for an instance depends on the member's seed and on the instance's place among all, so neither on the
    company nor on how instances are put together; and it is the same on every device.

    Parameters
    ----------
    seeds
        Of each member in this epoch, whole numbers from 0 to 2**63 - 1, shape (E,).
    rates
        Share of units that each member drops, shape (E,), float64.
    first
        Place of the first instance, shape (), int64.
    rows
        Number of instances.
    units
        Of each instance.
    dtype
        Of the result.

    Returns
    -------
    Tensor
        Shape (E, rows, units): 0 where a unit is dropped, else 1 / (1 - rate).

    Examples
    --------
    >>> seeds, rates = torch.tensor([3, 4]), torch.tensor([0.5, 0.0], dtype=torch.float64)
    >>> joint_masks(seeds, rates, torch.tensor(0), rows=2, units=3, dtype=torch.float32)[1].tolist()
    [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]
    """
    # A share in units of 2**-32 is exact, and compares as whole numbers.
    thresholds = (rates * 2.0**32).long()
    factors = (1 / (1 - rates)).to(dtype)
    places = first + torch.arange(rows, device=seeds.device)
    by_member = _mixed(_mixed(seeds[:, None] & _WORD ^ _mixed(places & _WORD)) ^ (seeds[:, None] >> 32))
    kernels = fused() if seeds.is_cuda else None
    if kernels is not None:
        kept: Tensor = kernels.masks(by_member, thresholds, factors, units)
        return kept
    numbers = torch.arange(units, device=seeds.device) * 0x9E3779B1 & _WORD
    drawn = _mixed(by_member[:, :, None] + numbers & _WORD)
    return (drawn >= thresholds[:, None, None]).to(dtype) * factors[:, None, None]


def _mixed(words: Tensor) -> Tensor:
    """Mix 32-bit words, held in int64, into random-looking ones: two rounds of shift, exclusive or and product."""
    words = (words ^ words >> 16) * 0x7FEB352D & _WORD
    words = (words ^ words >> 15) * 0x846CA68B & _WORD
    return words ^ words >> 16
