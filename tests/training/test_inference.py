"""Predicting in one pass: chunks change nothing, nor does company."""

import numpy as np
import pytest
import torch

from bagwise.bags import Bags
from bagwise.models.architecture import Architecture
from bagwise.models.model import MILModel
from bagwise.training.data import PackedTensors
from bagwise.training.inference import predict

CPU = torch.device("cpu")
ARCHITECTURES = {
    "attention": Architecture("embedding", "gated-attention", "mi-net", {"hidden": 16}),
    "max": Architecture("embedding", "max", "mi-net"),
    "instance": Architecture("instance", "noisy-or", "mi-net"),
    "levels": Architecture("deep-supervision", "mean", "mi-net-levels"),
}


@pytest.fixture
def packed():
    rng = np.random.default_rng(0)
    return PackedTensors(Bags.from_arrays([rng.normal(size=(size, 4)) for size in (3, 1, 40, 2, 7, 1, 12)]))


def models_of(name, count, dtype=torch.float64):
    return [ARCHITECTURES[name].build((4,), 3, seed, dtype=dtype) for seed in range(count)]


def parts(prediction):
    return [part for part in (prediction.logits, prediction.weights, prediction.scores) if part is not None]


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("chunk", [1, 5, 12, 41])
def test_chunks_change_nothing(packed, name, chunk):
    wanted = [np.array([2, 0, 6, 1])]
    (whole,) = predict(models_of(name, 1), packed, wanted, device=CPU, chunk=1000)
    (cut,) = predict(models_of(name, 1), packed, wanted, device=CPU, chunk=chunk)
    for one, other in zip(parts(whole), parts(cut), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("chunk", [6, 1000])
def test_what_a_model_says_does_not_depend_on_the_others_and_comes_in_the_order_wanted(packed, name, chunk):
    models = models_of(name, 3, torch.float32)
    wanted = [np.array([5, 2, 0]), np.array([4]), np.arange(7)[::-1].copy()]
    together = predict(models, packed, wanted, device=CPU, chunk=chunk)
    for model, positions, found in zip(models, wanted, together, strict=True):
        (alone,) = predict([model], packed, [positions], device=CPU, chunk=chunk)
        for one, other in zip(parts(found), parts(alone), strict=True):
            assert torch.equal(one, other)
        one_by_one = [predict([model], packed, [np.array([bag])], device=CPU, chunk=chunk)[0] for bag in positions]
        torch.testing.assert_close(found.logits, torch.cat([each.logits for each in one_by_one], dim=1))


def test_a_large_bag_is_visited_by_all_models_before_the_next(packed, monkeypatch):
    visited, plain = [], MILModel.encode_in_chunks
    monkeypatch.setattr(
        MILModel, "encode_in_chunks", lambda self, x, chunk: (visited.append(len(x)), plain(self, x, chunk))[1]
    )
    predict(models_of("max", 3), packed, [np.array([6, 2])] * 3, device=CPU, chunk=5)
    assert visited == [40] * 3 + [12] * 3


def test_models_are_left_in_prediction_mode_without_gradients(packed):
    (model,) = models_of("attention", 1)
    (found,) = predict([model.train()], packed, [np.arange(7)], device=CPU, chunk=5)
    assert not model.training
    assert not found.logits.requires_grad


def test_what_is_kept_of_a_prediction_serves_a_training():
    packed = PackedTensors(Bags.from_arrays([[[1.0]] * 123]))
    with torch.inference_mode():
        _, offsets = packed.batch(np.zeros(1, np.int64), torch.device("cpu"))
    assert not offsets.is_inference()
    assert packed.batch(np.zeros(1, np.int64), torch.device("cpu"))[1] is offsets
