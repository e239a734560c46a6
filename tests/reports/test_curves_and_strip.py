import numpy as np
import pytest

from bagwise import BagwiseError
from bagwise.reports.curves import Curve, draw_curves
from bagwise.reports.strip import draw_strip


def text_of(path):
    return path.read_text(encoding="utf-8")


def test_every_line_is_named_once_for_all_panels(tmp_path):
    path = tmp_path / "curves.svg"
    lines = {"attention": Curve([50, 100], [0.8, 0.9], [0.01, 0.02]), "MI-SVM": Curve([50], [0.7])}
    draw_curves(path, {"few": lines, "many": {"attention": Curve([1], [1.0])}}, x_label="bags", y_label="AUC")
    found = text_of(path)
    for part in (">few<", ">many<", ">bags<", ">AUC<"):
        assert part in found
    assert found.count(">attention<") == found.count(">MI-SVM<") == 1


def test_more_lines_than_colours_are_drawn(tmp_path):
    lines = {f"method {number}": Curve([1, 2], [number, number]) for number in range(30)}
    draw_curves(tmp_path / "curves.png", {"": lines}, x_label="x", y_label="y")
    assert (tmp_path / "curves.png").stat().st_size > 10_000


def test_a_bag_shows_every_image_with_its_weight(tmp_path):
    weights = np.arange(1, 10) / 45
    draw_strip(
        tmp_path / "bag.svg", np.random.default_rng(0).random((9, 8, 8)), weights, [False] * 8 + [True], "a $bag$"
    )
    found = text_of(tmp_path / "bag.svg")
    assert "a $bag$" in found
    for number, weight in enumerate(weights, start=1):
        assert f"a{number} = {weight:.5f}" in found
    assert found.count(" *<") == 1
    assert f"a9 = {weights[-1]:.5f} *" in found


def test_a_bag_of_one_image_can_be_shown(tmp_path):
    draw_strip(tmp_path / "bag.png", np.zeros((1, 8, 8)), np.ones(1), [True], "one")
    assert (tmp_path / "bag.png").exists()


def test_what_does_not_fit_together_is_refused(tmp_path):
    with pytest.raises(BagwiseError, match="there are 2 images, 1 weights and 2 marks"):
        draw_strip(tmp_path / "bag.png", np.zeros((2, 8, 8)), np.ones(1), [True, False], "two")
    with pytest.raises(BagwiseError, match=r"must end in .svg or .png"):
        draw_curves(tmp_path / "curves.pdf", {"": {"a": Curve([1], [1])}}, x_label="x", y_label="y")
    assert list(tmp_path.iterdir()) == []
