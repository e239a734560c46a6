import json

import h5py
import numpy as np
import pandas as pd
import pytest

from bagwise import BagwiseError
from bagwise.commands.check import examine
from bagwise.commands.data import DataSource

COLUMNS = {"bag": "patient", "label": "diagnosis", "instance": "cell", "coordinates": ("x", "y")}


@pytest.fixture
def checked(cells, tmp_path):
    """Examine a table after a change."""

    def check(change, patients=24, **columns):
        frame = change(cells(patients).drop(columns="clinic"))
        frame.to_csv(tmp_path / "cells.csv", index=False)
        return examine(DataSource(str(tmp_path / "cells.csv"), **{**COLUMNS, **columns}))

    return check


def codes(found):
    return {problem.code for problem in found.problems}


def test_good_data_have_no_problems(checked, cells):
    found = checked(lambda frame: frame)
    frame = cells()
    assert not found.problems
    assert not found.fails
    told = found.as_dict()
    assert told["bags"] == 24
    assert told["instances"] == len(frame)
    assert told["features"] == 3
    assert told["labels"] == {"healthy": 12, "ill": 12}
    sizes = frame.groupby("patient").size()
    assert told["bag_sizes"] == {"smallest": sizes.min(), "median": sizes.median(), "largest": sizes.max()}
    values = frame[["size", "marker", "shape"]].to_numpy()
    assert told["range"] == [pytest.approx(values.min()), pytest.approx(values.max())]
    assert told["epoch_seconds"] > 0
    assert told["memory_bytes"] > 0
    json.dumps(told, allow_nan=False)


def emptied(column, rows):
    def change(frame):
        frame[column] = frame[column].astype(object)
        frame.loc[rows, column] = None
        return frame

    return change


def with_copy_of_bag(name, label):
    def change(frame):
        copy = frame[frame["patient"] == "P001"].assign(patient=name, diagnosis=label).iloc[::-1]
        return pd.concat([frame, copy])

    return change


@pytest.mark.parametrize(
    ("change", "code", "fails", "named"),
    [
        (lambda f: f.assign(const=1.5), "constant-column", False, "const"),
        (lambda f: f.assign(copy=f["marker"]), "duplicate-column", False, "copy"),
        (lambda f: f.assign(marker=f["marker"].where(f.index != 5, np.inf)), "nan", True, "marker"),
        (lambda f: f.assign(note=np.where(f.index == 3, "tall", "2")), "not-numeric", True, "row 5 holds 'tall'"),
        (lambda f: f.assign(note="tall"), "left-out", False, "note"),
        (emptied("patient", [2]), "gap-in-bag", True, "row 4"),
        (emptied("diagnosis", slice(0, 20)), "missing-label", True, "P000"),
        (
            lambda f: f.assign(diagnosis=f.diagnosis.where(f.patient != "P003")),
            "missing-label",
            False,
            "left out ('P003')",
        ),
        (
            lambda f: f.assign(diagnosis=f.diagnosis.where(f.patient != "P003", "Ill")),
            "labels-differ-by-case",
            False,
            "Ill",
        ),
        (lambda f: f.assign(diagnosis=np.where(f.index == 0, "ill", f.diagnosis)), "label-not-constant", True, "P000"),
        (lambda f: f.assign(diagnosis="ill"), "one-class", True, "ill"),
        (lambda f: f[f["patient"] == "P001"], "too-few-bags", True, "only 1 bag:"),
        (lambda f: f[f["patient"].isin(["P000", "P001", "P002"])], "rare-class", False, "class healthy"),
        (with_copy_of_bag("copy", "ill"), "duplicate-bags", False, "P001 and copy"),
        (with_copy_of_bag("copy", "healthy"), "duplicate-bags-across-labels", False, "P001 and copy"),
        (lambda f: pd.concat([f, f.head(1)]), "duplicate-instances", False, "1 of"),
    ],
)
def test_what_is_wrong_is_said(checked, change, code, fails, named):
    found = checked(change)
    assert code in codes(found)
    assert found.fails == fails
    sentence = next(problem.sentence for problem in found.problems if problem.code == code)
    assert named in sentence
    assert "\n" not in sentence
    json.dumps(found.as_dict(), allow_nan=False)


