"""Where a search stands, for whoever waits for it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from bagwise.auto.budget import Budget
from bagwise.auto.candidates import Candidate
from bagwise.evaluation.metrics import METRICS

__all__ = ["Leader", "Standing"]


class Leader(NamedTuple):
    """The best so far.

    Attributes
    ----------
    candidate
        Which.
    metric
        The name of a metric.
    value
        Its mean over the folds that the candidate went through.

    Examples
    --------
    >>> Leader(Candidate("attention"), "auc", 0.9).told
    'attention, AUC 0.900'
    """

    candidate: Candidate
    metric: str
    value: float

    @property
    def told(self) -> str:
        """What people read."""
        return f"{self.candidate.called}, {METRICS[self.metric].title} {self.value:.3f}"


@dataclass
class Standing:
    """What searches that follow one another are doing, and how much of the budget is left.

    Attributes
    ----------
    budget
        Of all of them.
    searches
        How many there are.

    Examples
    --------
    >>> standing = Standing(Budget(trials=4, seconds=None), searches=2)
    >>> standing.begins(1)
    >>> standing.tell(4, [Candidate("attention")], Leader(Candidate("mean-logistic"), "auc", 0.75))
    >>> print(standing.look()[0])
    search 2 of 2 · trial 4 of 4
    trying attention
    leads: mean-logistic, AUC 0.750
    >>> standing.look()[1]
    1.0
    """

    budget: Budget
    searches: int
    _search: int = field(default=0, init=False)
    _trial: int = field(default=0, init=False)
    _doing: str = field(default="", init=False)
    _leads: str = field(default="", init=False)

    def begins(self, search: int) -> None:
        """Go on to a search.

        Parameters
        ----------
        search
            Which, from 0.
        """
        self._search, self._trial, self._leads = search, 0, ""

    def does(self, what: str) -> None:
        """Remember what is under way.

        Parameters
        ----------
        what
            In words.
        """
        self._doing = what

    def tell(self, trials: int, begun: Sequence[Candidate], leader: Leader | None) -> None:
        """Remember what a search tells.

        Parameters
        ----------
        trials
            How many candidates it has come to.
        begun
            Those that learn now.
        leader
            The best so far, or None.
        """
        self._trial = trials
        self._leads = "" if leader is None else f"leads: {leader.told}"
        self.does(f"trying {', '.join(candidate.called for candidate in begun)}")

    def look(self) -> tuple[str, float]:
        """Give what people read, in lines, and what share of the budget is used up."""
        which = f"search {self._search + 1} of {self.searches}" if self.searches > 1 else "search"
        if self.budget.seconds is not None:
            left = max(0.0, self.budget.left)
            share, much = 1 - left / self.budget.seconds, f"{left // 60:.0f}:{left % 60:02.0f} left"
        else:
            assert self.budget.trials is not None
            share = (self._search + self._trial / self.budget.trials) / self.searches
            much = f"trial {self._trial} of {self.budget.trials}"
        return "\n".join(line for line in (f"{which} · {much}", self._doing, self._leads) if line), share
