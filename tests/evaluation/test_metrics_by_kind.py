from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from bagwise import BagwiseError
from bagwise.evaluation.metrics import CLASS_METRICS, METRICS, measure, scorers
from bagwise.survival import concordance

SEEDS, COUNTS = st.integers(0, 10**6), st.integers(2, 40)


@dataclass
class Target:
    kind: str
    names: Any = None
    positive: Any = None
    metrics: tuple[str, ...] = ()

    def predicted(self, answers):
        if self.kind in ("classes", "ordinal"):
            return np.array(self.names)[answers.argmax(axis=1)]
        return (answers > 0.5).astype(float) if self.kind == "multi-label" else answers[:, 0]


TWO = Target("classes", ["no", "yes"], "yes")
THREE = Target("classes", ["a", "b", "c"])
GRADES = Target("ordinal", ["low", "middle", "high"])
LABELS = Target("multi-label", ["x", "y", "z"])
KINDS = ("classes", "multi-label", "real", "count", "ordinal", "survival")


def told(target, seed, count):
    """Give labels and answers of a kind, with ties."""
    rng = np.random.default_rng(seed)
    if target.kind in ("classes", "ordinal"):
        classes = len(target.names)
        labels = np.array(target.names)[rng.integers(classes, size=count)]
        answers = rng.dirichlet(np.ones(classes), size=count).round(2)
        return labels, answers / answers.sum(axis=1, keepdims=True)
    if target.kind == "multi-label":
        labels = (rng.random((count, 3)) < 0.4).astype(float)
        labels[rng.random((count, 3)) < 0.2] = np.nan
        return labels, rng.random((count, 3)).round(2)
    if target.kind == "survival":
        labels = np.zeros(count, [("event", bool), ("time", float)])
        labels["event"], labels["time"] = rng.random(count) < 0.6, rng.integers(1, 9, count)
        return labels, rng.normal(size=(count, 4)).round(1)
    if target.kind == "count":
        return rng.poisson(3, count), rng.exponential(3, (count, 1))
    return rng.normal(size=(count, 2)), rng.normal(size=(count, 2))


EACH = [TWO, THREE, LABELS, Target("real"), Target("count"), GRADES, Target("survival")]


@settings(max_examples=40)
@given(SEEDS, COUNTS, st.sampled_from([TWO, THREE]), st.booleans())
def test_metrics_of_classes_are_those_of_scikit_learn(seed, count, target, weighted):
    labels, answers = told(target, seed, count)
    labels[: len(target.names)] = target.names[:count]
    weights = np.random.default_rng(seed).random(count) + 0.1 if weighted else None
    predicted = target.predicted(answers)
    positive = {"y_score": answers[:, 1], "y_true": labels == "yes", "sample_weight": weights}
    expected = {
        "accuracy": sk.accuracy_score(labels, predicted, sample_weight=weights),
        "balanced_accuracy": sk.recall_score(
            labels, predicted, labels=np.unique(labels), average="macro", sample_weight=weights
        ),
        "brier": sk.brier_score_loss(
            labels,
            answers if target is THREE else answers[:, 1],
            labels=target.names,
            pos_label="yes" if target is TWO else None,
            sample_weight=weights,
        ),
        "log_loss": sk.log_loss(labels, answers, labels=target.names, sample_weight=weights),
    }
    if target is TWO:
        expected |= {"auc": sk.roc_auc_score(**positive), "average_precision": sk.average_precision_score(**positive)}
    if len({*labels, *predicted}) > 1:
        expected["kappa"] = sk.cohen_kappa_score(labels, predicted, sample_weight=weights)
    found = measure(target, labels, answers, scoring=list(expected), weights=weights)
    assert found == pytest.approx(expected, rel=1e-12, abs=1e-12)


@settings(max_examples=40)
@given(SEEDS, COUNTS, st.booleans())
def test_metrics_of_grades_are_those_of_scikit_learn_on_their_places(seed, count, weighted):
    labels, answers = told(GRADES, seed, count)
    labels[:2] = "low", "high"
    weights = np.random.default_rng(seed).random(count) + 0.1 if weighted else None
    codes = np.array([GRADES.names.index(label) for label in labels])
    places = answers.argmax(axis=1)
    assert measure(GRADES, labels, answers, scoring=["kappa", "mae", "accuracy"], weights=weights) == pytest.approx(
        {
            "kappa": sk.cohen_kappa_score(codes, places, weights="quadratic", labels=range(3), sample_weight=weights),
            "mae": sk.mean_absolute_error(codes, places, sample_weight=weights),
            "accuracy": sk.accuracy_score(codes, places, sample_weight=weights),
        },
        rel=1e-12,
        abs=1e-12,
    )


