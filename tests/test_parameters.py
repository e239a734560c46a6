"""What a parameter must be: said once, by its annotation, and asked of every method when it begins to learn."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

import numpy as np
import pytest
from annotated_types import Ge, Gt, Interval, Le, Lt, Predicate
from hypothesis import given
from hypothesis import strategies as st

import bagwise as bw
from bagwise import METHODS, BagwiseError
from bagwise.methods.base import BagEstimator, rules_for
from bagwise.methods.neural import NeuralMIL
from bagwise.parameters import Among, Count, NonNegative, Positive, Share, annotations_of, rule_of, rules_of
from bagwise.training.members import Plan, Settings

KINDS = {kind.__name__: kind for kind, _ in METHODS.values()}
BAGS = bw.Bags.from_arrays([[[0.0]], [[1.0]], [[0.1]], [[0.9]]], labels=[0, 1, 0, 1])


@pytest.mark.parametrize(
    ("annotation", "said", "taken", "refused"),
    [
        (int, "a whole number", [0, -3, np.int8(2)], [1.0, True, "1", None, float("nan")]),
        (float, "a number", [0, 0.5, np.float32(1)], [np.nan, np.inf, -np.inf, False, 1j, "0.5", [1.0]]),
        (Count, "a whole number from 1 on", [1, 10**400], [0, -1, 1.0]),
        (Count | None, "a whole number from 1 on, or None", [1, None], [0]),
        (Positive, "a number above 0", [1e-300, 1], [0, -1.0]),
        (NonNegative, "a number from 0 on", [0, 3], [-1e-9]),
        (Share, "a number from 0 to below 1", [0, 0.999], [1, -0.1]),
        (Annotated[float, Interval(gt=0, le=0.5)], "a number above 0 and at most 0.5", [0.5], [0, 0.51]),
        (Annotated[int, Ge(1), Le(9)], "a whole number from 1 to 9", [1, 9], [0, 10]),
        (Annotated[float, Gt(0), Lt(1)], "a number above 0 and below 1", [0.5], [0, 1]),
        (Annotated[float, Le(1)], "a number at most 1", [1, -5], [1.1]),
        (Annotated[float, Lt(1)], "a number below 1", [0.9, -5], [1]),
        (Annotated[int, Ge(0), "so many"], "so many", [0], [-1]),
        (Annotated[int, Predicate(lambda value: value % 2)], "a whole number", [3], [2]),
        (bool, "True or False", [True, np.False_], [0, 1, "True", None]),
        (Literal["auto"] | bool, "'auto', True or False", ["auto", np.str_("auto"), False], ["Auto", 1, None]),
        (Literal[1, "a"], "1 or 'a'", [1, "a"], [True, 2, np.array([1, 2])]),
        (None | Literal["a"], "'a', or None", [None, "a"], ["b"]),
        (Annotated[str, Among({"a": 0, "b": 0})] | None, "'a', 'b', or None", ["a", None], ["c", 1, ["a"]]),
        (str, "text", ["", "x"], [1, b"x", None]),
        (Callable[[], int], "a function", [len, int], [3]),
        (Settings, "a Settings", [Settings("sgd", 1.0, 1)], [Settings]),
        (tuple[Positive, ...], "a tuple, each a number above 0", [(), (1, 2.0)], [(0,), [1], 1]),
        (tuple[int, str], "a tuple", [(1, "a")], [[1, "a"]]),
        (Sequence[int], "a list, each a whole number", [[1], (2,)], ["12", [1.5], {1: 2}]),
        (Mapping[str, Positive], "a mapping, each value a number above 0", [{}, {"a": 1}], [{"a": 0}, [("a", 1)]]),
        (Any, "anything", [None, 3, "x"], []),
        ("unread", "anything", [None, 3], []),
    ],
)
def test_an_annotation_says_what_a_value_must_be(annotation, said, taken, refused):
    rule = rule_of(annotation)
    assert rule.said == said
    assert [value for value in taken if not rule.holds(value)] == []
    assert [value for value in refused if rule.holds(value)] == []


@given(st.data())
def test_what_hypothesis_makes_of_an_annotation_is_taken(data):
    numbers = [Count, Positive, NonNegative, Share, Annotated[float, Interval(gt=0, le=0.5)], Count | None, bool]
    annotation = data.draw(st.sampled_from(numbers))
    value = data.draw(st.from_type(annotation).filter(lambda value: value is None or abs(value) < np.inf))
    assert rule_of(annotation).holds(value)


@pytest.mark.parametrize("name", KINDS)
def test_every_default_is_what_its_own_rule_asks_for(name):
    model = KINDS[name]()
    assert rules_for(KINDS[name]).keys() == model.get_params().keys()
    model._validate_params()


@pytest.mark.parametrize(
    ("name", "parameter"),
    [
        (name, parameter)
        for name, kind in KINDS.items()
        for parameter, rule in rules_for(kind).items()
        if rule.said != "anything"
    ],
)
def test_every_parameter_is_asked_before_anything_is_learnt(name, parameter):
    value = object()
    with pytest.raises(BagwiseError, match=rf"^{parameter} is <object .*>: it must be \S"):
        KINDS[name](**{parameter: value}).fit(BAGS)


@pytest.mark.parametrize(
    ("shared", "name", "said"),
    [
        (Settings, "l2", "a number from 0 on, or None"),
        (Settings, "optimizer", ", or None"),
        (Plan, "clip", "a number above 0, or None"),
        (Plan, "precision", "'float32', 'float64' or 'mixed'"),
    ],
)
def test_what_settings_or_plan_have_must_be_for_a_neural_method_what_they_say(shared, name, said):
    assert name in rules_of(shared)
    assert rules_for(Own)[name].said.endswith(said)


def test_all_of_settings_can_be_given_to_a_neural_method():
    assert rules_of(Settings).keys() - rules_for(NeuralMIL).keys() == {"class_weights", "stop_by"}


# ---- classes of a user's own ---------------------------------------------------------------------------------------


@dataclass(kw_only=True, eq=False, repr=False)
class Own(bw.AttentionMIL):
    """A neural method with a parameter more."""

    strength: Annotated[float, Gt(0)] = 1.0


class Plain(BagEstimator):
    """A method that is no dataclass."""

    def __init__(self, depth: Count = 1, note: "Nowhere" = None):  # noqa: F821
        self.depth = depth
        self.note = note

    def fit(self, X, y=None, sample_weight=None):  # noqa: ARG002
        self.learnt_ = True
        return self


class Readable(BagEstimator):
    """One all of whose annotations can be read."""

    def __init__(self, depth: Count = 1):
        self.depth = depth

    def fit(self, X, y=None, sample_weight=None):  # noqa: ARG002
        """Learn nothing."""
        self.learnt_ = True
        return self


class Heir(Readable):
    """Inherits all of it."""


def test_a_parameter_of_a_class_of_the_users_own_is_asked_too():
    with pytest.raises(BagwiseError, match="^strength is 0: it must be a number above 0$"):
        Own(strength=0, epochs=1).fit(BAGS)
    with pytest.raises(BagwiseError, match="^epochs is 0: it must be a whole number from 1 on, or None$"):
        bw.cross_validate(Own(epochs=0), BAGS, folds=2)
    assert Own(strength=2, epochs=1, random_state=0).fit(BAGS).predict(BAGS).shape == (4,)


@pytest.mark.parametrize("kind", [Readable, Heir])
def test_a_fit_of_the_users_own_begins_by_looking_at_parameters(kind):
    with pytest.raises(BagwiseError, match="^depth is 0: it must be a whole number from 1 on$"):
        kind(depth=0).fit(BAGS)
    assert kind(depth=2).fit(BAGS).learnt_
    assert kind.fit.__doc__ == "Learn nothing."


def test_annotations_that_only_a_type_checker_reads_refuse_nothing():
    assert get_args(annotations_of(Own)["strength"])[0] is float
    assert annotations_of(Plain) == {"depth": Any, "note": Any}
    assert Plain(depth="deep").fit(BAGS).learnt_


def test_a_search_over_parameters_meets_the_same_sentence():
    from sklearn.model_selection import GridSearchCV

    search = GridSearchCV(bw.make("MI-SVM"), {"C": [0]}, cv=2, error_score="raise")
    with pytest.raises(BagwiseError, match="^C is 0: it must be a number above 0, or None$"):
        search.fit([bag.instances for bag in BAGS], BAGS.labels)
