"""Defaults: one recipe for Python and the command, and each member's from its own training bags."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

import bagwise as bw
from bagwise.methods.joint import fit_members
from bagwise.methods.neural import NeuralMIL
from bagwise.methods.recipes import LOOSE, QUICK, Facts, recipe_for
from bagwise.methods.registry import METHODS
from bagwise.training.stack import can_stack


def made(sizes, every):
    """Make bags of such sizes, of which every so manyth is positive."""
    rng = np.random.default_rng(0)
    labels = (np.arange(len(sizes)) % every == 0).astype(int)
    arrays = [rng.normal(size=(size, 2)) + label for size, label in zip(sizes, labels, strict=True)]
    return bw.Bags.from_arrays(arrays, labels=labels)


def tensors(folder, bags, model):
    bw.save_model(model.fit(bags), folder)
    return load_file(folder / "model.safetensors")


@pytest.mark.parametrize(
    "bags",
    [made([3, 1, 4, 2, 3], every=3), made([2] * 310, every=6), made([101] * 5, every=3)],
    ids=["small", "stops on a fifth", "large bags"],
)
def test_python_and_the_command_end_with_the_same_bits(tmp_path, run, bags):
    frame = pd.DataFrame(bags.instances, columns=["a", "b"])
    frame["bag"], frame["label"] = np.repeat(bags.names, bags.sizes), np.repeat(bags.labels, bags.sizes)
    frame.to_csv(tmp_path / "table.csv", index=False)
    done = run("fit", tmp_path / "table.csv", "--bag", "bag", "--label", "label", "--out", tmp_path / "run")
    assert done.status == 0, done.told
    read = bw.read_table(tmp_path / "table.csv", bag="bag", label="label")
    expected = tensors(tmp_path / "python", read, bw.AttentionMIL(random_state=0))
    found = load_file(tmp_path / "run" / "model.safetensors")
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)


def test_folds_that_differ_in_their_recipes_are_each_what_a_fit_is():
    bags = made([101] * 9 + [3] * 300, every=5)
    subsets = [np.arange(17), np.arange(9, 40), np.arange(0, 309)]
    models = fit_members([bw.EmbeddingMIL(random_state=0) for _ in subsets], bags, subsets)
    assert [model.settings_.optimizer for model in models] == ["adam", "sgd", "sgd"]
    assert [model.settings_.patience for model in models] == [None, None, 10]
    for model, subset in zip(models, subsets, strict=True):
        alone = bw.EmbeddingMIL(random_state=0).fit(bags[subset])
        np.testing.assert_array_equal(model.predict_proba(bags), alone.predict_proba(bags))


ENOUGH = {"bags": 400, "alike": (300, 100)}
LARGE = {"bags": 60, "alike": (50, 10), "median_size": 101}


@pytest.mark.parametrize(
    ("facts", "given", "patience", "why"),
    [
        (
            ENOUGH,
            {},
            10,
            "a fifth of the bags, which were not learnt from: stopped after 10 without progress",
        ),
        (ENOUGH | {"groups": 9}, {}, 10, "chosen on a fifth of the groups"),
        (ENOUGH | {"groups": 4}, {}, None, "fixed in advance, because 4 groups are too few to choose by"),
        (ENOUGH | {"alike": (381, 19)}, {}, None, "fixed in advance, because 19 bags of a class are too few"),
        (ENOUGH | {"alike": (396, 4), "classes": False}, {}, None, "because 4 bags alike are too few"),
        (ENOUGH | {"bags": 299}, {}, None, "fixed in advance, because 299 bags are too few to choose by"),
        (ENOUGH | {"validation": 60}, {}, 10, "chosen on the 60 bags for validation"),
        (
            ENOUGH | {"validation": 59},
            {},
            None,
            "because 59 bags for validation are too few to choose by; the 59 bags for validation decided nothing",
        ),
        (LARGE, {}, 10, "chosen on a fifth of the bags"),
        (LARGE | {"bags": 59}, {}, None, "because 59 bags are too few to choose by"),
        (LARGE | {"alike": (51, 9)}, {}, None, "because 9 bags of a class are too few"),
        (LARGE | {"validation": 12}, {}, 10, "chosen on the 12 bags for validation"),
        (LARGE | {"validation": 11}, {}, None, "because 11 bags for validation are too few"),
        (ENOUGH, {"epochs": 7}, None, "fixed in advance"),
        (ENOUGH, {"patience": None}, None, "fixed in advance"),
        (ENOUGH | {"bags": 9}, {"patience": 3}, 3, "chosen on a fifth of the bags, .* stopped after 3 without"),
    ],
)
def test_how_long_a_model_trains_is_told_with_the_reason(facts, given, patience, why):
    recipe = recipe_for(Facts((5,), **facts), given)
    assert recipe.settings.patience == patience
    assert re.search(why, recipe.why)
    assert ("because" in recipe.why) == ("because" in why)


@pytest.mark.parametrize(("bags", "epochs"), [(1, 2000), (24, 84), (39, 52), (40, 50), (299, 50)])
def test_few_bags_of_vectors_are_seen_as_often_as_makes_enough_steps(bags, epochs):
    assert recipe_for(Facts((5,), bags=bags)).settings.epochs == epochs
    assert recipe_for(Facts((5,), bags=bags), {"epochs": 7}).settings.epochs == 7
    assert recipe_for(Facts((5,), bags=bags, median_size=101)).settings.epochs == 50


def test_large_bags_are_encoded_once_and_attention_is_gated_unless_the_user_says_so():
    bags = made([101] * 5, every=3)
    model = bw.AttentionMIL(epochs=1, random_state=0).fit(bags)
    assert type(model.model_.pooling).__name__ == "GatedAttention"
    assert [layer[0].out_features for layer in model.model_.encoder] == [256]
    assert (model.model_.pooling.V.out_features, model.settings_.stop_by) == (128, "loss")
    plain = bw.AttentionMIL(epochs=1, gated=False, hidden=5, encoder="mi-net", random_state=0).fit(bags)
    assert type(plain.model_.pooling).__name__ == "Attention"
    assert (len(plain.model_.encoder), plain.model_.pooling.V.out_features) == (3, 5)
    small = bw.AttentionMIL(epochs=1, random_state=0).fit(made([100] * 5, every=3))
    assert type(small.model_.pooling).__name__ == "Attention"


def test_enough_small_bags_are_taken_several_a_step_where_a_step_is_not_compiled():
    enough = Facts((5,), bags=300, alike=(150, 150))
    for name, (kind, fixed) in METHODS.items():
        if issubclass(kind, NeuralMIL):
            model = kind(**fixed)
            design = model._design((5,), model._recipe(enough))
            assert kind.several is not can_stack(design.build((5,), outputs=1, seed=0)), name
    taken = {
        name: (recipe.bags_per_step, recipe.settings.optimizer)
        for name, recipe in {
            "enough": bw.AdditiveMIL()._recipe(enough),
            "one at a time": bw.AdditiveMIL(bags_per_step=1)._recipe(enough),
            "few": bw.AdditiveMIL()._recipe(Facts((5,), bags=299, alike=(150, 149))),
            "large": bw.AdditiveMIL()._recipe(replace(enough, median_size=2000)),
            "compiled": bw.AttentionMIL()._recipe(enough),
        }.items()
    }
    assert taken.pop("enough") == (8, "adam")
    assert taken.pop("one at a time") == (1, "adam")
    assert {several for several, _ in taken.values()} == {None}
    bags = made([2] * 310, every=2)
    plan = bw.AdditiveMIL(instance_budget=40, epochs=1, random_state=0).fit(bags).plan_
    assert (plan.instance_budget, plan.bags_per_step) == (40, None)


def test_what_is_given_is_taken_and_the_rest_is_not_changed():
    given = {"optimizer": "adamw", "class_weight": None, "hidden": 7, "gated": True, "size": True}
    plain, changed = recipe_for(Facts((5,))), recipe_for(Facts((5,)), given)
    assert changed.values == plain.values | {name: value for name, value in given.items() if name != "size"}


def test_classes_are_balanced_and_other_targets_have_nothing_to_balance():
    bags = made([2] * 12, every=4)
    assert bw.AttentionMIL(epochs=1).fit(bags).settings_.class_weights == (12 / 18, 2.0)
    assert bw.AttentionMIL(epochs=1, class_weight=None).fit(bags).settings_.class_weights is None
    assert bw.AttentionMIL(epochs=1).fit(bags, y=np.linspace(0.1, 1, 12)).settings_.class_weights is None


def test_networks_of_many_bags_of_columns_of_all_kinds_have_less_of_a_penalty():
    many = {"bags": 500, "alike": (400, 100), "columns": True}
    assert recipe_for(Facts((9,), **many)).settings.l2 == LOOSE
    assert recipe_for(Facts((9,), **many), {"epochs": 20}).settings.l2 == LOOSE
    assert recipe_for(Facts((9,), **many), {"l2": 0.1}).settings.l2 == 0.1
    for facts in (Facts((9,), **many | {"alike": (490, 10)}), Facts((9,), **many | {"columns": False})):
        assert recipe_for(facts).settings.l2 == 0.005


@pytest.mark.parametrize("counts", [{"counting": True}, {"pooling": "sum"}])
def test_poolings_that_count_learn_faster_of_many_bags_of_columns_of_all_kinds(counts):
    many = {"bags": 500, "alike": (400, 100), "columns": True}
    assert recipe_for(Facts((9,), **many), counts).settings.learning_rate == QUICK
    assert recipe_for(Facts((9,), **many), counts | {"learning_rate": 0.1}).settings.learning_rate == 0.1
    for other in (recipe_for(Facts((9,), **many)), recipe_for(Facts((9,), **many | {"columns": False}), counts)):
        assert other.settings.learning_rate == 5e-4


@pytest.mark.slow
def test_the_first_try_is_as_good_as_what_was_published(published, data_directory):
    """Five times ten folds, as MUSK1's file divides its bags (docs/defaults.md)."""
    bags = published("musk1")
    with np.load(data_directory / "musk1" / "musk1.npz") as file:
        masks = file["cv_train_mask"].reshape(-1, len(bags)).astype(bool)
    models = [bw.AttentionMIL(gated=True, random_state=0) for _ in masks]
    fit_members(models, bags, [np.flatnonzero(mask) for mask in masks])
    right = [
        np.mean(model.predict(bags[~mask]) == bags.labels[~mask]) for model, mask in zip(models, masks, strict=True)
    ]
    assert np.mean(right) >= 0.87
