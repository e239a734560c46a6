"""The variance of an area under the ROC curve, beside its definition, pair by pair, and beside another library."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from MLstatkit import Delong_test
from sklearn.metrics import roc_auc_score

from bagwise import BagwiseError
from bagwise.evaluation.delong import auc_areas, auc_difference


def by_definition(outcomes, scores, groups):
    """Obuchowski's formulas as they stand in the paper, with a loop for each sum."""

    def ranked(x, y):
        return 1.0 if x > y else 0.5 if x == y else 0.0

    positives, negatives = np.flatnonzero(outcomes), np.flatnonzero(~outcomes)
    m, n = len(positives), len(negatives)
    clusters = sorted(set(groups.tolist()))
    v10 = [{i: sum(ranked(row[i], row[k]) for k in negatives) / n for i in positives} for row in scores]
    v01 = [{k: sum(ranked(row[i], row[k]) for i in positives) / m for k in negatives} for row in scores]
    areas = [sum(v.values()) / m for v in v10]

    def surplus(values, area, cluster):
        return sum(value - area for bag, value in values.items() if groups[bag] == cluster)

    i10 = len({groups[i] for i in positives})
    i01 = len({groups[k] for k in negatives})
    covariance = np.empty((len(scores), len(scores)))
    for r in range(len(scores)):
        for s in range(len(scores)):
            a = {c: (surplus(v10[r], areas[r], c), surplus(v10[s], areas[s], c)) for c in clusters}
            b = {c: (surplus(v01[r], areas[r], c), surplus(v01[s], areas[s], c)) for c in clusters}
            s10 = i10 / ((i10 - 1) * m) * sum(x * y for x, y in a.values())
            s01 = i01 / ((i01 - 1) * n) * sum(x * y for x, y in b.values())
            factor = len(clusters) / (len(clusters) - 1)
            s11 = factor * sum(a[c][0] * b[c][1] for c in clusters)
            s11 += factor * sum(a[c][1] * b[c][0] for c in clusters)
            covariance[r, s] = s10 / m + s01 / n + s11 / (m * n)
    return areas, covariance


@st.composite
def ranked_bags(draw):
    """Bags with many ties, two or more groups of each outcome, and two scores."""
    count = draw(st.integers(4, 16))
    outcomes = np.array(draw(st.lists(st.booleans(), min_size=count, max_size=count)))
    outcomes[:4] = [True, True, False, False]
    groups = np.array(draw(st.lists(st.integers(0, 5), min_size=count, max_size=count)))
    groups[:4] = [0, 1, 2, 0]
    values = st.lists(st.integers(0, 6), min_size=count, max_size=count)
    return outcomes, np.array([draw(values), draw(values)], float) / 7, groups


@settings(max_examples=60)
@given(ranked_bags())
def test_it_is_the_definition(bags):
    outcomes, scores, groups = bags
    for of in (groups, np.arange(len(groups))):
        areas, covariance = by_definition(outcomes, scores, of)
        found = auc_areas(outcomes, scores, groups=of)
        np.testing.assert_allclose(found.areas, areas, rtol=0, atol=1e-12)
        np.testing.assert_allclose(found.covariance, covariance, rtol=0, atol=1e-12)
        assert found.areas[0] == pytest.approx(roc_auc_score(outcomes, scores[0]), abs=1e-12)
        variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
        assert auc_difference(outcomes, *scores, groups=of).error ** 2 == pytest.approx(max(variance, 0), abs=1e-12)
    alone = auc_areas(outcomes, scores, groups=np.arange(len(groups))[::-1])
    np.testing.assert_allclose(alone.covariance, auc_areas(outcomes, scores).covariance, rtol=0, atol=1e-15)


@given(ranked_bags(), st.integers(2, 4))
def test_a_weight_is_like_so_many_equal_bags_of_a_group(bags, times):
    outcomes, scores, groups = bags
    counts = np.where(np.arange(len(groups)) % 3 == 0, times, 1)
    weighted = auc_areas(outcomes, scores, groups=groups, weights=counts)
    copied = auc_areas(np.repeat(outcomes, counts), np.repeat(scores, counts, axis=1), groups=np.repeat(groups, counts))
    np.testing.assert_allclose(weighted.areas, copied.areas, atol=1e-12)
    np.testing.assert_allclose(weighted.covariance, copied.covariance, atol=1e-12)
    zero = np.append(counts, 0)
    more = np.append(outcomes, True), np.append(scores, [[9.0], [9.0]], axis=1), np.append(groups, 77)
    np.testing.assert_allclose(
        auc_areas(more[0], more[1], groups=more[2], weights=zero).covariance, weighted.covariance, atol=1e-12
    )


def test_it_is_what_another_library_finds():

    rng = np.random.default_rng(3)
    for count, decimals in ((40, 1), (300, 2), (1000, 6)):
        outcomes = rng.random(count) < 0.3
        first, second = (np.round(rng.normal(size=count) + outcomes, decimals) for _ in range(2))
        *_, area, other, told = Delong_test(outcomes.astype(int), first, second)
        found = auc_difference(outcomes, first, second)
        assert told["method"] == "delong"
        assert found.difference == pytest.approx(area - other, abs=1e-12)
        assert found.error**2 == pytest.approx(told["var_diff"], abs=1e-12)
        assert found.p_value == pytest.approx(Delong_test(outcomes.astype(int), first, second)[1], abs=1e-12)


def test_what_leaves_no_spread():
    ill = np.array([False, False, True, True])
    assert auc_difference(ill, [1, 2, 3, 4], [1, 2, 3, 4])[:] == (0, 0, 0, 0, 1)
    assert auc_difference(ill, [1, 2, 3, 4], [4, 3, 2, 1])[:] == (1, 0, 1, 1, 0)
    lonely = auc_areas([False, True, True], [0.1, 0.5, 0.9])
    assert lonely.areas[0] == 1
    assert np.isnan(lonely.covariance).all()
    assert np.isnan(auc_difference([False, True, True], [1, 2, 3], [3, 2, 1]).p_value)


@pytest.mark.parametrize(
    ("outcomes", "weights", "says"),
    [
        ([True, True], None, "all bags have one outcome"),
        ([True, False], [1, 0], "all bags have one outcome"),
        ([True, False, True], None, "outcomes have shape (3,), scores (1, 2)"),
        ([True, False], [1, 1, 1], "weights (3,)"),
    ],
)
def test_what_is_refused(outcomes, weights, says):
    with pytest.raises(BagwiseError) as raised:
        auc_areas(outcomes, [0.1, 0.2], weights=weights)
    assert says in str(raised.value)
