"""The joint executor: what it ends with, against the plain loop of each member."""

import warnings
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from bagwise.bags import Bags
from bagwise.errors import BagwiseError, BagwiseWarning
from bagwise.models import in_parts
from bagwise.models.architecture import LEVELS, Architecture
from bagwise.models.model import Output
from bagwise.models.own import OwnArchitecture
from bagwise.models.pooling import EMBEDDING_POOLINGS, INSTANCE_POOLINGS, Pooled, Pooling
from bagwise.models.scaling import Moments
from bagwise.segments import segment_mean, segment_softmax, segment_sum
from bagwise.targets.registry import TARGETS
from bagwise.training import choice, engine
from bagwise.training.data import PackedTensors
from bagwise.training.joined import refusal
from bagwise.training.looped import Looped
from bagwise.training.masks import joint_masks
from bagwise.training.members import Member, Plan, Settings
from bagwise.training.padding import shared_sizes
from bagwise.training.randomness import hashed
from bagwise.training.together import Together

RNG = np.random.default_rng(0)
SIZES = np.array([1, 2, 5, 3, 9, 7, 4, 8, 1, 6, 10, 12])
BAGS = Bags.from_arrays([RNG.normal(2.0, 3.0, size=(size, 4)) for size in SIZES])
TAILED = Bags(BAGS.instances**7, BAGS.offsets)  # some values are more than four spreads off
LABELS = {
    "classes": np.arange(12) % 2,
    "multi-label": np.where(RNG.random((12, 2)) < 0.1, np.nan, np.arange(24).reshape(12, 2) % 3 == 0),
    "real": RNG.normal(size=12),
    "count": RNG.integers(0, 9, 12),
    "ordinal": np.arange(12) % 3,
    "survival": np.array(
        [(place % 3 > 0, time) for place, time in enumerate(RNG.random(12) + 0.1)],
        dtype=[("event", bool), ("time", float)],
    ),
}
RULES = {
    "sgd": {"momentum": 0.9, "decay": 1e-2},
    "plain sgd": {"momentum": 0.0},
    "adam": {},
    "adamw": {},
    "warm-up, cosine": {"warmup": 0.3, "scheduler": "cosine"},
    "clipped": {"clip_gradient": 0.05},
}
SHAPES = [("embedding", pooling, "mi-net") for pooling in EMBEDDING_POOLINGS]
SHAPES += [("instance", pooling, "mi-net") for pooling in INSTANCE_POOLINGS]
SHAPES += [("deep-supervision", "max", "mi-net-levels"), ("residual", "attention", "mi-net-equal-levels")]
SHAPES += [("embedding", "attention", "identity"), ("instance", "max", "identity")]
SHAPES += [(level, None, "mi-net") for level, made in LEVELS.items() if made.ADDS_UP]


class Masked(Looped):
    """Drops what the joint executor drops."""

    def step(self, number, batch, seed):
        rate = self.members[number].settings.dropout
        if rate:
            epoch_seed = torch.tensor([int(hashed(self.members[number].seed, self.epoch)[0] >> np.uint64(1))])
            model = self.models[number]
            instances, _ = self.packed.batch(batch, self.device)
            units = model.encode(instances[:1]).shape[1]
            rates = torch.tensor([rate], dtype=torch.float64)
            places = [
                (torch.tensor(int(self.packed.offsets[bag])), min(int(self.packed.sizes[bag]), self.plan.sample or 99))
                for bag in batch
            ]
            drawn = [joint_masks(epoch_seed, rates, *place, units, self.plan.dtype)[0] for place in places]
            model.dropout.scales = torch.cat(drawn).to(self.device)
        return super().step(number, batch, seed)

    def run_epoch(self, epoch, active):
        self.epoch = epoch
        return super().run_epoch(epoch, active)


def plan_of(level, pooling, encoder, kind="classes", **given):
    target = TARGETS[kind].of(LABELS[kind])
    given = {"scaling": "standardize", "precision": "float64", "device": "cpu"} | given
    return Plan(Architecture(level, pooling, encoder), target, order_seed=3, **given)


def settings_of(rule, **given):
    rate = 1e-2 if "sgd" in rule else 1e-3
    optimizer = {"plain sgd": "sgd", "warm-up, cosine": "adam", "clipped": "adamw"}.get(rule, rule)
    return Settings(optimizer, rate, **({"epochs": 4, "l2": 1e-2} | RULES[rule] | given))


