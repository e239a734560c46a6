import json
import re

import h5py
import numpy as np
import pandas as pd
import pytest

import bagwise as bw
from bagwise.commands.bag_views import as_texts, bag_views, choose_bags
from bagwise.commands.data import DataSource
from bagwise.commands.known import Known, find_known
from bagwise.commands.report import evaluation_report, explanation_report
from bagwise.explain import contrast, explain
from bagwise.io.tables import read_table
from bagwise.targets.classes import ClassTarget

CELLS = ["--bag", "patient", "--label", "diagnosis", "--instance", "cell", "--coordinate", "x", "--coordinate", "y"]
PLACELESS = CELLS[:6]  # no bag has a map, which takes long to draw


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory, cells, run):
    """An evaluation of a method without weights and one with, and the bags."""
    folder = tmp_path_factory.mktemp("evaluated")
    cells().drop(columns="clinic").to_csv(folder / "cells.csv", index=False)
    argv = ["--method", "MI-Net", "--method", "attention", "--folds", 3, "--repeats", 2, "--epochs", 3]
    done = run("evaluate", "--no-baseline", folder / "cells.csv", *CELLS, *argv, "--out", folder / "cv", "--json")
    assert done.status == 0, done.told
    bags = read_table(folder / "cells.csv", bag="patient", label="diagnosis", instance="cell", coordinates=["x", "y"])
    return folder, bags, json.loads(done.out)


def headings(page):
    return [re.sub(r"<[^>]+>", "", text).strip() for text in re.findall(r"<h4>(.*?)</h4>", page, re.DOTALL)]


def test_the_page_of_an_evaluation_holds_what_was_measured(evaluated):
    folder, _, results = evaluated
    page = (folder / "cv" / "report.html").read_text(encoding="utf-8")
    for row in results["rows"]:
        assert f"{row['mean']:.3f} ± {row['sd_folds']:.3f} ({row['se_repeats']:.3f})" in page
    for row in results["differences"]:
        assert f"{row['difference']:+.3f}, p {row['p_value']:.3f}" in page
    assert page.count("data:image/svg+xml;base64,") == 5
    for part in (
        "2 x 3 folds",
        "healthy: 12 bags (50%), ill: 12 bags (50%)",
        "MI-Net less attention",
        "3: size, marker, shape",
    ):
        assert part in page


def test_its_bags_are_out_of_fold_and_the_wrong_ones_come_first(evaluated):
    folder, _, _ = evaluated
    predictions = pd.read_csv(folder / "cv" / "predictions.csv")
    said = predictions[(predictions["method"] == "attention") & (predictions["repeat"] == 0)].copy()
    said["sure"] = said[["probability_healthy", "probability_ill"]].max(axis=1)
    wrong = said[said["label"] != said["predicted"]].sort_values("sure", ascending=False, kind="stable")
    right = said[said["label"] == said["predicted"]]
    page = (folder / "cv" / "report.html").read_text(encoding="utf-8")
    assert 0 < len(wrong) < len(said)
    assert headings(page) == [*wrong["bag"], *right["bag"]]


def test_its_weights_are_out_of_fold(evaluated):
    _, bags, results = evaluated
    model = bw.make("attention", epochs=3, class_weight="balanced", random_state=0)
    found = bw.cross_validate(model, bags, folds=3, repeats=2, n_jobs=1)
    of_attention = [row for row in results["rows"] if row["method"] == "attention"]
    page = evaluation_report({"attention": found}, bags, {**results, "rows": of_attention}, [], "cells.csv")
    for view, begin, end in zip(page.bags, bags.offsets[:-1], bags.offsets[1:], strict=True):
        np.testing.assert_allclose(view.weights, found.attention[0, begin:end])
    assert [view.name for view in page.bags] == bags.names.tolist()


@pytest.mark.usefixtures("undrawn")
def test_methods_without_weights_have_a_page_too(evaluated, run, tmp_path):
    folder, _, _ = evaluated
    argv = ["--method", "miVLAD", "--folds", 2, "--out", tmp_path / "cv"]
    assert run("evaluate", "--no-baseline", folder / "cells.csv", *CELLS, *argv).status == 0
    page = (tmp_path / "cv" / "report.html").read_text(encoding="utf-8")
    assert "What was predicted" in page
    assert len(headings(page)) == 24
    assert "Weights rank" not in page


def test_three_classes_have_a_page(run, cells, tmp_path):
    cells(classes=("a", "b", "<c>")).drop(columns="clinic").to_csv(tmp_path / "cells.csv", index=False)
    argv = ["--folds", 2, "--epochs", 2, "--out", tmp_path / "cv"]
    assert run("evaluate", "--no-baseline", tmp_path / "cells.csv", *CELLS, *argv).status == 0
    page = (tmp_path / "cv" / "report.html").read_text(encoding="utf-8")
    assert "&lt;c&gt;" in page
    assert "<c>" not in page


@pytest.mark.usefixtures("undrawn")
def test_the_page_of_an_explanation_judges_nothing_and_says_which_features_differ(run, cells, tmp_path):
    frame = cells().drop(columns="clinic")
    frame.to_csv(tmp_path / "cells.csv", index=False)
    argv = ["--epochs", 20, "--jobs", 1, "--out", tmp_path / "run"]
    assert run("fit", tmp_path / "cells.csv", *CELLS, *argv).status == 0
    frame.drop(columns="diagnosis").to_csv(tmp_path / "new.csv", index=False)
    done = run("explain", tmp_path / "run", tmp_path / "new.csv", "--out", tmp_path / "told", "--json")
    assert json.loads(done.out)["files"][0] == str(tmp_path / "told" / "report.html")
    page = (tmp_path / "told" / "report.html").read_text(encoding="utf-8")
    assert "✓ right" not in page
    assert "✗ wrong" not in page
    features = pd.read_csv(tmp_path / "told" / "features.csv")
    for row in features.itertuples():
        assert f"{row.difference:+.2f}" in page
    assert page.count('class="map"') == 12
    instances = pd.read_csv(tmp_path / "told" / "key_instances.csv").groupby("bag")["probability"].first()
    assert headings(page) == instances.sort_values(ascending=False, kind="stable").index.tolist()


