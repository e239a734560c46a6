"""What `bagwise explain` draws on slides: the tiles of feature files where they were cut."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from bagwise.bags import Bags
from bagwise.errors import BagwiseError
from bagwise.explain import Explanation, write_geojson
from bagwise.io.features import SUFFIXES, open_features
from bagwise.io.slides import Slide, find_slides
from bagwise.io.tile_files import tile_span
from bagwise.reports.overlay import draw_overlay
from bagwise.stored import StoredInstances

__all__ = ["OnSlide", "draw_on_slides", "find_on_slides"]


class OnSlide(NamedTuple):
    """Tiles of a bag that were cut from one slide.

    Attributes
    ----------
    slide
        The slide's file.
    bag
        The bag's position.
    rows
        Where its tiles are among the packed instances.
    span
        Side of a tile in pixels of level 0.
    """

    slide: Path
    bag: int
    rows: slice
    span: int


def find_on_slides(bags: Bags, slides: Path) -> list[OnSlide]:
    """Find the slide of each feature file, by its name without the ending.

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
        If no slide is found, one cannot be opened, or a file does not say where its tiles are, or says that they are
        outside of the slide.
    """
    known = find_slides([slides])
    parts = bags.instances.parts if isinstance(bags.instances, StoredInstances) else ()
    if not all(Path(part.source.name).suffix.lower() in SUFFIXES for part in parts) or not parts:
        raise BagwiseError("--slides shows tiles of feature files where they were cut: give a folder of feature files")
    if bags.coordinates is None:
        raise BagwiseError(
            "a feature file does not say where its tiles were cut ('coords'), so that --slides has nothing to show:"
            " write it anew with bagwise tile"
        )
    found, begin = [], 0
    for part in parts:
        file, rows = Path(part.source.name), slice(begin, begin + part.end - part.begin)
        begin = rows.stop
        if file.stem not in known:
            continue
        with Slide(known[file.stem]) as slide, open_features(file) as features:
            span = tile_span(features.attributes, slide)
            if span is None:
                raise BagwiseError(
                    f"{file} does not say how large its tiles are in pixels of level 0: add the attribute"
                    " patch_size_level0 to its coords, or write it anew with bagwise tile"
                )
            where = bags.coordinates[rows, :2]
            outside = ((where < 0) | (where >= slide.size)).any(axis=1)
            if outside.any():
                x, y = where[np.argmax(outside)]
                raise BagwiseError(
                    f"{file} has a tile at x {x:g}, y {y:g}, outside of {slide.path} with its {slide.size[0]} x"
                    f" {slide.size[1]} pixels: give the slide that it was cut from"
                )
        position = int(np.searchsorted(bags.offsets, rows.start, side="right")) - 1
        found.append(OnSlide(known[file.stem], position, rows, span))
    if not found:
        raise BagwiseError(
            f"no slide in {slides} has the name of a feature file: the first slide is called {next(iter(known))!r}, the"
            f" first feature file {Path(parts[0].source.name).stem!r}"
        )
    return found


def draw_on_slides(
    placed: list[OnSlide], found: Explanation, bags: Bags, table: pd.DataFrame, key: int, folder: Path
) -> list[Path]:
    """Write an overlay and a GeoJSON a slide, both called as the slide is.

    Parameters
    ----------
    placed
        From `find_on_slides`.
    found, bags, table
        The bags, what was found of them, and the table of that.
    key
        How many key instances of each bag.
    folder
        Where to.

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    BagwiseError
        If a slide is damaged, or a file cannot be written.
    """
    written = []
    for one in placed:
        rows = table.iloc[one.rows]
        best = int(np.argmax(found.probabilities[one.bag]))
        title = f"{bags.names[one.bag]}: {found.classes[best]} {found.probabilities[one.bag, best]:.2f}"
        overlay, geojson = (folder / f"{one.slide.stem}.{ending}" for ending in ("png", "geojson"))
        with Slide(one.slide) as slide:
            corners, shares = rows[["x", "y"]].to_numpy(), rows["rescaled_weight"].to_numpy()
            draw_overlay(overlay, slide.overview(), slide.size, corners, one.span, shares, title=title)
            write_geojson(geojson, rows, found.classes.tolist(), span=one.span, bounds=slide.bounds, key=key)
        written += [overlay, geojson]
    return written
