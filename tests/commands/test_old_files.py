"""What older versions wrote is read, and says what it said; each fixture has the script that made it."""

import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from sklearn.base import clone

import bagwise as bw
from bagwise import BagwiseError
from bagwise.commands.older import asked_before
from bagwise.commands.runs import Run, check_asked_the_same
from bagwise.explain import explain
from bagwise.methods.ensemble import predict_ensemble
from bagwise.methods.neural_files import estimator_of

FIXTURES = Path(__file__).parents[1] / "fixtures"
RUNS = {
    "0.1": ("words", "numbers", "truths", "three", "slides", "patches"),
    "format-2": ("words",),
    "format-3": ("rare",),
    "format-4": ("rare",),
    "format-5": ("events",),
    "format-6": ("events",),
}
MODELS = {
    "0.1": (
        *("attention", "gated", "instance", "embedding", "mi-net", "deep-supervision", "residual"),
        *("weighted", "stopped", "digits", "cells", "ensemble"),
    ),
    "format-2": ("positive", "negative", "stopped"),
    "format-3": ("balanced", "balanced-three"),
    "format-4": ("deciding", "pooled"),
    "format-5": ("counting",),
    "format-6": ("logarithm",),
}
DATA = {"slides": "data/features", "patches": "data/scans"}


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    folder = tmp_path_factory.mktemp("old")
    for version in MODELS:
        with tarfile.open(FIXTURES / version / "files.tar.xz") as archive:
            archive.extractall(folder, filter="data")
    return folder


def each(of):
    return [f"{version}/{name}" for version, names in of.items() for name in names]


def assert_says_the_same(models, bags, told):
    assert models[0].classes_.tolist() == told["classes"].tolist()
    # The weights are the same bits; another processor adds their products up in another order.
    close = {"rtol": 1e-6, "atol": 1e-6}
    np.testing.assert_allclose(predict_ensemble(models, bags).members, told["members"], **close)
    found = explain(models, bags)
    np.testing.assert_allclose(found.scores, told["scores"], **close)
    if "weights" in told:
        np.testing.assert_allclose(found.weights, told["weights"], **close)


def assert_same_weights(models, file):
    stored = load_file(file)
    for number, model in enumerate(models):
        for name, value in model.model_.state_dict().items():
            assert value.dtype == stored[f"{number}.{name}"].dtype
            assert torch.equal(value, stored.pop(f"{number}.{name}"))
    assert not stored


@pytest.mark.parametrize("name", each(MODELS))
def test_an_old_model_comes_back_and_is_saved_anew(old, tmp_path, name):
    version, name = name.split("/")
    old = old / version
    told = np.load(old / "answers" / f"models-{name}.npz")
    bags = bw.Bags(told["instances"], told["offsets"])
    models = bw.load_models(old / "models" / name)
    assert name != "positive" or models[0].positive_ == "healthy"  # against the words, and the alphabet
    assert_same_weights(models, old / "models" / name / "model.safetensors")
    assert_says_the_same(models, bags, told)
    bw.save_models(models, tmp_path)
    again = bw.load_models(tmp_path)
    np.testing.assert_array_equal(predict_ensemble(again, bags).members, predict_ensemble(models, bags).members)
    assert [model.history_ for model in again] == [model.history_ for model in models]


@pytest.mark.parametrize("name", each(RUNS))
def test_an_old_run_is_read_and_answers(old, run, name):
    version, name = name.split("/")
    old = old / version
    told = np.load(old / "answers" / f"runs-{name}.npz")
    data = str(old / DATA.get(name, f"data/{name}.csv"))
    loaded = Run.load(old / "runs" / name)
    assert_same_weights(loaded.models, old / "runs" / name / "model.safetensors")
    models = [estimator_of(model) for model in loaded.models]
    assert_says_the_same(models, loaded.source(data).read_like(loaded.feature_names, like=loaded.columns), told)
    done = run("predict", old / "runs" / name, data, "--json")
    assert done.status == 0, done.told
    frame = pd.DataFrame(json.loads(done.out))
    columns = [f"probability_{label}" for label in told["classes"].tolist()]
    np.testing.assert_allclose(frame[columns], told["members"].mean(axis=0), atol=1e-6)


def test_a_parameter_that_could_say_auto_and_no_longer_can_learns_again(old):
    model = bw.load_models(old / "format-5" / "runs" / "events")[0]
    assert "clip" in json.loads((old / "format-5" / "runs" / "events" / "config.json").read_text())["parameters"]
    bags = bw.Bags.from_arrays([[[0.0]], [[1.0]]], labels=[0, 1])
    assert clone(model).set_params(epochs=1).fit(bags).plan_.clip is None


def test_an_old_classical_method_of_columns_of_all_kinds_answers(old):
    model = bw.load_model(old / "format-5" / "models" / "summary")
    bags = bw.read_table(old / "format-5" / "data" / "events.csv", bag="bag", like=model.columns_)
    told = np.load(old / "format-5" / "data" / "summary.npz")["answers"]
    np.testing.assert_allclose(model.predict_proba(bags), told, rtol=1e-6)


def test_an_old_run_is_resumed_by_the_command_that_made_it(old, run, tmp_path, monkeypatch):
    shutil.copytree(old / "0.1" / "runs", tmp_path / "runs")
    monkeypatch.chdir(old / "0.1")  # as data were named then
    columns = ("--bag", "bag", "--label", "label", "--group", "patient", "--instance", "cell")
    asked = (*columns, "--coordinate", "x", "--coordinate", "y", "--epochs", 3, "--jobs", 1, "--resume")
    done = run("fit", "data/words.csv", *asked, "--out", tmp_path / "runs" / "words")
    assert done.status == 0, done.told
    refused = run("fit", "data/three.csv", *asked, "--out", tmp_path / "runs" / "three")  # which was not balanced
    assert "was asked for another class_weight ('none', now None" in refused.told


@pytest.mark.parametrize(("then", "now"), [("balanced", None), ("balanced", "balanced"), (None, "none")])
def test_an_old_evaluation_asked_for_what_it_would_now(then, now):
    asked = {"class_weight": now, "no_baseline": False}
    before = asked_before({"bagwise": "0.1.0", "asked": {"class_weight": then}}, asked)
    check_asked_the_same(Path("results.json"), before, asked)
    other = asked | {"class_weight": "none" if then else None}
    with pytest.raises(BagwiseError, match="another class_weight"):
        check_asked_the_same(
            Path("results.json"), asked_before({"bagwise": "0.1.0", "asked": {"class_weight": then}}, other), other
        )
