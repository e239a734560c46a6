"""Whether defaults come up to a tuned loop where bags are large: made slides, three classes, three sites."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bagwise.bags import Bags
from bagwise.checks import check_count, check_names, check_seed
from bagwise.claims import claims_folder
from bagwise.commands.runs import write_json
from bagwise.evaluation.metrics import measure
from bagwise.experiments.cells import OLDER, cells_on_workers, environment, finite
from bagwise.experiments.markdown import markdown_table, means_table, short, signed, with_error
from bagwise.experiments.options import Slides
from bagwise.experiments.plain_loop import plain_loop
from bagwise.files import write_text
from bagwise.methods.families import AttentionMIL
from bagwise.targets.classes import ClassTarget

__all__ = ["DEFAULTS", "LOOP", "MEASURED", "PARTS", "SIGNALS", "made", "run_slides", "tables"]

MEASURED = {"auc": "AUC", "seconds": "CPU seconds", "epochs": "epochs"}
# How far key patches lie from the others, in spreads of a feature.
SIGNALS: Mapping[str, float] = {"clear": 3.0, "faint": 2.5}
# What the loop was tried with on development slides; the first is what defaults are compared with.
LOOP: Mapping[str, Mapping[str, Any]] = {
    "loop": {},
    "loop, rate 1e-4": {"rate": 1e-4},
    "loop, rate 5e-4": {"rate": 5e-4},
    "loop, 512 wide": {"width": 512},
    "loop, patience 5": {"patience": 5},
}
# The defaults of large bags before these were chosen, and what was tried in their place, one thing after the other.
_BEFORE = {"encoder": "mi-net", "hidden": 64, "gated": False, "l2": 5e-5, "dropout": 0.5, "epochs": 50}
_BEFORE |= {"patience": None, "optimizer": "adam", "learning_rate": 2e-4}
DEFAULTS: Mapping[str, Mapping[str, Any]] = {"before": _BEFORE}
# What is measured: who, on how many slides of how many patches each, and from which seed on.
PARTS: Mapping[str, tuple[tuple[str, ...], int, tuple[int, int], int]] = {
    "compared": ((next(iter(LOOP)), "defaults"), 200, (500, 4000), 0),
    "loop": (tuple(LOOP), 100, (200, 800), 1000),
    "defaults": (tuple(DEFAULTS), 100, (200, 800), 1000),
}
_QUICK = 30, (101, 150)
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
    check_names(study.parts, "part", tuple(PARTS), "the parts")
    questions = [
        {"part": part, "signal": signal, "names": list(PARTS[part][0]), "seed": study.seed, "draw": draw}
        | ({"quick": True} if study.quick else {})
        for draw in range(study.draws)
        for part in study.parts or PARTS
        for signal in SIGNALS
    ]
    answers = cells_on_workers(
        out / "cells",
        questions,
        _answer,
        jobs=study.jobs,
        tell=lambda asked, answer, done: tell(f"{_told(asked, answer)} ({done} of {len(questions)})"),
    )
    results = {
        "experiment": "slides",
        "environment": environment(),
        "asked": {"draws": study.draws, "seed": study.seed, "quick": study.quick},
        "signals": dict(SIGNALS),
        "candidates": {name: dict(one) for name, one in {**LOOP, **DEFAULTS}.items()},
        "rows": finite(_rows(questions, answers)),
    }
    write_json(out / "slides.json", results)
    write_text(out / "slides.md", tables(results))
    return results


def made(count: int, sizes: tuple[int, int], signal: float, seed: int, features: int = _FEATURES) -> Bags:
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
        Of a patch.

    Returns
    -------
    Bags
        Of float32; nobody is told of sites.

    Examples
    --------
    >>> made(6, (20, 40), signal=3.0, seed=0, features=8)
    <Bags: 6 bags of 22 to 40 instances (192 in all), each of shape (8,) float32; labels 0: 2, 1: 2, 2: 2>
    """
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(3, features))
    offs = (signal * directions / np.linalg.norm(directions, axis=1, keepdims=True)).astype(np.float32)
    offs[0] = 0
    shifts = rng.normal(scale=0.5, size=(3, features)).astype(np.float32)
    labels, arrays = np.arange(count) % 3, []
    for label in labels:
        patches = rng.standard_normal((rng.integers(*sizes, endpoint=True), features), dtype=np.float32)
        patches += shifts[rng.integers(3)]
        patches[: round(0.05 * len(patches))] += offs[label]
        arrays.append(patches)
    return Bags.from_arrays(arrays, labels=labels)


