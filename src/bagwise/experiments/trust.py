"""Whether what Bagwise says of its own answers is true: a part a promise, each with what it measures."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bagwise.checks import check_count, check_names, check_seed
from bagwise.claims import claims_folder
from bagwise.commands.runs import write_json
from bagwise.experiments import trust_intervals
from bagwise.experiments.cells import OLDER, cells_on_workers, environment, finished, finite
from bagwise.experiments.options import Promises
from bagwise.files import write_text

__all__ = ["PARTS", "Part", "run_trust", "tables"]

Question = Mapping[str, Any]
Found = Mapping[str, Any]


class Part(NamedTuple):
    """One promise, and how it is measured.

    Attributes
    ----------
    title
        What is measured, as a heading.
    questions
        Gives the cells that are asked for; each says its ``part``.
    answer
        Finds the answer to one: what a cell holds, with ``seconds``.
    rows
        Makes rows of ``trust.json`` of questions and their answers.
    table
        Shows these rows as Markdown.
    """

    title: str
    questions: Callable[[Promises], Iterable[dict[str, Any]]]
    answer: Callable[[Question], dict[str, Any]]
    rows: Callable[[Sequence[Question], Sequence[Found]], list[dict[str, Any]]]
    table: Callable[[Sequence[Mapping[str, Any]]], str]


PARTS: Mapping[str, Part] = {
    "intervals": Part(
        "How often 95 % intervals hold the truth",
        lambda study: trust_intervals.questions(study.seed, study.draws),
        trust_intervals.answer,
        trust_intervals.rows,
        trust_intervals.tables,
    ),
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
    questions = [question for part in parts for question in PARTS[part].questions(study)]
    cells = out / "cells"
    if not study.finished:
        cells_on_workers(
            cells,
            questions,
            _answer,
            jobs=study.jobs,
            tell=lambda asked, answer, done: tell(
                f"{asked['part']}, {asked['setting']}: {answer['seconds']:.0f} s, {done} of {len(questions)}"
            ),
        )
    known = [(asked, answer) for asked in questions if (answer := finished(cells, asked)) is not None]
    of_part = {part: [pair for pair in known if pair[0]["part"] == part] for part in parts}
    results = {
        "experiment": "trust",
        "environment": environment(),
        "asked": {"seed": study.seed, "draws": study.draws},
        "cells": {
            part: {"asked": sum(asked["part"] == part for asked in questions), "finished": len(of_part[part])}
            for part in parts
        },
        "rows": finite(
            [
                row
                for part, pairs in of_part.items()
                for row in PARTS[part].rows([asked for asked, _ in pairs], [answer for _, answer in pairs])
            ]
        ),
    }
    write_json(out / "trust.json", results)
    write_text(out / "trust.md", tables(results))
    return results


def _answer(question: Question) -> dict[str, Any]:
    return PARTS[question["part"]].answer(question)


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
