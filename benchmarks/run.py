"""Run the benchmarks: `python benchmarks/run.py --rival PYTHON [--only NAME]`; `make bench` does so.

Each row of results/benchmarks.json is one figure: a ratio of seconds against a rival that took turns with Bagwise in
the same run (the median over laps), or a value. A row that is not run again stays as it is.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from race import Contender, one_thread, race, ratio
from starting import check_small, evaluate_small, predict_small
from workloads import KNOW_NEIGHBOURS, METHODS_THAT_COST

from bagwise.files import replacing

ROOT = Path(__file__).resolve().parents[1]
RESULTS, README = ROOT / "results" / "benchmarks.json", ROOT / "README.md"
BEGIN, END = "<!-- made by make bench -->\n", "<!-- end -->\n"
OURS = Path(sys.executable)
LAPS = 5

Row = dict[str, Any]


def against(rival: Contender, ours: str, processes: int = 1, *, laps: int = LAPS, what: str) -> Row:
    seconds = race({"ours": Contender(OURS, "ours.py", ours, processes), "theirs": rival}, laps)
    return {
        "ratio": round(ratio(seconds, "ours", "theirs"), 2),
        "ours": statistics.median(seconds["ours"]),
        "theirs": statistics.median(seconds["theirs"]),
        "raw": seconds,
        "what": what,
    }


def mnist_vs_torchmil(rival: Path) -> Row:
    """Let torchmil choose the batch size that suits it best."""
    sizes = (1, 2, 4, 8, 16)
    rivals = {f"batch {size}": Contender(rival, "torchmil_rival.py", f"mnist-{size}") for size in sizes}
    seconds = race({"ours": Contender(OURS, "ours.py", "mnist"), **rivals}, LAPS)
    best = min(rivals, key=lambda name: statistics.median(seconds[name]))
    return {
        "ratio": round(ratio(seconds, "ours", best), 2),
        "ours": statistics.median(seconds["ours"]),
        "theirs": statistics.median(seconds[best]),
        "raw": seconds,
        "what": f"LeNet5 with attention, bags of 10-100 digits, seconds an image; torchmil's best was {best}",
    }


def regression_vs_mikit(rival: Path) -> Row:
    """Let each of mikit-learn's networks, and the best of ours by inner validation, learn the same numbers once."""
    contenders: dict[str, tuple[Path, *tuple[str, ...]]] = {
        "ours": (OURS, "regression.py"),
        "additive attention": (rival, "mikit_rival.py", "additive"),
        "self-attention": (rival, "mikit_rival.py", "self"),
    }
    told = {name: json.loads(once(*contender)) for name, contender in contenders.items()}
    ours = told.pop("ours")
    best = max(told, key=lambda name: told[name]["r2"])
    of_others = ", ".join(f"{name} R² {found['r2']:.2f} in {found['seconds']:.0f} s" for name, found in told.items())
    return {
        "ratio": round(told[best]["seconds"] / ours["seconds"], 2),
        "ours": ours["seconds"],
        "theirs": told[best]["seconds"],
        "raw": {"ours": ours, **told},
        "what": f"R² {ours['r2']:.2f} on 200 bags of 10-100 x 50 numbers after learning from 500, in CPU seconds,"
        f" choosing among {ours['among']} methods included, against the best of mikit-learn's: {of_others}",
    }


def method_cost(name: str, _: Path) -> Row:
    """Compare a method with attention, the cheapest of its kind."""
    known = ", its neighbours found before" if name in KNOW_NEIGHBOURS else ""
    what = f"a fit of {name}, 100 bags of 2,000 x 512, an epoch{known}, against attention's, seconds"
    return against(Contender(OURS, "ours.py", "fit-attention"), f"fit-{name}", laps=3, what=what)


def once(python: Path, script: str, *arguments: str) -> str:
    """Run a script on one thread, and give what it prints."""
    command = [str(python), str(Path(__file__).parent / script), *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=one_thread()).stdout


def alone(script: str) -> Row:
    """Run a script that has no rival."""
    told = subprocess.run([OURS, Path(__file__).parent / script], check=True, capture_output=True, text=True)
    row: Row = json.loads(told.stdout)
    return row


