import numpy as np
import pytest

from bagwise import Bags
from bagwise.commands.bag_views import bag_views, choose
from bagwise.commands.columns import answer_columns
from bagwise.commands.verdicts import verdicts_of
from bagwise.evaluation.metrics import measure
from bagwise.reports import Report, write_report
from bagwise.reports.figures import OutOfFold, figures_of
from bagwise.targets.registry import TARGETS, target_of

LIVES = np.array([(True, 3.0), (False, 5.5)], [("event", bool), ("time", float)])


@pytest.mark.parametrize(
    ("kind", "labels", "answers", "told", "predicted", "probabilities", "off"),
    [
        ("classes", ["no", "yes"], [[0.9, 0.1], [0.6, 0.4]], ["no", "yes"], ["no", "no"], [0.9, 0.6], None),
        ("ordinal", [1, 2], [[0.3, 0.7], [0.2, 0.8]], ["1", "2"], ["2", "2"], [0.7, 0.8], None),
        (
            "multi-label",
            [[1.0, 0.0, 1.0], [0.0, np.nan, 0.0]],
            [[0.9, 0.2, 0.5], [0.1, 0.9, 0.4]],
            ["0, 2", "none"],
            ["0", "none"],
            [0.9 * 0.8 * 0.5, 0.9 * 0.6],
            None,
        ),
        (
            "real",
            [[1.5, 0.0], [2.5, 1.0]],
            [[1.0, 0.25], [2.5, 3.0]],
            ["1.5, 0", "2.5, 1"],
            ["1, 0.25", "2.5, 3"],
            None,
            [0.375, 1],
        ),
        ("count", [1, 4], [[1.25], [3.0]], ["1", "4"], ["1.25", "3"], None, [0.25, 1]),
        (
            "survival",
            LIVES,
            [[0.5, 1], [-2.0, 1]],
            ["event at 3", "seen until 5.5"],
            ["risk 0.5", "risk -2"],
            None,
            [0.5, -2],
        ),
    ],
)
def test_labels_and_answers_are_said_as_their_kind_has_them(kind, labels, answers, told, predicted, probabilities, off):
    target = target_of(kind, np.asarray(labels))
    found = verdicts_of(target, np.asarray(labels), np.array(answers))
    assert found.labels.tolist() == told
    assert found.predicted.tolist() == predicted
    for given, expected in ((found.probabilities, probabilities), (found.off, off)):
        assert (given is None) == (expected is None)
        assert given is None or given.tolist() == pytest.approx(expected)
    unknown = verdicts_of(target, None, np.array(answers))
    assert unknown.labels.tolist() == [None, None]
    assert (unknown.probabilities is None) == (probabilities is None)
    one = found.take(np.array([1]))
    assert (one.labels.tolist(), one.predicted.tolist()) == (told[1:], predicted[1:])


def test_every_kind_of_target_can_be_said():
    from bagwise.commands.verdicts import _KINDS

    assert _KINDS.keys() == TARGETS.keys()


def test_a_page_of_numbers_shows_the_furthest_first_and_says_nothing_of_right_and_wrong(tmp_path):
    labels = np.array([1.5, 2.5, 9.25])
    found = verdicts_of(TARGETS["real"].of(labels), labels, np.array([[1.0], [2.5], [4.0]]))
    order = choose(found)
    assert order.tolist() == [2, 0, 1]
    bags = Bags.from_arrays([[[0.0]], [[1.0], [2.0]], [[3.0]]], names=["a", "b", "c"])[order]
    shown = found.take(order)
    views = bag_views(bags, shown.labels, shown.predicted, shown.probabilities, np.ones(4))
    assert [view.verdict for view in views] == ["open"] * 3
    write_report(Report("numbers", "", [], [], [], views), tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.index("<bdi>c</bdi>") < page.index("<bdi>a</bdi>") < page.index("<bdi>b</bdi>")
    for text in ("right", "wrong", "robability of the predicted", "surest", 'name="label"'):
        assert text not in page.split("<body")[1].split("<script")[0], text
    assert "9.25" in page


def test_a_kind_of_the_users_own_is_said_as_numbers_and_measured_by_what_it_names():
    class Scaled(type(TARGETS["real"].of([0.5, 1.0]))):
        kind = "scaled"

    target, answers = Scaled.of([0.5, 1.0]), np.array([[0.75], [1.0]])
    assert verdicts_of(target, np.array([0.5, 1.0]), answers).off.tolist() == [0.25, 0]
    assert list(answer_columns(target, answers)) == ["value"]
    assert measure(target, np.array([0.5, 1.0]), answers)["mae"] == 0.125
    found = OutOfFold(target, np.array([0.5, 1.0]), {"own": answers[None]}, np.zeros((1, 2), np.int64))
    assert figures_of(found) == []
