import warnings

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.model_selection import (
    GroupKFold,
    LeaveOneGroupOut,
    PredefinedSplit,
    RepeatedStratifiedKFold,
    ShuffleSplit,
    StratifiedKFold,
    TimeSeriesSplit,
)

import bagwise as bw
from bagwise import Bags, BagwiseError, BagwiseWarning
from bagwise.evaluation.divisions import (
    connected_groups,
    divide,
    expanding_windows,
    leave_one_group_out,
    predefined,
)
from bagwise.evaluation.metrics import CLASS_METRICS, bag_metrics
from bagwise.evaluation.protocol import Folds
from bagwise.methods.base import BagEstimator

COUNT = 16


def bags_with(labels=None, groups=None, count=COUNT):
    labels = np.arange(count) % 2 if labels is None else labels
    return Bags(np.zeros((len(labels), 1)), np.arange(len(labels) + 1), np.asarray(labels), groups=groups)


def learnable(count=COUNT, seed=0, groups=None):
    rng = np.random.default_rng(seed)
    arrays = [rng.normal(size=(size, 3)).astype(np.float32) + bag % 2 for bag, size in enumerate([1, 2, 3, 4] * 9)]
    return Bags.from_arrays(arrays[:count], labels=np.arange(count) % 2, groups=groups)


class Spy(BagEstimator):
    """Answers with a number that tells what it learnt from."""

    random_state = 0

    def fit(self, X, y=None, sample_weight=None):  # noqa: ARG002
        self._remember(X, self._target_of(X, np.arange(len(X))))
        self.told_ = told(X.names)
        return self

    def predict_proba(self, X):
        return np.tile([1 - self.told_, self.told_], (len(X), 1))


def told(names):
    return hash(tuple(names)) % 2**20 / 2**20


@st.composite
def given_splits(draw, validation=False):
    """Draw lists of splits of 16 bags of two classes, in which tests overlap and bags are left out."""
    splits = []
    for _ in range(draw(st.integers(1, 5))):
        order = draw(st.randoms(use_true_random=False)).sample(range(4, COUNT), COUNT - 4)
        first = draw(st.integers(0, 6))
        second = draw(st.integers(first, 7)) if validation else first
        last = draw(st.integers(second + 1, len(order)))
        train = [0, 1, *order[:first]]  # of both classes
        parts = (train, [2, 3, *order[first:second]], order[second:last]) if validation else (train, order[first:last])
        splits.append(parts)
    return splits


# ---- what was learnt from whom ------------------------------------------------------------------------------


@settings(max_examples=60)
@given(st.booleans().flatmap(lambda validation: given_splits(validation=validation)))
def test_every_answer_is_of_the_model_of_its_split_and_what_none_tests_is_nan(splits):
    bags = bags_with()
    found = bw.cross_validate(Spy(), bags, folds=splits, n_jobs=1)
    assert_array_equal(np.isnan(found.probabilities[..., 1]), found.assignment < 0)
    expected = [(told(bags.names[np.sort(split[0])]), bag) for split in splits for bag in split[-1]]
    answered = [(found.probabilities[repeat, bag, 1], bag) for repeat, bag in np.argwhere(found.assignment >= 0)]
    assert sorted(answered) == sorted(expected)
    tested = {bag for split in splits for bag in split[-1]}
    assert set(found.untested) == set(range(COUNT)) - tested
    assert all(
        (predicted is None) == (fold < 0)
        for predicted, fold in zip(found.predicted.flat, found.assignment.flat, strict=True)
    )
    row = found.rows()[0]
    assert row.get("folds_in_all", row["folds"] * row["repeats"]) == len(splits)
    assert row["folds_defined"] == len(splits)


