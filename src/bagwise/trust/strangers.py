"""Whether a bag is like those learnt from: of one that is not, an answer is worth little.

A bag is where its summary lies (mean and spread of each feature, number of instances) and, by a neural model, its
vector. It is strange if the nearest training bags are far by the models of all folds. Spaces of different models are
not comparable, so far is what lies spreads above the mean: among bags that a model learnt from for these, and for the
others among those of the fold that it did not learn from. How far is too far the training bags tell, so about 1 % of
bags that are like them are as strange as 1 % of these.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bagwise.trust.sets import group_weights, p_values

__all__ = ["RARE", "KnownBags", "strangers_told"]

RARE = 0.01  # the share of like bags that are called strangers
_NEAREST = 5
_LEAST = 0.01  # of the median distance: of bags that are alike, such as copies, none is far nearer than that
_FARTHEST = 1e6  # spreads from the mean, whose squares are numbers
_AT_ONCE = 1 << 22  # distances


@dataclass(frozen=True, eq=False)
class KnownBags:
    """Training bags as new ones are compared with them.

    Attributes
    ----------
    summaries
        Shape (n, D), as `bagwise.trust.seen` makes them.
    fold
        In which fold each bag is, from 0 on, shape (n,); there are two or more.
    vectors
        Of each bag by the model of each fold, shape (K, n, E); None where models have none.
    groups
        Of the bags, shape (n,): each counts 1. None: each bag does.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> known = KnownBags(rng.normal(size=(199, 3)), np.arange(199) % 5)
    >>> known.p_values(np.array([[0.0, 0.0, 0.0], [5.0, 5.0, 5.0]])).round(3).tolist()
    [0.955, 0.005]
    """

    summaries: NDArray[np.float64]
    fold: NDArray[np.int64]
    vectors: NDArray[np.floating] | None = None
    groups: NDArray[Any] | None = None

    @property
    def finest(self) -> float:
        """The smallest p-value that there can be, which like bags have as often."""
        return float(1 / (1 + group_weights(self.groups, len(self.fold)).sum()))

    def p_values(
        self, summaries: NDArray[np.float64], vectors: NDArray[np.floating] | None = None
    ) -> NDArray[np.float64]:
        """Say of new bags which share of the training bags is at least as strange.

        Parameters
        ----------
        summaries
            Of the new bags, shape (B, D).
        vectors
            By the model of each fold, shape (K, B, E), where the training bags have them.

        Returns
        -------
        array
            Shape (B,), above 0 and at most 1: of bags like the training bags about one in a hundred has 0.01 or less.

        References
        ----------
        S. Bates, E. Candès, L. Lei, Y. Romano, M. Sesia: Testing for outliers with conformal p-values. The Annals of
        Statistics, 2023. The score, the mean distance to the nearest, is of F. Angiulli, C. Pizzuti: Fast outlier
        detection in high dimensional spaces. PKDD, 2002.
        """
        known, new = [], []
        for number in np.unique(self.fold):
            seen = self.fold != number
            places, asked = _in_one_space(
                [self.summaries] if self.vectors is None else [self.summaries, self.vectors[number]],
                [summaries] if vectors is None else [summaries, vectors[number]],
                seen,
            )
            of = np.arange(len(seen)) if self.groups is None else self.groups
            far = np.empty(len(seen))
            far[seen] = _far(places[seen], places[seen], of[seen])
            far[~seen] = _far(places[~seen], places[seen])
            least = _LEAST * np.median(far[~seen]) or _LEAST
            known.append(np.log(np.maximum(far, least)))
            new.append(np.log(np.maximum(_far(asked, places[seen]), least)))
        own, strange = _on_one_scale(np.array(known), np.array(new), self.fold)
        return p_values(own, np.zeros(len(own), np.int64), strange[None], self.groups)


def _on_one_scale(
    known: NDArray[np.float64], new: NDArray[np.float64], fold: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Average over the models of folds by how many spreads known bags, shape (K, n), and new ones, (K, B), are off."""
    held_out = np.unique(fold)[:, None] == fold
    off, asked = np.ma.masked_invalid(known), new.copy()
    for far, strange, own in zip(off, asked, held_out, strict=True):
        centre, others = far[own].mean(), far[~own]
        strange -= centre
        far[own] -= centre
        far[~own] = (others - others.mean()) / (others.std() or 1.0)
    # Of a fold's few bags alone the spread would be mostly chance, and each fold has its own mean taken off.
    spread = float(np.sqrt(np.square(off[held_out]).sum() / max(1, len(fold) - len(held_out)))) or 1.0
    off[held_out] /= spread
    return off.mean(axis=0).filled(), asked.mean(axis=0) / spread


