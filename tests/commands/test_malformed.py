"""Bad input, of every kind a user may meet: one sentence that names it, a status that is not 0, and nothing written."""

import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import save_file

COLUMNS = ["--bag", "bag", "--label", "label"]


def good_frame():
    rng = np.random.default_rng(0)
    bags = np.repeat([f"b{number}" for number in range(12)], 3)
    return pd.DataFrame(
        {
            "bag": bags,
            "label": [int(name[1:]) % 2 for name in bags],
            "x": rng.normal(size=36),
            "y": rng.normal(size=36),
        }
    )


def write(folder, name, text):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


class Plan:
    """What a case runs, and what the sentence must name."""

    def __init__(self, *argv, says):
        self.argv = [str(part) for part in argv]
        self.says = says


CASES = {}


def case(function):
    CASES[function.__name__] = function
    return function


def table_case(name, says, change, options=(), file="table.csv"):
    """Add a case of a table that is changed before it is written."""

    def made(folder):
        changed = change(good_frame())
        path = folder / file
        if isinstance(changed, pd.DataFrame):
            changed.to_parquet(path) if file.endswith("parquet") else changed.to_csv(path, index=False)
        else:
            write(folder, file, changed)
        return Plan("fit", path, *(options or COLUMNS), "--out", folder / "run", says=says)

    CASES[name] = made


def replaced(column, row, value):
    def change(frame):
        frame[column] = frame[column].astype(object)
        frame.loc[row, column] = value
        return frame

    return change


def csv_text(frame):
    return frame.to_csv(index=False)


table_case("empty_table", r"table\.csv.*empty", lambda _: "")
table_case("only_spaces", r"table\.csv.*empty", lambda _: "\n  \n")
table_case("only_a_header", r"table\.csv.*no rows", lambda _: "bag,label,x\n")
table_case("ragged_row", r"table\.csv.*row 4", lambda frame: csv_text(frame.head(2)) + "b9,1,0.5\n")
table_case("too_many_fields", r"table\.csv.*row 4", lambda frame: csv_text(frame.head(2)) + "b9,1,0.5,0.5,7\n")
table_case("open_quote", r"table\.csv.*quote", lambda frame: csv_text(frame) + '"b9,1,0.5,0.5\n')
table_case("gap_in_a_feature", r"'x'.*row 7", replaced("x", 5, None))
table_case("nan_in_a_feature", r"'x'.*row 7", replaced("x", 5, "nan"))
table_case("infinity_in_a_feature", r"'x'.*row 7", replaced("x", 5, "inf"))
table_case("text_in_a_feature", r"'x'.*row 7.*'tall'", replaced("x", 5, "tall"))
table_case("gap_in_the_bag_column", r"'bag'", replaced("bag", 5, None))
table_case("gap_in_the_labels", r"'label'.*row 7", replaced("label", 5, None))
table_case("two_labels_in_a_bag", r"'b1'", replaced("label", 5, 0))
table_case("text_among_labels", r"'label'.*'yes'", lambda frame: frame.assign(label=["yes", *frame.label[1:]]))
table_case("one_class", r"class", lambda frame: frame.assign(label=1))
table_case("one_bag", r"label", lambda frame: frame.assign(bag="b1", label=1))
table_case("no_such_bag_column", r"'bags'.*'bag'", lambda f: f, ["--bag", "bags", "--label", "label"])
table_case("no_such_label_column", r"'lable'.*'label'", lambda f: f, ["--bag", "bag", "--label", "lable"])
table_case("no_such_group_column", r"'patient'", lambda f: f, [*COLUMNS, "--group", "patient"])
table_case("no_such_coordinate", r"'z'", lambda f: f, [*COLUMNS, "--coordinate", "x", "--coordinate", "z"])
table_case("one_column_for_two_uses", r"'bag'.*2 uses", lambda f: f, ["--bag", "bag", "--label", "bag"])
table_case("no_bag_column_named", r"--bag.*bag, label, x, y", lambda f: f, ["--label", "label"])
table_case("no_label_column_named", r"--label", lambda f: f, ["--bag", "bag"])
table_case("no_features", r"table\.csv.*feature", lambda frame: frame[["bag", "label"]])
table_case("duplicate_columns", r"2 columns.*'x'", lambda frame: csv_text(frame).replace(",y", ",x", 1))
table_case("row_numbers", r"no name", lambda frame: frame.to_csv())
table_case("utf_16", r"UTF-16", lambda frame: csv_text(frame).encode("utf-16"))
table_case("latin_1", r"UTF-8", lambda frame: csv_text(frame).replace("b3", "bé").encode("latin-1"))
table_case("nul_bytes", r"NUL", lambda frame: csv_text(frame).replace("b3", "b\0"))
table_case("truncated_gzip", r"table\.csv\.gz", lambda _: b"\x1f\x8b\x08\x00\x00", file="table.csv.gz")
table_case("no_parquet", r"table\.parquet", lambda _: b"PAR1 and nothing else", file="table.parquet")
table_case("unknown_kind_of_table", r"table\.xlsx", csv_text, file="table.xlsx")
table_case("a_missing_method", r"'atention'", lambda f: f, [*COLUMNS, "--method", "atention"])
table_case("no_epochs", r"epochs is 0", lambda f: f, [*COLUMNS, "--epochs", "0"])
table_case("a_negative_seed", r"seed", lambda f: f, [*COLUMNS, "--seed", "-1"])
table_case("an_empty_ensemble", r"--ensemble is 0", lambda f: f, [*COLUMNS, "--ensemble", "0"])
table_case("a_wrong_class_weight", r"--class-weight is 'even'", lambda f: f, [*COLUMNS, "--class-weight", "even"])
table_case("a_wrong_backend", r"'spark'", lambda f: f, [*COLUMNS, "--backend", "spark"])
table_case("an_address_without_a_cluster", r"--address", lambda f: f, [*COLUMNS, "--address", "here:1"])
table_case("too_few_to_validate", r"validation", lambda f: f.head(12), [*COLUMNS, "--patience", "3"])


