"""Training many models on one GPU, against the plain loop: run it where there are NumPy, torch and a GPU.

First what the joint executor computes on the device is compared with the plain executor in double precision on the CPU.
Then each workload is timed: an epoch of all members in one go, and the steps of the loop that a researcher writes, one
model and one bag at a time, everything already on the device, of its settings (float32, or autocast to bfloat16) the
faster. ``--scale`` makes everything smaller, for a test on a CPU.
"""

import argparse
import json
import math
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from bagwise.bags import Bags
from bagwise.models.architecture import Architecture
from bagwise.models.scaling import Moments
from bagwise.targets.classes import ClassTarget
from bagwise.training.data import PackedTensors
from bagwise.training.inference import predict
from bagwise.training.joint_inference import predict_together
from bagwise.training.looped import Looped
from bagwise.training.members import Member, Plan, Settings
from bagwise.training.together import Together

TWO = ClassTarget.of([0, 1])
SLIDES = Settings("adam", 1e-4, epochs=50, l2=1e-5)
MUSK = Settings("sgd", 5e-4, epochs=50, momentum=0.9, decay=1e-4, l2=0.005, dropout=0.5)
DIGITS = Settings("adam", 5e-4, epochs=40, l2=5e-5)
ATTENTION = Architecture("embedding", "attention", "mi-net", {"hidden": 64})
LENET = Architecture("embedding", "attention", "lenet5", {"hidden": 128})
Executor = TypeVar("Executor", bound=Looped)


class Work:
    """One workload: bags, and members that each hold a tenth of them out."""

    def __init__(
        self, name: str, sizes: np.ndarray, shape: tuple[int, ...], members: int, settings: Settings, **plan: Any
    ) -> None:
        self.name, self.settings = name, settings
        rng = np.random.default_rng(0)
        rows = int(sizes.sum())
        if len(shape) == 2:
            instances: np.ndarray = rng.integers(0, 256, (rows, *shape), dtype=np.uint8)
        else:
            instances = rng.standard_normal((rows, *shape), dtype=np.float32) * 3 + 1
        self.bags = Bags(instances, np.concatenate([[0], np.cumsum(sizes)]))
        self.labels = rng.integers(0, 2, len(sizes)).astype(np.float64)
        every = np.arange(len(sizes))
        self.members = [Member(seed, every[every % 10 != seed % 10], settings) for seed in range(members)]
        scaling = "pixels" if len(shape) == 2 else "standardize"
        self.plan = Plan(LENET if len(shape) == 2 else ATTENTION, TWO, order_seed=0, **({"scaling": scaling} | plan))

    def executor(self, kind: type[Executor], members: int | None = None, **plan: Any) -> Executor:
        plan_of = replace(self.plan, **plan)
        moments = Moments(self.bags.instances, self.bags.offsets) if plan_of.scaling == "standardize" else None
        return kind(plan_of, PackedTensors(self.bags, self.labels), self.members[:members], moments)


def slides(scale: float) -> Work:
    count, size, width = (max(3, round(n * scale)) for n in (100, 4000, 1024))
    return Work("slides", np.full(count, size), (width,), max(2, round(50 * scale)), SLIDES)


def musk(scale: float) -> Work:
    sizes = np.random.default_rng(1).geometric(1 / 5.2, max(4, round(92 * scale))).clip(2, 40)
    return Work("musk", sizes, (166,), max(2, round(1000 * scale)), MUSK)


def digits(scale: float) -> Work:
    sizes = np.random.default_rng(2).normal(10, 2, max(3, round(100 * scale))).round().clip(3, 16).astype(np.int64)
    return Work("digits", sizes, (28, 28), max(2, round(20 * scale)), DIGITS)


# ---- right ---------------------------------------------------------------------------------------------------------


