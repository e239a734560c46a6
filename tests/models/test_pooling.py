from itertools import pairwise

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import mp, mpf

from bagwise.models.pooling import (
    EMBEDDING_POOLINGS,
    INSTANCE_POOLINGS,
    Attention,
    GatedAttention,
    LogSumExp,
    NoisyAnd,
    Pooling,
    ProbabilityLogSumExp,
)
from bagwise.training.device import one_thread

REGISTRIES = {"embedding": EMBEDDING_POOLINGS, "instance": INSTANCE_POOLINGS}
EVERY = [(level, name) for level, registry in REGISTRIES.items() for name in registry]
# Two copies of an instance count twice: of these a sum of probabilities, of those the bag vector itself.
COUNTING = {("instance", "isr"), ("instance", "noisy-or")}
SUMS = {("embedding", "sum"), ("embedding", "sum-attention"), ("embedding", "gated-sum-attention")}
# A threshold even for one instance, and weights even of one instance.
NO_IDENTITY = {("instance", "noisy-and"), ("embedding", "sum-attention"), ("embedding", "gated-sum-attention")}
DTYPES = [torch.float32, torch.float64]

every_pooling = pytest.mark.parametrize(("level", "name"), EVERY)
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    with one_thread():
        yield


def make(level, name, width=2, dtype=torch.float64, **options) -> Pooling:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return REGISTRIES[level][name](width, **options).to(dtype)


