"""What a candidate costs: reckoned from sizes before anything is tried, then from what was measured."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import log2
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bagwise.bags import Bags
from bagwise.methods.base import BagEstimator
from bagwise.methods.joint import reckoned
from bagwise.methods.neural import NeuralMIL

__all__ = ["Pace", "seconds_to_fit"]


class _Size(NamedTuple):
    bags: int
    instances: int
    features: int


_LEAST = 0.1  # seconds: what any fit takes, and measuring it
# Seconds of one core of a server's processor, fitted to what was measured with up to 4,000 bags or a million instances.
# Another takes half or thrice as long, which `Pace` finds out: what has to be right is how they grow.
_CLASSICAL: Mapping[str, Callable[[_Size], float]] = {
    "mean-logistic": lambda of: 5e-7 * of.bags * of.features + 1e-8 * of.instances * of.features,
    "summary-logistic": lambda of: 1e-6 * of.bags * of.features + 2e-8 * of.instances * of.features,
    "summary-forest": lambda of: 4e-6 * of.bags * log2(of.bags) * of.features**0.5 + 2e-8 * of.instances * of.features,
    "summary-SVM": lambda of: of.bags**2 * (1.5e-7 + 6e-9 * of.features) + 2e-8 * of.instances * of.features,
    "summary-boosting": lambda of: 0.03 * min(of.bags, 400) + 3e-6 * of.bags * of.features,
    "mi-Graph": lambda of: of.instances**2 * (4e-8 + 2e-10 * of.features),
    "MI-Kernel": lambda of: of.instances**2 * (4e-8 + 2e-10 * of.features),
    "miFV": lambda of: 5e-6 * of.instances * of.features,
    "miVLAD": lambda of: 6e-7 * of.instances * of.features + 1.5e-7 * of.bags**2,
    "MI-SVM": lambda of: of.bags * of.instances * (1.8e-6 + 1e-8 * of.features),
    "mi-SVM": lambda of: of.instances**2 * (5e-7 + 3e-9 * of.features),
}


def seconds_to_fit(method: str, model: BagEstimator, bags: Bags, subset: NDArray[np.int64]) -> float:
    """Reckon how long one core takes to fit a model.

    Parameters
    ----------
    method
        Its name in the registry.
    model
        What is to be fitted.
    bags
        Bags with labels.
    subset
        Positions of those to learn from.

    Returns
    -------
    float

    Examples
    --------
    >>> import bagwise as bw
    >>> bags = bw.Bags.from_arrays([[[0.0]], [[1.0]]] * 50, labels=[0, 1] * 50)
    >>> seconds_to_fit("MI-SVM", bw.make("MI-SVM"), bags, np.arange(100)) < 1
    True
    """
    if isinstance(model, NeuralMIL):
        return _LEAST + reckoned([model], bags, [subset])[0]
    return _LEAST + _CLASSICAL[method](_Size(len(subset), int(bags.sizes[subset].sum()), _features(bags)))


def _features(bags: Bags) -> int:
    """Say how many numbers a model is shown of an instance, about: of columns of all kinds more than there are."""
    if bags.columns is None:
        return int(bags.instance_shape[0])
    shown = {"category": 0, "date": 6, "number": 1}
    return sum(shown[column.kind] + len(column.values) for column in bags.columns)


@dataclass
class Pace:
    """How much longer things take than was reckoned, here and now; each method by itself, once it was measured.

    Examples
    --------
    >>> pace = Pace()
    >>> pace.learn("mi-SVM", reckoned=1.0, measured=3.0)
    >>> pace.of("mi-SVM"), pace.of("miFV")
    (3.0, 3.0)
    """

    _ratios: dict[str, float] = field(default_factory=dict)
    _reckoned: float = 0.0
    _measured: float = 0.0

    def learn(self, method: str, *, reckoned: float, measured: float) -> None:
        """Take in what was measured.

        Parameters
        ----------
        method
            Of what.
        reckoned, measured
            Seconds.
        """
        self._ratios[method] = measured / reckoned
        self._reckoned += reckoned
        self._measured += measured

    def of(self, method: str) -> float:
        """Say by how much to multiply what is reckoned.

        Parameters
        ----------
        method
            Of what.

        Returns
        -------
        float
            What was measured of this method last; where nothing was, of all together; 1 where nothing was at all.
        """
        together = self._measured / self._reckoned if self._reckoned else 1.0
        return self._ratios.get(method, together)
