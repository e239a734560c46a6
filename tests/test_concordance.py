import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sksurv.compare import compare_survival
from sksurv.metrics import concordance_index_censored
from sksurv.nonparametric import kaplan_meier_estimator
from sksurv.util import Surv

from bagwise.survival import concordance, kaplan_meier, log_rank

COUNTS = st.integers(2, 60)
SEEDS = st.integers(0, 10**6)


def lives(seed, count, *, values=12, censored=0.4):
    """Give events, times and risks with ties in all of them."""
    rng = np.random.default_rng(seed)
    event, time = rng.random(count) > censored, rng.integers(1, values, count) / 4
    risk = rng.normal(size=count).round(1) if seed % 3 else rng.normal(size=count) * 1e-8
    return event, time, risk


@settings(max_examples=150)
@given(SEEDS, COUNTS, st.sampled_from([3, 12, 10**6]), st.sampled_from([0.0, 0.4, 0.9]))
def test_concordance_is_that_of_scikit_survival(seed, count, values, censored):
    event, time, risk = lives(seed, count, values=values, censored=censored)
    try:
        with np.errstate(invalid="ignore"):
            theirs = concordance_index_censored(event, time, risk)[0]
    except ValueError:  # all are censored, or no pair can be compared
        theirs = np.nan
    assert concordance(event, time, risk) == pytest.approx(theirs, abs=1e-12, nan_ok=True)


@settings(max_examples=25)
@given(SEEDS, st.integers(2, 25))
def test_a_weight_counts_a_bag_so_often(seed, count):
    event, time, risk = lives(seed, count)
    weights = np.random.default_rng(seed).integers(0, 4, count)
    often = np.repeat(np.arange(count), weights)
    repeated = concordance(event[often], time[often], risk[often])
    assert concordance(event, time, risk, weights) == pytest.approx(repeated, abs=1e-12, nan_ok=True)


@settings(max_examples=25)
@given(SEEDS, st.integers(2, 25))
def test_a_pair_counts_the_product_of_its_weights(seed, count):
    event, time, risk = lives(seed, count)
    weights = np.random.default_rng(seed).random(count)
    right = pairs = 0.0
    for i in range(count):
        for j in range(count):
            if event[i] and (time[i] < time[j] or (time[i] == time[j] and not event[j])):
                both = weights[i] * weights[j]
                pairs += both
                right += both * (0.5 if abs(risk[i] - risk[j]) <= 1e-8 else float(risk[i] > risk[j]))
    expected = right / pairs if pairs else np.nan
    assert concordance(event, time, risk, weights) == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_concordance_of_many_is_fast_and_a_half_where_risks_are_equal():
    event, time, _ = lives(0, 3000, values=10**6)
    assert concordance(event, time, np.zeros(3000)) == 0.5
    assert concordance(event, time, -time) == 1
    assert concordance(event, time, time) == 0


@settings(max_examples=50)
@given(SEEDS, COUNTS, st.sampled_from([0.0, 0.4, 1.0]))
def test_the_curve_is_that_of_scikit_survival(seed, count, censored):
    event, time, _ = lives(seed, count, censored=censored)
    found = kaplan_meier(event, time)
    times, survival = kaplan_meier_estimator(event, time)
    np.testing.assert_array_equal(found.times, times)
    np.testing.assert_allclose(found.survival, survival, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(found.at_risk, [(time >= at).sum() for at in times])
    np.testing.assert_array_equal(found.survival_at(times), found.survival)
    assert found.survival_at(0.0) == 1


@settings(max_examples=100)
@given(SEEDS, st.integers(8, 60), st.integers(2, 4), st.sampled_from([3, 12, 10**6]))
def test_the_log_rank_test_is_that_of_scikit_survival(seed, count, kinds, values):
    event, time, _ = lives(seed, count, values=values)
    event[0] = True
    groups = np.array(["low", "middle", "high", "highest"])[np.arange(count) % kinds]
    time[:kinds], event[:kinds] = time.max() + np.arange(kinds), True  # all groups are seen at the first event
    statistic, p_value = compare_survival(Surv.from_arrays(event, time), groups)
    found = log_rank(event, time, groups)
    assert found.statistic == pytest.approx(statistic, rel=1e-9, abs=1e-9)
    assert found.p_value == pytest.approx(p_value, rel=1e-9, abs=1e-9)
    assert found.degrees_of_freedom == kinds - 1


def test_a_group_that_nobody_saw_at_an_event_is_not_compared():
    event, time = np.array([False, False, True, True, True, True]), np.array([1, 1, 2, 3, 4, 5])
    both = log_rank(event[2:], time[2:], ["b", "b", "c", "c"])
    assert log_rank(event, time, ["a", "a", "b", "b", "c", "c"]) == both
    assert both.degrees_of_freedom == 1


@pytest.mark.parametrize(
    ("event", "time", "groups"),
    [
        ([True, True, True], [1, 2, 3], ["a", "a", "a"]),
        ([False, False], [1, 2], ["a", "b"]),
        ([True, True], [1, 1], ["a", "b"]),
        ([False, True], [1, 2], ["a", "b"]),
    ],
)
def test_nothing_to_compare_is_no_number(event, time, groups):
    found = log_rank(event, time, groups)
    assert np.isnan(found.statistic)
    assert np.isnan(found.p_value)