def members_of(*settings):
    """Each holds other bags out."""
    every = np.arange(len(BAGS))
    return [
        Member(7 + place, every[every % 4 != place % 4], one, validation=every[every % 4 == place % 4])
        for place, one in enumerate(settings)
    ]


def both(plan, members, bags=BAGS, weights=None, labels=None, **options):
    moments = Moments(bags.instances, bags.offsets) if plan.standardizes else None
    encoded = plan.target.encoded(LABELS[plan.target.kind] if labels is None else labels)
    packed = PackedTensors(bags, encoded, weights)
    return Masked(plan, packed, members, moments), Together(plan, packed, members, moments, **options)


def assert_equal(looped, together, epochs=2):
    for epoch in range(epochs):
        # The second sits the last epoch out.
        active = [n for n in range(len(looped.members)) if n != 1 or epoch < epochs - 1]
        np.testing.assert_allclose(together.run_epoch(epoch, active), looped.run_epoch(epoch, active), rtol=1e-9)
    expected, found = looped.tensors(), together.tensors()
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-10, msg=name)
    for one, other in zip(together.validate([0, 1]), looped.validate([0, 1]), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9)


@pytest.mark.parametrize(("level", "pooling", "encoder"), SHAPES)
def test_every_model_ends_where_the_plain_loop_ends(level, pooling, encoder):
    members = members_of(settings_of("sgd", dropout=0.5), settings_of("sgd"), settings_of("sgd", dropout=0.2))
    assert_equal(*both(plan_of(level, pooling, encoder), members))


@pytest.mark.parametrize("kind", TARGETS)
def test_every_target_ends_where_the_plain_loop_ends(kind):
    members = members_of(*[settings_of("adam", dropout=0.5)] * 3)
    weights = np.linspace(0.5, 2.0, len(BAGS))
    for shape in (("embedding", "attention", "mi-net"), ("deep-supervision", "max", "mi-net-levels")):
        assert_equal(*both(plan_of(*shape, kind), members, weights=weights))


@pytest.mark.parametrize("rule", RULES)
def test_every_optimizer_ends_where_the_plain_loop_ends(rule):
    members = members_of(*[settings_of(rule)] * 2, settings_of(rule, class_weights=(0.5, 2.0)))
    assert_equal(*both(plan_of("instance", "noisy-and", "mi-net"), members))


def test_members_of_one_block_may_differ_in_their_optimizer():
    assert_equal(*both(plan_of("embedding", "mean", "mi-net"), members_of(*map(settings_of, RULES))))


STEPS = [{"bags_per_step": 2}, {"instance_budget": 15}, {"bags_per_step": 3, "instance_budget": 20}]


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("sample", [None, 3])
def test_several_bags_a_step_end_where_the_plain_loop_ends(steps, sample):
    settings = ("clipped", "sgd", "warm-up, cosine")
    members = members_of(*(settings_of(rule, dropout=rate) for rule, rate in zip(settings, (0.5, 0, 0), strict=True)))
    plan = plan_of("embedding", "attention", "mi-net", sample=sample, **steps)
    assert_equal(*both(plan, members, weights=np.linspace(0.5, 2.0, len(BAGS)), capture=sample is None))


@pytest.mark.parametrize(("level", "pooling", "encoder"), SHAPES[::3])
@pytest.mark.parametrize("scaling", [{}, {"clip": 0.5}, {"scaling": "log"}])
def test_members_that_draw_their_instances_draw_those_of_the_plain_loop(level, pooling, encoder, scaling):
    members = members_of(settings_of("sgd", dropout=0.5), settings_of("adam"))
    assert_equal(*both(plan_of(level, pooling, encoder, sample=3, **scaling), members, TAILED if scaling else BAGS))


def focal(output, targets):
    return (targets.loss(output.logits) * (1 - torch.exp(-targets.loss(output.logits)))).mean()


def attentive(output, targets):
    return targets.loss(output.logits) - 0.1 * (output.weights * (output.weights + 1e-9).log()).sum()


def of_the_label(output, targets):
    """Looks at a number, which torch does for one member alone."""
    loss = targets.loss(output.logits)
    return loss + 0.1 * output.weights.square().sum() if targets.labels[0] > 0 else 2 * loss


