"""How good a whole search is, in numbers."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bagwise.evaluation.cross_validation import CrossValidation
from bagwise.evaluation.metrics import METRICS
from bagwise.evaluation.significance import corrected_interval

__all__ = ["Estimate", "estimates"]


class Estimate(NamedTuple):
    """How good the whole search is, by one metric, on bags that it never saw.

    Attributes
    ----------
    metric
        Its name.
    mean
        Over the folds.
    low, high
        A 95 % interval of the mean (Nadeau and Bengio's correction), within what the metric can be; NaN with fewer than
        two folds.
    claimed
        What the best candidate had on the folds by which it was chosen: flattered by the choosing.

    Examples
    --------
    >>> Estimate("auc", 0.8, 0.7, 0.9, 0.85).claimed
    0.85
    """

    metric: str
    mean: float
    low: float
    high: float
    claimed: float


def estimates(nested: CrossValidation, claimed: Mapping[str, float], *, test_share: float) -> list[Estimate]:
    """Sum up what whole searches say of bags that these did not see.

    Parameters
    ----------
    nested
        What they say.
    claimed
        What the best candidate had on the folds by which it was chosen, by the names of metrics.
    test_share
        Of a fold, as `bagwise.evaluation.significance.corrected_interval` takes it.

    Returns
    -------
    list of Estimate
        One a metric.

    Examples
    --------
    >>> import bagwise as bw
    >>> bags = bw.Bags.from_arrays([[[float(bag % 2)]] for bag in range(12)], labels=[0, 1] * 6)
    >>> found = bw.cross_validate(bw.make("miVLAD", random_state=0), bags, folds=3, n_jobs=1)
    >>> estimates(found, {"auc": 1.0}, test_share=1 / 3)[-1]
    Estimate(metric='auc', mean=1.0, low=1.0, high=1.0, claimed=1.0)
    """
    return [
        Estimate(metric, nested.mean(metric), *_interval(metric, scores, test_share), claimed.get(metric, np.nan))
        for metric, scores in nested.scores.items()
    ]


def _interval(metric: str, scores: NDArray[np.float64], test_share: float) -> tuple[float, float]:
    if np.isfinite(scores).sum() < 2:
        return np.nan, np.nan
    low, high = np.clip(
        corrected_interval(scores, np.zeros(scores.shape), test_share=test_share), *METRICS[metric].bounds
    )
    return float(low), float(high)
