"""Defaults on tables of payments, beside whoever knows the rules, and beside boosting."""

import json
from functools import partial

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from bagwise.datasets.payments import payments as drawn
from bagwise.encoding import Encoding
from bagwise.experiments import payments
from bagwise.methods.families import AttentionMIL

LEARNT, FRESH = 120, 100


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(payments, "_LEARNT", LEARNT)
    monkeypatch.setattr(payments, "_FRESH", FRESH)
    monkeypatch.setattr(payments, "HistGradientBoostingClassifier", partial(HistGradientBoostingClassifier, max_iter=2))
    fitted = []
    fit = AttentionMIL.fit

    def seen(model, bags, *arguments, **options):
        fitted.append((model.counting, "time: place in the bag" in {column.name for column in bags.columns}))
        assert len(bags) == LEARNT
        return fit(model.set_params(epochs=1), bags, *arguments, **options)

    monkeypatch.setattr(AttentionMIL, "fit", seen)
    return fitted


def test_the_command_measures_each_rule_on_fresh_accounts(run, tmp_path, small):
    options = ["--out", tmp_path / "out", "--draws", "2", "--jobs", "1"]
    done = run("reproduce", "payments", *options)
    assert done.status == 0, done.told
    assert small == [(False, False), (True, False), (False, True)] * 2
    results = json.loads((tmp_path / "out" / "payments.json").read_text())
    rows = {(row["rule"], row["metric"]): row for row in results["rows"]}
    assert set(rows) == {(rule, name) for rule in payments.ASKED for name in payments.MEASURED}
    for rule in payments.ASKED:
        fresh = [drawn(FRESH, seed).bayes[rule] for seed in (10_001, 10_003)]
        assert rows[rule, "bayes"]["values"] == fresh
        own = np.array(rows[rule, "auc"]["values"])
        np.testing.assert_allclose(rows[rule, "below"]["values"], own - fresh)
        assert rows[rule, "auc"]["mean"] == pytest.approx(own.mean())
        assert rows[rule, "auc"]["se_draws"] == pytest.approx(abs(own[0] - own[1]) / 2)
    assert (tmp_path / "out" / "payments.md").read_text() == payments.tables(results)
    assert run("reproduce", "payments", *options, "--resume").status == 0
    assert len(small) == 6


def test_boosting_learns_from_the_mean_the_maximum_and_the_sum_of_encoded_columns():
    question = {"rule": "tricked", "order": "time"}
    learnt, _ = payments.drawn_accounts(30, question, 1)
    fresh, _ = payments.drawn_accounts(20, question, 2, learnt.columns)
    encoding = Encoding.learn(learnt.columns, learnt.instances, learnt.offsets, np.arange(30))
    tables = [encoding.apply(bag.instances) for bag in fresh]
    expected = [[*table.mean(axis=0), *table.max(axis=0), *table.sum(axis=0)] for table in tables]
    np.testing.assert_allclose(payments._summary(fresh, encoding), expected, atol=1e-12)
