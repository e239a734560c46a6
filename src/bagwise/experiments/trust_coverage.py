"""Whether sets of classes hold the truth as often as was asked for, and how large they are beside one split's."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bagwise.experiments.cells import as_numbers
from bagwise.experiments.markdown import markdown_table, short
from bagwise.experiments.trust_resampled import CV, IGNORED, SPLITS, read
from bagwise.trust.sets import Scored, class_sets, p_values, set_facts

__all__ = ["ALL", "COVERAGE", "books_sets", "rows", "tables"]

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


def rows(asked: Sequence[Mapping[str, Any]], answers: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Give a row a set of bags and way to hold bags out.

    Parameters
    ----------
    asked, answers
        The questions, and what was found.

    Returns
    -------
    list of dict
        With the mean over resamplings of ``coverage`` (and its standard error, as if resamplings were independent), of
        ``negative`` and ``positive`` (that of each class), of ``size`` and of ``empty``. The rows of `ALL` have means
        over sets, and that of CV+ on how many its sets are ``smaller`` than the smaller of both splits.
    """
    cells: dict[tuple[str, str], list[tuple[float, ...]]] = {}
    for question, one in zip(asked, answers, strict=True):
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
                numbers = (facts.coverage, *facts.by_class.tolist(), facts.size, facts.empty)
                cells.setdefault((question["setting"], name), []).append(numbers)
    found_rows = []
    for (setting, way), of_cells in cells.items():
        of = np.array(of_cells)
        error = float(of[:, 0].std(ddof=1) / np.sqrt(len(of))) if len(of) > 1 else np.nan
        means = dict(zip(_MEASURED, of.mean(axis=0).tolist(), strict=True))
        found_rows.append(_row(setting, way, means) | {"resamplings": len(of), "se": error})
    return found_rows + _over_all(found_rows)


def _row(setting: str, way: str, means: Mapping[str, float]) -> dict[str, Any]:
    return {"part": "coverage", "setting": setting, "way": way, **means}


def _over_all(found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    settings = dict.fromkeys(row["setting"] for row in found)
    by = {(row["setting"], row["way"]): row for row in found}
    of_all = []
    for way in dict.fromkeys(row["way"] for row in found):
        if all((setting, way) in by for setting in settings):
            means = {name: float(np.mean([by[setting, way][name] for setting in settings])) for name in _MEASURED}
            of_all.append(_row(ALL, way, means) | {"sets": len(settings)})
    if of_all:
        smaller = [
            by[setting, CV]["size"] < min(by[setting, split]["size"] for split in SPLITS) for setting in settings
        ]
        of_all[0]["smaller"] = sum(smaller)
    return of_all


def tables(found: Sequence[Mapping[str, Any]]) -> str:
    """Show coverage and sizes as Markdown: set by set, and over all, where other ways are beside.

    Parameters
    ----------
    found
        As `rows` gives them.

    Returns
    -------
    str
    """
    by = {(row["setting"], row["way"]): row for row in found}
    lines = []
    for setting in dict.fromkeys(setting for setting, _ in by):
        own = by[setting, CV]
        line = [setting, own.get("resamplings", ""), *(short(own[name]) for name in (*_MEASURED[:3], "empty", "size"))]
        for way in SPLITS:
            line += [short(by[setting, way][name]) for name in ("coverage", "size")]
        lines.append(line)
    heads = ["90 % asked for", "resamplings", "coverage", *_MEASURED[1:3], "empty", "size"]
    first = markdown_table([*heads, *(f"{way}: {name}" for way in SPLITS for name in ("coverage", "size"))], lines)
    beside = [row for row in found if row["setting"] == ALL or row["way"] == IGNORED]
    of_ways = [[row["setting"], row["way"], *(short(row[name]) for name in _MEASURED)] for row in beside]
    own = by[ALL, CV]
    counted = f"Those of CV+ are smaller than those of both splits on {own['smaller']} of {own['sets']} sets of bags.\n"
    return "\n".join([first, counted, markdown_table(["sets of bags", "way", *_MEASURED], of_ways)])
