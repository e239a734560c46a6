"""What 0.1 wrote is read, and says what it said; tests/fixtures/0.1/make.py made it with the code of 0.1."""

import json
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

import bagwise as bw
from bagwise.commands.runs import Run
from bagwise.explain import explain
from bagwise.methods.ensemble import predict_ensemble

ARCHIVE = Path(__file__).parents[1] / "fixtures" / "0.1" / "files.tar.xz"
RUNS = ("words", "numbers", "truths", "three", "slides", "patches")
MODELS = (
    *("attention", "gated", "instance", "embedding", "mi-net", "deep-supervision", "residual"),
    *("weighted", "stopped", "digits", "cells", "ensemble"),
)
DATA = {"slides": "data/features", "patches": "data/scans"}


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    folder = tmp_path_factory.mktemp("old")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder / "0.1"


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


@pytest.mark.parametrize("name", MODELS)
def test_a_model_of_0_1_comes_back_and_is_saved_anew(old, tmp_path, name):
    told = np.load(old / "answers" / f"models-{name}.npz")
    bags = bw.Bags(told["instances"], told["offsets"])
    models = bw.load_models(old / "models" / name)
    assert_same_weights(models, old / "models" / name / "model.safetensors")
    assert_says_the_same(models, bags, told)
    bw.save_models(models, tmp_path)
    again = bw.load_models(tmp_path)
    np.testing.assert_array_equal(predict_ensemble(again, bags).members, predict_ensemble(models, bags).members)
    assert [model.history_ for model in again] == [model.history_ for model in models]


@pytest.mark.parametrize("name", RUNS)
def test_a_run_of_0_1_is_read_and_answers(old, run, name):
    told = np.load(old / "answers" / f"runs-{name}.npz")
    data = str(old / DATA.get(name, f"data/{name}.csv"))
    loaded = Run.load(old / "runs" / name)
    assert_same_weights(loaded.models, old / "runs" / name / "model.safetensors")
    assert_says_the_same(loaded.models, loaded.source(data).read_like(loaded.feature_names), told)
    done = run("predict", old / "runs" / name, data, "--json")
    assert done.status == 0, done.told
    frame = pd.DataFrame(json.loads(done.out))
    columns = [f"probability_{label}" for label in told["classes"].tolist()]
    np.testing.assert_allclose(frame[columns], told["members"].mean(axis=0), atol=1e-6)
