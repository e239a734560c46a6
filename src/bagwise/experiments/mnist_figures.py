"""Figures 1 to 4 of the paper and the tables behind them: what is made of the cells of MNIST-bags."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bagwise.checks import check_count, check_names, check_seed
from bagwise.claims import claims_folder
from bagwise.commands.runs import write_json
from bagwise.errors import BagwiseError
from bagwise.evaluation.summary import summary
from bagwise.experiments.cells import OLDER, cell, environment, finite
from bagwise.experiments.markdown import markdown_table, short, signed, with_error
from bagwise.experiments.mnist_bags import (
    GRID,
    METHODS,
    SEEDS,
    TARGET,
    VARIANCES,
    Sweep,
    answers,
    choose_svm,
    digest_of_digits,
    draw_bags,
)
from bagwise.experiments.mnist_findings import findings
from bagwise.experiments.options import Digits
from bagwise.files import write_text
from bagwise.methods.families import AttentionMIL
from bagwise.methods.recipes import PAPER
from bagwise.reports.curves import Curve, draw_curves
from bagwise.reports.strip import draw_strip

__all__ = ["FIGURES", "run_figure4", "run_mnist_bags", "tables"]

FIGURES = {"figure1": (10,), "figure2": (50,), "figure3": (100,), "mnist-bags": (10, 50, 100)}
EPOCHS = 40
_SEED_GRID = {50: 3, 200: 3, 500: 1}
# Of larger bags, MI-SVM, which takes longest, learns from one training set of each number.
_AT_MOST = {10: {"MI-SVM": 5}, 50: {"MI-SVM": 1}, 100: {"MI-SVM": 1}}
_TEST_BAGS, _SVM_BAGS = 1000, 200
# A small version of the whole.
_QUICK_GRID = {10: {50: 1, 100: 1}, 50: {10: 1}, 100: {5: 1}}
_QUICK_EPOCHS, _QUICK_TEST_BAGS, _QUICK_SVM_BAGS = 8, 50, 50
# Figure 4 shows the first positive test bag of as many images as the paper's.
_SHOWN_SIZE, _SHOWN_TRAINING_BAGS = 13, 200
_DELETION_BAGS = (50, 200)


@claims_folder("reproduce", older=OLDER)
def run_mnist_bags(
    out: Path,
    name: str,
    study: Digits,
    *,
    source: str = "full",
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Train methods on ever more bags of digits, and measure what they say of test bags and of instances.

    Parameters
    ----------
    out
        The folder for ``NAME.json``, ``NAME.md``, ``figureN.png`` and, cell by cell, ``cells/``.
    name
        Of `FIGURES`: one of the paper's, or all of them.
    study
        Which methods of `bagwise.experiments.mnist_bags.METHODS`, and how many bags of
        `bagwise.experiments.mnist_bags.GRID`.
    source
        As `bagwise.datasets.load_digits` takes it.
    tell
        Is told of each finished cell.

    Returns
    -------
    dict
        What is in ``NAME.json``: ``rows`` (a mean bag size, number of training bags, method and metric each) and
        ``findings`` (the paper's statements, with a test of each).

    Raises
    ------
    BagwiseError
        If a parameter will not do, MNIST is missing, or the folder is in use.
    """
    check_seed(study.seed)
    epochs = _epochs(study.epochs, study.quick)
    for count in study.training_bags:
        check_count("--bags", count)
    if study.repeats is not None:
        check_count("--repeats", study.repeats)
    check_names(study.methods, "method", METHODS, "MNIST-bags")
    test_bags = _QUICK_TEST_BAGS if study.quick else _TEST_BAGS
    common: dict[str, Any] = {"epochs": epochs, "test_bags": test_bags, "seed": study.seed, "source": source}
    sweeps = []
    for mean_size in FIGURES[name]:
        grid = _repeats((_QUICK_GRID if study.quick else GRID)[mean_size], study.training_bags, study.repeats)
        sweeps.append(Sweep(mean_size, grid, _AT_MOST[mean_size], study.methods or METHODS, **common))
        seeds = {count: min(several, grid[count]) for count, several in _SEED_GRID.items() if count in grid}
        if mean_size == 10 and seeds and not study.methods:
            sweeps.append(Sweep(mean_size, seeds, {}, (SEEDS,), **common))
    digest = digest_of_digits(source, study.data_dir)
    cells = out / "cells"
    with_svm = "MI-SVM" in (study.methods or METHODS)
    svm_bags = _QUICK_SVM_BAGS if study.quick else _SVM_BAGS
    svm = choose_svm(cells, svm_bags, study.seed, source, digest, study.data_dir, study.jobs) if with_svm else None
    questions = [question for sweep in sweeps for question in sweep.questions(svm, digest)]
    found = answers(questions, cells, jobs=study.jobs, directory=study.data_dir, tell=tell)
    rows = _rows(questions, found)
    results: dict[str, Any] = finite(
        {
            "experiment": "mnist_bags",
            "environment": environment(),
            "asked": {
                "epochs": epochs,
                "test_bags": test_bags,
                "seed": study.seed,
                "quick": study.quick,
                "MI-SVM": svm,
            },
            "rows": rows,
            "findings": findings(rows),
        }
    )
    write_json(out / f"{name}.json", results)
    write_text(out / f"{name}.md", tables(results))
    _draw(rows, out)
    return results


