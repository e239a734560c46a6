import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from bagwise import BagwiseError
from bagwise.evaluation.significance import corrected_t_test

FRACTIONS = st.integers(0, 1000).map(lambda value: value / 1000)


def slow_test(first, second, test_share):
    """The formula of Nadeau and Bengio, in exact fractions up to the root."""
    pairs = [
        (Fraction(a), Fraction(b))
        for a, b in zip(np.ravel(first).tolist(), np.ravel(second).tolist(), strict=True)
        if not (math.isnan(a) or math.isnan(b))
    ]
    n = len(pairs)
    mean = sum(a - b for a, b in pairs) / n
    variance = sum((a - b - mean) ** 2 for a, b in pairs) / (n - 1)
    share = Fraction(test_share)
    t = float(mean) / math.sqrt(variance * (Fraction(1, n) + share / (1 - share)))
    return float(mean), t, 2 * stats.t.cdf(-abs(t), n - 1), n - 1


# ---- values -----------------------------------------------------------------------------------------------


def test_three_folds_by_hand():
    # differences 0.1, 0, 0.1: mean 1/15, variance 1/300, factor 1/3 + 1/2, so t = sqrt(1.6); with two degrees of
    # freedom p = 1 - t / sqrt(2 + t^2) = 1/3
    found = corrected_t_test([0.9, 0.8, 0.7], [0.8, 0.8, 0.6], test_share=1 / 3)
    assert found == pytest.approx((1 / 15, math.sqrt(1.6), 1 / 3, 2), rel=1e-12)


def test_two_folds_by_hand():
    # differences 1 and 0: mean 1/2, variance 1/2, factor 1/2 + 1, so t = 1/sqrt(3); with one degree of freedom
    # p = 1 - 2 / pi * atan(t) = 2/3
    assert corrected_t_test([1, 1], [0, 1], test_share=0.5) == pytest.approx((0.5, 1 / math.sqrt(3), 2 / 3, 1))


def test_with_next_to_nothing_tested_it_is_the_paired_t_test():
    rng = np.random.default_rng(0)
    first, second = rng.random((2, 10))
    found, plain = corrected_t_test(first, second, test_share=1e-15), stats.ttest_rel(first, second)
    assert (found.statistic, found.p_value) == pytest.approx((plain.statistic, plain.pvalue), rel=1e-9)


@settings(max_examples=50)
@given(
    st.lists(st.tuples(FRACTIONS | st.just(math.nan), FRACTIONS | st.just(math.nan)), min_size=2, max_size=30),
    st.floats(0.01, 0.99),
)
def test_it_is_the_formula(pairs, test_share):
    first, second = np.array(pairs).T
    known = ~np.isnan(first + second)
    assume(known.sum() >= 2)
    assume(np.ptp((first - second)[known]) > 1e-9)
    found = corrected_t_test(first, second, test_share=test_share)
    assert found == pytest.approx(slow_test(first, second, test_share), rel=1e-9, abs=1e-12)


@given(st.lists(st.tuples(FRACTIONS, FRACTIONS), min_size=2, max_size=20))
def test_to_swap_the_methods_turns_the_sign_only(pairs):
    first, second = np.array(pairs).T
    one = corrected_t_test(first, second, test_share=0.1)
    other = corrected_t_test(second, first, test_share=0.1)
    assert (one.difference, one.statistic) == (-other.difference, -other.statistic)
    assert one.p_value == other.p_value
    assert 0 <= one.p_value <= 1


def test_repetitions_and_folds_may_be_a_table_or_a_row():
    rng = np.random.default_rng(1)
    first, second = rng.random((2, 5, 10))
    found = corrected_t_test(first, second, test_share=0.1)
    assert found == corrected_t_test(first.ravel().tolist(), second.ravel().tolist(), test_share=0.1)
    assert found.degrees_of_freedom == 49


def test_a_fold_without_a_score_is_left_out_for_both_and_counted_out():
    first, second = [0.9, np.nan, 0.7, 0.8, 0.5], [0.8, 0.9, 0.7, np.nan, 0.6]
    found = corrected_t_test(first, second, test_share=0.2)
    assert found == corrected_t_test([0.9, 0.7, 0.5], [0.8, 0.7, 0.6], test_share=0.2)
    assert found.degrees_of_freedom == 2


def test_more_repetitions_of_the_same_differences_never_make_it_sure():
    first, second = np.tile([0.8, 0.7], 500), np.tile([0.7, 0.7], 500)
    assert stats.ttest_rel(first, second).pvalue < 1e-100
    # the correction keeps the variance above test_share / (1 - test_share) of one fold's: t < 0.05 / (0.05 / 3)
    assert corrected_t_test(first, second, test_share=0.1).p_value > stats.t.sf(3, 999) * 2


