"""What a user's own function is told of each epoch."""

import joblib
import numpy as np
import pytest

import bagwise as bw
from bagwise.methods.joint import fit_members


@pytest.fixture
def bags():
    rng = np.random.default_rng(0)
    arrays = [rng.normal(bag % 2, 1.0, (1 + bag % 4, 3)) for bag in range(24)]
    return bw.Bags.from_arrays(arrays, labels=np.arange(24) % 2)


def model(**parameters):
    # Several bags a step, so that each model is a block of its own.
    return bw.AttentionMIL(epochs=3, random_state=0, instance_budget=8, **parameters)


def test_it_hears_what_the_history_keeps(bags):
    told = []
    fitted = model(patience=5).fit(bags, on_epoch=told.append)
    assert [{"member": 0, **entry} for entry in fitted.history_] == told
    assert set(told[0]) == {"member", "epoch", "loss", "validation_loss", "validation_error"}


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_tell_the_same_in_order(bags, workers):
    told = []
    estimators = [model(), model(gated=True), model(), model()]  # the second trains in other company
    subsets = [np.arange(number, 24) for number in range(4)]
    with joblib.parallel_config("threading"):  # processes take seconds to start
        fitted = fit_members(estimators, bags, subsets, n_jobs=workers, on_epoch=told.append)
    heard = {number: [entry for entry in told if entry["member"] == number] for number in range(4)}
    for number, estimator in enumerate(fitted):
        assert heard[number] == [{"member": number, **entry} for entry in estimator.history_]


def test_it_is_called_as_an_epoch_ends_and_what_it_raises_ends_the_training(bags, tmp_path):
    class EnoughError(Exception):
        pass

    def stop(entry):
        if entry["epoch"] == 2:
            raise EnoughError("seen enough")

    told = []
    with pytest.raises(EnoughError, match="seen enough"):
        model().fit(bags, checkpoints=tmp_path, on_epoch=stop)
    resumed = model().fit(bags, checkpoints=tmp_path, on_epoch=told.append)
    assert [entry["epoch"] for entry in told] == [3]
    assert resumed.history_ == model().fit(bags).history_
    with pytest.raises(EnoughError, match="seen enough"), joblib.parallel_config("threading", n_jobs=2):
        fit_members([model(), model()], bags, [np.arange(24)] * 2, n_jobs=None, on_epoch=stop)


def test_a_cross_validation_says_of_which_fold(bags):
    told = []
    bw.cross_validate(model(), bags, folds=3, repeats=2, n_jobs=1, on_epoch=told.append)
    assert {(entry["repeat"], entry["fold"], entry["member"], entry["epoch"]) for entry in told} == {
        (repeat, fold, 3 * repeat + fold, epoch) for repeat in range(2) for fold in range(3) for epoch in (1, 2, 3)
    }
    with pytest.raises(bw.BagwiseError, match="VLADSVM learns in no epochs of which to tell on_epoch: leave it out"):
        bw.cross_validate(bw.make("miVLAD"), bags, folds=3, on_epoch=told.append)


def test_an_ensemble_tells_of_each_member(bags):
    told = []
    bw.fit_ensemble(model(), bags, 2, on_epoch=told.append)
    assert sorted((entry["member"], entry["epoch"]) for entry in told) == [(m, e) for m in range(2) for e in (1, 2, 3)]
