"""The experiment about AutoMIL: a cell says what AutoMIL would, and unfinished cells are counted, not guessed."""

import json

import numpy as np
import pytest

import bagwise as bw
from bagwise.auto.candidates import Candidate
from bagwise.evaluation.metrics import measure
from bagwise.evaluation.protocol import Folds
from bagwise.experiments import auto, auto_cells
from bagwise.experiments.cells import as_numbers, as_text

ASKED = {"dataset": "fox", "folds": 3, "repeat": 1, "fold": 2, "seed": 4, "trials": 2}
SAID = {"reported": 0.6, "low": 0.5, "high": 0.7, "claimed": 0.65, "bags": 40, "seconds": 1.0}


@pytest.fixture
def small(monkeypatch):
    """Put a set, and candidates, that are quick to learn in the place of real ones."""
    monkeypatch.setattr("bagwise.auto.candidates.PORTFOLIO", (Candidate("mean-logistic"), Candidate("MI-Kernel")))
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(3, 2)) + bag % 2 for bag in range(30)]
    bags = bw.Bags.from_arrays(arrays, labels=[0, 1] * 15)
    for module in (auto, auto_cells):
        monkeypatch.setattr(module, "named", lambda *_: bags)
    return bags


def test_a_fold_scores_what_auto_mil_says_of_it(small):
    said = auto_cells.fold_answer(ASKED, None)
    split = Folds(small, 3, 2, seed=4).splits[5]
    model = bw.AutoMIL(trials=2, estimate=False, random_state=4).fit(small[split.train])
    scores = auto_cells.fold_scores(said, 4, ["auc", "log_loss"])
    outer = [auto_cells._probabilities(as_numbers(one)) for one in said["outer"]]
    for name, answers in (("auto", model.answers(small[split.test])), (auto_cells.EQUAL, np.mean(outer, axis=0))):
        expected = measure(model.target_, small.labels[split.test], answers, scoring=["auc", "log_loss"])
        assert scores[name] == pytest.approx(expected, abs=1e-3)
    assert scores[auto_cells.BEST] in [scores[name] for name in said["candidates"]]


def test_log_odds_bear_probabilities_of_all_sizes():
    positive = np.array([0.0, 1e-12, 1e-4, 0.3, 0.9999, 1.0])
    told = as_text(auto_cells._log_odds(np.column_stack([1 - positive, positive])))
    back = auto_cells._probabilities(as_numbers(told))
    np.testing.assert_allclose(back, np.column_stack([1 - positive, positive]), rtol=0.02, atol=1e-15)


def test_drawn_sets_have_the_signal_that_they_are_named_after():
    coins, _ = auto_cells.drawn("coins", 3)
    signal, fresh = auto_cells.drawn("signal", 3)
    again, _ = auto_cells.drawn("signal", 3)
    assert np.array_equal(signal.instances, again.instances)
    assert 40 <= len(coins) <= 200
    assert len(fresh) == 5000

    def apart(bags):
        """Give by how much the largest first feature of a bag is larger in positive bags."""
        most = np.maximum.reduceat(bags.instances[:, 0], bags.offsets[:-1])
        return most[bags.labels == 1].mean() - most[bags.labels == 0].mean()

    assert apart(fresh) > 0.1
    drawn = [auto_cells.drawn("coins", number)[0] for number in range(40)]
    assert abs(np.mean([apart(bags) for bags in drawn])) < 0.1


@pytest.mark.usefixtures("small")
def test_what_is_finished_can_be_put_together_while_the_rest_is_missing(run, tmp_path, monkeypatch):
    monkeypatch.setattr(auto, "set_answer", lambda question: SAID | {"true": 0.4 + 0.2 * question["number"]})
    options = ["--out", tmp_path / "out", "--part", "coins", "--jobs", 1]
    assert run("reproduce", "auto", *options, "--draws", 2).status == 0
    real = ["--part", "accuracy", "--dataset", "fox", "--folds", 3, "--repeats", 1]
    done = run("reproduce", "auto", *options, "--draws", 5, *real, "--finished", "--resume", "--json")
    assert done.status == 0
    results = json.loads(done.out)
    assert results["cells"] == {"coins": {"asked": 5, "finished": 2}, "accuracy": {"asked": 3, "finished": 0}}
    assert results["rows"] == []
    assert results["drawn"][0]["optimism"] == pytest.approx(0.1)
    assert results["drawn"][0]["intervals_that_hold"] == 0.5
    assert (tmp_path / "out" / "auto.md").read_text() == auto.tables(results)
    refused = run("reproduce", "auto", "--out", tmp_path / "other", "--part", "nonsense")
    assert "has no part 'nonsense'" in refused.told


@pytest.mark.usefixtures("small")
def test_all_stand_beside_auto_with_differences_on_the_same_folds(run, tmp_path):
    options = ["--part", "accuracy", "--dataset", "fox", "--folds", 3, "--repeats", 1, "--trials", 2, "--jobs", 1]
    done = run("reproduce", "auto", *options, "--out", tmp_path / "out")
    assert done.status == 0, done.told
    assert "AutoMIL and its candidates" in done.out
    results = json.loads((tmp_path / "out" / "auto.json").read_text())
    assert results["cells"] == {"accuracy": {"asked": 3, "finished": 3}}
    rows = {(row["name"], row["metric"]): row for row in results["rows"]}
    names = ["auto", auto_cells.EQUAL, auto_cells.BEST, *auto_cells.names_of(auto.named(), 2, 0)]
    assert list(rows) == [(name, metric) for name in names for metric in auto.MEASURED]
    for name in names[1:]:
        row = rows[name, "auc"]
        assert row["above"] == pytest.approx(rows["auto", "auc"]["mean"] - row["mean"])
        assert row["low"] <= row["above"] <= row["high"]
    shown = (tmp_path / "out" / "auto.md").read_text()
    assert all(shown.count(f"| {name} |") == (2 if name == "auto" else 4) for name in names)
