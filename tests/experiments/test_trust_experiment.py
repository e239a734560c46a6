"""Whether intervals hold the truth as often as they say, on few sets, and the command that measures it on many."""

import json

import pytest

from bagwise.experiments import trust, trust_intervals
from bagwise.experiments.trust_intervals import SETTINGS, Setting


@pytest.fixture
def small(monkeypatch):
    kept = ("80 bags", "20 groups of 4", "60 bags with numbers", "80 bags with lives", "80 bags, cross-validated")
    settings = {name: SETTINGS[name] for name in kept}
    settings["80 bags"] = Setting("two classes", 80)
    monkeypatch.setattr(trust_intervals, "SETTINGS", settings)
    monkeypatch.setattr(trust_intervals, "_TRUTH", 20_000)
    monkeypatch.setattr(trust_intervals, "_DRAWS", 50)
    monkeypatch.setattr(trust_intervals, "_MODELS", 3)


@pytest.mark.usefixtures("small")
def test_the_command_counts_how_often_the_truth_is_held(run, tmp_path):
    options = ["--out", tmp_path / "out", "--part", "intervals", "--draws", "4", "--jobs", "1"]
    done = run("reproduce", "trust", *options)
    assert done.status == 0, done.told
    results = json.loads((tmp_path / "out" / "trust.json").read_text())
    assert results["cells"] == {"intervals": {"asked": 5, "finished": 5}}
    rows = {(row["setting"], row["metric"]): row for row in results["rows"]}
    assert {row["part"] for row in rows.values()} == {"intervals"}
    for row in rows.values():
        assert row["sets"] == row["defined"] == 4
        assert row["coverage"] == pytest.approx(1 - row["below"] - row["above"])
        assert row["width"] > 0
    # Two normal distributions that lie 1.5 apart: an area of .856, and .773 of the bags at the right side.
    assert rows["80 bags", "auc"]["truth"] == pytest.approx(0.856, abs=0.01)
    assert rows["80 bags", "accuracy"]["truth"] == pytest.approx(0.773, abs=0.01)
    assert rows["20 groups of 4", "auc"]["how"] == "Obuchowski"
    assert (tmp_path / "out" / "trust.md").read_text() == trust.tables(results)
    again = run("reproduce", "trust", *options, "--resume", "--finished")
    assert again.status == 0, again.told
    assert json.loads((tmp_path / "out" / "trust.json").read_text())["rows"] == results["rows"]


@pytest.mark.parametrize("asked", [["trust", "--part", "intervals"], ["known-answers"], ["slides"]])
def test_where_nothing_is_finished_nothing_is_put_together(run, tmp_path, asked):
    done = run("reproduce", *asked, "--finished", "--out", tmp_path / "out")
    assert done.status == 1
    assert "leave --finished out to measure it" in done.told
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["80 bags", "20 bags", "20 groups of 4"])
def test_intervals_of_areas_and_shares_hold_the_truth(name, monkeypatch):
    monkeypatch.setattr(trust_intervals, "_TRUTH", 100_000)
    question = next(one for one in trust_intervals.questions(7, 250) if one["setting"] == name)
    found = trust_intervals.answer({**question, "metrics": ["auc", "accuracy", "recall"]})["metrics"]
    for metric, one in found.items():
        assert 0.9 <= one["coverage"] <= 1, metric  # 250 sets: 95 % is seen as 92 to 98


def test_other_parts_are_refused(run, tmp_path):
    done = run("reproduce", "trust", "--out", tmp_path / "out", "--part", "faith")
    assert done.status == 1
    assert "intervals" in done.told
