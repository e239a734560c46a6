"""A table of bags beside one of instances, where it has features of bags."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Self

import numpy as np

from bagwise.feature_columns import Wanted
from bagwise.io.columns import Table
from bagwise.mixed import Apart

__all__ = ["BagTable"]


@dataclass(frozen=True)
class BagTable:
    """A file with a row a bag, or several that agree.

    Attributes
    ----------
    path
        The file.
    columns
        The bag features that it has.
    """

    path: Path
    columns: tuple[str, ...]

    @classmethod
    def of(cls, path: str | Path | None, features: Sequence[str]) -> Self | None:
        """Look which bag features a file has; None where there is no file, or it has none."""
        if path is None or not features:
            return None
        there = Table.read(Path(path), only=[]).header
        named = tuple(name for name in there if any(fnmatchcase(name, pattern) for pattern in features))
        return cls(Path(path), named) if named else None

    def apart(self, bag: str, places: Mapping[str, int], wanted: Wanted) -> Apart:
        """Read them.

        Parameters
        ----------
        bag
            The column with the bag of a row.
        places
            Of each bag by name, its number.
        wanted
            As what columns are read.

        Returns
        -------
        Apart
        """
        as_written = [name for name in self.columns if name in wanted.categorical]
        table = Table.read(self.path, [bag, *as_written], [bag, *self.columns])
        table.check_columns([bag])
        names = table.names(bag)
        numbers = np.array([*(places.get(name, -1) for name in names.values), -1])
        return Apart(table, numbers[names.codes], self.columns)
