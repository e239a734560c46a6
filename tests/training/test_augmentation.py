import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.color import hed2rgb

import bagwise as bw
from bagwise import BagwiseError
from bagwise.methods.joint import fit_members
from bagwise.models.encoders import CentreCrop
from bagwise.training import augmentation
from bagwise.training.augmentation import AUGMENTATIONS, affine, tissue


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def images(count=6, shape=(28, 28), seed=0):
    return torch.randint(0, 256, (count, *shape), generator=generator(seed), dtype=torch.uint8)


CASES = [("affine", (28, 28)), ("affine", (28, 28, 1)), ("affine", (32, 27, 3)), ("tissue", (32, 32, 3))]
CASES += [("tissue", (32, 27, 3))]


@pytest.mark.parametrize(("name", "shape"), CASES)
@settings(max_examples=20)
@given(seed=st.integers(0, 2**31), side=st.sampled_from([None, 27, 20]))
def test_shape_and_range_stay_and_the_seed_decides(name, shape, seed, side):
    given_images = images(shape=shape, seed=seed)
    before = given_images.clone()
    changed = AUGMENTATIONS[name](given_images, generator(seed), side)
    assert changed.shape == (6, *(shape[:2] if side is None else (side, side)), *shape[2:])
    assert changed.is_floating_point()
    # Interpolation in single precision may leave the range by a rounding error.
    assert changed.min() >= -1e-3
    assert changed.max() <= 255 + 1e-3
    assert torch.equal(given_images, before)
    assert torch.equal(changed, AUGMENTATIONS[name](given_images, generator(seed), side))
    assert not torch.equal(changed, AUGMENTATIONS[name](given_images, generator(seed + 1), side))


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


def test_a_crop_has_real_surroundings(monkeypatch):
    """What moves in from outside of the crop is what was there, and without movement the middle stays."""
    for amount in ("_DEGREES", "_SCALE", "_SHEAR", "_SHIFT"):
        monkeypatch.setattr(augmentation, amount, 0.0)
    wide = images(shape=(45, 41, 3))
    found = affine(wide, generator(), 27)
    torch.testing.assert_close(found, CentreCrop(27)(wide).float(), atol=1e-2, rtol=0)


# ---- tissue -----------------------------------------------------------------------------------------------------


@pytest.fixture
def without(monkeypatch):
    def switch_off(*amounts):
        for amount in amounts:
            monkeypatch.setattr(augmentation, amount, 0.0)

    return switch_off


def ways_of(square):
    """All that a square can be turned and mirrored into."""
    return [torch.rot90(part, quarters, dims=(0, 1)) for part in (square, square.flip(1)) for quarters in range(4)]


def test_patches_are_turned_and_mirrored_in_all_eight_ways(without):
    without("_STRENGTH")
    patch = images(1, (9, 9, 3)).clamp(min=1)
    found = tissue(patch.expand(400, 9, 9, 3), generator()).round()
    ways = [way.float() for way in ways_of(patch[0])]
    counts = [sum(bool(torch.equal(one, way)) for one in found) for way in ways]
    assert sum(counts) == 400
    assert min(counts) > 25


@pytest.mark.parametrize("width", [8, 11])
def test_every_patch_is_turned_as_its_own_draw_says(without, width):
    without("_STRENGTH")
    patches = images(40, (8, width, 3)).clamp(min=1)
    drawing = generator()
    torch.randn(40, 2, generator=drawing)
    turned = []
    for patch, way in zip(patches.numpy(), torch.randint(8, (40,), generator=drawing).tolist(), strict=True):
        one = np.rot90(patch, way if width == 8 else 2 * way)
        turned.append(one[:, ::-1] if way >= 4 else one)
    np.testing.assert_array_equal(tissue(patches, generator()).round().numpy(), np.stack(turned))


def test_patches_that_are_not_square_keep_their_shape(without):
    without("_STRENGTH")
    patch = images(1, (5, 8, 3)).clamp(min=1)
    found = tissue(patch.expand(100, 5, 8, 3), generator()).round()
    ways = [way.float() for way in ways_of(patch[0])[::2]]
    assert all(any(torch.equal(one, way) for way in ways) for one in found)
    assert all(any(torch.equal(one, way) for one in found) for way in ways)


def test_patches_are_cut_near_the_middle_each_at_a_place_of_its_own(without, monkeypatch):
    without("_STRENGTH")
    monkeypatch.setattr(torch, "rot90", lambda part, *_, **__: part)
    monkeypatch.setattr(torch.Tensor, "flip", lambda part, _: part)
    places = torch.stack(torch.meshgrid(torch.arange(45), torch.arange(45), indexing="ij"), dim=-1) + 1
    wide = torch.cat([places, places[..., :1]], dim=-1).to(torch.uint8).expand(3000, 45, 45, 3)
    corners = tissue(wide, generator(), 27)[:, 0, 0, :2].round() - 1
    moved = corners - 9
    assert moved.abs().max() <= 9
    assert moved.mean(0).abs().max() < 0.25
    assert moved.std(0).tolist() == pytest.approx([3, 3], rel=0.1)
    # A margin of 2 pixels can give no more.
    little = tissue(wide[:, 7:-7, 7:-7], generator(), 27)[:, 0, 0, :2].round() - 8
    assert (little.min().item(), little.max().item()) == (0, 4)


