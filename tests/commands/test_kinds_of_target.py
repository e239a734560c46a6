import json

import h5py
import numpy as np
import pandas as pd
import pytest

RNG = np.random.default_rng(0)
ARRAYS = [RNG.normal(size=(RNG.integers(1, 5), 3)) for _ in range(36)]
LARGEST = np.array([array[:, 0].max() for array in ARRAYS])
# Of each kind its columns: what they hold and how they are named on the command line.
LABELS = {
    "multi-label": {"fat": LARGEST > 0.5, "necrosis": [None if large > 2 else int(large > 1) for large in LARGEST]},
    "real": {"dose": LARGEST},
    "real of two": {"dose": LARGEST, "size": LARGEST**2 + 0.5},
    "survival": {"died": (LARGEST > -0.5).astype(int), "days": np.exp(-LARGEST)},
}
OPTIONS = {
    "multi-label": ["--label", "fat", "--label", "necrosis"],
    "real": ["--label", "dose"],
    "real of two": ["--label", "dose", "--label", "size"],
    "survival": ["--event", "died", "--time", "days"],
}
TRUE = {
    "multi-label": ["label_fat", "label_necrosis"],
    "real": ["label"],
    "real of two": ["label_dose", "label_size"],
    "survival": ["event", "time"],
}
COLUMNS = {
    "multi-label": ["predicted_fat", "predicted_necrosis", "probability_fat", "probability_necrosis"],
    "real": ["value"],
    "real of two": ["value_dose", "value_size"],
    "survival": ["risk", *["survival_"] * 8],
}
SPREAD = {
    "multi-label": ["spread_fat", "spread_necrosis"],
    "real": ["spread"],
    "real of two": ["spread_dose", "spread_size"],
    "survival": ["spread"],
}
FIGURES = {
    "multi-label": [],
    "real": ["predicted_0.png"],
    "real of two": ["predicted_0_0.png", "predicted_0_1.png"],
    "survival": ["survival_0.png"],
}
SAID = {
    "multi-label": ("Labels, judged by attention", "Known bags", ">necrosis<", "with, "),
    "real": ("Predicted and true, attention", "R²"),
    "real of two": ("Predicted and true, attention, size", "MAE", "Label size"),
    "survival": ("Survival by the risk that attention predicts", "C-index", "Events"),
}
TOLD = {
    "multi-label": {"labels": ["fat", "necrosis"]},
    "real": {},
    "real of two": {"numbers": ["dose", "size"]},
    "survival": {"times": None},
}
KNOWN = {"multi-label": "fat, necrosis", "real": "R²", "real of two": "R²", "survival": "seen until"}
QUICK = ["--jobs", 1, "--epochs", 1, "--json"]


@pytest.fixture(params=LABELS)
def kind(request):
    return request.param


@pytest.fixture(params=["table", "table beside", "folder"])
def source(request, kind, tmp_path):
    """Write bags with labels of a kind, and give the options that name them."""
    labels = pd.DataFrame({"bag": [f"b{bag}" for bag in range(len(ARRAYS))], **LABELS[kind]})
    rows = [(f"b{bag}", *instance) for bag, array in enumerate(ARRAYS) for instance in array]
    frame = pd.DataFrame(rows, columns=["bag", "x", "y", "z"])
    if request.param == "table":
        frame.merge(labels, on="bag").to_parquet(tmp_path / "t.parquet")
        return [tmp_path / "t.parquet", "--bag", "bag", *OPTIONS[kind]]
    labels.to_csv(tmp_path / "labels.csv", index=False)
    if request.param == "table beside":
        frame.to_csv(tmp_path / "t.csv", index=False)
        return [tmp_path / "t.csv", "--bag", "bag", "--labels", tmp_path / "labels.csv", *OPTIONS[kind]]
    (tmp_path / "slides").mkdir()
    for bag, array in enumerate(ARRAYS):
        with h5py.File(tmp_path / "slides" / f"b{bag}.h5", "w") as file:
            file["features"] = array
    return [tmp_path / "slides", "--labels", tmp_path / "labels.csv", *OPTIONS[kind]]


def begin_alike(columns, expected):
    return len(columns) == len(expected) and all(map(str.startswith, columns, expected))


def test_every_kind_is_checked_evaluated_with_figures_and_a_page(run, kind, source, tmp_path, request):
    out, drawn = tmp_path / "out", source[0].name == "t.parquet"  # figures do not know where bags came from
    if not drawn:
        request.getfixturevalue("undrawn")
    checked = json.loads(run("check", *source, "--json").out)
    assert (checked["target"], checked["fails"], checked["problems"]) == (kind.split()[0], False, [])
    done = run("evaluate", "--no-baseline", *source, "--folds", 3, *QUICK, "--out", out)
    assert done.status == 0, done.told
    results = json.loads(done.out)
    assert json.loads((out / "results.json").read_text())["rows"] == results["rows"]
    assert results["target"] == kind.split()[0]
    assert sorted(path.name for path in out.glob("*.png")) == (FIGURES[kind] if drawn else [])
    columns = pd.read_csv(out / "predictions.csv").columns.tolist()
    assert columns[4 : 4 + len(TRUE[kind])] == TRUE[kind]
    assert begin_alike(columns[4 + len(TRUE[kind]) :], COLUMNS[kind])
    page = (out / "report.html").read_text(encoding="utf-8")
    assert all(text in page for text in SAID[kind] if drawn or "attention" not in text)


