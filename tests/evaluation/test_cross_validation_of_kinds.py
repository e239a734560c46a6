import numpy as np
import pytest
from numpy.testing import assert_array_equal

import bagwise as bw
from bagwise.evaluation.metrics import measure
from bagwise.evaluation.protocol import Folds
from bagwise.survival import concordance

RNG = np.random.default_rng(0)
SIZES = RNG.integers(1, 5, 36)
ARRAYS = [RNG.normal(size=(size, 3)) for size in SIZES]
LARGEST = np.array([array[:, 0].max() for array in ARRAYS])
LABELS = {
    "multi-label": np.column_stack([LARGEST > 0.5, np.where(LARGEST > 2, np.nan, LARGEST > 1)]),
    "real": LARGEST,
    "real of two": np.column_stack([LARGEST, SIZES + 0.5]),
    "survival": np.array(list(zip(LARGEST > -0.5, np.exp(-LARGEST), strict=True)), [("event", bool), ("time", float)]),
}


@pytest.mark.parametrize("kind", LABELS)
def test_every_kind_is_cross_validated(kind):
    bags = bw.Bags.from_arrays(ARRAYS, labels=LABELS[kind])
    model = bw.make("attention", epochs=2, random_state=0)
    found = bw.cross_validate(model, bags, folds=3, repeats=2, n_jobs=1)
    assert found.target.kind == kind.split()[0]
    assert tuple(found.scores) == found.target.metrics
    assert np.isfinite(found.answers).all()
    division = Folds(bags, 3, 2)
    assert_array_equal(found.assignment, division.assignment)
    test = division.test_bags(1, 2)
    alone = bw.make("attention", epochs=2, random_state=0).fit(bags[division.training_bags(1, 2)])
    if kind == "survival":  # the fold's own times are others
        expected = np.column_stack([alone.predict(bags[test]), alone.predict_survival(bags[test], found.target.times)])
    else:
        expected = alone.answers(bags[test])
    assert_array_equal(found.answers[1, test], expected)
    measured = measure(found.target, bags.labels[test], found.answers[1, test])
    assert {name: scores[1, 2] for name, scores in found.scores.items()} == measured
    assert f"{next(iter(found.scores))}" in repr(found)


def test_folds_of_numbers_have_their_share_of_high_ones():
    bags = bw.Bags.from_arrays(ARRAYS, labels=LARGEST)
    division = Folds(bags, 4)
    means = [LARGEST[division.test_bags(0, fold)].mean() for fold in range(4)]
    assert np.ptp(means) < 0.5 * LARGEST.std()
    assert_array_equal(np.bincount(division.assignment[0]), [9] * 4)


def test_a_whole_number_may_be_a_class_or_a_number_and_the_target_says_which():
    bags = bw.Bags.from_arrays(ARRAYS, labels=np.arange(36))
    with pytest.raises(bw.BagwiseError, match="there is 1 bag of class 0"):
        Folds(bags, 3)
    assert_array_equal(np.bincount(Folds(bags, 3, target="count").assignment[0]), [12] * 3)
    with pytest.raises(bw.BagwiseError, match="there are 36 bags, fewer than the 40 folds"):
        Folds(bags, 40, target="count")


@pytest.mark.slow
def test_a_model_ranks_slides_of_known_hazard_almost_as_the_true_risks_do():
    train, test = (bw.datasets.slides_of_known_hazard(500, seed=seed) for seed in (0, 1))
    model = bw.make("embedding-mean", encoder="identity", epochs=60, random_state=0, dropout=0.0).fit(train.bags)
    event, time = test.bags.labels["event"], test.bags.labels["time"]
    best = concordance(event, time, test.risks)
    assert model.score(test.bags) == pytest.approx(best, abs=0.02)
