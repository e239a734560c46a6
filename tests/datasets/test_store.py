from pathlib import Path

import platformdirs
import pytest

from bagwise.datasets import data_directory


def test_a_folder_that_is_given_comes_first(monkeypatch, tmp_path):
    monkeypatch.setenv("BAGWISE_DATA", "/environment")
    assert data_directory(tmp_path) == data_directory(str(tmp_path)) == tmp_path


def test_then_the_environment(monkeypatch):
    monkeypatch.setenv("BAGWISE_DATA", "/environment")
    assert data_directory() == data_directory(None) == Path("/environment")


@pytest.mark.parametrize("value", [None, ""])
def test_then_the_cache_of_the_user(monkeypatch, tmp_path, value):
    if value is None:
        monkeypatch.delenv("BAGWISE_DATA", raising=False)
    else:
        monkeypatch.setenv("BAGWISE_DATA", value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert data_directory() == platformdirs.user_cache_path("bagwise")
    assert data_directory().name == "bagwise"


def test_nothing_is_made(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("BAGWISE_DATA", str(tmp_path / "environment"))
    data_directory()
    data_directory(tmp_path / "given")
    monkeypatch.delenv("BAGWISE_DATA")
    data_directory()
    assert not list(tmp_path.iterdir())
