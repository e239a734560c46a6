"""Whether a method is better than a simple one, in numbers and in a sentence."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

import bagwise as bw
from bagwise.errors import BagwiseError
from bagwise.evaluation.baselines import BASELINES, headline, verdicts
from bagwise.evaluation.cross_validation import CrossValidation
from bagwise.evaluation.metrics import METRICS
from bagwise.evaluation.significance import corrected_interval, corrected_t_test
from bagwise.targets.classes import ClassTarget
from bagwise.targets.registry import TARGETS

TARGET = ClassTarget.of([0, 1])
ROUGH = [0.6, 0.72, 0.64, 0.78, 0.7]


def found(scores):
    empty = np.zeros((1, 0), np.int64)
    return CrossValidation("default", TARGET, empty[0], empty, empty[..., None], None, {"auc": np.array([scores])})


def verdict(ours, theirs):
    both = {"attention": found(ours), "mean-logistic": found(theirs)}
    (one,) = verdicts(both, ["attention"], ["mean-logistic"], test_share=0.2)
    return one


@pytest.mark.parametrize(
    ("gain", "says", "ends"),
    [
        (0.1, "is better than", ")."),
        (-0.1, "is worse than", "): take the baseline."),
        (0.0, "is not shown to be better than", "): the baseline may do."),
    ],
)
def test_a_sentence_says_better_worse_or_not_shown(gain, says, ends):
    wobble = 0.01 * np.array([1, -1, 2, -2, 0])
    one = verdict(np.array(ROUGH) + gain + wobble, ROUGH)
    assert one.told.startswith(f"attention (AUC {0.688 + gain:.3f} ± ")
    assert f") {says} mean-logistic (0.688; difference {gain:+.3f}, 95 % interval {one.low:+.3f} to " in one.told
    assert one.told.endswith(ends)
    assert (one.p_value < 0.05) == (gain != 0) == (one.low > 0 or one.high < 0)


def test_what_two_folds_do_not_define_is_compared_with_nothing():
    one = verdict([0.9, np.nan, np.nan], [0.8, 0.7, np.nan])
    assert one.told == "attention cannot be compared with mean-logistic: fewer than two folds define the AUC of both."
    assert np.isnan([one.difference, one.low, one.high, one.p_value]).all()


def test_every_method_meets_every_baseline_but_itself_and_two_baselines_meet_once():
    of_all = {name: found(ROUGH) for name in ("attention", *BASELINES)}
    pairs = [one[:2] for one in verdicts(of_all, of_all, BASELINES, test_share=0.2)]
    assert len(pairs) == 3
    assert {frozenset(pair) for pair in pairs} == {
        frozenset(pair) for pair in [("attention", "summary-forest"), ("attention", "mean-logistic"), tuple(BASELINES)]
    }


def test_more_is_better_of_what_is_compared():
    assert all(METRICS[headline(target)].higher for target in TARGETS.values())
    assert headline(TARGETS["multi-label"]) == "auc"
    assert headline(TARGETS["real"]) == "r2"


def test_the_interval_is_of_students_t_and_holds_zero_where_the_test_is_not_sure():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 3, 10))
    low, high = corrected_interval(first, second, test_share=0.1, level=0.9)
    differences = (first - second).ravel()
    error = differences.std(ddof=1) * np.sqrt(1 / 30 + 1 / 9)
    assert_allclose([low, high], stats.t.interval(0.9, 29, differences.mean(), error))
    p_value = corrected_t_test(first, second, test_share=0.1).p_value
    for level, holds in ((1 - p_value - 1e-6, False), (1 - p_value + 1e-6, True)):
        low, high = corrected_interval(first, second, test_share=0.1, level=level)
        assert (low < 0 < high) == holds
    assert corrected_interval([0.9, 0.8], [0.9, 0.8], test_share=0.5) == (0, 0)
    # Differences of either sign that cancel have no certainty in them.
    low, high = corrected_interval([0.5, 0.75], [0.75, 0.5], test_share=0.5)
    assert -low == high > 1
    with pytest.raises(BagwiseError, match="needs 2 folds"):
        corrected_interval([0.9], [0.8], test_share=0.5)


def test_the_forest_that_is_only_compared_ranks_as_the_one_that_is_calibrated(make_bags, monkeypatch):
    bags = make_bags(60)
    learnt = bw.make("summary-forest", trees=30, leaf=1, random_state=0).fit(bags[:40])
    monkeypatch.setattr(type(learnt), "GRID", ({"leaf": 1}, {"leaf": 1000}))
    chosen = bw.make("summary-forest", trees=30, random_state=0).fit(bags[:40])
    assert (learnt.validation_errors_, chosen.parameters_) == ([], {"leaf": 1})
    order = np.argsort(learnt.predict_proba(bags[40:])[:, 1], kind="stable")
    assert (np.diff(chosen.predict_proba(bags[40:])[order, 1]) >= 0).all()
