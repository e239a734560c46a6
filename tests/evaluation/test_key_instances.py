import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score, roc_auc_score

from bagwise import Bags, BagwiseError
from bagwise.evaluation.key_instances import INSTANCE_METRICS, agreement, key_instance_metrics


def instance_auc(*arguments):
    return key_instance_metrics(*arguments)["instance_auc"]


def three_bags():
    bags = Bags.from_arrays([[[0.0]] * 4, [[0.0]] * 3, [[0.0]] * 2])
    values = np.array([0.9, 0.2, 0.5, 0.1, 0.3, 0.3, 0.4, 0.1, 0.2])
    matters = np.array([True, False, False, True, False, True, False, False, False])
    return bags, values, matters


def test_instance_auc_by_hand():
    bags, values, matters = three_bags()
    # bag 0: 0.9 wins twice, 0.1 loses twice: 1/2; bag 1: a draw and a loss: 1/4; bag 2 holds one kind alone
    assert instance_auc(bags, values, matters, np.array([True, True, True])) == pytest.approx(3 / 8)
    assert instance_auc(bags, values, matters, np.array([True, False, False])) == pytest.approx(1 / 2)
    assert instance_auc(bags, values, matters, np.array([False, True, True])) == pytest.approx(1 / 4)


def test_every_bag_counts_the_same_whatever_its_size():
    bags = Bags.from_arrays([[[0.0]] * 2, [[0.0]] * 40])
    matters = np.r_[[True, False], np.arange(40) < 20]
    values = np.r_[[0.1, 0.9], np.arange(40)[::-1]].astype(float)
    assert instance_auc(bags, values, matters, np.array([True, True])) == 0.5


@settings(max_examples=25)
@given(st.integers(0, 10**6))
def test_only_the_ranks_within_a_bag_matter(seed):
    bags, values, matters = three_bags()
    rng = np.random.default_rng(seed)
    bag_of_instance = np.repeat(np.arange(3), bags.sizes)
    other = values * rng.uniform(0.1, 10, 3)[bag_of_instance] + rng.normal(size=3)[bag_of_instance]
    every = np.ones(3, dtype=bool)
    assert instance_auc(bags, np.exp(other), matters, every) == instance_auc(bags, values, matters, every)


@pytest.mark.parametrize("which", [[False, False, False], [False, False, True]])
def test_nothing_to_rank_is_said(which):
    bags, values, matters = three_bags()
    with pytest.raises(BagwiseError, match="none of these bags holds instances of both kinds"):
        instance_auc(bags, values, matters, np.array(which))


@st.composite
def judged_bags(draw):
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    sizes = rng.integers(1, 9, draw(st.integers(1, 12)))
    bags = Bags(np.zeros((sizes.sum(), 1)), np.r_[0, sizes.cumsum()])
    levels = draw(st.sampled_from([2, 4, 1000]))  # few: many instances have the same value
    values, matters = rng.integers(0, levels, sizes.sum()) / levels, rng.random(sizes.sum()) < 0.4
    return bags, values, matters, rng.random(len(bags)) < 0.8


@settings(max_examples=100)
@given(judged_bags())
def test_metrics_within_bags_are_those_of_scikit_learn(case):
    bags, values, matters, chosen = case
    areas, precisions, hits, rows = [], [], [], []
    for position in np.flatnonzero(chosen):
        part = np.arange(*bags.offsets[position : position + 2])
        if 0 < matters[part].sum() < len(part):
            areas.append(roc_auc_score(matters[part], values[part]))
            precisions.append(average_precision_score(matters[part], values[part]))
            best = [row for row in part if values[row] == values[part].max()]
            hits.append(sum(matters[row] for row in best) / len(best))
            rows += part.tolist()
    if not rows:
        with pytest.raises(BagwiseError, match="nothing to rank"):
            key_instance_metrics(*case)
        return
    pooled = roc_auc_score(matters[rows], values[rows])
    expected = [np.mean(areas), np.mean(precisions), np.mean(hits), pooled]
    found = key_instance_metrics(*case)
    assert list(found) == list(INSTANCE_METRICS)
    assert list(found.values()) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=50)
@given(st.integers(0, 10**6))
def test_agreement_is_the_mean_over_pairs_and_bags(seed):
    rng = np.random.default_rng(seed)
    bags = Bags(np.zeros((9, 1)), np.array([0, 4, 5, 9]))
    values = [rng.random(9) for _ in range(3)]
    same, correlations = [], []
    for part in (slice(0, 4), slice(5, 9)):
        for one, other in [(0, 1), (0, 2), (1, 2)]:
            same.append(values[one][part].argmax() == values[other][part].argmax())
            correlations.append(spearmanr(values[one][part], values[other][part]).statistic)
    found = agreement(bags, values, np.ones(3, bool))
    assert found.same_first == pytest.approx(np.mean(same))
    assert found.rank_correlation == pytest.approx(np.mean(correlations))


def test_a_model_agrees_with_itself_and_not_with_one_that_says_nothing():
    bags = Bags(np.zeros((5, 1)), np.array([0, 3, 5]))
    values = np.array([0.1, 0.2, 0.3, 0.9, 0.1])
    assert agreement(bags, [values, values], np.ones(2, bool)) == (1.0, 1.0)
    assert agreement(bags, [values, -values], np.ones(2, bool)) == (0.0, -1.0)
    assert agreement(bags, [values, np.ones(5)], np.ones(2, bool)).rank_correlation == 0


def test_agreement_with_nobody_is_refused():
    bags = Bags(np.zeros((3, 1)), np.array([0, 1, 3]))
    with pytest.raises(BagwiseError, match="two models or more"):
        agreement(bags, [np.zeros(3)], np.ones(2, bool))
    with pytest.raises(BagwiseError, match="none of these bags holds two instances"):
        agreement(bags, [np.zeros(3)] * 2, np.array([True, False]))
