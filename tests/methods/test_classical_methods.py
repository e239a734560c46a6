import pickle
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import check_grad
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.exceptions import NotFittedError
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.svm import SVC

import bagwise as bw
from bagwise import METHODS, BagwiseError
from bagwise.methods.classical import base, diverse_density, instance_svm
from bagwise.methods.classical.bag_vectors import Mixture, fisher_vectors, vlad_vectors
from bagwise.methods.classical.base import ClassicalMIL, ScoresInstances
from bagwise.methods.classical.diverse_density import Hypotheses, maximise
from bagwise.methods.classical.packed import Packed
from bagwise.methods.classical.questions import Calibration
from bagwise.methods.classical.set_kernels import graph_weights, own_kernels, set_kernels

CLASSICAL = [name for name, (kind, _) in METHODS.items() if issubclass(kind, ClassicalMIL)]
SCORING = [name for name in CLASSICAL if issubclass(METHODS[name][0], ScoresInstances)]
every_method = pytest.mark.parametrize("name", CLASSICAL)
some = settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(scope="module")
def learnt(make_bags):
    """Fit a method once; the same question gives the same model."""
    models = {}

    def learn(name, classes=2):
        if (name, classes) not in models:
            models[name, classes] = bw.make(name, random_state=0).fit(make_bags(count=30, classes=classes))
        return models[name, classes]

    return learn


@st.composite
def packed_bags(draw, features=3, fewest=1):
    sizes = draw(st.lists(st.integers(1, 7), min_size=fewest, max_size=8))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    scale = draw(st.sampled_from([0.1, 1.0, 3.0]))
    return Packed(rng.normal(0, scale, (sum(sizes), features)), np.cumsum([0, *sizes]))


def decided(name, **parameters):
    """Give a method that has no grid to choose from: a third of the time, where the choice is not what is asked."""
    return bw.make(name, random_state=0, **{**METHODS[name][0].GRID[0], **parameters})


def parts(bags):
    return [bags.instances[begin:end] for begin, end in zip(bags.offsets[:-1], bags.offsets[1:], strict=True)]


# ---- each against a plain loop ---------------------------------------------------------------------------------------


@some
@given(one=packed_bags(), other=packed_bags(), gammas=st.lists(st.floats(0.01, 5), min_size=1, max_size=3))
def test_a_set_kernel_is_a_sum_over_pairs_of_instances(one, other, gammas):
    def plain(left, right, gamma):
        return sum(np.exp(-gamma * ((a - b) ** 2).sum()) for a in left for b in right)

    wanted = [[[plain(left, right, gamma) for right in parts(other)] for left in parts(one)] for gamma in gammas]
    assert_allclose(set_kernels(one, other, gammas), wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("rows", [2, 17, 29, 30, 64, 2000])
def test_set_kernels_are_the_same_by_halves_and_across_the_borders_of_their_blocks(monkeypatch, rows):
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 30, 15)
    bags = Packed(rng.normal(size=(sizes.sum(), 4)), np.cumsum([0, *sizes]))
    weights, gammas = rng.uniform(0.1, 1, sizes.sum()), [0.2, 1.0]
    squares = ((bags.instances[:, None] - bags.instances) ** 2).sum(axis=2)
    wanted = np.exp(-np.multiply.outer(gammas, squares)) * np.outer(weights, weights)
    for axis in (1, 2):
        wanted = np.add.reduceat(wanted, bags.offsets[:-1], axis=axis)
    monkeypatch.setattr("bagwise.methods.classical.set_kernels._BLOCK_ROWS", rows)
    assert_allclose(set_kernels(bags, None, gammas, (weights, weights)), wanted, rtol=1e-11)
    assert_allclose(set_kernels(bags, bags, gammas, (weights, weights)), wanted, rtol=1e-11)
    assert_allclose(own_kernels(bags, gammas, weights), np.diagonal(wanted, axis1=1, axis2=2), rtol=1e-11)


def plain_graph_weights(instances):
    distances = [[np.linalg.norm(a - b) for b in instances] for a in instances]
    near = np.array(distances) <= np.mean(distances)
    return 1 / near.sum(axis=1)


@some
@given(bags=packed_bags())
def test_an_instance_weighs_one_over_its_degree(bags):
    assert_allclose(graph_weights(bags), np.concatenate([plain_graph_weights(part) for part in parts(bags)]))


