import functools
import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

import bagwise as bw
from bagwise import BagwiseError
from bagwise.datasets import generator, load_digits
from bagwise.experiments import mnist_bags, mnist_figures
from bagwise.experiments.mnist_bags import GRID, METHODS, SEEDS, Sweep, digest_of_digits, draw_bags
from bagwise.experiments.mnist_figures import FIGURES, run_figure4, run_mnist_bags, tables
from bagwise.experiments.options import Digits

SOME = ("attention", "instance-max", "MI-SVM", "attention-ensemble")
SMALL = Digits(methods=SOME, training_bags=(6, 8), repeats=2, epochs=1, jobs=1)


@pytest.fixture(scope="module", autouse=True)
def small_and_quick():
    read_once = functools.cache(load_digits)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mnist_figures, "_TEST_BAGS", 12)
        patch.setattr(mnist_figures, "_SVM_BAGS", 12)
        patch.setattr(mnist_bags, "_SVM_GRID", {"C": [1.0, 10.0], "gamma": [1.0]})
        patch.setattr(mnist_bags, "load_digits", read_once)
        patch.setattr(generator, "load_digits", read_once)
        yield


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    out = tmp_path_factory.mktemp("mnist") / "out"
    told = []
    results = run_mnist_bags(out, "figure1", SMALL, source="small", tell=told.append)
    return out, results, told


def rows_of(results, **about):
    return [row for row in results["rows"] if all(row.get(name) == value for name, value in about.items())]


def test_there_is_a_row_for_each_cell_and_metric(done):
    _, results, told = done
    for method in SOME:
        for bags in (6, 8):
            found = rows_of(results, method=method, training_bags=bags)
            (auc,) = [row for row in found if row["metric"] == "auc"]
            assert (auc["repeats"], auc["mean_bag_size"], auc["protocol"]) == (2, 10, "default")
            assert auc["mean"] == pytest.approx(np.mean(auc["values"]))
            assert auc["se_repeats"] == pytest.approx(np.std(auc["values"], ddof=1) / np.sqrt(2))
            kinds = {row["of"] for row in found if row["metric"] == "instance_auc"}
            assert kinds == ({"score", "attention"} if method.startswith("attention") else {"score"})
            members = {row["metric"] for row in found} & {"member_auc", "same_first", "rank_correlation"}
            assert len(members) == (3 if method == "attention-ensemble" else 0)
    assert len(told) == 16
    assert "16 of 16" in told[-1]


def test_numbers_are_those_of_models_trained_by_hand(done):
    _, results, _ = done
    question = {"mean_size": 10, "training_bags": 8, "repetition": 1, "test_bags": 12, "seed": 0, "source": "small"}
    train, test = draw_bags(question, None)
    seed = mnist_bags._seed(question)
    model = bw.AttentionMIL(epochs=1, random_state=seed).fit(train)
    (row,) = rows_of(results, method="attention", training_bags=8, metric="auc")
    assert row["values"][1] == roc_auc_score(test.labels, model.predict_proba(test)[:, 1])
    parts = bw.fit_ensemble(bw.AttentionMIL(epochs=1, random_state=seed, augmentation="affine"), train, 5)
    (row,) = rows_of(results, method="attention-ensemble", training_bags=8, metric="auc")
    together = bw.predict_ensemble(parts, test).probabilities[:, 1]
    assert row["values"][1] == pytest.approx(roc_auc_score(test.labels, together))
    pixels = [bag.instances.reshape(len(bag), -1) / 255 for bag in train]
    svm = bw.make("MI-SVM", kernel="rbf", standardize=False, random_state=seed, **results["asked"]["MI-SVM"])
    svm.fit(pixels, train.labels)
    said = svm.predict_proba([bag.instances.reshape(len(bag), -1) / 255 for bag in test])[:, 1]
    (row,) = rows_of(results, method="MI-SVM", training_bags=8, metric="auc")
    assert row["values"][1] == roc_auc_score(test.labels, said)


