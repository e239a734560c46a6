import json

import pytest

from bagwise import METHODS, BagwiseError
from bagwise.experiments import choosing
from bagwise.experiments.options import Choosing
from bagwise.methods.neural import NeuralMIL


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(choosing, "SMALL", (8, 3, 4))
    monkeypatch.setattr(choosing, "LARGE", (4, 6, 4))
    monkeypatch.setattr(choosing, "LAPS", 1)
    monkeypatch.setattr(choosing, "ASKED_OF", 24)
    monkeypatch.setattr(choosing, "_seconds", lambda *_: 1.0)
    monkeypatch.setattr(choosing, "TARGETS", {kind: choosing.TARGETS[kind] for kind in ("classes", "real")})


def row(name):
    return choosing._row({"method": name})


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("attention", {"by_class": False, "signed": False, "counts": False, "knows": None}),
        ("class-attention", {"by_class": True, "counts": False}),
        ("additive", {"by_class": True, "signed": True, "counts": True}),
        ("graph", {"knows": "places", "counts": False}),
        ("self-attention", {"knows": "all", "order": False}),
        ("mi-SVM", {"targets": ["classes"], "several_classes": True, "large": None}),
        ("summary-forest", {"counts": True}),
    ],
)
def test_a_method_is_told_by_what_it_answers(name, says):
    found = row(name)
    assert says.items() <= found.items()
    if issubclass(METHODS[name][0], NeuralMIL):
        assert found["targets"] == ["classes", "real"]


def test_the_command_asks_and_shows(run, tmp_path):
    given = ("reproduce", "choosing", "--method", "miVLAD", "--method", "mean-logistic", "--jobs", 1)
    done = run(*given, "--out", tmp_path / "out")
    assert done.status == 0, done.told
    assert (tmp_path / "out" / "choosing.md").read_text().strip() in done.out
    written = json.loads((tmp_path / "out" / "choosing.json").read_text())
    assert [one["method"] for one in written["rows"]] == ["miVLAD", "mean-logistic"]


def test_a_method_that_is_none_is_refused_before_anything_is_asked(tmp_path):
    with pytest.raises(BagwiseError, match="there is no method 'nonsense'"):
        choosing.run_choosing(tmp_path / "out", Choosing(methods=("nonsense",)))
    assert not (tmp_path / "out" / "cells").exists()
