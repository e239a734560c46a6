"""Sets and calibration on resamplings: rows say what a slow count does, and nothing is learnt from bags for test."""

import json
from functools import partial

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from bagwise.bags import Bags
from bagwise.experiments import trust, trust_calibration, trust_resampled
from bagwise.experiments.cells import as_numbers
from bagwise.experiments.trust_calibration import RARE, calibrated
from bagwise.experiments.trust_coverage import ALL
from bagwise.experiments.trust_resampled import CV, GROUPED, IGNORED, SPLITS
from bagwise.methods.families import AttentionMIL


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(trust_resampled, "SETS", (GROUPED,))
    monkeypatch.setattr(trust_resampled, "_GROUPS", 24)
    monkeypatch.setattr(trust_resampled, "_FRESH_GROUPS", 15)
    monkeypatch.setattr(trust_resampled, "AttentionMIL", partial(AttentionMIL, epochs=5))
    monkeypatch.setattr(trust_calibration, "AttentionMIL", partial(AttentionMIL, epochs=1))
    monkeypatch.setattr(trust_calibration, "_LEARNT", 150)
    monkeypatch.setattr(trust_calibration, "_FRESH", 200)


def slow_sets(cell, way, *, nearest):
    """Count as the books say it, bag by bag: which classes are in the sets, for each bag for test."""
    told = cell["ways"][way]
    labels, held_out = as_numbers(cell["learnt"]), as_numbers(told["held_out"]).astype(int)
    groups = as_numbers(cell["groups"])
    fold, positive = as_numbers(told["fold"]).astype(int), 1 / (1 + np.exp(-as_numbers(told["answers"])))
    sets = []
    for bag in range(len(as_numbers(cell["tested"]))):
        asked = [1 / (1 + np.exp(-as_numbers(one)[bag])) for one in told["asked"]]
        inside = []
        for label in (0, 1):
            of = [place for place, bag_of in enumerate(held_out) if labels[bag_of] == label]
            own = [place if way == IGNORED else groups[held_out[place]] for place in of]
            fits = {place: positive[place] if label else 1 - positive[place] for place in of}
            worse = sum(
                1 / own.count(group)
                for place, group in zip(of, own, strict=True)
                if fits[place] <= (asked[fold[place]] if label else 1 - asked[fold[place]])
            )
            many = 0.1 * (1 + len(set(own)))
            left_out = (0 if many < 1 else np.floor(many + 0.5)) if nearest else many
            inside.append(1 + worse > left_out + 1e-6)
        sets.append(inside)
    return np.array(sets)


@pytest.mark.usefixtures("small")
def test_the_command_measures_sets_and_probabilities_of_the_same_resamplings(run, tmp_path):
    options = ["--out", tmp_path / "out", "--part", "coverage", "--part", "calibration", "--draws", "2", "--jobs", "1"]
    done = run("reproduce", "trust", *options)
    assert done.status == 0, done.told
    results = json.loads((tmp_path / "out" / "trust.json").read_text())
    assert results["cells"] == {
        "coverage": {"asked": 2, "finished": 2},
        "calibration": {"asked": 6, "finished": 6},
    }
    kept = [json.loads(path.read_text()) for path in (tmp_path / "out" / "cells").iterdir()]
    assert len(kept) == 6
    cells = [one["answer"] for one in kept if one["question"]["part"] == "coverage"]
    rows = {(row["setting"], row["way"]): row for row in results["rows"] if row["part"] == "coverage"}
    assert {way for _, way in rows} == {CV, IGNORED, *SPLITS, *(f"{way}, rounded as CV+" for way in SPLITS)}
    for way in (CV, IGNORED, *SPLITS):
        found = [(slow_sets(cell, way, nearest=way not in SPLITS), as_numbers(cell["tested"])) for cell in cells]
        held = [[inside[int(label)] for inside, label in zip(*one, strict=True)] for one in found]
        row = rows[GROUPED, way]
        assert row["coverage"] == pytest.approx(np.mean([np.mean(one) for one in held]))
        of_positive = [np.mean(np.array(one)[labels == 1]) for one, (_, labels) in zip(held, found, strict=True)]
        assert row["positive"] == pytest.approx(np.mean(of_positive))
        assert row["size"] == pytest.approx(np.mean([sets.sum(axis=1).mean() for sets, _ in found]))
        assert row["empty"] == pytest.approx(np.mean([np.mean(~sets.any(axis=1)) for sets, _ in found]))
        assert row["resamplings"] == 2
    smallest = min(rows[GROUPED, way]["size"] for way in SPLITS)
    assert rows[ALL, CV]["smaller"] == (rows[GROUPED, CV]["size"] < smallest)

    scores = {(row["setting"], row["metric"]): row for row in results["rows"] if row["part"] == "calibration"}
    by_hand = {"log_loss": log_loss, "brier": brier_score_loss, "auc": roc_auc_score}
    for metric, score in by_hand.items():
        row = scores[GROUPED, metric]
        told = [(as_numbers(cell["tested"]), *calibrated(cell)) for cell in cells]
        before = [score(labels, answers[:, 1]) for labels, _, answers in told]
        after = [score(labels, relied.answers(answers)[:, 1]) for labels, relied, answers in told]
        shares = [np.full(len(as_numbers(cell["tested"])), as_numbers(cell["learnt"]).mean()) for cell in cells]
        constant = [score(labels, share) for (labels, _, _), share in zip(told, shares, strict=True)]
        for name, values in (("before", before), ("after", after), ("constant", constant)):
            assert row[name] == pytest.approx(np.mean(values))
        assert row["more"] == pytest.approx(row["after"] - row["before"])
        rare = scores[RARE, metric]
        assert rare["more"] == pytest.approx(rare["balanced"] - rare["unweighted"])
        assert rare["draws"] == 2
    assert (tmp_path / "out" / "trust.md").read_text() == trust.tables(results)


