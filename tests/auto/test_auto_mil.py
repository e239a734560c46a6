import time

import numpy as np
import pytest
from sklearn.base import clone

import bagwise as bw
from bagwise.auto import candidates as rooms
from bagwise.auto import estimator
from bagwise.auto import trials as trying
from bagwise.auto.budget import Budget
from bagwise.auto.candidates import Candidate
from bagwise.auto.search import search
from bagwise.bags import Bags
from bagwise.errors import BagwiseError
from bagwise.evaluation.metrics import METRICS
from bagwise.evaluation.out_of_fold import out_of_fold
from bagwise.evaluation.protocol import Folds
from bagwise.targets.registry import target_of
from bagwise.training.workers import OutOfTime

SIGNAL = np.arange(40) % 4
LABELS = {
    "classes": np.array(["no", "yes"])[SIGNAL // 2],
    "three classes": np.array(["a", "b", "c", "c"])[SIGNAL],
    "multi-label": np.stack([SIGNAL // 2, SIGNAL % 2], axis=1),
    "real": SIGNAL + 0.5,
    "count": SIGNAL,
    "ordinal": SIGNAL,
    "ordinal: low < middle < high < top": np.array(["low", "middle", "high", "top"])[SIGNAL],
    "real: huber": SIGNAL + 0.25,
    "survival": np.array(
        [(one != 0, 5.0 - one + n / 100) for n, one in enumerate(SIGNAL)], [("event", "?"), ("time", "f8")]
    ),
}


@pytest.fixture(autouse=True)
def quick_ones(monkeypatch):
    quick = (Candidate("mean-logistic", {"C": 0.1}), Candidate("attention", {"epochs": 2}))
    monkeypatch.setattr(rooms, "PORTFOLIO", quick)
    monkeypatch.setattr(estimator, "OUTER_FOLDS", 2)
    monkeypatch.setattr(rooms, "_SETTINGS", {"epochs": (2, 3, 4)})


def bags_with(labels, seed=0):
    rng = np.random.default_rng(seed)
    return Bags.from_arrays([rng.normal(size=(rng.integers(1, 4), 3)) + one for one in SIGNAL], labels=labels)


@pytest.mark.parametrize("kind", LABELS)
def test_every_kind_of_target_is_searched_averaged_and_estimated(kind):
    bags = bags_with(LABELS[kind])
    target = "classes" if "classes" in kind else kind
    model = bw.AutoMIL(trials=2, target=target, random_state=0).fit(bags)
    answers = model.answers(bags)
    assert answers.shape[0] == len(bags)
    assert np.isfinite(answers).all()
    assert model.shares_.sum() == pytest.approx(1)
    assert model.tried_ == 6
    assert {row["candidate"] for row in model.leaderboard_} == {trial.candidate.called for trial in model.trials_}
    assert [one.metric for one in model.estimate_] == [*model.target_.metrics]
    assert np.isfinite(model.nested_.answers).all()
    for one in model.estimate_:
        least, most = METRICS[one.metric].bounds
        assert least <= one.low <= one.mean <= one.high <= most or np.isnan(one.low)
    assert "auto" in model.verdict_
    if model.target_.names is not None and target != "multi-label":
        np.testing.assert_allclose(model.predict_proba(bags).sum(axis=1), 1)
        assert set(model.predict(bags)) <= set(model.classes_)


def test_it_is_an_average_of_its_members_the_same_every_time_and_can_be_kept(tmp_path):
    bags = bags_with(LABELS["classes"])
    model = bw.AutoMIL(trials=2, estimate=False, random_state=3).fit(bags)
    expected = sum(share * one.predict_proba(bags) for share, one in zip(model.shares_, model.members_, strict=True))
    np.testing.assert_allclose(model.predict_proba(bags), expected, atol=1e-12)
    np.testing.assert_array_equal(clone(model).fit(bags).predict_proba(bags), model.predict_proba(bags))
    bw.save_model(model, tmp_path)
    np.testing.assert_array_equal(bw.load_model(tmp_path).predict_proba(bags), model.predict_proba(bags))
    assert (model.nested_, model.estimate_) == (None, [])


def test_a_bag_of_weight_0_might_as_well_not_be_there():
    bags = bags_with(LABELS["classes"])
    weights = np.ones(len(bags))
    weights[[3, 8]] = 0
    model = bw.AutoMIL(trials=2, estimate=False, random_state=0)
    without = clone(model).fit(bags[weights > 0], sample_weight=weights[weights > 0]).predict_proba(bags)
    np.testing.assert_array_equal(model.fit(bags, sample_weight=weights).predict_proba(bags), without)


def test_a_fit_that_was_stopped_goes_on(tmp_path):
    bags = bags_with(LABELS["classes"])
    model = bw.AutoMIL(trials=2, random_state=0)
    whole = model.fit(bags, checkpoints=tmp_path).nested_.answers
    kept = sorted(tmp_path.rglob("*.safetensors"))
    for path in kept[::3]:
        path.unlink()
    np.testing.assert_array_equal(clone(model).fit(bags, checkpoints=tmp_path).nested_.answers, whole)
    assert sorted(tmp_path.rglob("*.safetensors")) == kept


def test_too_few_bags_for_an_estimate_are_searched_without():
    bags = bags_with(LABELS["classes"])[:12]
    model = bw.AutoMIL(trials=1, random_state=0).fit(bags[[0, 2, 1, 3, 4, 6]])
    assert (model.estimate_, model.verdict_) == ([], "There are too few bags for an estimate.")


def test_without_time_the_simplest_stands_untried_and_says_so(monkeypatch):
    bags = bags_with(LABELS["classes"])
    model = bw.AutoMIL(minutes=1e-9, random_state=0).fit(bags)
    assert (model.tried_, len(model.members_), model.estimate_) == (0, 1, [])
    assert model.verdict_ == (
        "There was no time to try anything: this is mean-logistic (C 0.1), untried."
        " There was no time for an estimate: give more minutes."
    )
    np.testing.assert_array_equal(model.predict_proba(bags), model.members_[0].predict_proba(bags))
    monkeypatch.setattr(trying, "seconds_to_fit", lambda *_: 10.0**6)  # time for its estimate, and for nothing else
    model = bw.AutoMIL(minutes=1, random_state=0).fit(bags)
    assert model.tried_ == 0
    assert [one.mean for one in model.estimate_] == [model.simple_.mean(one.metric) for one in model.estimate_]
    assert "The numbers are its own, by cross-validation: give more minutes." in model.verdict_


def test_an_estimate_by_smaller_searches_says_so(monkeypatch):
    left = iter([3, 1, 2])
    monkeypatch.setattr(
        estimator, "search", lambda bags, target, _, **given: search(bags, target, Budget(next(left), None), **given)
    )
    model = bw.AutoMIL(trials=3, random_state=0).fit(bags_with(LABELS["classes"]))
    assert model.tried_ == 6
    assert "made the model tried 3 candidates and those of the estimate 1 to 2, so" in model.verdict_


@pytest.mark.parametrize("method", ["attention", "mean-logistic"])
def test_what_takes_longer_than_one_waits_is_given_up(method):
    bags = bags_with(LABELS["classes"])
    splits = Folds(bags, folds=2).splits
    with pytest.raises(OutOfTime):
        out_of_fold(
            [bw.make(method)] * 2, bags, splits, target_of("classes", bags.labels), n_jobs=1, until=time.time() - 1
        )


def test_what_will_not_do_is_refused():
    with pytest.raises(BagwiseError, match="minutes"):
        bw.AutoMIL(minutes=0).fit(bags_with(LABELS["classes"]))
    with pytest.raises(BagwiseError, match="no labels"):
        bw.AutoMIL(trials=1).fit(bags_with(None))


@pytest.mark.slow(seconds=60)
def test_on_coin_flips_the_estimate_is_one_half_where_the_best_candidate_claims_more():
    estimates, claims = [], []
    for seed in range(24):
        rng = np.random.default_rng(seed)
        arrays = [rng.normal(size=(rng.integers(1, 4), 3)) for _ in range(60)]
        bags = Bags.from_arrays(arrays, labels=rng.permutation(np.arange(60) % 2))
        auc = bw.AutoMIL(trials=4, random_state=seed).fit(bags).estimate_[-1]
        estimates.append(auc.mean)
        claims.append(auc.claimed)
    assert abs(np.mean(estimates) - 0.5) < 3 * np.std(estimates) / np.sqrt(len(estimates))
    assert np.mean(claims) > np.mean(estimates) + 0.02
