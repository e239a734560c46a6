from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from bagwise.models.architecture import LEVELS, Architecture
from bagwise.models.smoothing import NEIGHBOUR_POOLINGS
from bagwise.targets.likelihood import negative_log_likelihood
from bagwise.training.device import one_thread
from bagwise.training.gradient import accumulate_gradient
from bagwise.training.losses import LossTargets

LEVEL_ENCODERS = {"deep-supervision": "mi-net-levels", "residual": "mi-net-equal-levels"}


def vector_architectures():
    for level in LEVELS:
        # Neighbours are found beside the model, and so tested beside it (tests/methods/test_relational.py).
        for pooling in [name for name in LEVELS[level].POOLINGS if name not in NEIGHBOUR_POOLINGS] or [None]:
            for encoder in [LEVEL_ENCODERS[level]] if level in LEVEL_ENCODERS else ["mi-net", "identity"]:
                yield (level, pooling, encoder), (6,)


def own_images():
    return nn.Sequential(nn.Flatten(), nn.Linear(30, 8), nn.LayerNorm(8), nn.GELU())


def frozen_encoder():
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Tanh()).eval().requires_grad_(False)


IMAGES = [
    (("embedding", "gated-attention", "lenet5"), (28, 28)),
    (("instance", "noisy-or", "lenet5"), (28, 28, 1)),
    (("embedding", "attention", "cell-cnn"), (27, 27, 3)),
    (("instance", "log-sum-exp", "cell-cnn"), (32, 32, 3)),
    (("embedding", "max", own_images), (5, 2, 3)),
]
FROZEN = [(("embedding", "attention", frozen_encoder), (6,)), (("instance", "mean", frozen_encoder), (6,))]
VECTORS = list(vector_architectures())
EVERY = VECTORS + FROZEN + IMAGES

label = lambda value: "-".join(getattr(part, "__name__", str(part)) for part in value)  # noqa: E731
every_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)


def every_architecture(cases=EVERY):
    return pytest.mark.parametrize(("parts", "shape"), cases, ids=label)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    with one_thread():
        yield


def build(parts, shape, outputs=1, dtype=torch.float64, dropout=0.0):
    model = Architecture(*parts).build(shape, outputs, seed=0, dtype=dtype, dropout=dropout)
    if not dropout:  # what else is drawn is the same for all models
        model.dropout.generator = torch.Generator().manual_seed(0)
    return model


def draw(sizes, shape, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(sum(sizes), *shape, dtype=torch.float64, generator=generator)
    return values.to(dtype), torch.tensor([0, *np.cumsum(sizes)])


def assert_near(actual, expected, dtype):
    if expected is None:
        assert actual is None
        return
    tolerance = 1e-9 if dtype == torch.float64 else 1e-5
    # A difference of two log-odds is a relative difference of probabilities, so 1 is the least scale.
    scale = max(1, expected.abs().max().item())
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance * scale)


def assert_batch_is_its_bags(model, x, offsets, dtype):
    with torch.no_grad():
        together = model(x, offsets)
        alone = [model(x[a:b], torch.tensor([0, b - a])) for a, b in pairwise(offsets.tolist())]
    assert_near(together.logits, torch.cat([output.logits for output in alone], dim=1), dtype)
    for part in ("weights", "scores", "contributions"):
        pieces = [getattr(output, part) for output in alone]
        assert_near(getattr(together, part), None if pieces[0] is None else torch.cat(pieces), dtype)


@every_architecture()
@every_dtype
@pytest.mark.parametrize("outputs", [1, 3])
def test_a_batch_gives_what_each_bag_alone_gives(parts, shape, dtype, outputs):
    x, offsets = draw((1, 7, 2, 1, 40), shape, dtype)
    assert_batch_is_its_bags(build(parts, shape, outputs, dtype).eval(), x, offsets, dtype)


@every_architecture(VECTORS + IMAGES[:1])
@every_dtype
def test_bags_of_1_to_1000_instances_are_packed_exactly(parts, shape, dtype):
    sizes = (1, 300, 1000, 1) if len(shape) > 1 else (1, 1000, 30, 999, 1, 100)
    x, offsets = draw(sizes, shape, dtype)
    assert_batch_is_its_bags(build(parts, shape, dtype=dtype).eval(), x, offsets, dtype)


@pytest.mark.parametrize("parts", [parts for parts, _ in VECTORS if parts[2] == "identity"], ids=label)
@settings(max_examples=10)
@given(st.lists(st.integers(1, 1000), min_size=1, max_size=5), st.integers(0, 1000))
def test_any_sizes_are_packed_exactly(parts, sizes, seed):
    x, offsets = draw(sizes, (6,), seed=seed)
    assert_batch_is_its_bags(build(parts, (6,)).eval(), x, offsets, torch.float64)


@every_architecture()
@every_dtype
def test_shuffling_the_instances_of_bags_changes_nothing(parts, shape, dtype):
    if parts[0] in LEVELS and LEVELS[parts[0]].LOOKS_AT_ORDER:
        return
    sizes = (1, 9, 30)
    x, offsets = draw(sizes, shape, dtype)
    rng = np.random.default_rng(0)
    order = np.concatenate([a + rng.permutation(b - a) for a, b in pairwise(offsets.tolist())])
    model = build(parts, shape, dtype=dtype).eval()
    with torch.no_grad():
        straight, shuffled = model(x, offsets), model(x[order], offsets)
    assert_near(shuffled.logits, straight.logits, dtype)
    for part in ("weights", "scores", "contributions"):
        before = getattr(straight, part)
        assert_near(getattr(shuffled, part), None if before is None else before[order], dtype)


