"""What small commands cost: CPU-seconds of whole processes, workers included, which take turns lap by lap."""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from race import one_thread

ROOT = Path(__file__).resolve().parents[1]
BAGWISE = [sys.executable, "-c", "from bagwise.cli import main; main()"]
TABLE = ROOT / "examples" / "contacts.csv"
CONTACTS: list[Any] = [TABLE, "--bag", "customer", "--label", "left", "--instance", "contact"]
BEFORE = "ba2dd42"  # the last commit in which a command imported all that any command uses
LAPS = 5

Command = list[Any]


def cpu_seconds(command: Command, source: Path, folder: Path) -> float:
    """Run a command with the code of a folder, and give what it and all its workers took."""
    environment = one_thread() | {"PYTHONPATH": str(source), "PYTHONPYCACHEPREFIX": str(folder / "compiled")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # who installs Bagwise has its modules compiled
    begin = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(list(map(str, command)), check=True, capture_output=True, env=environment, cwd=folder)
    end = resource.getrusage(resource.RUSAGE_CHILDREN)
    return end.ru_utime + end.ru_stime - begin.ru_utime - begin.ru_stime


def laps(contenders: dict[str, tuple[Command, Path]], folder: Path) -> dict[str, list[float]]:
    """Run commands in turn, once before it counts, so that everything is compiled and in memory."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for lap in range(LAPS + 1):
        for name, (command, source) in contenders.items():
            fresh = folder / f"{name}-{lap}"
            seconds[name].append(cpu_seconds([fresh if part == "OUT" else part for part in command], source, folder))
    return {name: of[1:] for name, of in seconds.items()}


@contextmanager
def code_of(commit: str) -> Iterator[Path]:
    """Give the code of a commit."""
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.run(["git", "archive", commit, "src"], cwd=ROOT, check=True, stdout=subprocess.PIPE)
        subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
        yield Path(folder) / "src"


def check_small() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder, code_of(BEFORE) as before:
        command = [*BAGWISE, "check", *CONTACTS]
        seconds = laps({"ours": (command, ROOT / "src"), "theirs": (command, before)}, Path(folder))
    return {
        "ratio": round(statistics.median(t / o for o, t in zip(*seconds.values(), strict=True)), 2),
        "ours": statistics.median(seconds["ours"]),
        "theirs": statistics.median(seconds["theirs"]),
        "raw": seconds,
        "what": f"`check` of a table of 1,500 rows against commit {BEFORE}, CPU-seconds of the whole process",
    }


def predict_small() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        folder, source = Path(name), ROOT / "src"
        cpu_seconds([*BAGWISE, "fit", *CONTACTS, "--epochs", 2, "--jobs", 1, "--out", folder / "run"], source, folder)
        lines = TABLE.read_text().splitlines()
        names = sorted({line.partition(",")[0] for line in lines[1:]})[:12]
        twelve = [line for line in lines[1:] if line.partition(",")[0] in names]
        (folder / "twelve.csv").write_text("\n".join([lines[0], *twelve]) + "\n")
        predict: Command = [*BAGWISE, "predict", folder / "run", folder / "twelve.csv"]
        contenders: dict[str, Command] = {"predict": predict, "import torch": [sys.executable, "-c", "import torch"]}
        seconds = laps({name: (command, source) for name, command in contenders.items()}, folder)
    return _in_units_of(
        seconds, "times `import torch`", "`predict` of 12 bags by a neural run, CPU-seconds of the whole process"
    )


def evaluate_small() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        evaluate = [*BAGWISE, "evaluate", *CONTACTS, "--out", "OUT"]
        contenders = {"default": evaluate, "one job": [*evaluate, "--jobs", 1]}
        seconds = laps({name: (command, ROOT / "src") for name, command in contenders.items()}, Path(folder))
    return _in_units_of(
        seconds,
        "times `--jobs 1`",
        f"`evaluate` of 240 small bags with a process a core, of which there are {os.cpu_count()}, CPU-seconds",
    )


def _in_units_of(seconds: dict[str, list[float]], unit: str, what: str) -> dict[str, Any]:
    ours, theirs = seconds.values()
    value = statistics.median(o / t for o, t in zip(ours, theirs, strict=True))
    return {"value": round(value, 3), "unit": unit, "raw": seconds, "what": what}
