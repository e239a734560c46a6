import datetime

import numpy as np
import pandas as pd
import pytest

import bagwise as bw
from bagwise import Bags, BagwiseError
from bagwise.encoding import Encoding
from bagwise.feature_columns import Column

FRAME = pd.DataFrame(
    {
        "bag": ["p", "q", "p", "q", "r", "r"],
        "label": [1, 0, 1, 0, 1, 1],
        "size": [1.5, 0.5, 2.0, 3.0, 4.0, 5.0],
        "age": [31, 40, 31, 40, None, None],
        "town": ["Ulm", "Bonn", "Ulm", "Bonn", "Ulm", "Ulm"],
    }
)
DAYS = [datetime.date(2026, 1, day) for day in (2, 14, 3, 14, 5, 31)]
SECONDS = [datetime.datetime.combine(day, datetime.time(), datetime.UTC).timestamp() for day in DAYS]


def doors(frame, path, **given):
    frame.to_csv(path, index=False)
    return [Bags.from_table(frame, "bag", **given), bw.read_table(path, bag="bag", **given)]


@pytest.mark.parametrize(
    ("written", "way"),
    [
        ([day.strftime("%d.%m.%Y") for day in DAYS], ("%d.%m.%Y",)),
        ([day.strftime("%m/%d/%Y 00:00") for day in DAYS], ("%m/%d/%Y %H:%M",)),
        ([day.strftime("%d %b %Y") for day in DAYS], ("%d %b %Y",)),
        ([int(day.strftime("%Y%m%d")) for day in DAYS], ("%Y%m%d",)),
        ([int(seconds) for seconds in SECONDS], ("seconds since 1970",)),
        ([int(seconds * 1000) for seconds in SECONDS], ("milliseconds since 1970",)),
        (DAYS, ()),
    ],
)
def test_dates_are_read_as_they_are_written(tmp_path, written, way):
    order = [0, 1, 0, 1, 2, 2]
    for bags in doors(FRAME.assign(when=written)[["bag", "when"]], tmp_path / "t.csv", date=["w*"]):
        assert bags.columns[0] == Column("when", "date", way)
        assert bags.instances[:, 0].tolist() == [SECONDS[row] for row in np.argsort(order, kind="stable")]
        later = FRAME.assign(when=written).iloc[4:]
        assert Bags.from_table(later, "bag", like=bags.columns).instances[:, 0].tolist() == SECONDS[4:]


TIMES = [datetime.time(hour, 5, second) for hour, second in ((14, 0), (0, 30), (9, 0), (23, 59), (12, 1), (1, 0))]


@pytest.mark.parametrize("written", ["%H:%M:%S", "%I:%M:%S %p", "%I:%M:%S%p"])
def test_times_of_a_day_are_seconds_since_midnight(tmp_path, written):
    wanted = [3600.0 * time.hour + 300 + time.second for time in TIMES]
    frame = FRAME.assign(when=[time.strftime(written) for time in TIMES])[["bag", "when"]]
    for bags in doors(frame, tmp_path / "t.csv"):
        assert bags.instances[:, 0].tolist() == [wanted[row] for row in (0, 2, 1, 3, 4, 5)]
        encoding = Encoding.learn(bags.columns, bags.instances, bags.offsets, np.arange(len(bags)))
        assert encoding.pace.tolist() == [2 * np.pi / 86_400]
    frame.iloc[4:].to_parquet(tmp_path / "later.parquet")
    learnt = Bags.from_table(frame, "bag").columns
    later = bw.read_table(tmp_path / "later.parquet", bag="bag", like=learnt)
    assert (later.columns, later.instances[:, 0].tolist()) == (learnt, wanted[4:])


@pytest.mark.parametrize(
    ("written", "words"),
    [
        (["14:05", "14:10", "14:75", "14:20", None, "14:25"], "row 4: write all of them like 18:00"),
        (["01.02.2026", "03.02.2026", "soon", None, "03.02.2026", "05.02.2026"], "row 4"),
        (
            ["01/02/2026", "03/02/2026", "03/02/2026", "03/02/2026", "05/02/2026", None],
            "the day from the month.* row 2",
        ),
    ],
)
def test_what_is_no_date_is_refused(tmp_path, written, words):
    FRAME.assign(when=written).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(BagwiseError, match=f"'when' has .*{words}"):
        bw.read_table(tmp_path / "t.csv", bag="bag", date=["when"])


def test_a_table_and_a_table_of_bags_say_the_same_of_bags(tmp_path):
    given = {"label": "label", "features": ["size"], "bag_features": ["age", "to*"]}
    one, read = doors(FRAME, tmp_path / "t.csv", **given)
    assert one.columns[1:] == (
        Column("age", "number", role="bag"),
        Column("town", "category", ("Bonn", "Ulm"), None, "bag"),
    )
    np.testing.assert_array_equal(one.bag_features, [[31, 1], [40, 0], [np.nan, 1]])
    bags = FRAME.drop(columns="size").iloc[[4, 0, 1]]
    bags.to_csv(tmp_path / "bags.csv", index=False)
    FRAME[["size", "bag"]].to_csv(tmp_path / "t.csv", index=False)
    apart = bw.read_table(tmp_path / "t.csv", bag="bag", labels=tmp_path / "bags.csv", **given)
    for other in (read, apart):
        assert other.columns == one.columns
        np.testing.assert_array_equal(other.instances, one.instances)
    assert apart[[2, 0]].bag_features.tolist()[1] == [31, 1]
    assert apart.labels.tolist() == [1, 0, 1]
    assert FRAME.pipe(Bags.from_table, "bag").bag_features is None
    like = bw.read_table(tmp_path / "t.csv", bag="bag", labels=tmp_path / "bags.csv", like=one.columns)
    np.testing.assert_array_equal(like.instances, one.instances)
    bags.iloc[:2].to_csv(tmp_path / "bags.csv", index=False)
    with pytest.raises(BagwiseError, match=r"bags.csv: bag 'q' has no row"):
        bw.read_table(tmp_path / "t.csv", bag="bag", labels=tmp_path / "bags.csv", like=one.columns)


def test_bag_features_that_will_not_do_are_refused(tmp_path):
    frame = FRAME.assign(age=[31, 40, 31, 41, None, None])
    frame.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(BagwiseError, match=r"'age' has another value than in row 3 of the same bag 'q' in row 5"):
        bw.read_table(tmp_path / "t.csv", bag="bag", bag_features=["age"])
    with pytest.raises(BagwiseError, match="'age' is given two uses"):
        Bags.from_table(FRAME, "bag", features=["age"], bag_features=["age"])
    with pytest.raises(BagwiseError, match="no column 'ages' to be a feature: did you mean 'age'"):
        Bags.from_table(FRAME, "bag", bag_features=["ages"])
    learnt = Bags.from_table(FRAME, "bag", bag_features=["age"]).columns
    with pytest.raises(BagwiseError, match="no column 'age', which the model learnt from"):
        Bags.from_table(FRAME.drop(columns="age"), "bag", like=learnt)
    FRAME.to_csv(tmp_path / "t.csv", index=False)
    FRAME.to_csv(tmp_path / "bags.csv", index=False)
    with pytest.raises(BagwiseError, match="has the column 'age', and the table of bags too"):
        bw.read_table(tmp_path / "t.csv", bag="bag", labels=tmp_path / "bags.csv", bag_features=["age"])
