"""The compiled step of a fresh clone: compiled by one process, while the workers of pytest begin with other tests."""

import fcntl
import os
import subprocess
import sys
import tempfile
from pathlib import Path

STEP = "bagwise.training.kernels"
COMPILE = """
import torch
from bagwise.targets.classes import ClassTarget
from bagwise.training.stack import compile_step

for dtype in (torch.float32, torch.float64):
    compile_step(ClassTarget.of([0, 1]), dtype)
"""
# Folders of whose tests few or none train by the compiled step.
OTHERS = ("io", "reports", "datasets", "models")
_LOCK = "BAGWISE_TESTS_COMPILING"  # which file the process locks


def start():
    """Compile in a process that holds a lock until it ends, whatever its end; give the process."""
    with tempfile.NamedTemporaryFile(prefix="bagwise-compiling-", delete=False) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.environ[_LOCK] = lock.name
        return subprocess.Popen([sys.executable, "-c", COMPILE], pass_fds=[lock.fileno()])


def end(process):
    process.kill()
    process.wait()
    Path(os.environ.pop(_LOCK)).unlink()


def wait_before_the_step(patch):
    """Look for a compiled step only where nobody is compiling one."""
    if _LOCK not in os.environ:
        return
    from numba.core.caching import FunctionCache

    load = FunctionCache.load_overload

    def load_at_last(self, *args):
        if self._py_func.__module__ == STEP:
            with Path(os.environ[_LOCK]).open() as lock:
                fcntl.flock(lock, fcntl.LOCK_SH)
        return load(self, *args)

    patch.setattr(FunctionCache, "load_overload", load_at_last)


def ordered(items):
    """Let the share that each worker begins with begin with tests that need no step."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))
    first = [item for item in items if item.path.parent.name in OTHERS or "classical" in item.path.name]
    kept = set(first)
    last = [item for item in items if item not in kept]

    def share(part, worker):
        return part[len(part) * worker // workers : len(part) * (worker + 1) // workers]

    return [item for worker in range(workers) for part in (first, last) for item in share(part, worker)]
