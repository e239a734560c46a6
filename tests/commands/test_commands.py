import json

import numpy as np
import pandas as pd
import pytest
import torch

import bagwise as bw
from bagwise.commands.runs import Run
from bagwise.io.tables import read_table

CELLS = ["--bag", "patient", "--label", "diagnosis", "--instance", "cell", "--coordinate", "x", "--coordinate", "y"]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory, cells, run):
    """Give a folder with a table and a run of an ensemble on it."""
    folder = tmp_path_factory.mktemp("cells")
    cells().drop(columns="clinic").to_csv(folder / "cells.csv", index=False)
    done = run("fit", folder / "cells.csv", *CELLS, "--ensemble", 3, "--epochs", 30, "--out", folder / "run", "--json")
    assert done.status == 0, done.told
    return folder


# ---- fit -------------------------------------------------------------------------------------------------------------


def test_a_run_holds_all_that_is_needed(fitted):
    folder = fitted / "run"
    names = {"model.safetensors", "seen.safetensors", "config.json", "metrics.json", "history.csv"}
    assert {path.name for path in folder.iterdir()} == names | {"card.md", "report.html", ".bagwise"}
    config = json.loads((folder / "config.json").read_text())
    assert config["classes"] == ["healthy", "ill"]
    assert config["feature_names"] == ["size", "marker", "shape"]
    assert len(config["settings"]) == 3
    history = pd.read_csv(folder / "history.csv")
    assert history.groupby("member").size().tolist() == [30, 30, 30]
    assert "ill" in (folder / "report.html").read_text()
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["training_auc"] > 0.9
    assert metrics["epochs_were"] == "fixed in advance"


def test_a_run_is_what_python_gives(fitted):
    bags = read_table(fitted / "cells.csv", bag="patient", label="diagnosis", instance="cell", coordinates=["x", "y"])
    model = bw.AttentionMIL(epochs=30, class_weight="balanced", random_state=0)
    expected = bw.predict_ensemble(bw.fit_ensemble(model, bags, 3), bags)
    found = bw.predict_ensemble(Run.load(fitted / "run").models, bags)
    np.testing.assert_array_equal(found.members, expected.members)


def test_small_sets_train_a_fixed_number_and_large_ones_watch(tmp_path, cells, run):
    for patients, said in ((24, "fixed in advance, because 24 bags"), (320, "chosen on a fifth of the bags")):
        cells(patients).to_csv(tmp_path / "cells.csv", index=False)
        argv = ["fit", tmp_path / "cells.csv", *CELLS, "--group", "clinic", "--out", tmp_path / f"run-{patients}"]
        done = run(*argv, "--json")
        assert done.status == 0, done.told
        metrics = json.loads(done.out)
        assert said.replace("bags", "groups" if patients == 320 else "bags") in metrics["epochs_were"]
        assert ("validation_error" in metrics) == (patients == 320)
    assert metrics["epochs"][0] < 200


@pytest.mark.parametrize("method", ["mi-Net", "MI-Net-DS", "gated-attention"])
def test_any_method_and_several_classes(tmp_path, cells, run, method):
    # Without places, so that no maps are drawn.
    cells(24, classes=("a", "b", "c")).drop(columns=["clinic", "x", "y"]).to_parquet(tmp_path / "cells.parquet")
    argv = [*CELLS[:6], "--method", method, "--epochs", 2, "--out", tmp_path / "run"]
    done = run("fit", tmp_path / "cells.parquet", *argv)
    assert done.status == 0, done.told
    assert "bagwise evaluate" in done.out
    done = run("predict", tmp_path / "run", tmp_path / "cells.parquet", "--json")
    rows = json.loads(done.out)
    assert len(rows) == 24
    for row in rows:
        assert sum(row[f"probability_{label}"] for label in "abc") == pytest.approx(1, abs=1e-6)
    argv = ["--out", tmp_path / "told", "--format", "parquet"]
    done = run("explain", tmp_path / "run", tmp_path / "cells.parquet", *argv)
    assert done.status == 0, done.told
    table = pd.read_parquet(tmp_path / "told" / "instances.parquet")
    assert ("weight" in table) == ("attention" in method)
    assert {"score_a", "score_b", "score_c"} <= set(table)


