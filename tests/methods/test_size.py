"""What counts: sums in the measure of the training bags, and classifiers that are told the number of instances."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

import bagwise as bw
from bagwise import BagwiseError
from bagwise.methods.ensemble import predict_ensemble
from bagwise.methods.joint import fit_members
from bagwise.models.architecture import Architecture
from bagwise.segments import segment_mean
from bagwise.targets.classes import ClassTarget
from bagwise.training import engine
from bagwise.training.engine import train
from bagwise.training.looped import Looped
from bagwise.training.members import Member, Plan, Settings
from bagwise.training.together import Together

SEED = {"random_state": 0}
QUICK = {"epochs": 2, "class_weight": None, **SEED}


def like_bags(sizes, labels, seed=0):
    """Bags whose instances say nothing."""
    rng = np.random.default_rng(seed)
    return bw.Bags.from_arrays([1 + rng.normal(0, 0.2, size=(size, 3)) for size in sizes], labels)


@pytest.fixture(scope="module")
def sized():
    sizes = np.random.default_rng(0).integers(2, 12, 80)
    return like_bags(sizes, sizes >= 7)


@pytest.mark.parametrize(
    ("model", "can"),
    [
        (bw.EmbeddingMIL(pooling="mean"), False),
        (bw.AttentionMIL(), False),
        (bw.EmbeddingMIL(pooling="mean", size=True), True),
        (bw.EmbeddingMIL(pooling="sum"), True),
        (bw.AttentionMIL(counting=True), True),
        (bw.AttentionMIL(counting=True, gated=True), True),
    ],
    ids=["mean", "attention", "size", "sum", "sum-attention", "gated-sum-attention"],
)
def test_the_number_of_instances_can_be_told_only_by_what_counts(sized, model, can):
    model.set_params(optimizer="adam", learning_rate=2e-3, dropout=0.0, epochs=10, standardize=False, **SEED)
    said = model.fit(sized[:60]).decision_function(sized[60:])
    assert (roc_auc_score(sized.labels[60:], said) > 0.9) == can


@pytest.mark.parametrize("method", ["embedding-sum", "sum-attention"])
def test_the_measure_is_that_of_the_training_bags_alone(sized, method):
    parts = [np.arange(10), np.arange(5, 40)]
    models = fit_members([bw.make(method, size=True, **QUICK) for _ in parts], sized, parts)
    for model, part in zip(models, parts, strict=True):
        logs = np.log(sized.sizes[part])
        assert float(model.model_.beside.shift) == pytest.approx(logs.mean(), rel=1e-12)
        assert float(model.model_.beside.factor) == pytest.approx(1 / logs.std(), rel=1e-12)
        assert float(model.model_.pooling.share) == pytest.approx(1 / sized.sizes[part].mean(), rel=1e-6)
        alone = bw.make(method, size=True, **QUICK).fit(sized[part])
        np.testing.assert_array_equal(model.predict_proba(sized), alone.predict_proba(sized))


def test_bags_of_one_size_tell_nothing_and_a_new_size_does_not_explode():
    bags = like_bags([4] * 12, np.arange(12) % 2)
    model = bw.EmbeddingMIL(size=True, **QUICK).fit(bags)
    assert model.model_.beside(torch.tensor([0, 4])).tolist() == [[0.0]]
    assert np.isfinite(model.predict_proba(like_bags([1, 4000], None))).all()


@pytest.mark.parametrize(
    "model",
    [
        bw.AttentionMIL(size=True, **QUICK),
        bw.AttentionMIL(size=True, gated=True, counting=True, **QUICK),
        bw.EmbeddingMIL(pooling="sum", **QUICK),
        bw.DeepSupervisionMIL(pooling="sum", size=True, **QUICK),
        bw.ResidualMIL(size=True, **QUICK),
    ],
    ids=lambda model: type(model).__name__,
)
def test_it_is_saved_and_answers_the_same(sized, tmp_path, model):
    fitted = model.fit(sized)
    bw.save_model(fitted, tmp_path)
    again = bw.load_model(tmp_path)
    for ask in ("predict_proba", "instance_scores"):
        np.testing.assert_array_equal(getattr(again, ask)(sized), getattr(fitted, ask)(sized))
    # A bag gives the same beside others as alone, and an instance what a bag of it alone gives.
    said = fitted.predict_proba(sized)
    np.testing.assert_allclose(fitted.predict_proba(sized[[7]]), said[[7]], atol=1e-6)
    (single,) = np.flatnonzero(sized.sizes == 2)[:1]
    ones = bw.Bags.from_arrays([row[None] for row in sized[single].instances])
    np.testing.assert_allclose(fitted.instance_scores(sized[[single]]), fitted.predict_proba(ones)[:, 1], atol=1e-6)


def test_weights_of_a_counting_attention_are_each_between_0_and_1(sized):
    model = bw.AttentionMIL(counting=True, **QUICK).fit(sized)
    weights = model.attention(sized)
    assert ((weights > 0) & (weights < 1)).all()
    ones = bw.Bags.from_arrays([row[None] for row in sized.instances])
    np.testing.assert_allclose(model.attention(ones), weights, atol=1e-6)


@pytest.mark.parametrize("level", ["embedding", "deep-supervision", "residual"])
@pytest.mark.parametrize("pooling", ["sum", "gated-sum-attention"])
def test_members_side_by_side_end_where_each_does_alone(monkeypatch, level, pooling, sized):
    encoder = {"embedding": "mi-net", "deep-supervision": "mi-net-levels", "residual": "mi-net-equal-levels"}[level]
    architecture = Architecture(level, pooling, encoder, size=True)
    plan = Plan(architecture, ClassTarget.of([0, 1]), 3, "standardize", precision="float64", device="cpu")
    settings = Settings("adam", 1e-3, epochs=2)
    members = [Member(number, np.arange(6 * number, 6 * number + 12), settings) for number in range(3)]
    bags = bw.Bags(sized.instances, sized.offsets)
    found = []
    for executor in (Together, Looped):
        monkeypatch.setattr(engine, "executor_for", lambda *_, executor=executor: executor)
        found.append(train(plan, bags, sized.labels.astype(float), members))
    for one, other in zip(*found, strict=True):
        for name, value in one.state.items():
            torch.testing.assert_close(value, other.state[name], rtol=1e-8, atol=1e-9)


def test_members_answer_together_what_each_says(sized):
    models = bw.fit_ensemble(bw.AttentionMIL(counting=True, size=True, **QUICK), sized, 3)
    together = predict_ensemble(models, sized).members
    np.testing.assert_allclose(together, [model.predict_proba(sized) for model in models], atol=1e-6)


class Plain(torch.nn.Module):
    def __init__(self, instance_shape, outputs):
        super().__init__()
        self.layer = torch.nn.Linear(*instance_shape, outputs)

    def encode(self, instances):
        return instances

    def aggregate(self, embeddings, offsets):
        return bw.Output(self.layer(segment_mean(embeddings, offsets)))


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (bw.InstanceMIL(size=True), "at the instance level no classifier of bags follows the pooling"),
        (bw.NeuralMIL(model=Plain, size=True), "a model of your own counts instances itself"),
    ],
)
def test_where_nothing_follows_the_pooling_the_size_is_refused(sized, model, told):
    with pytest.raises(BagwiseError, match=told):
        model.fit(sized)