def _answer(question: Mapping[str, Any]) -> dict[str, Any]:
    """Train everybody of a part on the same slides, one after the other, and ask them about the same fresh ones."""
    _, count, sizes, first = PARTS[question["part"]]
    if question.get("quick"):
        count, sizes = _QUICK
    fresh = min(count, _FRESH)
    seed = 10_000 * question["seed"] + first + question["draw"]
    bags = made(count + fresh, sizes, SIGNALS[question["signal"]], seed)
    learnt, asked = bags[:count], bags[count:]
    assert learnt.labels is not None
    assert asked.labels is not None
    target = ClassTarget.of(learnt.labels)
    found: dict[str, dict[str, float]] = {}
    for name in question["names"]:
        begin = time.process_time()
        if name in LOOP:
            predict, epochs = plain_loop(learnt, question["draw"], **LOOP[name])
        else:
            model = AttentionMIL(random_state=question["draw"], **DEFAULTS.get(name, {})).fit(learnt)
            predict, epochs = model.predict_proba, len(model.history_)
        seconds = time.process_time() - begin
        scores = measure(target, asked.labels, predict(asked), scoring=("auc",))
        found[name] = {**scores, "seconds": round(seconds, 1), "epochs": epochs}
    return {"found": found}


def _told(question: Mapping[str, Any], answer: Mapping[str, Any]) -> str:
    said = [f"{name} {short(one['auc'])} in {one['seconds']:.0f} s" for name, one in answer["found"].items()]
    return f"{question['part']}, {question['signal']}, draw {question['draw'] + 1}: {'; '.join(said)}"


def _rows(questions: Sequence[Mapping[str, Any]], answers: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Sum up the draws of each part and signal: of each name and metric the mean, and by how much the loop is less."""
    rows = []
    for part, signal in dict.fromkeys((asked["part"], asked["signal"]) for asked in questions):
        of = zip(questions, answers, strict=True)
        draws = [answer["found"] for asked, answer in of if (asked["part"], asked["signal"]) == (part, signal)]
        for name in draws[0]:
            for metric in MEASURED:
                values = np.array([draw[name][metric] for draw in draws], dtype=np.float64)
                row = {"part": part, "signal": signal, "name": name, "metric": metric, "draws": len(draws)}
                row |= _mean_of(values)
                if part == "compared" and name != "loop":
                    less = _mean_of(values - [draw["loop"][metric] for draw in draws])
                    row |= {"above": less["mean"], "se_above": less["se_draws"]}
                rows.append(row)
    return rows


def _mean_of(values: NDArray[np.float64]) -> dict[str, float]:
    several = len(values) > 1
    return {
        "mean": float(values.mean()),
        "se_draws": float(values.std(ddof=1) / np.sqrt(len(values))) if several else np.nan,
    }


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
    >>> row = {"part": "loop", "signal": "clear", "name": "loop", "metric": "auc", "mean": 0.9}
    >>> print(tables({"rows": [row]}))
    | loop: AUC | clear | mean |
    |---|---|---|
    | loop | .900 | .900 |
    <BLANKLINE>
    """
    shown = []
    for part in dict.fromkeys(row["part"] for row in results["rows"]):
        of_part = [row for row in results["rows"] if row["part"] == part]
        if part == "compared":
            shown.append(_compared(of_part))
            continue
        for metric, title in MEASURED.items():
            rows = [row for row in of_part if row["metric"] == metric]
            means = {(row["name"], row["signal"]): row["mean"] for row in rows}
            if rows:
                names, digits = list(dict.fromkeys(name for name, _ in means)), 3 if metric == "auc" else 0
                shown.append(means_table(f"{part}: {title}", names, means, digits))
    return "\n".join(shown)


def _compared(rows: Sequence[Mapping[str, Any]]) -> str:
    by = {(row["signal"], row["name"], row["metric"]): row for row in rows}
    lines = []
    for signal, name in dict.fromkeys((row["signal"], row["name"]) for row in rows):
        auc, seconds, epochs = (by[signal, name, metric] for metric in MEASURED)
        above = signed(auc["above"]) if "above" in auc else ""
        if auc.get("se_above") is not None:
            above += f" ± {short(auc['se_above'])}"
        told = with_error(auc["mean"], auc["se_draws"])
        lines.append([signal, name, auc["draws"], told, above, *(f"{one['mean']:.0f}" for one in (seconds, epochs))])
    heads = ["signal", "trained by", "draws", "AUC ± SE", "above the loop", "CPU seconds", "epochs"]
    return markdown_table(heads, lines)
