import json

import numpy as np
import pytest

import bagwise as bw
from bagwise.datasets.named import load_dataset
from bagwise.experiments.options import Table1
from bagwise.experiments.paper import TABLE1
from bagwise.experiments.table1 import METHODS, SETTINGS, run_table1
from bagwise.methods.registry import make

SMALL = ["--folds", "2", "--repeats", "2", "--epochs", "2", "--jobs", "1", "--dataset", "musk1"]


@pytest.fixture
def reproduce(run, data_directory, tmp_path):
    def go(*options, out="out"):
        return run("reproduce", "table1", "--data-dir", data_directory, "--out", tmp_path / out, *SMALL, *options)

    return go


def untimed(path):
    results = json.loads(path.read_text())
    return [{key: value for key, value in row.items() if key != "seconds"} for row in results["rows"]], results


def test_the_papers_numbers_are_those_it_prints(data_directory):
    printed = json.loads((data_directory.parent / "paper" / "targets.json").read_text())["table1"]
    names = {"MI-Net with DS": "MI-Net-DS", "MI-Net with RC": "MI-Net-RC"}
    names |= {"Attention": "attention", "Gated-Attention": "gated-attention"}
    wanted = {
        dataset.lower(): {names.get(method, method): tuple(value) for method, value in cells.items()}
        for dataset, cells in printed.items()
    }
    assert wanted == TABLE1
    assert len(METHODS) == 13
    assert set(SETTINGS) == set(TABLE1)


def test_a_run_that_was_stopped_goes_on_and_ends_with_the_same_file(reproduce, tmp_path):
    methods = ["--method", "attention", "--method", "miVLAD"]
    assert reproduce(*methods).status == 0
    whole, results = untimed(tmp_path / "out" / "table1.json")
    assert [(row["method"], row["metric"]) for row in whole][::5] == [("attention", "accuracy"), ("miVLAD", "accuracy")]
    assert results["differences"][0]["first"] == "attention"
    assert sorted(results["ranks"].values()) in ([1.0, 2.0], [1.5, 1.5])
    cells = sorted((tmp_path / "out" / "cells").iterdir())
    assert len(cells) == 2
    cells[0].unlink()
    kept = cells[1].read_bytes()
    (tmp_path / "out" / "table1.json").unlink()
    refused = reproduce(*methods)
    assert refused.status == 1
    assert "is not empty" in refused.told
    assert reproduce(*methods, "--resume").status == 0
    assert untimed(tmp_path / "out" / "table1.json")[0] == whole
    assert cells[1].read_bytes() == kept
    assert (tmp_path / "out" / "table1.png").read_bytes().startswith(b"\x89PNG")
    assert "| attention |" in (tmp_path / "out" / "table1.md").read_text()


def test_a_row_sums_up_its_folds(data_directory, tmp_path):
    few = {"methods": ("miVLAD",), "datasets": ("musk1",), "folds": 3, "repeats": 2, "jobs": 1}
    results = run_table1(tmp_path, Table1(**few, data_dir=data_directory))
    cell = json.loads(next((tmp_path / "cells").iterdir()).read_text())["answer"]
    scores = np.array(cell["scores"]["accuracy"])
    row = results["rows"][0]
    assert scores.shape == (2, 3)
    assert row["mean"] == pytest.approx(scores.mean())
    assert row["sd_folds"] == pytest.approx(scores.std(ddof=1))
    assert row["sd_folds_over_root5"] == pytest.approx(scores.std(ddof=1) / 5**0.5)
    assert row["se_repeats"] == pytest.approx(scores.mean(axis=1).std(ddof=1) / 2**0.5)
    assert row["difference"] == pytest.approx(scores.mean() - 0.871)


def test_apart_from_the_mean_of_folds_stand_all_answers_together_and_older_cells_are_read(data_directory, tmp_path):
    few = {"methods": ("miVLAD",), "datasets": ("musk1",), "folds": 3, "repeats": 2, "jobs": 1}
    results = run_table1(tmp_path, Table1(**few, data_dir=data_directory))
    bags = load_dataset("musk1", data_directory)
    model = make("miVLAD", random_state=0)
    own = bw.cross_validate(model, bags, folds=3, repeats=2, n_jobs=1).pooled()
    for row in results["rows"]:
        assert {name: row[name] for name in own[row["metric"]].told()} == own[row["metric"]].told()
        assert row["pooled_low"] < row["pooled"] < row["pooled_high"]
    page = (tmp_path / "table1.md").read_text()
    assert f"| miVLAD | {str(own['accuracy']).replace('0.', '.')} |" in page
    (path,) = (tmp_path / "cells").iterdir()
    older = json.loads(path.read_text())
    del older["answer"]["pooled"]
    path.write_text(json.dumps(older))
    again = run_table1(tmp_path, Table1(**few, data_dir=data_directory, resume=True))
    assert again["rows"] == [
        {key: value for key, value in row.items() if not key.startswith("pooled")} for row in results["rows"]
    ]
    assert "interval" not in (tmp_path / "table1.md").read_text()


