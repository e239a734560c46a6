"""Bits that depend on nothing but a member, checkpoints that lose nothing, stopping at the right time."""

import multiprocessing
import os
import signal
import time
from functools import partial

import joblib
import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR

from bagwise.bags import Bags
from bagwise.errors import BagwiseError
from bagwise.models.architecture import Architecture
from bagwise.targets.classes import ClassTarget
from bagwise.tensorfiles import read_tensors, write_tensors
from bagwise.training import engine
from bagwise.training.engine import train
from bagwise.training.looped import Looped
from bagwise.training.members import Member, Plan, Settings
from bagwise.training.stacked import Stacked

TWO = ClassTarget.of([0, 1])


def users_own():
    return nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.3), nn.Tanh())


PLANS = {
    "stacked": Architecture("embedding", "gated-attention", "mi-net", {"hidden": 16}),
    "looped": Architecture("instance", "mean", users_own),
}
every_plan = pytest.mark.parametrize("name", PLANS)


def plan_of(name, **options):
    return Plan(PLANS[name], TWO, order_seed=5, **{"scaling": "standardize", **options})


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    bags = Bags.from_arrays([rng.normal(size=(size, 3)) + size % 2 for size in rng.integers(1, 7, 12)])
    return bags, bags.sizes % 2


# Rules that the compiled step does not know.
CLIPPED = {"optimizer": "adamw", "clip_gradient": 0.1, "scheduler": "cosine", "warmup": 0.3}
GIVEN = {
    "optimizer": partial(torch.optim.RMSprop, lr=0.01, momentum=0.9),
    "learning_rate": None,
    "scheduler": lambda optimizer, steps: OneCycleLR(optimizer, max_lr=0.02, total_steps=steps),
}
rules = pytest.mark.parametrize("rule", [{}, CLIPPED, GIVEN], ids=["built-in", "clipped", "given"])


def members_of(count, epochs=3, patience=None, **changes):
    everything = np.arange(12)
    shared = {"optimizer": "adam", "learning_rate": 0.01, "epochs": epochs, "dropout": 0.5, "patience": patience}
    return [
        Member(
            seed,
            everything[everything % 4 != seed % 4],
            Settings(**shared | changes),
            validation=everything[everything % 4 == seed % 4],
        )
        for seed in range(count)
    ]


def assert_same_bits(one, other):
    assert len(one) == len(other)
    for first, second in zip(one, other, strict=True):
        assert first.history == second.history
        assert first.best_epoch == second.best_epoch
        assert first.state.keys() == second.state.keys()
        for name, value in first.state.items():
            assert torch.equal(value, second.state[name]), name


# ---- the same bits ---------------------------------------------------------------------------------------------------


@every_plan
def test_the_plans_of_these_tests_take_both_executors(name, data):
    assert engine.executor_for(plan_of(name), data[0], []) is {"stacked": Stacked, "looped": Looped}[name]


@pytest.mark.usefixtures("workers_for_little")
@pytest.mark.parametrize(("name", "workers"), [("stacked", 3), ("looped", 2)])
def test_the_number_of_workers_changes_no_bit(name, workers, data):
    members = members_of(20)
    assert_same_bits(train(plan_of(name), *data, members), train(plan_of(name), *data, members, n_jobs=workers))


@every_plan
def test_threads_as_workers_change_no_bit(name, data):
    members = members_of(20)
    with joblib.parallel_config("threading"):
        assert_same_bits(train(plan_of(name), *data, members, n_jobs=1), train(plan_of(name), *data, members))


@every_plan
@rules
def test_company_and_order_of_members_change_no_bit(name, rule, data):
    members = [member for pair in zip(members_of(10, 2), members_of(10, 2, **rule), strict=True) for member in pair]
    joint = train(plan_of(name), *data, members)
    assert_same_bits(joint[::-1], train(plan_of(name), *data, members[::-1]))
    assert_same_bits(joint[13:15], train(plan_of(name), *data, members[13:15]))
    assert_same_bits(joint[6:7], train(plan_of(name), *data, members[6:7]))


