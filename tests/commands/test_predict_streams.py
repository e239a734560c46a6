"""`predict` reads a large table some bags at a time, and says what it says of the table read at once."""

import json

import numpy as np
import pandas as pd
import pytest

import bagwise as bw
from bagwise.commands import data
from bagwise.commands.run_files import write_run
from bagwise.io import pieces, streamed

MODELS = {
    "attention": lambda: bw.make("attention", epochs=2, random_state=0),
    "an ensemble": lambda: bw.Ensemble(bw.AttentionMIL(epochs=2, random_state=0), 2),
    "MI-SVM": lambda: bw.make("MI-SVM", random_state=0),
    "summary-logistic": lambda: bw.make("summary-logistic", random_state=0),
}


def table(seed, bags=40, rows=300):
    rng = np.random.default_rng(seed)
    bag = rng.integers(0, bags, rows)
    return pd.DataFrame(
        {
            "bag": [f"b{number}" for number in bag],
            "label": bag % 2,
            "size": rng.normal(size=rows) + bag % 2,
            "gappy": np.where(rng.random(rows) < 0.1, np.nan, rng.normal(size=rows)),
            "kind": rng.choice(["red", "blue", "green"], rows),
            "when": pd.Timestamp("2026-01-01") + pd.to_timedelta(rng.integers(0, 10**6, rows), "s"),
            "age": bag % 5,
        }
    )


@pytest.fixture
def streamed_only(monkeypatch):
    monkeypatch.setattr(data, "_LARGE", 0)
    monkeypatch.setattr(data, "read_table", None)
    monkeypatch.setattr(pieces, "_PIECE", 4_000)
    monkeypatch.setattr(pieces, "_ROWS", 50)
    monkeypatch.setattr(streamed, "_HELD", 8 * 20 * 60)


@pytest.mark.parametrize("columns", ["all kinds", "numbers"])
@pytest.mark.parametrize("model", MODELS)
def test_answers_are_the_same_bits(tmp_path, run, request, model, columns):
    chosen = {"order": "when", "bag_features": ["age"]} if columns == "all kinds" else {"features": ["size", "age"]}
    old = table(0)
    bags = bw.Bags.from_table(old, "bag", "label", **chosen)
    asked = {"data": {"bag": "bag", "label": "label", **chosen}}
    fitted = MODELS[model]().fit(bags)
    write_run(tmp_path / "run", list(fitted) if model == "an ensemble" else [fitted], asked)
    new = table(1).assign(kind=lambda frame: frame.kind.where(frame.index != 77, "pink"), note="x")
    new.to_csv(tmp_path / "new.csv", index=False)
    new.to_parquet(tmp_path / "new.parquet")
    drop = [] if columns == "all kinds" else ["--drop", "gappy"]
    at_once, told = [], []
    for file in ("new.csv", "new.parquet"):
        done = run("predict", tmp_path / "run", tmp_path / file, *drop, "--json")
        assert done.status == 0, done.told
        at_once.append(json.loads(done.out))
        told.append(done.told)
    request.getfixturevalue("streamed_only")
    for file, before, said in zip(("new.csv", "new.parquet"), at_once, told, strict=True):
        done = run("predict", tmp_path / "run", tmp_path / file, *drop, "--json")
        assert done.status == 0, done.told
        assert (json.loads(done.out), done.told) == (before, said)


@pytest.mark.usefixtures("streamed_only")
def test_nothing_is_written_of_a_table_with_a_fault_at_its_end(tmp_path, run):
    features = ["size", "age"]
    write_run(
        tmp_path / "run",
        [bw.AttentionMIL(epochs=1).fit(bw.Bags.from_table(table(0), "bag", "label", features=features))],
        {"data": {"bag": "bag", "label": "label", "features": features}},
    )
    out, path, frame = tmp_path / "out.csv", tmp_path / "new.csv", table(1)
    frame.to_csv(path, index=False)
    assert run("predict", tmp_path / "run", path, "--out", out).status == 0
    before = out.read_bytes()
    frame.loc[299, "size"] = np.inf
    frame.to_csv(path, index=False)
    done = run("predict", tmp_path / "run", path, "--out", out)
    assert (done.status, out.read_bytes()) == (1, before)
    assert "'size' has an infinity in row 301: mend it" in " ".join(done.told.split())
    assert sorted(one.name for one in tmp_path.iterdir()) == ["new.csv", "out.csv", "run"]
