"""The stacked executor against torch's own differentiation, against the plain executor, and its bits."""

import copy
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from bagwise.bags import Bags
from bagwise.models.architecture import Architecture
from bagwise.models.encoders import FullyConnected
from bagwise.models.pooling import EMBEDDING_POOLINGS, INSTANCE_POOLINGS, Mean, NoisyOr
from bagwise.targets.classes import ClassTarget
from bagwise.targets.likelihood import negative_log_likelihood
from bagwise.training import engine, kernels
from bagwise.training.data import PackedTensors
from bagwise.training.engine import train
from bagwise.training.looped import Looped
from bagwise.training.members import Member, Plan, Settings
from bagwise.training.optimizer import Optimizer
from bagwise.training.stack import Stack, can_stack
from bagwise.training.stacked import Stacked

FAMILY = [("embedding", pooling, "mi-net") for pooling in EMBEDDING_POOLINGS]
FAMILY += [("instance", pooling, "mi-net") for pooling in INSTANCE_POOLINGS]
FAMILY += [
    ("deep-supervision", pooling, "mi-net-levels")
    for pooling in ("max", "mean", "gated-attention", "gated-sum-attention")
]
FAMILY += [("residual", pooling, "mi-net-equal-levels") for pooling in ("max", "mean", "attention", "sum")]
every_family = pytest.mark.parametrize(
    ("level", "pooling", "encoder"), FAMILY, ids=["-".join(parts[:2]) for parts in FAMILY]
)


def architecture_of(level, pooling, encoder, size=False):
    return Architecture(level, pooling, encoder, {"hidden": 32} if "attention" in pooling else {}, size=size)


# ---- the compiled step against torch's own differentiation -----------------------------------------------------------


WEIGHT = 0.75  # of the bag's loss
TWO = ClassTarget.of([0, 1])


def plain_descent(model, bag, target, kept=None):
    """Give the logits, and the parameters after one step of size 1, by torch."""
    if kept is not None:
        model.dropout.forward = lambda values: values * kept
    logits = model(bag, torch.tensor([0, len(bag)])).logits
    loss = WEIGHT * negative_log_likelihood(logits, torch.tensor([target])).sum()
    gradients = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
    found = {}
    for (name, parameter), gradient in zip(model.named_parameters(), gradients, strict=True):
        found[name] = parameter.detach() - (0 if gradient is None else gradient)
    return logits.detach()[:, 0], found


def compiled_descent(model, bag, target, kept=None):
    optimizer = Optimizer(model.named_parameters(), Settings("sgd", learning_rate=1.0, epochs=1, momentum=0.0))
    head = model.heads[0] if hasattr(model, "heads") else model.head
    stack = Stack([model], [optimizer], ClassTarget.of(range(max(2, head.out_features))))
    offsets, wanted = torch.tensor([0, len(bag)]), np.array([[float(target)]])
    told = None if model.beside is None else model.beside(offsets)
    logits = stack.learn(0, bag, offsets.numpy(), wanted, np.full(1, WEIGHT), kept, told)
    assert optimizer.steps == 1
    return logits[:, 0], dict(model.named_parameters())


def assert_same_descent(model, bag, target, kept=None, tolerance=1e-10):
    logits, parameters = plain_descent(model, bag, target, kept)
    found, changed = compiled_descent(model, bag, target, kept)
    torch.testing.assert_close(found, logits, rtol=tolerance, atol=tolerance)
    for name, parameter in parameters.items():
        torch.testing.assert_close(
            changed[name].detach(), parameter, rtol=tolerance, atol=tolerance, msg=lambda m, n=name: f"{n} {m}"
        )


@every_family
@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("instances", [1, 3, 4, 13])
def test_a_step_is_down_the_gradient_that_torch_gives(level, pooling, encoder, outputs, instances):
    model = architecture_of(level, pooling, encoder).build(
        (7,), outputs, seed=1, sizes=np.array([2, 5]), dtype=torch.float64
    )
    torch.manual_seed(instances)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    bag = torch.randn(instances, 7, dtype=torch.float64)
    width = model.encode(bag).shape[1]
    for target in range(max(outputs, 2)):
        assert_same_descent(copy.deepcopy(model), bag, target)
    kept = 2.0 * (torch.rand(instances, width, dtype=torch.float64) > 0.5)
    assert_same_descent(model, bag, 1, kept)


