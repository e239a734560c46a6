import csv
import datetime
import decimal
import gzip
import io
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bagwise import classes
from bagwise.bags import Bags
from bagwise.errors import BagwiseError, BagwiseWarning
from bagwise.feature_columns import Wanted
from bagwise.io import tablefiles
from bagwise.io.tables import read_table, read_tolerantly, table_columns
from bagwise.label_columns import LabelColumns

quick = settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])

MISSING = ["", " ", "NA", "na", "N/A", "n/a", "NaN", "nan", "null", "NULL", " NA "]


def put(folder: Path, name: str, contents: str | bytes) -> Path:
    path = folder / name
    contents = contents.encode() if isinstance(contents, str) else contents
    packed = {".gz": gzip.compress, ".zst": pa.Codec("zstd").compress}.get(path.suffix, bytes)
    path.write_bytes(bytes(packed(contents)))
    return path


def put_parquet(folder: Path, **columns) -> Path:
    path = folder / "table.parquet"
    pq.write_table(pa.table(columns), path)
    return path


def refusal(path: Path, **named) -> str:
    """The error is one sentence of Bagwise's own, and begins with the file."""
    with pytest.raises(BagwiseError) as caught:
        read_table(path, **{"bag": "bag", **named})
    text = str(caught.value)
    assert "\n" not in text
    assert not text.endswith(".")
    return text


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def same_bags(a: Bags, b: Bags) -> bool:
    parts = ("labels", "groups", "coordinates")
    return (
        a.names.tolist() == b.names.tolist()
        and a.feature_names == b.feature_names
        and a.offsets.tolist() == b.offsets.tolist()
        and same_bits(a.instances, b.instances)
        and all((getattr(a, part) is None) == (getattr(b, part) is None) for part in parts)
        and all(np.array_equal(getattr(a, part), getattr(b, part)) for part in parts if getattr(a, part) is not None)
    )


SMALL = "bag,label,x,y\np,1,1.5,2\nq,0,2.5,3\np,1,3.5,4\n"


# ---- what is read -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["t.csv", "T.CSV", "t.csv.gz", "t.tsv", "t.tsv.gz", "two.dots.csv"])
def test_a_csv_file_becomes_bags(tmp_path, name):
    text = SMALL.replace(",", "\t") if ".tsv" in name else SMALL
    for path in (put(tmp_path, name, text), str(tmp_path / name)):
        bags = read_table(path, bag="bag", label="label")
        assert bags.names.tolist() == ["p", "q"]
        assert bags.labels.tolist() == [1, 0]
        assert bags.feature_names == ("x", "y")
        assert bags.instances.tolist() == [[1.5, 2], [3.5, 4], [2.5, 3]]
        assert bags.instances.dtype == np.float64


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.csv.zst", "t.tsv.zst"])
@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_the_header_says_what_stands_between_cells(tmp_path, name, delimiter):
    if "tsv" in name and delimiter == ";":
        delimiter = "\t"
    expected = read_table(put(tmp_path, "plain.csv", SMALL), bag="bag", label="label")
    assert same_bags(read_table(put(tmp_path, name, SMALL.replace(",", delimiter)), bag="bag", label="label"), expected)


def test_a_decimal_comma_is_not_taken_for_a_number(tmp_path):
    assert "row 3 holds '1,5'" in refusal(put(tmp_path, "t.csv", "bag;x;y\np;1;2\nq;1,5;3\n"))


@pytest.mark.parametrize("name", ["t.parquet", "t.pq"])
def test_a_parquet_file_becomes_the_same_bags(tmp_path, name):
    frame = pd.read_csv(io.StringIO(SMALL))
    frame.to_parquet(tmp_path / name)
    expected = read_table(put(tmp_path, "t.csv", SMALL), bag="bag", label="label")
    assert same_bags(read_table(tmp_path / name, bag="bag", label="label"), expected)


@pytest.mark.parametrize(
    "text",
    [
        SMALL.replace("\n", "\r\n"),
        SMALL.replace("\n", "\r"),
        "\ufeff" + SMALL,
        SMALL.rstrip("\n"),
        SMALL + "\n\n",
        "\n" + SMALL.replace("\n", "\n\n"),
        SMALL.replace("p", '"p"').replace("x", '"x"'),
        SMALL.replace("1.5", " 1.5 ").replace("2.5", "+2.5").replace("3.5", "35e-1"),
    ],
    ids=repr,
)
def test_ways_of_writing_a_csv_file_make_no_difference(tmp_path, text):
    expected = read_table(put(tmp_path, "plain.csv", SMALL), bag="bag", label="label")
    assert same_bags(read_table(put(tmp_path, "other.csv", text), bag="bag", label="label"), expected)


@pytest.mark.parametrize(
    "name",
    ["007", "1.0", "1e5", "0x10", "a.b/c", "None", "a\nb", "a,b", 'say "so"', "Ä中", "true", "2020-01-01", "+1", "inf"],
)
def test_ids_are_kept_as_they_are_written(tmp_path, name):
    quoted = '"' + name.replace('"', '""') + '"'
    path = put(tmp_path, "t.csv", f"bag,patient,x\n{quoted},{quoted},1\nother,g,2\n")
    bags = read_table(path, bag="bag", group="patient")
    assert bags.names.tolist() == [name, "other"]
    assert bags.groups.tolist() == [name, "g"]
    assert bags.labels is None
    again = read_table(put_parquet(tmp_path, bag=[name, "other"], x=[1.0, 2.0]), bag="bag")
    assert again.names.tolist() == [name, "other"]


