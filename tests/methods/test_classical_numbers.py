"""Numbers learnt by set kernels and bag vectors, and what every classical method does with every kind of target."""

import json

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import is_classifier, is_regressor
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import cross_val_score
from sklearn.svm import SVR

import bagwise as bw
from bagwise import METHODS, BagwiseError
from bagwise.methods.classical.base import ClassicalMIL
from bagwise.targets.registry import TARGETS

CLASSICAL = [name for name, (kind, _) in METHODS.items() if issubclass(kind, ClassicalMIL)]
OF_NUMBERS = [name for name in CLASSICAL if "real" in METHODS[name][0].KINDS]
every_regressor = pytest.mark.parametrize("name", OF_NUMBERS)

RNG = np.random.default_rng(0)
SIZES = RNG.integers(2, 6, 48)
ARRAYS = [RNG.normal(size=(size, 3)) + RNG.normal(size=3) for size in SIZES]
MEANS = np.array([array[:, 0].mean() for array in ARRAYS])
LABELS = {
    "classes": np.where(MEANS > 0, "high", "low"),
    "multi-label": np.column_stack([MEANS > 0.5, MEANS > 1]).astype(float),
    "real": 100 + 10 * MEANS,
    "count": SIZES,
    "ordinal": np.digitize(MEANS, [-1, 1]),
    "survival": np.array(list(zip(MEANS > -1, np.exp(MEANS), strict=True)), [("event", bool), ("time", float)]),
}
NUMBERS = bw.Bags.from_arrays(ARRAYS, labels=LABELS["real"])


def test_what_looks_at_whole_bags_learns_numbers_but_for_logistic_regression():
    assert OF_NUMBERS[:4] == ["MI-Kernel", "mi-Graph", "miVLAD", "miFV"]
    assert OF_NUMBERS[4:] == ["summary-SVM", "summary-forest", "summary-boosting"]


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("name", CLASSICAL)
def test_a_method_learns_a_kind_or_says_in_a_sentence_which_does(name, kind, monkeypatch):
    bags = bw.Bags.from_arrays(ARRAYS, labels=LABELS[kind])
    model = bw.make(name, target=kind, random_state=0)
    if kind in METHODS[name][0].KINDS:
        model.fit(bags)
        assert model.score(bags) > 0.3
        assert model.predict(bags).shape == np.shape(LABELS[kind])
        assert is_regressor(model) == (kind == "real")
        return
    monkeypatch.setattr(ClassicalMIL, "_prepared", lambda *_: pytest.fail("it began to learn"))
    told = rf"learns classes.*, and the target is {kind}: use a method that learns it, such as attention"
    for learn in (model.fit, lambda bags: bw.cross_validate(model, bags, folds=3, n_jobs=1)):
        with pytest.raises(BagwiseError, match=told) as caught:
            learn(bags)
        for named in str(caught.value).rpartition("such as ")[2].split(" or "):
            assert named == "attention" or kind in METHODS[named][0].KINDS


@every_regressor
def test_a_regressor_has_the_manners_of_one(name):
    model = bw.make(name, target="real", random_state=0, **METHODS[name][0].GRID[0])
    assert is_regressor(model)
    assert not is_classifier(model)
    assert len(cross_val_score(model, NUMBERS, NUMBERS.labels, scoring="r2", cv=3)) == 3
    model.fit(NUMBERS)
    assert_array_equal(model.predict(NUMBERS), model.answers(NUMBERS)[:, 0])
    assert model.score(NUMBERS) == r2_score(NUMBERS.labels, model.predict(NUMBERS))
    assert not [name for name in ("classes_", "predict_proba", "decision_function") if hasattr(model, name)]
    assert hasattr(model.set_params(target="auto").fit(NUMBERS.with_labels(LABELS["classes"])), "decision_function")


