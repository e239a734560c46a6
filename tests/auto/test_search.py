from itertools import islice

import numpy as np
import pytest

from bagwise.auto import candidates as rooms
from bagwise.auto import trials as trying
from bagwise.auto.budget import Budget
from bagwise.auto.candidates import Candidate, candidates
from bagwise.auto.search import search
from bagwise.bags import Bags
from bagwise.errors import BagwiseError
from bagwise.feature_columns import Column
from bagwise.targets.registry import target_of

QUICK = (
    Candidate("mean-logistic", {"C": 0.1}),
    Candidate("summary-SVM", {"gamma": 1.0}),
    Candidate("attention", {"epochs": 2}),
)


@pytest.fixture(autouse=True)
def quick_ones(monkeypatch):
    monkeypatch.setattr(rooms, "PORTFOLIO", QUICK)
    monkeypatch.setattr(rooms, "_SETTINGS", {"epochs": (1, 2, 3)})


def bags_of(count=30, groups=None, seed=0):
    rng = np.random.default_rng(seed)
    arrays = [rng.normal(size=(rng.integers(1, 5), 3)) + 1.5 * (bag % 2) for bag in range(count)]
    bags = Bags.from_arrays(arrays, labels=np.arange(count) % 2)
    return bags if groups is None else Bags(**{**vars(bags), "groups": groups})


def found_in(bags, trials=None, seconds=None, **given):
    return search(bags, target_of("classes", bags.labels), Budget(trials, seconds), **given)


def told(found):
    return [(trial.candidate.called, {n: a.tolist() for n, a in trial.answers.items()}) for trial in found.trials]


def test_a_number_of_trials_gives_the_same_every_time_whatever_the_workers(tmp_path):
    bags = bags_of()
    first = found_in(bags, trials=6)
    again = found_in(bags, trials=6, n_jobs=2, folder=tmp_path)
    assert len(first.trials) == 6
    assert told(first) == told(again)
    assert first.chosen == again.chosen
    assert sum(share for _, share in first.chosen) == pytest.approx(1)


def test_what_was_kept_is_not_asked_again(tmp_path, monkeypatch):
    bags = bags_of()
    whole = found_in(bags, trials=5, folder=tmp_path)
    kept = sorted(tmp_path.iterdir())
    for path in kept[::2]:
        path.unlink()
    asked = []
    ask = trying.out_of_fold
    monkeypatch.setattr(
        trying, "out_of_fold", lambda models, *rest, **more: asked.append(1) or ask(models, *rest, **more)
    )
    assert told(found_in(bags, trials=5, folder=tmp_path)) == told(whole)
    assert asked
    assert sorted(tmp_path.iterdir()) == kept
    asked.clear()
    assert told(found_in(bags, trials=5, folder=tmp_path)) == told(whole)
    assert not asked


def test_the_portfolio_goes_through_all_folds_and_of_what_is_drawn_the_worse_are_dropped():
    found = found_in(bags_of(), trials=11)
    folds = {trial.candidate.called: trial.folds for trial in found.trials}
    assert all(folds[candidate.called] == 5 for candidate in QUICK)
    assert {folds for name, folds in folds.items() if "C" not in name} >= {1, 5}
    chosen = {candidate.called for candidate, _ in found.chosen}
    assert all(folds[name] == 5 for name in chosen)


def test_without_time_the_first_is_chosen_untried_and_says_that_it_is_left_out():
    found = found_in(bags_of(), seconds=0.0)
    assert found.tried == found.whole == []
    assert [trial.candidate for trial in found.trials] == [QUICK[0]]
    assert "0 s are left" in found.trials[0].left_out
    assert found.chosen == [(QUICK[0], 1.0)]


def test_it_tells_what_begins_and_what_leads():
    said = []
    found_in(bags_of(), trials=2, tell=lambda *told: said.append(told))
    trials, begun, leader = said[-1]
    assert (trials, [one.method for one in begun], leader.metric) == (2, ["summary-SVM"], "auc")
    assert 0.5 < leader.value <= 1
    assert said[0] == (1, [QUICK[0]], None)


