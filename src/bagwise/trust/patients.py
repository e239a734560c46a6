"""What answers about patients are worth: calibrated, and decided, anew at their own level."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from bagwise.errors import BagwiseError
from bagwise.evaluation.cohorts import Cohort
from bagwise.evaluation.patients import of_patients
from bagwise.targets.contract import Target
from bagwise.trust.calibrating import check_kind, too_few
from bagwise.trust.calibration import event_columns, is_of_events, log_odds, sigmoid
from bagwise.trust.held_out import HeldOut
from bagwise.trust.reliance import Reliance

__all__ = ["OfPatients", "rely_on_patients"]

_FARTHEST = 1000.0  # of log-odds, beyond all that answers have


class OfPatients(NamedTuple):
    """What was learnt of patients held out.

    Attributes
    ----------
    reliance
        How answers that are aggregated to patients become what is told; None where nothing could be learnt.
    why
        How that came about.
    shift
        What is added before to the log-odds of the positive class, or of each label, shape (events,); None: nothing.

    Examples
    --------
    >>> OfPatients(None, "no bags were held out").reliance is None
    True
    """

    reliance: Reliance | None
    why: str
    shift: NDArray[np.float64] | None = None

    def answers(self, answers: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give what is told of aggregated answers, shape (P, A)."""
        if self.reliance is None:
            return answers
        told: NDArray[np.float64] = self.reliance.answers(_shifted(self.reliance.target, answers, self.shift))
        return told


def rely_on_patients(relied: Reliance | None, how: str) -> OfPatients:
    """Calibrate patients, and choose their threshold, on training patients that were held out.

    Noisy-or grows with the number of a patient's bags, and a mean shrinks towards the middle, so what was learnt of
    bags is not true of patients. Answers about the training bags, each by a model that learnt from no bag of the
    patient, are aggregated as those of new ones are, and all is learnt again of these: first a shift of the log-odds
    that makes the mean probability what the share is, since a temperature alone moves no middle.

    Parameters
    ----------
    relied
        What the run keeps of its bags, whose groups are patients; None where it keeps nothing.
    how
        One of `bagwise.evaluation.patients.AGGREGATES`.

    Returns
    -------
    OfPatients

    Examples
    --------
    >>> rely_on_patients(None, "mean").why
    'the run keeps no answers about bags held out'
    """
    if relied is None or relied.kept is None:
        return OfPatients(None, "the run keeps no answers about bags held out")
    target, kept = relied.target, relied.kept
    names = np.arange(len(kept.fold))
    try:
        check_kind(target)
        bags = Cohort(target, names, kept.labels(target), kept.calibrated, weights=kept.weights)
        people, _ = of_patients(bags, kept.groups, how)
        if (few := too_few(target, target.encoded(people.labels))) is not None:
            return OfPatients(None, few.replace(" bags", " patients"))
        _, first = np.unique(kept.groups, return_index=True)
        fold = kept.fold[np.sort(first)]  # patients are in the order in which they first come
        shift = _shift(target, people) if is_of_events(target) else None
        answers = _shifted(target, people.answers, shift)
        held_out = HeldOut(target, people.labels, answers, fold, [], weights=people.weights)
        found = Reliance.of(target, people.labels, weights=people.weights, held_out=held_out, aim=relied.aim)
    except BagwiseError as error:  # what these answers are not, or an aim that so few patients cannot show
        return OfPatients(None, str(error))
    moved = "" if shift is None else f"log-odds moved by {', '.join(f'{by:+.2f}' for by in shift)}; then "
    return OfPatients(found, moved + found.why.replace("on bags held out", "on patients held out"), shift)


def _shift(target: Target, people: Cohort) -> NDArray[np.float64]:
    weights = np.ones(len(people)) if people.weights is None else people.weights
    events = zip(log_odds(target, people.answers).T, target.encoded(people.labels).T, strict=True)
    return np.array([_shift_of(scores, outcomes, weights) for scores, outcomes in events])


def _shift_of(scores: NDArray[np.float64], outcomes: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    known = (outcomes == outcomes) & (weights > 0)
    share = float(np.average(outcomes[known], weights=weights[known])) if known.any() else 0.0

    def surplus(by: float) -> float:
        return float(np.average(sigmoid(scores[known] + by), weights=weights[known])) - share

    return float(brentq(surplus, -_FARTHEST, _FARTHEST)) if 0 < share < 1 else 0.0


def _shifted(target: Target, answers: NDArray[np.float64], shift: NDArray[np.float64] | None) -> NDArray[np.float64]:
    return answers if shift is None else event_columns(target, sigmoid(log_odds(target, answers) + shift))
