import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import colormaps
from PIL import Image

import bagwise as bw
from bagwise import Bags, BagwiseError
from bagwise.explain import (
    Explanation,
    contrast,
    draw_map,
    explain,
    key_instances,
    mean_where_covered,
    rescaled_in_bags,
    write_table,
)
from bagwise.io.folders import read_folder
from bagwise.targets.classes import ClassTarget

bags_of_values = st.lists(
    st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0]), min_size=1, max_size=6), min_size=1, max_size=6
)


def explained(values):
    """Give bags, and an explanation in which these values are the weights."""
    bags = Bags.from_arrays([[[value] for value in bag] for bag in values])
    weights = np.concatenate(values)
    return bags, Explanation(ClassTarget.of([0, 1]), np.full((len(bags), 2), 0.5), weights, weights)


@given(bags_of_values)
def test_ranks_and_rescaled_weights_are_what_plain_loops_give(values):
    bags, found = explained(values)
    ranks, shares = [], []
    for bag in values:
        ranks += [1 + sum(other > value for other in bag) for value in bag]
        low, high = min(bag), max(bag)
        shares += [0.5 if low == high else (value - low) / (high - low) for value in bag]
    assert found.ranks(bags).tolist() == ranks
    np.testing.assert_allclose(found.rescaled(bags), shares)


@given(bags_of_values, st.integers(1, 4))
def test_key_instances_are_the_first_of_each_bag(values, count):
    bags, found = explained(values)
    keys = key_instances(found, bags, count)
    expected = []
    for number, bag in enumerate(values):
        ranks = sorted(1 + sum(other > value for other in bag) for value in bag)
        expected += [(str(number), rank) for rank in ranks if rank <= count and len(set(bag)) > 1]
    assert list(zip(keys["bag"], keys["rank"], strict=True)) == expected


def test_the_smallest_weights_are_told_apart():
    assert rescaled_in_bags(np.array([1e-30, 2e-30], np.float32), np.array([0, 2])).tolist() == [0, 1]


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_what_rounding_makes_of_equal_weights_is_equal(size):
    weights = np.float32(1) / np.arange(1, size + 1, dtype=np.float32) * np.arange(1, size + 1, dtype=np.float32) / size
    bags = Bags.from_arrays([np.zeros((size, 1)), [[0.0], [1.0]]])
    weights = np.append(weights.astype(np.float32), [0.4, 0.6])
    found = Explanation(ClassTarget.of(["no", "yes"]), np.array([[0.1, 0.9], [0.8, 0.2]]), weights, weights)
    assert found.equal(bags).tolist() == [True, False]
    assert found.rescaled(bags).tolist() == [0.5] * size + [0, 1]
    assert found.ranks(bags).tolist() == [1] * size + [2, 1]
    assert key_instances(found, bags)["bag"].tolist() == ["1", "1"]
    assert found.title(bags, 0) == "0: yes 0.90, all weights are equal"
    assert found.title(bags, 1) == "1: no 0.80"


@pytest.fixture(scope="module", params=[("attention", 2), ("attention", 3), ("mi-Net", 2), ("MI-Net", 3)], ids=str)
def fitted(request, make_bags):
    name, classes = request.param
    bags = make_bags(count=12, classes=classes)
    return bags, bw.fit_ensemble(bw.make(name, epochs=2, random_state=0), bags, 2)


def test_members_are_averaged(fitted):
    bags, models = fitted
    found = explain(models, bags)
    np.testing.assert_allclose(found.answers, np.mean([m.predict_proba(bags) for m in models], axis=0))
    np.testing.assert_allclose(found.scores, np.mean([m.instance_scores(bags) for m in models], axis=0))
    if hasattr(models[0], "attention"):
        np.testing.assert_allclose(found.weights, np.mean([m.attention(bags) for m in models], axis=0))
        np.testing.assert_allclose(np.add.reduceat(found.weights, bags.offsets[:-1]), 1, rtol=1e-5)
    else:
        assert found.weights is None


def test_the_table_has_a_row_an_instance(fitted):
    bags, models = fitted
    table = explain(models, bags).table(bags)
    assert len(table) == len(bags.instances)
    assert table["bag"].tolist() == np.repeat(bags.names, bags.sizes).tolist()
    assert ("weight" in table) == hasattr(models[0], "attention")
    scores = [name for name in table if name.startswith("score")]
    assert scores == (["score"] if len(models[0].classes_) == 2 else ["score_0", "score_1", "score_2"])
    assert not table.isna().any(axis=None)


