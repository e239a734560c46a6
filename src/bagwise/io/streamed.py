"""Tables that stay in their files: whole bags are read when somebody looks at them, some at a time."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bagwise.bags import Bags, like_learnt
from bagwise.errors import BagwiseError
from bagwise.feature_columns import Column, Wanted
from bagwise.io.bag_tables import BagTable
from bagwise.io.columns import Coded, Table, is_text
from bagwise.io.labels import misspelt, spaces
from bagwise.io.pieces import Pieces, is_number, pieces_of
from bagwise.io.problems import Problem, tell
from bagwise.io.tablefiles import Header, read_header
from bagwise.io.tables import in_order, values_of
from bagwise.mixed import Apart, Mixed
from bagwise.stored import Part, StoredInstances

__all__ = ["BagRuns", "stream_table"]

# What is held in memory of a table, as numbers of eight bytes.
_HELD = 16 << 20


def stream_table(
    path: str | Path,
    *,
    bag: str,
    features: Sequence[str],
    like: Sequence[Column] | None = None,
    labels: str | Path | None = None,
) -> Bags | None:
    r"""Read bags as `bagwise.read_table` does, but for their instances, which stay in the file.

    The file is looked through once, to see which rows are of which bag. Instances are then read some whole bags at a
    time, in the order of the bags. Where the rows of each bag stand together, that takes one more pass; where they do
    not, the file is read from the first of some bags' rows to the last of them, and then again for the next bags.

    Parameters
    ----------
    path, bag, labels
        As in `bagwise.read_table`.
    features
        The names of those that a model learnt from, in its order.
    like
        What they stood for, where not all were numbers.

    Returns
    -------
    Bags or None
        With instances as the model learnt from them, in memory some at a time, and nothing else of theirs. None where
        the table can only be read as a whole (`bagwise.io.pieces.pieces_of`).

    Raises
    ------
    BagwiseError
        If a column is missing. What else may be wrong is told when instances are read, with the row.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "cells.csv"
    >>> _ = path.write_text("bag,size\na,1\nb,2\na,3\n")
    >>> bags = stream_table(path, bag="bag", features=["size"])
    >>> bags.names.tolist(), bags.instances[1:3].tolist()
    (['a', 'b'], [[3.0], [2.0]])
    """
    path = Path(path)
    header = read_header(path)
    table = Table.of(path, header, pa.table({}))
    table.check_columns([bag])
    asked = Wanted(features) if like is None else Wanted.as_learnt(like)
    beside = BagTable.of(labels, asked.bag_features)
    of_bags = () if beside is None else beside.columns
    wanted = asked.among([name for name in table.header if name != bag], of_bags, f"{path}: the table")
    here = [name for name in wanted.columns if name not in of_bags]
    rows, unknown = BagRuns(), {name: set[str]() for name in wanted.categorical if name in here}

    def look(piece: Any) -> None:
        read = Table.of(path, header, piece)
        rows.add(read.names(bag), read.raw_texts(bag))
        for name, strange in unknown.items():
            known = wanted.known(name)
            strange.update({*read.texts(name).values} - {*(() if known is None else known.values)})

    pieces = pieces_of(path, [bag, *unknown], [bag, *here], look)
    if pieces is None or rows.gaps or not rows.places:
        return None
    if not all(_fits(pieces.types[name], like, wanted.known(name)) for name in here):
        return None
    table.note_spaces(f"values of column {bag!r}", [*rows.spaced])
    names = [*rows.places]
    tell([*misspelt(table, bag, names, rows.first), *spaces(table)])
    apart = None if beside is None else beside.apart(bag, rows.places, wanted)
    mixed = Mixed(np.zeros(0, np.int64))
    if apart is not None:
        mixed = Mixed(apart.bag_of_row)
        for name in apart.columns:
            mixed.read(apart.rows, name, None, wanted.known(name))
    mixed.unknown = {name: sorted(strange) for name, strange in unknown.items() if strange} | mixed.unknown
    tell(Problem("warning", "columns", f"{path}: {sentence}") for sentence in mixed.told())
    single = like is None and all(pa.types.is_float32(pieces.types[name]) for name in here)
    named = tuple(features) if like is None else tuple(column.name for column in like)
    offsets = np.concatenate([[0], np.cumsum(rows.sizes)])
    whole = _Whole(path, header, pieces, wanted, named, np.array(names, dtype=object), offsets, rows, apart)
    source = _TableSource(whole, np.dtype(np.float32 if single else np.float64))
    return Bags(
        StoredInstances([Part(source, 0, int(offsets[-1]))]),
        offsets,
        names=whole.names,
        feature_names=named,
        columns=None if like is None else tuple(like),
    )


def _fits(kind: Any, like: Sequence[Column] | None, known: Column | None) -> bool:
    """Say whether a column is of a type that can be read as what a model learnt from; else all of it must be seen."""
    if like is None:
        return is_number(kind)
    if known is None:  # it is what gives the order
        return True
    if known.kind == "number":
        return not is_text(kind)
    return (
        known.kind != "date" or bool(known.values) or not (is_text(kind) or is_number(kind)) or pa.types.is_null(kind)
    )


class BagRuns:
    """Which rows of a table are of which bag, as runs of neighbours; rows are added in their order.

    Attributes
    ----------
    places
        Of each bag by name its number, in the order in which they first appear.
    spaced
        Names with white space around them, as they are written.
    gaps
        Whether a row has no bag.

    Examples
    --------
    >>> runs = BagRuns()
    >>> runs.add(Coded(np.array([0, 0, 1, 0]), ["a", "b"]), [])
    >>> runs.add(Coded(np.array([0, 1]), ["a", "c"]), [])
    >>> runs.sizes.tolist(), runs.first.tolist(), runs.last.tolist(), runs.of(2, 6).tolist()
    ([4, 1, 1], [0, 2, 5], [4, 2, 5], [1, 0, 0, 2])
    """

    def __init__(self) -> None:
        self.places: dict[str, int] = {}
        self.spaced: dict[str, None] = {}
        self.gaps = False
        self._rows = 0
        self._added: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []

    def add(self, names: Coded, raw: Iterable[str]) -> None:
        """Add rows by the names of their bags, and by how these are written."""
        self.gaps |= bool((names.codes < 0).any())
        self.spaced |= dict.fromkeys(text for text in raw if text != text.strip())
        numbers = [self.places.setdefault(name, len(self.places)) for name in names.values]
        bags = np.array([*numbers, -1], np.int64)[names.codes]  # the last, at -1, is that of a gap
        begins = np.flatnonzero(np.diff(bags, prepend=-2))
        self._added.append((bags[begins], begins + self._rows))
        self._rows += len(bags)

    @cached_property
    def _runs(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The bag of each run, and where it begins; the end of the last is the last."""
        bags, begins = (np.concatenate(parts) for parts in zip(*self._added, strict=True))
        self._added.clear()
        return bags, np.append(begins, self._rows)

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """Number of rows of each bag."""
        bags, begins = self._runs
        return np.bincount(bags, np.diff(begins)).astype(np.int64)

    @cached_property
    def first(self) -> NDArray[np.int64]:
        """The first row of each bag."""
        bags, begins = self._runs
        return begins[np.unique(bags, return_index=True)[1]]

    @cached_property
    def last(self) -> NDArray[np.int64]:
        """The last row of each bag."""
        bags, begins = self._runs
        last = np.zeros(len(self.places), np.int64)
        np.maximum.at(last, bags, begins[1:] - 1)
        return last

    def of(self, begin: int, end: int) -> NDArray[np.int64]:
        """Give the bag of some neighbouring rows."""
        bags, begins = self._runs
        low, high = int(np.searchsorted(begins, begin, side="right")) - 1, int(np.searchsorted(begins, end))
        ends = np.clip(begins[low : high + 1], begin, end)
        return np.repeat(bags[low:high], ends[1:] - ends[:-1])


