"""One search: candidates on the same folds, the worst dropped early, the rest combined."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bagwise.auto.budget import Budget
from bagwise.auto.candidates import Candidate, candidates, left_out
from bagwise.auto.costs import Pace
from bagwise.auto.library import selected
from bagwise.auto.ranking import threshold_for
from bagwise.auto.rungs import INNER_FOLDS, through_rungs
from bagwise.auto.trials import Tell, Trial, Work
from bagwise.bags import Bags
from bagwise.errors import BagwiseError
from bagwise.evaluation.protocol import Folds, Split
from bagwise.targets.contract import Target
from bagwise.training.workers import OutOfTime

__all__ = ["AT_LEAST", "Found", "inner_folds", "search"]

# How many candidates begin together: the simple ones alone, then attention as `fit` gives it with one beside
# it; then so many that neural ones train jointly and it takes a short time.
_BEGIN = (1, 1, 2)
_AT_ONCE = 4
AT_LEAST = 3  # which time must do for: the simple ones and what `fit` gives
_LATE = 0.5  # the share of a search's time up to which the best is fitted even where it is late


@dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes
    ----------
    trials
        All that was tried, in its order, what was dropped or failed too; then what was left out.
    chosen
        Candidates, and their shares in the average, which sum to 1.
    splits
        The folds.
    threshold
        From which probability on the average calls a bag positive, where one of two classes is rare; else None.

    Examples
    --------
    >>> Found([], [(Candidate("attention", {}), 1.0)], []).chosen[0][1]
    1.0
    """

    trials: list[Trial]
    chosen: list[tuple[Candidate, float]]
    splits: Sequence[Split]
    threshold: float | None = None

    @property
    def whole(self) -> list[Trial]:
        """Those that went through all folds."""
        return [trial for trial in self.trials if trial.folds == len(self.splits)]

    @property
    def tried(self) -> list[Trial]:
        """Those that were not left out."""
        return [trial for trial in self.trials if trial.left_out is None]


def search(
    bags: Bags,
    target: Target,
    budget: Budget,
    *,
    sample_weight: NDArray[np.float64] | None = None,
    folds: int = INNER_FOLDS,
    seed: int = 0,
    n_jobs: int | None = 1,
    folder: Path | None = None,
    tell: Tell | None = None,
    told: Mapping[str, Any] | None = None,
    pace: Pace | None = None,
) -> Found:
    """Try candidates on the folds of some bags, and choose which to average.

    What comes after the portfolio, drawn settings, is dropped after one fold, and after three, where it is in the worse
    half of all that got so far; the families of the portfolio stay, because an average of unlike models is better than
    its parts. What is reckoned to take longer than there is time for, folds and the fit to all bags, is left out.

    Parameters
    ----------
    bags
        Bags with labels, that nothing else is to be learnt from.
    target
        What labels are.
    budget
        How much may be tried, and fitted once more to all bags. Where time ends, what is under way is given up before
        its next epoch. Where there is none for any candidate, the first is chosen untried.
    sample_weight
        One weight a bag, or None.
    folds
        Into how many the bags are divided, if there are enough of them.
    seed
        Decides folds, draws and the seeds of the models.
    n_jobs
        Most worker processes.
    folder
        Where answers are kept as they come; a search that was stopped goes on from them. None: nowhere.
    tell
        Called whenever candidates begin with some folds: with the number of trials so far, these candidates, and which
        leads.
    told
        Parameters that each candidate gets that has them: ``target``, and perhaps others; None: the target's kind.
    pace
        What other searches have found of how long things take; None: nothing.

    Returns
    -------
    Found

    Raises
    ------
    BagwiseError
        If there are too few bags to divide, or no candidate could learn from them.

    Examples
    --------
    >>> import bagwise as bw
    >>> rng = np.random.default_rng(0)
    >>> arrays = [rng.normal(size=(3, 2)) + 3 * (bag % 2) for bag in range(20)]
    >>> bags = bw.Bags.from_arrays(arrays, labels=[0, 1] * 10)
    >>> target = bw.make("mean-logistic").fit(bags).target_
    >>> found = search(bags, target, Budget(trials=2, seconds=None))
    >>> [trial.candidate.called for trial in found.trials], sum(share for _, share in found.chosen)
    (['summary-forest (trees 100, leaf 1)', 'mean-logistic'], 1.0)
    """
    assert bags.labels is not None
    told = {"target": target.kind} if told is None else told
    splits = Folds(bags, folds=inner_folds(bags, target, folds), seed=seed, target=told["target"]).splits
    work = Work(bags, target, splits, sample_weight, seed, n_jobs, folder, told, budget, tell, pace or Pace())
    stream, trials = candidates(bags, target, seed), list[Trial]()
    missed = [Trial(candidate, left_out=why) for candidate, why in left_out(bags, target)]
    first, sizes = next(stream), iter(_BEGIN)
    stream = chain([first], stream)
    while True:
        most = next(sizes, _AT_ONCE)
        if budget.trials is not None:
            most = max(0, min(most, budget.trials - len(trials)))
        begin = [Trial(candidate) for candidate in islice(stream, most)]
        begun, late = work.in_time(begin, budget.left - work.reserved(trials))
        missed += [trial for trial in late if not trial.candidate.drawn]
        if not begun and (not trials or not late or late[0].candidate.drawn):
            break  # without the first, which all others must beat, nothing is known of them
        try:
            through_rungs(begun, trials, work)
        except OutOfTime:
            break
    found = Found(trials + missed, [], splits)
    if not found.whole and any(trial.failure for trial in trials):
        raise BagwiseError(
            "no candidate could learn from these bags"
            + "".join(f": {trial.failure}" for trial in trials if trial.failure is not None)[:500]
        )
    return Found(found.trials, *_chosen(found.whole, first, work))


