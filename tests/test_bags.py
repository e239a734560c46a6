import copy
import dataclasses
import os
import pickle
import subprocess
import sys
import tracemalloc
from itertools import pairwise

import joblib
import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    StratifiedKFold,
    cross_val_predict,
    cross_val_score,
    train_test_split,
)

from bagwise.bags import Bag, Bags, as_bags
from bagwise.errors import BagwiseError

quick = settings(max_examples=60)


def one_sentence(caught: pytest.ExceptionInfo[BaseException]) -> str:
    """The error is Bagwise's own, and what it says fits a line."""
    assert caught.type is BagwiseError
    text = str(caught.value)
    assert text
    assert "\n" not in text
    assert not text.endswith(".")
    return text


def refusal(make, *arguments, **named) -> str:
    with pytest.raises(BagwiseError) as caught:
        make(*arguments, **named)
    return one_sentence(caught)


def arrays_of(sizes, shape=(2,), dtype=np.float64) -> list[np.ndarray]:
    total = sum(sizes) * int(np.prod(shape))
    values = np.arange(total, dtype=dtype).reshape(-1, *shape)
    return np.split(values, np.cumsum(sizes)[:-1])


def full_bags(sizes=(2, 3, 1, 4)) -> Bags:
    count = len(sizes)
    return Bags.from_arrays(
        arrays_of(sizes),
        [f"class {i % 2}" for i in range(count)],
        names=[f"bag {i}" for i in range(count)],
        groups=[i // 2 for i in range(count)],
        instance_labels=[np.arange(size) % 2 for size in sizes],
        coordinates=[np.full((size, 2), i) for i, size in enumerate(sizes)],
        feature_names=["width", "height"],
    )


def same_bag(a: Bag, b: Bag) -> bool:
    return all(np.array_equal(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(Bag))


def same_bags(a: Bags, b: Bags) -> bool:
    return len(a) == len(b) and a.feature_names == b.feature_names and all(map(same_bag, a, b))


FRAME = pd.DataFrame({"bag": ["p", "q", "p"], "label": [1, 0, 1], "x": [1.0, 2.0, 3.0], "y": [4.0, 5.0, 6.0]})


# ---- packing ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1,), (3,), (4, 4), (4, 4, 3)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.int64, np.uint8, np.uint16, bool])
def test_packing_keeps_values_shape_and_type(shape, dtype):
    parts = [part.astype(dtype) for part in arrays_of((2, 1, 3), shape)]
    bags = Bags.from_arrays(parts)
    assert bags.instance_shape == shape
    assert bags.instances.dtype == np.dtype(dtype)
    assert bags.offsets.tolist() == [0, 2, 3, 6]
    assert bags.sizes.tolist() == [2, 1, 3]
    assert bags.shape == (3,)
    for bag, part in zip(bags, parts, strict=True):
        np.testing.assert_array_equal(bag.instances, part)


def test_packed_arrays_and_a_list_of_arrays_give_the_same_bags():
    bags = full_bags()
    again = Bags(
        bags.instances,
        bags.offsets,
        bags.labels,
        bags.names,
        bags.groups,
        bags.instance_labels,
        bags.coordinates,
        bags.feature_names,
    )
    assert same_bags(bags, again)


def test_an_array_of_bags_of_one_size_is_a_list_of_arrays():
    stack = np.arange(24.0).reshape(3, 2, 4)
    bags = Bags.from_arrays(stack)
    assert bags.sizes.tolist() == [2, 2, 2]
    np.testing.assert_array_equal(bags.instances, stack.reshape(6, 4))


def test_names_are_positions_by_default_and_text_always():
    assert Bags.from_arrays(arrays_of((1, 2))).names.tolist() == ["0", "1"]
    assert Bags.from_arrays(arrays_of((1, 2)), names=[7, 9]).names.tolist() == ["7", "9"]
    assert Bags.from_arrays(arrays_of((1, 2)), names=np.array(["a", "b"])).names.tolist() == ["a", "b"]
    assert Bags.from_arrays(arrays_of((1, 2)), names=pd.Series(["a", "b"], index=[5, 6])).names.tolist() == ["a", "b"]


@quick
@example(["a", "a\0"])
@example(["", " "])
@given(st.lists(st.text(), min_size=1, max_size=5, unique=True))
def test_any_text_is_a_name_and_comes_back_as_it_is(names):
    bags = Bags.from_arrays(arrays_of([1] * len(names)), names=names)
    assert bags.names.tolist() == names
    assert [bag.name for bag in bags] == names
    assert len(set(bags.keys.tolist())) == len(names)
    repr(bags)


def test_half_a_character_in_a_name_is_written_out_and_one_in_a_label_refused():
    bags = Bags.from_arrays([[[1.0]], [[2.0]]], names=["\udcff.v1", "é"])
    assert bags.names.tolist() == [r"\udcff.v1", "é"]
    for part in ("labels", "groups"):
        text = refusal(Bags.from_arrays, [[[1.0]], [[2.0]]], names=["a", "b"], **{part: ["\ud800", "yes"]})
        assert f"the {part[:-1]} '\\ud800' of bag 'a' holds half a character" in text


@pytest.mark.parametrize("name", ["", " ", "../../etc/passwd", "a\nb", "{0}", "%s", "x" * 10_000])
def test_hostile_names_stand_in_errors_and_keys(name):
    text = refusal(Bags.from_arrays, [[[np.nan]]], names=[name])
    assert repr(name) in text
    assert Bags.from_arrays([[[1.0]]], names=[name]).keys.shape == (1,)


# ---- labels -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "kind", "expected"),
    [
        ([1, 0], "i", [1, 0]),
        ([-1, 7], "i", [-1, 7]),
        ([True, False], "b", [True, False]),
        (["no", "yes"], "U", ["no", "yes"]),
        ([1.0, 0.0], "i", [1, 0]),
        ((1, 0), "i", [1, 0]),
        (np.array([3, 4], np.uint8), "u", [3, 4]),
        (np.array([1.0, 2.0], np.float32), "i", [1, 2]),
        (np.array(["no", "yes"], dtype=object), "U", ["no", "yes"]),
        (np.array([1, 0], dtype=object), "i", [1, 0]),
        (np.array([True, False], dtype=object), "b", [True, False]),
        (pd.Series([5, 6], index=[9, 8]), "i", [5, 6]),
        (pd.Series([5, 6], dtype="Int64"), "i", [5, 6]),
        (pd.Series(["a", "b"], dtype="string"), "U", ["a", "b"]),
        (pd.Categorical(["a", "b"]), "U", ["a", "b"]),
    ],
    ids=repr,
)
def test_labels_that_are_classes_are_taken(labels, kind, expected):
    bags = Bags.from_arrays(arrays_of((1, 2)), labels)
    assert bags.labels.dtype.kind == kind
    assert bags.labels.tolist() == expected
    assert bags.with_labels(labels).labels.tolist() == expected
    assert [bag.label for bag in bags] == expected


@pytest.mark.parametrize(
    "labels",
    [
        [0, np.nan],
        [0.0, None],
        [None, 1],
        ["a", None],
        ["a", np.nan],
        [1, pd.NA],
        pd.array([1, pd.NA], dtype="Int64"),
        pd.array([True, None], dtype="boolean"),
        pd.Series(["a", None], dtype="string"),
    ],
    ids=repr,
)
def test_a_bag_without_its_label_is_named(labels):
    missing = [i for i, label in enumerate(labels) if pd.isna(label)]
    text = refusal(Bags.from_arrays, arrays_of((1, 2)), labels, names=["left", "right"])
    assert f"bag {['left', 'right'][missing[0]]!r} has no label" in text


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_a_label_that_is_not_finite_is_refused_with_its_bag(value):
    assert "bag '1'" in refusal(Bags.from_arrays, arrays_of((1, 2)), [0.0, value])


@pytest.mark.parametrize(
    ("labels", "held"),
    [
        ([0.0, 1.0], np.array([0, 1])),
        ([-1.0, 1.0], np.array([-1, 1])),
        ([0.5, 1e300], np.array([0.5, 1e300])),
        ([[0, np.nan], [1, 1]], np.array([[0, np.nan], [1, 1]])),
        ([[0.5, 2], [1, 3]], np.array([[0.5, 2.0], [1.0, 3.0]])),
        (
            np.array([(1, 2), (0, 3)], [("status", "i4"), ("days", "i8")]),
            np.array([(True, 2.0), (False, 3.0)], [("event", "?"), ("time", "f8")]),
        ),
    ],
    ids=repr,
)
def test_labels_that_are_no_classes_are_held_as_they_are(labels, held):
    bags = Bags.from_arrays(arrays_of((1, 2)), labels)
    assert bags.labels.dtype == held.dtype
    np.testing.assert_array_equal(bags.labels, held)
    np.testing.assert_array_equal(bags[[1, 0]].labels, held[::-1])
    assert "labels" in repr(bags)


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        ([[0.5, np.nan], [1, 2]], "bag '0' has the label [0.5, nan]"),
        ([["a", "b"], ["c", "d"]], "give numbers"),
        (np.array([(1, 2, 3), (0, 3, 4)], "i4,i4,i4"), "survival needs two"),
        (np.array([(2, 2.0), (0, 3.0)], "i4,f8"), "bag '0' has the event 2: it must be true or false"),
        (np.array([(1, 2.0), (0, -3.0)], "?,f8"), "bag '1' has the time -3.0: it must be a number, 0 or more"),
        (np.array([("a", 2.0), ("b", 3.0)], "U1,f8"), "fields of the types"),
    ],
    ids=repr,
)
def test_labels_of_several_parts_that_will_not_do_are_refused(labels, told):
    assert told in refusal(Bags.from_arrays, arrays_of((1, 2)), labels)


