import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from bagwise.evaluation.metrics import CLASS_METRICS, bag_metrics

BINARY = np.array(["no", "yes"])
THREE = np.array([0, 1, 2])


def told(labels, probabilities, classes):
    return bag_metrics(np.array(labels), np.array(probabilities, dtype=float), np.asarray(classes))


def for_positive(*values):
    return [[1 - value, value] for value in values]


def sure(*columns, classes=3):
    return np.eye(classes)[list(columns)]


def predictions(classes, seed, count):
    """Give labels that hold every class, and predictions that name every class."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), rng.integers(classes, size=count)])
    probabilities = rng.dirichlet(np.ones(classes), size=len(labels)).round(2) + 0.001
    probabilities[:classes] += 5 * np.roll(np.eye(classes), seed % classes, axis=1)
    return labels, probabilities / probabilities.sum(axis=1, keepdims=True)


# ---- bags -------------------------------------------------------------------------------------------------


def test_binary_metrics_by_hand():
    found = told(["yes", "yes", "yes", "no", "no"], for_positive(0.9, 0.8, 0.3, 0.6, 0.1), BINARY)
    # predicted: yes yes no yes no; of the six pairs (positive, negative) only (0.3, 0.6) is in the wrong order
    assert found == pytest.approx(
        {"accuracy": 3 / 5, "precision": 2 / 3, "recall": 2 / 3, "fscore": 2 / 3, "auc": 5 / 6}, rel=1e-15
    )


def test_precision_and_recall_are_of_the_second_class():
    found = told(["no", "no", "no", "yes"], for_positive(0.1, 0.6, 0.7, 0.8), BINARY)
    assert found["precision"] == pytest.approx(1 / 3)
    assert found["recall"] == 1


def test_multi_class_metrics_by_hand():
    # truth 0 0 1 1 2, predicted 0 1 1 1 2
    found = told([0, 0, 1, 1, 2], sure(0, 1, 1, 1, 2), THREE)
    assert found["accuracy"] == pytest.approx(4 / 5)
    assert found["precision"] == pytest.approx((1 + 2 / 3 + 1) / 3)
    assert found["recall"] == pytest.approx((1 / 2 + 1 + 1) / 3)
    assert found["fscore"] == pytest.approx((2 / 3 + 4 / 5 + 1) / 3)
    # against the rest: class 0 has 1 and 0 against 0 0 0 (3 wins, 3 draws of 6), class 1 misplaces one draw of six
    assert found["auc"] == pytest.approx((4.5 / 6 + 5 / 6 + 1) / 3)


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.integers(0, 30))
def test_binary_metrics_are_those_of_scikit_learn(seed, count):
    codes, probabilities = predictions(2, seed, count)
    labels, predicted = BINARY[codes], BINARY[probabilities.argmax(axis=1)]
    assert told(labels, probabilities, BINARY) == pytest.approx(
        {
            "accuracy": sk.accuracy_score(labels, predicted),
            "precision": sk.precision_score(labels, predicted, pos_label="yes"),
            "recall": sk.recall_score(labels, predicted, pos_label="yes"),
            "fscore": sk.f1_score(labels, predicted, pos_label="yes"),
            "auc": sk.roc_auc_score(codes, probabilities[:, 1]),
        },
        rel=1e-12,
    )


@settings(max_examples=25)
@given(st.integers(3, 6), st.integers(0, 10**6), st.integers(0, 30))
def test_multi_class_metrics_are_those_of_scikit_learn(classes, seed, count):
    labels, probabilities = predictions(classes, seed, count)
    predicted = probabilities.argmax(axis=1)
    assert told(labels, probabilities, np.arange(classes)) == pytest.approx(
        {
            "accuracy": sk.accuracy_score(labels, predicted),
            "precision": sk.precision_score(labels, predicted, average="macro"),
            "recall": sk.recall_score(labels, predicted, average="macro"),
            "fscore": sk.f1_score(labels, predicted, average="macro"),
            "auc": sk.roc_auc_score(labels, probabilities, multi_class="ovr", average="macro"),
        },
        rel=1e-12,
    )


@pytest.mark.parametrize(
    ("labels", "positive", "undefined"),
    [
        (["no", "no"], [0.1, 0.2], {"precision", "recall", "fscore", "auc"}),
        (["no", "no"], [0.1, 0.9], {"recall", "auc"}),
        (["yes", "yes"], [0.9, 0.9], {"auc"}),
        (["yes", "yes"], [0.1, 0.2], {"precision", "auc"}),
        (["no", "yes"], [0.1, 0.2], {"precision"}),
        (["yes"], [0.9], {"auc"}),
    ],
)
def test_a_metric_that_these_bags_leave_undefined_is_nan(labels, positive, undefined):
    found = told(labels, for_positive(*positive), BINARY)
    assert {name for name, value in found.items() if np.isnan(value)} == undefined


def test_a_class_without_bags_stays_out_of_recall_and_auc():
    found = told([0, 0, 1, 1], [[0.9, 0.1, 0], [0.4, 0.6, 0], [0.5, 0.3, 0.2], [0.1, 0.9, 0]], THREE)
    assert found["accuracy"] == found["recall"] == 0.5
    assert found["auc"] == pytest.approx((3 / 4 + 3 / 4) / 2)


def test_one_class_alone_among_three_has_no_auc():
    found = told([1, 1], sure(1, 0), THREE)
    assert np.isnan(found["auc"])
    assert found["accuracy"] == 0.5


def test_equal_probabilities_count_half_in_the_auc():
    assert told(["no", "yes"], for_positive(0.5, 0.5), BINARY)["auc"] == 0.5


@pytest.mark.parametrize("classes", [[False, True], [0, 1], [-1, 1], [3, 70], ["a", "b"], ["yes", "zero"]])
def test_labels_of_every_kind_will_do(classes):
    classes = np.array(classes)
    found = told(classes[[0, 1, 1, 0]], for_positive(0.2, 0.9, 0.4, 0.3), classes)
    assert found == pytest.approx({"accuracy": 3 / 4, "precision": 1, "recall": 1 / 2, "fscore": 2 / 3, "auc": 1})


def test_metrics_are_plain_floats_in_the_order_of_their_list():
    found = told(["no", "yes"], np.array(for_positive(0.1, 0.9), dtype=np.float32), BINARY)
    assert tuple(found) == CLASS_METRICS
    assert {type(value) for value in found.values()} == {float}


@settings(max_examples=25)
@given(st.integers(0, 10**6))
def test_the_order_of_bags_does_not_matter(seed):
    labels, probabilities = predictions(3, seed, 10)
    order = np.random.default_rng(seed).permutation(len(labels))
    assert told(labels, probabilities, THREE) == pytest.approx(told(labels[order], probabilities[order], THREE))


def test_many_classes_with_a_bag_each_are_measured_without_a_warning():
    classes = np.arange(25)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert told(classes, np.eye(25), classes)["accuracy"] == 1


# ---- instances --------------------------------------------------------------------------------------------


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), count=st.integers(0, 30))
def test_the_class_that_is_named_is_the_one_that_is_measured(seed, count):
    labels, probabilities = predictions(2, seed, count)
    plain = told(labels, probabilities, [0, 1])
    swapped = bag_metrics(1 - labels, probabilities[:, ::-1], np.array([0, 1]), positive=0)
    assert swapped == pytest.approx(plain, rel=1e-12, nan_ok=True)
    words = np.array(["cancer", "normal"])
    assert bag_metrics(words[1 - labels], probabilities[:, ::-1], words) == pytest.approx(plain, rel=1e-12, nan_ok=True)
