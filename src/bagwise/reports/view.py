"""What a report says: numbers, tables, figures, and bags with what their instances count."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bagwise.errors import BagwiseError
from bagwise.stored import StoredInstances

__all__ = ["BagView", "Figure", "InColumn", "Metric", "Report", "Section", "Table"]


@dataclass(frozen=True)
class Metric:
    """A headline number.

    Attributes
    ----------
    name
        What is measured: ``"Bag AUC"``.
    value
        Most are fractions in [0, 1]. NaN is shown as a dash.
    note
        One short sentence: what the number means and on what it was measured.

    Examples
    --------
    >>> Metric("Bag AUC", 0.976, "How well 500 test bags are ranked.").value
    0.976
    """

    name: str
    value: float
    note: str


@dataclass(frozen=True)
class Table:
    """A table of texts.

    Attributes
    ----------
    title
        The heading above it.
    columns
        The names of its columns. The first column says what a row is about.
    rows
        As many texts in each as there are columns.
    note
        A sentence or two on how to read it. By default none.

    Raises
    ------
    BagwiseError
        If a row has not one text for each column.

    Examples
    --------
    >>> Table("Methods", ["method", "AUC"], [["attention", "0.903 ± 0.081"]]).rows[0][1]
    '0.903 ± 0.081'
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""

    def __post_init__(self) -> None:
        for number, row in enumerate(self.rows, start=1):
            if len(row) != len(self.columns):
                raise BagwiseError(
                    f"row {number} of the table {self.title[:80]!r} has {len(row)} texts for {len(self.columns)}"
                    " columns: give one for each"
                )


@dataclass(frozen=True)
class Figure:
    """A drawing.

    Attributes
    ----------
    title
        Stands above it.
    svg
        A complete SVG, dark lines on white. In dark mode the page turns its lightness round and keeps its hues.
    description
        What it shows, for those who do not see it.

    Examples
    --------
    >>> Figure("ROC", "<svg xmlns='http://www.w3.org/2000/svg'/>", "The ROC curve of attention.").title
    'ROC'
    """

    title: str
    svg: str
    description: str


@dataclass(frozen=True)
class InColumn:
    """What stands in a column of an instance.

    Attributes
    ----------
    column
        The column of the table.
    value
        As text; empty where it is missing.
    part
        What the column contributes to the instance's score. By default unknown.

    Examples
    --------
    >>> InColumn("amount", "482.1", 0.31).part
    0.31
    """

    column: str
    value: str
    part: float | None = None


