"""Metrics of many draws of the same bags at once, as a bootstrap asks for them.

A draw is how often each bag counts. Each function gives what `METRICS` gives with these counts for weights, which would
take a call a draw, by a few products of matrices. Counts have shape (D, B), results (D,), NaN where a draw leaves a
metric undefined.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from bagwise.evaluation.judged import Event, Judged
from bagwise.evaluation.metrics import Scorer

__all__ = ["RESAMPLED", "resampled", "share_of"]

Array = NDArray[np.float64]
Resampled = Callable[[Judged, Array], Array]

_AT_ONCE = 4_000_000  # counts of bags in draws that are held at once


def _ratio(above: Array, below: Array) -> Array:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(below > 0, above / below, np.nan)


def _averages(counts: Array, values: NDArray[np.generic]) -> Array:
    return _ratio(counts @ np.asarray(values, np.float64), counts.sum(axis=1))


def _mean_defined(each: Iterable[Array]) -> Array:
    values = np.stack([*each])
    known = ~np.isnan(values)
    return _ratio(np.where(known, values, 0).sum(axis=0), known.sum(axis=0).astype(np.float64))


def _known(judged: Judged, counts: Array) -> Iterator[tuple[Event, Array]]:
    """Give each event with the counts of the bags in which it is known."""
    for column, event in enumerate(judged.events):
        if judged.target.kind == "multi-label":
            yield event, counts[:, ~np.isnan(judged.labels[:, column])]
        else:
            yield event, counts


def _of_events(metric: Callable[[Event, Array], Array]) -> Resampled:
    return lambda judged, counts: _mean_defined(metric(*pair) for pair in _known(judged, counts))


# ---- of events --------------------------------------------------------------------------------------------


def _precision(event: Event, counts: Array) -> Array:
    return _averages(counts[:, event.predicted], event.outcomes[event.predicted])


def _recall(event: Event, counts: Array) -> Array:
    return _averages(counts[:, event.outcomes], event.predicted[event.outcomes])


def _specificity(event: Event, counts: Array) -> Array:
    others = ~event.outcomes
    return _averages(counts[:, others], ~event.predicted[others])


def _fscore(event: Event, counts: Array) -> Array:
    true, said = counts @ event.outcomes.astype(np.float64), counts @ event.predicted.astype(np.float64)
    return _ratio(2 * (counts @ (event.outcomes & event.predicted).astype(np.float64)), true + said)


def _steps(event: Event, counts: Array) -> tuple[Array, Array]:
    """Add up the positive and the negative bags of each probability, in rising order, each of shape (D, steps)."""
    order = np.argsort(event.probabilities, kind="stable")
    rising = event.probabilities[order]
    begins = np.flatnonzero(np.concatenate([[True], rising[1:] > rising[:-1]]))
    counted, positive = counts[:, order], event.outcomes[order]
    return (
        np.add.reduceat(counted * positive, begins, axis=1),
        np.add.reduceat(counted * ~positive, begins, axis=1),
    )


def _auc(event: Event, counts: Array) -> Array:
    positive, negative = _steps(event, counts)
    below = np.cumsum(negative, axis=1) - negative / 2
    return _ratio((positive * below).sum(axis=1), positive.sum(axis=1) * negative.sum(axis=1))


def _average_precision(event: Event, counts: Array) -> Array:
    positive, negative = (steps[:, ::-1] for steps in _steps(event, counts))
    found = np.cumsum(positive, axis=1)
    precision = np.nan_to_num(_ratio(found, found + np.cumsum(negative, axis=1)))
    both = np.where(negative.sum(axis=1) > 0, positive.sum(axis=1), 0)
    return _ratio((positive * precision).sum(axis=1), both)


# ---- of bags ----------------------------------------------------------------------------------------------


def share_of(metric: str, judged: Judged) -> tuple[NDArray[np.bool_], NDArray[np.bool_]] | None:
    """Say which bags are right, and among which that is counted, where a metric is a plain share of bags.

    Parameters
    ----------
    metric
        A name of `METRICS`.
    judged
        Labels and answers.

    Returns
    -------
    tuple of arrays or None
        Both bool, shape (B,); None of a metric that is no share, or is a mean of several.

    Examples
    --------
    >>> from bagwise.targets.classes import ClassTarget
    >>> answers = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    >>> judged = Judged(ClassTarget.of(["no", "yes"]), np.array(["no", "yes", "yes"]), answers, None)
    >>> right, of = share_of("recall", judged)
    >>> right[of].tolist()
    [True, False]
    """
    kind = judged.target.kind
    if metric == "exact_match":
        known = ~np.isnan(judged.labels)
        return np.all((judged.labels == judged.predicted) | ~known, axis=1), known.any(axis=1)
    if metric == "accuracy" and kind != "multi-label":
        return judged.codes == judged.predicted_codes, np.ones(len(judged.codes), bool)
    if metric in ("precision", "recall", "specificity") and kind == "classes" and judged.positive is not None:
        [event] = judged.events
        if metric == "specificity":
            return ~event.predicted, ~event.outcomes
        of = event.predicted if metric == "precision" else event.outcomes
        return event.predicted & event.outcomes, of
    return None


def _accuracy(judged: Judged, counts: Array) -> Array:
    if judged.target.kind == "multi-label":
        return _mean_defined(_averages(known, e.outcomes == e.predicted) for e, known in _known(judged, counts))
    return _averages(counts, judged.codes == judged.predicted_codes)


def _balanced_accuracy(judged: Judged, counts: Array) -> Array:
    def recalls(outcomes: NDArray[np.generic], predicted: NDArray[np.generic], known: Array) -> list[Array]:
        each = (outcomes == value for value in np.unique(outcomes))
        return [_averages(known[:, of], (outcomes == predicted)[of]) for of in each]

    if judged.target.kind == "multi-label":  # a label that does not differ in a draw is undefined there
        return _mean_defined(
            np.mean(recalls(event.outcomes, event.predicted, known), axis=0)
            for event, known in _known(judged, counts)
            if event.differs
        )
    return _mean_defined(recalls(judged.codes, judged.predicted_codes, counts))


def _exact_match(judged: Judged, counts: Array) -> Array:
    share = share_of("exact_match", judged)
    assert share is not None
    right, of = share
    return _averages(counts[:, of], right[of])


def _brier(judged: Judged, counts: Array) -> Array:
    each = [_averages(known, (e.probabilities - e.outcomes) ** 2) for e, known in _known(judged, counts)]
    return _mean_defined(each) if judged.target.kind == "multi-label" else np.sum(each, axis=0)


def _log_loss(judged: Judged, counts: Array) -> Array:
    def surprise(likely: Array, known: Array) -> Array:
        return _averages(known, -np.log(np.clip(likely, np.finfo(np.float64).eps, 1)))

    if judged.target.kind == "multi-label":
        return _mean_defined(
            surprise(np.where(e.outcomes, e.probabilities, 1 - e.probabilities), known)
            for e, known in _known(judged, counts)
        )
    likely = judged.answers[np.arange(len(judged.codes)), judged.codes]
    return surprise(np.where(judged.codes < 0, 0, likely), counts)


def _kappa(judged: Judged, counts: Array) -> Array:
    codes, said = judged.codes + 1, judged.predicted_codes + 1
    every = np.arange(len(judged.names) + 1)
    apart = np.abs(every[:, None] - every)
    costs = apart.astype(np.float64) ** 2 if judged.target.kind == "ordinal" else (apart > 0).astype(np.float64)
    true, guessed = (counts @ (of[:, None] == every).astype(np.float64) for of in (codes, said))
    by_chance = np.einsum("dk,kl,dl->d", true, costs, guessed)
    return 1 - _ratio(counts @ costs[codes, said] * counts.sum(axis=1), by_chance)


# ---- of numbers ----------------------------------------------------------------------------------------


def _mae(judged: Judged, counts: Array) -> Array:
    if judged.target.kind == "ordinal":
        return _averages(counts, np.abs(judged.codes - judged.predicted_codes))
    return _mean_defined(_averages(counts, np.abs(true - said)) for true, said in judged.numbers)


def _rmse(judged: Judged, counts: Array) -> Array:
    return _mean_defined(np.sqrt(_averages(counts, (true - said) ** 2)) for true, said in judged.numbers)


def _r2(judged: Judged, counts: Array) -> Array:
    def explained(true: Array, said: Array) -> Array:
        centred = true - true.mean()
        squares = _averages(counts, centred**2)
        spread = squares - _averages(counts, centred) ** 2
        spread = np.where(spread > 1e-12 * squares, spread, 0)  # a draw of equal labels, but for rounding
        return 1 - _ratio(_averages(counts, (true - said) ** 2), spread)

    return _mean_defined(explained(true, said) for true, said in judged.numbers)


RESAMPLED: dict[str, Resampled] = {
    "accuracy": _accuracy,
    "precision": _of_events(_precision),
    "recall": _of_events(_recall),
    "specificity": _of_events(_specificity),
    "fscore": _of_events(_fscore),
    "auc": _of_events(_auc),
    "balanced_accuracy": _balanced_accuracy,
    "average_precision": _of_events(_average_precision),
    "brier": _brier,
    "log_loss": _log_loss,
    "exact_match": _exact_match,
    "kappa": _kappa,
    "mae": _mae,
    "rmse": _rmse,
    "r2": _r2,
}


def resampled(
    asked: Mapping[str, str | Scorer],
    judged: Judged,
    group: NDArray[np.int64],
    weights: NDArray[np.float64] | None,
    draws: int,
    seed: int,
) -> dict[str, tuple[float, NDArray[np.float64]]]:
    """Measure all bags, and draws of groups with replacement, as many as there are, each with all its bags.

    Parameters
    ----------
    asked
        For each name a metric, or a function ``(labels, answers) -> float``, which is called with copies of the bags.
    judged
        Labels and answers, without weights.
    group
        The group of each bag, numbered from 0 on without gaps, shape (B,).
    weights
        What each bag counts, shape (B,); None: all count the same. Functions of the user's own do not see them.
    draws, seed
        How many, and what decides them.

    Returns
    -------
    dict
        Of each name the value of all bags, and those of the draws, shape (draws,); NaN where it is undefined.

    Examples
    --------
    >>> from bagwise.targets.classes import ClassTarget
    >>> answers = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    >>> judged = Judged(ClassTarget.of(["no", "yes"]), np.array(["no", "yes", "yes"]), answers, None)
    >>> of_all, of_draws = resampled({"right": "accuracy"}, judged, np.arange(3), None, draws=4, seed=0)["right"]
    >>> round(of_all, 2), of_draws.round(2).tolist()
    (0.67, [0.67, 1.0, 1.0, 0.33])
    """
    count = int(group.max()) + 1
    rng = np.random.default_rng(seed)
    at_once = max(1, _AT_ONCE // len(group))

    def measured(times: NDArray[np.int64]) -> dict[str, Array]:
        counts = times.astype(np.float64) if weights is None else times * weights
        return {
            name: RESAMPLED[one](judged, counts) if isinstance(one, str) else _called(one, judged, times)
            for name, one in asked.items()
        }

    of_all = measured(np.ones((1, len(group)), np.int64))
    parts: list[dict[str, Array]] = []
    for begin in range(0, draws, at_once):
        size = min(at_once, draws - begin)
        chosen = rng.integers(0, count, (size, count)) + np.arange(size)[:, None] * count
        parts.append(measured(np.bincount(chosen.ravel(), minlength=size * count).reshape(size, count)[:, group]))
    return {name: (float(of_all[name][0]), np.concatenate([part[name] for part in parts])) for name in asked}


def _called(function: Scorer, judged: Judged, times: NDArray[np.int64]) -> Array:
    bags = np.arange(times.shape[1])
    positions = (np.repeat(bags, draw) for draw in times)
    return np.array([float(function(judged.labels[at], judged.answers[at])) for at in positions])
