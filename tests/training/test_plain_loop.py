"""A joint training ends where separate plain PyTorch loops end.

The plain loops know nothing of Bagwise's models: the forward pass is written below from the paper's formulas, one bag
at a time. Of Bagwise they take initial weights, the order of the bags and the seeds of dropout.
"""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.optim.lr_scheduler import OneCycleLR

from bagwise.bags import Bags
from bagwise.models.architecture import Architecture
from bagwise.targets.classes import ClassTarget
from bagwise.training.engine import train
from bagwise.training.members import Member, Plan, Settings
from bagwise.training.randomness import hashed
from bagwise.training.schedule import epoch_order

EPOCHS = 3
CLOSE = {"rtol": 1e-9, "atol": 1e-9}


# ---- the plain model: encode, pool, score, in torch alone ------------------------------------------------------------


def fully_connected(w, x):
    levels = []
    for layer in range(3):
        x = torch.relu(x @ w[f"encoder.{layer}.0.weight"].T + w[f"encoder.{layer}.0.bias"])
        levels.append(x)
    return levels


def lenet5(w, x):
    x = x.unsqueeze(1)
    for layer in (1, 2):
        x = functional.max_pool2d(
            torch.relu(functional.conv2d(x, w[f"encoder.{layer}.weight"], w[f"encoder.{layer}.bias"])), 2
        )
    return torch.relu(x.flatten(1) @ w["encoder.4.weight"].T + w["encoder.4.bias"])


def users_own(w, x):
    normed = functional.layer_norm(x @ w["encoder.0.weight"].T + w["encoder.0.bias"], (4,), w["encoder.1.weight"])
    return torch.tanh(normed + w["encoder.1.bias"])


def make_users_own():
    return nn.Sequential(nn.Linear(5, 4), nn.LayerNorm(4), nn.Tanh())


def pool_embeddings(name, w, h, prefix="pooling"):
    if name == "max":
        return h.max(0).values
    if name == "mean":
        return h.sum(0) / len(h)
    if name == "log-sum-exp":
        return torch.log(torch.exp(5.0 * h).mean(0)) / 5.0
    scores = torch.tanh(h @ w[f"{prefix}.V.weight"].T)
    if name == "gated-attention":
        scores = scores * torch.sigmoid(h @ w[f"{prefix}.U.weight"].T)
    attention = torch.exp(scores @ w[f"{prefix}.w.weight"].T)
    return (attention / attention.sum() * h).sum(0)


def pool_probabilities(name, w, p):
    if name == "max":
        return p.max(0).values
    if name == "mean":
        return p.mean(0)
    if name == "log-sum-exp":
        return torch.log(torch.exp(5.0 * p).mean(0)) / 5.0
    if name == "isr":
        s = (p / (1 - p)).sum(0)
        return s / (1 + s)
    if name == "noisy-or":
        return 1 - torch.prod(1 - p, 0)
    a, b = 10.0, torch.sigmoid(w["pooling.threshold_logit"])
    least, most = torch.sigmoid(-a * b), torch.sigmoid(a * (1 - b))
    return (torch.sigmoid(a * (p.mean(0) - b)) - least) / (most - least)


def dropping(rate, seed):
    """Drop units of embeddings, one bag after the other; an epoch has one source of chance."""
    generator = torch.Generator().manual_seed(seed)

    def drop(h):
        if rate == 0:
            return h
        return h * (torch.rand(h.shape, dtype=h.dtype, generator=generator) >= rate).to(h.dtype) / (1 - rate)

    return drop