@pytest.mark.parametrize(
    ("values", "names"),
    [
        (pa.array([7, 8]), ["7", "8"]),
        (pa.array([2**64 - 1, 8], pa.uint64()), ["18446744073709551615", "8"]),
        (pa.array([7.0, 8.0]), ["7", "8"]),
        (pa.array([2.5, 8.0]), ["2.5", "8"]),
        (pa.array(["a", "b"]).dictionary_encode(), ["a", "b"]),
        (pa.array(["a", "b"], pa.large_string()), ["a", "b"]),
        (pa.array([datetime.date(2020, 1, 2), datetime.date(2020, 1, 3)]), ["2020-01-02", "2020-01-03"]),
    ],
    ids=lambda value: str(getattr(value, "type", "")),
)
def test_ids_of_a_parquet_file_are_text_too(tmp_path, values, names):
    bags = read_table(put_parquet(tmp_path, bag=values, patient=values, x=[1.0, 2.0]), bag="bag", group="patient")
    assert bags.names.tolist() == names
    assert bags.groups.tolist() == names


@pytest.mark.parametrize(
    ("texts", "kind", "labels"),
    [
        (["0", "1"], "i", [0, 1]),
        (["-1", "+1"], "i", [-1, 1]),
        (["1.0", "0"], "i", [1, 0]),
        (["9007199254740993", "0"], "i", [9007199254740993, 0]),
        (["-9223372036854775808", "9223372036854775807"], "i", [-(2**63), 2**63 - 1]),
        (["True", "False"], "b", [True, False]),
        (["true", "FALSE"], "b", [True, False]),
        (["007", "010"], "U", ["007", "010"]),
        (["benign", "malignant"], "U", ["benign", "malignant"]),
        (["2020-01-01", "12:30"], "U", ["2020-01-01", "12:30"]),
        (["3a", "b"], "U", ["3a", "b"]),
        (["true", "unsure"], "U", ["true", "unsure"]),
    ],
    ids=repr,
)
def test_labels_keep_their_kind(tmp_path, texts, kind, labels):
    path = put(tmp_path, "t.csv", f"bag,label,x\np,{texts[0]},1\nq,{texts[1]},2\np,{texts[0]},3\n")
    bags = read_table(path, bag="bag", label="label")
    assert bags.labels.dtype.kind == kind
    assert bags.labels.tolist() == labels
    sheet = put(tmp_path, "labels.csv", f"label,bag\n{texts[1]},q\n{texts[0]},p\n")
    bags = read_table(put(tmp_path, "u.csv", "bag,x\np,1\nq,2\n"), bag="bag", label="label", labels=sheet)
    assert bags.labels.dtype.kind == kind
    assert bags.labels.tolist() == labels


@pytest.mark.parametrize(
    "labels",
    [
        pa.array([1, 0]),
        pa.array([1, 0], pa.uint8()),
        pa.array([True, False]),
        pa.array(["1", "0"]),
        pa.array(["b", "a"], pa.large_string()),
        pa.array(["b", "a"]).dictionary_encode(),
        pa.array([1.0, 0.0]),
    ],
    ids=lambda labels: str(labels.type),
)
def test_labels_of_a_parquet_file_keep_their_type(tmp_path, labels):
    path = put_parquet(tmp_path, bag=["p", "q"], label=labels, x=[1.0, 2.0])
    found = read_table(path, bag="bag", label="label").labels.tolist()
    assert found == labels.to_pylist()
    assert [type(value) for value in found] == [
        int if isinstance(value, float) else type(value) for value in labels.to_pylist()
    ]


def test_columns_with_another_use_are_no_features(tmp_path):
    path = put(tmp_path, "t.csv", "top,cell,x,bag,left,g\n5,c1,1,p,3,k\n6,c2,2,q,4,k\n")
    bags = read_table(path, bag="bag", group="g", instance="cell", coordinates=["left", "top"])
    assert bags.feature_names == ("x",)
    assert bags.coordinates.tolist() == [[3, 5], [4, 6]]
    assert bags.groups.tolist() == ["k", "k"]
    assert bags.instance_labels is None


@pytest.mark.parametrize("words", [("True", "False"), ("true", "false"), ("TRUE", "0")])
def test_truth_values_are_one_and_zero(tmp_path, words):
    path = put(tmp_path, "t.csv", f"bag,x,y\np,{words[0]},1\nq,{words[1]},0.1\n")
    assert read_table(path, bag="bag").instances.tolist() == [[1, 1], [0, 0.1]]
    path = put_parquet(tmp_path, bag=["p", "q"], x=[True, False])
    assert read_table(path, bag="bag").instances.tolist() == [[1], [0]]


@pytest.mark.parametrize(
    ("types", "expected"),
    [
        ((pa.float32(), pa.float32()), np.float32),
        ((pa.float32(), pa.float64()), np.float64),
        ((pa.int8(), pa.uint64()), np.float64),
        ((pa.float16(), pa.int32()), np.float64),
    ],
    ids=str,
)
def test_parquet_of_float32_stays_float32(tmp_path, types, expected):
    path = put_parquet(tmp_path, bag=["p", "q"], x=pa.array([1, 2], types[0]), y=pa.array([3, 4], types[1]))
    bags = read_table(path, bag="bag")
    assert bags.instances.dtype == expected
    assert bags.instances.tolist() == [[1, 3], [2, 4]]


def test_what_pandas_notes_in_a_parquet_file_changes_nothing(tmp_path):
    frame = pd.read_csv(io.StringIO(SMALL)).iloc[[2, 0, 1]]
    frame.to_parquet(tmp_path / "numbered.parquet")
    frame.set_index("bag").to_parquet(tmp_path / "index.parquet")
    for name in ("numbered.parquet", "index.parquet"):
        bags = read_table(tmp_path / name, bag="bag", label="label")
        assert bags.feature_names == ("x", "y")
        assert bags.instances.tolist() == [[3.5, 4], [1.5, 2], [2.5, 3]]


def test_a_folder_that_looks_like_a_partition_adds_no_column(tmp_path):
    (tmp_path / "label=1").mkdir()
    path = put_parquet(tmp_path / "label=1", bag=["p"], x=[1.0])
    assert read_table(path, bag="bag").feature_names == ("x",)


