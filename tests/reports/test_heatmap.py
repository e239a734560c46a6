import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bagwise import BagwiseError
from bagwise.reports.heatmap import draw_heatmap, weighted_patches


@settings(max_examples=60)
@given(st.data())
def test_every_pixel_is_as_bright_as_the_mean_of_its_patches(data):
    height, width, side = (data.draw(st.integers(1, most)) for most in (9, 9, 4))
    corners = data.draw(st.lists(st.tuples(st.integers(-5, width), st.integers(-5, height)), max_size=5))
    weights = data.draw(st.lists(st.floats(0, 1), min_size=len(corners), max_size=len(corners)))
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    found = weighted_patches(image, np.array(corners).reshape(-1, 2), side, weights)
    for row in range(height):
        for column in range(width):
            over = [
                weight
                for (x, y), weight in zip(corners, weights, strict=True)
                if x <= column < x + side and y <= row < y + side
            ]
            bright = sum(over) / max(len(over), 1)
            np.testing.assert_array_equal(found[row, column], np.round(image[row, column] * bright))


def test_what_does_not_fit_together_is_refused(tmp_path):
    image = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(BagwiseError, match="there are 2 weights and corners of shape"):
        weighted_patches(image, [[0, 0]], 4, [1.0, 0.5])
    for wrong in (-0.1, 1.1, np.nan):
        with pytest.raises(BagwiseError, match="a weight is below 0 or above 1"):
            weighted_patches(image, [[0, 0]], 4, [wrong])
    with pytest.raises(BagwiseError, match=r"must end in .svg or .png"):
        draw_heatmap(tmp_path / "a.pdf", image, [[0, 0]], 4, {"attention": [1.0]})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("panels", [1, 2, 4])
def test_every_panel_has_its_title(tmp_path, panels):
    image = np.full((20, 30, 3), 200, np.uint8)
    draw_heatmap(tmp_path / "a.svg", image, [[0, 0]], 4, {f"panel {n}": [1.0] for n in range(panels)})
    text = (tmp_path / "a.svg").read_text()
    assert all(f">{title}<" in text for title in ["image", *(f"panel {n}" for n in range(panels))])
