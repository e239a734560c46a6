"""`bagwise drift`: two tables of predictions side by side, and other files refused."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ks_2samp


@pytest.fixture
def tables(tmp_path):
    """Two tables as `bagwise predict` writes them, the second with more of class NA, and one bag not decided."""
    for name, likely, kept in (("then", 0.3, None), ("now", 0.7, 4)):
        rng = np.random.default_rng(kept)
        p = rng.beta(10 * likely, 10 * (1 - likely), 80)
        frame = pd.DataFrame({"bag": [f"{name[0]}{bag}" for bag in range(80)]})
        frame["predicted"] = np.where(p > 0.5, "NA", "no")
        frame.loc[0, "predicted"] = None
        frame = frame.assign(probability_NA=p, probability_no=1 - p, stranger=rng.random(80))
        frame.loc[:3, "stranger"] = 0.004
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
        frame.to_parquet(tmp_path / f"{name}.parquet")
    return tmp_path


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_what_has_moved_is_told_with_shares(run, tables, kind):
    done = run("drift", tables / f"then.{kind}", tables / f"now.{kind}", "--json")
    found = json.loads(done.out)
    then, now = (pd.read_parquet(tables / f"{name}.parquet") for name in ("then", "now"))
    assert [one["column"] for one in found["columns"]] == ["probability_no", "stranger"]
    expected = ks_2samp(then["probability_no"], now["probability_no"])
    assert (found["columns"][0]["distance"], found["columns"][0]["p"]) == pytest.approx(expected, rel=1e-6)
    assert [one["decision"] for one in found["decisions"]] == ["NA", "no"]
    assert found["decisions"][0]["second"]["value"] == pytest.approx((now["predicted"] == "NA").mean())
    assert found["strangers"]["first"]["value"] == pytest.approx((then["stranger"] <= 0.01).mean())
    assert found["in_both"] == 0
    assert "probability_no (p " in found["told"][0]
    assert "stranger (p" not in found["told"][0]
    again = json.loads(run("drift", tables / f"then.{kind}", tables / "then.csv", "--json").out)
    assert again["in_both"] == 80
    assert again["told"][0].startswith("Nothing has moved")
    assert "These have moved" in run("drift", tables / f"then.{kind}", tables / f"now.{kind}").out


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("bag,label\nb,yes\n", "holds no predictions: give a table that bagwise predict --out wrote"),
        ("bag,value\nb,1.5\n", "have other columns of answers: give predictions of one run"),
        ("bag,predicted,probability_NA,probability_no,stranger\n", "says nothing of any bag"),
        (
            "bag,predicted,probability_NA,probability_no,stranger\nb,no,0.4,0.6,0.5\nb,no,0.4,0.6,0.5\n",
            "tells of the bag 'b' twice",
        ),
        ("bag,predicted,probability_NA,probability_no,stranger\nb,no,much,0.5,0.5\n", "is damaged ("),
        ("bag,predicted,probability_NA,probability_no,stranger\nb,no,inf,0.5,0.5\n", "holds what is no number"),
    ],
)
def test_what_is_no_table_of_the_same_run_is_refused(run, tables, content, told):
    (tables / "other.csv").write_text(content)
    for pair in (("then.csv", "other.csv"), ("other.csv", "then.csv")):
        done = run("drift", *(tables / name for name in pair))
        assert (done.status, done.out) == (1, "")
        assert told in done.told
        assert done.told.count("\n") == 1