@settings(max_examples=8)
@example([([0, 1, 5, 9, 7], [4])])
@given(given_splits())
def test_a_joint_cross_validation_of_any_list_ends_with_the_bits_of_separate_fits(splits):
    # Splits drawn here may make a class rare, which then would be decided by a threshold of the split's own.
    bags, model = learnable(), bw.make("attention", epochs=2, threshold=0.5, random_state=0)
    found = bw.cross_validate(model, bags, folds=splits, n_jobs=1)
    for split in divide(bags, splits).splits:
        fitted = clone(model).fit(bags[split.train])
        answers = fitted.predict_proba(bags[split.test])
        assert_array_equal(found.probabilities[split.repeat, split.test], answers)
        assert_array_equal(found.attention[split.repeat, bags.rows(split.test)], fitted.attention(bags[split.test]))
        for metric, value in bag_metrics(bags.labels[split.test], answers, fitted.classes_).items():
            assert_array_equal(found.scores[metric][split.repeat, split.fold], value)
    outside = np.repeat(found.assignment < 0, bags.sizes, axis=1)
    assert_array_equal(np.isnan(found.attention), outside)


@settings(max_examples=5)
@given(given_splits(validation=True))
def test_validation_bags_of_a_split_stop_as_those_given_to_fit(splits):
    bags, model = learnable(), bw.make("attention", epochs=5, patience=1, random_state=0)
    found = bw.cross_validate(model, bags, folds=splits, n_jobs=1)
    for split in divide(bags, splits).splits:
        fitted = clone(model).fit(bags[split.train], validation=bags[split.validation])
        assert_array_equal(found.probabilities[split.repeat, split.test], fitted.predict_proba(bags[split.test]))


def test_a_method_without_patience_leaves_validation_bags_out():
    bags, model = learnable(), bw.make("attention", epochs=2, random_state=0)
    splits = [([0, 1, 2, 3], [4, 5], [6, 7, 8])]
    with_, without = (bw.cross_validate(model, bags, folds=f, n_jobs=1) for f in (splits, [splits[0][::2]]))
    assert_array_equal(with_.probabilities, without.probabilities)


# ---- one division, whatever it is given as --------------------------------------------------------------------


SPLITTERS = {
    "StratifiedKFold": StratifiedKFold(3),
    "repeated": RepeatedStratifiedKFold(n_splits=3, n_repeats=2, random_state=1),
    "ShuffleSplit": ShuffleSplit(5, test_size=0.3, random_state=1),
    "GroupKFold": GroupKFold(3),
    "LeaveOneGroupOut": LeaveOneGroupOut(),
    "TimeSeriesSplit": TimeSeriesSplit(3),
    "PredefinedSplit": PredefinedSplit([-1, -1, 0, 1] * 4),
}


def same(one, other):
    return len(one.splits) == len(other.splits) and all(
        a[:2] == b[:2] and all(np.array_equal(x, y) for x, y in zip(a[2:], b[2:], strict=True))
        for a, b in zip(one.splits, other.splits, strict=True)
    )