@pytest.mark.parametrize(("level", "pooling", "encoder"), [parts for parts in FAMILY[::3] if parts[0] != "instance"])
@pytest.mark.parametrize("outputs", [1, 3])
def test_a_step_is_so_too_where_the_heads_are_told_the_number_of_instances(level, pooling, encoder, outputs):
    architecture = architecture_of(level, pooling, encoder, size=True)
    model = architecture.build((7,), outputs, seed=1, sizes=np.array([2, 9, 30]), dtype=torch.float64)
    bag = torch.randn(4, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert_same_descent(model, bag, 1)


@given(
    widths=st.lists(st.integers(1, 11), min_size=1, max_size=4),
    features=st.integers(1, 10),
    instances=st.integers(1, 9),
    hidden=st.integers(1, 10),
    kind=st.sampled_from([("embedding", p) for p in EMBEDDING_POOLINGS] + [("instance", p) for p in INSTANCE_POOLINGS]),
    outputs=st.sampled_from([1, 3, 4]),
    seed=st.integers(0, 99),
)
def test_any_shape_will_do(widths, features, instances, hidden, kind, outputs, seed):
    level, pooling = kind
    options = {"hidden": hidden} if "attention" in pooling else {}
    architecture = Architecture(level, pooling, lambda: FullyConnected((features,), widths), options)
    model = architecture.build((features,), outputs, seed, dtype=torch.float64)
    bag = torch.randn(instances, features, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    assert_same_descent(model, bag, seed % max(outputs, 2))


@pytest.mark.parametrize("pooling", ["max", "log-sum-exp", "attention"])
def test_instances_that_are_the_same_share_the_gradient(pooling):
    model = Architecture("embedding", pooling, "mi-net").build((3,), outputs=1, seed=0, dtype=torch.float64)
    assert_same_descent(model, torch.ones(4, 3, dtype=torch.float64), 1)


@pytest.mark.parametrize("pooling", INSTANCE_POOLINGS)
@pytest.mark.parametrize(
    "logits", [[30.0, -30.0, 0.0], [-40.0, -35.0], [50.0, 60.0], [-300.0, -290.0], [200.0, -200.0]]
)
def test_certain_instances_have_the_gradient_that_torch_gives(pooling, logits):
    architecture = Architecture("instance", pooling, lambda: FullyConnected((2,), widths=(2,)))
    model = architecture.build((2,), outputs=1, seed=0, dtype=torch.float64)
    with torch.no_grad():
        model.encoder[0][0].weight.copy_(torch.eye(2))
        model.encoder[0][0].bias.zero_()
        model.head.weight.copy_(torch.tensor([[1.0, -1.0]]))
        model.head.bias.zero_()
    bag = torch.tensor([[max(logit, 0.0), max(-logit, 0.0)] for logit in logits], dtype=torch.float64)
    for target in (0, 1):
        assert_same_descent(copy.deepcopy(model), bag, target, tolerance=1e-8)


def test_what_is_no_number_is_not_hidden():
    model = Architecture("embedding", "mean", "mi-net").build((2,), outputs=1, seed=0)
    logits, _ = compiled_descent(model, torch.tensor([[1.0, torch.nan]]), 1)
    assert logits.isnan().all()


def test_no_other_precision_than_the_models_has_the_step_compiled_once_more():
    model = Architecture("embedding", "mean", "mi-net").build((2,), outputs=1, seed=0)
    bag = torch.ones(1, 2), np.array([0, 1]), np.ones((1, 1), np.float32)

    def learn(rate, weights, scales):
        stack = Stack([model], [Optimizer(model.named_parameters(), Settings("sgd", rate, epochs=1))], TWO)
        stack.learn(0, *bag, weights, scales)
        return len(kernels.learn.signatures)

    width = model.encode(bag[0]).shape[1]
    before = learn(0.1, np.ones(1, np.float32), torch.ones(1, width))
    assert learn(np.float32(0.1), np.ones(1), torch.ones(1, width, dtype=torch.float64)) == before


@pytest.mark.parametrize("longest", [1e-3, 1.0, 1e3])
def test_a_long_gradient_is_made_as_short(longest):
    def step(clip):
        model = Architecture("deep-supervision", "gated-attention", "mi-net-levels").build((3,), 3, 0)
        before = {name: value.detach().clone() for name, value in model.named_parameters()}
        optimizer = Optimizer(
            model.named_parameters(), Settings("sgd", 1.0, epochs=1, momentum=0.0, clip_gradient=clip)
        )
        stack = Stack([model], [optimizer], ClassTarget.of([0, 1, 2]))
        stack.learn(0, 50 * torch.ones(2, 3), np.array([0, 2]), np.ones((1, 1)), np.ones(1), None)
        return torch.cat([(before[name] - value.detach()).ravel() for name, value in model.named_parameters()])

    whole, clipped = step(None), step(longest)
    share = min(1.0, longest / float(whole.norm()))
    torch.testing.assert_close(clipped, share * whole, rtol=1e-4, atol=1e-6)
    assert (share == 1) == (longest == 1e3)


def test_several_bags_are_several_steps():
    def trained(pages):
        model = Architecture("embedding", "attention", "mi-net").build((3,), outputs=1, seed=0)
        optimizer = Optimizer(model.named_parameters(), Settings("adam", 0.01, epochs=1, decay=0.1, l2=0.01))
        stack, bags = Stack([model], [optimizer], TWO), torch.randn(9, 3, generator=torch.Generator().manual_seed(0))
        for bag_offsets in pages:
            rows = bags[bag_offsets[0] : bag_offsets[-1]]
            wanted = (np.arange(len(bag_offsets) - 1) % 2).astype(np.float32)[:, None]
            weights = np.ones(len(wanted), np.float32)
            stack.learn(0, rows, np.array(bag_offsets) - bag_offsets[0], wanted, weights, None)
        return optimizer.steps, [parameter.detach() for parameter in model.parameters()]

    (together, joint), (apart, single) = trained([[0, 2, 3, 9]]), trained([[0, 2, 3], [3, 9]])
    assert together == apart == 3
    assert all(torch.equal(a, b) for a, b in zip(joint, single, strict=True))


def test_what_is_done_to_the_models_is_done_to_the_stack():
    models = [Architecture("embedding", "max", "mi-net").build((2,), 1, seed) for seed in range(2)]
    optimizers = [Optimizer(model.named_parameters(), Settings("sgd", 0.1, epochs=1)) for model in models]
    whole = Stack(models, optimizers, TWO)
    for parameter in models[1].parameters():
        parameter.data.zero_()
    bag = torch.ones(1, 2), np.array([0, 1]), np.ones((1, 1), np.float32), np.ones(1, np.float32), None
    assert whole.learn(0, *bag) != 0
    assert whole.learn(1, *bag) == 0
    assert models[1].head.bias != 0
    assert optimizers[1].slots["momentum"]["head.bias"] != 0


# ---- which models are stacked ----------------------------------------------------------------------------------------


def test_only_what_has_a_stacked_form_is_stacked():
    def stackable(*parts, options=None):
        shape = (28, 28) if parts[2] == "lenet5" else (3,)
        return can_stack(Architecture(*parts, options or {}).build(shape, 1, seed=0))

    assert all(stackable(*parts) for parts in FAMILY)
    assert not stackable("embedding", "max", "lenet5")
    assert not stackable("embedding", "max", "identity")
    assert not stackable("embedding", "max", nn.Sequential(nn.Linear(3, 16)))
    assert stackable("embedding", "attention", "mi-net", options={"hidden": 20})
    # Given as classes, at a level that has no such pooling.
    assert not stackable("instance", Mean, "mi-net")
    assert not stackable("embedding", NoisyOr, "mi-net")
    assert stackable("embedding", "max", lambda: FullyConnected((3,), widths=(48, 5)))


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({}, Stacked),
        ({"instance_budget": 5}, Looped),
        ({"instance_budget": None}, Stacked),
        ({"bags_per_step": 2}, Looped),
        ({"bags_per_step": 1}, Stacked),
        ({"chunk": 1}, Stacked),
    ],
)
def test_the_engine_chooses_by_itself(changes, kind):
    plan = Plan(
        Architecture("embedding", "max", "mi-net"),
        TWO,
        order_seed=0,
        scaling="none",
        **changes,
    )
    assert engine.executor_for(plan, Bags.from_arrays([[[1.0]]]), []) is kind


