import numpy as np
import pytest

import bagwise as bw
from bagwise import BagwiseError
from bagwise.methods.ensemble import EnsemblePrediction


@pytest.fixture(scope="module", params=[None, 2])
def trained(request, make_bags):
    bags = make_bags(count=20)
    model = bw.AttentionMIL(epochs=3, patience=request.param, dropout=0.2, random_state=0)
    return model, bags, bw.fit_ensemble(model, bags, 11)


def test_the_first_member_is_the_single_fit_and_the_others_differ(trained):
    model, bags, members = trained
    said = bw.predict_ensemble(members, bags).members
    assert said.shape == (11, 20, 2)
    np.testing.assert_array_equal(said[0], model.fit(bags).predict_proba(bags))
    assert len({member.tobytes() for member in said}) == 11


def test_a_member_does_not_depend_on_the_size_of_the_ensemble(trained):
    model, bags, members = trained
    few = bw.fit_ensemble(model, bags, 3)
    said, of_few = bw.predict_ensemble(members, bags), bw.predict_ensemble(few, bags)
    np.testing.assert_array_equal(of_few.members, said.members[:3])


def test_mean_and_spread_are_over_the_members(trained):
    _, bags, members = trained
    said = bw.predict_ensemble(members, bags)
    each = np.stack([member.predict_proba(bags) for member in members])
    np.testing.assert_array_equal(said.members, each)
    np.testing.assert_allclose(said.probabilities, each.mean(0))
    np.testing.assert_allclose(said.spread, each.std(0, ddof=1))
    assert (said.spread > 0).all()


def test_one_member_has_no_spread():
    assert not EnsemblePrediction(np.full((1, 3, 2), 0.5)).spread.any()


@pytest.mark.parametrize("size", [0, -1, 1.5, "two", True, None])
def test_a_size_that_will_not_do(make_bags, size):
    with pytest.raises(BagwiseError, match="the size of the ensemble"):
        bw.fit_ensemble(bw.AttentionMIL(epochs=1), make_bags(), size)