@case
def no_such_file(folder):
    return Plan("fit", folder / "nowhere.csv", *COLUMNS, "--out", folder / "run", says=r"nowhere\.csv")


@case
def no_such_data_set(folder):
    return Plan("fit", "musk9", "--out", folder / "run", says=r"'musk9'.*musk1")


@case
def more_folds_than_bags(folder):
    path = folder / "table.csv"
    good_frame().to_csv(path, index=False)
    return Plan("evaluate", path, *COLUMNS, "--folds", 10, "--out", folder / "run", says=r"6 bags.*10 folds")


@case
def a_method_given_twice(folder):
    path = folder / "table.csv"
    good_frame().to_csv(path, index=False)
    twice = ["--method", "attention", "--method", "attention"]
    return Plan("evaluate", path, *COLUMNS, *twice, "--folds", 2, "--out", folder / "run", says=r"'attention'.*twice")


# ---- tables of labels ------------------------------------------------------------------------------------------------


def labels_case(name, says, text):
    def made(folder):
        frame = good_frame()
        frame.drop(columns="label").to_csv(folder / "table.csv", index=False)
        whole = "bag,label\n" + "".join(f"b{number},{number % 2}\n" for number in range(12))
        labels = write(folder, "labels.csv", text(whole))
        return Plan("fit", folder / "table.csv", *COLUMNS, "--labels", labels, "--out", folder / "run", says=says)

    CASES[name] = made


labels_case("a_label_for_no_bag", r"labels\.csv.*'b99'", lambda text: text + "b99,1\n")
labels_case("a_bag_for_no_label", r"labels\.csv.*'b3'", lambda text: text.replace("b3,1\n", ""))
labels_case("a_bag_labelled_twice", r"labels\.csv.*'b3'", lambda text: text + "b3,0\n")
labels_case("empty_labels", r"labels\.csv", lambda _: "")
labels_case("labels_without_a_column", r"labels\.csv.*'label'", lambda text: text.replace("label", "diagnosis"))