def test_rows_wider_than_a_block_are_read(tmp_path):
    values = np.random.default_rng(0).normal(size=(3, 500))
    header = ",".join(["bag", *(f"{i:05000}" for i in range(500))])  # 2.5 MB; a block has 1 MB by default
    rows = [",".join([f"b{i}", *map(repr, row.tolist())]) for i, row in enumerate(values)]
    bags = read_table(put(tmp_path, "t.csv", "\n".join([header, *rows])), bag="bag")
    np.testing.assert_array_equal(bags.instances, values)


def test_a_reader_that_failed_and_still_reads_ahead_takes_no_rows_of_the_next(tmp_path, monkeypatch):
    """A row longer than a block makes the table be read again, while a thread of the first may not have ended."""
    given, read = [], tablefiles.pa_csv.read_csv

    def read_ahead(source, *options):
        for earlier in given:
            earlier.read()
        given.append(source)
        return read(source, *options)

    monkeypatch.setattr(tablefiles.pa_csv, "read_csv", read_ahead)
    path = put(tmp_path, "table.csv", "bag,label,x,note\n" + "b0,1,2,short\n" * 30 + f"b1,0,3,{'a' * (3 << 20)}\n")
    assert tablefiles.read_file(path, texts=["bag", "note"]).arrow.num_rows == 31
    assert len(given) > 1


@pytest.mark.parametrize("name", ["bags.csv", "bags.parquet"])
def test_threads_of_arrow_hold_nothing_that_needs_the_interpreter(tmp_path, monkeypatch, name):
    """One that lets go of it while the process ends would abort it."""
    frame = pd.DataFrame({"bag": ["a"], "label": [1], "width": [0.5]})
    path = tmp_path / name
    frame.to_csv(path, index=False) if name.endswith(".csv") else frame.to_parquet(path)
    read = []
    monkeypatch.setattr(pa, "BufferReader", lambda buffer, make=pa.BufferReader: read.append(buffer) or make(buffer))
    read_table(path, bag="bag", label="label")
    assert {buffer.is_mutable for buffer in read} == {True}  # bytes of Python's own are not


def test_floats_that_are_large_and_whole_are_read(tmp_path):
    path = put(tmp_path, "t.csv", "bag,x,y\np,123456789012345670000,1e300\nq,0.5,9007199254740992\n")
    assert read_table(path, bag="bag").instances.tolist() == [[1.2345678901234567e20, 1e300], [0.5, 2.0**53]]


# ---- labels in a file of their own --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["labels.csv", "labels.tsv", "labels.csv.gz", "labels.parquet"])
def test_labels_and_groups_come_from_a_second_file(tmp_path, name):
    frame = pd.DataFrame({"g": ["g1", "g2"], "note": ["a", None], "label": [0, 1], "bag": ["q", "007"]})
    if name.endswith(".parquet"):
        frame.to_parquet(tmp_path / name)
    else:
        frame.to_csv(tmp_path / name, index=False, sep="\t" if "tsv" in name else ",")
    path = put(tmp_path, "t.csv", "bag,x\n007,1\nq,2\n007,3\n")
    bags = read_table(path, bag="bag", label="label", group="g", labels=tmp_path / name)
    assert bags.names.tolist() == ["007", "q"]
    assert bags.labels.tolist() == [1, 0]
    assert bags.labels.dtype.kind == "i"
    assert bags.groups.tolist() == ["g2", "g1"]
    assert bags.feature_names == ("x",)
    assert read_table(path, bag="bag", label="label", labels=tmp_path / name).groups is None


def test_the_group_may_stand_with_the_instances(tmp_path):
    sheet = put(tmp_path, "labels.csv", "bag,label\np,yes\nq,no\n")
    path = put(tmp_path, "t.csv", "bag,g,x\np,u,1\nq,v,2\n")
    bags = read_table(path, bag="bag", label="label", group="g", labels=sheet)
    assert bags.labels.tolist() == ["yes", "no"]
    assert bags.groups.tolist() == ["u", "v"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("bag,label\np,1\nq,0\nr,1\ns,1\n", ["2 bags have a label here but no rows in", "t.csv ('r', 's')"]),
        ("bag,label\np,1\n\n\nq,0\np,0\n", ["bag 'p'", "1 in row 2, 0 in row 6"]),
        ("bag,label\np,1\n,0\n", ["column 'bag' is empty in row 3"]),
        ("bag,label\np,n/a\nq,NA\n", ["column 'label' is empty in row 2 and in all others"]),
        ("bag,label\np,1\nq,yes\n", ["column 'label' mixes", "'1' in row 2", "'yes' in row 3"]),
        ("bag,label,g\np,1,u\nq,0,\n", ["bag 'q' has no group"]),
        ("bag,lable\np,1\nq,0\n", ["no column 'label'", "did you mean 'lable'?"]),
        ("molecule,label\np,1\nq,0\n", ["no column 'bag'", "molecule, label"]),
        ("bag,label\np,1\nq\n", ["row 3 has 1 fields and the header 2"]),
        ("bag,label\n", ["no rows"]),
        ("", ["empty"]),
    ],
)
def test_labels_that_do_not_fit_are_refused(tmp_path, text, words):
    sheet = put(tmp_path, "labels.csv", text)
    path = put(tmp_path, "t.csv", "bag,x\np,1\nq,2\np,3\n")
    told = refusal(path, label="label", group="g" if ",g" in text else None, labels=sheet)
    assert told.startswith(f"{sheet}: ")
    assert told.count(str(sheet)) == 1
    for word in words:
        assert word in told


