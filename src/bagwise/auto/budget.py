"""How much may be tried: so many candidates, or for so long."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

__all__ = ["Budget", "OutOfTime"]


class OutOfTime(Exception):  # noqa: N818 - nothing went wrong
    """The time is over; raised between epochs, and not for users."""


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
    _begin: float = field(default_factory=time.monotonic, repr=False)

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return float("inf") if self.seconds is None else self._begin + self.seconds - time.monotonic()

    @property
    def is_over(self) -> bool:
        """Whether no time is left."""
        return self.left <= 0

    def part(self, of: int) -> Self:
        """Give one of so many equal parts of the time that is left, and all trials: it begins now."""
        return type(self)(self.trials, None if self.seconds is None else max(0.0, self.left) / of)

    def look(self, _: Mapping[str, float]) -> None:
        """Raise `OutOfTime` where no time is left; for what is called after each epoch."""
        if self.is_over:
            raise OutOfTime
