"""Files of tensors and what is to be said of them; nothing in such a file can run code."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from bagwise.errors import BagwiseError
from bagwise.files import check_replaceable, plain, replacing
from bagwise.inputs import check_regular, check_size, named_in_utf8

__all__ = ["is_tensor_file", "read_tensors", "write_tensors"]


def write_tensors(path: str | Path, tensors: Mapping[str, Tensor], description: Mapping[str, Any]) -> None:
    """Write tensors, and what is to be said of them, as one file in the place of an older one.

    Parameters
    ----------
    path
        The file, ending in ``.safetensors``.
    tensors
        By name.
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
    whole = {name: value.cpu().contiguous() for name, value in tensors.items()}
    content = save(whole, metadata={"bagwise": text})
    with replacing(path) as temporary:
        temporary.write_bytes(content)  # the library itself would leave a file of its own where it is killed


def read_tensors(path: str | Path) -> tuple[dict[str, Tensor], Any]:
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
    check_size(Path(path), check_regular(Path(path)))
    try:
        with named_in_utf8(Path(path)) as name, safe_open(name, framework="pt") as file:
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
