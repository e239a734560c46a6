"""Figures of out-of-fold predictions: ROC, precision and recall, calibration, confusion."""

import textwrap
import unicodedata
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    confusion_matrix,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)

from bagwise.classes import Classes, positive_of
from bagwise.errors import BagwiseError
from bagwise.evaluation.calibration import reliability
from bagwise.files import replacing

__all__ = ["draw_calibration", "draw_confusion", "draw_precision_recall", "draw_roc"]

# Okabe and Ito's colours, which colour-blind readers tell apart, without those too pale for a line on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1.2)))
_MOST_LINES = len(COLOURS) * len(_DASHES)
_MOST_CLASS_LINES = 12  # beyond, a line a class is a tangle
_MOST_LINES_WITH_REPETITIONS = 4
_MOST_CONFUSION_CLASSES = 100
_MOST_WRAPPED_NAMES = 10
_NAME_WIDTH = 16
_MOST_BINS = 10
_LEAST_BAGS_A_BIN = 10
GREY = "#767676"
_STYLE: Any = {
    "axes.edgecolor": GREY,
    "axes.labelsize": 8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 8,
    "figure.constrained_layout.use": True,
    "font.family": ["DejaVu Sans", "sans-serif"],  # the first comes with matplotlib, but not with all readers of an SVG
    "legend.fontsize": 7,
    "legend.frameon": False,
    "legend.title_fontsize": 7,
    "lines.linewidth": 1.5,
    "savefig.dpi": 200,
    "svg.fonttype": "none",
    "svg.hashsalt": "bagwise",
    "text.parse_math": False,
    "xtick.color": GREY,
    "xtick.labelcolor": "black",
    "xtick.labelsize": 7,
    "ytick.color": GREY,
    "ytick.labelcolor": "black",
    "ytick.labelsize": 7,
}
WIDTH, HEIGHT = 5.0, 4.0  # inches

_REFERENCE: dict[str, Any] = {"color": GREY, "linestyle": ":", "linewidth": 0.8}

