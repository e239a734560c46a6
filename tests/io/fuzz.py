"""A fuzzer of all that Bagwise reads: `.venv/bin/python tests/io/fuzz.py --minutes 60 --out FOLDER`.

Valid files are changed and given to their readers, each in a process of its own that may take 1 GiB more, may write
nothing and start nothing. What comes back must be a result or a `BagwiseError` of one line within 10 seconds. Inputs
for which it is something else are kept in the folder, each beside a text that says what happened; `fuzz.py FILE` tries
one again.
"""

import argparse
import contextlib
import json
import os
import random
import resource
import select
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter
from math import prod
from pathlib import Path

import numpy as np
from fuzz_changes import changed

LONGEST, MEMORY = 10, 1 << 30  # seconds of the processor, and bytes
PATIENCE = 120  # seconds, where others use the machine, too
FORBIDDEN = {"subprocess.Popen", "os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn",
             "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod",
             "socket.connect", "shutil.rmtree"}  # fmt: skip


# ---- the process that reads --------------------------------------------------------------------------------------


def read(kind, path):
    """Read an input as the commands do."""
    from bagwise import Bags, BagwiseError
    from bagwise.commands.runs import Run
    from bagwise.feature_columns import Wanted
    from bagwise.io.features import open_features, peek_features
    from bagwise.io.image_files import read_image
    from bagwise.io.labels import known_labels, labels_apart
    from bagwise.io.points import read_points
    from bagwise.io.tables import read_table, read_tolerantly
    from bagwise.label_columns import LabelColumns
    from bagwise.methods.asked import ask

    path = Path(path)
    if kind == "image":
        read_image(path)
    elif kind == "features":
        peek_features(path)
        with open_features(path) as file:
            for begin in range(0, min(len(file), 64), 4):
                file[begin : begin + 4]
            file[:]
    elif kind == "table":
        errors = []
        for reader in (
            lambda: read_table(path, bag="bag", label="label", group="group"),
            lambda: known_labels(path, "bag", LabelColumns(("label",))),
            lambda: read_tolerantly(path, bag="bag", label=LabelColumns(("label",)), wanted=Wanted()),
            lambda: labels_apart(path, "bag", LabelColumns(("label",)), "group"),
            lambda: read_points(path),
        ):
            try:
                reader()
            except BagwiseError as error:
                errors.append(error)
        if errors:
            raise errors[0]
    elif kind == "run":
        models = Run.load(path).models
        shape = models[0].instance_shape_
        bags = Bags(np.linspace(-3, 3, 7 * prod(shape)).reshape(7, *shape), np.array([0, 1, 7]))
        with contextlib.suppress(BagwiseError):  # which need not name the file
            ask(models, bags)
    else:
        raise LookupError(kind)


def attempt(kind, path):
    """Read an input and say in a line what came of it."""
    import bagwise

    happened = []

    def look(event, arguments):
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if event in FORBIDDEN or (writes and arguments[0] != "/dev/null"):
            happened.append(f"{event} {arguments!r}"[:300])

    sys.addaudithook(look)
    with contextlib.suppress(OSError, ValueError):
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        most = taken + 4 * MEMORY  # Arrow sets more aside than it uses
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        resource.setrlimit(resource.RLIMIT_CPU, (LONGEST, LONGEST + 5))
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
    try:
        read(kind, path)
        outcome = "read"
    except bagwise.BagwiseError as error:
        told = str(error)
        outcome = "refused" if "\n" not in told and Path(path).name in told else f"raised {told!r}"
    except BaseException:  # whatever it is, it is a finding
        outcome = "raised " + traceback.format_exc()[-3000:]
    return f"did {happened[0]}" if happened else outcome


