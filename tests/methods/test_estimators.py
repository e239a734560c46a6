import copy
import pickle
import re

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted
from torch import nn

import bagwise as bw
from bagwise import METHODS, BagwiseError
from bagwise.methods.neural import NeuralMIL
from bagwise.methods.recipes import Facts
from bagwise.models.pooling import Pooled, Pooling
from bagwise.segments import segment_mean

NEURAL = [name for name, (kind, _) in METHODS.items() if issubclass(kind, NeuralMIL)]
every_method = pytest.mark.parametrize("name", NEURAL)
ASKS = ("predict", "predict_proba", "decision_function", "instance_scores")


def fast(name="attention", **parameters):
    return bw.make(name, **{"epochs": 2, "random_state": 0, "learning_rate": 0.01, **parameters})


def arrays_of(bags):
    return [bag.instances for bag in bags]


def weights_of(model):
    return {name: value.numpy() for name, value in model.model_.state_dict().items()}


def assert_same_weights(one, other):
    one, other = weights_of(one), weights_of(other)
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def changed(bags, change, where):
    """Give the same bags with other instances at some positions."""
    arrays = [change(bag.instances) if n in where else bag.instances for n, bag in enumerate(bags)]
    return bw.Bags.from_arrays(arrays, bags.labels, names=bags.names, groups=bags.groups)


# ---- what every method answers ------------------------------------------------------------------------


@every_method
def test_every_method_answers_in_the_users_labels(make_bags, name):
    models = {}
    for classes, kind in [(2, "int"), (2, "bool"), (2, "string"), (3, "string")]:
        bags = make_bags(classes=classes, kind=kind)
        models[classes, kind] = fast(name).fit(bags)
        assert_answers_in_the_labels(models[classes, kind], bags, classes)
    assert_same_weights(models[2, "int"], models[2, "bool"])
    assert_same_weights(models[2, "int"], models[2, "string"])


def assert_answers_in_the_labels(model, bags, classes):
    np.testing.assert_array_equal(model.classes_, np.unique(bags.labels))
    probabilities = model.predict_proba(bags)
    assert probabilities.shape == (len(bags), classes)
    assert (probabilities >= 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
    predicted = model.predict(bags)
    np.testing.assert_array_equal(predicted, model.classes_[probabilities.argmax(axis=1)])
    assert predicted.dtype.kind == bags.labels.dtype.kind
    assert model.score(bags) == np.mean(predicted == bags.labels)
    scores = model.instance_scores(bags)
    count = len(bags.instances)
    assert scores.shape == ((count,) if classes == 2 else (count, classes))
    assert ((scores >= 0) & (scores <= 1)).all()


@every_method
def test_log_odds_agree_with_probabilities_for_two_classes(make_bags, fitted, name):
    model, bags = fitted(name, precision="float64"), make_bags(classes=2)
    p = model.predict_proba(bags)
    values = model.decision_function(bags)
    assert values.shape == (len(bags),)
    np.testing.assert_allclose(values, np.log(p[:, 1] / p[:, 0]), rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(model.predict(bags), (values > 0).astype(int))


@every_method
def test_log_probabilities_agree_with_probabilities_for_three_classes(make_bags, fitted, name):
    model, bags = fitted(name, classes=3, precision="float64"), make_bags(classes=3)
    values = model.decision_function(bags)
    assert values.shape == (len(bags), 3)
    np.testing.assert_allclose(values, np.log(model.predict_proba(bags)), rtol=1e-9, atol=1e-9)


@every_method
@pytest.mark.parametrize("classes", [2, 3])
def test_decisions_stay_finite_and_tell_certain_bags_apart(fitted, name, classes):
    far = bw.Bags.from_arrays([[[scale, scale, scale]] for scale in (1e3, 1e4, 1e5, -1e5)])
    values = fitted(name, classes).decision_function(far)
    assert np.isfinite(values).all()
    assert len(np.unique(values, axis=0)) == 4


@every_method
def test_bags_and_a_list_of_arrays_are_one(make_bags, name):
    bags = make_bags()
    from_bags = fast(name).fit(bags)
    from_list = fast(name).fit(arrays_of(bags), bags.labels)
    assert_same_weights(from_bags, from_list)
    for ask in ASKS:
        np.testing.assert_array_equal(getattr(from_bags, ask)(bags), getattr(from_list, ask)(arrays_of(bags)))
    assert from_bags.score(bags) == from_bags.score(arrays_of(bags), list(bags.labels))


def test_labels_beside_bags_take_the_place_of_their_own(make_bags):
    bags = make_bags()
    other = np.roll(bags.labels, 1)
    assert_same_weights(fast().fit(bags, other), fast().fit(bags.with_labels(other)))


def test_score_takes_sample_weights(make_bags, fitted):
    bags, model = make_bags(), fitted("attention")
    wrong = bags.with_labels(np.where(np.arange(len(bags)) < 6, 1 - model.predict(bags), model.predict(bags)))
    assert model.score(wrong) == 18 / 24
    weight = np.where(np.arange(len(bags)) < 6, 3.0, 1.0)
    assert model.score(wrong, sample_weight=weight) == pytest.approx(18 / 36)


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", ">i4", "float16", "float32", ">f8"])
def test_any_real_numbers_do_as_instances(make_bags, dtype):
    bags = make_bags()
    cast = [np.asarray(instances.round(), dtype) for instances in arrays_of(bags)]
    doubles = [instances.astype(np.float64) for instances in cast]
    given = fast(precision="float64").fit(cast, bags.labels).predict_proba(cast)
    wanted = fast(precision="float64").fit(doubles, bags.labels).predict_proba(doubles)
    np.testing.assert_allclose(given, wanted, rtol=1e-9)


# ---- instances ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["attention", "gated-attention"])
@pytest.mark.parametrize("classes", [2, 3])
def test_attention_is_a_distribution_over_each_bag(make_bags, fitted, name, classes):
    bags = make_bags(classes=classes)
    weights = fitted(name, classes).attention(bags)
    assert weights.shape == (len(bags.instances),)
    assert (weights > 0).all()
    np.testing.assert_allclose(np.add.reduceat(weights, bags.offsets[:-1]), 1, rtol=1e-6)


@pytest.mark.parametrize("name", [name for name in NEURAL if not bw.make(name)._may_weigh()])
def test_methods_without_attention_do_not_pretend_to_have_any(fitted, name):
    assert not hasattr(fitted(name), "attention")


@pytest.mark.parametrize("name", ["MI-Net", "MI-Net-DS", "MI-Net-RC", "attention", "gated-attention", "embedding-mean"])
@pytest.mark.parametrize("classes", [2, 3])
def test_at_the_embedding_level_a_score_is_the_answer_to_the_instance_alone(make_bags, fitted, name, classes):
    bags, model = make_bags(classes=classes), fitted(name, classes, "float64")
    alone = np.concatenate([model.predict_proba([row[None]]) for row in bags.instances])
    np.testing.assert_allclose(model.instance_scores(bags), alone[:, 1] if classes == 2 else alone, rtol=1e-9)


@pytest.mark.parametrize("name", ["mi-Net", "instance-max", "instance-mean"])
def test_at_the_instance_level_a_bag_pools_its_scores(make_bags, fitted, name):
    bags, model = make_bags(), fitted(name, precision="float64")
    pool = np.mean if name == "instance-mean" else np.max
    scores = np.split(model.instance_scores(bags), bags.offsets[1:-1])
    np.testing.assert_allclose(model.predict_proba(bags)[:, 1], [pool(part) for part in scores], rtol=1e-9)


@pytest.mark.parametrize("pooling", ["max", "mean", "log-sum-exp", "isr", "noisy-or", "noisy-and"])
def test_the_instance_level_takes_every_pooling_of_probabilities(make_bags, pooling):
    bags = make_bags()
    model = bw.InstanceMIL(pooling=pooling, epochs=1, random_state=0, precision="float64").fit(bags)
    p = np.split(model.instance_scores(bags), bags.offsets[1:-1])
    wanted = {
        "max": np.max,
        "mean": np.mean,
        "noisy-or": lambda p: 1 - np.prod(1 - p),
        "isr": lambda p: (p / (1 - p)).sum() / (1 + (p / (1 - p)).sum()),
    }.get(pooling)
    given = model.predict_proba(bags)[:, 1]
    assert ((given > 0) & (given < 1)).all()
    if wanted is not None:
        np.testing.assert_allclose(given, [wanted(part) for part in p], rtol=1e-9)


@pytest.mark.parametrize("pooling", ["max", "mean", "log-sum-exp"])
@pytest.mark.parametrize("kind", [bw.EmbeddingMIL, bw.DeepSupervisionMIL, bw.ResidualMIL])
def test_the_embedding_level_takes_every_documented_pooling(make_bags, kind, pooling):
    bags = make_bags()
    assert np.isfinite(kind(pooling=pooling, epochs=1, random_state=0).fit(bags).predict_proba(bags)).all()


# ---- what learning brings -----------------------------------------------------------------------------


@every_method
def test_every_method_learns_an_easy_problem(name):
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(4, 2)) + 4 * (bag % 2) for bag in range(40)]
    bags = bw.Bags.from_arrays(arrays, labels=np.arange(40) % 2)
    model = bw.make(name, epochs=15, learning_rate=0.005, random_state=0).fit(bags[:20])
    assert model.score(bags[20:]) == 1
    assert model.history_[-1]["loss"] < model.history_[0]["loss"]