def plain_logits(architecture, w, x, drop=lambda h: h):
    """Give the logits of one bag, a row a head."""
    level, pooling = architecture.level, architecture.pooling
    if architecture.encoder == "identity":
        levels = [x]
    elif architecture.encoder == "lenet5":
        levels = [lenet5(w, x)]
    elif isinstance(architecture.encoder, str):
        levels = fully_connected(w, x)
    else:
        levels = [users_own(w, x)]
    if level in ("embedding", "instance"):
        h = drop(levels[-1])
        if level == "embedding":
            return (pool_embeddings(pooling, w, h) @ w["head.weight"].T + w["head.bias"]).unsqueeze(0)
        p = torch.sigmoid(h @ w["head.weight"].T + w["head.bias"])
        return torch.logit(pool_probabilities(pooling, w, p)).unsqueeze(0)
    parts = drop(torch.cat(levels, 1)).split([part.shape[1] for part in levels], 1)
    vectors = [pool_embeddings(pooling, w, part, f"poolings.{n}") for n, part in enumerate(parts)]
    if level == "residual":
        return (sum(vectors) @ w["head.weight"].T + w["head.bias"]).unsqueeze(0)
    return torch.stack([v @ w[f"heads.{n}.weight"].T + w[f"heads.{n}.bias"] for n, v in enumerate(vectors)])


# ---- the plain loop --------------------------------------------------------------------------------------------------


def plain_loss(logits, target):
    if logits.shape[1] == 1:
        wanted = torch.full_like(logits, float(target))
        return functional.binary_cross_entropy_with_logits(logits, wanted, reduction="sum")
    return functional.cross_entropy(logits, torch.full((len(logits),), int(target)), reduction="sum")


def plain_optimizer(w, settings):
    if callable(settings.optimizer):
        return settings.optimizer(list(w.values()))
    biases = [value for name, value in w.items() if name.endswith("bias") or value.ndim == 1]
    weights = [value for value in w.values() if not any(value is bias for bias in biases)]
    decay = settings.l2 if settings.optimizer == "adamw" else 2 * settings.l2
    groups = [{"params": weights, "weight_decay": decay}, {"params": biases, "weight_decay": 0.0}]
    if settings.optimizer in ("adam", "adamw"):
        kind = torch.optim.Adam if settings.optimizer == "adam" else torch.optim.AdamW
        return kind(groups, lr=settings.learning_rate)
    return torch.optim.SGD(
        groups, lr=settings.learning_rate, momentum=settings.momentum, nesterov=settings.momentum > 0
    )


def plain_rates(settings, steps, given):
    """Give the learning rate of each step, as torch's own schedulers have it."""
    if callable(settings.scheduler):
        scheduler = settings.scheduler(given, steps)
        for _ in range(steps):
            yield given.param_groups[0]["lr"]
            scheduler.step()
        return
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=settings.learning_rate or given.defaults["lr"])
    schedulers, rising = torch.optim.lr_scheduler, round(settings.warmup * steps)
    cosine = settings.scheduler == "cosine"
    warming = schedulers.LinearLR(optimizer, 1 / (rising + 1), total_iters=rising) if rising else None
    scheduler = (
        schedulers.CosineAnnealingLR(optimizer, steps - rising) if cosine else schedulers.ConstantLR(optimizer, 1)
    )
    if warming:
        scheduler = schedulers.SequentialLR(optimizer, [warming, scheduler], [rising])
    for step in range(steps):
        yield optimizer.param_groups[0]["lr"] / (1 + settings.decay * step)
        optimizer.step()
        scheduler.step()


def plain_scaling(plan, bags, member):
    if plan.scaling == "pixels":
        return 0.0, 255.0
    if plan.scaling == "none":
        return 0.0, 1.0
    rows = np.concatenate([bags[int(position)].instances for position in member.train]).astype(np.float64)
    spread = rows.std(0)
    return torch.from_numpy(rows.mean(0)), torch.from_numpy(np.where(rows.max(0) == rows.min(0), 1.0, spread))


def plain_steps(plan, bags, own):
    """Cut the bags of one member's epoch into steps."""
    if plan.instance_budget is None:
        count = plan.bags_per_step or 1
        return [own[begin : begin + count] for begin in range(0, len(own), count)]
    steps = [[]]
    for position in own:
        full = len(steps[-1]) == plan.bags_per_step
        if steps[-1] and (full or sum(bags.sizes[held] for held in [*steps[-1], position]) > plan.instance_budget):
            steps.append([])
        steps[-1].append(position)
    return steps


