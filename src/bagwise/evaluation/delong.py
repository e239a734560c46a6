"""How far an area under the ROC curve is off by the luck of the bags: DeLong's variance, Obuchowski's of groups."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from bagwise.errors import BagwiseError

__all__ = ["AreaDifference", "Areas", "auc_areas", "auc_difference"]

_ROUNDING = 1e-12  # an error as small as this is none


class Areas(NamedTuple):
    """Areas under the ROC curves of scores of the same bags, and how they vary together.

    Attributes
    ----------
    areas
        Of each of k scores, shape (k,).
    covariance
        Of the areas over fresh bags, shape (k, k); NaN where fewer than two groups have a bag of one outcome.

    Examples
    --------
    >>> found = Areas(np.array([0.75]), np.array([[0.09]]))
    >>> found.errors.tolist()
    [0.3]
    """

    areas: NDArray[np.float64]
    covariance: NDArray[np.float64]

    @property
    def errors(self) -> NDArray[np.float64]:
        """The standard error of each area, shape (k,)."""
        found: NDArray[np.float64] = np.sqrt(np.maximum(np.diag(self.covariance), 0))
        return found


class AreaDifference(NamedTuple):
    """By how much one area is above another of the same bags.

    Attributes
    ----------
    difference
        The first less the second.
    error
        Its standard error.
    low, high
        The interval of the difference, at the level asked for.
    p_value
        Two-sided, in [0, 1], of there being none; NaN where the variance is not defined.

    Examples
    --------
    >>> AreaDifference(difference=0.1, error=0.05, low=0.002, high=0.198, p_value=0.046).p_value
    0.046
    """

    difference: float
    error: float
    low: float
    high: float
    p_value: float


def auc_areas(
    outcomes: ArrayLike, scores: ArrayLike, *, groups: ArrayLike | None = None, weights: ArrayLike | None = None
) -> Areas:
    """Measure the areas under the ROC curves of one or more scores of the same bags, and their covariance.

    Of each bag it asks what share of the bags of the other outcome it is ranked rightly against, equal scores counting
    a half: DeLong's structural components. The areas are their means, and vary by the spread of the components over the
    bags. Where bags come in groups, components are added up within each group first, those of both outcomes together
    (Obuchowski). With one bag a group both are the same.

    Parameters
    ----------
    outcomes
        Which bags are positive, bool, shape (B,); there are some of both.
    scores
        The higher the likelier positive, shape (B,) or (k, B).
    groups
        The group of each bag, shape (B,); None: each bag is one.
    weights
        What each bag counts, not negative, shape (B,); None: all count the same.

    Returns
    -------
    Areas

    Raises
    ------
    BagwiseError
        If all bags that count have one outcome, or shapes do not fit together.

    References
    ----------
    E. R. DeLong, D. M. DeLong, D. L. Clarke-Pearson: Comparing the Areas under Two or More Correlated Receiver
    Operating Characteristic Curves. Biometrics 44, 1988. N. A. Obuchowski: Nonparametric Analysis of Clustered ROC
    Curve Data. Biometrics 53, 1997.

    Examples
    --------
    >>> found = auc_areas([False, False, True, True], [0.1, 0.6, 0.4, 0.9])
    >>> found.areas.tolist(), found.covariance.tolist()
    ([0.75], [[0.125]])
    >>> auc_areas([False, True, False, True], [0.1, 0.9, 0.6, 0.4], groups=["a", "a", "b", "b"]).covariance.tolist()
    [[0.25]]
    """
    positive = np.asarray(outcomes, bool)
    ranked = np.atleast_2d(np.asarray(scores, np.float64))
    counted = np.ones(len(positive)) if weights is None else np.asarray(weights, np.float64)
    if positive.ndim != 1 or ranked.ndim != 2 or ranked.shape[1:] != positive.shape or counted.shape != positive.shape:
        raise BagwiseError(
            f"outcomes have shape {positive.shape}, scores {ranked.shape}, weights {counted.shape}: give one of each"
            " for every bag"
        )
    if not counted[positive].any() or not counted[~positive].any():
        raise BagwiseError("all bags have one outcome: an area under the ROC curve needs some of both")
    _, group = np.unique(np.arange(len(positive)) if groups is None else np.asarray(groups), return_inverse=True)
    components = np.empty_like(ranked)
    for of, others in ((positive, ~positive), (~positive, positive)):
        components[:, of] = [_share_below(row[others], counted[others], row[of]) for row in ranked]
    components[:, ~positive] = 1 - components[:, ~positive]
    areas = components[:, positive] @ counted[positive] / counted[positive].sum()
    spread = (components - areas[:, None]) * counted
    covariance = np.zeros((len(ranked), len(ranked)))
    sums = []
    for of in (positive, ~positive):
        there = len(np.unique(group[of & (counted > 0)]))
        by_group = np.array([np.bincount(group[of], row[of], group.max() + 1) for row in spread]) / counted[of].sum()
        covariance += by_group @ by_group.T * (there / (there - 1) if there > 1 else np.nan)
        sums.append(by_group)
    in_all = len(np.unique(group[counted > 0]))
    if in_all > 1:
        across = sums[0] @ sums[1].T * (in_all / (in_all - 1))
        covariance += across + across.T
    return Areas(areas, covariance)


def _share_below(
    values: NDArray[np.float64], weights: NDArray[np.float64], at: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Give the share of values below each of `at`, equal ones counting a half."""
    order = np.argsort(values)
    total = np.concatenate([[0.0], np.cumsum(weights[order])])
    ends = [np.searchsorted(values[order], at, side=side) for side in ("left", "right")]
    found: NDArray[np.float64] = (total[ends[0]] + total[ends[1]]) / (2 * total[-1])
    return found


def auc_difference(
    outcomes: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    level: float = 0.95,
) -> AreaDifference:
    """Compare two scores of the same bags by their areas under the ROC curve: DeLong's test.

    It judges two models as they are, by what they say of these bags. It knows nothing of how models that learn from
    other bags would differ: for methods that are cross-validated there is
    `bagwise.evaluation.significance.corrected_t_test`.

    Parameters
    ----------
    outcomes
        Which bags are positive, bool, shape (B,); there are some of both.
    first, second
        Scores, the higher the likelier positive, shape (B,).
    groups, weights
        As in `auc_areas`.
    level
        Of the interval.

    Returns
    -------
    AreaDifference
        Where two scores rank all bags alike the difference is 0 with p = 1.

    Raises
    ------
    BagwiseError
        As in `auc_areas`.

    Examples
    --------
    >>> ill = [False] * 4 + [True] * 4
    >>> found = auc_difference(ill, [1, 2, 3, 5, 4, 6, 7, 8], [1, 2, 5, 6, 3, 4, 7, 8])
    >>> round(found.difference, 4), round(found.error, 4), round(found.p_value, 4)
    (0.1875, 0.1693, 0.2679)
    """
    both = np.stack([np.asarray(first, np.float64), np.asarray(second, np.float64)])
    found = auc_areas(outcomes, both, groups=groups, weights=weights)
    one_less_other = np.array([1.0, -1.0])
    difference = float(one_less_other @ found.areas)
    error = float(np.sqrt(np.maximum(one_less_other @ found.covariance @ one_less_other, 0)))
    if error <= _ROUNDING:
        difference = difference if abs(difference) > _ROUNDING else 0.0
        return AreaDifference(difference, 0.0, difference, difference, float(difference == 0))
    reach = float(stats.norm.ppf((1 + level) / 2)) * error
    p_value = float(2 * stats.norm.sf(abs(difference) / error))
    return AreaDifference(difference, error, difference - reach, difference + reach, p_value)
