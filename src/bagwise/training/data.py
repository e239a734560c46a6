"""Bags as tensors."""

import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from itertools import accumulate
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bagwise.bags import Bags
from bagwise.encoding import Encoding
from bagwise.errors import BagwiseError
from bagwise.models.model import MILModel
from bagwise.models.neighbours import Neighbourhood, nearest, standardised
from bagwise.models.scaling import Scaler
from bagwise.stored import StoredInstances
from bagwise.training.device import sent

__all__ = ["PackedTensors", "as_tensor"]


def as_tensor(array: NDArray[Any]) -> Tensor:
    """See an array as a tensor, without a copy where torch knows its type.

    Parameters
    ----------
    array
        Real numbers; it is not written to.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> as_tensor(np.arange(3, dtype=">u2"))
    tensor([0., 1., 2.], dtype=torch.float64)
    """
    if array.dtype.kind == "u" and array.dtype.itemsize > 1:
        array = array.astype(np.float64)  # torch has no arithmetic on these
    elif not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    with warnings.catch_warnings():
        # Bags are read-only, which tensors cannot be; nothing here writes to them.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


@lru_cache(1 << 12)
def _ends_of_one(size: int) -> Tensor:
    with torch.inference_mode(False):  # training must be able to keep what was made while a model predicted
        return torch.tensor([0, size])


Visitor = TypeVar("Visitor")

# How many instances of bags in files are read before their turn, and the bag after that.
_AHEAD = 1 << 15
_CPU = torch.device("cpu")
# Of bags, what was found of each: it takes longer than a training, so that one is not to find it after the other.
_NEIGHBOURS: WeakKeyDictionary[Bags, dict[tuple[Neighbourhood, int], NDArray[np.int32]]] = WeakKeyDictionary()