@every_plan
@pytest.mark.parametrize("scaling", ["standardize", "none"])
def test_bags_that_a_member_does_not_see_change_no_bit(name, scaling, data):
    bags, targets = data
    plan, (member, *_) = plan_of(name, scaling=scaling), members_of(1)
    alone = Member(member.seed, np.arange(len(member.train)), member.settings)
    joint = Member(member.seed, member.train, member.settings)
    own = train(plan, bags[member.train], targets[member.train], [alone])
    assert_same_bits(train(plan, bags, targets, [joint]), own)
    values = bags.instances.copy()
    for hidden in member.validation:
        values[bags.offsets[hidden] : bags.offsets[hidden + 1]] = 1e6
    flipped = np.where(np.isin(np.arange(12), member.train), targets, 1 - targets)
    assert_same_bits(train(plan, Bags(values, bags.offsets), flipped, [joint]), own)


@every_plan
def test_what_was_drawn_before_and_the_worlds_generators_change_no_bit_and_are_left_alone(name, data):
    members = members_of(2)
    first = train(plan_of(name), *data, members)
    torch.manual_seed(123)
    np.random.seed(4)
    before = torch.get_rng_state()
    assert_same_bits(first, train(plan_of(name), *data, members))
    assert torch.equal(before, torch.get_rng_state())


@every_plan
def test_seeds_orders_and_settings_matter(name, data):
    member, *_ = members_of(1)
    base = train(plan_of(name), *data, [member])[0].state

    def differs(plan, changed):
        state = train(plan, *data, [changed])[0].state
        return any(not torch.equal(state[key], value) for key, value in base.items())

    assert differs(plan_of(name), Member(1, member.train, member.settings))
    assert differs(Plan(PLANS[name], TWO, order_seed=6, scaling="standardize"), member)
    assert differs(plan_of(name), Member(0, member.train, Settings("adam", 0.01, 3)))
    assert differs(plan_of(name), Member(0, member.train[1:], member.settings))


# ---- stopping --------------------------------------------------------------------------------------------------------


def best_of(history, stop_by):
    """Find the epoch of the lowest validation error, ties by loss, or of the lowest loss; the first of equals."""
    names = ["validation_error"] * (stop_by == "error") + ["validation_loss", "epoch"]
    return min([entry[name] for name in names] for entry in history)[-1]


@every_plan
@pytest.mark.parametrize(("patience", "stop_by"), [(1, "error"), (2, "loss"), (5, "error")])
def test_patience_stops_and_brings_the_best_weights_back(name, patience, stop_by, data):
    members = members_of(4, epochs=12, patience=patience, stop_by=stop_by)
    for member, trained in zip(members, train(plan_of(name), *data, members), strict=True):
        assert trained.best_epoch == best_of(trained.history, stop_by)
        ended = len(trained.history)
        assert ended == 12 or ended - trained.best_epoch == patience
        fixed = Settings("adam", 0.01, trained.best_epoch, dropout=0.5)
        (short,) = train(plan_of(name), *data, [Member(member.seed, member.train, fixed)])
        for key, value in short.state.items():
            assert torch.equal(trained.state[key], value), key


@every_plan
def test_without_patience_validation_only_watches(name, data):
    members = members_of(2)
    unwatched = [Member(member.seed, member.train, member.settings) for member in members]
    for one, other in zip(train(plan_of(name), *data, members), train(plan_of(name), *data, unwatched), strict=True):
        assert one.best_epoch == other.best_epoch == 3
        assert set(one.history[0]) - set(other.history[0]) == {"validation_loss", "validation_error"}
        for key, value in one.state.items():
            assert torch.equal(other.state[key], value)


# ---- checkpoints -----------------------------------------------------------------------------------------------------


class Stopped(BaseException):
    pass