@pytest.mark.parametrize("loss", [focal, attentive, of_the_label])
@pytest.mark.parametrize("given", [{}, {"sample": 3}])
def test_losses_of_ones_own_end_where_the_plain_loop_ends(loss, given):
    members = members_of(settings_of("sgd", dropout=0.5), settings_of("adam", class_weights=(0.5, 2.0)))
    plan = plan_of("embedding", "attention", "mi-net", loss=loss, **given)
    looped, together = both(plan, members, weights=np.linspace(0.5, 2.0, len(BAGS)), capture=True)
    assert_equal(looped, together, epochs=2)
    assert together._own._side_by_side == (loss is not of_the_label)


class Centred(torch.nn.Module):
    """A model with a loss of its own, which has a parameter to learn."""

    def __init__(self, instance_shape, outputs):
        super().__init__()
        self.layer = torch.nn.Linear(*instance_shape, outputs)
        self.centre = torch.nn.Parameter(torch.ones(*instance_shape))

    def encode(self, instances):
        return instances

    def aggregate(self, embeddings, offsets):
        mean = segment_mean(embeddings, offsets)
        return Output(self.layer(mean), extras={"mean": mean})

    def loss(self, output, targets):
        return targets.loss(output.logits) + (output.extras["mean"] - self.centre).square().sum(1)


@pytest.mark.parametrize("looks", [False, True])
def test_the_loss_that_a_model_has_learns_its_own_parameters(looks, monkeypatch):
    if looks:
        plain = Centred.loss
        monkeypatch.setattr(Centred, "loss", lambda *given: plain(*given) * (2 if given[1].logits.item() > 0 else 1))
    plan = replace(plan_of("embedding", "max", "identity"), architecture=OwnArchitecture(Centred))
    members = members_of(settings_of("sgd"), settings_of("adam", dropout=0.5))
    looped, together = both(plan, members)
    assert_equal(looped, together, epochs=2)
    assert not torch.equal(together.models[0].model.centre, together.models[1].model.centre)


class Cut(Centred):
    """Learns nothing through its embeddings."""

    loss = None

    def encode(self, instances):
        return instances * self.centre

    def aggregate(self, embeddings, offsets):
        return Output(self.layer(segment_mean(embeddings.detach(), offsets)))


class Signs(Cut):
    """Has embeddings that are whole numbers."""

    def encode(self, instances):
        return (instances > 0).long()

    def aggregate(self, embeddings, offsets):
        return super().aggregate(embeddings.to(self.centre.dtype), offsets)


@pytest.mark.parametrize("model", [Cut, Signs])
def test_embeddings_without_a_gradient_have_none_to_pass_on_in_chunks(model):
    plan = replace(plan_of("embedding", "max", "identity"), architecture=OwnArchitecture(model), chunk=2)
    looped, together = both(plan, members_of(settings_of("sgd"), settings_of("sgd", l2=0.0)))
    before = together.models[0].model.layer.weight.clone()
    assert_equal(looped, together, epochs=2)
    assert not torch.equal(together.models[0].model.layer.weight, before)


def test_a_loss_that_fails_is_told_of_as_in_the_plain_loop():
    def broken(output, _):
        return output.logits + "1"

    together = both(plan_of("embedding", "max", "identity", loss=broken), members_of(*[settings_of("sgd")] * 2))[1]
    with pytest.raises(BagwiseError, match="the loss .*broken fails on 1 bags"):
        together.run_epoch(0, [0, 1])


def cosine(optimizer, steps):
    return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)


@pytest.mark.parametrize("steps", [{}, STEPS[0]])
def test_optimizers_of_ones_own_end_where_the_plain_loop_ends(steps):
    members = members_of(
        Settings(partial(torch.optim.RMSprop, lr=1e-3, eps=1e-3), None, epochs=4, clip_gradient=0.05),
        Settings(partial(torch.optim.Adam, lr=1e-2, amsgrad=True), None, epochs=4, scheduler=cosine),
        settings_of("sgd", dropout=0.5),
    )
    assert_equal(*both(plan_of("embedding", "attention", "mi-net", **steps), members))


class Nearest(Pooling):
    """Weighs instances by how near they are to the bag's first corner."""

    wants_coordinates = True

    def forward(self, values, offsets, coordinates):
        weights = segment_softmax(-coordinates.square().sum(1, keepdim=True), offsets)
        return Pooled(segment_sum(weights * values, offsets), weights)


