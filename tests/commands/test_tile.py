import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

import bagwise as bw
from bagwise.io.features import read_features
from bagwise.io.slides import Slide, find_tissue, plan_tiles, read_tiles
from bagwise.methods.tile_encoders import encoder_of_model

COMMAND = Path(sys.executable).parent / "bagwise"
NAMES = ["CMU-1-Small-Region", "TCGA-CR-7395-01A-01-TS1"]
SIDE = 64
COLUMNS = ["--bag", "patient", "--label", "diagnosis"]


def start(*argv):
    """Start the command as a process."""
    kept = {name: value for name, value in os.environ.items() if name != "FORCE_COLOR"}
    return subprocess.Popen(
        [str(COMMAND), *map(str, argv)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=kept | {"TERM": "dumb", "COLUMNS": "200"},
    )


@pytest.fixture(scope="session")
def encoder(run, data_directory, tmp_path_factory):
    """A run on a few images of colon tissue."""
    folder = tmp_path_factory.mktemp("colon")
    (folder / "scans").mkdir()
    images = {5: "epithelial", 6: "epithelial", 1: "none", 2: "none"}
    for number in images:
        shutil.copy(data_directory / "colon_cancer" / "images" / f"img{number}.png", folder / "scans")
    rows = [f"img{number},{label}\n" for number, label in images.items()]
    (folder / "labels.csv").write_text("bag,label\n" + "".join(rows))
    options = ["--labels", folder / "labels.csv", "--patch", SIDE, "--epochs", 2, "--jobs", 1]
    done = run("fit", folder / "scans", *options, "--out", folder / "run", "--json")
    assert done.status == 0, done.told
    return folder / "run"


@pytest.fixture(scope="session")
def samples(data_directory):
    return data_directory / "wsi_samples"


@pytest.fixture(scope="session")
def tiled(run, encoder, samples, tmp_path_factory):
    """Both sample slides as feature files."""
    out = tmp_path_factory.mktemp("tiled") / "features"
    done = run("tile", samples, "--encoder", encoder, "--out", out, "--json")
    assert (done.status, done.told) == (0, "")
    return out, json.loads(done.out)


def small_slide(path, height=256, colour=(200, 120, 170), microns=None):
    """Write a slide of two levels, 256 pixels wide, whose left half is tissue."""
    pixels = np.full((height, 256, 3), 245, np.uint8)
    pixels[:, :128] = colour
    said = {} if microns is None else {"resolution": (1e4 / microns, 1e4 / microns), "resolutionunit": "CENTIMETER"}
    with tifffile.TiffWriter(path) as file:
        file.write(pixels, tile=(64, 64), photometric="rgb", **said)
        file.write(pixels[::2, ::2], tile=(64, 64), photometric="rgb", subfiletype=1)
    return path


# ---- slides become feature files ------------------------------------------------------------------------------------


def test_the_way_from_slides_to_maps(run, tiled, judged, samples, tmp_path):
    # One file says what CLAM says, and the other what we say.
    features = changed(tiled, tmp_path / "features", lambda file: file["coords"].attrs.__delitem__("patch_size_level0"))
    done = run("explain", judged, features, "--slides", samples, "--out", tmp_path / "why")
    assert done.status == 0, done.told
    for name in NAMES:
        assert f"{name}.geojson" in done.out
        with Slide(samples / f"{name}.svs") as slide:
            check_map(tmp_path / "why", name, slide)


def check_map(why, name, slide):
    """See that the maps of a slide say what the table says."""
    table = pd.read_csv(why / "instances.csv")
    table = table[table["bag"] == name].reset_index(drop=True)
    content = json.loads((why / "slides" / f"{name}.geojson").read_text())
    assert content["type"] == "FeatureCollection"
    kinds = [feature["properties"]["objectType"] for feature in content["features"]]
    assert kinds == ["tile"] * len(table) + ["annotation"] * 5
    for feature in content["features"]:
        assert (feature["type"], feature["geometry"]["type"]) == ("Feature", "Polygon")
        (ring,) = np.array(feature["geometry"]["coordinates"])
        assert ring.shape == (5, 2)
        assert ring[0].tolist() == ring[-1].tolist()
        assert (ring[2] > ring[0]).all()
        assert (ring >= 0).all()
        assert (ring <= slide.size).all()
        assert len(feature["properties"]["classification"]["color"]) == 3
    tiles = content["features"][: len(table)]
    rings = np.array([tile["geometry"]["coordinates"][0] for tile in tiles])
    np.testing.assert_array_equal(rings[:, 0], table[["x", "y"]])
    np.testing.assert_array_equal(rings[:, 2] - rings[:, 0], np.full((len(table), 2), SIDE))
    for column in ("weight", "rescaled_weight", "rank", "score"):
        said = [tile["properties"]["measurements"][column] for tile in tiles]
        np.testing.assert_allclose(said, table[column], rtol=1e-6)
    keys = [feature["properties"]["measurements"]["rank"] for feature in content["features"][len(table) :]]
    assert sorted(keys) == [1, 2, 3, 4, 5]
    with Image.open(why / "slides" / f"{name}.png") as picture:
        assert picture.width == 1200
        # Weights are colours, and the slide is grey.
        assert np.ptp(np.array(picture.convert("RGB")).astype(int), axis=2).max() > 100


def test_features_are_what_the_encoder_says_of_the_tiles(tiled, encoder, samples):
    out, told = tiled
    model = bw.load_model(encoder)
    for name, row in zip(NAMES, told["slides"], strict=True):
        read = read_features(out / f"{name}.h5")
        with Slide(samples / f"{name}.svs") as slide:
            tiling = plan_tiles(slide, find_tissue(slide), side=SIDE)
            some = tiling._replace(corners=tiling.corners[::40])
            tiles = np.concatenate(list(read_tiles(slide, some)))
        assert row["tiles"] == len(tiling.corners) > 300
        np.testing.assert_array_equal(read.coordinates, tiling.corners)
        np.testing.assert_allclose(read.features[::40], encoder_of_model(model)(tiles), rtol=1e-4, atol=1e-5)
        assert (out / "tissue" / f"{name}.jpg").stat().st_size > 20_000
    assert not list(out.glob(".writing-*"))


@pytest.mark.parametrize(("options", "span"), [(["--mpp", "0.998"], 128), (["--level", "1"], 128), ([], 64)])
def test_resolution_is_chosen_by_microns_or_by_level(run, encoder, tmp_path, options, span):
    slide = small_slide(tmp_path / "slide.tif", microns=0.499)
    done = run("tile", slide, "--encoder", encoder, *options, "--out", tmp_path / "out", "--json")
    assert json.loads(done.out)["slides"][0]["patch_size_level0"] == span
    told = read_features(tmp_path / "out" / "slide.h5").attributes
    assert (told["patch_size"], told["patch_size_level0"]) == (SIDE, span)


# ---- slides that cannot be used --------------------------------------------------------------------------------------


def test_slides_that_are_broken_are_said_and_the_others_go_on(run, encoder, samples, tmp_path):
    place = tmp_path / "slides"
    place.mkdir()
    whole = (samples / f"{NAMES[0]}.svs").read_bytes()
    (place / "a-empty.svs").write_bytes(b"")
    (place / "b-text.svs").write_text("no slide")
    (place / "c-truncated.svs").write_bytes(whole[: len(whole) // 2])
    small_slide(place / "d-good.tif")
    tifffile.imwrite(place / "e-glass.tif", np.full((256, 256, 3), 245, np.uint8), tile=(64, 64), photometric="rgb")
    holed = bytearray(whole)
    holed[20_000:1_500_000] = bytes(1_480_000)
    (place / "f-holed.svs").write_bytes(holed)
    done = run("tile", place, "--encoder", encoder, "--out", tmp_path / "out", "--json")
    assert done.status == 1
    result = json.loads(done.out)
    assert [Path(row["slide"]).name for row in result["slides"]] == ["d-good.tif"]
    broken = ["a-empty.svs", "b-text.svs", "c-truncated.svs", "e-glass.tif", "f-holed.svs"]
    assert [Path(row["slide"]).name for row in result["failed"]] == broken
    lines = done.told.splitlines()
    assert len(lines) == len(broken), done.told
    for line, row, name in zip(lines, result["failed"], broken, strict=True):
        assert line == f"bagwise: {row['reason']}"
        assert name in line
    assert "has no tile of 64 x 64 pixels" in lines[3]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        ".bagwise",
        "d-good.h5",
        "tile.json",
        "tissue",
    ]
    assert read_features(tmp_path / "out" / "d-good.h5").coordinates.tolist() == [
        [x, y] for y in range(0, 256, 64) for x in (0, 64)
    ]


def test_a_slide_without_microns_cannot_be_cut_by_them(run, encoder, tmp_path):
    slides = small_slide(tmp_path / "with.tif", microns=0.499), small_slide(tmp_path / "without.tif")
    done = run("tile", *slides, "--encoder", encoder, "--mpp", "0.998", "--out", tmp_path / "out", "--json")
    assert done.status == 1
    assert done.told.count("\n") == 1
    assert "without.tif does not say how many microns a pixel is: choose a level" in done.told
    assert [Path(row["slide"]).stem for row in json.loads(done.out)["slides"]] == ["with"]


def test_only_what_was_drawn_is_said_and_paths_are_whole(run, encoder, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    (tmp_path / "broken.svs").write_text("no slide")
    done = run("tile", tmp_path / "broken.svs", "--encoder", encoder, "--out", tmp_path / "none")
    assert (done.status, done.out) == (1, f"0 slides are encoded in {tmp_path / 'none'}:\n")
    good = small_slide(tmp_path / f"{'long ' * 20}name.tif")
    done = run("tile", good, "--encoder", encoder, "--out", tmp_path / "out")
    assert done.out.splitlines()[1:] == [
        f"  {tmp_path / 'out' / good.stem}.h5: 8 tiles",
        f"What was taken for tissue is drawn in {tmp_path / 'out' / 'tissue'}.",
    ]


@pytest.fixture(scope="session")
def vectors(run, cells, tmp_path_factory):
    """A run on a table."""
    folder = tmp_path_factory.mktemp("vectors")
    columns = ["patient", "diagnosis", "size", "marker"]
    cells()[columns].to_csv(folder / "cells.csv", index=False)
    options = [*COLUMNS, "--epochs", 1, "--jobs", 1]
    assert run("fit", folder / "cells.csv", *options, "--out", folder / "run").status == 0
    return folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"--encoder": "nowhere"}, r"there is no folder nowhere"),
        ({"--encoder": "{tmp}"}, "holds no model.safetensors"),
        ({"--encoder": "{vectors}"}, r"learnt from instances of shape \(2,\)"),
        ({"--encoder": "timm:resnet50"}, r"pip install 'bagwise\[timm\]'"),
        ({"--device": "nonsense"}, "device 'nonsense' is not to be had"),
        ({"--pool": "mean"}, "--pool is for networks of timm that give tokens"),
        ({"--method": "mine:Mine"}, "was trained with the method [a-z-]+, not with mine:Mine: leave --method out"),
        ({"--encoder": "timm:resnet50", "--method": "mine:Mine"}, "--method is for runs with a method of your own"),
        ({"--size": "63"}, "takes tiles of 64 x 64 pixels"),
        ({"--mpp": "0"}, "must be a number above 0"),
        ({"--mpp": "0.5", "--level": "0"}, "give one of them"),
        ({"--level": "-1"}, "has no level -1, only 0 to 1"),
        ({"--level": "3"}, "has no level 3, only 0 to 1"),
        ({"slide": "nowhere.svs"}, "there is no slide or folder nowhere.svs"),
        ({"slide": "{vectors}"}, "holds no slides: their names end in"),
        ({"--out": "{vectors}"}, "is not empty: choose another folder"),
    ],
)
def test_what_will_not_do_is_said_in_a_sentence(run, encoder, vectors, tmp_path, monkeypatch, change, message):
    monkeypatch.setitem(sys.modules, "timm", None)
    (tmp_path / "empty").mkdir()
    slide = small_slide(tmp_path / "slide.tif")
    asked = {"slide": slide, "--encoder": encoder, "--out": tmp_path / "out", **change}
    asked = {name: str(value).format(tmp=tmp_path / "empty", vectors=vectors / "run") for name, value in asked.items()}
    done = run("tile", asked.pop("slide"), *(part for pair in asked.items() for part in pair), "--json")
    assert done.status == 1
    assert done.told.count("\n") == 1
    assert re.search(message, done.told), done.told
    assert not list((tmp_path / "out").glob("*.h5"))


