"""What must be true of every kind of target, in both executors: found through the registry."""

import numpy as np
import pytest
import torch
from torch.nn.functional import softplus

from bagwise.bags import Bags
from bagwise.compiled import Gradient
from bagwise.errors import BagwiseError
from bagwise.models.architecture import LEVELS, Architecture
from bagwise.models.pooling import EMBEDDING_POOLINGS, INSTANCE_POOLINGS
from bagwise.targets.numbers import RealTarget
from bagwise.targets.registry import TARGETS, target_of
from bagwise.training import engine
from bagwise.training.data import PackedTensors
from bagwise.training.engine import train
from bagwise.training.looped import Looped
from bagwise.training.members import Member, Plan, Settings
from bagwise.training.stacked import Stacked

RNG = np.random.default_rng(0)
COUNT = 12
TIMES = RNG.exponential(size=COUNT)
# One or more cases a kind; a kind that is added needs one here.
LABELS = {
    "classes": [np.arange(COUNT) % 2, np.array(["a", "b", "c"])[np.arange(COUNT) % 3]],
    "multi-label": [np.where(RNG.random((COUNT, 3)) < 0.2, np.nan, np.arange(COUNT * 3).reshape(COUNT, 3) % 2)],
    "real": [RNG.normal(50, 7, COUNT), RNG.normal(size=(COUNT, 2))],
    "count": [RNG.poisson(3, COUNT)],
    "ordinal": [np.arange(COUNT) % 4],
    "survival": [np.array(list(zip(np.arange(COUNT) % 3 > 0, TIMES, strict=True)), [("event", "?"), ("time", "f8")])],
}
CASES = [(kind, labels) for kind in TARGETS for labels in LABELS[kind]]
every_case = pytest.mark.parametrize(("kind", "labels"), CASES, ids=[f"{kind}{n}" for n, (kind, _) in enumerate(CASES)])


def bags_like(labels, dtype=np.float64):
    rng = np.random.default_rng(3)
    sizes = [3, 1, 6, 2, 4, 1, 150, 2, 5, 3, 7, 2]  # the large one takes the plain step
    return Bags.from_arrays([rng.normal(size=(size, 4)).astype(dtype) for size in sizes], labels)


def families(target, place):
    """Give an architecture of each level, whose poolings go round with the place."""
    for shift, level in enumerate(name for name, kind in LEVELS.items() if kind.POOLINGS):
        encoder = {"deep-supervision": "mi-net-levels", "residual": "mi-net-equal-levels"}.get(level, "mi-net")
        registry = INSTANCE_POOLINGS if level == "instance" else EMBEDDING_POOLINGS
        poolings = [name for name, made in registry.items() if target.bernoulli or not made.of_probabilities]
        pooling = poolings[(place + shift) % len(poolings)]
        yield Architecture(level, pooling, encoder, {"hidden": 5} if "attention" in pooling else {})


def members_of(bags, **settings):
    everything = np.arange(len(bags))
    return [
        Member(seed, np.delete(everything, [seed, 7 + seed]), Settings("adam", 1e-3, epochs=5, l2=0.01, **settings))
        for seed in range(3)
    ]


def assert_same(one, other, same):
    for first, second in zip(one, other, strict=True):
        for name, value in first.state.items():
            same(value, second.state[name])


STEPPED = CASES + [("real: huber", labels) for labels in LABELS["real"]]


@pytest.mark.parametrize("place", range(len(STEPPED)), ids=[f"{kind}{n}" for n, (kind, _) in enumerate(STEPPED)])
def test_the_compiled_step_equals_the_plain_one(monkeypatch, place):
    """Of every level a pooling for each target: a gradient knows outputs alone, and no pooling knows their target."""
    kind, labels = STEPPED[place]
    target, bags = target_of(kind, labels), bags_like(labels)
    encoded = target.encoded(bags.labels)
    weights = np.arange(1.0, COUNT + 1) / 4
    for number, architecture in enumerate(families(target, place), place):
        plan = Plan(architecture, target, order_seed=0, scaling="standardize", precision="float64")
        members = members_of(bags)[: 1 + (number == place)]
        clipped = Settings(["sgd", "adam", "adamw"][number % 3], 1e-2, epochs=5, l2=0.01, clip_gradient=0.3)
        members.append(Member(9, np.arange(COUNT - 1), clipped))
        assert engine.executor_for(plan, bags, []) is Stacked
        stacked = train(plan, bags, encoded, members, weights=weights)
        with monkeypatch.context() as patch:
            patch.setattr(engine, "executor_for", lambda *_: Looped)
            looped = train(plan, bags, encoded, members, weights=weights)
        assert_same(stacked, looped, lambda a, b: torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9))


