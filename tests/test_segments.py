from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bagwise import segments
from bagwise.segments import (
    rows_to_spare,
    segment_argmax,
    segment_lengths,
    segment_logsumexp,
    segment_max,
    segment_mean,
    segment_ranks,
    segment_repeat,
    segment_softmax,
    segment_sum,
    segment_weighted_sum,
)
from bagwise.training.device import one_thread

REDUCTIONS = {
    segment_sum: lambda bag: bag.sum(0),
    segment_mean: lambda bag: bag.mean(0),
    segment_max: lambda bag: bag.max(0),
    segment_logsumexp: lambda bag: np.log(np.exp(bag - bag.max(0)).sum(0)) + bag.max(0),
}
ROWWISE = {segment_softmax: lambda bag: np.exp(bag - bag.max(0)) / np.exp(bag - bag.max(0)).sum(0)}
EVERY = {**REDUCTIONS, **ROWWISE}
TRAILING = [(), (1,), (3,), (2, 3)]
SIZES = [(1,), (7,), (1, 1, 1), (3, 1, 5, 2), tuple(range(1, 20))]

name = lambda value: getattr(value, "__name__", str(value))  # noqa: E731


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    with one_thread():
        yield


def packed(sizes, trailing=(), dtype=torch.float64, scale=3.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    values = scale * torch.randn(sum(sizes), *trailing, generator=generator, dtype=torch.float64)
    return values.to(dtype), torch.tensor([0, *np.cumsum(sizes)])


def by_loop(of_bag, values, offsets, *, rowwise):
    """The definition, one bag after the other, in as many digits as numpy has."""
    bags = [of_bag(values.numpy()[a:b].astype(np.longdouble)) for a, b in pairwise(offsets.tolist())]
    return (np.concatenate(bags) if rowwise else np.stack(bags)).astype(np.float64)


def test_every_public_function_is_tested_here():
    places = {"segment_argmax", "segment_ranks"}
    others = {"rows_to_spare", "segment_lengths", "segment_repeat", "segment_weighted_sum"} | places
    assert {name(f) for f in EVERY} | others == set(segments.__all__)


@pytest.mark.parametrize("sizes", SIZES, ids=lambda sizes: f"{len(sizes)} bags")
@pytest.mark.parametrize("trailing", TRAILING, ids=str)
def test_places_and_ranks_are_those_of_each_bag_also_where_values_are_equal(sizes, trailing):
    values, offsets = packed(sizes, trailing, scale=1.0)
    values = values.round()  # so that many are
    begins = pairwise(offsets.tolist())
    best = [begin + values[begin:end].numpy().argmax(0) for begin, end in begins]
    assert np.array_equal(segment_argmax(values, offsets), np.stack(best))
    ranks = by_loop(lambda bag: bag.argsort(0, kind="stable").argsort(0), values, offsets, rowwise=True)
    assert np.array_equal(segment_ranks(values, offsets), ranks)


@pytest.mark.parametrize("function", EVERY, ids=name)
def test_rows_to_spare_count_nothing_and_get_no_gradient(function):
    values, offsets = packed((4,), (3,))
    longer = torch.cat([values, torch.full((2, 3), 50.0, dtype=torch.float64)]).requires_grad_()
    with rows_to_spare(6):
        result = function(longer, offsets)
    expected = function(values, offsets)
    torch.testing.assert_close(result[: len(expected)], expected)
    (result * torch.arange(3.0)).sum().backward()
    assert not longer.grad[4:].any()


def test_rows_to_spare_are_repeated_to_and_weigh_nothing():
    values, offsets = packed((4,), (3,))
    with rows_to_spare(6):
        assert segment_repeat(values[:1], offsets).shape == (6, 3)
        weighed = segment_weighted_sum(torch.ones(6, 1).double(), torch.cat([values, values[:2]]), offsets)
    torch.testing.assert_close(weighed, values.sum(0, keepdim=True))


@pytest.mark.parametrize("sizes", SIZES, ids=lambda sizes: f"{len(sizes)} bags")
def test_a_weighted_sum_is_the_sum_of_weighted_values_and_so_is_its_gradient(sizes):
    values, offsets = packed(sizes, (4,))
    weights, _ = packed(sizes, (1,), seed=1)
    values, weights = values.requires_grad_(), weights.requires_grad_()
    given, wanted = segment_weighted_sum(weights, values, offsets), segment_sum(weights * values, offsets)
    torch.testing.assert_close(given, wanted, rtol=1e-12, atol=1e-12)
    for one, other in zip(
        torch.autograd.grad((given**2).sum(), [values, weights]),
        torch.autograd.grad((wanted**2).sum(), [values, weights]),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("sizes", SIZES, ids=lambda sizes: f"{len(sizes)} bags")
@pytest.mark.parametrize("trailing", TRAILING, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("function", EVERY, ids=name)
def test_equals_a_loop_over_bags(function, dtype, trailing, sizes):
    values, offsets = packed(sizes, trailing, dtype)
    result = function(values, offsets)
    expected = by_loop(EVERY[function], values, offsets, rowwise=function in ROWWISE)
    assert result.dtype == dtype
    assert result.shape == expected.shape
    tolerance = 1e-13 if dtype == torch.float64 else 2e-6
    np.testing.assert_allclose(result.numpy(), expected, rtol=tolerance, atol=tolerance)


@settings(max_examples=60)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=6), st.integers(0, 1000), st.sampled_from(list(EVERY)))
def test_a_bag_does_not_depend_on_its_company(sizes, seed, function):
    values, offsets = packed(sizes, (2,), seed=seed)
    alone = [function(values[a:b], torch.tensor([0, b - a])) for a, b in pairwise(offsets.tolist())]
    torch.testing.assert_close(function(values, offsets), torch.cat(alone), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("sizes", SIZES, ids=lambda sizes: f"{len(sizes)} bags")
def test_lengths_and_repeat_undo_each_other(sizes):
    offsets = packed(sizes)[1]
    assert segment_lengths(offsets).tolist() == list(sizes)
    assert segment_lengths(offsets).dtype == torch.int64
    rows = torch.arange(len(sizes) * 2).reshape(-1, 2)
    expected = [row for row, size in zip(rows.tolist(), sizes, strict=True) for _ in range(size)]
    assert segment_repeat(rows, offsets).tolist() == expected


@pytest.mark.parametrize("sizes", [(4,), (1, 3, 2)], ids=str)
@pytest.mark.parametrize("trailing", [(), (2,), (2, 2)], ids=str)
@pytest.mark.parametrize("function", [*EVERY, segment_repeat], ids=name)
def test_gradients_are_right(function, trailing, sizes):
    values, offsets = packed(sizes, trailing)
    if function is segment_repeat:
        values = values[: len(sizes)]
    values.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: function(x, offsets), (values,))


@pytest.mark.parametrize("sizes", [(5,), (5, 3), (1, 1, 5)], ids=str)
def test_ties_share_the_gradient_of_the_maximum_evenly(sizes):
    offsets = torch.tensor([0, *np.cumsum(sizes)])
    values = torch.zeros(sum(sizes), 1, dtype=torch.float64)
    tied = [5.0, 1.0, 5.0, 5.0, 2.0]
    begin = sum(sizes[: sizes.index(5)])
    values[begin : begin + 5, 0] = torch.tensor(tied)
    values.requires_grad_()
    segment_max(values, offsets).sum().backward()
    gradient = values.grad[begin : begin + 5, 0].tolist()
    assert gradient == pytest.approx([1 / 3, 0, 1 / 3, 1 / 3, 0])
    for a, b in pairwise(offsets.tolist()):
        assert values.grad[a:b].sum() == pytest.approx(1)


def test_a_maximum_below_zero_and_of_zeros_is_found():
    values = torch.tensor([-3.0, -2.0, 0.0, 0.0, -1e30])
    offsets = torch.tensor([0, 2, 4, 5])
    assert segment_max(values, offsets).tolist() == [-2.0, 0.0, pytest.approx(-1e30)]


@pytest.mark.parametrize(
    "sizes", [(100_000,), (99_999, 1), (50_000, 50_000), (1,) * 100_000], ids=lambda s: f"{len(s)}"
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("function", EVERY, ids=name)
def test_100_000_instances_keep_their_digits(function, dtype, sizes):
    values, offsets = packed(sizes, dtype=dtype)
    values = values.abs()  # no cancellation: what is lost here is lost by adding up
    if len(sizes) <= 2:
        expected = by_loop(EVERY[function], values, offsets, rowwise=function in ROWWISE)
    else:
        expected = np.ones(len(sizes)) if function in ROWWISE else values.numpy()
    np.testing.assert_allclose(
        function(values, offsets).numpy(), expected, rtol=1e-11 if dtype == torch.float64 else 1e-4
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("sizes", [(4,), (4, 4)], ids=str)
@pytest.mark.parametrize("function", [segment_logsumexp, segment_softmax], ids=name)
@pytest.mark.parametrize("scores", [[1e4] * 4, [-1e4] * 4, [-1e4, 1e4, 0, 1e4], [0] * 4], ids=str)
def test_exponentials_neither_overflow_nor_vanish(function, scores, sizes, dtype):
    values = torch.tensor(scores * len(sizes), dtype=dtype, requires_grad=True)
    offsets = torch.tensor([0, *np.cumsum(sizes)])
    result = function(values, offsets)
    expected = by_loop(EVERY[function], values.detach(), offsets, rowwise=function in ROWWISE)
    np.testing.assert_allclose(result.detach().numpy(), expected, rtol=1e-6)
    (result * torch.arange(1, len(result) + 1)).sum().backward()
    assert values.grad.isfinite().all()


@pytest.mark.parametrize("sizes", [(6,), (1, 2, 3)], ids=str)
def test_softmax_weights_are_positive_and_sum_to_one(sizes):
    values, offsets = packed(sizes, (2,))
    weights = segment_softmax(values, offsets)
    assert (weights > 0).all()
    torch.testing.assert_close(segment_sum(weights, offsets), torch.ones(len(sizes), 2, dtype=torch.float64))


@pytest.mark.parametrize("function", [*EVERY, segment_repeat], ids=name)
def test_values_are_left_as_they_were(function):
    values, offsets = packed((2, 3))
    before = values.clone(), offsets.clone()
    function(values[:2] if function is segment_repeat else values, offsets)
    assert torch.equal(values, before[0])
    assert torch.equal(offsets, before[1])
