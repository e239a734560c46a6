"""`--set NAME=VALUE`: any parameter of a method from the command line."""

import json

import pandas as pd
import pytest

COLUMNS = ("--bag", "patient", "--label", "diagnosis", "--instance", "cell")


@pytest.fixture(scope="module")
def table(cells, tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "cells.csv"
    cells().drop(columns=["clinic", "x", "y"]).to_csv(path, index=False)
    return path


def test_a_run_learns_with_what_was_set_and_keeps_it(run, table, tmp_path):
    given = ("--set", "epochs=2", "--set", "hidden=8", "--set", "class_weight={'healthy': 1, 'ill': 2}")
    fit = ("fit", table, *COLUMNS, *given, "--jobs", 1, "--out", tmp_path / "run")
    done = run(*fit)
    assert done.status == 0, done.told
    config = json.loads((tmp_path / "run/config.json").read_text())
    assert config["asked"]["parameters"] == list(given[1::2])
    assert config["parameters"]["hidden"] == 8
    assert config["parameters"]["class_weight"] == [["healthy", 1], ["ill", 2]]
    assert len(pd.read_csv(tmp_path / "run/history.csv")) == 2
    assert run("predict", tmp_path / "run", table, "--json").status == 0
    assert run(*fit, "--resume").status == 0
    done = run(*fit, "--set", "l2=0", "--resume")
    assert done.status == 1
    assert "was asked for another parameters" in done.told


@pytest.mark.usefixtures("undrawn")
def test_an_evaluation_sets_it_where_a_method_has_it_and_says_where_it_has_not(run, table, tmp_path):
    methods = ("--method", "attention", "--method", "MI-SVM")
    given = ("--set", "kernel=linear", "--set", "C=1", "--set", "epochs=1", "--folds", 2, "--jobs", 1)
    done = run("evaluate", "--no-baseline", table, *COLUMNS, *methods, *given, "--out", tmp_path / "evaluation")
    assert done.status == 0, done.told
    for sentence in ("MI-SVM has no parameter 'epochs'", "attention has no parameter 'kernel'"):
        assert f"{sentence}: it learns without" in done.told
    asked = json.loads((tmp_path / "evaluation/results.json").read_text())["asked"]
    assert asked["parameters"] == ["kernel=linear", "C=1", "epochs=1"]


def no_table(folder):
    """Give a file that is refused as soon as it is read."""
    path = folder / "data.csv"
    path.write_text("\n")
    return path


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["epoch=3"], "AttentionMIL has no parameter 'epoch': did you mean 'epochs'?"),
        (["epochs=0"], "epochs is 0: it must be a whole number from 1 on, or None"),
        (["l2=1", "l2=1"], "the parameter 'l2' is set twice: set it once"),
        (["random_state=3"], "random_state is what --seed gives: leave it out of --set"),
    ],
)
@pytest.mark.parametrize("command", ["fit", "evaluate"])
def test_what_cannot_be_set_is_refused_before_data_are_read(run, tmp_path, command, given, told):
    done = run(
        command, no_table(tmp_path), "--out", tmp_path / "out", *(part for one in given for part in ("--set", one))
    )
    assert (done.status, done.told.strip()) == (1, f"bagwise: {told}")


def test_an_option_and_set_do_not_contradict_each_other(run, tmp_path):
    done = run("fit", no_table(tmp_path), "--out", tmp_path / "out", "--epochs", 3, "--set", "epochs=4")
    assert done.told.strip() == "bagwise: epochs is what --epochs gives: leave it out of --set"
