"""Instances that stay in their files until somebody looks at them."""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from bagwise.errors import BagwiseError

__all__ = ["Part", "Source", "StoredInstances"]


class Source(Protocol):
    """Where instances are: a file that can be read in part, from any process."""

    @property
    def name(self) -> str:
        """What to call it in messages."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape (N, ...) of all that it holds."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of what `read` gives."""
        ...

    @property
    def identity(self) -> str:
        """Changes when the content does."""
        ...

    def read(self, begin: int, end: int) -> NDArray[Any]:
        """Read some rows."""
        ...


class Part(NamedTuple):
    """Rows `begin` to `end` of a source."""

    source: Source
    begin: int
    end: int


class StoredInstances:
    """Parts of sources, one after the other, as an array that reads what is sliced.

    `bagwise.Bags` takes it in place of an array of instances. Nothing is read when it is made, or when bags are
    selected.

    Parameters
    ----------
    parts
        At least one. All of one shape an instance.

    Raises
    ------
    BagwiseError
        If the parts differ in shape.

    Examples
    --------
    >>> class Numbers:
    ...     name, shape, dtype, identity = "numbers", (5, 1), np.dtype(float), "1"
    ...     def read(self, begin, end):
    ...         return np.arange(begin, end, dtype=float)[:, None]
    >>> stored = StoredInstances([Part(Numbers(), 3, 5), Part(Numbers(), 0, 2)])
    >>> stored.shape, stored[1:3].ravel().tolist()
    ((4, 1), [4.0, 0.0])
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = tuple(parts)
        first = self.parts[0].source
        for part in self.parts:
            if part.source.shape[1:] != first.shape[1:]:
                raise BagwiseError(
                    f"an instance has shape {first.shape[1:]} in {first.name} and {part.source.shape[1:]} in"
                    f" {part.source.name}: all files of one data set need the same features"
                )
        self._ends = np.array(list(accumulate(part.end - part.begin for part in self.parts)))
        self.shape = (int(self._ends[-1]), *first.shape[1:])
        self.dtype = np.result_type(*{part.source.dtype for part in self.parts})
        self.ndim = len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        begin, end, step = rows.indices(len(self))
        if step != 1:
            raise IndexError("stored instances are read in runs of neighbours")
        read = [part.source.read(part.begin, part.end) for part in self._between(begin, end)]
        if not read:
            return np.empty((0, *self.shape[1:]), self.dtype)
        return read[0] if len(read) == 1 else np.concatenate(read)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype)

    def select(self, runs: Sequence[tuple[int, int]]) -> "StoredInstances":
        """Choose rows without reading them.

        Parameters
        ----------
        runs
            Begin and end of each run of rows.

        Returns
        -------
        StoredInstances
        """
        return StoredInstances([part for begin, end in runs for part in self._between(begin, end)])

    @property
    def identity(self) -> str:
        """What changes when the content of a source, or the choice of rows, does."""
        return "\n".join(f"{part.source.identity} {part.begin} {part.end}" for part in self.parts)

    def _between(self, begin: int, end: int) -> list[Part]:
        found = []
        for number in range(int(np.searchsorted(self._ends, begin, side="right")), len(self.parts)):
            part, part_end = self.parts[number], int(self._ends[number])
            part_begin = part_end - (part.end - part.begin)
            if part_begin >= end:
                break
            low, high = max(begin, part_begin), min(end, part_end)
            if low < high:
                found.append(Part(part.source, part.begin + low - part_begin, part.begin + high - part_begin))
        return found
