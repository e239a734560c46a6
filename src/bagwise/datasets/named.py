"""The data sets that have a name: the paper's, but for the bags of digits, which are drawn."""

from dataclasses import dataclass
from pathlib import Path

from bagwise.bags import Bags
from bagwise.datasets.classical import read_classical
from bagwise.datasets.histology import breast_cancer, colon_cancer
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
    bags, positive, instances, shape
        Its counts, and the shape of an instance, which are checked whenever it is loaded.
    source
        Where it was published, and what to cite.
    place
        The file or folder that holds it.
    here
        Whether that is there.

    Examples
    --------
    >>> [known.name for known in list_datasets()]
    ['musk1', 'musk2', 'fox', 'tiger', 'elephant', 'colon_cancer', 'breast_cancer']
    """

    name: str
    title: str
    bags: int
    positive: int
    instances: int
    shape: tuple[int, ...]
    source: str
    place: str = ""
    here: bool = False


_UCI = "UCI Machine Learning Repository; Dietterich, Lathrop, Lozano-Perez 1997"
_COREL = "Andrews, Tsochantaridis, Hofmann 2003"
_KNOWN = (
    Dataset("musk1", "Which molecules smell of musk, by their shapes", 92, 47, 476, (166,), _UCI),
    Dataset("musk2", "The same with more molecules, and more shapes of each", 102, 39, 6598, (166,), _UCI),
    Dataset("fox", "Which photographs show a fox, by their regions", 200, 100, 1320, (230,), _COREL),
    Dataset("tiger", "Which photographs show a tiger, by their regions", 200, 100, 1220, (230,), _COREL),
    Dataset("elephant", "Which photographs show an elephant, by their regions", 200, 100, 1391, (230,), _COREL),
    Dataset(
        "colon_cancer",
        "Which pictures of bowel tissue show epithelial nuclei, by patches around nuclei",
        100,
        51,
        22_444,
        (27, 27, 3),
        "CRCHistoPhenotypes; Sirinukunwattana et al. 2016",
    ),
    Dataset(
        "breast_cancer",
        "Which pictures of breast tissue are malignant, by square patches",
        58,
        26,
        29_230,
        (32, 32, 3),
        "UCSB Bio-Segmentation Benchmark; Drelie Gelasca et al. 2008",
    ),
)
_PICTURES = {"colon_cancer": colon_cancer, "breast_cancer": breast_cancer}


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
        place = data_directory(directory) / known.name
        if known.name not in _PICTURES:
            place /= f"{known.name}.npz"
        listed.append(Dataset(**{**vars(known), "place": str(place), "here": place.exists()}))
    return listed


def load_dataset(name: str, directory: str | Path | None = None) -> Bags:
    """Load a data set by its name; a classical one that is not in the data directory is downloaded into it.

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
        If there is no such data set, it is not there and cannot be downloaded, or it is damaged or holds other counts
        than published.

    Examples
    --------
    >>> load_dataset("musk9")
    Traceback (most recent call last):
        ...
    bagwise.errors.BagwiseError: there is no data set 'musk9': choose musk1, ... or breast_cancer
    """
    dataset = next((known for known in list_datasets(directory) if known.name == name), None)
    if dataset is None:
        names = [known.name for known in _KNOWN]
        raise BagwiseError(f"there is no data set {name!r}: choose {', '.join(names[:-1])} or {names[-1]}")
    path = Path(dataset.place)
    if name in _PICTURES:
        bags = _PICTURES[name](path)
    else:
        if not path.exists():
            from bagwise.datasets.download import download

            download(name, path)
        bags = read_classical(path, name)
    assert bags.labels is not None
    counts = (len(bags), int(bags.labels.sum()), len(bags.instances), bags.instance_shape)
    published = (dataset.bags, dataset.positive, dataset.instances, dataset.shape)
    if counts != published:
        raise BagwiseError(
            f"{path} holds {counts} bags, positive bags, instances and their shape, where {name} has {published}:"
            " replace it"
        )
    return bags
