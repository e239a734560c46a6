import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bagwise as bw
from bagwise.explain import explain, write_geojson


def explained(classes=2):
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(6, 3)) for _ in range(6)]
    places = [256 * rng.permutation(36)[:6, None] // [1, 6] % 1536 for _ in arrays]
    bags = bw.Bags.from_arrays(arrays, np.arange(6) % classes, coordinates=places)
    found = explain([bw.AttentionMIL(epochs=2, random_state=0).fit(bags)], bags)
    return found, found.table(bags)[6:12]


def written(tmp_path, found, table, **options):
    options = {"span": 256, "bounds": (0, 0, 1600, 1600)} | options
    write_geojson(tmp_path / "a.geojson", table, found.classes.tolist(), **options)
    return json.loads((tmp_path / "a.geojson").read_text())["features"]


@pytest.mark.parametrize("classes", [2, 3])
def test_measurements_are_the_columns_of_the_table(tmp_path, classes):
    found, table = explained(classes)
    features = written(tmp_path, found, table, key=2)
    assert [one["properties"]["objectType"] for one in features] == ["tile"] * 6 + ["annotation"] * 2
    scores = ["score"] if classes == 2 else ["score_0", "score_1", "score_2"]
    columns = ["weight", "rescaled_weight", "rank", *scores]
    for one, (_, row) in zip(features, table.iterrows(), strict=False):
        told = one["properties"]["measurements"]
        assert list(told) == columns
        np.testing.assert_allclose([told[name] for name in columns], row[columns].astype(float), rtol=1e-6)
        said = np.argmax([told[name] for name in scores]) if classes > 2 else int(told["score"] >= 0.5)
        assert one["properties"]["classification"]["name"] == str(said)
    assert {one["properties"]["name"] for one in features[6:]} == {"key instance 1", "key instance 2"}
    by_place = {json.dumps(one["geometry"]): one["properties"]["measurements"] for one in features[:6]}
    for key in features[6:]:
        assert by_place[json.dumps(key["geometry"])] == key["properties"]["measurements"]


def test_colours_are_those_of_the_weights(tmp_path):
    found, table = explained()
    features = written(tmp_path, found, table)[:6]
    by_weight = {one["properties"]["measurements"]["rescaled_weight"]: one["properties"]["color"] for one in features}
    assert by_weight[0.0] == [68, 1, 84]  # the ends of viridis
    assert by_weight[1.0] == [253, 231, 37]
    # QuPath refuses a class without a colour.
    assert all(len(one["properties"]["classification"]["color"]) == 3 for one in features)


@given(st.integers(0, 900), st.integers(0, 900), st.integers(1, 400), st.integers(0, 99), st.integers(0, 99))
def test_polygons_are_closed_and_within_what_was_scanned(tmp_path_factory, x, y, span, left, top):
    path = tmp_path_factory.mktemp("a") / "a.geojson"
    table = pd.DataFrame({"x": [left + x], "y": [top + y], "rescaled_weight": [1.0], "rank": [9], "score": [0.2]})
    write_geojson(path, table, [0, 1], span=span, bounds=(left, top, 1000, 901))
    (tile,) = json.loads(path.read_text())["features"]
    ((*ring, last),) = tile["geometry"]["coordinates"]
    right, bottom = min(x + span, 1000), min(y + span, 901)
    assert ring == [[x, y], [right, y], [right, bottom], [x, bottom]]
    assert last == ring[0]


def test_the_file_is_whole_or_not_there(tmp_path):
    table = pd.DataFrame({"x": [0], "y": [0], "rescaled_weight": [1.0], "rank": [1], "score": [np.nan]})
    with pytest.raises(ValueError, match="JSON"):
        write_geojson(tmp_path / "a.geojson", table, [0, 1], span=8, bounds=(0, 0, 10, 10))
    assert not list(tmp_path.iterdir())