def test_a_finished_run_is_left_as_it_is(fitted, run):
    before = {path: path.stat().st_mtime_ns for path in (fitted / "run").iterdir()}
    argv = ["fit", fitted / "cells.csv", *CELLS, "--ensemble", 3, "--out", fitted / "run", "--resume", "--json"]
    done = run(*argv, "--epochs", 30)
    assert done.status == 0, done.told
    other = run(*argv, "--epochs", 31)
    assert other.status == 1
    assert "another epochs (30, now 31" in other.told
    assert {path: path.stat().st_mtime_ns for path in (fitted / "run").iterdir()} == before


# ---- --dtype ---------------------------------------------------------------------------------------------------------


def test_models_compute_in_what_dtype_says(run, fitted, tmp_path):
    data = fitted / "cells.csv"
    trained = run("fit", data, *CELLS, "--epochs", 2, "--dtype", "float64", "--out", tmp_path / "run", "--json")
    assert trained.status == 0, trained.told
    assert next(Run.load(tmp_path / "run").models[0].model_.parameters()).dtype == torch.float64
    said = {
        dtype: json.loads(run("predict", tmp_path / "run", data, "--json", *dtype).out)
        for dtype in ((), ("--dtype", "float64"), ("--dtype", "float32"))
    }
    assert said[()] == said["--dtype", "float64"]
    for one, other in zip(said[()], said["--dtype", "float32"], strict=True):
        assert one["probability_ill"] == pytest.approx(other["probability_ill"], abs=1e-5)
    for argv in (["predict", tmp_path / "run", data], ["explain", tmp_path / "run", data, "--out", tmp_path / "why"]):
        refused = run(*argv, "--dtype", "half")
        assert refused.status != 0
        assert "--dtype is 'half'" in refused.told


# ---- predict ---------------------------------------------------------------------------------------------------------


def test_predictions_are_written_and_printed(fitted, run, tmp_path):
    done = run("predict", fitted / "run", fitted / "cells.csv", "--out", tmp_path / "said.csv", "--json")
    frame = pd.read_csv(tmp_path / "said.csv")
    assert json.loads(done.out)[0]["bag"] == frame["bag"][0] == "P000"
    assert list(frame) == [
        "bag",
        "predicted",
        "probability_healthy",
        "probability_ill",
        "spread_healthy",
        "spread_ill",
        "stranger",
    ]
    assert (frame["predicted"] == "ill").tolist() == (frame["probability_ill"] > 0.5).tolist()
    assert (frame["spread_ill"] > 0).all()
    assert "24 bags" in run("predict", fitted / "run", fitted / "cells.csv").out


def test_labels_may_be_missing_and_columns_stand_elsewhere(fitted, cells, run, tmp_path):
    frame = cells().drop(columns=["clinic"])
    expected = run("predict", fitted / "run", fitted / "cells.csv", "--json").out
    for changed in (
        frame.drop(columns="diagnosis"),
        frame.assign(diagnosis=None),
        frame[sorted(frame.columns)],
        frame.drop(columns=["diagnosis", "cell", "x", "y"]),
    ):
        changed.to_csv(tmp_path / "new.csv", index=False)
        done = run("predict", fitted / "run", tmp_path / "new.csv", "--json")
        assert done.out == expected, done.told


# ---- explain ---------------------------------------------------------------------------------------------------------


def test_an_explanation_is_written(fitted, run, tmp_path):
    frame = pd.read_csv(fitted / "cells.csv")
    frame[frame["patient"] < "P008"].to_csv(tmp_path / "few.csv", index=False)
    done = run("explain", fitted / "run", tmp_path / "few.csv", "--out", tmp_path / "told", "--key", 2)
    assert done.status == 0, done.told
    table = pd.read_csv(tmp_path / "told" / "instances.csv")
    assert list(table) == ["bag", "instance", "x", "y", "weight", "rescaled_weight", "rank", "score"]
    assert table["instance"][0] == "cell 0"
    np.testing.assert_allclose(table.groupby("bag")["weight"].sum(), 1, rtol=1e-5)
    keys = pd.read_csv(tmp_path / "told" / "key_instances.csv")
    assert keys.groupby("bag").size().tolist() == [2] * 8
    # The ill have their high markers in the first two cells.
    assert set(keys[keys["predicted"] == "ill"]["instance"]) == {"cell 0", "cell 1"}
    assert pd.read_csv(tmp_path / "told" / "features.csv")["feature"][0] == "marker"
    maps = pd.read_csv(tmp_path / "told" / "maps" / "maps.csv", dtype=str)
    assert maps["bag"].tolist() == sorted(set(table["bag"]))
    assert all((tmp_path / "told" / "maps" / name).stat().st_size > 5000 for name in maps["map"])


