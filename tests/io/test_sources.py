import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import bagwise as bw
from bagwise.commands.data import in_memory_if_small
from bagwise.io.folders import read_folder
from bagwise.io.images import read_images
from bagwise.io.sources import distinct_names, path_within

parts = st.sampled_from(["s", "t", "s.h5", "s.pt", "s.h5.pt", ".s", "s."])
paths = st.lists(st.lists(parts, min_size=1, max_size=3).map("/".join), unique=True, max_size=8)


@given(paths)
def test_every_file_has_a_name_of_its_own(files):
    names = distinct_names(files)
    assert len(set(names)) == len(files)
    assert all(name in file for name, file in zip(names, files, strict=True))


@pytest.fixture
def folder(tmp_path):
    """Two patients, the first with two slides of one name in two folders."""
    sizes = {"a/s.h5": 3, "b/s.h5": 2, "t.h5": 4}
    for number, (name, size) in enumerate(sizes.items()):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        with h5py.File(tmp_path / name, "w") as file:
            file["features"] = np.full((size, 2), number, np.float32)
            file["coords"] = np.stack([np.arange(size) * 256, np.full(size, 256 * number)], axis=1)
    (tmp_path / "labels.csv").write_text("bag,label,file\nP1,1,b/s.h5\nP2,0,t.h5\nP1,1,a/../a/s.h5\n")
    return tmp_path


def test_each_instance_knows_its_file_whatever_is_done_with_its_bag(folder):
    bags = read_folder(folder, folder / "labels.csv", coordinates=True)
    expected = ["b/s.h5"] * 2 + ["a/s.h5"] * 3
    assert bags.sources.tolist() == [*expected, *["t.h5"] * 4]
    assert bags[0].sources.tolist() == expected
    assert bags[[1, 0]].sources.tolist() == [*["t.h5"] * 4, *expected]
    assert bags[1:].with_labels(None).sources.tolist() == ["t.h5"] * 4
    held = in_memory_if_small(bags)
    assert held[[1, 0]].sources.tolist() == bags[[1, 0]].sources.tolist()
    for name, row in zip(held.sources, held.instances, strict=True):
        assert row[0] == ["a/s.h5", "b/s.h5", "t.h5"].index(name)
    assert bw.Bags.concat([bags, bags[:1].with_labels([1])]).sources.tolist()[-5:] == expected
    assert (
        bw.Bags.concat(
            [bags, bw.Bags.from_arrays([np.zeros((1, 2), np.float32)], [1], coordinates=[[[0, 0]]], names=["P3"])]
        ).sources
        is None
    )


def test_images_know_their_files_and_links_are_names_in_the_folder(tmp_path):
    (tmp_path / "images" / "x").mkdir(parents=True)
    for name in ("x/one.png", "two.png"):
        Image.new("RGB", (64, 32), "purple").save(tmp_path / "images" / name)
    (tmp_path / "link").symlink_to(tmp_path / "images")
    for folder in ("images", "link"):
        assert read_images(tmp_path / folder).sources.tolist() == ["two.png"] * 2 + ["x/one.png"] * 2
    assert path_within(tmp_path / "link", (tmp_path / "images" / "two.png").resolve()) == "two.png"


def test_sources_that_do_not_fit_are_refused():
    with pytest.raises(bw.BagwiseError, match="sources"):
        bw.Bags(np.zeros((3, 1)), [0, 3], sources=["a"])
