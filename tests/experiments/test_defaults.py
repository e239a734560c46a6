"""The experiment that defaults were chosen by."""

from dataclasses import replace

import numpy as np
import pytest

from bagwise.errors import BagwiseError
from bagwise.experiments import defaults
from bagwise.experiments.options import Defaults
from bagwise.methods.families import AttentionMIL
from bagwise.methods.joint import fit_members

STUDY = Defaults(datasets=("made-few-1",), folds=2, jobs=1)


def test_candidates_are_measured_within_bags_that_leave_test_bags_out(tmp_path, monkeypatch):
    asked = {"paper": {"epochs": 2}, "longer": {"steps": 900}, "no longer": {"steps": 800}}
    monkeypatch.setattr(defaults, "CANDIDATES", asked)
    fitted = []

    def seen(models, bags, subsets, **options):
        fitted.extend(zip(models, subsets, strict=True))
        return fit_members(models, bags, subsets, **options)

    monkeypatch.setattr("bagwise.evaluation.out_of_fold.fit_members", seen)
    results = defaults.run_defaults(tmp_path / "out", STUDY)
    assert sorted({model.epochs for model, _ in fitted}) == [2, 50]
    assert {len(subset) for _, subset in fitted} == {18}
    assert len(defaults._development("made-few-1", STUDY)) == 36
    assert {(row["candidate"], row["metric"]) for row in results["rows"]} == {
        (name, metric) for name in asked for metric in defaults.MEASURED
    }
    assert (tmp_path / "out" / "defaults.md").read_text() == defaults.tables(results)
    again = defaults.run_defaults(tmp_path / "out", Defaults(**vars(STUDY) | {"resume": True}))
    assert again["rows"] == results["rows"]
    assert len(fitted) == 4  # longer and no longer are the same
    one = defaults.run_defaults(tmp_path / "one", Defaults(**vars(STUDY) | {"candidates": ("paper",)}))
    assert one["rows"] == [row for row in results["rows"] if row["candidate"] == "paper"]


def test_steps_are_so_many_at_least_and_never_fewer_epochs_than_the_papers():
    for bags, epochs in ((20, 250), (99, 51), (1000, 50)):
        assert defaults._model("attention", {"steps": 5000, "clip": 3.0}, bags, 0).epochs == epochs
        assert defaults._model("attention", {"clip": 3.0}, bags, 0).epochs == 50
    assert defaults._model("additive", {"steps": 5000, "bags_per_step": 8}, 100, 0).epochs == 385


def test_candidates_are_parameters_of_attention():
    for candidate in defaults.CANDIDATES.values():
        model = AttentionMIL(**{name: value for name, value in candidate.items() if name != "steps"})
        assert isinstance(model, AttentionMIL)
        assert candidate["patience"] == (None if candidate.get("epochs", 50) else "auto")


def test_candidates_are_tried_with_neural_methods_alone(tmp_path):
    for method, told in (("mi-SVM", "mi-SVM is no neural method"), ("atention", "atention")):
        with pytest.raises(BagwiseError, match=told):
            defaults.run_defaults(tmp_path / "out", replace(STUDY, method=method))


def test_rare_is_rare_and_few_are_few():
    rare, few = defaults.made("made-rare"), defaults.made("made-few-2")
    assert np.mean(rare.labels == 1) == 0.06
    assert (len(few), few.labels.mean()) == (40, 0.5)
    assert not np.array_equal(few.instances, defaults.made("made-few-3").instances[: len(few.instances)])
