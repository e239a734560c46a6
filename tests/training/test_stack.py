"""The stacked executor against torch's own differentiation, against the plain executor, and its bits."""

import numpy as np
import pytest
import torch
from torch import nn

from bagwise.bags import Bags
from bagwise.models.architecture import Architecture
from bagwise.models.encoders import FullyConnected
from bagwise.models.likelihood import negative_log_likelihood
from bagwise.models.pooling import EMBEDDING_POOLINGS, INSTANCE_POOLINGS
from bagwise.training import engine, stack
from bagwise.training.engine import train
from bagwise.training.looped import Looped
from bagwise.training.members import Member, Plan, Settings
from bagwise.training.stack import Stack, can_stack
from bagwise.training.stacked import Stacked

MEMBERS, INSTANCES, WIDTH = 3, 5, 4

FAMILY = [("embedding", pooling, "mi-net") for pooling in EMBEDDING_POOLINGS]
FAMILY += [("instance", pooling, "mi-net") for pooling in INSTANCE_POOLINGS]
FAMILY += [("deep-supervision", pooling, "mi-net-levels") for pooling in ("max", "mean", "gated-attention")]
FAMILY += [("residual", pooling, "mi-net-equal-levels") for pooling in ("max", "mean", "attention")]
every_family = pytest.mark.parametrize(
    ("level", "pooling", "encoder"), FAMILY, ids=["-".join(parts[:2]) for parts in FAMILY]
)


def architecture_of(level, pooling, encoder):
    return Architecture(level, pooling, encoder, {"hidden": 32} if "attention" in pooling else {})


# ---- each layer ------------------------------------------------------------------------------------------------------


def linear(_):
    return nn.Linear(WIDTH, 6).double()


def single_output(_):
    return nn.Linear(WIDTH, 1).double()


