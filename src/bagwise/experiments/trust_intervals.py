"""Whether intervals of metrics hold the truth as often as they say: answers that are drawn, again and again."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bagwise.bags import Bags
from bagwise.evaluation.cross_validation import cross_validate
from bagwise.evaluation.delong import auc_difference
from bagwise.evaluation.intervals import metric_intervals
from bagwise.evaluation.metrics import measure
from bagwise.experiments.markdown import markdown_table, short
from bagwise.experiments.trust_part import Found, Part, Question, Row
from bagwise.methods.registry import make
from bagwise.targets.classes import ClassTarget
from bagwise.targets.contract import Target
from bagwise.targets.registry import TARGETS

__all__ = ["PART", "SETTINGS", "answer", "of_setting", "questions", "tables"]

SETS = 2_000
_VALIDATED = 250  # so many sets are cross-validated, each of which trains
_DRAWS = 400  # of a bootstrap, where coverage is counted over many sets
_MODELS = 100  # over so many the truth about a method is taken
_TRUTH = 400_000  # bags of which the truth is taken


class Setting(NamedTuple):
    """From what sets of bags, and answers about them, are drawn.

    Attributes
    ----------
    kind
        ``"two classes"``, ``"three classes"``, ``"numbers"``, ``"lives"``, or ``"validated"``, where models learn.
    bags, group
        How many there are, and how many of them a group has.
    share
        Of the positive class.
    apart
        By how many standard deviations the scores of the classes lie apart.
    missed
        The share of positive bags whose scores are those of negative ones.
    metrics
        What is measured.
    """

    kind: str
    bags: int
    group: int = 1
    share: float = 0.5
    apart: float = 1.5
    missed: float = 0.0
    metrics: tuple[str, ...] = ("auc", "accuracy", "recall", "precision")


_ALIKE = 0.7  # the share of the variance that bags of a group have in common
_BOOTSTRAP = (
    "auc",
    "accuracy",
    "recall",
    "fscore",
    "balanced_accuracy",
    "kappa",
    "average_precision",
    "brier",
    "log_loss",
)

SETTINGS: Mapping[str, Setting] = {
    "80 bags": Setting("two classes", 80, metrics=_BOOTSTRAP),
    "80 bags, hard": Setting("two classes", 80, apart=0.8),
    "80 bags, easy": Setting("two classes", 80, apart=2.5),
    "300 bags, 15 % positive": Setting("two classes", 300, share=0.15),
    "120 bags, one in ten positive ones like negative ones": Setting("two classes", 120, apart=4.0, missed=0.1),
    "100 groups of 4": Setting("two classes", 400, group=4, metrics=_BOOTSTRAP),
    "20 bags": Setting("two classes", 20, metrics=_BOOTSTRAP),
    "20 bags, easy": Setting("two classes", 20, apart=2.5),
    "100 bags, 8 % positive": Setting("two classes", 100, share=0.08),
    "20 groups of 4": Setting("two classes", 80, group=4),
    "120 bags of three classes": Setting("three classes", 120, metrics=("auc", "accuracy", "recall", "log_loss")),
    "60 bags with numbers": Setting("numbers", 60, metrics=("r2", "mae", "rmse")),
    "80 bags with lives": Setting("lives", 80, metrics=("c_index",)),
    "80 bags, cross-validated": Setting("validated", 80, metrics=("auc", "accuracy", "recall", "brier")),
}


# ---- what is drawn ----------------------------------------------------------------------------------------


def _normal(rng: np.random.Generator, count: int, group: int) -> NDArray[np.float64]:
    """Draw standard normal numbers, of which those of a group are alike."""
    if group == 1:
        return rng.normal(size=count)
    shared = np.repeat(rng.normal(size=count // group), group)
    drawn: NDArray[np.float64] = np.sqrt(_ALIKE) * shared + np.sqrt(1 - _ALIKE) * rng.normal(size=count)
    return drawn


def _drawn(
    setting: Setting, rng: np.random.Generator, count: int, group: int
) -> tuple[Target, NDArray[Any], NDArray[np.float64]]:
    """Draw labels, and what one model, which stays as it is, says of the bags."""
    latent, noise = _normal(rng, count, group), _normal(rng, count, group)
    if setting.kind == "lives":
        lives = np.zeros(count, [("event", bool), ("time", float)])
        died, censored = rng.exponential(size=count) * np.exp(-latent), 2 * rng.exponential(size=count)
        lives["event"], lives["time"] = died <= censored, np.minimum(died, censored)
        return TARGETS["survival"].of(lives), lives, (latent + noise)[:, None]
    if setting.kind == "numbers":
        return TARGETS["real"].of(latent), latent, (0.7 * latent + 0.4 * noise)[:, None]
    if setting.kind == "three classes":
        codes = np.searchsorted([-0.43, 0.43], latent)
        scores = setting.apart * np.eye(3)[codes] + rng.normal(size=(count, 3))
        likely = np.exp(setting.apart * scores)
        return ClassTarget.of([0, 1, 2]), codes, likely / likely.sum(axis=1, keepdims=True)
    ill = latent < _QUANTILES[setting.share]
    found = ill & (rng.random(count) >= setting.missed)
    apart = setting.apart
    logits = apart * (noise + apart * found) - apart**2 / 2 + np.log(setting.share / (1 - setting.share))
    probability = 1 / (1 + np.exp(-logits))
    return ClassTarget.of([0, 1]), ill.astype(int), np.stack([1 - probability, probability], axis=1)


_QUANTILES = {0.5: 0.0, 0.15: -1.0364333894937896, 0.08: -1.4050715603096329}  # of the normal distribution


def _learnt_from(rng: np.random.Generator, count: int) -> Bags:
    """Draw bags of three instances, in two of whose five features the classes differ."""
    labels = rng.integers(0, 2, count)
    instances = rng.normal(size=(count, 3, 5)) + 0.5 * labels[:, None, None] * np.array([1, 1, 0, 0, 0])
    return Bags.from_arrays(list(instances), labels=labels)


# ---- one cell ---------------------------------------------------------------------------------------------


def questions(seed: int, sets: int | None) -> Iterator[dict[str, Any]]:
    """Ask for the coverage in each setting, and for that of DeLong's difference.

    Parameters
    ----------
    seed
        Decides what is drawn.
    sets
        How many sets to draw; None: 2,000, and where models learn 250.

    Yields
    ------
    dict
        A question.
    """
    for number, (name, setting) in enumerate(SETTINGS.items()):
        count = sets or (_VALIDATED if setting.kind == "validated" else SETS)
        yield {"part": "intervals", "setting": name, **setting._asdict(), "sets": count, "seed": [seed, number]}


def answer(question: Question) -> dict[str, Any]:
    """Count how often intervals hold the truth.

    Parameters
    ----------
    question
        One of `questions`.

    Returns
    -------
    dict
        ``seconds``, and ``metrics``: for each ``truth``, ``coverage``, ``below`` and ``above`` (how often the truth was
        there), mean ``width``, ``how`` and ``defined``, in how many sets there is an interval.
    """
    begin = time.process_time()
    setting = Setting(**{name: question[name] for name in Setting._fields})
    rng = np.random.default_rng(question["seed"])
    metrics = list(setting.metrics)
    ends: dict[str, list[tuple[float, float]]] = {metric: [] for metric in metrics}
    how: dict[str, str] = {}
    if setting.kind == "validated":
        truth = _truth_of_models(setting, rng)
    else:
        truth = measure(*_drawn(setting, rng, _TRUTH if setting.kind != "lives" else 8_000, 1), scoring=metrics)
    if setting.kind == "two classes":
        ends["auc difference"], truth["auc difference"] = [], 0.0
    for _ in range(question["sets"]):
        if setting.kind == "validated":
            model = make("mean-logistic", C=1.0, random_state=0)
            found = cross_validate(model, _learnt_from(rng, setting.bags), folds=5, scoring=metrics, n_jobs=1)
            intervals = {metric: one.interval for metric, one in found.pooled(draws=_DRAWS).items()}
        else:
            drawn = _drawn(setting, rng, setting.bags, setting.group)
            groups = None if setting.group == 1 else np.arange(setting.bags) // setting.group
            intervals = metric_intervals(*drawn, metrics=metrics, groups=groups, draws=_DRAWS)
            if setting.kind == "two classes" and 0 < drawn[1].sum() < setting.bags:
                # Another model, as good, that shares half of its errors.
                logits = [
                    np.log(drawn[2][:, 1] / drawn[2][:, 0]) + _normal(rng, setting.bags, setting.group) for _ in "ab"
                ]
                less = auc_difference(drawn[1] == 1, *logits, groups=groups)
                ends["auc difference"].append((less.low, less.high))
                how["auc difference"] = "DeLong" if groups is None else "Obuchowski"
        for metric, one in intervals.items():
            ends[metric].append(one[:2])
            how[metric] = one.how
    counted = {metric: _counted(truth[metric], np.array(of)) | {"how": how[metric]} for metric, of in ends.items()}
    return {"metrics": counted, "seconds": time.process_time() - begin}


def _counted(truth: float, ends: NDArray[np.float64]) -> dict[str, Any]:
    known = ends[np.isfinite(ends).all(axis=1)]
    below, above = truth < known[:, 0], truth > known[:, 1]
    return {
        "truth": truth,
        "coverage": float(np.mean(~below & ~above)),
        "below": float(below.mean()),
        "above": float(above.mean()),
        "width": float((known[:, 1] - known[:, 0]).mean()),
        "defined": len(known),
    }


def _truth_of_models(setting: Setting, rng: np.random.Generator) -> dict[str, float]:
    """Give the mean over models that each learnt from as many fresh bags as those of a fold do."""
    found = []
    for _ in range(_MODELS):
        model = make("mean-logistic", C=1.0, random_state=0).fit(_learnt_from(rng, setting.bags * 4 // 5))
        fresh = _learnt_from(rng, 5_000)
        assert fresh.labels is not None
        found.append(measure(model.target_, fresh.labels, model.predict_proba(fresh), scoring=list(setting.metrics)))
    return {metric: float(np.mean([one[metric] for one in found])) for metric in setting.metrics}


# ---- what comes of it -------------------------------------------------------------------------------------


def of_setting(asked: Sequence[Question], answers: Sequence[Found]) -> list[dict[str, Any]]:
    """Give a row a metric.

    Parameters
    ----------
    asked, answers
        The question of a setting, and what was found.

    Returns
    -------
    list of dict
    """
    return [
        {"metric": metric, "sets": one["sets"], **found}
        | {"se": float(np.sqrt(found["coverage"] * (1 - found["coverage"]) / max(found["defined"], 1)))}
        for one, told in zip(asked, answers, strict=True)
        for metric, found in told["metrics"].items()
    ]


def tables(found: Sequence[Row]) -> str:
    """Show the coverage as Markdown: of intervals in closed form, and of bootstraps.

    Parameters
    ----------
    found
        Rows.

    Returns
    -------
    str
    """
    shown = []
    for title, drawn in (("in closed form", False), ("by a bootstrap", True)):
        of = [row for row in found if (row["how"] == "bootstrap") == drawn]
        cells = {(row["setting"], row["metric"]): short(row["coverage"]) for row in of}
        metrics = list(dict.fromkeys(row["metric"] for row in of))
        sets = {row["setting"]: f"{row['sets']:,}" for row in of}
        lines = [[name, count, *(cells.get((name, one), "") for one in metrics)] for name, count in sets.items()]
        if lines:
            shown.append(markdown_table([title, "sets", *metrics], lines))
    return "\n".join(shown)


PART = Part(
    "intervals",
    "How often 95 % intervals hold the truth",
    lambda study: questions(study.seed, study.draws),
    lambda question, _: answer(question),
    of_setting,
    tables,
)
