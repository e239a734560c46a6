"""Where training runs: the one place that knows about devices, threads and mixed precision."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

from bagwise.errors import BagwiseError

__all__ = [
    "autocast",
    "memory_told",
    "one_thread",
    "resolve_device",
    "seed_generator",
    "sent",
    "without_subnormals",
]


# Bytes that are under way to a device at once, in each of two buffers, and threads that fill these.
_BUFFER, _FILLERS = 1 << 26, 8


def resolve_device(name: str, precision: str = "float32") -> torch.device:
    """Turn a device's name into a device.

    Parameters
    ----------
    name
        ``"auto"`` takes CUDA where there is one, else the CPU.
    precision
        What will be computed in.

    Returns
    -------
    torch.device

    Raises
    ------
    BagwiseError
        If this machine has no such device, or the device cannot compute in that precision.

    Examples
    --------
    >>> resolve_device("cpu")
    device(type='cpu')
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.partition(":")[0] == "mps":
        raise BagwiseError(f"device {name!r} has no double precision, which scaling needs: use 'cpu'")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, ImportError, TypeError) as error:
        raise BagwiseError(f"device {name!r} is not to be had on this machine: use 'auto' or 'cpu'") from error
    if precision == "mixed" and device.type != "cuda":
        raise BagwiseError(f"precision 'mixed' needs a CUDA device, and this is {name!r}: use 'float32'")
    return device


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """Give the context in which a model's forward pass runs.

    Parameters
    ----------
    device
        From `resolve_device`.
    precision
        ``"mixed"`` computes in bfloat16 where that is safe.

    Returns
    -------
    context manager

    Examples
    --------
    >>> with autocast(torch.device("cpu"), "float32"):
    ...     pass
    """
    return torch.autocast(device.type, dtype=torch.bfloat16) if precision == "mixed" else nullcontext()


@contextmanager
def memory_told(device: torch.device) -> Iterator[None]:
    """Say in a sentence that a device's memory is full.

    Parameters
    ----------
    device
        Where it is computed.

    Raises
    ------
    BagwiseError
        If it is.

    Examples
    --------
    >>> with memory_told(torch.device("cuda")):
    ...     raise torch.OutOfMemoryError
    Traceback (most recent call last):
        ...
    bagwise.errors.BagwiseError: the memory of device 'cuda' is full: ...
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise BagwiseError(
            f"the memory of device {str(device)!r} is full: train fewer models at once (folds, repeats, an"
            " ensemble), or in precision 'mixed', or on device 'cpu'"
        ) from error


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread: two beside another busy process can slow a step a hundredfold.

    It also fixes the order of every sum, so that results do not depend on the number of cores.

    Examples
    --------
    >>> with one_thread():
    ...     torch.get_num_threads()
    1
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def without_subnormals() -> Iterator[None]:
    """Take numbers below the smallest normal one for 0 in this thread: they slow a processor a hundredfold.

    Adam's moments of a unit that has died halve with every few steps until they are such numbers, and stay so.

    Examples
    --------
    >>> with without_subnormals():
    ...     torch.tensor(2.0**-126) / 2
    tensor(0.)
    """
    before = not _halved_smallest()
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def _halved_smallest() -> float:
    return float(torch.tensor(2.0**-126) / 2)


def seed_generator(seed: int, device: torch.device) -> None:
    """Set torch's default generator, from which a user's layers draw.

    Parameters
    ----------
    seed
        Between 0 and 2**63 - 1.
    device
        Where the model is.

    Examples
    --------
    >>> with torch.random.fork_rng(devices=[]):
    ...     seed_generator(7, torch.device("cpu"))
    """
    # torch.manual_seed would seed every device there could be, a hundred times slower.
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)


def sent(values: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Send values to a device: large ones through pinned memory, of which a part is filled while another is under way.

    Parameters
    ----------
    values
        On the CPU.
    device
        Where to.

    Returns
    -------
    Tensor
        There; the copy may still be under way, and what is computed there waits for it.

    Examples
    --------
    >>> sent(torch.ones(2), torch.device("cpu")).tolist()
    [1.0, 1.0]
    """
    size = values.numel() * values.element_size()
    if device.type != "cuda" or size == 0:
        return values.to(device)
    if size <= _BUFFER:
        return values.pin_memory().to(device, non_blocking=True)
    there = torch.empty(values.shape, dtype=values.dtype, device=device)
    rows = max(1, _BUFFER * len(values) // size)
    with torch.inference_mode(False):  # other threads, which are in no such mode, write to them
        buffers = [torch.empty(rows, *values.shape[1:], dtype=values.dtype, pin_memory=True) for _ in range(2)]
    done = [torch.cuda.Event() for _ in buffers]
    share = -(-rows // _FILLERS)
    with ThreadPoolExecutor(_FILLERS) as fillers:
        for number, begin in enumerate(range(0, len(values), rows)):
            part, buffer, copied = values[begin : begin + rows], buffers[number % 2], done[number % 2]
            copied.synchronize()
            cuts = [slice(at, min(at + share, len(part))) for at in range(0, len(part), share)]
            list(fillers.map(lambda cut, buffer=buffer, part=part: buffer[cut].copy_(part[cut]), cuts))
            there[begin : begin + rows].copy_(buffer[: len(part)], non_blocking=True)
            copied.record()
    return there
