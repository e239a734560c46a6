from collections import Counter

import numpy as np
import pytest

import bagwise as bw
from bagwise.methods.recipes import Facts
from bagwise.targets.registry import TARGETS
from bagwise.training.cost import default_shapes, epoch_seconds


@pytest.mark.parametrize("size", [1, 101])
@pytest.mark.parametrize("shape", [(5,), (1024,), (27, 27, 3), (32, 32, 3), (64, 40, 3)])
def test_the_default_method_has_the_weights_that_are_reckoned_with(shape, size):
    bags = bw.Bags(np.zeros((2 * size, *shape), np.uint8 if len(shape) > 1 else float), [0, size, 2 * size], [0, 1])
    model = bw.AttentionMIL()
    recipe = model._recipe(Facts(shape, median_size=size))
    plan = model._plan(bags, TARGETS["classes"].of(np.array([0, 1])), 0, recipe)
    shapes = plan.architecture.shapes(shape, 1).values()
    assert recipe.encoder in ("mi-net", "wide", "cell-cnn")
    assert Counter(default_shapes(shape, bags.sizes)) == Counter(shape for shape in shapes if len(shape) > 1)


@pytest.mark.parametrize("shape", [(5,), (32, 32, 3)])
def test_more_takes_longer(shape):
    shapes = default_shapes(shape)
    few = epoch_seconds(shapes, shape, [4] * 10)
    assert epoch_seconds(shapes, shape, [4] * 20) == pytest.approx(2 * few)
    assert epoch_seconds(shapes, shape, [8] * 10) > few
    assert epoch_seconds([(2 * rows, *rest) for rows, *rest in shapes], shape, [4] * 10) > few
    assert epoch_seconds(shapes, shape, [4] * 10, compiled=False) >= few
