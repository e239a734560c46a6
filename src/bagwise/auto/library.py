"""Selection from a library of models by their out-of-fold answers (Caruana et al., 2004)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bagwise.auto.ranking import Ranking
from bagwise.targets.contract import Target

__all__ = ["selected"]

_SAMPLES, _ROUNDS = 20, 15
_LEAST = 0.03  # weights below it would train models that change next to nothing


def selected(
    answers: NDArray[np.float64],
    labels: NDArray[Any],
    target: Target,
    *,
    weights: NDArray[np.float64] | None = None,
    groups: NDArray[Any] | None = None,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Choose which models to average, and by which weights.

    Models are added one by one, each as often as it makes the average better, as it looks in a bootstrap sample of the
    bags (of whole groups, where bags have groups). The shares of `_SAMPLES` samples are averaged: who adds once, by the
    bags as they are, fits their luck.

    Parameters
    ----------
    answers
        Of each model about each bag, none of which it learnt from, shape (M, B, A).
    labels
        Shape (B, ...).
    target
        What they are.
    weights
        What each bag counts, shape (B,), or None.
    groups
        Of each bag, shape (B,), or None.
    seed
        Decides the samples.

    Returns
    -------
    array
        Shape (M,), not negative, of sum 1.

    References
    ----------
    R. Caruana et al.: Ensemble Selection from Libraries of Models. ICML 2004.

    Examples
    --------
    >>> from bagwise.targets.classes import ClassTarget
    >>> labels, target = np.array([0, 1, 1]), ClassTarget.of([0, 1, 1])
    >>> good, bad = [[0.9, 0.1], [0.1, 0.9], [0.1, 0.9]], [[0.1, 0.9], [0.9, 0.1], [0.5, 0.5]]
    >>> selected(np.array([bad, bad, good]), labels, target).round(1).tolist()
    [0.0, 0.0, 1.0]
    """
    chance, counts = np.random.default_rng(seed), np.zeros(len(answers))
    alike = np.arange(len(labels)) if groups is None else np.unique(groups, return_inverse=True)[1]
    counted = np.ones(len(labels)) if weights is None else weights
    ranking = Ranking.of(target, labels, weights)
    for _ in range(_SAMPLES):
        drawn = np.bincount(chance.integers(alike.max() + 1, size=alike.max() + 1), minlength=alike.max() + 1)
        sample = drawn[alike] * counted
        counts += _added(answers, labels, ranking, sample if sample.any() else counted)
    shares: NDArray[np.float64] = counts / counts.sum()
    shares[shares < min(_LEAST, shares.max())] = 0.0
    shares /= shares.sum()
    return shares


def _added(
    answers: NDArray[np.float64], labels: NDArray[Any], ranking: Ranking, weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Add models one by one while the average gets better, and give each one's share."""
    counts, best = np.zeros(len(answers)), np.inf
    for _ in range(_ROUNDS):
        tried = counts + np.eye(len(answers))
        found = [ranking.misfit(labels, ranking.target.averaged(answers, one / one.sum()), weights) for one in tried]
        if not min(found) < best:
            break
        best, counts = min(found), tried[int(np.argmin(found))]
    counts /= counts.sum()
    return counts