@every_case
def test_a_member_does_not_depend_on_its_company(kind, labels):
    target, bags = target_of(kind, labels), bags_like(labels, np.float32)
    plan = Plan(Architecture("embedding", "attention", "mi-net", {"hidden": 5}), target, 0, "standardize")
    members = members_of(bags)
    joint = train(plan, bags, target.encoded(bags.labels), members)
    assert len(joint[0].state.get("learnt", ())) == target.learns
    for number, member in enumerate(members):
        alone = train(plan, bags, target.encoded(bags.labels), [member])
        assert_same([joint[number]], alone, lambda a, b: torch.testing.assert_close(a, b, rtol=0, atol=0))


@every_case
def test_what_is_learnt_of_labels_is_learnt_of_training_bags_alone(kind, labels):
    target, bags = target_of(kind, labels), bags_like(labels)
    plan = Plan(Architecture("embedding", "mean", "mi-net"), target, 0, "standardize")
    member = members_of(bags)[0]
    encoded = target.encoded(bags.labels)
    changed = encoded.copy()
    changed[np.setdiff1d(np.arange(COUNT), member.train)] *= 7
    assert_same(*(train(plan, bags, one, [member]) for one in (encoded, changed)), torch.testing.assert_close)


@every_case
def test_the_facts_say_all(kind, labels):
    target = target_of(kind, labels)
    again = TARGETS[kind].from_facts(target.facts())
    assert again == target
    np.testing.assert_array_equal(again.encoded(labels), target.encoded(labels))
    assert target.outputs == again.outputs


