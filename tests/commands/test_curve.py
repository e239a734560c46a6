"""`evaluate --curve` says whether more bags would help, everywhere where results are told."""

import json

import numpy as np
import pandas as pd
import pytest

from bagwise.commands import curve as commands_curve
from bagwise.evaluation import baselines

COLUMNS = ["--bag", "patient", "--label", "diagnosis", "--instance", "cell", "--drop", "x,y"]
QUICK = ["--folds", 3, "--jobs", 1, "--method", "mean-logistic", "--method", "miVLAD"]


@pytest.fixture(autouse=True)
def fewer_trees(monkeypatch):
    monkeypatch.setitem(baselines.BASELINES, "summary-forest", ("trees=10", "leaf=1"))


@pytest.fixture
def table(tmp_path, cells):
    cells().drop(columns=["clinic"]).to_csv(tmp_path / "cells.csv", index=False)
    return tmp_path / "cells.csv"


def test_a_curve_is_told_in_numbers_in_sentences_and_drawn(run, table, tmp_path):
    what = ["evaluate", table, *COLUMNS, *QUICK, "--curve", "--out", tmp_path / "cv"]
    done = run(*what)
    assert done.status == 0, done.told
    results = json.loads((tmp_path / "cv" / "results.json").read_text())
    curve, whole = results["curve"], {(row["method"], row["metric"]): row["mean"] for row in results["rows"]}
    assert results["asked"]["curve"] is True
    last = {(row["method"], row["metric"]): row["mean"] for row in curve["rows"] if row["share"] == 1}
    assert last == {key: value for key, value in whole.items() if key[0] != "summary-forest"}
    shares = [row["share"] for row in curve["rows"] if (row["method"], row["metric"]) == ("miVLAD", "auc")]
    assert shares == sorted(shares)
    assert {0.5, 1.0} <= set(shares)
    for one in curve["gains"]:
        half = [
            row["mean"]
            for row in curve["rows"]
            if (row["method"], row["metric"], row["share"]) == (one["method"], one["metric"], 0.5)
        ]
        assert one["difference"] == pytest.approx(whole[one["method"], one["metric"]] - half[0])
    pairs = {frozenset((row["first"], row["second"])) for row in curve["smallest"]}
    assert len(pairs) == len(curve["smallest"]) == 3
    assert [row["metric"] for row in curve["cohorts"]] == ["auc", "sensitivity", "specificity"] * 2
    assert all(row["counted"] <= row["bags"] for row in curve["cohorts"])
    page = (tmp_path / "cv" / "report.html").read_text(encoding="utf-8")
    assert len(curve["told"]) == 5
    for sentence in curve["told"]:
        assert sentence in " ".join(done.out.split())
        assert sentence in page
    assert "Would more bags help?" in page
    assert (tmp_path / "cv" / "learning_curve.png").stat().st_size > 1000
    assert run(*what, "--resume").out == done.out
    what.remove("--curve")
    assert "was asked for another curve (True, now False" in run(*what, "--resume").told
    del results["curve"], results["asked"]["curve"]  # as it was before there were any
    (tmp_path / "cv" / "results.json").write_text(json.dumps(results))
    assert run(*what, "--resume").status == 0
    assert "was asked for another curve (False, now True" in run(*what, "--resume", "--curve").told


def test_parts_that_are_too_few_for_a_method_cost_it_its_curve_alone(run, table, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise commands_curve.BagwiseError("there are too few bags for a learning curve")

    monkeypatch.setattr(commands_curve, "learning_curve", fail)
    done = run("evaluate", table, *COLUMNS, *QUICK[:-2], "--no-baseline", "--curve", "--out", tmp_path / "cv")
    assert done.status == 0, done.told
    told = json.loads((tmp_path / "cv" / "results.json").read_text())["curve"]["told"]
    assert told[0] == "mean-logistic has no learning curve: there are too few bags for a learning curve."
    assert told[0] in " ".join(done.out.split())
    assert not (tmp_path / "cv" / "learning_curve.png").exists()


def test_numbers_have_a_curve_and_no_cohort(run, table, tmp_path):
    frame = pd.read_csv(table)
    numbers = dict(zip(sorted(set(frame.patient)), np.linspace(0.05, 3.45, 99), strict=False))
    frame.assign(diagnosis=frame.patient.map(numbers)).to_csv(table, index=False)
    argv = ["--folds", 3, "--jobs", 1, "--method", "summary-forest", "--set", "trees=10", "--no-baseline", "--curve"]
    done = run("evaluate", table, *COLUMNS, *argv, "--out", tmp_path / "cv")
    assert done.status == 0, done.told
    curve = json.loads((tmp_path / "cv" / "results.json").read_text())["curve"]
    assert curve["cohorts"] == []
    assert len(curve["gains"]) == 1
