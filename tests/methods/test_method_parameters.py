"""Parameters of a method: what their defaults become, and how they are read from NAME=VALUE."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bagwise as bw
from bagwise import METHODS, BagwiseError
from bagwise.methods.neural import NeuralMIL
from bagwise.methods.parameters import assigned, parameters_of
from bagwise.methods.recipes import RECIPES, Facts
from bagwise.targets.classes import ClassTarget

KINDS = {kind.__name__: kind for kind, _ in METHODS.values()}
SCALING = {"standardize": True, "log": "log"}
SHAPES = {"vectors": (3,), "vectors in large bags": (2,), "digits": (28, 28), "colour images": (27, 27, 3)}
SHAPES |= {"other images": (30, 30)}


@pytest.mark.parametrize("data", SHAPES)
@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if issubclass(kind, NeuralMIL)])
def test_what_is_told_of_a_default_is_what_a_model_is_trained_with(name, data):
    assert SHAPES.keys() == RECIPES.keys()
    size = 101 if "large" in data else 1
    bags = bw.Bags(np.zeros((40 * size, *SHAPES[data])), size * np.arange(41), labels=[0, 1] * 20)
    told = {one.name: one.values[data] for one in parameters_of(KINDS[name]).values() if data in one.values}
    model = KINDS[name](**({} if "encoder" in told else {"encoder": "identity"}))
    target = ClassTarget.of(bags.labels)
    recipe = model._recipe(Facts.of(bags, np.arange(len(bags)), target))
    plan = model._plan(bags, target, 0, recipe)
    chosen = recipe.values | {"encoder": plan.architecture.encoder, "standardize": SCALING.get(plan.scaling, False)}
    chosen |= plan.architecture.pooling_options
    assert {"epochs", "l2", "standardize"} <= told.keys()
    assert {key: chosen[key] for key in told} == told


def test_of_a_classical_method_the_values_are_told_that_it_chooses_from(make_bags):
    told = parameters_of(KINDS["FisherVectorSVM"])
    model = bw.make("miFV", random_state=0).fit(make_bags())
    for name, value in model.parameters_.items():
        assert value in told[name].values
    assert told["energy"].told == "0.8 or 0.9, chosen on the training bags"
    assert told["C"].told == "1.0"
    assert told["random_state"].told == "None"


def test_a_default_of_the_users_own_is_told_as_it_is():
    @dataclass(kw_only=True, eq=False, repr=False)
    class Quick(bw.AttentionMIL):
        epochs: int | None = 3

    found = parameters_of(Quick)
    assert found["epochs"].told == "3"
    assert found["hidden"].told == "64 (vectors), 128 (vectors in large bags, digits, colour images, other images)"


def test_of_a_model_of_the_users_own_nothing_is_dropped_unless_asked():
    assert parameters_of(NeuralMIL)["dropout"].told == "0.0"
    assert NeuralMIL()._recipe(Facts((3,))).settings.dropout == 0.0


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("epochs=20", 20),
        (" epochs = 20 ", 20),
        ("learning_rate=1e-3", 1e-3),
        ("learning_rate=.5", 0.5),
        ("l2=0", 0),
        ("gated=true", True),
        ("gated=False", False),
        ("patience=none", None),
        ("clip=None", None),
        ("optimizer=adam", "adam"),
        ("optimizer='adam'", "adam"),
        ("standardize=auto", "auto"),
        ("device=cuda:1", "cuda:1"),
        ("class_weight=balanced", "balanced"),
        ("class_weight={0: 1, 1: 2.5}", {0: 1, 1: 2.5}),
        ("class_weight={'a=b': 1}", {"a=b": 1}),
        ("positive=tumour", "tumour"),
        ("encoder=3", "3"),  # text, as it must be
    ],
)
def test_a_value_is_read_as_what_the_parameter_must_be(text, value):
    found = assigned(bw.AttentionMIL, [text])
    assert found == {text.partition("=")[0].strip(): value}
    assert type(next(iter(found.values()))) is type(value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("epochs", "a parameter is set by NAME=VALUE, and 'epochs' has no '='"),
        ("", "NAME=VALUE, and '' has no '='"),
        ("=3", "AttentionMIL has no parameter ''"),
        ("learning-rate=3", "no parameter 'learning-rate': did you mean 'learning_rate'?"),
        ("Epochs=3", "did you mean 'epochs'"),
        ("zzz=3", "no parameter 'zzz': its parameters are .*positive, .*gated, counting, hidden"),
        ("epochs=2.5", "epochs is 2.5: it must be a whole number from 1 on, or None"),
        ("epochs=", "epochs is '': it must be"),
        ("learning_rate=nan", "learning_rate is 'nan': it must be a number above 0"),
        ("learning_rate=inf", "learning_rate is 'inf'"),
        ("learning_rate=1e999", "learning_rate is inf: it must be a number above 0"),
        ("gated=1", "gated is 1: it must be True, False, or None"),
        ("optimizer=none of these", "optimizer is 'none of these': it must be 'sgd'"),
        ("class_weight=[1, 2]", r"class_weight is \[1, 2\]: it must be 'balanced', 'auto', a mapping"),
        ("hidden=" + "(" * 5000, "hidden is '\\(\\("),
    ],
)
def test_what_cannot_be_set_is_refused_in_a_sentence(text, told):
    with pytest.raises(BagwiseError, match=told) as caught:
        assigned(bw.AttentionMIL, [text])
    assert "\n" not in str(caught.value)


def test_a_name_given_twice_is_refused():
    with pytest.raises(BagwiseError, match="^the parameter 'l2' is set twice: set it once$"):
        assigned(bw.AttentionMIL, ["l2=1", "gated=true", "l2=1"])


def test_lists_are_read_as_lists_or_tuples_as_the_class_wants_them():
    @dataclass(kw_only=True, eq=False, repr=False)
    class Layered(bw.AttentionMIL):
        widths: tuple[int, ...] = (8,)
        rates: list[float] | None = None
        note: Any = None

    found = assigned(Layered, ["widths=[4, 2]", "rates=(0.1, 1)", "note=[1]"])
    assert found == {"widths": (4, 2), "rates": [0.1, 1], "note": [1]}
    with pytest.raises(BagwiseError, match=r"widths is \[0.5\]: it must be a tuple, each a whole number"):
        assigned(Layered, ["widths=[0.5]"])


@given(st.text(), st.sampled_from(sorted(KINDS)), st.data())
def test_any_text_gives_what_the_rule_takes_or_a_sentence(text, name, data):
    parameters = parameters_of(KINDS[name])
    parameter, refused, found = data.draw(st.sampled_from(sorted(parameters))), "", {}
    try:
        found = assigned(KINDS[name], [f"{parameter}={text}"])
    except BagwiseError as error:
        refused = str(error)
    assert refused.startswith(f"{parameter} is ") or parameters[parameter].rule.holds(found[parameter])