def random_values(rows, width=2, dtype=torch.float64, scale=3.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (scale * torch.randn(rows, width, generator=generator, dtype=torch.float64)).to(dtype)


def offsets_of(sizes):
    return torch.tensor([0, *np.cumsum(sizes)])


def assert_near(actual, expected, dtype):
    tolerance = 1e-9 if dtype == torch.float64 else 1e-5
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


# ---- what every pooling of the registries must do -----------------------------------------------------------

sizes_and_seed = given(st.lists(st.integers(1, 8), min_size=1, max_size=5), st.integers(0, 10_000))
quick = settings(max_examples=15)


@every_pooling
@every_dtype
@quick
@sizes_and_seed
def test_a_batch_gives_what_each_bag_alone_gives(level, name, dtype, sizes, seed):
    pooling, values, offsets = (
        make(level, name, dtype=dtype),
        random_values(sum(sizes), dtype=dtype, seed=seed),
        offsets_of(sizes),
    )
    together = pooling(values, offsets)
    alone = [pooling(values[a:b], torch.tensor([0, b - a])) for a, b in pairwise(offsets.tolist())]
    assert together.bags.shape == (len(sizes), 2)
    assert together.bags.dtype == dtype
    assert_near(together.bags, torch.cat([pooled.bags for pooled in alone]), dtype)
    if together.weights is None:
        assert all(pooled.weights is None for pooled in alone)
    else:
        assert_near(together.weights, torch.cat([pooled.weights for pooled in alone]), dtype)


@every_pooling
@every_dtype
@quick
@sizes_and_seed
def test_the_order_within_a_bag_does_not_matter(level, name, dtype, sizes, seed):
    pooling, values, offsets = (
        make(level, name, dtype=dtype),
        random_values(sum(sizes), dtype=dtype, seed=seed),
        offsets_of(sizes),
    )
    rng = np.random.default_rng(seed)
    order = np.concatenate([a + rng.permutation(b - a) for a, b in pairwise(offsets.tolist())])
    straight, shuffled = pooling(values, offsets), pooling(values[order], offsets)
    assert_near(shuffled.bags, straight.bags, dtype)
    if straight.weights is not None:
        assert_near(shuffled.weights, straight.weights[order], dtype)


@every_pooling
@quick
@sizes_and_seed
def test_only_counting_poolings_notice_a_bag_given_twice(level, name, sizes, seed):
    pooling, values, offsets = make(level, name), random_values(sum(sizes), seed=seed), offsets_of(sizes)
    twice = torch.cat([torch.cat([values[a:b]] * 2) for a, b in pairwise(offsets.tolist())])
    once, doubled = pooling(values, offsets).bags, pooling(twice, 2 * offsets).bags
    if (level, name) in COUNTING:
        assert (doubled > once + 1e-3).all()
    elif (level, name) in SUMS:
        assert_near(doubled, 2 * once, torch.float64)
    else:
        assert_near(doubled, once, torch.float64)


@every_pooling
@every_dtype
def test_a_bag_of_one_is_its_instance(level, name, dtype):
    values = torch.tensor([[-1e4, 1e4], [-300.0, 40.0], [-30.0, 16.0], [0.0, -15.0], [0.25, -1e-3]], dtype=dtype)
    for offsets in (torch.arange(6), torch.arange(2)):
        given_values = values[: len(offsets) - 1]
        pooled = make(level, name, dtype=dtype)(given_values, offsets).bags
        if (level, name) in NO_IDENTITY:
            assert not torch.allclose(pooled, given_values)
        else:
            torch.testing.assert_close(pooled, given_values, rtol=1e-9 if dtype == torch.float64 else 1e-5, atol=1e-6)


@every_pooling
@every_dtype
@pytest.mark.parametrize("copies", [1, 3], ids=["one bag", "three bags"])
@pytest.mark.parametrize(
    "scores",
    [[1e4] * 4, [-1e4] * 4, [1e4, -1e4, 0, 1e4, -1e4], [0] * 4, [1e4], [-1e4], [1e4, -1e4], [-1e4, 0]],
    ids=str,
)
def test_extreme_values_give_finite_results_and_gradients(level, name, dtype, copies, scores):
    pooling = make(level, name, dtype=dtype)
    values = torch.tensor(scores * copies, dtype=dtype)[:, None].repeat(1, 2).requires_grad_()
    pooled = pooling(values, offsets_of([len(scores)] * copies))
    pooled.bags.sum().backward()
    assert pooled.bags.isfinite().all()
    for tensor in (values, *pooling.parameters()):
        assert tensor.grad.isfinite().all()


@every_pooling
@every_dtype
def test_huge_bags_give_finite_results_and_gradients(level, name, dtype):
    pooling, sizes = make(level, name, dtype=dtype), (1, 100_000, 1)
    values = (random_values(sum(sizes), dtype=dtype) * torch.tensor([1.0, 1e4], dtype=dtype)).requires_grad_()
    pooled = pooling(values, offsets_of(sizes))
    pooled.bags.sum().backward()
    assert pooled.bags.isfinite().all()
    for tensor in (values, *pooling.parameters()):
        assert tensor.grad.isfinite().all()


@every_pooling
@pytest.mark.parametrize("sizes", [(1,), (5,), (1, 3, 2)], ids=str)
def test_gradients_are_right(level, name, sizes):
    pooling, offsets = make(level, name), offsets_of(sizes)
    values = random_values(sum(sizes)).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: pooling(x, offsets).bags, (values,))
    parameters = dict(pooling.named_parameters())
    if parameters:

        def of_parameters(*tensors):
            replaced = dict(zip(parameters, tensors, strict=True))
            return torch.func.functional_call(pooling, replaced, (values.detach(), offsets)).bags

        assert torch.autograd.gradcheck(of_parameters, tuple(parameters.values()))


@pytest.mark.parametrize("name", INSTANCE_POOLINGS)
@pytest.mark.parametrize("logits", [[-40, -38, -41], [-15.5, -14.5, -15.01], [40, 38, 41], [-40, 0.1, 40], [13, 17, 5]])
def test_gradients_are_right_far_out(name, logits):
    pooling, offsets = make("instance", name, 1), offsets_of([len(logits)])
    values = torch.tensor(logits, dtype=torch.float64)[:, None].requires_grad_()
    assert torch.autograd.gradcheck(lambda x: pooling(x, offsets).bags, (values,), atol=1e-6)


@every_pooling
def test_values_are_left_as_they_were(level, name):
    values = random_values(5)
    before = values.clone()
    make(level, name)(values, offsets_of([2, 3]))
    assert torch.equal(values, before)


@pytest.mark.parametrize("name", INSTANCE_POOLINGS)
def test_columns_of_logits_do_not_touch_each_other(name):
    values, offsets = random_values(9, 3), offsets_of([4, 5])
    together = make("instance", name, 3)(values, offsets).bags
    alone = [make("instance", name, 1)(values[:, [column]], offsets).bags for column in range(3)]
    assert_near(together, torch.cat(alone, dim=1), torch.float64)


# ---- attention ----------------------------------------------------------------------------------------------

attentions = pytest.mark.parametrize("name", ["attention", "gated-attention"])


