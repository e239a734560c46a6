import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import conv2d, max_pool2d

from bagwise.models.convolution import ConvMaxReLU
from bagwise.models.convolution_loops import maxima
from bagwise.models.encoders import CellCNN, LeNet5


def plain(layer, images):
    return torch.relu(max_pool2d(conv2d(images, layer.weight, layer.bias), 2))


def gradients(layer, images, ours, given):
    images = images.clone().requires_grad_()
    layer.zero_grad()
    outputs = layer(images) if ours else plain(layer, images)
    outputs.backward(given)
    return [outputs.detach(), images.grad, layer.weight.grad, layer.bias.grad]


@st.composite
def cases(draw):
    side = draw(st.integers(1, 5))
    height, width = draw(st.integers(side + 1, 13)), draw(st.integers(side + 1, 13))
    shape = draw(st.integers(1, 3)), draw(st.integers(1, 7)), height, width
    return shape, draw(st.integers(1, 9)), side, draw(st.booleans()), draw(st.integers(0, 999))


@settings(max_examples=80)
@given(cases())
def test_gradients_are_those_of_torch(case):
    shape, outputs, side, few_values, seed = case
    generator = torch.Generator().manual_seed(seed)
    layer = ConvMaxReLU(shape[1], outputs, side).double()
    images = torch.randn(shape, generator=generator, dtype=torch.float64)
    if few_values:  # so that several of four outputs are the highest
        images, layer.weight.data = images.sign(), layer.weight.data.sign()
    given = torch.randn(plain(layer, images).shape, generator=generator, dtype=torch.float64)
    ours, theirs = (gradients(layer, images, which, given) for which in (True, False))
    for one, other in zip(ours, theirs, strict=True):
        assert one.shape == other.shape
        torch.testing.assert_close(one, other, rtol=0, atol=1e-11)


@settings(max_examples=50)
@given(st.integers(2, 7), st.integers(2, 7), st.sampled_from([np.float32, np.float64]), st.data())
def test_the_highest_of_four_is_the_one_that_torch_takes(height, width, precision, data):
    numbers = st.sampled_from([-1.0, -0.0, 0.0, 0.5, 2.0, np.inf, -np.inf, np.nan])
    drawn = data.draw(st.lists(numbers, min_size=3 * height * width, max_size=3 * height * width))
    y = np.array(drawn, precision).reshape(1, height, width, 3)
    reached = np.empty((1, height // 2, width // 2, 3), precision)
    corners = np.empty(reached.shape, np.uint8)
    maxima(y, reached, corners)
    highest, places = max_pool2d(torch.from_numpy(y).permute(0, 3, 1, 2), 2, return_indices=True)
    np.testing.assert_array_equal(reached, torch.relu(highest).permute(0, 2, 3, 1).numpy())
    lines, columns = np.divmod(places.permute(0, 2, 3, 1).numpy(), width)
    np.testing.assert_array_equal(corners, 2 * (lines % 2) + columns % 2)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_the_layout_of_the_images_changes_nothing(memory_format):
    layer = ConvMaxReLU(4, 6, 3).double()
    images = torch.randn(2, 4, 9, 8, dtype=torch.float64).contiguous(memory_format=memory_format)
    given = torch.randn(2, 6, 3, 3, dtype=torch.float64)
    ours, theirs = (gradients(layer, images, which, given) for which in (True, False))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_in_single_precision_the_gradient_is_as_near_the_exact_one_as_that_of_torch():
    torch.manual_seed(0)
    layer = ConvMaxReLU(20, 50, 5)
    images, given = torch.rand(30, 20, 12, 12), torch.randn(30, 50, 4, 4)
    ours, theirs = (gradients(layer, images, which, given) for which in (True, False))
    exact = gradients(layer.double(), images.double(), False, given.double())
    for one, other, true in zip(ours[1:], theirs[1:], exact[1:], strict=True):
        assert (one - true).abs().max() <= 4 * (other - true).abs().max() + 1e-6


@pytest.mark.parametrize(("network", "shape"), [(LeNet5, (28, 28)), (CellCNN, (27, 27, 3)), (CellCNN, (32, 32, 3))])
def test_networks_learn_as_they_would_from_layers_of_torch(network, shape):
    ours = network(shape).double().eval()
    layers = []
    for layer in ours:
        conv = isinstance(layer, ConvMaxReLU)
        layers += [nn.Conv2d(layer.in_channels, layer.out_channels, layer.kernel_size)] if conv else [layer]
        if conv:
            layers[-1].weight, layers[-1].bias = layer.weight, layer.bias
            layers += [nn.MaxPool2d(2), nn.ReLU()]
    images = torch.rand(5, *shape, dtype=torch.float64)
    found = []
    for model in (ours, nn.Sequential(*layers)):
        model.zero_grad()
        model(images).square().sum().backward()
        found.append([parameter.grad.clone() for parameter in ours.parameters()])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)


def test_predictions_and_learning_see_the_same_outputs():
    layer, images = ConvMaxReLU(3, 5, 4), torch.rand(4, 3, 11, 12)
    with torch.no_grad():
        predicted = layer(images)
    assert torch.equal(predicted, layer(images).detach())


def test_what_is_frozen_gets_no_gradient_and_passes_it_on():
    layer = ConvMaxReLU(2, 3, 3).double().requires_grad_(False)
    images = torch.randn(2, 2, 7, 7, dtype=torch.float64, requires_grad=True)
    layer(images).sum().backward()
    passed = images.grad.clone()
    images.grad = None
    plain(layer, images).sum().backward()
    assert layer.weight.grad is None
    assert torch.equal(passed, images.grad)


def test_what_is_no_number_stays_no_number():
    layer = ConvMaxReLU(1, 2, 3)
    layer(torch.full((1, 1, 6, 6), np.nan)).sum().backward()
    assert layer.weight.grad.isnan().all()
