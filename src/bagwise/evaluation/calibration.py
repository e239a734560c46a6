"""Whether predicted probabilities mean what they say."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from bagwise.checks import check_count
from bagwise.errors import BagwiseError
from bagwise.evaluation.wilson import Interval, check_level, few, numbered

__all__ = ["Reliability", "bins_of", "error_by_chance", "error_interval", "reliability"]


class Reliability(NamedTuple):
    """Predicted probabilities in bins, and how often the event came true in each.

    Attributes
    ----------
    predicted
        Mean predicted probability of each bin, rising, shape (bins,).
    observed
        Share of each bin in which the event came true, shape (bins,).
    counts
        Number of predictions in each bin, shape (bins,).

    Examples
    --------
    >>> half = Reliability(np.array([0.5]), np.array([0.75]), np.array([4]))
    >>> half.error
    0.25
    """

    predicted: NDArray[np.float64]
    observed: NDArray[np.float64]
    counts: NDArray[np.int64]

    @property
    def error(self) -> float:
        """The expected calibration error: how far prediction and outcome lie apart, on average over predictions."""
        return float(np.average(np.abs(self.observed - self.predicted), weights=self.counts))


def reliability(outcomes: ArrayLike, probabilities: ArrayLike, bins: int = 10) -> Reliability:
    """Compare predicted probabilities with what came true, in bins of equal counts.

    The bins lie between quantiles of the probabilities, as in scikit-learn's ``calibration_curve`` with
    ``strategy="quantile"``, which does not give the counts. Equal probabilities are never torn apart, so bins may be
    fewer than asked for and differ in size.

    Parameters
    ----------
    outcomes
        Whether the event came true, bool, shape (n,).
    probabilities
        Its predicted probabilities, in [0, 1], shape (n,).
    bins
        Number of bins at most.

    Returns
    -------
    Reliability

    Raises
    ------
    BagwiseError
        If the shapes do not fit together, there are no predictions, a value is out of its range, or `bins` is not a
        whole number from 1 on.

    Examples
    --------
    >>> found = reliability([False, True, True, True], [0.2, 0.4, 0.7, 0.9], bins=2)
    >>> found.predicted.round(3).tolist(), found.observed.tolist(), found.counts.tolist()
    ([0.3, 0.8], [0.5, 1.0], [2, 2])
    >>> round(found.error, 3)
    0.2
    """
    check_count("bins", bins)
    try:
        events, values = np.asarray(outcomes), np.asarray(probabilities)
    except ValueError as error:
        raise BagwiseError("outcomes or probabilities are ragged: give one value for each prediction") from error
    if events.dtype != bool:
        raise BagwiseError(f"outcomes hold {events.dtype} values: give True where the event came true, else False")
    if values.dtype.kind not in "biuf":
        raise BagwiseError(f"probabilities hold {values.dtype} values: they must be real numbers")
    if events.ndim != 1 or events.shape != values.shape or not len(events):
        raise BagwiseError(
            f"outcomes have shape {events.shape}, probabilities {values.shape}: both need one value for each of one or"
            " more predictions"
        )
    for position in np.flatnonzero(~((values >= 0) & (values <= 1)))[:1]:
        raise BagwiseError(f"probability {position} is {values[position]}: it must be between 0 and 1")
    values = values.astype(np.float64)
    places = bins_of(values, bins)
    counts = np.bincount(places)
    predicted, observed = (np.bincount(places, weights=of) / counts for of in (values, events))
    return Reliability(predicted, observed, counts)


def bins_of(probabilities: NDArray[np.float64], bins: int = 10) -> NDArray[np.int64]:
    """Say in which bin of `reliability` each probability lies.

    Parameters
    ----------
    probabilities, bins
        As there.

    Returns
    -------
    array
        From 0 on, without gaps, shape (n,).

    Examples
    --------
    >>> bins_of(np.array([0.9, 0.2, 0.4, 0.7]), 2).tolist()
    [1, 0, 0, 1]
    """
    edges = np.percentile(probabilities, np.linspace(0, 1, bins + 1) * 100)
    return np.unique(np.searchsorted(edges[1:-1], probabilities), return_inverse=True)[1]


def error_by_chance(probabilities: ArrayLike, bins: int = 10, draws: int = 200, seed: int = 0) -> float:
    """Give the calibration error that these probabilities would have if they were right.

    A share of few outcomes is not what it is expected to be: of 92 bags a perfect model shows an error of about .1.

    Parameters
    ----------
    probabilities
        In [0, 1], shape (n,).
    bins
        As in `reliability`.
    draws
        How often outcomes are drawn by the probabilities.
    seed
        Decides them.

    Returns
    -------
    float
        The mean of `Reliability.error` over the draws.

    Examples
    --------
    >>> round(error_by_chance(np.linspace(0, 1, 92)), 2)
    0.1
    """
    values = np.asarray(probabilities, np.float64)
    rng = np.random.default_rng(seed)
    return float(np.mean([reliability(rng.random(len(values)) < values, values, bins).error for _ in range(draws)]))


def error_interval(
    outcomes: ArrayLike,
    probabilities: ArrayLike,
    bins: int = 10,
    *,
    groups: ArrayLike | None = None,
    level: float = 0.95,
    draws: int = 400,
    seed: int = 0,
) -> Interval:
    """Say how far the calibration error may be off by the luck of the bags.

    A draw of the bags with replacement has their luck twice over, so that its error is larger than theirs by about as
    much as theirs is larger than the true one. The square of the error is corrected by that, and the interval reaches
    from there as many spreads of the draws as of a normal distribution. Its ends are roots, 0 where nothing shows that
    probabilities are wrong.

    Parameters
    ----------
    outcomes, probabilities, bins
        As in `reliability`.
    groups
        The group of each prediction, shape (n,), which are drawn as one; None: each is one.
    level
        In what share of studies it is to hold the truth, above 0 and below 1.
    draws
        How many.
    seed
        Decides them.

    Returns
    -------
    Interval

    Raises
    ------
    BagwiseError
        As `reliability` does, or if the groups, the level or the number of draws will not do.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> likely = rng.random(300)
    >>> came_true = rng.random(300) < likely
    >>> print(error_interval(came_true, likely), error_interval(came_true, likely**3))
    [0.000, 0.105] [0.161, 0.250]
    """
    check_level(level)
    check_count("draws", draws)
    error = reliability(outcomes, probabilities, bins).error
    events, values = np.asarray(outcomes), np.asarray(probabilities, np.float64)
    group = numbered(groups, len(values))
    group = np.arange(len(values)) if group is None else group
    count = int(group.max()) + 1
    rng = np.random.default_rng(seed)
    squares = np.empty(draws)
    for draw in range(draws):
        times = np.bincount(rng.integers(count, size=count), minlength=count)[group]
        squares[draw] = reliability(np.repeat(events, times), np.repeat(values, times), bins).error ** 2
    centre = 2 * error**2 - squares.mean()
    reach = stats.norm.ppf((1 + level) / 2) * squares.std()
    low, high = np.sqrt(np.maximum([centre - reach, centre + reach], 0))
    return Interval(
        float(low), float(high), level, "bootstrap", few(count, "predictions" if groups is None else "groups", "")
    )
