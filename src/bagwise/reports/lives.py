"""A figure of how long bags of low, middle and high risk live."""

from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from bagwise.errors import BagwiseError
from bagwise.reports.drawing import COLOURS, GREY, new_figure
from bagwise.survival import kaplan_meier, log_rank

__all__ = ["draw_lives", "risk_thirds"]

_THIRDS = {"low risk": COLOURS[2], "middle risk": COLOURS[0], "high risk": COLOURS[1]}


def risk_thirds(risks: ArrayLike, folds: ArrayLike | None = None) -> NDArray[np.int64]:
    """Divide bags into thirds of rising risk.

    Parameters
    ----------
    risks
        Out-of-fold risks, shape (B,) or (repeats, B).
    folds
        The fold in which each bag was tested, of the same shape; -1 where none of a repetition did. Models of different
        folds have scales of their own, so bags are ranked within their fold; of several repetitions what counts is the
        mean rank. None: all in one.

    Returns
    -------
    array
        0 for low, 1 for middle and 2 for high risk, shape (B,). Equal risks are in one third.

    Examples
    --------
    >>> risk_thirds([0.1, 0.2, 0.3, 9.1, 9.2, 9.3], [0, 0, 0, 1, 1, 1]).tolist()
    [0, 1, 2, 0, 1, 2]
    """
    rows = np.atleast_2d(np.asarray(risks, float))
    places = np.zeros(rows.shape, np.int64) if folds is None else np.atleast_2d(folds)
    shares = np.full(rows.shape, np.nan)
    for row, place, share in zip(rows, places, shares, strict=True):
        for fold in np.unique(place[place >= 0]):
            own = place == fold
            share[own] = (rankdata(row[own]) - 0.5) / own.sum()
    # A bag on the boundary, but for rounding, is in the lower third.
    thirds: NDArray[np.int64] = np.digitize(np.nanmean(shares, axis=0), np.array([1, 2]) / 3 + 1e-9, right=True)
    return thirds


def draw_lives(path: str | Path, event: ArrayLike, time: ArrayLike, thirds: ArrayLike) -> None:
    """Draw what share of the bags of low, middle and high risk lives beyond each time (Kaplan and Meier).

    A tick is a bag that was last seen there; below stands how many were still seen. The title has the p-value of a
    log-rank test of whether the three are one.

    Parameters
    ----------
    path
        Where to write, as SVG or PNG by its ending. A file that is there is replaced when the new one is complete.
    event
        Whether the event was seen, bool, shape (B,).
    time
        Of the event, or when the bag was last seen, shape (B,).
    thirds
        As `risk_thirds` gives them.

    Raises
    ------
    BagwiseError
        If shapes do not fit together, or the file cannot be written.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "lives.svg"
    >>> draw_lives(path, [True] * 6, [6, 5, 4, 3, 2, 1], [0, 0, 1, 1, 2, 2])
    >>> "log-rank test" in path.read_text(encoding="utf-8")
    True
    """
    events, times, groups = np.asarray(event, bool), np.asarray(time, float), np.asarray(thirds)
    if times.ndim != 1 or not times.size or events.shape != times.shape or groups.shape != times.shape:
        raise BagwiseError(
            f"events have shape {events.shape}, times {times.shape}, thirds {groups.shape}: each needs one value a bag"
        )
    test = log_rank(events, times, groups)
    last = times.max() or 1.0
    with new_figure(path) as (figure, _):
        axes, below = figure.subplots(2, 1, height_ratios=[5, 1])
        for third, colour in enumerate(_THIRDS.values()):
            own = groups == third
            if own.any():
                curve = kaplan_meier(events[own], times[own])
                censored = np.unique(times[own & ~events])
                axes.step([0, *curve.times], [1, *curve.survival], where="post", color=colour)
                axes.plot(censored, curve.survival_at(censored), "|", color=colour, markersize=5, markeredgewidth=0.8)
        axes.set(xlabel="Time", ylabel="Share without the event", ylim=(-0.02, 1.02), xlim=(-0.02 * last, 1.02 * last))
        axes.grid(color=GREY, alpha=0.25, linewidth=0.5)
        p = "–" if np.isnan(test.p_value) else "< 0.001" if test.p_value < 0.001 else f"{test.p_value:.3f}"
        axes.set_title(f"Thirds of the predicted risk; log-rank test: p {p}")
        # The numbers of bags that are still seen stand below, in the colours of the lines: they are the legend.
        told_at = [tick for tick in axes.get_xticks() if 0 <= tick <= last]
        below.set(xlim=axes.get_xlim(), xticks=[], ylim=(-0.6, 2.6), title="Bags still seen")
        below.set_yticks([2, 1, 0], list(_THIRDS))
        below.tick_params(length=0)
        below.spines[:].set_visible(False)
        for third, (colour, tick) in enumerate(zip(_THIRDS.values(), below.get_yticklabels(), strict=True)):
            tick.set_color(colour)
            for at in told_at:
                seen = np.sum(times[groups == third] >= at)
                below.text(at, 2 - third, f"{seen:,}", color=colour, fontsize=7, ha="center", va="center")
