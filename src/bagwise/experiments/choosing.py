"""What each method can do and what it costs, found out by asking it: the table that helps to choose one."""

import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from bagwise.bags import Bags
from bagwise.checks import check_names
from bagwise.claims import claims_folder
from bagwise.commands.runs import write_json
from bagwise.errors import BagwiseError, BagwiseWarning
from bagwise.experiments.cells import OLDER, cells_on_workers, environment
from bagwise.experiments.markdown import markdown_table
from bagwise.experiments.options import Choosing
from bagwise.files import write_text
from bagwise.methods.base import BagEstimator
from bagwise.methods.neural import NeuralMIL
from bagwise.methods.registry import METHODS, make
from bagwise.targets.registry import TARGETS

__all__ = ["run_choosing", "table"]

_FAR = 1e4  # between a bag and its copy, so that no instance of one is near one of the other
SMALL, LARGE = (100, 5, 166), (8, 2000, 512)  # bags, instances, features
LAPS = 3
ASKED_OF = 80  # bags: boosting divides none of fewer than forty
OF_A_BAG = 12  # more than a graph has neighbours


@claims_folder("reproduce", older=OLDER)
def run_choosing(out: Path, study: Choosing, *, tell: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Ask methods what they take, what their answers depend on, and what they cost.

    Parameters
    ----------
    out
        The folder for ``choosing.json``, ``choosing.md`` and, cell by cell, ``cells/``.
    study
        Which methods are asked.
    tell
        Is told of each finished method.

    Returns
    -------
    dict
        What is in ``choosing.json``; a row a method. ``targets`` is the kinds of label that it learns, ``by_class``
        whether it weighs instances for each class apart, ``signed`` whether they may speak against a class, ``counts``
        whether a bag put twice into itself is another bag, ``knows`` what else decides how much an instance weighs
        against another (``"places"`` that they have, ``"all"`` the others, or None), ``order`` whether the order of
        instances matters; ``seconds`` the CPU-seconds of a fit of small bags by default, and ``large`` those of an
        epoch of large bags, against attention's, of neural methods.

    Raises
    ------
    BagwiseError
        If a parameter will not do, or the folder is in use.
    """
    check_names(study.methods, "method")
    for name in study.methods:
        make(name)
    questions = [{"method": name} for name in study.methods or METHODS]
    rows = cells_on_workers(
        out / "cells", questions, _row, jobs=study.jobs, tell=lambda asked, *_: tell(f"{asked['method']} is asked")
    )
    results = {
        "experiment": "choosing",
        "environment": environment(),
        "small": SMALL,
        "large": LARGE,
        "rows": rows,
    }
    write_json(out / "choosing.json", results)
    write_text(out / "choosing.md", table(results))
    return results


def _row(question: Mapping[str, str]) -> dict[str, Any]:
    name = question["method"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BagwiseWarning)
        return {"method": name, **_manners(name), **_cost(name)}


# ---- what it takes, and what its answers depend on -------------------------------------------------------------------


def _manners(name: str) -> dict[str, Any]:
    bags = _bags(ASKED_OF, OF_A_BAG, 4, classes=2)
    model = _quick(name).fit(bags)
    said = model.decision_function(bags)
    counts, moves, turns = (
        not _alike(model.decision_function(_changed(bags, change)), said) for change in (_doubled, _moved, _turned)
    )
    of_classes = _of_classes(name, _bags(24, OF_A_BAG, 4, classes=3))
    return {
        "targets": [kind for kind in TARGETS if _learns(name, kind)],
        "several_classes": of_classes is not None,
        **(of_classes or {"by_class": False, "signed": False}),
        "counts": counts,
        "knows": "places" if moves else "all" if _minds_a_third(model, bags) else None,
        "order": turns,
    }


def _quick(name: str, **given: Any) -> BagEstimator:
    """Make a method that is fitted in a moment, in double precision where it has one."""
    model = make(name, random_state=0, **given)
    if isinstance(model, NeuralMIL):
        model.set_params(epochs=3, precision="float64", learning_rate=1e-3)
    return model


def _bags(count: int, size: int, features: int, *, classes: int, seed: int = 0) -> Bags:
    """Draw bags whose instances stand somewhere in a plane: a later class shifts half of them, and has more."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    arrays = [rng.normal(size=(size + 2 * label, features)) for label in labels]
    for label, array in zip(labels, arrays, strict=True):
        array[: len(array) // 2, 0] += 2 * label
    return Bags.from_arrays(arrays, labels, coordinates=[rng.uniform(0, 100, (len(array), 2)) for array in arrays])


def _changed(bags: Bags, change: Callable[[NDArray[Any], NDArray[Any]], tuple[NDArray[Any], NDArray[Any]]]) -> Bags:
    """Change instances and places of each bag."""
    assert bags.coordinates is not None
    instances, places = (np.split(of_all, bags.offsets[1:-1]) for of_all in (bags.instances, bags.coordinates))
    changed = zip(*map(change, instances, places), strict=True)
    instances, places = map(list, changed)
    return Bags.from_arrays(instances, bags.labels, coordinates=places)


def _doubled(instances: NDArray[Any], places: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    return np.concatenate([instances, instances]), np.concatenate([places, places + _FAR])


def _moved(instances: NDArray[Any], places: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    return instances, np.roll(places, 1, axis=0)


def _turned(instances: NDArray[Any], places: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    return instances[::-1], places[::-1]


def _alike(one: NDArray[Any], other: NDArray[Any]) -> bool:
    return bool(np.allclose(one, other, rtol=1e-6, atol=1e-6))


def _minds_a_third(model: BagEstimator, bags: Bags) -> bool:
    """Say whether a third instance decides what two weigh against each other; of models without weights they say it."""
    if not hasattr(model, "attention"):
        return isinstance(model, NeuralMIL) and model.model_.ties_instances

    def other_first(instances: NDArray[Any], places: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        return np.concatenate([instances[:1] + 3, instances[1:]]), places

    ratios = []
    for some in (bags, _changed(bags, other_first)):
        weights = model.attention(some)
        second = some.offsets[:-1] + 1
        ratios.append(weights[second] / weights[second + 1])
    return not _alike(*ratios)


def _of_classes(name: str, bags: Bags) -> dict[str, bool] | None:
    """Say what instances are told to say of three classes; None of a method that learns two only."""
    try:
        model = _quick(name).fit(bags)
    except BagwiseError:
        return None
    told = [getattr(model, asked)(bags) for asked in ("attention", "contributions") if hasattr(model, asked)]
    signed = bool(told) and hasattr(model, "contributions") and bool((told[-1] < 0).any() and (told[-1] > 0).any())
    return {"by_class": any(one.ndim == 2 for one in told), "signed": signed}


def _learns(name: str, kind: str) -> bool:
    rng = np.random.default_rng(0)
    labels: NDArray[Any] = {
        "multi-label": rng.integers(0, 2, (24, 2)),
        "real": rng.normal(size=24),
        "count": rng.poisson(3, 24),
        "ordinal": np.arange(24) % 3,
        "survival": np.array(
            [*zip(np.arange(24) % 3 > 0, rng.exponential(size=24), strict=True)],
            dtype=[("event", bool), ("time", float)],
        ),
    }.get(kind, np.arange(24) % 2)
    try:
        model = _quick(name, target="ordinal: 0 < 1 < 2" if kind == "ordinal" else kind)
        model.fit(_bags(24, 3, 4, classes=2).with_labels(labels))
    except BagwiseError:
        return False
    return True


# ---- what it costs ---------------------------------------------------------------------------------------------------


def _cost(name: str) -> dict[str, float | None]:
    model = make(name, random_state=0)
    count, size, features = SMALL
    seconds = _seconds(model, _bags(count, size, features, classes=2))
    if not isinstance(model, NeuralMIL):
        return {"seconds": seconds, "large": None}
    count, size, features = LARGE
    bags = _bags(count, size, features, classes=2)
    laps = [
        [_seconds(clone(one).set_params(epochs=1), bags) for one in (model, make("attention", random_state=0))]
        for _ in range(LAPS)
    ]
    return {"seconds": seconds, "large": float(np.median([ours / theirs for ours, theirs in laps]))}


def _seconds(model: BagEstimator, bags: Bags) -> float:
    begin = time.process_time()
    model.fit(bags)
    return time.process_time() - begin


# ---- the table -------------------------------------------------------------------------------------------------------

_SAID = {None: "", "places": "those near", "all": "all"}


def table(results: Mapping[str, Any], assumption: Mapping[str, Any] | None = None) -> str:
    """Show results as Markdown.

    Parameters
    ----------
    results
        As `run_choosing` gives them.
    assumption
        As `bagwise.experiments.mil_assumption.run_mil_assumption` gives them; None leaves that column out.

    Returns
    -------
    str
        Markdown.

    Examples
    --------
    >>> row = {"method": "attention", "targets": ["classes", "real"], "several_classes": True, "by_class": False}
    >>> row |= {"signed": False, "counts": False, "knows": None, "order": False, "seconds": 1.25, "large": 1.0}
    >>> print(table({"rows": [row]}))
    | method | labels | by class | against | counts | knows others | order | fit, s | large bags |
    |---|---|---|---|---|---|---|---|---|
    | attention | classes, real |  |  |  |  |  | 1.2 | 1.0 |
    <BLANKLINE>
    """
    heads = ["method", "labels", "by class", "against", "counts", "knows others", "order", "fit, s", "large bags"]
    verdicts: dict[str, list[str]] = {}
    for row in [] if assumption is None else assumption["rows"]:
        verdicts.setdefault(row["method"], []).append(row["problem"] if row["verdict"] != "passes" else "")
    lines = []
    for row in results["rows"]:
        labels = "all" if set(row["targets"]) == set(TARGETS) else ", ".join(row["targets"])
        if not row["several_classes"]:
            labels = labels.replace("classes", "two classes")
        marks = ["yes" if row[name] else "" for name in ("by_class", "signed", "counts")]
        large = "" if row["large"] is None else f"{row['large']:.1f}"
        line = [row["method"], labels, *marks, _SAID[row["knows"]], "yes" if row["order"] else ""]
        line += [f"{row['seconds']:.1f}", large]
        if assumption is not None:
            broken = verdicts.get(row["method"])
            line.append("" if broken is None else ", ".join(filter(None, broken)) or "keeps it")
        lines.append(line)
    return markdown_table(heads + ["MIL assumption, not kept in"] * (assumption is not None), lines)
