"""What is written of out-of-fold predictions: the table, and the figures."""

import tempfile
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bagwise.bags import Bags
from bagwise.commands.columns import answer_columns, label_columns
from bagwise.evaluation.cross_validation import CrossValidation
from bagwise.explain import columns_by_name, names_of_columns, write_table
from bagwise.reports import Figure
from bagwise.reports.figures import OutOfFold, figures_of

__all__ = ["draw_figures", "finite", "measured_rows", "shown_of", "write_contributions", "write_predictions"]


def finite(row: Mapping[str, Any]) -> dict[str, Any]:
    """Put None where JSON has no number."""
    return {name: None if isinstance(value, float) and not isfinite(value) else value for name, value in row.items()}


def measured_rows(found: CrossValidation) -> list[dict[str, Any]]:
    """Give a row a metric: its mean over folds, and of all answers together its value and interval."""
    pooled = found.pooled()
    return [finite({**row, **pooled[row["metric"]].told()}) for row in found.rows()]


def write_predictions(found: Mapping[str, CrossValidation], bags: Bags, path: Path) -> None:
    """Write a row a method, repetition and tested bag, as `bagwise.explain.write_table` does."""
    parts = []
    for name, one in found.items():
        for repeat, folds in enumerate(one.assignment):
            tested = np.flatnonzero(folds >= 0)
            columns: dict[str, Any] = {
                "method": name,
                "repeat": repeat,
                "fold": folds[tested],
                "bag": bags.names[tested],
                **label_columns(one.labels[tested], bags.label_names),
            }
            answers = answer_columns(one.target, one.answers[repeat, tested])
            if one.decided is not None:
                answers["predicted"] = one.decided[repeat, tested]
            columns |= {called: answers.pop(called) for called in ("predicted",) if called in answers}
            if bags.groups is not None:
                columns["group"] = bags.groups[tested]
            parts.append(pd.DataFrame(columns | answers))
    write_table(pd.concat(parts), path)


def write_contributions(found: Mapping[str, CrossValidation], bags: Bags, path: Path) -> None:
    """Write what each instance adds to what is said of its bag: a row a method, repetition and instance of tested bags.

    Methods that are no sums over instances are left out; if all are, so is the file.
    """
    parts = []
    bag = np.repeat(np.arange(len(bags)), bags.sizes)
    numbers = np.arange(len(bag)) - bags.offsets[:-1][bag]
    for name, one in found.items():
        for repeat, folds in enumerate(one.assignment if one.contributions is not None else ()):
            tested = np.flatnonzero(folds[bag] >= 0)
            columns: dict[str, Any] = {
                "method": name,
                "repeat": repeat,
                "fold": folds[bag[tested]],
                "bag": bags.names[bag[tested]],
                "instance": (numbers if bags.instance_names is None else bags.instance_names)[tested],
            }
            if bags.sources is not None:
                columns["file"] = bags.sources[tested]
            assert one.contributions is not None
            values = one.contributions[repeat, tested]
            parts.append(
                pd.DataFrame(
                    columns | columns_by_name("contribution", values, names_of_columns(one.target, one.answers))
                )
            )
    if parts:
        write_table(pd.concat(parts), path)


def shown_of(found: Mapping[str, CrossValidation]) -> OutOfFold:
    """Give what figures look at."""
    first = next(iter(found.values()))
    answers = {name: one.answers for name, one in found.items()}
    decided = {name: one.decided for name, one in found.items() if one.decided is not None}
    return OutOfFold(first.target, first.labels, answers, first.assignment, first.sample_weight, decided)


def draw_figures(found: OutOfFold, out: Path, what: str = "out-of-fold predictions") -> list[Figure]:
    """Draw figures as files of their own, and give them as the report shows them; `what` says what they show."""
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        for file, title, draw in figures_of(found):
            draw(out / f"{file}.png")
            drawn = Path(folder) / f"{file}.svg"
            draw(drawn)
            told = f"{title}, of {what} of {', '.join(found.answers)}"
            figures.append(Figure(title, drawn.read_text(encoding="utf-8"), told))
    return figures
