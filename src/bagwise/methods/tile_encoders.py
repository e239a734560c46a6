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
from bagwise.methods.fitted import Fitted
from bagwise.training.device import one_thread, resolve_device

__all__ = ["POOLS", "TIMM", "TileEncoder", "encoder_of_model", "encoder_of_timm"]

TIMM = "timm:"  # before the name of a network
POOLS = ("token", "mean")  # how the tokens of a tile become one vector


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


def encoder_of_model(model: Fitted, device: str = "auto") -> TileEncoder:
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


def encoder_of_timm(name: str, device: str = "auto", pool: str | None = None) -> TileEncoder:
    """Take a network that timm knows, with the weights that it learnt elsewhere and without its last layer.

    Parameters
    ----------
    name
        What timm calls it, such as ``"resnet50.a1_in1k"`` or ``"hf-hub:..."``.
    device
        As in `bagwise.training.device.resolve_device`.
    pool
        Of a network that gives tokens, (N, tokens, D), and not one vector a tile: ``"token"`` takes its class token,
        ``"mean"`` the mean of the tokens of the picture, without class and register tokens.

    Returns
    -------
    TileEncoder

    Raises
    ------
    BagwiseError
        If timm cannot be used, knows no such network, its weights cannot be had, or what the network gives is no vector
        a tile; a tile of zeros is tried before the first one.
    """
    if pool not in (None, *POOLS):
        raise BagwiseError(f"--pool is {pool!r}: it must be one of {', '.join(POOLS)}")
    timm = _timm()
    place = resolve_device(device)
    try:
        network: Any = timm.create_model(name, pretrained=True, num_classes=0)
        config: dict[str, Any] = timm.data.resolve_model_data_config(network)
    except Exception as error:  # its hub, its registry and its networks raise what they like
        raise BagwiseError(
            f"timm does not give {name!r} with weights ({_reason(error)}): mend the name, or fetch the weights on a"
            " machine with internet and bring its cache here"
        ) from error
    network = network.to(place).eval()
    channels, side, _ = config["input_size"]
    if channels != 3:
        raise BagwiseError(f"{name!r} takes images of {channels} channels: choose a network for colour images")
    mean, deviation = (torch.tensor(config[key], device=place)[:, None, None] for key in ("mean", "std"))

    def given(tiles: Tensor) -> Any:
        return network((tiles.permute(0, 3, 1, 2).float() / 255 - mean) / deviation)

    with torch.inference_mode(), one_thread():
        try:
            tried = given(torch.zeros((1, side, side, 3), dtype=torch.uint8, device=place))
        except Exception as error:  # a network runs whatever it is made of
            raise BagwiseError(
                f"{name!r} does not encode a tile of {side} x {side} pixels ({_reason(error)}): choose another network"
            ) from error
    pooled = _pooling(name, network, tried, pool)
    fixed = bool(network.default_cfg.get("fixed_input_size"))
    return TileEncoder(lambda tiles: pooled(given(tiles)), side, fixed, _digest(network), place)


def _timm() -> Any:
    try:
        import timm
    except ModuleNotFoundError as error:
        raise BagwiseError(
            f"timm cannot be used here ({error}): install it with pip install 'bagwise[timm]', or give the folder of a"
            " run"
        ) from error
    except Exception as error:  # a torchvision of another PyTorch, or a library that is not there, raises anything
        raise BagwiseError(
            f"timm is installed and cannot be loaded ({type(error).__name__}: {_reason(error)}): install timm and"
            f" torchvision in versions that fit PyTorch {torch.__version__}, or give the folder of a run"
        ) from error
    return timm


def _pooling(name: str, network: Any, tried: Any, pool: str | None) -> Callable[[Tensor], Tensor]:
    """Say how what a network gives becomes one vector a tile, by what it gives of one."""
    shape = tuple(tried.shape) if isinstance(tried, Tensor) else None
    if shape is None or len(shape) not in (2, 3) or shape[0] != 1 or 0 in shape:
        what = type(tried).__name__ if shape is None else f"shape {shape}"
        raise BagwiseError(
            f"{name!r} gives {what} for one tile, and not one vector of it: choose a network that pools its features"
        )
    if len(shape) == 2:
        if pool is not None:
            raise BagwiseError(f"{name!r} gives one vector a tile, so that --pool has nothing to choose: leave it out")
        return lambda vectors: vectors
    if pool is None:
        raise BagwiseError(
            f"{name!r} gives {shape[1]} tokens a tile, and not one vector: say with --pool whether to take its class"
            " token ('token') or the mean of the tokens of the picture ('mean'), as those who trained it say"
        )
    if pool == "token":
        if getattr(network, "cls_token", None) is None:
            raise BagwiseError(f"{name!r} has no class token: take the mean of its tokens, --pool mean")
        return lambda tokens: tokens[:, 0]
    first = getattr(network, "num_prefix_tokens", 0)
    return lambda tokens: tokens[:, first:].mean(dim=1)


def _reason(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _digest(network: nn.Module) -> str:
    digest = blake2b(digest_size=16)
    for name, value in network.state_dict().items():
        digest.update(name.encode())
        digest.update(value.float().numpy(force=True).tobytes())
    return digest.hexdigest()