@pytest.mark.parametrize("given", [{}, {"sample": 3}, {"bags_per_step": 2}, {"bags_per_step": 2, "sample": 3}])
def test_coordinates_go_with_their_instances(given):
    bags = Bags(BAGS.instances, BAGS.offsets, coordinates=RNG.normal(size=(len(BAGS.instances), 2)))
    members = members_of(settings_of("adam", dropout=0.5), settings_of("sgd"))
    plan = plan_of("embedding", Nearest, "mi-net", **given)
    assert refusal(plan.architecture.build((4,), 1, seed=0), (4,)) is None
    assert_equal(*both(plan, members, bags))


@pytest.mark.parametrize("pooling", ["embedding attention", *(f"instance {name}" for name in INSTANCE_POOLINGS)])
def test_padding_a_bag_changes_no_result(pooling):
    level, name = pooling.split()
    members = members_of(settings_of("adam", dropout=0.5), settings_of("adam"))
    looped, together = both(plan_of(level, name, "mi-net"), members, capture=True)
    assert_equal(looped, together)
    assert len(together._steps_of) < len(np.unique(SIZES))


def test_bags_share_sizes_that_are_less_than_a_quarter_larger():
    shared = shared_sizes(np.arange(1, 5000))
    assert all(size <= padded < 1.25 * size + 1e-9 or size == padded for size, padded in shared.items())
    assert len(set(shared.values())) < 45
    assert shared_sizes(np.array([4000, 4000])) == {4000: 4000}


def test_a_bag_above_the_chunk_has_the_same_gradient(monkeypatch):
    monkeypatch.setattr(in_parts, "_ROWS_AT_ONCE", 4)
    members = members_of(settings_of("adam", dropout=0.5), settings_of("adam"))
    looped, together = both(plan_of("embedding", "gated-attention", "mi-net"), members)
    together._chunk = 3
    assert_equal(looped, together)


@pytest.mark.parametrize("chunk", [1, 6, 99])
@pytest.mark.parametrize("given", [{}, {"loss": focal}])
def test_validation_bags_are_measured_together_as_they_are_one_by_one(chunk, given, monkeypatch):
    bags = Bags(BAGS.instances, BAGS.offsets, coordinates=RNG.normal(size=(len(BAGS.instances), 2)))
    members = members_of(*[settings_of("adam", class_weights=(0.5, 2.0))] * 3)
    looped, together = both(plan_of("embedding", Nearest, "mi-net", **given), members, bags)
    asked, plain = [], together.joined.aggregate
    monkeypatch.setattr(
        together.joined, "aggregate", lambda *given: (asked.append(given[0].shape[1]), plain(*given))[1]
    )
    together._chunk = chunk
    np.testing.assert_allclose(together.validate([2, 0]), looped.validate([2, 0]), rtol=1e-9)
    one_by_one = [SIZES[bag] for bag in range(12) if bag % 4 in (0, 2)]
    assert sum(asked) == sum(one_by_one)
    if chunk == 1 or given:
        assert asked == one_by_one
    else:
        assert all(rows <= chunk or rows in one_by_one for rows in asked)
        assert len(asked) < len(one_by_one)


@pytest.mark.parametrize(
    ("scaling", "bags", "shares"),
    [
        ({"clip": 0.5}, BAGS, False),
        ({"clip": 100.0}, BAGS, True),
        ({"scaling": "log"}, BAGS, True),
        ({"scaling": "log"}, TAILED, False),
        ({"scaling": "log", "clip": 4.5}, TAILED, False),
    ],
)
def test_what_is_far_off_after_scaling_is_brought_nearer_the_same(scaling, bags, shares):
    members = members_of(settings_of("sgd"), settings_of("sgd"))
    looped, together = both(plan_of("embedding", "max", "mi-net", **scaling), members, bags)
    assert together.joined.shares_inputs == shares
    assert_equal(looped, together)


