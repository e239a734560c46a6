"""What is built can be installed where nothing else is, and works there."""

import json
import os
import subprocess
import sys
import tarfile
from email import message_from_string
from importlib.metadata import distribution
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement

import bagwise as bw

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[1]
EXTRAS = {"demo", "dev", "docs", "onnx", "ray", "slides", "timm"}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Build an archive of the sources, and from that, not from the checkout, a wheel."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def wheel(built):
    [path] = built.glob("*.whl")
    return path


def test_the_sources_are_whole_and_hold_nothing_made_by_running_them(built):
    [path] = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"LICENSE", "README.md", "pyproject.toml", "constraints.txt", "examples/contacts.csv"} <= names
    assert not [
        name for name in names if name.startswith((".venv", "site/", "demo/", "dist/")) or "__pycache__" in name
    ]


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    with ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {name.split("/")[0] for name in names} == {"bagwise", f"bagwise-{bw.__version__}.dist-info"}
    package = {
        path.relative_to(ROOT / "src").as_posix()
        for path in (ROOT / "src" / "bagwise").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name for name in names if name.startswith("bagwise/")} == package
    assert {"bagwise/py.typed", "bagwise/__init__.pyi"} <= package
    assert any(name.startswith("bagwise/reports/templates/") for name in package)


def test_the_wheel_says_what_it_is(wheel):
    folder = f"bagwise-{bw.__version__}.dist-info"
    with ZipFile(wheel) as archive:
        said = message_from_string(archive.read(f"{folder}/METADATA").decode())
        assert f"{folder}/licenses/LICENSE" in archive.namelist()
    assert said["Version"] == bw.__version__
    assert said["License-Expression"] == "Apache-2.0"
    assert set(said.get_all("Provides-Extra")) == EXTRAS


def link_what_it_needs(wheel, extra, site):
    """Link what the wheel says that it needs from this environment into another, and nothing else."""
    with ZipFile(wheel) as archive:
        said = message_from_string(archive.read(f"bagwise-{bw.__version__}.dist-info/METADATA").decode())
    todo, known = [(line, (extra,)) for line in said.get_all("Requires-Dist")], set()
    while todo:
        line, extras = todo.pop()
        one = Requirement(line)
        if line in known or not (
            one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in ("", *extras))
        ):
            continue
        known.add(line)
        found = distribution(one.name)
        for name in {file.parts[0] for file in found.files} - {"..", "__pycache__"}:
            if not (site / name).exists():
                (site / name).symlink_to(found.locate_file(name))
        todo += [(line, tuple(one.extras)) for line in found.requires or ()]


@pytest.mark.slow(seconds=40)
def test_the_wheel_works_where_nothing_is_but_what_it_says_it_needs(wheel, tmp_path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}

    def run(*command):
        return subprocess.run(
            list(map(str, command)), check=True, capture_output=True, text=True, cwd=tmp_path, env=environment
        ).stdout

    run(sys.executable, "-m", "venv", "venv")
    here = tmp_path / "venv" / "bin"
    [site] = tmp_path.glob("venv/lib/*/site-packages")
    link_what_it_needs(wheel, "demo", site)
    run(here / "pip", "install", "--quiet", "--no-deps", "--no-index", wheel)
    run(here / "pip", "check")
    assert run(here / "python", "-c", "import bagwise; print(bagwise.__file__)").startswith(str(tmp_path))
    assert run(here / "bagwise", "--version") == f"bagwise {bw.__version__}\n"
    metrics = json.loads(run(here / "bagwise", "demo", "--epochs", "1", "--out", "demo", "--json"))
    assert 0 <= metrics["bag_auc"] <= 1
    assert (tmp_path / "demo" / "report.html").stat().st_size > 10_000
