"""Whether what Bagwise says of its own answers is true: a part a promise, each with what it measures."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from bagwise.checks import check_count, check_names, check_seed
from bagwise.claims import claims_folder
from bagwise.commands.runs import write_json
from bagwise.experiments import (
    trust_calibration,
    trust_coverage,
    trust_intervals,
    trust_strangers,
    trust_thresholds,
)
from bagwise.experiments.cells import OLDER, answered, environment, finite
from bagwise.experiments.options import Promises
from bagwise.experiments.trust_part import Part, Question
from bagwise.files import write_text

__all__ = ["PARTS", "run_trust", "tables"]

PARTS: Mapping[str, Part] = {
    part.name: part
    for part in (
        trust_intervals.PART,
        trust_coverage.PART,
        trust_calibration.PART,
        trust_thresholds.PART,
        trust_strangers.PART,
    )
}


@claims_folder("reproduce", older=OLDER)
def run_trust(out: Path, study: Promises, *, tell: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Measure whether what Bagwise says of its own answers is true.

    Parameters
    ----------
    out
        The folder for ``trust.json``, ``trust.md`` and, cell by cell, ``cells/``.
    study
        Which parts are measured, and how often.
    tell
        Is told of each finished cell.

    Returns
    -------
    dict
        What is in ``trust.json``: ``rows``, each with its ``part``, and ``cells`` (how many of each part are asked for,
        and finished).

    Raises
    ------
    BagwiseError
        If a parameter will not do, or the folder is in use.
    """
    check_seed(study.seed)
    if study.draws is not None:
        check_count("--draws", study.draws)
    check_names(study.parts, "part", tuple(PARTS), "the experiment")
    parts = study.parts or tuple(PARTS)
    of_parts = {part: list(PARTS[part].questions(study)) for part in parts}
    questions: list[dict[str, Any]] = []
    for question in (question for asked in of_parts.values() for question in asked):
        if question not in questions:
            questions.append(question)
    known = answered(
        out / "cells",
        questions,
        partial(_answer, data_dir=study.data_dir),
        only_finished=study.finished,
        jobs=study.jobs,
        tell=lambda asked, answer, done: tell(
            f"{asked['part']}, {asked['setting']}: {answer['seconds']:.0f} s, {done} of {len(questions)}"
        ),
    )
    found = {part: [pair for pair in known if pair[0] in asked] for part, asked in of_parts.items()}
    results = {
        "experiment": "trust",
        "environment": environment(),
        "asked": {"seed": study.seed, "draws": study.draws},
        "cells": {part: {"asked": len(asked), "finished": len(found[part])} for part, asked in of_parts.items()},
        "rows": finite(
            [
                row
                for part, pairs in found.items()
                for row in PARTS[part].rows([asked for asked, _ in pairs], [answer for _, answer in pairs])
            ]
        ),
    }
    write_json(out / "trust.json", results)
    write_text(out / "trust.md", tables(results))
    return results


def _answer(question: Question, data_dir: Path | None) -> dict[str, Any]:
    return PARTS[question["part"]].answer(question, data_dir)


def tables(results: Mapping[str, Any]) -> str:
    """Show results as Markdown, a table a part.

    Parameters
    ----------
    results
        As `run_trust` gives them.

    Returns
    -------
    str
        Markdown.

    Examples
    --------
    >>> tables({"rows": []})
    ''
    """
    shown = []
    for part, one in PARTS.items():
        rows = [row for row in results["rows"] if row["part"] == part]
        if rows:
            shown.append(f"{one.title}\n\n{one.table(rows)}")
    return "\n".join(shown)