@pytest.mark.parametrize(
    ("encoder", "augmentation", "sample"),
    [("lenet5", None, None), ("cell-cnn", None, 2), ("lenet5", "affine", 2), ("cell-cnn", "tissue", None)],
)
def test_images_are_learnt_from_as_the_plain_loop_does(encoder, augmentation, sample):
    shape = (28, 28) if encoder == "lenet5" else (12, 11, 3)
    bags = Bags.from_arrays([RNG.integers(0, 256, (size, *shape), dtype=np.uint8) for size in (1, 3, 2, 4)])
    labels = np.array([0, 1, 1, 0])
    plan = plan_of("embedding", "gated-attention", encoder, scaling="pixels", augmentation=augmentation, sample=sample)
    settings = settings_of("adam", epochs=2)
    members = [Member(seed, np.arange(4)[np.arange(4) != seed], settings, np.array([seed])) for seed in range(2)]
    assert_equal(*both(plan, members, bags, labels=labels), epochs=2)


class Waits(TorchDispatchMode):
    """Notes what would wait for a card: a number that is looked at, or instances that are counted."""

    def __init__(self):
        super().__init__()
        self.noted = []

    @classmethod
    def _should_skip_dynamo(cls):
        return False  # to skip it would load it

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        indices = args[1] if str(func).startswith(("aten.index.", "aten.index_put")) else ()
        chosen = any(getattr(index, "dtype", None) == torch.bool for index in indices)
        if chosen or any(name in str(func) for name in ("_local_scalar_dense", "nonzero", "masked_select")):
            self.noted.append(str(func))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("kind", [Looped, Together])
@pytest.mark.parametrize(
    "given",
    [{}, {"sample": 3}, {"bags_per_step": 2}, {"loss": focal}, {"encoder": "cell-cnn", "augmentation": "tissue"}],
)
def test_nothing_waits_for_the_device_within_an_epoch(kind, given):
    given = {"encoder": "mi-net"} | given
    members, bags = members_of(settings_of("adam", dropout=0.5), settings_of("sgd", class_weights=(0.5, 2.0))), BAGS
    if "augmentation" in given:
        bags = Bags(RNG.integers(0, 256, (len(BAGS.instances), 11, 11, 3), dtype=np.uint8), BAGS.offsets)
        given |= {"scaling": "pixels"}
    plan = plan_of("embedding", "attention", **given)
    moments = Moments(bags.instances, bags.offsets) if plan.standardizes else None
    executor = kind(plan, PackedTensors(bags, plan.target.encoded(LABELS["classes"])), members, moments)
    with Waits() as waits:
        executor.run_epoch(0, [0, 1])
    assert not waits.noted


def test_a_resumed_training_ends_with_the_same_bits():
    members = members_of(settings_of("adam", dropout=0.5), settings_of("sgd"))
    plan = plan_of("embedding", "attention", "mi-net", precision="float32")
    whole, stopped = (both(plan, members)[1] for _ in range(2))
    for epoch in range(3):
        whole.run_epoch(epoch, [0, 1])
    stopped.run_epoch(0, [0, 1])
    resumed = both(plan, members)[1]
    resumed.load({name: value.clone() for name, value in stopped.tensors().items()})
    for epoch in (1, 2):
        resumed.run_epoch(epoch, [0, 1])
    for name, value in whole.tensors().items():
        assert torch.equal(resumed.tensors()[name], value), name


def test_a_member_that_became_no_number_is_told_of_and_leaves_the_others():
    members = members_of(settings_of("sgd"), settings_of("sgd", l2=1e200))
    looped, together = both(plan_of("embedding", "max", "mi-net"), members)
    together.run_epoch(0, [0, 1])
    looped.run_epoch(0, [0])
    assert together.is_finite(0)
    assert not together.is_finite(1)
    torch.testing.assert_close(together.state(0), looped.state(0), rtol=1e-9, atol=1e-10)


# ---- masks -----------------------------------------------------------------------------------------------------------


def test_a_mask_depends_on_the_member_and_the_place_alone():
    seeds, rates = torch.tensor([3, 2**62 + 1]), torch.tensor([0.25, 0.5], dtype=torch.float64)
    whole = joint_masks(seeds, rates, torch.tensor(0), 500, 64, torch.float64)
    part = joint_masks(seeds[1:], rates[1:], torch.tensor(100), 7, 64, torch.float64)
    assert torch.equal(part[0], whole[1, 100:107])
    assert set(whole[0].unique().tolist()) == {0.0, 1 / 0.75}
    assert not torch.equal(whole[0] > 0, whole[1] > 0)


