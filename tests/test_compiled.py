"""Functions that are compiled once, and where that cannot be kept."""

import errno
import importlib
import sys

from numba.core.caching import IndexDataCacheFile

from bagwise.compiled import compiled_once


def test_a_disk_without_room_for_what_is_compiled_changes_nothing(monkeypatch):
    tried = []

    def save(*_):
        tried.append(1)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(IndexDataCacheFile, "save", save)

    @compiled_once()
    def twice(value):
        return 2 * value

    assert (twice(1.5), tried) == (3.0, [1])


def test_what_was_kept_is_forgotten_when_a_file_it_names_changes(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    part, whole = tmp_path / "part_of_it.py", tmp_path / "whole_of_it.py"
    whole.write_text(
        "import part_of_it\nfrom bagwise.compiled import compiled_once\n\n"
        "@compiled_once(part_of_it)\ndef f(x):\n    return x + part_of_it.NUMBER\n"
    )
    for number in (1, 22):
        part.write_text(f"NUMBER = {number}\n")
        importlib.invalidate_caches()
        assert importlib.import_module("whole_of_it").f(1) == 1 + number
        for name in ("part_of_it", "whole_of_it"):
            del sys.modules[name]
    assert list(tmp_path.glob("**/*.nbi"))
