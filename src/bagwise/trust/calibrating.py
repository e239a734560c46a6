"""Learning a calibration from what is said of bags held out, by a rule that looks at how many there are."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bagwise.errors import BagwiseError
from bagwise.targets.contract import Target
from bagwise.trust.calibration import (
    HOTTEST,
    Calibration,
    Calibrator,
    Steps,
    event_columns,
    is_of_events,
    log_odds,
    sigmoid,
)

if TYPE_CHECKING:
    from bagwise.trust.held_out import HeldOut

__all__ = ["CALIBRATED", "FEWEST", "FEWEST_FOR_STEPS", "Choice", "check_kind", "choose_calibration", "too_few"]

CALIBRATED = ("classes", "multi-label", "ordinal")  # kinds of which answers are probabilities of labels
# Of the rarer of two outcomes, held out: of fewer one number is noise, and of fewer than these the steps are.
FEWEST, FEWEST_FOR_STEPS = 20, 100


class Choice(NamedTuple):
    """What was learnt from answers about bags held out.

    Attributes
    ----------
    calibration
        Of the answers of the model of all bags; None where they are better as they are.
    why
        How it came about, for the report.
    answers
        About the bags held out, each calibrated by what was learnt from the other folds, shape (B, A): on them the
        calibration can be judged.

    Examples
    --------
    >>> Choice(None, "there are too few bags", np.array([[0.5, 0.5]])).calibration is None
    True
    """

    calibration: Calibration | None
    why: str
    answers: NDArray[np.float64]


def choose_calibration(held_out: "HeldOut") -> Choice:
    """Learn a calibration from what is said of bags held out.

    The rule: of fewer than 20 bags of the rarer outcome (of several classes and of grades: that are not of the
    commonest) nothing is learnt; else a temperature, of two classes or a label with a shift; and of these, from 100 of
    the rarer outcome on, Venn-Abers, too. Of these, and of the answers as they are, that with the least log-loss is
    taken, the simpler where they are equal, where each fold is calibrated by what is learnt from the others.

    Parameters
    ----------
    held_out
        Of the training bags.

    Returns
    -------
    Choice

    Raises
    ------
    BagwiseError
        If answers are no probabilities of labels.

    Examples
    --------
    >>> from bagwise.targets.classes import ClassTarget
    >>> from bagwise.trust.held_out import HeldOut
    >>> sure = np.repeat([[0.99, 0.01], [0.01, 0.99]], 50, axis=0)
    >>> labels = np.concatenate([[1] * 10, [0] * 40, [1] * 40, [0] * 10])  # a fifth of them otherwise
    >>> held_out = HeldOut(ClassTarget.of([0, 1]), labels, sure, np.arange(100) % 5, [])
    >>> found = choose_calibration(held_out)
    >>> found.calibration.told, found.calibration.applied(held_out.target, sure[:1]).round(2).tolist()
    ('temperature 3.49', [[0.79, 0.21]])
    """
    target, answers = held_out.target, held_out.answers
    check_kind(target)
    weights = np.ones(len(answers)) if held_out.weights is None else held_out.weights
    encoded = target.encoded(held_out.labels)
    if is_of_events(target):
        scores = log_odds(target, answers)
        chosen = [
            _of_event(column, outcomes, weights, held_out.fold)
            for column, outcomes in zip(scores.T, encoded.T, strict=True)
        ]
        across = event_columns(target, np.column_stack([likely for _, likely, _ in chosen]))
    else:
        one, across, why = _of_whole(target, answers, encoded[:, 0].astype(np.int64), weights, held_out.fold)
        chosen = [(one, across[:, 0], why)]
    told = "; ".join(dict.fromkeys(why for _, _, why in chosen))
    calibration = Calibration(tuple(one for one, _, _ in chosen))
    if all(one is None for one in calibration.calibrators):
        return Choice(None, told, answers)
    return Choice(calibration, told, across)


def check_kind(target: Target) -> None:
    """Refuse targets whose answers are no probabilities of labels.

    Parameters
    ----------
    target
        What labels are.

    Raises
    ------
    BagwiseError
        If it is of numbers, counts or survival.

    Examples
    --------
    >>> from bagwise.targets.classes import ClassTarget
    >>> check_kind(ClassTarget.of([0, 1]))
    """
    if target.kind not in CALIBRATED:
        raise BagwiseError(
            f"answers of a {target.kind} target are no probabilities of labels, so that there is nothing to calibrate:"
            " leave --calibrate out, or say none"
        )


def too_few(target: Target, encoded: NDArray[np.float64]) -> str | None:
    """Say why nothing can be learnt, before anything is held out.

    Parameters
    ----------
    target
        What labels are.
    encoded
        Of the bags that count, as the target encodes them, shape (B, T).

    Returns
    -------
    str
        None where there are enough bags.

    Examples
    --------
    >>> from bagwise.targets.classes import ClassTarget
    >>> too_few(ClassTarget.of([0, 1]), np.array([[0.0], [1.0]] * 10))
    'there are 10 bags of the rarer outcome, and 20 are needed'
    """
    if is_of_events(target):
        counts = [min((column == 0).sum(), (column == 1).sum()) for column in encoded.T]
        return None if max(counts) >= FEWEST else _few(int(max(counts)), "of the rarer outcome")
    others = len(encoded) - int(np.bincount(encoded[:, 0].astype(np.int64)).max())
    return None if others >= FEWEST else _few(others, "that are not of the commonest class")


def _few(count: int, what: str) -> str:
    return f"there are {count} bags {what}, and {FEWEST} are needed"


def _of_event(
    scores: NDArray[np.float64], outcomes: NDArray[np.float64], weights: NDArray[np.float64], fold: NDArray[np.int64]
) -> tuple[Calibrator | None, NDArray[np.float64], str]:
    """Choose for one event; gives also probabilities across folds, and why."""
    as_they_are = sigmoid(scores)
    known = np.flatnonzero((outcomes == outcomes) & (weights > 0))
    happened = outcomes == 1
    rarer = int(np.bincount(happened[known], minlength=2).min())
    if rarer < FEWEST:
        return None, as_they_are, _few(rarer, "of the rarer outcome")

    def learn(places: NDArray[np.int64], *, steps: bool) -> Calibrator:
        of, counted = happened[places], weights[places] / weights[places].mean()
        around = _log_odds_of(counted @ of, counted.sum())
        wanted = _softened(of.astype(np.int64), counted, 2)[:, 1]

        found = Calibrator(1.0, around, limits=_limits(scores[places], fold[places]))
        within = found.limited(scores[places])

        def loss(asked: NDArray[np.float64]) -> float:
            cooled = found._replace(temperature=float(np.exp(asked[0])), shift=float(asked[1])).cooled(within)
            return float(counted @ (np.logaddexp(0, cooled) - wanted * cooled))

        logarithm, shift = _least(loss).tolist()
        found = found._replace(temperature=float(np.exp(logarithm).clip(1 / HOTTEST, HOTTEST)), shift=shift)
        return found._replace(steps=Steps.of(scores[places], of, counted)) if steps else found

    tried: dict[str, NDArray[np.float64]] = {"as they are": as_they_are}
    kinds = [False] if rarer < FEWEST_FOR_STEPS else [False, True]
    for steps in kinds:
        across = as_they_are.copy()
        for number in np.unique(fold):
            across[fold == number] = learn(known[fold[known] != number], steps=steps).probabilities(
                scores[fold == number]
            )
        tried["by Venn-Abers" if steps else "by a temperature"] = across
    losses = {
        name: _surprise_of(np.where(happened, likely, 1 - likely)[known], weights[known])
        for name, likely in tried.items()
    }
    best = min(losses, key=lambda name: losses[name])
    one = None if best == "as they are" else learn(known, steps=best == "by Venn-Abers")
    return one, tried[best], _told(losses)


def _of_whole(
    target: Target,
    answers: NDArray[np.float64],
    codes: NDArray[np.int64],
    weights: NDArray[np.float64],
    fold: NDArray[np.int64],
) -> tuple[Calibrator | None, NDArray[np.float64], str]:
    """Choose for classes or grades that share a temperature."""
    known = np.flatnonzero(weights > 0)
    others = len(known) - int(np.bincount(codes[known]).max())
    if others < FEWEST:
        return None, answers, _few(others, "that are not of the commonest class")

    def learn(places: NDArray[np.int64]) -> Calibrator:
        of, counted = codes[places], weights[places] / weights[places].mean()
        shares = np.bincount(of, counted, answers.shape[1]) + 0.5  # which has no share of 0
        around = np.log(shares / shares.sum())
        if target.kind == "ordinal":
            around = _log_odds_of(shares[::-1].cumsum()[-2::-1], shares.sum())

        wanted = _softened(of, counted, answers.shape[1])

        def loss(temperature: float) -> float:
            likely = Calibrator(temperature, around).applied(target, answers[places])
            return float(-counted @ (wanted * np.log(np.maximum(likely, np.finfo(np.float64).eps))).sum(axis=1))

        return Calibrator(_temperature(loss), around)

    across = answers.copy()
    for number in np.unique(fold):
        learnt = learn(known[fold[known] != number])
        across[fold == number] = learnt.applied(target, answers[fold == number])
    right = known, codes[known]
    losses = {
        "as they are": _surprise_of(answers[right], weights[known]),
        "by a temperature": _surprise_of(across[right], weights[known]),
    }
    if losses["by a temperature"] >= losses["as they are"]:
        return None, answers, _told(losses)
    return learn(known), across, _told(losses)


def _limits(scores: NDArray[np.float64], fold: NDArray[np.int64]) -> NDArray[np.float64]:
    """Give the least and the largest of each fold's scores, of each the mean."""
    of_folds = [scores[fold == number] for number in np.unique(fold)]
    return np.array([np.mean([one.min() for one in of_folds]), np.mean([one.max() for one in of_folds])])