@every_plan
@rules
@pytest.mark.parametrize("at", [1, 5])
def test_a_stopped_training_goes_on_to_the_same_bits(name, rule, at, data, tmp_path, monkeypatch):
    members = members_of(3, epochs=6, patience=4, **rule)
    whole = train(plan_of(name), *data, members)
    save, calls = engine._save, []

    def stop(*arguments):
        save(*arguments)
        calls.append(arguments)
        if len(calls) == at:
            raise Stopped

    monkeypatch.setattr(engine, "_save", stop)
    monkeypatch.setattr(engine, "_BETWEEN", 0)
    with pytest.raises(Stopped):
        train(plan_of(name), *data, members, checkpoints=tmp_path)
    monkeypatch.undo()
    seen = []
    run = Looped.run_epoch if name == "looped" else Stacked.run_epoch
    kind = Looped if name == "looped" else Stacked
    monkeypatch.setattr(
        kind, "run_epoch", lambda self, epoch, active: (seen.append(epoch), run(self, epoch, active))[1]
    )
    assert_same_bits(whole, train(plan_of(name), *data, members, checkpoints=tmp_path))
    assert seen[0] == (at if at < 6 else 0)


@every_plan
def test_a_finished_training_is_not_repeated(name, data, tmp_path, monkeypatch):
    members = members_of(2)
    whole = train(plan_of(name), *data, members, checkpoints=tmp_path)
    for kind in (Looped, Stacked):
        monkeypatch.setattr(kind, "run_epoch", lambda *_: pytest.fail("trained again"))
    assert_same_bits(whole, train(plan_of(name), *data, members, checkpoints=tmp_path))


@pytest.mark.parametrize(
    ("between", "on_epoch", "epochs"),
    [(1e9, None, [1, 6]), (0, None, [1, 2, 3, 4, 5, 6]), (1e9, lambda _: None, [1, 2, 3, 4, 5, 6])],
    ids=["seldom", "always", "what is told of"],
)
def test_progress_is_kept_when_that_takes_little_of_the_time(between, on_epoch, epochs, data, tmp_path, monkeypatch):
    save, kept = engine._save, []
    monkeypatch.setattr(engine, "_save", lambda *arguments: (kept.append(arguments[-1]), save(*arguments)))
    monkeypatch.setattr(engine, "_BETWEEN", between)
    train(plan_of("stacked"), *data, members_of(2, epochs=6), checkpoints=tmp_path, on_epoch=on_epoch)
    assert kept == epochs


@every_plan
@pytest.mark.usefixtures("workers_for_little")
def test_checkpoints_change_no_bit(name, data, tmp_path):
    members = members_of(20)
    whole = train(plan_of(name), *data, members)
    assert_same_bits(whole, train(plan_of(name), *data, members, checkpoints=tmp_path, n_jobs=2))
    blocks = {"looped": 20, "stacked": 3}[name]
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"block-{n:04}.safetensors" for n in range(blocks)]


def changed_trainings(data):
    bags, targets = data
    values = bags.instances.copy()
    values[0, 0] += 1e-9
    members = members_of(2)
    return {
        "an instance": (plan_of("stacked", scaling="none"), Bags(values, bags.offsets), targets, members),
        "a label": (plan_of("stacked", scaling="none"), bags, np.roll(targets, 1), members),
        "a name": (
            plan_of("stacked", scaling="none"),
            Bags(bags.instances, bags.offsets, names=[*"abcdefghijkl"]),
            targets,
            members,
        ),
        "a seed": (
            plan_of("stacked", scaling="none"),
            bags,
            targets,
            [Member(9, members[0].train, members[0].settings, members[0].validation), members[1]],
        ),
        "a setting": (plan_of("stacked", scaling="none"), bags, targets, members_of(2, momentum=0.8)),
        "the scaling": (plan_of("stacked"), bags, targets, members),
        "the precision": (plan_of("stacked", scaling="none", precision="float64"), bags, targets, members),
        "validation bags": (
            plan_of("stacked", scaling="none"),
            bags,
            targets,
            [Member(member.seed, member.train, member.settings) for member in members],
        ),
    }


