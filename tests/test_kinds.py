import datetime

import numpy as np
import pyarrow as pa
import pytest

from bagwise.kinds import KINDS, MOST_CATEGORIES, kind_of

WORDS = [f"w{n}" for n in range(2 * MOST_CATEGORIES)]
OF_KIND = {
    "number": [[1.5, None, 2], [3, 4], pa.array([1, np.nan, 2], pa.float16()), pa.array([1, 2], pa.duration("s"))],
    "boolean": [[True, None, False]],
    "category": [
        ["red", "blue", None] * 3,
        pa.array(["u", "v"] * 2).dictionary_encode(),
        WORDS[:MOST_CATEGORIES] * 2,
        ["14:65", "1:2", "25:00"] * 4,
    ],
    "date": [[datetime.date(2020, 1, day) for day in (1, 2)], ["2020-01-01 14:05", "2020-01-02"]],
    "time": [
        [datetime.time(1), datetime.time(2)],
        ["14:05", None, "9:30:15"],
        ["2:05 pm", "11:59PM"],
        ["00:00", "23:59:59.5", "soon"],
    ],
    "text": [[f"two words {n}" for n in range(9)], WORDS * 3],
    "identifier": [WORDS[:50], WORDS[:49] + WORDS[:1]],
    "constant": [[None, None], [np.nan, np.nan], ["red", None, "red"], [2.0, 2.0, None], [True, True]],
    "mixed": [["1", "2", "tall"], ["1,5", "2,5"], ["$5", "1,000", "12 %"], ["2", "two"]],
    "other": [[[1.0], [2.0]], [b"a", b"b"], [{"a": 1}, {"a": 2}]],
}


@pytest.mark.parametrize(("kind", "values"), [(kind, values) for kind in KINDS for values in OF_KIND[kind]])
def test_a_column_is_of_the_kind_of_what_stands_in_it(kind, values):
    whole = values if isinstance(values, pa.Array) else pa.array(values)
    found = kind_of(whole)
    assert found.kind == kind
    again = kind_of(pa.chunked_array([whole[:1], whole[1:]]))
    assert again == found
    gaps = sum(value is None or value != value for value in whole.to_pylist())
    assert found.missing == gaps / len(whole)


def test_examples_are_few_and_short():
    assert kind_of(pa.array(["a" * 99, "two\n lines", "c", "c", "d"] * 2)).examples == (
        f"{'a' * 21}...",
        "two lines",
        "c",
    )
