"""Encoders: the function f that turns an instance into an embedding (paper, section 2.2).

An encoder is any `torch.nn.Module` that takes packed instances, shape (N, ...) as `Bags` holds them but floating point,
to embeddings, shape (N, M). Images of 8 bits arrive scaled to [0, 1].
"""

import copy
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from bagwise.errors import BagwiseError
from bagwise.models.contract import refuse_layers
from bagwise.models.convolution import ConvMaxReLU

__all__ = [
    "ENCODERS",
    "CellCNN",
    "CentreCrop",
    "EncoderSpec",
    "FullyConnected",
    "LeNet5",
    "MultiLevel",
    "build_encoder",
    "drawing",
    "glorot",
]

EncoderSpec = str | nn.Module | Callable[[], nn.Module]


class FullyConnected(nn.Sequential):
    """Fully connected layers with ReLU; 256, 128 and 64 units are the stack of MI-Net (Wang et al., 2016).

    One layer of 256 units is ``"wide"``: of patches that a network has encoded there is little left to encode.

    Parameters
    ----------
    instance_shape
        ``(D,)``.
    widths
        Units of each layer.

    Raises
    ------
    BagwiseError
        If an instance is not a vector.

    Examples
    --------
    >>> FullyConnected((10,))(torch.zeros(3, 10)).shape
    torch.Size([3, 64])
    """

    def __init__(self, instance_shape: Sequence[int], widths: Sequence[int] = (256, 128, 64)) -> None:
        sizes = [_vector_width(instance_shape), *widths]
        # In place: of a large bag the results before ReLU are megabytes, and nothing needs them.
        layers = [nn.Sequential(nn.Linear(m, n), nn.ReLU(inplace=True)) for m, n in pairwise(sizes)]
        super().__init__(*layers)


class MultiLevel(FullyConnected):
    """The same layers, giving what each of them computes, side by side.

    Deep supervision and residual connections pool every layer (Wang et al., 2016).

    Parameters
    ----------
    instance_shape
        ``(D,)``.
    widths
        Units of each layer, and so of each part of the embedding.

    Examples
    --------
    >>> MultiLevel((10,), widths=(4, 3))(torch.zeros(5, 10)).shape
    torch.Size([5, 7])
    """

    def __init__(self, instance_shape: Sequence[int], widths: Sequence[int] = (256, 128, 64)) -> None:
        super().__init__(instance_shape, widths)
        self.widths = tuple(widths)

    def forward(self, input: Tensor) -> Tensor:
        """Encode instances.

        Parameters
        ----------
        input
            Shape (N, D).

        Returns
        -------
        Tensor
            Shape (N, sum of the widths).
        """
        levels = []
        for layer in self:
            input = layer(input)
            levels.append(input)
        return torch.cat(levels, dim=1)


class LeNet5(nn.Sequential):
    """The paper's LeNet5 for grey images of 28 x 28 pixels (LeCun et al., 1998).

    conv 5x5-20, maxpool 2, ReLU, conv 5x5-50, maxpool 2, ReLU, fc 500, ReLU. (Maximum and ReLU may change places; on
    the smaller image ReLU costs a quarter.)

    Parameters
    ----------
    instance_shape
        ``(28, 28)`` or ``(28, 28, 1)``.

    Raises
    ------
    BagwiseError
        If the instances have another shape.

    Examples
    --------
    >>> LeNet5((28, 28))(torch.zeros(3, 28, 28)).shape
    torch.Size([3, 500])
    """

    def __init__(self, instance_shape: Sequence[int]) -> None:
        if tuple(instance_shape) not in [(28, 28), (28, 28, 1)]:
            raise BagwiseError(
                f"the encoder 'lenet5' takes images of 28 x 28 grey pixels, not of shape {tuple(instance_shape)}:"
                " resize them, or give an encoder of your own"
            )
        super().__init__(
            ChannelsFirst(1),
            ConvMaxReLU(1, 20, 5),
            ConvMaxReLU(20, 50, 5),
            nn.Flatten(),
            nn.Linear(50 * 4 * 4, 500),
            nn.ReLU(),
        )
        self.apply(_lay_out)


