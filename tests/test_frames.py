"""Bags from tables in memory."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bagwise.bags import Bags
from bagwise.errors import BagwiseError
from bagwise.feature_columns import Column

quick = settings(max_examples=60)

FRAME = pd.DataFrame({"bag": ["p", "q", "p"], "label": [1, 0, 1], "x": [1.0, 2.0, 3.0], "y": [4.0, 5.0, 6.0]})


def refusal(*arguments, **named) -> str:
    with pytest.raises(BagwiseError) as caught:
        Bags.from_table(*arguments, **named)
    text = str(caught.value)
    assert "\n" not in text
    assert not text.endswith(".")
    return text


@quick
@given(st.data(), st.lists(st.integers(1, 4), min_size=1, max_size=5))
def test_rows_of_a_bag_may_stand_anywhere(data, sizes):
    rows = data.draw(st.permutations([bag for bag, size in enumerate(sizes) for _ in range(size)]))
    frame = pd.DataFrame({"bag": rows, "x": np.arange(float(len(rows)))}, index=np.arange(len(rows))[::-1] * 7)
    frame["label"] = frame["bag"] % 2 == 0
    frame["where"] = frame["x"] * 10
    frame["inside"] = frame["x"].astype(int)
    frame["patient"] = frame["bag"] // 2
    bags = Bags.from_table(
        frame, "bag", "label", group="patient", instance_label="inside", coordinates=["where"], features=["x"]
    )
    order = list(dict.fromkeys(rows))
    assert bags.names.tolist() == [str(bag) for bag in order]
    assert bags.feature_names == ("x",)
    for name, bag in zip(order, bags, strict=True):
        expected = [float(row) for row, other in enumerate(rows) if other == name]
        assert bag.instances.ravel().tolist() == expected
        assert bag.coordinates.ravel().tolist() == [10 * x for x in expected]
        assert bag.instance_labels.tolist() == expected
        assert bag.label == (name % 2 == 0)
        assert bag.group == name // 2


@pytest.mark.parametrize(
    ("ids", "names"),
    [
        ([2, 1, 2], ["2", "1"]),
        (["b", "a", "b"], ["b", "a"]),
        ([2.5, 1.5, 2.5], ["2.5", "1.5"]),
        (pd.Categorical(["b", "a", "b"], categories=["a", "b", "unused"]), ["b", "a"]),
        (pd.array(["b", "a", "b"], dtype="string"), ["b", "a"]),
        (pd.array(["b", "a", "b"], dtype="string[pyarrow]"), ["b", "a"]),
        (pd.array([2, 1, 2], dtype="Int64"), ["2", "1"]),
        (pd.array([2, 1, 2], dtype="int64[pyarrow]"), ["2", "1"]),
        ([True, False, True], ["True", "False"]),
        ([("s", 2), ("s", 1), ("s", 2)], ["('s', 2)", "('s', 1)"]),
        (["", " ", ""], ["", " "]),
    ],
    ids=repr,
)
def test_bag_columns_of_any_kind_name_the_bags(ids, names):
    bags = Bags.from_table(FRAME.assign(bag=ids), "bag", "label")
    assert bags.names.tolist() == names
    assert all(type(name) is str for name in bags.names)
    assert bags.sizes.tolist() == [2, 1]
    assert bags.instances.tolist() == [[1, 4], [3, 6], [2, 5]]


@pytest.mark.parametrize(
    "dtype", ["Int64", "Int8", "Float64", "Float32", "boolean", "int64[pyarrow]", "double[pyarrow]"]
)
def test_nullable_columns_are_numbers_and_their_gaps_are_found(dtype):
    bags = Bags.from_table(FRAME.assign(x=pd.array([1, 0, 1], dtype=dtype)), "bag", "label", features=["x"])
    assert bags.instances.tolist() == [[1], [1], [0]]
    assert bags.instances.dtype.kind == "f"
    bags = Bags.from_table(FRAME.assign(x=pd.array([1, 0, None], dtype=dtype)), "bag", "label", features=["x"])
    np.testing.assert_array_equal(bags.instances, [[1], [np.nan], [0]])
    assert bags.columns == (Column("x", "number"),)


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint64, np.float16, np.float32, np.float64])
def test_numeric_columns_of_any_width_are_taken(dtype):
    bags = Bags.from_table(FRAME.assign(x=np.array([1, 0, 1], dtype)), "bag", "label", features=["x"])
    assert bags.instances.tolist() == [[1], [1], [0]]


def test_a_table_of_float32_stays_float32():
    frame = FRAME.astype({"x": np.float32, "y": np.float32})
    assert Bags.from_table(frame, "bag", "label").instances.dtype == np.float32


def test_object_columns_of_numbers_are_numbers():
    bags = Bags.from_table(FRAME.assign(x=np.array([1, 2.5, True], dtype=object)), "bag", "label", features=["x"])
    assert bags.instances.tolist() == [[1], [1], [2.5]]


@pytest.mark.parametrize(
    ("column", "row", "shown"),
    [
        (["1.5", "2", "3"], 0, "'1.5'"),
        ([1.0, "two", 3.0], 1, "'two'"),
        ([1j, 2j, 3j], 0, "1j"),
        ([[1], [2], [3]], 0, "[1]"),
    ],
    ids=repr,
)
def test_columns_that_are_not_numeric_are_refused_with_their_row(column, row, shown):
    column = column if isinstance(column, pd.Index | pd.Categorical) else np.array([*column, 0], dtype=object)[:3]
    text = refusal(FRAME.assign(x=column), "bag", "label")
    assert "column 'x'" in text
    assert f"row {row} (bag {'pqp'[row]!r})" in text
    assert shown in text


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("column", ["x", "y"])
def test_a_gap_in_a_table_is_found_in_its_column_and_row(value, column):
    frame = FRAME.copy()
    frame.loc[1, column] = value
    expected = f"column {column!r} has a NaN or an infinity in row 1 (bag 'q')"
    assert expected in refusal(frame, "bag", "label", features=["xy".replace(column, "")], coordinates=[column])
    if np.isinf(value):
        assert f"column {column!r} has an infinity in row 1 (bag 'q')" in refusal(frame, "bag", "label")


@pytest.mark.parametrize("use", ["label", "group"])
def test_values_that_differ_within_a_bag_are_shown_with_their_rows(use):
    frame = FRAME.assign(other=["u", "v", "w"])
    text = refusal(frame, "bag", **{use: "other"})
    assert "column 'other' differs within bag 'p': u in row 0, w in row 2" in text


@pytest.mark.parametrize("column", ["bag", "label", "group"])
@pytest.mark.parametrize("gap", [None, np.nan, pd.NA])
def test_a_gap_in_a_column_of_bags_is_found_in_its_row(column, gap):
    frame = FRAME.assign(group="g").astype({"bag": object, "label": object, "group": object})
    frame.loc[2, column] = gap
    text = refusal(frame, "bag", "label", group="group")
    assert f"column {column!r} is empty in row 2" in text


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pd.array([1, 0, 1], dtype="Int64"), [1, 0]),
        (pd.array([True, False, True], dtype="boolean"), [True, False]),
        (pd.array(["a", "b", "a"], dtype="string"), ["a", "b"]),
        (pd.Categorical(["a", "b", "a"]), ["a", "b"]),
        (pd.Categorical([4, 5, 4]), [4, 5]),
        ([1.0, 0.0, 1.0], [1, 0]),
        (np.array([1, 0, 1], dtype=object), [1, 0]),
        (np.array([True, False, True], dtype=object), [True, False]),
    ],
    ids=repr,
)
def test_label_columns_of_any_kind_are_read(column, expected):
    bags = Bags.from_table(FRAME.assign(label=column), "bag", "label")
    assert bags.labels.tolist() == expected
    assert bags.labels.dtype.kind in "biU"


def test_features_may_be_chosen_and_ordered():
    bags = Bags.from_table(FRAME.assign(note="text"), "bag", "label", features=["y", "x"])
    assert bags.feature_names == ("y", "x")
    assert bags.instances.tolist() == [[4, 1], [6, 3], [5, 2]]


@pytest.mark.parametrize("make", [pd.Index, np.array, tuple])
def test_features_may_come_in_any_list_of_names(make):
    assert Bags.from_table(FRAME, "bag", "label", features=make(["y", "x"])).feature_names == ("y", "x")


def test_columns_may_be_numbered():
    frame = pd.DataFrame([[1.0, 2.0], [3.0, 4.0]]).assign(bag=["p", "q"])
    bags = Bags.from_table(frame, "bag")
    assert bags.feature_names == ("0", "1")
    assert bags.instances.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"bag": "nobody"}, "nobody"),
        ({"bag": "bag", "label": "nobody"}, "nobody"),
        ({"bag": "bag", "group": "nobody"}, "nobody"),
        ({"bag": "bag", "features": ["x", "nobody"]}, "nobody"),
        ({"bag": "bag", "coordinates": ["nobody"]}, "nobody"),
        ({"bag": "bag", "instance_label": "nobody"}, "nobody"),
        ({"bag": "bag", "label": "bag"}, "two uses"),
        ({"bag": "bag", "label": "label", "features": ["x", "label"]}, "two uses"),
        ({"bag": "bag", "features": ["x", "x"]}, "two uses"),
        ({"bag": "bag", "label": "label", "coordinates": ["x", "y"]}, "no feature columns"),
    ],
    ids=repr,
)
def test_columns_that_are_missing_or_used_twice_are_refused(arguments, word):
    assert word in refusal(FRAME, **arguments)


def test_tables_with_a_doubled_column_or_no_rows_are_refused():
    doubled = pd.concat([FRAME, FRAME[["x"]]], axis=1)
    assert "two columns 'x'" in refusal(doubled, "bag", "label")
    assert "no rows" in refusal(FRAME.iloc[:0], "bag", "label")


def test_reading_a_table_leaves_it_as_it_was():
    frame = FRAME.copy()
    Bags.from_table(frame, "bag", "label")
    pd.testing.assert_frame_equal(frame, FRAME)


# ---- other libraries' tables --------------------------------------------------------------------------------------


def polars_of_categories(frame):
    return pl.from_pandas(frame).with_columns(pl.col("bag").cast(pl.Categorical), pl.col("x").cast(pl.Decimal(9, 2)))


@pytest.mark.parametrize(
    "make",
    [
        pl.from_pandas,
        polars_of_categories,
        pa.Table.from_pandas,
        pa.RecordBatch.from_pandas,
        lambda frame: pa.Table.from_pandas(frame.set_index("bag")),
        lambda frame: pa.Table.from_pandas(frame.set_index(np.array([7, 3, 5]))),
    ],
)
def test_a_table_of_another_library_gives_what_that_of_pandas_gives(make):
    frame = FRAME.assign(where=[5, 6, 7], patient=["u", "v", "u"], name=["i", "j", "k"])
    uses = {"group": "patient", "coordinates": ["where"], "instance": "name", "label": "label"}
    wanted, made = (Bags.from_table(table, "bag", **uses) for table in (frame, make(frame)))
    assert made.feature_names == wanted.feature_names == ("x", "y")
    for one, other in zip(made, wanted, strict=True):
        assert (one.name, one.label, one.group) == (other.name, other.label, other.group)
        for part in ("instances", "coordinates", "instance_names"):
            np.testing.assert_array_equal(getattr(one, part), getattr(other, part))


@pytest.mark.parametrize("column", ["bag", "label"])
def test_a_gap_in_a_table_of_another_library_is_found(column):
    table = pl.from_pandas(FRAME).with_columns(pl.Series(column, [1, None, 1]))
    text = refusal(table, "bag", "label")
    assert f"column {column!r}" in text
    assert "in row 1" in text


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (pl.DataFrame({"bag": ["p"]}).lazy(), "not a LazyFrame: give what its collect() gives"),
        ({"bag": ["p"], "x": [1.0]}, "not a dict: give a pandas or polars DataFrame or an Arrow table"),
        ([{"bag": "p", "x": 1.0}], "not a list: give a pandas"),
        (np.zeros((3, 2)), "Bags.from_arrays"),
        ("cells.csv", "'cells.csv' is a path and no table: bagwise.read_table reads files"),
        (pl.Series([1.0]), "the Series is no table"),
        (None, "not a NoneType"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_table_is_refused_and_the_message_says_what_to_call(table, told):
    assert told in refusal(table, "bag")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"bag": "bog"}, "the table has no column 'bog': did you mean 'bag'?"),
        ({"bag": "bag", "label": "class"}, "the table has no column 'class': it has bag, label, x, y"),
        ({"bag": ["bag"]}, "['bag'] is given for a column: give one name"),
        ({"bag": "bag", "features": "xy"}, "features is 'xy': give a list of names of columns"),
        ({"bag": "bag", "coordinates": "xy"}, "coordinates is 'xy'"),
    ],
)
def test_a_column_that_is_not_there_is_named_with_those_that_are_meant(arguments, told):
    assert told in refusal(FRAME, **arguments)
