"""How the minutes are shared: between the search that makes the model and those that say how good such a search is."""

from typing import NamedTuple

from bagwise.auto.rungs import INNER_FOLDS

__all__ = ["OUTER_FOLDS", "Plan"]

OUTER_FOLDS = 5
_OUTER_AND_INNER = ((OUTER_FOLDS, INNER_FOLDS), (OUTER_FOLDS, 3), (3, 3), (3, 2), (2, 2))
_FOR_THE_MODEL = 0.5
_SURELY = 0.8  # of the time: reckoned seconds may be a little wrong


class Plan(NamedTuple):
    """Into how many folds bags are divided.

    Attributes
    ----------
    outer
        For the estimate; 0: the time will not do for one.
    inner
        In each search, to compare candidates.
    share
        Of the time, for the search that makes the model; the others have the rest, in equal parts.

    Examples
    --------
    >>> Plan.of(600.0, takes=9.0), Plan.of(60.0, takes=9.0).outer, Plan.of(60.0, takes=20.0).outer
    (Plan(outer=5, inner=5, share=0.5), 2, 0)
    """

    outer: int = OUTER_FOLDS
    inner: int = INNER_FOLDS
    share: float = _FOR_THE_MODEL

    @classmethod
    def of(cls, seconds: float | None, *, takes: float, estimate: bool = True) -> "Plan":
        """Divide so often that each search has time for what must be tried in it.

        A search that could not try what a user gets without one would be worse than none, and its estimate would speak
        of another model.

        Parameters
        ----------
        seconds
            For all; None: as long as it takes.
        takes
            How long the fit of what must be tried takes, on all bags.
        estimate
            Whether one is wanted.

        Returns
        -------
        Plan
            Where no division will do, that of bags of which nothing takes long.
        """
        if seconds is None:
            return cls() if estimate else cls(0, share=1.0)
        for outer, inner in _OUTER_AND_INNER if estimate else ():
            # So many folds and the fit of a whole take as long as so many fits do.
            model, others = inner * takes, (outer - 1) * inner * takes
            if model <= _SURELY * _FOR_THE_MODEL * seconds and others <= _SURELY * (1 - _FOR_THE_MODEL) * seconds:
                return cls(outer, inner)
        for inner in (INNER_FOLDS, 3, 2):
            if inner * takes <= _SURELY * seconds:
                return cls(0, inner, 1.0)
        return cls() if estimate else cls(0, share=1.0)