def test_an_ensemble_is_no_encoder(run, vectors, tmp_path):
    options = [*COLUMNS, "--epochs", 1, "--jobs", 1, "--ensemble", 2]
    assert run("fit", vectors / "cells.csv", *options, "--out", tmp_path / "two").status == 0
    slide = small_slide(tmp_path / "slide.tif")
    done = run("tile", slide, "--encoder", tmp_path / "two", "--out", tmp_path / "out")
    assert done.status == 1
    assert "holds an ensemble of 2 models, each with an encoder of its own" in done.told


# ---- resuming --------------------------------------------------------------------------------------------------------


@pytest.mark.slow(seconds=10)
def test_a_run_that_was_killed_goes_on_and_ends_the_same(run, encoder, tmp_path):
    slides, out = tmp_path / "slides", tmp_path / "features"
    slides.mkdir()
    small_slide(slides / "first.tif")
    small_slide(slides / "second.tif", height=16384)
    process = start("tile", slides, "--encoder", encoder, "--out", out)
    begun = time.monotonic()
    first, second = (out / f"{name}.h5" for name in ("first", "second"))
    while not (first.exists() and list(out.glob(".writing-*.h5"))):
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < begun + 120
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not second.exists()
    assert list(out.glob(".writing-*"))
    before = first.stat().st_mtime_ns
    refused = run("tile", slides, "--encoder", encoder, "--out", out)
    assert refused.status == 1
    assert "is not empty (bagwise tile was stopped before it had finished there)" in refused.told
    done = run("tile", slides, "--encoder", encoder, "--out", out, "--resume", "--json")
    assert (done.status, done.told) == (0, "")
    assert first.stat().st_mtime_ns == before
    assert not list(out.glob(".writing-*"))
    assert run("tile", slides, "--encoder", encoder, "--out", tmp_path / "whole").status == 0
    for file in (first, second):
        assert file.read_bytes() == (tmp_path / "whole" / file.name).read_bytes()
    # A second time there is nothing to do.
    again = run("tile", slides, "--encoder", encoder, "--out", out, "--resume", "--json")
    assert [row.get("tiles") for row in json.loads(again.out)["slides"]] == [None, None]


