"""Protocols: which bags a model learns from and which it is tested on."""

from collections.abc import Iterable, Iterator
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bagwise.bags import Bags
from bagwise.checks import check_seed, valid_positions
from bagwise.errors import BagwiseError
from bagwise.folds import random_folds, stratified_folds
from bagwise.targets.registry import resolve, target_of

__all__ = ["Division", "Folds", "Split", "splits_of"]

_NOBODY = np.zeros(0, dtype=np.int64)


class Split(NamedTuple):
    """One fold: positions of the bags that its model learns from, and of those that it is tested on.

    Attributes
    ----------
    repeat, fold
        Which repetition, and which fold of it; both count from 0.
    train, test
        Positions; in a `Division` they rise. They need not be all bags: what is in neither takes no part.
    validation
        Positions of the bags that decide when to stop, where a method has a patience; else they take no part.

    Examples
    --------
    >>> Split(0, 0, np.array([0, 1]), np.array([2])).validation.tolist()
    []
    """

    repeat: int
    fold: int
    train: NDArray[np.int64]
    test: NDArray[np.int64]
    validation: NDArray[np.int64] = _NOBODY


class Division:
    """Bags divided, once or several times, into those that models learn from and those that they are tested on.

    Within a repetition no bag is tested twice. Tests that overlap, as those of a bootstrap, are repetitions of one
    fold.

    Parameters
    ----------
    bags
        The bags.
    splits
        Of each repetition, whose numbers are 0, 1, ..., its folds, whose numbers are 0, 1, ...
    name
        What the protocol is called.

    Attributes
    ----------
    name : str
        As given.
    splits : tuple of Split
        In the order of repetitions and folds.
    assignment : array
        The fold in which each bag is tested, shape (repeats, B); -1 where none of the repetition tests it.

    Raises
    ------
    BagwiseError
        If there is no split, or in one nobody learns or is tested, a position is not of these bags, or a bag is in two
        parts of a split or twice in one.

    Examples
    --------
    >>> bags = Bags.from_arrays([[[0.0]]] * 4, labels=[0, 1] * 2)
    >>> division = Division(bags, [Split(0, 0, np.array([0, 1]), np.array([3]))])
    >>> division.assignment.tolist(), division.untested.tolist()
    ([[-1, -1, -1, 0]], [0, 1, 2])
    """

    def __init__(self, bags: Bags, splits: Iterable[Split], name: str = "given") -> None:
        self.name = name
        # In one order, whatever it came in: the seed of a model is made from its training bags in their order.
        ordered = sorted(splits, key=lambda split: split[:2])
        self.splits = tuple(
            Split(*split[:2], *(valid_positions(part, bags.names, "the positions of a fold") for part in split[2:]))
            for split in ordered
        )
        if not self.splits:
            raise BagwiseError("there is no fold: give one or more, each with bags to learn from and bags to test")
        self.assignment = np.full((self.splits[-1].repeat + 1, len(bags)), -1, dtype=np.int64)
        for split in self.splits:
            _check(split, bags, self)
            self.assignment[split.repeat, split.test] = split.fold
        self._at = {split[:2]: split for split in self.splits}

    @property
    def repeats(self) -> int:
        """How often the bags are divided."""
        return len(self.assignment)

    @property
    def folds(self) -> int:
        """The number of folds of a repetition; where these differ, the largest."""
        return 1 + max(split.fold for split in self.splits)

    @property
    def untested(self) -> NDArray[np.int64]:
        """Positions of the bags that no fold tests."""
        return np.flatnonzero((self.assignment < 0).all(axis=0))

    @property
    def test_share(self) -> float:
        """The share of tested bags among those that are tested or learnt from, over all folds."""
        tested, learnt = sum(len(split.test) for split in self.splits), sum(len(split.train) for split in self.splits)
        return tested / (tested + learnt)

    @property
    def is_complementary(self) -> bool:
        """Whether every fold learns from all bags that it does not test: then `assignment` says all."""
        return all(len(split.train) + len(split.test) == self.assignment.shape[1] for split in self.splits)

    def training_bags(self, repeat: int, fold: int) -> NDArray[np.int64]:
        """Give the positions of the bags that a fold learns from.

        Parameters
        ----------
        repeat, fold
            Which one.

        Returns
        -------
        array
            Rising positions.
        """
        return self._at[repeat, fold].train

    def test_bags(self, repeat: int, fold: int) -> NDArray[np.int64]:
        """Give the positions of the bags that a fold is tested on.

        Parameters
        ----------
        repeat, fold
            Which one.

        Returns
        -------
        array
            Rising positions.
        """
        return self._at[repeat, fold].test

    def called(self, split: Split) -> str:
        """Say which fold one is, for a message; both counts begin with 0, as in files and results."""
        return f"fold {split.fold}" + (f" of repetition {split.repeat}" if self.repeats > 1 else "")

    def shared_groups(self, groups: NDArray[Any]) -> Iterator[tuple[Split, Any]]:
        """Find groups that a split has on two sides.

        Parameters
        ----------
        groups
            Of each bag, shape (B,).

        Yields
        ------
        tuple
            A split, and the first group that it learns from, or stops by, and tests.
        """
        for split in self.splits:
            for one, other in ((split.train, split.test), (split.validation, split.test)):
                for group in np.intersect1d(groups[one], groups[other])[:1]:
                    yield split, group


