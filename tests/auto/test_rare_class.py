"""What a rare class asks of a search: what candidates are ranked by, how they decide, and what `fit` would give."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

import bagwise as bw
from bagwise.auto import candidates as rooms
from bagwise.auto.candidates import Candidate
from bagwise.auto.plan import Plan
from bagwise.auto.ranking import Ranking
from bagwise.bags import Bags
from bagwise.methods import recipes
from bagwise.targets.registry import target_of


@pytest.fixture(scope="module")
def rare():
    """Four hundred bags, of which one in ten has an instance that is far off."""
    rng, labels = np.random.default_rng(0), (np.arange(400) % 10 == 0).astype(int)
    arrays = [rng.normal(size=(rng.integers(1, 4), 2)) for _ in labels]
    for instances, label in zip(arrays, labels, strict=True):
        instances[0] += 4 * label
    return Bags.from_arrays(arrays, labels=labels)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**16), positive=st.integers(1, 20))
def test_where_a_class_is_rare_candidates_are_ranked_by_auc(seed, positive):
    rng, labels = np.random.default_rng(seed), (np.arange(40) < positive).astype(int)
    said, weights = rng.dirichlet(np.ones(2), size=40).round(2), rng.integers(1, 3, 40).astype(float)
    target = target_of("classes", labels)
    ranking = Ranking.of(target, labels, weights)
    is_rare = weights[:positive].sum() < weights.sum() / 4
    expected = 1 - roc_auc_score(labels, said[:, 1], sample_weight=weights)
    assert ranking.by_auc == is_rare
    assert ranking.misfit(labels, said, weights) == pytest.approx(
        expected if is_rare else target.misfit(labels, said, weights)
    )


def test_attention_as_it_comes_is_what_fit_gives_and_is_judged_by_a_threshold(rare, monkeypatch):
    monkeypatch.setattr(rooms, "PORTFOLIO", (Candidate("attention"), Candidate("mean-logistic")))
    monkeypatch.setattr(recipes, "MOST_EPOCHS", 6)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        model = bw.AutoMIL(trials=2, estimate=False, random_state=0).fit(rare)
    assert not told  # at one half a candidate may say one class, which nobody asks it
    found = {type(member).__name__: member for member in model.members_}["AttentionMIL"]
    alone = bw.AttentionMIL(random_state=0).fit(rare)
    np.testing.assert_array_equal(found.predict_proba(rare), alone.predict_proba(rare))
    assert (found.best_epoch_, found.settings_) == (alone.best_epoch_, alone.settings_)
    assert found.settings_.patience is not None
    assert min(row["recall"] for row in model.leaderboard_) > 0.5


@settings(max_examples=50, deadline=None)
@given(seconds=st.floats(1, 1e5), takes=st.floats(0.1, 1e4), estimate=st.booleans())
def test_minutes_are_shared_so_that_what_must_be_tried_fits_into_each_search(seconds, takes, estimate):
    plan = Plan.of(seconds, takes=takes, estimate=estimate)
    more = Plan.of(2 * seconds, takes=takes, estimate=estimate)
    if plan.inner * takes <= plan.share * seconds:  # else it is left out wherever it is
        assert (plan.outer - 1) * plan.inner * takes <= (1 - plan.share) * seconds or not plan.outer
        assert more.outer >= plan.outer
    assert estimate or not plan.outer