@pytest.mark.parametrize("labels", [[1, "a"], [True, "a"], ["a", 2.0], np.array([1, "a"], dtype=object)], ids=repr)
def test_labels_of_mixed_types_are_refused(labels):
    assert "str" in refusal(Bags.from_arrays, arrays_of((1, 2)), labels)


@pytest.mark.parametrize(
    "labels", [pd.to_datetime(["2020-01-01", "2020-01-02"]), [1j, 2j], [b"a", b"b"], [{}, {}]], ids=repr
)
def test_labels_of_other_types_are_refused(labels):
    assert "labels" in refusal(Bags.from_arrays, arrays_of((1, 2)), labels)


@pytest.mark.parametrize("labels", [[], [1], [1, 0, 1], 1, "ab", [[1], [0]], [[1], [0, 1]]], ids=repr)
def test_labels_of_the_wrong_length_or_shape_are_refused(labels):
    assert "labels" in refusal(Bags.from_arrays, arrays_of((1, 2)), labels)
    assert "labels" in refusal(Bags.from_arrays(arrays_of((1, 2))).with_labels, labels)


def test_with_labels_replaces_and_removes_labels_only():
    bags = full_bags()
    assert bags.with_labels(None).labels is None
    other = bags.with_labels([1, 2, 3, 4])
    assert other.labels.tolist() == [1, 2, 3, 4]
    assert same_bags(other.with_labels(bags.labels), bags)
    assert bags.labels.tolist() == ["class 0", "class 1", "class 0", "class 1"]


