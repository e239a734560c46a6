import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from bagwise.errors import BagwiseError
from bagwise.models.architecture import Architecture
from bagwise.models.encoders import ENCODERS, CellCNN, ChannelsFirst, FullyConnected, LeNet5, MultiLevel, build_encoder
from bagwise.models.pooling import EMBEDDING_POOLINGS
from bagwise.training.device import one_thread

SHAPES_AND_WIDTHS = {
    "identity": {(1,): 1, (7,): 7},
    "mi-net": {(1,): 64, (166,): 64},
    "wide": {(1,): 256, (512,): 256},
    "mi-net-levels": {(7,): 256 + 128 + 64},
    "mi-net-equal-levels": {(7,): 3 * 128},
    "lenet5": {(28, 28): 500, (28, 28, 1): 500},
    "cell-cnn": {(27, 27, 3): 512, (32, 32, 3): 512, (11, 11, 3): 512, (27, 40, 3): 512},
}
EVERY = [(name, shape) for name, shapes in SHAPES_AND_WIDTHS.items() for shape in shapes]


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    with one_thread():
        yield


def refusal(make, *arguments, **named) -> str:
    with pytest.raises(BagwiseError) as caught:
        make(*arguments, **named)
    text = str(caught.value)
    assert caught.type is BagwiseError
    assert text
    assert "\n" not in text
    return text


def build(encoder, shape=(3,), seed=0, **options):
    return Architecture("embedding", "attention", encoder).build(shape, outputs=1, seed=seed, **options)


# ---- Bagwise's own ------------------------------------------------------------------------------------------


def test_every_encoder_of_the_registry_is_tested_here():
    assert set(SHAPES_AND_WIDTHS) == set(ENCODERS)


@pytest.mark.parametrize(("name", "shape"), EVERY)
@pytest.mark.parametrize("count", [1, 4])
def test_encoders_give_one_row_an_instance(name, shape, count):
    encoder = build_encoder(name, shape, dropout=0.5)
    assert encoder(torch.rand(count, *shape)).shape == (count, SHAPES_AND_WIDTHS[name][shape])


@pytest.mark.parametrize(("name", "shape"), EVERY)
def test_an_instance_does_not_depend_on_its_company(name, shape):
    encoder = build_encoder(name, shape, dropout=0.5).double().eval()
    images = torch.rand(5, *shape, dtype=torch.float64)
    alone = torch.cat([encoder(image[None]) for image in images])
    torch.testing.assert_close(encoder(images), alone, rtol=1e-11, atol=1e-12)


def assert_glorot(weight):
    receptive = math.prod(weight.shape[2:])
    bound = math.sqrt(6 / ((weight.shape[0] + weight.shape[1]) * receptive))
    assert weight.abs().max() <= bound
    if weight.numel() > 2000:
        assert weight.abs().max() > 0.98 * bound
        assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)
        assert abs(weight.mean().item()) < 0.1 * bound