# ---- no spread --------------------------------------------------------------------------------------------


def test_equal_scores_do_not_differ():
    assert corrected_t_test([0.9, 0.8], [0.9, 0.8], test_share=0.5) == (0, 0, 1, 1)


def test_scores_that_are_equal_up_to_rounding_do_not_differ():
    assert corrected_t_test([0.1 + 0.2, 0.6], [0.3, 0.1 * 6], test_share=0.5) == (0, 0, 1, 1)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_same_difference_in_every_fold_is_the_limit_of_the_test(sign):
    first, second = np.array([0.9, 0.8, 0.7]), np.array([0.8, 0.7, 0.6])
    assert len(set(first - second)) > 1, "rounding makes these differ"
    found = corrected_t_test(sign * first, sign * second, test_share=0.5)
    assert found == (pytest.approx(sign * 0.1), sign * math.inf, 0, 2)


@given(st.lists(FRACTIONS, min_size=2, max_size=20), FRACTIONS)
def test_a_shift_of_all_scores_is_no_spread(scores, shift):
    found = corrected_t_test(np.array(scores) + shift, scores, test_share=0.1)
    assert found.p_value == (0 if shift else 1)
    assert found.difference == pytest.approx(shift, rel=1e-9)


# ---- rates ------------------------------------------------------------------------------------------------


def rejection_rates(*, experiments=400, examples=60, repeats=10, folds=5, seed=0):
    """How often two classifiers that are equally good by design are told apart, naively and corrected.

    Each of the two looks at one of two features that say equally much, and puts its threshold between the means of
    the classes of its training examples.
    """
    rng = np.random.default_rng(seed)
    naive = corrected = 0
    for _ in range(experiments):
        labels = np.arange(examples) % 2
        features = rng.normal(size=(2, examples)) + labels
        parts = rng.permuted(np.tile(np.arange(examples) % folds, (repeats, 1)), axis=1)
        test = (parts[:, None] == np.arange(folds)[:, None]).reshape(-1, examples)
        means = [[(~test & (labels == c)) @ x / (~test & (labels == c)).sum(axis=1) for c in (0, 1)] for x in features]
        scores = []
        for x, (low, high) in zip(features, means, strict=True):
            right = ((x > ((low + high) / 2)[:, None]) == (high > low)[:, None]) == labels
            scores.append((right & test).sum(axis=1) / test.sum(axis=1))
        naive += stats.ttest_rel(*scores).pvalue < 0.05
        corrected += corrected_t_test(*scores, test_share=1 / folds).p_value < 0.05
    return naive / experiments, corrected / experiments


def test_between_equals_it_finds_a_difference_about_as_often_as_it_says():
    naive, corrected = rejection_rates()
    assert naive > 0.3
    assert 0.01 < corrected < 0.1


# ---- refusals ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5, math.nan, math.inf, "0.1", None, 0.1j, True])
def test_a_share_out_of_its_range_is_refused(share):
    with pytest.raises(BagwiseError, match=r"^test_share is .*above 0 and below 1"):
        corrected_t_test([1, 2], [2, 4], test_share=share)


@pytest.mark.parametrize(
    ("first", "second", "sentence"),
    [
        ([1, 2, 3], [1, 2], r"the first scores have shape \(3,\), the second \(2,\)"),
        ([[1, 2]], [1, 2], r"the first scores have shape \(1, 2\), the second \(2,\)"),
        (0.5, 0.5, r"the first scores have shape \(\)"),
        ([1, 2], [[[1, 2]]], r"the second scores have shape \(1, 1, 2\)"),
        ([[1, 2], [3]], [1, 2], "the first scores are ragged"),
        (["0.1", "0.2"], [1, 2], "the first scores hold <U3 values"),
        ([1, 2], [None, 0.5], "the second scores hold object values"),
        ([1j, 2], [1, 2], "the first scores hold complex128 values"),
        ([1, np.inf], [1, 2], "the first scores have an infinity in fold 1:"),
        ([[1, 2], [3, 4]], [[1, 2], [-np.inf, 4]], "the second scores have an infinity in repetition 1, fold 0:"),
        ([1], [2], "1 of 1 folds have both"),
        ([], [], "0 of 0 folds have both"),
        ([1, np.nan, 3], [np.nan, 2, 3], "1 of 3 folds have both"),
    ],
)
def test_scores_that_will_not_do_are_refused_with_their_place(first, second, sentence):
    with pytest.raises(BagwiseError, match=sentence):
        corrected_t_test(first, second, test_share=0.1)