def _temperature(loss: Callable[[float], float]) -> float:
    """Find the temperature with the least loss."""
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(
        lambda logarithm: loss(float(np.exp(logarithm))),
        bounds=(-np.log(HOTTEST), np.log(HOTTEST)),
        method="bounded",
        options={"xatol": 1e-6},
    )
    return float(np.exp(found.x).clip(1 / HOTTEST, HOTTEST))


def _least(loss: Callable[[NDArray[np.float64]], float]) -> NDArray[np.float64]:
    """Find the logarithm of the temperature, and the shift, with the least loss."""
    from scipy.optimize import minimize

    hottest = float(np.log(HOTTEST))
    found: NDArray[np.float64] = minimize(loss, np.zeros(2), bounds=[(-hottest, hottest), (-hottest, hottest)]).x
    return found


def _softened(codes: NDArray[np.int64], weights: NDArray[np.float64], classes: int) -> NDArray[np.float64]:
    """Give the probabilities that a temperature aims at, shape (B, classes): as if each class had one bag more of each.

    Where a few bags are told apart without an error, the best for themselves would be certainty, which they cannot show
    (Platt, Probabilistic outputs for support vector machines, 1999, section 2.2).
    """
    counts = np.bincount(codes, weights, classes)[codes]
    wanted = np.repeat(1 / (counts + classes), classes).reshape(-1, classes)
    wanted[np.arange(len(codes)), codes] = (counts + 1) / (counts + classes)
    return wanted


def _log_odds_of(positive: Any, total: float) -> NDArray[np.float64]:
    shares = np.atleast_1d(np.asarray(positive, np.float64)) / total
    logarithms: NDArray[np.float64] = np.log(shares) - np.log1p(-shares)
    return logarithms


def _surprise_of(likely: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    return float(np.average(-np.log(np.maximum(likely, np.finfo(np.float64).eps)), weights=weights))


def _told(losses: Mapping[str, float]) -> str:
    return "log-loss on bags held out " + ", ".join(f"{name} {loss:.4f}" for name, loss in losses.items())
