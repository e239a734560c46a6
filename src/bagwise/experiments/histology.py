"""Tables 2 and 3 of the paper: six methods on the breast and the colon images (section 4.3)."""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bagwise.bags import Bags
from bagwise.checks import check_count, check_names, check_seed
from bagwise.claims import claims_folder
from bagwise.commands.data import digest_of_labelled
from bagwise.commands.runs import write_json
from bagwise.datasets.histology import EPITHELIAL, breast_cancer, colon_cancer
from bagwise.datasets.store import data_directory
from bagwise.errors import BagwiseError
from bagwise.evaluation.key_instances import key_instance_metrics
from bagwise.evaluation.metrics import CLASS_METRICS, bag_metrics
from bagwise.evaluation.pooled import pooled
from bagwise.evaluation.protocol import Folds
from bagwise.evaluation.summary import standard_error
from bagwise.experiments.cells import OLDER, cells_on_workers, environment, finite
from bagwise.experiments.markdown import intervals_table, markdown_table, short, with_error
from bagwise.experiments.options import Tissue
from bagwise.experiments.paper import TABLE2, TABLE3
from bagwise.explain.instances import explain
from bagwise.explain.rescaling import rescaled_in_bags
from bagwise.files import write_text
from bagwise.io.image_files import read_image
from bagwise.methods.neural import NeuralMIL
from bagwise.methods.recipes import PAPER
from bagwise.methods.registry import make
from bagwise.reports.heatmap import draw_heatmap
from bagwise.targets.classes import ClassTarget

__all__ = ["METHODS", "TABLES", "HistologyTable", "run_figure5", "run_histology", "tables"]

METHODS = ("attention", "gated-attention", "embedding-mean", "embedding-max", "instance-max", "instance-mean")
REPEATS = {"attention": 3}  # the others once: a repetition of a method takes minutes to an hour
# Around the patches of the colon set, so that they can be cut at another place: three standard deviations.
_MARGIN = 9


class HistologyTable(NamedTuple):
    """What one of the two tables is about.

    Attributes
    ----------
    dataset
        Its set, by name.
    paper
        What the paper prints.
    settings
        Of the estimators.

    Examples
    --------
    >>> TABLES["table3"].dataset
    'colon_cancer'
    """

    dataset: str
    paper: Mapping[str, Mapping[str, tuple[float, float]]]
    settings: Mapping[str, Any]


TABLES = {
    "table2": HistologyTable("breast_cancer", TABLE2, {"augmentation": "tissue"}),
    "table3": HistologyTable("colon_cancer", TABLE3, {"augmentation": "tissue", "crop": 27}),
}


