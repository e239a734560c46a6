"""Tiles: every sum has bits of its own, whatever shape it is computed in."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bagwise.compiled import compiled_once
from bagwise.training import kernels, tiles

sizes = st.integers(1, 20)
widths = st.integers(1, 140)
kinds = st.sampled_from([np.float32, np.float64])
TOLERANCE = {np.float32: 1e-4, np.float64: 1e-12}


@compiled_once(tiles)
def _descend(rule, steps, x, dy, values, slots):
    kernels._descend_matrix(kernels._pace(rule, steps, 1.0, True, values), x, dy, 0, values, slots)


def drawn(seed, kind, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(kind)


@given(sizes, widths, widths, kinds)
@settings(max_examples=60, deadline=None)
def test_a_row_of_a_product_does_not_depend_on_the_others(rows, inputs, units, kind):
    x, W, y = drawn(0, kind, rows, inputs), drawn(1, kind, inputs, units), drawn(2, kind, rows, units)
    together, apart = y.copy(), y.copy()
    kernels._add_product(x, W, together)
    for row in range(rows):
        for column in range(units):
            one = apart[row : row + 1, column : column + 1].copy()
            kernels._add_product(x[row : row + 1], W[:, column : column + 1].copy(), one)
            apart[row, column] = one[0, 0]
    np.testing.assert_array_equal(together, apart)
    np.testing.assert_allclose(together, y + x.astype(float) @ W, atol=TOLERANCE[kind] * 10)


@given(sizes, widths, widths, kinds)
@settings(max_examples=60, deadline=None)
def test_a_number_of_a_transposed_product_does_not_depend_on_the_others(rows, inputs, units, kind):
    dy, W, dx = drawn(0, kind, rows, units), drawn(1, kind, inputs, units), drawn(2, kind, rows, inputs)
    together, apart = dx.copy(), dx.copy()
    kernels._add_product_transposed(dy, W, together)
    for row in range(rows):
        for column in range(inputs):
            one = apart[row : row + 1, column : column + 1].copy()
            kernels._add_product_transposed(dy[row : row + 1], W[column : column + 1], one)
            apart[row, column] = one[0, 0]
    np.testing.assert_array_equal(together, apart)
    np.testing.assert_allclose(together, dx + dy.astype(float) @ W.T.astype(float), atol=TOLERANCE[kind] * 10)


@pytest.mark.parametrize("adam", [False, True])
@given(sizes, widths, st.integers(1, 30), kinds)
@settings(max_examples=30, deadline=None)
def test_an_update_is_that_of_the_whole_gradient(adam, rows, inputs, units, kind):
    x, dy, W = drawn(0, kind, rows, inputs), drawn(1, kind, rows, units), drawn(2, kind, inputs, units)
    rule = kernels.Rule(adam, 0.01, 0.1, 0.9, 0.99, 1e-8, 0.02, 0.03, np.inf)
    values, slots = W.ravel().copy(), np.abs(drawn(3, kind, 2, W.size))
    before = slots.astype(float)
    _descend(rule, 4, x, dy, values, slots)
    w = W.astype(float).ravel()
    slope = (x.astype(float).T @ dy).ravel() + 0.02 * w
    rate = 0.01 / 1.4
    if adam:
        first, second = 0.9 * before[0] + 0.1 * slope, 0.99 * before[1] + 0.01 * slope**2
        step = first / (1 - 0.9**5) / (np.sqrt(second / (1 - 0.99**5)) + 1e-8)
        expected = w - 0.03 * rate * w - rate * step
        np.testing.assert_allclose(slots[1], second, rtol=TOLERANCE[kind], atol=TOLERANCE[kind])
    else:
        first = 0.9 * before[0] + slope
        expected = w - rate * (slope + 0.9 * first)
        np.testing.assert_array_equal(slots[1], before[1])
    np.testing.assert_allclose(slots[0], first, rtol=TOLERANCE[kind], atol=TOLERANCE[kind])
    np.testing.assert_allclose(values, expected, rtol=TOLERANCE[kind], atol=TOLERANCE[kind])
