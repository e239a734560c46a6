"""Methods on problems with a known answer, and what they point at."""

import json

import numpy as np
import pytest

from bagwise import Bags, BagwiseError
from bagwise.datasets import evidence, known_answer_bags, shifted_mean_posterior
from bagwise.evaluation.evidence import evidence_metrics
from bagwise.experiments import known_answers
from bagwise.experiments.known_answers import by_class
from bagwise.methods.families import AttentionMIL
from bagwise.methods.registry import make


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(known_answers, "COUNTS", dict.fromkeys(known_answers.COUNTS, (40, 20, 30)))
    monkeypatch.setattr(known_answers, "_SETTINGS", {"epochs": 2, "patience": 1})
    fitted = []
    fit = AttentionMIL.fit

    def seen(model, bags, *arguments, validation=None, **options):
        if model.gated and bags.labels.max() > 1:
            raise BagwiseError("two classes alone")
        fitted.append((len(bags), len(validation), bags.labels.max() + 1))
        return fit(model, bags, *arguments, validation=validation, **options)

    monkeypatch.setattr(AttentionMIL, "fit", seen)
    return fitted


def test_the_command_measures_methods_on_fresh_bags(run, tmp_path, small, data_directory):
    options = ["--out", tmp_path / "out", "--draws", 2, "--jobs", 1, "--data-dir", data_directory]
    chosen = ["--method", "attention", "--method", "gated-attention"]
    chosen += ["--problem", "four_bags", "--problem", "shifted_mean"]
    done = run("reproduce", "known-answers", *options, *chosen)
    assert done.status == 0, done.told
    assert small == [(40, 20, 4), (40, 20, 2), (40, 20, 2)] * 2
    results = json.loads((tmp_path / "out" / "known_answers.json").read_text())
    rows = {(row["problem"], row["method"], row["metric"]): row for row in results["rows"]}

    for place, seed in enumerate((10_000, 10_001)):
        train, validation, fresh = (
            known_answer_bags("four_bags", count, part=part, seed=seed, directory=data_directory)
            for part, count in (("train", 40), ("validation", 20), ("test", 30))
        )
        model = make("attention", random_state=place, epochs=2, patience=1).fit(train, validation=validation)
        says = evidence("four_bags", fresh)
        for kind, values in (
            ("weights", model.attention(fresh)),
            ("scores", model.instance_scores(fresh)),
        ):
            expected = evidence_metrics(fresh, values, says)
            assert rows["four_bags", "attention", f"{kind}_auprc_2"]["values"][place] == expected["auprc_2"]
            assert rows["four_bags", "attention", "chance"]["values"][place] == expected["auprc_2_chance"]
        right = (model.predict(fresh) == fresh.labels).mean()
        assert rows["four_bags", "attention", "accuracy"]["values"][place] == pytest.approx(right)
    auc = rows["four_bags", "attention", "auc"]
    assert auc["se_draws"] == pytest.approx(abs(np.subtract(*auc["values"])) / 2)
    for name, order in known_answers.KNOWING.items():
        fresh = [known_answer_bags("shifted_mean", 30, part="test", seed=seed) for seed in (10_000, 10_001)]
        right = [((shifted_mean_posterior(bags, order=order) > 0.5) == bags.labels).mean() for bags in fresh]
        assert rows["shifted_mean", name, "accuracy"]["values"] == pytest.approx(right)
    assert results["refused"] == {"four_bags, gated-attention": "two classes alone"}
    assert "four_bags, gated-attention, draw 1: two classes alone" in done.told
    assert (tmp_path / "out" / "known_answers.md").read_text() == known_answers.tables(results)
    assert run("reproduce", "known-answers", *options, *chosen, "--resume").status == 0
    assert len(small) == 6 + 2


def test_a_problem_that_is_none_is_refused(run, tmp_path):
    done = run("reproduce", "known-answers", "--problem", "five_bags", "--out", tmp_path / "out")
    assert done.status != 0
    assert "no problem 'five_bags'" in done.told


def test_values_are_those_of_each_class():
    three, heads = np.arange(6.0).reshape(2, 3), np.array([[1.0, 3.0], [0.0, 2.0]])
    np.testing.assert_array_equal(by_class(three, 3, signed=True), three)
    np.testing.assert_array_equal(by_class(heads, 4, signed=False), [[2] * 4, [1] * 4])
    np.testing.assert_array_equal(by_class(np.array([0.5, -0.5]), 2, signed=False), [[-0.5, 0.5], [0.5, -0.5]])


def test_a_class_is_held_against_its_own_bags():
    bags = Bags(np.zeros((6, 1)), [0, 3, 6], labels=[0, 1])
    says = np.array([[1, 0], [0, 0], [0, 0], [0, 1], [0, 1], [0, 0]], np.int8)
    values = np.array([[3.0, 0], [2, 0], [4, 9], [0, 5], [9, 1], [0, 2]])
    assert known_answers._own_class(bags, values, says) == np.mean([1 / 2, 1 / 2])
    assert known_answers._own_class(bags[[0]], values[:3], says[:3]) == 1 / 2
