import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import accuracy_score, roc_auc_score

import bagwise as bw
from bagwise.bags import Bags
from bagwise.evaluation.protocol import Folds
from bagwise.evaluation.wilson import auc_interval
from bagwise.experiments import histology
from bagwise.experiments.histology import METHODS, TABLES, run_figure5, run_histology, tables
from bagwise.experiments.options import Tissue
from bagwise.experiments.paper import TABLE2, TABLE3

FEW = {"folds": 2, "epochs": 1, "sample": 4, "jobs": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Small made-up sets in the form of the real ones."""
    place = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for dataset in ("colon_cancer", "breast_cancer"):
        (place / dataset / "images").mkdir(parents=True)
    nuclei, labels = [], []
    for number in range(1, 13):
        image = rng.integers(0, 200, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(image).save(place / "colon_cancer" / "images" / f"img{number}.png")
        for point in range(5):
            kind = "epithelial" if number % 2 and point < 3 else "others"
            nuclei.append((number, *rng.uniform(1, 64, 2), kind))
        Image.fromarray(image).save(place / "breast_cancer" / "images" / f"b{number}.png")
        labels.append((f"b{number}", number % 2, f"block {number // 3}"))
    pd.DataFrame(nuclei, columns=["image", "x", "y", "class"]).to_csv(
        place / "colon_cancer" / "nuclei.csv", index=False
    )
    table = pd.DataFrame(labels, columns=["image", "label", "tma_block"])
    table.to_csv(place / "breast_cancer" / "labels.csv", index=False)
    histology._load.cache_clear()
    yield place
    histology._load.cache_clear()


@pytest.fixture(scope="module")
def colon(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("table3") / "out"
    methods = ("attention", "instance-max")
    return out, run_histology(out, "table3", Tissue(methods=methods, repeats=2, data_dir=folder, **FEW))


def rows_of(results, **about):
    return [row for row in results["rows"] if all(row.get(name) == value for name, value in about.items())]


def test_predictions_of_all_folds_are_measured_together(colon, folder):
    _, results = colon
    bags = histology._load("colon_cancer", str(folder))
    for repetition in (0, 1):
        probabilities = np.empty(len(bags))
        division = Folds(bags, 2, 2, 0)
        for fold in (0, 1):
            model = bw.AttentionMIL(epochs=1, sample=4, augmentation="tissue", crop=27, random_state=0)
            model.fit(bags[division.training_bags(repetition, fold)])
            test = division.test_bags(repetition, fold)
            probabilities[test] = model.predict_proba(bags[test])[:, 1]
        (auc,) = rows_of(results, method="attention", metric="auc")
        assert auc["values"][repetition] == pytest.approx(roc_auc_score(bags.labels, probabilities))
        (accuracy,) = rows_of(results, method="attention", metric="accuracy")
        assert accuracy["values"][repetition] == accuracy_score(bags.labels, probabilities > 0.5)


def test_answers_of_all_repetitions_have_an_interval_in_which_blocks_of_tissue_stay_together(folder, tmp_path):
    out = tmp_path / "out"
    study = Tissue(methods=("instance-mean",), repeats=2, data_dir=folder, **FEW)
    results = run_histology(out, "table2", study)
    bags = histology._load("breast_cancer", str(folder))
    cells = [json.loads(path.read_text()) for path in (out / "cells").iterdir()]
    labels, said, blocks = [], [], []
    for repetition in (0, 1):
        for fold in (0, 1):
            test = Folds(Bags(bags.instances, bags.offsets, bags.labels), 2, 2, 0).test_bags(repetition, fold)
            (cell,) = [c for c in cells if (c["question"]["repetition"], c["question"]["fold"]) == (repetition, fold)]
            said += cell["answer"]["probabilities"]
            labels += bags.labels[test].tolist()
            blocks += bags.groups[test].tolist()
    (auc,) = rows_of(results, metric="auc")
    assert auc["pooled"] == pytest.approx(roc_auc_score(labels, said))
    of_blocks = auc_interval(np.array(labels) == 1, np.array(said), groups=np.array(blocks))
    assert (auc["pooled_low"], auc["pooled_high"]) == pytest.approx((of_blocks.low, of_blocks.high))
    shown = [f"{auc[name]:.3f}".replace("0.", ".") for name in ("pooled", "pooled_low", "pooled_high")]
    assert "{} [{}, {}]".format(*shown) in (out / "table2.md").read_text()


def test_rows_stand_beside_the_paper(colon):
    out, results = colon
    for method in ("attention", "instance-max"):
        for metric in ("accuracy", "precision", "recall", "fscore", "auc"):
            (row,) = rows_of(results, method=method, metric=metric)
            assert row["paper"] == TABLE3[method][metric][0]
            assert (row["folds"], row["repeats"], row["protocol"]) == (2, 2, "default")
    kinds = {(row["method"], row["of"]) for row in results["rows"] if row["metric"] == "instance_auc"}
    assert kinds == {("attention", "attention"), ("attention", "score"), ("instance-max", "score")}
    assert (out / "table3.md").read_text() == tables(json.loads((out / "table3.json").read_text()))


def test_the_last_loss_of_training_stands_beside(colon):
    out, results = colon
    cells = [json.loads(path.read_text()) for path in (out / "cells").iterdir()]
    (row,) = rows_of(results, method="attention", metric="training_loss")
    for repetition, value in enumerate(row["values"]):
        of_folds = [
            cell["answer"]["losses"][-1]
            for cell in cells
            if (cell["question"]["method"], cell["question"]["repetition"]) == ("attention", repetition)
        ]
        assert len(of_folds) == 2
        assert value == pytest.approx(np.mean(of_folds))


def test_finished_folds_are_not_trained_again(colon, folder, monkeypatch):
    out, results = colon
    monkeypatch.setattr(histology, "make", lambda *given, **options: bw.make(*given, **options))
    monkeypatch.setattr(histology, "explain", lambda *_: pytest.fail("a finished fold was measured again"))
    methods = ("attention", "instance-max")
    again = run_histology(out, "table3", Tissue(methods=methods, repeats=2, resume=True, data_dir=folder, **FEW))
    assert again["rows"] == results["rows"]


def test_a_block_of_tissue_is_never_on_both_sides(folder, tmp_path, monkeypatch):
    seen = []
    fit = bw.AttentionMIL.fit

    def spy(self, bags):
        seen.append(set(bags.groups))
        return fit(self, bags)

    monkeypatch.setattr(bw.AttentionMIL, "fit", spy)
    study = Tissue(methods=("attention",), data_dir=folder, protocol="grouped", repeats=1, **FEW)
    results = run_histology(tmp_path / "out", "table2", study)
    assert {row["protocol"] for row in results["rows"]} == {"grouped"}
    assert seen[0] & seen[1] == set()
    assert len(seen[0] | seen[1]) == 5
    assert {row["paper"] for row in rows_of(results, metric="auc")} == {TABLE2["attention"]["auc"][0]}


def test_attention_is_measured_three_times_and_the_others_once(folder, tmp_path):
    study = Tissue(methods=("instance-max", "attention"), data_dir=folder, **FEW)
    results = run_histology(tmp_path / "out", "table2", study)
    assert results["asked"]["repeats"] == {"instance-max": 1, "attention": 3}
    assert {(row["method"], row["repeats"], len(row["values"])) for row in results["rows"]} == {
        ("instance-max", 1, 1),
        ("attention", 3, 3),
    }
    assert {row["se_repeats"] is None for row in rows_of(results, method="instance-max")} == {True}


def test_both_tables_have_the_six_methods():
    for table in TABLES.values():
        assert set(table.paper) == set(METHODS)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("table2", ["--method", "MI-Net"], "the table has no method 'MI-Net': choose of attention,"),
        ("table2", ["--method", "attention", "--method", "attention"], "is given twice"),
        ("table2", ["--protocol", "leaky"], "there is no protocol 'leaky'"),
        ("table3", ["--protocol", "grouped"], "nobody knows which patient"),
        ("table3", ["--epochs", "0"], "--epochs is 0"),
        ("table3", ["--folds", "7"], "fewer than the 7 folds"),
        ("table3", ["--data-dir", "nowhere"], "there is no such file"),
    ],
)
def test_what_will_not_do_is_said_in_a_sentence(run, folder, tmp_path, name, options, message):
    given = options if "--data-dir" in options else [*options, "--data-dir", folder]
    done = run("reproduce", name, "--out", tmp_path / "out", *given)
    assert (done.status, done.out) == (1, "")
    assert message in done.told
    assert done.told.count("\n") == 1


def test_the_command_shows_the_table(run, folder, tmp_path):
    options = ["--method", "instance-mean", "--folds", "2", "--epochs", "1", "--jobs", "1", "--sample", "3"]
    done = run("reproduce", "table2", *options, "--out", tmp_path / "out", "--data-dir", folder)
    assert done.status == 0
    assert "instance-mean" in done.out
    assert "0.719" in done.out


def test_figure_5_is_the_first_positive_image_of_a_test_fold(folder, tmp_path, run):
    options = ["--epochs", "1", "--sample", "4", "--jobs", "1", "--data-dir", folder, "--out", tmp_path / "out"]
    results = run_figure5(tmp_path / "out", Tissue(data_dir=folder, **FEW))
    bags = histology._load("colon_cancer", str(folder))
    test = bags[Folds(bags, 2, 1, 0).test_bags(0, 0)]
    told = results["images"]["colon_cancer"]
    assert told["image"] == next(bag.name for bag in test if bag.label == 1)
    assert set(told["attention"]) == {
        "probability",
        "instance_auc",
        "instance_average_precision",
        "top1_hit_rate",
        "pooled_instance_auc",
    }
    assert set(results["images"]["breast_cancer"]["instance-max"]) == {"probability"}
    files = {".bagwise", "cells", "figure5.json", "figure5-colon_cancer.png", "figure5-breast_cancer.png"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == files
    refused = run("reproduce", "figure5", *options)
    assert refused.status == 1
    assert "--resume" in refused.told
