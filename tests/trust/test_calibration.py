from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import log_loss, roc_auc_score
from venn_abers import VennAbers

from bagwise.errors import BagwiseError
from bagwise.targets.registry import TARGETS
from bagwise.trust.calibrating import choose_calibration
from bagwise.trust.calibration import Calibration, Calibrator, Steps, log_odds, sigmoid

LOG_ODDS = arrays(np.float64, st.integers(2, 30), elements=st.integers(-40, 40).map(lambda tenths: tenths / 10))
CLASSES = TARGETS["classes"].of(["no", "yes"])
KINDS = {
    "two": (CLASSES, np.array(["no", "yes"])),
    "reversed": (TARGETS["classes"].of(["a", "b"], positive="a"), np.array(["a", "b"])),
    "three": (TARGETS["classes"].of([0, 1, 2]), np.arange(3)),
    "grades": (TARGETS["ordinal"].of([1, 2, 3, 4]), np.arange(1, 5)),
}


def held_out(target, labels, answers, weights=None):
    return SimpleNamespace(
        target=target, labels=labels, answers=answers, fold=np.arange(len(labels)) % 5, groups=None, weights=weights
    )


def drawn(kind, count=400, sureness=3.0, seed=0):
    """Draw answers that are surer than they may be, and labels by what they should have been."""
    target, names = KINDS[kind]
    rng = np.random.default_rng(seed)
    right = rng.dirichlet(np.full(len(names), 1.0), count)
    labels = names[(right.cumsum(axis=1) > rng.random((count, 1))).argmax(axis=1)]
    sure = right**sureness
    return held_out(target, labels, sure / sure.sum(axis=1, keepdims=True))


def drawn_bent():
    """Draw answers that no line through log-odds makes right: unsure ones say too little, sure ones enough."""
    bent = drawn("two", 900, sureness=1.0)
    apart = 2 * bent.answers[:, 1] - 1
    likely = 0.5 + 0.5 * np.sign(apart) * np.abs(apart) ** 6
    bent.answers = np.column_stack([1 - likely, likely])
    return bent


@given(LOG_ODDS, st.data())
def test_steps_are_isotonic_regressions_with_one_bag_more(scores, data):
    outcomes = data.draw(arrays(bool, len(scores)))
    weights = data.draw(arrays(np.float64, len(scores), elements=st.sampled_from([0.5, 1.0, 2.0])))
    steps = Steps.of(scores, outcomes, weights)
    new = data.draw(st.sampled_from([*scores, -5.0, 0.05, 5.0]))
    lower, upper = (
        IsotonicRegression()
        .fit(np.append(scores, new), np.append(outcomes, outcome), np.append(weights, 1.0))
        .predict([new])[0]
        for outcome in (0.0, 1.0)
    )
    assert steps.probabilities(np.array([new]))[0] == pytest.approx(upper / (1 - lower + upper), abs=1e-9)


def test_steps_say_what_the_package_of_the_method_says():
    rng = np.random.default_rng(0)
    likely, new = rng.random(300), rng.random(200)
    outcomes = rng.random(300) < likely**2
    oracle = VennAbers()
    oracle.fit(np.column_stack([1 - likely, likely]), outcomes.astype(int), precision=None)
    expected = oracle.predict_proba(np.column_stack([1 - new, new]))[0][:, 1]
    assert Steps.of(likely, outcomes, np.ones(300)).probabilities(new) == pytest.approx(expected, abs=1e-9)


