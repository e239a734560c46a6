"""The first thing a model does to an instance: bring its numbers to a common scale."""

from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

__all__ = ["Moments", "Scaler"]


class Scaler(nn.Module):
    """Cast instances to the model's floating point and compute (x - shift) * factor.

    Parameters
    ----------
    shift, factor
        Arrays that broadcast against an instance. A learnt standardisation has one value a feature; pixels of 8 bits
        have 0 and 1/255; what needs no scaling has 0 and 1.
    dtype
        What the model computes in.

    Examples
    --------
    >>> Scaler(np.array([1.0]), np.array([0.5]), torch.float32)(torch.tensor([[3.0]])).item()
    1.0
    """

    shift: Tensor
    factor: Tensor

    def __init__(self, shift: NDArray[np.float64], factor: NDArray[np.float64], dtype: torch.dtype) -> None:
        super().__init__()
        # The shift keeps double precision: large values that differ little (years, time stamps) must not be rounded
        # before it.
        self.register_buffer("shift", torch.as_tensor(shift, dtype=torch.float64))
        self.register_buffer("factor", torch.as_tensor(factor, dtype=dtype))

    def forward(self, instances: Tensor) -> Tensor:
        """Scale instances.

        Parameters
        ----------
        instances
            Shape (N, ...), any real type.

        Returns
        -------
        Tensor
            Shape (N, ...), in the model's floating point.
        """
        if instances.dtype != torch.float64:
            instances = instances.to(self.factor.dtype)
        shifted = instances - self.shift.to(instances.dtype)
        return shifted.to(self.factor.dtype) * self.factor


class Moments:
    """Number, mean and spread of the instances of each bag, from which any choice of bags gets its scaler.

    One pass over the data serves every member of a training; a member's scaler comes from its own training bags alone.

    Parameters
    ----------
    counts
        Instances a bag, shape (B,).
    means
        Mean of each feature in each bag, shape (B, D).
    squares
        Sum of squared deviations from that mean, shape (B, D).

    Examples
    --------
    >>> moments = Moments.of(np.array([[1.0], [3.0], [5.0]]), np.array([0, 2, 3]))
    >>> shift, factor = moments.standardisation([0])
    >>> shift.tolist(), factor.tolist()
    ([2.0], [1.0])
    """

    def __init__(self, counts: NDArray[np.int64], means: NDArray[np.float64], squares: NDArray[np.float64]) -> None:
        self.counts = counts
        self.means = means
        self.squares = squares

    @classmethod
    def of(cls, instances: NDArray[np.number], offsets: NDArray[np.int64]) -> "Moments":
        """Compute the moments of packed bags.

        Parameters
        ----------
        instances
            Shape (N, D).
        offsets
            Shape (B + 1,).

        Returns
        -------
        Moments
        """
        bags = [instances[begin:end].astype(np.float64) for begin, end in pairwise(offsets)]
        means = np.stack([bag.mean(axis=0) for bag in bags])
        squares = np.stack([((bag - mean) ** 2).sum(axis=0) for bag, mean in zip(bags, means, strict=True)])
        return cls(np.diff(offsets), means, squares)

    def standardisation(self, bags: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Give the shift and factor that bring the instances of some bags to mean 0 and standard deviation 1.

        A feature that is constant over these bags is only shifted, so that a new value elsewhere does not explode.

        Parameters
        ----------
        bags
            Positions of the bags.

        Returns
        -------
        tuple of arrays
            Shift and factor, each of shape (D,).
        """
        counts, means = self.counts[bags, None], self.means[bags]
        total = counts.sum()
        mean = (counts * means).sum(axis=0) / total
        variance = (self.squares[bags].sum(axis=0) + (counts * (means - mean) ** 2).sum(axis=0)) / total
        # The rounding error that the variance of a constant can have.
        noise = total * np.finfo(np.float64).eps * variance + (total * np.finfo(np.float64).eps * mean) ** 2
        factor = np.where(variance <= noise, 1.0, 1.0 / np.sqrt(np.where(variance <= noise, 1.0, variance)))
        return mean, factor
