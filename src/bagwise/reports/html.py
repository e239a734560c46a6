"""The page of a report: what was measured, bags with the weights of their instances, and how it was trained."""

import base64
import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from bagwise.explain.places import spacing
from bagwise.explain.rescaling import equal_in_bags
from bagwise.files import check_replaceable, write_text
from bagwise.reports.pictures import colour_picture, ink_picture, svg_picture
from bagwise.reports.tilemap import BagWeights, TileMap
from bagwise.reports.view import BagView, InColumn, Report

__all__ = ["is_report", "write_report"]

_TITLE_ENDS = " · Bagwise</title>".encode()
_MOST_OF_A_HEAD = 4096  # bytes, which hold the title

# What keeps a page of 1,000 bags of 200 instances under 15 MB, and quick to open.
_MOST_INSTANCES = 30
_MOST_PICTURE_BYTES = 8_000_000
_MOST_PICTURE_HEIGHT = 96  # twice the height at which the page shows an instance, for sharp screens
_MOST_MAPS = 12  # of right and of wrong predictions each: as many bags as the page shows before one asks for more


def write_report(report: Report, path: Path) -> None:
    """Write `report` as one HTML file that needs no network and no other file.

    The page sorts and filters its bags with a little script, and is complete without it. The first 12 wrong, right and
    unlabelled bags have maps, if it is known where their instances were. Pictures take about 8 MB at most: where a
    report has more, the bags that come last are shown by the names of their instances.

    Parameters
    ----------
    report
        What to say.
    path
        Where to write. A report that is there is replaced when the new one is complete, and untouched if anything
        fails. Missing folders are made.

    Raises
    ------
    BagwiseError
        If the file cannot be written, or one is there that is no report of Bagwise's.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "report.html"
    >>> write_report(Report("MUSK1", "Gated attention on 92 molecules.", [], [], [], []), path)
    >>> "<h1><bdi>MUSK1</bdi></h1>" in path.read_text(encoding="utf-8")
    True
    """
    check_replaceable(path, is_report)
    environment = Environment(
        loader=PackageLoader("bagwise.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["fraction"] = _fraction
    environment.filters["data_uri"] = svg_picture
    environment.filters["source_hash"] = _source_hash
    groups = _groups(report.bags)
    page = environment.get_template("report.html.jinja").render(
        report=report,
        labels=sorted({_filed_under(bag) for bag in report.bags}),
        filed_under=_filed_under,
        groups=groups,
        shows_key=any(bag.key is not None for bag in report.bags),
        shows_probabilities=any(bag.probability is not None for bag in report.bags),
        shows_weights=any(bag.weights is not None for bag in report.bags),
        shows_evidence=any(bag.evidence is not None for bag in report.bags),
        shows_parts=any(one.part is not None for bag in report.bags for found in bag.columns.values() for one in found),
        shows_maps=any(row.maps for _, rows in groups for row in rows),
        panels=_panels(report.history),
    )
    write_text(path, page)


def is_report(path: Path) -> bool:
    """Say whether `write_report` wrote a file.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    bool

    Examples
    --------
    >>> is_report(Path("nowhere.html"))
    False
    """
    try:
        with path.open("rb") as file:
            return _TITLE_ENDS in file.read(_MOST_OF_A_HEAD)
    except OSError:
        return False


def _fraction(value: float, digits: int = 3) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else "–"


def _source_hash(source: str) -> Markup:
    """Name a script or a style sheet as a page's policy names what may run and what may style."""
    return Markup(f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'")


def _filed_under(bag: BagView) -> str:
    return bag.predicted if bag.label is None else bag.label


@dataclass(frozen=True)
class _Instance:
    name: str
    weight: float
    share: float  # of the bag's largest weight
    key: bool
    columns: Sequence[InColumn]
    most: float  # the largest part of a column in the bag
    evidence: float | None


@dataclass(frozen=True)
class _Row:
    bag: BagView
    size: int
    instances: list[_Instance]
    strip: str  # data URI of the instances' pictures side by side, or empty
    aspect: float  # width of a picture over its height
    ink: bool
    maps: list[TileMap]  # one a file
    digits: int  # of weights
    rest: str  # what is said of what is not shown


def _groups(bags: Sequence[BagView]) -> list[tuple[str, list[_Row]]]:
    """Sort bags by how they were judged; where no label is known there is one group, else two, even if one is empty."""
    by_verdict: dict[str, list[BagView]] = {"wrong": [], "right": [], "open": []}
    for bag in bags:
        by_verdict[bag.verdict].append(bag)
    for verdict in ("wrong", "open"):
        by_verdict[verdict].sort(key=lambda bag: -(bag.probability or 0.0))
    judged = bool(by_verdict["wrong"] or by_verdict["right"])
    shown = [verdict for verdict, found in by_verdict.items() if found or (judged and verdict != "open")]
    rows = _rows([(bag, number < _MOST_MAPS) for verdict in shown for number, bag in enumerate(by_verdict[verdict])])
    return [(verdict, [next(rows) for _ in by_verdict[verdict]]) for verdict in shown]


def _rows(bags: Sequence[tuple[BagView, bool]]) -> Iterator[_Row]:
    """Give a row for each bag, with a map where one is wanted, as long as there is room for pictures."""
    room = _MOST_PICTURE_BYTES
    for bag, with_map in bags:
        if bag.weights is None:
            yield _Row(bag, 0, [], strip="", aspect=1.0, ink=False, maps=[], digits=0, rest="")
            continue
        size = len(bag.weights)
        # All in their own order, or the largest, largest first.
        order = (
            np.arange(size) if size <= _MOST_INSTANCES else np.argsort(-bag.weights, kind="stable")[:_MOST_INSTANCES]
        )
        names = [str(i + 1) for i in range(size)] if bag.instance_names is None else bag.instance_names
        key = np.zeros(size, dtype=bool) if bag.key is None else bag.key
        images = None if bag.images is None or room <= 0 else np.asarray(bag.images)
        strip, aspect, maps = "", 1.0, []
        if bag.corners is not None and with_map and room > 0:
            maps = _maps(bag, bag.corners, bag.weights, names, images)
            room -= sum(one.size for one in maps)
        if images is not None:
            strip, aspect = _strip(images[order])
            room -= len(strip)
        left_out = ["map"] * (bag.corners is not None and not maps) + ["pictures"] * (
            bag.images is not None and not strip
        )
        parts = [abs(one.part or 0.0) for found in bag.columns.values() for one in found]
        yield _Row(
            bag=bag,
            size=size,
            instances=[
                _Instance(
                    str(names[i]),
                    float(bag.weights[i]),
                    float(bag.weights[i] / bag.weights.max()),
                    bool(key[i]),
                    bag.columns.get(int(i), ()),
                    max([*parts, 1e-12]),
                    None if bag.evidence is None else float(bag.evidence[i]),
                )
                for i in order
            ],
            strip=strip,
            aspect=aspect,
            ink=images is not None and images.ndim == 3,
            maps=maps,
            digits=_digits(bag.weights),
            rest=_rest(bag.weights, key, order, left_out),
        )


def _maps(
    bag: BagView,
    corners: NDArray[Any],
    weights: NDArray[Any],
    names: Sequence[str],
    images: NDArray[np.uint8] | None,
) -> list[TileMap]:
    """Draw a map a file, in the order of the bag, all on the scale of the bag."""
    known = BagWeights.of(weights)
    files = np.array([""] * len(weights) if bag.files is None else bag.files, dtype=object)
    maps = []
    for file in dict.fromkeys(files):
        rows = np.flatnonzero(files == file)
        side = spacing(corners[rows]) if bag.side is None else bag.side
        pictures = None if images is None else images[rows]
        maps.append(
            TileMap.of(corners[rows], side, known.take(rows), [names[int(row)] for row in rows], pictures, file)
        )
    return maps


def _rest(weights: NDArray[Any], key: NDArray[np.bool_], order: NDArray[np.intp], left_out: Sequence[str]) -> str:
    equal = len(weights) > 1 and equal_in_bags(weights, np.array([0, len(weights)])).all()
    text = "All weights are equal: no instance counts more than another. " if equal else ""
    if hidden := len(weights) - len(order):
        shown = f"The first {len(order)} are shown" if equal else f"The {len(order)} largest weights, largest first"
        text += f"{shown}. The other {hidden:,} sum to "
        text += f"{np.delete(weights, order).sum():.2f}"
        if key.any():
            text += f" and hold {key.sum() - key[order].sum()} of {key.sum()} known key instances"
        text += ". "
    if left_out:
        text += f"{' and '.join(left_out).capitalize()} left out here, to keep the page small."
    return text


def _digits(weights: NDArray[Any]) -> int:
    """Say how many digits show two that count of the largest weight."""
    return min(max(2, 1 - math.floor(math.log10(weights.max()))), 6)


def _strip(images: NDArray[np.uint8]) -> tuple[str, float]:
    image = Image.fromarray(np.ascontiguousarray(np.concatenate(list(images), axis=1)))
    if image.height > _MOST_PICTURE_HEIGHT:
        width = max(1, round(images.shape[2] * _MOST_PICTURE_HEIGHT / images.shape[1]))
        image = image.resize((width * len(images), _MOST_PICTURE_HEIGHT))
    # Of the strip as it is: a width that was rounded would shift the last picture by several pixels.
    aspect = image.width / len(images) / image.height
    pixels = np.asarray(image)
    return ink_picture(pixels) if images.ndim == 3 else colour_picture(pixels), aspect


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
