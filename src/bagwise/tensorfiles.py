"""Files of tensors and what is to be said of them; nothing in such a file can run code."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from bagwise.errors import BagwiseError
from bagwise.files import check_replaceable, plain, replacing
from bagwise.inputs import check_regular, check_size, named_in_utf8

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["is_tensor_file", "read_arrays", "read_tensors", "write_tensors"]


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
        If the file cannot be written, or one is there that Bagwise did not write.

    Examples
    --------
    >>> import tempfile, torch
    >>> path = Path(tempfile.mkdtemp()) / "model.safetensors"
    >>> write_tensors(path, {"w": torch.ones(2)}, {"epoch": 3})
    >>> read_tensors(path)
    ({'w': tensor([1., 1.])}, {'epoch': 3})
    """
    check_replaceable(path, is_tensor_file)
    text = json.dumps(description, default=plain)
    content = _content(tensors, {"bagwise": text})
    with replacing(path) as temporary:
        temporary.write_bytes(content)  # the library itself would leave a file of its own where it is killed


def _content(tensors: Mapping[str, Any], metadata: dict[str, str]) -> bytes:
    if all(isinstance(value, np.ndarray) for value in tensors.values()):
        from safetensors.numpy import save as save_arrays

        return save_arrays({name: value.copy(order="C") for name, value in tensors.items()}, metadata)
    from safetensors.torch import save  # loads PyTorch

    return save({name: value.cpu().contiguous() for name, value in tensors.items()}, metadata)


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
