import numpy as np
import pytest
from scipy.stats import ttest_rel

from bagwise.experiments.mnist_bags import METHODS
from bagwise.experiments.mnist_findings import findings

LEVELS = {
    "attention": 0.95,
    "gated-attention": 0.94,
    "embedding-max": 0.9,
    "embedding-mean": 0.85,
    "instance-max": 0.8,
    "instance-mean": 0.75,
    "MI-SVM": 0.7,
    "attention-ensemble": 0.98,
}


def rows(levels=LEVELS, places=((10, 50), (10, 100), (10, 500), (50, 50), (100, 50)), draws=5, noise=0.005, seed=0):
    rng = np.random.default_rng(seed)
    made = []
    for size, bags in places:
        luck = rng.normal(0, 0.05, draws)  # of a draw, the same for all methods
        for method, level in levels.items():
            count = 2 if method == "MI-SVM" else draws
            values = (level + luck + rng.normal(0, noise, draws))[:count]
            about = {"mean_bag_size": size, "training_bags": bags, "method": method}
            made.append({**about, "metric": "auc", "values": values.tolist()})
            made.append({**about, "metric": "accuracy", "values": rng.random(count).tolist()})
    return made


def by_name(given):
    return {one["finding"]: one for one in findings(given)}


def test_what_is_built_in_is_found():
    found = by_name(rows())
    assert {name for name, one in found.items() if one["holds"]} == {
        "attention-with-few-bags",
        "gated-with-few-bags",
        "embedding-above-instance",
        "max-above-mean",
        "attention-above-svm",
        "ensemble",
    }
    assert found["svm-in-large-bags"]["difference"] == pytest.approx(-0.25, abs=0.02)
    assert found["all-close-with-many-bags"]["p_value"] > 0.99


def test_differences_are_taken_on_the_same_draw():
    """The luck of a draw is ten times the difference, and is no part of it."""
    levels = {"embedding-max": 0.905, "embedding-mean": 0.9, "instance-max": 0.805, "instance-mean": 0.8}
    assert by_name(rows(levels, noise=0.001))["max-above-mean"]["holds"]


def test_the_weakest_pair_decides():
    given = rows({**LEVELS, "embedding-mean": 0.955})
    found = by_name(given)["attention-with-few-bags"]
    assert not found["holds"]
    assert found["weakest"] == "attention and embedding-mean"
    first, second = (
        np.concatenate(
            [
                row["values"]
                for row in given
                if row["method"] == method
                and row["metric"] == "auc"
                and (row["mean_bag_size"], row["training_bags"]) in [(10, 50), (10, 100), (50, 50)]
            ]
        )
        for method in ("attention", "embedding-mean")
    )
    assert found["p_value"] == pytest.approx(ttest_rel(first, second, alternative="greater").pvalue)
    assert found["difference"] == pytest.approx((first - second).mean())
    assert found["draws"] == 15


def test_methods_are_close_where_the_difference_is_certainly_small():
    close = dict.fromkeys(METHODS, 0.98)
    assert by_name(rows(close, noise=0.002))["all-close-with-many-bags"]["holds"]
    assert not by_name(rows(close, noise=0.1))["all-close-with-many-bags"]["holds"]


def test_a_method_with_fewer_draws_is_compared_on_those():
    assert by_name(rows())["attention-above-svm"]["draws"] == 8


def test_what_was_not_measured_is_not_judged():
    assert set(by_name(rows(places=[(100, 50)]))) == {
        "embedding-above-instance",
        "max-above-mean",
        "svm-in-large-bags",
    }
    assert findings(rows(draws=1, levels={"attention": 0.9})) == []


def test_of_equal_methods_none_is_above():
    levels = dict.fromkeys(("embedding-max", "embedding-mean", "instance-max", "instance-mean"), 0.9)
    found = by_name(rows(levels, noise=0.0))
    assert found["max-above-mean"]["p_value"] == 1
    assert found["embedding-mean-in-the-end"]["p_value"] == 0
