"""Whether bags are like those learnt from: how many are called strangers that are none, and how many that are."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bagwise.bags import Bags
from bagwise.methods.classical.summaries import summaries_of
from bagwise.trust.strangers import RARE, KnownBags, strangers_told


def made(rng, bags, features=6, shift=0.0):
    """Bags of 5 to 15 instances whose features depend on each other, with means and spreads of their own."""
    sizes = rng.integers(5, 16, bags)
    mixing = np.random.default_rng(0).normal(size=(features, features))
    of_bag = np.repeat(rng.normal(size=(bags, features)), sizes, axis=0)
    instances = (of_bag + rng.gamma(2.0, size=(sizes.sum(), features))) @ mixing
    instances += shift * 3 * np.linalg.norm(mixing, axis=0)  # of which 3 is the variance
    return Bags(instances, np.cumsum([0, *sizes]))


def summed_up(bags):
    found = summaries_of(bags)
    return np.concatenate([found.mean, found.spread, np.log(found.sizes)[:, None]], axis=1)


@pytest.mark.parametrize("training", [200, 800])
def test_about_one_in_a_hundred_like_bags_is_a_stranger_and_nearly_all_that_are_shifted_by_three_spreads(training):
    rng, flagged, found = np.random.default_rng(1), [], []
    for _ in range(3200 // training):
        known = KnownBags(summed_up(made(rng, training)), np.arange(training) % 5)
        flagged.append((known.p_values(summed_up(made(rng, 2000))) <= RARE).mean())
        found.append((known.p_values(summed_up(made(rng, 200, shift=3**0.5))) <= RARE).mean())
    assert 0.005 < np.mean(flagged) < 0.015
    assert np.mean(found) > 0.95


def test_bags_of_a_new_group_are_no_strangers_for_being_of_a_new_group():
    rng, rates = np.random.default_rng(2), {True: [], False: []}
    for _ in range(12):
        groups = np.repeat(np.arange(650), 4)
        summaries = rng.normal(size=(2600, 8)) + 3 * rng.normal(size=(650, 8))[groups]
        for aware, fold in ((True, groups[:600] % 5), (False, rng.permutation(600) % 5)):
            known = KnownBags(summaries[:600], fold, groups=groups[:600] if aware else None)
            rates[aware].append((known.p_values(summaries[600:]) <= RARE).mean())
    assert 0.004 < np.mean(rates[True]) < 0.016
    assert np.mean(rates[False]) > 0.1


def slow_p_values(known, summaries, vectors):
    """Do it bag by bag."""
    n, folds = len(known.fold), int(known.fold.max()) + 1
    groups = list(range(n)) if known.groups is None else known.groups.tolist()
    strange = np.full((folds, n + len(summaries)), np.nan)
    for fold in range(folds):
        seen = known.fold != fold
        parts = [np.concatenate([known.summaries, summaries])]
        if vectors is not None:
            parts.append(np.concatenate([known.vectors[fold], vectors[fold]]))
        scaled = []
        for part in parts:
            spread = part[:n][seen].std(axis=0)
            spread[spread == 0] = 1
            scaled.append((part - part[:n][seen].mean(axis=0)) / spread / part.shape[1] ** 0.5)
        place = np.concatenate(scaled, axis=1)
        for bag in range(len(place)):
            others = [one for one in np.flatnonzero(seen) if bag >= n or groups[one] != groups[bag]]
            if others:
                strange[fold, bag] = np.log(np.sort(np.linalg.norm(place[others] - place[bag], axis=1))[:5].mean())
    off = np.full_like(strange, np.nan)
    held = [strange[fold, :n][known.fold == fold] for fold in range(folds)]
    spread = (sum(((one - one.mean()) ** 2).sum() for one in held) / (n - folds)) ** 0.5
    for fold in range(folds):
        of_seen = strange[fold, :n][known.fold != fold]
        of_seen = of_seen[~np.isnan(of_seen)]
        for bag in range(n + len(summaries)):
            if bag >= n or known.fold[bag] == fold:
                off[fold, bag] = (strange[fold, bag] - held[fold].mean()) / (spread or 1)
            elif len(of_seen):
                off[fold, bag] = (strange[fold, bag] - of_seen.mean()) / (of_seen.std() or 1)
    mean = [np.mean([one for one in off[:, bag] if not np.isnan(one)]) for bag in range(n + len(summaries))]
    weights = [1 / groups.count(group) for group in groups]
    return [
        (1 + sum(weight * (mean[bag] >= mean[n + new]) for bag, weight in enumerate(weights))) / (1 + sum(weights))
        for new in range(len(summaries))
    ]


@given(st.integers(0, 2**32 - 1), st.booleans(), st.booleans(), st.integers(4, 30))
def test_p_values_are_what_a_plain_loop_gives(seed, neural, grouped, n):
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(2, n + 3, 4)) if neural else None
    summaries = np.concatenate([rng.normal(size=(n + 3, 2)), np.ones((n + 3, 1))], axis=1)
    fold = np.arange(n) % 2
    groups = fold + 2 * rng.integers(0, 3, n) if grouped else None  # each within a fold
    known = KnownBags(summaries[:n], fold, None if vectors is None else vectors[:, :n], groups)
    new = None if vectors is None else vectors[:, n:]
    assert known.p_values(summaries[n:], new) == pytest.approx(slow_p_values(known, summaries[n:], new), abs=1e-12)


def test_it_does_not_matter_where_and_how_large_the_space_of_a_model_is():
    rng = np.random.default_rng(3)
    summaries, vectors, fold = rng.normal(size=(90, 3)), rng.normal(size=(3, 90, 5)), np.arange(60) % 3
    stretched = vectors * np.array([1e-3, 1.0, 1e4])[:, None, None] + np.array([5.0, 0.0, -9.0])[:, None, None]
    found = [
        KnownBags(summaries[:60], fold, one[:, :60]).p_values(summaries[60:], one[:, 60:])
        for one in (vectors, stretched)
    ]
    assert np.array_equal(*found)


def test_what_only_the_model_sees_is_found_by_its_vectors():
    rng = np.random.default_rng(4)
    summaries, vectors, fold = rng.normal(size=(250, 20)), rng.normal(size=(5, 250, 8)), np.arange(200) % 5
    vectors[:, 200:] += 4
    alone = KnownBags(summaries[:200], fold).p_values(summaries[200:])
    both = KnownBags(summaries[:200], fold, vectors[:, :200]).p_values(summaries[200:], vectors[:, 200:])
    assert (alone <= RARE).mean() < 0.1
    assert (both <= RARE).mean() > 0.95


def test_models_that_agree_little_still_call_one_like_bag_in_a_hundred_a_stranger():
    rng, flagged = np.random.default_rng(6), []
    for _ in range(12):
        summaries, vectors, fold = rng.normal(size=(1200, 3)), rng.normal(size=(5, 1200, 8)), np.arange(200) % 5
        known = KnownBags(summaries[:200], fold, vectors[:, :200])
        flagged.append((known.p_values(summaries[200:], vectors[:, 200:]) <= RARE).mean())
    assert 0.005 < np.mean(flagged) < 0.015


def test_values_that_overflow_are_strange_and_no_gap():
    summaries = np.random.default_rng(5).normal(size=(120, 3))
    new = np.array([[1e300, 0, 0], [-1e120, 1e120, 0], [0, 0, 0]])
    p = KnownBags(summaries, np.arange(120) % 4).p_values(new)
    assert (p[:2] == 1 / 121).all()
    assert p[2] > RARE


@pytest.mark.parametrize(
    ("bags", "told"),
    [
        (60, "2 of 3 bags lie farther .* than any of these does; .* about 0 would, since 60 training bags"),
        (99, "2 of 3 bags lie farther from the training bags than 99 % of these do; of bags like them about 0 would"),
    ],
)
def test_with_few_training_bags_it_is_said_what_cannot_be_told(bags, told):
    known = KnownBags(np.random.default_rng(7).normal(size=(bags, 2)), np.arange(bags) % 3)
    assert known.finest == 1 / (bags + 1)
    p = known.p_values(np.array([[99.0, 0], [0, 0], [0, 99.0]]))
    assert re.match(told, strangers_told(p, known.finest))
