import os
import pickle

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bagwise as bw
from bagwise import BagwiseError, BagwiseWarning
from bagwise.io import folders
from bagwise.io.folders import read_folder
from bagwise.io.matching import match_files

SIZES = {"a": 4, "b": 7, "c": 2, "d": 5}


def features(name):
    return np.random.default_rng(ord(name[0])).normal(size=(SIZES[name], 3)).astype(np.float32)


@pytest.fixture
def folder(tmp_path):
    """Write four bags of four kinds of file, and labels beside them."""
    place = tmp_path / "bags"
    place.mkdir()
    with h5py.File(place / "a.h5", "w") as file:
        file["features"] = features("a")[None]
        file["coords"] = np.arange(8).reshape(4, 2)
    np.save(place / "b.npy", features("b"))
    np.savez(place / "c.npz", features=features("c"))
    with h5py.File(place / "d.h5", "w") as file:
        file["feats"] = features("d")
    (tmp_path / "labels.csv").write_text("bag,label,group\nd,1,y\nb,0,x\na,1,x\nc,0,y\n")
    return place


def refusal(*arguments, **options):
    with pytest.raises(BagwiseError) as caught:
        read_folder(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---- what is read ----------------------------------------------------------------------------------------------------


def test_bags_come_in_the_order_of_the_table(folder):
    bags = read_folder(folder, folder.parent / "labels.csv", group="group")
    assert bags.names.tolist() == ["d", "b", "a", "c"]
    assert bags.labels.tolist() == [1, 0, 1, 0]
    assert bags.groups.tolist() == ["y", "x", "x", "y"]
    for bag in bags:
        np.testing.assert_array_equal(bag.instances, features(bag.name))


def test_bags_without_labels_come_in_the_order_of_their_names(folder):
    bags = read_folder(folder)
    assert bags.names.tolist() == ["a", "b", "c", "d"]
    assert bags.labels is None
    again = read_folder(folder, folder.parent / "labels.csv", label=None)
    assert again.names.tolist() == ["d", "b", "a", "c"]
    assert again.labels is None


def test_training_on_files_is_training_in_memory(folder):
    files = read_folder(folder, folder.parent / "labels.csv")
    memory = bw.Bags.from_arrays([features(name) for name in files.names], files.labels, names=files.names)
    one, other = (bw.AttentionMIL(epochs=3, random_state=0).fit(bags) for bags in (files, memory))
    np.testing.assert_array_equal(one.predict_proba(files), other.predict_proba(memory))


def test_only_heads_are_read_and_each_bag_when_it_is_looked_at(folder, monkeypatch):
    read = []
    original = folders._FileSource.read

    def watched(source, begin, end):
        read.append(os.path.basename(source.name))  # noqa: PTH119 - a name is text
        return original(source, begin, end)

    monkeypatch.setattr(folders._FileSource, "read", watched)
    bags = read_folder(folder, folder.parent / "labels.csv")
    chosen = bags[[2, 0]]
    assert chosen.sizes.tolist() == [4, 5]
    assert not read
    assert len(chosen[0].instances) == 4
    assert read == ["a.h5"]


@pytest.mark.filterwarnings("ignore:.*left out")
def test_several_files_of_a_bag_follow_each_other(folder):
    table = folder.parent / "patients.csv"
    table.write_text("patient,label,file\nP1,1,b.npy\nP2,0,c.npz\nP1,1,a.h5\nP1,1,b.npy\n")
    bags = read_folder(folder, table, bag="patient")
    assert bags.names.tolist() == ["P1", "P2"]
    np.testing.assert_array_equal(bags[0].instances, np.concatenate([features("b"), features("a")]))


@pytest.mark.filterwarnings("ignore:.*left out")
def test_names_may_hold_dots_and_slashes(folder):
    (folder / "site.1").mkdir()
    np.save(folder / "site.1" / "TCGA-05.v2.npy", features("a"))
    table = folder.parent / "labels.csv"
    table.write_text("bag,label\nsite.1/TCGA-05.v2,1\na,0\n")
    bags = read_folder(folder, table)
    np.testing.assert_array_equal(bags[0].instances, features("a"))
    assert bags.names[0] == "site.1/TCGA-05.v2"


def test_coordinates_are_there_if_all_files_have_them(folder):
    assert read_folder(folder, coordinates=True).coordinates is None
    for name in ("b.npy", "c.npz", "d.h5"):
        (folder / name).unlink()
    np.testing.assert_array_equal(read_folder(folder, coordinates=True).coordinates, np.arange(8).reshape(4, 2))
    assert read_folder(folder).coordinates is None


def test_workers_can_be_sent_the_bags(folder):
    bags = pickle.loads(pickle.dumps(read_folder(folder)))
    np.testing.assert_array_equal(bags[1].instances, features("b"))


def test_a_file_that_changes_meanwhile_is_noticed(folder):
    bags = read_folder(folder)
    identity = bags.instances.identity
    np.save(folder / "b.npy", np.ones((9, 3), np.float32))
    with pytest.raises(BagwiseError, match=r"b\.npy changed while it was in use"):
        bags[1]
    assert read_folder(folder).instances.identity != identity


# ---- labels that are said to be missing ------------------------------------------------------------------------------


def test_what_has_no_label_is_left_out_and_named(folder):
    table = folder.parent / "labels.csv"
    table.write_text("bag,label\na,1\nb,0\nd,NA\n")
    problems = []
    assert [path.name for path in match_files(folder, table, problems=problems).files_without_label] == ["c.npz"]
    assert [problem.code for problem in problems] == ["missing-label", "features-without-labels"]
    with pytest.warns(BagwiseWarning) as told:
        assert read_folder(folder, table).names.tolist() == ["a", "b"]
    assert [str(one.message) for one in told] == [
        f"{table}: 1 bag has no label and is left out ('d')",
        f"{table}: 1 feature file of {folder} has no row here and is left out ('c.npz')",
    ]


@pytest.mark.filterwarnings("ignore:.*left out")
def test_labels_without_files_are_refused_or_named(folder):
    table = folder.parent / "labels.csv"
    table.write_text("bag,label\na,1\nghost,0\nb,0\n")
    assert "'ghost' in row 3" in refusal(folder, table)
    with pytest.warns(BagwiseWarning) as told:
        matched = match_files(folder, table, skip_missing=True)
    assert f"1 bag has no feature file in {folder} ('ghost') and is left out" in str(told[0].message)
    assert matched.bags_without_file == ("ghost",)
    assert [bag.name for bag in matched.bags] == ["a", "b"]
    table.write_text("bag,label\nghost,0\n")
    problems = []
    matched = match_files(folder, table, problems=problems)
    assert not matched.bags
    assert len(matched.files_without_label) == 4
    assert next((one.severity, one.code) for one in problems) == ("error", "labels-without-features")
    with pytest.raises(BagwiseError, match=f"no bag has a feature file in {folder}"):
        match_files(folder, table, skip_missing=True)


def test_of_a_bag_of_several_files_those_that_are_there_stay(folder):
    first, second = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))[:2]
    table = folder.parent / "labels.csv"
    table.write_text(f"bag,label,file\nP1,1,{first}\nP1,1,gone.h5\nP2,0,{second}\nP3,0,gone too.h5\n")
    assert "--skip-missing" in refusal(folder, table)
    with pytest.warns(BagwiseWarning) as told:
        matched = match_files(folder, table, skip_missing=True)
    sentence = f"2 rows name no feature file in {folder} ('gone.h5', 'gone too.h5') and are left out"
    assert any(sentence in str(one.message) for one in told)
    assert [(one.name, len(one.files)) for one in matched.bags] == [("P1", 1), ("P2", 1)]
    assert matched.bags_without_file == ("P3",)
    table.write_text(f"bag,label,file\nP1,1,{first}\nP2,0,../{table.name}\n")
    with pytest.raises(BagwiseError, match="is not a feature file|leads out"):
        match_files(folder, table, skip_missing=True)


