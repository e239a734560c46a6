"""Whether a threshold chosen for a sensitivity has it on fresh bags, and what that costs: bags that are drawn."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bagwise.bags import Bags
from bagwise.errors import BagwiseError
from bagwise.evaluation.summary import standard_error
from bagwise.experiments.markdown import short, signed, table_of, with_error
from bagwise.experiments.trust_part import Found, Part, Question, Row
from bagwise.methods.registry import make
from bagwise.targets.classes import ClassTarget
from bagwise.trust.aims import Aim, operating_at
from bagwise.trust.calibrating import too_few
from bagwise.trust.held_out import hold_out
from bagwise.trust.reliance import Reliance

__all__ = ["AIM", "PART", "SETTINGS", "answer", "made", "of_setting", "questions", "relied_upon", "tables"]

AIM = Aim("sensitivity", 0.95)
_DRAWS, _OF_A_CELL = 200, 25
_FRESH = 2_000
_MEASURED = ("sensitivity", "specificity", "best", "gap", "off")


class Setting(NamedTuple):
    """From what bags are drawn.

    Attributes
    ----------
    bags, positive
        How many are learnt from, and how many of these are positive; of fresh ones it is the same share.
    apart
        By how many standard deviations the best score of the classes lies apart, as in the part on intervals.
    """

    bags: int
    positive: int
    apart: float = 1.5


SETTINGS: Mapping[str, Setting] = {
    "60 of 120 bags positive": Setting(120, 60),
    "60 of 120 bags positive, hard": Setting(120, 60, apart=0.8),
    "60 of 120 bags positive, easy": Setting(120, 60, apart=2.5),
    "60 of 600 bags positive": Setting(600, 60),
    "200 of 400 bags positive": Setting(400, 200),
    "20 of 120 bags positive": Setting(120, 20),
    "19 of 120 bags positive": Setting(120, 19),
}


def made(setting: Setting, bags: int, rng: np.random.Generator) -> Bags:
    """Make bags of three instances of five features each, of which two tell the classes apart.

    Parameters
    ----------
    setting
        What they are like.
    bags
        How many.
    rng
        What draws.

    Returns
    -------
    Bags
        In no order; exactly the share of the setting is positive.

    Examples
    --------
    >>> made(Setting(4, 1, 2.0), 8, np.random.default_rng(0)).labels.sum()
    np.int64(2)
    """
    labels = rng.permutation(np.arange(bags) < round(bags * setting.positive / setting.bags)).astype(np.int64)
    instances = rng.normal(size=(bags, 3, 5))
    instances[:, :, :2] += setting.apart / np.sqrt(6) * labels[:, None, None]  # the mean of six numbers tells all
    return Bags.from_arrays(list(instances), labels=labels)


def relied_upon(bags: Bags) -> tuple[Any, Reliance]:
    """Learn from bags, and choose a threshold as `bagwise fit --sensitivity 0.95` does.

    Parameters
    ----------
    bags
        Bags with labels.

    Returns
    -------
    tuple
        The model of all bags, and what a run would keep.

    Raises
    ------
    BagwiseError
        If there are too few positive bags.

    Examples
    --------
    >>> model, relied = relied_upon(made(SETTINGS["20 of 120 bags positive"], 120, np.random.default_rng(0)))
    >>> bool(0 < relied.threshold < 0.5)
    True
    """
    model = make("mean-logistic", C=1.0, random_state=0)
    held_out = hold_out(model, bags, n_jobs=1)
    assert bags.labels is not None
    target = ClassTarget.of(bags.labels)
    enough = too_few(target, target.encoded(bags.labels)) is None
    return model.fit(bags), Reliance.of(target, bags.labels, held_out=held_out, calibrate=enough, aim=AIM)


# ---- one cell ---------------------------------------------------------------------------------------------


def questions(seed: int, draws: int | None) -> Iterator[dict[str, Any]]:
    """Ask for some draws of each setting at a time.

    Parameters
    ----------
    seed
        Decides what is drawn.
    draws
        Of each setting; None: 200.

    Yields
    ------
    dict
        A question.
    """
    count = draws or _DRAWS
    for first in range(0, count, _OF_A_CELL):
        for number, (name, setting) in enumerate(SETTINGS.items()):
            asked = {"part": "thresholds", "setting": name, **setting._asdict(), "fresh": _FRESH}
            yield {**asked, "draws": min(_OF_A_CELL, count - first), "seed": [seed, number, first]}


def answer(question: Question) -> dict[str, Any]:
    """Choose thresholds, and see what they do to fresh bags.

    Parameters
    ----------
    question
        One of `questions`.

    Returns
    -------
    dict
        Of each draw that was not refused ``sensitivity`` and ``specificity`` on fresh bags, and the ``best``
        specificity that any threshold has there with a sensitivity of .95; how many were ``refused``, and ``why``;
        ``seconds``.
    """
    begin = time.process_time()
    setting = Setting(*(question[name] for name in Setting._fields))
    rng = np.random.default_rng(question["seed"])
    found: dict[str, list[float]] = {name: [] for name in _MEASURED[:3]}
    refused, why = 0, None
    for _ in range(question["draws"]):
        learnt, fresh = made(setting, setting.bags, rng), made(setting, question["fresh"], rng)
        try:
            model, relied = relied_upon(learnt)
        except BagwiseError as error:
            refused, why = refused + 1, str(error)
            continue
        assert fresh.labels is not None
        likely, positive = relied.answers(model.answers(fresh))[:, 1], fresh.labels == 1
        at = operating_at(positive, likely > relied.threshold)
        told = (at.sensitivity, at.specificity, _best(positive, likely))
        for name, value in zip(_MEASURED[:3], told, strict=True):
            found[name].append(value)
    return {**found, "refused": refused, "why": why, "seconds": round(time.process_time() - begin, 1)}


def _best(positive: NDArray[np.bool_], likely: NDArray[np.float64]) -> float:
    """Give the specificity at the highest threshold with which these bags have the sensitivity."""
    ranked = np.sort(likely[positive])
    least = ranked[len(ranked) - int(np.ceil(AIM.value * len(ranked) - 1e-9))]  # it is to be called positive, too
    return float(np.mean(likely[~positive] < least))


# ---- what comes of it -------------------------------------------------------------------------------------


def of_setting(asked: Sequence[Question], answers: Sequence[Found]) -> list[dict[str, Any]]:
    """Give the row of a setting.

    Parameters
    ----------
    asked, answers
        Its questions, and what was found.

    Returns
    -------
    list of dict
        Means over draws, each with ``se_`` its standard error: of ``sensitivity``, ``specificity``, the ``best``
        specificity, the ``gap`` between these (below 0 where the best is better) and how far it is ``off`` either way;
        the numbers of ``draws`` and of those ``refused``, and ``why``.
    """
    values = {measured: np.concatenate([one[measured] for one in answers]) for measured in _MEASURED[:3]}
    values["gap"] = values["specificity"] - values["best"]
    values["off"] = np.abs(values["gap"])
    row: dict[str, Any] = {
        "draws": sum(question["draws"] for question in asked),
        "refused": sum(one["refused"] for one in answers),
        "why": next((one["why"] for one in answers if one["why"]), None),
    }
    for measured, of in values.items():
        row |= {measured: float(of.mean()) if len(of) else np.nan, f"se_{measured}": standard_error(of)}
    return [row]


def tables(found: Sequence[Row]) -> str:
    """Show as Markdown what thresholds do, and which are refused.

    Parameters
    ----------
    found
        Rows.

    Returns
    -------
    str
    """

    def of_chosen(told: Callable[[Row], str]) -> Callable[[Row], str]:
        return lambda row: told(row) if row["draws"] > row["refused"] else ""

    shown = table_of(
        found,
        {
            "learnt from": itemgetter("setting"),
            "draws": itemgetter("draws"),
            "refused": itemgetter("refused"),
            "sensitivity ± SE": of_chosen(lambda row: with_error(row["sensitivity"], row["se_sensitivity"])),
            "specificity": of_chosen(lambda row: short(row["specificity"])),
            "at best": of_chosen(lambda row: short(row["best"])),
            "gap": of_chosen(lambda row: signed(row["gap"])),
            "mean size of it": of_chosen(lambda row: short(row["off"])),
        },
    )
    why = dict.fromkeys(row["why"] for row in found if row["why"])
    return "\n".join([shown, *(f"Refused: *{one}*.\n" for one in why)])


PART = Part(
    "thresholds",
    "What a threshold for a sensitivity of 95 % does to fresh bags",
    lambda study: questions(study.seed, study.draws),
    lambda question, _: answer(question),
    of_setting,
    tables,
)
