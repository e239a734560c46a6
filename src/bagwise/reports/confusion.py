"""A figure of which classes, or grades, one method takes for which."""

from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import confusion_matrix

from bagwise.errors import BagwiseError
from bagwise.reports.drawing import new_figure
from bagwise.reports.predictions import MOST_CLASS_LINES, as_listed, codes_of, valid_classes

__all__ = ["draw_confusion"]

_MOST_CONFUSION_CLASSES = 100


def draw_confusion(
    path: str | Path, labels: ArrayLike, predicted: ArrayLike, classes: ArrayLike, *, called: str = "class"
) -> None:
    """Draw which classes one method takes for which.

    A row is a true class, a column a predicted one. A cell says how many bags it holds, on average over repetitions,
    and what share of the row that is; its shade is that share. A class without bags has a row of dashes.

    Parameters
    ----------
    path
        Where to write, as SVG or PNG by its ending. A file that is there is replaced when the new one is complete.
    labels
        True labels, shape (B,).
    predicted
        Out-of-fold predictions, shape (B,) or (repeats, B); None where a bag was not tested.
    classes
        The classes, at most 100, in the order of the rows. With more than 12 the figure grows beyond its 5 x 4 inches.
    called
        What a class is called: of grades, ``"grade"``.

    Raises
    ------
    BagwiseError
        If a label or a prediction is not one of the classes, shapes do not fit together, there are too many classes, or
        the file cannot be written.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "confusion.svg"
    >>> draw_confusion(path, ["no", "no", "yes", "yes"], ["no", "yes", "yes", "yes"], ["no", "yes"])
    >>> "50%" in path.read_text(encoding="utf-8")
    True
    """
    listed = valid_classes(classes)
    if len(listed) > _MOST_CONFUSION_CLASSES:
        raise BagwiseError(
            f"there are {len(listed)} classes: a confusion matrix of more than {_MOST_CONFUSION_CLASSES} cannot be"
            " read, so draw some of them at a time"
        )
    codes = codes_of(as_listed(labels, "the labels"), listed, "label")
    given = np.asarray(predicted, dtype=object)
    rows = given[None] if given.ndim == 1 else given
    if rows.ndim != 2 or rows.shape[1] != len(codes) or not len(rows):
        raise BagwiseError(
            f"the predictions have shape {given.shape}: they need shape (B,) or (repeats, B), and there are"
            f" {len(codes)} labels"
        )
    tables = []
    for repeat, row in enumerate(rows):
        tested = np.array([value is not None for value in row])
        if not tested.any():
            raise BagwiseError(f"no bag has a prediction in repetition {repeat}: a repetition tests one bag or more")
        said = codes_of(as_listed(row[tested], "the predictions"), listed, f"prediction of repetition {repeat},")
        tables.append(confusion_matrix(codes[tested], said, labels=range(len(listed))))
    counts = np.mean(tables, axis=0)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.full(counts.shape, np.nan), where=totals > 0)
    grown = max(1.0, len(listed) / MOST_CLASS_LINES)
    with new_figure(path, grown) as (figure, shown):
        axes = figure.add_subplot()
        axes.pcolormesh(np.nan_to_num(shares), cmap="Blues", vmin=0, vmax=1, edgecolors="white", linewidth=1)
        axes.invert_yaxis()
        size = 9 if len(listed) <= 4 else 7 if len(listed) <= 8 else 5
        for (row, column), share in np.ndenumerate(shares):
            count = f"{counts[row, column]:.0f}" if len(rows) == 1 else f"{counts[row, column]:.1f}"
            axes.text(
                column + 0.5,
                row + 0.5,
                "–" if np.isnan(share) else f"{count}\n{share:.0%}",
                color="white" if share > 0.65 else "black",
                fontsize=size,
                ha="center",
                va="center",
            )
        middles = np.arange(len(listed)) + 0.5
        names = [shown(name) for name in listed]
        if len(listed) <= 4:
            axes.set_xticks(middles, names)
        else:
            axes.set_xticks(middles, names, rotation=45, ha="right", rotation_mode="anchor")
        axes.set_yticks(middles, names)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_xlabel(f"Predicted {called}")
        axes.set_ylabel(f"True {called}")
        what = "Bags" if len(rows) == 1 else f"Bags, mean of {len(rows)} repetitions,"
        axes.set_title(f"{what} and share of the true {called}")