class PackedTensors:
    """Bags, what their labels are in numbers, and their weights, ready to be cut into batches.

    Parameters
    ----------
    bags
        The bags.
    encoded
        Of the labels, as `bagwise.targets.contract.Target.encoded` gives it, shape (B, T), or (B,) for one number; None
        where nothing is learnt.
    weights
        What the loss of each bag is multiplied with, shape (B,); None: all are 1.

    Examples
    --------
    >>> packed = PackedTensors(Bags.from_arrays([[[1.0], [2.0]], [[3.0]]]), np.array([0, 1]))
    >>> instances, offsets = packed.batch(np.array([1, 0]), torch.device("cpu"))
    >>> instances.tolist(), offsets.tolist()
    ([[3.0], [1.0], [2.0]], [0, 1, 3])
    """

    def __init__(
        self, bags: Bags, encoded: NDArray[Any] | None = None, weights: NDArray[np.float64] | None = None
    ) -> None:
        self._instances = bags.instances
        self._whole = None if isinstance(bags.instances, StoredInstances) else as_tensor(bags.instances)
        self._held: dict[int, Tensor] = {}
        self.names = bags.names
        self.feature_names = bags.feature_names
        self.dtype = bags.instances.dtype
        self.instance_shape = bags.instance_shape
        self.offsets = bags.offsets
        self.sizes = bags.sizes
        self._places = bags.offsets.tolist()  # numbers of Python's: tensors are cut by them ten times as fast
        self.keys = bags.keys
        given = np.zeros(len(bags)) if encoded is None else encoded
        self.encoded = given.reshape(len(bags), -1).astype(np.float64)
        self.weights = None if weights is None else torch.from_numpy(weights)
        self._coordinates = bags.coordinates
        self._neighbours = _NEIGHBOURS.setdefault(bags, {})
        self._columns = bags.columns

    def encoding(self, positions: NDArray[np.int64], width: int | None, beside: int = 0) -> Encoding:
        """Learn of some bags what a model is shown of their columns.

        Parameters
        ----------
        positions
            Of the bags.
        width
            How many numbers a model is shown of an instance.
        beside
            How many of these belong to the bag.

        Returns
        -------
        Encoding
        """
        assert self._columns is not None
        return Encoding.learn(self._columns, np.asarray(self._instances), self.offsets, positions, width, beside)

    def turn(
        self, visits: Sequence[tuple[NDArray[np.int64], Visitor]], device: torch.device = _CPU
    ) -> Iterator[tuple[NDArray[np.int64], Visitor]]:
        """Go from visit to visit; bags in files are held while a visit lasts, and the next ones read meanwhile.

        A bag is read once, and kept until the last visit that wants it, so visits that share bags should stand close
        together.

        Parameters
        ----------
        visits
            Positions of the bags that a visit wants, and who wants them.
        device
            Where the bags are used. For a CPU numbers in half precision are widened by the reader; another device is
            sent them as they are.

        Yields
        ------
        tuple
            A visit. While it lasts `batch` is quick for its bags.
        """
        if self._whole is not None:
            yield from visits
            return
        last = {bag: number for number, (bags, _) in enumerate(visits) for bag in bags.tolist()}
        reads: dict[int, Future[Tensor]] = {}
        read = self._widened if device.type == "cpu" else self._read
        waiting: set[int] = set()
        planned = ahead = 0
        with ThreadPoolExecutor(1) as reader:
            for number, visit in enumerate(visits):
                while planned < len(visits) and (planned <= number or ahead < _AHEAD):
                    for bag in visits[planned][0].tolist():
                        if bag not in reads:
                            reads[bag] = reader.submit(read, bag)
                            waiting.add(bag)
                            ahead += int(self.sizes[bag])
                    planned += 1
                wanted = visit[0].tolist()
                ahead -= sum(int(self.sizes[bag]) for bag in wanted if bag in waiting)
                waiting.difference_update(wanted)
                self._held = {bag: reads[bag].result() for bag in wanted}
                yield visit
                for bag in wanted:
                    if last[bag] == number:
                        del reads[bag]
            self._held = {}

    def batch(self, positions: NDArray[np.int64], device: torch.device) -> tuple[Tensor, Tensor]:
        """Pack some bags.

        Parameters
        ----------
        positions
            Which bags, in the order to pack them.
        device
            Where to.

        Returns
        -------
        tuple of Tensor
            Instances (N, ...) as the bags hold them, and offsets (b + 1,).
        """
        parts = [self._bag(position) for position in positions.tolist()]
        if len(parts) == 1:  # the usual step, of small bags no longer than all this takes
            (instances,) = parts
            offsets = _ends_of_one(instances.shape[0])
        else:
            instances = torch.cat(parts)
            offsets = torch.tensor([0, *accumulate(map(len, parts))])
        if device.type == "cpu":
            return instances, offsets
        return sent(instances, device), sent(offsets, device)

    def where(self, model: MILModel, positions: NDArray[np.int64], device: torch.device) -> Tensor | None:
        """Pack what a model asks for besides instances, their coordinates or neighbours.

        Parameters
        ----------
        model
            Who asks.
        positions
            Which bags, in the order to pack them.
        device
            Where to.

        Returns
        -------
        Tensor or None
            Coordinates, shape (N, 2) or (N, 3), as the model computes; or neighbours, positions among the N, shape
            (N, k), int64, as `neighbours` gives them. In the order of `batch`. None where it asks for neither.

        Raises
        ------
        BagwiseError
            If the bags have no coordinates, and it needs them.
        """
        if model.wants_neighbours is not None:
            return sent(self.neighbours(model.wants_neighbours, positions), device)
        if not model.wants_coordinates:
            return None
        where = np.concatenate([self._places_in(bag) for bag in positions.tolist()])
        return sent(as_tensor(where).to(model.scaler.factor.dtype), device)

    def neighbours(self, wanted: Neighbourhood, positions: NDArray[np.int64]) -> Tensor:
        """Pack neighbours of instances, which are found when a bag is first asked for and kept.

        Parameters
        ----------
        wanted
            How many, and where they are near.
        positions
            Which bags, in the order to pack them.

        Returns
        -------
        Tensor
            Positions among the N instances that `batch` gives, shape (N, k), int64.

        Raises
        ------
        BagwiseError
            If the bags have no coordinates, and it needs them.
        """
        bags = positions.tolist()
        begins = accumulate((self.sizes[bag] for bag in bags[:-1]), initial=np.int64(0))
        found = [self._near(wanted, bag) + begin for bag, begin in zip(bags, begins, strict=True)]
        return torch.from_numpy(np.concatenate(found))

    def _places_in(self, bag: int) -> NDArray[Any]:
        coordinates: NDArray[Any] | None = self._coordinates
        if coordinates is None:
            raise BagwiseError(
                "the model asks for the coordinates of instances, and these bags have none: read them with the data, or"
                " use a method that does without"
            )
        return coordinates[self.offsets[bag] : self.offsets[bag + 1]]

    def _near(self, wanted: Neighbourhood, bag: int) -> NDArray[np.int32]:
        if (wanted, bag) not in self._neighbours:
            own = self._compared(bag)
            points = standardised(own) if wanted.space == "features" else self._places_in(bag)
            self._neighbours[wanted, bag] = nearest(points, wanted.count, own)
        return self._neighbours[wanted, bag]

    def _compared(self, bag: int) -> NDArray[Any]:
        """Give numbers by which instances of a bag can be compared, learnt from nothing but the bag."""
        rows = self._bag(bag).numpy()
        if self._columns is None or np.array_equal(rows, np.broadcast_to(rows[:1], rows.shape), equal_nan=True):
            known: NDArray[Any] = np.nan_to_num(rows)
            return known.reshape(len(rows), -1)
        return Encoding.learn(self._columns, rows, np.array([0, len(rows)]), np.zeros(1, np.int64)).apply(rows)

    def check_range(self, positions: NDArray[np.int64], scaler: Scaler) -> None:
        """Refuse bags with values that are no numbers any more once they are scaled; it reads the bags to find them.

        Parameters
        ----------
        positions
            Which bags.
        scaler
            What scales them.

        Raises
        ------
        BagwiseError
            If there is such a value; the sentence names its bag, row and column.
        """
        for position in positions.tolist():
            bag = self._bag(position)
            bad = ~torch.isfinite(scaler.scaled(bag.to(scaler.shift.device)))
            if bad.any():
                row, *place = bad.nonzero()[0].tolist()
                name = place[0] if len(place) == 1 else tuple(place)
                if self.feature_names is not None:
                    name = self.feature_names[place[0]]
                raise BagwiseError(
                    f"bag {self.names[position]!r} has {bag[row, *place].item():.4g} as feature {name!r} in row {row},"
                    " which is out of range once it is scaled: mend the value, or leave the row out"
                )

    def farthest(self, position: int, feature: int) -> tuple[str, int]:
        """Find where in a bag of vectors a feature is farthest from 0.

        Parameters
        ----------
        position
            Of the bag.
        feature
            Which.

        Returns
        -------
        tuple
            The bag's name, and the row.
        """
        return str(self.names[position]), int(self._bag(position)[:, feature].abs().argmax())

    def whole(self, position: int) -> Tensor:
        """Give a bag's instances as they are, shape (n, ...).

        Parameters
        ----------
        position
            Of the bag.
        """
        return self._bag(position)

    def _bag(self, position: int) -> Tensor:
        if self._whole is not None:
            return self._whole[self._places[position] : self._places[position + 1]]
        return self._held[position] if position in self._held else self._read(position)

    def _read(self, position: int) -> Tensor:
        return as_tensor(self._instances[self.offsets[position] : self.offsets[position + 1]])

    def _widened(self, position: int) -> Tensor:
        instances = self._read(position)
        # Once here, by the reader, and not by each member anew: it takes longer than a small encoder does.
        return instances.float() if instances.dtype == torch.float16 else instances
