"""Folders of feature files that will not do."""

import pickle
import zipfile

import h5py
import numpy as np
import torch
from malformed import CASES, Bomb, Plan, case, truncated, write
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
folder_case("a_missing_file", r"'s2'.*labels\.csv.*slides", lambda slides: (slides / "s2.h5").unlink())
folder_case("a_bag_with_two_files", r"'s2'.*two files", lambda slides: np.save(slides / "s2.npy", np.ones((2, 4))))
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