def serve():
    """Fork a process for each line of standard input, KIND and PATH, and answer what came of it."""
    import h5py  # noqa: F401 - so that each process need not
    import pandas  # noqa: F401
    import pyarrow.csv
    import pyarrow.parquet  # noqa: F401
    import safetensors.torch  # noqa: F401
    import torch._dynamo  # noqa: F401 - it writes a file of its own to find where it may

    import bagwise.commands.runs
    import bagwise.io.image_files
    import bagwise.io.tables
    import bagwise.training.kernels  # noqa: F401 - a refusal may load it, and numba makes a folder for what it keeps

    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    for line in sys.stdin:
        kind, path = json.loads(line)
        receiving, sending = os.pipe()
        process = os.fork()
        if not process:
            os.close(receiving)
            os.dup2(os.open(f"{path}.told", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
            os.write(sending, attempt(kind, path).encode(errors="replace")[:60_000])
            os._exit(0)
        os.close(sending)
        answer, end = b"", time.monotonic() + PATIENCE
        while select.select([receiving], [], [], max(0, end - time.monotonic()))[0]:
            piece = os.read(receiving, 1 << 16)
            if not piece:
                break
            answer += piece
        else:
            os.kill(process, signal.SIGKILL)
        _, status, used = os.wait4(process, 0)
        os.close(receiving)
        outcome = answer.decode(errors="replace")
        if os.WIFSIGNALED(status):
            killed = signal.Signals(os.WTERMSIG(status)).name
            outcome = "hung" if killed in ("SIGKILL", "SIGXCPU") else f"crashed with {killed}"
        elif used.ru_maxrss * 1024 > held + MEMORY:
            outcome = f"took {used.ru_maxrss // 1024} MiB, and {outcome}"
        print(json.dumps(outcome), flush=True)


# ---- the process that changes ------------------------------------------------------------------------------------


class Reader:
    """A process that reads what it is told to."""

    def __init__(self):
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONFAULTHANDLER": "1"}
        command = [sys.executable, __file__, "--serve"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def outcome(self, kind, path):
        """Say what came of an input."""
        print(json.dumps([kind, str(path)]), file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())

    def close(self):
        """End the process, and close what leads to it."""
        with self._process:
            self._process.stdin.close()


def fuzz(out, minutes, seed, kinds=None, tell=print):
    """Change and read for some time.

    Parameters
    ----------
    out
        A folder for the inputs that are findings.
    minutes
        How long.
    seed
        Of the changes.
    kinds
        Of the seeds to change; None is all.
    tell
        Called with a line of counts once a minute.

    Returns
    -------
    dict
        How many inputs of each kind there were and what came of them, and the findings.
    """
    from fuzz_seeds import write_seeds

    out.mkdir(parents=True, exist_ok=True)
    reader = Reader()
    seeds = {kind: paths for kind, paths in write_seeds(out / "seeds").items() if kinds is None or kind in kinds}
    rng, counts, findings, noise = random.Random(seed), Counter(), [], Counter()
    for kind, paths in seeds.items():
        for path in paths:
            outcome = reader.outcome(kind, path)
            assert outcome == "read" or path.stem in ("moving", "pages", "semicolon"), f"{path}: {outcome}"
    begin = told = time.monotonic()
    while time.monotonic() < begin + 60 * minutes:
        kind = rng.choice(sorted(seeds))
        path = _write_changed(rng, kind, seeds[kind], out / "now")
        before = set(path.parent.rglob("*"))
        outcome = reader.outcome(kind, path)
        if said := _noise(path):
            noise[said] += 1
        if left := set(path.parent.rglob("*")) - before:
            outcome = f"left {sorted(map(str, left))}"
        word = outcome.split(" ", 1)[0]
        counts[kind, word] += 1
        if word not in ("read", "refused"):
            findings.append(_keep(out / "findings", path, outcome, len(findings)))
            tell(f"{findings[-1]}: {outcome.strip().splitlines()[-1]}")
        if time.monotonic() > told + 60:
            told = time.monotonic()
            tell(
                f"{(told - begin) / 60:.0f} min, {sum(counts.values())} inputs, {_words(counts)}; {len(findings)} found"
            )
    reader.close()
    result = {"minutes": minutes, "seed": seed, "inputs": sum(counts.values()), "outcomes": _words(counts)}
    return result | {"findings": findings, "noise": noise.most_common(20)}


def _kind(path):
    kinds = {"image": (".png", ".jpg", ".tif", ".bmp"), "table": (".csv", ".tsv", ".gz", ".parquet")}
    named = next((kind for kind, endings in kinds.items() if path.suffix in endings), "features")
    return "run" if path.is_dir() else named


def _words(counts):
    return {f"{kind} {word}": number for (kind, word), number in sorted(counts.items())}


def _write_changed(rng, kind, paths, folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    source = rng.choice(paths)
    if kind != "run":
        others = [path.read_bytes() for path in rng.sample(paths, min(3, len(paths)))]
        path = folder / source.name
        path.write_bytes(changed(rng, source.name, source.read_bytes(), others))
        return path
    run, files = folder / source.name, ["config.json", "model.safetensors"]
    run.mkdir()
    for name in files:
        shutil.copy(source / name, run)
    name = rng.choice(files)
    data = (source / name).read_bytes()
    (run / name).write_bytes(changed(rng, name, data, [data]))
    return run


def _noise(path):
    told = Path(f"{path}.told")
    text = told.read_text(errors="replace") if told.exists() else ""
    told.unlink(missing_ok=True)
    return text.strip().splitlines()[0][:200] if text.strip() else ""


def _keep(folder, path, outcome, number):
    folder.mkdir(exist_ok=True)
    kept = folder / f"{number:04}-{path.name}"
    shutil.copytree(path, kept, dirs_exist_ok=True) if path.is_dir() else shutil.copy(path, kept)
    (folder / f"{kept.name}.txt").write_text(outcome)
    return kept.name


def main():
    """Fuzz, or try an input again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", action="append")
    parser.add_argument("--out", type=Path, default=Path("fuzz"))
    parser.add_argument("again", type=Path, nargs="?")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.serve:
        serve()
        return
    if asked.again is not None:
        print(Reader().outcome(_kind(asked.again), asked.again))
        return
    done = fuzz(asked.out, asked.minutes, asked.seed, asked.kind, lambda line: print(line, flush=True))
    print(json.dumps(done, indent=1))


if __name__ == "__main__":
    main()
