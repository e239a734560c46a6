"""Answers where classes have other shares than among the bags learnt from, and nothing else is different."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bagwise.errors import BagwiseError
from bagwise.targets.contract import Target

__all__ = ["answers_at", "shares_said", "threshold_at"]


def shares_said(target: Target, said: Sequence[str], learnt: NDArray[np.float64]) -> NDArray[np.float64]:
    """Read which shares classes, grades or labels have in use.

    Parameters
    ----------
    target
        What labels are.
    said
        ``NAME=SHARE`` each. Classes that are not named share what is left as they did among the bags learnt from;
        labels that are not named keep their share.
    learnt
        The shares among these, in the order of the target's names, shape (A,).

    Returns
    -------
    array
        Shape (A,).

    Raises
    ------
    BagwiseError
        If a name or a share is none, or shares of classes do not add up to 1.

    Examples
    --------
    >>> from bagwise.targets.classes import ClassTarget
    >>> shares_said(ClassTarget.of(["no", "yes"]), ["yes=0.02"], np.array([0.5, 0.5])).tolist()
    [0.98, 0.02]
    """
    if target.names is None:
        raise BagwiseError(f"--share is of classes, and the run learnt a {target.kind} target: leave it out")
    names = [str(name) for name in target.names]
    given: dict[int, float] = {}
    for text in said:
        name, _, share = text.rpartition("=")
        if name.strip() not in names:
            raise BagwiseError(f"--share is {text!r}: say it as NAME=SHARE, with a name of {', '.join(names[:20])}")
        try:
            value = float(share)
        except ValueError:
            value = np.nan
        if not 0 < value < 1:
            raise BagwiseError(f"--share is {text!r}: a share is a number between 0 and 1")
        given[names.index(name.strip())] = value
    shares = learnt.astype(np.float64)
    named = np.isin(np.arange(len(names)), list(given))
    shares[list(given)] = list(given.values())
    if target.kind == "multi-label":
        return shares
    left = 1 - shares[named].sum()
    if (left <= 0) != named.all() or (named.all() and abs(left) > 1e-6):
        raise BagwiseError(f"--share gives classes {1 - left:g} of all bags: shares of all classes add up to 1")
    if not named.all():
        shares[~named] *= left / shares[~named].sum()
    shares /= shares.sum()
    return shares


def answers_at(
    target: Target, answers: NDArray[np.float64], learnt: NDArray[np.float64], shares: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Bring probabilities to other shares.

    If bags of each class are as they were, and only how many there are of each changed, the probability of a class
    changes as its share does, up to a factor that has them add up to 1 (Saerens et al., Adjusting the outputs of a
    classifier to new a priori probabilities, 2002, equation 2.4).

    Parameters
    ----------
    target
        What labels are.
    answers
        Calibrated probabilities, shape (B, A).
    learnt, shares
        Shares of the classes among the bags learnt from, and in use, shape (A,).

    Returns
    -------
    array
        Shape (B, A).

    Examples
    --------
    >>> from bagwise.targets.classes import ClassTarget
    >>> even, rare = np.array([0.5, 0.5]), np.array([0.98, 0.02])
    >>> answers_at(ClassTarget.of(["no", "yes"]), np.array([[0.1, 0.9]]), even, rare).round(3).tolist()
    [[0.845, 0.155]]
    """
    factors = shares / np.where(learnt > 0, learnt, 1)
    scaled = answers * factors
    others = (1 - answers) * (1 - shares) / np.where(learnt < 1, 1 - learnt, 1)
    total = scaled + others if target.kind == "multi-label" else scaled.sum(axis=1, keepdims=True)
    return np.divide(scaled, total, out=answers.astype(np.float64), where=total > 0)


def threshold_at(threshold: float, learnt: float, share: float) -> float:
    """Give the threshold that calls the same bags positive where their class has another share.

    Parameters
    ----------
    threshold
        Of the probability where the class has the share ``learnt``.
    learnt, share
        Of the positive class among the bags learnt from, and in use.

    Returns
    -------
    float

    Examples
    --------
    >>> round(threshold_at(0.9, 0.5, 0.02), 3)
    0.155
    """
    hit, false = threshold * share / learnt, (1 - threshold) * (1 - share) / (1 - learnt)
    return float(hit / (hit + false))
