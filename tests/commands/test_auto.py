"""`bagwise auto`, in process, with a portfolio that takes little time."""

import json

import pandas as pd
import pytest

import bagwise as bw
from bagwise.auto import candidates as rooms
from bagwise.auto import estimator
from bagwise.auto.candidates import Candidate
from bagwise.auto.estimator import AutoMIL

COLUMNS = ["--bag", "patient", "--label", "diagnosis", "--instance", "cell"]


@pytest.fixture(autouse=True)
def quick_ones(monkeypatch):
    quick = (Candidate("mean-logistic", {"C": 0.1}), Candidate("MI-SVM", {"C": 1.0}))
    monkeypatch.setattr(rooms, "PORTFOLIO", quick)
    monkeypatch.setattr(estimator, "OUTER_FOLDS", 2)


@pytest.fixture
def table(tmp_path, cells):
    path = tmp_path / "cells.csv"
    cells().drop(columns="clinic").to_csv(path, index=False)
    return path


def test_a_search_is_a_run_that_can_be_asked(run, table, tmp_path):
    out = tmp_path / "run"
    found = json.loads(run("auto", table, *COLUMNS, "--trials", "2", "--out", out, "--json").out)
    assert found["tried"] == 6
    assert sum(found["members"].values()) == pytest.approx(1)
    assert {"mean", "low", "high", "claimed"} == found["estimate"]["auc"].keys()
    assert "mean-logistic" in found["verdict"]
    board = pd.read_csv(out / "leaderboard.csv")
    assert set(board["candidate"]) == {"mean-logistic (C 0.1)", "MI-SVM (C 1.0)"}
    held_out = pd.read_csv(out / "predictions.csv")
    assert held_out.groupby("method").size().to_dict() == {"auto": 24, "mean-logistic": 24}
    page = (out / "report.html").read_text(encoding="utf-8")
    for told in ("How good the search is", "The best candidate claims", "What was tried"):
        assert told in page
    assert found["verdict"] in page
    said = run("predict", out, table, "--json")
    assert len(json.loads(said.out)) == 24
    assert run("explain", out, table, "--out", tmp_path / "explanation").status == 0
    again = run("auto", table, *COLUMNS, "--trials", "2", "--out", out, "--json", "--resume")
    assert json.loads(again.out) == found
    other = run("auto", table, *COLUMNS, "--trials", "3", "--out", out, "--resume")
    assert other.status == 1
    assert "another trials" in other.told


def test_what_ends_a_search_leaves_the_best_run_so_far_and_it_can_go_on(run, table, tmp_path, monkeypatch):
    out, asked = tmp_path / "run", ("auto", table, *COLUMNS, "--trials", "2", "--json")

    def members_after(method):
        with monkeypatch.context() as patch:
            patch.setattr(AutoMIL, method, lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
            assert "--resume goes on from here" in run(*asked, "--out", out, "--resume").told
        assert run("predict", out, table).status == 0
        return [type(one).__name__ for one in bw.load_model(out).members_]

    assert members_after("_simple") == ["MeanLogistic"]
    found = members_after("_estimated")
    assert found != ["MeanLogistic"]
    assert members_after("_simple") == found
    other = run("auto", table, *COLUMNS, "--trials", "3", "--out", out, "--resume")
    assert "another trials" in other.told
    assert [type(one).__name__ for one in bw.load_model(out).members_] == found
    last, whole = run(*asked, "--out", out, "--resume"), run(*asked, "--out", tmp_path / "whole")
    assert {**json.loads(last.out), "seconds": 0} == {**json.loads(whole.out), "seconds": 0}
    assert not (out / "checkpoints").exists()


def test_bags_for_tests_are_left_out(run, table, tmp_path):
    cells = pd.read_csv(table)
    patients = cells["patient"].unique()
    part = dict(zip(patients, ["train", "val", "train", "test", "train", "train"] * 4, strict=True))
    cells.assign(part=cells["patient"].map(part)).to_csv(tmp_path / "parts.csv", index=False)
    cells[cells["patient"].map(part) != "test"].to_csv(tmp_path / "rest.csv", index=False)
    asked = ("--trials", "2", "--json", "--out")
    divided = json.loads(
        run("auto", tmp_path / "parts.csv", *COLUMNS, "--split", "part", *asked, tmp_path / "divided").out
    )
    rest = json.loads(run("auto", tmp_path / "rest.csv", *COLUMNS, *asked, tmp_path / "of rest").out)
    assert divided == {**rest, "bags_left_out": 4, "seconds": divided["seconds"]}
    assert "Left out**: 4 bags, for tests" in (tmp_path / "divided" / "card.md").read_text()


@pytest.mark.parametrize(
    ("given", "said"),
    [(["--minutes", "0"], "--minutes is 0"), (["--trials", "0"], "--trials"), (["--minutes", "nan"], "--minutes")],
)
def test_a_budget_that_will_not_do_is_a_sentence(run, table, tmp_path, given, said):
    done = run("auto", table, *COLUMNS, *given, "--out", tmp_path / "run")
    assert done.status == 1
    assert said in done.told
    assert not (tmp_path / "run").exists()


def test_bags_that_will_not_do_leave_no_folder(run, table, tmp_path):
    cells = pd.read_csv(table)
    cells.assign(diagnosis="ill").to_csv(table, index=False)
    done = run("auto", table, *COLUMNS, "--trials", 1, "--out", tmp_path / "found")
    assert (done.status, done.told.count("\n")) == (1, 1)
    assert "all training bags have the label ill" in done.told
    assert not (tmp_path / "found").exists()


def test_baselines_alone_explain_by_what_the_answer_falls_by(run, table, tmp_path, monkeypatch):
    monkeypatch.setattr(rooms, "PORTFOLIO", tuple(Candidate("mean-logistic", {"C": C}) for C in (0.1, 1.0)))
    assert run("auto", table, *COLUMNS, "--trials", "2", "--out", tmp_path / "run").status == 0
    done = run("explain", tmp_path / "run", table, "--out", tmp_path / "explanation")
    assert done.status == 0, done.told
    assert "fall" in pd.read_csv(tmp_path / "explanation" / "instances.csv").columns
    assert not (tmp_path / "explanation" / "contributions.csv").exists()


def test_without_an_estimate_the_page_says_so(run, table, tmp_path):
    few = pd.read_csv(table)
    few = few[few["patient"].isin(few["patient"].unique()[:6])]
    few.to_csv(table, index=False)
    done = run("auto", table, *COLUMNS, "--trials", "1", "--out", tmp_path / "run")
    assert done.status == 0, done.told
    assert "too few bags for an estimate" in done.out
    assert "too few bags for an estimate" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
