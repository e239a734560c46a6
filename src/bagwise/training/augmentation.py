"""Random changes of image instances that leave what they show as it is; models that learn from few bags need them."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

__all__ = ["AUGMENTATIONS", "affine"]

# At most this much either way.
_DEGREES, _SCALE, _SHEAR, _SHIFT = 12.0, 0.12, 0.12, 0.07


def affine(images: Tensor, generator: torch.Generator) -> Tensor:
    """Turn, scale, shear and shift each image a little, by amounts of its own.

    At most 12 degrees, 12 %, 0.12 and 7 % of the side (two of 28 pixels) either way, uniformly; between pixels the
    image is interpolated, and beyond its edge it goes on as at the edge.

    Parameters
    ----------
    images
        Shape (N, H, W) or (N, H, W, C).
    generator
        On the CPU; it decides the amounts.

    Returns
    -------
    Tensor
        The same shape, floating point, in the range of values it had.

    Examples
    --------
    >>> affine(torch.zeros(2, 28, 28, dtype=torch.uint8), torch.Generator()).unique().tolist()
    [0.0]
    """
    values = images if images.is_floating_point() else images.float()
    turn, scale, shear, right, down = (2 * torch.rand(len(images), 5, generator=generator) - 1).to(values).T
    angle, scale = torch.deg2rad(turn * _DEGREES), 1 + scale * _SCALE
    sine, cosine = torch.sin(angle) * scale, torch.cos(angle) * scale
    # The side is 2 in the units of the grid.
    rows = [cosine, shear * _SHEAR - sine, 2 * right * _SHIFT, sine, cosine, 2 * down * _SHIFT]
    planes = values.unsqueeze(-1) if values.ndim == 3 else values
    planes = planes.permute(0, 3, 1, 2)
    grid = affine_grid(torch.stack(rows, dim=1).view(-1, 2, 3), list(planes.shape), align_corners=False)
    moved = grid_sample(planes, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return moved.permute(0, 2, 3, 1).reshape(values.shape)


AUGMENTATIONS: dict[str, Callable[[Tensor, torch.Generator], Tensor]] = {"affine": affine}