@every_method
def test_the_same_seed_gives_the_same_bits_and_another_seed_others(make_bags, name):
    bags = make_bags()
    first, again, other = (fast(name, random_state=seed).fit(bags) for seed in (7, 7, 8))
    assert_same_weights(first, again)
    assert first.history_ == again.history_
    np.testing.assert_array_equal(first.predict_proba(bags), again.predict_proba(bags))
    assert (first.predict_proba(bags) != other.predict_proba(bags)).any()


def test_a_random_state_object_moves_on_from_fit_to_fit(make_bags):
    bags = make_bags()
    model = fast(random_state=np.random.RandomState(0))
    one, two = model.fit(bags).predict_proba(bags), model.fit(bags).predict_proba(bags)
    assert (one != two).any()
    again = fast(random_state=np.random.RandomState(0)).fit(bags).predict_proba(bags)
    np.testing.assert_array_equal(one, again)


def test_a_numpy_integer_is_a_seed_like_any_other(make_bags):
    bags = make_bags()
    assert_same_weights(fast(random_state=5).fit(bags), fast(random_state=np.int64(5)).fit(bags))


@pytest.mark.parametrize("random_state", [-1, 2**40, "x"])
def test_a_random_state_that_is_no_seed_is_refused_as_such(make_bags, random_state):
    with pytest.raises(ValueError, match=r"(?i)random_state|seed"):
        fast(random_state=random_state).fit(make_bags())


def test_fit_and_predict_leave_the_worlds_randomness_and_threads_alone(make_bags):
    bags = make_bags()
    torch.manual_seed(1)
    np.random.seed(1)
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        fast().fit(bags).predict_proba(bags)
        with pytest.raises(BagwiseError):
            fast(encoder=lambda: nn.Conv2d(1, 1, 1)).fit(bags)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before[2])
    assert torch.equal(before[0], torch.get_rng_state())
    np.testing.assert_array_equal(before[1], np.random.get_state()[1])


@pytest.mark.parametrize("name", [name for name in NEURAL if name not in {"DTFD-MIL", "ACMIL"}])  # which draw in order
def test_neither_the_order_of_the_bags_nor_of_their_instances_matters(make_bags, name):
    bags = make_bags()
    rng = np.random.default_rng(0)
    order = rng.permutation(len(bags))
    shuffled = bw.Bags.from_arrays(
        [rng.permutation(bags[bag].instances) for bag in order], bags.labels[order], names=bags.names[order]
    )
    if METHODS[name][0].looks_at == "order":
        shuffled = bags[order]
    one, two = (fast(name, precision="float64", dropout=0.0).fit(part) for part in (bags, shuffled))
    np.testing.assert_allclose(one.predict_proba(bags), two.predict_proba(bags), rtol=1e-9)