@pytest.mark.parametrize(("name", "weigh"), [("MI-Kernel", lambda part: np.ones(len(part))), ("mi-Graph", None)])
@pytest.mark.parametrize("normalize", ["root", "mean"])
def test_kernel_methods_are_an_svm_on_the_kernel_of_the_papers(make_bags, name, weigh, normalize):
    weigh = weigh or plain_graph_weights
    bags = make_bags(count=30)
    train, test = bags[:20], bags[20:]
    model = bw.make(name, normalize=normalize, gamma=0.7, C=3.0, random_state=0).fit(train)
    mean, spread = train.instances.mean(axis=0), train.instances.std(axis=0)
    scaled = [((bag.instances - mean) / spread).clip(-3, 3) for bag in bags]
    gamma = 0.7 / (3 * np.concatenate(scaled[:20]).var())

    def kernel(a, b):
        squares = np.array([[((x - y) ** 2).sum() for y in b] for x in a])
        return weigh(a) @ np.exp(-gamma * squares) @ weigh(b)

    def normalized(a, b):
        if normalize == "root":
            return kernel(a, b) / np.sqrt(kernel(a, a) * kernel(b, b))
        return kernel(a, b) / (weigh(a).sum() * weigh(b).sum())

    gram = np.array([[normalized(a, b) for b in scaled[:20]] for a in scaled])
    svm = SVC(kernel="precomputed", C=3 / np.trace(gram[:20]) * 20).fit(gram[:20], train.labels)
    wanted = svm.decision_function(gram[20:])
    packed = Packed(np.concatenate(scaled[20:]), test.offsets)
    assert_allclose(model.learnt_.learners[0].decide(packed)[:, 0], wanted, atol=0.01)  # libsvm stops at 1e-3
    assert np.linalg.eigvalsh(gram[:20]).min() > -1e-10


