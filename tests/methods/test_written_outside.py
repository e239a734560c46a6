"""The published methods that a page of the docs writes by the public API alone do all that the built-in ones do."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import clone

import bagwise as bw
from bagwise.explain import explain, key_instances
from bagwise.methods import neural
from bagwise.methods.recipes import recipe_for

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "methods.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)[:-2]


def methods():
    namespace = {"__name__": "methods_of_the_page"}
    for block in BLOCKS:
        exec(compile(block, str(PAGE), "exec"), namespace)
    return namespace["methods"]


METHODS = methods()
every_method = pytest.mark.parametrize("name", METHODS)


def small(name, **parameters):
    return clone(METHODS[name]).set_params(epochs=2, **parameters)


def test_there_are_eight_and_each_is_short():
    assert len(METHODS) == 8
    assert all(len(block.strip().splitlines()) < 30 for block in BLOCKS[1:])


@every_method
@pytest.mark.parametrize("classes", [2, 3])
def test_each_cross_validates_and_explains(make_bags, name, classes):
    bags = make_bags(count=18, classes=classes)
    found = bw.cross_validate(small(name), bags, folds=2, n_jobs=1)
    assert np.isfinite(found.probabilities).all()
    assert found.attention.shape[:2] == (1, len(bags.instances))
    weights = found.attention[0].reshape(len(bags.instances), -1)
    np.testing.assert_allclose(np.add.reduceat(weights, bags.offsets[:-1]), 1, rtol=1e-5)
    model = small(name).fit(bags)
    assert model.attention(bags).shape == found.attention.shape[1:]
    explained = explain(model, bags)
    assert len(key_instances(explained, bags, 1))
    assert ("weight_1" in explained.table(bags)) == (
        name in ("multi-head attention", "class-wise attention") or (name == "DSMIL" and classes == 3)
    )


@every_method
def test_each_comes_back_from_a_file_with_the_part_that_only_the_page_has(make_bags, tmp_path, name):
    bags = make_bags(count=12)
    model = small(name).fit(bags)
    bw.save_model(model, tmp_path)
    needed = {
        part: getattr(model, part) for part in ("model", "pooling", "loss") if callable(getattr(model, part, None))
    }
    again = bw.load_model(tmp_path, **needed)
    np.testing.assert_array_equal(again.predict_proba(bags), model.predict_proba(bags))
    np.testing.assert_array_equal(again.attention(bags), model.attention(bags))
    np.testing.assert_array_equal(again.instance_scores(bags), model.instance_scores(bags))


@every_method
def test_each_learns_from_several_bags_a_step_and_stops_by_its_own_loss(make_bags, name):
    bags = make_bags(count=20)
    model = small(name, bags_per_step=3, patience=2).fit(bags, sample_weight=np.linspace(1, 2, len(bags)))
    assert all(np.isfinite(list(entry.values())).all() for entry in model.history_)


@every_method
def test_each_learns_the_same_in_chunks(make_bags, monkeypatch, name):
    bags, states = make_bags(count=8), []
    for chunk in (1, 1000):

        def chunked(*told, chunk=chunk, **named):
            return replace(recipe_for(*told, **named), chunk=chunk)

        monkeypatch.setattr(neural, "recipe_for", chunked)
        states.append(small(name, precision="float64").fit(bags).model_.state_dict())
    for key, value in states[0].items():
        torch.testing.assert_close(value, states[1][key], rtol=1e-7, atol=1e-9)


@every_method
def test_the_order_of_instances_does_not_matter(make_bags, name):
    bags = make_bags(count=12)
    model = small(name, precision="float64").fit(bags)
    turned = [bag.instances[::-1] for bag in bags]
    np.testing.assert_allclose(model.predict_proba(turned), model.predict_proba(bags), rtol=1e-9)
