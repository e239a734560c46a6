"""Writing a run: its models, and what is told of them."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bagwise.commands.card import CARD, write_card
from bagwise.commands.runs import CONFIG, HISTORY, METRICS, write_json
from bagwise.files import replacing
from bagwise.methods.neural import NeuralMIL
from bagwise.methods.persistence import describe, save_models
from bagwise.reports import Report, Section, write_report

__all__ = ["write_run", "write_told"]


def write_told(folder: Path, title: str, page: Report, card: Sequence[Section], metrics: Mapping[str, Any]) -> None:
    """Write what is told of a run: its card, its page, which ends with the card, and its numbers, last.

    Parameters
    ----------
    folder
        Of the run.
    title
        Of the card.
    page
        Without the card.
    card
        As `bagwise.commands.card.card_of` gives it.
    metrics
        What ``metrics.json`` is to hold.

    Raises
    ------
    BagwiseError
        If a file cannot be written.
    """
    write_card(title, card, folder / CARD)
    write_report(replace(page, card=card), folder / "report.html")
    write_json(folder / METRICS, metrics)


def write_run(folder: Path, models: Sequence[Any], asked: Mapping[str, Any]) -> None:
    """Write models, their description and their history; the models last, so that a run that has them is whole.

    Parameters
    ----------
    folder
        Where to.
    models
        Fitted.
    asked
        What was asked for, as JSON can hold it.

    Raises
    ------
    BagwiseError
        If a file cannot be written.
    """
    write_json(folder / CONFIG, {**describe(models), "asked": asked})
    if not isinstance(models[0], NeuralMIL):  # which has no epochs
        save_models(models, folder)
        return
    with replacing(folder / HISTORY) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        columns = ["member", *models[0].history_[0]]
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        for number, model in enumerate(models):
            writer.writerows({"member": number, **entry} for entry in model.history_)
    save_models(models, folder)