@attentions
@every_dtype
@pytest.mark.parametrize("sizes", [(1,), (100_000,), (1, 2, 1000)], ids=str)
def test_weights_are_positive_and_sum_to_one(name, dtype, sizes):
    weights = make("embedding", name, dtype=dtype)(random_values(sum(sizes), dtype=dtype), offsets_of(sizes)).weights
    assert weights.shape == (sum(sizes),)
    assert (weights > 0).all()
    for a, b in pairwise(offsets_of(sizes).tolist()):
        assert weights[a:b].double().sum().item() == pytest.approx(1, abs=1e-12 if dtype == torch.float64 else 1e-4)


@attentions
def test_attention_without_scores_is_the_mean(name):
    pooling = make("embedding", name)
    torch.nn.init.zeros_(pooling.w.weight)
    values, offsets = random_values(10), offsets_of([1, 9])
    pooled = pooling(values, offsets)
    assert_near(pooled.bags, make("embedding", "mean")(values, offsets).bags, torch.float64)
    assert_near(pooled.weights, torch.tensor([1.0] + [1 / 9] * 9, dtype=torch.float64), torch.float64)


@attentions
@every_dtype
@pytest.mark.parametrize("size", [1e4, -1e4])
def test_extreme_attention_scores_give_finite_results_and_gradients(name, dtype, size):
    pooling = make("embedding", name, dtype=dtype)
    torch.nn.init.constant_(pooling.w.weight, size)
    values = random_values(9, dtype=dtype).requires_grad_()
    pooled = pooling(values, offsets_of([1, 8]))
    pooled.bags.sum().backward()
    assert pooled.weights.isfinite().all()
    for tensor in (pooled.bags, values.grad, *(p.grad for p in pooling.parameters())):
        assert tensor.isfinite().all()


@pytest.mark.parametrize("kind", [Attention, GatedAttention])
def test_attention_is_its_formula(kind):
    pooling = kind(3, hidden=4).double()
    values, sizes = random_values(7, 3), (3, 4)
    pooled = pooling(values, offsets_of(sizes))
    V, w = pooling.V.weight.detach().numpy(), pooling.w.weight.detach().numpy()[0]
    U = pooling.U.weight.detach().numpy() if kind is GatedAttention else None
    for bag, (a, b) in enumerate(pairwise(offsets_of(sizes).tolist())):
        scores = []
        for h in values[a:b].numpy():
            gate = 1 if U is None else 1 / (1 + np.exp(-U @ h))
            scores.append(np.exp(w @ (np.tanh(V @ h) * gate)))
        weights = np.array(scores) / sum(scores)
        np.testing.assert_allclose(pooled.weights[a:b].detach(), weights, rtol=1e-12)
        np.testing.assert_allclose(pooled.bags[bag].detach(), weights @ values[a:b].numpy(), rtol=1e-12, atol=1e-14)


counting_attentions = pytest.mark.parametrize("name", ["sum-attention", "gated-sum-attention"])


@counting_attentions
def test_weights_that_count_are_each_its_instances_own(name):
    pooling = make("embedding", name)
    torch.nn.init.constant_(pooling.b, 0.3)
    values = random_values(9)
    together, alone = (pooling(values, offsets).weights for offsets in (offsets_of([9]), torch.arange(10)))
    assert torch.equal(together, alone)
    assert ((together > 0) & (together < 1)).all()
    scores = make("embedding", name.replace("sum-", "")).scores(values)[:, 0]
    assert_near(together, torch.sigmoid(scores + 0.3), torch.float64)
    assert_near(pooling(values, offsets_of([9])).bags[0], together @ values, torch.float64)


@pytest.mark.parametrize("name", sorted(name for name in EMBEDDING_POOLINGS if "attention" not in name))
def test_poolings_without_weights_say_so(name):
    assert make("embedding", name)(random_values(3), offsets_of([3])).weights is None


# ---- definitions, in 200 digits -----------------------------------------------------------------------------


def sigmoid(z):
    return 1 / (1 + mpmath.exp(-z))


def mean(values):
    return mpmath.fsum(values) / len(values)


def log_sum_exp(values, r):
    return mpmath.log(mean([mpmath.exp(r * value) for value in values])) / r


def noisy_and(p, a, b):
    low, high = sigmoid(-a * b), sigmoid(a * (1 - b))
    return (sigmoid(a * (mean(p) - b)) - low) / (high - low)