def plain_training(plan, bags, targets, member, weights=None):
    """Train one member alone; give its weights and the loss of each epoch."""
    settings = member.settings
    start = plan.architecture.build(bags.instance_shape, plan.target.outputs, member.seed, dtype=torch.float64)
    w = {name: value.detach().clone().requires_grad_() for name, value in start.named_parameters()}
    shift, spread = plain_scaling(plan, bags, member)
    optimizer = plain_optimizer(w, settings)
    history, epochs = [], []
    for epoch in range(settings.epochs):
        own = [int(bag) for bag in epoch_order(plan.order_seed, epoch, bags.keys) if bag in member.train]
        epochs.append(plain_steps(plan, bags, own))
    rates = plain_rates(settings, sum(map(len, epochs)), optimizer)
    for epoch, steps in enumerate(epochs):
        drop = dropping(settings.dropout, int(hashed(member.seed, epoch)[0]))
        losses = []
        for positions in steps:
            rate = next(rates)
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.zero_grad()
            xs = [(torch.tensor(bags[bag].instances).double() - shift) / spread for bag in positions]
            step_losses = [
                (1 if weights is None else weights[bag])
                * plain_loss(plain_logits(plan.architecture, w, x, drop), targets[bag])
                for x, bag in zip(xs, positions, strict=True)
            ]
            torch.stack(step_losses).mean().backward()
            if settings.clip_gradient is not None:
                torch.nn.utils.clip_grad_norm_(w.values(), settings.clip_gradient)
            optimizer.step()
            losses += [loss.item() for loss in step_losses]
        history.append(np.mean(losses))
    return w, history


def assert_joint_equals_plain(plan, bags, targets, members, weights=None):
    joint = train(plan, bags, targets, members, weights=weights)
    for member, trained in zip(members, joint, strict=True):
        w, history = plain_training(plan, bags, targets, member, weights)
        assert set(trained.state) == {*w, "scaler.shift", "scaler.factor", "scaler.limit"}
        for name, value in w.items():
            torch.testing.assert_close(trained.state[name], value.detach(), **CLOSE, msg=lambda m, n=name: f"{n}: {m}")
        np.testing.assert_allclose([entry["loss"] for entry in trained.history], history, **CLOSE)
        assert [entry["epoch"] for entry in trained.history] == list(range(1, member.settings.epochs + 1))
        assert trained.best_epoch == member.settings.epochs


# ---- what is trained -------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def own_randomness_and_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):
        yield
    torch.set_num_threads(threads)


SIZES = (3, 1, 6, 2, 4, 1)


def vectors(classes=2, features=5):
    generator = np.random.default_rng(7)
    bags = [generator.normal(size=(size, features)) * 1.5 + 0.3 for size in SIZES]
    return Bags.from_arrays(bags, names=list("fedcba")), np.arange(len(SIZES)) % classes


# What a step may be beside its size; each is held against torch's own.
RULES = {
    "sgd": {"optimizer": "sgd"},
    "adam": {"optimizer": "adam"},
    "adamw": {"optimizer": "adamw"},
    "adamw-cosine": {"optimizer": "adamw", "scheduler": "cosine", "warmup": 0.3},
    "sgd-cosine": {"optimizer": "sgd", "scheduler": "cosine"},
    "sgd-warmup-clipped": {"optimizer": "sgd", "warmup": 0.5, "clip_gradient": 0.4},
    "adam-clipped": {"optimizer": "adam", "clip_gradient": 0.2},
    "given": {"optimizer": partial(torch.optim.RMSprop, lr=1e-3, weight_decay=0.01), "clip_gradient": 0.2},
    "given-cosine": {"optimizer": partial(torch.optim.NAdam, lr=3e-3), "scheduler": "cosine", "warmup": 0.2},
    "given-both": {
        "optimizer": partial(torch.optim.AdamW, lr=1e-3, amsgrad=True),
        "scheduler": lambda optimizer, steps: OneCycleLR(optimizer, max_lr=0.01, total_steps=steps),
    },
}


