"""No number becomes an answer: what overflows, diverges or is no number is refused in a sentence that says where."""

import numpy as np
import pytest
import torch
from torch import nn

import bagwise as bw
from bagwise import METHODS, BagwiseError
from bagwise.bags import Bags
from bagwise.methods.ensemble import fit_ensemble, predict_ensemble
from bagwise.methods.neural import NeuralMIL
from bagwise.models.pooling import Pooled, Pooling
from bagwise.segments import segment_mean
from bagwise.training.engine import DivergedError

NEURAL = [name for name, (kind, _) in METHODS.items() if issubclass(kind, NeuralMIL)]
CLASSICAL = [name for name in METHODS if name not in NEURAL]
SMALL = {"encoder": "identity", "epochs": 1, "random_state": 0}


def with_value(bags, value, bag=5, row=1, column=2):
    """Put a value into a bag, which gets a row more if it needs one."""
    arrays = [np.concatenate([one.instances, one.instances[:1]]).astype(np.float64) for one in bags]
    arrays[bag][row, column] = value
    names = ("size", "marker", "shape")
    return Bags.from_arrays(arrays, bags.labels, names=[f"b{n}" for n in range(len(bags))], feature_names=names)


ASKS = ("predict", "predict_proba", "decision_function", "instance_scores", "attention")


@pytest.mark.parametrize("name", NEURAL)
@pytest.mark.parametrize("value", [1e300, -1.7e308])
def test_a_value_out_of_range_is_refused_with_its_place(make_bags, fitted, name, value):
    model, bags = fitted(name), with_value(make_bags(), value)
    for ask in ASKS:
        if hasattr(model, ask):
            with pytest.raises(BagwiseError, match=r"^bag 'b5' has .* 'shape' in row 1, which is out of") as caught:
                getattr(model, ask)(bags)
            assert f"has {value:.4g} as feature" in str(caught.value)


def test_a_value_that_an_activation_would_hide_is_refused(make_bags):
    """ReLU makes 0 of minus infinity, which looks like an answer."""
    model = bw.InstanceMIL(epochs=1, random_state=0).fit(make_bags())
    scaled = model.model_.scaler.scaled(torch.tensor([[0.0, 0.0, -1e300]], dtype=torch.float64))
    with torch.no_grad():
        assert torch.isfinite(nn.ReLU()(scaled)).all()
    with pytest.raises(BagwiseError, match="out of range"):
        model.predict([[[0.0, 0.0, -1e300]]])


def test_a_limit_brings_what_is_out_of_range_to_it(make_bags):
    bags = make_bags()
    model = bw.AttentionMIL(**SMALL, clip=5.0).fit(bags)
    far, further = (model.predict_proba(with_value(bags, value)) for value in (1e9, 1e300))
    np.testing.assert_array_equal(far, further)


@pytest.mark.parametrize("name", CLASSICAL)
@pytest.mark.parametrize("value", [1e300, -1.7e308, 1e-300])
def test_classical_methods_clip_and_answer(make_bags, name, value):
    bags = make_bags()
    model = bw.make(name, random_state=0, **METHODS[name][0].GRID[0]).fit(bags)
    probabilities = model.predict_proba(with_value(bags, value))
    assert np.isfinite(probabilities).all()


@pytest.mark.parametrize("name", CLASSICAL)
def test_classical_methods_without_scaling_refuse(make_bags, name):
    bags = make_bags()
    model = bw.make(name, random_state=0, standardize=False)
    learnt = bw.make(name, random_state=0, standardize=False).fit(bags)
    scores = [learnt.instance_scores] if hasattr(learnt, "instance_scores") else []
    for ask in (model.fit, learnt.predict, *scores):
        with pytest.raises(BagwiseError, match=r"^bag 'b5' has 1e\+300 as feature 'shape' in row 1"):
            ask(with_value(bags, 1e300))


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(("value", "rest"), [(1e300, 1.0), (-1.7e308, 1.0), (3e-300, 1e-300)])
def test_a_feature_that_cannot_be_scaled_is_refused_at_fit(make_bags, name, value, rest):
    bags = with_value(make_bags(), 0.0)
    instances = bags.instances * [1, 1, 0]
    instances[:, 2] = rest
    bags = with_value(Bags(instances, bags.offsets, bags.labels), value)
    where = "" if value == 3e-300 else " row 1 of bag 'b5'"
    with pytest.raises(BagwiseError, match=rf"^feature 'shape' reaches from .* farthest out in{where}.* can be scaled"):
        bw.make(name, random_state=0).fit(bags)


@pytest.mark.parametrize("name", ["attention", "MI-SVM"])
@pytest.mark.parametrize("constant", [1e300, 1e-300, 0.0])
def test_a_constant_feature_of_any_size_does_no_harm(make_bags, name, constant):
    bags = make_bags()
    instances = np.column_stack([bags.instances, np.full(len(bags.instances), constant)])
    made = Bags(instances, bags.offsets, bags.labels)
    assert np.isfinite(bw.make(name, random_state=0).fit(made).predict_proba(made)).all()


