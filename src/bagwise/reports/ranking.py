"""Figures of probabilities of classes: ROC, precision and recall, calibration."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)

from bagwise.evaluation.calibration import reliability
from bagwise.reports.drawing import REFERENCE, add_legend, handle, new_figure, square
from bagwise.reports.predictions import Predictions

__all__ = ["draw_calibration", "draw_precision_recall", "draw_roc"]

_MOST_BINS = 10
_LEAST_BAGS_A_BIN = 10

_Curve = tuple[NDArray[np.float64], NDArray[np.float64]]


def draw_roc(
    path: str | Path,
    labels: ArrayLike,
    probabilities: Mapping[str, ArrayLike],
    classes: ArrayLike,
    positive: Any = None,
) -> None:
    """Draw the ROC curves of one or several methods.

    With two classes there is a line a method, of the positive class. With more, a single method has a line for each
    class against the rest; several methods, or more than 12 classes, have a line a method, the mean of those curves
    over the classes.

    Of several repetitions the strong line is the mean of their curves at equal false positive rates; where there
    are at most four such lines, a thin line shows each repetition. The legend's area under the curve is the mean over
    repetitions (and classes), which is the area under the strong line. It ranks all bags together, while
    `cross_validate` ranks the bags of each fold by themselves, so the two differ a little.

    Parameters
    ----------
    path
        Where to write, as SVG or PNG by its ending. A file that is there is replaced when the new one is complete.
    labels
        True labels, shape (B,).
    probabilities
        Out-of-fold probabilities of each method by its name, of shape (B, number of classes) or (repeats, B, number of
        classes); NaN where a bag was not tested.
    classes
        The classes in the order of the columns, shape (number of classes,).
    positive
        With two classes, the one that the curve is about; None chooses as `bagwise.classes.positive_of` does.

    Raises
    ------
    BagwiseError
        If labels or probabilities will not do, all bags are of one class, there are more than 18 methods, or the file
        cannot be written.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "roc.svg"
    >>> probabilities = [[0.8, 0.2], [0.6, 0.4], [0.7, 0.3], [0.1, 0.9]]
    >>> draw_roc(path, ["no", "no", "yes", "yes"], {"attention": probabilities}, ["no", "yes"])
    >>> "0.750  attention" in path.read_text(encoding="utf-8")
    True
    """
    predictions = Predictions.of(labels, probabilities, classes, positive)
    predictions.check_two_classes("an ROC curve")
    with new_figure(path) as (figure, shown):
        axes = square(
            figure, "False positive rate (fraction of negative bags)", "True positive rate (fraction of positive bags)"
        )
        axes.plot([0, 1], [0, 1], **REFERENCE)
        handles, named = [], predictions.names_in(shown)
        for line, style in predictions.styled():
            by_repeat = line.ranked_by_repeat()
            curves = [_mean_roc([roc_curve(*pair)[:2] for pair in pairs]) for pairs in by_repeat if pairs]
            areas = [roc_auc_score(*pair) for pairs in by_repeat for pair in pairs]
            if curves:
                _draw_line(axes, curves, _mean_roc(curves), predictions.thin_lines, style)
            handles.append(handle(named(line.name), _mean_or_dash(areas), style))
        handles.append(handle("chance", "0.500", REFERENCE))
        axes.set_title("\n".join([predictions.positive(shown), *predictions.said_of_mean()]))
        add_legend(figure, "Area under the curve", handles)


def draw_precision_recall(
    path: str | Path,
    labels: ArrayLike,
    probabilities: Mapping[str, ArrayLike],
    classes: ArrayLike,
    positive: Any = None,
) -> None:
    """Draw the precision of one or several methods at each recall.

    Lines are those of `draw_roc`. Precision is a step function of recall, and the strong line over several
    repetitions or classes is the mean of the step functions. The legend's average precision is the mean over
    repetitions (and classes), which is the area under the strong line.

    Parameters
    ----------
    path, labels, probabilities, classes, positive
        As in `draw_roc`.

    Raises
    ------
    BagwiseError
        As `draw_roc` does.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "precision-recall.svg"
    >>> probabilities = [[0.8, 0.2], [0.6, 0.4], [0.7, 0.3], [0.1, 0.9]]
    >>> draw_precision_recall(path, ["no", "no", "yes", "yes"], {"attention": probabilities}, ["no", "yes"])
    >>> "0.833  attention" in path.read_text(encoding="utf-8")
    True
    """
    predictions = Predictions.of(labels, probabilities, classes, positive)
    predictions.check_two_classes("precision and recall")
    with new_figure(path) as (figure, shown):
        axes = square(figure, "Recall (fraction of positive bags)", "Precision (fraction of bags called positive)")
        handles, named = [], predictions.names_in(shown)
        for line, style in predictions.styled():
            by_repeat = line.ranked_by_repeat()
            curves = [_mean_steps([_rising(*pair) for pair in pairs]) for pairs in by_repeat if pairs]
            averages = [average_precision_score(*pair) for pairs in by_repeat for pair in pairs]
            if curves:
                stepped = {**style, "drawstyle": "steps-pre"}
                _draw_line(axes, curves, _mean_steps(curves), predictions.thin_lines, stepped)
            handles.append(handle(named(line.name), _mean_or_dash(averages), style))
        if predictions.is_binary:
            chance = float(np.mean(predictions.codes == predictions.column))
            axes.plot([0, 1], [chance, chance], **REFERENCE)
            handles.append(handle("chance", f"{chance:.3f}", REFERENCE))
        axes.set_title("\n".join([predictions.positive(shown), *predictions.said_of_mean()]))
        add_legend(figure, "Average precision", handles)


def draw_calibration(
    path: str | Path,
    labels: ArrayLike,
    probabilities: Mapping[str, ArrayLike],
    classes: ArrayLike,
    positive: Any = None,
) -> None:
    """Draw how often what was predicted with a probability came true: a reliability diagram.

    With two classes there is a line a method, of the probability of the positive class. With more, a single method has
    a line a class, of the probability of that class; several methods, or more than 12 classes, have a line a method, of
    the probability of the predicted class, and what came true is that the prediction was right.

    Bins are of equal counts, as `bagwise.evaluation.calibration.reliability` makes them: ten, or fewer where a bin
    would hold less than ten bags. Of several repetitions the strong line is of all their predictions together; where
    there are at most four such lines, a thin line shows each repetition. The legend's expected calibration error and
    Brier score are means over repetitions.

    Parameters
    ----------
    path, labels, probabilities, classes, positive
        As in `draw_roc`.

    Raises
    ------
    BagwiseError
        If labels or probabilities will not do, there are more than 18 methods, or the file cannot be written.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "calibration.svg"
    >>> probabilities = [[0.8, 0.2], [0.6, 0.4], [0.7, 0.3], [0.1, 0.9]]
    >>> draw_calibration(path, ["no", "no", "yes", "yes"], {"attention": probabilities}, ["no", "yes"])
    >>> "0.050  0.175  attention" in path.read_text(encoding="utf-8")
    True
    """
    predictions = Predictions.of(labels, probabilities, classes, positive)
    bins = int(np.clip(predictions.fewest // _LEAST_BAGS_A_BIN, 1, _MOST_BINS))
    with new_figure(path) as (figure, shown):
        what = "right predictions" if predictions.one_line_for_all_classes else "positive bags"
        axes = square(figure, "Predicted probability", f"Fraction of {what}")
        axes.plot([0, 1], [0, 1], **REFERENCE)
        handles, named = [], predictions.names_in(shown)
        for line, style in predictions.styled():
            events = line.events_by_repeat()
            by_repeat = [reliability(*pair, bins) for pair in events]
            briers = [brier_score_loss(*pair, labels=[False, True], pos_label=True) for pair in events]
            outcomes, values = (np.concatenate(parts) for parts in zip(*events, strict=True))
            together = reliability(outcomes, values, bins)
            marked = {**style, "marker": "o", "markersize": 3}
            thin = [(found.predicted, found.observed) for found in by_repeat]
            _draw_line(axes, thin, (together.predicted, together.observed), predictions.thin_lines, marked)
            numbers = f"{np.mean([found.error for found in by_repeat]):.3f}  {np.mean(briers):.3f}"
            handles.append(handle(named(line.name), numbers, style))
        handles.append(handle("perfect", "0.000", REFERENCE))
        said = [
            "Probability of the predicted class"
            if predictions.one_line_for_all_classes
            else predictions.positive(shown)
        ]
        axes.set_title("\n".join(said + predictions.said_of_repetitions("all together")))
        add_legend(figure, "Expected calibration\nerror, Brier score", handles)


# ---- curves -----------------------------------------------------------------------------------------------


def _mean_roc(curves: list[_Curve]) -> _Curve:
    """Average true positive rates at equal false positive rates, on both sides of every upright step."""
    grid = np.unique(np.concatenate([false for false, _ in curves]))
    below = np.mean([np.interp(-grid, -false[::-1], true[::-1]) for false, true in curves], axis=0)
    above = np.mean([np.interp(grid, false, true) for false, true in curves], axis=0)
    return np.repeat(grid, 2), np.column_stack([below, above]).ravel()


def _rising(outcomes: NDArray[np.bool_], values: NDArray[np.float64]) -> _Curve:
    precision, recall, _ = precision_recall_curve(outcomes, values)
    return recall[::-1], precision[::-1]


def _mean_steps(curves: list[_Curve]) -> _Curve:
    """Average precisions at equal recalls, each that of the highest threshold that reaches the recall."""
    grid = np.unique(np.concatenate([recall for recall, _ in curves]))
    return grid, np.mean([precision[np.searchsorted(recall, grid)] for recall, precision in curves], axis=0)


def _draw_line(
    axes: Axes,
    by_repeat: list[_Curve],
    strong: _Curve,
    thin_lines: bool,
    style: dict[str, Any],
) -> None:
    if thin_lines and len(by_repeat) > 1:
        for curve in by_repeat:
            axes.plot(*curve, **{**style, "linewidth": 0.6, "alpha": 0.35, "marker": ""})
    axes.plot(*strong, **style)


def _mean_or_dash(values: list[float]) -> str:
    return f"{np.mean(values):.3f}" if values else "–"
