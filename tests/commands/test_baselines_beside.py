"""Simple methods are measured beside those asked for, and what comes of it is said."""

import json

import pandas as pd
import pytest

from bagwise.evaluation import baselines

COLUMNS = ["--bag", "patient", "--label", "diagnosis", "--instance", "cell"]
QUICK = ["--folds", 3, "--jobs", 1, "--method", "miVLAD"]


@pytest.fixture(autouse=True)
def fewer_trees(monkeypatch):
    monkeypatch.setitem(baselines.BASELINES, "summary-forest", ("trees=10", "leaf=1"))


@pytest.fixture
def table(tmp_path, cells):
    cells().drop(columns=["clinic", "x", "y"]).to_csv(tmp_path / "cells.csv", index=False)
    return tmp_path / "cells.csv"


@pytest.mark.usefixtures("undrawn")
def test_both_are_measured_on_the_same_folds_and_compared(run, table, tmp_path):
    what = ["evaluate", table, *COLUMNS, *QUICK, "--repeats", 2, "--out", tmp_path / "cv"]
    done = run(*what)
    assert done.status == 0, done.told
    results = json.loads((tmp_path / "cv" / "results.json").read_text())
    assert results["asked"]["no_baseline"] is False
    assert results["baselines"]["measured"] == {"summary-forest": ["trees=10", "leaf=1"], "mean-logistic": []}
    assert results["baselines"]["left_out"] == {}
    assert results["differences"] == []
    found = pd.read_csv(tmp_path / "cv" / "predictions.csv")
    of_each = found.groupby("method")[["repeat", "fold", "bag"]].agg(tuple)
    assert of_each.index.tolist() == sorted(["miVLAD", "summary-forest", "mean-logistic"])
    assert (of_each == of_each.iloc[0]).all(axis=None)
    means = {row["method"]: row["mean"] for row in results["rows"] if row["metric"] == "auc"}
    page = (tmp_path / "cv" / "report.html").read_text(encoding="utf-8")
    verdicts = results["baselines"]["verdicts"]
    assert [one["baseline"] for one in verdicts] == ["summary-forest", "mean-logistic"]
    for one in verdicts:
        assert one["difference"] == pytest.approx(means["miVLAD"] - means[one["baseline"]])
        assert one["low"] <= one["difference"] <= one["high"]
        assert f"{one['told']}\n" in done.out
        assert one["told"] in page
    assert run(*what, "--resume").out == done.out
    refused = run(*what, "--resume", "--no-baseline")
    assert "was asked for another no_baseline (False, now True" in refused.told
    # One that is from before there were any is gone on with by anybody.
    del results["baselines"], results["asked"]["no_baseline"]
    (tmp_path / "cv" / "results.json").write_text(json.dumps(results))
    for given in ([], ["--no-baseline"]):
        done = run(*what, "--resume", *given)
        assert (done.status, "miVLAD" in done.out, "baseline" in done.out) == (0, True, False)


@pytest.mark.usefixtures("undrawn")
def test_one_that_is_asked_for_is_measured_once_and_as_it_is_asked_for(run, table, tmp_path):
    argv = ["--method", "mean-logistic", "--set", "C=1", "--json", "--out", tmp_path / "cv"]
    results = json.loads(run("evaluate", table, *COLUMNS, *QUICK[:-2], *argv).out)
    assert [row["method"] for row in results["rows"] if row["metric"] == "auc"] == ["mean-logistic", "summary-forest"]
    measured = results["baselines"]["measured"]
    assert measured == {"summary-forest": ["trees=10", "leaf=1"], "mean-logistic": ["C=1"]}
    assert [(one["method"], one["baseline"]) for one in results["baselines"]["verdicts"]] == [
        ("mean-logistic", "summary-forest")
    ]


@pytest.mark.usefixtures("undrawn")
def test_numbers_have_the_forest_and_are_told_why_no_other(run, table, tmp_path):
    frame = pd.read_csv(table)
    frame["dose"] = frame.groupby("patient")["marker"].transform("max").round(3)
    frame.drop(columns="diagnosis").to_csv(table, index=False)
    argv = ["--bag", "patient", "--label", "dose", "--instance", "cell", "--method", "MI-Kernel", "--folds", 3]
    done = run("evaluate", table, *argv, "--jobs", 1, "--json", "--out", tmp_path / "cv")
    told = json.loads(done.out)["baselines"]
    assert list(told["measured"]) == ["summary-forest"]
    assert told["left_out"].keys() == {"mean-logistic"}
    assert "learns classes" in told["left_out"]["mean-logistic"]
    assert [(one["baseline"], one["metric"]) for one in told["verdicts"]] == [("summary-forest", "r2")]
    assert told["left_out"]["mean-logistic"] in (tmp_path / "cv" / "report.html").read_text(encoding="utf-8")
    assert done.told == ""
