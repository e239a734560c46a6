"""The data sets that have a name: those that were published, and one draw each of those that are drawn."""

from dataclasses import dataclass, replace
from pathlib import Path

from bagwise.bags import Bags
from bagwise.datasets.classical import read_classical
from bagwise.datasets.digits import mnist_file
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
        Its counts, and the shape of an instance, which are checked whenever it is loaded. None: whatever is drawn.
    source
        Where it was published, and what to cite.
    drawn
        Whether it is drawn here, always with seed 0; other draws, and fresh bags, come from the function that draws it.
    place
        The file or folder that holds it, or the images that it is drawn from; None where it is drawn from nothing.
    here
        Whether that is there.

    Examples
    --------
    >>> [known.name for known in list_datasets() if not known.drawn]
    ['musk1', 'musk2', 'fox', 'tiger', 'elephant', 'colon_cancer', 'breast_cancer']
    >>> [known.name for known in list_datasets() if known.drawn][:4]
    ['mnist_bags', 'four_bags', 'pos_neg', 'adjacent_pairs']
    """

    name: str
    title: str
    bags: int
    positive: int | None
    instances: int | None
    shape: tuple[int, ...]
    source: str
    drawn: bool = False
    place: str | None = None
    here: bool = False


_UCI = "UCI Machine Learning Repository; Dietterich, Lathrop, Lozano-Perez 1997"
_COREL = "Andrews, Tsochantaridis, Hofmann 2003"
_XMIL = "xMIL; Hense et al. 2024"
_SHIFTED = "Harvey, Loevlie, Hughes 2025"
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
    Dataset("mnist_bags", "Which bags of digits hold a nine", 200, 100, None, (28, 28), "Ilse et al. 2018", drawn=True),
    Dataset("four_bags", "Which of two key digits a bag holds", 1000, None, 30_000, (128,), _XMIL, drawn=True),
    Dataset("pos_neg", "Whether 4, 6 and 8 outnumber 5, 7 and 9", 1000, None, 30_000, (128,), _XMIL, drawn=True),
    Dataset("adjacent_pairs", "Whether two consecutive digits meet", 1000, None, 30_000, (128,), _XMIL, drawn=True),
    Dataset("side_by_side", "Whether the 8 touches the 9 on a grid", 1000, 500, 30_000, (128,), "Bagwise", drawn=True),
    Dataset("four_digits", "Which of four key digits a bag holds", 500, None, None, (128,), "Bagwise", drawn=True),
    Dataset("shifted_mean", "Where three neighbours are shifted", 1000, 500, 30_000, (20,), _SHIFTED, drawn=True),
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
    return [_in(data_directory(directory), known) for known in _KNOWN]


def load_dataset(name: str, directory: str | Path | None = None) -> Bags:
    """Load a data set by its name; a classical one that is not in the data directory is downloaded into it.

    One that is drawn is drawn with seed 0, from the training images where it is of digits: `mnist_bags`,
    `known_answer_bags` and `shifted_mean_bags` draw others, and fresh ones to test on.

    Parameters
    ----------
    name
        One of those that `list_datasets` lists.
    directory
        The data directory, as `data_directory` understands it.

    Returns
    -------
    Bags
        With labels 0 and 1; ``four_bags`` and ``four_digits`` have classes 0 to 3.

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
    bagwise.errors.BagwiseError: there is no data set 'musk9': choose musk1, ... or shifted_mean
    """
    dataset = next((known for known in list_datasets(directory) if known.name == name), None)
    if dataset is None:
        names = [known.name for known in _KNOWN]
        raise BagwiseError(f"there is no data set {name!r}: choose {', '.join(names[:-1])} or {names[-1]}")
    if dataset.drawn:
        return _draw(dataset, directory)
    assert dataset.place is not None
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


def _in(directory: Path, known: Dataset) -> Dataset:
    """Say where a data set is in a data directory."""
    if known.name == "shifted_mean":
        return replace(known, here=True)
    if known.drawn:
        place = mnist_file(directory)
    else:
        place = directory / known.name
        if known.name not in _PICTURES:
            place /= f"{known.name}.npz"
    return replace(known, place=str(place), here=place.exists())


def _draw(dataset: Dataset, directory: str | Path | None) -> Bags:
    if dataset.name == "mnist_bags":
        from bagwise.datasets.generator import mnist_bags

        return mnist_bags(count=dataset.bags, test_count=1, directory=directory).train
    from bagwise.datasets.known_answers import known_answer_bags

    return known_answer_bags(dataset.name, dataset.bags, directory=directory)