def test_all_methods_see_one_draw_and_every_draw_is_another():
    asked = {"mean_size": 10, "test_bags": 5, "seed": 0, "source": "small"}
    draws = [
        draw_bags({**asked, "training_bags": bags, "repetition": repetition, "method": method}, None)
        for bags in (6, 8)
        for repetition in (0, 1)
        for method in ("attention", "MI-SVM")
    ]
    first = [draw.train.instances[:20].tobytes() for draw in draws]
    assert first[::2] == first[1::2]
    assert len(set(first)) == 4


def test_a_finished_run_is_not_trained_again(done, monkeypatch):
    out, results, _ = done
    monkeypatch.setattr(mnist_bags, "_measure", lambda *_: pytest.fail("a finished cell was measured again"))
    again = run_mnist_bags(out, "figure1", replace(SMALL, resume=True), source="small")
    assert again["rows"] == results["rows"]
    assert json.loads((out / "figure1.json").read_text())["rows"] == results["rows"]


def test_the_same_numbers_come_from_two_workers(done, tmp_path):
    _, results, _ = done
    study = replace(SMALL, jobs=2, training_bags=(6,), methods=("attention", "attention-ensemble"))
    other = run_mnist_bags(tmp_path / "out", "figure1", study, source="small")
    for row in other["rows"]:
        about = {name: row.get(name) for name in ("method", "training_bags", "metric", "of")}
        (same,) = rows_of(results, **about)
        assert row["values"] == same["values"]


def test_tables_and_figures_are_written(done):
    out, results, _ = done
    text = (out / "figure1.md").read_text()
    assert text == tables(results)
    assert "## Mean bag size 10\n\nAUC:\n" in text
    for part in ("attention, by weight", "attention-ensemble", "Faithfulness", "MI-SVM"):
        assert part in text
    assert (out / "figure1.png").stat().st_size > 10_000
    assert {path.name for path in out.iterdir()} == {".bagwise", "cells", "figure1.json", "figure1.md", "figure1.png"}


def test_what_chance_changes_is_measured_where_all_methods_are(tmp_path, monkeypatch):
    monkeypatch.setattr(mnist_figures, "_QUICK_GRID", {10: {50: 1}, 50: {4: 1}, 100: {4: 1}})
    monkeypatch.setattr(mnist_figures, "_QUICK_TEST_BAGS", 10)
    monkeypatch.setattr(mnist_figures, "METHODS", ("instance-mean",))
    results = run_mnist_bags(tmp_path / "out", "mnist-bags", Digits(quick=True, epochs=1, jobs=1), source="small")
    (row,) = rows_of(results, method=SEEDS, metric="same_first")
    assert (row["mean_bag_size"], row["training_bags"]) == (10, 50)
    assert 0 <= row["mean"] <= 1
    assert {row["mean_bag_size"] for row in results["rows"]} == {10, 50, 100}
    figures = {"figure1.png", "figure2.png", "figure3.png"}
    names = {".bagwise", "cells", "mnist-bags.json", "mnist-bags.md", *figures}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names


def test_the_grid_is_the_one_asked_for():
    assert list(GRID[10]) == [50, 100, 150, 200, 300, 400, 500]
    assert min(GRID[10].values()) >= 5
    assert set(GRID[50]) >= {50, 100, 150, 200}
    assert set(GRID[100]) >= {50, 100, 150}
    assert min(*GRID[50].values(), *GRID[100].values()) >= 3
    assert {size for sizes in FIGURES.values() for size in sizes} == set(GRID)
    questions = Sweep(100, GRID[100], {"MI-SVM": 1}).questions({"C": 1.0, "gamma": 1.0}, "")
    assert len(questions) == 3 * (3 * (len(METHODS) - 1) + 1)
    assert len({json.dumps(question) for question in questions}) == len(questions)


def test_other_images_are_other_cells(tmp_path):
    digits = load_digits("small")
    (tmp_path / "mnist").mkdir()
    images = digits.train_images.copy()
    images[0, 0, 0] ^= 1
    np.savez(
        tmp_path / "mnist" / "mnist.npz",
        train_images=images,
        train_labels=digits.train_labels,
        test_images=digits.test_images,
        test_labels=digits.test_labels,
    )
    assert digest_of_digits("full", tmp_path) != digest_of_digits("small", None)


