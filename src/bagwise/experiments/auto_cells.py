"""What one cell of the experiment about `AutoMIL` finds: a fold of a real set, or a drawn set."""

import time
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bagwise.auto.budget import Budget
from bagwise.auto.candidates import candidates
from bagwise.auto.estimator import AutoMIL
from bagwise.auto.library import selected
from bagwise.auto.search import search
from bagwise.bags import Bags
from bagwise.datasets.classical import read_classical
from bagwise.datasets.named import load_dataset
from bagwise.datasets.store import data_directory
from bagwise.evaluation.metrics import measure
from bagwise.evaluation.out_of_fold import out_of_fold
from bagwise.evaluation.protocol import Folds
from bagwise.experiments.cells import as_numbers, as_text
from bagwise.targets.classes import ClassTarget

__all__ = [
    "BEST",
    "CLASSICAL",
    "EQUAL",
    "MIL_SETS",
    "drawn",
    "fold_answer",
    "fold_scores",
    "named",
    "names_of",
    "set_answer",
]

CLASSICAL = ("musk1", "musk2", "fox", "tiger", "elephant")
MIL_SETS = ("mutag_atoms", "news2", "birds_hammonds", "corel_dogs")
EQUAL, BEST = "equal average", "best by inner folds"
_FRESH = 5_000


@lru_cache(maxsize=1)
def named(name: str, data_dir: str | Path | None) -> Bags:
    """Read one of `CLASSICAL` or `MIL_SETS`.

    Parameters
    ----------
    name
        Of the set.
    data_dir
        Where sets lie; None: `bagwise.datasets.store.data_directory`.

    Returns
    -------
    Bags

    Raises
    ------
    BagwiseError
        If it is not there.
    """
    if name in CLASSICAL:
        return load_dataset(name, data_dir)
    return read_classical(data_directory(data_dir) / "mil_sets" / f"{name}.npz", name)


def fold_answer(question: Mapping[str, Any], data_dir: str | Path | None) -> dict[str, Any]:
    """Search in the training bags of one fold, and ask all that went through it about the test bags.

    What is chosen and averaged is not here: `fold_scores` makes it of what candidates said.

    Parameters
    ----------
    question
        ``dataset``, ``folds``, ``repeat``, ``fold``, ``seed`` and ``trials``.
    data_dir
        Where sets lie.

    Returns
    -------
    dict
        ``candidates``; of each, in one text of numbers, its log-odds about the training bags by models of the inner
        folds (``inner``, in the order ``held_out``, positions among the training bags), and about the test bags
        (``outer``); the labels of both (``learnt``, ``tested``), and ``seconds``.
    """
    begin = time.perf_counter()
    bags, seed = named(question["dataset"], data_dir), question["seed"]
    assert bags.labels is not None
    division = Folds(bags, question["folds"], question["repeat"] + 1, seed)
    split = division.splits[question["repeat"] * question["folds"] + question["fold"]]
    learnt, target = bags[split.train], ClassTarget.of(bags.labels)
    told = {"target": target.kind, "threshold": 0.5}  # which candidates would choose at a cost, for nobody
    found = search(learnt, target, Budget(question["trials"], None), seed=seed, n_jobs=1, told=told)
    models = [trial.candidate.made(random_state=seed, **told) for trial in found.whole]
    said = out_of_fold(models, bags, [split] * len(models), target, n_jobs=1)
    inner = [np.concatenate([trial.answers[fold] for fold in sorted(trial.answers)]) for trial in found.whole]
    held_out = np.concatenate([one.test for one in found.splits])
    return {
        "candidates": [trial.candidate.called for trial in found.whole],
        "held_out": as_text(held_out),
        "inner": [as_text(_log_odds(one)) for one in inner],
        "outer": [as_text(_log_odds(one.in_columns_of(target))) for one in said],
        "learnt": as_text(bags.labels[split.train]),
        "tested": as_text(bags.labels[split.test]),
        "seconds": round(time.perf_counter() - begin, 1),
    }


