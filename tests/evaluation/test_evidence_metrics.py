import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from bagwise import Bags, BagwiseError
from bagwise.evaluation.evidence import evidence_metrics


def bags_of(sizes):
    return Bags(np.zeros((sum(sizes), 1)), np.cumsum([0, *sizes]))


def plain(bags, values, evidence):
    found = []
    for start, end in zip(bags.offsets[:-1], bags.offsets[1:], strict=True):
        for column in range(evidence.shape[1]):
            given_, speaks = values[start:end, column], evidence[start:end, column]
            own = [
                average_precision_score(truth, one)
                for truth, one in ((speaks == 1, given_), (speaks == -1, -given_))
                if 0 < truth.sum() < len(truth)
            ]
            if own:
                found.append(np.mean(own))
    return np.mean(found)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.booleans())
def test_it_is_the_mean_of_both_average_precisions(seed, classes, tied):
    rng = np.random.default_rng(seed)
    bags = bags_of([*rng.integers(1, 9, size=6).tolist(), 5])
    evidence = rng.integers(-1, 2, size=(len(bags.instances), classes))
    evidence[-5:, 0] = [1, 0, 0, -1, 0]
    values = rng.integers(-3, 3, size=evidence.shape) if tied else rng.normal(size=evidence.shape)
    assert evidence_metrics(bags, values, evidence)["auprc_2"] == pytest.approx(
        plain(bags, values, evidence), abs=1e-12
    )


def test_evidence_itself_is_perfect_and_its_opposite_worst():
    rng = np.random.default_rng(0)
    bags, evidence = bags_of([30] * 20), rng.integers(-1, 2, size=(600, 2))
    assert evidence_metrics(bags, evidence, evidence)["auprc_2"] == 1
    measured = evidence_metrics(bags, -evidence, evidence)
    assert measured["auprc_2"] < measured["auprc_2_chance"]


def test_values_without_classes_are_those_of_every_class():
    rng = np.random.default_rng(1)
    bags, evidence, weights = bags_of([4, 6]), rng.integers(-1, 2, size=(10, 3)), rng.random(10)
    told = np.repeat(weights[:, None], 3, axis=1)
    assert evidence_metrics(bags, weights, evidence) == evidence_metrics(bags, told, evidence)


def test_chance_is_what_random_values_get():
    rng = np.random.default_rng(2)
    bags, evidence = bags_of([7, 12, 30]), rng.integers(-1, 2, size=(49, 2))
    drawn = [evidence_metrics(bags, rng.random(evidence.shape), evidence) for _ in range(400)]
    found = np.array([one["auprc_2"] for one in drawn])
    assert drawn[0]["auprc_2_chance"] == pytest.approx(found.mean(), abs=4 * found.std() / 20)


@pytest.mark.parametrize(
    ("values", "evidence", "says"),
    [
        (np.zeros(3), np.zeros((3, 2)), "none of these bags"),
        (np.zeros((3, 1)), np.eye(3), "values have shape"),
        (np.zeros(2), np.eye(3)[:2], "evidence needs a row for each of the 3 instances"),
        (np.zeros(3), np.array([1, 0, 0]), "values have shape"),
    ],
)
def test_what_does_not_fit_is_refused(values, evidence, says):
    with pytest.raises(BagwiseError, match=says):
        evidence_metrics(bags_of([3]), values, evidence)