def test_several_faults_are_said_at_once(checked):
    found = checked(lambda f: f.assign(marker=np.inf, note="1,5", const=0, copy=f["size"], words="tall"))
    assert codes(found) >= {"nan", "left-out", "constant-column", "duplicate-column"}
    assert [problem.severity for problem in found.problems] == sorted(problem.severity for problem in found.problems)


def test_what_columns_hold_is_said(cells, tmp_path, run):
    frame = cells().drop(columns="clinic").assign(stain=lambda f: np.where(f.index % 3, "red", "blue"))
    many = pd.DataFrame({f"f{n}": np.linspace(0, n + 1, len(frame)) for n in range(20)})
    pd.concat([emptied("stain", [0])(frame), many], axis=1).to_csv(tmp_path / "cells.csv", index=False)
    columns = ["--bag", "patient", "--label", "diagnosis", "--instance", "cell", "--drop", "x,y"]
    told = json.loads(run("check", tmp_path / "cells.csv", *columns, "--json").out)["columns"]
    assert list(told) == ["size", "marker", "shape", "stain", *many]
    assert (told["stain"]["kind"], told["stain"]["examples"]) == ("category", ["red", "blue"])
    assert told["stain"]["missing"] == 1 / len(frame)
    out = run("check", tmp_path / "cells.csv", *columns).out
    assert "size and 22 more" in out
    assert "stain" in out


def test_a_bag_in_two_groups_is_a_leak(cells, tmp_path):
    frame = cells()
    copy = frame[frame["patient"] == "P001"].assign(patient="copy", clinic="C9")
    pd.concat([frame, copy]).to_csv(tmp_path / "cells.csv", index=False)
    found = examine(DataSource(str(tmp_path / "cells.csv"), **COLUMNS, group="clinic"))
    assert "duplicate-bags-across-groups" in codes(found)


@pytest.mark.usefixtures("undrawn")
def test_folds_are_divided_as_evaluate_will(cells, tmp_path, run):
    """Of twelve clinics only three have ill patients, so that most of ten folds have none."""
    frame = cells()
    number = frame["patient"].str[1:].astype(int)
    frame["clinic"] = np.where(number % 2, "C" + (number % 3).astype(str), "H" + (number % 9).astype(str))
    frame.to_csv(tmp_path / "cells.csv", index=False)
    found = examine(DataSource(str(tmp_path / "cells.csv"), **COLUMNS, group="clinic"))
    (told,) = [problem for problem in found.problems if problem.code == "folds-untested"]
    assert "of 10 folds 8 would have no test bag of a class" in told.sentence
    assert "--folds 3" in told.sentence
    assert not found.fails
    argv = ["--bag", "patient", "--label", "diagnosis", "--group", "clinic", "--instance", "cell"]
    argv += ["--method", "miVLAD", "--no-baseline"]
    done = run("evaluate", tmp_path / "cells.csv", *argv, "--out", tmp_path / "cv")
    assert done.status == 0, done.told
    assert "(2 of 10 folds)" in done.out
    assert "2 of 10 folds" in (tmp_path / "cv" / "report.html").read_text()
    rows = json.loads((tmp_path / "cv" / "results.json").read_text())["rows"]
    assert {row["metric"]: row["folds_defined"] for row in rows}["auc"] == 2


def test_a_class_in_one_group_cannot_be_learnt_and_tested(cells, tmp_path):
    frame = cells()
    number = frame["patient"].str[1:].astype(int)
    frame["clinic"] = np.where(number % 2, "C", "H" + number.astype(str))
    frame.to_csv(tmp_path / "cells.csv", index=False)
    found = examine(DataSource(str(tmp_path / "cells.csv"), **COLUMNS, group="clinic"))
    assert {"folds-untaught", "folds-untested"} <= codes(found)


