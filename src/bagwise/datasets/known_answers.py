r"""Problems with a known answer: bags drawn by rules, of which it is known what speaks for and against each class.

Of xMIL (Hense et al., 2024, arXiv 2406.04280; rules as its public code has them) are three, of 30 digits a bag. A bag's
kinds of digits are drawn first, each of the ten with probability 1/2, then its digits evenly from those; classes are as
frequent as that makes them. $n_d$ is how often the digit $d$ is in the bag.

- ``four_bags`` (4-Bags): class 0 without 8 and 9, 1 with 8 alone, 2 with 9 alone, 3 with both. An 8 is evidence for 1
  and 3 and against 0 and 2, a 9 for 2 and 3 and against 0 and 1.
- ``pos_neg`` (Pos-Neg): class 1 if $n_4 + n_6 + n_8 > n_5 + n_7 + n_9$, else 0: each instance counts, not each
  kind of digit. 4, 6 and 8 are evidence for 1 and against 0, and 5, 7 and 9 the other way round.
- ``adjacent_pairs`` (Adjacent Pairs): class 1 if $n_d > 0$ and $n_{d+1} > 0$ for a $d$ of 0 to 3. All
  digits of such pairs are evidence for 1 and against 0; a 2 without a 1 or a 3 is none.

xMIL draws all bags from the same images, as features of a pretrained ResNet; here training, validation and test bags
share no image. Two problems are Bagwise's own, and one is `bagwise.datasets.shifted_mean`:

- ``side_by_side``: 30 digits on a grid, one 8 and one 9 among digits of 0 to 7. Class 1 if the two share an edge, else
  0; classes come in turn. Only places tell: the digits of both classes are drawn alike, and their order is shuffled. In
  bags of class 1 both are evidence for 1 and against 0; in the others nothing is.
- ``four_digits``: about 10 digits (variance 2) of 0 to 5 and of one of the four key digits 6 to 9, which is there once
  or more often. The class is which; classes come in turn. A key digit is evidence for its own class and against the
  others.
- ``shifted_mean``: evidence for 1 and against 0 are the instances whose mean is shifted.
"""

from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bagwise.bags import Bags
from bagwise.checks import check_count, check_seed
from bagwise.datasets.digits import Digits, load_digits
from bagwise.datasets.problems import PROBLEMS, Drawn, Judged
from bagwise.datasets.shifted_mean import shifted_mean_bags
from bagwise.datasets.strokes import strokes
from bagwise.errors import BagwiseError

__all__ = ["KNOWN_ANSWERS", "evidence", "known_answer_bags"]

KNOWN_ANSWERS = (*PROBLEMS, "shifted_mean")
_PARTS = ("train", "validation", "test")
_VALIDATION = 6  # every sixth of the training images of a digit


def known_answer_bags(
    name: str,
    count: int = 2000,
    *,
    part: str = "train",
    size: int | None = None,
    pixels: bool = False,
    seed: int = 0,
    source: str = "full",
    directory: str | Path | None = None,
) -> Bags:
    """Draw bags of a problem with a known answer (`bagwise.datasets.known_answers` says which there are).

    Parameters
    ----------
    name
        One of `KNOWN_ANSWERS`.
    count
        Number of bags.
    part
        ``"train"``, ``"validation"`` or ``"test"``: no image is in bags of two parts. Test bags are drawn from the test
        images, validation bags from every sixth training image of a digit, training bags from the others. Within a part
        an image comes again when all of its digit have come as often: in training bags of all of MNIST, after about
        1,200 bags of 30.
    size
        Number of instances a bag; None: as the problem has it. Of ``four_digits`` it is the mean.
    pixels
        Whether an instance is the image, shape (28, 28), or else the 128 numbers that `strokes` describes it by: nobody
        has to learn to see then, and a fit of 2,000 bags takes seconds. No matter for ``shifted_mean``.
    seed
        Decides everything that is drawn.
    source, directory
        Of the images, as in `load_digits`.

    Returns
    -------
    Bags
        With classes from 0 as labels, and what instances are as `instance_labels`: the digits. `evidence` says what
        follows. Where places matter there are `coordinates`.

    Raises
    ------
    BagwiseError
        If there is no such problem, MNIST is not in the data directory, or a parameter is out of its range.

    Examples
    --------
    >>> bags = known_answer_bags("four_bags", 100, source="small")
    >>> bags
    <Bags: 100 bags of 30 instances (3000 in all), each of shape (128,) float32; labels 0: 19, 1: 25, 2: 33, 3: 23>
    """
    _check(name)
    check_seed(seed)
    check_count("count", count)
    if part not in _PARTS:
        raise BagwiseError(f"part is {part!r}: it must be {', '.join(_PARTS[:-1])} or {_PARTS[-1]}")
    if size is not None and (not isinstance(size, int) or size < 3):
        raise BagwiseError(f"size is {size!r}: it must be a whole number from 3 on")
    own = np.random.SeedSequence([seed, _PARTS.index(part)])
    if name == "shifted_mean":
        sizes = (30, 30) if size is None else (size, size)
        return shifted_mean_bags(count, sizes=sizes, seed=int(own.generate_state(1)[0]))
    problem, rng = PROBLEMS[name], np.random.default_rng(own)
    drawn = [problem.draw(rng, bag, size or problem.size) for bag in range(count)]
    shown = np.concatenate([one.digits for one in drawn])
    places = [one.places for one in drawn if one.places is not None]
    return Bags(
        _images(load_digits(source, directory), part, shown, rng, pixels),
        np.cumsum([0, *(len(one.digits) for one in drawn)]),
        np.array([problem.judge(one).label for one in drawn], np.int64),
        instance_labels=shown,
        coordinates=np.concatenate(places) if places else None,
    )


