"""Columns of tables of predictions: what they are called is fixed for each kind of target."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bagwise.targets.contract import Target

__all__ = ["OF_ANSWERS", "answer_columns", "interval_columns", "label_columns", "set_columns", "spread_columns"]

Columns = dict[str, Any]

# What the names of columns of answers are, or begin with.
OF_ANSWERS = (
    *("predicted", "probability_", "spread", "value", "grade", "risk", "survival_"),
    *("set", "low", "high", "stranger"),
)


def label_columns(labels: NDArray[Any], names: Sequence[str] | None = None) -> Columns:
    """Give labels as columns: ``label``, or ``label_NAME`` for each of several, or ``event`` and ``time``.

    Parameters
    ----------
    labels
        As `bagwise.Bags` holds them, shape (B, ...).
    names
        Of several labels; None numbers them, from 0.

    Returns
    -------
    dict
        For each column its values, shape (B,).

    Examples
    --------
    >>> import numpy as np
    >>> list(label_columns(np.array([[1.0, 0.0]]), ["fat", "necrosis"]))
    ['label_fat', 'label_necrosis']
    """
    if labels.dtype.names is not None:
        return {name: labels[name] for name in labels.dtype.names}
    if labels.ndim == 1:
        return {"label": labels}
    return _each("label", names or range(labels.shape[1]), labels)


def answer_columns(target: Target, answers: NDArray[Any]) -> Columns:
    """Give answers as columns.

    Parameters
    ----------
    target
        What labels are.
    answers
        What a model says of the bags, shape (B, A).

    Returns
    -------
    dict
        For each column its values, shape (B,). Of classes ``predicted`` and ``probability_CLASS``; of grades ``grade``
        and ``probability_GRADE``; of several labels ``predicted_LABEL`` (1 or 0) and ``probability_LABEL``; of numbers
        and counts ``value``, or ``value_NAME`` for each of several; of lives ``risk`` and ``survival_TIME``, the share
        that has had no event by then.

    Examples
    --------
    >>> import numpy as np
    >>> from bagwise.targets.registry import TARGETS
    >>> answer_columns(TARGETS["real"].of([1.5, 2.0]), np.array([[1.75]]))
    {'value': array([1.75])}
    """
    others = _of_numbers if target.names is None else _chosen("predicted")
    return _KINDS.get(target.kind, others)(target, answers)


def spread_columns(target: Target, spread: NDArray[Any]) -> Columns:
    """Give how far the answers of several models lie apart as columns.

    Parameters
    ----------
    target
        What labels are.
    spread
        Standard deviations of the answers, shape (B, A).

    Returns
    -------
    dict
        For each column its values, shape (B,): ``spread_CLASS``, ``spread_GRADE`` or ``spread_LABEL``, of the
        probabilities; ``spread`` of a number, a count or a risk; ``spread_NAME`` for each of several numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from bagwise.targets.registry import TARGETS
    >>> spread_columns(TARGETS["classes"].of(["no", "yes"]), np.array([[0.1, 0.1]]))
    {'spread_no': array([0.1]), 'spread_yes': array([0.1])}
    """
    if target.names is not None:
        return _each("spread", target.names, spread)
    if target.kind == "survival" or spread.shape[1] == 1:
        return {"spread": spread[:, 0]}
    return _each("spread", target.label_names or range(spread.shape[1]), spread)


def set_columns(target: Target, sets: NDArray[np.bool_]) -> Columns:
    """Give sets of classes, grades or labels as columns.

    Parameters
    ----------
    target
        What labels are.
    sets
        What is in the set of each bag, shape (B, C), or (B, L, 2) of several labels, as
        `bagwise.trust.covered.covered` gives it.

    Returns
    -------
    dict
        For each column its values, shape (B,): ``set``, as ``no|yes``, and ``set_size``; of several labels
        ``set_LABEL``, as ``0|1``.

    Examples
    --------
    >>> from bagwise.targets.registry import TARGETS
    >>> set_columns(TARGETS["classes"].of(["no", "yes"]), np.array([[True, True], [False, False]]))
    {'set': ['no|yes', ''], 'set_size': array([2, 0])}
    """
    assert target.names is not None
    if sets.ndim == 3:
        return {f"set_{name}": _joined("01", of) for name, of in zip(target.names, sets.swapaxes(0, 1), strict=True)}
    return {"set": _joined(target.names, sets), "set_size": sets.sum(axis=1)}


def _joined(names: Any, sets: NDArray[np.bool_]) -> list[str]:
    return ["|".join(str(name) for name, inside in zip(names, row, strict=True) if inside) for row in sets.tolist()]


def interval_columns(target: Target, low: NDArray[np.float64], high: NDArray[np.float64]) -> Columns:
    """Give intervals of numbers as columns.

    Parameters
    ----------
    target
        What labels are.
    low, high
        Their ends, shape (B, T).

    Returns
    -------
    dict
        For each column its values, shape (B,): ``low`` and ``high``, or ``low_NAME`` and ``high_NAME`` of each of
        several numbers.

    Examples
    --------
    >>> from bagwise.targets.registry import TARGETS
    >>> interval_columns(TARGETS["real"].of([1.5, 2.0]), np.array([[1.0]]), np.array([[3.0]]))
    {'low': array([1.]), 'high': array([3.])}
    """
    if low.shape[1] == 1:
        return {"low": low[:, 0], "high": high[:, 0]}
    names = target.label_names or [str(number) for number in range(low.shape[1])]
    ends = (("low", low), ("high", high))
    return {f"{called}_{name}": of[:, place] for place, name in enumerate(names) for called, of in ends}


def _chosen(called: str) -> Callable[[Any, NDArray[Any]], Columns]:
    def columns(target: Any, answers: NDArray[Any]) -> Columns:
        return {called: target.predicted(answers)} | _each("probability", target.names, answers)

    return columns


def _of_labels(target: Any, answers: NDArray[Any]) -> Columns:
    predicted = _each("predicted", target.names, target.predicted(answers))
    return predicted | _each("probability", target.names, answers)


def _of_numbers(target: Any, answers: NDArray[Any]) -> Columns:
    if answers.shape[1] == 1:
        return {"value": answers[:, 0]}
    return _each("value", target.label_names or range(answers.shape[1]), answers)


def _of_lives(target: Any, answers: NDArray[Any]) -> Columns:
    times = [f"{time:.6g}" for time in target.times]
    return {"risk": answers[:, 0]} | _each("survival", times, answers[:, 1:])


def _each(called: str, names: Any, columns: NDArray[Any]) -> Columns:
    return {f"{called}_{name}": column for name, column in zip(names, columns.T, strict=True)}


_KINDS: dict[str, Callable[[Any, NDArray[Any]], Columns]] = {
    "classes": _chosen("predicted"),
    "multi-label": _of_labels,
    "real": _of_numbers,
    "count": _of_numbers,
    "ordinal": _chosen("grade"),
    "survival": _of_lives,
}
