import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import KFold, StratifiedGroupKFold, StratifiedKFold

from bagwise.folds import grouped_folds, random_folds, stratified_folds


def folds_of(splitter, strata, groups=None):
    """Give the fold of each as scikit-learn divides."""
    found = np.empty(len(strata), int)
    for fold, (_, test) in enumerate(splitter.split(strata, strata, groups)):
        found[test] = fold
    return found


@st.composite
def to_divide(draw):
    """Draw how many folds, strata with enough of each in some order, groups and a seed."""
    folds = draw(st.integers(2, 7))
    counts = draw(st.lists(st.integers(folds, folds + 12), min_size=1, max_size=12))
    names = draw(st.permutations("abcdefghijkl"))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    strata = rng.permutation(np.repeat(np.array(names)[: len(counts)], counts))
    number = draw(st.integers(folds, len(strata)))
    groups = rng.permutation([*range(number), *rng.integers(number, size=len(strata) - number)])
    return folds, strata, groups, draw(st.integers(0, 2**32 - 1))


@settings(max_examples=150)
@given(to_divide())
def test_folds_are_those_of_scikit_learn(drawn):
    folds, strata, groups, seed = drawn
    kept = {"shuffle": True, "random_state": seed}
    same = np.testing.assert_array_equal
    same(random_folds(len(strata), folds, seed), folds_of(KFold(folds, **kept), strata))
    same(stratified_folds(strata, folds, seed), folds_of(StratifiedKFold(folds, **kept), strata))
    grouped = folds_of(StratifiedGroupKFold(folds, **kept), strata, groups)
    same(grouped_folds(strata, groups, folds, seed), grouped)
    same(stratified_folds(strata, folds, seed, groups), grouped)


@pytest.mark.parametrize("groups", [40, 400])
def test_many_groups_of_one_size_fall_where_those_of_scikit_learn_do(groups):
    """Where all folds are equally good, which one is taken rests on how closely they are compared."""
    strata, members = np.tile([0, 1, 1], groups), np.repeat(np.arange(groups), 3).astype(str).astype(object)
    for seed in range(5):
        splitter = StratifiedGroupKFold(10, shuffle=True, random_state=seed)
        np.testing.assert_array_equal(grouped_folds(strata, members, 10, seed), folds_of(splitter, strata, members))
