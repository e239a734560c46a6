"""What may be given for bags and for a model, and what is said of anything else."""

from functools import cache

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import NotFittedError
from sklearn.feature_selection import SelectKBest
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

import bagwise as bw
from bagwise import BagwiseError
from bagwise.explain import contrast, explain, key_instances

NAMES = ("age", "size", "mass")
BAGS = bw.Bags.from_arrays(
    [np.random.default_rng(bag).normal(size=(2 + bag % 3, 3)) + bag % 2 for bag in range(12)],
    labels=[0, 1] * 6,
    feature_names=NAMES,
)
ARRAYS = [bag.instances for bag in BAGS]


@cache
def learnt(name="attention"):
    options = {} if name in ("MI-SVM", "miVLAD") else {"epochs": 2}
    return bw.make(name, random_state=0, **options).fit(BAGS)


# ---- bags ---------------------------------------------------------------------------------------------------------


def test_whatever_takes_bags_takes_a_list_of_arrays():
    model, labels = bw.AttentionMIL(epochs=2, random_state=0), BAGS.labels
    plain = bw.Bags.from_arrays(ARRAYS, labels)
    wanted = bw.fit_ensemble(model, plain, 2)
    members = bw.fit_ensemble(model, ARRAYS, 2, labels)
    said = bw.predict_ensemble(members, ARRAYS)
    np.testing.assert_array_equal(said.members, bw.predict_ensemble(wanted, plain).members)
    found, of_bags = explain(members, ARRAYS), explain(wanted, plain)
    np.testing.assert_array_equal(found.weights, of_bags.weights)
    pd.testing.assert_frame_equal(found.table(ARRAYS), of_bags.table(plain))
    pd.testing.assert_frame_equal(contrast(found, ARRAYS), contrast(of_bags, plain))
    assert len(key_instances(found, ARRAYS, 1)) == len(ARRAYS)
    result, of_bags = (bw.cross_validate(model, *X, folds=2, n_jobs=1) for X in ((ARRAYS, labels), (plain,)))
    np.testing.assert_array_equal(result.probabilities, of_bags.probabilities)


@pytest.mark.parametrize(
    ("X", "told"),
    [
        (np.zeros((5, 3)), r"shape \(5, 3\): which rows are of one bag, it does not say: .*Bags\(X, offsets, labels\)"),
        (np.zeros((5, 4, 3)), r"shape \(5, 4, 3\): if its first axis counts bags, give list\(X\)"),
        (pd.DataFrame(np.zeros((5, 3))), r"Bags\.from_table\(X, bag="),
        (pl.DataFrame({"x": [1.0]}), r"Bags\.from_table\(X, bag="),
        (BAGS[0], r"type Bag: .*bags\[\[3\]\]"),
        (list(BAGS), "list of Bag objects: give the Bags"),
        ([], "there are no bags"),
        ((array for array in ARRAYS), "generator"),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("name", ["attention", "MI-SVM"])
def test_what_is_no_list_of_bags_is_refused_and_the_message_says_what_to_make_of_it(name, X, told):
    for ask in (bw.make(name).fit, learnt(name).predict):
        with pytest.raises(BagwiseError, match=told):
            ask(X)


# ---- features that have names -------------------------------------------------------------------------------------


def reordered(bags, names):
    order = [bags.feature_names.index(name) for name in names]
    return bw.Bags(bags.instances[:, order], bags.offsets, bags.labels, feature_names=names)


@pytest.mark.parametrize("name", ["attention", "embedding-max", "MI-SVM", "miVLAD"])
def test_features_in_another_order_are_put_right(name):
    model, other = learnt(name), reordered(BAGS, ("mass", "age", "size"))
    tables = [pd.DataFrame(bag.instances, columns=list(other.feature_names)) for bag in other]
    for ask in ("predict_proba", "decision_function", "instance_scores", "attention"):
        if hasattr(model, ask):
            for X in (other, tables, ARRAYS):  # without names nothing can be compared
                np.testing.assert_array_equal(getattr(model, ask)(X), getattr(model, ask)(BAGS))
    assert model.score(tables, BAGS.labels) == model.score(BAGS)


def test_an_ensemble_and_an_explanation_put_features_right():
    members, other = [learnt(), learnt()], reordered(BAGS, ("size", "mass", "age"))
    np.testing.assert_array_equal(
        bw.predict_ensemble(members, other).members, bw.predict_ensemble(members, BAGS).members
    )
    np.testing.assert_array_equal(explain(members, other).weights, explain(members, BAGS).weights)
    one_by_one = [learnt(), bw.AttentionMIL(epochs=1, random_state=0).fit(other)]
    with pytest.raises(BagwiseError, match="in different orders"):
        explain(one_by_one, BAGS)


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("age", "size", "masses"), "the bags have no feature 'mass', which the model learnt from: is it 'masses'?"),
        (("age", "size", "mass", "height"), "a feature 'height', which the model did not learn from: leave it out"),
        (("age", "size"), "no feature 'mass', which the model learnt from"),
        (("age", "age", "size", "mass"), "other features than the model learnt from"),
    ],
)
def test_other_features_are_named(names, told):
    bags = bw.Bags(np.zeros((2, len(names))), [0, 2], feature_names=names)
    with pytest.raises(BagwiseError) as caught:
        learnt().predict(bags)
    assert told in str(caught.value)


