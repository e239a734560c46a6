"""Labels and groups are the same at every door: in a table, beside a table, beside a folder, and for `check`."""

from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import bagwise as bw
from bagwise import BagwiseError, BagwiseWarning, inputs
from bagwise.commands.check import examine
from bagwise.commands.data import DataSource
from bagwise.commands.known import find_known
from bagwise.io.labels import known_labels
from bagwise.label_columns import LabelColumns
from bagwise.targets.classes import ClassTarget

SHAPES = ["bags.csv", "bags.tsv", "bags.csv.gz", "bags.tsv.zst", "semicolons.csv", "bags.parquet"]


def write(path: Path, rows: list[tuple[str, ...]]) -> Path:
    """Write rows of texts, the first of them the header, as the path's name says."""
    separator = ";" if path.name == "semicolons.csv" else "\t" if ".tsv" in path.name else ","
    text = "".join(separator.join(row) + "\n" for row in rows)
    if path.suffix == ".parquet":
        frame = pd.DataFrame(rows[1:], columns=list(rows[0]))
        (frame.astype({"x": float}) if "x" in frame else frame).to_parquet(path)
    elif path.suffix in (".gz", ".zst"):
        with pa.CompressedOutputStream(str(path), "gzip" if path.suffix == ".gz" else "zstd") as stream:
            stream.write(text.encode())
    else:
        path.write_text(text)
    return path


@pytest.fixture
def doors(tmp_path):
    """Read bags through each door; of an error its sentence."""

    def read(rows, name="bags.csv", **options):
        header, *below = rows
        bags = sorted({row[0].strip() for row in below})
        (tmp_path / "folder").mkdir(exist_ok=True)
        for bag in bags:
            np.save(tmp_path / "folder" / f"{bag}.npy", np.ones((2, 1)))
        sheet = write(tmp_path / name, rows)
        inside = write(tmp_path / f"in-{name}", [(*header, "x"), *((*row, "1.5") for row in below)])
        beside = write(tmp_path / "beside.csv", [(header[0], "x"), *((bag, "1.5") for bag in bags)])
        return {
            "in a table": lambda: bw.read_table(inside, bag="bag", label="label", **options),
            "beside a table": lambda: bw.read_table(beside, bag="bag", label="label", labels=sheet, **options),
            "beside a folder": lambda: bw.read_folder(tmp_path / "folder", sheet, **options),
        }

    return read


def sentence(call):
    with pytest.raises(BagwiseError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value).split(": ", 1)[1]


@pytest.mark.parametrize("name", SHAPES)
def test_all_doors_take_all_kinds_of_table(doors, name):
    rows = [("bag", "label", "group"), ("a", "ill", "007"), ("b", "well", "7"), ("c", "ill", "7")]
    for call in doors(rows, name, group="group").values():
        bags = call()
        assert dict(zip(bags.names, bags.labels, strict=True)) == {"a": "ill", "b": "well", "c": "ill"}
        assert dict(zip(bags.names, bags.groups, strict=True)) == {"a": "007", "b": "7", "c": "7"}


@pytest.mark.parametrize(
    ("texts", "labels"),
    [
        (["0", "0.0", "1"], [0, 0, 1]),
        (["1", "2", "3"], [1, 2, 3]),
        (["0.5", "1", "2"], [0.5, 1.0, 2.0]),
        (["true", "FALSE", "True"], [True, False, True]),
        (["01", "1", "2"], ["01", "1", "2"]),
        (["none", "None ", "one"], ["none", "None", "one"]),
        ([" ill", "ill", "well"], ["ill", "ill", "well"]),
    ],
    ids=repr,
)
@pytest.mark.filterwarnings("ignore::bagwise.BagwiseWarning")
def test_labels_mean_the_same_at_every_door(doors, texts, labels):
    for call in doors([("bag", "label"), *zip("abc", texts, strict=True)]).values():
        bags = call()
        assert bags.labels.tolist() == labels
        assert {type(label) for label in bags.labels.tolist()} == {type(label) for label in labels}


