"""How good `AutoMIL` is on real sets, and whether what it says of itself is true."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bagwise.checks import check_count, check_names, check_seed
from bagwise.claims import claims_folder
from bagwise.commands.data import digest_of_labelled
from bagwise.commands.runs import write_json
from bagwise.errors import BagwiseError
from bagwise.evaluation.significance import corrected_interval
from bagwise.evaluation.summary import standard_error, summary
from bagwise.experiments.auto_cells import (
    BEST,
    CLASSICAL,
    EQUAL,
    MIL_SETS,
    fold_answer,
    fold_scores,
    named,
    names_of,
    set_answer,
)
from bagwise.experiments.cells import OLDER, answered, environment, finite
from bagwise.experiments.markdown import markdown_table, means_table, short, signed
from bagwise.experiments.options import Auto
from bagwise.files import write_text

__all__ = ["MEASURED", "PARTS", "run_auto", "tables"]

MEASURED = ("accuracy", "auc")
_DIVIDED = {"accuracy": (CLASSICAL, 10, 5), "baselines": (MIL_SETS, 5, 2)}  # which sets, into how many folds, how often
_DRAWN = {"coins": 200, "signal": 50}
PARTS = (*_DIVIDED, *_DRAWN)
_TRIALS = {"accuracy": 12, "baselines": 12, "coins": 8, "signal": 8}


@claims_folder("reproduce", older=OLDER)
def run_auto(out: Path, study: Auto, *, tell: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Measure `AutoMIL`: on real sets beside each of its candidates, and by what it says of sets that are drawn.

    Parameters
    ----------
    out
        The folder for ``auto.json``, ``auto.md`` and, cell by cell, ``cells/``.
    study
        What is measured, and how often.
    tell
        Is told of each finished cell.

    Returns
    -------
    dict
        What is in ``auto.json``: ``rows`` (a set, a name and a metric each, and by how much auto is above it, with an
        interval), ``drawn`` (a part each) and ``cells`` (how many of each part are asked for, and finished).

    Raises
    ------
    BagwiseError
        If a parameter will not do, a data set is missing, or the folder is in use.
    """
    check_seed(study.seed)
    for name in ("folds", "repeats", "draws", "trials"):
        if getattr(study, name) is not None:
            check_count(f"--{name}", getattr(study, name))
    check_names(study.parts, "part", PARTS, "the experiment")
    check_names(study.datasets, "data set", CLASSICAL + MIL_SETS, "the experiment")
    questions = [question for part in study.parts or PARTS for question in _questions(part, study)]
    if not questions:
        raise BagwiseError("none of the data sets belongs to a part that is asked for: name others")
    known = answered(
        out / "cells",
        questions,
        partial(_answer, data_dir=study.data_dir),
        only_finished=study.finished,
        jobs=study.jobs,
        tell=lambda question, answer, count: tell(
            f"{_told(question)}: {answer['seconds']:.0f} s, {count} of {len(questions)}"
        ),
    )
    results = {
        "experiment": "auto",
        "environment": environment(),
        "asked": {"seed": study.seed, "trials": {part: study.trials or _TRIALS[part] for part in PARTS}},
        "cells": {
            part: {"asked": _count(questions, part), "finished": _count([asked for asked, _ in known], part)}
            for part in study.parts or PARTS
        },
        "rows": [row for part in _DIVIDED for row in _rows(part, known)],
        "drawn": [row for part in _DRAWN for row in _drawn_rows(part, known)],
    }
    write_json(out / "auto.json", results)
    write_text(out / "auto.md", tables(results))
    return results


def _questions(part: str, study: Auto) -> Iterator[dict[str, Any]]:
    """Ask for the cells of a part, in an order in which all sets have a fold before one has the next."""
    asked: dict[str, Any] = {"part": part, "seed": study.seed, "trials": study.trials or _TRIALS[part]}
    if part in _DRAWN:
        yield from ({**asked, "number": number} for number in range(study.draws or _DRAWN[part]))
        return
    datasets, folds, repeats = _DIVIDED[part]
    folds = study.folds or folds
    of_set = []
    for dataset in datasets:
        if dataset in (study.datasets or datasets):
            bags = named(dataset, study.data_dir)
            tried = names_of(bags, asked["trials"], study.seed)
            of_set.append({"dataset": dataset, "digest": digest_of_labelled(bags), "candidates": tried})
    for repeat in range(study.repeats or repeats):
        for fold in range(folds):
            for one in of_set:
                yield {**asked, **one, "folds": folds, "repeat": repeat, "fold": fold}


def _answer(question: Mapping[str, Any], data_dir: str | Path | None) -> dict[str, Any]:
    return set_answer(question) if question["part"] in _DRAWN else fold_answer(question, data_dir)


def _told(question: Mapping[str, Any]) -> str:
    if question["part"] in _DRAWN:
        return f"{question['part']}, set {question['number'] + 1}"
    return f"{question['dataset']}, repetition {question['repeat'] + 1}, fold {question['fold'] + 1}"


def _count(questions: Sequence[Mapping[str, Any]], part: str) -> int:
    return sum(question["part"] == part for question in questions)


