"""Defaults beside a plain loop, on made slides."""

import json

import numpy as np
import pytest
import torch

from bagwise.experiments import slides
from bagwise.experiments.plain_loop import plain_loop
from bagwise.methods.families import AttentionMIL


def test_key_patches_and_sites_are_where_they_are_said_to_be():
    bags = slides.made(60, (100, 200), signal=6.0, seed=1, features=16)
    assert np.bincount(bags.labels).tolist() == [20, 20, 20]
    assert bags.instances.dtype == np.float32
    of = {label: [bag.instances for bag in bags if bag.label == label] for label in range(3)}
    offs = {label: np.mean([one[:5].mean(0) - one[10:].mean(0) for one in of[label]], axis=0) for label in of}
    assert np.linalg.norm(offs[0]) < 1
    for label in (1, 2):
        assert np.linalg.norm(offs[label]) == pytest.approx(6, abs=1)
        assert np.mean([np.linalg.norm(one[10:].mean(0) - one[:5].mean(0)) for one in of[label]]) > 5
    means = np.array([bag.instances[10:].mean(0) for bag in bags])
    apart = np.linalg.norm(means[:, None] - means[None], axis=2)
    assert 0.25 < np.mean(apart < 0.8) < 0.5  # a third are of one site, whichever the class
    assert (slides.made(3, (9, 9), 1.0, seed=1).labels == [0, 1, 2]).all()


def test_a_plain_loop_learns_and_leaves_the_generator_alone():
    bags = slides.made(60, (20, 30), signal=30.0, seed=0, features=8)
    before = torch.random.get_rng_state()
    predict, epochs = plain_loop(bags[:45], seed=0, rate=3e-3, patience=3, epochs=12)
    assert torch.equal(torch.random.get_rng_state(), before)
    said = predict(bags[45:])
    assert 4 <= epochs <= 12
    np.testing.assert_allclose(said.sum(axis=1), 1)
    assert np.mean(said.argmax(axis=1) == bags.labels[45:]) > 0.9


def test_a_plain_loop_stops_where_its_loss_no_longer_falls_and_goes_back():
    bags = slides.made(20, (5, 9), signal=30.0, seed=0, features=4)
    given = {"rate": 0.5, "patience": 2}
    _, epochs = plain_loop(bags, seed=0, epochs=30, **given)
    best, _ = plain_loop(bags, seed=0, epochs=30, **given)
    alone, _ = plain_loop(bags, seed=0, epochs=epochs - 2, **given)
    assert 2 < epochs < 30
    np.testing.assert_array_equal(best(bags), alone(bags))


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(slides, "_FEATURES", 3)
    monkeypatch.setattr(slides, "LOOP", {"loop": {"epochs": 1}, "loop, other": {"epochs": 2}})
    monkeypatch.setattr(slides, "DEFAULTS", {"before": {"epochs": 1}, "defaults": {}, "after": {"epochs": 2}})
    few = 12, (101, 110), {"clear": 2.0, "faint": 1.0}, 0
    names = {"compared": ("loop", "defaults"), "loop": ("loop", "loop, other"), "defaults": ("before", "after")}
    parts = {part: slides._Part(one, *few) for part, one in names.items()}
    monkeypatch.setattr(slides, "PARTS", parts)
    fitted = []
    fit = AttentionMIL.fit

    def seen(model, bags, *arguments, **options):
        fitted.append((model.epochs, len(bags)))
        return fit(model.set_params(epochs=model.epochs or 1), bags, *arguments, **options)

    monkeypatch.setattr(AttentionMIL, "fit", seen)
    return fitted


def test_the_command_measures_both_on_the_same_fresh_slides(run, tmp_path, small):
    options = ["--out", tmp_path / "out", "--draws", "2", "--jobs", "1"]
    done = run("reproduce", "slides", *options)
    assert done.status == 0, done.told
    results = json.loads((tmp_path / "out" / "slides.json").read_text())
    assert {(row["part"], row["signal"], row["name"], row["metric"]) for row in results["rows"]} == {
        (part, signal, name, metric)
        for part, one in slides.PARTS.items()
        for signal in one.signals
        for name in one.names
        for metric in slides.MEASURED
    }
    assert {count for _, count in small} == {12}
    assert {epochs for epochs, _ in small} == {None, 1, 2}
    rows = {(row["part"], row["signal"], row["name"], row["metric"]): row for row in results["rows"]}
    loop, own = (rows["compared", "clear", name, "auc"] for name in ("loop", "defaults"))
    assert own["above"] == pytest.approx(own["mean"] - loop["mean"])
    assert rows["loop", "faint", "loop, other", "epochs"]["mean"] == 2
    assert (tmp_path / "out" / "slides.md").read_text() == slides.tables(results)
    assert run("reproduce", "slides", *options, "--resume").status == 0
    assert len(small) == 2 * 2 * 3
    assert run("reproduce", "slides", "--out", tmp_path / "other", "--part", "all").status == 1
