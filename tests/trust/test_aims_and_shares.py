import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bagwise.errors import BagwiseError
from bagwise.targets.registry import TARGETS
from bagwise.trust.aims import Aim, decision_curve, operating_at
from bagwise.trust.calibration import sigmoid
from bagwise.trust.shares import answers_at, shares_said, threshold_at

CLASSES = TARGETS["classes"].of(["no", "yes"])
THREE = TARGETS["classes"].of(["a", "b", "c"])
SHARES = st.floats(0.01, 0.99)


def drawn(positive, negative, seed):
    rng = np.random.default_rng(seed)
    scores = np.concatenate([rng.normal(1.5, 1, positive), rng.normal(0, 1, negative)])
    return np.arange(positive + negative) < positive, sigmoid(scores)


@pytest.mark.parametrize(("kind", "place"), [("sensitivity", 1), ("specificity", 2)])
def test_what_is_aimed_at_is_reached_on_fresh_bags_in_the_mean(kind, place):
    aim, found = Aim(kind, 0.95), []
    for seed in range(200):
        threshold = aim.threshold(*drawn(60, 60, seed))
        positive, fresh = drawn(2000, 2000, 1000 + seed)
        found.append(operating_at(positive, fresh > threshold)[place])
    assert np.mean(found) == pytest.approx(0.951, abs=0.006)  # 1 - 3 / 61


def test_a_precision_is_reached_where_bags_are_most_often_found():
    positive, likely = drawn(300, 700, 0)
    threshold = Aim("precision", 0.8).threshold(positive, likely)
    assert operating_at(positive, likely > threshold).precision >= 0.8
    lower = np.unique(likely)[np.unique(likely) <= threshold][::-1]
    assert all(operating_at(positive, likely > cut).precision < 0.8 for cut in lower[1:] - 1e-12)
    with pytest.raises(BagwiseError, match=r"no 20 bags or more .* have more than 0\.\d+"):
        Aim("precision", 0.999).threshold(positive, np.random.default_rng(0).random(1000))


def test_costs_decide_where_both_mistakes_are_dear_alike():
    assert Aim.of(cost="missed=10, false=1").threshold(np.zeros(0, bool), np.zeros(0)) == 1 / 11
    positive, likely = drawn(3000, 3000, 0)
    right = sigmoid(1.5 * np.log(likely / (1 - likely)) - 1.5**2 / 2)  # by the two normal distributions
    cuts = np.linspace(0.01, 0.99, 99)
    aim = Aim("cost", 4.0)
    costs = [operating_at(positive, right > cut).cost(aim, 0.5) for cut in cuts]
    assert cuts[np.argmin(costs)] == pytest.approx(0.2, abs=0.06)


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"threshold": 0.2, "sensitivity": 0.9}, "--threshold and --sensitivity both say"),
        ({"threshold": 0.2, "cost": "missed=1"}, "--threshold and --cost both say"),
        ({"threshold": 1.0}, "between 0 and 1"),
        ({"precision": float("nan")}, "between 0 and 1"),
        ({"cost": "missed=10,wrong=1"}, "missed=10,false=1"),
        ({"cost": "missed=-1"}, "numbers above 0"),
        ({"cost": "10"}, "missed=10,false=1"),
    ],
)
def test_what_is_no_aim_is_refused(said, sentence):
    with pytest.raises(BagwiseError, match=sentence):
        Aim.of(**said)


def test_too_few_bags_are_refused_with_the_reason():
    few = np.arange(100) < 19
    with pytest.raises(BagwiseError, match="there are 19 positive bags held out .* 20 are needed"):
        Aim("sensitivity", 0.9).threshold(few, np.linspace(0, 1, 100))
    with pytest.raises(BagwiseError, match="there are 50 positive bags .* it takes 99 to promise so much"):
        Aim("sensitivity", 0.99).threshold(np.arange(100) < 50, np.linspace(0, 1, 100))


