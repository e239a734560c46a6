"""Files with the features of one slide, or of one other bag: HDF5, PyTorch, NumPy and safetensors."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bagwise.errors import BagwiseError
from bagwise.inputs import check_regular, check_size, most_unpacked, told_size
from bagwise.io.array_files import OPENERS, UNNAMED, Array, Source

__all__ = ["SUFFIXES", "FeatureFile", "FeatureInfo", "Features", "open_features", "peek_features", "read_features"]

FEATURES = (UNNAMED, "feats", "patch_embeddings")  # CLAM and TRIDENT; STAMP; exports of slide encoders
COORDINATES = ("coords", "coordinates")
SUFFIXES = tuple(OPENERS)
_FINITE_CHECK_VALUES = 1 << 22  # how many values are looked at in one go: a mask of all of them would cost memory


class FeatureInfo(NamedTuple):
    """What the head of a feature file says.

    Attributes
    ----------
    count
        Number of instances, N.
    width
        Number of features of an instance, D.
    dtype
        Type of the features as they are read: bfloat16, which NumPy does not know, is read as float32.
    has_coordinates
        Whether the file says where the instances were.

    Examples
    --------
    >>> info = FeatureInfo(count=1200, width=1024, dtype=np.dtype("float16"), has_coordinates=True)
    >>> info.count * info.width * info.dtype.itemsize
    2457600
    """

    count: int  # type: ignore[assignment]  # a tuple's own count is of no use here
    width: int
    dtype: np.dtype[Any]
    has_coordinates: bool


class Features(NamedTuple):
    """What `read_features` gives.

    Attributes
    ----------
    features
        Array of shape (N, D), in the file's own type.
    coordinates
        Array of shape (N, 2) or (N, 3), or None. TRIDENT and CLAM store pixels of level 0, STAMP micrometres
        (``attributes["unit"] == "um"``).
    attributes
        What an HDF5 file says about its coordinates (patch size, magnification, unit, ...), as plain Python values;
        empty for other files.

    Examples
    --------
    >>> bag = Features(np.ones((3, 2), np.float16), None, {})
    >>> len(bag.features)
    3
    """

    features: NDArray[Any]
    coordinates: NDArray[Any] | None
    attributes: dict[str, Any]


def peek_features(path: str | Path) -> FeatureInfo:
    """Read how many instances a feature file holds and what they are like, without reading them.

    Parameters
    ----------
    path
        A file that `read_features` reads.

    Returns
    -------
    FeatureInfo

    Raises
    ------
    BagwiseError
        As `read_features` does, but values are not looked at.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "slide.npy"
    >>> np.save(path, np.zeros((5, 3), np.float32))
    >>> peek_features(path)
    FeatureInfo(count=5, width=3, dtype=dtype('float32'), has_coordinates=False)
    """
    path = Path(path)
    with _blaming(path), _opened(path) as source:
        features, coordinates = _tables(path, source)
        return FeatureInfo(features.count, features.width, features.dtype, coordinates is not None)


def read_features(path: str | Path) -> Features:
    """Read a feature file whole.

    The ending says what the file is, in capitals or not:

    - ``.h5``, ``.hdf5``: a dataset ``features`` (TRIDENT, CLAM), ``feats`` (STAMP) or ``patch_embeddings``, with the
      coordinates in ``coords`` or ``coordinates``;
    - ``.pt``, ``.pth``: a tensor, or a dict with tensors of these names; nothing in the file is run;
    - ``.npz``, ``.safetensors``: arrays of these names, or one array of any name beside the coordinates;
    - ``.npy``: one array.

    Features have shape (N, D) or (1, N, D), coordinates (N, 2) or (N, 3), or the same after a leading 1.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    Features

    Raises
    ------
    BagwiseError
        If the file is missing, damaged, of an unknown kind or could run code, if it holds no array of features or no
        numbers, or if a value is NaN or infinite.

    Examples
    --------
    >>> import h5py, tempfile
    >>> path = Path(tempfile.mkdtemp()) / "slide.h5"
    >>> with h5py.File(path, "w") as file:
    ...     file["features"] = np.ones((2, 3), np.float16)
    ...     file["coords"] = np.array([[0, 0], [256, 0]])
    ...     file["coords"].attrs["patch_size_level0"] = 256
    >>> bag = read_features(path)
    >>> bag.features.shape, bag.coordinates.tolist(), bag.attributes
    ((2, 3), [[0, 0], [256, 0]], {'patch_size_level0': 256})
    """
    with open_features(path) as file:
        return Features(file[:], file.coordinates, file.attributes)


@contextmanager
def open_features(path: str | Path, *, check_values: bool = True) -> Iterator["FeatureFile"]:
    """Open a feature file to read it in pieces, for bags that are larger than memory.

    Pieces are read from disk as they are asked for; only ``.npz`` files and ``.pt`` files older than PyTorch 1.6
    cannot be read in pieces, and are held in memory while the file is open.

    Parameters
    ----------
    path
        A file that `read_features` reads.
    check_values
        Refuse rows that hold NaN or infinity.

    Yields
    ------
    FeatureFile

    Raises
    ------
    BagwiseError
        As `read_features` does; values are looked at as they are read.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "slide.npy"
    >>> np.save(path, np.arange(10.0).reshape(5, 2))
    >>> with open_features(path) as file:
    ...     print(file.shape, [len(file[begin : begin + 2]) for begin in range(0, len(file), 2)])
    (5, 2) [2, 2, 1]
    """
    path = Path(path)
    with ExitStack() as stack:
        with _blaming(path):
            source = stack.enter_context(_opened(path))
            features, coordinates = _tables(path, source)
            where = None if coordinates is None else coordinates.rows(0, coordinates.count)
            checked = features if check_values else replace(features, check_values=False)
            file = FeatureFile(path, where, source.attributes(COORDINATES), checked)
        yield file


@dataclass(frozen=True, eq=False)
class FeatureFile:
    """An open feature file, as `open_features` gives it: ``file[begin:end]`` reads these rows.

    Attributes
    ----------
    path
        The file.
    coordinates, attributes
        As in `Features`.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "slide.npy"
    >>> np.save(path, np.arange(6).reshape(3, 2))
    >>> with open_features(path) as file:
    ...     file[1:3].tolist()
    [[2, 3], [4, 5]]
    """

    path: Path
    coordinates: NDArray[Any] | None
    attributes: dict[str, Any]
    _features: "_Table"

    @property
    def shape(self) -> tuple[int, int]:
        """Number of instances and of features, (N, D)."""
        return self._features.count, self._features.width

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the features as they are read."""
        return self._features.dtype

    def __len__(self) -> int:
        return self._features.count

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        if not isinstance(rows, slice) or rows.step not in (None, 1):
            raise IndexError("read rows of a feature file with a slice of step 1, as in file[begin:end]")
        begin, end, _ = rows.indices(len(self))
        with _blaming(self.path):
            return self._features.rows(begin, max(begin, end))


