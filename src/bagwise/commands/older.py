"""Folders of Bagwise 0.1, which marked none: their files are known by what is in them, and read as they were meant."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py

from bagwise.reports.html import is_report
from bagwise.tensorfiles import is_tensor_file

__all__ = ["BLOCKS", "asked_before", "written_before"]

BLOCKS = "checkpoints/**/block-*.safetensors"

_TEMPORARY = re.compile(r"\.writing-[a-z0-9_]{8}\.safetensors")
_METRICS = {"bags", "instances", "members", "epochs_were"}


def written_before(*patterns: str) -> Callable[[Path], list[Path]]:
    """Make a search for the files of a command of Bagwise 0.1.

    Parameters
    ----------
    *patterns
        Of their names, as `Path.glob` understands them. Files that Bagwise 0.1 did not write are left out.

    Returns
    -------
    function
        Takes the folder; what it gives is empty where the folder is none of Bagwise's.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "config.json").write_text('{"of": "another program"}')
    >>> written_before("config.json")(folder)
    []
    """

    def find(folder: Path) -> list[Path]:
        """Give the files in a folder that Bagwise 0.1 wrote."""
        found = [path for pattern in patterns for path in folder.glob(pattern) if _is_ours(path)]
        # What a kill left half-written, beside checkpoints that are whole.
        beside = {path.parent for path in found if path.name.startswith("block-")}
        return found + [path for place in beside for path in place.iterdir() if _TEMPORARY.fullmatch(path.name)]

    return find


def asked_before(told: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Give what a finished folder was asked for, as it is said now.

    In 0.1 classes were balanced where nobody said otherwise, before baselines were measured nobody was asked about
    them, and there was no learning curve.

    Parameters
    ----------
    told
        What was written: by which version, and what was ``asked``.
    now
        What is asked for.

    Returns
    -------
    dict

    Examples
    --------
    >>> asked_before({"bagwise": "0.1.0", "asked": {"class_weight": "balanced"}}, {"class_weight": None})
    {'class_weight': None}
    """
    before = dict(told.get("asked") or {})
    if str(told.get("bagwise")).startswith("0.1."):
        usual = now["class_weight"] if now["class_weight"] == "balanced" else None
        before["class_weight"] = usual if before.get("class_weight") == "balanced" else "none"
    not_asked = {name: now[name] for name in ("no_baseline",) if name in now}
    return not_asked | {name: False for name in ("curve",) if name in now} | before


def _is_ours(path: Path) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    try:
        match path.suffix:
            case ".json":
                told = json.loads(path.read_bytes())
                return isinstance(told, dict) and ("bagwise" in told or "question" in told or told.keys() >= _METRICS)
            case ".safetensors":
                return is_tensor_file(path)
            case ".h5":
                with h5py.File(path) as file:
                    return "features" in file and file["coords"].attrs.get("name") == path.stem
            case ".html":
                return is_report(path)
            case ".csv":
                with path.open("rb") as file:
                    return file.read(len(b"member,epoch,")) == b"member,epoch,"
    except (OSError, ValueError, KeyError, RecursionError):
        pass
    return False
