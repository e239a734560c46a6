from dataclasses import replace

import numpy as np
import pytest

import bagwise as bw
from bagwise.trust.held_out import hold_out, hold_out_parts


def neural(**given):
    return bw.AttentionMIL(epochs=2, random_state=0, **given)


def said_by(model, bags):
    return model.predict_proba(bags).astype(np.float64)


@pytest.mark.parametrize("model", [neural(), bw.make("MI-SVM", random_state=0)], ids=["neural", "classical"])
def test_each_bag_is_told_of_by_what_learnt_from_the_other_folds_alone(make_bags, model):
    bags = make_bags(24)
    found = hold_out(model, bags, folds=3, n_jobs=1)
    assert np.bincount(found.fold).tolist() == [8, 8, 8]
    for fold in range(3):
        alone = model.fit(bags[found.fold != fold])
        test = found.fold == fold
        assert np.array_equal(found.answers[test], said_by(alone, bags[test]))
        assert np.array_equal(said_by(found.models[fold], bags[test]), found.answers[test])


def test_what_is_said_of_a_bag_and_of_others_in_its_fold_does_not_depend_on_it(make_bags):
    bags = make_bags(20)
    instances = bags.instances.copy()
    instances[bags.rows(np.array([3]))] += 5
    before, after = (hold_out(neural(), one, n_jobs=1) for one in (bags, replace(bags, instances=instances)))
    beside = (before.fold == before.fold[3]) & (np.arange(20) != 3)
    assert np.array_equal(before.answers[beside], after.answers[beside])
    assert (before.answers[before.fold != before.fold[3]] != after.answers[before.fold != before.fold[3]]).any()


def test_of_a_part_is_told_what_would_be_told_if_there_were_nothing_else(make_bags):
    bags = make_bags(30)
    parts = [np.arange(20), np.arange(8, 30)]
    weights = 1.0 + np.arange(30) % 3
    found = hold_out_parts(neural(), bags, parts, folds=3, sample_weight=weights, n_jobs=1)
    for part, one in zip(parts, found, strict=True):
        alone = hold_out(neural(), bags[part], folds=3, sample_weight=weights[part], n_jobs=1)
        assert np.array_equal(one.answers, alone.answers)
        assert np.array_equal(one.weights, weights[part])
        assert np.array_equal(one.fold, alone.fold)


def test_no_group_is_in_two_folds_and_there_are_no_more_folds_than_groups(make_bags):
    bags = make_bags(24, groups=4)
    found = hold_out(neural(), bags, n_jobs=1)
    assert len(found.models) == 4
    for group in np.unique(bags.groups):
        assert len(np.unique(found.fold[bags.groups == group])) == 1


def test_an_ensemble_is_one_in_each_fold(make_bags):
    bags = make_bags(12)
    found = hold_out(neural(), bags, size=2, folds=2, n_jobs=1)
    single = hold_out(neural(), bags, folds=2, n_jobs=1)
    for fold in range(2):
        first, second = found.models[fold]
        test = found.fold == fold
        assert np.array_equal(said_by(first, bags[test]), single.answers[test])
        mean = (first.predict_proba(bags[test]) + second.predict_proba(bags[test])) / 2
        assert np.array_equal(found.answers[test], mean)


def test_numbers_lives_and_labels_are_told_of_in_the_same_columns(make_bags):
    bags = make_bags(20)
    rng = np.random.default_rng(0)
    events = np.array(
        [*zip(np.arange(20) % 3 > 0, rng.uniform(1, 9, 20), strict=True)], [("event", "?"), ("time", "f8")]
    )
    for labels, width in ((rng.normal(size=20), 1), (np.arange(40).reshape(20, 2) % 3 % 2.0, 2), (events, None)):
        found = hold_out(neural(), replace(bags, labels=labels), n_jobs=1)
        assert np.isfinite(found.answers).all()
        assert found.answers.shape == (20, width or 1 + len(found.target.times))


def test_one_bag_of_a_class_is_too_few(make_bags):
    bags = replace(make_bags(10), labels=np.array([1] + [0] * 9))
    with pytest.raises(bw.BagwiseError, match="1 bag of class 1: each class needs 2"):
        hold_out(neural(), bags)


def test_an_ensemble_of_a_method_without_initial_weights_is_refused(make_bags):
    with pytest.raises(bw.BagwiseError, match="no initial weights"):
        hold_out(bw.make("MI-SVM"), make_bags(12), size=2)
