"""What instances contribute, as explanations, tables and pages tell it."""

import numpy as np
import pytest

import bagwise as bw
from bagwise.commands.bag_views import as_texts, bag_views
from bagwise.explain import explain, key_instances, key_rows
from bagwise.reports import Report, write_report

RNG = np.random.default_rng(0)
ARRAYS = [RNG.normal(2 * (bag % 2), size=(size, 3)) for bag, size in enumerate((4, 1, 6, 3, 5, 2) * 2)]
THREE = ["c", "a", "b"] * 4
QUICKLY = {"epochs": 20, "optimizer": "adam", "learning_rate": 1e-2, "random_state": 0}


def fitted(name, labels, **given):
    bags = bw.Bags.from_arrays(ARRAYS, labels)
    return bags, bw.make(name, **(QUICKLY | given)).fit(bags)


@pytest.mark.parametrize("positive", ["sick", "well"])
def test_of_two_classes_evidence_is_for_what_is_predicted(positive):
    bags, model = fitted("signed-attention", ["sick", "well"] * 6, positive=positive)
    found = explain(model, bags)
    told = model.contributions(bags)
    np.testing.assert_array_equal(found.contributions, told)
    right = np.repeat(model.predict(bags) == positive, bags.sizes)
    assert 0 < right.sum() < len(right)
    np.testing.assert_array_equal(found.evidence(bags), np.where(right, told, -told))
    np.testing.assert_array_equal(found.table(bags)["contribution"], told)
    np.testing.assert_array_equal(found.table(bags)["weight"], model.attention(bags))
    assert found.table(bags).groupby("bag")["rank"].min().eq(1).all()
    np.testing.assert_array_equal(found.importance, np.abs(model.attention(bags)))


def test_of_several_classes_there_is_a_column_for_each():
    bags, model = fitted("class-attention", THREE)
    found, told = explain(model, bags), model.contributions(bags)
    table = found.table(bags)
    for column, name in enumerate("abc"):
        np.testing.assert_array_equal(table[f"contribution_{name}"], told[:, column])
        np.testing.assert_array_equal(table[f"weight_{name}"], model.attention(bags)[:, column])
    chosen = np.repeat(np.searchsorted(model.classes_, model.predict(bags)), bags.sizes)
    np.testing.assert_array_equal(found.evidence(bags), told[np.arange(len(told)), chosen])


def test_labels_name_their_columns_and_take_a_bag_for_nothing_alone():
    plain = bw.Bags.from_arrays(ARRAYS, np.arange(24).reshape(12, 2) % 3 > 0)
    bags = bw.Bags(plain.instances, plain.offsets, plain.labels, label_names=("fat", "dead"))
    model = bw.make("class-attention", target="multi-label", **QUICKLY).fit(bags)
    found = explain(model, bags)
    assert {"weight_fat", "weight_dead", "contribution_fat", "contribution_dead"} <= {*found.table(bags)}
    assert found.evidence(bags) is None
    assert len(key_instances(found, bags, 1)) > 0


@pytest.mark.parametrize(("target", "labels"), [("real", RNG.normal(size=12)), ("ordinal", np.arange(12) % 3)])
def test_of_numbers_and_grades_evidence_is_what_raises_them(target, labels):
    bags, model = fitted("conjunctive", labels, target=target)
    found = explain(model, bags)
    if model.target_.outputs == 1:
        np.testing.assert_array_equal(found.evidence(bags), model.contributions(bags))
    else:
        assert found.evidence(bags) is None


def test_members_are_averaged_and_one_without_leaves_nothing():
    bags, one = fitted("additive", THREE)
    _, other = fitted("additive", THREE, random_state=1)
    mean = (one.contributions(bags) + other.contributions(bags)) / 2
    np.testing.assert_allclose(explain([one, other], bags).contributions, mean, rtol=1e-6)
    _, without = fitted("attention", THREE)
    assert explain([one, without], bags).contributions is None


def test_key_instances_are_most_for_and_most_against():
    bags, model = fitted("class-attention", THREE)
    found = explain(model, bags)
    evidence = found.evidence(bags)
    expected = []
    for begin, end in zip(bags.offsets, bags.offsets[1:], strict=False):
        order = [] if end - begin == 1 else sorted(range(begin, end), key=lambda row: -evidence[row])
        expected += [row for row in order[:2] if evidence[row] > 0]
        expected += [row for row in order[-2:] if evidence[row] < 0]
    assert key_rows(found, bags, 2).tolist() == expected
    keys = key_instances(found, bags, 2)
    np.testing.assert_array_equal(keys["weight"], found.weights[expected])


def test_the_page_shows_the_sign(tmp_path):
    bags = bw.Bags.from_arrays([[[0.0], [1.0], [2.0]]])
    label = as_texts(["ill"])
    views = bag_views(bags, label, label, np.array([[0.9]]), np.ones(3), evidence=np.array([1.25, -0.5, 0.0]))
    write_report(Report("a", "b", [], [], [], views), tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert '<span class="evidence">+1.25</span>' in page
    assert '<span class="evidence against">-0.50</span>' in page
    assert "what an instance adds to its bag" in page
    assert "speaks for what is predicted" in page[: page.index('<span class="evidence">+1.25')]  # the legend, before it
    plain = bag_views(bags, label, label, np.array([[0.9]]), np.ones(3))
    write_report(Report("a", "b", [], [], [], plain), tmp_path / "plain.html")
    assert 'class="evidence' not in (tmp_path / "plain.html").read_text()
    assert "speaks for what is predicted" not in (tmp_path / "plain.html").read_text()