def test_fit_changes_neither_the_bags_nor_the_parameters(make_bags):
    bags = make_bags()
    before = copy.deepcopy(bags)
    model = fast()
    parameters = model.get_params()
    model.fit(bags)
    assert model.get_params() == parameters
    np.testing.assert_array_equal(bags.instances, before.instances)
    np.testing.assert_array_equal(bags.labels, before.labels)


def test_a_second_fit_forgets_the_first(make_bags):
    first = make_bags(seed=1, classes=3, kind="string")
    named = bw.Bags(first.instances, first.offsets, first.labels, feature_names=("a", "b", "c"))
    bags = make_bags(shape=(5,))
    model = fast().fit(named).fit(bags)
    assert_same_weights(model, fast().fit(bags))
    assert model.n_features_in_ == 5
    assert not hasattr(model, "feature_names_in_")
    other_names = bw.Bags(bags.instances, bags.offsets, feature_names=tuple("vwxyz"))
    np.testing.assert_array_equal(model.predict(other_names), model.predict(bags))


def test_a_fit_on_images_forgets_the_features_of_a_fit_on_vectors(make_bags):
    images = make_bags(count=4, shape=(28, 28))
    model = bw.EmbeddingMIL(epochs=1, random_state=0).fit(make_bags()).fit(images)
    assert not hasattr(model, "n_features_in_")
    assert model.instance_shape_ == (28, 28)


def test_learnt_attributes_say_what_was_learnt(make_bags):
    bags = make_bags()
    named = bw.Bags(bags.instances, bags.offsets, bags.labels, feature_names=("a", "b", "c"))
    model = fast(epochs=4).fit(named)
    assert [entry["epoch"] for entry in model.history_] == [1, 2, 3, 4]
    assert all(set(entry) == {"epoch", "loss"} for entry in model.history_)
    assert all(isinstance(entry["loss"], float) for entry in model.history_)
    assert model.best_epoch_ == 4
    assert model.n_features_in_ == 3
    assert model.feature_names_in_.tolist() == ["a", "b", "c"]
    assert (model.settings_.optimizer, model.settings_.epochs) == ("sgd", 4)
    assert model.settings_.l2 == 0.005
    assert not model.model_.training


@pytest.mark.parametrize(
    ("shape", "dtype", "optimizer", "rate", "encoder", "hidden"),
    [
        ((4,), float, "sgd", 5e-4, "FullyConnected", 64),
        ((28, 28), np.uint8, "adam", 5e-4, "LeNet5", 128),
        ((28, 28, 1), np.uint8, "adam", 5e-4, "LeNet5", 128),
        ((27, 27, 3), np.uint8, "adam", 1e-4, "CellCNN", 128),
    ],
)
def test_defaults_follow_the_kind_of_instance(shape, dtype, optimizer, rate, encoder, hidden):
    rng = np.random.default_rng(0)
    arrays = [(rng.random((2, *shape)) * 255).astype(dtype) for _ in range(4)]
    model = bw.AttentionMIL(epochs=1, random_state=0).fit(arrays, [0, 1, 0, 1])
    assert (model.settings_.optimizer, model.settings_.learning_rate) == (optimizer, rate)
    assert type(model.model_.encoder).__name__ == encoder
    assert model.model_.pooling.V.out_features == hidden
    assert model.predict_proba(arrays).shape == (4, 2)


def test_8_bit_images_are_scaled_to_one_and_others_left_alone():
    rng = np.random.default_rng(0)
    arrays = [rng.integers(0, 256, (3, 28, 28), dtype=np.uint8) for _ in range(4)]
    scaled = [array / np.float32(255) for array in arrays]
    models = [bw.AttentionMIL(epochs=1, random_state=0).fit(part, [0, 1, 0, 1]) for part in (arrays, scaled)]
    np.testing.assert_allclose(models[0].predict_proba(arrays), models[1].predict_proba(scaled), rtol=1e-4)
    assert weights_of(models[0])["scaler.factor"].tolist() == [np.float32(1 / 255)]
    assert weights_of(models[1])["scaler.factor"].tolist() == [1]


def test_there_is_no_default_encoder_for_instances_of_an_odd_shape(make_bags):
    with pytest.raises(BagwiseError, match=r"\(5, 5, 5\).*give one of your own"):
        bw.AttentionMIL().fit(make_bags(count=4, shape=(5, 5, 5)))


@pytest.mark.parametrize("name", ["mi-Net", "MI-Net", "MI-Net-DS", "MI-Net-RC"])
def test_fully_connected_methods_refuse_images(make_bags, name):
    with pytest.raises(BagwiseError, match=r"takes vectors, not instances of shape \(28, 28\)"):
        bw.make(name).fit(make_bags(count=4, shape=(28, 28)))


# ---- what is refused ----------------------------------------------------------------------------------


@every_method
@pytest.mark.parametrize("ask", [*ASKS, "score"])
def test_nothing_is_answered_before_fit(make_bags, name, ask):
    with pytest.raises(NotFittedError, match="not fitted yet"):
        getattr(bw.make(name), ask)(make_bags())


def test_there_is_no_attention_before_fit(make_bags):
    with pytest.raises(NotFittedError):
        bw.AttentionMIL().attention(make_bags())


