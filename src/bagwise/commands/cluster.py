"""Where blocks of models train: worker processes of this machine, or a cluster."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import joblib

from bagwise.errors import BagwiseError

__all__ = ["BACKENDS", "workers"]

BACKENDS = ("local", "ray")
# A block that was lost with its worker is trained anew, by another.
_RETRIES = 3


@contextmanager
def workers(backend: str = "local", address: str | None = None) -> Iterator[None]:
    """Let what trains within the body train on a cluster.

    Parameters
    ----------
    backend
        ``"local"`` or ``"ray"``.
    address
        ``HOST:PORT`` of the cluster's head. None lets Ray find one, or start one on this machine.

    Raises
    ------
    BagwiseError
        If there is no such backend, it is not installed, or the cluster does not answer.

    Examples
    --------
    >>> with workers("local"):
    ...     pass
    """
    if backend == "local":
        if address is not None:
            raise BagwiseError("--address is of no use without a cluster: add --backend ray")
        yield
    elif backend == "ray":
        with _ray(address):
            yield
    else:
        raise BagwiseError(f"there is no backend {backend!r}: choose one of {', '.join(BACKENDS)}")


@contextmanager
def _ray(address: str | None) -> Iterator[None]:
    try:
        import ray
        from ray.util.joblib import register_ray
    except ImportError as error:
        raise BagwiseError('Ray is not installed: run pip install "bagwise[ray]"') from error
    try:
        ray.init(address, ignore_reinit_error=True, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise BagwiseError(f"no Ray cluster answers at {address} ({reason}): see ray status on its head") from error
    register_ray()  # type: ignore[no-untyped-call]
    try:
        remote = {"max_restarts": _RETRIES, "max_task_retries": _RETRIES}
        with joblib.parallel_config("ray", ray_remote_args=remote):
            yield
    finally:
        ray.shutdown()