@settings(max_examples=40)
@given(SEEDS, COUNTS, st.sampled_from(["real", "count"]), st.booleans())
def test_metrics_of_numbers_are_those_of_scikit_learn(seed, count, kind, weighted):
    labels, answers = told(Target(kind), seed, count)
    labels[:2] = np.array([[1], [2]]) if labels.ndim == 2 else [1, 2]
    weights = np.random.default_rng(seed).random(count) + 0.1 if weighted else None
    given = {"sample_weight": weights}
    assert measure(Target(kind), labels, answers, scoring=["mae", "rmse", "r2"], weights=weights) == pytest.approx(
        {
            "mae": sk.mean_absolute_error(labels, answers, **given),
            "rmse": sk.root_mean_squared_error(labels, answers, **given),
            "r2": sk.r2_score(labels, answers, **given),
        },
        rel=1e-12,
    )


@settings(max_examples=15)
@given(SEEDS, COUNTS)
def test_specificity_is_the_recall_of_the_other_class(seed, count):
    labels, answers = told(TWO, seed, count)
    weights = np.random.default_rng(seed).random(count) + 0.1
    found = measure(TWO, labels, answers, scoring="specificity", weights=weights)["specificity"]
    recalls = sk.recall_score(
        labels, TWO.predicted(answers), labels=["no"], average=None, sample_weight=weights, zero_division=np.nan
    )
    assert found == pytest.approx(recalls[0], nan_ok=True)


@settings(max_examples=15)
@given(SEEDS, st.integers(1, 40))
def test_metrics_of_labels_are_means_over_the_bags_in_which_each_is_known(seed, count):
    labels, answers = told(LABELS, seed, count)
    names = [name for name, metric in METRICS.items() if "multi-label" in metric.kinds and name != "exact_match"]
    found = measure(LABELS, labels, answers, scoring=names)
    by_label = []
    for column in range(3):
        known = ~np.isnan(labels[:, column])
        if known.any():
            outcomes = np.array(["no", "yes"])[labels[known, column].astype(int)]
            two = np.column_stack([1 - answers[known, column], answers[known, column]])
            by_label.append(measure(TWO, outcomes, two, scoring=names))
    for name in names:
        values = [one[name] for one in by_label if np.isfinite(one[name])]
        if name == "balanced_accuracy":  # of one class alone it is the recall of that class; of a label nothing
            continue
        assert found[name] == pytest.approx(np.mean(values) if values else np.nan, nan_ok=True, abs=1e-12)


def test_all_known_labels_of_a_bag_must_be_predicted_for_an_exact_match():
    labels = np.array([[1, 0], [1, np.nan], [0, 1], [np.nan, np.nan]])
    answers = np.array([[0.9, 0.1], [0.8, 0.7], [0.3, 0.2], [0.5, 0.5]])
    assert measure(LABELS, labels, answers, scoring="exact_match")["exact_match"] == pytest.approx(2 / 3)
    weighted = measure(LABELS, labels, answers, scoring="exact_match", weights=[1, 1, 2, 5])
    assert weighted["exact_match"] == pytest.approx(1 / 2)


def test_a_risk_is_measured_by_concordance():
    labels, answers = told(Target("survival"), 3, 40)
    weights = np.arange(1.0, 41)
    assert measure(Target("survival"), labels, answers, scoring="c_index", weights=weights) == {
        "c_index": concordance(labels["event"], labels["time"], answers[:, 0], weights)
    }