@dataclass(frozen=True, eq=False)
class BagView:
    """One bag as the page shows it.

    Attributes
    ----------
    name
        The bag's name.
    label
        Its true label as text, for example ``"positive"``; None where it is unknown.
    predicted
        The predicted label as text; the prediction counts as right where it equals `label`.
    probability
        The probability of the predicted label, in [0, 1]; None where labels are numbers, of which a prediction is
        neither right nor wrong.
    weights
        Instance weights of shape (K,): not negative, with sum 1. Of a bag of more than 30 instances the page
        shows the 30 with the largest weights. None where the method has none: then the page shows no instances.
    images
        Pictures of the instances, uint8. Shape (K, H, W) is *ink*: 0 is empty paper and 255 full ink, which the
        page draws dark on light or light on dark. Shape (K, H, W, 3) is colour, drawn as it is. Those that are stored
        in files are read when the page is written, one bag at a time. By default none.
    instance_names
        K names, shown where there are no images, else as tooltips. By default the positions in the bag, from 1.
    key
        Array of shape (K,) of bool: the instances known to decide the label. For evaluation only. By default unknown.
    corners
        Where the instances were: upper left corners x, y, with y downwards, shape (K, 2). The page draws a map of
        them, made of their images or of squares. By default unknown.
    side
        Of an instance, in the unit of `corners`. None: how far apart neighbours usually are.
    files
        K names of the files that the instances are from: the page draws a map a file. None: all are on one map.
    columns
        By the position of an instance in the bag, what the page says of its columns, of some instances. By default
        nothing.
    evidence
        How much each instance speaks for what is predicted, and below 0 against it, shape (K,). By default unknown.

    Raises
    ------
    BagwiseError
        If a shape, type or value is not as above; the sentence names the bag.

    Examples
    --------
    >>> BagView("bag 7", "positive", "positive", 0.93, np.array([0.9, 0.1]), key=np.array([True, False])).verdict
    'right'
    >>> BagView("bag 8", "positive", "positive", 0.93, np.array([0.9, 0.1]), instance_names=["a"])
    Traceback (most recent call last):
        ...
    bagwise.errors.BagwiseError: bag 'bag 8' has 2 weights but 1 instance_names: give one for each instance
    """

    name: str
    label: str | None
    predicted: str
    probability: float | None
    weights: NDArray[Any] | None
    images: NDArray[np.uint8] | StoredInstances | None = None
    instance_names: Sequence[str] | None = None
    key: NDArray[np.bool_] | None = None
    corners: NDArray[Any] | None = None
    side: float | None = None
    files: Sequence[str] | None = None
    columns: Mapping[int, Sequence[InColumn]] = field(default_factory=dict)
    evidence: NDArray[Any] | None = None

    @property
    def verdict(self) -> str:
        """``"right"`` or ``"wrong"``, or ``"open"`` where the label is unknown or a number."""
        if self.label is None or self.probability is None:
            return "open"
        return "right" if self.predicted == self.label else "wrong"

    def __post_init__(self) -> None:
        bag = f"bag {self.name[:80]!r}"
        if self.probability is not None and not 0 <= self.probability <= 1:
            raise BagwiseError(f"{bag} has the probability {self.probability}: it must be between 0 and 1")
        if self.weights is not None:
            self._check_instances(bag, self.weights)

    def _check_instances(self, bag: str, weights: NDArray[Any]) -> None:
        if weights.ndim != 1 or not len(weights):
            raise BagwiseError(f"{bag} has weights of shape {weights.shape}: give one for each instance")
        if not (np.isfinite(weights).all() and (weights >= 0).all() and abs(weights.sum() - 1) < 1e-3):
            raise BagwiseError(
                f"{bag} has weights with sum {weights.sum():.4g}: none may be negative, and the sum must be 1"
            )
        for part in ("images", "instance_names", "key", "corners", "files", "evidence"):
            values = getattr(self, part)
            if values is not None and len(values) != len(weights):
                raise BagwiseError(
                    f"{bag} has {len(weights)} weights but {len(values)} {part}: give one for each instance"
                )
        if self.images is not None:
            shape, dtype = self.images.shape, self.images.dtype
            if dtype != np.uint8 or 0 in shape or not (len(shape) == 3 or (len(shape) == 4 and shape[3] == 3)):
                raise BagwiseError(
                    f"{bag} has {dtype} images of shape {shape}: give uint8 of shape (K, H, W) or (K, H, W, 3)"
                )
        if self.corners is not None:
            if self.corners.shape != (len(weights), 2) or not np.isfinite(self.corners).all():
                raise BagwiseError(f"{bag} has corners of shape {self.corners.shape}: give finite x and y for each")
            if self.side is not None and not 0 < self.side < np.inf:
                raise BagwiseError(f"{bag} has the side {self.side}: it must be above 0")


@dataclass(frozen=True)
class Section:
    """A part of the card of a model.

    Attributes
    ----------
    title
        The heading above it.
    facts
        Pairs of a term and its value; a term may be empty.

    Examples
    --------
    >>> Section("Versions", [("bagwise", "0.2.0")]).title
    'Versions'
    """

    title: str
    facts: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Report:
    """Everything the page says. A part that is empty is left out of the page.

    Attributes
    ----------
    title
        The heading.
    summary
        One or two sentences under it.
    metrics
        The headline numbers.
    facts
        How the model was trained and measured: pairs of a term and its value.
    history
        One mapping an epoch, with ``"epoch"`` and ``"loss"``, and optionally ``"validation_loss"`` and
        ``"validation_error"``. What is not finite is left out of its curve.
    bags
        The bags to show. Wrong predictions come first, the surest of them on top; then right ones, in the order given;
        then those of bags whose label is unknown, the surest of them on top, or a number, in the order given.
    notes
        Paragraphs of what to keep in mind, below what the page itself says about weights. By default none.
    data
        What the data are: pairs of a term and its value. By default not said.
    tables, figures
        What was measured, shown above the bags. By default none.
    card
        The card of the model, with which the page ends. By default none.

    Examples
    --------
    >>> report = Report("MUSK1", "Gated attention.", [], [("Seed", "0")], [{"epoch": 1, "loss": 0.69}], [])
    >>> report.facts[0]
    ('Seed', '0')
    """

    title: str
    summary: str
    metrics: Sequence[Metric]
    facts: Sequence[tuple[str, str]]
    history: Sequence[Mapping[str, float]]
    bags: Sequence[BagView]
    notes: Sequence[str] = ()
    data: Sequence[tuple[str, str]] = ()
    tables: Sequence[Table] = ()
    figures: Sequence[Figure] = ()
    card: Sequence[Section] = ()
