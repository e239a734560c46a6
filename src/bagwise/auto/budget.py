"""How much may be tried: so many candidates, or for so long."""

import time
from dataclasses import dataclass, field
from typing import Self

__all__ = ["Budget"]


@dataclass
class Budget:
    """A number of trials, seconds, or both, of which one search may use its part.

    Attributes
    ----------
    trials
        How many candidates may be tried; None: as many as there is time for.
    seconds
        For how long from now on; None: as long as it takes, and then results are the same every time.

    Examples
    --------
    >>> Budget(trials=3, seconds=None).left, Budget(trials=None, seconds=0.0).is_over
    (inf, True)
    """

    trials: int | None
    seconds: float | None
    _begin: float = field(default_factory=time.time, repr=False)

    @property
    def until(self) -> float | None:
        """When the time is over, as `time.time` tells it; None: never."""
        return None if self.seconds is None else self._begin + self.seconds

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return float("inf") if self.until is None else self.until - time.time()

    @property
    def is_over(self) -> bool:
        """Whether no time is left."""
        return self.left <= 0

    def part(self, share: float) -> Self:
        """Give a share of the time that is left, and all trials: it begins now."""
        return type(self)(self.trials, None if self.seconds is None else max(0.0, self.left) * share)