@given(LOG_ODDS, st.data(), st.floats(0.5, 50), st.floats(-3, 3))
def test_no_calibrator_turns_the_order_of_bags_round_or_ties_those_that_differ(scores, data, temperature, shift):
    steps = Steps.of(scores, data.draw(arrays(bool, len(scores))), np.ones(len(scores)))
    new = np.unique(np.concatenate([scores, data.draw(LOG_ODDS)]))
    for one, limits in product((None, steps), (None, np.quantile(scores, [0.2, 0.7]))):
        likely = Calibrator(temperature, np.array([-1.0]), one, shift, limits).probabilities(new)
        assert (np.diff(likely) > 0).all()
        assert ((likely > 0) & (likely < 1)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_answers_that_are_too_sure_become_right(kind):
    data, fresh = drawn(kind), drawn(kind, 2000, seed=1)
    found = choose_calibration(data)
    told = found.calibration.applied(data.target, fresh.answers)
    names = data.target.names
    assert told.sum(axis=1) == pytest.approx(1)
    assert (told >= 0).all()
    before, after = (log_loss(fresh.labels, answers, labels=names) for answers in (fresh.answers, told))
    best = log_loss(fresh.labels, fresh.answers ** (1 / 3) / (fresh.answers ** (1 / 3)).sum(axis=1)[:, None])
    assert after < before - 0.2
    if kind != "grades":  # whose own calibration is of being above each
        assert after < best + 0.03
    assert log_loss(data.labels, found.answers, labels=names) < log_loss(data.labels, data.answers, labels=names)


def test_two_classes_are_ranked_as_before():
    for count in (100, 800):  # a temperature, and steps
        data, fresh = drawn("two", count), drawn("two", 500, seed=1)
        told = choose_calibration(data).calibration.applied(data.target, fresh.answers)
        assert roc_auc_score(fresh.labels, told[:, 1]) == roc_auc_score(fresh.labels, fresh.answers[:, 1])


def test_which_is_learnt_depends_on_how_many_there_are():
    few, more, many = (choose_calibration(drawn("two", count)) for count in (30, 150, 900))
    assert few.calibration is None
    assert "20 are needed" in few.why
    assert more.calibration.calibrators[0].steps is None
    bent = drawn_bent()
    assert choose_calibration(bent).calibration.told == "Venn-Abers"
    assert len(many.calibration.calibrators) == 1


def test_what_is_surer_than_anything_held_out_is_believed_no_more_than_that():
    data = drawn("two", 150)
    found = choose_calibration(data).calibration
    scores = log_odds(CLASSES, data.answers)[:, 0]
    extremes = [[pick(scores[data.fold == number]) for number in range(5)] for pick in (np.min, np.max)]
    limits = np.mean(extremes, axis=1)
    assert found.calibrators[0].limits == pytest.approx(limits)
    one = found.calibrators[0]
    told = one.probabilities(np.array([*limits, -30.0, 30.0]))
    at = sigmoid(one.cooled(limits))
    assert told[:2] == pytest.approx(at)
    further = sigmoid(one.cooled(limits + 0.01 * (np.array([-30.0, 30.0]) - limits)))
    assert told[2:] == pytest.approx(further)


def test_what_knows_nothing_says_the_share_of_the_class():
    rng = np.random.default_rng(0)
    likely = sigmoid(rng.normal(-3, 3, 600))
    labels = np.where(rng.random(600) < 0.1, "yes", "no")
    data = held_out(CLASSES, labels, np.column_stack([1 - likely, likely]))
    told = choose_calibration(data).calibration.applied(CLASSES, data.answers)
    assert told[:, 1] == pytest.approx((labels == "yes").mean(), abs=0.06)


def test_answers_that_are_right_are_hardly_changed():
    data, fresh = drawn("two", 500, sureness=1.0), drawn("two", 5000, sureness=1.0, seed=1)
    found = choose_calibration(data).calibration
    told = fresh.answers if found is None else found.applied(CLASSES, fresh.answers)
    assert log_loss(fresh.labels, told) < log_loss(fresh.labels, fresh.answers) + 0.005


def test_answers_across_folds_do_not_depend_on_their_own_labels():
    data = drawn("two", 150)  # of which a temperature is learnt either way
    before = choose_calibration(data).answers
    changed = data.labels.copy()
    changed[data.fold == 2] = data.labels[data.fold == 2][::-1]
    after = choose_calibration(held_out(CLASSES, changed, data.answers)).answers
    assert np.array_equal(before[data.fold == 2], after[data.fold == 2])
    assert (before != after).any()


def test_bags_that_count_twice_are_as_if_they_were_there_twice():
    data = drawn("two", 300)
    weights = 1.0 + np.arange(300) % 2
    twice = np.repeat(np.arange(300), weights.astype(int))
    doubled = held_out(CLASSES, data.labels[twice], data.answers[twice])
    doubled.fold = data.fold[twice]
    weighed = choose_calibration(held_out(CLASSES, data.labels, data.answers, weights)).calibration
    one, other = weighed.calibrators[0], choose_calibration(doubled).calibration.calibrators[0]
    assert one.temperature == pytest.approx(other.temperature, rel=0.01)


def test_each_label_has_a_calibration_of_its_own_and_what_is_not_known_counts_nothing():
    rng = np.random.default_rng(0)
    right = rng.random((300, 2))
    labels = (rng.random((300, 2)) < right).astype(float)
    labels[10:, 1] = np.nan  # of too few it is known
    target = TARGETS["multi-label"].of(labels)
    sure = right**3 / (right**3 + (1 - right) ** 3)
    found = choose_calibration(held_out(target, labels, sure)).calibration
    assert found.calibrators[1] is None
    told = found.applied(target, sure)
    assert told[:, 1] == pytest.approx(sure[:, 1])
    assert np.abs(told[:, 0] - right[:, 0]).mean() < np.abs(sure[:, 0] - right[:, 0]).mean()


def test_numbers_and_lives_are_no_probabilities():
    with pytest.raises(BagwiseError, match="a real target are no probabilities"):
        choose_calibration(held_out(TARGETS["real"].of([0.5, 1.5]), np.zeros(2), np.zeros((2, 1))))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [100, 900])
def test_what_is_kept_says_the_same_to_the_last_bit(kind, count):
    data = drawn(kind, count)
    found = choose_calibration(data).calibration
    again = Calibration.from_arrays(data.target, found.arrays())
    assert np.array_equal(found.applied(data.target, data.answers), again.applied(data.target, data.answers))


def test_arrays_that_were_changed_are_refused():
    bent = drawn_bent()
    good = choose_calibration(bent).calibration.arrays()
    changes = {
        "temperatures": [np.array([0.0]), np.array([np.inf]), np.array([1.0, 1.0]), np.array([1])],
        "around": [np.array([np.nan]), np.zeros((1, 1))],
        "0/scores": [good["0/scores"][::-1].copy(), good["0/scores"][1:], good["0/scores"] * np.nan],
        "0/lower": [good["0/lower"] + 1, good["0/lower"][::-1].copy(), good["0/lower"].astype(np.float32)],
        "0/upper": [good["0/upper"] * 0, good["0/upper"][:-1]],
        "0/limits": [good["0/limits"][::-1].copy(), np.full(2, np.nan), np.array([0.0, np.inf]), np.zeros(3)],
        "0/shift": [np.zeros(2), np.array([np.nan])],
        "other": [np.zeros(1)],
    }
    for name, arrays_of in changes.items():
        for array in arrays_of:
            with pytest.raises(ValueError, match="."):
                Calibration.from_arrays(CLASSES, {**good, name: array})
    with pytest.raises(KeyError):
        Calibration.from_arrays(CLASSES, {name: array for name, array in good.items() if name != "0/upper"})