# ---- a whole training ------------------------------------------------------------------------------------------------


def bags_of(sizes, features, classes, dtype=np.float64):
    rng = np.random.default_rng(0)
    bags = Bags.from_arrays([rng.normal(size=(size, features)).astype(dtype) for size in sizes])
    return bags, np.arange(len(bags)) % classes


def unlike_members(count, bags, optimizer, patience=None):
    """Give members that differ in all that may differ within a block: bags, rates, decays, dropout, when they stop."""
    rng, everything = np.random.default_rng(1), np.arange(len(bags))
    members = []
    for seed in range(count):
        held_out = rng.permutation(len(bags))[: len(bags) // 4]
        settings = Settings(
            optimizer,
            learning_rate=0.02 / (1 + seed % 3) if optimizer == "sgd" else 0.002 * (1 + seed % 3),
            epochs=5 - seed % 3,
            momentum=0.9 if seed % 2 else 0.0,
            decay=0.01 * seed,
            l2=0.005 * seed,
            dropout=[0.5, 0.0, 0.2][seed % 3],
            patience=patience if seed % 2 else None,
            class_weights=(0.5, 1.5, 1.0, 2.0, 0.1) if seed % 4 == 1 else None,
            warmup=[0.0, 0.2, 0.5][seed % 3],
            scheduler="cosine" if seed % 2 else "constant",
            clip_gradient=0.1 if seed % 5 == 3 else None,
        )
        members.append(Member(seed, np.setdiff1d(everything, held_out), settings, validation=held_out))
    return members


def assert_same_training(one, other, equal):
    for first, second in zip(one, other, strict=True):
        assert [entry["epoch"] for entry in first.history] == [entry["epoch"] for entry in second.history]
        assert first.best_epoch == second.best_epoch
        for name, value in first.state.items():
            equal(value, second.state[name])
        for a, b in zip(first.history, second.history, strict=True):
            equal(torch.tensor(list(a.values())).double(), torch.tensor(list(b.values())).double())


def close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def identical(a, b):
    assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("level", "pooling", "encoder", "optimizer", "classes"),
    [(*parts, *(("sgd", 3), ("adamw", 2))[number % 2]) for number, parts in enumerate(FAMILY)],
    ids=["-".join(parts[:2]) for parts in FAMILY],
)
def test_stacked_equals_looped(monkeypatch, level, pooling, encoder, optimizer, classes):
    size = level != "instance" and classes == 2
    bags, targets = bags_of([3, 1, 6, 2, 4, 1, 300, 2], 5, classes)  # the large one takes the plain step
    plan = Plan(
        architecture_of(level, pooling, encoder, size),
        target=ClassTarget.of(range(classes)),
        order_seed=3,
        scaling="standardize",
        precision="float64",
    )
    members = unlike_members(5, bags, optimizer, patience=1)
    weights = None if classes == 2 else np.arange(1.0, 9.0) / 4
    stacked = train(plan, bags, targets, members, weights=weights)
    monkeypatch.setattr(engine, "executor_for", lambda *_: Looped)
    assert_same_training(stacked, train(plan, bags, targets, members, weights=weights), close)


