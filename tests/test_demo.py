import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, roc_auc_score

import bagwise as bw
from bagwise import BagwiseError
from bagwise.commands import demo
from bagwise.datasets import load_digits

KEYS = {"bag_auc", "bag_accuracy", "instance_auc", "seconds"}


def without_seconds(metrics):
    return {name: value for name, value in metrics.items() if name != "seconds"}


@pytest.fixture(scope="module")
def digits():
    return load_digits("small")


@pytest.fixture(scope="module")
def run(digits, tmp_path_factory):
    """Run the demo once, and keep the bags it made."""
    out, made = tmp_path_factory.mktemp("demo"), []

    def make_and_keep(*arguments, **options):
        made.append(bags_from_images(*arguments, **options))
        return made[-1]

    bags_from_images = demo.bags_from_images
    before = torch.random.get_rng_state()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "load_digits", lambda *_: digits)
        patch.setattr(demo, "bags_from_images", make_and_keep)
        metrics = demo.run_demo(out, epochs=1, seed=3)
    assert torch.equal(before, torch.random.get_rng_state())
    train, test = made
    return SimpleNamespace(out=out, metrics=metrics, train=train, test=test)


def test_what_is_written_is_what_is_returned(run):
    assert set(run.metrics) == KEYS
    assert {type(value) for value in run.metrics.values()} == {float}
    assert json.loads((run.out / "metrics.json").read_text(encoding="utf-8")) == run.metrics


def test_metrics_are_fractions_and_time_passed(run):
    assert all(0 <= value <= 1 for value in without_seconds(run.metrics).values())
    assert run.metrics["seconds"] > 0


def test_nothing_but_report_metrics_and_model_is_left(run):
    assert {path.name for path in run.out.iterdir()} == {
        ".bagwise",
        "report.html",
        "metrics.json",
        "model.safetensors",
    }


def test_there_are_200_training_and_500_test_bags_that_are_positive_if_they_hold_a_nine(run):
    assert (len(run.train), len(run.test)) == (200, 500)
    for bags in (run.train, run.test):
        assert bags.labels.tolist() == [int((bag.instance_labels == 9).any()) for bag in bags]
        assert bags.sizes.mean() == pytest.approx(10, abs=0.5)


def test_test_images_never_appear_in_training_bags(run, digits):
    training = {image.tobytes() for image in run.train.instances}
    assert training <= {image.tobytes() for image in digits.train_images}
    assert training.isdisjoint(image.tobytes() for image in digits.test_images)
    assert {image.tobytes() for image in run.test.instances} <= {image.tobytes() for image in digits.test_images}


def test_the_saved_model_gives_the_metrics_again(run):
    model = bw.load_model(run.out)
    assert model.classes_.tolist() == [0, 1]
    assert (model.gated, model.settings_.epochs, len(model.history_)) == (True, 1, 1)
    probabilities = model.predict_proba(run.test)
    assert roc_auc_score(run.test.labels, probabilities[:, 1]) == run.metrics["bag_auc"]
    assert accuracy_score(run.test.labels, model.predict(run.test)) == run.metrics["bag_accuracy"]
    weights, areas = model.attention(run.test), []
    for begin, end, label in zip(run.test.offsets[:-1], run.test.offsets[1:], run.test.labels, strict=True):
        nines = run.test.instance_labels[begin:end] == 9
        if label == 1 and not nines.all():
            areas.append(roc_auc_score(nines, weights[begin:end]))
    assert np.mean(areas) == pytest.approx(run.metrics["instance_auc"], rel=1e-12)


def test_the_report_tells_the_metrics_and_what_they_were_measured_on(run):
    page = (run.out / "report.html").read_text(encoding="utf-8")
    for part in (f"{run.metrics['bag_auc']:.3f}", f"{run.metrics['bag_accuracy']:.3f}", "500 test bags", "200 bags"):
        assert part in page


def test_the_same_seed_gives_the_same_metrics_and_model_in_a_folder_that_is_not_there_yet(
    run, digits, tmp_path, monkeypatch
):
    monkeypatch.setattr(demo, "load_digits", lambda *_: digits)
    out = tmp_path / "not" / "there"
    again = demo.run_demo(out, epochs=1, seed=3)
    assert without_seconds(again) == without_seconds(run.metrics)
    one, other = (bw.load_model(folder).model_.state_dict() for folder in (run.out, out))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_folder_in_use_is_refused_before_anything_is_computed(run, tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "load_digits", lambda *_: pytest.fail("digits were loaded"))
    with pytest.raises(BagwiseError, match="is not empty: choose another folder, or .*--resume"):
        demo.run_demo(run.out, epochs=1)
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(BagwiseError, match=str(file)):
        demo.run_demo(file, epochs=1)
    assert file.read_text() == "mine"


def test_bags_depend_on_the_seed(digits, tmp_path, monkeypatch):
    made = []

    def make_and_stop(*_, count, seed, **__):
        made.append((count, seed))
        if len(made) % 2 == 0:
            raise KeyboardInterrupt
        return None

    monkeypatch.setattr(demo, "load_digits", lambda *_: digits)
    monkeypatch.setattr(demo, "bags_from_images", make_and_stop)
    for seed in (0, 1):
        with pytest.raises(KeyboardInterrupt):
            demo.run_demo(tmp_path, epochs=1, seed=seed)
    assert [count for count, _ in made] == [200, 500, 200, 500]
    assert made[0][1] != made[2][1]
    assert made[1][1] != made[3][1]


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"epochs": -1}, {"seed": -1}, {"seed": 2**32}], ids=str)
def test_a_wrong_parameter_is_a_sentence_and_leaves_the_folder_as_it_was(digits, tmp_path, monkeypatch, wrong):
    monkeypatch.setattr(demo, "load_digits", lambda *_: digits)
    with pytest.raises(BagwiseError, match=next(iter(wrong))):
        demo.run_demo(tmp_path, **{"epochs": 1, **wrong})
    assert not list(tmp_path.iterdir())