@pytest.mark.parametrize("name", SPLITTERS)
def test_a_splitter_is_its_own_list(name):
    bags = bags_with(groups=np.arange(COUNT) // 3)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "group . is on both sides", BagwiseWarning)
        given = divide(bags, SPLITTERS[name])
        grouped = {"groups": bags.groups} if "Group" in name else {}
        pairs = list(SPLITTERS[name].split(np.zeros(COUNT), bags.labels, **grouped))
        assert same(given, divide(bags, pairs))
    assert given.name == type(SPLITTERS[name]).__name__
    assert sorted((tuple(np.sort(train)), tuple(np.sort(test))) for train, test in pairs) == sorted(
        (tuple(split.train), tuple(split.test)) for split in given.splits
    )


def test_repetitions_of_a_splitter_are_repetitions_and_overlapping_tests_are_repetitions_of_one_fold():
    bags = bags_with()
    assert divide(bags, SPLITTERS["repeated"]).assignment.shape == (2, COUNT)
    assert (divide(bags, SPLITTERS["repeated"]).assignment >= 0).all()
    drawn = divide(bags, SPLITTERS["ShuffleSplit"])
    assert (drawn.repeats, drawn.folds) == (5, 1)
    mixed = divide(bags, [([0, 1], [2]), ([0, 1], [3]), ([0, 1], [2, 3])])  # the first two happen not to overlap
    assert (mixed.repeats, mixed.folds) == (3, 1)


@settings(max_examples=40)
@given(st.lists(st.lists(st.sampled_from([-1, 0, 1, 2, 7]), min_size=COUNT, max_size=COUNT), min_size=1, max_size=3))
def test_an_assignment_is_that_of_its_splits(rows):
    bags, assignment = bags_with(), np.array(rows)
    assignment[:, 0] = 0  # each repetition tests a bag
    assignment[:, 1] = 1
    found = divide(bags, assignment)
    for repeat, row in enumerate(assignment):
        for fold, number in enumerate(np.unique(row[row >= 0])):
            assert_array_equal(found.test_bags(repeat, fold), np.flatnonzero(row == number))
            assert_array_equal(found.training_bags(repeat, fold), np.flatnonzero(row != number))
    assert found.is_complementary
    assert same(found, divide(bags, found.assignment))
    by_name = {name: int(number) for name, number in zip(bags.names, assignment[0], strict=True)}
    assert same(divide(bags, by_name), divide(bags, assignment[0]))


def test_masks_are_positions_and_the_order_of_positions_does_not_count():
    bags, mask = bags_with(), np.arange(COUNT) < 5
    assert same(divide(bags, [(mask, ~mask)]), divide(bags, [(np.arange(5)[::-1], np.arange(5, COUNT)[::-1])]))


def test_folds_and_group_are_names_for_what_they_say():
    bags = bags_with(groups=np.array(["c", "a", "d", "b"] * 4))
    assert same(divide(bags, 3, 2, 5), Folds(bags, 3, 2, 5))
    left_out = divide(bags, "group")
    assert same(left_out, leave_one_group_out(bags))
    expected = list(LeaveOneGroupOut().split(bags.labels, bags.labels, bags.groups))
    assert [(split.train.tolist(), split.test.tolist()) for split in left_out.splits] == [
        (train.tolist(), test.tolist()) for train, test in expected
    ]
    assert divide(bags, left_out) is left_out


def test_a_split_that_is_kept_in_a_column():
    (split,) = predefined(bags_with(count=6), ["train", "test", "val", None, "train", "test"]).splits
    assert [np.asarray(part).tolist() for part in split] == [0, 0, [0, 4], [1, 5], [2]]


# ---- tests after training -------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(st.lists(st.integers(0, 12), min_size=COUNT, max_size=COUNT), st.integers(1, 6), st.booleans())
def test_windows_grow_and_every_test_lies_after_what_was_learnt(times, folds, grouped):
    times[0] = -1
    bags = bags_with(groups=np.array([9, *(np.arange(1, COUNT) % 5)]) if grouped else None)
    if len(set(times)) <= folds:
        with pytest.raises(BagwiseError, match=f"{len(set(times))} different times, too few for {folds} folds"):
            expanding_windows(bags, times, folds)
        return
    times = np.array(times)
    division = expanding_windows(bags, times, folds)
    assert division.folds == folds
    for split, later in zip(division.splits, [*division.splits[1:], None], strict=True):
        assert times[split.train].max() < times[split.test].min()
        if grouped:
            assert not set(bags.groups[split.train]) & set(bags.groups[split.test])
        elif later is not None:
            assert set(later.train) == {*split.train, *split.test}
    tested = np.concatenate([split.test for split in division.splits])
    assert len(set(tested)) == len(tested)
    assert_array_equal(np.sort(tested), np.flatnonzero(times >= times[tested].min()))


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), min_size=1, max_size=15))
def test_bags_are_of_one_group_where_a_chain_of_shared_values_leads_from_one_to_the_other(values):
    reached = np.array([[any(x == y for x, y in zip(a, b, strict=True)) for b in values] for a in values])
    for _ in values:
        reached = reached @ reached
    groups = connected_groups(*zip(*values, strict=True))
    assert_array_equal(groups[:, None] == groups, reached)