@some
@given(bags=packed_bags(fewest=2), words=st.integers(1, 2), seed=st.integers(0, 100))
def test_vlad_sums_differences_from_the_nearest_codeword(bags, words, seed):
    codebook = KMeans(words, n_init=1, random_state=seed).fit(bags.instances)
    wanted = []
    for part in parts(bags):
        vector = np.zeros((words, 3))
        for instance in part:
            nearest = np.argmin([np.linalg.norm(instance - centre) for centre in codebook.cluster_centers_])
            vector[nearest] += instance - codebook.cluster_centers_[nearest]
        vector = np.sign(vector.ravel()) * np.sqrt(abs(vector.ravel()))
        wanted.append(vector / (np.linalg.norm(vector) or 1.0))
    # Where a sum is 0 but for rounding, its root is not.
    assert_allclose(vlad_vectors(bags, codebook.cluster_centers_), wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("modes", [1, 3])
def test_a_fisher_vector_is_the_scaled_gradient_of_the_mean_log_likelihood(modes):
    rng = np.random.default_rng(0)
    sizes = [5, 1, 8, 20]
    bags = Packed(rng.normal(size=(34, 2)) * [1.0, 3.0], np.cumsum([0, *sizes]))
    mixture = GaussianMixture(modes, covariance_type="diag", random_state=0).fit(bags.instances)
    weights, means, spreads = mixture.weights_, mixture.means_, np.sqrt(mixture.covariances_)
    wanted = []
    for part in parts(bags):
        by_weight, by_mean, by_spread = np.zeros(modes), np.zeros((modes, 2)), np.zeros((modes, 2))
        for x in part:
            densities = [
                w * np.prod(np.exp(-(((x - m) / s) ** 2) / 2) / (np.sqrt(2 * np.pi) * s))
                for w, m, s in zip(weights, means, spreads, strict=True)
            ]
            posterior = densities / np.sum(densities)
            for k in range(modes):
                z = (x - means[k]) / spreads[k]
                by_weight[k] += (posterior[k] - weights[k]) / np.sqrt(weights[k]) / len(part)
                by_mean[k] += posterior[k] * z / np.sqrt(weights[k]) / len(part)
                by_spread[k] += posterior[k] * (z**2 - 1) / np.sqrt(2 * weights[k]) / len(part)
        vector = np.concatenate([by_weight, by_mean.ravel(), by_spread.ravel()])
        vector = np.sign(vector) * np.sqrt(abs(vector))
        wanted.append(vector / np.linalg.norm(vector))
    # With one mode its weight cannot change: 0 but for rounding, whose root is 1e-8.
    assert_allclose(fisher_vectors(bags, Mixture(weights, means, spreads)), wanted, rtol=1e-7, atol=1e-6)


def scaled_by_hand(bags):
    instances = (bags.instances - bags.instances.mean(axis=0)) / bags.instances.std(axis=0)
    return instances.clip(-3, 3)


def plain_mi_svm(bags, svm):
    """Andrews et al., instance by instance."""
    instances = scaled_by_hand(bags)
    labels = np.repeat(bags.labels, bags.sizes).tolist()
    for _ in range(10):
        svm.fit(instances, labels)
        values, before = svm.decision_function(instances), list(labels)
        for bag in range(len(bags)):
            if bags.labels[bag]:
                rows = range(bags.offsets[bag], bags.offsets[bag + 1])
                for row in rows:
                    labels[row] = int(values[row] > 0)
                if not any(labels[row] for row in rows):
                    labels[max(rows, key=lambda row: values[row])] = 1
        if labels == before:
            break
    return svm, np.array(labels, dtype=bool), labels == before


def plain_MI_svm(bags, svm):  # noqa: N802
    instances = scaled_by_hand(bags)
    negatives = [row for bag in range(len(bags)) if not bags.labels[bag] for row in range(*bags.offsets[bag : bag + 2])]
    positives = [range(*bags.offsets[bag : bag + 2]) for bag in range(len(bags)) if bags.labels[bag]]
    witnesses = [instances[rows.start : rows.stop].mean(axis=0) for rows in positives]
    chosen = None
    for _ in range(10):
        X = np.concatenate([witnesses, instances[negatives]])
        svm.fit(X, [1] * len(witnesses) + [0] * len(negatives))
        values = svm.decision_function(instances)
        best = [max(rows, key=lambda row: values[row]) for rows in positives]
        settled = best == chosen
        if settled:
            break
        chosen, witnesses = best, [instances[row] for row in best]
    return svm, np.array(best), settled


@pytest.mark.parametrize(("name", "plain"), [("mi-SVM", plain_mi_svm), ("MI-SVM", plain_MI_svm)])
@pytest.mark.parametrize(("kernel", "C", "gamma"), [("linear", 0.1, 1.0), ("rbf", 10.0, 2.0)])
@pytest.mark.parametrize("seed", range(4))
def test_svms_on_instances_come_to_the_fixed_point_of_a_plain_loop(make_bags, name, plain, kernel, C, gamma, seed):
    bags = make_bags(count=30, seed=seed)
    model = bw.make(name, kernel=kernel, C=C, gamma=gamma, random_state=0).fit(bags)
    found = model.learnt_.learners[0]
    width = gamma / (3 * scaled_by_hand(bags).var())
    svm, chosen, settled = plain(bags, SVC(kernel=kernel, C=C, gamma=width))
    assert_array_equal(found.chosen, np.flatnonzero(chosen) if name == "mi-SVM" else chosen)
    assert found.settled == settled
    instances = scaled_by_hand(bags)
    assert_allclose(found.svm.decide(instances), svm.decision_function(instances), atol=1e-9)
    values = np.maximum.reduceat(svm.decision_function(instances), bags.offsets[:-1])
    assert_allclose(found.decide(Packed(instances, bags.offsets)), values, atol=1e-9)


def test_a_round_that_never_settles_ends(make_bags, monkeypatch):
    monkeypatch.setattr(instance_svm, "ROUNDS", 1)
    for name in ("mi-SVM", "MI-SVM"):
        model = bw.make(name, kernel="rbf", C=10.0, gamma=1.0, random_state=0).fit(make_bags())
        assert not model.learnt_.learners[0].settled


# ---- EM-DD -----------------------------------------------------------------------------------------------------------


@some
@given(bags=packed_bags(fewest=2), seed=st.integers(0, 2**32 - 1))
def test_the_loss_is_the_negative_log_likelihood_of_the_labels(bags, seed):
    rng = np.random.default_rng([seed, 1])
    points, scales = rng.normal(size=(3, 3)), rng.normal(0, 0.5, size=(3, 3))
    positive = np.arange(len(bags.sizes)) % 2 == 0
    wanted = []
    for t, s in zip(points, scales, strict=True):
        likelihood = 0.0
        for part, label in zip(parts(bags), positive, strict=True):
            best = max(np.exp(-(((x - t) * s) ** 2).sum()) for x in part)
            likelihood += np.log(best if label else 1 - best)
        wanted.append(-likelihood)
    assert_allclose(Hypotheses(points, scales).losses(bags, positive), wanted, rtol=1e-6, atol=1e-6)


def test_the_gradient_of_the_loss_is_that_of_finite_differences():
    rng = np.random.default_rng(0)
    instances, places = rng.normal(size=(9, 3)), rng.permutation(9)[None, :6]
    objective = diverse_density._given_instances(instances, places, np.arange(6) % 2 == 0, rng.uniform(0.1, 3, 6))
    every = np.zeros(1, dtype=int)
    for _ in range(5):
        start = rng.normal(size=6)
        error = check_grad(lambda x: objective(x[None], every)[0][0], lambda x: objective(x[None], every)[1][0], start)
        assert error < 1e-4


@some
@given(bags=packed_bags(fewest=4), seed=st.integers(0, 2**32 - 1), steps=st.sampled_from([1, 3, 25]))
def test_the_likelihood_never_falls_from_step_to_step(bags, seed, steps):
    positive = np.arange(len(bags.sizes)) % 2 == 0
    rng = np.random.default_rng(seed)
    start = Hypotheses(bags.instances[rng.integers(len(bags.instances), size=5)], rng.uniform(0.1, 1, (5, 3)))
    found, losses = maximise(start, bags, positive, steps)
    assert_allclose(losses[0], start.losses(bags, positive))
    assert_allclose(losses[-1], found.losses(bags, positive), rtol=1e-9)
    for before, after in pairwise(losses):
        assert (after <= before).all()


def test_a_hypothesis_does_not_depend_on_its_company():
    rng = np.random.default_rng(3)
    bags = Packed(rng.normal(size=(60, 4)), np.arange(0, 61, 3))
    positive = np.arange(20) % 2 == 0
    start = Hypotheses(bags.instances[np.repeat(positive, 3)][:8], np.full((8, 4), 0.5))
    _, together = maximise(start, bags, positive, 3)
    for number in range(8):
        _, alone = maximise(Hypotheses(*(part[[number]] for part in start)), bags, positive, 3)
        assert_allclose(together[-1][number], alone[-1][0], rtol=1e-6)


def test_it_finds_the_point_that_was_hidden():
    rng = np.random.default_rng(0)
    arrays = []
    for bag in range(40):
        instances = rng.uniform(-5, 5, size=(6, 2))
        instances = instances[np.abs(instances - [2, -1]).max(axis=1) > 1]
        arrays.append(np.concatenate([instances, rng.normal([2, -1], 0.1, (bag % 2, 2))]))
    bags = bw.Bags.from_arrays(arrays, labels=[bag % 2 for bag in range(40)])
    model = bw.make("EM-DD", scale=3.0, steps=25, random_state=0).fit(bags)
    scaler, (learner,) = model.learnt_
    point = learner.hypothesis.points * scaler.spread + scaler.mean
    assert_allclose(point[0], [2, -1], atol=0.3)
    assert model.score(bags) > 0.95


def test_no_more_starts_than_allowed(monkeypatch):
    seen = []
    monkeypatch.setattr(
        diverse_density, "maximise", lambda start, *rest: (seen.append(len(start.points)), maximise(start, *rest))[1]
    )
    rng = np.random.default_rng(0)
    bags = bw.Bags.from_arrays([rng.normal(size=(30, 2)) for _ in range(12)], labels=[0, 1] * 6)
    bw.make("EM-DD", random_state=0).fit(bags)
    assert max(seen) == diverse_density.MOST_STARTS == 64
    assert diverse_density.BAGS_TO_START_FROM == 5


# ---- what all of them do ---------------------------------------------------------------------------------------------


@every_method
@pytest.mark.parametrize(("classes", "kind"), [(2, "bool"), (3, "string")])
def test_every_method_answers_in_the_users_labels(make_bags, name, classes, kind):
    bags = make_bags(classes=classes, kind=kind)
    model = decided(name).fit(bags)
    assert_array_equal(model.classes_, np.unique(bags.labels))
    probabilities = model.predict_proba(bags)
    assert probabilities.shape == (len(bags), classes)
    assert ((probabilities >= 0) & (probabilities <= 1)).all()
    assert_allclose(probabilities.sum(axis=1), 1)
    predicted = model.predict(bags)
    assert_array_equal(predicted, model.classes_[probabilities.argmax(axis=1)])
    assert model.score(bags) == np.mean(predicted == bags.labels)
    values = model.decision_function(bags)
    logarithms = np.log(probabilities)
    assert_allclose(values, logarithms[:, 1] - logarithms[:, 0] if classes == 2 else logarithms, atol=1e-9)


@every_method
def test_every_method_learns_an_easy_problem(name):
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(5, 4)) for _ in range(60)]
    for array in arrays[::2]:
        array[0] += [4, -4, 4, 0]
    bags = bw.Bags.from_arrays(arrays, labels=[1, 0] * 30)
    assert bw.make(name, random_state=0).fit(bags[:40]).score(bags[40:]) >= 0.85