# ---- what is refused -------------------------------------------------------------------------------------------------


def test_links_that_go_astray_are_refused(folder, tmp_path):
    np.save(tmp_path / "secret.npy", np.ones((2, 3)))
    for target, says in ((tmp_path / "secret.npy", "is a link to"), ("loop.npy", "nowhere"), ("gone", "nowhere")):
        (folder / "loop.npy").symlink_to(target)
        assert says in refusal(folder)
        (folder / "loop.npy").unlink()
    (folder / "round").symlink_to(folder)
    assert read_folder(folder).names.tolist() == ["a", "b", "c", "d"]


def test_a_link_within_the_folder_names_a_file_once(folder):
    (folder / "alias.npy").symlink_to(folder / "b.npy")
    assert read_folder(folder).names.tolist() == ["a", "b", "c", "d"]


@pytest.mark.parametrize("file", ["../secret.npy", "/etc/passwd", "nothing.npy", "a.txt"])
def test_a_table_chooses_no_files_elsewhere(folder, tmp_path, file):
    np.save(tmp_path / "secret.npy", np.ones((2, 3)))
    table = tmp_path / "table.csv"
    table.write_text(f"bag,label,file\na,1,{file}\n")
    assert repr(file) in refusal(folder, table)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("bag,label\n", "no rows"),
        ("bag,label\na,1\na,0\n", "bag 'a': 1 in row 2, 0 in row 3"),
        ("bag,label\na,1\nb\n", "row 3 has 1 fields"),
        ("bag,label\na,\n", "column 'label' is empty in row 2"),
        ("bag,label\n,1\n", "column 'bag' is empty in row 2"),
        ("bag,lable\na,1\n", "did you mean 'lable'"),
        ("bag,bag,label\na,a,1\n", "2 columns have the name 'bag'"),
        ('bag,label\n"a,1\n', "the quotes in row 2"),
        ("bag,label,file\na,1,a.h5\nb,0,\n", "column 'file' is empty in row 3"),
        ("bag,label,file\nx,1,b.npy\ny,0,b.npy\n", "have the same file"),
    ],
)
def test_tables_that_will_not_do(folder, text, says):
    table = folder.parent / "labels.csv"
    table.write_text(text)
    told = refusal(folder, table)
    assert says in told
    assert "labels.csv" in told


