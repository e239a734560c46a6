"""What models say of bags that nobody learnt from, again and again: sets and calibration are both held against it."""

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bagwise.bags import Bags
from bagwise.commands.data import digest_of_labelled
from bagwise.datasets.generator import mnist_bags
from bagwise.evaluation.protocol import Folds
from bagwise.experiments.auto_cells import CLASSICAL, named
from bagwise.experiments.cells import as_numbers, as_text
from bagwise.experiments.mnist_bags import TARGET, VARIANCES, as_vectors, digest_of_digits
from bagwise.methods.families import AttentionMIL
from bagwise.targets.classes import ClassTarget
from bagwise.trust.calibration import event_columns, log_odds, sigmoid
from bagwise.trust.held_out import divided, fold_models, hold_out

__all__ = [
    "CLASSES",
    "CV",
    "DIGITS",
    "GROUPED",
    "IGNORED",
    "SETS",
    "SPLITS",
    "Said",
    "answer",
    "as_answers",
    "drawn",
    "made",
    "questions",
    "read",
]

# Texts and bird song are what the classical five are not, molecules and photographs; one recording in five is positive.
NAMED = (*CLASSICAL, "news2", "birds_hammonds")
GROUPED, DIGITS = "60 groups of 4", "bags of digits"
SETS = (*NAMED, GROUPED, DIGITS)
CV, IGNORED = "CV+", "CV+, groups ignored"
SPLITS = {"split 50/50": 2, "split 75/25": 4}  # one part of so many is held out
CLASSES = ClassTarget.of([0, 1])
_RESAMPLINGS = 50
_FOLDS = 5  # of which one is the outer test
_ALIKE = 0.7  # the share of the variance that bags of a group have in common
_GROUPS, _OF_A_GROUP, _FRESH_GROUPS = 60, 4, 250
_DIGIT_BAGS, _FRESH_DIGIT_BAGS, _DIGITS_A_BAG = 150, 500, 10
_DIGITS_THAT_COUNT = 6  # of log-odds


class Said(NamedTuple):
    """What models say in one way of holding bags out: of these bags, and of bags that nobody learnt from.

    Attributes
    ----------
    held_out
        Positions among the bags to learn from, shape (n,).
    fold
        Which model did not learn from each, shape (n,).
    answers
        Of it about each, shape (n, 2).
    asked
        Of each model about the bags for test, shape (K, B, 2).
    """

    held_out: NDArray[np.int64]
    fold: NDArray[np.int64]
    answers: NDArray[np.float64]
    asked: NDArray[np.float64]


def questions(seed: int, resamplings: int | None, data_dir: Path | None) -> Iterator[dict[str, Any]]:
    """Ask for resamplings, so that all sets have one before one has the next.

    Parameters
    ----------
    seed
        Decides what is drawn.
    resamplings
        Of each set; None: 50.
    data_dir
        Where sets lie.

    Yields
    ------
    dict
        A question.
    """
    digests = {name: digest_of_labelled(named(name, data_dir)) for name in NAMED if name in SETS}
    if DIGITS in SETS:
        digests[DIGITS] = digest_of_digits("full", data_dir)
    for draw in range(resamplings or _RESAMPLINGS):
        for name in SETS:
            yield {"part": "coverage", "setting": name, "digest": digests.get(name), "seed": seed, "draw": draw}


