"""Bags in files: the bits that bags in memory give, and each bag read once."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

import bagwise as bw
from bagwise.bags import Bags
from bagwise.models.architecture import Architecture
from bagwise.stored import Part, StoredInstances
from bagwise.targets.classes import ClassTarget
from bagwise.training.data import PackedTensors
from bagwise.training.engine import train
from bagwise.training.inference import predict
from bagwise.training.members import Member, Plan, Settings

TWO = ClassTarget.of([0, 1])

SIZES = [3, 200, 1, 7, 150, 2, 5, 40, 300, 1, 2, 9]
COUNT = len(SIZES)


@dataclass
class Slide:
    """A file that counts how often it is read."""

    name: str
    array: np.ndarray
    log: list[str] = field(default_factory=list)
    identity: str = "1"

    @property
    def shape(self):
        return self.array.shape

    @property
    def dtype(self):
        return self.array.dtype

    def read(self, begin, end):
        self.log.append(self.name)
        return self.array[begin:end]


@pytest.fixture
def two():
    """Give the same bags in memory and in files, with the log of reads."""
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(size, 4)).astype(np.float32) + size % 2 for size in SIZES]
    labels, log = np.array(SIZES) % 2, []
    slides = [Slide(str(number), array, log) for number, array in enumerate(arrays)]
    offsets = np.cumsum([0, *SIZES])
    stored = StoredInstances([Part(slide, 0, len(slide.array)) for slide in slides])
    return Bags.from_arrays(arrays, labels), Bags(stored, offsets, labels), log


ARCHITECTURES = {
    "stacked": Architecture("embedding", "attention", "mi-net", {"hidden": 16}),
    "looped": Architecture(
        "embedding", "attention", lambda: torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU())
    ),
}
every_executor = pytest.mark.parametrize("kind", ARCHITECTURES)


def plan_of(kind, **changes):
    return Plan(ARCHITECTURES[kind], TWO, order_seed=3, **{"scaling": "standardize", **changes})


def members_of(count, epochs=3, **changes):
    everything = np.arange(COUNT)
    settings = Settings("adam", 0.01, epochs, dropout=0.3, **changes)
    return [Member(seed, everything[everything % 4 != seed % 4], settings) for seed in range(count)]


def assert_same(one, other):
    for first, second in zip(one, other, strict=True):
        assert first.history == second.history
        assert all(torch.equal(first.state[name], second.state[name]) for name in first.state)


@every_executor
@pytest.mark.parametrize(
    ("changes", "dtype"),
    [({}, np.float16), ({}, np.float32), ({"instance_budget": 20}, np.float32), ({"chunk": 16}, np.float16)],
)
def test_files_give_the_bits_that_memory_gives(two, kind, changes, dtype):
    memory, files, _ = two
    for part in files.instances.parts:
        part.source.array = part.source.array.astype(dtype)
    files = Bags(StoredInstances(files.instances.parts), files.offsets, files.labels)
    memory = Bags(memory.instances.astype(dtype), memory.offsets, memory.labels)
    plan, targets = plan_of(kind, **changes), np.array(SIZES) % 2
    assert_same(train(plan, memory, targets, members_of(10)), train(plan, files, targets, members_of(10)))


@every_executor
def test_validation_reads_a_bag_once_more_for_all_members(two, kind):
    _, files, log = two
    everything, epochs = np.arange(COUNT), 3
    settings = Settings("adam", 0.01, epochs, patience=epochs)
    halves = [np.random.default_rng(seed).permutation(everything) for seed in range(6)]
    members = [Member(seed, half[:6], settings, half[6:]) for seed, half in enumerate(halves)]
    train(plan_of(kind, scaling="none"), files, np.array(SIZES) % 2, members)
    learnt, validated = set(), set()
    for half in halves:
        learnt.update(half[:6])
        validated.update(half[6:])
    assert Counter(log) == {str(bag): epochs * ((bag in learnt) + (bag in validated)) for bag in range(COUNT)}


@every_executor
def test_a_bag_is_read_once_an_epoch_for_all_members(two, kind):
    _, files, log = two
    targets = np.array(SIZES) % 2
    train(plan_of(kind, scaling="none"), files, targets, members_of(10, epochs=3))
    assert Counter(log) == {str(number): 3 for number in range(COUNT)}
    log.clear()
    train(plan_of(kind), files, targets, members_of(10, epochs=3))
    assert Counter(log) == {str(number): 4 for number in range(COUNT)}  # once more for the scaler


def test_reads_come_in_the_order_of_training_and_stay_ahead_of_it(two):
    _, files, log = two
    packed, order = PackedTensors(files), np.array([4, 0, 8, 1])
    visits = [(np.array([bag]), member) for bag in order for member in range(3)]
    seen = []
    for batch, member in packed.turn(visits):
        instances, _ = packed.batch(batch, torch.device("cpu"))
        assert len(instances) == SIZES[batch[0]]
        seen.append((batch[0], member))
    assert seen == [(bag, member) for bag in order for member in range(3)]
    assert log == ["4", "0", "8", "1"]


def test_half_precision_is_widened_by_the_reader_for_a_cpu_and_sent_to_a_card_as_it_is():
    part = Part(Slide("a", np.arange(8, dtype=np.float16).reshape(4, 2)), 0, 4)
    packed = PackedTensors(Bags(StoredInstances([part]), np.array([0, 4])))
    for device, dtype in (("cpu", torch.float32), ("cuda", torch.float16)):
        for batch, _ in packed.turn([(np.array([0]), None)], torch.device(device)):
            instances, _ = packed.batch(batch, torch.device("cpu"))
            assert instances.dtype == dtype
            assert torch.equal(instances, torch.arange(8).reshape(4, 2).to(dtype))


def test_a_visit_that_fails_leaves_no_reader_behind(two):
    _, files, _ = two
    packed = PackedTensors(files)
    visits = packed.turn([(np.array([bag]), None) for bag in range(COUNT)])
    next(visits)
    with pytest.raises(KeyError):
        visits.throw(KeyError)
    assert len(packed.batch(np.array([1]), torch.device("cpu"))[0]) == 200


@every_executor
def test_predictions_of_several_models_read_a_bag_once(two, kind):
    memory, files, log = two
    models = [ARCHITECTURES[kind].build((4,), outputs=1, seed=seed) for seed in range(3)]
    wanted = [np.arange(COUNT)] * 3
    arguments = {"device": torch.device("cpu"), "chunk": 50}
    expected = predict(models, PackedTensors(memory), wanted, **arguments)
    found = predict(models, PackedTensors(files), wanted, **arguments)
    assert Counter(log) == {str(number): 1 for number in range(COUNT)}
    for one, other in zip(expected, found, strict=True):
        assert torch.equal(one.logits, other.logits)
        assert torch.equal(one.weights, other.weights)


def test_estimators_and_cross_validation_take_files(two):
    memory, files, _ = two
    model = bw.AttentionMIL(epochs=2, random_state=0)
    expected, found = (bw.cross_validate(model, bags, folds=3, seed=0, n_jobs=1) for bags in (memory, files))
    assert np.array_equal(expected.probabilities, found.probabilities)
    assert np.array_equal(model.fit(memory).attention(memory), model.fit(files).attention(files))


def test_a_checkpoint_knows_when_a_file_changed(two, tmp_path):
    _, files, _ = two
    plan, targets = plan_of("stacked"), np.array(SIZES) % 2
    train(plan, files, targets, members_of(2, epochs=1), checkpoints=tmp_path)
    train(plan, files, targets, members_of(2, epochs=1), checkpoints=tmp_path)
    files.instances.parts[5].source.identity = "2"
    with pytest.raises(bw.BagwiseError, match="the checkpoint of a training with other data"):
        train(plan, files, targets, members_of(2, epochs=1), checkpoints=tmp_path)
