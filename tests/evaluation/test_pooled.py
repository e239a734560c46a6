"""What all out-of-fold answers come to together, beside means over folds, and two models on one test."""

import json

import numpy as np
import pandas as pd
import pytest

import bagwise as bw
from bagwise.evaluation.baselines import one_test_difference, verdicts
from bagwise.evaluation.delong import auc_difference
from bagwise.evaluation.intervals import metric_intervals
from bagwise.evaluation.metrics import measure


@pytest.fixture(scope="module")
def bags():
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(3, 2)) + 0.6 * (bag % 2) for bag in range(60)]
    return bw.Bags.from_arrays(arrays, labels=["no", "yes"] * 30)


def validated(bags, method="mean-logistic", **asked):
    return bw.cross_validate(bw.make(method, random_state=0), bags, n_jobs=1, **asked)


def test_one_repetition_is_measured_as_one_set_of_bags(bags):
    found = validated(bags, folds=4)
    pooled = found.pooled(draws=300)
    of_all = found.target, found.labels, found.answers[0]
    assert {name: one.value for name, one in pooled.items()} == measure(*of_all)
    assert {name: one.interval for name, one in pooled.items()} == metric_intervals(*of_all, draws=300)
    assert pooled["accuracy"].value == pytest.approx(found.mean("accuracy"))  # folds are of one size
    assert pooled["auc"].value != pytest.approx(found.mean("auc"))  # which ranks each fold by itself


def test_repetitions_say_no_more_than_the_bags_that_they_answer_about(bags):
    once, thrice = validated(bags, folds=4).pooled(), validated(bags, folds=4, repeats=3).pooled()
    for name, one in once.items():
        many = thrice[name].interval
        assert many.high - many.low > 0.7 * (one.interval.high - one.interval.low), name
        assert many.low < thrice[name].value < many.high


def test_weights_groups_and_names_of_ones_own_are_kept(bags):
    def right(labels, answers):
        return float(np.mean((answers[:, 1] > 0.5) == (labels == "yes")))

    grouped = bw.Bags.from_arrays([bag.instances for bag in bags], labels=bags.labels, groups=np.arange(60) // 4)
    weights = np.where(np.arange(60) < 6, 0.0, 1.0 + np.arange(60) % 2)
    asked = {"mine": right, "area": "auc", "brier": "brier"}
    found = validated(grouped, folds=3, sample_weight=weights, scoring=asked)
    pooled = found.pooled(draws=200)
    of_all = found.target, found.labels, found.answers[0]
    kept = {"weights": weights, "groups": grouped.groups, "draws": 200}
    assert {name: one.interval for name, one in pooled.items()} == metric_intervals(*of_all, metrics=asked, **kept)
    assert pooled["area"].interval.how == "Obuchowski"
    assert "only 14 groups" in pooled["brier"].interval.warning


def test_bags_that_nobody_tests_are_left_out(bags):
    found = validated(bags, folds=[(range(20), range(20, 44))])
    assert (
        found.pooled()["recall"].value == measure(found.target, found.labels[20:44], found.answers[0, 20:44])["recall"]
    )
    nobody = validated(bags, folds=[(range(20), range(20, 44))], sample_weight=np.arange(60) < 20)
    assert np.isnan(nobody.pooled()["auc"].value)


def test_two_models_on_one_test_are_compared_by_delong(bags):
    split = [(range(20), range(20, 60))]
    both = {name: validated(bags, name, folds=split) for name in ("miVLAD", "mean-logistic")}
    first, second = both.values()
    scores = [found.answers[0, 20:, 1] for found in (first, second)]
    expected = auc_difference(bags.labels[20:] == "yes", *scores)
    assert one_test_difference(first, second) == expected
    [verdict] = verdicts(both, ["miVLAD"], ["mean-logistic"], test_share=0.6)
    assert (verdict.difference, verdict.p_value, verdict.low) == (expected.difference, expected.p_value, expected.low)
    assert "of two models on one test" in verdict.told
    assert "nan" not in verdict.told
    folded = validated(bags, folds=3)
    assert one_test_difference(folded, folded) is None


@pytest.mark.usefixtures("undrawn")
def test_the_command_names_means_of_folds_and_what_is_pooled_apart(run, tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"bag": np.repeat(np.arange(24), 2), "x": rng.normal(size=48)})
    frame["ill"] = np.where(frame["bag"] % 2, "yes", "no")
    frame["x"] += frame["bag"] % 2
    frame["part"] = np.where(frame["bag"] < 12, "train", "test")
    frame.drop(columns="part").to_csv(tmp_path / "folds.csv", index=False)
    frame.to_csv(tmp_path / "split.csv", index=False)
    argv = ["--bag", "bag", "--label", "ill", "--method", "mean-logistic", "--method", "miVLAD", "--no-baseline"]
    argv += ["--jobs", 1]
    done = run("evaluate", tmp_path / "folds.csv", *argv, "--folds", 3, "--out", tmp_path / "folds")
    assert done.status == 0, done.told
    assert "mean of folds" in done.out
    assert "pooled" in done.out
    assert "only 12 bags of no" in done.out
    results = json.loads((tmp_path / "folds" / "results.json").read_text())
    for row in results["rows"]:
        assert row["pooled_low"] < row["pooled"] < row["pooled_high"]
    assert {row["test"] for row in results["differences"]} == {"corrected resampled t-test"}
    page = (tmp_path / "folds" / "report.html").read_text(encoding="utf-8")
    auc = next(row for row in results["rows"] if row["metric"] == "auc")
    assert f"Pooled {auc['pooled']:.3f}, 95 % interval {auc['pooled_low']:.3f} to {auc['pooled_high']:.3f}." in page
    assert "whose scales may differ" in page
    done = run("evaluate", tmp_path / "split.csv", *argv, "--split", "part", "--out", tmp_path / "split")
    assert done.status == 0, done.told
    [row] = json.loads((tmp_path / "split" / "results.json").read_text())["differences"]
    assert (row["metric"], row["test"]) == ("auc", "DeLong")
    assert "Differences (DeLong)" in done.out
    page = (tmp_path / "split" / "report.html").read_text(encoding="utf-8")
    assert "One model, tested once. 95 % interval" in page
    assert "whose scales may differ" not in page