class CellCNN(nn.Sequential):
    """The paper's network for histology patches (Sirinukunwattana et al., 2016), 27 x 27 or 32 x 32 RGB.

    conv 4x4-36, maxpool 2, ReLU, conv 3x3-48, maxpool 2, ReLU, fc 512, ReLU, dropout, fc 512, ReLU. (Maximum and ReLU
    may change places; on the smaller image ReLU costs a quarter.)

    Parameters
    ----------
    instance_shape
        ``(H, W, 3)`` with sides of at least 11 pixels.
    dropout
        Share of the first fully connected layer's units dropped in training.

    Raises
    ------
    BagwiseError
        If the instances are not such images.

    Examples
    --------
    >>> CellCNN((27, 27, 3))(torch.zeros(2, 27, 27, 3)).shape
    torch.Size([2, 512])
    """

    def __init__(self, instance_shape: Sequence[int], dropout: float = 0.5) -> None:
        shape = tuple(instance_shape)
        if len(shape) != 3 or shape[2] != 3 or min(shape[:2]) < 11:
            raise BagwiseError(
                f"the encoder 'cell-cnn' takes RGB patches of shape (height, width, 3), at least 11 x 11 pixels, not"
                f" {shape}: give an encoder of your own"
            )
        height, width = (((side - 3) // 2 - 2) // 2 for side in shape[:2])
        super().__init__(
            ChannelsFirst(3),
            ConvMaxReLU(3, 36, 4),
            ConvMaxReLU(36, 48, 3),
            nn.Flatten(),
            nn.Linear(48 * height * width, 512),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(512, 512),
            nn.ReLU(),
        )
        self.apply(_lay_out)


class ChannelsFirst(nn.Module):
    """Turn images (N, H, W) or (N, H, W, C) into the (N, C, H, W) of torch's convolutions.

    The pixels stay where they are in memory, which is torch's `channels_last` layout.

    Parameters
    ----------
    channels
        C.

    Examples
    --------
    >>> ChannelsFirst(3)(torch.zeros(2, 27, 28, 3)).shape
    torch.Size([2, 3, 27, 28])
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, images: Tensor) -> Tensor:
        """Rearrange images.

        Parameters
        ----------
        images
            Shape (N, H, W) or (N, H, W, C).

        Returns
        -------
        Tensor
            Shape (N, C, H, W).
        """
        return images.reshape(*images.shape[:3], self.channels).permute(0, 3, 1, 2)


class CentreCrop(nn.Module):
    """Cut a square out of the middle of each image.

    Parameters
    ----------
    side
        Of the square, at most the sides of the images.

    Examples
    --------
    >>> CentreCrop(27)(torch.zeros(2, 45, 45, 3)).shape
    torch.Size([2, 27, 27, 3])
    """

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, images: Tensor) -> Tensor:
        """Cut.

        Parameters
        ----------
        images
            Shape (N, H, W) or (N, H, W, C).

        Returns
        -------
        Tensor
            Shape (N, side, side) or (N, side, side, C).
        """
        top, left = ((extent - self.side) // 2 for extent in images.shape[1:3])
        return images[:, top : top + self.side, left : left + self.side]


def glorot(module: nn.Module) -> None:
    """Set a layer's weights as Glorot & Bengio (2010) do, uniformly, and its biases to zero (paper, section 4).

    Parameters
    ----------
    module
        A layer; what is neither linear nor a convolution is left as it is. Meant for `torch.nn.Module.apply`.

    Examples
    --------
    >>> layer = nn.Linear(2, 3)
    >>> glorot(layer)
    >>> layer.bias.tolist()
    [0.0, 0.0, 0.0]
    """
    if isinstance(module, nn.Linear | nn.Conv2d):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def drawing(spec: EncoderSpec) -> Callable[[nn.Module], None]:
    """Give what draws the initial weights of layers of Bagwise's own in a model.

    Parameters
    ----------
    spec
        The model's encoder.

    Returns
    -------
    function
        Of a layer. `glorot`; with the encoder ``"wide"`` what leaves weights as torch draws them, half as large:
        Glorot's learn some dozen slides by heart before they find what these have in common (docs/defaults.md).

    Examples
    --------
    >>> drawing("mi-net") is glorot, drawing("wide") is glorot
    (True, False)
    """
    return _leave if spec == "wide" else glorot


def _leave(module: nn.Module) -> None:
    """Leave a layer as it was made."""


def build_encoder(spec: EncoderSpec, instance_shape: Sequence[int], dropout: float) -> nn.Module:
    """Make an encoder from its name, from a factory, or from a module whose weights it starts from.

    Parameters
    ----------
    spec
        A name in `ENCODERS`; a function without arguments that makes a module; or a module, which is copied.
    instance_shape
        Shape of one instance.
    dropout
        For encoders that drop units between their own layers.

    Returns
    -------
    torch.nn.Module
        With the weights of `drawing` if it is one of Bagwise's own, else as it was made.

    Raises
    ------
    BagwiseError
        If there is no such encoder, it does not fit the instances, or it holds a BatchNorm in training mode.

    Examples
    --------
    >>> build_encoder("mi-net", (10,), dropout=0.5)(torch.zeros(2, 10)).shape
    torch.Size([2, 64])
    """
    if isinstance(spec, str):
        if spec not in ENCODERS:
            raise BagwiseError(f"there is no encoder {spec!r}: the encoders are {', '.join(ENCODERS)}")
        encoder = ENCODERS[spec](instance_shape, dropout)
        encoder.apply(drawing(spec))
        return encoder
    encoder = copy.deepcopy(spec) if isinstance(spec, nn.Module) or not callable(spec) else spec()
    if not isinstance(encoder, nn.Module):
        kind = type(encoder).__name__
        raise BagwiseError(f"the encoder is a {kind}: it must be a torch.nn.Module, or a function that makes one")
    refuse_layers(encoder, f"the encoder {type(encoder).__name__}")
    return encoder


def _lay_out(module: nn.Module) -> None:
    """Let a convolution compute in torch's `channels_last` layout, also from images of one channel, which fit either.

    On a CPU these networks train up to twice as fast in it.
    """
    if isinstance(module, nn.Conv2d):
        module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last)


def _vector_width(instance_shape: Sequence[int]) -> int:
    if len(instance_shape) != 1:
        raise BagwiseError(
            f"a fully connected encoder takes vectors, not instances of shape {tuple(instance_shape)}: use 'lenet5' or"
            " 'cell-cnn' for images, or give an encoder of your own"
        )
    return instance_shape[0]


def _identity(instance_shape: Sequence[int], dropout: float) -> nn.Module:  # noqa: ARG001
    _vector_width(instance_shape)
    return nn.Identity()


ENCODERS: dict[str, Callable[[Sequence[int], float], nn.Module]] = {
    "identity": _identity,
    "mi-net": lambda shape, _: FullyConnected(shape),
    "wide": lambda shape, _: FullyConnected(shape, widths=(256,)),
    "mi-net-levels": lambda shape, _: MultiLevel(shape),
    "mi-net-equal-levels": lambda shape, _: MultiLevel(shape, widths=(128, 128, 128)),
    "lenet5": lambda shape, _: LeNet5(shape),
    "cell-cnn": CellCNN,
}
