"""Files of arrays, opened without reading their values: HDF5, PyTorch, NumPy and safetensors."""

import pickletools
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from math import prod
from pathlib import Path
from pickle import UnpicklingError
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bagwise.errors import BagwiseError
from bagwise.inputs import check_regular, check_size, most_unpacked, named_in_utf8, told_size

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["OPENERS", "UNNAMED", "Array", "Source", "read_npz"]

UNNAMED = "features"  # what the array of a file of one array is called

_SAFETENSORS_TYPES = {
    **{f"F{bits}": f"float{bits}" for bits in (16, 32, 64)},
    **{
        f"{letter}{bits}": f"{kind}{bits}" for letter, kind in (("I", "int"), ("U", "uint")) for bits in (8, 16, 32, 64)
    },
    "BF16": "bfloat16",
    "BOOL": "bool",
}
# What tensors are made of in a pickle. What PyTorch allows beyond it makes gigabytes of a single number.
_OF_TENSORS = re.compile(
    r"torch\._utils\._rebuild_\w+|torch\.\w*Storage|torch\.storage\.\w*Storage|torch\.[a-z0-9_]+|torch\.Size"
    r"|torch\.serialization\._get_layout|collections\.OrderedDict"
)
_MOST_STEPS = 1_000_000  # of a pickle
_PICKLES_OF_OLD = 5  # in a file of PyTorch before 1.6: a mark, a version, the machine, the object, the storages
_MOST_OBJECTS = 10_000
_MOST_SAID = 1 << 20  # bytes of an attribute
_MOST_OF_HEAD = 16 << 20  # bytes of JSON before the values