@every_case
def test_a_model_that_fits_answers_what_was_learnt(kind, labels):
    target, bags = target_of(kind, labels), bags_like(labels)
    encoded = target.encoded(labels)
    learnt = target.learn(encoded, np.ones(COUNT))
    wanted = torch.from_numpy(target.wanted(encoded, learnt))
    outputs = torch.zeros(2, COUNT, target.outputs, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([outputs], max_iter=200, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = target.loss(outputs, wanted).sum() + 1e-4 * outputs.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    answers = target.answers(outputs.detach(), torch.from_numpy(learnt)).numpy()
    assert len(answers) == len(bags)
    assert target.score(labels, answers) > 0.95
    assert target.errors(outputs.detach(), wanted, torch.from_numpy(learnt)).shape == (COUNT,)


@every_case
def test_strata_are_large_enough_for_the_folds(kind, labels):
    many = np.concatenate([labels] * 4)
    strata = TARGETS[kind].of(many).strata(many, 5)
    assert strata.shape == (len(many),)
    assert np.bincount(strata).min() >= 5
    assert kind == "classes" or len(np.unique(strata)) > 1


def test_hubers_loss_counts_what_is_far_evenly():
    labels = np.array([0.0, 1.0, 2.0, 3.0, 1000.0])
    target = target_of("real: huber", labels)
    assert target.huber
    assert TARGETS["real"].from_facts(target.facts()) == target != target_of("real", labels)
    outputs = torch.zeros(2, 5, 1, dtype=torch.float64, requires_grad=True)
    wanted = torch.tensor([[0.0], [0.5], [-1.0], [3.0], [-7.0]], dtype=torch.float64)
    loss = target.loss(outputs, wanted)
    assert loss.tolist() == [0, 2 * 0.125, 2 * 0.5, 2 * 2.5, 2 * 6.5]  # of two heads
    loss.sum().backward()
    assert outputs.grad[0, :, 0].tolist() == [0, -0.5, 1, -1, 1]


# ---- survival against a plain reference ------------------------------------------------------------------------------


def test_the_likelihood_of_hazards_is_the_plain_one():
    (labels,) = LABELS["survival"]
    target = target_of("survival", labels)
    encoded = target.encoded(labels)
    cuts = target.learn(encoded, np.ones(COUNT))
    outputs = np.random.default_rng(0).normal(size=(COUNT, target.outputs))
    found = target.loss(torch.from_numpy(outputs)[None], torch.from_numpy(target.wanted(encoded, cuts))).numpy()
    events = np.sort(labels["time"][labels["event"]])
    assert cuts[-1] == events[-1]
    for bag, (event, time) in enumerate(labels):
        hazards, likelihood = 1 / (1 + np.exp(-outputs[bag])), 1.0
        for begin, end, hazard in zip([0.0, *cuts[:-1]], cuts, hazards, strict=True):
            if event and begin < time <= end:
                likelihood *= hazard
                break
            if time >= end:
                likelihood *= 1 - hazard
        assert found[bag] == pytest.approx(-np.log(likelihood), rel=1e-12)


def test_the_survival_function_falls_from_one_and_is_met_at_the_cut_points():
    (labels,) = LABELS["survival"]
    target = target_of("survival", labels)
    cuts = target.learn(target.encoded(labels), np.ones(COUNT))
    outputs = torch.randn(2, 5, target.outputs, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    times = np.concatenate([[0.0], cuts, [cuts[-1] + 9]])
    told = target.at(times, outputs, torch.from_numpy(cuts))[:, 1:]
    by_head = torch.exp(-softplus(outputs).cumsum(2)).mean(0)
    torch.testing.assert_close(told[:, 1:-1], by_head)
    torch.testing.assert_close(told[:, 0], torch.ones(5, dtype=torch.float64))
    torch.testing.assert_close(told[:, -1], told[:, -2])
    assert (told.diff(dim=1) <= 0).all()


def test_equal_cut_points_are_empty_intervals():
    labels = np.array([(True, 1.0), (True, 1.0), (True, 2.0), (False, 5.0)], [("event", "?"), ("time", "f8")])
    target = target_of("survival", labels)
    cuts = target.learn(target.encoded(labels), np.ones(4))
    assert (np.diff(cuts) == 0).any()
    wanted = target.wanted(target.encoded(labels), cuts)
    assert wanted.tolist()[0] == [0.0, 1.0]
    assert wanted.tolist()[3] == [8.0, 0.0]
    answers = target.answers(torch.zeros(1, 1, 8, dtype=torch.float64), torch.from_numpy(cuts))
    assert np.isfinite(answers.numpy()).all()


# ---- a target of the user's own --------------------------------------------------------------------------------------


class Absolute(RealTarget):
    """The distance itself, whose gradient torch finds."""

    kind = "absolute"

    def loss(self, outputs, wanted):
        return (outputs - wanted.expand_as(outputs)).abs().sum((0, 2))

    @property
    def gradient(self):
        return None


@Gradient
def of_distance(outputs, wanted, gradient):
    for c in range(len(outputs)):
        gradient[c] = np.sign(outputs[c] - wanted[c])


class CompiledAbsolute(Absolute):
    @property
    def gradient(self):
        return of_distance


class Broken(Absolute):
    def loss(self, outputs, wanted):
        if len(wanted) == 1:
            raise ZeroDivisionError("no loss")
        return super().loss(outputs, wanted)


def trained(target):
    labels = LABELS["real"][0]
    bags = bags_like(labels)
    plan = Plan(Architecture("embedding", "max", "mi-net"), target, 0, "standardize", precision="float64")
    return train(plan, bags, target.encoded(labels), members_of(bags)[:1])


def test_a_target_of_ones_own_is_one_class_and_takes_the_compiled_step(monkeypatch):
    in_python, compiled = trained(Absolute(1, True)), trained(CompiledAbsolute(1, True))
    assert_same(in_python, compiled, lambda a, b: torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12))
    monkeypatch.setattr(engine, "executor_for", lambda *_: Looped)
    looped = trained(Absolute(1, True))
    assert_same(in_python, looped, lambda a, b: torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9))


def test_what_its_loss_raises_is_raised():
    with pytest.raises(ZeroDivisionError, match="no loss"):
        trained(Broken(1, True))


# ---- labels that will not do -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "labels", "told"),
    [
        ("classes", [1.5, 2.0], "the label 1.5: classes are whole numbers"),
        ("classes", ["a", "a"], "all training bags have the label a"),
        ("classes", [[0, 1], [1, 0]], "classes are one label a bag"),
        ("multi-label", [[0, 2], [1, 0]], "bag 'x' has 2 for the label 1: each must be 0 or 1"),
        ("multi-label", [0, 1], "several labels a bag are a table"),
        ("multi-label", [[1, 0], [1, np.nan]], "no label is 0 in one training bag and 1 in another"),
        ("real", ["a", "b"], "a real target needs numbers"),
        ("real", [1.0, np.nan], "bag 'y' has the label nan: give it a number"),
        ("real", [2.5, 2.5], "all training bags have the label 2.5"),
        ("real", [[1.0, 2.0], [3.0, 2.0]], "the label 2 in column 1"),
        ("real: hubert", [1.0, 2.0], "the loss of real numbers is 'hubert': it must be 'squared' or 'huber'"),
        ("count: huber", [3, 1], "target is 'count: huber': the kind 'count' takes nothing after its name"),
        ("survival: huber", [1.0, 2.0], "the kind 'survival' takes nothing after its name"),
        ("count", [3, -1], "bag 'y' has the label -1: a count is a whole number, 0 or more"),
        ("count", [3, 1.5], "bag 'y' has the label 1.5: a count is"),
        ("count", [3, 3], "all training bags have the label 3"),
        ("ordinal", ["low", "high"], "say their order, as in target='ordinal: low < mid < high'"),
        ("ordinal: low < mid", ["low", "high"], "bag 'y' has the grade high, which is not in the order"),
        ("ordinal: 1 < 3", [1, 2], "bag 'y' has the grade 2, which is not in the order"),
        ("ordinal: a < b", [1, 2], "give whole numbers"),
        ("ordinal: a < a", ["a", "a"], "names a grade twice"),
        ("ordinal", [2, 2], "all training bags have the grade 2"),
        ("survival", [1.0, 2.0], "survival needs the columns of both"),
        ("survival", np.array([(0, 1.0), (0, 2.0)], [("e", "?"), ("t", "f8")]), "no training bag has an event"),
        ("survival", np.array([(1, -1.0), (0, 2.0)], [("e", "?"), ("t", "f8")]), "bag 'x' has the time -1.0"),
        ("survival", np.array([(1, 2.0), (0, 2.0)], [("e", "?"), ("t", "f8")]), "all training bags have the time 2"),
    ],
)
def test_labels_that_will_not_do_are_one_sentence(kind, labels, told):
    with pytest.raises(BagwiseError) as caught:
        target_of(kind, np.asarray(labels), names=np.array(["x", "y"], dtype=object))
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "given"), [("real", {"positive": 1}), ("count", {"loss": "huber"}), ("survival", {"order": ["a"]})]
)
def test_what_belongs_to_another_kind_is_refused(kind, given):
    with pytest.raises(BagwiseError, match="does not take: leave it out"):
        target_of(kind, LABELS[kind][0], **given)


@pytest.mark.parametrize("pooling", [name for name, made in INSTANCE_POOLINGS.items() if made.of_probabilities])
@pytest.mark.parametrize("kind", ["real", "count"])
def test_poolings_of_probabilities_serve_no_numbers(kind, pooling):
    with pytest.raises(BagwiseError, match="pools probabilities"):
        Plan(Architecture("instance", pooling, "mi-net"), target_of(kind, LABELS[kind][0]), 0, "none")


def test_packed_bags_hold_what_labels_are_in_numbers():
    labels = LABELS["real"][1]
    packed = PackedTensors(bags_like(labels), labels)
    assert packed.encoded.shape == (COUNT, 2)
