"""Checkpoints: one file of tensors a block, replaced as a whole, never half-written."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from bagwise.errors import BagwiseError
from bagwise.files import replacing

__all__ = ["load_checkpoint", "save_checkpoint"]


def save_checkpoint(path: Path, tensors: dict[str, Tensor], progress: dict[str, Any]) -> None:
    """Write a checkpoint in the place of an older one.

    Parameters
    ----------
    path
        The file, ending in ``.safetensors``.
    tensors
        All tensors to keep.
    progress
        Whatever else, as JSON can hold it.

    Raises
    ------
    BagwiseError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile, torch
    >>> path = Path(tempfile.mkdtemp()) / "block.safetensors"
    >>> save_checkpoint(path, {"w": torch.ones(2)}, {"epoch": 3})
    >>> load_checkpoint(path)
    ({'w': tensor([1., 1.])}, {'epoch': 3})
    """
    with replacing(path) as temporary:
        contiguous = {name: value.contiguous() for name, value in tensors.items()}
        save_file(contiguous, temporary, metadata={"progress": json.dumps(progress)})


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `save_checkpoint` wrote.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    tuple
        The tensors, and the rest.

    Raises
    ------
    BagwiseError
        If the file is not a checkpoint.
    """
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
            return tensors, json.loads(file.metadata()["progress"])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise BagwiseError(f"{path} is not a checkpoint of Bagwise ({error}): remove it to begin anew") from error
