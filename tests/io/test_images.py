import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import bagwise as bw
from bagwise import BagwiseError
from bagwise.io.image_files import read_image
from bagwise.io.images import Grid, Points, around_points, cut_patches, read_images


def picture(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def mirrored(place, size):
    """Where a place beyond the edge is in the image, the edge itself not repeated."""
    if size == 1:
        return 0
    place %= 2 * (size - 1)
    return place if place < size else 2 * (size - 1) - place


def by_plain_loop(image, corners, side):
    height, width, _ = image.shape
    patches = np.zeros((len(corners), side, side, 3), np.uint8)
    for number, (x, y) in enumerate(corners):
        for row in range(side):
            for column in range(side):
                patches[number, row, column] = image[mirrored(y + row, height), mirrored(x + column, width)]
    return patches


def save(folder, name, image, **options):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, **options)
    return path


# ---- cutting ----------------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(st.data())
def test_patches_are_those_of_a_plain_loop(data):
    height, width, side = (data.draw(st.integers(1, most)) for most in (12, 12, 6))
    image = picture(height, width, data.draw(st.integers(0, 99)))
    place = st.tuples(st.integers(-8, width + 3), st.integers(-8, height + 3))
    corners = data.draw(st.lists(place, max_size=6))
    found = cut_patches(image, np.array(corners).reshape(-1, 2), side)
    assert (found.dtype, found.flags.c_contiguous) == (np.uint8, True)
    np.testing.assert_array_equal(found, by_plain_loop(image, corners, side))


@settings(max_examples=60)
@given(st.data())
def test_a_grid_leaves_out_what_is_mostly_white(data):
    side, rows, columns = (data.draw(st.integers(1, 4)) for _ in range(3))
    image = picture(rows * side + data.draw(st.integers(0, side - 1)), columns * side, data.draw(st.integers(0, 99)))
    image[np.random.default_rng(0).random(image.shape[:2]) < data.draw(st.sampled_from([0, 0.5, 0.8, 1]))] = 240
    share = data.draw(st.sampled_from([0.25, 0.75, 1.0, 1.1]))
    expected = []
    for row in range(rows):
        for column in range(columns):
            patch = image[row * side : (row + 1) * side, column * side : (column + 1) * side].astype(float)
            if (patch.mean(axis=2) >= 0.9 * 255).mean() < share:
                expected.append([column * side, row * side])
    assert Grid(side, most_white=share).corners(image).tolist() == expected


@pytest.mark.parametrize(("value", "white"), [(230, True), (229, False)])
def test_white_begins_at_nine_tenths_of_the_brightest(value, white):
    image = np.full((4, 4, 3), value, np.uint8)  # 0.9 * 255 = 229.5
    assert len(Grid(4).corners(image)) == (0 if white else 1)


def test_points_are_rounded_and_may_lie_on_the_edge():
    corners = around_points(np.array([[0.15, 500.0], [250.4, 250.6], [1.0, 1.0]]), 27, 1, (500, 500))
    assert (corners + 13).tolist() == [[0, 499], [249, 250], [0, 0]]


def test_a_point_outside_is_refused():
    with pytest.raises(BagwiseError, match="point 2 is at x 12, y 3, outside of the image of 10 x 20 pixels"):
        around_points(np.array([[3.0, 3.0], [12.0, 3.0]]), 3, 0, (20, 10, 3))


# ---- folders ----------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    for number in range(4):
        image = picture(20, 30, number)
        image[:10, :10] = 255
        save(tmp_path / "images", f"scan {number}.png", image)
    (tmp_path / "labels.csv").write_text(
        "bag,label,block\n" + "".join(f"scan {n},{n % 2},b{n // 2}\n" for n in range(4))
    )
    return tmp_path


def test_a_folder_of_images_becomes_bags_of_patches(folder):
    bags = read_images(folder / "images", folder / "labels.csv", Grid(10), group="block")
    assert bags.names.tolist() == [f"scan {n}" for n in range(4)]
    assert bags.labels.tolist() == [0, 1, 0, 1]
    assert bags.groups.tolist() == ["b0", "b0", "b1", "b1"]
    assert bags.sizes.tolist() == [5] * 4
    assert (bags.instance_shape, bags.instances.dtype) == ((10, 10, 3), np.uint8)
    assert bags[0].coordinates.tolist() == [[10, 0], [20, 0], [0, 10], [10, 10], [20, 10]]
    for position, bag in enumerate(bags):
        image = read_image(folder / "images" / f"scan {position}.png")
        for patch, (x, y) in zip(bag.instances, bag.coordinates, strict=True):
            np.testing.assert_array_equal(patch, image[y : y + 10, x : x + 10])


