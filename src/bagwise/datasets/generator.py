"""Bags made from single labelled images, as the paper makes MNIST-bags (section 4.2)."""

from collections.abc import Sequence
from numbers import Real
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bagwise.bags import Bags
from bagwise.checks import check_count, check_seed
from bagwise.datasets.digits import load_digits
from bagwise.datasets.relabel import KINDS, labels_of, lives
from bagwise.errors import BagwiseError

__all__ = ["KnownHazard", "TrainingAndTest", "bags_from_images", "mnist_bags", "slides_of_known_hazard"]

_MOST_DRAWS = 1_000_000  # of one bag


class TrainingAndTest(NamedTuple):
    """Bags to learn from, and bags that share no image with them.

    Attributes
    ----------
    train, test
        Bags with labels and instance labels.

    Examples
    --------
    >>> bags = bags_from_images(np.zeros((20, 28, 28), np.uint8), np.arange(20) % 10, count=4)
    >>> len(TrainingAndTest(train=bags[:2], test=bags[2:]).test)
    2
    """

    train: Bags
    test: Bags


class KnownHazard(NamedTuple):
    """Bags with lives, and how likely each was to end.

    Attributes
    ----------
    bags
        With events and times as labels.
    risks
        The logarithm of each bag's hazard over that of no finding, shape (B,).

    Examples
    --------
    >>> slides_of_known_hazard(3).risks.shape
    (3,)
    """

    bags: Bags
    risks: NDArray[np.float64]


def mnist_bags(
    target: int | Sequence[int] = 9,
    *,
    kind: str = "classes",
    count: int = 200,
    test_count: int = 1000,
    mean_size: float = 10,
    variance: float = 2,
    spread: str = "variance",
    balance: str | None = "alternate",
    seed: int = 0,
    source: str = "full",
    directory: str | Path | None = None,
) -> TrainingAndTest:
    """Make the paper's MNIST-bags: a bag of digits is positive if it holds a nine (section 4.2).

    Parameters
    ----------
    target, kind, mean_size, variance, spread, balance
        As in `bags_from_images`. The paper's mean sizes are 10, 50 and 100, with variances of 2, 10 and 20.
    count
        Number of training bags, drawn from MNIST's training images.
    test_count
        Number of test bags, drawn from its test images.
    seed
        Decides all that is drawn; the test bags do not depend on `count`.
    source, directory
        As in `load_digits`.

    Returns
    -------
    TrainingAndTest
        The two sets. `instance_labels` are the digits: to evaluate with, never to learn from.

    Raises
    ------
    BagwiseError
        If MNIST is not in the data directory, or a parameter is out of its range.

    Examples
    --------
    >>> train, test = mnist_bags(count=50, test_count=20, source="small", seed=1)
    >>> len(train), test.labels[:2].tolist(), [bool((bag.instance_labels == 9).any()) for bag in test[:2]]
    (50, [1, 0], [True, False])
    """
    check_seed(seed)
    digits = load_digits(source, directory)
    drawn = []
    for part, images, labels, number in (
        (0, digits.train_images, digits.train_labels, count),
        (1, digits.test_images, digits.test_labels, test_count),
    ):
        drawn.append(
            bags_from_images(
                images,
                labels,
                target=target,
                kind=kind,
                count=number,
                mean_size=mean_size,
                variance=variance,
                spread=spread,
                balance=balance,
                seed=int(np.random.SeedSequence([seed, part]).generate_state(1)[0]),
            )
        )
    return TrainingAndTest(*drawn)


