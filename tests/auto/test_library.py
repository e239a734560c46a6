import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bagwise.auto.library import selected
from bagwise.targets.registry import target_of

LABELS = np.arange(40) % 2
TARGET = target_of("classes", LABELS)


def answers(rng, signal):
    """Give what models say whose log-odds are so far apart, with noise of their own."""
    logits = signal[:, None] * (2 * LABELS - 1) + rng.normal(size=(len(signal), len(LABELS)))
    positive = 1 / (1 + np.exp(-logits))
    return np.stack([1 - positive, positive], axis=2)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**16), count=st.integers(1, 9))
def test_shares_sum_to_1_and_are_the_same_every_time(seed, count):
    told = answers(np.random.default_rng(seed), np.linspace(0, 2, count))
    shares = selected(told, LABELS, TARGET, seed=seed)
    assert shares.shape == (count,)
    assert (shares >= 0).all()
    assert abs(shares.sum() - 1) < 1e-12
    np.testing.assert_array_equal(shares, selected(told, LABELS, TARGET, seed=seed))


def test_the_average_is_better_than_the_best_where_models_err_independently():
    told = answers(np.random.default_rng(0), np.full(8, 1.0))
    average = TARGET.averaged(told, selected(told, LABELS, TARGET))
    alone = [TARGET.misfit(LABELS, one) for one in told]
    assert TARGET.misfit(LABELS, average) < min(alone)


def test_who_says_nothing_has_no_share_beside_who_knows():
    told = answers(np.random.default_rng(0), np.array([3.0, 3.0, 0.0, 0.0]))
    shares = selected(told, LABELS, TARGET)
    assert shares[:2].sum() > 0.7
    assert selected(told, LABELS, TARGET, weights=np.where(LABELS == 1, 1.0, 1e-9)).sum() == 1