def mean_loss(model, output, targets, offsets):
    """Ask the model's own loss, where it has one."""
    if model.loss is None:
        return negative_log_likelihood(output.logits, targets).mean()
    told = LossTargets(
        targets.double(), torch.ones(len(targets)), offsets, lambda logits: negative_log_likelihood(logits, targets)
    )
    return model.loss(output, told).mean()


@every_architecture(VECTORS + FROZEN)
def test_the_gradient_of_a_batch_is_the_mean_of_its_bags(parts, shape):
    x, offsets = draw((1, 9, 30), shape)
    targets = torch.tensor([0, 1, 1])
    together, alone = build(parts, shape), build(parts, shape)
    mean_loss(together, together(x, offsets), targets, offsets).backward()
    for bag, (a, b) in enumerate(pairwise(offsets.tolist())):
        own = torch.tensor([0, b - a])
        (mean_loss(alone, alone(x[a:b], own), targets[bag : bag + 1], own) / 3).backward()
    assert_same_gradients(together, alone)


# ---- gradients in chunks ------------------------------------------------------------------------------------


def assert_same_gradients(a, b):
    for (name, p), q in zip(a.named_parameters(), b.parameters(), strict=True):
        assert (p.grad is None) == (q.grad is None), name
        if q.grad is not None:
            torch.testing.assert_close(
                p.grad, q.grad, rtol=1e-9, atol=1e-9 * max(1, q.grad.abs().max().item()), msg=name
            )


def chunked(model, x, offsets, targets, chunk, seed=0):
    def lost(output):
        return mean_loss(model, output, targets, offsets)

    return accumulate_gradient(model, x, offsets, lost, chunk=chunk, seed=seed)


@every_architecture()
@pytest.mark.parametrize("sizes", [(13,), (1, 8, 4)], ids=str)
def test_gradients_in_chunks_are_the_plain_gradients(parts, shape, sizes):
    x, offsets = draw(sizes, shape)
    targets = torch.tensor([1, 0, 2])[: len(sizes)]
    plain = build(parts, shape, outputs=3)
    loss = mean_loss(plain, plain(x, offsets), targets, offsets)
    loss.backward()
    for chunk in (1, 5, 13, 100):
        model = build(parts, shape, outputs=3)
        assert chunked(model, x, offsets, targets, chunk).item() == pytest.approx(loss.item(), rel=1e-9)
        assert_same_gradients(model, plain)


def test_gradients_in_chunks_add_to_what_is_there():
    parts, shape = ("embedding", "attention", "mi-net"), (6,)
    x, offsets = draw((5, 4), shape)
    targets = torch.tensor([0, 1])
    once, twice = build(parts, shape), build(parts, shape)
    chunked(once, x, offsets, targets, chunk=2)
    chunked(twice, x, offsets, targets, chunk=2)
    chunked(twice, x, offsets, targets, chunk=2)
    for p, q in zip(once.parameters(), twice.parameters(), strict=True):
        torch.testing.assert_close(2 * p.grad, q.grad)


@every_architecture([case for case in VECTORS if case[0][2] != "identity"])
def test_dropout_of_the_embedding_is_the_same_in_chunks(parts, shape):
    x, offsets = draw((1, 8, 4), shape)
    targets = torch.tensor([1, 0, 1])
    whole, pieces = build(parts, shape, dropout=0.5), build(parts, shape, dropout=0.5)
    with torch.random.fork_rng(devices=[]):
        losses = [chunked(model, x, offsets, targets, chunk, seed=7) for model, chunk in ((whole, 100), (pieces, 3))]
        other = chunked(build(parts, shape, dropout=0.5), x, offsets, targets, 3, seed=8)
    assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-9)
    assert losses[0] != other
    assert_same_gradients(pieces, whole)


@pytest.mark.parametrize("level", ["embedding", "instance"])
def test_dropout_inside_the_encoder_is_the_same_in_both_passes(level):
    """The gradient is that of the loss which the first pass saw: finite differences of that loss find it again."""

    def encoder():
        return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 5), nn.Tanh())

    x, offsets = draw((1, 8, 4), (6,))
    targets = torch.tensor([1, 0, 1])
    model = build((level, "mean", encoder), (6,), dropout=0.25)
    direction = [
        torch.randn(p.shape, dtype=p.dtype, generator=torch.Generator().manual_seed(1)) for p in model.parameters()
    ]

    def moved(step):
        with torch.no_grad():
            for p, d in zip(model.parameters(), direction, strict=True):
                p += step * d
        loss = chunked(model, x, offsets, targets, chunk=3, seed=5).item()
        with torch.no_grad():
            for p, d in zip(model.parameters(), direction, strict=True):
                p -= step * d
        return loss

    with torch.random.fork_rng(devices=[]):
        chunked(model, x, offsets, targets, chunk=3, seed=5)
        slope = sum((p.grad * d).sum().item() for p, d in zip(model.parameters(), direction, strict=True))
        assert (moved(1e-6) - moved(-1e-6)) / 2e-6 == pytest.approx(slope, rel=1e-6)


def test_chunks_hold_little_memory_of_the_encoder_at_once():
    seen = []

    class Watching(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(6, 3)

        def forward(self, x):
            seen.append((len(x), torch.is_grad_enabled()))
            return self.layer(x)

    model = build(("embedding", "attention", Watching), (6,))
    seen.clear()
    x, offsets = draw((10, 3), (6,))
    chunked(model, x, offsets, torch.tensor([0, 1]), chunk=5)
    assert seen == [(5, False), (5, False), (3, False), (5, True), (5, True), (3, True)]