# ---- figure 4 -------------------------------------------------------------------------------------------------


def test_figure_4_is_the_first_positive_bag_of_thirteen_images(tmp_path, monkeypatch):
    monkeypatch.setattr(mnist_figures, "_TEST_BAGS", 400)
    study = Digits(quick=True, epochs=1)
    results = run_figure4(tmp_path / "out", study, source="small")
    _, test = draw_bags(results["asked"], None)
    bag = next(bag for bag in test if bag.label == 1 and len(bag) == 13)
    assert results["digits"] == bag.instance_labels.tolist()
    assert sum(results["weights"]) == pytest.approx(1, abs=1e-5)
    assert len(results["weights"]) == 13
    assert {path.name for path in (tmp_path / "out").iterdir()} == {".bagwise", "cells", "figure4.json", "figure4.png"}
    again = run_figure4(tmp_path / "out", replace(study, resume=True), source="small")
    assert again["weights"] == results["weights"]


def test_a_figure_without_a_bag_to_show_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(mnist_figures, "_TEST_BAGS", 1)
    with pytest.raises(BagwiseError, match="no positive test bag has 13 images: take another --seed"):
        run_figure4(tmp_path / "out", Digits(quick=True, epochs=1), source="small")


# ---- refusals -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--method", "mi-SVM"], "MNIST-bags has no method 'mi-SVM': choose of attention,"),
        (["--method", "attention", "--method", "attention"], "'attention' is given twice"),
        (["--bags", "0"], "--bags is 0: it must be a whole number from 1 on"),
        (["--repeats", "0"], "--repeats is 0"),
        (["--epochs", "0"], "--epochs is 0"),
        (["--data-dir", "nowhere"], "mnist.npz is missing"),
    ],
)
def test_what_will_not_do_is_said_in_a_sentence(run, tmp_path, options, message):
    done = run("reproduce", "figure2", "--out", tmp_path / "out", *options)
    assert (done.status, done.out) == (1, "")
    assert message in done.told
    assert done.told.count("\n") == 1


@pytest.mark.parametrize("name", [*FIGURES, "figure4"])
def test_a_folder_in_use_is_left_alone(run, tmp_path, name):
    (tmp_path / "mine.txt").write_text("mine")
    done = run("reproduce", name, "--out", tmp_path)
    assert done.status == 1
    assert "--resume" in done.told
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.slow(seconds=60)
def test_the_small_version_of_the_whole(run, monkeypatch, tmp_path, data_directory):
    def reproduce(name, *options):
        done = run("reproduce", name, "--quick", "--data-dir", data_directory, "--json", *options)
        assert done.status == 0, done.told
        return json.loads(done.out)

    monkeypatch.setattr(mnist_figures, "_TEST_BAGS", 400)  # one of which figure 4 shows
    out = str(tmp_path / "out")
    with monkeypatch.context() as patch:
        # What is measured of test bags, above all what their answers fall by, takes longer than an epoch.
        patch.setattr(mnist_figures, "_QUICK_TEST_BAGS", 15)
        patch.setattr(mnist_bags, "_REMOVED_FROM", 100)
        results = reproduce("mnist-bags", "--epochs", "1", "--jobs", "1", "--out", out)
    assert {row["method"] for row in results["rows"]} == {*METHODS, SEEDS}
    assert {one["finding"] for one in results["findings"]} >= {"max-above-mean", "ensemble"}
    reproduce("figure4", "--epochs", "1", "--out", out, "--resume")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names >= {"figure1.png", "figure2.png", "figure3.png", "figure4.png", "mnist-bags.md"}
    # Eight epochs, which it takes by itself, are few, but what learns from augmented images has begun to see nines.
    of_one = ["--method", "attention-ensemble", "--bags", "50", "--jobs", "1", "--out", str(tmp_path / "learnt")]
    results = reproduce("figure1", *of_one)
    assert results["asked"]["epochs"] == 8
    assert results["asked"]["test_bags"] == 50
    (auc,) = [row["mean"] for row in results["rows"] if row["metric"] == "auc"]
    assert auc > 0.7
