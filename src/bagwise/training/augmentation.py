"""Random changes of image instances that leave what they show as it is; models that learn from few bags need them."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from bagwise.training.device import sent

__all__ = ["AUGMENTATIONS", "affine", "tissue"]

# At most this much either way.
_DEGREES, _SCALE, _SHEAR, _SHIFT = 12.0, 0.12, 0.12, 0.07
# Standard deviations: of the place in pixels, of the strength of a stain.
_JITTER, _STRENGTH = 3.0, 0.02


def affine(images: Tensor, generator: torch.Generator, side: int | None = None) -> Tensor:
    """Turn, scale, shear and shift each image a little, by amounts of its own.

    At most 12 degrees, 12 %, 0.12 and 7 % of the side (two of 28 pixels) either way, uniformly; between pixels the
    image is interpolated, and beyond its edge it goes on as at the edge.

    Parameters
    ----------
    images
        Shape (N, H, W) or (N, H, W, C).
    generator
        On the CPU; it decides the amounts.
    side
        Of the square in the middle that is wanted; None: all of the image.

    Returns
    -------
    Tensor
        Shape (N, side, side) or (N, side, side, C), floating point, in the range of values it had.

    Examples
    --------
    >>> affine(torch.zeros(2, 28, 28, dtype=torch.uint8), torch.Generator()).unique().tolist()
    [0.0]
    """
    values = images if images.is_floating_point() else images.float()
    drawn = 2 * torch.rand(len(images), 5, generator=generator) - 1
    turn, scale, shear, right, down = sent(drawn.to(values.dtype), values.device).T
    angle, scale = torch.deg2rad(turn * _DEGREES), 1 + scale * _SCALE
    sine, cosine = torch.sin(angle) * scale, torch.cos(angle) * scale
    # The side is 2 in the units of the grid.
    rows = [cosine, shear * _SHEAR - sine, 2 * right * _SHIFT, sine, cosine, 2 * down * _SHIFT]
    planes = values.unsqueeze(-1) if values.ndim == 3 else values
    planes = planes.permute(0, 3, 1, 2)
    count, channels, height, width = planes.shape
    shown = (height, width) if side is None else (side, side)
    share = sent(torch.tensor([shown[1] / width, shown[0] / height, 1.0]).to(values.dtype), values.device)
    theta = torch.stack(rows, dim=1).view(-1, 2, 3) * share
    grid = affine_grid(theta, [count, channels, *shown], align_corners=False)
    moved = grid_sample(planes, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return moved.permute(0, 2, 3, 1).reshape(count, *shown, *values.shape[3:])


def tissue(images: Tensor, generator: torch.Generator, side: int | None = None) -> Tensor:
    """Change patches of stained tissue as another section of it might be: another cut, side up and stain.

    Each patch is cut at a place of its own (round(N(0, 3)) pixels from the middle, where it is larger than `side`),
    turned by a quarter of the circle or not, and mirrored or not. All patches of the step get one strength of
    haematoxylin and one of eosin, each N(1, 0.02) times what it was: their optical densities are found by colour
    deconvolution.

    Parameters
    ----------
    images
        Shape (N, H, W, 3), 8 bits; those that are not square are turned by half of the circle only.
    generator
        On the CPU; it decides everything.
    side
        Of the square that is wanted; None: all of the image.

    Returns
    -------
    Tensor
        Shape (N, side, side, 3), floating point, 0 to 255.

    References
    ----------
    A. Ruifrok, D. Johnston: Quantification of histochemical staining by color deconvolution. 2001.

    Examples
    --------
    >>> tissue(torch.full((2, 45, 45, 3), 200, dtype=torch.uint8), torch.Generator(), 27).shape
    torch.Size([2, 27, 27, 3])
    """
    from skimage.color import hed_from_rgb, rgb_from_hed  # and SciPy, which predicting does without

    count, height, width, _ = images.shape
    drawn = torch.randn(count, 2, generator=generator) * _JITTER
    turns = torch.randint(8, (count,), generator=generator)
    strengths = 1 + _STRENGTH * torch.randn(2, generator=generator)
    if side is not None:
        spare = torch.tensor([height - side, width - side])
        corners = torch.clamp((spare // 2 + drawn.round().long()).T, torch.tensor(0), spare[:, None])
        top, left = sent(corners, images.device)
        windows = images.unfold(1, side, 1).unfold(2, side, 1)
        images = windows[torch.arange(count, device=images.device), top, left].permute(0, 2, 3, 1)
    square, turned = images.shape[1] == images.shape[2], []
    # Those that are turned alike stand together, so that nothing on a card has to be counted.
    order = turns.argsort()
    parts = images[sent(order, images.device)].split(turns.bincount(minlength=8).tolist())
    for way, part in enumerate(parts):
        quarters = way % 4 if square else 2 * (way % 2)
        moved = torch.rot90(part, quarters, dims=(1, 2))
        turned.append(moved.flip(2) if way >= 4 else moved)
    images = torch.cat(turned)[sent(order.argsort(), images.device)]
    # Densities of the stains are a matrix times those of the colours, so a change of strength is a matrix, too.
    factors = torch.diag(torch.cat([strengths, torch.ones(1)])).double()
    change = torch.from_numpy(hed_from_rgb) @ factors @ torch.from_numpy(rgb_from_hed)
    # Black has no density.
    densities = torch.log(images.float().clamp_(min=1) / 255)
    return (torch.exp(densities @ sent(change.to(densities.dtype), densities.device)) * 255).clamp_(max=255)


AUGMENTATIONS: dict[str, Callable[[Tensor, torch.Generator, int | None], Tensor]] = {
    "affine": affine,
    "tissue": tissue,
}
