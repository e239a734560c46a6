"""Files of pictures: which are read, and what becomes of their depth, colours, transparency and side up."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from bagwise.errors import BagwiseError
from bagwise.inputs import check_regular, check_size, most_bytes

__all__ = ["on_white", "read_image"]

# By how a file begins. Pillow knows some forty formats more, and one of them starts another program.
_FORMATS: dict[bytes, type[ImageFile]] = {
    b"\x89PNG\r\n\x1a\n": PngImageFile,
    b"\xff\xd8\xff": JpegImageFile,
    b"II*\0": TiffImageFile,
    b"MM\0*": TiffImageFile,
    b"II+\0": TiffImageFile,
    b"MM\0+": TiffImageFile,
    b"BM": BmpImageFile,
}
_MODES = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "YCbCr")
_NAMES_OF_MODES = {
    "CMYK": "colours of print (CMYK), which mean nothing without a profile",
    "LAB": "colours of kind Lab",
}
_BITS_PER_SAMPLE, _SAMPLE_FORMAT, _UNSIGNED, _UNDEFINED = 258, 339, 1, 4  # as TIFF numbers them
_SAMPLES_PER_PIXEL, _TILE_SIDES = 277, (322, 323)
_SCAN, _MOST_SCANS = b"\xff\xda", 200  # a progressive JPEG has about ten; each goes over the whole picture
_BYTES_A_PIXEL = 8  # what Pillow decodes to, 4, and what is made of it, 3
_PIXELS_AT_ONCE = 1 << 22


def read_image(path: str | Path) -> NDArray[np.uint8]:
    """Read a picture as red, green and blue of 8 bits.

    ======================================  ==========================================================
    the file                                what is read
    ======================================  ==========================================================
    PNG, JPEG, TIFF or BMP, by its content  whatever the name ends in; other formats are refused
    colour or grey, 8 bits a channel        as it is; grey is the same in all three channels
    black and white, grey of 2 or 4 bits    spread over 0 to 255
    a palette                               its colours
    transparency, of any kind               laid on white, as the glass of a slide is
    a side up (EXIF, all eight)             obeyed
    16 bits or more a channel, fractions    refused, because 8 bits would be a part of it
    CMYK, Lab, a fourth channel             refused
    several pages, an animation             refused; of a JPEG with further views, the picture itself
    profiles of colour, gamma               not applied
    more pixels than Pillow's limit (89     refused with its size, before it is decoded
    million) or memory allow
    ======================================  ==========================================================

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    array
        Shape (H, W, 3).

    Raises
    ------
    BagwiseError
        If it is not there, no regular file, damaged, or refused as above.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "grey.png"
    >>> Image.new("L", (4, 3), 7).save(path)
    >>> read_image(path).shape, int(read_image(path).max())
    ((3, 4, 3), 7)
    """
    path = Path(path)
    check_size(path, check_regular(path))
    with _blaming(path), _opened(path) as opened:
        _check(path, opened)
        ImageOps.exif_transpose(opened, in_place=True)
        # A strip at a time, so that no second copy of a large picture is held.
        pixels = np.empty((opened.height, opened.width, 3), np.uint8)
        rows = max(1, _PIXELS_AT_ONCE // opened.width)
        for top in range(0, opened.height, rows):
            strip = opened.crop((0, top, opened.width, min(top + rows, opened.height)))
            part = pixels[top : top + rows]
            part[:] = on_white(strip) if strip.has_transparency_data else np.asarray(strip.convert("RGB"))
        return pixels


def on_white(picture: Image.Image) -> NDArray[np.uint8]:
    """Lay a picture on white where one can see through it.

    Parameters
    ----------
    picture
        Of any mode that says so.

    Returns
    -------
    array
        Red, green and blue, shape (H, W, 3).

    Examples
    --------
    >>> on_white(Image.new("RGBA", (1, 1), (100, 0, 0, 0))).tolist()
    [[[255, 255, 255]]]
    """
    white = Image.new("RGBA", picture.size, "white")
    return np.array(Image.alpha_composite(white, picture.convert("RGBA")).convert("RGB"))


@contextmanager
def _blaming(path: Path) -> Iterator[None]:
    try:
        yield
    except BagwiseError:
        raise
    except MemoryError as error:
        raise BagwiseError(f"{path}: the image does not fit into memory: cut it into several") from error
    except Exception as error:  # on damaged files Pillow raises whatever its parsers stumble over
        reason = getattr(error, "strerror", None) or (str(error).splitlines() or [type(error).__name__])[0]
        raise BagwiseError(f"{path}: the image cannot be read ({reason}): make it anew, or leave it out") from error


def _opened(path: Path) -> ImageFile:
    with path.open("rb") as stream:
        head = stream.read(8)
    kind = next((kind for magic, kind in _FORMATS.items() if head.startswith(magic)), None)
    if kind is None:
        raise BagwiseError(f"{path}: the file is no PNG, JPEG, TIFF or BMP, whatever its name ends in: save it as PNG")
    # Not by Image.open, which warns of sizes that are refused here, and may take a JPEG for another format.
    return kind(path)


def _check(path: Path, opened: ImageFile) -> None:
    """Refuse what is not read, before anything is decoded."""
    pixels, most = opened.width * opened.height, most_bytes() // _BYTES_A_PIXEL
    most = min(most, Image.MAX_IMAGE_PIXELS or most)
    if pixels > most:
        raise BagwiseError(
            f"{path}: the image has {opened.width} x {opened.height} pixels, {pixels / 1e6:,.1f} million, and at most"
            f" {most / 1e6:,.1f} million are read at once: cut it into several, or treat it as a slide"
        )
    bits, more = 8, ""
    if isinstance(opened, PngImageFile):
        bits = _depth_of_png(path)
        if bits < 8 and opened.mode != "P" and "transparency" in opened.info:
            # Pillow looks for the shade among those of 8 bits, and finds another one or none.
            raise BagwiseError(
                f"{path}: the image has a transparent shade among {1 << bits} of grey: fill it with white"
            )
    elif isinstance(opened, TiffImageFile):
        tags = opened.tag_v2
        bits = max(tags.get(_BITS_PER_SAMPLE, (1,)))
        if not {_UNSIGNED, _UNDEFINED}.issuperset(tags.get(_SAMPLE_FORMAT, (_UNSIGNED,))):
            more = ", negative numbers or fractions"
        if tags.get(_SAMPLES_PER_PIXEL, 1) > len(opened.getbands()):
            raise BagwiseError(
                f"{path}: the image has {tags[_SAMPLES_PER_PIXEL]} channels, and {opened.mode} is a part of them: save"
                " it as grey, or red, green and blue, as PNG"
            )
        if prod(tags.get(side, 0) for side in _TILE_SIDES) > most:
            raise BagwiseError(f"{path}: the image has tiles that do not fit into memory: make it anew")
    elif isinstance(opened, JpegImageFile) and path.read_bytes().count(_SCAN) > _MOST_SCANS:
        raise BagwiseError(f"{path}: the image has more than {_MOST_SCANS} scans, each over all of it: save it as PNG")
    if bits > 8 or more:
        raise BagwiseError(
            f"{path}: the image has {bits} bits a channel{more}, and whole numbers of 8 bits are read: bring it to them"
            " in the way that suits it, and save it as PNG"
        )
    if opened.mode not in _MODES:
        kind = _NAMES_OF_MODES.get(opened.mode, f"pixels of kind {opened.mode}")
        raise BagwiseError(f"{path}: the image has {kind}: save it as grey, or red, green and blue, as PNG")
    if getattr(opened, "is_animated", False):
        raise BagwiseError(f"{path}: the file holds several pictures: save the one that is meant as a file of its own")


def _depth_of_png(path: Path) -> int:
    """Read the bits a channel where they stand, because Pillow calls 48 bits RGB and drops half of them."""
    with path.open("rb") as stream:
        head = stream.read(25)
    if head[12:16] != b"IHDR":
        raise BagwiseError(f"{path}: the image does not begin as a PNG does: make it anew, or leave it out")
    return head[24]
