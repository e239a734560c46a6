"""`bagwise auto`, in process, with a portfolio that takes little time."""

import json
import os
import shutil

import numpy as np
import pandas as pd
import pytest

import bagwise as bw
from bagwise.auto import candidates as rooms
from bagwise.auto import estimator
from bagwise.auto.candidates import Candidate
from bagwise.auto.estimator import AutoMIL
from bagwise.commands.fold_files import FOLDS, read_folds
from bagwise.commands.runs import Run
from bagwise.io.tables import read_table
from bagwise.trust.covered import covered
from bagwise.trust.reliance import FILE as TRUST
from bagwise.trust.seen import FILE as SEEN

FEATURES = ["x", "y", "size", "marker", "shape"]
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


@pytest.mark.usefixtures("undrawn")
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


@pytest.mark.usefixtures("undrawn")
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


@pytest.mark.usefixtures("undrawn")
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


@pytest.fixture
def kept(run, cells, tmp_path):
    """Give a function that searches among bags enough to calibrate by, with options, and gives folder and metrics."""
    frame = cells(60).drop(columns="clinic")
    frame["diagnosis"] = np.where(frame["patient"].str[1:].astype(int) % 30 // 5 == 0, "ill", frame["diagnosis"])
    frame["weight"] = np.where(frame["patient"] == frame["patient"].iloc[0], 0, 1)
    frame.to_csv(tmp_path / "many.csv", index=False)

    def search(name, *options):
        asked = ("auto", tmp_path / "many.csv", *COLUMNS, "--features", ",".join(FEATURES), "--trials", 2, *options)
        done = run(*asked, "--out", tmp_path / name, "--json")
        assert done.status == 0, done.told
        return tmp_path / name, json.loads(done.out)

    return search


def test_the_averages_of_the_nested_searches_are_its_fold_models(run, kept, tmp_path, monkeypatch):
    too_sure = tuple(Candidate("mean-logistic", {"C": C}) for C in (1e3, 1e4))  # so that there is what to calibrate
    monkeypatch.setattr(rooms, "PORTFOLIO", too_sure)
    out, metrics = kept("run", "--note", "Of the *second* clinic.")
    known, bags = Run.load(out), read_table(tmp_path / "many.csv", bag="patient", features=FEATURES)
    held_out = pd.read_csv(out / "predictions.csv").query("method == 'auto'").set_index("bag").loc[bags.names]
    said = np.stack([members[0].answers(bags) for members in read_folds(known)])
    relied, fold = known.reliance, held_out["fold"].to_numpy()
    likely = [f"probability_{name}" for name in known.models[0].target_.names]
    assert np.allclose(said[fold, np.arange(60)], relied.kept.answers, atol=1e-12)  # of bags that they did not see
    assert np.allclose(relied.kept.calibrated, held_out[likely], atol=1e-12)  # as they are told
    assert held_out["predicted"].tolist() == relied.deciding().predicted(held_out[likely].to_numpy()).tolist()
    assert np.array_equal(relied.kept.fold, fold)
    assert metrics["calibration"] != "none"
    assert metrics["held_out_log_loss"] <= metrics["uncalibrated_log_loss"]

    done = run("predict", out, tmp_path / "many.csv", "--coverage", 0.8, "--abstain", 0.5, "--json")
    rows = pd.DataFrame(json.loads(done.out))
    sets = covered(known.models[0].target_, relied.kept.scored, said, 0.8).sets
    assert rows["set_size"].tolist() == sets.sum(axis=1).tolist()
    assert rows["stranger"].between(0, 1).all()
    assert np.allclose(rows[likely], relied.answers(known.models[0].answers(bags)))
    card = (out / "card.md").read_text(encoding="utf-8")
    assert f"**Calibration**: {metrics['calibration']}".replace("-", "") in card.replace("\\", "").replace("-", "")
    assert "Of the *second* clinic." in card
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "How good probabilities are, of bags held out" in page
    assert "the other numbers are of what the run tells" in page
    assert f"{(held_out['predicted'] == held_out['label']).groupby(held_out['fold']).mean().mean():.3f}" in page


@pytest.mark.usefixtures("undrawn")
def test_a_search_decides_as_it_was_asked_and_drops_models_where_it_is_to(run, kept, table, tmp_path, monkeypatch):
    out, metrics = kept("run", "--sensitivity", 0.9, "--one-model", "--weight", "weight")
    assert metrics["held_out_sensitivity"] >= 0.9
    assert Run.load(out).reliance.threshold == Run.load(out).reliance.deciding().threshold
    assert not (out / FOLDS).exists()
    refused = run("predict", out, tmp_path / "many.csv", "--coverage", 0.9)
    assert "train it again without --one-model" in refused.told
    names = pd.read_csv(tmp_path / "many.csv")["patient"].unique()
    held_out = pd.read_csv(out / "predictions.csv").groupby("method")["bag"].apply(sorted)
    assert held_out.to_dict() == {name: sorted(names[1:]) for name in held_out.index}  # the first weighs nothing

    monkeypatch.setattr(AutoMIL, "_estimated", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    asked = (*COLUMNS, "--trials", 2, "--cost", "missed=5,false=1", "--out", tmp_path / "stopped")
    assert "--resume goes on from here" in run("auto", table, *asked).told
    refused = run("predict", tmp_path / "stopped", table)
    assert refused.status == 1
    assert "does not decide yet as --cost asked for: bagwise auto was stopped before that was learnt" in refused.told


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["--calibrate", "auto"], "probabilities cannot be calibrated"),
        (["--sensitivity", 0.9], "there are 12 positive bags held out to choose a threshold by: 20 are needed"),
        (["--specificity", 0.9], "there are 12 negative bags held out"),
        (["--precision", 0.9], "no 20 bags or more that are called positive have more than 0.600"),
        (["--precision", 0.5, "--group", "site"], "the estimate, for which there is no time, or too few bags"),
    ],
)
def test_what_bags_cannot_give_is_refused_before_the_search(run, table, tmp_path, monkeypatch, given, told):
    monkeypatch.setattr(AutoMIL, "_fit", lambda *_, **__: pytest.fail("it searches"))
    cells = pd.read_csv(table)
    cells.assign(site=pd.factorize(cells["patient"])[0] % 2).to_csv(table, index=False)
    done = run("auto", table, *COLUMNS, "--trials", 1, *given, "--out", tmp_path / "run")
    assert done.status == 1
    assert told in done.told
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("undrawn")
def test_files_of_two_searches_that_were_asked_the_same_cannot_be_swapped(run, table, tmp_path, monkeypatch):
    for name, C in (("one", 0.1), ("two", 10.0)):  # as two that end by the clock may find
        monkeypatch.setattr(rooms, "PORTFOLIO", (Candidate("mean-logistic", {"C": C}),))
        asked = (*COLUMNS, "--trials", 1, "--threshold", 0.4, "--out", tmp_path / name)
        assert run("auto", table, *asked).status == 0
    one, two = Run.load(tmp_path / "one"), Run.load(tmp_path / "two")
    assert one.asked == two.asked
    for name in (TRUST, SEEN, FOLDS):
        kept = tmp_path / "kept"
        shutil.move(tmp_path / "one" / name, kept)
        (shutil.copytree if name == FOLDS else shutil.copy)(tmp_path / "two" / name, tmp_path / "one" / name)
        refused = run("predict", tmp_path / "one", table, "--coverage", 0.8)
        assert refused.status == 1
        assert "is not the file that this run wrote" in refused.told
        (shutil.rmtree if name == FOLDS else os.remove)(tmp_path / "one" / name)
        shutil.move(kept, tmp_path / "one" / name)
    assert run("predict", tmp_path / "one", table, "--coverage", 0.8).status == 0


@pytest.mark.usefixtures("undrawn")
def test_of_times_until_an_event_no_fold_models_are_kept(run, table, tmp_path, monkeypatch):
    monkeypatch.setattr(rooms, "PORTFOLIO", (Candidate("attention", {"epochs": 1}),))
    cells = pd.read_csv(table)
    number = pd.factorize(cells["patient"])[0]
    cells.assign(died=number % 3 % 2, days=number + 0.5).drop(columns="diagnosis").to_csv(table, index=False)
    asked = ("--bag", "patient", "--instance", "cell", "--event", "died", "--time", "days", "--trials", 1)
    assert run("auto", table, *asked, "--out", tmp_path / "run").status == 0
    assert not (tmp_path / "run" / FOLDS).exists()
    rows = pd.DataFrame(json.loads(run("predict", tmp_path / "run", table, "--json").out))
    assert rows["stranger"].between(0, 1).all()
    for option in ("--coverage", "--abstain"):
        refused = run("predict", tmp_path / "run", table, option, 0.5)
        assert f"{option} is of predictions for bags held out, and of times until an event a run" in refused.told