@pytest.mark.usefixtures("small")
def test_nothing_of_the_bags_for_test_reaches_what_is_learnt(monkeypatch):
    monkeypatch.setattr(trust_resampled, "AttentionMIL", partial(AttentionMIL, epochs=25))
    monkeypatch.setattr(trust_resampled, "_DIGITS_THAT_COUNT", 17)
    question = next(trust_resampled.questions(3, 1, None))
    cell = trust_resampled.answer(question, None)
    learnt, tested = trust_resampled.drawn(question, None)
    others = Bags.from_arrays([2 * bag.instances - 5 for bag in tested], labels=1 - tested.labels)
    monkeypatch.setattr(trust_resampled, "drawn", lambda *_: (learnt, others))
    other = trust_resampled.answer(question, None)
    assert other["all"] != cell["all"]
    assert (other["learnt"], other["groups"]) == (cell["learnt"], cell["groups"])
    for way, told in cell["ways"].items():
        of_other = other["ways"][way]
        assert of_other["asked"] != told["asked"]
        assert {**of_other, "asked": None} == {**told, "asked": None}
    relied, of_others = calibrated(cell)[0], calibrated(other)[0]
    assert relied.calibration is not None
    for name, array in relied.calibration.arrays().items():
        np.testing.assert_array_equal(array, of_others.calibration.arrays()[name])


def test_five_resamplings_of_a_real_set_test_each_bag_once(data_directory, published):
    musk = published("musk1")
    asked = {"setting": "musk1", "seed": 0}
    tested = []
    for draw in range(5, 10):
        learnt, fresh = trust_resampled.drawn(asked | {"draw": draw}, data_directory)
        assert not set(learnt.names) & set(fresh.names)
        assert len(learnt) + len(fresh) == len(musk)
        tested += fresh.names.tolist()
    assert sorted(tested) == sorted(musk.names.tolist())


def test_bags_of_a_group_are_alike_and_those_of_two_are_not():
    bags = trust_resampled.made(4_000, np.random.default_rng(0))
    first = bags.labels.reshape(-1, 4)
    # Of two standard normal numbers with a correlation of .7 the signs are the same with 1/2 + arcsin(.7) / pi.
    assert np.mean(first[:, 0] == first[:, 1]) == pytest.approx(0.5 + np.arcsin(0.7) / np.pi, abs=0.02)
    assert np.mean(first[:-1, 0] == first[1:, 1]) == pytest.approx(0.5, abs=0.03)
    places = np.add.reduceat(bags.instances, bags.offsets[:-1]) / 5
    last = places[:, 9].reshape(-1, 4)
    assert np.mean(last[:, 0] * last[:, 1]) == pytest.approx(0.7, abs=0.05)


def test_accounts_are_left_out_until_three_in_a_hundred_are_positive():
    bags, _ = trust_calibration.drawn_accounts(2_000, {"rule": "stolen", "order": None}, 1)
    assert np.mean(bags.labels == "yes") > 0.04
    few = trust_calibration._thinned(bags, 0.03)
    assert np.mean(few.labels == "yes") == pytest.approx(0.03, abs=0.0005)
    assert np.sum(few.labels == "no") == np.sum(bags.labels == "no")
