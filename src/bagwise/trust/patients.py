"""What answers about patients are worth: calibrated, and decided, anew at their own level."""

from typing import NamedTuple

import numpy as np

from bagwise.errors import BagwiseError
from bagwise.evaluation.cohorts import Cohort
from bagwise.evaluation.patients import of_patients
from bagwise.trust.calibrating import check_kind, too_few
from bagwise.trust.held_out import HeldOut
from bagwise.trust.reliance import Reliance

__all__ = ["OfPatients", "rely_on_patients"]


class OfPatients(NamedTuple):
    """What was learnt of patients held out.

    Attributes
    ----------
    reliance
        How answers that are aggregated to patients become what is told; None where nothing could be learnt.
    why
        How that came about.

    Examples
    --------
    >>> OfPatients(None, "no bags were held out").reliance is None
    True
    """

    reliance: Reliance | None
    why: str


def rely_on_patients(relied: Reliance | None, how: str) -> OfPatients:
    """Calibrate patients, and choose their threshold, on training patients that were held out.

    Noisy-or grows with the number of a patient's bags, and a mean shrinks towards the middle, so what was learnt of
    bags is not true of patients. Answers about the training bags, each by a model that learnt from no bag of the
    patient, are aggregated as those of new ones are, and all is learnt again of these.

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
        held_out = HeldOut(target, people.labels, people.answers, fold, [], weights=people.weights)
        found = Reliance.of(target, people.labels, weights=people.weights, held_out=held_out, aim=relied.aim)
    except BagwiseError as error:  # what these answers are not, or an aim that so few patients cannot show
        return OfPatients(None, str(error))
    return OfPatients(found, found.why.replace("on bags held out", "on patients held out"))
