import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

import bagwise as bw
from bagwise import BagwiseError
from bagwise.methods.ensemble import predict_ensemble

METHODS = {
    "attention": {"epochs": 3},
    "MI-Net": {"epochs": 2},
    "instance-mean": {"epochs": 2, "sample": 2},
    "summary-forest": {},
    "MI-SVM": {},
    "MI-Kernel": {},
}
pytestmark = pytest.mark.filterwarnings("ignore:.*predict one class")


def table(bags=60, seed=0, shops="abcde"):
    rng = np.random.default_rng(seed)
    name = np.repeat([f"b{seed}-{n:03}" for n in range(bags)], rng.integers(2, 6, bags))
    size = len(name)
    frame = pd.DataFrame({"bag": name, "shop": rng.choice(list(shops), size), "amount": rng.lognormal(3, 1, size)})
    frame["when"] = pd.Timestamp("2026-01-01") + pd.to_timedelta(rng.integers(0, 10**7, size), unit="s")
    frame.loc[rng.random(size) < 0.1, "amount"] = np.nan
    frame.loc[rng.random(size) < 0.1, "shop"] = None
    hit = (frame["shop"] == shops[0]) & (frame["amount"] > 10)
    frame["label"] = hit.groupby(frame["bag"]).transform("any").map({True: "yes", False: "no"})
    return frame


def read(frame, **given):
    return bw.Bags.from_table(frame, "bag", **given)


@pytest.mark.parametrize("name", METHODS)
def test_what_is_in_test_bags_alone_changes_no_bit_of_training(name):
    """A category, a median and a date of test bags; and with them the codes of all categories."""
    frame, train = table(), np.arange(40)
    rest = frame["bag"].isin(frame["bag"].unique()[40:])
    other = frame.assign(
        shop=frame["shop"].where(~rest, "_planted"),
        amount=frame["amount"].where(~rest, 1e12),
        when=frame["when"].where(~rest, pd.Timestamp("1999-01-01")),
    )
    one, another = (read(each, label="label") for each in (frame, other))
    assert one.columns != another.columns
    models = [bw.make(name, random_state=0, **METHODS[name]).fit(bags[train]) for bags in (one, another)]
    assert models[0].columns_ == models[1].columns_
    answers = [model.predict_proba(one[train]) for model in models]
    np.testing.assert_array_equal(*answers)
    np.testing.assert_array_equal(*(model.predict_proba(another) for model in models))


@pytest.mark.parametrize("name", METHODS)
def test_a_model_is_kept_and_answers_tables_of_other_vocabularies(name, tmp_path):
    frame = table()
    bags = read(frame, label="label")
    model = bw.make(name, random_state=0, **METHODS[name]).fit(bags)
    bw.save_model(model, tmp_path)
    kept = bw.load_model(tmp_path)
    assert kept.columns_ == model.columns_ == bags.columns
    new = read(table(20, seed=1, shops="wxyzab").drop(columns="label"))
    assert new.columns != bags.columns
    np.testing.assert_array_equal(kept.predict_proba(new), model.predict_proba(new))
    np.testing.assert_allclose(model.predict_proba(new[::-1]), model.predict_proba(new)[::-1], atol=1e-6)
    moved = bw.Bags.from_table(table(20, seed=1, shops="wxyzab")[["when", "amount", "bag", "shop"]].iloc[::-1], "bag")
    place = [moved.names.tolist().index(name) for name in new.names]
    np.testing.assert_allclose(model.predict_proba(moved)[place], model.predict_proba(new), atol=1e-6)
    with pytest.raises(BagwiseError, match="'shop'"):
        model.predict_proba(read(table(20).drop(columns=["shop", "label"])))


@pytest.mark.parametrize("name", ["attention", "summary-forest"])
def test_what_no_training_bag_has_is_in_no_file(name, tmp_path):
    frame = table()
    names = frame["bag"].unique()
    for number, bag in enumerate(names[40:43]):
        frame.loc[frame["bag"] == bag, "shop"] = f"_planted{number}"
    bags = read(frame, label="label")
    alone = bw.make(name, random_state=0, **METHODS[name])
    bw.save_model(alone.fit(bags[:40]), tmp_path / "alone")
    weights = np.arange(60) < 40
    bw.save_model(bw.make(name, random_state=0, **METHODS[name]).fit(bags, sample_weight=weights), tmp_path / "weighed")
    if name == "attention":
        members = bw.fit_ensemble(alone, bags, 2, validation=np.arange(40, 60))
        bw.save_model(members, tmp_path / "watched")
        assert members.predict_proba(bags).shape == (60, 2)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert not any(b"_planted" in path.read_bytes() for path in files)


def test_folds_of_other_widths_train_as_they_would_alone():
    frame = table(48)
    rare = frame["bag"].isin(frame["bag"].unique()[:3])
    frame["shop"] = frame["shop"].where(~rare, "rare")
    frame["colour"] = np.where(rare, "red", "blue")
    bags = read(frame, label="label")
    splits = [(np.arange(12, 48), np.arange(12)), (np.arange(24), np.arange(24, 48))]
    model = bw.AttentionMIL(epochs=2, random_state=0)
    found = bw.cross_validate(model, bags, folds=splits)
    for train, test in splits:
        alone = bw.AttentionMIL(epochs=2, random_state=0).fit(bags[train])
        np.testing.assert_array_equal(found.probabilities[0][test], alone.predict_proba(bags[test]))


def test_a_combination_of_a_category_and_an_amount_is_learnt():
    model = bw.AttentionMIL(random_state=0, epochs=40).fit(read(table(240), label="label"))
    fresh = read(table(200, seed=1), label="label")
    assert roc_auc_score(fresh.labels == "yes", model.predict_proba(fresh)[:, 1]) > 0.97
    (said,) = [predict_ensemble([model], fresh)]
    assert said.probabilities.shape == (200, 2)


def test_numbers_without_gaps_meet_no_gaps():
    frame = table().drop(columns=["shop", "when"])
    full = frame.fillna({"amount": 1.0})
    model = bw.AttentionMIL(epochs=1, random_state=0).fit(read(full, label="label"))
    assert model.columns_ is None
    with pytest.raises(BagwiseError, match="'amount' has a gap in bag"):
        model.predict(read(frame, features=["amount"]))
    learnt = bw.AttentionMIL(epochs=1, random_state=0).fit(read(frame, label="label"))
    assert learnt.predict(read(full, features=["amount"])).shape == (60,)
    with pytest.raises(BagwiseError, match="standardize=False"):
        bw.AttentionMIL(epochs=1, standardize=False).fit(read(frame, label="label"))