def splits_of(assignment: NDArray[np.int64]) -> Iterator[Split]:
    """Give the splits that learn from all bags that they do not test.

    Parameters
    ----------
    assignment
        The fold that tests each bag, shape (repeats, B), or -1. Folds are numbered anew, from 0 on, in their order.

    Yields
    ------
    Split

    Examples
    --------
    >>> [(split.fold, split.train.tolist(), split.test.tolist()) for split in splits_of(np.array([[2, 1, -1]]))]
    [(0, [0, 2], [1]), (1, [1, 2], [0])]
    """
    for repeat, row in enumerate(assignment):
        for fold, number in enumerate(np.unique(row[row >= 0])):
            yield Split(repeat, fold, np.flatnonzero(row != number), np.flatnonzero(row == number))


def _check(split: Split, bags: Bags, division: Division) -> None:
    where, parts = division.called(split), ("learns from", "tests", "stops by")
    for verb, positions in zip(parts[:2], split[2:4], strict=True):
        if not len(positions):
            raise BagwiseError(f"{where} {verb} no bag: leave the fold out, or give it bags")
    for one, other in ((0, 1), (0, 2), (1, 2)):
        for shared in np.intersect1d(split[2 + one], split[2 + other])[:1]:
            raise BagwiseError(
                f"{where} {parts[one]} and {parts[other]} bag {bags.names[shared]!r}: a bag may be on one side only"
            )


class Folds(Division):
    """Repeated stratified cross-validation; where bags have groups, a group is never on both sides.

    Parameters
    ----------
    bags
        Bags with labels.
    folds
        Number of folds.
    repeats
        How often to divide the bags anew.
    seed
        Decides the divisions.
    stratified
        False divides at random, whatever the labels, as the paper did; bags with groups are always stratified.
    target
        Of which kind the labels are, as estimators take it: it says which bags are alike, so that each fold gets its
        share of them.

    Attributes
    ----------
    assignment : array
        The fold in which each bag is tested, shape (repeats, B).
    name : str
        ``"default"``, ``"grouped"`` where bags have groups, or ``"paper"`` where folds are not stratified.

    Raises
    ------
    BagwiseError
        If there are too few bags or groups for so many folds, or a parameter is out of its range.

    Examples
    --------
    >>> bags = Bags.from_arrays([[[0.0]]] * 6, labels=[0, 1] * 3)
    >>> folds = Folds(bags, folds=3, repeats=2, seed=0)
    >>> folds.assignment.shape
    (2, 6)
    """

    def __init__(
        self,
        bags: Bags,
        folds: int = 10,
        repeats: int = 1,
        seed: int = 0,
        *,
        stratified: bool = True,
        target: str = "auto",
    ) -> None:
        if bags.labels is None:
            raise BagwiseError("the bags have no labels to learn from: give y, or bags with labels")
        check_seed(seed)
        for name, value in (("folds", folds), ("repeats", repeats)):
            if not isinstance(value, Integral):
                raise BagwiseError(f"{name} is {value!r}: it must be a whole number")
        if folds < 2 or repeats < 1:
            raise BagwiseError(f"{repeats} x {folds} folds is too few: at least 1 x 2 are needed")
        kind = resolve(target, bags.labels, names=bags.names, label_names=bags.label_names)
        if kind == "classes":
            strata = bags.labels
            _check_classes(strata, int(folds))
        elif len(bags) < folds:
            raise BagwiseError(
                f"there are {len(bags)} bags, fewer than the {folds} folds: use at most {len(bags)} folds"
            )
        else:
            strata = target_of(kind, bags.labels, names=bags.names).strata(bags.labels, int(folds))
        if bags.groups is not None and len(np.unique(bags.groups)) < folds:
            count = len(np.unique(bags.groups))
            raise BagwiseError(f"there are {count} groups, fewer than the {folds} folds: use at most {count} folds")
        self.seed = seed
        name = "grouped" if bags.groups is not None else "default" if stratified else "paper"
        assignment = np.empty((repeats, len(bags)), dtype=np.int64)
        for repeat in range(repeats):
            state = _random_state(seed, repeat)
            assignment[repeat] = (
                random_folds(len(bags), int(folds), state)
                if name == "paper"
                else stratified_folds(strata, int(folds), state, bags.groups)
            )
        super().__init__(bags, splits_of(assignment), name)


def _check_classes(labels: NDArray[Any], folds: int) -> None:
    classes, counts = np.unique(labels, return_counts=True)
    if len(classes) < 2:
        raise BagwiseError(f"all bags have the label {classes[0]!s}: there must be two classes or more")
    if counts.min() < 2:
        raise BagwiseError(f"there is 1 bag of class {classes[counts.argmin()]!s}: each class needs 2 or more")
    if counts.min() < folds:
        raise BagwiseError(
            f"there are {counts.min()} bags of class {classes[counts.argmin()]!s}, fewer than the {folds} folds:"
            f" use at most {counts.min()} folds"
        )


def _random_state(seed: int, repeat: int) -> int:
    """Make a state for each repetition of each seed; those of seed 0 are what committed results were made with."""
    return repeat if seed == 0 else int(np.random.SeedSequence([seed, repeat]).generate_state(1)[0])
