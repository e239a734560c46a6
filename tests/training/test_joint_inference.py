"""Predicting side by side: the answers of the models one by one."""

import numpy as np
import pytest
import torch

import bagwise as bw
from bagwise.bags import Bags
from bagwise.errors import BagwiseError
from bagwise.methods import fitted
from bagwise.methods.joint import fit_members
from bagwise.models import in_parts
from bagwise.models.architecture import LEVELS, Architecture
from bagwise.models.pooling import EMBEDDING_POOLINGS, INSTANCE_POOLINGS, Pooled, Pooling
from bagwise.segments import segment_softmax, segment_sum
from bagwise.training import joint_inference
from bagwise.training.data import PackedTensors
from bagwise.training.inference import predict
from bagwise.training.joint_inference import predict_together

RNG = np.random.default_rng(0)
CPU = torch.device("cpu")
SIZES = (3, 1, 40, 2, 7, 1, 12)
BAGS = Bags.from_arrays([RNG.normal(2.0, 3.0, size=(size, 4)) for size in SIZES])
# As in a cross-validation of two divisions: each bag is asked about by two, the pairs differ, and so does the order.
WANTED = [np.array([5, 2, 0]), np.array([6, 1, 3, 4]), np.array([4, 0, 5]), np.array([2, 3, 1, 6])]
SHAPES = [("embedding", name, "mi-net") for name in EMBEDDING_POOLINGS]
SHAPES += [("instance", name, "identity") for name in INSTANCE_POOLINGS]
SHAPES += [("deep-supervision", "max", "mi-net-levels"), ("residual", "attention", "mi-net-equal-levels")]
SHAPES += [(level, None, "mi-net") for level, made in LEVELS.items() if made.ADDS_UP]


def models_of(level, name, encoder, shape=(4,), **given):
    def scaling(seed):
        return (np.full(4, 1.0 + seed), np.full(4, 0.5 + seed)) if shape == (4,) else (np.zeros(1), np.full(1, 1 / 255))

    architecture = Architecture(level, name, encoder)
    given = {"dtype": torch.float64, "dropout": 0.5} | given
    return [architecture.build(shape, 2, seed, scaling=scaling(seed), **given) for seed in range(4)]


def parts(prediction):
    named = {name: getattr(prediction, name) for name in ("logits", "weights", "scores", "alone", "contributions")}
    return {name: value for name, value in named.items() if value is not None}


def assert_same(models, bags=BAGS, wanted=WANTED, chunk=100, alone=False):
    packed, options = PackedTensors(bags), {"device": CPU, "chunk": chunk, "alone": alone}
    for one, other in zip(
        predict_together(models, packed, wanted, **options), predict(models, packed, wanted, **options), strict=True
    ):
        found, expected = parts(one), parts(other)
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-12, msg=name)


@pytest.fixture(name="never_one_by_one")
def _never_one_by_one(monkeypatch):
    def asked(batch, *_):
        raise AssertionError(batch)

    def forbid():
        monkeypatch.setattr(joint_inference, "predict", asked)

    return forbid


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("alone", [False, True])
def test_every_model_says_side_by_side_what_it_says_alone(shape, alone, never_one_by_one):
    never_one_by_one()
    assert_same(models_of(*shape, clip=6.0, squash=True), alone=alone)


@pytest.mark.parametrize("encoder", ["lenet5", "cell-cnn"])
def test_images_are_answered_side_by_side(encoder, never_one_by_one):
    never_one_by_one()
    shape = (28, 28) if encoder == "lenet5" else (12, 11, 3)
    bags = Bags.from_arrays([RNG.integers(0, 256, (size, *shape), dtype=np.uint8) for size in (1, 3, 2)])
    models = models_of("embedding", "gated-attention", encoder, shape)[:2]
    assert_same(models, bags, [np.array([0, 2]), np.array([2, 1])])


@pytest.mark.parametrize("chunk", [1, 7])
@pytest.mark.parametrize("numbers", [1, 64 * 40 * 3])
@pytest.mark.parametrize("alone", [False, True])
def test_neither_chunks_nor_turns_change_answers(chunk, numbers, alone, monkeypatch, never_one_by_one):
    never_one_by_one()
    monkeypatch.setattr(joint_inference, "_NUMBERS", numbers)
    monkeypatch.setattr(joint_inference, "_CHUNKS", 2)
    monkeypatch.setattr(joint_inference, "_ALONE", 3)
    monkeypatch.setattr(in_parts, "_ROWS_AT_ONCE", 4)
    assert_same(models_of("embedding", "gated-attention", "mi-net"), wanted=[WANTED[0]] * 4, chunk=chunk, alone=alone)