def evidence(name: str, bags: Bags) -> NDArray[np.int8]:
    """Say which instances speak for and against each class.

    Parameters
    ----------
    name
        The problem: one of `KNOWN_ANSWERS`.
    bags
        Bags of it, or some of them.

    Returns
    -------
    array
        1 for, -1 against, 0 neither: int8, shape (N, C), a column a class. `evidence_metrics` measures weights and
        contributions by it.

    Raises
    ------
    BagwiseError
        If there is no such problem, or the bags are of none.

    Examples
    --------
    >>> bags = known_answer_bags("pos_neg", 1, source="small")
    >>> bags.instance_labels[:5].tolist(), evidence("pos_neg", bags)[:5, 1].tolist()
    ([2, 9, 2, 2, 9], [0, -1, 0, 0, -1])
    """
    _check(name)
    if bags.instance_labels is None:
        raise BagwiseError(f"these bags do not say what their instances are: take bags of {name!r} as they were drawn")
    if name == "side_by_side" and bags.coordinates is None:
        raise BagwiseError(f"these bags do not say where their instances are: take bags of {name!r} as they were drawn")
    judge = _shifted if name == "shifted_mean" else PROBLEMS[name].judge
    shown, places = bags.instance_labels, bags.coordinates
    parts = [slice(*ends) for ends in pairwise(bags.offsets)]
    drawn = (Drawn(shown[part], None if places is None else places[part]) for part in parts)
    return np.concatenate([judge(one).evidence for one in drawn])


def _check(name: Any) -> None:
    if name not in KNOWN_ANSWERS:
        raise BagwiseError(f"there is no problem {name!r}: choose one of {', '.join(KNOWN_ANSWERS)}")


def _shifted(drawn: Drawn) -> Judged:
    signs = drawn.digits.astype(np.int8)
    return Judged(int(signs.any()), np.stack([-signs, signs], axis=1))


def _images(
    digits: Digits, part: str, shown: NDArray[np.int64], rng: np.random.Generator, pixels: bool
) -> NDArray[Any]:
    """Draw an image for each digit, among those of the part."""
    test = part == "test"
    images, labels = (digits.test_images, digits.test_labels) if test else (digits.train_images, digits.train_labels)
    chosen = np.empty(len(shown), np.int64)
    for digit in range(10):
        pool = np.flatnonzero(labels == digit)
        if not test:
            held_out = np.arange(len(pool)) % _VALIDATION == _VALIDATION - 1
            pool = pool[held_out if part == "validation" else ~held_out]
        here = np.flatnonzero(shown == digit)
        rounds = [rng.permutation(pool) for _ in range(ceil(len(here) / len(pool)))]
        chosen[here] = np.concatenate([pool[:0], *rounds])[: len(here)]
    if pixels:
        return images[chosen]
    some, which = np.unique(chosen, return_inverse=True)
    return strokes(images[some])[which]