@given(
    st.sampled_from(["sensitivity", "specificity", "precision"]),
    st.sampled_from([0.3, 0.5, 0.8, 0.9, 0.97]),
    st.integers(0, 60),
    st.integers(0, 60),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
@example("sensitivity", 0.97, 30, 0, True, 0)
def test_what_any_answers_reach_is_not_refused_beforehand(kind, value, positive, negative, weighted, seed):
    rng, aim = np.random.default_rng(seed), Aim(kind, value)
    of_positive = np.arange(positive + negative) < positive
    weights = rng.integers(0, 3, len(of_positive)).astype(float) if weighted else None
    try:
        aim.threshold(of_positive, rng.random(len(of_positive)) + of_positive * rng.random(), weights)
    except BagwiseError:
        return
    aim.check(of_positive, weights)


def test_what_no_answers_reach_is_refused_beforehand():
    few = np.arange(100) < 19
    for kind, positive in (("sensitivity", few), ("specificity", ~few), ("precision", few)):
        with pytest.raises(BagwiseError, match=f"--{kind} is 0.97"):
            Aim(kind, 0.97).check(positive)
    with pytest.raises(BagwiseError, match="there are 0 bags called positive held out"):
        Aim("precision", 0.5).check(np.ones(19, bool))
    Aim("precision", 0.95).check(few)


def test_a_bag_of_weight_two_is_like_two():
    positive, likely = drawn(60, 60, 0)
    weights = 1.0 + np.arange(120) % 2
    twice = np.repeat(np.arange(120), weights.astype(int))
    for kind, value in (("sensitivity", 0.8), ("specificity", 0.8), ("precision", 0.7)):
        aim = Aim(kind, value)
        one, other = aim.threshold(positive, likely, weights), aim.threshold(positive[twice], likely[twice])
        between = np.sort(likely)[(np.sort(likely) > min(one, other)) & (np.sort(likely) <= max(one, other))]
        assert len(between) <= 1  # the bag one more is of the mean weight


def test_a_decision_curve_is_the_net_benefit():
    positive, likely = drawn(40, 60, 0)
    curve = decision_curve(positive, likely, np.array([0.25]))
    called = likely > 0.25
    hits, false = (called & positive).mean(), (called & ~positive).mean()
    assert curve["model"][0] == pytest.approx(hits - false / 3)
    assert curve["all"][0] == pytest.approx(0.4 - 0.6 / 3)


def test_predictive_values_are_bayes_rule():
    positive = np.arange(1000) < 500
    called = (np.arange(1000) % 10 < 9) == positive
    found = operating_at(positive, called, share=0.01)
    assert found.precision == pytest.approx(0.9 * 0.01 / (0.9 * 0.01 + 0.1 * 0.99))
    assert found.negative_value == pytest.approx(0.9 * 0.99 / (0.9 * 0.99 + 0.1 * 0.01))


@given(SHARES, SHARES, st.floats(0.001, 0.999))
def test_other_shares_change_the_odds_by_theirs_and_back(learnt, used, likely):
    before, after = np.array([1 - learnt, learnt]), np.array([1 - used, used])
    answers = np.array([[1 - likely, likely]])
    told = answers_at(CLASSES, answers, before, after)
    odds = likely / (1 - likely) * used / (1 - used) / (learnt / (1 - learnt))
    assert told[0, 1] / told[0, 0] == pytest.approx(odds)
    assert answers_at(CLASSES, told, after, before) == pytest.approx(answers)
    assert threshold_at(likely, learnt, used) == pytest.approx(told[0, 1])


def test_labels_change_one_by_one_and_classes_not_named_share_the_rest():
    labels = TARGETS["multi-label"].of([[0, 1], [1, 0]], label_names=("x", "y"))
    learnt = np.array([0.5, 0.5])
    told = answers_at(labels, np.array([[0.5, 0.7]]), learnt, shares_said(labels, ["x=0.1"], learnt))
    assert told.round(12).tolist() == [[0.1, 0.7]]
    assert shares_said(THREE, ["a=0.4"], np.array([0.5, 0.3, 0.2])).round(12).tolist() == [0.4, 0.36, 0.24]


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (["d=0.1"], "a name of a, b, c"),
        (["a"], "NAME=SHARE"),
        (["a=much"], "between 0 and 1"),
        (["a=0.7", "b=0.6"], "1.3 of all bags"),
        (["a=0.2", "b=0.2", "c=0.2"], "0.6 of all bags"),
    ],
)
def test_what_is_no_share_is_refused(said, sentence):
    with pytest.raises(BagwiseError, match=sentence):
        shares_said(THREE, said, np.array([0.5, 0.3, 0.2]))
