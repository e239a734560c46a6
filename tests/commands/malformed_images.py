"""Folders of images that will not do."""

import os
import socket
import struct
import zlib

import numpy as np
import tifffile
from malformed import CASES, Plan, case, truncated, write
from PIL import Image


def images(folder, count=6):
    scans = folder / "scans"
    scans.mkdir()
    rng = np.random.default_rng(0)
    for number in range(count):
        Image.fromarray(rng.integers(0, 200, (64, 64, 3), dtype=np.uint8)).save(scans / f"s{number}.png")
    write(folder, "labels.csv", "bag,label\n" + "".join(f"s{number},{number % 2}\n" for number in range(count)))
    return scans


def image_case(name, says, spoil):
    """Add a case of a folder of images that is spoilt after it was written well."""

    def made(folder):
        scans = images(folder)
        spoil(scans)
        return Plan("fit", scans, "--labels", folder / "labels.csv", "--out", folder / "run", says=says)

    CASES[name] = made


def points_case(name, says, text):
    def made(folder):
        rest = ["--points", write(folder, "points.csv", text), "--out", folder / "run"]
        return Plan("fit", images(folder), "--labels", folder / "labels.csv", *rest, says=says)

    CASES[name] = made


def saved(name, mode="RGB", **options):
    """Put another picture in the place of the third."""

    def spoil(scans):
        (scans / "s2.png").unlink()
        Image.effect_noise((64, 64), 50).convert(mode).save(scans / name, **options)

    return spoil


def tiff(values, **options):
    def spoil(scans):
        (scans / "s2.png").unlink()
        tifffile.imwrite(scans / "s2.tif", values, **options)

    return spoil


def head_of_png(width, height, depth, colour):
    """Change what the head says of a picture, whose content stays."""

    def spoil(scans):
        data = bytearray((scans / "s2.png").read_bytes())
        struct.pack_into(">IIBB", data, 16, width, height, depth, colour)
        struct.pack_into(">I", data, 29, zlib.crc32(data[12:29]))
        (scans / "s2.png").write_bytes(data)

    return spoil


def replaced(make):
    def spoil(scans):
        (scans / "s2.png").unlink()
        make(scans / "s2.png")

    return spoil


def listening(path):
    """Leave a socket in the place of a file."""
    before = os.getcwd()  # noqa: PTH109 - the path of a socket must be short
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(before)


DEEP = np.zeros((64, 64, 3), np.uint16)
SECOND = [Image.new("RGB", (64, 64), "white")]

image_case("truncated_image", r"s2\.png.*truncated", lambda scans: truncated("s2.png", 0.5)(scans))
image_case("empty_image", r"s2\.png.*no PNG", lambda scans: (scans / "s2.png").write_bytes(b""))
image_case("text_as_image", r"s2\.png.*no PNG", lambda scans: (scans / "s2.png").write_text("hello"))
image_case("an_eps_named_png", r"s2\.png.*no PNG, JPEG, TIFF or BMP", saved("s2.png", format="EPS"))
image_case("a_gif_named_png", r"s2\.png.*no PNG, JPEG, TIFF or BMP", saved("s2.png", format="GIF"))
image_case("colour_of_48_bits_in_png", r"s2\.png.*16 bits", head_of_png(64, 64, 16, 2))
image_case("colour_of_64_bits_in_png", r"s2\.png.*16 bits", head_of_png(64, 64, 16, 6))
image_case("colour_of_48_bits_in_tiff", r"s2\.tif.*16 bits", tiff(DEEP, photometric="rgb"))
image_case("grey_of_16_bits", r"s2\.tif.*16 bits", tiff(DEEP[..., 0]))
image_case("fractions_in_tiff", r"s2\.tif.*fractions", tiff(np.float32(DEEP[..., 0])))
image_case("a_tiff_of_pages", r"s2\.tif.*several", tiff(np.uint8(DEEP[:2]), photometric="minisblack"))
image_case("an_animation", r"s2\.png.*several", saved("s2.png", save_all=True, append_images=SECOND))
image_case("inks_in_jpeg", r"s2\.jpg.*CMYK", saved("s2.jpg", mode="CMYK"))
image_case("a_picture_of_180_million_pixels", r"s2\.png.*15000 x 12000 pixels", head_of_png(15_000, 12_000, 8, 2))
image_case("a_picture_of_sides_without_end", r"s2\.png.*pixels", head_of_png((1 << 31) - 1, (1 << 31) - 1, 8, 2))
image_case("a_pipe_as_image", r"s2\.png.*pipe", replaced(os.mkfifo))
image_case("a_device_as_image", r"s2\.png.*/dev/zero", replaced(lambda path: path.symlink_to("/dev/zero")))
image_case("a_socket_as_image", r"s2\.png.*socket", replaced(listening))
image_case("a_white_image", r"s2\.png.*white", replaced(lambda path: Image.new("L", (64, 64), 255).save(path)))
points_case("points_without_a_column", r"'y'", "bag,x\ns0,1\n")
points_case("points_that_are_no_numbers", r"points\.csv.*'x'.*row 2", "bag,x,y\ns0,left,3\n")
points_case("points_without_a_bag", r"points\.csv.*'bag'.*row 3", "bag,x,y\ns0,3,3\nNA,3,3\n")
points_case("points_outside", r"'s0'.*x 99", "bag,x,y\n" + "".join(f"s{number},99,3\n" for number in range(6)))
points_case("no_points_of_a_bag", r"'s1'", "bag,x,y\ns0,3,3\n")


@case
def a_pipe_as_points(folder):
    os.mkfifo(folder / "points.csv")
    rest = ["--points", folder / "points.csv", "--out", folder / "run"]
    return Plan("fit", images(folder), "--labels", folder / "labels.csv", *rest, says=r"points\.csv.*pipe")
