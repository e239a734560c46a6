"""What is shown of the results is what the results say."""

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import run

    yield run
    for name in ("run", "race"):
        sys.modules.pop(name, None)


def test_the_readme_shows_the_benchmarks_as_they_were_measured(benchmarks):
    rows = json.loads((ROOT / "results" / "benchmarks.json").read_text())
    readme = (ROOT / "README.md").read_text()
    assert {row["name"] for row in rows} == set(benchmarks.BENCHMARKS)
    assert benchmarks.with_table(readme, rows) == readme
