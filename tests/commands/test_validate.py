"""A run is measured on bags with labels: what is told is `measure` of its own answers; bad input is a sentence."""

import json

import h5py
import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from bagwise.commands.runs import Run
from bagwise.evaluation.metrics import METRICS, measure

COLUMNS = ("--bag", "patient", "--label", "diagnosis", "--instance", "cell")
QUICK = ("--epochs", 8, "--jobs", 1)


@pytest.fixture(scope="module")
def place(run, cells, tmp_path_factory):
    """A run of cells of 24 patients, and a cohort of 30 others from three sites, with the same columns."""
    folder = tmp_path_factory.mktemp("validated")
    cells(24).drop(columns=["clinic", "x", "y"]).to_csv(folder / "learnt.csv", index=False)
    done = run("fit", folder / "learnt.csv", *COLUMNS, *QUICK, "--out", folder / "run")
    assert done.status == 0, done.told
    others = cells(30, seed=1).drop(columns=["clinic", "x", "y"])
    number = others["patient"].str[1:].astype(int)
    others["site"] = np.array(["north", "south", "west"])[number % 3]
    others["person"] = "p" + (number // 2).astype(str)
    others.to_csv(folder / "cohort.csv", index=False)
    return folder


@pytest.fixture(autouse=True)
def nothing_drawn(undrawn):
    """Figures are looked at in one test alone."""


def validated(run, *argv):
    done = run("validate", *argv, "--json")
    assert done.status == 0, done.told
    return json.loads(done.out), done.told


def refused(run, *argv):
    done = run("validate", *argv)
    assert (done.status, done.out) == (1, "")
    return done.told.splitlines()[-1].removeprefix("bagwise: ")


def changed(place, name, change):
    frame = change(pd.read_csv(place / "cohort.csv"))
    frame.to_csv(place / name, index=False)
    return place / name


def test_what_is_told_is_measured_of_what_the_run_predicts(run, place, tmp_path):
    results, _ = validated(run, place / "run", place / "cohort.csv", "--by", "site", "--out", tmp_path / "out")
    assert json.loads((tmp_path / "out" / "results.json").read_text()) == results
    level = results["levels"]["bag"]
    predictions = pd.read_csv(tmp_path / "out" / "predictions.csv")
    assert run("predict", place / "run", place / "cohort.csv", "--out", tmp_path / "p.csv").status == 0
    said = pd.read_csv(tmp_path / "p.csv").drop(columns="stranger")
    pd.testing.assert_frame_equal(said, predictions[said.columns])
    true = pd.read_csv(place / "cohort.csv").drop_duplicates("patient").set_index("patient").loc[predictions["bag"]]
    assert predictions["label"].tolist() == true["diagnosis"].tolist()
    target = Run.load(place / "run").models[0].target_
    answers = predictions[[f"probability_{name}" for name in target.names]].to_numpy()
    expected = measure(target, predictions["label"].to_numpy(str), answers, scoring=list(level["metrics"]))
    assert set(expected) == {name for name, metric in METRICS.items() if "classes" in metric.kinds}
    for name, one in level["metrics"].items():
        assert one["value"] == pytest.approx(expected[name], abs=1e-6)
        assert one["low"] <= one["value"] <= one["high"]
    counts = pd.crosstab(predictions["label"], predictions["predicted"])
    assert np.sum(results["confusion"]["counts"]) == 30
    assert results["confusion"]["counts"][0][0] == counts.loc["healthy"].get("healthy", 0)
    sites = level["subgroups"]["site"]["groups"]
    assert [(one["value"], one["count"]) for one in sites] == [("north", 10), ("south", 10), ("west", 10)]
    north = (predictions["by_site"] == "north").to_numpy()
    assert sites[0]["metrics"]["accuracy"]["value"] == (predictions["label"] == predictions["predicted"])[north].mean()
    assert all("there are only" in one["warning"] for one in sites)
    assert "that the run learnt from" not in " ".join(results["notes"])


def test_patients_have_no_predictions_and_say_why(run, place, tmp_path):
    argv = [place / "run", place / "cohort.csv", "--patient", "person", "--aggregate", "noisy-or"]
    results, _ = validated(run, *argv, "--by", "site", "--format", "parquet", "--out", tmp_path / "out")
    people = pd.read_parquet(tmp_path / "out" / "patients.parquet")
    bags = pd.read_parquet(tmp_path / "out" / "predictions.parquet")
    assert people.columns.tolist() == ["patient", "bags", "label", "probability_healthy", "probability_ill"]
    assert (people["bags"] == 2).all()
    assert (people["label"] == "ill").all()  # each has a bag that is
    healthy = bags.groupby("patient")["probability_healthy"].prod()
    np.testing.assert_allclose(people["probability_healthy"], healthy.loc[people["patient"]], atol=1e-6)
    level = results["levels"]["patient"]
    assert level["metrics"].keys() == {"auc", "average_precision", "brier", "log_loss"}
    assert level["metrics"]["auc"] == {"value": None}
    assert "all of the class ill: AUC, Average precision" in " ".join(level["told"])
    assert level["subgroups"] == {}  # a person's bags are from two sites
    notes = " ".join(results["notes"])
    assert "were not calibrated anew: the run was not told of patients: fit it with --group person." in notes
    assert "there are only 15 patients" in level["warning"]
    assert "A threshold belongs to the level that it was chosen at" in notes
    assert "Labels differ within 15 patients: a patient is positive if one of its bags is." in notes
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert page.index("Wrong predictions") < page.index("Right predictions")
    assert "How good it is: patients" in page


def test_one_class_leaves_some_metrics_undefined_and_tells_the_rest(run, place, tmp_path, monkeypatch):
    monkeypatch.undo()  # so that figures are drawn: those that rank are left out
    cohort = changed(place, "ill.csv", lambda frame: frame[frame["diagnosis"] == "ill"])
    done = run("validate", place / "run", cohort, "--out", tmp_path / "out")
    assert done.status == 0, done.told
    assert "Undefined on these bags, which are all of the class ill: AUC," in done.out
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["levels"]["bag"]["metrics"]["auc"] == {"value": None}
    assert results["levels"]["bag"]["metrics"]["recall"]["value"] is not None
    drawn = {path.name for path in (tmp_path / "out").glob("*.png")}
    assert drawn == {"calibration.png", "confusion_0.png"}


def test_bags_without_a_label_are_left_out_and_named(run, place, tmp_path):
    def empty(frame):
        frame.loc[frame["patient"].isin(["P003", "P007"]), "diagnosis"] = None
        return frame

    cohort = changed(place, "lacking.csv", empty)
    results, told = validated(run, place / "run", cohort, "--out", tmp_path / "out")
    assert "2 bags have no label and are left out ('P003', 'P007')" in told
    assert (results["left_out"], results["levels"]["bag"]["count"]) == (2, 28)


def test_other_spellings_and_other_names_of_columns_are_understood(run, place, tmp_path):
    def rename(frame):
        return frame.replace({"diagnosis": {"ill": "Ill"}}).rename(columns={"diagnosis": "found"})

    cohort = changed(place, "renamed.csv", rename)
    results, told = validated(run, place / "run", cohort, "--label", "found", "--out", tmp_path / "out")
    assert "Ill is taken for ill" in told
    assert results["levels"]["bag"]["classes"] == {"healthy": 15, "ill": 15}


@pytest.mark.parametrize(
    ("change", "options", "told"),
    [
        (
            lambda frame: frame.replace({"diagnosis": {"ill": "dead"}}),
            (),
            "the label 'dead' of bag 'P001' is none of the classes of the run (healthy, ill): write it as they are"
            " written, or leave it empty",
        ),
        (
            lambda frame: frame.drop(columns="diagnosis"),
            (),
            "has a label of no bag in column 'diagnosis': name the column with --label; without labels, bagwise predict"
            " asks the run",
        ),
        (lambda frame: frame.assign(diagnosis=None), (), "has a label of no bag in column 'diagnosis'"),
        (lambda frame: frame, ("--by", "nowhere"), "there is no column 'nowhere': name one that is there"),
        (lambda frame: frame, ("--patient", "nobody"), "there is no column 'nobody': name one that is there"),
        (lambda frame: frame, ("--group", "clan"), "there is no column 'clan', which --group names"),
        (lambda frame: frame, ("--by", "size"), "column 'size' differs within bag 'P000'"),
        (lambda frame: frame.assign(site=None), ("--by", "site"), "column 'site' is empty, and --by takes one of 1 to"),
        (
            lambda frame: frame.assign(person=frame["person"].where(frame["patient"] != "P004")),
            ("--patient", "person"),
            "column 'person' has nothing for bag 'P004': give it a patient, or leave the bag out",
        ),
        (lambda frame: frame, ("--aggregate", "median"), "--aggregate is 'median': it must be one of mean, maximum,"),
        (lambda frame: frame.drop(columns="shape"), (), "lacks the features shape"),
    ],
)
def test_what_will_not_do_is_told_in_a_sentence_and_leaves_nothing(run, place, tmp_path, change, options, told):
    cohort = changed(place, "bad.csv", change)
    if "--by" not in options and "--patient" not in options:
        cohort = changed(place, "bad.csv", lambda frame: change(frame).drop(columns=["site", "person"]))
    assert told in refused(run, place / "run", cohort, *options, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_too_many_subgroups_are_refused(run, place, tmp_path, monkeypatch):
    monkeypatch.setattr("bagwise.commands.cohort._MOST_SUBGROUPS", 2)
    sentence = refused(run, place / "run", place / "cohort.csv", "--by", "site", "--out", tmp_path / "out")
    assert sentence.startswith("column 'site' has 3 values, and --by takes one of 1 to 2")


def test_bags_that_were_learnt_from_are_recognised(run, place, tmp_path):
    results, _ = validated(run, place / "run", place / "learnt.csv", "--out", tmp_path / "out")
    assert results["learnt_from"]
    assert results["notes"][0] == "These are the bags that the run learnt from: new bags will do worse."


def test_some_bags_that_were_learnt_from_are_named(run, place, tmp_path):
    learnt = pd.read_csv(place / "learnt.csv").query("patient in ['P003', 'P011']")
    known = learnt[::-1].assign(patient="again " + learnt["patient"], site="south", person="p1")
    path = changed(place, "overlap.csv", lambda frame: pd.concat([frame, known]))
    results, told = validated(run, place / "run", path, "--out", tmp_path / "out")
    assert results["among_learnt"] == {"count": 2, "bags": ["again P011", "again P003"]}
    assert "2 bags of 32 have the very features of a bag that the run learnt from" in told
    assert "what is measured is too good: leave them out." in results["notes"][-5:][0] + " ".join(results["notes"])
    predictions = pd.read_csv(tmp_path / "out" / "predictions.csv")
    assert predictions.loc[predictions["learnt_from"], "bag"].tolist() == ["again P011", "again P003"]
    results, told = validated(run, place / "run", place / "cohort.csv", "--out", tmp_path / "other")
    assert results["among_learnt"]["count"] == 0
    assert "learnt_from" not in pd.read_csv(tmp_path / "other" / "predictions.csv")


def test_sets_are_measured_and_strangers_counted(run, cells, place, tmp_path):
    cells(60).drop(columns=["clinic", "x", "y"]).to_csv(tmp_path / "learnt.csv", index=False)
    fit = ("fit", tmp_path / "learnt.csv", *COLUMNS, "--method", "mean-logistic", "--jobs", 1)
    assert run(*fit, "--out", tmp_path / "run").status == 0
    asked = (tmp_path / "run", place / "cohort.csv", "--coverage", 0.8)
    results, told = validated(run, *asked, "--out", tmp_path / "out")
    done = run("predict", *asked, "--json")
    rows = pd.DataFrame(json.loads(done.out))
    predictions = pd.read_csv(tmp_path / "out" / "predictions.csv")
    assert predictions["set"].fillna("").tolist() == rows["set"].tolist()
    assert predictions["stranger"].to_numpy() == pytest.approx(rows["stranger"])
    held = np.array([label in row.split("|") for label, row in zip(predictions["label"], rows["set"], strict=True)])
    (sets,) = results["sets"]["measured"]
    assert sets["coverage"]["value"] == held.mean()
    wilson = tuple(binomtest(int(held.sum()), 30).proportion_ci(method="wilson"))
    assert (sets["coverage"]["low"], sets["coverage"]["high"]) == pytest.approx(wilson)
    assert sets["by_class"]["ill"]["value"] == held[predictions["label"] == "ill"].mean()
    assert sets["by_class"]["ill"]["count"] == (predictions["label"] == "ill").sum()
    assert (sets["mean_size"], sets["empty"]) == (rows["set_size"].mean(), (rows["set_size"] == 0).mean())
    assert results["strangers"]["strangers"] == (rows["stranger"] <= 1 / 61 + 1e-9).sum()
    assert "are strangers (" not in told
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "How often sets hold the truth, asked for 80 %" in page
    assert "The sets hold the truth of about 80 % of bags like those learnt from" in page

    path = changed(place, "far.csv", lambda frame: frame.assign(size=frame["size"] + 30))
    results, told = validated(run, tmp_path / "run", path, "--out", tmp_path / "far")
    assert results["strangers"]["value"] == 1
    assert results["sets"] is None
    assert "100 % of these bags are strangers (" in told
    assert "of bags like those learnt from 1.64 % would be: what the run promises is not of such bags" in told
    few = run("validate", place / "run", place / "cohort.csv", "--coverage", 0.8, "--out", tmp_path / "few")
    assert few.status == 1
    assert "--coverage needs predictions for bags held out" in few.told


def test_of_a_table_that_was_divided_the_test_bags_are_taken(run, place, tmp_path):
    frame = pd.read_csv(place / "cohort.csv").drop(columns=["site", "person"])
    frame["part"] = np.where(frame["patient"] < "P020", "train", "test")
    frame.to_csv(tmp_path / "parts.csv", index=False)
    fit = ("fit", tmp_path / "parts.csv", *COLUMNS, "--split", "part", *QUICK, "--out", tmp_path / "run")
    assert run(*fit).status == 0
    results, _ = validated(run, tmp_path / "run", tmp_path / "parts.csv", "--out", tmp_path / "out")
    assert results["levels"]["bag"]["count"] == 10
    assert pd.read_csv(tmp_path / "out" / "predictions.csv")["bag"].min() == "P020"
    assert not results["learnt_from"]


@pytest.mark.parametrize("method", ["attention", "mean-logistic"])
def test_bags_that_decided_when_to_stop_are_named_too(run, place, tmp_path, method):
    frame = pd.read_csv(place / "learnt.csv").drop(columns=["site", "person"], errors="ignore")
    deciding = frame["patient"].isin(["P003", "P011"])
    frame.assign(part=np.where(deciding, "val", "train")).to_csv(tmp_path / "parts.csv", index=False)
    epochs = QUICK if method == "attention" else ("--method", method, "--calibrate", "none")
    fit = ("fit", tmp_path / "parts.csv", *COLUMNS, "--split", "part", *epochs, "--out", tmp_path / "run")
    assert run(*fit).status == 0
    frame[deciding].to_csv(tmp_path / "cohort.csv", index=False)
    results, told = validated(run, tmp_path / "run", tmp_path / "cohort.csv", "--out", tmp_path / "out")
    named = ["P003", "P011"] if method == "attention" else []  # what has no epochs looks at no bags to stop by
    assert results["among_learnt"]["bags"] == named
    assert ("the very features of a bag that the run learnt from" in told) == bool(named)


@pytest.fixture(params=["multi-label", "real", "count", "ordinal", "survival", "three classes"])
def kind(request):
    return request.param


LABELLED = {
    "multi-label": (["--label", "fat", "--label", "necrosis"], "predicted_fat"),
    "real": (["--label", "dose"], "value"),
    "count": (["--label", "number", "--target", "count"], "value"),
    "ordinal": (["--label", "grade", "--target", "ordinal"], "grade"),
    "survival": (["--event", "died", "--time", "days"], "risk"),
    "three classes": (["--label", "word"], "predicted"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Feature files of 40 bags with labels of every kind beside them, of which each patient has two."""
    rng, place = np.random.default_rng(0), tmp_path_factory.mktemp("kinds")
    (place / "features").mkdir()
    largest = []
    for bag in range(40):
        features = rng.normal(size=(rng.integers(1, 5), 3))
        largest.append(features[:, 0].max())
        with h5py.File(place / "features" / f"b{bag}.h5", "w") as file:
            file["features"] = features
    x = np.array(largest)
    labels = {
        "bag": [f"b{bag}" for bag in range(40)],
        "fat": (x > 0.5).astype(int),
        "necrosis": [None if one > 2 else int(one > 1) for one in x],
        "dose": x.repeat(1),
        "number": np.arange(40) // 2 % 4,
        "grade": np.digitize(x, [0.2, 1.0]),
        "died": (x > -0.5).astype(int),
        "days": np.exp(-x),
        "word": np.array(["a", "b", "c"])[np.arange(40) // 2 % 3],
        "site": np.where(np.arange(40) < 20, "n", "s"),
        "patient": [f"p{bag // 2}" for bag in range(40)],
    }
    pd.DataFrame(labels).to_csv(place / "labels.csv", index=False)
    return place


def test_every_kind_is_validated(run, kind, folder, tmp_path):
    options, told = LABELLED[kind]
    source = [folder / "features", "--labels", folder / "labels.csv"]
    assert run("fit", *source, *options, "--jobs", 1, "--epochs", 1, "--out", tmp_path / "run").status == 0
    agree = kind in ("multi-label", "count", "ordinal", "three classes")
    beside = ["--by", "site", *(["--patient", "patient"] if agree else [])]
    results, _ = validated(run, tmp_path / "run", *source, *beside, "--out", tmp_path / "out")
    assert results["target"] == ("classes" if kind == "three classes" else kind)
    for level in results["levels"].values():
        assert level["metrics"]
        for one in [level, *level["subgroups"]["site"]["groups"]]:
            assert any(metric["value"] is not None for metric in one["metrics"].values())
    assert results["levels"]["bag"]["count"] == 40
    if agree:
        assert results["levels"]["patient"]["count"] == 20
    assert told in pd.read_csv(tmp_path / "out" / "predictions.csv").columns
    done = run("validate", tmp_path / "run", *source, "--by", "site", "--out", tmp_path / "again")  # and says it
    assert done.status == 0, done.told
    assert "By site" in done.out


def test_a_folder_needs_labels_and_is_recognised_where_it_was_learnt_from(run, folder, tmp_path):
    options, _ = LABELLED["three classes"]
    source = [folder / "features", "--labels", folder / "labels.csv"]
    assert run("fit", *source, *options, "--jobs", 1, "--epochs", 1, "--out", tmp_path / "run").status == 0
    assert validated(run, tmp_path / "run", *source, "--out", tmp_path / "same")[0]["learnt_from"]
    sentence = refused(run, tmp_path / "run", folder / "features", "--out", tmp_path / "out")
    assert sentence.endswith("is a folder: say with --labels which table has the label of each bag")


def test_predict_says_that_labels_are_not_used_and_what_uses_them(run, place):
    sentence = "Labels (column 'diagnosis') are not used: bagwise validate measures the run by them."
    cohort = changed(place, "plain.csv", lambda frame: frame.drop(columns=["site", "person"]))
    assert sentence in run("predict", place / "run", cohort).out
    done = run("predict", place / "run", cohort, "--json")
    assert sentence in done.told
    assert len(json.loads(done.out)) == 30
    blind = changed(place, "blind.csv", lambda frame: frame.drop(columns=["site", "person", "diagnosis"]))
    assert "Labels" not in run("predict", place / "run", blind).out


def test_patients_of_a_run_that_knows_patients_are_calibrated_and_decided_anew(run, tmp_path):
    rng, rows = np.random.default_rng(0), []
    for person in range(240):
        ill = rng.random() < 0.4
        rows += [
            (f"p{person}", f"{person}-{bag}", int(ill), rng.normal() + 1.5 * ill) for bag in (0, 1, 2) for _ in "ab"
        ]
    frame = pd.DataFrame(rows, columns=["person", "slide", "ill", "x"])
    first = frame["person"].str[1:].astype(int) < 120
    frame[first].to_csv(tmp_path / "learnt.csv", index=False)
    frame[~first].to_csv(tmp_path / "new.csv", index=False)
    fit = ["fit", tmp_path / "learnt.csv", "--bag", "slide", "--label", "ill", "--group", "person", "--jobs", 1]
    done = run(*fit, "--method", "miVLAD", "--calibrate", "auto", "--out", tmp_path / "run")
    assert done.status == 0, done.told
    argv = [tmp_path / "run", tmp_path / "new.csv", "--patient", "person", "--aggregate", "noisy-or"]
    results, _ = validated(run, *argv, "--out", tmp_path / "out")
    people = pd.read_csv(tmp_path / "out" / "patients.csv")
    bags = pd.read_csv(tmp_path / "out" / "predictions.csv")
    noisy = (1 - bags.groupby("patient")["probability_0"].prod()).loc[people["patient"]].to_numpy()
    true = people["label"].to_numpy()
    told = people["probability_1"].to_numpy()
    assert np.mean((told - true) ** 2) < np.mean((noisy - true) ** 2)
    assert ((people["predicted"] == 1) == (told > 0.5)).all()
    assert results["levels"]["patient"]["metrics"]["accuracy"]["value"] == (people["predicted"] == true).mean()
    notes = " ".join(results["notes"])
    assert "learnt anew of training patients: log-odds moved by -" in notes
    assert "A patient is called 1 where its probability is above 0.5." in notes