def test_bags_without_a_label_are_left_out_and_the_first_are_named(tmp_path):
    path = put(tmp_path, "t.csv", "bag,x\n" + "".join(f"b{i},1\n" for i in range(40)))
    sheet = put(tmp_path, "labels.csv", "bag,label\nb0,1\nb2,0\nb2,0\nb3,NA\n")
    with pytest.warns(BagwiseWarning) as told:
        bags = read_table(path, bag="bag", label="label", labels=sheet)
    assert bags.names.tolist() == ["b0", "b2"]
    assert [str(one.message) for one in told] == [
        f"{sheet}: 1 bag has no label and is left out ('b3')",
        f"{sheet}: of {path}, 37 bags have no label and are left out ('b1', 'b4', 'b5', 'b6', 'b7', ...)",
    ]


def test_a_gap_among_bags_is_found_with_labels_elsewhere(tmp_path):
    path = put(tmp_path, "t.csv", "bag,x\np,1\n,2\n")
    sheet = put(tmp_path, "labels.csv", "bag,label\np,1\n")
    text = refusal(path, label="label", labels=sheet)
    assert text.startswith(f"{path}: column 'bag' is empty in row 3")


@pytest.mark.parametrize("column", ["label", "g"])
def test_a_column_in_both_files_is_refused_lest_it_becomes_a_feature(tmp_path, column):
    path = put(tmp_path, "t.csv", f"bag,x,{column}\np,1,1\n")
    sheet = put(tmp_path, "labels.csv", "bag,label,g\np,1,2\n")
    text = refusal(path, label="label", group="g", labels=sheet)
    assert f"{path}: column {column!r} is in {sheet} too" in text


def test_a_file_of_labels_needs_the_name_of_their_column(tmp_path):
    path = put(tmp_path, "t.csv", "bag,x\np,1\n")
    sheet = put(tmp_path, "labels.csv", "bag,label\np,1\n")
    assert str(sheet) in refusal(path, labels=sheet)


