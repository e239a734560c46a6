"""How well methods solve problems with a known answer, and whether they point at what speaks for and against it."""

import inspect
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bagwise.bags import Bags
from bagwise.checks import check_count, check_names, check_seed
from bagwise.claims import claims_folder
from bagwise.commands.runs import write_json
from bagwise.datasets.known_answers import KNOWN_ANSWERS, evidence, known_answer_bags
from bagwise.datasets.shifted_mean import shifted_mean_posterior
from bagwise.errors import BagwiseError
from bagwise.evaluation.evidence import evidence_metrics
from bagwise.evaluation.key_instances import key_instance_metrics
from bagwise.evaluation.metrics import bag_metrics
from bagwise.experiments.cells import OLDER, answered, environment, finite
from bagwise.experiments.markdown import markdown_table, short, with_error
from bagwise.experiments.options import Answers
from bagwise.files import write_text
from bagwise.methods.base import BagEstimator
from bagwise.methods.registry import METHODS, find, make

__all__ = ["COUNTS", "KNOWING", "MEASURED", "TESTED", "by_class", "run_known_answers", "tables"]

# Bags to learn from, to stop by, and fresh ones.
COUNTS: Mapping[str, tuple[int, int, int]] = {
    **dict.fromkeys(("four_bags", "pos_neg", "adjacent_pairs", "side_by_side"), (2000, 500, 1000)),
    "four_digits": (500, 125, 1000),
    "shifted_mean": (1000, 250, 5000),
}
MEASURED = {
    "auc": "AUC ± SE",
    "accuracy": "accuracy",
    "weights_auprc_2": "AUPRC-2 by weights",
    "contributions_auprc_2": "by contributions",
    "scores_auprc_2": "by scores",
    "chance": "by chance",
    "weights_auc": "own class by weights",
    "contributions_auc": "by contributions",
    "scores_auc": "by scores",
    "seconds": "CPU seconds",
}
# Of `shifted_mean`, whoever knows the problem, with and without the order of instances.
KNOWING = {"Bayes": True, "Bayes, as a set": False}
_SETTINGS = {"epochs": 100, "patience": 10}  # of methods that are shown validation bags
_FIRST_SEED = 10_000
_VALUES = {"weights": "attention", "contributions": "contributions", "scores": "instance_scores"}


def _stops(kind: type[BagEstimator]) -> bool:
    """Say whether a method is shown validation bags."""
    return "validation" in inspect.signature(kind.fit).parameters


TESTED = tuple(name for name, (kind, _) in METHODS.items() if _stops(kind) or not kind.SEES_INSTANCES)


