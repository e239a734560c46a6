import numpy as np
import pandas as pd
import pytest

import bagwise as bw
from bagwise import Bags, BagwiseError
from bagwise.explain import Explanation, contrast, explain
from bagwise.explain.chance import adjusted, permuted
from bagwise.explain.compared import compared
from bagwise.feature_columns import Column
from bagwise.targets.classes import ClassTarget


def payments(bags=200, seed=0):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"bag": np.repeat([f"b{n:03}" for n in range(bags)], 4)})
    size = len(frame)
    frame["shop"] = rng.choice(list("abcd"), size)
    frame["amount"] = np.where(rng.random(size) < 0.1, np.nan, rng.lognormal(size=size))
    frame["when"] = pd.Timestamp("2026-01-01") + pd.to_timedelta(rng.integers(0, 10**7, size), unit="s")
    frame["new"] = rng.random(size) < 0.3
    return frame


def weighed(bags, weights):
    """Give an explanation in which these are the weights, and all bags positive."""
    answers = np.tile([0.1, 0.9], (len(bags), 1))
    return Explanation(ClassTarget.of([0, 1]), answers, weights, weights)


def test_what_a_model_looks_at_is_named_by_its_column_and_value():
    frame = payments()
    frame["label"] = (frame["shop"] == "c").groupby(frame["bag"]).transform("any").astype(int)
    bags = bw.Bags.from_table(frame, "bag", "label")
    model = bw.AttentionMIL(epochs=30, random_state=0).fit(bags)
    found = contrast(explain(model, bags), bags, top=0.25)
    assert found["feature"].tolist()[0] == "shop"
    assert found["stands_out"][0] == "shop = c"
    assert found["p_value"][0] == pytest.approx(1 / 5000)
    assert sorted(found["feature"]) == ["amount", "new", "shop", "when"]
    assert np.isfinite(found["difference"]).all()


@pytest.mark.parametrize(
    ("key", "stands_out"),
    [
        (lambda frame: frame["amount"] >= 2, "amount at least "),
        (lambda frame: frame["amount"].between(0.5, 1), "amount between 0.5"),
        (lambda frame: frame["amount"].isna(), "amount is missing"),
        (lambda frame: frame["when"].dt.hour.between(3, 5), "when: hour of the day between 3 and 6"),
        (lambda frame: frame["when"].dt.day_name() == "Sunday", "when = Sunday"),
        (lambda frame: frame["when"] < "2026-02-01", "when below 2026-0"),
        (lambda frame: frame["new"], "new at least 1"),
        (lambda frame: frame["shop"] != "c", "shop is not c"),
    ],
)
def test_ranges_hours_days_and_gaps_are_named(key, stands_out):
    frame = payments()
    bags = bw.Bags.from_table(frame, "bag")
    weights = key(frame) + 0.1 * np.random.default_rng(1).random(len(frame))
    found = contrast(weighed(bags, weights.to_numpy(float)), bags, top=0.25)
    assert found["stands_out"][0].startswith(stands_out)
    assert found["share_high"][0] > 1.5 * found["share_low"][0]


@pytest.mark.parametrize("gap", [False, True])
def test_columns_of_one_value_or_of_none_stand_out_nowhere(gap):
    """New bags may have what was known as dates, categories and steps of time, and is all alike in them."""
    columns = (
        *(Column("when", "date"), Column("shop", "category"), Column("amount", "number")),
        Column("when: seconds since the first of the bag", "number", of="when"),
    )
    instances = np.tile([60.0, np.nan, 2.0, 0.0], (6, 1))
    if gap:
        instances[::2, 2:] = np.nan
    bags = Bags(instances, [0, 3, 6], columns=columns)
    found = contrast(weighed(bags, np.array([0.6, 0.3, 0.1] * 2)), bags)
    assert sorted(found["feature"]) == ["amount", "shop", "when"]
    assert set(found["stands_out"]) == {""}


def test_weights_at_random_name_a_column_in_one_run_of_twenty():
    bags = bw.Bags.from_table(payments(20).drop(columns="when"), "bag")
    runs = 150
    rng = np.random.default_rng(0)
    named = 0
    for _ in range(runs):
        found = contrast(weighed(bags, rng.random(len(bags.instances))), bags, permutations=99)
        named += bool((found["stands_out"] != "").any())
    assert named <= 0.05 * runs + 2 * np.sqrt(runs * 0.05 * 0.95)
    assert named > 0


