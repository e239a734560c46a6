"""Whether what a run says of later bags is spread as it was of earlier ones."""

import warnings
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Shift", "holm", "shifts"]

_EXACT = 1 << 20  # pairs of bags up to which the exact p-value takes no time


class Shift(NamedTuple):
    """How far the values of a column have moved.

    Attributes
    ----------
    column
        Its name.
    first, second
        The mean among the earlier bags and among the later ones.
    distance
        The largest difference between the shares of both that lie below any one value (Kolmogorov and Smirnov), 0 to 1.
    p
        How likely such a distance or a larger one is if nothing has moved and bags are independent.
    corrected
        The same for the most distant of all columns that are looked at, by Holm.

    Examples
    --------
    >>> Shift("probability_yes", 0.25, 0.5, 0.4, 0.001, 0.002).corrected
    0.002
    """

    column: str
    first: float
    second: float
    distance: float
    p: float
    corrected: float


def shifts(first: Mapping[str, ArrayLike], second: Mapping[str, ArrayLike]) -> list[Shift]:
    """Compare columns of numbers of two sets of bags by the test of Kolmogorov and Smirnov for two samples.

    Parameters
    ----------
    first, second
        By the name of a column its values, one a bag, shape (B,) and (C,); columns of both are compared.

    Returns
    -------
    list of Shift
        In the order of the columns of the first.

    References
    ----------
    S. Holm: A Simple Sequentially Rejective Multiple Test Procedure. Scandinavian Journal of Statistics, 1979.

    Examples
    --------
    >>> same = np.arange(20)
    >>> found = shifts({"value": same, "risk": same}, {"value": same + 12, "risk": same})
    >>> [(one.column, one.distance, one.corrected < 0.05) for one in found]
    [('value', 0.6, True), ('risk', 0.0, False)]
    """
    from scipy.stats import ks_2samp

    columns = [name for name in first if name in second]
    pairs = [(np.asarray(first[name], np.float64), np.asarray(second[name], np.float64)) for name in columns]
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # of ties, for which it is not exact
        found = [ks_2samp(*pair, method="auto" if pair[0].size * pair[1].size <= _EXACT else "asymp") for pair in pairs]
    corrected = holm(np.array([one.pvalue for one in found]))
    return [
        Shift(name, float(a.mean()), float(b.mean()), float(one.statistic), float(one.pvalue), float(at_most))
        for name, (a, b), one, at_most in zip(columns, pairs, found, corrected, strict=True)
    ]


def holm(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Correct p-values for how many there are, by Holm, so that one below 0.05 is by chance in 5 % of cases at most.

    Parameters
    ----------
    p
        Shape (n,).

    Returns
    -------
    array
        Shape (n,), each at least as large as before and at most 1.

    Examples
    --------
    >>> holm(np.array([0.04, 0.01, 0.03])).tolist()
    [0.06, 0.03, 0.06]
    """
    order = np.argsort(p, kind="stable")
    corrected = np.empty(len(p))
    corrected[order] = np.maximum.accumulate((len(p) - np.arange(len(p))) * p[order]).clip(max=1.0)
    return corrected
