import os
import stat
from pathlib import Path

import pytest

from bagwise.errors import BagwiseError
from bagwise.files import replacing


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_file_takes_its_place_whole(tmp_path):
    target = tmp_path / "metrics.json"
    with replacing(target) as temporary:
        temporary.write_text("{}")
        assert not target.exists()
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".json"
    assert target.read_text() == "{}"
    assert names_in(tmp_path) == ["metrics.json"]


def test_an_older_file_stands_until_the_new_one_is_whole(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with replacing(target) as temporary:
        temporary.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"


@pytest.mark.parametrize("error", [RuntimeError("no"), KeyboardInterrupt(), BagwiseError("no")], ids=repr)
def test_a_failure_leaves_the_older_file_and_nothing_else(tmp_path, error):
    target = tmp_path / "a.txt"
    target.write_text("old")

    def write_half():
        with replacing(target) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(type(error)):
        write_half()
    assert target.read_text() == "old"
    assert names_in(tmp_path) == ["a.txt"]


def test_missing_folders_are_made(tmp_path):
    with replacing(str(tmp_path / "a" / "b" / "c.txt")) as temporary:
        temporary.write_text("x")
    assert (tmp_path / "a" / "b" / "c.txt").read_text() == "x"


def test_a_relative_path_is_written_where_the_caller_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with replacing("plain") as temporary:
        temporary.write_text("x")
    assert names_in(tmp_path) == ["plain"]


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_the_file_has_the_rights_of_an_ordinary_one(tmp_path, umask):
    before = os.umask(umask)
    try:
        (tmp_path / "ordinary").write_text("x")
        with replacing(tmp_path / "ours") as temporary:
            temporary.write_text("x")
        assert stat.S_IMODE((tmp_path / "ours").stat().st_mode) == stat.S_IMODE((tmp_path / "ordinary").stat().st_mode)
        assert os.umask(umask) == umask
    finally:
        os.umask(before)


@pytest.mark.parametrize(
    "name", ["with space", "ünïcode 你好.json", ".hidden", "a.tar.gz", "no-ending", "x" * 255, "%s{}.txt"]
)
def test_any_file_name_is_written(tmp_path, name):
    with replacing(tmp_path / name) as temporary:
        temporary.write_text("x")
    assert names_in(tmp_path) == [name]


def test_a_folder_that_is_a_file_is_said_in_one_sentence(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(BagwiseError) as caught, replacing(tmp_path / "file" / "below.txt"):
        pytest.fail("there is nowhere to write")
    assert str(tmp_path / "file" / "below.txt") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_target_that_is_a_folder_is_said_and_left_alone(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "kept").write_text("x")
    with pytest.raises(BagwiseError, match="cannot write"), replacing(tmp_path / "folder") as temporary:
        temporary.write_text("x")
    assert names_in(tmp_path) == ["folder"]
    assert names_in(tmp_path / "folder") == ["kept"]


def test_a_full_disk_is_said(tmp_path):
    with pytest.raises(BagwiseError, match=r"cannot write .*No space left"), replacing(tmp_path / "a.txt"):
        raise OSError(28, "No space left on device")
    assert names_in(tmp_path) == []


def test_another_file_that_is_missing_is_not_blamed_on_the_target(tmp_path):
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "a.txt"):
        (tmp_path / "input.csv").read_text()
    assert names_in(tmp_path) == []


def test_two_writers_do_not_meet(tmp_path):
    target = tmp_path / "a.txt"
    with replacing(target) as first, replacing(target) as second:
        assert first != second
        first.write_text("first")
        second.write_text("second")
    assert target.read_text() == "first"
    assert names_in(tmp_path) == ["a.txt"]