@pytest.mark.parametrize(
    ("level", "pooling", "encoder", "precision"),
    [(*parts, ("float32", "float64")[number % 2]) for number, parts in enumerate(FAMILY)],
    ids=["-".join(parts[:2]) for parts in FAMILY],
)
def test_bits_depend_on_no_company_and_on_no_place_in_it(level, pooling, encoder, precision):
    sizes = [*range(1, 18), 33, 2, 2, 1, 3]
    bags, targets = bags_of(sizes, 13, 2, precision)
    plan = Plan(
        architecture_of(level, pooling, encoder),
        TWO,
        order_seed=3,
        scaling="standardize",
        precision=precision,
    )
    members = unlike_members(11, bags, "adamw")
    joint = train(plan, bags, targets, members)
    for company in ([7], [10, 0], [5, 7, 9], list(range(8, 1, -1))):
        again = train(plan, bags, targets, [members[number] for number in company])
        assert_same_training([joint[number] for number in company], again, identical)


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("features", [1, 166, 230])
def test_bits_do_so_for_any_number_of_features_and_classes(features, classes):
    bags, targets = bags_of([3, 1, 2, 7, 5, 2, 1, 9], features, classes, np.float32)
    for level, pooling in (("embedding", "gated-attention"), ("instance", "noisy-or")):
        plan = Plan(
            architecture_of(level, pooling, "mi-net"),
            target=ClassTarget.of(range(classes)),
            order_seed=0,
            scaling="standardize",
        )
        members = unlike_members(9, bags, "sgd")
        joint = train(plan, bags, targets, members)
        for number in (0, 4, 8):
            assert_same_training([joint[number]], train(plan, bags, targets, [members[number]]), identical)