@pytest.mark.parametrize("word", ["", "NA", "n/a", "NaN", "NULL", " na "])
@pytest.mark.parametrize("name", ["bags.csv", "bags.parquet"])
def test_bags_without_a_label_are_left_out_with_a_count(doors, word, name):
    for door, call in doors([("bag", "label"), ("a", "x"), ("b", word), ("c", "y")], name).items():
        with pytest.warns(BagwiseWarning, match=r"1 bag has no label and is left out \('b'\)"):
            bags = call()
        assert bags.names.tolist() == ["a", "c"], door
        assert bags.labels.tolist() == ["x", "y"]


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([("a", "1", "g"), ("b", "0", "g"), ("c", "yes", "g")], "mixes numbers and text: '1' in row 2, 'yes' in row 4"),
        ([("a", "", "g"), ("b", "NA", "g")], "column 'label' is empty in row 2 and in all others"),
        ([("a", "x", "g"), ("b", "y", "g"), ("a", "", "g")], "within bag 'a': x in row 2, nothing in row 4"),
        ([("a", "x", "g"), ("b", "y", "NA")], "column 'group' is empty in row 3: bag 'b' has no group"),
        ([("a", "x", "g"), ("b", "y", "h"), ("b", "y", "g")], "within bag 'b': h in row 3, g in row 4"),
    ],
)
def test_faults_are_refused_in_the_same_words_at_every_door(doors, rows, says):
    told = {sentence(call) for call in doors([("bag", "label", "group"), *rows], group="group").values()}
    assert len(told) == 1
    assert says in told.pop()


def test_white_space_is_left_out_and_said(doors):
    rows = [("bag", " label", "group "), ("a ", " x", "g"), (" b", "y", "h "), ("c", "x", "g")]
    for call in doors(rows, group="group").values():
        with pytest.warns(BagwiseWarning, match="white space around 2 names of columns, 2 values of column 'bag', 1"):
            bags = call()
        assert bags.names.tolist() == ["a", "b", "c"]
        assert bags.labels.tolist() == ["x", "y", "x"]
        assert bags.groups.tolist() == ["g", "h", "g"]


def test_labels_and_groups_that_differ_by_case_are_pointed_out(doors):
    rows = [("bag", "label", "group"), ("a", "Tumour", "P1"), ("b", "tumour", "p1"), ("c", "normal", "P2")]
    for call in doors(rows, group="group").values():
        with pytest.warns(BagwiseWarning) as told:
            assert len(np.unique(call().labels)) == 3
        sentences = " ".join(str(one.message) for one in told)
        assert "labels 'Tumour' and 'tumour' of column 'label' differ by case alone" in sentences
        assert "groups 'P1' and 'p1' of column 'group' differ by case alone" in sentences


@pytest.mark.parametrize(
    ("rows", "codes"),
    [
        ([("a", "1", "g"), ("b", "yes", "g")], {"unusable-label"}),
        ([("a", "x", "g"), ("b", "", "g"), ("c", "y", "h"), ("d", " x", "h")], {"missing-label", "white-space"}),
        ([("a", "x", "g"), ("b", "X", "g"), ("a", "y", "h")], {"labels-differ-by-case", "label-not-constant"}),
        ([("a", "x", ""), ("b", "y", "g")], {"missing-group"}),
    ],
)
def test_check_says_all_of_it(tmp_path, rows, codes):
    table = [(*row, str(number)) for number, row in enumerate(rows)]
    path = write(tmp_path / "t.csv", [("bag", "label", "group", "x"), *table])
    found = examine(DataSource(str(path), bag="bag", label="label", group="group"))
    assert codes <= {problem.code for problem in found.problems}


# ---- labels of a later table -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("texts", "classes", "meant"),
    [
        (["True", "false"], [0, 1], ["1", "0"]),
        (["1.0", "0"], [0, 1], ["1", "0"]),
        (["1", "0.0"], [False, True], ["True", "False"]),
        (["Tumour ", "NORMAL"], ["normal", "tumour"], ["tumour", "normal"]),
        (["Tumour", "tumour"], ["Tumour", "tumour"], ["Tumour", "tumour"]),
        (["NA", "x"], ["x", "y"], [None, "x"]),
    ],
)
@pytest.mark.filterwarnings("ignore:.*white space")
def test_what_is_unmistakable_is_taken_for_the_class_that_it_means(tmp_path, texts, classes, meant, recwarn):
    path = write(tmp_path / "t.csv", [("bag", "label", "x"), *((b, t, "1") for b, t in zip("ab", texts, strict=True))])
    source = DataSource(str(path), bag="bag", label="label")
    known = find_known(source, ["a", "b"], ClassTarget.of(classes))
    assert known.bags.tolist() == [place for place, one in enumerate(meant) if one is not None]
    assert [str(label) for label in known.labels] == [one for one in meant if one is not None]
    others = [text for text, one in zip(texts, meant, strict=True) if one is not None and text.strip() != one]
    told = [str(one.message) for one in recwarn if "is taken for" in str(one.message)]
    assert len(told) == bool(others)
    assert all(f"{text.strip()} is taken for" in told[0] for text in others)