# ---- what is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("row", [0, 1, 2, 4, 5])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_gap_is_found_in_its_bag_and_row(value, row, dtype):
    instances = np.ones((6, 2, 2), dtype)
    instances[row, 1, 0] = value
    bag, within = [("a", 0), ("a", 1), ("b", 0), ("c", 0), ("c", 1), ("c", 2)][row]
    text = refusal(Bags, instances, [0, 2, 3, 6], names=["a", "b", "c"])
    assert f"bag {bag!r} have a NaN or an infinity in row {within} (row {row} of all)" in text


def test_a_gap_is_found_far_into_a_large_array():
    instances = np.zeros((3_000_000, 2), np.float16)
    instances[2_900_000, 1] = np.inf
    text = refusal(Bags, instances, [0, 1_000_000, 3_000_000])
    assert "bag '1' have a NaN or an infinity in row 1900000 (row 2900000 of all)" in text


@pytest.mark.parametrize("nothing", [[], (), np.zeros((0, 3, 2))], ids=repr)
def test_no_bags_are_refused(nothing):
    assert "no bags" in refusal(Bags.from_arrays, nothing)


def test_packed_arrays_without_bags_are_refused():
    assert "no bags" in refusal(Bags, np.zeros((0, 2)), [0])


@pytest.mark.parametrize("empty", [np.zeros((0, 2)), []], ids=["0 x 2", "[]"])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_empty_bag_is_named(empty, place):
    arrays = [np.ones((1, 2))] * 2
    arrays.insert(place, empty)
    text = refusal(Bags.from_arrays, arrays, names=["a", "b", "c"])
    assert f"bag {'abc'[place]!r}" in text
    assert "empty" in text


@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_empty_bag_of_packed_arrays_is_named(place):
    offsets = [0, 1, 2]
    offsets.insert(place, offsets[place])
    assert f"bag {'abc'[place]!r} is empty" in refusal(Bags, np.ones((2, 2)), offsets, names=["a", "b", "c"])


@pytest.mark.parametrize(
    "offsets",
    [[], 3, [[0, 3]], [0.0, 3.0], [1, 3], [0, 2], [0, 4], [0, 2, 1, 3], [0, 4, 3], [-1, 3], ["0", "3"], [[0], [1, 2]]],
    ids=repr,
)
def test_offsets_that_do_not_fit_are_refused(offsets):
    refusal(Bags, np.ones((3, 2)), offsets)