def test_a_file_of_another_program_is_not_replaced(run, tiled, encoder, samples, tmp_path):
    out = tmp_path / "features"
    shutil.copytree(tiled[0], out)
    others = out / f"{NAMES[1]}.h5"
    others.write_bytes(b"mine")
    done = run("tile", samples, "--encoder", encoder, "--out", out, "--resume")
    assert done.status == 1
    assert done.told.startswith(f"bagwise: {others} is there already, and this run did not write it")
    assert others.read_bytes() == b"mine"


def test_only_what_was_asked_for_is_resumed(run, tiled, encoder, samples, tmp_path):
    out = tmp_path / "features"
    shutil.copytree(tiled[0], out)
    done = run("tile", samples, "--encoder", encoder, "--level", "1", "--out", out, "--resume")
    assert done.status == 1
    assert "was asked for another level (None, now 1, see tile.json): choose another folder" in done.told
    (out / "tile.json").unlink()
    done = run("tile", samples, "--encoder", encoder, "--out", out, "--resume")
    assert done.status == 1
    assert "tile.json" in done.told


# ---- maps ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def judged(run, tiled, tmp_path_factory):
    """A run on the features of the sample slides."""
    folder = tmp_path_factory.mktemp("judged")
    labels = folder / "labels.csv"
    labels.write_text("bag,label\n" + "".join(f"{name},{number}\n" for number, name in enumerate(NAMES)))
    options = ["--labels", labels, "--epochs", 1, "--jobs", 1]
    done = run("fit", tiled[0], *options, "--out", folder / "run", "--json")
    assert done.status == 0, done.told
    return folder / "run"


