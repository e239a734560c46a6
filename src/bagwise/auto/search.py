"""One search: candidates on the same folds, the worst dropped early, the rest combined."""

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import chain, islice
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch
from numpy.typing import NDArray

from bagwise.auto.budget import Budget
from bagwise.auto.candidates import Candidate, candidates, left_out
from bagwise.auto.costs import Pace, seconds_to_fit
from bagwise.auto.library import selected
from bagwise.auto.standing import Leader
from bagwise.bags import Bags
from bagwise.errors import BagwiseError, BagwiseWarning
from bagwise.evaluation.baselines import headline
from bagwise.evaluation.metrics import mean_defined, measure
from bagwise.evaluation.out_of_fold import out_of_fold
from bagwise.evaluation.protocol import Folds, Split
from bagwise.methods.base import BagEstimator
from bagwise.methods.neural import NeuralMIL
from bagwise.methods.threshold import ENOUGH_OF_A_CLASS, best_threshold, threshold_by_shares
from bagwise.targets.classes import ClassTarget
from bagwise.targets.contract import Target
from bagwise.tensorfiles import read_tensors, write_tensors
from bagwise.text import told_seconds
from bagwise.training.workers import OutOfTime, check_time

__all__ = ["Found", "Trial", "inner_folds", "search", "threshold_for"]

INNER_FOLDS = 5
_AT_ONCE = 4  # candidates that begin together: enough that neural ones train jointly, few enough for a short time
_ALL = INNER_FOLDS / (INNER_FOLDS - 1)  # how much more than a fold's training bags all bags are
_RUNGS = (slice(0, 1), slice(1, 3), slice(3, INNER_FOLDS))  # the folds after which the worse half is dropped


Tell = Callable[[int, Sequence[Candidate], Leader | None], object]


@dataclass
class Trial:
    """What was found of one candidate.

    Attributes
    ----------
    candidate
        What was tried.
    answers
        For each fold that it went through, what it says of the held-out bags, in the columns of the target.
    seconds
        What it took; of candidates that trained together each has an even share.
    failure
        Why it did not learn, or None.
    left_out
        Why it was not tried at all, or None.

    Examples
    --------
    >>> Trial(Candidate("attention", {})).folds
    0
    """

    candidate: Candidate
    answers: dict[int, NDArray[np.float64]] = field(default_factory=dict)
    seconds: float = 0.0
    failure: str | None = None
    left_out: str | None = None

    @property
    def folds(self) -> int:
        """How many folds it went through."""
        return len(self.answers)


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
    splits = Folds(bags, folds=inner_folds(bags, target), seed=seed, target=told["target"]).splits
    work = _Work(bags, target, splits, sample_weight, seed, n_jobs, folder, told, budget, tell, pace or Pace())
    stream, trials = candidates(bags, target, seed), list[Trial]()
    missed = [Trial(candidate, left_out=why) for candidate, why in left_out(bags, target)]
    first = next(stream)
    stream = chain([first], stream)
    while True:
        most = _AT_ONCE if budget.trials is None else min(_AT_ONCE, budget.trials - len(trials))
        begun, late = work.in_time(
            [Trial(candidate) for candidate in islice(stream, 1 if not trials else max(0, most))]
        )
        missed += [trial for trial in late if not trial.candidate.drawn]
        if not begun and (not trials or not late or late[0].candidate.drawn):
            break  # without the first, which all others must beat, nothing is known of them
        try:
            _through_rungs(begun, trials, work)
        except OutOfTime:
            break
    found = Found(trials + missed, [], splits)
    if not found.whole and any(trial.failure for trial in trials):
        raise BagwiseError(
            "no candidate could learn from these bags"
            + "".join(f": {trial.failure}" for trial in trials if trial.failure is not None)[:500]
        )
    return Found(found.trials, *_chosen(found.whole, first, work))


