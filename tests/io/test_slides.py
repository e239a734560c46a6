import os
import sys

import numpy as np
import openslide
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bagwise import BagwiseError
from bagwise.io import slides
from bagwise.io.slides import Slide, Tissue, find_tissue, plan_tiles, read_tiles

NAMES = ["CMU-1-Small-Region.svs", "TCGA-CR-7395-01A-01-TS1.svs"]


@pytest.fixture(params=NAMES)
def slide(request, data_directory):
    with Slide(data_directory / "wsi_samples" / request.param) as opened:
        yield opened


@pytest.fixture(scope="module")
def deep(data_directory):
    """The slide with two levels."""
    with Slide(data_directory / "wsi_samples" / NAMES[1]) as opened:
        yield opened


def as_openslide(slide):
    return openslide.OpenSlide(str(slide.path))


# ---- tissue -----------------------------------------------------------------------------------------------------


def test_the_overview_is_the_slide_made_smaller(slide):
    picture = slide.overview(500)
    assert max(picture.shape) == 500
    thumbnail = as_openslide(slide).get_thumbnail((500, 500)).resize(picture.shape[1::-1])
    assert np.abs(picture.astype(float) - np.array(thumbnail)).mean() < 6


def test_the_overview_does_not_depend_on_how_it_is_read(deep, monkeypatch):
    whole = deep.overview(300)
    monkeypatch.setattr(slides, "_BLOCK", 97)
    # A level that is not a whole number of times smaller is read at the nearest pixel.
    assert np.abs(deep.overview(300).astype(int) - whole).mean() < 1


def test_tissue_is_where_the_colour_is(slide):
    tissue = find_tissue(slide)
    assert 0.3 < tissue.mask.mean() < 0.7
    colour = np.ptp(slide.overview().astype(int), axis=2)
    assert tissue.mask.shape == colour.shape
    assert colour[tissue.mask].mean() > 5 * colour[~tissue.mask].mean()
    assert tissue.mask[colour > 100].mean() > 0.97


class Painted:
    """A slide that is a picture."""

    def __init__(self, picture):
        self.picture = picture
        self.size = picture.shape[1::-1]

    def overview(self):
        return self.picture


def test_specks_and_black_edges_are_no_tissue_and_holes_are_filled():
    picture = np.full((600, 600, 3), 244, np.uint8)
    picture[100:400, 100:400] = (200, 120, 170)
    picture[200:204, 200:204] = 244
    picture[500:504, 500:504] = (200, 120, 170)
    picture[:, :20] = 2
    mask = find_tissue(Painted(picture)).mask
    assert mask[110:390, 110:390].all()
    mask[95:405, 95:405] = False
    assert not mask.any()


@pytest.mark.parametrize(("colour", "expected"), [((244, 244, 244), 0.0), ((200, 120, 170), 1.0)])
def test_a_slide_of_one_kind_is_not_divided(colour, expected):
    noise = np.random.default_rng(0).integers(-3, 4, (200, 300, 3))
    assert find_tissue(Painted((np.array(colour) + noise).astype(np.uint8))).mask.mean() == expected


