"""A model that predicts one class for all that it learnt from is never given back without a word."""

import warnings

import numpy as np
import pytest

import bagwise as bw
from bagwise import BagwiseWarning

QUICK = {"encoder": "identity", "hidden": 2, "random_state": 0}


@pytest.mark.parametrize("threshold", [1e-6, 1 - 1e-6])
def test_one_model_names_the_class(make_bags, threshold):
    said = "malignant" if threshold < 0.5 else "benign"
    with pytest.warns(BagwiseWarning, match=f"AttentionMIL predicts {said} for all 24 bags that it learnt from: train"):
        bw.AttentionMIL(**QUICK, epochs=1, threshold=threshold).fit(make_bags(kind="string"))


def test_of_many_models_one_sentence_counts(make_bags):
    model = bw.AttentionMIL(**QUICK, epochs=1, threshold=1e-6)
    with pytest.warns(BagwiseWarning, match="3 of 3 models predict one class") as told:
        bw.cross_validate(model, make_bags(), folds=3, n_jobs=1)
    assert len(told) == 1


def test_all_bags_are_asked_where_a_few_are_of_one_class(make_bags):
    bags = make_bags(60)
    model = bw.AttentionMIL(**QUICK, epochs=2).fit(bags)
    highest = np.sort(model.predict_proba(bags)[:, 1])[-2]
    last = np.argsort(model.predict_proba(bags)[:, 1])[-1]
    apart = bags[np.r_[np.delete(np.arange(60), last), last]]  # the only one above the threshold comes last
    again = bw.AttentionMIL(**QUICK, epochs=2).fit(apart)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again.set_params(threshold=float(highest)).fit(apart)


def test_what_tells_classes_apart_says_nothing(make_bags):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bw.AttentionMIL(**QUICK, epochs=60, learning_rate=0.05).fit(make_bags())
        bw.AttentionMIL(**QUICK, epochs=1, target="real").fit(make_bags())
