"""Small valid files of every kind that Bagwise reads, from which the fuzzer makes others."""

import contextlib
import gzip
import io

import h5py
import numpy as np
import pandas as pd
import tifffile
import torch
from PIL import Image
from safetensors.numpy import save_file

__all__ = ["write_seeds"]


def write_seeds(folder):
    """Write them, and say which reader each is for.

    Parameters
    ----------
    folder
        Where to.

    Returns
    -------
    dict
        For each reader the files, or of runs the folders.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return {"image": _images(folder), "features": _features(folder), "table": _tables(folder), "run": _runs(folder)}


def _images(folder):
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (24, 33, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a slide"
    made = {
        "rgb.png": (image, {"exif": exif}),
        "rgba.png": (image.convert("RGBA"), {}),
        "grey.png": (image.convert("L"), {"transparency": 7}),
        "bits.png": (image.convert("1"), {}),
        "palette.png": (image.convert("P"), {"transparency": bytes(range(256)), "bits": 8}),
        "moving.png": (image, {"save_all": True, "append_images": [image.rotate(90)]}),
        "plain.jpg": (image, {"exif": exif}),
        "progressive.jpg": (image, {"progressive": True}),
        "grey.jpg": (image.convert("L"), {}),
        "views.jpg": (image, {"format": "MPO", "save_all": True, "append_images": [image]}),
        "raw.tif": (image, {"exif": exif}),
        "lzw.tif": (image, {"compression": "tiff_lzw"}),
        "deflate.tif": (image, {"compression": "tiff_adobe_deflate"}),
        "jpeg.tif": (image, {"compression": "jpeg"}),
        "fax.tif": (image.convert("1"), {"compression": "group4"}),
        "packbits.tif": (image.convert("P"), {"compression": "packbits"}),
        "colour.bmp": (image, {}),
        "palette.bmp": (image.convert("P"), {}),
    }
    for name, (picture, options) in made.items():
        picture.save(folder / name, **options)
    pixels = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    tifffile.imwrite(folder / "tiles.tif", pixels, photometric="rgb", tile=(16, 16), compression="deflate")
    tifffile.imwrite(folder / "bigtiff.tif", pixels, photometric="rgb", bigtiff=True)
    tifffile.imwrite(folder / "pages.tif", np.stack([pixels, pixels]), photometric="rgb")
    return [folder / name for name in (*made, "tiles.tif", "bigtiff.tif", "pages.tif")]


def _features(folder):
    rng = np.random.default_rng(0)
    values, places = rng.normal(size=(9, 4)).astype(np.float32), np.arange(18).reshape(9, 2)
    held = {"features": values, "coords": places}
    layouts = {"plain.h5": {}, "packed.h5": {"chunks": (3, 2), "compression": "gzip", "shuffle": True}}
    layouts["sums.h5"] = {"chunks": (9, 2), "fletcher32": True, "compression": "lzf"}
    for name, options in layouts.items():
        with h5py.File(folder / name, "w") as file:
            for key, array in held.items():
                file.create_dataset(key, data=array, **options)
            file["coords"].attrs.update({"patch_size_level0": 256, "target_magnification": 20.0})
    with h5py.File(folder / "stamp.h5", "w", libver="latest") as file:
        file["feats"], file["coords"] = values, places / 3
        file.attrs.update({"unit": "um", "tile_size_um": 256.0, "extractor": "ctranspath"})
    tensors = {name: torch.tensor(array) for name, array in held.items()}
    torch.save(tensors, folder / "zipped.pt")
    torch.save(tensors["features"].bfloat16(), folder / "one.pt")
    torch.save(tensors, folder / "old.pt", _use_new_zipfile_serialization=False)
    np.save(folder / "one.npy", values)
    np.save(folder / "fortran.npy", np.asfortranarray(values.astype(">f8")))
    np.savez(folder / "plain.npz", **held)
    np.savez_compressed(folder / "packed.npz", **held)
    save_file({name: np.ascontiguousarray(array) for name, array in held.items()}, folder / "a.safetensors")
    names = ["stamp.h5", "zipped.pt", "one.pt", "old.pt", "one.npy", "fortran.npy", "plain.npz", "packed.npz"]
    return [folder / name for name in (*layouts, *names, "a.safetensors")]


def _tables(folder):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"bag": [f"b{number // 3}" for number in range(24)]})
    frame = frame.assign(label=frame["bag"].str[1:].astype(int) % 2, group="g1", x=rng.normal(size=24), y=range(24))
    frame.to_csv(folder / "a.csv", index=False)
    frame.assign(label=frame["label"].map(["benign", "mal, ignant"].__getitem__)).to_csv(
        folder / "quoted.csv", index=False, quoting=2, lineterminator="\r\n"
    )
    frame.to_csv(folder / "semicolon.csv", index=False, sep=";")
    frame.to_csv(folder / "a.tsv", index=False, sep="\t")
    (folder / "a.csv.gz").write_bytes(gzip.compress((folder / "a.csv").read_bytes()))
    frame.to_parquet(folder / "a.parquet", index=False)
    frame.astype({"bag": "category"}).to_parquet(folder / "packed.parquet", index=False, compression="gzip")
    names = ["a.csv", "quoted.csv", "semicolon.csv", "a.tsv", "a.csv.gz", "a.parquet", "packed.parquet"]
    return [folder / name for name in names]


def _runs(folder):
    from bagwise.cli import main

    runs = []
    given = {"attention": "epochs=1", "MI-Net": "epochs=1", "summary-forest": "trees=5", "summary-boosting": "leaf=1"}
    given |= {
        "summary-SVM": "C=1",
        "MI-SVM": "C=1",
        "MI-Kernel": "C=1",
        "mi-Graph": "C=1",
        "miVLAD": "C=1",
        "EM-DD": "scale=1",
    }
    for number, (method, parameter) in enumerate(given.items()):
        argv = [
            "fit",
            str(folder / "a.csv"),
            "--bag",
            "bag",
            "--label",
            "label",
            "--group",
            "group",
            "--set",
            parameter,
        ]
        runs.append(folder / f"run-{number}")
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            _called(main, [*argv, "--method", method, "--out", str(runs[-1]), "--json"])
        assert (runs[-1] / "config.json").exists(), method
    return runs


def _called(main, argv):
    import sys

    before, sys.argv = sys.argv, ["bagwise", *argv]
    try:
        with contextlib.suppress(SystemExit):
            main()
    finally:
        sys.argv = before
