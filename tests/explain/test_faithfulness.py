import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bagwise as bw
from bagwise import BagwiseError
from bagwise.explain.faithfulness import deletion_curves


def share_of_sum(bags):
    """A model whose answer is a function of the bag alone."""
    totals = np.array([bag.instances.sum() for bag in bags])
    return np.stack([1 - totals / 1000, totals / 1000], axis=1)


def one_by_one(predict_proba, bags, importance, most):
    curves = []
    for position, bag in enumerate(bags):
        values = importance[slice(*bags.offsets[position : position + 2])]
        left = list(range(len(bag)))
        answers = []
        for _ in range(most + 1):
            answers.append(predict_proba(bw.Bags.from_arrays([bag.instances[left]]))[0])
            if len(left) > 1:
                left.remove(max(left, key=lambda row: (values[row], -row)))
        curves.append(answers)
    return np.array(curves)


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 8))
def test_curves_are_those_of_a_plain_loop(seed, count, most):
    rng = np.random.default_rng(seed)
    bags = bw.Bags.from_arrays([rng.integers(0, 50, (rng.integers(1, 7), 2)).astype(float) for _ in range(count)])
    importance = rng.integers(0, 4, len(bags.instances)) / 4  # with equals
    found = deletion_curves(share_of_sum, bags, importance, most)
    np.testing.assert_allclose(found, one_by_one(share_of_sum, bags, importance, most), rtol=1e-12)


def test_a_fitted_model_is_asked_about_what_is_left(fitted, make_bags):
    model, bags = fitted("attention"), make_bags(6)
    curves = deletion_curves(model.predict_proba, bags, model.attention(bags), 3)
    np.testing.assert_allclose(curves[:, 0], model.predict_proba(bags), rtol=1e-5)
    assert curves.shape == (6, 4, 2)
    np.testing.assert_allclose(curves.sum(axis=2), 1, rtol=1e-5)


def test_one_instance_always_stays():
    bags = bw.Bags.from_arrays([[[1.0], [2.0]], [[3.0]]])
    sums = deletion_curves(share_of_sum, bags, np.array([0.1, 0.9, 0.5]), 4)[:, :, 1] * 1000
    assert sums.round(9).tolist() == [[3, 1, 1, 1, 1], [3, 3, 3, 3, 3]]


@pytest.mark.parametrize("most", [0, -1, 1.5, None])
def test_nothing_to_remove_is_said(most):
    with pytest.raises(BagwiseError, match="most is .*: it must be a whole number from 1 on"):
        deletion_curves(share_of_sum, bw.Bags.from_arrays([[[1.0]]]), np.ones(1), most)
