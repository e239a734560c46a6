"""Which bags are tested, as the command line says it."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import LeaveOneGroupOut

import bagwise as bw

pytestmark = pytest.mark.usefixtures("undrawn")

COLUMNS = ["--bag", "patient", "--label", "diagnosis", "--instance", "cell", "--coordinate", "x", "--coordinate", "y"]
FAST = ["--method", "attention", "--method", "miVLAD", "--epochs", 2, "--jobs", 1, "--no-baseline"]


@pytest.fixture(scope="module")
def table(tmp_path_factory, cells):
    """Write tables of 24 patients, each with some of the columns that divide them."""
    folder = tmp_path_factory.mktemp("cells")
    frame = cells(24)
    patients = frame["patient"].unique()
    more = {
        "year": dict(zip(patients, 2010 + np.arange(24) // 4, strict=True)),
        "site": dict(zip(patients, [f"S{number // 3}" for number in range(24)], strict=True)),
        "part": dict(zip(patients, [*["train"] * 14, *["Validation"] * 4, *["test"] * 6], strict=True)),
    }
    for name, kept in {"cells": [], "clinics": ["clinic"], "years": ["year"], "parts": ["part"]}.items():
        columns = {column: frame["patient"].map(more[column]) for column in kept if column in more}
        dropped = [] if "clinic" in kept else ["clinic"]
        frame.drop(columns=dropped).assign(**columns).to_csv(folder / f"{name}.csv", index=False)
    frame.assign(site=frame["patient"].map(more["site"])).to_csv(folder / "sites.csv", index=False)
    return folder


def evaluate(run, table, out, *argv, data="cells.csv", fast=FAST):
    done = run("evaluate", table / data, *COLUMNS, *fast, *argv, "--out", out, "--json")
    assert done.status == 0, done.told
    return json.loads(done.out), pd.read_csv(out / "predictions.csv", dtype={"bag": str})


def answers(frame):
    return frame.drop(columns="method").to_numpy().tolist()


def scores(results):
    return [(row["method"], row["metric"], row["mean"], row["sd_folds"]) for row in results["rows"]]


# ---- folds that are written can be given again -----------------------------------------------------------------------


def test_the_folds_that_were_used_give_the_same_numbers(run, table, tmp_path):
    first, said = evaluate(run, table, tmp_path / "first", "--folds", 3, "--repeats", 2, "--seed", 5)
    assert list(pd.read_csv(tmp_path / "first" / "folds.csv")) == ["bag", "fold", "repeat"]
    argv = ["--folds", tmp_path / "first" / "folds.csv", "--seed", 5]
    again, said_again = evaluate(run, table, tmp_path / "again", *argv)
    assert answers(said) == answers(said_again)
    assert scores(first) == scores(again)
    assert [row["p_value"] for row in first["differences"]] == [row["p_value"] for row in again["differences"]]
    assert (first["rows"][0]["protocol"], again["rows"][0]["protocol"]) == ("default", "given")
    told = [(tmp_path / folder / "folds.csv").read_text() for folder in ("first", "again")]
    assert told[0] == told[1]
    done = run(
        "evaluate", table / "cells.csv", *COLUMNS, *FAST, *argv, "--out", tmp_path / "again", "--resume", "--json"
    )
    assert json.loads(done.out) == again


def test_folds_with_parts_do_so_too(run, table, tmp_path):
    rng = np.random.default_rng(0)
    names = pd.read_csv(table / "cells.csv")["patient"].unique()
    rows = []
    for fold in range(3):  # tests overlap, and some bags take no part
        order = rng.permutation(names)
        parts = dict(zip(order, [*["train"] * 10, *["val"] * 4, *["test"] * 6], strict=False))
        rows += [{"bag": name, "fold": fold, "repeat": fold, "part": part} for name, part in parts.items()]
    pd.DataFrame(rows).to_csv(tmp_path / "given.csv", index=False)
    first, said = evaluate(run, table, tmp_path / "first", "--folds", tmp_path / "given.csv", "--patience", 1)
    assert len(said) == 2 * 18
    again, said_again = evaluate(
        run, table, tmp_path / "again", "--folds", tmp_path / "first" / "folds.csv", "--patience", 1
    )
    assert answers(said) == answers(said_again)
    assert scores(first) == scores(again)
    assert "chosen on the 4 bags for validation" in first["epochs_were"]


# ---- ways to divide --------------------------------------------------------------------------------------------------

MIVLAD = ["--method", "miVLAD", "--jobs", 1, "--no-baseline"]


def test_one_group_after_the_other(run, table, tmp_path):
    argv = ["--folds", "group", "--group", "clinic"]
    results, said = evaluate(run, table, tmp_path / "cv", *argv, data="clinics.csv", fast=MIVLAD)
    assert results["rows"][0]["protocol"] == "leave-one-group-out"
    for fold, (_, test) in enumerate(LeaveOneGroupOut().split(said, said["label"], said["group"])):
        assert (said["fold"].to_numpy()[test] == fold).all()
    assert len(said) == 24
    assert "each group is tested by what was learnt from all others" in (tmp_path / "cv" / "report.html").read_text()


def test_tests_lie_after_training_and_the_first_are_never_tested(run, table, tmp_path):
    argv = ["--folds-by", "year", "--folds", 2]
    results, said = evaluate(run, table, tmp_path / "cv", *argv, data="years.csv", fast=MIVLAD)
    frame = pd.read_csv(table / "years.csv").groupby("patient")["year"].first()
    folds = pd.read_csv(tmp_path / "cv" / "folds.csv")
    for _, fold in folds.groupby("fold"):
        of = {part: frame[rows["bag"]] for part, rows in fold.groupby("part")}
        assert of["train"].max() < of["test"].min()
    assert (results["never_tested"], len(said)) == (8, 16)
    assert not set(said["bag"]) & set(frame.index[frame <= 2011])
    assert "8 of the 24 bags are in no test" in (tmp_path / "cv" / "report.html").read_text()


def test_a_column_of_train_val_and_test(run, table, tmp_path):
    argv = ["--split", "part"]
    results, said = evaluate(run, table, tmp_path / "cv", *argv, data="parts.csv")
    assert sorted(said["bag"].unique()) == [f"P{number:03}" for number in range(18, 24)]
    assert results["epochs_were"] == "fixed in advance; the 4 bags for validation decided nothing"
    stopped, _ = evaluate(run, table, tmp_path / "stopped", *argv, "--patience", 1, data="parts.csv")
    assert "chosen on the 4 bags for validation, which were not learnt from" in stopped["epochs_were"]
    done = run("evaluate", table / "parts.csv", *COLUMNS, *argv, *MIVLAD, "--out", tmp_path / "told")
    assert "1 x 1 fold, protocol given" in done.out
    assert "18 of the 24 bags are in no test" in done.out


def test_fit_learns_from_train_stops_by_val_and_leaves_test_out(run, table, tmp_path):
    argv = [*COLUMNS, "--split", "part", "--epochs", 4, "--patience", 1, "--out", tmp_path / "run", "--json"]
    done = run("fit", table / "parts.csv", *argv)
    assert done.status == 0, done.told
    metrics = json.loads(done.out)
    assert (metrics["bags"], metrics["validation_bags"], metrics["bags_left_out"]) == (14, 4, 6)
    assert "validation_loss" in metrics
    bags = bw.read_table(table / "cells.csv", bag="patient", label="diagnosis", instance="cell", coordinates=["x", "y"])
    model = bw.AttentionMIL(epochs=4, patience=1, class_weight="balanced", random_state=0)
    model.fit(bags[:18], validation=np.arange(14, 18))
    expected = model.predict_proba(bags)
    said = json.loads(run("predict", tmp_path / "run", table / "parts.csv", "--json").out)
    np.testing.assert_allclose([row["probability_ill"] for row in said], expected[:, 1], atol=1e-9)


def test_bags_that_share_a_clinic_or_a_site_are_never_on_both_sides(run, table, tmp_path):
    argv = ["--group", "clinic", "--group", "site", "--folds", 3]
    results, said = evaluate(run, table, tmp_path / "cv", *argv, data="sites.csv", fast=MIVLAD)
    assert results["rows"][0]["protocol"] == "grouped"
    frame = pd.read_csv(table / "sites.csv").groupby("patient")[["clinic", "site"]].first()
    fold = said.set_index("bag")["fold"]
    for column in ("clinic", "site"):
        assert (fold.groupby(frame[column]).nunique() == 1).all()
    assert json.loads(run("check", table / "sites.csv", *COLUMNS, *argv[:4], "--json").out)["groups"] == 4
    argv = [*COLUMNS, *argv[:4], "--epochs", 1, "--out", tmp_path / "run"]
    assert run("fit", table / "sites.csv", *argv).status == 0
    assert run("predict", tmp_path / "run", table / "sites.csv").status == 0


def test_several_files_of_clam_are_several_folds(run, slides, tmp_path):
    slides(tmp_path)
    names = pd.read_csv(tmp_path / "labels.csv")["bag"].tolist()
    for number in range(2):
        order = names[number * 2 :] + names[: number * 2]
        parts = {"train": order[:7], "val": order[7:9], "test": order[9:]}
        pd.DataFrame({part: pd.Series(of) for part, of in parts.items()}).to_csv(tmp_path / f"splits_{number}.csv")
        pd.DataFrame({"of": ["no", "split"]}).to_csv(tmp_path / f"splits_{number}_descriptor.csv")
    argv = ["evaluate", tmp_path / "slides", "--labels", tmp_path / "labels.csv", *MIVLAD, "--json"]
    done = run(*argv, "--folds", tmp_path, "--out", tmp_path / "cv")
    assert done.status == 0, done.told
    said = pd.read_csv(tmp_path / "cv" / "predictions.csv")
    for number, (_, of) in enumerate(said.groupby(["repeat", "fold"])):
        order = names[number * 2 :] + names[: number * 2]
        assert sorted(of["bag"]) == sorted(order[9:])
    done = run(*argv, "--folds", tmp_path / "splits_0.csv", "--out", tmp_path / "one")
    assert done.status == 0, done.told


def test_a_column_of_the_table_of_labels_divides_a_folder(run, slides, tmp_path):
    slides(tmp_path)
    labels = pd.read_csv(tmp_path / "labels.csv")
    parts = [*["train"] * 6, *["val"] * 2, *["test"] * 3, None]
    labels.assign(part=parts).to_csv(tmp_path / "labels.csv", index=False)
    argv = [tmp_path / "slides", "--labels", tmp_path / "labels.csv", "--split", "part", "--epochs", 2, "--jobs", 1]
    done = run("evaluate", "--no-baseline", *argv, "--out", tmp_path / "cv", "--json")
    assert done.status == 0, done.told
    assert pd.read_csv(tmp_path / "cv" / "predictions.csv")["bag"].tolist() == labels["bag"].tolist()[8:11]
    assert json.loads(done.out)["never_tested"] == 9
    assert "1 bag has nothing in column 'part' and is left out ('TCGA-11.v1')" in done.told
    done = run("fit", *argv, "--out", tmp_path / "run", "--json")
    assert done.status == 0, done.told
    metrics = json.loads(done.out)
    assert (metrics["bags"], metrics["validation_bags"], metrics["bags_left_out"]) == (6, 2, 4)


# ---- what is refused -------------------------------------------------------------------------------------------------

GOOD = [f"P{number:03},{number % 4 // 2}" for number in range(24)]


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (["bag,fold", *GOOD, "X,1"], "in row 26 bag 'X' is not in the data"),
        (["bag,fold", *GOOD[:-1]], "bag 'P023' has no fold: give it one, or -1"),
        (["bag,fold", *GOOD, GOOD[3]], "in row 26 bag 'P003' stands a second time, as in row 5: leave one"),
        (["bag,fold", *GOOD[:-1], "P023,two"], "in row 25 the fold is 'two': folds are whole numbers from 0 on, or -1"),
        (["bag,fold", *GOOD[:-1], "P023,"], "in row 25 there is no fold"),
        (["bag,fold", *GOOD[:-1], ",1"], "in row 25 there is no bag"),
        (["bag,fold,repeat", *(f"{line},0" for line in GOOD[:-1]), "P023,1,-3"], "in row 25 the repeat is '-3'"),
        (["bag,fold", *(f"P{number:03},{number % 2}" for number in range(24))], "fold 0 learns from bags of class ill"),
        (["bag,fold", *(f"P{number:03},0" for number in range(24))], "folds.csv: fold 0 learns from no bag"),
        (["bag,fold,part", "P000,0,train", "P001,0,trial"], "in row 3 the part is 'trial': it must be train, val or"),
        (["bag,fold,part", "P000,0,train", "P000,0,test"], "in row 3 bag 'P000' stands a second time, as in row 2, in"),
        (["bag,part", "P000,train"], "holds no folds: it needs the columns bag and fold"),
        (["train,val,test", "P000,P001,P000"], "fold 0 learns from and tests bag 'P000'"),
        (["train,test", "P000,P001", "P002,P001"], "in row 3 bag 'P001' is listed a second time in 'test'"),
        (["train,val", "P000,P001"], "there is no column 'test'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_file_of_folds_that_will_not_do_is_refused_in_a_sentence(run, table, tmp_path, lines, sentence):
    (tmp_path / "folds.csv").write_text("\n".join(lines) + "\n")
    argv = [*COLUMNS, *MIVLAD, "--folds", tmp_path / "folds.csv", "--out", tmp_path / "cv"]
    done = run("evaluate", table / "cells.csv", *argv)
    assert done.status == 1
    assert sentence in done.told
    assert not (tmp_path / "cv" / "results.json").exists()


@pytest.mark.parametrize(
    ("data", "argv", "sentence"),
    [
        ("cells", ["--folds", "nowhere.csv"], "there is no file nowhere.csv to read folds from"),
        ("cells", ["--folds", "group"], "say with --group which column it is"),
        ("cells", ["--folds", "."], "holds no splits_0.csv"),
        ("cells", ["--folds", "-3"], "1 x -3 folds is too few"),
        ("clinics", ["--folds", "group", "--group", "clinic", "--repeats", 2], "leave it out"),
        ("parts", ["--split", "part", "--folds", "group"], "--split and --folds group both say which bags are tested"),
        ("parts", ["--split", "diagnosis"], "column 'diagnosis' is given 2 uses"),
        ("cells", ["--split", "shape"], "column 'shape' differs within bag"),
        ("clinics", ["--split", "clinic"], "column 'clinic' says 'C0' of bag 'P000': it must be train, val or test"),
        (
            "clinics",
            ["--folds-by", "clinic"],
            "column 'clinic' says 'C0' of bag 'P000': it must hold numbers alone, or",
        ),
        ("years", ["--folds-by", "year"], "there are 6 different times, too few for 10 folds"),
        ("years", ["--folds-by", "yeer"], "there is no column 'yeer' in row 1: did you mean 'year'?"),
    ],
)
def test_options_that_will_not_do_are_refused_in_a_sentence(run, table, tmp_path, data, argv, sentence):
    done = run("evaluate", table / f"{data}.csv", *COLUMNS, *MIVLAD, *argv, "--out", tmp_path / "cv")
    assert done.status == 1
    assert sentence in done.told
