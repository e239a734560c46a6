"""What classes are called decides nothing but the order of the columns."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score

import bagwise as bw
from bagwise import METHODS, BagwiseError
from bagwise.evaluation.cross_validation import validate_folds
from bagwise.evaluation.protocol import Folds
from bagwise.explain import contrast, explain, key_instances
from bagwise.methods.base import BagEstimator
from bagwise.methods.neural import NeuralMIL
from bagwise.tensorfiles import read_tensors, write_tensors

every_method = pytest.mark.parametrize("name", METHODS)
NEURAL = [name for name, (kind, _) in METHODS.items() if issubclass(kind, NeuralMIL)]
RISING, FALLING = np.array(["normal", "tumour"]), np.array(["normal", "cancer"])


def make(name, **parameters):
    quick = {"epochs": 3} if name in NEURAL else METHODS[name][0].GRID[-1]  # nothing to choose
    return bw.make(name, random_state=0, **quick, **parameters)


@pytest.fixture(scope="module")
def pair(make_bags):
    """The same bags by two names of their classes, whose order in the alphabet differs."""
    bags = make_bags(count=24, groups=8, seed=3)
    return [bags.with_labels(names[bags.labels]) for names in (RISING, FALLING)]


@every_method
def test_names_of_classes_decide_nothing_but_the_order_of_columns(pair, name):
    one, other = [make(name).fit(bags) for bags in pair]
    assert one.classes_.tolist() == ["normal", "tumour"]
    assert other.classes_.tolist() == ["cancer", "normal"]
    assert (one.positive_, other.positive_) == ("tumour", "cancer")
    new = pair[0][::-1]
    assert_array_equal(one.predict_proba(new), other.predict_proba(new)[:, ::-1])
    assert_array_equal(one.decision_function(new), -other.decision_function(new))
    assert_array_equal(one.predict(new) == "tumour", other.predict(new) == "cancer")
    assert_array_equal(other.decision_function(new) > 0, other.predict(new) == "normal")
    assert one.score(pair[0]) == other.score(pair[1])
    if hasattr(one, "instance_scores"):
        assert_array_equal(one.instance_scores(new), other.instance_scores(new))
    if hasattr(one, "attention"):
        weights = other.attention(new)
        by_class = one.model_.weight_axis == "classes"
        assert_array_equal(one.attention(new), weights[:, ::-1] if by_class else weights)


@every_method
def test_names_of_classes_change_no_metric(pair, name):
    one, other = [bw.cross_validate(make(name), bags, folds=2, n_jobs=1) for bags in pair]
    assert (one.positive, other.positive) == ("tumour", "cancer")
    assert_array_equal(one.probabilities, other.probabilities[..., ::-1])
    assert_array_equal(one.predicted == "tumour", other.predicted == "cancer")
    for metric, scores in one.scores.items():
        assert_array_equal(scores, other.scores[metric], err_msg=metric)
    assert "positive class cancer" in repr(other)


@pytest.mark.parametrize("parameters", [{"class_weight": "balanced", "patience": 2}, {"class_weight": {"normal": 3.0}}])
def test_weights_and_validation_follow_the_names(pair, parameters):
    rare = [bags[np.r_[0:16, 17:24:2]] for bags in pair]
    given = {key: value for key, value in parameters.items() if key != "class_weight"}
    weights = parameters["class_weight"]
    found = []
    for bags, positive in zip(rare, ("tumour", "cancer"), strict=True):
        weighed = weights if isinstance(weights, str) else weights | {positive: 0.5}
        found.append(make("attention", class_weight=weighed, **given).fit(bags))
    one, other = found
    assert one.settings_.class_weights == other.settings_.class_weights  # in the order of learning
    assert one.history_ == other.history_
    assert_array_equal(one.predict_proba(pair[0]), other.predict_proba(pair[0])[:, ::-1])


@pytest.mark.parametrize("name", ["instance-max", "MI-SVM"])
def test_the_class_that_is_named_is_positive(make_bags, name):
    bags = make_bags(count=24)
    animals = bags.with_labels(np.array(["dog", "cat"])[bags.labels])
    default, named = make(name).fit(animals), make(name, positive="cat").fit(animals)
    assert (default.positive_, named.positive_) == ("dog", "cat")
    plain = make(name).fit(bags)
    assert_array_equal(named.predict_proba(bags), plain.predict_proba(bags)[:, ::-1])
    assert_array_equal(named.instance_scores(bags), plain.instance_scores(bags))
    assert not np.array_equal(default.predict_proba(bags), named.predict_proba(bags))


@pytest.mark.parametrize("name", ["attention", "MI-SVM"])
def test_a_class_that_is_none_is_refused(make_bags, name):
    with pytest.raises(BagwiseError, match="positive is 'wolf', and the classes are 0, 1: name one of them"):
        make(name, positive="wolf").fit(make_bags())
    with pytest.raises(BagwiseError, match="3 classes"):
        make(name, positive=1).fit(make_bags(classes=3))
    assert make(name).fit(make_bags(classes=3)).positive_ is None


def test_a_class_that_is_none_is_refused_before_anything_is_trained(make_bags, monkeypatch):
    monkeypatch.setattr("bagwise.evaluation.cross_validation.fit_members", None)
    with pytest.raises(BagwiseError, match="name one of them"):
        bw.cross_validate(make("attention", positive="wolf"), make_bags(), folds=3)


def test_scikit_learn_sets_and_searches_it(make_bags):
    bags = make_bags()
    assert clone(make("attention", positive=0)).get_params()["positive"] == 0
    given = {"X": bags, "y": bags.labels, "cv": 2}
    scores = [
        cross_val_score(
            make("instance-max").set_params(positive=positive), **given, scoring="roc_auc", error_score="raise"
        )
        for positive in (0, 1)
    ]
    assert not np.array_equal(*scores)
    search = GridSearchCV(make("instance-max"), {"positive": [0, 1]}, cv=2, error_score="raise")
    assert search.fit(bags, bags.labels).best_params_["positive"] in (0, 1)


def test_models_with_another_positive_class_train_apart(make_bags):
    bags = make_bags()
    everything = np.arange(len(bags))
    models = [make("instance-max", positive=positive) for positive in (0, 1, None)]
    fitted = bw.methods.joint.fit_members(models, bags, [everything] * 3)
    alone = [make("instance-max", positive=positive).fit(bags) for positive in (0, 1, None)]
    for one, other in zip(fitted, alone, strict=True):
        assert_array_equal(one.predict_proba(bags), other.predict_proba(bags))


def test_rivals_and_the_wrong_protocol_follow_it(pair):
    found = []
    for bags in [bw.Bags(one.instances, one.offsets, one.labels) for one in pair]:
        rivals = [make("instance-max"), make("embedding-mean")]
        folds = Folds(bags, folds=2)
        found.append(validate_folds(rivals[0], bags, folds, rivals=rivals[1:], n_jobs=1))
        found.append(validate_folds(rivals[0].set_params(patience=2), bags, folds, epoch_by_test=True, n_jobs=1))
    for one, other in (found[::2], found[1::2]):
        assert_array_equal(one.probabilities, other.probabilities[..., ::-1])


def test_ensembles_and_explanations_follow_it(pair):
    one, other = [bw.fit_ensemble(make("instance-max"), bags, 2) for bags in pair]
    said = [bw.predict_ensemble(models, pair[0]) for models in (one, other)]
    assert_array_equal(said[0].members, said[1].members[..., ::-1])
    assert_array_equal(said[0].spread, said[1].spread[..., ::-1])
    found = [explain(models, pair[0]) for models in (one, other)]
    assert (found[0].positive, found[1].positive) == ("tumour", "cancer")
    assert_array_equal(found[0].scores, found[1].scores)
    assert_array_equal(found[0].predicted == "tumour", found[1].predicted == "cancer")
    tables = [key_instances(each, pair[0]).replace({"cancer": "tumour"}) for each in found]
    assert tables[0].equals(tables[1])
    assert contrast(found[0], pair[0]).equals(contrast(found[1], pair[0]))


def test_in_a_model_of_0_1_it_is_the_last_by_name(pair, tmp_path):
    model = make("instance-max", positive="normal").fit(pair[1])
    bw.save_model(model, tmp_path)
    tensors, description = read_tensors(tmp_path / "model.safetensors")
    del description["config"]["positive"], description["config"]["format"]
    del description["config"]["parameters"]["positive"]
    write_tensors(tmp_path / "model.safetensors", tensors, description)
    again = bw.load_model(tmp_path)
    assert again.positive_ == "normal"
    assert_array_equal(again.predict_proba(pair[1]), model.predict_proba(pair[1]))


class Fixed(BagEstimator):
    """A method of a user's own, that knows nothing of which class is positive."""

    random_state = 0

    def fit(self, X, y=None):
        self.classes_ = np.unique(bw.bags.as_bags(X, y).labels)
        return self

    def predict_proba(self, X):
        return np.tile([0.75, 0.25], (len(X), 1))


def test_a_method_of_ones_own_need_not_know_of_it(pair):
    assert Fixed().fit(pair[1]).predict(pair[1]).tolist() == ["cancer"] * len(pair[1])
    found = bw.cross_validate(Fixed(), pair[1], folds=2, n_jobs=1)
    assert (found.positive, found.mean("recall")) == ("cancer", 1.0)


def test_a_saved_model_keeps_it(pair, tmp_path):
    model = make("instance-max", positive="normal").fit(pair[1])
    bw.save_model(model, tmp_path)
    again = bw.load_model(tmp_path)
    assert (again.positive, again.positive_) == ("normal", "normal")
    assert_array_equal(again.predict_proba(pair[1]), model.predict_proba(pair[1]))


def test_a_fitted_model_says_which_class_is_positive():
    bags = bw.Bags.from_arrays([[[0.0]], [[1.0]]] * 3, ["normal", "cancer"] * 3)
    model = bw.AttentionMIL(epochs=1)
    assert repr(model) == "AttentionMIL(epochs=1)"
    assert repr(model.fit(bags)) == "AttentionMIL(epochs=1), fitted; positive class cancer"
    assert repr(model.fit(bags, ["a", "b", "c"] * 2)) == "AttentionMIL(epochs=1)"
