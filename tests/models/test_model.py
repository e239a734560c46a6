from itertools import pairwise, product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from bagwise.errors import BagwiseError
from bagwise.models.architecture import LEVELS, Architecture
from bagwise.models.encoders import ENCODERS, MultiLevel
from bagwise.models.pooling import EMBEDDING_POOLINGS, INSTANCE_POOLINGS
from bagwise.models.scaling import Moments, Scaler
from bagwise.targets.likelihood import class_probabilities, errors, negative_log_likelihood
from bagwise.training.device import one_thread

ENCODER = {
    "embedding": "mi-net",
    "instance": "mi-net",
    "deep-supervision": "mi-net-levels",
    "residual": "mi-net-equal-levels",
}
POOLINGS = {level: INSTANCE_POOLINGS if level == "instance" else EMBEDDING_POOLINGS for level in ENCODER}
EVERY = [(level, pooling) for level in ENCODER for pooling in POOLINGS[level]]
OFFSETS = torch.tensor([0, 1, 5, 7])

every_composition = pytest.mark.parametrize(("level", "pooling"), EVERY)
outputs_1_and_3 = pytest.mark.parametrize("outputs", [1, 3])


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    with one_thread():
        yield


def build(level, pooling, outputs=1, seed=0, encoder=None, **options):
    return Architecture(level, pooling, encoder or ENCODER[level]).build(
        (4,), outputs, seed, dtype=torch.float64, **options
    )


def instances(rows=7, seed=0):
    return torch.randn(rows, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def refusal(make, *arguments, **named) -> str:
    with pytest.raises(BagwiseError) as caught:
        make(*arguments, **named)
    text = str(caught.value)
    assert caught.type is BagwiseError
    assert text
    assert "\n" not in text
    return text


# ---- composition --------------------------------------------------------------------------------------------


@every_composition
@outputs_1_and_3
def test_every_level_and_pooling_composes_and_learns(level, pooling, outputs):
    model = build(level, pooling, outputs)
    output = model(instances(), OFFSETS)
    assert output.logits.shape == (3 if level == "deep-supervision" else 1, 3, outputs)
    assert output.logits.dtype == torch.float64
    if level == "embedding" and "attention" in pooling:
        for a, b in pairwise(OFFSETS.tolist()):
            assert ("sum" in pooling) != (output.weights[a:b].sum().item() == pytest.approx(1))
    else:
        assert output.weights is None
    if level == "instance":
        assert output.scores.shape == (7, outputs)
    else:
        assert output.scores is None
    negative_log_likelihood(output.logits, torch.tensor([0, 1, outputs > 1]).long()).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


@every_composition
@outputs_1_and_3
def test_a_model_is_its_parts_one_after_the_other(level, pooling, outputs):
    model = build(level, pooling, outputs).eval()
    x = instances()
    with torch.no_grad():
        levels = []
        h = x
        for layer in model.encoder:
            h = layer(h)
            levels.append(h)
        if level == "embedding":
            expected = [model.head(model.pooling(h, OFFSETS).bags)]
        elif level == "instance":
            expected = [model.pooling(model.head(h), OFFSETS).bags]
        else:
            pooled = [part(h, OFFSETS).bags for part, h in zip(model.poolings, levels, strict=True)]
            if level == "residual":
                expected = [model.head(sum(pooled))]
            else:
                expected = [head(vectors) for head, vectors in zip(model.heads, pooled, strict=True)]
        torch.testing.assert_close(model(x, OFFSETS).logits, torch.stack(expected), rtol=1e-12, atol=1e-12)


@every_composition
def test_dropout_acts_in_training_only(level, pooling):
    model = build(level, pooling, dropout=0.5)
    x = instances(400)
    offsets = torch.tensor([0, 400])
    torch.manual_seed(0)
    assert model.training
    assert not torch.equal(model(x, offsets).logits, model(x, offsets).logits)
    model.eval()
    assert torch.equal(model(x, offsets).logits, model(x, offsets).logits)
    without = build(level, pooling, dropout=0.0).eval()
    assert torch.equal(model(x, offsets).logits, without(x, offsets).logits)


def test_dropout_drops_the_share_it_says_and_keeps_the_mean():
    model = build("embedding", "mean", dropout=0.25)
    ones = torch.ones(1000, 64, dtype=torch.float64)
    torch.manual_seed(0)
    dropped = model.dropout(ones)
    assert (dropped == 0).double().mean().item() == pytest.approx(0.25, abs=0.01)
    assert dropped.mean().item() == pytest.approx(1, abs=0.01)


def test_heads_poolings_and_encoders_of_levels_have_their_own_weights():
    for level in ("deep-supervision", "residual"):
        model = build(level, "attention")
        pointers = [parameter.data_ptr() for parameter in model.parameters()]
        assert len(set(pointers)) == len(pointers)
        assert [part.width for part in model.poolings] == list(model.encoder.widths)


@pytest.mark.parametrize("level", ENCODER)
def test_the_same_seed_gives_the_same_model(level):
    pooling = "noisy-and" if level == "instance" else "gated-attention"
    first, again, other = (build(level, pooling, seed=seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_a_state_survives_saving():
    model = build("embedding", "gated-attention", scaling=(np.arange(4.0), np.ones(4) * 2))
    other = build("embedding", "gated-attention", seed=9, scaling=(np.zeros(4), np.ones(4)))
    other.load_state_dict(model.state_dict())
    assert torch.equal(model(instances(), OFFSETS).logits, other(instances(), OFFSETS).logits)


def test_options_reach_the_pooling():
    model = Architecture("embedding", "attention", "mi-net", {"hidden": 7}).build((4,), 1, 0)
    assert model.pooling.V.weight.shape == (7, 64)
    model = Architecture("instance", "noisy-and", "mi-net", {"slope": 3.0}).build((4,), 2, 0)
    assert model.pooling.slope == 3.0
    assert model.pooling.width == 2


@pytest.mark.parametrize("level", ["deep-supervision", "residual"])
def test_a_users_own_multi_level_encoder_composes(level):
    encoder = lambda: MultiLevel((4,), (6, 6))  # noqa: E731
    heads = 2 if level == "deep-supervision" else 1
    assert build(level, "max", encoder=encoder)(instances(), OFFSETS).logits.shape == (heads, 3, 1)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("bag", "max", "mi-net"), "'bag'"),
        (("embedding", "noisy-or", "mi-net"), "'noisy-or'"),
        (("instance", "attention", "mi-net"), "'attention'"),
        (("instance", "Max", "mi-net"), "'Max'"),
        (("residual", "isr", "mi-net"), "'isr'"),
    ],
)
def test_names_that_do_not_exist_are_answered_with_those_that_do(arguments, word):
    text = refusal(Architecture, *arguments)
    assert word in text
    known = LEVELS if arguments[0] not in LEVELS else POOLINGS[arguments[0]]
    assert all(name in text for name in known)


