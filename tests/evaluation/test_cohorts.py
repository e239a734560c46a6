"""What is measured of a cohort and of its subgroups: the values are `measure`'s, of the right bags."""

import numpy as np
import pytest

from bagwise.evaluation.cohorts import Cohort, Measured, Subgroup, fitting_metrics, subgroups, worst_of
from bagwise.evaluation.metrics import METRICS, measure
from bagwise.targets.registry import TARGETS

RNG = np.random.default_rng(0)
CLASSES = RNG.choice(["a", "b", "c"], 60)
LABELS = {
    "classes": CLASSES,
    "multi-label": np.where(RNG.random((60, 2)) < 0.1, np.nan, (RNG.random((60, 2)) < 0.4).astype(float)),
    "ordinal": RNG.integers(1, 4, 60),
    "real": RNG.normal(size=60),
}


def cohort_of(kind, **given):
    labels = LABELS[kind]
    target = TARGETS[kind].of(labels)
    width = {"multi-label": 2, "real": 1}.get(kind, 3)
    answers = RNG.dirichlet(np.ones(3), 60) if width == 3 else RNG.random((60, width))
    return Cohort(target, np.arange(60).astype(str), labels, answers, **given)


@pytest.mark.parametrize("kind", LABELS)
def test_all_metrics_that_fit_are_measured_and_lie_in_their_intervals(kind):
    cohort = cohort_of(kind, weights=RNG.integers(1, 3, 60).astype(float))
    found = cohort.measured()
    assert set(found) == {name for name, metric in METRICS.items() if kind in metric.kinds}
    expected = measure(cohort.target, cohort.labels, cohort.answers, scoring=list(found), weights=cohort.weights)
    for name, one in found.items():
        assert one.value == expected[name]
        assert one.interval.low <= one.value <= one.interval.high


@pytest.mark.parametrize("kind", LABELS)
def test_subgroups_measure_their_own_bags(kind):
    cohort = cohort_of(kind)
    values = [("n", "s", None)[n % 3] for n in range(60)]
    found = subgroups(cohort, values)
    assert [(one.value, one.size) for one in found] == [("n", 20), ("s", 20)]
    for one in found:
        own = np.array([value == one.value for value in values])
        assert one.warning.startswith("there are only ")
        expected = measure(cohort.target, cohort.labels[own], cohort.answers[own], scoring=list(one.metrics))
        assert {name: metric.value for name, metric in one.metrics.items()} == expected


def test_what_one_class_leaves_undefined_has_no_value_and_the_rest_is_told():
    cohort = cohort_of("classes")
    one = cohort.take(np.flatnonzero(cohort.labels == "a"))
    told = {name: metric.told() for name, metric in one.measured().items()}
    assert 0 <= told["accuracy"]["value"] <= 1
    two = Cohort(TARGETS["classes"].of(["a", "b"]), one.names, one.labels, one.answers[:, :2])
    assert two.measured()["auc"].told() == {"value": None}
    assert two.measured()["brier"].interval is not None
    assert two.classes() == {"a": len(one), "b": 0}


@pytest.mark.parametrize(("kind", "events"), [("classes", "abc"), ("multi-label", "01"), ("ordinal", "123")])
def test_calibration_counts_every_known_bag_of_every_event(kind, events):
    cohort = cohort_of(kind)
    found = cohort.calibrations()
    assert [one.event for one in found] == list(events)
    for column, one in enumerate(found):
        known = ~np.isnan(cohort.labels[:, column]) if kind == "multi-label" else np.ones(60, bool)
        true = cohort.labels[known, column] == 1 if kind == "multi-label" else cohort.labels.astype(str) == one.event
        said = cohort.answers[known, column]
        assert one.bins.counts.sum() == known.sum()
        assert one.brier == pytest.approx(np.mean((true - said) ** 2))
        assert one.observed == pytest.approx(true.mean())
        assert one.log_loss == pytest.approx(-np.mean(np.log(np.where(true, said, 1 - said))))


def test_numbers_have_no_calibration():
    assert cohort_of("real").calibrations() == []


def test_the_worst_is_by_what_a_metric_means():
    def subgroup(name, auc, mae):
        return Subgroup(name, 9, {"auc": Measured(auc, None), "mae": Measured(mae, None)}, None)

    found = worst_of([subgroup("n", 0.9, 1.0), subgroup("s", 0.7, 1.0), subgroup("w", np.nan, 1.0)])
    assert [tuple(one) for one in found] == [("auc", "s", 0.7, pytest.approx(0.8))]  # all have the same mae


def test_leading_metrics_come_first_and_none_twice():
    names = fitting_metrics(TARGETS["classes"].of(["a", "b"]))
    assert names[:2] == ("auc", "accuracy")
    assert len(names) == len(set(names))
