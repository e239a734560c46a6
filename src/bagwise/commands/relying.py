"""What is learnt from bags held out: a calibration of answers, and from which probability on to act."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from bagwise.bags import Bags
from bagwise.commands.options import Trust
from bagwise.commands.worth import Worth
from bagwise.errors import BagwiseError
from bagwise.evaluation.protocol import Split
from bagwise.methods.base import BagEstimator
from bagwise.methods.joint import reckoned
from bagwise.methods.neural import NeuralMIL
from bagwise.targets.contract import Target
from bagwise.trust.aims import Aim
from bagwise.trust.calibrating import CALIBRATED, check_kind, too_few
from bagwise.trust.held_out import HeldOut, divided, hold_out_parts
from bagwise.trust.reliance import Reliance, check_aim

__all__ = ["MOST_TIMES", "Relying", "times_of"]

MOST_TIMES = 5.0  # of what the fit costs, where nobody asked
_FEWEST = 20  # numbers of which an interval at 95 % can be made


class Relying:
    """What of it is wanted, and what it costs.

    Parameters
    ----------
    trust
        What was asked for.

    Attributes
    ----------
    aim
        How two classes are to be told apart; None where nobody said.

    Raises
    ------
    BagwiseError
        If what was asked for is none.

    Examples
    --------
    >>> Relying(Trust(sensitivity=0.95)).aim.told
    'sensitivity 0.95'
    """

    def __init__(self, trust: Trust) -> None:
        if trust.calibrate not in (None, "auto", "none"):
            raise BagwiseError(f"--calibrate is {trust.calibrate!r}: it must be 'auto' or 'none'")
        self.aim = Aim.of(trust.threshold, trust.cost, trust.sensitivity, trust.specificity, trust.precision)
        self._calibrate, self._one_model = trust.calibrate, trust.one_model
        # What probabilities alone decide needs nothing held out, where they are not to be calibrated.
        self._needs_bags = self.aim is not None and not self.aim.is_of_probabilities

    @property
    def holds_out(self) -> bool:
        """Whether an evaluation holds bags out of each fold's training bags, too."""
        return self.calibrates or self._needs_bags

    @property
    def calibrates(self) -> bool:
        """Whether an evaluation calibrates: where it is asked to, or has an aim, as `bagwise fit` would have it."""
        return self._calibrate == "auto" or (self.aim is not None and self._calibrate is None)

    @property
    def in_folds(self) -> bool:
        """Whether an evaluation has anything to do within folds."""
        return self.holds_out or self.aim is not None

    def check(self, target: Target, labels: NDArray[Any], weights: NDArray[np.float64] | None) -> None:
        """Refuse, before anything is learnt, what these labels cannot give.

        Parameters
        ----------
        target
            What labels are.
        labels
            Of the bags to learn from.
        weights
            What each counts; None where all count the same.

        Raises
        ------
        BagwiseError
            If there are too few bags, or the labels are of another kind.
        """
        check_aim(target, self.aim)
        if self._calibrate == "auto":
            check_kind(target)
            self._why_not(labels, target, weights)
        if self.aim is not None:
            self.aim.check(target.encoded(labels)[:, 0] == 1, weights)

    def check_estimate(self, folds: int) -> None:
        """Refuse, before a search, what is learnt from the bags of an estimate that will not be.

        Parameters
        ----------
        folds
            Of the estimate; 0: there is none.

        Raises
        ------
        BagwiseError
            If what was asked for needs them.

        Examples
        --------
        >>> Relying(Trust(threshold=0.3)).check_estimate(0)
        """
        if not folds and (self._calibrate == "auto" or self._needs_bags):
            raise BagwiseError(
                "what --calibrate auto, --sensitivity, --specificity and --precision ask for is learnt from the bags of"
                " the estimate, for which there is no time, or too few bags: give more, or leave these options out"
            )

    def learn(
        self,
        estimator: BagEstimator,
        bags: Bags,
        target: Target,
        *,
        validation: NDArray[np.bool_],
        size: int = 1,
        weights: NDArray[np.float64] | None = None,
        seed: int = 0,
        n_jobs: int | None = -1,
        checkpoints: Path | None = None,
        verbose: bool = False,
        tell: Callable[[str], None] = lambda _: None,
    ) -> Worth:
        """Hold bags out, if that is worth it, and learn from what is said of them.

        Parameters
        ----------
        estimator
            How the models learn, which decide of all bags.
        bags
            Bags with labels.
        target
            What labels are, as these models decide.
        validation
            Which bags decide when to stop, shape (B,); the others are learnt from, and held out in turn.
        size
            Number of members of each model.
        weights
            One a bag, or None.
        seed
            Decides the division.
        n_jobs, checkpoints, verbose
            As in `bagwise.cross_validate`.
        tell
            Is told, before it begins, what it costs.

        Returns
        -------
        Worth

        Raises
        ------
        BagwiseError
            If what was asked for cannot be.
        """
        part, apart = np.flatnonzero(~validation), np.flatnonzero(validation)
        assert bags.labels is not None
        labels, counted = bags.labels[part], None if weights is None else weights[part]
        why = self._why_not(labels, target, counted)
        held_out: HeldOut | None = None
        if why is None or self._needs_bags or self._keeps_folds(target, counted, len(part)):
            try:
                splits = divided(bags[part], estimator.target, seed=seed)
                times, parts = times_of(estimator, bags, part, splits), len(splits)
                if self._calibrate is None and not self._needs_bags and times > MOST_TIMES:
                    raise BagwiseError(f"it costs {times:.1f} times the fit, so ask for it with --calibrate auto")
                tell(
                    f"What answers are worth is learnt by {parts} further models, each of {parts - 1} in {parts} bags:"
                    f" about {times:.1f} times the work of the fit (--calibrate none leaves it out)."
                )
                held_out = hold_out_parts(
                    estimator,
                    bags,
                    [part],
                    validations=[apart] if len(apart) else None,
                    size=size,
                    sample_weight=weights,
                    seed=seed,
                    n_jobs=n_jobs,
                    checkpoints=checkpoints,
                    verbose=verbose,
                )[0]
            except BagwiseError as error:
                if self._calibrate == "auto" or self._needs_bags:
                    raise
                why = str(error)
        return self._worth(target, labels, counted, held_out, why)

    def learn_from(
        self,
        held_out: HeldOut | None,
        target: Target,
        labels: NDArray[Any],
        weights: NDArray[np.float64] | None = None,
    ) -> Worth:
        """Learn from bags that were held out for another reason, as `bagwise auto` does for its estimate.

        Parameters
        ----------
        held_out
            What models found in the same way say of bags that these did not learn from; None where nothing was held
            out.
        target
            What labels are, as the model decides that was kept.
        labels
            Of the bags.
        weights
            What each counts, or None.

        Returns
        -------
        Worth

        Raises
        ------
        BagwiseError
            If what was asked for cannot be.
        """
        self.check_estimate(0 if held_out is None else len(held_out.models))
        if held_out is not None and target.kind == "survival":  # of which nothing is kept
            held_out = None
        why = self._why_not(labels, target, weights)
        if why is None and held_out is None:
            why = "no bags were held out, for want of time or bags"
        return self._worth(target, labels, weights, held_out, why)

    def _worth(
        self,
        target: Target,
        labels: NDArray[Any],
        weights: NDArray[np.float64] | None,
        held_out: HeldOut | None,
        why: str | None,
    ) -> Worth:
        """Learn from what was held out; `why` says why nothing is calibrated, if so."""
        if held_out is None and self.aim is None:
            return Worth(None, None)
        relied = Reliance.of(
            target,
            labels,
            weights=weights,
            held_out=held_out,
            calibrate=why is None,
            why=why or "",
            aim=self.aim,
        )
        if held_out is not None and self._one_model:
            held_out = replace(held_out, models=())
        return Worth(relied, held_out)

    def _keeps_folds(self, target: Target, weights: NDArray[np.float64] | None, bags: int) -> bool:
        """Say whether bags are held out for intervals alone, of numbers, which have no probabilities."""
        counted = bags if weights is None else int((weights > 0).sum())
        return (
            target.kind in ("real", "count")
            and self._calibrate != "none"
            and not self._one_model
            and counted >= _FEWEST
        )

    def _why_not(
        self,
        labels: NDArray[Any],
        target: Target,
        weights: NDArray[np.float64] | None,
    ) -> str | None:
        """Say why nothing is calibrated; None where it is to be."""
        if self._calibrate == "none":
            return "it was not to be"
        if target.kind not in CALIBRATED:
            return f"answers of a {target.kind} target are no probabilities of labels"
        counts = np.ones(len(labels), bool) if weights is None else weights > 0
        few = too_few(target, target.encoded(labels[counts]))
        if few is not None and self._calibrate == "auto":
            raise BagwiseError(f"probabilities cannot be calibrated: {few}; leave --calibrate out, or give more bags")
        return few


def times_of(estimator: BagEstimator, bags: Bags, part: NDArray[np.int64], splits: Sequence[Split]) -> float:
    """Reckon how many times the work of a fit it is to fit one model a split.

    Parameters
    ----------
    estimator
        How models learn.
    bags
        The bags.
    part
        Positions of those that the fit learns from.
    splits
        Of these.

    Returns
    -------
    float

    Examples
    --------
    >>> import bagwise as bw
    >>> bags = bw.Bags.from_arrays([[[0.0]]] * 20, labels=[0, 1] * 10)
    >>> times_of(bw.make("MI-SVM"), bags, np.arange(20), divided(bags))
    4.0
    """
    subsets = [part[split.train] for split in splits]
    if not isinstance(estimator, NeuralMIL):
        return sum(map(len, subsets)) / len(part)
    models: list[NeuralMIL] = [clone(estimator) for _ in range(len(splits) + 1)]
    fit, *others = reckoned(models, bags, [part, *subsets])
    return sum(others) / fit
