"""In which columns the instances that count differ from the others of their bag."""

from collections.abc import Iterator
from itertools import pairwise
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bagwise.bags import Bags, BagsLike, as_bags
from bagwise.checks import check_count
from bagwise.errors import BagwiseError
from bagwise.explain.chance import adjusted, permutations_for, permuted
from bagwise.explain.compared import Series, compared
from bagwise.explain.instances import Explanation

__all__ = ["CHANCE", "contrast"]

CHANCE = 0.05  # below which what stands out is named
_AT_ONCE = 1 << 9  # instances


def contrast(
    explanation: Explanation, bags: BagsLike, top: float = 0.1, permutations: int | None = None
) -> pd.DataFrame:
    """Compare, column by column, the instances of high weight with the others of their bag.

    In each bag the share `top` of the instances with the highest importance, but at least one and not all, is set
    against the rest (of equals at the border a part of each counts). Means of the two are averaged over the bags, so
    that a large bag counts no more than a small one. Bags whose instances all count the same are left out. With two
    classes only bags that are predicted to be positive are looked at, as weights mean little in the others; if there
    are none, all.

    Of a column it is compared how many instances have each of its frequent values, are within each of its ranges, at
    an hour or on a day of the week, or have nothing (`bagwise.explain.compared.compared`); of features without names,
    the number itself. Each difference is divided by its standard deviation under permutations of the weights within
    bags, and the largest is what stands out in the column. Its p-value is the share of permutations in which a column
    stands out as much, corrected for how many columns, values and ranges there are (step-down maxT of Westfall and
    Young, 1993): were weights given at random, one run in twenty would name any column.

    Parameters
    ----------
    explanation, bags
        The bags, of vectors, and what was found of them. Of bags in files one is in memory at a time.
    top
        Share of the instances that counts as high.
    permutations
        How many to look at. None: 4,999, and where there is much to compute fewer, at least 199. They are the same
        every time.

    Returns
    -------
    DataFrame
        One row a column of the table, what stands out most first: ``feature``; ``stands_out``, the value or the range,
        where ``p_value`` is at most .05, else empty; then ``share_high`` and ``share_low``, how many of the instances
        of high weight and of the rest have it; of numbers ``mean_high`` and ``mean_low``; and ``difference``, of these
        means, else of the shares that differ most, in standard deviations within bags (0 for what is constant within
        all bags, or has numbers too large to square).

    Raises
    ------
    BagwiseError
        If the instances are no vectors, `top` or `permutations` is out of its range, or in every bag all instances
        count the same.
    """
    if not isinstance(top, Real) or not 0 < top < 1:
        raise BagwiseError(f"top is {top!r}: it must be a number above 0 and below 1")
    if permutations is not None:
        check_count("the number of permutations", permutations)
    bags = as_bags(bags)
    if len(bags.instance_shape) != 1:
        raise BagwiseError(f"instances have shape {bags.instance_shape}: only vectors have features to compare")
    several = np.flatnonzero(~explanation.equal(bags))
    if not len(several):
        raise BagwiseError("in every bag all instances count the same: there is nothing to compare")
    if explanation.positive is not None:
        positive = several[explanation.predicted[several] == explanation.positive]
        several = positive if len(positive) else several
    offsets = np.concatenate([[0], np.cumsum(bags.sizes[several])])
    high, low = _parts(explanation.importance[bags.rows(several)], offsets, float(top))
    series = compared(bags)
    drawn = permutations or permutations_for(len(high), sum(len(one.sums) for one in series))
    found, rng = [_Measured(one, drawn) for one in series], np.random.default_rng(0)
    with np.errstate(over="ignore", invalid="ignore"):  # of numbers too large to square no deviation is told
        for begin, end in _pages(bags, offsets):
            rows, own = slice(offsets[begin], offsets[end]), offsets[begin : end + 1] - offsets[begin]
            instances = np.asarray(bags[several[begin:end]].instances, np.float64)
            made = [one.series.made(instances) for one in found]
            for one, numbers in zip(found, made, strict=True):
                one.add(numbers, high[rows], low[rows], own)
            for some, weights in permuted(high[rows] - low[rows], own, drawn, rng):
                for one, numbers in zip(found, made, strict=True):
                    one.by_chance[some] += weights @ numbers
        return _table(found, len(high) - len(several))