def folds(rule, dropout=(0.0, 0.0, 0.0, 0.0)):
    """Give members that differ in every way that members of a training can."""
    how = RULES[rule]
    rate = 0.02 if how["optimizer"] == "sgd" else 0.003  # for what has none of its own
    everything = np.arange(len(SIZES))

    def settings(rate, epochs, dropout, **changes):
        left = {} if callable(how["optimizer"]) else {"learning_rate": rate, **changes}
        return Settings(**{"learning_rate": None, "epochs": epochs, "dropout": dropout} | left | how)

    return [
        Member(3, everything[everything % 4 != 0], settings(rate, EPOCHS, l2=0.02, dropout=dropout[0])),
        Member(4, everything[2:], settings(rate * 2, EPOCHS, decay=0.1, l2=0.005, dropout=dropout[1])),
        Member(2**40, everything, settings(rate / 2, EPOCHS - 2, momentum=0.5, dropout=dropout[2])),
        Member(3, everything[:4], settings(rate, EPOCHS, decay=1.0, momentum=0.0, dropout=dropout[3])),
    ]


def plan_for(architecture, classes=2, **options):
    wanted = {"scaling": "standardize", "precision": "float64", "device": "cpu", **options}
    return Plan(architecture, target=ClassTarget.of(range(classes)), order_seed=11, **wanted)


ATTENTION = {"hidden": 16}
FAMILIES = {
    "embedding-max": Architecture("embedding", "max", "mi-net"),
    "embedding-mean": Architecture("embedding", "mean", "mi-net"),
    "embedding-log-sum-exp": Architecture("embedding", "log-sum-exp", "mi-net"),
    "attention": Architecture("embedding", "attention", "mi-net", ATTENTION),
    "gated-attention": Architecture("embedding", "gated-attention", "mi-net", ATTENTION),
    "instance-max": Architecture("instance", "max", "mi-net"),
    "instance-mean": Architecture("instance", "mean", "mi-net"),
    "instance-log-sum-exp": Architecture("instance", "log-sum-exp", "mi-net"),
    "isr": Architecture("instance", "isr", "mi-net"),
    "noisy-or": Architecture("instance", "noisy-or", "mi-net"),
    "noisy-and": Architecture("instance", "noisy-and", "mi-net"),
    "deep-supervision": Architecture("deep-supervision", "max", "mi-net-levels"),
    "deep-supervision-attention": Architecture("deep-supervision", "attention", "mi-net-levels", ATTENTION),
    "residual": Architecture("residual", "max", "mi-net-equal-levels"),
    "residual-mean": Architecture("residual", "mean", "mi-net-equal-levels"),
    "no-encoder": Architecture("embedding", "gated-attention", "identity", ATTENTION),
    "users-own": Architecture("embedding", "attention", make_users_own, ATTENTION),
}
every_family = pytest.mark.parametrize("family", FAMILIES)


@pytest.mark.parametrize(
    ("family", "rule", "classes"),
    [
        (family, *how)
        for number, family in enumerate(FAMILIES)
        for how in ([("sgd", 2), ("given-both", 3)], [("adam", 3), ("adamw-cosine", 2)])[number % 2]
    ],
)
def test_a_joint_training_equals_plain_loops(family, rule, classes):
    bags, targets = vectors(classes)
    dropout = (0.5, 0.2, 0.0, 0.75) if rule == "sgd" else (0.0, 0.0, 0.0, 0.0)
    assert_joint_equals_plain(plan_for(FAMILIES[family], classes), bags, targets, folds(rule, dropout))


@every_family
@pytest.mark.parametrize("budget", [None, 7])
def test_it_does_so_with_weights_of_bags_one_or_several_a_step(family, budget):
    bags, targets = vectors(3)
    weights = np.array([0.5, 3.0, 1.0, 1e-3, 2.0, 10.0])
    plan = plan_for(FAMILIES[family], 3, instance_budget=budget)
    assert_joint_equals_plain(plan, bags, targets, folds("adam", (0.5, 0.0, 0.0, 0.2)), weights)


