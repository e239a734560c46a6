"""The order of bags, their steps, and the seeds that everything random comes from."""

import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from bagwise.bags import Bags
from bagwise.training.randomness import hashed, seed_from
from bagwise.training.schedule import batches, epoch_order

SEEDS = st.integers(0, 2**63 - 1)
EPOCHS = st.integers(0, 10_000)
KEYS = st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=60, unique=True).map(lambda k: np.array(k, np.uint64))
SIZES = st.lists(st.integers(1, 40), min_size=1, max_size=40).map(np.array)


def keys_of(count):
    return Bags(np.zeros((count, 1)), offsets=np.arange(count + 1)).keys


# ---- the order of an epoch -------------------------------------------------------------------------------------------


@given(SEEDS, EPOCHS, KEYS)
def test_an_order_has_every_bag_once(seed, epoch, keys):
    assert sorted(epoch_order(seed, epoch, keys)) == list(range(len(keys)))


@given(SEEDS, EPOCHS, KEYS, st.data())
def test_a_part_of_the_bags_comes_in_the_order_of_the_whole(seed, epoch, keys, data):
    part = np.array(data.draw(st.lists(st.integers(0, len(keys) - 1), min_size=1, unique=True)))
    whole = epoch_order(seed, epoch, keys)
    assert part[epoch_order(seed, epoch, keys[part])].tolist() == [bag for bag in whole if bag in part]


@given(SEEDS, EPOCHS, KEYS, st.randoms(use_true_random=False))
def test_where_a_bag_stands_does_not_matter(seed, epoch, keys, random):
    moved = np.array(random.sample(range(len(keys)), len(keys)))
    assert keys[epoch_order(seed, epoch, keys)].tolist() == keys[moved][epoch_order(seed, epoch, keys[moved])].tolist()


@given(SEEDS, EPOCHS)
def test_epochs_and_seeds_differ_in_their_order(seed, epoch):
    keys = keys_of(40)
    order = epoch_order(seed, epoch, keys).tolist()
    assert order != epoch_order(seed, epoch + 1, keys).tolist()
    assert order != epoch_order(seed + 1, epoch, keys).tolist()
    assert order != epoch_order(epoch, seed, keys).tolist() or seed == epoch


def test_the_order_is_a_function():
    keys = keys_of(50)
    assert epoch_order(3, 4, keys).tolist() == epoch_order(np.int64(3), np.int64(4), keys).tolist()


@pytest.mark.parametrize("what", ["epochs", "seeds"])
def test_each_bag_is_about_as_often_in_each_place(what):
    bags, times = 8, 4000
    places = np.zeros((bags, bags))
    for number in range(times):
        order = epoch_order(5, number, keys_of(bags)) if what == "epochs" else epoch_order(number, 5, keys_of(bags))
        places[order, np.arange(bags)] += 1
    expected = times / bags
    chi_squared = ((places - expected) ** 2 / expected).sum()
    assert chi_squared < 49 + 5 * np.sqrt(2 * 49)  # mean and five standard deviations at (8 - 1)^2 degrees of freedom


def test_neighbours_in_one_epoch_are_not_neighbours_in_the_next():
    bags, epochs = 30, 400
    keys = keys_of(bags)
    orders = [epoch_order(0, epoch, keys).tolist() for epoch in range(epochs)]
    kept = sum(len({*pairwise(before)} & {*pairwise(after)}) for before, after in pairwise(orders))
    expected = (epochs - 1) * (bags - 1) / bags
    assert abs(kept - expected) < 6 * np.sqrt(expected)


# ---- steps -----------------------------------------------------------------------------------------------------------


@given(SIZES, st.none() | st.integers(1, 100), st.none() | st.integers(1, 9), st.randoms(use_true_random=False))
def test_steps_cover_every_bag_once_in_order(sizes, budget, count, random):
    bags = np.array(random.sample(range(len(sizes)), random.randint(1, len(sizes))))
    steps = list(batches(bags, sizes, budget, count))
    assert all(len(step) for step in steps)
    assert np.concatenate(steps).tolist() == bags.tolist()


@given(SIZES, st.integers(1, 100))
def test_steps_keep_the_budget_unless_one_bag_alone_is_above_it(sizes, budget):
    for step in batches(np.arange(len(sizes)), sizes, budget):
        assert sizes[step].sum() <= budget or len(step) == 1


@given(SIZES, st.integers(1, 100), st.none() | st.integers(1, 9))
def test_steps_are_as_full_as_the_order_allows(sizes, budget, count):
    for step, following in pairwise(batches(np.arange(len(sizes)), sizes, budget, count)):
        assert sizes[step].sum() + sizes[following[0]] > budget or len(step) == count


@given(SIZES, st.integers(1, 9))
def test_a_number_of_bags_makes_steps_as_a_data_loader_does(sizes, count):
    loader = DataLoader(range(len(sizes)), batch_size=count)
    steps = [step.tolist() for step in batches(np.arange(len(sizes)), sizes, None, count)]
    assert steps == [step.tolist() for step in loader]


