"""What labels of bags may be: one thing a bag, several numbers, or an event and its time."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bagwise.checks import as_names, of_one_kind
from bagwise.errors import BagwiseError

__all__ = ["EVENT_AND_TIME", "summed_up", "valid_label_names", "valid_labels"]

# As scikit-survival has it.
EVENT_AND_TIME = np.dtype([("event", np.bool_), ("time", np.float64)])


def valid_labels(labels: ArrayLike, names: NDArray[np.object_]) -> NDArray[Any]:
    """See that labels are some that can be learnt, and bring each kind into one form.

    Parameters
    ----------
    labels
        One a bag: strings, booleans or numbers; or numbers in columns, of which those that are 0, 1 or NaN for all bags
        are labels that a bag may have or not; or a structured array of an event (bool) and its time.
    names
        Of the bags.

    Returns
    -------
    array
        Shape (B,) or (B, L). Floats that can only be classes, because there are at most two and both are whole, are
        whole numbers; events and times are `EVENT_AND_TIME`.

    Raises
    ------
    BagwiseError
        If there is not one for each bag, or one is none of these; the sentence names the bag.

    Examples
    --------
    >>> names = np.array(["a", "b"], dtype=object)
    >>> valid_labels([0.0, 1.0], names).tolist(), valid_labels([0.5, 2], names).tolist()
    ([0, 1], [0.5, 2.0])
    """
    try:
        array = np.asarray(labels)
    except ValueError as error:
        raise BagwiseError("the labels are ragged: give each bag equally many") from error
    if array.dtype.names is not None:
        return _events(array, names)
    if array.ndim == 2:
        return _columns(array, names)
    array = of_one_kind(labels, names, "label")
    if array.dtype.kind != "f":
        return array
    for name, value in zip(names, array.tolist(), strict=True):
        if not np.isfinite(value):
            raise BagwiseError(f"bag {name!r} has the label {value}: give it a finite number, or leave the bag out")
    whole = (array % 1 == 0).all() and (abs(array) < 2**63).all()
    return array.astype(np.int64) if whole and len(np.unique(array)) <= 2 else array


def valid_label_names(names: Sequence[str], labels: NDArray[Any] | None) -> tuple[str, ...]:
    """See that each of several labels of a bag has a name of its own.

    Parameters
    ----------
    names
        Of the columns of labels.
    labels
        As `valid_labels` gives them.

    Returns
    -------
    tuple of str

    Raises
    ------
    BagwiseError
        If there are more or fewer, or two are the same.

    Examples
    --------
    >>> valid_label_names(["fat", "necrosis"], np.zeros((3, 2)))
    ('fat', 'necrosis')
    """
    checked = tuple(as_names(names))
    if labels is None or labels.shape[1:] != (len(checked),):
        has = "there are no labels" if labels is None else f"the labels have shape {labels.shape}"
        raise BagwiseError(f"there are {len(checked)} label names, but {has}: give a name for each of several labels")
    for name in checked:
        if checked.count(name) > 1:
            raise BagwiseError(f"two labels have the name {name!r}: give each its own")
    return checked


def summed_up(labels: NDArray[Any]) -> str:
    """Say in a few words which labels there are.

    Parameters
    ----------
    labels
        As `valid_labels` gives them.

    Returns
    -------
    str

    Examples
    --------
    >>> summed_up(np.array(["no", "yes", "no"])), summed_up(np.array([0.5, 2.0]))
    ('no: 2, yes: 1', '0.5 to 2')
    """
    if labels.dtype.names is not None:
        return f"{labels['event'].sum():,} events, times {labels['time'].min():g} to {labels['time'].max():g}"
    if labels.ndim == 2:
        known = labels[labels == labels]
        return f"of {labels.shape[1]} columns, {known.min():g} to {known.max():g}" if len(known) else "not known"
    if labels.dtype.kind == "f":
        return f"{labels.min():g} to {labels.max():g}"
    classes, counts = np.unique(labels, return_counts=True)
    shown = ", ".join(f"{name}: {count}" for name, count in zip(classes[:5], counts[:5], strict=True))
    return shown + ", ..." * (len(classes) > 5)


def _of_length(array: NDArray[Any], names: NDArray[np.object_]) -> None:
    if len(array) != len(names) or (array.ndim == 2 and array.shape[1] == 0):
        raise BagwiseError(f"the labels have shape {array.shape}: there must be one for each bag, so {len(names)}")


def _events(array: NDArray[Any], names: NDArray[np.object_]) -> NDArray[Any]:
    fields = array.dtype.names or ()
    if len(fields) != 2 or array.ndim != 1:
        raise BagwiseError(
            f"the labels have the fields {', '.join(fields)}: survival needs two, whether there was an event (bool) and"
            " its time"
        )
    _of_length(array, names)
    event, time = (array[field] for field in fields)
    if event.dtype.kind not in "biu" or time.dtype.kind not in "iuf":
        raise BagwiseError(
            f"the labels have fields of the types {event.dtype} and {time.dtype}: survival needs whether there was an"
            " event (bool), and then its time (a number)"
        )
    for fitting, what, values in (
        ((event == 0) | (event == 1), "event", event),
        (np.isfinite(time) & (time >= 0), "time", time),
    ):
        for position in np.flatnonzero(~fitting)[:1]:
            cure = "it must be true or false" if what == "event" else "it must be a number, 0 or more"
            raise BagwiseError(f"bag {names[position]!r} has the {what} {values[position]}: {cure}")
    made = np.empty(len(array), EVENT_AND_TIME)
    made["event"], made["time"] = event, time
    return made


def _columns(array: NDArray[Any], names: NDArray[np.object_]) -> NDArray[Any]:
    _of_length(array, names)
    if array.shape[1] == 1:
        raise BagwiseError(f"the labels have shape {array.shape}: of one label a bag give shape ({len(array)},)")
    if array.dtype.kind == "O":
        try:
            array = array.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise BagwiseError(f"a label of several columns is no number ({error}): give numbers") from error
    if array.dtype.kind not in "biuf":
        raise BagwiseError(f"labels of several columns are of type {array.dtype}: give numbers")
    either = (array == 0) | (array == 1) | (array != array)
    if either.all():
        return array
    array = array.astype(np.float64, copy=False)
    for position in np.flatnonzero(~np.isfinite(array).all(axis=1))[:1]:
        raise BagwiseError(
            f"bag {names[position]!r} has the label {array[position].tolist()}: give it finite numbers, or leave the"
            " bag out"
        )
    return array
