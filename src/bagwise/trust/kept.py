"""What a run keeps of the training bags that were held out, to answer later what answers are worth."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from bagwise.errors import BagwiseError
from bagwise.targets.classes import ClassTarget
from bagwise.targets.contract import Target
from bagwise.targets.grades import OrdinalTarget
from bagwise.trust.sets import Scored

if TYPE_CHECKING:
    from bagwise.trust.held_out import HeldOut

__all__ = ["Kept"]


@dataclass(frozen=True, eq=False)
class Kept:
    """Training bags and what was said of each by a model that did not learn from it, as a file holds it.

    Attributes
    ----------
    answers
        As these models gave them, shape (B, A).
    calibrated
        What a calibration makes of them that was learnt from the other folds, shape (B, A).
    encoded
        Labels, as the target encodes them, shape (B, T).
    fold
        Which model said it, shape (B,).
    weights
        What each bag counts, shape (B,).
    groups
        Numbers of the groups that bags are of, shape (B,); of bags without groups each has its own.

    Examples
    --------
    >>> one = np.zeros(1)
    >>> Kept(one[None], one[None], one[None], one.astype(int), one + 1, one.astype(int)).arrays().keys() >= {"fold"}
    True
    """

    answers: NDArray[np.float64]
    calibrated: NDArray[np.float64]
    encoded: NDArray[np.float64]
    fold: NDArray[np.int64]
    weights: NDArray[np.float64]
    groups: NDArray[np.int64]

    @classmethod
    def of(cls, held_out: "HeldOut", calibrated: NDArray[np.float64] | None = None) -> Self:
        """Keep what was held out, with its answers calibrated across folds where they are."""
        count = len(held_out.answers)
        groups = np.arange(count)
        if held_out.groups is not None:
            groups = np.unique(held_out.groups.astype(str), return_inverse=True)[1]
        return cls(
            held_out.answers,
            held_out.answers if calibrated is None else calibrated,
            held_out.target.encoded(held_out.labels),
            held_out.fold,
            np.ones(count) if held_out.weights is None else held_out.weights,
            groups.astype(np.int64),
        )

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Give all of it by name, which `from_arrays` takes."""
        return dict(vars(self))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Make one of what `arrays` gave; what does not fit together raises a ValueError or KeyError."""
        found = cls(**arrays)
        count = len(found.answers)
        for name, array in vars(found).items():
            kind = np.int64 if name in ("fold", "groups") else np.float64
            if array.dtype != kind or len(array) != count or not count:
                raise ValueError(f"its {name} are of type {array.dtype} and shape {array.shape}")
            if array.ndim != 1 + (name in ("answers", "calibrated", "encoded")):
                raise ValueError(f"its {name} have shape {array.shape}")
        if found.answers.shape != found.calibrated.shape:
            raise ValueError(f"its calibrated answers have shape {found.calibrated.shape}")
        numbers = (found.answers, found.calibrated, found.weights)
        whole = (found.fold, found.groups)
        if not all(np.isfinite(array).all() for array in numbers) or not all((array >= 0).all() for array in whole):
            raise ValueError("it holds what is no number")
        if (found.weights < 0).any() or max(array.max() for array in whole) >= count:
            raise ValueError("its folds, groups or weights are none")
        return found

    @property
    def grouped(self) -> NDArray[np.int64] | None:
        """Of the bags that count the groups, or None where none has two bags."""
        return None if len(np.unique(self.groups)) == len(self.groups) else self.groups[self.counts]

    @property
    def counts(self) -> NDArray[np.bool_]:
        """Which bags count, shape (B,)."""
        return self.weights > 0

    @property
    def scored(self) -> Scored:
        """Those that count, as sets and intervals are made of them."""
        of = self.counts
        return Scored(self.encoded[of], self.answers[of], self.fold[of], self.grouped)

    def labels(self, target: Target) -> NDArray[Any]:
        """Give the labels of the bags; raises a BagwiseError where they are none of the target's."""
        if not isinstance(target, ClassTarget | OrdinalTarget):  # labels are numbers, or 0 and 1
            flat = target.kind == "count" or getattr(target, "flat", False)
            return self.encoded[:, 0] if flat else self.encoded
        places = self.encoded[:, 0].astype(np.int64)
        names = target.classes.in_learning if isinstance(target, ClassTarget) else target.names
        if ((places < 0) | (places >= len(names))).any():
            raise BagwiseError("what the run keeps of bags held out is of other labels: it was edited, so train again")
        labels: NDArray[Any] = names[places]
        return labels

    def positive(self, target: Target) -> NDArray[np.bool_]:
        """Say which bags are of the positive one of two classes, shape (B,)."""
        assert target.positive is not None
        positive: NDArray[np.bool_] = self.encoded[:, 0] == 1
        return positive