def test_falling_offsets_are_not_called_an_empty_bag():
    assert "offsets" in refusal(Bags, np.ones((3, 2)), [0, 2, 1, 3])


@pytest.mark.parametrize(
    ("instances", "word"),
    [
        (np.ones(3), "shape (3,)"),
        (np.ones((3, 0)), "feature"),
        (np.ones((3, 2)) * 1j, "real numbers"),
        (np.array([["a"], ["b"], ["c"]]), "real numbers"),
        (np.array([[1.0], [None], [2.0]]), "real numbers"),
        ([[1.0], [2.0, 3.0], [4.0]], "ragged"),
        (np.array(["2020-01-01"] * 3, "M8[D]").reshape(3, 1), "real numbers"),
    ],
    ids=repr,
)
def test_instances_that_are_no_table_of_numbers_are_refused(instances, word):
    assert word in refusal(Bags, instances, [0, 3])


@pytest.mark.parametrize(
    ("second", "word"),
    [
        ([1.0, 2.0], "shape (2,)"),
        (5.0, "shape ()"),
        ([[1.0, 2.0, 3.0]], "(3,)"),
        ([[[1.0, 2.0]]], "(1, 2)"),
        ([[1.0, 2.0], [3.0]], "ragged"),
        ([["a", "b"]], "real numbers"),
        ([[1.0, None]], "real numbers"),
    ],
    ids=repr,
)
def test_a_bag_that_does_not_fit_is_named(second, word):
    text = refusal(Bags.from_arrays, [[[1.0, 2.0]], second], names=["good", "bad"])
    assert "'bad'" in text
    assert word in text


@pytest.mark.parametrize("part", ["labels", "names", "groups"])
@pytest.mark.parametrize("length", [0, 1, 3])
def test_parts_of_bags_need_the_length_of_the_bags(part, length):
    text = refusal(Bags.from_arrays, arrays_of((1, 2)), **{part: list(range(length))})
    assert part in text
    assert "2" in text


@pytest.mark.parametrize("part", ["instance_labels", "coordinates"])
def test_parts_of_instances_need_the_length_of_their_bag(part):
    rows = [np.zeros((1, 2)), np.zeros((3, 2))] if part == "coordinates" else [[0], [0, 1, 0]]
    text = refusal(Bags.from_arrays, arrays_of((1, 2)), names=["a", "b"], **{part: rows})
    assert part in text
    assert "bag 'b'" in text
    assert part in refusal(Bags.from_arrays, arrays_of((1, 2)), **{part: rows[:1]})
    assert part in refusal(Bags, np.ones((3, 2)), [0, 1, 3], **{part: np.concatenate(rows)})


@pytest.mark.parametrize(
    "coordinates",
    [[[[1, 2]], [[1, 2, 3], [4, 5, 6]]], [[[1, 2]], [[1, 2], [3]]], [[[1]], [["a"], ["b"]]], [[1], [2, 3]]],
)
def test_coordinates_that_do_not_fit_together_are_refused(coordinates):
    assert "coordinates" in refusal(Bags.from_arrays, arrays_of((1, 2)), coordinates=coordinates)


@pytest.mark.parametrize("gap", [np.nan, np.inf])
def test_a_gap_in_coordinates_is_found_in_its_bag(gap):
    coordinates = [[[1.0, 2.0]], [[1.0, 2.0], [3.0, gap]]]
    text = refusal(Bags.from_arrays, arrays_of((1, 2)), names=["a", "b"], coordinates=coordinates)
    assert "coordinates" in text
    assert "bag 'b'" in text
    assert "row 1" in text


@pytest.mark.parametrize(
    "groups", [["p", None], ["p", np.nan], [1.0, np.nan], [1, None], pd.array([1, None], dtype="Int64")], ids=repr
)
def test_a_bag_without_its_group_is_named(groups):
    text = refusal(Bags.from_arrays, arrays_of((1, 2)), names=["a", "b"], groups=groups)
    assert "bag 'b' has no group" in text


def test_feature_names_need_one_for_each_feature():
    assert "3 feature names" in refusal(Bags.from_arrays, arrays_of((1,)), feature_names=["a", "b", "c"])
    assert "feature names" in refusal(Bags.from_arrays, arrays_of((1,), (2, 2)), feature_names=["a", "b"])


