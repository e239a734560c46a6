"""A figure of predicted numbers beside true ones."""

from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import mean_absolute_error, r2_score

from bagwise.errors import BagwiseError
from bagwise.reports.drawing import COLOURS, GREY, REFERENCE, new_figure

__all__ = ["draw_predicted"]

_MOST_POINTS_AS_LINES = 2000  # beyond, an SVG holds their picture
_MANY_POINTS = 100


def draw_predicted(path: str | Path, labels: ArrayLike, predicted: ArrayLike, *, called: str | None = None) -> None:
    """Draw what was predicted of each bag over what is true: on the dotted line the two are equal.

    Parameters
    ----------
    path
        Where to write, as SVG or PNG by its ending. A file that is there is replaced when the new one is complete.
    labels
        True numbers, shape (B,).
    predicted
        Out-of-fold predictions, shape (B,) or (repeats, B); NaN where a repetition did not test a bag. Of several
        repetitions a point is their mean; R² and MAE are means over the repetitions.
    called
        What the number is called, one of several.

    Raises
    ------
    BagwiseError
        If shapes do not fit together, a value is no finite number, a bag or a repetition has no prediction, or the file
        cannot be written.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "predicted.svg"
    >>> draw_predicted(path, [1.0, 2.0, 4.0], [1.5, 2.0, 3.0])
    >>> "R² 0.732, MAE 0.5" in path.read_text(encoding="utf-8")
    True
    """
    true, given = np.asarray(labels, float), np.asarray(predicted, float)
    rows = given[None] if given.ndim == 1 else given
    if true.ndim != 1 or not true.size or rows.ndim != 2 or rows.shape[1:] != true.shape or not len(rows):
        raise BagwiseError(
            f"the labels have shape {true.shape}, the predictions {given.shape}: give (B,), and (B,) or (repeats, B)"
        )
    tested = ~np.isnan(rows)
    if not (np.isfinite(true).all() and np.isfinite(rows[tested]).all() and tested.any(axis=0).all()):
        raise BagwiseError("a label or a prediction is no finite number: leave its bag out")
    if not tested.any(axis=1).all():
        raise BagwiseError("a repetition has no prediction: leave it out")
    pairs = [(true[known], row[known]) for row, known in zip(rows, tested, strict=True)]
    some = all(len(np.unique(of)) > 1 for of, _ in pairs)
    r2 = f"{np.mean([r2_score(*pair) for pair in pairs]):.3f}" if some else "–"
    mae = np.mean([mean_absolute_error(*pair) for pair in pairs])
    points = np.nanmean(rows, axis=0)
    ends = np.array([min(true.min(), points.min()), max(true.max(), points.max())])
    with new_figure(path) as (figure, shown):
        of_what = "" if called is None else f": {shown(called, 1)}"
        axes = figure.add_subplot(xlabel=f"True{of_what}", ylabel=f"Predicted{of_what}")
        axes.plot(ends, ends, **REFERENCE)
        axes.scatter(
            true,
            points,
            s=14 if len(true) <= _MANY_POINTS else 7,
            color=COLOURS[0],
            alpha=0.75 if len(true) <= _MANY_POINTS else 0.4,
            linewidths=0,
            rasterized=len(true) > _MOST_POINTS_AS_LINES,
        )
        axes.grid(color=GREY, alpha=0.25, linewidth=0.5)
        of = f", means of {len(rows)} repetitions" if len(rows) > 1 else ""
        axes.set_title(f"R² {r2}, MAE {mae:.3g}\n{len(true):,} bags{of}")