def test_what_decides_when_to_stop_is_looked_at_too(make_bags):
    """The scaler comes from the training bags, and the value lies in a validation bag."""
    bags = make_bags(40)
    for bag in range(40):
        spoilt = with_value(bags, 1e300, bag=bag)
        model = bw.AttentionMIL(encoder="identity", epochs=1, patience=1, random_state=0)
        with pytest.raises(BagwiseError) as caught:
            model.fit(spoilt)
        if str(caught.value).startswith("bag"):
            assert str(caught.value).startswith(f"bag 'b{bag}' has 1e+300 as feature 'shape' in row 1")
            return
    pytest.fail("no bag was held out")


@pytest.mark.parametrize("encoder", ["identity", "mi-net"])  # stepped one by one, and by the compiled step
def test_features_that_are_not_scaled_are_looked_at_before_training(make_bags, encoder):
    bags = with_value(make_bags(), 1e39)
    model = bw.AttentionMIL(encoder=encoder, epochs=1, standardize=False, random_state=0)
    with pytest.raises(BagwiseError, match=r"^bag 'b5' has 1e\+39 as feature 'shape' in row 1"):
        model.fit(bags)
    if encoder == "identity":
        assert np.isfinite(model.set_params(precision="float64").fit(bags).predict_proba(bags)).all()


@pytest.mark.parametrize("name", ["attention", "miVLAD"])
def test_a_cross_validation_says_it_too(make_bags, name):
    with pytest.raises(BagwiseError, match="^feature 'shape' reaches from"):
        bw.cross_validate(bw.make(name), with_value(make_bags(), 1e300), folds=3, n_jobs=1)


# ---- training that diverges ------------------------------------------------------------------------------------------

DIVERGES = {"learning_rate": 1e30, "optimizer": "sgd", "epochs": 3, "random_state": 0}


@pytest.mark.parametrize("encoder", ["identity", "mi-net"])
@pytest.mark.parametrize("patience", [None, 1])
def test_a_training_that_diverges_says_so(make_bags, tmp_path, encoder, patience):
    model = bw.AttentionMIL(**DIVERGES, encoder=encoder, patience=patience)
    with pytest.raises(
        BagwiseError, match=r"^the training of the model diverged in epoch \d.* learning rate than 1e\+30$"
    ):
        model.fit(make_bags(40), checkpoints=tmp_path / "run" / "checkpoints")
    assert not hasattr(model, "model_")
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.usefixtures("workers_for_little")
@pytest.mark.parametrize(("encoder", "n_jobs"), [("identity", 1), ("mi-net", 1), ("identity", 2)])
def test_members_that_diverge_say_which_they_are(make_bags, tmp_path, encoder, n_jobs):
    model = bw.AttentionMIL(**DIVERGES, encoder=encoder)
    with pytest.raises(BagwiseError, match=r"^the training of model \d of 3 diverged in epoch \d"):
        bw.cross_validate(model, make_bags(), folds=3, n_jobs=n_jobs, checkpoints=tmp_path / "checkpoints")
    with pytest.raises(DivergedError, match=r"^the training of model \d of 2 diverged in epoch \d"):
        fit_ensemble(model, make_bags(), 2)
    assert not list(tmp_path.rglob("*.safetensors"))


# ---- encoders and poolings of the user's own -------------------------------------------------------------------------


class Logarithm(nn.Module):
    def forward(self, values):
        return values.log()


class Root(Pooling):
    def forward(self, values, offsets):
        return Pooled(segment_mean(values, offsets).sqrt())


@pytest.mark.parametrize("own", [{"encoder": Logarithm()}, {"encoder": "identity", "pooling": Root}])
def test_parts_of_the_users_own_that_give_no_number_are_refused(make_bags, own):
    bags = make_bags()
    positive = Bags(abs(bags.instances) + 1, bags.offsets, bags.labels)
    model = bw.EmbeddingMIL(**own, epochs=1, standardize=False, random_state=0).fit(positive)
    assert np.isfinite(model.predict_proba(positive)).all()
    one = with_value(positive, -90.0)
    for ask in ("predict", "predict_proba", "decision_function", "instance_scores"):
        with pytest.raises(BagwiseError, match="^the model has no answer for bag 'b5', because its .* are no numbers"):
            getattr(model, ask)(one)
    with pytest.raises(BagwiseError, match="the training of the model diverged in epoch 1.*your own"):
        bw.EmbeddingMIL(**own, epochs=1, standardize=False, random_state=0).fit(one)


def test_weights_that_are_no_numbers_give_no_answer(make_bags):
    """However they came into the model."""
    bags = make_bags()
    model = bw.AttentionMIL(**SMALL).fit(bags)
    model.model_.head.bias.data[0] = torch.nan
    with pytest.raises(BagwiseError, match="^the model has no answer for bag '0'"):
        predict_ensemble([model], bags)
