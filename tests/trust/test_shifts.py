"""What has moved between two sets of bags: distances counted one by one, and how often chance is taken for more."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bagwise.trust.drift import holm, shifts

VALUES = st.lists(st.sampled_from([0.0, 0.1, 0.5, 1.0]), min_size=1, max_size=12)


@given(VALUES, VALUES)
def test_the_distance_is_that_of_the_shares_below_any_value(first, second):
    (found,) = shifts({"value": first, "gone": first}, {"value": second, "new": second})
    apart = [abs(np.mean(np.array(first) <= cut) - np.mean(np.array(second) <= cut)) for cut in {*first, *second}]
    assert np.isclose(found.distance, max(apart))
    assert (found.first, found.second) == (np.mean(first), np.mean(second))
    assert found.p == found.corrected  # of one column


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0.001, 0.999))
def test_what_is_below_a_level_is_what_holms_steps_reject(values, level):
    p = np.array(values)
    corrected, rejected = holm(p), set()
    for place in sorted(range(len(p)), key=p.__getitem__):
        if (len(p) - len(rejected)) * p[place] > level:
            break
        rejected.add(place)
    assert rejected == set(np.flatnonzero(corrected <= level))
    assert ((p <= corrected) & (corrected <= 1)).all()


def test_chance_is_taken_for_a_shift_in_one_case_of_twenty_at_most():
    rng, wrong = np.random.default_rng(0), 0
    for _ in range(200):
        first, second = ({f"c{column}": rng.random(60) for column in range(4)} for _ in range(2))
        wrong += min(one.corrected for one in shifts(first, second)) < 0.05
    assert 0 < wrong <= 16  # 10 in the mean at most, and two standard deviations


def test_many_bags_are_compared_in_no_time_and_small_shifts_are_seen():
    rng = np.random.default_rng(1)
    (found,) = shifts({"risk": rng.normal(size=20_000)}, {"risk": rng.normal(size=20_000) + 0.05})
    assert found.p < 1e-3
