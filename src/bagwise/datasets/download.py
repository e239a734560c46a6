"""Fetching the five classical sets from where they were published."""

import hashlib
import io
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bagwise.errors import BagwiseError
from bagwise.files import replacing

__all__ = ["SOURCES", "Source", "download"]


@dataclass(frozen=True)
class Source:
    """Where a set was published.

    Attributes
    ----------
    address
        Of an archive, ZIP or gzipped tar.
    member
        How the name of the file in it ends; it may be compressed by ``compress`` and end in ``.Z`` besides.
    sha256
        Of that file, unpacked; None where it is not known, and the counts alone are checked.
    """

    address: str
    member: str
    sha256: str | None


_UCI = "https://archive.ics.uci.edu/static/public"
_ANDREWS = "http://www.cs.columbia.edu/~andrews/mil/data/MIL-Data-2002-Musk-Corel-Trec9-MATLAB.tgz"

SOURCES = {
    "musk1": Source(
        f"{_UCI}/74/musk+version+1.zip",
        "clean1.data",
        "59e3be669d645a72b2de7e7baa21e7d4e537be918e4320e8dea6aadc9227f379",
    ),
    "musk2": Source(f"{_UCI}/75/musk+version+2.zip", "clean2.data", None),
    "fox": Source(
        _ANDREWS, "fox_100x100_matlab.mat", "9c550a12a4417f99eb81ad6fd16506ab1772a18dcb5fcb2e7a555a99f07c7ad2"
    ),
    "tiger": Source(
        _ANDREWS, "tiger_100x100_matlab.mat", "b37a443b25ed98089d86900db6dc3774ce4293e56c186337518e977ffff0b817"
    ),
    "elephant": Source(
        _ANDREWS, "elephant_100x100_matlab.mat", "b871820b5df11ef9050e0c0ec73e3d4d95b3e59b64bac237ec115548a5024a13"
    ),
}


def download(name: str, path: Path) -> None:
    """Download a set and keep it the way that `load_dataset` reads it.

    Parameters
    ----------
    name
        One of `SOURCES`.
    path
        The ``.npz`` file to write.

    Raises
    ------
    BagwiseError
        If the download fails, or what came is not the set; the sentence says how to get it by hand.
    """
    import pooch

    source = SOURCES[name]
    by_hand = f"download {source.address} by hand and unpack {source.member} into {path.parent}"
    unpacked = path.parent / source.member
    try:
        if unpacked.is_file():
            content = unpacked.read_bytes()
        else:
            with tempfile.TemporaryDirectory() as folder:
                pooch.get_logger().setLevel("WARNING")
                archive = pooch.retrieve(source.address, known_hash=None, path=folder, fname="archive")
                content = _member(Path(archive), source.member)
    except Exception as error:  # requests, urllib3, zipfile and tarfile each raise kinds of their own
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BagwiseError(f"{name} is not in {path.parent} and cannot be downloaded ({reason}): {by_hand}") from error
    if source.sha256 is not None and hashlib.sha256(content).hexdigest() != source.sha256:
        raise BagwiseError(f"{source.member} from {source.address} is not the file that was published: {by_hand}")
    try:
        arrays = _from_uci(content) if source.member.endswith(".data") else _from_matlab(content)
    except Exception as error:  # whatever a parser trips over in a file that is no data set
        raise BagwiseError(f"{source.member} from {source.address} cannot be read ({error}): {by_hand}") from error
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)


def _member(archive: Path, name: str) -> bytes:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            found = _ending(opened.namelist(), name)
            content = opened.read(found)
    else:
        with tarfile.open(archive) as opened_tar:
            found = _ending(opened_tar.getnames(), name)
            extracted = opened_tar.extractfile(found)
            if extracted is None:
                raise ValueError(f"{found} is no file")
            content = extracted.read()
    if found.endswith(".Z"):
        import unlzw3

        content = unlzw3.unlzw(content)
    return content


def _ending(members: list[str], name: str) -> str:
    for member in members:
        if Path(member).name in (name, f"{name}.Z"):
            return member
    raise ValueError(f"the archive holds no {name}")


def _from_uci(content: bytes) -> dict[str, Any]:
    """Read lines of: molecule, conformation, the features, class."""
    frame = pd.read_csv(io.BytesIO(content), header=None)
    bag, names = frame[0].factorize()
    order = np.argsort(bag, kind="stable")
    first = np.unique(bag, return_index=True)[1]
    return {
        "X": frame.iloc[order, 2:-1].to_numpy(dtype=np.float32),
        "bag": bag[order].astype(np.int32),
        "y": frame.iloc[first, -1].to_numpy().astype(np.int8),
        "bag_names": np.array(names, dtype=str),
        "instance_names": frame.iloc[order, 1].to_numpy(dtype=str),
    }


def _from_matlab(content: bytes) -> dict[str, Any]:
    """Read what Andrews published: a sparse matrix, and the bag and the label of each instance."""
    from scipy.io import loadmat

    file = loadmat(io.BytesIO(content))
    bag, labels = np.asarray(file["bag_ids"]).ravel(), file["labels"].toarray().ravel()
    ids, first, codes = np.unique(bag, return_index=True, return_inverse=True)
    rank = np.empty(len(ids), dtype=np.int32)
    rank[np.argsort(first)] = np.arange(len(ids))
    order = np.argsort(rank[codes], kind="stable")
    return {
        "X": file["features"].toarray()[order].astype(np.float64),
        "bag": rank[codes][order],
        "y": (labels[np.sort(first)] > 0).astype(np.int8),
    }
