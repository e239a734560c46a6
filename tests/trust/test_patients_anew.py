"""Patients are calibrated by patients held out: what noisy-or counts too often is put right, and nothing is lost."""

import numpy as np
import pytest

from bagwise.evaluation.cohorts import Cohort
from bagwise.evaluation.metrics import measure
from bagwise.evaluation.patients import of_patients
from bagwise.targets.registry import TARGETS
from bagwise.trust.held_out import HeldOut
from bagwise.trust.patients import rely_on_patients
from bagwise.trust.reliance import Reliance

TWO = TARGETS["classes"].of(["ill", "well"], positive="ill")


def drawn(count, seed, bags=3):
    """Draw patients of several bags, of which all show that somebody is ill: noisy-or takes them for independent."""
    rng = np.random.default_rng(seed)
    ill = np.repeat(rng.random(count) < 0.3, bags)
    logit = np.repeat(rng.normal(size=count), bags) + rng.normal(size=count * bags) * 0.3 + np.where(ill, 1.0, -1.5)
    positive = 1 / (1 + np.exp(-logit))
    return np.where(ill, "ill", "well"), np.column_stack([positive, 1 - positive]), np.repeat(np.arange(count), bags)


def relied_on(count, seed=0):
    labels, answers, patients = drawn(count, seed)
    return Reliance.of(TWO, labels, held_out=HeldOut(TWO, labels, answers, patients % 5, [], groups=patients))


@pytest.mark.parametrize("count", [120, 400])  # of the rarer outcome too few for more than a temperature, and enough
@pytest.mark.parametrize("how", ["mean", "maximum", "noisy-or"])
def test_fresh_patients_are_told_as_well_as_can_be_learnt_of_those_held_out(how, count):
    of_bags = relied_on(count)
    relied = rely_on_patients(of_bags, how)
    labels, answers, patients = drawn(4000, 1)
    bags = Cohort(TWO, np.arange(len(labels)), labels, of_bags.answers(answers))
    people, _ = of_patients(bags, patients, how)
    before = measure(TWO, people.labels, people.answers, scoring=["log_loss", "brier", "auc"])
    after = measure(TWO, people.labels, relied.answers(people.answers), scoring=["log_loss", "brier", "auc"])
    assert after["log_loss"] < before["log_loss"] + (-0.05 if how == "noisy-or" else 0.01)
    assert after["brier"] < before["brier"] + (-0.01 if how == "noisy-or" else 0.005)
    assert after["auc"] == pytest.approx(before["auc"], abs=0.005)
    told = relied.answers(people.answers)[:, 0].mean()
    assert told == pytest.approx((people.labels == "ill").mean(), abs=0.06 if count == 120 else 0.03)


def test_of_few_patients_nothing_is_learnt_and_why_is_told():
    found = rely_on_patients(relied_on(30), "noisy-or")
    assert found.reliance is None
    assert "rarer" in found.why
