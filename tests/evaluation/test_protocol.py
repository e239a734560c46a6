import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bagwise import Bags, BagwiseError
from bagwise.evaluation.protocol import Folds


def bags_with(labels, groups=None):
    return Bags(np.zeros((len(labels), 1)), np.arange(len(labels) + 1), np.asarray(labels), groups=groups)


@st.composite
def divisions(draw, grouped=False):
    folds = draw(st.integers(2, 5))
    counts = draw(st.lists(st.integers(folds, folds + 8), min_size=2, max_size=4))
    labels = np.repeat(np.array(["c", "a", "d", "b"])[: len(counts)], counts)
    order = draw(st.randoms(use_true_random=False)).sample(range(len(labels)), len(labels))
    groups = None
    if grouped:
        number = draw(st.integers(folds, len(labels)))
        free = draw(st.lists(st.integers(0, number - 1), min_size=len(labels), max_size=len(labels)))
        groups = np.array([*range(number), *free[number:]])
    repeats = draw(st.integers(1, 3))
    return Folds(bags_with(labels[order], groups), folds, repeats, draw(st.integers(0, 1000))), labels[order], groups


# ---- what every division is -------------------------------------------------------------------------------


@settings(max_examples=40)
@given(st.booleans().flatmap(lambda grouped: divisions(grouped=grouped)))
def test_each_bag_is_tested_exactly_once_in_each_repetition(division):
    folds, labels, groups = division
    assert folds.assignment.shape == (folds.repeats, len(labels))
    assert folds.name == ("default" if groups is None else "grouped")
    for repeat in range(folds.repeats):
        tested = np.concatenate([folds.test_bags(repeat, fold) for fold in range(folds.folds)])
        np.testing.assert_array_equal(np.sort(tested), np.arange(len(labels)))
        assert all(len(folds.test_bags(repeat, fold)) for fold in range(folds.folds))


@settings(max_examples=40)
@given(st.booleans().flatmap(lambda grouped: divisions(grouped=grouped)))
def test_training_bags_are_all_others_and_both_rise(division):
    folds, labels, _ = division
    for repeat in range(folds.repeats):
        for fold in range(folds.folds):
            train, test = folds.training_bags(repeat, fold), folds.test_bags(repeat, fold)
            assert sorted([*train, *test]) == list(range(len(labels)))
            assert (np.diff(train) > 0).all()
            assert (np.diff(test) > 0).all()


@settings(max_examples=40)
@given(divisions())
def test_each_class_is_spread_evenly_over_the_folds(division):
    folds, labels, _ = division
    for assignment in folds.assignment:
        for name in np.unique(labels):
            counts = np.bincount(assignment[labels == name], minlength=folds.folds)
            assert counts.max() - counts.min() <= 1


@settings(max_examples=40)
@given(divisions(grouped=True))
def test_no_group_is_on_both_sides(division):
    folds, _, groups = division
    for repeat in range(folds.repeats):
        for fold in range(folds.folds):
            train, test = folds.training_bags(repeat, fold), folds.test_bags(repeat, fold)
            assert not set(groups[train]) & set(groups[test])


@settings(max_examples=40)
@given(st.integers(0, 1000))
def test_groups_that_hold_both_classes_alike_are_spread_evenly(seed):
    folds = Folds(bags_with([0, 1] * 20, groups=np.repeat(np.arange(10), 4)), folds=5, repeats=2, seed=seed)
    for assignment in folds.assignment:
        assert np.bincount(assignment).tolist() == [8] * 5


@settings(max_examples=40)
@given(st.integers(0, 1000), st.booleans())
def test_repetitions_differ_and_the_same_seed_gives_the_same_folds(seed, grouped):
    bags = bags_with([0, 1] * 20, groups=np.repeat(np.arange(20), 2) if grouped else None)
    one, again, other = (Folds(bags, 4, 3, s).assignment for s in (seed, seed, seed + 1000))
    np.testing.assert_array_equal(one, again)
    assert all((one[a] != one[b]).any() for a, b in ((0, 1), (0, 2), (1, 2)))
    assert (one != other).any()


