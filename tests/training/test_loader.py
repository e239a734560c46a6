"""Bags in a loop of the user's own."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, WeightedRandomSampler

import bagwise as bw
from bagwise.models.architecture import Architecture
from bagwise.models.neighbours import Neighbourhood
from bagwise.training.data import PackedTensors
from bagwise.training.engine import train
from bagwise.training.loader import BagDataset, pack_bags
from bagwise.training.looped import Looped
from bagwise.training.members import Member, Plan, Settings
from bagwise.training.schedule import epoch_order


def made(bags=13, **parts):
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 6, bags)
    arrays = [rng.normal(size=(size, 3)) for size in sizes]
    parts.setdefault("labels", np.where(np.arange(bags) % 3, "tumour", "zone"))
    return bw.Bags.from_arrays(arrays, **parts)


def of_files(tmp_path):
    bags = made()
    for bag in bags:
        np.save(tmp_path / f"{bag.name}.npy", bag.instances)
    (tmp_path / "labels.csv").write_text("".join(["bag,label\n", *(f"{bag.name},{bag.label}\n" for bag in bags)]))
    return bags, bw.read_folder(tmp_path, tmp_path / "labels.csv")


def assert_packs(batches, bags, order):
    """Batches hold the bags, in this order."""
    whole = pack_bags(batches)
    wanted = bags[order]
    np.testing.assert_array_equal(whole.instances.numpy(), wanted.instances)
    np.testing.assert_array_equal(whole.offsets.numpy(), wanted.offsets)
    assert whole.names == wanted.names.tolist()


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_loader_gives_every_bag_whole_however_it_is_cut_and_whoever_reads_it(tmp_path, workers):
    held, stored = of_files(tmp_path)
    for bags in (held, stored):
        order = [held.names.tolist().index(name) for name in bags.names]
        for size in (1, 4, 13):
            loader = DataLoader(BagDataset(bags), batch_size=size, num_workers=workers, collate_fn=pack_bags)
            batches = list(loader)
            assert [len(batch.names) for batch in batches] == [min(size, 13 - b) for b in range(0, 13, size)]
            assert_packs(batches, held, order)


def test_shuffling_and_samplers_are_torchs():
    bags = made()
    torch.manual_seed(0)
    names = [n for batch in DataLoader(BagDataset(bags), 4, shuffle=True, collate_fn=pack_bags) for n in batch.names]
    assert names != bags.names.tolist()
    assert sorted(names) == sorted(bags.names)
    sampler = WeightedRandomSampler(np.arange(13) == 7, 5)
    batches = list(DataLoader(BagDataset(bags), 2, sampler=sampler, collate_fn=pack_bags))
    assert_packs(batches, bags, [7] * 5)


def test_a_batch_carries_what_belongs_to_its_bags():
    bags = made(coordinates=[np.full((n, 2), n) for n in np.random.default_rng(0).integers(1, 6, 13)])
    dataset = BagDataset(bags, sample_weight=np.arange(13) + 0.5)
    batch = pack_bags([dataset[-1], dataset[4]])
    assert batch.weights.tolist() == [12.5, 4.5]
    assert batch.coordinates[:, 0].tolist() == [
        bag.instances.shape[0] for bag in (bags[12], bags[4]) for _ in bag.instances
    ]
    assert [dataset.classes[int(number)] for number in batch.targets[:, 0]] == [bags[12].label, bags[4].label]
    two = BagDataset(bags, np.arange(26).reshape(13, 2))
    assert pack_bags([two[3], two[0]]).targets.tolist() == [[6, 7], [0, 1]]
    with pytest.raises(
        bw.BagwiseError, match=r"the targets have shape \(2,\) and there are 13 bags: give one row a bag"
    ):
        BagDataset(bags, [1, 2])
    with pytest.raises(IndexError):
        dataset[13]


@pytest.mark.parametrize(
    ("labels", "target", "encoded"),
    [
        ([0.5, 2.0, 1.0], "auto", [[0.5], [2.0], [1.0]]),
        ([[0, 1], [1, 1], [1, 0]], "auto", [[0, 1], [1, 1], [1, 0]]),
        (["mid", "low", "high"], "ordinal: low < mid < high", [[1], [0], [2]]),
    ],
)
def test_targets_are_labels_as_their_kind_encodes_them(labels, target, encoded):
    dataset = BagDataset(bw.Bags.from_arrays([[[1.0]], [[2.0]], [[3.0]]], labels=labels), target=target)
    assert pack_bags([dataset[place] for place in range(3)]).targets.tolist() == encoded
    assert dataset.classes is None


def test_what_a_loop_does_in_place_leaves_the_bags_alone():
    bags = made()
    before = bags.instances.copy()
    for batch in DataLoader(BagDataset(bags), batch_size=None):
        batch.instances.zero_()
    np.testing.assert_array_equal(bags.instances, before)


@pytest.mark.parametrize("space", ["coordinates", "features"])
@pytest.mark.parametrize("size", [1, 5])
def test_a_batch_has_the_neighbours_that_a_model_is_given(tmp_path, space, size):
    held, stored = of_files(tmp_path)
    if space == "coordinates":
        held = made(coordinates=[np.random.default_rng(n).normal(size=(n, 2)) for n in held.sizes])
        stored = held
    options = {"neighbours": 2, "space": space}
    architecture = Architecture("embedding", "attention", "mi-net", context="graph", context_options=options)
    model = architecture.build((3,), 1, seed=0, dtype=torch.float64)
    order = np.random.default_rng(1).permutation(13)
    packed = PackedTensors(stored)
    batches = DataLoader(
        BagDataset(stored, neighbours=model.wants_neighbours), size, sampler=order.tolist(), collate_fn=pack_bags
    )
    for batch, begin in zip(batches, range(0, 13, size), strict=True):
        some = order[begin : begin + size]
        where = packed.where(model, some, torch.device("cpu"))
        assert torch.equal(batch.where, where)
        assert batch.where.dtype == torch.int64
        expected = model(*packed.batch(some, torch.device("cpu")), where).logits
        assert torch.equal(model(batch.instances, batch.offsets, batch.where).logits, expected)


def test_where_is_coordinates_unless_neighbours_are_asked_for():
    places = [np.arange(2.0 * n).reshape(n, 2) for n in made().sizes]
    bags = made(coordinates=places)
    assert torch.equal(BagDataset(bags)[3].where, torch.from_numpy(places[3]))
    assert BagDataset(made())[3].where is None
    with pytest.raises(bw.BagwiseError, match="asks for the coordinates of instances, and these bags have none"):
        BagDataset(made(), neighbours=Neighbourhood(2, "coordinates"))[0]


@pytest.mark.parametrize(
    ("pooling", "context"), [("attention", None), ("max", None), ("attention", "graph"), ("smooth-attention", None)]
)
def test_a_plain_loop_ends_where_bagwise_does(pooling, context):
    bags = made(40)
    architecture = Architecture("embedding", pooling, "mi-net", context=context)
    wanted = architecture.build((3,), 1, seed=5).wants_neighbours
    dataset = BagDataset(bags, neighbours=wanted)
    plan = Plan(architecture, dataset.target, order_seed=3, scaling="none", precision="float64")
    settings = Settings("sgd", 1e-2, epochs=3, l2=0.005)
    encoded = dataset.target.encoded(bags.labels)
    looped = Looped(plan, PackedTensors(bags, encoded), [Member(5, np.arange(40), settings)])
    (stacked,) = train(plan, bags, encoded, [Member(5, np.arange(40), settings)])

    model = plan.architecture.build((3,), 1, seed=5, dtype=torch.float64)
    weights = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    biases = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    groups = [{"params": weights, "weight_decay": 0.01}, {"params": biases}]
    optimizer = torch.optim.SGD(groups, lr=1e-2, momentum=0.9, nesterov=True)
    for epoch in range(3):
        looped.run_epoch(epoch, [0])
        order = epoch_order(3, epoch, bags.keys).tolist()
        for batch in DataLoader(dataset, sampler=order, collate_fn=pack_bags):
            optimizer.zero_grad()
            logits = model(batch.instances, batch.offsets, batch.where).logits[0]
            torch.nn.functional.binary_cross_entropy_with_logits(logits, batch.targets).backward()
            optimizer.step()
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, looped.state(0)[name], rtol=0, atol=1e-12)
        torch.testing.assert_close(value, stacked.state[name], rtol=0, atol=1e-12)
