"""Whether defaults come up to a tuned loop where bags are large: made slides, three classes, three sites."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bagwise.bags import Bags
from bagwise.checks import check_count, check_names, check_seed
from bagwise.claims import claims_folder
from bagwise.commands.runs import write_json
from bagwise.evaluation.metrics import measure
from bagwise.evaluation.summary import standard_error
from bagwise.experiments.cells import OLDER, answered, environment, finite
from bagwise.experiments.markdown import markdown_table, short, signed, with_error
from bagwise.experiments.options import Slides
from bagwise.experiments.plain_loop import plain_loop
from bagwise.files import write_text
from bagwise.methods.families import AttentionMIL
from bagwise.methods.recipes import RECIPES
from bagwise.targets.classes import ClassTarget

__all__ = ["DEFAULTS", "LOOP", "MEASURED", "PARTS", "made", "run_slides", "tables"]

MEASURED = {"auc": "AUC", "seconds": "CPU seconds", "epochs": "epochs"}
# What the loop was tried with on development slides; the first is what defaults are compared with.
LOOP: Mapping[str, Mapping[str, Any]] = {
    "loop": {},
    "loop, rate 1e-4": {"rate": 1e-4},
    "loop, rate 5e-4": {"rate": 5e-4},
    "loop, a quarter dropped": {"dropout": 0.25},
    "loop, a quarter dropped, rate 5e-4": {"dropout": 0.25, "rate": 5e-4},
    "loop, 512 wide": {"width": 512},
    "loop, patience 5": {"patience": 5},
}
# Defaults of large bags as they were, as they are, and what was tried in their place.
_BEFORE = {"encoder": "mi-net", "hidden": 64, "gated": False, "l2": 5e-5, "dropout": 0.5, "epochs": 50}
_BEFORE |= {"patience": None, "optimizer": "adam", "learning_rate": 2e-4}
DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "before": _BEFORE,
    "defaults": {},
    "not gated": {"gated": False},
    "MI-Net's three layers": {"encoder": "mi-net"},
    "rate 5e-4": {"learning_rate": 5e-4},
    "rate 1e-3": {"learning_rate": 1e-3},
    "dropout of a quarter": {"dropout": 0.25},
    "L2 5e-5": {"l2": 5e-5},
    "patience 5": {"patience": 5},
}


@dataclass(frozen=True)
class _Part:
    """Who is measured, on how many slides of how many patches, and by how far key patches lie off."""

    names: tuple[str, ...]
    slides: int
    sizes: tuple[int, int]
    signals: Mapping[str, float]
    first_seed: int


_SMALL = 100, (101, 300), {"made": 4.6}, 1000
PARTS: Mapping[str, _Part] = {
    "compared": _Part(("loop", "defaults"), 200, (500, 4000), {"clear": 2.5, "faint": 2.0}, 0),
    "loop": _Part(tuple(LOOP), *_SMALL),
    "defaults": _Part(tuple(DEFAULTS), *_SMALL),
}
MEASURED = {"auc": "AUC", "seconds": "CPU seconds", "epochs": "epochs"}
_FEATURES, _FRESH = 512, 150


@claims_folder("reproduce", older=OLDER)
def run_slides(out: Path, study: Slides, *, tell: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Measure defaults beside a plain loop on slides that neither has seen, and what both were chosen from.

    Parameters
    ----------
    out
        The folder for ``slides.json``, ``slides.md`` and, cell by cell, ``cells/``.
    study
        Which parts, and on how many draws.
    tell
        Is told of each finished cell.

    Returns
    -------
    dict
        What is in ``slides.json``: ``rows``, one a part, signal, name and metric.

    Raises
    ------
    BagwiseError
        If a parameter will not do, or the folder is in use.
    """
    check_seed(study.seed)
    check_count("--draws", study.draws)
    check_names(study.parts, "part", tuple(PARTS), "the experiment")
    questions = [
        {"part": part, "signal": signal, "off": off, "slides": one.slides, "sizes": list(one.sizes)}
        | {"seed": 10_000 * study.seed + one.first_seed + draw, "draw": draw, "name": name, "settings": _settings(name)}
        for draw in range(study.draws)
        for part, one in PARTS.items()
        if part in (study.parts or PARTS)
        for signal, off in one.signals.items()
        for name in one.names
    ]
    known = answered(
        out / "cells",
        questions,
        _answer,
        only_finished=study.finished,
        jobs=study.jobs,
        tell=lambda asked, answer, done: tell(f"{_told(asked, answer)} ({done} of {len(questions)})"),
    )
    results = {
        "experiment": "slides",
        "environment": environment(),
        "asked": {"draws": study.draws, "seed": study.seed},
        "parts": {part: vars(one) for part, one in PARTS.items()},
        "settings": {name: _settings(name) for name in [*LOOP, *DEFAULTS]},
        "cells": {"asked": len(questions), "finished": len(known)},
        "rows": finite(_rows(known)),
    }
    write_json(out / "slides.json", results)
    write_text(out / "slides.md", tables(results))
    return results


