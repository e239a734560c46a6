import numpy as np
import pytest

from bagwise import BagwiseError
from bagwise.datasets import list_datasets, load_dataset

NAMES = [known.name for known in list_datasets() if not known.drawn]
DRAWN = [known.name for known in list_datasets() if known.drawn]


@pytest.mark.parametrize("name", NAMES)
def test_a_set_has_the_counts_that_were_published(published, data_directory, name):
    known = next(one for one in list_datasets(data_directory) if one.name == name)
    bags = published(name)
    assert known.here
    assert (len(bags), int(bags.labels.sum())) == (known.bags, known.positive)
    assert bags.instances.shape == (known.instances, *known.shape)


@pytest.mark.parametrize("name", DRAWN)
def test_a_drawn_set_has_the_counts_that_are_listed(data_directory, published, tmp_path, name):
    known = next(one for one in list_datasets(data_directory) if one.name == name)
    bags = published(name)
    assert (known.here, len(bags), bags.instance_shape) == (True, known.bags, known.shape)
    assert known.instances in {None, len(bags.instances)}
    assert known.positive in {None, int(bags.labels.sum())}
    nowhere = next(one for one in list_datasets(tmp_path) if one.name == name)
    assert nowhere.here == (known.place is None)


def test_digits_are_drawn_from_mnist_or_not_at_all(tmp_path):
    with pytest.raises(BagwiseError, match=r"mnist\.npz is missing"):
        load_dataset("four_bags", tmp_path)


def test_molecules_keep_their_names(data_directory):
    bags = load_dataset("musk1", data_directory)
    assert bags.names[0].startswith("MUSK-")
    assert len(set(bags.instance_names)) == len(bags.instances)


def stored(folder, **changes):
    arrays = {
        "X": np.zeros((476, 166)),
        "bag": np.sort(np.arange(476) % 92),
        "y": (np.arange(92) < 47).astype(np.int8),
    } | changes
    (folder / "musk1").mkdir()
    np.savez(folder / "musk1" / "musk1.npz", **arrays)


def test_a_set_without_names_gets_stable_ones(tmp_path):
    stored(tmp_path)
    assert load_dataset("musk1", tmp_path).names[[0, 91]].tolist() == ["musk1-001", "musk1-092"]


@pytest.mark.parametrize(
    "changes",
    [
        {"X": np.zeros((475, 166))},
        {"X": np.zeros((476, 165))},
        {"y": np.zeros(92, np.int8)},
        {"bag": np.sort(np.arange(476) % 91)},
        {"bag": np.arange(476) % 92},
    ],
)
def test_another_set_in_its_place_is_refused(tmp_path, changes):
    stored(tmp_path, **changes)
    with pytest.raises(BagwiseError, match=r"musk1\.npz (holds|has bags out of order|has instances without)"):
        load_dataset("musk1", tmp_path)


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04"])
def test_a_damaged_file_is_refused(tmp_path, content):
    (tmp_path / "fox").mkdir()
    (tmp_path / "fox" / "fox.npz").write_bytes(content)
    with pytest.raises(BagwiseError, match=r"fox\.npz is not fox"):
        load_dataset("fox", tmp_path)