def check(device: torch.device, report: dict[str, Any]) -> None:
    """Compare an epoch of the joint executor on the device with the plain executor in float64 on the CPU."""
    print("against the plain executor in float64 on the CPU: largest difference of weights, relative")
    for work in (
        Work("vectors", np.array([3, 9, 1, 12, 7, 5, 30, 2, 4, 6]), (20,), 4, replace(SLIDES, optimizer="adamw")),
        Work("vectors, sgd", np.array([3, 9, 1, 12, 7, 5, 30, 2, 4, 6]), (20,), 4, replace(MUSK, dropout=0.0)),
        Work("digits", np.array([2, 3, 1, 4, 2, 2, 3, 2, 2, 2]), (28, 28), 2, replace(DIGITS, learning_rate=1e-4)),
    ):
        expected = work.executor(Looped, precision="float64", device="cpu")
        expected.run_epoch(0, range(len(work.members)))
        for precision, most in (("float64", 1e-9), ("float32", 2e-2), ("mixed", 2e-1)):
            if precision == "mixed" and device.type == "cpu":
                continue
            found = work.executor(Together, precision=precision, device=str(device))
            found.run_epoch(0, range(len(work.members)))
            worst = max(_difference(found, expected, number) for number in range(len(work.members)))
            print(f"  {work.name:14} {precision:8} {worst:.1e}")
            report[f"{work.name}, {precision}"] = worst
            if not worst <= most:
                raise SystemExit(f"{work.name} in {precision} is wrong: {worst:.1e}")
    check_answers(device, report)
    same = [work_state(musk(0.02), device) for _ in range(2)]
    print(f"  the same bits twice: {same[0] == same[1]}")
    report["the same bits twice"] = same[0] == same[1]


def check_answers(device: torch.device, report: dict[str, Any]) -> None:
    """Compare answers of models side by side on the device with those of each alone on the CPU, in float64."""
    work = Work("answers", np.array([3, 9, 1, 12, 700]), (20,), 4, SLIDES)
    bags = [np.arange(number, 5) for number in range(4)]
    trained = work.executor(Looped, precision="float64", device="cpu")
    expected = predict(trained.models, trained.packed, bags, device=torch.device("cpu"), chunk=100)
    models = [model.to(device) for model in trained.models]
    found = predict_together(models, trained.packed, bags, device=device, chunk=100)
    worst = max(
        float((one.logits - other.logits).abs().max() / other.logits.abs().max())
        for one, other in zip(found, expected, strict=True)
    )
    print(f"  {work.name:14} {'float64':8} {worst:.1e}")
    report["answers, float64"] = worst
    if not worst <= 1e-9:
        raise SystemExit(f"answers side by side are wrong: {worst:.1e}")


def _difference(found: Looped, expected: Looped, number: int) -> float:
    """Give the norm of the difference of all weights over theirs."""
    one, other = found.state(number), expected.state(number)
    names = [name for name in other if not name.startswith("scaler")]
    apart = math.sqrt(sum(float((one[name].double() - other[name]).square().sum()) for name in names))
    return apart / math.sqrt(sum(float(other[name].square().sum()) for name in names))


def work_state(work: Work, device: torch.device) -> list[bytes]:
    trained = work.executor(Together, device=str(device))
    trained.run_epoch(0, range(len(work.members)))
    return [value.numpy().tobytes() for value in trained.state(0).values()]


# ---- fast ----------------------------------------------------------------------------------------------------------


def seconds(device: torch.device, act: Callable[[], object], most: float = 6.0, laps: int = 5) -> float:
    """Give the median of some laps after one to warm up, or of as many as the time allows."""

    def lap() -> float:
        begin = time.perf_counter()
        act()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - begin

    lap()
    taken: list[float] = []
    while len(taken) < laps and sum(taken) < most:
        taken.append(lap())
    return float(np.median(taken))


class Plain(nn.Module):
    """What a researcher writes: MI-Net's layers or LeNet5, attention, one logit."""

    def __init__(self, shape: tuple[int, ...], hidden: int) -> None:
        super().__init__()
        if len(shape) == 2:
            self.encoder = nn.Sequential(
                nn.Conv2d(1, 20, 5),
                nn.ReLU(),
                nn.MaxPool2d(2),
                nn.Conv2d(20, 50, 5),
                nn.ReLU(),
                nn.MaxPool2d(2),
                nn.Flatten(),
                nn.Linear(800, 500),
                nn.ReLU(),
            )
            width = 500
        else:
            layers: list[nn.Module] = []
            for inner, outer in ((shape[0], 256), (256, 128), (128, 64)):
                layers += [nn.Linear(inner, outer), nn.ReLU()]
            self.encoder, width = nn.Sequential(*layers), 64
        self.attention = nn.Sequential(
            nn.Linear(width, hidden, bias=False), nn.Tanh(), nn.Linear(hidden, 1, bias=False)
        )
        self.head = nn.Linear(width, 1)

    def forward(self, bag: Tensor) -> Tensor:
        h = self.encoder(bag)
        weights = torch.softmax(self.attention(h), dim=0)
        logit: Tensor = self.head(weights.T @ h)
        return logit.squeeze()