def _in_one_space(
    known: Sequence[NDArray[np.floating]], new: Sequence[NDArray[np.floating]], seen: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Put the parts of known and of new bags into a space where the bags seen have spread 1 and parts count alike."""
    of_known: list[NDArray[np.float64]] = []
    of_new: list[NDArray[np.float64]] = []
    for one, other in zip(known, new, strict=True):
        mean, spread = one[seen].mean(axis=0, dtype=np.float64), one[seen].std(axis=0, dtype=np.float64)
        spread[spread <= np.finfo(np.float32).eps * np.abs(mean)] = 1.0  # the same in all, but for rounding
        for values, placed in ((one, of_known), (other, of_new)):
            placed.append(((values - mean) / spread).clip(-_FARTHEST, _FARTHEST) / np.sqrt(values.shape[1]))
    return np.concatenate(of_known, axis=1), np.concatenate(of_new, axis=1)


def _far(
    asked: NDArray[np.float64], known: NDArray[np.float64], groups: NDArray[Any] | None = None
) -> NDArray[np.float64]:
    """Give the mean distance to the nearest known bags, shape (B,).

    Where groups are given, known bags are asked about themselves, and those of other groups count: NaN without any.
    """
    nearest = min(_NEAREST, len(known))
    squares, found = np.square(known).sum(axis=1), np.empty(len(asked))
    rows = max(1, _AT_ONCE // len(known))
    for begin in range(0, len(asked), rows):
        part = asked[begin : begin + rows]
        apart = np.square(part).sum(axis=1)[:, None] + squares - 2 * part @ known.T
        if groups is not None:
            apart[groups[begin : begin + rows, None] == groups] = np.inf
        near = np.partition(apart, nearest - 1, axis=1)[:, :nearest]
        counted = np.isfinite(near)
        far = np.sqrt(near.clip(min=0.0), where=counted, out=np.zeros_like(near)).sum(axis=1)
        found[begin : begin + rows] = np.divide(
            far, counted.sum(axis=1), where=counted.any(axis=1), out=np.full(len(near), np.nan)
        )
    return found


def strangers_told(p: NDArray[np.float64], finest: float) -> str:
    """Say how many bags are strangers, and how fine that can be told.

    Parameters
    ----------
    p
        As `KnownBags.p_values` gives them, shape (B,).
    finest
        As `KnownBags.finest` gives it.

    Returns
    -------
    str
        A sentence.

    Examples
    --------
    >>> strangers_told(np.array([0.005, 0.5, 0.2]), 0.005)
    '1 of 3 bags lies farther from the training bags than 99 % of these do; of bags like them about 0 would'
    """
    level = max(RARE, finest)
    count = int((p <= level + 1e-9).sum())
    told = f"{count:,} of {len(p):,} bags {'lies' if count == 1 else 'lie'} farther from the training bags than"
    if finest > RARE:
        return (
            f"{told} any of these does; of bags like them about {len(p) * finest:.0f} would, since {1 / finest - 1:.0f}"
            " training bags (or groups) are too few to tell the strangest 1 %"
        )
    return f"{told} 99 % of these do; of bags like them about {len(p) * level:.0f} would"