def test_two_files_of_one_name_are_refused(folder):
    np.save(folder / "a.npy", features("a"))
    assert "bag 'a' has two files" in refusal(folder)


def test_mixed_files_are_refused(folder):
    np.save(folder / "e.npy", np.ones((2, 4), np.float32))
    assert "has 3 features an instance" in refusal(folder)
    np.save(folder / "e.npy", np.ones((2, 3), np.int64))
    assert "all files need floats" in refusal(folder)


@pytest.mark.filterwarnings("ignore::bagwise.BagwiseWarning")
@settings(max_examples=60)
@given(st.text(alphabet='bag,labe\n\r"1 0é\ufeff', max_size=60))
def test_any_text_is_a_table_or_is_refused(tmp_path_factory, text):
    place = tmp_path_factory.getbasetemp() / "fuzz"
    if not place.exists():
        place.mkdir()
        np.save(place / "a.npy", features("a"))
        np.save(place / "b.npy", features("b"))
    table = place / "labels.csv"
    for content in (text, "bag,label\n" + text):
        table.write_bytes(content.encode("utf-8"))
        try:
            bags = read_folder(place, table)
        except BagwiseError as error:
            assert "\n" not in str(error)  # noqa: PT017
        else:
            assert set(bags.names) <= {"a", "b"}
