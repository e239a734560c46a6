"""Training may balance classes; answers are probabilities of bags as they come."""

import numpy as np
import pytest
import torch

import bagwise as bw
from bagwise import BagwiseError
from bagwise.explain import explain
from bagwise.methods.formats import FILE
from bagwise.targets.classes import ClassTarget
from bagwise.tensorfiles import read_tensors, write_tensors


def payments(count, seed, share=0.057):
    """Make customers of a few payments; some of the rare positive ones hold a payment unlike the others."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(count) < share).astype(int)
    arrays = [rng.normal(size=(rng.integers(2, 9), 4)) for _ in labels]
    for array, label in zip(arrays, labels, strict=True):
        if label:
            array[0, :2] += 2.2
    return bw.Bags.from_arrays(arrays, labels)


def uneven(classes=2):
    """Make 24 bags, of which each class has fewer than the one before."""
    rng = np.random.default_rng(classes)
    codes = rng.permutation(np.repeat(np.arange(classes), {2: (16, 8), 3: (11, 8, 5)}[classes]))
    return bw.Bags.from_arrays([rng.normal(size=(2, 3)) + code for code in codes], np.array(["a", "b", "c"])[codes])


def as_costs(model, bags):
    """Train with the weights of a balanced model, given as a mapping."""
    weights = dict(zip(model.target_.classes.in_learning.tolist(), model.settings_.class_weights, strict=True))
    return bw.AttentionMIL(**{**model.get_params(), "class_weight": weights}).fit(bags)


@pytest.mark.parametrize("positive", [None, "a"])
def test_of_two_classes_the_odds_are_multiplied_by_those_of_the_shares(positive):
    bags = uneven()
    model = bw.AttentionMIL(
        epochs=3, class_weight="balanced", positive=positive, random_state=0, precision="float64"
    ).fit(bags)
    shares = np.array([np.mean(bags.labels == name) for name in "ab"])
    np.testing.assert_allclose(model.class_shares_, shares)
    costs = as_costs(model, bags)
    assert costs.class_shares_ is None
    pairs = zip(model.model_.parameters(), costs.model_.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    wanted = costs.predict_proba(bags) * shares
    np.testing.assert_allclose(model.predict_proba(bags), wanted / wanted.sum(axis=1, keepdims=True), rtol=1e-12)
    assert not np.allclose(model.predict_proba(bags), costs.predict_proba(bags))
    decisions = costs.decision_function(bags) + np.log(shares[1] / shares[0])
    np.testing.assert_allclose(model.decision_function(bags), decisions, rtol=1e-10)
    for of_instances in ("instance_scores", "attention"):
        np.testing.assert_array_equal(getattr(model, of_instances)(bags), getattr(costs, of_instances)(bags))


@pytest.mark.parametrize("heads", [1, 3])
@pytest.mark.parametrize("classes", [2, 3])
def test_each_head_is_corrected_before_heads_are_averaged(heads, classes):
    names = np.array(["a", "b", "c"][:classes])
    target, rng = ClassTarget.of(names), np.random.default_rng(heads)
    logits, shares = rng.normal(size=(heads, 5, target.outputs)), rng.dirichlet(np.ones(classes))
    each = np.concatenate([np.zeros_like(logits), logits], axis=2) if classes == 2 else logits
    probabilities = np.exp(each) * shares
    wanted = (probabilities / probabilities.sum(axis=2, keepdims=True)).mean(axis=0)
    said = target.answers(target.corrected(torch.tensor(logits), shares))
    np.testing.assert_allclose(said, wanted, rtol=1e-12)


def test_even_classes_are_left_as_they_are():
    bags = bw.Bags.from_arrays([[[0.0]], [[1.0]], [[2.0]]] * 2, ["a", "b", "c"] * 2)
    plain, balanced = (
        bw.AttentionMIL(epochs=2, class_weight=weight, random_state=0).fit(bags) for weight in (None, "balanced")
    )
    assert plain.class_shares_ is None
    np.testing.assert_allclose(plain.predict_proba(bags), balanced.predict_proba(bags), atol=1e-6)


def test_shares_are_those_of_what_bags_weigh_and_of_the_bags_learnt_from(make_bags):
    bags = make_bags(20)
    weights = np.where(bags.labels == 1, 1.0, 4.0)
    model = bw.AttentionMIL(epochs=1, class_weight="balanced").fit(bags, sample_weight=weights)
    np.testing.assert_allclose(model.class_shares_, [0.8, 0.2])
    held_out = np.flatnonzero(bags.labels == 1)[:6]
    model = bw.AttentionMIL(epochs=2, patience=1, class_weight="balanced").fit(bags, validation=held_out)
    np.testing.assert_allclose(model.class_shares_, [10 / 14, 4 / 14])


def test_rare_bags_get_honest_probabilities():
    bags, fresh = payments(400, seed=0), payments(2000, seed=1)
    given = {"optimizer": "adam", "epochs": 10, "instance_budget": 64, "random_state": 0}
    model = bw.AttentionMIL(class_weight="balanced", **given).fit(bags)
    said, share = model.predict_proba(fresh)[:, 1], fresh.labels.mean()
    assert said.mean() == pytest.approx(share, abs=0.02)
    assert np.mean((said - fresh.labels) ** 2) < 0.9 * share * (1 - share)  # a constant guess


@pytest.mark.parametrize("method", ["attention", "MI-Net-DS", "instance-max"])
@pytest.mark.parametrize("classes", [2, 3])
def test_every_way_to_ask_says_the_same(method, classes, tmp_path):
    bags = uneven(classes)
    model = bw.make(method, epochs=2, class_weight="balanced", random_state=0)
    members = bw.fit_ensemble(model, bags, 2)
    wanted = np.mean([member.predict_proba(bags) for member in members], axis=0)
    np.testing.assert_array_equal(bw.predict_ensemble(members, bags).probabilities, wanted)
    np.testing.assert_array_equal(explain(members, bags).answers, wanted)
    bw.save_models(members, tmp_path)
    again = bw.load_models(tmp_path)
    np.testing.assert_array_equal(bw.predict_ensemble(again, bags).members, bw.predict_ensemble(members, bags).members)
    train, test = np.arange(16), np.arange(16, 24)
    found = bw.cross_validate(model, bags, folds=[(train, test)], n_jobs=1)
    np.testing.assert_array_equal(found.answers[0, test], model.fit(bags[train]).predict_proba(bags[test]))


@pytest.mark.parametrize("edited", [[0.5], [0.5, 0.6], [0.0, 1.0], [None, 1.0], "even", [np.nan, 0.5], 1.0])
def test_edited_shares_are_refused(edited, tmp_path):
    model = bw.AttentionMIL(encoder="identity", hidden=2, epochs=1, class_weight="balanced").fit(uneven())
    bw.save_model(model, tmp_path)
    tensors, description = read_tensors(tmp_path / FILE)
    description["learnt"][0]["class_shares"] = edited
    write_tensors(tmp_path / FILE, tensors, description)
    with pytest.raises(BagwiseError, match="does not hold a model as it was written"):
        bw.load_model(tmp_path)