@claims_folder("reproduce", older=OLDER)
def run_figure4(out: Path, study: Digits, *, source: str = "full") -> dict[str, Any]:
    """Draw a positive test bag with the weights of attention that was trained on 200 bags of mean size 10.

    It is the first positive test bag of 13 images, as many as the paper's figure 4 shows, so that nobody chose it for
    its weights.

    Parameters
    ----------
    out
        The folder for ``figure4.png`` and ``figure4.json``.
    study, source
        As in `run_mnist_bags`; quick learns from 50 bags.

    Returns
    -------
    dict
        What is in ``figure4.json``: ``digits``, ``weights`` and ``probability``.

    Raises
    ------
    BagwiseError
        If a parameter will not do, MNIST is missing, the folder is in use, or no positive test bag has 13 images.
    """
    check_seed(study.seed)
    epochs = _epochs(study.epochs, study.quick)
    question: dict[str, Any] = {
        "figure": 4,
        "mean_size": 10,
        "training_bags": 50 if study.quick else _SHOWN_TRAINING_BAGS,
        "repetition": 0,
        "test_bags": _TEST_BAGS,
        "epochs": epochs,
        "seed": study.seed,
        "source": source,
        "digits": digest_of_digits(source, study.data_dir),
    }
    train, test = draw_bags(question, study.data_dir)
    assert test.labels is not None
    fitting = np.flatnonzero((test.labels == 1) & (test.sizes == _SHOWN_SIZE))
    if not len(fitting):
        raise BagwiseError(f"no positive test bag has {_SHOWN_SIZE} images: take another --seed")
    shown = test[fitting[:1]]

    def answer() -> dict[str, Any]:
        model = AttentionMIL(epochs=question["epochs"], random_state=study.seed, **PAPER).fit(train)
        return {"weights": model.attention(shown), "probability": model.predict_proba(shown)[0, 1]}

    said = cell(out / "cells", question, answer)
    digits = shown.instance_labels
    assert digits is not None
    title = f"A positive test bag; attention gives it a probability of {said['probability']:.4f}. * marks a {TARGET}"
    draw_strip(out / "figure4.png", shown.instances[:], np.array(said["weights"]), digits == TARGET, title)
    results: dict[str, Any] = finite(
        {"experiment": "figure4", "environment": environment(), "asked": question, "digits": digits, **said}
    )
    write_json(out / "figure4.json", results)
    return results


def _repeats(grid: Mapping[int, int], training_bags: Sequence[int], repeats: int | None) -> dict[int, int]:
    """Say how many training sets to draw of each number of bags."""
    fewest = min(grid.values())
    return {count: grid.get(count, fewest) if repeats is None else repeats for count in training_bags or grid}


def _epochs(given: int | None, quick: bool) -> int:
    epochs = (_QUICK_EPOCHS if quick else EPOCHS) if given is None else given
    check_count("--epochs", epochs)
    return epochs


# ---- rows ---------------------------------------------------------------------------------------------------


def _rows(questions: Sequence[Mapping[str, Any]], found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    grouped: dict[tuple[int, int, str], list[Mapping[str, Any]]] = {}
    for question, answer in zip(questions, found, strict=True):
        key = question["mean_size"], question["training_bags"], question["method"]
        grouped.setdefault(key, []).append(answer)
    rows = []
    for (mean_size, bags, method), several in sorted(grouped.items(), key=lambda one: one[0][:2]):
        about = {"dataset": "mnist-bags", "mean_bag_size": mean_size, "training_bags": bags, "method": method}
        seconds = float(np.mean([one["seconds"] for one in several]))
        for metric, of, values, more in _measured(several):
            row = {**about, "metric": metric, **({"of": of} if of else {})}
            row |= summary(np.array(values, np.float64)[:, None])
            row |= {"protocol": "default", "seconds": round(seconds, 1), "values": values, **more}
            rows.append(row)
    return rows


def _measured(several: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, list[float], dict[str, Any]]]:
    """List metrics, what they are of, their value in each repetition, and what else is known of them."""
    first = several[0]
    listed: list[tuple[str, str, list[float], dict[str, Any]]] = []
    for metric in first["scores"]:
        listed.append((metric, "", [one["scores"][metric] for one in several], {}))
    for kind, metrics in first["instances"].items():
        for metric in metrics:
            listed.append((metric, kind, [one["instances"][kind][metric] for one in several], {}))
    for kind in first["instances"]:
        gains = [np.mean(np.subtract(one["deletion"]["random"], one["deletion"][kind])[1:]) for one in several]
        curves = {name: np.mean([one["deletion"][name] for one in several], axis=0) for name in (kind, "random")}
        more = {"curve": curves[kind].tolist(), "random_curve": curves["random"].tolist()}
        listed.append(("faithfulness", kind, [float(gain) for gain in gains], more))
    if "members" in first:
        listed.append(("member_auc", "", [float(np.mean(one["members"])) for one in several], {}))
        for metric in first["agreement"]:
            listed.append((metric, "", [one["agreement"][metric] for one in several], {}))
    return listed


