"""What a run says beside its answers: what holds the truth, whether to answer at all, and which bags are strangers."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bagwise.bags import Bags
from bagwise.commands.columns import interval_columns, set_columns
from bagwise.commands.fold_files import read_folds
from bagwise.commands.runs import Run
from bagwise.errors import BagwiseError
from bagwise.targets.contract import Target
from bagwise.trust.covered import Covered, covered
from bagwise.trust.files import check_belongs
from bagwise.trust.fold_models import FoldAnswers, ask_folds
from bagwise.trust.kept import Kept
from bagwise.trust.reliance import digest_of
from bagwise.trust.seen import FILE as SEEN
from bagwise.trust.seen import Seen
from bagwise.trust.selective import LEVEL, abstention, confidence
from bagwise.trust.strangers import strangers_told

__all__ = ["Beside"]

_MOST_NAMED = 5
Columns = dict[str, Any]


class Beside:
    """What is kept of a run beside its models, asked about bags.

    Parameters
    ----------
    run
        The run.
    bags
        The bags, read like those that it learnt from.
    """

    def __init__(self, run: Run, bags: Bags) -> None:
        self.run, self.bags = run, bags

    @cached_property
    def _folds(self) -> FoldAnswers | None:
        models = read_folds(self.run)
        if not models:
            return None
        return ask_folds([member for members in models for member in members], len(models), self.bags)

    def _kept(self, option: str) -> Kept:
        relied = self.run.reliance
        if self.run.models[0].target_.kind == "survival":
            raise BagwiseError(
                f"{option} is of predictions for bags held out, and of times until an event a run keeps none: leave it"
                " out"
            )
        if relied is None or relied.kept is None:
            raise BagwiseError(
                f"{option} needs predictions for bags held out, and {self.run.folder} keeps none: train it again with"
                " --calibrate auto, or on more bags"
            )
        return relied.kept

    def covered(self, coverage: float) -> Covered:
        """Find what holds the truth of each bag.

        Parameters
        ----------
        coverage
            How often it shall.

        Returns
        -------
        Covered

        Raises
        ------
        BagwiseError
            As `holding` does.
        """
        kept, said = self._kept("--coverage"), self._folds
        if said is None:
            raise BagwiseError(
                f"--coverage needs the models of folds, and {self.run.folder} keeps none: train it again without"
                " --one-model"
            )
        return covered(self.run.models[0].target_, kept.scored, said.answers, coverage)

    def holding(self, coverage: float, found: Covered | None = None) -> tuple[Columns, list[str]]:
        """Give what holds the truth of each bag.

        Parameters
        ----------
        coverage
            How often it shall.
        found
            As `covered` gives it; None finds it.

        Returns
        -------
        tuple
            The columns of `set_columns` or `interval_columns`, and sentences.

        Raises
        ------
        BagwiseError
            If the run does not keep what that needs, or the coverage is out of its range.
        """
        found, target = found or self.covered(coverage), self.run.models[0].target_
        told, alike = ("intervals", "") if found.sets is None else ("sets", ", of each class alike")
        promise = (
            f"The {told} hold the truth of about {100 * coverage:g} % of bags like those learnt from{alike}; whatever"
            f" the model is, of {max(0.0, 100 * (2 * coverage - 1)):g} % at least, but for a term that vanishes as bags"
            " become many."
        )
        doubts = [f"{doubt[0].upper()}{doubt[1:]}." for doubt in found.doubts]
        if found.sets is None:
            assert found.low is not None
            assert found.high is not None
            return interval_columns(target, found.low, found.high), [promise, *doubts]
        return set_columns(target, found.sets), [promise, *doubts]

    def answered(self, target: Target, answers: NDArray[Any], error: float) -> tuple[NDArray[np.bool_], list[str]]:
        """Say which bags to answer so that few answers are wrong.

        Parameters
        ----------
        target
            What labels are, and how the answers decide.
        answers
            As they are told, shape (B, A).
        error
            The largest share of wrong ones that is wished for.

        Returns
        -------
        tuple
            Which, shape (B,), and sentences.

        Raises
        ------
        BagwiseError
            If the run does not keep what that needs, or bags held out do not show such a confidence.
        """
        kept = self._kept("--abstain")
        told = kept.calibrated[kept.counts]
        confidences = confidence(target, told)  # which refuses what is neither class nor grade
        wrong = target.predicted(told) != kept.labels(target)[kept.counts]
        found = abstention(error, confidences, wrong, kept.grouped)
        given = confidence(target, answers) >= found.cut
        yes, some, wrongly = int(given.sum()), 100 * found.answered, 100 * found.error
        return given, [
            f"{yes:,} of {len(given):,} bags are decided, those with a confidence of {found.cut:.3g} or more, and"
            f" {len(given) - yes:,} are not. {some:.0f} % of the bags held out have that, {wrongly:.2g} % of these were"
            f" decided wrongly, and it is certain to {100 * LEVEL:g} % that no more than {100 * error:g} % of such bags"
            " are."
        ]

    def strangers(self) -> tuple[Columns, list[str]]:
        """Say which bags are not like those learnt from.

        Returns
        -------
        tuple
            The column ``stranger``, the share of training bags that are at least as strange, and sentences; nothing
            where the run does not keep what that needs.

        Raises
        ------
        BagwiseError
            If what is kept is damaged.
        """
        seen = self.seen
        if seen is None:
            return {}, []
        said = None if seen.known.vectors is None else self._folds
        found = seen.likeness(self.run.models[0], self.bags, None if said is None else said.vectors)
        sentences = [f"{strangers_told(found.p, seen.known.finest)} (column stranger)."]
        beyond = self._beyond(found.beyond)
        if beyond:
            named = ", ".join(f"{name} in {count:,}" for name, count in [*beyond.items()][:_MOST_NAMED])
            more = f" and {len(beyond) - _MOST_NAMED:,} more features" if len(beyond) > _MOST_NAMED else ""
            sentences.append(f"Bags with values beyond all that were learnt from: {named}{more}.")
        return {"stranger": found.p}, sentences

    @cached_property
    def seen(self) -> Seen | None:
        """What the run keeps of the bags that it learnt from; None where it keeps nothing."""
        seen = Seen.load(self.run.folder, self.run.models[0], digest_of(self.run.asked))
        if seen is not None and self.run.reliance is not None:
            check_belongs(self.run.folder, SEEN, self.run.reliance.files)
        return seen

    def _beyond(self, counts: NDArray[np.int64]) -> Mapping[str, int]:
        """Name the features with values out of range, the most frequent first."""
        names = self.run.feature_names or [f"feature {place}" for place in range(len(counts))]
        order = np.argsort(-counts, kind="stable")
        return {names[place]: int(counts[place]) for place in order.tolist() if counts[place]}
