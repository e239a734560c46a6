import numpy as np
import pytest
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_val_score

import bagwise as bw
from bagwise import BagwiseError
from bagwise.explain import explain
from bagwise.methods.ensemble import EnsemblePrediction


@pytest.fixture(scope="module", params=[None, 2])
def trained(request, make_bags):
    bags = make_bags(count=20)
    model = bw.AttentionMIL(epochs=3, patience=request.param, dropout=0.2, random_state=0)
    return model, bags, bw.fit_ensemble(model, bags, 11)


def test_the_first_member_is_the_single_fit_and_the_others_differ(trained):
    model, bags, members = trained
    said = bw.predict_ensemble(members, bags).members
    assert said.shape == (11, 20, 2)
    np.testing.assert_array_equal(said[0], model.fit(bags).predict_proba(bags))
    assert len({member.tobytes() for member in said}) == 11


def test_a_member_does_not_depend_on_the_size_of_the_ensemble(trained):
    model, bags, members = trained
    few = bw.fit_ensemble(model, bags, 3)
    said, of_few = bw.predict_ensemble(members, bags), bw.predict_ensemble(few, bags)
    np.testing.assert_array_equal(of_few.members, said.members[:3])


def test_mean_and_spread_are_over_the_members(trained):
    _, bags, members = trained
    said = bw.predict_ensemble(members, bags)
    each = np.stack([member.predict_proba(bags) for member in members])
    np.testing.assert_array_equal(said.members, each)
    np.testing.assert_allclose(said.probabilities, each.mean(0))
    np.testing.assert_allclose(said.spread, each.std(0, ddof=1))
    assert (said.spread > 0).all()


def test_one_member_has_no_spread():
    assert not EnsemblePrediction(np.full((1, 3, 2), 0.5)).spread.any()


@pytest.mark.parametrize("size", [0, -1, 1.5, "two", True, None])
def test_a_size_that_will_not_do(make_bags, size):
    with pytest.raises(BagwiseError, match="the size of the ensemble"):
        bw.fit_ensemble(bw.AttentionMIL(epochs=1), make_bags(), size)


# ---- as an estimator -------------------------------------------------------------------------------------------------


def test_it_answers_with_the_mean_of_its_members(trained):
    _, bags, members = trained
    arrays = [bag.instances for bag in bags]
    for X in (bags, arrays):
        probabilities = members.predict_proba(X)
        np.testing.assert_array_equal(probabilities, bw.predict_ensemble(members, X).probabilities)
        np.testing.assert_array_equal(members.predict(X), members.target_.predicted(probabilities))
    for ask in ("attention", "instance_scores"):
        mean = np.mean([getattr(member, ask)(bags) for member in members], axis=0)
        np.testing.assert_allclose(getattr(members, ask)(arrays), mean, rtol=1e-6)
    assert members.score(bags) == members.score(arrays, bags.labels)
    assert members.classes_.tolist() == [0, 1]
    assert (members.positive_, members.n_features_in_) == (1, 3)


def test_it_is_an_estimator_of_scikit_learn_and_a_sequence_of_its_members(trained):
    model, bags, members = trained
    again = clone(members)
    assert len(again) == 0
    with pytest.raises(NotFittedError):
        again.predict(bags)
    assert is_classifier(again)
    again.set_params(method__epochs=1, size=2).fit([bag.instances for bag in bags], bags.labels)
    assert [member.epochs for member in again] == [1, 1]
    assert model.epochs == 3
    assert again[0] is again.members_[0]
    assert cross_val_score(again, bags, bags.labels, cv=2).shape == (2,)
    with pytest.raises(BagwiseError, match="size is 0"):
        again.set_params(size=0).fit(bags)
    with pytest.raises(BagwiseError, match="method is 'attention'"):
        bw.Ensemble("attention").fit(bags)


def test_it_is_kept_and_explained_as_a_whole(trained, tmp_path):
    _, bags, members = trained
    bw.save_model(members, tmp_path)
    again = bw.load_model(tmp_path)
    assert isinstance(again, bw.Ensemble)
    for ask in ("predict", "predict_proba", "attention", "instance_scores"):
        np.testing.assert_array_equal(getattr(again, ask)(bags), getattr(members, ask)(bags))
    assert again.get_params()["size"] == 11
    np.testing.assert_array_equal(explain(again, bags).weights, explain(list(members), bags).weights)


def test_what_has_no_weights_pretends_to_have_none(make_bags):
    model = bw.Ensemble(bw.InstanceMIL(pooling="max", epochs=1, random_state=0), 2)
    assert not hasattr(model, "attention")
    assert model.fit(make_bags()).instance_scores(make_bags()).ndim == 1


def test_neural_and_classical_models_of_the_same_labels_answer_together(make_bags):
    bags = make_bags(12)
    models = [bw.make(name, random_state=0).fit(bags) for name in ("MI-SVM", "attention", "mi-SVM")]
    said = bw.predict_ensemble(models, bags)
    np.testing.assert_array_equal(said.members, [model.predict_proba(bags) for model in models])
    found = explain(models, bags)
    assert found.weights is None
    np.testing.assert_allclose(found.scores, np.mean([model.instance_scores(bags) for model in models], axis=0))
