"""Bags as learners take them: in double precision, scaled by what training instances taught."""

from typing import Annotated, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import StandardScaler

from bagwise.bags import Bags
from bagwise.checks import MOST_SPAN, check_span
from bagwise.errors import BagwiseError
from bagwise.stored import StoredInstances

__all__ = ["CLIP", "Packed", "Scaler", "check_extent", "packed_as", "scaler_of", "values_of"]

CLIP = 3.0


class Packed(NamedTuple):
    """Bags with all that a learner needs of them.

    Attributes
    ----------
    instances
        Scaled, shape (N, D), double precision.
    offsets
        Where bags begin and the last one ends, shape (B + 1,).
    sample_weight
        Of bags to learn from: what the loss of each is multiplied with, shape (B,). None: all are 1.

    Examples
    --------
    >>> Packed(np.zeros((3, 2)), np.array([0, 1, 3])).sizes.tolist()
    [1, 2]
    """

    instances: NDArray[np.float64]
    offsets: NDArray[np.int64]
    sample_weight: NDArray[np.float64] | None = None

    @property
    def weights(self) -> NDArray[np.float64]:
        """What the loss of each bag is multiplied with, shape (B,)."""
        return np.ones(len(self.offsets) - 1) if self.sample_weight is None else self.sample_weight

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Number of instances of each bag, shape (B,)."""
        return np.diff(self.offsets)

    def highest(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Take the maximum of values of instances, shape (N, ...), in each bag."""
        highest: NDArray[np.float64] = np.maximum.reduceat(values, self.offsets[:-1])
        return highest

    def sums(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum values of instances, shape (N, ...), in each bag."""
        return np.add.reduceat(values, self.offsets[:-1])

    def where_highest(self, values: NDArray[np.float64]) -> NDArray[np.int64]:
        """Give the row of the first highest value, shape (N,), in each bag."""
        bag = np.repeat(np.arange(len(self.sizes)), self.sizes)
        at_top = np.flatnonzero(values == self.highest(values)[bag])
        return at_top[np.unique(bag[at_top], return_index=True)[1]]


class Scaler(NamedTuple):
    """How each number is brought to mean 0 and spread 1.

    Attributes
    ----------
    mean, spread
        Shape (D,).

    Examples
    --------
    >>> Scaler.of(np.array([[0.0], [2.0]])).scaled(np.array([[1.0], [9.0]])).tolist()
    [[0.0], [3.0]]
    """

    mean: Annotated[NDArray[np.float64], "D"]
    spread: Annotated[NDArray[np.float64], "D"]

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> Self:
        """Learn it, of values of shape (N, D)."""
        learnt = StandardScaler().fit(values)
        return cls(learnt.mean_, learnt.scale_)

    def where(self, known: NDArray[np.bool_], otherwise: NDArray[np.float64]) -> Self:
        """Subtract something else, and divide by nothing, where mean and spread are not known."""
        return self._replace(mean=np.where(known, self.mean, otherwise), spread=np.where(known, self.spread, 1.0))

    def scaled(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Scale values, shape (N, D), to at most `CLIP` either way."""
        with np.errstate(over="ignore"):  # what is infinite is clipped
            scaled = values - self.mean
            scaled /= self.spread
        return np.clip(scaled, -CLIP, CLIP, out=scaled)


def scaler_of(values: NDArray[np.float64], bags: Bags) -> Scaler:
    """Learn to bring each feature to mean 0 and spread 1.

    Parameters
    ----------
    values
        The instances that it is learnt from, shape (N, D), as `values_of` gives them.
    bags
        Theirs, for messages.

    Returns
    -------
    Scaler

    Raises
    ------
    BagwiseError
        If a feature spans more than numbers can.

    Examples
    --------
    >>> bags = Bags.from_arrays([[[0.0]], [[2.0]]])
    >>> scaler_of(values_of(bags), bags).mean.tolist()
    [1.0]
    """

    def farthest(feature: int) -> tuple[str, int]:
        return _place(int(np.argmax(abs(values[:, feature]))), bags)

    lowest = values.min(axis=0)
    check_span(lowest, values.max(axis=0), bags.feature_names, farthest)
    with np.errstate(over="ignore", invalid="ignore"):
        scaler = Scaler.of(values)
    # Squares of what is the same everywhere may overflow.
    return scaler.where(np.isfinite(scaler.mean + scaler.spread), lowest)


def packed_as(bags: Bags, scaler: Scaler | None) -> Packed:
    """Scale bags, to at most `CLIP` either way.

    Parameters
    ----------
    bags
        The bags.
    scaler
        As `scaler_of` gives it; None leaves instances as they are.

    Returns
    -------
    Packed

    Raises
    ------
    BagwiseError
        If there is no scaler, and a value is so large that its square overflows.

    Examples
    --------
    >>> bags = Bags.from_arrays([[[0.0]], [[2.0]], [[99.0]]])
    >>> packed_as(bags, scaler_of(values_of(bags[:2]), bags[:2])).instances.ravel().tolist()
    [-1.0, 1.0, 3.0]
    """
    values = values_of(bags)
    if scaler is None:
        check_extent(values, bags)
        return Packed(values, bags.offsets)
    return Packed(scaler.scaled(values), bags.offsets)


def _place(row: int, bags: Bags) -> tuple[str, int]:
    """Give the name of the bag of a row, and the row's number in it."""
    bag = int(np.searchsorted(bags.offsets, row, side="right")) - 1
    return str(bags.names[bag]), row - int(bags.offsets[bag])


def check_extent(values: NDArray[np.float64], bags: Bags) -> None:
    """Refuse values whose squares overflow, where nothing brings them to a scale.

    Parameters
    ----------
    values
        Instances, shape (N, D).
    bags
        Theirs, for the message.

    Raises
    ------
    BagwiseError
        If there is one.

    Examples
    --------
    >>> check_extent(np.array([[1e9]]), Bags.from_arrays([[[1e9]]]))
    """
    if max(values.max(), -values.min()) > MOST_SPAN:
        row_of_all, column = map(int, np.unravel_index(np.argmax(abs(values)), values.shape))
        bag, row = _place(row_of_all, bags)
        feature = column if bags.feature_names is None else bags.feature_names[column]
        raise BagwiseError(
            f"bag {bag!r} has {values[row_of_all, column]:.4g} as feature {feature!r} in row {row}, which is out of"
            " range without scaling: mend the value, or give features in other units"
        )


def values_of(bags: Bags) -> NDArray[np.float64]:
    """Hold all instances in memory, in double precision.

    Parameters
    ----------
    bags
        Bags of vectors.

    Returns
    -------
    array
        Shape (N, D).

    Examples
    --------
    >>> values_of(Bags.from_arrays([[[1], [2]]])).tolist()
    [[1.0], [2.0]]
    """
    if isinstance(bags.instances, StoredInstances):
        return np.concatenate([bag.instances for bag in bags]).astype(np.float64)
    return bags.instances.astype(np.float64)
