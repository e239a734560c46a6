"""Calibration: what answers become so that of all bags with a probability of .3 about three in ten are positive.

It is kept as plain arrays and applied by NumPy alone; `bagwise.trust.calibrating` learns it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from bagwise.targets.classes import ClassTarget
from bagwise.targets.contract import Target

__all__ = [
    "HOTTEST",
    "Calibration",
    "Calibrator",
    "Steps",
    "above_each",
    "event_columns",
    "is_of_events",
    "log_odds",
    "sigmoid",
]

# Steps leave bags tied that the model ranks: a hundredth of its own log-odds keeps their order.
_OF_ITS_OWN = 0.01
# So much of what lies beyond the limits is left, for the same reason.
_BEYOND = 0.01
HOTTEST = 1000.0
_LEAST = float(np.finfo(np.float32).tiny)  # the least that a model in single precision says, but for nothing


class Steps(NamedTuple):
    """An inductive Venn-Abers predictor: the calibrated probability rises in steps with the score.

    A score is put among those of the bags held out, once as a negative and once as a positive one. The isotonic
    regressions of these give two probabilities, of which p = upper / (1 - lower + upper) has the least regret in
    log-loss (Vovk, Petej and Fedorova, Large-scale probabilistic predictors with and without guarantees of validity,
    2015, section 5).

    Attributes
    ----------
    scores
        Of the bags held out, rising, each once, shape (k,).
    lower, upper
        The two probabilities between and beside them, shape (k + 1,): of a score as large as i of them it is
        ``lower[i]``, of one larger than i of them ``upper[i]``.

    Examples
    --------
    >>> steps = Steps.of(np.array([-1.0, 0.0, 1.0]), np.array([False, True, True]), np.ones(3))
    >>> steps.probabilities(np.array([-2.0, 2.0])).round(3).tolist()
    [0.333, 0.75]
    """

    scores: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]

    @classmethod
    def of(cls, scores: NDArray[np.float64], outcomes: NDArray[np.bool_], weights: NDArray[np.float64]) -> Self:
        """Learn from bags held out.

        Parameters
        ----------
        scores
            Of the bags, shape (n,).
        outcomes
            Which are positive, shape (n,).
        weights
            What each counts, above 0, of mean 1: the bag that is put among them counts 1.
        """
        levels, places = np.unique(scores, return_inverse=True)
        counts = np.bincount(places, weights).astype(np.float64)
        positive = np.bincount(places, weights * outcomes).astype(np.float64)
        lower = np.append(0.0, _isotonic_with(counts, positive, 0.0))
        upper = np.append(_isotonic_with(counts, positive, 1.0), 1.0)
        return cls(levels, lower, upper)

    def probabilities(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give the probability of each score, of any shape."""
        lower = self.lower[np.searchsorted(self.scores, scores, side="right")]
        upper = self.upper[np.searchsorted(self.scores, scores, side="left")]
        merged: NDArray[np.float64] = upper / (1 - lower + upper)
        return merged


