"""Bags become patients: against a loop over patients that says what each aggregate means."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bagwise.errors import BagwiseError
from bagwise.evaluation.cohorts import Cohort
from bagwise.evaluation.patients import AGGREGATES, check_aggregate, of_patients
from bagwise.labels import EVENT_AND_TIME
from bagwise.targets.registry import TARGETS

GRADES = [1, 2, 3, 4]
TWO = TARGETS["classes"].of(["ill", "well"], positive="ill")
ORDINAL = TARGETS["ordinal"].of(GRADES)


def cohort_of(target, labels, answers, **given):
    return Cohort(target, np.array([f"b{n}" for n in range(len(labels))], object), labels, answers, **given)


@st.composite
def drawn(draw):
    """Draw bags of patients in any order, with probabilities of grades."""
    size = draw(st.integers(1, 12))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    patients = rng.integers(0, 4, size).astype(str).astype(object)
    answers = rng.dirichlet(np.full(len(GRADES), draw(st.sampled_from([0.1, 1.0]))), size)
    return patients, rng.choice(GRADES, size), answers


@given(drawn(), st.sampled_from(list(AGGREGATES)))
def test_grades_and_classes_of_patients_are_those_of_a_plain_loop(bags, how):
    patients, grades, answers = bags
    two = np.column_stack([1 - answers[:, 0], answers[:, 0]])  # ill, well
    labels = np.where(grades == 1, "well", "ill")
    found, mixed = of_patients(cohort_of(ORDINAL, grades, answers), patients, how)
    classed, _ = of_patients(cohort_of(TWO, labels, two), patients, how)
    combine = {
        "mean": lambda p: p.mean(),
        "maximum": lambda p: p.max(),
        "noisy-or": lambda p: 1 - np.prod([1 - one for one in p]),
    }[how]
    assert found.names.tolist() == classed.names.tolist() == list(dict.fromkeys(patients))
    for place, patient in enumerate(found.names):
        own = patients == patient
        above = [1.0] + [combine(answers[own, grade:].sum(axis=1)) for grade in range(1, len(GRADES))] + [0.0]
        np.testing.assert_allclose(found.answers[place], -np.diff(above), atol=1e-12)
        np.testing.assert_allclose(classed.answers[place], [above[1], 1 - above[1]], atol=1e-12)
        assert found.labels[place] == max(grades[own])
        assert classed.labels[place] == ("ill" if "ill" in labels[own] else "well")
    assert (found.answers >= -1e-12).all()
    assert mixed == sum(len(set(grades[patients == patient])) > 1 for patient in set(patients))


def test_labels_of_patients_are_known_where_one_bag_says_so():
    labels = np.array([[1.0, np.nan, 0.0], [0.0, np.nan, np.nan], [0.0, 1.0, 0.0]])
    answers = np.array([[0.5, 0.2, 0.1], [0.5, 0.4, 0.3], [0.1, 0.1, 0.1]])
    target = TARGETS["multi-label"].of(labels)
    found, mixed = of_patients(cohort_of(target, labels, answers), np.array(["p", "p", "q"]), "noisy-or")
    np.testing.assert_array_equal(found.labels, [[1, np.nan, 0], [0, 1, 0]])
    np.testing.assert_allclose(found.answers[0], [0.75, 0.52, 0.37])
    assert mixed == 1
    assert found.metrics == ("auc", "average_precision", "brier", "log_loss")


def test_survival_is_averaged_and_its_risk_follows():
    labels = np.array([(True, 2.0), (True, 2.0), (False, 3.0), (True, 4.0)], EVENT_AND_TIME)
    target = TARGETS["survival"].of(labels)
    curves = np.sort(np.random.default_rng(0).random((4, len(target.times))))[:, ::-1]
    answers = np.column_stack([-np.log(curves).sum(axis=1), curves])
    found, _ = of_patients(cohort_of(target, labels, answers), np.array(["p", "p", "q", "r"]))
    np.testing.assert_allclose(found.answers[0, 1:], curves[:2].mean(axis=0))
    np.testing.assert_allclose(found.answers[0, 0], -np.log(curves[:2].mean(axis=0)).sum())
    assert found.labels.tolist() == labels[1:].tolist()
    assert found.measured(["c_index"])["c_index"].value >= 0


def test_labels_that_must_agree_are_refused_where_they_differ():
    labels = np.array([1.5, 2.5, 3.0, 2.0])
    cohort = cohort_of(TARGETS["real"].of(labels), labels, labels[:, None])
    with pytest.raises(BagwiseError, match="patient 'q' has two labels, of the bags 'b1' and 'b3'"):
        of_patients(cohort, np.array(["p", "q", "r", "q"]))


def test_groups_of_patients_stay_where_they_join_several():
    labels, answers = np.array(["ill", "well", "ill"]), np.full((3, 2), 0.5)
    patients = np.array(["p", "q", "r"])
    apart, _ = of_patients(cohort_of(TWO, labels, answers, groups=patients), patients)
    joined, _ = of_patients(cohort_of(TWO, labels, answers, groups=np.array(["n", "n", "s"])), patients)
    assert apart.groups is None
    assert joined.groups.tolist() == ["n", "n", "s"]


@pytest.mark.parametrize(
    ("how", "target", "told"),
    [
        ("median", TWO, "must be one of mean, maximum, noisy-or"),
        ("noisy-or", TARGETS["real"].of([1.5, 2.0]), "is for probabilities, and the run learnt real: take the mean"),
        ("maximum", TARGETS["classes"].of(["a", "b", "c"]), "is for two classes, and the run knows 3"),
    ],
)
def test_what_cannot_be_aggregated_is_refused(how, target, told):
    with pytest.raises(BagwiseError, match=told):
        check_aggregate(how, target)
