"""The payments that ship follow the rules that their script names, by a plain reading of the files."""

import csv
import json
import runpy
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from sklearn.metrics import roc_auc_score

PATH = Path(__file__).resolve().parents[1] / "examples" / "make_payments.py"
SCRIPT = runpy.run_path(str(PATH))
ACCOUNTS = 600


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("payments")
    SCRIPT["make"](ACCOUNTS, 5, folder)
    return folder


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def accounts(made):
    """The events of each account, in time, as text."""
    found = {}
    for row in sorted(rows_of(made / "payments.csv"), key=lambda row: row["time"]):
        found.setdefault(row["account"], []).append(row)
    return found


def spoken_of(events):
    """Name the events that each rule speaks of."""
    stolen = [
        event["payment"]
        for event in events
        if event["channel"] == "web"
        and event["time"][11:13] < "06"
        and float(event["amount"] or 0) > 400
        and event["new_payee"] == "True"
    ]
    moved = [event["payment"] for event in events if event["kind"] == "card" and event["country"] != "DE"]
    tricked = [
        after["payment"]
        for before, after in pairwise(events)
        if (before["kind"], after["kind"]) == ("call", "withdrawal")
    ]
    return {"stolen": stolen, "moved": moved, "tricked": tricked}


def test_the_truth_names_the_events_that_the_rules_speak_of(made, accounts):
    told = rows_of(made / "truth.csv")
    for rule in ("stolen", "moved", "tricked"):
        expected = {name for events in accounts.values() for name in spoken_of(events)[rule]}
        assert {row["payment"] for row in told if row[rule] == "True"} == expected
        assert expected


def test_the_auc_is_that_of_whoever_knows_the_rules(made, accounts):
    told = json.loads((made / "bayes.json").read_text())
    labels = rows_of(made / "accounts.csv")
    for rule, needed in (("stolen", 1), ("moved", 4), ("tricked", 1)):
        holds = [len(spoken_of(accounts[row["account"]])[rule]) >= needed for row in labels]
        became = [row[rule] == "yes" for row in labels]
        assert told[rule] == round(roc_auc_score(became, holds), 4)
        assert 0.6 < told[rule] < 1
        assert 0.03 * ACCOUNTS < sum(became) < 0.08 * ACCOUNTS


def test_what_belongs_to_an_account_is_one_value(accounts):
    assert len(accounts) == ACCOUNTS
    assert all(len({event["age"] for event in events}) == 1 for events in accounts.values())
    events = [event for events in accounts.values() for event in events]
    assert len({event["payment"] for event in events}) == len(events)
    for column in ("amount", "balance", "device"):
        assert any(event[column] == "" for event in events), column


def test_the_seed_decides_all_of_it(made, tmp_path):
    SCRIPT["make"](ACCOUNTS, 5, tmp_path / "again")
    SCRIPT["make"](ACCOUNTS, 6, tmp_path / "other")
    for path in made.iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()
    assert (tmp_path / "other" / "accounts.csv").read_bytes() != (made / "accounts.csv").read_bytes()


@pytest.mark.parametrize(
    ("given", "told"), [("--accounts 0", "count is 0: it must be"), ("--seed -1", "the seed is -1: it must be")]
)
def test_what_cannot_be_made_is_said_in_a_sentence(tmp_path, monkeypatch, capsys, given, told):
    monkeypatch.setattr(sys, "argv", ["make_payments.py", *given.split(), "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit):
        runpy.run_path(str(PATH), run_name="__main__")
    assert told in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_so_few_accounts_that_all_are_alike_have_no_auc(tmp_path):
    assert set(SCRIPT["make"](1, 0, tmp_path).values()) == {None}
    assert json.loads((tmp_path / "bayes.json").read_text()) == dict.fromkeys(("stolen", "moved", "tricked"))
