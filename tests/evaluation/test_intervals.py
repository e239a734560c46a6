"""Intervals of metrics, beside SciPy's, beside a bootstrap that copies bags, and where there are few bags."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bagwise import BagwiseError
from bagwise.evaluation import resampled
from bagwise.evaluation.intervals import metric_intervals
from bagwise.evaluation.judged import Judged
from bagwise.evaluation.metrics import METRICS, measure
from bagwise.evaluation.resampled import RESAMPLED
from bagwise.evaluation.wilson import auc_interval, concordance_interval, share_interval, wilson
from bagwise.survival import concordance
from bagwise.targets.classes import ClassTarget
from bagwise.targets.registry import TARGETS

KINDS = ("two classes", "classes", "multi-label", "ordinal", "real", "count", "survival")


def answered(kind, count, seed):
    """Labels of a kind and answers about them, with ties, and with unknown labels where there may be."""
    rng = np.random.default_rng(seed)
    if kind in ("two classes", "classes", "ordinal"):
        names = ["no", "yes"] if kind == "two classes" else ["a", "b", "c"] if kind == "classes" else [1, 2, 3, 4]
        codes = np.concatenate([np.arange(len(names)), rng.integers(0, len(names), count - len(names))])
        answers = np.round(rng.random((count, len(names))) + 0.5 * np.eye(len(names))[codes], 1) + 0.1
        answers /= answers.sum(axis=1, keepdims=True)
        labels = np.array(names)[codes]
        target = (ClassTarget if kind != "ordinal" else TARGETS["ordinal"]).of(labels)
        return target, labels, answers
    if kind == "survival":
        labels = np.zeros(count, [("event", bool), ("time", float)])
        labels["event"], labels["time"] = rng.random(count) < 0.6, rng.integers(1, 9, count)
        answers = np.round(rng.random((count, 1)) - labels["time"][:, None] / 8, 1)
        return TARGETS["survival"].of(labels), labels, answers
    labels = rng.poisson(3, (count, 1 if kind == "count" else 2)).astype(float)
    answers = labels + np.round(rng.normal(size=labels.shape), 1)
    if kind == "multi-label":
        labels = (labels > 2).astype(float)
        answers = np.clip(np.round(labels * 0.3 + rng.random((count, 2)) * 0.7, 1), 0, 1)
        labels[rng.random((count, 2)) < 0.2] = np.nan
        labels[:2] = [[0, 1], [1, 0]]
    labels = labels[:, 0] if kind == "count" else labels
    return TARGETS[kind].of(labels), labels, answers


# ---- many weightings at once ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), count=st.integers(8, 30))
def test_counts_of_a_draw_are_weights_of_the_metric(kind, seed, count):
    target, labels, answers = answered(kind, count, seed)
    named = [name for name, metric in METRICS.items() if target.kind in metric.kinds]
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(count, np.full(count, 1 / count), size=6) * rng.choice([1.0, 0.5, 2.0], count)
    judged = Judged(target, labels, answers, None)
    expected = [measure(target, labels, answers, scoring=named, weights=draw) for draw in counts]
    for name in set(named) & set(RESAMPLED):
        np.testing.assert_allclose(
            RESAMPLED[name](judged, counts), [one[name] for one in expected], atol=1e-9, err_msg=name
        )


def test_every_metric_can_be_drawn():
    assert set(RESAMPLED) == set(METRICS) - {"c_index"}  # which has an interval of its own


# ---- the bootstrap ----------------------------------------------------------------------------------------


def test_it_is_a_bootstrap_that_copies_the_bags_of_groups(monkeypatch):
    target, labels, answers = answered("classes", 60, 4)
    groups = np.repeat(np.arange(20), 3) * 7
    rng = np.random.default_rng(5)
    values = []
    for _ in range(300):
        bags = np.concatenate([np.flatnonzero(groups == 7 * group) for group in rng.integers(0, 20, 20)])
        values.append(measure(target, labels[bags], answers[bags], scoring="log_loss")["log_loss"])
    # Efron's correction for how draws lean, and Hesterberg's expansion.
    lean = stats.norm.ppf(np.mean(np.array(values) < measure(target, labels, answers, scoring="log_loss")["log_loss"]))
    shares = stats.norm.cdf(2 * lean + np.sqrt(20 / 19) * stats.t.ppf([0.05, 0.95], 19))
    asked = {"metrics": ["log_loss", "auc"], "groups": groups, "level": 0.9, "draws": 300, "seed": 5}
    found = metric_intervals(target, labels, answers, **asked)
    assert found["log_loss"][:2] == pytest.approx(np.quantile(values, shares))
    assert found["log_loss"].how == found["auc"].how == "bootstrap"
    monkeypatch.setattr(resampled, "_AT_ONCE", 700)
    in_parts = metric_intervals(target, labels, answers, **asked)
    assert in_parts["log_loss"][:2] == pytest.approx(found["log_loss"][:2], abs=1e-12)


def test_functions_of_the_users_own_are_called_with_copies():
    target, labels, answers = answered("two classes", 50, 1)

    def right(labels, answers):
        return float(np.mean(labels == target.predicted(answers)))

    found = metric_intervals(target, labels, answers, metrics={"mine": right, "b": "brier"}, draws=400)
    assert 0 < found["mine"].low < right(labels, answers) < found["mine"].high < 1
    assert list(found) == ["mine", "b"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_found_lies_in_its_interval(kind):
    target, labels, answers = answered(kind, 80, 2)
    named = [name for name, metric in METRICS.items() if target.kind in metric.kinds]
    found = measure(target, labels, answers, scoring=named)
    for groups in (None, np.arange(80) // 2):
        for name, one in metric_intervals(target, labels, answers, metrics=named, groups=groups, draws=500).items():
            assert one.low < found[name] < one.high, name
            wide = metric_intervals(target, labels, answers, metrics=name, groups=groups, draws=500, level=0.99)[name]
            assert wide.low < one.low < one.high < wide.high, name


@pytest.mark.parametrize("kind", KINDS)
def test_bags_of_no_weight_are_none_and_equal_weights_change_little(kind):
    target, labels, answers = answered(kind, 60, 3)
    named = [name for name, metric in METRICS.items() if target.kind in metric.kinds]
    weights = np.arange(60) % 4 / 2
    weighted = metric_intervals(target, labels, answers, metrics=named, weights=weights, draws=200)
    kept = weights > 0
    alone = metric_intervals(target, labels[kept], answers[kept], metrics=named, weights=weights[kept], draws=200)
    assert weighted == alone
    twice = metric_intervals(target, labels, answers, metrics=named, weights=np.full(60, 2.0), draws=200)
    for name, plain in metric_intervals(target, labels, answers, metrics=named, draws=200).items():
        assert twice[name][:2] == pytest.approx(plain[:2])


def test_copies_of_bags_in_groups_say_no_more_than_the_bags():
    target, labels, answers = answered("two classes", 90, 6)
    named = [name for name, metric in METRICS.items() if "classes" in metric.kinds]
    plain = metric_intervals(target, labels, answers, metrics=named)
    copies = np.repeat(np.arange(90), 4)
    grouped = metric_intervals(target, labels[copies], answers[copies], metrics=named, groups=copies)
    ignored = metric_intervals(target, labels[copies], answers[copies], metrics=named)
    for name, one in plain.items():
        width = one.high - one.low
        assert grouped[name].high - grouped[name].low == pytest.approx(width, rel=0.1), name
        assert ignored[name].high - ignored[name].low < 0.65 * width, name


# ---- shares and areas -------------------------------------------------------------------------------------


@given(st.integers(1, 200), st.data())
def test_a_share_has_wilsons_interval(count, data):
    true = data.draw(st.integers(0, count))
    expected = stats.binomtest(true, count).proportion_ci(method="wilson")
    assert share_interval([True] * true + [False] * (count - true))[:2] == pytest.approx(tuple(expected), abs=1e-12)


def test_a_balanced_accuracy_adds_up_what_its_classes_are_off():
    target, labels, answers = answered("classes", 150, 5)
    found = metric_intervals(target, labels, answers, metrics="balanced_accuracy")["balanced_accuracy"]
    right = labels == target.predicted(answers)
    shares = np.array([right[labels == name].mean() for name in "abc"])
    ends = np.array([share_interval(right[labels == name])[:2] for name in "abc"])
    off = np.sqrt(np.sum((ends - shares[:, None]) ** 2, axis=0)) / 3
    assert found[:2] == pytest.approx((shares.mean() - off[0], shares.mean() + off[1]))
    none_wrong = metric_intervals(target, target.predicted(answers), answers, metrics="balanced_accuracy")
    assert none_wrong["balanced_accuracy"].high == pytest.approx(1)
    assert none_wrong["balanced_accuracy"].low < 1


def test_groups_of_one_answer_count_as_one():
    none_wrong = share_interval([True] * 60, groups=np.arange(60) // 3)
    reach = stats.t.ppf(0.975, 19)
    assert none_wrong.low == pytest.approx(20 / (20 + reach**2))
    assert none_wrong.high == 1


@given(st.integers(0, 10_000))
def test_an_area_asks_for_ranks_alone_and_mirrors(seed):
    rng = np.random.default_rng(seed)
    outcomes = np.concatenate([[True, False], rng.random(38) < 0.4])
    scores = np.round(rng.normal(size=40) + outcomes, 1)
    found = auc_interval(outcomes, scores)
    assert auc_interval(outcomes, np.exp(scores)) == found
    mirrored = auc_interval(~outcomes, scores)
    assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx(found[:2], abs=1e-9)
    assert auc_interval(outcomes, scores, groups=rng.permutation(40)).low < found.low


def test_a_concordance_varies_as_leaving_out_groups_says():
    _, labels, answers = answered("survival", 120, 8)
    for groups in (np.arange(120), np.arange(120) // 3):
        asked = labels["event"], labels["time"], answers[:, 0]
        without = [concordance(*(values[groups != group] for values in asked)) for group in np.unique(groups)]
        count, share = len(without), concordance(*asked)
        variance = (count - 1) * np.var(without)
        expected = wilson(share, share * (1 - share) / variance, stats.t.ppf(0.975, count - 1))
        assert concordance_interval(*asked, groups=groups)[:2] == pytest.approx(expected, abs=0.004)
    assert np.isnan(concordance_interval([False] * 9, range(9), range(9)).low)


def test_bags_that_are_all_ranked_rightly_leave_room_for_others():
    ill = np.arange(60) < 20
    few, many = auc_interval(ill[::3], ill[::3]), auc_interval(ill, ill)
    assert few.low < many.low < 0.96
    assert few.high == many.high == 1
    assert auc_interval(ill, ~ill).low == 0
    assert auc_interval(ill, ill, groups=np.arange(60) // 5).low < many.low
    target = ClassTarget.of([False, True])
    perfect = metric_intervals(
        target, ill, np.stack([~ill, ill], 1).astype(float), metrics=["kappa", "brier", "fscore"]
    )
    assert perfect["fscore"].low == pytest.approx(share_interval([True] * 20).low)
    assert perfect["kappa"].low == pytest.approx(2 * share_interval([True] * 20).low - 1)
    assert perfect["brier"].low == 0 < perfect["brier"].high


# ---- few bags ---------------------------------------------------------------------------------------------


def test_few_bags_or_groups_of_a_class_are_told():
    target, labels, answers = answered("two classes", 100, 0)
    labels = np.where(np.arange(100) < 12, "yes", "no")
    found = metric_intervals(target, labels, answers, metrics=["auc", "accuracy", "recall", "brier"])
    says = "there are only 12 bags of yes: an interval from fewer than 30 is rough"
    assert {found["accuracy"].warning, found["brier"].warning} == {says}
    assert "only 12 bags" in found["recall"].warning
    assert "only 12 bags" in found["auc"].warning
    groups = metric_intervals(target, labels, answers, metrics="brier", groups=np.arange(100) // 6)
    assert groups["brier"].warning.startswith("there are only 2 groups of yes")
    enough = metric_intervals(*answered("two classes", 100, 0), metrics=["accuracy", "brier", "auc"])
    assert {one.warning for one in enough.values()} == {None}


def test_what_bags_leave_undefined_has_no_interval():
    target, labels, answers = answered("two classes", 40, 0)
    of_one = metric_intervals(target, np.full(40, "no"), answers, metrics=["auc", "recall", "accuracy"])
    assert np.isnan(of_one["auc"].low)
    assert of_one["auc"].warning == "these bags leave it undefined"
    assert np.isnan(of_one["recall"].high)
    assert of_one["accuracy"].low < of_one["accuracy"].high
    alone = metric_intervals(target, labels, answers, metrics=["brier", "accuracy"], groups=np.zeros(40))
    assert np.isnan([one.low for one in alone.values()]).all()
    rare = np.where(np.arange(40) < 1, "yes", "no")
    found = metric_intervals(target, rare, answers, metrics="average_precision")
    assert "of the draws leave it undefined" in found["average_precision"].warning


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"level": 95}, "level is 95"),
        ({"groups": [1, 2]}, "groups have shape (2,)"),
        ({"draws": 0}, "draws"),
        ({"metrics": "mae"}, "'mae'"),
    ],
)
def test_what_is_refused(asked, says):
    with pytest.raises(BagwiseError) as raised:
        metric_intervals(*answered("two classes", 30, 0), **asked)
    assert says in str(raised.value)