@claims_folder("reproduce", older=OLDER)
def run_known_answers(out: Path, study: Answers, *, tell: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Measure methods on fresh bags of the problems of `bagwise.datasets.known_answers`.

    A method that stops by validation bags is given those of the problem, at most 100 epochs, and a patience of 10; all
    else are its defaults. Digits are shown as `bagwise.datasets.strokes` describes them, so that a fit takes seconds.

    Parameters
    ----------
    out
        The folder for ``known_answers.json``, ``known_answers.md`` and, cell by cell, ``cells/``.
    study
        Which methods and problems, and how many draws.
    tell
        Is told of each finished cell.

    Returns
    -------
    dict
        What is in ``known_answers.json``: ``rows``, one a problem, method and measure, and ``refused``, what methods
        say that do not take a problem.

    Raises
    ------
    BagwiseError
        If a parameter will not do, MNIST is not in the data directory, or the folder is in use.
    """
    check_seed(study.seed)
    check_count("--draws", study.draws)
    check_names(study.methods, "method")
    check_names(study.problems, "problem", KNOWN_ANSWERS, "the experiment")
    for name in study.methods:
        make(name)
    questions = [
        {"problem": problem, "method": method, "counts": COUNTS[problem], "draw": draw}
        | {"settings": {} if method in KNOWING or not _stops(find(method)[0]) else _SETTINGS}
        | {"seed": _FIRST_SEED * (study.seed + 1) + draw}
        for draw in range(study.draws)
        for problem in study.problems or KNOWN_ANSWERS
        for method in (*(KNOWING if problem == "shifted_mean" else ()), *(study.methods or TESTED))
    ]
    found = answered(
        out / "cells",
        questions,
        partial(_answer, data_dir=study.data_dir),
        only_finished=study.finished,
        jobs=study.jobs,
        tell=lambda asked, answer, done: tell(f"{_told(asked, answer)} ({done} of {len(questions)})"),
    )
    results = {
        "experiment": "known_answers",
        "environment": environment(),
        "asked": {"draws": study.draws, "seed": study.seed, "counts": COUNTS, "settings": _SETTINGS},
        "rows": finite(_rows(found)),
        "refused": {f"{one['problem']}, {one['method']}": said["refused"] for one, said in found if "refused" in said},
    }
    write_json(out / "known_answers.json", results)
    write_text(out / "known_answers.md", tables(results))
    return results


def _answer(question: Mapping[str, Any], data_dir: Path | None) -> dict[str, Any]:
    """Learn from bags of a problem, and ask about fresh ones."""
    problem, method = question["problem"], question["method"]
    train, validation, fresh = (
        known_answer_bags(problem, count, part=part, seed=question["seed"], directory=data_dir)
        for part, count in zip(("train", "validation", "test"), question["counts"], strict=True)
    )
    if method in KNOWING:
        positive = shifted_mean_posterior(fresh, order=KNOWING[method])
        return _of_bags(fresh, np.stack([1 - positive, positive], axis=1))
    begin = time.process_time()
    try:
        model = make(method, random_state=question["draw"], **question["settings"])
        model.fit(train, **({"validation": validation} if question["settings"] else {}))
    except BagwiseError as refusal:
        return {"refused": str(refusal)}
    seconds = time.process_time() - begin
    answer = _of_bags(fresh, model.predict_proba(fresh)) | {"seconds": round(seconds, 1)}
    answer["epochs"] = len(getattr(model, "history_", ()))
    says = evidence(problem, fresh)
    for kind, method_of in (
        ("weights", "attention"),
        ("contributions", "contributions"),
        ("scores", "instance_scores"),
    ):
        if hasattr(model, method_of):
            values = by_class(getattr(model, method_of)(fresh), says.shape[1], signed=kind != "weights")
            measured = evidence_metrics(fresh, values, says)
            answer |= {f"{kind}_auprc_2": measured["auprc_2"], f"{kind}_auc": _own_class(fresh, values, says)}
            answer["chance"] = measured["auprc_2_chance"]
    return answer


def by_class(values: NDArray[Any], classes: int, *, signed: bool) -> NDArray[Any]:
    """Give values of instances for each class.

    Parameters
    ----------
    values
        Shape (N,), or (N, K) with a column a class or head.
    classes
        How many there are, C.
    signed
        Whether values of shape (N,) are for the second of two classes, so that the first has them the other way round;
        else they are weights, the same for every class, unless some are negative.

    Returns
    -------
    array
        Shape (N, C). Heads that are not classes are averaged.

    Examples
    --------
    >>> by_class(np.array([0.5, -1.0]), 2, signed=True).tolist()
    [[-0.5, 0.5], [1.0, -1.0]]
    >>> by_class(np.array([0.5, 0.1]), 2, signed=False).tolist()
    [[0.5, 0.5], [0.1, 0.1]]
    """
    if values.ndim == 2 and values.shape[1] == classes:
        return values
    one = values if values.ndim == 1 else values.mean(axis=1)
    if classes == 2 and (signed or one.min() < 0):
        return np.stack([-one, one], axis=1)
    return np.repeat(one[:, None], classes, axis=1)


def _of_bags(bags: Bags, said: NDArray[np.float64]) -> dict[str, float]:
    assert bags.labels is not None
    found = bag_metrics(bags.labels, said, np.arange(said.shape[1]))
    return {name: found[name] for name in ("auc", "accuracy")}


def _own_class(bags: Bags, values: NDArray[Any], says: NDArray[np.int8]) -> float:
    """Measure, in bags of each class, how well its values rank what speaks for it; the mean over classes (AUC)."""
    assert bags.labels is not None
    found = []
    for label in range(says.shape[1]):
        own, speaks = bags.labels == label, says[:, label] > 0
        if speaks[own.repeat(bags.sizes)].any():
            found.append(key_instance_metrics(bags, values[:, label], speaks, own)["instance_auc"])
    return float(np.mean(found))


def _told(question: Mapping[str, Any], answer: Mapping[str, Any]) -> str:
    who = f"{question['problem']}, {question['method']}, draw {question['draw'] + 1}"
    if "refused" in answer:
        return f"{who}: {answer['refused']}"
    pointed = {kind: answer.get(f"{kind}_auprc_2") for kind in _VALUES}
    named = [f"{kind} {short(value)}" for kind, value in pointed.items() if value is not None]
    return f"{who}: AUC {short(answer['auc'])}" + (f", AUPRC-2 by {', '.join(named)}" if named else "")


def _rows(found: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> list[dict[str, Any]]:
    rows = []
    for problem, method in dict.fromkeys((asked["problem"], asked["method"]) for asked, _ in found):
        own = [answer for asked, answer in found if (asked["problem"], asked["method"]) == (problem, method)]
        for metric in MEASURED:
            values = np.array([answer[metric] for answer in own if metric in answer])
            if len(values):
                error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
                row = {"problem": problem, "method": method, "metric": metric, "values": values}
                rows.append({**row, "mean": values.mean(), "se_draws": error})
    return rows


def tables(results: Mapping[str, Any]) -> str:
    """Show results as Markdown: a table a problem, a row a method.

    Parameters
    ----------
    results
        As `run_known_answers` gives them.

    Returns
    -------
    str
        Markdown.

    Examples
    --------
    >>> row = {"problem": "pos_neg", "method": "attention", "metric": "auc", "values": [0.98], "mean": 0.98, "se_draws": None}
    >>> print(tables({"rows": [row]}).splitlines()[-1])
    | attention | 1 | .980 | - | - | - | - | - | - | - | - | - |
    """  # noqa: E501
    by = {(row["problem"], row["method"], row["metric"]): row for row in results["rows"]}
    parts = []
    for problem in dict.fromkeys(problem for problem, _, _ in by):
        lines = []
        for method in dict.fromkeys(method for one, method, _ in by if one == problem):
            auc = by[problem, method, "auc"]
            means = {metric: by.get((problem, method, metric), {}).get("mean") for metric in MEASURED}
            shown = {metric: short(mean) for metric, mean in means.items()}
            shown["auc"] = with_error(auc["mean"], auc["se_draws"])
            if means["seconds"] is not None:
                shown["seconds"] = f"{means['seconds']:.0f}"
            lines.append([method, len(auc["values"]), *shown.values()])
        parts.append(f"### {problem}\n\n{markdown_table(['method', 'draws', *MEASURED.values()], lines)}")
    return "\n".join(parts)
