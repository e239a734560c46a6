import datetime
import decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import bagwise as bw
from bagwise import Bags, BagwiseError, BagwiseWarning, read_table
from bagwise.feature_columns import Column

DATES = ["2026-01-02 00:00:01", "2026-01-02", None, "2026-01-03", "2026-01-04", "2026-01-03"]
FRAME = pd.DataFrame(
    {
        "bag": ["p", "q", "p", "q", "r", "r"],
        "label": [1, 0, 1, 0, 1, 1],
        "colour": ["red", "blue", None, "red", "red", "blue"],
        "size": [1.5, np.nan, 2.0, 3.0, 4.0, 5.0],
        "when": pd.to_datetime(DATES, format="ISO8601"),
        "good": pd.array([True, None, False, True, True, False], dtype="boolean"),
        "code": [1, 2, 3, 1, 2, 3],
    }
)
DAY = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC).timestamp()
WANTED = {
    "colour": [1, np.nan, 0, 1, 1, 0],
    "size": [1.5, 2, np.nan, 3, 4, 5],
    "when": [DAY + 1, np.nan, DAY, DAY + 86400, DAY + 2 * 86400, DAY + 86400],
    "when: seconds since the first of the bag": [0, np.nan, 0, 86400, 86400, 0],
    "good": [1, 0, np.nan, 1, 1, 0],
    "code": [1, 3, 2, 1, 2, 3],
}


def written(frame, path):
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path)
    return read_table(path, bag="bag", label="label")


@pytest.mark.parametrize(
    "door",
    [
        lambda frame, folder: written(frame, folder / "t.csv"),
        lambda frame, folder: written(frame, folder / "t.parquet"),
        lambda frame, _: Bags.from_table(frame, "bag", "label"),
        lambda frame, _: Bags.from_table(pl.from_pandas(frame), "bag", "label"),
        lambda frame, _: Bags.from_table(pa.Table.from_pandas(frame), "bag", "label"),
    ],
    ids=["csv", "parquet", "pandas", "polars", "arrow"],
)
def test_all_doors_read_the_same_of_a_table_of_all_kinds(door, tmp_path):
    bags = door(FRAME, tmp_path)
    assert bags.feature_names == tuple(WANTED)
    kinds = ["category", "number", "date", "number", "number", "number"]
    assert [column.kind for column in bags.columns] == kinds
    assert bags.columns[0].values == ("blue", "red")
    assert bags.columns[3].source == "when"
    np.testing.assert_array_equal(bags.instances, np.column_stack(list(WANTED.values())))
    some = bags[[2, 0]]
    assert some.columns == bags.columns
    np.testing.assert_array_equal(some.instances, bags.instances[[4, 5, 0, 1]])
    assert Bags.concat([bags, some.with_labels([0, 1])]).columns == bags.columns


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ([datetime.date(1970, 1, 2), datetime.date(1970, 1, 3)], [86400.0, 172800.0]),
        ([datetime.time(1), datetime.time(2, 30)], [3600.0, 9000.0]),
        (pa.array([1, 2], pa.timestamp("ms")), [0.001, 0.002]),
        (pa.array([0, 1], pa.timestamp("s", "Europe/Berlin")), [3600.0, 3601.0]),
        (pa.array([1500, None], pa.duration("ms")), [1.5, np.nan]),
        ([decimal.Decimal("1.5"), None], [1.5, np.nan]),
        (pa.array(["v", "u"]).dictionary_encode(), [1.0, 0.0]),
        (pa.nulls(2), [np.nan, np.nan]),
    ],
    ids=["date", "time", "timestamp", "timestamp with a zone", "duration", "decimal", "dictionary", "nulls"],
)
def test_types_of_arrow_are_read(tmp_path, values, wanted):
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"bag": ["p", "q"], "label": [0, 1], "y": [1.0, 2.0], "x": values}), tmp_path / "t.parquet")
    bags = read_table(tmp_path / "t.parquet", bag="bag", label="label")
    np.testing.assert_array_equal(bags.instances[:, 1], wanted)


def test_what_is_categorical_is_read_as_it_is_written_and_what_tells_nothing_is_left_out(tmp_path):
    frame = FRAME[["bag", "label", "code"]].assign(
        zip=["007", "7", "007", "1", "1", "7"], note=list("abcdef"), same="s"
    )
    frame.to_csv(tmp_path / "t.csv", index=False)
    with pytest.warns(BagwiseWarning, match=r"columns 'note' \(an identifier\), 'same' \(one value\) are left out"):
        bags = read_table(tmp_path / "t.csv", bag="bag", label="label", categorical=["z*"])
    assert bags.columns == (Column("code", "number"), Column("zip", "category", ("007", "1", "7")))
    with pytest.warns(BagwiseWarning, match="left out"):
        plain = Bags.from_table(frame.drop(columns="zip"), "bag", "label")
    assert (plain.columns, plain.feature_names, plain.instances.shape) == (None, ("code",), (6, 1))
    codes = Bags.from_table(frame, "bag", "label", features=["code", "note"], categorical=["*"]).columns
    assert [column.values for column in codes] == [("1", "2", "3"), tuple("abcdef")]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"x": ["1", "2", "3", "4", "5", "tall"]}, ["'x' is not numeric: row 7 holds 'tall'"]),
        ({"x": ["1,5", "2,5", "3", "4", "5,25", "6"]}, ["'x' is not numeric", "row 2 holds '1,5'"]),
        ({"x": [1, 2, np.inf, 4, 5, 6]}, ["'x' has an infinity in row 4"]),
    ],
)
def test_what_no_model_can_take_is_refused_with_its_row(tmp_path, change, words):
    FRAME.assign(**change).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(BagwiseError) as caught:
        read_table(tmp_path / "t.csv", bag="bag", label="label")
    assert all(word in str(caught.value) for word in words)


def test_a_table_is_read_like_another(tmp_path):
    bags = Bags.from_table(FRAME, "bag", "label")
    other = FRAME.iloc[:2].assign(colour=["green", "red"], code=[None, 9])
    other = other[["code", "good", "when", "size", "bag", "colour"]]
    other.to_csv(tmp_path / "t.csv", index=False)
    with pytest.warns(BagwiseWarning, match="'colour' has a value that no bag learnt from had \\('green'\\)"):
        read = read_table(tmp_path / "t.csv", bag="bag", like=bags.columns)
    assert read.columns[0].values == ("blue", "green", "red")  # a name to show, which a model takes for a rare one
    assert read.columns[1:] == bags.columns[1:]
    assert read.instances[:, 0].tolist() == [1.0, 2.0]
    with pytest.warns(BagwiseWarning):
        same = Bags.from_table(other, "bag", like=bags.columns)
    np.testing.assert_array_equal(same.instances, read.instances)
    with pytest.raises(BagwiseError, match="no column 'size'"):
        Bags.from_table(other.drop(columns="size"), "bag", like=bags.columns)
    assert bw.Bags.from_table(FRAME, "bag", like=bags.columns).columns == bags.columns