def bags_from_images(
    images: NDArray[Any],
    labels: NDArray[Any],
    *,
    target: Any = 9,
    kind: str = "classes",
    count: int = 200,
    mean_size: float = 10,
    variance: float = 2,
    spread: str = "variance",
    balance: str | None = "alternate",
    seed: int = 0,
) -> Bags:
    """Draw bags of images whose label says which target they hold.

    A bag's size is drawn first (Gaussian, nearest whole number, at least 1), so that size is no cue to the label; then
    its images, at random among those that give it the label.

    Parameters
    ----------
    images
        Shape (n, ...).
    labels
        What each image shows, shape (n,).
    target
        The label that makes a bag positive: bags are labelled 1 and 0. Or a list of labels, in rising order of what
        they count: bags are labelled 0 if they hold none of them, else 1, 2, ... after the last in the list that they
        hold, as a grade follows the worst finding.
    kind
        What the labels are: ``"classes"``, as said of `target`; ``"multi-label"``: of each target whether the bag holds
        it; ``"real"``: the mean of what its images show; ``"count"``: how many of them show a target; ``"ordinal"``:
        that number, but at most 3; ``"survival"``: an event and its time, of a hazard that each target doubles. The
        same images are drawn for every kind.
    count
        Number of bags.
    mean_size
        Of the bags.
    variance
        Of the bags' sizes.
    spread
        ``"variance"`` reads `variance` so, as the paper writes. ``"std"`` takes that number for the standard deviation
        and cuts sizes down to whole numbers, as the code of the paper's authors does.
    balance
        ``"alternate"``: bags of all labels come in turn, the highest first. None: images are drawn at random, and bags
        have the label that this gives them; of ten digits nearly two thirds hold a nine.
    seed
        Decides everything that is drawn.

    Returns
    -------
    Bags
        With labels, and `instance_labels` that say what each image shows.

    Raises
    ------
    BagwiseError
        If there are no images of a target, or of anything else, or a parameter is out of its range.

    Examples
    --------
    >>> digits = np.arange(20) % 10
    >>> bags = bags_from_images(np.zeros((20, 28, 28), np.uint8), digits, count=4)
    >>> bags.labels.tolist(), [bool((bag.instance_labels == 9).any()) for bag in bags]
    ([1, 0, 1, 0], [True, False, True, False])
    >>> bags_from_images(np.zeros((20, 28, 28), np.uint8), digits, target=[3, 9], count=4).labels.tolist()
    [2, 1, 0, 2]
    >>> bags_from_images(np.zeros((20, 28, 28), np.uint8), digits, kind="count", count=4).labels.tolist()
    [1, 0, 1, 0]
    """
    check_seed(seed)
    check_count("count", count)
    for name, value in (("mean_size", mean_size), ("variance", variance)):
        if not isinstance(value, Real) or not 0 <= float(value) < np.inf:
            raise BagwiseError(f"{name} is {value!r}: it must be a number, 0 or more")
    for name, word, choices in (("spread", spread, ("variance", "std")), ("balance", balance, ("alternate", None))):
        if word not in choices:
            raise BagwiseError(f"{name} is {word!r}: it must be {choices[0]!r} or {choices[1]!r}")
    if np.shape(labels) != (len(images),):
        raise BagwiseError(f"labels have shape {np.shape(labels)}: there must be one for each of {len(images)} images")
    if kind != "classes" and kind not in KINDS:
        raise BagwiseError(f"kind is {kind!r}: it must be one of classes, {', '.join(KINDS)}")
    labels, targets = np.asarray(labels), _targets(target)
    grades = _grades(labels, targets)
    highest = int(grades.max())
    rng = np.random.default_rng(seed)
    chosen, given = [], []
    for bag in range(count):
        size = _size(rng, mean_size, variance, spread)
        if balance is None:
            drawn = rng.integers(len(images), size=size)
        else:
            drawn = _drawn_with(rng, grades, highest - bag % (highest + 1), size)
        chosen.append(drawn)
        given.append(int(grades[drawn].max()))
    rows = np.concatenate(chosen)
    shown = [labels[drawn] for drawn in chosen]
    return Bags(
        np.asarray(images)[rows],
        np.cumsum([0, *(len(drawn) for drawn in chosen)]),
        np.array(given, np.int64) if kind == "classes" else labels_of(kind, shown, targets, rng),
        instance_labels=labels[rows],
    )


def slides_of_known_hazard(count: int = 300, *, features: int = 8, seed: int = 0) -> KnownHazard:
    """Make feature bags of slides whose patients' hazard grows with the share of tumour on the slide.

    A slide has 20 to 60 tiles of standard normal features; of the tiles of tumour, whose share is drawn evenly, the
    first feature is higher by 3. The hazard of a slide that is all tumour is 20 times that of one without, and about a
    third are censored.

    Parameters
    ----------
    count
        Number of slides.
    features
        Of a tile.
    seed
        Decides everything that is drawn.

    Returns
    -------
    KnownHazard
        The bags, with events and times as labels and 1 for tiles of tumour as `instance_labels`, and the true risks: no
        model can rank the bags better but by luck.

    Raises
    ------
    BagwiseError
        If a parameter is out of its range.

    Examples
    --------
    >>> slides = slides_of_known_hazard(4)
    >>> slides.bags.labels.dtype.names, slides.risks.shape
    (('event', 'time'), (4,))
    """
    check_seed(seed)
    check_count("count", count)
    check_count("features", features)
    rng = np.random.default_rng(seed)
    sizes = rng.integers(20, 61, size=count)
    offsets = np.cumsum([0, *sizes])
    tumour = rng.random(offsets[-1]) < rng.random(count).repeat(sizes)
    tiles = rng.standard_normal((offsets[-1], features))
    tiles[tumour, 0] += 3
    risks = np.log(20) * np.add.reduceat(tumour, offsets[:-1], dtype=np.float64) / sizes
    labels = lives(risks, rng, hazard=0.1, last_seen=8.0)
    return KnownHazard(Bags(tiles, offsets, labels, instance_labels=tumour.astype(np.int64)), risks)


def _targets(target: Any) -> list[Any]:
    targets = list(target) if isinstance(target, list | tuple | np.ndarray) else [target]
    if not targets:
        raise BagwiseError("target is an empty list: name at least one label")
    return targets


def _grades(labels: NDArray[Any], targets: list[Any]) -> NDArray[np.int64]:
    """Give 0 to images of no target, else its place in the list, from 1."""
    grades = np.zeros(len(labels), np.int64)
    for place, one in enumerate(targets):
        shows = labels == one
        if one in targets[:place]:
            raise BagwiseError(f"the target {one!r} is given twice: give each once")
        if shows.all() or not shows.any():
            raise BagwiseError(f"{shows.sum()} of {len(labels)} images show {one!r}: some must, and some must not")
        grades[shows] = place + 1
    if grades.all():
        raise BagwiseError("all images show one of the targets: some must show something else")
    return grades


def _size(rng: np.random.Generator, mean: float, variance: float, spread: str) -> int:
    if spread == "std":
        return max(1, int(rng.normal(mean, variance)))
    return max(1, round(rng.normal(mean, np.sqrt(variance))))


def _drawn_with(rng: np.random.Generator, grades: NDArray[np.int64], wanted: int, size: int) -> NDArray[np.int64]:
    """Draw images until the highest grade among them is the one wanted."""
    allowed = np.flatnonzero(grades <= wanted)
    for _ in range(_MOST_DRAWS):
        drawn: NDArray[np.int64] = allowed[rng.integers(len(allowed), size=size)]
        if (grades[drawn] == wanted).any():
            return drawn
    raise BagwiseError(
        f"{_MOST_DRAWS:,} bags of {size} images in a row held no image of target number {wanted}: take larger bags, or"
        " more images of it"
    )
