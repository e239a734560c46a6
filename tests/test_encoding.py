import numpy as np
import pytest
import torch
from sklearn.preprocessing import OneHotEncoder

from bagwise import Bags, BagwiseError
from bagwise.encoding import FEWEST_BAGS, LIMIT, Encoding, encoded
from bagwise.feature_columns import MOST_PLACES, Column
from bagwise.models.shown_columns import ShownColumns

COLUMNS = (
    Column("size", "number"),
    Column("colour", "category", ("blue", "green", "red")),
    Column("when", "date"),
    Column("same", "number"),
)


def made(count=200, seed=0):
    rng = np.random.default_rng(seed)
    raw = np.column_stack(
        [rng.lognormal(5, 2, count), rng.integers(0, 3, count), rng.integers(0, 10**9, count), np.full(count, 7.0)]
    )
    raw[rng.random((count, 4)) < [0.1, 0.2, 0.1, 0]] = np.nan
    return raw, np.arange(0, count + 1, 2)


def test_torch_and_numpy_encode_alike():
    raw, offsets = made()
    encoding = Encoding.learn(COLUMNS, raw, offsets, np.arange(60), width=24)
    new = made(seed=1)[0]
    new[:5, 1] = 3.0  # an unknown value
    new[5, 0] = 1e300
    shown = encoding.apply(new)
    assert shown.shape == (200, 24)
    assert np.abs(shown).max() == LIMIT
    torch.testing.assert_close(ShownColumns(encoding, torch.float64)(torch.from_numpy(new)).numpy(), shown)
    single = ShownColumns(encoding, torch.float32).eval()(torch.from_numpy(new))
    np.testing.assert_allclose(single, shown, atol=1e-5)


def test_what_is_learnt_depends_on_training_bags_alone():
    raw, offsets = made()
    before = Encoding.learn(COLUMNS, raw, offsets, np.arange(60))
    raw[120:] = 1e9
    after = Encoding.learn(COLUMNS, raw, offsets, np.arange(60))
    np.testing.assert_array_equal(before.apply(raw[:120]), after.apply(raw[:120]))


def test_categories_equal_those_of_scikit_learn():
    counts = np.maximum(1, 130 - 3 * np.arange(61))
    codes = np.repeat(np.arange(61.0), np.roll(counts, 20))
    column = Column("shop", "category", tuple(f"{n:02}" for n in range(61)))
    encoding = Encoding.learn([column], codes[:, None], np.arange(len(codes) + 1), np.arange(len(codes)))
    rules = {"max_categories": MOST_PLACES + 1, "min_frequency": FEWEST_BAGS}
    known = OneHotEncoder(**rules, handle_unknown="infrequent_if_exist", sparse_output=False).fit(codes[:, None])
    np.testing.assert_array_equal(encoding.apply(codes[:, None]), known.transform(codes[:, None]))
    assert encoding.apply(np.array([[61.0], [np.nan]]))[:, -1].tolist() == [1.0, 0.0]


def test_bags_are_encoded_page_by_page():
    raw, offsets = made()
    bags = Bags(raw, offsets, columns=COLUMNS)
    encoding = Encoding.learn(COLUMNS, raw, offsets, np.arange(60))
    shown = encoded(bags, encoding)
    np.testing.assert_array_equal(shown[[7, 3]].instances[:], encoding.apply(bags[[7, 3]].instances))


def test_where_nothing_differs_nothing_is_learnt():
    with pytest.raises(BagwiseError, match="nothing to learn from"):
        Encoding.learn(COLUMNS[3:], np.full((4, 1), 7.0), np.arange(5), np.arange(4))
    with pytest.raises(BagwiseError, match="'size' reaches from 0 to 1e"):
        Encoding.learn(COLUMNS[:1], np.array([[0.0], [1e35]]), np.arange(3), np.arange(2))
