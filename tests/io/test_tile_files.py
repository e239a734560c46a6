import os

import h5py
import numpy as np
import openslide
import pytest
import tifffile

from bagwise.io import tile_files
from bagwise.io.features import read_features
from bagwise.io.slides import Slide, SlideError, Tiling, Tissue, find_slides, plan_tiles, read_tiles
from bagwise.io.tile_files import on_level0, write_tiles

NAMES = ["CMU-1-Small-Region", "TCGA-CR-7395-01A-01-TS1"]


@pytest.fixture(params=NAMES)
def slide(request, data_directory):
    with Slide(data_directory / "wsi_samples" / f"{request.param}.svs") as opened:
        yield opened


def corners_as_features(tiles):
    """Encode a tile as its four corner pixels, so that a feature says which pixels were seen."""
    return tiles[:, [0, 0, -1, -1], [0, -1, 0, -1]].reshape(len(tiles), 12).astype(np.float32)


def planned(slide, **options):
    mask = np.random.default_rng(1).random((30, 40)) < 0.4
    return plan_tiles(slide, Tissue(mask, (slide.size[0] / 40, slide.size[1] / 30)), **options)


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_features_are_those_of_the_pixels_at_the_coordinates(slide, tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(tile_files, "_MOST_TILES", chunk)
    monkeypatch.setattr(tile_files, "_MOST_PIXELS", 1 << 30)
    level = len(slide.downsamples) - 1
    tiling = planned(slide, side=180, level=level)
    counted = []
    write_tiles(tmp_path / "a.h5", slide, tiling, corners_as_features, told=counted.append)
    assert sum(counted) == len(tiling.corners)
    assert max(counted) <= chunk
    read = read_features(tmp_path / "a.h5")
    assert (read.features.dtype, read.coordinates.dtype) == (np.float32, np.int64)
    np.testing.assert_array_equal(read.coordinates, tiling.corners)
    for features, (x, y) in zip(read.features, read.coordinates.tolist(), strict=True):
        pixels = slide.region(x, y, level, 180, 180)
        np.testing.assert_array_equal(features, corners_as_features(pixels[None])[0])


def test_the_attributes_are_those_that_other_readers_look_for(slide, tmp_path):
    level = len(slide.downsamples) - 1
    tiling = planned(slide, side=100, level=level)
    write_tiles(tmp_path / "a.h5", slide, tiling, corners_as_features)
    with h5py.File(tmp_path / "a.h5") as file:
        told = dict(file["coords"].attrs)
        assert file["features"].maxshape == (None, 12)
    assert told["patch_size"] == 100
    # As CLAM reads tiles, and as TRIDENT knows how large they are.
    assert told["patch_level"] == level
    assert told["downsample"] == slide.downsamples[level]
    assert told["patch_size_level0"] == round(100 * slide.downsamples[level]) == tiling.span
    assert (told["level0_width"], told["level0_height"]) == slide.size
    assert (told["overlap"], told["name"]) == (0, slide.path.stem)
    assert ("level0_magnification" in told) == ("target_magnification" in told) == (slide.mpp is not None)
    if slide.mpp is not None:
        assert (told["level0_magnification"], told["target_magnification"]) == (20, 20)
        assert told["mpp"] == pytest.approx(0.499)


def test_a_slide_whose_name_is_no_text_is_written_like_any_other(data_directory, tmp_path):
    path = tmp_path / os.fsdecode(b"a\xff.svs")
    path.symlink_to(data_directory / "wsi_samples" / f"{NAMES[0]}.svs")
    with Slide(path) as slide:
        write_tiles(path.with_suffix(".h5"), slide, planned(slide, side=180), corners_as_features)
    assert read_features(path.with_suffix(".h5")).attributes["name"] == r"a\udcff"


def test_who_would_cut_other_tiles_finds_no_level(data_directory, tmp_path):
    with Slide(data_directory / "wsi_samples" / f"{NAMES[0]}.svs") as slide:
        tiling = planned(slide, side=100, mpp=0.998)
        write_tiles(tmp_path / "a.h5", slide, tiling, corners_as_features)
        told = read_features(tmp_path / "a.h5").attributes
        assert "patch_level" not in told
        assert (told["patch_size"], told["patch_size_level0"], told["target_magnification"]) == (100, 200, 10)
        assert on_level0("a.h5", told, slide) == (1, 200)


@pytest.mark.parametrize(
    ("attributes", "placed"),
    [
        ({"patch_size_level0": 512, "patch_size": 256, "patch_level": 0}, (1, 512)),
        ({"patch_size": 256, "patch_level": 0}, (1, 256)),
        ({"patch_size": 256, "patch_level": 1, "downsample": [2.0005, 2.0005]}, (1, 512)),
        ({"patch_size_level0": 512, "unit": "px"}, (1, 512)),
        ({"unit": "um", "tile_size_um": 256.0, "tile_size_px": 224}, (4, 1024)),
        ({"unit": "um", "tile_size": 256.0}, (4, 1024)),
        ({"tile_size_um": 256}, (4, 1024)),
        # Who added what an older sentence asked for is not led to a half of each place.
        ({"unit": "um", "tile_size_um": 256.0, "patch_size_level0": 256}, (4, 1024)),
        ({"unit": "\u00b5m", "patch_size_level0": 256}, "does not say how large its tiles are in microns"),
        ({"unit": "um", "tile_size_um": "wide"}, "does not say how large its tiles are in microns"),
        ({"unit": "mm", "patch_size_level0": 256}, "has its places in 'mm'"),
        ({"unit": 7}, "has its places in 7"),
        ({"patch_size": 256}, "if these are pixels of level 0, and only then, add"),
        ({"patch_size": 256, "patch_level": 7}, "and only then"),
        ({"patch_size": 256, "patch_level": -1}, "and only then"),
        ({"patch_size": "large", "patch_level": 0}, "and only then"),
        ({"patch_size_level0": float("nan")}, "and only then"),
        ({}, "and only then"),
    ],
)
def test_places_are_read_as_trident_clam_and_stamp_write_them(data_directory, attributes, placed):
    with Slide(data_directory / "wsi_samples" / f"{NAMES[1]}.svs") as slide:
        slide.mpp = 0.25
        if isinstance(placed, str):
            with pytest.raises(ValueError, match=f"^a.h5 .*{placed}"):
                on_level0("a.h5", attributes, slide)
            return
        assert on_level0("a.h5", attributes, slide) == placed
        slide.mpp = None
        if placed[0] == 1:
            assert on_level0("a.h5", attributes, slide) == placed
        else:
            with pytest.raises(ValueError, match="does not say how many microns a pixel is: --slides cannot"):
                on_level0("a.h5", attributes, slide)


def test_fewer_of_large_tiles_are_encoded_at_once(slide, tmp_path):
    for side, expected in ((8, 256), (256, 32)):
        counted = []
        tiling = plan_tiles(slide, Tissue(np.ones((3, 4), bool), (1e4, 1e4)), side=side)
        some = tiling._replace(corners=tiling.corners[:300])
        write_tiles(tmp_path / "a.h5", slide, some, corners_as_features, told=counted.append)
        assert counted[0] == min(expected, len(some.corners))


def test_a_slide_without_tiles_leaves_no_file(slide, tmp_path):
    tiling = Tiling(np.empty((0, 2), np.int64), side=8, span=8, level=0, read=8, mpp=None)
    with pytest.raises(SlideError, match="has no tile of 8 x 8 pixels"):
        write_tiles(tmp_path / "a.h5", slide, tiling, corners_as_features)
    assert not list(tmp_path.iterdir())


def test_what_fails_in_the_middle_leaves_no_file(slide, tmp_path, monkeypatch):
    monkeypatch.setattr(tile_files, "_MOST_TILES", 3)

    def failing(tiles):
        if len(calls := [*seen, 1]) > 2:
            raise SlideError("damaged")
        seen[:] = calls
        return corners_as_features(tiles)

    seen = []
    with pytest.raises(SlideError, match="damaged"):
        write_tiles(tmp_path / "a.h5", slide, planned(slide, side=100), failing)
    assert not list(tmp_path.iterdir())


def test_large_tiles_are_made_smaller_block_by_block_as_at_once(slide, monkeypatch):
    tiling = planned(slide, side=64, mpp=5.0, slide_mpp=0.5, least_tissue=0)
    whole = np.concatenate(list(read_tiles(slide, tiling)))
    monkeypatch.setattr("bagwise.io.slides._BLOCK", 100)
    blocks = np.concatenate(list(read_tiles(slide, tiling)))
    difference = np.abs(blocks.astype(int) - whole)
    if len(slide.downsamples) == 1:
        assert difference.max() <= 1  # of rounding
    else:  # a level that is not a whole number of times smaller is read at the nearest pixel
        assert difference.mean() < 1.5


def test_slides_are_found_by_name(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    for path in ("a/s 10.svs", "a/s 9.TIF", "a/b/t.1.ndpi", "a/notes.txt", "a/.hidden.svs", "single.svs"):
        (tmp_path / path).touch()
    assert list(find_slides([tmp_path / "a", tmp_path / "single.svs"])) == ["t.1", "s 9", "s 10", "single"]
    assert find_slides([tmp_path / "a", tmp_path / "a" / "s 10.svs"]).keys() == {"t.1", "s 9", "s 10"}


def test_slides_of_one_name_are_called_by_their_paths(tmp_path):
    for path in ("a/x/s.svs", "a/y/s.svs", "a/y/t.svs"):
        (tmp_path / path).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / path).touch()
    found = find_slides([tmp_path / "a"])
    assert {name: path.relative_to(tmp_path / "a").as_posix() for name, path in found.items()} == {
        "x/s": "x/s.svs",
        "y/s": "y/s.svs",
        "t": "y/t.svs",
    }


def test_slides_that_cannot_be_told_apart_are_refused(tmp_path):
    (tmp_path / "a").mkdir()
    for path in ("a/s.svs", "s.svs"):
        (tmp_path / path).touch()
    with pytest.raises(ValueError, match="are both called 's.svs'"):
        find_slides([tmp_path / "a", tmp_path / "s.svs"])
    with pytest.raises(ValueError, match="there is no slide or folder"):
        find_slides([tmp_path / "b"])


def test_a_resolution_that_is_no_number_is_none(data_directory, monkeypatch):
    for value in ("0", "-1", "nan", "inf", "unknown"):
        monkeypatch.setattr(openslide.OpenSlide, "properties", {"openslide.mpp-x": value}, raising=False)
        with Slide(data_directory / "wsi_samples" / f"{NAMES[0]}.svs") as slide:
            assert (slide.mpp, slide.magnification) == (None, None)


def test_the_part_that_was_scanned_is_told(data_directory, monkeypatch):
    path = data_directory / "wsi_samples" / f"{NAMES[0]}.svs"
    with Slide(path) as slide:
        assert slide.bounds == (0, 0, 2220, 2967)
    told = {f"openslide.bounds-{name}": str(value) for name, value in zip(("x", "y", "width"), (7, 8, 90), strict=True)}
    monkeypatch.setattr(openslide.OpenSlide, "properties", told, raising=False)
    with Slide(path) as slide:
        assert slide.bounds == (0, 0, 2220, 2967)
    told["openslide.bounds-height"] = "100"
    with Slide(path) as slide:
        assert slide.bounds == (7, 8, 90, 100)


def test_a_slide_smaller_than_a_tile_has_none(tmp_path):
    path = tmp_path / "small.tif"
    tifffile.imwrite(path, np.full((48, 48, 3), 200, np.uint8), tile=(16, 16), photometric="rgb", compression="zlib")
    with Slide(path) as slide:
        assert slide.size == (48, 48)
        tissue = Tissue(np.ones((4, 4), bool), (12.0, 12.0))
        assert len(plan_tiles(slide, tissue, side=49).corners) == 0
        assert plan_tiles(slide, tissue, side=20).corners.tolist() == [[0, 0], [20, 0], [0, 20], [20, 20]]
        np.testing.assert_array_equal(slide.overview(10), np.full((10, 10, 3), 200))
