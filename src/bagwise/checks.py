"""What data and parameters must be, and the sentence a user reads where they are not."""

from collections.abc import Callable, Iterable, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bagwise.errors import BagwiseError
from bagwise.text import encodable

# What a feature may span: its mean and spread stay far from the ends of double precision, and what it is multiplied
# with from those of single precision.
LEAST_SPAN, MOST_SPAN = 1e-30, 1e30
_FINITE_CHECK_VALUES = 1 << 22  # how many values are looked at in one go: memory stays small on mapped files


def is_count(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 1


def check_seed(value: Any) -> None:
    if not isinstance(value, Integral) or not 0 <= int(value) < 2**32:
        raise BagwiseError(f"the seed is {value!r}: it must be a whole number from 0 to 2**32 - 1")


def check_count(name: str, value: Any) -> None:
    if not is_count(value):
        raise BagwiseError(f"{name} is {value!r}: it must be a whole number from 1 on")


def check_names(given: Sequence[str], what: str, known: Sequence[str] | None = None, where: str = "") -> None:
    """Raise if a name is given twice, or is none of those known.

    Parameters
    ----------
    given
        The names.
    what
        What is named, for the message.
    known
        Which there are; None where that is found out elsewhere.
    where
        What they are known to, for the message.
    """
    for number, name in enumerate(given):
        if known is not None and name not in known:
            raise BagwiseError(f"{where} has no {what} {name!r}: choose of {', '.join(known)}")
        if name in given[:number]:
            raise BagwiseError(f"the {what} {name!r} is given twice: give each once")


def numeric(values: ArrayLike, what: str) -> NDArray[Any]:
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise BagwiseError(f"{what} is ragged: all of its instances need one shape") from error
    except (
        TypeError,
        RuntimeError,
    ) as error:  # a tensor with a gradient or on a GPU; its own message says what to call
        raise BagwiseError(f"{what} is no array: {error}") from error
    if array.dtype.kind not in "biuf":
        raise BagwiseError(f"{what} holds {array.dtype} values: instances must be real numbers")
    return array


def of_length(values: ArrayLike, length: int, what: str, each: str) -> NDArray[Any]:
    # As objects, because a list of numbers and strings would become a list of strings.
    array = np.asarray(values) if hasattr(values, "dtype") else np.asarray(values, dtype=object)
    if array.ndim != 1 or len(array) != length:
        raise BagwiseError(f"{what} have shape {array.shape}: there must be one for each {each}, so {length}")
    return array


def of_one_kind(values: ArrayLike, names: NDArray[np.object_], what: str) -> NDArray[Any]:
    array = of_length(values, len(names), f"the {what}s", "bag")
    listed = array.tolist()
    for name, value in zip(names, listed, strict=True):
        if is_missing(value):
            raise BagwiseError(f"bag {name!r} has no {what}: give it one, or leave the bag out")
        if isinstance(value, str) and encodable(value) != value:
            raise BagwiseError(f"the {what} {value!r} of bag {name!r} holds half a character: mend it")
    if array.dtype.kind == "T":  # numpy's own strings, of which scikit-learn knows nothing
        return np.array(listed, dtype=str)
    if array.dtype.kind in "biufU":
        return array
    kinds = {
        next((kind for kind in (str, bool, Integral, Real) if isinstance(value, kind)), type(value)) for value in listed
    }
    if kinds in ({str}, {bool}):
        return array.astype(kinds.pop())
    if kinds <= {Integral, Real}:
        return array.astype(np.float64 if Real in kinds else np.int64)
    told = " and ".join(sorted({type(value).__name__ for value in listed}))
    raise BagwiseError(f"the {what}s are of type {told}: use whole numbers, booleans or strings, one of the three")


def kind(array: NDArray[Any]) -> str:
    return array.dtype.kind.replace("u", "i")


def is_missing(value: Any) -> bool:
    try:
        return value is None or bool(value != value)
    except (TypeError, ValueError):  # pandas' NA is neither equal nor unequal to itself
        return not isinstance(value, list | tuple | np.ndarray)


def valid_offsets(offsets: ArrayLike) -> NDArray[np.int64]:
    try:
        array = np.asarray(offsets)
    except ValueError:
        array = np.zeros(0)
    if array.ndim != 1 or len(array) < 1 or array.dtype.kind not in "iu":
        raise BagwiseError("offsets must be a list of whole numbers, one more than there are bags")
    if len(array) == 1:
        raise BagwiseError("there are no bags: give at least one")
    if array[0] != 0:
        raise BagwiseError(f"offsets begin with {array[0]}: they must begin with 0")
    array = array.astype(np.int64)
    for position in np.flatnonzero(np.diff(array) < 0)[:1]:
        raise BagwiseError(f"offsets fall from {array[position]} to {array[position + 1]}: they must rise")
    return array


def as_names(values: Iterable[Any]) -> NDArray[np.object_]:
    return np.array([encodable(str(value)) for value in values], dtype=object)


def valid_names(names: ArrayLike | None, count: int) -> NDArray[np.object_]:
    if names is None:
        return np.array([str(position) for position in range(count)], dtype=object)
    array = as_names(of_length(names, count, "the names", "bag"))
    seen: set[str] = set()
    for name in array:
        if name in seen:
            raise BagwiseError(f"two bags have the name {name!r}: each name may stand only once")
        seen.add(name)
    return array


def valid_instances(
    values: ArrayLike, offsets: NDArray[np.int64], names: NDArray[np.object_], *, gaps: bool = False
) -> NDArray[Any]:
    array = np.ascontiguousarray(numeric(values, "the array of instances"))
    check_extent(array.shape, offsets, names)
    if array.dtype.kind == "f":
        check_finite(array, offsets, names, "instances", gaps=gaps)
    return array


def check_extent(shape: tuple[int, ...], offsets: NDArray[np.int64], names: NDArray[np.object_]) -> None:
    if len(shape) < 2:
        raise BagwiseError(f"instances have shape {shape}: they need shape (instances, features)")
    if shape[0] and 0 in shape:
        raise BagwiseError(f"instances have shape {shape}: an instance needs at least one feature")
    if offsets[-1] != shape[0]:
        raise BagwiseError(f"offsets end with {offsets[-1]}, but there are {shape[0]} instances: the two must agree")
    for position in np.flatnonzero(np.diff(offsets) == 0)[:1]:
        raise BagwiseError(f"bag {names[position]!r} is empty: leave it out, or give it at least one instance")


def check_finite(
    array: NDArray[Any], offsets: NDArray[np.int64], names: NDArray[np.object_], what: str, *, gaps: bool = False
) -> None:
    step = max(1, _FINITE_CHECK_VALUES // max(1, array[0].size))
    for begin in range(0, len(array), step):
        part = array[begin : begin + step]
        good = ~np.isinf(part) if gaps else np.isfinite(part)
        finite = good.reshape(len(part), -1).all(axis=1)
        if not finite.all():
            row = begin + int(np.argmin(finite))
            position = int(np.searchsorted(offsets, row, side="right")) - 1
            found = "an infinity" if gaps else "a NaN or an infinity"
            raise BagwiseError(
                f"the {what} of bag {names[position]!r} have {found} in row {row - offsets[position]} (row {row} of"
                " all): fill it in, or leave the row out"
            )


def constant_features(lowest: NDArray[np.float64], highest: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Say which features are the same everywhere, but for rounding."""
    with np.errstate(over="ignore"):
        constant: NDArray[np.bool_] = highest - lowest <= 8 * np.finfo(np.float64).eps * np.maximum(
            abs(lowest), abs(highest)
        )
    return constant


def out_of_span(lowest: NDArray[np.float64], highest: NDArray[np.float64]) -> NDArray[np.int64]:
    """Say which features cannot be brought to one scale, because their values are too far apart or too close."""
    with np.errstate(over="ignore"):
        span = highest - lowest
    return np.flatnonzero(~constant_features(lowest, highest) & ~((span >= LEAST_SPAN) & (span <= MOST_SPAN)))


def check_span(
    lowest: NDArray[np.float64],
    highest: NDArray[np.float64],
    names: Sequence[str] | None,
    farthest: Callable[[int], tuple[str, int]],
) -> None:
    """Raise if a feature cannot be brought to a scale.

    Parameters
    ----------
    lowest, highest
        Of each feature, shape (D,).
    names
        Of the features, for the message.
    farthest
        Gives the bag, and the row in it, where a feature is farthest from 0, for the message.
    """
    for number in out_of_span(lowest, highest)[:1].tolist():
        bag, row = farthest(number)
        raise BagwiseError(
            f"feature {number if names is None else names[number]!r} reaches from {lowest[number]:.4g} to"
            f" {highest[number]:.4g}, farthest out in row {row} of bag {bag!r}, and only what spans {LEAST_SPAN:g} to"
            f" {MOST_SPAN:g} can be scaled: mend the value, or give the feature in other units"
        )


def valid_weights(weights: ArrayLike, names: NDArray[np.object_]) -> NDArray[np.float64]:
    array = of_length(weights, len(names), "the weights", "bag")
    for name, value in zip(names, array.tolist(), strict=True):
        if not isinstance(value, Real) or not 0 <= float(value) < np.inf:
            raise BagwiseError(f"bag {name!r} has the weight {value!r}: a weight is a number, 0 or more")
    if not array.any():
        raise BagwiseError("all bags have the weight 0: at least one must count")
    return array.astype(np.float64)


def valid_coordinates(values: ArrayLike, offsets: NDArray[np.int64], names: NDArray[np.object_]) -> NDArray[Any]:
    array = numeric(values, "the array of coordinates")
    if array.ndim != 2 or len(array) != offsets[-1]:
        raise BagwiseError(
            f"coordinates have shape {array.shape}: they need one row for each instance, so {offsets[-1]}"
        )
    check_finite(array, offsets, names, "coordinates")
    return array


def valid_feature_names(names: Sequence[str], shape: tuple[int, ...]) -> tuple[str, ...]:
    checked = tuple(as_names(names))
    if shape != (len(checked),):
        raise BagwiseError(f"there are {len(checked)} feature names, but an instance has shape {shape}")
    return checked


def joined(
    values: Sequence[ArrayLike] | None, parts: list[NDArray[Any]], names: NDArray[np.object_], what: str
) -> NDArray[Any] | None:
    if values is None:
        return None
    if len(values) != len(parts):
        raise BagwiseError(f"{what} has {len(values)} entries: it needs one for each bag, so {len(parts)}")
    arrays: list[NDArray[Any]] = []
    for value, part, name in zip(values, parts, names, strict=True):
        try:
            array = np.asarray(value)
        except ValueError as error:
            raise BagwiseError(f"{what} of bag {name!r} are ragged: give all of its instances equally many") from error
        if array.ndim == 0 or len(array) != len(part):
            raise BagwiseError(
                f"{what} of bag {name!r} have shape {array.shape}, but the bag has {len(part)} instances"
            )
        if arrays and array.shape[1:] != arrays[0].shape[1:]:
            raise BagwiseError(
                f"{what} of bag {name!r} have shape {array.shape}, those of bag {names[0]!r} {arrays[0].shape}: give"
                " all instances equally many"
            )
        arrays.append(array)
    return np.concatenate(arrays)


def check_no_gap(codes: NDArray[Any], column: str) -> None:
    if (codes < 0).any():
        raise BagwiseError(f"column {column!r} is empty in row {int(np.argmin(codes))}: fill it in, or drop the row")


def positions(key: Any, count: int) -> NDArray[np.int64]:
    if isinstance(key, slice):
        return np.arange(count)[key]
    array = np.asarray(key)
    if array.dtype == bool and array.shape != (count,):
        raise IndexError(f"the mask has shape {array.shape}: it needs one value for each bag, so {count}")
    if array.ndim != 1 or (array.dtype.kind not in "iu" and array.dtype != bool and array.size):
        raise IndexError("index bags by a number, a slice, a mask or a list of numbers")
    chosen: NDArray[np.int64] = np.arange(count)[array if array.size else array.astype(np.int64)]
    return chosen


def valid_positions(given: Any, names: NDArray[np.object_], what: str) -> NDArray[np.int64]:
    """Give positions of bags, rising, from positions or a mask; each may be given once."""
    count, array = len(names), np.asarray(given)
    if array.dtype == bool and array.shape == (count,):
        return np.flatnonzero(array)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise BagwiseError(
            f"{what} have shape {array.shape} and type {array.dtype}: give positions, which are whole numbers, or a"
            f" mask of shape ({count},)"
        )
    for strange in array[(array < 0) | (array >= count)][:1]:
        raise BagwiseError(f"{what} hold {strange}, and there are {count} bags: positions are 0 to {count - 1}")
    once, counts = np.unique(array.astype(np.int64), return_counts=True)
    for twice in once[counts > 1][:1]:
        raise BagwiseError(
            f"{what} hold bag {names[twice]!r} twice: list it once (a sample_weight of 2 lets a bag count double)"
        )
    return once