@every_regressor
def test_what_can_be_learnt_is_learnt(name):
    found = bw.cross_validate(bw.make(name, random_state=0), NUMBERS, folds=3, n_jobs=1)
    assert found.target.kind == "real"
    assert found.mean("r2") > 0.6
    assert found.mean("mae") < 0.7 * np.abs(NUMBERS.labels - NUMBERS.labels.mean()).mean()


@every_regressor
def test_units_of_labels_do_not_matter(name):
    one = bw.make(name, random_state=0).fit(NUMBERS)
    other = bw.make(name, random_state=0).fit(NUMBERS.with_labels(1e6 * NUMBERS.labels - 7))
    assert one.parameters_ == other.parameters_
    assert_allclose(other.predict(NUMBERS), 1e6 * one.predict(NUMBERS) - 7, rtol=1e-3)


@every_regressor
def test_several_numbers_are_learnt_each_by_itself(name):
    both = np.column_stack([MEANS, 50 - MEANS**2])
    model = bw.make(name, random_state=0, **dict(METHODS[name][0].GRID[0])).fit(ARRAYS, both)
    answers = model.predict(ARRAYS)
    assert answers.shape == (48, 2)
    for column in range(2):
        alone = bw.make(name, random_state=0, **model.parameters_).fit(ARRAYS, both[:, column])
        assert_allclose(answers[:, column], alone.predict(ARRAYS), atol=0.01 * both[:, column].std())


def scaled_by(train, bags):
    mean, spread = train.instances.mean(axis=0), train.instances.std(axis=0)
    return [((bag.instances - mean) / spread).clip(-3, 3) for bag in bags]


@pytest.mark.parametrize("epsilon", [0.0, 0.3])
def test_mi_kernel_is_support_vector_regression_on_the_plain_kernel(epsilon):
    train, test, weights = NUMBERS[:36], NUMBERS[36:], np.linspace(0.5, 2, 36)
    parameters = {"gamma": 0.5, "C": 4.0, "epsilon": epsilon}
    model = bw.make("MI-Kernel", **parameters, random_state=0).fit(train, sample_weight=weights)
    bags = scaled_by(train, NUMBERS)
    gamma = 0.5 / (3 * np.concatenate(bags[:36]).var())

    def kernel(a, b):
        return np.exp(-gamma * ((a[:, None] - b) ** 2).sum(axis=2)).sum()

    gram = np.array([[kernel(a, b) / np.sqrt(kernel(a, a) * kernel(b, b)) for b in bags[:36]] for a in bags])
    mean = np.average(train.labels, weights=weights)
    spread = np.sqrt(np.average((train.labels - mean) ** 2, weights=weights))
    svr = SVR(kernel="precomputed", C=4.0, epsilon=epsilon)
    svr.fit(gram[:36], (train.labels - mean) / spread, sample_weight=weights)
    wanted = svr.predict(gram[36:]) * spread + mean
    assert_allclose(model.predict(test), wanted, atol=0.01 * spread)  # libsvm stops at 1e-3
    assert model.score(test) > 0.4


def test_mi_vlad_is_ridge_regression_on_its_vectors():
    train, weights = NUMBERS[:36], np.linspace(0.5, 2, 36)
    model = bw.make("miVLAD", codewords=1, C=4.0, random_state=0).fit(train, sample_weight=weights)
    sums = np.array([bag.sum(axis=0) for bag in scaled_by(train, NUMBERS)])
    centre = np.concatenate(scaled_by(train, train)).mean(axis=0)
    roots = np.sign(sums - SIZES[:, None] * centre) * np.sqrt(abs(sums - SIZES[:, None] * centre))
    vectors = roots / np.linalg.norm(roots, axis=1, keepdims=True)
    ridge = Ridge(alpha=1 / 4).fit(vectors[:36], train.labels, sample_weight=weights)
    spread = np.sqrt(np.average((train.labels - np.average(train.labels, weights=weights)) ** 2, weights=weights))
    assert spread > 1
    assert_allclose(model.predict(NUMBERS), ridge.predict(vectors), rtol=1e-6)


