"""How far a calibration error may be off by the luck of the bags."""

import numpy as np
import pytest
from scipy import stats

from bagwise.evaluation.calibration import error_interval, reliability


def drawn(rng, bags, sharper=1.0):
    """Draw what comes true by probabilities, and say probabilities that are sharper than these."""
    odds = 2 * rng.normal(size=bags)
    return rng.random(bags) < 1 / (1 + np.exp(-odds)), 1 / (1 + np.exp(-sharper * odds))


def test_it_is_the_square_of_the_error_corrected_by_draws_of_groups():
    rng = np.random.default_rng(0)
    came_true, likely = drawn(rng, 90, 2.0)
    groups = rng.integers(0, 40, 90)
    names, error = np.unique(groups), reliability(came_true, likely, 5).error
    luck, squares = np.random.default_rng(3), []
    for _ in range(50):
        bags = [
            bag
            for name in sorted(names[luck.integers(len(names), size=len(names))])
            for bag in np.where(groups == name)[0]
        ]
        squares.append(reliability(came_true[bags], likely[bags], 5).error ** 2)
    centre, reach = error**2 + error**2 - np.mean(squares), stats.norm.ppf(0.95) * np.std(squares)
    found = error_interval(came_true, likely, 5, groups=groups, level=0.9, draws=50, seed=3)
    ends = [max(0.0, centre - reach) ** 0.5, max(0.0, centre + reach) ** 0.5]
    assert [found.low, found.high] == pytest.approx(ends, abs=1e-12)
    assert (found.level, found.how, found.warning) == (0.9, "bootstrap", None)


@pytest.mark.parametrize("bags", [100, 500])
def test_of_probabilities_that_are_right_it_begins_at_nothing(bags):
    rng = np.random.default_rng(1)
    lows = [error_interval(*drawn(rng, bags), draws=100).low for _ in range(60)]
    assert np.mean(np.array(lows) == 0) >= 0.93


@pytest.mark.parametrize(("bags", "sharper"), [(100, 2.0), (500, 3.0), (200, 0.5)])
def test_it_holds_the_true_error(bags, sharper):
    rng = np.random.default_rng(2)
    true = reliability(*drawn(rng, 200_000, sharper)).error
    found = [error_interval(*drawn(rng, bags, sharper), draws=100) for _ in range(100)]
    assert np.mean([one.low <= true <= one.high for one in found]) >= 0.87


def test_copies_of_a_bag_in_one_group_are_no_more_bags():
    rng = np.random.default_rng(4)
    came_true, likely = drawn(rng, 150, 3.0)
    alone = error_interval(came_true, likely)
    fourfold, groups = (np.repeat(came_true, 4), np.repeat(likely, 4)), np.repeat(np.arange(150), 4)
    aware, unaware = error_interval(*fourfold, groups=groups), error_interval(*fourfold)
    width, narrow = aware.high - aware.low, unaware.high - unaware.low
    assert 0.8 < width / (alone.high - alone.low) < 1.25
    assert narrow < 0.7 * width


def test_few_are_warned_of():
    assert "only 12 predictions" in error_interval(*drawn(np.random.default_rng(5), 12)).warning