# ---- what all kinds of files have in common ---------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Table:
    """An array in a file that is known to hold rows of numbers."""

    path: Path
    what: str
    count: int
    width: int
    dtype: np.dtype[Any]
    array: Array
    check_values: bool = True

    def rows(self, begin: int, end: int) -> NDArray[Any]:
        if begin == end:
            return np.empty((0, self.width), self.dtype)
        size = (end - begin) * self.width * self.dtype.itemsize
        check_size(self.path, size, what=f"{self.what!r}, read at once,")
        leading = (slice(0, 1),) * (len(self.array.shape) - 2)
        read = self.array.read((*leading, slice(begin, end)))
        # Values of its own, because a map of the file or the array that others are read from may not be handed out.
        values = np.require(read, self.dtype, ["C", "E", "O", "W"]).reshape(end - begin, self.width)
        if self.check_values and self.dtype.kind == "f":
            self._check_finite(values, begin)
        return values

    def _check_finite(self, values: NDArray[Any], begin: int) -> None:
        step = max(1, _FINITE_CHECK_VALUES // self.width)
        for position in range(0, len(values), step):
            finite = np.isfinite(values[position : position + step]).all(axis=1)
            if not finite.all():
                row = begin + position + int(np.argmin(finite))
                raise BagwiseError(
                    f"{self.path} has a NaN or an infinity in row {row} of {self.what!r}: fill it in, or leave the row"
                    " out"
                )


def _tables(path: Path, source: Source) -> tuple[_Table, _Table | None]:
    where = _choose(path, source.names, COORDINATES)
    name = _choose(path, source.names, FEATURES)
    others = [other for other in source.names if other != where]
    if name is None and source.any_name and len(others) == 1:
        name = others[0]
    if name is None:
        held = ", ".join(map(repr, source.names[:20])) + ", ..." * (len(source.names) > 20) or "nothing"
        raise BagwiseError(
            f"{path} holds no features, only {held}: name the array {', '.join(FEATURES[:-1])} or {FEATURES[-1]}"
        )
    features = _table(path, name, source.get(name))
    if where is None:
        return features, None
    coordinates = _table(path, where, source.get(where))
    if coordinates.width not in (2, 3):
        raise BagwiseError(
            f"{path} has {coordinates.width} numbers a row in {where!r}: a coordinate is x and y, or x, y and z"
        )
    if coordinates.count != features.count:
        raise BagwiseError(
            f"{path} has {coordinates.count} rows in {where!r}, but {features.count} in {name!r}: each instance needs"
            " its own, so extract the features anew"
        )
    return features, coordinates


def _choose(path: Path, names: Sequence[str], known: Sequence[str]) -> str | None:
    found = [name for name in known if name in names]
    if len(found) > 1:
        raise BagwiseError(
            f"{path} holds both {found[0]!r} and {found[1]!r}: write the one that is meant to a file of its own"
        )
    return found[0] if found else None


def _table(path: Path, name: str, array: Array) -> _Table:
    if array.dtype.kind not in "iuf" or array.dtype.itemsize > 8:
        raise BagwiseError(f"{path} holds {array.dtype} values in {name!r}: they must be whole numbers or floats")
    shape = array.shape[1:] if len(array.shape) == 3 and array.shape[0] == 1 else array.shape
    if len(shape) != 2:
        raise BagwiseError(
            f"{path} has shape {array.shape} in {name!r}: it needs a row for each instance, so (instances, numbers)"
        )
    if 0 in shape:
        raise BagwiseError(
            f"{path} is empty: {name!r} has shape {array.shape}; leave the file out, or extract the features anew"
        )
    held, size = path.stat().st_size, prod(array.shape) * array.dtype.itemsize
    if size > most_unpacked(held):
        raise BagwiseError(
            f"{path} would grow from {told_size(held)} to {told_size(size)} when {name!r} is read: no features"
            " shrink that far, so it is damaged or made to fill memory; extract the features anew"
        )
    return _Table(path, name, *shape, array.dtype.newbyteorder("="), array)


@contextmanager
def _blaming(path: Path) -> Iterator[None]:
    try:
        yield
    except BagwiseError:
        raise
    except (PermissionError, BlockingIOError) as error:  # of a lock, HDF5 says pages
        raise BagwiseError(
            f"{path} cannot be read: it may be read by others only, or another program is writing it; see its"
            " permissions, or try again later"
        ) from error
    except MemoryError as error:
        raise BagwiseError(f"{path} does not fit into memory: read it in pieces with open_features") from error
    except Exception as error:  # on damaged files the libraries raise whatever their parsers stumble over
        told = error.args[0] if isinstance(error, KeyError) and error.args else error  # a KeyError quotes what it says
        reason = getattr(error, "strerror", None) or (str(told).splitlines() or [type(error).__name__])[0]
        raise BagwiseError(f"{path} cannot be read ({reason}): {_cure(error)}") from error


def _cure(error: Exception) -> str:
    """Say what to do about a file that a library cannot read; whatever is said must not cost the user a good file."""
    told = str(error)
    if isinstance(error, BlockingIOError):
        return "another program has it open to write; close it there, or wait until it is done"
    if "already open for write" in told:
        return "another program writes to it, or was killed while it did; wait, or extract the features to another file"
    if "unable to lock file" in told:
        return "where it lies files cannot be locked; set HDF5_USE_FILE_LOCKING=FALSE"
    if getattr(error, "errno", None) is not None:
        return "look at the disk or the network that it is on, and try again"
    return "it may be damaged; see whether another program reads it before you make it again"


def _opened(path: Path) -> AbstractContextManager[Source]:
    opener = OPENERS.get(path.suffix.lower())
    if opener is None:
        raise BagwiseError(f"{path} is not a feature file: its name must end in one of {', '.join(SUFFIXES)}")
    if check_regular(path) == 0:
        raise BagwiseError(f"{path} is empty, 0 bytes long: write it anew")
    return opener(path)
