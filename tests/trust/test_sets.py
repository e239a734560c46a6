"""Conformal sets: what a plain reading of CV+ gives, and how often they hold the truth."""

from fractions import Fraction
from math import ceil, inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bagwise.errors import BagwiseError
from bagwise.trust.sets import (
    Scored,
    class_sets,
    fewest_groups,
    group_weights,
    intervals,
    label_sets,
    set_facts,
    too_few,
)

FOLDS, CLASSES = 3, 3
COVERAGES = {0.5: Fraction(1, 2), 0.8: Fraction(4, 5), 0.9: Fraction(9, 10)}


@st.composite
def held_out(draw):
    """Labels, folds, groups that lie within a fold, and answers that are eighths, so that many are equal."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, new = draw(st.integers(1, 40)), draw(st.integers(1, 4))
    groups = rng.integers(0, draw(st.integers(1, 20)), n) if draw(st.booleans()) else None
    fold = rng.integers(0, FOLDS, n) if groups is None else groups % FOLDS
    eighths = [rng.integers(0, 9, shape) / 8 for shape in ((n, CLASSES), (FOLDS, new, CLASSES))]
    return rng.integers(0, CLASSES, n), fold, groups, *eighths, draw(st.sampled_from(sorted(COVERAGES)))


def weight(bag, bags, groups):
    """What a bag counts among bags of its class, as a fraction."""
    return Fraction(1) if groups is None else Fraction(1, sum(groups[other] == groups[bag] for other in bags))


def left_out(coverage, count):
    """How many of so many bags, and of the new one, may fit worse: the nearest whole number, if one at all may."""
    many = (1 - COVERAGES[coverage]) * (count + 1)
    return 0 if many < 1 else int(many + Fraction(1, 2))


@given(held_out())
def test_sets_are_what_a_plain_reading_of_cross_conformal_prediction_gives(case):
    labels, fold, groups, answers, asked, coverage = case
    sets = class_sets(Scored(labels, answers, fold, groups), asked, coverage)
    for new in range(asked.shape[1]):
        for name in range(CLASSES):
            bags = [bag for bag in range(len(labels)) if labels[bag] == name]
            count = len(bags) if groups is None else len({groups[bag] for bag in bags})
            fits_better = sum(
                weight(bag, bags, groups) for bag in bags if 1 - answers[bag, name] < 1 - asked[fold[bag], new, name]
            )
            assert sets[new, name] == (fits_better < count + 1 - left_out(coverage, count))


@given(held_out())
def test_intervals_are_what_a_plain_reading_gives(case):
    _, fold, groups, answers, asked, coverage = case
    labels, said, asked = answers[:, 0], answers[:, 1], asked[:, :, 0]
    low, high = intervals(Scored(labels, said, fold, groups), asked, coverage)
    bags = range(len(labels))
    count = len(labels) if groups is None else len(set(groups.tolist()))
    for new in range(asked.shape[1]):
        ends = []
        for sign in (-1, 1):
            reached, end = Fraction(0), inf
            off = {bag: sign * asked[fold[bag], new] + abs(labels[bag] - said[bag]) for bag in bags}
            for bag in sorted(bags, key=off.__getitem__):
                reached += weight(bag, bags, groups)
                if reached >= count + 1 - left_out(coverage, count):
                    end = off[bag]
                    break
            ends.append(sign * end)
        assert [low[new], high[new]] == ends


def test_where_nothing_is_rounded_an_interval_ends_at_the_rank_that_textbooks_name():
    rng = np.random.default_rng(0)
    labels, said, fold, asked = rng.normal(size=39), rng.normal(size=39), np.arange(39) % 5, rng.normal(size=(5, 3))
    low, high = intervals(Scored(labels, said, fold), asked, 0.8)
    off = np.abs(labels - said)
    assert np.array_equal(high, np.sort(asked[fold] + off[:, None], axis=0)[ceil(0.8 * 40) - 1])
    assert np.array_equal(low, np.sort(asked[fold] - off[:, None], axis=0)[int(0.2 * 40) - 1])


@given(held_out(), st.randoms())
def test_neither_the_order_of_bags_nor_the_names_of_groups_matter(case, chance):
    labels, fold, groups, answers, asked, coverage = case
    order = list(range(len(labels)))
    chance.shuffle(order)
    others = None if groups is None else np.array([f"patient {9 - group}" for group in groups])[order]
    found = class_sets(Scored(labels[order], answers[order], fold[order], others), asked, coverage)
    assert np.array_equal(found, class_sets(Scored(labels, answers, fold, groups), asked, coverage))


@given(held_out())
def test_more_coverage_never_takes_a_class_out_and_groups_of_one_bag_are_no_groups(case):
    labels, fold, _, answers, asked, _ = case
    sets = [class_sets(Scored(labels, answers, fold), asked, coverage) for coverage in (0.5, 0.8, 0.9)]
    assert np.array_equal(sets[0], class_sets(Scored(labels, answers, fold, np.arange(len(labels))), asked, 0.5))
    assert (sets[0] <= sets[1]).all()
    assert (sets[1] <= sets[2]).all()


def test_each_of_several_labels_is_a_pair_of_classes_among_the_bags_where_it_is_known():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, (60, 2)).astype(float)
    labels[rng.random(60) < 0.3, 1] = np.nan
    answers, asked = rng.random((60, 2)), rng.random((4, 7, 2))
    fold, groups = np.repeat(np.arange(4), 15), np.repeat(np.arange(30), 2)
    found = label_sets(Scored(labels, answers, fold, groups), asked, 0.8)
    known = np.isfinite(labels[:, 1])
    pair = [np.stack([1 - one, one], axis=-1) for one in (answers[known, 1], asked[:, :, 1])]
    alone = class_sets(Scored(labels[known, 1].astype(int), pair[0], fold[known], groups[known]), pair[1], 0.8)
    assert np.array_equal(found[:, 1], alone)


@pytest.mark.parametrize(("coverage", "fewest"), [(0.9, 9), (0.95, 19), (0.8, 4), (0.5, 1), (0.99, 99)])
def test_a_class_of_too_few_bags_is_in_every_set_and_one_more_bag_lets_it_out(coverage, fewest):
    assert fewest_groups(coverage) == fewest
    for count, inside in ((fewest - 1, True), (fewest, False)):
        fold, sure = np.zeros(count, int), np.array([[0.5, 0.5]])
        scored = Scored(np.zeros(count, int), np.repeat(sure, count, axis=0), fold)
        sets = class_sets(scored, sure[None] * [[[0.9, 1]]], coverage)
        assert sets.tolist() == [[inside, True]]  # there is no bag of the other class
        assert (too_few(scored, ["ill"], coverage) is not None) is inside
        low, high = intervals(Scored(np.zeros(count), np.zeros(count), fold), np.ones((1, 1)), coverage)
        assert np.isinf([low[0], high[0]]).all() == inside


def test_too_few_counts_groups_of_a_class_and_says_so():
    labels, groups = np.repeat([0, 1], 40), np.concatenate([np.arange(40), np.repeat([7, 8], 20)])
    scored = Scored(labels, np.zeros((80, 2)), np.zeros(80, int))
    assert too_few(scored, ["no", "yes"], 0.9) is None
    told = too_few(scored._replace(groups=groups), ["no", "yes"], 0.9)
    assert "with 2 groups with bags of class yes, fewer than the 9" in told


@pytest.mark.parametrize("coverage", [0, 1, 1.5, -0.1, float("nan"), "0.9", None])
def test_a_coverage_that_is_none_is_refused(coverage):
    with pytest.raises(BagwiseError, match=r"the coverage is .*: it must be between 0 and 1"):
        class_sets(Scored(np.zeros(1, int), np.ones((1, 1)), np.zeros(1, int)), np.ones((1, 1, 1)), coverage)


def test_facts_of_sets_count_empty_ones_and_classes_apart():
    sets = np.array([[1, 0], [1, 1], [0, 0], [0, 1]], bool)
    facts = set_facts(sets, np.array([0, 0, 0, 0]))
    assert facts[:1] + facts[2:] == (0.5, 1.0, 0.25, 0.5)
    assert facts.by_class[0] == 0.5
    assert np.isnan(facts.by_class[1])


def sets_of(X, y, parts, new, groups):
    """Give the sets of new bags by fold models: logistic in the direction from one class mean to the other."""
    own, asked = np.empty((len(X), 2)), np.empty((parts.max() + 1, len(new), 2))
    for part in range(parts.max() + 1):
        train = parts != part
        means = np.stack([X[train & (y == label)].mean(axis=0) for label in (0, 1)])

        def probabilities(values, means=means):
            p = 1 / (1 + np.exp(-((values - means.mean(axis=0)) @ (means[1] - means[0]))))
            return np.stack([1 - p, p], axis=-1)

        own[~train], asked[part] = probabilities(X[~train]), probabilities(new)
    return class_sets(Scored(y, own, parts, groups), asked, 0.9)


def test_bags_like_those_learnt_from_are_covered_as_often_as_was_asked_in_each_class():
    """A fifth of the bags is of class 1, and each of 120 draws trains its fold models anew."""
    rng, covered = np.random.default_rng(2), []
    for _ in range(120):
        y = (rng.random(300) < 0.2).astype(int)
        X = rng.normal(size=(300, 5)) + 0.6 * y[:, None]
        sets = sets_of(X[:100], y[:100], np.arange(100) % 5, X[100:], None)
        covered.append(set_facts(sets, y[100:]).by_class)
    assert np.mean(covered, axis=0) == pytest.approx([0.9, 0.92], abs=0.025)  # 20 bags of a class: 0.9 is not to be had


def grouped_coverage(rng, aware):
    """60 groups of 4 bags, a group effect of 0.7 of the variance, and bags of groups that are new."""
    share, groups = 0.7, np.repeat(np.arange(260), 4)
    y = (rng.random(260) < 0.5).astype(int)[groups]
    effect = rng.normal(size=(260, 30))[groups] * share**0.5
    X = 0.25 * y[:, None] + effect + rng.normal(size=(1040, 30)) * (1 - share) ** 0.5
    parts = groups[:240] % 5 if aware else rng.permutation(240) % 5
    return set_facts(sets_of(X[:240], y[:240], parts, X[240:], groups[:240] if aware else None), y[240:]).coverage


def test_bags_of_new_groups_are_covered_where_a_division_by_bags_covers_too_few():
    rng = np.random.default_rng(3)
    aware, naive = (np.mean([grouped_coverage(rng, one) for _ in range(60)]) for one in (True, False))
    assert 0.89 < aware < 0.94
    assert naive < 0.87


def test_intervals_hold_the_truth_as_often_as_was_asked():
    rng, inside = np.random.default_rng(4), []
    for _ in range(60):
        X = rng.normal(size=(260, 3))
        y, parts = X.sum(axis=1) + rng.normal(size=260), np.arange(60) % 5
        lines = [np.linalg.lstsq(X[:60][parts != part], y[:60][parts != part], rcond=None)[0] for part in range(5)]
        said = np.stack([X @ line for line in lines])
        low, high = intervals(Scored(y[:60], said[parts, np.arange(60)], parts), said[:, 60:], 0.9)
        inside.append(((low <= y[60:]) & (y[60:] <= high)).mean())
    assert 0.89 < np.mean(inside) < 0.94


def test_weights_of_groups_sum_to_the_number_of_groups():
    assert group_weights(np.array([3, 3, 1, 2, 3]), 5).tolist() == [1 / 3, 1 / 3, 1, 1, 1 / 3]
