"""Bags made from single labelled images, as the paper makes MNIST-bags (section 4.2)."""

from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bagwise.bags import Bags
from bagwise.checks import check_count, check_seed
from bagwise.errors import BagwiseError

__all__ = ["bags_from_images"]


def bags_from_images(
    images: NDArray[Any],
    labels: NDArray[Any],
    *,
    target: Any = 9,
    count: int = 200,
    mean_size: float = 10,
    variance: float = 2,
    seed: int = 0,
) -> Bags:
    """Draw bags of images that are positive if they hold the target.

    Positive and negative bags alternate. A bag's size is drawn first (Gaussian, nearest whole number, at least 1), so
    that size is no cue to the label; then its images, at random among those that give it the label.

    Parameters
    ----------
    images
        Shape (n, ...).
    labels
        What each image shows, shape (n,).
    target
        The label that makes a bag positive.
    count
        Number of bags.
    mean_size, variance
        Of the bags' sizes.
    seed
        Decides everything that is drawn.

    Returns
    -------
    Bags
        With labels 1 and 0, and `instance_labels` that say what each image shows.

    Raises
    ------
    BagwiseError
        If there are no images of the target, or of anything else, or a parameter is out of its range.

    Examples
    --------
    >>> digits = np.arange(20) % 10
    >>> bags = bags_from_images(np.zeros((20, 28, 28), np.uint8), digits, count=4)
    >>> bags.labels.tolist(), [bool((bag.instance_labels == 9).any()) for bag in bags]
    ([1, 0, 1, 0], [True, False, True, False])
    """
    check_seed(seed)
    check_count("count", count)
    for name, value in (("mean_size", mean_size), ("variance", variance)):
        if not isinstance(value, Real) or not 0 <= float(value) < np.inf:
            raise BagwiseError(f"{name} is {value!r}: it must be a number, 0 or more")
    if np.shape(labels) != (len(images),):
        raise BagwiseError(f"labels have shape {np.shape(labels)}: there must be one for each of {len(images)} images")
    is_target = np.asarray(labels) == target
    if is_target.all() or not is_target.any():
        raise BagwiseError(f"{is_target.sum()} of {len(images)} images show {target!r}: some must, and some must not")
    rng = np.random.default_rng(seed)
    others = np.flatnonzero(~is_target)
    positive = np.arange(count) % 2 == 0
    chosen = []
    for bag in range(count):
        size = max(1, round(rng.normal(mean_size, np.sqrt(variance))))
        if positive[bag]:
            drawn = rng.integers(len(images), size=size)
            while not is_target[drawn].any():
                drawn = rng.integers(len(images), size=size)
        else:
            drawn = rng.choice(others, size=size)
        chosen.append(drawn)
    rows = np.concatenate(chosen)
    return Bags(
        np.asarray(images)[rows],
        np.cumsum([0, *(len(drawn) for drawn in chosen)]),
        positive.astype(np.int64),
        instance_labels=np.asarray(labels)[rows],
    )
