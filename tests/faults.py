"""Commands in processes of their own that may be stopped or starved, and what they leave behind."""

import json
import multiprocessing
import os
import resource
import signal
import sys
from pathlib import Path

import h5py
import psutil
from PIL import Image

from bagwise.folders import MARKER, ResultFolder

COLUMNS = ["--bag", "patient", "--label", "diagnosis", "--instance", "cell", "--coordinate", "x", "--coordinate", "y"]
VOLATILE = {"seconds", "environment"}
NEWS = [": absence ", "What answers are worth", "lie farther from the training bags", "are not used: bagwise validate"]

# ---- commands in processes that have loaded the libraries already ----------------------------------------------------


class Started:
    """A command at work, in a process of its own."""

    def __init__(self, argv, folder, limits=()):
        folder.mkdir(exist_ok=True)
        self.told_in = folder / "told.txt"
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(
            [
                *("torch._dynamo", "bagwise.cli.commands", "bagwise.experiments.mil_assumption"),
                *(f"bagwise.commands.{name}" for name in ("fit", "evaluate", "explain", "predict", "tile")),
            ]
        )
        begun = context.Event()
        self.process = context.Process(target=_begin, args=([str(part) for part in argv], self.told_in, limits, begun))
        self.process.start()
        assert begun.wait(60)

    def end(self, timeout=120):
        self.process.join(timeout)
        assert not self.process.is_alive(), "it hangs"
        return self.process.exitcode, complaints(self.told_in.read_text())


def _begin(argv, told_in, limits, begun):
    with Path(os.devnull).open("w") as nothing, told_in.open("w") as told:
        os.dup2(nothing.fileno(), 1)
        os.dup2(told.fileno(), 2)
    from bagwise.cli.entry import main
    from bagwise.training import workers

    sys.argv = ["bagwise", *argv]
    workers.SECONDS_A_WORKER = 1e-9  # else there is too little work for them
    for kind, most in limits:
        if kind == "memory":  # so much more than it has now
            kind, most = resource.RLIMIT_AS, psutil.Process().memory_info().vms + most
        resource.setrlimit(kind, (most, most))
    begun.set()
    main()


def complaints(told):
    """Leave out what commands say of their work: how far it is, what it costs, and what came out."""
    return "".join(line for line in told.splitlines(keepends=True) if not any(one in line for one in NEWS))


def assert_quiet(told):
    assert "Traceback" not in told
    assert len(told.splitlines()) <= 1, told
    assert not told or told.startswith("bagwise: "), told


# ---- what is found afterwards ----------------------------------------------------------------------------------------


def without_volatile(value):
    if isinstance(value, dict):
        return {name: without_volatile(part) for name, part in value.items() if name not in VOLATILE}
    return [without_volatile(part) for part in value] if isinstance(value, list) else value


def contents(out):
    """Read all that a folder holds, or a file; fails where one of them is half-written."""
    paths = [out] if out.is_file() else sorted(path for path in out.rglob("*") if path.is_file())
    found = {}
    for path in paths:
        name = path.relative_to(out).as_posix()
        if path.name == MARKER or path.name.startswith(".writing-"):
            continue
        found[name] = path.read_bytes()
        if path.suffix == ".json":
            found[name] = without_volatile(json.loads(path.read_text()))
        elif path.suffix == ".html":
            found[name] = path.read_text(encoding="utf-8").rstrip().endswith("</html>")
            assert found[name]
        elif path.suffix == ".safetensors":
            from bagwise.tensorfiles import read_tensors

            read_tensors(path)
        elif path.suffix == ".h5":
            with h5py.File(path) as file:
                assert len(file["features"]) == len(file["coords"])
        elif path.suffix in (".png", ".jpg"):
            with Image.open(path) as picture:
                picture.load()
    return found


def assert_nothing_half_done(command, out, whole, stopped_by):
    """See that it is whole, unfinished and says so, or untouched; give whether it is whole."""
    if not out.exists():
        return False
    if command == "predict":
        assert contents(out) == whole
        return True
    if ResultFolder(out).is_finished():
        return True
    found = contents(out)  # nothing in it is half-written
    assert {name for name in found if not name.startswith("checkpoints/")} <= whole.keys() | {"notes.txt"}
    if stopped_by != signal.SIGKILL:
        assert not list(out.rglob(".writing-*"))
        assert command != "explain", "nothing could go on from it"
    return False
