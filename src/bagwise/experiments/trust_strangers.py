"""Whether bags that are like those learnt from are rarely called strangers, and others mostly: bags that are drawn."""

import time
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bagwise.bags import Bags
from bagwise.evaluation.summary import standard_error
from bagwise.experiments.markdown import short, table_of, with_error
from bagwise.experiments.trust_part import Found, Part, Question, Row
from bagwise.methods.families import AttentionMIL
from bagwise.trust.fold_models import ask_folds
from bagwise.trust.held_out import hold_out
from bagwise.trust.seen import Seen
from bagwise.trust.strangers import RARE, strangers_told

__all__ = ["LEARNT", "PART", "SHIFTED", "SUMMARIES", "TOLD", "answer", "flagged", "made", "of_setting", "questions"]

LEARNT = (50, 100, 200, 400)
_DRAWS = 40
_FRESH, _OTHERS, _FEATURES = 2_000, 500, 10
_SHIFT = 3.0  # standard deviations of a feature
SHIFTED = {"all features": _FEATURES, "one feature": 1}
TOLD, SUMMARIES = "as predict says", "by summaries alone"


def made(bags: int, rng: np.random.Generator) -> Bags:
    """Make bags of three to eight instances; positive ones lie off in two of ten features.

    Parameters
    ----------
    bags
        How many.
    rng
        What draws.

    Returns
    -------
    Bags
        Of features whose variance is half between bags and half within.

    Examples
    --------
    >>> made(4, np.random.default_rng(0))
    <Bags: 4 bags of 4 to 7 instances (24 in all), each of shape (10,) float64; labels 0: 1, 1: 3>
    """
    labels = rng.integers(0, 2, bags)
    places = rng.normal(size=(bags, _FEATURES))
    places[:, :2] += labels[:, None]
    arrays = [place + rng.normal(size=(rng.integers(3, 9), _FEATURES)) for place in places]
    return Bags.from_arrays(arrays, labels=labels)


# ---- one cell ---------------------------------------------------------------------------------------------


def questions(seed: int, draws: int | None) -> Iterator[dict[str, Any]]:
    """Ask for draws, so that all numbers of bags have one before one has the next.

    Parameters
    ----------
    seed
        Decides what is drawn.
    draws
        Of each number of bags; None: 40.

    Yields
    ------
    dict
        A question.
    """
    for draw in range(draws or _DRAWS):
        for bags in LEARNT:
            asked = {"part": "strangers", "setting": f"{bags} bags", "bags": bags, "fresh": _FRESH, "others": _OTHERS}
            yield {**asked, "seed": seed, "draw": draw}


def answer(question: Question) -> dict[str, Any]:
    """Learn from bags as `bagwise fit` does, and say which of fresh ones are strangers.

    Parameters
    ----------
    question
        One of `questions`.

    Returns
    -------
    dict
        By both `TOLD`, which looks at summaries and at vectors by the models of folds, and `SUMMARIES` the shares
        called strangers of ``like`` bags and of those shifted in each of `SHIFTED`; ``finest``, the smallest p-value
        that there can be, what is ``told`` of like bags, and ``seconds``.
    """
    begin = time.process_time()
    rng = np.random.default_rng([question["seed"], question["draw"], question["bags"]])
    learnt, like, others = (made(question[name], rng) for name in ("bags", "fresh", "others"))
    model = AttentionMIL(random_state=question["draw"])
    held_out = hold_out(model, learnt, seed=question["draw"], n_jobs=1)
    folds = len(held_out.models)
    model = model.fit(learnt)
    seen = Seen.of(model, learnt, held_out.fold, held_out.models, folds)
    assert seen is not None
    spread, asked = np.asarray(learnt.instances).std(axis=0), {"like": like}
    for name, features in SHIFTED.items():
        off = np.where(np.arange(_FEATURES) < _FEATURES - features, 0.0, _SHIFT * spread)
        asked[name] = Bags(others.instances + off, others.offsets, others.labels, others.names)
    found: dict[str, dict[str, float]] = {TOLD: {}, SUMMARIES: {}}
    told = ""
    for name, bags in asked.items():
        vectors = ask_folds(held_out.models, folds, bags).vectors
        by = {TOLD: seen.likeness(model, bags, vectors).p, SUMMARIES: seen.likeness(model, bags).p}
        told = told or strangers_told(by[TOLD], seen.known.finest)
        for way, p in by.items():
            found[way][name] = flagged(p, seen.known.finest)
    return {**found, "finest": seen.known.finest, "told": told, "seconds": round(time.process_time() - begin, 1)}


def flagged(p: NDArray[np.float64], finest: float) -> float:
    """Give the share of bags that are called strangers, as `bagwise.trust.strangers.strangers_told` counts them.

    Parameters
    ----------
    p
        Of the bags, shape (B,).
    finest
        The smallest that there can be.

    Returns
    -------
    float

    Examples
    --------
    >>> flagged(np.array([0.005, 0.5]), 0.005), flagged(np.array([0.02, 0.5]), 0.02)
    (0.5, 0.5)
    """
    return float(np.mean(p <= max(RARE, finest) + 1e-9))


# ---- what comes of it -------------------------------------------------------------------------------------


def of_setting(_: Sequence[Question], answers: Sequence[Found]) -> list[dict[str, Any]]:
    """Give a row a way to look at bags.

    Parameters
    ----------
    answers
        What was found with one number of bags to learn from.

    Returns
    -------
    list of dict
        The mean shares called strangers over ``draws``: of ``like`` bags, with its standard error ``se``, and the
        ``lowest`` and ``highest`` in one draw, and of those shifted; ``finest``, and what was ``told`` in the first
        draw.
    """
    found = []
    for way in (TOLD, SUMMARIES):
        like = np.array([one[way]["like"] for one in answers])
        row = {"way": way, "draws": len(answers), "like": float(like.mean()), "se": standard_error(like)}
        row |= {"lowest": float(like.min()), "highest": float(like.max())}
        row |= {of: float(np.mean([one[way][of] for one in answers])) for of in SHIFTED}
        found.append(row | {"finest": answers[0]["finest"], "told": answers[0]["told"]})
    return found


def tables(found: Sequence[Row]) -> str:
    """Show as Markdown how many bags are called strangers, and what is told where bags are few.

    Parameters
    ----------
    found
        Rows.

    Returns
    -------
    str
    """

    def share(name: str) -> Callable[[Row], str]:
        return lambda row: short(row[name])

    shown = table_of(
        found,
        {
            "learnt from": itemgetter("setting"),
            "way": itemgetter("way"),
            "draws": itemgetter("draws"),
            "like bags ± SE": lambda row: with_error(row["like"], row["se"]),
            "in one draw": lambda row: f"{short(row['lowest'])} to {short(row['highest'])}",
            **{f"3 SD off in {name}": share(name) for name in SHIFTED},
        },
    )
    few = {row["setting"]: row["told"] for row in found if row["finest"] > RARE}
    told = [f"Told where {setting} were learnt from: *{one}*.\n" for setting, one in few.items()]
    return "\n".join([shown, *told])


PART = Part(
    "strangers",
    "How many bags are called strangers",
    lambda study: questions(study.seed, study.draws),
    lambda question, _: answer(question),
    of_setting,
    tables,
)
