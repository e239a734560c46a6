"""Protocols: which bags a model learns from and which it is tested on."""

from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import KFold, StratifiedGroupKFold, StratifiedKFold

from bagwise.bags import Bags
from bagwise.checks import check_seed
from bagwise.errors import BagwiseError

__all__ = ["Folds"]


class Folds:
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
        self, bags: Bags, folds: int = 10, repeats: int = 1, seed: int = 0, *, stratified: bool = True
    ) -> None:
        if bags.labels is None:
            raise BagwiseError("the bags have no labels to learn from: give y, or bags with labels")
        check_seed(seed)
        for name, value in (("folds", folds), ("repeats", repeats)):
            if not isinstance(value, Integral):
                raise BagwiseError(f"{name} is {value!r}: it must be a whole number")
        if folds < 2 or repeats < 1:
            raise BagwiseError(f"{repeats} x {folds} folds is too few: at least 1 x 2 are needed")
        classes, counts = np.unique(bags.labels, return_counts=True)
        if len(classes) < 2:
            raise BagwiseError(f"all bags have the label {classes[0]!s}: there must be two classes or more")
        if counts.min() < 2:
            raise BagwiseError(f"there is 1 bag of class {classes[counts.argmin()]!s}: each class needs 2 or more")
        if counts.min() < folds:
            raise BagwiseError(
                f"there are {counts.min()} bags of class {classes[counts.argmin()]!s}, fewer than the {folds} folds:"
                f" use at most {counts.min()} folds"
            )
        if bags.groups is not None and len(np.unique(bags.groups)) < folds:
            count = len(np.unique(bags.groups))
            raise BagwiseError(f"there are {count} groups, fewer than the {folds} folds: use at most {count} folds")
        self.folds = folds
        self.repeats = repeats
        self.seed = seed
        self.name = "grouped" if bags.groups is not None else "default" if stratified else "paper"
        self.assignment = np.empty((repeats, len(bags)), dtype=np.int64)
        splitters: dict[str, Any] = {"default": StratifiedKFold, "grouped": StratifiedGroupKFold, "paper": KFold}
        for repeat in range(repeats):
            parts = splitters[self.name](folds, shuffle=True, random_state=seed + repeat)
            for fold, (_, test) in enumerate(parts.split(bags.labels, bags.labels, bags.groups)):
                self.assignment[repeat, test] = fold

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
        return np.flatnonzero(self.assignment[repeat] != fold)

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
        return np.flatnonzero(self.assignment[repeat] == fold)
