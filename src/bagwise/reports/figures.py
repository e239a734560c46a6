"""Which figures and tables show what a cross-validation found: a line a kind of target."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bagwise.evaluation.judged import Told
from bagwise.evaluation.metrics import METRICS, mean_defined, measure
from bagwise.reports.confusion import draw_confusion
from bagwise.reports.lives import draw_lives, risk_thirds
from bagwise.reports.ranking import draw_calibration, draw_precision_recall, draw_roc
from bagwise.reports.scatter import draw_predicted
from bagwise.reports.view import Table

__all__ = ["FIGURES", "Drawing", "OutOfFold", "figures_of", "table_of_labels", "tables_of"]

_OF_LABELS = ("auc", "average_precision", "precision", "recall", "brier")


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """Out-of-fold answers of several methods about the same bags.

    Attributes
    ----------
    target
        What labels are.
    labels
        True labels, as the target has them, shape (B, ...).
    answers
        Of each method by its name, shape (repeats, B, A); NaN of a bag that no fold tested.
    folds
        In which fold each bag was tested, shape (repeats, B).
    weights
        What each bag counts in tables, shape (B,); None where all count the same.
    decided
        What methods predict that decide by thresholds of their own, shape (repeats, B); of others nothing.

    Examples
    --------
    >>> from bagwise.targets.classes import ClassTarget
    >>> target, answers = ClassTarget.of([0, 1]), np.array([[[0.9, 0.1], [np.nan, np.nan]]])
    >>> OutOfFold(target, np.array([0, 1]), {"attention": answers}, np.array([[0, -1]])).known().labels.tolist()
    [0]
    """

    target: Told
    labels: NDArray[Any]
    answers: Mapping[str, NDArray[np.float64]]
    folds: NDArray[np.int64]
    weights: NDArray[np.float64] | None = None
    decided: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def known(self) -> "OutOfFold":
        """Leave out the bags that no repetition tested."""
        tested = (self.folds >= 0).any(axis=0)
        answers = {name: given[:, tested] for name, given in self.answers.items()}
        weights = None if self.weights is None else self.weights[tested]
        decided = {name: given[:, tested] for name, given in self.decided.items()}
        return OutOfFold(self.target, self.labels[tested], answers, self.folds[:, tested], weights, decided)

    def predicted(self, method: str) -> NDArray[Any]:
        """Give what a method's answers come down to, shape (repeats, B, ...); None of a bag that was not tested."""
        predicted = self.decided.get(method)
        if predicted is None:
            predicted = np.stack([self.target.predicted(given) for given in self.answers[method]])
        if (self.folds < 0).any():
            predicted = predicted.astype(object)
            predicted[self.folds < 0] = None
        return predicted


class Drawing(NamedTuple):
    """A figure to draw.

    Attributes
    ----------
    file
        What its file is called, without an ending. Methods are numbered: their names differ by case alone, which file
        systems may not.
    title
        What stands above it.
    draw
        Draws it into a file.

    Examples
    --------
    >>> Drawing("roc", "ROC", lambda path: None).file
    'roc'
    """

    file: str
    title: str
    draw: Callable[[Path], None]


def _of_classes(found: OutOfFold) -> list[Drawing]:
    told: Any = found.target
    shown = {"probabilities": found.answers, "labels": found.labels, "classes": told.names, "positive": told.positive}
    ranked = [("roc", "ROC", draw_roc), ("precision_recall", "Precision and recall", draw_precision_recall)]
    several = len(np.unique(found.labels)) > 1  # without which nothing is ranked
    curves = [
        Drawing(file, title, partial(draw, **shown))
        for file, title, draw in (*(ranked if several else []), ("calibration", "Calibration", draw_calibration))
    ]
    return [*curves, *_confusions(found, "class")]


def _confusions(found: OutOfFold, called: str) -> list[Drawing]:
    told: Any = found.target
    given = {"labels": found.labels, "classes": told.names, "called": called}
    return [
        Drawing(
            f"confusion_{number}",
            f"Confusion of {name}",
            partial(draw_confusion, predicted=found.predicted(name), **given),
        )
        for number, name in enumerate(found.answers)
    ]


