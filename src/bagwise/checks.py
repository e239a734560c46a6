"""What a set of bags must be, and the sentence a user reads where it is not."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bagwise.errors import BagwiseError

if TYPE_CHECKING:
    import pandas as pd

_FINITE_CHECK_VALUES = 1 << 22  # how many values are looked at in one go: memory stays small on mapped files


def numeric(values: ArrayLike, what: str) -> NDArray[Any]:
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise BagwiseError(f"{what} is ragged: all of its instances need one shape") from error
    if array.dtype.kind not in "biuf":
        raise BagwiseError(f"{what} holds {array.dtype} values: instances must be real numbers")
    return array


def of_length(values: ArrayLike, length: int, what: str, each: str) -> NDArray[Any]:
    array = np.asarray(values)
    if array.ndim != 1 or len(array) != length:
        raise BagwiseError(f"{what} has shape {array.shape}: it needs one value for each {each}, so {length}")
    if array.dtype == object and all(isinstance(value, str) for value in array):
        array = array.astype(str)
    return array


def valid_offsets(offsets: ArrayLike) -> NDArray[np.int64]:
    array = np.asarray(offsets)
    if array.ndim != 1 or len(array) < 1 or array.dtype.kind not in "iu":
        raise BagwiseError("offsets must be a list of whole numbers, one more than there are bags")
    if len(array) == 1:
        raise BagwiseError("there are no bags: give at least one")
    if array[0] != 0:
        raise BagwiseError(f"offsets begin with {array[0]}: they must begin with 0")
    return array.astype(np.int64)


def valid_names(names: ArrayLike | None, count: int) -> NDArray[np.object_]:
    if names is None:
        return np.array([str(position) for position in range(count)], dtype=object)
    array = np.asarray([str(name) for name in of_length(names, count, "names", "bag")], dtype=object)
    seen: set[str] = set()
    for name in array:
        if name in seen:
            raise BagwiseError(f"two bags have the name {name!r}: each name may stand only once")
        seen.add(name)
    return array


def valid_instances(values: ArrayLike, offsets: NDArray[np.int64], names: NDArray[np.object_]) -> NDArray[Any]:
    array = np.ascontiguousarray(numeric(values, "the array of instances"))
    if array.ndim < 2:
        raise BagwiseError(f"instances have shape {array.shape}: they need shape (instances, features)")
    if array.size == 0 and len(array):
        raise BagwiseError(f"instances have shape {array.shape}: an instance needs at least one feature")
    if offsets[-1] != len(array):
        raise BagwiseError(f"offsets end with {offsets[-1]}, but there are {len(array)} instances: the two must agree")
    for position in np.flatnonzero(np.diff(offsets) <= 0)[:1]:
        raise BagwiseError(f"bag {names[position]!r} is empty: leave it out, or give it at least one instance")
    if array.dtype.kind == "f":
        check_finite(array, offsets, names)
    return array


def check_finite(array: NDArray[Any], offsets: NDArray[np.int64], names: NDArray[np.object_]) -> None:
    step = max(1, _FINITE_CHECK_VALUES // max(1, array[0].size))
    for begin in range(0, len(array), step):
        part = array[begin : begin + step]
        finite = np.isfinite(part).reshape(len(part), -1).all(axis=1)
        if not finite.all():
            row = begin + int(np.argmin(finite))
            position = int(np.searchsorted(offsets, row, side="right")) - 1
            raise BagwiseError(
                f"bag {names[position]!r} has a NaN or an infinity in its row {row - offsets[position]}"
                f" (row {row} of all): fill it in, or leave the row out"
            )


def valid_labels(labels: ArrayLike, names: NDArray[np.object_]) -> NDArray[Any]:
    array = of_length(labels, len(names), "labels", "bag")
    for position, value in enumerate(array.tolist()):
        if value is None or value != value:
            raise BagwiseError(f"bag {names[position]!r} has no label: give it one, or leave the bag out")
        if isinstance(value, float) and value != int(value):
            raise BagwiseError(
                f"bag {names[position]!r} has the label {value}: labels are classes, so whole numbers or strings"
            )
    if array.dtype.kind == "f":
        return array.astype(np.int64)
    if array.dtype.kind not in "biuUT":
        kinds = sorted({type(value).__name__ for value in array.tolist()})
        raise BagwiseError(f"the labels are of type {' and '.join(kinds)}: use whole numbers, booleans or strings")
    return array


def valid_coordinates(values: ArrayLike, rows: int) -> NDArray[Any]:
    array = numeric(values, "the array of coordinates")
    if array.ndim != 2 or len(array) != rows:
        raise BagwiseError(f"coordinates have shape {array.shape}: they need one row for each instance, so {rows}")
    return array


def valid_feature_names(names: Sequence[str], shape: tuple[int, ...]) -> tuple[str, ...]:
    checked = tuple(str(name) for name in names)
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
    arrays = [np.asarray(value) for value in values]
    for array, part, name in zip(arrays, parts, names, strict=True):
        if array.ndim == 0 or len(array) != len(part):
            raise BagwiseError(f"{what} of bag {name!r} has shape {array.shape}, but the bag has {len(part)} instances")
    return np.concatenate(arrays)


def check_columns(frame: "pd.DataFrame", columns: Sequence[str]) -> None:
    duplicate = frame.columns[frame.columns.duplicated()]
    if len(duplicate):
        raise BagwiseError(f"the table has two columns {duplicate[0]!r}: give each column a name of its own")
    for column in columns:
        if column not in frame.columns:
            known = ", ".join(map(str, frame.columns[:20])) + ", ..." * (len(frame.columns) > 20)
            raise BagwiseError(f"the table has no column {column!r}: its columns are {known}")
        if columns.count(column) > 1:
            raise BagwiseError(f"column {column!r} is given two uses: give each use a column of its own")


def check_no_gap(codes: NDArray[Any], column: str) -> None:
    if (codes < 0).any():
        raise BagwiseError(f"column {column!r} is empty in row {int(np.argmin(codes))}: fill it in, or drop the row")


def check_constant(
    frame: "pd.DataFrame",
    column: str,
    bag_of_row: NDArray[Any],
    first: NDArray[Any],
    names: NDArray[np.object_],
) -> None:
    codes, values = frame[column].factorize()
    check_no_gap(codes, column)
    differs = codes != codes[first][bag_of_row]
    if differs.any():
        row = int(np.argmax(differs))
        bag = int(bag_of_row[row])
        raise BagwiseError(
            f"column {column!r} differs within bag {names[bag]!r}: {values[codes[first[bag]]]} in row {first[bag]},"
            f" {values[codes[row]]} in row {row}; all rows of a bag need the same value"
        )


def numeric_column(frame: "pd.DataFrame", column: str, bag_of_row: NDArray[np.object_]) -> NDArray[Any]:
    series = frame[column]
    if series.dtype.kind not in "biuf":
        numbers = (int, float, np.number)
        row = next((row for row, value in enumerate(series) if not isinstance(value, numbers)), 0)
        raise BagwiseError(
            f"column {column!r} is not numeric: row {row} (bag {bag_of_row[row]!r}) holds {series.iloc[row]!r};"
            " leave the column out, or turn it into numbers"
        )
    values = series.to_numpy(dtype=np.float32 if series.dtype == np.float32 else np.float64, na_value=np.nan)
    finite = np.isfinite(values)
    if not finite.all():
        row = int(np.argmin(finite))
        raise BagwiseError(
            f"column {column!r} has a NaN or an infinity in row {row} (bag {bag_of_row[row]!r}):"
            " fill it in, or leave the row out"
        )
    return values


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
