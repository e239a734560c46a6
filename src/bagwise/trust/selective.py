"""Leaving out the answers that are likeliest to be wrong: the error among the rest, and a cut that keeps it small."""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bagwise.errors import BagwiseError
from bagwise.targets.classes import ClassTarget
from bagwise.targets.contract import Target
from bagwise.trust.sets import group_weights

__all__ = ["LEVEL", "Abstention", "RiskCurve", "abstention", "confidence", "risk_curve"]

LEVEL = 0.9  # how sure it shall be that the error is as small as was wished
_STEPS = 10  # shares of bags that may be answered


def confidence(target: Target, answers: NDArray[np.floating]) -> NDArray[np.float64]:
    """Say how far answers are from another decision.

    Parameters
    ----------
    target
        Classes, and the threshold that decides, or grades.
    answers
        Probabilities, shape (B, A).

    Returns
    -------
    array
        Shape (B,): the largest probability; where there is a threshold each is divided by what it must exceed, and they
        are made to sum to 1 again, so that of two classes one half is at the threshold.

    Raises
    ------
    BagwiseError
        If the target is of another kind.

    Examples
    --------
    >>> target = ClassTarget.of(["no", "yes"]).deciding(0.2)
    >>> confidence(target, np.array([[0.8, 0.2], [0.5, 0.5], [1.0, 0.0]])).round(2).tolist()
    [0.5, 0.8, 1.0]
    """
    if target.kind not in ("classes", "ordinal"):
        raise BagwiseError(f"a model abstains from classes or grades, and the target is {target.kind}: leave it out")
    bars = np.ones(answers.shape[1])
    if isinstance(target, ClassTarget) and target.threshold is not None:
        bars = np.array(target.threshold, dtype=np.float64)
        if target.classes.column is not None:
            bars = np.where(np.arange(2) == target.classes.column, bars, 1.0 - bars)
    shares = answers / bars.clip(min=np.finfo(np.float64).tiny)
    found: NDArray[np.float64] = shares.max(axis=1) / shares.sum(axis=1)
    return found


class RiskCurve(NamedTuple):
    """The error among the bags that are answered, over how many these are.

    Attributes
    ----------
    cut
        Falling confidences, shape (P,): bags with at least as much are answered.
    answered
        Their share of the bags, shape (P,); the last is 1.
    error
        The share of these that is wrong, shape (P,).
    """

    cut: NDArray[np.float64]
    answered: NDArray[np.float64]
    error: NDArray[np.float64]


def risk_curve(confidences: NDArray[np.float64], wrong: NDArray[np.bool_]) -> RiskCurve:
    """Draw how the error falls as fewer bags are answered.

    Parameters
    ----------
    confidences
        Of held-out bags, shape (n,).
    wrong
        Whether what was predicted is not the truth, shape (n,).

    Returns
    -------
    RiskCurve

    References
    ----------
    R. El-Yaniv, Y. Wiener: On the foundations of noise-free selective classification. Journal of Machine Learning
    Research, 2010.

    Examples
    --------
    >>> risk_curve(np.array([0.9, 0.6, 0.9, 0.7]), np.array([False, True, False, False])).error.tolist()
    [0.0, 0.0, 0.25]
    """
    order = np.argsort(-confidences, kind="stable")
    ordered, count = confidences[order], np.arange(1, len(order) + 1)
    last = np.append(ordered[1:] != ordered[:-1], True)  # who are equally confident are answered together
    errors = np.cumsum(wrong[order]) / count
    return RiskCurve(ordered[last], count[last] / len(order), errors[last])


class Abstention(NamedTuple):
    """From which confidence on bags are answered.

    Attributes
    ----------
    cut
        That.
    answered
        The share of held-out bags that is.
    error
        The share of these that was wrong.
    """

    cut: float
    answered: float
    error: float


