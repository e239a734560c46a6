"""Bags for a loop of the user's own: what `torch.utils.data.DataLoader` takes."""

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.utils.data import Dataset

from bagwise.bags import Bags
from bagwise.checks import valid_weights
from bagwise.errors import BagwiseError
from bagwise.models.neighbours import Neighbourhood
from bagwise.targets.classes import ClassTarget
from bagwise.targets.contract import Target
from bagwise.targets.registry import resolve, target_of
from bagwise.training.data import PackedTensors, as_tensor

__all__ = ["BagDataset", "PackedBatch", "pack_bags"]


class PackedBatch(NamedTuple):
    """One bag or several, packed: bag ``b`` has the instances from ``offsets[b]`` to ``offsets[b + 1]``.

    Attributes
    ----------
    instances
        Shape (N, ...), as the bags hold them.
    offsets
        Shape (B + 1,), int64; torch_geometric calls it ``ptr``.
    targets
        Shape (B, T), float64; None where there are none.
    coordinates
        Of the instances, shape (N, 2) or (N, 3), float64; None where the bags have none.
    weights
        Of the bags, shape (B,), float64; None where none were given.
    names
        Of the bags, a list of strings.
    neighbours
        Of the instances, as positions among the N, shape (N, k), int64; None where the data set was not asked for them.

    Examples
    --------
    >>> batch = BagDataset(Bags.from_arrays([[[1.0], [2.0]], [[3.0]]]))[0]
    >>> batch.instances.tolist(), batch.offsets.tolist(), batch.targets
    ([[1.0], [2.0]], [0, 2], None)
    """

    instances: Tensor
    offsets: Tensor
    targets: Tensor | None
    coordinates: Tensor | None
    weights: Tensor | None
    names: list[str]
    neighbours: Tensor | None = None

    @property
    def where(self) -> Tensor | None:
        """What tells a model where instances are, its third argument: neighbours if asked for, else coordinates."""
        return self.coordinates if self.neighbours is None else self.neighbours


class BagDataset(Dataset[PackedBatch]):
    """Bags as a data set of torch's: an item is a batch of one bag, and `pack_bags` makes one batch of several.

    Order, number of bags and workers are the business of a `torch.utils.data.DataLoader` and its samplers. Instances in
    files are read when their bag's turn comes, by whichever process it is that reads.

    Parameters
    ----------
    bags
        The bags.
    targets
        What is to be learnt, shape (B,) or (B, T), numbers. None takes the labels, if there are any, as `target`
        encodes them.
    target
        Of which kind the labels are, as `target=` of methods takes it: classes become one column of class numbers, of
        two the positive one 1; grades one of numbers from 0; several labels or numbers stay; survival is time and
        event.
    sample_weight
        One weight a bag. None gives none.
    neighbours
        Which neighbours of instances batches are to have, as the ``wants_neighbours`` of a model says it. Those of a
        bag are found when its turn first comes, and kept by the process that reads it. None: they have none.

    Attributes
    ----------
    target : Target or None
        What encoded the labels; it has their loss, too. None where the labels are not what is learnt.
    classes : list or None
        The label of each class number, where the labels are classes.

    Raises
    ------
    BagwiseError
        If there is not one target and one weight for each bag, or the labels are not of this kind.

    Examples
    --------
    >>> from torch.utils.data import DataLoader
    >>> dataset = BagDataset(Bags.from_arrays([[[1.0], [2.0]], [[3.0]], [[4.0]]], labels=["no", "yes", "no"]))
    >>> for batch in DataLoader(dataset, batch_size=2, collate_fn=pack_bags):
    ...     print(batch.offsets.tolist(), batch.targets.tolist(), batch.names)
    [0, 2, 3] [[0.0], [1.0]] ['0', '1']
    [0, 1] [[0.0]] ['2']
    >>> near = BagDataset(dataset.bags, neighbours=Neighbourhood(1, "features"))
    >>> pack_bags([near[1], near[0]]).where.tolist()
    [[0], [2], [1]]
    """

    def __init__(
        self,
        bags: Bags,
        targets: ArrayLike | None = None,
        *,
        target: str = "auto",
        sample_weight: ArrayLike | None = None,
        neighbours: Neighbourhood | None = None,
    ) -> None:
        self.bags = bags
        self._neighbours = neighbours
        self._packed = None if neighbours is None else PackedTensors(bags)
        self.target: Target | None = None
        self.classes: list[object] | None = None
        self._targets: Tensor | None = None
        if targets is None and bags.labels is not None:
            given = {"names": bags.names, "label_names": bags.label_names}
            self.target = target_of(resolve(target, bags.labels, **given), bags.labels, **given)
            targets = self.target.encoded(bags.labels)
            if isinstance(self.target, ClassTarget):
                self.classes = self.target.classes.in_learning.tolist()
        if targets is not None:
            numbers = np.array(targets, dtype=np.float64)
            if len(numbers) != len(bags) or numbers.ndim > 2:
                raise BagwiseError(
                    f"the targets have shape {numbers.shape} and there are {len(bags)} bags: give one row a bag"
                )
            self._targets = torch.from_numpy(numbers.reshape(len(bags), -1))
        self._weights = None if sample_weight is None else torch.tensor(valid_weights(sample_weight, bags.names))

    def __len__(self) -> int:
        return len(self.bags)

    def __getitem__(self, position: int) -> PackedBatch:
        bag = self.bags[position]
        position %= len(self)  # the bag was there

        def of_bag(values: Tensor | None) -> Tensor | None:
            return None if values is None else values[position : position + 1]

        return PackedBatch(
            # A copy: the bags must stay as they are, whatever a loop does to a batch in place.
            as_tensor(np.array(bag.instances)),
            torch.tensor([0, len(bag.instances)]),
            of_bag(self._targets),
            None if bag.coordinates is None else torch.from_numpy(np.array(bag.coordinates, dtype=np.float64)),
            of_bag(self._weights),
            [str(bag.name)],
            self._near(position),
        )

    def _near(self, position: int) -> Tensor | None:
        if self._packed is None or self._neighbours is None:
            return None
        return self._packed.neighbours(self._neighbours, np.array([position]))


def pack_bags(batches: Sequence[PackedBatch]) -> PackedBatch:
    """Pack batches into one: the ``collate_fn`` for a `BagDataset`.

    Parameters
    ----------
    batches
        Of one data set; at least one.

    Returns
    -------
    PackedBatch
        Their bags, in this order.

    Examples
    --------
    >>> dataset = BagDataset(Bags.from_arrays([[[1.0], [2.0]], [[3.0]]]))
    >>> pack_bags([dataset[1], dataset[0]]).offsets.tolist()
    [0, 1, 3]
    """
    instances, offsets, targets, coordinates, weights, names, neighbours = zip(*batches, strict=True)
    sizes = torch.cat([ends.diff() for ends in offsets])
    begins = accumulate((len(part) for part in instances[:-1]), initial=0)

    def joined(parts: Sequence[Tensor | None]) -> Tensor | None:
        found = [part for part in parts if part is not None]
        return torch.cat(found) if found else None

    return PackedBatch(
        torch.cat(instances),
        torch.cat([sizes.new_zeros(1), sizes.cumsum(0)]),
        joined(targets),
        joined(coordinates),
        joined(weights),
        [name for part in names for name in part],
        joined([None if near is None else near + begin for near, begin in zip(neighbours, begins, strict=True)]),
    )
