"""Whether sets of classes hold the truth as often as was asked for, and how large they are beside one split's."""

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bagwise.evaluation.summary import standard_error
from bagwise.experiments.cells import as_numbers
from bagwise.experiments.markdown import short, table_of
from bagwise.experiments.trust_part import Found, Part, Question, Row
from bagwise.experiments.trust_resampled import CV, IGNORED, SPLITS, answer, questions, read
from bagwise.trust.sets import Scored, class_sets, p_values, set_facts

__all__ = ["ALL", "COVERAGE", "PART", "books_sets", "of_setting", "over_all", "tables"]

COVERAGE = 0.9
ALL = "mean of all"
_NEAREST = ", rounded as CV+"
_MEASURED = ("coverage", "negative", "positive", "size", "empty")


def books_sets(scored: Scored, asked: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Leave a class out where its p-value is 1 less the coverage or less, as the books have it.

    `bagwise.trust.sets.class_sets` takes the level that comes nearest.

    Parameters
    ----------
    scored, asked
        As `class_sets` takes them.

    Returns
    -------
    array
        Shape (B, 2).

    Examples
    --------
    >>> certain = np.tile([[0.95, 0.05], [0.05, 0.95]], (12, 1))
    >>> scored = Scored(np.array([0, 1] * 12), certain, np.zeros(24, np.int64))
    >>> books_sets(scored, np.array([[[0.96, 0.04], [0.5, 0.5]]])).tolist()
    [[True, False], [False, False]]
    """
    found = np.empty(asked[0].shape, bool)
    for column in range(found.shape[1]):
        own = scored.of(scored.labels == column)
        p = p_values(1 - own.answers[:, column], own.fold, 1 - asked[:, :, column], own.groups)
        found[:, column] = p > 1 - COVERAGE + 1e-9
    return found


def of_setting(_: Sequence[Question], answers: Sequence[Found]) -> list[dict[str, Any]]:
    """Give a row a way to hold bags out.

    Parameters
    ----------
    answers
        What was found in resamplings of one set of bags.

    Returns
    -------
    list of dict
        With the mean over resamplings of ``coverage`` (and its standard error, as if resamplings were independent), of
        ``negative`` and ``positive`` (that of each class), of ``size`` and of ``empty``.
    """
    cells: dict[str, list[tuple[float, ...]]] = {}
    for one in answers:
        learnt, tested = (as_numbers(one[name]).astype(np.int64) for name in ("learnt", "tested"))
        groups = None if one["groups"] is None else as_numbers(one["groups"]).astype(np.int64)
        for way, told in one["ways"].items():
            said = read(told)
            own = None if groups is None or way == IGNORED else groups[said.held_out]
            scored = Scored(learnt[said.held_out], said.answers, said.fold, own)
            found = {way: class_sets(scored, said.asked, COVERAGE)}
            if way in SPLITS:
                found = {way: books_sets(scored, said.asked), way + _NEAREST: found[way]}
            for name, sets in found.items():
                facts = set_facts(sets, tested)
                cells.setdefault(name, []).append((facts.coverage, *facts.by_class.tolist(), facts.size, facts.empty))
    rows = []
    for way, of_cells in cells.items():
        of = np.array(of_cells)
        means = dict(zip(_MEASURED, of.mean(axis=0).tolist(), strict=True))
        rows.append({"way": way, **means, "resamplings": len(of), "se": standard_error(of[:, 0])})
    return rows


def over_all(found: Sequence[Row]) -> list[dict[str, Any]]:
    """Give a row a way with means over sets of bags.

    Parameters
    ----------
    found
        Rows of these.

    Returns
    -------
    list of dict
        That of CV+ says on how many its sets are ``smaller`` than the smaller of both splits.
    """
    settings = dict.fromkeys(row["setting"] for row in found)
    by = {(row["setting"], row["way"]): row for row in found}
    of_all = []
    for way in dict.fromkeys(row["way"] for row in found):
        if all((setting, way) in by for setting in settings):
            means = {name: float(np.mean([by[setting, way][name] for setting in settings])) for name in _MEASURED}
            of_all.append({"setting": ALL, "way": way, **means, "sets": len(settings)})
    if of_all:
        smaller = [
            by[setting, CV]["size"] < min(by[setting, split]["size"] for split in SPLITS) for setting in settings
        ]
        of_all[0]["smaller"] = sum(smaller)
    return of_all


def tables(found: Sequence[Row]) -> str:
    """Show coverage and sizes as Markdown: set by set, and over all, where other ways are beside.

    Parameters
    ----------
    found
        Rows.

    Returns
    -------
    str
    """
    by = {(row["setting"], row["way"]): row for row in found}

    def share(name: str, way: str | None = None) -> Callable[[Row], str]:
        return lambda row: short(by[row["setting"], way or row["way"]][name])

    first = table_of(
        [row for row in found if row["way"] == CV],
        {
            "90 % asked for": itemgetter("setting"),
            "resamplings": lambda row: row.get("resamplings", ""),
            **{name: share(name) for name in (*_MEASURED[:3], "empty", "size")},
            **{f"{way}: {name}": share(name, way) for way in SPLITS for name in ("coverage", "size")},
        },
    )
    own = by[ALL, CV]
    counted = f"Those of CV+ are smaller than those of both splits on {own['smaller']} of {own['sets']} sets of bags.\n"
    beside = table_of(
        [row for row in found if row["setting"] == ALL or row["way"] == IGNORED],
        {
            "sets of bags": itemgetter("setting"),
            "way": itemgetter("way"),
            **{name: share(name) for name in _MEASURED},
        },
    )
    return "\n".join([first, counted, beside])


PART = Part(
    "coverage",
    "How often sets of classes hold the truth, and how large they are",
    lambda study: questions(study.seed, study.draws, study.data_dir),
    answer,
    of_setting,
    tables,
    over_all,
)
