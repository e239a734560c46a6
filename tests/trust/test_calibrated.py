import numpy as np
import pytest
from sklearn.base import clone

import bagwise as bw
from bagwise.trust.calibrating import choose_calibration
from bagwise.trust.held_out import hold_out


@pytest.fixture(scope="module")
def bags(make_bags):
    return make_bags(80)


def test_it_says_what_its_parts_say(bags):
    method = bw.AttentionMIL(epochs=2, random_state=0)
    model = bw.Calibrated(method).fit(bags)
    raw = clone(method).fit(bags).predict_proba(bags)
    assert np.array_equal(model.method_.predict_proba(bags), raw)
    found = choose_calibration(hold_out(method, bags, n_jobs=1)).calibration
    told = raw if found is None else found.applied(model.target_, raw)
    assert np.array_equal(model.predict_proba(bags), told)
    assert np.array_equal(model.predict(bags), model.classes_[told.argmax(axis=1)])


def test_it_decides_as_is_wished_and_is_cross_validated_like_any_other(bags):
    model = bw.Calibrated(bw.make("mean-logistic", random_state=0), specificity=0.8)
    assert clone(model).get_params(deep=False)["specificity"] == 0.8
    result = bw.cross_validate(model, bags, folds=2, n_jobs=1)
    alone = clone(model).fit(bags[result.assignment[0] != 0])
    assert result.thresholds[0][0] == alone.threshold_
    assert np.array_equal(
        result.answers[0, result.assignment[0] == 0], alone.predict_proba(bags[result.assignment[0] == 0])
    )


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"sensitivity": 1.5}, "sensitivity is 1.5"),
        ({"folds": 1}, "folds is 1"),
        ({"sensitivity": 0.9, "cost": "missed=2"}, "both say how to decide"),
    ],
)
def test_parameters_that_will_not_do_are_refused(bags, given, sentence):
    with pytest.raises(bw.BagwiseError, match=sentence):
        bw.Calibrated(bw.make("mean-logistic"), **given).fit(bags)


def test_numbers_are_refused(bags):
    with pytest.raises(bw.BagwiseError, match="no probabilities of labels"):
        bw.Calibrated(bw.AttentionMIL(epochs=1)).fit(bags, np.random.default_rng(0).normal(size=80))
