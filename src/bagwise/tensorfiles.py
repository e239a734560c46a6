"""Files of tensors and what is to be said of them; nothing in such a file can run code."""

import json
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from bagwise.errors import BagwiseError
from bagwise.files import check_replaceable, plain, replacing
from bagwise.inputs import check_regular, check_size, named_in_utf8

if TYPE_CHECKING:
    from torch import Tensor

# What the format calls kinds of numbers, in the order in which its library puts them, the last first: so large numbers
# begin at multiples of their size, and files are the same to the last bit.
_KINDS = {
    "bool": "BOOL",
    "uint8": "U8",
    "int8": "I8",
    "float8_e5m2": "F8_E5M2",
    "float8_e4m3fn": "F8_E4M3",
    "int16": "I16",
    "uint16": "U16",
    "float16": "F16",
    "bfloat16": "BF16",
    "int32": "I32",
    "uint32": "U32",
    "float32": "F32",
    "complex64": "C64",
    "float64": "F64",
    "int64": "I64",
    "uint64": "U64",
}
_PLACES = {kind: place for place, kind in enumerate(_KINDS.values())}

__all__ = ["digest_of_tensors", "is_tensor_file", "read_arrays", "read_tensors", "write_tensors"]


def write_tensors(
    path: str | Path, tensors: "Mapping[str, Tensor | NDArray[Any]]", description: Mapping[str, Any]
) -> None:
    """Write tensors, and what is to be said of them, as one file in the place of an older one.

    Parameters
    ----------
    path
        The file, ending in ``.safetensors``.
    tensors
        By name; all of them torch's, or all arrays of numpy.
    description
        Whatever JSON can hold, numbers of numpy included.

    Raises
    ------
    BagwiseError
        If the file cannot be written, one is there that Bagwise did not write, or numbers are of a type that has no
        place in it.

    Examples
    --------
    >>> import tempfile, torch
    >>> path = Path(tempfile.mkdtemp()) / "model.safetensors"
    >>> write_tensors(path, {"w": torch.ones(2)}, {"epoch": 3})
    >>> read_tensors(path)
    ({'w': tensor([1., 1.])}, {'epoch': 3})
    """
    check_replaceable(path, is_tensor_file)
    parts = _laid_out(tensors, description)
    with replacing(path) as temporary, temporary.open("wb") as file:
        for part in parts:
            file.write(part)


def digest_of_tensors(tensors: "Mapping[str, Tensor | NDArray[Any]]", description: Mapping[str, Any]) -> str:
    """Sum up the file that `write_tensors` would write.

    Parameters
    ----------
    tensors, description
        As there.

    Returns
    -------
    str
        Its digest, as `bagwise.trust.files.file_digests` gives it.

    Raises
    ------
    BagwiseError
        If numbers are of a type that has no place in it.

    Examples
    --------
    >>> digest_of_tensors({"w": np.ones(2)}, {"epoch": 3})
    'b461f3d96a6ccb03476c5446228b115b'
    """
    digest = blake2b(digest_size=16)
    for part in _laid_out(tensors, description):
        digest.update(part)
    return digest.hexdigest()


def _laid_out(
    tensors: "Mapping[str, Tensor | NDArray[Any]]", description: Mapping[str, Any]
) -> Sequence[bytes | memoryview]:
    """Give what stands in a file, one after the other."""
    parts = {name: _in_memory(values) for name, values in tensors.items()}
    header: dict[str, Any] = {"__metadata__": {"bagwise": json.dumps(description, default=plain)}}
    ordered, end = sorted(parts, key=lambda name: (-_PLACES[parts[name].kind], name)), 0
    for name in ordered:
        kind, shape, content = parts[name]
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [end, end + content.nbytes]}
        end += content.nbytes
    told = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    told += b" " * (-len(told) % 8)
    return [len(told).to_bytes(8, "little") + told, *(parts[name].content for name in ordered)]


class _Part(NamedTuple):
    kind: str
    shape: list[int]
    content: memoryview


def _in_memory(values: Any) -> _Part:
    """Give numbers as they lie in a file: the library's own writer may wait for ever where memory has run out."""
    called = str(values.dtype).removeprefix("torch.")
    kind = _KINDS.get(called)
    if kind is None:
        raise BagwiseError(f"numbers of type {called} have no place in a file of tensors: turn them into another type")
    if not isinstance(values, np.ndarray):
        import torch

        # Not every kind of number is one of numpy's; and the step of a single number may be any.
        whole = values.detach().cpu().contiguous()
        flat = whole.as_strided((whole.numel(),), (1,)).view(torch.uint8).numpy()
    else:
        flat = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
    return _Part(kind, list(values.shape), flat.data)


def read_tensors(path: str | Path) -> "tuple[dict[str, Tensor], Any]":
    """Read what `write_tensors` wrote.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    tuple
        The tensors, and their description.

    Raises
    ------
    BagwiseError
        If there is no such file, it is no regular one or larger than memory can hold, another program wrote it, or it
        is damaged.
    """
    return _read(path, "pt")


def read_arrays(path: str | Path) -> tuple[dict[str, NDArray[Any]], Any]:
    """Read what `write_tensors` wrote, as arrays of numpy.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    tuple
        The arrays, and their description.

    Raises
    ------
    BagwiseError
        As `read_tensors` does.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "model.safetensors"
    >>> write_tensors(path, {"w": np.ones(2)}, {"epoch": 3})
    >>> read_arrays(path)
    ({'w': array([1., 1.])}, {'epoch': 3})
    """
    return _read(path, "numpy")


def _read(path: str | Path, framework: str) -> tuple[dict[str, Any], Any]:
    check_size(Path(path), check_regular(Path(path)))
    try:
        with named_in_utf8(Path(path)) as name, safe_open(name, framework=framework) as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a mapping
            return tensors, json.loads(file.metadata()["bagwise"])
    except (OSError, SafetensorError, AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise BagwiseError(f"{path} is damaged, or not a file of Bagwise's ({reason}): make it anew") from error


def is_tensor_file(path: Path) -> bool:
    """Say whether `write_tensors` wrote a file.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    bool

    Examples
    --------
    >>> is_tensor_file(Path("nowhere.safetensors"))
    False
    """
    try:
        with safe_open(path, framework="numpy") as file:
            return "bagwise" in (file.metadata() or {})
    except (OSError, SafetensorError):
        return False
