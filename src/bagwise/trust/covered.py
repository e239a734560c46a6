"""What holds the truth as often as was asked for, by the kind of target: sets of classes, or intervals of numbers."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bagwise.errors import BagwiseError
from bagwise.targets.contract import Target
from bagwise.trust.sets import class_sets, fewest_groups, intervals, label_sets, too_few

__all__ = ["Covered", "covered"]

_ROUNDED = 1e-9  # what the square of a square root is off by


class Covered(NamedTuple):
    """What holds the truth of each bag.

    Attributes
    ----------
    sets
        Which classes or grades are in the set of each bag, shape (B, C), or of each of several labels whether 0 and 1
        are in it, shape (B, L, 2); None of numbers.
    low, high
        The intervals of numbers, shape (B, T), infinite where there are too few training bags; None of classes.
    doubts
        Sentences: of what there are too few training bags.
    """

    sets: NDArray[np.bool_] | None
    low: NDArray[np.float64] | None
    high: NDArray[np.float64] | None
    doubts: tuple[str, ...]


def covered(
    target: Target,
    encoded: NDArray[np.float64],
    answers: NDArray[np.floating],
    fold: NDArray[np.int64],
    asked: NDArray[np.floating],
    coverage: float,
    groups: NDArray[Any] | None = None,
) -> Covered:
    """Make sets of classes, grades or labels, or intervals of numbers or counts, as `bagwise.trust.sets` has them.

    Of several labels or numbers each is held as often as was asked. How far a count is off is measured between square
    roots, whose spread does not grow with it; its interval ends at whole numbers.

    Parameters
    ----------
    target
        What labels are.
    encoded
        Those of the training bags, as it encodes them, shape (n, T).
    answers
        What is said of these by the model of each bag's own fold, shape (n, A).
    fold
        That fold, from 0 on, shape (n,).
    asked
        What the model of each fold says of new bags, shape (K, B, A).
    coverage
        How often the truth shall be held, between 0 and 1.
    groups
        Of the training bags, shape (n,), or None.

    Returns
    -------
    Covered

    Raises
    ------
    BagwiseError
        If the coverage is out of its range, or labels are times until an event.

    Examples
    --------
    >>> import bagwise as bw
    >>> from bagwise.trust.held_out import hold_out
    >>> bags = bw.Bags.from_arrays([[[float(bag % 2)]] for bag in range(40)], labels=[0, 1] * 20)
    >>> held_out = hold_out(bw.make("miVLAD", random_state=0), bags, folds=2, n_jobs=1)
    >>> asked = np.stack([model.answers(bags[:2]) for model in held_out.models])
    >>> encoded = held_out.target.encoded(bags.labels)
    >>> covered(held_out.target, encoded, held_out.answers, held_out.fold, asked, 0.9).sets.tolist()
    [[True, False], [False, True]]
    """
    if target.kind == "survival":
        raise BagwiseError("times until an event have neither sets nor intervals yet: leave the coverage out")
    if target.kind == "multi-label":
        sets = label_sets(encoded, answers, fold, asked, coverage, groups)
        return Covered(sets, None, None, _doubts_of_labels(target, encoded, coverage, groups))
    if target.names is not None:
        columns = _columns(target, encoded)
        sets = class_sets(columns, answers, fold, asked, coverage, groups)
        doubt = too_few(columns, target.names.tolist(), coverage, groups)
        return Covered(sets, None, None, () if doubt is None else (doubt,))
    ends = _ends_of_counts if target.kind == "count" else intervals
    found = [
        ends(encoded[:, column], answers[:, column], fold, asked[:, :, column], coverage, groups)
        for column in range(encoded.shape[1])
    ]
    low, high = (np.stack(end, axis=1) for end in zip(*found, strict=True))
    count, needed = len(fold) if groups is None else len(np.unique(groups)), fewest_groups(coverage)
    doubt = (
        f"with {count} {'bags' if groups is None else 'groups'}, fewer than the {needed} that a coverage of"
        f" {100 * coverage:g} % needs, every number is in the interval of every bag"
    )
    return Covered(None, low, high, (doubt,) if count < needed else ())


def _ends_of_counts(
    counts: NDArray[np.float64],
    answers: NDArray[np.floating],
    fold: NDArray[np.int64],
    asked: NDArray[np.floating],
    coverage: float,
    groups: NDArray[Any] | None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    low, high = intervals(np.sqrt(counts), np.sqrt(answers), fold, np.sqrt(asked), coverage, groups)
    high = np.floor(np.square(high) + _ROUNDED)
    return np.minimum(np.ceil((np.square(low.clip(min=0.0)) - _ROUNDED).clip(min=0.0)), high), high


def _columns(target: Target, encoded: NDArray[np.float64]) -> NDArray[np.int64]:
    """Give the column of each label's class or grade: of two classes learning has the positive one last."""
    assert target.names is not None
    of_column = target.by_name(np.arange(len(target.names)))
    columns: NDArray[np.int64] = np.argsort(of_column)[encoded[:, 0].astype(np.int64)]
    return columns


def _doubts_of_labels(
    target: Target, labels: NDArray[np.float64], coverage: float, groups: NDArray[Any] | None
) -> tuple[str, ...]:
    assert target.names is not None
    found = []
    for name, column in zip(target.names.tolist(), labels.T, strict=True):
        known = np.isfinite(column)
        of_known = None if groups is None else groups[known]
        doubt = too_few(column[known].astype(np.int64), [f"{name}=0", f"{name}=1"], coverage, of_known)
        found += [] if doubt is None else [doubt]
    return tuple(found)
