"""AutoMIL: the best of many methods and their average, with a number that the choosing has not flattered."""

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Self

import joblib
import numpy as np
from numpy.typing import ArrayLike, NDArray
from threadpoolctl import threadpool_limits

from bagwise.auto.budget import Budget
from bagwise.auto.candidates import Candidate, candidates
from bagwise.auto.costs import Pace, seconds_to_fit
from bagwise.auto.estimate import Estimate, estimates
from bagwise.auto.leaderboard import leaderboard
from bagwise.auto.plan import OUTER_FOLDS, Plan
from bagwise.auto.ranking import threshold_for
from bagwise.auto.search import AT_LEAST, Found, inner_folds, search
from bagwise.auto.standing import Standing
from bagwise.bags import Bags, BagsLike, as_bags
from bagwise.checks import valid_weights
from bagwise.errors import BagwiseError, BagwiseWarning
from bagwise.evaluation.baselines import verdicts
from bagwise.evaluation.cross_validation import CrossValidation, gathered
from bagwise.evaluation.out_of_fold import Said, asked, out_of_fold
from bagwise.evaluation.protocol import Folds
from bagwise.methods.averaged import Averaged
from bagwise.methods.base import BagEstimator, RandomState, drawn_seed
from bagwise.methods.joint import fit_members
from bagwise.methods.neural import NeuralMIL
from bagwise.methods.one_class import warn_of_one_class
from bagwise.parameters import Count, Positive
from bagwise.targets.contract import Target
from bagwise.training.progress import watched
from bagwise.training.workers import OutOfTime, in_turn
from bagwise.trust.held_out import HeldOut

__all__ = ["AutoMIL"]

_SEARCH = "search-{}"
_LITTLE = 0.05  # the share of the time that it may take to have some model soon
_FOR_THE_SIMPLE = 0.5  # the share of the time that the simplest candidate alone may take for its estimate


