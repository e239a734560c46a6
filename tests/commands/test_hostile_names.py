"""Names and labels that are no friendly text, from the files of a folder to all that commands write and print."""

import io
import json
import os
import unicodedata

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file

from bagwise.explain import write_table
from bagwise.io.features import read_features

NAMES = [
    *("a\udcff", "b\x1b[31mred", "c\u202egnp", "=1+1", "d\re", "f\ng", "[bold]h", "é", "i,j", 'k"l', "m$x^$n"),
    "<script>alert(1)<_script>",
    "o\x9b31m",
]
LABELS = ["no\x1b[2J", "=y\res"]
KNOWN = [name.encode("utf-8", "backslashreplace").decode() for name in NAMES]


def written(folder):
    """Give the texts of all files below a folder that hold text."""
    return {
        path.name: path.read_bytes().decode()
        for path in folder.rglob("*")
        if path.suffix in (".json", ".csv", ".html", ".svg", ".md", ".geojson")
    }


def read(path):
    """Read a table as nothing but text."""
    content = io.BytesIO(path.read_bytes())
    return pd.read_csv(content, dtype=str, keep_default_na=False) if path.suffix == ".csv" else pd.read_parquet(content)


@pytest.mark.slow
def test_names_are_the_same_in_all_that_is_written_and_act_on_no_terminal(run, tmp_path):
    rng = np.random.default_rng(0)
    slides = tmp_path / os.fsdecode(b"slides \xfe")
    slides.mkdir()
    for number, name in enumerate(NAMES):
        np.save(slides / f"{name}.npy", rng.normal(size=(5, 3)) + 3 * (number % 2))
    table = pd.DataFrame({"bag": KNOWN, "label": [LABELS[number % 2] for number in range(len(KNOWN))]})
    labels, out = tmp_path / "labels.csv", tmp_path / os.fsdecode(b"out\x1b \xfe")
    write_table(table, labels)

    printed = []
    for argv in (
        ("check", slides, "--labels", labels),
        ("fit", slides, "--labels", labels, "--epochs", 1, "--out", out / "run"),
        ("predict", out / "run", slides, "--out", out / "predictions.csv"),
        ("predict", out / "run", slides, "--out", out / "predictions.parquet", "--json"),
        ("explain", out / "run", slides, "--out", out / "explanation"),
        (
            *("evaluate", "--no-baseline", slides, "--labels", labels, "--folds", 3, "--epochs", 1),
            *("--format", "parquet", "--out", out / "evaluation"),
        ),
    ):
        done = run(*argv)
        assert done.status == 0, done.told
        printed += [done.out, done.told]
    acting = {unicodedata.category(character) for character in "".join(printed).replace("\n", "")}
    assert not acting & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert {row["bag"] for row in json.loads(printed[6])} == set(KNOWN)

    for path in (
        "predictions.csv",
        "predictions.parquet",
        "explanation/instances.csv",
        "evaluation/predictions.parquet",
    ):
        assert set(read(out / path)["bag"]) == set(KNOWN), path
    one, other = (read(out / f"predictions.{ending}") for ending in ("csv", "parquet"))
    assert one.columns.tolist() == other.columns.tolist()
    assert one[["bag", "predicted"]].to_numpy().tolist() == other[["bag", "predicted"]].to_numpy().tolist()
    assert set(read(out / "evaluation" / "predictions.parquet")["label"]) == set(LABELS)
    texts = written(out)
    assert json.loads(texts["results.json"])["asked"]["data"]["data"] == str(slides)
    assert "<script>alert" not in texts["report.html"]


def test_safetensors_are_read_whatever_their_name(tmp_path):
    path, plain = tmp_path / os.fsdecode(b"\xff.safetensors"), tmp_path / "plain.safetensors"
    save_file({"features": np.arange(6.0).reshape(2, 3)}, plain)
    plain.rename(path)
    assert read_features(path).features.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_the_terminal_shows_a_folder_whose_name_is_no_text(run, tmp_path):
    folder = tmp_path / os.fsdecode(b"\xff\x1b[2J")
    folder.mkdir()
    done = run("check", folder)
    assert (done.status, done.out) == (1, "")
    assert r"\udcff\x1b[2J" in done.told
