"""What training will take, reckoned from sizes alone: before anything is loaded that trains.

The figures were measured on one core of a server's processor, in single precision; another core takes half or twice as
long, and a part of the user's own, whose shapes of parameters need not say what it computes, may take longer.
"""

from collections.abc import Collection, Sequence
from math import prod
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["LARGE_BAG", "MOST_COMPILED", "Work", "default_shapes", "epoch_seconds"]


class Work(NamedTuple):
    """Seconds that a step takes: of one bag, forward, backward and the update.

    Attributes
    ----------
    step
        Whatever is learnt.
    parameter
        More for each parameter.
    instance
        More for each instance.
    product
        More for each product of a parameter and a number of an instance.

    Examples
    --------
    >>> Work(1.0, 0.0, 0.5, 0.0).seconds([(3, 2)], (2,), [4, 6])
    7.0
    """

    step: float
    parameter: float
    instance: float
    product: float

    def seconds(self, shapes: Collection[Sequence[int]], instance_shape: Sequence[int], sizes: ArrayLike) -> float:
        """Reckon an epoch of one model.

        Parameters
        ----------
        shapes
            Of the model's parameters.
        instance_shape
            Of one instance.
        sizes
            Number of instances of each bag.

        Returns
        -------
        float
        """
        instances = np.asarray(sizes)
        # Poolings take the place of most pixels: what a convolution does is done at an eighth of them, more or less.
        products = sum(
            prod(shape) * (prod(instance_shape[:2]) / 8 if len(shape) == 4 else len(shape) == 2) for shape in shapes
        )
        once = self.step + self.parameter * sum(map(prod, shapes))
        return float(len(instances) * once + instances.sum() * (self.instance + self.product * products))


COMPILED = Work(10e-6, 0.2e-9, 2.7e-6, 0.05e-9)
BY_LIBRARY = Work(700e-6, 0.0, 2.5e-6, 0.03e-9)
OF_IMAGES = Work(1.9e-3, 0.0, 0.0, 0.08e-9)
# Instances of a bag above which the matrix products of a library are faster than the compiled step.
MOST_COMPILED = 128
# Bags of a larger median are slides and their like, which have defaults of their own (`bagwise.methods.recipes`).
LARGE_BAG = 100


def epoch_seconds(
    shapes: Collection[Sequence[int]], instance_shape: Sequence[int], sizes: ArrayLike, *, compiled: bool = True
) -> float:
    """Reckon how many seconds an epoch of one model takes one core.

    Parameters
    ----------
    shapes
        Of the model's parameters.
    instance_shape
        Of one instance.
    sizes
        Number of instances of each bag.
    compiled
        Whether small bags of vectors are learnt from by the compiled step.

    Returns
    -------
    float

    Examples
    --------
    >>> 0.005 < epoch_seconds(default_shapes((5,)), (5,), [5] * 200) < 0.02
    True
    """
    sizes = np.asarray(sizes)
    if len(instance_shape) > 1:
        return OF_IMAGES.seconds(shapes, instance_shape, sizes)
    small = (sizes <= MOST_COMPILED) & compiled
    return COMPILED.seconds(shapes, instance_shape, sizes[small]) + BY_LIBRARY.seconds(
        shapes, instance_shape, sizes[~small]
    )


def default_shapes(instance_shape: Sequence[int], sizes: ArrayLike = ()) -> list[tuple[int, ...]]:
    """Give the shapes of the weights that the method ``"attention"`` learns by default, but for biases.

    Parameters
    ----------
    instance_shape
        ``(D,)`` for vectors, ``(H, W, 3)`` for patches of images.
    sizes
        Number of instances of each bag; by default bags are small.

    Returns
    -------
    list of tuple

    Examples
    --------
    >>> default_shapes((166,))[:2]
    [(256, 166), (128, 256)]
    """
    if len(instance_shape) == 1 and np.size(sizes) and np.median(np.asarray(sizes)) > LARGE_BAG:
        return [(256, instance_shape[0]), (128, 256), (128, 256), (1, 128), (1, 256)]
    if len(instance_shape) == 1:
        return [(256, instance_shape[0]), (128, 256), (64, 128), (64, 64), (1, 64), (1, 64)]
    left = [((side - 3) // 2 - 2) // 2 for side in instance_shape[:2]]
    return [(36, 3, 4, 4), (48, 36, 3, 3), (512, 48 * prod(left)), (512, 512), (128, 512), (1, 128), (1, 512)]
