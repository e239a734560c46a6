import hashlib
import io
import tarfile
import threading
import zipfile
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from scipy.io import savemat
from scipy.sparse import csr_matrix

from bagwise import BagwiseError
from bagwise.datasets import download, load_dataset


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Serve a folder, and let every set come from it: put("musk1", "a.zip", sha256)."""
    folder = tmp_path / "served"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()

        def put(name, file, content, sha256=None):
            (folder / file).write_bytes(content)
            address = f"http://127.0.0.1:{running.server_port}/{file}"
            source = replace(download.SOURCES[name], address=address, sha256=sha256)
            monkeypatch.setitem(download.SOURCES, name, source)

        yield put
        running.shutdown()


def uci(bags):
    """Write bags as the UCI repository does."""
    lines = []
    for bag in bags:
        for conformation, features in zip(bag.instance_names, bag.instances, strict=True):
            numbers = ",".join(str(int(value)) for value in features)
            lines.append(f"{bag.name},{conformation},{numbers},{int(bag.label)}.\n")
    return "".join(lines).encode()


def zipped(**members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "."), content)
    return buffer.getvalue()


def tarred(name, content):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        member = tarfile.TarInfo(f"some/folder/{name}")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def assert_same(one, other):
    np.testing.assert_array_equal(one.instances, other.instances)
    np.testing.assert_array_equal(one.offsets, other.offsets)
    np.testing.assert_array_equal(one.labels, other.labels)


def test_musk_comes_from_the_lines_that_were_published(server, tmp_path, data_directory):
    known = load_dataset("musk1", data_directory)
    lines = uci(known)
    assert hashlib.sha256(lines).hexdigest() == download.SOURCES["musk1"].sha256
    server("musk1", "musk.zip", zipped(clean1__names=b"no", clean1__data=lines), download.SOURCES["musk1"].sha256)
    got = load_dataset("musk1", tmp_path / "data")
    assert_same(got, known)
    assert got.names.tolist() == known.names.tolist()
    assert got.instance_names.tolist() == known.instance_names.tolist()
    assert_same(load_dataset("musk1", tmp_path / "data"), known)  # from the file that was written
    assert [path.name for path in (tmp_path / "data" / "musk1").iterdir()] == ["musk1.npz"]


@pytest.mark.parametrize("name", ["fox", "tiger", "elephant"])
def test_the_animals_come_from_the_archive_that_was_published(server, tmp_path, data_directory, name):
    known = load_dataset(name, data_directory)
    buffer = io.BytesIO()
    ids = np.repeat(np.arange(1, 201), known.sizes)
    labels = np.repeat(2.0 * known.labels - 1, known.sizes)
    savemat(buffer, {"features": csr_matrix(known.instances), "bag_ids": ids, "labels": csr_matrix(labels)})
    server(name, "andrews.tgz", tarred(f"{name}_100x100_matlab.mat", buffer.getvalue()))
    assert_same(load_dataset(name, tmp_path / "data"), known)


def compressed(content):
    """Write what `uncompress` reads, with 9-bit codes of single bytes and a reset before the width would grow."""
    bits, codes = [], []
    for begin in range(0, len(content), 200):
        codes.append([*content[begin : begin + 200], 256])
    for group in codes:
        padded = [*group, *[0] * (-len(group) % 8)]  # after a reset the rest of eight codes is skipped
        bits += [f"{code:09b}"[::-1] for code in padded]
    stream = "".join(bits)
    return b"\x1f\x9d\x90" + bytes(int(stream[at : at + 8][::-1].ljust(1, "0"), 2) for at in range(0, len(stream), 8))


def test_a_file_that_compress_made_is_unpacked(server, tmp_path, data_directory):
    known = load_dataset("musk1", data_directory)
    server("musk1", "musk.zip", zipped(clean1__data__Z=compressed(uci(known))), download.SOURCES["musk1"].sha256)
    assert_same(load_dataset("musk1", tmp_path / "data"), known)


def test_a_file_that_was_unpacked_by_hand_will_do(server, tmp_path, data_directory):
    known = load_dataset("musk1", data_directory)
    server("musk1", "gone.zip", b"", download.SOURCES["musk1"].sha256)
    (tmp_path / "musk1").mkdir()
    (tmp_path / "musk1" / "clean1.data").write_bytes(uci(known))
    assert_same(load_dataset("musk1", tmp_path), known)


@pytest.mark.parametrize(
    ("content", "sha256", "told"),
    [
        (b"hello", None, "cannot be downloaded"),
        (zipped(other__txt=b"hello"), None, "the archive holds no clean1.data"),
        (zipped(clean1__data=b"hello"), "0" * 64, "is not the file that was published"),
        (zipped(clean1__data=b"\x00\xff,1"), None, "cannot be read|holds"),
        (zipped(clean1__data=b"a,b,1,2,1.\n"), None, "holds"),
    ],
)
def test_what_is_not_the_set_is_refused(server, tmp_path, content, sha256, told):
    server("musk1", "musk.zip", content, sha256)
    with pytest.raises(BagwiseError, match=told) as caught:
        load_dataset("musk1", tmp_path)
    assert "\n" not in str(caught.value)


def test_a_server_that_does_not_have_it_leaves_instructions(server, tmp_path):
    server("fox", "andrews.tgz", b"")
    source = download.SOURCES["fox"]
    download.SOURCES["fox"] = replace(source, address=f"{source.address}.not-there")
    with pytest.raises(BagwiseError, match=r"404.*download http://.* by hand and unpack fox_100x100_matlab\.mat into"):
        load_dataset("fox", tmp_path)
    assert not list(tmp_path.glob("fox/*"))
