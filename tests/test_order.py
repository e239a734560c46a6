import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bagwise as bw
from bagwise import Bags, BagwiseError
from bagwise.encoding import Encoding
from bagwise.feature_columns import Column
from bagwise.order import ordered

FRAME = pd.DataFrame(
    {
        "bag": ["p", "q", "p", "p", "q", "r"],
        "label": [1, 0, 1, 1, 0, 1],
        "kind": ["call", "card", "card", None, "card", "call"],
        "size": [1.5, 2.0, np.nan, 3.0, 4.0, 5.0],
        "step": [3, 1, 1, 2, 7, 4],
    }
)


def plain(values, bag, parts):
    """What is before each row, row by row."""
    found = []
    for row in range(len(values)):
        own = [other for other in range(len(values)) if bag[other] == bag[row]]
        earlier = [other for other in own if values[other] < values[row]]
        place = len(earlier) / max(1, len(own) - 1)
        if not earlier:
            found.append([place, np.nan, *[np.nan] * len(parts)])
            continue
        last = max(values[other] for other in earlier)
        same = [other for other in earlier if values[other] == last]
        one = min(same, key=lambda other: [np.nan_to_num(part[other], nan=np.inf) for part in parts])
        found.append([place, values[row] - last, *(part[one] for part in parts)])
    return np.array(found)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 2), st.integers(0, 2)), min_size=1))
def test_an_order_says_what_a_plain_loop_does(rows):
    bag, values, one, other = (np.array(column) for column in zip(*rows, strict=True))
    bag = np.unique(bag, return_inverse=True)[1]
    parts = [np.where(one == 2, np.nan, one), other.astype(float)]
    columns = [Column("one", "category", ("a", "b")), Column("other", "number")]
    made = ordered("step", "number", values.astype(float), bag, columns, parts)
    np.testing.assert_array_equal(np.column_stack([numbers for _, numbers in made]), plain(values, bag, parts))


def test_a_table_says_what_came_before(tmp_path):
    bags = Bags.from_table(FRAME, "bag", "label", order="step")
    assert bags.feature_names == (
        "kind",
        "size",
        "step",
        "step: place in the bag",
        "step: since the one before",
        "kind, of the one before",
        "size, of the one before",
    )
    wanted = [[1, 1, np.nan, 3], [0, np.nan, np.nan, np.nan], [0.5, 1, 1, np.nan]]
    np.testing.assert_array_equal(bags[0].instances[:, 3:], wanted)
    FRAME.to_csv(tmp_path / "t.csv", index=False)
    read = bw.read_table(tmp_path / "t.csv", bag="bag", label="label", order="step")
    assert read.columns == bags.columns
    np.testing.assert_array_equal(read.instances, bags.instances)
    dropped = Bags.from_table(FRAME, "bag", "label", order="step", drop=["step"])
    np.testing.assert_array_equal(dropped.instances, np.delete(bags.instances, 2, axis=1))
    assert Bags.from_table(FRAME.drop(columns="label"), "bag", like=dropped.columns).columns == dropped.columns


def test_what_was_before_is_shown_as_what_an_instance_is_itself():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"bag": np.repeat(np.arange(60), 4), "step": np.tile(np.arange(4), 60)})
    frame["kind"], frame["size"] = rng.choice(list("abcd"), 240), rng.lognormal(3, 1, 240)
    bags = Bags.from_table(frame, "bag", order="step", drop=["step"])
    encoding = Encoding.learn(bags.columns, bags.instances, bags.offsets, np.arange(60))
    shown = encoding.apply(bags.instances)
    assert encoding.width == 2 * (4 + 1) + 2  # itself and the one before, the place, and a mark of the first
    numbers = encoding.numbers.tolist()
    own, before = numbers.index(1), numbers.index(5)
    np.testing.assert_array_equal(shown[1::4, before], shown[0::4, own])
    assert (shown[0::4, before] == 0).all()


@pytest.mark.filterwarnings("ignore:.*predict one class", "ignore:column 'kind' has a value")
@pytest.mark.parametrize("name", ["attention", "summary-logistic"])
def test_answers_depend_on_time_and_not_on_rows(name, tmp_path):
    rng = np.random.default_rng(1)
    size = 240
    frame = pd.DataFrame({"bag": [f"b{n:02}" for n in np.repeat(np.arange(60), 4)], "day": rng.integers(0, 3, size)})
    frame["kind"], frame["size"] = rng.choice(list("abc"), size), rng.lognormal(3, 1, size)
    frame.loc[rng.random(size) < 0.2, "kind"] = None
    labels = np.repeat(rng.integers(0, 2, 60), 4)
    options = {"epochs": 2} if name == "attention" else {}
    model = bw.make(name, random_state=0, **options).fit(
        Bags.from_table(frame.assign(y=labels), "bag", "y", order="day")
    )
    bw.save_model(model, tmp_path)
    kept = bw.load_model(tmp_path)
    frame["kind"] = frame["kind"].replace("a", "_unknown")  # which stands before all others
    answers = kept.predict_proba(Bags.from_table(frame, "bag", like=kept.columns_))
    mixed = frame.sample(frac=1, random_state=0)[["size", "kind", "day", "bag"]]
    for bags in (Bags.from_table(mixed, "bag", like=kept.columns_), Bags.from_table(mixed, "bag", order="day")):
        place = [bags.names.tolist().index(name) for name in sorted(bags.names)]
        np.testing.assert_allclose(kept.predict_proba(bags)[place], answers, atol=1e-6)
    with pytest.raises(BagwiseError, match="no column 'day'"):
        Bags.from_table(frame.drop(columns="day"), "bag", like=kept.columns_)
    dates = frame.assign(day=pd.Timestamp("2026-01-01") + pd.to_timedelta(frame["day"], unit="D"))
    like = [column for column in kept.columns_ if column.name != "day"]
    with pytest.raises(BagwiseError, match="of dates here, and was of numbers"):
        Bags.from_table(dates, "bag", like=like)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"step": [1, 2, None, 3, 4, 5]}, "'step' has nothing in row 2"),
        ({"step": ["a", "b", "c", "d", "e", "f"]}, "'step' has what is no date.*in row 0"),
        ({"step": [1, 2, 1, 1, 2, 3]}, "'step' is the same in all rows of each bag"),
        ({"step": [1, 2, np.inf, 3, 4, 5]}, "'step' has an infinity in row 2"),
    ],
)
def test_what_is_no_order_is_refused(change, words):
    with pytest.raises(BagwiseError, match=words):
        Bags.from_table(FRAME.assign(**change), "bag", "label", features=["size"], order="step")