@pytest.mark.parametrize("name", SCORING)
@pytest.mark.parametrize("classes", [2, 3])
def test_the_best_instance_speaks_for_its_bag(make_bags, learnt, name, classes):
    bags, model = make_bags(classes=classes, seed=5), learnt(name, classes)
    scores = model.instance_scores(bags)
    assert scores.shape == ((len(bags.instances),) if classes == 2 else (len(bags.instances), classes))
    if classes == 2 and (name != "EM-DD" or model.learnt_.learners[0].logistic.weights[0] > 0):
        assert_allclose(np.maximum.reduceat(scores, bags.offsets[:-1]), model.predict_proba(bags)[:, 1], rtol=1e-9)


def test_methods_without_scores_of_instances_do_not_pretend_to_have_any():
    assert SCORING == ["mi-SVM", "MI-SVM", "EM-DD"]
    for name in set(CLASSICAL) - set(SCORING):
        assert not hasattr(bw.make(name), "instance_scores")


@every_method
@pytest.mark.parametrize("classes", [2, 3])
@settings(some, max_examples=6)
@given(seed=st.integers(0, 2**32 - 1))
def test_neither_packing_nor_order_nor_repetition_changes_an_answer(learnt, name, classes, seed):
    rng = np.random.default_rng(seed)
    bags = bw.Bags.from_arrays([rng.normal(size=(size, 3)) for size in rng.integers(1, 8, size=5)])
    model = learnt(name, classes)
    together = model.predict_proba(bags)
    alone = np.concatenate([model.predict_proba([bag.instances]) for bag in bags])
    shuffled = [rng.permutation(bag.instances) for bag in bags]
    doubled = [np.concatenate([bag.instances] * 2) for bag in bags]
    assert_allclose(alone, together, rtol=1e-7, atol=1e-9)
    assert_allclose(model.predict_proba(bags[::-1])[::-1], together, rtol=1e-7, atol=1e-9)
    # Roots of what is 0 but for rounding are not exact.
    assert_allclose(model.predict_proba(shuffled), together, rtol=1e-5, atol=1e-7)
    if not name.startswith("summary-"):  # which counts instances
        assert_allclose(model.predict_proba(doubled), together, rtol=1e-5, atol=1e-7)