def test_tables_of_bags_are_brought_into_the_order_of_the_first():
    first = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]})
    bags = bw.Bags.from_arrays([first, pl.from_pandas(first).select("b", "a")])
    assert bags.feature_names == ("a", "b")
    np.testing.assert_array_equal(bags[0].instances, bags[1].instances)
    for other in (first[["a"]], first.assign(b=0).rename(columns={"b": "c"})):
        with pytest.raises(BagwiseError, match="table 1 has no column 'b', table 0 has"):
            bw.Bags.from_arrays([first, other])


# ---- models -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (lambda: learnt("MI-SVM"), "an object of type BagMarginSVM"),
        (lambda: make_pipeline(learnt()), "an object of type Pipeline"),
        (LogisticRegression, "an object of type LogisticRegression"),
        (lambda: bw.AttentionMIL, "the class AttentionMIL itself"),
        (lambda: None, "an object of type NoneType"),
    ],
)
def test_what_is_no_method_is_refused_by_whatever_needs_one(model, told, tmp_path):
    asked = {
        "fit_ensemble": lambda model: bw.fit_ensemble(model, BAGS, 2),
        "predict_ensemble": lambda model: bw.predict_ensemble([learnt(), model], BAGS),
        "explain": lambda model: explain(model, BAGS),
        "save_model": lambda model: bw.save_model(model, tmp_path),
    }
    if "MarginSVM" in told:  # which can be kept and asked, but not be given other initial weights
        asked = {"fit_ensemble": asked["fit_ensemble"]}
    for name, ask in asked.items():
        with pytest.raises(
            BagwiseError, match=rf"{name}s? needs a (neural )?method of Bagwise, such as .*, not {told}"
        ):
            ask(model())
    assert not list(tmp_path.iterdir())


def test_a_model_that_is_not_fitted_must_be_fitted(tmp_path):
    model = bw.AttentionMIL()
    for ask in (
        lambda: bw.predict_ensemble(model, BAGS),
        lambda: explain([model], BAGS),
        lambda: bw.save_model(model, tmp_path),
    ):
        with pytest.raises(NotFittedError, match="Call 'fit'"):
            ask()
    assert not list(tmp_path.iterdir())


def test_models_of_other_classes_are_no_ensemble():
    other = bw.AttentionMIL(epochs=1).fit(ARRAYS, ["no", "yes"] * 6)
    told = r"different labels, .*\[0, 1\], positive=1\) and .*\['no', 'yes'\], positive='yes'\): predict_ensemble takes"
    with pytest.raises(BagwiseError, match=told):
        bw.predict_ensemble([learnt(), other], BAGS)
    turned = bw.AttentionMIL(epochs=1, positive=0).fit(BAGS)
    with pytest.raises(BagwiseError, match=r"positive=0\): explain takes"):
        explain([learnt(), turned], BAGS)
    with pytest.raises(BagwiseError, match="explain got no model"):
        explain([], BAGS)


def test_what_is_no_method_of_bagwise_is_not_cross_validated():
    with pytest.raises(BagwiseError, match="needs a method of Bagwise, .*, not an object of type Pipeline"):
        bw.cross_validate(make_pipeline(bw.AttentionMIL()), BAGS)


# ---- scikit-learn -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["attention", "miVLAD"])
@pytest.mark.parametrize(
    "ask",
    [
        lambda model: make_pipeline(StandardScaler(), model).fit(BAGS, BAGS.labels),
        lambda model: make_pipeline(SelectKBest(k=1), model).fit(BAGS, BAGS.labels),
        lambda model: permutation_importance(model.fit(BAGS), BAGS, BAGS.labels),
        lambda _: LogisticRegression().fit(BAGS, BAGS.labels),
        lambda _: np.asarray(BAGS),
    ],
    ids=["scaler", "selection", "permutation", "classifier", "array"],
)
def test_what_wants_a_table_is_told_that_bags_are_none(name, ask):
    with pytest.raises(BagwiseError, match=r"bags are no table.*leave a scaler out.*explain\.contrast"):
        ask(learnt(name))


@pytest.mark.parametrize("X", [BAGS, ARRAYS], ids=["bags", "list"])
def test_what_of_scikit_learn_hands_bags_on_works(X):
    model, y = bw.AttentionMIL(epochs=1, random_state=0), BAGS.labels
    assert make_pipeline(FunctionTransformer(), model).fit(X, y).predict(X).shape == y.shape
    assert CalibratedClassifierCV(model, cv=2).fit(X, y).predict_proba(X).shape == (12, 2)
    assert GridSearchCV(model, {"epochs": [1, 2]}, cv=2).fit(X, y).predict(X).shape == y.shape
    for method, shape in (("predict_proba", (12, 2)), ("decision_function", (12,)), ("predict", (12,))):
        assert cross_val_predict(model, X, y, cv=2, method=method).shape == shape