def test_a_name_that_stands_twice_is_said():
    assert "'twice'" in refusal(Bags.from_arrays, arrays_of((1, 1, 1)), names=["twice", "once", "twice"])
    assert "'1'" in refusal(Bags.from_arrays, arrays_of((1, 1)), names=np.array([1, "1"], dtype=object))


# ---- indexing -----------------------------------------------------------------------------------------------


@st.composite
def bags_and_key(draw):
    sizes = draw(st.lists(st.integers(1, 3), min_size=1, max_size=6))
    count = len(sizes)
    key = draw(
        st.one_of(
            st.slices(count),
            st.lists(st.booleans(), min_size=count, max_size=count),
            st.lists(st.integers(-count, count - 1), max_size=8),
        )
    )
    form = draw(st.sampled_from([lambda k: k, np.array, lambda k: (np.array(k), ...), pd.Series]))
    return full_bags(sizes), key, key if isinstance(key, slice) or not key else form(key)


@quick
@given(bags_and_key())
def test_indexing_is_indexing_a_list(drawn):
    bags, key, given_key = drawn
    everything = list(bags)
    if isinstance(key, slice):
        expected = everything[key]
    elif key and isinstance(key[0], bool):
        expected = [bag for bag, chosen in zip(everything, key, strict=True) if chosen]
    else:
        expected = [everything[position] for position in key]
    if not expected:
        assert "no bag" in refusal(bags.__getitem__, given_key)
        return
    chosen = bags[given_key]
    assert isinstance(chosen, Bags)
    assert len(chosen) == len(expected)
    assert all(map(same_bag, chosen, expected))
    assert chosen.feature_names == bags.feature_names
    assert chosen.keys.tolist() == [bags.keys[bags.names.tolist().index(bag.name)] for bag in expected]
    assert chosen.offsets.dtype == np.int64


@quick
@given(st.lists(st.integers(1, 3), min_size=1, max_size=5), st.data())
def test_one_number_gives_one_bag(sizes, data):
    bags = full_bags(sizes)
    position = data.draw(st.integers(-len(sizes), len(sizes) - 1))
    for key in (position, np.int32(position), (position, ...)):
        assert same_bag(bags[key], list(bags)[position])


def test_a_bag_knows_what_belongs_to_it():
    bag = full_bags()[1]
    assert (bag.name, bag.label, bag.group, len(bag)) == ("bag 1", "class 1", 0, 3)
    assert bag.instances.tolist() == [[4, 5], [6, 7], [8, 9]]
    assert bag.instance_labels.tolist() == [0, 1, 0]
    assert bag.coordinates.tolist() == [[1, 1]] * 3
    bare = Bags.from_arrays([[[1.0]]])[0]
    assert (bare.label, bare.group, bare.instance_labels, bare.coordinates) == (None,) * 4


@pytest.mark.parametrize(
    "key",
    [
        4,
        -5,
        [4],
        [-5],
        [True],
        [True] * 5,
        np.ones((4, 1), bool),
        np.zeros((2, 2), int),
        1.0,
        [0.0, 1.0],
        "bag 1",
        ["bag 1"],
        None,
        (0, 0, ...),
    ],
    ids=repr,
)
def test_what_is_no_index_is_an_index_error(key):
    with pytest.raises(IndexError):
        full_bags()[key]


def test_iteration_can_be_repeated_and_ends():
    bags = full_bags()
    assert [bag.name for bag in bags] == [bag.name for bag in bags] == bags.names.tolist()


# ---- concat -------------------------------------------------------------------------------------------------


@quick
@given(st.lists(st.integers(1, 3), min_size=1, max_size=6), st.data())
def test_concat_undoes_cutting(sizes, data):
    bags = full_bags(sizes)
    cut = sorted(data.draw(st.lists(st.integers(1, max(1, len(sizes) - 1)), max_size=3, unique=True)))
    edges = [0, *(c for c in cut if c < len(sizes)), len(sizes)]
    joined = Bags.concat([bags[a:b] for a, b in pairwise(edges)])
    assert same_bags(joined, bags)
    assert joined.keys.tolist() == bags.keys.tolist()
    assert not joined.instances.flags.writeable


def test_concat_takes_reordered_and_repeated_parts():
    bags = full_bags()
    joined = Bags.concat([bags[[3, 1]], bags[::-1], bags[[1, 1]]])
    assert joined.names.tolist() == [f"bag {i}" for i in (3, 1, 3, 2, 1, 0, 1, 1)]
    assert all(same_bag(bag, bags[int(bag.name[-1])]) for bag in joined)


