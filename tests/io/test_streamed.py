"""A table that stays in its file gives what it gives read at once, and its faults are told alike."""

import warnings

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import bagwise as bw
from bagwise import BagwiseError, BagwiseWarning
from bagwise.bags import like_learnt
from bagwise.io import pieces, streamed
from bagwise.io.streamed import stream_table

ROWS, BAGS = 400, 30
quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(pieces, "_PIECE", 3_000)
    monkeypatch.setattr(pieces, "_ROWS", 70)
    monkeypatch.setattr(streamed, "_HELD", 8 * 20 * 60)  # some sixty rows


def made(seed, *, scattered):
    rng = np.random.default_rng(seed)
    bag = rng.integers(0, BAGS, ROWS)
    bag = bag if scattered else np.sort(bag)
    when = pd.Timestamp("2026-01-01") + pd.to_timedelta(rng.integers(0, 10**7, ROWS), "s")
    few = rng.random(ROWS) < 0.1
    return pd.DataFrame(
        {
            "bag": [f"b{number}" for number in bag],
            "note": [f"n {number}" for number in range(ROWS)],
            "size": np.round(rng.normal(size=ROWS), 3),
            "whole": rng.integers(0, 9, ROWS),
            "gappy": np.where(few, np.nan, np.round(rng.normal(size=ROWS), 2)),
            "late": np.where(np.arange(ROWS) < ROWS // 2, np.nan, 0.5),  # nothing for half of the file
            "good": rng.random(ROWS) < 0.5,
            "colour": np.where(few, None, rng.choice(["red", " blue", "007"], ROWS)),
            "when": when,
            "day": when.strftime("%d.%m.%Y"),
            "time": when.strftime("%H:%M:%S"),
            "age": bag % 7,
            "town": np.where(bag % 3 == 0, "Ulm", "Bonn"),
        }
    )


def put(frame, path):
    frame.to_csv(path, index=False) if path.suffix == ".csv" else frame.to_parquet(path, row_group_size=150)
    return path


def told(read):
    """Give what a reader gives, or its error, and all that it tells."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            found = read()
        except BagwiseError as error:
            found = str(error)
    return found, sorted(str(one.message) for one in caught if issubclass(one.category, BagwiseWarning))


def at_once(path, learnt, **given):
    read = bw.read_table(path, bag="bag", like=learnt.columns, **given)
    return like_learnt(read, learnt.instance_shape, learnt.feature_names, learnt.columns)


def from_file(path, learnt, **given):
    read = stream_table(path, bag="bag", features=learnt.feature_names, like=learnt.columns, **given)
    return at_once(path, learnt, **given) if read is None else bw.Bags(np.asarray(read.instances), **parts(read))


def parts(bags):
    return {name: getattr(bags, name) for name in ("offsets", "names", "feature_names", "columns")}


@quick
@given(
    seed=st.integers(0, 99),
    scattered=st.booleans(),
    ending=st.sampled_from(["csv", "parquet"]),
    order=st.sampled_from([None, "when", "whole", "time"]),
    of_bags=st.sampled_from([(), ("age",), ("age", "town")]),
)
def test_instances_and_warnings_are_those_of_the_whole_table(tmp_path, seed, scattered, ending, order, of_bags):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        learnt = bw.read_table(
            put(made(seed, scattered=True), tmp_path / f"old.{ending}"),
            bag="bag",
            drop=["note"],
            order=order,
            bag_features=of_bags,
            date=["day"],
        )
    frame = made(seed + 1, scattered=scattered)
    frame.loc[[7, 300], "colour"] = ["pink", "pale "]
    frame.loc[250:, "bag"] = frame.bag[250:].str.upper()
    given = {}
    if of_bags:
        beside = frame[["bag", *of_bags]].drop_duplicates().assign(age=lambda f: f.age + 1)
        frame, given = frame.drop(columns=list(of_bags)), {"labels": put(beside, tmp_path / f"bags.{ending}")}
    path = put(frame.iloc[:, ::-1], tmp_path / f"new.{ending}")
    (whole, of_whole), (stored, of_stored) = (told(lambda r=r: r(path, learnt, **given)) for r in (at_once, from_file))
    assert of_whole == of_stored
    assert any("'pale', 'pink'" in sentence for sentence in of_stored)
    assert stored.columns == learnt.columns
    np.testing.assert_array_equal(stored.instances, whole.instances)
    np.testing.assert_array_equal(stored.offsets, whole.offsets)
    assert stored.names.tolist() == whole.names.tolist()


@pytest.mark.parametrize("scattered", [False, True])
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_few_rows_are_held_and_any_may_be_asked_for(tmp_path, monkeypatch, scattered, ending):
    learnt = bw.read_table(put(made(0, scattered=True), tmp_path / f"old.{ending}"), bag="bag", drop=["note"])
    path, sizes = put(made(1, scattered=scattered), tmp_path / f"new.{ending}"), []
    read = streamed._Whole.read

    def spied(self, bags, arrow, *rest):
        sizes.append(len(arrow))
        return read(self, bags, arrow, *rest)

    monkeypatch.setattr(streamed._Whole, "read", spied)
    bags = stream_table(path, bag="bag", features=learnt.feature_names, like=learnt.columns)
    whole = at_once(path, learnt)
    for begin, end in ((0, 5), (390, 400), (100, 300), (0, 400), (7, 7)):
        np.testing.assert_array_equal(bags.instances[begin:end], whole.instances[begin:end])
    assert max(sizes) <= streamed._HELD // (8 * whole.instance_shape[0])
    np.testing.assert_array_equal(bags[[20, 3]].instances[:], whole[[20, 3]].instances)


def edited(row, column, value):
    def change(frame):
        frame[column] = frame[column].astype(object)
        frame.loc[row, column] = value
        return frame

    return change


FAULTS = {
    "an infinity": edited(333, "size", "inf"),
    "a word among numbers": edited(333, "size", "tall"),
    "a whole number that is not exact": edited(333, "whole", str(2**53 + 1)),
    "a gap in the bag": edited(333, "bag", None),
    "nothing but gaps in the bag": lambda frame: frame.assign(bag=frame.bag.where(frame.index < 200)),
    "no bag at all": lambda frame: frame.assign(bag=None),
    "no rows": lambda frame: frame[:0],
    "a gap in the order": edited(333, "when", None),
    "another value in the same bag": edited(333, "age", 99),
    "a date written otherwise": edited(333, "day", "2026-01-01"),
    "a column that is missing": lambda frame: frame.drop(columns="good"),
    "a column twice": lambda frame: frame.rename(columns={"note": " size"}),
    "a row that is too long": lambda frame: frame.to_csv(index=False).replace("\nb3,", "\n1,b3,", 1),
    "a NUL": lambda frame: frame.to_csv(index=False).replace("n 333", "n\0"),
    "a quote that is open": lambda frame: frame.to_csv(index=False).replace("n 333", '"n 333'),
    "a line break": edited(333, "note", "n\n333"),
    "numbers that are booleans": lambda frame: frame.assign(whole=frame.whole > 3),
    "booleans that are numbers": lambda frame: frame.assign(good=frame.good.astype(int)),
    "empty lines": lambda frame: frame.to_csv(index=False).replace("\nb3,", "\n\n\nb3,", 1),
    "padded names": lambda frame: frame.assign(bag=" " + frame.bag),
    "commas": lambda frame: frame.assign(note="a, b"),
    "carriage returns": lambda frame: frame.to_csv(index=False, lineterminator="\r\n"),
    "text in UTF-16": lambda frame: frame.to_csv(index=False).encode("utf-16"),
    "text in Latin-1": lambda frame: frame.to_csv(index=False).replace("n 333", "é").encode("latin-1"),
    "a mark at the beginning": lambda frame: ("\ufeff" + frame.to_csv(index=False)).encode(),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_odd_or_wrong_is_told_alike(tmp_path, fault):
    given = {"drop": ["note"], "order": "when", "bag_features": ["age"], "date": ["day"]}
    learnt = bw.read_table(put(made(0, scattered=False), tmp_path / "old.csv"), bag="bag", **given)
    changed, path = FAULTS[fault](made(1, scattered=False)), tmp_path / "new.csv"
    if isinstance(changed, pd.DataFrame):
        put(changed, path)
    else:
        path.write_bytes(changed.encode() if isinstance(changed, str) else changed)
    (whole, of_whole), (stored, of_stored) = (told(lambda r=r: r(path, learnt)) for r in (at_once, from_file))
    assert of_stored == of_whole
    if isinstance(whole, str):
        assert stored == whole
    else:
        np.testing.assert_array_equal(stored.instances, whole.instances)
        assert stored.names.tolist() == whole.names.tolist()


def test_numbers_in_single_precision_stay_so_and_gaps_in_them_are_told(tmp_path):
    frame = made(0, scattered=True)[["bag", "size"]].astype({"size": np.float32})
    path = put(frame, tmp_path / "t.parquet")
    bags = stream_table(path, bag="bag", features=["size"])
    whole = bw.read_table(path, bag="bag")
    assert bags.instances.dtype == whole.instances.dtype == np.float32
    np.testing.assert_array_equal(bags.instances[:], whole.instances)
    frame.loc[222, "size"] = np.nan
    bags = stream_table(put(frame, path), bag="bag", features=["size"])
    with pytest.raises(BagwiseError, match=f"'size' has a gap in bag '{frame.bag[222]}', and had none"):
        bags.instances[:]


def test_a_file_that_changes_is_noticed_and_a_broken_one_told(tmp_path):
    frame = made(0, scattered=False)[["bag", "size"]]
    path = put(frame, tmp_path / "t.csv")
    bags = stream_table(path, bag="bag", features=["size"])
    put(frame[:100], path)
    with pytest.raises(BagwiseError, match=r"t\.csv changed while it was in use"):
        bags.instances[:]
    path = put(frame.assign(size=np.random.default_rng(0).normal(size=ROWS)), tmp_path / "t.parquet")
    whole = bytearray(path.read_bytes())
    bags = stream_table(path, bag="bag", features=["size"])
    whole[len(whole) // 3 : len(whole) // 2] = bytes(len(whole) // 2 - len(whole) // 3)
    path.write_bytes(whole)
    with pytest.raises(BagwiseError, match=r"t\.parquet: this is no whole Parquet file"):
        bags.instances[:]


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["1", "2.5", ""], pa.float64()),
        (["true", "", "False"], pa.bool_()),
        (["1", "true", ""], None),
        (["2026-01-02", "2026-01-02 10:00", "2026-01-02 10:00:00.5"], pa.timestamp("ns")),
        (["2026-01-02", "soon", "3"], None),
        (["14:05", "x", ""], pa.string()),
        (["", "", ""], pa.null()),
    ],
)
def test_a_column_is_what_it_is_as_a_whole(tmp_path, monkeypatch, cells, kind):
    monkeypatch.setattr(pieces, "_PIECE", 8)
    path = tmp_path / "t.csv"
    path.write_text("bag,x\n" + "".join(f"{number:07d},{cell}\n" for number, cell in enumerate(cells)))
    found = pieces.pieces_of(path, ["bag"], ["bag", "x"], lambda _: None)
    assert (None if found is None else found.types["x"]) == kind


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b", "A", " a", '"c"', '"c,d"', "", "é", "NA", "1"]),
            st.sampled_from(
                ["1", "2.5", "", "true", "0", "inf", "-3e4", "tall", '"7"', " 8 ", "9e15", "1e400", '5"', "nan"]
            ),
            st.sampled_from(["\n", "\n", "\n", "\r\n", "\n\n", "\r", ",1\n"]),
        ),
        max_size=12,
    ),
    st.sampled_from([0, 6, 40]),
)
def test_whatever_lines_there_are_both_ways_say_the_same(tmp_path, lines, usual):
    path = tmp_path / "t.csv"
    text = "bag,x\n" + "".join(f"u{number % 4},{number}.5\n" for number in range(usual))
    path.write_bytes((text + "".join(f"{bag},{cell}{end}" for bag, cell, end in lines)).encode())

    def whole():
        bags = bw.read_table(path, bag="bag", features=["x"])
        return bags.names.tolist(), like_learnt(bags, (1,), ["x"]).instances.tolist()

    def from_pieces():
        bags = stream_table(path, bag="bag", features=["x"])
        return whole() if bags is None else (bags.names.tolist(), bags.instances[:].tolist())

    pieces._PIECE = 11  # which the fixture sets back
    assert told(from_pieces) == told(whole)
