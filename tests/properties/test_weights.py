"""What weights of bags must do in every method."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn import config_context
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline

import bagwise as bw
from bagwise import METHODS, BagwiseError
from bagwise.methods.classical.diverse_density import Hypotheses
from bagwise.methods.classical.packed import Packed
from bagwise.methods.neural import NeuralMIL

NEURAL = {name for name, (kind, _) in METHODS.items() if issubclass(kind, NeuralMIL)}
every_method = pytest.mark.parametrize("name", METHODS)
some = settings(max_examples=2, suppress_health_check=[HealthCheck.too_slow])


def make(name, **options):
    return bw.make(name, random_state=0, **({"epochs": 2, **options} if name in NEURAL else {}))


def answers(model, bags):
    return np.column_stack([model.predict_proba(bags), model.decision_function(bags)])


# ---- weight 0 and weight 1 ----------------------------------------------------------------------------------------


@st.composite
def weighed_bags(draw):
    """Bags of two or three classes, each with two bags at least that count; some are in groups."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    classes = draw(st.sampled_from([2, 2, 3]))
    labels = np.arange(draw(st.integers(4 * classes, 18))) % classes
    weights = rng.choice([0.0, 0.5, 1.0, 2.0], len(labels))
    weights[: 2 * classes] = rng.uniform(0.5, 2, 2 * classes)
    weights[-1] = 0
    arrays = [rng.normal(size=(rng.integers(1, 5), 3)) + label for label in labels]
    groups = draw(st.sampled_from([None, np.arange(len(labels)) // 2]))
    return bw.Bags.from_arrays(arrays, labels, groups=groups), weights


@every_method
@some
@given(case=weighed_bags(), options=st.sampled_from([{}, {"class_weight": "balanced"}, {"instance_budget": 5}]))
def test_a_bag_of_weight_0_might_as_well_not_be_there(name, case, options):
    bags, weights = case
    options = {**options, "precision": "float64"}
    whole = make(name, **options).fit(bags, sample_weight=weights)
    without = make(name, **options).fit(bags[weights > 0], sample_weight=weights[weights > 0])
    np.testing.assert_array_equal(answers(whole, bags), answers(without, bags))
    for learnt in ("history_", "best_epoch_", "validation_errors_", "parameters_"):
        assert getattr(whole, learnt, None) == getattr(without, learnt, None)


def test_it_might_so_with_validation_bags(make_bags):
    bags, weights = make_bags(count=30), np.tile([1.0, 2.0, 0.0], 10)
    model = bw.AttentionMIL(epochs=4, patience=2, random_state=0)
    np.testing.assert_array_equal(
        answers(model.fit(bags, sample_weight=weights), bags),
        answers(model.fit(bags[weights > 0], sample_weight=weights[weights > 0]), bags),
    )


@every_method
def test_weights_of_1_change_no_bit(make_bags, name):
    bags = make_bags(count=12, classes=3 if name in NEURAL else 2)
    plain, weighed = make(name).fit(bags), make(name).fit(bags, sample_weight=[1] * len(bags))
    np.testing.assert_array_equal(answers(plain, bags), answers(weighed, bags))


# ---- what a weight does -------------------------------------------------------------------------------------------


@every_method
@pytest.mark.parametrize("turned", [False, True])
def test_the_heavier_of_two_opinions_wins(name, turned):
    """Bags on either side have both labels; which side is positive is a matter of weights alone."""
    rng = np.random.default_rng(0)
    sides, labels = np.arange(32) % 2, np.arange(32) // 2 % 2
    bags = bw.Bags.from_arrays([rng.normal(3 * side, 0.3, size=(2, 2)) for side in sides], labels)
    weights = np.where((sides == labels) != turned, 9.0, 1.0)
    rate = 0.005 if name == "ILRA" else 0.02  # what is normalised after each addition bears no larger steps
    options = {"standardize": True, "learning_rate": rate, "optimizer": "adam", "epochs": 12}
    model = make(name, **options).fit(bags, sample_weight=weights)
    enough = 0.8 if name == "summary-boosting" else 0.9  # it, more than a sharp kernel, believes a single bag
    assert (model.predict(bags) == (sides != turned)).mean() > enough


@pytest.mark.parametrize("name", sorted(NEURAL))
@pytest.mark.parametrize("options", [{}, {"instance_budget": 9}, {"patience": 1, "epochs": 4}])
def test_the_weight_of_a_class_is_that_of_its_bags(make_bags, name, options):
    bags = make_bags(classes=3)
    by_class = make(name, class_weight={0: 0.5, 1: 2.0, 2: 1.25}, **options).fit(bags)
    by_bag = make(name, class_weight=None, **options).fit(bags, sample_weight=np.array([0.5, 2.0, 1.25])[bags.labels])
    np.testing.assert_array_equal(answers(by_class, bags), answers(by_bag, bags))
    assert by_class.history_ == by_bag.history_


def test_balanced_classes_have_the_same_share_whatever_their_bags_weigh(make_bags):
    bags, weights = make_bags(count=20), np.random.default_rng(0).uniform(0.1, 5, 20)
    model = bw.AttentionMIL(epochs=1, class_weight="balanced").fit(bags, sample_weight=weights)
    shares = np.bincount(bags.labels, weights) * model.settings_.class_weights
    np.testing.assert_allclose(shares, weights.sum() / 2)


@pytest.mark.parametrize("name", ["MI-Kernel", "mi-Graph", "miVLAD", "miFV", "mi-SVM", "MI-SVM"])
def test_the_weight_of_all_bags_is_the_price_of_a_support_vector_machine(make_bags, name):
    bags = make_bags()
    fixed = {**make(name).GRID[0], "C": 1.0}
    weighed = bw.make(name, **fixed, random_state=0).fit(bags, sample_weight=[4] * len(bags))
    dearer = bw.make(name, **fixed | {"C": 4.0}, random_state=0).fit(bags)
    np.testing.assert_allclose(weighed.learnt_.decide(bags), dearer.learnt_.decide(bags), rtol=1e-9, atol=1e-9)


def test_the_likelihood_of_a_bag_of_weight_2_is_that_of_two_bags():
    rng = np.random.default_rng(0)
    once = Packed(rng.normal(size=(6, 2)), np.array([0, 2, 3, 6]), np.array([2.0, 1.0, 1.0]))
    twice = Packed(once.instances[[0, 1, 0, 1, 2, 3, 4, 5]], np.array([0, 2, 4, 5, 8]))
    guess = Hypotheses(rng.normal(size=(4, 2)), rng.normal(size=(4, 2)))
    np.testing.assert_allclose(
        guess.losses(once, np.array([True, False, True])), guess.losses(twice, np.array([True, True, False, True]))
    )


# ---- where they may be given --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "told"),
    [
        ([1.0] * 11, r"the weights have shape \(11,\): there must be one for each bag, so 12"),
        (np.ones((12, 1)), r"shape \(12, 1\)"),
        (2.0, r"shape \(\)"),
        ([1.0] * 11 + [-1.0], "bag '11' has the weight -1.0: a weight is a number, 0 or more"),
        ([1.0] * 11 + [np.nan], "bag '11' has the weight nan"),
        ([np.inf] + [1.0] * 11, "bag '0' has the weight inf"),
        (["heavy"] * 12, "bag '0' has the weight 'heavy'"),
        ([0] * 12, "all bags have the weight 0"),
        ([0, 1] * 6, "all training bags have the label 1"),
    ],
)
@pytest.mark.parametrize("name", ["attention", "miVLAD"])
def test_weights_that_will_not_do_are_refused(make_bags, name, weights, told):
    with pytest.raises(BagwiseError, match=told):
        make(name).fit(make_bags(count=12), sample_weight=weights)


@pytest.mark.parametrize("name", ["attention", "miVLAD"])
def test_a_cross_validation_learns_by_weights(make_bags, name):
    bags, weights = make_bags(), np.random.default_rng(0).choice([0.0, 1.0, 3.0], 24)
    result = bw.cross_validate(make(name), bags, sample_weight=weights, folds=3, n_jobs=1)
    for fold in range(3):
        train, test = result.assignment[0] != fold, result.assignment[0] == fold
        alone = make(name).fit(bags[train], sample_weight=weights[train])
        np.testing.assert_array_equal(result.probabilities[0, test], alone.predict_proba(bags[test]))
    with pytest.raises(BagwiseError, match="all training bags have the label|no training bag has a weight"):
        bw.cross_validate(make(name), bags, sample_weight=np.arange(24) < 1, folds=3, n_jobs=1)


def test_an_ensemble_learns_by_weights(make_bags):
    bags, weights = make_bags(), np.arange(24)
    first = bw.fit_ensemble(make("attention"), bags, 2, sample_weight=weights)[0]
    alone = make("attention").fit(bags, sample_weight=weights)
    np.testing.assert_array_equal(first.predict_proba(bags), alone.predict_proba(bags))


@pytest.mark.parametrize("name", ["attention", "miVLAD"])
def test_scikit_learn_hands_weights_on(make_bags, name):
    bags, weights, folds = make_bags(), np.arange(24) % 3 + 1.0, StratifiedKFold(2)
    wanted = [
        make(name).fit(bags[train], sample_weight=weights[train]).score(bags[test])
        for train, test in folds.split(bags.labels, bags.labels)
    ]
    given = {"cv": folds, "params": {"sample_weight": weights}}
    assert cross_val_score(make(name), bags, bags.labels, **given).tolist() == wanted
    with config_context(enable_metadata_routing=True):
        asking = make(name).set_fit_request(sample_weight=True).set_score_request(sample_weight=False)
        assert cross_val_score(asking, bags, bags.labels, **given).tolist() == wanted
    searched = GridSearchCV(make(name), {"random_state": [0]}, cv=folds).fit(bags, bags.labels, sample_weight=weights)
    assert searched.best_score_ == np.mean(  # which weighs bags in the score, too
        [
            make(name).fit(bags[train], sample_weight=weights[train]).score(bags[test], sample_weight=weights[test])
            for train, test in folds.split(bags.labels, bags.labels)
        ]
    )
    step = type(make(name)).__name__.lower()
    piped = make_pipeline(make(name)).fit(bags, bags.labels, **{f"{step}__sample_weight": weights})
    alone = make(name).fit(bags, sample_weight=weights)
    np.testing.assert_array_equal(piped.predict_proba(bags), alone.predict_proba(bags))


def test_a_training_with_other_weights_is_not_gone_on_with(make_bags, tmp_path):
    bags, model = make_bags(), make("attention")
    whole = model.fit(bags, sample_weight=[2] * 24, checkpoints=tmp_path).predict_proba(bags)
    np.testing.assert_array_equal(
        model.fit(bags, sample_weight=[2] * 24, checkpoints=tmp_path).predict_proba(bags), whole
    )
    for other in (None, [3] * 24):
        with pytest.raises(BagwiseError, match="checkpoint of a training with other"):
            model.fit(bags, sample_weight=other, checkpoints=tmp_path)