# ---- tables and figures -------------------------------------------------------------------------------------


def tables(results: Mapping[str, Any]) -> str:
    r"""Show results as Markdown.

    Parameters
    ----------
    results
        As `run_mnist_bags` gives them.

    Returns
    -------
    str
        Tables of the findings and, at each mean bag size, of the AUC and of the instances.

    Examples
    --------
    >>> row = {"mean_bag_size": 10, "training_bags": 50, "method": "attention", "metric": "auc", "mean": 0.84,
    ...        "se_repeats": 0.01, "repeats": 20}
    >>> print(tables({"rows": [row], "findings": []}).replace("\N{NO-BREAK SPACE}", " "))
    ## Mean bag size 10
    <BLANKLINE>
    AUC:
    <BLANKLINE>
    | training bags | 50 |
    |---|---|
    | training sets | 20 |
    | attention | .840 ± .010 |
    <BLANKLINE>
    """
    parts = []
    if results["findings"]:
        lines = []
        for one in results["findings"]:
            holds = "yes" if one["holds"] else "**no**"
            p_value = "<.001" if one["p_value"] < 0.001 else short(one["p_value"])
            told = f"{one['says']} (weakest: {one['weakest']})"
            lines.append([told, holds, signed(one["difference"]), p_value, one["draws"]])
        table = markdown_table(["finding", "holds", "difference", "p", "draws"], lines)
        parts.append("## The paper's findings\n\n" + table)
    rows = results["rows"]
    for size in dict.fromkeys(row["mean_bag_size"] for row in rows):
        parts.append(f"## Mean bag size {size}\n")
        for metric, said in (
            ("auc", "AUC"),
            ("instance_auc", "Instance AUC within positive test bags"),
            ("instance_average_precision", "Average precision within positive test bags"),
            ("top1_hit_rate", "How often the highest of a positive test bag is a nine"),
            ("faithfulness", "Faithfulness"),
            ("same_first", "How often two members point at the same instance first"),
            ("rank_correlation", "Rank correlation of two members' weights within a bag"),
            ("member_auc", "AUC of a member alone"),
        ):
            of_metric = [row for row in rows if (row["mean_bag_size"], row["metric"]) == (size, metric)]
            if of_metric:
                parts.append(f"{said}:\n\n" + _table(of_metric, repeats=metric == "auc"))
    return "\n".join(parts)


def _table(of_metric: Sequence[Mapping[str, Any]], *, repeats: bool) -> str:
    cells = {(row["method"], row.get("of", ""), row["training_bags"]): row for row in of_metric}
    bags = sorted({row["training_bags"] for row in of_metric})
    lines: list[list[object]] = []
    if repeats:
        most = [max(row["repeats"] for row in of_metric if row["training_bags"] == count) for count in bags]
        lines.append(["training sets", *most])
    for method, of in dict.fromkeys((method, of) for method, of, _ in cells):
        found = [cells.get((method, of, count)) for count in bags]
        name = {"": method, "attention": f"{method}, by weight", "score": f"{method}, by score"}[of]
        lines.append([name, *("-" if row is None else with_error(row["mean"], row["se_repeats"]) for row in found)])
    return markdown_table(["training bags", *bags], lines)


def _draw(rows: Sequence[Mapping[str, Any]], out: Path) -> None:
    for number, size in enumerate(VARIANCES, start=1):
        lines: dict[str, Curve] = {}
        for method in METHODS:
            about = size, method, "auc"
            points = [row for row in rows if (row["mean_bag_size"], row["method"], row["metric"]) == about]
            if points:
                bars = [row["se_repeats"] for row in points]
                lines[method] = Curve([row["training_bags"] for row in points], [row["mean"] for row in points], bars)
        if lines:
            draw_curves(
                out / f"figure{number}.png",
                {f"mean bag size {size}": lines},
                x_label="training bags",
                y_label="test AUC (bars: standard error over training sets)",
            )
    panels: dict[str, dict[str, Curve]] = {}
    for row in rows:
        if (row["mean_bag_size"], row["metric"], row["method"]) != (10, "faithfulness", "attention"):
            continue
        if row["training_bags"] in _DELETION_BAGS:
            panel = panels.setdefault(f"{row['training_bags']} training bags", {})
            panel[f"by {row['of']}"] = Curve(range(len(row["curve"])), row["curve"])
            panel["at random"] = Curve(range(len(row["curve"])), row["random_curve"])
    if panels:
        draw_curves(
            out / "deletion.png",
            panels,
            x_label="instances removed",
            y_label="mean probability of positive test bags",
        )