def test_what_takes_too_long_is_left_out_and_the_rest_is_tried(monkeypatch):
    monkeypatch.setattr(rooms, "PORTFOLIO", (QUICK[0], Candidate("attention", {"epochs": 10**7}), QUICK[1]))
    monkeypatch.setattr(rooms, "_DRAWN", ())
    found = found_in(bags_of(), seconds=20.0)
    assert {trial.candidate.method: trial.folds for trial in found.trials} == {
        "mean-logistic": 5,
        "summary-SVM": 5,
        "attention": 0,
    }
    assert "takes about" in found.trials[-1].left_out


def test_what_takes_too_long_to_fit_to_all_bags_is_not_chosen(monkeypatch):
    bags, slow = bags_of(), QUICK[1].method
    both = found_in(bags, trials=2)
    assert len(both.chosen) == 2
    monkeypatch.setattr(
        trying.Work,
        "seconds",
        lambda _, trial, folds, **__: 100.0 if trial.candidate.method == slow and not folds else 0.0,
    )
    found = search(bags, target_of("classes", bags.labels), Budget(2, 50.0))
    assert found.chosen == [(QUICK[0], 1.0)]


def test_time_that_ends_within_an_epoch_gives_up_what_is_under_way(monkeypatch):
    monkeypatch.setattr(rooms, "PORTFOLIO", (QUICK[0], Candidate("attention", {"epochs": 100_000})))
    monkeypatch.setattr(trying, "seconds_to_fit", lambda method, *_: 1e-6 if method == "attention" else 1.0)
    found = found_in(bags_of(), seconds=10.0)
    assert [trial.folds for trial in found.tried][:2] == [5, 0]
    assert found.chosen == [(QUICK[0], 1.0)]


def test_who_cannot_learn_is_told_of_and_does_not_end_the_search(monkeypatch):
    monkeypatch.setattr(
        rooms,
        "PORTFOLIO",
        (
            QUICK[0],
            Candidate("attention", {"epochs": 1, "augmentation": "tissue"}),
            Candidate("attention", {"epochs": 2}),
        ),
    )
    first, wrong, right = found_in(bags_of(), trials=3).trials
    assert (first.folds, wrong.folds, right.folds) == (5, 0, 5)
    assert "tissue" in wrong.failure
    assert right.failure is None
    monkeypatch.setattr(rooms, "PORTFOLIO", (Candidate("attention", {"augmentation": "tissue"}),))
    with pytest.raises(BagwiseError, match="no candidate could learn from these bags: .*tissue"):
        found_in(bags_of(), trials=1)


def test_bags_in_plenty_ask_for_more_than_few_do(monkeypatch):
    monkeypatch.undo()

    def after_the_simple(bags):
        return [one.called for one in islice(candidates(bags, target_of("classes", bags.labels), seed=0), 2, 5)]

    many = bags_of(300)
    columns = [Column(name, "number") for name in "abc"]
    assert after_the_simple(bags_of()) == ["attention", "MI-Net-DS", "mi-Graph"]
    assert after_the_simple(many) == ["attention", "attention (l2 0.0005)", "sum-attention (l2 0.0005)"]
    mixed = Bags(**{**vars(many), "columns": columns, "feature_names": list("abc")})  # whose recipe has that l2
    assert after_the_simple(mixed) == ["attention", "sum-attention", "attention (size True)"]


def test_groups_are_never_on_both_sides():
    bags = bags_of(groups=np.arange(30) // 2 % 7)
    for split in found_in(bags, trials=1).splits:
        assert not set(bags.groups[split.train]) & set(bags.groups[split.test])


def test_too_few_bags_are_refused():
    with pytest.raises(BagwiseError, match="too few bags of a class"):
        found_in(bags_of()[[0, 1, 2, 4]], trials=1)


def test_a_candidate_comes_once_and_only_where_it_can_learn(monkeypatch):
    monkeypatch.undo()
    bags = bags_of()
    many = [one.called for one in islice(candidates(bags, target_of("classes", bags.labels), seed=0), 300)]
    assert len(set(many)) == 300
    counts = target_of("count", np.arange(30))
    assert {one.method for one in islice(candidates(bags, counts, seed=0), 30)} <= {*rooms._DRAWN, "sum-attention"}
    pictures = Bags.from_arrays([np.zeros((2, 28, 28))] * 2, labels=[0, 1])
    of_pictures = {one.method for one in islice(candidates(pictures, target_of("classes", [0, 1]), seed=0), 30)}
    assert of_pictures == {"attention", "sum-attention", "gated-attention", "embedding-max", "embedding-mean"}
