"""A folder of feature files as bags that stay in their files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bagwise.bags import Bags
from bagwise.errors import BagwiseError
from bagwise.io.features import FeatureInfo, open_features, peek_features
from bagwise.io.matching import Matched, match_files
from bagwise.io.sources import sources_of
from bagwise.label_columns import LABEL, LabelColumns
from bagwise.stored import Part, StoredInstances

__all__ = ["check_widths", "read_folder"]


def check_widths(matched: Matched) -> dict[Path, FeatureInfo]:
    """Look at the head of each file, and see that all of them fit together.

    Parameters
    ----------
    matched
        What `match_files` found. Files without a label are not looked at.

    Returns
    -------
    dict
        For each file, in the order of the bags, what `peek_features` says of it.

    Raises
    ------
    BagwiseError
        If a file cannot be read, or if two files differ in width or one holds whole numbers and another floats.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> folder = Path(tempfile.mkdtemp())
    >>> np.save(folder / "a.npy", np.zeros((5, 3)))
    >>> np.save(folder / "b.npy", np.zeros((7, 3)))
    >>> [info.count for info in check_widths(match_files(folder)).values()]
    [5, 7]
    """
    infos = {file: peek_features(file) for bag in matched.bags for file in bag.files}
    first, model = next(iter(infos.items()))
    for file, info in infos.items():
        if info.width != model.width:
            raise BagwiseError(
                f"{first} has {model.width} features an instance, {file} has {info.width}: all files need the same, so"
                " extract them with one encoder"
            )
        if (info.dtype.kind == "f") != (model.dtype.kind == "f"):
            raise BagwiseError(
                f"{first} holds {model.dtype} features, {file} {info.dtype}: all files need floats, or all"
                " whole numbers"
            )
    return infos


def read_folder(
    folder: str | Path,
    labels: str | Path | None = None,
    *,
    bag: str = "bag",
    label: str | Sequence[str] | None = LABEL,
    event: str | None = None,
    time: str | None = None,
    group: str | None = None,
    coordinates: bool = False,
    skip_missing: bool = False,
) -> Bags:
    """Read bags whose instances stay in their feature files until somebody looks at them.

    Of the files only the heads are read. Several files of a bag are put one after the other.

    Parameters
    ----------
    folder, labels, bag, group, skip_missing
        As in `match_files`. Without a table bags have no labels.
    label
        The column with the bag's label, or several, as in `bagwise.read_table`; None where labels do not matter.
    event, time
        In the place of `label`, the columns of an event and its time, as in `bagwise.read_table`.
    coordinates
        Read where the instances were, if all files say so.

    Returns
    -------
    Bags
        Their `instances` are `bagwise.stored.StoredInstances`; their `sources` are paths in the folder.

    Raises
    ------
    BagwiseError
        As `match_files` and `check_widths` do.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> folder = Path(tempfile.mkdtemp())
    >>> np.save(folder / "a.npy", np.zeros((5, 3)))
    >>> np.save(folder / "b.npy", np.ones((7, 3)))
    >>> bags = read_folder(folder)
    >>> bags
    <Bags: 2 bags of 5 to 7 instances (12 in all), each of shape (3,) float64; no labels>
    >>> bags[1].instances.sum()
    np.float64(21.0)
    """
    columns = LabelColumns.of(label, event, time, default=LABEL)
    matched = match_files(folder, labels, bag=bag, label=columns, group=group, skip_missing=skip_missing)
    labelled = matched.bags[0].label is not None
    infos = check_widths(matched)
    parts, sizes = [], []
    for one in matched.bags:
        sources = [_FileSource.of(file, infos[file]) for file in one.files]
        parts += [Part(source, 0, source.shape[0]) for source in sources]
        sizes.append(sum(source.shape[0] for source in sources))
    where = None
    if coordinates and all(info.has_coordinates for info in infos.values()):
        places = [_coordinates(file) for one in matched.bags for file in one.files]
        # A third axis counts where all files have one.
        where = np.concatenate([place[:, : min(place.shape[1] for place in places)] for place in places])
    return Bags(
        StoredInstances(parts),
        np.cumsum([0, *sizes]),
        labels=columns.array([one.label for one in matched.bags]) if labelled else None,
        names=np.array([one.name for one in matched.bags], dtype=object),
        groups=None if matched.bags[0].group is None else np.array([one.group for one in matched.bags]),
        coordinates=where,
        sources=sources_of(folder, [Path(part.source.name) for part in parts], [part.end for part in parts]),
        label_names=columns.label_names if labelled else None,
    )


@dataclass(frozen=True)
class _FileSource:
    """A feature file as a source of instances."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    identity: str

    @classmethod
    def of(cls, file: Path, info: FeatureInfo) -> "_FileSource":
        held = file.stat()
        identity = f"{file.resolve()} {held.st_size} {held.st_mtime_ns}"
        return cls(str(file), (info.count, info.width), info.dtype, identity)

    def read(self, begin: int, end: int) -> NDArray[Any]:
        with open_features(self.name) as file:
            if file.shape != self.shape:
                raise BagwiseError(f"{self.name} changed while it was in use: leave it alone, and begin again")
            return file[begin:end]


def _coordinates(file: Path) -> NDArray[Any]:
    with open_features(file) as opened:
        assert opened.coordinates is not None
        return opened.coordinates