def plain_step(work: Work, device: torch.device, mixed: bool) -> float:
    """Time a step of the plain loop, on bags that lie on the device, scaled."""
    shape = work.bags.instance_shape
    model = Plain(shape, 128 if len(shape) == 2 else 64).to(device)
    one = work.settings
    if one.optimizer == "sgd":
        optimizer: torch.optim.Optimizer = torch.optim.SGD(
            model.parameters(), lr=5e-4, momentum=0.9, nesterov=True, weight_decay=0.01, fused=True
        )
    else:
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, weight_decay=1e-5, fused=True)
    bags = []
    for bag in list(work.bags)[:20]:
        instances = torch.from_numpy(np.array(bag.instances)).to(device).float()
        bags.append(instances.unsqueeze(1) / 255 if len(shape) == 2 else instances)
    wanted = torch.ones((), device=device)

    def some_steps() -> None:
        for instances in bags:
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(device.type, torch.bfloat16, enabled=mixed):
                logit = model(instances)
            binary_cross_entropy_with_logits(logit.float(), wanted).backward()
            optimizer.step()

    return seconds(device, some_steps, most=3.0) / len(bags)


def products(work: Work) -> float:
    """Count the floating-point operations of all products in an epoch of all members, forward and backward."""
    width = work.bags.instance_shape[0]
    per_instance = 2 * (2 * width * 256 + 3 * (256 * 128 + 128 * 64 + 64 * 64))
    return float(sum(work.bags.sizes[member.train].sum() for member in work.members)) * per_instance


def train_row(
    work: Work, device: torch.device, precisions: list[dict[str, Any]], peak: float | None
) -> list[dict[str, Any]]:
    steps = sum(len(member.train) for member in work.members)
    settings = {"float32": False, "bfloat16": True} if device.type == "cuda" else {"float32": False}
    plain = {name: plain_step(work, device, mixed) for name, mixed in settings.items()}
    best = min(plain, key=plain.__getitem__)
    rows = []
    for given in precisions:
        executor = work.executor(Together, device=str(device), **given)
        epochs = iter(range(1000))

        def epoch(executor: Looped = executor, epochs: Iterator[int] = epochs) -> None:
            executor.run_epoch(next(epochs), range(len(work.members)))

        took = seconds(device, epoch)
        row = {
            "workload": work.name,
            "members": len(work.members),
            "bags": len(work.bags),
            "instances": int(work.bags.sizes.sum()),
            "precision": given["precision"],
            "inputs": "shared" if executor.joined.shares_inputs or len(work.bags.instance_shape) == 2 else "by member",
            "seconds_an_epoch": took,
            "plain_loop_seconds_a_step": plain,
            "times_the_plain_loop": plain[best] * steps / took,
        }
        if work.name == "slides":
            row["tflops"] = products(work) / took / 1e12
            if peak is not None:
                row["share_of_peak"] = row["tflops"] / peak
        rows.append(row)
        print(
            f"  {work.name:8} {given['precision']:8} {row['inputs']:10} {took * 1e3:9.1f} ms an epoch"
            f" {row['times_the_plain_loop']:7.1f} times the plain loop ({plain[best] * 1e3:.2f} ms a step, {best})"
            + (f" {row['tflops']:6.1f} TFLOP/s" if "tflops" in row else "")
            + (f" {row['share_of_peak']:.0%} of peak" if "share_of_peak" in row else ""),
            flush=True,
        )
        del executor
        if device.type == "cuda":
            torch.cuda.empty_cache()
    return rows


def prediction_row(scale: float, device: torch.device) -> dict[str, Any]:
    rows, width = max(100, round(1_000_000 * scale)), max(8, round(1024 * min(1, 4 * scale)))
    part = np.random.default_rng(0).standard_normal((min(rows, 50_000), width), dtype=np.float32)
    bags = Bags(np.resize(part, (rows, width)), np.array([0, rows]))
    model = ATTENTION.build((width,), outputs=1, seed=0).to(device).eval()
    packed = PackedTensors(bags)
    ours = seconds(device, lambda: predict([model], packed, [np.arange(1)], device=device, chunk=8192), laps=3)
    plain = Plain((width,), 64).to(device).eval()
    whole = torch.from_numpy(np.array(bags.instances))

    def by_hand() -> None:
        with torch.inference_mode():
            plain(whole.to(device)).item()

    theirs = seconds(device, by_hand, laps=3)
    print(
        f"  prediction of {rows} x {width}: {ours * 1e3:.0f} ms, by hand {theirs * 1e3:.0f} ms,"
        f" {theirs / ours:.2f} times"
    )
    return {
        "workload": "prediction",
        "instances": rows,
        "features": width,
        "seconds": ours,
        "by_hand_seconds": theirs,
        "times_by_hand": theirs / ours,
    }