# ---- folders of feature files ----------------------------------------------------------------------------------------


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


def truncated(path_name, share):
    def spoil(slides):
        path = slides / path_name
        whole = path.read_bytes()
        path.write_bytes(whole[: int(len(whole) * share)])

    return spoil


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


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


# ---- where results go ------------------------------------------------------------------------------------------------


@case
def out_is_a_file(folder):
    good_frame().to_csv(folder / "table.csv", index=False)
    write(folder, "used", "")
    return Plan("fit", folder / "table.csv", *COLUMNS, "--out", folder / "used", says=r"used is a file")


@case
def out_is_below_a_file(folder):
    good_frame().to_csv(folder / "table.csv", index=False)
    write(folder, "used", "")
    return Plan("fit", folder / "table.csv", *COLUMNS, "--out", folder / "used" / "run", says=r"used")


@case
def out_is_in_use(folder):
    good_frame().to_csv(folder / "table.csv", index=False)
    (folder / "used").mkdir()
    write(folder, "used/notes.txt", "mine")
    return Plan("fit", folder / "table.csv", *COLUMNS, "--out", folder / "used", says=r"used is not empty")


@case
def out_cannot_be_written(folder):
    good_frame().to_csv(folder / "table.csv", index=False)
    return Plan("fit", folder / "table.csv", *COLUMNS, "--out", "/proc/run", says=r"/proc")


# ---- runs ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def trained(tmp_path_factory, run):
    """Give a folder with a run and the table it learnt from; cases work on copies."""
    folder = tmp_path_factory.mktemp("trained")
    good_frame().to_csv(folder / "table.csv", index=False)
    assert run("fit", folder / "table.csv", *COLUMNS, "--out", folder / "run", "--epochs", "1", "--json").status == 0
    return folder


RUN_CASES = {}


def run_case(name, says, spoil, command="predict"):
    RUN_CASES[name] = (says, spoil, command)


def edited(*path_and_value):
    def spoil(folder):
        *path, value = path_and_value
        file = folder / "run" / "config.json"
        config = json.loads(file.read_text())
        inner = config
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = value
        file.write_text(json.dumps(config))

    return spoil


def changed_table(change):
    def spoil(folder):
        change(good_frame()).to_csv(folder / "table.csv", index=False)

    return spoil


def planted_model(folder):
    (folder / "run" / "model.safetensors").write_bytes(pickle.dumps(Bomb(folder / "executed")))


run_case("a_run_that_is_not_there", r"run", lambda folder: shutil.rmtree(folder / "run"))
run_case("a_run_that_is_a_file", r"run", lambda f: (shutil.rmtree(f / "run"), write(f, "run", "")))
run_case("an_unfinished_run", r"model\.safetensors", lambda folder: (folder / "run" / "model.safetensors").unlink())
run_case("a_run_without_config", r"config\.json", lambda folder: (folder / "run" / "config.json").unlink())
run_case("a_config_that_is_no_json", r"config\.json", lambda folder: write(folder, "run/config.json", "{"))
run_case("a_config_that_is_a_list", r"config\.json", lambda folder: write(folder, "run/config.json", "[]"))
run_case("a_config_of_another_version", r"config\.json.*9\.9", edited("bagwise", "9.9"))
run_case("a_config_with_other_classes", r"config\.json.*'classes'", edited("classes", [0, 2]))
run_case("a_config_with_another_width", r"config\.json.*'instance_shape'", edited("instance_shape", [3]))
run_case("a_config_with_another_class", r"config\.json.*'class'", edited("class", "os.system"))
run_case("a_config_with_more", r"config\.json.*'more'", edited("more", 1))
run_case("a_config_with_odd_columns", r"config\.json", edited("asked", "data", "bag", 3))
run_case("a_truncated_model", r"model\.safetensors", truncated("run/model.safetensors", 0.5))
run_case("a_model_that_is_a_pickle", r"model\.safetensors", planted_model)
run_case("a_feature_missing", r"table\.csv lacks.* y", changed_table(lambda frame: frame.drop(columns="y")))
run_case("a_feature_too_many", r"table\.csv has.* z", changed_table(lambda frame: frame.assign(z=1.0)))
run_case("another_bag_column", r"'bag'", changed_table(lambda frame: frame.rename(columns={"bag": "slide"})))
run_case("explain_a_feature_missing", r"lacks.* y", changed_table(lambda f: f.drop(columns="y")), "explain")
run_case("explain_into_a_folder_in_use", r"out", lambda f: write(f, "out", ""), "explain")