# ---- what is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        (b"", ["the file is empty"]),
        (b" \n\n", ["the file is empty"]),
        (b"bag,label,x", ["no rows"]),
        (b"bag,label,x\n", ["no rows"]),
        (b"\n\nbag,label,x\r\n", ["no rows"]),
        (b"bag,label,x,x\np,1,2,3\n", ["2 columns have the name 'x' in row 1"]),
        (b"bag,bag,label,x\np,q,1,2\n", ["2 columns have the name 'bag'"]),
        (b"bag,label,x,\np,1,2,3\n", ["column 4 has no name"]),
        (b",bag,label,x\n0,p,1,2\n1,p,1,2\n", ["column 1 has no name"]),
        (b"Unnamed: 0,bag,label,x\n0,p,1,2\n", ["column 1 has no name", "'Unnamed: 0'"]),
        (b"bag,label,x\np,1,2\nq,0\n", ["row 3 has 2 fields and the header 3"]),
        (b"bag,label,x\np,1,2\n\nq,0,3,4\n", ["row 4 has 4 fields and the header 3"]),
        (b'bag,label,x\n"p\nr",1,2\nq,0,3,4\n', ["row 3 has 4 fields"]),
        (b"bag,label,x\n  \np,1,2\n", ["row 2 has 1 fields"]),
        (b'bag,label,x\np,1,2\n"q,0,3\n', ["quotes in row 3"]),
        (b'bag,label,x\np,1,"2\nq,0,3\n', ["quotes in row 2"]),
        (b'"bag,label,x\np,1,2\n', ["quotes in row 1"]),
        (b'bag,label,"x\np,1,2\n', ["quotes in row 1"]),
        (SMALL.encode("utf-16"), ["UTF-16"]),
        (SMALL.encode("utf-16-be"), ["NUL byte in row 1"]),
        (b"bag,label,x\np,1,2\nq\0,0,3\n", ["NUL byte in row 3"]),
        (b"bag,label,x\np,1,2\nq,0,\x003\n", ["NUL byte in row 3"]),
        ("bag,label,x\np,1,2\nä,0,3\n".encode("latin-1"), ["0xe4 in row 3 is not UTF-8"]),
        ("bag,label,ä\np,1,2\n".encode("latin-1"), ["0xe4 in row 1 is not UTF-8"]),
        (b"bag,label,x\np,1,2\nq,0,3\xff\n", ["0xff in row 3"]),
        (b"bag,label,x\np,1,2\nq,0,two\n", ["column 'x' is not numeric", "row 3 holds 'two'"]),
        (b"bag,label,x\n\np,1,2\n\nq,0,two\n", ["column 'x' is not numeric", "row 5 holds 'two'"]),
        (b'bag,label,x\n"p\n\nr",1,2\nq,0,two\n', ["row 3 holds 'two'"]),
        (b"bag,label,x\np,1,NA\nq,0,1_000\n", ["no feature columns: the column 'x' (one value)"]),
        (b'bag,label,x\np,1,"1,5"\nq,0,2\n', ["row 2 holds '1,5'"]),
        (b"bag,label,x\np,1,true\nq,0,2\n", ["column 'x' is not numeric", "row 2 holds 'true'"]),
        (b"bag,label,x,z\np,1,1,0x10\nq,0,2,1.5\n", ["column 'z' is not numeric", "row 2 holds '0x10'"]),
        (b"bag,label,x\np,1,2\nq,0,-inf\n", ["column 'x' has an infinity in row 3"]),
        (b"bag,label,x\np,1,2\nq,0,1e999\n", ["column 'x' has an infinity in row 3"]),
        (b"bag,label,x\np,1,1\nq,0,9007199254740993\n", ["column 'x'", "9007199254740993 in row 3", "2**53"]),
        (b"bag,label,x\np,1,1\nq,0,-99999999999999999999\n", ["column 'x'", "-99999999999999999999 in row 3"]),
        (b"bag,label,x\np,1,\n\nq,0," + b"9" * 500 + b"\n", ["column 'x'", "in row 4"]),
        (b"bag,label\np,1\nq,0\n", ["no feature columns"]),
        (b"bog,label,x\np,1,2\n", ["no column 'bag'", "did you mean 'bog'?"]),
        (b"bag,lable,labels,x\np,1,1,2\n", ["no column 'label'", "'labels' or 'lable'"]),
        (b"p,1,2\nq,0,3\n", ["no column 'bag'"]),
        (b"bag,label,x\np,1,2\n,1,3\n", ["column 'bag' is empty in row 3"]),
        (b"bag,label,x\np,1,2\nNA,1,3\n", ["column 'bag' is empty in row 3"]),
        (b"bag,label,x\np,1,2\nq,0,3\np,,4\n", ["differs within bag 'p': 1 in row 2, nothing in row 4"]),
        (b"bag,label,x\np,1,1\nq,0," + b"a" * 3_000_000 + b"\n", ["column 'x' is not numeric", "row 3 holds 'aaa"]),
        (b"bag,label,x\np,1,1\n" + b"a" * 3_000_000 + b",0,1\n", ["column 'bag'", "3,000,000 bytes in row 3"]),
        (b"bag,label," + b"a" * 3_000_000 + b"\np,1,1\n", ["a cell in row 1 has more than 131,072 characters"]),
        (b"bag,label,x\np,1,1\nq,0\nr,1," + b"a" * 3_000_000 + b"\n", ["row 3 has 2 fields"]),
        (b"bag,label,x\np,1,1\n" + b'"' * 100_001 + b"\n", ["quotes in row 3"]),
        (b"bag,label,x\np,1,1\n" + b'"' * 100_000 + b"\n", ["row 3 has 1 fields"]),
        (b"bag,label,x\np,,2\nq,,3\n", ["column 'label' is empty in row 2"]),
        (b"bag,label,x\np,1,2\n\nq,0,3\np,0,4\n", ["column 'label' differs within bag 'p': 1 in row 2, 0 in row 5"]),
        (b"bag,label,x\np,a,2\np,b,3\n", ["differs within bag 'p': a in row 2, b in row 3"]),
        (b"bag,label,x\np,1,2\nq,yes,3\n", ["column 'label' mixes numbers and text: '1' in row 2, 'yes' in row 3"]),
        (b"bag,label,x\np,true,2\n\nq,1,3\n", ["column 'label' mixes", "'1' in row 4, 'true' in row 2"]),
        (b"bag,label,x\np,1,2\nq,9223372036854775808,3\n", ["'9223372036854775808' in row 3", "2**63"]),
        (b"bag,label,x\np,1,2\nq," + b"9" * 5000 + b",3\n", ["column 'label'", "in row 3", "2**63"]),
    ],
    ids=lambda value: repr(value[:60]) if isinstance(value, bytes) else "",
)
@pytest.mark.parametrize("name", ["t.csv", "t.tsv.gz"])
def test_a_bad_csv_file_is_refused_with_the_place(tmp_path, name, contents, words):
    if "tsv" in name:
        contents = contents.replace(b",", b"\t")
        words = [word.replace("'1,5'", r"'1\t5'") for word in words]
    path = put(tmp_path, name, contents)
    text = refusal(path, label="label")
    assert text.startswith(f"{path}: ")
    assert text.count(str(path)) == 1
    for word in words:
        assert word in text


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"x": ["1.5", "2"]}, ["column 'x' is not numeric", "row 2 holds '1.5'"]),
        (
            {"x": pa.array([None, "u"], pa.large_string())},
            ["no feature columns: the column 'x' (one value) is left out"],
        ),
        ({"x": [[1.0], [2.0]]}, ["column 'x'", "row 2 holds a list or a structure"]),
        ({"x": [None, {"a": 1}]}, ["column 'x'", "row 3 holds a list or a structure"]),
        ({"x": [b"a", b"b"]}, ["column 'x'", "row 2 holds a value of type binary"]),
        ({"x": [1, 2**53 + 1]}, ["column 'x'", "9007199254740993 in row 3"]),
        ({"x": pa.array([2**64 - 1, 1], pa.uint64())}, ["column 'x'", "18446744073709551615 in row 2"]),
        ({"x": [-(2**63), 1]}, ["column 'x'", "-9223372036854775808 in row 2"]),
        ({"x": pa.array([1, np.inf], pa.float32())}, ["column 'x' has an infinity in row 3"]),
        ({}, ["no feature columns"]),
        ({"": [1.0, 2.0]}, ["column 3 has no name"]),
        ({"x": [1.0, 2.0], "bag": ["p", None]}, ["column 'bag' is empty in row 3"]),
        ({"x": [1.0, 2.0], "bag": ["p", ""]}, ["column 'bag' is empty in row 3"]),
        ({"x": [1.0, 2.0], "bag": [1, None]}, ["column 'bag' is empty in row 3"]),
        ({"x": [1.0, 2.0], "bag": [[1], [2]]}, ["column 'bag' is not made of names", "row 2"]),
        ({"x": [1.0, 2.0], "bag": [b"\xff", b"a"]}, ["column 'bag' is not made of names", "row 2"]),
        ({"x": [1.0, 2.0], "bag": ["p", "p"]}, ["column 'label' differs within bag 'p': 1 in row 2, 0 in row 3"]),
        ({"x": [1.0, 2.0], "bag": ["p", "p"], "label": [1, None]}, ["'p': 1 in row 2, nothing in row 3"]),
        ({"x": [1.0, 2.0], "label": pa.nulls(2)}, ["column 'label' is empty in row 2"]),
        ({"x": [1.0, 2.0], "label": ["", "NA"]}, ["column 'label' is empty in row 2"]),
        ({"x": [1.0, 2.0], "label": [[1], [2]]}, ["column 'label' is not made of labels", "a list or a structure"]),
        ({"x": [1.0, 2.0], "label": [datetime.date(2020, 1, 1)] * 2}, ["column 'label'", "row 2 holds a date"]),
        ({"x": [1.0, 2.0], "label": [decimal.Decimal(1), decimal.Decimal(2)]}, ["column 'label'", "decimal"]),
    ],
)
def test_a_bad_parquet_file_is_refused_with_the_place(tmp_path, columns, words):
    path = put_parquet(tmp_path, **{"bag": ["p", "q"], "label": [1, 0], **columns})
    text = refusal(path, label="label")
    assert text.startswith(f"{path}: ")
    assert text.count(str(path)) == 1
    for word in words:
        assert word in text


