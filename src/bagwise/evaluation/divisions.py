"""What a user may give for folds, and the division that it becomes."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bagwise.bags import Bags
from bagwise.checks import valid_positions
from bagwise.errors import BagwiseError, BagwiseWarning
from bagwise.evaluation.protocol import Division, Folds, Split, splits_of

__all__ = [
    "FoldsLike",
    "connected_groups",
    "divide",
    "expanding_windows",
    "in_rounds",
    "leave_one_group_out",
    "predefined",
    "warn_of_groups",
]

# A number; "group"; a splitter of scikit-learn's; (train, test) positions; the fold of each bag, by place or by name.
FoldsLike = int | str | Division | ArrayLike | Iterable[tuple[Any, ...]] | Mapping[str, Any] | Any


def divide(bags: Bags, folds: FoldsLike, repeats: int = 1, seed: int = 0, target: str = "auto") -> Division:
    """Divide bags as a user says.

    Parameters
    ----------
    bags
        Bags with labels.
    folds
        One of

        - a number: `Folds`, stratified, and with no group on both sides;
        - ``"group"``: as `leave_one_group_out`;
        - a splitter of scikit-learn's, or anything with its ``split(X, y, groups)``, which gets the bags, their labels
          and their groups;
        - a list of (train, test) or (train, validation, test), each an array of positions or a mask of shape (B,);
        - the fold that tests each bag, shape (B,) or (repeats, B), or a mapping from a bag's name to it; a bag of fold
          -1 is never tested, and always learnt from. Folds are numbered anew, from 0 on, in their order;
        - a `Division`, which is given back.

        In a list a repetition ends where a bag would be tested a second time; where repetitions would not be alike,
        each fold is one.
    repeats, seed
        As in `Folds`, for a number of folds alone.

    Returns
    -------
    Division

    Raises
    ------
    BagwiseError
        If it is none of these or does not fit the bags, or a bag is on both sides.

    Warns
    -----
    BagwiseWarning
        If a group is on both sides of a split that the user gave.

    Examples
    --------
    >>> bags = Bags.from_arrays([[[0.0]]] * 4, labels=[0, 1] * 2)
    >>> divide(bags, [([0, 1], [2]), ([0, 1], [3])]).assignment.tolist()
    [[-1, -1, 0, 1]]
    >>> from sklearn.model_selection import LeaveOneOut
    >>> divide(bags, LeaveOneOut()).assignment.tolist()
    [[0, 1, 2, 3]]
    """
    if isinstance(folds, Integral) and not isinstance(folds, bool):
        return Folds(bags, int(folds), repeats, seed, target=target)
    if repeats != 1:
        raise BagwiseError(
            f"repeats is {repeats!r}, and folds are no number: folds that are given say themselves how often bags are"
            " divided, so leave repeats out"
        )
    if isinstance(folds, Division):
        if folds.assignment.shape[1] != len(bags):
            raise BagwiseError(f"the folds are of {folds.assignment.shape[1]} bags, and there are {len(bags)}")
        return folds
    if isinstance(folds, str):
        if folds == "group":
            return leave_one_group_out(bags)
        raise BagwiseError(
            f"folds is {folds!r}: it must be a number, 'group', a splitter, a list of (train, test), ..."
        )
    division = _given(bags, folds)
    warn_of_groups(division, bags)
    return division


def leave_one_group_out(bags: Bags) -> Division:
    """Test the bags of one group after the other, by what was learnt from those of all others.

    Parameters
    ----------
    bags
        Bags with groups.

    Returns
    -------
    Division
        A fold a group, in the order of their names.

    Raises
    ------
    BagwiseError
        If the bags have no groups, or only one.

    Examples
    --------
    >>> bags = Bags.from_arrays([[[0.0]]] * 4, labels=[0, 1] * 2, groups=["b", "b", "a", "a"])
    >>> leave_one_group_out(bags).assignment.tolist()
    [[1, 1, 0, 0]]
    """
    if bags.groups is None:
        raise BagwiseError("the bags have no groups to leave out: say which group each bag is of")
    names, codes = np.unique(bags.groups, return_inverse=True)
    if len(names) < 2:
        raise BagwiseError(f"all bags are of group {names[0]!s}: to leave one out there must be two or more")
    return Division(bags, splits_of(codes[None]), "leave-one-group-out")


def connected_groups(*columns: Sequence[Any]) -> NDArray[np.object_]:
    """Make groups of bags that share anything that must be kept apart: patient or site.

    Parameters
    ----------
    *columns
        One value a bag in each.

    Returns
    -------
    array
        Shape (B,): of each bag its group, named by what its first bag has in the columns. Bags that share a value are
        in one group, and so are those that share one with a third.

    Examples
    --------
    >>> connected_groups(["ann", "ann", "bob", "cid"], ["north", "south", "south", "west"]).tolist()
    ['ann + north', 'ann + north', 'ann + north', 'cid + west']
    """
    from scipy.sparse import coo_array  # which takes a moment to load, and few have several groups
    from scipy.sparse.csgraph import connected_components

    count = len(columns[0])
    codes = [np.unique(np.asarray(column, dtype=str), return_inverse=True)[1] for column in columns]
    # Bags and values are nodes, and a bag is tied to each of its values.
    begins = count + np.cumsum([0, *(code.max() + 1 for code in codes)])
    ends = np.concatenate([begin + code for begin, code in zip(begins, codes, strict=False)])
    ties = coo_array((np.ones(len(ends)), (np.tile(np.arange(count), len(codes)), ends)), shape=(begins[-1],) * 2)
    parts = connected_components(ties, directed=False)[1][:count]
    _, firsts, places = np.unique(parts, return_index=True, return_inverse=True)
    names = np.array([" + ".join(str(column[first]) for column in columns) for first in firsts], dtype=object)
    named: NDArray[np.object_] = names[places]
    return named


def expanding_windows(bags: Bags, times: ArrayLike, folds: int = 10) -> Division:
    """Test bags by what was learnt from earlier ones: windows that grow.

    Bags are put in the order of their times and cut into one more part than there are folds, as even as bags of one
    time allow, which stay together. The first fold learns from the first part and is tested on the second, the next
    learns from both and is tested on the third; the bags of the first part are never tested. Where bags have groups,
    a fold does not learn from earlier bags of a group that it tests.

    Parameters
    ----------
    bags
        The bags.
    times
        Numbers or dates, shape (B,); the test lies after the training.
    folds
        Number of folds.

    Returns
    -------
    Division

    Raises
    ------
    BagwiseError
        If a time is missing, or there are too few different ones.

    Examples
    --------
    >>> bags = Bags.from_arrays([[[0.0]]] * 6, labels=[0, 1] * 3)
    >>> later = expanding_windows(bags, [2019, 2020, 2018, 2020, 2018, 2019], folds=2)
    >>> [(split.train.tolist(), split.test.tolist()) for split in later.splits]
    [([2, 4], [0, 5]), ([0, 2, 4, 5], [1, 3])]
    """
    values = np.asarray(times)
    if values.shape != (len(bags),):
        raise BagwiseError(f"the times have shape {values.shape}: give one for each of the {len(bags)} bags")
    if values.dtype.kind not in "biufM":
        raise BagwiseError(f"the times hold {values.dtype} values: they must be numbers or dates")
    for place in np.flatnonzero(np.isnat(values) if values.dtype.kind == "M" else ~np.isfinite(values))[:1]:
        raise BagwiseError(f"bag {bags.names[place]!r} has no time: give it one, or leave the bag out")
    if not isinstance(folds, Integral) or folds < 1:
        raise BagwiseError(f"folds is {folds!r}: it must be a whole number from 1 on")
    moments, codes, counts = np.unique(values, return_inverse=True, return_counts=True)
    if len(moments) <= folds:
        raise BagwiseError(
            f"there are {len(moments)} different times, too few for {folds} folds, each after what it learns from: use"
            f" at most {len(moments) - 1}"
        )
    part = _even_parts(counts, int(folds) + 1)[codes]
    splits = []
    for fold in range(int(folds)):
        train, test = part <= fold, part == fold + 1
        if bags.groups is not None:
            train &= ~np.isin(bags.groups, bags.groups[test])
        splits.append(Split(0, fold, np.flatnonzero(train), np.flatnonzero(test)))
    return Division(bags, splits, "expanding-windows")


def predefined(bags: Bags, parts: Sequence[str | None]) -> Division:
    """Take one division as it is kept in a column: train, val and test.

    Parameters
    ----------
    bags
        The bags.
    parts
        Of each bag ``"train"``, ``"val"``, ``"test"``, or None where it takes no part.

    Returns
    -------
    Division
        Of one fold. Groups that are on both sides are told in a `BagwiseWarning`.

    Examples
    --------
    >>> bags = Bags.from_arrays([[[0.0]]] * 4, labels=[0, 1] * 2)
    >>> predefined(bags, ["train", "val", "train", "test"]).splits[0].validation.tolist()
    [1]
    """
    given = np.array(parts, dtype=object)
    positions = (np.flatnonzero(given == part) for part in ("train", "test", "val"))
    division = Division(bags, [Split(0, 0, *positions)])
    warn_of_groups(division, bags)
    return division


def warn_of_groups(division: Division, bags: Bags) -> None:
    """Warn where a division that a user gave has a group on both sides.

    Parameters
    ----------
    division
        The division.
    bags
        Its bags.
    """
    if bags.groups is None:
        return
    shared = list(division.shared_groups(bags.groups))
    for split, group in shared[:1]:
        more = f", and so {len(shared) - 1} more times," if len(shared) > 1 else ","
        warnings.warn(
            f"group {group!s} is on both sides of {division.called(split)}{more} as the folds were given: results will"
            " be better than those for new groups",
            BagwiseWarning,
            stacklevel=4,
        )


def _given(bags: Bags, folds: Any) -> Division:
    if hasattr(folds, "split") and not isinstance(folds, np.ndarray):
        with warnings.catch_warnings():
            # Whether it keeps groups apart, the division shows.
            warnings.filterwarnings("ignore", "The groups parameter is ignored")
            try:
                pairs = list(folds.split(bags, bags.labels, bags.groups))
            except (ValueError, TypeError) as error:
                raise BagwiseError(f"{type(folds).__name__} cannot divide these bags: {error}") from error
        return Division(bags, in_rounds([_split(pair, bags) for pair in pairs]), type(folds).__name__)
    if isinstance(folds, Mapping):
        return Division(bags, splits_of(_by_name(bags, folds)))
    listed = list(folds) if isinstance(folds, Iterable) else []
    if listed and all(isinstance(entry, tuple | list) and len(entry) in (2, 3) and _nested(entry) for entry in listed):
        return Division(bags, in_rounds([_split(entry, bags) for entry in listed]))
    return Division(bags, splits_of(_assignment(listed, len(bags))))


def _nested(entry: Sequence[Any]) -> bool:
    return all(np.ndim(part) == 1 for part in entry)


def _split(pair: Sequence[Any], bags: Bags) -> Split:
    train, *validation, test = (valid_positions(part, bags.names, "the positions of a fold") for part in pair)
    return Split(0, 0, train, test, *validation)


def in_rounds(splits: Sequence[Split]) -> list[Split]:
    """Give splits their numbers: a repetition ends where a bag would be tested a second time.

    Parameters
    ----------
    splits
        In order, whatever their numbers.

    Returns
    -------
    list of Split
        Where repetitions would not have equally many folds, each is one of one fold.

    Examples
    --------
    >>> one, other = np.array([0]), np.array([1])
    >>> [split[:2] for split in in_rounds([Split(0, 0, one, other), Split(0, 0, other, one), Split(0, 0, one, other)])]
    [(0, 0), (1, 0), (2, 0)]
    """
    rounds: list[list[Split]] = []
    met: set[int] = set()
    for split in splits:
        test = set(split.test.tolist())
        if not rounds or test & met:
            rounds.append([])
            met = set()
        met |= test
        rounds[-1].append(split)
    if len({len(one) for one in rounds}) > 1:  # tests drawn at random, of which some happen not to overlap
        rounds = [[split] for split in splits]
    return [
        split._replace(repeat=repeat, fold=fold) for repeat, one in enumerate(rounds) for fold, split in enumerate(one)
    ]


def _by_name(bags: Bags, folds: Mapping[str, Any]) -> NDArray[np.int64]:
    names = set(bags.names.tolist())
    for strange in [name for name in folds if name not in names][:1]:
        raise BagwiseError(f"the folds have bag {strange!r}, which is not in the data: take it out")
    for name in bags.names:
        if name not in folds:
            raise BagwiseError(f"bag {name!r} has no fold: give it one, or -1 if it shall never be tested")
    return _assignment([folds[name] for name in bags.names], len(bags))


def _assignment(listed: Sequence[Any], count: int) -> NDArray[np.int64]:
    try:
        array = np.atleast_2d(np.array(listed))
    except ValueError as error:
        raise BagwiseError("the folds are ragged: give (train, test) pairs, or one fold for each bag") from error
    if array.shape[1:] != (count,):
        raise BagwiseError(
            f"the folds have shape {np.shape(listed)}, and there are {count} bags: give a number, 'group', a splitter,"
            " a list of (train, test), or the fold of each bag, of shape (B,) or (repeats, B)"
        )
    for place in np.argwhere([[not _is_fold(number) for number in row] for row in array])[:1]:
        raise BagwiseError(
            f"bag {place[1]} has the fold {array[tuple(place)].item()!r}: folds are whole numbers from 0 on, or -1 for"
            " a bag that is never tested"
        )
    return array.astype(np.int64)


def _is_fold(number: Any) -> bool:
    if not isinstance(number, Real) or isinstance(number, bool | np.bool_):
        return False
    value = float(number)
    return value >= -1 and value.is_integer()


def _even_parts(counts: NDArray[np.int64], parts: int) -> NDArray[np.int64]:
    """Cut a sequence of groups of bags into parts, none empty, as even as they go; give the part of each."""
    middles = np.cumsum(counts) - counts / 2
    part: NDArray[np.int64] = np.minimum((middles * parts / counts.sum()).astype(np.int64), parts - 1)
    part[0] = 0
    for place in range(1, len(part)):  # at most one further than the one before, and far enough for those to come
        lowest = max(part[place - 1], parts - (len(part) - place))
        part[place] = np.clip(part[place], lowest, part[place - 1] + 1)
    return part
