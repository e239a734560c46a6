import json

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from bagwise.errors import BagwiseError
from bagwise.targets.registry import TARGETS
from bagwise.trust.aims import Aim
from bagwise.trust.held_out import HeldOut
from bagwise.trust.reliance import FILE, Reliance

TARGET = TARGETS["classes"].of(["no", "yes"])
ASKED = {"data": {"data": "table.csv"}, "epochs": None}


def relied(aim=None, count=300, target=TARGET, **given):
    rng = np.random.default_rng(0)
    likely = rng.random(count)
    labels = np.where(rng.random(count) < likely**2, "yes", "no")
    answers = np.column_stack([1 - likely, likely])
    held_out = HeldOut(target, labels, answers, np.arange(count) % 5, [], groups=np.arange(count) // 3)
    return Reliance.of(target, labels, held_out=held_out, aim=aim, **given)


NEW = np.column_stack([1 - np.linspace(0, 1, 50), np.linspace(0, 1, 50)])


@pytest.mark.parametrize("aim", [None, Aim("sensitivity", 0.9), Aim("cost", 9.0)])
def test_what_is_read_tells_and_decides_the_same_to_the_last_bit(tmp_path, aim):
    one = relied(aim)
    one.save(tmp_path, ASKED)
    again = Reliance.load(tmp_path, TARGET, json.loads(json.dumps(ASKED)))
    for shares in (None, np.array([0.9, 0.1])):
        assert np.array_equal(one.answers(NEW, shares), again.answers(NEW, shares))
        assert one.deciding(shares).threshold == again.deciding(shares).threshold
        assert one.operating(shares) == again.operating(shares)
    assert (again.aim, again.why) == (one.aim, one.why)
    assert all(np.array_equal(array, again.kept.arrays()[name]) for name, array in one.kept.arrays().items())


def test_a_run_without_it_is_none(tmp_path):
    assert Reliance.load(tmp_path, TARGET, ASKED) is None


def test_a_sensitivity_is_that_of_the_bags_held_out():
    one = relied(Aim("sensitivity", 0.9))
    found = one.operating()
    assert 0.9 <= found.sensitivity < 0.92
    moved = one.operating(np.array([0.98, 0.02]))
    assert (moved.sensitivity, moved.specificity) == (found.sensitivity, found.specificity)
    assert moved.precision < found.precision
    fixed = relied(Aim("threshold", 0.5))
    assert fixed.deciding(np.array([0.98, 0.02])).threshold == 0.5
    assert fixed.operating(np.array([0.98, 0.02])).sensitivity < fixed.operating().sensitivity


def test_what_was_chosen_for_a_rare_class_is_chosen_anew_on_calibrated_answers():
    rare = relied(target=TARGET.deciding(0.9))
    assert 0 < rare.deciding().threshold < 0.6
    assert relied(target=TARGET.deciding(0.9), calibrate=False).deciding().threshold == 0.9
    assert relied().deciding().threshold is None


def test_an_aim_is_about_two_classes():
    three = TARGETS["classes"].of([0, 1, 2])
    with pytest.raises(BagwiseError, match="about one of two classes, and the labels are of 3 classes"):
        Reliance.of(three, np.arange(3), aim=Aim("sensitivity", 0.9))


GONE = object()
CHANGES = {
    "another run": ("of", "0" * 32),
    "another target": ("target", ["classes", {"classes": ["a", "b"]}]),
    "a later version": ("format", 99),
    "no format": ("format", GONE),
    "an aim of nothing": ("aim", ["luck", 0.5, 1.0]),
    "half an aim": ("aim", [0.5]),
    "a threshold above 1": ("threshold", 2.0),
    "thresholds": ("threshold", [0.5, 0.5]),
    "no shares": ("shares", GONE),
    "shares of three": ("shares", np.full(3, 1 / 3)),
    "a share below 0": ("shares", np.array([2.0, -1.0])),
    "an unknown array": ("held_out/other", np.zeros(600)),
    "an unknown part": ("other/fold", np.zeros(600)),
    "answers of three": ("held_out/answers", np.zeros((600, 3))),
    "fewer folds": ("held_out/fold", np.zeros(3, np.int64)),
    "folds below 0": ("held_out/fold", np.full(600, -1)),
    "no number": ("held_out/answers", np.full((600, 2), np.nan)),
    "a group far off": ("held_out/groups", np.full(600, 1 << 40)),
    "no temperature": ("calibration/temperatures", np.zeros(1)),
}


def change(path, name, value):
    with safe_open(path, framework="numpy") as file:
        arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        described = json.loads(file.metadata()["bagwise"])
    part = arrays if isinstance(value, np.ndarray) or name in arrays else described
    part |= {name: value}
    if value is GONE:
        del part[name]
    save_file(arrays, path, {"bagwise": json.dumps(described)})


@pytest.mark.parametrize("name", CHANGES)
def test_a_file_that_was_edited_gives_one_sentence(tmp_path, name):
    one = relied(Aim("sensitivity", 0.9), 600)
    one.save(tmp_path, ASKED)
    change(tmp_path / FILE, *CHANGES[name])
    with pytest.raises(BagwiseError, match=FILE) as caught:
        Reliance.load(tmp_path, TARGET, ASKED)
    assert "\n" not in str(caught.value)


def test_a_damaged_file_gives_one_sentence(tmp_path):
    relied().save(tmp_path, ASKED)
    content = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(content[: len(content) // 2])
    with pytest.raises(BagwiseError, match="damaged"):
        Reliance.load(tmp_path, TARGET, ASKED)