_Shown = Callable[..., str]
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
        classes).
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
    predictions = _Predictions.of(labels, probabilities, classes, positive)
    predictions.check_two_classes("an ROC curve")
    with new_figure(path) as (figure, shown):
        axes = _square(
            figure, "False positive rate (fraction of negative bags)", "True positive rate (fraction of positive bags)"
        )
        axes.plot([0, 1], [0, 1], **_REFERENCE)
        handles, named = [], predictions.names_in(shown)
        for line, style in predictions.styled():
            by_repeat = line.ranked_by_repeat()
            curves = [_mean_roc([roc_curve(*pair)[:2] for pair in pairs]) for pairs in by_repeat if pairs]
            areas = [roc_auc_score(*pair) for pairs in by_repeat for pair in pairs]
            if curves:
                _draw_line(axes, curves, _mean_roc(curves), predictions.thin_lines, style)
            handles.append(_handle(named(line.name), _mean_or_dash(areas), style))
        handles.append(_handle("chance", "0.500", _REFERENCE))
        axes.set_title("\n".join([predictions.positive(shown), *predictions.said_of_mean()]))
        _add_legend(figure, "Area under the curve", handles)


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
    predictions = _Predictions.of(labels, probabilities, classes, positive)
    predictions.check_two_classes("precision and recall")
    with new_figure(path) as (figure, shown):
        axes = _square(figure, "Recall (fraction of positive bags)", "Precision (fraction of bags called positive)")
        handles, named = [], predictions.names_in(shown)
        for line, style in predictions.styled():
            by_repeat = line.ranked_by_repeat()
            curves = [_mean_steps([_rising(*pair) for pair in pairs]) for pairs in by_repeat if pairs]
            averages = [average_precision_score(*pair) for pairs in by_repeat for pair in pairs]
            if curves:
                stepped = {**style, "drawstyle": "steps-pre"}
                _draw_line(axes, curves, _mean_steps(curves), predictions.thin_lines, stepped)
            handles.append(_handle(named(line.name), _mean_or_dash(averages), style))
        if predictions.is_binary:
            chance = float(np.mean(predictions.codes == predictions.column))
            axes.plot([0, 1], [chance, chance], **_REFERENCE)
            handles.append(_handle("chance", f"{chance:.3f}", _REFERENCE))
        axes.set_title("\n".join([predictions.positive(shown), *predictions.said_of_mean()]))
        _add_legend(figure, "Average precision", handles)


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
    predictions = _Predictions.of(labels, probabilities, classes, positive)
    bins = int(np.clip(len(predictions.codes) // _LEAST_BAGS_A_BIN, 1, _MOST_BINS))
    with new_figure(path) as (figure, shown):
        events = "right predictions" if predictions.one_line_for_all_classes else "positive bags"
        axes = _square(figure, "Predicted probability", f"Fraction of {events}")
        axes.plot([0, 1], [0, 1], **_REFERENCE)
        handles, named = [], predictions.names_in(shown)
        for line, style in predictions.styled():
            outcomes, values = line.events()
            by_repeat = [reliability(*pair, bins) for pair in zip(outcomes, values, strict=True)]
            briers = [
                brier_score_loss(*pair, labels=[False, True], pos_label=True)
                for pair in zip(outcomes, values, strict=True)
            ]
            together = reliability(outcomes.ravel(), values.ravel(), bins)
            marked = {**style, "marker": "o", "markersize": 3}
            thin = [(found.predicted, found.observed) for found in by_repeat]
            _draw_line(axes, thin, (together.predicted, together.observed), predictions.thin_lines, marked)
            numbers = f"{np.mean([found.error for found in by_repeat]):.3f}  {np.mean(briers):.3f}"
            handles.append(_handle(named(line.name), numbers, style))
        handles.append(_handle("perfect", "0.000", _REFERENCE))
        said = [
            "Probability of the predicted class"
            if predictions.one_line_for_all_classes
            else predictions.positive(shown)
        ]
        axes.set_title("\n".join(said + predictions.said_of_repetitions("all together")))
        _add_legend(figure, "Expected calibration\nerror, Brier score", handles)


def draw_confusion(path: str | Path, labels: ArrayLike, predicted: ArrayLike, classes: ArrayLike) -> None:
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
        Out-of-fold predictions, shape (B,) or (repeats, B).
    classes
        The classes, at most 100, in the order of the rows. With more than 12 the figure grows beyond its 5 x 4 inches.

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
    listed = _valid_classes(classes)
    if len(listed) > _MOST_CONFUSION_CLASSES:
        raise BagwiseError(
            f"there are {len(listed)} classes: a confusion matrix of more than {_MOST_CONFUSION_CLASSES} cannot be"
            " read, so draw some of them at a time"
        )
    codes = _codes(_listed(labels, "the labels"), listed, "label")
    given = np.asarray(predicted, dtype=object)
    rows = given[None] if given.ndim == 1 else given
    if rows.ndim != 2 or rows.shape[1] != len(codes) or not len(rows):
        raise BagwiseError(
            f"the predictions have shape {given.shape}: they need shape (B,) or (repeats, B), and there are"
            f" {len(codes)} labels"
        )
    found = [
        _codes(_listed(row, "the predictions"), listed, f"prediction of repetition {repeat},")
        for repeat, row in enumerate(rows)
    ]
    counts = np.mean([confusion_matrix(codes, row, labels=range(len(listed))) for row in found], axis=0)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.full(counts.shape, np.nan), where=totals > 0)
    grown = max(1.0, len(listed) / _MOST_CLASS_LINES)
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
        axes.set_xlabel("Predicted class")
        axes.set_ylabel("True class")
        what = "Bags" if len(rows) == 1 else f"Bags, mean of {len(rows)} repetitions,"
        axes.set_title(f"{what} and share of the true class")


# ---- predictions ------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Line:
    """What one line of a figure is about.

    Attributes
    ----------
    name
        A method or a class.
    outcomes
        For each class that the line stands for, which bags are of it, shape (C, B).
    probabilities
        Their probabilities, shape (repeats, C, B).
    """

    name: Any
    outcomes: NDArray[np.bool_]
    probabilities: NDArray[np.float64]

    def ranked_by_repeat(self) -> list[list[tuple[NDArray[np.bool_], NDArray[np.float64]]]]:
        """Give outcomes and probabilities of the classes that some bags are of and some are not."""
        present = np.flatnonzero(self.outcomes.any(axis=1) & ~self.outcomes.all(axis=1))
        return [[(self.outcomes[c], repeat[c]) for c in present] for repeat in self.probabilities]

    def events(self) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        """Give what came true and its probability, (repeats, B) each: of several classes, the likeliest is right."""
        chosen = self.probabilities.argmax(axis=1)
        return self.outcomes[chosen, np.arange(self.outcomes.shape[1])], self.probabilities.max(axis=1)


@dataclass(frozen=True, eq=False)
class _Predictions:
    """Checked predictions, and which lines they make."""

    codes: NDArray[np.int64]
    classes: list[Any]
    column: int | None  # of the positive class
    methods: dict[Any, NDArray[np.float64]]

    @classmethod
    def of(
        cls, labels: ArrayLike, probabilities: Mapping[str, ArrayLike], classes: ArrayLike, positive: Any
    ) -> "_Predictions":
        listed = _valid_classes(classes)
        column = Classes(np.array(listed, dtype=object), positive_of(listed, positive)).column
        codes = _codes(_listed(labels, "the labels"), listed, "label")
        if not isinstance(probabilities, Mapping):
            raise BagwiseError(f"the probabilities are of type {type(probabilities).__name__}: give {{name: array}}")
        if not 1 <= len(probabilities) <= _MOST_LINES:
            raise BagwiseError(f"there are {len(probabilities)} methods to draw: give 1 to {_MOST_LINES}")
        methods = {
            name: _valid_probabilities(values, str(name), len(codes), listed) for name, values in probabilities.items()
        }
        return cls(codes, listed, column, methods)

    @property
    def is_binary(self) -> bool:
        return self.column is not None

    @property
    def one_line_for_all_classes(self) -> bool:
        return not self.is_binary and (len(self.methods) > 1 or len(self.classes) > _MOST_CLASS_LINES)

    @property
    def thin_lines(self) -> bool:
        return len(self.lines()) <= _MOST_LINES_WITH_REPETITIONS

    def check_two_classes(self, what: str) -> None:
        if len(np.unique(self.codes)) < 2:
            raise BagwiseError(
                f"all bags have the label {self.classes[self.codes[0]]!r}: {what} needs bags of two classes or more"
            )

    def lines(self) -> list[_Line]:
        outcomes = self.codes == np.arange(len(self.classes))[:, None]
        by_class = {name: np.moveaxis(values, -1, 1) for name, values in self.methods.items()}
        if self.column is not None:
            of_positive = [self.column]
            return [_Line(name, outcomes[of_positive], values[:, of_positive]) for name, values in by_class.items()]
        if self.one_line_for_all_classes:
            return [_Line(name, outcomes, values) for name, values in by_class.items()]
        (values,) = by_class.values()
        return [_Line(name, outcomes[c : c + 1], values[:, c : c + 1]) for c, name in enumerate(self.classes)]

    def positive(self, shown: "_Shown") -> str:
        if self.column is not None:
            return f"Positive: {shown(self.classes[self.column], 1)}"
        return "Positive: each class against the rest"

    def said_of_mean(self) -> list[str]:
        classes = [f"Lines: mean over {len(self.classes)} classes"] if self.one_line_for_all_classes else []
        return classes + self.said_of_repetitions("their mean")

    def said_of_repetitions(self, strong: str) -> list[str]:
        repeats = max(len(values) for values in self.methods.values())
        if repeats == 1:
            return []
        return [f"{repeats} repetitions: " + (f"thin; strong: {strong}" if self.thin_lines else strong)]

    def names_in(self, shown: "_Shown") -> Callable[[Any], str]:
        """Give what makes names fit into the legend: where there are many, they have one line each."""
        return partial(shown, lines=2 if len(self.lines()) <= _MOST_WRAPPED_NAMES else 1)

    def styled(self) -> Iterator[tuple[_Line, dict[str, Any]]]:
        for position, line in enumerate(self.lines()):
            dash, colour = divmod(position, len(COLOURS))
            yield line, {"color": COLOURS[colour], "linestyle": _DASHES[dash]}


def _listed(values: ArrayLike, what: str) -> list[Any]:
    try:
        array = np.asarray(values, dtype=object)
    except ValueError as error:
        raise BagwiseError(f"{what} are ragged: give a list") from error
    if array.ndim != 1 or not len(array):
        raise BagwiseError(f"{what} have shape {array.shape}: give a list of one or more")
    return [value.item() if isinstance(value, np.generic) else value for value in array]


def _valid_classes(classes: ArrayLike) -> list[Any]:
    listed = _listed(classes, "the classes")
    if len(listed) < 2:
        raise BagwiseError(f"there is one class, {listed[0]!r}: give two or more")
    for position, value in enumerate(listed):
        if not isinstance(value, str | Integral):
            raise BagwiseError(f"class {position} is {value!r}: classes are whole numbers, booleans or strings")
        if value in listed[:position]:
            raise BagwiseError(f"two classes are {value!r}: each class may stand only once")
    return listed


def _codes(values: list[Any], classes: list[Any], what: str) -> NDArray[np.int64]:
    positions = {value: position for position, value in enumerate(classes)}
    for bag, value in enumerate(values):
        if not isinstance(value, str | Real) or value not in positions:
            known = ", ".join(map(repr, classes[:20])) + ", ..." * (len(classes) > 20)
            raise BagwiseError(f"bag {bag} has the {what} {value!r}: it must be one of the classes {known}")
    return np.array([positions[value] for value in values], dtype=np.int64)


def _valid_probabilities(values: ArrayLike, method: str, bags: int, classes: list[Any]) -> NDArray[np.float64]:
    whose = f"the probabilities of method {method[:80]!r}"
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise BagwiseError(f"{whose} are ragged: give one for each bag and class") from error
    if array.dtype.kind not in "biuf":
        raise BagwiseError(f"{whose} hold {array.dtype} values: they must be real numbers")
    array = array[None] if array.ndim == 2 else array
    if array.ndim != 3 or array.shape[1:] != (bags, len(classes)) or not len(array):
        raise BagwiseError(
            f"{whose} have shape {np.shape(values)}: {bags} labels and {len(classes)} classes need shape"
            f" {(bags, len(classes))}, or (repeats, {bags}, {len(classes)}) with repetitions"
        )
    for repeat, bag, c in np.argwhere(~((array >= 0) & (array <= 1)))[:1]:
        raise BagwiseError(
            f"{whose} have {array[repeat, bag, c]} for bag {bag} and class {classes[c]!r} in repetition {repeat}:"
            " each must be between 0 and 1"
        )
    sums = array.sum(axis=2, dtype=np.float64)
    for repeat, bag in np.argwhere(np.abs(sums - 1) > 1e-3)[:1]:
        raise BagwiseError(
            f"{whose} of bag {bag} in repetition {repeat} have the sum {sums[repeat, bag]:.4g}: the sum must be 1"
        )
    return array.astype(np.float64)


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


# ---- figures ----------------------------------------------------------------------------------------------


@contextmanager
def new_figure(path: str | Path, grown: float = 1.0) -> Iterator[tuple[Figure, _Shown]]:
    """Give an empty figure, and what makes names fit to be shown in it; save the figure in the end."""
    path = Path(path)
    kind = path.suffix.lower().removeprefix(".")
    if kind not in ("svg", "png"):
        raise BagwiseError(f"cannot write {path}: a figure's name must end in .svg or .png")
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()  # the same picture whatever style the caller has set
        matplotlib.rcParams.update(_STYLE)
        # An SVG holds text as text, which the reader's fonts draw.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=(WIDTH * grown, HEIGHT * grown))
        yield figure, (_svg_name if kind == "svg" else _png_name)
        with replacing(path) as temporary:
            figure.savefig(temporary, format=kind, metadata={"Date": None} if kind == "svg" else None)


def _svg_name(name: Any, lines: int = 2) -> str:
    """Make a name safe to be shown, and short enough for so many lines."""
    text = " ".join(str(name).split())
    # Invisible characters can turn the direction of text, and XML has no room for some of them.
    seen = (c for c in text if unicodedata.category(c) != "Cf")
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in seen) or "(no name)"
    wrapped = textwrap.wrap(text, _NAME_WIDTH)
    if len(wrapped) > lines:
        if len(text) > lines * _NAME_WIDTH:  # names of one family differ at their ends
            half = lines * _NAME_WIDTH // 2
            text = f"{text[: half - 1]}…{text[-half:]}"
        wrapped = [text[begin : begin + _NAME_WIDTH] for begin in range(0, len(text), _NAME_WIDTH)]
    return "\n".join(wrapped)


def _png_name(name: Any, lines: int = 2) -> str:
    """Do the same where characters that the font has not would all look alike."""
    font = get_font(findfont("DejaVu Sans"))
    visible = (c if not c.isprintable() or font.get_char_index(ord(c)) else f"U+{ord(c):X}" for c in str(name))
    return _svg_name("".join(visible), lines)


def _square(figure: Figure, x: str, y: str) -> Axes:
    axes = figure.add_subplot(box_aspect=1, anchor="NW", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel=x, ylabel=y)
    ticks = np.linspace(0, 1, 6)
    axes.set_xticks(ticks)
    axes.set_yticks(ticks)
    return axes


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


def _handle(name: str, numbers: str, style: dict[str, Any]) -> Line2D:
    indent = "".join("\N{FIGURE SPACE}" if c.isdigit() else "\N{NO-BREAK SPACE}" for c in f"{numbers}  ")
    return Line2D([], [], **style, label=f"{numbers}  " + name.replace("\n", f"\n{indent}"))


def _add_legend(figure: Figure, title: str, handles: list[Line2D]) -> None:
    figure.legend(handles=handles, title=title, loc="outside right upper", alignment="left")