# ---- folders ---------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("undrawn")
def test_a_folder_of_slides_from_start_to_end(tmp_path, slides, run):
    folder, labels = slides(tmp_path)
    done = run("check", folder, "--labels", labels, "--group", "group", "--json")
    assert done.status == 0, done.told
    assert json.loads(done.out)["groups"] == 6
    argv = [folder, "--labels", labels, "--group", "group"]
    assert run("fit", *argv, "--epochs", 40, "--out", tmp_path / "run").status == 0
    said = json.loads(run("predict", tmp_path / "run", folder, "--json").out)
    assert [row["bag"] for row in said] == [f"TCGA-{number:02}.v1" for number in range(12)]
    assert sum(row["predicted"] == number % 2 for number, row in enumerate(said)) >= 10
    done = run("explain", tmp_path / "run", folder, "--out", tmp_path / "told")
    assert done.status == 0, done.told
    assert len(pd.read_csv(tmp_path / "told" / "maps" / "maps.csv")) == 12
    done = run("evaluate", "--no-baseline", *argv, "--folds", 3, "--epochs", 2, "--out", tmp_path / "cv", "--json")
    assert json.loads(done.out)["rows"][0]["protocol"] == "grouped"
    predictions = pd.read_csv(tmp_path / "cv" / "predictions.csv")
    assert predictions.groupby("group")["fold"].nunique().max() == 1


@pytest.mark.usefixtures("undrawn")
def test_rows_without_a_file_are_left_out_where_that_is_asked_for(tmp_path, slides, run):
    folder, labels = slides(tmp_path)
    (folder / "TCGA-03.v1.h5").unlink()
    skipping = [folder, "--labels", labels, "--skip-missing"]
    told = f"bagwise: note: {labels}: 1 bag has no feature file in {folder} ('TCGA-03.v1') and is left out\n"
    done = run("fit", folder, "--labels", labels, "--epochs", 1, "--jobs", 1, "--out", tmp_path / "run")
    assert (done.status, done.told.count("\n")) == (1, 1)
    assert "'TCGA-03.v1'" in done.told
    assert done.told.endswith("or leave such rows out with --skip-missing\n")
    for argv in (
        ["fit", *skipping, "--epochs", 1, "--jobs", 1, "--out", tmp_path / "run", "--json"],
        ["evaluate", *skipping, "--no-baseline", "--folds", 2, "--epochs", 1, "--out", tmp_path / "cv", "--json"],
        ["predict", tmp_path / "run", *skipping, "--out", tmp_path / "said.csv"],
        ["explain", tmp_path / "run", *skipping, "--out", tmp_path / "why"],
    ):
        done = run(*argv)
        assert (done.status, done.told[: len(told)]) == (0, told), argv[0]  # and perhaps that an epoch taught nothing
    assert len(pd.read_csv(tmp_path / "said.csv")) == 11
    assert run("check", *skipping).status == 0


# ---- evaluate --------------------------------------------------------------------------------------------------------


def test_an_evaluation_is_what_python_gives(tmp_path, cells, run):
    cells().drop(columns="clinic").to_csv(tmp_path / "cells.csv", index=False)
    argv = ["--method", "attention", "--method", "MI-Net", "--folds", 4, "--repeats", 2, "--epochs", 3, "--no-baseline"]
    done = run("evaluate", tmp_path / "cells.csv", *CELLS, *argv, "--out", tmp_path / "cv", "--json")
    assert done.status == 0, done.told
    results = json.loads(done.out)
    assert results == json.loads((tmp_path / "cv" / "results.json").read_text())
    bags = read_table(tmp_path / "cells.csv", bag="patient", label="diagnosis", instance="cell", coordinates=["x", "y"])
    again = run("evaluate", tmp_path / "cells.csv", *CELLS, *argv, "--out", tmp_path / "cv", "--json", "--resume")
    assert again.out == done.out
    other = run("evaluate", tmp_path / "cells.csv", *CELLS, *argv, "--out", tmp_path / "cv", "--seed", 1, "--resume")
    assert "another seed (0, now 1" in other.told
    predictions = pd.read_csv(tmp_path / "cv" / "predictions.csv")
    for method in ("attention", "MI-Net"):
        model = bw.make(method, epochs=3, class_weight="balanced", random_state=0)
        expected = bw.cross_validate(model, bags, folds=4, repeats=2)
        rows = {row["metric"]: row for row in results["rows"] if row["method"] == method}
        assert rows["auc"]["mean"] == expected.mean("auc")
        said = predictions[predictions["method"] == method]
        np.testing.assert_allclose(said["probability_ill"], expected.probabilities[:, :, 1].ravel(), rtol=1e-6)
        assert said["fold"].tolist() == expected.assignment.ravel().tolist()
    assert {row["metric"] for row in results["differences"]} >= {"accuracy", "auc"}
    figures = {path.name for path in (tmp_path / "cv").glob("*.png")}
    assert figures == {"roc.png", "precision_recall.png", "calibration.png", "confusion_0.png", "confusion_1.png"}


