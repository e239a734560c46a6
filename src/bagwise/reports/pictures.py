"""Pixels as pictures that lie within a page."""

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bagwise.errors import BagwiseError

__all__ = ["colour_picture", "ink_picture", "layer_picture", "svg_picture"]


def ink_picture(strengths: NDArray[np.uint8]) -> str:
    """Make a picture of black ink on nothing, which stands on any page and can be a mask.

    Parameters
    ----------
    strengths
        0 is nothing and 255 full ink, shape (H, W); 16 of them are told apart, which takes far fewer bytes than 256.

    Returns
    -------
    str
        A data URI of a PNG.

    Examples
    --------
    >>> ink_picture(np.zeros((2, 2), np.uint8))[:22]
    'data:image/png;base64,'
    """
    image = Image.frombytes("P", strengths.shape[::-1], (strengths >> 4).tobytes())
    image.putpalette(bytes(3 * 16))
    return _encoded(image, "png", bits=4, transparency=bytes(range(0, 256, 17)))


def colour_picture(pixels: NDArray[np.uint8]) -> str:
    """Make a picture of red, green and blue.

    Parameters
    ----------
    pixels
        Shape (H, W, 3).

    Returns
    -------
    str
        A data URI of a JPEG.

    Examples
    --------
    >>> colour_picture(np.zeros((2, 2, 3), np.uint8))[:23]
    'data:image/jpeg;base64,'
    """
    return _encoded(Image.fromarray(pixels), "jpeg", quality=85)


def layer_picture(pixels: NDArray[np.uint8]) -> str:
    """Make a picture of red, green, blue and opacity.

    Parameters
    ----------
    pixels
        Shape (H, W, 4).

    Returns
    -------
    str
        A data URI of a WebP.

    Examples
    --------
    >>> layer_picture(np.zeros((2, 2, 4), np.uint8))[:23]
    'data:image/webp;base64,'
    """
    return _encoded(Image.fromarray(pixels), "webp", quality=80)


def svg_picture(svg: str) -> str:
    """Make a picture of a drawing; shut off from the page, its names and styles cannot meet those of others.

    Parameters
    ----------
    svg
        A complete SVG.

    Returns
    -------
    str
        A data URI.

    Examples
    --------
    >>> svg_picture("<svg xmlns='http://www.w3.org/2000/svg'/>")[:26]
    'data:image/svg+xml;base64,'
    """
    return _data_uri(svg.encode(), "svg+xml")


def _encoded(image: Image.Image, kind: str, **options: Any) -> str:
    file = io.BytesIO()
    try:
        image.save(file, kind, **options)
    except (KeyError, OSError, ValueError) as error:  # all that Pillow tells of memory that its encoders do not get
        raise BagwiseError(
            f"Pillow cannot write {kind.upper()} here ({error}): memory ran out, or it was built without, so install it"
            " anew"
        ) from error
    return _data_uri(file.getvalue(), kind)


def _data_uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