class Calibrator(NamedTuple):
    """What log-odds become.

    Attributes
    ----------
    temperature
        What log-odds are divided by, on top of those of the class's share: above 1 where answers are too sure. Guo et
        al. (On calibration of modern neural networks, 2017) divide all of them; so an endless temperature, of a model
        that knows nothing, says the share, and not one half.
    around
        The log-odds of shares: of an event's one, shape (1,); of being above each grade; of several classes the
        logarithms of their shares.
    steps
        What probability log-odds have, where there are enough bags for it; None has the temperature alone.
    shift
        What is added to the log-odds of an event then: errors of one kind may be surer than those of the other (Platt,
        Probabilistic outputs for support vector machines, 1999).
    limits
        Of an event the least and the largest log-odds that were said of bags held out, the means over the folds'
        models, shape (2,). What the model of all bags says beyond them nobody has seen come true, and a hundredth of it
        counts: that model may have learnt to be sure where those of the folds had not begun. None limits nothing.

    Examples
    --------
    >>> Calibrator(2.0, np.zeros(1)).probabilities(np.array([-2.0, 0.0])).round(3).tolist()
    [0.269, 0.5]
    >>> Calibrator(2.0, np.zeros(1), limits=np.array([-2.0, 2.0])).probabilities(np.array([-20.0])).round(3).tolist()
    [0.252]
    """

    temperature: float
    around: NDArray[np.float64]
    steps: Steps | None = None
    shift: float = 0.0
    limits: NDArray[np.float64] | None = None

    @property
    def told(self) -> str:
        """Its name."""
        return f"temperature {self.temperature:.2f}" if self.steps is None else "Venn-Abers"

    @property
    def parts(self) -> int:
        """How many arrays it has beside its temperature and shares."""
        return 3 * (self.steps is not None) + 2 * (self.limits is not None)

    def limited(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Bring log-odds of an event, of any shape, within the limits, but for a hundredth of what lies beyond."""
        if self.limits is None:
            return scores
        within = scores.clip(*self.limits)
        found: NDArray[np.float64] = within + _BEYOND * (scores - within)
        return found

    def cooled(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Divide scores, shape (..., or B, number of shares), and shift them."""
        divided: NDArray[np.float64] = self.around + (scores - self.around) / self.temperature + self.shift
        return divided

    def probabilities(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give the probability of log-odds of an event, shape (B,); larger ones have a larger one."""
        scores = self.limited(scores)
        if self.steps is None:
            return sigmoid(self.cooled(scores))
        likely = self.steps.probabilities(scores)
        return sigmoid((1 - _OF_ITS_OWN) * (np.log(likely) - np.log1p(-likely)) + _OF_ITS_OWN * self.cooled(scores))

    def applied(self, target: Target, answers: NDArray[np.float64]) -> NDArray[np.float64]:
        """Calibrate answers, shape (B, A), of several classes, or of grades."""
        if target.kind == "ordinal":
            above = above_each(answers)
            scores = np.log(np.maximum(above, _LEAST)) - np.log(np.maximum(1 - above, _LEAST))
            ends = np.ones((len(answers), 1))
            found: NDArray[np.float64] = -np.diff(
                np.minimum.accumulate(sigmoid(self.cooled(scores)), axis=1), prepend=ends, append=0 * ends
            )
            return found
        logarithms = self.cooled(np.log(np.maximum(answers, _LEAST)))
        powers = np.exp(logarithms - logarithms.max(axis=1, keepdims=True))
        shares: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
        return shares


@dataclass(frozen=True, eq=False)
class Calibration:
    """What the answers of a model become.

    Of two classes the log-odds of the positive one are calibrated, and of several labels those of each. Several classes
    have one temperature, for the logarithms of their probabilities, and so have grades, for the log-odds of being above
    each.

    Attributes
    ----------
    calibrators
        One, or of several labels one each; None leaves a label as it is.

    Examples
    --------
    >>> target = ClassTarget.of(["a", "b", "c"])
    >>> even = Calibrator(2.0, np.log(np.full(3, 1 / 3)))
    >>> Calibration((even,)).applied(target, np.array([[0.64, 0.32, 0.04]])).round(3).tolist()
    [[0.511, 0.361, 0.128]]
    """

    calibrators: tuple[Calibrator | None, ...]

    @property
    def told(self) -> str:
        """Which calibrators they are."""
        return ", ".join(dict.fromkeys("none" if one is None else one.told for one in self.calibrators))

    def applied(self, target: Target, answers: NDArray[Any]) -> NDArray[np.float64]:
        """Calibrate answers.

        Parameters
        ----------
        target
            What labels are, of the model that answered.
        answers
            Shape (B, A), as `BagEstimator.answers` gives them.

        Returns
        -------
        array
            Shape (B, A).
        """
        answers = np.asarray(answers, np.float64)
        if is_of_events(target):
            scores = log_odds(target, answers)
            columns = [
                sigmoid(column) if one is None else one.probabilities(column)
                for one, column in zip(self.calibrators, scores.T, strict=True)
            ]
            return event_columns(target, np.column_stack(columns))
        (one,) = self.calibrators
        return answers if one is None else one.applied(target, answers)

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """Give all of it as arrays by name, which `from_arrays` takes."""
        width = max(len(one.around) for one in self.calibrators if one is not None)
        around = [np.full(width, np.nan) if one is None else one.around for one in self.calibrators]
        found = {
            "temperatures": np.array([np.nan if one is None else one.temperature for one in self.calibrators]),
            "around": np.concatenate(around),
        }
        for number, one in enumerate(self.calibrators):
            if one is not None and one.steps is not None:
                found |= {f"{number}/{name}": array for name, array in one.steps._asdict().items()}
            if one is not None and one.limits is not None:
                found |= {f"{number}/limits": one.limits, f"{number}/shift": np.array([one.shift])}
        return found

    @classmethod
    def from_arrays(cls, target: Target, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Make one of what `arrays` gave.

        Parameters
        ----------
        target
            Of the model whose answers are calibrated.
        arrays
            As `arrays` gave them.

        Raises
        ------
        ValueError
            If they are none that `arrays` gave for such a target.
        """
        count, width = _shape(target)
        temperatures, around = _numbers(arrays, "temperatures", count), _numbers(arrays, "around", count * width)
        around = around.reshape(count, width)
        known = ~np.isnan(temperatures)
        if not known.any() or not (np.isfinite(around).all(axis=1) == known).all():
            raise ValueError("its shares are none")
        if not ((temperatures[known] >= 1 / HOTTEST) & (temperatures[known] <= HOTTEST)).all():
            raise ValueError("a temperature is out of its range")
        calibrators: list[Calibrator | None] = []
        for number, temperature in enumerate(temperatures.tolist()):
            steps = None
            if f"{number}/scores" in arrays:
                if not is_of_events(target) or not known[number]:
                    raise ValueError("it has steps of something that has none")
                scores = _numbers(arrays, f"{number}/scores", None)
                lower, upper = (_numbers(arrays, f"{number}/{name}", len(scores) + 1) for name in ("lower", "upper"))
                _check_steps(scores, lower, upper)
                steps = Steps(scores, lower, upper)
            limits, shift = None, 0.0
            if f"{number}/limits" in arrays:  # which older runs have not
                limits, shift = (
                    _numbers(arrays, f"{number}/limits", 2),
                    float(_numbers(arrays, f"{number}/shift", 1)[0]),
                )
                if not is_of_events(target) or not known[number] or not -np.inf < limits[0] <= limits[1] < np.inf:
                    raise ValueError("its limits are none")
                if not np.isfinite(shift):
                    raise ValueError("its shift is none")
            calibrators.append(Calibrator(temperature, around[number], steps, shift, limits) if known[number] else None)
        if len(arrays) != 2 + sum(one.parts for one in calibrators if one is not None):
            raise ValueError("it has arrays of which nothing is known")
        return cls(tuple(calibrators))


def log_odds(target: Target, answers: NDArray[Any]) -> NDArray[np.float64]:
    """Give the log-odds of what can be true of a bag.

    Parameters
    ----------
    target
        Two classes, or several labels.
    answers
        Probabilities, shape (B, A).

    Returns
    -------
    array
        Of the positive class, shape (B, 1), or of each label, shape (B, labels).

    Examples
    --------
    >>> log_odds(ClassTarget.of([0, 1]), np.array([[0.5, 0.5], [0.2, 0.8]])).round(3).tolist()
    [[0.0], [1.386]]
    """
    answers = np.asarray(answers, np.float64)
    against = 1 - answers
    if isinstance(target, ClassTarget):
        assert target.classes.column is not None
        against = answers[:, [1 - target.classes.column]]  # 1 less what is nearly 1 loses digits
        answers = answers[:, [target.classes.column]]
    logarithms: NDArray[np.float64] = np.log(np.maximum(answers, _LEAST)) - np.log(np.maximum(against, _LEAST))
    return logarithms


# ---- probabilities --------------------------------------------------------------------------------------------------


def is_of_events(target: Target) -> bool:
    """Say whether answers are of events that are calibrated one by one: two classes, or several labels."""
    return target.kind == "multi-label" or target.positive is not None


def _shape(target: Target) -> tuple[int, int]:
    """Give the number of calibrators, and of the shares that each knows."""
    assert target.names is not None
    if is_of_events(target):
        return len(target.names) if target.kind == "multi-label" else 1, 1
    return 1, len(target.names) - (target.kind == "ordinal")


def event_columns(target: Target, likely: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn probabilities of events, shape (B, events), into answers, shape (B, A); `log_odds` takes them apart."""
    if not isinstance(target, ClassTarget):
        return likely
    return target.by_name(np.column_stack([1 - likely, likely]))


def above_each(answers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the probability of being above each grade but the highest, of those of the grades, shape (B, grades)."""
    above: NDArray[np.float64] = answers[:, ::-1].cumsum(axis=1)[:, -2::-1].clip(0, 1)
    return above


def sigmoid(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the probability of log-odds."""
    likely: NDArray[np.float64] = np.exp(-np.logaddexp(0, -scores))
    return likely


# ---- what is read ---------------------------------------------------------------------------------------------------


def _numbers(arrays: Mapping[str, NDArray[Any]], name: str, length: int | None) -> NDArray[np.float64]:
    array = arrays[name]
    if array.dtype != np.float64 or array.ndim != 1 or (len(array) != length if length is not None else not len(array)):
        raise ValueError(f"{name!r} has shape {array.shape} and type {array.dtype}")
    return array


def _check_steps(scores: NDArray[np.float64], lower: NDArray[np.float64], upper: NDArray[np.float64]) -> None:
    rises: Sequence[bool] = [
        bool(np.isfinite(scores).all() and (np.diff(scores) > 0).all()),
        *(bool((np.diff(steps) >= 0).all()) for steps in (lower, upper)),
        bool(lower[0] == 0 and upper[-1] == 1 and (lower < 1).all() and (upper > 0).all()),
    ]
    if not all(rises):
        raise ValueError("its steps do not rise from 0 to 1")


# ---- steps ----------------------------------------------------------------------------------------------------------


def _isotonic_with(counts: NDArray[np.float64], positive: NDArray[np.float64], outcome: float) -> NDArray[np.float64]:
    """Give at each level the isotonic regression with one more bag there, of this outcome.

    It is the largest over the levels below, the least over those above, of the mean between these two (Barlow et al.,
    Statistical inference under order restrictions, 1972, equation 1.9), and the one bag more is in each of these means.
    """
    found = np.zeros(len(counts))
    for first in range(len(counts)):
        means = (positive[first:].cumsum() + outcome) / (counts[first:].cumsum() + 1)
        least_above = np.minimum.accumulate(means[::-1])[::-1]
        np.maximum(found[first:], least_above, out=found[first:])
    rising: NDArray[np.float64] = np.maximum.accumulate(found)  # to the last bit
    return rising
