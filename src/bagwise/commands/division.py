"""Which bags learn, stop and are tested, as options say it."""

import warnings
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bagwise.bags import Bags
from bagwise.commands.data import DataSource
from bagwise.commands.options import Evaluation, Training
from bagwise.errors import BagwiseError, BagwiseWarning
from bagwise.evaluation.divisions import expanding_windows, leave_one_group_out, predefined
from bagwise.evaluation.fold_files import part_named, read_folds
from bagwise.evaluation.protocol import Division, Folds
from bagwise.io.problems import some

__all__ = ["ForLearning", "digest_of_division", "divided", "for_learning", "parts_of"]


class ForLearning(NamedTuple):
    """The bags that a run may learn from.

    Attributes
    ----------
    bags, weights
        Those for train and for val, and what each counts; None where all count the same.
    validation
        Which of them are for val, bool, shape (B,).
    left_out
        How many bags are for neither; None where no column divides them.
    asked
        What tells this division from others; empty where there is none.
    """

    bags: Bags
    weights: NDArray[np.float64] | None
    validation: NDArray[np.bool_]
    left_out: int | None
    asked: dict[str, Any]


def for_learning(bags: Bags, weights: NDArray[np.float64] | None, source: DataSource) -> ForLearning:
    """Leave out the bags that are not to be learnt from.

    Parameters
    ----------
    bags, weights
        What the source gave.
    source
        The data; its `split` is a column that says what each bag is for.

    Returns
    -------
    ForLearning

    Raises
    ------
    BagwiseError
        If no bag is for train, or as in `parts_of`.
    """
    if source.split is None:
        return ForLearning(bags, weights, np.zeros(len(bags), bool), None, {})
    parts = np.array(parts_of(bags, source), dtype=object)
    if not (parts == "train").any():
        raise BagwiseError(f"column {source.split!r} says of no bag that it is for train: there must be some")
    kept = np.isin(parts, ["train", "val"])
    return ForLearning(
        bags[kept],
        None if weights is None else weights[kept],
        parts[kept] == "val",
        int((~kept).sum()),
        {"division": blake2b(repr(parts.tolist()).encode(), digest_size=16).hexdigest()},
    )


def divided(bags: Bags, source: DataSource, evaluation: Evaluation, training: Training) -> Division:
    """Divide bags as the options of `bagwise evaluate` say.

    Parameters
    ----------
    bags
        What the source gave.
    source
        The data; its `split` is a column that keeps one division.
    evaluation
        ``folds``: a number, ``"group"``, or a file or folder as `read_folds` takes it. ``folds_by``: a column with the
        time of each bag; then ``folds`` is the number of windows.
    training
        Its seed decides what is left to chance, and its target which bags are alike.

    Returns
    -------
    Division

    Raises
    ------
    BagwiseError
        If options contradict each other, or the bags cannot be divided so.
    """
    folds, is_number = evaluation.folds, evaluation.folds.lstrip("-").isdigit()
    ways = [
        ("--split", source.split is not None),
        ("--folds-by", evaluation.folds_by is not None),
        (f"--folds {folds}", not is_number),
    ]
    chosen = [name for name, given in ways if given]
    if len(chosen) > 1:
        raise BagwiseError(f"{chosen[0]} and {chosen[1]} both say which bags are tested: give one of them")
    if chosen and evaluation.repeats != 1:
        raise BagwiseError(f"--repeats is {evaluation.repeats} and {chosen[0]} divides the bags itself: leave it out")
    if source.split is not None:
        return predefined(bags, parts_of(bags, source))
    if evaluation.folds_by is not None:
        return expanding_windows(bags, _times(bags, source, evaluation.folds_by), int(folds))
    if is_number:
        return Folds(bags, int(folds), evaluation.repeats, training.seed, target=training.target or "auto")
    if folds == "group":
        if bags.groups is None:
            raise BagwiseError(
                "--folds group leaves one group out after the other: say with --group which column it is"
            )
        return leave_one_group_out(bags)
    return read_folds(folds, bags)


def parts_of(bags: Bags, source: DataSource) -> list[str | None]:
    """Read from a column what each bag is for.

    Parameters
    ----------
    bags
        What the source gave.
    source
        With a `split`.

    Returns
    -------
    list
        Of each bag ``"train"``, ``"val"`` or ``"test"``, or None where nothing stands, which is told.

    Raises
    ------
    BagwiseError
        If something else stands there.
    """
    assert source.split is not None
    parts: list[str | None] = []
    for name, text in zip(bags.names, source.values(bags.names, source.split), strict=True):
        part = None if text is None else part_named(text)
        if text is not None and part is None:
            raise BagwiseError(f"column {source.split!r} says {text!r} of bag {name!r}: it must be train, val or test")
        parts.append(part)
    out = [str(name) for name, part in zip(bags.names, parts, strict=True) if part is None]
    if out:
        have, are = ("1 bag has", "is") if len(out) == 1 else (f"{len(out):,} bags have", "are")
        told = f"{have} nothing in column {source.split!r} and {are} left out ({some(out)})"
        warnings.warn(told, BagwiseWarning, stacklevel=2)
    return parts


def digest_of_division(division: Division) -> str:
    """Sum up a division, so that what is gone on with is the same.

    Parameters
    ----------
    division
        The division.

    Returns
    -------
    str
        A hash in hexadecimal.

    Examples
    --------
    >>> bags = Bags.from_arrays([[[0.0]]] * 4, labels=[0, 1] * 2)
    >>> len({digest_of_division(Folds(bags, 2, 1, seed)) for seed in (0, 0)})
    1
    """
    told = [[*split[:2], *(part.tolist() for part in split[2:])] for split in division.splits]
    return blake2b(repr(told).encode(), digest_size=16).hexdigest()


def _times(bags: Bags, source: DataSource, column: str) -> NDArray[np.generic]:
    texts = source.values(bags.names, column)
    for name, text in zip(bags.names, texts, strict=True):
        if text is None:
            raise BagwiseError(f"column {column!r} has nothing for bag {name!r}: give it a time, or leave the bag out")
    numbers = _numbers(texts)
    if numbers is not None:
        return numbers
    dates = pd.to_datetime(pd.Series(texts), format="ISO8601", errors="coerce", utc=True)
    for place in np.flatnonzero(dates.isna())[:1]:
        raise BagwiseError(
            f"column {column!r} says {texts[place]!r} of bag {bags.names[place]!r}: it must hold numbers alone, or"
            " dates such as 2024-03-31"
        )
    return dates.dt.tz_localize(None).to_numpy()


def _numbers(texts: Sequence[str | None]) -> NDArray[np.float64] | None:
    try:
        return np.array([float(str(text)) for text in texts])
    except ValueError:
        return None
