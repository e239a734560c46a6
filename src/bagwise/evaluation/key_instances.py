"""How well values of instances, such as attention weights, point at the instances that matter."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score

from bagwise.bags import Bags
from bagwise.errors import BagwiseError

__all__ = ["INSTANCE_METRICS", "Agreement", "agreement", "average_precision", "key_instance_metrics"]

INSTANCE_METRICS = ("instance_auc", "instance_average_precision", "top1_hit_rate", "pooled_instance_auc")


def key_instance_metrics(
    bags: Bags, values: NDArray[Any], matters: NDArray[np.bool_], positive: NDArray[np.bool_]
) -> dict[str, float]:
    """Measure how well values of instances rank the ones that matter above the others.

    Parameters
    ----------
    bags
        The bags.
    values
        Weights or scores, packed like the instances, shape (N,).
    matters
        Which instances matter, shape (N,).
    positive
        Which bags to look at, shape (B,): usually the positive ones.

    Returns
    -------
    dict
        `INSTANCE_METRICS`, fractions in [0, 1], over these bags as far as they hold instances of both kinds:
        ``instance_auc`` and ``instance_average_precision`` are measured within each bag and averaged over bags;
        ``top1_hit_rate`` is the share of bags whose highest value (of equals: on average) is on one that matters;
        ``pooled_instance_auc`` ranks the instances of all these bags together, which weights of attention, with sum 1
        over each bag, are not made for.

    Raises
    ------
    BagwiseError
        If no bag holds both kinds.

    Examples
    --------
    >>> bags = Bags.from_arrays([[[1.0], [2.0], [3.0]]])
    >>> key_instance_metrics(bags, np.array([0.1, 0.7, 0.2]), np.array([False, True, False]), np.array([True]))
    {'instance_auc': 1.0, 'instance_average_precision': 1.0, 'top1_hit_rate': 1.0, 'pooled_instance_auc': 1.0}
    """
    areas, precisions, hits, rows = [], [], [], []
    for part in _parts(bags, positive):
        truth, given = matters[part], values[part]
        if truth.all() or not truth.any():
            continue
        # What scikit-learn's functions give, forty times faster: they are made for few and long lists.
        ranks, keys = rankdata(given), int(truth.sum())
        areas.append((ranks[truth].sum() - keys * (keys + 1) / 2) / (keys * (len(truth) - keys)))
        precisions.append(average_precision(truth, given))
        hits.append(truth[given == given.max()].mean())
        rows.append(part)
    if not rows:
        raise BagwiseError("none of these bags holds instances of both kinds: there is nothing to rank")
    together = np.concatenate(rows)
    pooled = roc_auc_score(matters[together], values[together])
    found = (np.mean(areas), np.mean(precisions), np.mean(hits), pooled)
    return {name: float(value) for name, value in zip(INSTANCE_METRICS, found, strict=True)}


def average_precision(matters: NDArray[np.bool_], values: NDArray[Any]) -> float:
    """Measure how well values of one bag rank what matters first, as scikit-learn's `average_precision_score` does.

    Parameters
    ----------
    matters
        Which instances matter, shape (K,); one at least.
    values
        Shape (K,).

    Returns
    -------
    float

    Examples
    --------
    >>> average_precision(np.array([False, True, False]), np.array([0.1, 0.7, 0.9]))
    0.5
    """
    above = rankdata(-values, method="max")[matters]
    return float(np.mean(rankdata(above, method="max") / above))


class Agreement(NamedTuple):
    """How alike several models value the instances of the same bags; means over pairs of models and over bags.

    Attributes
    ----------
    same_first
        How often two models value the same instance most, in [0, 1]; of equals one is drawn by chance.
    rank_correlation
        Spearman's correlation of their values within a bag, in [-1, 1]; of bags of two instances and more.

    Examples
    --------
    >>> Agreement(same_first=1.0, rank_correlation=0.9).same_first
    1.0
    """

    same_first: float
    rank_correlation: float


def agreement(bags: Bags, values: Sequence[NDArray[Any]], chosen: NDArray[np.bool_]) -> Agreement:
    """Measure whether models that differ in nothing but chance point at the same instances.

    Parameters
    ----------
    bags
        The bags.
    values
        Of each model the weights or scores of the instances, packed, shape (N,); of two models or more.
    chosen
        Which bags to look at, shape (B,).

    Returns
    -------
    Agreement
        How often two models name the same instance first, and how alike their ranks are.

    Raises
    ------
    BagwiseError
        If there are fewer than two models, or no bag of two instances among the chosen.

    Examples
    --------
    >>> bags = Bags.from_arrays([[[1.0], [2.0], [3.0]]])
    >>> agreement(bags, [np.array([0.1, 0.7, 0.2]), np.array([0.3, 0.5, 0.2])], np.array([True]))
    Agreement(same_first=1.0, rank_correlation=0.5)
    """
    if len(values) < 2:
        raise BagwiseError("agreement takes the values of two models or more: give more")
    same, correlations = [], []
    for part in _parts(bags, chosen & (bags.sizes > 1)):
        for one, other in combinations([value[part] for value in values], 2):
            first, second = one == one.max(), other == other.max()
            same.append((first & second).sum() / (first.sum() * second.sum()))
            ranks = rankdata(one), rankdata(other)
            # A model that values all instances of a bag alike agrees with none.
            constant = any(np.ptp(rank) == 0 for rank in ranks)
            correlations.append(0.0 if constant else np.corrcoef(*ranks)[0, 1])
    if not same:
        raise BagwiseError("none of these bags holds two instances: there is nothing to rank")
    return Agreement(float(np.mean(same)), round(float(np.mean(correlations)), 12))


def _parts(bags: Bags, chosen: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    return [np.arange(*bags.offsets[position : position + 2]) for position in np.flatnonzero(chosen)]