def test_labels_in_a_file_of_their_own(cells, tmp_path):
    frame = cells().drop(columns="clinic")
    frame.drop(columns="diagnosis").to_csv(tmp_path / "cells.csv", index=False)
    labels = frame.drop_duplicates("patient")[["patient", "diagnosis"]]
    source = DataSource(str(tmp_path / "cells.csv"), **COLUMNS, labels=tmp_path / "labels.csv")
    labels.to_csv(tmp_path / "labels.csv", index=False)
    assert not examine(source).problems
    pd.concat([labels[1:], pd.DataFrame({"patient": ["P999"], "diagnosis": ["ill"]})]).to_csv(
        tmp_path / "labels.csv", index=False
    )
    found = examine(source)
    assert {"labels-without-features", "features-without-labels"} <= codes(found)
    assert found.fails
    assert found.numbers["bags"] == 23


# ---- folders ---------------------------------------------------------------------------------------------------------


def rewrite(path, **datasets):
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file[name] = values


def test_a_good_folder_has_no_problems(slides, tmp_path):
    folder, labels = slides(tmp_path, count=24)
    found = examine(DataSource(str(folder), labels=labels))
    assert not found.problems
    assert found.numbers["features"] == 6


def test_rows_without_a_file_are_an_error_unless_they_are_to_be_left_out(slides, tmp_path):
    folder, labels = slides(tmp_path, count=24)
    (folder / "TCGA-03.v1.h5").unlink()
    found = examine(DataSource(str(folder), labels=labels))
    assert found.fails
    (problem,) = found.problems
    assert problem.sentence.endswith("or leave such rows out with --skip-missing")
    found = examine(DataSource(str(folder), labels=labels, skip_missing=True))
    assert not found.fails
    (problem,) = found.problems
    assert problem.sentence.endswith(f"1 bag has no feature file in {folder} ('TCGA-03.v1') and is left out")


def test_all_faults_of_a_folder_are_said(slides, tmp_path):
    folder, labels = slides(tmp_path, count=24)
    (folder / "TCGA-00.v1.h5").unlink()
    (folder / "TCGA-01.v1.h5").write_bytes(b"")
    rewrite(folder / "TCGA-02.v1.h5", features=np.ones((3, 5)))
    rewrite(folder / "TCGA-03.v1.h5", wrong=np.ones((3, 6)))
    rewrite(folder / "TCGA-04.v1.h5", features=np.full((3, 6), np.nan))
    rewrite(folder / "stray.h5", features=np.ones((3, 6)))
    found = examine(DataSource(str(folder), labels=labels))
    assert codes(found) >= {
        "labels-without-features",
        "features-without-labels",
        "unreadable",
        "mixed-widths",
        "nan",
    }
    sentences = " ".join(problem.sentence for problem in found.problems)
    for name in ("TCGA-00.v1", "TCGA-01.v1", "TCGA-02.v1", "TCGA-03.v1", "TCGA-04.v1", "stray"):
        assert name in sentences
    json.dumps(found.as_dict(), allow_nan=False)


def test_what_cannot_be_looked_at_is_refused(tmp_path, cells):
    cells().to_csv(tmp_path / "cells.csv", index=False)
    with pytest.raises(BagwiseError, match="needs --bag and --label"):
        examine(DataSource(str(tmp_path / "cells.csv")))
    with pytest.raises(BagwiseError, match="no column 'nobody'"):
        examine(DataSource(str(tmp_path / "cells.csv"), bag="nobody", label="diagnosis"))
    with pytest.raises(BagwiseError, match="--labels"):
        examine(DataSource(str(tmp_path)))


def test_the_status_says_whether_training_would_fail(cells, tmp_path, run):
    argv = ["check", tmp_path / "cells.csv", "--bag", "patient", "--label", "diagnosis", "--instance", "cell"]
    frame = cells().drop(columns="clinic")
    frame.to_csv(tmp_path / "cells.csv", index=False)
    done = run(*argv)
    assert done.status == 0
    assert "Nothing is wrong" in done.out
    frame.assign(diagnosis="ill").to_csv(tmp_path / "cells.csv", index=False)
    done = run(*argv)
    assert done.status == 1
    assert "error: all bags have the label ill" in done.out
    assert json.loads(run(*argv, "--json").out)["fails"]


def test_a_data_set_by_name_is_examined(data_directory):
    found = examine(DataSource("fox", data_dir=data_directory))
    assert codes(found) == {"constant-column", "duplicate-column"}
    assert found.numbers["instances"] == 1320
