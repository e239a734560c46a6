"""Instances where the members learn: all of them in the device's memory, as far as they fit, the rest sent ahead."""

from collections import deque
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bagwise.models.scaling import as_floating
from bagwise.training.data import PackedTensors
from bagwise.training.device import sent

__all__ = ["Card"]

# At most this share of the device's free memory is for instances: the rest is for what is computed of them.
_SHARE = 0.5
# Bags that are under way to the device before their turn.
_AHEAD = 2


class Card:
    """Bags on a device, in what the members compute in, brought to a common scale.

    Parameters
    ----------
    packed
        The bags.
    bags
        Positions of those that will be asked for.
    device
        Where to.
    dtype
        What to keep them in; pixels of 8 bits stay as they are.
    scale
        Shift and factor in double precision, shape (D,) each: what is kept is ``(x - shift) * factor``, rounded once.

    Attributes
    ----------
    resident : bool
        Whether all are in the device's memory.

    Examples
    --------
    >>> from bagwise.bags import Bags
    >>> packed = PackedTensors(Bags.from_arrays([[[1.0], [2.0]], [[3.0]]]))
    >>> card = Card(packed, np.arange(2), torch.device("cpu"), torch.float32)
    >>> [instances.tolist() for _, instances in card.turn(np.array([1, 0]))]
    [[[3.0]], [[1.0], [2.0]]]
    """

    def __init__(
        self,
        packed: PackedTensors,
        bags: NDArray[np.int64],
        device: torch.device,
        dtype: torch.dtype,
        scale: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None,
    ) -> None:
        self._packed, self._device = packed, device
        self._dtype = torch.uint8 if packed.dtype == np.uint8 else dtype
        self._scale = None if scale is None else tuple(torch.from_numpy(one).to(device) for one in scale)
        needed = int(packed.sizes[bags].sum()) * int(np.prod(packed.instance_shape)) * self._dtype.itemsize
        self.resident = device.type == "cpu" or needed < _SHARE * torch.cuda.mem_get_info(device)[0]
        self._held: dict[int, Tensor] = {}
        if self.resident and device.type != "cpu":
            self._held = dict(self._sent(bags))

    def turn(self, bags: NDArray[np.int64]) -> Iterator[tuple[int, Tensor]]:
        """Go from bag to bag.

        Parameters
        ----------
        bags
            Positions.

        Yields
        ------
        tuple
            A position, and the bag's instances, shape (n, ...).
        """
        if self._held:
            yield from ((bag, self._held[bag]) for bag in bags.tolist())
        else:
            yield from self._sent(bags)

    def _sent(self, bags: NDArray[np.int64]) -> Iterator[tuple[int, Tensor]]:
        """Send bags, each while the ones before it are at work."""
        under_way: deque[tuple[int, Tensor]] = deque()
        for visit, bag in self._packed.turn([(np.array([bag]), bag) for bag in bags.tolist()], self._device):
            raw = self._packed.whole(int(visit[0]))
            raw = sent(raw, self._device)
            under_way.append((bag, self._kept(raw)))
            if len(under_way) > _AHEAD:
                yield under_way.popleft()
        yield from under_way

    def _kept(self, raw: Tensor) -> Tensor:
        if self._scale is None:
            return raw if raw.dtype == self._dtype else as_floating(raw, torch.float32).to(self._dtype)
        shift, factor = self._scale
        return ((raw.double() - shift) * factor).to(self._dtype)