BENCHMARKS: dict[str, Callable[[Path], Row]] = {
    "cv-musk1-vs-plain-loop": lambda _: against(
        Contender(OURS, "plain.py", "musk1", 2),
        "musk1",
        2,
        what="MUSK1, attention, 5 x 10 folds, seconds an epoch of all 50 models; two processes of one thread each",
    ),
    "cv-musk1-vs-torchmil": lambda rival: against(
        Contender(rival, "torchmil_rival.py", "musk1", 2),
        "musk1",
        2,
        what="the same, against torchmil's Trainer at batch size 1, validating on one bag",
    ),
    "own-pooling-vs-plain-loop": lambda _: against(
        Contender(OURS, "plain.py", "own-pooling"),
        "own-pooling",
        laps=9,
        what="MUSK1, a pooling of the user's own, 10 folds, against the same loop with fused SGD, seconds an epoch",
    ),
    "mnist-bags-vs-torchmil": mnist_vs_torchmil,
    "mnist-bags-vs-encoder": lambda _: against(
        Contender(OURS, "ours.py", "encoder"),
        "mnist",
        what="the same training against nothing but its encoder, forward and backward, seconds an image",
    ),
    "encoder-vs-torch-layers": lambda _: against(
        Contender(OURS, "plain.py", "encoder"),
        "encoder",
        what="LeNet5 forward and backward on bags of 10-100 digits, against the same layers of torch, seconds an image",
    ),
    "slide-bags-vs-plain-loop": lambda _: against(
        Contender(OURS, "plain.py", "slides"),
        "slides",
        laps=3,
        what="40 bags of 500-8000 x 1024, attention, seconds an epoch",
    ),
    "slide-bags-vs-torchmil-padded": lambda rival: against(
        Contender(rival, "torchmil_rival.py", "slides-4"),
        "slides",
        laps=3,
        what="the same, against torchmil's padded batches of four bags",
    ),
    "slide-bags-cv-vs-one-by-one": lambda _: against(
        Contender(OURS, "ours.py", "slide-folds-one-by-one"),
        "slide-folds",
        laps=3,
        what="ten folds in one training on all cores, against ten fits one after the other; seconds an epoch",
    ),
    "mi-kernel-cv-vs-before": lambda _: against(
        Contender(OURS, "kernels_before.py", "elephant"),
        "elephant",
        what="ELEPHANT, MI-Kernel, 10 folds, against kernels that share nothing, seconds a cross-validation",
    ),
    "regression-vs-mikit": regression_vs_mikit,
    "predict-million-extra-mib": lambda _: alone("million.py"),
    **{f"method-cost-{name}": partial(method_cost, name) for name in METHODS_THAT_COST[1:]},
    "train-20000-patches-extra-mib": lambda _: alone("patches.py"),
    "stream-bytes-per-epoch-ratio": lambda _: alone("streaming.py"),
    "tile-peak-mib": lambda _: alone("tiling.py"),
    "report-opens-seconds": lambda _: alone("opening.py"),
    "check-small-cpu": lambda _: check_small(),
    "predict-small-vs-import-torch": lambda _: predict_small(),
    "evaluate-small-jobs": lambda _: evaluate_small(),
}


def machine() -> str:
    model = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), model)
    return f"{model}, {torch.multiprocessing.cpu_count()} cores, torch {torch.__version__}"


def table(rows: list[Row]) -> str:
    lines = ["| benchmark | Bagwise | what |", "|---|---|---|"]
    for row in rows:
        figure = f"is {row['ratio']:.2f} times as fast" if "ratio" in row else f"{row['value']:.4g} {row['unit']}"
        lines.append(f"| `{row['name']}` | {figure} | {row['what']} |")
    return "\n".join(lines) + "\n"


def with_table(text: str, rows: list[Row]) -> str:
    """Put the table in its place in the README."""
    before, rest = text.split(BEGIN)
    return before + BEGIN + table(rows) + END + rest.split(END, 1)[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rival", type=Path, required=True, help="the Python of the environment of the rivals")
    parser.add_argument("--only", choices=BENCHMARKS, help="run one benchmark")
    options = parser.parse_args()
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, check=True, capture_output=True, text=True)
    rows = {row["name"]: row for row in json.loads(RESULTS.read_text())} if RESULTS.exists() else {}
    for name in [options.only] if options.only else BENCHMARKS:
        rows[name] = {"name": name, **BENCHMARKS[name](options.rival.absolute())}
        rows[name] |= {"commit": commit.stdout.strip(), "machine": machine()}
        print(name, rows[name].get("ratio", rows[name].get("value")), flush=True)
        ordered = [rows[known] for known in BENCHMARKS if known in rows]
        with replacing(RESULTS) as temporary:
            temporary.write_text(json.dumps(ordered, indent=2) + "\n", encoding="utf-8")
        text = with_table(README.read_text(encoding="utf-8"), ordered)
        with replacing(README) as temporary:
            temporary.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
