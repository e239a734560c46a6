"""From which probability on a bag is called positive: a number, what mistakes cost, or what is to be reached."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bagwise.errors import BagwiseError

__all__ = ["FEWEST", "Aim", "Operating", "decision_curve", "operating_at"]

FEWEST = 20  # bags that an aim is about, held out: of fewer a share is noise
_OF = {"sensitivity": "positive bags", "specificity": "negative bags", "precision": "bags called positive"}


class Aim(NamedTuple):
    """How a user wants two classes to be told apart.

    Attributes
    ----------
    kind
        ``"threshold"``, ``"cost"``, ``"sensitivity"``, ``"specificity"`` or ``"precision"``.
    value
        The threshold, what a positive bag costs that is missed, or the share that is to be reached.
    false
        What a negative bag costs that is called positive; else 1.

    Examples
    --------
    >>> Aim.of(cost="missed=9,false=1").told
    'a missed one costs 9 and a false alarm 1'
    """

    kind: str
    value: float
    false: float = 1.0

    @classmethod
    def of(
        cls,
        threshold: float | None = None,
        cost: str | None = None,
        sensitivity: float | None = None,
        specificity: float | None = None,
        precision: float | None = None,
    ) -> Self | None:
        """Read what a user says.

        Parameters
        ----------
        threshold
            Bags with a larger probability are positive.
        cost
            As ``"missed=10,false=1"``.
        sensitivity
            Share of the positive bags that are to be called so.
        specificity
            Share of the negative bags that are to be called so.
        precision
            Share of those called positive that are to be so.

        Returns
        -------
        Aim
            None where nothing is said.

        Raises
        ------
        BagwiseError
            If several are said, or one is no number between 0 and 1 or no cost.
        """
        said = {"threshold": threshold, "sensitivity": sensitivity, "specificity": specificity, "precision": precision}
        given = {kind: value for kind, value in said.items() if value is not None}
        names = [f"--{kind}" for kind in (*given, *(["cost"] if cost is not None else []))]
        if len(names) > 1:
            raise BagwiseError(f"{' and '.join(names)} both say how to decide: give one of them")
        if cost is not None:
            return cls("cost", *_costs(cost))
        for kind, value in given.items():
            if not 0 < value < 1:
                raise BagwiseError(f"--{kind} is {value}: it must be between 0 and 1")
            return cls(kind, float(value))
        return None

    @classmethod
    def from_facts(cls, facts: Any) -> Self:
        """Make one of what was saved of it; what is none raises a ValueError."""
        kind, value, false = facts
        one = cls(str(kind), float(value), float(false))
        within = 0 < one.value < np.inf if one.kind == "cost" else 0 < one.value < 1
        if one.kind not in ("threshold", "cost", *_OF) or not within or not 0 < one.false < np.inf:
            raise ValueError("its aim is none")
        return one

    @property
    def told(self) -> str:
        """What is wanted, for the report."""
        if self.kind == "cost":
            return f"a missed one costs {self.value:g} and a false alarm {self.false:g}"
        return f"{self.kind} {self.value:g}"

    @property
    def is_of_probabilities(self) -> bool:
        """Whether it says from which probability on: then the threshold stays the same where shares change."""
        return self.kind in ("threshold", "cost")

    def threshold(
        self,
        positive: NDArray[np.bool_],
        probabilities: NDArray[np.float64],
        weights: NDArray[np.float64] | None = None,
    ) -> float:
        """Choose on bags held out.

        For costs it is where both mistakes are dear alike if probabilities are right (Elkan, The foundations of
        cost-sensitive learning, 2001, theorem 1). For a sensitivity s it is just below the k-th lowest of the n
        positive bags, k the whole part of (1 - s) (n + 1): that is what a new positive bag lies above with probability
        s or a little more, whatever the model; for a specificity just the same of negative bags. For a precision it is
        the lowest from which on the bags that are called positive have it.

        Parameters
        ----------
        positive
            Which bags are, shape (B,).
        probabilities
            From models that did not learn from them, calibrated, shape (B,).
        weights
            What each counts, shape (B,); None where all count the same.

        Returns
        -------
        float
            Bags with a larger probability are positive.

        Raises
        ------
        BagwiseError
            If there are too few bags for it, or nothing reaches it.

        Examples
        --------
        >>> likely = np.linspace(0, 1, 80)
        >>> aim, positive = Aim("sensitivity", 0.9), np.arange(80) % 2 == 1
        >>> found = aim.threshold(positive, likely)
        >>> round(found, 3), float(np.mean(likely[positive] > found))
        (0.089, 0.925)
        """
        if self.kind == "threshold":
            return self.value
        if self.kind == "cost":
            return self.false / (self.value + self.false)
        weights = np.ones(len(positive)) if weights is None else weights
        counts = weights > 0
        if self.kind == "precision":
            return self._with_precision(positive[counts], probabilities[counts], weights[counts])
        of = counts & (positive if self.kind == "sensitivity" else ~positive)
        self._check(int(of.sum()))
        # Negative bags are looked at from above.
        scores = probabilities[of] if self.kind == "sensitivity" else -probabilities[of]
        order = np.argsort(scores)
        below = weights[of][order].cumsum()
        place = np.searchsorted(below, (1 - self.value) * (below[-1] + below[-1] / len(below)) * (1 + 1e-12), "right")
        if not place:
            raise BagwiseError(
                f"--{self.kind} is {self.value:g}, and there are {len(below)} {_OF[self.kind]} to choose a threshold"
                f" by: it takes {int(np.ceil(1 / (1 - self.value))) - 1} to promise so much"
            )
        found = scores[order][place - 1]
        return float(np.nextafter(found, -np.inf)) if self.kind == "sensitivity" else float(-found)

    def check(self, positive: NDArray[np.bool_], weights: NDArray[np.float64] | None = None) -> None:
        """Refuse what bags cannot give, whatever a model will say of them.

        Parameters
        ----------
        positive
            Which bags are, shape (B,).
        weights
            What each counts, shape (B,); None where all count the same.

        Raises
        ------
        BagwiseError
            If there are too few bags for it.

        Examples
        --------
        >>> Aim("sensitivity", 0.9).check(np.arange(80) % 2 == 1)
        """
        counted = np.ones(len(positive)) if weights is None else weights
        best = np.empty(len(positive))
        # As nobody could say it better: positive bags above, and on the border of either side those that count least.
        best[np.lexsort((np.where(positive, counted, -counted), positive))] = np.linspace(0, 1, len(positive))
        self.threshold(positive, best, weights)

    def _with_precision(
        self, positive: NDArray[np.bool_], probabilities: NDArray[np.float64], weights: NDArray[np.float64]
    ) -> float:
        order = np.argsort(-probabilities)
        called, right = weights[order].cumsum(), (weights * positive)[order].cumsum()
        last = np.append(np.diff(probabilities[order]) != 0, True)  # of equal ones all are called positive or none
        places = np.flatnonzero(last & (np.arange(len(order)) >= FEWEST - 1))
        self._check(len(order) if len(places) else 0)
        reached = right[places] / called[places]
        if reached.max() < self.value:
            raise BagwiseError(
                f"--precision is {self.value:g}, and no {FEWEST} bags or more that are called positive have more than"
                f" {reached.max():.3f} on bags held out: ask for less, or for more bags"
            )
        return float(np.nextafter(probabilities[order][places[reached >= self.value][-1]], -np.inf))

    def _check(self, count: int) -> None:
        if count < FEWEST:
            raise BagwiseError(
                f"--{self.kind} is {self.value:g}, and there are {count} {_OF[self.kind]} held out to choose a"
                f" threshold by: {FEWEST} are needed, for the share of fewer is noise; give --threshold, or more bags"
            )


class Operating(NamedTuple):
    """What a threshold does.

    Attributes
    ----------
    threshold
        Bags with a larger probability are called positive.
    sensitivity, specificity
        Shares of the positive and of the negative bags that are called so; NaN where there are none.
    precision, negative_value
        Shares of those called positive, and of those called negative, that are so; NaN where there are none.
    called_positive
        Share of the bags.

    Examples
    --------
    >>> Operating(0.5, 0.9, 0.8, 0.5, 0.97, 0.3).precision
    0.5
    """

    threshold: float
    sensitivity: float
    specificity: float
    precision: float
    negative_value: float
    called_positive: float

    def cost(self, aim: Aim, share: float) -> float:
        """Give what a bag costs in the mean where a share of them is positive."""
        return aim.value * (1 - self.sensitivity) * share + aim.false * (1 - self.specificity) * (1 - share)


def operating_at(
    positive: NDArray[np.bool_],
    called: NDArray[np.bool_],
    threshold: float = np.nan,
    *,
    weights: ArrayLike | None = None,
    share: float | None = None,
) -> Operating:
    """See what a threshold does.

    Parameters
    ----------
    positive
        Which bags are, shape (B,).
    called
        Which are called so, shape (B,).
    threshold
        By which that was decided.
    weights
        What each bag counts, shape (B,); None where all count the same.
    share
        Of positive bags where it is to be used: sensitivity and specificity are taken to be the same there. None has
        the share of these bags.

    Returns
    -------
    Operating

    Examples
    --------
    >>> positive, called = np.arange(10) < 5, np.arange(10) < 6
    >>> found = operating_at(positive, called, share=0.01)
    >>> found.sensitivity, found.specificity, round(found.precision, 3)
    (1.0, 0.8, 0.048)
    """
    counted = np.ones(len(positive)) if weights is None else np.asarray(weights, np.float64)

    def of(called: NDArray[np.bool_], among: NDArray[np.bool_]) -> float:
        return float(counted[among & called].sum() / counted[among].sum()) if counted[among].any() else np.nan

    found, rejected = of(called, positive), of(~called, ~positive)
    share = float(np.average(positive, weights=counted)) if share is None else share
    hits, false = _product(found, share), _product(1 - rejected, 1 - share)
    misses, right = _product(1 - found, share), _product(rejected, 1 - share)
    return Operating(
        float(threshold),
        found,
        rejected,
        hits / (hits + false) if hits + false > 0 else np.nan,
        right / (right + misses) if right + misses > 0 else np.nan,
        hits + false,
    )


def decision_curve(
    positive: NDArray[np.bool_],
    probabilities: NDArray[np.float64],
    thresholds: NDArray[np.float64],
    weights: ArrayLike | None = None,
) -> Mapping[str, NDArray[np.float64]]:
    """Give the net benefit of deciding by each threshold (Vickers and Elkin, Decision curve analysis, 2006).

    It is the share of true positives, less that of false ones times the odds of the threshold: what somebody gains who
    takes so many false alarms for one found, in units of a positive bag found.

    Parameters
    ----------
    positive
        Which bags are, shape (B,).
    probabilities
        Of bags that the model did not learn from, shape (B,).
    thresholds
        Between 0 and 1, shape (T,).
    weights
        What each bag counts, shape (B,); None where all count the same.

    Returns
    -------
    dict
        ``"model"``, and ``"all"`` where all bags are called positive, each of shape (T,); of calling none so it is 0.

    Examples
    --------
    >>> curve = decision_curve(np.array([True, False]), np.array([0.9, 0.2]), np.array([0.1, 0.5]))
    >>> {name: values.round(3).tolist() for name, values in curve.items()}
    {'model': [0.444, 0.5], 'all': [0.444, 0.0]}
    """
    counted = np.ones(len(positive)) if weights is None else np.asarray(weights, np.float64)
    counted = counted / counted.sum()
    odds = thresholds / (1 - thresholds)
    called = probabilities[None] > thresholds[:, None]
    hits, false = called @ (counted * positive), called @ (counted * ~positive)
    share = counted @ positive
    return {"model": hits - odds * false, "all": share - odds * (1 - share)}


def _product(of: float, share: float) -> float:
    return of * share if share else 0.0


def _costs(text: str) -> tuple[float, float]:
    found = {"false": 1.0}
    try:
        for part in text.split(","):
            name, value = part.split("=")
            found[name.strip()] = float(value)
        if found.keys() != {"missed", "false"} or not all(0 < value < np.inf for value in found.values()):
            raise ValueError
    except ValueError:
        raise BagwiseError(
            f"--cost is {text!r}: say what mistakes cost in numbers above 0, as in missed=10,false=1"
        ) from None
    return found["missed"], found["false"]
