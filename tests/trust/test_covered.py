"""Sets and intervals for each kind of target."""

from types import SimpleNamespace

import numpy as np
import pytest

import bagwise as bw
from bagwise.errors import BagwiseError
from bagwise.targets.registry import TARGETS
from bagwise.trust.covered import covered
from bagwise.trust.held_out import hold_out
from bagwise.trust.sets import Scored, class_sets, intervals, label_sets

FOLDS, BAGS, NEW = 4, 80, 5


def noise(columns):
    """Held-out answers, their folds, and what the fold models say of new bags."""
    rng = np.random.default_rng(0)
    return rng.dirichlet(np.ones(columns), BAGS), np.arange(BAGS) % FOLDS, rng.dirichlet(np.ones(columns), (FOLDS, NEW))


@pytest.mark.parametrize("kind", ["classes", "ordinal"])
def test_classes_and_grades_are_sets_with_columns_in_the_order_of_names(kind):
    grades = ["mild", "grave", "deadly"]
    places = np.random.default_rng(1).integers(0, 3, BAGS)
    labels = np.array(grades)[places]
    target = TARGETS[kind].of(labels, **({"order": grades} if kind == "ordinal" else {}))
    (answers, fold, asked), groups = noise(3), np.arange(BAGS) // 2
    columns = np.array([target.names.tolist().index(label) for label in labels])
    scored = Scored(target.encoded(labels), answers, fold, groups)
    found = covered(target, scored, asked, 0.8)
    assert np.array_equal(found.sets, class_sets(scored._replace(labels=columns), asked, 0.8))
    assert found.doubts == ()
    sure = covered(target, scored, asked, 0.99)
    (doubt,) = sure.doubts
    assert f"groups with bags of class {target.names[0]} and" in doubt
    assert "fewer than the 99 that a coverage of 99 % needs, each is in the set of every bag" in doubt
    assert sure.sets.all()


@pytest.mark.parametrize("positive", ["no", "yes"])
def test_of_two_classes_either_may_be_the_positive_one(positive):
    places = np.arange(BAGS) % 2
    target = TARGETS["classes"].of(np.array(["no", "yes"])[places], positive=positive)
    answers, fold, asked = noise(2)
    scored = Scored(target.encoded(np.array(["no", "yes"])[places]), answers, fold)
    found = covered(target, scored, asked, 0.8)
    assert np.array_equal(found.sets, class_sets(scored._replace(labels=places), asked, 0.8))


def test_several_labels_are_pairs_and_each_says_of_what_there_is_too_little():
    labels = np.random.default_rng(2).integers(0, 2, (BAGS, 2)).astype(float)
    labels[:, 1] = np.where(np.arange(BAGS) < 70, np.nan, np.arange(BAGS) % 2)
    answers, fold, asked = noise(2)
    scored = Scored(labels, answers, fold)
    found = covered(TARGETS["multi-label"].of(labels, label_names=("fat", "fibrous")), scored, asked, 0.9)
    assert np.array_equal(found.sets, label_sets(scored, asked, 0.9))
    (doubt,) = found.doubts
    assert doubt.startswith("with 5 bags of class fibrous=0 and 5 bags of class fibrous=1, fewer than the 9")


def test_numbers_are_intervals_each_of_its_own():
    labels = np.random.default_rng(3).normal(size=(BAGS, 2))
    target, (answers, fold, asked) = TARGETS["real"].of(labels), noise(2)
    found = covered(target, Scored(labels, answers, fold), asked, 0.9)
    assert found.sets is None
    for column in range(2):
        low, high = intervals(Scored(labels[:, column], answers[:, column], fold), asked[:, :, column], 0.9)
        assert np.array_equal(found.low[:, column], low)
        assert np.array_equal(found.high[:, column], high)
    (doubt,) = covered(target, Scored(labels, answers, fold), asked, 0.99).doubts
    assert doubt.startswith("with 80 bags, fewer than the 99")


def test_intervals_of_counts_are_whole_numbers_wider_where_counts_are_large_and_hold_them_as_often_as_asked():
    rng = np.random.default_rng(4)
    rates = rng.uniform(1, 60, 2400)
    counts = rng.poisson(rates)
    scored = Scored(counts[:400, None].astype(float), rates[:400, None], np.arange(400) % FOLDS)
    found = covered(TARGETS["count"].of(counts), scored, np.stack([rates[400:, None]] * FOLDS), 0.9)
    low, high = found.low[:, 0], found.high[:, 0]
    assert (low >= 0).all()
    assert (low <= high).all()
    assert (low % 1 == 0).all()
    assert (high % 1 == 0).all()
    for of in (rates[400:] < 10, rates[400:] > 40):
        inside = ((low <= counts[400:]) & (counts[400:] <= high))[of]
        assert 0.86 < inside.mean() < 0.97
    assert (high - low)[rates[400:] > 40].mean() > 2 * (high - low)[rates[400:] < 10].mean()


def test_times_until_an_event_are_refused():
    with pytest.raises(BagwiseError, match=r"times until an event have neither sets nor intervals yet: leave"):
        covered(SimpleNamespace(kind="survival"), Scored(*noise(2)[:1] * 2, noise(2)[1]), noise(2)[2], 0.9)


def test_sets_of_a_real_training_hold_what_bags_of_new_groups_are():
    rng = np.random.default_rng(5)
    labels = np.repeat(rng.integers(0, 2, 90), 2)
    arrays = [rng.normal(size=(4, 3)) + 1.2 * label * (rng.random((4, 1)) < 0.5) for label in labels]
    bags = bw.Bags.from_arrays(arrays, labels=np.where(labels, "yes", "no"), groups=np.repeat(np.arange(90), 2))
    held_out = hold_out(bw.make("mean-logistic", random_state=0), bags[:120], n_jobs=1)
    asked = np.stack([model.answers(bags[120:]) for model in held_out.models])
    encoded = held_out.target.encoded(held_out.labels)
    scored = Scored(encoded, held_out.answers, held_out.fold, held_out.groups)
    sets = covered(held_out.target, scored, asked, 0.9).sets
    assert 0.8 < sets[np.arange(60), labels[120:]].mean() <= 1
    assert 1 <= sets.sum(axis=1).mean() < 2
