"""Labels of several columns, and events with their times: what they become, and what is said of what is wrong."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bagwise as bw
from bagwise import BagwiseError
from bagwise.commands.data import DataSource
from bagwise.io.tables import read_table
from bagwise.label_columns import LabelColumns

SEVERAL = ["--label", "a", "--label", "c"]
LIFE = ["--event", "e", "--time", "t"]


def write(path, text):
    path.write_text(text.replace("; ", "\n") + "\n")
    return path


# ---- what they become ------------------------------------------------------------------------------------------------


def test_an_empty_field_of_0_and_1_is_not_known_and_a_bag_without_any_is_left_out(tmp_path):
    path = write(tmp_path / "t.csv", "b,a,c,x; p,1,,1; p,1,,2; q,0,1,3; r,,NA,4")
    with pytest.warns(bw.BagwiseWarning, match=r"1 bag has no label and is left out \('r'\)"):
        bags = read_table(path, bag="b", label=["a", "c"])
    np.testing.assert_array_equal(bags.labels, [[1, np.nan], [0, 1]])
    assert bags.label_names == ("a", "c")
    assert bags.feature_names == ("x",)


@pytest.mark.parametrize("written", ["1,0", "1.0,0.0", "true,False", "TRUE,FALSE"])
def test_an_event_is_written_in_many_ways(tmp_path, written):
    one, other = written.split(",")
    path = write(tmp_path / "t.csv", f"b,e,t,x; p,{one},3,1; q,{other},2.5,2; r,{one},0,3")
    bags = read_table(path, bag="b", event="e", time="t")
    assert bags.labels.tolist() == [(True, 3.0), (False, 2.5), (True, 0.0)]
    assert bags.label_names is None


@given(
    st.lists(st.tuples(*[st.none() | st.integers(0, 1)] * 3), min_size=1),
    st.lists(st.tuples(*[st.floats(allow_nan=False, allow_infinity=False, width=32)] * 2), min_size=1),
)
def test_several_columns_are_joined_to_what_they_hold(held, numbers):
    joined = LabelColumns(("a", "b", "c")).joined(list(zip(*held, strict=True)), str)
    assert joined == [None if row == (None,) * 3 else row for row in held]
    columns = LabelColumns(("a", "b"))
    np.testing.assert_array_equal(columns.array(columns.joined(list(zip(*numbers, strict=True)), str)), numbers)


def test_a_frame_is_read_as_its_file_is(tmp_path):
    frame = pd.DataFrame(
        {
            "b": ["p", "q", "p", "r"],
            "x": [1.0, 2.0, 3.0, 4.0],
            "a": [1, 0, 1, 1],
            "c": [np.nan, 1, np.nan, 0],
            "e": [True, False, True, True],
            "t": [3, 2, 3, 1],
        }
    )
    frame.to_parquet(tmp_path / "t.parquet")
    for label, event, time, rest in ((["a", "c"], None, None, ["e", "t"]), (None, "e", "t", ["a", "c"])):
        there = bw.Bags.from_table(frame, "b", label, event=event, time=time, features=["x"])
        read = read_table(tmp_path / "t.parquet", bag="b", label=label, event=event, time=time, others=rest)
        assert there.label_names == read.label_names
        np.testing.assert_array_equal(there.labels, read.labels)
        assert there.labels.dtype == read.labels.dtype


def test_labels_named_label_stand_back_for_an_event_in_a_folder(tmp_path):
    for name in "pq":
        np.save(tmp_path / f"{name}.npy", np.zeros((2, 3)))
    path = write(tmp_path / "labels.csv", "bag,label,e,t; p,1,1,3; q,0,0,2")
    assert bw.read_folder(tmp_path, path).labels.tolist() == [1, 0]
    assert bw.read_folder(tmp_path, path, event="e", time="t").labels.tolist() == [(True, 3.0), (False, 2.0)]
    with pytest.raises(BagwiseError, match=r"a label \('label'\) is given beside event and time"):
        DataSource(str(tmp_path), labels=path, label="label", event="e", time="t").read()


# ---- what is wrong ---------------------------------------------------------------------------------------------------

WRONG = [
    (
        "b,a,c,x; p,1,yes,1; q,0,no,2",
        SEVERAL,
        "column 'c' holds yes in row 2 (bag 'p'): several columns",
    ),
    ("b,a,c,x; p,1,0,1; q,0,high,2", SEVERAL, "column 'c' mixes numbers and text: '0' in row 2, 'high' in row 3"),
    ("b,a,c,x; p,1,0,1; q,0,inf,2", SEVERAL, "column 'c' holds inf in row 3: a label that is a number must be finite"),
    ("b,a,x; p,1.5,1; q,-Infinity,2", ["--label", "a"], "column 'a' holds -Infinity in row 3"),
    (
        "b,a,c,x; p,2.5,1,1; q,0,,2",
        SEVERAL,
        "column 'c' is empty in row 3 (bag 'q'), and column 'a' holds 2.5",
    ),
    ("b,a,c,x; p,1,0,1; p,1,1,2; q,0,1,2", SEVERAL, "column 'c' differs within bag 'p': 0 in row 2, 1 in row 3"),
    ("b,a,c,x; p,1,0,1; p,1,,2; q,0,1,2", SEVERAL, "column 'c' differs within bag 'p': 0 in row 2, nothing in row 3"),
    ("b,a,c,x; p,,,1; q,,,2", SEVERAL, "columns 'a', 'c' are empty in row 2 and in all others: fill them in"),
    ("b,a,c,x; p,1,2.5,1; q,0,1,2", SEVERAL, "label 'a' holds 0 and 1 alone, and label 'c' holds 2.5 of bag 'p'"),
    ("b,a,c,x; p,1,2,1; q,0,1,2", [*SEVERAL, "--target", "multi-label"], "bag 'p' has 2 for the label 'c'"),
    ("b,a,c,x; p,1,0,1; q,0,1,2", [*SEVERAL, "--target", "classes"], "classes are one label a bag"),
    ("b,a,x; p,1,1; q,0,2", ["--label", "a", "--target", "multi-label"], "so name two columns or more"),
    ("b,a,x; p,1,1; q,0,2", ["--label", "a", "--label", "a"], "column 'a' is given for two labels"),
    (
        "b,e,t,x; p,1,3,1; q,0,-2,2",
        LIFE,
        "column 't' holds -2 in row 3 (bag 'q'): a time is a finite number",
    ),
    ("b,e,t,x; p,1,3,1; q,2,2,2", LIFE, "column 'e' holds 2 in row 3 (bag 'q'): an event is 0, 1, true or false"),
    ("b,e,t,x; p,yes,3,1; q,no,2,2", LIFE, "column 'e' holds yes in row 2 (bag 'p'): an event is 0, 1, true or false"),
    ("b,e,t,x; p,1,3,1; q,0,NaN,2", LIFE, "column 't' is empty in row 3 (bag 'q'), and column 'e' is not"),
    ("b,e,t,x; p,1,2020-01-01,1; q,0,2020-01-02,2", LIFE, "column 't' holds 2020-01-01 in row 2 (bag 'p')"),
    ("b,e,t,x; p,0,3,1; q,0,2,2", LIFE, "no training bag has an event"),
    ("b,e,t,x; p,1,3,1; q,0,2,2", [*LIFE, "--target", "classes"], "the labels are events and times"),
    ("b,e,t,x; p,1,3,1; q,0,2,2", ["--event", "e"], "a column for the event and none for the time"),
    ("b,e,t,x; p,1,3,1; q,0,2,2", ["--time", "t"], "a column for the time and none for the event"),
    ("b,e,t,x; p,1,3,1; q,0,2,2", [*LIFE, "--label", "x"], "a label ('x') is given beside event and time"),
    ("b,e,t,x; p,1,3,1; q,0,2,2", ["--target", "survival"], "--event and --time"),
    ("b,a,x; p,1,1; q,0,2", ["--label", "a", "--target", "survival"], "--event and --time"),
]


@pytest.mark.parametrize(("text", "options", "told"), WRONG, ids=range(len(WRONG)))
def test_what_is_wrong_is_one_sentence_everywhere(run, tmp_path, text, options, told):
    path = write(tmp_path / "t.csv", text)
    what = [path, "--bag", "b", *options]
    done = run("fit", *what, "--epochs", 1, "--jobs", 1, "--out", tmp_path / "run")
    assert done.status == 1
    assert len(done.told.splitlines()) == 1
    assert told in done.told
    assert not (tmp_path / "run" / "config.json").exists()
    checked = run("check", *what, "--json")
    assert checked.status == 1
    sentences = [one["sentence"] for one in json.loads(checked.out)["problems"]] if checked.out else [checked.told]
    assert any(told in sentence for sentence in sentences)


@pytest.mark.parametrize(
    ("columns", "given", "told"),
    [
        ({"a": [1, 0], "c": ["yes", "no"]}, {"label": ["a", "c"]}, r"'c' holds yes in row 0 \(bag 'p'\)"),
        (
            {"a": [1.5, 0], "c": [np.nan, 2]},
            {"label": ["a", "c"]},
            r"'c' is empty in row 0 \(bag 'p'\), and",
        ),
        ({"a": [1.5, 0], "c": [np.inf, 2]}, {"label": ["a", "c"]}, "'c' holds inf in row 0"),
        ({"a": [1, np.nan], "c": [0, np.nan]}, {"label": ["a", "c"]}, "bag 'q' has no label"),
        ({"e": [1, 0], "t": [-1, 2]}, {"event": "e", "time": "t"}, "'t' holds -1 in row 0"),
        ({"e": [1, 3], "t": [1, 2]}, {"event": "e", "time": "t"}, "'e' holds 3 in row 1"),
        ({"e": [1, 0], "t": [1, np.nan]}, {"event": "e", "time": "t"}, "'t' is empty in row 1"),
        ({"e": [1, 0], "t": [1, 2]}, {"event": "e"}, "a column for the event and none for the time"),
        ({"e": [1, 0], "t": [1, 2]}, {"event": "e", "time": "e"}, "'e' is given two uses"),
    ],
)
def test_what_is_wrong_in_a_frame_is_a_sentence(columns, given, told):
    frame = pd.DataFrame({"b": ["p", "q"], "x": [0.0, 1.0], **columns})
    with pytest.raises(BagwiseError, match=told):
        bw.Bags.from_table(frame, "b", **given)


def test_rows_of_a_bag_in_a_frame_agree_about_gaps_too():
    frame = pd.DataFrame({"b": ["p", "p", "q"], "x": [0.0, 1.0, 2.0], "a": [1, 1, 0], "c": [0, np.nan, 1]})
    with pytest.raises(BagwiseError, match="'c' differs within bag 'p': 0.0 in row 0, nothing in row 1"):
        bw.Bags.from_table(frame, "b", ["a", "c"])
