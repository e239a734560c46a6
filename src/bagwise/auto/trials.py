"""Trials of one search: each asks a candidate about the folds, in time, and what it said is kept."""

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch
from numpy.typing import NDArray

from bagwise.auto.budget import Budget
from bagwise.auto.candidates import Candidate
from bagwise.auto.costs import Pace, seconds_to_fit
from bagwise.auto.ranking import Ranking
from bagwise.auto.standing import Leader
from bagwise.bags import Bags
from bagwise.errors import BagwiseError, BagwiseWarning
from bagwise.evaluation.baselines import headline
from bagwise.evaluation.metrics import mean_defined, measure
from bagwise.evaluation.out_of_fold import out_of_fold
from bagwise.evaluation.protocol import Split
from bagwise.methods.base import BagEstimator
from bagwise.methods.neural import NeuralMIL
from bagwise.targets.contract import Target
from bagwise.tensorfiles import read_tensors, write_tensors
from bagwise.text import told_seconds
from bagwise.training.workers import check_time

__all__ = ["Tell", "Trial", "Work"]

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
class Work:
    """What all trials of a search share.

    Attributes
    ----------
    bags, target, sample_weight, seed, n_jobs, folder, told, budget, tell, pace
        As in `bagwise.auto.search.search`.
    splits
        The folds.

    Examples
    --------
    >>> from bagwise.evaluation.protocol import Folds
    >>> from bagwise.targets.classes import ClassTarget
    >>> bags = Bags.from_arrays([[[float(bag % 2)]] for bag in range(20)], labels=[0, 1] * 10)
    >>> splits, told = Folds(bags, folds=2).splits, {"target": "classes"}
    >>> work = Work(bags, ClassTarget.of(bags.labels), splits, None, 0, 1, None, told, Budget(1, None), None, Pace())
    >>> trial = Trial(Candidate("mean-logistic"))
    >>> work.ask([trial], [0, 1])
    >>> trial.folds, work.leader([trial]).told
    (2, 'mean-logistic, AUC 1.000')
    """

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

    @cached_property
    def ranking(self) -> Ranking:
        """By which number candidates are ranked."""
        assert self.bags.labels is not None
        return Ranking.of(self.target, self.bags.labels, self.sample_weight)

    def in_time(self, trials: Sequence[Trial], left: float) -> tuple[list[Trial], list[Trial]]:
        """Divide trials into those that so many seconds will do for, one after the other, and others, which say so."""
        begun, late = [], []
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
        count = len(self.splits)
        more = count / (count - 1)  # than a fold's training bags all bags are
        if trial.folds:
            each = trial.seconds / trial.folds
            return each * folds + fit * each * more * min(at_once, trial.folds)
        return self.reckoned(trial) * self.pace.of(trial.candidate.method) * (folds + fit * more)

    def reckoned(self, trial: Trial) -> float:
        """Reckon how long a fold of a trial takes."""
        try:
            return seconds_to_fit(trial.candidate.method, self.made(trial), self.bags, self.splits[0].train)
        except BagwiseError:  # which is told when it is tried
            return 0.0

    def reserved(self, trials: Sequence[Trial]) -> float:
        """Say how long the fit of the best so far to all bags takes, which nothing else may use up."""
        best = self._best([one for one in trials if one.folds == len(self.splits)])
        return 0.0 if best is None or self.budget.left == np.inf else self.seconds(best, 0, fit=True)

    def leader(self, trials: Sequence[Trial]) -> Leader | None:
        """Say which leads of those that went through the most folds, and by what figure."""
        most = max((trial.folds for trial in trials), default=0)
        best = self._best([one for one in trials if 0 < one.folds == most])
        if best is None:
            return None
        metric = headline(self.target)
        assert self.bags.labels is not None
        of = []
        for fold in range(most):
            test = self.splits[fold].test
            weights = None if self.sample_weight is None else self.sample_weight[test]
            found = measure(self.target, self.bags.labels[test], best.answers[fold], scoring=metric, weights=weights)
            of.append(found[metric])
        return Leader(best.candidate, metric, mean_defined(of))

    def _best(self, trials: Sequence[Trial]) -> Trial | None:
        return min(trials, key=lambda one: self.misfit(one, range(one.folds)), default=None)

    def misfit(self, trial: Trial, folds: Sequence[int]) -> float:
        """Average over some folds how far a trial is from the labels."""
        assert self.bags.labels is not None
        of = [
            self.ranking.misfit(
                self.bags.labels[self.splits[fold].test],
                trial.answers[fold],
                None if self.sample_weight is None else self.sample_weight[self.splits[fold].test],
            )
            for fold in folds
        ]
        return float(np.mean(of))

    def ask(self, trials: Sequence[Trial], folds: Sequence[int], reserved: float = 0.0) -> None:
        """Send trials through folds, neural ones together; what was kept of them is read.

        So many seconds before the time ends, what is under way is given up.
        """
        for company in _companies(trials, self):
            kept = [self._read(trial, folds) for trial in company]
            if not all(kept):
                self._together(company, folds, reserved)

    def made(self, trial: Trial) -> BagEstimator:
        """Make what a trial is of."""
        return trial.candidate.made(random_state=self.seed, **self.told)

    def _together(self, company: Sequence[Trial], folds: Sequence[int], reserved: float) -> None:
        begin, tasks = time.time(), [(trial, fold) for trial in company for fold in folds]
        until = None if self.budget.until is None else self.budget.until - reserved
        try:
            check_time(until)
            shares = [self.reckoned(trial) * len(folds) for trial in company]
            with warnings.catch_warnings(action="ignore", category=BagwiseWarning):  # of models that nobody may see
                said = out_of_fold(
                    [self.made(trial) for trial, _ in tasks],
                    self.bags,
                    [self.splits[fold] for _, fold in tasks],
                    self.target,
                    sample_weight=self.sample_weight,
                    n_jobs=self.n_jobs,
                    until=until,
                )
        except BagwiseError as error:
            if len(company) == 1:
                company[0].failure = str(error)
                return
            for trial in company:  # one of them is at fault
                self._together([trial], folds, reserved)
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
        path = self._place(trial, [0])
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


def _companies(trials: Sequence[Trial], work: Work) -> list[list[Trial]]:
    """Put those together that can train together; others stand alone, so that each is measured by itself."""
    neural = [trial for trial in trials if isinstance(work.made(trial), NeuralMIL)]
    alone = [[trial] for trial in trials if trial not in neural]
    return alone + ([neural] if neural else [])
