"""Where a class is rare, predictions divide at a threshold that was chosen on bags that were not learnt from."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score

import bagwise as bw
from bagwise import METHODS, BagwiseError
from bagwise.explain import explain
from bagwise.methods.classical.base import ClassicalMIL
from bagwise.methods.formats import FILE
from bagwise.methods.threshold import best_threshold, inner_folds
from bagwise.targets.classes import ClassTarget
from bagwise.tensorfiles import read_tensors, write_tensors

CLASSICAL = [name for name, (kind, _) in METHODS.items() if issubclass(kind, ClassicalMIL)]
QUICK = {"encoder": "identity", "hidden": 4, "epochs": 2, "random_state": 0}


def rare(positive=24, negative=96, groups=None, names=("no", "yes")):
    rng = np.random.default_rng(positive)
    labels = np.array(names)[(np.arange(positive + negative) % (1 + negative // positive) == 0).astype(int)]
    arrays = [rng.normal(size=(2, 3)) + (label == names[1]) for label in labels]
    given = None if groups is None else np.arange(len(labels)) % groups
    return bw.Bags.from_arrays(arrays, labels, groups=given)


# ---- choosing ------------------------------------------------------------------------------------------------------


@given(st.data())
def test_no_threshold_is_better_by_more_than_a_standard_error(data):
    count = data.draw(st.integers(2, 30))
    positive = np.array(data.draw(st.lists(st.booleans(), min_size=count, max_size=count)))
    positive[:2] = True, False
    levels = st.sampled_from(np.linspace(0, 1, 8).tolist())
    probabilities = np.array(data.draw(st.lists(levels, min_size=count, max_size=count)))
    share = data.draw(st.sampled_from([0.05, 0.2, 1 / 7]))
    chosen = best_threshold(positive, probabilities, np.ones(count), share)
    accuracy, error = {}, {}
    cuts = [*(np.unique(probabilities)[1:] + np.unique(probabilities)[:-1]) / 2, share]
    for cut in cuts:
        right = (probabilities > cut) == positive
        shares = [right[positive == of] for of in (True, False)]
        accuracy[cut] = balanced_accuracy_score(positive, probabilities > cut)
        error[cut] = np.sqrt(sum(one.var() / len(one) for one in shares)) / 2
    assert chosen in accuracy
    best = max(cuts, key=lambda cut: accuracy[cut])
    allowed = [error[cut] for cut in cuts if np.isclose(accuracy[cut], accuracy[best])]
    assert accuracy[chosen] >= accuracy[best] - max(allowed) - 1e-9
    for cut in cuts:
        if abs(cut - share) < abs(chosen - share) - 1e-9:
            assert accuracy[cut] <= accuracy[best] - min(allowed) + 1e-9


def test_a_bag_of_weight_two_is_two_bags():
    rng = np.random.default_rng(0)
    positive, probabilities, weights = rng.random(40) < 0.3, rng.random(40).round(1), rng.integers(1, 4, 40)
    twice = np.repeat(np.arange(40), weights)
    found = best_threshold(positive, probabilities, weights.astype(float), 0.3)
    rejected = [np.average((probabilities > cut) == positive, weights=weights) for cut in (found, 0.3)]
    assert np.isclose(rejected[0], np.mean((probabilities[twice] > found) == positive[twice]))


def test_inner_folds_part_no_group_and_lack_no_class():
    codes, groups = np.arange(120) % 5 == 0, (np.arange(120) // 5 % 12).astype(object)
    parts = list(inner_folds(codes.astype(int), groups, seed=0))
    assert len(parts) == 3
    for train, test in parts:
        assert not set(groups[train]) & set(groups[test])
        assert codes[train].any()
        assert codes[test].any()
    assert np.array_equal(np.sort(np.concatenate([test for _, test in parts])), np.arange(120))
    assert not list(inner_folds(codes.astype(int), (np.arange(120) % 5).astype(object), seed=0))  # one group has all
    assert not list(inner_folds(codes[:90].astype(int), None, seed=0))  # 18 of a class


# ---- which threshold -----------------------------------------------------------------------------------------------


def test_even_classes_are_divided_at_one_half(make_bags):
    model = bw.AttentionMIL(**QUICK).fit(make_bags())
    assert model.threshold_ == 0.5
    assert model.target_.threshold is None


def test_of_few_bags_the_share_is_taken():
    model = bw.AttentionMIL(**QUICK).fit(rare(4, 36))
    assert model.threshold_ == pytest.approx(0.1)
    assert bw.AttentionMIL(**QUICK, positive="no").fit(rare(4, 36)).threshold_ == pytest.approx(0.9)


def test_a_cost_decides_by_itself():
    assert bw.AttentionMIL(**QUICK, class_weight={"no": 1, "yes": 3}).fit(rare()).threshold_ == 0.5


def test_it_is_what_inner_folds_say():
    bags = rare()
    model = bw.AttentionMIL(**QUICK).fit(bags)
    said = np.empty(len(bags))
    for train, test in inner_folds((bags.labels == "yes").astype(int), None, seed=0):
        inner = bw.AttentionMIL(**QUICK, threshold=0.5).fit(bags[train])
        said[test] = inner.predict_proba(bags[test])[:, 1]
    share = np.mean(bags.labels == "yes")
    assert model.threshold_ == best_threshold(bags.labels == "yes", said, np.ones(len(bags)), share)
    assert np.array_equal(model.predict(bags) == "yes", model.predict_proba(bags)[:, 1] > model.threshold_)


def test_it_is_what_validation_bags_say_where_there_are_enough():
    bags, fresh = rare(), rare(20, 80)
    model = bw.AttentionMIL(**{**QUICK, "patience": 1}).fit(bags, validation=fresh)
    said, share = model.predict_proba(fresh)[:, 1], np.mean(bags.labels == "yes")
    assert model.threshold_ == best_threshold(fresh.labels == "yes", said, np.ones(100), share)


def test_classes_that_are_rare_among_three_are_predicted():
    bags = bw.Bags.from_arrays(
        np.random.default_rng(0).normal(size=(40, 2, 3)) + np.repeat([0, 1, 2], [18, 19, 3])[:, None, None],
        np.repeat(["a", "b", "c"], [18, 19, 3]),
    )
    model = bw.AttentionMIL(**QUICK).fit(bags)
    np.testing.assert_allclose(model.threshold_, model.class_shares_)
    wanted = model.classes_[(model.predict_proba(bags) / model.class_shares_).argmax(axis=1)]
    assert np.array_equal(model.predict(bags), wanted)
    assert bw.AttentionMIL(**QUICK, class_weight=None).fit(bags).threshold_ is None


@pytest.mark.parametrize("value", [0, 1, -0.5, "half", None, np.nan])
@pytest.mark.parametrize("name", ["attention", "mean-logistic"])
def test_what_is_no_threshold_is_refused(name, value):
    with pytest.raises(BagwiseError, match="threshold is"):
        bw.make(name, threshold=value).fit(rare())


@pytest.mark.parametrize("labels", [["a", "b", "c"] * 4, np.linspace(0, 1, 12)])
@pytest.mark.parametrize("name", ["attention", "summary-SVM"])
def test_a_number_needs_two_classes(name, labels):
    bags = bw.Bags.from_arrays([[[0.0]], [[1.0]], [[2.0]]] * 4, labels)
    with pytest.raises(BagwiseError, match=r"threshold is 0\.3, which is one of two classes"):
        bw.make(name, threshold=0.3).fit(bags)


# ---- of classical methods ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CLASSICAL)
def test_a_classical_method_decides_as_a_neural_one(name, tmp_path):
    bags, others = rare(4, 36), rare(5, 5)
    model = bw.make(name, random_state=0).fit(bags)
    assert model.threshold_ == pytest.approx(0.1)
    assert np.array_equal(model.predict(others) == "yes", model.predict_proba(others)[:, 1] > model.threshold_)
    half = bw.make(name, random_state=0, threshold=0.5).fit(bags)
    assert np.array_equal(half.predict_proba(others), model.predict_proba(others))
    assert np.array_equal(half.predict(others) == "yes", half.predict_proba(others)[:, 1] > 0.5)
    bw.save_model(model, tmp_path)
    again = bw.load_model(tmp_path)
    assert again.threshold_ == model.threshold_
    assert np.array_equal(again.predict(others), model.predict(others))


@pytest.mark.parametrize("groups", [None, 15])
def test_a_classical_method_chooses_by_bags_held_out(groups):
    places = np.repeat([0.0, 1.0, 4.0], [70, 24, 26])  # no line tells the middle, where the positive are, from the rest
    values = (places + np.random.default_rng(0).normal(size=120) * 0.2)[:, None, None]
    positive, given = places == 1, None if groups is None else np.arange(120) % groups
    bags = bw.Bags.from_arrays(values, np.where(positive, "yes", "no"), groups=given)
    model, decisions = bw.make("mean-logistic", C=0.1, random_state=0).fit(bags), np.empty(120)
    for train, test in inner_folds(positive.astype(int), bags.groups, seed=0):
        decisions[test] = bw.make("mean-logistic", C=0.1, random_state=0).fit(bags[train])._decisions(bags[test])
    said = model.calibration_.answers(decisions)[:, 1]
    assert model.threshold_ == best_threshold(positive, said, np.ones(120), 0.2) != 0.2


def test_decisions_that_are_no_probabilities_divide_in_the_middle():
    bags = rare(1, 9)  # of which none can be held out
    assert bw.make("MI-SVM", random_state=0).fit(bags).threshold_ == 0.5
    assert bw.make("mean-logistic", random_state=0).fit(bags).threshold_ == pytest.approx(0.1)
    assert bw.make("summary-forest", trees=5, leaf=1, random_state=0).fit(rare()).threshold_ == pytest.approx(0.2)


def test_rare_among_three_classes_is_found_by_a_classical_method():
    labels = np.repeat(["a", "b", "c"], [18, 19, 3])
    bags = bw.Bags.from_arrays(np.random.default_rng(0).normal(size=(40, 2, 3)), labels)
    model = bw.make("mean-logistic", random_state=0).fit(bags)
    np.testing.assert_allclose(model.threshold_, [18 / 40, 19 / 40, 3 / 40])
    wanted = model.classes_[(model.predict_proba(bags) / model.threshold_).argmax(axis=1)]
    assert np.array_equal(model.predict(bags), wanted)


# ---- everywhere ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("groups", [None, 15])
def test_folds_decide_as_separate_fits(groups):
    bags = rare(30, 120, groups)
    model = bw.AttentionMIL(**QUICK)
    found = bw.cross_validate(model, bags, folds=2, scoring=["accuracy", "balanced_accuracy", "recall"], n_jobs=1)
    for fold in range(2):
        test = np.flatnonzero(found.assignment[0] == fold)
        alone = bw.AttentionMIL(**QUICK).fit(bags[np.flatnonzero(found.assignment[0] != fold)])
        np.testing.assert_array_equal(found.answers[0, test], alone.predict_proba(bags[test]))
        predicted = alone.predict(bags[test])
        assert np.array_equal(found.predicted[0, test], predicted)
        assert found.scores["accuracy"][0, fold] == alone.score(bags[test])
        wanted = balanced_accuracy_score(bags.labels[test], predicted)
        assert found.scores["balanced_accuracy"][0, fold] == pytest.approx(wanted)
        assert found.scores["recall"][0, fold] == np.mean(predicted[bags.labels[test] == "yes"] == "yes")


def test_epochs_are_told_of_members_alone():
    told = []
    bags = rare()
    bw.fit_ensemble(bw.AttentionMIL(**QUICK), bags, 2, on_epoch=told.append)
    assert sorted((entry["member"], entry["epoch"]) for entry in told) == [(0, 1), (0, 2), (1, 1), (1, 2)]


def test_members_average_and_files_keep_it(tmp_path):
    bags = rare()
    members = [bw.AttentionMIL(**QUICK, threshold=value).fit(bags) for value in (0.15, 0.25)]
    found = explain(members, bags)
    assert found.target.threshold == pytest.approx(0.2)
    assert np.array_equal(found.predicted == "yes", found.answers[:, 1] > found.target.threshold)
    assert np.array_equal(found.probability, np.where(found.predicted == "yes", *found.answers.T[::-1]))
    model = bw.AttentionMIL(**QUICK).fit(bags)
    bw.save_model(model, tmp_path)
    again = bw.load_model(tmp_path)
    assert again.threshold_ == model.threshold_ != 0.5
    assert np.array_equal(again.predict(bags), model.predict(bags))


@pytest.mark.parametrize("edited", [0, 1.5, "half", [0.5, 0.5], np.nan, []])
def test_an_edited_threshold_is_refused(edited, tmp_path):
    bw.save_model(bw.AttentionMIL(**QUICK, threshold=0.25).fit(rare()), tmp_path)
    tensors, description = read_tensors(tmp_path / FILE)
    description["learnt"][0]["threshold"] = edited
    write_tensors(tmp_path / FILE, tensors, description)
    with pytest.raises(BagwiseError, match="does not hold a model as it was written"):
        bw.load_model(tmp_path)


def test_a_threshold_is_exclusive_and_no_fact_of_labels():
    target = ClassTarget.of(["no", "yes"])
    decided = target.deciding(0.25).predicted(np.array([[0.75, 0.25], [0.7, 0.3]]))
    assert decided.tolist() == ["no", "yes"]
    assert target.deciding(0.25) == target
