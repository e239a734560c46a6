import numpy as np
import pytest

import bagwise as bw
from bagwise import METHODS, BagwiseError
from bagwise.methods.classical.base import ClassicalMIL
from bagwise.methods.neural import NeuralMIL

CLASSICAL = ["mi-SVM", "MI-SVM", "MI-Kernel", "EM-DD", "mi-Graph", "miVLAD", "miFV"]
CLASSICAL += ["mean-logistic", "summary-logistic", "summary-SVM", "summary-forest", "summary-boosting"]
NEURAL = ["mi-Net", "MI-Net", "MI-Net-DS", "MI-Net-RC", "attention", "gated-attention", "sum-attention"]
NEURAL += ["instance-max", "instance-mean", "embedding-max", "embedding-mean", "embedding-sum"]
NEURAL += ["class-attention", "additive", "conjunctive", "signed-attention"]
NEURAL += ["graph", "smooth-attention", "self-attention", "TransMIL"]
NEURAL += ["DSMIL", "CLAM-SB", "CLAM-MB", "DTFD-MIL", "ACMIL", "ILRA"]
DESIGNED = CLASSICAL + NEURAL


def test_every_method_of_the_design_is_there_in_its_order():
    assert list(METHODS) == DESIGNED


@pytest.mark.parametrize("name", METHODS)
def test_a_name_makes_its_class_with_what_the_name_stands_for(name):
    kind, fixed = METHODS[name]
    model = bw.make(name)
    assert type(model) is kind
    assert isinstance(model, NeuralMIL if name in NEURAL else ClassicalMIL)
    assert {key: getattr(model, key) for key in fixed} == fixed
    assert not [key for key in vars(model) if key.endswith("_")]


def test_parameters_override_what_the_name_stands_for():
    assert bw.make("gated-attention", gated=False, epochs=3).get_params()["gated"] is False
    assert bw.make("gated-attention").gated is True  # and the registry is as it was


@pytest.mark.parametrize("name", ["mi-net", "MI-NET", "Attention", "", "nonsense"])
def test_an_unknown_name_is_refused_and_case_is_never_folded(name):
    with pytest.raises(BagwiseError, match="the methods are .*mi-Net, MI-Net"):
        bw.make(name)


def test_an_unknown_parameter_is_refused_by_name():
    with pytest.raises(BagwiseError, match="'nonsense'.*learning_rate"):
        bw.make("attention", nonsense=1)


@pytest.mark.parametrize(("one", "other"), [("mi-Net", "instance-max"), ("MI-Net", "embedding-max")])
def test_two_names_of_one_method_give_the_same_bits_on_vectors(make_bags, one, other):
    bags = make_bags()
    given = [bw.make(name, epochs=2, random_state=3).fit(bags).predict_proba(bags) for name in (one, other)]
    np.testing.assert_array_equal(*given)


@pytest.mark.parametrize(
    ("name", "kind", "pooling"),
    [
        ("mi-Net", "InstanceLevel", "ProbabilityMax"),
        ("MI-Net", "EmbeddingLevel", "Max"),
        ("MI-Net-DS", "DeepSupervision", "Max"),
        ("MI-Net-RC", "ResidualConnections", "Max"),
        ("attention", "EmbeddingLevel", "Attention"),
        ("gated-attention", "EmbeddingLevel", "GatedAttention"),
        ("instance-mean", "InstanceLevel", "ProbabilityMean"),
        ("embedding-mean", "EmbeddingLevel", "Mean"),
    ],
)
def test_a_name_builds_the_model_it_says(fitted, name, kind, pooling):
    model = fitted(name).model_
    assert type(model).__name__ == kind
    poolings = [model.pooling] if hasattr(model, "pooling") else list(model.poolings)
    assert {type(part).__name__ for part in poolings} == {pooling.replace("ProbabilityMax", "Max")}


@pytest.mark.parametrize(
    ("name", "layers"), [("MI-Net", (256, 128, 64)), ("MI-Net-DS", (256, 128, 64)), ("MI-Net-RC", (128, 128, 128))]
)
def test_the_fully_connected_stacks_have_the_papers_widths(fitted, name, layers):
    widths = [value.shape[0] for key, value in fitted(name).model_.encoder.state_dict().items() if "weight" in key]
    assert tuple(widths) == layers


def test_deep_supervision_scores_each_layer(fitted):
    assert [head.in_features for head in fitted("MI-Net-DS").model_.heads] == [256, 128, 64]