def test_datasets_are_listed(run, data_directory):
    done = run("datasets", "--data-dir", data_directory, "--json")
    here = [one for one in json.loads(done.out) if one["here"]]
    assert [one["name"] for one in here if not one["drawn"]] == [
        "musk1",
        "musk2",
        "fox",
        "tiger",
        "elephant",
        "colon_cancer",
        "breast_cancer",
    ]
    assert {"four_bags", "shifted_mean"} <= {one["name"] for one in here if one["drawn"]}
    assert "27 x 27 x 3" in run("datasets").out


def test_a_data_set_by_name(run, data_directory, tmp_path):
    argv = ["--data-dir", data_directory, "--epochs", 2, "--out", tmp_path / "run"]
    assert run("fit", "musk1", *argv, "--json").status == 0
    done = run("predict", tmp_path / "run", "musk1", "--data-dir", data_directory, "--json")
    assert json.loads(done.out)[0]["bag"] == "MUSK-188"
    refused = run("fit", "musk1", "--bag", "x", "--data-dir", data_directory, "--out", tmp_path / "other")
    assert "--bag is of no use" in refused.told


def test_a_set_that_is_drawn_goes_into_commands_by_its_name(run, data_directory, tmp_path):
    argv = ["--data-dir", data_directory, "--json"]
    assert json.loads(run("check", "four_digits", *argv).out)["bags"] == 500
    assert run("fit", "shifted_mean", "--epochs", 1, "--out", tmp_path / "run", *argv).status == 0
    assert len(json.loads(run("predict", tmp_path / "run", "shifted_mean", *argv).out)) == 1000


# ---- nothing of others is replaced -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["said.csv", "said.parquet"])
def test_predictions_replace_earlier_ones_and_no_other_file(fitted, run, tmp_path, name):
    out = tmp_path / name
    command = ["predict", fitted / "run", fitted / "cells.csv", "--out", out]
    for mine in (b"bag,predicted,note\na,ill,mine\n", b"", b"\xff\xfe", b"bag,label\na,1\n"):
        out.write_bytes(mine)
        done = run(*command)
        assert done.status == 1
        assert f"{out} is there already" in done.told
        assert out.read_bytes() == mine
    out.unlink()
    assert run(*command).status == 0
    written = out.stat().st_ino
    assert run(*command).status == 0
    assert out.stat().st_ino != written
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_predictions_never_replace_a_file_of_the_run(fitted, run):
    before = (fitted / "run" / "history.csv").read_bytes()
    done = run("predict", fitted / "run", fitted / "cells.csv", "--out", fitted / "run" / "history.csv")
    assert (done.status, (fitted / "run" / "history.csv").read_bytes()) == (1, before)


@pytest.mark.parametrize("command", ["fit", "evaluate", "demo", "tile", "reproduce"])
@pytest.mark.parametrize("mine", ["checkpoints/mine.pt", "cells/mine.json", ".writing-notes", "report.html"])
def test_no_command_goes_on_in_a_folder_of_others(fitted, run, tmp_path, command, mine):
    argv = {
        "fit": ["fit", fitted / "cells.csv", *CELLS],
        "evaluate": ["evaluate", fitted / "cells.csv", *CELLS],
        "demo": ["demo"],
        "tile": ["tile", tmp_path, "--encoder", fitted / "run"],
        "reproduce": ["reproduce", "mil-assumption"],
    }[command]
    out = tmp_path / "out"
    (out / mine).parent.mkdir(parents=True)
    (out / mine).write_text("{}")
    before = {path: path.stat().st_mtime_ns for path in [out, *out.rglob("*")]}
    for resume in ([], ["--resume"]):
        done = run(*argv, "--out", out, *resume)
        assert done.status == 1
        assert f"{out} is not empty" in done.told
    assert {path: path.stat().st_mtime_ns for path in [out, *out.rglob("*")]} == before
