"""Abstaining: the curve of the error, and cuts that keep the promise that they make."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta

from bagwise.errors import BagwiseError
from bagwise.targets.registry import TARGETS
from bagwise.trust.selective import abstention, confidence, risk_curve

CLASSES = TARGETS["classes"]


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=30))
def test_the_curve_is_the_error_of_all_bags_that_are_as_confident(bags):
    confidences, wrong = np.array([one[0] / 5 for one in bags]), np.array([one[1] for one in bags])
    curve = risk_curve(confidences, wrong)
    assert curve.cut.tolist() == sorted(set(confidences), reverse=True)
    assert curve.answered.tolist() == [(confidences >= cut).mean() for cut in curve.cut]
    assert curve.error.tolist() == pytest.approx([wrong[confidences >= cut].mean() for cut in curve.cut])


@given(st.floats(0.01, 0.99), st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_of_two_classes_confidence_is_one_half_at_the_threshold_and_rises_on_both_sides(threshold, positive):
    target = CLASSES.of(["no", "yes"]).deciding(threshold)
    p = np.sort(np.array([*positive, threshold, 0.0, 1.0]))
    found = confidence(target, np.stack([1 - p, p], axis=1))
    assert found[p == threshold] == pytest.approx(0.5)
    assert found[[0, -1]].tolist() == [1.0, 1.0]
    assert (np.diff(found[p <= threshold]) <= 1e-12).all()
    assert (np.diff(found[p >= threshold]) >= -1e-12).all()


def test_without_a_threshold_confidence_is_the_largest_probability_and_with_some_what_decides_wins():
    answers = np.array([[0.2, 0.5, 0.3], [0.6, 0.1, 0.3]])
    target = CLASSES.of(["a", "b", "c"])
    assert confidence(target, answers).tolist() == [0.5, 0.6]
    deciding = target.deciding([0.5, 0.4, 0.1])
    parts = answers / [0.5, 0.4, 0.1]
    assert confidence(deciding, answers) == pytest.approx(parts.max(axis=1) / parts.sum(axis=1))
    assert deciding.predicted(answers).tolist() == ["c", "c"]
    grades = TARGETS["ordinal"].of(np.array(["low", "mid", "high"]), order=["low", "mid", "high"])
    assert confidence(grades, answers).tolist() == [0.5, 0.6]


@pytest.mark.parametrize("kind", ["real", "count", "multi-label", "survival"])
def test_other_kinds_are_refused(kind):
    with pytest.raises(BagwiseError, match=f"abstains from classes or grades, and the target is {kind}"):
        confidence(_Kind(kind), np.ones((2, 2)))


class _Kind:
    def __init__(self, kind):
        self.kind = kind


def predicted(rng, n, slope=6.0):
    """Perfectly calibrated answers: their confidences, and which are wrong."""
    p = 1 / (1 + np.exp(-slope * rng.normal(size=n)))
    return np.maximum(p, 1 - p), (p > 0.5) != (rng.random(n) < p)


def test_the_error_of_fresh_bags_is_larger_than_was_wished_in_fewer_than_one_in_ten_choices():
    rng, broken, answered = np.random.default_rng(0), [], []
    fresh, _ = predicted(rng, 100_000)
    for _ in range(300):
        found = abstention(0.05, *predicted(rng, 500))
        broken.append((1 - fresh)[fresh >= found.cut].mean() > 0.05)
        answered.append((fresh >= found.cut).mean())
    assert np.mean(broken) < 0.1
    assert np.mean(answered) > 0.7  # of 0.9 that would keep it


def test_answers_that_tell_nothing_are_granted_in_fewer_than_one_in_ten_draws():
    """The error is 11 % at every confidence, so whatever cut is granted for 10 % breaks its promise."""
    rng, granted = np.random.default_rng(1), 0
    for _ in range(400):
        try:
            abstention(0.1, rng.random(300), rng.random(300) < 0.11)
        except BagwiseError:
            continue
        granted += 1
    assert granted / 400 < 0.1


def test_a_cut_is_never_granted_whose_own_upper_bound_is_above_the_wish():
    rng = np.random.default_rng(2)
    for n in (200, 300, 1000):
        confidences, wrong = predicted(rng, n)
        found = abstention(0.1, confidences, wrong)
        kept = confidences >= found.cut
        count, errors = kept.sum(), wrong[kept].sum()
        assert found.answered == kept.mean()
        assert found.error == errors / count
        assert beta.ppf(0.9, errors + 1, count - errors) <= 0.1


def test_bags_of_one_group_are_one_witness():
    """What 300 bags show, 30 groups of ten bags that are alike do not."""
    confidences, wrong = np.repeat(np.linspace(1, 0.6, 30), 10), np.zeros(300, bool)
    assert abstention(0.05, confidences, wrong).answered == 1.0
    with pytest.raises(BagwiseError, match=r"of 30 groups, no .*: the least error that would do is 8 %, so allow more"):
        abstention(0.05, confidences, wrong, np.repeat(np.arange(30), 10))


def test_a_wish_that_cannot_be_granted_is_refused_with_what_could_be():
    with pytest.raises(BagwiseError, match=r"held out, of 40 bags, no .* an error of at most 5 % certain to 90 %"):
        abstention(0.05, np.linspace(1, 0.5, 40), np.zeros(40, bool))
    with pytest.raises(BagwiseError, match=r"none would do"):
        abstention(0.05, np.linspace(1, 0.5, 40), np.ones(40, bool))


@pytest.mark.parametrize("wished", [0, 1, -0.1, 2, float("nan"), "0.05", None])
def test_a_wish_that_is_none_is_refused(wished):
    with pytest.raises(BagwiseError, match=r"the wished error is .*: it must be between 0 and 1"):
        abstention(wished, np.ones(100), np.zeros(100, bool))
