"""Thresholds and strangers on drawn bags: rows say what a slow count does, on few draws."""

import json
from functools import partial

import numpy as np
import pytest

import bagwise as bw
from bagwise.experiments import trust, trust_strangers, trust_thresholds
from bagwise.experiments.trust_strangers import SHIFTED, SUMMARIES, TOLD
from bagwise.experiments.trust_thresholds import SETTINGS
from bagwise.methods.families import AttentionMIL
from bagwise.trust.held_out import hold_out
from bagwise.trust.strangers import KnownBags


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(trust_thresholds, "_OF_A_CELL", 2)
    monkeypatch.setattr(trust_thresholds, "_FRESH", 400)
    monkeypatch.setattr(trust_strangers, "LEARNT", (30, 120))
    monkeypatch.setattr(trust_strangers, "_FRESH", 100)
    monkeypatch.setattr(trust_strangers, "_OTHERS", 20)
    monkeypatch.setattr(trust_strangers, "AttentionMIL", partial(AttentionMIL, epochs=1))


@pytest.mark.usefixtures("small")
def test_the_command_measures_thresholds_and_strangers(run, tmp_path):
    options = ["--out", tmp_path / "out", "--part", "thresholds", "--part", "strangers", "--draws", "3", "--jobs", "1"]
    done = run("reproduce", "trust", *options)
    assert done.status == 0, done.told
    results = json.loads((tmp_path / "out" / "trust.json").read_text())
    assert results["cells"]["thresholds"] == {"asked": 2 * len(SETTINGS), "finished": 2 * len(SETTINGS)}
    assert results["cells"]["strangers"] == {"asked": 6, "finished": 6}
    kept = [json.loads(path.read_text()) for path in (tmp_path / "out" / "cells").iterdir()]
    rows = {(row["setting"], row.get("way")): row for row in results["rows"]}
    for name, setting in SETTINGS.items():
        row = rows[name, None]
        assert (row["draws"], row["refused"]) == (3, 3 if setting.positive < 20 else 0)
        own = [one["answer"] for one in kept if one["question"]["setting"] == name]
        for measured in ("sensitivity", "specificity", "best"):
            values = [value for one in own for value in one[measured]]
            assert row[measured] == (pytest.approx(np.mean(values)) if values else None)
        if setting.positive >= 20:
            assert row["gap"] == pytest.approx(row["specificity"] - row["best"])
            assert row["off"] >= abs(row["gap"]) - 1e-12
    assert "there are 19 positive bags" in rows["19 of 120 bags positive", None]["why"]
    for bags in (30, 120):
        own = [one["answer"] for one in kept if one["question"]["setting"] == f"{bags} bags"]
        for way in (TOLD, SUMMARIES):
            row = rows[f"{bags} bags", way]
            assert row["draws"] == 3
            for name in ("like", *SHIFTED):
                assert row[name] == pytest.approx(np.mean([one[way][name] for one in own]))
        assert rows[f"{bags} bags", SUMMARIES]["all features"] > 0.9
        assert row["finest"] == pytest.approx(1 / (bags + 1))
    assert (tmp_path / "out" / "trust.md").read_text() == trust.tables(results)
    assert trust.tables(results).count("too few to tell the strangest 1 %") == 1


def test_a_threshold_is_that_of_the_positive_bags_held_out_and_the_best_one_is_found_by_trying_all():
    rng = np.random.default_rng(5)
    setting = SETTINGS["60 of 120 bags positive"]
    bags, fresh = (trust_thresholds.made(setting, count, rng) for count in (120, 300))
    model, relied = trust_thresholds.relied_upon(bags)
    held_out = hold_out(bw.make("mean-logistic", C=1.0, random_state=0), bags, n_jobs=1)
    positive = np.sort(relied.answers(held_out.answers)[bags.labels == 1, 1])
    assert relied.threshold == pytest.approx(positive[int(0.05 * 61) - 1])
    likely = relied.answers(model.answers(fresh))[:, 1]
    enough = [at for at in likely if np.mean(likely[fresh.labels == 1] >= at) >= 0.95]
    best = max(np.mean(likely[fresh.labels == 0] < at) for at in enough)
    assert trust_thresholds._best(fresh.labels == 1, likely) == pytest.approx(best)


def test_made_bags_lie_as_far_apart_as_is_said():
    bags = trust_thresholds.made(SETTINGS["200 of 400 bags positive"], 40_000, np.random.default_rng(0))
    scores = np.add.reduceat(bags.instances[:, :2].sum(axis=1), bags.offsets[:-1])
    of = [scores[bags.labels == label] for label in (0, 1)]
    assert (of[1].mean() - of[0].mean()) / of[0].std() == pytest.approx(1.5, abs=0.03)


def test_by_summaries_alone_is_what_known_bags_say_without_vectors(monkeypatch):
    monkeypatch.setattr(trust_strangers, "AttentionMIL", partial(AttentionMIL, epochs=1))
    question = {"bags": 40, "fresh": 200, "others": 10, "seed": 2, "draw": 0}
    said = trust_strangers.answer(question)
    rng = np.random.default_rng([2, 0, 40])
    learnt, like = trust_strangers.made(40, rng), trust_strangers.made(200, rng)
    held_out = hold_out(AttentionMIL(epochs=1, random_state=0), learnt, n_jobs=1)

    def summaries(bags):
        return np.array(
            [[*bag.instances.mean(axis=0), *bag.instances.std(axis=0), np.log(len(bag.instances))] for bag in bags]
        )

    p = KnownBags(summaries(learnt), held_out.fold).p_values(summaries(like))
    assert said[SUMMARIES]["like"] == pytest.approx(np.mean(p <= 1 / 41 + 1e-9))
