"""One half of the colon images is validated by a run of the other half."""

import json
import shutil

import pandas as pd
import pytest


@pytest.mark.slow(seconds=20)
def test_colon_images_of_one_half_are_validated_by_a_run_of_the_other(run, data_directory, tmp_path):
    folder = data_directory / "colon_cancer"
    nuclei = pd.read_csv(folder / "nuclei.csv")
    nuclei["bag"] = "img" + nuclei["image"].astype(str)
    labels = nuclei.groupby("bag")["class"].agg(lambda of: int("epithelial" in set(of))).rename("label").reset_index()
    labels["half"] = [("first", "second")[number % 2] for number in range(len(labels))]
    points = nuclei.groupby("bag").sample(frac=1, random_state=0).groupby("bag").head(20)[["bag", "x", "y"]]
    points[["x", "y"]] -= 1
    points.to_csv(tmp_path / "points.csv", index=False)
    for half, own in labels.groupby("half"):
        (tmp_path / half).mkdir()
        own.to_csv(tmp_path / f"{half}.csv", index=False)
        points[points["bag"].isin(own["bag"])].to_csv(tmp_path / f"{half}-points.csv", index=False)
        for bag in own["bag"]:
            shutil.copy(folder / "images" / f"{bag}.png", tmp_path / half)

    def of(half):
        return [tmp_path / half, "--labels", tmp_path / f"{half}.csv", "--points", tmp_path / f"{half}-points.csv"]

    done = run("fit", *of("first"), "--jobs", 1, "--epochs", 10, "--calibrate", "none", "--out", tmp_path / "run")
    assert done.status == 0, done.told
    done = run("validate", tmp_path / "run", *of("second"), "--json", "--out", tmp_path / "out")
    assert done.status == 0, done.told
    level = json.loads(done.out)["levels"]["bag"]
    assert level["count"] == 50
    assert level["metrics"]["auc"]["low"] > 0.6  # better than chance on images that it never saw
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    wrong = pd.read_csv(tmp_path / "out" / "predictions.csv").query("label != predicted")
    surest = wrong.loc[wrong[["probability_0", "probability_1"]].max(axis=1).idxmax(), "bag"]
    assert page.index("Wrong predictions") < page.index(f">{surest}<") < page.index("Right predictions")