def test_one_slide_is_enough_and_patients_may_have_several(run, tiled, judged, samples, tmp_path):
    labels = tmp_path / "patients.csv"
    labels.write_text("bag,file\n" + "".join(f"one,{name}.h5\n" for name in reversed(NAMES)))
    slide = samples / f"{NAMES[0]}.svs"
    options = ["--labels", labels, "--slides", slide, "--key", 2, "--out", tmp_path / "why"]
    done = run("explain", judged, tiled[0], *options)
    assert done.status == 0, done.told
    assert sorted(path.name for path in (tmp_path / "why" / "slides").iterdir()) == [
        f"{NAMES[0]}.geojson",
        f"{NAMES[0]}.png",
        "slides.csv",
    ]
    index = pd.read_csv(tmp_path / "why" / "slides" / "slides.csv").to_dict("records")
    names = {"map": f"{NAMES[0]}.png", "geojson": f"{NAMES[0]}.geojson"}
    assert index == [{**names, "bag": "one", "file": f"{NAMES[0]}.h5", "slide": str(slide)}]
    maps = pd.read_csv(tmp_path / "why" / "maps" / "maps.csv", dtype=str)
    assert maps[["bag", "file"]].to_numpy().tolist() == [["one", f"{name}.h5"] for name in reversed(NAMES)]
    assert all((tmp_path / "why" / "maps" / name).stat().st_size > 5000 for name in maps["map"])
    content = json.loads((tmp_path / "why" / "slides" / f"{NAMES[0]}.geojson").read_text())
    tiles = [one["properties"] for one in content["features"] if one["properties"]["objectType"] == "tile"]
    table = pd.read_csv(tmp_path / "why" / "instances.csv").tail(len(tiles))
    assert len(tiles) == len(read_features(tiled[0] / f"{NAMES[0]}.h5").features)
    np.testing.assert_allclose([tile["measurements"]["score"] for tile in tiles], table["score"], rtol=1e-6)


