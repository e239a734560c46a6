"""The five classical sets that the paper's Table 1 is about."""

from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from bagwise.bags import Bags
from bagwise.datasets.download import download
from bagwise.datasets.store import data_directory
from bagwise.errors import BagwiseError

__all__ = ["Dataset", "list_datasets", "load_dataset"]


@dataclass(frozen=True)
class Dataset:
    """A data set that has a name.

    Attributes
    ----------
    name
        What commands call it.
    title
        What it is about.
    bags, positive, instances, features
        Its counts, which are checked whenever it is loaded.
    source
        Where it was published, and what to cite.
    place
        The file that holds it.
    here
        Whether that file is there.

    Examples
    --------
    >>> [known.name for known in list_datasets()]
    ['musk1', 'musk2', 'fox', 'tiger', 'elephant']
    """

    name: str
    title: str
    bags: int
    positive: int
    instances: int
    features: int
    source: str
    place: str = ""
    here: bool = False


_UCI = "UCI Machine Learning Repository; Dietterich, Lathrop, Lozano-Perez 1997"
_COREL = "Andrews, Tsochantaridis, Hofmann 2003"
_KNOWN = (
    Dataset("musk1", "Which molecules smell of musk, by their shapes", 92, 47, 476, 166, _UCI),
    Dataset("musk2", "The same with more molecules, and more shapes of each", 102, 39, 6598, 166, _UCI),
    Dataset("fox", "Which photographs show a fox, by their regions", 200, 100, 1320, 230, _COREL),
    Dataset("tiger", "Which photographs show a tiger, by their regions", 200, 100, 1220, 230, _COREL),
    Dataset("elephant", "Which photographs show an elephant, by their regions", 200, 100, 1391, 230, _COREL),
)


def list_datasets(directory: str | Path | None = None) -> list[Dataset]:
    """List the data sets that have a name.

    Parameters
    ----------
    directory
        The data directory, as `data_directory` understands it.

    Returns
    -------
    list of Dataset
        With `place` and `here` as they are in that directory.
    """
    listed = []
    for known in _KNOWN:
        place = data_directory(directory) / known.name / f"{known.name}.npz"
        listed.append(Dataset(**{**vars(known), "place": str(place), "here": place.is_file()}))
    return listed


def load_dataset(name: str, directory: str | Path | None = None) -> Bags:
    """Load a data set by its name; what is not in the data directory is downloaded into it.

    Parameters
    ----------
    name
        One of those that `list_datasets` lists.
    directory
        The data directory, as `data_directory` understands it.

    Returns
    -------
    Bags
        With labels 0 and 1.

    Raises
    ------
    BagwiseError
        If there is no such data set, it cannot be downloaded, or its file is damaged or holds other counts than
        published.

    Examples
    --------
    >>> load_dataset("musk9")
    Traceback (most recent call last):
        ...
    bagwise.errors.BagwiseError: there is no data set 'musk9': choose musk1, musk2, fox, tiger or elephant
    """
    dataset = next((known for known in list_datasets(directory) if known.name == name), None)
    if dataset is None:
        names = [known.name for known in _KNOWN]
        raise BagwiseError(f"there is no data set {name!r}: choose {', '.join(names[:-1])} or {names[-1]}")
    path = Path(dataset.place)
    if not path.exists():
        download(name, path)
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            X, bag, y = file["X"], file["bag"], file["y"]
            names_of_bags = file.get("bag_names")
            names_of_instances = file.get("instance_names")
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise BagwiseError(f"{path} is not {name} as Bagwise keeps it ({error}): replace it") from error
    counts = (len(y), int(np.sum(y)), *X.shape)
    published = (dataset.bags, dataset.positive, dataset.instances, dataset.features)
    if counts != published or bag.shape != X.shape[:1] or not np.array_equal(np.unique(bag), np.arange(len(y))):
        raise BagwiseError(
            f"{path} holds {counts} bags, positive bags, instances and features, where {name} has {published}: replace"
            " it"
        )
    if (np.diff(bag) < 0).any():
        raise BagwiseError(f"{path} has bags out of order: replace it")
    if names_of_bags is None:
        names_of_bags = [f"{name}-{number:03}" for number in range(1, len(y) + 1)]
    offsets = np.cumsum([0, *np.bincount(bag)])
    return Bags(
        X, offsets, y.astype(np.int64), np.array(names_of_bags, dtype=object), instance_names=names_of_instances
    )