def test_names_and_coordinates_are_shown():
    bags = Bags.from_arrays(
        [[[0.0], [1.0]], [[1.0]]],
        labels=[0, 1],
        instance_names=[["a", "b"], ["a"]],
        coordinates=[[[1, 2], [3, 4]], [[5, 6]]],
    )
    found = explain([bw.AttentionMIL(epochs=1, random_state=0).fit(bags)], bags)
    table = found.table(bags)
    assert table["instance"].tolist() == ["a", "b", "a"]
    assert table[["x", "y"]].to_numpy().tolist() == [[1, 2], [3, 4], [5, 6]]
    assert key_instances(found, bags, 1)["label"].tolist() == [0]


def test_bags_in_files_are_explained_as_those_in_memory(tmp_path):
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(size, 3)).astype(np.float32) for size in (4, 1, 7, 3)]
    for number, array in enumerate(arrays):
        np.save(tmp_path / f"{number}.npy", array)
    memory, files = Bags.from_arrays(arrays, [0, 1, 0, 1]), read_folder(tmp_path)
    for name in ("attention", "MI-Net", "mi-Net"):
        models = [bw.make(name, epochs=2, random_state=0).fit(memory)]
        expected, found = explain(models, memory), explain(models, files)
        np.testing.assert_array_equal(found.answers, expected.answers)
        np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-5)
        pd.testing.assert_frame_equal(contrast(found, files), contrast(expected, memory), rtol=1e-4)


# ---- features --------------------------------------------------------------------------------------------------------


def planted(count=30):
    rng = np.random.default_rng(0)
    arrays, labels = [], np.arange(count) % 2
    for label in labels:
        bag = rng.normal(size=(10, 4))
        if label:
            bag[0, 2] += 6
        arrays.append(bag)
    return Bags.from_arrays(arrays, labels, feature_names=["p", "q", "r", "s"])


def test_contrast_finds_what_was_planted():
    bags = planted()
    model = bw.AttentionMIL(epochs=60, random_state=0).fit(bags)
    table = contrast(explain([model], bags), bags)
    assert table["feature"][0] == "r"
    assert table["difference"][0] > 1.5
    assert (table["difference"][1:].abs() < table["difference"][0] / 2).all()


def test_contrast_is_what_a_plain_loop_gives():
    rng = np.random.default_rng(1)
    bags = Bags.from_arrays([rng.normal(size=(size, 2)) for size in (1, 2, 5, 20)])
    weights = rng.random(28)
    probabilities = np.array([[0.4, 0.6], [0.1, 0.9], [0.9, 0.1], [0.3, 0.7]])
    found = Explanation(ClassTarget.of([0, 1]), probabilities, weights, weights)
    highs, lows, within = [], [], []
    for number in (1, 3):
        rows = slice(*bags.offsets[number : number + 2])
        order = np.argsort(-weights[rows])
        count = {1: 1, 3: 2}[number]
        instances = bags.instances[rows]
        highs.append(instances[order[:count]].mean(0))
        lows.append(instances[order[count:]].mean(0))
        within.append(instances - instances.mean(0))
    deviation = np.sqrt((np.concatenate(within) ** 2).sum(0) / (1 + 19))
    expected = (np.mean(highs, 0) - np.mean(lows, 0)) / deviation
    table = contrast(found, bags).set_index("feature")
    np.testing.assert_allclose(table.loc[["0", "1"], "difference"], expected)


def test_a_constant_feature_makes_no_difference():
    bags = Bags.from_arrays([[[1.0, 5.0], [2.0, 5.0]]])
    found = Explanation(ClassTarget.of([0, 1]), np.array([[0.0, 1.0]]), np.array([0.1, 0.9]), np.array([0.1, 0.9]))
    assert contrast(found, bags)["difference"].tolist()[-1] == 0


@pytest.mark.parametrize("top", [0, 1, -1, "half", None])
def test_a_share_that_will_not_do(top):
    bags, found = explained([[0.1, 0.9]])
    with pytest.raises(BagwiseError, match="top is"):
        contrast(found, bags, top)


def test_bags_of_one_instance_have_nothing_to_compare():
    bags, found = explained([[0.1], [0.9]])
    with pytest.raises(BagwiseError, match="all instances count the same"):
        contrast(found, bags)