@pytest.fixture(scope="session")
def of_one_name(tmp_path_factory):
    """Two slides of one name in two folders, and features of them."""
    place = tmp_path_factory.mktemp("of-one-name")
    rng = np.random.default_rng(0)
    for number, folder in enumerate("ab"):
        for kind in ("slides", "features"):
            (place / kind / folder).mkdir(parents=True)
        small_slide(place / "slides" / folder / "s.tif", colour=[(200, 120, 170), (90, 60, 160)][number])
        with h5py.File(place / "features" / folder / "s.h5", "w") as file:
            file["features"] = rng.normal(size=(4, 3)).astype(np.float32)
            file["coords"] = np.array([[0, 0], [64, 0], [0, 64], [64, 64 * number]])
            file["coords"].attrs["patch_size_level0"] = 64
    (place / "labels.csv").write_text("bag,label\na/s,0\nb/s,1\n")
    return place


def test_files_of_one_name_have_maps_of_their_own(run, of_one_name, tmp_path):
    features, slides = of_one_name / "features", of_one_name / "slides"
    options = ["--labels", of_one_name / "labels.csv", "--epochs", 1, "--jobs", 1]
    assert run("fit", features, *options, "--out", tmp_path / "run").status == 0
    done = run("explain", tmp_path / "run", features, "--slides", slides, "--out", tmp_path / "why")
    assert done.status == 0, done.told
    index = pd.read_csv(tmp_path / "why" / "slides" / "slides.csv")
    assert index["file"].tolist() == ["a/s.h5", "b/s.h5"]
    assert index["slide"].tolist() == [str(slides / "a" / "s.tif"), str(slides / "b" / "s.tif")]
    table = pd.read_csv(tmp_path / "why" / "instances.csv")
    for name, file in zip(index["geojson"], index["file"], strict=True):
        content = json.loads((tmp_path / "why" / "slides" / name).read_text())
        weights = [one["properties"]["measurements"]["weight"] for one in content["features"][:4]]
        np.testing.assert_allclose(weights, table.loc[table["file"] == file, "weight"], rtol=1e-6)
    one, other = ((tmp_path / "why" / "slides" / name).read_bytes() for name in index["map"])
    assert one != other
    # A file in no folder could be of either.
    shutil.copy(features / "a" / "s.h5", tmp_path / "s.h5")
    (tmp_path / "flat").mkdir()
    shutil.move(tmp_path / "s.h5", tmp_path / "flat")
    done = run("explain", tmp_path / "run", tmp_path / "flat", "--slides", slides, "--out", tmp_path / "again")
    assert (done.status, done.told.count("\n")) == (1, 1)
    assert "s.h5 may be of" in done.told
    assert "which have one name" in done.told
    assert not (tmp_path / "again").exists()