@pytest.mark.parametrize(("name", "shape"), [(name, shape) for name, shape in EVERY if name != "wide"])
@pytest.mark.parametrize("pooling", ["max", "attention", "gated-attention"])
def test_all_layers_start_as_glorot_says_with_biases_of_zero(name, shape, pooling):
    model = Architecture("embedding", pooling, name).build(shape, outputs=3, seed=1)
    layers = [module for module in model.modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    assert len(layers) >= 1 + len(list(model.pooling.parameters()))
    for layer in layers:
        assert_glorot(layer.weight.detach())
        assert layer.bias is None or (layer.bias == 0).all()


def test_all_layers_beside_the_wide_one_start_as_torch_has_them():
    model = Architecture("embedding", "gated-attention", "wide", {"hidden": 128}).build((512,), outputs=3, seed=1)
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    assert len(layers) == 5
    for layer in layers:
        bound = layer.in_features**-0.5
        assert 0.9 * bound < layer.weight.abs().max() <= bound
        assert layer.bias is None or (layer.bias != 0).any()


def test_the_fully_connected_stack_is_the_one_of_mi_net():
    encoder = build_encoder("mi-net", (10,), dropout=0.0).double()
    x = np.random.default_rng(0).normal(size=(4, 10))
    expected = x
    sizes = []
    for layer in encoder.modules():
        if isinstance(layer, nn.Linear):
            sizes.append((layer.in_features, layer.out_features))
            expected = np.maximum(expected @ layer.weight.detach().numpy().T + layer.bias.detach().numpy(), 0)
    assert sizes == [(10, 256), (256, 128), (128, 64)]
    np.testing.assert_allclose(encoder(torch.from_numpy(x)).detach(), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("widths", [(5,), (4, 3), (2, 2, 2)])
def test_multi_level_gives_every_layer_side_by_side(widths):
    levels = MultiLevel((6,), widths).double()
    plain = FullyConnected((6,), widths).double()
    plain.load_state_dict(levels.state_dict())
    x = torch.randn(3, 6, dtype=torch.float64)
    parts = levels(x).split(list(widths), dim=1)
    for layer, part in zip(plain, parts, strict=True):
        x = layer(x)
        assert torch.equal(part, x)


def layers_of(encoder):
    return [
        (type(layer).__name__, tuple(layer.weight.shape) if hasattr(layer, "weight") else None)
        for layer in encoder
        if not isinstance(layer, ChannelsFirst | nn.Flatten)
    ]


def test_lenet5_has_the_layers_of_the_paper():
    relu = ("ReLU", None)
    assert layers_of(LeNet5((28, 28))) == [
        ("ConvMaxReLU", (20, 1, 5, 5)), ("ConvMaxReLU", (50, 20, 5, 5)), ("Linear", (500, 800)), relu,
    ]  # fmt: skip


def test_maximum_and_relu_may_change_places():
    relu, pool = nn.ReLU(), nn.MaxPool2d(2)
    images = torch.randn(4, 3, 7, 7, requires_grad=True)
    weights = torch.randn(4, 3, 3, 3)
    one, other = pool(relu(images)), relu(pool(images))
    assert torch.equal(one, other)
    gradients = [torch.autograd.grad((values * weights).sum(), images)[0] for values in (one, other)]
    assert torch.equal(*gradients)


@pytest.mark.parametrize(("side", "flat"), [(27, 48 * 5 * 5), (32, 48 * 6 * 6)])
def test_cell_cnn_has_the_layers_of_the_paper(side, flat):
    relu, drop = ("ReLU", None), ("Dropout", None)
    encoder = CellCNN((side, side, 3), dropout=0.25)
    assert layers_of(encoder) == [
        ("ConvMaxReLU", (36, 3, 4, 4)), ("ConvMaxReLU", (48, 36, 3, 3)),
        ("Linear", (512, flat)), relu, drop, ("Linear", (512, 512)), relu,
    ]  # fmt: skip
    assert [layer.p for layer in encoder if isinstance(layer, nn.Dropout)] == [0.25]


@pytest.mark.parametrize(("shape", "channels"), [((4, 5), 1), ((4, 5, 1), 1), ((4, 5, 3), 3)])
def test_channels_first_moves_channels_and_no_pixel(shape, channels):
    images = torch.arange(2 * math.prod(shape)).reshape(2, *shape)
    result = ChannelsFirst(channels)(images)
    assert result.shape == (2, channels, 4, 5)
    for n, y, x, c in [(0, 0, 0, 0), (1, 3, 4, channels - 1), (1, 2, 0, 0)]:
        assert result[n, c, y, x] == images.reshape(2, 4, 5, channels)[n, y, x, c]
    assert result.data_ptr() == images.data_ptr()


# ---- seeds --------------------------------------------------------------------------------------------------


def state_of(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def same_bits(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def own_module():
    return nn.Sequential(nn.Linear(3, 5), nn.Dropout(0.5), nn.Linear(5, 4))


@pytest.mark.parametrize("encoder", ["mi-net", "lenet5", "cell-cnn", own_module])
def test_the_same_seed_gives_the_same_bits_whatever_was_drawn_before(encoder):
    shape = {"lenet5": (28, 28), "cell-cnn": (27, 27, 3)}.get(encoder, (3,))
    first = state_of(build(encoder, shape, seed=5))
    torch.randn(17)
    assert same_bits(first, state_of(build(encoder, shape, seed=5)))
    assert not same_bits(first, state_of(build(encoder, shape, seed=6)))


@pytest.mark.parametrize("seed", [0, 2**31, 2**63 - 1])
def test_building_leaves_the_global_random_numbers_alone(seed):
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    build("mi-net", seed=seed)
    build(own_module, seed=seed)
    assert torch.equal(torch.get_rng_state(), before)
    assert (np.random.get_state()[1] == numpy_before).all()


def test_a_build_that_fails_leaves_the_global_random_numbers_alone():
    unfit = nn.Linear(4, 2)
    before = torch.get_rng_state()
    refusal(build, "lenet5", (3,))
    refusal(build, unfit)
    assert torch.equal(torch.get_rng_state(), before)


def test_float64_weights_are_the_float32_weights():
    single, double = build("mi-net"), build("mi-net", dtype=torch.float64)
    for a, b in zip(single.parameters(), double.parameters(), strict=True):
        assert b.dtype == torch.float64
        assert torch.equal(a.double(), b)


# ---- a user's own -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_users_module_is_copied_and_every_model_starts_from_its_weights(dtype):
    mine = own_module()
    before = state_of(mine)
    first, second = (build(mine, seed=seed, dtype=dtype) for seed in (0, 1))
    pointers = [{p.data_ptr() for p in module.parameters()} for module in (mine, first.encoder, second.encoder)]
    assert not pointers[0] & pointers[1]
    assert not pointers[1] & pointers[2]
    for model in (first, second):
        assert all(torch.equal(value.float(), before[name]) for name, value in model.encoder.state_dict().items())
    with torch.no_grad():
        for parameter in first.encoder.parameters():
            parameter.add_(1)
    assert same_bits(state_of(mine), before)
    assert all(torch.equal(value.float(), before[name]) for name, value in second.encoder.state_dict().items())
    assert next(mine.parameters()).dtype == torch.float32


def test_a_factory_makes_a_module_of_its_own_for_every_model():
    made = []

    def factory():
        made.append(own_module())
        return made[-1]

    models = [build(factory, seed=seed) for seed in (0, 1)]
    assert len({id(model.encoder) for model in models}) == 2
    assert not torch.equal(models[0].encoder[0].weight, models[1].encoder[0].weight)


def test_a_class_is_a_factory():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 2)

        def forward(self, x):
            return self.layer(x)

    assert isinstance(build(Own).encoder, Own)


def test_a_users_layers_keep_their_own_initial_weights():
    mine = nn.Linear(3, 4)
    nn.init.constant_(mine.weight, 0.5)
    nn.init.constant_(mine.bias, 0.25)
    model = build(mine)
    assert (model.encoder.weight == 0.5).all()
    assert (model.encoder.bias == 0.25).all()


@pytest.mark.parametrize("pooling", EMBEDDING_POOLINGS)
def test_a_users_module_works_with_every_pooling_and_shape(pooling):
    mine = nn.Sequential(nn.Flatten(), nn.Linear(12, 5))
    model = Architecture("embedding", pooling, mine).build((2, 3, 2), outputs=1, seed=0)
    assert model(torch.rand(5, 2, 3, 2), torch.tensor([0, 2, 5])).logits.shape == (1, 2, 1)


def test_lazy_layers_learn_their_width_from_the_instances():
    mine = nn.Sequential(nn.Flatten(), nn.LazyLinear(4))
    assert build(mine, (3, 2)).encoder[1].in_features == 6


def test_frozen_layers_stay_frozen():
    mine = own_module()
    mine[0].requires_grad_(False)
    model = build(mine)
    assert [p.requires_grad for p in model.encoder.parameters()] == [False, False, True, True]


# ---- BatchNorm ----------------------------------------------------------------------------------------------


def with_batch_norm():
    module = nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.BatchNorm1d(4), nn.ReLU()), nn.Dropout(0.5))
    module[1][0].running_mean += 2
    return module


def test_batch_norm_in_training_mode_is_refused_by_name():
    assert "holds a BatchNorm in training mode or without statistics of its own, '1.0'" in refusal(
        build, with_batch_norm()
    )
    assert "holds a BatchNorm in training mode or without statistics of its own, '1.0'" in refusal(
        build, with_batch_norm
    )
    module = with_batch_norm().eval()
    module[1].train()
    assert "holds a BatchNorm in training mode or without statistics of its own, '1.0'" in refusal(build, module)


@pytest.mark.parametrize("layer", [nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm])
def test_every_kind_of_batch_norm_is_refused(layer):
    assert "BatchNorm" in refusal(build, lambda: nn.Sequential(layer(3)))


def test_batch_norm_that_keeps_no_statistics_is_refused_even_when_frozen():
    """It takes the statistics of the batch in prediction mode too, so it ties instances together."""
    assert "BatchNorm" in refusal(build, nn.Sequential(nn.BatchNorm1d(3, track_running_stats=False)).eval())


def test_frozen_batch_norm_stays_frozen_in_training():
    model = build(with_batch_norm().eval())
    norm = model.encoder[1][0]
    statistics = {name: value.clone() for name, value in norm.named_buffers()}
    for mode in (True, False, True):
        assert model.train(mode) is model
        assert not norm.training
        assert model.encoder[2].training is mode
        assert model.dropout.training is mode
        model(torch.randn(5, 3), torch.tensor([0, 2, 5]))
    assert all(torch.equal(value, statistics[name]) for name, value in norm.named_buffers())


def test_frozen_batch_norm_treats_each_instance_alone():
    model = build(with_batch_norm().eval()).train()
    model.encoder[2].p = 0.0
    x = torch.randn(5, 3)
    torch.testing.assert_close(model.encode(x), torch.cat([model.encode(row[None]) for row in x]))


@pytest.mark.parametrize("norm", [nn.GroupNorm(2, 4), nn.LayerNorm(4)])
def test_other_normalisations_are_welcome(norm):
    build(nn.Sequential(nn.Linear(3, 4), norm))


# ---- what does not fit --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("identity", (2, 3)),
        ("identity", (28, 28)),
        ("mi-net", (28, 28)),
        ("mi-net", (27, 27, 3)),
        ("mi-net-levels", (2, 2)),
        ("mi-net-equal-levels", (2, 2)),
        ("lenet5", (10,)),
        ("lenet5", (27, 28)),
        ("lenet5", (28, 28, 3)),
        ("lenet5", (1, 28, 28)),
        ("cell-cnn", (10,)),
        ("cell-cnn", (27, 27)),
        ("cell-cnn", (3, 27, 27)),
        ("cell-cnn", (27, 27, 4)),
        ("cell-cnn", (10, 27, 3)),
    ],
)
def test_instances_of_the_wrong_shape_are_refused_with_their_shape(name, shape):
    assert str(shape) in refusal(build, name, shape)


