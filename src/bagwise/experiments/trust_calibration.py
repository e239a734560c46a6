"""Whether calibrated probabilities are better than those that models learn, and never much worse than a constant."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bagwise.bags import Bags
from bagwise.evaluation.calibration import error_by_chance, reliability
from bagwise.evaluation.metrics import measure
from bagwise.evaluation.summary import standard_error
from bagwise.experiments import trust_resampled
from bagwise.experiments.cells import as_numbers
from bagwise.experiments.markdown import short, signed, table_of
from bagwise.experiments.payments import drawn_accounts
from bagwise.experiments.trust_coverage import ALL
from bagwise.experiments.trust_part import Found, Part, Question, Row
from bagwise.experiments.trust_resampled import CLASSES, CV, as_answers, read
from bagwise.methods.families import AttentionMIL
from bagwise.targets.classes import ClassTarget
from bagwise.trust.calibrating import too_few
from bagwise.trust.held_out import HeldOut
from bagwise.trust.reliance import Reliance

__all__ = ["PART", "RARE", "answer", "calibrated", "of_setting", "over_all", "questions", "tables"]

RARE = "payments, 3 % positive"
MEASURED = {"log_loss": "log-loss", "brier": "Brier", "auc": "AUC"}
_WEIGHTS = ("balanced", None)
_DRAWS, _SHARE = 5, 0.03
_LEARNT, _FRESH = 2_000, 6_000
_FIRST_SEED = 20_000  # defaults were chosen on draws of other seeds, and measured on yet others
_ENOUGH = 500  # bags for test, of which a calibration error is more than noise


def questions(seed: int, draws: int | None, data_dir: Path | None) -> Iterator[dict[str, Any]]:
    """Ask for the cells of coverage, too, and for a rare class learnt from with balanced weights and without.

    Parameters
    ----------
    seed, data_dir
        As in `bagwise.experiments.trust_resampled.questions`.
    draws
        Of resamplings of each set, and of accounts; None: 50 and 5.

    Yields
    ------
    dict
        A question.
    """
    yield from trust_resampled.questions(seed, draws, data_dir)
    for draw in range(draws or _DRAWS):
        for weights in _WEIGHTS:
            asked = {"part": "calibration", "setting": RARE, "class_weight": weights, "share": _SHARE}
            yield {**asked, "learnt": _LEARNT, "fresh": _FRESH, "seed": seed, "draw": draw}


def answer(question: Question) -> dict[str, Any]:
    """Learn a rare class, and see what probabilities of fresh accounts are worth.

    Parameters
    ----------
    question
        One of those of a rare class.

    Returns
    -------
    dict
        Each metric of the model (``found``) and of the share of the class among the accounts learnt from
        (``constant``), and ``seconds``.
    """
    begin, seed = time.process_time(), _FIRST_SEED * (question["seed"] + 1) + 2 * question["draw"]
    rule = {"rule": "stolen", "order": None}
    learnt = _thinned(drawn_accounts(question["learnt"], rule, seed)[0], question["share"])
    fresh = _thinned(drawn_accounts(question["fresh"], rule, seed + 1, learnt.columns)[0], question["share"])
    assert learnt.labels is not None
    assert fresh.labels is not None
    model = AttentionMIL(class_weight=question["class_weight"], random_state=question["draw"]).fit(learnt)
    target, scoring = ClassTarget.of(learnt.labels), list(MEASURED)
    shares = Reliance.of(target, learnt.labels).shares
    constant = np.tile(shares, (len(fresh), 1))
    return {
        "found": measure(target, fresh.labels, model.answers(fresh), scoring=scoring),
        "constant": measure(target, fresh.labels, constant, scoring=scoring),
        "seconds": round(time.process_time() - begin, 1),
    }


def _thinned(bags: Bags, share: float) -> Bags:
    """Leave out the last positive bags, until they are this share."""
    positive = np.flatnonzero(bags.labels == "yes")
    few = round((len(bags) - len(positive)) * share / (1 - share))
    return bags[np.setdiff1d(np.arange(len(bags)), positive[few:])]


# ---- what comes of it -------------------------------------------------------------------------------------


def calibrated(cell: Mapping[str, Any]) -> tuple[Reliance, NDArray[np.float64]]:
    """Calibrate as `bagwise fit` does, by what was said of bags held out.

    Parameters
    ----------
    cell
        As `bagwise.experiments.trust_resampled.answer` gives it.

    Returns
    -------
    tuple
        What a run would keep, and what the model of all bags says of those for test, shape (B, 2).
    """
    labels = as_numbers(cell["learnt"]).astype(np.int64)
    groups = None if cell["groups"] is None else as_numbers(cell["groups"]).astype(np.int64)
    said = read(cell["ways"][CV])
    held_out = HeldOut(CLASSES, labels, said.answers, said.fold, [], groups)
    enough = too_few(CLASSES, CLASSES.encoded(labels)) is None
    return Reliance.of(CLASSES, labels, held_out=held_out, calibrate=enough), as_answers(cell["all"])


def of_setting(asked: Sequence[Question], answers: Sequence[Found]) -> list[dict[str, Any]]:
    """Give a row a metric.

    Parameters
    ----------
    asked, answers
        The questions about a set of bags, or a rare class, and what was found.

    Returns
    -------
    list of dict
        The means over resamplings: of answers ``before`` and ``after`` they are calibrated, of the ``constant``, and of
        what is ``more`` after (with its standard error, as if resamplings were independent); the share of resamplings
        in which a ``calibration`` was chosen. Where there are 500 bags for test the calibration error ``ece`` has what
        it would be ``by_chance``, were the calibrated answers right. Of a rare class ``balanced`` and ``unweighted``.
    """
    if asked[0]["setting"] == RARE:
        return _of_rare(asked, answers)
    cells: dict[str, list[dict[str, float]]] = {}
    for one in answers:
        for metric, numbers in _measured(one).items():
            cells.setdefault(metric, []).append(numbers)
    rows = []
    for metric, of in cells.items():
        more = np.array([one["after"] - one["before"] for one in of])
        means = {name: float(np.mean([one[name] for one in of])) for name in of[0]}
        rows.append({"metric": metric, **means, **_more(more), "resamplings": len(of)})
    return rows


def _measured(cell: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    relied, before = calibrated(cell)
    tested, after = as_numbers(cell["tested"]).astype(np.int64), relied.answers(before)
    constant = np.tile(relied.shares, (len(tested), 1))
    of = {"before": before, "after": after, "constant": constant}
    scores = {name: measure(CLASSES, tested, said, scoring=list(MEASURED)) for name, said in of.items()}
    chosen = {"calibration": float(relied.calibration is not None)}
    found = {metric: {name: scores[name][metric] for name in of} | chosen for metric in MEASURED}
    if len(tested) >= _ENOUGH:
        errors = {name: reliability(tested == 1, said[:, 1]).error for name, said in of.items()}
        found["ece"] = errors | {"by_chance": error_by_chance(after[:, 1])} | chosen
    return found


def _more(values: NDArray[np.float64]) -> dict[str, float]:
    return {"more": float(values.mean()), "se": standard_error(values)}


def _of_rare(asked: Sequence[Question], answers: Sequence[Found]) -> list[dict[str, Any]]:
    draws: dict[int, dict[str | None, Found]] = {}
    for question, one in zip(asked, answers, strict=True):
        draws.setdefault(question["draw"], {})[question["class_weight"]] = one
    whole = [one for one in draws.values() if len(one) == len(_WEIGHTS)]
    rows = []
    for metric in MEASURED if whole else ():
        balanced, unweighted = (np.array([one[name]["found"][metric] for one in whole]) for name in _WEIGHTS)
        rows.append(
            {
                "metric": metric,
                "balanced": float(balanced.mean()),
                "unweighted": float(unweighted.mean()),
                "constant": float(np.mean([one[None]["constant"][metric] for one in whole])),
                **_more(balanced - unweighted),
                "draws": len(whole),
            }
        )
    return rows


def over_all(found: Sequence[Row]) -> list[dict[str, Any]]:
    """Give a row a metric with means over sets of bags.

    Parameters
    ----------
    found
        Rows of these.

    Returns
    -------
    list of dict
    """
    of_all = []
    for metric in MEASURED:
        of = [row for row in found if row["metric"] == metric and row["setting"] != RARE]
        if of:
            names = ("before", "after", "constant", "calibration", "more")
            means = {name: float(np.mean([row[name] for row in of])) for name in names}
            of_all.append({"setting": ALL, "metric": metric, **means, "sets": len(of)})
    return of_all


def tables(found: Sequence[Row]) -> str:
    """Show as Markdown what calibration changes, calibration errors, and balanced weights beside none.

    Parameters
    ----------
    found
        Rows.

    Returns
    -------
    str
    """
    by = {(row["setting"], row["metric"]): row for row in found}

    def number(name: str, metric: str | None = None, digits: int = 3) -> Callable[[Row], str]:
        return lambda row: short(by[row["setting"], metric or row["metric"]][name], digits)

    # Each set of bags once; a constant ranks nothing, so it has no AUC.
    sets = [row for row in found if row["metric"] == "brier" and row["setting"] != RARE]
    changes = {
        f"{told} {name}": number(name, metric)
        for metric, told in MEASURED.items()
        for name in ("before", "after", "constant")
        if (metric, name) != ("auc", "constant")
    }
    errors = [row for row in found if row["metric"] == "ece"]
    of_errors = {name.replace("_", " "): number(name) for name in ("before", "after", "by_chance")}
    rare = [row for row in found if row["setting"] == RARE]
    ways = {way: number(way) for way in ("balanced", "unweighted", "constant")}
    shown: list[tuple[Sequence[Row], Mapping[str, Callable[[Row], object]]]] = [
        (sets, {"sets of bags": itemgetter("setting"), **changes, "calibrated": number("calibration", digits=2)}),
        (errors, {"calibration error (ECE)": itemgetter("setting"), **of_errors}),
        (
            rare,
            {
                RARE: lambda row: MEASURED[row["metric"]],
                **ways,
                "balanced less unweighted": lambda row: signed(row["more"]),
            },
        ),
    ]
    return "\n".join(table_of(rows, columns) for rows, columns in shown if rows)


PART = Part(
    "calibration",
    "What calibration makes of probabilities",
    lambda study: questions(study.seed, study.draws, study.data_dir),
    lambda question, _: answer(question),
    of_setting,
    tables,
    over_all,
)