def test_a_baseline_stands_beside_without_a_number_of_the_papers(reproduce, tmp_path):
    done = reproduce("--method", "miVLAD", "--method", "mean-logistic")
    assert done.status == 0, done.told
    rows, results = untimed(tmp_path / "out" / "table1.json")
    assert {row["method"] for row in rows if "paper" in row} == {"miVLAD"}
    assert results["differences"][0]["second"] == "mean-logistic"
    for page in ("table1.md", "overview.md"):
        lines = [line for line in (tmp_path / "out" / page).read_text().splitlines() if "mean-logistic" in line]
        assert lines
        assert not any("(" in line or "nan" in line for line in lines)


@pytest.mark.parametrize(
    ("options", "protocol"),
    [
        (["--protocol", "paper"], "paper"),
        (["--protocol", "leaky"], "leaky"),
        (["--select-epoch"], "default"),
        (["--select-L"], "default"),
        (["--select-L", "--select-epoch", "--protocol", "paper"], "paper"),
    ],
)
def test_protocols_and_choices(reproduce, tmp_path, options, protocol):
    done = reproduce("--method", "attention", *options)
    assert done.status == 0
    assert ("NOT A RESULT" in done.out) == (protocol == "leaky")
    rows, results = untimed(tmp_path / "out" / "table1.json")
    assert {row["protocol"] for row in rows} == {protocol}
    assert results["asked"]["select_L"] == ("--select-L" in options)
    assert all(("pooled_low" in row) == (protocol != "leaky") for row in rows)
    reproduce("--method", "attention", out="plain")
    assert untimed(tmp_path / "plain" / "table1.json")[0] != rows


def test_a_recipe_is_what_a_method_has_where_nobody_gives_it_anything(data_directory, tmp_path):
    few = {"methods": ("MI-Net",), "datasets": ("musk1",), "folds": 2, "repeats": 1, "jobs": 1}
    results = run_table1(tmp_path, Table1(protocol="recipe", **few, data_dir=data_directory))
    assert results["asked"]["epochs"] is None
    bags = load_dataset("musk1", data_directory)
    own = bw.cross_validate(make("MI-Net", random_state=0), bags, folds=2, n_jobs=1)
    (row,) = [row for row in results["rows"] if row["metric"] == "accuracy"]
    assert row["mean"] == pytest.approx(np.mean(own.scores["accuracy"]), abs=1e-12)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--method", "MI-Nett"], "Table 1 has no method 'MI-Nett': choose of mi-SVM"),
        (["--method", "attention", "--method", "attention"], "given twice"),
        (["--dataset", "musk3"], "Table 1 has no data set 'musk3'"),
        (["--protocol", "lucky"], "there is no protocol 'lucky'"),
        (["--protocol", "leaky", "--method", "MI-SVM"], "MI-SVM has no epochs to choose"),
        (["--protocol", "leaky", "--select-epoch"], "leave --select-epoch"),
        (["--protocol", "recipe", "--select-epoch"], "leave the options of epochs out"),
        (["--protocol", "recipe"], "leave the options of epochs out"),
        (["--folds", "1"], "is too few"),
        (["--folds", "60"], "fewer than the 60 folds"),
        (["--repeats", "0"], "is too few"),
        (["--epochs", "0"], "--epochs is 0"),
        (["--seed", "-1"], "the seed is -1"),
        (["--backend", "cloud"], "no backend 'cloud'"),
    ],
)
def test_what_will_not_do_is_refused_in_one_sentence(reproduce, tmp_path, options, told):
    done = reproduce(*options)
    assert done.status == 1
    assert told in done.told
    assert done.told.count("\n") == 1
    assert not (tmp_path / "out" / "table1.json").exists()
