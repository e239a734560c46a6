"""What tiles of a slide count, as GeoJSON that QuPath opens on the slide."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps

from bagwise.explain.maps import WEIGHT_COLOURS
from bagwise.files import replacing

__all__ = ["write_geojson"]

_KEY = {"name": "key instance", "color": [220, 0, 0]}

_SCORES = ("score", "fall")  # how columns begin that are of classes


def write_geojson(
    path: str | Path,
    table: pd.DataFrame,
    classes: Sequence[Any],
    *,
    span: int,
    bounds: tuple[int, int, int, int],
    key: int = 5,
) -> None:
    """Write a polygon a tile, and one more around each key instance.

    Each tile is an object of QuPath's kind ``tile``: coloured by its rescaled weight, classified by its score or by
    what falls without it, and with the columns ``weight``, ``rescaled_weight``, ``rank`` and ``score`` or ``fall`` of
    the table as its measurements. Key instances
    are objects of the kind ``annotation``. Of QuPath, 0.4 and newer read all of it.

    Parameters
    ----------
    path
        Where to write; it ends in ``.geojson``.
    table
        Rows of `bagwise.explain.Explanation.table` for tiles of one slide; ``x`` and ``y`` are their upper left
        corners in pixels of level 0.
    classes
        The labels; of two the positive one, which scores are of, is the second.
    span
        Side of a tile in pixels of level 0.
    bounds
        `Slide.bounds`, of which QuPath shows nothing else: polygons count from its upper left corner, and what of a
        tile is beyond is cut off.
    key
        Tiles of this rank in their bag, and of those before it, are key instances; 0: there are none.

    Raises
    ------
    BagwiseError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "slide.geojson"
    >>> table = pd.DataFrame({"x": [0], "y": [256], "rescaled_weight": [1.0], "rank": [1], "score": [0.7]})
    >>> write_geojson(path, table, ["benign", "tumour"], span=256, bounds=(0, 0, 1000, 1000))
    >>> tile, annotation = json.loads(path.read_text())["features"]
    >>> tile["geometry"]["coordinates"]
    [[[0, 256], [256, 256], [256, 512], [0, 512], [0, 256]]]
    >>> tile["properties"]["classification"]["name"], annotation["properties"]["name"]
    ('tumour', 'key instance 1')
    """
    measured = [
        name for name in map(str, table) if name in ("weight", "rescaled_weight", "rank") or name.startswith(_SCORES)
    ]
    scores = table[[name for name in measured if name.startswith(_SCORES)]].to_numpy()
    for_it = scores[:, 0] >= 0.5 if "score" in table else scores[:, 0] > 0
    said = scores.argmax(axis=1) if scores.shape[1] > 1 else for_it.astype(int)
    kinds = [
        # QuPath refuses a class without a colour.
        {"name": str(label), "color": _bytes(colormaps["tab10"](number % 10))}
        for number, label in enumerate(classes)
    ]
    colours = colormaps[WEIGHT_COLOURS](table["rescaled_weight"].to_numpy())
    places = table[["x", "y"]].to_numpy().round().astype(np.int64) - bounds[:2]
    corners, ends = (np.clip(edge, 0, bounds[2:]) for edge in (places, places + span))
    keys = []
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        # A feature a line: a slide may have hundreds of thousands.
        file.write('{"type": "FeatureCollection", "features": [')
        for number, (row, (left, top), (right, bottom)) in enumerate(
            zip(table[measured].to_dict("records"), corners.tolist(), ends.tolist(), strict=True)
        ):
            # By how much the answer falls without a tile that is alone is not known.
            row = {name: value for name, value in row.items() if value == value or not str(name).startswith("fall")}
            ring = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
            told = {"objectType": "tile", "classification": kinds[said[number]], "color": _bytes(colours[number])}
            file.write(",\n" * (number > 0) + _feature(ring, told | {"measurements": row}))
            if row["rank"] <= key:
                told = {"objectType": "annotation", "classification": _KEY, "name": f"key instance {row['rank']}"}
                keys.append(_feature(ring, told | {"measurements": row}))
        file.write("".join(f",\n{one}" for one in keys) + "]}\n")


def _feature(ring: list[list[int]], properties: dict[str, Any]) -> str:
    geometry = {"type": "Polygon", "coordinates": [ring]}
    return json.dumps({"type": "Feature", "geometry": geometry, "properties": properties}, allow_nan=False)


def _bytes(colour: Sequence[float]) -> list[int]:
    return [round(255 * part) for part in colour[:3]]
