"""Which methods keep the MIL assumption, and which take a shortcut that it forbids."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from joblib import delayed
from threadpoolctl import threadpool_limits

from bagwise.checks import check_count, check_names
from bagwise.claims import claims_folder
from bagwise.commands.runs import write_json
from bagwise.evaluation.assumption import PROBLEMS, Problem, check_assumption
from bagwise.experiments.cells import OLDER, cell, environment
from bagwise.experiments.markdown import markdown_table
from bagwise.experiments.options import Assumption
from bagwise.files import write_text
from bagwise.methods.registry import METHODS, make
from bagwise.training.workers import on_workers

__all__ = ["TESTED", "run_mil_assumption", "table"]

TESTED = tuple(name for name, (kind, _) in METHODS.items() if kind.SEES_INSTANCES)


@claims_folder("reproduce", older=OLDER)
def run_mil_assumption(out: Path, study: Assumption, *, tell: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Try methods on the problems of `bagwise.evaluation.assumption`.

    Parameters
    ----------
    out
        The folder for ``mil_assumption.json``, ``mil_assumption.md`` and, cell by cell, ``cells/``.
    study
        Which methods are tried, and how often.
    tell
        Is told of each finished method.

    Returns
    -------
    dict
        What is in ``mil_assumption.json``; a row a method and problem.

    Raises
    ------
    BagwiseError
        If a parameter will not do, or the folder is in use.
    """
    check_count("--seeds", study.seeds)
    check_names(study.methods, "method")
    for name in study.methods:
        make(name)
    rows: list[dict[str, Any]] = []
    for name in study.methods or TESTED:

        def answer(name: str = name) -> dict[str, Any]:
            return {"rows": on_workers((delayed(_row)(name, one, study.seeds) for one in PROBLEMS), study.jobs)}

        rows += cell(out / "cells", {"method": name, "seeds": study.seeds}, answer)["rows"]
        said = [f"{row['problem']} {row['verdict']}" for row in rows[-len(PROBLEMS) :]]
        tell(f"{name}: {', '.join(said)}")
    results = {
        "experiment": "mil_assumption",
        "environment": environment(),
        "problems": {problem.name: problem.shortcut for problem in PROBLEMS},
        "rows": rows,
    }
    write_json(out / "mil_assumption.json", results)
    write_text(out / "mil_assumption.md", table(results))
    return results


def _row(name: str, problem: Problem, seeds: int) -> dict[str, Any]:
    begin = time.perf_counter()
    with threadpool_limits(1):
        found = check_assumption(make(name), problem, seeds)
    return {
        "problem": problem.name,
        "method": name,
        "metric": "auc",
        "mean": float(np.mean(found.test_auc)),
        "sd_seeds": float(np.std(found.test_auc, ddof=1)) if seeds > 1 else None,
        "training_mean": float(np.mean(found.training_auc)),
        "seeds": seeds,
        "verdict": found.verdict,
        "protocol": "default",
        "seconds": round(time.perf_counter() - begin, 1),
    }


def table(results: Mapping[str, Any]) -> str:
    """Show results as Markdown: the verdict and the test AUC of each method on each problem.

    Parameters
    ----------
    results
        As `run_mil_assumption` gives them.

    Returns
    -------
    str
        Markdown.

    Examples
    --------
    >>> row = {"problem": "absence", "method": "attention", "mean": 0.02, "verdict": "fails"}
    >>> print(table({"problems": {"absence": "a bag without ..."}, "rows": [row]}))
    | method | absence |
    |---|---|
    | attention | **fails** (.02) |
    <BLANKLINE>
    """
    problems = list(results["problems"])
    lines = []
    cells = {(row["method"], row["problem"]): row for row in results["rows"]}
    for method in dict.fromkeys(row["method"] for row in results["rows"]):
        shown = []
        for problem in problems:
            row = cells[method, problem]
            verdict = row["verdict"] if row["verdict"] == "passes" else f"**{row['verdict']}**"
            shown.append(f"{verdict} ({row['mean']:.2f})".replace("(0.", "(."))
        lines.append([method, *shown])
    return markdown_table(["method", *problems], lines)