def inner_folds(bags: Bags, target: Target) -> int:
    """Say into how many folds a search divides bags: `INNER_FOLDS`, or as many as the rarest class and groups allow.

    Parameters
    ----------
    bags
        With labels.
    target
        What labels are.

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
    alike = np.bincount(target.strata(bags.labels, INNER_FOLDS)) if target.names is not None else np.array([len(bags)])
    groups = len(bags) if bags.groups is None else len(np.unique(bags.groups))
    count = min(INNER_FOLDS, int(alike[alike > 0].min()), groups)
    if count < 2:
        raise BagwiseError("there are too few bags of a class, or too few groups, to compare candidates by: give more")
    return count


@dataclass(frozen=True)
class _Work:
    """What all trials of a search share."""

    bags: Bags
    target: Target
    splits: Sequence[Split]
    sample_weight: NDArray[np.float64] | None
    seed: int
    n_jobs: int | None
    folder: Path | None
    told: Mapping[str, Any]
    budget: Budget
    tell: Tell | None
    pace: Pace

    def in_time(self, trials: Sequence[Trial]) -> tuple[list[Trial], list[Trial]]:
        """Divide trials into those for which, one after the other, there is time, and others, which say so."""
        left, begun, late = self.budget.left, [], []
        for trial in trials:
            takes = 0.0 if left == np.inf or self._kept(trial) else self.seconds(trial, len(self.splits), fit=True)
            if takes <= left:
                left -= takes
                begun.append(trial)
            else:
                trial.left_out = f"takes about {told_seconds(takes)}, and {told_seconds(max(0, left))} are left"
                late.append(trial)
        return begun, late

    def seconds(self, trial: Trial, folds: int, *, fit: bool) -> float:
        """Say how long so many folds of a trial will take, and perhaps the fit to all bags."""
        at_once = int(joblib.effective_n_jobs(self.n_jobs))  # of the folds, of which the fit is one by itself
        if trial.folds:
            each = trial.seconds / trial.folds
            return each * folds + fit * each * _ALL * min(at_once, trial.folds)
        return self.reckoned(trial) * self.pace.of(trial.candidate.method) * (folds + fit * _ALL)

    def reckoned(self, trial: Trial) -> float:
        """Reckon how long a fold of a trial takes."""
        try:
            return seconds_to_fit(trial.candidate.method, self.made(trial), self.bags, self.splits[0].train)
        except BagwiseError:  # which is told when it is tried
            return 0.0

    def leader(self, trials: Sequence[Trial]) -> Leader | None:
        """Say which leads of those that went through the most folds, and by what figure."""
        most = max((trial.folds for trial in trials), default=0)
        if not most:
            return None
        best = min((one for one in trials if one.folds == most), key=lambda one: self.misfit(one, range(most)))
        metric = headline(self.target)
        assert self.bags.labels is not None
        of = []
        for fold in range(most):
            test = self.splits[fold].test
            weights = None if self.sample_weight is None else self.sample_weight[test]
            found = measure(self.target, self.bags.labels[test], best.answers[fold], scoring=metric, weights=weights)
            of.append(found[metric])
        return Leader(best.candidate, metric, mean_defined(of))

    def misfit(self, trial: Trial, folds: Sequence[int]) -> float:
        """Average over some folds how far a trial is from the labels."""
        assert self.bags.labels is not None
        of = [
            self.target.misfit(
                self.bags.labels[self.splits[fold].test],
                trial.answers[fold],
                None if self.sample_weight is None else self.sample_weight[self.splits[fold].test],
            )
            for fold in folds
        ]
        return float(np.mean(of))

    def ask(self, trials: Sequence[Trial], folds: Sequence[int]) -> None:
        """Send trials through folds, neural ones together; what was kept of them is read."""
        for company in _companies(trials, self):
            kept = [self._read(trial, folds) for trial in company]
            if not all(kept):
                self._together(company, folds)

    def made(self, trial: Trial) -> BagEstimator:
        """Make what a trial is of."""
        return trial.candidate.made(random_state=self.seed, **self.told)

    def _together(self, company: Sequence[Trial], folds: Sequence[int]) -> None:
        begin, tasks = time.time(), [(trial, fold) for trial in company for fold in folds]
        try:
            check_time(self.budget.until)
            shares = [self.reckoned(trial) * len(folds) for trial in company]
            with warnings.catch_warnings(action="ignore", category=BagwiseWarning):  # of models that nobody may see
                said = out_of_fold(
                    [self.made(trial) for trial, _ in tasks],
                    self.bags,
                    [self.splits[fold] for _, fold in tasks],
                    self.target,
                    sample_weight=self.sample_weight,
                    n_jobs=self.n_jobs,
                    until=self.budget.until,
                )
        except BagwiseError as error:
            if len(company) == 1:
                company[0].failure = str(error)
                return
            for trial in company:  # one of them is at fault
                self._together([trial], folds)
            return
        took = time.time() - begin
        for (trial, fold), one in zip(tasks, said, strict=True):
            trial.answers[fold] = one.in_columns_of(self.target)
        for trial, share in zip(company, shares, strict=True):
            seconds = took * share / sum(shares)
            self.pace.learn(trial.candidate.method, reckoned=share, measured=seconds)
            trial.seconds += seconds
            self._keep(trial, folds, seconds)

    # ---- what is kept on disk -----------------------------------------------------------------------

    def _place(self, trial: Trial, folds: Sequence[int]) -> Path | None:
        if self.folder is None:
            return None
        name = blake2b(f"{trial.candidate.called} {list(folds)}".encode(), digest_size=8).hexdigest()
        return self.folder / f"{name}.safetensors"

    def _keep(self, trial: Trial, folds: Sequence[int], seconds: float) -> None:
        path = self._place(trial, folds)
        if path is not None:
            answers = {str(fold): torch.from_numpy(trial.answers[fold]) for fold in folds}
            write_tensors(path, answers, {"candidate": trial.candidate.called, "seconds": seconds})

    def _kept(self, trial: Trial) -> bool:
        """Whether a search that was stopped has begun with it."""
        path = self._place(trial, range(len(self.splits))[_RUNGS[0]])
        return path is not None and path.exists()

    def _read(self, trial: Trial, folds: Sequence[int]) -> bool:
        path = self._place(trial, folds)
        if path is None or not path.exists():
            return False
        answers, said = read_tensors(path)
        if not isinstance(said, dict) or said.get("candidate") != trial.candidate.called:
            raise BagwiseError(f"{path} is of another search: choose another folder")
        for fold in folds:
            trial.answers[fold] = answers[str(fold)].numpy()
        trial.seconds += float(said["seconds"])
        return True


def _companies(trials: Sequence[Trial], work: _Work) -> list[list[Trial]]:
    """Put those together that can train together; others stand alone, so that each is measured by itself."""
    neural = [trial for trial in trials if isinstance(work.made(trial), NeuralMIL)]
    alone = [[trial] for trial in trials if trial not in neural]
    return alone + ([neural] if neural else [])


def _through_rungs(begun: Sequence[Trial], trials: list[Trial], work: _Work) -> None:
    """Send candidates through all folds, or as far as they get."""
    left, count = list(begun), len(work.splits)
    trials += begun
    for rung in _RUNGS:
        folds = range(count)[rung]
        if not folds or not left:
            break
        if work.tell is not None:
            work.tell(len(trials), [trial.candidate for trial in left], work.leader(trials))
        work.ask(left, folds)
        so_far = range(folds.stop)
        rivals = [work.misfit(trial, so_far) for trial in trials if trial.folds >= len(so_far)]
        middle = np.median(rivals) if rivals else np.inf
        left = [
            trial
            for trial in left
            if trial.failure is None
            and (not trial.candidate.drawn or work.misfit(trial, so_far) <= middle)
            and work.seconds(trial, count - len(so_far), fit=True) <= work.budget.left
        ]


def _chosen(
    whole: Sequence[Trial], first: Candidate, work: _Work
) -> tuple[list[tuple[Candidate, float]], Sequence[Split], float | None]:
    """Choose shares and threshold by the answers about all bags, each from a model that did not see it.

    Where what is best takes longer to fit than there is time for, that which takes longest stays out, but the first.
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
    while True:
        shares = np.zeros(len(whole))
        shares[possible] = selected(answers[possible], labels, target, weights=weights, groups=groups, seed=work.seed)
        if costs[shares > 0].sum() <= work.budget.left or (shares > 0).sum() == 1:
            break
        besides = [place for place, trial in enumerate(whole) if shares[place] > 0 and trial.candidate != first]
        possible[max(besides, key=lambda place: costs[place])] = False
    chosen = [(trial.candidate, float(share)) for trial, share in zip(whole, shares, strict=True) if share > 0]
    return chosen, splits, threshold_for(target, labels, target.averaged(answers, shares), weights)


