"""The report page: headline numbers, bags with the weights of their instances, training, and what to keep in mind."""

import base64
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray
from PIL import Image

from bagwise.errors import BagwiseError
from bagwise.files import replacing

__all__ = ["BagView", "Metric", "Report", "write_report"]

# What keeps a page of 1,000 bags of 200 instances under 15 MB, and quick to open.
_MOST_INSTANCES = 30
_MOST_PICTURE_BYTES = 8_000_000
_MOST_PICTURE_HEIGHT = 96  # twice the height at which the page shows an instance, for sharp screens


@dataclass(frozen=True)
class Metric:
    """A headline number.

    Attributes
    ----------
    name
        What is measured: ``"Bag AUC"``.
    value
        A fraction in [0, 1]. NaN is shown as a dash.
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


@dataclass(frozen=True, eq=False)
class BagView:
    """One bag as the page shows it.

    Attributes
    ----------
    name
        The bag's name.
    label
        Its true label as text, for example ``"positive"``.
    predicted
        The predicted label as text; the prediction counts as right where it equals `label`.
    probability
        The predicted probability of the positive class, in [0, 1].
    weights
        Instance weights of shape (K,): not negative, with sum 1. Of a bag of more than 30 instances the page
        shows the 30 with the largest weights.
    images
        Pictures of the instances, uint8. Shape (K, H, W) is *ink*: 0 is empty paper and 255 full ink, which the
        page draws dark on light or light on dark. Shape (K, H, W, 3) is colour, drawn as it is. By default none.
    instance_names
        K names, shown where there are no images, else as tooltips. By default the positions in the bag, from 1.
    key
        Array of shape (K,) of bool: the instances known to decide the label. For evaluation only. By default unknown.

    Raises
    ------
    BagwiseError
        If a shape, type or value is not as above; the sentence names the bag.

    Examples
    --------
    >>> bag = BagView("bag 7", "positive", "positive", 0.93, np.array([0.9, 0.1]), key=np.array([True, False]))
    >>> BagView("bag 8", "positive", "positive", 0.93, np.array([0.9, 0.1]), instance_names=["a"])
    Traceback (most recent call last):
        ...
    bagwise.errors.BagwiseError: bag 'bag 8' has 2 weights but 1 instance_names: give one for each instance
    """

    name: str
    label: str
    predicted: str
    probability: float
    weights: NDArray[Any]
    images: NDArray[np.uint8] | None = None
    instance_names: Sequence[str] | None = None
    key: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        bag = f"bag {self.name[:80]!r}"
        weights = self.weights
        if weights.ndim != 1 or not len(weights):
            raise BagwiseError(f"{bag} has weights of shape {weights.shape}: give one for each instance")
        if not (np.isfinite(weights).all() and (weights >= 0).all() and abs(weights.sum() - 1) < 1e-3):
            raise BagwiseError(
                f"{bag} has weights with sum {weights.sum():.4g}: none may be negative, and the sum must be 1"
            )
        if not 0 <= self.probability <= 1:
            raise BagwiseError(f"{bag} has the probability {self.probability}: it must be between 0 and 1")
        for part in ("images", "instance_names", "key"):
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
        The bags to show. Right predictions come first, in the order given; then wrong ones, the surest of them on top.
    notes
        Paragraphs of what to keep in mind, below what the page itself says about weights. By default none.

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


def write_report(report: Report, path: Path) -> None:
    """Write `report` as one HTML file that needs no network and no other file.

    The page sorts and filters its bags with a little script, and is complete without it. Pictures take about
    8 MB at most: where a report has more, the bags that come last are shown by the names of their instances.

    Parameters
    ----------
    report
        What to say.
    path
        Where to write. A file that is there is replaced when the new one is complete, and untouched if anything
        fails. Missing folders are made.

    Raises
    ------
    BagwiseError
        If the file cannot be written.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "report.html"
    >>> write_report(Report("MUSK1", "Gated attention on 92 molecules.", [], [], [], []), path)
    >>> "<h1><bdi>MUSK1</bdi></h1>" in path.read_text(encoding="utf-8")
    True
    """
    environment = Environment(
        loader=PackageLoader("bagwise.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["fraction"] = _fraction
    wrong = [bag for bag in report.bags if bag.predicted != bag.label]
    wrong.sort(key=lambda bag: -abs(bag.probability - 0.5))
    right = [bag for bag in report.bags if bag.predicted == bag.label]
    rows = list(_rows(right + wrong))
    page = environment.get_template("report.html.jinja").render(
        report=report,
        labels=sorted({bag.label for bag in report.bags}),
        groups=[("right", rows[: len(right)]), ("wrong", rows[len(right) :])],
        has_key=any(bag.key is not None for bag in report.bags),
        panels=_panels(report.history),
    )
    with replacing(path) as temporary:
        # Half of a surrogate pair, as a damaged file name may hold, has no UTF-8.
        temporary.write_bytes(page.encode("utf-8", errors="xmlcharrefreplace"))


def _fraction(value: float, digits: int = 3) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else "–"


@dataclass(frozen=True)
class _Instance:
    name: str
    weight: float
    share: float  # of the bag's largest weight
    key: bool


@dataclass(frozen=True)
class _Row:
    bag: BagView
    instances: list[_Instance]
    strip: str  # data URI of the instances' pictures side by side, or empty
    aspect: float  # width of a picture over its height
    ink: bool
    rest: str  # what is said of the instances that are not shown


def _rows(bags: Sequence[BagView]) -> Iterator[_Row]:
    room = _MOST_PICTURE_BYTES
    for bag in bags:
        size = len(bag.weights)
        # All in their own order, or the largest, largest first.
        order = (
            np.arange(size) if size <= _MOST_INSTANCES else np.argsort(-bag.weights, kind="stable")[:_MOST_INSTANCES]
        )
        names = [str(i + 1) for i in range(size)] if bag.instance_names is None else bag.instance_names
        key = np.zeros(size, dtype=bool) if bag.key is None else bag.key
        strip, aspect, ink = "", 1.0, False
        if bag.images is not None and room > 0:
            strip, aspect = _strip(bag.images[order])
            room -= len(strip)
            ink = bag.images.ndim == 3
        yield _Row(
            bag=bag,
            instances=[
                _Instance(str(names[i]), float(bag.weights[i]), float(bag.weights[i] / bag.weights.max()), bool(key[i]))
                for i in order
            ],
            strip=strip,
            aspect=aspect,
            ink=ink,
            rest=_rest(bag, order, pictures_left_out=bag.images is not None and not strip),
        )


def _rest(bag: BagView, order: NDArray[np.intp], pictures_left_out: bool) -> str:
    text = ""
    if hidden := len(bag.weights) - len(order):
        text = f"The {len(order)} largest weights, largest first. The other {hidden} sum to "
        text += f"{np.delete(bag.weights, order).sum():.2f}"
        if bag.key is not None and bag.key.any():
            text += f" and hold {bag.key.sum() - bag.key[order].sum()} of {bag.key.sum()} known key instances"
        text += ". "
    if pictures_left_out:
        text += "Pictures are left out here, to keep the page small."
    return text


def _strip(images: NDArray[np.uint8]) -> tuple[str, float]:
    pixels = np.ascontiguousarray(np.concatenate(list(images), axis=1))
    image = Image.fromarray(pixels)
    if image.height > _MOST_PICTURE_HEIGHT:
        width = max(1, round(images.shape[2] * _MOST_PICTURE_HEIGHT / images.shape[1]))
        image = image.resize((width * len(images), _MOST_PICTURE_HEIGHT))
    # Of the strip as it is: a width that was rounded would shift the last picture by several pixels.
    aspect = image.width / len(images) / image.height
    file = io.BytesIO()
    if images.ndim == 4:
        kind = "jpeg"
        image.save(file, "JPEG", quality=85)
    else:
        # Black ink of 16 strengths on nothing: far fewer bytes than 256 greys, and it stands on any page.
        kind = "png"
        strengths = np.asarray(image) >> 4
        image = Image.frombytes("P", image.size, strengths.tobytes())
        image.putpalette(bytes(3 * 16))
        image.save(file, "PNG", bits=4, transparency=bytes(range(0, 256, 17)))
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}", aspect


@dataclass(frozen=True)
class _Panel:
    title: str
    lines: list[tuple[str, list[tuple[float, float]]]]  # name and points, x and y in [0, 1]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    description: str


def _panels(history: Sequence[Mapping[str, float]]) -> list[_Panel]:
    panels = [
        _panel(history, "Loss", {"loss": "training", "validation_loss": "validation"}),
        _panel(history, "Validation error", {"validation_error": "validation"}),
    ]
    return [panel for panel in panels if panel is not None]


def _panel(history: Sequence[Mapping[str, float]], title: str, names: Mapping[str, str]) -> _Panel | None:
    curves = {
        name: [(epoch["epoch"], epoch[key]) for epoch in history if math.isfinite(epoch.get(key, math.nan))]
        for key, name in names.items()
    }
    curves = {name: points for name, points in curves.items() if points}
    if not curves:
        return None
    epochs, values = np.array([point for points in curves.values() for point in points]).T
    x_ticks = [
        tick for tick in _ticks(epochs.min(), epochs.max()) if epochs.min() <= tick <= epochs.max() and tick % 1 == 0
    ]
    y_ticks = _ticks(min(0.0, values.min()), values.max())
    left, bottom = epochs.min(), y_ticks[0]
    width, height = max(epochs.max() - left, 1), y_ticks[-1] - bottom
    return _Panel(
        title=title,
        lines=[
            (name, [((x - left) / width, (y - bottom) / height) for x, y in points]) for name, points in curves.items()
        ],
        x_ticks=[((tick - left) / width, f"{tick:g}") for tick in x_ticks],
        y_ticks=[((tick - bottom) / height, f"{tick:g}") for tick in y_ticks],
        description="; ".join(
            "{} from {:.3g} in epoch {:g} to {:.3g} in epoch {:g}".format(name, *points[0][::-1], *points[-1][::-1])
            for name, points in curves.items()
        ),
    )


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers, at most six steps, from at or below `low` to at or above `high`."""
    span = (high - low) or 1.0
    power = 10.0 ** math.floor(math.log10(span / 5))
    step = next(factor * power for factor in (1, 2, 5, 10) if span <= 5 * factor * power)
    return [round(i * step, 12) for i in range(math.floor(low / step), math.ceil((low + span) / step) + 1)]
