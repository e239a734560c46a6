import numpy as np
import pytest
from numpy.testing import assert_array_equal

import bagwise as bw
from bagwise import Bags, BagwiseError, BagwiseWarning
from bagwise.methods.validation import set_apart


def some(count=20, seed=0, dtype=np.float32, **parts):
    rng = np.random.default_rng(seed)
    arrays = [(rng.normal(size=(1 + bag % 3, 3)) + bag % 2).astype(dtype) for bag in range(count)]
    return Bags.from_arrays(arrays, labels=np.arange(count) % 2, **parts)


def make(**parameters):
    return bw.make("attention", **{"epochs": 6, "patience": 2, "learning_rate": 0.05, "random_state": 0, **parameters})


def states(model):
    return [value.numpy() for value in model.model_.state_dict().values()]


def assert_same(one, other):
    assert one.history_ == other.history_
    for a, b in zip(states(one), states(other), strict=True):
        assert_array_equal(a, b)


PLACES = np.array([3, 8, 12, 15])
REST = np.setdiff1d(np.arange(20), PLACES)


def test_positions_a_mask_and_other_bags_say_the_same():
    bags = some()
    fitted = make().fit(bags, validation=PLACES)
    assert "validation_loss" in fitted.history_[0]
    assert_same(fitted, make().fit(bags, validation=np.isin(np.arange(20), PLACES)))
    assert_same(fitted, make().fit(bags[REST], validation=bags[PLACES]))
    other = bw.Bags.from_arrays([bag.instances.astype(np.float64) for bag in bags[PLACES]], bags.labels[PLACES])
    assert_same(fitted, make().fit(bags[REST], validation=other))


def test_they_decide_when_to_stop_and_nothing_is_learnt_from_them():
    bags = some()
    changed = Bags.from_arrays([bag.instances + 1 for bag in bags[PLACES]], 1 - bags.labels[PLACES])
    one, other = (
        make(epochs=12, patience=12, learning_rate=5e-4).fit(bags[REST], validation=v) for v in (bags[PLACES], changed)
    )
    common = min(len(one.history_), len(other.history_))
    assert [e["loss"] for e in one.history_[:common]] == [e["loss"] for e in other.history_[:common]]
    assert one.best_epoch_ != other.best_epoch_


def test_without_a_patience_they_are_measured_only():
    bags = some()
    fitted, plain = make(patience=None).fit(bags[REST], validation=bags[PLACES]), make(patience=None).fit(bags[REST])
    for a, b in zip(states(fitted), states(plain), strict=True):
        assert_array_equal(a, b)
    assert "validation_loss" in fitted.history_[-1]


def test_weights_are_of_the_bags_that_are_given_first():
    bags, weights = some(), np.linspace(0.5, 2, 16)
    of_all = np.ones(20)
    of_all[REST] = weights
    one = make().fit(bags[REST], sample_weight=weights, validation=bags[PLACES])
    assert_same(one, make().fit(bags, sample_weight=of_all, validation=PLACES))


def test_an_ensemble_takes_them_too():
    bags = some()
    members = bw.fit_ensemble(make(), bags[REST], 2, validation=bags[PLACES])
    assert_same(members[0], make().fit(bags, validation=PLACES))


def test_what_only_one_of_the_sets_has_does_not_count():
    bags = some(groups=np.arange(20))
    assert_same(make().fit(bags[REST], validation=some()[PLACES]), make().fit(bags, validation=PLACES))


def test_a_group_on_both_sides_is_told():
    with pytest.warns(BagwiseWarning, match="group 0 is learnt from and in the bags for validation"):
        set_apart(some(groups=np.arange(20) // 2), [1, 2])


@pytest.mark.parametrize(
    ("validation", "sentence"),
    [
        ([20], "the positions for validation hold 20, and there are 20 bags"),
        ([1, 1], "the positions for validation hold bag '1' twice"),
        ("all", "give positions, which are whole numbers, or a mask"),
        ([], "validation leaves no bag to stop by"),
        (np.arange(20), "validation leaves no bag to learn from"),
        (some()[[3]], "bag '3' is learnt from and among the bags for validation"),
        (some(seed=1).with_labels(None), "the bags for validation have no labels"),
        (Bags.from_arrays([[[0.0]]], [0]), "the bags for validation .set 1. are not like those learnt from"),
        (Bags.from_arrays([[[0.0] * 3]], [7]), "bag '0', which is for validation, has the label 7, which no bag that"),
    ],
    ids=repr,
)
def test_what_will_not_do_is_refused_in_a_sentence(validation, sentence):
    with pytest.raises(BagwiseError, match=sentence):
        make().fit(some(), validation=validation)


def test_numbers_of_bags_for_validation_need_not_be_among_those_learnt_from():
    bags = some().with_labels(np.linspace(0.05, 1.95, 20))
    fitted = make().fit(bags[REST], validation=bags[PLACES])
    assert np.isfinite(fitted.history_[0]["validation_loss"])


def test_bags_that_stay_in_their_files_will_do(tmp_path):
    bags = some()
    for side, positions in (("train", REST), ("validation", PLACES)):
        (tmp_path / side).mkdir()
        for name, bag in zip(bags.names[positions], bags[positions], strict=True):
            np.save(tmp_path / side / f"{int(name):02}.npy", bag.instances)
    train, validation = (
        bw.read_folder(tmp_path / side).with_labels(bags.labels[positions])
        for side, positions in (("train", REST), ("validation", PLACES))
    )
    one, other = make().fit(train, validation=validation), make().fit(bags[REST], validation=bags[PLACES])
    assert len(one.history_) == len(other.history_)
