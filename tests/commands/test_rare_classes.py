"""A run on a rare class says where its predictions divide, and predicts by it everywhere."""

import json

import numpy as np
import pandas as pd
import pytest

ASKED = ("--bag", "bag", "--label", "label", "--set", "encoder=identity", "--jobs", 1)


@pytest.fixture(scope="module")
def rare(tmp_path_factory):
    rng = np.random.default_rng(0)
    rows = [
        {"bag": f"b{bag}", "label": ("well", "ill")[bag % 5 == 0], "size": rng.normal() + (bag % 5 == 0)}
        for bag in range(110)
        for _ in range(2)
    ]
    path = tmp_path_factory.mktemp("rare") / "rare.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def test_a_run_tells_its_threshold_and_predicts_by_it(rare, run, tmp_path):
    done = run("fit", rare, *ASKED, "--epochs", 5, "--ensemble", 2, "--out", tmp_path / "run", "--json")
    assert done.status == 0, done.told
    threshold = json.loads(done.out)["threshold"]
    assert f"ill where its probability is above {threshold:.3g}" in (tmp_path / "run" / "report.html").read_text()
    done = run("predict", tmp_path / "run", rare, "--json")
    assert done.status == 0, done.told
    frame = pd.DataFrame(json.loads(done.out))
    assert np.array_equal(frame.predicted == "ill", frame.probability_ill > threshold)
    assert frame.predicted.nunique() == 2


@pytest.mark.usefixtures("undrawn")
def test_predictions_of_folds_are_those_that_were_measured(rare, run, tmp_path):
    methods = ("--method", "attention", "--method", "mean-logistic", "--folds", 2, "--no-baseline", "--epochs", 20)
    done = run("evaluate", rare, *ASKED, *methods, "--out", tmp_path / "out", "--json")
    assert done.status == 0, done.told
    assert "mean-logistic has no --epochs: it learns without" in done.told
    results = json.loads(done.out)
    for method, table in pd.read_csv(tmp_path / "out" / "predictions.csv").groupby("method"):
        rows = {row["metric"]: row["mean"] for row in results["rows"] if row["method"] == method}
        right = table.predicted == table.label
        assert rows["accuracy"] == pytest.approx(right.groupby(table.fold).mean().mean())
        assert (table.predicted == "ill").any()
        assert not np.array_equal(table.predicted == "ill", table.probability_ill > 0.5)
        thresholds = np.array(results["thresholds"][method])[0, table.fold]
        assert np.array_equal(table.predicted == "ill", table.probability_ill > thresholds)