def test_levels_that_do_not_fit_the_encoder_are_refused():
    assert "MultiLevel" in refusal(build, "deep-supervision", "max", encoder="mi-net")
    assert "MultiLevel" in refusal(build, "residual", "max", encoder=nn.Linear(4, 3))
    assert "(256, 128, 64)" in refusal(build, "residual", "max", encoder="mi-net-levels")


# ---- likelihood ---------------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.integers(0, 1000))
def test_the_likelihood_is_the_plain_formula(heads, bags, outputs, seed):
    rng = np.random.default_rng(seed)
    outputs = 1 if outputs == 2 else outputs
    classes = max(2, outputs)
    logits = 4 * rng.normal(size=(heads, bags, outputs))
    targets = rng.integers(0, classes, size=bags)
    loss = np.zeros(bags)
    probabilities = np.zeros((bags, classes))
    for head, bag in product(range(heads), range(bags)):
        row = logits[head, bag]
        p = np.exp(row) / np.exp(row).sum() if outputs > 1 else np.array([1, np.exp(row[0])]) / (1 + np.exp(row[0]))
        loss[bag] -= np.log(p[targets[bag]])
        probabilities[bag] += p / heads
    tensors = torch.from_numpy(logits), torch.from_numpy(targets)
    np.testing.assert_allclose(negative_log_likelihood(*tensors), loss, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(class_probabilities(tensors[0]), probabilities, rtol=1e-10, atol=1e-14)
    assert errors(*tensors).tolist() == (probabilities.argmax(1) != targets).tolist()


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_probabilities_sum_to_one_even_where_they_are_certain(outputs, dtype):
    logits = torch.tensor([[-1e4], [-40.0], [-1.0], [0.0], [1e-9], [50.0], [1e4]], dtype=dtype)
    rows = torch.cat([logits, -logits, logits * 0.3], dim=1)[:, :outputs][None].repeat(2, 1, 1)
    probabilities = class_probabilities(rows)
    assert (probabilities >= 0).all()
    torch.testing.assert_close(probabilities.sum(1), torch.ones(7, dtype=dtype))


def test_a_small_probability_keeps_its_digits():
    probabilities = class_probabilities(torch.tensor([[[50.0]], [[50.0]]], dtype=torch.float64))
    assert probabilities[0, 0].item() == pytest.approx(np.exp(-50), rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("outputs", [1, 3])
def test_the_loss_of_a_certain_mistake_is_finite_and_so_is_its_gradient(dtype, outputs):
    logits = torch.tensor([1e4, -1e4, 0.0], dtype=dtype)[:outputs].expand(2, 2, outputs).clone().requires_grad_()
    loss = negative_log_likelihood(logits, torch.tensor([0, 1]))
    loss.sum().backward()
    assert loss.isfinite().all()
    assert loss.max() >= 1e4
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("outputs", [1, 3])
def test_the_gradient_of_the_loss_is_right(outputs):
    logits = torch.randn(2, 3, outputs, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: negative_log_likelihood(x, torch.tensor([0, 1, 1])), (logits,))


# ---- scaling ------------------------------------------------------------------------------------------------


def moments_of(arrays):
    return Moments(np.concatenate(arrays), np.cumsum([0, *(len(a) for a in arrays)]))


@settings(max_examples=40)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.data())
def test_standardisation_is_numpys_on_the_chosen_bags(sizes, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    arrays = [rng.normal(5, [1, 100, 1e-3], size=(size, 3)) for size in sizes]
    chosen = np.array(data.draw(st.lists(st.integers(0, len(sizes) - 1), min_size=1, max_size=6, unique=True)))
    together = np.concatenate([arrays[bag] for bag in chosen])
    shift, factor = moments_of(arrays).standardisation(chosen)
    np.testing.assert_allclose(shift, together.mean(axis=0), rtol=1e-12)
    spread = together.std(axis=0)
    np.testing.assert_allclose(factor, np.where(len(together) > 1, 1 / np.where(spread > 0, spread, 1), 1), rtol=1e-8)


def test_standardised_instances_have_mean_zero_and_spread_one():
    rng = np.random.default_rng(0)
    arrays = [rng.normal(3, 7, size=(size, 2)) for size in (5, 1, 30)]
    scaler = Scaler(*moments_of(arrays).standardisation(np.arange(3)), torch.float64)
    scaled = scaler(torch.from_numpy(np.concatenate(arrays)))
    torch.testing.assert_close(scaled.mean(0), torch.zeros(2, dtype=torch.float64))
    torch.testing.assert_close(scaled.std(0, correction=0), torch.ones(2, dtype=torch.float64))


@pytest.mark.parametrize("constant", [0.0, 1.0, -3.0, 0.1, 1e-3, 1 / 3, 1.6e9, 1e15 + 0.3, 1e-300, 1e150])
@pytest.mark.parametrize(
    "sizes", [(1,), (3, 4, 1), (1000, 2000), (1,) * 500], ids=lambda sizes: f"{len(sizes)} of {sizes[0]}"
)
def test_a_constant_feature_is_only_shifted(constant, sizes):
    arrays = [np.full((size, 1), constant) for size in sizes]
    shift, factor = moments_of(arrays).standardisation(np.arange(len(sizes)))
    assert factor.tolist() == [1]
    assert shift[0] == pytest.approx(constant, rel=1e-12, abs=0)


def test_a_constant_beside_varying_features_is_only_shifted():
    values = np.random.default_rng(0).normal(size=(50, 3))
    values[:, 1] = 0.1
    factor = moments_of([values[:20], values[20:]]).standardisation(np.arange(2))[1]
    assert factor[1] == 1
    np.testing.assert_allclose(factor[[0, 2]], 1 / values.std(axis=0)[[0, 2]])


@pytest.mark.parametrize(
    ("offset", "spread", "rows"),
    [(1.6e9, 1.0, 100), (1.6e9, 0.01, 100), (1.6e12, 1.0, 1000), (1e6, 1e-4, 10), (0.0, 1e-12, 100), (0.0, 1e12, 100)],
)
def test_a_feature_that_varies_is_scaled_however_large_its_offset(offset, spread, rows):
    values = offset + spread * np.random.default_rng(0).normal(size=(rows, 1))
    half = rows // 2
    factor = moments_of([values[:half], values[half:]]).standardisation(np.arange(2))[1]
    expected = 1 / (values - values[0]).std()
    assert factor[0] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("mean", "spread"), [(1.6e9, 2.0), (1.6e12, 100.0), (1e6, 0.01)])
def test_a_feature_of_many_instances_that_varies_is_scaled(mean, spread):
    values = mean + spread * np.resize([-1.0, 1.0], (10**6, 1))
    factor = Moments(values, np.array([0, 10**6])).standardisation(np.array([0]))[1]
    assert factor[0] == pytest.approx(1 / spread, rel=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int64, np.uint8, bool])