@dataclass(frozen=True, eq=False)
class _Whole:
    """All that is known of a table but for its values."""

    path: Path
    header: Header
    pieces: Pieces
    wanted: Wanted
    features: tuple[str, ...]
    names: NDArray[np.object_]
    offsets: NDArray[np.int64]
    rows: BagRuns
    apart: Apart | None

    def read(self, bags: slice, arrow: Any, positions: NDArray[np.int64], bag_of_row: NDArray[np.int64]) -> Bags:
        """Read some bags, of which all rows are there, as a model learnt from such."""
        table, names, apart = Table.of(self.path, self.header, arrow, positions), self.names[bags], self.apart
        if apart is not None:
            inside = (apart.bag_of_row >= bags.start) & (apart.bag_of_row < bags.stop)
            apart = apart._replace(bag_of_row=np.where(inside, apart.bag_of_row - bags.start, -1))
        values = values_of(table, self.wanted, bag_of_row, names, apart)
        read = Bags(
            in_order(values.parts, np.argsort(bag_of_row, kind="stable")),
            self.offsets[bags.start : bags.stop + 1] - self.offsets[bags.start],
            names=names,
            feature_names=tuple(values.names),
            columns=values.columns,
        )
        return like_learnt(read, (len(self.features),), self.features, self.wanted.like)