def test_concat_takes_sets_without_names():
    bags = Bags.from_arrays(arrays_of((1, 2)))
    joined = Bags.concat([bags, bags])
    assert len(joined) == 4
    assert joined.sizes.tolist() == [1, 2, 1, 2]
    assert joined.labels is None


@pytest.mark.parametrize("part", ["labels", "groups", "instance_labels", "coordinates"])
def test_concat_refuses_sets_of_which_some_lack_a_part(part):
    bags = full_bags()
    lacking = Bags(**{f.name: getattr(bags, f.name) for f in dataclasses.fields(bags)} | {part: None})
    assert part in refusal(Bags.concat, [bags, lacking])
    assert part in refusal(Bags.concat, [lacking, bags])
    assert getattr(Bags.concat([lacking, lacking]), part) is None


def test_concat_refuses_sets_that_do_not_fit():
    bags = full_bags()
    assert "nothing" in refusal(Bags.concat, [])
    wide = Bags.from_arrays(arrays_of((1,), (3,)))
    assert "(3,)" in refusal(Bags.concat, [Bags.from_arrays(arrays_of((1,))), wide])
    renamed = dataclasses.replace(bags, feature_names=["a", "b"])
    assert "feature names of set 1" in refusal(Bags.concat, [bags, renamed])
    flat = dataclasses.replace(bags, coordinates=bags.coordinates[:, :1])
    assert "coordinates" in refusal(Bags.concat, [bags, flat])


def test_concat_refuses_labels_of_two_types():
    bags = Bags.from_arrays(arrays_of((1, 2)))
    assert "labels" in refusal(Bags.concat, [bags.with_labels([0, 1]), bags.with_labels(["0", "yes"])])


# ---- never changing -----------------------------------------------------------------------------------------


def made_in_every_way():
    bags = full_bags()
    yield bags
    yield bags[1]
    yield bags[1:3]
    yield bags[[2, 0]]
    yield bags[bags.labels == "class 1"]
    yield Bags.concat([bags, bags])
    yield bags.with_labels([1, 2, 3, 4])
    yield Bags.from_table(FRAME, "bag", "label")
    yield pickle.loads(pickle.dumps(bags))
    yield copy.copy(bags)
    yield copy.deepcopy(bags)
    yield dataclasses.replace(bags, labels=None)


@pytest.mark.parametrize("bags", list(made_in_every_way()), ids=lambda bags: type(bags).__name__)
def test_nothing_of_bags_can_be_assigned(bags):
    for field in dataclasses.fields(bags):
        with pytest.raises(AttributeError):
            setattr(bags, field.name, None)
        with pytest.raises(AttributeError):
            delattr(bags, field.name)
        value = getattr(bags, field.name)
        if isinstance(value, np.ndarray):
            with pytest.raises(ValueError, match="read-only"):
                value[0] = value[-1]
    with pytest.raises(TypeError):
        bags[0] = bags


def test_the_users_own_arrays_stay_writable_and_as_they_were():
    instances, offsets, labels = np.ones((3, 2)), np.array([0, 1, 3]), np.array([0, 1])
    groups, names, coordinates = np.array(["g", "h"]), np.array(["a", "b"], dtype=object), np.zeros((3, 2))
    Bags(instances, offsets, labels, names, groups, labels[[0, 1, 1]], coordinates)
    for array in (instances, offsets, labels, groups, names, coordinates):
        assert array.flags.writeable


def round_trip_by_joblib(bags, folder):
    joblib.dump(bags, folder / "bags.joblib")
    return joblib.load(folder / "bags.joblib")


def round_trip_by_mapping(bags, folder):
    joblib.dump(bags, folder / "bags.joblib")
    return joblib.load(folder / "bags.joblib", mmap_mode="r")


@pytest.mark.parametrize(
    "round_trip",
    [
        lambda bags, _: pickle.loads(pickle.dumps(bags)),
        lambda bags, _: pickle.loads(pickle.dumps(bags, protocol=5)),
        lambda bags, _: copy.deepcopy(bags),
        round_trip_by_joblib,
        round_trip_by_mapping,
    ],
)
def test_bags_survive_a_round_trip(round_trip, tmp_path):
    bags = full_bags()
    again = round_trip(bags, tmp_path)
    assert same_bags(again, bags)
    assert again.keys.tolist() == bags.keys.tolist()
    assert repr(again) == repr(bags)
    assert same_bags(again[[2, 0]], bags[[2, 0]])
    bare = Bags.from_arrays([[[1.0]]])
    assert same_bags(round_trip(bare, tmp_path), bare)