class Nearest(Pooling):
    """Weighs instances by how near they are to the origin."""

    wants_coordinates = True

    def forward(self, values, offsets, coordinates):
        weights = segment_softmax(-coordinates.square().sum(1, keepdim=True), offsets)
        return Pooled(segment_sum(weights * values, offsets), weights.expand(-1, 2))


@pytest.mark.parametrize("alone", [False, True])
def test_coordinates_go_with_their_instances(alone, never_one_by_one):
    never_one_by_one()
    bags = Bags(BAGS.instances, BAGS.offsets, coordinates=RNG.normal(size=(len(BAGS.instances), 2)))
    assert_same(models_of("embedding", Nearest, "mi-net"), bags, alone=alone)


def test_every_bag_is_read_once_and_small_ones_go_together(monkeypatch, never_one_by_one):
    never_one_by_one()
    asked, plain = [], PackedTensors.batch
    monkeypatch.setattr(
        PackedTensors, "batch", lambda self, bags, device: (asked.append(bags.tolist()), plain(self, bags, device))[1]
    )
    models, options = models_of("embedding", "max", "mi-net"), {"device": CPU, "chunk": 5}
    predict_together(models, PackedTensors(BAGS), [WANTED[1]] * 2 + [WANTED[0]] * 2, **options)
    assert asked == [[0], [1, 3], [2], [4], [5], [6]]


class Looking(Pooling):
    """Torch computes it for one model alone."""

    def forward(self, values, offsets):
        return Pooled(segment_sum(values, offsets) * (1 if values.sum().item() > 0 else 2))


def test_what_torch_cannot_compute_side_by_side_is_asked_one_by_one():
    assert_same(models_of("embedding", Looking, "mi-net"))
    assert_same([*models_of("embedding", "max", "mi-net")[:3], models_of("embedding", "max", "mi-net", clip=1.0)[3]])
    assert_same([*models_of("embedding", "max", "mi-net")[:3], models_of("embedding", "max", "identity")[3]])


def test_bags_that_no_two_models_want_are_asked_about_one_by_one(monkeypatch):
    monkeypatch.setattr(joint_inference, "predict", lambda *_, **__: "one by one")
    found = predict_together([None] * 2, PackedTensors(BAGS), [np.arange(3), np.arange(3, 7)], device=CPU, chunk=5)
    assert found == "one by one"


def test_models_are_left_in_prediction_mode_as_they_were_and_nothing_is_drawn():
    models = [model.train() for model in models_of("embedding", "attention", "mi-net")]
    before = [{name: value.clone() for name, value in model.state_dict().items()} for model in models]
    drawn = torch.get_rng_state()
    predict_together(models, PackedTensors(BAGS), WANTED, device=CPU, chunk=5)
    assert torch.equal(torch.get_rng_state(), drawn)
    assert not any(module.training for model in models for module in model.modules())
    for model, state in zip(models, before, strict=True):
        torch.testing.assert_close(dict(model.state_dict()), state, rtol=0, atol=0)


def test_a_value_out_of_range_is_told_of_as_one_model_tells_it():
    instances = BAGS.instances.copy()
    instances[7, 2] = 1e308
    bags = Bags(instances, BAGS.offsets)
    given = models_of("embedding", "max", "mi-net", dtype=torch.float32), PackedTensors(bags), [np.arange(7)] * 4
    with pytest.raises(BagwiseError, match="bag '2' has .* as feature 2 in row 3, which is out of range") as expected:
        predict(*given, device=CPU, chunk=5)
    with pytest.raises(BagwiseError) as found:
        predict_together(*given, device=CPU, chunk=5)
    assert str(found.value) == str(expected.value)


def test_what_is_no_number_is_refused_with_its_bag():
    models = models_of("embedding", "max", "mi-net")
    with torch.no_grad():
        models[1].head.bias.fill_(torch.nan)
    with pytest.raises(BagwiseError, match="no answer for bag '6', because its logits are no numbers"):
        predict_together(models, PackedTensors(BAGS), WANTED, device=CPU, chunk=5)


def test_members_are_asked_side_by_side_on_every_device_but_a_cpu(make_bags, monkeypatch):
    bags = make_bags()
    models = fit_members([bw.AttentionMIL(epochs=1)] * 2, bags, [np.arange(4)] * 2)
    monkeypatch.setattr(joint_inference, "predict_together", lambda *_, device, **__: device)
    assert fitted.predict_members(models, bags, [np.arange(2)] * 2) != CPU
    monkeypatch.setattr(fitted, "resolve_device", lambda *_: torch.device("meta"))
    assert fitted.predict_members(models, bags, [np.arange(2)] * 2) == torch.device("meta")