def abstention(
    wished: float, confidences: NDArray[np.float64], wrong: NDArray[np.bool_], groups: NDArray[Any] | None = None
) -> Abstention:
    """Find the smallest confidence above which the error is, with a certainty of 90 %, as small as is wished.

    Cuts are tried in turn that answer a tenth of the held-out bags, two tenths, and so on, from where on so many are
    answered that they can tell. These share the 10 % of doubt, and each hands on to the next what it had if it is found
    good, by the exact binomial test: so the certainty is that of the choice, and not of one cut. Which cuts there are
    is known from confidences alone.

    Parameters
    ----------
    wished
        The largest error among answered bags, between 0 and 1.
    confidences
        Of held-out bags, shape (n,).
    wrong
        Whether what was predicted is not the truth, shape (n,).
    groups
        Of the bags, shape (n,): a group counts as one bag that is wrong by its share of wrong answers; what these add
        up to is rounded up. None: each bag counts.

    Returns
    -------
    Abstention

    Raises
    ------
    BagwiseError
        If there is no such cut; it says which error would do.

    References
    ----------
    B. Wiens: A fixed sequence Bonferroni procedure for testing multiple endpoints. Pharmaceutical Statistics, 2003.
    A. Angelopoulos, S. Bates, E. Candès, M. Jordan, L. Lei: Learn then test. 2021, section 3.

    Examples
    --------
    >>> confidences, wrong = np.linspace(1, 0.5, 200), np.arange(200) > 150
    >>> found = abstention(0.05, confidences, wrong)
    >>> round(found.cut, 2), found.answered, found.error
    (0.65, 0.7, 0.0)
    """
    if not isinstance(wished, int | float) or not 0 < wished < 1:
        raise BagwiseError(f"the wished error is {wished!r}: it must be between 0 and 1, such as 0.05")
    cuts = _cuts(confidences)
    tried = [_counted(confidences >= cut, wrong, groups) for cut in cuts]
    place = _last_good(wished, tried)
    if place is None:
        least = next((step / 100 for step in range(1, 100) if _last_good(step / 100, tried) is not None), None)
        counted = f"{len(wrong)} bags" if groups is None else f"{len(np.unique(groups))} groups"
        would_do = "none would do" if least is None else f"the least error that would do is {100 * least:g} %"
        raise BagwiseError(
            f"by predictions held out, of {counted}, no confidence makes an error of at most {100 * wished:g} % certain"
            f" to {100 * LEVEL:g} %: {would_do}, so allow more, or learn from more bags"
        )
    answered = confidences >= cuts[place]
    return Abstention(float(cuts[place]), float(answered.mean()), float(wrong[answered].mean()))


def _cuts(confidences: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the falling confidences above which a tenth of the bags is, two tenths, and so on."""
    ranks = -(-len(confidences) * np.arange(1, _STEPS + 1) // _STEPS)
    return np.unique(np.sort(confidences)[::-1][ranks - 1])[::-1]


def _counted(answered: NDArray[np.bool_], wrong: NDArray[np.bool_], groups: NDArray[Any] | None) -> tuple[int, int]:
    """Count bags or groups that are answered, and wrong ones among them."""
    weights = group_weights(None if groups is None else groups[answered], int(answered.sum()))
    return round(weights.sum()), math.ceil(weights[wrong[answered]].sum() - 1e-9)


def _last_good(wished: float, tried: list[tuple[int, int]]) -> int | None:
    """Give the place of the last cut that is found good, of those at which enough are answered to tell."""
    from scipy.special import bdtr

    doubt, last, carried = 1 - LEVEL, None, 0.0
    could = (place for place, (count, _) in enumerate(tried) if (1 - wished) ** count <= doubt / (len(tried) - place))
    first = next(could, len(tried))
    for place, (count, wrong) in enumerate(tried[first:], first):
        carried += doubt / (len(tried) - first)
        if bdtr(float(wrong), count, wished) <= carried:
            last = place
        else:
            carried = 0.0
    return last
