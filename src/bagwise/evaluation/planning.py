"""How many bags a study needs: to measure a metric as closely as is wished."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from bagwise.errors import BagwiseError
from bagwise.evaluation.delong import auc_areas
from bagwise.evaluation.wilson import check_level, share_interval, wilson

__all__ = ["bags_for_auc", "bags_for_share", "likeness_in_auc", "likeness_in_share"]

_MOST = 10**9


def bags_for_share(share: float, half_width: float, *, level: float = 0.95, likeness: float = 1.0) -> int:
    """Say of how many bags a share, such as accuracy or sensitivity, must be to have an interval of a wished width.

    Parameters
    ----------
    share
        What it is expected to be, in [0, 1].
    half_width
        Half of the interval's width, above 0 and below one half: 0.05 for 5 points up and down.
    level
        Of the interval, which is Wilson's.
    likeness
        Of how many bags a single one of another group would say as much (`likeness_in_share`); 1 where all have groups
        of their own.

    Returns
    -------
    int
        The least number. For sensitivity it is that of positive bags.

    Raises
    ------
    BagwiseError
        If a number is out of its range.

    Examples
    --------
    >>> bags_for_share(0.9, 0.05), bags_for_share(0.5, 0.05)
    (141, 381)
    """
    reach = _reach(half_width, level)
    if not 0 <= share <= 1:
        raise BagwiseError(f"share is {share!r}: it must be from 0 to 1")

    def width(count: int) -> float:
        low, high = wilson(share, count / likeness, reach)
        return high - low

    return _least(width, half_width)


def bags_for_auc(
    auc: float, positive_share: float, half_width: float, *, level: float = 0.95, likeness: float = 1.0
) -> int:
    """Say of how many bags an AUC must be to have an interval of a wished width.

    Its variance is that of Hanley and McNeil, which takes scores for exponentially distributed.

    Parameters
    ----------
    auc
        What it is expected to be, in [0.5, 1].
    positive_share
        The share of positive bags, above 0 and below 1.
    half_width, level
        As in `bags_for_share`.
    likeness
        As there, by `likeness_in_auc`.

    Returns
    -------
    int
        The least number, of both classes together.

    Raises
    ------
    BagwiseError
        If a number is out of its range.

    References
    ----------
    J. A. Hanley, B. J. McNeil: The Meaning and Use of the Area under a Receiver Operating Characteristic (ROC) Curve.
    Radiology 143, 1982.

    Examples
    --------
    >>> bags_for_auc(0.8, 0.5, 0.05), bags_for_auc(0.8, 0.1, 0.05)
    (302, 1140)
    """
    reach = _reach(half_width, level)
    if not 0.5 <= auc <= 1 or not 0 < positive_share < 1:
        raise BagwiseError(
            f"auc is {auc!r} and positive_share {positive_share!r}: give an AUC from 0.5 to 1, and a share above 0 and"
            " below 1"
        )
    above, twice = auc / (2 - auc) - auc**2, 2 * auc**2 / (1 + auc) - auc**2

    def width(count: int) -> float:
        positive, negative = max(positive_share * count, 1.0), max((1 - positive_share) * count, 1.0)
        variance = auc * (1 - auc) + (positive - 1) * above + (negative - 1) * twice
        return 2 * reach * float(np.sqrt(likeness * variance / (positive * negative)))

    # An AUC of 1 varies in no study, which shows no more than that few pairs are wrong.
    return max(_least(width, half_width), bags_for_share(1.0, half_width, level=level, likeness=likeness))


def likeness_in_share(right: ArrayLike, groups: ArrayLike | None) -> float:
    """Say by how much bags of a group are alike: how many of them say as much about a share as one of its own would.

    Parameters
    ----------
    right
        Of which bags it is true, bool, shape (B,).
    groups
        The group of each, shape (B,); None: each is one.

    Returns
    -------
    float
        1 or more.

    Examples
    --------
    >>> right = np.arange(80) % 8 < 4
    >>> likeness_in_share(right, None), round(likeness_in_share(right, np.arange(80) // 4), 1)
    (1.0, 4.1)
    """
    if groups is None:
        return 1.0
    apart, together = (share_interval(right, groups=of) for of in (None, groups))
    ratio = ((together.high - together.low) / (apart.high - apart.low)) ** 2
    return float(max(ratio, 1.0)) if np.isfinite(ratio) else 1.0


def likeness_in_auc(outcomes: ArrayLike, scores: ArrayLike, groups: ArrayLike | None) -> float:
    """Say by how much bags of a group are alike in what makes an AUC: Obuchowski's variance beside DeLong's.

    Parameters
    ----------
    outcomes, scores
        As in `bagwise.evaluation.delong.auc_areas`.
    groups
        The group of each bag, shape (B,); None: each is one.

    Returns
    -------
    float
        1 or more.

    Examples
    --------
    >>> outcomes, scores = np.arange(80) % 8 < 4, np.arange(80) % 16
    >>> likeness_in_auc(outcomes, scores, None), round(likeness_in_auc(outcomes, scores, np.arange(80) // 4), 1)
    (1.0, 4.3)
    """
    if groups is None:
        return 1.0
    apart, together = (float(auc_areas(outcomes, scores, groups=of).covariance[0, 0]) for of in (None, groups))
    ratio = together / apart if apart > 0 else np.nan
    return float(max(ratio, 1.0)) if np.isfinite(ratio) else 1.0


def _reach(half_width: float, level: float) -> float:
    check_level(level)
    if not 0 < half_width < 0.5:
        raise BagwiseError(f"half_width is {half_width!r}: it must be above 0 and below 0.5, such as 0.05")
    return float(stats.norm.ppf((1 + level) / 2))


def _least(width: Callable[[int], float], half_width: float) -> int:
    """Find the least number from which on an interval is narrow enough; it gets narrower with every bag."""
    low, high = 1, 2
    while width(high) > 2 * half_width and high < _MOST:
        low, high = high, 2 * high
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if width(middle) <= 2 * half_width else (middle + 1, high)
    return low