def test_keys_depend_on_names_alone():
    bags = full_bags()
    other = Bags.from_arrays([[[9.0]], [[8.0]]], names=["bag 2", "elsewhere"])
    assert other.keys[0] == bags.keys[2]
    assert other.keys[1] not in bags.keys
    # A written-down number: keys order the bags of every saved training, so they must never change.
    assert Bags.from_arrays([[[0.0]]], names=[""]).keys.tolist() == [16476032584258269876]


def test_two_processes_agree_on_keys():
    code = "from bagwise.bags import Bags; print(Bags.from_arrays([[[0.0]]], names=['a']).keys[0])"
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert int(run.stdout) == Bags.from_arrays([[[0.0]]], names=["a"]).keys[0]


# ---- memory -------------------------------------------------------------------------------------------------


def peak_of(make) -> int:
    tracemalloc.start()
    try:
        kept = make()
        return tracemalloc.get_traced_memory()[1] + 0 * len(kept)
    finally:
        tracemalloc.stop()


def test_packing_an_array_copies_nothing_and_checks_it_in_little_memory():
    instances = np.zeros((400_000, 64), np.float32)  # 100 MB
    offsets = np.arange(0, 400_001, 1000)
    assert peak_of(lambda: Bags(instances, offsets)) < 15e6
    assert np.shares_memory(Bags(instances, offsets).instances, instances)


@pytest.mark.parametrize("key", [slice(None), slice(1, 3), [1, 2], np.array([False, True, True, True]), [3]], ids=repr)
def test_neighbouring_bags_are_a_view(key):
    bags = full_bags()
    assert np.shares_memory(bags[key].instances, bags.instances)


def test_single_bags_are_views():
    bags = full_bags()
    assert all(np.shares_memory(bag.instances, bags.instances) for bag in bags)


def test_a_slice_of_many_instances_needs_little_memory():
    bags = Bags(np.zeros((4_000_000, 1), np.uint8), np.arange(0, 4_000_001, 1000))
    assert peak_of(lambda: bags[1:-1]) < 4e6


def test_memory_mapped_arrays_stay_on_disk(tmp_path):
    values = np.arange(60.0, dtype=np.float32).reshape(20, 3)
    np.save(tmp_path / "instances.npy", values)
    mapped = np.load(tmp_path / "instances.npy", mmap_mode="r")
    bags = Bags(mapped, [0, 5, 20], labels=[0, 1])
    assert np.shares_memory(bags.instances, mapped)
    np.testing.assert_array_equal(bags[1].instances, values[5:])
    np.testing.assert_array_equal(bags[[1, 0]].instances, np.roll(values, -5, axis=0))
    assert same_bags(pickle.loads(pickle.dumps(bags)), bags)


def test_a_gap_in_a_memory_mapped_array_is_found(tmp_path):
    values = np.ones((20, 3))
    values[7, 2] = np.nan
    np.save(tmp_path / "instances.npy", values)
    mapped = np.load(tmp_path / "instances.npy", mmap_mode="r")
    assert "bag '1' have a NaN or an infinity in row 2" in refusal(Bags, mapped, [0, 5, 20])


def test_arrays_in_fortran_order_are_read_right():
    values = np.asfortranarray(np.arange(12.0).reshape(4, 3))
    assert Bags(values, [0, 1, 4])[1].instances.tolist() == values[1:].tolist()


# ---- what it says of itself ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "shown"),
    [
        (None, "no labels"),
        ([0, 1, 1], "labels 0: 1, 1: 2"),
        ([True, False, True], "labels False: 1, True: 2"),
        (["b", "a", "b"], "labels a: 1, b: 2"),
    ],
)
def test_repr_counts_bags_instances_and_labels(labels, shown):
    text = repr(Bags.from_arrays(arrays_of((1, 2, 3)), labels))
    assert text == f"<Bags: 3 bags of 1 to 3 instances (6 in all), each of shape (2,) float64; {shown}>"


def test_repr_stays_short_with_many_classes():
    bags = Bags.from_arrays(arrays_of([1] * 500), np.arange(500))
    assert len(repr(bags)) < 200
    assert repr(bags).endswith(", ...>")
    assert "1 bag of 1 instance" in repr(bags[:1])


# ---- scikit-learn -------------------------------------------------------------------------------------------


