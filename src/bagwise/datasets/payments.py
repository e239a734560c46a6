"""What happened on bank accounts, in columns of all kinds, and three things that became of these by known rules."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from bagwise.checks import check_count, check_seed

__all__ = ["RULES", "Payments", "payments"]

# How many events make a rule hold, and how likely a label is where it holds and where it does not.
RULES = {"stolen": (1, 0.9, 0.006), "moved": (4, 0.7, 0.019), "tricked": (1, 0.9, 0.01)}
_KINDS = {"card": 0.6, "transfer": 0.19, "withdrawal": 0.07, "call": 0.05, "debit": 0.06, "fee": 0.03}
_CHANNELS = {"app": 0.45, "web": 0.35, "branch": 0.15, "partner": 0.05}
_ABROAD = ("FR", "IT", "ES", "PL", "US", "GB", "CH", "TR", "BR", "JP", "ZA", "NZ")
_COUNTRIES = {"DE": 0.87} | {country: 0.04 / rank for rank, country in enumerate(_ABROAD, 1)}
_DEVICES = {"phone": 5.0, "laptop": 3.0, "tablet": 1.0}


class Payments(NamedTuple):
    """Accounts, what happened on them, and what is known of both.

    Attributes
    ----------
    events
        A row an event, ordered by time: the account, the name of the event, and columns of all kinds.
    accounts
        A row an account: what it is like, and ``"yes"`` or ``"no"`` for each of the `RULES`.
    truth
        A row an event, ordered by account and time: its name, and whether each of the rules speaks of it.
    bayes
        Of each rule the AUC on these accounts of whoever knows it; None where all accounts have the same label.
    """

    events: pd.DataFrame
    accounts: pd.DataFrame
    truth: pd.DataFrame
    bayes: dict[str, float | None]


def payments(count: int = 3000, seed: int = 0) -> Payments:
    """Draw accounts.

    An account is a bag, an event an instance. An account is mostly ``stolen`` after one payment that meets four
    conditions (on the web, at night, above 400, to a new payee), mostly ``moved`` after four card payments abroad or
    more, and mostly ``tricked`` after a withdrawal right after a call. Each becomes of one account in twenty, of some
    for no reason at all; everything else in the table is there to be looked through.

    Parameters
    ----------
    count
        How many accounts.
    seed
        Decides what is drawn.

    Returns
    -------
    Payments

    Raises
    ------
    BagwiseError
        If the number or the seed will not do.

    Examples
    --------
    >>> made = payments(200, seed=0)
    >>> made.bayes
    {'stolen': 1.0, 'moved': 0.6921, 'tricked': 0.8308}
    """
    check_count("count", count)
    check_seed(seed)
    rng = np.random.default_rng(seed)
    accounts = pd.DataFrame({"account": [f"A{seed}-{number:05}" for number in range(count)]})
    age = rng.integers(18, 90, count)
    accounts["tenure"] = rng.exponential(6, count).round(1)
    accounts["branch"] = _drawn(rng, {f"branch {number}": 1.0 for number in range(40)}, count)
    events = _events(rng, accounts["account"], age)
    truth = _truth(events)
    bayes: dict[str, float | None] = {}
    for rule, (needed, likely, unlikely) in RULES.items():
        holds = truth[rule].groupby(events["account"]).sum().to_numpy() >= needed
        risk = np.where(holds, likely, unlikely)
        became = rng.random(count) < risk
        accounts[rule] = np.where(became, "yes", "no")
        bayes[rule] = round(float(roc_auc_score(became, risk)), 4) if 0 < became.sum() < count else None
    events.insert(1, "payment", [f"P{seed}-{number:07}" for number in rng.permutation(len(events))])
    truth.insert(0, "payment", events["payment"])
    return Payments(events.sort_values(["time", "payment"], ignore_index=True), accounts, truth, bayes)


def _drawn(rng: np.random.Generator, shares: dict[str, float], size: int) -> NDArray[Any]:
    """Draw categories by their shares."""
    weights = np.array(list(shares.values()))
    return rng.choice(list(shares), size, p=weights / weights.sum())


def _events(rng: np.random.Generator, accounts: pd.Series, age: NDArray[np.int64]) -> pd.DataFrame:
    """Draw what happened on each account: 4 to about 50 events, a row each, ordered by account and time."""
    account = np.repeat(np.arange(len(accounts)), 4 + rng.poisson(rng.gamma(6, 2, len(accounts))))
    size = len(account)
    hour = np.where(rng.random(size) < 0.17, rng.uniform(0, 6, size), rng.uniform(6, 24, size))
    seconds = rng.integers(0, 90, size) * 86400 + (hour * 3600).astype(int)
    rows = pd.DataFrame({"account": accounts.to_numpy()[account]})
    rows["time"] = pd.Timestamp("2026-01-01") + pd.to_timedelta(seconds, unit="s")
    rows["kind"], rows["channel"] = _drawn(rng, _KINDS, size), _drawn(rng, _CHANNELS, size)
    rows["country"] = _drawn(rng, _COUNTRIES, size)
    rows["amount"] = np.where(rows["kind"] == "call", np.nan, rng.lognormal(5, 1.2, size).round(2))
    rows["balance"] = np.where(rng.random(size) < 0.1, np.nan, rng.lognormal(7, 1.5, size).round(2))
    rows["new_payee"] = rng.random(size) < 0.25
    unknown = rng.random(size) < 0.2
    rows["device"] = pd.Series(_drawn(rng, _DEVICES, size), dtype=object).mask(unknown)
    rows["merchant"] = [f"shop {number}" for number in rng.zipf(1.5, size) % 4000]
    rows["currency"] = "EUR"
    rows["age"] = age[account]
    return rows.sort_values(["account", "time"], kind="stable", ignore_index=True)


def _truth(rows: pd.DataFrame) -> pd.DataFrame:
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
