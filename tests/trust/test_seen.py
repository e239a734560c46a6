"""What a run keeps of its training bags: kept and read again, for bags of every kind."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import bagwise as bw
from bagwise.errors import BagwiseError
from bagwise.tensorfiles import read_arrays, write_tensors
from bagwise.trust.files import file_digests
from bagwise.trust.fold_models import ask_folds
from bagwise.trust.held_out import hold_out
from bagwise.trust.seen import FILE, Seen


def vectors(seed, bags=60, shift=0.0):
    rng = np.random.default_rng(seed)
    arrays = [rng.normal(size=(rng.integers(2, 6), 3)) + shift for _ in range(bags)]
    return bw.Bags.from_arrays(arrays, labels=np.arange(bags) % 2, feature_names=["a", "b", "c"])


@pytest.fixture(scope="module")
def simple():
    bags = vectors(0)
    return bags, bw.make("mean-logistic", random_state=0).fit(bags)


def test_it_is_read_as_it_was_written(simple, tmp_path):
    bags, model = simple
    grouped = replace(bags, groups=np.array([f"p{bag // 2}" for bag in range(60)]))
    seen = Seen.of(model, grouped)
    assert all(len(np.unique(seen.known.fold[grouped.groups == group])) == 1 for group in grouped.groups)
    seen.save(tmp_path, "this")
    read, new = Seen.load(tmp_path, model, "this"), vectors(1)
    assert np.array_equal(read.likeness(model, new).p, seen.likeness(model, new).p)
    assert np.array_equal(read.likeness(model, new).beyond, seen.likeness(model, new).beyond)
    with pytest.raises(BagwiseError, match=r"belongs to another run"):
        Seen.load(tmp_path, model, "that")
    assert Seen.load(tmp_path / "nowhere", model, "this") is None
    (tmp_path / "model").write_text("one")
    seen.save(tmp_path, "this", file_digests(tmp_path, ["model"]))
    assert Seen.load(tmp_path, model, "this") is not None
    (tmp_path / "model").write_text("another")
    with pytest.raises(BagwiseError, match=r"model is not the file that this run wrote"):
        Seen.load(tmp_path, model, "this")


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("fold", lambda array: array - 1),
        ("fold", lambda array: array + 60),
        ("fold", lambda array: array * 0),
        ("fold", lambda array: array[:-1]),
        ("fold", lambda array: array.astype(np.float64)),
        ("summaries", lambda array: array[:, :-1]),
        ("summaries", lambda array: array * np.nan),
        ("lowest", lambda array: array[:-1]),
        ("highest", lambda array: array * np.nan),
        ("vectors", lambda _: np.zeros((5, 60, 2))),
        ("groups", lambda _: np.zeros(59, np.int64)),
        ("another", lambda _: np.zeros(1)),
        ("digests", lambda array: array.astype(np.int64)),
        ("digests", lambda array: array[:, None]),
        ("summaries", lambda _: None),
    ],
)
def test_a_file_that_was_edited_is_refused(simple, tmp_path, name, change):
    bags, model = simple
    Seen.of(model, bags).save(tmp_path, "this")
    arrays, described = read_arrays(tmp_path / FILE)
    arrays[name] = change(arrays.get(name))
    write_tensors(tmp_path / FILE, {key: one for key, one in arrays.items() if one is not None}, described)
    with pytest.raises(BagwiseError, match=r"seen\.safetensors does not hold bags .* it was edited"):
        Seen.load(tmp_path, model, "this")


def test_bags_learnt_from_are_known_again_but_not_by_a_file_that_an_older_version_wrote(simple, tmp_path):
    bags, model = simple
    Seen.of(model, bags).save(tmp_path, "this")
    both = bw.Bags.from_arrays([bags[4].instances[::-1], vectors(1)[0].instances, bags[7].instances])
    assert Seen.load(tmp_path, model, "this").learnt_from(model, both).tolist() == [True, False, True]
    arrays, described = read_arrays(tmp_path / FILE)
    del arrays["digests"]
    write_tensors(tmp_path / FILE, arrays, {**described, "format": 1})
    assert not Seen.load(tmp_path, model, "this").learnt_from(model, both).any()


def test_bags_of_one_group_tell_nothing_of_others(simple):
    bags, model = simple
    assert Seen.of(model, replace(bags, groups=np.zeros(60, int))) is None


@pytest.mark.parametrize("rows", [1, 2, 3, 1 << 16])
def test_features_out_of_the_range_seen_are_counted_by_bag(simple, rows, monkeypatch):
    monkeypatch.setattr("bagwise.trust.seen._ROWS", rows)
    bags, model = simple
    new = bw.Bags.from_arrays([[[0.0, 0, 99]], [[0, -99, 99], [0, 0, 0]], [[0, 0, 0]]])
    assert Seen.of(model, bags).likeness(model, new).beyond.tolist() == [0, 1, 2]
    assert Seen.of(model, bags).likeness(model, bags).beyond.tolist() == [0, 0, 0]


@pytest.mark.parametrize("method", ["attention", "mi-Net"])
def test_a_neural_run_compares_vectors_where_its_models_have_them(method, tmp_path):
    bags, new = vectors(2), vectors(3, 20, shift=4.0)
    model = bw.make(method, epochs=2, random_state=0).fit(bags)
    held_out = hold_out(bw.make(method, epochs=2, random_state=0), bags, folds=3, n_jobs=1)
    seen = Seen.of(model, bags, held_out.fold, held_out.models, folds=3)
    assert (seen.known.vectors is not None) == (method == "attention")
    seen.save(tmp_path, "this")
    said = ask_folds(held_out.models, 3, new)
    p = Seen.load(tmp_path, model, "this").likeness(model, new, said.vectors).p
    assert (p == 1 / 61).mean() > 0.9
    alone = Seen.of(model, bags, held_out.fold, folds=3).likeness(model, new).p
    assert np.array_equal(seen.likeness(model, new).p, alone)  # without the models of folds


def test_columns_of_all_kinds_are_compared_as_a_model_is_shown_them():
    rng = np.random.default_rng(4)
    rows = 400
    frame = pd.DataFrame(
        {
            "bag": np.repeat(np.arange(80), 5).astype(str),
            "label": np.repeat(np.arange(80) % 2, 5),
            "amount": np.where(rng.random(rows) < 0.1, np.nan, rng.gamma(2, 50, rows)),
            "colour": rng.choice(["blue", "red", "green"], rows),
            "when": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 10**7, rows), unit="s"),
        }
    )
    bags = bw.Bags.from_table(frame, "bag", "label")
    new = bw.Bags.from_table(
        frame.assign(amount=frame["amount"] + 5000, when=frame["when"] + pd.Timedelta("900D")), "bag", like=bags.columns
    )
    for model in (bw.make("attention", epochs=1, random_state=0), bw.make("summary-logistic", random_state=0)):
        seen = Seen.of(model.fit(bags), bags)
        assert not seen.likeness(model, bags[:20]).beyond.any()
        beyond = dict(zip((column.name for column in bags.columns), seen.likeness(model, new[:20]).beyond, strict=True))
        assert {name for name, count in beyond.items() if count} == {"amount"}  # dates are always later
        assert (seen.likeness(model, new[:20]).p == 1 / 81).all()


def test_of_images_the_vectors_of_models_tell():
    rng = np.random.default_rng(5)
    bags = bw.Bags.from_arrays(rng.integers(0, 256, (24, 2, 28, 28)).astype(np.uint8), labels=np.arange(24) % 2)
    model = bw.make("attention", epochs=1, random_state=0)
    held_out = hold_out(model, bags, folds=2, n_jobs=1)
    seen = Seen.of(model.fit(bags), bags, held_out.fold, held_out.models, folds=2)
    assert seen.known.summaries.shape == (24, 1)
    dark = bw.Bags.from_arrays(np.zeros((2, 2, 28, 28), np.uint8))
    found = seen.likeness(model, dark, ask_folds(held_out.models, 2, dark).vectors)
    assert (found.p == 1 / 25).all()
    assert found.beyond.shape == (0,)


def test_of_many_bags_a_choice_is_kept_and_the_range_of_all(monkeypatch):
    monkeypatch.setattr("bagwise.trust.seen._MOST_BAGS", 50)
    bags = vectors(6, bags=200)
    model = bw.make("mean-logistic", random_state=0).fit(bags)
    seen = Seen.of(model, bags)
    assert seen.known.finest == 1 / 51
    assert np.array_equal(seen.lowest, bags.instances.min(axis=0))
    assert np.array_equal(seen.highest, bags.instances.max(axis=0))
