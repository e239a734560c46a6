"""Digests of bags: the same for the same features, however they lie in memory, and else others."""

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import bagwise as bw
from bagwise.trust.overlap import bag_digests

FEW = st.sampled_from([0.0, 1.0, -2.5, 2.0**99])
BAG = st.integers(1, 4).flatmap(lambda size: arrays(np.float32, (size, 2), elements=FEW))


def digests(*of):
    model = bw.make("mean-logistic", random_state=0)
    model.instance_shape_ = of[0].shape[1:]
    return bag_digests(model, bw.Bags.from_arrays(of)).tolist()


@given(BAG, BAG, st.randoms())
def test_two_bags_have_one_digest_if_they_hold_the_same_instances(one, other, chance):
    order = list(range(len(one)))
    chance.shuffle(order)
    alike = [np.where(array == 0, -0.0, array) for array in (one, one[order])]  # a zero with a sign
    first, again, shuffled, second = digests(one.astype(np.float64), *(a.astype(np.float64) for a in alike), other)
    assert first == again == shuffled
    rows = [sorted(map(repr, (array + 0.0).tolist())) for array in (one, other)]
    assert (first == second) == (rows[0] == rows[1])


def test_bags_of_images_are_told_apart_by_one_pixel():
    images = np.random.default_rng(0).integers(0, 256, (3, 2, 5, 5)).astype(np.uint8)
    images[1] = images[0, ::-1]
    images[2] = images[0]
    images[2, 0, 0, 0] ^= 1
    first, second, third = digests(*images)
    assert first == second != third


def test_columns_of_all_kinds_are_the_same_where_another_table_has_other_categories():
    frame = pd.DataFrame({"bag": list("aabb") * 10, "kind": ["red", "blue", "red", None] * 10, "x": np.arange(40) / 3})
    frame["bag"] += (frame.index // 4).astype(str)
    frame["label"] = frame["bag"].str[0]
    bags = bw.Bags.from_table(frame, "bag", "label")
    model = bw.make("mean-logistic", random_state=0).fit(bags)
    known = bag_digests(model, bags)
    some = frame[frame["bag"].isin(["b3", "a5"])][["x", "kind", "bag"]]
    new = pd.concat([some, pd.DataFrame({"bag": ["new"], "kind": ["red"], "x": [0.25]})])
    found = bag_digests(model, bw.Bags.from_table(new, "bag", like=bags.columns))
    assert np.isin(found, known).tolist() == [True, True, False]
