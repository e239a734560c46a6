"""The scripts of examples/ run, and the data that lie there are what their scripts make."""

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sklearn.base import clone

import bagwise as bw

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
LONGEST, LARGEST = 100, 200_000  # lines, bytes


def run(script, *arguments, cwd):
    done = subprocess.run(
        [sys.executable, str(script), *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONWARNINGS": "error::DeprecationWarning:__main__"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("script", "names"),
    [
        ("make_contacts.py", ["contacts.csv", "new_contacts.csv", "cases.csv", "new_cases.csv"]),
        ("make_patients.py", ["cells.csv", "patients.csv"]),
    ],
)
def test_a_table_is_what_its_script_makes(tmp_path, script, names):
    run(shutil.copy(EXAMPLES / script, tmp_path), cwd=tmp_path)
    for name in names:
        assert (tmp_path / name).read_bytes() == (EXAMPLES / name).read_bytes()


def test_examples_are_short_and_their_data_small():
    for path in EXAMPLES.iterdir():
        if path.suffix == ".py":
            assert len(path.read_text().splitlines()) < LONGEST, path
        elif path.is_file():
            assert path.stat().st_size < LARGEST, path


def accuracy(printed):
    [line] = [line for line in printed.splitlines() if line.split()[:1] == ["accuracy"]]
    return float(line.split()[1])


@pytest.mark.slow
def test_the_table_finds_who_leaves_and_over_what(tmp_path):
    printed = run(EXAMPLES / "table.py", cwd=tmp_path)
    assert accuracy(printed) > 0.9
    waited, stayed_open = zip(
        *(line.split()[3:5] for line in printed.splitlines() if line.startswith("C5")), strict=True
    )
    assert min(map(float, waited)) > 25
    assert min(map(float, stayed_open)) > 4.5


@pytest.mark.slow(seconds=15)
def test_the_slides_are_told_apart_and_one_is_drawn(tmp_path, monkeypatch, capsys):
    """The ensemble, of which nothing but a map is asked, learns for an epoch."""
    fit_ensemble = bw.fit_ensemble
    shortly = lambda method, bags, size: fit_ensemble(clone(method).set_params(epochs=1), bags, size)  # noqa: E731
    monkeypatch.setattr(bw, "fit_ensemble", shortly)
    monkeypatch.chdir(tmp_path)
    run(EXAMPLES / "make_slides.py", "slides", cwd=tmp_path)
    monkeypatch.setattr(sys, "argv", ["slides.py", "slides"])
    runpy.run_path(str(EXAMPLES / "slides.py"), run_name="__main__")
    printed = capsys.readouterr().out
    assert "protocol grouped" in printed
    assert accuracy(printed) > 0.8
    assert (tmp_path / "map.png").stat().st_size > 10_000


def test_the_comparison_names_every_pair(monkeypatch, capsys):
    """With fewer folds: docs/tutorials/compare.md shows the same comparison with all of them."""
    cross_validate = bw.cross_validate

    def with_fewer_folds(method, bags, *, folds, repeats, seed):
        assert (folds, repeats) == (10, 2)
        return cross_validate(method.set_params(epochs=5), bags, folds=2, seed=seed)

    monkeypatch.setattr(bw, "cross_validate", with_fewer_folds)
    runpy.run_path(str(EXAMPLES / "compare.py"), run_name="__main__")
    assert capsys.readouterr().out.count("(p = ") == 3