@every_method
@pytest.mark.parametrize("ask", [*ASKS, "score"])
def test_another_number_of_features_is_refused(make_bags, fitted, name, ask):
    with pytest.raises(BagwiseError, match=r"shape \(4,\), but the model learnt from instances of shape \(3,\)"):
        getattr(fitted(name), ask)(make_bags(shape=(4,)))


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("epochs", 0),
        ("epochs", -1),
        ("epochs", 1.5),
        ("epochs", 2.0),
        ("epochs", "many"),
        ("epochs", float("inf")),
        ("learning_rate", 0),
        ("learning_rate", -1),
        ("learning_rate", "fast"),
        ("learning_rate", float("nan")),
        ("learning_rate", float("inf")),
        ("learning_rate", [0.1]),
        ("momentum", 1),
        ("momentum", -0.1),
        ("decay", -1),
        ("l2", -1),
        ("dropout", 1),
        ("dropout", -0.5),
        ("optimizer", "x"),
        ("encoder", "x"),
        ("encoder", 3),
        ("precision", "x"),
        ("precision", None),
        ("device", "nonsense"),
        ("device", None),
        ("standardize", "x"),
        ("standardize", None),
        ("clip", 0),
        ("clip", -3.0),
        ("clip", np.inf),
        ("clip", "far"),
        ("instance_budget", 0),
        ("instance_budget", -1),
        ("instance_budget", "x"),
        ("patience", 0),
        ("patience", "x"),
        ("hidden", 0),
        ("hidden", -1),
        ("hidden", 1.5),
        ("hidden", "x"),
    ],
)
def test_a_bad_value_is_refused_with_the_parameters_name(make_bags, parameter, value):
    with pytest.raises(BagwiseError, match=rf"\b{parameter}\b"):
        bw.AttentionMIL(**{"epochs": 1, parameter: value}).fit(make_bags())


@pytest.mark.parametrize("value", [2, 0, -0.1, 0.6, 1, "x"])
def test_a_bad_validation_fraction_is_refused(make_bags, value):
    with pytest.raises(BagwiseError, match="validation_fraction"):
        bw.AttentionMIL(epochs=1, patience=1, validation_fraction=value).fit(make_bags())


def test_mixed_precision_is_refused_on_a_cpu(make_bags):
    with pytest.raises(BagwiseError, match="precision 'mixed' needs a CUDA device"):
        bw.AttentionMIL(epochs=1, precision="mixed", device="cpu").fit(make_bags())


@pytest.mark.parametrize("name", ["mi-Net", "MI-Net", "MI-Net-DS", "MI-Net-RC"])
def test_an_unknown_pooling_is_refused_with_those_there_are(make_bags, name):
    with pytest.raises(BagwiseError, match=r"pooling 'x'.*max, mean"):
        bw.make(name, pooling="x").fit(make_bags())


def test_a_pooling_of_the_users_own_trains_like_the_one_it_is_made_of_in_every_worker(make_bags):
    class Own(Pooling):
        def forward(self, values, offsets):
            return Pooled(segment_mean(values, offsets))

    bags, encoder = make_bags(), nn.Linear(3, 2)
    named, own = (
        bw.cross_validate(
            bw.EmbeddingMIL(pooling=pooling, encoder=encoder, epochs=3, random_state=0), bags, folds=3, n_jobs=2
        )
        for pooling in ("mean", Own)
    )
    assert np.array_equal(named.probabilities, own.probabilities)


def test_a_pooling_that_is_none_is_refused(make_bags):
    with pytest.raises(BagwiseError, match=r"the pooling makes a Linear: it must be a class that follows Pooling"):
        bw.EmbeddingMIL(pooling=lambda width: nn.Linear(width, width), epochs=1).fit(make_bags())


def test_an_instance_pooling_is_refused_at_the_embedding_level(make_bags):
    with pytest.raises(BagwiseError, match="pooling 'noisy-or' at the embedding level"):
        bw.EmbeddingMIL(pooling="noisy-or").fit(make_bags())


def test_patience_needs_enough_bags(make_bags):
    bags = make_bags(count=8)
    with pytest.raises(BagwiseError, match="there are 4 bags of the rarest class.*without patience"):
        fast(patience=1).fit(bags)
    with pytest.raises(BagwiseError, match="there are 4 groups"):
        fast(patience=1).fit(make_bags(count=24, groups=4))


def test_patience_with_few_bags_of_a_class_in_many_groups_says_so_in_one_sentence():
    labels = np.array([1] * 3 + [0] * 17)
    bags = bw.Bags.from_arrays([[[float(label)]] for label in labels], labels, groups=np.arange(20))
    with pytest.raises(BagwiseError, match="too few"):
        fast(patience=1).fit(bags)


def test_labels_are_needed_to_learn_and_to_score(make_bags, fitted):
    unlabelled = make_bags().with_labels(None)
    with pytest.raises(BagwiseError, match="no labels to learn from"):
        fast().fit(unlabelled)
    with pytest.raises(BagwiseError, match="no labels to compare with"):
        fitted("attention").score(unlabelled)


def test_one_class_is_too_few(make_bags):
    with pytest.raises(BagwiseError, match="all training bags have the label 0"):
        fast().fit(make_bags().with_labels(np.zeros(24, int)))


@pytest.mark.parametrize("X", [np.zeros((4, 3)), "bags", None, 3])
def test_an_x_that_is_no_bags_is_refused(X):
    with pytest.raises(BagwiseError, match="X is of type"):
        fast().fit(X, [0, 1, 0, 1])


def test_an_error_is_one_sentence_on_one_line(make_bags, fitted):
    with pytest.raises(BagwiseError) as caught:
        fitted("attention").predict(make_bags(shape=(4,)))
    assert "\n" not in str(caught.value)
    assert not str(caught.value).endswith(".")


# ---- scikit-learn -------------------------------------------------------------------------------------


class Marked:
    """A value that nothing may convert, copy or compare."""

    def __eq__(self, other):
        raise AssertionError("the constructor looked at a value")

    __hash__ = None


@pytest.mark.parametrize("kind", [*dict.fromkeys(kind for kind, _ in METHODS.values())])
def test_the_constructor_stores_what_it_is_given_untouched(kind):
    given = {name: Marked() for name in kind().get_params()}
    model = kind(**given)
    assert all(getattr(model, name) is value for name, value in given.items())
    assert vars(model).keys() == given.keys()


@every_method
def test_clone_has_the_parameters_and_nothing_learnt(fitted, name):
    copied = clone(fitted(name))
    assert type(copied) is type(fitted(name))
    assert copied.get_params() == fitted(name).get_params()
    assert not [key for key in vars(copied) if key.endswith("_")]


