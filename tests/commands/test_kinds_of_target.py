import json

import numpy as np
import pandas as pd
import pytest

import bagwise as bw
from bagwise.commands.data import DataSource
from bagwise.commands.evaluate import run_evaluate
from bagwise.commands.explain import run_explain
from bagwise.commands.fit import run_fit
from bagwise.commands.options import Data, Evaluation, Model, Output, Training, Work
from bagwise.commands.predict import run_predict
from bagwise.commands.runs import Run

RNG = np.random.default_rng(0)
ARRAYS = [RNG.normal(size=(RNG.integers(1, 5), 3)) for _ in range(36)]
LARGEST = np.array([array[:, 0].max() for array in ARRAYS])
LABELS = {
    "multi-label": np.column_stack([LARGEST > 0.5, np.where(LARGEST > 2, np.nan, LARGEST > 1)]),
    "real": LARGEST,
    "real of two": np.column_stack([LARGEST, LARGEST**2 + 0.5]),
    "survival": np.array(list(zip(LARGEST > -0.5, np.exp(-LARGEST), strict=True)), [("event", bool), ("time", float)]),
}
COLUMNS = {
    "multi-label": ["predicted_0", "predicted_1", "probability_0", "probability_1"],
    "real": ["value"],
    "real of two": ["value_0", "value_1"],
    "survival": ["risk", *["survival_"] * 8],
}
FIGURES = {
    "multi-label": [],
    "real": ["predicted_0.png"],
    "real of two": ["predicted_0_0.png", "predicted_0_1.png"],
    "survival": ["survival_0.png"],
}
SAID = {
    "multi-label": ("Labels, judged by attention", "Known bags"),
    "real": ("Predicted and true, attention", "R²"),
    "real of two": ("Predicted and true, attention, number 2", "MAE"),
    "survival": ("Survival by the risk that attention predicts", "C-index"),
}


@pytest.fixture(params=LABELS)
def kind(request, monkeypatch):
    bags = bw.Bags.from_arrays(ARRAYS, labels=LABELS[request.param])
    monkeypatch.setattr(DataSource, "read", lambda *_, **__: bags)
    monkeypatch.setattr(DataSource, "read_like", lambda *_, **__: bags)
    return request.param


def begin_alike(columns, expected):
    return len(columns) == len(expected) and all(map(str.startswith, columns, expected))


def test_every_kind_is_evaluated_with_figures_and_a_page(kind, tmp_path):
    source, out = DataSource.of(Data("here.csv")), tmp_path / "out"
    results = run_evaluate(source, out, Evaluation(folds="3"), Training(epochs=1), Work(jobs=1), Output())
    assert json.loads((out / "results.json").read_text())["rows"] == results["rows"]
    assert results["target"] == kind.split()[0]
    assert sorted(path.name for path in out.glob("*.png")) == FIGURES[kind]
    columns = pd.read_csv(out / "predictions.csv").columns.tolist()
    assert begin_alike(columns[-len(COLUMNS[kind]) :], COLUMNS[kind])
    page = (out / "report.html").read_text(encoding="utf-8")
    assert all(text in page for text in SAID[kind])


def test_every_kind_is_fitted_predicted_and_explained(kind, tmp_path):
    source, out = DataSource.of(Data("here.csv")), tmp_path / "run"
    metrics = run_fit(source, out, Model(ensemble=2), Training(epochs=1), Work(jobs=1))
    assert metrics["target"] == kind.split()[0]
    run = Run.load(out)
    frame = run_predict(run, source, tmp_path / "predictions.csv")
    assert begin_alike(frame.columns[1 : 1 + len(COLUMNS[kind])].tolist(), COLUMNS[kind])
    assert all(name.startswith("spread") for name in frame.columns[1 + len(COLUMNS[kind]) :])
    run_predict(run, source, tmp_path / "predictions.csv")  # which are recognised and replaced
    run_explain(run, source, tmp_path / "explained", Output())
    keys = pd.read_csv(tmp_path / "explained" / "key_instances.csv")
    assert keys.columns[:2].tolist() == ["bag", "predicted"]
    assert ("probability" in keys) is False


# ---- named on the command line ---------------------------------------------------------------------------------------

GRADES = np.array(["low", "mid", "high"])[np.digitize(LARGEST, [0.3, 1.0])]
NAMED = {
    "ordinal: low < mid < high": (GRADES, "grade", ["probability_low", "probability_mid", "probability_high"]),
    "count": (np.digitize(LARGEST, [0, 0.5, 1.0, 1.5]), "value", []),
    "real": (np.digitize(LARGEST, [0, 0.5, 1.0, 1.5]), "value", []),
}


@pytest.fixture(params=NAMED)
def named(request, tmp_path):
    """Give what the target is called, a table of bags, and the columns of predictions."""
    labels, *columns = NAMED[request.param]
    rows = [
        (f"b{bag}", *instance, label)
        for bag, (array, label) in enumerate(zip(ARRAYS, labels, strict=True))
        for instance in array
    ]
    pd.DataFrame(rows, columns=["bag", "x", "y", "z", "label"]).to_csv(tmp_path / "table.csv", index=False)
    return request.param, tmp_path / "table.csv", [columns[0], *columns[1]]


def test_a_target_is_named_in_every_command(run, named, tmp_path):
    target, table, columns = named
    what = [table, "--bag", "bag", "--label", "label", "--target", target]
    assert json.loads(run("check", *what, "--json").out)["target"] == target.partition(":")[0]
    told = json.loads(run("evaluate", *what, "--folds", 3, "--epochs", 1, "--json", "--out", tmp_path / "e").out)
    assert told["target"] == target.partition(":")[0]
    done = run("fit", *what, "--epochs", 1, "--json", "--out", tmp_path / "run")
    assert done.status == 0, done.told
    rows = json.loads(run("predict", tmp_path / "run", table, "--json").out)
    assert list(rows[0])[1 : 1 + len(columns)] == columns
    assert run("explain", tmp_path / "run", table, "--out", tmp_path / "why").status == 0


@pytest.mark.parametrize(
    ("target", "method", "told"),
    [
        ("nonsense", "attention", "target is 'nonsense': it must be 'auto' or one of"),
        ("ordinal", "attention", "say their order, as in target='ordinal: low < mid < high'"),
        ("ordinal: low < mid", "attention", "which is not in the order that was given: low < mid"),
        ("count", "attention", "counts are whole numbers"),
        ("real", "attention", "a real target needs numbers"),
        ("survival", "attention", "survival needs the columns of both (--event and --time)"),
        ("ordinal: low < mid < high", "MI-SVM", "the method 'MI-SVM' learns classes"),
    ],
)
def test_a_target_that_does_not_fit_is_one_sentence(run, tmp_path, target, method, told):
    rows = [(f"b{bag}", value, GRADES[bag]) for bag, array in enumerate(ARRAYS) for value in array[:, 0]]
    pd.DataFrame(rows, columns=["bag", "x", "label"]).to_csv(tmp_path / "table.csv", index=False)
    what = [tmp_path / "table.csv", "--bag", "bag", "--label", "label", "--target", target]
    for command in ("fit", "evaluate") if method == "attention" else ("evaluate",):
        done = run(command, *what, "--method", method, "--epochs", 1, "--out", tmp_path / command)
        assert done.status == 1
        assert told in done.told
        assert len(done.told.splitlines()) == 1
    if method == "attention":
        checked = run("check", *what)
        assert checked.status == 1
        assert told in " ".join(checked.out.split())
