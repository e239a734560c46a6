"""What a run says beside its answers of bags with labels, and whether that is so: sets, strangers, bags learnt from."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bagwise.commands.beside import Beside
from bagwise.commands.cohort import ReadCohort
from bagwise.commands.runs import Run
from bagwise.errors import BagwiseWarning
from bagwise.evaluation.wilson import share_interval
from bagwise.io.problems import counted, some
from bagwise.reports import Table
from bagwise.trust.holding import Held, Holding, holding
from bagwise.trust.strangers import RARE

__all__ = ["CohortBeside", "look_beside"]

_MANY = 2  # times as many strangers as among bags like those learnt from


@dataclass(frozen=True, eq=False)
class CohortBeside:
    """What was found.

    Attributes
    ----------
    columns
        For the table of predictions, by name.
    results
        For ``results.json``: ``sets``, ``strangers`` and ``among_learnt``, each None where nobody asked, or the run
        does not keep what that needs.
    notes
        Sentences.
    tables
        For the page.
    """

    columns: dict[str, Any]
    results: dict[str, Any]
    notes: list[str]
    tables: list[Table]


def look_beside(run: Run, read: ReadCohort, coverage: float | None = None) -> CohortBeside:
    """Ask a run what it says beside its answers, and measure that.

    Bags that the run learnt from are warned of, and many strangers.

    Parameters
    ----------
    run
        The run.
    read
        The bags, with labels.
    coverage
        How often sets or intervals shall hold the truth; None makes none.

    Returns
    -------
    CohortBeside

    Raises
    ------
    BagwiseError
        If the run does not keep what sets need, or the coverage is out of its range.
    """
    beside = Beside(run, read.bags)
    columns: dict[str, Any] = {}
    results: dict[str, Any] = {"sets": None, "strangers": None, "among_learnt": None}
    notes: list[str] = []
    tables: list[Table] = []
    if coverage is not None:
        found = beside.covered(coverage)
        assert read.bags.labels is not None
        measured = holding(run.models[0].target_, found, read.bags.labels, read.groups, read.weights)
        columns, told = beside.holding(coverage, found)
        told = [*(one.sentence() for one in measured), *told]
        results["sets"] = {"asked": coverage, "measured": [one.told() for one in measured], "told": told}
        tables.append(_table(measured, coverage, told))
        notes += told
    strange, told = beside.strangers()
    if beside.seen is not None:
        columns |= strange
        results["strangers"], many = _strangers(strange["stranger"], beside.seen.known.finest, read)
        notes += [*told, *([] if many is None else [many])]
        among = beside.seen.learnt_from(run.models[0], read.bags)
        names = read.bags.names[among].tolist()
        results["among_learnt"] = {"count": len(names), "bags": [str(name) for name in names]}
        if names and not read.learnt_from:
            columns["learnt_from"] = among
            told_of = (
                f"{counted(len(names), 'bag')} of {len(among):,} {'has' if len(names) == 1 else 'have'} the very"
                f" features of a bag that the run learnt from ({some(names)}), so that what is measured is too good:"
                f" leave {'it' if len(names) == 1 else 'them'} out"
            )
            warnings.warn(told_of, BagwiseWarning, stacklevel=2)
            notes.insert(0, f"{told_of}.")
    return CohortBeside(columns, results, notes, tables)


def _strangers(p: NDArray[np.float64], finest: float, read: ReadCohort) -> tuple[dict[str, Any], str | None]:
    """Count the bags that are strangers, and warn where they are many."""
    level = max(RARE, finest)
    flagged = p <= level + 1e-9
    share, interval = float(flagged.mean()), share_interval(flagged, groups=read.groups)
    told = Held(len(p), share, interval).told() | {"strangers": int(flagged.sum()), "of_like_bags": level}
    if not interval.low > _MANY * level:
        return told, None
    many = (
        f"{100 * share:.3g} % of these bags are strangers ({100 * interval.low:.3g} to {100 * interval.high:.3g} %), of"
        f" bags like those learnt from {100 * level:.3g} % would be: what the run promises is not of such bags"
    )
    warnings.warn(many, BagwiseWarning, stacklevel=3)
    return told, f"{many}."


def _table(measured: list[Holding], coverage: float, told: list[str]) -> Table:
    rows = []
    for one in measured:
        of = {"all": one.overall, **{f"of {name}": held for name, held in one.by_class.items()}}
        for name, held in of.items():
            called = name if one.of is None else f"{one.of}: {name}"
            share = "–" if np.isnan(held.share) else f"{held.share:.3f} {held.interval}"
            rows.append([called, f"{held.bags:,}", share])
    what = "intervals" if measured[0].endless is not None else "sets"
    return Table(
        f"How often {what} hold the truth, asked for {100 * coverage:g} %",
        ["Bags", "Number", "Share whose truth is held (95 % interval)"],
        rows,
        " ".join(told),
    )