def _parts(
    importance: NDArray[Any], offsets: NDArray[np.int64], top: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give what an instance is of the mean of those of high weight, averaged over bags, and of that of the rest."""
    high, low = np.empty((2, len(importance)))
    for begin, end in pairwise(offsets):
        own, size = importance[begin:end], end - begin
        count = min(max(1, round(top * size)), size - 1)
        border = -np.partition(-own, count - 1)[count - 1]
        above, at = own > border, own == border
        taken = np.where(above, 1.0, np.where(at, (count - above.sum()) / at.sum(), 0.0))
        high[begin:end], low[begin:end] = taken / count, (1 - taken) / (size - count)
    return high / (len(offsets) - 1), low / (len(offsets) - 1)


def _pages(bags: Bags, offsets: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Cut bags into runs of some hundred instances; those in files into single ones."""
    begin = 0
    for end in range(1, len(offsets)):
        last = end == len(offsets) - 1
        if last or offsets[end + 1] - offsets[begin] > _AT_ONCE or not isinstance(bags.instances, np.ndarray):
            yield begin, end
            begin = end


class _Measured:
    """What is found of a series of sums, bags by bags."""

    def __init__(self, series: Series, permutations: int) -> None:
        self.series = series
        self.high, self.low, self.square, self.variance = np.zeros((4, series.sums.shape[1]))
        self.by_chance = np.zeros((permutations, len(series.sums)))

    def add(self, made: NDArray[np.float64], high: NDArray[Any], low: NDArray[Any], offsets: NDArray[np.int64]) -> None:
        sums, sizes = made @ self.series.sums, np.diff(offsets)
        self.high += high @ sums
        self.low += low @ sums
        sums -= np.repeat(sums[offsets[:-1]], sizes, axis=0)  # so that what is constant is 0
        sums -= np.repeat(np.add.reduceat(sums, offsets[:-1]) / sizes[:, None], sizes, axis=0)
        squares = np.add.reduceat(sums**2, offsets[:-1])
        self.square += squares.sum(axis=0)
        # That of a sum of weights times numbers, where each order of the weights is as likely.
        spread = np.add.reduceat((high - low) ** 2, offsets[:-1])
        self.variance += (spread / (sizes - 1)) @ squares

    def standing_out(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Give differences in their standard deviations, shape (m,), and the largest of each permutation."""
        deviation = np.sqrt(self.variance)
        looked_at = np.array([named is not None for named in self.series.named])
        told = looked_at & np.isfinite(deviation) & (deviation > 0)
        sums = self.series.sums[:, told]
        used = sums.any(axis=1)
        ours, chance = np.zeros(len(told)), np.zeros(len(self.by_chance))
        ours[told] = (self.high - self.low)[told] / deviation[told]
        if told.any():
            chance = np.abs(self.by_chance[:, used] @ sums[used] / deviation[told]).max(axis=1)
        return ours, chance


def _table(found: list[_Measured], freedom: int) -> pd.DataFrame:
    names = list(dict.fromkeys(one.series.column for one in found))
    ours, by_chance = [], np.zeros((len(found[0].by_chance), len(names)))
    for one in found:
        own, chance = one.standing_out()
        ours.append(own)
        place = names.index(one.series.column)
        by_chance[:, place] = np.maximum(by_chance[:, place], chance)
    most = [
        max((np.abs(own).max(), -number) for number, own in enumerate(ours) if found[number].series.column == name)
        for name in names
    ]
    observed = np.array([highest for highest, _ in most])
    likely = adjusted(observed, by_chance)
    rows = [
        _row([one for one in found if one.series.column == name], found[-number], ours[-number], p, freedom)
        for name, (_, number), p in zip(names, most, likely.tolist(), strict=True)
    ]
    return pd.DataFrame(rows).iloc[np.argsort(-observed, kind="stable")].reset_index(drop=True)


def _row(own: list[_Measured], best: _Measured, ours: NDArray[np.float64], p: float, freedom: int) -> dict[str, Any]:
    place = int(np.argmax(np.where(ours > 0, ours * (1 + 1e-9), -ours)))  # of two that say the same, what there is
    more, named = ours[place] >= 0, best.series.named[place]
    numeric = next((one for one in own if one.series.numeric), None)
    stands_out = named[0 if more else 1] if named is not None and p <= CHANCE else ""
    shares = [np.nan, np.nan]
    if stands_out and (best is not numeric or place > 0):
        shares = [part[place] if more else 1 - part[place] for part in (best.high, best.low)]
    said, at = (best, place) if numeric is None else (numeric, 0)
    deviation = float(np.sqrt(said.square[at] / freedom))
    change = said.high[at] - said.low[at] if numeric is not None or more else said.low[at] - said.high[at]
    return {
        "feature": best.series.column,
        "stands_out": stands_out,
        "p_value": p,
        "share_high": shares[0],
        "share_low": shares[1],
        "mean_high": np.nan if numeric is None else numeric.high[0],
        "mean_low": np.nan if numeric is None else numeric.low[0],
        "difference": change / deviation if np.isfinite(deviation) and deviation > 0 else 0.0,
    }