DEFINITIONS = {
    "max": max,
    "mean": mean,
    "log-sum-exp": lambda p: log_sum_exp(p, mpf(5)),
    "isr": lambda p: (s := mpmath.fsum(x / (1 - x) for x in p)) / (1 + s),
    "noisy-or": lambda p: 1 - mpmath.fprod(1 - x for x in p),
    "noisy-and": lambda p: noisy_and(p, mpf(10), mpf(0.5)),
}


def bag_logit(definition, logits) -> float:
    """The definition on probabilities, in so many digits that both q and 1 - q are exact."""
    with mp.workdps(700):
        q = definition([sigmoid(mpf(z)) for z in logits])
        return float(mpmath.log(q) - mpmath.log(1 - q))


def assert_defined(pooling, definition, logits, tolerance=1e-9):
    values = torch.tensor(logits, dtype=torch.float64)[:, None]
    actual = pooling(values, offsets_of([len(logits)])).bags.item()
    # An error of the logit is a relative error of both the probability and its complement.
    assert actual == pytest.approx(bag_logit(definition, logits), rel=tolerance, abs=tolerance)


def test_every_instance_pooling_has_its_definition_here():
    assert set(DEFINITIONS) == set(INSTANCE_POOLINGS)


@pytest.mark.parametrize("name", INSTANCE_POOLINGS)
@settings(max_examples=25)
@given(st.lists(st.floats(-30, 30), min_size=1, max_size=8))
def test_instance_poolings_are_their_definitions(name, logits):
    assert_defined(make("instance", name, 1), DEFINITIONS[name], logits)


P_TINY, P_SURE = float(mpmath.log(mpf("1e-30"))), float(mpmath.log(mpf("1e12")))


@pytest.mark.parametrize("name", INSTANCE_POOLINGS)
@pytest.mark.parametrize(
    "logits",
    [
        [P_TINY] * 3,
        [P_SURE] * 3,
        [P_TINY, P_SURE],
        [P_TINY, 0.0],
        [P_SURE, 0.0, P_SURE],
        [P_TINY, P_TINY, -15.0, -14.999],
        [-100.0, -101.0],
        [100.0, 101.0],
        [30.0] * 10,
        [-30.0] * 10,
        [1e-12, -1e-12],
    ],
    ids=str,
)
def test_instance_poolings_are_exact_for_extreme_probabilities(name, logits):
    assert_defined(make("instance", name, 1), DEFINITIONS[name], logits)


@pytest.mark.parametrize("name", INSTANCE_POOLINGS)
@settings(max_examples=25)
@given(logits=st.lists(st.floats(-30, 30, width=32), min_size=1, max_size=8))
def test_instance_poolings_in_single_precision_stay_near_their_definitions(name, logits):
    pooling = make("instance", name, 1, torch.float32)
    actual = pooling(torch.tensor(logits)[:, None], offsets_of([len(logits)])).bags.item()
    assert actual == pytest.approx(bag_logit(DEFINITIONS[name], logits), rel=1e-5, abs=1e-4)


@pytest.mark.parametrize("name", INSTANCE_POOLINGS)
@pytest.mark.parametrize("logit", [-12.0, 0.0, 3.0])
def test_100_000_equal_instances_give_what_their_definition_says(name, logit):
    count = 100_000
    with mp.workdps(100):
        p = sigmoid(mpf(logit))
        same = {"max": p, "mean": p, "log-sum-exp": p, "noisy-and": noisy_and([p], mpf(10), mpf(0.5))}
        s = count * p / (1 - p)
        log_not = {"isr": -mpmath.log(1 + s), "noisy-or": count * mpmath.log(1 - p)}
        if name in same:
            expected = float(mpmath.log(same[name]) - mpmath.log(1 - same[name]))
        else:
            expected = float(mpmath.log1p(-mpmath.exp(log_not[name])) - log_not[name])
    values = torch.full((count, 1), logit, dtype=torch.float64)
    assert make("instance", name, 1)(values, offsets_of([count])).bags.item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("slope", [1.0, 10.0, 50.0, 1000.0])