@every_regressor
def test_the_choice_is_the_one_that_held_out_bags_agree_with_most(name):
    model = bw.make(name, random_state=0).fit(NUMBERS)
    kind = METHODS[name][0]
    grid = getattr(kind, "GRID_OF_NUMBERS", kind.GRID)
    assert len(model.validation_errors_) == len(grid)
    chosen = model.validation_errors_[[dict(point) for point in grid].index(model.parameters_)]
    assert chosen == min(model.validation_errors_)
    assert 0 < chosen < 1  # 1 less R squared


@every_regressor
def test_few_bags_and_groups_are_learnt_from(name):
    few = bw.make(name, random_state=0).fit(ARRAYS[:2], [0.5, 1.25])
    assert few.validation_errors_ == []
    assert np.isfinite(few.predict(ARRAYS)).all()
    groups = np.arange(48) // 4
    found = bw.make(name, random_state=0).fit(bw.Bags.from_arrays(ARRAYS, labels=LABELS["real"], groups=groups))
    assert found.validation_errors_
    with pytest.raises(BagwiseError, match="all training bags have the label 0.5: nothing can be learnt"):
        bw.make(name).fit(ARRAYS[:3], [0.5, 0.5, 0.5])


@every_regressor
def test_a_fold_of_zeros_and_ones_is_still_one_of_numbers(name):
    """By itself it would be taken for several labels."""
    labels = np.column_stack([MEANS > 0, MEANS > -0.5]).astype(float)
    labels[0] = 0.25
    train = np.arange(1, 48)
    given = {"random_state": 0, **METHODS[name][0].GRID[0]}
    found = bw.cross_validate(
        bw.make(name, **given), ARRAYS, labels, folds=[(train, [0]), (np.arange(47), [47])], n_jobs=1
    )
    assert found.target.kind == "real"
    alone = bw.make(name, target="real", **given).fit(bw.Bags.from_arrays(ARRAYS, labels=labels)[train])
    assert_array_equal(found.answers[0, 0], alone.answers(ARRAYS[:1])[0])


def test_the_command_tells_what_a_method_cannot_learn_before_another_trains(run, tmp_path, monkeypatch):
    rows = [(bag, *row, label) for bag, (array, label) in enumerate(zip(ARRAYS, MEANS, strict=True)) for row in array]
    pd.DataFrame(rows, columns=["bag", "x", "y", "z", "dose"]).to_csv(tmp_path / "doses.csv", index=False)
    told = ["--bag", "bag", "--label", "dose", "--target", "real"]
    what = ["evaluate", tmp_path / "doses.csv", *told, "--jobs", 1, "--no-baseline"]
    done = run(
        *what, "--method", "MI-Kernel", "--set", "epsilon=0.2", "--folds", 3, "--json", "--out", tmp_path / "out"
    )
    assert {row["metric"] for row in json.loads(done.out)["rows"]} == {"r2", "mae", "rmse"}
    assert "value" in pd.read_csv(tmp_path / "out" / "predictions.csv")
    monkeypatch.setattr(ClassicalMIL, "_prepared", lambda *_: pytest.fail("it began to learn"))
    done = run(*what, "--method", "MI-Kernel", "--method", "MI-SVM", "--folds", 3, "--out", tmp_path / "none")
    assert done.status == 1
    assert "learns classes, and the target is real: use a method that learns it, such as attention or" in done.told


def test_hubers_loss_is_for_methods_that_go_down_a_loss():
    bags = bw.Bags.from_arrays(list(np.arange(12.0).reshape(12, 1, 1)), labels=np.arange(12) + 0.5)
    with pytest.raises(BagwiseError, match="a classical method has a loss of its own: say 'real'"):
        bw.make("MI-Kernel", target="real: huber").fit(bags)
