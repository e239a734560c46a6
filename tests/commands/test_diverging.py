"""A training that diverges ends in a sentence, and leaves nothing that could be taken for a run."""

from functools import partial

import pytest

from bagwise.commands import evaluate, fit


@pytest.fixture
def diverging(monkeypatch):
    """Let methods learn in steps that are far too large."""
    plain = fit.configured

    def configured(*given, **options):
        model, why = plain(*given, **options)
        return model.set_params(learning_rate=1e30), why

    for module in (fit, evaluate):
        monkeypatch.setattr(module, "configured", configured)


@pytest.mark.usefixtures("diverging")
@pytest.mark.parametrize("method", ["attention", "MI-Net-RC"])
def test_fit_and_evaluate_leave_nothing(run, cells, tmp_path, method):
    cells().to_csv(tmp_path / "cells.csv", index=False)
    columns = ["--bag", "patient", "--label", "diagnosis", "--group", "clinic", "--instance", "cell"]
    told = partial(run, *("fit", tmp_path / "cells.csv", *columns, "--method", method, "--out", tmp_path / "run"))
    for options in ((), ("--ensemble", "2", "--jobs", "1"), ("--patience", "2")):
        done = told(*options)
        assert done.status == 1
        assert done.told.startswith("bagwise: the training of ")
        assert "diverged in epoch" in done.told
        assert [path.name for path in tmp_path.iterdir()] == ["cells.csv"]
    options = ["--method", method, "--folds", "2", "--jobs", "1", "--out", tmp_path / "results"]
    done = run("evaluate", "--no-baseline", tmp_path / "cells.csv", *columns, *options)
    assert done.status == 1
    assert "the training of model" in done.told
    assert [path.name for path in tmp_path.iterdir()] == ["cells.csv"]