@every_method
def test_parameters_make_the_round_trip(name):
    model = bw.make(name, epochs=3, dropout=0.25)
    other = type(model)().set_params(**model.get_params())
    assert other.get_params() == model.get_params()
    assert repr(other) == repr(model)
    assert eval(repr(model), {name: getattr(bw, name) for name in dir(bw)}).get_params() == model.get_params()
    with pytest.raises(ValueError, match="nonsense"):
        model.set_params(nonsense=1)


@every_method
@pytest.mark.parametrize("classes", [2, 3])
def test_a_pickled_model_gives_the_same_bits(make_bags, fitted, name, classes):
    bags, model = make_bags(classes=classes), fitted(name, classes)
    again = pickle.loads(pickle.dumps(model))
    for ask in ASKS:
        np.testing.assert_array_equal(getattr(again, ask)(bags), getattr(model, ask)(bags))


def test_check_is_fitted_knows(make_bags):
    model = fast()
    with pytest.raises(NotFittedError):
        check_is_fitted(model)
    assert model.fit(make_bags()) is model
    check_is_fitted(model)


def by_hand(model, bags, folds):
    """Give what cross_val_score must: one accuracy a fold."""
    scores = []
    for train, test in folds.split(bags.labels):
        predicted = clone(model).fit(bags[train]).predict(bags[test])
        scores.append(np.mean(predicted == bags.labels[test]))
    return scores


def by_hand_with_lists(model, arrays, labels, folds):
    scores = []
    for train, test in folds.split(labels):
        fitted = clone(model).fit([arrays[n] for n in train], labels[train])
        scores.append(np.mean(fitted.predict([arrays[n] for n in test]) == labels[test]))
    return scores


FOLDS = KFold(3, shuffle=True, random_state=0)


@pytest.mark.parametrize("name", ["attention", "mi-Net", "MI-Net-DS"])
def test_cross_val_score_is_a_loop_over_folds(make_bags, name):
    bags = make_bags(kind="string")
    model = fast(name)
    wanted = by_hand(model, bags, FOLDS)
    np.testing.assert_array_equal(cross_val_score(model, bags, bags.labels, cv=FOLDS), wanted)
    np.testing.assert_array_equal(cross_val_score(model, bags, cv=FOLDS), wanted)
    arrays = arrays_of(bags)
    wanted = by_hand_with_lists(model, arrays, bags.labels, FOLDS)
    np.testing.assert_array_equal(cross_val_score(model, arrays, bags.labels, cv=FOLDS), wanted)


@pytest.mark.slow(seconds=15)
def test_cross_val_score_works_in_processes(make_bags):
    bags = make_bags()
    given = cross_val_score(fast(), bags, bags.labels, cv=FOLDS, n_jobs=2)
    np.testing.assert_array_equal(given, by_hand(fast(), bags, FOLDS))


@pytest.mark.parametrize("scoring", ["roc_auc", "neg_log_loss", "balanced_accuracy", "f1"])
def test_scikit_learns_scorers_find_the_answers_they_need(make_bags, scoring):
    bags = make_bags()
    values = cross_val_score(fast(), bags, bags.labels, cv=FOLDS, scoring=scoring, error_score="raise")
    assert np.isfinite(values).all()


@pytest.mark.parametrize("as_list", [False, True])
def test_grid_search_finds_the_better_parameters_and_refits(make_bags, as_list):
    bags = make_bags(count=30)
    X = arrays_of(bags) if as_list else bags
    grid = {"learning_rate": [1e-9, 0.02], "hidden": [2, 8]}
    search = GridSearchCV(fast(epochs=8), grid, cv=3, error_score="raise").fit(X, bags.labels)
    assert search.best_params_["learning_rate"] == 0.02
    assert search.best_estimator_.model_.pooling.V.out_features == search.best_params_["hidden"]
    assert_same_weights(search.best_estimator_, fast(epochs=8, **search.best_params_).fit(X, bags.labels))
    np.testing.assert_array_equal(search.predict(X), search.best_estimator_.predict(X))
    assert search.score(X, bags.labels) == search.best_estimator_.score(X, bags.labels)
    np.testing.assert_array_equal(search.classes_, [0, 1])


def test_a_pipeline_passes_everything_on(make_bags):
    bags = make_bags()
    model = fast()
    pipeline = Pipeline([("mil", model)])
    with pytest.raises(NotFittedError):
        check_is_fitted(pipeline)
    pipeline.fit(bags, bags.labels)
    check_is_fitted(pipeline)
    alone = fast().fit(bags)
    for ask in ("predict", "predict_proba", "decision_function"):
        np.testing.assert_array_equal(getattr(pipeline, ask)(bags), getattr(alone, ask)(bags))
    assert pipeline.score(bags, bags.labels) == alone.score(bags)
    pipeline.set_params(mil__epochs=1).fit(bags, bags.labels)
    assert len(pipeline["mil"].history_) == 1


# ---- encoders of the user's own -----------------------------------------------------------------------


def tiny():
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU())


def test_a_factory_makes_an_encoder_for_each_fit_by_its_seed(make_bags):
    bags = make_bags()
    one, two, other = (fast(encoder=tiny, random_state=seed).fit(bags) for seed in (0, 0, 1))
    assert_same_weights(one, two)
    assert (weights_of(one)["encoder.0.weight"] != weights_of(other)["encoder.0.weight"]).any()
    assert weights_of(one)["encoder.0.weight"].shape == (4, 3)


def test_an_instance_is_where_training_starts_and_is_not_changed_by_it(make_bags):
    bags = make_bags()
    encoder = tiny()
    before = copy.deepcopy(encoder.state_dict())
    standing = fast(encoder=encoder, learning_rate=1e-12, l2=0.0).fit(bags)
    moved = fast(encoder=encoder, learning_rate=0.05).fit(bags)
    for name, value in encoder.state_dict().items():
        assert torch.equal(value, before[name])
        np.testing.assert_allclose(weights_of(standing)[f"encoder.{name}"], before[name], rtol=1e-5)
    assert (weights_of(moved)["encoder.0.weight"] != before["0.weight"].numpy()).any()
    assert encoder.training
    assert all(value.grad is None for value in encoder.parameters())