@every_method
def test_the_same_seed_gives_the_same_bits_and_fit_changes_neither_bags_nor_parameters(make_bags, learnt, name):
    bags, one, two = make_bags(count=30), learnt(name), bw.make(name, random_state=0)
    before, parameters = bags.instances.copy(), two.get_params()
    two.fit(bags)
    assert_array_equal(one.predict_proba(bags), two.predict_proba(bags))
    assert one.parameters_ == two.parameters_
    assert_array_equal(bags.instances, before)
    assert two.get_params() == parameters
    assert not [key for key in vars(clone(two)) if key.endswith("_")]


@every_method
def test_a_pickled_model_gives_the_same_bits(make_bags, learnt, name):
    model, bags = learnt(name), make_bags(seed=7)
    assert_array_equal(pickle.loads(pickle.dumps(model)).predict_proba(bags), model.predict_proba(bags))


@every_method
def test_scikit_learn_works_with_it(make_bags, name):
    bags = make_bags(count=30)
    search = GridSearchCV(decided(name), {"random_state": [1]}, cv=2).fit(bags, bags.labels)
    assert search.predict(bags).shape == (30,)


@every_method
def test_features_that_are_constant_far_off_or_few_do_no_harm(name):
    rng = np.random.default_rng(0)
    arrays = [np.column_stack([rng.normal(size=(4, 2)), np.ones(4), np.zeros(4)]) for _ in range(24)]
    arrays[3][0, 0] = 1e6
    bags = bw.Bags.from_arrays(arrays, labels=[0, 1] * 12)
    far = [np.array([[1e9, -1e9, 7.0, 1e3]])]
    assert np.isfinite(decided(name).fit(bags).predict_proba(far)).all()
    same = bw.Bags.from_arrays([np.ones((2, 3))] * 8, labels=[0, 1] * 4)
    assert np.isfinite(decided(name).fit(same).predict_proba(same)).all()