def test_strengths_are_those_of_colour_deconvolution(monkeypatch):
    """Against scikit-image: stains times their factors, put together again."""
    monkeypatch.setattr(augmentation, "_STRENGTH", 0.3)
    monkeypatch.setattr(torch, "rot90", lambda part, *_, **__: part)
    monkeypatch.setattr(torch.Tensor, "flip", lambda part, _: part)
    stains = np.random.default_rng(0).uniform(0, 0.05, (5, 9, 9, 3))
    patches = torch.from_numpy((hed2rgb(stains) * 255).round().astype(np.uint8))
    draws = generator(3)
    torch.randn(5, 2, generator=draws), torch.randint(8, (5,), generator=draws)
    strengths = (1 + 0.3 * torch.randn(2, generator=draws)).numpy()
    expected = hed2rgb(stains * [*strengths, 1.0]) * 255
    np.testing.assert_allclose(tissue(patches, generator(3)).numpy(), expected, atol=2.5)


def test_a_stain_changes_little_and_all_patches_alike():
    grey = torch.full((300, 3, 3, 3), 150, dtype=torch.uint8)
    found = [tissue(grey[:4], generator(seed)) for seed in range(50)]
    assert all(torch.equal(one, one[:1].expand_as(one)) for one in found)
    spread = torch.stack([one[0, 0, 0] for one in found]).std(0)
    assert (spread > 0.2).all()
    assert (spread < 5).all()


def test_tissue_wants_colours_of_eight_bits(make_bags):
    for wrong in ({"shape": (32, 32)}, {"shape": (32, 32, 3)}):
        with pytest.raises(BagwiseError, match="it takes colour images of 8 bits a channel"):
            bw.AttentionMIL(augmentation="tissue").fit(make_bags(**wrong))


def colour_bags(side=33):
    arrays = [images(2 + n % 2, (side, side, 3), seed=n).numpy() for n in range(6)]
    return bw.Bags.from_arrays(arrays, labels=[n % 2 for n in range(6)])


def test_a_model_is_shown_the_crop(tmp_path):
    bags = colour_bags()
    model = bw.AttentionMIL(epochs=1, crop=27, augmentation="tissue", random_state=0).fit(bags)
    middle = bw.Bags(bags.instances[:, 3:-3, 3:-3], bags.offsets, bags.labels)
    expected = model.predict_proba(bags)
    model.model_.encoder[0].side = 27
    inner = model.model_.encoder[1]
    with torch.no_grad():
        embeddings = inner(model.model_.scaler(torch.from_numpy(middle.instances)))
        logits = model.model_.aggregate(embeddings, torch.from_numpy(bags.offsets)).logits[0, :, 0]
    np.testing.assert_allclose(logits.sigmoid().numpy(), expected[:, 1], rtol=1e-5)
    bw.save_model(model, tmp_path / "run")
    np.testing.assert_array_equal(bw.load_model(tmp_path / "run").predict_proba(bags), expected)


@pytest.mark.parametrize("crop", [0, 34, 2.5, "all"])
def test_a_crop_that_does_not_fit_is_refused(crop):
    with pytest.raises(BagwiseError, match="crop is .* it must be a whole number (from|of pixels)"):
        bw.AttentionMIL(epochs=1, crop=crop).fit(colour_bags())


def test_vectors_cannot_be_cropped(make_bags):
    with pytest.raises(BagwiseError, match="crop is 2 and the instances have shape"):
        bw.AttentionMIL(crop=2).fit(make_bags())


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

    def spy(images, generator, side):
        seen.append(affine(images, generator, side))
        return seen[-1]

    monkeypatch.setitem(AUGMENTATIONS, "affine", spy)
    bw.AttentionMIL(epochs=3, augmentation="affine", random_state=0).fit(digits(2))
    assert len(seen) == 6
    assert len({part.numpy().tobytes() for part in seen}) == 6


def test_a_stopped_training_goes_on_with_the_same_augmentation(tmp_path, monkeypatch):
    bags = digits()
    whole = bw.AttentionMIL(epochs=3, augmentation="affine", random_state=0).fit(bags)
    calls = 0

    def stopping(images, generator, side):
        nonlocal calls
        calls += 1
        if calls > 8:
            raise KeyboardInterrupt
        return affine(images, generator, side)

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
    with pytest.raises(BagwiseError, match="augmentation is 'stain': it must be 'affine', 'tissue', or None"):
        bw.AttentionMIL(augmentation="stain").fit(digits())