# ---- tiles ------------------------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(st.data())
def test_tiles_are_those_with_enough_tissue(deep, data):
    mask = np.random.default_rng(data.draw(st.integers(0, 99))).random((36, 45)) < 0.5
    tissue = Tissue(mask, (deep.size[0] / 45, deep.size[1] / 36))
    side, level, least = data.draw(st.integers(40, 400)), data.draw(st.integers(0, 1)), data.draw(st.floats(0, 1))
    tiling = plan_tiles(deep, tissue, side=side, level=level, least_tissue=least)
    assert (tiling.span, tiling.read, tiling.level) == (round(side * deep.downsamples[level]), side, level)
    kept = {tuple(corner) for corner in tiling.corners.tolist()}
    for y in range(0, deep.size[1] - tiling.span + 1, tiling.span):
        for x in range(0, deep.size[0] - tiling.span + 1, tiling.span):
            rows = slice(int(y / tissue.scale[1]), int(np.ceil((y + tiling.span) / tissue.scale[1])))
            columns = slice(int(x / tissue.scale[0]), int(np.ceil((x + tiling.span) / tissue.scale[0])))
            assert ((x, y) in kept) == (mask[rows, columns].mean() >= least)
    assert all(x % tiling.span == y % tiling.span == 0 for x, y in kept)
    if least == 0:
        assert len(kept) == (deep.size[0] // tiling.span) * (deep.size[1] // tiling.span)


@pytest.mark.parametrize("level", [0, 1])
def test_the_pixels_of_a_tile_are_those_of_the_slide(deep, level):
    tiling = plan_tiles(deep, find_tissue(deep), side=200, level=level)
    tiles = np.concatenate(list(read_tiles(deep, tiling, chunk=7)))
    assert len(tiles) == len(tiling.corners)
    for number in range(0, len(tiles), 9):
        region = as_openslide(deep).read_region(tuple(tiling.corners[number].tolist()), level, (200, 200))
        np.testing.assert_array_equal(tiles[number], np.array(region.convert("RGB")))


def test_a_resolution_is_read_from_the_next_finer_level(deep):
    tissue = find_tissue(deep)
    whole = plan_tiles(deep, tissue, side=100, mpp=0.5, slide_mpp=0.5)
    half = plan_tiles(deep, tissue, side=100, mpp=1.0, slide_mpp=0.5)
    third = plan_tiles(deep, tissue, side=100, mpp=1.5, slide_mpp=0.5)
    assert [(one.level, one.read, one.span) for one in (whole, half, third)] == [
        (0, 100, 100),
        (1, 100, 200),
        (1, 150, 300),
    ]
    assert [one.mpp for one in (whole, half, third)] == pytest.approx([0.5, 1.0, 1.5])
    tile = next(read_tiles(deep, third, chunk=1))[0]
    region = as_openslide(deep).read_region(tuple(third.corners[0].tolist()), 1, (150, 150)).convert("RGB")
    np.testing.assert_array_equal(tile, np.array(region.resize((100, 100), Image.Resampling.BOX)))


def test_the_resolution_of_the_file_is_taken(data_directory):
    with Slide(data_directory / "wsi_samples" / NAMES[0]) as slide:
        assert slide.mpp == pytest.approx(0.499)
        tiling = plan_tiles(slide, find_tissue(slide), side=128, mpp=0.998)
        assert (tiling.span, tiling.level, tiling.read) == (256, 0, 256)
        assert tiling.mpp == pytest.approx(0.998)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"side": 0}, "the side of a tile is 0"),
        ({"level": 2}, "has no level 2, only 0 to 1"),
        ({"mpp": 0.5}, "does not say how many microns a pixel is"),
        ({"mpp": 0.2, "slide_mpp": 0.5}, "has 0.5 microns a pixel, which cannot be made finer to 0.2"),
        ({"mpp": -1, "slide_mpp": 0.5}, "they must be a number above 0"),
        ({"least_tissue": 1.5}, "must be a number from 0 to 1"),
    ],
)
def test_what_cannot_be_planned_is_said(deep, options, message):
    with pytest.raises(BagwiseError, match=message):
        plan_tiles(deep, Tissue(np.ones((2, 2), bool), (2500.0, 2000.0)), **options)


def test_a_broken_slide_is_said(tmp_path, data_directory):
    (tmp_path / "text.svs").write_text("no slide")
    with pytest.raises(BagwiseError, match=r"text\.svs cannot be opened as a slide"):
        Slide(tmp_path / "text.svs")
    with pytest.raises(BagwiseError, match="no such file"):
        Slide(tmp_path / "nothing.svs")
    os.mkfifo(tmp_path / "pipe.svs")
    with pytest.raises(slides.SlideError, match="this is a pipe"):
        Slide(tmp_path / "pipe.svs")
    whole = bytearray((data_directory / "wsi_samples" / NAMES[0]).read_bytes())
    whole[20_000:1_500_000] = bytes(1_480_000)
    (tmp_path / "holed.svs").write_bytes(whole)
    with pytest.raises(BagwiseError, match="is damaged at|cannot be opened"), Slide(tmp_path / "holed.svs") as slide:
        slide.overview()


def test_a_slide_of_more_pixels_than_its_file_can_hold_is_refused(tmp_path):
    path = tmp_path / "a.tif"
    pixels = np.zeros((300, 300, 3), np.uint8)
    tifffile.imwrite(path, pixels, photometric="rgb", tile=(256, 256), compression="deflate")
    assert Slide(path).size == (300, 300)
    with tifffile.TiffFile(path, mode="r+b") as file:
        for name in ("ImageWidth", "ImageLength"):
            file.pages[0].tags[name].overwrite(100_000)
    with pytest.raises(slides.SlideError, match=r"says that it has 100000 x 100000 pixels, and .* cannot hold them"):
        Slide(path)


def test_without_openslide_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "openslide", None)
    path = tmp_path / "slide.svs"
    path.touch()
    with pytest.raises(BagwiseError, match=r'pip install "bagwise\[slides\]"$'):
        Slide(path)