@pytest.fixture(scope="module")
def explained(make_bags):
    bags = make_bags(600)
    model = bw.AttentionMIL(epochs=1, random_state=0).fit(bags[:40])
    return model, bags


def test_of_many_bags_the_surest_of_each_predicted_class_are_shown(explained):
    model, bags = explained
    unlabelled = bags.with_labels(None)
    found = explain([model], unlabelled)
    page = explanation_report(
        [model], unlabelled, Known(np.zeros(0, int), np.zeros(0)), found, contrast(found, unlabelled), "many", "run"
    )
    predicted, sure = found.probabilities.argmax(axis=1), found.probabilities.max(axis=1)
    for c, label in enumerate(found.classes):
        shown = [view.probability for view in page.bags if view.predicted == str(label)]
        assert len(shown) == min(100, np.sum(predicted == c))
        assert sorted(shown, reverse=True) == np.sort(sure[predicted == c])[::-1][: len(shown)].tolist()
    assert any("of the 600 bags" in note for note in page.notes)


def test_scores_that_are_all_zero_count_alike(make_bags):
    bags = make_bags(2)
    views = bag_views(
        bags, as_texts([0, 1]), as_texts([0, 1]), np.array([[0.5, 0.5], [0.2, 0.8]]), np.zeros(len(bags.instances))
    )
    for view in views:
        assert view.weights.tolist() == pytest.approx([1 / len(view.weights)] * len(view.weights))


def test_slides_have_maps_whatever_axes_their_files_have(run, slides, tmp_path):
    folder, labels = slides(tmp_path)
    with h5py.File(folder / "TCGA-00.v1.h5", "r+") as file:
        places = np.pad(file["coords"][:], [(0, 0), (0, 1)])
        del file["coords"]
        file["coords"] = places
    argv = ["--labels", labels, "--epochs", 2, "--jobs", 1, "--out", tmp_path / "run"]
    done = run("fit", folder, *argv)
    assert done.status == 0, done.told
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert page.count('class="map"') == 12
    assert "x 256, y 0" in page


@pytest.fixture(scope="module")
def trained(tmp_path_factory, cells, run):
    """A run on a table of cells without places, and the table."""
    folder, frame = tmp_path_factory.mktemp("trained"), cells().drop(columns=["clinic", "x", "y"])
    frame.to_csv(folder / "cells.csv", index=False)
    argv = ["--epochs", 3, "--jobs", 1, "--out", folder / "run"]
    assert run("fit", folder / "cells.csv", *PLACELESS, *argv).status == 0
    return folder / "run", frame


@pytest.mark.parametrize("known", ["all", "some", "none"])
def test_an_explanation_judges_where_labels_are_known(trained, run, tmp_path, known):
    learnt, frame = trained[0], trained[1].copy()
    numbers = frame["patient"].str[1:].astype(int)
    frame.loc[{"all": numbers < 0, "some": numbers < 10, "none": numbers >= 0}[known], "diagnosis"] = None
    frame.to_csv(tmp_path / "new.csv", index=False)
    done = run("explain", learnt, tmp_path / "new.csv", "--out", tmp_path / "told")
    assert done.status == 0, done.told
    page = (tmp_path / "told" / "report.html").read_text(encoding="utf-8")
    judged = page.count("✓ right") + page.count("✗ wrong")
    assert judged == {"all": 24, "some": 14, "none": 0}[known]
    assert ("bags whose label is known" in page) == (known != "none")
    assert ("The label is not known here of" in page) == (known != "all")


def test_labels_of_a_folder_and_of_a_data_set_are_known(slides, tmp_path, data_directory):
    folder, labels = slides(tmp_path)
    names = [f"TCGA-{number:02}.v1" for number in range(3)]
    of = ClassTarget.of([0, 1])
    known = find_known(DataSource(str(folder), labels=labels), ["x", *names], of)
    assert (known.bags.tolist(), known.labels.tolist()) == ([1, 2, 3], [0, 1, 0])
    assert len(find_known(DataSource(str(folder)), names, of).bags) == 0
    assert find_known(DataSource("musk1", data_dir=data_directory), ["MUSK-188"], of).labels.tolist() == [1]


def test_wrong_predictions_are_chosen_before_others():
    rng = np.random.default_rng(0)
    positive = rng.random(1000)
    probabilities = np.stack([1 - positive, positive], axis=1)
    for share in (0.0, 0.05, 0.5, 1.0):
        wrong = rng.random(1000) < share
        labels = as_texts(np.where(wrong, positive <= 0.5, positive > 0.5).astype(int))
        chosen = choose_bags(labels, as_texts((positive > 0.5).astype(int)), probabilities)
        assert len(np.unique(chosen)) == len(chosen) <= 200
        sure = probabilities.max(axis=1)
        expected = np.sort(sure[wrong])[::-1][:100]
        np.testing.assert_array_equal(np.sort(sure[chosen][wrong[chosen]])[::-1], expected)
        assert len(chosen) == (100 if share == 1 else 200)
