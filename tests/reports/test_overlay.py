import numpy as np
import pytest
from matplotlib import colormaps
from PIL import Image

from bagwise.io.slides import Tiling, Tissue
from bagwise.reports.overlay import draw_overlay, draw_tissue


def tiling(corners, span):
    return Tiling(np.array(corners), side=span, span=span, level=0, read=span, mpp=None)


@pytest.mark.parametrize("name", ["slide 7", "$x_{", "名前", ""])
def test_tiles_are_coloured_where_they_are(tmp_path, name):
    picture = np.full((300, 400, 3), (230, 150, 200), np.uint8)
    corners, values = np.array([[0, 0], [4000, 3000], [7000, 0]]), np.array([0.0, 0.5, 1.0])
    draw_overlay(tmp_path / "a.png", picture, (8000, 6000), corners, 1000, values, title=name)
    with Image.open(tmp_path / "a.png") as opened:
        pixels = np.array(opened.convert("RGB")).astype(int)
    slide = round(0.299 * 230 + 0.587 * 150 + 0.114 * 200)
    grey = (np.abs(pixels - slide) <= 1).all(axis=2)
    # The slide is where many pixels of a row, and of a column, have its grey.
    rows, columns = (np.flatnonzero(grey.sum(axis=axis) > 100) for axis in (1, 0))
    top, bottom, left, right = rows[0], rows[-1], columns[0], columns[-1]
    for (x, y), value in zip(corners + 500, values, strict=True):
        seen = pixels[int(top + (bottom - top) * y / 6000), int(left + (right - left) * x / 8000)]
        expected = 0.5 * slide + 0.5 * 255 * np.array(colormaps["viridis"](value)[:3])
        np.testing.assert_allclose(seen, expected, atol=3)


@pytest.mark.parametrize("span", [40, 8])
def test_what_is_no_tissue_is_pale_and_tiles_are_tinted(tmp_path, span):
    picture = np.full((60, 80, 3), (200, 120, 160), np.uint8)
    mask = np.zeros((60, 80), bool)
    mask[:, :60] = True
    draw_tissue(tmp_path / "a.jpg", picture, Tissue(mask, (10.0, 10.0)), tiling([[0, 0]], 10 * span))
    with Image.open(tmp_path / "a.jpg") as opened:
        seen = np.array(opened).astype(int)
    assert seen.shape == picture.shape
    np.testing.assert_allclose(seen[30, 72], [241, 221, 231], atol=6)  # neither tissue nor tile
    np.testing.assert_allclose(seen[52, 20], [200, 120, 160], atol=6)  # tissue without a tile
    np.testing.assert_allclose(seen[4, 4], [150, 112, 170], atol=8)


def test_tiles_smaller_than_a_pixel_are_tinted_too(tmp_path):
    picture = np.full((64, 64, 3), (200, 120, 160), np.uint8)
    corners = [(4 * x, 4 * y) for y in range(80) for x in range(80)]
    draw_tissue(tmp_path / "a.jpg", picture, Tissue(np.ones((64, 64), bool), (10.0, 10.0)), tiling(corners, 4))
    with Image.open(tmp_path / "a.jpg") as opened:
        seen = np.array(opened).astype(int)
    np.testing.assert_allclose(seen[:24, :24].mean((0, 1)), [150, 112, 170], atol=8)
    np.testing.assert_allclose(seen[48:, 48:].mean((0, 1)), [200, 120, 160], atol=6)