@every_method
def test_tiny_sets_are_learnt_from_without_an_inner_cross_validation(name):
    bags = bw.Bags.from_arrays([[[0.0, 1.0]], [[1.0, 0.0], [0.2, 0.1]], [[0.1, 0.9]]], labels=["a", "b", "a"])
    model = bw.make(name, random_state=0).fit(bags)
    assert model.validation_errors_ == []
    assert model.predict(bags).shape == (3,)


# ---- hyper-parameters and calibration --------------------------------------------------------------------------------


@every_method
def test_the_grid_is_small_and_what_is_given_is_kept(make_bags, learnt, name):
    kind = METHODS[name][0]
    assert 1 < len(kind.GRID) <= 4
    assert base.INNER_FOLDS == 3
    bags, point = make_bags(count=30), dict(kind.GRID[-1])
    model = bw.make(name, random_state=0, **point).fit(bags)
    assert {key: model.parameters_[key] for key in point} == point
    # A forest says probabilities by itself: no bag is held out where there is nothing to choose.
    assert len(model.validation_errors_) == (name != "summary-forest")
    free = learnt(name)
    assert len(free.validation_errors_) == len(kind.GRID)
    chosen = [{key: free.parameters_[key] for key in point} == dict(one) for one in kind.GRID].index(True)
    assert free.validation_errors_[chosen] == min(free.validation_errors_)


@every_method
def test_the_choice_never_sees_the_test_bags_nor_splits_a_group(make_bags, name, monkeypatch):
    bags = make_bags(count=24, groups=6)
    seen = []
    original = ClassicalMIL._prepared

    def spy(self, part, *rest):
        seen.append(part)
        return original(self, part, *rest)

    monkeypatch.setattr(ClassicalMIL, "_prepared", spy)
    bw.make(name, random_state=0).fit(bags)
    inner, whole = seen[:-1], seen[-1]
    assert len(whole) == 24
    for part in inner:
        left_out = set(bags.names) - set(part.names)
        assert left_out
        assert not set(part.groups) & {bag.group for bag in bags if bag.name in left_out}


@some
@given(
    seed=st.integers(0, 2**32 - 1),
    scale=st.sampled_from([1e-3, 1.0, 1e3]),
    classes=st.sampled_from([2, 3]),
)
def test_calibration_is_the_best_there_is_near_it(seed, scale, classes):
    rng = np.random.default_rng(seed)
    targets = np.arange(60) % classes
    shape = (60,) if classes == 2 else (60, 3)
    decisions = scale * (rng.normal(size=shape) + (targets if classes == 2 else np.eye(3)[targets]))
    found = Calibration.fit(decisions, targets)
    doubt = 1 / (60 / classes + 2)
    aims = np.full((60, classes), doubt / (classes - 1))
    aims[np.arange(60), targets] = 1 - doubt

    def loss(sharpness, offsets):
        return -(aims * Calibration(sharpness, offsets).log_probabilities(decisions)).sum()

    least = loss(*found)
    assert found.sharpness > 0
    for change in (0.9, 1.1):
        assert loss(found.sharpness * change, found.offsets) >= least - 1e-4
    shift = np.zeros_like(found.offsets)
    shift[(0,) * shift.ndim] = 0.1
    for sign in (-1, 1):
        assert loss(found.sharpness, found.offsets + sign * shift) >= least - 1e-4


# ---- refusals --------------------------------------------------------------------------------------------------------


@every_method
def test_images_unlabelled_bags_and_one_class_are_refused(make_bags, name):
    with pytest.raises(BagwiseError, match=r"learns from vectors, not from instances of shape \(4, 4\)"):
        bw.make(name).fit(make_bags(shape=(4, 4)))
    with pytest.raises(BagwiseError, match="no labels to learn from"):
        bw.make(name).fit(make_bags().with_labels(None))
    with pytest.raises(BagwiseError, match="there must be two classes or more"):
        bw.make(name).fit(make_bags()[::2])


