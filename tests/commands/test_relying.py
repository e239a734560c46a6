"""Calibration, thresholds and shares, from the command line."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from bagwise.commands.relying_report import reliance_tables
from bagwise.commands.runs import Run
from bagwise.evaluation.calibration import reliability
from bagwise.methods.ensemble import predict_ensemble

FIT = ["--bag", "bag", "--label", "ill", "--epochs", "3", "--jobs", "1"]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    rng = np.random.default_rng(0)
    rows = []
    for bag in range(84):
        shift = 1.5 * (bag % 2)
        rows += [(f"b{bag}", ["no", "yes"][bag % 2], *rng.normal(shift, 1, 3)) for _ in range(3)]
    path = tmp_path_factory.mktemp("relying") / "table.csv"
    pd.DataFrame(rows, columns=["bag", "ill", "x", "y", "z"]).to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def fitted_run(run, table, tmp_path_factory):
    folder = tmp_path_factory.mktemp("relying") / "run"
    done = run("fit", table, *FIT, "--sensitivity", "0.9", "--out", folder)
    assert done.status == 0, done.told
    return folder, done


def test_the_cost_is_told_first_and_what_was_learnt_afterwards(fitted_run):
    folder, done = fitted_run
    assert "5 further models, each of 4 in 5 bags: about 4.0 times the work of the fit" in done.told
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["aim"] == "sensitivity 0.9"
    assert metrics["held_out_sensitivity"] >= 0.9
    assert metrics["calibration"].startswith("temperature")
    assert metrics["held_out_log_loss"] < metrics["uncalibrated_log_loss"]
    page = (folder / "report.html").read_text()
    assert "How good probabilities are, of bags held out" in page
    assert "What the threshold does, on bags held out" in page


def test_one_table_shows_what_models_say_and_what_is_told_of_the_same_bags(fitted_run):
    relied = Run.load(fitted_run[0]).reliance
    kept = relied.kept
    labels = kept.labels(relied.target)
    tables = {one.title: one for one in reliance_tables(relied, labels)}
    shown = tables["What probabilities came to, of bags held out"]
    assert list(shown.columns) == ["As the models say", "Calibrated", "Share that came true", "Number"]
    said, told, came_true, count = np.array([[float(cell) for cell in row] for row in shown.rows]).T
    found = reliability(labels == "yes", kept.calibrated[:, 1])
    for column, wanted in ((told, found.predicted), (came_true, found.observed), (count, found.counts)):
        assert column == pytest.approx(wanted, abs=5e-4)
    assert (said * count).sum() == pytest.approx(kept.answers[:, 1].sum(), abs=0.1)
    ranked = np.sort(kept.calibrated[:, 1])
    lowest = kept.calibrated[:, 1] <= ranked[int(count[0]) - 1]
    assert said[0] == pytest.approx(kept.answers[lowest, 1].mean(), abs=5e-4)


def test_predictions_are_calibrated_and_decided_by_the_threshold_that_is_kept(run, table, fitted_run, tmp_path):
    folder, _ = fitted_run
    done = run("predict", folder, table, "--out", tmp_path / "said.csv")
    assert done.status == 0, done.told
    said, kept = pd.read_csv(tmp_path / "said.csv"), Run.load(folder)
    bags = kept.source(str(table)).read_like(kept.feature_names)
    raw = predict_ensemble(kept.models, bags).probabilities
    told = kept.reliance.calibration.applied(kept.models[0].target_, raw)[:, 1]
    assert said.probability_yes.to_numpy() == pytest.approx(told)
    assert (np.argsort(said.probability_yes) == np.argsort(raw[:, 1])).all()
    above = said.probability_yes > kept.reliance.threshold
    assert (said.predicted == np.where(above, "yes", "no")).all()


def test_other_shares_change_probabilities_and_not_who_is_called_positive(run, table, fitted_run, tmp_path):
    folder, _ = fitted_run
    for name, more in (("as", ()), ("rare", ("--share", "yes=0.02"))):
        done = run("predict", folder, table, *more, "--out", tmp_path / f"{name}.csv")
        assert done.status == 0, done.told
    assert "this assumes that only the shares differ" in done.told
    assert "positive predictive value" in done.told
    before, rare = (pd.read_csv(tmp_path / f"{name}.csv") for name in ("as", "rare"))
    assert (before.predicted == rare.predicted).all()
    odds = [one.probability_yes / one.probability_no for one in (before, rare)]
    assert odds[1].to_numpy() == pytest.approx((odds[0] * 0.02 / 0.98).to_numpy())


def test_a_process_decides_by_costs(table, tmp_path):
    words = ["fit", str(table), *FIT, "--cost", "missed=9,false=1", "--out", str(tmp_path / "run"), "--json"]
    code = "from bagwise.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["threshold"] == 0.1


def test_a_finished_run_is_resumed_with_what_it_keeps_and_refuses_other_aims(run, table, fitted_run):
    folder, _ = fitted_run
    before = (folder / "trust.safetensors").read_bytes()
    (folder / "report.html").unlink()
    done = run("fit", table, *FIT, "--sensitivity", "0.9", "--out", folder, "--resume")
    assert done.status == 0, done.told
    assert (folder / "trust.safetensors").read_bytes() == before
    assert "held out" in (folder / "report.html").read_text()
    done = run("fit", table, *FIT, "--sensitivity", "0.8", "--out", folder, "--resume")
    assert (done.status, "another sensitivity" in done.told) == (1, True)


def test_an_ensemble_and_a_method_without_networks_are_calibrated(run, table, tmp_path):
    for name, more in (("ensemble", ("--ensemble", "2")), ("classical", ("--method", "MI-SVM"))):
        fit = FIT if name == "ensemble" else [*FIT[:4], *FIT[6:]]
        done = run("fit", table, *fit, *more, "--calibrate", "auto", "--out", tmp_path / name)
        assert done.status == 0, done.told
        assert Run.load(tmp_path / name).reliance.kept is not None
        assert run("predict", tmp_path / name, table).status == 0


def test_nobody_who_has_not_asked_hears_of_too_few_bags(run, table, tmp_path):
    few = tmp_path / "few.csv"
    pd.read_csv(table)[:60].to_csv(few, index=False)
    done = run("fit", few, *FIT, "--out", tmp_path / "run")
    assert (done.status, done.told) == (0, "")
    assert not (tmp_path / "run" / "trust.safetensors").exists()
    done = run("fit", few, *FIT, "--calibrate", "auto", "--out", tmp_path / "asked")
    assert (done.status, "10 bags of the rarer outcome, and 20 are needed" in done.told) == (1, True)


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (("--calibrate", "always"), "must be 'auto' or 'none'"),
        (("--sensitivity", "0.99"), "it takes 99 to promise so much"),
        (("--threshold", "0.5", "--precision", "0.5"), "both say how to decide"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_learnt(run, table, tmp_path, more, sentence):
    done = run("fit", table, *FIT, *more, "--out", tmp_path / "run")
    assert (done.status, sentence in done.told) == (1, True)
    assert not (tmp_path / "run").exists()


def test_a_run_whose_calibration_is_gone_does_not_answer_without(run, table, fitted_run, tmp_path):
    shutil.copytree(fitted_run[0], tmp_path / "run")
    (tmp_path / "run" / "trust.safetensors").unlink()
    refused = run("predict", tmp_path / "run", table)
    assert refused.status == 1
    assert "answers by what its trust.safetensors says, which is not there" in refused.told


def test_a_run_that_keeps_no_shares_says_what_to_do(run, table, tmp_path):
    done = run("fit", table, *FIT, "--calibrate", "none", "--out", tmp_path / "run")
    assert done.status == 0
    done = run("predict", tmp_path / "run", table, "--share", "yes=0.1")
    assert (done.status, "train it again with --calibrate auto" in done.told) == (1, True)


@pytest.fixture(scope="module")
def evaluated(run, table, tmp_path_factory):
    folder = tmp_path_factory.mktemp("relying") / "evaluated"
    words = ["evaluate", table, *FIT, "--folds", "2", "--no-baseline", "--out", folder]
    done = run(*words, "--sensitivity", "0.8", "--method", "mean-logistic", "--method", "attention")
    assert done.status == 0, done.told
    return folder, done


@pytest.mark.usefixtures("undrawn")
def test_an_aim_is_measured_on_bags_that_nobody_chose_by(evaluated):
    folder, _ = evaluated
    results = json.loads((folder / "results.json").read_text())
    said = pd.read_csv(folder / "predictions.csv")
    for name, (one,) in results["aims"]["methods"].items():
        of = said[said.method == name]
        assert one["sensitivity"] == pytest.approx((of.predicted[of.label == "yes"] == "yes").mean())
        assert one["specificity"] == pytest.approx((of.predicted[of.label == "no"] == "no").mean())
        thresholds = np.array(results["thresholds"][name][0])
        assert (one["lowest"], one["highest"]) == (thresholds.min(), thresholds.max())
        assert ((of.probability_yes > thresholds[of.fold]) == (of.predicted == "yes")).all()
        everywhere = one["decision_curve"]["all"][one["decision_curve"]["thresholds"].index(0.5)]
        assert everywhere == pytest.approx(0.0)
    page = (folder / "report.html").read_text()
    assert "What the threshold does to bags that nobody chose by (sensitivity 0.8)" in page
    assert "Decision curve: net benefit" in page


def test_what_is_chosen_within_a_fold_is_what_fit_chooses_of_its_training_bags(run, table, evaluated, tmp_path):
    folder, _ = evaluated
    folds, rows = pd.read_csv(folder / "folds.csv"), pd.read_csv(table)
    names = folds.loc[folds.fold != 0, "bag"]
    rows[rows.bag.isin(names)].to_csv(tmp_path / "part.csv", index=False)
    words = [*FIT[:4], "--method", "mean-logistic", "--sensitivity", "0.8", "--out", tmp_path / "run"]
    assert run("fit", tmp_path / "part.csv", *words).status == 0
    results = json.loads((folder / "results.json").read_text())
    assert Run.load(tmp_path / "run").reliance.threshold == results["thresholds"]["mean-logistic"][0][0]