def made(count: int, sizes: Sequence[int], signal: float, seed: int, features: int | None = None) -> Bags:
    """Make slides of three classes from three sites, which shift features.

    Of each slide of the second and the third class 5 % of the patches lie off in a direction of the class's own.

    Parameters
    ----------
    count
        How many slides; classes take turns.
    sizes
        The fewest and the most patches.
    signal
        How far key patches lie off, in spreads of a feature.
    seed
        Decides what is drawn.
    features
        Of a patch; None: 512.

    Returns
    -------
    Bags
        Of float32; nobody is told of sites.

    Examples
    --------
    >>> made(6, (20, 40), signal=3.0, seed=0, features=8)
    <Bags: 6 bags of 21 to 40 instances (185 in all), each of shape (8,) float32; labels 0: 2, 1: 2, 2: 2>
    """
    rng, features = np.random.default_rng(seed), features or _FEATURES
    directions = rng.normal(size=(3, features))
    offs = (signal * directions / np.linalg.norm(directions, axis=1, keepdims=True)).astype(np.float32)
    offs[0] = 0
    shifts = rng.normal(scale=0.5, size=(3, features)).astype(np.float32)
    labels, arrays = np.arange(count) % 3, []
    least, most = sizes
    for label in labels:
        patches = rng.standard_normal((rng.integers(least, most, endpoint=True), features), dtype=np.float32)
        patches += shifts[rng.integers(3)]
        patches[: round(0.05 * len(patches))] += offs[label]
        arrays.append(patches)
    return Bags.from_arrays(arrays, labels=labels)


def _settings(name: str) -> dict[str, Any]:
    """Say what a name is trained with; of Bagwise all that the recipe decides, which may be chosen anew."""
    return dict(LOOP[name]) if name in LOOP else {**RECIPES["vectors in large bags"].values, **DEFAULTS[name]}


_made = lru_cache(maxsize=1)(made)


def _answer(question: Mapping[str, Any]) -> dict[str, Any]:
    """Train on slides, and ask about fresh ones from the same sites."""
    count, name = question["slides"], question["name"]
    bags = _made(count + min(count, _FRESH), tuple(question["sizes"]), question["off"], question["seed"])
    learnt, asked = bags[:count], bags[count:]
    assert learnt.labels is not None
    assert asked.labels is not None
    begin = time.process_time()
    if name in LOOP:
        predict, epochs = plain_loop(learnt, question["draw"], **LOOP[name])
    else:
        model = AttentionMIL(random_state=question["draw"], **DEFAULTS[name]).fit(learnt)
        predict, epochs = model.predict_proba, len(model.history_)
    seconds = time.process_time() - begin
    scores = measure(ClassTarget.of(learnt.labels), asked.labels, predict(asked), scoring=("auc",))
    return {**scores, "seconds": round(seconds, 1), "epochs": epochs}


def _told(question: Mapping[str, Any], answer: Mapping[str, Any]) -> str:
    done = f"AUC {short(answer['auc'])} in {answer['epochs']} epochs, {answer['seconds']:.0f} s"
    return f"{question['part']}, {question['signal']}, draw {question['draw'] + 1}, {question['name']}: {done}"


def _rows(known: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Sum up the draws of each part and signal: of each name and metric the mean, and by how much the loop is less."""
    found: dict[tuple[str, str, str], dict[int, Mapping[str, Any]]] = {}
    for asked, answer in known:
        found.setdefault((asked["part"], asked["signal"], asked["name"]), {})[asked["draw"]] = answer
    rows = []
    for (part, signal, name), draws in found.items():
        for metric in MEASURED:
            values = np.array([answer[metric] for answer in draws.values()], dtype=np.float64)
            row = {"part": part, "signal": signal, "name": name, "metric": metric, "draws": len(draws)}
            row |= _mean_of(values)
            loop = found.get((part, signal, "loop"), {})
            if part == "compared" and name != "loop" and loop.keys() >= draws.keys():
                less = _mean_of(values - [loop[draw][metric] for draw in draws])
                row |= {"above": less["mean"], "se_above": less["se_draws"]}
            rows.append(row)
    return rows


def _mean_of(values: NDArray[np.float64]) -> dict[str, float]:
    return {"mean": float(values.mean()), "se_draws": standard_error(values)}


def tables(results: Mapping[str, Any]) -> str:
    """Show results as Markdown: defaults beside the loop, and what both were chosen from.

    Parameters
    ----------
    results
        As `run_slides` gives them.

    Returns
    -------
    str
        Markdown.

    Examples
    --------
    >>> row = {"part": "loop", "signal": "made", "name": "loop", "draws": 1, "se_draws": None}
    >>> means = {"auc": 0.9, "seconds": 8.1, "epochs": 20.0}
    >>> print(tables({"rows": [row | {"metric": metric, "mean": mean} for metric, mean in means.items()]}))
    | part | signal | trained by | draws | AUC ± SE | above the loop | CPU seconds | epochs |
    |---|---|---|---|---|---|---|---|
    | loop | made | loop | 1 | .900 |  | 8 | 20 |
    <BLANKLINE>
    """
    by = {(row["part"], row["signal"], row["name"], row["metric"]): row for row in results["rows"]}
    lines = []
    for one in dict.fromkeys(key[:3] for key in by):
        auc, seconds, epochs = (by[*one, metric] for metric in MEASURED)
        above = signed(auc["above"]) if "above" in auc else ""
        if auc.get("se_above") is not None:
            above += f" ± {short(auc['se_above'])}"
        told = with_error(auc["mean"], auc["se_draws"])
        lines.append([*one, auc["draws"], told, above, *(f"{found['mean']:.0f}" for found in (seconds, epochs))])
    heads = ["part", "signal", "trained by", "draws", "AUC ± SE", "above the loop", "CPU seconds", "epochs"]
    return markdown_table(heads, lines)
