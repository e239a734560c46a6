from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score

import bagwise as bw
from bagwise import BagwiseError
from bagwise.encoding import Encoding
from bagwise.methods.ensemble import predict_ensemble
from bagwise.models.shown_columns import ShownColumns
from bagwise.training import choice

METHODS = {
    "attention": {"epochs": 3},
    "MI-Net-DS": {"epochs": 2},
    "MI-Net-RC": {"epochs": 2, "size": True},
    "mi-Net": {"epochs": 2},
    "summary-logistic": {},
    "mean-logistic": {},
    "MI-SVM": {},
}
pytestmark = pytest.mark.filterwarnings("ignore:.*predict one class", "ignore:column 'town' has")


def table(bags=60, seed=0):
    """Bags whose label is decided by what belongs to them."""
    rng = np.random.default_rng(seed)
    name = np.repeat([f"b{n:03}" for n in range(bags)], rng.integers(1, 5, bags))
    frame = pd.DataFrame({"bag": name, "size": rng.normal(size=len(name)), "shop": rng.choice(list("ab"), len(name))})
    of_bags = pd.DataFrame({"age": rng.integers(18, 90, bags).astype(float), "town": rng.choice(list("UVW"), bags)})
    of_bags["label"] = np.where((of_bags["age"] > 50) ^ (of_bags["town"] == "U"), "yes", "no")
    of_bags.loc[rng.random(bags) < 0.1, "age"] = np.nan
    of_bags["bag"] = pd.unique(name)
    return frame.merge(of_bags, on="bag")


def read(frame, **given):
    return bw.Bags.from_table(frame, "bag", "label", bag_features=["age", "town"], **given)


def test_bags_are_encoded_once_each():
    frame = table()
    bags = read(frame)
    encoding = Encoding.learn(bags.columns, bags.instances, bags.offsets, np.arange(40), width=16, beside=8)
    assert (encoding.width, encoding.beside) == (16, 8)
    ages = frame.drop_duplicates("bag")["age"].to_numpy()[:40]
    assert encoding.of_bag.shift[0] == np.nanmedian(ages)
    shown = encoding.apply(bags.instances)
    for module in (ShownColumns(encoding, torch.float64), ShownColumns(encoding, torch.float32)):
        module.cast(torch.float64)
        torch.testing.assert_close(module(torch.tensor(bags.instances)).numpy(), shown, atol=1e-6, rtol=1e-6)
    first, last = bags.offsets[:-1], bags.offsets[1:] - 1
    np.testing.assert_array_equal(shown[first, -8:], shown[last, -8:])


@pytest.mark.parametrize("name", METHODS)
def test_what_belongs_to_test_bags_changes_no_bit_of_training(name):
    frame, train = table(), np.arange(40)
    rest = frame["bag"].isin(frame["bag"].unique()[40:])
    other = frame.assign(age=frame["age"].where(~rest, 1e9), town=frame["town"].where(~rest, "_planted"))
    one, another = read(frame), read(other)
    models = [bw.make(name, random_state=0, **METHODS[name]).fit(bags[train]) for bags in (one, another)]
    np.testing.assert_array_equal(*(model.predict_proba(one[train]) for model in models))
    np.testing.assert_array_equal(*(model.predict_proba(another) for model in models))


@pytest.mark.parametrize("name", METHODS)
def test_a_model_with_bag_features_is_kept_and_wants_them(name, tmp_path):
    frame = table()
    model = bw.make(name, random_state=0, **METHODS[name]).fit(read(frame))
    bw.save_model(model, tmp_path)
    kept = bw.load_model(tmp_path)
    new = table(20, seed=1)
    bags = bw.Bags.from_table(new, "bag", like=kept.columns_)
    np.testing.assert_array_equal(kept.predict_proba(bags), model.predict_proba(bags))
    np.testing.assert_allclose(kept.predict_proba(read(new[::-1]))[::-1], model.predict_proba(bags), atol=1e-6)
    changed = bw.Bags.from_table(new.assign(town="V", age=20.0), "bag", like=kept.columns_)
    assert (kept.predict_proba(changed) != kept.predict_proba(bags)).any()
    with pytest.raises(BagwiseError, match="no feature 'age'"):
        kept.predict_proba(bw.Bags.from_table(new.drop(columns="age"), "bag", "label", bag_features=["town"]))


def test_the_classifier_of_bags_is_told_and_the_encoder_is_not():
    bags = read(table())
    model = bw.AttentionMIL(epochs=1, random_state=0, size=True).fit(bags)
    plan, made = model.plan_, model.model_
    assert plan.beside == 8
    assert made.head.in_features == 64 + 1 + 8
    instances, offsets = torch.tensor(bags[:2].instances), torch.tensor(bags[:2].offsets)
    embeddings = made.encode(instances)
    other = instances.clone()
    other[:, [column.role == "bag" for column in bags.columns]] = 1.0
    torch.testing.assert_close(made.encode(other)[:, :-8], embeddings[:, :-8], rtol=0, atol=0)
    torch.testing.assert_close(made.aggregate(embeddings, offsets).logits, made(instances, offsets).logits)


@pytest.mark.parametrize("name", ["attention", "MI-Net-DS", "MI-Net-RC"])
def test_the_compiled_step_learns_what_belongs_to_bags_as_torch_does(name, monkeypatch):
    bags = read(table())
    model = bw.make(name, random_state=0, precision="float64", epochs=2, size=True)
    compiled = model.fit(bags).predict_proba(bags)
    monkeypatch.setattr(choice, "can_stack", lambda _: False)
    np.testing.assert_allclose(model.fit(bags).predict_proba(bags), compiled, rtol=1e-9)


def test_what_belongs_to_bags_is_learnt():
    train, fresh = read(table(300)), read(table(200, seed=1))
    model = bw.AttentionMIL(random_state=0).fit(train)
    assert roc_auc_score(fresh.labels == "yes", model.predict_proba(fresh)[:, 1]) > 0.7
    (said,) = [predict_ensemble([model], fresh)]
    assert said.probabilities.shape == (200, 2)
    assert replace(fresh, labels=None).bag_features.shape == (200, 2)


def test_folds_with_an_order_and_bag_features_train_as_they_would_alone():
    frame = table()
    rng = np.random.default_rng(3)
    frame["step"], frame["shop"] = rng.integers(0, 2, len(frame)), rng.choice(list("abcdefgh"), len(frame))
    frame.loc[frame["bag"] < "b006", "shop"] = "_first"  # of values that some folds lack
    bags = read(frame, order="step")
    splits = [(np.arange(20, 60), np.arange(20)), (np.arange(30), np.arange(30, 60))]
    found = bw.cross_validate(bw.AttentionMIL(epochs=2, random_state=0), bags, folds=splits)
    for train, test in splits:
        alone = bw.AttentionMIL(epochs=2, random_state=0).fit(bags[train])
        np.testing.assert_array_equal(found.probabilities[0][test], alone.predict_proba(bags[test]))