def test_slides_of_one_name_become_files_of_their_own(run, encoder, of_one_name, tmp_path):
    out = tmp_path / "features"
    done = run("tile", of_one_name / "slides", "--encoder", encoder, "--out", out, "--json")
    assert done.status == 0, done.told
    assert [row["file"] for row in json.loads(done.out)["slides"]] == [str(out / f"{name}/s.h5") for name in "ab"]
    one, other = (read_features(out / name / "s.h5").features for name in "ab")
    assert not np.array_equal(one, other)
    assert all((out / "tissue" / name / "s.jpg").exists() for name in "ab")
    # What was made when there was one slide of that name is of one of the two.
    before = tmp_path / "before"
    assert run("tile", of_one_name / "slides" / "a", "--encoder", encoder, "--out", before).status == 0
    done = run("tile", of_one_name / "slides", "--encoder", encoder, "--out", before, "--resume")
    assert (done.status, done.told.count("\n")) == (1, 1)
    assert "is of one slide of several that have its name now" in done.told


def test_places_in_microns_lie_where_they_were_cut(run, of_one_name, tmp_path, monkeypatch):
    (tmp_path / "features").mkdir()
    for name in "ab":
        with h5py.File(tmp_path / "features" / f"{name}.h5", "w") as file:
            file["feats"] = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float16)
            file["coords"] = np.array([[0.0, 0.0], [16.0, 32.0]], np.float32)
            file.attrs.update({"unit": "um", "tile_size_um": 16.0, "tile_size_px": 224, "extractor": "uni"})
    (tmp_path / "labels.csv").write_text("bag,label\na,0\nb,1\n")
    options = ["--labels", tmp_path / "labels.csv", "--epochs", 1, "--jobs", 1]
    assert run("fit", tmp_path / "features", *options, "--out", tmp_path / "run").status == 0
    shutil.copy(of_one_name / "slides" / "a" / "s.tif", tmp_path / "a.tif")
    asked = ["explain", tmp_path / "run", tmp_path / "features", "--slides", tmp_path / "a.tif"]
    done = run(*asked, "--out", tmp_path / "unknown")
    assert (done.status, done.told.count("\n")) == (1, 1)
    assert "a.tif does not say how many microns a pixel is" in done.told
    monkeypatch.setattr(Slide, "_number", lambda _, name: 0.25 if "mpp" in name else None)
    done = run(*asked, "--out", tmp_path / "why")
    assert done.status == 0, done.told
    content = json.loads((tmp_path / "why" / "slides" / "a.geojson").read_text())
    rings = [one["geometry"]["coordinates"][0] for one in content["features"][:2]]
    assert [(ring[0], ring[2]) for ring in rings] == [([0, 0], [64, 64]), ([64, 128], [128, 192])]


def changed(tiled, folder, change):
    """Copy the feature files and change one."""
    shutil.copytree(tiled[0], folder, ignore=shutil.ignore_patterns("tissue"))
    with h5py.File(folder / f"{NAMES[0]}.h5", "r+") as file:
        change(file)
    return folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda file: file["coords"].attrs.clear(), "does not say how large its tiles are, nor in what unit"),
        (lambda file: file.attrs.update({"unit": "mm"}), "has its places in 'mm'"),
        (lambda file: file["coords"].__setitem__((0, 0), 99999), "has a tile at x 99999, y .* outside of"),
        (lambda file: file.__delitem__("coords"), "does not say where its tiles were cut"),
    ],
)
def test_what_a_map_needs_is_said_before_the_work(run, tiled, judged, samples, tmp_path, change, message):
    features = changed(tiled, tmp_path / "features", change)
    done = run("explain", judged, features, "--slides", samples, "--out", tmp_path / "why")
    assert done.status == 1
    assert done.told.count("\n") == 1
    assert re.search(message, done.told), done.told
    assert not (tmp_path / "why").exists()


def test_slides_that_are_not_those_of_the_features_are_said(run, tiled, judged, vectors, samples, tmp_path):
    small_slide(tmp_path / "other.tif")
    done = run("explain", judged, tiled[0], "--slides", tmp_path / "other.tif", "--out", tmp_path / "why")
    assert done.status == 1
    assert "has the name of a feature file: the first slide is called 'other'" in done.told
    done = run("explain", vectors / "run", vectors / "cells.csv", "--slides", samples, "--out", tmp_path / "why")
    assert done.status == 1
    assert "give a folder of feature files" in done.told
    assert not (tmp_path / "why").exists()
