"""What predictions say beside answers: sets and intervals, decisions that are left out, and bags that are strangers."""

import json
import re
import shutil
from functools import cache

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import r2_score

from bagwise.commands.fold_files import FOLDS, read_folds
from bagwise.commands.runs import Run
from bagwise.io.tables import read_table
from bagwise.tensorfiles import read_arrays, write_tensors
from bagwise.trust.covered import covered
from bagwise.trust.reliance import FILE as TRUST
from bagwise.trust.seen import FILE as SEEN
from bagwise.trust.selective import abstention, confidence
from bagwise.trust.sets import Scored

QUICK = ("--features", "x,y", "--jobs", 1, "--json")
CLASSES, REAL, COUNT = (
    ("--label", "ill"),
    ("--label", "dose", "--target", "real"),
    ("--label", "cells", "--target", "count"),
)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Write 120 bags of 2 to 4 instances, two a patient, with labels of several kinds."""
    rng = np.random.default_rng(0)
    rows = []
    for bag in range(120):
        values = rng.normal(size=(rng.integers(2, 5), 2))
        values[0, 0] += 3 * (bag % 2)
        told = {"bag": f"b{bag}", "patient": f"p{bag // 2}", "ill": "yes" if bag % 2 else "no", "late": bag % 3 // 2}
        told |= {"sick": bag % 2, "dose": values[:, 0].max(), "cells": len(values), "died": bag % 2, "days": 1.5 + bag}
        rows += [{**told, "x": x, "y": y} for x, y in values]
    path = tmp_path_factory.mktemp("table") / "t.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def trained(table, run, tmp_path_factory):
    """Give a function that trains a run, of each kind once, and says where it is."""

    @cache
    def train(*options, method="mean-logistic"):
        out = tmp_path_factory.mktemp("trained") / "run"
        epochs = ("--epochs", 3) if method == "attention" else ()
        done = run("fit", table, "--bag", "bag", *options, "--method", method, *epochs, *QUICK, "--out", out)
        assert done.status == 0, done.told
        return out

    return train


@pytest.fixture
def predicted(run, table):
    """Give a function that predicts the table, and gives rows and what was told."""

    def predict(where, *options):
        done = run("predict", where, table, *options, "--json")
        assert done.status == 0, done.told
        return pd.DataFrame(json.loads(done.out)), done.told

    return predict


@pytest.mark.parametrize("method", ["mean-logistic", "attention"])
def test_sets_are_what_the_models_in_the_run_and_its_held_out_answers_give(trained, predicted, table, method):
    out = trained(*CLASSES, "--group", "patient", method=method)
    rows, told = predicted(out, "--coverage", 0.9)
    known, bags = Run.load(out), read_table(table, bag="bag", features=["x", "y"])
    kept = known.reliance.kept
    said = np.stack([members[0]._say(members, bags, instances=False)[0].answers for members in read_folds(known)])
    sets = covered(known.models[0].target_, Scored(kept.encoded, kept.answers, kept.fold, kept.groups), said, 0.9).sets
    assert len(np.unique(kept.groups)) == 60
    assert rows["set"].tolist() == ["|".join(np.array(["no", "yes"])[row]) for row in sets]
    assert rows["set_size"].tolist() == sets.sum(axis=1).tolist()
    assert "sets hold the truth of about 90 % of bags" in told
    assert "of 80 % at least" in told
    assert "set" not in predicted(out)[0]


def test_bags_are_left_undecided_below_the_confidence_that_bags_held_out_show(trained, predicted, run, table, tmp_path):
    out = trained(*CLASSES)
    everything, _ = predicted(out)
    rows, told = predicted(out, "--abstain", 0.2)
    known = Run.load(out)
    kept, target = known.reliance.kept, known.reliance.deciding()
    wrong = (kept.calibrated[:, 1] > kept.calibrated[:, 0]) != kept.encoded[:, 0]
    found = abstention(0.2, confidence(target, kept.calibrated), wrong)
    sure = everything[["probability_no", "probability_yes"]].max(axis=1) >= found.cut - 1e-9
    assert 0 < sure.sum() < 120
    assert rows["predicted"].isna().tolist() == (~sure).tolist()
    assert rows["predicted"][sure].tolist() == everything["predicted"][sure].tolist()
    assert f"{sure.sum()} of 120 bags are decided" in told
    assert run("predict", out, table, "--abstain", 0.2, "--out", tmp_path / "p.csv").status == 0
    again = run(
        "predict", out, table, "--coverage", 0.8, "--out", tmp_path / "p.csv"
    )  # which replaces predictions alone
    assert again.status == 0, again.told
    assert pd.read_csv(tmp_path / "p.csv").columns[-3:].tolist() == ["set", "set_size", "stranger"]
    refused = run("predict", out, table, "--abstain", 0.001)
    assert refused.status == 1
    assert (
        "no confidence makes an error of at most 0.1 % certain to 90 %: the least error that would do" in refused.told
    )
    both = run("predict", out, table, "--abstain", 0.2, "--share", "yes=0.1")
    assert both.status == 1
    assert "leave --share out" in both.told


def test_the_report_shows_the_error_over_the_share_decided(trained):
    out = trained(*CLASSES)
    _, _, after = (out / "report.html").read_text().partition("Share of these decided wrongly")
    rows = np.array(re.findall(r"<bdi>([\d.]+)</bdi>", after.partition("</table>")[0]), float).reshape(-1, 3)
    kept = Run.load(out).reliance.kept
    wrong = (kept.calibrated[:, 1] > 0.5) != (kept.encoded[:, 0] == 1)
    assert len(rows) > 4
    assert rows[-1].tolist() == pytest.approx([1, rows[:, 1].min(), wrong.mean()], abs=5e-4)
    assert (np.diff(rows[:, 0]) > 0).all()


def test_numbers_have_intervals_and_those_of_counts_are_whole(trained, predicted):
    rows, told = predicted(trained(*REAL, method="MI-Kernel"), "--coverage", 0.8)
    assert (rows["low"] < rows["value"]).mean() > 0.9
    assert (rows["value"] < rows["high"]).mean() > 0.9
    assert "The intervals hold the truth of about 80 % of bags" in told
    out = trained(*COUNT, method="attention")
    rows, _ = predicted(out, "--coverage", 0.9)
    assert (rows["low"] % 1 == 0).all()
    assert (rows["low"] <= rows["high"]).all()
    kept = Run.load(out).reliance.kept
    error, fit = np.abs(kept.answers - kept.encoded).mean(), r2_score(kept.encoded, kept.answers)
    (told,) = (line for line in (out / "card.md").read_text().splitlines() if "held out of 5 further trainings" in line)
    assert f"R² {fit:.3f}" in told
    assert f"MAE {error:.3f}" in told


def test_each_of_several_labels_has_its_set(trained, predicted):
    out = trained("--label", "sick", "--label", "late", method="attention")
    rows, told = predicted(out, "--coverage", 0.98)
    assert set(rows["set_late"]) <= {"0", "1", "0|1", ""}
    assert "With 40 bags of class late=1, fewer than the 49 that a coverage of 98 % needs, it is in the set" in told


def test_a_bag_far_from_those_learnt_from_is_a_stranger_and_its_columns_are_named(trained, run, table, tmp_path):
    frame = pd.read_csv(table)
    frame.loc[frame["bag"] == "b7", "y"] += 50
    frame[["bag", "x", "y"]].to_csv(tmp_path / "new.csv", index=False)
    for method in ("mean-logistic", "attention"):
        done = run("predict", trained(*CLASSES, "--group", "patient", method=method), tmp_path / "new.csv", "--json")
        p = pd.DataFrame(json.loads(done.out)).set_index("bag")["stranger"]
        assert p.idxmin() == "b7"
        assert p["b7"] == pytest.approx(1 / 61)
        assert "1 of 120 bags lies farther from the training bags than any of these does" in done.told
        assert "Bags with values beyond all that were learnt from: y in 1." in done.told


def test_one_model_keeps_none_of_the_folds_and_says_what_goes(trained, predicted, run, table):
    out = trained(*CLASSES, "--one-model", method="attention")
    assert not (out / FOLDS).exists()
    assert predicted(out, "--abstain", 0.45)[0]["stranger"].between(0, 1).all()
    refused = run("predict", out, table, "--coverage", 0.9)
    assert refused.status == 1
    assert "--coverage needs the models of folds, and" in refused.told
    assert "train it again without --one-model" in refused.told


@pytest.mark.parametrize("option", ["--coverage", "--abstain"])
def test_a_run_that_held_nothing_out_refuses_and_still_tells_strangers(trained, predicted, run, table, option):
    why = "needs predictions for bags held out, and {} keeps none: train it again"
    of_lives = "is of predictions for bags held out, and of times until an event a run keeps none: leave it out"
    for options, told in ((CLASSES, why), (("--event", "died", "--time", "days"), of_lives)):
        out = trained(*options, "--calibrate", "none", method="attention")
        refused = run("predict", out, table, option, 0.1)
        assert refused.status == 1
        assert f"{option} {told.format(out)}" in refused.told
        assert predicted(out)[0]["stranger"].between(0, 1).all()


@pytest.mark.parametrize("value", [0, 1, 1.5, "nan"])
def test_values_that_are_none_are_refused(trained, run, table, value):
    for option in ("--coverage", "--abstain"):
        refused = run("predict", trained(*CLASSES), table, option, value)
        assert refused.status == 1
        assert "it must be between 0 and 1, such as 0." in refused.told


def test_what_is_kept_of_another_run_or_damaged_is_refused(trained, run, table, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(trained(*CLASSES, method="attention"), out)
    other = trained("--label", "sick", "--label", "late", method="attention")
    for name, source, told in (
        (f"{FOLDS}/0/model.safetensors", other, "belongs to another run: put the old folder back"),
        (SEEN, other, "seen.safetensors belongs to another run: put the old file back"),
        (f"{FOLDS}/0/model.safetensors", None, "model.safetensors"),
        (SEEN, None, "seen.safetensors is damaged"),
    ):
        kept = (out / name).read_bytes()
        (out / name).write_bytes(b"nothing" if source is None else (source / name).read_bytes())
        refused = run("predict", out, table, "--coverage", 0.9)
        assert refused.status == 1, name
        assert told in refused.told
        (out / name).write_bytes(kept)
    assert run("predict", out, table, "--coverage", 0.9).status == 0


def test_a_fold_model_of_the_same_kind_is_known_to_be_another_but_in_runs_that_say_nothing_of_it(
    trained, run, table, tmp_path
):
    out, first, second = tmp_path / "run", f"{FOLDS}/0/model.safetensors", f"{FOLDS}/1/model.safetensors"
    shutil.copytree(trained(*CLASSES), out)
    other = trained(*CLASSES, "--group", "patient")
    whole = run("predict", out, table, "--coverage", 0.9, "--json").out
    for name, content in (
        (first, (other / first).read_bytes()),
        (first, (out / second).read_bytes()),
        (SEEN, (out / SEEN).read_bytes() + b" "),
    ):
        kept = (out / name).read_bytes()
        (out / name).write_bytes(content)
        refused = run("predict", out, table, "--coverage", 0.9)
        assert refused.status == 1
        assert re.search(f"{name} is (not the file that this run wrote|damaged)", refused.told), refused.told
        (out / name).write_bytes(kept)
    arrays, described = read_arrays(out / TRUST)
    folds = {f"{FOLDS}/{fold}/model.safetensors" for fold in range(5)}
    assert described.pop("files").keys() == {"model.safetensors", SEEN, *folds}
    write_tensors(out / TRUST, arrays, described)
    assert run("predict", out, table, "--coverage", 0.9, "--json").out == whole
    (out / first).write_bytes((out / second).read_bytes())
    assert run("predict", out, table, "--coverage", 0.9).status == 0


def test_a_run_from_before_answers_without_all_that(trained, predicted):
    out = trained(*CLASSES)
    bare = out.parent / "bare"
    shutil.copytree(out, bare, ignore=shutil.ignore_patterns(FOLDS, SEEN, "trust.safetensors"))
    metrics = json.loads((bare / "metrics.json").read_text())
    del metrics["calibration"]
    (bare / "metrics.json").write_text(json.dumps(metrics))
    rows, _ = predicted(bare)
    assert rows.columns.tolist() == ["bag", "predicted", "probability_no", "probability_yes"]
