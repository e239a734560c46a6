"""How defaults were chosen: candidates on development sets, measured within training bags alone."""

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bagwise.bags import Bags
from bagwise.checks import check_count, check_names, check_seed
from bagwise.claims import claims_folder
from bagwise.commands.data import digest_of_labelled
from bagwise.commands.runs import write_json
from bagwise.datasets.classical import read_classical
from bagwise.datasets.known_answers import known_answer_bags
from bagwise.datasets.problems import PROBLEMS
from bagwise.datasets.store import data_directory
from bagwise.errors import BagwiseError
from bagwise.evaluation.metrics import measure
from bagwise.evaluation.out_of_fold import out_of_fold
from bagwise.evaluation.protocol import Folds
from bagwise.evaluation.summary import summary
from bagwise.experiments.cells import OLDER, cell, environment, finite
from bagwise.experiments.markdown import means_table
from bagwise.experiments.options import Defaults
from bagwise.files import write_text
from bagwise.methods.base import BagEstimator
from bagwise.methods.neural import NeuralMIL
from bagwise.methods.recipes import PAPER
from bagwise.methods.registry import find, make
from bagwise.targets.classes import ClassTarget

__all__ = ["CANDIDATES", "DATASETS", "MEASURED", "made", "run_defaults", "tables"]

MEASURED = ("auc", "accuracy", "log_loss")
_PAPER = {**PAPER, "standardize": True}
_BALANCED = {**_PAPER, "class_weight": "balanced"}
_CLIPPED = {**_BALANCED, "clip": 3.0}
_SQUASHED = {**_BALANCED, "standardize": "log"}
_STOPPED = {**_SQUASHED, "epochs": None, "patience": "auto"}
# What a method is tried with, on top of the paper's settings for vectors. ``steps`` are no parameter: epochs are then
# as many as make so many steps, and the paper's 50 at least.
CANDIDATES: Mapping[str, Mapping[str, Any]] = {
    "paper": _PAPER,
    "balanced": _BALANCED,
    "balanced, clipped at 3": _CLIPPED,
    "balanced, clipped at 3, 2,000 steps": {**_CLIPPED, "steps": 2_000},
    "balanced, clipped at 3, 5,000 steps": {**_CLIPPED, "steps": 5_000},
    "balanced, clipped at 3, 10,000 steps": {**_CLIPPED, "steps": 10_000},
    "balanced, clipped at 3, Adam": {**_CLIPPED, "optimizer": "adam"},
    "balanced, log": _SQUASHED,
    "balanced, log, 2,000 steps": {**_SQUASHED, "steps": 2_000},
    "balanced, log, Adam": {**_SQUASHED, "optimizer": "adam"},
    "balanced, log, Adam, 8 bags a step, 1,000 steps": {
        **_SQUASHED,
        **{"optimizer": "adam", "learning_rate": 1e-3, "bags_per_step": 8, "steps": 1_000},
    },
    "stopped": {**_STOPPED, "optimizer": "sgd", "learning_rate": 5e-4, "bags_per_step": 1},
    "stopped, Adam, 8 bags a step": {**_STOPPED, "optimizer": "adam", "learning_rate": 1e-3, "bags_per_step": 8},
    "stopped, Adam, 16 bags a step": {**_STOPPED, "optimizer": "adam", "learning_rate": 2e-3, "bags_per_step": 16},
}
# In files, the classical five and those of `mil_sets`; what is made up here; and digits whose answer is known.
_MADE = (*(f"made-few-{draw}" for draw in range(1, 10)), "made-rare")
DATASETS = (
    "musk1",
    "musk2",
    "fox",
    "tiger",
    "elephant",
    "mutag_atoms",
    "news2",
    "birds_hammonds",
    "corel_dogs",
    *_MADE,
    "four_digits",
)


