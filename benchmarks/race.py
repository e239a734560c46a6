"""The starter's side of a race: contenders take turns, so that what slows the machine slows all of them."""

import os
import statistics
import subprocess
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path


def one_thread() -> dict[str, str]:
    """Give the environment in which a contender runs."""
    return {**os.environ, **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")}


@dataclass
class Contender:
    """A script that serves laps (see pace.py), in one process or in several that share its work."""

    python: Path
    script: str
    work: str
    processes: int = 1

    def start(self, stack: ExitStack) -> list[subprocess.Popen[str]]:
        folder = Path(__file__).parent
        started = []
        for share in range(self.processes):
            process = subprocess.Popen(
                [self.python, folder / self.script, self.work, str(share), str(self.processes)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=one_thread(),
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            started.append(process)
        for process in started:
            if _line(process) != "ready":
                raise RuntimeError(f"{self.script} {self.work} did not get ready")
        return started


def race(contenders: dict[str, Contender], laps: int) -> dict[str, list[float]]:
    """Give each contender's seconds per unit of work in every lap; its slowest process counts."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    with ExitStack() as stack:
        running = {name: contender.start(stack) for name, contender in contenders.items()}
        for _ in range(laps):
            for name, processes in running.items():
                for process in processes:
                    assert process.stdin is not None
                    process.stdin.write("go\n")
                    process.stdin.flush()
                seconds[name].append(max(float(_line(process)) for process in processes))
    return seconds


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    if not line:
        raise RuntimeError(f"{process.args!r} ended early, with status {process.wait()}")
    return line


def ratio(seconds: dict[str, list[float]], ours: str, theirs: str) -> float:
    """How many times faster: the median of the laps' ratios, each of two laps side by side."""
    return statistics.median(t / o for o, t in zip(seconds[ours], seconds[theirs], strict=True))