@dataclass(kw_only=True, eq=False, repr=False)
class AutoMIL(Averaged):
    """Try methods and settings for some minutes, and average those that are best together.

    Candidates (`bagwise.auto.candidates`) are compared on the same inner folds of the training bags, the worst are
    dropped early, and the shares in the average are chosen by out-of-fold answers (`bagwise.auto.library`). What it
    says of itself in `estimate_` is nested: the whole search, with dropping and averaging, is done again inside each of
    five training parts, and asked about bags that it did not see. The search that makes the model has half of the
    minutes, the others share the rest (`bagwise.auto.plan`); where the minutes are few, there are fewer of them, with
    fewer inner folds, so that each can try what `bagwise.AttentionMIL` gives by default.

    `bagwise.save_model` keeps the average of what was chosen, and not the search.

    Parameters
    ----------
    minutes
        For how long, about; None: for as long as the trials take. With neither, 10.
    trials
        How many candidates each search may try; with trials alone, results are the same every time. None: as many as
        there is time for.
    estimate
        False does without the nested estimate, and the search has all the time.
    target, positive
        As in `bagwise.NeuralMIL`.
    n_jobs
        Most worker processes; -1 is one a core.
    random_state
        Decides folds, draws, and the seeds of the models.
    verbose
        Show what is being tried, what leads, and how much of the budget is left.

    Attributes
    ----------
    members_, shares_
        As in `bagwise.methods.averaged.Averaged`; members are fitted to all bags.
    nested_ : CrossValidation
        What models of whole searches say of bags that these did not see; None without an estimate, also where there are
        too few bags for one, or too little time. Where there was time for nothing but the first candidate untried, that
        one's.
    held_out_ : HeldOut
        The same of whole searches, with their averages, none of which saw the bags of its fold; None where no search
        was asked.
    simple_ : CrossValidation
        Of the simplest candidate, the first, on the same folds; None without an estimate.
    baseline_ : str
        The method of that.
    estimate_ : list of Estimate
        The same in a number a metric; empty without.
    trials_ : list of Trial
        What was tried in the search on all bags, what was dropped or failed too, and what was left out.
    leaderboard_ : list of dict
        The same in numbers, best first: ``candidate``, ``misfit`` (what candidates were chosen by, the smaller the
        better), each metric (mean over the folds that it went through), ``folds``, ``share``, ``seconds`` and
        ``failure``, which also says why one was left out.
    tried_ : int
        How many candidates all searches tried together.
    verdict_ : str
        A sentence: whether it is shown to be better than the simplest candidate alone, on the folds of the estimate.

    References
    ----------
    R. Caruana et al.: Ensemble Selection from Libraries of Models. ICML 2004.

    Examples
    --------
    >>> import bagwise as bw
    >>> rng = np.random.default_rng(0)
    >>> arrays = [rng.normal(size=(3, 2)) + 3 * (bag % 2) for bag in range(30)]
    >>> bags = bw.Bags.from_arrays(arrays, labels=[0, 1] * 15)
    >>> model = bw.AutoMIL(trials=2, random_state=0).fit(bags)
    >>> model.predict(bags[:4]).tolist(), model.estimate_[0].metric, model.estimate_[0].mean
    ([0, 1, 0, 1], 'accuracy', 1.0)
    """

    minutes: Positive | None = None
    trials: Count | None = None
    estimate: bool = True
    target: str = "auto"
    positive: Any = None
    n_jobs: int | None = 1
    random_state: RandomState = None
    verbose: bool = False

    def fit(
        self,
        X: BagsLike,
        y: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        *,
        checkpoints: str | Path | None = None,
        on_found: Callable[[Averaged], object] | None = None,
        on_planned: Callable[[int], object] | None = None,
    ) -> Self:
        """Search, fit what was chosen to all bags, and estimate how good such a search is.

        Parameters
        ----------
        X
            `Bags`, or a list with one array a bag.
        y
            One label a bag. None takes those of the `Bags`.
        sample_weight
            One weight a bag, in learning, choosing and measuring. A bag of weight 0 is left out.
        checkpoints
            A folder to keep answers in; a fit that was stopped goes on from them.
        on_found
            Called with the best average so far, fitted to all bags, whenever there is one: with the simplest candidate
            alone, if that takes little of the time and nothing was tried before, and with what the search chose, before
            that is estimated.
        on_planned
            Called, before anything is tried, with the number of folds that the estimate is to have; 0: there will be
            none. What it raises ends the fit.

        Returns
        -------
        Self
            The estimator itself.

        Raises
        ------
        BagwiseError
            If the data or a parameter will not do, or there are too few bags to compare candidates by.
        """
        bags = as_bags(X, y)
        if bags.labels is None:
            raise BagwiseError("the bags have no labels to learn from: give y, or bags with labels")
        weights = None if sample_weight is None else valid_weights(sample_weight, bags.names)
        if weights is not None:
            bags, weights = bags[weights > 0], weights[weights > 0]
        target = self._target_of(bags, np.arange(len(bags)))
        self._seed = drawn_seed(self.random_state)
        minutes = 10.0 if self.minutes is None and self.trials is None else self.minutes
        budget = Budget(self.trials, None if minutes is None else 60 * minutes)
        folder = None if checkpoints is None else Path(checkpoints)
        self._pace, first = Pace(), next(candidates(bags, target, self._seed))
        self._division = self._planned(bags, target, budget)
        outer = self._outer_folds(bags, target) if self._division.outer else None
        if on_planned is not None:
            on_planned(0 if outer is None else len(outer.splits))
        standing = self._standing = Standing(budget, 1 if outer is None else 1 + len(outer.splits))
        with watched(standing.look, self.verbose):
            self._fit(first, outer, bags, target, weights, budget, folder, on_found)
        return self

    def _fit(
        self,
        first: Candidate,
        outer: Folds | None,
        bags: Bags,
        target: Target,
        weights: NDArray[np.float64] | None,
        budget: Budget,
        folder: Path | None,
        on_found: Callable[[Averaged], object] | None,
    ) -> None:
        if on_found is not None and (folder is None or not (folder / _SEARCH.format(0)).exists()):
            alone = self._alone(first, bags, target, weights, budget)
            if alone is not None:
                on_found(alone)
        self.simple_ = None if outer is None else self._simple(first, outer, bags, target, weights, budget)
        share = 1.0 if outer is None or self.simple_ is None else self._division.share
        found, average = self._searched(bags, target, weights, budget.part(share), folder, 0)
        if on_found is not None:
            on_found(average)
        self.baseline_ = first.method
        self.trials_, self.tried_ = found.trials, len(found.tried)
        self.leaderboard_ = leaderboard(found, bags, target, weights)
        self._gather(average.members_, average.shares_, found.threshold)
        warn_of_one_class([self], bags, [np.arange(len(bags))], lambda _, bags, few: [self.predict(bags[few[0]])])
        self.nested_: CrossValidation | None = None
        self.held_out_: HeldOut | None = None
        self.estimate_: list[Estimate] = []
        self.verdict_ = "" if found.whole else f"There was no time to try anything: this is {first.called}, untried. "
        if outer is None or self.simple_ is None:
            too_few = outer is None and self._division.outer
            why = "There are too few bags for" if too_few else "There was no time for"
            told = f"{why} an estimate{'' if too_few else ': give more minutes'}."
            self.verdict_ += told if self.estimate else "No estimate was asked for."
        elif not found.whole:
            self._told_of(self.simple_, outer, {})
            self.verdict_ += "The numbers are its own, by cross-validation: give more minutes."
        else:
            self._estimated(first, outer, bags, target, weights, budget, folder)

    def _planned(self, bags: Bags, target: Target, budget: Budget) -> Plan:
        """Share the minutes so that what must be tried, what is simple and what `fit` gives, can be in each search."""
        takes = 0.0
        for one in islice(candidates(bags, target, self._seed), AT_LEAST) if budget.seconds is not None else ():
            model = one.made(random_state=self._seed, **self._told(target))
            takes += seconds_to_fit(one.method, model, bags, np.arange(len(bags)))
        return Plan.of(budget.seconds, takes=takes, estimate=self.estimate)

    def _alone(
        self, first: Candidate, bags: Bags, target: Target, weights: NDArray[np.float64] | None, budget: Budget
    ) -> Averaged | None:
        """Fit the simplest candidate to all bags, if that takes little of the time."""
        model = first.made(random_state=self._seed, **self._told(target))
        if seconds_to_fit(first.method, model, bags, np.arange(len(bags))) > _LITTLE * budget.left:
            return None
        self._standing.does(f"fitting {first.called}")
        assert bags.labels is not None
        with warnings.catch_warnings(action="ignore", category=BagwiseWarning):  # it may not stay
            fitted = _fitted(model, bags, weights)
        return Averaged.of([fitted], [1.0], threshold_for(target, bags.labels, None, weights))

    def _simple(
        self,
        first: Candidate,
        outer: Folds,
        bags: Bags,
        target: Target,
        weights: NDArray[np.float64] | None,
        budget: Budget,
    ) -> CrossValidation | None:
        """Cross-validate the simplest candidate, or give that up where it takes too much of the time."""
        self._standing.does(f"trying {first.called} on the folds of the estimate")
        model = first.made(random_state=self._seed, **self._told(target))
        time_for_it = Budget(None, None if budget.seconds is None else _FOR_THE_SIMPLE * budget.seconds)
        takes = sum(seconds_to_fit(first.method, model, bags, split.train) for split in outer.splits)
        if takes > time_for_it.left:
            return None
        begin = time.time()
        try:
            said = out_of_fold(
                [model] * len(outer.splits),
                bags,
                outer.splits,
                target,
                sample_weight=weights,
                n_jobs=self.n_jobs,
                until=time_for_it.until,
            )
        except OutOfTime:
            return None
        self._pace.learn(first.method, reckoned=takes, measured=time.time() - begin)
        return gathered(outer, bags, target, said, sample_weight=weights)

    def _searched(
        self,
        bags: Bags,
        target: Target,
        weights: NDArray[np.float64] | None,
        budget: Budget,
        folder: Path | None,
        part: int,
    ) -> tuple[Found, Averaged]:
        """Search, and fit what was chosen to all of these bags."""
        told = self._told(target)
        self._standing.begins(part)
        found = search(
            bags,
            target,
            budget,
            sample_weight=weights,
            folds=self._division.inner,
            seed=self._seed,
            n_jobs=self.n_jobs,
            folder=None if folder is None else folder / _SEARCH.format(part),
            tell=self._standing.tell,
            told=told,
            pace=self._pace,
        )
        self._standing.does("fitting what is best")
        members = [candidate.made(random_state=self._seed, **told) for candidate, _ in found.chosen]
        neural = [member for member in members if isinstance(member, NeuralMIL)]
        everything = np.arange(len(bags))
        if neural:
            with warnings.catch_warnings(action="ignore", category=BagwiseWarning):  # the average alone decides
                fit_members(neural, bags, [everything] * len(neural), sample_weight=weights, n_jobs=self.n_jobs)
        others = [place for place, member in enumerate(members) if not isinstance(member, NeuralMIL)]
        jobs = (joblib.delayed(_fitted)(members[place], bags, weights) for place in others)
        for place, member in zip(others, in_turn(jobs, len(others), self.n_jobs), strict=True):
            members[place] = member
        return found, Averaged.of(members, [share for _, share in found.chosen], found.threshold)

    def _told(self, target: Target) -> dict[str, Any]:
        """Say what each candidate is told: which labels there are, and that the average alone decides."""
        threshold = {} if target.positive is None else {"threshold": 0.5}
        return {"target": self._kind(target), "positive": target.positive, **threshold}

    def _kind(self, target: Target) -> str:
        """Name the kind of all labels, of which a part may look like another, with what the user says after it."""
        return target.kind if self.target == "auto" else self.target

    def _outer_folds(self, bags: Bags, target: Target) -> Folds | None:
        """Divide for the estimate; None where too few bags are left to search in a part of them."""
        try:
            outer = Folds(
                bags, folds=min(OUTER_FOLDS, self._division.outer), seed=self._seed, target=self._kind(target)
            )
            for split in outer.splits:
                inner_folds(bags[split.train], self._target_of(bags, split.train), self._division.inner)
        except BagwiseError:
            return None
        return outer

    def _estimated(
        self,
        first: Candidate,
        outer: Folds,
        bags: Bags,
        target: Target,
        weights: NDArray[np.float64] | None,
        budget: Budget,
        folder: Path | None,
    ) -> None:
        assert bags.labels is not None
        said: list[Said] = []
        averages: list[Averaged] = []
        main, tried = self.tried_, list[int]()
        for number, split in enumerate(outer.splits):
            found, average = self._searched(
                bags[split.train],
                self._target_of(bags, split.train),
                None if weights is None else weights[split.train],
                budget.part(1 / (len(outer.splits) - number)),
                folder,
                1 + number,
            )
            tried.append(len(found.tried))
            averages.append(average)
            said.append(asked(average, bags[split.test], target))
        nested = gathered(outer, bags, target, said, sample_weight=weights)
        self._told_of(nested, outer, self.leaderboard_[0])
        answers, fold = nested.answers[0], nested.assignment[0]
        self.held_out_ = HeldOut(target, bags.labels, answers, fold, averages, bags.groups, weights)
        assert self.simple_ is not None
        both = {"auto": nested, first.method: self.simple_}
        self.verdict_ = verdicts(both, ["auto"], [first.method], test_share=outer.test_share)[0].told
        if len(outer.splits) < OUTER_FOLDS and budget.seconds is not None:
            self.verdict_ += (
                f" There was time for an estimate by {len(outer.splits)} folds, whose searches learn from"
                f" {1 - outer.test_share:.0%} of the bags: more minutes give more of them."
            )
        self.tried_ += sum(tried)
        if min(tried) < main:
            self.verdict_ += (
                f" The search that made the model tried {main} candidates and those of the estimate"
                f" {_from_to(tried)}, so the estimate is of smaller searches than that."
            )

    def _told_of(self, nested: CrossValidation, outer: Folds, claimed: Mapping[str, float]) -> None:
        """Remember the estimate."""
        self.nested_ = replace(nested, protocol="nested")
        self.estimate_ = estimates(nested, claimed, test_share=outer.test_share)


def _from_to(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"


def _fitted(member: BagEstimator, bags: Bags, weights: NDArray[np.float64] | None) -> BagEstimator:
    with threadpool_limits(1):  # as in its folds
        member.fit(bags, sample_weight=weights)
        return member
