"""Folders of feature files that will not do."""

import os
import pickle
import struct
import zipfile
import zlib

import h5py
import numpy as np
import torch
from malformed import CASES, Bomb, Plan, case, truncated, write
from malformed_images import listening
from safetensors.numpy import save_file


def features(folder, count=6, width=4):
    rng = np.random.default_rng(0)
    slides = folder / "slides"
    slides.mkdir()
    for number in range(count):
        with h5py.File(slides / f"s{number}.h5", "w") as file:
            file["features"] = rng.normal(size=(5, width)).astype(np.float32)
    write(folder, "labels.csv", "bag,label\n" + "".join(f"s{number},{number % 2}\n" for number in range(count)))
    return slides


def folder_case(name, says, spoil):
    """Add a case of a folder that is spoilt after it was written well."""

    def made(folder):
        slides = features(folder)
        spoil(slides)
        return Plan("fit", slides, "--labels", folder / "labels.csv", "--out", folder / "run", says=says)

    CASES[name] = made


def rewritten(name, save):
    def spoil(slides):
        (slides / "s2.h5").unlink()
        save(slides / name)

    return spoil


def h5_with(**datasets):
    def save(path):
        with h5py.File(path, "w") as file:
            for key, value in datasets.items():
                file[key] = value

    return save


def zip_bomb(path):
    head = {"descr": "<f4", "fortran_order": False, "shape": (33 << 10, 1 << 13)}
    archive = zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1)
    with archive, archive.open("features.npy", "w") as file:
        np.lib.format.write_array_header_1_0(file, head)
        for _ in range(33):
            file.write(bytes(1 << 25))


def packed_h5(shape, values):
    """Write a chunk that unpacks to something else than it says."""

    def save(path):
        with h5py.File(path, "w") as file:
            made = file.create_dataset("features", shape, "f4", chunks=shape, compression="gzip")
            made.id.write_direct_chunk((0, 0), zlib.compress(values))

    return save


