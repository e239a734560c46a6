"""What the classifier of a bag is told beside what its instances were pooled to."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bagwise.segments import segment_lengths

__all__ = ["Beside"]


class Beside(nn.Module):
    """What the classifier of a bag is told beside its vector: how many instances there are, and what else it has.

    Of the number it is told the logarithm, which is brought to mean 0 and standard deviation 1 over the bags learnt
    from; where these are all of one size, it is 0 for them, and what it is for others nobody has learnt.

    Parameters
    ----------
    size
        Whether it is told the number of instances.
    columns
        How many other numbers belong to the bag. All of its instances have them, as the last that the scaler gives.

    Examples
    --------
    >>> beside = Beside()
    >>> beside.learn_of_sizes(np.array([1, 1, 100, 100]))
    >>> beside(torch.tensor([0, 1, 11, 111])).round(decimals=3).tolist()
    [[-1.0], [0.0], [1.0]]
    """

    shift: Tensor
    factor: Tensor

    def __init__(self, size: bool = True, columns: int = 0) -> None:
        super().__init__()
        self.columns = columns
        self.register_buffer("shift", torch.zeros(int(size), dtype=torch.float64))
        self.register_buffer("factor", torch.ones(int(size), dtype=torch.float64))

    @property
    def width(self) -> int:
        """How many numbers they are."""
        return len(self.shift) + self.columns

    def learn_of_sizes(self, sizes: NDArray[np.int64]) -> None:
        """Learn the scale.

        Parameters
        ----------
        sizes
            Of the bags learnt from, shape (B,).
        """
        values = np.log(sizes.astype(np.float64))[:, None][:, : len(self.shift)]
        spread = values.std(axis=0)
        constant = values.min(axis=0) == values.max(axis=0)
        self.shift.copy_(torch.from_numpy(values.mean(axis=0)))
        self.factor.copy_(torch.from_numpy(1 / np.where(constant, 1, spread)))

    def forward(self, offsets: Tensor, told: Tensor | None = None) -> Tensor:
        """Say it of packed bags.

        Parameters
        ----------
        offsets
            Shape (B + 1,).
        told
            What instances say of their bags, shape (N, columns); None where that is nothing.

        Returns
        -------
        Tensor
            Shape (B, width), in double precision.
        """
        sizes = (segment_lengths(offsets).double().log().unsqueeze(1) - self.shift) * self.factor
        return sizes if told is None else torch.cat([sizes, told[offsets[:-1]].double()], dim=1)

    def cut(self, values: Tensor) -> tuple[Tensor, Tensor | None]:
        """Part what instances have of their own from what they say of their bags."""
        if not self.columns:
            return values, None
        return values[:, : -self.columns], values[:, -self.columns :]