@pytest.mark.parametrize("b_logit", [-8.0, -1.0, 0.0, 2.0, 8.0])
@pytest.mark.parametrize("logits", [[-3.0, 2.0], [30.0, 25.0], [-30.0], [-30.0, 30.0]], ids=str)
def test_noisy_and_is_its_definition_for_every_slope_and_threshold(slope, b_logit, logits):
    pooling = NoisyAnd(1, slope=slope).double()
    torch.nn.init.constant_(pooling.threshold_logit, b_logit)
    assert_defined(pooling, lambda p: noisy_and(p, mpf(slope), sigmoid(mpf(b_logit))), logits)


def test_noisy_and_learns_one_threshold_a_column_from_a_half_on():
    pooling = NoisyAnd(3)
    assert pooling.threshold_logit.sigmoid().tolist() == [0.5] * 3
    assert pooling.threshold_logit.requires_grad


# ---- log-sum-exp between mean and maximum -------------------------------------------------------------------

SHARPNESS = [1e-9, 1e-3, 0.1, 1.0, 5.0, 10.0, 16.0, 20.0, 50.0, 200.0, 1e4]


@pytest.mark.parametrize("sharpness", SHARPNESS)
@pytest.mark.parametrize(
    "logits", [[-7.0, -6.0, -5.0], [-1.0, 2.0], [5.0, 6.0, 9.0], [-30.0, -25.0], [-20.0, 20.0]], ids=str
)
def test_log_sum_exp_of_probabilities_is_its_definition_for_every_sharpness(sharpness, logits):
    assert_defined(ProbabilityLogSumExp(1, sharpness), lambda p: log_sum_exp(p, mpf(sharpness)), logits)


@every_dtype
@pytest.mark.parametrize("sharpness", SHARPNESS)
@pytest.mark.parametrize("scores", [[-7.0, -6.0], [1e4, 1e4], [-1e4, -1e4], [1e4, -1e4], [0.0, 0.0]], ids=str)
def test_log_sum_exp_of_probabilities_is_finite_for_every_sharpness(dtype, sharpness, scores):
    values = torch.tensor(scores, dtype=dtype)[:, None].requires_grad_()
    pooled = ProbabilityLogSumExp(1, sharpness)(values, offsets_of([2])).bags
    pooled.sum().backward()
    assert pooled.isfinite().all()
    assert values.grad.isfinite().all()


@pytest.mark.parametrize("sharpness", [0.1, 1.0, 5.0, 100.0])
def test_log_sum_exp_of_embeddings_is_its_definition(sharpness):
    values = random_values(5)
    pooled = LogSumExp(2, sharpness)(values, offsets_of([5])).bags
    for column in range(2):
        with mp.workdps(50):
            expected = log_sum_exp([mpf(v) for v in values[:, column].tolist()], mpf(sharpness))
        assert pooled[0, column].item() == pytest.approx(float(expected), rel=1e-12)


@pytest.mark.parametrize("level", ["embedding", "instance"])
def test_log_sum_exp_goes_from_the_mean_to_the_maximum(level):
    values, offsets = random_values(12), offsets_of([4, 8])
    lowest, highest = (make(level, name)(values, offsets).bags for name in ("mean", "max"))
    soft = [make(level, "log-sum-exp", sharpness=r)(values, offsets).bags for r in (1e-6, 0.1, 1.0, 10.0, 1e6)]
    torch.testing.assert_close(soft[0], lowest, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(soft[-1], highest, rtol=1e-3, atol=1e-3)
    for lower, higher in pairwise(soft):
        assert (higher > lower).all()


@pytest.mark.parametrize("name", ["attention", "gated-attention"])
def test_scores_in_parts_are_the_scores_and_gradients_of_the_whole(monkeypatch, name):
    torch.manual_seed(0)
    pooling = EMBEDDING_POOLINGS[name](3, hidden=4).double()
    values = torch.randn(11, 3, dtype=torch.float64, requires_grad=True)

    def answers():
        pooled = pooling(values, torch.tensor([0, 4, 11]))
        gradients = torch.autograd.grad((pooled.bags**2).sum(), [values, *pooling.parameters()])
        return [pooled.bags.detach(), pooled.weights.detach(), *gradients]

    whole = answers()
    monkeypatch.setattr("bagwise.models.in_parts._ROWS_AT_ONCE", 3)
    for one, other in zip(whole, answers(), strict=True):
        torch.testing.assert_close(other, one, rtol=1e-12, atol=1e-12)
