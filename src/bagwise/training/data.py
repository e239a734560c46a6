"""Bags as tensors."""

import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bagwise.bags import Bags

__all__ = ["PackedTensors", "as_tensor"]


def as_tensor(array: NDArray[Any]) -> Tensor:
    """See an array as a tensor, without a copy where torch knows its type.

    Parameters
    ----------
    array
        Real numbers; it is not written to.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> as_tensor(np.arange(3, dtype=">u2"))
    tensor([0., 1., 2.], dtype=torch.float64)
    """
    if array.dtype.kind == "u" and array.dtype.itemsize > 1:
        array = array.astype(np.float64)  # torch has no arithmetic on these
    elif not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    with warnings.catch_warnings():
        # Bags are read-only, which tensors cannot be; nothing here writes to them.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


class PackedTensors:
    """Bags and the class numbers of their labels, ready to be cut into batches.

    Parameters
    ----------
    bags
        The bags.
    targets
        Class numbers, shape (B,), int64; None where nothing is learnt.

    Examples
    --------
    >>> packed = PackedTensors(Bags.from_arrays([[[1.0], [2.0]], [[3.0]]]), np.array([0, 1]))
    >>> instances, offsets, targets = packed.batch(np.array([1, 0]), torch.device("cpu"))
    >>> instances.tolist(), offsets.tolist(), targets.tolist()
    ([[3.0], [1.0], [2.0]], [0, 1, 3], [1, 0])
    """

    def __init__(self, bags: Bags, targets: NDArray[np.int64] | None = None) -> None:
        self.instances = as_tensor(bags.instances)
        self.offsets = bags.offsets
        self.sizes = bags.sizes
        self.keys = bags.keys
        self.targets = torch.from_numpy(np.zeros(len(bags), np.int64) if targets is None else targets)

    def batch(self, positions: NDArray[np.int64], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Pack some bags.

        Parameters
        ----------
        positions
            Which bags, in the order to pack them.
        device
            Where to.

        Returns
        -------
        tuple of Tensor
            Instances (N, ...) as the bags hold them, offsets (b + 1,), targets (b,).
        """
        parts = [self.instances[self.offsets[position] : self.offsets[position + 1]] for position in positions]
        instances = parts[0] if len(parts) == 1 else torch.cat(parts)
        offsets = np.concatenate([[0], np.cumsum(self.sizes[positions])])
        targets = self.targets[positions]
        return instances.to(device), torch.from_numpy(offsets).to(device), targets.to(device)
