"""What must be true of every method, whatever the bags."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import bagwise as bw
from bagwise import METHODS
from bagwise.methods.neural import NeuralMIL

NEURAL = [name for name, (kind, _) in METHODS.items() if issubclass(kind, NeuralMIL)]
COUNTING = ("embedding-sum", "sum-attention", "additive", "signed-attention")
every_method = pytest.mark.parametrize("name", NEURAL)
some = settings(max_examples=5, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def bags_of_many_sizes(draw):
    sizes = draw(st.lists(st.one_of(st.integers(1, 6), st.integers(1, 1000)), min_size=1, max_size=8))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    scale = draw(st.sampled_from([0.1, 1.0, 10.0]))
    return bw.Bags.from_arrays([rng.normal(0, scale, (size, 3)) for size in sizes])


def agree(given, wanted, precision):
    if precision == "float64":
        np.testing.assert_allclose(given, wanted, rtol=1e-9, atol=1e-9)
    else:
        # A decision near 0 is what is left of large terms.
        np.testing.assert_allclose(given, wanted, rtol=1e-5, atol=1e-5 * max(1.0, float(abs(wanted).max())))


def answers(model, bags):
    yield model.predict_proba(bags)
    yield model.decision_function(bags)


@every_method
@pytest.mark.parametrize(("precision", "classes"), [("float32", 3), ("float64", 2)])
@some
@given(bags=bags_of_many_sizes())
def test_a_batch_gives_what_each_bag_alone_gives(fitted, name, precision, classes, bags):
    model = fitted(name, classes, precision)
    alone = [list(answers(model, [bag.instances])) for bag in bags]
    for number, together in enumerate(answers(model, bags)):
        agree(together, np.concatenate([answer[number] for answer in alone]), precision)
    scores = np.concatenate([model.instance_scores([bag.instances]) for bag in bags])
    agree(model.instance_scores(bags), scores, precision)


@every_method
@pytest.mark.parametrize("precision", ["float32", "float64"])
@some
@given(bags=bags_of_many_sizes(), seed=st.integers(0, 2**32 - 1))
def test_shuffling_the_instances_of_a_bag_changes_nothing(fitted, name, precision, bags, seed):
    model = fitted(name, 2, precision)
    if model.looks_at == "order":
        return
    rng = np.random.default_rng(seed)
    orders = [begin + rng.permutation(size) for begin, size in zip(bags.offsets[:-1], bags.sizes, strict=True)]
    order = np.concatenate(orders)
    shuffled = bw.Bags(bags.instances[order], bags.offsets)
    for one, other in zip(answers(model, bags), answers(model, shuffled), strict=True):
        agree(one, other, precision)
    agree(model.instance_scores(shuffled), model.instance_scores(bags)[order], precision)
    if hasattr(model, "attention"):
        agree(model.attention(shuffled), model.attention(bags)[order], precision)


@every_method
@some
@given(bags=bags_of_many_sizes())
def test_the_order_of_the_bags_is_the_order_of_the_answers(fitted, name, bags):
    model = fitted(name, 2, "float64")
    for one, other in zip(answers(model, bags), answers(model, bags[::-1]), strict=True):
        agree(one, other[::-1], "float64")


@pytest.mark.parametrize("name", ["attention", "gated-attention"])
@some
@given(bags=bags_of_many_sizes())
def test_attention_sums_to_one_in_every_bag_and_is_one_in_a_bag_of_one(fitted, name, bags):
    weights = fitted(name, 2, "float64").attention(bags)
    assert (weights >= 0).all()
    np.testing.assert_allclose(np.add.reduceat(weights, bags.offsets[:-1]), 1, rtol=1e-12)
    assert (weights[bags.offsets[:-1]][bags.sizes == 1] == 1).all()


@every_method
@some
@given(bags=bags_of_many_sizes())
def test_a_bag_of_one_instance_is_as_probable_as_its_instance(fitted, name, bags):
    model = fitted(name, 2, "float64")
    ones = bw.Bags(bags.instances[:5], np.arange(min(5, len(bags.instances)) + 1))
    agree(model.instance_scores(ones), model.predict_proba(ones)[:, 1], "float64")


@every_method
@some
@given(bags=bags_of_many_sizes())
def test_a_bag_put_twice_into_itself_is_the_same_bag_but_to_who_counts(fitted, name, bags):
    """Noisy-or and ISR, which are not in the registry, count instances, too."""
    model = fitted(name, 2, "float64")
    doubled = bw.Bags.from_arrays([np.concatenate([bag.instances] * 2) for bag in bags])
    if name in COUNTING:
        assert (model.decision_function(doubled) != model.decision_function(bags)).all()
    elif model.looks_at is None:  # a copy beside it is an instance's nearest neighbour
        agree(model.predict_proba(doubled), model.predict_proba(bags), "float64")


@every_method
def test_packing_is_exact_beyond_the_size_of_a_chunk(fitted, name):
    rng = np.random.default_rng(0)
    sizes = [1, 20_000, 3, 9_000, 9_000, 2]
    bags = bw.Bags.from_arrays([rng.normal(size=(size, 3)) for size in sizes])
    model = fitted(name, 2, "float64")
    alone = np.concatenate([model.predict_proba([bag.instances]) for bag in bags])
    agree(model.predict_proba(bags), alone, "float64")


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_packing_is_exact_for_images(precision):
    rng = np.random.default_rng(0)
    arrays = [rng.integers(0, 256, (size, 28, 28), dtype=np.uint8) for size in (1, 30, 2, 7)]
    model = bw.AttentionMIL(gated=True, epochs=1, precision=precision, random_state=0).fit(arrays, [0, 1, 0, 1])
    alone = np.concatenate([model.predict_proba([array]) for array in arrays])
    agree(model.predict_proba(arrays), alone, precision)
    agree(model.attention(arrays), np.concatenate([model.attention([array]) for array in arrays]), precision)


@every_method
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_precision_is_the_type_of_weights_and_answers(make_bags, fitted, name, precision):
    model, bags = fitted(name, 2, precision), make_bags()
    assert model.predict_proba(bags).dtype == precision
    assert {str(value.dtype) for value in model.model_.parameters()} == {f"torch.{precision}"}