def test_every_kind_is_fitted_predicted_and_explained(run, kind, source, tmp_path):
    folder, out = tmp_path / "run", tmp_path / "predictions.csv"
    done = run("fit", *source, *QUICK, "--ensemble", 2, "--out", folder)
    assert done.status == 0, done.told
    metrics = json.loads(done.out)
    assert metrics["target"] == kind.split()[0]
    assert "classes" not in metrics
    assert all(metrics[name] == value or value is None for name, value in TOLD[kind].items())
    new = source[:3] if "--labels" in map(str, source[:3]) else source[:1]
    for _ in range(2):  # the second replaces the first, which is recognised
        done = run("predict", folder, *new, "--json", "--out", out)
        assert done.status == 0, done.told
    columns = pd.read_csv(out).columns.tolist()
    assert columns == list(json.loads(done.out)[0])
    assert begin_alike(columns[1:], [*COLUMNS[kind], *SPREAD[kind], "stranger"])
    beside = ["--labels", tmp_path / "labels.csv"] if (tmp_path / "labels.csv").exists() else []
    done = run("explain", folder, source[0], *beside, "--out", tmp_path / "why")
    assert done.status == 0, done.told
    keys = pd.read_csv(tmp_path / "why" / "key_instances.csv")
    assert keys.columns[:2].tolist() == ["bag", "predicted"]
    assert ("probability" in keys) is False
    page = (tmp_path / "why" / "report.html").read_text(encoding="utf-8")
    assert "The label is not known" not in page
    assert "36 bags whose label is known" in page
    assert KNOWN[kind] in page


def test_an_explanation_shows_the_labels_that_are_known(run, kind, tmp_path):
    rows = [(f"b{bag}", *instance) for bag, array in enumerate(ARRAYS) for instance in array]
    frame = pd.DataFrame(rows, columns=["bag", "x", "y", "z"])
    labels = pd.DataFrame({"bag": [f"b{bag}" for bag in range(len(ARRAYS))], **LABELS[kind]})
    frame.merge(labels, on="bag").to_csv(tmp_path / "all.csv", index=False)
    what = [tmp_path / "all.csv", "--bag", "bag", *OPTIONS[kind]]
    assert run("fit", *what, *QUICK, "--out", tmp_path / "run").status == 0
    frame.merge(labels[:30], on="bag", how="left").to_csv(tmp_path / "some.csv", index=False)
    assert run("explain", tmp_path / "run", tmp_path / "some.csv", "--out", tmp_path / "why").status == 0
    page = (tmp_path / "why" / "report.html").read_text(encoding="utf-8")
    assert "The label is not known here of 6 of the 36 bags" in page
    strange = labels.assign(**dict.fromkeys(LABELS[kind], "strange"))
    frame.merge(strange, on="bag").to_csv(tmp_path / "strange.csv", index=False)
    done = run("explain", tmp_path / "run", tmp_path / "strange.csv", "--out", tmp_path / "other")
    assert done.status == 1
    assert "strange.csv" in done.told
    assert len(done.told.splitlines()) == 1
    assert not (tmp_path / "other" / "report.html").exists()


# ---- named on the command line ---------------------------------------------------------------------------------------

GRADES = np.array(["low", "mid", "high"])[np.digitize(LARGEST, [0.3, 1.0])]
NAMED = {
    "ordinal: low < mid < high": (GRADES, "grade", ["probability_low", "probability_mid", "probability_high"]),
    "count": (np.digitize(LARGEST, [0, 0.5, 1.0, 1.5]), "value", []),
    "real: huber": (np.digitize(LARGEST, [0, 0.5, 1.0, 1.5]), "value", []),
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


@pytest.mark.usefixtures("undrawn")
def test_a_target_is_named_in_every_command(run, named, tmp_path):
    target, table, columns = named
    what = [table, "--bag", "bag", "--label", "label", "--target", target]
    assert json.loads(run("check", *what, "--json").out)["target"] == target.partition(":")[0]
    told = json.loads(
        run("evaluate", "--no-baseline", *what, "--folds", 3, "--epochs", 1, "--json", "--out", tmp_path / "e").out
    )
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
        ("ordinal: low < mid < high: huber", "attention", "which is not in the order that was given"),
        ("count: huber", "attention", "the kind 'count' takes nothing after its name"),
        ("classes: huber", "attention", "the kind 'classes' takes nothing after its name"),
        ("survival", "attention", "survival needs the columns of both (--event and --time)"),
        (
            "ordinal: low < mid < high",
            "MI-SVM",
            "BagMarginSVM learns classes, and the target is ordinal: use a method that",
        ),
    ],
)
def test_a_target_that_does_not_fit_is_one_sentence(run, tmp_path, target, method, told):
    rows = [(f"b{bag}", value, GRADES[bag]) for bag, array in enumerate(ARRAYS) for value in array[:, 0]]
    pd.DataFrame(rows, columns=["bag", "x", "label"]).to_csv(tmp_path / "table.csv", index=False)
    what = [tmp_path / "table.csv", "--bag", "bag", "--label", "label", "--target", target]
    for command in ("fit", "evaluate") if method == "attention" else ("evaluate",):
        done = run(command, *what, "--method", method, "--out", tmp_path / command)
        assert done.status == 1
        assert told in done.told
        assert len(done.told.splitlines()) == 1
    if method == "attention":
        checked = run("check", *what)
        assert checked.status == 1
        assert told in " ".join(checked.out.split())
