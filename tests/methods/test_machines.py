from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.svm import SVC, SVR

from bagwise.methods.classical import machines
from bagwise.methods.classical.kept import apart, together
from bagwise.methods.classical.machines import Boosted, Forest, Gaussian, Linear, Trees, frozen

RNG = np.random.default_rng(0)
ROWS, ASKED = RNG.normal(size=(60, 4)), RNG.normal(size=(500, 4))
POSITIVE = ROWS[:, 0] + ROWS[:, 1] ** 2 + 0.3 * RNG.normal(size=60) > 0.8
NUMBERS = ROWS[:, 0] - ROWS[:, 2] ** 2
WEIGHTS = RNG.uniform(0.5, 2, 60)
KINDS = {kind.__name__: kind for kind in (Linear, Gaussian, Trees, Forest, Boosted)}
LEARN_CLASSES = [
    LogisticRegression(C=0.1),
    SVC(kernel="linear", C=0.1),
    SVC(gamma=0.3, C=10.0),
    ExtraTreesClassifier(20, min_samples_leaf=3, random_state=0),
    HistGradientBoostingClassifier(max_iter=20, min_samples_leaf=5, early_stopping=False, random_state=0),
]
LEARN_NUMBERS = [
    Ridge(0.5),
    SVR(gamma=0.3, C=10.0),
    SVR(gamma=0.3, epsilon=99.0),  # nothing supports it
    ExtraTreesRegressor(20, min_samples_leaf=3, random_state=0),
    HistGradientBoostingRegressor(max_iter=20, min_samples_leaf=5, early_stopping=False, random_state=0),
    HistGradientBoostingRegressor(max_iter=3, min_samples_leaf=60, early_stopping=False),  # trees that are leaves
]


def learnt(model):
    return model.fit(ROWS, POSITIVE if model in LEARN_CLASSES else NUMBERS, WEIGHTS)


def wanted(model, rows):
    if isinstance(model, ExtraTreesClassifier):
        sums = model.predict_proba(rows)[:, 1] * 20
        return np.log((sums + 0.5) / (20 - sums + 0.5))
    return model.decision_function(rows) if model in LEARN_CLASSES else model.predict(rows)


every_machine = pytest.mark.parametrize("model", LEARN_CLASSES + LEARN_NUMBERS, ids=str)


@every_machine
def test_what_is_frozen_says_what_scikit_learn_says(model):
    assert_allclose(frozen(learnt(model)).decide(ASKED), wanted(model, ASKED), rtol=1e-12, atol=1e-12)


def test_rows_on_a_threshold_go_where_they_went_in_learning():
    """Thresholds of a forest are compared with numbers of single precision."""
    steps = np.repeat(np.float64(np.float32(np.arange(30) / 7)), 2)[:, None]
    for model in LEARN_CLASSES[3:]:
        model.fit(steps, np.arange(60) % 14 < 7)
        trees = frozen(model).trees
        on = trees.threshold[trees.left != trees.right][:, None]
        asked = np.concatenate([steps, on, np.nextafter(on, np.inf), np.nextafter(on, -np.inf)])
        assert_allclose(frozen(model).decide(asked), wanted(model, asked), rtol=1e-12, atol=1e-12)


@every_machine
def test_what_is_said_of_a_row_does_not_depend_on_the_others(monkeypatch, model):
    machine = frozen(learnt(model))
    together = machine.decide(ASKED)
    assert_array_equal(np.concatenate([machine.decide(row[None]) for row in ASKED[:40]]), together[:40])
    assert_array_equal(machine.decide(ASKED[::-1])[::-1], together)
    monkeypatch.setattr(machines, "_BLOCK_NUMBERS", 100)
    assert_array_equal(machine.decide(ASKED), together)


@every_machine
def test_what_is_taken_apart_comes_together_again(model):
    machine = frozen(learnt(model))
    told, arrays = apart(machine)
    again = together(KINDS, told, arrays)
    assert not arrays
    again.check(4)
    assert_array_equal(again.decide(ASKED), machine.decide(ASKED))