def _rows(part: str, known: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> Iterator[dict[str, Any]]:
    """Sum up the folds of each set: of each name and metric the mean, and by how much auto is above it."""
    of_part = [(asked, answer) for asked, answer in known if asked["part"] == part]
    for dataset in dict.fromkeys(asked["dataset"] for asked, _ in of_part):
        cells = [(asked, answer) for asked, answer in of_part if asked["dataset"] == dataset]
        shape = (1 + max(asked["repeat"] for asked, _ in cells), cells[0][0]["folds"])
        scores: dict[tuple[str, str], NDArray[np.float64]] = {}
        for asked, answer in cells:
            for name, found in fold_scores(answer, asked["seed"], MEASURED).items():
                for metric, value in found.items():
                    at = scores.setdefault((name, metric), np.full(shape, np.nan))
                    at[asked["repeat"], asked["fold"]] = value
        for (name, metric), values in scores.items():
            row = {"part": part, "dataset": dataset, "name": name, "metric": metric, **summary(values)}
            auto = scores["auto", metric]
            compared = np.isfinite(auto) & np.isfinite(values)
            if name != "auto" and compared.sum() > 1:
                low, high = corrected_interval(auto, values, test_share=1 / shape[1])
                row |= {"above": float((auto - values)[compared].mean()), "low": low, "high": high}
            yield finite(row)


def _drawn_rows(part: str, known: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> Iterator[dict[str, Any]]:
    """Average over the sets of a part what was reported, what was true, and what the best candidate claimed."""
    answers = [answer for asked, answer in known if asked["part"] == part and answer["reported"] is not None]
    if not answers:
        return
    of = {name: np.array([one[name] for one in answers], dtype=np.float64) for name in ("reported", "true", "claimed")}
    off = of["reported"] - of["true"]
    held = [one["low"] <= one["true"] <= one["high"] for one in answers if one["low"] is not None]
    row = {
        "part": part,
        "sets": len(answers),
        **{name: float(values.mean()) for name, values in of.items()},
        "optimism": float(off.mean()),
        "se_optimism": standard_error(off),
        "optimism_of_claimed": float((of["claimed"] - of["true"]).mean()),
        "intervals_that_hold": float(np.mean(held)) if held else np.nan,
        "seconds": float(np.mean([one["seconds"] for one in answers])),
    }
    yield finite(row)


def tables(results: Mapping[str, Any]) -> str:
    """Show results as Markdown: real sets by metric, differences, and drawn sets.

    Parameters
    ----------
    results
        As `run_auto` gives them.

    Returns
    -------
    str
        Markdown.

    Examples
    --------
    >>> row = {"part": "accuracy", "dataset": "fox", "name": "auto", "metric": "accuracy", "mean": 0.6}
    >>> print(tables({"rows": [row], "drawn": [], "cells": {"accuracy": {"asked": 2, "finished": 1}}}))
    | part | cells asked for | finished |
    |---|---|---|
    | accuracy | 2 | 1 |
    <BLANKLINE>
    | accuracy | fox | mean |
    |---|---|---|
    | auto | .600 | .600 |
    <BLANKLINE>
    """
    counted = [[part, one["asked"], one["finished"]] for part, one in results["cells"].items()]
    shown = [markdown_table(["part", "cells asked for", "finished"], counted)]
    for title, metric, parts in (("accuracy", "accuracy", ["accuracy"]), ("AUC", "auc", list(_DIVIDED))):
        rows = {
            (row["name"], row["dataset"]): row
            for row in results["rows"]
            if row["metric"] == metric and row["part"] in parts
        }
        if rows:
            shown.append(means_table(title, _ordered(rows), {key: row["mean"] for key, row in rows.items()}))
            if any("above" in row for row in rows.values()):
                shown.append(_differences(f"{title} of auto less that of", rows))
    if results["drawn"]:
        heads = ["part", "sets", "reported AUC", "true AUC", "difference ± SE", "claimed by the best", "intervals hold"]
        lines = [
            [
                row["part"],
                row["sets"],
                short(row["reported"]),
                short(row["true"]),
                signed(row["optimism"]) + ("" if row["se_optimism"] is None else f" ± {short(row['se_optimism'])}"),
                short(row["claimed"]),
                short(row["intervals_that_hold"], 2),
            ]
            for row in results["drawn"]
        ]
        shown.append(markdown_table(heads, lines))
    return "\n".join(shown)


def _differences(title: str, rows: Mapping[tuple[str, str], Mapping[str, Any]]) -> str:
    datasets = list(dict.fromkeys(dataset for _, dataset in rows))
    lines = []
    for name in _ordered(rows):
        if name != "auto":
            lines.append([name, *(_interval(rows.get((name, dataset), {})) for dataset in datasets)])
    return markdown_table([title, *datasets], lines)


def _interval(row: Mapping[str, Any]) -> str:
    if "above" not in row:
        return "-"
    return f"{signed(row['above'])} ({signed(row['low'])} to {signed(row['high'])})".replace(" ", "\N{NO-BREAK SPACE}")


def _ordered(rows: Mapping[tuple[str, str], Mapping[str, Any]]) -> list[str]:
    names = [name for name, _ in rows]
    return list(dict.fromkeys([*(name for name in ("auto", EQUAL, BEST) if name in names), *names]))
