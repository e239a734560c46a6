"""Measures of survival: concordance, Kaplan and Meier's curve, the log-rank test."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["KaplanMeier", "LogRank", "concordance", "concordance_of_each", "kaplan_meier", "log_rank"]

_TIED = 1e-8  # risks as close as this are equal, as scikit-survival has it
_PAIRS = 1_000_000  # so many are looked at together


class KaplanMeier(NamedTuple):
    """An estimated survival function: what share lives beyond each time.

    Attributes
    ----------
    times
        The distinct times of events and of censoring, rising, shape (J,).
    survival
        The share that lives beyond each, in [0, 1], shape (J,). It is 1 before the first, and steps down at events.
    at_risk
        How many were still seen just before each time, shape (J,).

    Examples
    --------
    >>> curve = kaplan_meier([True, False, True], [1.0, 2.0, 3.0])
    >>> curve.survival_at([0.5, 1.5, 3.0]).round(3).tolist(), curve.at_risk.tolist()
    ([1.0, 0.667, 0.0], [3, 2, 1])
    """

    times: NDArray[np.float64]
    survival: NDArray[np.float64]
    at_risk: NDArray[np.int64]

    def survival_at(self, times: ArrayLike) -> NDArray[np.float64]:
        """Give the share that lives beyond other times, any shape."""
        steps = np.concatenate([[1.0], self.survival])
        found: NDArray[np.float64] = steps[np.searchsorted(self.times, times, side="right")]
        return found


class LogRank(NamedTuple):
    """What a log-rank test found.

    Attributes
    ----------
    statistic
        Chi-square.
    p_value
        In [0, 1].
    degrees_of_freedom
        The number of groups that were compared, less one.

    Examples
    --------
    >>> LogRank(statistic=3.84, p_value=0.05, degrees_of_freedom=1).p_value
    0.05
    """

    statistic: float
    p_value: float
    degrees_of_freedom: int


def concordance(event: ArrayLike, time: ArrayLike, risk: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Give the share of comparable pairs in which who died earlier had the higher risk: Harrell's C-index.

    A pair is comparable if one of the two is known to have died while the other still lived: it died at the earlier
    time, or at the time at which the other was censored. Equal risks count a half.

    Parameters
    ----------
    event
        Whether the event was seen, bool, shape (B,); if not, the time is that of censoring.
    time
        Shape (B,).
    risk
        The higher, the earlier the event is predicted, shape (B,). Risks within 1e-8 of each other are equal, as in
        scikit-survival.
    weights
        Not negative, shape (B,): a pair counts the product of its weights. By default all count the same.

    Returns
    -------
    float
        In [0, 1]; NaN where no pair is comparable.

    References
    ----------
    F. E. Harrell et al.: Evaluating the Yield of Medical Tests. JAMA 247, 1982.

    Examples
    --------
    >>> concordance([True, True, False], [1.0, 2.0, 3.0], [0.9, 0.1, 0.5])
    0.6666666666666666
    """
    concordant, comparable = concordance_of_each(event, time, risk, weights)
    return float(concordant.sum() / comparable.sum()) if comparable.sum() > 0 else np.nan


