"""What a step shows of its bags: some of the instances, or all, changed at random or as they are."""

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from bagwise.training.augmentation import AUGMENTATIONS
from bagwise.training.randomness import hashed

__all__ = ["augmented", "sampled_rows"]

# So that these draw other numbers than the encoder from the same seed.
_AUGMENTATION, _SAMPLE = 1, 2


def sampled_rows(sizes: ArrayLike, most: int, seed: int, keys: NDArray[np.uint64]) -> tuple[Tensor, Tensor]:
    """Draw at most so many instances of each bag of a step; they keep their order.

    Parameters
    ----------
    sizes
        Of the bags, shape (b,).
    most
        How many.
    seed
        Of the step.
    keys
        Of the bags, shape (b,): with the seed they decide what is drawn.

    Returns
    -------
    tuple of Tensor
        Which of the bags' packed instances, shape (N,), and the offsets of these, shape (b + 1,), on the CPU.

    Examples
    --------
    >>> rows, offsets = sampled_rows([1, 5], 2, seed=0, keys=np.array([3, 4], dtype=np.uint64))
    >>> offsets.tolist(), rows.tolist()[0]
    ([0, 1, 3], 0)
    """
    rows, begin = [], 0
    for size, own in zip(np.asarray(sizes).tolist(), hashed(seed, _SAMPLE, keys).tolist(), strict=True):
        if size <= most:
            rows.append(torch.arange(begin, begin + size))
        else:
            generator = torch.Generator().manual_seed(own)
            rows.append(torch.randperm(size, generator=generator)[:most].sort().values + begin)
        begin += size
    return torch.cat(rows), torch.tensor([0, *map(len, rows)]).cumsum(0)


def augmented(instances: Tensor, name: str, seed: int, crop: int | None) -> Tensor:
    """Change the instances of a step at random.

    Parameters
    ----------
    instances
        Shape (N, ...).
    name
        In `bagwise.training.augmentation.AUGMENTATIONS`.
    seed
        Of the step.
    crop
        Side of the square that is wanted; None: all.

    Returns
    -------
    Tensor
        Shape (N, ...), floating point.

    Examples
    --------
    >>> augmented(torch.zeros(2, 28, 28, dtype=torch.uint8), "affine", 0, None).shape
    torch.Size([2, 28, 28])
    """
    generator = torch.Generator().manual_seed(int(hashed(seed, _AUGMENTATION)[0]))
    return AUGMENTATIONS[name](instances, generator, crop)
