"""What turns tiles of slides into features: the encoder of a trained model, or a network of timm."""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bagwise.errors import BagwiseError
from bagwise.methods.neural import NeuralMIL
from bagwise.training.device import one_thread, resolve_device

__all__ = ["TIMM", "TileEncoder", "encoder_of_model", "encoder_of_timm"]

TIMM = "timm:"  # before the name of a network


@dataclass(frozen=True, eq=False)
class TileEncoder:
    """Encodes tiles.

    Attributes
    ----------
    encode
        Tiles, shape (N, side, side, 3), 8 bits, to embeddings, shape (N, D).
    side
        Of the tiles that it learnt from, in pixels.
    fixed
        Whether it takes no others.
    digest
        Changes when the weights do.
    device
        Where to compute.

    Examples
    --------
    >>> mean = TileEncoder(lambda tiles: tiles.float().mean((1, 2)), 8, False, "", torch.device("cpu"))
    >>> mean(np.full((2, 8, 8, 3), 7, np.uint8)).tolist()
    [[7.0, 7.0, 7.0], [7.0, 7.0, 7.0]]
    """

    encode: Callable[[Tensor], Tensor]
    side: int
    fixed: bool
    digest: str
    device: torch.device

    def __call__(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Encode tiles, shape (N, side, side, 3)."""
        with torch.inference_mode(), one_thread():
            return self.encode(torch.from_numpy(tiles).to(self.device)).float().numpy(force=True)


def encoder_of_model(model: NeuralMIL, device: str = "auto") -> TileEncoder:
    """Take the encoder of a model that learnt from patches of images.

    Parameters
    ----------
    model
        Fitted. Tiles go in as its patches did; out come embeddings before pooling.
    device
        As in `bagwise.training.device.resolve_device`.

    Returns
    -------
    TileEncoder

    Raises
    ------
    BagwiseError
        If the model learnt from anything but square patches of three colours, of 8 bits each.
    """
    shape = tuple(model.instance_shape_)
    if len(shape) != 3 or shape[0] != shape[1] or shape[2] != 3:
        raise BagwiseError(
            f"the model learnt from instances of shape {shape}, and a tile has (side, side, 3): fit one on a folder of"
            " colour images"
        )
    if model.plan_.scaling != "pixels":
        raise BagwiseError("the model learnt from images that were not of 8 bits, as tiles are: fit one on such images")
    place = resolve_device(device)
    network = model.model_.to(place).eval()
    return TileEncoder(network.encode, shape[0], True, _digest(network), place)


def encoder_of_timm(name: str, device: str = "auto") -> TileEncoder:
    """Take a network that timm knows, with the weights that it learnt elsewhere and without its last layer.

    Parameters
    ----------
    name
        What timm calls it, such as ``"resnet50.a1_in1k"`` or ``"hf-hub:..."``.
    device
        As in `bagwise.training.device.resolve_device`.

    Returns
    -------
    TileEncoder

    Raises
    ------
    BagwiseError
        If timm is not installed, knows no such network, or its weights cannot be had.
    """
    try:
        import timm
    except ImportError as error:
        raise BagwiseError(
            f"timm cannot be used here ({error}): install it with pip install 'bagwise[timm]', or give the folder of a"
            " run"
        ) from error
    place = resolve_device(device)
    try:
        network: Any = timm.create_model(name, pretrained=True, num_classes=0)
        config: dict[str, Any] = timm.data.resolve_model_data_config(network)
    except Exception as error:  # its hub, its registry and its networks raise what they like
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise BagwiseError(
            f"timm does not give {name!r} with weights ({reason}): mend the name, or fetch the weights on a machine"
            " with internet and bring its cache here"
        ) from error
    network = network.to(place).eval()
    channels, side, _ = config["input_size"]
    if channels != 3:
        raise BagwiseError(f"{name!r} takes images of {channels} channels: choose a network for colour images")
    mean, deviation = (torch.tensor(config[key], device=place)[:, None, None] for key in ("mean", "std"))

    def encode(tiles: Tensor) -> Tensor:
        embeddings: Tensor = network((tiles.permute(0, 3, 1, 2).float() / 255 - mean) / deviation)
        return embeddings

    return TileEncoder(encode, side, bool(network.default_cfg.get("fixed_input_size")), _digest(network), place)


def _digest(network: nn.Module) -> str:
    digest = blake2b(digest_size=16)
    for name, value in network.state_dict().items():
        digest.update(name.encode())
        digest.update(value.float().numpy(force=True).tobytes())
    return digest.hexdigest()