# ---- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_tables_come_back(tmp_path, suffix):
    path = tmp_path / f"table.{suffix}"
    frame = pd.DataFrame({"bag": ["a", "b,c"], "weight": np.array([1 / 3, 1e-9], np.float32)})
    write_table(frame, path)
    again = pd.read_csv(path, dtype={"weight": np.float32}) if suffix == "csv" else pd.read_parquet(path)
    np.testing.assert_array_equal(again["weight"], frame["weight"])
    assert again["bag"].tolist() == ["a", "b,c"]
    with pytest.raises(BagwiseError, match=r"must end in \.csv or \.parquet"):
        write_table(frame, tmp_path / "table.xlsx")


@pytest.mark.parametrize("columns", [["bag", "score"], ["b\rag", "score"]])
def test_texts_in_tables_stay_what_they_are(tmp_path, columns):
    texts = ["d\re", "f\ng", "h\r\ni", "=1+1", "@x", 'k"l', "", "NA", "é\x1b[31m\u202e"]
    for path in (tmp_path / "table.csv", tmp_path / "table.parquet"):
        write_table(pd.DataFrame({columns[0]: texts, columns[1]: np.arange(9) / 2}), path)
        again = pd.read_csv(path, keep_default_na=False) if path.suffix == ".csv" else pd.read_parquet(path)
        assert again.columns.tolist() == columns
        assert again[columns[0]].tolist() == texts
        assert again["score"].tolist() == [number / 2 for number in range(9)]


@pytest.mark.parametrize("suffix", ["png", "svg"])
@pytest.mark.parametrize("count", [1, 5, 400])
def test_maps_are_drawn(tmp_path, suffix, count):
    places = np.stack([np.arange(count) % 20 * 256, np.arange(count) // 20 * 256], axis=1)
    draw_map(tmp_path / f"map.{suffix}", places, np.linspace(0, 1, count), title="a $lide_7$")
    assert (tmp_path / f"map.{suffix}").stat().st_size > 1000
    assert len(list(tmp_path.iterdir())) == 1


@given(st.data())
def test_a_place_has_the_mean_of_the_squares_that_cover_it(data):
    count, side = data.draw(st.integers(1, 8)), data.draw(st.sampled_from([1, 3, 2.5, 0.1]))
    steps = st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=count, max_size=count)
    corners = np.array(data.draw(steps)) * (side / 2 if data.draw(st.booleans()) else side)
    values = np.array(data.draw(st.lists(st.floats(0, 1), min_size=count, max_size=count)))
    drawn = mean_where_covered(corners, side, values)
    for row, y in enumerate((drawn.y[1:] + drawn.y[:-1]) / 2):
        for column, x in enumerate((drawn.x[1:] + drawn.x[:-1]) / 2):
            over = ((corners <= (x, y)) & ((x, y) < corners + side)).all(axis=1)
            if over.any():
                assert drawn.means[row, column] == pytest.approx(values[over].mean(), rel=1e-12)
            else:
                assert np.isnan(drawn.means[row, column])


def test_very_many_places_are_drawn_on_few_cells():
    corners = np.random.default_rng(0).random((5000, 2)) * 1e5
    drawn = mean_where_covered(corners, 300.0, np.full(5000, 0.25))
    assert drawn.means.shape == (1500, 1500)
    assert np.unique(drawn.means[np.isfinite(drawn.means)]).tolist() == [0.25]
    assert np.isfinite(drawn.means).mean() == pytest.approx(1 - np.exp(-5000 * (300 / 1e5) ** 2), abs=0.01)


def test_the_hottest_of_tiles_that_overlap_has_its_colour_where_it_lies_alone(tmp_path):
    draw_map(tmp_path / "map.png", [[0, 0], [50, 0]], [1.0, 0.0], patch_size=100)
    with Image.open(tmp_path / "map.png") as opened:
        pixels = np.array(opened.convert("RGB")).reshape(-1, 3).astype(int)
    colours = colormaps["viridis"]([0.0, 0.5, 1.0], bytes=True)[:, :3].astype(int)
    counts = [(np.abs(pixels - colour).max(axis=1) <= 1).sum() for colour in colours]
    assert min(counts) > 50_000  # a third each
    assert max(counts) < 1.2 * min(counts)


@pytest.mark.parametrize(("places", "values"), [([[1, 2]], [1, 2]), ([[1]], [1]), ([1, 2], [1, 2]), ([], [])])
def test_maps_of_what_does_not_fit_are_refused(tmp_path, places, values):
    with pytest.raises(BagwiseError, match="a map needs x and y"):
        draw_map(tmp_path / "map.png", places, values)
    with pytest.raises(BagwiseError, match=r"must end in \.png or \.svg"):
        draw_map(tmp_path / "map.jpg", [[1, 2]], [1])