def fold_scores(answer: Mapping[str, Any], seed: int, metrics: Sequence[str]) -> dict[str, dict[str, float]]:
    """Score the average that `AutoMIL` chooses on a fold, and what stands beside it.

    Parameters
    ----------
    answer
        As `fold_answer` gives it.
    seed
        Of the search.
    metrics
        Their names.

    Returns
    -------
    dict
        By name: of ``"auto"``, `EQUAL` (the average of all candidates), `BEST` (the candidate that is best within the
        training bags) and of each candidate, each metric on the test bags.
    """
    learnt, tested = (as_numbers(answer[name]).astype(np.int64) for name in ("learnt", "tested"))
    labels, target = learnt[as_numbers(answer["held_out"]).astype(np.int64)], ClassTarget.of(learnt)
    inner, outer = (np.stack([_probabilities(as_numbers(one)) for one in answer[name]]) for name in ("inner", "outer"))
    alone = np.eye(len(outer))
    shares = {
        "auto": selected(inner, labels, target, seed=seed),
        EQUAL: alone.mean(axis=0),
        BEST: alone[int(np.argmin([target.misfit(labels, one) for one in inner]))],
        **dict(zip(answer["candidates"], alone, strict=True)),
    }
    return {
        name: measure(target, tested, target.averaged(outer, share), scoring=metrics) for name, share in shares.items()
    }


def drawn(kind: str, number: int, seed: int = 0) -> tuple[Bags, Bags]:
    """Draw a set of 40 to 200 bags, and many fresh bags of the same kind.

    Parameters
    ----------
    kind
        ``"coins"``: labels are coin flips; one fresh bag is enough, which nobody is asked about. ``"signal"``: one
        instance of each positive bag is off in one to three features, by half a spread to two and a half.
    number, seed
        Decide what is drawn.

    Returns
    -------
    tuple of Bags
        To learn from, and fresh ones.

    Examples
    --------
    >>> bags, fresh = drawn("signal", 0)
    >>> 40 <= len(bags) <= 200, len(fresh)
    (True, 5000)
    """
    rng = np.random.default_rng([seed, number, int(kind == "signal")])
    count, features, most = int(np.exp(rng.uniform(np.log(40), np.log(201)))), rng.integers(3, 21), rng.integers(3, 16)
    shift = np.zeros(features)
    if kind == "signal":
        shift[: rng.integers(1, 4)] = rng.uniform(0.5, 2.5)
    of_kind = partial(_drawn_bags, rng=rng, shift=shift, most=int(most))
    return of_kind(count), of_kind(_FRESH if kind == "signal" else 1)


def _drawn_bags(count: int, rng: np.random.Generator, shift: NDArray[np.float64], most: int) -> Bags:
    labels = (rng.random(count) < 0.5).astype(np.int64)
    arrays = [rng.normal(size=(rng.integers(1, most + 1), len(shift))) for _ in labels]
    for instances, label in zip(arrays, labels, strict=True):
        instances[0] += shift * label
    return Bags.from_arrays(arrays, labels=labels)


def set_answer(question: Mapping[str, Any]) -> dict[str, Any]:
    """Let `AutoMIL` say how good it is on a drawn set, and see.

    Parameters
    ----------
    question
        ``part``, ``number``, ``seed`` and ``trials``.

    Returns
    -------
    dict
        ``reported`` with its interval (``low``, ``high``), what the best candidate ``claimed``, the ``true`` AUC, that
        on fresh bags, or .5 for coin flips, the number of ``bags``, and ``seconds``.
    """
    begin = time.perf_counter()
    bags, fresh = drawn(question["part"], question["number"], question["seed"])
    model = AutoMIL(trials=question["trials"], n_jobs=1, random_state=question["seed"]).fit(bags)
    said = next(one for one in model.estimate_ if one.metric == "auc")
    seconds = time.perf_counter() - begin
    true = 0.5
    if question["part"] == "signal":
        assert fresh.labels is not None
        true = measure(model.target_, fresh.labels, model.answers(fresh), scoring=["auc"])["auc"]
    return {
        "reported": said.mean,
        "low": said.low,
        "high": said.high,
        "claimed": said.claimed,
        "true": true,
        "bags": len(bags),
        "seconds": round(seconds, 1),
    }


def names_of(bags: Bags, trials: int, seed: int) -> list[str]:
    """Name the candidates that a search of so many trials tries."""
    assert bags.labels is not None
    return [one.called for one in islice(candidates(bags, ClassTarget.of(bags.labels), seed), trials)]


# Log-odds, because probabilities near 0 and 1 do not bear rounding.
def _log_odds(answers: NDArray[np.float64]) -> NDArray[np.float64]:
    least = np.finfo(np.float64).eps
    clipped = np.clip(answers, least, 1.0)
    odds: NDArray[np.float64] = np.log(clipped[:, 1]) - np.log(clipped[:, 0])
    return odds


def _probabilities(log_odds: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.column_stack([1 / (1 + np.exp(log_odds)), 1 / (1 + np.exp(-log_odds))])
