"""Neighbours within a bag: equal to a plain search, and dependent on nothing else."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import bagwise as bw
from bagwise.bags import Bags
from bagwise.models.neighbours import Neighbourhood, nearest, standardised
from bagwise.training.data import PackedTensors


def plain(points, count):
    """Sort the distances to all others; the point itself fills up."""
    apart = np.sqrt(((points[:, None] - points[None]) ** 2).sum(-1))
    found = np.empty((len(points), count), np.int64)
    for row, distances in enumerate(apart):
        others = [place for place in np.argsort(distances, kind="stable") if place != row]
        found[row] = (others + [row] * count)[:count]
    return found


@given(st.integers(1, 40), st.sampled_from([1, 2, 3, 4, 30]), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_the_nearest_are_those_of_a_plain_search(size, width, count, seed):
    points = np.random.default_rng(seed).normal(size=(size, width))
    np.testing.assert_array_equal(nearest(points, count), plain(points, count))


@given(st.integers(2, 60), st.sampled_from([2, 5]), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_neighbours_move_with_the_order_of_instances_also_where_several_are_equally_near(size, width, count, seed):
    rng = np.random.default_rng(seed)
    points, told_apart_by = rng.integers(0, 3, (size, width)).astype(float), rng.normal(size=(size, 1))
    order = rng.permutation(size)
    moved = nearest(points[order], count, told_apart_by[order])
    np.testing.assert_array_equal(order[moved], nearest(points, count, told_apart_by)[order])


def test_equally_near_points_are_still_the_nearest():
    grid = np.stack(np.meshgrid(np.arange(20.0), np.arange(20.0)), axis=-1).reshape(-1, 2)
    points = np.repeat(grid, 2, axis=0)
    for found in (nearest(points, 6, np.arange(800.0)[:, None]), nearest(np.tile(points, (1, 2)), 6)):
        assert not (found == np.arange(800)[:, None]).any()
        assert all(len(set(row)) == 6 for row in found.tolist())
        apart = np.linalg.norm(points[found] - points[:, None], axis=-1)
        wanted = np.sort(np.linalg.norm(points[:, None] - points[None], axis=-1), axis=1)[:, 1:7]
        np.testing.assert_allclose(np.sort(apart, axis=1), wanted)


@given(st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_features_have_one_spread_within_the_bag_to_the_last_bit_in_any_order(size, seed):
    rng = np.random.default_rng(seed)
    rows = rng.normal(rng.normal(size=4) * 1e3, [1e-3, 1.0, 1e200, 0.0], (size, 4))
    found, order = standardised(rows), rng.permutation(size)
    np.testing.assert_array_equal(standardised(rows[order]), found[order])
    np.testing.assert_allclose(found.mean(0), 0, atol=1e-9)
    np.testing.assert_allclose(found.std(0), [size > 1, size > 1, size > 1, 0], atol=1e-9)


def packed_of(sizes, *, coordinates):
    rng = np.random.default_rng(0)
    total = sum(sizes)
    places = rng.normal(size=(total, 2)) if coordinates else None
    return Bags(rng.normal(size=(total, 5)), np.cumsum([0, *sizes]), coordinates=places)


@pytest.mark.parametrize("space", ["coordinates", "features"])
def test_neighbours_are_packed_in_the_order_of_the_batch(space):
    bags = packed_of([4, 1, 7], coordinates=True)
    model = torch.nn.Module()
    model.wants_neighbours, order = Neighbourhood(2, space), [2, 0, 1]
    found = PackedTensors(bags).where(model, np.array(order), torch.device("cpu"))
    begin = 0
    for bag in order:
        own = bags[bag].coordinates if space == "coordinates" else standardised(bags[bag].instances)
        np.testing.assert_array_equal(found[begin : begin + len(own)] - begin, plain(np.asarray(own), 2))
        begin += len(own)


def test_neighbours_of_a_bag_are_found_once(monkeypatch):
    asked = []
    monkeypatch.setattr("bagwise.training.data.nearest", lambda *given: asked.append(1) or nearest(*given))
    rng = np.random.default_rng(0)
    bags = Bags.from_arrays([rng.normal(size=(5, 3)) for _ in range(8)], labels=[0, 1] * 4)
    bw.make("graph", epochs=4, random_state=0).fit(bags)
    assert len(asked) == 8
