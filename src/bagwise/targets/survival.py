"""Survival: how long until an event, which for some was not seen."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bagwise.errors import BagwiseError
from bagwise.survival import concordance
from bagwise.targets.contract import Target, bag_named, refuse_others, surprise
from bagwise.targets.strata import binned

if TYPE_CHECKING:
    from torch import Tensor

    from bagwise.compiled import Gradient

__all__ = ["INTERVALS", "SurvivalTarget", "valid_times"]

INTERVALS = 8


class SurvivalTarget(Target):
    """An event or the end of observation, and its time: the hazards of eight intervals (Gensheimer et al., 2019).

    A member learns cut points, the quantiles of the times of its training events; interval j is (c_j-1, c_j], and
    output j the logit of its hazard: of the event in it, if nothing happened before. Beyond the last event nothing is
    learnt. That likelihood is a sum over bags, so one bag a step is as right as many. An answer is the risk, which is
    the cumulative hazard summed over `times`, and the survival function there; between cut points the hazard is even.

    Parameters
    ----------
    times
        Where answers give the survival function, rising.

    Examples
    --------
    >>> labels = np.array([(True, 2.0), (False, 3.0), (True, 4.0)], dtype=[("event", bool), ("time", float)])
    >>> target = SurvivalTarget.of(labels)
    >>> learnt = target.learn(target.encoded(labels), np.ones(3))
    >>> target.wanted(target.encoded(labels), learnt)[1].tolist()  # so many intervals survived, no event
    [4.0, 0.0]
    """

    kind: ClassVar[str] = "survival"
    bernoulli: ClassVar[bool] = True
    metrics: ClassVar[tuple[str, ...]] = ("c_index",)

    def __init__(self, times: ArrayLike) -> None:
        self.times = np.asarray(times, dtype=np.float64)

    @classmethod
    def recognises(cls, labels: NDArray[Any]) -> bool:
        """Say whether labels are pairs of event and time."""
        return labels.dtype.names is not None

    @classmethod
    def of(cls, labels: ArrayLike, **given: Any) -> Self:
        """See that there are events, and take the quantiles of their times as where to answer."""
        refuse_others(cls.kind, given)
        array = np.asarray(labels)
        if array.dtype.names is None or len(array.dtype.names) != 2:
            raise BagwiseError(
                "the labels are no events and times: survival needs the columns of both (--event and --time), or a"
                " structured array with the fields event (bool) and time (float)"
            )
        event, time = (array[name] for name in array.dtype.names)
        for position in np.flatnonzero(~((time >= 0) & np.isfinite(time)))[:1]:
            told = f"{bag_named(position, given)} has the time {time[position]}"
            raise BagwiseError(f"{told}: a time is a number, 0 or more")
        if not event.any():
            raise BagwiseError("no training bag has an event: nothing can be learnt about when they come")
        if (time == time[0]).all():
            raise BagwiseError(f"all training bags have the time {time[0]:g}: nothing can be learnt")
        return cls(np.unique(_cut_points(time[event.astype(bool)], np.ones(int(event.sum())))))

    @property
    def outputs(self) -> int:
        """One an interval."""
        return INTERVALS

    def told(self) -> dict[str, Any]:
        """Say where the survival function is told."""
        return {"times": [float(f"{time:.4g}") for time in self.times]}

    def facts(self) -> dict[str, Any]:
        """Say where answers are given."""
        return {"times": self.times.tolist()}

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Self:
        """Make it of what `facts` gave."""
        return cls(facts["times"])

    def encoded(self, labels: NDArray[Any]) -> NDArray[np.float64]:
        """Give the time, and 1 for an event."""
        event, time = (labels[name].astype(np.float64) for name in labels.dtype.names or ())
        return np.stack([time, event], axis=1)

    def strata(self, labels: NDArray[Any], folds: int) -> NDArray[np.int64]:
        """Bags with an event at about the same time are alike, and so are those without."""
        time, event = self.encoded(labels).T
        strata = np.zeros(len(time), dtype=np.int64)
        for number, chosen in enumerate((event == 0, event == 1)):
            if chosen.any():
                strata[chosen] = 2 * binned(time[chosen], folds) + number
        return np.unique(strata, return_inverse=True)[1].astype(np.int64)

    @property
    def learns(self) -> int:
        """One an interval."""
        return INTERVALS

    def learn(self, encoded: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Learn the cut points; two may be equal, and then nobody has an event between them."""
        time, event = encoded.T
        return _cut_points(time[event > 0], weights[event > 0])

    def wanted(self, encoded: NDArray[np.float64], learnt: NDArray[np.float64]) -> NDArray[np.float64]:
        """Say how many intervals a bag survived, and whether its event is in the next."""
        time, event = encoded.T
        before_event = np.searchsorted(learnt, time, side="left")
        survived = np.where(event > 0, before_event, np.searchsorted(learnt, time, side="right"))
        return np.stack([survived, event], axis=1).astype(np.float64)

    def loss(self, outputs: "Tensor", wanted: "Tensor") -> "Tensor":
        r"""Compute the negative log-likelihood of discrete hazards, in nats.

        With $s$ intervals survived, and $\delta$ 1 if the event is in the next one, 0 if it was not seen:

        $$-\sum_{j=1}^{s} \log(1 - \lambda_j) - \delta \log \lambda_{s+1}, \qquad \lambda_j = \mathrm{sigm}(o_j)$$
        """
        import torch
        from torch.nn.functional import softplus

        intervals = torch.arange(outputs.shape[2], device=outputs.device)
        survived, event = wanted[:, :1], wanted[:, 1:]
        within = (intervals == survived) & (event > 0)
        return (softplus(outputs) * (intervals < survived) + softplus(-outputs) * within).sum((0, 2))

    @property
    def gradient(self) -> "Gradient":
        """The hazards that were met, less the one of the event."""
        from bagwise.targets import gradients

        return gradients.of_hazards

    def answers(self, outputs: "Tensor", learnt: "Tensor") -> "Tensor":
        """Give the risk, and the survival function at `times`, shape (B, 1 + number of times)."""
        return self.at(self.times, outputs, learnt)

    def at(self, times: NDArray[np.float64], outputs: "Tensor", learnt: "Tensor") -> "Tensor":
        """Answer at other times than its own.

        Parameters
        ----------
        times
            Rising, shape (J,).
        outputs
            Shape (H, B, intervals).
        learnt
            The cut points.

        Returns
        -------
        Tensor
            The risk, which does not depend on `times`, and the survival function, shape (B, 1 + J).
        """
        import torch

        cuts = learnt.to(outputs.device, torch.float64)
        by_head = torch.nn.functional.softplus(outputs.double()).cumsum(2)  # cumulative hazards at the cut points
        own, asked = _between(cuts, self.times, by_head), _between(cuts, times, by_head)
        risk = -(-own).exp().mean(0).clamp_min(torch.finfo(torch.float64).tiny).log().sum(1, keepdim=True)
        return torch.cat([risk, (-asked).exp().mean(0)], dim=1)

    def predicted(self, answers: NDArray[Any]) -> NDArray[Any]:
        """Give the risk: who has more of it has the event earlier."""
        risk: NDArray[Any] = answers[..., 0]
        return risk

    def score(self, labels: NDArray[Any], answers: NDArray[Any], weights: NDArray[np.float64] | None = None) -> float:
        """Give the concordance index of the risks."""
        time, event = self.encoded(labels).T
        return concordance(event > 0, time, self.predicted(answers), weights)

    def misfit(self, labels: NDArray[Any], answers: NDArray[Any], weights: NDArray[np.float64] | None = None) -> float:
        """Give minus the log-likelihood of the survival functions, for which an event lies between two of `times`."""
        time, event = self.encoded(labels).T
        survival = np.column_stack([np.ones(len(answers)), answers[:, 1:]])
        bags, place = np.arange(len(answers)), np.searchsorted(self.times, time, side="left")
        lived = survival[bags, np.searchsorted(self.times, time, side="right")]
        before, after = survival[bags, place], survival[bags, np.minimum(place + 1, len(self.times))]
        beyond = (place == len(self.times)) | (event == 0)
        return surprise(np.where(beyond, lived, before - after), weights)

    def averaged(self, answers: NDArray[Any], weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Average the survival functions, and take the risk from that average."""
        survival = np.tensordot(weights, answers[..., 1:], axes=1)
        risk = -np.log(np.maximum(survival, np.finfo(np.float64).tiny)).sum(axis=1)
        return np.column_stack([risk, survival])

    def of_instances(self, answers: Any) -> Any:
        """Give the risk, shape (N,)."""
        return self.predicted(answers)


def valid_times(times: ArrayLike) -> NDArray[np.float64]:
    """See that times are some at which a survival function can be given.

    Parameters
    ----------
    times
        Rising numbers, 0 or more.

    Returns
    -------
    array
        Shape (J,).

    Raises
    ------
    BagwiseError
        If they are not.
    """
    array = np.atleast_1d(np.asarray(times, dtype=np.float64))
    if array.ndim != 1 or not len(array) or not (array >= 0).all() or not (np.diff(array) >= 0).all():
        raise BagwiseError(f"times are {times!r}: they must be numbers, 0 or more, that rise")
    return array


def _cut_points(times: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cut times of events into intervals with equally many of them; the last cut is the last event."""
    order = np.argsort(times, kind="stable")
    shares = np.cumsum(weights[order]) / weights.sum()
    wanted = np.arange(1, INTERVALS + 1) / INTERVALS
    places = np.searchsorted(shares, wanted - 1e-9, side="left").clip(max=len(times) - 1)
    cuts: NDArray[np.float64] = times[order][places].astype(np.float64)
    return cuts


def _between(cuts: "Tensor", at: NDArray[np.float64], at_cuts: "Tensor") -> "Tensor":
    """Draw a line through cumulative hazards (H, B, intervals) from 0 at time 0; it ends level after the last cut."""
    import torch

    ends, times = torch.cat([cuts.new_zeros(1), cuts]), cuts.new_tensor(at.tolist())
    # Where cut points are equal, what counts is the last of them: the hazards of empty intervals come at once.
    place = (ends <= times.unsqueeze(1)).sum(1).clamp(1, len(cuts))
    left, right = ends[place - 1], ends[place]
    fraction = ((times - left) / torch.where(right > left, right - left, 1.0)).clamp(0.0, 1.0)
    fraction = torch.where(times >= ends[-1], 1.0, fraction)
    known = torch.cat([at_cuts.new_zeros(*at_cuts.shape[:2], 1), at_cuts], dim=2)
    return known[..., place - 1] * (1 - fraction) + known[..., place] * fraction
