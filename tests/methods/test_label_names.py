"""Several labels a bag keep the names of their columns, from the bags to what a saved model says."""

import numpy as np
import pytest

import bagwise as bw
from bagwise.commands.columns import answer_columns, label_columns, spread_columns
from bagwise.targets.numbers import RealTarget
from bagwise.targets.registry import TARGETS
from bagwise.targets.several import MultiLabelTarget

RNG = np.random.default_rng(0)
ARRAYS = [RNG.normal(size=(3, 2)) for _ in range(12)]
FIRST = np.array([array[:, 0].max() for array in ARRAYS])
SEVERAL = {
    "multi-label": np.column_stack([FIRST > 1, np.where(FIRST > 2, np.nan, FIRST > 0.5)]).astype(float),
    "real": np.column_stack([FIRST, FIRST**2 + 0.5]),
}
NAMES = ("fat", "necrosis")


@pytest.fixture(params=SEVERAL)
def bags(request):
    return bw.Bags.from_arrays(ARRAYS, SEVERAL[request.param], label_names=NAMES)


def test_names_stay_with_bags(bags):
    assert bags.label_names == NAMES
    assert (
        bags[[3, 1]].label_names == bags[2:5].label_names == bw.Bags.concat([bags[:4], bags[4:]]).label_names == NAMES
    )
    assert bags.with_labels(bags.labels).label_names is None
    assert bags.with_labels(bags.labels, NAMES[::-1]).label_names == NAMES[::-1]


@pytest.mark.parametrize(
    ("labels", "names", "told"),
    [
        ([[0, 1], [1, 0]], ["a", "a"], "two labels have the name 'a'"),
        ([[0, 1], [1, 0]], ["a"], "there are 1 label names, but the labels have shape"),
        ([0, 1], ["a"], "there are 1 label names, but the labels have shape"),
        (None, ["a", "b"], "there are 2 label names, but there are no labels"),
    ],
)
def test_names_that_do_not_fit_are_refused(labels, names, told):
    with pytest.raises(bw.BagwiseError, match=told):
        bw.Bags.from_arrays([[[0.0]], [[1.0]]], labels, label_names=names)


def test_labels_of_other_names_are_not_joined(bags):
    with pytest.raises(bw.BagwiseError, match="the label names of set 1 differ"):
        bw.Bags.concat([bags, bags.with_labels(bags.labels, NAMES[::-1])])


def test_a_saved_model_knows_them(bags, tmp_path):
    model = bw.AttentionMIL(epochs=1, random_state=0).fit(bags)
    bw.save_model(model, tmp_path / "model")
    again = bw.load_model(tmp_path / "model")
    assert again.target_ == model.target_
    assert again.target_.label_names == NAMES
    said = answer_columns(again.target_, again.answers(bags))
    assert [name.rpartition("_")[2] for name in said] == [*NAMES] * (len(said) // 2)
    assert list(spread_columns(again.target_, again.answers(bags))) == ["spread_fat", "spread_necrosis"]
    assert list(label_columns(bags.labels, bags.label_names)) == ["label_fat", "label_necrosis"]
    if again.target_.kind == "multi-label":
        assert again.classes_.tolist() == [*NAMES]


def test_what_is_not_known_of_validation_bags_is_no_other_class(bags):
    model = bw.AttentionMIL(epochs=2, patience=2, random_state=0).fit(bags, validation=np.argsort(-FIRST)[:4])
    assert len(model.history_) == 2


@pytest.mark.parametrize("names", [["a"], ["a", 1], "ab"])
def test_names_in_a_file_that_are_none_are_found(names):
    for target in (MultiLabelTarget(2), RealTarget(2, flat=False)):
        with pytest.raises(ValueError, match="label names"):
            TARGETS[target.kind].from_facts(target.facts() | {"label_names": names})


def test_whole_numbers_in_columns_are_real():
    assert bw.AttentionMIL(epochs=1).fit(ARRAYS[:3], [[3, 1], [2, 5], [4, 4]]).target_.kind == "real"