def concordance_of_each(
    event: ArrayLike, time: ArrayLike, risk: ArrayLike, weights: ArrayLike | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Count for each of several the pairs it is in that `concordance` compares.

    Parameters
    ----------
    event, time, risk, weights
        As in `concordance`.

    Returns
    -------
    concordant : array
        In how many pairs who died earlier had the higher risk, equal risks counting a half, shape (B,).
    comparable : array
        In how many it could be compared, shape (B,).

    Examples
    --------
    >>> concordant, comparable = concordance_of_each([True, True, False], [1.0, 2.0, 3.0], [0.9, 0.1, 0.5])
    >>> concordant.tolist(), comparable.tolist()
    ([2.0, 1.0, 1.0], [2.0, 2.0, 2.0])
    """
    events, times, risks = np.asarray(event, bool), np.asarray(time), np.asarray(risk, float)
    weight = np.ones(len(events)) if weights is None else np.asarray(weights, float)
    concordant, comparable = np.zeros(len(events)), np.zeros(len(events))
    died = np.flatnonzero(events)
    at_once = max(1, _PAIRS // max(len(events), 1))
    for begin in range(0, len(died), at_once):
        earlier = died[begin : begin + at_once]
        own = times[earlier, None]
        pairs = ((times > own) | ((times == own) & ~events)).astype(float)
        above = risks[earlier, None] - risks
        rightly = pairs * np.where(np.abs(above) <= _TIED, 0.5, above > 0)
        for counted, of in ((concordant, rightly), (comparable, pairs)):
            counted[earlier] += weight[earlier] * (of @ weight)
            counted += weight * (weight[earlier] @ of)
    return concordant, comparable


def kaplan_meier(event: ArrayLike, time: ArrayLike) -> KaplanMeier:
    """Estimate a survival function from times of which some are censored (Kaplan and Meier).

    Parameters
    ----------
    event
        Whether the event was seen, bool, shape (B,).
    time
        Of the event, or of censoring, shape (B,), B at least 1.

    Returns
    -------
    KaplanMeier

    References
    ----------
    E. L. Kaplan, P. Meier: Nonparametric Estimation from Incomplete Observations. JASA 53, 1958.

    Examples
    --------
    >>> kaplan_meier([True, True, False, True], [1, 2, 2, 4]).survival.tolist()
    [0.75, 0.5, 0.0]
    """
    from scipy import stats  # which takes half a second to load

    events, times = np.asarray(event, bool), np.asarray(time, float)
    curve = stats.ecdf(stats.CensoredData(uncensored=times[events], right=times[~events])).sf
    at_risk = len(times) - np.searchsorted(np.sort(times), curve.quantiles)
    return KaplanMeier(curve.quantiles, curve.probabilities, at_risk)


def log_rank(event: ArrayLike, time: ArrayLike, groups: ArrayLike) -> LogRank:
    """Test whether groups, two or more, have one survival function: the log-rank test.

    Parameters
    ----------
    event
        Whether the event was seen, bool, shape (B,).
    time
        Of the event, or of censoring, shape (B,).
    groups
        The group of each, shape (B,). Groups of which nobody was seen at the first event are not compared.

    Returns
    -------
    LogRank
        Statistic and p-value are NaN where fewer than two groups can be compared, or all die at one time.

    References
    ----------
    N. Mantel: Evaluation of Survival Data and Two New Rank Order Statistics Arising in Its Consideration. Cancer
    Chemotherapy Reports 50, 1966; for more than two groups as in J. P. Klein, M. L. Moeschberger: Survival Analysis,
    section 7.3.

    Examples
    --------
    >>> found = log_rank([True] * 6, [1, 2, 3, 4, 5, 6], ["a", "a", "a", "b", "b", "b"])
    >>> round(found.statistic, 3), round(found.p_value, 3), found.degrees_of_freedom
    (5.052, 0.025, 1)
    """
    events, times = np.asarray(event, bool), np.asarray(time, float)
    members = np.asarray(groups) == np.unique(groups)[:, None]
    deaths = np.unique(times[events])
    seen = np.array([own.sum() - np.searchsorted(np.sort(times[own]), deaths) for own in members])
    died = np.array([[np.sum(times[own & events] == death) for death in deaths] for own in members])
    if len(deaths):
        seen, died = seen[seen[:, 0] > 0], died[seen[:, 0] > 0]
    freedom = len(seen) - 1
    all_seen, all_died = seen.sum(axis=0), died.sum(axis=0)
    surplus = (died - seen * all_died / all_seen).sum(axis=1)[:freedom]
    spread = all_died * (all_seen - all_died) / (all_seen * np.maximum(all_seen - 1, 1))
    # The hypergeometric covariance of the deaths in the groups, summed over the times.
    covariance = (np.diag((seen * spread).sum(axis=1)) - (seen * spread / all_seen) @ seen.T)[:freedom, :freedom]
    if freedom < 1 or np.linalg.matrix_rank(covariance) < freedom:
        return LogRank(np.nan, np.nan, max(freedom, 0))
    statistic = float(surplus @ np.linalg.solve(covariance, surplus))
    from scipy.stats import chi2  # which takes half a second to load

    return LogRank(statistic, float(chi2.sf(statistic, freedom)), freedom)