class _TableSource:
    """A table as a source of instances, those of each bag together."""

    def __init__(self, whole: _Whole, dtype: np.dtype[Any]) -> None:
        held = whole.path.stat()
        self.name = str(whole.path)
        self.shape = (int(whole.offsets[-1]), len(whole.features))
        self.dtype = dtype
        self.identity = f"{whole.path.resolve()} {held.st_size} {held.st_mtime_ns}"
        self._whole = whole
        self._lock = Lock()  # what is held belongs together
        self._blocks: Iterator[tuple[int, Any]] = iter(())
        self._block: tuple[int, Any] | None = None
        self._bags, self._held = slice(0, 0), np.zeros((0, self.shape[1]), dtype)

    def read(self, begin: int, end: int) -> NDArray[Any]:
        """Give some instances."""
        offsets, parts = self._whole.offsets, []
        with self._lock:
            while begin < end:
                low, high = int(offsets[self._bags.start]), int(offsets[self._bags.stop])
                if low <= begin < high:
                    parts.append(self._held[begin - low : end - low])
                    begin = high
                else:
                    self._hold(int(np.searchsorted(offsets, begin, side="right")) - 1)
        return parts[0] if len(parts) == 1 else np.concatenate(parts or [self._held[:0]])

    def _hold(self, first: int) -> None:
        """Read a bag, and as many after it as may be held."""
        offsets, most = self._whole.offsets, max(1, _HELD // (8 * self.shape[1]))
        fitting = int(np.searchsorted(offsets, offsets[first] + most, side="right")) - 1
        bags = slice(first, max(fitting, first + 1))
        self._bags, self._held = slice(0, 0), np.zeros((0, self.shape[1]), self.dtype)  # lest two are in memory
        arrow, positions, bag_of_row = self._rows_of(bags)
        self._held = np.asarray(self._whole.read(bags, arrow, positions, bag_of_row).instances)
        self._bags = bags

    def _rows_of(self, bags: slice) -> tuple[Any, NDArray[np.int64], NDArray[np.int64]]:
        """Read the rows of some bags: values, where in the table they stand, and the bag of each among these."""
        rows = self._whole.rows
        first, last = int(rows.first[bags].min()), int(rows.last[bags].max())
        if self._block is None or self._block[0] > first:
            self._blocks = self._whole.pieces.blocks(first)
            self._block = self._next()
        tables, positions, found = [], [], []
        while True:
            begin, table = self._block
            bag = rows.of(begin, begin + len(table))
            mine = np.flatnonzero((bag >= bags.start) & (bag < bags.stop))
            if len(mine):
                together = mine[-1] - mine[0] + 1 == len(mine)
                tables.append(table.slice(mine[0], len(mine)) if together else table.take(pa.array(mine)))
                positions.append(mine + begin)
                found.append(bag[mine] - bags.start)
            if begin + len(table) > last:
                return pa.concat_tables(tables), np.concatenate(positions), np.concatenate(found)
            self._block = self._next()

    def _next(self) -> tuple[int, Any]:
        try:
            return next(self._blocks)
        except BagwiseError:
            raise
        except (StopIteration, pa.ArrowException, OSError, ValueError) as error:
            raise BagwiseError(f"{self.name} changed while it was in use: leave it alone, and begin again") from error