SEVERAL = [(1, None), (6, None), (1000, None), (None, 2), (None, 4), (9, 2)]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("place", range(2))
def test_several_bags_a_step_follow_the_gradient_of_their_mean_loss_by_any_rule(place, rule):
    bags, targets = vectors()
    budget, count = SEVERAL[(2 * list(RULES).index(rule) + place) % len(SEVERAL)]
    plan = plan_for(FAMILIES["attention"], instance_budget=budget, bags_per_step=count)
    assert_joint_equals_plain(plan, bags, targets, folds(rule, (0.0, 0.5, 0.0, 0.0)))


def test_several_bags_a_step_share_one_dropout_mask_drawn_over_all_of_them():
    bags, targets = vectors()
    plan = plan_for(FAMILIES["gated-attention"], instance_budget=6)
    assert_joint_equals_plain(plan, bags, targets, folds("sgd", (0.5, 0.5, 0.5, 0.5)))


@every_family
def test_encoding_in_chunks_changes_nothing(family):
    bags, targets = vectors()
    plan = plan_for(FAMILIES[family], chunk=2)
    assert_joint_equals_plain(plan, bags, targets, folds("adam", (0.5, 0.0, 0.3, 0.0)))


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("level", ["embedding", "instance"])
def test_images_through_lenet5(level, optimizer):
    generator = np.random.default_rng(0)
    images = [generator.integers(0, 256, size=(size, 28, 28), dtype=np.uint8) for size in (2, 1, 3)]
    bags, targets = Bags.from_arrays(images), np.array([1, 0, 1])
    plan = plan_for(Architecture(level, "mean", "lenet5"), scaling="pixels")
    settings = Settings(optimizer, 0.01 if optimizer == "sgd" else 5e-4, EPOCHS, l2=5e-5, dropout=0.25)
    members = [Member(0, np.array([0, 1]), settings), Member(1, np.array([1, 2]), settings)]
    assert_joint_equals_plain(plan, bags, targets, members)


def test_a_module_given_as_it_is_starts_every_member():
    module = make_users_own().double()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    bags, targets = vectors()
    plan = plan_for(Architecture("embedding", "attention", module, ATTENTION))
    assert_joint_equals_plain(plan, bags, targets, folds("adam"))
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name]), f"training changed the user's own {name}"


def test_constant_features_and_other_scales_are_standardised_as_numpy_would():
    bags, targets = vectors()
    instances = bags.instances * np.array([1e-3, 1.0, 1e4, 1.0, 0.0]) + np.array([0.0, 1e5, 0.0, -3.0, 0.1])
    bags = Bags(instances, offsets=bags.offsets, names=bags.names)
    assert_joint_equals_plain(plan_for(FAMILIES["attention"]), bags, targets, folds("sgd"))


def test_without_scaling_instances_stay_as_they_are():
    bags, targets = vectors()
    assert_joint_equals_plain(plan_for(FAMILIES["attention"], scaling="none"), bags, targets, folds("adam"))


@every_family
def test_validation_measures_the_weights_after_the_epoch_without_dropout(family):
    bags, targets = vectors(3)
    plan, own, held_out = plan_for(FAMILIES[family], 3), np.array([0, 2, 3, 4]), np.array([5, 1])
    settings = Settings("adam", 0.005, 2, dropout=0.5)
    member = Member(5, own, settings, validation=held_out)
    (trained,) = train(plan, bags, targets, [member])
    for epochs, entry in enumerate(trained.history, start=1):
        alone = Member(5, own, Settings("adam", 0.005, epochs, dropout=0.5))
        w, _ = plain_training(plan, bags, targets, alone)
        shift, spread = plain_scaling(plan, bags, member)
        logits = [
            plain_logits(plan.architecture, w, (torch.tensor(bags[int(bag)].instances) - shift) / spread)
            for bag in held_out
        ]
        losses = [plain_loss(each, targets[bag]).item() for each, bag in zip(logits, held_out, strict=True)]
        told = [each.softmax(1).mean(0).argmax().item() for each in logits]
        assert entry["validation_loss"] == pytest.approx(np.mean(losses), rel=1e-9)
        assert entry["validation_error"] == np.mean(told != targets[held_out])