def test_an_unknown_encoder_is_answered_with_the_known_ones():
    text = refusal(build, "resnet")
    assert "'resnet'" in text
    assert all(name in text for name in ENCODERS)


class Fails(nn.Module):
    def __init__(self, error):
        super().__init__()
        self.error = error

    def forward(self, _):
        raise self.error


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("two\nlines"),
        ValueError("wrong"),
        ValueError(),
        AssertionError(),
        AssertionError("needs 224 pixels"),
        AttributeError("no such thing"),
        KeyError("pixels"),
        NotImplementedError(),
    ],
    ids=repr,
)
def test_an_encoder_that_fails_is_said_with_the_shape(error):
    text = refusal(build, Fails(error))
    assert "encoder" in text
    assert "(3,)" in text


@pytest.mark.parametrize(
    ("encoder", "word"),
    [
        (nn.Linear(4, 2), "(3,)"),
        (nn.Conv2d(1, 2, 3), "(3,)"),
        (nn.Flatten(0), "(6,)"),
        (nn.Unflatten(1, (3, 1)), "(2, 3, 1)"),
        (nn.LSTM(3, 4), "one row"),
        (lambda: 3, "int"),
        (lambda: None, "NoneType"),
        (5, "int"),
        (None, "NoneType"),
    ],
    ids=lambda value: getattr(type(value), "__name__", None),
)
def test_what_is_no_encoder_is_refused(encoder, word):
    assert word in refusal(build, encoder)


