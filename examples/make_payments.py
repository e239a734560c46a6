"""Make `payments.csv` and `accounts.csv`: what happened on bank accounts, and three things that became of these.

An account is a bag, an event an instance. An account is mostly `stolen` after one payment that meets four conditions
(on the web, at night, above 400, to a new payee), mostly `moved` after four card payments abroad or more, and mostly
`tricked` after a withdrawal right after a call. Each becomes of one account in twenty, of some for no reason at all.
`truth.csv` has the events that the rules speak of, and `bayes.json` the AUC on these accounts of whoever knows the
rules; everything else in the table is there to be looked through.

    python examples/make_payments.py --accounts 3000 --seed 0 --out payments
"""

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

# How many events make a rule hold, and how likely a label is where it holds and where it does not.
RULES = {"stolen": (1, 0.9, 0.006), "moved": (4, 0.7, 0.019), "tricked": (1, 0.9, 0.01)}
KINDS = {"card": 0.6, "transfer": 0.19, "withdrawal": 0.07, "call": 0.05, "debit": 0.06, "fee": 0.03}
CHANNELS = {"app": 0.45, "web": 0.35, "branch": 0.15, "partner": 0.05}
ABROAD = ("FR", "IT", "ES", "PL", "US", "GB", "CH", "TR", "BR", "JP", "ZA", "NZ")
COUNTRIES = {"DE": 0.87} | {country: 0.04 / rank for rank, country in enumerate(ABROAD, 1)}


def drawn(rng: np.random.Generator, shares: dict[str, float], size: int) -> np.ndarray:
    """Draw categories by their shares."""
    weights = np.array(list(shares.values()))
    return rng.choice(list(shares), size, p=weights / weights.sum())


def events(rng: np.random.Generator, accounts: pd.DataFrame) -> pd.DataFrame:
    """Draw what happened on each account: 4 to about 50 events, a row each, ordered by account and time."""
    account = np.repeat(accounts.index, 4 + rng.poisson(rng.gamma(6, 2, len(accounts))))
    size = len(account)
    hour = np.where(rng.random(size) < 0.17, rng.uniform(0, 6, size), rng.uniform(6, 24, size))
    seconds = rng.integers(0, 90, size) * 86400 + (hour * 3600).astype(int)
    rows = pd.DataFrame({"account": accounts["account"].to_numpy()[account]})
    rows["time"] = pd.Timestamp("2026-01-01") + pd.to_timedelta(seconds, unit="s")
    rows["kind"], rows["channel"] = drawn(rng, KINDS, size), drawn(rng, CHANNELS, size)
    rows["country"] = drawn(rng, COUNTRIES, size)
    rows["amount"] = np.where(rows["kind"] == "call", np.nan, rng.lognormal(5, 1.2, size).round(2))
    rows["balance"] = np.where(rng.random(size) < 0.1, np.nan, rng.lognormal(7, 1.5, size).round(2))
    rows["new_payee"] = rng.random(size) < 0.25
    rows["device"] = np.where(rng.random(size) < 0.2, None, drawn(rng, {"phone": 5, "laptop": 3, "tablet": 1}, size))
    rows["merchant"] = [f"shop {number}" for number in rng.zipf(1.5, size) % 4000]
    rows["currency"] = "EUR"
    rows["age"] = accounts["age"].to_numpy()[account]
    return rows.sort_values(["account", "time"], kind="stable", ignore_index=True)


def matches(rows: pd.DataFrame) -> pd.DataFrame:
    """Say of each event, ordered by account and time, whether it is one that a rule speaks of."""
    night, before = rows["time"].dt.hour < 6, rows.groupby("account")["kind"].shift()
    web = rows["channel"] == "web"
    return pd.DataFrame(
        {
            "stolen": web & night & (rows["amount"] > 400) & rows["new_payee"],
            "moved": (rows["kind"] == "card") & (rows["country"] != "DE"),
            "tricked": (rows["kind"] == "withdrawal") & (before == "call"),
        }
    )


def make(count: int, seed: int, out: Path) -> dict[str, float]:
    """Write the files of `count` accounts to `out`, and give the AUC that each rule implies on them."""
    rng = np.random.default_rng(seed)
    accounts = pd.DataFrame({"account": [f"A{seed}-{number:05}" for number in range(count)]})
    accounts["age"], accounts["tenure"] = rng.integers(18, 90, count), rng.exponential(6, count).round(1)
    accounts["branch"] = drawn(rng, {f"branch {number}": 1 for number in range(40)}, count)
    rows = events(rng, accounts)
    truth, bayes = matches(rows), {}
    for label, (needed, likely, unlikely) in RULES.items():
        holds = truth[label].groupby(rows["account"]).sum().to_numpy() >= needed
        risk = np.where(holds, likely, unlikely)
        became = rng.random(count) < risk
        accounts[label] = np.where(became, "yes", "no")
        bayes[label] = round(float(roc_auc_score(became, risk)), 4)
    rows.insert(1, "payment", [f"P{seed}-{number:07}" for number in rng.permutation(len(rows))])
    truth.insert(0, "payment", rows["payment"])
    out.mkdir(parents=True, exist_ok=True)
    rows.sort_values(["time", "payment"]).to_csv(out / "payments.csv", index=False)
    accounts.drop(columns="age").to_csv(out / "accounts.csv", index=False)
    truth.to_csv(out / "truth.csv", index=False)
    (out / "bayes.json").write_text(json.dumps(bayes) + "\n")
    return bayes


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accounts", type=int, default=3000, help="how many accounts (default: 3000)")
    parser.add_argument("--seed", type=int, default=0, help="other accounts by the same rules (default: 0)")
    parser.add_argument("--out", type=Path, default=Path("payments"), help="a folder (default: payments)")
    asked = parser.parse_args()
    for label, auc in make(asked.accounts, asked.seed, asked.out).items():
        print(f"{label}: the rule itself has AUC {auc:.3f}")