def test_dates_are_times():
    dates = np.datetime64("2020-01-31") + np.arange(COUNT) * np.timedelta64(1, "D")
    assert same(expanding_windows(bags_with(), dates, 3), expanding_windows(bags_with(), np.arange(COUNT), 3))


# ---- seeds ----------------------------------------------------------------------------------------------------


def test_seeds_share_no_division_and_seed_0_keeps_its_own():
    bags = bags_with(count=40)
    rows = np.concatenate([Folds(bags, 4, 5, seed).assignment for seed in range(6)])
    assert len(np.unique(rows, axis=0)) == len(rows)
    for repeat, row in enumerate(Folds(bags, 4, 5, 0).assignment):
        splits = StratifiedKFold(4, shuffle=True, random_state=repeat).split(bags.labels, bags.labels)
        for fold, (_, test) in enumerate(splits):
            assert_array_equal(np.flatnonzero(row == fold), test)


# ---- what is told, and what is refused ------------------------------------------------------------------------


def test_a_group_on_both_sides_of_what_was_given_is_told_and_of_what_bagwise_divides_is_not_there():
    bags = bags_with(groups=np.arange(COUNT) // 2)
    with pytest.warns(BagwiseWarning, match="group 0 is on both sides of fold 0, as the folds were given"):
        divide(bags, [([0, 2, 3], [1, 4])])
    with pytest.warns(BagwiseWarning, match="group 0 is on both sides"):
        predefined(bags, ["train", "test", *["train"] * 14])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        divide(bags, 4)
        divide(bags, "group")
        expanding_windows(bags, np.arange(COUNT), 3)


@pytest.mark.parametrize(
    ("folds", "sentence"),
    [
        ("grouped", "folds is 'grouped': it must be a number, 'group', a splitter"),
        ("group", "the bags have no groups to leave out"),
        ([], "the folds have shape .* and there are 16 bags"),
        (None, "the folds have shape"),
        (2.5, "the folds have shape"),
        ([0, 1, 2], r"the folds have shape \(3,\), and there are 16 bags"),
        ([[0] * 16, [1] * 15], "the folds are ragged"),
        ([0.5] * 16, "bag 0 has the fold 0.5: folds are whole numbers from 0 on, or -1"),
        ([-2] * 16, "bag 0 has the fold -2"),
        (["a"] * 16, "bag 0 has the fold 'a'"),
        ([True] * 16, "bag 0 has the fold True"),
        ([-1] * 16, "there is no fold"),
        ([0] * 16, "fold 0 learns from no bag"),
        ([([0, 1], [1, 2])], "fold 0 learns from and tests bag '1': a bag may be on one side only"),
        ([([0, 1], [2, 3], [3, 4])], "fold 0 tests and stops by bag '3'"),
        ([([0, 1], [1], [3, 4])], "fold 0 learns from and stops by bag '1'"),
        ([([0, 1, 1], [2])], "the positions of a fold hold bag '1' twice: list it once"),
        ([([0, 1], [16])], "the positions of a fold hold 16, and there are 16 bags"),
        ([([0, 1], [-1])], "the positions of a fold hold -1"),
        ([([0, 1], [0.5])], "give positions, which are whole numbers, or a mask"),
        ([([0, 1], [])], "fold 0 tests no bag"),
        ([([0, 1], [3]), ([], [2])], "fold 1 learns from no bag"),
        ({"0": 1}, "bag '1' has no fold: give it one, or -1"),
        ({"nobody": 1}, "the folds have bag 'nobody', which is not in the data"),
        (StratifiedKFold(9), "StratifiedKFold cannot divide these bags: .*n_splits=9"),
        (GroupKFold(3), "GroupKFold cannot divide these bags: The 'groups' parameter should not be None"),
        (Folds(bags_with(count=8), 2), "the folds are of 8 bags, and there are 16"),
    ],
    ids=lambda value: "Folds" if isinstance(value, Folds) else repr(value),  # the same in every process
)
def test_folds_that_do_not_fit_are_refused_in_a_sentence(folds, sentence):
    with pytest.raises(BagwiseError, match=sentence):
        divide(bags_with(), folds)


def test_repeats_are_for_a_number_of_folds():
    with pytest.raises(BagwiseError, match="repeats is 2, and folds are no number"):
        divide(bags_with(), StratifiedKFold(3), repeats=2)


def test_a_fold_that_cannot_be_learnt_is_refused_before_anybody_trains():
    with pytest.raises(BagwiseError, match="fold 1 learns from bags of class 0 alone"):
        bw.cross_validate(Spy(), bags_with(), folds=[([0, 1], [2]), ([0, 2], [3])])
    labels = [*["a", "b"] * 7, "c", "c"]
    with pytest.raises(BagwiseError, match="fold 0 stops by bag '14', whose label c no bag has that it learns from"):
        bw.cross_validate(Spy(), bags_with(labels), folds=[([0, 1], [14], [3])])


@pytest.mark.parametrize(
    ("times", "sentence"),
    [
        ([1, 2], r"the times have shape \(2,\)"),
        (["a"] * COUNT, "they must be numbers or dates"),
        ([np.nan, *range(COUNT - 1)], "bag '0' has no time"),
    ],
)
def test_times_that_will_not_do_are_refused(times, sentence):
    with pytest.raises(BagwiseError, match=sentence):
        expanding_windows(bags_with(), times, 3)


# ---- sums -----------------------------------------------------------------------------------------------------


def test_repetitions_of_unequal_folds_are_counted_and_averaged_as_they_are():
    bags = bags_with()
    rows = np.array([np.arange(COUNT) // 8, np.arange(COUNT) // 4])
    found = bw.cross_validate(Spy(), bags, folds=rows, n_jobs=1)
    row = next(row for row in found.rows() if row["metric"] == "accuracy")
    assert (row["folds_in_all"], row["folds_defined"], row["repeats"], row["folds"]) == (6, 6, 2, 4)
    assert row["mean"] == pytest.approx(np.mean([np.nanmean(one) for one in found.scores["accuracy"]]))
    assert "6 folds in 2 repetitions of 16 bags, protocol given" in repr(found)
    assert np.isnan(found.scores["accuracy"][0, 2:]).all()


def test_bags_that_are_never_tested_are_told():
    found = bw.cross_validate(Spy(), bags_with(), folds=[([0, 1, 2], [3, 4])], n_jobs=1)
    assert "1 x 1 fold of 16 bags, protocol given, 14 bags never tested" in repr(found)
    assert set(found.scores) == set(CLASS_METRICS)


def test_scoring_takes_names_and_functions():
    def untold(labels, answers):
        return float(np.mean((answers[:, 1] < 0.5)[labels >= 0]))

    bags = bags_with()
    found = bw.cross_validate(Spy(), bags, folds=3, scoring=["balanced_accuracy", untold], n_jobs=1)
    assert list(found.scores) == ["balanced_accuracy", "untold"]
    for fold, value in enumerate(found.scores["untold"][0]):
        assert value == np.mean(found.probabilities[0, found.assignment[0] == fold, 1] < 0.5)
    assert found.mean() == pytest.approx(np.mean(found.scores["balanced_accuracy"]))
    assert "balanced_accuracy 0." in repr(found)
    with pytest.raises(BagwiseError, match="'speed'"):
        bw.cross_validate(Spy(), bags, folds=3, scoring="speed")