def test_trying_an_encoder_out_leaves_its_modes_as_they_were():
    mine = own_module()
    mine[1].eval()
    encoder = build_encoder(mine, (3,), dropout=0.0)
    assert [module.training for module in encoder] == [True, False, True]
    assert [module.training for module in mine] == [True, False, True]


@pytest.mark.parametrize(("name", "shape"), [("lenet5", (28, 28)), ("lenet5", (28, 28, 1)), ("cell-cnn", (27, 27, 3))])
def test_the_layout_in_memory_changes_speed_and_not_the_numbers(name, shape):
    torch.manual_seed(0)
    encoder = build_encoder(name, shape, dropout=0.0).double()
    images = torch.rand(4, *shape, dtype=torch.float64)
    first = next(module for module in encoder if isinstance(module, torch.nn.Conv2d))
    assert first(encoder[0](images)).is_contiguous(memory_format=torch.channels_last)
    plain = copy.deepcopy(encoder)
    for module in plain:
        if isinstance(module, torch.nn.Conv2d):
            module.weight.data = module.weight.data.contiguous()
    planes = encoder[0](images).contiguous()
    expected = torch.nn.Sequential(*list(plain)[1:])(planes)
    torch.testing.assert_close(encoder(images), expected, rtol=1e-12, atol=1e-12)