def test_masks_drop_their_share_everywhere():
    seeds = torch.arange(40)
    kept = joint_masks(seeds, torch.full((40,), 0.3, dtype=torch.float64), torch.tensor(5), 300, 64, torch.float32) > 0
    for axes, count in (((1, 2), 19200), ((0, 2), 2560), ((0, 1), 12000)):
        shares = 1 - kept.double().mean(axes)
        assert float((shares - 0.3).abs().max()) < 5 * np.sqrt(0.21 / count)
    neighbours = torch.corrcoef(kept[:, :, :2].reshape(-1, 2).T.double())[0, 1]
    assert abs(float(neighbours)) < 5 / np.sqrt(12000)


# ---- which plans are trained so --------------------------------------------------------------------------------------


@pytest.fixture(name="on_a_gpu")
def _on_a_gpu(monkeypatch):
    monkeypatch.setattr(choice, "resolve_device", lambda *_: torch.device("cuda"))


@pytest.mark.usefixtures("on_a_gpu")
def test_on_a_gpu_all_members_train_together_where_they_can():
    shape = ("embedding", "attention", "mi-net")
    members = members_of(settings_of("adam"), settings_of("sgd"))
    assert choice.executor_for(plan_of(*shape), BAGS, members) is Together
    own_loss = {"loss": lambda output, _: output.logits.sum()}
    for given in ({"sample": 3}, {"bags_per_step": 2}, {"instance_budget": 9}, own_loss):
        assert choice.executor_for(plan_of(*shape, **given), BAGS, members) is Together
    own = members_of(Settings(torch.optim.RMSprop, None, epochs=1))
    assert choice.executor_for(plan_of(*shape), BAGS, own) is Together


@pytest.mark.usefixtures("on_a_gpu")
@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"loss": lambda output, _: output.logits.sum(), "bags_per_step": 2}, "a loss of your own .* one bag a step"),
        ({"augmentation": "affine", "bags_per_step": 2}, "the augmentation 'affine' .* take one bag a step"),
        ({"augmentation": "affine"}, "the augmentation 'affine' .* 8 bits"),
    ],
)
def test_what_does_not_go_together_is_told_once_for_all_members(given, told):
    plan = plan_of("embedding", "attention", "mi-net", **given)
    one, other = members_of(settings_of("adam"), settings_of("sgd"))
    with pytest.warns(BagwiseWarning, match=f"the 2 models train one after the other on device 'cuda'.*{told}") as said:
        assert choice.executor_for(plan, BAGS, [one, other]) is Looped
    assert len(said) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # one model has nobody to be together with
        assert choice.executor_for(plan, BAGS, [one]) is Looped


def test_on_a_cpu_nothing_is_told():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plan = plan_of("embedding", "attention", "mi-net", loss=lambda output, _: output.logits.sum())
        assert choice.executor_for(plan, BAGS, members_of(*[settings_of("adam")] * 2)) is Looped


@pytest.mark.usefixtures("on_a_gpu")
@pytest.mark.parametrize("bags", [1, 2])
def test_what_torch_cannot_compute_side_by_side_trains_one_by_one_and_is_told(bags):
    class Counting(Pooling):
        def forward(self, values, offsets):
            return Pooled(segment_sum(values, offsets) + (0 * values.sum().item() if len(offsets) > bags else 0))

    plan = plan_of("embedding", Counting, "identity")
    members = members_of(settings_of("adam"), settings_of("sgd"))
    with pytest.warns(BagwiseWarning, match="the 2 models train one after the other"):
        assert choice.executor_for(plan, BAGS, members) is Looped


def test_the_engine_trains_together_as_it_trains_one_by_one(monkeypatch):
    plan = plan_of("embedding", "attention", "mi-net")
    members = members_of(settings_of("adam", patience=1), settings_of("adam", epochs=2))
    encoded = plan.target.encoded(LABELS["classes"])
    results = []
    for kind in (Looped, Together):
        monkeypatch.setattr(engine, "executor_for", lambda *_, kind=kind: kind)
        results.append(engine.train(plan, BAGS, encoded, members))
    for one, other in zip(*results, strict=True):
        assert one.best_epoch == other.best_epoch
        torch.testing.assert_close(one.state, other.state, rtol=1e-9, atol=1e-10)
        assert len(one.history) == len(other.history)


def test_blocks_are_small_where_bags_are_large():
    class Sizes:
        sizes = np.array([3, 1 << 20])

    assert Together.members_at_once(BAGS) == 1024
    assert Together.members_at_once(Sizes) == 8