@given(st.lists(st.sampled_from([1, 5, 100, 128, 129, 500, 3000]), min_size=1, max_size=40), st.integers(0, 9))
def test_pages_hold_every_bag_once_in_order_and_large_ones_alone(sizes, seed):
    bags = Bags(np.zeros((sum(sizes), 1)), np.cumsum([0, *sizes]))
    plan = Plan(Architecture("embedding", "max", "mi-net"), TWO, order_seed=0, scaling="none")
    order = np.random.default_rng(seed).permutation(len(bags))
    member = Member(0, np.sort(order[: len(order) // 2 + 1]), Settings("sgd", 0.01, epochs=1))
    executor = Stacked(plan, PackedTensors(bags, np.zeros(len(bags), np.int64)), [member])
    pages = [page.tolist() for page in executor._pages(order, [0])]
    assert [bag for page in pages for bag in page] == [bag for bag in order.tolist() if bag in member.train]
    for page in pages:
        assert len(page) == 1 or sum(sizes[bag] for bag in page) <= 1024
        assert len(page) == 1 or max(sizes[bag] for bag in page) <= 128


def test_members_that_are_done_cost_nothing(monkeypatch):
    bags, targets = bags_of([2, 3, 1], 4, 2)
    settings = [Settings("sgd", 0.01, epochs) for epochs in (1, 3, 2)]
    steps = []
    plain = Stack.learn
    monkeypatch.setattr(Stack, "learn", lambda self, place, *rest: (steps.append(place), plain(self, place, *rest))[1])
    plan = Plan(Architecture("embedding", "max", "mi-net"), TWO, order_seed=0, scaling="none")
    train(plan, bags, targets, [Member(seed, np.arange(3), each) for seed, each in enumerate(settings)])
    assert steps == [0, 1, 2, 1, 2, 1]


# ---- the compiler ----------------------------------------------------------------------------------------------------

DIGEST = """
import hashlib
import numpy as np
from bagwise.bags import Bags
from bagwise.models.architecture import Architecture
from bagwise.targets.classes import ClassTarget
from bagwise.training.engine import train
from bagwise.training.members import Member, Plan, Settings

rng = np.random.default_rng(0)
bags = Bags.from_arrays([rng.normal(size=(size, 5)) for size in range(1, 12)])
digest = hashlib.sha256()
for level, pooling in (("embedding", "gated-attention"), ("instance", "noisy-and"), ("embedding", "max")):
    plan = Plan(Architecture(level, pooling, "mi-net"), ClassTarget.of([0, 1]), order_seed=0, scaling="none")
    members = [Member(seed, np.arange(11), Settings("adam", 0.01, epochs=2, dropout=0.5)) for seed in range(2)]
    for trained in train(plan, bags, np.arange(11) % 2, members):
        for value in trained.state.values():
            digest.update(value.numpy().tobytes())
print(digest.hexdigest())
"""


@pytest.mark.slow
def test_what_was_just_compiled_and_what_was_kept_give_the_same_bits(tmp_path):
    def run():
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
        told = subprocess.run([sys.executable, "-c", DIGEST], env=environment, check=True, capture_output=True)
        return told.stdout

    first = run()
    assert list(tmp_path.rglob("*.nbc"))
    assert run() == first
