import contextlib
import multiprocessing
import time

import joblib
import psutil
import pytest

from bagwise.training import workers
from bagwise.training.workers import in_turn, on_workers, worth_starting


@pytest.fixture
def nothing_yet(monkeypatch):
    monkeypatch.setattr(workers._Reckoned, "seconds", 0.0)


@pytest.mark.usefixtures("nothing_yet")
def test_a_worker_is_started_for_what_it_is_worth():
    enough = workers.SECONDS_A_WORKER
    assert [worth_starting(1, 100 * enough), worth_starting(8, 1.9 * enough)] == [1, 1]
    assert worth_starting(8, 2 * enough) == 3, "what was worked on before counts"
    assert worth_starting(8, 1000 * enough) == 8
    with joblib.parallel_config("threading"):
        assert worth_starting(3, 0.0) == 3, "the user's own choice"


@pytest.mark.usefixtures("nothing_yet")
def test_what_takes_long_goes_to_workers_after_the_first(monkeypatch):
    given = []
    monkeypatch.setattr(workers, "worth_starting", lambda n_jobs, seconds: given.append((n_jobs, seconds)) or 1)
    assert in_turn((joblib.delayed(slowly)(number) for number in range(3)), 3, 2) == [0, 1, 2]
    ((n_jobs, seconds),) = given
    assert n_jobs == 2
    assert 2 * 0.05 <= seconds < 10


def slowly(number):
    time.sleep(0.05)
    return number


# ---- none is left behind ---------------------------------------------------------------------------------------------


def work(seconds):
    on_workers([joblib.delayed(time.sleep)(seconds)], 2)  # one of the two has nothing to do


@pytest.fixture
def working():
    """Start processes that work on two workers, and give a process and its workers."""
    started = []

    def start(seconds):
        process = multiprocessing.get_context("spawn").Process(target=work, args=(seconds,))
        process.start()
        started.append(process)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            found = [child for child in psutil.Process(process.pid).children() if "popen_loky" in told(child)]
            if len(found) == 2:
                return process, found
            time.sleep(0.02)
        raise AssertionError("there are no workers")

    yield start
    for process in started:
        process.kill()


def told(process):
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def test_a_process_that_worked_with_workers_ends_at_once(working):
    process, found = working(0.01)
    process.join(30)
    assert process.exitcode == 0, "joblib's workers wait five minutes for more work"
    assert not psutil.wait_procs(found, timeout=5)[1]


def test_workers_of_a_killed_process_end(working):
    process, found = working(600)
    process.kill()
    process.join()
    assert not psutil.wait_procs(found, timeout=30)[1]
