"""Metrics over folds and repetitions in a few numbers, and in words."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["divided_told", "folds_told", "standard_error", "summary"]


def standard_error(values: Sequence[float] | NDArray[np.float64]) -> float:
    """Give the standard error of a mean, as if values were independent.

    Parameters
    ----------
    values
        Shape (n,).

    Returns
    -------
    float
        NaN of fewer than two values.

    Examples
    --------
    >>> standard_error([0.0, 1.0]), standard_error([0.5])
    (0.5, nan)
    """
    return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else np.nan


def summary(scores: NDArray[np.float64], folds: NDArray[np.int64] | None = None) -> dict[str, Any]:
    """Sum up a metric over folds and repetitions.

    Parameters
    ----------
    scores
        Shape (repeats, folds); NaN where a fold leaves the metric undefined.
    folds
        The number of folds of each repetition, shape (repeats,), where they may differ; None: it is that of columns.

    Returns
    -------
    dict
        ``mean`` (over folds, then over repetitions; NaN where no fold defines it), ``sd_folds`` (standard deviation
        over all folds), ``se_repeats`` (standard error of the mean over the repetitions; NaN with one), ``folds`` (of
        a repetition; where they differ, the most), ``repeats``, and ``folds_defined``, how many folds of all
        repetitions define it. Where repetitions differ, ``folds_in_all``.

    Examples
    --------
    >>> summary(np.array([[0.5, 1.0], [1.0, 1.0]]))["mean"]
    0.875
    """
    known = scores[np.isfinite(scores)]
    by_repeat = [float(row[np.isfinite(row)].mean()) for row in scores if np.isfinite(row).any()]
    return {
        "mean": float(np.mean(by_repeat)) if by_repeat else np.nan,
        "sd_folds": float(known.std(ddof=1)) if len(known) > 1 else np.nan,
        "se_repeats": standard_error(by_repeat),
        "folds": scores.shape[1],
        "repeats": scores.shape[0],
        "folds_defined": len(known),
        **({} if folds is None or len(set(folds.tolist())) == 1 else {"folds_in_all": int(folds.sum())}),
    }


def divided_told(row: Mapping[str, Any]) -> str:
    """Say into how many folds bags were divided.

    Parameters
    ----------
    row
        As `summary` gives it.

    Returns
    -------
    str

    Examples
    --------
    >>> divided_told({"repeats": 5, "folds": 10}), divided_told({"repeats": 2, "folds": 5, "folds_in_all": 9})
    ('5 x 10 folds', '9 folds in 2 repetitions')
    """
    if "folds_in_all" in row:
        return f"{row['folds_in_all']} folds in {row['repeats']} repetitions"
    return f"{row['repeats']} x {row['folds']} fold{'s' * (row['folds'] != 1)}"


def folds_told(row: Mapping[str, Any]) -> str:
    """Say how many folds a mean is of, where that is not all of them.

    Parameters
    ----------
    row
        As `summary` gives it.

    Returns
    -------
    str
        Empty where all folds define the metric.

    Examples
    --------
    >>> folds_told(summary(np.array([[0.5, np.nan, 1.0]])))
    '2 of 3 folds'
    """
    of = row.get("folds_in_all", row["folds"] * row["repeats"])
    defined = row.get("folds_defined", of)
    return "" if defined == of else f"{defined} of {of} folds"