def test_the_global_random_state_is_neither_read_nor_changed():
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    one = Folds(bags_with([0, 1] * 6), 3).assignment
    np.testing.assert_array_equal(np.random.get_state()[1], before)
    np.random.seed(1)
    np.testing.assert_array_equal(Folds(bags_with([0, 1] * 6), 3).assignment, one)


@pytest.mark.parametrize(
    "labels",
    [[True, False], [3, -7], ["x", "a"], np.array(["b", "a"], dtype=np.dtypes.StringDType())],
    ids=["bool", "int", "str", "StringDType"],
)
def test_labels_of_every_kind_are_divided(labels):
    kinds = np.asarray(labels)
    folds = Folds(bags_with(kinds[np.arange(12) % 2]), 3)
    assert np.bincount(folds.assignment[0]).tolist() == [4, 4, 4]


def test_groups_of_strings_are_divided():
    groups = np.array(["ann", "bob", "cid", "dee"])[np.arange(12) // 3]
    folds = Folds(bags_with([0, 1] * 6, groups), 2)
    assert all(len(set(folds.assignment[0, groups == name])) == 1 for name in groups)


def test_as_many_folds_as_bags_of_the_rarest_class_will_do_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        folds = Folds(bags_with([0, 0, 0, 1, 1, 1, 1]), folds=3)
    for fold in range(3):
        assert (folds.test_bags(0, fold) < 3).sum() == 1


def test_numbers_of_numpy_will_do():
    bags = bags_with([0, 1] * 4)
    one = Folds(bags, np.int64(2), np.int64(2), np.int64(5))
    np.testing.assert_array_equal(one.assignment, Folds(bags, 2, 2, 5).assignment)


# ---- what is refused --------------------------------------------------------------------------------------


def test_bags_without_labels_are_refused():
    with pytest.raises(BagwiseError, match="the bags have no labels to learn from: give y, or bags with labels"):
        Folds(bags_with([0, 1] * 3).with_labels(None), 2)


@pytest.mark.parametrize(("folds", "repeats"), [(1, 1), (0, 1), (-3, 1), (2, 0), (2, -1)])
def test_too_few_folds_or_repetitions_are_refused(folds, repeats):
    with pytest.raises(BagwiseError, match=f"{repeats} x {folds} folds is too few: at least 1 x 2 are needed"):
        Folds(bags_with([0, 1] * 3), folds, repeats)


def test_one_class_is_refused():
    with pytest.raises(BagwiseError, match="all bags have the label benign: there must be two classes or more"):
        Folds(bags_with(["benign"] * 6), 2)


def test_a_class_rarer_than_the_folds_is_refused_and_the_sentence_says_what_would_do():
    sentence = "there are 3 bags of class sick, fewer than the 4 folds: use at most 3 folds"
    with pytest.raises(BagwiseError, match=sentence):
        Folds(bags_with(["sick"] * 3 + ["well"] * 9), 4)
    Folds(bags_with(["sick"] * 3 + ["well"] * 9), 3)


def test_a_class_of_one_bag_is_not_told_to_use_one_fold():
    with pytest.raises(BagwiseError) as error:
        Folds(bags_with(["sick"] + ["well"] * 9), 2)
    assert "1 folds" not in str(error.value)
    assert "are 1 bags" not in str(error.value)


def test_fewer_groups_than_folds_are_refused():
    with pytest.raises(BagwiseError, match="there are 3 groups, fewer than the 4 folds: use at most 3 folds"):
        Folds(bags_with([0, 1] * 6, groups=np.arange(12) % 3), 4)


@pytest.mark.parametrize(
    "wrong",
    [{"folds": 2.5}, {"folds": "3"}, {"folds": None}, {"repeats": 1.5}, {"seed": -1}, {"seed": 2**32}, {"seed": "a"}],
    ids=str,
)
def test_a_parameter_that_will_not_do_is_refused_in_a_sentence(wrong):
    with pytest.raises(BagwiseError):
        Folds(bags_with([0, 1] * 6), **{"folds": 2, **wrong})
