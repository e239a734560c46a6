"""Events in an order, and a table of bags beside them, through the commands."""

import json

import numpy as np
import pandas as pd
import pytest

EVENTS = ("--bag", "account", "--label", "tricked", "--labels", "accounts.csv", "--date", "day", "--order", "day")
ASKED = (*EVENTS, "--bag-feature", "age,branch")


def written(folder, accounts=40, seed=0):
    rng = np.random.default_rng(seed)
    name = [f"a{number:02}" for number in range(accounts)]
    bags = pd.DataFrame({"account": name, "age": rng.integers(18, 90, accounts), "note": "x"})
    bags["branch"], bags["tricked"] = rng.choice(["north", "south"], accounts), rng.choice(["no", "yes"], accounts)
    events = pd.DataFrame({"account": rng.permutation(name * 4), "amount": rng.lognormal(3, 1, 4 * accounts).round(2)})
    events["kind"] = rng.choice(["call", "card", "fee"], len(events))
    days = pd.Timestamp("2026-01-01") + pd.to_timedelta(rng.integers(0, 90, len(events)), unit="D")
    events["day"] = days.strftime("%d.%m.%Y")
    folder.mkdir(exist_ok=True)
    events.to_csv(folder / "events.csv", index=False)
    bags.to_csv(folder / "accounts.csv", index=False)
    return events, bags


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.filterwarnings("ignore")
def test_a_run_knows_order_and_features_of_bags(run, here):
    _, bags = written(here)
    told = run("check", "events.csv", *ASKED, "--json")
    assert told.status == 0, told.told
    columns = json.loads(told.out)["columns"]
    assert {name: column["kind"] for name, column in columns.items()} == {
        "amount": "number",
        "kind": "category",
        "day": "date",
        "age": "number",
        "branch": "category",
    }
    done = run("fit", "events.csv", *ASKED, "--epochs", 2, "--out", "run")
    assert done.status == 0, done.told
    new, _ = written(here / "new", seed=1)
    asked = ("run", "new/events.csv", "--labels", "new/accounts.csv")
    answers = [json.loads(run("predict", *asked, "--json").out)]
    new.sample(frac=1, random_state=0)[["day", "kind", "account", "amount"]].to_csv("new/events.csv", index=False)
    answers.append(json.loads(run("predict", *asked, "--json").out))
    one, other = (pd.DataFrame(rows).set_index("bag")["probability_yes"].sort_index() for rows in answers)
    np.testing.assert_allclose(one, other, atol=1e-6)
    done = run("explain", *asked, "--out", "found")
    assert done.status == 0, done.told
    features = pd.read_csv("found/features.csv")["feature"]
    assert features.str.contains("kind, of the one before").any()
    for missing, words in (
        (("run", "new/events.csv"), "new/events.csv lacks the features age, branch"),
        (("run", "new/accounts.csv", "--labels", "new/accounts.csv"), "lacks the features amount, kind, day"),
    ):
        done = run("predict", *missing)
        assert done.status == 1
        assert words in done.told
    bags.iloc[1:].to_csv("new/accounts.csv", index=False)
    done = run("predict", *asked)
    assert "new/accounts.csv: bag 'a00' has no row" in done.told


@pytest.mark.usefixtures("undrawn")
def test_evaluate_learns_of_both_in_every_fold(run, here):
    written(here)
    given = ("--method", "attention", "--method", "summary-logistic", "--folds", 2, "--epochs", 1, "--jobs", 1)
    done = run("evaluate", "events.csv", *ASKED, *given, "--no-baseline", "--out", "results")
    assert done.status == 0, done.told
    del here