@given(SIZES)
def test_without_a_budget_each_bag_is_a_step(sizes):
    assert [step.tolist() for step in batches(np.arange(len(sizes)), sizes, None)] == [[n] for n in range(len(sizes))]


def test_a_bag_that_fills_the_budget_shares_with_none():
    assert [step.tolist() for step in batches(np.arange(4), np.array([2, 5, 3, 2]), 5)] == [[0], [1], [2, 3]]


def test_no_bags_make_no_steps():
    assert list(batches(np.zeros(0, np.int64), np.array([3]), 5)) == []


# ---- random numbers as a function ------------------------------------------------------------------------------------


def test_hashes_are_the_same_in_every_process():
    code = (
        "import numpy as np; from bagwise.training.randomness import hashed, seed_from;"
        "print(hashed(1, np.arange(4), 2**63).tolist(), seed_from(1, [3, 4]))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.strip() == f"{hashed(1, np.arange(4), 2**63).tolist()} {seed_from(1, [3, 4])}"


def test_hashes_stay_what_they_were_when_results_were_published():
    # The finaliser of SplitMix64, written anew with whole numbers of any size.
    def mixed(parts):
        state = 0
        for part in parts:
            state = (state + part + 0x9E3779B97F4A7C15) % 2**64
            state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
            state = (state ^ (state >> 27)) * 0x94D049BB133111EB % 2**64
            state ^= state >> 31
        return state

    for parts in [(0,), (1, 2), (2**63, 5, 2**64 - 1), (0, 0, 0, 0)]:
        assert hashed(*parts).item() == mixed(parts)
    assert hashed(0).item() == 0xE220A8397B1DCDAF  # the first number of SplitMix64 from state 0


@given(SEEDS, KEYS, KEYS)
def test_hashes_broadcast(seed, rows, columns):
    table = hashed(seed, rows[:, None], columns)
    assert table.shape == (len(rows), len(columns))
    assert table.dtype == np.uint64
    assert table[-1, 0] == hashed(seed, rows[-1], columns[0])


@given(KEYS)
def test_hashes_of_different_keys_differ(keys):
    assert len(np.unique(hashed(0, 1, keys))) == len(keys)


def test_each_bit_of_a_hash_is_a_fair_coin():
    values = hashed(7, np.arange(20_000))
    ones = [((values >> np.uint64(bit)) & np.uint64(1)).mean() for bit in range(64)]
    assert np.abs(np.array(ones) - 0.5).max() < 5 * 0.5 / np.sqrt(20_000)


def test_one_bit_of_a_seed_changes_half_the_bits_of_the_hash():
    flipped = np.bitwise_xor(hashed(3, 5), hashed(np.uint64(3) ^ (np.uint64(1) << np.arange(64, dtype=np.uint64)), 5))
    changed = [int(value).bit_count() for value in flipped]
    assert 30 < np.mean(changed) < 34
    assert min(changed) > 10
    assert max(changed) < 54


def test_hashing_leaves_its_arrays_alone():
    keys = np.arange(5, dtype=np.uint64)
    keys.setflags(write=False)
    hashed(1, keys, keys)
    assert keys.tolist() == [0, 1, 2, 3, 4]


@given(st.lists(SEEDS, min_size=1, max_size=20), st.randoms(use_true_random=False))
def test_the_order_within_an_array_does_not_change_a_seed(entries, random):
    assert seed_from(3, entries) == seed_from(3, random.sample(entries, len(entries)))


@given(st.lists(SEEDS, min_size=1, max_size=6), st.integers(0, 5), SEEDS)
def test_every_part_changes_a_seed(parts, number, other):
    changed = parts.copy()
    changed[number % len(parts)] = other
    assert (seed_from(*parts) == seed_from(*changed)) == (parts == changed)


@given(st.lists(SEEDS, min_size=1, max_size=8), st.lists(SEEDS, min_size=1, max_size=8))
def test_every_entry_of_an_array_changes_a_seed_and_so_does_how_often_it_is_there(one, other):
    assert (seed_from(0, one) == seed_from(0, other)) == (sorted(one) == sorted(other))


@pytest.mark.parametrize(("one", "other"), [([1, 1], [2, 2]), ([4, 4, 4], [4]), ([1, 2, 2], [1, 3, 3])])
def test_entries_that_are_there_twice_do_not_cancel(one, other):
    assert seed_from(0, one) != seed_from(0, other)


@given(SEEDS, SEEDS)
def test_the_order_of_parts_changes_a_seed(one, other):
    assert (seed_from(one, other) == seed_from(other, one)) == (one == other)


@given(st.lists(SEEDS, max_size=5))
@settings(max_examples=300)
def test_a_seed_is_one_that_torch_takes(parts):
    seed = seed_from(*parts)
    assert type(seed) is int
    assert 0 <= seed < 2**63
