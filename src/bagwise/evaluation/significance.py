"""Whether two methods differ by more than the luck of the folds."""

from numbers import Real
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from bagwise.errors import BagwiseError

__all__ = ["TTest", "corrected_interval", "corrected_t_test", "smallest_difference"]


class TTest(NamedTuple):
    """What a corrected resampled t-test found.

    Attributes
    ----------
    difference
        Mean over the folds of the first method's score minus the second's.
    statistic
        Student's t; its sign is that of `difference`.
    p_value
        Two-sided, in [0, 1].
    degrees_of_freedom
        The number of folds that were compared, less one. Folds on which a score is NaN are not among them.

    Examples
    --------
    >>> TTest(difference=0.05, statistic=1.5, p_value=0.168, degrees_of_freedom=9).p_value
    0.168
    """

    difference: float
    statistic: float
    p_value: float
    degrees_of_freedom: int


def corrected_t_test(first: ArrayLike, second: ArrayLike, *, test_share: float) -> TTest:
    """Test whether two methods differ, by their scores on the same folds: the corrected resampled t-test.

    The folds of a cross-validation share most of their training bags, so their scores vary together, and the ordinary
    t-test, which takes them for independent, finds differences where there are none. Nadeau and Bengio put
    ``1 / n + test_share / (1 - test_share)`` in the place of its ``1 / n`` for n folds, so that more repetitions of
    the same cross-validation do not make a difference look ever more certain.

    A fold on which either score is NaN (a metric that is undefined there) is left out for both methods. Where all
    differences are equal up to rounding, there is no spread to compare with, and the answer is the limit of the test:
    p = 1 with statistic 0 if the differences are zero, else p = 0 with an infinite statistic.

    Parameters
    ----------
    first, second
        Scores of the two methods, of shape (repeats, folds) as in `CrossValidation.scores`, or (n,): both of one shape,
        and the same folds in the same places.
    test_share
        Share of the bags that is tested in a fold, above 0 and below 1: ``1 / folds`` in a cross-validation.

    Returns
    -------
    TTest
        The statistic and its p-value.

    Raises
    ------
    BagwiseError
        If the shapes differ, a score is infinite or not a number at all, fewer than two folds have both scores, or
        `test_share` is out of its range.

    References
    ----------
    C. Nadeau, Y. Bengio: Inference for the Generalization Error. Machine Learning 52, 2003.

    Examples
    --------
    >>> found = corrected_t_test([0.9, 0.8, 0.7], [0.8, 0.8, 0.6], test_share=1 / 3)
    >>> round(found.difference, 4), round(found.statistic, 4), round(found.p_value, 4), found.degrees_of_freedom
    (0.0667, 1.2649, 0.3333, 2)
    """
    difference, error, count = _compared(first, second, test_share)
    statistic = difference / error if error else float(np.copysign(np.inf, difference)) if difference else 0.0
    return TTest(difference, statistic, float(2 * stats.t.sf(abs(statistic), count - 1)), count - 1)


def corrected_interval(
    first: ArrayLike, second: ArrayLike, *, test_share: float, level: float = 0.95
) -> tuple[float, float]:
    """Say between what numbers the difference of two methods lies, as `corrected_t_test` sees it.

    Parameters
    ----------
    first, second, test_share
        As in `corrected_t_test`.
    level
        In what share of studies the interval is to hold the true difference.

    Returns
    -------
    tuple of float
        The lower end and the upper one: 0 lies between them where the p-value is above ``1 - level``.

    Raises
    ------
    BagwiseError
        As in `corrected_t_test`.

    Examples
    --------
    >>> low, high = corrected_interval([0.9, 0.8, 0.7], [0.8, 0.8, 0.6], test_share=1 / 3)
    >>> round(low, 3), round(high, 3)
    (-0.16, 0.293)
    """
    difference, error, count = _compared(first, second, test_share)
    reach = float(stats.t.ppf((1 + level) / 2, count - 1)) * error
    return difference - reach, difference + reach


def smallest_difference(
    first: ArrayLike, second: ArrayLike, *, test_share: float, level: float = 0.95, power: float = 0.8
) -> float:
    """Say how far two methods must be apart for these folds to show it: what the corrected t-test can see.

    Parameters
    ----------
    first, second, test_share
        As in `corrected_t_test`.
    level
        Of the interval that leaves no difference out.
    power
        In what share of studies such a difference is to be found.

    Returns
    -------
    float
        So many standard errors of the difference as level and power ask for; 0 where all differences are equal.

    Raises
    ------
    BagwiseError
        As in `corrected_t_test`.

    Examples
    --------
    >>> round(smallest_difference([0.9, 0.8, 0.7], [0.8, 0.8, 0.6], test_share=1 / 3), 3)
    0.283
    """
    _, error, count = _compared(first, second, test_share)
    return float(stats.t.ppf((1 + level) / 2, count - 1) + stats.t.ppf(power, count - 1)) * error


def _compared(first: ArrayLike, second: ArrayLike, test_share: float) -> tuple[float, float, int]:
    """Give the mean difference, its corrected standard error, which is 0 where there is no spread, and the folds."""
    if not isinstance(test_share, Real) or not 0 < test_share < 1:
        raise BagwiseError(
            f"test_share is {test_share!r}: it must be a number above 0 and below 1, so 1 / folds in a cross-validation"
        )
    a, b = _scores(first, "first"), _scores(second, "second")
    if a.shape != b.shape:
        raise BagwiseError(
            f"the first scores have shape {a.shape}, the second {b.shape}: give both methods' scores on the same folds"
        )
    known = np.isfinite(a) & np.isfinite(b)
    count = int(known.sum())
    if count < 2:
        raise BagwiseError(
            f"{count} of {known.size} folds have both a first and a second score: a t-test needs 2 folds or more"
        )
    differences = a[known] - b[known]
    difference, spread = float(differences.mean()), float(differences.std(ddof=1))
    # 0.9 - 0.8 and 0.8 - 0.7 are not the same number: a spread of this size is no spread.
    rounding = 4 * np.finfo(np.float64).eps * max(np.abs(a[known]).max(), np.abs(b[known]).max())
    if spread > rounding:
        return difference, spread * float(np.sqrt(1 / count + test_share / (1 - test_share))), count
    return difference if abs(difference) > rounding else 0.0, 0.0, count


def _scores(values: ArrayLike, which: str) -> NDArray[np.float64]:
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise BagwiseError(f"the {which} scores are ragged: give one score for each fold of each repetition") from error
    if array.dtype.kind not in "biuf":
        raise BagwiseError(f"the {which} scores hold {array.dtype} values: scores must be real numbers")
    if array.ndim not in (1, 2):
        raise BagwiseError(f"the {which} scores have shape {array.shape}: they need shape (repeats, folds) or (folds,)")
    for place in np.argwhere(np.isinf(array))[:1]:
        where = ", ".join(f"{axis} {i}" for axis, i in zip(("repetition", "fold")[-array.ndim :], place, strict=True))
        raise BagwiseError(f"the {which} scores have an infinity in {where}: put NaN where a fold has no score")
    return array.astype(np.float64)
