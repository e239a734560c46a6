import numpy as np
import pandas as pd
import pytest
import torch

import bagwise as bw
from bagwise import Bags, BagwiseError
from bagwise.explain import can_be_told, contributions, explain, key_instances

pytestmark = pytest.mark.filterwarnings("ignore:.*predict one class")


def mixed(count=40, label="label"):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"bag": np.repeat([f"b{n:02}" for n in range(count)], 4)})
    size = len(frame)
    frame["shop"] = rng.choice(["a", "b", "c", None], size)
    frame["score"] = np.where(rng.random(size) < 0.1, np.nan, rng.lognormal(size=size))
    frame["when"] = pd.Timestamp("2026-01-01") + pd.to_timedelta(rng.integers(0, 10**6, size), unit="s")
    frame["label"] = (frame["shop"] == "c").groupby(frame["bag"]).transform("any").astype(int)
    frame["three"] = frame["bag"].str[-1].astype(int) % 3
    frame["grade"] = frame["three"].map({0: "low", 1: "mid", 2: "top"})
    frame["much"] = frame["score"].fillna(0).groupby(frame["bag"]).transform("mean").round(2)
    return Bags.from_table(
        frame.drop(columns=[n for n in ("label", "three", "grade", "much") if n != label]), "bag", label
    )


@pytest.mark.parametrize(
    ("name", "label", "given"),
    [
        ("attention", "label", {}),
        ("gated-attention", "three", {"size": True}),
        ("mi-Net", "label", {}),
        ("mi-Net", "three", {}),
        ("MI-Net-DS", "much", {"target": "real"}),
        ("instance-mean", "grade", {"target": "ordinal: low < mid < top"}),
    ],
)
def test_parts_of_columns_sum_to_the_score(name, label, given):
    bags = mixed(label=label)
    models = bw.fit_ensemble(bw.make(name, epochs=8, random_state=0, **given), bags, 2)
    said, found = explain(models, bags), contributions(models, bags)
    scores = said.scores
    if scores.ndim > 1:
        scores = scores[np.arange(len(scores)), np.repeat(said.target.chosen(said.answers), bags.sizes)]
    assert found.columns == ("shop", "score", "when")
    np.testing.assert_allclose(found.scores, scores, rtol=1e-5, atol=1e-7)
    gap = np.abs(found.parts.sum(axis=1) - (found.scores - found.baseline))
    assert gap.max() <= 2e-3 * np.abs(found.scores - found.baseline).max()
    assert np.abs(found.parts).max() > 0
    assert len(contributions(models, bags, []).table(bags)) == 0
    some = contributions(models, bags, [7, 3])
    np.testing.assert_allclose(some.parts, found.parts[[7, 3]], atol=5e-3 * np.abs(found.parts).max())


def test_parts_are_what_many_small_steps_give():
    bags = mixed()
    model = bw.AttentionMIL(epochs=5, random_state=0, precision="float64").fit(bags)
    found, net = contributions(model, bags, [5]), model.model_
    shown = net.scaler(torch.tensor(bags.instances[[5]]))
    total, steps = np.zeros(shown.shape[1]), 4000
    for step in range(steps):
        at = (shown * (step + 0.5) / steps).requires_grad_()
        logit = net.aggregate(net.embed(at), torch.tensor([0, 1])).logits[0, 0, 0]
        total += torch.autograd.grad(torch.sigmoid(logit), at)[0][0].numpy() / steps
    terms = total * shown[0].numpy()
    # Numbers, gaps, sines and cosines, places, in this order; what follows are nobody's.
    order = ["score", "when", "score", *["when"] * 6, *["shop"] * (len(terms) - 9)]
    for column, part in zip(found.columns, found.parts[0], strict=True):
        own = terms[[number for number, name in enumerate(order) if name == column]].sum()
        assert part == pytest.approx(own, abs=2e-3)


@pytest.mark.parametrize("name", ["graph", "smooth-attention", "self-attention"])
def test_where_instances_know_each_other_parts_are_of_the_instance_alone(name):
    rng = np.random.default_rng(0)
    bags = Bags(rng.normal(size=(60, 3)) * [1, 5, 2], np.arange(0, 61, 5), [0, 1] * 6, feature_names=["p", "q", "r"])
    model = bw.make(name, epochs=5, precision="float64", random_state=0).fit(bags)
    found, row, middle, steps = contributions(model, bags, [7]), bags.instances[7], bags.instances.mean(axis=0), 1000
    np.testing.assert_allclose(found.scores, model.instance_scores(bags)[[7]], atol=1e-12)
    way = middle + (np.arange(steps)[:, None] + 0.5) / steps * (row - middle)

    def scored(instances):
        return model.instance_scores(Bags(instances, np.arange(steps + 1), feature_names=bags.feature_names))

    for number in range(3):
        step = np.zeros(3)
        step[number] = 1e-4
        slope = (scored(way + step) - scored(way - step)) / 2e-4
        part = slope.mean() * (row - middle)[number]
        assert found.parts[0, number] == pytest.approx(part, abs=1e-2 * abs(found.scores - found.baseline)[0])


def test_a_linear_score_has_its_terms_as_parts():
    rng = np.random.default_rng(0)
    arrays = rng.normal(size=(30, 3, 2)) * [1, 5] + [0, 3]
    names = ["p", "q"]
    bags = Bags.from_arrays(arrays, [float(bag.mean()) for bag in arrays], feature_names=names)
    model = bw.make("embedding-mean", encoder="identity", target="real", epochs=5, random_state=0).fit(bags)
    found = contributions(model, bags)
    middle = bags.instances.mean(axis=0)
    for number in range(2):
        without = bags.instances.copy()
        without[:, number] = middle[number]
        rest = Bags(without, bags.offsets, feature_names=names)
        fall = found.scores - contributions(model, rest).scores
        np.testing.assert_allclose(found.parts[:, number], fall, rtol=1e-4, atol=1e-5)


def test_what_contributions_are_not_told_of():
    bags = mixed()
    forest = bw.make("summary-forest", random_state=0).fit(bags)
    assert not can_be_told(forest, bags)
    with pytest.raises(BagwiseError, match="neural methods"):
        contributions(forest, bags)
    unnamed = Bags.from_arrays([[[0.0]], [[1.0]]], [0, 1])
    assert not can_be_told(bw.AttentionMIL(epochs=1).fit(unnamed), unnamed)


def test_key_instances_show_their_columns_as_the_table_has_them():
    bags = mixed()
    model = bw.AttentionMIL(epochs=2, random_state=0).fit(bags)
    keys = key_instances(explain(model, bags), bags, 4, first=["when"])
    assert keys.columns[-3:].tolist() == ["when", "shop", "value of score"]
    assert set(keys["shop"].dropna()) == {"a", "b", "c"}
    assert keys["shop"].isna().any()
    assert keys["value of score"].isna().any()
    seconds = np.sort((pd.to_datetime(keys["when"]) - pd.Timestamp("1970-01-01")).dt.total_seconds())
    np.testing.assert_allclose(seconds, np.sort(bags.instances[:, 2 if bags.columns[2].kind == "date" else 3]))
