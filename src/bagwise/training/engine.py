"""All epochs of all members: blocks, validation, stopping, checkpoints, workers."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bagwise.bags import Bags
from bagwise.errors import BagwiseError
from bagwise.models.scaling import Moments
from bagwise.stored import StoredInstances
from bagwise.tensorfiles import read_tensors, write_tensors
from bagwise.training.choice import executor_for
from bagwise.training.cost import MOST_COMPILED, epoch_seconds
from bagwise.training.data import PackedTensors
from bagwise.training.device import memory_told, one_thread, resolve_device, without_subnormals
from bagwise.training.looped import Looped
from bagwise.training.members import Member, Plan, Trained, fingerprint
from bagwise.training.progress import Counter, progress_bar, spinner
from bagwise.training.stack import compile_step
from bagwise.training.stacked import Stacked
from bagwise.training.workers import as_done, check_time, on_workers, worth_starting

__all__ = ["DivergedError", "OnEpoch", "reckoned_seconds", "train"]

_STOPPING = 0.25  # of all epochs, before there is no more progress
# Progress is kept again when training has gone on for so many times as long as keeping it took: with few bags of few
# instances an epoch takes no longer than that.
_BETWEEN = 20.0

# Takes what is measured in an epoch, an entry of a history and the member's number.
OnEpoch = Callable[[Mapping[str, float]], object]


class DivergedError(BagwiseError):
    """A training whose loss or weights are no numbers any more."""


def train(
    plan: Plan,
    bags: Bags,
    encoded: NDArray[Any],
    members: Sequence[Member],
    *,
    weights: NDArray[np.float64] | None = None,
    n_jobs: int | None = 1,
    checkpoints: Path | None = None,
    verbose: bool = False,
    on_epoch: OnEpoch | None = None,
    until: float | None = None,
) -> list[Trained]:
    """Train members, a block at a time on each worker.

    A member's result depends on its own bags, seed and settings and on the plan: to the last bit neither on the other
    members nor on the number of workers.

    Parameters
    ----------
    plan
        What the members share.
    bags
        All bags that any member needs.
    encoded
        What the labels are in numbers, as the plan's target encodes them: shape (B, T), or (B,) for one number.
    members
        What to train.
    weights
        What the loss of each bag (and, on validation bags, an error) is multiplied with, shape (B,); None: all are 1.
    n_jobs
        Most worker processes, as joblib understands it; fewer, or none, where there is too little work for them
        (`bagwise.training.workers`). Within `joblib.parallel_config` the backend may be Ray or Dask.
    checkpoints
        A folder to keep progress in, after every epoch unless that would take more than a twentieth of the time. A
        training that finds its own progress there goes on from it and ends with the same bits.
    verbose
        Show a progress bar.
    on_epoch
        Called, in this process, with what is measured of each member in each epoch: ``"member"`` (its place, from 0)
        and what its history keeps (`Trained`). In this process that is at once, after the checkpoint is written; what
        workers do is told in order when a block of members is done. Epochs that a checkpoint has are not told again.
        What it raises ends the training.
    until
        A time, as `time.time` tells it, after which training is given up, wherever it is, before the next epoch.

    Returns
    -------
    list of Trained
        In the order of the members.

    Raises
    ------
    BagwiseError
        If the checkpoints there are of another training, a value is out of range once it is scaled, or a member's loss
        or weights are no numbers any more; then no checkpoints are left.
    OutOfTime
        If it is later than `until`.

    Examples
    --------
    >>> from bagwise.models.architecture import Architecture
    >>> from bagwise.training.members import Settings
    >>> bags = Bags.from_arrays([[[0.0], [1.0]], [[1.0]], [[0.0]]])
    >>> from bagwise.targets.classes import ClassTarget
    >>> plan = Plan(Architecture("embedding", "max", "mi-net"), ClassTarget.of([0, 1]), order_seed=0, scaling="none")
    >>> folds = [Member(seed, np.delete(np.arange(3), seed), Settings("adam", 1e-3, epochs=2)) for seed in range(3)]
    >>> [len(trained.history) for trained in train(plan, bags, np.array([1, 1, 0]), folds)]
    [2, 2, 2]
    """
    executor = executor_for(plan, bags, members)
    moments = Moments(bags.instances, bags.offsets) if plan.standardizes else None
    data = b"" if checkpoints is None else encoded.tobytes() + bags.digest()
    data += b"" if weights is None else weights.tobytes()
    stored = isinstance(bags.instances, StoredInstances)
    # Bags in files are read once an epoch for all members, so these stay together.
    blocks = [members] if stored else _cut(members, executor.members_at_once(bags))
    paths = [None if checkpoints is None else checkpoints / f"block-{n:04}.safetensors" for n in range(len(blocks))]
    if executor is Stacked and bags.sizes.min() <= MOST_COMPILED:
        with spinner("compiling the training step, once on this machine: half a minute", verbose):
            compile_step(plan.target, plan.dtype)
    # One process has the device: several would share its memory, and none would be faster.
    alone = len(blocks) == 1 or resolve_device(plan.device).type != "cpu"
    workers = 1 if alone else worth_starting(n_jobs, sum(reckoned_seconds(plan, bags, members)))
    at_once = on_epoch if joblib.effective_n_jobs(workers) == 1 else None  # what a user gives need not fit a pipe
    results: list[Trained] = []
    total = sum(member.settings.epochs for member in members)
    with progress_bar(total, len(blocks), verbose) as counters:
        firsts = np.cumsum([0, *map(len, blocks)]).tolist()
        names = ["the model" if len(members) == 1 else f"model {n + 1} of {len(members)}" for n in range(len(members))]
        jobs = [
            joblib.delayed(_train_block)(
                executor,
                plan,
                bags,
                encoded,
                weights,
                block,
                moments,
                path,
                data,
                counter,
                names[first : first + len(block)],
                first,
                at_once,
                until,
            )
            for block, path, counter, first in zip(blocks, paths, counters, firsts, strict=False)
        ]
        try:
            telling = nullcontext(on_workers(jobs, workers)) if on_epoch is None else as_done(jobs, workers)
            with telling as done:
                for block, measured in done:
                    results += block
                    if on_epoch is not None and at_once is None:
                        for entry in measured:
                            on_epoch(entry)
        except DivergedError:
            _forget(paths)
            raise
    return results


def reckoned_seconds(plan: Plan, bags: Bags, members: Sequence[Member]) -> list[float]:
    """Reckon how many seconds the training of each member takes one core.

    One that stops by validation bags is reckoned to go through a quarter of its epochs, as is seen of the recipe's.

    Parameters
    ----------
    plan, bags, members
        As in `train`.

    Returns
    -------
    list of float
    """
    executor = executor_for(plan, bags, members)
    shown = plan.shown(bags.instance_shape)
    model = plan.architecture.build(shown, plan.target.outputs, seed=0)
    shapes, compiled = [parameter.shape for parameter in model.parameters()], executor is Stacked
    sizes = bags.sizes if plan.sample is None else np.minimum(bags.sizes, plan.sample)
    return [
        member.settings.epochs
        * (_STOPPING if member.settings.patience is not None else 1)
        * epoch_seconds(shapes, shown, sizes[member.train], compiled=compiled)
        for member in members
    ]


def _cut(members: Sequence[Member], size: int) -> list[Sequence[Member]]:
    """Cut members into as few blocks of at most `size` as possible, as even as possible."""
    count = -(-len(members) // size)
    ends = [round(number * len(members) / count) for number in range(count + 1)]
    return [members[begin:end] for begin, end in pairwise(ends)]


def _train_block(
    kind: type[Looped],
    plan: Plan,
    bags: Bags,
    encoded: NDArray[Any],
    weights: NDArray[np.float64] | None,
    members: Sequence[Member],
    moments: Moments | None,
    checkpoint: Path | None,
    data: bytes,
    counter: Counter,
    names: Sequence[str],
    place: int,
    on_epoch: OnEpoch | None,
    until: float | None,
) -> tuple[list[Trained], list[Mapping[str, float]]]:
    device = resolve_device(plan.device, plan.precision)
    devices = [device] if device.type == "cuda" else []
    with one_thread(), without_subnormals(), memory_told(device), torch.random.fork_rng(devices=devices):
        packed = PackedTensors(bags, encoded, weights)
        executor = kind(plan, packed, members, moments)
        measured: list[Mapping[str, float]] = []
        tell = measured.append if on_epoch is None else on_epoch
        records = [_Record() for _ in members]
        first, due = 0, 0.0  # when progress is kept
        identity = "" if checkpoint is None else fingerprint(plan, members, executor.tensors(), data)
        if checkpoint is not None and checkpoint.exists():
            first = _resume(checkpoint, identity, executor, records)
            counter.advance(sum(len(record.history) for record in records))
        for epoch in range(first, max(member.settings.epochs for member in members)):
            active = [n for n, member in enumerate(members) if _goes_on(member, records[n], epoch)]
            if not active:
                break
            check_time(until)
            losses = executor.run_epoch(epoch, active)
            for number, loss in zip(active, losses.tolist(), strict=True):
                if not np.isfinite(loss) or not executor.is_finite(number):
                    raise DivergedError(_diverged(names[number], epoch, members[number], plan))
            validated = [number for number in active if len(members[number].validation)]
            validations = dict(zip(validated, executor.validate(validated), strict=True)) if validated else {}
            for number, loss in zip(active, losses.tolist(), strict=True):
                _record_epoch(records[number], executor, number, epoch, loss, validations.get(number))
            counter.advance(len(active))
            ends = not any(_goes_on(member, records[n], epoch + 1) for n, member in enumerate(members))
            # What is told of is kept before, so that it is not told again.
            if checkpoint is not None and (ends or on_epoch is not None or time.monotonic() >= due):
                begun = time.monotonic()
                _save(checkpoint, identity, executor, records, epoch + 1)
                ended = time.monotonic()
                due = ended + _BETWEEN * (ended - begun)
            for number in active:
                tell({"member": place + number, **records[number].history[-1]})
        trained = [
            Trained(
                state=executor.state(number) if record.best_state is None else record.best_state,
                history=record.history,
                best_epoch=len(record.history) if record.best_state is None else record.best_epoch,
            )
            for number, record in enumerate(records)
        ]
    return trained, measured


def _diverged(name: str, epoch: int, member: Member, plan: Plan) -> str:
    own = [*plan.own]
    cure = f"look into your own {' and '.join(own)}, " if own else "look for extreme values among the features, "
    settings = member.settings
    less = "" if settings.learning_rate is None else f" than {settings.learning_rate:g}"
    return (
        f"the training of {name} diverged in epoch {epoch + 1}, so that its loss or weights are no numbers: {cure}or"
        f" give a smaller learning rate{less}"
    )


def _forget(paths: Sequence[Path | None]) -> None:
    """Remove the checkpoints of a training that nobody should go on with."""
    for path in paths:
        if path is not None:
            path.unlink(missing_ok=True)
    for folder in {path.parent for path in paths if path is not None}:
        with suppress(OSError):  # something else is in it, or it was never made
            folder.rmdir()


@dataclass
class _Record:
    """How a member has done so far."""

    history: list[dict[str, float]] = field(default_factory=list)
    best: tuple[float, ...] = (np.inf, np.inf)  # validation error, then loss; or loss alone
    best_epoch: int = 0
    best_state: dict[str, Tensor] | None = None


def _goes_on(member: Member, record: _Record, epoch: int) -> bool:
    patience = member.settings.patience
    return epoch < member.settings.epochs and (patience is None or epoch - record.best_epoch < patience)


def _record_epoch(
    record: _Record, executor: Looped, number: int, epoch: int, loss: float, measured: tuple[float, float] | None
) -> None:
    entry = {"epoch": epoch + 1, "loss": loss}
    if measured is not None:
        entry["validation_error"], entry["validation_loss"] = measured
        settings = executor.members[number].settings
        reached = measured if settings.stop_by == "error" else measured[1:]
        if settings.patience is not None and reached < record.best:
            record.best = reached
            record.best_epoch = epoch + 1
            record.best_state = executor.state(number)
    record.history.append(entry)


def _save(path: Path, identity: str, executor: Looped, records: list[_Record], epochs: int) -> None:
    tensors = executor.tensors()
    for number, record in enumerate(records):
        tensors |= {f"{number}.best.{name}": value for name, value in (record.best_state or {}).items()}
    told: list[dict[str, Any]] = [
        {"history": record.history, "best": record.best, "best_epoch": record.best_epoch} for record in records
    ]
    write_tensors(path, tensors, {"fingerprint": identity, "epochs": epochs, "members": told})


def _resume(path: Path, identity: str, executor: Looped, records: list[_Record]) -> int:
    tensors, progress = read_tensors(path)
    if not isinstance(progress, dict) or progress.get("fingerprint") != identity:
        raise BagwiseError(
            f"{path} is the checkpoint of a training with other data, members or settings: choose another folder"
        )
    try:
        return _restore(tensors, progress, executor, records)
    except (KeyError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise BagwiseError(
            f"{path} is not as it was written ({reason}): remove it, or choose another folder"
        ) from error


def _restore(tensors: dict[str, Tensor], progress: dict[str, Any], executor: Looped, records: list[_Record]) -> int:
    for name, value in executor.tensors().items():
        if (tensors[name].dtype, tensors[name].shape) != (value.dtype, value.shape):
            raise ValueError(f"the tensor {name} has another type or shape")
    executor.load(tensors)
    for number, (record, told) in enumerate(zip(records, progress["members"], strict=True)):
        record.history = told["history"]
        record.best = tuple(told["best"])
        record.best_epoch = told["best_epoch"]
        prefix = f"{number}.best."
        found = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        record.best_state = found or None
    return int(progress["epochs"])