def test_two_columns_of_one_name_in_a_parquet_file_are_refused(tmp_path):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.Table.from_arrays([pa.array(["p"]), pa.array([1]), pa.array([2])], ["bag", "x", "x"]), path)
    assert "2 columns have the name 'x'" in refusal(path)


def test_a_parquet_file_without_rows_is_refused(tmp_path):
    assert "no rows" in refusal(put_parquet(tmp_path, bag=pa.array([], pa.string()), x=pa.array([], pa.float64())))


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.parquet"])
def test_a_file_that_is_not_there_is_refused(tmp_path, name):
    assert refusal(tmp_path / name) == f"{tmp_path / name}: there is no such file: check its folder and name"
    (tmp_path / name).mkdir()
    assert "this is a folder" in refusal(tmp_path / name)
    assert "cannot be read" in refusal(Path(f"\0{name}"))
    assert "cannot be read" in refusal(tmp_path / ("n" * 300 + name))


@pytest.mark.parametrize("name", ["t.xlsx", "t", "t.txt", "t.csv.zip", "t.parquet.gz", "t.gz", ".csv"])
def test_another_kind_of_file_is_refused_by_its_name(tmp_path, name):
    text = refusal(put(tmp_path, name, SMALL))
    assert text.startswith(f"{tmp_path / name}: the name of a table must end in .csv")


@pytest.mark.parametrize("keep", [4, 11, 30, -9, -4, -1])
def test_a_packed_file_that_is_cut_off_is_refused(tmp_path, keep):
    for name in ("t.csv.gz", "t.csv.zst"):
        path = put(tmp_path, name, SMALL)
        path.write_bytes(path.read_bytes()[:keep])
        assert "cut off" in refusal(path, label="label")


def test_a_file_that_is_no_gzip_file_is_refused(tmp_path):
    path = tmp_path / "t.csv.gz"
    path.write_text(SMALL)
    assert "no gzip file" in refusal(path, label="label")


@pytest.mark.parametrize("keep", [3, 4, 20, 200, -1, -4, -8, -20])
def test_a_parquet_file_that_is_cut_off_is_refused(tmp_path, keep):
    path = put_parquet(tmp_path, bag=["p", "q"], x=[1.0, 2.0])
    path.write_bytes(path.read_bytes()[:keep])
    assert "no whole Parquet file" in refusal(path)


def test_a_csv_file_named_parquet_is_refused(tmp_path):
    assert "no whole Parquet file" in refusal(put(tmp_path, "t.parquet", SMALL))


@pytest.mark.parametrize(
    "named",
    [
        {"label": "bag"},
        {"label": "label", "group": "label"},
        {"instance": "x", "coordinates": ["x"]},
        {"coordinates": ["x", "x"]},
    ],
    ids=repr,
)
def test_a_column_with_two_uses_is_refused(tmp_path, named):
    assert "is given 2 uses" in refusal(put(tmp_path, "t.csv", SMALL), **named)


@pytest.mark.parametrize("use", ["label", "group", "instance", "coordinates"])
def test_a_column_that_is_not_there_is_refused(tmp_path, use):
    path = put(tmp_path, "t.csv", SMALL)
    text = refusal(path, **{use: ["zz"] if use == "coordinates" else "zz"})
    assert text == f"{path}: there is no column 'zz' in row 1: the columns are bag, label, x, y"


@pytest.mark.parametrize("value", ["left", "", "inf"])
def test_coordinates_must_be_numbers(tmp_path, value):
    text = refusal(put(tmp_path, "t.csv", f"bag,x,where\np,1,2\n\np,2,{value}\n"), coordinates=["where"])
    assert "column 'where'" in text
    assert "row 4" in text


@pytest.mark.filterwarnings("ignore:.*white space")
@pytest.mark.parametrize("word", MISSING)
def test_words_for_missing_are_gaps_in_both_kinds_of_file(tmp_path, word):
    for path in (
        put(tmp_path, "t.csv", f'bag,x\np,1\n"{word}",2\n'),
        put_parquet(tmp_path, bag=["p", word], x=[1.0, 2.0]),
    ):
        assert "column 'bag' is empty in row 3" in refusal(path)


# ---- against a plain reader, and anything at all ------------------------------------------------------------


text_of_a_name = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=6).filter(
    lambda text: text == text.strip() and text.lower() not in classes.MISSING and not text.startswith("Unnamed: ")
)
any_case = pytest.mark.filterwarnings("ignore:.*differ by case alone")
finite = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def frames(draw, width=64):
    """A table whose rows stand in any order, with the arguments that read it."""
    names = draw(st.lists(text_of_a_name, min_size=1, max_size=4, unique=True))
    rows = draw(st.permutations([name for name in names for _ in range(draw(st.integers(1, 3)))]))
    features = draw(
        st.lists(
            text_of_a_name.filter(lambda name: name not in "bag label group top"), min_size=1, max_size=3, unique=True
        )
    )
    kinds = st.sampled_from(
        [st.integers(-(2**63), 2**63 - 1), st.booleans(), st.sampled_from(["no", "yes", "n o", "ö"])]
    )
    values = st.floats(allow_nan=False, allow_infinity=False, width=width)
    kind = draw(kinds)
    labels = {name: draw(kind) for name in names}
    groups = {name: draw(text_of_a_name) for name in names}
    columns = {"bag": rows, "label": [labels[row] for row in rows], "group": [groups[row] for row in rows]}
    for name in features:
        columns[name] = np.array([draw(values) for _ in rows], np.float32 if width == 32 else np.float64)
    columns["top"] = [float(draw(st.integers(-5, 5))) for _ in rows]
    order = ["bag", *draw(st.permutations([name for name in columns if name != "bag"]))]
    return pd.DataFrame({name: columns[name] for name in order})


