"""What bags of digits with a known answer hold, and what follows: the label, and the evidence for and against it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil, sqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["PROBLEMS", "Drawn", "Judged", "Problem"]

_KEYS = (8, 9)
_FOR, _AGAINST = (4, 6, 8), (5, 7, 9)
_CONSECUTIVE = 5  # of these, from 0 on, two that follow each other make a pair
_KINDS = (6, 7, 8, 9)


class Drawn(NamedTuple):
    """The digits of one bag.

    Attributes
    ----------
    digits
        Shape (K,).
    places
        Where they stand, shape (K, 2); None where that does not matter.

    Examples
    --------
    >>> Drawn(np.array([3, 1])).places is None
    True
    """

    digits: NDArray[np.int64]
    places: NDArray[np.float64] | None = None


class Judged(NamedTuple):
    """What digits make of a bag.

    Attributes
    ----------
    label
        Its class, from 0.
    evidence
        1 where an instance speaks for a class, -1 where against it, else 0; int8, shape (K, C).

    Examples
    --------
    >>> PROBLEMS["pos_neg"].judge(Drawn(np.array([4, 5, 0, 6]))).evidence[:, 1].tolist()
    [1, -1, 0, 1]
    """

    label: int
    evidence: NDArray[np.int8]


@dataclass(frozen=True)
class Problem:
    """A problem with a known answer.

    Attributes
    ----------
    classes
        What the classes 0, 1, ... are.
    size
        How many digits a bag has, or has in the mean.
    draw
        Draws the digits of a bag; is given a generator, the position of the bag and its size.
    judge
        Says the label and the evidence of a bag.

    Examples
    --------
    >>> PROBLEMS["four_bags"].judge(Drawn(np.array([0, 9, 8, 8]))).label
    3
    """

    classes: tuple[str, ...]
    size: int
    draw: Callable[[np.random.Generator, int, int], Drawn]
    judge: Callable[[Drawn], Judged]


def _some_kinds(rng: np.random.Generator, bag: int, size: int) -> Drawn:  # noqa: ARG001
    """Draw which of the ten digits there are, each evenly, and then from those that are, evenly (xMIL's way)."""
    kinds = np.flatnonzero(rng.integers(2, size=10))
    while not len(kinds):
        kinds = np.flatnonzero(rng.integers(2, size=10))
    return Drawn(rng.choice(kinds, size=size))


def _kind_in_turn(rng: np.random.Generator, bag: int, size: int) -> Drawn:
    """Draw a bag that holds one kind of key digit, in turn, once or more often."""
    kind, others = _KINDS[bag % len(_KINDS)], [digit for digit in range(10) if digit not in _KINDS]
    size = max(1, round(rng.normal(size, sqrt(2))))
    digits = rng.choice([*others, kind], size=size)
    while kind not in digits:
        digits = rng.choice([*others, kind], size=size)
    return Drawn(digits)


def _on_a_grid(rng: np.random.Generator, bag: int, size: int) -> Drawn:
    """Draw digits on a grid, one of each key among them: in turn side by side, and apart."""
    cells = np.arange(size)
    width = ceil(sqrt(size))
    places = np.stack([cells % width, cells // width], axis=1)
    distances = np.abs(places[:, None] - places).sum(axis=2)
    pairs = np.argwhere(distances == 1 if bag % 2 == 0 else distances > 1)
    digits = rng.integers(min(_KEYS), size=size)
    digits[pairs[rng.integers(len(pairs))]] = _KEYS
    order = rng.permutation(size)  # so that nothing but places tells
    return Drawn(digits[order], places[order].astype(np.float64))


def _which_keys(drawn: Drawn) -> Judged:
    first, second = (_is(drawn, key) for key in _KEYS)
    label = int(first.any()) + 2 * int(second.any())
    return Judged(label, np.stack([-first - second, first - second, second - first, first + second], axis=1))


def _majority(drawn: Drawn) -> Judged:
    signs = _is(drawn, *_FOR) - _is(drawn, *_AGAINST)
    return _of_two(int(signs.sum() > 0), signs)


def _consecutive(drawn: Drawn) -> Judged:
    there = np.isin(np.arange(_CONSECUTIVE + 1), drawn.digits) & (np.arange(_CONSECUTIVE + 1) < _CONSECUTIVE)
    begins = np.flatnonzero(there[:-1] & there[1:])
    return _of_two(int(len(begins) > 0), _is(drawn, *begins, *(begins + 1)))


def _side_by_side(drawn: Drawn) -> Judged:
    assert drawn.places is not None
    first, second = (drawn.digits == key for key in _KEYS)
    beside = np.abs(drawn.places[:, None] - drawn.places).sum(axis=2) == 1
    paired = first & beside[:, second].any(axis=1) | second & beside[:, first].any(axis=1)
    return _of_two(int(paired.any()), paired.astype(np.int8))


def _which_kind(drawn: Drawn) -> Judged:
    shown = np.stack([_is(drawn, kind) for kind in _KINDS], axis=1)
    return Judged(int(shown.any(axis=0).argmax()), 2 * shown - shown.sum(axis=1, dtype=np.int8, keepdims=True))


def _is(drawn: Drawn, *digits: Any) -> NDArray[np.int8]:
    return np.isin(drawn.digits, digits).astype(np.int8)


def _of_two(label: int, signs: NDArray[np.int8]) -> Judged:
    return Judged(label, np.stack([-signs, signs], axis=1))


PROBLEMS: Mapping[str, Problem] = {
    "four_bags": Problem(("none", "8", "9", "both"), 30, _some_kinds, _which_keys),
    "pos_neg": Problem(("fewer", "more"), 30, _some_kinds, _majority),
    "adjacent_pairs": Problem(("none", "pair"), 30, _some_kinds, _consecutive),
    "side_by_side": Problem(("apart", "side by side"), 30, _on_a_grid, _side_by_side),
    "four_digits": Problem(tuple(map(str, _KINDS)), 10, _kind_in_turn, _which_kind),
}
