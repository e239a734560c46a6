"""benchmarks/gpu.py, at a small part of its size and on a CPU; and what a machine needs that runs it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu.py"

# Says which packages are loaded that come neither with Python nor with NumPy or torch.
LOADED = """
import sys
import numpy, torch
given = {name.partition(".")[0] for name in sys.modules}
class Absent:
    def find_spec(self, name, path=None, target=None):
        if path is None and not {name} & {*sys.stdlib_module_names, *given, *HERE}:
            raise ModuleNotFoundError(name)
HERE = ("bagwise", "gpu", "torch", "numpy")
sys.meta_path.insert(0, Absent())
sys.path[:0] = sys.argv[1:]
import gpu
from bagwise.training.joint_inference import predict_together
work = gpu.musk(0.02)
for kind in (gpu.Together, gpu.Looped):
    for chunk in (1, 8192):
        executor = work.executor(kind, device="cpu", chunk=chunk)
        executor.run_epoch(0, range(20))
wanted = [numpy.arange(len(work.bags))] * 20
predict_together(executor.models, executor.packed, wanted, device=torch.device("cpu"), chunk=5)
"""


def test_the_joint_executor_needs_nothing_but_numpy_and_torch():
    paths = [str(SCRIPT.parent), str(SCRIPT.parents[1] / "src")]
    done = subprocess.run([sys.executable, "-c", LOADED, *paths], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow(seconds=10)
def test_the_benchmark_checks_and_measures_every_workload(tmp_path):
    out = tmp_path / "gpu.json"
    command = [sys.executable, str(SCRIPT), "--scale", "0.01", "--device", "cpu", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(out.read_text())
    assert [row["workload"] for row in report["rows"]] == ["musk", "digits", "slides", "answers", "prediction"]
    assert report["correctness"].pop("the same bits twice")
    assert all(value <= 2e-2 for value in report["correctness"].values())
    assert report["environment"]["card"] in done.stdout
