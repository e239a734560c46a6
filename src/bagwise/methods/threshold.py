"""From which probability on a bag is called positive, where one of two classes is rare."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from annotated_types import Interval
from numpy.typing import NDArray

from bagwise.errors import BagwiseError
from bagwise.folds import stratified_folds
from bagwise.targets.classes import ClassTarget
from bagwise.targets.contract import Target

__all__ = [
    "INNER_FOLDS",
    "Deciding",
    "Threshold",
    "best_threshold",
    "inner_folds",
    "is_rare",
    "threshold_by_shares",
]

# What an estimator's parameter of that name may be.
Threshold = Literal["auto"] | Annotated[float, Interval(gt=0, lt=1), "a number between 0 and 1"]

# A class is rare that has less than half of an even share. Where classes are more even than that, the likeliest is
# right about as often in each, and one half is what everybody takes for granted.
RARE = 0.5
# Of fewer held-out bags of a class the best threshold is noise.
ENOUGH_OF_A_CLASS = 20
INNER_FOLDS = 3


class Deciding(NamedTuple):
    """How an estimator is to decide, before it has said anything of bags that it did not learn from.

    Attributes
    ----------
    target
        What labels are.
    codes, weights
        Of all bags, shape (B,): the class in the order of learning, in which of two the positive one is 1, and what it
        counts.
    threshold
        What was asked for, or what follows from the shares of the classes, as `ClassTarget` takes it.
    is_open
        Whether a better one can be chosen on bags held out.

    Examples
    --------
    >>> target = ClassTarget.of(["normal", "cancer"])
    >>> labels = np.array(["cancer"] + ["normal"] * 9)
    >>> deciding = Deciding.of(target, "auto", target.encoded(labels), np.arange(10), None, balanced=True)
    >>> deciding.threshold, deciding.is_open, deciding.can_choose(np.arange(10))
    (0.1, True, False)
    """

    target: Target
    codes: NDArray[np.int64]
    weights: NDArray[np.float64]
    threshold: float | list[float] | None
    is_open: bool

    @classmethod
    def of(
        cls,
        target: Target,
        asked: Threshold,
        encoded: NDArray[np.float64],
        train: NDArray[np.int64],
        sample_weight: NDArray[np.float64] | None,
        *,
        balanced: bool | None,
    ) -> "Deciding":
        """Find what follows from what is asked for and from what is learnt.

        Parameters
        ----------
        target
            What labels are.
        asked
            The threshold, or ``"auto"``, as `NeuralMIL` takes it.
        encoded
            Labels of all bags, as the target encodes them.
        train
            Positions of those learnt from.
        sample_weight
            Of all bags; None: all are 1.
        balanced
            Whether classes are learnt as if they had the same share; None where mistakes have prices, so that the
            likeliest class is predicted.

        Returns
        -------
        Deciding

        Raises
        ------
        BagwiseError
            If a number is asked for and there are not two classes.
        """
        weights = np.ones(len(encoded)) if sample_weight is None else sample_weight
        codes = encoded[:, 0].astype(np.int64) if isinstance(target, ClassTarget) else np.zeros(len(encoded), np.int64)
        if asked != "auto":
            if target.positive is None:
                raise BagwiseError(f"threshold is {asked!r}, which is one of two classes: leave it 'auto'")
            return cls(target, codes, weights, float(asked), is_open=False)
        if not isinstance(target, ClassTarget) or balanced is None:
            return cls(target, codes, weights, None, is_open=False)
        counts = np.bincount(codes[train], weights[train], len(target.names))
        threshold = threshold_by_shares(target, target.by_name(counts / counts.sum()), balanced=balanced)
        return cls(target, codes, weights, threshold, is_open=isinstance(threshold, float))

    def can_choose(self, held_out: NDArray[np.int64]) -> bool:
        """Say whether there are enough of each class at these positions to choose by what is said of them."""
        return self.is_open and bool(np.bincount(self.codes[held_out], minlength=2).min() >= ENOUGH_OF_A_CLASS)

    def decided(self, held_out: NDArray[np.int64], answers: NDArray[Any]) -> Target:
        """Give the target that decides so.

        Parameters
        ----------
        held_out
            Positions of bags to choose by; none leaves the threshold as it is.
        answers
            What is said of them by models that did not learn from them, as `BagEstimator.answers` gives it.

        Returns
        -------
        Target
        """
        if not isinstance(self.target, ClassTarget):
            return self.target
        if not len(held_out):
            return self.target.deciding(self.threshold)
        assert isinstance(self.threshold, float)
        said = answers[:, self.target.names.tolist().index(self.target.positive)]
        chosen = best_threshold(self.codes[held_out] == 1, said, self.weights[held_out], self.threshold)
        return self.target.deciding(chosen)


def is_rare(shares: NDArray[np.float64]) -> bool:
    """Say whether one of the classes is rare.

    Parameters
    ----------
    shares
        Of the classes, with sum 1.

    Returns
    -------
    bool

    Examples
    --------
    >>> is_rare(np.array([0.1, 0.9])), is_rare(np.array([0.3, 0.7])), is_rare(np.array([0.2, 0.4, 0.4]))
    (True, False, False)
    """
    return bool(shares.min() < RARE / len(shares))


def threshold_by_shares(target: Target, shares: NDArray[np.float64], *, balanced: bool) -> float | list[float] | None:
    """Give the threshold that has the best balanced accuracy if probabilities are right: the share of the class.

    Parameters
    ----------
    target
        What the labels are.
    shares
        Of the classes among what is learnt from, in the order of their names.
    balanced
        Whether they are learnt as if they had the same share.

    Returns
    -------
    float, list of float, or None
        As `bagwise.targets.classes.ClassTarget` takes it. None where no class is rare, or there are several of which
        each counts as often as it comes.

    Examples
    --------
    >>> target = ClassTarget.of(["normal", "cancer"])
    >>> threshold_by_shares(target, np.array([0.1, 0.9]), balanced=True)
    0.1
    """
    if not isinstance(target, ClassTarget) or not is_rare(shares):
        return None
    if target.classes.column is not None:
        return float(shares[target.classes.column])
    return shares.tolist() if balanced else None


def inner_folds(
    codes: NDArray[np.int64], groups: NDArray[np.object_] | None, seed: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Divide training bags, so that each is held out once.

    Parameters
    ----------
    codes
        The class of each bag, shape (B,).
    groups
        Of the bags, of which none is on both sides; None where there are none.
    seed
        Decides the division.

    Yields
    ------
    tuple
        Positions to learn from, and those held out; nothing where a class has fewer than `ENOUGH_OF_A_CLASS` bags, or
        groups leave a part without one.

    Examples
    --------
    >>> [(len(train), len(test)) for train, test in inner_folds(np.arange(60) % 2, None, seed=0)]
    [(40, 20), (40, 20), (40, 20)]
    """
    kinds, places = np.unique(codes, return_inverse=True)
    if np.bincount(places).min() < ENOUGH_OF_A_CLASS or (groups is not None and len(np.unique(groups)) < INNER_FOLDS):
        return
    fold = stratified_folds(places, INNER_FOLDS, seed, groups)
    parts = [(np.flatnonzero(fold != one), np.flatnonzero(fold == one)) for one in range(INNER_FOLDS)]
    if all(len(part) and len(np.unique(places[part])) == len(kinds) for both in parts for part in both):
        yield from parts


