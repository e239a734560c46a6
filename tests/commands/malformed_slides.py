"""Slides, and feature files that are to be shown on slides, that will not do."""

import shutil
import tempfile
from functools import cache
from pathlib import Path

import h5py
import numpy as np
import tifffile
from malformed import CASES, Plan, case, write
from malformed_folders import features

from bagwise.commands.data import DataSource
from bagwise.commands.fit import run_fit
from bagwise.commands.options import Model, Training, Work


@cache
def run_on_features():
    folder = Path(tempfile.mkdtemp())
    source = DataSource(str(features(folder)), labels=folder / "labels.csv")
    run_fit(source, folder / "run", Model(), Training(epochs=1), Work(jobs=1))
    return folder / "run"


def slide_case(name, says, spoil=lambda _: None, unit=(), coordinates=True):
    """Add a case of feature files with what they say of their coordinates, and of slides beside them."""

    def made(folder):
        slides = features(folder)
        (folder / "scans").mkdir()
        for number in range(6):
            pixels = np.full((128, 128, 3), 200, np.uint8)
            tifffile.imwrite(folder / "scans" / f"s{number}.tif", pixels, tile=(64, 64), photometric="rgb")
            with h5py.File(slides / f"s{number}.h5", "r+") as file:
                if coordinates:
                    file["coords"] = np.arange(10).reshape(5, 2)
                file.attrs.update(unit)
        spoil(folder)
        shutil.copytree(run_on_features(), folder / "run")
        return Plan("explain", folder / "run", slides, "--slides", folder / "scans", "--out", folder / "why", says=says)

    CASES[name] = made


def placed_at(place):
    def spoil(folder):
        with h5py.File(folder / "slides" / "s3.h5", "r+") as file:
            file["coords"][2] = place

    return spoil


def of_one_name(folder):
    for place in ("a", "b"):
        (folder / "scans" / place).mkdir()
        shutil.copy(folder / "scans" / "s1.tif", folder / "scans" / place / "s0.tif")
    (folder / "scans" / "s0.tif").unlink()


def renamed(folder):
    for path in list((folder / "scans").iterdir()):
        path.rename(path.with_name(f"slide of {path.name}"))


PIXELS = {"patch_size_level0": 64}
slide_case("on_slides_places_without_a_size", r"s0\.h5 does not say how large its tiles are, nor in what unit")
slide_case("on_slides_places_in_millimetres", r"s0\.h5 has its places in 'mm'", unit={**PIXELS, "unit": "mm"})
slide_case(
    "on_slides_microns_without_a_size", r"s0\.h5 .* how large its tiles are in microns", unit={**PIXELS, "unit": "um"}
)
slide_case(
    "on_slides_microns_on_a_slide_without", r"s0\.h5 .*s0\.tif does not say how many", unit={"tile_size_um": 16.0}
)
slide_case("on_slides_tiles_without_places", r"a feature file does not say where its tiles were cut", coordinates=False)
slide_case(
    "on_slides_a_tile_beside_its_slide", r"s3\.h5 .* x 128, y 0, outside of .*s3\.tif", placed_at([128, 0]), PIXELS
)
slide_case(
    "on_slides_slides_of_one_name",
    r"s0\.h5 may be of .*s0\.tif or of .*s0\.tif, which have one name",
    of_one_name,
    PIXELS,
)
slide_case("on_slides_slides_of_other_names", r"no slide in .*scans has the name of a feature file", renamed, PIXELS)
slide_case("on_slides_no_slides", r"scans", lambda folder: shutil.rmtree(folder / "scans"), PIXELS)
slide_case(
    "on_slides_a_slide_that_is_text", r"s2\.tif", lambda folder: write(folder, "scans/s2.tif", "no slide"), PIXELS
)


def tile_case(name, says, *options, slide="scans"):
    def made(folder):
        (folder / "scans").mkdir()
        for path in ("scans/s.svs", "scans/t.tif"):
            write(folder, path, "no slide")
        return Plan("tile", folder / slide, "--out", folder / "features", *options, says=says)

    CASES[name] = made


tile_case(
    "tile_without_a_slide", r"there is no slide or folder .*nothing\.svs", "--encoder", "run", slide="nothing.svs"
)
tile_case("tile_by_nothing", r"nowhere", "--encoder", "nowhere")
tile_case(
    "tile_pooled_oddly", r"--pool is 'max': it must be one of token, mean", "--encoder", "timm:x", "--pool", "max"
)
tile_case("tile_at_two_resolutions", r"--mpp and --level", "--encoder", "run", "--mpp", "1", "--level", "0")


@case
def tile_two_of_one_name(folder):
    (folder / "scans").mkdir()
    for name in ("s.svs", "s.tif"):
        write(folder, f"scans/{name}", "no slide")
    says = r"'s' has two files, .*s\.svs and .*s\.tif"
    return Plan("tile", folder / "scans", "--encoder", "nowhere", "--out", folder / "features", says=says)
