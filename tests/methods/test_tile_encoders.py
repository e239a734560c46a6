import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import bagwise as bw
from bagwise.methods.tile_encoders import encoder_of_model, encoder_of_timm


def patches(count=8, shape=(16, 16, 3), seed=0):
    rng = np.random.default_rng(seed)
    arrays = [rng.integers(0, 256, (3, *shape), dtype=np.uint8) for _ in range(count)]
    return bw.Bags.from_arrays(arrays, [number % 2 for number in range(count)])


@pytest.mark.parametrize("parameters", [{}, {"crop": 12}], ids=str)
def test_tiles_are_encoded_as_patches_are(parameters):
    bags = patches()
    model = bw.AttentionMIL(epochs=1, random_state=0, **parameters).fit(bags)
    encoder = encoder_of_model(model, "cpu")
    assert (encoder.side, encoder.fixed) == (16, True)
    embeddings = encoder(bags.instances)
    assert embeddings.dtype == np.float32
    with torch.inference_mode():
        pooled = model.model_.aggregate(torch.from_numpy(embeddings), torch.from_numpy(bags.offsets))
    # What follows the encoder says of them what the model says of the patches.
    np.testing.assert_allclose(pooled.weights.numpy(), model.attention(bags), rtol=1e-5)
    np.testing.assert_allclose(pooled.logits[0, :, 0].numpy(), model.decision_function(bags), rtol=1e-4, atol=1e-6)


def test_the_digest_is_of_the_weights():
    one, same, other = (bw.AttentionMIL(epochs=1, random_state=seed).fit(patches()) for seed in (0, 0, 1))
    assert encoder_of_model(one).digest == encoder_of_model(same).digest != encoder_of_model(other).digest


@pytest.mark.parametrize("shape", [(5,), (28, 28), (12, 16, 3)])
def test_other_instances_than_square_colour_patches_are_refused(shape):
    model = bw.AttentionMIL(epochs=1, random_state=0).fit(patches(shape=shape))
    with pytest.raises(bw.BagwiseError, match=r"learnt from instances of shape .* fit one on a folder of"):
        encoder_of_model(model)


def test_a_model_of_scaled_images_is_refused():
    bags = patches()
    scaled = bw.Bags(bags.instances.astype(np.float32) / 255, bags.offsets, labels=bags.labels)
    with pytest.raises(bw.BagwiseError, match="not of 8 bits"):
        encoder_of_model(bw.AttentionMIL(epochs=1, random_state=0).fit(scaled))


# ---- timm, which needs more than is installed here: what is called of it is made here --------------------------------


class Network(torch.nn.Module):
    def __init__(self, fixed, gives=None):
        super().__init__()
        self.layer = torch.nn.Linear(3, 4)
        self.gives = gives
        self.default_cfg = {"fixed_input_size": True} if fixed else {}

    def forward(self, images):
        assert images.shape[1:] == (3, 10, 10)
        vectors = self.layer(images.mean((2, 3)))
        return vectors if self.gives is None else self.gives(vectors)


