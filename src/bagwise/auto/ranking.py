"""What candidates are ranked by, and how what they say becomes a decision."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bagwise.evaluation.baselines import headline
from bagwise.evaluation.metrics import measure
from bagwise.methods.threshold import ENOUGH_OF_A_CLASS, best_threshold, is_rare, threshold_by_shares
from bagwise.targets.classes import ClassTarget
from bagwise.targets.contract import Target

__all__ = ["Ranking", "deciding", "threshold_for"]


@dataclass(frozen=True)
class Ranking:
    """By which number candidates are ranked, on all bags of a search alike.

    Where a class is rare, the likelihood of the labels is mostly that of the common class, and the calibration of
    balanced training outweighs whom it ranks first; there candidates are ranked by AUC.

    Attributes
    ----------
    target
        What labels are.
    by_auc
        Whether a class is rare.

    Examples
    --------
    >>> labels = np.array([0] * 9 + [1])
    >>> ranking = Ranking.of(ClassTarget.of(labels), labels)
    >>> answers = np.linspace([0.99, 0.01], [0.9, 0.1], 10)
    >>> ranking.by_auc, ranking.misfit(labels, answers)
    (True, 0.0)
    """

    target: Target
    by_auc: bool

    @classmethod
    def of(cls, target: Target, labels: NDArray[Any], weights: NDArray[np.float64] | None = None) -> "Ranking":
        """Look at the labels of all bags.

        Parameters
        ----------
        target
            What they are.
        labels
            Shape (B, ...).
        weights
            What each bag counts, shape (B,), or None.

        Returns
        -------
        Ranking
        """
        return cls(target, isinstance(target, ClassTarget) and is_rare(_shares(target, labels, weights)))

    def misfit(
        self, labels: NDArray[Any], answers: NDArray[np.float64], weights: NDArray[np.float64] | None = None
    ) -> float:
        """Say how far answers are from labels, the smaller the better.

        Parameters
        ----------
        labels
            Shape (B, ...).
        answers
            What is said of these bags, shape (B, A).
        weights
            What each counts, shape (B,), or None.

        Returns
        -------
        float
            What the AUC lacks of 1 where a class is rare, one half if it is not defined; else the target's own.
        """
        if not self.by_auc:
            return self.target.misfit(labels, answers, weights)
        if self.target.positive is None:
            metric = headline(self.target)
            auc = measure(self.target, labels, answers, scoring=metric, weights=weights)[metric]
        else:
            column = np.flatnonzero(self.target.names == self.target.positive)[0]
            auc = _auc(labels == self.target.positive, answers[:, column], weights)
        return 1 - auc if np.isfinite(auc) else 0.5


def threshold_for(
    target: Target,
    labels: NDArray[Any],
    answers: NDArray[np.float64] | None,
    weights: NDArray[np.float64] | None,
) -> float | None:
    """Choose from which probability on bags are called positive, where one of two classes is rare.

    Parameters
    ----------
    target
        What labels are.
    labels
        Of bags, shape (B,).
    answers
        What is said of these by models that did not see them, shape (B, A); None: nothing, and then the class's share
        decides.
    weights
        What each bag counts, shape (B,), or None.

    Returns
    -------
    float or None
        None where the more probable class is predicted, or there are no two classes.

    Examples
    --------
    >>> labels = np.array([0, 0, 0, 0, 0, 1, 0, 0, 0, 0])
    >>> threshold_for(ClassTarget.of(labels), labels, None, None)
    0.1
    """
    if not isinstance(target, ClassTarget) or target.positive is None:
        return None
    share = threshold_by_shares(target, _shares(target, labels, weights), balanced=True)
    if not isinstance(share, float):
        return None
    positive = labels == target.positive
    if answers is None or min(positive.sum(), (~positive).sum()) < ENOUGH_OF_A_CLASS:
        return share
    probabilities = answers[:, target.names.tolist().index(target.positive)]
    return best_threshold(positive, probabilities, np.ones(len(labels)) if weights is None else weights, share)


def deciding(
    target: Target,
    labels: NDArray[Any],
    answers: NDArray[np.float64],
    weights: NDArray[np.float64] | None,
) -> Target:
    """Give the target that decides by the threshold that suits some answers best.

    Parameters
    ----------
    target, labels, answers, weights
        As in `threshold_for`.

    Returns
    -------
    Target

    Examples
    --------
    >>> labels = np.array([0, 0, 0, 0, 0, 1, 0, 0, 0, 0])
    >>> deciding(ClassTarget.of(labels), labels, np.full((10, 2), 0.5), None).threshold
    0.1
    """
    if not isinstance(target, ClassTarget):
        return target
    return target.deciding(threshold_for(target, labels, answers, weights))


def _auc(positive: NDArray[np.bool_], scores: NDArray[np.float64], weights: NDArray[np.float64] | None) -> float:
    """Give the share of pairs in which the positive bag has the higher score, as scikit-learn does.

    Thousands of averages are asked for it, and scikit-learn takes ten times as long.
    """
    levels, places = np.unique(scores, return_inverse=True)
    counted = np.ones(len(scores)) if weights is None else weights
    found, passed = (np.bincount(places, counted * of, len(levels)) for of in (positive, ~positive))
    pairs = found.sum() * passed.sum()
    return float(found @ (passed.cumsum() - passed / 2) / pairs) if pairs else np.nan


def _shares(target: ClassTarget, labels: NDArray[Any], weights: NDArray[np.float64] | None) -> NDArray[np.float64]:
    counted = np.ones(len(labels)) if weights is None else weights
    shares: NDArray[np.float64] = np.array([counted[labels == name].sum() for name in target.names]) / counted.sum()
    return shares
