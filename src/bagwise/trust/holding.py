"""How often sets and intervals hold the truth, of bags whose labels are known."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bagwise.evaluation.wilson import Interval, share_interval
from bagwise.targets.contract import Target
from bagwise.trust.covered import Covered

__all__ = ["Held", "Holding", "holding"]


class Held(NamedTuple):
    """How many of some bags have their truth in their set or interval.

    Attributes
    ----------
    bags
        How many they are.
    share
        Of these; NaN of none.
    interval
        In which the share would lie for other bags of the kind.

    Examples
    --------
    >>> Held(20, 0.9, Interval(0.7, 0.97, 0.95, "Wilson")).told()["high"]
    0.97
    """

    bags: int
    share: float
    interval: Interval

    @classmethod
    def of(cls, held: NDArray[np.bool_], groups: NDArray[Any] | None, weights: NDArray[np.float64] | None) -> "Held":
        """Count them."""
        if not len(held):
            return cls(0, np.nan, Interval(np.nan, np.nan, 0.95, "Wilson"))
        share = float(np.average(held, weights=weights))
        return cls(len(held), share, share_interval(held, groups=groups, weights=weights))

    def told(self) -> dict[str, Any]:
        """Say it in what JSON can hold."""
        value, low, high = (
            None if np.isnan(one) else float(one) for one in (self.share, self.interval.low, self.interval.high)
        )
        return {"count": self.bags, "value": value, "low": low, "high": high}


class Holding(NamedTuple):
    """How good the sets of a label are, or the intervals of a number.

    Attributes
    ----------
    of
        The label or number of several; None where there is one.
    overall, by_class
        How many of all bags have their truth held, and of those of each class; of numbers there are no classes.
    size
        Mean number of classes in a set, an empty one counted 0; or the mean width of the intervals that have ends.
    empty
        The share of sets without any class; None of intervals.
    endless
        The share of intervals without ends; None of sets.
    """

    of: str | None
    overall: Held
    by_class: Mapping[str, Held]
    size: float
    empty: float | None = None
    endless: float | None = None

    def told(self) -> dict[str, Any]:
        """Say it in what JSON can hold."""
        size = None if np.isnan(self.size) else self.size
        sizes = {"mean_size": size, "empty": self.empty} if self.endless is None else {"mean_width": size}
        more = {} if self.endless is None else {"endless": self.endless}
        by_class = {name: one.told() for name, one in self.by_class.items()}
        return {"of": self.of, "coverage": self.overall.told(), "by_class": by_class, **sizes, **more}

    def sentence(self) -> str:
        """Say how large they are."""
        begin = "" if self.of is None else f"{self.of}: "
        if self.endless is not None:
            endless = f", and {100 * self.endless:.3g} % of them have no end" if self.endless else ""
            return f"{begin}Intervals are {self.size:.4g} wide in the mean{endless}."
        return f"{begin}Sets have {self.size:.2f} classes in the mean, and {100 * (self.empty or 0):.3g} % are empty."


def holding(
    target: Target,
    found: Covered,
    labels: NDArray[Any],
    groups: NDArray[Any] | None = None,
    weights: NDArray[np.float64] | None = None,
) -> list[Holding]:
    """Measure sets or intervals of bags whose labels are known.

    Parameters
    ----------
    target
        What labels are.
    found
        Of the bags.
    labels
        Theirs, shape (B, ...), as the target has them; of several labels NaN where one is not known.
    groups
        Bags of one group are not independent, shape (B,); None: each stands for itself.
    weights
        What each counts, shape (B,); None: all the same.

    Returns
    -------
    list of Holding
        One, or one a label or number of several.

    Examples
    --------
    >>> from bagwise.targets.classes import ClassTarget
    >>> found = Covered(np.array([[True, False], [True, True], [True, False]]), None, None, ())
    >>> (one,) = holding(ClassTarget.of(["no", "yes"]), found, np.array(["no", "yes", "yes"]))
    >>> {name: held.share for name, held in one.by_class.items()}, round(one.size, 2)
    ({'no': 1.0, 'yes': 0.5}, 1.33)
    """

    def held(inside: NDArray[np.bool_], which: NDArray[np.bool_]) -> Held:
        of_which = (None if part is None else part[which] for part in (groups, weights))
        return Held.of(inside[which], *of_which)

    measured = []
    if found.sets is None:
        assert found.low is not None
        assert found.high is not None
        truth = np.asarray(labels, np.float64).reshape(len(labels), -1)
        for name, true, low, high in zip(_names(target, truth), truth.T, found.low.T, found.high.T, strict=True):
            ends = np.isfinite(low) & np.isfinite(high)
            width = float((high - low)[ends].mean()) if ends.any() else np.nan
            overall = held((low <= true) & (true <= high), np.ones(len(true), bool))
            measured.append(Holding(name, overall, {}, width, endless=float(1 - ends.mean())))
        return measured
    for name, places, sets, classes in _truths(target, found.sets, labels):
        known = places >= 0
        inside = sets[np.arange(len(sets)), places]
        by_class = {str(called): held(inside, places == place) for place, called in enumerate(classes)}
        sizes = sets.sum(axis=1)
        empty = float((sizes == 0).mean())
        measured.append(Holding(name, held(inside, known), by_class, float(sizes.mean()), empty))
    return measured


def _names(target: Target, truth: NDArray[np.float64]) -> list[str | None]:
    """Name numbers, where there are several."""
    if truth.shape[1] == 1:
        return [None]
    return [str(name) for name in target.label_names or range(truth.shape[1])]


def _truths(
    target: Target, sets: NDArray[np.bool_], labels: NDArray[Any]
) -> Iterator[tuple[str | None, NDArray[np.int64], NDArray[np.bool_], Sequence[Any]]]:
    """Give, of the classes or of each label, its name, the place of each bag's truth or -1, sets and classes."""
    assert target.names is not None
    names = target.names.tolist()
    if sets.ndim == 2:
        of_name = {name: place for place, name in enumerate(names)}
        yield None, np.array([of_name[label] for label in labels.tolist()], np.int64), sets, names
        return
    for place, name in enumerate(names):
        yield str(name), np.nan_to_num(labels[:, place], nan=-1).astype(np.int64), sets[:, place], [0, 1]