LAYERS = {
    "linear": (linear, lambda layers: stack.Linear(layers, relu=False), lambda layer, x: layer(x)),
    "relu": (linear, lambda layers: stack.Linear(layers, relu=True), lambda layer, x: layer(x).relu()),
    "one output": (single_output, lambda layers: stack.Linear(layers, relu=False), lambda layer, x: layer(x)),
}
for _name, _make in {**EMBEDDING_POOLINGS, **{f"instance {n}": p for n, p in INSTANCE_POOLINGS.items()}}.items():
    LAYERS[_name] = (
        lambda _, make=_make: make(WIDTH).double(),
        stack._pooling,
        lambda pooling, x: pooling(x, torch.tensor([0, len(x)])).bags,
    )


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("instances", [1, INSTANCES])
def test_a_layer_gives_the_value_and_all_gradients_that_torch_gives(name, instances):
    make, stacked, plain = LAYERS[name]
    torch.manual_seed(0)
    modules = [make(number) for number in range(MEMBERS)]
    with torch.no_grad():
        for parameter in [p for module in modules for p in module.parameters()]:
            parameter.normal_()
    x = torch.randn(MEMBERS, instances, WIDTH, dtype=torch.float64, requires_grad=True)
    wanted = torch.stack([plain(module, x[number]) for number, module in enumerate(modules)])
    dy = torch.randn_like(wanted)
    parameters = [parameter for module in modules for parameter in module.parameters()]
    gradients = torch.autograd.grad(wanted, [x, *parameters], dy, allow_unused=True)

    layer = stacked(modules)
    with torch.no_grad():
        torch.testing.assert_close(layer.forward(x.detach()), wanted.detach(), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(layer.backward(dy), gradients[0], rtol=1e-11, atol=1e-11)
    for parameter, gradient in zip(parameters, gradients[1:], strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("name", LAYERS)
def test_a_second_bag_leaves_nothing_of_the_first(name):
    make, stacked, _ = LAYERS[name]
    torch.manual_seed(0)
    modules = [make(number) for number in range(MEMBERS)]
    layer, bags = stacked(modules), [torch.randn(MEMBERS, count, WIDTH, dtype=torch.float64) for count in (7, 2)]
    parameters = [parameter for module in modules for parameter in module.parameters()]

    def gradients_of(bag):
        with torch.no_grad():
            dx = layer.backward(torch.ones_like(layer.forward(bag)))
        return [dx.clone(), *(parameter.grad.clone() for parameter in parameters)]

    first = gradients_of(bags[1])
    gradients_of(bags[0])
    for one, other in zip(first, gradients_of(bags[1]), strict=True):
        assert torch.equal(one, other)


@every_family
@pytest.mark.parametrize("outputs", [1, 3])
def test_a_stack_gives_the_losses_and_gradients_of_its_models(level, pooling, encoder, outputs):
    architecture = architecture_of(level, pooling, encoder)
    models = [architecture.build((7,), outputs, seed, dtype=torch.float64) for seed in range(MEMBERS)]
    bag, offsets, target = torch.randn(INSTANCES, 7), torch.tensor([0, INSTANCES]), torch.tensor([1])
    wanted = []
    for model in models:
        loss = negative_log_likelihood(model(bag, offsets).logits, target).sum()
        wanted.append([loss.detach(), *torch.autograd.grad(loss, list(model.parameters()))])
    logits = Stack(models).gradient(bag, target=1, scale=None)
    losses = [negative_log_likelihood(logits[:, [place]], target)[0] for place in range(MEMBERS)]
    for model, loss, (wanted_loss, *gradients) in zip(models, losses, wanted, strict=True):
        torch.testing.assert_close(loss, wanted_loss, rtol=1e-11, atol=1e-11)
        for (name, parameter), gradient in zip(model.named_parameters(), gradients, strict=True):
            torch.testing.assert_close(
                parameter.grad, gradient, rtol=1e-10, atol=1e-11, msg=lambda m, n=name: f"{n} {m}"
            )


def test_what_is_done_to_the_models_is_done_to_the_stack():
    models = [Architecture("embedding", "max", "mi-net").build((2,), 1, seed) for seed in range(2)]
    whole = Stack(models)
    before = whole.gradient(torch.ones(1, 2), 1, None)
    for parameter in models[1].parameters():
        parameter.data.zero_()
    after = whole.gradient(torch.ones(1, 2), 1, None)
    assert after[0, 0] == before[0, 0]
    assert after[0, 1] == 0


# ---- which models are stacked ----------------------------------------------------------------------------------------


def test_only_what_has_a_stacked_form_is_stacked():
    def stackable(*parts, options=None):
        shape = (28, 28) if parts[2] == "lenet5" else (3,)
        return can_stack(Architecture(*parts, options or {}).build(shape, 1, seed=0))

    assert all(stackable(*parts) for parts in FAMILY)
    assert not stackable("embedding", "max", "lenet5")
    assert not stackable("embedding", "max", "identity")
    assert not stackable("embedding", "max", nn.Sequential(nn.Linear(3, 16)))
    assert not stackable("embedding", "attention", "mi-net", options={"hidden": 20})
    assert stackable("embedding", "max", lambda: FullyConnected((3,), widths=(48, 16)))
    assert not stackable("embedding", "max", lambda: FullyConnected((3,), widths=(48, 20)))


@pytest.mark.parametrize(
    ("changes", "kind"),
    [({}, Stacked), ({"instance_budget": 5}, Looped), ({"instance_budget": None}, Stacked), ({"chunk": 1}, Stacked)],
)
def test_the_engine_chooses_by_itself(changes, kind):
    plan = Plan(Architecture("embedding", "max", "mi-net"), outputs=1, order_seed=0, scaling="none", **changes)
    assert engine._executor(plan, Bags.from_arrays([[[1.0]]])) is kind


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


@every_family
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("classes", [2, 3])
def test_stacked_equals_looped(monkeypatch, level, pooling, encoder, optimizer, classes):
    bags, targets = bags_of([3, 1, 6, 2, 4, 1, 300, 2], 5, classes)  # the large one takes the plain step
    plan = Plan(
        architecture_of(level, pooling, encoder),
        outputs=1 if classes == 2 else classes,
        order_seed=3,
        scaling="standardize",
        precision="float64",
    )
    members = unlike_members(5, bags, optimizer, patience=1)
    stacked = train(plan, bags, targets, members)
    monkeypatch.setattr(engine, "_executor", lambda *_: Looped)
    assert_same_training(stacked, train(plan, bags, targets, members), close)


@every_family
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_bits_depend_on_no_company_and_on_no_place_in_it(level, pooling, encoder, precision):
    sizes = [*range(1, 18), 33, 2, 2, 1, 3]
    bags, targets = bags_of(sizes, 13, 2, precision)
    plan = Plan(
        architecture_of(level, pooling, encoder), outputs=1, order_seed=3, scaling="standardize", precision=precision
    )
    members = unlike_members(19, bags, "adam")
    joint = train(plan, bags, targets, members)
    for company in ([7], [18, 0], [5, 7, 11], list(range(16, 2, -1))):
        again = train(plan, bags, targets, [members[number] for number in company])
        assert_same_training([joint[number] for number in company], again, identical)


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("features", [1, 166, 230])
def test_bits_do_so_for_any_number_of_features_and_classes(features, classes):
    bags, targets = bags_of([3, 1, 2, 7, 5, 2, 1, 9], features, classes, np.float32)
    for level, pooling in (("embedding", "gated-attention"), ("instance", "noisy-or")):
        plan = Plan(
            architecture_of(level, pooling, "mi-net"),
            outputs=1 if classes == 2 else classes,
            order_seed=0,
            scaling="standardize",
        )
        members = unlike_members(9, bags, "sgd")
        joint = train(plan, bags, targets, members)
        for number in (0, 4, 8):
            assert_same_training([joint[number]], train(plan, bags, targets, [members[number]]), identical)


def test_members_that_are_done_cost_nothing(monkeypatch):
    bags, targets = bags_of([2, 3, 1], 4, 2)
    settings = [Settings("sgd", 0.01, epochs) for epochs in (1, 3, 2)]
    widths = []
    plain = Stack.gradient
    monkeypatch.setattr(Stack, "gradient", lambda self, *rest: (widths.append(len(self.shift)), plain(self, *rest))[1])
    plan = Plan(Architecture("embedding", "max", "mi-net"), outputs=1, order_seed=0, scaling="none")
    train(plan, bags, targets, [Member(seed, np.arange(3), each) for seed, each in enumerate(settings)])
    assert widths == [3] * 3 + [2] * 3 + [1] * 3