@claims_folder("reproduce", older=OLDER)
def run_defaults(out: Path, study: Defaults, *, tell: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Cross-validate candidates for the defaults of a method within the training bags of development sets.

    Of each set the test bags of the first of ten folds are put aside, and never looked at; the rest is divided anew.

    Parameters
    ----------
    out
        The folder for ``defaults.json``, ``defaults.md`` and, set by set, ``cells/``.
    study
        Of which method, on which sets, and how often.
    tell
        Is told of each finished set.

    Returns
    -------
    dict
        What is in ``defaults.json``: ``rows``, one a set, candidate and metric.

    Raises
    ------
    BagwiseError
        If a parameter will not do, a data set is missing, or the folder is in use.
    """
    check_seed(study.seed)
    check_count("--folds", study.folds)
    check_count("--repeats", study.repeats)
    check_names(study.datasets, "data set", DATASETS, "the development sets")
    if not issubclass(find(study.method)[0], NeuralMIL):
        raise BagwiseError(f"{study.method} is no neural method: the candidates are settings of these")
    asked = {"method": study.method, "folds": study.folds, "repeats": study.repeats, "seed": study.seed}
    check_names(study.candidates, "candidate", tuple(CANDIDATES), "the candidates")
    told = {name: dict(CANDIDATES[name]) for name in study.candidates or CANDIDATES}
    rows: list[dict[str, Any]] = []
    for dataset in study.datasets or DATASETS:
        bags = _development(dataset, study)
        question = {**asked, "dataset": dataset, "digest": digest_of_labelled(bags), "candidates": told}
        answer = cell(out / "cells", question, partial(_measured, bags, study, told))
        for name, scores in answer["scores"].items():
            for metric, values in scores.items():
                found = summary(np.array(values, dtype=np.float64))
                rows.append(finite({"dataset": dataset, "candidate": name, "metric": metric, **found}))
        tell(f"{dataset}: {len(bags)} bags, {answer['seconds']:.0f} s")
    results = {
        "experiment": "defaults",
        "environment": environment(),
        "asked": asked,
        "candidates": told,
        "protocol": "within the training bags of the first of ten folds",
        "rows": rows,
    }
    write_json(out / "defaults.json", results)
    write_text(out / "defaults.md", tables(results))
    return results


def made(name: str, seed: int = 0) -> Bags:
    """Make a set that real ones do not stand for: of very few bags, or with few positive ones among many.

    Parameters
    ----------
    name
        ``"made-few-1"`` to ``"made-few-9"``: 40 bags, half of them with an instance that is off in two of ten features.
        ``"made-rare"``: 500 bags such as a customer's payments, of which one in seventeen holds one that is off in
        three of eight features; another one has a long tail and says nothing.
    seed
        Decides what is drawn.

    Returns
    -------
    Bags

    Examples
    --------
    >>> made("made-few-1")
    <Bags: 40 bags of 3 to 12 instances (334 in all), each of shape (10,) float64; labels 0: 20, 1: 20>
    """
    rare = name == "made-rare"
    rng = np.random.default_rng([seed, *([] if rare else [int(name[-1])])])
    count, features, most, every = (500, 8, 25, 17) if rare else (40, 10, 13, 2)
    arrays = []
    labels = (np.arange(count) % every == 0).astype(np.int64)
    for label in labels:
        instances = rng.normal(size=(rng.integers(3, most), features))
        instances[0, 1 : 4 if rare else 3] += 2.0 * label
        if rare:
            instances[:, 0] = np.exp(1.5 * instances[:, 0])
        arrays.append(instances)
    return Bags.from_arrays(arrays, labels=labels)


def _development(dataset: str, study: Defaults) -> Bags:
    if dataset in _MADE:
        bags = made(dataset, study.seed)
    elif dataset in PROBLEMS:
        bags = known_answer_bags(dataset, 500, seed=study.seed, directory=study.data_dir)
    else:
        folder = data_directory(study.data_dir)
        own = folder / dataset / f"{dataset}.npz"
        bags = read_classical(own if own.exists() else folder / "mil_sets" / f"{dataset}.npz", dataset)
    return bags[Folds(bags, 10, 1, study.seed).splits[0].train]


def _measured(bags: Bags, study: Defaults, candidates: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    begin = time.perf_counter()
    assert bags.labels is not None
    target = ClassTarget.of(bags.labels)
    division = Folds(bags, study.folds, study.repeats, study.seed)
    tried = [(name, split) for name in candidates for split in division.splits]
    models = [_model(study.method, candidates[name], len(split.train), study.seed) for name, split in tried]
    # Candidates that differ in their steps alone are often the same.
    alike = [(repr(model), split.repeat, split.fold) for model, (_, split) in zip(models, tried, strict=True)]
    once = {what: number for number, what in enumerate(alike)}
    chosen = list(once.values())
    answers = out_of_fold(
        [models[number] for number in chosen], bags, [tried[number][1] for number in chosen], target, n_jobs=study.jobs
    )
    said = [dict(zip(once, answers, strict=True))[what] for what in alike]
    scores = {name: {metric: np.zeros((study.repeats, study.folds)) for metric in MEASURED} for name in candidates}
    for (name, split), one in zip(tried, said, strict=True):
        found = measure(target, bags.labels[split.test], one.in_columns_of(target), scoring=MEASURED)
        for metric, value in found.items():
            scores[name][metric][split.repeat, split.fold] = value
    return {"scores": scores, "seconds": round(time.perf_counter() - begin, 1)}


def _model(method: str, candidate: Mapping[str, Any], bags: int, seed: int) -> BagEstimator:
    own = {"epochs": 50} | {name: value for name, value in candidate.items() if name != "steps"}
    if "steps" in candidate:
        an_epoch = -(-bags // own.get("bags_per_step", 1))
        own["epochs"] = max(50, -(-candidate["steps"] // an_epoch))
    return make(method, random_state=seed, **own)


def tables(results: Mapping[str, Any]) -> str:
    """Show results as Markdown: of each metric a table, and the mean over the sets.

    Parameters
    ----------
    results
        As `run_defaults` gives them.

    Returns
    -------
    str
        Markdown.

    Examples
    --------
    >>> row = {"dataset": "fox", "candidate": "paper", "metric": "auc", "mean": 0.6}
    >>> print(tables({"rows": [row]}))
    | AUC | fox | mean |
    |---|---|---|
    | paper | .600 | .600 |
    <BLANKLINE>
    """
    titles = {"auc": "AUC", "accuracy": "accuracy", "log_loss": "log-loss"}
    shown = []
    for metric in (metric for metric in MEASURED if any(row["metric"] == metric for row in results["rows"])):
        means = {(row["candidate"], row["dataset"]): row["mean"] for row in results["rows"] if row["metric"] == metric}
        shown.append(means_table(titles[metric], list(dict.fromkeys(name for name, _ in means)), means))
    return "\n".join(shown)