@claims_folder("reproduce", older=OLDER)
def run_histology(
    out: Path, name: str, study: Tissue, *, tell: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """Cross-validate methods on images of tissue and put the paper's numbers beside what comes out.

    The predictions of all folds of a repetition are put together and measured once: a test fold of six or ten images
    says little by itself.

    Parameters
    ----------
    out
        The folder for ``NAME.json``, ``NAME.md`` and, fold by fold, ``cells/``.
    name
        Of `TABLES`.
    study
        What is measured, and how.
    tell
        Is told of each finished fold.

    Returns
    -------
    dict
        What is in ``NAME.json``: ``rows``, a method and metric each (the ``mean`` over repetitions, and apart from it
        ``pooled``, of all their answers together, with its 95 % interval, in which images of a block of tissue stay
        together); among them the loss of the last epoch.

    Raises
    ------
    BagwiseError
        If a parameter will not do, the images are missing, or the folder is in use.
    """
    check_seed(study.seed)
    check_count("--epochs", study.epochs)
    table = TABLES[name]
    check_names(study.methods, "method", METHODS, "the table")
    if study.protocol not in ("default", "grouped"):
        raise BagwiseError(f"there is no protocol {study.protocol!r}: choose 'default' or 'grouped'")
    if study.protocol == "grouped" and table.dataset != "breast_cancer":
        raise BagwiseError("nobody knows which patient an image of the colon set is from: use the protocol 'default'")
    directory = str(data_directory(study.data_dir))
    bags = _load(table.dataset, directory)
    methods = study.methods or METHODS
    times = {method: REPEATS.get(method, 1) if study.repeats is None else study.repeats for method in methods}
    division = _division(bags, study.protocol, study.folds, max(times.values()), study.seed)
    settings = {**table.settings, "epochs": study.epochs, "sample": study.sample}
    about = _about(table, bags, settings, division)
    # A repetition of one method after the other: what is there after a stop is whole.
    questions = [
        {**about, "method": method, "repetition": repetition, "fold": fold}
        for repetition in range(division.repeats)
        for method in methods
        for fold in range(study.folds)
        if repetition < times[method]
    ]
    found = _answered(out, questions, directory, study.jobs, tell)
    rows = []
    for method in methods:
        answers = [answer for question, answer in zip(questions, found, strict=True) if question["method"] == method]
        parts = [answers[begin : begin + study.folds] for begin in range(0, len(answers), study.folds)]
        rows += _rows(method, table, bags, division, parts)
    results: dict[str, Any] = finite(
        {
            "experiment": name,
            "environment": environment(),
            "asked": {
                "protocol": study.protocol,
                "folds": study.folds,
                "repeats": times,
                "seed": study.seed,
                **settings,
            },
            "rows": rows,
        }
    )
    write_json(out / f"{name}.json", results)
    write_text(out / f"{name}.md", tables(results))
    return results


@claims_folder("reproduce", older=OLDER)
def run_figure5(out: Path, study: Tissue, *, tell: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Draw a positive image of each set, and its patches multiplied by what they count, as the paper's figure 5 does.

    It is the first positive image of the first test fold, so that nobody chose it for its looks; the models are those
    of that fold, and never saw it.

    Parameters
    ----------
    out
        The folder for ``figure5-DATASET.png``, ``figure5.json`` and ``cells/``, which `run_histology` can share.
    study, tell
        As in `run_histology`.

    Returns
    -------
    dict
        What is in ``figure5.json``: for each set the image's name, its probability from each method, and, for the
        colon set, how well each of them ranks the epithelial nuclei of this image.

    Raises
    ------
    BagwiseError
        As `run_histology` does.
    """
    check_seed(study.seed)
    check_count("--epochs", study.epochs)
    directory = str(data_directory(study.data_dir))
    shown: dict[str, Any] = {}
    for table in TABLES.values():
        bags = _load(table.dataset, directory)
        division = _division(bags, "default", study.folds, 1, study.seed)
        settings = {**table.settings, "epochs": study.epochs, "sample": study.sample}
        about = _about(table, bags, settings, division)
        questions = [
            {**about, "method": method, "repetition": 0, "fold": 0} for method in ("attention", "instance-max")
        ]
        answers = _answered(out, questions, directory, study.jobs, tell)
        test = division.test_bags(0, 0)
        shown[table.dataset] = _draw_figure5(out, table, bags[test], answers, Path(directory))
    results: dict[str, Any] = finite({"experiment": "figure5", "environment": environment(), "images": shown})
    write_json(out / "figure5.json", results)
    return results


def _draw_figure5(
    out: Path, table: HistologyTable, test: Bags, answers: Sequence[Mapping[str, Any]], directory: Path
) -> dict[str, Any]:
    assert test.labels is not None
    assert test.coordinates is not None
    position = int(np.argmax(test.labels == 1))
    rows = slice(*test.offsets[position : position + 2])
    bag, name = test[[position]], str(test.names[position])
    crop = table.settings.get("crop")
    side = crop or test.instance_shape[0]
    margin = (test.instance_shape[0] - side) // 2
    values = {
        "attention": np.array(answers[0]["values"]["attention"])[rows],
        "instance-max": np.array(answers[1]["values"]["score"])[rows],
    }
    panels: dict[str, NDArray[Any]] = {"patches": np.ones(len(bag.instances))}
    told: dict[str, Any] = {"image": name}
    matters = None if bag.instance_labels is None else bag.instance_labels == EPITHELIAL
    if matters is not None:
        panels["epithelial nuclei"] = matters.astype(float)
    for (method, value), answer in zip(values.items(), answers, strict=True):
        panels[method] = rescaled_in_bags(value, bag.offsets)
        told[method] = {"probability": answer["probabilities"][position]}
        if matters is not None:
            told[method] |= key_instance_metrics(bag, value, matters, np.array([True]))
    image = read_image(directory / table.dataset / "images" / f"{name}.png")
    assert bag.coordinates is not None
    draw_heatmap(out / f"figure5-{table.dataset}.png", image, bag.coordinates + margin, side, panels)
    return told


def _about(table: HistologyTable, bags: Bags, settings: Mapping[str, Any], division: Folds) -> dict[str, Any]:
    """Say what all folds of a table have in common."""
    return {
        "dataset": table.dataset,
        "digest": digest_of_labelled(bags),
        "settings": settings,
        "protocol": division.name,
        "folds": division.folds,
        "seed": division.seed,
    }


def _answered(
    out: Path, questions: Sequence[Mapping[str, Any]], directory: str, jobs: int, tell: Callable[[str], None]
) -> list[dict[str, Any]]:
    def told(question: Mapping[str, Any], answer: Mapping[str, Any], done: int) -> None:
        tell(
            f"{question['method']} on {question['dataset']}, repetition {question['repetition'] + 1}, fold"
            f" {question['fold'] + 1}: {answer['seconds']:.0f} s ({done} of {len(questions)})"
        )

    measure = partial(_measure, directory=directory)
    return cells_on_workers(out / "cells", questions, measure, jobs=jobs, tell=told)


@lru_cache(maxsize=1)
def _load(dataset: str, directory: str) -> Bags:
    folder = Path(directory) / dataset
    return colon_cancer(folder, margin=_MARGIN) if dataset == "colon_cancer" else breast_cancer(folder)


def _division(bags: Bags, protocol: str, folds: int, repeats: int, seed: int) -> Folds:
    groups = bags.groups if protocol == "grouped" else None
    return Folds(Bags(bags.instances, bags.offsets, bags.labels, bags.names, groups), folds, repeats, seed)


def _measure(question: Mapping[str, Any], directory: str) -> dict[str, Any]:
    begin = time.perf_counter()
    bags = _load(question["dataset"], directory)
    repetition, fold = question["repetition"], question["fold"]
    division = _division(bags, question["protocol"], question["folds"], repetition + 1, question["seed"])
    model = make(question["method"], random_state=question["seed"], **PAPER, **question["settings"])
    assert isinstance(model, NeuralMIL)
    model.fit(bags[division.training_bags(repetition, fold)])
    said = explain([model], bags[division.test_bags(repetition, fold)])
    values = {"score": said.scores} if said.weights is None else {"attention": said.weights, "score": said.scores}
    return {
        "probabilities": said.probabilities[:, 1].tolist(),
        "values": {kind: np.round(value.astype(float), 8).tolist() for kind, value in values.items()},
        "losses": [entry["loss"] for entry in model.history_],
        "seconds": round(time.perf_counter() - begin, 1),
    }


def _rows(
    method: str, table: HistologyTable, bags: Bags, division: Folds, parts: Sequence[Sequence[Mapping[str, Any]]]
) -> list[dict[str, Any]]:
    """Put a method's folds together: `parts` has its answers by repetition and fold."""
    assert bags.labels is not None
    classes = np.unique(bags.labels)
    said = np.empty((len(parts), len(bags), 2))
    by_repetition: list[dict[str, float]] = []
    by_fold: list[dict[str, float]] = []
    of_instances: dict[tuple[str, str], list[float]] = {}
    for repetition, answers in enumerate(parts):
        values = {kind: np.empty(len(bags.instances)) for kind in answers[0]["values"]}
        for fold, answer in enumerate(answers):
            test = division.test_bags(repetition, fold)
            positive = np.array(answer["probabilities"])
            said[repetition, test] = np.stack([1 - positive, positive], axis=1)
            by_fold.append(bag_metrics(bags.labels[test], said[repetition, test], classes))
            for kind, value in values.items():
                value[bags.rows(test)] = answer["values"][kind]
        by_repetition.append(bag_metrics(bags.labels, said[repetition], classes))
        if bags.instance_labels is not None:
            matters = bags.instance_labels == EPITHELIAL
            for kind, value in values.items():
                for metric, one in key_instance_metrics(bags, value, matters, bags.labels == 1).items():
                    of_instances.setdefault((metric, kind), []).append(one)
    seconds = float(np.sum([answer["seconds"] for answer in parts[0]]))
    about = {"dataset": table.dataset, "method": method}
    protocol = {"folds": division.folds, "repeats": len(parts), "protocol": division.name, "seconds": seconds}
    together = pooled(
        ClassTarget.of(bags.labels),
        bags.labels,
        division.assignment[: len(parts)],
        said,
        scoring={metric: metric for metric in CLASS_METRICS},
        groups=bags.groups,
    )
    rows = []
    for metric in CLASS_METRICS:
        folds = np.array([one[metric] for one in by_fold])
        known = folds[np.isfinite(folds)]
        row = {**about, "metric": metric, **_mean([one[metric] for one in by_repetition])}
        row |= together[metric].told()
        row["sd_folds"] = float(known.std(ddof=1)) if len(known) > 1 else np.nan
        paper = table.paper[method][metric][0]
        rows.append({**row, **protocol, "paper": paper, "difference": row["mean"] - paper})
    # Whether so many epochs were enough.
    losses = np.array([[answer["losses"][-1] for answer in answers] for answers in parts])
    spread = {"sd_folds": float(losses.std(ddof=1))}
    rows.append({**about, "metric": "training_loss", **_mean(losses.mean(axis=1).tolist()), **spread, **protocol})
    for (metric, kind), several in of_instances.items():
        rows.append({**about, "metric": metric, "of": kind, **_mean(several), "sd_folds": np.nan, **protocol})
    return rows


def _mean(values: Sequence[float]) -> dict[str, Any]:
    return {"mean": float(np.mean(values)), "se_repeats": standard_error(values), "values": list(values)}


def tables(results: Mapping[str, Any]) -> str:
    """Show results as Markdown: each metric beside the paper's, intervals, and how instances were found.

    Parameters
    ----------
    results
        As `run_histology` gives them.

    Returns
    -------
    str
        Markdown.

    Examples
    --------
    >>> row = {"method": "attention", "metric": "auc", "mean": 0.97, "se_repeats": None, "paper": 0.968}
    >>> print(tables({"rows": [row]}))
    | method | auc |
    |---|---|
    | attention | .970 (.968) |
    <BLANKLINE>
    """
    parts = []
    of_bags = [row for row in results["rows"] if "of" not in row]
    parts.append(_table(of_bags, lambda row: row["method"]))
    parts.append(intervals_table("pooled, 95 % interval", {(row["method"], row["metric"]): row for row in of_bags}))
    of_instances = [row for row in results["rows"] if "of" in row]
    if of_instances:
        by = {"attention": "weight", "score": "score"}
        parts.append(_table(of_instances, lambda row: f"{row['method']}, by {by[row['of']]}"))
    return "\n".join(part for part in parts if part)


def _table(rows: Sequence[Mapping[str, Any]], name: Callable[[Mapping[str, Any]], str]) -> str:
    metrics = list(dict.fromkeys(row["metric"] for row in rows))
    cells = {(name(row), row["metric"]): row for row in rows}
    lines = [
        [method, *(_cell(cells[method, metric]) for metric in metrics)]
        for method in dict.fromkeys(method for method, _ in cells)
    ]
    return markdown_table(["method", *(metric.replace("_", " ") for metric in metrics)], lines)


def _cell(row: Mapping[str, Any]) -> str:
    told = with_error(row["mean"], row["se_repeats"])
    return f"{told} ({short(row['paper'])})" if "paper" in row else told
