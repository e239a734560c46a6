"""Functions that are compiled once, and where that cannot be kept."""

import errno

from numba.core.caching import IndexDataCacheFile

from bagwise.compiled import compiled_once


def test_a_disk_without_room_for_what_is_compiled_changes_nothing(monkeypatch):
    tried = []

    def save(*_):
        tried.append(1)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(IndexDataCacheFile, "save", save)

    @compiled_once
    def twice(value):
        return 2 * value

    assert (twice(1.5), tried) == (3.0, [1])