def unfinished_h5(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("features", (5, 4), "f4", chunks=(1, 4))[:3] = 1


def h5_of_links(path):
    with h5py.File(path, "w") as file:
        file["features"], file["other"] = h5py.SoftLink("/other"), h5py.SoftLink("/features")


def h5_elsewhere(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("features", (5, 4), "f4", external=[("/dev/zero", 0, h5py.h5f.UNLIMITED)])


def virtual_h5(path):
    layout = h5py.VirtualLayout((5, 4), "f4")
    layout[:] = h5py.VirtualSource(path.with_name("s1.h5"), "features", shape=(5, 4))
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("features", layout)


def npy_of_a_trillion_rows(path):
    with path.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": (10**12, 4)})


def long_head(path):
    path.write_bytes(struct.pack("<Q", 1 << 40) + b"{}")


class Zeros:
    """Pickled, this is 8 GiB in a few bytes."""

    def __reduce__(self):
        return bytearray, (8 << 30,)


def nan_inside(path):
    values = np.ones((5, 4), np.float32)
    values[3, 1] = np.nan
    h5_with(features=values)(path)


def symlink_loop(slides):
    (slides / "loop.h5").symlink_to(slides / "loop.h5")


def link_outside(slides):
    (slides / "s2.h5").rename(slides.parent / "elsewhere.h5")
    (slides / "s2.h5").symlink_to(slides.parent / "elsewhere.h5")


folder_case("empty_h5", r"s2\.h5.*empty", lambda slides: (slides / "s2.h5").write_bytes(b""))
folder_case("truncated_h5", r"s2\.h5", truncated("s2.h5", 0.5))
folder_case("no_h5", r"s2\.h5", lambda slides: (slides / "s2.h5").write_bytes(b"hello" * 100))
folder_case("wrong_key", r"s2\.h5.*'patches'", rewritten("s2.h5", h5_with(patches=np.ones((5, 4)))))
folder_case("another_width", r"s2\.h5.*5", rewritten("s2.h5", h5_with(features=np.ones((5, 5)))))
folder_case("one_dimension", r"s2\.h5.*\(20,\)", rewritten("s2.h5", h5_with(features=np.ones(20))))
folder_case("three_dimensions", r"s2\.h5.*\(2, 5, 4\)", rewritten("s2.h5", h5_with(features=np.ones((2, 5, 4)))))
folder_case("no_instances", r"s2\.h5.*empty", rewritten("s2.h5", h5_with(features=np.ones((0, 4)))))
folder_case("text_features", r"s2\.h5", rewritten("s2.h5", h5_with(features=np.full((5, 4), b"a"))))
folder_case("nan_in_a_file", r"s2\.h5.*row 3", rewritten("s2.h5", nan_inside))
folder_case(
    "other_count_of_coordinates",
    r"s2\.h5.*'coords'",
    rewritten("s2.h5", h5_with(features=np.ones((5, 4)), coords=np.ones((4, 2)))),
)
folder_case("empty_pt", r"s2\.pt.*empty", rewritten("s2.pt", lambda path: path.write_bytes(b"")))
folder_case("no_pt", r"s2\.pt", rewritten("s2.pt", lambda path: path.write_bytes(b"hello" * 100)))
folder_case("list_in_pt", r"s2\.pt", rewritten("s2.pt", lambda path: torch.save([1, 2], path)))
folder_case("truncated_npy", r"s2\.npy", rewritten("s2.npy", lambda path: path.write_bytes(b"\x93NUMPY\x01\x00")))
folder_case(
    "objects_in_npy", r"s2\.npy", rewritten("s2.npy", lambda p: np.save(p, np.array([[{}]]), allow_pickle=True))
)
folder_case("zip_bomb", r"s2\.npz", rewritten("s2.npz", zip_bomb))
folder_case("truncated_safetensors", r"s2\.safetensors", rewritten("s2.safetensors", lambda p: p.write_bytes(b"\x10")))
folder_case(
    "two_arrays_in_safetensors",
    r"s2\.safetensors.*'a', 'b'",
    rewritten("s2.safetensors", lambda path: save_file({"a": np.ones((2, 4)), "b": np.ones((2, 4))}, path)),
)


@case
def skip_missing_leaves_nothing(folder):
    slides = features(folder)
    write(folder, "labels.csv", "bag,label\nx,0\ny,1\n")
    says = r"labels\.csv: no bag has a feature file in .*slides: give the folder"
    return Plan("fit", slides, "--labels", folder / "labels.csv", "--skip-missing", "--out", folder / "run", says=says)


@case
def skip_missing_without_labels(folder):
    says = r"--skip-missing is for a folder with a table of --labels, and .*slides is none"
    return Plan("fit", features(folder), "--skip-missing", "--out", folder / "run", says=says)


folder_case("a_missing_file", r"labels\.csv.*'s2'.*slides", lambda slides: (slides / "s2.h5").unlink())
folder_case("a_bag_with_two_files", r"'s2'.*two files", lambda slides: np.save(slides / "s2.npy", np.ones((2, 4))))
folder_case("an_unfinished_h5", r"s2\.h5.*3 of the 5 chunks", rewritten("s2.h5", unfinished_h5))
folder_case("a_chunk_of_a_gigabyte", r"s2\.h5.*1\.0 GiB", rewritten("s2.h5", packed_h5((1 << 14, 1 << 14), b"")))
folder_case("a_chunk_beyond_memory", r"s2\.h5", rewritten("s2.h5", packed_h5((1 << 20, 1 << 10), b"")))
folder_case(
    "a_chunk_that_swells", r"s2\.h5.*more than it says", rewritten("s2.h5", packed_h5((5, 4), bytes(20_000_000)))
)
folder_case("h5_links_in_a_circle", r"s2\.h5.*link", rewritten("s2.h5", h5_of_links))
folder_case("an_h5_that_reads_a_device", r"s2\.h5.*other files", rewritten("s2.h5", h5_elsewhere))
folder_case("a_virtual_h5", r"s2\.h5.*other files", rewritten("s2.h5", virtual_h5))
folder_case("a_trillion_rows_in_npy", r"s2\.npy.*1000000000000", rewritten("s2.npy", npy_of_a_trillion_rows))
folder_case("a_long_head_of_safetensors", r"s2\.safetensors.*1024\.0 GiB", rewritten("s2.safetensors", long_head))
folder_case(
    "a_number_in_pt_without_end",
    r"s2\.pt.*would grow",
    rewritten("s2.pt", lambda path: torch.save(torch.zeros(1).expand(10**9, 4), path)),
)
folder_case(
    "gigabytes_of_a_number_in_pt", r"s2\.pt.*bytearray", rewritten("s2.pt", lambda path: torch.save([Zeros()], path))
)
for ending in ("h5", "pt", "npy", "npz", "safetensors"):
    name = f"s2.{ending}"
    folder_case(f"a_pipe_as_{ending}", rf"s2\.{ending}.*pipe", rewritten(name, os.mkfifo))
    folder_case(f"a_socket_as_{ending}", rf"s2\.{ending}.*socket", rewritten(name, listening))
folder_case("symlink_loop", r"loop\.h5", symlink_loop)
folder_case("a_link_out_of_the_folder", r"s2\.h5.*elsewhere", link_outside)
folder_case("an_empty_folder", r"slides", lambda slides: [path.unlink() for path in slides.iterdir()])


@case
def a_planted_pickle(folder):
    slides = features(folder)
    (slides / "s2.h5").unlink()
    (slides / "s2.pt").write_bytes(pickle.dumps(Bomb(folder / "executed")))
    return Plan("fit", slides, "--labels", folder / "labels.csv", "--out", folder / "run", says=r"s2\.pt")


@case
def a_planted_pickle_in_a_zip(folder):
    slides = features(folder)
    (slides / "s2.h5").unlink()
    torch.save({"features": torch.ones(5, 4), "bomb": Bomb(folder / "executed")}, slides / "s2.pt")
    return Plan("fit", slides, "--labels", folder / "labels.csv", "--out", folder / "run", says=r"s2\.pt.*io\.open")


@case
def a_folder_without_labels(folder):
    return Plan("fit", features(folder), "--out", folder / "run", says=r"--labels")


@case
def a_folder_that_is_not_there_of_which_rows_may_be_skipped(folder):
    argv = ["fit", folder / "slides", "--labels", folder / "labels.csv", "--skip-missing", "--out", folder / "run"]
    return Plan(*argv, says=r"no file or folder.*slides")
