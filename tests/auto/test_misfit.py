"""What candidates are chosen by, and how answers are averaged, for each kind of target."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from bagwise.targets.registry import target_of

quick = settings(max_examples=25, deadline=None)
SEEDS = st.integers(0, 2**16)


def drawn(seed, count=12, columns=3):
    rng = np.random.default_rng(seed)
    return rng, rng.dirichlet(np.ones(columns), size=count), rng.uniform(0.1, 2, count)


@quick
@given(seed=SEEDS)
def test_of_classes_and_grades_it_is_the_log_loss_of_scikit_learn(seed):
    rng, answers, weights = drawn(seed)
    labels = np.concatenate([np.arange(3), rng.integers(3, size=9)])
    names = np.array(["low", "mid", "top"])
    expected = sk.log_loss(labels, answers, sample_weight=weights)
    assert target_of("classes", names[labels]).misfit(names[labels], answers, weights) == pytest.approx(expected)
    grades = target_of("ordinal: low < mid < top", names[labels])
    assert grades.misfit(names[labels], answers, weights) == pytest.approx(expected)


@quick
@given(seed=SEEDS)
def test_of_several_labels_it_is_over_what_is_known(seed):
    rng, answers, weights = drawn(seed)
    labels = np.concatenate([np.eye(3), 1 - np.eye(3), rng.integers(2, size=(6, 3))])
    labels[rng.random(labels.shape) < 0.2] = np.nan
    labels[0], labels[3] = [1, 0, 0], [0, 1, 1]
    terms = [
        (weights[bag], -np.log(answers[bag, label] if labels[bag, label] else 1 - answers[bag, label]))
        for bag in range(12)
        for label in range(3)
        if not np.isnan(labels[bag, label])
    ]
    expected = sum(weight * term for weight, term in terms) / sum(weight for weight, _ in terms)
    assert target_of("multi-label", labels).misfit(labels, answers, weights) == pytest.approx(expected)


@quick
@given(seed=SEEDS)
def test_of_counts_it_ranks_as_the_deviance_does_and_of_numbers_as_r_squared(seed):
    rng = np.random.default_rng(seed)
    labels = rng.poisson(3, 12) + np.arange(12) % 2
    one, other = rng.uniform(0.5, 6, (2, 12, 1))
    target = target_of("count", labels)
    expected = sk.mean_poisson_deviance(labels, one[:, 0]) - sk.mean_poisson_deviance(labels, other[:, 0])
    assert 2 * (target.misfit(labels, one) - target.misfit(labels, other)) == pytest.approx(expected)
    numbers = labels + 0.5
    assert target_of("real", numbers).misfit(numbers, one) == pytest.approx(1 - sk.r2_score(numbers, one[:, 0]))


def lives(seed, count=14):
    rng = np.random.default_rng(seed)
    labels = np.zeros(count, dtype=[("event", bool), ("time", float)])
    labels["time"], labels["event"] = rng.integers(1, 9, count), rng.random(count) < 0.7
    labels["event"][:2], labels["time"][:2] = True, [2, 5]
    return rng, labels, target_of("survival", labels)


@quick
@given(seed=SEEDS)
def test_of_lives_it_is_what_the_curves_give_to_where_the_events_lay(seed):
    rng, labels, target = lives(seed)
    curves = np.sort(rng.uniform(0.05, 1, (len(labels), len(target.times))))[:, ::-1]
    terms = []
    for (event, time), curve in zip(labels.tolist(), curves, strict=True):
        points = [(0.0, 1.0), *zip(target.times, curve, strict=True)]
        lived = min(survival for at, survival in points if at <= time)
        within = [(a[1], b[1]) for a, b in pairwise(points) if a[0] < time <= b[0]]
        likely = within[0][0] - within[0][1] if event and within else lived
        terms.append(-np.log(max(likely, np.finfo(float).eps)))
    answers = np.column_stack([np.zeros(len(labels)), curves])
    assert target.misfit(labels, answers) == pytest.approx(np.mean(terms))


def test_lives_are_averaged_as_curves_and_the_risk_follows():
    rng, labels, target = lives(0)
    curves = np.sort(rng.uniform(0.05, 1, (2, len(labels), len(target.times))))[..., ::-1]
    told = np.concatenate([rng.normal(size=(2, len(labels), 1)), curves], axis=2)
    averaged = target.averaged(told, np.array([0.25, 0.75]))
    np.testing.assert_allclose(averaged[:, 1:], 0.25 * curves[0] + 0.75 * curves[1])
    np.testing.assert_allclose(averaged[:, 0], -np.log(averaged[:, 1:]).sum(axis=1))
