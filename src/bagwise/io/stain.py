"""Colours of stained tissue brought to those of a reference, for images from several laboratories or scanners."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from skimage.color import lab2rgb, rgb2lab

from bagwise.bags import Bags, BagsLike, as_bags
from bagwise.errors import BagwiseError

__all__ = ["StainReference", "normalise_stain", "stain_reference"]

_WHITE = 0.9  # of the brightest; what is brighter is glass and keeps its colour
_FLAT = 1e-6


class StainReference(NamedTuple):
    """How the tissue of some images is coloured, in CIE L*a*b*.

    Attributes
    ----------
    mean, spread
        Of lightness, green to red and blue to yellow: means over the images of each one's mean and standard deviation.

    Examples
    --------
    >>> StainReference((60.0, 20.0, -15.0), (15.0, 8.0, 6.0)).mean[0]
    60.0
    """

    mean: tuple[float, float, float]
    spread: tuple[float, float, float]


def stain_reference(bags: BagsLike) -> StainReference:
    """Measure the colours of the tissue in bags; give it training bags, and normalise others to what it says.

    Parameters
    ----------
    bags
        Of patches, shape (side, side, 3), 8 bits. Of those in files one bag is in memory at a time.

    Returns
    -------
    StainReference
        Each bag counts the same; a bag of glass alone does not count.

    Raises
    ------
    BagwiseError
        If the instances are not such patches, or none shows tissue.

    Examples
    --------
    >>> bags = Bags.from_arrays([np.full((2, 4, 4, 3), 128, np.uint8)])
    >>> [round(value) for value in stain_reference(bags).mean]
    [54, 0, 0]
    """
    bags = _of_images(bags)
    measured = [found for bag in bags if (found := _colours(rgb2lab(bag.instances), _tissue(bag.instances)))]
    if not measured:
        raise BagwiseError("none of the bags shows tissue: all pixels are white")
    means, spreads = (np.mean(values, axis=0) for values in zip(*measured, strict=True))
    return StainReference(_three(means), _three(spreads))


def normalise_stain(bags: BagsLike, reference: StainReference) -> Bags:
    """Bring the tissue of each bag to the mean and spread of a reference, channel by channel in CIE L*a*b*.

    Whether that helps depends on the images: where all come from one scanner, a stain can say something of the tissue,
    and is lost.

    Parameters
    ----------
    bags
        Of patches, shape (side, side, 3), 8 bits.
    reference
        From `stain_reference`.

    Returns
    -------
    Bags
        The same in other colours, in memory. Glass stays as it is.

    Raises
    ------
    BagwiseError
        If the instances are not such patches.

    References
    ----------
    E. Reinhard et al.: Color Transfer between Images. IEEE Computer Graphics and Applications, 2001.

    Examples
    --------
    >>> bags = Bags.from_arrays([np.random.default_rng(0).integers(0, 200, (2, 4, 4, 3), dtype=np.uint8)])
    >>> other = normalise_stain(bags, StainReference((60.0, 20.0, -15.0), (15.0, 8.0, 6.0)))
    >>> [round(value) for value in stain_reference(other).mean]
    [60, 20, -15]
    """
    bags = _of_images(bags)
    return replace(bags, instances=np.concatenate([_normalised(bag.instances, reference) for bag in bags]))


def _normalised(patches: NDArray[np.uint8], reference: StainReference) -> NDArray[np.uint8]:
    lab, tissue = rgb2lab(patches), _tissue(patches)
    found = _colours(lab, tissue)
    if found is None:
        return patches
    mean, spread = found
    # Of one colour, tissue has no spread but that of rounding.
    factor = np.where(spread > _FLAT, reference.spread / np.maximum(spread, _FLAT), 1.0)
    changed = np.round(lab2rgb((lab - mean) * factor + reference.mean) * 255).astype(np.uint8)
    return np.where(tissue[..., None], changed, patches)


def _tissue(patches: NDArray[np.uint8]) -> NDArray[np.bool_]:
    tissue: NDArray[np.bool_] = patches.sum(axis=-1, dtype=np.int64) < _WHITE * 255 * 3
    return tissue


def _colours(
    lab: NDArray[np.float64], tissue: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    pixels = lab[tissue]
    return (pixels.mean(axis=0), pixels.std(axis=0)) if len(pixels) else None


def _three(values: Sequence[float]) -> tuple[float, float, float]:
    first, second, third = (float(value) for value in values)
    return first, second, third


def _of_images(given: BagsLike) -> Bags:
    bags = as_bags(given)
    if len(bags.instance_shape) != 3 or bags.instance_shape[2] != 3 or bags.instances.dtype != np.uint8:
        raise BagwiseError(
            f"the instances have shape {bags.instance_shape} and type {bags.instances.dtype}: stains are normalised on"
            " colour images of 8 bits a channel"
        )
    return bags
