import numpy as np
import pandas as pd

import bagwise as bw
from bagwise.explain import contrast, explain


def test_features_that_differ_are_told_by_the_values_of_categories_and_with_gaps():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"bag": np.repeat([f"b{n:03}" for n in range(200)], 4), "shop": rng.choice(list("abcd"), 800)})
    frame["amount"] = np.where(rng.random(800) < 0.1, np.nan, rng.lognormal(size=800))
    frame["when"] = pd.Timestamp("2026-01-01") + pd.to_timedelta(rng.integers(0, 10**6, 800), unit="s")
    frame["label"] = (frame["shop"] == "c").groupby(frame["bag"]).transform("any").astype(int)
    bags = bw.Bags.from_table(frame, "bag", "label")
    model = bw.AttentionMIL(epochs=30, random_state=0).fit(bags)
    found = contrast(explain(model, bags), bags, top=0.25)
    assert found["feature"][0] == "shop = c"
    assert {"when: hour of the day", "amount", "amount is missing", "shop = a"} <= set(found["feature"])
    assert np.isfinite(found[["mean_high", "mean_low", "difference"]].to_numpy()).all()
