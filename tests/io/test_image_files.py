import os
import socket
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from bagwise import BagwiseError
from bagwise.io.image_files import read_image


def picture(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def png(path, width, height, depth, colour, data, *chunks):
    """Write a PNG by hand: Pillow writes no colour of 16 bits."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    lines = b"".join(b"\0" + line for line in data)
    chunks = [(b"IHDR", head), *chunks, (b"IDAT", zlib.compress(lines)), (b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, content) for kind, content in chunks))
    return path


GREY, COLOUR, PALETTE, GREY_ALPHA, COLOUR_ALPHA = 0, 2, 3, 4, 6  # as PNG numbers them
COLOURS = (b"PLTE", bytes(range(12)))


# ---- what is read -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["png", "tif", "bmp"])
def test_red_green_and_blue_are_read_as_they_are(tmp_path, ending):
    Image.fromarray(picture(5, 7)).save(tmp_path / f"a.{ending}")
    np.testing.assert_array_equal(read_image(str(tmp_path / f"a.{ending}")), picture(5, 7), strict=True)


def test_a_picture_of_many_strips_is_read_whole(tmp_path, monkeypatch):
    monkeypatch.setattr("bagwise.io.image_files._PIXELS_AT_ONCE", 20)
    Image.fromarray(picture(11, 7)).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), picture(11, 7))


@pytest.mark.parametrize(
    ("depth", "colour", "line", "chunks", "expected"),
    [
        (1, GREY, [0b01000000], [], [0, 255]),
        (2, GREY, [0b00011011], [], [0, 85, 170, 255]),
        (4, GREY, [0x1F], [], [17, 255]),
        (8, GREY, [3, 200], [], [3, 200]),
        (8, GREY, [3, 200], [(b"tRNS", b"\0\3")], [255, 200]),
        (8, GREY_ALPHA, [3, 0, 100, 255, 100, 51], [], [255, 100, 224]),
        (2, PALETTE, [0b00011011], [COLOURS], [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]),
        (2, PALETTE, [0b00011011], [COLOURS, (b"tRNS", b"\xff\0")], [[0, 1, 2], 255, [6, 7, 8], [9, 10, 11]]),
        (8, COLOUR, [1, 2, 3, 4, 5, 6], [(b"tRNS", b"\0\1\0\2\0\3")], [255, [4, 5, 6]]),
        (8, COLOUR_ALPHA, [1, 2, 3, 0, 4, 5, 6, 255], [], [255, [4, 5, 6]]),
    ],
)
def test_a_png_is_what_its_format_says(tmp_path, depth, colour, line, chunks, expected):
    path = png(tmp_path / "a.png", len(expected), 1, depth, colour, [bytes(line)], *chunks)
    whole = [value if isinstance(value, list) else [value] * 3 for value in expected]
    assert read_image(path).tolist() == [whole]


@pytest.mark.parametrize(
    ("value", "options", "expected"),
    [
        (np.uint8([[9]]), {}, 9),
        (np.uint8([[9]]), {"photometric": "miniswhite"}, 246),
        (np.uint8([[[9, 9, 9]]]), {"photometric": "rgb", "bigtiff": True}, 9),
        (np.uint8([[[9]], [[9]], [[9]]]), {"photometric": "rgb", "planarconfig": "separate"}, 9),
        (np.uint8([[[60, 60, 60, 51]]]), {"photometric": "rgb", "extrasamples": ["unassalpha"]}, 216),
        (np.uint8([[[51, 51, 51, 51]]]), {"photometric": "rgb", "extrasamples": ["assocalpha"]}, 255),
    ],
)
def test_a_tiff_is_what_its_format_says(tmp_path, value, options, expected):
    tifffile.imwrite(tmp_path / "a.tif", value, **options)
    assert read_image(tmp_path / "a.tif").tolist() == [[[expected] * 3]]


@pytest.mark.parametrize("ending", ["png", "tif", "jpg"])
def test_which_side_is_up_is_obeyed(tmp_path, ending):
    # Squares of one colour, which JPEG keeps.
    image = np.repeat(np.repeat(picture(2, 3) // 32 * 32, 16, axis=0), 16, axis=1)
    turned = [np.rot90(image, turns) for turns in range(4)]
    mirrored = [np.rot90(image[:, ::-1], turns) for turns in range(4)]
    upright = [turned[0], mirrored[0], turned[2], mirrored[2], mirrored[1], turned[3], mirrored[3], turned[1]]
    for number, expected in enumerate(upright, 1):
        exif = Image.Exif()
        exif[0x0112] = number
        Image.fromarray(image).save(tmp_path / f"a.{ending}", exif=exif, **{"quality": 100, "subsampling": 0})
        found = read_image(tmp_path / f"a.{ending}")
        assert found.shape == expected.shape
        assert np.abs(found.astype(int) - expected).max() <= (2 if ending == "jpg" else 0), number


def test_of_a_jpeg_with_further_views_the_picture_is_read(tmp_path):
    one, other = Image.new("RGB", (16, 16), "purple"), Image.new("RGB", (16, 16), "white")
    one.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[other])
    one.save(tmp_path / "b.jpg")
    np.testing.assert_array_equal(read_image(tmp_path / "a.jpg"), read_image(tmp_path / "b.jpg"))


# ---- what is refused --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("colour", [GREY, COLOUR, GREY_ALPHA, COLOUR_ALPHA])
def test_png_of_sixteen_bits_is_refused(tmp_path, colour):
    path = png(tmp_path / "a.png", 2, 1, 16, colour, [bytes(16)])
    with pytest.raises(BagwiseError, match="16 bits a channel"):
        read_image(path)


@pytest.mark.parametrize(
    ("value", "options", "told"),
    [
        (np.zeros((4, 5, 3), np.uint16), {"photometric": "rgb"}, "16 bits a channel"),
        (np.zeros((4, 5), np.uint16), {}, "16 bits a channel"),
        (np.zeros((4, 5), np.uint32), {}, "32 bits a channel"),
        (np.zeros((4, 5), np.float32), {}, "32 bits a channel, negative numbers or fractions"),
        (np.zeros((4, 5), np.int8), {}, "8 bits a channel, negative numbers or fractions"),
        (np.zeros((4, 5, 3), np.float32), {"photometric": "rgb"}, "cannot be read"),
        (np.zeros((4, 5, 3), np.uint8), {"photometric": "cielab"}, "Lab"),
        (np.zeros((4, 5, 4), np.uint8), {"photometric": "separated"}, "print"),
        (np.zeros((4, 5, 4), np.uint8), {"photometric": "rgb", "extrasamples": ["unspecified"]}, "4 channels"),
        (np.zeros((2, 4, 5), np.uint8), {"photometric": "minisblack"}, "several pictures"),
    ],
)
def test_tiff_that_is_more_than_eight_bits_of_colour_is_refused(tmp_path, value, options, told):
    tifffile.imwrite(tmp_path / "a.tif", value, **options)
    with pytest.raises(BagwiseError, match=told):
        read_image(tmp_path / "a.tif")


def test_what_is_no_picture_of_one_page_is_refused(tmp_path):
    image = Image.fromarray(picture(4, 6))
    image.convert("CMYK").save(tmp_path / "print.jpg")
    image.save(tmp_path / "moving.png", save_all=True, append_images=[image.rotate(90)])
    png(tmp_path / "shade.png", 4, 1, 2, GREY, [b"\x1b"], (b"tRNS", b"\0\1"))
    for name, told in [("print.jpg", "print"), ("moving.png", "several pictures"), ("shade.png", "transparent shade")]:
        with pytest.raises(BagwiseError, match=told):
            read_image(tmp_path / name)


@pytest.mark.parametrize("kind", ["EPS", "GIF", "PPM", "TGA", "ICO", "PDF", "WEBP", "SGI", "MSP", "PCX"])
def test_formats_that_are_not_named_are_refused_and_start_nothing(tmp_path, kind, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "gs").write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    (tmp_path / "gs").chmod(0o755)
    Image.fromarray(picture(20, 30)).convert("1" if kind == "MSP" else "RGB").save(tmp_path / "a.png", format=kind)
    with pytest.raises(BagwiseError, match="no PNG, JPEG, TIFF or BMP"):
        read_image(tmp_path / "a.png")
    assert not (tmp_path / "started").exists()


def test_what_is_damaged_is_said_once(tmp_path):
    Image.fromarray(picture(40, 40)).save(tmp_path / "half.png")
    whole = (tmp_path / "half.png").read_bytes()
    (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.png").touch()
    for name in ("half.png", "empty.png", "missing.png"):
        with pytest.raises(BagwiseError) as caught:
            read_image(tmp_path / name)
        assert str(caught.value).count(name) == 1
        assert str(caught.value).count(": ") == 2


def test_what_is_no_regular_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "device.png").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as listening:
        os.chdir(tmp_path)
        listening.bind("socket.png")
    for name in ("pipe", "device", "socket"):
        with pytest.raises(BagwiseError, match=f"this is a {name}"):
            read_image(tmp_path / f"{name}.png")


# ---- how large --------------------------------------------------------------------------------------------------


def test_a_picture_that_is_too_large_is_refused_before_it_is_decoded(tmp_path):
    Image.new("1", (64, 64)).save(tmp_path / "a.png")
    data = bytearray((tmp_path / "a.png").read_bytes())
    struct.pack_into(">II", data, 16, 15_000, 12_000)
    struct.pack_into(">I", data, 29, zlib.crc32(data[12:29]))
    (tmp_path / "a.png").write_bytes(data)
    tracemalloc.start()
    with pytest.raises(BagwiseError, match=r"15000 x 12000 pixels, 180\.0 million, and at most 89\.5 million"):
        read_image(tmp_path / "a.png")
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_how_many_pixels_are_read_follows_memory(tmp_path, monkeypatch):
    Image.fromarray(picture(40, 40)).save(tmp_path / "a.png")
    monkeypatch.setattr("bagwise.io.image_files.most_bytes", lambda: 8_000)
    with pytest.raises(BagwiseError, match="40 x 40 pixels"):
        read_image(tmp_path / "a.png")


def test_a_jpeg_of_scans_without_end_is_refused(tmp_path):
    Image.fromarray(picture(40, 40)).save(tmp_path / "a.jpg", progressive=True)
    whole = (tmp_path / "a.jpg").read_bytes()
    scan = whole[whole.rindex(b"\xff\xda") : -2]
    read_image(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").write_bytes(whole[:-2] + scan * 300 + whole[-2:])
    with pytest.raises(BagwiseError, match="200 scans"):
        read_image(tmp_path / "a.jpg")