@pytest.fixture
def timm(monkeypatch):
    asked = SimpleNamespace(calls=[], fails=None, channels=3, fixed=True, gives=None)

    def create_model(name, **options):
        asked.calls.append((name, options))
        if asked.fails:
            raise asked.fails
        torch.manual_seed(0)
        asked.network = Network(asked.fixed, asked.gives)
        return asked.network

    def config(network):
        assert network is asked.network
        return {"input_size": (asked.channels, 10, 10), "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.4)}

    module = SimpleNamespace(create_model=create_model, data=SimpleNamespace(resolve_model_data_config=config))
    monkeypatch.setitem(sys.modules, "timm", module)
    return asked


@pytest.mark.parametrize("fixed", [True, False])
def test_a_network_of_timm_sees_what_it_learnt_to_see(timm, fixed):
    timm.fixed = fixed
    encoder = encoder_of_timm("resnet50.a1_in1k", "cpu")
    assert timm.calls == [("resnet50.a1_in1k", {"pretrained": True, "num_classes": 0})]
    assert (encoder.side, encoder.fixed) == (10, fixed)
    assert not timm.network.training
    tiles = np.random.default_rng(0).integers(0, 256, (5, 10, 10, 3), dtype=np.uint8)
    normal = (tiles / 255 - [0.5, 0.4, 0.3]) / [0.2, 0.3, 0.4]
    weight, bias = (part.detach().numpy() for part in timm.network.layer.parameters())
    np.testing.assert_allclose(encoder(tiles), normal.mean((1, 2)) @ weight.T + bias, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("error", [RuntimeError("Unknown model (resnet)"), OSError("no route to the hub\nmore")])
def test_what_timm_cannot_give_is_said(timm, error):
    timm.fails = error
    with pytest.raises(bw.BagwiseError, match=r"timm does not give 'resnet' with weights \(\w") as caught:
        encoder_of_timm("resnet")
    assert "\n" not in str(caught.value)


def test_a_network_for_other_channels_is_refused(timm):
    timm.channels = 1
    with pytest.raises(bw.BagwiseError, match="takes images of 1 channels"):
        encoder_of_timm("grey")


def test_without_timm_it_is_said_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(bw.BagwiseError, match=r"pip install 'bagwise\[timm\]'"):
        encoder_of_timm("resnet50")


def tokens(vectors):
    """Give a class token, a register and two tokens of the picture."""
    return torch.stack([vectors, 100 + vectors, 1 + vectors, 3 + vectors], dim=1)


@pytest.mark.parametrize(("pool", "above"), [("token", 0), ("mean", 2)])
def test_tokens_become_a_vector_as_is_asked_for(timm, pool, above):
    tiles = np.random.default_rng(0).integers(0, 256, (5, 10, 10, 3), dtype=np.uint8)
    expected = encoder_of_timm("resnet", "cpu")(tiles)
    timm.gives = tokens
    Network.num_prefix_tokens, Network.cls_token = 2, torch.zeros(1)
    try:
        np.testing.assert_allclose(encoder_of_timm("vit", "cpu", pool)(tiles), expected + above, rtol=1e-5)
    finally:
        del Network.num_prefix_tokens, Network.cls_token


@pytest.mark.parametrize(
    ("gives", "pool", "message"),
    [
        (tokens, None, "'net' gives 4 tokens a tile, and not one vector: say with --pool whether"),
        (tokens, "token", "has no class token: take the mean of its tokens, --pool mean"),
        (tokens, "max", "--pool is 'max': it must be one of token, mean"),
        (None, "mean", "gives one vector a tile, so that --pool has nothing to choose"),
        (lambda vectors: vectors[:, :, None, None], "mean", r"gives shape \(1, 4, 1, 1\) for one tile"),
        (lambda vectors: [vectors], None, "gives list for one tile"),
        (lambda vectors: vectors[0], None, r"gives shape \(4,\) for one tile"),
        (lambda vectors: len(vectors) / 0, None, r"does not encode a tile of 10 x 10 pixels \(division by zero\)"),
    ],
)
def test_what_is_no_vector_a_tile_is_refused_before_the_first(timm, gives, pool, message):
    timm.gives = gives
    with pytest.raises(bw.BagwiseError, match=message):
        encoder_of_timm("net", "cpu", pool)


@pytest.mark.parametrize(
    "raised",
    [
        'RuntimeError("operator torchvision::nms does not exist\\nmore")',
        'OSError("libcudart.so.12: cannot open shared object file")',
        'ImportError("cannot import name x")',
    ],
)
def test_a_broken_installation_is_one_sentence(monkeypatch, tmp_path, raised):
    (tmp_path / "timm.py").write_text(f"raise {raised}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "timm", raising=False)
    with pytest.raises(bw.BagwiseError, match=r"cannot be loaded \(\w+Error: \w.* that fit PyTorch 2") as caught:
        encoder_of_timm("resnet50")
    assert "\n" not in str(caught.value)