@every_method
def test_nothing_is_answered_before_fit_or_for_other_features(make_bags, learnt, name):
    with pytest.raises(NotFittedError):
        bw.make(name).predict(make_bags())
    with pytest.raises(BagwiseError, match=r"instances have shape \(4,\), but the model learnt from .* \(3,\)"):
        learnt(name).predict(make_bags(shape=(4,)))


@pytest.mark.parametrize(
    ("name", "parameter", "value"),
    [
        ("mi-SVM", "kernel", "cubic"),
        ("mi-SVM", "C", 0),
        ("MI-SVM", "gamma", -1.0),
        ("MI-SVM", "C", "x"),
        ("MI-Kernel", "normalize", "none"),
        ("mi-Graph", "gamma", np.inf),
        ("MI-Kernel", "C", np.nan),
        ("EM-DD", "scale", 0),
        ("EM-DD", "steps", 0),
        ("miVLAD", "codewords", 1.5),
        ("miVLAD", "C", -2),
        ("miFV", "modes", 0),
        ("miFV", "energy", 1.5),
        ("miFV", "C", 0),
        ("mean-logistic", "C", 0),
        ("summary-SVM", "gamma", -1),
        ("summary-SVM", "epsilon", -0.1),
        ("summary-forest", "trees", 0),
        ("summary-boosting", "leaf", 1.5),
    ],
)
def test_a_bad_value_is_refused_with_the_parameters_name(make_bags, name, parameter, value):
    with pytest.raises(BagwiseError, match=f"^{parameter} is "):
        bw.make(name, **{parameter: value}).fit(make_bags())


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_random_state_that_is_no_seed_is_refused(make_bags, seed):
    with pytest.raises(BagwiseError, match="random_state is .*: it must be a whole number from 0 to 2\\*\\*32 - 1"):
        bw.make("miVLAD", random_state=seed).fit(make_bags())


@pytest.mark.parametrize("name", CLASSICAL)
def test_features_can_be_left_as_they_are(make_bags, name):
    bags = make_bags(18)
    huge = bw.Bags(bags.instances * [1, 1e-3, 1e3] + [0, 7, 0], bags.offsets, bags.labels)
    scaled, raw = (decided(name, standardize=given).fit(huge) for given in (True, False))
    if name not in ("summary-forest", "summary-boosting"):  # to trees one scale is as good as another
        assert not np.allclose(scaled.predict_proba(huge), raw.predict_proba(huge))


def test_standardize_is_yes_or_no(make_bags):
    with pytest.raises(BagwiseError, match="standardize is 'auto': it must be True or False"):
        bw.make("MI-SVM", standardize="auto").fit(make_bags())


def test_raw_values_reach_the_svm_as_they_are(make_bags):
    bags = make_bags(12)
    model = bw.make("MI-SVM", kernel="rbf", C=1.0, standardize=False, random_state=0).fit(bags)
    svm = model.learnt_.learners[0].svm
    rows = {row.tobytes() for row in bags.instances}
    assert all(row.tobytes() in rows for row in svm.support)


# ---- memory ----------------------------------------------------------------------------------------------------------


def test_a_bag_whose_graph_no_memory_holds_is_refused_before_it_is_made(make_bags):
    small = make_bags(count=12)
    bags = bw.Bags.from_arrays([*(bag.instances for bag in small), np.zeros((3_000_000, 3))], [*small.labels, 1])
    told = r"GraphKernelSVM must hold the distances between all 3000000 instances of bag '12', which takes .* GiB, and"
    model = bw.make("mi-Graph", random_state=0)
    with pytest.raises(BagwiseError, match=told):
        model.fit(bags)
    model.fit(small)
    with pytest.raises(BagwiseError, match=told):
        model.predict(bags)


@pytest.mark.parametrize(
    ("name", "what"), [("MI-Kernel", "kernels between all bags"), ("miVLAD", "all instances in double precision")]
)
def test_a_set_that_memory_cannot_hold_is_refused(make_bags, name, what, monkeypatch):
    bags = make_bags(count=200)
    most = bw.make(name)._holds(bags, len(bags))[what]
    for free, enough in ((most * 3, True), (most // 2, False)):
        monkeypatch.setattr(base.psutil, "virtual_memory", lambda free=free: SimpleNamespace(available=free))
        if enough:
            bw.make(name, random_state=0).fit(bags)
        else:
            with pytest.raises(BagwiseError, match=f"must hold {what}, which takes .*: give fewer or smaller bags"):
                bw.make(name, random_state=0).fit(bags)
