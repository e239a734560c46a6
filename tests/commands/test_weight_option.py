"""Weights of bags, from a column to what is learnt."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score

import bagwise as bw
from bagwise.commands.check import examine
from bagwise.commands.data import DataSource
from bagwise.commands.known import find_known
from bagwise.commands.runs import Run
from bagwise.io.tables import read_table

COLUMNS = ("--bag", "patient", "--label", "diagnosis", "--weight", "weight")
QUICK = ("--epochs", 2, "--jobs", 1, "--json")


@pytest.fixture(scope="module")
def table(cells):
    """Cells whose patients count 0, 1 or 2.5."""
    frame = cells().drop(columns=["clinic", "cell", "x", "y"])
    return frame.assign(weight=np.array([1, 2.5, 1, 0, 2.5])[frame["patient"].str[1:].astype(int) % 5])


@pytest.fixture(scope="module")
def weighted(table, tmp_path_factory):
    """The path, the bags and their weights."""
    path = tmp_path_factory.mktemp("weighted") / "cells.csv"
    table.to_csv(path, index=False)
    bags = read_table(path, bag="patient", label="diagnosis", others=["weight"])
    return path, bags, table.groupby("patient", sort=False)["weight"].first().to_numpy()


def test_a_run_learns_from_them_and_predicts_without_them(run, weighted, tmp_path):
    path, bags, weights = weighted
    done = run("fit", path, *COLUMNS, *QUICK, "--out", tmp_path / "run")
    assert done.status == 0, done.told
    model = bw.AttentionMIL(epochs=2, class_weight="balanced", random_state=0).fit(bags, sample_weight=weights)
    (found,) = Run.load(tmp_path / "run").models
    np.testing.assert_array_equal(bw.predict_ensemble([found], bags).probabilities, model.predict_proba(bags))
    assert json.loads(done.out)["training_accuracy"] == pytest.approx(model.score(bags, sample_weight=weights))
    assert "Column &#39;weight&#39; says how much each bag counted" in (tmp_path / "run" / "report.html").read_text()
    for given in (path, tmp_path / "new.csv"):
        if given != path:
            pd.read_csv(path).drop(columns=["weight", "diagnosis"]).to_csv(given, index=False)
        said = json.loads(run("predict", tmp_path / "run", given, "--json").out)
        np.testing.assert_allclose([row["probability_ill"] for row in said], model.predict_proba(bags)[:, 1], rtol=1e-6)


def test_an_explanation_counts_known_bags_by_them_where_data_have_them(run, weighted, tmp_path):
    path, bags, weights = weighted
    assert run("fit", path, *COLUMNS, *QUICK, "--out", tmp_path / "run").status == 0
    bare = tmp_path / "bare.csv"
    pd.read_csv(path).drop(columns="weight").to_csv(bare, index=False)
    learnt = Run.load(tmp_path / "run")
    pages = []
    for data in (path, bare):
        out = tmp_path / f"why_{data.stem}"
        assert run("explain", tmp_path / "run", data, "--out", out).status == 0
        pages.append((out / "report.html").read_text())
    assert ["each counted by its weight" in page for page in pages] == [True, False]
    target = learnt.models[0].target_
    known = find_known(learnt.source(str(path)), bags.names[::-1], target)
    np.testing.assert_array_equal(known.weights, weights[::-1])
    assert find_known(learnt.source(str(bare)), bags.names, target).weights is None


@pytest.mark.usefixtures("undrawn")
def test_an_evaluation_learns_from_them(run, weighted, tmp_path):
    path, bags, weights = weighted
    argv = [path, *COLUMNS, *QUICK, "--folds", 3, "--method", "instance-max", "--no-baseline"]
    done = run("evaluate", *argv, "--out", tmp_path / "cv")
    assert done.status == 0, done.told
    model = bw.make("instance-max", epochs=2, class_weight="balanced", random_state=0)
    expected = bw.cross_validate(model, bags, folds=3, sample_weight=weights)
    said = pd.read_csv(tmp_path / "cv" / "predictions.csv")
    np.testing.assert_allclose(said["probability_ill"], expected.probabilities[0, :, 1], rtol=1e-6)
    found = {row["metric"]: row["mean"] for row in json.loads(done.out)["rows"]}
    assert found == pytest.approx({metric: expected.mean(metric) for metric in expected.scores}, abs=1e-6)
    of_fold = expected.assignment[0] == 1
    measured = accuracy_score(bags.labels[of_fold], expected.predicted[0, of_fold], sample_weight=weights[of_fold])
    assert expected.scores["accuracy"][0, 1] == pytest.approx(measured, abs=1e-12)
    assert "Column &#39;weight&#39; says how much each bag counted" in (tmp_path / "cv" / "report.html").read_text()


def test_other_weights_are_other_data(run, table, tmp_path):
    path, out = tmp_path / "cells.csv", tmp_path / "run"
    for factor, status in ((1, 0), (1, 0), (2, 1)):
        table.assign(weight=factor * table["weight"]).to_csv(path, index=False)
        done = run("fit", path, *COLUMNS, *QUICK, "--out", out, *(["--resume"] if out.exists() else []))
        assert done.status == status, done.told
    assert "asked for another digest" in done.told


def test_they_may_stand_in_the_table_of_labels(run, weighted, slides, tmp_path):
    path, _, weights = weighted
    frame = pd.read_csv(path)
    labels = tmp_path / "labels.csv"
    frame[["patient", "diagnosis", "weight"]].drop_duplicates().to_csv(labels, index=False)
    frame.drop(columns=["diagnosis", "weight"]).to_csv(tmp_path / "cells.csv", index=False)
    columns = {"bag": "patient", "label": "diagnosis", "weight": "weight", "labels": labels}
    source = DataSource(str(tmp_path / "cells.csv"), **columns)
    np.testing.assert_array_equal(source.weights(source.read()), weights)
    frame.drop(columns="diagnosis").to_csv(tmp_path / "cells.csv", index=False)
    done = run("fit", tmp_path / "cells.csv", *COLUMNS, "--labels", labels, *QUICK, "--out", tmp_path / "run")
    assert done.told.endswith("labels.csv too: leave it out of one of the two files\n")

    folder, labels = slides(tmp_path / "folder")
    pd.read_csv(labels).assign(weight=range(12)).to_csv(labels, index=False)
    source = DataSource(str(folder), labels=labels, weight="weight")
    np.testing.assert_array_equal(source.weights(source.read()), range(12))
    assert examine(source).numbers["weights"] == {"smallest": 0, "median": 5.5, "largest": 11}


@pytest.mark.parametrize(
    ("code", "says", "spoil"),
    [
        ("weight-not-constant", "within bag 'P000': 7.0 in row 2, 1.0 in row 3", lambda t: t.index == 0),
        ("missing-weight", "is empty in row 2: bag 'P000' has no weight", lambda t: t["patient"] == "P000"),
        ("unusable-weight", "holds -1 in row 2", lambda t: t["patient"] == "P000"),
        ("unusable-weight", "holds inf in row 2", lambda t: t["patient"] == "P000"),
        ("unusable-weight", "is not numeric: row 2 holds 'much'", lambda t: t["patient"] == "P000"),
        ("weightless-class", "all bags of ill have the weight 0", lambda t: t["diagnosis"] == "ill"),
    ],
)
def test_weights_that_will_not_do_are_told_by_check_and_by_fit(run, table, tmp_path, code, says, spoil):
    value = {"weight-not-constant": 7, "missing-weight": None, "weightless-class": 0}.get(code, says.split()[1])
    value = "much" if "much" in says else value
    path = tmp_path / "cells.csv"
    table.assign(weight=table["weight"].astype(object).mask(spoil(table), value)).to_csv(path, index=False)
    found = json.loads(run("check", path, *COLUMNS, "--json").out)
    assert [problem["code"] for problem in found["problems"] if problem["severity"] == "error"] == [code]
    assert any(says in problem["sentence"] for problem in found["problems"])
    done = run("fit", path, *COLUMNS, *QUICK, "--out", tmp_path / "run")
    assert done.status == 1
    assert says in done.told or code == "weightless-class"
    assert done.told.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_bag_that_is_left_out_needs_none(run, table, tmp_path):
    path = tmp_path / "cells.csv"
    first = table["patient"] == "P000"
    table.assign(weight=table["weight"].mask(first), diagnosis=table["diagnosis"].mask(first)).to_csv(path, index=False)
    assert json.loads(run("check", path, *COLUMNS, "--json").out)["fails"] is False
    assert run("fit", path, *COLUMNS, *QUICK, "--out", tmp_path / "run").status == 0


def test_a_data_set_has_its_own(run, tmp_path):
    done = run("fit", "musk1", "--weight", "w", *QUICK, "--out", tmp_path / "run")
    assert (done.status, "--weight is of no use" in done.told) == (1, True)


def test_where_it_is_computed_is_the_commands_and_not_the_runs(run, weighted, tmp_path):
    path, out = weighted[0], tmp_path / "run"
    refused = "device 'abacus' is not to be had on this machine"
    assert refused in run("fit", path, *COLUMNS, *QUICK, "--device", "abacus", "--out", out).told
    assert run("fit", path, *COLUMNS, *QUICK, "--device", "cpu", "--out", out).status == 0
    assert json.loads((out / "config.json").read_text())["asked"].keys().isdisjoint({"device", "jobs"})
    assert Run.load(out).models[0].device == "auto"
    assert refused in run("predict", out, path, "--device", "abacus").told
    assert refused in run("explain", out, path, "--device", "abacus", "--out", tmp_path / "why").told
    assert refused in run("evaluate", path, *COLUMNS, *QUICK, "--device", "abacus", "--out", tmp_path / "cv").told
