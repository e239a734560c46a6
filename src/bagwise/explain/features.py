"""In which features the instances that count differ from the others of their bag."""

from numbers import Real

import numpy as np
import pandas as pd

from bagwise.bags import BagsLike, as_bags
from bagwise.errors import BagwiseError
from bagwise.explain.compared import compared
from bagwise.explain.instances import Explanation

__all__ = ["contrast"]


def contrast(explanation: Explanation, bags: BagsLike, top: float = 0.1) -> pd.DataFrame:
    """Compare, feature by feature, the instances of high weight with the others of their bag.

    In each bag the share `top` of the instances with the highest importance, but at least one and not all, is set
    against the rest. Their two means are averaged over the bags, so that a large bag counts no more than a small one,
    and their difference is divided by the standard deviation of the feature within bags. Bags whose instances all count
    the same are left out. With two classes only bags that are predicted to be positive are looked at, as weights mean
    little in the others; if there are none, all.

    Parameters
    ----------
    explanation, bags
        The bags, of vectors, and what was found of them. Of bags in files one is in memory at a time.
    top
        Share of the instances that counts as high.

    Returns
    -------
    DataFrame
        One row a feature (of a table of all kinds of columns: one for each frequent value of a category, the hour of a
        date, and what is missing), the largest difference first: ``feature``, ``mean_high``, ``mean_low``,
        ``difference`` in standard deviations (0 for a feature that is constant within all bags, or has numbers
        too large to square).

    Raises
    ------
    BagwiseError
        If the instances are no vectors, `top` is out of its range, or in every bag all instances count the same.
    """
    if not isinstance(top, Real) or not 0 < top < 1:
        raise BagwiseError(f"top is {top!r}: it must be a number above 0 and below 1")
    bags = as_bags(bags)
    if len(bags.instance_shape) != 1:
        raise BagwiseError(f"instances have shape {bags.instance_shape}: only vectors have features to compare")
    several = np.flatnonzero(~explanation.equal(bags))
    if not len(several):
        raise BagwiseError("in every bag all instances count the same: there is nothing to compare")
    if explanation.positive is not None:
        positive = several[explanation.predicted[several] == explanation.positive]
        several = positive if len(positive) else several
    names, comparable = compared(bags)
    high, low, square, freedom = np.zeros(len(names)), np.zeros(len(names)), 0.0, 0
    with np.errstate(over="ignore", invalid="ignore"):  # of numbers too large to square no deviation is told
        for position in several:
            rows = slice(*bags.offsets[position : position + 2])
            instances = comparable(np.asarray(bags.instances[rows], np.float64))
            count = min(max(1, round(top * len(instances))), len(instances) - 1)
            order = np.argsort(-explanation.importance[rows], kind="stable")
            high += instances[order[:count]].mean(axis=0)
            low += instances[order[count:]].mean(axis=0)
            square = square + ((instances - instances.mean(axis=0)) ** 2).sum(axis=0)
            freedom += len(instances) - 1
        high, low = high / len(several), low / len(several)
        deviation = np.sqrt(square / freedom)
    told = np.isfinite(deviation) & (deviation > 0)
    difference = np.divide(high - low, deviation, out=np.zeros_like(high), where=told)
    table = pd.DataFrame({"feature": names, "mean_high": high, "mean_low": low, "difference": difference})
    return table.iloc[np.argsort(-np.abs(difference), kind="stable")].reset_index(drop=True)
