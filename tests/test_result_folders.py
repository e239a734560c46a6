"""Folders of results: whose they are, one command at a time, and nothing of others touched."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from bagwise.claims import claimed
from bagwise.commands.older import BLOCKS, written_before
from bagwise.errors import BagwiseError
from bagwise.files import replacing
from bagwise.folders import MARKER, ResultFolder, folder_around
from bagwise.tensorfiles import write_tensors


def write(path, text="ours"):
    with replacing(path) as temporary:
        temporary.write_text(text)


def files_in(folder):
    return {path.relative_to(folder).as_posix(): path.is_file() and path.read_bytes() for path in folder.rglob("*")}


BEGINNING = """
import os, sys, time
from itertools import count
from pathlib import Path
from bagwise.files import replacing
from bagwise.claims import claimed
def write(name, text="ours"):
    with replacing(out / name) as temporary: temporary.write_text(text)
out = Path(sys.argv[1])
with claimed(out, "fit", resume=True) as results:
    print("begun", flush=True)
    """


def start(out, code):
    """Start a process that claims a folder; give it when it has."""
    process = subprocess.Popen([sys.executable, "-c", BEGINNING + code, out], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "begun\n"
    return process


def write_and_stop(out, names, command="fit", resume=True):
    with claimed(out, command, resume=resume):
        for name in names:
            write(out / name)
        raise KeyboardInterrupt


def stopped(out, *names):
    """Leave a folder as a command that was interrupted does."""
    with pytest.raises(KeyboardInterrupt):
        write_and_stop(out, names)


# ---- what a folder says of itself ------------------------------------------------------------------------------------


def test_a_folder_says_what_it_is_before_anything_is_in_it(tmp_path):
    with claimed(tmp_path / "run", "fit") as results:
        assert files_in(tmp_path / "run").keys() == {MARKER}
        assert results.about()["command"] == "fit"
        assert not results.is_finished()
        write(tmp_path / "run" / "inner" / "a.txt")
    assert results.is_finished()
    assert files_in(tmp_path / "run").keys() == {MARKER, "inner", "inner/a.txt"}


def test_each_folder_has_an_id_that_its_temporary_files_carry(tmp_path):
    names = []
    for out in (tmp_path / "a", tmp_path / "b"):
        with claimed(out, "fit") as results, replacing(out / "x.txt") as temporary:
            assert temporary.name.startswith(f".writing-{results.about()['id']}-")
            temporary.touch()
            names.append(results.about()["id"])
    assert len(set(names)) == 2


def test_the_nearest_marker_counts(tmp_path):
    with claimed(tmp_path / "a", "fit"), claimed(tmp_path / "a" / "b", "explain"):
        assert folder_around(tmp_path / "a" / "b" / "c" / "x").about()["command"] == "explain"
        assert folder_around(tmp_path / "a" / "x").about()["command"] == "fit"
    assert folder_around(tmp_path / "x") is None


# ---- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("resume", [None, False, True])
@pytest.mark.parametrize("foreign", ["report.html", "checkpoints/mine.pt", ".writing-notes", "config.json", MARKER])
def test_a_folder_of_others_is_refused_and_left_alone(tmp_path, foreign, resume):
    (tmp_path / foreign).parent.mkdir(exist_ok=True)
    (tmp_path / foreign).write_text('{"mine": 1}')
    before = files_in(tmp_path)
    older = written_before("config.json", "report.html", BLOCKS)
    with pytest.raises(BagwiseError, match="is not empty"), claimed(tmp_path, "fit", resume=resume, older=older):
        pytest.fail("it was taken")
    assert files_in(tmp_path) == before


@pytest.mark.parametrize(
    ("command", "resume", "says"), [("evaluate", True, "fit wrote to it"), ("fit", False, "--resume")]
)
def test_what_another_command_left_or_nobody_wants_to_go_on_with_is_refused(tmp_path, command, resume, says):
    stopped(tmp_path, "a.txt")
    before = files_in(tmp_path)
    with pytest.raises(BagwiseError, match=says), claimed(tmp_path, command, resume=resume):
        pytest.fail("it was taken")
    assert files_in(tmp_path) == before


def test_a_folder_that_was_stopped_before_anything_was_written_is_as_good_as_empty(tmp_path):
    out = tmp_path / "run"
    start(out, "os._exit(9)").communicate()
    assert files_in(out).keys() == {MARKER}
    with pytest.raises(RuntimeError), claimed(out, "evaluate"):
        raise RuntimeError
    assert not out.exists()


def test_two_commands_at_once_are_kept_apart_by_a_lock_that_dies_with_its_process(tmp_path):
    out = tmp_path / "run"
    process = start(out, "time.sleep(60)")
    before = files_in(out)
    for resume in (None, False, True):
        with pytest.raises(BagwiseError, match="in use by another command"), claimed(out, "fit", resume=resume):
            pytest.fail("both have it")
    assert files_in(out) == before
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with claimed(out, "fit"):
        pass


# ---- nothing of others -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["report.html", "maps/1.png", ".writing-notes"])
def test_files_of_others_put_into_a_folder_are_neither_replaced_nor_removed(tmp_path, name):
    stopped(tmp_path, "checkpoints/block-0000.safetensors")
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    with pytest.raises(BagwiseError, match="did not write it"), claimed(tmp_path, "fit", resume=True):
        write(tmp_path / name)
    with claimed(tmp_path, "fit", resume=True) as results:
        results.clear()
    assert (tmp_path / name).read_text() == "mine"
    assert not (tmp_path / "checkpoints").exists()


def test_one_of_ours_that_was_changed_is_ours_no_more(tmp_path):
    stopped(tmp_path, "report.html", "config.json")
    (tmp_path / "report.html").write_text("theirs now")
    (tmp_path / "config.json").unlink()
    (tmp_path / "config.json").symlink_to(tmp_path / "elsewhere")
    for name in ("report.html", "config.json"):
        with pytest.raises(BagwiseError, match=f"{name} is there already"), claimed(tmp_path, "fit", resume=True):
            write(tmp_path / name)
    assert (tmp_path / "report.html").read_text() == "theirs now"
    assert (tmp_path / "config.json").is_symlink()


def test_a_folder_in_which_others_keep_something_stays(tmp_path):
    with claimed(tmp_path, "fit") as results:
        write(tmp_path / "checkpoints" / "method-0" / "block-0000.safetensors")
        (tmp_path / "checkpoints" / "notes.txt").write_text("mine")
        (tmp_path / "other").mkdir()
        results.clear("checkpoints")
    assert files_in(tmp_path).keys() == {MARKER, "checkpoints", "checkpoints/notes.txt", "other"}


def test_a_file_is_written_again_and_again_by_whoever_goes_on(tmp_path):
    stopped(tmp_path, "a.txt")
    for text in ("longer than before", "short"):
        with claimed(tmp_path, "fit", resume=True):
            write(tmp_path / "a.txt", text)
    start(tmp_path, "write('a.txt', 'by another process')").communicate()
    assert (tmp_path / "a.txt").read_text() == "by another process"


def test_what_was_cut_off_in_the_marker_spoils_no_other_line(tmp_path):
    stopped(tmp_path, "a.txt")
    with (tmp_path / MARKER).open("a") as file:
        file.write('\n{"file": "b.t')
    with claimed(tmp_path, "fit", resume=True):
        write(tmp_path / "c.txt")
    results = ResultFolder(tmp_path)
    assert [results.owns(tmp_path / name) for name in ("a.txt", "c.txt")] == [True, True]
    assert results.is_finished()


# ---- what a failure leaves -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [BagwiseError("no"), KeyboardInterrupt(), SystemExit(1)], ids=repr)
@pytest.mark.parametrize("resume", [None, False, True])
def test_a_failure_before_any_work_leaves_nothing(tmp_path, error, resume):
    with pytest.raises(type(error)), claimed(tmp_path / "a" / "b", "fit", resume=resume):
        raise error
    assert files_in(tmp_path) == {}
    with pytest.raises(type(error)), claimed(tmp_path, "fit", resume=resume):
        raise error
    assert files_in(tmp_path) == {}


def test_what_nothing_could_go_on_from_is_removed_and_the_rest_stays(tmp_path):
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        write_and_stop(out, ["maps/1.png"], "explain", resume=None)
    assert not out.exists()
    stopped(out, "maps/1.png")
    assert files_in(out).keys() == {MARKER, "maps", "maps/1.png"}


def test_half_written_files_of_a_process_that_was_killed_are_removed_and_no_others(tmp_path):
    stopped(tmp_path, "a.txt")
    own = ResultFolder(tmp_path).about()["id"]
    for name in (f".writing-{own}-x.txt", ".writing-other.txt"):
        (tmp_path / name).touch()
    with claimed(tmp_path, "fit", resume=True):
        assert files_in(tmp_path).keys() == {MARKER, "a.txt", ".writing-other.txt"}


def test_a_kill_at_any_moment_leaves_a_folder_that_can_be_gone_on_with(tmp_path):
    code = "for n in count(): write(f'c/{n % 7}.txt', 'x' * n); n % 50 or results.clear('c')"
    for number in range(6):
        process = start(tmp_path, code)
        time.sleep(0.01 * number)
        process.kill()
        process.communicate()
    with claimed(tmp_path, "fit", resume=True) as results:
        results.clear()
    assert files_in(tmp_path).keys() == {MARKER}


# ---- folders of Bagwise 0.1 ------------------------------------------------------------------------------------------


def test_a_folder_of_an_older_version_is_known_by_what_is_in_it(tmp_path):
    torch = pytest.importorskip("torch")
    block = tmp_path / "checkpoints" / "block-0000.safetensors"
    write_tensors(block, {"w": torch.ones(2)}, {"fingerprint": "x"})
    (tmp_path / "config.json").write_text(json.dumps({"bagwise": "0.1.0"}))
    (tmp_path / "checkpoints" / ".writing-abcd_123.safetensors").touch()
    for mine in ("checkpoints/mine.safetensors", "report.html", ".writing-notes"):
        (tmp_path / mine).write_text("mine")
    older = written_before("config.json", "report.html", BLOCKS)
    before = files_in(tmp_path)
    with pytest.raises(RuntimeError), claimed(tmp_path, "fit", resume=True, older=older):
        raise RuntimeError
    assert files_in(tmp_path) == before
    with claimed(tmp_path, "fit", resume=True, older=older) as results:
        write(tmp_path / "config.json", "{}")
        with pytest.raises(BagwiseError):
            write(tmp_path / "report.html")
        results.clear("checkpoints")
    assert files_in(tmp_path).keys() == {
        *(MARKER, "config.json", "checkpoints", "checkpoints/mine.safetensors", "report.html", ".writing-notes")
    }


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="whoever may write everywhere is not refused")
def test_a_place_that_may_not_be_written_to_is_said(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(BagwiseError, match="you may not write in"), claimed(tmp_path / "run", "fit"):
        pytest.fail("it was taken")