def answers_row(work: Work, device: torch.device) -> dict[str, Any]:
    """Time the answers of ten members to all bags, side by side and one member after the other."""
    executor = work.executor(Looped, members=10, device=str(device))
    members = len(executor.models)
    given = executor.models, executor.packed, [np.arange(len(work.bags))] * members
    ours = seconds(device, lambda: predict_together(*given, device=device, chunk=8192), laps=3)
    theirs = seconds(device, lambda: predict(*given, device=device, chunk=8192), laps=3)
    print(f"  answers of {members}: {ours * 1e3:.0f} ms, one by one {theirs * 1e3:.0f} ms")
    return {
        "workload": "answers",
        "members": members,
        "bags": len(work.bags),
        "instances": int(work.bags.sizes.sum()),
        "seconds": ours,
        "one_by_one_seconds": theirs,
        "times_one_by_one": theirs / ours,
    }


def ceilings(device: torch.device) -> dict[str, float]:
    """Measure what the card does at most: a matrix product in bfloat16 and float32, and copies."""
    found = {}
    for name, dtype in (("bfloat16", torch.bfloat16), ("float32", torch.float32)):
        a, b = (torch.randn(8192, 8192, device=device, dtype=dtype) for _ in range(2))
        found[f"product_{name}_tflops"] = 2 * 8192**3 / seconds(device, partial(torch.matmul, a, b), laps=9) / 1e12
    x = torch.empty(1 << 28, dtype=torch.float32, device=device)
    y = torch.empty_like(x)
    found["copy_gb_a_second"] = 2 * 4 * x.numel() / seconds(device, lambda: y.copy_(x), laps=9) / 1e9
    return found


def surroundings(device: torch.device) -> dict[str, Any]:
    found: dict[str, Any] = {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__}
    if device.type == "cuda":
        asked = "name,driver_version,clocks.sm,clocks.max.sm,clocks.mem"
        command = ["nvidia-smi", f"--query-gpu={asked}", "--format=csv,noheader"]
        told = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
        found |= {"card": torch.cuda.get_device_name(device), "cuda": torch.version.cuda}
        if told:
            found |= dict(zip(asked.split(","), told[device.index or 0].split(", "), strict=True))
        try:
            import triton

            found["triton"] = triton.__version__
        except ImportError:
            found["triton"] = None
    else:
        found["card"] = platform.processor() or platform.machine()
    return found


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "results" / "gpu.json")
    given = parser.parse_args(arguments)
    device = torch.device(given.device)
    torch.set_num_threads(1)
    begin = time.perf_counter()
    report: dict[str, Any] = {"experiment": "gpu", "scale": given.scale, "correctness": {}}
    check(device, report["correctness"])
    on_card = device.type == "cuda"
    report["ceilings"] = ceilings(device) if on_card else {}
    print(*(f"  {name} {value:.1f}" for name, value in report["ceilings"].items()), sep="\n")
    peak = report["ceilings"].get("product_bfloat16_tflops")
    single, both = [{"precision": "float32"}], [{"precision": "mixed"}, {"precision": "float32"}]
    report["rows"] = train_row(musk(given.scale), device, single, None)
    report["rows"] += train_row(digits(given.scale), device, both if on_card else single, None)
    work = slides(given.scale)
    # What clips, scales for each member by itself, so that inputs are not shared.
    apart = [{"precision": "mixed", "clip": 3.0}]
    report["rows"] += train_row(work, device, both + apart if on_card else single, peak)
    report["rows"].append(answers_row(work, device))
    del work
    report["rows"].append(prediction_row(given.scale, device))
    report |= {"environment": surroundings(device), "seconds": time.perf_counter() - begin}
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(report, indent=1) + "\n")
    print(f"{report['environment']['card']}: {report['seconds']:.0f} seconds; {given.out}")
    return report


if __name__ == "__main__":
    main()
