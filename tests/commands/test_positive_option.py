"""Which class is positive, from the command line to the report."""

import json

import numpy as np
import pandas as pd
import pytest

COLUMNS = ("--bag", "patient", "--label", "diagnosis", "--instance", "cell")
QUICK = ("--epochs", 3, "--jobs", 1, "--method", "instance-max")


@pytest.fixture(scope="module")
def tables(cells, tmp_path_factory):
    """The same cells of normal patients and of others, by two names of the others."""
    folder = tmp_path_factory.mktemp("tables")
    for name in ("tumour", "cancer"):
        table = cells(classes=("normal", name)).drop(columns=["clinic", "x", "y"])
        table.to_csv(folder / f"{name}.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def runs(run, tables):
    for name in ("tumour", "cancer"):
        done = run("fit", tables / f"{name}.csv", *COLUMNS, *QUICK, "--out", tables / f"run-{name}")
        assert done.status == 0, done.told
        assert f"The positive class is {name}: a bag is positive if" in done.out
    return tables


def test_a_run_says_it_and_learns_the_same_by_either_name(runs):
    told = {}
    for name in ("tumour", "cancer"):
        folder = runs / f"run-{name}"
        metrics = json.loads((folder / "metrics.json").read_text())
        assert metrics.pop("positive") == name
        assert json.loads((folder / "config.json").read_text())["positive"] == name
        assert f"{name}: a bag is positive if" in (folder / "report.html").read_text(encoding="utf-8")
        told[name] = {key: value for key, value in metrics.items() if key not in ("classes", "seconds")}
        history = pd.read_csv(folder / "history.csv")
        told[name]["history"] = history.to_dict()
    assert told["tumour"] == told["cancer"]


def test_predictions_and_explanations_follow_the_run(run, runs):
    predictions, instances = [], []
    for name in ("tumour", "cancer"):
        done = run("predict", runs / f"run-{name}", runs / f"{name}.csv", "--out", runs / f"{name}-predicted.csv")
        assert f"The positive class is {name}" in done.out
        found = pd.read_csv(runs / f"{name}-predicted.csv").rename(columns={f"probability_{name}": "p"})
        predictions.append(found.replace({name: "positive"})[["bag", "predicted", "p"]])
        out = runs / f"why-{name}"
        done = run("explain", runs / f"run-{name}", runs / f"{name}.csv", "--out", out)
        assert f"The positive class is {name}" in done.out
        instances.append(pd.read_csv(out / "instances.csv"))
        assert f"{name}: a bag is positive if" in (out / "report.html").read_text(encoding="utf-8")
    pd.testing.assert_frame_equal(*predictions)
    pd.testing.assert_frame_equal(*instances)


@pytest.mark.usefixtures("undrawn")
def test_an_evaluation_says_it(run, tables):
    out = tables / "cv"
    argv = (*COLUMNS, "--method", "miVLAD", "--folds", 2, "--jobs", 1, "--positive", "normal", "--out", out)
    done = run("evaluate", "--no-baseline", tables / "cancer.csv", *argv)
    assert done.status == 0, done.told
    assert "The positive class is normal" in done.out
    assert json.loads((out / "results.json").read_text())["positive"] == "normal"
    assert "normal: a bag is positive if" in (out / "report.html").read_text(encoding="utf-8")


def test_another_class_can_be_named(run, tables, tmp_path):
    argv = (tables / "cancer.csv", *COLUMNS, "--positive", "normal")
    checked = run("check", *argv, "--json")
    assert json.loads(checked.out)["positive"] == "normal"
    done = run("fit", *argv, *QUICK, "--out", tmp_path / "run", "--json")
    assert json.loads(done.out)["positive"] == "normal"
    resumed = run("fit", *argv[:-2], *QUICK, "--out", tmp_path / "run", "--resume")
    assert resumed.status == 1
    assert "asked for another positive ('normal', now None" in resumed.told


def test_a_check_says_it_and_refuses_what_names_no_class(run, tables):
    done = run("check", tables / "cancer.csv", *COLUMNS)
    assert "The positive class is cancer: a bag is positive if" in done.out
    assert "--positive names another" in done.out
    done = run("check", tables / "cancer.csv", *COLUMNS, "--positive", "Cancer")
    assert done.status == 1
    assert "error: positive is 'Cancer', and the classes are cancer, normal: name one of them" in done.out


def test_more_than_two_classes_have_none(run, cells, tmp_path):
    cells(classes=("normal", "a", "b")).drop(columns=["clinic", "x", "y"]).to_csv(tmp_path / "three.csv", index=False)
    done = run("check", tmp_path / "three.csv", *COLUMNS)
    assert "positive class" not in done.out
    for command in ("fit", "evaluate"):
        argv = (*COLUMNS, "--epochs", 1, "--jobs", 1, "--positive", "a", "--out", tmp_path / command)
        done = run(command, tmp_path / "three.csv", *argv, *(("--folds", 2) if command == "evaluate" else ()))
        assert done.status == 1
        assert "there are 3 classes (a, b, normal): leave it out" in done.told
        assert not (tmp_path / command / "report.html").exists()


def test_a_number_is_named_as_it_is_written(run, tables, tmp_path):
    table = pd.read_csv(tables / "cancer.csv")
    table["diagnosis"] = np.where(table["diagnosis"] == "cancer", 1, 0)
    table.to_csv(tmp_path / "numbers.csv", index=False)
    for argv, positive in (((), "1"), (("--positive", "0"), "0")):
        done = run("check", tmp_path / "numbers.csv", *COLUMNS, *argv, "--json")
        assert json.loads(done.out)["positive"] == positive
