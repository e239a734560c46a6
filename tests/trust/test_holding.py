"""How often sets and intervals hold the truth, counted one by one."""

import numpy as np
import pytest

from bagwise.evaluation.wilson import share_interval
from bagwise.targets.registry import TARGETS
from bagwise.trust.covered import Covered
from bagwise.trust.holding import holding


@pytest.mark.parametrize("kind", ["classes", "ordinal"])
def test_classes_and_grades_are_counted_in_all_and_each(kind):
    rng = np.random.default_rng(0)
    grades = ["mild", "grave", "deadly"]
    labels, sets = rng.choice(grades[:2], 40), rng.random((40, 3)) < 0.5
    groups, weights = np.arange(40) // 2, rng.random(40)
    target = TARGETS[kind].of(np.array(grades), **({"order": grades} if kind == "ordinal" else {}))
    (one,) = holding(target, Covered(sets, None, None, ()), labels, groups, weights)
    names = target.names.tolist()
    held = np.array([sets[bag, names.index(label)] for bag, label in enumerate(labels)])
    assert one.overall.share == pytest.approx(np.average(held, weights=weights))
    assert one.overall.interval == share_interval(held, groups=groups, weights=weights)
    mild = labels == "mild"
    assert one.by_class["mild"].share == pytest.approx(np.average(held[mild], weights=weights[mild]))
    assert one.by_class["deadly"].told() == {"count": 0, "value": None, "low": None, "high": None}
    assert (one.size, one.empty) == (sets.sum(axis=1).mean(), (~sets.any(axis=1)).mean())


def test_several_labels_are_counted_where_they_are_known():
    labels = np.array([[0, 1], [1, np.nan], [1, 0]])
    sets = np.array([[[1, 0], [1, 0]], [[1, 0], [0, 0]], [[1, 1], [1, 0]]], bool)
    target = TARGETS["multi-label"].of(labels, label_names=("fat", "fibrous"))
    fat, fibrous = holding(target, Covered(sets, None, None, ()), labels)
    assert (fat.of, fat.overall.bags, fat.overall.share) == ("fat", 3, 2 / 3)
    assert {name: held.share for name, held in fat.by_class.items()} == {"0": 1.0, "1": 0.5}
    assert (fibrous.overall.bags, fibrous.overall.share, fibrous.by_class["1"].share) == (2, 0.5, 0.0)
    assert "fibrous: Sets have 0.67 classes in the mean, and 33.3 % are empty." in fibrous.sentence()


def test_numbers_are_held_up_to_the_ends_and_intervals_without_an_end_have_no_width():
    labels = np.array([1.0, 2.0, 3.0, 4.0])
    low, high = np.array([[1.0], [2.5], [-np.inf], [3.5]]), np.array([[2.0], [3.0], [np.inf], [4.0]])
    (one,) = holding(TARGETS["real"].of(labels), Covered(None, low, high, ()), labels)
    assert one.overall.share == 0.75
    assert (one.size, one.endless) == (pytest.approx(2 / 3), 0.25)
    assert one.told()["coverage"]["count"] == 4
    two = np.column_stack([labels, labels])
    ends = [np.column_stack([end, end + 1]) for end in (low, high)]
    found = holding(TARGETS["real"].of(two), Covered(None, *ends, ()), two)
    assert [(of.of, of.overall.share) for of in found] == [("0", 0.75), ("1", 0.25)]
