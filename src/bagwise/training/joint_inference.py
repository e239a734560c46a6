"""Predicting on a card: one pass over the bags, and of each bag one for all models that are asked about it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bagwise.models.model import MILModel, Output
from bagwise.models.scaling import RangeError
from bagwise.training.data import PackedTensors
from bagwise.training.device import autocast, memory_told, one_thread
from bagwise.training.inference import Prediction, gathered, predict
from bagwise.training.schedule import batches
from bagwise.training.side_by_side import SideBySide, aggregated, axes_of

__all__ = ["predict_together"]

# All models encode at once at most so many times the instances that one does.
_CHUNKS = 16
# The most bags at once, and instances as bags of their own: tables of them stay below what sums bags in order.
_BAGS, _ALONE = 1 << 8, 1 << 12
# The most numbers in the embeddings of a bag by all models at once; where it is large they take turns.
_NUMBERS = 1 << 28
# Of an output.
_KEPT = ("logits", "weights", "scores", "contributions")


def predict_together(
    models: Sequence[MILModel],
    packed: PackedTensors,
    wanted: Sequence[NDArray[np.int64]],
    *,
    device: torch.device,
    chunk: int,
    precision: str = "float32",
    alone: bool = False,
) -> list[Prediction]:
    """Predict as `bagwise.training.inference.predict` does, each bag by all models that want it, side by side.

    A bag goes to the device once. In double precision answers are those of `predict`, to nine digits; last bits depend
    on the company. Models that torch cannot compute side by side, and bags that no two want, are left to `predict`.

    Parameters
    ----------
    models, packed, wanted, device, chunk, precision, alone
        As in `predict`; models are of one architecture.

    Returns
    -------
    list of Prediction
        One a model.

    Raises
    ------
    BagwiseError
        As `predict` does.

    Examples
    --------
    >>> from bagwise.bags import Bags
    >>> from bagwise.models.architecture import Architecture
    >>> models = [Architecture("embedding", "max", "mi-net").build((2,), outputs=1, seed=seed) for seed in range(3)]
    >>> packed = PackedTensors(Bags.from_arrays([[[1.0, 2.0]], [[3.0, 4.0], [5.0, 6.0]]]))
    >>> bags = [np.array([1, 0]), np.array([0]), np.array([1])]
    >>> found = predict_together(models, packed, bags, device=torch.device("cpu"), chunk=100)
    >>> [each.logits.shape[1] for each in found]
    [2, 1, 1]
    """
    askers: dict[int, list[int]] = {}
    for number, positions in enumerate(wanted):
        for bag in np.unique(positions).tolist():
            askers.setdefault(bag, []).append(number)
    with torch.inference_mode(), one_thread(), memory_told(device), autocast(device, precision):
        together = None
        if max(map(len, askers.values())) > 1:
            together = _Together.of([model.eval() for model in models], packed, chunk, alone)
        if together is None:
            return predict(models, packed, wanted, device=device, chunk=chunk, precision=precision, alone=alone)
        groups: dict[tuple[int, ...], list[int]] = {}
        for bag in sorted(askers):
            groups.setdefault(tuple(askers[bag]), []).append(bag)
        visits = [
            (batch, group)
            for group, bags in groups.items()
            for batch in batches(np.array(bags), packed.sizes, together.rows(len(group)), _BAGS)
        ]
        visits.sort(key=lambda visit: int(visit[0][0]))
        for batch, group in packed.turn(visits, device):
            together.ask(batch, group, device)
        together.check_range()
        return [gathered(*found, packed, positions) for found, positions in zip(together.found, wanted, strict=True)]


class _Together:
    """What models say, as they are asked."""

    def __init__(self, models: Sequence[MILModel], packed: PackedTensors, chunk: int, alone: bool) -> None:
        self._models, self._packed, self._chunk, self._alone = models, packed, chunk, alone
        self._side_by_side = SideBySide.of(models)
        self._side_by_side.model.scaler.train()  # which looks at no numbers: `check_range` does
        self._width = 1
        self._ranges: list[tuple[NDArray[np.int64], tuple[int, ...], Tensor]] = []
        # Of each model the bags it was asked about, what it said of them, and of their instances alone.
        self.found: list[tuple[list[NDArray[np.int64]], list[Output], list[Tensor]]] = [([], [], []) for _ in models]

    @classmethod
    def of(cls, models: Sequence[MILModel], packed: PackedTensors, chunk: int, alone: bool) -> "_Together | None":
        """Prepare to ask models; None: they are not alike, or torch cannot compute them side by side."""
        shapes = [{name: value.shape for name, value in model.state_dict().items()} for model in models]
        if any(shape != shapes[0] for shape in shapes) or len({model.scaler.acts for model in models}) > 1:
            return None
        if models[0].ties_instances:
            return None
        device, dtype = models[0].scaler.factor.device, models[0].scaler.factor.dtype
        made = cls(models, packed, chunk, alone)
        some = made._side_by_side.some([0, 1])
        where = torch.zeros(3, 2, dtype=dtype, device=device) if models[0].wants_coordinates else None
        try:
            embeddings = some.each(MILModel.encode, (None,), torch.ones(3, *packed.instance_shape, device=device))
            for ends in ([0, 3], [0, 2, 3]):
                made._said(some, embeddings, torch.tensor(ends, device=device), where)
        except Exception:  # whatever torch, or a user's own code, may raise: alone it may work
            return None
        made._width = embeddings[0, 0].numel()
        return made

    def rows(self, models: int) -> int:
        """Say how many instances so many models encode at once."""
        return max(1, min(self._chunk, self._chunk * _CHUNKS // models))

    def ask(self, batch: NDArray[np.int64], group: tuple[int, ...], device: torch.device) -> None:
        """Ask some models about some bags."""
        instances, offsets = self._packed.batch(batch, device)
        where = self._packed.where(self._models[0], batch, device)
        extremes = torch.stack([instances.amin(0), instances.amax(0)])
        at_once = max(1, _NUMBERS // (len(instances) * self._width))
        for begin in range(0, len(group), at_once):
            part = group[begin : begin + at_once]
            some = self._side_by_side.some(part)
            scaled = some.each(lambda model, shown: model.scaler.scaled(shown), (None,), extremes)
            self._ranges.append((batch, part, torch.isfinite(scaled).all()))
            encoded = [some.each(MILModel.encode, (None,), rows) for rows in instances.split(self.rows(len(part)))]
            embeddings = encoded[0] if len(encoded) == 1 else torch.cat(encoded, dim=1)
            said = self._said(some, embeddings, offsets, where)
            for place, number in enumerate(part):
                bags, outputs, apart = self.found[number]
                bags.append(batch)
                own = {name: values[place] for name, values in said.items()}
                apart += [own.pop("alone")] if "alone" in own else []
                found = own.get("contributions")
                outputs.append(Output(own["logits"], own.get("weights"), own.get("scores"), contributions=found))

    def _said(self, some: SideBySide, embeddings: Tensor, offsets: Tensor, where: Tensor | None) -> dict[str, Tensor]:
        """Ask what is kept of an output, by name, of all models along a first axis."""

        def kept(model: MILModel, *given: Any) -> dict[str, Tensor]:
            output = aggregated(model, *given)
            return {name: value for name, value in output._asdict().items() if name in _KEPT and value is not None}

        axes = axes_of(where, None)
        said: dict[str, Tensor] = some.each(kept, axes, embeddings, offsets, where, None)
        if self._alone and "scores" not in said:
            parts = embeddings.split(_ALONE, dim=1)
            places = [None] * len(parts) if where is None else where.split(_ALONE)
            ends = [torch.arange(part.shape[1] + 1, device=part.device) for part in parts]
            each = [some.each(kept, axes, *given, None)["logits"] for given in zip(parts, ends, places, strict=True)]
            said["alone"] = torch.cat(each, dim=2)
        return said

    def check_range(self) -> None:
        """Refuse bags with values that were out of range once they were scaled; it waits for the device, once."""
        fine = torch.stack([one for *_, one in self._ranges]).cpu().tolist()
        for (batch, part, _), good in zip(self._ranges, fine, strict=True):
            if not good:
                for number in part:
                    self._packed.check_range(batch, self._models[number].scaler)
                raise RangeError("an instance is out of range once it is scaled: look for extreme values")
