"""What holds the truth as often as was asked for, by the kind of target: sets of classes, or intervals of numbers."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bagwise.errors import BagwiseError
from bagwise.targets.contract import Target
from bagwise.trust.sets import Scored, class_sets, fewest_groups, intervals, label_sets, too_few

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


def covered(target: Target, scored: Scored, asked: NDArray[np.floating], coverage: float) -> Covered:
    """Make sets of classes, grades or labels, or intervals of numbers or counts, as `bagwise.trust.sets` has them.

    Of several labels or numbers each is held as often as was asked. How far a count is off is measured between square
    roots, whose spread does not grow with it; its interval ends at whole numbers.

    Parameters
    ----------
    target
        What labels are.
    scored
        The training bags: labels as the target encodes them, shape (n, T), and answers, shape (n, A).
    asked
        What the model of each fold says of new bags, shape (K, B, A).
    coverage
        How often the truth shall be held, between 0 and 1.

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
    >>> scored = Scored(held_out.target.encoded(bags.labels), held_out.answers, held_out.fold)
    >>> covered(held_out.target, scored, asked, 0.9).sets.tolist()
    [[True, False], [False, True]]
    """
    if target.kind == "survival":
        raise BagwiseError("times until an event have neither sets nor intervals yet: leave the coverage out")
    if target.kind == "multi-label":
        return Covered(label_sets(scored, asked, coverage), None, None, _doubts_of_labels(target, scored, coverage))
    if target.names is not None:
        of_classes = scored._replace(labels=_columns(target, scored.labels))
        doubt = too_few(of_classes, target.names.tolist(), coverage)
        return Covered(class_sets(of_classes, asked, coverage), None, None, () if doubt is None else (doubt,))
    ends = _ends_of_counts if target.kind == "count" else intervals
    found = [
        ends(
            scored._replace(labels=scored.labels[:, column], answers=scored.answers[:, column]),
            asked[:, :, column],
            coverage,
        )
        for column in range(scored.labels.shape[1])
    ]
    low, high = (np.stack(end, axis=1) for end in zip(*found, strict=True))
    groups, needed = scored.groups, fewest_groups(coverage)
    count = len(scored.fold) if groups is None else len(np.unique(groups))
    doubt = (
        f"with {count} {'bags' if groups is None else 'groups'}, fewer than the {needed} that a coverage of"
        f" {100 * coverage:g} % needs, every number is in the interval of every bag"
    )
    return Covered(None, low, high, (doubt,) if count < needed else ())


def _ends_of_counts(
    scored: Scored, asked: NDArray[np.floating], coverage: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    roots = scored._replace(labels=np.sqrt(scored.labels), answers=np.sqrt(scored.answers))
    low, high = intervals(roots, np.sqrt(asked), coverage)
    high = np.floor(np.square(high) + _ROUNDED)
    return np.minimum(np.ceil((np.square(low.clip(min=0.0)) - _ROUNDED).clip(min=0.0)), high), high


def _columns(target: Target, encoded: NDArray[np.float64]) -> NDArray[np.int64]:
    """Give the column of each label's class or grade: of two classes learning has the positive one last."""
    assert target.names is not None
    of_column = target.by_name(np.arange(len(target.names)))
    columns: NDArray[np.int64] = np.argsort(of_column)[encoded[:, 0].astype(np.int64)]
    return columns


def _doubts_of_labels(target: Target, scored: Scored, coverage: float) -> tuple[str, ...]:
    assert target.names is not None
    found = []
    for place, name in enumerate(target.names.tolist()):
        known = scored.of(np.isfinite(scored.labels[:, place]))
        of_pair = known._replace(labels=known.labels[:, place].astype(np.int64))
        doubt = too_few(of_pair, [f"{name}=0", f"{name}=1"], coverage)
        found += [] if doubt is None else [doubt]
    return tuple(found)
