"""Which labels there are, for people and in JSON: counts of classes and labels, ranges of numbers and times."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bagwise.label_columns import LABEL
from bagwise.targets.classes import ClassTarget
from bagwise.targets.grades import OrdinalTarget
from bagwise.targets.several import MultiLabelTarget

__all__ = ["facts_of", "spread_of", "sum_up"]


def sum_up(kind: str, labels: NDArray[Any], names: Sequence[str] | None = None) -> dict[str, Any]:
    """Count labels, or say how far numbers reach, in what JSON can hold.

    Parameters
    ----------
    kind
        Of the target.
    labels
        As `bagwise.Bags` holds them, shape (B, ...).
    names
        What labels of numbers, or several labels, are called; None numbers several.

    Returns
    -------
    dict
        Of classes and grades how many bags have each. Of several labels for each in how many bags it is ``present``,
        ``absent`` and ``unknown``. Of numbers for each `spread_of` it. Of lives ``events``, ``censored``, and
        ``times``, the spread of both.

    Examples
    --------
    >>> sum_up("classes", np.array(["no", "yes", "no"]))
    {'no': 2, 'yes': 1}
    >>> sum_up("multi-label", np.array([[1, 0], [1, np.nan]]), ["fat", "necrosis"])["necrosis"]
    {'present': 0, 'absent': 1, 'unknown': 1}
    """
    if labels.dtype.names is not None:
        event, time = (labels[name] for name in labels.dtype.names)
        return {"events": int(event.sum()), "censored": int((~event).sum()), "times": spread_of(time)}
    if labels.ndim == 1 and (kind in (ClassTarget.kind, OrdinalTarget.kind) or labels.dtype.kind not in "iuf"):
        return dict(sorted(Counter(map(str, labels.tolist())).items()))
    columns = labels.reshape(len(labels), -1).T
    called = names or ([LABEL] if labels.ndim == 1 else range(len(columns)))
    told = list(zip(called, columns, strict=True))
    if kind == MultiLabelTarget.kind:
        return {
            str(name): {
                "present": int((column == 1).sum()),
                "absent": int((column == 0).sum()),
                "unknown": int((column != column).sum()),
            }
            for name, column in told
        }
    return {str(name): spread_of(column) for name, column in told}


def spread_of(numbers: NDArray[Any]) -> dict[str, float] | None:
    """Say how far numbers reach; None where there are none.

    Parameters
    ----------
    numbers
        Shape (B,).

    Returns
    -------
    dict or None
        ``smallest``, ``median`` and ``largest``.

    Examples
    --------
    >>> spread_of(np.array([1.0, 5.0, 2.0]))
    {'smallest': 1.0, 'median': 2.0, 'largest': 5.0}
    """
    known = np.asarray(numbers, np.float64)
    known = known[known == known]
    if not len(known):
        return None
    return {"smallest": float(known.min()), "median": float(np.median(known)), "largest": float(known.max())}


def facts_of(summary: dict[str, Any]) -> list[tuple[str, str]]:
    """Say what `sum_up` gave in pairs of a term and its value.

    Parameters
    ----------
    summary
        What it gave.

    Returns
    -------
    list

    Examples
    --------
    >>> facts_of({"no": 2, "yes": 2}), facts_of({"dose": {"smallest": 1.0, "median": 2.0, "largest": 5.0}})
    ([('label no', '2 (50%)'), ('label yes', '2 (50%)')], [('label dose', '1 to 5, median 2')])
    """
    if "censored" in summary and isinstance(summary.get("times"), dict):
        events, bags = summary["events"], summary["events"] + summary["censored"]
        return [("events", f"{events:,} of {bags:,} ({events / bags:.0%})"), ("times", _range(summary["times"]))]
    counts = sum(value for value in summary.values() if isinstance(value, int))
    return [("label" if name == LABEL else f"label {name}", _told(value, counts)) for name, value in summary.items()]


def _told(value: Any, counts: int) -> str:
    if isinstance(value, int):
        return f"{value:,} ({value / counts:.0%})"
    if value is None:
        return "not known"
    if "present" in value:
        unknown = f", {value['unknown']:,} not known" if value["unknown"] else ""
        return f"{value['present']:,} with, {value['absent']:,} without{unknown}"
    return _range(value)


def _range(spread: dict[str, float]) -> str:
    return "{smallest:g} to {largest:g}, median {median:g}".format(**spread)
