"""Successive halving: of drawn candidates, the worse half is dropped before it has cost all of its time."""

from collections.abc import Sequence

import numpy as np

from bagwise.auto.trials import Trial, Work

__all__ = ["INNER_FOLDS", "through_rungs"]

INNER_FOLDS = 5
_RUNGS = (slice(0, 1), slice(1, 3), slice(3, INNER_FOLDS))  # the folds after which the worse half is dropped


def through_rungs(begun: Sequence[Trial], trials: list[Trial], work: Work) -> None:
    """Send candidates through all folds, or as far as they get.

    Parameters
    ----------
    begun
        Those that begin. What is later among them gives way where there is no time for all.
    trials
        All that began before; these are added.
    work
        What they share.

    Raises
    ------
    OutOfTime
        If there was not enough for what is under way.

    Examples
    --------
    >>> from bagwise.auto.budget import Budget
    >>> from bagwise.auto.candidates import Candidate
    >>> from bagwise.auto.costs import Pace
    >>> from bagwise.bags import Bags
    >>> from bagwise.evaluation.protocol import Folds
    >>> from bagwise.targets.classes import ClassTarget
    >>> bags = Bags.from_arrays([[[float(bag % 2)]] for bag in range(20)], labels=[0, 1] * 10)
    >>> splits, told = Folds(bags, folds=3).splits, {"target": "classes"}
    >>> work = Work(bags, ClassTarget.of(bags.labels), splits, None, 0, 1, None, told, Budget(1, None), None, Pace())
    >>> trials = []
    >>> through_rungs([Trial(Candidate("mean-logistic"))], trials, work)
    >>> trials[0].folds
    3
    """
    reserved, left, count = work.reserved(trials), list(begun), len(work.splits)
    trials += begun
    for rung in _RUNGS:
        folds = range(count)[rung]
        if not folds or not left:
            break
        if work.tell is not None:
            work.tell(len(trials), [trial.candidate for trial in left], work.leader(trials))
        work.ask(left, folds, reserved)
        so_far = range(folds.stop)
        rivals = [work.misfit(trial, so_far) for trial in trials if trial.folds >= len(so_far)]
        middle = np.median(rivals) if rivals else np.inf
        seconds, good = work.budget.left - reserved, left
        left = []
        for trial in good:
            takes = 0.0 if seconds == np.inf else work.seconds(trial, count - len(so_far), fit=True)
            worse = trial.candidate.drawn and trial.failure is None and work.misfit(trial, so_far) > middle
            if trial.failure is None and not worse and takes <= seconds:
                left.append(trial)
                seconds -= takes