class Array(NamedTuple):
    """An array in a file, not yet read.

    Attributes
    ----------
    shape, dtype
        What the file says of it.
    read
        Takes a slice for each of the leading axes.

    Examples
    --------
    >>> held = np.arange(6).reshape(3, 2)
    >>> Array(held.shape, held.dtype, held.__getitem__).read((slice(1, 2),)).tolist()
    [[2, 3]]
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    read: Callable[[tuple[slice, ...]], NDArray[Any]]


class Source(NamedTuple):
    """An open file of arrays.

    Attributes
    ----------
    names
        Of what is in it.
    get
        Gives an array by its name.
    any_name
        Whether a lone array needs no known name.
    attributes
        Reads what the file says of its arrays with one of these names.

    Examples
    --------
    >>> Source(["features"], lambda name: Array((), np.dtype(float), lambda rows: np.empty(0))).any_name
    False
    """

    names: Sequence[str]
    get: Callable[[str], Array]
    any_name: bool = False
    attributes: Callable[[Sequence[str]], dict[str, Any]] = lambda _: {}


@contextmanager
def _open_hdf5(path: Path) -> Iterator[Source]:
    import h5py

    with h5py.File(path, "r") as file:

        def get(name: str) -> Array:
            # Whoever sends a file must not choose which other files of this machine are read.
            if not isinstance(file.get(name, getlink=True), h5py.HardLink):
                raise BagwiseError(f"{path} has only a link in the place of {name!r}: copy the dataset itself into it")
            dataset = file[name]
            if not isinstance(dataset, h5py.Dataset):
                raise BagwiseError(f"{path} has a group in the place of {name!r}: it must be a dataset")
            if dataset.external or dataset.is_virtual:
                raise BagwiseError(f"{path} keeps {name!r} in other files: copy the values into it")
            if dataset.size:
                _check_stored(path, name, dataset)
            return Array(dataset.shape or (), dataset.dtype, dataset.__getitem__)

        def attributes(names: Sequence[str]) -> dict[str, Any]:
            said = _said(path, file.attrs)  # STAMP describes the file, the others the dataset
            for name in names:
                if name in file:
                    said.update(_said(path, file[name].attrs))
            return said

        if len(file) > _MOST_OBJECTS:
            raise BagwiseError(f"{path} holds {len(file)} objects: save the features in a file of their own")
        yield Source(list(file), get, attributes=attributes)


def _check_stored(path: Path, name: str, dataset: Any) -> None:
    """See that the values were written, and that no piece of them unpacks to more than it says."""
    stored, chunk = [dataset.id.get_storage_size()], dataset.nbytes
    if dataset.chunks:
        chunk = prod(dataset.chunks) * dataset.dtype.itemsize
        stored = []
        dataset.id.chunk_iter(lambda one: stored.append(one.size))
        check_size(path, chunk, what=f"a chunk of {name!r}")
        whole = prod(-(-extent // side) for extent, side in zip(dataset.shape, dataset.chunks, strict=True))
        if len(stored) < whole:
            raise BagwiseError(
                f"{path} has {len(stored)} of the {whole} chunks of {name!r}: it was not written to its end, so extract"
                " the features anew"
            )
        kinds = dataset.id.get_create_plist()
        filters = [kinds.get_filter(number)[0] for number in range(kinds.get_nfilters())]
        # A filter unpacks whatever it is given: 2 MB of a chunk that says it has 4 KB become 2 GB.
        if len(set(filters)) < len(filters) or max(stored) > chunk + chunk // 16 + (4 << 10):
            raise BagwiseError(f"{path} would unpack to more than it says in {name!r}: extract the features anew")
    elif stored[0] < chunk:
        raise BagwiseError(
            f"{path} has {told_size(stored[0])} of the {told_size(chunk)} of {name!r}: it was not written to its"
            " end, so extract the features anew"
        )
    if chunk > most_unpacked(path.stat().st_size):
        raise BagwiseError(f"{path} would grow to {told_size(chunk)} in a chunk of {name!r}: extract the features anew")


def _said(path: Path, attributes: Any) -> dict[str, Any]:
    for name in attributes:
        held = attributes.get_id(name)
        if prod(held.shape or ()) * held.dtype.itemsize > _MOST_SAID:
            raise BagwiseError(f"{path} has an attribute {name!r} above {told_size(_MOST_SAID)}: leave it out")
    return {name: None if attributes.get_id(name).shape is None else _plain(attributes[name]) for name in attributes}


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list):
        return [_plain(part) for part in value]
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value if isinstance(value, str | int | float) else str(value)


@contextmanager
def _open_torch(path: Path) -> Iterator[Source]:
    members = _members(path) if zipfile.is_zipfile(path) else []
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        # torch.load maps members as they lie in the file, and would take compressed bytes for numbers.
        raise BagwiseError(f"{path} is compressed, as PyTorch never writes it: save it anew with torch.save")
    _check_pickles(path, members)
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickles that are refused anyway
            held = torch.load(path, map_location="cpu", weights_only=True, mmap=bool(members))
    except UnpicklingError as error:
        raise BagwiseError(
            f"{path} is damaged, or holds more than tensors: nothing in it was run; save a tensor, or a dict of tensors"
        ) from error
    if isinstance(held, torch.Tensor):
        held = {UNNAMED: held}
    if not isinstance(held, dict):
        raise BagwiseError(f"{path} holds a {type(held).__name__}: save a tensor, or a dict of tensors")

    def get(name: str) -> Array:
        tensor = held[name]
        if not isinstance(tensor, torch.Tensor):
            raise BagwiseError(f"{path} holds a {type(tensor).__name__} in {name!r}: save a tensor")
        if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
            raise BagwiseError(f"{path} holds a sparse, quantised or empty tensor in {name!r}: save a dense one")
        # A mapped file is not asked how long its members are: a short one would be read on into the next.
        if members and tensor.untyped_storage().nbytes() not in {member.file_size for member in members}:
            raise BagwiseError(f"{path} has fewer values in {name!r} than it promises: it is damaged, so write it anew")
        dtype = _numpy_type(path, name, str(tensor.dtype).removeprefix("torch."))
        return Array(tuple(tensor.shape), dtype, lambda rows: _as_numpy(tensor[rows]))

    yield Source([str(name) for name in held], get)


def _check_pickles(path: Path, members: Sequence[zipfile.ZipInfo]) -> None:
    if not members:
        check_size(path, path.stat().st_size)
        with path.open("rb") as stream:
            for _ in range(_PICKLES_OF_OLD):
                _check_pickle(path, stream)
        return
    with zipfile.ZipFile(path) as archive:
        for member in members:
            if member.filename.endswith("/data.pkl"):
                with archive.open(member) as stream:
                    _check_pickle(path, stream)


def _check_pickle(path: Path, stream: IO[bytes]) -> None:
    """See that a pickle asks for nothing but tensors, without following it."""
    for number, (step, given, _) in enumerate(pickletools.genops(stream)):
        if number == _MOST_STEPS:
            raise BagwiseError(f"{path} holds a list or dict without end beside its tensors: save the tensors alone")
        asked = str(given).replace(" ", ".") if step.name in ("GLOBAL", "INST") else None
        if step.name == "STACK_GLOBAL" or (asked is not None and not _OF_TENSORS.fullmatch(asked)):
            raise BagwiseError(
                f"{path} asks to call {asked or 'what PyTorch does not write'}: nothing in it was run, because a pickle"
                " may run any code; save a tensor, or a dict of tensors"
            )


@contextmanager
def _open_safetensors(path: Path) -> Iterator[Source]:
    from safetensors import safe_open

    with path.open("rb") as stream:
        check_size(path, int.from_bytes(stream.read(8), "little"), _MOST_OF_HEAD, "the head")
    with named_in_utf8(path) as name, safe_open(name, framework="pt") as file:

        def get(name: str) -> Array:
            array = file.get_slice(name)
            dtype = _numpy_type(path, name, _SAFETENSORS_TYPES.get(array.get_dtype(), array.get_dtype()))
            return Array(tuple(array.get_shape()), dtype, lambda rows: _as_numpy(array[rows]))

        yield Source(list(file.keys()), get, any_name=True)


def _numpy_type(path: Path, name: str, dtype: str) -> np.dtype[Any]:
    if dtype == "bfloat16":
        return np.dtype(np.float32)
    try:
        return np.dtype(dtype)
    except TypeError as error:
        raise BagwiseError(f"{path} holds {dtype} values in {name!r}: save them as float16 or float32") from error


def _as_numpy(tensor: "Tensor") -> NDArray[Any]:
    return (tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor).numpy(force=True)


@contextmanager
def _open_npy(path: Path) -> Iterator[Source]:
    with path.open("rb") as stream:
        shape, dtype = _npy_head(path, stream, path.stat().st_size)
    yield Source(
        [UNNAMED],
        lambda _: Array(shape, dtype, lambda rows: np.load(path, mmap_mode="r", allow_pickle=False)[rows]),
    )


@contextmanager
def _open_npz(path: Path) -> Iterator[Source]:
    _members(path)
    with zipfile.ZipFile(path) as archive:

        def get(name: str) -> Array:
            member = archive.getinfo(f"{name}.npy")
            check_size(path, member.file_size, what=repr(name))
            with archive.open(member) as stream:
                shape, dtype = _npy_head(path, stream, member.file_size)

            @cache
            def whole() -> NDArray[Any]:
                with archive.open(member) as stream:
                    return np.asarray(np.lib.format.read_array(stream, allow_pickle=False))

            return Array(shape, dtype, lambda rows: whole()[rows])

        yield Source([name.removesuffix(".npy") for name in archive.namelist()], get, any_name=True)


def _members(path: Path) -> list[zipfile.ZipInfo]:
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    held, size = path.stat().st_size, sum(member.file_size for member in members)
    if size > most_unpacked(held):
        raise BagwiseError(
            f"{path} would grow from {told_size(held)} to {told_size(size)}: no features shrink that far, so it is"
            " damaged or made to fill memory; extract the features anew"
        )
    if not {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}.issuperset(member.compress_type for member in members):
        raise BagwiseError(f"{path} is packed in a way that neither NumPy nor PyTorch packs: save it anew")
    return members


def _npy_head(path: Path, stream: IO[bytes], size: int) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    read_head = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read_head(stream)
    if any(length < 0 for length in shape):
        raise BagwiseError(f"{path} says that it holds an array of shape {shape}: it is damaged, so write it anew")
    there, needed = size - stream.tell(), prod(shape) * dtype.itemsize
    if there != needed and dtype.kind in "iuf":
        raise BagwiseError(
            f"{path} has {there} bytes of values where an array of shape {shape} has {needed}: it is damaged, so write"
            " it anew"
        )
    return shape, dtype


OPENERS: dict[str, Callable[[Path], AbstractContextManager[Source]]] = {
    ".h5": _open_hdf5,
    ".hdf5": _open_hdf5,
    ".pt": _open_torch,
    ".pth": _open_torch,
    ".npy": _open_npy,
    ".npz": _open_npz,
    ".safetensors": _open_safetensors,
}


def read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """Read all arrays of an ``.npz`` file; none of them may hold objects.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    dict
        The arrays by name.

    Raises
    ------
    BagwiseError
        If it is no regular file, or would take too much memory. What NumPy raises for a damaged file passes through.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.npz"
    >>> np.savez(path, y=[0, 1])
    >>> read_npz(path)
    {'y': array([0, 1])}
    """
    check_size(path, check_regular(path))
    with _open_npz(path) as source:
        return {name: source.get(name).read(()) for name in source.names}