def plain_bags(frame: pd.DataFrame) -> Bags:
    """The same bags, by loops over rows."""
    rows = list(frame.to_dict("records"))
    features = [name for name in frame if name not in ("bag", "label", "group", "top")]
    names = list(dict.fromkeys(row["bag"] for row in rows))
    of_bag = [[row for row in rows if row["bag"] == name] for name in names]
    dtype = np.float32 if all(frame[name].dtype == np.float32 for name in features) else np.float64
    return Bags.from_arrays(
        [np.array([[row[name] for name in features] for row in bag], dtype) for bag in of_bag],
        [bag[0]["label"] for bag in of_bag],
        names=names,
        groups=[bag[0]["group"] for bag in of_bag],
        coordinates=[[[row["top"]] for row in bag] for bag in of_bag],
        feature_names=features,
    )


def write_csv(frame: pd.DataFrame, path: Path, **named) -> None:
    # In quotes, because pandas writes a bare carriage return, which ends a row.
    frame.to_csv(path, index=False, quoting=csv.QUOTE_NONNUMERIC, **named)


COLUMNS = {"bag": "bag", "label": "label", "group": "group", "coordinates": ["top"]}


@any_case
@quick
@example(pd.DataFrame({"bag": ["a"], "label": [1], "group": ["g\rh"], "x": [-0.0], "y": [5e-324], "top": [0.0]}))
@given(frames())
def test_a_table_comes_back_from_csv_bit_for_bit(tmp_path, frame):
    for name, separator in (("t.csv", ","), ("t.tsv", "\t"), ("t.csv.gz", ",")):
        write_csv(frame, tmp_path / name, sep=separator)
        assert same_bags(read_table(tmp_path / name, **COLUMNS), plain_bags(frame))


@any_case
@quick
@given(st.sampled_from([32, 64]).flatmap(frames))
def test_a_table_comes_back_from_parquet_bit_for_bit(tmp_path, frame):
    frame.to_parquet(tmp_path / "t.parquet")
    assert same_bags(read_table(tmp_path / "t.parquet", **COLUMNS), plain_bags(frame))


@any_case
@quick
@given(frames())
def test_labels_elsewhere_are_the_labels_of_the_rows(tmp_path, frame):
    sheet = frame[["label", "group", "bag"]].drop_duplicates("bag").iloc[::-1]
    write_csv(sheet, tmp_path / "labels.csv")
    write_csv(frame.drop(columns=["label", "group"]), tmp_path / "t.csv")
    assert same_bags(read_table(tmp_path / "t.csv", **COLUMNS, labels=tmp_path / "labels.csv"), plain_bags(frame))


@pytest.mark.filterwarnings("ignore:.*white space")
@quick
@given(
    st.lists(st.sampled_from(["\n", "\r\n", "p,1\n", '"p\n\n",1\n', '"p\r\n",1\r\n', '"""",1\n']), max_size=12),
    st.sampled_from(["p,two\n", ",1\n", "p,1,2\n", "p\n"]),
)
def test_a_row_has_the_number_that_a_spreadsheet_gives_it(tmp_path, before, wrong):
    path = put(tmp_path, "t.csv", "".join(["bag,x\n", *before, wrong, "p,1\n"]))
    row = 2 + len(before)
    assert f"row {row} " in refusal(path) + " " or f"row {row}:" in refusal(path)


def outcome(path: Path) -> Bags | None:
    try:
        return read_table(path, bag="bag", label="label", coordinates=["y"])
    except BagwiseError as error:
        if not str(error).startswith(f"{path}: "):
            raise
        return None


hostile = st.one_of(
    st.binary(max_size=200),
    st.lists(
        st.sampled_from(
            [*"bag,label,x,y p1\"'\n\r\t;.-+eE#\0é\ufeff", "bag,label,x,y\n", "nan", "1e999", '""', "p,1,2,3\n"]
        )
    ).map(lambda parts: "".join(parts).encode()),
)


@pytest.mark.filterwarnings("ignore::bagwise.BagwiseWarning")
@settings(quick, max_examples=100)
@given(hostile, st.booleans())
def test_any_bytes_give_bags_or_a_sentence(tmp_path, contents, header):
    contents = b"bag,label,x,y\n" * header + contents
    for name in ("t.csv", "t.tsv", "t.csv.gz", "t.parquet"):
        outcome(put(tmp_path, name, contents))
    (tmp_path / "u.csv.gz").write_bytes(contents)
    outcome(tmp_path / "u.csv.gz")
    bags = outcome(tmp_path / "t.csv")
    if bags is not None:  # then it is what a plain reader reads
        rows = list(filter(None, csv.reader(io.StringIO(contents.decode("utf-8-sig"), newline=""))))
        place = {name: number for number, name in enumerate(rows[0])}
        assert sorted(bags.instances[:, 0].tolist()) == sorted(float(row[place["x"]]) for row in rows[1:])
        assert bags.names.tolist() == list(dict.fromkeys(row[place["bag"]] for row in rows[1:]))


VALID = pd.DataFrame(
    {"bag": ["p", "q", "p"] * 4, "label": [1, 0, 1] * 4, "x": np.arange(12.0) / 7, "y": [1, 2, 3] * 4, "z": [True] * 12}
)


def as_csv() -> bytes:
    return VALID.to_csv(index=False).encode()


def as_parquet(**options) -> bytes:
    stream = io.BytesIO()
    VALID.to_parquet(stream, **options)
    return stream.getvalue()


WHOLE = {
    "t.csv": as_csv(),
    "t.csv.gz": gzip.compress(as_csv(), mtime=0),
    "t.parquet": as_parquet(),
    "t.pq": as_parquet(compression=None, use_dictionary=False, write_page_checksum=True),
}


