"""Which bags of an epoch make a step, of each of many members."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["EpochSteps"]


@dataclass
class EpochSteps:
    """Steps of E members in an epoch of S bags, shape (E, S) each: a row a member, a column a bag.

    Attributes
    ----------
    ends
        Where the step is complete.
    shares
        The bag's share in the mean of the step, 0 where the member holds it out.
    begins
        The first bag of the step.

    Examples
    --------
    >>> order, learns = np.array([4, 2, 7]), np.array([[True, True, True], [False, True, True]])
    >>> EpochSteps.of(order, learns, lambda bags: [bags[:2], bags[2:]] if len(bags) > 2 else [bags]).shares.tolist()
    [[0.5, 0.5, 1.0], [0.0, 0.5, 0.5]]
    """

    ends: NDArray[np.bool_]
    shares: NDArray[np.float64]
    begins: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        order: NDArray[np.int64],
        learns: NDArray[np.bool_],
        batches: Callable[[NDArray[np.int64]], Sequence[NDArray[np.int64]]] | None,
    ) -> "EpochSteps":
        """Put each member's bags together into its steps, as `Looped` does.

        Parameters
        ----------
        order
            The bags, in the order of the epoch, shape (S,).
        learns
            Which of them each member learns from, shape (E, S).
        batches
            Cuts a member's bags into those of its steps; None: each is one.

        Returns
        -------
        EpochSteps
        """
        if batches is None:
            return cls(learns, learns.astype(np.float64), np.broadcast_to(order, learns.shape))
        steps = cls(np.zeros_like(learns), np.zeros(learns.shape), np.zeros(learns.shape, np.int64))
        for number, own in enumerate(learns):
            places, begin = np.flatnonzero(own), 0
            for batch in batches(order[places]) if len(places) else ():
                part = places[begin : begin + len(batch)]
                steps.shares[number, part], steps.begins[number, part] = 1 / len(batch), batch[0]
                steps.ends[number, part[-1]] = True
                begin += len(batch)
        return steps
