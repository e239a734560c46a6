"""Make `contacts.csv` and `new_contacts.csv`: what customers asked the support of a shop, and which customers left.

A customer leaves when one contact went wrong: a long wait for an answer *and* a case that stayed open. Either alone
does no harm, so no single column tells who leaves. One customer in twenty-five leaves or stays for no reason at all.
Nobody is told which contacts those were: that is what the examples find out. `cases.csv` and `new_cases.csv` are of
other customers and have columns as people have them: dates, categories, truth values, gaps.

    python examples/make_contacts.py
"""

from pathlib import Path

import numpy as np
import pandas as pd

HERE = Path(__file__).parent
COLUMNS = ["customer", "left", "contact", "minutes_waited", "days_open", "messages", "hour", "refund"]


def contact(rng: np.random.Generator, bad: bool) -> tuple[float, float, int, int, float]:
    """Draw one contact: minutes waited, days the case was open, messages, hour of the day, euros paid back."""
    slow, stuck = (True, True) if bad else ((True, False), (False, True), (False, False))[rng.integers(3)]
    waited = rng.normal(45, 8) if slow else rng.normal(10, 5)
    open_for = rng.normal(9, 1.5) if stuck else rng.normal(2, 1)
    numbers = round(max(waited, 0.5), 1), round(max(open_for, 0.1), 1)
    return *numbers, 1 + rng.poisson(3), int(rng.integers(8, 20)), round(rng.exponential(8), 2)


def customers(rng: np.random.Generator, count: int, first: int) -> pd.DataFrame:
    """Draw customers, each with two to ten contacts, one row a contact."""
    rows = []
    for number in range(first, first + count):
        size = int(rng.integers(2, 11))
        bad = rng.permutation(size) < rng.integers(1, 3) * rng.integers(2)
        left = bad.any() != (rng.random() < 0.04)
        for place, one in enumerate(bad, start=1):
            rows.append((f"C{number:03}", "yes" if left else "no", f"C{number:03}-{place}", *contact(rng, bool(one))))
    return pd.DataFrame(rows, columns=COLUMNS)


def as_people_have_it(rng: np.random.Generator, contacts: pd.DataFrame) -> pd.DataFrame:
    """Give contacts a date, a channel and a topic, say who is a VIP, and lose some refunds."""
    size = len(contacts)
    rows = contacts.drop(columns="hour")
    day = pd.Timestamp("2026-01-05") + pd.to_timedelta(rng.integers(0, 170, size), unit="D")
    rows.insert(3, "opened", day + pd.to_timedelta(contacts["hour"] * 60 + rng.integers(0, 60, size), unit="min"))
    rows.insert(4, "channel", rng.choice(["chat", "mail", "phone"], size, p=[0.5, 0.3, 0.2]))
    rows.insert(5, "topic", rng.choice(["delivery", "invoice", "return", "account"], size))
    rows["vip"] = rng.random(size) < 0.2
    rows["refund"] = rows["refund"].where(rng.random(size) < 0.7)
    return rows


if __name__ == "__main__":
    rng = np.random.default_rng(7)
    customers(rng, 240, first=1).to_csv(HERE / "contacts.csv", index=False)
    customers(rng, 12, first=501).drop(columns="left").to_csv(HERE / "new_contacts.csv", index=False)
    rng = np.random.default_rng(8)
    as_people_have_it(rng, customers(rng, 240, first=1)).to_csv(HERE / "cases.csv", index=False)
    new = as_people_have_it(rng, customers(rng, 40, first=501))
    new.drop(columns="left").to_csv(HERE / "new_cases.csv", index=False)