@pytest.mark.parametrize("name", WHOLE)
def test_the_files_that_are_mutated_are_whole(tmp_path, name):
    (tmp_path / name).write_bytes(WHOLE[name])
    assert len(outcome(tmp_path / name)) == 2


@pytest.mark.filterwarnings("ignore::bagwise.BagwiseWarning")
@pytest.mark.parametrize("name", WHOLE)
@settings(quick, max_examples=60)
@given(st.data())
def test_a_damaged_file_gives_bags_or_a_sentence(tmp_path, name, data):
    contents = bytearray(WHOLE[name])
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(contents) - 1))
        match data.draw(st.sampled_from(["change", "cut", "insert", "remove", "repeat"])):
            case "change":
                contents[place] = data.draw(st.integers(0, 255))
            case "cut":
                del contents[place + 1 :]
            case "insert":
                contents[place:place] = data.draw(st.sampled_from([b'"', b",", b"\n", b"\0", b"\xff", b"9" * 30]))
            case "remove":
                del contents[place : place + data.draw(st.integers(1, 9))]
            case "repeat":
                contents[place:place] = contents[place : place + 9]
        contents = contents or bytearray(b"\n")
    (tmp_path / name).write_bytes(contents)
    outcome(tmp_path / name)


def test_a_parquet_page_that_fails_its_checksum_is_refused(tmp_path):
    contents = bytearray(WHOLE["t.pq"])
    place = bytes(contents).index(np.float64(1 / 7).tobytes())
    contents[place] ^= 1
    (tmp_path / "t.pq").write_bytes(contents)
    assert "no whole Parquet file" in refusal(tmp_path / "t.pq")


@pytest.mark.parametrize("place", [0, 1, 500, 999])
def test_text_is_found_anywhere_in_a_long_column(tmp_path, place):
    values = [str(i / 3) for i in range(1000)]
    values[place] = "oops"
    path = put(tmp_path, "t.csv", "bag,x\n" + "".join(f"b{i // 10},{value}\n" for i, value in enumerate(values)))
    assert f"row {place + 2} holds 'oops'" in refusal(path)


def test_a_machine_out_of_memory_is_not_blamed_on_the_table(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise pa.ArrowException("Unknown error: Failed to launch worker thread: Resource temporarily unavailable")

    (tmp_path / "table.csv").write_text("bag,x\na,1\n")
    monkeypatch.setattr(tablefiles.pa_csv, "read_csv", fail)
    with pytest.raises(BagwiseError, match=r"table\.csv.*worker thread.*it may be whole"):
        read_table(tmp_path / "table.csv", bag="bag")


def test_a_column_that_goes_on_otherwise_than_it_begins_is_what_it_is_as_a_whole(tmp_path):
    begins, ends = ("1", "2024-05-06", "", "true", "x", "2"), ("0.5", "soon", "7", "maybe", "y", "3")
    rows = [",".join(begins)] * 60_000 + [",".join(ends)]  # more than Arrow takes in one block
    path = put(tmp_path, "table.csv", "\n".join(["a,b,c,d,e,f", *rows]))
    assert path.stat().st_size > 1 << 20
    arrow = tablefiles.read_file(path).arrow
    text, whole = pa.string(), pa.int64()
    assert arrow.schema.types == [pa.float64(), text, whole, text, text, whole]
    assert [column[-1].as_py() for column in arrow.columns] == [0.5, "soon", 7, "maybe", "y", 3]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_nothing_of_a_file_stays_in_memory_but_its_table(tmp_path, ending):
    frame = pd.DataFrame(
        {"bag": np.repeat(["p", "q"], 50_000), "size": np.arange(1e5), "colour": ["red", "blue"] * 50_000}
    )
    path = tmp_path / f"table.{ending}"
    getattr(frame, f"to_{ending}")(path, index=False)
    before = pa.total_allocated_bytes()
    arrow = tablefiles.read_file(path).arrow
    for _ in range(200):  # a thread of Arrow's may be late to let go
        if pa.total_allocated_bytes() - before < 1.3 * arrow.nbytes:
            break
        time.sleep(0.05)
    assert pa.total_allocated_bytes() - before < 1.3 * arrow.nbytes


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_only_the_columns_that_are_needed_are_read(tmp_path, monkeypatch, ending):
    frame = pd.DataFrame({"bag": list("pqq"), "x": [1.0, 2, 3], "y": list("aba"), "z": [3, 4, 5], "t": [1.5, 2, 3]})
    frame["g"] = [0, 1, 1]
    path, read = tmp_path / f"table.{ending}", []

    def spied(*given):
        found = tablefiles.read_file(*given)
        read.append(found.arrow.column_names)
        return found

    getattr(frame, f"to_{ending}")(path)  # with row numbers, which nobody wants
    monkeypatch.setattr("bagwise.io.columns.read_file", spied)
    bags = read_table(path, bag="bag", group="g", features=["z", "y"], order="t")
    read_table(path, bag="bag", like=bags.columns)
    read_table(path, bag="bag", features=["x"], coordinates=["t", "z"])
    read_tolerantly(path, bag="bag", label=LabelColumns(("g",)), wanted=Wanted(["x", "z"], drop=["z"]))
    wanted = [{"bag", "g", "y", "z", "t"}, {"bag", "y", "z", "t"}, {"bag", "x", "t", "z"}, {"bag", "g", "x"}]
    assert [*map(set, read)] == wanted
    assert table_columns(path)[-6:] == [*frame]


def test_of_a_large_file_the_header_alone_is_read(tmp_path, monkeypatch):
    path = put(tmp_path, "table.csv", '"a b";c\n' + "1;2\n" * 300_000)
    monkeypatch.setattr(tablefiles, "_contents", None)
    assert table_columns(path) == ["a b", "c"]