def test_every_fold_starts_from_the_users_weights(make_bags):
    bags = make_bags()
    encoder = tiny()
    model = fast(encoder=encoder)
    result = bw.cross_validate(model, bags, folds=3, n_jobs=1)
    for fold in range(3):
        train, test = (np.flatnonzero(result.assignment[0] != fold), np.flatnonzero(result.assignment[0] == fold))
        alone = clone(model).fit(bags[train]).predict_proba(bags[test])
        np.testing.assert_array_equal(result.probabilities[0, test], alone)


def test_a_network_pretrained_elsewhere_keeps_its_frozen_layers(make_bags):
    bags = make_bags()
    encoder = tiny().requires_grad_(False)
    model = fast(encoder=encoder, learning_rate=0.05).fit(bags)
    np.testing.assert_array_equal(weights_of(model)["encoder.0.weight"], encoder[0].weight.numpy())
    assert model.history_[0]["loss"] != model.history_[1]["loss"]


def test_a_frozen_encoder_takes_a_bag_larger_than_a_chunk():
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(count, 2, 2)) for count in (1500, 3, 2, 4)]
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(4, 3)).requires_grad_(False)
    model = bw.AttentionMIL(encoder=encoder, epochs=1, random_state=0).fit(arrays, [0, 1, 0, 1])
    assert np.isfinite(model.predict_proba(arrays)).all()


def test_the_identity_takes_a_bag_larger_than_a_chunk():
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(count, 2)) for count in (17000, 3, 2, 4)]
    model = bw.AttentionMIL(encoder="identity", epochs=1, random_state=0).fit(arrays, [0, 1, 0, 1])
    assert np.isfinite(model.predict_proba(arrays)).all()


def test_a_batch_norm_in_training_is_refused_and_a_frozen_one_stays_as_it_was(make_bags):
    bags = make_bags()
    encoder = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU())
    with pytest.raises(BagwiseError, match=r"a BatchNorm in training mode .*'1', .*freeze it with .eval"):
        fast(encoder=encoder).fit(bags)
    encoder[1].running_mean += 1
    encoder.eval()
    model = fast(encoder=encoder).fit(bags)
    assert weights_of(model)["encoder.1.running_mean"].tolist() == [1, 1, 1, 1]
    assert weights_of(model)["encoder.1.num_batches_tracked"] == 0
    alone = np.concatenate([model.predict_proba([instances]) for instances in arrays_of(bags)])
    np.testing.assert_allclose(model.predict_proba(bags), alone, rtol=1e-5)


@pytest.mark.parametrize("shape", [(5, 5, 5), (4, 6)])
def test_instances_of_any_shape_do_with_an_encoder_for_them(make_bags, shape):
    bags = make_bags(shape=shape)
    model = fast(encoder=lambda: nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(shape)), 4))).fit(bags)
    assert model.predict_proba(bags).shape == (24, 2)


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        (lambda: nn.Linear(7, 2), r"fails on instances of shape \(3,\)"),
        (lambda: "a string", "the encoder is a str"),
        (lambda: nn.Flatten(0), r"a result of shape \(6,\)"),
    ],
)
def test_an_encoder_that_does_not_fit_is_refused(make_bags, encoder, message):
    with pytest.raises(BagwiseError, match=message):
        fast(encoder=encoder).fit(make_bags())


@pytest.mark.parametrize("name", ["MI-Net-DS", "MI-Net-RC"])
def test_deep_supervision_and_residuals_refuse_an_encoder_of_one_level(make_bags, name):
    with pytest.raises(BagwiseError, match="MultiLevel"):
        fast(name, encoder=tiny).fit(make_bags())


# ---- standardisation ----------------------------------------------------------------------------------


