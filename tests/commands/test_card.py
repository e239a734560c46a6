"""Every run has a card, generated: what it learnt from, how good it is and on what, and what it is not for."""

import json

import pandas as pd
import pytest

from bagwise.auto import candidates
from bagwise.auto.candidates import Candidate

COLUMNS = ("--bag", "patient", "--label", "diagnosis", "--instance", "cell")
QUICK = ("--epochs", 2, "--jobs", 1)


def table(cells, path, change=lambda frame: frame):
    change(cells(24).drop(columns=["clinic", "x", "y"])).to_csv(path, index=False)
    return path


def facts(folder):
    """Read a card back: its facts by heading and term."""
    parts = (folder / "card.md").read_text(encoding="utf-8").split("\n\n## ")
    assert parts[0].startswith("# Model card: ")
    found = {}
    for part in parts[1:]:
        heading, _, body = part.partition("\n\n")
        lines = [line.removeprefix("- **").partition("**: ") for line in body.strip().splitlines()]
        found[heading] = {term: fact for term, _, fact in lines}
    return found


def test_a_run_has_a_card_that_says_what_its_files_say(run, cells, tmp_path):
    data, out = table(cells, tmp_path / "cells.csv"), tmp_path / "run"
    done = run("fit", data, *COLUMNS, *QUICK, "--note", "For *our* clinic.\n\nAsk Ann.", "--out", out)
    assert done.status == 0, done.told
    told, config, metrics = facts(out), *(json.loads((out / f"{n}.json").read_text()) for n in ("config", "metrics"))
    learnt = told["Data it learnt from"]
    assert learnt["Digest"] == config["asked"]["digest"]
    assert learnt["Classes"] == "healthy: 12 bags (50%), ill: 12 bags (50%)"
    assert learnt["Column of the label"] == "diagnosis"
    assert told["How it learnt"]["Learnt from"] == f"{metrics['bags']} bags"
    assert (
        f"AUC {metrics['training_auc']:.3f}; new bags will do worse"
        in told["How good it is"]["On the bags learnt from"]
    )
    sizes = cells(24).groupby("patient").size()
    limit = told["What it is not for"]["Other bags"]
    assert limit == f"None of fewer than {sizes.min()} or more than {sizes.max()} instances was learnt from."
    assert told["What it is not for"]["Rare labels"].endswith("of healthy (12), ill (12).")
    assert told["Versions"]["bagwise"] == config["bagwise"]
    assert (out / "card.md").read_text(encoding="utf-8").endswith("## Note\n\nFor *our* clinic.\n\nAsk Ann.\n")
    page = (out / "report.html").read_text(encoding="utf-8")
    card = page[page.index('<section id="card"') :]
    assert all(heading in card for heading in told)
    assert limit in card


def test_names_in_data_do_nothing_in_a_card(run, cells, tmp_path):
    name = "<script>alert(1)</script> [a](b) *c*\n# d"
    data = table(cells, tmp_path / "t.csv", lambda frame: frame.replace({"diagnosis": {"ill": name}}))
    assert run("fit", data, *COLUMNS, *QUICK, "--out", tmp_path / "run").status == 0
    text = (tmp_path / "run" / "card.md").read_text(encoding="utf-8")
    assert r"\<script\>alert(1)\</script\> \[a\](b) \*c\*\\n\# d" in text
    assert "\n# d" not in text


LIMITS = {
    "real": ("size", [], "Other numbers", "No label below"),
    "survival": (None, ["--event", "died", "--time", "days"], "Later times", "No event after 20 was learnt from."),
}


@pytest.mark.parametrize("kind", LIMITS)
def test_limits_follow_the_labels(run, cells, tmp_path, kind):
    label, options, term, told = LIMITS[kind]
    frame = cells(24).drop(columns=["clinic", "x", "y", "diagnosis"])
    number = frame["patient"].str[1:].astype(int)
    frame = frame.assign(size=number / 2) if label else frame.assign(died=(number < 21).astype(int), days=number)
    frame.to_csv(tmp_path / "t.csv", index=False)
    named = ["--bag", "patient", "--instance", "cell", *options, *(["--label", label] if label else [])]
    assert run("fit", tmp_path / "t.csv", *named, *QUICK, "--out", tmp_path / "run").status == 0
    assert facts(tmp_path / "run")["What it is not for"][term].startswith(told)


@pytest.mark.usefixtures("undrawn")
def test_a_search_has_a_card_with_its_estimate(run, cells, tmp_path, monkeypatch):
    monkeypatch.setattr(candidates, "PORTFOLIO", (Candidate("mean-logistic", {"C": 0.1}),))
    data, out = table(cells, tmp_path / "cells.csv"), tmp_path / "best"
    done = run("auto", data, *COLUMNS, "--trials", 1, "--jobs", 1, "--out", out)
    assert done.status == 0, done.told
    metrics = json.loads((out / "metrics.json").read_text())
    good = facts(out)["How good it is"]
    assert good["AUC"].startswith(f"{metrics['estimate']['auc']['mean']:.3f}")
    assert facts(out)["Data it learnt from"]["Bags"] == "24"
    assert pd.notna(metrics["estimate"]["auc"]["mean"])


def test_a_card_says_how_good_it_is_on_bags_held_out_and_how_it_decides(run, cells, tmp_path):
    table = cells(80).drop(columns=["clinic", "x", "y"])
    table.to_csv(tmp_path / "cells.csv", index=False)
    fit = ("fit", tmp_path / "cells.csv", *COLUMNS, "--method", "miVLAD", "--jobs", 1, "--sensitivity", 0.9)
    done = run(*fit, "--out", tmp_path / "run")
    assert done.status == 0, done.told
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    told = facts(tmp_path / "run")
    good = told["How good it is"]["On the same bags, held out of 5 further trainings"]
    assert f"AUC {metrics['held_out_auc']:.3f} (" in good
    assert "of bags that several models answered for" in good
    assert "(sensitivity 0.9)" in told["How it decides"]["Threshold"]
    assert metrics["calibrated_because"] in told["How it decides"]["Calibration"]