class Recorder(ClassifierMixin, BaseEstimator):
    """Remembers the names and groups that scikit-learn showed it, and predicts a bag's class from its mean."""

    seen: list[tuple[str, list[str], list[int]]] = []  # noqa: RUF012

    def __init__(self, threshold: float = 0.0) -> None:
        self.threshold = threshold

    def fit(self, X, y):
        assert isinstance(X, Bags)
        np.testing.assert_array_equal(X.labels, y)
        self.classes_ = np.unique(y)
        self.seen.append(("fit", X.names.tolist(), X.groups.tolist()))
        return self

    def predict(self, X):
        assert isinstance(X, Bags)
        self.seen.append(("predict", X.names.tolist(), X.groups.tolist()))
        means = np.array([bag.instances.mean() for bag in X])
        return self.classes_[(means > self.threshold).astype(int)]


@pytest.fixture
def labelled():
    Recorder.seen.clear()
    rng = np.random.default_rng(0)
    labels = np.arange(12) % 2
    arrays = [rng.normal(size=(rng.integers(1, 4), 2)) * 0.1 + (2 * label - 1) for label in labels]
    return Bags.from_arrays(arrays, labels, names=[f"n{i}" for i in range(12)], groups=np.arange(12) // 4)


def test_cross_val_score_keeps_names_and_groups(labelled):
    folds = list(StratifiedKFold(3).split(np.zeros(12), labelled.labels))
    scores = cross_val_score(Recorder(), labelled, labelled.labels, cv=StratifiedKFold(3))
    assert scores.tolist() == [1, 1, 1]
    for i, (train, test) in enumerate(folds):
        kind, names, groups = Recorder.seen[2 * i]
        assert (kind, names) == ("fit", labelled.names[train].tolist())
        assert groups == labelled.groups[train].tolist()
        assert Recorder.seen[2 * i + 1][1] == labelled.names[test].tolist()


def test_group_folds_never_split_a_group(labelled):
    cross_val_score(Recorder(), labelled, labelled.labels, groups=labelled.groups, cv=GroupKFold(3))
    for (_, _, train), (_, _, test) in zip(Recorder.seen[::2], Recorder.seen[1::2], strict=True):
        assert not set(train) & set(test)


def test_grid_search_and_cross_val_predict_take_bags(labelled):
    search = GridSearchCV(Recorder(), {"threshold": [-50.0, 0.0]}, cv=3).fit(labelled, labelled.labels)
    assert search.best_params_ == {"threshold": 0.0}
    assert search.score(labelled, labelled.labels) == 1
    predicted = cross_val_predict(clone(Recorder()), labelled, labelled.labels, cv=3)
    np.testing.assert_array_equal(predicted, labelled.labels)


def test_train_test_split_keeps_all_that_belongs_to_a_bag(labelled):
    train, test, y_train, y_test = train_test_split(
        labelled, labelled.labels, test_size=0.25, stratify=labelled.labels, random_state=0
    )
    assert len(train) == 9
    assert len(test) == 3
    assert sorted([*train.names, *test.names]) == sorted(labelled.names)
    for part, y in ((train, y_train), (test, y_test)):
        np.testing.assert_array_equal(part.labels, y)
        for bag in part:
            assert same_bag(bag, labelled[int(bag.name[1:])])


def test_workers_of_joblib_get_whole_bags(labelled):
    names = joblib.Parallel(n_jobs=2, backend="threading")(
        joblib.delayed(lambda bags: bags.names.tolist())(labelled[i::2]) for i in range(2)
    )
    assert names == [labelled.names[i::2].tolist() for i in range(2)]


def test_the_features_of_a_list_of_numbers_may_have_names():
    assert Bags([[1.0, 2.0], [3.0, 4.0]], [0, 2], feature_names=["width", "height"]).feature_names == (
        "width",
        "height",
    )


# ---- as_bags ------------------------------------------------------------------------------------------------


def test_as_bags_leaves_bags_alone_and_packs_lists():
    bags = full_bags()
    assert as_bags(bags) is bags
    assert as_bags(bags, [1, 2, 3, 4]).labels.tolist() == [1, 2, 3, 4]
    for X in (arrays_of((2, 1)), tuple(arrays_of((2, 1)))):
        assert as_bags(X, ["a", "b"]).labels.tolist() == ["a", "b"]
        assert as_bags(X).labels is None


@pytest.mark.parametrize("X", [None, 3, "text", {}, np.zeros((2, 3)), FRAME, iter([])], ids=lambda X: type(X).__name__)
def test_as_bags_refuses_what_is_no_set_of_bags(X):
    assert type(X).__name__ in refusal(as_bags, X)


def test_as_bags_refuses_labels_that_do_not_fit():
    assert "labels" in refusal(as_bags, full_bags(), [1, 2])
    assert "labels" in refusal(as_bags, arrays_of((1, 2)), [1])
