"""Learning curves: parts are nested, honest and alike, and what is learnt of them is what a plain fit learns."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import bagwise as bw
from bagwise import BagwiseError
from bagwise.evaluation.learning_curve import learning_curve, nested_parts
from bagwise.evaluation.planning import bags_for_auc, bags_for_share, likeness_in_auc
from bagwise.evaluation.protocol import Folds
from bagwise.evaluation.significance import corrected_t_test, smallest_difference


def made(count=48, seed=0, groups=None, labels=None, apart=1.0):
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2 if labels is None else labels
    arrays = [rng.normal(size=(3, 2)) + apart * label for label in labels]
    return bw.Bags.from_arrays(arrays, labels=labels, groups=groups)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(0, 3), min_size=8, max_size=80),
    st.lists(st.floats(0.05, 0.95), min_size=1, max_size=4),
    st.integers(0, 99),
    st.booleans(),
)
def test_parts_are_nested_and_alike(strata, shares, seed, grouped):
    strata, groups = np.array(strata), np.arange(len(strata)) // 3 if grouped else None
    shares = sorted(shares)
    parts = nested_parts(strata, shares, np.random.default_rng(seed), groups)
    for smaller, larger in pairwise(parts):
        assert set(smaller.tolist()) <= set(larger.tolist())
    for share, part in zip(shares, parts, strict=True):
        assert (np.diff(part) > 0).all()
        if grouped:
            assert np.isin(groups, groups[part]).sum() == len(part)  # whole groups
            assert abs(len(part) - share * len(strata)) <= 3
        else:
            assert len(part) == max(1, round(len(strata) * share)) or abs(len(part) - share * len(strata)) <= 0.5
            wanted = share * np.bincount(strata)
            assert (abs(np.bincount(strata[part], minlength=len(wanted)) - wanted) < 1.5).all()


@pytest.mark.parametrize("name", ["attention", "miVLAD"])
def test_each_part_is_learnt_as_a_fit_learns_it_and_tested_on_bags_never_seen(name):
    groups = np.arange(48) // 2 % 12
    bags, model = made(groups=groups), bw.make(name, random_state=0)
    if name == "attention":
        model.set_params(epochs=2)
    whole = bw.cross_validate(model, bags, folds=3, seed=4, n_jobs=1)
    curve = learning_curve(model, bags, folds=3, seed=4, shares=[0.5, 0.25], n_jobs=1)
    assert (curve.shares, curve.bags[-1]) == ((0.25, 0.5, 1.0), 32)
    np.testing.assert_array_equal(curve.found[-1].answers, whole.answers)
    shorter = learning_curve(model, bags, folds=3, seed=4, shares=[0.5], whole=whole, n_jobs=1)
    np.testing.assert_array_equal(shorter.found[0].answers, curve.found[1].answers)
    rng = np.random.default_rng([4, 0, 1])
    split = Folds(bags, folds=3, seed=4).splits[1]
    part = split.train[nested_parts(bags.labels[split.train], [0.25, 0.5], rng, groups[split.train])[1]]
    assert not set(groups[part]) & set(groups[split.test])
    learnt = bw.make(name, **{**model.get_params(), "random_state": 0}).fit(bags[part])
    np.testing.assert_array_equal(curve.found[1].answers[0, split.test], learnt.predict_proba(bags[split.test]))
    assert [row["bags"] for row in curve.rows() if row["metric"] == "auc"] == list(curve.bags)


def test_shares_with_too_few_of_a_class_are_left_out_or_refused():
    labels = np.array([1] * 6 + [0] * 42)
    model = bw.make("mean-logistic", random_state=0)
    curve = learning_curve(model, made(labels=labels), folds=3, n_jobs=1)
    assert (curve.left_out, curve.shares) == ((0.25,), (0.5, 0.75, 1.0))
    with pytest.raises(BagwiseError, match="of no share of 0.1 each fold has 2 training bags of every class"):
        learning_curve(model, made(labels=labels), folds=3, shares=[0.1], n_jobs=1)
    for shares in ([], [0.5, 1], [0], ["half"]):
        with pytest.raises(BagwiseError, match="give some above 0 and below 1"):
            learning_curve(model, made(), shares=shares)


def test_a_gain_is_told_with_what_is_known_of_it():
    rng = np.random.default_rng(0)
    numbers = bw.Bags.from_arrays([rng.normal(size=(4, 12)) for _ in range(120)])
    bags = numbers.with_labels([float(bag.instances[:, 0].mean()) for bag in numbers])
    curve = learning_curve(bw.make("summary-forest", trees=10, random_state=0), bags, folds=4, scoring=["r2", "mae"])
    better, closer = curve.gain("r2"), curve.gain("mae")
    assert better.difference == pytest.approx(curve.found[-1].mean("r2") - curve.found[1].mean("r2"))
    assert closer.difference == pytest.approx(curve.found[1].mean("mae") - curve.found[-1].mean("mae"))
    test = corrected_t_test(curve.found[-1].scores["mae"], curve.found[1].scores["mae"], test_share=1 / 4)
    assert (closer.low > 0) is (test.p_value < 0.05)
    assert closer.low < closer.difference < closer.high
    assert closer.told.startswith("From 45 to 90 training bags MAE gets better by 0.")
    longer = replace(curve, found=(*curve.found[:1], curve.found[-1], *curve.found[2:-1], curve.found[1]))
    assert (
        f"R² gets worse by {better.difference:.3f} (95 % interval of the gain {-better.high:+.3f}"
        in longer.gain("r2").told
    )
    one = learning_curve(bw.make("mean-logistic"), made(), folds=[(range(36), range(36, 48))], n_jobs=1).gain()
    assert np.isnan(one.low)
    assert "nobody can tell" in one.told
    with pytest.raises(BagwiseError, match="no metric 'auc': the metrics are r2, mae"):
        curve.gain("auc")


def test_the_smallest_difference_is_as_many_errors_as_level_and_power_ask_for():
    rng = np.random.default_rng(0)
    one, other = rng.random((2, 3, 10))
    test = corrected_t_test(one, other, test_share=0.1)
    errors = stats.t.ppf(0.975, 29) + stats.t.ppf(0.8, 29)
    found = smallest_difference(one, other, test_share=0.1)
    assert found == pytest.approx(errors * test.difference / test.statistic)
    # Whoever is that far apart is found four times in five, by a test of so many independent scores.
    error = found / errors
    drawn = found + error * rng.standard_t(29, 100_000)
    assert (drawn / error > stats.t.ppf(0.975, 29)).mean() == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize(("share", "half"), [(0.9, 0.05), (0.5, 0.05), (1.0, 0.02), (0.7, 0.1)])
def test_a_cohort_for_a_share_is_the_least_whose_wilson_interval_is_narrow_enough(share, half):
    def width(count):
        # scipy's takes whole numbers: where the share comes out even it is the same interval.
        found = stats.binomtest(round(share * count), count).proportion_ci(method="wilson")
        return found.high - found.low

    count = bags_for_share(share, half)
    even = -(-count // 10) * 10
    assert width(even) <= 2 * half
    assert width(even - 20) > 2 * half or count < 25


@pytest.mark.parametrize(("auc", "positive"), [(0.8, 0.5), (0.9, 0.2)])
def test_a_cohort_for_an_auc_gives_an_interval_as_wide_as_was_asked_for(auc, positive):
    rng, count = np.random.default_rng(0), bags_for_auc(auc, positive, 0.05)
    ill, well = round(positive * count), count - round(positive * count)
    # Exponential scores, of which Hanley and McNeil's formula speaks: P(well < ill) = auc.
    areas = []
    for _ in range(2000):
        low, high = np.sort(rng.exponential(size=well)), rng.exponential(auc / (1 - auc), ill)
        areas.append(np.searchsorted(low, high).mean() / well)
    assert np.mean(areas) == pytest.approx(auc, abs=0.005)
    assert 1.96 * np.std(areas) == pytest.approx(0.05, rel=0.08)
    assert bags_for_auc(auc, positive, 0.05, likeness=2.0) == pytest.approx(2 * count, rel=0.02)


def test_bags_of_a_group_that_are_alike_count_as_one():
    rng = np.random.default_rng(0)
    outcomes, scores = rng.random(200) < 0.5, rng.random(200)
    four = [np.repeat(values, 4) for values in (outcomes, scores, np.arange(200))]
    assert likeness_in_auc(*four) == pytest.approx(4, rel=0.05)
    assert likeness_in_auc(outcomes, scores, np.arange(200)) == pytest.approx(1)
    for wrong in ({"share": 1.5, "half_width": 0.05}, {"share": 0.5, "half_width": 0.5}):
        with pytest.raises(BagwiseError, match="it must be"):
            bags_for_share(**wrong)
    with pytest.raises(BagwiseError, match=r"auc is 0\.4"):
        bags_for_auc(0.4, 0.5, 0.05)