def test_moments_take_instances_of_any_type(dtype):
    values = np.array([[0, 1], [1, 1], [1, 0], [0, 1]]).astype(dtype)
    shift, factor = Moments(values, np.array([0, 1, 4])).standardisation(np.array([0, 1]))
    np.testing.assert_allclose(shift, [0.5, 0.75])
    np.testing.assert_allclose(factor, 1 / values.astype(float).std(axis=0))


def test_moments_of_small_whole_numbers_do_not_overflow():
    values = np.full((300, 1), 255, np.uint8)
    values[0] = 0
    assert Moments(values, np.array([0, 300])).standardisation(np.array([0]))[0][0] == pytest.approx(values.mean())


STAMPS = np.array([[1_600_000_000], [1_600_000_001], [1_600_000_002], [1_599_999_998]])


@pytest.mark.parametrize("kind", [np.float64, np.int64, np.int32])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_time_stamps_keep_their_differences(kind, dtype):
    values = STAMPS.astype(kind)
    scaler = Scaler(*Moments(values, np.array([0, 4])).standardisation(np.array([0])), dtype)
    scaled = scaler(torch.from_numpy(values))
    assert scaled.dtype == dtype
    expected = (STAMPS - STAMPS.mean()) / STAMPS.std()
    np.testing.assert_allclose(scaled.numpy(), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "kind", [torch.float16, torch.float32, torch.float64, torch.int64, torch.uint8, torch.bool], ids=str
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_every_type_of_instance_becomes_the_models(kind, dtype):
    values = torch.tensor([[0, 1], [1, 0], [1, 1]]).to(kind)
    before = values.clone()
    scaled = Scaler(np.array([0.5, 1.0]), np.array([2.0, 3.0]), dtype)(values)
    assert scaled.dtype == dtype
    assert scaled.tolist() == [[-1, 0], [1, -3], [1, 0]]
    assert torch.equal(values, before)


def test_pixels_are_scaled_whatever_their_shape():
    images = torch.tensor([[[0, 255], [51, 102]]], dtype=torch.uint8)
    scaled = Scaler(np.zeros(1), np.array([1 / 255]), torch.float32)(images)
    torch.testing.assert_close(scaled, torch.tensor([[[0.0, 1.0], [0.2, 0.4]]]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_built_model_scales_before_it_encodes_and_keeps_its_shift_in_double(dtype):
    scaling = (np.full(4, 1.6e9), np.full(4, 0.5))
    model = Architecture("embedding", "mean", "identity").build((4,), 1, 0, dtype=dtype, scaling=scaling)
    x = 1.6e9 + instances()
    torch.testing.assert_close(model.encode(x), ((x - 1.6e9) / 2).to(dtype), rtol=1e-6, atol=1e-6)
    assert model.scaler.shift.dtype == torch.float64
    assert "scaler.shift" in model.state_dict()
    assert not any("scaler" in name for name, _ in model.named_parameters())


@pytest.mark.parametrize("encoder", ENCODERS)
def test_what_shapes_a_model_would_have_is_said_without_making_it(encoder):
    level = {"mi-net-levels": "deep-supervision", "mi-net-equal-levels": "residual"}.get(encoder, "embedding")
    shape = {"lenet5": (28, 28), "cell-cnn": (27, 27, 3)}.get(encoder, (4,))
    described = Architecture(level, "max", encoder)
    parameters = described.build(shape, outputs=1, seed=0).named_parameters()
    assert described.shapes(shape, outputs=1) == {name: tuple(parameter.shape) for name, parameter in parameters}