@pytest.mark.parametrize(
    ("texts", "classes", "says"),
    [
        (["unsure", "x"], ["x", "y"], r"the label 'unsure' of bag 'a' is none of the classes of the run \(x, y\)"),
        (["TUMOUR", "tumour"], ["Tumour", "tumour"], "the label 'TUMOUR' of bag 'a' may be either of"),
        (["yes", "no"], [0, 1], "'yes' of bag 'a' is none of"),
        (["1", "2"], [0, 1], "'2' of bag 'b' is none of"),
    ],
)
def test_other_labels_are_refused(tmp_path, texts, classes, says):
    path = write(tmp_path / "t.csv", [("bag", "label", "x"), *((b, t, "1") for b, t in zip("ab", texts, strict=True))])
    with pytest.raises(BagwiseError, match=says):
        find_known(DataSource(str(path), bag="bag", label="label"), ["a", "b"], ClassTarget.of(classes))


def test_labels_that_are_not_known_are_none(tmp_path):
    path = write(tmp_path / "t.csv", [("bag", "label", "x"), ("a", "", "1")])
    assert known_labels(path, "bag", LabelColumns(("label",))) == {}
    assert known_labels(path, "bag", LabelColumns(("diagnosis",))) == {}


# ---- large and hostile -----------------------------------------------------------------------------------------------


def test_a_table_of_labels_may_have_many_other_columns(tmp_path):
    names = [f"c{number}" for number in range(30_000)]
    cells = [str(number) for number in range(30_000)]
    rows = [("bag", "label", *names), ("a", "x", *cells), ("b", "y", *cells)]
    np.save(tmp_path / "a.npy", np.ones((2, 1)))
    np.save(tmp_path / "b.npy", np.ones((2, 1)))
    assert bw.read_folder(tmp_path, write(tmp_path / "labels.csv", rows)).labels.tolist() == ["x", "y"]


def declared_larger(path: Path, kind: str) -> Path:
    """Write some kilobytes that are two megabytes or more in memory."""
    if kind == "csv":
        path.write_text("bag,x,y\n" + "a,1,1\n" * 100_000)
    elif kind == "parquet":
        zeros = pa.array(np.zeros(100_000, np.int8))
        pq.write_table(pa.table({"bag": zeros, "x": zeros, "y": zeros}), path)
    else:
        with pa.CompressedOutputStream(str(path), {"gz": "gzip", "zst": "zstd"}[kind]) as stream:
            stream.write(b"bag,x,y\n" + b"a,1,1\n" * 400_000)
    return path


@pytest.mark.parametrize("kind", ["csv", "parquet", "gz", "zst"])
def test_what_would_fill_memory_is_refused_before_it_is_read(tmp_path, monkeypatch, kind):
    path = declared_larger(tmp_path / ("t.csv." + kind if kind in ("gz", "zst") else f"t.{kind}"), kind)
    bw.read_table(path, bag="bag")
    monkeypatch.setattr(inputs, "_SHARE_OF_MEMORY", 1.5 * (1 << 20) / psutil.virtual_memory().total)
    with pytest.raises(BagwiseError, match=r"takes .* MiB, and at most 1\.5 MiB are read"):
        bw.read_table(path, bag="bag")


def test_a_long_text_in_many_rows_of_a_parquet_file_is_held_once(tmp_path):
    names = pa.array(["b" * 9_000, "c" * 9_000])
    rows = pa.DictionaryArray.from_arrays(np.arange(400_000) % 2, names)  # 3.6 GB as they are written
    pq.write_table(pa.table({"bag": rows, "x": np.zeros(400_000)}), tmp_path / "t.parquet")
    assert len(bw.read_table(tmp_path / "t.parquet", bag="bag")) == 2
