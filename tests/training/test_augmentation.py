import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import bagwise as bw
from bagwise import BagwiseError
from bagwise.methods.neural import fit_members
from bagwise.training import augmentation
from bagwise.training.augmentation import AUGMENTATIONS, affine


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def images(count=6, shape=(28, 28), seed=0):
    return torch.randint(0, 256, (count, *shape), generator=generator(seed), dtype=torch.uint8)


@pytest.mark.parametrize("shape", [(28, 28), (28, 28, 1), (32, 27, 3)])
@pytest.mark.parametrize("name", AUGMENTATIONS)
@settings(max_examples=20)
@given(seed=st.integers(0, 2**31))
def test_shape_and_range_stay_and_the_seed_decides(name, shape, seed):
    given_images = images(shape=shape, seed=seed)
    before = given_images.clone()
    changed = AUGMENTATIONS[name](given_images, generator(seed))
    assert changed.shape == given_images.shape
    assert changed.is_floating_point()
    # Interpolation in single precision may leave the range by a rounding error.
    assert given_images.min() - 1e-3 <= changed.min()
    assert changed.max() <= given_images.max() + 1e-3
    assert torch.equal(given_images, before)
    assert torch.equal(changed, AUGMENTATIONS[name](given_images, generator(seed)))
    assert not torch.equal(changed, AUGMENTATIONS[name](given_images, generator(seed + 1)))


def test_each_image_is_moved_by_amounts_of_its_own():
    one = images(1).expand(4, 28, 28)
    assert len({image.numpy().tobytes() for image in affine(one, generator())}) == 4


def test_an_image_is_changed_alike_whatever_comes_after_it():
    some = images(6)
    torch.testing.assert_close(affine(some, generator())[:3], affine(some[:3], generator()))


def test_channels_move_together():
    grey = images(3)
    colour = torch.stack([grey, 255 - grey, grey // 2], dim=-1)
    moved = affine(colour.float(), generator())
    torch.testing.assert_close(moved[..., 0], affine(grey, generator()))
    torch.testing.assert_close(moved[..., 1], 255 - moved[..., 0], atol=1e-3, rtol=0)


def test_without_amounts_images_stay(monkeypatch):
    for amount in ("_DEGREES", "_SCALE", "_SHEAR", "_SHIFT"):
        monkeypatch.setattr(augmentation, amount, 0.0)
    torch.testing.assert_close(affine(images(), generator()), images().float(), atol=1e-2, rtol=0)


@pytest.mark.parametrize(
    ("only", "moves"),
    [("_SHIFT", 0.07 * 28), ("_DEGREES", 9 * np.sin(np.radians(12))), ("_SCALE", 0.15 * 9), ("_SHEAR", 0.12 * 9)],
)
def test_nothing_moves_further_than_is_said(monkeypatch, only, moves):
    for amount in {"_DEGREES", "_SCALE", "_SHEAR", "_SHIFT"} - {only}:
        monkeypatch.setattr(augmentation, amount, 0.0)
    # A point of ink 9 pixels right of the middle; the centre of its mass says where it went.
    blank = torch.zeros(200, 29, 29)
    blank[:, 13:16, 22:25] = 1.0
    moved = affine(blank, generator()).double()
    rows = torch.arange(29).double()
    mass = moved.sum((1, 2))
    down = (moved.sum(2) * rows).sum(1) / mass - 14
    right = (moved.sum(1) * rows).sum(1) / mass - 23
    distances = torch.hypot(down, right)
    assert distances.max() < moves * np.sqrt(2) + 0.3
    if only != "_SHEAR":  # which moves what lies above and below the middle, and this point does not
        assert distances.max() > moves * 0.7


# ---- in training ------------------------------------------------------------------------------------------------


def digits(count=6):
    return bw.datasets.mnist_bags(count=count, test_count=1, mean_size=3, variance=1, source="small").train


def weights(model):
    return torch.cat([value.flatten() for value in model.model_.state_dict().values()])


def test_learning_from_augmented_images_is_reproducible_and_something_else():
    bags = digits()
    one, again = (bw.AttentionMIL(epochs=2, augmentation="affine", random_state=0).fit(bags) for _ in range(2))
    plain = bw.AttentionMIL(epochs=2, random_state=0).fit(bags)
    assert torch.equal(weights(one), weights(again))
    assert not torch.equal(weights(one), weights(plain))
    np.testing.assert_array_equal(one.predict_proba(bags), one.predict_proba(bags))  # prediction draws nothing


def test_a_member_is_augmented_alike_in_any_company():
    bags = digits(8)
    make = [bw.AttentionMIL(epochs=2, augmentation="affine", random_state=0) for _ in range(3)]
    alone = bw.AttentionMIL(epochs=2, augmentation="affine", random_state=0).fit(bags[2:6])
    together = fit_members(make, bags, [np.arange(4), np.arange(2, 6), np.arange(8)])
    assert torch.equal(weights(alone), weights(together[1]))


def test_every_epoch_sees_other_images(monkeypatch):
    seen = []

    def spy(images, generator):
        seen.append(affine(images, generator))
        return seen[-1]

    monkeypatch.setitem(AUGMENTATIONS, "affine", spy)
    bw.AttentionMIL(epochs=3, augmentation="affine", random_state=0).fit(digits(2))
    assert len(seen) == 6
    assert len({part.numpy().tobytes() for part in seen}) == 6


def test_a_stopped_training_goes_on_with_the_same_augmentation(tmp_path, monkeypatch):
    bags = digits()
    whole = bw.AttentionMIL(epochs=3, augmentation="affine", random_state=0).fit(bags)
    calls = 0

    def stopping(images, generator):
        nonlocal calls
        calls += 1
        if calls > 8:
            raise KeyboardInterrupt
        return affine(images, generator)

    model = bw.AttentionMIL(epochs=3, augmentation="affine", random_state=0)
    with monkeypatch.context() as patch:
        patch.setitem(AUGMENTATIONS, "affine", stopping)
        with pytest.raises(KeyboardInterrupt):
            model.fit(bags, checkpoints=tmp_path)
    resumed = model.fit(bags, checkpoints=tmp_path)
    assert torch.equal(weights(whole), weights(resumed))


def test_a_saved_model_remembers_it(tmp_path):
    model = bw.AttentionMIL(epochs=1, augmentation="affine", random_state=0).fit(digits())
    bw.save_model(model, tmp_path / "run")
    assert bw.load_model(tmp_path / "run").augmentation == "affine"


def test_what_cannot_be_augmented_is_refused(make_bags):
    with pytest.raises(BagwiseError, match="augmentation is 'affine' and the instances have shape .* leave it None"):
        bw.AttentionMIL(augmentation="affine").fit(make_bags())
    with pytest.raises(BagwiseError, match="augmentation is 'stain': it must be one of None, affine"):
        bw.AttentionMIL(augmentation="stain").fit(digits())
