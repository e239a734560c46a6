"""Sets of classes and intervals of numbers that hold the truth as often as was asked for: conformal prediction, CV+.

What a model says of bags that it learnt from tells nothing, so each training bag has a score by the model of its fold,
which did not learn from it: how badly its own label fits. A label belongs to the set of a new bag unless it fits worse,
by the models of all folds, than the labels of nearly all training bags of that class do. So it is within each class,
and a rare class is covered as often as a frequent one.

With coverage 1 - a the truth is in the set of at least 1 - 2 a of new bags, less a term that vanishes as bags become
many, whatever the model is, and of about 1 - a as it comes out: a bag more or less to be left out is rounded to the
nearest, where the books round down. The promise is for bags like those learnt from.

crepes and MAPIE have conformal sets, but neither weighs groups, which bags need: bags of one patient are alike, so each
group counts as one.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bagwise.errors import BagwiseError

__all__ = [
    "Scored",
    "SetFacts",
    "class_sets",
    "fewest_groups",
    "group_weights",
    "intervals",
    "label_sets",
    "p_values",
    "set_facts",
    "too_few",
]

# Weights of groups, such as thirds, are added up: what differs by less is the same.
_SAME = 1e-9
_AT_ONCE = 1 << 22  # numbers that are sorted at once


class Scored(NamedTuple):
    """Training bags, and what the model of each bag's own fold, which did not learn from it, says of it.

    Attributes
    ----------
    labels
        Of classes the column of the class, shape (n,); of several labels 0, 1 or NaN where that is not known, shape
        (n, L); or numbers, shape (n,).
    answers
        Probabilities of the classes or labels, shape (n, C); of numbers the number, shape (n,).
    fold
        Whose model said so, from 0 on, shape (n,).
    groups
        Of the bags, shape (n,): a group counts 1, and its bags share that. None: each bag counts 1.

    Examples
    --------
    >>> scored = Scored(np.array([0, 1]), np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([0, 1]))
    >>> scored.of(scored.labels == 1).fold.tolist()
    [1]
    """

    labels: NDArray[Any]
    answers: NDArray[np.floating]
    fold: NDArray[np.int64]
    groups: NDArray[Any] | None = None

    def of(self, which: NDArray[np.bool_]) -> Self:
        """Give some of the bags."""
        groups = None if self.groups is None else self.groups[which]
        return type(self)(self.labels[which], self.answers[which], self.fold[which], groups)


def p_values(
    scores: NDArray[np.floating],
    fold: NDArray[np.int64],
    asked: NDArray[np.floating],
    groups: NDArray[Any] | None = None,
) -> NDArray[np.float64]:
    """Say how unusual new bags are: which share of the bags of the folds is at least as strange, each bag included.

    A new bag is compared with the bags of each fold by the model of that fold. If it is like them, its p-value is below
    a with a probability of a at about, and never above 2 a but for the term of the module's text.

    Parameters
    ----------
    scores
        Of the training bags, each by the model of its own fold, shape (n,); the higher the stranger.
    fold
        That fold, from 0 on, shape (n,).
    asked
        Of new bags by the model of each fold, shape (K, B).
    groups
        Of the training bags, shape (n,): a group counts 1, and its bags share that. None: each bag counts 1.

    Returns
    -------
    array
        Shape (B,), above 0 and at most 1.

    References
    ----------
    R. Barber, E. Candès, A. Ramdas, R. Tibshirani: Predictive inference with the jackknife+. The Annals of Statistics,
    2021, section 3 (CV+). R. Dunn, L. Wasserman, A. Ramdas: Distribution-free prediction sets for two-layer
    hierarchical models. Journal of the American Statistical Association, 2023 (groups).

    Examples
    --------
    >>> scores, fold = np.array([0.1, 0.2, 0.3]), np.array([0, 0, 1])
    >>> p_values(scores, fold, np.array([[0.15, 0.9], [0.15, 0.9]])).tolist()
    [0.75, 0.25]
    """
    weights = group_weights(groups, len(scores))
    as_strange = np.zeros(asked.shape[1])
    for number, said in enumerate(asked):
        inside = np.flatnonzero(fold == number)
        inside = inside[np.argsort(scores[inside])]
        from_here_on = np.append(np.cumsum(weights[inside][::-1])[::-1], 0.0)
        as_strange += from_here_on[np.searchsorted(scores[inside], said)]
    found: NDArray[np.float64] = (1 + as_strange) / (1 + weights.sum())
    return found


def group_weights(groups: NDArray[Any] | None, count: int) -> NDArray[np.float64]:
    """Give what each bag counts: 1, or where there are groups its part of the 1 of its group.

    Parameters
    ----------
    groups
        Of the bags, shape (n,), or None.
    count
        The number of bags.

    Returns
    -------
    array
        Shape (n,).

    Examples
    --------
    >>> group_weights(np.array(["a", "b", "a"]), 3).tolist()
    [0.5, 1.0, 0.5]
    """
    if groups is None:
        return np.ones(count)
    _, of, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    return 1.0 / sizes[of]


def class_sets(scored: Scored, asked: NDArray[np.floating], coverage: float) -> NDArray[np.bool_]:
    """Say which classes are in the sets of bags: those that fit no worse than most training bags of that class do.

    How badly a class fits is 1 less its probability: of all sets that hold each class as often as is asked, those by
    this score have the fewest classes, were the probabilities true. A group with bags of several classes counts in
    each.

    Parameters
    ----------
    scored
        The training bags, with classes.
    asked
        Probabilities of new bags by the model of each fold, shape (K, B, C).
    coverage
        How often the truth shall be in its set, between 0 and 1.

    Returns
    -------
    array
        Shape (B, C). A set may be empty: then no class fits the bag.

    Raises
    ------
    BagwiseError
        If the coverage is out of its range.

    References
    ----------
    Y. Romano, M. Sesia, E. Candès: Classification with valid and adaptive coverage. NeurIPS, 2020 (CV+ of classes).
    M. Sadinle, J. Lei, L. Wasserman: Least ambiguous set-valued classifiers with bounded error levels. Journal of the
    American Statistical Association, 2019, theorem 1 (the score).

    Examples
    --------
    >>> answers = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [0.4, 0.6]])
    >>> scored = Scored(np.array([0, 1, 0, 1]), answers, np.array([0, 0, 1, 1]))
    >>> class_sets(scored, np.array([[[0.85, 0.15]], [[0.8, 0.2]]]), coverage=0.6).tolist()
    [[True, False]]
    """
    asked = 1.0 - asked.astype(np.float64)
    found = np.empty(asked.shape[1:], bool)
    for column in range(asked.shape[2]):
        own = scored.of(scored.labels == column)
        p = p_values(1.0 - own.answers[:, column].astype(np.float64), own.fold, asked[:, :, column], own.groups)
        found[:, column] = p > _level(coverage, group_weights(own.groups, len(own.fold)).sum()) + _SAME
    return found


def label_sets(scored: Scored, asked: NDArray[np.floating], coverage: float) -> NDArray[np.bool_]:
    """Say for each of several labels whether 0 and 1 are in the sets of bags: each is a pair of classes of its own.

    Parameters
    ----------
    scored
        The training bags, with several labels.
    asked
        Probabilities of new bags by the model of each fold, shape (K, B, L).
    coverage
        As in `class_sets`.

    Returns
    -------
    array
        Shape (B, L, 2).

    Raises
    ------
    BagwiseError
        If the coverage is out of its range.

    Examples
    --------
    >>> labels, answers = np.array([[0.0], [1], [np.nan]]), np.array([[0.1], [0.8], [0.5]])
    >>> scored = Scored(labels, answers, np.array([0, 0, 1]))
    >>> label_sets(scored, np.array([[[0.9]], [[0.7]]]), coverage=0.5).tolist()
    [[[False, True]]]
    """
    pairs = []
    for column in range(scored.labels.shape[1]):
        known = scored.of(np.isfinite(scored.labels[:, column]))
        of_two, new = (np.stack([1.0 - one, one], axis=-1) for one in (known.answers[:, column], asked[:, :, column]))
        of_pair = known._replace(labels=known.labels[:, column].astype(np.int64), answers=of_two)
        pairs.append(class_sets(of_pair, new, coverage))
    return np.stack(pairs, axis=1)


def intervals(
    scored: Scored, asked: NDArray[np.floating], coverage: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give intervals of numbers.

    Parameters
    ----------
    scored
        The training bags, with numbers.
    asked
        Of new bags by the model of each fold, shape (K, B).
    coverage
        How often the truth shall be in its interval, between 0 and 1.

    Returns
    -------
    tuple of arrays
        The lowest and the highest number, each of shape (B,); infinite where there are too few training bags.

    Raises
    ------
    BagwiseError
        If the coverage is out of its range.

    References
    ----------
    R. Barber, E. Candès, A. Ramdas, R. Tibshirani: Predictive inference with the jackknife+. The Annals of Statistics,
    2021, equation 3.1.

    Examples
    --------
    >>> labels = np.array([1.0, 2.0, 3.0])
    >>> intervals(Scored(labels, labels + 0.5, np.array([0, 1, 1])), np.array([[4.0], [5.0]]), coverage=0.5)
    (array([4.5]), array([5.5]))
    """
    weights = group_weights(scored.groups, len(scored.labels))
    wanted = (1 - _level(coverage, weights.sum())) * (1 + weights.sum()) - _SAME
    off = np.abs(scored.labels.astype(np.float64) - scored.answers)
    low, high = np.empty((2, asked.shape[1]))
    rows = max(1, _AT_ONCE // max(1, len(scored.labels)))
    for begin in range(0, asked.shape[1], rows):
        part = slice(begin, begin + rows)
        said = asked[scored.fold, part].T.astype(np.float64)
        high[part] = _reached(said + off, weights, wanted)
        low[part] = -_reached(off - said, weights, wanted)
    return low, high


def _reached(values: NDArray[np.float64], weights: NDArray[np.float64], wanted: float) -> NDArray[np.float64]:
    """Give for each row the least value up to which values weigh as much as is wanted; infinity where all do not."""
    order = np.argsort(values, axis=1)
    place = (np.cumsum(weights[order], axis=1) < wanted).sum(axis=1)
    ordered = np.column_stack([np.take_along_axis(values, order, axis=1), np.full(len(values), np.inf)])
    reached: NDArray[np.float64] = ordered[np.arange(len(values)), place]
    return reached


def fewest_groups(coverage: float) -> int:
    """Say how many bags of a class, or groups, it takes for sets that leave that class out.

    Parameters
    ----------
    coverage
        Between 0 and 1.

    Returns
    -------
    int

    Raises
    ------
    BagwiseError
        If the coverage is out of its range.

    Examples
    --------
    >>> fewest_groups(0.9), fewest_groups(0.95)
    (9, 19)
    """
    return math.ceil(1 / _miss(coverage) - _SAME) - 1


def too_few(scored: Scored, names: Sequence[Any], coverage: float) -> str | None:
    """Say of which classes there are too few training bags for sets to leave them out.

    Parameters
    ----------
    scored
        The training bags, whose labels are places of classes among the `names`.
    names
        Of the classes.
    coverage
        How often the truth shall be in its set, between 0 and 1.

    Returns
    -------
    str or None
        A sentence, or None where there are enough of each.

    Raises
    ------
    BagwiseError
        If the coverage is out of its range.

    Examples
    --------
    >>> scored = Scored(np.array([0] * 9 + [1] * 3), np.full((12, 2), 0.5), np.arange(12) % 2)
    >>> too_few(scored, ["no", "yes"], 0.9)
    'with 3 bags of class yes, fewer than the 9 that a coverage of 90 % needs, it is in the set of every bag'
    """
    needed, called = fewest_groups(coverage), "bags" if scored.groups is None else "groups with bags"
    found = []
    for place, name in enumerate(names):
        own = scored.of(scored.labels == place)
        count = len(own.fold) if own.groups is None else len(np.unique(own.groups))
        if count < needed:
            found.append(f"{count} {called} of class {name}")
    if not found:
        return None
    it = "it is" if len(found) == 1 else "each is"
    return (
        f"with {' and '.join(found)}, fewer than the {needed} that a coverage of {100 * coverage:g} % needs, {it} in"
        " the set of every bag"
    )


class SetFacts(NamedTuple):
    """How good sets are.

    Attributes
    ----------
    coverage
        The share of bags whose class is in their set.
    by_class
        The same of the bags of each class, shape (C,); NaN of a class without bags.
    size
        Mean number of classes in a set; an empty one counts 0.
    empty
        The share of empty sets.
    single
        The share of sets of one class.
    """

    coverage: float
    by_class: NDArray[np.float64]
    size: float
    empty: float
    single: float


def set_facts(sets: NDArray[np.bool_], labels: NDArray[np.int64]) -> SetFacts:
    """Measure sets of bags whose classes are known.

    Parameters
    ----------
    sets
        Which classes are in the set of each bag, shape (B, C).
    labels
        The column of the class of each bag, shape (B,).

    Returns
    -------
    SetFacts

    Examples
    --------
    >>> facts = set_facts(np.array([[True, False], [True, True], [False, False]]), np.array([0, 1, 1]))
    >>> facts.by_class.tolist(), facts.size
    ([1.0, 0.5], 1.0)
    """
    held, sizes = sets[np.arange(len(labels)), labels], sets.sum(axis=1)
    of = [held[labels == column] for column in range(sets.shape[1])]
    by_class = np.array([one.mean() if len(one) else np.nan for one in of])
    return SetFacts(
        float(held.mean()), by_class, float(sizes.mean()), float((sizes == 0).mean()), float((sizes == 1).mean())
    )


def _miss(coverage: ArrayLike) -> float:
    if not isinstance(coverage, int | float) or not 0 < coverage < 1:
        raise BagwiseError(f"the coverage is {coverage!r}: it must be between 0 and 1, such as 0.9")
    return 1.0 - coverage


def _level(coverage: float, groups: float) -> float:
    """Give which share of the groups, and of one more, may be left out: as many whole ones as come nearest, if any."""
    many = _miss(coverage) * (1 + groups)
    return 0.0 if many < 1 - _SAME else math.floor(many + 0.5 + _SAME) / (1 + groups)
