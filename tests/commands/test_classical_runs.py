"""Runs of methods without networks: what `fit` writes, the other commands read."""

import json

import numpy as np
import pandas as pd
import pytest

import bagwise as bw
from bagwise.tensorfiles import read_arrays, write_tensors

COLUMNS = ("--bag", "patient", "--label", "diagnosis", "--instance", "cell")
INNER = {"mi-SVM": {"kernel": "rbf", "C": 1, "gamma": 1}, "summary-forest": {"leaf": 1}, "MI-Kernel": {"gamma": 1}}


@pytest.fixture(scope="module")
def here(cells, tmp_path_factory):
    folder = tmp_path_factory.mktemp("classical")
    cells().drop(columns="clinic").to_csv(folder / "cells.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def runs(run, here):
    """Give for some methods the folder of a run, fitted once."""
    for name, parameters in INNER.items():
        given = [word for item in parameters.items() for word in ("--set", "{}={}".format(*item))]
        done = run("fit", here / "cells.csv", *COLUMNS, "--method", name, *given, "--out", here / name, "--json")
        assert done.status == 0, done.told
    return here


@pytest.mark.parametrize("name", INNER)
def test_a_run_is_what_python_fits(run, runs, name):
    folder = runs / name
    files = {"config.json", "metrics.json", "model.safetensors", "report.html"}
    assert files <= {path.name for path in folder.iterdir()}
    assert not (folder / "history.csv").exists()
    bags = bw.read_table(runs / "cells.csv", bag="patient", label="diagnosis", instance="cell")
    model = bw.make(name, **INNER[name], random_state=0).fit(bags)
    done = run("predict", folder, runs / "cells.csv", "--json")
    assert done.status == 0, done.told
    told = pd.DataFrame(json.loads(done.out))
    np.testing.assert_allclose(told["probability_ill"], model.predict_proba(bags)[:, 1], atol=1e-9)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["parameters"] == model.parameters_
    assert metrics["training_accuracy"] == pytest.approx(model.score(bags))
    assert "epochs_were" not in metrics
    page = (folder / "report.html").read_text()
    assert type(model).__name__ in page
    assert ("says nothing of single instances" in page) == (name != "mi-SVM")
    again = run("fit", runs / "cells.csv", *COLUMNS, "--method", name, "--out", folder, "--resume")
    assert again.status == 1
    assert "was asked for" in again.told  # with other parameters
    assert bw.load_model(folder).parameters_ == model.parameters_


def test_what_scores_instances_is_explained_and_what_does_not_says_so(run, runs, tmp_path):
    done = run("explain", runs / "mi-SVM", runs / "cells.csv", "--out", tmp_path / "svm", "--json")
    assert done.status == 0, done.told
    table = pd.read_csv(tmp_path / "svm" / "instances.csv")
    bags = bw.read_table(runs / "cells.csv", bag="patient", label="diagnosis", instance="cell")
    np.testing.assert_allclose(table["score"], bw.load_model(runs / "mi-SVM").instance_scores(bags), atol=1e-9)
    assert "weight" not in table
    done = run("explain", runs / "summary-forest", runs / "cells.csv", "--out", tmp_path / "forest", "--json")
    assert done.status == 0, done.told
    table = pd.read_csv(tmp_path / "forest" / "instances.csv")
    forest = bw.load_model(runs / "summary-forest")
    whole = forest.predict_proba(bags).repeat(bags.sizes, axis=0)
    falls = (whole - forest.without_instance(bags))[:, forest.classes_.tolist().index("ill")]
    np.testing.assert_allclose(table["fall"], falls, atol=1e-9)
    assert "by how much the answer falls without it" in (tmp_path / "forest" / "report.html").read_text()
    done = run("explain", runs / "MI-Kernel", runs / "cells.csv", "--out", tmp_path / "kernel")
    assert done.told.strip() == (
        "bagwise: SetKernelSVM looks at whole bags and says nothing of single instances: ask a method that does, such"
        " as attention or mi-SVM"
    )
    assert not (tmp_path / "kernel" / "report.html").exists()


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (("predict", "RUN", "cells.csv", "--dtype", "float32"), "InstanceLabelSVM has no --dtype, which is of neural"),
        (("predict", "RUN", "cells.csv", "--device", "cuda"), "InstanceLabelSVM has no --device, which is of neural"),
        *(
            (
                ("fit", "cells.csv", *COLUMNS, "--method", "mi-SVM", option, value, "--out", "out"),
                f"has no {option}, which",
            )
            for option, value in (
                *(("--dtype", "mixed"), ("--device", "cpu"), ("--epochs", 3)),
                *(("--patience", 3), ("--class-weight", "balanced")),
            )
        ),
        (("export", "RUN", "--out", "model.onnx"), "export_onnx needs a neural method"),
        (("fit", "cells.csv", *COLUMNS, "--method", "mi-SVM", "--ensemble", 3, "--out", "out"), "no initial weights"),
    ],
)
def test_what_only_networks_have_is_refused(run, runs, monkeypatch, asked, told):
    monkeypatch.chdir(runs)
    done = run(*("mi-SVM" if word == "RUN" else word for word in asked))
    assert done.status == 1
    assert told in done.told
    assert done.told.count("\n") == 1


def test_bags_for_validation_are_not_learnt_from(run, cells, tmp_path):
    frame = cells().drop(columns="clinic")
    part = np.where(frame["patient"] < "P016", "train", np.where(frame["patient"] < "P020", "val", "test"))
    frame.assign(part=part).to_csv(tmp_path / "cells.csv", index=False)
    fit = ("fit", tmp_path / "cells.csv", *COLUMNS, "--split", "part", "--method", "miVLAD", "--out", tmp_path / "run")
    done = run(*fit, "--json")
    assert done.status == 0, done.told
    assert "miVLAD has no epochs to choose: the 4 bags for validation decide nothing" in done.told
    metrics = json.loads(done.out)
    assert (metrics["bags"], metrics["validation_bags"], metrics["bags_left_out"]) == (16, 4, 4)
    assert bw.load_model(tmp_path / "run").bags_learnt_ == 16


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_run_that_was_edited_is_refused(run, runs, tmp_path, name):
    folder = tmp_path / "run"
    folder.mkdir()
    for path in (runs / "summary-forest").iterdir():
        if path.is_file():
            (folder / path.name).write_bytes(path.read_bytes())
    if name == "config.json":
        config = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(config | {"class": "SummarySVM"}))
        told = "'class' differs"
    else:
        arrays, description = read_arrays(folder / name)
        path = next(path for path in arrays if path.endswith("left"))
        arrays[path][0] = 2**40
        write_tensors(folder / name, arrays, description)
        told = "a tree has a node that does not go on to a later one"
    done = run("predict", folder, runs / "cells.csv")
    assert done.status == 1
    assert told in done.told
    assert done.told.count("\n") == 1