def test_the_scaler_has_mean_and_spread_of_the_training_instances(make_bags):
    bags = make_bags()
    weights = weights_of(fast(precision="float64").fit(bags))
    np.testing.assert_allclose(weights["scaler.shift"], bags.instances.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(weights["scaler.factor"], 1 / bags.instances.std(axis=0), rtol=1e-12)


def test_standardize_by_hand_or_by_the_model_is_the_same(make_bags):
    bags = make_bags()
    x = bags.instances
    ready = bw.Bags((x - x.mean(axis=0)) / x.std(axis=0), bags.offsets, bags.labels)
    one = fast(precision="float64", standardize=True).fit(bags).predict_proba(bags)
    two = fast(precision="float64", standardize=False).fit(ready).predict_proba(ready)
    np.testing.assert_allclose(one, two, rtol=1e-8)
    assert weights_of(fast(standardize=False).fit(bags))["scaler.factor"].tolist() == [1]


def tails_as_logarithms(scaled):
    return np.where(abs(scaled) > 4, np.sign(scaled) * (4 + np.log(np.maximum(abs(scaled), 4) / 4)), scaled)


@pytest.mark.parametrize("name", ["attention", "mi-Net", "MI-Net-DS"])
@pytest.mark.parametrize(
    ("scaling", "by_hand"),
    [
        ({"standardize": True, "clip": 1.5}, lambda scaled: scaled.clip(-1.5, 1.5)),
        ({"standardize": "log"}, tails_as_logarithms),
        ({"standardize": "log", "clip": 4.5}, lambda scaled: tails_as_logarithms(scaled).clip(-4.5, 4.5)),
    ],
    ids=["clipped", "squashed", "both"],
)
def test_what_is_far_from_the_mean_is_brought_nearer_after_scaling(make_bags, tmp_path, name, scaling, by_hand):
    plain = make_bags()
    instances = plain.instances.copy()
    instances[3] = 100.0
    bags = bw.Bags(instances, plain.offsets, plain.labels)
    scaled = (bags.instances - bags.instances.mean(axis=0)) / bags.instances.std(axis=0)
    assert scaled.max() > 5
    ready = bw.Bags(by_hand(scaled), bags.offsets, bags.labels)
    one = fast(name, precision="float64", **scaling).fit(bags)
    two = fast(name, precision="float64", standardize=False).fit(ready)
    np.testing.assert_allclose(one.predict_proba(bags), two.predict_proba(ready), rtol=1e-9)
    bw.save_model(one, tmp_path)
    np.testing.assert_array_equal(bw.load_model(tmp_path).predict_proba(bags), one.predict_proba(bags))


def test_standardize_insists_on_vectors(make_bags):
    with pytest.raises(BagwiseError, match=r"standardize=True needs vectors, not instances of shape \(28, 28\)"):
        fast(standardize=True).fit(make_bags(count=4, shape=(28, 28)))


def test_a_constant_feature_neither_divides_by_zero_nor_explodes_on_a_new_value(make_bags):
    bags = make_bags()
    constant = np.full((len(bags.instances), 2), [0.1, 1e9 + 0.1])
    model = fast(precision="float64").fit(bw.Bags(np.hstack([bags.instances, constant]), bags.offsets, bags.labels))
    assert weights_of(model)["scaler.factor"][3:].tolist() == [1, 1]
    new = bw.Bags(np.hstack([bags.instances, constant + 1]), bags.offsets, bags.labels)
    assert np.isfinite(model.decision_function(new)).all()
    assert np.abs(model.decision_function(new)).max() < 50


@pytest.mark.parametrize("dtype", [np.float64, np.int64])
def test_time_stamps_that_differ_little_are_told_apart_in_float32(dtype):
    rng = np.random.default_rng(0)
    arrays = [(1_700_000_000 + rng.integers(0, 20, (4, 1)) + 40 * (bag % 2)).astype(dtype) for bag in range(40)]
    bags = bw.Bags.from_arrays(arrays, labels=np.arange(40) % 2)
    model = bw.AttentionMIL(epochs=20, learning_rate=0.01, random_state=0).fit(bags[:20])
    assert model.score(bags[20:]) == 1


def test_the_scaler_is_learnt_from_training_bags_alone(make_bags):
    """Bags that are tested on do not touch the model that is tested on them."""
    bags = make_bags()
    model = fast(epochs=3)
    first = bw.cross_validate(model, bags, folds=3, n_jobs=1)
    test = np.flatnonzero(first.assignment[0] == 0)
    second = bw.cross_validate(model, changed(bags, lambda x: 100 * x + 7, {test[0]}), folds=3, n_jobs=1)
    np.testing.assert_array_equal(first.assignment, second.assignment)
    np.testing.assert_array_equal(first.probabilities[0, test[1:]], second.probabilities[0, test[1:]])
    others = np.flatnonzero(first.assignment[0] != 0)
    assert (first.probabilities[0, others] != second.probabilities[0, others]).any(axis=1).all()


# ---- validation and patience --------------------------------------------------------------------------


def roles(bags, **parameters):
    """Say of each bag whether it trains or validates: each gets a feature of its own, which only it has."""
    own = bw.Bags(np.eye(len(bags)), np.arange(len(bags) + 1), bags.labels, groups=bags.groups)
    scaler = fast(epochs=1, patience=5, **parameters).fit(own).model_.scaler
    return np.where(scaler.shift.numpy() > 0, "train", "validation")


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.25, 0.3, 0.4, 0.5])
def test_the_validation_bags_are_the_share_asked_for_of_each_class(make_bags, fraction):
    bags = make_bags(count=40)
    found = roles(bags, validation_fraction=fraction) == "validation"
    assert found.sum() == pytest.approx(40 * fraction, abs=2)
    assert abs(int(found[bags.labels == 0].sum()) - int(found[bags.labels == 1].sum())) <= 1


@pytest.mark.parametrize("seed", [0, 1])
def test_a_group_never_stands_on_both_sides_of_the_validation_split(make_bags, seed):
    bags = make_bags(count=30, groups=6)
    found = roles(bags, random_state=seed)
    assert set(found) == {"train", "validation"}
    assert all(len(set(found[bags.groups == group])) == 1 for group in range(6))


def test_validation_bags_change_weights_only_by_the_choice_of_the_epoch(make_bags):
    bags = make_bags(count=30)
    validates = np.flatnonzero(roles(bags) == "validation")
    noise = changed(bags, lambda x: -50 * x, set(validates))
    one, two = (fast(epochs=4, patience=9).fit(part) for part in (bags, noise))
    assert [entry["loss"] for entry in one.history_] == [entry["loss"] for entry in two.history_]
    assert [entry["validation_loss"] for entry in one.history_] != [entry["validation_loss"] for entry in two.history_]
    np.testing.assert_array_equal(weights_of(one)["scaler.shift"], weights_of(two)["scaler.shift"])


def hard_bags(make_bags):
    """Labels that mean nothing: the validation error goes up and down."""
    bags = make_bags(count=30)
    return bags.with_labels(np.random.default_rng(3).permutation(bags.labels))


def best_by(history):
    return min(history, key=lambda entry: (entry["validation_error"], entry["validation_loss"], entry["epoch"]))


@pytest.mark.parametrize("seed", range(4))
def test_history_stops_a_patience_after_the_best_epoch(make_bags, seed):
    model = fast(epochs=30, patience=3, random_state=seed, learning_rate=0.02).fit(hard_bags(make_bags))
    assert [entry["epoch"] for entry in model.history_] == list(range(1, len(model.history_) + 1))
    assert all(set(entry) == {"epoch", "loss", "validation_loss", "validation_error"} for entry in model.history_)
    assert model.best_epoch_ == best_by(model.history_)["epoch"]
    assert len(model.history_) == min(30, model.best_epoch_ + 3)


@pytest.mark.parametrize("seed", range(2))
def test_the_best_weights_are_restored(make_bags, seed):
    bags = hard_bags(make_bags)
    patient = fast(epochs=30, patience=3, random_state=seed, learning_rate=0.02)
    found = patient.fit(bags)
    assert found.best_epoch_ < len(found.history_)
    until_best = fast(epochs=found.best_epoch_, patience=99, random_state=seed, learning_rate=0.02).fit(bags)
    assert until_best.best_epoch_ == found.best_epoch_
    assert_same_weights(found, until_best)


# ---- several bags a step, checkpoints, progress -------------------------------------------------------