CHANGES = [
    "an instance", "a label", "a name", "a seed", "a setting", "the scaling", "the precision", "validation bags"
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_a_checkpoint_of_another_training_is_refused(change, data, tmp_path):
    train(plan_of("stacked", scaling="none"), *data, members_of(2), checkpoints=tmp_path)
    plan, bags, targets, members = changed_trainings(data)[change]
    with pytest.raises(BagwiseError, match="block-0000.safetensors is the checkpoint of a training with other data"):
        train(plan, bags, targets, members, checkpoints=tmp_path)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda tensors, _: tensors.pop("0.model.head.bias"),
        lambda tensors, _: tensors.update({"0.model.head.bias": torch.zeros(1, dtype=torch.int32)}),
        lambda tensors, _: tensors.update({"0.model.head.bias": torch.zeros(7)}),
        lambda _, told: told.pop("members"),
        lambda _, told: told.update(members=5),
        lambda _, told: told.update(epochs="x"),
    ],
)
def test_an_edited_checkpoint_is_refused_in_one_sentence(spoil, data, tmp_path):
    train(plan_of("looped"), *data, members_of(1), checkpoints=tmp_path)
    (path,) = tmp_path.iterdir()
    tensors, told = read_tensors(path)
    spoil(tensors, told)
    write_tensors(path, tensors, told)
    with pytest.raises(BagwiseError, match=r"block-0000\.safetensors is not as it was written") as caught:
        train(plan_of("looped"), *data, members_of(1), checkpoints=tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("share", [0, 0.3, 0.99])
def test_a_damaged_checkpoint_is_refused_in_one_sentence(share, data, tmp_path):
    train(plan_of("looped"), *data, members_of(1), checkpoints=tmp_path)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(BagwiseError, match="block-0000.safetensors is damaged, or not a file") as caught:
        train(plan_of("looped"), *data, members_of(1), checkpoints=tmp_path)
    assert "\n" not in str(caught.value)


def test_a_file_of_something_else_in_a_checkpoints_place_is_refused(data, tmp_path):
    write_tensors(tmp_path / "block-0000.safetensors", {"w": torch.ones(1)}, {"bagwise": "a model"})
    with pytest.raises(BagwiseError, match="is the checkpoint of a training with other data"):
        train(plan_of("looped"), *data, members_of(1), checkpoints=tmp_path)


def _train_for_long(folder, data, members):
    train(plan_of("stacked"), *data, members, checkpoints=folder)


@pytest.mark.slow(seconds=8)
def test_a_killed_process_leaves_a_checkpoint_to_go_on_from(data, tmp_path):
    members = members_of(3, epochs=150)
    whole = train(plan_of("stacked"), *data, members)
    process = multiprocessing.get_context("spawn").Process(target=_train_for_long, args=(tmp_path, data, members))
    process.start()
    checkpoint = tmp_path / "block-0000.safetensors"
    deadline = time.monotonic() + 60
    while not checkpoint.exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    epochs = read_tensors(checkpoint)[1]["epochs"]
    assert 1 <= epochs <= 150
    assert_same_bits(whole, train(plan_of("stacked"), *data, members, checkpoints=tmp_path))


# ---- exactness of chunks ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [1, 2, 7])
@pytest.mark.parametrize("dropping", [0.0, 0.5])
def test_a_training_in_chunks_is_the_training_without(chunk, dropping, data):
    def encoder():
        return nn.Sequential(nn.Linear(3, 4), nn.Tanh())

    architecture = Architecture("embedding", "gated-attention", encoder, {"hidden": 8})
    plans = [
        Plan(architecture, TWO, order_seed=0, scaling="none", precision="float64", chunk=size) for size in (1000, chunk)
    ]
    members = [Member(0, np.arange(12), Settings("adam", 0.01, 5, l2=0.01, dropout=dropping))]
    (one,), (other,) = (train(plan, *data, members) for plan in plans)
    for name, value in one.state.items():
        torch.testing.assert_close(other.state[name], value, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("sizes", "compiled"), [((129, 140), 0), ((128, 140), 1)])
def test_nothing_is_compiled_for_large_bags_alone(sizes, compiled, monkeypatch):
    asked = []
    monkeypatch.setattr(engine, "compile_step", lambda *what: asked.append(what))
    bags = Bags.from_arrays([np.ones((size, 2)) for size in sizes])
    plan = Plan(Architecture("embedding", "mean", "wide"), ClassTarget.of([0, 1]), order_seed=0, scaling="none")
    train(plan, bags, np.array([0, 1]), [Member(0, np.arange(2), Settings("adam", 1e-3, epochs=1))])
    assert len(asked) == compiled