def drawn(question: Mapping[str, Any], data_dir: Path | None) -> tuple[Bags, Bags]:
    """Divide a set anew, or draw one.

    Parameters
    ----------
    question
        One of `questions`.
    data_dir
        Where sets lie.

    Returns
    -------
    tuple of Bags
        Those to learn from, and those for test: one of five stratified folds, or where the set is drawn fresh ones, of
        other groups, of other images.

    Examples
    --------
    >>> learnt, fresh = drawn({"setting": "60 groups of 4", "seed": 0, "draw": 0}, None)
    >>> len(learnt), len(fresh), len(np.unique(learnt.groups))
    (240, 1000, 60)
    """
    name, seeds, draw = question["setting"], [question["seed"], question["draw"]], question["draw"]
    if name == GROUPED:
        rng = np.random.default_rng(seeds)
        return made(_GROUPS, rng), made(_FRESH_GROUPS, rng)
    if name == DIGITS:
        both = mnist_bags(
            TARGET,
            count=_DIGIT_BAGS,
            test_count=_FRESH_DIGIT_BAGS,
            mean_size=_DIGITS_A_BAG,
            variance=VARIANCES[_DIGITS_A_BAG],
            seed=int(np.random.SeedSequence(seeds).generate_state(1)[0]),
            directory=data_dir,
        )
        return as_vectors(both.train), as_vectors(both.test)
    bags = named(name, data_dir)
    split = Folds(bags, _FOLDS, draw // _FOLDS + 1, question["seed"]).splits[draw]
    return bags[split.train], bags[split.test]


def made(groups: int, rng: np.random.Generator) -> Bags:
    """Make bags of which those of a group are alike: in labels, and in where their instances lie.

    Parameters
    ----------
    groups
        How many, of four bags each.
    rng
        What draws.

    Returns
    -------
    Bags
        Of five instances of ten features each, in two of which positive bags lie off by as much as bags differ.

    Examples
    --------
    >>> made(3, np.random.default_rng(0)).groups.tolist()
    [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]
    """
    count, features = _OF_A_GROUP * groups, 10

    def alike(*shape: int) -> NDArray[np.float64]:
        shared = np.repeat(rng.normal(size=(groups, *shape)), _OF_A_GROUP, axis=0)
        found: NDArray[np.float64] = np.sqrt(_ALIKE) * shared + np.sqrt(1 - _ALIKE) * rng.normal(size=(count, *shape))
        return found

    labels = (alike() > 0).astype(np.int64)
    places = alike(features)
    places[:, :2] += labels[:, None]
    instances = places[:, None] + rng.normal(size=(count, 5, features))
    return Bags.from_arrays(list(instances), labels=labels, groups=np.repeat(np.arange(groups), _OF_A_GROUP))


# ---- one cell ---------------------------------------------------------------------------------------------


def answer(question: Mapping[str, Any], data_dir: Path | None) -> dict[str, Any]:
    """Learn from some bags as `bagwise fit` does, hold bags out in several ways, and ask about bags for test.

    Parameters
    ----------
    question
        One of `questions`.
    data_dir
        Where sets lie.

    Returns
    -------
    dict
        Labels of the bags learnt from and ``tested``, ``groups`` (None where there are none), what the model of ``all``
        bags says of those for test, and of each of the ``ways`` to hold bags out what `read` gives; ``seconds``.
        Answers are log-odds of the positive class.
    """
    begin = time.process_time()
    learnt, tested = drawn(question, data_dir)
    assert learnt.labels is not None
    assert tested.labels is not None
    model = AttentionMIL(random_state=question["draw"])
    everything = np.arange(len(learnt))
    whole = hold_out(model, learnt, seed=question["draw"], n_jobs=1)
    ways = {CV: _told(everything, whole.fold, whole.answers, whole.models, tested)}
    splits = {way: divided(learnt, folds=parts, seed=question["draw"])[0] for way, parts in SPLITS.items()}
    models = fold_models(model, learnt, [split.train for split in splits.values()], n_jobs=1)
    for (way, split), one in zip(splits.items(), models, strict=True):
        nobody = np.zeros(len(split.test), np.int64)
        ways[way] = _told(split.test, nobody, one.answers(learnt[split.test]), [one], tested)
    if learnt.groups is not None:
        without = Bags(learnt.instances, learnt.offsets, learnt.labels, learnt.names)
        blind = hold_out(model, without, seed=question["draw"], n_jobs=1)
        ways[IGNORED] = _told(everything, blind.fold, blind.answers, blind.models, tested)
    return {
        "learnt": as_text(learnt.labels),
        "tested": as_text(tested.labels),
        "groups": None if learnt.groups is None else as_text(np.unique(learnt.groups, return_inverse=True)[1]),
        "all": _as_odds(AttentionMIL(random_state=question["draw"]).fit(learnt).answers(tested)),
        "ways": ways,
        "seconds": round(time.process_time() - begin, 1),
    }


def _told(
    held_out: NDArray[np.int64],
    fold: NDArray[np.int64],
    answers: NDArray[Any],
    models: Sequence[Any],
    tested: Bags,
) -> dict[str, Any]:
    return {
        "held_out": as_text(held_out),
        "fold": as_text(fold),
        "answers": _as_odds(answers),
        "asked": [_as_odds(model.answers(tested)) for model in models],
    }


def read(told: Mapping[str, Any]) -> Said:
    """Read what a cell says of one way to hold bags out.

    Parameters
    ----------
    told
        One of the ``ways`` of `answer`.

    Returns
    -------
    Said

    Examples
    --------
    >>> read({"held_out": "0 2", "fold": "0 1", "answers": "0 1.386", "asked": ["0", "-1.386"]}).asked.round(3).tolist()
    [[[0.5, 0.5]], [[0.8, 0.2]]]
    """
    held_out, fold = (as_numbers(told[name]).astype(np.int64) for name in ("held_out", "fold"))
    return Said(held_out, fold, as_answers(told["answers"]), np.stack([as_answers(one) for one in told["asked"]]))


def as_answers(text: str) -> NDArray[np.float64]:
    """Read probabilities, of log-odds of the positive class in one text.

    Parameters
    ----------
    text
        B numbers.

    Returns
    -------
    array
        Of both classes, shape (B, 2).

    Examples
    --------
    >>> as_answers("0 1.386").round(3).tolist()
    [[0.5, 0.5], [0.2, 0.8]]
    """
    return event_columns(CLASSES, sigmoid(as_numbers(text))[:, None])


def _as_odds(answers: NDArray[Any]) -> str:
    return as_text(log_odds(CLASSES, answers)[:, 0], _DIGITS_THAT_COUNT)
