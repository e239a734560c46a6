"""How much memory `bagwise tile` takes, over the size of the slide.

Slides are made here: compressed tiles of tissue and glass, with levels 4 and 16 times smaller, and the largest also
without them, so that all of it is read for the overview and each tile is made smaller.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

SIDES, LEVELS, TILE = (10_000, 20_000, 40_000), (1, 4, 16), 256
MPP = 0.25
COMMAND = Path(sys.executable).parent / "bagwise"


def tiles(side: int, stains: list[bytes], glass: bytes) -> Iterator[bytes]:
    """Give the tiles of a level: a disc of tissue on glass."""
    count = -(-side // TILE)
    for row in range(count):
        for column in range(count):
            inside = np.hypot(row + 0.5 - count / 2, column + 0.5 - count / 2) < 0.45 * count
            yield stains[(7 * row + 3 * column) % len(stains)] if inside else glass


def write_slide(path: Path, side: int, levels: tuple[int, ...]) -> Path:
    rng = np.random.default_rng(0)
    rough = rng.integers(0, 60, (4, TILE // 8, TILE // 8, 3)).repeat(8, axis=1).repeat(8, axis=2)
    stains = [zlib.compress(tile.tobytes()) for tile in (np.array([150, 80, 130]) + rough).astype(np.uint8)]
    glass = zlib.compress(np.full((TILE, TILE, 3), 244, np.uint8).tobytes())
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        for level in levels:
            file.write(
                tiles(side // level, stains, glass),
                shape=(side // level, side // level, 3),
                dtype=np.uint8,
                tile=(TILE, TILE),
                photometric="rgb",
                compression="zlib",
                subfiletype=int(level > 1),
                resolution=(1e4 / MPP / level, 1e4 / MPP / level),
                resolutionunit="CENTIMETER",
                metadata=None,
            )
    return path


def fit_encoder(folder: Path) -> Path:
    (folder / "images").mkdir()
    rng = np.random.default_rng(0)
    for number in range(4):
        pixels = rng.integers(0, 200, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{number}.png")
    labels = folder / "labels.csv"
    labels.write_text("bag,label\n" + "".join(f"{number},{number % 2}\n" for number in range(4)))
    options = ["--patch", "32", "--epochs", "1", "--jobs", "1", "--out", str(folder / "run"), "--json"]
    subprocess.run(
        [str(COMMAND), "fit", str(folder / "images"), "--labels", str(labels), *options],
        check=True,
        capture_output=True,
    )
    return folder / "run"


def measured(slide: Path, encoder: Path, out: Path) -> dict[str, float]:
    """Tile a slide in a process of its own, and give the most memory that it held."""
    begin = time.perf_counter()
    options = ["--encoder", str(encoder), "--mpp", str(4 * MPP), "--out", str(out), "--json"]
    process = subprocess.Popen([COMMAND, "tile", str(slide), *options], stdout=subprocess.PIPE)
    assert process.stdout is not None
    told = json.loads(process.stdout.read())
    _, status, used = os.wait4(process.pid, 0)
    assert status == 0
    return {
        "tiles": told["slides"][0]["tiles"],
        "peak_mib": round(used.ru_maxrss / 1024, 1),
        "seconds": round(time.perf_counter() - begin, 1),
    }


def main() -> None:
    rows: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        encoder = fit_encoder(folder)
        for side, levels in [*((side, LEVELS) for side in SIDES), (SIDES[-1], (1,))]:
            slide = write_slide(folder / "slide.tif", side, levels)
            rows.append({"side": side, "levels": len(levels), **measured(slide, encoder, folder / f"out-{len(rows)}")})
    row = {
        "value": max(row["peak_mib"] for row in rows),
        "unit": "MiB",
        "ours": rows[len(SIDES) - 1]["seconds"],
        "theirs": None,
        "raw": rows,
        "what": f"the most that `bagwise tile` held, libraries included, on slides of {SIDES[0]:,} to {SIDES[-1]:,}"
        f" pixels a side ({rows[0]['peak_mib']:.0f} MiB on the smallest)",
    }
    print(json.dumps(row))


if __name__ == "__main__":
    main()