def threshold_for(
    target: Target,
    labels: NDArray[Any],
    answers: NDArray[np.float64] | None,
    weights: NDArray[np.float64] | None,
) -> float | None:
    """Choose from which probability on bags are called positive, where one of two classes is rare.

    Parameters
    ----------
    target
        What labels are.
    labels
        Of bags, shape (B,).
    answers
        What is said of these by models that did not see them, shape (B, A); None: nothing, and then the class's share
        decides.
    weights
        What each bag counts, shape (B,), or None.

    Returns
    -------
    float or None
        None where the more probable class is predicted, or there are no two classes.

    Examples
    --------
    >>> from bagwise.targets.classes import ClassTarget
    >>> labels = np.array([0, 0, 0, 0, 0, 1, 0, 0, 0, 0])
    >>> threshold_for(ClassTarget.of(labels), labels, None, None)
    0.1
    """
    if not isinstance(target, ClassTarget) or target.positive is None:
        return None
    counted, positive = np.ones(len(labels)) if weights is None else weights, labels == target.positive
    shares = np.array([counted[labels == name].sum() for name in target.names]) / counted.sum()
    share = threshold_by_shares(target, shares, balanced=True)
    if not isinstance(share, float):
        return None
    if answers is None or min(positive.sum(), (~positive).sum()) < ENOUGH_OF_A_CLASS:
        return share
    probabilities = answers[:, target.names.tolist().index(target.positive)]
    return best_threshold(positive, probabilities, counted, share)
