"""Worker processes: how many are worth starting for some work, and that none of them is left behind."""

import multiprocessing
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from itertools import islice
from multiprocessing.util import Finalize
from typing import Any, Literal

import joblib
from joblib.externals.loky import reusable_executor
from joblib.externals.loky.backend.process import LokyProcess
from joblib.parallel import LokyBackend, get_active_backend

__all__ = ["Job", "OutOfTime", "as_done", "check_time", "in_turn", "on_workers", "worth_starting"]

Job = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]  # as `joblib.delayed` gives it

# A worker loads PyTorch and more before it begins, two or three seconds of a core; it is started for no less work.
SECONDS_A_WORKER = 10.0
_SECONDS_BETWEEN_LOOKS = 0.5


class OutOfTime(Exception):  # noqa: N818 - nothing went wrong
    """What is under way is given up, because it is later than whoever asked for it wants to wait."""


def check_time(until: float | None) -> None:
    """Give up where it is too late, in whichever process.

    Parameters
    ----------
    until
        When that is, as `time.time` tells it; None: never.

    Raises
    ------
    OutOfTime
        If it is later.

    Examples
    --------
    >>> check_time(None)
    """
    if until is not None and time.time() > until:
        raise OutOfTime


class _Reckoned:
    """The work that this process had and could have shared: what is little again and again becomes much."""

    seconds = 0.0


def worth_starting(n_jobs: int | None, seconds: float) -> int | None:
    """Say on how many processes to work.

    Parameters
    ----------
    n_jobs
        How many there may be, as joblib understands it. Where the user has chosen another backend than joblib's own
        processes (Ray, Dask, threads), that is also how many there are.
    seconds
        What the work would take one core.

    Returns
    -------
    int or None
        1 where this process does it.

    Examples
    --------
    >>> worth_starting(8, seconds=0.5)
    1
    """
    if not isinstance(get_active_backend()[0], LokyBackend):
        return n_jobs
    most = joblib.effective_n_jobs(n_jobs)
    if most > 1:
        _Reckoned.seconds += seconds
    return max(1, min(int(most), int(_Reckoned.seconds // SECONDS_A_WORKER)))


def on_workers(jobs: Iterable[Job], workers: int | None) -> list[Any]:
    """Work on jobs, on as many processes as there are to be; these end with this one, however it ends.

    Parameters
    ----------
    jobs
        The work.
    workers
        As `worth_starting` says, or as the user does.

    Returns
    -------
    list
        What jobs return, in their order.

    Examples
    --------
    >>> on_workers([joblib.delayed(divmod)(7, 2)], 1)
    [(3, 1)]
    """
    done: list[Any] = _parallel(jobs, workers)
    return done


@contextmanager
def as_done(
    jobs: Iterable[Job], workers: int | None, *, in_order: bool = True, batch_size: int | Literal["auto"] = "auto"
) -> Iterator[Iterator[Any]]:
    """Work as `on_workers` does, and give what each job returns when it is done.

    Parameters
    ----------
    jobs, workers
        As in `on_workers`.
    in_order
        False gives first what is done first.
    batch_size
        How many jobs a worker is given at a time, as in `joblib.Parallel`.

    Yields
    ------
    iterator
        What jobs return; what is under way when the body ends is given up.
    """
    order = "generator" if in_order else "generator_unordered"
    results = _parallel(jobs, workers, return_as=order, batch_size=batch_size)
    try:
        yield results
    finally:
        with warnings.catch_warnings(action="ignore"):  # joblib's, where what was under way is given up
            results.close()


def in_turn(jobs: Iterable[Job], count: int, n_jobs: int | None) -> list[Any]:
    """Work on jobs of equal length that nobody can reckon: the first here, and the others where that says.

    Parameters
    ----------
    jobs
        The work.
    count
        How many there are.
    n_jobs
        As in `worth_starting`.

    Returns
    -------
    list
        What they return, in their order.

    Examples
    --------
    >>> in_turn([joblib.delayed(divmod)(7, 2), joblib.delayed(divmod)(9, 2)], 2, n_jobs=2)
    [(3, 1), (4, 1)]
    """
    left, begin = iter(jobs), time.perf_counter()
    first = on_workers(islice(left, 1), 1)
    rest = (count - 1) * (time.perf_counter() - begin)
    return first + on_workers(left, worth_starting(n_jobs, rest))


def _parallel(jobs: Iterable[Job], workers: int | None, **options: Any) -> Any:
    _end_with_this_process(os.getpid())
    if isinstance(get_active_backend()[0], LokyBackend):
        options["initializer"] = _watch  # before there is any work: who waits for some that never comes has to end too
    return joblib.Parallel(n_jobs=workers, **options)(jobs)


@cache
def _watch() -> None:
    """In a worker: end it when the command ends that started it, be it killed."""
    employer = multiprocessing.parent_process()
    if employer is None or not isinstance(multiprocessing.current_process(), LokyProcess):
        return

    def look() -> None:
        while os.getppid() == employer.pid:
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        os._exit(1)  # nobody waits for it, and joblib would catch an exception

    threading.Thread(target=look, daemon=True).start()


@cache
def _end_with_this_process(_: int) -> None:
    """Where `multiprocessing` started this process it waits for its children, and workers wait for more work."""
    if multiprocessing.parent_process() is not None:
        Finalize(None, _dismiss, exitpriority=100)


def _dismiss() -> None:
    if reusable_executor._executor is not None:
        reusable_executor._executor.shutdown(kill_workers=True)