def test_equals_at_the_border_give_no_advantage_to_those_that_come_first():
    """Weights of 0 and 1, in bags whose instances are sorted by a number."""
    rng = np.random.default_rng(0)
    arrays = [np.sort(rng.normal(size=20))[:, None] for _ in range(100)]
    bags = Bags.from_arrays(arrays, feature_names=["time"])
    weights = np.zeros(2000)
    weights[rng.integers(0, 20, 100) + 20 * np.arange(100)] = 1
    assert (contrast(weighed(bags, weights), bags, top=0.3)["stands_out"] == "").all()


def test_p_values_are_what_a_plain_loop_gives():
    frame = payments(15, seed=2).drop(columns="when").iloc[:-1]
    bags = bw.Bags.from_table(frame, "bag")
    weights = np.random.default_rng(3).random(len(frame)) + 9 * (frame["shop"] == "a")
    found = contrast(weighed(bags, weights.to_numpy()), bags, top=0.5, permutations=300).set_index("feature")
    series = compared(bags)
    rng, ends = np.random.default_rng(0), list(zip(bags.offsets[:-1], bags.offsets[1:], strict=True))
    parts = []
    for begin, end in ends:
        count = round(0.5 * (end - begin))
        high = np.zeros(end - begin)
        high[np.argsort(-weights.to_numpy()[begin:end])[:count]] = 1
        parts.append((high / count - (1 - high) / (end - begin - count)) / len(ends))
    # Bag by bag all permutations, as they are drawn.
    drawn = [[rng.permuted(part) for _ in range(300)] for part in parts]
    runs = [np.concatenate(parts), *(np.concatenate([each[run] for each in drawn]) for run in range(300))]
    columns = list(dict.fromkeys(one.column for one in series))
    most = np.zeros((301, len(columns)))
    for one in series:
        numbers = one.made(bags.instances) @ one.sums
        for place, named in enumerate(one.named):
            values = numbers[:, place]
            variance = sum(
                (part**2).sum() * values[begin:end].var(ddof=1) for part, (begin, end) in zip(parts, ends, strict=True)
            )
            if named is None or variance < 1e-12:
                continue
            column = columns.index(one.column)
            for run, weighted in enumerate(runs):
                most[run, column] = max(most[run, column], abs(weighted @ values) / np.sqrt(variance))
    order = np.argsort(-most[0])
    expected, last = {}, 0.0
    for place, column in enumerate(order):
        reached = sum(max(most[run, order[place:]]) >= most[0, column] - 1e-9 for run in range(1, 301))
        last = max(last, (1 + reached) / 301)
        expected[columns[column]] = last
    assert found["p_value"].to_dict() == expected
    assert min(expected.values()) < 0.05


def test_more_permutations_at_once_are_the_same():
    weights, offsets = np.arange(6.0), np.array([0, 2, 6])
    (_, whole), *rest = permuted(weights, offsets, 50, np.random.default_rng(0))
    assert not rest
    assert all(sorted(run[2:]) == [2, 3, 4, 5] for run in whole)
    assert len({tuple(run) for run in whole}) > 20


def test_adjusted_values_are_those_of_one_hypothesis_alone_and_rise_with_more():
    rng = np.random.default_rng(0)
    chance = np.abs(rng.normal(size=(999, 5)))
    observed = np.array([4.0, 2.5, 2.2, 0.5, 0.1])
    alone = [adjusted(observed[[n]], chance[:, [n]])[0] for n in range(5)]
    together = adjusted(observed, chance)
    assert (together >= alone).all()
    assert (np.diff(together) >= 0).all()
    assert alone[0] == (1 + (chance[:, 0] >= 4).sum()) / 1000


@pytest.mark.parametrize("count", [0, 1.5, "many"])
def test_a_number_of_permutations_that_will_not_do(count):
    bags = Bags.from_arrays([[[0.0], [1.0]]])
    with pytest.raises(BagwiseError, match="permutations"):
        contrast(weighed(bags, np.array([0.1, 0.9])), bags, permutations=count)