def inner_folds(bags: Bags, target: Target, most: int = INNER_FOLDS) -> int:
    """Say into how many folds a search divides bags: `most`, or as many as the rarest class and groups allow.

    Parameters
    ----------
    bags
        With labels.
    target
        What labels are.
    most
        At least 2.

    Returns
    -------
    int
        At least 2.

    Raises
    ------
    BagwiseError
        If there are too few bags of a class, or too few groups.

    Examples
    --------
    >>> from bagwise.targets.classes import ClassTarget
    >>> labels = [0, 1, 1, 0, 1]
    >>> inner_folds(Bags.from_arrays([[[0.0]]] * 5, labels=labels), ClassTarget.of(labels))
    2
    """
    assert bags.labels is not None
    alike = np.bincount(target.strata(bags.labels, most)) if target.names is not None else np.array([len(bags)])
    groups = len(bags) if bags.groups is None else len(np.unique(bags.groups))
    count = min(most, int(alike[alike > 0].min()), groups)
    if count < 2:
        raise BagwiseError("there are too few bags of a class, or too few groups, to compare candidates by: give more")
    return count


def _chosen(
    whole: Sequence[Trial], first: Candidate, work: Work
) -> tuple[list[tuple[Candidate, float]], Sequence[Split], float | None]:
    """Choose shares and threshold by the answers about all bags, each from a model that did not see it.

    Where what is best takes longer to fit than there is time for, that which takes longest for its share stays out, but
    the best: time was reserved for it, which what was under way last may have used up.
    """
    bags, splits, target = work.bags, work.splits, work.target
    assert bags.labels is not None
    held_out = np.concatenate([split.test for split in splits])
    labels, weights = bags.labels[held_out], None if work.sample_weight is None else work.sample_weight[held_out]
    if not whole:
        return [(first, 1.0)], splits, threshold_for(target, labels, None, weights)
    answers = np.stack([np.concatenate([trial.answers[fold] for fold in range(len(splits))]) for trial in whole])
    groups = None if bags.groups is None else bags.groups[held_out]
    costs = np.array([work.seconds(trial, 0, fit=True) for trial in whole])
    possible = np.ones(len(whole), dtype=bool)
    best = int(np.argmin([work.misfit(trial, range(len(splits))) for trial in whole]))
    if costs[best] > _LATE * (work.budget.seconds or np.inf):
        best = whole.index(next((trial for trial in whole if trial.candidate == first), whole[0]))
    while True:
        shares = np.zeros(len(whole))
        shares[possible] = selected(answers[possible], labels, target, weights=weights, groups=groups, seed=work.seed)
        if costs[shares > 0].sum() <= work.budget.left or (shares > 0).sum() == 1:
            break
        besides = [place for place, share in enumerate(shares) if share > 0 and place != best]
        possible[max(besides, key=lambda place: costs[place] / shares[place])] = False
    chosen = [(trial.candidate, float(share)) for trial, share in zip(whole, shares, strict=True) if share > 0]
    return chosen, splits, threshold_for(target, labels, target.averaged(answers, shares), weights)
