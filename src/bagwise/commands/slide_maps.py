"""What `bagwise explain` draws on slides: the tiles of feature files where they were cut."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import pandas as pd

from bagwise.bags import Bags
from bagwise.errors import BagwiseError
from bagwise.explain import Explanation, write_geojson, write_table
from bagwise.io.features import SUFFIXES, open_features
from bagwise.io.slides import Slide, find_slides
from bagwise.io.sources import distinct_names
from bagwise.io.tile_files import OnLevel0, on_level0
from bagwise.reports.overlay import draw_overlay
from bagwise.stored import StoredInstances
from bagwise.targets.classes import ClassTarget

__all__ = ["OnSlide", "draw_on_slides", "find_on_slides"]


class OnSlide(NamedTuple):
    """Tiles of a bag that were cut from one slide.

    Attributes
    ----------
    slide
        The slide's file.
    file
        The feature file, as a path in its folder.
    bag
        The bag's position.
    rows
        Where its tiles are among the packed instances.
    level0
        How their places become pixels of level 0.
    """

    slide: Path
    file: str
    bag: int
    rows: slice
    level0: OnLevel0


def find_on_slides(bags: Bags, slides: Path) -> list[OnSlide]:
    """Find the slide of each feature file.

    It is the one at the same path in its folder, endings aside, else the only one that has the file's name.

    Parameters
    ----------
    bags
        Bags in feature files, with coordinates.
    slides
        A slide, or a folder of slides. Feature files whose slide is not there are left out.

    Returns
    -------
    list of OnSlide
        In the order of the bags.

    Raises
    ------
    BagwiseError
        If no slide is found, or several are for one file, one cannot be opened, or a file does not say where its tiles
        are, or says that they are outside of the slide.
    """
    known = find_slides([slides])
    parts = bags.instances.parts if isinstance(bags.instances, StoredInstances) else ()
    if not all(Path(part.source.name).suffix.lower() in SUFFIXES for part in parts) or not parts:
        raise BagwiseError("--slides shows tiles of feature files where they were cut: give a folder of feature files")
    if bags.coordinates is None:
        raise BagwiseError(
            "a feature file does not say where its tiles were cut ('coords'), so that --slides has nothing to show:"
            " leave --slides out, or extract these features with their coordinates"
        )
    found, begin = [], 0
    for part in parts:
        file, rows = Path(part.source.name), slice(begin, begin + part.end - part.begin)
        begin = rows.stop
        told = file.name if bags.sources is None else bags.sources[rows.start]
        path = _slide_of(told, known)
        if path is None:
            continue
        with Slide(path) as slide, open_features(file) as features:
            level0 = on_level0(file, features.attributes, slide)
            where = bags.coordinates[rows, :2] * level0.scale
            outside = ((where < 0) | (where >= slide.size)).any(axis=1)
            if outside.any():
                x, y = where[np.argmax(outside)]
                raise BagwiseError(
                    f"{file} has a tile at x {x:g}, y {y:g}, outside of {slide.path} with its {slide.size[0]} x"
                    f" {slide.size[1]} pixels: give the slide that it was cut from"
                )
        position = int(np.searchsorted(bags.offsets, rows.start, side="right")) - 1
        found.append(OnSlide(path, told, position, rows, level0))
    if not found:
        raise BagwiseError(
            f"no slide in {slides} has the name of a feature file: the first slide is called {next(iter(known))!r}, the"
            f" first feature file {Path(parts[0].source.name).stem!r}"
        )
    return found


def _slide_of(file: str, slides: Mapping[str, Path]) -> Path | None:
    name = PurePosixPath(file).with_suffix("")
    if name.as_posix() in slides:
        return slides[name.as_posix()]
    same = [path for path in slides.values() if path.stem == name.name]
    if len(same) > 1:
        raise BagwiseError(
            f"{file} may be of {same[0]} or of {same[1]}, which have one name: give --slides one of them, or lay the"
            " feature files out in folders as the slides are"
        )
    return same[0] if same else None


def draw_on_slides(
    placed: list[OnSlide], found: Explanation, bags: Bags, table: pd.DataFrame, key: int, folder: Path
) -> list[Path]:
    """Write an overlay and a GeoJSON a feature file, and a table of whose they are.

    Both are called as the feature file is, without its ending; where two have one name, by their paths
    (`bagwise.io.sources.distinct_names`).

    Parameters
    ----------
    placed
        From `find_on_slides`.
    found, bags, table
        The bags, what was found of them, and the table of that.
    key
        How many key instances of each bag.
    folder
        Where to; it gets ``slides.csv``, too, with ``map``, ``geojson``, ``bag``, ``file`` and ``slide``.

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    BagwiseError
        If a slide is damaged, or a file cannot be written.
    """
    written, index = [], []
    equal = found.equal(bags)
    classes = found.target.classes.in_learning.tolist() if isinstance(found.target, ClassTarget) else []
    for one, name in zip(placed, distinct_names([one.file for one in placed]), strict=True):
        rows = table.iloc[one.rows]
        rows = rows.assign(x=rows["x"] * one.level0.scale, y=rows["y"] * one.level0.scale)
        overlay, geojson = (folder / f"{name}.{ending}" for ending in ("png", "geojson"))
        with Slide(one.slide) as slide:
            corners, shares = rows[["x", "y"]].to_numpy(), rows["rescaled_weight"].to_numpy()
            alone = one.rows.start == bags.offsets[one.bag] and one.rows.stop == bags.offsets[one.bag + 1]
            title = found.title(bags, one.bag) + ("" if alone else f"\n{one.file}")
            span = one.level0.span
            draw_overlay(overlay, slide.overview(), slide.size, corners, span, shares, title=title)
            keys = 0 if equal[one.bag] else key
            write_geojson(geojson, rows, classes, span=span, bounds=slide.bounds, key=keys)
        written += [overlay, geojson]
        index.append((f"{name}.png", f"{name}.geojson", bags.names[one.bag], one.file, str(one.slide)))
    if index:
        write_table(pd.DataFrame(index, columns=["map", "geojson", "bag", "file", "slide"]), folder / "slides.csv")
        written.append(folder / "slides.csv")
    return written
