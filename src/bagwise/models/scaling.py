"""The first thing a model does to an instance: bring its numbers to a common scale."""

from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bagwise.checks import constant_features
from bagwise.errors import BagwiseError
from bagwise.stored import StoredInstances

__all__ = ["LINEAR", "Moments", "RangeError", "Scaler", "as_floating", "squashed"]

# How far from 0 a squashed number is itself.
LINEAR = 4.0


class RangeError(BagwiseError):
    """Instances that are no numbers any more once they are scaled."""


class Scaler(nn.Module):
    """Cast instances to the model's floating point and compute (x - shift) * factor, at most `limit` either way.

    Parameters
    ----------
    shift, factor
        Arrays that broadcast against an instance. A learnt standardisation has one value a feature; pixels of 8 bits
        have 0 and 1/255; what needs no scaling has 0 and 1.
    dtype
        What the model computes in.
    limit
        The largest absolute value; infinity leaves all as they are.
    squash
        Whether it is `squashed`, before it is limited.

    Examples
    --------
    >>> Scaler(np.array([1.0]), np.array([0.5]), torch.float32)(torch.tensor([[3.0]])).item()
    1.0
    """

    shift: Tensor
    factor: Tensor
    limit: Tensor
    rounded: Tensor
    # How many of the numbers that it gives, the last, belong to the bag and not to the instance.
    beside: int = 0

    def __init__(
        self,
        shift: NDArray[np.float64],
        factor: NDArray[np.float64],
        dtype: torch.dtype,
        limit: float = np.inf,
        squash: bool = False,
    ) -> None:
        super().__init__()
        self._squashes = squash
        # The shift keeps double precision: large values that differ little (years, time stamps) must not be rounded
        # before it.
        self.register_buffer("shift", torch.as_tensor(shift, dtype=torch.float64))
        self.register_buffer("factor", torch.as_tensor(factor, dtype=dtype))
        self.register_buffer("limit", torch.as_tensor(limit, dtype=dtype))
        self.register_buffer("rounded", None, persistent=False)
        self._note()

    def _note(self) -> None:
        """Note whether there is anything to do, which for large bags is worth knowing, and round the shift once."""
        self.rounded = self.shift.to(self.factor.dtype)
        self._changes = bool(self.shift.any()) or bool((self.factor != 1).any())
        self._clips = bool(torch.isfinite(self.limit))

    @property
    def acts(self) -> tuple[bool, bool, bool]:
        """Say whether it moves or stretches instances, whether it squashes them, and whether it limits them."""
        return self._changes, self._squashes, self._clips

    def cast(self, dtype: torch.dtype) -> None:
        """Let it compute in another type; the shift keeps double precision."""
        self.factor, self.limit = self.factor.to(dtype), self.limit.to(dtype)
        self._note()

    def _load_from_state_dict(self, *arguments: Any, **options: Any) -> None:
        super()._load_from_state_dict(*arguments, **options)
        self._note()

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

        Raises
        ------
        RangeError
            In prediction, if a value is out of range once it is scaled: an activation might make an answer of it. What
            is learnt from was looked at before training.
        """
        scaled = self.scaled(instances)
        if self.training or torch.compiler.is_exporting():
            return scaled
        # The sum is not finite where a value is not, and takes no memory.
        if not torch.isfinite(scaled.sum()) and not torch.isfinite(scaled).all():
            raise RangeError("an instance is out of range once it is scaled: look for extreme values")
        return scaled

    def scaled(self, instances: Tensor) -> Tensor:
        """Scale instances, and let pass what becomes of them.

        Parameters
        ----------
        instances
            Shape (N, ...), any real type.

        Returns
        -------
        Tensor
            Shape (N, ...), in the model's floating point.
        """
        factor = self.factor
        exact = as_floating(instances, factor.dtype)
        if self._changes:
            exact = exact - (self.rounded if exact.dtype == factor.dtype else self.shift)
        scaled = exact.to(factor.dtype)
        if self._changes:
            scaled = scaled.mul_(factor)
        if self._squashes:
            scaled = squashed(scaled)
        return scaled.clamp(-self.limit, self.limit) if self._clips else scaled


def squashed(scaled: Tensor) -> Tensor:
    """Let numbers grow as their logarithm where they are far from 0.

    Parameters
    ----------
    scaled
        Any shape, floating point.

    Returns
    -------
    Tensor
        Within `LINEAR` of 0 the numbers themselves; z beyond it is c + log |z / c| for this c, with the sign of z.

    Examples
    --------
    >>> squashed(torch.tensor([-0.5, 4.0, 8.0, -4e6], dtype=torch.float64)).numpy().round(2).tolist()
    [-0.5, 4.0, 4.69, -17.82]
    """
    return scaled.clamp(-LINEAR, LINEAR) + scaled.sign() * (scaled.abs() / LINEAR).clamp(min=1).log()


def as_floating(instances: Tensor, dtype: torch.dtype) -> Tensor:
    """Cast instances to a floating point that keeps the differences between their values.

    Parameters
    ----------
    instances
        Any real type.
    dtype
        What the model computes in.

    Returns
    -------
    Tensor
        In double precision where the instances may need it (large whole numbers such as time stamps), else in `dtype`.

    Examples
    --------
    >>> as_floating(torch.tensor([1_700_000_001]), torch.float32).dtype, as_floating(torch.ones(1), torch.float32).dtype
    (torch.float64, torch.float32)
    """
    return instances.to(torch.float64 if instances.dtype in _WIDE else dtype)


_WIDE = (torch.float64, torch.int64, torch.int32)


class Moments:
    """Mean, spread and range of the instances of each bag, from which any choice of bags gets its scaler.

    One pass over the data serves every member of a training; a member's scaler comes from its own training bags alone.

    Parameters
    ----------
    instances
        Vectors, shape (N, D).
    offsets
        Shape (B + 1,).

    Examples
    --------
    >>> moments = Moments(np.array([[1.0], [3.0], [5.0]]), np.array([0, 2, 3]))
    >>> shift, factor = moments.standardisation([0])
    >>> shift.tolist(), factor.tolist()
    ([2.0], [1.0])
    """

    def __init__(self, instances: NDArray[np.number] | StoredInstances, offsets: NDArray[np.int64]) -> None:
        self.counts = np.diff(offsets)
        self.means, self.squares, self.lowest, self.highest = np.zeros((4, len(self.counts), *instances.shape[1:]))
        for number, (begin, end) in enumerate(pairwise(offsets)):
            bag = instances[begin:end].astype(np.float64)
            # Differences from an instance keep their digits, however large the values. Of what overflows no scaler is
            # made.
            with np.errstate(over="ignore", invalid="ignore"):
                deviations = bag - bag[0]
                mean = deviations.mean(axis=0)
                self.means[number] = bag[0] + mean
                self.squares[number] = ((deviations - mean) ** 2).sum(axis=0)
            self.lowest[number], self.highest[number] = bag.min(axis=0), bag.max(axis=0)

    def standardisation(self, bags: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Give the shift and factor that bring the instances of some bags to mean 0 and standard deviation 1.

        It is for features that `bagwise.checks.check_span` lets pass. One that is constant over these bags, but for
        rounding, is only shifted, so that a new value elsewhere does not explode.

        Parameters
        ----------
        bags
            Positions of the bags.

        Returns
        -------
        tuple of arrays
            Shift and factor, each of shape (D,).
        """
        lowest, highest = self.range(bags)
        counts, origin = self.counts[bags, None], self.means[bags[0]]
        deviations = self.means[bags] - origin
        total = counts.sum()
        mean = (counts * deviations).sum(axis=0) / total
        variance = (self.squares[bags].sum(axis=0) + (counts * (deviations - mean) ** 2).sum(axis=0)) / total
        constant = constant_features(lowest, highest)
        return origin + mean, np.where(constant, 1.0, 1.0 / np.sqrt(np.where(constant, 1.0, variance)))

    def range(self, bags: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Give the lowest and the highest value of each feature over some bags.

        Parameters
        ----------
        bags
            Positions of the bags.

        Returns
        -------
        tuple of arrays
            Each of shape (D,).
        """
        return self.lowest[bags].min(axis=0), self.highest[bags].max(axis=0)