def test_points_bring_their_classes(folder):
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "bag": rng.choice([f"scan {n}" for n in range(4)], 40),
            "x": rng.uniform(0, 29, 40),
            "y": rng.uniform(0, 19, 40),
            "class": rng.choice(["epithelial", "other"], 40),
        }
    )
    bags = read_images(folder / "images", folder / "labels.csv", Points(table, side=5))
    assert len(bags.instances) == 40
    for bag in bags:
        rows = table[table["bag"] == bag.name]
        assert bag.instance_labels.tolist() == rows["class"].tolist()
        middles = np.round(rows[["x", "y"]].to_numpy()).astype(int)
        assert (bag.coordinates + 2).tolist() == middles.tolist()
        image = read_image(folder / "images" / f"{bag.name}.png")
        for patch, (x, y) in zip(bag.instances, middles, strict=True):
            np.testing.assert_array_equal(patch[2, 2], image[y, x])


@pytest.mark.filterwarnings("ignore:.*left out")
def test_several_images_make_one_bag(folder):
    (folder / "patients.csv").write_text("bag,label,file\np,1,scan 0.png\np,1,scan 1.png\nq,0,scan 2.png\n")
    bags = read_images(folder / "images", folder / "patients.csv", Grid(10))
    assert bags.sizes.tolist() == [10, 5]
    parts = read_images(folder / "images", folder / "labels.csv", Grid(10))
    np.testing.assert_array_equal(bags[0].instances, np.concatenate([parts[0].instances, parts[1].instances]))


def test_a_model_learns_the_same_from_files_as_from_memory(folder):
    bags = read_images(folder / "images", folder / "labels.csv", Grid(11, most_white=2))
    held = bw.Bags(bags.instances[:], bags.offsets, bags.labels, bags.names)
    one, other = (bw.AttentionMIL(epochs=2, random_state=0).fit(given) for given in (bags, held))
    np.testing.assert_array_equal(one.predict_proba(bags), other.predict_proba(held))


def test_what_images_do_not_give_is_said(folder):
    images, table = folder / "images", pd.DataFrame({"bag": ["scan 0"], "x": [3.0], "y": [3.0]})
    for patches, message in [
        (Grid(31), "scan 0.png has no patch of 31 x 31 pixels that is not mostly white"),
        (Grid(0), "the side of a patch is 0"),
        (Points(table), "no point lies in bag 'scan 1'"),
        (Points(table, side=4), "around points it must be odd"),
        (Points(table.drop(columns="y")), "has no column 'y', only bag, x"),
        (Points(table.assign(x="left")), "row 1 of the table of points has no number in x or y"),
        (Points(table.assign(x=99.0)), "of bag 'scan 0', point 1 is at x 99, y 3, outside of the image of 30 x 20"),
    ]:
        with pytest.raises(BagwiseError, match=message):
            read_images(images, folder / "labels.csv", patches)
    (folder / "nothing").mkdir()
    with pytest.raises(BagwiseError, match="holds no images: their names end in one of .png"):
        read_images(folder / "nothing")
    (folder / "labels.csv").write_text("bag,label\nscan 9,1\n")
    with pytest.raises(BagwiseError, match="bag 'scan 9' in row 2 has no image in"):
        read_images(images, folder / "labels.csv")


# ---- the paper's sets -------------------------------------------------------------------------------------------


def test_the_breast_images_have_as_many_patches_as_their_page_says(data_directory):
    place = data_directory / "breast_cancer"
    bags = read_images(place / "images", place / "labels.csv", bag="image", group="tma_block")
    assert (len(bags), len(bags.instances)) == (58, 29_230)
    assert (bags.sizes.min(), bags.sizes.max()) == (273, 653)
    assert (int(bags.labels.sum()), len(np.unique(bags.groups))) == (26, 10)