def best_threshold(
    positive: NDArray[np.bool_],
    probabilities: NDArray[np.floating],
    weights: NDArray[np.float64],
    share: float,
) -> float:
    """Find the threshold with the best balanced accuracy, the mean of the shares found of each class.

    If probabilities are right, the best is the share of the positive class; so of those that these bags cannot tell
    from the best, within one standard error, the nearest to the share is taken.

    Parameters
    ----------
    positive
        Which bags are, shape (B,); some are, and some are not.
    probabilities
        That they are, from models that did not learn from them, shape (B,).
    weights
        What each counts, shape (B,), above 0.
    share
        Of the positive class among what is learnt from.

    Returns
    -------
    float
        Bags of which the probability is above it are positive.

    Examples
    --------
    >>> positive, probabilities = np.array([False, False, True, True]), np.array([0.1, 0.2, 0.7, 0.9])
    >>> [round(best_threshold(positive, probabilities, np.ones(4), share), 3) for share in (0.1, 0.2, 0.5)]
    [0.45, 0.2, 0.5]
    """
    levels, places = np.unique(np.asarray(probabilities, np.float64), return_inverse=True)
    cuts = np.append((levels[1:] + levels[:-1]) / 2, share)
    above = np.append(np.arange(1, len(levels)), np.searchsorted(levels, share, side="right"))

    def found(of: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Give the share of these bags that lies below each level."""
        below = np.append(0.0, np.bincount(places[of], weights[of], len(levels)).cumsum())
        shares: NDArray[np.float64] = below / below[-1]
        return shares

    rejected, missed = found(~positive)[above], found(positive)[above]
    accuracy = (rejected + 1 - missed) / 2
    variance = rejected * (1 - rejected) / _count(weights[~positive]) + missed * (1 - missed) / _count(
        weights[positive]
    )
    best = accuracy.argmax()
    as_good = np.flatnonzero(accuracy >= accuracy[best] - np.sqrt(variance[best]) / 2)
    return float(cuts[as_good[np.abs(cuts[as_good] - share).argmin()]])


def _count(weights: NDArray[np.float64]) -> float:
    """Say how many bags of one weight tell as much as these."""
    return float(weights.sum() ** 2 / (weights**2).sum())
