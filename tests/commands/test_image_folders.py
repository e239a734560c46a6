import json
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import bagwise as bw


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Twelve images, half of them with two dark squares, their labels, and points in the squares."""
    folder = tmp_path_factory.mktemp("images")
    (folder / "scans").mkdir()
    rng = np.random.default_rng(0)
    labels, points = [], []
    for number in range(12):
        image = rng.integers(150, 220, (64, 96, 3), dtype=np.uint8)
        for x, y in [(10, 20), (70, 40)]:
            if number % 2:
                image[y - 8 : y + 8, x - 8 : x + 8] //= 3
            points.append((f"scan {number}", x, y))
        Image.fromarray(image).save(folder / "scans" / f"scan {number}.png")
        labels.append((f"scan {number}", "ill" if number % 2 else "well", f"p{number // 2}"))
    pd.DataFrame(labels, columns=["bag", "label", "patient"]).to_csv(folder / "labels.csv", index=False)
    pd.DataFrame(points, columns=["bag", "x", "y"]).to_csv(folder / "points.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def fitted_run(run, images):
    out = images / "run"
    options = ["--labels", images / "labels.csv", "--patch", "16", "--epochs", "3", "--jobs", "1", "--out", out]
    assert run("fit", images / "scans", *options, "--json").status == 0
    return out


def test_a_folder_of_images_is_learnt_from_and_predicted(run, images, fitted_run):
    done = run("predict", fitted_run, images / "scans", "--json")
    rows = json.loads(done.out)
    assert [row["bag"] for row in rows] == [f"scan {number}" for number in range(12)]
    model = bw.load_model(fitted_run)
    bags = bw.read_images(images / "scans", patches=bw.Grid(16))
    assert [row["probability_ill"] for row in rows] == pytest.approx(model.predict_proba(bags)[:, 0].tolist(), abs=1e-6)


def test_patches_are_explained_where_they_were(run, images, fitted_run, tmp_path):
    (tmp_path / "some").mkdir()
    for number in range(4):
        shutil.copy(images / "scans" / f"scan {number}.png", tmp_path / "some")
    done = run("explain", fitted_run, tmp_path / "some", "--out", tmp_path / "why")
    assert done.status == 0
    table = pd.read_csv(tmp_path / "why" / "instances.csv")
    assert len(table) == 4 * 24
    assert sorted(set(table["x"])) == list(range(0, 96, 16))
    maps = pd.read_csv(tmp_path / "why" / "maps" / "maps.csv")
    assert (tmp_path / "why" / "maps" / maps["map"][3]).stat().st_size > 5000


def test_the_report_shows_patches(fitted_run):
    assert "data:image/" in (fitted_run / "report.html").read_text(encoding="utf-8")


def test_points_say_where_to_cut(run, images, tmp_path):
    options = ["--labels", images / "labels.csv", "--points", images / "points.csv", "--jobs", "1"]
    out = tmp_path / "run"
    assert run("fit", images / "scans", *options, "--patch", "15", "--epochs", "2", "--out", out).status == 0
    forgotten = run("predict", out, images / "scans")
    assert forgotten.status == 1
    assert "say with --points where they are" in forgotten.told
    done = run("predict", out, images / "scans", "--points", images / "points.csv", "--json")
    assert len(json.loads(done.out)) == 12
    bags = bw.read_images(images / "scans", patches=bw.Points(pd.read_csv(images / "points.csv"), 15))
    expected = bw.load_model(out).predict_proba(bags)[:, 0]
    assert [row["probability_ill"] for row in json.loads(done.out)] == pytest.approx(expected.tolist(), abs=1e-6)


@pytest.mark.usefixtures("undrawn")
def test_images_are_evaluated_by_patient(run, images, tmp_path):
    options = [
        "--labels",
        images / "labels.csv",
        "--group",
        "patient",
        "--patch",
        "32",
        "--folds",
        "3",
        "--epochs",
        "2",
    ]
    done = run("evaluate", images / "scans", *options, "--jobs", "1", "--out", tmp_path / "cv", "--json")
    results = json.loads(done.out)
    assert all("learns from vectors" in why for why in results["baselines"]["left_out"].values())
    assert (results["baselines"]["measured"], len(results["baselines"]["left_out"])) == ({}, 2)
    assert {row["protocol"] for row in results["rows"]} == {"grouped"}


def test_check_names_every_image_that_cannot_be_read(run, images, tmp_path):
    whole = run("check", images / "scans", "--labels", images / "labels.csv", "--json")
    assert whole.status == 0
    assert json.loads(whole.out)["instances"] == 12 * 6
    place = tmp_path / "scans"
    place.mkdir()
    for path in (images / "scans").iterdir():
        (place / path.name).write_bytes(path.read_bytes())
    (place / "scan 3.png").write_bytes(b"no image")
    Image.new("RGB", (64, 64), "white").save(place / "scan 5.png")
    (place / "scan 7.png").unlink()
    done = run("check", place, "--labels", images / "labels.csv", "--json")
    told = " ".join(problem["sentence"] for problem in json.loads(done.out)["problems"])
    assert done.status == 1
    for part in ("1 bag has no image in", "scan 3.png: the file is no PNG", "scan 5.png has no patch of 32 x 32"):
        assert part in told


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--patch", "0"], "the side of a patch is 0: it must be a whole number from 1 on"),
        (["--patch", "500"], "has no patch of 500 x 500 pixels"),
        (["--points", "nowhere.csv"], "nowhere.csv: there is no such file"),
        (["--points", "labels.csv"], "labels.csv: there is no column"),
    ],
)
def test_what_will_not_do_is_said_in_a_sentence(run, images, tmp_path, options, message, monkeypatch):
    monkeypatch.chdir(images)
    argv = ["fit", "scans", "--labels", "labels.csv", *options, "--out", tmp_path / "run"]
    done = run(*argv)
    assert (done.status, done.out) == (1, "")
    assert message in done.told
    assert done.told.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_patches_of_feature_files_are_refused(run, slides, tmp_path):
    slides(tmp_path)
    argv = ["--labels", tmp_path / "labels.csv", "--out", tmp_path / "run"]
    done = run("fit", tmp_path / "slides", *argv, "--patch", "32")
    assert done.status == 1
    assert "--patch is for folders of images" in done.told