def _of_numbers(found: OutOfFold) -> list[Drawing]:
    labels = np.asarray(found.labels, float).reshape(len(found.labels), -1)
    told: Any = found.target
    names = told.label_names or [f"number {column + 1}" for column in range(labels.shape[1])]
    drawings = []
    for number, (name, answers) in enumerate(found.answers.items()):
        for column in range(labels.shape[1]):
            of, place = (f", {names[column]}", f"_{column}") if labels.shape[1] > 1 else ("", "")
            called = names[column] if labels.shape[1] > 1 else None
            draw = partial(draw_predicted, labels=labels[:, column], predicted=answers[:, :, column], called=called)
            drawings.append(Drawing(f"predicted_{number}{place}", f"Predicted and true, {name}{of}", draw))
    return drawings


def _of_lives(found: OutOfFold) -> list[Drawing]:
    event, time = (found.labels[name] for name in found.labels.dtype.names or ())
    return [
        Drawing(
            f"survival_{number}",
            f"Survival by the risk that {name} predicts",
            partial(draw_lives, event=event, time=time, thirds=risk_thirds(answers[:, :, 0], found.folds)),
        )
        for number, (name, answers) in enumerate(found.answers.items())
    ]


def _of_others(_: OutOfFold) -> list[Drawing]:
    return []


FIGURES: dict[str, Callable[[OutOfFold], list[Drawing]]] = {
    "classes": _of_classes,
    "multi-label": _of_others,  # which have a table
    "real": _of_numbers,
    "count": _of_numbers,
    "ordinal": partial(_confusions, called="grade"),
    "survival": _of_lives,
}


def figures_of(found: OutOfFold) -> list[Drawing]:
    """Say which figures show what was found.

    Parameters
    ----------
    found
        The answers; bags that no repetition tested are left out.

    Returns
    -------
    list of Drawing

    Examples
    --------
    >>> from bagwise.targets.classes import ClassTarget
    >>> target, answers = ClassTarget.of([0, 1]), np.array([[[0.9, 0.1], [0.2, 0.8]]])
    >>> found = OutOfFold(target, np.array([0, 1]), {"attention": answers}, np.array([[0, 1]]))
    >>> [drawing.file for drawing in figures_of(found)]
    ['roc', 'precision_recall', 'calibration', 'confusion_0']
    """
    return FIGURES.get(found.target.kind, _of_others)(found.known())


def tables_of(found: OutOfFold) -> list[Table]:
    """Say which tables show what was found, beside the one of how good methods are: of several labels one a method.

    Parameters
    ----------
    found
        The answers.

    Returns
    -------
    list of Table

    Examples
    --------
    >>> from bagwise.targets.classes import ClassTarget
    >>> tables_of(OutOfFold(ClassTarget.of([0, 1]), np.array([0, 1]), {}, np.zeros((1, 2))))
    []
    """
    if found.target.kind != "multi-label":
        return []
    return [table_of_labels(found, name) for name in found.answers]


def table_of_labels(found: OutOfFold, method: str) -> Table:
    """Measure each label of a multi-label target by itself.

    Parameters
    ----------
    found
        Out-of-fold answers.
    method
        The name of one of the methods.

    Returns
    -------
    Table
        Of each label in how many bags it is known, what share of them has it, and metrics over them: means over the
        repetitions, a dash where the bags leave one undefined.

    Examples
    --------
    >>> from bagwise.targets.registry import TARGETS
    >>> labels, folds = np.array([[1.0, 0.0], [0.0, np.nan], [1.0, 1.0]]), np.zeros((1, 3), int)
    >>> answers = {"own": labels[None].clip(0.1, 0.9)}
    >>> table_of_labels(OutOfFold(TARGETS["multi-label"].of(labels), labels, answers, folds), "own").rows[0][:4]
    ['0', '3', '67%', '1.000']
    """
    kept = found.known()
    told: Any = kept.target
    rows = []
    for column, name in enumerate(told.names):
        own = kept.labels[:, [column]]
        known = own[~np.isnan(own)]
        values = [
            measure(
                kept.target,
                own[tested],
                answers[tested][:, [column]],
                scoring=_OF_LABELS,
                weights=None if kept.weights is None else kept.weights[tested],
            )
            for answers, tested in zip(kept.answers[method], kept.folds >= 0, strict=True)
        ]
        means = [mean_defined(value[metric] for value in values) for metric in _OF_LABELS]
        shown = ["–" if np.isnan(mean) else f"{mean:.3f}" for mean in means]
        prevalence = f"{known.mean():.0%}" if len(known) else "–"
        rows.append([str(name), f"{len(known):,}", prevalence, *shown])
    return Table(
        f"Labels, judged by {method}",
        ["Label", "Known bags", "Prevalence", *(METRICS[metric].title for metric in _OF_LABELS)],
        rows,
        "Each label over the bags in which it is known, all folds together.",
    )