# ---- the tests -------------------------------------------------------------------------------------------------------


def everything_in(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_symlink() or path.exists()}


def assert_refused(status, told, says):
    assert status == 1, told
    lines = told.strip().splitlines()
    assert len(lines) == 1, told
    assert lines[0].startswith("bagwise: ")
    assert re.search(says, lines[0]), told
    assert "Traceback" not in told
    assert "Usage" not in told


def test_there_are_enough_of_them():
    assert len(CASES) + len(RUN_CASES) >= 60


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_refused_in_one_sentence(name, tmp_path, run):
    plan = CASES[name](tmp_path)
    (tmp_path / "executed").unlink(missing_ok=True)
    before = set(tmp_path.rglob("*"))
    done = run(*plan.argv)
    assert_refused(done.status, done.told, plan.says)
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", RUN_CASES)
def test_bad_runs_and_bad_data_for_them_are_refused(name, trained, tmp_path, run):
    says, spoil, command = RUN_CASES[name]
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    spoil(tmp_path)
    before = everything_in(tmp_path)
    out = ["--out", tmp_path / "out" / "nested"] if command == "explain" else ["--out", tmp_path / "said.csv"]
    done = run(command, tmp_path / "run", tmp_path / "table.csv", *out)
    assert_refused(done.status, done.told, says)
    assert everything_in(tmp_path) == before


# What concerns training or its output is none of the business of check, and links are followed by nobody.
OF_TRAINING = re.compile(r"out_|no_epochs|.*(method|seed|ensemble|weight|backend|cluster|folds|validate)")


@pytest.mark.parametrize("name", [name for name in CASES if not OF_TRAINING.match(name)])
def test_check_says_what_is_wrong_and_never_falls_over(name, tmp_path, run):
    plan = CASES[name](tmp_path)
    argv = plan.argv[1 : plan.argv.index("--out")]
    done = run("check", *argv)
    assert done.status == 1, done.out
    assert "Traceback" not in done.told + done.out
    if done.told:
        assert_refused(done.status, done.told, "")
    else:
        assert "error: " in done.out


IN_PROCESSES = ["empty_table", "truncated_h5", "a_planted_pickle", "out_is_in_use", "a_missing_method"]


@pytest.mark.parametrize("name", IN_PROCESSES)
def test_so_it_is_in_a_process_of_its_own(name, tmp_path):
    plan = CASES[name](tmp_path)
    before = set(tmp_path.rglob("*"))
    command = [Path(sys.executable).parent / "bagwise", *plan.argv]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env={**os.environ, "COLUMNS": "200"})
    assert_refused(done.returncode, done.stderr, plan.says)
    assert done.stdout == ""
    assert set(tmp_path.rglob("*")) == before


def test_a_disk_that_is_full(tmp_path):
    """Leaves the sentence, and nothing that could be taken for a run."""
    good_frame().to_csv(tmp_path / "table.csv", index=False)
    argv = ["bagwise", "fit", str(tmp_path / "table.csv"), *COLUMNS, "--epochs", "1", "--out", str(tmp_path / "run")]
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        " import bagwise.commands.fit; from bagwise import cli;"
        " resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000));"
        f" sys.argv = {argv!r}; cli.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert_refused(done.returncode, done.stderr, r"cannot write .*run")
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "table.csv"]
