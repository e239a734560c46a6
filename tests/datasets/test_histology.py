import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import bagwise as bw
from bagwise import BagwiseError
from bagwise.datasets import colon_cancer, load_dataset


@pytest.fixture(scope="module")
def colon(published):
    return published("colon_cancer")


def test_nuclei_lie_in_the_middle_of_their_patches(colon, data_directory):
    nuclei = pd.read_csv(data_directory / "colon_cancer" / "nuclei.csv")
    for number in (1, 42, 76, 100):
        image = np.array(Image.open(data_directory / "colon_cancer" / "images" / f"img{number}.png"))
        rows = nuclei[nuclei["image"] == number]
        bag = next(bag for bag in colon if bag.name == f"img{number}")
        assert bag.instance_labels.tolist() == rows["class"].tolist()
        assert bag.label == int((rows["class"] == "epithelial").any())
        x, y = np.clip(np.round(rows[["x", "y"]].to_numpy() - 1), 0, 499).astype(int).T
        np.testing.assert_array_equal(bag.instances[:, 13, 13], image[y, x])
        np.testing.assert_array_equal(bag.coordinates, np.stack([x - 13, y - 13], axis=1))
    assert [bag.name for bag in colon] == [f"img{number}" for number in range(1, 101)]
    assert (colon.sizes.min(), colon.sizes.max()) == (1, 796)


def test_nuclei_are_darker_than_what_is_around_them(colon):
    """A mistaken origin, or x and y confused, would put them beside their patch's middle."""
    grey = colon.instances[::10].mean(axis=3)
    assert grey[:, 11:16, 11:16].mean() < grey[:, :5].mean() - 20


def test_a_margin_adds_pixels_around_the_same_patches(small_colon):
    nuclei = pd.read_csv(small_colon / "nuclei.csv")
    nuclei.loc[nuclei.groupby("image").head(2).index, ["x", "y"]] = [1.0, 500.0]  # in a corner
    nuclei.to_csv(small_colon / "nuclei.csv", index=False)
    colon, wide = colon_cancer(small_colon), colon_cancer(small_colon, margin=4)
    assert wide.instance_shape == (35, 35, 3)
    np.testing.assert_array_equal(wide.instances[:, 4:-4, 4:-4], colon.instances)
    np.testing.assert_array_equal(wide.coordinates, colon.coordinates - 4)
    np.testing.assert_array_equal(wide.labels, colon.labels)


def test_breast_images_keep_their_tissue_blocks(published):
    bags = published("breast_cancer")
    assert all(name.startswith(group) for name, group in zip(bags.names, bags.groups, strict=True))
    assert (bags.coordinates % 32 == 0).all()
    assert all(("malignant" in bag.name) == (bag.label == 1) for bag in bags)


@pytest.fixture
def small_colon(data_directory, tmp_path):
    """Ten small bags of the colon set, five of them positive."""
    source = data_directory / "colon_cancer"
    nuclei = pd.read_csv(source / "nuclei.csv")
    chosen = [5, 6, 7, 8, 9, 1, 2, 3, 4, 11]
    rows = nuclei[nuclei["image"].isin(chosen)].groupby("image", group_keys=False).head(12)
    (tmp_path / "images").mkdir()
    for number in chosen:
        shutil.copy(source / "images" / f"img{number}.png", tmp_path / "images")
    rows.to_csv(tmp_path / "nuclei.csv", index=False)
    return tmp_path


def test_the_kinds_of_nuclei_are_never_learnt_from(small_colon):
    bags = colon_cancer(small_colon)
    labels = np.arange(len(bags)) % 2
    table = pd.read_csv(small_colon / "nuclei.csv")
    table["class"] = np.random.default_rng(0).permutation(table["class"])
    table.to_csv(small_colon / "nuclei.csv", index=False)
    other = colon_cancer(small_colon)
    assert (bags.instance_labels != other.instance_labels).any()
    models = [bw.AttentionMIL(epochs=2, random_state=0).fit(given.with_labels(labels)) for given in (bags, other)]
    one, same = (model.model_.state_dict() for model in models)
    assert all(bool((one[name] == same[name]).all()) for name in one)


def test_what_is_missing_or_damaged_is_said(small_colon, tmp_path):
    with pytest.raises(BagwiseError, match=r"nuclei\.csv: there is no such file"):
        load_dataset("colon_cancer", tmp_path / "nowhere")
    with pytest.raises(BagwiseError, match=r"labels\.csv: there is no such file"):
        load_dataset("breast_cancer", tmp_path / "nowhere")
    nuclei = pd.read_csv(small_colon / "nuclei.csv")
    nuclei.drop(columns="class").to_csv(small_colon / "nuclei.csv", index=False)
    with pytest.raises(BagwiseError, match="has no column 'class'"):
        colon_cancer(small_colon)
    nuclei[nuclei["image"] != 5].to_csv(small_colon / "nuclei.csv", index=False)
    with pytest.raises(BagwiseError, match="no point lies in bag 'img5'"):
        colon_cancer(small_colon)
    nuclei.to_csv(small_colon / "nuclei.csv", index=False)
    place = small_colon.rename(small_colon.with_name("colon_cancer"))
    with pytest.raises(BagwiseError, match=r"holds \(10, 5, 120, \(27, 27, 3\)\) bags"):
        load_dataset("colon_cancer", place.parent)