# ---- of every metric --------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", EACH, ids=lambda target: f"{target.kind}-{len(target.names or ())}")
@settings(max_examples=15)
@given(seed=SEEDS, count=st.integers(1, 12))
def test_every_metric_of_a_kind_is_a_number_or_nan_whatever_the_bags(target, seed, count):
    names = [name for name, metric in METRICS.items() if target.kind in metric.kinds]
    labels, answers = told(target, seed, count)
    found = measure(target, labels, answers, scoring=names)
    assert list(found) == names
    assert {type(value) for value in found.values()} == {float}
    for name, value in found.items():
        least, most = METRICS[name].bounds
        assert np.isnan(value) or (np.isfinite(value) and least <= value <= most)
    order = np.random.default_rng(seed).permutation(count)
    assert measure(target, labels[order], answers[order], scoring=names) == pytest.approx(found, abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("target", EACH, ids=lambda target: f"{target.kind}-{len(target.names or ())}")
@settings(max_examples=15)
@given(seed=SEEDS, count=st.integers(2, 12))
def test_a_weight_stands_for_so_many_equal_bags(target, seed, count):
    labels, answers = told(target, seed, count)
    weights = np.random.default_rng(seed).integers(0, 3, count)
    weights[0] = 1
    often = np.repeat(np.arange(count), weights)
    names = [name for name, metric in METRICS.items() if target.kind in metric.kinds]
    # numbers that sum up in another order
    assert measure(target, labels, answers, scoring=names, weights=weights) == pytest.approx(
        measure(target, labels[often], answers[often], scoring=names), abs=1e-9, nan_ok=True
    )


@pytest.mark.parametrize("target", EACH, ids=lambda target: f"{target.kind}-{len(target.names or ())}")
@pytest.mark.parametrize("weight", [1.0, 0.3])
def test_weights_that_are_all_the_same_change_no_bit(target, weight):
    labels, answers = told(target, 5, 37)
    names = [name for name, metric in METRICS.items() if target.kind in metric.kinds]
    counted = measure(target, labels[:30], answers[:30], scoring=names)
    weights = np.where(np.arange(37) < 30, weight, 0)
    assert measure(target, labels, answers, scoring=names, weights=weights) == counted


@pytest.mark.parametrize(("name", "metric"), METRICS.items())
def test_better_answers_measure_better(name, metric):
    worse = {}
    for target in (one for one in EACH if one.kind in metric.kinds):
        labels, answers = told(target, 1, 60)
        if target.kind in ("classes", "ordinal"):
            right = np.eye(len(target.names))[[target.names.index(label) for label in labels]]
        elif target.kind == "multi-label":
            right = np.nan_to_num(labels, nan=0.5)
        elif target.kind == "survival":
            right = -labels["time"][:, None].astype(float)
        else:
            right = np.asarray(labels, float).reshape(60, -1)
        found = [measure(target, labels, given, scoring=name)[name] for given in (answers, right)]
        worse[target.kind] = (found[0] < found[1]) == metric.higher and found[0] != found[1]
    assert worse
    assert all(worse.values()), worse


@pytest.mark.parametrize(
    ("target", "labels", "answers", "undefined"),
    [
        (TWO, ["yes"], [[0.2, 0.8]], {"auc", "average_precision", "kappa", "specificity"}),
        (GRADES, ["low"], [[0.8, 0.1, 0.1]], {"kappa"}),
        (Target("real"), [2.0], [[2.5]], {"r2"}),
        (Target("real"), [2.0, 2.0], [[2.5], [1.0]], {"r2"}),
        (Target("survival"), np.zeros(3, [("event", bool), ("time", float)]), np.zeros((3, 1)), {"c_index"}),
    ],
)
def test_what_bags_leave_undefined_is_nan(target, labels, answers, undefined):
    names = [name for name, metric in METRICS.items() if target.kind in metric.kinds]
    found = measure(target, np.asarray(labels), np.asarray(answers), scoring=names)
    assert {name for name, value in found.items() if np.isnan(value)} == undefined


def test_a_class_that_answers_do_not_know_is_predicted_wrongly():
    labels, answers = np.array(["no", "yes", "perhaps"]), np.array([[0.9, 0.1], [0.1, 0.9], [0.5, 0.5]])
    found = measure(TWO, labels, answers, scoring=["accuracy", "log_loss", "kappa"])
    assert found["accuracy"] == pytest.approx(2 / 3)
    assert found["log_loss"] > 10
    assert found["kappa"] < 1


# ---- what is asked for ------------------------------------------------------------------------------------


def double(labels, _):
    return 2 * len(labels)


@pytest.mark.parametrize(
    ("scoring", "names"),
    [
        ("auc", ["auc"]),
        (("auc", "brier"), ["auc", "brier"]),
        (double, ["double"]),
        (["auc", double], ["auc", "double"]),
        ({"area": "auc", "twice": double}, ["area", "twice"]),
        (None, list(CLASS_METRICS)),
    ],
)
def test_metrics_are_asked_for_by_name_or_as_functions(scoring, names):
    target = Target("classes", ["no", "yes"], "yes", CLASS_METRICS)
    labels, answers = told(target, 0, 20)
    found = measure(target, labels, answers, scoring=scoring)
    assert list(found) == list(scorers(target, scoring)) == names
    assert found.get("double", 40) == found.get("twice", 40) == 40
    assert found.get("area", found.get("auc", 0)) in (0, measure(target, labels, answers, scoring="auc")["auc"])


@pytest.mark.parametrize(
    ("scoring", "message"),
    [
        ("area", "there is no metric 'area': of classes targets there are accuracy, precision, recall, specificity"),
        ("mae", "the metric 'mae' is one of real and count and ordinal targets, and this one is classes"),
        ([], "scoring is empty"),
        (["auc", "auc"], "the metric 'auc' is given twice"),
        (3, "scoring is 3: give names of metrics, or functions"),
        ([3], "scoring holds 3, which has no name"),
        ({"area": 3}, "scoring holds 3: give names"),
    ],
)
def test_what_cannot_be_measured_is_said(scoring, message):
    with pytest.raises(BagwiseError, match=message):
        scorers(TWO, scoring)


@pytest.mark.parametrize("value", [None, "good", np.zeros(2)])
def test_a_function_must_give_one_number(value):
    labels, answers = told(TWO, 0, 4)
    with pytest.raises(BagwiseError, match="the metric 'own' gave .*: it must return one number"):
        measure(TWO, labels, answers, scoring={"own": lambda *_: value})


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_metrics_and_every_metric_is_of_known_kinds(kind):
    assert any(kind in metric.kinds for metric in METRICS.values())
    assert {kind for metric in METRICS.values() for kind in metric.kinds} <= set(KINDS)
