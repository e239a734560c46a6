"""What instances contribute, out of fold: by averages, in cross-validation, and as `evaluate` writes it."""

import numpy as np
import pandas as pd
import pytest

import bagwise as bw
from bagwise.commands.data import DataSource
from bagwise.commands.evaluate import run_evaluate
from bagwise.commands.options import Evaluation, Output, Training, Work
from bagwise.evaluation.out_of_fold import asked
from bagwise.evaluation.protocol import Folds
from bagwise.explain import explain
from bagwise.methods.averaged import Averaged

RNG = np.random.default_rng(0)
ARRAYS = [RNG.normal(2 * (bag % 3), size=(1 + bag % 4, 3)) for bag in range(18)]
BAGS = {
    "two": bw.Bags.from_arrays(ARRAYS, ["sick" if bag % 3 else "well" for bag in range(18)]),
    "three": bw.Bags.from_arrays(ARRAYS, ["abc"[bag % 3] for bag in range(18)]),
}
QUICKLY = {"epochs": 5, "precision": "float64", "random_state": 0, "class_weight": None}


def sums(values, bags):
    return np.add.reduceat(values, bags.offsets[:-1])


@pytest.mark.parametrize("labels", BAGS)
def test_an_average_sums_to_the_mean_of_what_its_members_say(labels, tmp_path):
    bags = BAGS[labels]
    members = [bw.make(name, **QUICKLY).fit(bags) for name in ("additive", "conjunctive")]
    average = Averaged.of(members, [0.25, 0.75])
    found = average.contributions(bags)
    expected = 0.25 * members[0].contributions(bags) + 0.75 * members[1].contributions(bags)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    if labels == "two":
        logits = [np.log(one.predict_proba(bags)).T for one in members]
        place = 0 if average.positive_ == "sick" else 1
        each = [one[place] - one[1 - place] for one in logits]
        np.testing.assert_allclose(sums(found, bags), 0.25 * each[0] + 0.75 * each[1], atol=1e-9)
    bw.save_model(average, tmp_path)
    np.testing.assert_array_equal(bw.load_model(tmp_path).contributions(bags), found)
    explained = explain(average, bags)
    np.testing.assert_array_equal(explained.contributions, found)
    with_a_forest = Averaged.of([*members, bw.make("mean-logistic").fit(bags)], [0.2, 0.6, 0.2])
    assert not hasattr(with_a_forest, "contributions")
    assert explain(with_a_forest, bags).contributions is None


def test_an_average_of_weights_by_class_names_their_columns():
    bags = BAGS["three"]
    model = bw.make("class-attention", **QUICKLY).fit(bags)
    one, alone = explain(Averaged.of([model, model], [0.5, 0.5]), bags), explain(model, bags)
    assert [*one.weights_by] == ["a", "b", "c"]
    np.testing.assert_allclose(one.weights, alone.weights, atol=1e-12)
    np.testing.assert_allclose(one.evidence(bags), alone.evidence(bags), atol=1e-12)


def test_an_ensemble_gives_the_mean_of_its_members():
    model = bw.Ensemble(bw.make("additive", **QUICKLY), 3).fit(BAGS["two"])
    mean = np.mean([one.contributions(BAGS["two"]) for one in model], axis=0)
    np.testing.assert_array_equal(model.contributions(BAGS["two"]), mean)
    assert not hasattr(bw.Ensemble(bw.AttentionMIL()), "contributions")


@pytest.mark.parametrize("labels", BAGS)
def test_each_fold_tells_of_the_bags_it_did_not_learn_from(labels):
    bags, model = BAGS[labels], bw.make("class-attention", **QUICKLY)
    folds = Folds(bags, folds=3, repeats=2)
    found = bw.cross_validate(model, bags, folds=folds, n_jobs=1)
    for split in folds.splits:
        fitted, rows = bw.make("class-attention", **QUICKLY).fit(bags[split.train]), bags.rows(split.test)
        told = fitted.contributions(bags[split.test])
        np.testing.assert_array_equal(found.contributions[split.repeat, rows], told)
        again = asked(fitted, bags[split.test], found.target)
        np.testing.assert_array_equal(again.contributions, told)
        np.testing.assert_array_equal(again.answers, found.answers[split.repeat, split.test])
    assert bw.cross_validate(bw.AttentionMIL(**QUICKLY), bags, folds=3, n_jobs=1).contributions is None


def test_a_fold_that_met_fewer_classes_says_nothing_for_the_others():
    bags = BAGS["three"]
    third = np.arange(18)[bags.labels == "c"]
    rest = np.setdiff1d(np.arange(18), third)
    divided = [(rest, third), (np.r_[third, rest[:6]], rest[6:])]
    found = bw.cross_validate(bw.make("class-attention", **QUICKLY), bags, folds=divided, n_jobs=1)
    rows = bags.rows(third)
    told = found.contributions[0, rows]
    np.testing.assert_array_equal(told[:, 2], 0)
    np.testing.assert_array_equal(found.attention[0, rows][:, 2], 0)
    scores = sums(told[:, :2], bags[third])
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probabilities, found.answers[0, third][:, :2], atol=1e-9)


def test_evaluate_writes_them_and_shows_their_sign(tmp_path):
    bags = BAGS["three"]
    table = pd.DataFrame(bags.instances, columns=["u", "v", "w"])
    table.insert(0, "bag", np.repeat(np.arange(18), bags.sizes))
    table["label"] = np.repeat(bags.labels, bags.sizes)
    table.to_csv(tmp_path / "table.csv", index=False)
    source = DataSource(str(tmp_path / "table.csv"), bag="bag", label="label")
    evaluation = Evaluation(methods=["class-attention", "attention"], folds="3", no_baseline=True)
    run_evaluate(source, tmp_path / "cv", evaluation, Training(epochs=3), Work(jobs=1), Output())
    written = pd.read_csv(tmp_path / "cv" / "instance_contributions.csv")
    assert {*written["method"]} == {"class-attention"}
    assert len(written) == len(bags.instances)
    predictions = pd.read_csv(tmp_path / "cv" / "predictions.csv").query("method == 'class-attention'")
    logits = written.groupby("bag")[[f"contribution_{name}" for name in "abc"]].sum()
    said = predictions.set_index("bag").loc[logits.index]
    np.testing.assert_array_equal(np.array([*"abc"])[logits.to_numpy().argmax(axis=1)], said["predicted"])
    assert (written.groupby("bag")["fold"].first() == said["fold"]).all()
    page = (tmp_path / "cv" / "report.html").read_text()
    assert "judged by class-attention" in page
    assert page.count('<span class="evidence') == len(bags.instances)