def test_an_instance_budget_puts_several_bags_in_a_step(make_bags):
    bags = make_bags()
    none, one, huge = (fast(instance_budget=budget, precision="float64").fit(bags) for budget in (None, 1, 10**6))
    assert abs(weights_of(none)["head.weight"] - weights_of(huge)["head.weight"]).max() > 1e-3
    for name, value in weights_of(none).items():
        np.testing.assert_allclose(value, weights_of(one)[name], rtol=1e-9, atol=1e-9)
    full_batch = fast(instance_budget=10**6, optimizer="sgd", momentum=0.0, decay=0.0, l2=0.0, dropout=0.0, epochs=1)
    rows = full_batch.set_params(precision="float64").fit(bags)
    start = full_batch.plan_.architecture  # one plain gradient step on the mean loss, written out
    recipe = full_batch._recipe(Facts((3,)))
    seeds = full_batch._member(bags, np.arange(24), full_batch.target_, bags.labels[:, None], 0, recipe).seed
    plain = start.build((3,), 1, seeds, dtype=torch.float64)
    plain.scaler = rows.model_.scaler
    logits = plain(torch.from_numpy(bags.instances.copy()), torch.from_numpy(bags.offsets.copy())).logits[0, :, 0]
    target = torch.from_numpy(bags.labels.astype(float))
    torch.nn.functional.binary_cross_entropy_with_logits(logits, target).backward()
    with torch.no_grad():
        for name, value in plain.named_parameters():
            np.testing.assert_allclose(weights_of(rows)[name], value - 0.01 * value.grad, rtol=1e-9, atol=1e-12)


def test_a_fit_with_checkpoints_ends_with_the_same_bits(make_bags, tmp_path):
    bags = make_bags()
    plain = fast().fit(bags)
    assert_same_weights(plain, fast().fit(bags, checkpoints=tmp_path / "a"))
    again = fast().fit(bags, checkpoints=str(tmp_path / "a"))  # finds itself finished
    assert_same_weights(plain, again)
    assert again.history_ == plain.history_


@pytest.mark.parametrize(
    "change",
    [
        {"parameters": {"learning_rate": 0.02}},
        {"parameters": {"random_state": 1}},
        {"parameters": {"epochs": 3}},
        {"labels": lambda labels: 1 - labels},
        {"instances": lambda x: x + 1},
        {"parameters": {"encoder": "identity"}},
    ],
    ids=["rate", "seed", "epochs", "labels", "instances", "encoder"],
)
def test_checkpoints_of_another_training_are_refused(make_bags, tmp_path, change):
    bags = make_bags()
    fast().fit(bags, checkpoints=tmp_path)
    other = bw.Bags(
        change.get("instances", np.asarray)(bags.instances),
        bags.offsets,
        change.get("labels", np.asarray)(bags.labels),
    )
    with pytest.raises(BagwiseError, match="checkpoint of a training with other data, members or settings"):
        fast(**change.get("parameters", {})).fit(other, checkpoints=tmp_path)


def test_checkpoints_of_a_fit_from_other_pretrained_weights_are_refused(make_bags, tmp_path):
    bags = make_bags()
    fast(encoder=tiny()).fit(bags, checkpoints=tmp_path)
    with pytest.raises(BagwiseError, match="checkpoint of a training"):
        fast(encoder=tiny()).fit(bags, checkpoints=tmp_path)


def test_verbose_shows_progress_and_silence_is_silent(make_bags, capfd):
    bags = make_bags()
    fast().fit(bags).predict(bags)
    assert capfd.readouterr() == ("", "")
    quiet = fast().fit(bags)
    loud = fast(verbose=True).fit(bags)
    assert_same_weights(quiet, loud)


def test_all_parameters_are_described_where_a_user_looks():
    kinds = {kind for kind, _ in METHODS.values()}
    text = "".join(cls.__doc__ for kind in kinds for cls in kind.__mro__ if cls.__module__.startswith("bagwise"))
    for kind in kinds:
        for name in kind().get_params():
            assert re.search(rf"\b{name}\b", text), name


# ---- class weights ---------------------------------------------------------------------------------------------------


def rare_positives():
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 10 == 0
    return bw.Bags.from_arrays([rng.normal(size=(3, 2)) + 0.7 * label for label in labels], labels.astype(int))


@pytest.mark.parametrize("patience", [None, 3])
def test_balanced_weights_come_from_the_bags_learnt_from(patience):
    bags = rare_positives()
    model = bw.AttentionMIL(class_weight="balanced", epochs=2, patience=patience, random_state=0).fit(bags)
    count = 120 if patience is None else 96
    positive = count // 10 if patience is None else pytest.approx(count / 10, abs=1)
    negative_weight, positive_weight = model.settings_.class_weights
    assert count / 2 / positive_weight == positive
    assert 1 / negative_weight + 1 / positive_weight == pytest.approx(2)


def test_what_is_rare_is_found():
    bags = rare_positives()
    positive = bags[bags.labels == 1]
    halved = bw.AttentionMIL(threshold=0.5, random_state=0).fit(bags)
    assert halved.predict(positive).mean() < 0.6
    assert bw.AttentionMIL(random_state=0).fit(bags).predict(positive).mean() > 0.7


def test_a_weight_for_each_label_is_a_mapping():
    bags = rare_positives()
    first = bw.AttentionMIL(class_weight={0: 1.0, 1: 4.0}, epochs=2, random_state=0).fit(bags)
    assert first.settings_.class_weights == (1.0, 4.0)
    plain = bw.AttentionMIL(class_weight=None, epochs=2, random_state=0).fit(bags)
    neutral = bw.AttentionMIL(class_weight={0: 1.0, 1: 1.0}, epochs=2, random_state=0).fit(bags)
    assert np.array_equal(plain.predict_proba(bags), neutral.predict_proba(bags))
    assert not np.array_equal(plain.predict_proba(bags), first.predict_proba(bags))


@pytest.mark.parametrize("weight", ["even", {"no": 1}, {0: 0.0, 1: 1.0}, {0: np.nan, 1: 1.0}, 3])
def test_weights_that_will_not_do(weight):
    with pytest.raises(BagwiseError, match="class"):
        bw.AttentionMIL(class_weight=weight, epochs=1).fit(rare_positives())