@pytest.mark.parametrize("model", LEARN_CLASSES, ids=str)
def test_fewer_numbers_than_were_learnt_from_are_refused(model):
    with pytest.raises(ValueError, match="it answers for 4 numbers, and is asked about 3|a number that is not there"):
        frozen(learnt(model)).check(3)


def test_a_kernel_that_was_given_is_a_weighted_sum():
    kernel = ROWS @ ROWS.T
    model = SVC(kernel="precomputed").fit(kernel, POSITIVE)
    assert_allclose(frozen(model).decide(kernel[:9]), model.decision_function(kernel[:9]), rtol=1e-12, atol=1e-12)


def test_a_machine_of_which_nobody_knows_what_it_learnt_is_a_fault():
    with pytest.raises(TypeError, match="what Pickled learns is not known"):
        frozen(type("Pickled", (), {})())


# ---- trees that a file may hold --------------------------------------------------------------------------------------

TREES = frozen(learnt(LEARN_CLASSES[3])).trees


def changed(name, place, value):
    values = getattr(TREES, name).copy()
    values[place] = value
    return replace(TREES, **{name: values})


INNER = int(np.flatnonzero(TREES.left != TREES.right)[1])
LAST = len(TREES.value)
HOSTILE = {
    "far out of range": changed("left", INNER, 2**40),
    "just out of range": changed("right", INNER, LAST),
    "before all": changed("left", INNER, -1),
    "back to its parent": changed("right", INNER, INNER - 1),
    "round and round": changed("left", INNER, INNER),
    "half a leaf": changed("right", int(np.flatnonzero(TREES.left == TREES.right)[0]), LAST - 1),
    "a root out of range": changed("roots", 0, LAST),
    "a root before all": changed("roots", 0, -1),
    "no root": replace(TREES, roots=TREES.roots[:0]),
    "no nodes": Trees(*(values[:0] for values in vars(TREES).values())),
    "a feature too far": changed("feature", INNER, 4),
    "a feature before all": changed("feature", INNER, -1),
    "a share above 1": changed("value", 0, 1.5),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_trees_are_refused_before_they_are_walked(name):
    with pytest.raises(ValueError, match="a tree"):
        Forest(HOSTILE[name], odds=True).check(4)


@pytest.mark.parametrize(
    ("told", "spoil"),
    [
        ([], {}),
        ({}, {}),
        ({"kind": "nonsense"}, {}),
        ({"kind": "Gaussian", "intercept": 0.0}, {}),
        ({"kind": "Gaussian", "intercept": 0.0, "gamma": "1"}, {}),
        ({"kind": "Gaussian", "intercept": 0.0, "gamma": True}, {}),
        ({"kind": "Gaussian", "intercept": float("nan"), "gamma": 1.0}, {}),
        ({"kind": "Gaussian", "intercept": 10**400, "gamma": 1.0}, {}),
        (None, {"dual": np.ones(3)}),
        (None, {"dual": np.ones((2, 1))}),
        (None, {"dual": np.ones(2, np.float32)}),
        (None, {"dual": np.array([np.nan, 1.0])}),
        (None, {"dual": np.array([np.inf, 1.0])}),
        (None, {"support": np.ones((2, 4), np.int64)}),
    ],
)
def test_what_is_not_what_its_annotation_says_is_refused(told, spoil):
    good, arrays = apart(Gaussian(np.ones((2, 4)), np.ones(2), 0.0, 1.0))
    with pytest.raises((ValueError, TypeError, KeyError, OverflowError)):
        together(KINDS, good if told is None else told, arrays | spoil)


def test_a_part_must_be_of_the_kind_that_is_wanted():
    told, arrays = apart(Forest(TREES, odds=True))
    within, others = apart(Linear(np.ones(2), 0.0))
    told["trees"] = within
    with pytest.raises(TypeError, match="trees is a Linear"):
        together(KINDS, told, arrays | {f"trees.{name}": array for name, array in others.items()})
