"""What sums a bag up, and what scikit-learn makes of it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

import bagwise as bw
from bagwise import METHODS, BagwiseError
from bagwise.explain import explain
from bagwise.methods.classical import summaries
from bagwise.methods.classical.baselines import SummaryMIL
from bagwise.methods.classical.packed import Packed, packed_as
from bagwise.methods.classical.summaries import summaries_of, summaries_without
from bagwise.stored import Part, StoredInstances

BASELINES = [name for name, (kind, _) in METHODS.items() if issubclass(kind, SummaryMIL)]


def plain(arrays):
    """Say the same with NumPy, a bag at a time."""
    return np.array([np.r_[x.mean(0), x.max(0), x.min(0), x.std(0), len(x)] for x in arrays])


class Counted:
    """A file of which it is known how many rows were read at once."""

    def __init__(self, values):
        self.values, self.name, self.identity, self.read_at_once = values, "counted", "1", []
        self.shape, self.dtype = values.shape, values.dtype

    def read(self, begin, end):
        self.read_at_once.append(end - begin)
        return self.values[begin:end]


@settings(max_examples=40)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=12),
    block=st.sampled_from([2, 7, 30, 1000]),
    scale=st.sampled_from([1e-3, 1.0, 1e6]),
    offset=st.sampled_from([0.0, 100.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_summary_is_what_numpy_says_of_each_bag_whatever_the_blocks(sizes, block, scale, offset, seed):
    rng = np.random.default_rng(seed)
    arrays = [rng.normal(offset, 1, (size, 2)) * scale for size in sizes]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(summaries, "_BLOCK_NUMBERS", block)
        bags = bw.Bags.from_arrays(arrays)
        found = summaries_of(bags)
        assert_allclose(found.vectors(), plain(arrays), rtol=1e-9, atol=1e-9 * scale * (1 + offset))
        assert_array_equal(summaries_of(bags[::-1]).vectors()[::-1], found.vectors())
        source = Counted(bags.instances)
        stored = bw.Bags(StoredInstances([Part(source, 0, len(bags.instances))]), bags.offsets)
        assert_array_equal(summaries_of(stored).vectors(), found.vectors())
        assert sum(source.read_at_once) == len(bags.instances)  # each once
        assert max(source.read_at_once) <= max(1, block // 2)


def test_what_is_the_same_throughout_has_no_spread_and_is_its_own_mean():
    bags = bw.Bags.from_arrays([np.full((7, 1), 0.1), np.full((3, 1), 1e300), np.full((1, 1), -2.5)])
    found = summaries_of(bags)
    assert_array_equal(found.spread, np.zeros((3, 1)))
    assert_array_equal(found.mean[[0, 2]], [[0.1], [-2.5]])
    assert np.isfinite(found.vectors()).all()


@settings(max_examples=30)
@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    block=st.sampled_from([2, 7, 1000]),
    scale=st.sampled_from([1e-3, 1.0, 1e6]),
    coarse=st.booleans(),
    outlier=st.sampled_from([0.0, 1e9]),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_bag_without_an_instance_is_summed_up_as_if_it_had_never_been_there(
    sizes, block, scale, coarse, outlier, seed
):
    rng = np.random.default_rng(seed)
    arrays = [rng.normal(5, 1, (size, 2)) * scale for size in sizes]
    arrays = [np.round(x / scale) * scale if coarse else x for x in arrays]
    arrays[0][0] += outlier
    bags = bw.Bags.from_arrays(arrays)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(summaries, "_BLOCK_NUMBERS", block)
        source = Counted(bags.instances)
        stored = bw.Bags(StoredInstances([Part(source, 0, len(bags.instances))]), bags.offsets)
        found = [*summaries_without(stored)]
    assert max(len(part.sizes) for part in found) <= max(1, block // 2)
    assert sum(source.read_at_once) == len(bags.instances)
    vectors = np.concatenate([part.vectors() for part in found])
    wanted = [np.delete(x, row, axis=0) for x in arrays for row in range(len(x))]
    assert_array_equal(vectors[:, -1], [len(x) for x in wanted])
    known = vectors[:, -1] > 0
    assert np.isnan(vectors[~known, :-1]).all()
    if known.any():
        wanted = plain([x for x in wanted if len(x)])
        assert_allclose(vectors[known], wanted, rtol=1e-9, atol=1e-9 * scale)
        assert_array_equal(vectors[known, 2:6], wanted[:, 2:6])  # maxima and minima


@pytest.mark.parametrize("kind", ["two", "three", "labels", "numbers"])
@pytest.mark.parametrize("name", BASELINES)
def test_without_an_instance_is_what_is_said_of_a_bag_that_never_had_it(make_bags, name, kind):
    bags = make_bags(count=30, classes=3 if kind == "three" else 2)
    labels = np.column_stack([bags.labels, bags.sizes > 3]).astype(float)
    chosen = {name: values[0] for name, values in METHODS[name][0]._left_open().items()}
    if kind in ("labels", "numbers"):
        target = {"labels": "multi-label", "numbers": "real"}[kind]
        if target not in METHODS[name][0].KINDS:
            return
        bags, chosen = bags.with_labels(labels), {**chosen, "target": target}
    model = bw.make(name, random_state=0, **chosen).fit(bags)
    asked = bags[np.argsort(bags.sizes, kind="stable")[::3]]
    alone = np.repeat(asked.sizes == 1, asked.sizes)
    assert 0 < alone.sum() < len(alone)
    said = model.without_instance(asked)
    assert np.isnan(said[alone]).all()
    fewer = [np.delete(bag.instances, row, axis=0) for bag in asked for row in range(len(bag.instances))]
    assert_allclose(said[~alone], model.answers([x for x in fewer if len(x)]), rtol=1e-7, atol=1e-12)
    assert np.isnan(model.without_instance(asked[np.flatnonzero(asked.sizes == 1)])).all()
    with pytest.raises(BagwiseError, match="features"):
        model.without_instance([np.zeros((2, 5))])


def prepared(train, test, only_means=False):
    """Scale by hand what NumPy says of bags."""
    vectors = [plain([bag.instances for bag in bags]) for bags in (train, test)]
    if only_means:
        vectors = [part[:, : train.instance_shape[0]] for part in vectors]
    mean, spread = vectors[0].mean(axis=0), vectors[0].std(axis=0)
    return [((part - mean) / spread).clip(-3, 3) for part in vectors]


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("name", BASELINES)
def test_it_is_explained_by_what_deletion_changes(make_bags, name, classes):
    model, asked = (
        bw.make(name, random_state=0).fit(make_bags(24, classes=classes)),
        make_bags(4, classes=classes, seed=1),
    )
    found = explain(model, asked)
    falls = []
    for bag, whole in zip(asked, model.predict_proba(asked), strict=True):
        rows = np.arange(len(bag.instances))
        left = [bag.instances[rows != row] for row in rows]
        without = model.predict_proba(left) if len(rows) > 1 else np.full((1, classes), np.nan)
        falls += list(whole - without)
    falls = np.array(falls)[:, 1] if classes == 2 else np.array(falls)
    np.testing.assert_allclose(found.scores, falls, atol=1e-6)
    assert not found.alone
    table = found.table(asked)
    assert [column for column in table if column.startswith(("fall", "score"))] == (
        ["fall"] if classes == 2 else ["fall_0", "fall_1", "fall_2"]
    )
    highest = table.groupby("bag", sort=False)["rank"].idxmin().to_numpy()
    most = np.nan_to_num(falls if classes == 2 else falls.max(axis=1))
    equal = found.equal(asked)
    assert np.array_equal(most[highest][~equal], np.maximum.reduceat(most, asked.offsets[:-1])[~equal])
    with pytest.raises(BagwiseError, match="explain them one by one"):
        explain([model, bw.make("mi-SVM", random_state=0).fit(make_bags(24, classes=classes))], asked)


@pytest.mark.parametrize("name", ["mean-logistic", "summary-logistic"])
def test_logistic_regression_is_that_of_scikit_learn(make_bags, name):
    bags, weights = make_bags(count=40), np.linspace(0.5, 2, 30)
    train, test = bags[:30], bags[30:]
    model = bw.make(name, C=0.5, random_state=0).fit(train, sample_weight=weights)
    seen, asked = prepared(train, test, only_means=name == "mean-logistic")
    alone = LogisticRegression(C=0.5, max_iter=10_000).fit(seen, train.labels, weights)
    assert_allclose(model.learnt_.decide(model._seen(test, learning=False)), alone.decision_function(asked), rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "alone"),
    [
        ("summary-forest", ExtraTreesClassifier(30, random_state=0)),
        ("summary-boosting", HistGradientBoostingClassifier(max_iter=30, min_samples_leaf=3, random_state=0)),
    ],
)
def test_trees_rank_bags_as_those_of_scikit_learn_do(make_bags, name, alone):
    bags = make_bags(count=60)
    train, test = bags[:40], bags[40:]
    parameters = {"trees": 30, "leaf": 1} if name == "summary-forest" else {"rounds": 30, "leaf": 3}
    model = bw.make(name, random_state=0, **parameters).fit(train)
    seen, asked = prepared(train, test)
    wanted = alone.fit(seen, train.labels == train.labels.max()).predict_proba(asked)[:, 1]
    order = np.argsort(wanted, kind="stable")
    assert (np.diff(model.predict_proba(test)[order, 1]) >= -1e-9).all()


@pytest.mark.parametrize("name", BASELINES)
def test_of_several_labels_each_is_learnt_from_the_bags_of_which_it_is_known(make_bags, name):
    bags = make_bags(count=60)
    codes = np.asarray(bags.labels, float)
    unknown = np.arange(60) % 5 == 0
    labels = np.column_stack([codes, np.where(unknown, np.nan, 1 - codes), np.full(60, 1.0)])
    several = bags.with_labels(labels)
    chosen = {name: values[0] for name, values in METHODS[name][0]._left_open().items()}
    model = bw.make(name, random_state=0, **chosen).fit(several[:40], sample_weight=np.linspace(0.5, 2, 40))
    assert model.target_.kind == "multi-label"
    asked = model._seen(several[40:], learning=False)
    decisions = model.learnt_.decide(asked)
    alone = bw.make(name, random_state=0, **chosen).fit(bags[:40], sample_weight=np.linspace(0.5, 2, 40))
    assert_array_equal(decisions[:, 0], alone.learnt_.decide(asked))
    # Bags without the label teach the scale alone.
    scaler, packed = model._prepared(model._seen(several[:40], learning=False), np.linspace(0.5, 2, 40))
    known = ~unknown[:40]
    packed = Packed(packed.instances[known], np.arange(known.sum() + 1), packed.weights[known])
    (of_known,) = model._learn_all(packed, labels[:40, 1:2][known] == 1, model.parameters_, model.seed_)
    assert_array_equal(decisions[:, 1], of_known.decide(packed_as(asked, scaler))[:, 0])
    # What all have is that of every bag, as sure as there are bags.
    assert_allclose(decisions[:, 2], np.log(40.5 / 0.5))
    probabilities = model.predict_proba(several[40:])
    assert_allclose(probabilities, 1 / (1 + np.exp(-model.decision_function(several[40:]))))
    assert (model.predict(several[40:]) == (probabilities > 0.5)).all()
    assert model.score(several[40:]) > 0.6


def test_a_baseline_learns_from_files_without_holding_them(monkeypatch):
    monkeypatch.setattr(summaries, "_BLOCK_NUMBERS", 100)
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 300, 20)
    labels = np.arange(20) % 2
    source = Counted(rng.normal(np.repeat(labels, sizes)[:, None], 1, (sizes.sum(), 5)))
    offsets = np.cumsum([0, *sizes])
    stored = bw.Bags(StoredInstances([Part(source, 0, sizes.sum())]), offsets, labels)
    held = bw.Bags(source.values, offsets, labels)
    models = [bw.make("summary-logistic", random_state=0).fit(bags) for bags in (stored, held)]
    assert sum(source.read_at_once) == sizes.sum()
    assert max(source.read_at_once) <= 20
    assert_array_equal(models[0].predict_proba(stored), models[1].predict_proba(held))


def test_the_number_of_instances_counts():
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(2 + 8 * (bag % 2), 3)) for bag in range(40)]
    bags = bw.Bags.from_arrays(arrays, labels=np.arange(40) % 2)
    for name in BASELINES[1:]:
        assert bw.make(name, random_state=0).fit(bags[:30]).score(bags[30:]) == 1
