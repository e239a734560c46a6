import numpy as np
import pandas as pd
import pytest


@pytest.fixture(scope="module")
def payments(tmp_path_factory):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"account": np.repeat([f"A{n:02}" for n in range(40)], 5)})
    size = len(frame)
    frame["kind"] = rng.choice(["card", "<b>call</b>", "cash\x1b[31m", ""], size)
    frame["amount"] = np.where(rng.random(size) < 0.1, np.nan, rng.lognormal(3, 1, size).round(2))
    frame["day"] = (pd.Timestamp("2026-01-01") + pd.to_timedelta(rng.integers(0, 90, size), unit="D")).astype(str)
    frame["lost"] = (frame["kind"] == "card").groupby(frame["account"]).transform("any").map({True: "yes", False: "no"})
    path = tmp_path_factory.mktemp("payments") / "payments.csv"
    frame.to_csv(path, index=False)
    return path, frame


@pytest.mark.usefixtures("undrawn")
def test_a_raw_table_is_explained_in_its_own_columns(run, payments, tmp_path):
    path, frame = payments
    given = ["--bag", "account", "--label", "lost", "--epochs", 3, "--jobs", 1, "--seed", 0]
    assert run("fit", path, *given, "--out", tmp_path / "run").status == 0
    new = frame.drop(columns="lost").assign(kind=frame["kind"].where(frame.index > 4, "never seen"))
    new.sample(frac=1, random_state=0)[["day", "kind", "account", "amount"]].to_csv(tmp_path / "new.csv", index=False)
    done = run("explain", tmp_path / "run", tmp_path / "new.csv", "--out", tmp_path / "why", "--key", 2)
    assert done.status == 0
    keys = pd.read_csv(tmp_path / "why" / "key_instances.csv", keep_default_na=False)
    parts = pd.read_csv(tmp_path / "why" / "contributions.csv", keep_default_na=False)
    table = pd.read_csv(tmp_path / "new.csv", keep_default_na=False)
    for row in keys.itertuples():
        own = table[table["account"] == row.bag].iloc[row.instance]
        assert [row.kind, row.day] == [own["kind"], own["day"]]
        assert row.amount == own["amount"] or float(row.amount) == float(own["amount"])
        told = parts[(parts["bag"] == row.bag) & (parts["instance"] == row.instance)]
        assert sorted(told["column"]) == ["amount", "day", "kind"]
        assert told["contribution"].sum() == pytest.approx(row.score - told["baseline"].iloc[0], abs=2e-3)
        assert told["contribution"].abs().is_monotonic_decreasing
        assert own["kind"] in told["value"].tolist()
    assert "never seen" in set(keys["kind"])
    for page in (tmp_path / "why" / "report.html", tmp_path / "run" / "report.html"):
        text = page.read_text(encoding="utf-8")
        assert "<b>call" not in text
        assert "\x1b" not in text
        assert text.count('<td class="part') > 100
    assert "never seen" not in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


@pytest.mark.usefixtures("undrawn")
def test_values_stand_beside_weights_out_of_fold_and_of_methods_without_gradients(run, payments, tmp_path):
    path, _ = payments
    given = ["--bag", "account", "--label", "lost", "--jobs", 1, "--no-baseline", "--folds", 2, "--epochs", 1]
    assert run("evaluate", path, *given, "--out", tmp_path / "cv").status == 0
    page = (tmp_path / "cv" / "report.html").read_text(encoding="utf-8")
    assert '<div class="within">' in page
    assert 'class="part' not in page
