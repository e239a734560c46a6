"""Labels of every kind of target for bags of which it is known what each instance shows."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bagwise.errors import BagwiseError

__all__ = ["KINDS", "labels_of", "lives"]

_HIGHEST_GRADE = 3
# A bag without targets lives 10 in the mean, each target doubles its hazard, and a third to a half are censored.
_HAZARD, _LOG_RATIO, _LAST_SEEN = 0.1, np.log(2), 15.0

_Shown = list[NDArray[Any]]


def _counts(shown: _Shown, targets: Sequence[Any], _: np.random.Generator) -> NDArray[np.int64]:
    return np.array([np.isin(bag, targets).sum() for bag in shown], np.int64)


def _means(shown: _Shown, targets: Sequence[Any], _: np.random.Generator) -> NDArray[np.float64]:  # noqa: ARG001
    if shown[0].dtype.kind not in "iuf":
        raise BagwiseError(f"images show {shown[0][0]!r} and the like: a mean needs numbers, so take another kind")
    return np.array([bag.mean() for bag in shown], np.float64)


def _held(shown: _Shown, targets: Sequence[Any], _: np.random.Generator) -> NDArray[np.float64]:
    return np.array([np.isin(targets, bag) for bag in shown], np.float64)


def _grades(shown: _Shown, targets: Sequence[Any], rng: np.random.Generator) -> NDArray[np.int64]:
    return np.minimum(_counts(shown, targets, rng), _HIGHEST_GRADE)


def _lives(shown: _Shown, targets: Sequence[Any], rng: np.random.Generator) -> NDArray[Any]:
    return lives(_LOG_RATIO * _counts(shown, targets, rng), rng, hazard=_HAZARD, last_seen=_LAST_SEEN)


KINDS: dict[str, Callable[[_Shown, Sequence[Any], np.random.Generator], NDArray[Any]]] = {
    "multi-label": _held,
    "real": _means,
    "count": _counts,
    "ordinal": _grades,
    "survival": _lives,
}


def labels_of(kind: str, shown: _Shown, targets: Sequence[Any], rng: np.random.Generator) -> NDArray[Any]:
    """Label bags by what their instances show.

    Parameters
    ----------
    kind
        ``"multi-label"``: of each target whether the bag holds it, shape (B, number of targets). ``"real"``: the mean
        of what its images show. ``"count"``: how many of them show a target. ``"ordinal"``: that number, but at most 3.
        ``"survival"``: an event and its time, as `lives` draws them; each target in the bag doubles the hazard.
    shown
        What the images of each bag show.
    targets
        The targets.
    rng
        Draws what lives and censoring need.

    Returns
    -------
    array
        One label a bag.

    Raises
    ------
    BagwiseError
        If there is no such kind, or the images show no numbers, of which there is a mean.

    Examples
    --------
    >>> shown, rng = [np.array([9, 1, 9]), np.array([3, 2])], np.random.default_rng(0)
    >>> {kind: labels_of(kind, shown, [9, 3], rng).tolist() for kind in ("multi-label", "count", "ordinal")}
    {'multi-label': [[1.0, 0.0], [0.0, 1.0]], 'count': [2, 1], 'ordinal': [2, 1]}
    """
    if kind not in KINDS:
        raise BagwiseError(f"kind is {kind!r}: it must be one of classes, {', '.join(KINDS)}")
    return KINDS[kind](shown, targets, rng)


def lives(
    log_hazards: NDArray[np.float64], rng: np.random.Generator, *, hazard: float = 1.0, last_seen: float = np.inf
) -> NDArray[Any]:
    """Draw events and times of constant hazards, seen for a while that is drawn evenly.

    Parameters
    ----------
    log_hazards
        Logarithm of how many times `hazard` each one's is, shape (B,): the true risk.
    rng
        Draws the times of events, and until when each is seen.
    hazard
        Events in a unit of time, of those of log-hazard 0.
    last_seen
        Each is seen until a time between 0 and this; infinity: until its event.

    Returns
    -------
    array
        Structured, with the fields ``event`` (bool) and ``time`` (float), shape (B,), as scikit-survival has it.

    Examples
    --------
    >>> lives(np.zeros(3), np.random.default_rng(0)).dtype.names
    ('event', 'time')
    """
    times = rng.exponential(size=len(log_hazards)) / (hazard * np.exp(log_hazards))
    ends = rng.random(len(log_hazards)) * last_seen if np.isfinite(last_seen) else np.full(len(log_hazards), np.inf)
    drawn = np.empty(len(log_hazards), [("event", np.bool_), ("time", np.float64)])
    drawn["event"], drawn["time"] = times <= ends, np.minimum(times, ends)
    return drawn
